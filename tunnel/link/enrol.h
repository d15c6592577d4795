/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enrolment by a one-time code (docs/decisions/0017): the code as people carry it, and the two proofs
 * that agent and server exchange. No I/O; what is good once and until when is known by the server
 * (tunnel/server/agents.h).
 *
 * A code is 128 random bits, the first 128 bits of the hash of the server's root key and a checksum
 * of 24 bits: 56 characters of Crockford's base32 in eight groups, and where the server is, if whoever
 * made it knew:
 *     K3T9QZ1-... -7HX0M2V@tunnel.example.org:7443
 * Read without regard to case, blanks, dashes, or O for 0 and I or L for 1.
 *
 * The proofs are bound to one TLS session by its exporter, to both keys and to the name, so what is
 * seen of them proves nothing anywhere else.
 */
#pragma once
#include "tunnel/link/tls.h"

enum {
	ENROL_SECRET_LEN = 16,
	ENROL_ID_LEN = 8,
	ENROL_PROOF_LEN = 32,
	ENROL_HOST_MAX = 253,
	ENROL_DIGITS = 56,
	ENROL_CODE_STRLEN = ENROL_DIGITS + 7 + 1 + ENROL_HOST_MAX + 2 + 6 + 1,
};

struct enrol_code {
	uint8_t secret[ENROL_SECRET_LEN];
	uint8_t root[LINK_PREFIX_LEN];
	char host[ENROL_HOST_MAX + 1]; /* "": not in it. An IPv6 address without brackets */
	uint16_t port;
};

enum enrol_error { /* positive module codes */
		   ENROL_OK,
		   ENROL_BAD_CHARACTER,
		   ENROL_BAD_LENGTH, /* characters are missing, or there are too many */
		   ENROL_BAD_CHECKSUM,
		   ENROL_BAD_PLACE, /* what follows @ is not HOST:PORT */
};
const char *enrol_error_text(enum enrol_error e); /* "a character of the code is mistyped …" */

/* A new secret for the server with this root. 0 or -EIO. */
int enrol_code_make(const struct identity_hash *root, struct enrol_code *ret_c);
const char *enrol_code_write(const struct enrol_code *c, char buf[static ENROL_CODE_STRLEN]);
enum enrol_error enrol_code_parse(struct text t, struct enrol_code *ret_c);

/* By which the server finds the code; it tells nothing of the secret. */
void enrol_id(const uint8_t secret[static ENROL_SECRET_LEN], uint8_t out[static ENROL_ID_LEN]);

enum enrol_side { ENROL_AGENT, ENROL_SERVER };
struct enrol_session {			     /* the same at both ends */
	uint8_t exporter[LINK_EXPORTER_LEN]; /* LINK_EXPORTER_ENROL */
	struct identity_hash agent, root;
	struct text name; /* as the agent's HELLO has it */
};
/* What side has to send. 0 or -EIO. */
int enrol_proof(const uint8_t secret[static ENROL_SECRET_LEN], enum enrol_side side,
		const struct enrol_session *s, uint8_t out[static ENROL_PROOF_LEN]);
/* Whether it is what side would have sent; takes the same time whatever it is. */
bool enrol_proof_good(const uint8_t secret[static ENROL_SECRET_LEN], enum enrol_side side,
		      const struct enrol_session *s, struct text proof);
