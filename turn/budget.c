/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The budget of unauthenticated answers: what a worker may send to a source prefix beyond the bytes
 * that came from it, so that spoofed requests cannot make the server an amplifier.
 *
 * A table of fixed size, made once: a million spoofed sources change numbers, not memory. The bucket
 * is chosen by a keyed hash of the prefix (IPv4 /24, IPv6 /48); prefixes that fall together share an
 * allowance, which a stranger cannot aim at without the seed. Each worker has its own table, so the
 * allowance is per worker. Not thread-safe.
 */
#include <string.h>
#include "common/hash.h"
#include "turn/rate.h"
#include "turn/totals.h"

enum { BUDGET_BUCKETS = 1 << 14 };

struct turn_budget {
	struct hash_seed seed;
	uint64_t spent_until_ns[BUDGET_BUCKETS]; /* turn/rate.h */
};

struct turn_budget *turn_budget_new(void)
{
	struct turn_budget *b = calloc(1, sizeof(*b));

	if (b)
		b->seed = hash_seed_random();
	return b;
}

struct turn_budget *turn_budget_free(struct turn_budget *b)
{
	free(b);
	return NULL;
}

/* The family stands in front, so that an IPv4 prefix never equals the first bytes of an IPv6 one. */
static uint64_t *bucket_of(struct turn_budget *b, const struct addr *source)
{
	struct addr a = addr_canonical(source);
	size_t n;
	const uint8_t *ip = addr_ip(&a, &n);
	uint8_t key[7] = { (uint8_t)n };
	size_t prefix = n == 4 ? 3 : 6;

	if (n >= prefix)
		memcpy(key + 1, ip, prefix);
	return &b->spent_until_ns[hash_bytes(&b->seed, key, 1 + prefix) & (BUDGET_BUCKETS - 1)];
}

bool turn_budget_charge(struct turn_budget *b, const struct addr *source, size_t request, size_t answer,
			uint64_t rate_bits, uint64_t now_ms)
{
	uint64_t now = now_ms * RATE_NS_PER_MS;
	uint64_t *bucket, from, cost;

	if (answer <= request || rate_bits == RATE_UNLIMITED)
		return true;
	if (!rate_bits)
		return false;
	bucket = bucket_of(b, source);
	from = MAX(*bucket, now);
	cost = rate_cost_ns(answer - request, rate_bits);
	if (from - now > RATE_BURST_NS || cost > RATE_BURST_NS - (from - now))
		return false; /* nothing is charged: the answer is not sent */
	*bucket = from + cost;
	return true;
}
