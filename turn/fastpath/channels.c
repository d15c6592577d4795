/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules are made here and nowhere else, and only such as move packets between an address of this machine and
 * one that a route leads to over our interfaces: stile-turn cannot ask for more. When two channels claim one
 * key (an allocation went to another worker, whose message came first), the younger has it. A slot's
 * generation goes up with each owner, so that a packet that found an old rule does not pass by a new slot.
 */
#include "turn/fastpath/channels.h"
#include <string.h>

enum { FIRST_NUMBER = 0x4000, LAST_NUMBER = 0x7fff };

struct entry {
	struct fast_channel c;
	const void *owner; /* NULL: free */
	uint64_t age;	   /* smaller is older */
	uint32_t next_free;
	enum fast_why why, told;
};

struct fast_channels {
	struct fast_kernel *kernel;
	struct fast_routes *routes;
	struct fast_slot *slots;
	uint32_t n, high; /* high: slots from here on were never used */
	uint32_t free, last_free; /* a queue, so that a slot rests as long as possible; free is n: empty */
	uint32_t cursor, news;	/* where the last refresh and the last search for news stopped */
	unsigned used, untold;
	uint64_t age;
	struct entry v[];
};

struct fast_channels *fast_channels_new(struct fast_kernel *k, struct fast_routes *r)
{
	struct fast_slot *slots;
	int fd;
	uint32_t n = fast_kernel_slots(k, &slots, &fd);
	struct fast_channels *cs = calloc(1, sizeof *cs + n * sizeof cs->v[0]);

	if (cs)
		*cs = (struct fast_channels){ .kernel = k, .routes = r, .slots = slots, .n = n, .free = n };
	return cs;
}

struct fast_channels *fast_channels_free(struct fast_channels *cs)
{
	free(cs);
	return NULL;
}

/* ---- rules ---- */

static void put_ip(uint8_t out[static 16], const struct addr *a)
{
	size_t n;
	const uint8_t *ip = addr_ip(a, &n);

	memset(out, 0, 16);
	memcpy(out, ip, n);
}

static uint8_t family_of(const struct addr *a)
{
	return addr_family(a) == AF_INET ? 4 : 6;
}

struct end { /* of one way */
	const struct addr *from, *to;
};

static struct end arrives(const struct fast_channel *c, enum fast_way way)
{
	return way == FAST_UP ? (struct end){ &c->client, &c->local } : (struct end){ &c->peer, &c->relay };
}

static struct end leaves(const struct fast_channel *c, enum fast_way way)
{
	return way == FAST_UP ? (struct end){ &c->relay, &c->peer } : (struct end){ &c->local, &c->client };
}

static struct fast_key key_of(const struct fast_channel *c, enum fast_way way)
{
	struct end e = arrives(c, way);
	struct fast_key k = { .from_port = htobe16(addr_port(e.from)), .to_port = htobe16(addr_port(e.to)),
			      .number = way == FAST_UP ? htobe16(c->number) : 0, .family = family_of(e.from) };

	put_ip(k.from, e.from);
	put_ip(k.to, e.to);
	return k;
}

static struct fast_rule rule_of(const struct fast_channels *cs, const struct entry *e, enum fast_way way, const struct fast_hop hops[FAST_WAYS])
{
	const struct fast_hop *out = &hops[way];
	const struct fast_interface *out_if = fast_kernel_interface(cs->kernel, out->ifindex);
	const struct fast_interface *in_if = fast_kernel_interface(cs->kernel, hops[!way].ifindex);
	struct end end = leaves(&e->c, way);
	uint32_t slot = (uint32_t)(e - cs->v);
	struct fast_rule r = { .from_port = htobe16(addr_port(end.from)), .to_port = htobe16(addr_port(end.to)),
			       .number = htobe16(e->c.number), .family = family_of(end.from), .way = (uint8_t)way,
			       .slot = slot, .generation = cs->slots[slot].generation,
			       .in_ifindex = in_if->index, .out_ifindex = out_if->index,
			       .mtu = out->mtu ? MIN(out->mtu, out_if->mtu) : out_if->mtu,
			       .hop_family = family_of(&out->at), .has_mac = out->has_mac };

	put_ip(r.from, end.from);
	put_ip(r.to, end.to);
	put_ip(r.hop, &out->at);
	memcpy(r.in_mac, in_if->mac, sizeof r.in_mac);
	memcpy(r.hop_mac, out->mac, sizeof r.hop_mac);
	memcpy(r.out_mac, out_if->mac, sizeof r.out_mac);
	return r;
}

/* Another channel's rule under this key, which is younger. */
static bool is_taken(const struct fast_channels *cs, const struct entry *e, const struct fast_key *key)
{
	struct fast_rule there;

	return fast_rule_get(cs->kernel, key, &there) == 0 && there.slot < cs->n && cs->v[there.slot].owner &&
	       cs->v[there.slot].age > e->age;
}

static void take_out(struct fast_channels *cs, const struct entry *e)
{
	for (enum fast_way way = FAST_UP; way < FAST_WAYS; way++) {
		struct fast_key key = key_of(&e->c, way);
		struct fast_rule there;
		if (fast_rule_get(cs->kernel, &key, &there) == 0 && there.slot == (uint32_t)(e - cs->v))
			fast_rule_delete(cs->kernel, &key);
	}
}

static enum fast_why find_hops(struct fast_channels *cs, const struct entry *e, struct fast_hop ret_hops[FAST_WAYS])
{
	for (enum fast_way way = FAST_UP; way < FAST_WAYS; way++) {
		struct end end = leaves(&e->c, way);
		enum fast_why why = fast_route_find(cs->routes, end.from, end.to, &ret_hops[way]);
		if (why != FAST_OFFLOADED)
			return why;
		if (!fast_kernel_interface(cs->kernel, ret_hops[way].ifindex))
			return FAST_WHY_INTERFACE;
	}
	return FAST_OFFLOADED;
}

