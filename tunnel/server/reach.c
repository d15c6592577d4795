/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection back in its worker: connect, ask, read until the proof is there or the other side has said enough, tell the
 * agent. It belongs to its link and ends with it.
 *
 * Timer: one for all of it. What has accepted and not answered by then is open, and not ours.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/fd.h"
#include "common/reach.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/server_priv.h"

enum { CONNECT_MS = 5000, ANSWER_MS = 3000 };

struct reach {
	struct list node; /* in worker->reaches */
	struct tunnel_link *link;
	uint32_t tag;
	uint8_t nonce[REACH_NONCE];
	struct addr at;
	struct io io;
	struct timer timer;
	int fd;
	bool connected;
	uint64_t began_us;
	uint32_t us;
	size_t n;
	char read[REACH_READ_MAX];
};

bool reach_budget_take(struct reach_budget *b, unsigned burst, unsigned per_minute, uint64_t now)
{
	uint64_t back = (now - b->at) * per_minute / 60000;

	if (back >= b->used) {
		b->used = 0;
		b->at = now;
	} else if (back) {
		b->used -= (unsigned)back;
		b->at += back * 60000 / per_minute;
	}
	if (b->used >= burst)
		return false;
	b->used++;
	return true;
}

static void reach_free(struct reach *r)
{
	timer_stop(&r->timer);
	io_stop(&r->io);
	list_unlink(&r->node);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}

static void answer(struct tunnel_link *l, const struct wire_reached *m)
{
	worker_count(l->worker, TUNNEL_M_REACHES, m->result, 1);
	if (m->result != WIRE_REACH_LIMIT) /* those were tried, and are few */
		log_emit(&MSG_TUNNEL_REACH, LF_STR("agent", l->i.name), LF_ADDR("address", &m->address),
			 LF_U64("result", m->result), LF_TEXT("text", m->text));
	(void)tunnel_link_send(l, WIRE_REACHED, m);
}

static void done(struct reach *r, enum wire_reach result, const char *text)
{
	const struct wire_reached m = { .tag = r->tag, .result = (uint8_t)result, .address = r->at, .us = r->us, .text = text_of(text) };

	answer(r->link, &m);
	reach_free(r);
}

static void failed(struct reach *r, int err)
{
	if (err == ECONNREFUSED)
		done(r, WIRE_REACH_REFUSED, "");
	else if (err == ETIMEDOUT)
		done(r, WIRE_REACH_SILENT, "");
	else
		done(r, WIRE_REACH_NO_WAY, strerror(err));
}

static void on_timer(struct timer *t, uint64_t now)
{
	struct reach *r = container_of(t, struct reach, timer);

	(void)now;
	if (r->connected)
		done(r, WIRE_REACH_OPEN, "");
	else
		done(r, WIRE_REACH_SILENT, "");
}

static void on_answer(struct reach *r)
{
	ssize_t n = recv(r->fd, r->read + r->n, sizeof(r->read) - r->n, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		r->n += (size_t)n;
	if (reach_is_answer(r->nonce, (struct text){ r->read, r->n }))
		done(r, WIRE_REACH_OURS, "");
	else if (n <= 0 || r->n == sizeof(r->read))
		done(r, WIRE_REACH_OPEN, "");
}

/* The question is shorter than any socket's buffer. */
static void on_ready(struct io *io, int events)
{
	struct reach *r = container_of(io, struct reach, io);
	char question[REACH_QUESTION_MAX];
	size_t n = reach_question(r->nonce, question);
	int err = 0;
	socklen_t len = sizeof(err);

	(void)events;
	if (r->connected) {
		on_answer(r);
		return;
	}
	if (getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err) {
		failed(r, err);
		return;
	}
	r->connected = true;
	r->us = (uint32_t)MIN(clock_steady_us() - r->began_us, (uint64_t)UINT32_MAX);
	if (send(r->fd, question, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n || io_change(&r->io, IO_READ) < 0) {
		done(r, WIRE_REACH_OPEN, "");
		return;
	}
	loop_timer_set(r->link->worker->loop, &r->timer, ANSWER_MS);
}

static int begin(struct tunnel_link *l, const struct wire_reach_msg *m, const struct addr *at)
{
	struct reach *r = calloc(1, sizeof(*r));
	int e = 0;

	if (!r)
		return -ENOMEM;
	r->link = l;
	r->tag = m->tag;
	memcpy(r->nonce, m->nonce.p, REACH_NONCE);
	r->at = *at;
	r->timer.fire = on_timer;
	r->began_us = clock_steady_us();
	list_append(&l->worker->reaches, &r->node);
	r->fd = socket(addr_family(at), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (r->fd < 0 || (connect(r->fd, &at->sa, addr_len(at)) < 0 && errno != EINPROGRESS))
		e = -errno;
	if (e == 0)
		e = io_start(&r->io, l->worker->loop, r->fd, IO_WRITE, on_ready);
	if (e < 0) {
		reach_free(r);
		return e;
	}
	loop_timer_set(l->worker->loop, &r->timer, CONNECT_MS);
	return 0;
}

int reach_on_frame(struct tunnel_link *l, const struct wire_reach_msg *m)
{
	struct tunnel_worker *w = l->worker;
	struct wire_reached no = { .tag = m->tag, .result = WIRE_REACH_NO_WAY, .address = addr_canonical(&l->i.peer) };
	uint64_t now = loop_now(w->loop);
	int r;

	addr_set_port(&no.address, m->port);
	if (!reach_budget_take(&l->reach, REACH_BURST, REACH_PER_MINUTE, now) ||
	    !reach_budget_take(&w->reach, REACH_WORKER_BURST, REACH_WORKER_PER_MINUTE, now)) {
		no.result = WIRE_REACH_LIMIT;
		no.text = TEXT("too many tests: some seconds from now it is tried again when asked");
		answer(l, &no);
		return 0;
	}
	r = begin(l, m, &no.address);
	if (r == -ECONNREFUSED) {
		no.result = WIRE_REACH_REFUSED;
		answer(l, &no);
	} else if (r < 0) {
		no.text = text_of(strerror(-r));
		answer(l, &no);
	}
	return 0;
}

void reach_link_gone(struct tunnel_link *l)
{
	list_for_each_safe (it, &l->worker->reaches) {
		struct reach *r = list_entry(it, struct reach, node);

		if (r->link == l)
			reach_free(r);
	}
}
