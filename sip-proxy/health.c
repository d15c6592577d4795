/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of failures: a keyed table and a list in the order of the last one. See health.h. A first failure holds
 * for two seconds, each further one in a row twice as long, up to a minute: a place that comes back is found again by
 * whoever tries it first, and that is soon.
 */
#include "sip-proxy/health.h"
#include <string.h>
#include "sip-proxy/resolve.h"

struct place {
	struct hnode node;
	struct list in_order;
	enum sip_proto proto;
	struct addr at;
	unsigned failures;
	int error;
	uint64_t until;
};

struct sip_health {
	struct hash_seed seed;
	struct htable table;
	struct list in_order; /* oldest first */
	unsigned n;
};

struct sip_health *sip_health_new(void)
{
	struct sip_health *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->seed = hash_seed_random();
	htable_init(&h->table);
	list_init(&h->in_order);
	return h;
}

static void drop(struct sip_health *h, struct place *p)
{
	htable_remove(&h->table, &p->node);
	list_unlink(&p->in_order);
	h->n--;
	free(p);
}

struct sip_health *sip_health_free(struct sip_health *h)
{
	if (!h)
		return NULL;
	list_for_each_safe (it, &h->in_order)
		drop(h, list_entry(it, struct place, in_order));
	htable_deinit(&h->table);
	free(h);
	return NULL;
}

static bool same(const struct hnode *n, const void *key)
{
	const struct place *p = container_of(n, struct place, node);
	const struct sip_hop *at = key;

	return p->proto == at->proto && addr_equal(&p->at, &at->remote);
}

static struct place *find(const struct sip_health *h, const struct sip_hop *at)
{
	struct hnode *n = htable_find(&h->table, addr_hash(&h->seed, &at->remote), same, at);

	return n ? container_of(n, struct place, node) : NULL;
}

static struct place *add(struct sip_health *h, const struct sip_hop *at)
{
	struct place *p;

	if (h->n == SIP_HEALTH_MAX)
		drop(h, list_entry(h->in_order.next, struct place, in_order));
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->proto = at->proto;
	p->at = at->remote;
	if (htable_insert(&h->table, &p->node, addr_hash(&h->seed, &p->at)) < 0) {
		free(p);
		return NULL;
	}
	list_init(&p->in_order);
	h->n++;
	return p;
}

bool sip_health_report(struct sip_health *h, const struct sip_hop *at, int err, uint64_t now)
{
	struct place *p = find(h, at);
	bool was_well = !p;

	if (!err) {
		if (p)
			drop(h, p);
		return !was_well;
	}
	if (!p)
		p = add(h, at);
	if (!p)
		return false;
	p->error = err;
	if (p->until > now)
		return false; /* many who fail at once are one failure */
	p->failures++;
	p->until = now + MIN((uint64_t)SIP_HEALTH_FIRST_MS << MIN(p->failures - 1, 5u),
			     (uint64_t)SIP_HEALTH_LONGEST_MS);
	list_unlink(&p->in_order);
	list_append(&h->in_order, &p->in_order);
	return was_well;
}

uint64_t sip_health_until(const struct sip_health *h, const struct sip_hop *at, uint64_t now)
{
	const struct place *p = find(h, at);

	return p && p->until > now ? p->until : 0;
}

void sip_health_sort(const struct sip_health *h, struct sip_target *t, unsigned n, uint64_t now)
{
	struct sip_target late[SIP_TARGETS_MAX];
	unsigned good = 0, bad = 0;

	for (unsigned i = 0; i < n; i++) {
		if (sip_health_until(h, &t[i].hop, now) && bad < SIP_TARGETS_MAX)
			late[bad++] = t[i];
		else
			t[good++] = t[i];
	}
	memcpy(t + good, late, bad * sizeof(*t));
}

json_t *sip_health_json(const struct sip_health *h, uint64_t now)
{
	json_t *rows = json_array();
	char at[ADDR_STRLEN];

	list_for_each (it, &h->in_order) {
		const struct place *p = list_entry(it, struct place, in_order);
		json_array_append_new(rows,
				      json_pack("{s:s, s:s, s:i, s:s, s:I}", "transport",
						sip_proto_rows[p->proto].name, "address",
						addr_print(&p->at, at), "failures", (int)p->failures,
						"error", strerror(p->error), "retry_ms",
						(json_int_t)(p->until > now ? p->until - now : 0)));
	}
	return rows;
}
