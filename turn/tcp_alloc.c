/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connect, ConnectionBind and ConnectionAttempt (RFC 6062 4, 5). A Connect is answered when the connection
 * to the peer stands or has failed (447), so its request is kept to be answered. Peers, permissions and own
 * addresses are judged as for UDP. A connection that nobody binds for 30 s is closed.
 */
#include "turn/tcp_alloc.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "turn/alloc.h"

enum tcp_state { CONNECTING, WAITING, BOUND };

struct turn_tcp {
	struct hnode node; /* in server->by_connection */
	struct list of_alloc;
	struct turn_alloc *alloc;
	struct turn_flow *flow; /* the edge's; NULL once it is gone */
	struct timer due;
	struct addr peer;
	uint32_t id;
	enum tcp_state state;
	size_t n;
	uint8_t request[]; /* Connect, until it is answered */
};

/* ---- ids ---- */

static uint64_t id_hash(const struct turn_server *s, uint32_t id)
{
	return hash_bytes(&s->seed, &id, sizeof id);
}

static bool id_eq(const struct hnode *n, const void *key)
{
	return container_of(n, struct turn_tcp, node)->id == *(const uint32_t *)key;
}

static struct turn_tcp *find(const struct turn_server *s, uint32_t id)
{
	struct hnode *n = htable_find(&s->by_connection, id_hash(s, id), id_eq, &id);
	return n ? container_of(n, struct turn_tcp, node) : NULL;
}

static int make_id(struct turn_server *s, uint32_t *ret_id)
{
	uint32_t id;

	do {
		if (bytes_random(&id, sizeof id) < 0)
			return -EIO;
		id = (id & 0xffffff) | s->o.worker << 24;
	} while (find(s, id));
	*ret_id = id;
	return 0;
}

/* ---- birth and death ---- */

static void tcp_free(struct turn_tcp *t)
{
	struct turn_server *s = t->alloc->server;

	if (t->flow)
		s->o.relay->cut(t->flow);
	timer_stop(&t->due);
	list_unlink(&t->of_alloc);
	t->alloc->n_tcp--;
	htable_remove(&s->by_connection, &t->node);
	free(t);
}

void turn_tcp_end_family(struct turn_alloc *a, unsigned family)
{
	list_for_each_safe (it, &a->tcp_conns) {
		struct turn_tcp *t = list_entry(it, struct turn_tcp, of_alloc);
		if (turn_family(&t->peer) == family)
			tcp_free(t);
	}
}

/* err: positive errno. */
static enum turn_refusal not_connected(struct turn_request *q, const struct addr *peer, int err)
{
	char text[ADDR_STRLEN];

	snprintf(q->why, sizeof q->why, "%s: %s", addr_print(peer, text), strerror(err));
	return TURN_REFUSE_CONNECT;
}

/* err: why there is no connection. */
static void answer_connect(struct turn_tcp *t, enum turn_refusal why, int err, uint64_t now)
{
	struct turn_alloc *a = t->alloc;
	struct stun_msg m;
	struct turn_request q = { .s = a->server, .from = &a->path, .m = &m, .alloc = a, .realm = turn_alloc_realm(a), .proven = true, .now = now };
	struct stun_writer sw;

	if (stun_parse(t->request, t->n, &m) != STUN_OK)
		return;
	q.key = turn_key_ref(a->key);
	if (why != TURN_ACCEPTED) {
		turn_refuse(&q, why == TURN_REFUSE_CONNECT ? not_connected(&q, &t->peer, err) : why);
	} else {
		turn_answer_begin(&q, &sw);
		stun_put_u32(&sw, STUN_A_CONNECTION_ID, t->id);
		turn_answer_send(&q, &sw);
		turn_count(a->server, TURN_M_SUCCESSES, TURN_METHOD_CONNECT, 1);
	}
	turn_key_unref(q.key);
}

/* RFC 6062 5.2, 5.3: 30 s to connect, 30 s to be bound. */
static void on_due(struct timer *timer, uint64_t now)
{
	struct turn_tcp *t = container_of(timer, struct turn_tcp, due);

	if (t->state == CONNECTING)
		answer_connect(t, TURN_REFUSE_CONNECT, ETIMEDOUT, now);
	tcp_free(t);
}

