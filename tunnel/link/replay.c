/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resumable byte stream. Chunks of the sender hold frames as they go over the wire, head and payload, so that
 * sending again is sending the same bytes. Frames are cut where a read of the local socket ends or one is full;
 * a receiver counts whole frames only, so the offset that it resumes at is always a border between two.
 */
#include <errno.h>
#include "tunnel/link/replay.h"

enum { LEAST_ROOM = 512 }; /* of payload: less is left unused at the end of a chunk */
enum { GROW_RTTS = 4, GROW_LEAST_US = 2000 };

/* ---- sender ---- */

void replay_tx_init(struct replay_tx *t, struct chunk_pool *p, uint32_t most)
{
	*t = (struct replay_tx){ .pool = p,
				 .limit = WIRE_WINDOW_FIRST,
				 .most = MAX(most, (uint32_t)WIRE_WINDOW_FIRST) };
}

void replay_tx_deinit(struct replay_tx *t)
{
	while (t->first) {
		struct chunk *c = t->first;

		t->first = c->next;
		chunk_give(t->pool, c);
	}
	t->last = t->at = NULL;
}

static size_t frame_payload(const uint8_t *head)
{
	return load_be32(head) & 0xffffff;
}

/* The size of the payload of the next frame that would begin at pos, given so many bytes. */
static size_t slot_of(uint32_t pos, uint64_t left)
{
	size_t room = CHUNK_BYTES - pos;

	if (room <= WIRE_HEAD)
		return 0;
	return (size_t)MIN(left, (uint64_t)MIN(room - WIRE_HEAD, (size_t)WIRE_DATA_MAX));
}

static int another_chunk(struct replay_tx *t)
{
	struct chunk *c = chunk_take(t->pool);

	if (!c)
		return -ENOMEM;
	c->offset = t->end;
	if (t->last)
		t->last->next = c;
	else
		t->first = c;
	t->last = c;
	if (!t->at) {
		t->at = c;
		t->at_pos = 0;
	}
	return 0;
}

int replay_tx_room(struct replay_tx *t, size_t most, struct iovec v[static REPLAY_IOV], int *ret_n)
{
	uint64_t left = MIN(replay_tx_may_take(t), (uint64_t)most);
	uint32_t pos;
	int n = 0, r;

	*ret_n = 0;
	if (!left)
		return 0;
	if (!t->last || CHUNK_BYTES - t->last->n < WIRE_HEAD + LEAST_ROOM) {
		r = another_chunk(t);
		if (r < 0)
			return r;
	}
	pos = t->last->n;
	for (size_t slot; n < REPLAY_IOV && (slot = slot_of(pos, left)) > 0; n++) {
		v[n] = (struct iovec){ t->last->p + pos + WIRE_HEAD, slot };
		pos += (uint32_t)(WIRE_HEAD + slot);
		left -= slot;
	}
	*ret_n = n;
	return 0;
}

/* An empty chunk was taken for a read that brought nothing. */
static void release_if_empty(struct replay_tx *t)
{
	if (t->acked != t->end || !t->first)
		return;
	replay_tx_deinit(t);
	t->at_pos = 0;
}

void replay_tx_commit(struct replay_tx *t, size_t n)
{
	struct chunk *c = t->last;

	if (!n) {
		release_if_empty(t);
		return;
	}
	t->end += n;
	while (n) {
		size_t slot = slot_of(c->n, n);

		wire_data_head(c->p + c->n, WIRE_DATA, slot);
		c->n += (uint32_t)(WIRE_HEAD + slot);
		n -= slot;
	}
}

void replay_tx_end(struct replay_tx *t)
{
	t->ended = true;
}

/* The next chunk, if this one is sent out. */
static void step(const struct chunk **c, uint32_t *pos)
{
	while (*c && *pos == (*c)->n && (*c)->next) {
		*c = (*c)->next;
		*pos = 0;
	}
}

static void step_on(struct replay_tx *t)
{
	const struct chunk *c = t->at;

	if (!c)
		return;
	step(&c, &t->at_pos);
	t->at = (struct chunk *)c;
}

size_t replay_tx_next(const struct replay_tx *t, const uint8_t **ret_p)
{
	const struct chunk *c = t->at;
	uint32_t pos = t->at_pos;
	size_t n = 0;

	if (t->sent == t->end)
		return 0;
	step(&c, &pos);
	*ret_p = c->p + pos;
	while (pos + n < c->n) {
		size_t frame = WIRE_HEAD + frame_payload(*ret_p + n);

		if (n + frame > REPLAY_RUN_MAX)
			break;
		n += frame;
	}
	return n;
}

