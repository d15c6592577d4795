/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two kinds of values that only routes have: where a route listens (an address with a port or a range of
 * them) and where it leads (a host, with a port or without one). As those of common/config_types.c: parse
 * writes only what is good and says otherwise what it must be; print writes what parse would read back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/config.h"

static int _printf_(3, 4) refuse(char *err, size_t err_n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err, err_n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* What a message shows of a value. */
#define SHOWN(t) (int)MIN((t).n, (size_t)80), (t).p

/* ---- listen ---- */

static int parse_port(struct text t, uint16_t *ret_port)
{
	uint64_t v;

	if (text_u64(t, &v) < 0 || v == 0 || v > 65535)
		return -EINVAL;
	*ret_port = (uint16_t)v;
	return 0;
}

/* Cuts "…:ports" at its last colon; "ports" alone has no address. */
static void split(struct text t, struct text *ret_host, struct text *ret_ports)
{
	size_t i = t.n;

	while (i > 0 && t.p[i - 1] != ':')
		i--;
	*ret_ports = text_drop(t, i);
	*ret_host = (struct text){ t.p, i ? i - 1 : 0 };
}

static int parse_listen(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	struct route_listen l = { .at = addr_v4(0, 0) };
	struct text host, ports, last, first;
	uint16_t port;
	int r = 0;

	(void)row;
	split(t, &host, &ports);
	last = ports;
	first = text_cut(&last, '-');
	if (host.p && host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = (struct text){ host.p + 1, host.n - 2 };
	if (ports.n != t.n)
		r = addr_parse(host, 0, &l.at);
	if (r < 0 || addr_port(&l.at) || parse_port(first, &port) < 0)
		return refuse(err, err_n, "must be an address of this machine with a port or a range of ports, as %s or "
			      "20000-20099, not '%.*s'", cfg_route_listen.example, SHOWN(t));
	addr_set_port(&l.at, port);
	l.last = port;
	if (last.p && (parse_port(last, &l.last) < 0 || l.last < port))
		return refuse(err, err_n, "must have a range of ports whose last is not below its first, not '%.*s'", SHOWN(t));
	if (l.last - port >= ROUTE_PORTS_MAX)
		return refuse(err, err_n, "must have at most %d ports in its range, not '%.*s'", ROUTE_PORTS_MAX, SHOWN(t));
	*(struct route_listen *)dst = l;
	return 0;
}

static void print_listen(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct route_listen *l = src;
	char buf[ADDR_STRLEN];

	(void)row;
	if (addr_family(&l->at) == AF_UNSPEC)
		return;
	sb_str(out, addr_print(&l->at, buf));
	if (l->last != addr_port(&l->at))
		sb_fmt(out, "-%u", l->last);
}

/* ---- target ---- */

/* Letters, digits, hyphens and dots, as cfg_hostport takes them: asked there, with a port put behind. */
static bool is_host(struct text t)
{
	static const struct cfg_row plain = { .name = "target", .default_port = 1 };
	struct cfg_hostport h = { 0 };
	char err[160];

	if (t.n == 0 || t.n > 253 || cfg_hostport.parse(&plain, t, &h, err, sizeof(err)) != 0)
		return false;
	cfg_hostport.free(&h);
	return true;
}

static int parse_target(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	struct route_target g = { 0 };
	struct text host, port;
	struct addr a;
	char ip[ADDR_STRLEN];

	(void)row;
	split(t, &host, &port);
	if (addr_parse(t, 0, &a) == 0) {
		g.port = addr_port(&a);
		host = text_of(addr_print_ip(&a, ip));
	} else if (host.n == 0) {
		host = port; /* no port */
	} else if (parse_port(port, &g.port) < 0) {
		return refuse(err, err_n, "must have a port from 1 to 65535 behind its host, as %s, not '%.*s'",
			      cfg_route_target.example, SHOWN(t));
	}
	if (!is_host(host))
		return refuse(err, err_n, "must be a name or an address with a port, as %s, not '%.*s'",
			      cfg_route_target.example, SHOWN(t));
	g.host = text_dup(host);
	if (!g.host)
		return -ENOMEM;
	*(struct route_target *)dst = g;
	return 0;
}

static void print_target(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct route_target *g = src;

	(void)row;
	if (!g->host)
		return;
	if (!g->port)
		sb_str(out, g->host);
	else
		sb_fmt(out, strchr(g->host, ':') ? "[%s]:%u" : "%s:%u", g->host, g->port);
}

static void free_target(void *dst)
{
	struct route_target *g = dst;

	free(g->host);
	g->host = NULL;
}

/* clang-format off */
const struct cfg_type cfg_route_listen = { "address and ports", sizeof(struct route_listen), "0.0.0.0:1001", parse_listen, print_listen, NULL };
const struct cfg_type cfg_route_target = { "host and port", sizeof(struct route_target), "10.3.100.14:25", parse_target, print_target, free_target };
/* clang-format on */
