/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS and DTLS contexts over OpenSSL: made from a certificate and key in files, checked before use
 * (readable, parses, key matches, not expired: each with its own sentence), reference-counted so
 * that a reload swaps the context while old connections keep theirs.
 *
 * TLS 1.2 and 1.3, DTLS 1.2; no compression, no renegotiation, server's cipher order.
 */
#pragma once
#include <openssl/ssl.h>
#include <time.h>
#include "common/text.h"

enum { TLS_ERRLEN = 256 };

struct tls_ctx;

struct tls_options {
	bool dtls, client;
	const char *cert_file, *key_file; /* PEM, chain in cert_file; a client may have none */
	const char *ca_file;		  /* verify peers against these; NULL on a client: system store */
	bool verify_peer;		  /* client: check chain and name; server: demand a certificate */
	const char *const *alpn;	  /* NULL-terminated, in order of preference; NULL: no ALPN */
};

/* On failure writes one sentence that an administrator can act on into err, and returns -errno
 * (-ENOENT, -EACCES, -EINVAL for a bad file, -EKEYREJECTED for a key that does not match). */
int tls_ctx_new(const struct tls_options *opt, char err[static TLS_ERRLEN], struct tls_ctx **ret_ctx);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *c);
struct tls_ctx *tls_ctx_unref(struct tls_ctx *c); /* NULL is fine; returns NULL */
SSL_CTX *tls_ctx_ssl(struct tls_ctx *c);
DEFINE_CLEANUP(struct tls_ctx, tls_ctx_unref)

struct tls_cert_info {
	char subject[256], issuer[256];
	char sans[512]; /* "DNS:a, DNS:b, IP:…" */
	time_t not_before, not_after;
	char sha256[65]; /* fingerprint of the leaf, lower-case hex */
};
int tls_cert_info(const struct tls_ctx *c, struct tls_cert_info *ret_info);
/* Latest OpenSSL error of this thread as one line; clears the queue. */
const char *tls_error_text(char *buf, size_t n);
