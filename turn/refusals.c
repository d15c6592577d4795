/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of refusals, and the ring of recent ones. Codes and wire texts: RFC 8489 14.8, RFC 8656
 * 19. A row's wire text follows from its code alone, so that two causes of one code look the same
 * outside.
 */
#include "turn/refusals.h"

#define T300 300, "Try Alternate"
#define T400 400, "Bad Request"
#define T401 401, "Unauthorized"
#define T403 403, "Forbidden"
#define T405 405, "Mobility Forbidden"
#define T420 420, "Unknown Attribute"
#define T437 437, "Allocation Mismatch"
#define T438 438, "Stale Nonce"
#define T440 440, "Address Family not Supported"
#define T441 441, "Wrong Credentials"
#define T442 442, "Unsupported Transport Protocol"
#define T443 443, "Peer Address Family Mismatch"
#define T446 446, "Connection Already Exists"
#define T447 447, "Connection Timeout or Failure"
#define T486 486, "Allocation Quota Reached"
#define T500 500, "Server Error"
#define T508 508, "Insufficient Capacity"

/* One list, two tables: the rows, and the labels in the form that metrics want. */
/* clang-format off */
#define REFUSALS(X) \
	X(ACCEPTED,             0, "OK", "accepted",         NULL,                         "accepted") \
	X(REFUSE_ALTERNATE,     T300, "alternate",           &MSG_TURN_REFUSED_ALTERNATE,  "the client was sent to another server") \
	X(REFUSE_MALFORMED,     T400, "malformed",           &MSG_TURN_REFUSED_REQUEST,    "the message is not well-formed") \
	X(REFUSE_MISSING,       T400, "missing_attribute",   &MSG_TURN_REFUSED_REQUEST,    "an attribute is missing") \
	X(REFUSE_CONTRADICTION, T400, "contradiction",       &MSG_TURN_REFUSED_REQUEST,    "two attributes exclude each other") \
	X(REFUSE_CHANNEL,       T400, "channel",             &MSG_TURN_REFUSED_REQUEST,    "the channel cannot be bound") \
	X(REFUSE_TICKET,        T400, "mobility_ticket",     &MSG_TURN_REFUSED_REQUEST,    "the mobility ticket does not fit") \
	X(REFUSE_CONNECTION,    T400, "connection_id",       &MSG_TURN_REFUSED_STATE,      "no connection with this id waits for this user") \
	X(REFUSE_ALGORITHM,     T400, "password_algorithm",  &MSG_TURN_REFUSED_CREDENTIAL, "the password algorithm was not offered") \
	X(REFUSE_CHALLENGE,     T401, "challenge",           NULL,                         "asked to authenticate") \
	X(REFUSE_CREDENTIAL,    T401, "credential",          &MSG_TURN_REFUSED_CREDENTIAL, "the credential is not good") \
	X(REFUSE_BACKOFF,       T401, "backoff",             NULL,                         "not judged: too many bad credentials before") \
	X(REFUSE_PEER,          T403, "peer_denied",         &MSG_TURN_REFUSED_PEER,       "the peer is denied") \
	X(REFUSE_OWN_PEER,      T403, "peer_own_address",    &MSG_TURN_REFUSED_PEER,       "the peer is this server, and no relay socket") \
	X(REFUSE_MOBILITY,      T405, "mobility",            &MSG_TURN_REFUSED_FEATURE,    "mobility is switched off (turn.mobility)") \
	X(REFUSE_UNKNOWN,       T420, "unknown_attribute",   &MSG_TURN_REFUSED_FEATURE,    "an attribute is not understood") \
	X(REFUSE_EXISTS,        T437, "allocation_exists",   &MSG_TURN_REFUSED_STATE,      "there is an allocation already") \
	X(REFUSE_NO_ALLOCATION, T437, "no_allocation",       &MSG_TURN_REFUSED_STATE,      "there is no allocation") \
	X(REFUSE_STALE_NONCE,   T438, "stale_nonce",         NULL,                         "the nonce is old or another address's") \
	X(REFUSE_FAMILY,        T440, "address_family",      &MSG_TURN_REFUSED_FEATURE,    "there is no relay address of this family") \
	X(REFUSE_OWNER,         T441, "wrong_credentials",   &MSG_TURN_REFUSED_OWNER,      "the allocation belongs to another user") \
	X(REFUSE_TRANSPORT,     T442, "transport",           &MSG_TURN_REFUSED_FEATURE,    "only UDP and TCP are relayed") \
	X(REFUSE_PEER_FAMILY,   T443, "peer_family",         &MSG_TURN_REFUSED_STATE,      "the allocation has no relay address of the peer's family") \
	X(REFUSE_CONNECTED,     T446, "connection_exists",   &MSG_TURN_REFUSED_STATE,      "there is a connection to this peer") \
	X(REFUSE_CONNECT,       T447, "connect_failed",      &MSG_TURN_REFUSED_STATE,      "the peer could not be connected to") \
	X(REFUSE_QUOTA_USER,    T486, "user_allocations",    &MSG_TURN_LIMIT_USER,         "the user has as many allocations as allowed") \
	X(REFUSE_QUOTA_REALM,   T508, "realm_allocations",   &MSG_TURN_LIMIT_REALM,        "the realm has as many allocations as allowed") \
	X(REFUSE_QUOTA_TOTAL,   T508, "total_allocations",   &MSG_TURN_LIMIT_SERVER,       "the server has as many allocations as allowed") \
	X(REFUSE_DRAINING,      T508, "draining",            &MSG_TURN_LIMIT_DRAINING,     "the server drains, and no alternate is configured") \
	X(REFUSE_LEAVING,       T508, "listener_removed",    &MSG_TURN_LIMIT_LISTENER,     "the listener was removed, and no alternate is configured") \
	X(REFUSE_PERMISSIONS,   T508, "permissions",         &MSG_TURN_LIMIT_PERMISSIONS,  "the allocation has as many permissions as allowed") \
	X(REFUSE_PERMISSIONS_USER,  T508, "user_permissions",  &MSG_TURN_LIMIT_PERMISSIONS_USER,  "the user has as many permissions as allowed") \
	X(REFUSE_PERMISSIONS_REALM, T508, "realm_permissions", &MSG_TURN_LIMIT_PERMISSIONS_REALM, "the realm has as many permissions as allowed") \
	X(REFUSE_PERMISSIONS_TOTAL, T508, "total_permissions", &MSG_TURN_LIMIT_PERMISSIONS_TOTAL, "the server has as many permissions as allowed") \
	X(REFUSE_CHANNELS,      T508, "channels",            &MSG_TURN_LIMIT_CHANNELS,     "the allocation has as many channels as allowed") \
	X(REFUSE_CHANNELS_USER,     T508, "user_channels",     &MSG_TURN_LIMIT_CHANNELS_USER,     "the user has as many channels as allowed") \
	X(REFUSE_CHANNELS_REALM,    T508, "realm_channels",    &MSG_TURN_LIMIT_CHANNELS_REALM,    "the realm has as many channels as allowed") \
	X(REFUSE_CHANNELS_TOTAL,    T508, "total_channels",    &MSG_TURN_LIMIT_CHANNELS_TOTAL,    "the server has as many channels as allowed") \
	X(REFUSE_CONNECTIONS,   T508, "connections",         &MSG_TURN_LIMIT_CONNECTIONS,  "the allocation has as many connections as allowed") \
	X(REFUSE_PORTS,         T508, "relay_ports",         &MSG_TURN_LIMIT_PORTS,        "no free relay port was found") \
	X(REFUSE_EXTERNAL,      T508, "external_unknown",    &MSG_TURN_LIMIT_EXTERNAL,     "the public address is not known yet (turn.relay.external: auto)") \
	X(REFUSE_RESERVATION,   T508, "reservation",         &MSG_TURN_REFUSED_STATE,      "there is no such reservation") \
	X(REFUSE_RESOURCES,     T508, "resources",           &MSG_TURN_LIMIT_RESOURCES,    "the system gave no socket or no memory") \
	X(REFUSE_INTERNAL,      T500, "internal",            &MSG_TURN_LIMIT_RESOURCES,    "the server failed")
