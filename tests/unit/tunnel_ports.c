/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets which port of the server: ranges, the server's own ports, other agents' ports, ports that are kept while their
 * agent is away, and their way to the store and back. No sockets.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>

#include "tunnel/server/ports.h"

static const struct wire_range normal[] = { { 20000, 20009 } },
			       low[] = { { 20000, 20009 }, { 443, 443 } },
			       crossing[] = { { 20, 20009 } };
static struct cfg_list no_binds;

static const char *own(const struct addr *at, bool udp, void *arg)
{
	(void)arg;
	return !udp && addr_port(at) == 20005 ? "tunnel.listen" : NULL;
}

static struct ports *book(uint64_t most)
{
	struct ports *p = ports_new();

	assert_non_null(p);
	ports_set_rules(p, &(struct ports_rules){ .binds = &no_binds,
						  .bind = addr_v4(0, 0),
						  .most_ports = most,
						  .own = own });
	return p;
}

static struct ports_ask ask(uint8_t who, const char *job, uint16_t first, uint16_t count)
{
	struct ports_ask a = { .identity = { who },
			       .job = job,
			       .first = first,
			       .count = count,
			       .ranges = normal,
			       .n_ranges = 1 };

	return a;
}

static enum wire_reason claim(struct ports *p, const struct ports_ask *a, struct ports_grant *g)
{
	ports_claim(p, a, NULL, NULL, g);
	if (g->reason)
		assert_true(strlen(g->text) > 10);
	return g->reason;
}

static void a_port_is_given_only_within_the_agents_range(void **state)
{
	struct ports *p = book(100);
	struct ports_grant g;
	struct ports_ask a = ask(1, "web", 20000, 1);

	(void)state;
	assert_int_equal(claim(p, &a, &g), WIRE_R_NONE);
	assert_int_equal(addr_port(&g.at), 20000);
	a = ask(1, "out", 20010, 1);
	assert_int_equal(claim(p, &a, &g), WIRE_R_PORT_FORBIDDEN);
	a = ask(1, "edge", 20008, 3);
	assert_int_equal(claim(p, &a, &g), WIRE_R_PORT_FORBIDDEN);
	a = ask(1, "end", 65535, 2);
	assert_int_equal(claim(p, &a, &g), WIRE_R_PORT_FORBIDDEN);
	ports_free(p);
}

static void port_22_is_never_given_by_a_range_that_goes_beyond_1023(void **state)
{
	struct ports *p = book(100);
	struct ports_grant g;
	struct ports_ask a = ask(1, "ssh", 22, 1);

	(void)state;
	assert_int_equal(claim(p, &a, &g), WIRE_R_PORT_FORBIDDEN);
	a.ranges = crossing;
	assert_int_equal(claim(p, &a, &g), WIRE_R_PORT_FORBIDDEN);
	a = ask(1, "https", 443, 1);
	a.ranges = low;
	a.n_ranges = 2;
	assert_int_equal(claim(p, &a, &g), WIRE_R_NONE); /* told so */
	ports_free(p);
}

static void the_servers_own_ports_and_anothers_are_never_given(void **state)
{
	struct ports *p = book(100);
	struct ports_grant g;
	struct ports_ask a = ask(1, "own", 20005, 1), b = ask(1, "web", 20001, 1),
			 c = ask(2, "web", 20000, 2), u = ask(2, "dns", 20001, 1);

	(void)state;
	assert_int_equal(claim(p, &a, &g), WIRE_R_PORT_FORBIDDEN);
	assert_non_null(strstr(g.text, "tunnel.listen"));
	assert_int_equal(claim(p, &b, &g), WIRE_R_NONE);
	assert_int_equal(claim(p, &c, &g), WIRE_R_PORT_TAKEN);
	assert_non_null(strstr(g.text, "another agent"));
	u.udp = true;
	assert_int_equal(claim(p, &u, &g), WIRE_R_NONE); /* the other protocol's are other ports */
	c.bind = addr_v4(0x7f000001, 0);
	assert_int_equal(claim(p, &c, &g), WIRE_R_PORT_TAKEN); /* the wildcard has it there, too */
	ports_free(p);
}

