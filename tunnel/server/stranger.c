/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to the tunnel's port before it is welcome: its first byte tells TLS from a plain carrier and from a port
 * scanner; then handshake, HELLO, and for a control connection whatever the registry in the main thread wants to know.
 *
 * Whatever a stranger can consume is limited here: their number, in all and of one source (an IPv4 address or an IPv6 /64) over all
 * workers, and their time. What becomes of each is counted, and logged through a gate.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/fd.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/server_priv.h"

enum { PENDING_MS = 15 * 60 * 1000, PENDING_MAX = 64, PENDING_PER_SOURCE = 4, PEEK_MS = 100, LOGIN_FRAMES = 8 /* of a login, which takes two */ };

struct stranger {
	struct list node; /* in worker->strangers */
	struct tunnel_worker *worker;
	uint64_t id;
	struct addr peer, local;
	struct io io;		 /* until the first byte */
	int fd;			 /* until a stream has it */
	struct stream *stream;	 /* the handshake */
	struct frame_conn *conn; /* after it */
	struct tunnel_arrival_info info;
	bool asked;   /* main knows of it */
	bool pending; /* waits for an administrator; counted among those */
	uint8_t *hello;
	size_t hello_n;
	unsigned told; /* frames of its login that main was told of */
	struct timer deadline, peek;
	size_t peeked; /* of a plain carrier's head */
};

/* ---- its end ---- */

static void stranger_free(struct stranger *s)
{
	struct tunnel_worker *w = s->worker;

	io_stop(&s->io);
	timer_stop(&s->deadline);
	timer_stop(&s->peek);
	list_unlink(&s->node);
	stream_free(s->stream);
	frame_conn_free(s->conn);
	if (s->fd >= 0)
		close(s->fd);
	clients_leave(s->pending ? w->server->pending : w->server->strangers, &s->peer);
	free(s->hello);
	free(s);
	worker_count(w, TUNNEL_M_STRANGERS, 0, -1);
}

static void tell_main_gone(struct stranger *s, const char *why)
{
	struct note *n = s->asked ? note_new(s->worker->server, NOTE_GONE, s->id, 0) : NULL;

	if (!n)
		return;
	(void)snprintf(n->why, sizeof(n->why), "%s", why);
	note_post(n);
}

void stranger_outcome(struct tunnel_worker *w, const struct addr *peer, enum tunnel_arrived what,
		      const char *detail)
{
	uint64_t suppressed;

	worker_count(w, TUNNEL_M_ARRIVED, what, 1);
	if (what <= TUNNEL_A_PLAIN || !worker_may_log(w, TUNNEL_LINE_STRANGER, &suppressed))
		return;
	log_emit(&MSG_TUNNEL_STRANGER, LF_ADDR("source", peer),
		 LF_STR("reason", tunnel_arrived_texts[what]), LF_STR("detail", detail),
		 LF_U64("suppressed", suppressed));
}

static void turned_away(struct stranger *s, enum tunnel_arrived what, const char *detail)
{
	stranger_outcome(s->worker, &s->peer, what, detail);
	tell_main_gone(s, detail);
	stranger_free(s);
}

static void refuse(struct stranger *s, enum wire_reason reason, const char *text)
{
	const struct wire_refused m = { .reason = (uint8_t)reason, .text = text_of(text) };

	if (s->conn) {
		(void)frame_conn_send(s->conn, WIRE_REFUSED, &m);
		frame_conn_finish(steal_ptr(&s->conn));
	}
	turned_away(s, TUNNEL_A_REFUSED, text && *text ? text : wire_reason_text(reason));
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct stranger *s = container_of(t, struct stranger, deadline);

	(void)now;
	if (s->pending)
		refuse(s, WIRE_R_NOT_APPROVED, "nobody has approved the agent so far; it may ask again");
	else
		turned_away(s, TUNNEL_A_SLOW, "");
}

/* ---- HELLO ---- */

/* What goes on of s, with room for both payloads; s is gone then. NULL: it could not be taken, and s is still there. */
static struct handover *hand_over(struct stranger *s, uint64_t session, const uint8_t *welcome,
				  size_t welcome_n)
{
	struct handover *h = calloc(1, sizeof(*h) + s->hello_n + welcome_n);
	int fd;

	if (!h)
		return NULL;
	fd = frame_conn_take(s->conn, &h->ssl);
	if (fd < 0) {
		free(h);
		return NULL;
	}
	s->conn = NULL;
	h->fd = fd;
	memcpy(h->identity, s->info.identity, WIRE_PIN);
	memcpy(h->instance, s->info.hello.instance.p, WIRE_INSTANCE);
	h->session = session;
	h->purpose = s->info.hello.purpose;
	h->peer = s->peer;
	h->local = s->local;
	h->hello_n = s->hello_n;
	h->welcome_n = welcome_n;
	memcpy(h->payload, s->hello, s->hello_n);
	if (welcome_n)
		memcpy(h->payload + s->hello_n, welcome, welcome_n);
	return h;
}

