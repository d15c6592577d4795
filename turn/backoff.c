/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two tables: failures by pair and by address (one table, sets of four; a new entry takes the place of the
 * one with the fewest failures), and when a pair was right last. 256 KB in all, touched only by requests that
 * return a nonce of ours and are not signed with the key of a living allocation.
 *
 * An entry's failures are halved for each FORGET_MS that pass without one. A round at the end of a wait has
 * several tries, so that one device cannot use up what the other needed.
 */
#include "turn/backoff.h"
#include <string.h>
#include "common/hash.h"

enum {
	SETS = 1024,
	WAYS = 4,
	KNOWN = 4096,
	FIRST_MS = 1000,
	FORGET_MS = 10 * 60 * 1000,
	KNOWN_MS = 60 * 60 * 1000,
	KNOWN_EVERY_MS = 250,
	KNOWN_AT_ONCE = 64,
	TRIES = 3, /* of a round */
	ROUNDS_MAX = 32,
};

struct entry {
	uint64_t tag; /* 0: free */
	uint64_t until, last; /* end of the wait; last failure */
	uint64_t spent;	      /* when a known pair's tries meanwhile will have come back */
	uint32_t failures;
	uint16_t rounds, fresh; /* waits so far; failures since the last one */
};

struct known {
	uint64_t tag, at;
};

struct turn_backoff {
	struct hash_seed seed;
	struct entry entries[SETS][WAYS];
	struct known known[KNOWN];
};

struct turn_backoff *turn_backoff_new(void)
{
	struct turn_backoff *b = calloc(1, sizeof *b);

	if (b)
		b->seed = hash_seed_random();
	return b;
}

struct turn_backoff *turn_backoff_free(struct turn_backoff *b)
{
	free(b);
	return NULL;
}

/* ---- keys ---- */

/* Of "1700000000:alice" the name: a client that fetches a new credential with each try is still one. */
static struct text name_of(struct text user)
{
	struct text rest = user, digits = text_cut(&rest, ':');
	uint64_t expiry;

	return rest.n && text_u64(digits, &expiry) == 0 ? rest : user;
}

static uint64_t address_tag(const struct turn_backoff *b, const struct addr *client)
{
	struct addr a = addr_canonical(client);
	size_t n;
	const uint8_t *ip = addr_ip(&a, &n);
	uint8_t key[9] = { (uint8_t)n };

	memcpy(key + 1, ip, MIN(n, (size_t)8));
	return hash_bytes(&b->seed, key, sizeof key) | 1; /* never 0 */
}

static uint64_t pair_tag(const struct turn_backoff *b, const struct turn_backoff_who *who)
{
	struct text name = name_of(who->user);
	uint64_t all[3] = { address_tag(b, who->client), hash_bytes(&b->seed, who->realm.p, who->realm.n),
			    hash_bytes(&b->seed, name.p, name.n) };

	return hash_bytes(&b->seed, all, sizeof all) | 1;
}

/* ---- failures ---- */

static void forget(struct entry *e, uint64_t now)
{
	uint64_t times = now > e->last ? (now - e->last) / FORGET_MS : 0;

	if (!times || now < e->until)
		return;
	e->failures = times < 32 ? e->failures >> times : 0;
	e->rounds = times < 16 ? (uint16_t)(e->rounds >> times) : 0;
	e->last += times * FORGET_MS;
	if (!e->failures)
		*e = (struct entry){ 0 };
}

static struct entry *find(struct turn_backoff *b, uint64_t tag, uint64_t now)
{
	struct entry *set = b->entries[(tag >> 1) % SETS];

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].tag == tag)
			forget(&set[i], now);
		if (set[i].tag == tag) /* still */
			return &set[i];
	}
	return NULL;
}

static struct entry *find_or_make(struct turn_backoff *b, uint64_t tag, uint64_t now)
{
	struct entry *set = b->entries[(tag >> 1) % SETS], *e = find(b, tag, now), *least = &set[0];

	if (e)
		return e;
	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].tag)
			forget(&set[i], now);
		if (set[i].failures < least->failures || (set[i].failures == least->failures && set[i].last < least->last))
			least = &set[i];
	}
	*least = (struct entry){ .tag = tag, .last = now };
	return least;
}

/* Counts one; true: a wait begins. */
static bool count(struct entry *e, uint64_t limit, uint64_t max_ms, uint64_t now)
{
	if (e->failures < UINT32_MAX)
		e->failures++;
	e->last = now;
	if (e->failures < limit || (e->rounds && ++e->fresh < TRIES))
		return false;
	uint64_t ms = (uint64_t)FIRST_MS << MIN(e->rounds, (uint16_t)ROUNDS_MAX);
	e->until = now + MIN(ms, max_ms);
	e->fresh = 0;
	if (e->rounds < ROUNDS_MAX)
		e->rounds++;
	return true;
}

/* ---- pairs that were right ---- */

static struct known *known_slot(struct turn_backoff *b, uint64_t pair)
{
	return &b->known[(pair >> 1) % KNOWN];
}

static bool is_known(struct turn_backoff *b, uint64_t pair, uint64_t now)
{
	const struct known *k = known_slot(b, pair);

	return k->tag == pair && now - k->at < KNOWN_MS;
}

static bool spend_try(struct entry *e, uint64_t now)
{
	uint64_t from = MAX(e->spent, now);

	if (from - now > (KNOWN_AT_ONCE - 1) * KNOWN_EVERY_MS)
		return false;
	e->spent = from + KNOWN_EVERY_MS;
	return true;
}

/* ---- what the request's way asks ---- */

bool turn_backoff_may_try(struct turn_backoff *b, const struct turn_backoff_limits *l,
			  const struct turn_backoff_who *who, uint64_t now)
{
	uint64_t pair = pair_tag(b, who);
	bool known = is_known(b, pair, now);
	struct entry *e = l->per_user != UINT64_MAX ? find(b, pair, now) : NULL;

	if (e && now < e->until && !(known && spend_try(e, now)))
		return false;
	if (known || l->per_address == UINT64_MAX)
		return true;
	e = find(b, address_tag(b, who->client), now);
	return !e || now >= e->until;
}

bool turn_backoff_failed(struct turn_backoff *b, const struct turn_backoff_limits *l,
			 const struct turn_backoff_who *who, uint64_t now, struct turn_backoff_wait *ret_w)
{
	struct entry *e = find_or_make(b, pair_tag(b, who), now);

	if (count(e, l->per_user, l->max_ms, now)) {
		*ret_w = (struct turn_backoff_wait){ e->failures, e->until - now, false };
		(void)count(find_or_make(b, address_tag(b, who->client), now), l->per_address, l->max_ms, now);
		return true;
	}
	e = find_or_make(b, address_tag(b, who->client), now);
	if (!count(e, l->per_address, l->max_ms, now))
		return false;
	*ret_w = (struct turn_backoff_wait){ e->failures, e->until - now, true };
	return true;
}

void turn_backoff_passed(struct turn_backoff *b, const struct turn_backoff_who *who, uint64_t now)
{
	uint64_t pair = pair_tag(b, who);
	struct entry *e = find(b, pair, now);

	if (e)
		*e = (struct entry){ 0 };
	*known_slot(b, pair) = (struct known){ pair, now };
	e = find(b, address_tag(b, who->client), now);
	if (!e)
		return;
	e->failures /= 2; /* an address with good clients is no guesser's; half, lest a user's own guess at others for free */
	e->rounds /= 2;
	e->until = 0;
	if (!e->failures)
		*e = (struct entry){ 0 };
}
