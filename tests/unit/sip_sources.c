/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may speak (sip-proxy/sources.h), on fake time: lists before all else, a rate that refills, bans that end, counts
 * of connections, and a memory that stays bounded whoever floods it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "sip-proxy/sources.h"

static struct addr at(const char *s)
{
	struct addr a;
	assert_int_equal(addr_parse(text_of(s), 0, &a), 0);
	return a;
}

static struct prefix net(const char *s)
{
	struct prefix p;
	assert_int_equal(prefix_parse(text_of(s), &p), 0);
	return p;
}

static struct sip_sources *make(struct sip_edge_config *c)
{
	struct sip_sources *s = sip_sources_new();

	assert_non_null(s);
	c->limits.rate = c->limits.rate ? c->limits.rate : 10;
	c->limits.burst = c->limits.burst ? c->limits.burst : 20;
	c->limits.connections_per_source = 3;
	c->limits.ban_after = 3;
	c->limits.ban_ms = 5000;
	assert_int_equal(sip_sources_configure(s, c), 0);
	return s;
}

static bool counted; /* the connection that enter() spoke of last */
static enum sip_drop enter(struct sip_sources *s, const struct addr *from, uint64_t now)
{
	return sip_sources_enter(s, from, now, &counted);
}

static void lists_come_before_all_else(void **state)
{
	const struct prefix allow[] = { net("192.0.2.0/24"), net("2001:db8::/32") },
			    deny[] = { net("192.0.2.9") },
			    unlimited[] = { net("10.0.0.0/8"), net("192.0.2.9") };
	struct sip_edge_config c = { .allow = allow,
				     .n_allow = 2,
				     .deny = deny,
				     .n_deny = 1,
				     .unlimited = unlimited,
				     .n_unlimited = 2 };
	struct sip_sources *s = make(&c);
	struct addr good = at("192.0.2.1"), bad = at("192.0.2.9"), stranger = at("198.51.100.1"),
		    own = at("10.1.2.3"), mapped = at("::ffff:192.0.2.9"), six = at("2001:db8::1");

	(void)state;
	assert_int_equal(sip_sources_message(s, &good, 0), SIP_DROPS);
	assert_int_equal(sip_sources_message(s, &six, 0), SIP_DROPS);
	assert_int_equal(sip_sources_message(s, &bad, 0), SIP_DROP_DENIED);
	assert_int_equal(sip_sources_message(s, &mapped, 0), SIP_DROP_DENIED); /* the same host */
	assert_int_equal(sip_sources_message(s, &stranger, 0), SIP_DROP_DENIED);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(sip_sources_message(s, &own, 0), SIP_DROPS);
	assert_int_equal(sip_sources_count(s), 2); /* only who is counted is remembered */
	sip_sources_free(s);
}

static void a_rate_allows_a_burst_and_refills(void **state)
{
	struct sip_edge_config c = { 0 };
	struct sip_sources *s = make(&c);
	struct addr a = at("192.0.2.1"), b = at("192.0.2.2"), six = at("2001:db8::1"),
		    neighbour = at("2001:db8::2"), other = at("2001:db8:0:1::1");
	unsigned got = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		got += sip_sources_message(s, &a, 1000) == SIP_DROPS;
	assert_int_equal(got, 20);
	assert_int_equal(sip_sources_message(s, &b, 1000), SIP_DROPS); /* another source is another matter */
	for (int i = 0; i < 100; i++)
		got += sip_sources_message(s, &a, 2000) == SIP_DROPS;
	assert_int_equal(got, 30); /* ten a second */
	for (int i = 0; i < 20; i++)
		assert_int_equal(sip_sources_message(s, &six, 1000), SIP_DROPS);
	assert_int_equal(sip_sources_message(s, &neighbour, 1000), SIP_DROP_RATE); /* a /64 is one source */
	assert_int_equal(sip_sources_message(s, &other, 1000), SIP_DROPS);
	sip_sources_free(s);
}

static void bans_begin_after_so_many_and_end(void **state)
{
	struct sip_edge_config c = { 0 };
	struct sip_sources *s = make(&c);
	struct addr a = at("192.0.2.1");

	(void)state;
	assert_false(sip_sources_bad(s, &a, 1000));
	assert_false(sip_sources_bad(s, &a, 1000));
	assert_false(sip_sources_bad(s, &a, 62000)); /* those were of another minute */
	assert_false(sip_sources_bad(s, &a, 62000));
	assert_true(sip_sources_bad(s, &a, 63000));
	assert_int_equal(sip_sources_message(s, &a, 63000), SIP_DROP_BANNED);
	assert_int_equal(enter(s, &a, 67999), SIP_DROP_BANNED);
	assert_int_equal(sip_sources_message(s, &a, 68000), SIP_DROPS);
	sip_sources_ban(s, &a, 70000);
	assert_int_equal(sip_sources_message(s, &a, 69000), SIP_DROP_BANNED);
	sip_sources_free(s);
}

