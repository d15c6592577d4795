/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of SIP over TCP and TLS: one struct for those that were accepted and those that we made. Bytes are
 * framed as they come (sip-proxy/framer.h); what cannot be framed is answered, if it can be, and the connection
 * closed, for nothing behind it can be trusted.
 *
 * A connection that is being made holds what shall be sent, up to the peer's bound, and nothing leaves before the
 * handshake is done and the other end is who it must be (RFC 5922). It is used again for the same peer and, if it is
 * secure, only for a name that its certificate covers; a peer that proved its name and asked for it by "alias"
 * (RFC 5923) is found by the port of its Via as well.
 *
 * Everything has a deadline: connecting, the handshake, the first message of who connected to us, the rest of a
 * message that has begun, silence.
 */
#include <errno.h>
#include <string.h>
#include "sip-proxy/conn_priv.h"
#include "sip-proxy/log_msgs.h"

enum {
	PONG_MS = 10000, /* RFC 5626 4.4.1 */
	PACE_MS = 50,	 /* a source that sends too fast is not read from for so long */
	WHY_MAX = 320,
};

/* ---- tables ---- */

static uint64_t hash_id(const struct sip_edge *e, uint64_t id)
{
	return hash_bytes(&e->seed, &id, sizeof(id));
}

static bool has_id(const struct hnode *n, const void *key)
{
	return container_of(n, struct sip_conn, by_id)->id == *(const uint64_t *)key;
}

struct sip_conn *sip_conn_find(const struct sip_edge *e, uint64_t id)
{
	struct hnode *n = htable_find(&e->by_id, hash_id(e, id), has_id, &id);

	return n ? container_of(n, struct sip_conn, by_id) : NULL;
}

void sip_conn_list_peer(struct sip_conn *c, const struct addr *peer)
{
	if (c->listed)
		htable_remove(&c->edge->by_peer, &c->by_peer);
	c->peer = *peer;
	c->listed = htable_insert(&c->edge->by_peer, &c->by_peer, sip_conn_hash_peer(c->edge, peer)) == 0;
}

/* ---- ends ---- */

static void tell_waits(struct list *waits, int err, const char *why)
{
	while (!list_empty(waits)) {
		struct sip_wait *w = list_entry(waits->next, struct sip_wait, node);
		sip_wait_forget(w);
		w->failed(w, err, why);
	}
}

static void move_list(struct list *to, struct list *from)
{
	list_init(to);
	if (list_empty(from))
		return;
	*to = *from;
	to->next->prev = to->prev->next = to;
	list_init(from);
}

static void log_end(struct sip_conn *c, int err, const char *why)
{
	const char *proto = sip_proto_rows[c->transport->proto].name;
	struct sip_edge *e = c->edge;
	uint64_t suppressed;

	if (err) {
		sip_count(e, SIP_M_CONNECTION_FAILURES, c->transport->proto, 1);
		if (sip_edge_may_log(e, SIP_LINE_CONN, &suppressed))
			log_emit(&MSG_SIP_CONNECTION_FAILED, LF_ADDR("peer", &c->remote),
				 LF_STR("transport", proto),
				 LF_STR("direction", c->outgoing ? "out" : "in"),
				 LF_STR("why", why), LF_U64("suppressed", suppressed));
	} else {
		log_emit(&MSG_SIP_CONNECTION_CLOSED, LF_U64("connection", c->id),
			 LF_ADDR("peer", &c->remote), LF_STR("transport", proto), LF_STR("why", why),
			 LF_U64("messages_in", c->in), LF_U64("messages_out", c->out));
	}
}

static void conn_unlink(struct sip_conn *c)
{
	struct sip_edge *e = c->edge;

	timer_stop(&c->deadline);
	timer_stop(&c->ping);
	timer_stop(&c->pace);
	htable_remove(&e->by_id, &c->by_id);
	if (c->listed)
		htable_remove(&e->by_peer, &c->by_peer);
	list_unlink(&c->node);
	if (c->face)
		c->face->n_conns--;
	e->n_conns--;
	sip_count(e, SIP_M_CONNECTIONS, c->transport->proto, -1);
	if (c->counted)
		sip_sources_leave(e->sources, &c->remote);
}

static void conn_free(struct sip_conn *c)
{
	c->stream = stream_free(c->stream);
	if (c->transport->forget)
		c->transport->forget(c);
	free(c->identity);
	list_for_each_safe (it, &c->pending)
		sip_held_free(c, list_entry(it, struct sip_held, node));
	free(c->name);
	if (c->listener)
		sip_listener_release(c->listener);
	free(c);
}

