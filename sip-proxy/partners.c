/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of partners: a keyed table by domain (in lower case) and a list in the order of their last word. See
 * partners.h. The rate is a bucket of one second's worth that fills continuously; nothing waits in it.
 * No clock and no I/O; the owner is the service, and a reload keeps it.
 */
#include "sip-proxy/partners.h"
#include <stdio.h>
#include <string.h>
#include "common/hash.h"
#include "common/list.h"
#include "sip-proxy/uri.h"

enum { NAME = 254, SHARE = 1000 /* of a message: what fills in a millisecond at 1/s */ };

struct partner {
	struct hnode node;
	struct list in_order;
	char domain[NAME];
	uint64_t counts[2][SIP_PARTNER_COUNTS]; /* out, in */
	uint64_t refused, limited;
	uint64_t bucket, filled_at;
	uint64_t last;
	const char *why; /* of the last refusal */
};

struct sip_partners {
	struct hash_seed seed;
	struct htable table;
	struct list in_order; /* quiet longest first */
	unsigned n;
};

struct sip_partners *sip_partners_new(void)
{
	struct sip_partners *ps = calloc(1, sizeof(*ps));

	if (!ps)
		return NULL;
	ps->seed = hash_seed_random();
	htable_init(&ps->table);
	list_init(&ps->in_order);
	return ps;
}

static void drop(struct sip_partners *ps, struct partner *p)
{
	htable_remove(&ps->table, &p->node);
	list_unlink(&p->in_order);
	ps->n--;
	free(p);
}

struct sip_partners *sip_partners_free(struct sip_partners *ps)
{
	if (!ps)
		return NULL;
	list_for_each_safe (it, &ps->in_order)
		drop(ps, list_entry(it, struct partner, in_order));
	htable_deinit(&ps->table);
	free(ps);
	return NULL;
}

static bool has_name(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, struct partner, node)->domain, key) == 0;
}

/* NULL: no memory, or no name that a domain could have. */
static struct partner *get(struct sip_partners *ps, struct text domain, uint64_t now)
{
	char name[NAME];
	struct partner *p;
	struct hnode *n;
	uint64_t hash;

	if (!domain.n || domain.n >= sizeof(name))
		return NULL;
	for (size_t i = 0; i < domain.n; i++)
		name[i] = sip_lower(domain.p[i]);
	name[domain.n] = 0;
	hash = hash_bytes(&ps->seed, name, domain.n);
	n = htable_find(&ps->table, hash, has_name, name);
	p = n ? container_of(n, struct partner, node) : NULL;
	if (!p) {
		if (ps->n >= SIP_PARTNERS_MAX)
			drop(ps, list_entry(ps->in_order.next, struct partner, in_order));
		p = calloc(1, sizeof(*p));
		if (!p || htable_insert(&ps->table, &p->node, hash) < 0) {
			free(p);
			return NULL;
		}
		memcpy(p->domain, name, domain.n + 1);
		list_init(&p->in_order);
		ps->n++;
	}
	list_unlink(&p->in_order);
	list_append(&ps->in_order, &p->in_order);
	p->last = now;
	return p;
}

void sip_partners_count(struct sip_partners *ps, struct text domain, bool inward,
			enum sip_partner_count what, uint64_t now)
{
	struct partner *p = get(ps, domain, now);

	if (p)
		p->counts[inward][what]++;
}

void sip_partners_refused(struct sip_partners *ps, struct text domain, const char *why, uint64_t now)
{
	struct partner *p = get(ps, domain, now);

	if (!p)
		return;
	p->refused++;
	p->why = why;
}

bool sip_partners_admit(struct sip_partners *ps, struct text domain, uint64_t rate, uint64_t now)
{
	struct partner *p = rate ? get(ps, domain, now) : NULL;

	if (!p) /* without memory there is no limit: an overload of ours is no fault of theirs */
		return true;
	if (!p->filled_at)
		p->bucket = rate * SHARE;
	else
		p->bucket = MIN(rate * SHARE,
				p->bucket + rate * MIN(now - p->filled_at, (uint64_t)1000));
	p->filled_at = now ? now : 1;
	if (p->bucket < SHARE) {
		p->limited++;
		return false;
	}
	p->bucket -= SHARE;
	return true;
}

static json_t *counts_json(const uint64_t *v)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "presence", (json_int_t)v[SIP_PARTNER_PRESENCE],
			 "messages", (json_int_t)v[SIP_PARTNER_MESSAGES], "calls",
			 (json_int_t)v[SIP_PARTNER_CALLS], "other", (json_int_t)v[SIP_PARTNER_OTHER]);
}

json_t *sip_partners_json(const struct sip_partners *ps, uint64_t now)
{
	json_t *rows = json_array();

	list_for_each (it, &ps->in_order) {
		const struct partner *p = list_entry(it, struct partner, in_order);
		json_array_insert_new(
			rows, 0,
			json_pack("{s:s, s:o, s:o, s:I, s:I, s:s, s:I}", "domain", p->domain, "in",
				  counts_json(p->counts[1]), "out", counts_json(p->counts[0]), "refused",
				  (json_int_t)p->refused, "limited", (json_int_t)p->limited, "last",
				  p->why ? p->why : "", "idle_ms", (json_int_t)(now - p->last)));
	}
	return rows;
}
