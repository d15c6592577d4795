/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams and datagrams of a connection. What is written stays in chunks, in place, until the other side has acknowledged
 * it; who may send next is decided here: datagrams, then streams that have only little to say (a key stroke behind a bulk
 * transfer), then the others in turn, a slice each.
 */
#include <errno.h>
#include <string.h>
#include "tunnel/direct/quic_priv.h"

enum {
	URGENT_MAX = 4096, /* bytes that a stream may send out of its turn, when it was silent before */
	VECTORS = 4,
	DATAGRAM_OVERHEAD = 1 + 20 + 4 + 16 + 3, /* short header with the longest id, number, tag, frame */
};

static struct stream *stream_of(struct quic_stream *s)
{
	return container_of(s, struct stream, s);
}

static bool has_to_send(const struct stream *st)
{
	return st->unsent || (st->finish && !st->finish_sent);
}

static void schedule(struct quic_conn *q, struct stream *st)
{
	if (st->dead || st->blocked || !has_to_send(st) || (st->ready.next && !list_empty(&st->ready)))
		return;
	st->slice = 0;
	list_append(st->unsent <= URGENT_MAX ? &q->urgent : &q->bulk, &st->ready);
}

/* ---- making and ending ---- */

static struct stream *stream_new(struct quic_conn *q, int64_t id)
{
	struct stream *st = calloc(1, sizeof(*st));

	if (!st)
		return NULL;
	st->s.id = id;
	st->tx.pool = q->o.pool;
	st->window = QUIC_STREAM_WINDOW;
	list_init(&st->ready);
	list_append(&q->streams, &st->node);
	q->n_streams++;
	return st;
}

/* Credit of the connection for n bytes that are held no more. */
static void credit(struct quic_conn *q, uint64_t n)
{
	uint64_t give = MIN(q->owed, n);

	q->held -= MIN(q->held, n);
	q->owed -= give;
	if (give && q->conn)
		ngtcp2_conn_extend_max_offset(q->conn, give);
}

static void stream_free(struct quic_conn *q, struct stream *st)
{
	q->ops->closed(q, &st->s, q->arg);
	credit(q, st->held);
	q->grown -= st->window - QUIC_STREAM_WINDOW;
	list_unlink(&st->ready);
	list_unlink(&st->node);
	while (st->tx.first) {
		struct chunk *c = st->tx.first;

		st->tx.first = c->next;
		chunk_give(q->o.pool, c);
	}
	q->n_streams--;
	free(st);
}

/* Both ways have ended and all is consumed: the other side may open another one in its place. */
static void stream_done(struct quic_conn *q, struct stream *st)
{
	if (st->counted)
		ngtcp2_conn_extend_max_streams_bidi(q->conn, 1);
	stream_free(q, st);
}

void quic_streams_free(struct quic_conn *q)
{
	while (!list_empty(&q->streams))
		stream_free(q, list_entry(q->streams.next, struct stream, node));
	while (!list_empty(&q->datagrams)) {
		struct datagram *d = list_entry(q->datagrams.next, struct datagram, node);

		list_unlink(&d->node);
		free(d);
	}
	q->n_datagrams = 0;
}

int quic_stream_open(struct quic_conn *q, struct quic_stream **ret_s)
{
	struct stream *st;
	int64_t id;
	int r;

	if (q->over || !q->handshaken)
		return -ENOTCONN;
	st = stream_new(q, -1);
	if (!st)
		return -ENOMEM;
	r = ngtcp2_conn_open_bidi_stream(q->conn, &id, st);
	if (r != 0) {
		list_unlink(&st->node);
		q->n_streams--;
		free(st);
		return r == NGTCP2_ERR_NOMEM ? -ENOMEM : -EAGAIN;
	}
	st->s.id = id;
	*ret_s = &st->s;
	return 0;
}

uint64_t quic_streams_lost(const struct quic_conn *q)
{
	uint64_t n = q->lost;

	list_for_each (it, (struct list *)&q->streams)
		n += ngtcp2_conn_get_stream_loss_count(q->conn, list_entry(it, struct stream, node)->s.id);
	return n;
}

/* ---- our bytes ---- */

