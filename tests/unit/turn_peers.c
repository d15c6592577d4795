/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn/peers.c: who may be reached through the relay. The table holds every kind of address that is
 * refused as installed, in every spelling, among them those of the advisories against other servers:
 * 0.0.0.0, ::, ::1 and ::ffff:127.0.0.1 (CVE-2020-26262), NAT64, 6to4 and Teredo forms.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "turn/policy.h"
#include "turn/relay_addresses.h"

static struct addr at(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(text_of(s), 4000, &a), 0);
	return a;
}

struct rules {
	const char *allow[4], *deny[4], *relay[4], *external[4];
};

static struct cfg_list prefixes(const char *const *s, struct prefix *out)
{
	struct cfg_list l = { .items = out };

	for (; l.n < 4 && s[l.n]; l.n++)
		assert_int_equal(prefix_parse(text_of(s[l.n]), &out[l.n]), 0);
	return l;
}

static struct cfg_list addresses(const char *const *s, struct addr *out)
{
	struct cfg_list l = { .items = out };

	for (; l.n < 4 && s[l.n]; l.n++)
		out[l.n] = at(s[l.n]);
	return l;
}

static struct turn_policy *policy_of(const struct rules *r)
{
	struct prefix allow[4], deny[4];
	struct addr relay[4], external[4];
	struct turn_config cfg = {
		.realm = "test",
		.password = "some password",
		.peers = { .allow = prefixes(r->allow, allow), .deny = prefixes(r->deny, deny) },
		.relay = { .addresses = addresses(r->relay, relay), .outside = addresses(r->external, external) },
	};
	struct turn_policy *p = NULL;
	char err[256];

	assert_int_equal(turn_policy_new(&cfg, NULL, 0, err, sizeof(err), &p), 0);
	return p;
}

/* Advisory: CVE-2020-26262, CVE-2026-27624, embedded IPv4. */
static void everything_but_public_unicast_is_refused_in_every_spelling(void **state)
{
	static const char *const refused[] = {
		/* clang-format off */
		/* unspecified and "this network" */
		"0.0.0.0", "0.1.2.3", "0.255.255.255", "::", "::ffff:0.0.0.0", "::ffff:0.1.2.3", "::0.0.0.2", "64:ff9b::",
		"64:ff9b::0.0.0.1", "2002::", "2002:0:1::1", "2001:0:4136:e378:8000:63bf:ffff:ffff",
		/* loopback */
		"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::127.0.0.53",
		"2002:7f00:1::", "2002:7f00:0001:1:2:3:4:5", "2001:0:4136:e378:8000:63bf:80ff:fffe", "::ffff:0:127.0.0.1",
		/* RFC 1918 */
		"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "::ffff:10.1.2.3", "::10.1.2.3",
		"::ffff:192.168.1.1", "64:ff9b::10.1.2.3", "64:ff9b::ac10:1", "2002:a01:203::1", "2002:c0a8:101::1",
		"2001:0:1:2:3:4:f5fe:fdfc", "64:ff9b:1::10.0.0.1", "64:ff9b:1:abcd::1",
		/* CGNAT */
		"100.64.0.1", "100.127.255.255", "::ffff:100.64.0.1", "64:ff9b::100.64.0.1", "2002:6440:1::",
		/* link-local, with the metadata services of clouds */
		"169.254.0.1", "169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
		"2002:a9fe:a9fe::", "2001:0:1:2:3:4:5601:5601",
		/* multicast and broadcast */
		"224.0.0.1", "239.255.255.250", "255.255.255.255", "ff02::1", "ff0e::1", "::ffff:224.0.0.1", "64:ff9b::ffff:ffff",
		"2002:e000:1::", "2001:0:1:2:3:4:1fff:fffe",
		/* unique-local and site-local */
		"fc00::1", "fd12:3456:789a::1", "fec0::1",
		/* documentation */
		"192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "::ffff:192.0.2.1", "2002:c000:201::",
		/* reserved, benchmarking, protocol assignments, never given out */
		"192.0.0.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "240.0.0.1", "255.255.255.254", "100::1", "2001:2::1",
		"2001:10::1", "5f00::1", "4000::1", "e000::1", "::ffff:240.0.0.1", "0:0:0:1::1",
		/* clang-format on */
	};
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = policy_of(&(struct rules){ 0 });

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct addr a = at(refused[i]);
		struct turn_verdict v = turn_policy_peer(p, turn_policy_realm(p, 0), &a);

		if (v.allowed)
			fail_msg("%s was allowed: %s", refused[i], v.rule);
		assert_non_null(strstr(v.rule, "refused by default"));
		assert_false(turn_policy_is_own(p, turn_policy_realm(p, 0), &a));
	}
}

