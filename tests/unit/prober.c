/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The birthday probe on fake time, between a symmetric NAT that gives each mapping a random port and a NAT that lets in known ports
 * only; what the two sides tell of their NATs; and what strangers send them.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "common/bytes.h"
#include "tunnel/direct/prober.h"
#include "tunnel/direct/site_nat.h"

/* ---- samples and lines ---- */

static struct addr at(uint16_t port)
{
	return addr_v4(0xcb007105, port); /* 203.0.113.5 */
}

static struct site_samples samples_of(const uint16_t *ports) /* two a socket */
{
	struct site_samples s = { 0 };

	for (unsigned i = 0; i < SITE_NAT_SOCKETS * SITE_NAT_TARGETS; i++)
		if (ports[i])
			s.mapped[i / SITE_NAT_TARGETS][i % SITE_NAT_TARGETS] = at(ports[i]);
	return s;
}

static void one_port_for_two_destinations_is_an_endpoint_mapping(void **state)
{
	static const uint16_t ports[] = { 4000, 4000, 4001, 4001, 0, 0, 4003, 0, 4004, 4004, 0, 4005 };
	struct site_samples s = samples_of(ports);
	struct site_nat n = site_nat_judge(&s);
	struct addr want = at(0);

	(void)state;
	assert_int_equal(n.mapping, SITE_ENDPOINT);
	assert_true(addr_equal(&n.public, &want));
}

static void silence_tells_nothing(void **state)
{
	struct site_samples s = { 0 };

	(void)state;
	assert_int_equal(site_nat_judge(&s).mapping, SITE_UNKNOWN);
	s.mapped[0][0] = at(4000); /* one destination only */
	assert_int_equal(site_nat_judge(&s).mapping, SITE_UNKNOWN);
}

static void the_block_of_a_symmetric_nat_is_learned(void **state)
{
	static const uint16_t wide[] = { 1100, 60000, 31000, 4, 20001, 777, 3, 9, 40000, 50000, 65535, 12 };
	static const uint16_t narrow[] = { 20100, 20800, 20333, 20001, 20900, 20222, 20123, 20777, 20456, 20654, 20001, 20345 };
	static const uint16_t steps[] = { 30000, 30002, 30004, 30006, 30008, 30010, 30012, 30014, 30016, 30018, 30020, 30022 };
	struct site_samples s = samples_of(wide);
	struct site_nat n = site_nat_judge(&s);

	(void)state;
	assert_int_equal(n.mapping, SITE_VARIES);
	assert_int_equal(n.low, 1024);
	assert_int_equal(n.high, 65535);
	s = samples_of(narrow);
	n = site_nat_judge(&s);
	assert_in_range(n.low, 1024, 20001);
	assert_in_range(n.high, 20900, 24000);
	assert_int_equal(n.step, 0);
	s = samples_of(steps);
	n = site_nat_judge(&s);
	assert_int_equal(n.step, 2);
	assert_in_range(n.high, 30022 + 2 * PROBER_SOCKETS, 31000);
	assert_in_range(n.low, 29000, 30000);
}

static void a_line_is_read_back_and_bad_ones_are_not(void **state)
{
	static const char *const bad[] = { "", "nat:", "nat:1", "nat:2 endpoint 203.0.113.5 0 0 0", "nat:1 endpoint 203.0.113.5 0 0",
					   "nat:1 endpoint 203.0.113.5 0 0 0 0", "nat:1 maybe 203.0.113.5 0 0 0", "nat:1 endpoint x 0 0 0",
					   "nat:1 endpoint 203.0.113.5:7 0 0 0", "nat:1 varies 203.0.113.5 0 65535 0",
					   "nat:1 varies 203.0.113.5 5000 4000 0", "nat:1 varies - 5000 6000 0", "nat:1 endpoint - 0 0 4000",
					   "nat:1 endpoint 203.0.113.5 0 0 53", "nat:1 endpoint 203.0.113.5 0 0 65536",
					   "nat:1  endpoint 203.0.113.5 0 0 0", "nat:1 endpoint [2001:db8::1] 0 0 0" };
	struct site_nat n = { .mapping = SITE_VARIES, .public = at(0), .low = 40000, .high = 41023 }, back;
	char line[SITE_NAT_STRLEN];
	size_t len = site_nat_print(&n, line);

	(void)state;
	assert_string_equal(line, "nat:1 varies 203.0.113.5 40000 41023 0");
	assert_int_equal(site_nat_parse(text_of(line), &back), 0);
	assert_true(back.mapping == n.mapping && back.low == n.low && back.high == n.high && addr_equal(&back.public, &n.public));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (site_nat_parse(text_of(bad[i]), &back) == 0)
			fail_msg("taken: %s", bad[i]);
	for (size_t i = 0; i + 1 < len; i++) {
		char *block = test_malloc(i ? i : 1);
		memcpy(block, line, i);
		assert_int_equal(site_nat_parse((struct text){ block, i }, &back), -EBADMSG);
		test_free(block);
	}
	n = (struct site_nat){ 0 };
	site_nat_print(&n, line);
	assert_string_equal(line, "nat:1 unknown - 0 0 0");
	assert_int_equal(site_nat_parse(text_of(line), &back), 0);
}