static void deliver_handover(struct mail *m, struct loop *l)
{
	struct handover *h = container_of(m, struct handover, mail);

	(void)l;
	link_take(h->worker, h);
}

static void drop_handover(struct mail *m)
{
	handover_free(container_of(m, struct handover, mail));
}

void handover_free(struct handover *h)
{
	SSL_free(h->ssl);
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}

static void send_on(struct stranger *s, struct handover *h)
{
	struct tunnel_server *server = s->worker->server;
	unsigned index = tunnel_worker_of(h->session);
	struct tunnel_worker *here = s->worker;

	if (h->purpose == HANDOVER_PLAIN || h->purpose == WIRE_PURPOSE_CONTROL) /* others: where their link is */
		stranger_outcome(here, &s->peer, h->purpose == HANDOVER_PLAIN ? TUNNEL_A_PLAIN : TUNNEL_A_CONTROL, "");
	stranger_free(s);
	h->worker = server->workers.w[index].state;
	if (h->worker == here) {
		link_take(here, h);
		return;
	}
	h->mail = (struct mail){ .deliver = deliver_handover, .drop = drop_handover };
	loop_post(server->workers.w[index].loop, &h->mail);
}

static void carrier_arrived(struct stranger *s)
{
	struct handover *h;

	if (tunnel_worker_of(s->info.hello.session) >= s->worker->server->n_workers) {
		refuse(s, WIRE_R_SESSION, "");
		return;
	}
	if (worker_many_carriers(s->worker)) {
		refuse(s, WIRE_R_LIMIT, "all agents' carriers use three quarters of the descriptors: raise LimitNOFILE of the service");
		return;
	}
	h = hand_over(s, s->info.hello.session, NULL, 0);
	if (h)
		send_on(s, h);
	else
		turned_away(s, TUNNEL_A_PROTOCOL, "a carrier that does not wait for its WELCOME");
}

static void ask_main(struct stranger *s)
{
	struct note *n = note_new(s->worker->server, NOTE_ARRIVED, s->id, s->hello_n);

	if (!n) {
		turned_away(s, TUNNEL_A_SHORT, "out of memory");
		return;
	}
	n->info = s->info;
	memcpy(n->payload, s->hello, s->hello_n);
	s->asked = true;
	loop_timer_set(s->worker->loop, &s->deadline, s->worker->server->o.hello_ms); /* for its login */
	note_post(n);
}

static int on_hello(struct stranger *s, const struct wire_hello *m)
{
	uint8_t frame[WIRE_HEAD + WIRE_EARLY_MAX];
	struct wr w = wr_init(frame, sizeof(frame));
	union wire_msg kept;

	wire_write(&w, WIRE_HELLO, m);
	s->hello_n = wr_len(&w) - WIRE_HEAD;
	s->hello = w.failed ? NULL : malloc(s->hello_n);
	if (!s->hello) {
		turned_away(s, TUNNEL_A_SHORT, "out of memory");
		return 0;
	}
	memcpy(s->hello, frame + WIRE_HEAD, s->hello_n);
	(void)wire_parse(WIRE_HELLO, s->hello, s->hello_n, &kept); /* its slices point to what we keep */
	s->info.hello = kept.hello;
	if ((m->oldest ? m->oldest : m->version) > WIRE_VERSION)
		refuse(s, WIRE_R_VERSION, "this server is older than the agent: update stile-tunnel");
	else if (m->purpose != WIRE_PURPOSE_CONTROL)
		carrier_arrived(s);
	else if (s->worker->draining)
		refuse(s, WIRE_R_STOPPING, "");
	else
		ask_main(s);
	return 0;
}

static int on_frame(struct frame_conn *c, const struct wire_got *g, void *arg)
{
	struct stranger *s = arg;
	struct note *n;
	uint8_t frame[WIRE_HEAD + WIRE_EARLY_MAX];
	struct wr w = wr_init(frame, sizeof(frame));

	if (g->type == WIRE_HELLO && !s->hello)
		return on_hello(s, &g->m.hello);
	if (!s->hello)
		return -EPROTO;
	if (g->type == WIRE_PING) {
		(void)frame_conn_send(c, WIRE_PONG, &g->m.ping);
		return 0;
	}
	if (!s->asked || (g->type != WIRE_ENROL && g->type != WIRE_SCRAM) || s->told++ == LOGIN_FRAMES)
		return -EPROTO;
	wire_write(&w, g->type, &g->m);
	n = w.failed ? NULL : note_new(s->worker->server, NOTE_FRAME, s->id, wr_len(&w) - WIRE_HEAD);
	if (!n)
		return -ENOMEM;
	n->type = g->type;
	memcpy(n->payload, frame + WIRE_HEAD, n->n);
	note_post(n);
	return 0;
}

