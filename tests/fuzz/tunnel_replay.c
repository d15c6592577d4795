/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resumable byte stream under a hostile other end: reads of the local socket, sends, and every number that ACK, FIN,
 * RESUME and DATA can carry, in any order. Checked: what is kept stays within the window that was ever granted, offsets
 * never run backwards beyond what was acknowledged, whole frames are sent, and all chunks are given back.
 */
#include <assert.h>
#include "tunnel/link/replay.h"

static void check(const struct replay_tx *t, const struct replay_rx *r)
{
	assert(t->acked <= t->sent && t->sent <= t->top && t->top <= t->end && t->end <= t->limit);
	assert(replay_tx_held(t) <= t->most);
	assert(r->consumed <= r->received && r->received <= r->told_limit);
	assert(r->window >= WIRE_WINDOW_FIRST && r->window <= r->window_max);
	assert(t->acked < t->end || !t->first || t->first->n == 0 || t->acked == t->end);
}

static void produce(struct replay_tx *t, size_t n)
{
	struct iovec v[REPLAY_IOV];
	size_t room = 0;
	int k;

	if (replay_tx_room(t, n, v, &k) < 0 || !k)
		return;
	for (int i = 0; i < k; i++) {
		memset(v[i].iov_base, 0x55, v[i].iov_len);
		room += v[i].iov_len;
	}
	replay_tx_commit(t, MIN(room, n));
}

static void transmit(struct replay_tx *t)
{
	const uint8_t *p;
	size_t n = replay_tx_next(t, &p);
	struct wire_got g;

	for (size_t at = 0; at < n; at += g.size)
		assert(wire_next(p + at, n - at, (struct wire_place){ WIRE_TO_SERVER, WIRE_IN_CARRIER },
				 &g) == WIRE_OK &&
		       g.type == WIRE_DATA);
	if (n)
		replay_tx_sent(t, n);
	if (replay_tx_wants_fin(t))
		t->fin_sent = true;
}

static void step(struct replay_tx *t, struct replay_rx *r, uint8_t what, uint32_t v)
{
	struct wire_ack a = { t->acked + (v & 0xffff), t->acked + (v >> 8) };

	switch (what % 9) {
	case 0: produce(t, v % 100000); break;
	case 1: transmit(t); break;
	case 2: (void)replay_tx_ack(t, &a); break;
	case 3:
		a.consumed = t->sent; /* an honest one */
		a.limit = t->sent + v % (1 << 20);
		assert(a.limit < t->sent || replay_tx_ack(t, &a) == 0);
		break;
	case 4: (void)replay_tx_resume(t, v & 1 ? t->acked : t->acked + (v >> 12)); break;
	case 5: (void)replay_rx_data(r, v % 300000); break;
	case 6: (void)replay_rx_fin(r, v & 1 ? r->received : v); break;
	case 7:
		replay_rx_consumed(r, (size_t)MIN(r->received - r->consumed, (uint64_t)v), v >> 20,
				   v % 100000);
		if (replay_rx_ack_due(r))
			(void)replay_rx_ack(r);
		break;
	default:
		if (v % 64 == 0)
			replay_tx_end(t);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct chunk_pool pool = { 0 };
	struct rd in = rd_init(data, MIN(size, (size_t)4096));
	struct replay_tx t;
	struct replay_rx r;

	replay_tx_init(&t, &pool, 1 << 20);
	replay_rx_init(&r, 1 << 20);
	while (rd_left(&in) >= 5) {
		uint8_t what = rd_u8(&in);

		step(&t, &r, what, rd_u32(&in));
		check(&t, &r);
	}
	replay_tx_deinit(&t);
	assert(pool.n_lent == 0);
	chunk_pool_trim(&pool);
	return 0;
}
