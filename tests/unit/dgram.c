/* SPDX-License-Identifier: Apache-2.0 */
/* Batched datagrams over loopback: content through GRO and GSO, marks, sources, errors, the arena. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "common/bytes.h"
#include "common/dgram.h"
#include "common/ring.h"

struct bench {
	struct loop *l;
	struct dgram_io *io;
};

static int bench_setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	assert_int_equal(loop_new(&b->l), 0);
	assert_int_equal(dgram_io_new(b->l, NULL, &b->io), 0);
	*state = b;
	return 0;
}

static int bench_teardown(void **state)
{
	struct bench *b = *state;

	dgram_io_free(b->io);
	loop_free(b->l);
	free(b);
	return 0;
}

static struct addr loopback(bool v6)
{
	static const uint8_t one[16] = { [15] = 1 };

	return v6 ? addr_v6(one, 0) : addr_v4(0x7f000001, 0);
}

static void need_ipv6(void)
{
	struct addr at = loopback(true);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool there = fd >= 0 && bind(fd, &at.sa, addr_len(&at)) == 0;

	if (fd >= 0)
		close(fd);
	if (!there)
		skip();
}

static const struct dgram_socket_options plain = { .v6only = true, .rcvbuf = 4 << 20 };
static const struct dgram_socket_options rich = {
	.v6only = true, .pktinfo = true, .gro = true, .recv_mark = true, .rcvbuf = 4 << 20,
};

static int open_socket(struct addr *at, const struct dgram_socket_options *opt)
{
	socklen_t n = sizeof(*at);
	int fd = -1;

	assert_int_equal(dgram_socket(at, opt, &fd), 0);
	assert_int_equal(getsockname(fd, &at->sa, &n), 0);
	return fd;
}

struct got {
	unsigned n, runs;
	size_t len[2048];
	uint64_t sum[2048]; /* first eight bytes */
	bool intact;
	struct dgram last;
};

/* A datagram's bytes follow from its serial number, so a receiver can check all of them. */
static void fill(uint8_t *p, size_t n, unsigned serial)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(serial * 131 + i * 7);
	if (n >= 4)
		store_be32(p, serial);
}

static void keep(const struct dgram *d, void *arg)
{
	struct got *g = arg;
	uint8_t want[2048];

	assert_true(g->n < ARRAY_LEN(g->len));
	assert_true(d->len >= 4 && d->len <= sizeof(want));
	g->sum[g->n] = load_be32(d->data);
	g->len[g->n++] = d->len;
	fill(want, d->len, load_be32(d->data));
	assert_memory_equal(want, d->data, d->len);
	if (d->first_of_run) {
		memset(d->data - DGRAM_HEADROOM, 0xee, DGRAM_HEADROOM); /* must be ours to write */
		g->runs++;
	}
	g->last = *d;
}

static void drain(struct bench *b, int fd, uint16_t port, struct got *g)
{
	int r;

	while ((r = dgram_recv(b->io, fd, port, keep, g)) > 0)
		;
	assert_int_equal(r, 0);
}

static void send_burst(struct bench *b, bool v6, unsigned n, size_t size)
{
	struct addr to = loopback(v6), from = loopback(v6);
	int rx = open_socket(&to, &rich), tx = open_socket(&from, &plain);
	uint8_t *bytes = malloc(n * size);
	struct got *g = calloc(1, sizeof(*g));
	uint64_t sent = dgram_io_stats(b->io)->tx;

	assert_non_null(bytes);
	assert_non_null(g);
	for (unsigned i = 0; i < n; i++) {
		fill(bytes + i * size, size, i);
		/* Cut in two, as a relay does with its header. */
		dgram_send(b->io, &(struct dgram_route){ tx, &to, NULL, DGRAM_MARK_NONE }, bytes + i * size, 4,
			   bytes + i * size + 4, size - 4);
		if (i % 100 == 99) { /* keep within the socket's buffer */
			dgram_flush(b->io);
			drain(b, rx, addr_port(&to), g);
		}
	}
	dgram_flush(b->io);
	drain(b, rx, addr_port(&to), g);
	assert_int_equal(g->n, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(g->sum[i], i); /* in order, each once */
		assert_int_equal(g->len[i], size);
	}
	assert_true(addr_equal(&g->last.from, &from));
	assert_true(addr_equal(&g->last.local, &to));
	assert_int_equal(g->last.mark.tos, 0);
	assert_in_range(g->last.mark.ttl, 1, 255);
	assert_int_equal(dgram_io_stats(b->io)->tx - sent, n);
	if (dgram_io_stats(b->io)->gro && dgram_io_stats(b->io)->gso)
		assert_true(g->runs < n);
	free(g);
	free(bytes);
	close(rx);
	close(tx);
}

