/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets, and the Refresh that moves an allocation (RFC 8016 3.2). The old five-tuple ends with the
 * success response: what still comes from there finds no allocation. A Refresh from the same five-tuple
 * needs no ticket and is refused with one, as the clause says, unless it is the move's own
 * retransmission. An allocation whose connection broke waits for its client until it expires.
 */
#include "turn/mobility.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "turn/alloc.h"

/* ---- tickets ---- */

static int ticket_make(struct turn_ticket *t, unsigned worker)
{
	uint8_t random[16];
	char text[BASE64_LEN(sizeof random) + 1], number[3];

	if (bytes_random(random, sizeof random) < 0)
		return -EIO;
	base64url_encode(random, sizeof random, text);
	snprintf(number, sizeof number, "%02x", worker & 0xff);
	memcpy(t->text, number, 2);
	memcpy(t->text + 2, text, TURN_TICKET_LEN - 2);
	t->live = true;
	return 0;
}

static uint64_t ticket_hash(const struct turn_server *s, const uint8_t *ticket)
{
	return hash_bytes(&s->seed, ticket, TURN_TICKET_LEN);
}

static bool ticket_eq(const struct hnode *n, const void *key)
{
	return bytes_equal_ct(container_of(n, struct turn_ticket, node)->text, key, TURN_TICKET_LEN);
}

struct turn_mobility *turn_mobility_new(struct turn_alloc *a)
{
	struct turn_mobility *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->alloc = a;
	m->ticket[0].of = m->ticket[1].of = m;
	if (ticket_make(&m->ticket[0], a->server->o.worker) < 0)
		return turn_mobility_free(m);
	return m;
}

struct turn_mobility *turn_mobility_free(struct turn_mobility *m)
{
	if (m)
		turn_mobility_unlink(m);
	free(m);
	return NULL;
}

void turn_mobility_unlink(struct turn_mobility *m)
{
	for (size_t i = 0; i < ARRAY_LEN(m->ticket); i++)
		htable_remove(&m->alloc->server->by_ticket, &m->ticket[i].node);
}

int turn_mobility_link(struct turn_mobility *m)
{
	struct turn_server *s = m->alloc->server;

	for (size_t i = 0; i < ARRAY_LEN(m->ticket); i++)
		if (m->ticket[i].live &&
		    htable_insert(&s->by_ticket, &m->ticket[i].node, ticket_hash(s, m->ticket[i].text)) < 0) {
			turn_mobility_unlink(m);
			return -ENOMEM;
		}
	return 0;
}

struct turn_alloc *turn_mobility_find(const struct turn_server *s, const uint8_t ticket[static TURN_TICKET_LEN])
{
	struct hnode *n = htable_find(&s->by_ticket, ticket_hash(s, ticket), ticket_eq, ticket);
	return n ? container_of(n, struct turn_ticket, node)->of->alloc : NULL;
}

void turn_mobility_put(const struct turn_mobility *m, struct stun_writer *sw)
{
	stun_put(sw, STUN_A_MOBILITY_TICKET, m->ticket[0].text, TURN_TICKET_LEN);
}

/* A new ticket; the one that was shown stays good beside it. */
static int renew(struct turn_mobility *m, const uint8_t *shown)
{
	uint8_t used[TURN_TICKET_LEN];
	struct turn_ticket fresh;

	if (ticket_make(&fresh, m->alloc->server->o.worker) < 0)
		return -EIO;
	memcpy(used, shown, sizeof used);
	turn_mobility_unlink(m);
	memcpy(m->ticket[1].text, used, sizeof used);
	m->ticket[1].live = true;
	memcpy(m->ticket[0].text, fresh.text, sizeof fresh.text);
	return turn_mobility_link(m);
}

/* ---- an allocation without a way to its client ---- */

static void nowhere_send(const struct turn_path *p, const struct turn_out *o)
{
	(void)o;
	turn_drop(p->handle, TURN_DROP_CLIENT_AWAY);
}

static const struct turn_transport nowhere = { .proto = TURN_TCP, .name = "away", .stream = true, .send = nowhere_send };

bool turn_mobility_is_parked(const struct turn_alloc *a)
{
	return a->path.transport == &nowhere;
}

void turn_mobility_park(struct turn_alloc *a)
{
	turn_offload_end_all(a);
	turn_alloc_unlist(a);
	a->path.transport = &nowhere;
	a->path.handle = a->server;
}

