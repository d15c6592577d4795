/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a data connection. In: from the local socket straight into the chunks that are kept until the other end has
 * consumed them, and from there to the carrier. Out: DATA is passed to the local socket from where it was decrypted;
 * only what the socket does not take is copied.
 *
 * The local socket is read while the window has room and the carrier takes what there is; so an end that does not
 * read stops the other by the window alone, and a slow carrier by its own socket.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "tunnel/link/data_priv.h"

enum {
	IN_BUDGET = 256 << 10,	 /* of a pass */
	BACKLOG_MAX = 128 << 10, /* read and not yet taken by the carrier */
	ACK_MS = 100,
	AGAIN_MS = 5, /* a limited way is tried again */
};

static void enter(struct data_conn *d)
{
	d->depth++;
}

static void leave(struct data_conn *d)
{
	if (--d->depth == 0 && d->freed)
		free(d);
}

void data_pump_count(struct data_conn *d, enum data_way w, const uint8_t *p, size_t n)
{
	d->bytes[w] += n;
	d->host->bytes[w] += n;
	d->touched_ms = loop_now(d->host->loop);
	if (d->tapped && d->ops->tap && p)
		d->ops->tap(d, w, p, n, d->arg);
}

/* How many of want bytes may pass; 0: tried again by the timer. */
static size_t allowed(struct data_conn *d, enum data_way w, size_t want)
{
	size_t n;

	if (!d->limited || !d->ops->room)
		return want;
	n = MIN(d->ops->room(d, w, want, d->arg), want);
	d->stuck = n == 0;
	if (!n)
		loop_timer_set(d->host->loop, &d->again, AGAIN_MS);
	return n;
}

static void passed(struct data_conn *d, enum data_way w, size_t n)
{
	if (d->limited && d->ops->passed)
		d->ops->passed(d, w, n, d->arg);
}

static void local_failed(struct data_conn *d, int err)
{
	char text[160];

	(void)snprintf(text, sizeof(text), "%s: %s",
		       d->host->server ? "the client's socket" : "the target's socket", strerror(err));
	data_conn_end(d, &(struct data_end){ .reason = err == ECONNRESET || err == EPIPE ? WIRE_R_RESET
											 : WIRE_R_ERROR,
					     .text = text });
}

/* ---- to the carrier ---- */

void data_pump_out(struct data_conn *d)
{
	const uint8_t *p;
	size_t n;

	if (d->state == DATA_ENDED || !d->carrier || d->hold)
		return;
	if (d->open.kind == WIRE_JOB_UDP)
		data_flow_flush(d);
	while ((n = replay_tx_next(&d->tx, &p)) > 0) {
		if (frame_conn_data(d->carrier->conn, p, n) < 0)
			return;
		replay_tx_sent(&d->tx, n);
	}
	if (!replay_tx_wants_fin(&d->tx))
		return;
	if (frame_conn_send(d->carrier->conn, WIRE_FIN, &(struct wire_fin){ d->tx.end }) == 0)
		d->tx.fin_sent = true;
	data_pump_check_done(d);
}

static bool may_read(const struct data_conn *d)
{
	if (d->fd < 0 || d->stuck)
		return false;
	if (d->carrier && d->tx.end - d->tx.sent >= BACKLOG_MAX)
		return false;
	return replay_tx_may_take(&d->tx) > 0;
}

static void count_iov(struct data_conn *d, enum data_way w, const struct iovec *v, size_t n)
{
	for (; n; v++) {
		size_t part = MIN(n, v->iov_len);

		data_pump_count(d, w, v->iov_base, part);
		n -= part;
	}
}

