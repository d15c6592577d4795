/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permissions (RFC 8656 9): the addresses, whatever the port, that may send to an allocation and be
 * sent to. They end 300 s after their last CreatePermission or ChannelBind; data does not prolong
 * them. Whether one has ended is decided by comparing with the pass's time, so there is no timer for it; an
 * ended one is forgotten when room is needed.
 */
#pragma once
#include "common/addr.h"
#include "turn/index.h"
#include "turn/refusals.h"

struct turn_alloc;
struct turn_request;

struct turn_permission {
	uint8_t ip[16]; /* IPv4: the first 4, the rest zero */
	uint32_t hash;
	uint8_t family; /* TURN_V4, TURN_V6 */
	bool own;	/* an address of this server: only ports of live relay sockets, asked per packet */
	uint64_t expires;
};
struct turn_permissions {
	struct turn_permission *v;
	uint16_t n, cap;
	uint16_t charged; /* to the account: n, and more only between reserve and settle */
	struct turn_index by_ip;
};

void turn_permissions_deinit(struct turn_alloc *a);
/* NULL if there is none or it has expired. */
const struct turn_permission *turn_permission_find(const struct turn_alloc *a, const struct addr *peer, uint64_t now);
void turn_permissions_forget(struct turn_alloc *a, unsigned family); /* not between reserve and settle */
unsigned turn_permissions_count(const struct turn_alloc *a, uint64_t now);
/* Makes room for this many new ones, within the limits. turn_permissions_settle() must follow, whatever
 * became of it. */
enum turn_refusal turn_permissions_reserve(struct turn_alloc *a, unsigned n, uint64_t now);
/* Gives back what was reserved and not needed. */
void turn_permissions_settle(struct turn_alloc *a);
/* Installs or prolongs one, and so the channels to this address. Room must have been reserved. */
void turn_permission_set(struct turn_alloc *a, const struct addr *peer, bool own, uint64_t now);
/* May this request's allocation have this peer at all? *ret_own as in struct turn_permission. */
enum turn_refusal turn_peer_check(struct turn_request *q, const struct addr *peer, bool *ret_own);