static void connections_of_a_source_are_counted(void **state)
{
	struct sip_edge_config c = { 0 };
	struct sip_sources *s = make(&c);
	struct addr a = at("192.0.2.1"), b = at("192.0.2.2");

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(enter(s, &a, 0), SIP_DROPS);
	assert_int_equal(enter(s, &a, 0), SIP_DROP_CONNECTIONS);
	assert_int_equal(enter(s, &b, 0), SIP_DROPS);
	sip_sources_leave(s, &a);
	assert_int_equal(enter(s, &a, 0), SIP_DROPS);
	sip_sources_free(s);
}

static void a_flood_of_sources_costs_bounded_memory_and_nobody_s_place(void **state)
{
	struct sip_edge_config c = { 0 };
	struct sip_sources *s = make(&c);
	struct addr friend = at("192.0.2.1"), banned = at("192.0.2.2"), a;

	(void)state;
	assert_int_equal(enter(s, &friend, 1000), SIP_DROPS);
	sip_sources_ban(s, &banned, UINT64_MAX);
	for (uint32_t i = 0; i < 3 * SIP_SOURCES_MAX; i++) {
		a = addr_v4(0x0b000000 + i, 0);
		assert_int_equal(sip_sources_message(s, &a, 2000 + i), SIP_DROPS);
	}
	assert_int_equal(sip_sources_count(s), SIP_SOURCES_MAX);
	assert_int_equal(sip_sources_message(s, &banned, 90000), SIP_DROP_BANNED); /* a ban is not washed away */
	for (int i = 0; i < 2; i++)
		assert_int_equal(enter(s, &friend, 90000), SIP_DROPS);
	assert_int_equal(enter(s, &friend, 90000), SIP_DROP_CONNECTIONS); /* its connection was remembered */
	sip_sources_free(s);
}

static void new_lists_keep_what_is_known(void **state)
{
	struct sip_edge_config c = { 0 }, later = { 0 };
	struct sip_sources *s = make(&c), *fresh;
	const struct prefix deny[] = { net("192.0.2.1") };
	struct addr a = at("192.0.2.1"), b = at("192.0.2.2");

	(void)state;
	sip_sources_ban(s, &b, 5000);
	later.deny = deny;
	later.n_deny = 1;
	fresh = make(&later);
	sip_sources_take(s, fresh);
	sip_sources_free(fresh);
	assert_int_equal(sip_sources_message(s, &a, 1000), SIP_DROP_DENIED);
	assert_int_equal(sip_sources_message(s, &b, 1000), SIP_DROP_BANNED);
	sip_sources_free(s);
}

static void take_lists(struct sip_sources *s, struct sip_edge_config *c)
{
	struct sip_sources *fresh = make(c);

	sip_sources_take(s, fresh);
	sip_sources_free(fresh);
}

/* A reload takes a source's limit away, and another gives it back: what ends meanwhile is what was not counted. */
static void a_connection_that_was_not_counted_takes_nothing_away_when_it_ends(void **state)
{
	const struct prefix unlimited[] = { net("192.0.2.1") };
	struct sip_edge_config c = { 0 }, later = { .unlimited = unlimited, .n_unlimited = 1 };
	struct sip_sources *s = make(&c);
	struct addr a = at("192.0.2.1");

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(enter(s, &a, 0), SIP_DROPS);
		assert_true(counted);
	}
	take_lists(s, &later);
	assert_int_equal(enter(s, &a, 0), SIP_DROPS);
	if (counted)
		sip_sources_leave(s, &a);
	take_lists(s, &c);
	assert_int_equal(enter(s, &a, 0), SIP_DROP_CONNECTIONS); /* the three are there still */
	assert_false(counted);
	sip_sources_leave(s, &a);
	assert_int_equal(enter(s, &a, 0), SIP_DROPS);
	sip_sources_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_come_before_all_else),
		cmocka_unit_test(a_rate_allows_a_burst_and_refills),
		cmocka_unit_test(bans_begin_after_so_many_and_end),
		cmocka_unit_test(connections_of_a_source_are_counted),
		cmocka_unit_test(a_flood_of_sources_costs_bounded_memory_and_nobody_s_place),
		cmocka_unit_test(new_lists_keep_what_is_known),
		cmocka_unit_test(a_connection_that_was_not_counted_takes_nothing_away_when_it_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
