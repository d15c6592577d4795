/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output queue over a kernel of our own: what goes out, in which order, in how many calls, and
 * what happens when the kernel says no. Every datagram carries its serial number.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/bytes.h"
#include "common/dgram_tx.h"

enum { SENT = 8192, SCRIPT = 32 };

struct sent {
	int fd;
	uint16_t port; /* of the destination */
	uint32_t serial;
	size_t n;
	unsigned run; /* size of the run it was part of */
	bool source, tos;
};

struct kernel {
	int script[SCRIPT]; /* results of the next calls: -errno, or how many messages at most; 0: all */
	unsigned at, script_n;
	int refuse_runs;     /* errno for every message with UDP_SEGMENT; 0: none */
	int each[DGRAM_BATCH]; /* results of the next call for many sockets: -errno; 0: sent */
	unsigned calls, each_calls, n;
	int pmtu[16];
	unsigned pmtu_n;
	struct sent sent[SENT];
};

static size_t segment_size(const struct msghdr *h, struct sent *s)
{
	size_t segment = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR((struct msghdr *)h, c)) {
		uint16_t v;

		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT) {
			memcpy(&v, CMSG_DATA(c), sizeof(v));
			segment = v;
		}
		s->source = s->source || (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO);
		s->tos = s->tos || (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS);
	}
	return segment;
}

static void take_message(struct kernel *k, int fd, const struct msghdr *h)
{
	static uint8_t bytes[70000];
	struct sent s = { .fd = fd, .port = ntohs(((const struct sockaddr_in *)h->msg_name)->sin_port) };
	size_t n = 0, segment = segment_size(h, &s);

	for (size_t i = 0; i < h->msg_iovlen; i++) {
		assert_true(n + h->msg_iov[i].iov_len <= 65507);
		memcpy(bytes + n, h->msg_iov[i].iov_base, h->msg_iov[i].iov_len);
		n += h->msg_iov[i].iov_len;
	}
	if (!segment)
		segment = n;
	s.run = n ? (unsigned)((n + segment - 1) / segment) : 1;
	assert_true(s.run <= 64);
	for (size_t at = 0; at < n || n == 0; at += segment) {
		assert_true(k->n < SENT);
		s.n = MIN(segment, n - at);
		s.serial = s.n >= 4 ? load_be32(bytes + at) : 0;
		k->sent[k->n++] = s;
		if (n == 0)
			break;
	}
}

static bool is_run(const struct msghdr *h)
{
	struct sent unused = { 0 };

	return segment_size(h, &unused) > 0;
}

static int fake_send(int fd, struct mmsghdr *msgs, unsigned n, void *arg)
{
	struct kernel *k = arg;
	int scripted = k->at < k->script_n ? k->script[k->at++] : 0;
	unsigned done = 0;

	k->calls++;
	assert_in_range(n, 1, DGRAM_BATCH);
	if (scripted < 0)
		return scripted;
	for (; done < n && (!scripted || done < (unsigned)scripted); done++) {
		if (k->refuse_runs && is_run(&msgs[done].msg_hdr))
			return done ? (int)done : -k->refuse_runs;
		take_message(k, fd, &msgs[done].msg_hdr);
	}
	return (int)done;
}

static int fake_set_pmtu(int fd, bool v6, int mode, void *arg)
{
	struct kernel *k = arg;

	(void)fd;
	assert_false(v6);
	k->pmtu[k->pmtu_n++ % ARRAY_LEN(k->pmtu)] = mode;
	return IP_PMTUDISC_WANT;
}

static void fake_send_each(const int *fd, struct mmsghdr *msgs, unsigned n, int *ret_result, void *arg)
{
	struct kernel *k = arg;

	k->each_calls++;
	assert_in_range(n, 2, DGRAM_BATCH);
	for (unsigned i = 0; i < n; i++) {
		ret_result[i] = k->each[i];
		if (!k->each[i])
			take_message(k, fd[i], &msgs[i].msg_hdr);
	}
	memset(k->each, 0, sizeof(k->each));
}