static void a_port_stays_its_owners_while_he_is_away_and_ends_with_its_job(void **state)
{
	struct ports *p = book(100);
	struct ports_grant g;
	struct ports_ask a = ask(1, "web", 20001, 1), thief = ask(2, "web", 20001, 1);

	(void)state;
	assert_int_equal(claim(p, &a, &g), WIRE_R_NONE);
	assert_int_equal(claim(p, &thief, &g), WIRE_R_PORT_TAKEN);
	assert_int_equal(claim(p, &a, &g), WIRE_R_NONE); /* never "already used" to its owner */
	ports_release(p, a.identity, "web");
	assert_int_equal(claim(p, &thief, &g), WIRE_R_NONE);
	ports_release(p, thief.identity, "web");
	assert_int_equal(claim(p, &a, &g), WIRE_R_NONE);
	ports_free(p);
}

static bool first_half_busy(const struct addr *at, bool udp, void *arg)
{
	(void)udp;
	(void)arg;
	return addr_port(at) < 20005;
}

static void a_star_gets_a_free_port_and_keeps_it(void **state)
{
	struct ports *p = book(100);
	struct ports_grant g, again;
	struct ports_ask a = ask(1, "any", 0, 1);

	(void)state;
	ports_claim(p, &a, first_half_busy, NULL, &g);
	assert_int_equal(g.reason, WIRE_R_NONE);
	assert_in_range(addr_port(&g.at), 20006, 20009); /* 20005 is the server's own */
	for (unsigned i = 0; i < 20; i++) {
		ports_claim(p, &a, NULL, NULL, &again);
		assert_int_equal(again.reason, WIRE_R_NONE);
		assert_int_equal(addr_port(&again.at), addr_port(&g.at));
	}
	assert_int_equal(ports_of(p, a.identity), 1);
	ports_free(p);
}

static void an_agent_has_no_more_ports_than_it_may(void **state)
{
	struct ports *p = book(3);
	struct ports_grant g;
	struct ports_ask a = ask(1, "three", 20000, 3), b = ask(1, "one", 20006, 1),
			 c = ask(1, "three", 20000, 2);

	(void)state;
	assert_int_equal(claim(p, &a, &g), WIRE_R_NONE);
	assert_int_equal(claim(p, &b, &g), WIRE_R_LIMIT);
	assert_int_equal(claim(p, &c, &g), WIRE_R_NONE); /* changed: it has two now */
	assert_int_equal(claim(p, &b, &g), WIRE_R_NONE);
	ports_free(p);
}

static void keep(const char *key, json_t *c, void *arg)
{
	json_object_set_new(arg, key, c ? c : json_null());
}

static void *no_memory(size_t n)
{
	(void)n;
	return NULL;
}

static void a_claim_that_could_not_be_told_is_told_later(void **state)
{
	struct ports *p = book(100);
	struct ports_grant g;
	struct ports_ask a = ask(1, "web", 20001, 2);
	json_t *store = json_object();

	(void)state;
	assert_int_equal(claim(p, &a, &g), WIRE_R_NONE);
	json_set_alloc_funcs(no_memory, free);
	ports_changes(p, keep, store);
	json_set_alloc_funcs(malloc, free);
	assert_int_equal(json_object_size(store), 0); /* nor is it told as one that has gone */
	ports_changes(p, keep, store);
	assert_int_equal(json_object_size(store), 1);
	json_decref(store);
	ports_free(p);
}

static void claims_survive_a_restart_by_the_store(void **state)
{
	struct ports *p = book(100), *later = book(100);
	struct ports_grant g;
	struct ports_ask a = ask(1, "web", 20001, 2), thief = ask(2, "web", 20002, 1);
	json_t *store = json_object(), *c;
	const char *key;

	(void)state;
	assert_int_equal(claim(p, &a, &g), WIRE_R_NONE);
	ports_changes(p, keep, store);
	assert_int_equal(json_object_size(store), 1);
	json_object_foreach(store, key, c) assert_int_equal(ports_load(later, key, c), 0);
	assert_int_equal(claim(later, &thief, &g), WIRE_R_PORT_TAKEN);
	assert_int_equal(claim(later, &a, &g), WIRE_R_NONE);
	ports_release(later, a.identity, "web");
	ports_changes(later, keep, store);
	json_object_foreach(store, key, c) assert_true(json_is_null(c));
	assert_int_equal(ports_load(later, "nonsense", json_null()), -EINVAL);
	json_decref(store);
	ports_free(p);
	ports_free(later);
}

static bool is_known(const uint8_t identity[static WIRE_PIN], void *arg)
{
	(void)arg;
	return identity[0] != 9;
}