/* ---- two probers and the NATs between them ---- */

enum { EASY_PORT = 4500, WIRE_MAX = 64 };

struct world {
	struct timers *timers;
	uint64_t now;
	uint32_t seed;
	struct prober *easy, *hard;
	uint16_t mapped[PROBER_SOCKETS]; /* of the hard NAT, towards the easy side; 0: the socket has not sent yet */
	uint8_t opened[65536 / 8];	 /* ports of the hard NAT that the easy one has sent to */
	struct {
		bool to_hard;
		unsigned socket;
		struct addr from;
		size_t n;
		uint8_t bytes[PROBER_MSG_MAX];
	} wire[WIRE_MAX];
	unsigned on_wire, packets[2], second[2];
	uint64_t second_at[2];
	int ended[2];
	unsigned socket;     /* of the hard side, found */
	struct addr found;   /* by the easy side */
	uint16_t low, high;
	bool lost; /* the hard side never hears anything */
};

static uint32_t next_random(struct world *w)
{
	w->seed = w->seed * 1664525u + 1013904223u;
	return w->seed >> 8;
}

static uint32_t on_random(void *arg)
{
	return next_random(arg);
}

static void count_rate(struct world *w, unsigned side)
{
	if (w->now / 1000 != w->second_at[side]) {
		w->second_at[side] = w->now / 1000;
		w->second[side] = 0;
	}
	w->packets[side]++;
	assert_true(++w->second[side] <= 100 + 25); /* probes, and answers to what came */
}

static void put(struct world *w, bool to_hard, unsigned socket, const struct addr *from, const void *p, size_t n)
{
	assert_true(w->on_wire < WIRE_MAX && n <= PROBER_MSG_MAX);
	w->wire[w->on_wire].to_hard = to_hard;
	w->wire[w->on_wire].socket = socket;
	w->wire[w->on_wire].from = *from;
	w->wire[w->on_wire].n = n;
	memcpy(w->wire[w->on_wire++].bytes, p, n);
}

static void easy_send(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg)
{
	struct world *w = arg;
	struct addr from = addr_v4(0xcb007109, EASY_PORT);
	uint16_t port = addr_port(to);

	assert_int_equal(socket, 0);
	assert_in_range(port, w->low, w->high);
	count_rate(w, 0);
	w->opened[port / 8] |= (uint8_t)(1 << port % 8);
	for (unsigned i = 0; i < PROBER_SOCKETS; i++)
		if (w->mapped[i] == port && !w->lost)
			put(w, true, i, &from, p, n);
}

static void hard_send(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg)
{
	struct world *w = arg;

	assert_int_equal(addr_port(to), EASY_PORT);
	count_rate(w, 1);
	while (!w->mapped[socket])
		w->mapped[socket] = (uint16_t)(w->low + next_random(w) % (w->high - w->low + 1u));
	struct addr from = at(w->mapped[socket]);
	if (!w->lost && (w->opened[w->mapped[socket] / 8] & (1 << w->mapped[socket] % 8))) /* the easy NAT's filter */
		put(w, false, 0, &from, p, n);
}

static void easy_done(enum prober_end e, unsigned socket, const struct addr *peer, void *arg)
{
	struct world *w = arg;

	(void)socket;
	w->ended[0] = e == PROBER_FOUND ? 1 : -1;
	if (peer)
		w->found = *peer;
}

static void hard_done(enum prober_end e, unsigned socket, const struct addr *peer, void *arg)
{
	struct world *w = arg;

	(void)peer;
	w->ended[1] = e == PROBER_FOUND ? 1 : -1;
	w->socket = socket;
}

static const struct prober_ops easy_ops = { easy_send, easy_done, on_random }, hard_ops = { hard_send, hard_done, on_random };

static void world_open(struct world *w, uint32_t seed, uint16_t low, uint16_t high)
{
	struct prober_options o = { .ops = &easy_ops, .arg = w, .ufrag = "easy", .pwd = "easyeasyeasyeasyeasyeasy", .peer_ufrag = "hard",
				    .peer_pwd = "hardhardhardhardhardhard", .peer = at(0), .low = low, .high = high };

	memset(w, 0, sizeof *w);
	w->seed = seed;
	w->low = low;
	w->high = high;
	w->now = 1000;
	assert_non_null(w->timers = timers_new(w->now));
	o.timers = w->timers;
	assert_int_equal(prober_new(&o, w->now, &w->easy), 0);
	o = (struct prober_options){ .role = PROBER_HARD, .timers = w->timers, .ops = &hard_ops, .arg = w, .ufrag = "hard",
				     .pwd = "hardhardhardhardhardhard", .peer_ufrag = "easy", .peer_pwd = "easyeasyeasyeasyeasyeasy",
				     .peer = addr_v4(0xcb007109, EASY_PORT) };
	assert_int_equal(prober_new(&o, w->now, &w->hard), 0);
}