static const struct tx_sys fake = { fake_send, fake_set_pmtu, NULL };
static const struct tx_sys fake_each = { fake_send, fake_set_pmtu, fake_send_each };

struct bench {
	struct kernel k;
	struct dgram_io_stats stats;
	struct tx_queue *q;
	uint8_t pool[4 << 20];
	size_t used;
	uint32_t serial;
};

static int setup_on(const struct tx_sys *sys, void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->stats.gso = true;
	assert_int_equal(tx_queue_new(sys, &b->k, &b->stats, &b->q), 0);
	*state = b;
	return 0;
}

static int setup(void **state)
{
	return setup_on(&fake, state);
}

static int setup_each(void **state)
{
	return setup_on(&fake_each, state);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	tx_queue_free(b->q);
	free(b);
	return 0;
}

static void add_marked(struct bench *b, int fd, uint16_t port, size_t n, const struct addr *from,
		       struct dgram_mark mark)
{
	struct addr to = addr_v4(0xc0000207, port);
	uint8_t *p = b->pool + b->used;
	size_t cut = b->serial % 2 && n > 4 ? 4 : 0; /* every other one in two pieces */
	uint8_t head[DGRAM_HEAD]; /* the queue keeps a copy */
	const struct dgram_route route = { fd, &to, from, mark };
	const struct tx_datagram d = { &route, { head, cut }, { p + cut, n - cut } };

	assert_true(b->used + n <= sizeof(b->pool));
	b->used += n;
	if (n >= 4)
		store_be32(p, b->serial);
	b->serial++;
	memcpy(head, p, cut);
	tx_add(b->q, &d);
	memset(head, 0xee, sizeof(head));
}

static void add(struct bench *b, int fd, uint16_t port, size_t n)
{
	add_marked(b, fd, port, n, NULL, DGRAM_MARK_NONE);
}

/* Several of one size with one entry; their bodies have a gap between them. */
static void add_run(struct bench *b, int fd, uint16_t port, unsigned n, size_t size, size_t last)
{
	struct addr to = addr_v4(0xc0000207, port);
	const struct dgram_route route = { fd, &to, NULL, DGRAM_MARK_NONE };
	size_t stride = size + 3;
	struct tx_datagram d = { .route = &route, .body = { b->pool + b->used, size }, .n = n, .stride = stride, .last = last };

	assert_true(b->used + n * stride <= sizeof(b->pool));
	for (unsigned i = 0; i < n; i++) {
		store_be32(b->pool + b->used + i * stride, b->serial++);
		memset(b->pool + b->used + i * stride + size, 0xff, 3);
	}
	b->used += n * stride;
	tx_add(b->q, &d);
}

/* Each serial at most once, and per (fd, port) in rising order. */
static void assert_order(const struct bench *b, unsigned n)
{
	bool seen[SENT] = { 0 };

	assert_int_equal(b->k.n, n);
	for (unsigned i = 0; i < n; i++) {
		const struct sent *s = &b->k.sent[i];

		assert_false(seen[s->serial]);
		seen[s->serial] = true;
		for (unsigned j = i + 1; j < n; j++)
			if (b->k.sent[j].fd == s->fd && b->k.sent[j].port == s->port)
				assert_true(b->k.sent[j].serial > s->serial);
	}
}

static void equal_sizes_make_one_run_and_a_shorter_one_ends_it(void **state)
{
	struct bench *b = *state;
	static const unsigned want[] = { 4, 4, 4, 4, 2, 2 };

	for (int i = 0; i < 3; i++)
		add(b, 5, 1000, 100);
	add(b, 5, 1000, 60);
	add(b, 5, 1000, 100);
	add(b, 5, 1000, 100);
	tx_flush(b->q);
	assert_order(b, 6);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(b->k.sent[i].run, want[i]);
	assert_int_equal(b->k.calls, 1);
	assert_int_equal(b->stats.tx, 6);
	assert_int_equal(b->stats.tx_gso_runs, 2);
	tx_flush(b->q);
	assert_int_equal(b->k.calls, 1);
}

