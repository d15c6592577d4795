/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resumable byte stream: thousands of cuts at any place, and not a byte lost, doubled or reordered; what is kept is
 * bounded by the window and given back; numbers that cannot be are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "tunnel/link/replay.h"

/* A sender and a receiver with a wire between them, as the two ends of one way. What is on the wire is lost when it is
 * cut, in both directions. */
struct world {
	struct chunk_pool pool;
	struct replay_tx tx;
	struct replay_rx rx;
	struct chunk_queue held; /* received and not yet taken by the receiver's socket */
	uint8_t *wire;		 /* frames under way */
	size_t wire_at, wire_n, wire_cap;
	struct wire_ack ack; /* under way back; acks[1] overtakes none: the latest says all */
	bool ack_under_way;
	uint64_t produced,
		checked; /* bytes of the stream that were read at one end, and compared at the other */
	uint32_t random;
	uint64_t now;
	size_t most_kept;
};

static uint32_t rnd(struct world *w, uint32_t below)
{
	w->random = w->random * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(w->random >> 1) * below >> 31);
}

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)((offset * 0x9e3779b97f4a7c15u) >> 56);
}

static void world_init(struct world *w, uint32_t seed, uint32_t window)
{
	*w = (struct world){ .random = seed, .wire_cap = 8 << 20 };
	w->wire = malloc(w->wire_cap);
	assert_non_null(w->wire);
	replay_tx_init(&w->tx, &w->pool, window);
	replay_rx_init(&w->rx, window);
	w->held.pool = &w->pool;
}

static void world_deinit(struct world *w)
{
	chunk_queue_drop(&w->held, w->held.n);
	replay_tx_deinit(&w->tx);
	assert_int_equal(w->pool.n_lent, 0);
	chunk_pool_trim(&w->pool);
	free(w->wire);
}

/* The local socket has at most n bytes; returns how many found room. */
static size_t produce(struct world *w, size_t n)
{
	struct iovec v[REPLAY_IOV];
	size_t put = 0;
	int iovs;

	assert_int_equal(replay_tx_room(&w->tx, n, v, &iovs), 0);
	for (int i = 0; i < iovs; i++) {
		for (size_t k = 0; k < v[i].iov_len; k++, put++)
			((uint8_t *)v[i].iov_base)[k] = byte_at(w->produced + put);
	}
	assert_true(put <= n);
	replay_tx_commit(&w->tx, put);
	w->produced += put;
	w->most_kept = MAX(w->most_kept, (size_t)replay_tx_held(&w->tx));
	return put;
}

static bool transmit(struct world *w)
{
	const uint8_t *p;
	size_t n = replay_tx_next(&w->tx, &p);

	if (w->wire_at == w->wire_n)
		w->wire_at = w->wire_n = 0;
	if (!n || w->wire_n + n > w->wire_cap)
		return false;
	assert_true(n <= REPLAY_RUN_MAX);
	memcpy(w->wire + w->wire_n, p, n);
	w->wire_n += n;
	replay_tx_sent(&w->tx, n);
	return true;
}

/* One frame arrives. */
static bool deliver(struct world *w)
{
	struct wire_got g;
	enum wire_error e = wire_next(w->wire + w->wire_at, w->wire_n - w->wire_at,
				      (struct wire_place){ WIRE_TO_SERVER, WIRE_IN_CARRIER }, &g);

	if (e == WIRE_INCOMPLETE)
		return false;
	assert_int_equal(e, WIRE_OK);
	assert_int_equal(g.type, WIRE_DATA);
	assert_int_equal(replay_rx_data(&w->rx, g.m.data.bytes.n), 0);
	assert_int_equal(chunk_queue_add(&w->held, g.m.data.bytes.p, g.m.data.bytes.n), 0);
	w->wire_at += g.size;
	return true;
}

/* The receiver's socket takes at most n bytes, which are compared. */
static void consume(struct world *w, size_t n, uint32_t rtt_us)
{
	struct iovec v;

	while (n && chunk_queue_iov(&w->held, &v, 1)) {
		size_t part = MIN(n, v.iov_len);

		for (size_t i = 0; i < part; i++)
			if (((uint8_t *)v.iov_base)[i] != byte_at(w->checked + i))
				fail_msg("byte %llu is wrong", (unsigned long long)(w->checked + i));
		w->checked += part;
		chunk_queue_drop(&w->held, part);
		replay_rx_consumed(&w->rx, part, w->now, rtt_us);
		n -= part;
	}
}

static void acknowledge(struct world *w, bool even_if_not_due)
{
	if (!replay_rx_ack_due(&w->rx) && !(even_if_not_due && replay_rx_ack_owed(&w->rx)))
		return;
	w->ack = replay_rx_ack(&w->rx);
	w->ack_under_way = true;
}

static void hear_ack(struct world *w)
{
	if (w->ack_under_way)
		assert_int_equal(replay_tx_ack(&w->tx, &w->ack), 0);
	w->ack_under_way = false;
}