static struct turn_tcp *tcp_new(struct turn_alloc *a, const struct addr *peer, const struct stun_msg *m, uint64_t now)
{
	struct turn_server *s = a->server;
	size_t n = m ? m->raw_n : 0;
	struct turn_tcp *t = calloc(1, sizeof *t + n);

	if (!t || make_id(s, &t->id) < 0 || htable_insert(&s->by_connection, &t->node, id_hash(s, t->id)) < 0) {
		free(t);
		return NULL;
	}
	t->alloc = a;
	t->peer = *peer;
	t->state = m ? CONNECTING : WAITING;
	t->n = n;
	if (n)
		memcpy(t->request, m->raw, n);
	t->due.fire = on_due;
	timers_set(s->o.timers, &t->due, now + TURN_TCP_WAIT_MS);
	list_append(&a->tcp_conns, &t->of_alloc);
	a->n_tcp++;
	return t;
}

/* ---- Connect ---- */

static bool is_connected(const struct turn_alloc *a, const struct addr *peer)
{
	list_for_each (it, &a->tcp_conns)
		if (addr_equal(&list_entry(it, struct turn_tcp, of_alloc)->peer, peer))
			return true;
	return false;
}

static enum turn_refusal judge_connect(struct turn_request *q, struct addr *ret_peer)
{
	enum turn_refusal r;
	bool own;

	if (!q->alloc)
		return TURN_REFUSE_NO_ALLOCATION;
	if (!q->alloc->tcp)
		return turn_because(q, TURN_REFUSE_CONTRADICTION, "Connect on a UDP allocation");
	if (stun_get_addr(q->m, STUN_A_XOR_PEER_ADDRESS, ret_peer) < 0)
		return turn_because(q, TURN_REFUSE_MISSING, "XOR-PEER-ADDRESS");
	r = turn_peer_check(q, ret_peer, &own);
	if (r != TURN_ACCEPTED)
		return r;
	if (own && !turn_totals_is_listener(q->s->o.totals, ret_peer))
		return TURN_REFUSE_OWN_PEER;
	if (is_connected(q->alloc, ret_peer))
		return TURN_REFUSE_CONNECTED;
	return q->alloc->n_tcp < TURN_TCP_MAX ? TURN_ACCEPTED : TURN_REFUSE_CONNECTIONS;
}

enum turn_refusal turn_on_connect(struct turn_request *q)
{
	struct addr peer = { 0 }, inside;
	enum turn_refusal why = judge_connect(q, &peer);
	struct turn_tcp *t;
	int r;

	if (why != TURN_ACCEPTED)
		return why;
	t = tcp_new(q->alloc, &peer, q->m, q->now);
	if (!t)
		return TURN_REFUSE_RESOURCES;
	r = q->s->o.relay->connect(q->alloc->relay[turn_family(&peer)], t,
				   q->s->behind_nat && turn_own_inside(q->s, &peer, true, &inside) ? &inside : &peer, &t->flow);
	if (r < 0) {
		tcp_free(t);
		return r == -ENOMEM || r == -EMFILE || r == -ENFILE ? TURN_REFUSE_RESOURCES
								    : not_connected(q, &peer, -r);
	}
	q->deferred = true;
	return TURN_ACCEPTED;
}

void turn_tcp_connected(struct turn_tcp *t, int err, uint64_t now)
{
	if (err) {
		answer_connect(t, TURN_REFUSE_CONNECT, err, now);
		tcp_free(t);
		return;
	}
	t->state = WAITING;
	timers_set(t->alloc->server->o.timers, &t->due, now + TURN_TCP_WAIT_MS);
	answer_connect(t, TURN_ACCEPTED, 0, now);
}

struct turn_tcp *turn_tcp_next(struct turn_alloc *a, struct turn_tcp *before, struct addr *ret_peer)
{
	struct list *it = before ? before->of_alloc.next : a->tcp_conns.next;

	if (it == &a->tcp_conns)
		return NULL;
	*ret_peer = list_entry(it, struct turn_tcp, of_alloc)->peer;
	return list_entry(it, struct turn_tcp, of_alloc);
}