static void public_unicast_is_allowed(void **state)
{
	static const char *const allowed[] = {
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.20.0.0",
		"223.255.255.255", "2a00:1450::1", "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::1",
	};
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = policy_of(&(struct rules){ 0 });

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
		struct addr a = at(allowed[i]);
		struct turn_verdict v = turn_policy_peer(p, turn_policy_realm(p, 0), &a);

		if (!v.allowed)
			fail_msg("%s was refused: %s", allowed[i], v.rule);
	}
}

static void rules_decide_in_their_order_and_name_themselves(void **state)
{
	static const struct {
		const char *peer;
		bool allowed;
		const char *rule;
	} rows[] = {
		{ "10.1.2.3", true, "turn.peers.allow 10.0.0.0/8" },
		{ "10.9.0.1", false, "turn.peers.deny 10.9.0.0/16" },
		{ "::ffff:10.9.0.1", false, "turn.peers.deny 10.9.0.0/16" },
		{ "64:ff9b::10.1.2.3", true, "turn.peers.allow 10.0.0.0/8" },
		{ "2002:a09:1::1", false, "turn.peers.deny 10.9.0.0/16" },
		{ "8.8.8.8", false, "turn.peers.deny 8.8.8.0/24" },
		{ "8.8.9.8", true, "global, allowed by default" },
		{ "2002:909:909::1", true, "global, allowed by default" },
		{ "64:ff9b::8.8.9.9", false, "turn.peers.deny 64:ff9b::/96" },
		{ "fd00::1", true, "turn.peers.allow fd00::/16" },
		{ "fd01::1", false, "unique" },
		{ "127.0.0.1", false, "loopback" },
		{ "192.168.0.1", false, "private (RFC 1918), refused by default" },
	};
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = policy_of(&(struct rules){
		.allow = { "10.0.0.0/8", "fd00::/16" }, .deny = { "10.9.0.0/16", "8.8.8.0/24" } });
	_cleanup_(turn_policy_unrefp) struct turn_policy *nat64 =
		policy_of(&(struct rules){ .deny = { "64:ff9b::/96" } });

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool raw = strstr(rows[i].rule, "64:ff9b") != NULL;
		struct addr a = at(rows[i].peer);
		struct turn_verdict v = turn_policy_peer(raw ? nat64 : p, turn_policy_realm(p, 0), &a);

		if (v.allowed != rows[i].allowed || !strstr(v.rule, rows[i].rule))
			fail_msg("%s: %d '%s'", rows[i].peer, v.allowed, v.rule);
	}
}

static void deny_beats_allow_whichever_is_longer(void **state)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p =
		policy_of(&(struct rules){ .allow = { "10.1.2.0/24" }, .deny = { "10.0.0.0/8" } });
	struct addr a = at("10.1.2.3");

	(void)state;
	assert_false(turn_policy_peer(p, turn_policy_realm(p, 0), &a).allowed);
}

/* Advisory: CVE-2026-27624. */
static void an_allowed_spelling_lifts_no_rule(void **state)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p =
		policy_of(&(struct rules){ .allow = { "2002::/16", "::ffff:0:0/96", "64:ff9b::/96", "2001::/32" } });
	static const char *const peers[] = { "2002:7f00:1::", "::ffff:127.0.0.1", "64:ff9b::10.0.0.1",
					     "2001:0:4136:e378:8000:63bf:80ff:fffe" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
		struct addr a = at(peers[i]);

		assert_false(turn_policy_peer(p, turn_policy_realm(p, 0), &a).allowed);
	}
}

static void own_addresses_are_refused_but_for_relays(void **state)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = policy_of(&(struct rules){
		.relay = { "9.9.9.9", "2a00::9" }, .external = { "7.7.7.7", "2a00::7" } });
	const struct turn_relay_pair former = { at("9.9.9.9"), at("6.6.6.6") }, *pairs;
	size_t n;
	struct addr own[] = { at("9.9.9.9"), at("127.0.0.1"), at("9.9.9.10"), at("2a00::10") };
	static const struct {
		const char *peer;
		bool relay;
	} rows[] = {
		{ "7.7.7.7", true },	     { "::ffff:7.7.7.7", true }, { "2002:707:707::1", true },
		{ "64:ff9b::7.7.7.7", true }, { "2a00::7", true },	 { "2a00::9", false },
		{ "9.9.9.9", false },	     { "6.6.6.6", true },	     { "9.9.9.10", false },	 { "::ffff:9.9.9.10", false },
		{ "2a00::10", false },	     { "127.0.0.1", false },
	};

	(void)state;
	assert_int_equal(turn_policy_set_own(p, own, ARRAY_LEN(own)), 0);
	assert_int_equal(turn_policy_set_former(p, &former, 1), 0);
	pairs = turn_policy_pairs(p, &n);
	assert_int_equal(n, 3);
	assert_true(addr_equal_ip(&pairs[2].outside, &former.outside));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct addr a = at(rows[i].peer);
		struct turn_verdict v = turn_policy_peer(p, turn_policy_realm(p, 0), &a);

		if (v.allowed || turn_policy_is_own(p, turn_policy_realm(p, 0), &a) != rows[i].relay)
			fail_msg("%s", rows[i].peer);
		assert_string_equal(v.rule, "an address of this server, refused by default");
	}
}