static void a_burst_arrives_whole_and_in_order_over_ipv4(void **state)
{
	send_burst(*state, false, 1000, 1200);
}

static void a_burst_arrives_whole_and_in_order_over_ipv6(void **state)
{
	need_ipv6();
	send_burst(*state, true, 1000, 161);
}

static void a_burst_arrives_whole_without_gso_and_gro(void **state)
{
	static const struct dgram_options bare = { .no_gro = true, .no_gso = true };
	struct bench *b = *state;

	dgram_io_free(b->io);
	assert_int_equal(dgram_io_new(b->l, &bare, &b->io), 0);
	assert_false(dgram_io_stats(b->io)->gso);
	send_burst(b, false, 300, 160);
	assert_int_equal(dgram_io_stats(b->io)->tx_gso_runs, 0);
}

static void note_length(const struct dgram *d, void *arg)
{
	struct got *g = arg;

	g->len[g->n++] = d->len;
}

static void an_empty_datagram_is_a_datagram(void **state)
{
	struct bench *b = *state;
	struct addr to = loopback(false), from = loopback(false);
	int rx = open_socket(&to, &rich), tx = open_socket(&from, &plain);
	struct got *g = calloc(1, sizeof(*g));

	for (int i = 0; i < 3; i++)
		dgram_send_copy(b->io, &(struct dgram_route){ tx, &to, NULL, DGRAM_MARK_NONE }, "", 0);
	dgram_flush(b->io);
	assert_int_equal(dgram_recv(b->io, rx, addr_port(&to), note_length, g), 3);
	assert_int_equal(g->n, 3);
	assert_int_equal(g->len[0] + g->len[1] + g->len[2], 0);
	free(g);
	close(rx);
	close(tx);
}

static void marks_travel(struct bench *b, bool v6)
{
	struct addr to = loopback(v6), from = loopback(v6);
	int rx = open_socket(&to, &rich), tx = open_socket(&from, &plain);
	struct got *g = calloc(1, sizeof(*g));
	const struct dgram_mark mark = { .tos = 0xb8, .ttl = 42, .df = 1 };
	uint8_t p[64];

	fill(p, sizeof(p), 7);
	dgram_send_copy(b->io, &(struct dgram_route){ tx, &to, &from, mark }, p, sizeof(p));
	dgram_flush(b->io);
	drain(b, rx, addr_port(&to), g);
	assert_int_equal(g->n, 1);
	assert_int_equal(g->last.mark.tos, 0xb8);
	assert_int_equal(g->last.mark.ttl, 42);
	assert_true(addr_equal_ip(&g->last.from, &from));
	free(g);
	close(rx);
	close(tx);
}

static void tos_and_ttl_travel(void **state)
{
	marks_travel(*state, false);
}

static void tos_and_ttl_travel_over_ipv6(void **state)
{
	need_ipv6();
	marks_travel(*state, true);
}

static void a_wildcard_socket_answers_from_the_address_that_was_asked(void **state)
{
	struct bench *b = *state;
	struct addr any = addr_v4(0, 0), asker = loopback(false), second = addr_v4(0x7f000002, 0);
	int server = open_socket(&any, &rich), client = open_socket(&asker, &rich);
	struct got *g = calloc(1, sizeof(*g));
	uint8_t p[32];

	fill(p, sizeof(p), 1);
	addr_set_port(&second, addr_port(&any));
	dgram_send_copy(b->io, &(struct dgram_route){ client, &second, NULL, DGRAM_MARK_NONE }, p, sizeof(p));
	dgram_flush(b->io);
	drain(b, server, addr_port(&any), g);
	assert_int_equal(g->n, 1);
	assert_true(addr_equal(&g->last.local, &second));
	dgram_send_copy(b->io, &(struct dgram_route){ server, &g->last.from, &g->last.local, DGRAM_MARK_NONE }, p, sizeof(p));
	dgram_flush(b->io);
	drain(b, client, addr_port(&asker), g);
	assert_int_equal(g->n, 2);
	assert_true(addr_equal(&g->last.from, &second));
	free(g);
	close(server);
	close(client);
}

