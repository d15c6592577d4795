/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocation (RFC 8656 5): a client's five-tuple and its relay sockets, at most one per address
 * family, each with a time of its own, and the permissions and channels of its peers. Private to the core; the edge
 * knows it as an opaque pointer.
 *
 * It belongs to its server's table and ends by turn_alloc_end() alone: expiry of its last family, Refresh with lifetime
 * 0, the end of its connection, an administrator, or the server's end. It owns its sockets, its key and one
 * allocation of its account. All of it, with one permission and one channel, stays below 1.5 KB.
 */
#pragma once
#include <string.h>
#include "turn/channel.h"
#include "turn/core.h"
#include "turn/mobility.h"
#include "turn/offload.h"
#include "turn/permission.h"
#include "turn/ports.h"

enum turn_end { TURN_END_EXPIRED, TURN_END_RELEASED, TURN_END_DISCONNECTED, TURN_END_KILLED, TURN_END_STOPPED, TURN_ENDS };

enum { TURN_V4, TURN_V6, TURN_FAMILIES };
static inline unsigned turn_family(const struct addr *a)
{
	return addr_family(a) == AF_INET6 ? TURN_V6 : TURN_V4;
}

struct turn_alloc {
	/* what every packet touches */
	struct hnode node; /* in by_tuple */
	struct turn_server *server;
	struct turn_path path;
	struct turn_relay *relay[TURN_FAMILIES]; /* NULL: none of this family */
	struct turn_channels channels;
	struct turn_permissions permissions;
	struct turn_account *account;
	uint64_t ends[TURN_FAMILIES]; /* when the relay address's time is over; 0: there is none */
	bool unsettled; /* moved, and its client has not been heard from there yet: turn/mobility.h */
	bool tcp;	/* RFC 6062 */
	bool has_token;
	uint16_t n_tcp;
	uint16_t realm;		/* its slot: turn/realm.h */
	uint64_t lease, dry_at; /* bytes that may be relayed; when the totals had no more */
	uint64_t packets[2], bytes[2]; /* by enum turn_way */
	/* the rest */
	struct timer expiry;   /* of the family that ends first */
	struct list tcp_conns; /* struct turn_tcp */
	struct list in_order; /* in server->allocs */
	struct turn_key *key;
	struct turn_mobility *mobility; /* NULL: was not asked for */
	uint64_t id, created;
	struct addr at[TURN_FAMILIES], public_at[TURN_FAMILIES]; /* bound to; as the world sees it */
	uint8_t tid[STUN_TID_LEN]; /* of the request that made it */
	uint8_t token[TURN_TOKEN_LEN]; /* what that request was answered */
	uint32_t granted_s;
	uint32_t icmp_second;
	uint8_t icmp_sent;		    /* indications in icmp_second: turn/icmp.c */
	uint8_t family_refused, family_why; /* ADDRESS-ERROR-CODE: the family that could not be had or 0, enum turn_refusal */
	char user[];
};
_Static_assert(sizeof(struct turn_alloc) <= 520, "an allocation is small");
_Static_assert(offsetof(struct turn_alloc, expiry) <= 5 * 64, "what packets touch is in five cache lines");
_Static_assert(sizeof(struct turn_alloc) + 256 + sizeof(struct turn_permission) + sizeof(struct turn_channel) + 64 <= 1536,
	       "1.5 KB with the longest user name, one permission and one channel");

struct turn_alloc *turn_alloc_find(struct turn_server *s, const struct turn_path *from);
/* It has a relay address of this family, or had one and gave it back. */
static inline bool turn_alloc_had(const struct turn_alloc *a, unsigned family)
{
	return addr_family(&a->at[family]) != AF_UNSPEC;
}
static inline uint64_t turn_alloc_ends(const struct turn_alloc *a)
{
	return MAX(a->ends[TURN_V4], a->ends[TURN_V6]);
}
/* Its time is over, though its timer has not run: a process that was held up finds packets and timer at once. */
static inline bool turn_alloc_is_over(const struct turn_alloc *a, uint64_t now)
{
	return turn_alloc_ends(a) <= now;
}
/* The relay socket for this peer, while its time lasts; NULL: there is none. */
static inline struct turn_relay *turn_alloc_relay_to(const struct turn_alloc *a,
						     const struct addr *peer, uint64_t now)
{
	unsigned f = turn_family(peer);

	return a->ends[f] > now ? a->relay[f] : NULL;
}
/* The same one without what is over of it, for a request; or NULL, and it has ended, as its timer would have it.
 * a may be NULL. */
struct turn_alloc *turn_alloc_unless_over(struct turn_alloc *a, uint64_t now);
/* No longer found by its five-tuple. */
void turn_alloc_unlist(struct turn_alloc *a);
static inline const struct turn_realm *turn_alloc_realm(const struct turn_alloc *a)
{
	return turn_policy_realm(a->server->policy, a->realm);
}
/* Whether a bit rate limits it: the server's, its realm's or its user's. */
bool turn_alloc_is_rated(const struct turn_alloc *a);
/* Whether it belongs to this user of this realm: who shows a ticket, a token or a connection's id. */
static inline bool turn_alloc_is_of(const struct turn_alloc *a, unsigned realm, const char *user)
{
	return a->realm == realm && strcmp(a->user, user) == 0;
}
/* Of the request's user. Not in any table yet, no sockets; NULL: no memory. */
struct turn_alloc *turn_alloc_new(const struct turn_request *q);
/* Of one that was never put into service: closes what it has. */
struct turn_alloc *turn_alloc_free(struct turn_alloc *a);
DEFINE_CLEANUP(struct turn_alloc, turn_alloc_free)
/* Opens a relay socket of this family; pair: also holds the port above (EVEN-PORT with R). */
struct turn_open {
	unsigned family;
	enum turn_parity parity;
	struct turn_reservation *pair; /* at, public_at and held are set on success; NULL unless TURN_PORT_EVEN_PAIR */
};
enum turn_refusal turn_alloc_open(struct turn_alloc *a, const struct turn_open *o);
bool turn_alloc_can_open(const struct turn_server *s, const struct turn_path *from, unsigned family);
/* Takes over a reservation's socket; on failure it is still the caller's. */
enum turn_refusal turn_alloc_adopt(struct turn_alloc *a, struct turn_reservation *r);
/* One of two families: it ends with its permissions and channels, the other one lives on (RFC 8656 8.1). */
void turn_alloc_give_back(struct turn_alloc *a, unsigned family);
/* Into the table, the list and the timer wheel. -ENOMEM. */
int turn_alloc_start(struct turn_alloc *a, uint64_t lifetime_ms, uint64_t now);
/* To another five-tuple. -ENOMEM: it is parked (turn/mobility.h). */
int turn_alloc_move(struct turn_alloc *a, const struct turn_path *to);
/* From another worker: into the list and the timer wheel of a->server, under a new id. */
void turn_alloc_arrive(struct turn_alloc *a);
/* The families, TURN_BOTH or 1 << one of them, live as long from now on. */
enum { TURN_BOTH = 1 << TURN_V4 | 1 << TURN_V6 };
void turn_alloc_refresh(struct turn_alloc *a, unsigned families, uint64_t lifetime_ms, uint64_t now);
void turn_alloc_end(struct turn_alloc *a, enum turn_end why, uint64_t now);