static void a_rule_about_an_own_address_decides(void **state)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = policy_of(&(struct rules){
		.allow = { "127.0.0.0/8" }, .deny = { "9.9.9.9" }, .relay = { "127.0.0.1", "9.9.9.9" } });
	struct addr lo = at("127.0.0.1"), denied = at("9.9.9.9");

	(void)state;
	assert_int_equal(turn_policy_set_own(p, &lo, 1), 0);
	assert_false(turn_policy_is_own(p, turn_policy_realm(p, 0), &lo));
	assert_true(turn_policy_peer(p, turn_policy_realm(p, 0), &lo).allowed);
	assert_false(turn_policy_is_own(p, turn_policy_realm(p, 0), &denied));
	assert_false(turn_policy_peer(p, turn_policy_realm(p, 0), &denied).allowed);
}

static void a_relay_on_loopback_is_still_only_a_relay(void **state)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = policy_of(&(struct rules){ .relay = { "127.0.0.1" } });
	struct addr lo = at("127.0.0.1"), other = at("127.0.0.2");

	(void)state;
	assert_true(turn_policy_is_own(p, turn_policy_realm(p, 0), &lo));
	assert_false(turn_policy_peer(p, turn_policy_realm(p, 0), &lo).allowed);
	assert_false(turn_policy_is_own(p, turn_policy_realm(p, 0), &other));
	assert_false(turn_policy_peer(p, turn_policy_realm(p, 0), &other).allowed);
}

static void an_address_of_no_family_is_refused(void **state)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p =
		policy_of(&(struct rules){ .allow = { "0.0.0.0/0", "::/0" } });
	struct addr none = { 0 };

	(void)state;
	assert_false(turn_policy_peer(p, turn_policy_realm(p, 0), &none).allowed);
	assert_false(turn_policy_is_own(p, turn_policy_realm(p, 0), &none));
}

/* ---- which addresses are this machine's ---- */

enum { MANY = 5000 };
static struct ifaddrs links[MANY];
static struct addr link_at[MANY];

/* The i-th address that getifaddrs() tells. */
static void has(size_t i, struct addr a)
{
	link_at[i] = a;
	links[i] = (struct ifaddrs){ .ifa_addr = &link_at[i].sa };
	if (i)
		links[i - 1].ifa_next = &links[i];
}

/* As a host of many containers has them: a link-local address for each, and its own ones last. */
static void an_own_address_behind_many_others_is_known(void **state)
{
	static struct turn_own_set own;
	uint8_t ip[16] = { 0xfe, 0x80 };

	(void)state;
	has(0, at("127.0.0.1"));
	for (size_t i = 1; i < 4000; i++) {
		ip[14] = (uint8_t)(i >> 8);
		ip[15] = (uint8_t)i;
		has(i, addr_v6(ip, 0));
	}
	for (unsigned i = 4000; i < 4100; i++)
		has(i, addr_v4(0xcb007100 + i % 100, 0));
	has(4100, at("2001:4860::1"));
	assert_int_equal(turn_own_read(links, &own), 0);
	assert_int_equal(own.n, 101);
	struct addr last = at("2001:4860::1");
	assert_true(addr_equal_ip(&own.v[100], &last));
}

static void more_own_addresses_than_can_be_known_are_an_error(void **state)
{
	static struct turn_own_set own;

	(void)state;
	for (unsigned i = 0; i <= TURN_MAX_MACHINE; i++)
		has(i, addr_v4(0x0a000000 + i, 0));
	links[TURN_MAX_MACHINE - 1].ifa_next = NULL;
	assert_int_equal(turn_own_read(links, &own), 0);
	links[TURN_MAX_MACHINE - 1].ifa_next = &links[TURN_MAX_MACHINE];
	assert_int_equal(turn_own_read(links, &own), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_but_public_unicast_is_refused_in_every_spelling),
		cmocka_unit_test(public_unicast_is_allowed),
		cmocka_unit_test(rules_decide_in_their_order_and_name_themselves),
		cmocka_unit_test(deny_beats_allow_whichever_is_longer),
		cmocka_unit_test(an_allowed_spelling_lifts_no_rule),
		cmocka_unit_test(own_addresses_are_refused_but_for_relays),
		cmocka_unit_test(a_rule_about_an_own_address_decides),
		cmocka_unit_test(a_relay_on_loopback_is_still_only_a_relay),
		cmocka_unit_test(an_address_of_no_family_is_refused),
		cmocka_unit_test(an_own_address_behind_many_others_is_known),
		cmocka_unit_test(more_own_addresses_than_can_be_known_are_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