static void a_longer_datagram_never_joins_a_run(void **state)
{
	struct bench *b = *state;

	add(b, 5, 1000, 100);
	add(b, 5, 1000, 101);
	tx_flush(b->q);
	assert_order(b, 2);
	assert_int_equal(b->k.sent[0].run, 1);
	assert_int_equal(b->k.sent[1].n, 101);
}

static void runs_keep_to_64_segments_and_65000_bytes(void **state)
{
	struct bench *b = *state;

	for (int i = 0; i < 130; i++)
		add(b, 5, 1000, 20);
	tx_flush(b->q);
	assert_order(b, 130);
	assert_int_equal(b->k.sent[0].run, 64);
	assert_int_equal(b->k.sent[128].run, 2);
	for (int i = 0; i < 50; i++)
		add(b, 5, 1000, 1400);
	tx_flush(b->q);
	assert_int_equal(b->k.sent[130].run, 46); /* 64,400 bytes */
	assert_int_equal(b->k.sent[179].run, 4);
	assert_order(b, 180);
}

static void an_entry_of_many_joins_its_neighbours_of_the_same_size(void **state)
{
	struct bench *b = *state;
	static const unsigned want[] = { 6, 6, 6, 6, 6, 6, 2, 2 };

	add(b, 5, 1000, 100);
	add_run(b, 5, 1000, 3, 100, 100);
	add_run(b, 5, 1000, 2, 100, 40); /* ends the run */
	add_run(b, 5, 1000, 2, 100, 100);
	tx_flush(b->q);
	assert_order(b, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(b->k.sent[i].run, want[i]);
	assert_int_equal(b->k.sent[5].n, 40);
	assert_int_equal(b->stats.tx, 8);
	assert_int_equal(b->k.calls, 1);
}

static void entries_of_many_keep_to_64_segments(void **state)
{
	struct bench *b = *state;

	add_run(b, 5, 1000, 40, 20, 20);
	add_run(b, 5, 1000, 64, 20, 20);
	tx_flush(b->q);
	assert_order(b, 104);
	assert_int_equal(b->k.sent[0].run, 64);
	assert_int_equal(b->k.sent[64].run, 40);
}

static void empty_datagrams_go_out_alone(void **state)
{
	struct bench *b = *state;

	for (int i = 0; i < 3; i++)
		add(b, 5, 1000, 0);
	tx_flush(b->q);
	assert_int_equal(b->k.n, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(b->k.sent[i].run, 1);
}

static void sources_and_marks_are_not_mixed_in_one_run(void **state)
{
	struct bench *b = *state;
	struct addr from = addr_v4(0xc0000201, 3478);
	struct dgram_mark ef = DGRAM_MARK_NONE;

	ef.tos = 0xb8;
	add(b, 5, 1000, 100);
	add_marked(b, 5, 1000, 100, &from, DGRAM_MARK_NONE);
	add_marked(b, 5, 1000, 100, &from, DGRAM_MARK_NONE);
	add_marked(b, 5, 1000, 100, &from, ef);
	tx_flush(b->q);
	assert_order(b, 4);
	assert_int_equal(b->k.sent[0].run, 1);
	assert_false(b->k.sent[0].source);
	assert_int_equal(b->k.sent[1].run, 2);
	assert_true(b->k.sent[1].source);
	assert_false(b->k.sent[1].tos);
	assert_int_equal(b->k.sent[3].run, 1);
	assert_true(b->k.sent[3].tos);
}

static void dont_fragment_is_set_around_its_datagrams_and_put_back(void **state)
{
	struct bench *b = *state;
	struct dgram_mark df = DGRAM_MARK_NONE, nodf = DGRAM_MARK_NONE;

	df.df = 1;
	nodf.df = 0;
	add(b, 5, 1000, 100);
	add_marked(b, 5, 1000, 100, NULL, df);
	add_marked(b, 5, 1001, 100, NULL, df);
	add_marked(b, 5, 1001, 100, NULL, nodf);
	tx_flush(b->q);
	assert_order(b, 4);
	assert_int_equal(b->k.pmtu_n, 4);
	assert_int_equal(b->k.pmtu[0], IP_PMTUDISC_PROBE);
	assert_int_equal(b->k.pmtu[1], IP_PMTUDISC_WANT);
	assert_int_equal(b->k.pmtu[2], IP_PMTUDISC_DONT);
	assert_int_equal(b->k.pmtu[3], IP_PMTUDISC_WANT);
	assert_int_equal(b->k.calls, 3);
}

/* ---- when the kernel says no ---- */

static void refused_runs_go_out_plainly_in_their_place(struct bench *b, int error)
{
	b->k.refuse_runs = error;
	add(b, 5, 1000, 50); /* a single, a run, a single: to three destinations and one */
	for (int i = 0; i < 5; i++)
		add(b, 5, 1001, 100);
	add(b, 5, 1001, 300);
	add(b, 5, 1002, 70);
	tx_flush(b->q);
	assert_order(b, 8);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(b->k.sent[i].run, 1);
		assert_int_equal(b->k.sent[i].serial, i);
	}
	assert_int_equal(b->stats.tx, 8);
	assert_int_equal(b->stats.tx_gso_runs, 0);
	assert_int_equal(b->stats.tx_errors + b->stats.tx_dropped, 0);
	assert_true(b->stats.gso); /* one refusal may be one destination's */
}

static void an_entry_of_many_that_is_refused_goes_out_plainly_in_its_place(void **state)
{
	struct bench *b = *state;

	b->k.refuse_runs = EIO;
	add(b, 5, 1000, 50);
	add_run(b, 5, 1000, 30, 100, 60);
	add(b, 5, 1000, 70);
	add_run(b, 5, 1001, 64, 100, 100);
	tx_flush(b->q);
	assert_order(b, 96);
	for (unsigned i = 0; i < 96; i++)
		assert_int_equal(b->k.sent[i].run, 1);
	assert_int_equal(b->k.sent[30].n, 60);
	assert_int_equal(b->stats.tx, 96);
	assert_int_equal(b->stats.tx_errors + b->stats.tx_dropped, 0);
}

static void a_run_refused_with_einval_is_sent_plainly_once(void **state)
{
	refused_runs_go_out_plainly_in_their_place(*state, EINVAL);
}

static void a_run_refused_with_eio_is_sent_plainly_once(void **state)
{
	refused_runs_go_out_plainly_in_their_place(*state, EIO);
}

static void many_refusals_rest_gso_and_it_is_tried_again_later(void **state)
{
	struct bench *b = *state;
	unsigned calls;

	b->k.refuse_runs = EIO;
	for (unsigned i = 0; i < TX_REFUSALS; i++) {
		add(b, 5, 1000, 100);
		add(b, 5, 1000, 100);
		assert_true(b->stats.gso);
		tx_flush(b->q);
	}
	assert_false(b->stats.gso);
	calls = b->k.calls;
	add(b, 5, 1000, 100);
	add(b, 5, 1000, 100);
	tx_flush(b->q);
	assert_int_equal(b->k.calls - calls, 1); /* no attempt that must fail */
	b->k.refuse_runs = 0;
	for (unsigned i = 0; i < TX_GSO_PAUSE; i++) {
		add(b, 5, 1000, 100);
		tx_flush(b->q);
	}
	assert_true(b->stats.gso);
	assert_order(b, 2 * TX_REFUSALS + 2 + TX_GSO_PAUSE);
}

static void an_error_left_by_icmp_costs_no_datagram(void **state)
{
	struct bench *b = *state;

	b->k.script[0] = -ECONNREFUSED;
	b->k.script[1] = -EHOSTUNREACH;
	b->k.script_n = 2;
	add(b, 5, 1000, 100);
	add(b, 5, 1001, 100);
	tx_flush(b->q);
	assert_order(b, 2);
	assert_int_equal(b->stats.tx_errors, 0);
}

static void a_lasting_error_costs_only_the_message_that_has_it(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 3; i++)
		b->k.script[i] = -ENETUNREACH;
	b->k.script_n = 3;
	add(b, 5, 1000, 100);
	add(b, 5, 1001, 100);
	tx_flush(b->q);
	assert_int_equal(b->k.n, 1);
	assert_int_equal(b->k.sent[0].serial, 1);
	assert_int_equal(b->stats.tx_errors, 1);
	assert_int_equal(b->stats.tx, 1);
}