/* ---- the arena ---- */

enum { MANY = 150 };

struct relay {
	struct bench *b;
	int out;
	struct addr to;
	unsigned n;
};

static void forward(const struct dgram *d, void *arg)
{
	struct relay *r = arg;

	dgram_send(r->b->io, &(struct dgram_route){ r->out, &r->to, NULL, DGRAM_MARK_NONE }, NULL, 0, d->data, d->len);
	r->n++;
}

static void forwarded_datagrams_outlive_later_receives_from_many_sockets(void **state)
{
	struct bench *b = *state;
	struct addr sink = loopback(false), src = loopback(false), at[MANY];
	int rx = open_socket(&sink, &plain), tx = open_socket(&src, &plain), fds[MANY];
	struct relay r = { .b = b, .out = tx, .to = sink };
	struct got *g = calloc(1, sizeof(*g));
	bool seen[2 * MANY] = { 0 };
	uint8_t p[100];

	for (unsigned i = 0; i < MANY; i++) {
		at[i] = loopback(false);
		fds[i] = open_socket(&at[i], &rich);
		for (unsigned k = 0; k < 2; k++) {
			fill(p, sizeof(p), 2 * i + k);
			dgram_send_copy(b->io, &(struct dgram_route){ tx, &at[i], NULL, DGRAM_MARK_NONE }, p, sizeof(p));
		}
	}
	dgram_flush(b->io);
	/* One pass over all of them; nothing is flushed by us, more slots are used than there are. */
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(dgram_recv(b->io, fds[i], addr_port(&at[i]), forward, &r), 2);
	assert_int_equal(r.n, 2 * MANY);
	dgram_flush(b->io);
	drain(b, rx, addr_port(&sink), g);
	assert_int_equal(g->n, 2 * MANY);
	for (unsigned i = 0; i < 2 * MANY; i++) {
		assert_in_range(g->sum[i], 0, 2 * MANY - 1);
		assert_false(seen[g->sum[i]]);
		seen[g->sum[i]] = true;
	}
	for (unsigned i = 0; i < MANY; i++)
		close(fds[i]);
	free(g);
	close(rx);
	close(tx);
}

static void many_sockets_send_with_one_call_where_the_kernel_can(void **state)
{
	struct bench *b = *state;
	struct addr sink = loopback(false);
	int rx = open_socket(&sink, &plain), fds[20];
	struct got *g = calloc(1, sizeof(*g));
	uint8_t p[ARRAY_LEN(fds)][100];
	struct ring *ring = NULL;

	(void)ring_new(&ring);
	dgram_io_free(b->io);
	assert_int_equal(dgram_io_new(b->l, &(struct dgram_options){ .ring = ring }, &b->io), 0);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
		struct addr at = loopback(false);

		fds[i] = open_socket(&at, &plain);
		fill(p[i], sizeof(p[i]), i);
		dgram_send(b->io, &(struct dgram_route){ fds[i], &sink, NULL, DGRAM_MARK_NONE }, NULL, 0, p[i], sizeof(p[i]));
	}
	dgram_flush(b->io);
	drain(b, rx, addr_port(&sink), g);
	assert_int_equal(g->n, ARRAY_LEN(fds));
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
		assert_int_equal(g->sum[i], i);
		close(fds[i]);
	}
	assert_int_equal(dgram_io_stats(b->io)->tx, ARRAY_LEN(fds));
	assert_int_equal(dgram_io_stats(b->io)->tx_calls, ring ? 1 : ARRAY_LEN(fds));
	b->io = dgram_io_free(b->io);
	ring_free(ring);
	free(g);
	close(rx);
}

static void copies_may_exceed_what_the_copy_area_holds(void **state)
{
	struct bench *b = *state;
	struct addr to = loopback(false), from = loopback(false);
	int rx = open_socket(&to, &plain), tx = open_socket(&from, &plain);
	struct got *g = calloc(1, sizeof(*g));
	uint8_t p[1500];

	for (unsigned i = 0; i < 400; i++) { /* 600 kB */
		fill(p, sizeof(p), i);
		dgram_send_copy(b->io, &(struct dgram_route){ tx, &to, NULL, DGRAM_MARK_NONE }, p, sizeof(p));
		if (i % 100 == 99)
			drain(b, rx, addr_port(&to), g);
	}
	dgram_flush(b->io);
	drain(b, rx, addr_port(&to), g);
	assert_int_equal(g->n, 400);
	for (unsigned i = 0; i < 400; i++)
		assert_int_equal(g->sum[i], i);
	free(g);
	close(rx);
	close(tx);
}