void turn_tcp_revoke(struct turn_tcp *t, uint64_t now)
{
	if (t->state == CONNECTING)
		answer_connect(t, TURN_REFUSE_PEER, 0, now);
	tcp_free(t);
}

/* ---- ConnectionAttempt ---- */

static void send_attempt(struct turn_alloc *a, const struct turn_tcp *t)
{
	uint8_t out[64], tid[STUN_TID_LEN];
	struct stun_writer sw;

	turn_indication_tid(a->server, tid);
	stun_begin(&sw, out, sizeof out, STUN_CONNECTION_ATTEMPT, STUN_INDICATION, tid);
	stun_put_u32(&sw, STUN_A_CONNECTION_ID, t->id);
	stun_put_addr(&sw, STUN_A_XOR_PEER_ADDRESS, &t->peer);
	a->path.transport->send(&a->path, &(struct turn_out){ .body = out, .body_n = (size_t)stun_end(&sw),
							      .mark = DGRAM_MARK_NONE });
}

bool turn_tcp_accepted(struct turn_alloc *a, const struct addr *peer, struct turn_flow *f, uint64_t now)
{
	struct turn_tcp *t;
	struct addr outside;

	if (a->server->behind_nat && turn_own_outside(a->server, peer, true, &outside))
		peer = &outside;
	const struct turn_permission *p = turn_permission_find(a, peer, now);

	if (!p || (p->own && !turn_totals_is_listener(a->server->o.totals, peer))) {
		turn_drop(a->server, TURN_DROP_PEER_UNWANTED);
		return false;
	}
	t = a->n_tcp < TURN_TCP_MAX ? tcp_new(a, peer, NULL, now) : NULL;
	if (!t) {
		turn_drop(a->server, TURN_DROP_CONN_LIMIT);
		return false;
	}
	t->flow = f;
	a->server->o.relay->name(f, t);
	send_attempt(a, t);
	return true;
}

/* ---- ConnectionBind ---- */

struct turn_alloc *turn_tcp_named(const struct turn_request *q)
{
	struct turn_tcp *t;
	uint32_t id;

	if (stun_get_u32(q->m, STUN_A_CONNECTION_ID, &id) < 0 || (t = find(q->s, id)) == NULL)
		return NULL;
	return t->alloc;
}

bool turn_tcp_send_home(struct turn_request *q)
{
	uint32_t id;

	if (!q->from->transport->stream || q->alloc ||
	    stun_get_u32(q->m, STUN_A_CONNECTION_ID, &id) < 0 || id >> 24 == q->s->o.worker)
		return false;
	q->deferred = q->s->o.relay->send_home(q->from, id >> 24, q->m->raw, q->m->raw_n);
	return q->deferred;
}

enum turn_refusal turn_on_connection_bind(struct turn_request *q)
{
	struct turn_server *s = q->s;
	struct stun_writer sw;
	uint32_t id;

	if (stun_get_u32(q->m, STUN_A_CONNECTION_ID, &id) < 0)
		return turn_because(q, TURN_REFUSE_MISSING, "CONNECTION-ID");
	if (!q->from->transport->stream || q->alloc)
		return turn_because(q, TURN_REFUSE_CONNECTION, "it wants a connection of its own");
	if (turn_tcp_send_home(q))
		return TURN_ACCEPTED;
	struct turn_tcp *t = find(s, id);
	if (!t || t->state != WAITING || !turn_request_owns(q, t->alloc))
		return TURN_REFUSE_CONNECTION;
	turn_answer_begin(q, &sw);
	turn_answer_send(q, &sw);
	t->state = BOUND;
	timer_stop(&t->due);
	if (s->o.relay->bind(t->flow, q->from) < 0)
		tcp_free(t); /* and the client's connection ends with it */
	return TURN_ACCEPTED;
}

/* ---- data ---- */

void turn_tcp_closed(struct turn_tcp *t)
{
	t->flow = NULL;
	tcp_free(t);
}

size_t turn_tcp_pass(struct turn_tcp *t, enum turn_way way, size_t n, uint64_t now)
{
	return turn_spend_some(t->alloc, way, n, now);
}
