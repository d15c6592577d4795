/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases of ports on fake time, with a router that speaks PCP, NAT-PMP only, neither, or says no: granted, renewed, lost by a
 * restart, given back; and answers that are somebody else's.
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
#include "tunnel/direct/port_lease.h"

enum { INSIDE_PORT = 4000, OUTSIDE_PORT = 40000 };

struct world {
	struct timers *timers;
	uint64_t now, booted;
	struct port_lease *l;
	bool pcp, natpmp, refuses, deaf;
	uint16_t outside;
	uint32_t lifetime_s;
	unsigned asked[2], changes, ended; /* by protocol; deletions */
	bool open;
	struct addr at;
	char why[128];
	uint8_t queue[8][64];
	size_t queued[8];
	unsigned n;
	bool spoil_nonce, spoil_port;
};

static void answer(struct world *w, const uint8_t *p, size_t n)
{
	assert_true(w->n < ARRAY_LEN(w->queued) && n <= 64);
	memcpy(w->queue[w->n], p, n);
	w->queued[w->n++] = n;
}

static void on_natpmp(struct world *w, const uint8_t *p, size_t n)
{
	uint8_t out[16] = { 0, (uint8_t)(0x80 | p[1]), 0, w->refuses ? 2 : 0 };

	store_be32(out + 4, (uint32_t)((w->now - w->booted) / 1000));
	if (p[1] == 0) {
		assert_int_equal(n, 2);
		store_be32(out + 8, 0xcb007105);
		answer(w, out, w->refuses ? 8 : 12);
		return;
	}
	assert_int_equal(n, 12);
	if (load_be32(p + 8) == 0) {
		w->ended++;
		return;
	}
	store_be16(out + 8, w->spoil_port ? 99 : load_be16(p + 4));
	store_be16(out + 10, w->outside);
	store_be32(out + 12, w->lifetime_s);
	answer(w, out, w->refuses ? 8 : 16);
}

static void on_pcp(struct world *w, const uint8_t *p, size_t n)
{
	uint8_t out[60] = { 2, 0x81, 0, w->refuses ? 2 : 0 };

	assert_int_equal(n, 60);
	if (load_be32(p + 4) == 0) {
		w->ended++;
		return;
	}
	store_be32(out + 4, w->lifetime_s);
	store_be32(out + 8, (uint32_t)((w->now - w->booted) / 1000));
	memcpy(out + 24, p + 24, 36);
	out[24] ^= w->spoil_nonce;
	store_be16(out + 42, w->outside);
	memset(out + 44, 0, 10);
	store_be16(out + 54, 0xffff);
	store_be32(out + 56, 0xcb007105);
	answer(w, out, 60);
}

static void on_send(const void *p, size_t n, void *arg)
{
	struct world *w = arg;
	const uint8_t *b = p;

	w->asked[b[0] == 2 ? PORTMAP_PCP : PORTMAP_NATPMP]++;
	if (w->deaf)
		return;
	if (b[0] == 2 && w->pcp)
		on_pcp(w, b, n);
	else if (b[0] == 0 && w->natpmp)
		on_natpmp(w, b, n);
}

static void on_changed(const struct addr *outside, const char *why, void *arg)
{
	struct world *w = arg;

	w->changes++;
	w->open = outside != NULL;
	w->at = outside ? *outside : (struct addr){ 0 };
	snprintf(w->why, sizeof w->why, "%s", why);
}

static const struct port_lease_ops ops = { on_send, on_changed };

static void world_open(struct world *w, bool pcp, bool natpmp)
{
	memset(w, 0, sizeof *w);
	w->now = 1000000;
	w->pcp = pcp;
	w->natpmp = natpmp;
	w->outside = OUTSIDE_PORT;
	w->lifetime_s = 3600;
	assert_non_null(w->timers = timers_new(w->now));
}

static void wish(struct world *w)
{
	struct port_lease_options o = { .timers = w->timers, .ops = &ops, .arg = w, .inside = addr_v4(0xc0a80107, INSIDE_PORT) };

	assert_int_equal(port_lease_new(&o, w->now, &w->l), 0);
	assert_int_equal(w->changes, 0); /* never from within */
}

static void play(struct world *w, uint64_t ms)
{
	uint64_t end = w->now + ms;

	do {
		timers_run(w->timers, w->now);
		for (unsigned i = 0; i < w->n; i++)
			port_lease_input(w->l, w->queue[i], w->queued[i], w->now);
		w->n = 0;
		w->now += 10;
	} while (w->now < end);
}

static void world_close(struct world *w)
{
	port_lease_free(w->l);
	timers_free(w->timers);
}

static void pcp_grants_at_once_and_nat_pmp_is_not_asked(void **state)
{
	struct world w;
	struct addr want = addr_v4(0xcb007105, OUTSIDE_PORT);

	(void)state;
	world_open(&w, true, true);
	wish(&w);
	play(&w, 2000);
	assert_true(w.open && addr_equal(&w.at, &want));
	assert_string_equal(w.why, "PCP");
	assert_int_equal(w.asked[PORTMAP_NATPMP], 0);
	assert_int_equal(w.asked[PORTMAP_PCP], 1);
	world_close(&w);
	assert_int_equal(w.ended, 1);
}

static void nat_pmp_grants_where_pcp_is_silent(void **state)
{
	struct world w;
	struct addr want = addr_v4(0xcb007105, OUTSIDE_PORT);

	(void)state;
	world_open(&w, false, true);
	wish(&w);
	play(&w, 2000);
	assert_true(w.open && addr_equal(&w.at, &want));
	assert_string_equal(w.why, "NAT-PMP");
	assert_int_equal(w.changes, 1);
	world_close(&w);
	assert_int_equal(w.ended, 1);
}