static void world_close(struct world *w)
{
	prober_free(w->easy);
	prober_free(w->hard);
	timers_free(w->timers);
}

static void carry(struct world *w)
{
	for (unsigned i = 0; i < w->on_wire; i++) { /* what is sent meanwhile comes behind */
		struct prober *p = w->wire[i].to_hard ? w->hard : w->easy;
		uint8_t bytes[PROBER_MSG_MAX];
		struct addr from = w->wire[i].from;
		memcpy(bytes, w->wire[i].bytes, w->wire[i].n);
		prober_input(p, w->wire[i].socket, &from, bytes, w->wire[i].n, w->now);
	}
	w->on_wire = 0;
}

static uint64_t play(struct world *w) /* how long it took, ms */
{
	uint64_t began = w->now;

	while ((w->ended[0] == 0 || w->ended[1] == 0) && w->now - began < 2 * PROBER_ROUND_MS) {
		timers_run(w->timers, w->now);
		carry(w);
		w->now++;
	}
	return w->now - began;
}

static void nine_of_ten_probes_of_all_ports_hit_within_a_minute(void **state)
{
	unsigned hits = 0;

	(void)state;
	for (uint32_t seed = 1; seed <= 40; seed++) {
		struct world w;
		world_open(&w, seed * 7919, 1024, 65535);
		uint64_t took = play(&w);
		if (w.ended[0] == 1 && w.ended[1] == 1) {
			assert_true(took <= 60000);
			assert_int_equal(addr_port(&w.found), w.mapped[w.socket]);
			hits++;
		}
		world_close(&w);
	}
	assert_in_range(hits, 36, 40);
}

static void inside_a_learned_block_it_takes_moments(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 20; seed++) {
		struct world w;
		world_open(&w, seed * 104729, 40000, 42047);
		assert_true(play(&w) < 8000);
		assert_int_equal(w.ended[0], 1);
		assert_int_equal(w.ended[1], 1);
		world_close(&w);
	}
}

static void a_probe_that_meets_nobody_ends_and_each_port_was_asked_once(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, 42, 20000, 24999);
	w.lost = true;
	assert_true(play(&w) <= PROBER_ROUND_MS + 10);
	assert_int_equal(w.ended[0], -1);
	assert_int_equal(w.ended[1], -1);
	assert_true(prober_sent(w.easy) >= w.packets[0] && prober_sent(w.hard) > 0);
	unsigned asked = 0;
	for (unsigned port = 20000; port <= 24999; port++)
		asked += (w.opened[port / 8] >> port % 8) & 1;
	assert_int_equal(asked, MIN(5000, w.packets[0])); /* a port twice only after all of them once */
	assert_true(w.packets[0] > 5000);
	world_close(&w);
}

static void what_strangers_send_counts_for_nothing(void **state)
{
	struct world w, other;
	struct addr peer = at(30000), elsewhere = addr_v4(0x08080808, 30000);

	(void)state;
	world_open(&w, 1, 20000, 24999);
	w.lost = true;
	timers_run(w.timers, w.now);
	world_open(&other, 2, 20000, 24999);
	/* Probes of another attempt's, a truncated one at each byte, and none at all. */
	for (unsigned i = 0; i < PROBER_SOCKETS; i++)
		other.mapped[i] = 20000;
	memset(other.opened, 0xff, sizeof other.opened);
	timers_run(other.timers, other.now);
	assert_true(other.on_wire > 0);
	for (unsigned k = 0; k < other.on_wire; k++)
		for (size_t n = 0; n <= other.wire[k].n; n++) {
			uint8_t *block = test_malloc(n ? n : 1);
			memcpy(block, other.wire[k].bytes, n);
			if (n < other.wire[k].n) {
				prober_input(w.easy, 0, &peer, block, n, w.now);
				prober_input(w.hard, 3, &peer, block, n, w.now);
			}
			prober_input(w.easy, 0, &elsewhere, block, n, w.now);
			test_free(block);
		}
	assert_int_equal(w.ended[0], 0);
	assert_int_equal(w.ended[1], 0);
	world_close(&other);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_port_for_two_destinations_is_an_endpoint_mapping),
		cmocka_unit_test(silence_tells_nothing),
		cmocka_unit_test(the_block_of_a_symmetric_nat_is_learned),
		cmocka_unit_test(a_line_is_read_back_and_bad_ones_are_not),
		cmocka_unit_test(nine_of_ten_probes_of_all_ports_hit_within_a_minute),
		cmocka_unit_test(inside_a_learned_block_it_takes_moments),
		cmocka_unit_test(a_probe_that_meets_nobody_ends_and_each_port_was_asked_once),
		cmocka_unit_test(what_strangers_send_counts_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
