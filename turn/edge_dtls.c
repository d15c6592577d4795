/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DTLS clients: one UDP socket per listener and worker; an address gets a session only after it has
 * returned its cookie (common/dtls), and is counted against its address from then on. Sessions are
 * found by client and local address; one without an allocation is closed after TURN_UNUSED_MS. A client
 * that has lost its session begins anew from the same port: then the new one takes the old one's place.
 */
#include <errno.h>
#include <string.h>
#include "turn/edge.h"
#include "turn/log_msgs.h"
#include "turn/metrics.h"

struct turn_dtls_session {
	struct hnode node;
	struct turn_worker *worker;
	struct dtls_session *dtls;
	struct turn_udp *udp; /* the listener's socket */
	struct addr client, local;
	struct dgram_mark mark; /* of the datagram that is being read */
	uint16_t realm; /* slot of the realm that its server name led to; 0: none */
	struct timer unused;
};

struct session_key {
	const struct addr *client, *local;
};

static void session_send(const struct turn_path *p, const struct turn_out *o)
{
	struct turn_dtls_session *s = p->handle;
	struct turn_worker *w = s->worker;
	size_t n = turn_out_join(w, o);

	s->udp->mark = o->mark; /* DTLS is a datagram on its way too: RFC 8656 14 */
	if (dtls_session_send(s->dtls, w->scratch, n) < 0)
		metric_add(w->ts->metrics, w->index, TURN_M_DROPS, TURN_DROP_CLIENT_SLOW, 1);
	s->udp->mark = DGRAM_MARK_NONE;
}

static bool session_alive(void *edge, const struct turn_path *p);

static struct turn_listener *session_listener(const struct turn_path *p)
{
	return ((const struct turn_dtls_session *)p->handle)->udp->listener;
}

static const struct turn_transport transport_dtls = {
	.proto = TURN_DTLS,
	.name = "dtls",
	.send = session_send,
	.alive = session_alive,
	.listener = session_listener,
};

static struct turn_path session_path(struct turn_dtls_session *s)
{
	return (struct turn_path){ &transport_dtls, s, s->client, s->local, s->realm };
}

static uint64_t session_hash(struct turn_worker *w, const struct addr *client, const struct addr *local)
{
	uint8_t key[2 * (16 + 2)] = { 0 };
	size_t n;
	const uint8_t *ip = addr_ip(client, &n);
	uint16_t port = addr_port(client);

	memcpy(key, ip, n);
	memcpy(key + 16, &port, 2);
	ip = addr_ip(local, &n);
	port = addr_port(local);
	memcpy(key + 18, ip, n);
	memcpy(key + 34, &port, 2);
	return hash_bytes(&w->seed, key, sizeof key);
}

static bool session_eq(const struct hnode *n, const void *key)
{
	const struct turn_dtls_session *s = container_of(n, struct turn_dtls_session, node);
	const struct session_key *k = key;

	return addr_equal(&s->client, k->client) && addr_equal(&s->local, k->local);
}

static void session_free(struct turn_dtls_session *s)
{
	struct turn_worker *w = s->worker;
	struct turn_path path = session_path(s);

	turn_path_gone(w->server, &path, loop_now(w->loop));
	timer_stop(&s->unused);
	htable_remove(&w->sessions, &s->node);
	dtls_session_free(s->dtls);
	clients_leave(w->ts->clients, &s->client);
	atomic_fetch_sub(&s->udp->listener->conns, 1);
	free(s);
}

static void on_unused(struct timer *t, uint64_t now)
{
	struct turn_dtls_session *s = container_of(t, struct turn_dtls_session, unused);
	struct turn_path path = session_path(s);

	(void)now;
	if (turn_path_in_use(s->worker->server, &path)) {
		loop_timer_set(s->worker->loop, &s->unused, TURN_UNUSED_MS);
		return;
	}
	metric_add(s->worker->ts->metrics, s->worker->index, TURN_M_DROPS, TURN_DROP_CONN_UNUSED, 1);
	session_free(s);
}

static void on_open(struct dtls_session *d, void *arg)
{
	struct turn_dtls_session *s = arg;

	s->realm = (uint16_t)turn_policy_realm_named(s->worker->policy, tls_server_name(dtls_session_ssl(d)));
}

static void on_data(struct dtls_session *d, uint8_t *p, size_t n, void *arg)
{
	struct turn_dtls_session *s = arg;
	struct turn_path path = session_path(s);

	(void)d;
	turn_input(s->worker->server, &path,
		   &(struct turn_packet){ .data = p, .n = n, .mark = s->mark, .leaving = s->udp->secure != TURN_OPEN },
		   loop_now(s->worker->loop));
}

static void on_close(struct dtls_session *d, int err, const char *why, void *arg)
{
	struct turn_dtls_session *s = arg;

	(void)d;
	if (err)
		turn_client_failed(s->worker, &(struct turn_failure){ &s->client, "dtls", why, err });
	session_free(s);
}

static const struct dtls_session_ops session_ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_close = on_close,
};

static void listener_send(const struct addr *to, const struct addr *from, const void *p, size_t n, void *arg)
{
	turn_udp_send_raw(arg, to, from, p, n);
}