static void a_full_socket_drops_and_counts_and_others_go_on(void **state)
{
	struct bench *b = *state;

	b->k.script[0] = 1; /* one message goes, then the buffer is full */
	b->k.script[1] = -EAGAIN;
	b->k.script_n = 2;
	for (int i = 0; i < 2; i++)
		add(b, 5, 1000, 100);
	for (int i = 0; i < 3; i++)
		add(b, 5, 1001, 100);
	add(b, 6, 1000, 100);
	tx_flush(b->q);
	assert_int_equal(b->k.n, 3);
	assert_int_equal(b->k.sent[2].fd, 6);
	assert_int_equal(b->stats.tx, 3);
	assert_int_equal(b->stats.tx_dropped, 3);
}

static void an_interrupted_call_is_repeated_without_doubling(void **state)
{
	struct bench *b = *state;

	b->k.script[0] = -EINTR;
	b->k.script[1] = 2;
	b->k.script[2] = -EINTR;
	b->k.script_n = 3;
	for (uint16_t i = 0; i < 5; i++)
		add(b, 5, (uint16_t)(1000 + i), 100);
	tx_flush(b->q);
	assert_order(b, 5);
	assert_int_equal(b->stats.tx, 5);
}

static void random_traffic_is_sent_once_and_in_order_through_partial_calls(void **state)
{
	struct bench *b = *state;

	srand(7);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 20; i++)
			add_run(b, 5 + rand() % 4, (uint16_t)(1000 + rand() % 5), (unsigned)(2 + rand() % 9), 200,
				(size_t)(4 + rand() % 197));
		for (unsigned i = 0; i < 700; i++)
			add(b, 5 + rand() % 4, (uint16_t)(1000 + rand() % 5), (size_t)(rand() % 3 ? 200 : 100 + rand() % 200));
		b->k.at = 0;
		b->k.script_n = SCRIPT;
		for (unsigned i = 0; i < SCRIPT; i++)
			b->k.script[i] = rand() % 4 ? 1 + rand() % 8 : -EINTR;
		b->k.each[rand() % 4] = -EBUSY;
		b->k.refuse_runs = round == 1 ? EINVAL : 0;
		tx_flush(b->q);
	}
	assert_order(b, b->serial);
	assert_int_equal(b->stats.tx, b->serial);
}