struct stopper {
	struct timer t;
	struct loop *l;
};

static void stop_now(struct timer *t, uint64_t now)
{
	(void)now;
	loop_stop(container_of(t, struct stopper, t)->l);
}

static void the_pass_flushes_what_was_queued(void **state)
{
	struct bench *b = *state;
	struct addr to = loopback(false), from = loopback(false);
	int rx = open_socket(&to, &plain), tx = open_socket(&from, &plain);
	struct got *g = calloc(1, sizeof(*g));
	struct stopper s = { .t.fire = stop_now, .l = b->l };
	uint8_t p[10];

	fill(p, sizeof(p), 3);
	dgram_send_copy(b->io, &(struct dgram_route){ tx, &to, NULL, DGRAM_MARK_NONE }, p, sizeof(p));
	drain(b, rx, addr_port(&to), g);
	assert_int_equal(g->n, 0);
	loop_timer_set(b->l, &s.t, 0);
	assert_int_equal(loop_run(b->l), 0);
	drain(b, rx, addr_port(&to), g);
	assert_int_equal(g->n, 1);
	free(g);
	close(rx);
	close(tx);
}

/* ---- errors ---- */

static void note_error(const struct dgram_error *e, void *arg)
{
	*(struct dgram_error *)arg = *e;
}

static void icmp_errors_name_the_target_and_do_not_cost_a_datagram(struct bench *b, bool v6)
{
	struct dgram_socket_options opt = plain;
	struct addr closed = loopback(v6), open = loopback(v6), from = loopback(v6);
	int gone = open_socket(&closed, &plain), rx = open_socket(&open, &plain), tx;
	struct got *g = calloc(1, sizeof(*g));
	struct dgram_error e = { 0 };
	uint8_t p[10];

	opt.recv_err = true;
	tx = open_socket(&from, &opt);
	close(gone);
	for (unsigned i = 0; i < 5; i++) {
		/* Each refusal is pending on tx when the next datagram is sent. */
		dgram_send_copy(b->io, &(struct dgram_route){ tx, &closed, NULL, DGRAM_MARK_NONE }, "x", 1);
		dgram_flush(b->io);
		fill(p, sizeof(p), i);
		dgram_send_copy(b->io, &(struct dgram_route){ tx, &open, NULL, DGRAM_MARK_NONE }, p, sizeof(p));
		dgram_flush(b->io);
	}
	drain(b, rx, addr_port(&open), g);
	assert_int_equal(g->n, 5);
	assert_int_equal(dgram_recv(b->io, tx, addr_port(&from), keep, g), 0);
	assert_int_equal(dgram_recv_errors(tx, note_error, &e), 5);
	assert_true(addr_equal(&e.to, &closed));
	assert_true(addr_equal_ip(&e.offender, &closed));
	assert_int_equal(e.v6, v6);
	assert_int_equal(e.icmp_type, v6 ? 1 : 3); /* unreachable: port */
	assert_int_equal(e.icmp_code, v6 ? 4 : 3);
	assert_int_equal(dgram_io_stats(b->io)->tx_errors, 0);
	free(g);
	close(rx);
	close(tx);
}

static void icmp_errors_are_reported_and_cost_nothing(void **state)
{
	icmp_errors_name_the_target_and_do_not_cost_a_datagram(*state, false);
}

static void icmp_errors_are_reported_and_cost_nothing_over_ipv6(void **state)
{
	need_ipv6();
	icmp_errors_name_the_target_and_do_not_cost_a_datagram(*state, true);
}

static void a_closed_descriptor_is_reported_as_broken(void **state)
{
	struct bench *b = *state;
	struct addr at = loopback(false);
	int fd = open_socket(&at, &plain);
	struct got g = { 0 };

	close(fd);
	assert_int_equal(dgram_recv(b->io, fd, 1, note_length, &g), -EBADF);
}

