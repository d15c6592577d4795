/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes without sockets: what may be written for them, their way to JSON and back, what they allow, and what they
 * learn about their targets. Certificates are tested with the running relay (tests/relay).
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>

#include "tunnel/route.h"

static int listen_of(const char *s, struct route_listen *ret_l)
{
	char err[200] = "";
	int r = cfg_route_listen.parse(NULL, text_of(s), ret_l, err, sizeof(err));

	if (r < 0)
		assert_true(strlen(err) > 20);
	return r;
}

static void places_to_listen_are_read_and_printed(void **state)
{
	static const struct { const char *in, *out; } good[] = {
		{ "1001", "0.0.0.0:1001" },
		{ "20000-20099", "0.0.0.0:20000-20099" },
		{ "127.0.0.1:25", "127.0.0.1:25" },
		{ "[::]:1-3", "[::]:1-3" },
		{ "[2001:db8::1]:443", "[2001:db8::1]:443" },
	};
	static const char *const bad[] = { "", "0", "65536", "1-0", "1-", "-1", "host:25", "1.2.3:4", "1.2.3.4", "1.2.3.4:",
					   "1-5000", "1.2.3.4:5:6", "[::]", "::1:80x" };
	char buf[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct sb out = sb_init(buf, sizeof(buf));
		struct route_listen l = { 0 };

		assert_int_equal(listen_of(good[i].in, &l), 0);
		cfg_route_listen.print(NULL, &l, &out);
		assert_string_equal(buf, good[i].out);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct route_listen l = { 0 };

		assert_int_equal(listen_of(bad[i], &l), -EINVAL);
		assert_int_equal(addr_family(&l.at), AF_UNSPEC); /* left as it was */
	}
}

static void targets_are_read_and_printed(void **state)
{
	static const struct { const char *in, *host; unsigned port; } good[] = {
		{ "10.3.100.14:25", "10.3.100.14", 25 }, { "mail.intra", "mail.intra", 0 },
		{ "mail.intra:65535", "mail.intra", 65535 }, { "[2001:db8::1]:80", "2001:db8::1", 80 },
		{ "2001:db8::1", "2001:db8::1", 0 }, { "10.0.0.1", "10.0.0.1", 0 },
	};
	static const char *const bad[] = { "", ":25", "a b", "host:", "host:0", "host:65536", "ho st:1", "-:1", "[::1:80" };
	char buf[100], err[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct sb out = sb_init(buf, sizeof(buf));
		struct route_target t = { 0 };

		assert_int_equal(cfg_route_target.parse(NULL, text_of(good[i].in), &t, err, sizeof(err)), 0);
		assert_string_equal(t.host, good[i].host);
		assert_int_equal(t.port, good[i].port);
		cfg_route_target.print(NULL, &t, &out);
		assert_string_equal(buf, good[i].in);
		cfg_route_target.free(&t);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct route_target t = { 0 };

		assert_int_equal(cfg_route_target.parse(NULL, text_of(bad[i]), &t, err, sizeof(err)), -EINVAL);
		assert_null(t.host);
	}
}

static void the_rows_make_sense(void **state)
{
	char err[300] = "";

	(void)state;
	if (cfg_schema_selftest(tunnel_cfg_root.schema, err, sizeof(err)) != 0)
		fail_msg("%s", err);
}

/* ---- routes ---- */

static struct route *make(const char *json)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	json_t *o = json_loads(json, 0, NULL);
	struct route *r = NULL;
	char err[512] = "";

	assert_non_null(o);
	if (route_parse(o, err, sizeof(err), &c) < 0 || route_new(cfg_values(c), ROUTE_OF_STORE, NULL, err, sizeof(err), &r) < 0)
		fail_msg("%s", err);
	json_decref(o);
	return r;
}

static void a_route_is_the_same_after_its_way_through_json(void **state)
{
	static const char json[] = "{\"name\": \"m\u00e4il\", \"listen\": \"[::]:1000-1009\", \"target\": [\"a:1\", \"[2001:db8::1]:2\"], "
		"\"udp\": true, \"allow\": [\"10.0.0.0/8\", \"2001:db8::/32\"], \"limits\": {\"connections\": 7, \"bitrate\": \"2Mbit/s\"}, "
		"\"idle_timeout\": \"90s\", \"source_address\": \"2001:db8::7\", \"note\": \"quotes \\\" and \\\\ and: {yaml}\", \"enabled\": false}";
	struct route *a = make(json), *b;
	char *text = json_dumps(a->json, 0);

	(void)state;
	b = make(text);
	assert_true(route_same(a, b));
	assert_string_equal(b->name, "m\u00e4il");
	assert_string_equal(b->c->note, "quotes \" and \\ and: {yaml}");
	assert_int_equal(b->c->target.n, 2);
	assert_int_equal(b->c->idle_ms, 90000);
	assert_int_equal(b->c->limits.connections, 7);
	assert_int_equal(b->c->limits.bitrate, 2000000);
	assert_false(b->c->enabled);
	assert_true(b->c->udp);
	assert_int_equal(addr_family(&b->c->source_address), AF_INET6);
	free(text);
	route_unref(a);
	route_unref(b);
}

