/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts over all workers. Two locks are never held at once.
 *
 * Accounts stand in a table of SHARDS parts, each with its lock, taken only when an allocation
 * begins or ends. Rates are one atomic word per account, per realm and for the total (turn/rate.h); a worker
 * takes a lease of some bytes from all at once, so the packet path touches neither lock nor shared
 * line. What a realm uses stands in the share of its slot, which is there as long as the server is.
 * Live relay ports are bitmaps per own address: added under a lock, read without one; their number is
 * bounded, an address that has no live port makes room, and one beyond is not known as a relay.
 *
 * An account is freed with its last allocation. Only one that has overdrawn its rate by then stays
 * until the debt is gone (at most a second), else allocate–burst–delete in a loop would have a fresh
 * allowance each time; the number of such debtors is bounded too.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "common/list.h"
#include "turn/rate.h"
#include "turn/totals.h"

enum {
	SHARDS = 64,
	DEBTORS_PER_SHARD = 256,
	REALMS = 256, /* slots: turn/realm.h */
	PORT_WORDS = 65536 / 64,
};

/* What a realm uses of the server. */
struct share {
	_Alignas(64) _Atomic uint64_t allocations;
	_Atomic uint64_t used[TURN_USES];
	_Atomic uint64_t spent_until_ns;
};

struct turn_account {
	struct hnode node;	  /* in its shard, by realm and name */
	struct list debtor;	  /* in shard->debtors while it has no allocation but a debt */
	struct shard *shard;
	struct share *share;	  /* of its realm */
	uint64_t allocations;	  /* under the shard's lock */
	_Atomic uint64_t used[TURN_USES]; /* 0 again when the last allocation has ended */
	_Atomic uint64_t spent_until_ns;
	char name[];
};

struct shard {
	_Alignas(64) pthread_mutex_t lock;
	struct htable accounts;
	struct list debtors; /* oldest first */
	unsigned n_debtors;
};

struct relay_map {
	struct relay_map *retired; /* the next one that is out of use */
	struct addr at; /* canonical; the port is not looked at */
	_Atomic uint64_t ports[PORT_WORDS];
	_Atomic uint64_t listeners[PORT_WORDS]; /* of TCP allocations */
};

struct turn_totals {
	struct hash_seed seed;
	struct shard shards[SHARDS];
	_Alignas(64) _Atomic uint64_t allocations;
	_Atomic uint64_t made; /* allocations, ever */
	_Atomic uint64_t peak; /* most of them since turn_totals_peak() was asked; two at once may count as one */
	_Atomic uint64_t used[TURN_USES];
	_Alignas(64) _Atomic uint64_t spent_until_ns;
	_Atomic uint64_t now_ns; /* of the latest lease: what a debt is compared with */
	struct share shares[REALMS]; /* by slot */
	_Alignas(64) pthread_mutex_t maps_lock;
	_Atomic unsigned n_maps; /* released after maps[n_maps - 1] is complete */
	_Atomic(struct relay_map *) maps[TURN_TOTALS_RELAY_ADDRESSES];
	struct relay_map *retired;
};

/* Workers write these at each allocation; what they read with packets must not share their lines. */
_Static_assert(offsetof(struct turn_totals, allocations) % 64 == 0 && offsetof(struct turn_totals, spent_until_ns) % 64 == 0 &&
	       offsetof(struct turn_totals, maps_lock) % 64 == 0 && sizeof(struct share) % 64 == 0 && sizeof(struct shard) % 64 == 0,
	       "counters of the workers have cache lines of their own");

struct turn_totals *turn_totals_new(void)
{
	struct turn_totals *t = aligned_alloc(64, sizeof(*t));

	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->seed = hash_seed_random();
	pthread_mutex_init(&t->maps_lock, NULL);
	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_init(&t->shards[i].lock, NULL);
		htable_init(&t->shards[i].accounts);
		list_init(&t->shards[i].debtors);
	}
	return t;
}

/* Shard's lock held, or nobody else there. */
static void account_free(struct turn_account *a)
{
	struct shard *s = a->shard;

	if (a->debtor.next != &a->debtor)
		s->n_debtors--;
	list_unlink(&a->debtor);
	htable_remove(&s->accounts, &a->node);
	free(a);
}

static bool free_each(struct hnode *n, void *arg)
{
	(void)arg;
	account_free(container_of(n, struct turn_account, node));
	return true;
}

struct turn_totals *turn_totals_free(struct turn_totals *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < SHARDS; i++) {
		htable_each(&t->shards[i].accounts, free_each, NULL);
		htable_deinit(&t->shards[i].accounts);
		pthread_mutex_destroy(&t->shards[i].lock);
	}
	for (unsigned i = 0; i < t->n_maps; i++)
		free(t->maps[i]);
	while (t->retired) {
		struct relay_map *next = t->retired->retired;
		free(t->retired);
		t->retired = next;
	}
	pthread_mutex_destroy(&t->maps_lock);
	free(t);
	return NULL;
}