/* ---- the move ---- */

void turn_mobility_settle(struct turn_alloc *a)
{
	struct turn_ticket *old = &a->mobility->ticket[1];

	a->unsettled = false;
	old->live = false; /* its text stays, to know the move's retransmission by */
	htable_remove(&a->server->by_ticket, &old->node);
}

static void answer(struct turn_request *q, const struct turn_mobility *m)
{
	struct stun_writer sw;

	turn_answer_begin(q, &sw);
	stun_put_u32(&sw, STUN_A_LIFETIME, (uint32_t)(m->granted_ms / 1000));
	turn_mobility_put(m, &sw);
	turn_answer_send(q, &sw);
}

static enum turn_refusal move(struct turn_request *q, struct turn_alloc *a,
			      const struct turn_refresh *to)
{
	struct turn_mobility *m = a->mobility;
	struct addr before = a->path.client;

	a->unsettled = false; /* what the kernel still counts of the path until now says nothing of the one to come */
	if (renew(m, q->m->attr[STUN_A_MOBILITY_TICKET].p) < 0 || turn_alloc_move(a, q->from) < 0)
		return TURN_REFUSE_RESOURCES;
	turn_key_unref(a->key);
	a->key = turn_key_ref(q->key);
	memcpy(m->moved_by, q->m->tid, sizeof m->moved_by);
	m->has_moved = true;
	a->unsettled = true;
	m->granted_ms = to->lifetime_ms;
	turn_alloc_refresh(a, to->families, to->lifetime_ms, q->now);
	log_emit(&MSG_TURN_ALLOC_MOVED, LF_U64("id", a->id), LF_STR("user", a->user), LF_ADDR("from", &before),
		 LF_ADDR("client", &q->from->client), LF_STR("transport", q->from->transport->name));
	answer(q, m);
	return TURN_ACCEPTED;
}

struct turn_alloc *turn_mobility_named(const struct turn_request *q)
{
	const struct stun_value *v = &q->m->attr[STUN_A_MOBILITY_TICKET];

	return v->n == TURN_TICKET_LEN ? turn_mobility_find(q->s, v->p) : NULL;
}

bool turn_mobility_ask(struct turn_request *q, enum turn_refusal *ret_r)
{
	const struct stun_value *v = &q->m->attr[STUN_A_MOBILITY_TICKET];

	return q->s->cfg->mobility && v->n == TURN_TICKET_LEN && turn_handover_ask(q, v->p, ret_r);
}

/* From a five-tuple that has an allocation already. */
static enum turn_refusal on_same_path(struct turn_request *q, const uint8_t *ticket)
{
	struct turn_alloc *a = q->alloc;
	bool again = a->mobility && a->mobility->has_moved &&
		     bytes_equal_ct(a->mobility->ticket[1].text, ticket, TURN_TICKET_LEN) &&
		     memcmp(a->mobility->moved_by, q->m->tid, STUN_TID_LEN) == 0;

	if (!again)
		return turn_because(q, TURN_REFUSE_TICKET, "this five-tuple has an allocation");
	answer(q, a->mobility);
	return TURN_ACCEPTED;
}

enum turn_refusal turn_on_move(struct turn_request *q)
{
	const struct stun_value *v = &q->m->attr[STUN_A_MOBILITY_TICKET];
	struct turn_refresh refresh;
	enum turn_refusal r;

	if (!q->s->cfg->mobility)
		return TURN_REFUSE_MOBILITY;
	if (v->n != TURN_TICKET_LEN)
		return turn_because(q, TURN_REFUSE_TICKET, "it is not one of ours");
	if (q->alloc)
		return on_same_path(q, v->p);
	struct turn_alloc *a = turn_alloc_unless_over(turn_mobility_named(q), q->now);
	if (!a && turn_mobility_ask(q, &r))
		return r;
	if (!a)
		return turn_because(q, TURN_REFUSE_NO_ALLOCATION, "nor one with this ticket");
	if (!turn_request_owns(q, a))
		return turn_because(q, TURN_REFUSE_NO_ALLOCATION, "the ticket is another user's");
	r = turn_read_refresh(q, a, &refresh);
	if (r != TURN_ACCEPTED)
		return r;
	if (refresh.lifetime_ms)
		return move(q, a, &refresh);
	turn_release(q, a, refresh.families);
	return TURN_ACCEPTED;
}