static void what_is_wrong_with_a_route_is_told_all_at_once(void **state)
{
	static const struct { const char *json, *says; } bad[] = {
		{ "{}", "'listen' is required" },
		{ "{\"listen\": \"1\", \"target\": \"t:1\", \"lissten\": 1}", "did you mean 'listen'" },
		{ "{\"listen\": 1, \"target\": \"a:1\", \"udp\": \"maybe\"}", "udp" },
		{ "{\"listen\": \"1\", \"target\": \"a:1\", \"name\": \"a b\"}", "no blanks" },
		{ "{\"listen\": \"1-9\", \"target\": \"a:65530\"}", "behind port 65535" },
		{ "{\"listen\": \"1\", \"target\": \"10.0.0.1:1\", \"source_address\": \"::1\"}", "other family" },
		{ "{\"listen\": \"1\", \"target\": \"a:1\", \"udp\": true, \"proxy_protocol\": \"v2\"}", "PROXY" },
		{ "{\"listen\": \"1\", \"target\": \"a:1\", \"limits\": {\"connections\": 0}}", "connections" },
		{ "{\"listen\": \"1\", \"target\": []}", "at least one" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		json_t *o = json_loads(bad[i].json, 0, NULL);
		struct cfg *c = NULL;
		char err[1024] = "";

		assert_int_equal(route_parse(o, err, sizeof(err), &c), -EINVAL);
		if (!strstr(err, bad[i].says))
			fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].json, err, bad[i].says);
		json_decref(o);
	}
}

static void sources_are_matched_in_every_spelling(void **state)
{
	struct route *r = make("{\"listen\": \"1\", \"target\": \"a:1\", \"allow\": [\"10.0.0.0/8\"]}"), *all = make("{\"listen\": \"1\", \"target\": \"a:1\"}");
	struct addr in, mapped, out;

	(void)state;
	assert_int_equal(addr_parse(TEXT("10.1.2.3:5"), 0, &in), 0);
	assert_int_equal(addr_parse(TEXT("[::ffff:10.1.2.3]:5"), 0, &mapped), 0);
	assert_int_equal(addr_parse(TEXT("11.1.2.3:5"), 0, &out), 0);
	assert_true(route_allows(r, &in));
	assert_true(route_allows(r, &mapped));
	assert_false(route_allows(r, &out));
	assert_true(route_allows(all, &out));
	route_unref(r);
	route_unref(all);
}

static void a_limit_holds_and_is_given_back(void **state)
{
	struct route *r = make("{\"listen\": \"1\", \"target\": \"a:1\", \"limits\": {\"connections\": 2}}"), *next = NULL;
	char err[200];

	(void)state;
	assert_true(route_enter(r));
	assert_true(route_enter(r));
	assert_false(route_enter(r));
	/* Its successor counts on. */
	assert_int_equal(route_new(r->c, ROUTE_OF_STORE, r, err, sizeof(err), &next), 0);
	assert_false(route_enter(next));
	route_leave(r);
	assert_true(route_enter(next));
	route_unref(r);
	assert_int_equal(atomic_load(&next->totals->connections), 2);
	route_unref(next);
}

static void a_bit_rate_lets_a_second_s_worth_go_and_then_what_has_come_back(void **state)
{
	struct route *r = make("{\"listen\": \"1\", \"target\": \"a:1\", \"limits\": {\"bitrate\": \"8000\"}}"); /* 1000 bytes a second */
	uint64_t now = 1000000;

	(void)state;
	assert_int_equal(route_room(r, 5000, now), 1000);
	route_passed(r, 1000, now);
	assert_int_equal(route_room(r, 5000, now), 0);
	assert_int_equal(route_room(r, 5000, now + 100), 100);
	assert_int_equal(route_room(r, 50, now + 100), 50);
	assert_int_equal(route_room(r, 5000, now + 60000), 1000);
	route_unref(r);
}

static void a_target_that_was_missed_is_left_aside_longer_each_time(void **state)
{
	struct route *r = make("{\"listen\": \"1\", \"target\": [\"a:1\", \"b:1\"]}");
	uint64_t now = 5000;

	(void)state;
	assert_false(route_aside(r, 0, now));
	route_missed(r, 0, now);
	assert_true(route_aside(r, 0, now + 999));
	assert_false(route_aside(r, 0, now + 1000));
	assert_false(route_aside(r, 1, now));
	for (int i = 0; i < 20; i++)
		route_missed(r, 0, now);
	assert_true(route_aside(r, 0, now + 29999));
	assert_false(route_aside(r, 0, now + 30000));
	route_reached(r, 0);
	assert_false(route_aside(r, 0, now));
	route_unref(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_to_listen_are_read_and_printed),
		cmocka_unit_test(targets_are_read_and_printed),
		cmocka_unit_test(the_rows_make_sense),
		cmocka_unit_test(a_route_is_the_same_after_its_way_through_json),
		cmocka_unit_test(what_is_wrong_with_a_route_is_told_all_at_once),
		cmocka_unit_test(sources_are_matched_in_every_spelling),
		cmocka_unit_test(a_limit_holds_and_is_given_back),
		cmocka_unit_test(a_bit_rate_lets_a_second_s_worth_go_and_then_what_has_come_back),
		cmocka_unit_test(a_target_that_was_missed_is_left_aside_longer_each_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