static const struct dtls_ops dtls_io = { .send = listener_send };

int turn_dtls_listen(struct turn_udp *u, struct tls_ctx *ctx)
{
	return dtls_listener_new(u->worker->loop, ctx, &dtls_io, u, &u->dtls);
}

/* The session's dtls is owned from here on, also on failure. */
static void session_new(struct turn_udp *u, struct dtls_session *dtls, const struct addr *client,
			const struct addr *local)
{
	struct turn_worker *w = u->worker;
	struct turn_dtls_session *s = NULL;

	if (turn_client_admit(w, client)) {
		s = calloc(1, sizeof *s);
		if (!s || htable_insert(&w->sessions, &s->node, session_hash(w, client, local)) < 0) {
			clients_leave(w->ts->clients, client);
			free(s);
			s = NULL;
		}
	}
	if (!s) {
		dtls_session_free(dtls);
		return;
	}
	s->worker = w;
	s->udp = u;
	atomic_fetch_add(&u->listener->conns, 1);
	s->mark = DGRAM_MARK_NONE;
	s->dtls = dtls;
	s->client = *client;
	s->local = *local;
	s->unused.fire = on_unused;
	loop_timer_set(w->loop, &s->unused, TURN_UNUSED_MS);
	dtls_session_bind(dtls, &session_ops, s);
}

static struct turn_dtls_session *find(struct turn_worker *w, const struct addr *client, const struct addr *local)
{
	struct session_key key = { client, local };
	struct hnode *n = htable_find(&w->sessions, session_hash(w, client, local), session_eq, &key);

	return n ? container_of(n, struct turn_dtls_session, node) : NULL;
}

bool turn_dtls_has(struct turn_udp *u, const struct dgram *d)
{
	return u->worker->sessions.count && find(u->worker, &d->from, u->wildcard ? &d->local : &u->at);
}

void turn_dtls_input(struct turn_udp *u, const struct dgram *d)
{
	struct turn_worker *w = u->worker;
	const struct addr *local = u->wildcard ? &d->local : &u->at;
	struct turn_dtls_session *s = find(w, &d->from, local);
	struct dtls_session *fresh = NULL;

	if (s && !dtls_session_restarts(s->dtls, d->data, d->len)) {
		s->mark = d->mark;
		dtls_session_input(s->dtls, d->data, d->len);
		return;
	}
	if (u->secure != TURN_OPEN) {
		metric_add(w->ts->metrics, w->index, TURN_M_DROPS, TURN_DROP_LEAVING, 1);
		return;
	}
	switch (dtls_listener_input(u->dtls, &d->from, local, d->data, d->len, &fresh)) {
	case 1:
		if (s) { /* the client has begun anew, and returned its cookie */
			SSL_set_quiet_shutdown(dtls_session_ssl(s->dtls), 1);
			session_free(s);
		}
		session_new(u, fresh, &d->from, local);
		break;
	case -ECONNABORTED:
		turn_client_failed(w, &(struct turn_failure){ &d->from, "dtls", "no common version or cipher", EPROTO });
		break;
	case -EPROTO:
		metric_add(w->ts->metrics, w->index, TURN_M_DROPS, TURN_DROP_NOT_DTLS, 1);
		break;
	case 0:
		metric_add(w->ts->metrics, w->index, TURN_M_DTLS_COOKIES, 0, 1);
		break;
	default: /* no memory, and the client will ask again */
		break;
	}
}

static bool session_alive(void *edge, const struct turn_path *p)
{
	const struct turn_dtls_session *s = find(edge, &p->client, &p->local);

	return s && s == p->handle;
}

static bool close_one(struct hnode *n, void *arg)
{
	struct turn_dtls_session *s = container_of(n, struct turn_dtls_session, node);

	if (!arg || s->udp == arg)
		session_free(s);
	return true;
}

void turn_dtls_close(struct turn_worker *w, const struct turn_udp *u)
{
	htable_each(&w->sessions, close_one, (void *)u);
}

static bool leave(struct hnode *n, void *arg)
{
	struct turn_dtls_session *s = container_of(n, struct turn_dtls_session, node);
	struct turn_path path = session_path(s);

	(void)arg;
	if (s->udp->secure == TURN_LEAVING && !turn_path_in_use(s->worker->server, &path))
		session_free(s);
	return true;
}

void turn_dtls_leave(struct turn_worker *w)
{
	htable_each(&w->sessions, leave, NULL);
}

static bool rehome(struct hnode *n, void *arg)
{
	struct turn_dtls_session *s = container_of(n, struct turn_dtls_session, node);
	struct turn_udp *u = arg;

	if (s->udp != u && addr_equal(&s->local, &u->at)) {
		atomic_fetch_sub(&s->udp->listener->conns, 1);
		atomic_fetch_add(&u->listener->conns, 1);
		s->udp = u;
		dtls_session_send_by(s->dtls, u);
	}
	return true;
}

void turn_dtls_rehome(struct turn_udp *u)
{
	htable_each(&u->worker->sessions, rehome, u);
}
