/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay addresses of stile-turn: where relay sockets are bound, given by turn.relay.addresses or found on this
 * machine, and what clients are told of each behind a 1:1 NAT (turn.relay.external). Values only: the service owns
 * a set, a reload makes another one. Which public address an automatic one has is found by turn/external.h.
 */
#pragma once
#include "turn/policy.h"

enum {
	TURN_MAX_OWN = 64,    /* relay addresses */
	TURN_MAX_MACHINE = 2048, /* addresses of this machine */
	TURN_MAX_FORMER = 16, /* pairs that are no longer told, while allocations still have them */
};

struct turn_relay_address {
	struct addr at;	     /* port 0 */
	struct addr outside; /* what clients are told, port 0: itself without a NAT; AF_UNSPEC: not known yet */
	bool automatic;	     /* outside is asked for */
};
struct turn_relay_set {
	struct turn_relay_address v[TURN_MAX_OWN];
	size_t n;
};

struct ifaddrs;
/* All addresses of this machine but loopback and link-local ones, which are refused by their class. */
struct turn_own_set {
	struct addr v[TURN_MAX_MACHINE];
	size_t n;
};
/* All of them, or -errno and a sentence: one that is not known would be a peer as any other. */
int turn_own_addresses(struct turn_own_set *ret_own, char *err, size_t err_n);
int turn_own_read(const struct ifaddrs *all, struct turn_own_set *ret_own); /* 0 or -E2BIG */
bool turn_own_equal(const struct turn_own_set *a, const struct turn_own_set *b);
/* Automatic ones begin as not known. 0, or -EADDRNOTAVAIL or -EINVAL and a sentence in err. */
int turn_relay_addresses(const struct turn_config *cfg, const struct turn_own_set *own, struct turn_relay_set *ret_set,
			 char *err, size_t err_n);
const struct turn_relay_address *turn_relay_find(const struct turn_relay_set *set, const struct addr *at);

/* What the service knows of this machine's place in the network: a value; the workers get it by the policy. */
struct turn_network {
	struct turn_own_set own;
	struct turn_relay_set relay;
	struct turn_relay_pair former[TURN_MAX_FORMER]; /* told to allocations that may still live */
	size_t n_former;
};

/* turn/network.c: main thread, for the service */
struct turn_service;
/* What holds with this configuration on this machine now, coming from what held before. 0, or -errno and a sentence. */
int turn_network_find(const struct turn_service *ts, const struct turn_config *cfg, struct turn_network *ret_net,
		      char *err, size_t err_n);
/* Own addresses may have changed, and with them relay addresses that were found and not given. */
void turn_network_changed(struct turn_service *ts);
/* From now on clients are told this of that relay address. 0, or -errno and a sentence: then nothing has changed. */
int turn_network_tell(struct turn_service *ts, const struct addr *at, const struct addr *outside, char *err, size_t err_n);
/* Pairs whose last allocation has ended are no longer one's own. */
void turn_network_forget(struct turn_service *ts);
