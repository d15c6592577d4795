/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP, SIPS and tel URIs (RFC 3261 19.1 and 25.1, RFC 3966, RFC 5118 and 5954 for IPv6), as slices of the text they
 * were read from, escapes and all; and their comparison (RFC 3261 19.1.4, RFC 3966 4). Any other scheme is recognised
 * as an absolute URI and left alone. No memory, no DNS.
 */
#pragma once
#include "common/addr.h"

enum sip_scheme { SIP_SCHEME_OTHER, SIP_SCHEME_SIP, SIP_SCHEME_SIPS, SIP_SCHEME_TEL };
enum sip_host_kind { SIP_HOST_NAME, SIP_HOST_IPV4, SIP_HOST_IPV6 };

struct sip_uri {
	enum sip_scheme scheme;
	struct text raw, scheme_name;
	/* sip, sips. A user may be empty only by being absent: p NULL. */
	struct text user, password; /* password: what stands behind the ':' of the user; p NULL: none */
	struct text host;	    /* an IPv6 address stands without its brackets */
	enum sip_host_kind host_kind;
	uint16_t port; /* 0: none */
	struct text params; /* behind the first ';', without it; p NULL: none. Read with sip_uri_param() */
	struct text headers; /* behind the '?', without it; p NULL: none */
	/* tel: number as it stands ("+" first if global); its params are in params. Other: everything behind the ':'. */
	struct text number;
	/* The parameters that routing reads; p NULL: absent */
	struct text transport, maddr;
	bool lr;
};

/* ASCII alone, whatever the locale: as hosts and domains are compared. */
static inline char sip_lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* 0; -EBADMSG if it is no URI, or a sip, sips or tel URI that is not well-formed. The whole text must be it. */
int sip_uri_parse(struct text t, struct sip_uri *ret_u);
/* Host and port, as they stand in a URI or a Via: *t is cut behind them. No blanks. 0 or -EBADMSG. */
int sip_hostport_parse(struct text *t, struct text *ret_host, enum sip_host_kind *ret_kind,
		       uint16_t *ret_port);
/* Is there such a parameter? Its value, escapes and all (p NULL if it has none), goes to ret_value, which may be NULL. */
bool sip_uri_param(const struct sip_uri *u, struct text name, struct text *ret_value);
/* RFC 3261 19.1.4 and RFC 3966 4; other schemes are compared byte by byte (the scheme without regard to case). */
bool sip_uri_equal(const struct sip_uri *a, const struct sip_uri *b);
/* Undoes escapes: the user "a%40b" is "a@b". Length, -ENOSPC; -EBADMSG for a NUL or a control character. */
ptrdiff_t sip_uri_unescape(struct text t, char *out, size_t cap);
/* The address if the host is one. 0 or -EBADMSG. */
int sip_uri_addr(const struct sip_uri *u, uint16_t default_port, struct addr *ret_a);
