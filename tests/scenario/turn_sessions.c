/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an administrator sees and does: sessions paged by id, kill, and the recent refusals with their
 * reasons.
 */
#include "tests/scenario/turn_world.h"

struct page {
	unsigned n;
	struct turn_session_info rows[8];
};

static void add(const struct turn_session_info *i, void *arg)
{
	struct page *p = arg;
	p->rows[p->n++] = *i;
}

static void a_session_shows_who_where_and_how_much(void **state)
{
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:4000", "alice");
	struct page p = { 0 };

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(permit(&alice, "9.9.9.8"), 0);
	channel_data(&alice, 0x4000, "12345");
	peer_says(w, &alice.relay, "9.9.9.8:1", "123");
	world_wait(w, 300000);
	turn_server_sessions(w->server, &(struct turn_session_query){ .after_id = 0, .limit = 8 }, w->now, add, &p);
	assert_int_equal(p.n, 1);
	assert_string_equal(p.rows[0].user, "alice");
	assert_string_equal(p.rows[0].transport, "tcp");
	assert_true(addr_equal(&p.rows[0].client, &alice.path.client));
	assert_true(addr_equal(&p.rows[0].relay, &alice.relay));
	assert_int_equal(p.rows[0].packets_up, 1);
	assert_int_equal(p.rows[0].bytes_up, 5);
	assert_int_equal(p.rows[0].packets_down, 1);
	assert_int_equal(p.rows[0].bytes_down, 3);
	assert_int_equal(w->now - p.rows[0].created_ms, 300000);
	assert_int_equal(p.rows[0].expires_ms - w->now, 300000);
	assert_int_equal(p.rows[0].permissions, 0); /* both have ended */
	assert_int_equal(p.rows[0].channels, 1);
}

static void sessions_are_paged_in_the_order_of_their_ids(void **state)
{
	struct world *w = *state;
	struct page first = { 0 }, second = { 0 };

	for (unsigned i = 0; i < 5; i++) {
		char at[32];
		snprintf(at, sizeof at, "192.0.2.1:%u", 100 + i);
		struct client c = client_udp(w, at, "alice");
		assert_int_equal(allocate(&c), 0);
	}
	turn_server_sessions(w->server, &(struct turn_session_query){ .after_id = 0, .limit = 3 }, w->now, add, &first);
	assert_int_equal(first.n, 3);
	turn_server_sessions(w->server, &(struct turn_session_query){ .after_id = first.rows[2].id, .limit = 3 }, w->now, add, &second);
	assert_int_equal(second.n, 2);
	assert_true(first.rows[0].id < first.rows[1].id && first.rows[2].id < second.rows[0].id);
	assert_int_equal(addr_port(&second.rows[1].client), 104);
}

static void a_killed_session_is_gone_and_its_connection_closed(void **state)
{
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:4000", "alice");
	struct page p = { 0 };

	assert_int_equal(allocate(&alice), 0);
	turn_server_sessions(w->server, &(struct turn_session_query){ .after_id = 0, .limit = 8 }, w->now, add, &p);
	assert_false(turn_server_kill(w->server, p.rows[0].id + 256, w->now));
	assert_true(turn_server_kill(w->server, p.rows[0].id, w->now));
	assert_int_equal(w->n_relays, 0);
	assert_int_equal(w->n_closed_paths, 1);
	assert_int_equal(counted(w, TURN_M_ALLOCATIONS_ENDED, TURN_END_KILLED), 1);
	assert_false(turn_server_kill(w->server, p.rows[0].id, w->now));
}

struct refusals {
	unsigned n;
	struct turn_refused last[3];
};

static bool collect(const struct turn_refused *r, void *arg)
{
	struct refusals *rs = arg;

	rs->last[rs->n++] = *r;
	return rs->n < 3;
}

static void recent_refusals_say_who_and_why_newest_first(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct refusals rs = { 0 };

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "10.1.2.3"), 403);
	world_wait(w, 1000);
	assert_int_equal(bind_channel(&alice, 0x1000, "9.9.9.9:1"), 400);
	turn_refusals_each(turn_server_refusals(w->server), collect, &rs);
	assert_int_equal(rs.n, 2);
	assert_string_equal(rs.last[0].user, "alice");
	assert_string_equal(rs.last[0].reason,
			    "the channel cannot be bound: its number is not in 0x4000-0x7FFF");
	assert_int_equal(rs.last[0].at_ms, w->now);
	assert_int_equal(turn_refusal_rows[rs.last[1].what].code, 403);
	assert_non_null(strstr(rs.last[1].reason, "10.1.2.3: private (RFC 1918), refused by default"));
	assert_true(addr_equal(&rs.last[1].client, &alice.path.client));
}

static bool collect_all(const struct turn_refused *r, void *arg)
{
	struct turn_refused **end = arg;

	*(*end)++ = *r;
	return true;
}

static void forged_packets_do_not_wash_away_what_real_clients_were_told(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct turn_refused all[TURN_REFUSALS_KEPT + TURN_REFUSALS_UNPROVEN], *end = all;
	uint8_t bad[] = { 0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 6, 0, 9 };

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "10.0.0.1"), 403);
	w->lossy = true;
	for (unsigned i = 0; i < 1000; i++) {
		struct turn_path forged = alice.path;
		forged.client = addr_v4(0xc0000200 + i % 200, 999);
		turn_input(w->server, &forged,
			   &(struct turn_packet){ .data = bad, .n = sizeof bad, .mark = DGRAM_MARK_NONE }, ++w->now);
	}
	turn_refusals_each(turn_server_refusals(w->server), collect_all, &end);
	assert_int_equal(end - all, TURN_REFUSALS_UNPROVEN + 1);
	assert_int_equal(all[0].what, TURN_REFUSE_MALFORMED);
	assert_true(all[0].unproven);
	assert_int_equal(end[-1].what, TURN_REFUSE_PEER);
	assert_string_equal(end[-1].user, "alice");
}

static void no_more_lines_of_one_kind_than_a_second_can_bear(void **state)
{
	struct log_gate g = { 0 };
	uint64_t suppressed = 99;

	(void)state;
	for (unsigned i = 0; i < LOG_GATE_LINES; i++)
		assert_true(log_gate_pass(&g, 5000, &suppressed));
	assert_int_equal(suppressed, 0);
	for (unsigned i = 0; i < 7; i++)
		assert_false(log_gate_pass(&g, 5999, &suppressed));
	assert_true(log_gate_pass(&g, 6000, &suppressed));
	assert_int_equal(suppressed, 7);
	assert_true(log_gate_pass(&g, 6000, &suppressed));
	assert_int_equal(suppressed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(a_session_shows_who_where_and_how_much),
		TALK(sessions_are_paged_in_the_order_of_their_ids),
		TALK(a_killed_session_is_gone_and_its_connection_closed),
		TALK(recent_refusals_say_who_and_why_newest_first),
		TALK(forged_packets_do_not_wash_away_what_real_clients_were_told),
		TALK(no_more_lines_of_one_kind_than_a_second_can_bear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