/* err 0: an orderly end. */
static void conn_end(struct sip_conn *c, int err, const char *why)
{
	struct sip_edge *e = c->edge;
	struct list waits;
	uint64_t id = c->id;
	bool was_open = c->open;
	char text[WHY_MAX];

	(void)snprintf(text, sizeof(text), "%s", why); /* it may be the stream's */
	log_end(c, err, text);
	conn_unlink(c);
	move_list(&waits, &c->waits);
	conn_free(c);
	tell_waits(&waits, err ? err : ECONNRESET, text);
	if (was_open && e->events)
		e->events->closed(e->core, id, loop_now(e->loop));
}

/* Ends when what is queued has left. */
void sip_conn_finish(struct sip_conn *c)
{
	if (c->ending)
		return;
	c->ending = true;
	stream_finish(c->stream);
}

/* ---- in ---- */

/* RFC 5923 8: only the port that a peer with a proven name asks for, and never against an outgoing connection. */
static void look_for_alias(struct sip_conn *c, const struct sip_msg *m)
{
	struct sip_via v;
	struct addr alias = c->remote;

	if (c->outgoing || c->aliased || !c->identity || !c->identity->verified || !c->identity->n)
		return;
	if (sip_via_parse(sip_value(m, SIP_H_VIA), &v) < 0 || !v.alias)
		return;
	addr_set_port(&alias, v.port ? v.port : sip_proto_rows[c->transport->proto].port);
	c->aliased = true;
	sip_conn_list_peer(c, &alias);
}

bool sip_conn_take(struct sip_conn *c, const struct sip_msg *m)
{
	struct sip_edge *e = c->edge;
	struct sip_hop hop = sip_conn_hop(c);
	enum sip_drop d = sip_sources_message(e->sources, &c->remote, loop_now(e->loop));

	if (d == SIP_DROP_RATE) {
		stream_pause(c->stream);
		loop_timer_set(e->loop, &c->pace, PACE_MS);
		if (!c->transport->once)
			return false;
		d = SIP_DROPS;
	}
	if (d != SIP_DROPS) {
		sip_edge_dropped(e, &c->remote, c->transport->proto, d);
		sip_conn_finish(c);
		return false;
	}
	c->in++;
	if (m->is_request)
		look_for_alias(c, m);
	sip_edge_message(e, m, &hop);
	return true;
}

void sip_conn_bad(struct sip_conn *c, const struct sip_msg *m, enum sip_verdict why)
{
	struct sip_edge *e = c->edge;
	struct sip_hop hop = sip_conn_hop(c);
	struct text answer = { e->scratch, m ? sip_edge_bad(e, m, &hop, why) : 0 };

	if (answer.n && c->transport->put(c, answer) == 0)
		sip_edge_sent(e, &hop, answer);
	if (sip_sources_bad(e->sources, &c->remote, loop_now(e->loop))) {
		sip_count(e, SIP_M_BANNED, 0, 1);
		log_emit(&MSG_SIP_BANNED, LF_ADDR("source", &c->remote),
			 LF_STR("why", "too many bad messages"), LF_U64("ms", e->limits.ban_ms));
	}
	sip_conn_finish(c);
}

static void pong(struct sip_conn *c)
{
	if (stream_write(c->stream, "\r\n", 2) == 0)
		sip_count(c->edge, SIP_M_KEEPALIVES, c->transport->proto, 1);
}

/* One frame off the front: how many bytes were used; *more false: no further one now. */
static size_t take_frame(struct sip_conn *c, struct text buf, bool *more)
{
	struct sip_msg m;
	enum sip_verdict why = SIP_OK;
	size_t used = 0;
	int r = sip_framer_next(&c->framer, buf, &m, &used, &why);

	*more = r != SIP_FRAME_MORE && used > 0;
	switch (r) {
	case SIP_FRAME_PING: pong(c); break;
	case SIP_FRAME_PONG:
		c->ponged |= c->pinged;
		c->pinged = false;
		break;
	case SIP_FRAME_MESSAGE:
		if (!sip_conn_take(c, &m)) {
			*more = false;
			used = c->ending ? buf.n : 0;
			c->framer = (struct sip_framer){ .limits = &c->limits };
		}
		sip_msg_deinit(&m);
		break;
	case SIP_FRAME_BAD:
		sip_conn_bad(c, &m, why);
		sip_msg_deinit(&m);
		used = buf.n;
		*more = false;
		break;
	case SIP_FRAME_MORE: break;
	default: /* no memory */
		sip_edge_dropped(c->edge, &c->remote, c->transport->proto, SIP_DROP_MEMORY);
		sip_conn_finish(c);
		used = buf.n;
		*more = false;
	}
	return used;
}