/* One read of the local socket. 1: there may be more. */
static int read_once(struct data_conn *d, size_t *budget)
{
	struct iovec v[REPLAY_IOV];
	size_t want = allowed(d, d->in, MIN(*budget, (size_t)CHUNK_BYTES)), total = 0;
	ssize_t r;
	int n;

	if (!want)
		return 0;
	if (replay_tx_room(&d->tx, want, v, &n) < 0) {
		data_conn_end(d, &(struct data_end){ .reason = WIRE_R_MEMORY });
		return 0;
	}
	for (int i = 0; i < n; i++)
		total += v[i].iov_len;
	do {
		r = n ? readv(d->fd, v, n) : 0;
	} while (r < 0 && errno == EINTR);
	if (r <= 0) {
		int err = errno;

		replay_tx_commit(&d->tx, 0);
		if (r == 0 && n)
			replay_tx_end(&d->tx);
		else if (r < 0 && err != EAGAIN)
			local_failed(d, err);
		return 0;
	}
	count_iov(d, d->in, v, (size_t)r);
	replay_tx_commit(&d->tx, (size_t)r);
	passed(d, d->in, (size_t)r);
	*budget -= (size_t)r;
	return (size_t)r == total;
}

void data_pump_in(struct data_conn *d)
{
	size_t budget = IN_BUDGET;
	bool was_ended = d->tx.ended;

	if (d->state == DATA_ENDED || d->open.kind != WIRE_JOB_TCP)
		return;
	while (budget && d->state != DATA_ENDED && may_read(d)) {
		int more = read_once(d, &budget);

		data_pump_out(d);
		if (!more)
			break;
	}
	if (d->state == DATA_ENDED)
		return;
	if (d->tx.ended && !was_ended && d->state == DATA_OPEN)
		d->state = DATA_HALF;
	data_pump_watch(d);
}

/* ---- to the local socket ---- */

static void acknowledge(struct data_conn *d, bool now)
{
	struct wire_ack a;

	if (!d->carrier || d->state == DATA_ENDED ||
	    !(now ? replay_rx_ack_owed(&d->rx) : replay_rx_ack_due(&d->rx))) {
		if (!now && d->carrier && d->state != DATA_ENDED && replay_rx_ack_owed(&d->rx) &&
		    !timer_is_set(&d->ack))
			loop_timer_set(d->host->loop, &d->ack, ACK_MS);
		return;
	}
	timer_stop(&d->ack);
	a = replay_rx_ack(&d->rx);
	(void)frame_conn_send(d->carrier->conn, WIRE_ACK, &a);
}

static void on_ack_timer(struct timer *t, uint64_t now)
{
	struct data_conn *d = container_of(t, struct data_conn, ack);

	(void)now;
	acknowledge(d, true);
}

static void on_again(struct timer *t, uint64_t now)
{
	struct data_conn *d = container_of(t, struct data_conn, again);

	(void)now;
	enter(d);
	d->stuck = false;
	data_pump_flush(d);
	data_pump_in(d);
	leave(d);
}

/* The first n bytes of v have gone: what is left moves to the front. */
static int advance(struct iovec *v, int count, size_t n)
{
	int i = 0;

	while (i < count && n >= v[i].iov_len)
		n -= v[i++].iov_len;
	if (i < count) {
		v[i].iov_base = (uint8_t *)v[i].iov_base + n;
		v[i].iov_len -= n;
	}
	memmove(v, v + i, (size_t)(count - i) * sizeof(*v));
	return count - i;
}

/* What of v may go now. */
static int cut_to(struct iovec *v, int count, size_t most)
{
	for (int i = 0; i < count; i++) {
		if (v[i].iov_len >= most) {
			v[i].iov_len = most;
			return i + (most > 0);
		}
		most -= v[i].iov_len;
	}
	return count;
}