static void a_taken_port_and_a_foreign_address_are_said(void **state)
{
	struct addr at = loopback(false), foreign = addr_v4(0xc6336401, 0);
	int fd = open_socket(&at, &plain), other = -1;
	struct dgram_socket_options opt = plain;

	(void)state;
	assert_int_equal(dgram_socket(&at, &plain, &other), -EADDRINUSE);
	assert_int_equal(dgram_socket(&foreign, &plain, &other), -EADDRNOTAVAIL);
	opt.freebind = true;
	assert_int_equal(dgram_socket(&foreign, &opt, &other), 0);
	close(fd);
	close(other);
}

struct heads {
	unsigned n, runs;
	size_t bytes, segment;
};

static void check_head(const struct dgram *d, void *arg)
{
	struct heads *h = arg;
	uint8_t want[128];

	assert_in_range(d->len, 4, 104);
	assert_memory_equal(d->data, "HEAD", 4);
	fill(want, d->len - 4, h->n);
	assert_memory_equal(d->data + 4, want, d->len - 4);
	h->bytes += d->len;
	h->n++;
}

static void ignore(const struct dgram *d, void *arg)
{
	(void)d;
	(void)arg;
}

/* Only looks: the run is given one by one after it. */
static bool note_run(const struct dgram *d, size_t segment, void *arg)
{
	struct heads *h = arg;

	assert_true(d->len > segment);
	h->segment = segment;
	h->runs++;
	return false;
}

static void a_run_goes_out_with_one_head_and_is_received_as_one(void **state)
{
	struct bench *b = *state;
	struct addr to = loopback(false), from = loopback(false);
	int rx = open_socket(&to, &rich), tx = open_socket(&from, &plain);
	const struct dgram_route route = { tx, &to, NULL, DGRAM_MARK_NONE };
	uint8_t bytes[100 * 110];
	const struct dgram_run run = { bytes, 100, 110, 100, 60 };
	struct heads h = { 0 };
	const struct dgram_sink sink = { check_head, note_run, &h };
	unsigned most = DGRAM_BATCH;

	for (unsigned i = 0; i < run.n; i++)
		fill(bytes + i * run.stride, i + 1 == run.n ? run.last : run.len, i);
	dgram_send_run(b->io, &route, "HEAD", 4, &run);
	dgram_flush(b->io);
	while (dgram_recv_most(b->io, rx, addr_port(&to), &most, &sink) > 0)
		most = DGRAM_BATCH;
	assert_int_equal(h.n, 100);
	assert_int_equal(h.bytes, 99 * 104 + 64);
	if (dgram_io_stats(b->io)->gso && dgram_io_stats(b->io)->gro) {
		assert_int_equal(h.runs, 2); /* of 64 and 36 */
		assert_int_equal(h.segment, 104);
	}
	close(rx);
	close(tx);
}

static void what_a_call_found_is_known_and_joining_may_begin_later(void **state)
{
	struct bench *b = *state;
	struct addr to = loopback(false), one = loopback(false), other = loopback(false);
	int rx = open_socket(&to, &plain), tx[2] = { open_socket(&one, &plain), open_socket(&other, &plain) };
	static const uint8_t sender[] = { 0, 0, 0, 1, 0 };
	struct heads h = { 0 };
	const struct dgram_sink sink = { .one = ignore, .run = note_run, .arg = &h };
	unsigned most = DGRAM_BATCH;

	for (size_t i = 0; i < ARRAY_LEN(sender); i++)
		assert_int_equal(sendto(tx[sender[i]], "x", 1, 0, &to.sa, addr_len(&to)), 1);
	assert_int_equal(dgram_recv_most(b->io, rx, addr_port(&to), &most, &sink), 5);
	assert_int_equal(dgram_last_batch(b->io)->messages, 5);
	assert_int_equal(dgram_last_batch(b->io)->row, 3);
	assert_int_equal(dgram_last_batch(b->io)->runs, 0);
	assert_int_equal(dgram_recv_most(b->io, rx, addr_port(&to), &most, &sink), 0);
	assert_int_equal(dgram_last_batch(b->io)->messages, 0);
	assert_int_equal(dgram_last_batch(b->io)->row, 0);
	if (dgram_io_stats(b->io)->gso && dgram_aggregate(rx, true) == 0) {
		const struct dgram_route route = { tx[0], &to, NULL, DGRAM_MARK_NONE };
		for (size_t i = 0; i < 3; i++)
			dgram_send_copy(b->io, &route, "four", 4);
		dgram_flush(b->io);
		most = DGRAM_BATCH;
		assert_int_equal(dgram_recv_most(b->io, rx, addr_port(&to), &most, &sink), 3);
		assert_int_equal(dgram_last_batch(b->io)->messages, 1);
		assert_int_equal(dgram_last_batch(b->io)->runs, 1);
		assert_int_equal(h.runs, 1);
	}
	assert_int_equal(dgram_aggregate(-1, true), -EBADF);
	close(rx);
	close(tx[0]);
	close(tx[1]);
}

