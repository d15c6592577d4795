/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema rows of visits and visitors, their kinds of values, and the checks between entries. Names and meanings of the keys
 * are promised to administrators: they grow, they do not change.
 *
 * No I/O here, and nothing of the wire.
 */
#include "tunnel/agent/visit.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/job.h"
#include "common/values.h"

#define SCHEMA(n, r, s) { .name = (n), .rows = (r), .n_rows = ARRAY_LEN(r), .size = (s) }
#define VISIT(member) CFG_AT(struct visit_config, member)
#define VISITOR(member) CFG_AT(struct visitor_config, member)

static const char *const protocols[] = { "tcp", "udp", NULL };

/* ---- kinds of values ---- */

static int bad(char *err, size_t err_n, const char *what, struct text t)
{
	(void)snprintf(err, err_n, "must be %s, not '%.*s'", what, (int)MIN(t.n, 80u), t.p);
	return -EINVAL;
}

static int parse_pin(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	struct peer_pin p = { .set = true };

	(void)row;
	if (identity_parse(t, &p.id) < 0)
		return bad(err, err_n, "the fingerprint of the agent's key, as its stile agent status shows it (sha256: and 64 hexadecimal digits)", t);
	*(struct peer_pin *)dst = p;
	return 0;
}

static void print_pin(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct peer_pin *p = src;
	char buf[IDENTITY_STRLEN];

	(void)row;
	if (p->set)
		sb_str(out, identity_print(&p->id, buf));
}

static int parse_ports(struct text t, struct reach *r)
{
	struct text last = t, first = text_cut(&last, '-');
	uint64_t a, b;

	if (text_u64(first, &a) < 0 || (last.p ? text_u64(last, &b) < 0 : (b = a, false)) || a == 0 || b < a || b > 65535)
		return -EINVAL;
	r->first = (uint16_t)a;
	r->last = (uint16_t)b;
	return 0;
}

/*
 * Where the ports begin, behind the colon: of IPv6 only behind a bracket. False: there is a bracket without its other half, or a
 * colon without ports. Neither may ever stand for all of them.
 */
static bool cut_ports(struct text *t, struct text *ret_ports)
{
	struct text rest = *t;
	size_t colons = 0;

	*ret_ports = (struct text){ 0 };
	if (t->n && t->p[0] == '[') {
		rest = text_drop(rest, 1);
		*t = text_cut(&rest, ']');
		if (!rest.p || (rest.n && rest.p[0] != ':'))
			return false;
		if (!rest.n)
			return true;
		*ret_ports = text_drop(rest, 1);
		return ret_ports->n > 0;
	}
	for (size_t i = 0; i < t->n; i++)
		colons += t->p[i] == ':';
	if (colons != 1)
		return true;
	*t = text_cut(&rest, ':');
	*ret_ports = rest;
	return rest.n > 0;
}

static int parse_reach(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	static const char what[] = "a prefix with or without ports: 10.1.0.0/24, 10.1.0.25:3389, [2001:db8::/64]:22-25";
	struct reach r = { .first = 0, .last = 65535 };
	struct text prefix = t, ports;

	(void)row;
	if (!cut_ports(&prefix, &ports) || prefix_parse(prefix, &r.prefix) < 0 || (ports.n && parse_ports(ports, &r) < 0))
		return bad(err, err_n, what, t);
	*(struct reach *)dst = r;
	return 0;
}

static void print_reach(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct reach *r = src;
	char buf[PREFIX_STRLEN];
	bool v6 = addr_family(&r->prefix.a) == AF_INET6, all = r->first == 0 && r->last == 65535;

	(void)row;
	sb_fmt(out, v6 && !all ? "[%s]" : "%s", prefix_print(&r->prefix, buf));
	if (!all)
		sb_fmt(out, r->first == r->last ? ":%u" : ":%u-%u", r->first, r->last);
}

bool reach_holds(const struct cfg_list *reaches, const struct addr *a)
{
	const struct reach *r = reaches->items;
	struct addr plain = addr_canonical(a);

	for (size_t i = 0; i < reaches->n; i++)
		if (prefix_contains(&r[i].prefix, &plain) && addr_port(a) >= r[i].first && addr_port(a) <= r[i].last)
			return true;
	return false;
}

bool reaches_less(const struct cfg_list *was, const struct cfg_list *is)
{
	const struct reach *old = was->items, *now = is->items;

	for (size_t i = 0; i < was->n; i++) {
		bool held = false;

		for (size_t k = 0; k < is->n && !held; k++)
			held = prefix_within(&old[i].prefix, &now[k].prefix) &&
			       now[k].first <= old[i].first && now[k].last >= old[i].last;
		if (!held)
			return true;
	}
	return false;
}

/* "3389", "127.0.0.1:3389", "[::1]:3389" */
static int parse_listen(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	uint64_t port;
	struct addr a;

	(void)row;
	if (text_u64(t, &port) == 0 && port <= 65535)
		a = addr_v4(0x7f000001, (uint16_t)port);
	else if (addr_parse(t, 0, &a) < 0)
		return bad(err, err_n, "a port of 127.0.0.1, or an address of this machine and a port", t);
	*(struct addr *)dst = a;
	return 0;
}