/* One write of what waits. 1: there may be room for more. */
static int write_once(struct data_conn *d)
{
	struct iovec v[DATA_PENDING_IOV];
	struct msghdr h = { .msg_iov = v };
	size_t total = 0, may;
	ssize_t r;
	int n = d->n_pending;

	if (d->held.n)
		n = chunk_queue_iov(&d->held, v, DATA_PENDING_IOV);
	else
		memcpy(v, d->pending, (size_t)n * sizeof(*v));
	for (int i = 0; i < n; i++)
		total += v[i].iov_len;
	may = total ? allowed(d, d->out, total) : 0;
	if (!may)
		return 0;
	h.msg_iovlen = (size_t)cut_to(v, n, may);
	do {
		r = sendmsg(d->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN)
		return 0;
	if (r < 0) {
		local_failed(d, errno);
		return 0;
	}
	count_iov(d, d->out, v, (size_t)r);
	passed(d, d->out, (size_t)r);
	replay_rx_consumed(&d->rx, (size_t)r, loop_now(d->host->loop), d->carrier ? d->host->rtt_us : 0);
	if (d->held.n)
		chunk_queue_drop(&d->held, (size_t)r);
	else
		d->n_pending = advance(d->pending, d->n_pending, (size_t)r);
	return (size_t)r == total;
}

/* The bytes of this read that found no room are copied: their buffer is used again. */
static void keep_pending(struct data_conn *d)
{
	for (int i = 0; i < d->n_pending; i++) {
		if (chunk_queue_add(&d->held, d->pending[i].iov_base, d->pending[i].iov_len) == 0)
			continue;
		data_conn_end(d, &(struct data_end){ .reason = WIRE_R_MEMORY });
		return;
	}
	d->n_pending = 0;
}

void data_pump_flush(struct data_conn *d)
{
	if (d->state == DATA_ENDED || d->open.kind != WIRE_JOB_TCP)
		return;
	while (d->fd >= 0 && d->state != DATA_ENDED && (d->held.n || d->n_pending))
		if (!write_once(d))
			break;
	if (d->state != DATA_ENDED && d->n_pending)
		keep_pending(d);
	if (d->state == DATA_ENDED)
		return;
	if (d->fd >= 0 && replay_rx_done(&d->rx) && !d->out_shut) {
		(void)shutdown(d->fd, SHUT_WR);
		d->out_shut = true;
	}
	acknowledge(d, false);
	data_pump_check_done(d);
	if (d->state != DATA_ENDED)
		data_pump_watch(d);
}

int data_pump_data(struct data_conn *d, const struct wire_bytes *b)
{
	int r = replay_rx_data(&d->rx, b->n);

	if (r < 0 || !b->n)
		return r;
	if (d->held.n || d->fd < 0) {
		if (chunk_queue_add(&d->held, b->p, b->n) < 0)
			data_conn_end(d, &(struct data_end){ .reason = WIRE_R_MEMORY });
		return 0;
	}
	if (d->n_pending == DATA_PENDING_IOV)
		data_pump_flush(d);
	if (d->state == DATA_ENDED)
		return 0;
	if (d->held.n)
		return chunk_queue_add(&d->held, b->p, b->n);
	d->pending[d->n_pending++] = (struct iovec){ (void *)b->p, b->n };
	return 0;
}

/* ---- both ---- */

void data_pump_check_done(struct data_conn *d)
{
	struct carrier *c = d->carrier;

	if (d->state == DATA_ENDED || !c || d->open.kind != WIRE_JOB_TCP)
		return;
	if (!replay_rx_done(&d->rx) || !d->out_shut || !replay_tx_done(&d->tx))
		return;
	carrier_done(c);
	if (c->done_heard)
		data_conn_finish_clean(d);
}

void data_pump_watch(struct data_conn *d)
{
	int events;

	if (d->fd < 0)
		return;
	if (d->open.kind == WIRE_JOB_UDP)
		events = IO_READ;
	else
		events = (may_read(d) ? IO_READ : 0) | (d->held.n && !d->stuck ? IO_WRITE : 0);
	if (io_change(&d->io, events) < 0)
		data_conn_end(d, &(struct data_end){ .reason = WIRE_R_MEMORY });
}

void data_pump_init(struct data_conn *d)
{
	replay_tx_init(&d->tx, d->host->chunks, d->host->window);
	replay_rx_init(&d->rx, d->host->window);
	d->held.pool = d->host->chunks;
	d->ack.fire = on_ack_timer;
	d->again.fire = on_again;
}