static void a_full_queue_flushes_itself(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < TX_QUEUE + 10; i++)
		add(b, (int)(i % 1000), (uint16_t)(1 + i), 16);
	assert_int_equal(b->k.n, TX_QUEUE);
	tx_flush(b->q);
	assert_order(b, TX_QUEUE + 10);
}

/* ---- many sockets with one call ---- */

static void scattered_datagrams_of_many_sockets_leave_with_one_call(void **state)
{
	struct bench *b = *state;

	for (int i = 0; i < 6; i++)
		add(b, 5 + i, 1000, 100);
	for (uint16_t i = 0; i < 3; i++)
		add(b, 20, (uint16_t)(1000 + i), 100); /* one each for three destinations */
	tx_flush(b->q);
	assert_order(b, 9);
	assert_int_equal(b->k.each_calls, 1);
	assert_int_equal(b->k.calls, 0);
	assert_int_equal(b->stats.tx, 9);
	assert_int_equal(b->stats.tx_calls, 1);
}

static void a_socket_whose_destination_gets_several_has_calls_of_its_own(void **state)
{
	struct bench *b = *state;
	struct dgram_mark df = { -1, -1, 1 };

	add(b, 5, 1000, 100);
	add(b, 6, 1000, 100);
	for (int i = 0; i < 3; i++)
		add(b, 7, 1000, 100); /* a run */
	add_run(b, 8, 1000, 4, 100, 40);
	add_marked(b, 9, 1000, 100, NULL, df);
	tx_flush(b->q);
	assert_order(b, 10);
	assert_int_equal(b->k.each_calls, 1);
	assert_int_equal(b->k.calls, 3);
	assert_int_equal(b->k.pmtu_n, 2);
	assert_int_equal(b->stats.tx_gso_runs, 2);
}