/* What is allowed to take how long depends on what is there: nothing yet, a part of a message, silence. */
static void set_deadline(struct sip_conn *c, bool partial)
{
	const struct sip_edge_limits *l = &c->edge->limits;
	uint64_t ms = partial ? l->partial_ms : c->in || c->outgoing ? l->idle_ms : l->first_ms;

	if (partial && timer_is_set(&c->deadline) && c->deadline.deadline <= loop_now(c->edge->loop) + ms)
		return; /* more of the same message does not give it more time */
	if (ms)
		loop_timer_set(c->edge->loop, &c->deadline, ms);
	else
		timer_stop(&c->deadline);
}

size_t sip_conn_input(struct sip_conn *c, uint8_t *p, size_t n)
{
	size_t used = 0;
	bool more = true;

	while (more && used < n)
		used += take_frame(c, (struct text){ (const char *)p + used, n - used }, &more);
	return used;
}

int sip_conn_put(struct sip_conn *c, struct text bytes)
{
	return stream_write(c->stream, bytes.p, bytes.n);
}

static size_t on_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct sip_conn *c = arg;
	size_t used;

	(void)s;
	c->last = loop_now(c->edge->loop);
	if (c->ending)
		return n;
	used = c->transport->input(c, p, n);
	if (!c->ending) {
		if (used)
			timer_stop(&c->deadline);
		set_deadline(c, used < n && !timer_is_set(&c->pace));
	}
	return used;
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct sip_conn *c = container_of(t, struct sip_conn, deadline);
	bool silent = c->in || c->outgoing;

	(void)now;
	if (silent && c->framer.scanned == 0) {
		conn_end(c, 0, "nothing was sent for long");
		return;
	}
	sip_edge_dropped(c->edge, &c->remote, c->transport->proto, SIP_DROP_SLOW);
	conn_end(c, ETIMEDOUT,
		 silent ? "the rest of a message did not come in time" : "no message came in time");
}

static void on_pace(struct timer *t, uint64_t now)
{
	struct sip_conn *c = container_of(t, struct sip_conn, pace);

	(void)now;
	stream_resume(c->stream);
}

/* ---- our keep-alives (RFC 5626 4.4.1) on connections that we made ---- */

static void schedule_ping(struct sip_conn *c)
{
	uint64_t ms = c->edge->limits.ping_ms;

	if (c->outgoing && ms) /* between 80 and 100 percent, so that many do not ping at once */
		loop_timer_set(c->edge->loop, &c->ping, ms - ms / 5 * (c->id % 16) / 16);
}

static void on_ping(struct timer *t, uint64_t now)
{
	struct sip_conn *c = container_of(t, struct sip_conn, ping);

	(void)now;
	if (c->pinged && c->ponged) {
		conn_end(c, ETIMEDOUT, "keep-alives are not answered any more");
		return;
	}
	if (stream_write(c->stream, "\r\n\r\n", 4) == 0)
		c->pinged = true;
	if (c->ponged)
		loop_timer_set(c->edge->loop, &c->ping, PONG_MS);
	else
		schedule_ping(c);
}

/* ---- open, closed ---- */

static bool check_name(struct sip_conn *c)
{
	char why[WHY_MAX];
	struct sb b = sb_init(why, sizeof(why));

	if (!c->name || sip_identity_covers(c->identity, text_of(c->name)))
		return true;
	sb_fmt(&b, "the certificate is not for %s", c->name);
	for (unsigned i = 0; c->identity && i < c->identity->n; i++)
		sb_fmt(&b, "%s%s", i ? ", " : ", but for ", c->identity->names[i]);
	conn_end(c, EACCES, why);
	return false;
}

static void on_open(struct stream *s, void *arg)
{
	struct sip_conn *c = arg;
	SSL *ssl = stream_ssl(s);
	struct sip_hop hop;

	c->local = *stream_local(s);
	if (ssl)
		c->identity = sip_identity_of(ssl);
	if (c->outgoing && !check_name(c))
		return;
	c->open = true;
	c->since = c->last = loop_now(c->edge->loop);
	sip_count(c->edge, SIP_M_CONNECTIONS_OPENED, c->transport->proto, 1);
	log_emit(&MSG_SIP_CONNECTION_OPENED, LF_U64("connection", c->id), LF_ADDR("peer", &c->remote),
		 LF_STR("transport", sip_proto_rows[c->transport->proto].name),
		 LF_STR("direction", c->outgoing ? "out" : "in"),
		 LF_STR("identity", c->identity && c->identity->n ? c->identity->names[0] : ""));
	list_for_each_safe (it, &c->pending) {
		struct sip_held *h = list_entry(it, struct sip_held, node);
		if (stream_write(s, h->bytes, h->n) < 0) {
			conn_end(c, EPIPE, "writing failed");
			return;
		}
		hop = sip_conn_hop(c);
		sip_edge_sent(c->edge, &hop, (struct text){ h->bytes, h->n });
		sip_held_free(c, h);
	}
	set_deadline(c, false);
	schedule_ping(c);
}

