/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared table of held sockets. All wait equally long, so the list is in the order of expiry and a
 * sweep looks at its head only. A take walks the list: it is short, and bounded.
 *
 * Sockets are closed and accounts given back outside the mutex.
 */
#include "turn/reservations.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include "common/bytes.h"
#include "turn/totals.h"

struct entry {
	struct list node;
	struct turn_reservation r;
};

struct turn_reservations {
	pthread_mutex_t lock;
	struct list held; /* struct entry, oldest first */
	unsigned n;
	const struct turn_relay_ops *ops;
	struct turn_totals *totals;
};

struct turn_reservations *turn_reservations_new(const struct turn_relay_ops *ops, struct turn_totals *t)
{
	struct turn_reservations *rs = calloc(1, sizeof *rs);

	if (!rs)
		return NULL;
	pthread_mutex_init(&rs->lock, NULL);
	list_init(&rs->held);
	rs->ops = ops;
	rs->totals = t;
	return rs;
}

static void entry_drop(struct turn_reservations *rs, struct entry *e)
{
	rs->ops->drop(e->r.held);
	turn_totals_give(rs->totals, e->r.account);
	free(e);
}

struct turn_reservations *turn_reservations_free(struct turn_reservations *rs)
{
	if (!rs)
		return NULL;
	list_for_each_safe (it, &rs->held)
		entry_drop(rs, list_entry(it, struct entry, node));
	pthread_mutex_destroy(&rs->lock);
	free(rs);
	return NULL;
}

int turn_reservations_put(struct turn_reservations *rs, unsigned worker, struct turn_reservation *r)
{
	struct entry *e;

	if (bytes_random(r->token, sizeof r->token) < 0)
		return -EIO;
	r->token[0] = (uint8_t)worker;
	e = malloc(sizeof *e);
	if (!e)
		return -ENOMEM;
	e->r = *r;
	pthread_mutex_lock(&rs->lock);
	bool room = rs->n < TURN_RESERVATIONS_MAX;
	if (room) {
		list_append(&rs->held, &e->node);
		rs->n++;
	}
	pthread_mutex_unlock(&rs->lock);
	if (!room)
		free(e);
	return room ? 0 : -ENOSPC;
}

static struct entry *find(struct turn_reservations *rs, const uint8_t *token)
{
	list_for_each (it, &rs->held) {
		struct entry *e = list_entry(it, struct entry, node);
		if (bytes_equal_ct(e->r.token, token, TURN_TOKEN_LEN))
			return e;
	}
	return NULL;
}

bool turn_reservations_take(struct turn_reservations *rs, const struct turn_claim *c, uint64_t now,
			    struct turn_reservation *ret_r)
{
	pthread_mutex_lock(&rs->lock);
	struct entry *e = find(rs, c->token);
	if (e && (e->r.expires <= now || e->r.realm != c->realm || strcmp(e->r.user, c->user) != 0))
		e = NULL;
	if (e) {
		list_unlink(&e->node);
		rs->n--;
	}
	pthread_mutex_unlock(&rs->lock);
	if (!e)
		return false;
	*ret_r = e->r;
	free(e);
	return true;
}

uint64_t turn_reservations_expire(struct turn_reservations *rs, uint64_t now)
{
	for (;;) {
		uint64_t next = TIMERS_NEVER;
		struct entry *e = NULL;
		pthread_mutex_lock(&rs->lock);
		if (!list_empty(&rs->held)) {
			e = list_entry(rs->held.next, struct entry, node);
			next = e->r.expires;
			if (next <= now) {
				list_unlink(&e->node);
				rs->n--;
			}
		}
		pthread_mutex_unlock(&rs->lock);
		if (!e || next > now)
			return next;
		entry_drop(rs, e);
	}
}
