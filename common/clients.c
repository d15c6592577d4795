/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections per client address: a keyed hash table under a lock. See the header for who counts what.
 * Addresses are canonicalised first, so that an IPv4 client over a mapped address is the same client.
 * The table's nodes are owned here; nobody keeps a pointer to one.
 */
#include "common/clients.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include "common/hash.h"

struct client_key {
	uint8_t ip[8]; /* IPv4, or the /64 of IPv6 */
	uint8_t v6;
};

struct client {
	struct hnode node;
	struct client_key key;
	uint64_t count; /* > 0 while in the table */
};

struct clients {
	pthread_mutex_t lock;
	struct hash_seed seed;
	struct htable table;
	uint64_t total;
};

struct clients *clients_new(void)
{
	struct clients *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	pthread_mutex_init(&c->lock, NULL);
	c->seed = hash_seed_random();
	htable_init(&c->table);
	return c;
}

static bool free_client(struct hnode *n, void *arg)
{
	htable_remove(arg, n);
	free(container_of(n, struct client, node));
	return true;
}

struct clients *clients_free(struct clients *c)
{
	if (!c)
		return NULL;
	htable_each(&c->table, free_client, &c->table);
	htable_deinit(&c->table);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

static struct client_key key_of(const struct addr *from)
{
	struct addr real = addr_canonical(from);
	struct client_key key = { .v6 = addr_family(&real) == AF_INET6 };
	size_t n;
	const uint8_t *ip = addr_ip(&real, &n);

	memcpy(key.ip, ip, MIN(n, sizeof key.ip));
	return key;
}

static bool client_eq(const struct hnode *n, const void *key)
{
	return memcmp(&container_of(n, struct client, node)->key, key, sizeof(struct client_key)) == 0;
}

static struct client *find(struct clients *c, const struct client_key *key, uint64_t hash)
{
	struct hnode *n = htable_find(&c->table, hash, client_eq, key);

	return n ? container_of(n, struct client, node) : NULL;
}

static struct client *add(struct clients *c, const struct client_key *key, uint64_t hash)
{
	struct client *cl = calloc(1, sizeof *cl);

	if (!cl)
		return NULL;
	cl->key = *key;
	if (htable_insert(&c->table, &cl->node, hash) < 0) {
		free(cl);
		return NULL;
	}
	return cl;
}

static enum clients_verdict enter(struct clients *c, const struct client_key *key,
				      uint64_t max_total, uint64_t max_address)
{
	uint64_t hash = hash_bytes(&c->seed, key, sizeof *key);
	struct client *cl = find(c, key, hash);

	if (c->total >= max_total)
		return CLIENTS_TOTAL;
	if ((cl ? cl->count : 0) >= max_address)
		return CLIENTS_ADDRESS;
	if (!cl)
		cl = add(c, key, hash);
	if (!cl)
		return CLIENTS_NO_MEMORY;
	cl->count++;
	c->total++;
	return CLIENTS_OK;
}

enum clients_verdict clients_enter(struct clients *c, const struct addr *from,
					    uint64_t max_total, uint64_t max_address)
{
	struct client_key key = key_of(from);

	pthread_mutex_lock(&c->lock);
	enum clients_verdict v = enter(c, &key, max_total, max_address);
	pthread_mutex_unlock(&c->lock);
	return v;
}

void clients_leave(struct clients *c, const struct addr *from)
{
	struct client_key key = key_of(from);

	pthread_mutex_lock(&c->lock);
	struct client *cl = find(c, &key, hash_bytes(&c->seed, &key, sizeof key));
	if (cl) {
		c->total--;
		if (--cl->count == 0)
			free_client(&cl->node, &c->table);
	}
	pthread_mutex_unlock(&c->lock);
}

uint64_t clients_count(struct clients *c)
{
	pthread_mutex_lock(&c->lock);
	uint64_t n = c->total;
	pthread_mutex_unlock(&c->lock);
	return n;
}