void replay_tx_sent(struct replay_tx *t, size_t n)
{
	step_on(t);
	while (n && t->at) { /* they came from there */
		size_t payload = frame_payload(t->at->p + t->at_pos);

		t->at_pos += (uint32_t)(WIRE_HEAD + payload);
		t->sent += payload;
		n -= WIRE_HEAD + payload;
	}
	t->top = MAX(t->top, t->sent);
}

bool replay_tx_wants_fin(const struct replay_tx *t)
{
	return t->ended && !t->fin_sent && t->sent == t->end;
}

static void free_acked(struct replay_tx *t)
{
	step_on(t);
	while (t->first && t->first->next && t->first->next->offset <= t->acked && t->first != t->at) {
		struct chunk *c = t->first;

		t->first = c->next;
		chunk_give(t->pool, c);
	}
	release_if_empty(t);
}

int replay_tx_ack(struct replay_tx *t, const struct wire_ack *a)
{
	if (a->consumed > t->top || a->limit < a->consumed)
		return -EPROTO;
	if (a->consumed > t->sent)
		return -EPROTO; /* resumed before it, so it had not even received that much */
	t->acked = MAX(t->acked, a->consumed);
	t->limit = MAX(t->limit, a->limit);
	free_acked(t);
	return 0;
}

int replay_tx_resume(struct replay_tx *t, uint64_t received)
{
	struct chunk *c = t->first;
	uint64_t offset;
	uint32_t pos = 0;

	if (received < t->acked || received > t->top)
		return -EPROTO;
	while (c && c->next && c->next->offset <= received)
		c = c->next;
	for (offset = c ? c->offset : t->end; c && offset < received && pos < c->n;) {
		size_t payload = frame_payload(c->p + pos);

		pos += (uint32_t)(WIRE_HEAD + payload);
		offset += payload;
	}
	if (offset != received)
		return -EPROTO; /* within a frame: it cannot have received that */
	t->at = c;
	t->at_pos = pos;
	t->sent = received;
	t->fin_sent = false;
	return 0;
}

bool replay_tx_done(const struct replay_tx *t)
{
	return t->fin_sent && t->acked == t->end;
}

/* ---- receiver ---- */

void replay_rx_init(struct replay_rx *r, uint32_t window_max)
{
	*r = (struct replay_rx){ .told_limit = WIRE_WINDOW_FIRST,
				 .window = WIRE_WINDOW_FIRST,
				 .window_max = MAX(window_max, (uint32_t)WIRE_WINDOW_FIRST) };
}

int replay_rx_data(struct replay_rx *r, size_t n)
{
	if (n > r->told_limit - r->received || (n && r->has_fin))
		return -EPROTO;
	r->received += n;
	return 0;
}

int replay_rx_fin(struct replay_rx *r, uint64_t end)
{
	if (end != r->received || (r->has_fin && r->fin != end))
		return -EPROTO;
	r->has_fin = true;
	r->fin = end;
	return 0;
}

void replay_rx_consumed(struct replay_rx *r, size_t n, uint64_t now_ms, uint32_t rtt_us)
{
	uint64_t allowed_us = MAX((uint64_t)rtt_us * GROW_RTTS, (uint64_t)GROW_LEAST_US);

	r->consumed += n;
	if (r->consumed - r->epoch_consumed < r->window)
		return;
	if ((now_ms - r->epoch_ms) * 1000 <= allowed_us)
		r->window = (uint32_t)MIN((uint64_t)r->window * 2, (uint64_t)r->window_max);
	r->epoch_ms = now_ms;
	r->epoch_consumed = r->consumed;
}

bool replay_rx_ack_due(const struct replay_rx *r)
{
	if (r->consumed + r->window >= r->told_limit + r->window / 4)
		return true;
	return replay_rx_done(r) && r->told_consumed < r->consumed;
}

bool replay_rx_ack_owed(const struct replay_rx *r)
{
	return r->told_consumed < r->consumed;
}

struct wire_ack replay_rx_ack(struct replay_rx *r)
{
	r->told_consumed = r->consumed;
	r->told_limit = MAX(r->told_limit, r->consumed + r->window);
	return (struct wire_ack){ r->told_consumed, r->told_limit };
}