uint8_t *quic_stream_space(struct quic_conn *q, struct quic_stream *s, size_t *ret_n)
{
	struct stream *st = stream_of(s);
	struct chunk *c = st->tx.last;

	*ret_n = 0;
	if (st->dead || st->finish || q->over)
		return NULL;
	if (st->unsent >= QUIC_UNSENT_MAX) {
		st->full = q->some_full = true;
		return NULL;
	}
	if (!c || c->n == CHUNK_BYTES) {
		c = chunk_take(q->o.pool);
		if (!c) {
			st->full = q->some_full = true; /* until there is some again */
			return NULL;
		}
		if (st->tx.last)
			st->tx.last->next = c;
		else
			st->tx.first = c;
		st->tx.last = c;
	}
	*ret_n = CHUNK_BYTES - c->n;
	return c->p + c->n;
}

void quic_stream_commit(struct quic_conn *q, struct quic_stream *s, size_t n)
{
	struct stream *st = stream_of(s);
	struct chunk *c = st->tx.last;

	if (!n)
		return;
	if (!st->unsent) {
		st->at = c;
		st->at_offset = c->n;
	}
	c->n += (uint32_t)n;
	st->tx.n += n;
	st->unsent += n;
	schedule(q, st);
}

int quic_stream_write(struct quic_conn *q, struct quic_stream *s, const void *p, size_t n)
{
	const uint8_t *from = p;

	while (n) {
		size_t room;
		uint8_t *to = quic_stream_space(q, s, &room);

		if (!to)
			return stream_of(s)->unsent >= QUIC_UNSENT_MAX ? -ENOBUFS : -ENOMEM;
		room = MIN(room, n);
		memcpy(to, from, room);
		quic_stream_commit(q, s, room);
		from += room;
		n -= room;
	}
	return 0;
}

void quic_stream_finish(struct quic_conn *q, struct quic_stream *s)
{
	struct stream *st = stream_of(s);

	if (st->finish)
		return;
	st->finish = true;
	schedule(q, st);
}

static void abandon(struct stream *st)
{
	st->dead = true;
	st->full = false;
	list_unlink(&st->ready);
}

void quic_stream_reset(struct quic_conn *q, struct quic_stream *s, uint64_t code)
{
	struct stream *st = stream_of(s);

	if (q->over)
		return;
	abandon(st);
	credit(q, st->held);
	st->held = 0;
	if (st->closed)
		q->some_done = true;
	else
		(void)ngtcp2_conn_shutdown_stream(q->conn, s->id, code);
}

/* n bytes more of it are under way. */
static void advance(struct stream *st, size_t n)
{
	st->unsent -= n;
	st->slice += n;
	while (n) {
		size_t part = MIN(n, (size_t)(st->at->n - st->at_offset));

		st->at_offset += (uint32_t)part;
		n -= part;
		if (st->at_offset == st->at->n && st->at->next) {
			st->at = st->at->next;
			st->at_offset = st->at->start;
		}
	}
}

static int vectors(const struct stream *st, ngtcp2_vec *v, size_t *ret_n)
{
	uint32_t from = st->at_offset;
	int count = 0;

	*ret_n = 0;
	if (!st->unsent)
		return 0;
	for (struct chunk *c = st->at; c && count < VECTORS; c = c->next) {
		if (c->n > from) {
			v[count++] = (ngtcp2_vec){ c->p + from, c->n - from };
			*ret_n += c->n - from;
		}
		from = 0;
	}
	return count;
}

/* ---- the other side's bytes ---- */

/* By how much the window of a stream grows whose reader keeps up; half of what may be held in all is for such windows. */
static uint64_t growth(struct quic_conn *q, struct stream *st)
{
	uint64_t more;

	if (st->taken < st->window / 2 || st->held > st->window / 4)
		return 0;
	st->taken = 0;
	more = MIN(st->window, QUIC_STREAM_WINDOW_MAX - st->window);
	more = q->grown + more <= QUIC_HELD_MAX / 2 ? more : 0;
	st->window += more;
	q->grown += more;
	return more;
}

void quic_stream_consumed(struct quic_conn *q, struct quic_stream *s, size_t n)
{
	struct stream *st = stream_of(s);

	n = MIN(n, (size_t)st->held);
	st->held -= n;
	st->taken += n;
	credit(q, n);
	if (st->closed)
		q->some_done |= !st->held;
	else if (!q->over && n)
		(void)ngtcp2_conn_extend_max_stream_offset(q->conn, s->id, n + growth(q, st));
}

static int on_data(ngtcp2_conn *c, uint32_t flags, int64_t id, uint64_t offset, const uint8_t *p, size_t n, void *arg, void *stream_arg)
{
	struct quic_conn *q = arg;
	struct stream *st = stream_arg;

	(void)id;
	(void)offset;
	if (!st)
		return 0;
	q->held += n;
	st->held += n;
	if (q->held <= QUIC_HELD_MAX)
		ngtcp2_conn_extend_max_offset(c, n);
	else
		q->owed += n;
	q->ops->data(q, &st->s, p, n, flags & NGTCP2_STREAM_DATA_FLAG_FIN, q->arg);
	return 0;
}

