/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sources: a keyed table with a list in the order of their last word. See sources.h.
 *
 * A source has a bucket of messages that refills at the rate; it is full at first, so that a well-behaved client's
 * burst is never refused. Without memory for a newcomer, or when every source in the table must stay, a
 * newcomer is treated as one whose bucket is empty: known peers go on.
 */
#include "sip-proxy/sources.h"
#include <errno.h>
#include <string.h>
#include "common/hash.h"

struct key {
	uint8_t ip[8]; /* IPv4, or the /64 of IPv6 */
	uint8_t v6;
};

struct source {
	struct hnode node;
	struct list age;
	struct key key;
	uint64_t tokens_at; /* ms */
	double tokens;
	uint64_t banned_until;
	uint64_t bad_since;
	unsigned bad, conns;
};

struct lists {
	struct prefix *allow, *deny, *unlimited;
	size_t n_allow, n_deny, n_unlimited;
};

struct sip_sources {
	struct hash_seed seed;
	struct htable table;
	struct list by_age; /* the oldest first */
	unsigned n;
	struct lists lists;
	struct sip_edge_limits limits;
};

struct sip_sources *sip_sources_new(void)
{
	struct sip_sources *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->seed = hash_seed_random();
	htable_init(&s->table);
	list_init(&s->by_age);
	return s;
}

static void drop(struct sip_sources *s, struct source *o)
{
	htable_remove(&s->table, &o->node);
	list_unlink(&o->age);
	free(o);
	s->n--;
}

static void lists_free(struct lists *l)
{
	free(l->allow);
	free(l->deny);
	free(l->unlimited);
}

struct sip_sources *sip_sources_free(struct sip_sources *s)
{
	if (!s)
		return NULL;
	list_for_each_safe (it, &s->by_age)
		drop(s, list_entry(it, struct source, age));
	htable_deinit(&s->table);
	lists_free(&s->lists);
	free(s);
	return NULL;
}

static int copy(const struct prefix *from, size_t n, struct prefix **ret_to, size_t *ret_n)
{
	*ret_n = n;
	if (!n)
		return 0;
	*ret_to = malloc(n * sizeof(*from));
	if (!*ret_to)
		return -ENOMEM;
	memcpy(*ret_to, from, n * sizeof(*from));
	return 0;
}

int sip_sources_configure(struct sip_sources *s, const struct sip_edge_config *c)
{
	struct lists l = { 0 };

	if (copy(c->allow, c->n_allow, &l.allow, &l.n_allow) < 0 ||
	    copy(c->deny, c->n_deny, &l.deny, &l.n_deny) < 0 ||
	    copy(c->unlimited, c->n_unlimited, &l.unlimited, &l.n_unlimited) < 0) {
		lists_free(&l);
		return -ENOMEM;
	}
	lists_free(&s->lists);
	s->lists = l;
	s->limits = c->limits;
	return 0;
}

void sip_sources_take(struct sip_sources *s, struct sip_sources *from)
{
	lists_free(&s->lists);
	s->lists = from->lists;
	s->limits = from->limits;
	from->lists = (struct lists){ 0 };
}

/* ---- the table ---- */

static bool in(const struct prefix *p, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (prefix_contains(&p[i], a))
			return true;
	return false;
}

static struct key key_of(const struct addr *real)
{
	struct key key = { .v6 = addr_family(real) == AF_INET6 };
	size_t n;
	const uint8_t *ip = addr_ip(real, &n);

	memcpy(key.ip, ip, MIN(n, sizeof(key.ip)));
	return key;
}

static bool same(const struct hnode *n, const void *key)
{
	return memcmp(&container_of(n, struct source, node)->key, key, sizeof(struct key)) == 0;
}

static struct source *find(const struct sip_sources *s, const struct key *key)
{
	struct hnode *n = htable_find(&s->table, hash_bytes(&s->seed, key, sizeof(*key)), same, key);

	return n ? container_of(n, struct source, node) : NULL;
}