static void print_listen(const struct cfg_row *row, const void *src, struct sb *out)
{
	char buf[ADDR_STRLEN];

	(void)row;
	if (addr_family(src) != AF_UNSPEC)
		sb_str(out, addr_print(src, buf));
}

static int parse_head_start(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	if (!text_eq(t, TEXT("unlimited")))
		return cfg_duration.parse(row, t, dst, err, err_n);
	*(uint64_t *)dst = VISIT_ONLY_DIRECT;
	return 0;
}

static void print_head_start(const struct cfg_row *row, const void *src, struct sb *out)
{
	if (*(const uint64_t *)src == VISIT_ONLY_DIRECT)
		sb_str(out, "unlimited");
	else
		cfg_duration.print(row, src, out);
}

/* clang-format off */
const struct cfg_type cfg_peer_pin = { "fingerprint", sizeof(struct peer_pin), "sha256:6f0a…", parse_pin, print_pin, NULL };
const struct cfg_type cfg_reach = { "prefix and ports", sizeof(struct reach), "10.1.0.0/24:22", parse_reach, print_reach, NULL };
static const struct cfg_type cfg_visit_listen = { "address and port", sizeof(struct addr), "127.0.0.1:3389", parse_listen, print_listen, NULL };
static const struct cfg_type cfg_head_start = { "duration or unlimited", sizeof(uint64_t), "200ms", parse_head_start, print_head_start, NULL };

static const struct cfg_row visit_rows[] = {
	{ .name = "name", .type = &cfg_string, VISIT(name), .flags = CFG_RELOAD, .min = 1, .max = VISIT_NAME_MAX,
	  .help = "Name of the visit in commands and log. Default: agent and target." },
	{ .name = "agent", .type = &cfg_string, VISIT(agent), .flags = CFG_REQUIRED | CFG_RELOAD, .min = 1, .max = 63,
	  .help = "The other agent, as the server that both are connected to calls it." },
	{ .name = "identity", .type = &cfg_peer_pin, VISIT(identity), .flags = CFG_RELOAD,
	  .help = "Fingerprint of the other agent's key, as stile agent status shows it there. Without it: the one that was accepted "
	  "at the first contact (stile connect)." },
	{ .name = "target", .type = &cfg_route_target, VISIT(target), .flags = CFG_REQUIRED | CFG_RELOAD,
	  .help = "Host (name or address, as the other agent resolves it) and port in the other agent's network." },
	{ .name = "listen", .type = &cfg_visit_listen, VISIT(listen), .flags = CFG_RELOAD, .def = "127.0.0.1:0",
	  .help = "Where it is reached here: a port of 127.0.0.1, or address and port; port 0 is one that is free, which stile agent "
	  "peers shows." },
	{ .name = "protocol", .type = &cfg_job_protocol, VISIT(udp), .flags = CFG_RELOAD, .choices = protocols, .def = "tcp",
	  .help = "What is carried. UDP has a flow for each source." },
	{ .name = "head_start", .type = &cfg_head_start, VISIT(head_start_ms), .flags = CFG_RELOAD, .def = "200ms",
	  .help = "How long a new link waits for a direct path before it goes through a relay, and on trying. 0s: not at all; unlimited: "
	  "nothing ever goes through a relay." },
	{ .name = "connections", .type = &cfg_count, VISIT(connections), .flags = CFG_RELOAD, .min = 1, .def = "1000", .unit = "connections",
	  .help = "Connections at a time, or flows; more are refused, or dropped." },
	{ .name = "enabled", .type = &cfg_bool, VISIT(enabled), .flags = CFG_RELOAD, .def = "true", .help = "Whether it is there." },
};
const struct cfg_schema visit_schema = SCHEMA("agent.visits", visit_rows, sizeof(struct visit_config));

static const struct cfg_row visitor_rows[] = {
	{ .name = "name", .type = &cfg_string, VISITOR(name), .flags = CFG_RELOAD, .min = 1, .max = 63, .help = "For people." },
	{ .name = "identity", .type = &cfg_peer_pin, VISITOR(identity), .flags = CFG_REQUIRED | CFG_RELOAD,
	  .help = "Fingerprint of the visitor's key, as stile agent status shows it there." },
	{ .name = "allow", .type = &cfg_reach, VISITOR(allow), .flags = CFG_LIST | CFG_BARE | CFG_RELOAD,
	  .help = "What it reaches in this network: prefixes, with or without ports (10.1.0.0/24, 10.1.0.25:3389, [2001:db8::/64]:22-25), "
	  "looked at after a name is resolved, for each connection. Empty: nothing. agent.allow holds, too, unless it is empty." },
	{ .name = "enabled", .type = &cfg_bool, VISITOR(enabled), .flags = CFG_RELOAD, .def = "true", .help = "Whether it may come." },
};
const struct cfg_schema visitor_schema = SCHEMA("agent.visitors", visitor_rows, sizeof(struct visitor_config));