/* What an agent that was removed has left behind is in nobody's way, wherever it stands in the book. */
static void ports_of_a_removed_agent_are_given_to_others(void **state)
{
	struct ports *p = book(100);
	struct ports_grant g;

	(void)state;
	for (uint16_t i = 0; i < 3; i++) {
		struct ports_ask left = ask(9, (const char *[]){ "a", "b", "c" }[i], 20000 + i, 1);
		assert_int_equal(claim(p, &left, &g), WIRE_R_NONE);
	}
	ports_set_rules(p, &(struct ports_rules){ .binds = &no_binds, .bind = addr_v4(0, 0), .most_ports = 100, .own = own, .known = is_known });
	struct ports_ask all = ask(1, "web", 20000, 3), other = ask(1, "again", 20002, 1);
	assert_int_equal(claim(p, &all, &g), WIRE_R_NONE);
	assert_int_equal(ports_of(p, (const uint8_t[WIRE_PIN]){ 9 }), 0);
	assert_int_equal(claim(p, &other, &g), WIRE_R_PORT_TAKEN);
	assert_non_null(strstr(g.text, "the agent's job web"));
	ports_free(p);
}

static bool all_busy(const struct addr *at, bool udp, void *arg)
{
	(void)at;
	(void)udp;
	(void)arg;
	return true;
}

static void a_star_finds_nothing_where_all_is_taken_and_looks_through_all_ranges(void **state)
{
	static const struct wire_range two[] = { { 20000, 20000 }, { 20002, 20002 } };
	struct ports *p = book(100);
	struct ports_grant g;
	struct ports_ask a = ask(1, "first", 0, 1), b = ask(1, "second", 0, 1), c = ask(1, "third", 0, 1);

	(void)state;
	a.ranges = b.ranges = c.ranges = two;
	a.n_ranges = b.n_ranges = c.n_ranges = 2;
	ports_claim(p, &a, all_busy, NULL, &g);
	assert_int_equal(g.reason, WIRE_R_PORT_TAKEN);
	assert_int_equal(claim(p, &a, &g), WIRE_R_NONE);
	unsigned first = addr_port(&g.at);
	assert_int_equal(claim(p, &b, &g), WIRE_R_NONE);
	assert_int_equal(first + addr_port(&g.at), 20000 + 20002);
	assert_int_equal(claim(p, &c, &g), WIRE_R_PORT_TAKEN);
	assert_non_null(strstr(g.text, "no port that the agent may open is free"));
	ports_free(p);
}

static void a_job_appears_only_where_it_may(void **state)
{
	struct prefix may[1];
	const struct cfg_list binds = { may, 1 };
	struct ports *p = book(100);
	struct ports_grant g;
	struct ports_ask a = ask(1, "web", 20000, 1), v6 = ask(2, "six", 20000, 1);

	(void)state;
	assert_int_equal(prefix_parse(TEXT("192.0.2.0/24"), &may[0]), 0);
	ports_set_rules(p, &(struct ports_rules){ .binds = &binds, .bind = addr_v4(0, 0), .most_ports = 100, .own = own });
	a.bind = addr_v4(0xcb007101, 0);
	assert_int_equal(claim(p, &a, &g), WIRE_R_PORT_FORBIDDEN);
	assert_non_null(strstr(g.text, "jobs may not appear on 203.0.113.1"));
	a.bind = addr_v4(0xc0000201, 0);
	assert_int_equal(claim(p, &a, &g), WIRE_R_NONE);
	ports_set_rules(p, &(struct ports_rules){ .binds = &no_binds, .bind = addr_v4(0, 0), .most_ports = 100, .own = own });
	assert_int_equal(addr_parse(TEXT("::"), 0, &v6.bind), 0);
	assert_int_equal(claim(p, &v6, &g), WIRE_R_NONE); /* IPv6 sockets are IPv6 only: another place */
	ports_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_is_given_only_within_the_agents_range),
		cmocka_unit_test(port_22_is_never_given_by_a_range_that_goes_beyond_1023),
		cmocka_unit_test(the_servers_own_ports_and_anothers_are_never_given),
		cmocka_unit_test(a_port_stays_its_owners_while_he_is_away_and_ends_with_its_job),
		cmocka_unit_test(a_star_gets_a_free_port_and_keeps_it),
		cmocka_unit_test(an_agent_has_no_more_ports_than_it_may),
		cmocka_unit_test(a_claim_that_could_not_be_told_is_told_later),
		cmocka_unit_test(claims_survive_a_restart_by_the_store),
		cmocka_unit_test(ports_of_a_removed_agent_are_given_to_others),
		cmocka_unit_test(a_star_finds_nothing_where_all_is_taken_and_looks_through_all_ranges),
		cmocka_unit_test(a_job_appears_only_where_it_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