/* A router with both protocols, which does not hear the first question. */
static void slow_router(struct world *w)
{
	world_open(w, true, true);
	w->deaf = true;
	wish(w);
	w->deaf = false;
}

static void what_both_may_have_opened_is_given_back_by_both(void **state)
{
	struct world w;

	(void)state;
	slow_router(&w);
	play(&w, 2000);
	assert_string_equal(w.why, "PCP");
	assert_int_equal(w.asked[PORTMAP_NATPMP], 2);
	world_close(&w);
	assert_int_equal(w.ended, 2);
}

static void what_may_still_be_opened_is_given_back(void **state)
{
	struct world w;

	(void)state;
	slow_router(&w);
	world_close(&w);
	assert_int_equal(w.ended, 1);
}

static void silence_and_refusals_are_told_and_asked_again_later(void **state)
{
	struct world w;

	(void)state;
	for (unsigned refuses = 0; refuses < 2; refuses++) {
		world_open(&w, refuses, refuses);
		w.refuses = refuses;
		wish(&w);
		play(&w, PORT_LEASE_SILENT_MS + 200);
		assert_false(w.open);
		assert_int_equal(w.changes, 1);
		assert_non_null(strstr(w.why, refuses ? "refused" : "neither PCP nor NAT-PMP"));
		unsigned asked = w.asked[PORTMAP_PCP];
		assert_in_range(asked, 1, 6);
		w.pcp = true;
		w.refuses = false;
		play(&w, 610000);
		assert_true(w.open);
		world_close(&w);
	}
}

static void a_lease_is_renewed_for_as_long_as_it_is_wished(void **state)
{
	struct world w;

	(void)state;
	for (unsigned pcp = 0; pcp < 2; pcp++) {
		world_open(&w, pcp, !pcp);
		w.lifetime_s = 120;
		wish(&w);
		play(&w, 3600 * 1000);
		assert_true(w.open);
		assert_int_equal(w.changes, 1);
		assert_in_range(w.asked[pcp ? PORTMAP_PCP : PORTMAP_NATPMP], 50, 140);
		world_close(&w);
	}
}

static void a_renewal_that_nobody_answers_loses_it_at_its_end(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, true, false);
	w.lifetime_s = 120;
	wish(&w);
	play(&w, 1000);
	w.deaf = true;
	play(&w, 110000);
	assert_true(w.open);
	play(&w, 12000);
	assert_false(w.open);
	w.deaf = false;
	play(&w, 700000);
	assert_true(w.open);
	world_close(&w);
}

static void another_port_after_a_renewal_is_told(void **state)
{
	struct world w;

	(void)state;
	world_open(&w, true, false);
	w.lifetime_s = 120;
	wish(&w);
	play(&w, 1000);
	w.outside = 50000;
	play(&w, 70000);
	assert_int_equal(w.changes, 2);
	assert_int_equal(addr_port(&w.at), 50000);
	world_close(&w);
}

static void what_is_somebody_elses_counts_for_nothing(void **state)
{
	struct world w;
	uint8_t junk[64];

	(void)state;
	world_open(&w, true, false);
	w.spoil_nonce = true;
	wish(&w);
	play(&w, 3000);
	assert_false(w.open);
	world_close(&w);
	world_open(&w, false, true);
	w.spoil_port = true;
	wish(&w);
	play(&w, 3000);
	assert_false(w.open);
	for (size_t n = 0; n < sizeof junk; n++) {
		memset(junk, (int)n, sizeof junk);
		port_lease_input(w.l, junk, n, w.now);
	}
	assert_false(w.open);
	world_close(&w);
}

/* RFC 6886 3.6: an epoch that is behind its time means that the router has forgotten the mapping: it is asked for again at once. */
static void a_router_that_has_restarted_is_asked_again_at_once(void **state)
{
	uint8_t told[12] = { 0, 128, 0, 0 };
	struct world w;

	(void)state;
	world_open(&w, false, true);
	wish(&w);
	play(&w, 60000);
	assert_true(w.open);
	unsigned asked = w.asked[PORTMAP_NATPMP];
	store_be32(told + 4, (uint32_t)(w.now / 1000)); /* nothing has happened */
	store_be32(told + 8, 0xcb007105);
	port_lease_input(w.l, told, sizeof(told), w.now);
	play(&w, 1000);
	assert_int_equal(w.asked[PORTMAP_NATPMP], asked);
	store_be32(told + 4, 1);
	w.booted = w.now - 1000;
	w.outside = OUTSIDE_PORT + 1;
	port_lease_input(w.l, told, sizeof(told), w.now);
	play(&w, PORT_LEASE_SILENT_MS);
	assert_true(w.asked[PORTMAP_NATPMP] > asked);
	assert_true(w.open);
	assert_int_equal(addr_port(&w.at), OUTSIDE_PORT + 1);
	world_close(&w);
	assert_null(port_lease_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pcp_grants_at_once_and_nat_pmp_is_not_asked),
		cmocka_unit_test(nat_pmp_grants_where_pcp_is_silent),
		cmocka_unit_test(what_both_may_have_opened_is_given_back_by_both),
		cmocka_unit_test(what_may_still_be_opened_is_given_back),
		cmocka_unit_test(silence_and_refusals_are_told_and_asked_again_later),
		cmocka_unit_test(a_lease_is_renewed_for_as_long_as_it_is_wished),
		cmocka_unit_test(a_renewal_that_nobody_answers_loses_it_at_its_end),
		cmocka_unit_test(another_port_after_a_renewal_is_told),
		cmocka_unit_test(what_is_somebody_elses_counts_for_nothing),
		cmocka_unit_test(a_router_that_has_restarted_is_asked_again_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
