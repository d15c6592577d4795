/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table is sets of four places, found by a keyed hash of the address: the place of the oldest window is taken where all
 * four are in use.
 * Addresses are kept in their canonical form.
 */
#include "gateway/guesses.h"
#include <errno.h>
#include <stdlib.h>

enum { WAYS = 4 };

struct place {
	struct addr who;
	uint64_t since;
	unsigned n;
};
struct guesses {
	struct hash_seed seed;
	struct place place[GUESSES_SLOTS];
};

int guesses_new(struct guesses **ret_g)
{
	struct guesses *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->seed = hash_seed_random();
	*ret_g = g;
	return 0;
}

struct guesses *guesses_free(struct guesses *g)
{
	free(g);
	return NULL;
}

static size_t set_of(const struct guesses *g, const struct addr *a)
{
	return (size_t)(addr_hash_ip(&g->seed, a) % (GUESSES_SLOTS / WAYS)) * WAYS;
}

static bool is_over(const struct place *p, uint64_t now)
{
	return !p->n || now - p->since >= GUESSES_WINDOW_MS;
}

unsigned guesses_add(struct guesses *g, const struct addr *who, uint64_t now)
{
	struct addr a = addr_source(who);
	size_t first = set_of(g, &a);
	struct place *best = &g->place[first];

	for (size_t i = first; i < first + WAYS; i++) {
		struct place *p = &g->place[i];

		if (!is_over(p, now) && addr_equal_ip(&p->who, &a))
			return ++p->n;
		if (!is_over(best, now) && (is_over(p, now) || p->since < best->since))
			best = p;
	}
	*best = (struct place){ .who = a, .since = now, .n = 1 };
	return 1;
}

bool guesses_many(const struct guesses *g, const struct addr *who, unsigned most, uint64_t now)
{
	struct addr a = addr_source(who);
	size_t first = set_of(g, &a);

	for (size_t i = first; i < first + WAYS; i++)
		if (!is_over(&g->place[i], now) && addr_equal_ip(&g->place[i].who, &a))
			return g->place[i].n > most;
	return false;
}
