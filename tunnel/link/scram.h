/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), client and server, without I/O: four
 * messages of text go back and forth, and afterwards each side knows that the other one knows the
 * password, or its verifier. With PLUS the messages are bound to the TLS session that carries them
 * (tls-exporter, RFC 9266): a machine in the middle has two sessions, and nothing to pass on.
 *
 * Passwords are prepared by SASLprep (stun_saslprep). A server keeps a struct scram_verifier, made
 * once: the work of PBKDF2 is not done for strangers. A client refuses few rounds, which would make
 * guessing cheap for a false server, and very many, which would cost it an hour.
 */
#pragma once
#include "common/text.h"

enum {
	SCRAM_KEY_LEN = 32,
	SCRAM_SALT_LEN = 16,
	SCRAM_SALT_MAX = 64,
	SCRAM_NONCE_MAX = 128,
	SCRAM_NAME_MAX = 255,
	SCRAM_MESSAGE_MAX = 1024, /* with a NUL that does not count */
	SCRAM_BINDING_MAX = 64,
	SCRAM_ROUNDS = 65536,
	SCRAM_ROUNDS_MIN = 32768,
	SCRAM_ROUNDS_MAX = 1 << 20,
};

enum scram_result { /* positive module codes */
		    SCRAM_OK,
		    SCRAM_MALFORMED, /* it is no such message, or not the next one */
		    SCRAM_NO_BINDING, /* the client does not bind to this TLS session; a downgrade, or no agent of ours */
		    SCRAM_WRONG, /* password, nonce, binding or signature is not right */
		    SCRAM_BAD_ROUNDS,
		    SCRAM_REFUSED,	/* the server said e= */
		    SCRAM_BAD_PASSWORD, /* it cannot be one: SASLprep forbids it */
		    SCRAM_FAILED,	/* no memory or no random numbers */
};
const char *scram_result_text(enum scram_result r);

struct scram_binding {
	const char *type; /* "tls-exporter"; NULL: none, plain SCRAM-SHA-256 */
	uint8_t data[SCRAM_BINDING_MAX];
	size_t n;
};

struct scram_verifier {
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_n;
	uint32_t rounds;
	uint8_t stored_key[SCRAM_KEY_LEN], server_key[SCRAM_KEY_LEN];
};
/* salt NULL: SCRAM_SALT_LEN random bytes. SCRAM_OK, SCRAM_BAD_PASSWORD, SCRAM_FAILED. Some 40 ms of work. */
enum scram_result scram_verifier_make(struct text password, const void *salt, size_t salt_n,
				      uint32_t rounds, struct scram_verifier *ret_v);

/* The state of one exchange; plain values, wiped by scram_wipe(). */
struct scram {
	struct scram_binding binding;
	uint32_t rounds_min;		 /* of a client; 0: SCRAM_ROUNDS_MIN */
	char nonce[SCRAM_NONCE_MAX + 1]; /* before the first message: one's own, or "": random */
	char first_bare[SCRAM_MESSAGE_MAX], server_first[SCRAM_MESSAGE_MAX];
	char name[SCRAM_NAME_MAX + 1]; /* of the client, as it says */
	uint8_t server_signature[SCRAM_KEY_LEN];
	unsigned step;
};
struct scram_text { /* a message to send */
	char p[SCRAM_MESSAGE_MAX];
	size_t n;
};
void scram_wipe(struct scram *s);

/* Below, a message that is read must not lie in *ret_t. */

/* Client: first message; answer to the server's first; verdict on its last. */
enum scram_result scram_client_first(struct scram *s, struct text name, struct scram_text *ret_t);
enum scram_result scram_client_final(struct scram *s, struct text server_first,
				     struct text password, struct scram_text *ret_t);
enum scram_result scram_client_done(struct scram *s, struct text server_final);

/* Server: answers to the client's first and to its last message. SCRAM_WRONG and SCRAM_NO_BINDING of the
 * last leave "e=…" in *ret_t, to be sent before the end. */
enum scram_result scram_server_first(struct scram *s, const struct scram_verifier *v,
				     struct text client_first, struct scram_text *ret_t);
enum scram_result scram_server_final(struct scram *s, const struct scram_verifier *v,
				     struct text client_final, struct scram_text *ret_t);
