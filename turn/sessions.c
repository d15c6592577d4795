/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control socket shows of a worker's allocations, and ends of them. A snapshot by value: the
 * caller takes it to another thread. Ids grow, so the list in creation order is the order of ids and
 * a page begins after the last id of the one before.
 */
#include <stdio.h>
#include "turn/alloc.h"

static void describe(const struct turn_alloc *a, uint64_t now, struct turn_session_info *i)
{
	const struct addr *relay = &a->public_at[a->relay[TURN_V4] ? TURN_V4 : TURN_V6];

	*i = (struct turn_session_info){
		.id = a->id,
		.transport = a->path.transport->name,
		.client = a->path.client,
		.local = a->path.local,
		.relay = *relay,
		.created_ms = a->created,
		.expires_ms = turn_alloc_ends(a),
		.packets_up = a->packets[TURN_UP],
		.bytes_up = a->bytes[TURN_UP],
		.packets_down = a->packets[TURN_DOWN],
		.bytes_down = a->bytes[TURN_DOWN],
		.permissions = turn_permissions_count(a, now),
		.channels = turn_channels_count(a, now),
	};
	snprintf(i->user, sizeof i->user, "%s", a->user);
	snprintf(i->realm, sizeof i->realm, "%s", turn_alloc_realm(a)->name);
	i->retired = turn_policy_is_retired(a->server->policy, a->realm);
}

static bool is_in(const struct turn_alloc *a, const char *realm)
{
	return !realm || strcmp(turn_alloc_realm(a)->name, realm) == 0;
}

void turn_server_sessions(struct turn_server *s, const struct turn_session_query *q, uint64_t now,
			  void (*fn)(const struct turn_session_info *i, void *arg), void *arg)
{
	struct turn_session_info info;
	unsigned left = q->limit;

	list_for_each (it, &s->allocs) {
		struct turn_alloc *a = list_entry(it, struct turn_alloc, in_order);
		if (a->id <= q->after_id || !is_in(a, q->realm))
			continue;
		if (left-- == 0)
			return;
		turn_offload_count(a);
		describe(a, now, &info);
		fn(&info, arg);
	}
}

static void kill_one(struct turn_alloc *a, uint64_t now)
{
	struct turn_path path = a->path;

	turn_alloc_end(a, TURN_END_KILLED, now);
	if (path.transport->close)
		path.transport->close(&path);
}

bool turn_server_kill(struct turn_server *s, uint64_t id, uint64_t now)
{
	list_for_each (it, &s->allocs) {
		struct turn_alloc *a = list_entry(it, struct turn_alloc, in_order);
		if (a->id != id)
			continue;
		kill_one(a, now);
		return true;
	}
	return false;
}

unsigned turn_server_kill_realm(struct turn_server *s, const char *realm, uint64_t now)
{
	unsigned n = 0;

	list_for_each_safe (it, &s->allocs) {
		struct turn_alloc *a = list_entry(it, struct turn_alloc, in_order);
		if (!is_in(a, realm))
			continue;
		kill_one(a, now);
		n++;
	}
	return n;
}

unsigned turn_server_count(const struct turn_server *s)
{
	return s->n_allocs;
}