static int on_acked(ngtcp2_conn *c, int64_t id, uint64_t offset, uint64_t n, void *arg, void *stream_arg)
{
	struct stream *st = stream_arg;

	(void)c;
	(void)id;
	(void)offset;
	(void)arg;
	if (st && n)
		chunk_queue_drop(&st->tx, (size_t)n);
	return 0;
}

static int on_open(ngtcp2_conn *c, int64_t id, void *arg)
{
	struct quic_conn *q = arg;
	struct stream *st = stream_new(q, id);

	if (!st || ngtcp2_conn_set_stream_user_data(c, id, st) != 0)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	st->counted = true;
	q->ops->opened(q, &st->s, q->arg);
	return 0;
}

static int on_close(ngtcp2_conn *c, uint32_t flags, int64_t id, uint64_t code, void *arg, void *stream_arg)
{
	struct quic_conn *q = arg;
	struct stream *st = stream_arg;

	(void)flags;
	(void)code;
	if (!st)
		return 0;
	q->lost += ngtcp2_conn_get_stream_loss_count(c, id);
	abandon(st);
	st->closed = true;
	if (!st->held) /* else a reader that is slow has still to take what came */
		stream_done(q, st);
	return 0;
}

static int on_reset(ngtcp2_conn *c, int64_t id, uint64_t final, uint64_t code, void *arg, void *stream_arg)
{
	struct quic_conn *q = arg;
	struct stream *st = stream_arg;

	(void)c;
	(void)id;
	(void)final;
	if (st)
		q->ops->reset(q, &st->s, code, q->arg);
	return 0;
}

static int on_stopped(ngtcp2_conn *c, int64_t id, uint64_t code, void *arg, void *stream_arg)
{
	struct quic_conn *q = arg;
	struct stream *st = stream_arg;

	(void)c;
	(void)id;
	if (!st)
		return 0;
	abandon(st); /* ngtcp2 answers with RESET_STREAM */
	q->ops->stopped(q, &st->s, code, q->arg);
	return 0;
}

static int on_more(ngtcp2_conn *c, int64_t id, uint64_t max, void *arg, void *stream_arg)
{
	struct stream *st = stream_arg;

	(void)c;
	(void)id;
	(void)max;
	if (st && st->blocked) {
		st->blocked = false;
		schedule(arg, st);
	}
	return 0;
}

static int on_datagram(ngtcp2_conn *c, uint32_t flags, const uint8_t *p, size_t n, void *arg)
{
	struct quic_conn *q = arg;

	(void)c;
	(void)flags;
	q->ops->datagram(q, p, n, q->arg);
	return 0;
}

const struct quic_stream_callbacks quic_stream_callbacks = {
	.data = on_data, .acked = on_acked, .open = on_open, .close = on_close, .reset = on_reset, .stopped = on_stopped,
	.datagram = on_datagram, .more = on_more,
};

/* ---- datagrams ---- */

size_t quic_datagram_max(const struct quic_conn *q)
{
	size_t mtu = q->conn ? ngtcp2_conn_get_path_max_tx_udp_payload_size(q->conn) : 1200;

	return MIN(mtu, (size_t)QUIC_PACKET_MAX) - DATAGRAM_OVERHEAD;
}

static void datagram_drop(struct quic_conn *q, struct datagram *d)
{
	list_unlink(&d->node);
	q->n_datagrams--;
	free(d);
}

int quic_datagram_send(struct quic_conn *q, const void *p, size_t n)
{
	struct datagram *d;

	if (q->over || !q->handshaken)
		return -ENOTCONN;
	if (n > quic_datagram_max(q))
		return -EMSGSIZE;
	d = malloc(sizeof(*d) + n);
	if (!d)
		return -ENOMEM;
	if (q->n_datagrams == QUIC_DATAGRAMS_MAX) { /* the oldest is worth least */
		datagram_drop(q, list_entry(q->datagrams.next, struct datagram, node));
		q->datagrams_dropped++;
	}
	d->n = n;
	memcpy(d->p, p, n);
	list_append(&q->datagrams, &d->node);
	q->n_datagrams++;
	return 0;
}