/* ---- accounts ---- */

struct account_key {
	const struct share *share;
	const char *name;
};

static bool account_is(const struct hnode *n, const void *key)
{
	const struct turn_account *a = container_of(n, struct turn_account, node);
	const struct account_key *k = key;

	return a->share == k->share && strcmp(a->name, k->name) == 0;
}

/* Lock held. Debts grow older in the order of the list, roughly: the first that still owes ends it. */
static void forget_paid_debts(struct turn_totals *t, struct shard *s)
{
	uint64_t now = atomic_load_explicit(&t->now_ns, memory_order_relaxed);

	while (!list_empty(&s->debtors)) {
		struct turn_account *a = list_entry(s->debtors.next, struct turn_account, debtor);

		if (s->n_debtors <= DEBTORS_PER_SHARD && atomic_load(&a->spent_until_ns) > now)
			return;
		account_free(a);
	}
}

static struct turn_account *account_new(struct shard *s, uint64_t hash, struct share *share, const char *name)
{
	size_t len = strlen(name) + 1;
	struct turn_account *a = calloc(1, sizeof(*a) + len);

	if (!a)
		return NULL;
	memcpy(a->name, name, len);
	list_init(&a->debtor);
	a->shard = s;
	a->share = share;
	if (htable_insert(&s->accounts, &a->node, hash) < 0) {
		free(a);
		return NULL;
	}
	return a;
}

/* Lock held. Finds the account or makes it, and counts one allocation. */
static enum turn_limit account_take(struct shard *s, uint64_t hash, struct account_key key, struct share *share,
				    uint64_t max, struct turn_account **ret_a)
{
	struct hnode *n = htable_find(&s->accounts, hash, account_is, &key);
	struct turn_account *a = n ? container_of(n, struct turn_account, node) : NULL;

	if ((a ? a->allocations : 0) >= max)
		return TURN_LIMIT_ACCOUNT;
	if (!a) {
		a = account_new(s, hash, share, key.name);
		if (!a)
			return TURN_LIMIT_NO_MEMORY;
	} else if (!list_empty(&a->debtor)) {
		list_unlink(&a->debtor);
		s->n_debtors--;
	}
	a->allocations++;
	*ret_a = a;
	return TURN_LIMIT_OK;
}

/* n more, unless that exceeds max. */
static bool count_up(_Atomic uint64_t *counter, uint64_t n, uint64_t max)
{
	uint64_t old = atomic_load(counter);

	do {
		if (old > max || n > max - old)
			return false;
	} while (!atomic_compare_exchange_weak(counter, &old, old + n));
	return true;
}

static void note_peak(struct turn_totals *t)
{
	uint64_t n = atomic_load(&t->allocations);

	if (n > atomic_load(&t->peak))
		atomic_store(&t->peak, n);
}

enum turn_limit turn_totals_take(struct turn_totals *t, unsigned realm, const char *account,
				 const struct turn_caps *max, struct turn_account **ret_a)
{
	struct share *share = &t->shares[realm % REALMS];
	uint64_t hash = hash_bytes(&t->seed, account, strlen(account)) ^ (realm * UINT64_C(0x9e3779b97f4a7c15));
	struct shard *s = &t->shards[(hash >> 32) % SHARDS];
	enum turn_limit r;

	if (!count_up(&t->allocations, 1, max->total))
		return TURN_LIMIT_TOTAL;
	if (count_up(&share->allocations, 1, max->realm)) {
		pthread_mutex_lock(&s->lock);
		forget_paid_debts(t, s);
		r = account_take(s, hash, (struct account_key){ share, account }, share, max->account, ret_a);
		pthread_mutex_unlock(&s->lock);
		if (r == TURN_LIMIT_OK) {
			atomic_fetch_add_explicit(&t->made, 1, memory_order_relaxed);
			note_peak(t);
			return r;
		}
		atomic_fetch_sub(&share->allocations, 1);
	} else {
		r = TURN_LIMIT_REALM;
	}
	atomic_fetch_sub(&t->allocations, 1);
	return r;
}

uint64_t turn_totals_of_realm(const struct turn_totals *t, unsigned realm)
{
	return realm < REALMS ? atomic_load(&t->shares[realm].allocations) : 0;
}

void turn_totals_give(struct turn_totals *t, struct turn_account *a)
{
	struct shard *s;
	struct share *share;

	if (!a)
		return;
	s = a->shard;
	share = a->share; /* a may be gone below */
	pthread_mutex_lock(&s->lock);
	forget_paid_debts(t, s);
	if (--a->allocations == 0) {
		if (atomic_load(&a->spent_until_ns) > atomic_load(&t->now_ns)) {
			list_append(&s->debtors, &a->debtor);
			s->n_debtors++;
		} else {
			account_free(a);
		}
	}
	pthread_mutex_unlock(&s->lock);
	atomic_fetch_sub(&share->allocations, 1);
	atomic_fetch_sub(&t->allocations, 1);
}

