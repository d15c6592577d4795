/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolver's memory: a hash table by name and family, and a list in the order of storing, whose oldest entry
 * makes room. An entry that has expired is found to be so when it is asked for, or goes when its turn comes.
 * Names are compared as DNS does, whatever their case.
 */
#include "common/dns_cache.h"
#include <string.h>
#include "common/dns_records.h"

struct entry {
	struct hnode node;
	struct list in_order;
	int family;
	struct dns_answers a;
	char host[];
};

struct dns_cache {
	struct hash_seed seed;
	struct htable by_name;
	struct list in_order; /* oldest first */
	size_t n;
};

struct key {
	const char *host;
	int family;
};

static uint64_t key_hash(const struct dns_cache *c, const char *host)
{
	char low[DNS_NAME_MAX + 1];
	size_t n = 0;

	for (; host[n] && n < DNS_NAME_MAX; n++)
		low[n] = (char)(host[n] >= 'A' && host[n] <= 'Z' ? host[n] | 0x20 : host[n]);
	return hash_bytes(&c->seed, low, n);
}

static bool same(const struct hnode *node, const void *key)
{
	const struct entry *e = container_of(node, struct entry, node);
	const struct key *k = key;

	return e->family == k->family && text_ieq(text_of(e->host), text_of(k->host));
}

static struct entry *find(struct dns_cache *c, const char *host, int family)
{
	const struct key k = { host, family };
	struct hnode *n = htable_find(&c->by_name, key_hash(c, host), same, &k);

	return n ? container_of(n, struct entry, node) : NULL;
}

static void drop(struct dns_cache *c, struct entry *e)
{
	htable_remove(&c->by_name, &e->node);
	list_unlink(&e->in_order);
	c->n--;
	dns_records_unref(e->a.records);
	free(e);
}

struct dns_cache *dns_cache_new(void)
{
	struct dns_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->seed = hash_seed_random();
	htable_init(&c->by_name);
	list_init(&c->in_order);
	return c;
}

void dns_cache_clear(struct dns_cache *c)
{
	list_for_each_safe(it, &c->in_order)
		drop(c, list_entry(it, struct entry, in_order));
}

struct dns_cache *dns_cache_free(struct dns_cache *c)
{
	if (!c)
		return NULL;
	dns_cache_clear(c);
	htable_deinit(&c->by_name);
	free(c);
	return NULL;
}

const struct dns_answers *dns_cache_find(struct dns_cache *c, const char *host, int family, uint64_t now)
{
	struct entry *e = find(c, host, family);

	if (e && e->a.expires <= now) {
		drop(c, e);
		e = NULL;
	}
	return e ? &e->a : NULL;
}

void dns_cache_put(struct dns_cache *c, const char *host, int family, const struct dns_answers *a)
{
	size_t n = strlen(host);
	struct entry *e = find(c, host, family);

	if (e)
		drop(c, e);
	else if (c->n >= DNS_CACHE_MAX)
		drop(c, list_entry(c->in_order.next, struct entry, in_order));
	e = malloc(sizeof(*e) + n + 1);
	if (!e)
		return;
	*e = (struct entry){ .family = family, .a = *a };
	memcpy(e->host, host, n + 1);
	if (htable_insert(&c->by_name, &e->node, key_hash(c, host)) < 0) {
		free(e);
		return;
	}
	(void)dns_records_ref(e->a.records);
	list_append(&c->in_order, &e->in_order);
	c->n++;
}