/* The carrier is lost with all that is on it, and another one takes over. */
static void cut(struct world *w)
{
	w->wire_at = w->wire_n = 0;
	w->ack_under_way = false;
	assert_int_equal(replay_tx_resume(&w->tx, w->rx.received), 0);
	/* What the lost ACK said is said again. */
	w->ack = replay_rx_ack(&w->rx);
	w->ack_under_way = true;
}

static void something_happens(struct world *w, uint64_t total)
{
	size_t n = 1 + rnd(w, rnd(w, 20) ? 3000 : 60000);

	w->now += rnd(w, 3);
	switch (rnd(w, 8)) {
	case 0:
	case 1: (void)produce(w, MIN((size_t)(total - w->produced), n)); break;
	case 2:
	case 3:
		for (unsigned i = rnd(w, 20); i > 0 && transmit(w); i--)
			;
		break;
	case 4:
		for (unsigned i = rnd(w, 20); i > 0 && deliver(w); i--)
			;
		break;
	case 5:
	case 6:
		consume(w, rnd(w, 9000), 1000);
		acknowledge(w, rnd(w, 2) == 0);
		break;
	default:
		if (rnd(w, 4))
			cut(w);
		else
			hear_ack(w);
	}
}

static void no_byte_is_lost_doubled_or_reordered_by_thousands_of_cuts(void **state)
{
	enum { TOTAL = 1 << 20 };
	unsigned long cuts = 0;

	(void)state;
	for (uint32_t seed = 1; seed <= 24; seed++) {
		struct world w;

		world_init(&w, seed, 1 << 20);
		while (w.checked < TOTAL) {
			uint64_t before = w.tx.sent;

			something_happens(&w, TOTAL);
			cuts += w.tx.sent < before;
		}
		assert_int_equal(w.checked, TOTAL);
		assert_true(w.most_kept <= 1 << 20);
		acknowledge(&w, true);
		hear_ack(&w);
		assert_int_equal(replay_tx_held(&w.tx), 0);
		world_deinit(&w);
	}
	print_message("%lu cuts that took something back\n", cuts);
	assert_true(cuts > 1000);
}

static void a_cut_after_each_single_frame_loses_nothing(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 7, 1 << 18);
	for (unsigned i = 0; i < 3000; i++) {
		(void)produce(&w, 1 + rnd(&w, 20000));
		while (transmit(&w))
			;
		(void)deliver(&w);
		consume(&w, SIZE_MAX, 0);
		cut(&w);
		hear_ack(&w);
	}
	while (transmit(&w))
		;
	while (deliver(&w))
		;
	consume(&w, SIZE_MAX, 0);
	assert_true(w.checked == w.produced && w.checked > 1 << 20);
	world_deinit(&w);
}

static void who_does_not_consume_stops_the_sender_at_the_window(void **state)
{
	struct world w;
	struct iovec v[REPLAY_IOV];
	int n;

	(void)state;
	world_init(&w, 1, 4 << 20);
	while (produce(&w, 100000))
		;
	assert_int_equal(w.produced, WIRE_WINDOW_FIRST);
	while (transmit(&w))
		;
	while (deliver(&w))
		;
	assert_false(replay_rx_ack_due(&w.rx));
	assert_int_equal(replay_tx_room(&w.tx, 1, v, &n), 0);
	assert_int_equal(n, 0);
	consume(&w, SIZE_MAX, 0);
	acknowledge(&w, false);
	hear_ack(&w);
	assert_true(produce(&w, 1) == 1);
	world_deinit(&w);
}

static void the_window_grows_while_it_is_used_up_and_only_then(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 1, 4 << 20);
	for (unsigned i = 0; i < 40; i++) { /* as fast as 40 ms of a round trip allow */
		while (produce(&w, 1 << 20))
			while (transmit(&w))
				;
		w.now += 40;
		while (deliver(&w))
			consume(&w, SIZE_MAX, 40000);
		acknowledge(&w, true);
		hear_ack(&w);
	}
	assert_int_equal(w.rx.window, 4 << 20);
	world_deinit(&w);

	world_init(&w, 1, 4 << 20);
	for (unsigned i = 0; i < 400; i++) { /* a slow reader: the first window is enough */
		(void)produce(&w, 20000);
		while (transmit(&w))
			;
		while (deliver(&w))
			;
		w.now += 100;
		consume(&w, 20000, 40000);
		acknowledge(&w, true);
		hear_ack(&w);
	}
	assert_int_equal(w.rx.window, WIRE_WINDOW_FIRST);
	world_deinit(&w);
}

static void an_idle_stream_holds_no_memory(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 1, 1 << 20);
	for (unsigned i = 0; i < 100; i++) {
		(void)produce(&w, 1 + rnd(&w, 100000));
		while (transmit(&w))
			;
		while (deliver(&w))
			;
		consume(&w, SIZE_MAX, 0);
		acknowledge(&w, true);
		hear_ack(&w);
		assert_int_equal(w.pool.n_lent, 0);
	}
	replay_tx_commit(&w.tx, 0); /* a read that brought nothing */
	assert_int_equal(w.pool.n_lent, 0);
	world_deinit(&w);
}

