/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing of turn_uri.h's subset of RFC 7065. The port stands behind the last colon, for an IPv6 address has
 * colons of its own and stands in brackets; a host is made of letters, digits, dots, dashes and underscores, and in brackets of
 * colons. What else RFC 7065 lets through (percent signs, user names) is for nobody here.
 */
#include "tunnel/link/turn_uri.h"
#include <errno.h>

static bool is_host(struct text t, bool bracketed)
{
	for (size_t i = 0; i < t.n; i++) {
		char c = t.p[i];
		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '_' ||
		      (bracketed && c == ':')))
			return false;
	}
	return t.n != 0 && t.n <= TURN_URI_HOST_MAX;
}

int turn_uri_parse(struct text t, struct turn_uri *ret_u)
{
	struct turn_uri u = { 0 };
	struct text rest, host;
	bool bracketed;
	uint64_t port;
	size_t at;

	if (!text_starts(t, TEXT("turn:")))
		return -EINVAL;
	rest = text_drop(t, 5);
	host = text_cut(&rest, '?');
	if (rest.p && !text_ieq(rest, TEXT("transport=udp")) && !text_ieq(rest, TEXT("transport=tcp")))
		return -EINVAL;
	u.tcp = rest.p && text_ieq(rest, TEXT("transport=tcp"));
	for (at = host.n; at > 0 && host.p[at - 1] != ':'; at--)
		;
	if (at < 2 || host.n - at > 5 || text_u64(text_drop(host, at), &port) != 0 || port == 0 || port > 65535)
		return -EINVAL;
	host.n = at - 1;
	bracketed = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
	if (bracketed)
		host = (struct text){ host.p + 1, host.n - 2 };
	if (!is_host(host, bracketed))
		return -EINVAL;
	memcpy(u.host, host.p, host.n);
	u.port = (uint16_t)port;
	*ret_u = u;
	return 0;
}

size_t turn_uri_print(const struct turn_uri *u, char buf[static TURN_URI_STRLEN])
{
	struct sb b = sb_init(buf, TURN_URI_STRLEN);
	bool six = text_find(text_of(u->host), ':') >= 0;

	sb_fmt(&b, "turn:%s%s%s:%u?transport=%s", six ? "[" : "", u->host, six ? "]" : "", u->port, u->tcp ? "tcp" : "udp");
	return b.n;
}
