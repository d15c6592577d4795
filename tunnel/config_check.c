/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold between several keys of a route, and between routes: run by the service before it starts, by a
 * reload, by `stile check`, and for one route when it is added live. Every fault is added with its place and a
 * sentence that says what to write.
 *
 * A value that its own row refused is empty here and has its error already, so empty ones are passed over.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/tls.h"
#include "stun/auth.h"
#include "tunnel/config.h"

/* ---- one route ---- */

static void check_certificates(struct cfg *c, const char *path, const struct route_config *r)
{
	struct tls_ctx *ctx = NULL;
	char err[TLS_ERRLEN];
	int rc;

	if (r->tls && r->tls->certificate && r->tls->key) {
		rc = tls_ctx_new(&(struct tls_options){ .cert_file = r->tls->certificate, .key_file = r->tls->key }, err, &ctx);
		if (rc < 0)
			cfg_add_error(c, cfg_path_under(path, "tls.certificate").s, "%s", err);
		else if (*err)
			cfg_add_warning(c, cfg_path_under(path, "tls.certificate").s, "%s", err);
		ctx = tls_ctx_unref(ctx);
	}
	if (!r->target_tls)
		return;
	rc = tls_ctx_new(&(struct tls_options){ .client = true, .ca_file = r->target_tls->ca, .verify_peer = r->target_tls->verify },
			 err, &ctx);
	if (rc < 0)
		cfg_add_error(c, cfg_path_under(path, "target_tls.ca").s, "%s", err);
	tls_ctx_unref(ctx);
	if (!r->target_tls->verify)
		cfg_add_warning(c, cfg_path_under(path, "target_tls.verify").s, "the target's certificate is not checked: whoever sits between "
				"here and the target can read and change everything");
}

/* What means nothing for UDP is an error: it would be believed to hold. */
static void check_udp(struct cfg *c, const char *path, const struct route_config *r)
{
	if (!r->udp)
		return;
	if (r->tls)
		cfg_add_error(c, cfg_path_under(path, "tls").s, "a UDP route has no TLS: take the key away, or udp: true");
	if (r->target_tls)
		cfg_add_error(c, cfg_path_under(path, "target_tls").s, "a UDP route has no TLS: take the key away, or udp: true");
	if (r->proxy_protocol)
		cfg_add_error(c, cfg_path_under(path, "proxy_protocol").s, "a PROXY header goes in front of a TCP connection: take the key "
			      "away, or udp: true");
}

static void check_targets(struct cfg *c, const char *path, const struct route_config *r)
{
	const struct route_target *t = r->target.items;
	unsigned ports = (unsigned)r->listen.last - addr_port(&r->listen.at);

	if (r->target.n > ROUTE_TARGETS_MAX)
		cfg_add_error(c, cfg_path_under(path, "target").s, "a route has at most %d targets", ROUTE_TARGETS_MAX);
	for (size_t i = 0; i < r->target.n; i++) {
		struct addr a;

		if (!t[i].host)
			continue;
		if (t[i].port && t[i].port + ports > 65535)
			cfg_add_error(c, cfg_path_under(path, "target").s, "the range of %u ports would end behind port 65535 at the target %s",
				      ports + 1, t[i].host);
		if (addr_family(&r->source_address) != AF_UNSPEC && addr_parse(text_of(t[i].host), 0, &a) == 0 &&
		    addr_family(&a) != addr_family(&r->source_address))
			cfg_add_error(c, cfg_path_under(path, "source_address").s, "the target %s cannot be reached from an address of the "
				      "other family (IPv4, IPv6)", t[i].host);
	}
}

void route_config_check(struct cfg *c, const char *path, const struct route_config *r)
{
	if (r->name)
		for (const char *p = r->name; *p; p++)
			if ((unsigned char)*p < 0x21 || *p == 0x7f) {
				cfg_add_error(c, cfg_path_under(path, "name").s, "a route's name has no blanks and no control characters");
				break;
			}
	check_udp(c, path, r);
	check_targets(c, path, r);
	check_certificates(c, path, r);
}

/* ---- all routes ---- */

struct place { /* ports of a route, to be sorted */
	char name[ROUTE_LISTEN_STRLEN];
	struct addr at;
	uint16_t first, last;
	bool udp;
	size_t i;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct place *)a)->name, ((const struct place *)b)->name);
}

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int d = (int)x->udp - (int)y->udp;

	if (!d)
		d = addr_compare(&x->at, &y->at); /* without their ports */
	return d ? d : (int)x->first - (int)y->first;
}

static struct cfg_path item(size_t i, const char *key)
{
	return cfg_path_item("tunnel.routes", i, key);
}

static unsigned line_of(struct cfg *c, size_t i)
{
	const char *file;
	unsigned line = 0;

	(void)cfg_where(c, item(i, "").s, &file, &line);
	return line;
}

