/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of claims, some thousand at most, walked for each new job: jobs come rarely. The order of the rules is the
 * order in which an administrator would ask: may the agent appear on this address, with these ports, are they the
 * server's own, are they another's, are they too many.
 */
#include "tunnel/server/ports.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/list.h"
#include "tunnel/policy.h"

enum { NAME_MAX_ = 320, PRIVILEGED = 1024, KEY_MAX = 2 * WIRE_PIN + 1 + NAME_MAX_ };

struct claim {
	struct list node;
	uint8_t identity[WIRE_PIN];
	char job[NAME_MAX_];
	struct addr at; /* first port */
	uint16_t count;
	bool udp, told; /* told: the store has it */
};
struct gone {
	struct list node;
	char key[KEY_MAX];
};
struct ports {
	struct ports_rules rules;
	struct list claims, gone;
};

struct ports *ports_new(void)
{
	struct ports *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	list_init(&p->claims);
	list_init(&p->gone);
	return p;
}

struct ports *ports_free(struct ports *p)
{
	if (!p)
		return NULL;
	list_for_each_safe (it, &p->claims)
		free(list_entry(it, struct claim, node));
	list_for_each_safe (it, &p->gone)
		free(list_entry(it, struct gone, node));
	free(p);
	return NULL;
}

void ports_set_rules(struct ports *p, const struct ports_rules *r)
{
	p->rules = *r;
}

/* ---- claims ---- */

static void key_of(const struct claim *c, char key[static KEY_MAX])
{
	hex_encode(c->identity, WIRE_PIN, key);
	(void)snprintf(key + 2 * WIRE_PIN, KEY_MAX - 2 * WIRE_PIN, "/%s", c->job);
}

static void drop(struct ports *p, struct claim *c)
{
	struct gone *g = c->told ? calloc(1, sizeof(*g))
				 : NULL; /* without memory the store keeps it: a port too many is reserved */

	if (g) {
		key_of(c, g->key);
		list_append(&p->gone, &g->node);
	}
	list_unlink(&c->node);
	free(c);
}

static bool is_of(const struct claim *c, const uint8_t identity[static WIRE_PIN])
{
	return memcmp(c->identity, identity, WIRE_PIN) == 0;
}

static struct claim *find(const struct ports *p, const uint8_t identity[static WIRE_PIN], const char *job)
{
	list_for_each (it, &p->claims) {
		struct claim *c = list_entry(it, struct claim, node);

		if (is_of(c, identity) && strcmp(c->job, job) == 0)
			return c;
	}
	return NULL;
}

static bool same_address(const struct addr *a, const struct addr *b)
{
	if (addr_family(a) != addr_family(b))
		return false; /* our IPv6 sockets are IPv6 only */
	return addr_equal_ip(a, b) || addr_classify(a) == ADDR_UNSPECIFIED ||
	       addr_classify(b) == ADDR_UNSPECIFIED;
}

static bool overlap(const struct claim *c, const struct addr *at, uint16_t count, bool udp)
{
	unsigned a = addr_port(&c->at), b = addr_port(at);

	return c->udp == udp && same_address(&c->at, at) && a < b + count && b < a + c->count;
}

unsigned ports_of(const struct ports *p, const uint8_t identity[static WIRE_PIN])
{
	unsigned n = 0;

	list_for_each (it, &p->claims) {
		const struct claim *c = list_entry(it, struct claim, node);

		n += is_of(c, identity) ? c->count : 0u;
	}
	return n;
}

/* ---- rules ---- */

static void _printf_(3, 4) refuse(struct ports_grant *g, enum wire_reason reason, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(g->text, sizeof(g->text), fmt, ap);
	va_end(ap);
	g->reason = reason;
}

/* Below 1024 only what is named apart. */
static bool is_allowed(const struct ports_ask *a, unsigned port)
{
	for (unsigned i = 0; i < a->n_ranges; i++)
		if (a->ranges[i].first <= port && port <= a->ranges[i].last &&
		    (port >= PRIVILEGED || a->ranges[i].last < PRIVILEGED))
			return true;
	return false;
}

static void print_ranges(const struct ports_ask *a, struct sb *b)
{
	for (unsigned i = 0; i < a->n_ranges; i++)
		sb_fmt(b, a->ranges[i].first == a->ranges[i].last ? "%s%u" : "%s%u-%u",
		       i ? ", " : "", a->ranges[i].first, a->ranges[i].last);
	if (!a->n_ranges)
		sb_str(b, "none");
}