/* True: *ret_w is the outcome. False: there is none to be sent. */
static bool write_datagram(struct quic_conn *q, ngtcp2_path *path, uint8_t *buf, size_t n, uint64_t now, ngtcp2_ssize *ret_w)
{
	while (q->n_datagrams && q->handshaken) {
		struct datagram *d = list_entry(q->datagrams.next, struct datagram, node);
		const ngtcp2_vec v = { d->p, d->n };
		ngtcp2_pkt_info pi;
		int accepted = 0;
		ngtcp2_ssize w = ngtcp2_conn_writev_datagram(q->conn, path, &pi, buf, n, &accepted, NGTCP2_WRITE_DATAGRAM_FLAG_NONE, 0, &v, 1,
							     now);

		if (accepted) {
			datagram_drop(q, d);
		} else if (w == NGTCP2_ERR_INVALID_ARGUMENT || w == NGTCP2_ERR_INVALID_STATE || (w == 0 && d->n > quic_datagram_max(q))) {
			datagram_drop(q, d); /* the path has become narrower */
			q->datagrams_dropped++;
			continue;
		}
		*ret_w = w;
		return true;
	}
	return false;
}

/* ---- the next packet ---- */

static struct stream *whose_turn(struct quic_conn *q)
{
	struct list *from = list_empty(&q->urgent) ? &q->bulk : &q->urgent;

	return list_empty(from) ? NULL : list_entry(from->next, struct stream, ready);
}

/* After a packet of it: it stays in front, or goes to the end, or has nothing more to send. */
static void rotate(struct quic_conn *q, struct stream *st, bool urgent)
{
	if (!has_to_send(st)) {
		list_unlink(&st->ready);
	} else if (st->slice >= (urgent ? (size_t)URGENT_MAX : (size_t)QUIC_SLICE)) {
		list_unlink(&st->ready);
		st->slice = 0;
		list_append(&q->bulk, &st->ready);
	}
}

static ngtcp2_ssize write_stream(struct quic_conn *q, struct stream *st, ngtcp2_path *path, uint8_t *buf, size_t n, uint64_t now)
{
	bool urgent = !list_empty(&q->urgent) && q->urgent.next == &st->ready;
	ngtcp2_vec v[VECTORS];
	ngtcp2_ssize taken = -1, w;
	ngtcp2_pkt_info pi;
	size_t have;
	int count = vectors(st, v, &have);
	uint32_t flags = st->finish && have == st->unsent ? NGTCP2_WRITE_STREAM_FLAG_FIN : NGTCP2_WRITE_STREAM_FLAG_NONE;

	w = ngtcp2_conn_writev_stream(q->conn, path, &pi, buf, n, &taken, flags, st->s.id, v, (size_t)count, now);
	if (w >= 0 && taken >= 0) {
		advance(st, (size_t)taken);
		if (flags && !st->unsent)
			st->finish_sent = true;
		rotate(q, st, urgent);
	}
	return w;
}

ngtcp2_ssize quic_write_packet(struct quic_conn *q, ngtcp2_path *path, uint8_t *buf, size_t n, uint64_t now)
{
	struct stream *st;
	ngtcp2_pkt_info pi;
	ngtcp2_ssize w;

	if (write_datagram(q, path, buf, n, now, &w))
		return w;
	while (q->handshaken && (st = whose_turn(q)) != NULL) {
		w = write_stream(q, st, path, buf, n, now);
		if (w == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
			if (ngtcp2_conn_get_max_data_left(q->conn) == 0)
				break; /* all of them are */
			st->blocked = true;
			list_unlink(&st->ready);
		} else if (w == NGTCP2_ERR_STREAM_SHUT_WR || w == NGTCP2_ERR_STREAM_NOT_FOUND) {
			abandon(st);
		} else {
			return w;
		}
	}
	return ngtcp2_conn_writev_stream(q->conn, path, &pi, buf, n, NULL, NGTCP2_WRITE_STREAM_FLAG_NONE, -1, NULL, 0, now);
}

void quic_call_room(struct quic_conn *q)
{
	if (!q->some_full)
		return;
	q->some_full = false;
	list_for_each_safe (it, &q->streams) {
		struct stream *st = list_entry(it, struct stream, node);

		if (st->full && st->unsent < QUIC_UNSENT_MAX / 2) {
			st->full = false;
			q->ops->room(q, &st->s, q->arg);
		}
		q->some_full |= st->full;
	}
}

void quic_call_closed(struct quic_conn *q)
{
	if (!q->some_done)
		return;
	q->some_done = false;
	list_for_each_safe (it, &q->streams) {
		struct stream *st = list_entry(it, struct stream, node);

		if (st->closed && !st->held)
			stream_done(q, st);
	}
}
