/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who guesses waits: after a few failed logins of an account, or from an address, each further one has to wait twice as long,
 * up to a limit. An account's limit is short, because a stranger can fail in its name; an address's is longer.
 *
 * The table is bounded: whoever failed longest ago is forgotten for a newcomer, so a flood of addresses costs the memory of
 * one table, and an account that is under attack stays in it, for it is touched again and again.
 */
#include "console/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	ENTRIES = 1024,
	ACCOUNT_FREE = 5,
	ADDRESS_FREE = 20,
	ACCOUNT_LONGEST_MS = 60 * 1000,
	ADDRESS_LONGEST_MS = 15 * 60 * 1000,
	FORGET_MS = 30 * 60 * 1000,
};

struct entry {
	uint64_t key; /* 0: free */
	uint64_t at;  /* of the last failure */
	unsigned failed;
};
struct throttle {
	struct hash_seed seed;
	struct entry entries[ENTRIES];
};

int throttle_new(struct throttle **ret_t)
{
	*ret_t = calloc(1, sizeof(**ret_t));
	if (!*ret_t)
		return -ENOMEM;
	(*ret_t)->seed = hash_seed_random();
	return 0;
}

struct throttle *throttle_free(struct throttle *t)
{
	free(t);
	return NULL;
}

static uint64_t key_of_account(const struct throttle *t, const char *account)
{
	return hash_bytes(&t->seed, account, strlen(account)) | 1;
}

/* Of IPv6 the network counts: who has one address there has all. */
static uint64_t key_of_address(const struct throttle *t, const struct addr *peer)
{
	size_t n = 0;
	const uint8_t *ip = addr_ip(peer, &n);

	return n ? (hash_bytes(&t->seed, ip, n == 16 ? 8 : n) & ~1ull) | 2 : 2;
}

static struct entry *find(struct throttle *t, uint64_t key)
{
	for (size_t i = 0; i < ENTRIES; i++)
		if (t->entries[i].key == key)
			return &t->entries[i];
	return NULL;
}

static uint64_t wait_of(struct entry *e, unsigned allowed, uint64_t longest, uint64_t now)
{
	uint64_t wait, until;

	if (!e || e->failed < allowed || now - e->at > FORGET_MS)
		return 0;
	wait = MIN(longest, 1000ull << MIN(e->failed - allowed, 20u));
	until = e->at + wait;
	return until > now ? until - now : 0;
}

uint64_t throttle_wait(struct throttle *t, const char *account, const struct addr *peer, uint64_t now)
{
	uint64_t a = wait_of(find(t, key_of_account(t, account)), ACCOUNT_FREE, ACCOUNT_LONGEST_MS, now);
	uint64_t p = wait_of(find(t, key_of_address(t, peer)), ADDRESS_FREE, ADDRESS_LONGEST_MS, now);

	return MAX(a, p);
}

static void fail(struct throttle *t, uint64_t key, uint64_t now)
{
	struct entry *e = find(t, key);

	if (!e) {
		e = &t->entries[0];
		for (size_t i = 1; e->key && i < ENTRIES; i++)
			if (!t->entries[i].key || t->entries[i].at < e->at)
				e = &t->entries[i];
		*e = (struct entry){ .key = key };
	}
	if (now - e->at > FORGET_MS)
		e->failed = 0;
	e->failed++;
	e->at = now;
}

void throttle_failed(struct throttle *t, const char *account, const struct addr *peer, uint64_t now)
{
	fail(t, key_of_account(t, account), now);
	fail(t, key_of_address(t, peer), now);
}

void throttle_good(struct throttle *t, const char *account, const struct addr *peer)
{
	struct entry *e = find(t, key_of_account(t, account));

	(void)peer; /* an address that also guesses at other accounts is not forgiven for one that it knows */
	if (e)
		*e = (struct entry){ 0 };
}