static const struct cfg_row one_visit_rows[] = {
	{ .name = "visit", .sub = &visit_schema, .flags = CFG_REQUIRED, .help = "One visit." },
};
static const struct cfg_schema one_visit_schema = SCHEMA("visit", one_visit_rows, sizeof(struct visit_config));
const struct cfg_root visit_cfg_root = { .schema = &one_visit_schema };

#define PEER(member) CFG_AT(struct peer_config, member)
static const struct cfg_row peer_rows[] = {
	/* First, for it is the key under which the store has it. */
	{ .name = "identity", .type = &cfg_peer_pin, PEER(identity), .flags = CFG_REQUIRED, .help = "Fingerprint of its key." },
	{ .name = "name", .type = &cfg_string, PEER(name), .min = 1, .max = 63, .help = "As the server called it." },
	{ .name = "visitor", .type = &cfg_bool, PEER(visitor), .def = "false", .help = "Whether it may come here." },
	{ .name = "host", .type = &cfg_bool, PEER(host), .def = "false", .help = "Whether it is visited." },
	{ .name = "allow", .type = &cfg_reach, PEER(allow), .flags = CFG_LIST | CFG_BARE, .help = "What it reaches here." },
};
const struct cfg_schema peer_schema = SCHEMA("agent.peer", peer_rows, sizeof(struct peer_config));
static const struct cfg_row one_peer_rows[] = {
	{ .name = "peer", .sub = &peer_schema, .flags = CFG_REQUIRED, .help = "One known agent." },
};
static const struct cfg_schema one_peer_schema = SCHEMA("peer", one_peer_rows, sizeof(struct peer_config));
static const struct cfg_root peer_cfg_root = { .schema = &one_peer_schema };
/* clang-format on */

/* ---- names and checks ---- */

const char *visit_name(const struct visit_config *v, char buf[static VISIT_NAME_STRLEN])
{
	struct sb b = sb_init(buf, VISIT_NAME_STRLEN);

	if (v->name)
		sb_str(&b, v->name);
	else
		sb_fmt(&b, strchr(v->target.host, ':') ? "%s [%s]:%u" : "%s %s:%u", v->agent, v->target.host, v->target.port);
	if (!v->name && v->udp)
		sb_str(&b, "/udp");
	return buf;
}

static void check_visit(struct cfg *c, const char *path, const struct visit_config *v)
{
	if (v->target.host && !v->target.port)
		cfg_add_error(c, cfg_path_under(path, "target").s, "the target of a visit needs a port");
}

static void check(struct cfg *c, const char *path)
{
	check_visit(c, path, cfg_values(c));
}

int visit_parse(const json_t *o, char *err, size_t err_n, struct cfg **ret_cfg)
{
	static const struct values_kind kind = { .name = "visit", .root = &visit_cfg_root, .check = check };

	return values_parse(&kind, o, err, err_n, ret_cfg);
}

static void check_nothing(struct cfg *c, const char *path)
{
	(void)c;
	(void)path;
}

int peer_parse(const json_t *o, char *err, size_t err_n, struct cfg **ret_cfg)
{
	static const struct values_kind kind = { .name = "peer", .root = &peer_cfg_root, .check = check_nothing };

	return values_parse(&kind, o, err, err_n, ret_cfg);
}

json_t *peer_as_visitor(const json_t *body)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	char err[256];
	json_t *v;

	if (peer_parse(body, err, sizeof(err), &cfg) < 0 || !((const struct peer_config *)cfg_values(cfg))->visitor)
		return NULL;
	v = json_copy((json_t *)body);
	(void)json_object_del(v, "visitor");
	(void)json_object_del(v, "host");
	return v;
}

void visits_check(struct cfg *c, const struct cfg_list *visits, const struct cfg_list *visitors)
{
	const struct visit_config *v = visits->items;
	const struct visitor_config *w = visitors->items;
	char a[VISIT_NAME_STRLEN], b[VISIT_NAME_STRLEN];

	for (size_t i = 0; i < visits->n; i++) {
		const struct cfg_path key = cfg_path_item("agent.visits", i, "");

		check_visit(c, key.s, &v[i]);
		for (size_t k = 0; k < i && v[i].agent && v[k].agent && v[i].target.host && v[k].target.host; k++) {
			if (strcmp(visit_name(&v[i], a), visit_name(&v[k], b)) == 0)
				cfg_add_error(c, key.s, "two visits are called %s: give one a name", a);
			if (addr_port(&v[i].listen) && v[i].udp == v[k].udp && addr_equal(&v[i].listen, &v[k].listen))
				cfg_add_error(c, key.s, "the visit %s listens there, too", b);
		}
	}
	for (size_t i = 1; i < visitors->n; i++)
		for (size_t k = 0; k < i; k++)
			if (w[i].identity.set && w[k].identity.set && identity_hash_equal(&w[i].identity.id, &w[k].identity.id))
				cfg_add_error(c, cfg_path_item("agent.visitors", i, "").s, "this visitor stands here twice");
}
