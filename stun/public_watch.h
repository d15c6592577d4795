/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches the public address of each of a machine's own addresses, for any service behind a NAT: resolves the
 * names of `stun_servers`, asks round after round (stun/public.h) from a fresh socket bound to the address, and tells
 * what came of it. A fresh socket, because a NAT keeps an old mapping, and with it an old address, as long as it is used.
 *
 * Rounds are PUBLIC_INTERVAL_MS apart, sooner after a failure, and at once when public_watch_now() is called (the
 * network has changed). All in one loop, which never waits.
 */
#pragma once
#include "common/config.h"
#include "common/dns.h"
#include "stun/public.h"

enum { PUBLIC_WATCHED_MAX = 64 };

struct public_watched { /* one own address: port 0 */
	struct addr local;
	struct public_state state;
};

struct public_watch;
struct public_watch_options {
	struct loop *loop;
	struct dns *dns; /* borrowed; outlives the watch */
	const struct cfg_hostport *servers; /* copied */
	size_t n_servers;
	const struct public_watched *watched; /* with what is known already; copied, at most PUBLIC_WATCHED_MAX */
	size_t n_watched;
	uint64_t interval_ms; /* 0: PUBLIC_INTERVAL_MS */
	/* After each round; changed: the address is another one than before, or the first. The watch must not be freed in it. */
	void (*told)(const struct public_watched *w, bool changed, void *arg);
	void *arg;
};
/* The first rounds begin at once. 0 or -ENOMEM. */
int public_watch_new(const struct public_watch_options *o, struct public_watch **ret_w);
struct public_watch *public_watch_free(struct public_watch *w);
void public_watch_now(struct public_watch *w);
/* NULL: this address is not watched. */
const struct public_state *public_watch_find(const struct public_watch *w, const struct addr *local);
DEFINE_CLEANUP(struct public_watch, public_watch_free)