static void on_close(struct stream *s, int err, const char *why, void *arg)
{
	struct sip_conn *c = arg;

	(void)s;
	/* Half of the scanners of this world end here: nothing was said, so nothing failed. */
	if (!c->outgoing && !c->open && !c->in && err == ECONNRESET)
		err = 0;
	conn_end(c, err,
		 err == 0 && c->framer.scanned ? "closed by the peer in the middle of a message" : why);
}

const struct stream_ops sip_conn_stream_ops = { .on_open = on_open,
						.on_data = on_data,
						.on_close = on_close };

/* ---- new ones ---- */

struct sip_conn *sip_conn_new(struct sip_edge *e, const struct sip_transport *t, struct sip_listener *l)
{
	struct sip_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct sip_conn){ .edge = e,
				.transport = t,
				.listener = l,
				.id = ++e->next_conn,
				.limits = { .max_body = (uint32_t)e->limits.message_bytes },
				.deadline.fire = on_deadline,
				.ping.fire = on_ping,
				.pace.fire = on_pace };
	c->framer.limits = &c->limits;
	list_init(&c->waits);
	list_init(&c->pending);
	list_init(&c->node);
	if (htable_insert(&e->by_id, &c->by_id, hash_id(e, c->id)) < 0) {
		free(c);
		return NULL;
	}
	if (l)
		l->n_conns++;
	list_append(&e->conns, &c->node);
	e->n_conns++;
	sip_count(e, SIP_M_CONNECTIONS, t->proto, 1);
	return c;
}

/* Half made: without a word to anybody. */
void sip_conn_drop(struct sip_conn *c)
{
	conn_unlink(c);
	conn_free(c);
}

/* ---- for others ---- */

bool sip_conn_alive(struct sip_edge *e, uint64_t id)
{
	const struct sip_conn *c = sip_conn_find(e, id);

	return c && !c->ending;
}

const struct sip_identity *sip_conn_identity(struct sip_edge *e, uint64_t id)
{
	const struct sip_conn *c = sip_conn_find(e, id);

	return c ? c->identity : NULL;
}

bool sip_conn_kick(struct sip_edge *e, uint64_t id)
{
	struct sip_conn *c = sip_conn_find(e, id);

	if (c)
		conn_end(c, 0, "ended by an administrator");
	return c != NULL;
}

void sip_conns_free(struct sip_edge *e)
{
	list_for_each_safe (it, &e->conns) {
		struct sip_conn *c = list_entry(it, struct sip_conn, node);
		list_for_each_safe (w, &c->waits)
			list_unlink(w);
		sip_conn_drop(c);
	}
}

static json_t *conn_json(const struct sip_conn *c, uint64_t now)
{
	char remote[ADDR_STRLEN], local[ADDR_STRLEN];
	json_t *names = json_array();
	size_t queued = c->n_pending + (c->open ? stream_queued(c->stream) : 0);

	for (unsigned i = 0; c->identity && i < c->identity->n; i++)
		json_array_append_new(names, json_string(c->identity->names[i]));
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "id",
			 (json_int_t)c->id, "transport", sip_proto_rows[c->transport->proto].name,
			 "direction", c->outgoing ? "out" : "in", "state",
			 c->ending ? "closing"
			 : c->open ? "open"
				   : "connecting",
			 "remote", addr_print(&c->remote, remote), "local",
			 addr_print(&c->local, local), "age_ms",
			 (json_int_t)(c->since ? now - c->since : 0), "idle_ms",
			 (json_int_t)(c->last ? now - c->last : 0), "in", (json_int_t)c->in, "out",
			 (json_int_t)c->out, "queued", (json_int_t)queued, "alias", c->aliased,
			 "identity", names);
}

json_t *sip_conns_json(const struct sip_edge *e, uint64_t cursor, unsigned limit)
{
	json_t *rows = json_array();
	uint64_t last = 0;
	bool more = false;

	list_for_each (it, &e->conns) {
		const struct sip_conn *c = list_entry(it, struct sip_conn, node);
		if (c->id <= cursor)
			continue;
		more = json_array_size(rows) >= limit;
		if (more)
			break;
		json_array_append_new(rows, conn_json(c, loop_now(e->loop)));
		last = c->id;
	}
	return more ? json_pack("{s:o, s:I}", "rows", rows, "cursor", (json_int_t)last)
		    : json_pack("{s:o}", "rows", rows);
}