static void check_twice(struct cfg *c, struct place *p, size_t n)
{
	qsort(p, n, sizeof(*p), by_name);
	for (size_t i = 1; i < n; i++)
		if (strcmp(p[i].name, p[i - 1].name) == 0)
			cfg_add_error(c, item(MAX(p[i].i, p[i - 1].i), "").s, "two routes are called '%s'; the other stands in line %u",
				      p[i].name, line_of(c, MIN(p[i].i, p[i - 1].i)));
	qsort(p, n, sizeof(*p), by_place);
	for (size_t i = 1, widest = 0; i < n; i++) {
		if (p[i].udp == p[widest].udp && addr_equal_ip(&p[i].at, &p[widest].at) && p[i].first <= p[widest].last &&
		    strcmp(p[i].name, p[widest].name) != 0)
			cfg_add_error(c, item(p[i].i, "listen").s, "port %u is taken by the route '%s' already (line %u)", p[i].first,
				      p[widest].name, line_of(c, p[widest].i));
		if (p[i].udp != p[widest].udp || !addr_equal_ip(&p[i].at, &p[widest].at) || p[i].last > p[widest].last)
			widest = i;
	}
}

static void check_routes(struct cfg *c, const struct tunnel_config *t)
{
	const struct route_config *r = t->routes.items;
	struct place *p = calloc(t->routes.n + 1, sizeof(*p));
	size_t n = 0;

	for (size_t i = 0; i < t->routes.n; i++) {
		char buf[ROUTE_LISTEN_STRLEN];

		route_config_check(c, item(i, "").s, &r[i]);
		if (addr_family(&r[i].listen.at) == AF_UNSPEC || !p)
			continue;
		p[n] = (struct place){ .at = r[i].listen.at, .first = addr_port(&r[i].listen.at), .last = r[i].listen.last,
				       .udp = r[i].udp, .i = i };
		addr_set_port(&p[n].at, 0);
		(void)snprintf(p[n].name, sizeof(p[n].name), "%s", r[i].name ? r[i].name : route_listen_name(&r[i], buf));
		n++;
	}
	if (p)
		check_twice(c, p, n);
	free(p);
}

/* ---- the tunnel ---- */

/* RFC 4013, as the login prepares it. */
static void check_password(struct cfg *c, const struct tunnel_config *t)
{
	char prepared[1024];
	size_t n;

	if (t->password &&
	    (stun_saslprep(text_of(t->password), prepared, sizeof(prepared), &n) < 0 || n == 0))
		cfg_add_error(c, "tunnel.password",
			      "no password has control characters or others that are forbidden (RFC 4013)");
	bytes_wipe(prepared, sizeof(prepared));
}

/* Agents would have to be told of the port by hand, or none could come in. */
static void check_tunnel(struct cfg *c, const struct tunnel_config *t)
{
	const struct cfg_endpoint *l = t->listen.items;
	const struct cfg_port_range *p = t->ports.items;

	for (size_t i = 0; i < t->listen.n; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(l[i].path, l[k].path) == 0 && addr_equal(&l[i].at, &l[k].at))
				cfg_add_error(c, "tunnel.listen",
					      "the same address and port stands here twice");
	for (size_t i = 0; i < t->ports.n; i++)
		if (p[i].first < 1024 && p[i].last >= 1024)
			cfg_add_error(c, "tunnel.ports",
				      "ports below 1024 are given only if they are named apart, as 443 or 80-90; "
				      "the range %u-%u goes beyond",
				      p[i].first, p[i].last);
}

static void check_gateway(struct cfg *c, const struct tunnel_config *t)
{
	const char *url = t->gateway_url;

	if (addr_family(&t->gateway.at) != AF_UNSPEC)
		cfg_add_error(c, "tunnel.gateway", "the gateway asks at a Unix socket: unix:/run/stile/gateway.sock");
	if (url && (strncmp(url, "https://", 8) != 0 || url[strlen(url) - 1] == '/' || strpbrk(url, " #?\"<>")))
		cfg_add_error(c, "tunnel.gateway_url", "must be https:// and a name, without a slash at its end: https://share.example.org");
}

void tunnel_config_check(struct cfg *c)
{
	const struct tunnel_config *t = &((const struct tunnel_root *)cfg_values(c))->tunnel;
	const struct route_config *r = t->routes.items;

	check_routes(c, t);
	check_tunnel(c, t);
	check_password(c, t);
	check_gateway(c, t);
	for (size_t i = 0; i < t->routes.n; i++)
		if (r[i].log_data && !t->records.dir)
			cfg_add_error(c, item(i, "log_data").s, "a data log needs a folder: set tunnel.records.dir");
}
