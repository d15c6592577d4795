/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker's server: made, reloaded, freed; and the first look at what a client sends (RFC 7983):
 * ChannelData goes to the packet path, a STUN request to turn/request.c, a Send indication to the
 * packet path, and the rest is dropped and counted. Malformed requests get 400 if their header is
 * good; everything else that is not understood gets silence.
 */
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "turn/alloc.h"

/* ---- policy ---- */

static bool limits_a_rate(const struct turn_policy *p)
{
	bool any = turn_policy_config(p)->limits.bitrate != UINT64_MAX;

	for (unsigned i = 0; i < TURN_REALM_SLOTS && !any; i++) { /* of a free slot: the default realm's, once more */
		const struct turn_limits *l = &turn_policy_realm(p, i)->limits;
		any = l->bitrate != UINT64_MAX || l->bitrate_per_user != UINT64_MAX;
	}
	return any;
}

void turn_server_set_policy(struct turn_server *s, struct turn_policy *p)
{
	struct turn_policy *old = s->policy;
	size_t n_pairs;

	s->policy = turn_policy_ref(p);
	turn_keys_clear(s->keys);
	s->cfg = turn_policy_config(p);
	s->rates = limits_a_rate(p);
	s->by_realm = turn_policy_has_realms(p);
	s->nonces.lifetime_ms = s->cfg->lifetime.nonce_ms;
	(void)turn_policy_pairs(p, &n_pairs);
	s->behind_nat = n_pairs > 0;
	if (old)
		turn_revoke(s);
	turn_policy_unref(old);
	list_for_each (it, &s->allocs)
		turn_offload_alloc(list_entry(it, struct turn_alloc, in_order));
}

void turn_server_set_nonces(struct turn_server *s, const struct stun_nonces *n)
{
	s->nonces = *n;
	s->nonces.lifetime_ms = s->cfg->lifetime.nonce_ms; /* the policy's, so a reload changes it */
}

void turn_server_set_draining(struct turn_server *s, bool draining)
{
	s->draining = draining;
}

void turn_server_set_discovery(struct turn_server *s, const struct turn_discovery *d)
{
	s->o.discovery = d;
}

/* ---- birth and death ---- */

static void on_reservations_due(struct timer *t, uint64_t now)
{
	struct turn_server *s = container_of(t, struct turn_server, reservations_due);
	timers_set(s->o.timers, t, turn_reservations_expire(s->o.reservations, now));
}

int turn_server_new(const struct turn_server_options *o, uint64_t now, struct turn_server **ret_s)
{
	_cleanup_(turn_server_freep) struct turn_server *s = calloc(1, sizeof *s);

	if (!s)
		return -ENOMEM;
	s->o = *o;
	s->next_id = 1;
	s->now = now;
	htable_init(&s->by_tuple);
	list_init(&s->allocs);
	htable_init(&s->by_ticket);
	htable_init(&s->by_connection);
	s->seed = o->seed ? *o->seed : hash_seed_random();
	s->random = hash_seed_random().k0;
	s->number_spread = (uint32_t)s->seed.k1 | 1;
	s->reservations_due.fire = on_reservations_due;
	turn_server_set_policy(s, o->policy);
	turn_server_set_nonces(s, o->nonces);
	s->scratch = malloc(TURN_SCRATCH);
	s->moved = calloc(TURN_MOVED_NOTES, sizeof *s->moved);
	s->budget = turn_budget_new();
	s->backoff = turn_backoff_new();
	s->refusals = turn_refusals_new();
	s->keys = turn_keys_new();
	if (!s->keys || !s->scratch || !s->moved || !s->budget || !s->backoff || !s->refusals)
		return -ENOMEM;
	*ret_s = steal_ptr(&s);
	return 0;
}

struct turn_server *turn_server_free(struct turn_server *s)
{
	if (!s)
		return NULL;
	list_for_each_safe (it, &s->allocs)
		turn_alloc_end(list_entry(it, struct turn_alloc, in_order), TURN_END_STOPPED, s->now);
	timer_stop(&s->reservations_due);
	htable_deinit(&s->by_tuple);
	htable_deinit(&s->by_ticket);
	htable_deinit(&s->by_connection);
	free(s->moved);
	turn_refusals_free(s->refusals);
	turn_budget_free(s->budget);
	turn_backoff_free(s->backoff);
	turn_policy_unref(s->policy);
	free(s->scratch);
	turn_keys_free(s->keys);
	bytes_wipe(&s->nonces, sizeof s->nonces);
	bytes_wipe(&s->random_bytes, sizeof s->random_bytes);
	free(s);
	return NULL;
}

