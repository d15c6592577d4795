/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EVEN-PORT and RESERVATION-TOKEN (RFC 8656 7.2, 18.6): the port above is really held, for 30 s, for its user,
 * and counts.
 */
#include "tests/scenario/turn_world.h"
#include <errno.h>

static unsigned allocate_even(struct client *c, bool reserve)
{
	if (!c->nonce[0])
		assert_int_equal(handshake(c), 401);
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&c->sw, STUN_A_EVEN_PORT, reserve ? "\x80" : "\0", 1);
	return read_allocation(c, ask(c));
}

static unsigned allocate_reserved(struct client *c, const uint8_t token[8])
{
	if (!c->nonce[0])
		assert_int_equal(handshake(c), 401);
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&c->sw, STUN_A_RESERVATION_TOKEN, token, 8);
	return read_allocation(c, ask(c));
}

static void an_even_port_is_even(void **state)
{
	struct world *w = *state;

	w->cfg.relay.ports = (struct cfg_port_range){ 50001, 50009 };
	world_reload(w);
	for (unsigned i = 0; i < 4; i++) {
		char at[32];
		snprintf(at, sizeof at, "192.0.2.1:%u", 100 + i);
		struct client c = client_udp(w, at, "alice");
		assert_int_equal(allocate_even(&c, false), 0);
		assert_int_equal(addr_port(&c.relay) % 2, 0);
		assert_false(c.has_token);
	}
	struct client fifth = client_udp(w, "192.0.2.1:1", "alice");
	assert_int_equal(allocate_even(&fifth, false), 508);
	assert_int_equal(allocate(&fifth), 0);
}

static void the_port_above_is_held_and_handed_out_by_token(void **state)
{
	struct world *w = *state;
	struct client rtp = client_udp(w, "192.0.2.1:1", "alice"),
		      rtcp = client_udp(w, "192.0.2.1:2", "alice");

	assert_int_equal(allocate_even(&rtp, true), 0);
	assert_true(rtp.has_token);
	assert_int_equal(addr_port(&rtp.relay) % 2, 0);
	assert_int_equal(w->n_held, 1);
	assert_int_equal(ask_again(&rtp), 0); /* a retransmission: the same token, no second socket */
	assert_memory_equal(rtp.m.attr[STUN_A_RESERVATION_TOKEN].p, rtp.token, 8);
	assert_int_equal(w->n_held, 1);
	assert_int_equal(allocate_reserved(&rtcp, rtp.token), 0);
	assert_int_equal(addr_port(&rtcp.relay), addr_port(&rtp.relay) + 1);
	assert_int_equal(w->n_held, 0);
	assert_int_equal(turn_totals_allocations(w->totals), 2);
	assert_int_equal(permit(&rtcp, "9.9.9.9"), 0);
	send_to(&rtcp, "9.9.9.9:9", "rtcp");
	assert_peer_got(w, "9.9.9.9:9", "rtcp");
}

/* What clients are told of the relay addresses; NULL: of the first it is not known. */
static void tell(struct world *w, const char *outside)
{
	w->external_addresses[0] = outside ? address(outside) : (struct addr){ 0 };
	w->external_addresses[1] = w->relay_addresses[1];
	w->cfg.relay.outside = (struct cfg_list){ w->external_addresses, 2 };
	world_reload(w);
}

static void a_held_port_has_the_address_of_its_pair_whatever_is_told_since(void **state)
{
	static const char *const since[] = { "9.9.9.88", NULL };
	struct world *w = *state;

	for (unsigned i = 0; i < 2; i++) {
		struct client rtp = client_udp(w, i ? "192.0.2.1:1" : "192.0.2.1:2", "alice");
		struct client rtcp = client_udp(w, i ? "192.0.2.1:3" : "192.0.2.1:4", "alice");
		struct addr next;

		tell(w, "9.9.9.77");
		assert_int_equal(allocate_even(&rtp, true), 0);
		tell(w, since[i]);
		assert_int_equal(allocate_reserved(&rtcp, rtp.token), 0);
		next = rtp.relay;
		addr_set_port(&next, (uint16_t)(addr_port(&rtp.relay) + 1));
		assert_true(addr_equal(&rtcp.relay, &next));
		assert_true(turn_totals_is_relay(w->totals, &next));
	}
}

static void a_held_port_that_cannot_be_handed_over_is_let_go(void **state)
{
	struct world *w = *state;
	struct client rtp = client_udp(w, "192.0.2.1:1", "alice"), rtcp = client_udp(w, "192.0.2.1:2", "alice");

	assert_int_equal(allocate_even(&rtp, true), 0);
	w->open_error = -EMFILE;
	assert_int_equal(allocate_reserved(&rtcp, rtp.token), 508);
	w->open_error = 0;
	assert_int_equal(w->n_held, 0);
	assert_int_equal(turn_totals_allocations(w->totals), 1); /* its place is free again */
	assert_int_equal(allocate(&rtcp), 0);
}