static bool may_have(const struct ports *p, const struct ports_ask *a, const struct addr *at,
		     struct ports_grant *g)
{
	for (unsigned i = 0; i < a->count; i++) {
		struct addr one = *at;
		const char *own;
		char ranges[128];
		struct sb b = sb_init(ranges, sizeof(ranges));
		unsigned port = addr_port(at) + i;

		if (port > 65535 || !is_allowed(a, port)) {
			print_ranges(a, &b);
			refuse(g, WIRE_R_PORT_FORBIDDEN,
			       "port %u is not among those that the agent may open (%s)", port, ranges);
			return false;
		}
		addr_set_port(&one, (uint16_t)port);
		own = p->rules.own ? p->rules.own(&one, a->udp, p->rules.arg) : NULL;
		if (own) {
			refuse(g, WIRE_R_PORT_FORBIDDEN, "port %u is the server's own (%s)", port, own);
			return false;
		}
	}
	return true;
}

/* Of another job of this agent, too: the old name of one that was renamed is given up when its jobs are synced. */
static bool is_free(struct ports *p, const struct ports_ask *a, const struct addr *at,
		    struct ports_grant *g)
{
	list_for_each_safe (it, &p->claims) {
		struct claim *c = list_entry(it, struct claim, node);

		if (!overlap(c, at, a->count, a->udp) ||
		    (is_of(c, a->identity) && strcmp(c->job, a->job) == 0))
			continue;
		if (p->rules.known && !p->rules.known(c->identity, p->rules.arg)) {
			drop(p, c);
			continue;
		}
		if (is_of(c, a->identity))
			refuse(g, WIRE_R_PORT_TAKEN, "port %u is taken by the agent's job %s",
			       addr_port(at), c->job);
		else
			refuse(g, WIRE_R_PORT_TAKEN, "port %u is kept for another agent", addr_port(at));
		return false;
	}
	return true;
}

static bool enough_room(const struct ports *p, const struct ports_ask *a, struct ports_grant *g)
{
	const struct claim *mine = find(p, a->identity, a->job);
	unsigned has = ports_of(p, a->identity) - (mine ? mine->count : 0u);

	if (has + a->count <= p->rules.most_ports)
		return true;
	refuse(g, WIRE_R_LIMIT,
	       "the agent would have %u ports, and may have %llu (tunnel.limits.ports_per_agent)",
	       has + a->count, (unsigned long long)p->rules.most_ports);
	return false;
}

/* ---- choosing ---- */

static bool choose(struct ports *p, const struct ports_ask *a,
		   bool (*busy)(const struct addr *at, bool udp, void *arg), void *arg,
		   struct ports_grant *g)
{
	unsigned total = 0;
	uint32_t at = 0;

	for (unsigned i = 0; i < a->n_ranges; i++)
		total += (unsigned)a->ranges[i].last - a->ranges[i].first + 1u;
	(void)bytes_random(&at, sizeof(at));
	for (unsigned n = 0; n < total; n++) {
		unsigned k = (unsigned)((at + (uint64_t)n) % total), i = 0;
		struct ports_grant ignored;

		for (; k > (unsigned)(a->ranges[i].last - a->ranges[i].first); i++)
			k -= (unsigned)a->ranges[i].last - a->ranges[i].first + 1u;
		addr_set_port(&g->at, (uint16_t)(a->ranges[i].first + k));
		if (may_have(p, a, &g->at, &ignored) && is_free(p, a, &g->at, &ignored) &&
		    (!busy || !busy(&g->at, a->udp, arg)))
			return true;
	}
	refuse(g, WIRE_R_PORT_TAKEN, "no port that the agent may open is free");
	return false;
}

static struct addr address_for(const struct ports *p, const struct ports_ask *a)
{
	struct addr at = addr_family(&a->bind) == AF_UNSPEC ? p->rules.bind : a->bind;

	addr_set_port(&at, a->first);
	return at;
}

void ports_claim(struct ports *p, const struct ports_ask *a,
		 bool (*busy)(const struct addr *at, bool udp, void *arg), void *arg,
		 struct ports_grant *ret_g)
{
	struct claim *mine = find(p, a->identity, a->job);
	char buf[ADDR_STRLEN];