static enum fast_why put_in(struct fast_channels *cs, const struct entry *e)
{
	struct fast_hop hops[FAST_WAYS];
	enum fast_why why = find_hops(cs, e, hops);

	for (enum fast_way way = FAST_UP; way < FAST_WAYS && why == FAST_OFFLOADED; way++) {
		struct fast_key key = key_of(&e->c, way);
		struct fast_rule rule = rule_of(cs, e, way, hops);
		if (is_taken(cs, e, &key))
			why = FAST_WHY_BAD;
		else if (fast_rule_put(cs->kernel, &key, &rule) < 0)
			why = FAST_WHY_MEMORY;
	}
	if (why != FAST_OFFLOADED)
		take_out(cs, e);
	return why;
}

static void settle(struct fast_channels *cs, struct entry *e)
{
	cs->untold -= e->why != e->told;
	e->why = put_in(cs, e);
	cs->untold += e->why != e->told;
}

/* ---- channels ---- */

static bool is_sane(struct fast_channels *cs, const struct fast_channel *c)
{
	return c->number >= FIRST_NUMBER && c->number <= LAST_NUMBER && addr_port(&c->client) && addr_port(&c->local) &&
	       addr_port(&c->relay) && addr_port(&c->peer) && fast_route_is_local(cs->routes, &c->local) &&
	       fast_route_is_local(cs->routes, &c->relay);
}

static struct entry *new_entry(struct fast_channels *cs)
{
	struct entry *e = NULL;

	if (cs->high < cs->n) {
		e = &cs->v[cs->high++];
	} else if (cs->free < cs->n) {
		e = &cs->v[cs->free];
		cs->free = e->next_free;
	}
	return e;
}

enum fast_why fast_channels_add(struct fast_channels *cs, const struct fast_channel *c, const void *owner,
				uint32_t *ret_slot, uint32_t *ret_generation)
{
	*ret_slot = FAST_NO_SLOT;
	*ret_generation = 0;
	if (!is_sane(cs, c))
		return FAST_WHY_BAD;
	struct entry *e = new_entry(cs);
	if (!e)
		return FAST_WHY_FULL;
	uint32_t slot = (uint32_t)(e - cs->v), generation = cs->slots[slot].generation + 1;
	/* Who is still inside is of an earlier generation, and counts itself out. */
	cs->slots[slot].expires_ns = 0;
	for (enum fast_way way = FAST_UP; way < FAST_WAYS; way++)
		cs->slots[slot].packets[way] = cs->slots[slot].bytes[way] = 0;
	__atomic_store_n(&cs->slots[slot].generation, generation, __ATOMIC_RELEASE);
	*e = (struct entry){ .c = *c, .owner = owner, .age = ++cs->age, .told = FAST_OFFLOADED };
	e->why = e->told = put_in(cs, e);
	cs->used++;
	*ret_slot = slot;
	*ret_generation = generation;
	return e->why;
}

static void end(struct fast_channels *cs, struct entry *e)
{
	uint32_t slot = (uint32_t)(e - cs->v);

	__atomic_store_n(&cs->slots[slot].expires_ns, 0, __ATOMIC_SEQ_CST);
	take_out(cs, e);
	cs->untold -= e->why != e->told;
	cs->used--;
	*e = (struct entry){ .next_free = cs->n };
	if (cs->free == cs->n)
		cs->free = slot;
	else
		cs->v[cs->last_free].next_free = slot;
	cs->last_free = slot;
}

bool fast_channels_remove(struct fast_channels *cs, const void *owner, uint32_t slot, uint32_t generation)
{
	if (slot >= cs->n || cs->v[slot].owner != owner || cs->slots[slot].generation != generation)
		return false;
	end(cs, &cs->v[slot]);
	return true;
}

void fast_channels_drop(struct fast_channels *cs, const void *owner)
{
	for (uint32_t i = 0; i < cs->high; i++)
		if (cs->v[i].owner == owner)
			end(cs, &cs->v[i]);
}

void fast_channels_refresh(struct fast_channels *cs, unsigned n)
{
	for (n = MIN(n, cs->high); n; n--) {
		cs->cursor = cs->cursor + 1 < cs->high ? cs->cursor + 1 : 0;
		if (cs->v[cs->cursor].owner)
			settle(cs, &cs->v[cs->cursor]);
	}
}

void fast_channels_refresh_all(struct fast_channels *cs)
{
	fast_channels_refresh(cs, cs->high);
}

bool fast_channels_news(struct fast_channels *cs, const void *owner, struct fast_msg *ret_state)
{
	for (uint32_t i = 0; cs->untold && i < cs->high; i++) {
		struct entry *e = &cs->v[cs->news];
		uint32_t slot = cs->news;
		cs->news = cs->news + 1 < cs->high ? cs->news + 1 : 0;
		if (e->owner != owner || e->why == e->told)
			continue;
		e->told = e->why;
		cs->untold--;
		*ret_state = (struct fast_msg){ .type = FAST_STATE, .state = { slot, cs->slots[slot].generation, e->why } };
		return true;
	}
	return false;
}

struct fast_channels_count fast_channels_count(const struct fast_channels *cs)
{
	struct fast_channels_count c = { .slots = cs->n, .used = cs->used };

	for (uint32_t i = 0; i < cs->high; i++)
		c.offloaded += cs->v[i].owner && cs->v[i].why == FAST_OFFLOADED;
	return c;
}