static void on_closed(struct frame_conn *c, int err, const char *why, void *arg)
{
	struct stranger *s = arg;

	(void)c;
	turned_away(s, err == EPROTO ? TUNNEL_A_PROTOCOL : TUNNEL_A_LEFT, why);
}

static const struct frame_conn_ops conn_ops = { .frame = on_frame, .closed = on_closed };

/* ---- TLS ---- */

static void on_open(struct stream *st, void *arg)
{
	struct stranger *s = arg;
	struct link_peer peer;
	SSL *ssl = stream_ssl(st);
	int fd, r = link_tls_peer(ssl, &peer);

	if (r == 0)
		r = link_tls_exporter(ssl, LINK_EXPORTER_BINDING, s->info.binding);
	if (r == 0)
		r = link_tls_exporter(ssl, LINK_EXPORTER_ENROL, s->info.enrol);
	if (r < 0) {
		turned_away(s, TUNNEL_A_TLS, "it did not ask for " LINK_ALPN ", or has no key");
		return;
	}
	memcpy(s->info.identity, peer.id.b, WIRE_PIN);
	s->info.peer = s->peer;
	s->info.local = s->local;
	fd = stream_take(st, &ssl);
	s->stream = NULL;
	if (fd < 0)
		stream_free(st);
	r = fd < 0 ? fd : frame_conn_new(s->worker->loop, fd, ssl, WIRE_TO_SERVER, &s->conn);
	if (r == 0)
		frame_conn_set_owner(s->conn, &conn_ops, s);
	else
		turned_away(s, TUNNEL_A_SHORT, strerror(-r));
}

static size_t on_data(struct stream *st, uint8_t *p, size_t n, void *arg)
{
	(void)st;
	(void)p;
	(void)arg;
	return n; /* never: the stream is taken as soon as it is open */
}

static void on_stream_closed(struct stream *st, int err, const char *why, void *arg)
{
	struct stranger *s = arg;

	(void)st;
	turned_away(s, err == ETIMEDOUT ? TUNNEL_A_SLOW : TUNNEL_A_TLS, why);
}

static const struct stream_ops tls_ops = { .on_open = on_open,
					   .on_data = on_data,
					   .on_close = on_stream_closed };

static void begin_tls(struct stranger *s)
{
	const struct stream_options o = { .tls = s->worker->tls,
					  .handshake_ms = s->worker->server->o.hello_ms };
	int r;

	if (!s->worker->tls) {
		turned_away(s, TUNNEL_A_SHORT, "the server has no keys yet");
		return;
	}
	r = stream_new(s->worker->loop, steal_fd(&s->fd), &o, &tls_ops, s, &s->stream);
	if (r < 0)
		turned_away(s, TUNNEL_A_SHORT, strerror(-r));
}

/* ---- the first byte ---- */

/* The head has come whole: it is judged where the session is. */
static void plain_arrived(struct stranger *s, const uint8_t *head, uint64_t session)
{
	struct tunnel_worker *w = s->worker;
	struct handover *h = NULL;

	if (worker_many_carriers(s->worker)) {
		turned_away(s, TUNNEL_A_SHORT, "all agents' carriers use three quarters of the descriptors");
		return;
	}
	if (tunnel_worker_of(session) < w->server->n_workers)
		h = calloc(1, sizeof(*h) + WIRE_PLAIN_HEAD);
	if (!h) {
		turned_away(s, TUNNEL_A_GARBAGE, "a plain carrier of no session");
		return;
	}
	io_stop(&s->io);
	h->fd = steal_fd(&s->fd);
	h->session = session;
	h->purpose = HANDOVER_PLAIN;
	h->hello_n = WIRE_PLAIN_HEAD;
	memcpy(h->payload, head, WIRE_PLAIN_HEAD);
	send_on(s, h);
}

static void read_plain(struct stranger *s)
{
	uint8_t head[WIRE_PLAIN_HEAD];
	ssize_t r = recv(s->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);
	struct wire_plain p;
	enum wire_error e = wire_plain_parse(head, r > 0 ? (size_t)r : 0, &p);

	if (e == WIRE_BAD_VALUE || r <= 0 || (e == WIRE_INCOMPLETE && (size_t)r == s->peeked)) {
		turned_away(s, TUNNEL_A_GARBAGE, "");
		return;
	}
	if (e == WIRE_INCOMPLETE) { /* level-triggered, and nothing was taken: come back when more may be there */
		s->peeked = (size_t)r;
		(void)io_change(&s->io, 0);
		loop_timer_set(s->worker->loop, &s->peek, PEEK_MS);
		return;
	}
	(void)recv(s->fd, head, sizeof(head), MSG_DONTWAIT);
	plain_arrived(s, head, p.session);
}