static void one_message_needs_no_call_for_many(void **state)
{
	struct bench *b = *state;

	add(b, 5, 1000, 100);
	for (int i = 0; i < 3; i++)
		add(b, 7, 1000, 100);
	tx_flush(b->q);
	add(b, 5, 1000, 100);
	tx_flush(b->q);
	assert_order(b, 5);
	assert_int_equal(b->k.each_calls, 0);
	assert_int_equal(b->k.calls, 3);
}

static void what_a_call_for_many_did_not_send_is_sent_by_itself_and_once(void **state)
{
	struct bench *b = *state;

	b->k.each[0] = -ECONNREFUSED; /* an error left by ICMP */
	b->k.each[2] = b->k.each[3] = -EBUSY;
	for (int i = 0; i < 4; i++)
		add(b, 5 + i, 1000, 100);
	tx_flush(b->q);
	assert_order(b, 4);
	assert_int_equal(b->k.calls, 3);
	assert_int_equal(b->stats.tx, 4);
	assert_int_equal(b->stats.tx_errors + b->stats.tx_dropped, 0);
}

static void errors_in_a_call_for_many_cost_only_their_messages(void **state)
{
	struct bench *b = *state;

	b->k.each[0] = -ENETUNREACH;
	b->k.each[1] = -EAGAIN;
	for (unsigned i = 0; i < 3; i++)
		b->k.script[i] = -ENETUNREACH;
	b->k.script[3] = -EAGAIN;
	b->k.script_n = 4;
	for (int i = 0; i < 3; i++)
		add(b, 5 + i, 1000, 100);
	tx_flush(b->q);
	assert_int_equal(b->k.n, 1);
	assert_int_equal(b->k.sent[0].fd, 7);
	assert_int_equal(b->stats.tx, 1);
	assert_int_equal(b->stats.tx_errors, 1);
	assert_int_equal(b->stats.tx_dropped, 1);
}

#define t(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define each(f) cmocka_unit_test_setup_teardown(f, setup_each, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(equal_sizes_make_one_run_and_a_shorter_one_ends_it),
		t(a_longer_datagram_never_joins_a_run),
		t(runs_keep_to_64_segments_and_65000_bytes),
		t(an_entry_of_many_joins_its_neighbours_of_the_same_size),
		t(entries_of_many_keep_to_64_segments),
		t(an_entry_of_many_that_is_refused_goes_out_plainly_in_its_place),
		t(empty_datagrams_go_out_alone),
		t(sources_and_marks_are_not_mixed_in_one_run),
		t(dont_fragment_is_set_around_its_datagrams_and_put_back),
		t(a_run_refused_with_einval_is_sent_plainly_once),
		t(a_run_refused_with_eio_is_sent_plainly_once),
		t(many_refusals_rest_gso_and_it_is_tried_again_later),
		t(an_error_left_by_icmp_costs_no_datagram),
		t(a_lasting_error_costs_only_the_message_that_has_it),
		t(a_full_socket_drops_and_counts_and_others_go_on),
		t(an_interrupted_call_is_repeated_without_doubling),
		t(random_traffic_is_sent_once_and_in_order_through_partial_calls),
		t(a_full_queue_flushes_itself),
		each(scattered_datagrams_of_many_sockets_leave_with_one_call),
		each(a_socket_whose_destination_gets_several_has_calls_of_its_own),
		each(one_message_needs_no_call_for_many),
		each(what_a_call_for_many_did_not_send_is_sent_by_itself_and_once),
		each(errors_in_a_call_for_many_cost_only_their_messages),
		{ "random traffic through calls for many", random_traffic_is_sent_once_and_in_order_through_partial_calls,
		  setup_each, teardown, NULL },
		{ "a full queue through calls for many", a_full_queue_flushes_itself, setup_each, teardown, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