enum turn_limit turn_totals_use(struct turn_totals *t, struct turn_account *a, enum turn_use what, uint64_t n,
				const struct turn_caps *max)
{
	if (!count_up(&a->used[what], n, max->account))
		return TURN_LIMIT_ACCOUNT;
	if (count_up(&a->share->used[what], n, max->realm)) {
		if (count_up(&t->used[what], n, max->total))
			return TURN_LIMIT_OK;
		atomic_fetch_sub(&a->share->used[what], n);
		atomic_fetch_sub(&a->used[what], n);
		return TURN_LIMIT_TOTAL;
	}
	atomic_fetch_sub(&a->used[what], n);
	return TURN_LIMIT_REALM;
}

void turn_totals_unuse(struct turn_totals *t, struct turn_account *a, enum turn_use what, uint64_t n)
{
	if (n == 0)
		return;
	atomic_fetch_sub(&a->used[what], n);
	atomic_fetch_sub(&a->share->used[what], n);
	atomic_fetch_sub(&t->used[what], n);
}

uint64_t turn_totals_allocations(const struct turn_totals *t)
{
	return atomic_load(&t->allocations);
}

uint64_t turn_totals_made(const struct turn_totals *t)
{
	return atomic_load_explicit(&t->made, memory_order_relaxed);
}

uint64_t turn_totals_peak(struct turn_totals *t)
{
	uint64_t peak = atomic_exchange(&t->peak, 0), now = atomic_load(&t->allocations);

	return MAX(peak, now);
}

/* ---- rates ---- */

static uint64_t bucket_take(_Atomic uint64_t *bucket, uint64_t rate, uint64_t want, uint64_t now)
{
	uint64_t old = atomic_load_explicit(bucket, memory_order_relaxed), from, got;

	if (rate == RATE_UNLIMITED)
		return want;
	do {
		from = MAX(old, now);
		if (from - now >= RATE_BURST_NS)
			return 0;
		got = MIN(want, rate_bytes(now + RATE_BURST_NS - from, rate));
		if (!got)
			return 0;
	} while (!atomic_compare_exchange_weak(bucket, &old, from + rate_cost_ns(got, rate)));
	return got;
}

/* The other bucket let through less than this one had granted. */
static void bucket_give(_Atomic uint64_t *bucket, uint64_t rate, uint64_t granted, uint64_t used)
{
	if (rate != RATE_UNLIMITED && granted > used)
		atomic_fetch_sub(bucket, rate_cost_ns(granted, rate) - rate_cost_ns(used, rate));
}

uint64_t turn_totals_lease(struct turn_totals *t, struct turn_account *a, const struct turn_caps *rates,
			   uint64_t want, uint64_t now_ms)
{
	uint64_t now = now_ms * RATE_NS_PER_MS, mine, ours, got;

	if (rates->total == RATE_UNLIMITED && rates->realm == RATE_UNLIMITED && rates->account == RATE_UNLIMITED)
		return want;
	atomic_store_explicit(&t->now_ns, now, memory_order_relaxed);
	mine = bucket_take(&a->spent_until_ns, rates->account, want, now);
	ours = mine ? bucket_take(&a->share->spent_until_ns, rates->realm, mine, now) : 0;
	got = ours ? bucket_take(&t->spent_until_ns, rates->total, ours, now) : 0;
	bucket_give(&a->share->spent_until_ns, rates->realm, ours, got);
	bucket_give(&a->spent_until_ns, rates->account, mine, got);
	return got;
}

static bool has_left(const _Atomic uint64_t *bucket, uint64_t rate, uint64_t n, uint64_t now)
{
	uint64_t from = MAX(atomic_load_explicit(bucket, memory_order_relaxed), now);
	uint64_t left = from - now < RATE_BURST_NS ? now + RATE_BURST_NS - from : 0;

	return rate == RATE_UNLIMITED || rate_bytes(left, rate) >= n;
}

enum turn_limit turn_totals_short(const struct turn_totals *t, const struct turn_account *a,
				  const struct turn_caps *rates, uint64_t n, uint64_t now_ms)
{
	uint64_t now = now_ms * RATE_NS_PER_MS;

	if (!has_left(&t->spent_until_ns, rates->total, n, now))
		return TURN_LIMIT_TOTAL;
	return has_left(&a->share->spent_until_ns, rates->realm, n, now) ? TURN_LIMIT_ACCOUNT : TURN_LIMIT_REALM;
}