/* ---- connections ---- */

void turn_path_gone(struct turn_server *s, const struct turn_path *p, uint64_t now)
{
	struct turn_alloc *a = turn_alloc_find(s, p);

	if (a && a->mobility) /* its client may come back from elsewhere */
		turn_mobility_park(a);
	else if (a)
		turn_alloc_end(a, TURN_END_DISCONNECTED, now);
}

bool turn_path_in_use(struct turn_server *s, const struct turn_path *p)
{
	return turn_alloc_find(s, p) != NULL;
}

void turn_server_each_path(struct turn_server *s, void (*fn)(struct turn_path *p, void *arg), void *arg)
{
	list_for_each (it, &s->allocs)
		fn(&list_entry(it, struct turn_alloc, in_order)->path, arg);
}

const struct turn_refusals *turn_server_refusals(const struct turn_server *s)
{
	return s->refusals;
}

/* ---- input ---- */

static void on_indication(struct turn_server *s, const struct turn_path *from,
			  const struct stun_msg *m, const struct turn_packet *pk, uint64_t now)
{
	if (m->method == STUN_SEND)
		turn_on_send(s, from, m, pk, now);
	else if (m->method != STUN_BINDING) /* that one only keeps a NAT's mapping alive */
		turn_drop(s, TURN_DROP_UNEXPECTED);
}

/* Of a listener that was removed: an Allocate is told where else to go, and a client that comes back with its
 * ticket is let in. A Binding is what keeps others from looking elsewhere. */
static bool is_too_late(struct turn_server *s, const struct turn_path *from, const struct stun_msg *m)
{
	return m->method == STUN_BINDING && !turn_alloc_find(s, from);
}

static void on_request(struct turn_server *s, const struct turn_path *from,
		       const struct stun_msg *m, const struct turn_packet *pk, uint64_t now)
{
	struct turn_request q = { .s = s, .from = from, .m = m, .leaving = pk->leaving, .now = now };

	if (pk->leaving && is_too_late(s, from, m))
		turn_drop(s, TURN_DROP_LEAVING);
	else
		turn_request_run(&q);
}

static void on_bad_message(struct turn_server *s, const struct turn_path *from,
			   const struct stun_msg *m, int why, uint64_t now)
{
	if (why == STUN_MALFORMED && m->tid && m->class == STUN_REQUEST) {
		struct turn_request q = { .s = s, .from = from, .m = m, .now = now };
		if (m->bad_attr < STUN_ATTRS)
			turn_because(&q, TURN_REFUSE_MALFORMED, stun_attr_table[m->bad_attr].name);
		turn_refuse(&q, TURN_REFUSE_MALFORMED);
		return;
	}
	turn_drop(s, why == STUN_NOT_STUN	   ? TURN_DROP_NOT_TURN
		     : why == STUN_BAD_FINGERPRINT ? TURN_DROP_FINGERPRINT
						   : TURN_DROP_MALFORMED);
}

static void on_stun(struct turn_server *s, const struct turn_path *from,
		    const struct turn_packet *pk, uint64_t now)
{
	struct stun_msg m;
	int r;

	m.tid = NULL;
	r = stun_parse(pk->data, pk->n, &m);
	if (r != STUN_OK)
		on_bad_message(s, from, &m, r, now);
	else if (m.class == STUN_REQUEST)
		on_request(s, from, &m, pk, now);
	else if (m.class == STUN_INDICATION)
		on_indication(s, from, &m, pk, now);
	else
		turn_drop(s, TURN_DROP_UNEXPECTED); /* we ask nobody */
}

void turn_input(struct turn_server *s, const struct turn_path *from, const struct turn_packet *pk,
		uint64_t now)
{
	s->now = now;
	if (pk->n == 0) {
		turn_drop(s, TURN_DROP_NOT_TURN);
		return;
	}
	if (turn_is_channel_data(pk->data[0]))
		turn_on_channel_data(s, from, pk, now);
	else if (stun_demux(pk->data[0]) == DEMUX_STUN)
		on_stun(s, from, pk, now);
	else
		turn_drop(s, TURN_DROP_NOT_TURN);
}

void turn_input_again(struct turn_server *s, const struct turn_path *from,
		      const struct turn_packet *pk, uint64_t now)
{
	s->asked_already = true;
	turn_input(s, from, pk, now);
	s->asked_already = false;
}