#define ROW(name, ...) ROW_(name, __VA_ARGS__)
#define ROW_(name, code, text, label, msg, sentence) [TURN_##name] = { code, text, label, msg, sentence },
#define LABEL(name, ...) LABEL_(name, __VA_ARGS__)
#define LABEL_(name, code, text, label, msg, sentence) [TURN_##name] = label,

const struct turn_refusal_row turn_refusal_rows[TURN_REFUSALS] = { REFUSALS(ROW) };
const char *const turn_refusal_labels[TURN_REFUSALS + 1] = { REFUSALS(LABEL) };
/* clang-format on */

struct ring {
	unsigned next, n;
};
struct turn_refusals {
	struct ring proven, unproven;
	struct turn_refused of_proven[TURN_REFUSALS_KEPT], of_unproven[TURN_REFUSALS_UNPROVEN];
};

struct turn_refusals *turn_refusals_new(void)
{
	return calloc(1, sizeof(struct turn_refusals));
}

struct turn_refusals *turn_refusals_free(struct turn_refusals *rs)
{
	free(rs);
	return NULL;
}

static void add(struct ring *ring, struct turn_refused *at, unsigned size, const struct turn_refused *r)
{
	at[ring->next] = *r;
	ring->next = (ring->next + 1) % size;
	ring->n = MIN(ring->n + 1, size);
}

void turn_refusals_add(struct turn_refusals *rs, const struct turn_refused *r)
{
	if (r->unproven)
		add(&rs->unproven, rs->of_unproven, TURN_REFUSALS_UNPROVEN, r);
	else
		add(&rs->proven, rs->of_proven, TURN_REFUSALS_KEPT, r);
}

/* The i-th newest, counted from 0; NULL if there are not so many. */
static const struct turn_refused *newest(const struct ring *ring, const struct turn_refused *at, unsigned size,
					 unsigned i)
{
	return i < ring->n ? &at[(ring->next + size - 1 - i) % size] : NULL;
}

void turn_refusals_each(const struct turn_refusals *rs,
			bool (*fn)(const struct turn_refused *r, void *arg), void *arg)
{
	for (unsigned p = 0, u = 0;;) {
		const struct turn_refused *a = newest(&rs->proven, rs->of_proven, TURN_REFUSALS_KEPT, p);
		const struct turn_refused *b = newest(&rs->unproven, rs->of_unproven, TURN_REFUSALS_UNPROVEN, u);
		bool first = a && (!b || a->at_ms >= b->at_ms);

		if ((!a && !b) || !fn(first ? a : b, arg))
			return;
		first ? p++ : u++;
	}
}
