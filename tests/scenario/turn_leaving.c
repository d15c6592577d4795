/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener that was removed by a reload: the allocations that came through it go on, whoever wants a new one is
 * told to go elsewhere, and strangers hear nothing.
 */
#include "tests/scenario/turn_world.h"

static unsigned binding(struct client *c)
{
	begin(c, STUN_BINDING);
	c->unsigned_next = true;
	return ask(c);
}

static void an_allocation_on_a_removed_listener_goes_on(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&c), 0);
	assert_int_equal(bind_channel(&c, 0x4000, "9.9.9.9:53"), 0);
	c.leaving = true;
	channel_data(&c, 0x4000, "still here");
	assert_peer_got(w, "9.9.9.9:53", "still here");
	peer_says(w, &c.relay, "9.9.9.9:53", "so am I");
	assert_channel_got(&c, 0x4000, "so am I");
	assert_int_equal(permit(&c, "8.8.8.8"), 0);
	send_to(&c, "8.8.8.8:53", "a new peer");
	assert_peer_got(w, "8.8.8.8:53", "a new peer");
	assert_int_equal(refresh(&c, -1), 0);
	assert_int_equal(binding(&c), 0); /* the keep-alive of its own five-tuple */
	assert_int_equal(refresh(&c, 0), 0);
	assert_int_equal(allocate(&c), 508); /* but that was it */
}

static void a_new_allocation_is_refused_with_its_reason(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice"), wrong = client_udp(w, "192.0.2.2:4000", "alice");

	c.leaving = wrong.leaving = true;
	assert_int_equal(allocate(&c), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_LEAVING), 1);
	wrong.password = "wrong";
	assert_int_equal(allocate(&wrong), 401); /* who nobody knows learns nothing */
	c.leaving = false; /* through another listener */
	assert_int_equal(allocate(&c), 0);
}

static void it_is_sent_to_another_server_if_there_is_one(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");
	struct addr other = address("203.0.113.1:3478"), told;

	w->cfg.alternate_servers = (struct cfg_list){ &other, 1 };
	world_reload(w);
	c.leaving = true;
	assert_int_equal(allocate(&c), 300);
	assert_int_equal(stun_get_addr(&c.m, STUN_A_ALTERNATE_SERVER, &told), 0);
	assert_true(addr_equal(&told, &other));
}

static void a_stranger_hears_nothing_and_is_counted(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");

	c.leaving = true;
	assert_int_equal(binding(&c), NO_ANSWER);
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_LEAVING), 1);
	c.leaving = false;
	assert_int_equal(binding(&c), 0);
}

static void a_client_that_comes_back_with_its_ticket_is_let_in(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice"), there = client_udp(w, "192.0.2.9:9000", "alice");
	char ticket[TURN_TICKET_LEN];

	assert_int_equal(handshake(&c), 401);
	begin(&c, STUN_ALLOCATE);
	stun_put_u32(&c.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&c.sw, STUN_A_MOBILITY_TICKET, NULL, 0);
	assert_int_equal(read_allocation(&c, ask(&c)), 0);
	memcpy(ticket, c.m.attr[STUN_A_MOBILITY_TICKET].p, sizeof ticket);
	there.leaving = true;
	assert_int_equal(handshake(&there), 401);
	begin(&there, STUN_REFRESH);
	stun_put(&there.sw, STUN_A_MOBILITY_TICKET, ticket, sizeof ticket);
	assert_int_equal(ask(&there), 0);
	assert_int_equal(permit(&there, "9.9.9.9"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(an_allocation_on_a_removed_listener_goes_on),
		TALK(a_new_allocation_is_refused_with_its_reason),
		TALK(it_is_sent_to_another_server_if_there_is_one),
		TALK(a_stranger_hears_nothing_and_is_counted),
		TALK(a_client_that_comes_back_with_its_ticket_is_let_in),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