static bool make_room(struct sip_sources *s, uint64_t now)
{
	unsigned looked = 0;

	if (s->n < SIP_SOURCES_MAX)
		return true;
	list_for_each_safe (it, &s->by_age) {
		struct source *o = list_entry(it, struct source, age);
		if (!o->conns && o->banned_until <= now) {
			drop(s, o);
			return true;
		}
		if (++looked == 64)
			break;
		list_unlink(it); /* it must stay: look at it again when the others have been seen */
		list_append(&s->by_age, it);
	}
	return false;
}

static struct source *get(struct sip_sources *s, const struct addr *real, uint64_t now)
{
	struct key key = key_of(real);
	struct source *o = find(s, &key);

	if (!o) {
		if (!make_room(s, now))
			return NULL;
		o = calloc(1, sizeof(*o));
		if (!o ||
		    htable_insert(&s->table, &o->node, hash_bytes(&s->seed, &key, sizeof(key))) < 0) {
			free(o);
			return NULL;
		}
		o->key = key;
		o->tokens = (double)s->limits.burst;
		o->tokens_at = now;
		s->n++;
	} else {
		list_unlink(&o->age);
	}
	list_append(&s->by_age, &o->age);
	return o;
}

/* ---- verdicts ---- */

static bool take_token(const struct sip_sources *s, struct source *o, uint64_t now)
{
	o->tokens += (double)(now - o->tokens_at) * (double)s->limits.rate / 1000.0;
	o->tokens = MIN(o->tokens, (double)s->limits.burst);
	o->tokens_at = now;
	if (o->tokens < 1)
		return false;
	o->tokens -= 1;
	return true;
}

/* SIP_DROPS, and *ret_o NULL: not to be counted. */
static enum sip_drop judge(struct sip_sources *s, const struct addr *from, uint64_t now,
			   struct source **ret_o)
{
	struct addr real = addr_canonical(from);

	*ret_o = NULL;
	if (in(s->lists.deny, s->lists.n_deny, &real))
		return SIP_DROP_DENIED;
	if (in(s->lists.unlimited, s->lists.n_unlimited, &real))
		return SIP_DROPS;
	if (s->lists.n_allow && !in(s->lists.allow, s->lists.n_allow, &real))
		return SIP_DROP_DENIED;
	*ret_o = get(s, &real, now);
	if (!*ret_o)
		return SIP_DROP_MEMORY;
	return (*ret_o)->banned_until > now ? SIP_DROP_BANNED : SIP_DROPS;
}

enum sip_drop sip_sources_message(struct sip_sources *s, const struct addr *from, uint64_t now)
{
	struct source *o;
	enum sip_drop d = judge(s, from, now, &o);

	if (d != SIP_DROPS || !o || !s->limits.rate)
		return d;
	return take_token(s, o, now) ? SIP_DROPS : SIP_DROP_RATE;
}

enum sip_drop sip_sources_enter(struct sip_sources *s, const struct addr *from, uint64_t now,
				bool *ret_counted)
{
	struct source *o;
	enum sip_drop d = judge(s, from, now, &o);

	*ret_counted = false;
	if (d != SIP_DROPS || !o)
		return d;
	if (o->conns >= s->limits.connections_per_source)
		return SIP_DROP_CONNECTIONS;
	o->conns++;
	*ret_counted = true;
	return SIP_DROPS;
}

void sip_sources_leave(struct sip_sources *s, const struct addr *from)
{
	struct addr real = addr_canonical(from);
	struct key key = key_of(&real);
	struct source *o = find(s, &key);

	if (o && o->conns)
		o->conns--;
}

bool sip_sources_bad(struct sip_sources *s, const struct addr *from, uint64_t now)
{
	struct source *o;

	if (!s->limits.ban_after || judge(s, from, now, &o) != SIP_DROPS || !o)
		return false;
	if (now - o->bad_since >= 60000) {
		o->bad_since = now;
		o->bad = 0;
	}
	if (++o->bad < s->limits.ban_after)
		return false;
	o->bad = 0;
	o->banned_until = now + s->limits.ban_ms;
	return true;
}

void sip_sources_ban(struct sip_sources *s, const struct addr *from, uint64_t until)
{
	struct source *o;

	(void)judge(s, from, 0, &o);
	if (o)
		o->banned_until = MAX(o->banned_until, until);
}

unsigned sip_sources_count(const struct sip_sources *s)
{
	return s->n;
}