static void a_drain_takes_at_most_as_many_messages_as_it_was_told(void **state)
{
	struct bench *b = *state;
	struct addr to = loopback(false), from = loopback(false);
	int rx = open_socket(&to, &plain), tx = open_socket(&from, &plain);
	const struct dgram_route route = { tx, &to, NULL, DGRAM_MARK_NONE };
	struct got g = { 0 };
	const struct dgram_sink sink = { .one = note_length, .arg = &g };
	unsigned most = 1;

	for (size_t i = 0; i < 5; i++)
		dgram_send_copy(b->io, &route, "abcdefgh", 4 + i % 2); /* unlike sizes: no run */
	dgram_flush(b->io);
	assert_int_equal(dgram_recv_most(b->io, rx, addr_port(&to), &most, &sink), 1);
	assert_int_equal(most, 1);
	most = 3;
	assert_int_equal(dgram_recv_most(b->io, rx, addr_port(&to), &most, &sink), 3);
	assert_int_equal(most, 3);
	most = DGRAM_BATCH;
	assert_int_equal(dgram_recv_most(b->io, rx, addr_port(&to), &most, &sink), 1);
	assert_int_equal(most, 1);
	assert_int_equal(dgram_recv_most(b->io, rx, addr_port(&to), &most, &sink), 0);
	assert_int_equal(most, 0);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(g.len[i], 4 + i % 2);
	close(rx);
	close(tx);
}

static void forgetting_a_socket_flushes_only_if_something_is_queued_for_it(void **state)
{
	struct bench *b = *state;
	struct addr to = loopback(false), from = loopback(false), third = loopback(false);
	int rx = open_socket(&to, &plain), tx = open_socket(&from, &plain), other = open_socket(&third, &plain);
	uint64_t calls = dgram_io_stats(b->io)->tx_calls;

	dgram_send_copy(b->io, &(struct dgram_route){ tx, &to, NULL, DGRAM_MARK_NONE }, "abcd", 4);
	dgram_forget(b->io, other);
	assert_int_equal(dgram_io_stats(b->io)->tx_calls, calls);
	dgram_forget(b->io, tx);
	assert_int_equal(dgram_io_stats(b->io)->tx_calls, calls + 1);
	dgram_flush(b->io);
	assert_int_equal(dgram_io_stats(b->io)->tx_calls, calls + 1);
	close(rx);
	close(tx);
	close(other);
}

#define bench_test(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		bench_test(a_burst_arrives_whole_and_in_order_over_ipv4),
		bench_test(a_burst_arrives_whole_and_in_order_over_ipv6),
		bench_test(a_burst_arrives_whole_without_gso_and_gro),
		bench_test(an_empty_datagram_is_a_datagram),
		bench_test(tos_and_ttl_travel),
		bench_test(tos_and_ttl_travel_over_ipv6),
		bench_test(a_wildcard_socket_answers_from_the_address_that_was_asked),
		bench_test(forwarded_datagrams_outlive_later_receives_from_many_sockets),
		bench_test(many_sockets_send_with_one_call_where_the_kernel_can),
		bench_test(copies_may_exceed_what_the_copy_area_holds),
		bench_test(the_pass_flushes_what_was_queued),
		bench_test(icmp_errors_are_reported_and_cost_nothing),
		bench_test(icmp_errors_are_reported_and_cost_nothing_over_ipv6),
		bench_test(a_run_goes_out_with_one_head_and_is_received_as_one),
		bench_test(what_a_call_found_is_known_and_joining_may_begin_later),
		bench_test(a_drain_takes_at_most_as_many_messages_as_it_was_told),
		bench_test(forgetting_a_socket_flushes_only_if_something_is_queued_for_it),
		bench_test(a_closed_descriptor_is_reported_as_broken),
		bench_test(a_taken_port_and_a_foreign_address_are_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
