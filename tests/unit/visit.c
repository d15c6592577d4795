/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Visits and visitors of an agent (tunnel/agent/visit.h): values that come back as they were written, what a visitor reaches to
 * the last port, values that are refused, and entries that contradict each other.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>
#include "tunnel/agent/config.h"

static const char id_a[] = "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

static void expect_error(const char *yaml, const char *part)
{
	struct cfg *c = NULL;

	assert_int_not_equal(cfg_load_text(text_of(yaml), "test", &agent_cfg_root, &c), -ENOMEM);
	if (!cfg_n_errors(c))
		agent_config_check(c);
	if (cfg_n_errors(c) == 0)
		fail_msg("no error in: %s", yaml);
	if (!strstr(cfg_error(c, 0)->text, part))
		fail_msg("'%s' says nothing of '%s'", cfg_error(c, 0)->text, part);
	cfg_free(c);
}

static void what_a_visitor_reaches_is_printed_as_it_is_read(void **state)
{
	static const char *const good[] = {
		"10.1.0.0/24", "10.1.0.25/32:3389", "10.1.0.0/24:22-25", "2001:db8::/64", "[2001:db8::/64]:22-25", "[2001:db8::1/128]:1-65535",
	};
	static const char *const bad[] = {
		"", "x", "10.1.0.25:", "10.1.0.25:0", "10.1.0.25:65536", "10.1.0.25:3-2", "10.1.0.25:1-", "10.1.0.25:-1", "10.1.0.25:a",
		"10.1.0.25:1-2-3", "10.1.0.0/33", ":22", "[2001:db8::/64", "[2001:db8::/64]22", "[2001:db8::/64]:", "[2001:db8::/64]:0", "[]:22", "2001:db8::/129",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char buf[80], err[200];
		struct sb out = sb_init(buf, sizeof(buf));
		struct reach r;

		assert_int_equal(cfg_reach.parse(NULL, text_of(good[i]), &r, err, sizeof(err)), 0);
		cfg_reach.print(NULL, &r, &out);
		if (!strstr(good[i], "/32") && !strstr(good[i], "/128"))
			assert_string_equal(buf, good[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char err[200] = "";
		struct reach r;

		if (cfg_reach.parse(NULL, text_of(bad[i]), &r, err, sizeof(err)) != -EINVAL)
			fail_msg("taken: %s", bad[i]); /* half of a bound must never mean every port */
		assert_non_null(strstr(err, "a prefix with or without ports"));
	}
}

static bool holds(const char *reach, const char *address)
{
	char err[200];
	struct reach r;
	const struct cfg_list list = { &r, 1 };
	struct addr a;

	assert_int_equal(cfg_reach.parse(NULL, text_of(reach), &r, err, sizeof(err)), 0);
	assert_int_equal(addr_parse(text_of(address), 0, &a), 0);
	return reach_holds(&list, &a);
}

static void prefix_and_ports_bound_what_is_reached(void **state)
{
	const struct cfg_list nothing = { 0 };
	struct addr any = addr_v4(0x0a010001, 22);

	(void)state;
	assert_true(holds("10.1.0.0/24", "10.1.0.255:65535"));
	assert_false(holds("10.1.0.0/24", "10.1.1.0:22"));
	assert_true(holds("10.1.0.0/24:22-25", "10.1.0.1:22"));
	assert_true(holds("10.1.0.0/24:22-25", "10.1.0.1:25"));
	assert_false(holds("10.1.0.0/24:22-25", "10.1.0.1:21"));
	assert_false(holds("10.1.0.0/24:22-25", "10.1.0.1:26"));
	assert_true(holds("10.1.0.0/24:22", "[::ffff:10.1.0.7]:22")); /* another spelling of the same address */
	assert_false(holds("10.1.0.0/24:22", "[::ffff:10.1.1.7]:22"));
	assert_true(holds("[2001:db8::/64]:443", "[2001:db8::7]:443"));
	assert_false(holds("[2001:db8::/64]:443", "[2001:db8:0:1::7]:443"));
	assert_false(reach_holds(&nothing, &any));
}

/* As the store keeps it: from JSON, and the values that nobody wrote are the defaults. */
static struct cfg *visit(json_t *o, char *err, size_t err_n)
{
	struct cfg *c = NULL;

	err[0] = 0;
	(void)visit_parse(o, err, err_n, &c);
	json_decref(o);
	return c;
}

static void a_visit_has_the_name_it_was_given_or_its_way(void **state)
{
	char err[300], name[VISIT_NAME_STRLEN];
	struct cfg *c = visit(json_pack("{s:s, s:s}", "agent", "site-17", "target", "10.1.0.25:3389"), err, sizeof(err));
	const struct visit_config *v = cfg_values(c);

	(void)state;
	assert_string_equal(visit_name(v, name), "site-17 10.1.0.25:3389");
	assert_int_equal(v->head_start_ms, VISIT_HEAD_START_MS);
	assert_true(v->enabled && !v->udp && !v->identity.set);
	assert_int_equal(addr_port(&v->listen), 0);
	cfg_free(c);
	c = visit(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "agent", "a", "target", "[2001:db8::1]:53", "protocol", "udp", "listen", "5353",
			    "head_start", "unlimited", "identity", id_a), err, sizeof(err));
	v = cfg_values(c);
	assert_string_equal(visit_name(v, name), "a [2001:db8::1]:53/udp");
	assert_int_equal(v->head_start_ms, VISIT_ONLY_DIRECT);
	assert_int_equal(addr_port(&v->listen), 5353);
	assert_true(v->identity.set);
	cfg_free(c);
	c = visit(json_pack("{s:s, s:s, s:s, s:s}", "name", "desk", "agent", "a", "target", "pc:3389", "protocol", "udp"), err, sizeof(err));
	assert_string_equal(visit_name(cfg_values(c), name), "desk");
	cfg_free(c);
	assert_null(visit(json_pack("{s:s, s:s}", "agent", "a", "target", "pc"), err, sizeof(err)));
	assert_non_null(strstr(err, "needs a port"));
}

#define AGENT "agent: { server: t.example.org, "

static void entries_that_contradict_each_other_are_refused_with_their_reason(void **state)
{
	char yaml[600];

	(void)state;
	expect_error(AGENT "visits: [ { agent: a, target: \"pc\" } ] }", "needs a port");
	expect_error(AGENT "visits: [ { agent: a, target: \"pc:1\", identity: \"sha256:12\" } ] }", "64 hexadecimal digits");
	expect_error(AGENT "visits: [ { agent: a, target: \"pc:1\", listen: somewhere } ] }", "a port of 127.0.0.1");
	expect_error(AGENT "visits: [ { agent: a, target: \"pc:1\", listen: 65536 } ] }", "a port of 127.0.0.1");
	expect_error(AGENT "visits: [ { agent: a, target: \"pc:1\", head_start: soon } ] }", "head_start");
	expect_error(AGENT "visits: [ { agent: a, target: \"pc:1\" }, { agent: a, target: \"pc:1\" } ] }", "two visits are called a pc:1");
	expect_error(AGENT "visits: [ { agent: a, target: \"pc:1\", listen: 99 }, { agent: b, target: \"pc:1\", listen: \"127.0.0.1:99\" } ] }",
		     "a pc:1 listens there, too");
	(void)snprintf(yaml, sizeof(yaml), AGENT "visitors: [ { identity: \"%s\" }, { name: x, identity: \"%s\" } ] }", id_a, id_a);
	expect_error(yaml, "stands here twice");
	(void)snprintf(yaml, sizeof(yaml), AGENT "visitors: [ { identity: \"%s\", allow: [ \"10.1.0.25:\" ] } ] }", id_a);
	expect_error(yaml, "a prefix with or without ports");
}

static void what_may_stand_beside_each_other_does(void **state)
{
	struct cfg *c = NULL;

	(void)state;
	assert_int_equal(cfg_load_text(TEXT(AGENT "visits: [ { agent: a, target: \"pc:1\", listen: 99 }, { agent: a, target: \"pc:1\", protocol: udp, "
					    "listen: 99 }, { agent: b, target: \"pc:1\", head_start: unlimited } ] }"),
				       "test", &agent_cfg_root, &c), 0);
	agent_config_check(c);
	if (cfg_n_errors(c))
		fail_msg("%s", cfg_error(c, 0)->text);
	cfg_free(c);
}

static void a_known_agent_is_read_and_one_without_a_key_is_not(void **state)
{
	json_t *o = json_pack("{s:s, s:s, s:b, s:[s]}", "name", "laptop", "identity", id_a, "visitor", 1, "allow", "10.1.0.0/24:22");
	char err[300] = "", buf[IDENTITY_STRLEN];
	struct cfg *c = NULL;

	(void)state;
	assert_int_equal(peer_parse(o, err, sizeof(err), &c), 0);
	const struct peer_config *p = cfg_values(c);
	assert_string_equal(identity_print(&p->identity.id, buf), id_a);
	assert_true(p->visitor && !p->host && p->allow.n == 1);
	cfg_free(c);
	c = NULL;
	(void)json_object_del(o, "identity");
	assert_true(peer_parse(o, err, sizeof(err), &c) < 0);
	assert_null(c);
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_visitor_reaches_is_printed_as_it_is_read),
		cmocka_unit_test(prefix_and_ports_bound_what_is_reached),
		cmocka_unit_test(a_visit_has_the_name_it_was_given_or_its_way),
		cmocka_unit_test(entries_that_contradict_each_other_are_refused_with_their_reason),
		cmocka_unit_test(what_may_stand_beside_each_other_does),
		cmocka_unit_test(a_known_agent_is_read_and_one_without_a_key_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