	*ret_g = (struct ports_grant){ .at = address_for(p, a) };
	if (addr_family(&a->bind) != AF_UNSPEC && p->rules.binds->n &&
	    !prefixes_hold(p->rules.binds, &a->bind)) {
		refuse(ret_g, WIRE_R_PORT_FORBIDDEN, "jobs may not appear on %s (tunnel.binds)",
		       addr_print_ip(&a->bind, buf));
		return;
	}
	if (!a->first && mine && mine->udp == a->udp && addr_equal_ip(&mine->at, &ret_g->at)) {
		addr_set_port(&ret_g->at, addr_port(&mine->at)); /* as before, if it still may be */
		if (may_have(p, a, &ret_g->at, ret_g))
			return;
		*ret_g = (struct ports_grant){ .at = address_for(p, a) };
	}
	if (!enough_room(p, a, ret_g))
		return;
	if (a->first ? !may_have(p, a, &ret_g->at, ret_g) || !is_free(p, a, &ret_g->at, ret_g)
		     : !choose(p, a, busy, arg, ret_g))
		return;
	if (!mine) {
		mine = calloc(1, sizeof(*mine));
		if (!mine) {
			refuse(ret_g, WIRE_R_MEMORY, "the server is out of memory");
			return;
		}
		memcpy(mine->identity, a->identity, WIRE_PIN);
		(void)snprintf(mine->job, sizeof(mine->job), "%s", a->job);
		list_append(&p->claims, &mine->node);
	}
	if (!addr_equal(&mine->at, &ret_g->at) || mine->count != a->count || mine->udp != a->udp)
		mine->told = false;
	mine->at = ret_g->at;
	mine->count = a->count;
	mine->udp = a->udp;
}

void ports_release(struct ports *p, const uint8_t identity[static WIRE_PIN], const char *job)
{
	struct claim *c = find(p, identity, job);

	if (c)
		drop(p, c);
}

void ports_retain(struct ports *p, const uint8_t identity[static WIRE_PIN], bool (*keep)(const char *job, void *arg), void *arg)
{
	list_for_each_safe(it, &p->claims) {
		struct claim *c = list_entry(it, struct claim, node);

		if (is_of(c, identity) && !keep(c->job, arg))
			drop(p, c);
	}
}

/* ---- the store's side ---- */

void ports_changes(struct ports *p, void (*fn)(const char *key, json_t *claim, void *arg), void *arg)
{
	char key[KEY_MAX], at[ADDR_STRLEN];

	list_for_each_safe (it, &p->gone) {
		struct gone *g = list_entry(it, struct gone, node);

		list_unlink(it);
		fn(g->key, NULL, arg);
		free(g);
	}
	list_for_each (it, &p->claims) {
		struct claim *c = list_entry(it, struct claim, node);
		json_t *claim = c->told ? NULL : json_pack("{s:s, s:i, s:b}", "at", addr_print(&c->at, at), "count", (int)c->count, "udp", c->udp);

		if (!claim) /* no memory: the next time; without one it would have gone */
			continue;
		c->told = true;
		key_of(c, key);
		fn(key, claim, arg);
	}
}

int ports_load(struct ports *p, const char *key, const json_t *claim)
{
	const char *at = json_string_value(json_object_get(claim, "at"));
	json_int_t count = json_integer_value(json_object_get(claim, "count"));
	struct text rest = text_of(key), hex = text_cut(&rest, '/');
	struct claim c = { .count = (uint16_t)count,
			   .udp = json_is_true(json_object_get(claim, "udp")),
			   .told = true },
		     *kept;
	size_t n = 0;

	if (hex_decode(hex, c.identity, sizeof(c.identity), &n) < 0 || n != sizeof(c.identity) ||
	    !rest.n || rest.n >= sizeof(c.job) || count < 1 || count > 65535 || !at ||
	    addr_parse(text_of(at), 0, &c.at) < 0 || !addr_port(&c.at))
		return -EINVAL;
	memcpy(c.job, rest.p, rest.n);
	kept = malloc(sizeof(*kept));
	if (!kept)
		return -ENOMEM;
	*kept = c;
	list_init(&kept->node);
	list_append(&p->claims, &kept->node);
	return 0;
}