/* ---- live relay ports ---- */

static struct relay_map *map_find(const struct turn_totals *t, const struct addr *canonical)
{
	unsigned n = atomic_load_explicit(&t->n_maps, memory_order_acquire);

	for (unsigned i = 0; i < n; i++) {
		struct relay_map *m = atomic_load_explicit(&t->maps[i], memory_order_acquire);
		if (addr_equal_ip(&m->at, canonical))
			return m;
	}
	return NULL;
}

static bool map_empty(const struct relay_map *m)
{
	for (size_t i = 0; i < PORT_WORDS; i++)
		if (atomic_load_explicit(&m->ports[i], memory_order_relaxed) ||
		    atomic_load_explicit(&m->listeners[i], memory_order_relaxed))
			return false;
	return true;
}

/* Lock held. The place of a new map: a free one, or that of an address without a live port, for external addresses
 * may change many times. Readers may still look at such a map, so it is kept to the end; one that opens a port in
 * it at this very moment is not known as a relay, which refuses a peer and lets nobody in. */
static _Atomic(struct relay_map *) *map_place(struct turn_totals *t)
{
	if (t->n_maps < TURN_TOTALS_RELAY_ADDRESSES)
		return &t->maps[t->n_maps];
	for (unsigned i = 0; i < t->n_maps; i++) {
		struct relay_map *m = t->maps[i];
		if (!map_empty(m))
			continue;
		m->retired = t->retired;
		t->retired = m;
		return &t->maps[i];
	}
	return NULL;
}

static struct relay_map *map_add(struct turn_totals *t, const struct addr *canonical)
{
	struct relay_map *m = calloc(1, sizeof(*m));
	_Atomic(struct relay_map *) *place = m ? map_place(t) : NULL;

	if (!place) {
		free(m);
		return NULL;
	}
	m->at = *canonical;
	atomic_store_explicit(place, m, memory_order_release);
	if (t->n_maps < TURN_TOTALS_RELAY_ADDRESSES) /* it was a free place */
		atomic_store_explicit(&t->n_maps, t->n_maps + 1, memory_order_release);
	return m;
}

static struct relay_map *map_get(struct turn_totals *t, const struct addr *canonical)
{
	struct relay_map *m = map_find(t, canonical);

	if (m)
		return m;
	pthread_mutex_lock(&t->maps_lock);
	m = map_find(t, canonical); /* another worker may have been first */
	if (!m)
		m = map_add(t, canonical);
	pthread_mutex_unlock(&t->maps_lock);
	return m;
}

void turn_totals_relay_opened(struct turn_totals *t, const struct addr *at)
{
	struct addr a = addr_canonical(at);
	struct relay_map *m = map_get(t, &a);
	unsigned port = addr_port(&a);

	if (m)
		atomic_fetch_or(&m->ports[port / 64], 1ull << (port % 64));
}

void turn_totals_relay_closed(struct turn_totals *t, const struct addr *at)
{
	struct addr a = addr_canonical(at);
	struct relay_map *m = map_find(t, &a);
	unsigned port = addr_port(&a);

	if (m)
		atomic_fetch_and(&m->ports[port / 64], ~(1ull << (port % 64)));
}

bool turn_totals_any_relay(const struct turn_totals *t, const struct addr *at)
{
	struct addr a = addr_canonical(at);
	const struct relay_map *m = map_find(t, &a);

	return m && !map_empty(m);
}

bool turn_totals_is_relay(const struct turn_totals *t, const struct addr *at)
{
	struct addr a = addr_canonical(at);
	const struct relay_map *m = map_find(t, &a);
	unsigned port = addr_port(&a);

	return m && atomic_load_explicit(&m->ports[port / 64], memory_order_relaxed) >> (port % 64) & 1;
}

bool turn_totals_listener_opened(struct turn_totals *t, const struct addr *at)
{
	struct addr a = addr_canonical(at);
	struct relay_map *m = map_get(t, &a);
	unsigned port = addr_port(&a);

	return !m || !(atomic_fetch_or(&m->listeners[port / 64], 1ull << (port % 64)) >> (port % 64) & 1);
}

void turn_totals_listener_closed(struct turn_totals *t, const struct addr *at)
{
	struct addr a = addr_canonical(at);
	struct relay_map *m = map_find(t, &a);
	unsigned port = addr_port(&a);

	if (m)
		atomic_fetch_and(&m->listeners[port / 64], ~(1ull << (port % 64)));
}

bool turn_totals_is_listener(const struct turn_totals *t, const struct addr *at)
{
	struct addr a = addr_canonical(at);
	const struct relay_map *m = map_find(t, &a);
	unsigned port = addr_port(&a);

	return m && atomic_load_explicit(&m->listeners[port / 64], memory_order_relaxed) >> (port % 64) & 1;
}