static void a_read_that_brings_nothing_gives_its_chunk_back(void **state)
{
	struct world w;
	struct iovec v[REPLAY_IOV];
	int n;

	(void)state;
	world_init(&w, 1, 1 << 20);
	assert_int_equal(replay_tx_room(&w.tx, 1000, v, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(w.pool.n_lent, 1);
	replay_tx_commit(&w.tx, 0);
	assert_int_equal(w.pool.n_lent, 0);
	world_deinit(&w);
}

static void the_end_is_said_behind_the_last_byte_and_again_after_a_cut(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 1, 1 << 20);
	(void)produce(&w, 30000);
	replay_tx_end(&w.tx);
	assert_false(replay_tx_wants_fin(&w.tx));
	while (transmit(&w))
		;
	assert_true(replay_tx_wants_fin(&w.tx));
	w.tx.fin_sent = true;
	assert_false(replay_tx_wants_fin(&w.tx));
	cut(&w);
	hear_ack(&w);
	assert_false(replay_tx_wants_fin(&w.tx)); /* data first */
	while (transmit(&w))
		;
	assert_true(replay_tx_wants_fin(&w.tx));
	w.tx.fin_sent = true;
	while (deliver(&w))
		;
	assert_int_equal(replay_rx_fin(&w.rx, 29999), -EPROTO);
	assert_int_equal(replay_rx_fin(&w.rx, 30000), 0);
	assert_int_equal(replay_rx_fin(&w.rx, 30000), 0);
	assert_int_equal(replay_rx_data(&w.rx, 1), -EPROTO);
	assert_false(replay_rx_done(&w.rx));
	assert_false(replay_tx_done(&w.tx));
	consume(&w, SIZE_MAX, 0);
	assert_true(replay_rx_done(&w.rx));
	assert_true(replay_rx_ack_due(&w.rx));
	acknowledge(&w, false);
	hear_ack(&w);
	assert_true(replay_tx_done(&w.tx));
	world_deinit(&w);
}

static void no_more_is_kept_than_we_want_whatever_is_granted(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 1, 1 << 20);
	assert_int_equal(replay_tx_ack(&w.tx, &(struct wire_ack){ 0, UINT64_MAX / 2 }), 0);
	while (produce(&w, 100000))
		;
	assert_int_equal(w.produced, 1 << 20);
	world_deinit(&w);
}

static void numbers_that_cannot_be_are_refused(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, 1, 1 << 20);
	(void)produce(&w, 1000);
	assert_int_equal(replay_tx_ack(&w.tx, &(struct wire_ack){ 1, 1 << 20 }), -EPROTO); /* not sent yet */
	(void)transmit(&w);
	assert_int_equal(replay_tx_ack(&w.tx, &(struct wire_ack){ 1001, 1 << 20 }), -EPROTO);
	assert_int_equal(replay_tx_ack(&w.tx, &(struct wire_ack){ 1000, 999 }), -EPROTO);
	assert_int_equal(replay_tx_resume(&w.tx, 1001), -EPROTO);
	assert_int_equal(replay_tx_resume(&w.tx, 500), -EPROTO); /* within a frame */
	assert_int_equal(replay_tx_resume(&w.tx, 0), 0);
	assert_int_equal(replay_tx_ack(&w.tx, &(struct wire_ack){ 1000, 1 << 20 }),
			 -EPROTO); /* it had received nothing */
	(void)transmit(&w);
	assert_int_equal(replay_tx_ack(&w.tx, &(struct wire_ack){ 1000, 1 << 20 }), 0);
	assert_int_equal(replay_tx_resume(&w.tx, 0), -EPROTO); /* it had consumed more */
	assert_int_equal(replay_tx_ack(&w.tx, &(struct wire_ack){ 0, 0 }), 0); /* an old one changes nothing */
	assert_int_equal(w.tx.limit, 1 << 20);
	assert_int_equal(replay_rx_data(&w.rx, WIRE_WINDOW_FIRST + 1), -EPROTO);
	assert_int_equal(replay_rx_data(&w.rx, WIRE_WINDOW_FIRST), 0);
	assert_int_equal(replay_rx_data(&w.rx, 1), -EPROTO);
	world_deinit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_byte_is_lost_doubled_or_reordered_by_thousands_of_cuts),
		cmocka_unit_test(a_cut_after_each_single_frame_loses_nothing),
		cmocka_unit_test(who_does_not_consume_stops_the_sender_at_the_window),
		cmocka_unit_test(the_window_grows_while_it_is_used_up_and_only_then),
		cmocka_unit_test(an_idle_stream_holds_no_memory),
		cmocka_unit_test(a_read_that_brings_nothing_gives_its_chunk_back),
		cmocka_unit_test(the_end_is_said_behind_the_last_byte_and_again_after_a_cut),
		cmocka_unit_test(no_more_is_kept_than_we_want_whatever_is_granted),
		cmocka_unit_test(numbers_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
