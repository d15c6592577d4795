/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS and DTLS contexts over OpenSSL: made from a certificate and key in files, checked before use
 * (readable, parses, key matches, dates: each with its own sentence), reference-counted so that a
 * reload swaps the context while old connections keep theirs.
 *
 * TLS 1.2 and 1.3, DTLS 1.2 (AEAD ciphers only); no compression, no renegotiation, no session cache that strangers could
 * fill (tickets are stateless), server's cipher order. No common ALPN protocol is not an error: a
 * client that offers "stun.turn" to a server without ALPN, or the other way round, still connects.
 */
#pragma once
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <time.h>
#include "common/text.h"

enum { TLS_ERRLEN = 256 };

struct tls_ctx;

struct tls_options {
	bool dtls, client;
	const char *cert_file, *key_file; /* PEM, chain in cert_file; a client may have none */
	const char *ca_file;		  /* verify peers against these; NULL on a client: system store */
	const char *crl_file;		  /* with verify_peer: revocation lists, PEM; NULL: none */
	bool verify_peer;		  /* client: check chain and name; server: demand a certificate */
	bool name_by_owner; /* client: the server's name is sent (SNI), but whoever connects compares it with the
					   * certificate, by rules of its own (RFC 5922) */
	const char *const *alpn;	  /* NULL-terminated, in order of preference; NULL: no ALPN */
};

/* On failure writes one sentence that an administrator can act on into err, and returns -errno
 * (-ENOENT, -EACCES, -EINVAL for a bad file, -EKEYREJECTED for a key that does not match). On success
 * err is empty, or holds a warning: an expired or not yet valid certificate does not stop a service that
 * has other listeners, but must be said. */
int tls_ctx_new(const struct tls_options *opt, char err[static TLS_ERRLEN], struct tls_ctx **ret_ctx);
/* A context whose certificate and rules its maker has set by himself, to be used like the others; its sessions are given no
 * name to verify. Takes ssl over, also on failure: -ENOMEM. */
int tls_ctx_adopt(SSL_CTX *ssl, bool client, struct tls_ctx **ret_ctx);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *c);
struct tls_ctx *tls_ctx_unref(struct tls_ctx *c); /* NULL is fine; returns NULL */
SSL_CTX *tls_ctx_ssl(struct tls_ctx *c);
/* Several certificates on one listener: a client that asks for a server name (SNI) which this pattern
 * (common/server_name.h) matches gets `of`'s, the exact name before the pattern; who asks for no name or an unknown
 * one gets c's own. Before c is shared; both are servers of one kind. -ENOMEM. */
int tls_ctx_add_name(struct tls_ctx *c, const char *pattern, struct tls_ctx *of);
/* Each pattern with its context, in the order they were added; false behind the last. */
bool tls_ctx_nth_name(const struct tls_ctx *c, size_t i, const char **ret_pattern, const struct tls_ctx **ret_of);
/* What the client of this session asked for; empty: nothing. Once the handshake is done. */
struct text tls_server_name(const SSL *ssl);
/* A connection of this context, in its role. A client names its server: SNI, and the name to verify
 * (a literal address is verified as such and not sent); NULL: the chain alone is checked. */
int tls_session_new(struct tls_ctx *c, const char *server_name, SSL **ret_ssl);
DEFINE_CLEANUP(struct tls_ctx, tls_ctx_unref)

struct tls_cert_info {
	char subject[256], issuer[256];
	char sans[512]; /* "DNS:a, DNS:b, IP:…" */
	time_t not_before, not_after;
	char sha256[65]; /* fingerprint of the leaf, lower-case hex */
};
int tls_cert_info(const struct tls_ctx *c, struct tls_cert_info *ret_info);
/* Whether a client who asked for this name, or for some name of this pattern, would take the certificate for it. */
bool tls_cert_covers(const struct tls_ctx *c, const char *pattern);
/* Before each SSL_read(), SSL_write(): an error that others left in this thread's queue would be taken for its own.
 * ERR_clear_error() goes through all sixteen places; to ask first costs a tenth of that. */
static inline void tls_forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

/* First OpenSSL error of this thread since the queue was cleared, as one line; clears the queue. */
const char *tls_error_text(char *buf, size_t n);
/* Why a handshake of ssl failed, for the log: the verification's verdict if that was it, else the above. */
const char *tls_failure_text(SSL *ssl, char *buf, size_t n);
/* A call on a stream failed with this SSL_get_error() and errno, other than "try again" or close_notify. -errno and why;
 * 0: the stream has ended without close_notify, which is an end all the same. */
int tls_stream_broken(SSL *ssl, int ssl_error, int sys_error, char *why, size_t n);