static void on_peek_timer(struct timer *t, uint64_t now)
{
	(void)now;
	read_plain(container_of(t, struct stranger, peek));
}

static void on_first(struct io *io, int events)
{
	struct stranger *s = container_of(io, struct stranger, io);
	uint8_t first;
	ssize_t r = recv(s->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);

	(void)events;
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (r <= 0) {
		turned_away(s, TUNNEL_A_LEFT, r == 0 ? "closed without a byte" : strerror(errno));
		return;
	}
	if (first == 0x16) {
		io_stop(&s->io);
		begin_tls(s);
	} else if (first == 's') {
		read_plain(s);
	} else {
		turned_away(s, TUNNEL_A_GARBAGE, "");
	}
}

void stranger_accepted(struct tunnel_worker *w, int fd, const struct addr *peer, const struct addr *local)
{
	const struct tunnel_server_options *o = &w->server->o;
	enum clients_verdict v = clients_enter(w->server->strangers, peer, o->strangers,
							o->strangers_per_source);
	struct stranger *s = v == CLIENTS_OK && !w->draining ? calloc(1, sizeof(*s)) : NULL;

	if (!s) {
		if (v == CLIENTS_OK)
			clients_leave(w->server->strangers, peer);
		stranger_outcome(w, peer,
				 v == CLIENTS_TOTAL || v == CLIENTS_ADDRESS ? TUNNEL_A_LIMIT
										    : TUNNEL_A_SHORT,
				 "");
		socket_reset(fd);
		return;
	}
	*s = (struct stranger){
		.worker = w, .id = worker_next_id(w), .peer = *peer, .local = *local, .fd = fd
	};
	s->deadline.fire = on_deadline;
	s->peek.fire = on_peek_timer;
	list_append(&w->strangers, &s->node);
	worker_count(w, TUNNEL_M_STRANGERS, 0, 1);
	loop_timer_set(w->loop, &s->deadline, o->hello_ms);
	if (io_start(&s->io, w->loop, fd, IO_READ, on_first) < 0)
		turned_away(s, TUNNEL_A_SHORT, "out of memory");
}

void strangers_free(struct tunnel_worker *w)
{
	while (!list_empty(&w->strangers))
		stranger_free(list_entry(w->strangers.next, struct stranger, node));
}

/* ---- what main says ---- */

static struct stranger *find(struct tunnel_worker *w, uint64_t id)
{
	list_for_each (it, &w->strangers) {
		struct stranger *s = list_entry(it, struct stranger, node);

		if (s->id == id)
			return s;
	}
	return NULL;
}

/* Who has shown that it knows the password waits for people, and is no stranger like the others: it has limits of its own. */
static bool may_wait(struct stranger *s)
{
	struct tunnel_server *server = s->worker->server;

	if (s->pending)
		return true;
	if (clients_enter(server->pending, &s->peer, PENDING_MAX, PENDING_PER_SOURCE) !=
	    CLIENTS_OK)
		return false;
	clients_leave(server->strangers, &s->peer);
	s->pending = true;
	loop_timer_set(s->worker->loop, &s->deadline, PENDING_MS);
	return true;
}

static void send_frame(struct stranger *s, const struct order *o)
{
	if (o->frame[0] == WIRE_PENDING && !may_wait(s))
		refuse(s, WIRE_R_LIMIT, "too many agents wait for approval, in all or of this address");
	else if (frame_conn_data(s->conn, o->frame, o->n) < 0)
		turned_away(s, TUNNEL_A_LEFT, "it does not read");
}

static void admit(struct stranger *s, const struct order *o)
{
	struct handover *h = hand_over(s, o->link, o->frame + WIRE_HEAD, o->n - WIRE_HEAD);

	if (!h) {
		link_not_come(s->worker->server, o->link, o->admission);
		s->asked = false;
		turned_away(s, TUNNEL_A_PROTOCOL, "it did not wait for its WELCOME");
		return;
	}
	h->admission = o->admission;
	h->guest = o->guest;
	s->asked = false;
	send_on(s, h);
}

void stranger_obey(struct tunnel_worker *w, const struct order *o)
{
	struct stranger *s = find(w, o->stranger);

	if (!s && o->kind == ORDER_ADMIT)
		link_not_come(w->server, o->link, o->admission);
	if (!s)
		return; /* it has gone; main knows or will hear of it */
	switch (o->kind) {
	case ORDER_SEND: send_frame(s, o); break;
	case ORDER_REFUSE:
		(void)frame_conn_data(s->conn, o->frame, o->n);
		frame_conn_finish(steal_ptr(&s->conn));
		s->asked = false;
		turned_away(s, TUNNEL_A_REFUSED, wire_reason_text(o->reason));
		break;
	case ORDER_ADMIT: admit(s, o); break;
	default: break;
	}
}