static void no_more_ports_are_held_than_the_table_has_room_for(void **state)
{
	struct world *w = *state;
	char at[32];

	w->cfg.limits.allocations = w->cfg.limits.allocations_per_user = 10000;
	world_reload(w);
	for (unsigned i = 0; i <= TURN_RESERVATIONS_MAX; i++) {
		snprintf(at, sizeof at, "192.0.2.1:%u", 100 + i);
		struct client c = client_udp(w, at, "alice");
		bool room = i < TURN_RESERVATIONS_MAX;
		assert_int_equal(allocate_even(&c, true), room ? 0 : 508);
		if (room)
			assert_int_equal(refresh(&c, 0), 0);
	}
	assert_int_equal(w->n_held, TURN_RESERVATIONS_MAX);
	assert_int_equal(w->n_relays, 0);
	assert_int_equal(turn_totals_allocations(w->totals), TURN_RESERVATIONS_MAX);
	world_wait(w, TURN_RESERVATION_MS);
	assert_int_equal(w->n_held, 0);
	assert_int_equal(turn_totals_allocations(w->totals), 0);
}

static void a_token_is_good_once_and_for_its_user(void **state)
{
	struct world *w = *state;
	struct client rtp = client_udp(w, "192.0.2.1:1", "alice"),
		      thief = client_udp(w, "192.0.2.1:2", "bob"),
		      rtcp = client_udp(w, "192.0.2.1:3", "alice"),
		      again = client_udp(w, "192.0.2.1:4", "alice");

	assert_int_equal(allocate_even(&rtp, true), 0);
	assert_int_equal(allocate_reserved(&thief, rtp.token), 508);
	assert_int_equal(allocate_reserved(&rtcp, rtp.token), 0);
	assert_int_equal(allocate_reserved(&again, rtp.token), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_RESERVATION), 2);
}

static void a_reservation_ends_after_30_s(void **state)
{
	struct world *w = *state;
	struct client rtp = client_udp(w, "192.0.2.1:1", "alice"),
		      rtcp = client_udp(w, "192.0.2.1:2", "alice");

	assert_int_equal(allocate_even(&rtp, true), 0);
	world_wait(w, 29999);
	assert_int_equal(w->n_held, 1);
	world_wait(w, 1);
	assert_int_equal(w->n_held, 0);
	assert_int_equal(turn_totals_allocations(w->totals), 1);
	assert_int_equal(allocate_reserved(&rtcp, rtp.token), 508);
	assert_int_equal(allocate_even(&rtcp, true), 0); /* the timer runs for later ones too */
	world_wait(w, 30000);
	assert_int_equal(w->n_held, 0);
}

static void a_held_port_counts_as_an_allocation_of_its_user(void **state)
{
	struct world *w = *state;
	struct client one = client_udp(w, "192.0.2.1:1", "alice"),
		      two = client_udp(w, "192.0.2.1:2", "alice");

	w->cfg.limits.allocations_per_user = 2;
	world_reload(w);
	assert_int_equal(allocate_even(&one, true), 0);
	assert_int_equal(allocate(&two), 486);
	assert_int_equal(allocate_reserved(&two, one.token), 0); /* it has its place already */
	assert_int_equal(refresh(&two, 0), 0);
	assert_int_equal(allocate_even(&two, true), 486); /* there is one place, a pair needs two */
	assert_int_equal(allocate(&two), 0);
}

static void a_pair_needs_both_ports_free(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");

	w->cfg.relay.ports = (struct cfg_port_range){ 50000, 50003 };
	w->foreign[0] = 50001;
	world_reload(w);
	assert_int_equal(allocate_even(&alice, true), 0);
	assert_int_equal(addr_port(&alice.relay), 50002);
	struct client bob = client_udp(w, "192.0.2.1:2", "bob");
	assert_int_equal(allocate_even(&bob, true), 508);
	assert_int_equal(w->n_relays, 1); /* the even one was given back */
	assert_int_equal(w->n_held, 1);
}

static void a_token_goes_with_no_other_wish_for_a_port(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");

	assert_int_equal(handshake(&alice), 401);
	begin(&alice, STUN_ALLOCATE);
	stun_put_u32(&alice.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&alice.sw, STUN_A_RESERVATION_TOKEN, "12345678", 8);
	stun_put(&alice.sw, STUN_A_EVEN_PORT, "\0", 1);
	assert_int_equal(ask(&alice), 400);
	assert_int_equal(allocate_reserved(&alice, (const uint8_t *)"12345678"), 508);
}

static void what_is_held_at_the_end_is_closed(void **state)
{
	struct client alice = client_udp(*state, "192.0.2.1:1", "alice");

	assert_int_equal(allocate_even(&alice, true), 0);
	/* world_stop() looks */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(an_even_port_is_even),
		TALK(the_port_above_is_held_and_handed_out_by_token),
		TALK(a_held_port_has_the_address_of_its_pair_whatever_is_told_since),
		TALK(a_held_port_that_cannot_be_handed_over_is_let_go),
		TALK(no_more_ports_are_held_than_the_table_has_room_for),
		TALK(a_token_is_good_once_and_for_its_user),
		TALK(a_reservation_ends_after_30_s),
		TALK(a_held_port_counts_as_an_allocation_of_its_user),
		TALK(a_pair_needs_both_ports_free),
		TALK(a_token_goes_with_no_other_wish_for_a_port),
		TALK(what_is_held_at_the_end_is_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
