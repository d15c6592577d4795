/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP CONNECT through a proxy (RFC 9110 9.3.6), as text without I/O: the request, and what the answer
 * means. Basic (RFC 7617) and Digest (RFC 7616: SHA-256 and MD5, each with -sess, qop auth or none).
 *
 * Heads are read by common/head.h. A proxy that answers 407 is asked again on a new connection with
 * what it wants, so its page is never read. The strongest login that it offers is taken; Basic only if
 * it offers no Digest, for it shows the password to everybody on the way.
 */
#pragma once
#include "common/text.h"

enum {
	PROXY_PORT = 3128,
	PROXY_HOST_MAX = 253,
	PROXY_WORD_MAX = 255, /* of user and password, each */
	PROXY_HEAD_MAX = 16384,
	PROXY_REQUEST_MAX = 4096,
	PROXY_WHY_MAX = 256,
	PROXY_PARAM_MAX = 512,
};

struct proxy {
	char host[PROXY_HOST_MAX + 1]; /* an IPv6 address without brackets */
	uint16_t port;
	char user[PROXY_WORD_MAX + 1], password[PROXY_WORD_MAX + 1]; /* "": no login */
};
/* "http://user:password@host:port"; what is special in user and password is written %XX; without a port: 3128. 0, or
 * -EINVAL and a sentence that does not show the password. */
int agent_proxy_parse(struct text url, struct proxy *ret_p, char *err, size_t err_n);

enum proxy_scheme { PROXY_NO_LOGIN, PROXY_BASIC, PROXY_DIGEST };
struct proxy_login { /* what the proxy has asked for; all zero at first */
	enum proxy_scheme scheme;
	bool sha256, session, qop; /* of Digest */
	char realm[PROXY_PARAM_MAX], nonce[PROXY_PARAM_MAX],
		opaque[PROXY_PARAM_MAX]; /* without quotes and escapes */
	bool has_opaque;
	unsigned count;	 /* requests with this nonce */
	unsigned rounds; /* 407 so far */
	char cnonce[65]; /* "": random */
};

/* The request for this host and port. 0, -ENOSPC, -EIO. */
int proxy_request(const struct proxy *p, struct proxy_login *l, struct text host, uint16_t port,
		  char buf[static PROXY_REQUEST_MAX], size_t *ret_n);

enum proxy_verdict {
	PROXY_MORE,  /* the head is not whole yet */
	PROXY_OPEN,  /* from *ret_used on, the bytes are the server's */
	PROXY_AGAIN, /* connect again: l has what the proxy wants */
	PROXY_REFUSED,
};
/* in: all that came so far. why: a sentence for PROXY_REFUSED. */
enum proxy_verdict proxy_answer(const struct proxy *p, struct proxy_login *l, struct text in,
				size_t *ret_used, char why[static PROXY_WHY_MAX]);
