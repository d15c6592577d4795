/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules about sharing a port and about load balancers: turn.front, turn.proxy_protocol and listeners on Unix
 * sockets. A part of turn_config_check().
 *
 * A value that its own row refused is empty here and has its error already.
 */
#include <stdio.h>
#include <string.h>
#include "common/front.h"
#include "common/server_name.h"
#include "turn/config.h"
#include "turn/relay_addresses.h"

struct key {
	char s[64];
};

/* "turn.front.routes[2].alpn"; member NULL: the item itself. */
static struct key item(const char *list, size_t i, const char *member)
{
	struct key k;

	snprintf(k.s, sizeof(k.s), "turn.%s[%zu]%s%s", list, i, member ? "." : "", member ? member : "");
	return k;
}

/* What comes over a Unix socket is a stream that tells its client first. */
static void check_unix(struct cfg *c, const struct turn_config *t)
{
	const struct cfg_endpoint *l = t->listen.items;

	for (size_t i = 0; i < t->listen.n; i++) {
		if (!l[i].path[0])
			continue;
		if (l[i].proto != TURN_LISTEN_TCP && l[i].proto != TURN_LISTEN_TLS)
			cfg_add_error(c, item("listen", i, NULL).s, "only tcp and tls can come over a Unix socket: write "
				      "\"tls:unix:%s\" or \"tcp:unix:%s\"", l[i].path, l[i].path);
		for (size_t k = 0; k < i; k++)
			if (strcmp(l[k].path, l[i].path) == 0)
				cfg_add_error(c, item("listen", i, NULL).s, "two listeners on unix:%s", l[i].path);
	}
}

/* ---- routes ---- */

static bool takes_all(const struct front_route *r)
{
	return !r->server_name.n && !r->alpn.n;
}

bool turn_config_front_serves_us(const struct turn_config *t)
{
	const struct front_route *r = t->front.routes.items;

	for (size_t i = 0; i < t->front.routes.n; i++) {
		if (r[i].to.self)
			return true;
		if (takes_all(&r[i]))
			return false;
	}
	return true;
}

static void check_names(struct cfg *c, const struct front_route *r, size_t i)
{
	char *const *names = r->server_name.items;

	for (size_t k = 0; k < r->server_name.n; k++) {
		const char *fault = names[k] ? server_name_fault(text_of(names[k])) : NULL;

		if (fault)
			cfg_add_error(c, item("front.routes", i, "server_name").s, "'%s' %s", names[k], fault);
	}
}

static bool is_own(const struct turn_own_set *own, const struct addr *a)
{
	for (size_t i = 0; i < own->n; i++)
		if (addr_equal_ip(&own->v[i], a))
			return true;
	return false;
}

static bool reaches(const struct addr *listener, const struct addr *to, const struct turn_own_set *own)
{
	struct addr real = addr_canonical(to);
	enum addr_class class = addr_classify(&real);

	return addr_family(listener) != AF_UNSPEC && addr_port(listener) == addr_port(&real) &&
	       (addr_equal_ip(listener, &real) ||
		(addr_classify(listener) == ADDR_UNSPECIFIED && addr_family(listener) == addr_family(&real) &&
		 (class == ADDR_LOOPBACK || class == ADDR_UNSPECIFIED || is_own(own, &real))));
}

bool turn_config_front_loops(const struct turn_config *t, size_t route, const struct turn_own_set *own)
{
	const struct front_route *r = &((const struct front_route *)t->front.routes.items)[route];
	const struct cfg_endpoint *l = t->listen.items;

	for (size_t k = 0; k < t->listen.n; k++)
		if (l[k].proto == TURN_LISTEN_FRONT && !r->to.self && !r->to.path[0] && reaches(&l[k].at, &r->to.at, own))
			return true;
	return false;
}

static void check_routes(struct cfg *c, const struct turn_config *t)
{
	const struct front_route *r = t->front.routes.items;
	const struct cfg_endpoint *l = t->listen.items;
	size_t fronts = 0, catch_all = SIZE_MAX;
	struct turn_own_set own;
	char err[128];

	if (turn_own_addresses(&own, err, sizeof(err)) < 0)
		own.n = 0; /* a start says so */
	for (size_t i = 0; i < t->listen.n; i++)
		fronts += l[i].proto == TURN_LISTEN_FRONT;
	if (t->front.routes.n && !fronts)
		cfg_add_warning(c, "turn.front.routes", "no listener uses these routes: write one under turn.listen, as "
				"\"front:0.0.0.0:443\"");
	for (size_t i = 0; i < t->front.routes.n; i++) {
		check_names(c, &r[i], i);
		/* A connection that is handed to a front again would go round until nothing is left. */
		if (turn_config_front_loops(t, i, &own))
			cfg_add_error(c, item("front.routes", i, "to").s, "this leads back to the front itself; for this server's own "
				      "TLS write to: turn");
		if (catch_all < i)
			cfg_add_warning(c, item("front.routes", i, NULL).s, "this route is never reached: turn.front.routes[%zu] takes "
					"everything", catch_all);
		else if (takes_all(&r[i]))
			catch_all = i;
	}
}

/* ---- load balancers ---- */

static void warn_balancers(struct cfg *c, const struct turn_config *t)
{
	const struct prefix *from = t->proxy_protocol.from.items;
	char text[PREFIX_STRLEN];

	for (size_t i = 0; i < t->proxy_protocol.from.n; i++)
		if (addr_family(&from[i].a) != AF_UNSPEC && !from[i].bits)
			cfg_add_warning(c, item("proxy_protocol.from", i, NULL).s, "%s lets everybody pretend to be any client, and "
					"refuses whoever comes without a PROXY header; name the load balancers alone",
					prefix_print(&from[i], text));
}

void turn_config_check_front(struct cfg *c)
{
	const struct turn_config *t = &((const struct turn_root *)cfg_values(c))->turn;

	check_unix(c, t);
	check_routes(c, t);
	warn_balancers(c, t);
}
