/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels in the kernel (turn/offload.h), on fake time and with a kernel that only remembers: which channels
 * it is given, until when, what ends them there, and where its counters go.
 */
#include "tests/scenario/turn_world.h"

enum { HANDLES = 16 };

static struct fake {
	bool there;
	struct fast_channel c;
	uint64_t until;
	struct turn_offload_counts n; /* not taken yet */
	enum fast_why why;
} fakes[HANDLES];
static unsigned n_there, n_added;
static bool no_memory;

static uint32_t fake_add(void *edge, struct turn_relay *r, const struct fast_channel *c, uint64_t until)
{
	(void)edge;
	assert_non_null(r);
	if (no_memory)
		return 0;
	for (uint32_t i = 0; i < HANDLES; i++) {
		if (fakes[i].there)
			continue;
		fakes[i] = (struct fake){ .there = true, .c = *c, .until = until };
		n_there++;
		n_added++;
		return i + 1;
	}
	return 0;
}

static void fake_until(void *edge, uint32_t h, uint64_t until)
{
	(void)edge;
	assert_true(fakes[h - 1].there);
	fakes[h - 1].until = until;
}

static void fake_take(void *edge, uint32_t h, struct turn_offload_counts *ret_c)
{
	(void)edge;
	assert_true(fakes[h - 1].there);
	*ret_c = fakes[h - 1].n;
	fakes[h - 1].n = (struct turn_offload_counts){ 0 };
}

static void fake_remove(void *edge, uint32_t h, struct turn_offload_counts *ret_c)
{
	fake_take(edge, h, ret_c);
	fakes[h - 1].there = false;
	n_there--;
}

static enum fast_why fake_why(void *edge, uint32_t h)
{
	(void)edge;
	assert_true(fakes[h - 1].there);
	return fakes[h - 1].why;
}

static const struct turn_offload_ops fake_ops = { fake_add, fake_until, fake_take, fake_remove, fake_why };

static void prepare(struct world *w)
{
	world_config(w);
	w->offload = &fake_ops;
	world_start(w);
	turn_server_set_offload(w->server, true);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	memset(fakes, 0, sizeof fakes);
	n_there = n_added = 0;
	no_memory = false;
	prepare(w);
	*state = w;
	return 0;
}

/* Whatever the test did: with the server's end nothing is left in the kernel. */
static int teardown(void **state)
{
	struct world *w = *state;

	world_stop(w);
	free(w);
	return (int)n_there;
}

static struct fake *only(void)
{
	assert_int_equal(n_there, 1);
	for (unsigned i = 0; i < HANDLES; i++)
		if (fakes[i].there)
			return &fakes[i];
	return NULL;
}

static uint64_t why(struct world *w, enum fast_why what)
{
	uint64_t n[FAST_WHYS] = { 0 };

	turn_server_why_offload(w->server, w->now, n);
	return n[what];
}

static void a_bound_channel_is_offered_with_its_addresses(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(n_there, 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	struct fast_channel c = only()->c, want = { .client = address("192.0.2.1:4000"), .peer = address("9.9.9.9:53") };
	assert_true(addr_equal(&c.client, &want.client) && addr_equal(&c.peer, &want.peer));
	assert_true(addr_equal(&c.local, &alice.path.local) && addr_equal(&c.relay, &alice.relay));
	assert_int_equal(c.number, 0x4000);
	assert_int_equal(why(w, FAST_OFFLOADED), 1);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(n_added, 1);
}

static void it_lasts_as_long_as_permission_channel_and_allocation_do(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	uint64_t began = w->now;

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(only()->until, began + 300000); /* the permission's */
	world_wait(w, 200000);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(only()->until, began + 500000);
	world_wait(w, 200000);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(only()->until, began + 600000); /* the channel's, and the allocation's */
	assert_int_equal(refresh(&alice, 3600), 0);
	assert_int_equal(only()->until, began + 600000);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(only()->until, began + 700000);
	world_wait(w, 400000); /* the permission has ended, and says so */
	assert_int_equal(why(w, FAST_WHY_NO_PERMISSION), 1);
	assert_int_equal(only()->until, began + 700000);
}

static void a_short_allocation_ends_it_earlier(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->cfg.lifetime.default_ms = 30000;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(only()->until, w->now + 30000);
	world_wait(w, 30001);
	assert_int_equal(n_there, 0);
}

static void what_the_kernel_relayed_counts(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	channel_data(&alice, 0x4000, "four");
	assert_peer_got(w, "9.9.9.9:53", "four");
	only()->n = (struct turn_offload_counts){ { 10, 5 }, { 1000, 500 } };
	turn_server_count_offloaded(w->server);
	turn_server_count_offloaded(w->server);
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_UP), 11);
	assert_int_equal(counted(w, TURN_M_BYTES, TURN_UP), 1004);
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_DOWN), 5);
	assert_int_equal(counted(w, TURN_M_OFFLOADED_PACKETS, TURN_UP), 10);
	assert_int_equal(counted(w, TURN_M_OFFLOADED_BYTES, TURN_DOWN), 500);
	only()->n = (struct turn_offload_counts){ { 1, 0 }, { 7, 0 } };
	assert_int_equal(refresh(&alice, 0), 0); /* the last ones come with the end */
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_UP), 12);
	assert_int_equal(counted(w, TURN_M_BYTES, TURN_UP), 1011);
}

static void see(const struct turn_session_info *i, void *arg)
{
	*(struct turn_session_info *)arg = *i;
}

static void a_session_shows_them_at_once(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct turn_session_info info = { 0 };

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	only()->n = (struct turn_offload_counts){ { 3, 4 }, { 30, 40 } };
	turn_server_sessions(w->server, &(struct turn_session_query){ .after_id = 0, .limit = 1 }, w->now, see, &info);
	assert_int_equal(info.packets_up, 3);
	assert_int_equal(info.bytes_down, 40);
}

static void streams_stay_in_user_space(void **state)
{
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(n_added, 0);
	assert_int_equal(why(w, FAST_WHY_TRANSPORT), 1);
}

static void clients_of_this_server_stay_in_user_space(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"), bob = client_udp(w, "192.0.2.2:4000", "alice");
	char relay[ADDR_STRLEN];

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate(&bob), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, addr_print(&bob.relay, relay)), 0);
	assert_int_equal(n_added, 0);
	assert_int_equal(why(w, FAST_WHY_OWN_PEER), 1);
}

/* A rule lets peers have it; where the NAT brings such packets, if anywhere, the kernel does not know. */
static void our_own_external_address_stays_in_user_space(void **state)
{
	static struct prefix all;
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(prefix_parse(text_of("0.0.0.0/0"), &all), 0);
	w->external_addresses[0] = address("9.9.9.77");
	w->external_addresses[1] = w->relay_addresses[1];
	w->cfg.relay.outside = (struct cfg_list){ w->external_addresses, 2 };
	w->cfg.peers.allow = (struct cfg_list){ &all, 1 };
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.77:5000"), 0); /* nobody's port, now */
	assert_int_equal(n_added, 0);
	assert_int_equal(why(w, FAST_WHY_OWN_PEER), 1);
	assert_int_equal(bind_channel(&alice, 0x4001, "9.9.9.78:5000"), 0);
	assert_int_equal(n_added, 1);
}

static void a_limited_bit_rate_takes_all_out_and_lets_them_back(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	only()->n = (struct turn_offload_counts){ { 9, 9 }, { 99, 99 } };
	w->cfg.limits.bitrate_per_user = 1000000;
	world_reload(w);
	assert_int_equal(n_there, 0);
	assert_int_equal(why(w, FAST_WHY_BITRATE), 1);
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_UP), 9);
	w->cfg.limits.bitrate_per_user = UINT64_MAX;
	world_reload(w);
	assert_int_equal(only()->until, w->now + 300000);
}

static void rules_that_forbid_the_peer_end_it_at_once(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct prefix deny;

	assert_int_equal(prefix_parse(text_of("9.9.9.0/24"), &deny), 0);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&alice, 0x4001, "8.8.8.8:53"), 0);
	assert_int_equal(n_there, 2);
	w->cfg.peers.deny = (struct cfg_list){ &deny, 1 };
	world_reload(w);
	assert_int_equal(only()->c.number, 0x4001);
	channel_data(&alice, 0x4000, "forbidden");
	peer_says(w, &alice.relay, "9.9.9.9:53", "forbidden");
	assert_silence(w);
	channel_data(&alice, 0x4001, "allowed");
	assert_peer_got(w, "8.8.8.8:53", "allowed");
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 403);
	w->cfg.peers.deny = (struct cfg_list){ 0 };
	world_reload(w); /* what has ended does not come back by itself */
	assert_int_equal(n_there, 1);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(n_there, 2);
}

static void a_family_that_is_given_up_takes_its_channels_out(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate_both(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&alice, 0x4001, "[2a00::9]:53"), 0);
	assert_int_equal(n_there, 2);
	assert_int_equal(refresh_family(&alice, 2, 0), 0);
	assert_int_equal(only()->c.number, 0x4000);
	permit(&alice, "2a00::9"); /* refused, or without a socket: in no case does it come back */
	assert_int_equal(n_there, 1);
}

static void of_two_families_each_ends_its_own_there(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	uint64_t began = w->now;

	w->cfg.lifetime.default_ms = 30000;
	world_reload(w);
	assert_int_equal(allocate_both(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&alice, 0x4001, "[2a00::9]:53"), 0);
	assert_int_equal(refresh_family(&alice, 2, 60), 0);
	assert_int_equal(n_there, 2);
	for (unsigned i = 0; i < HANDLES; i++)
		if (fakes[i].there)
			assert_int_equal(fakes[i].until,
					 began + (fakes[i].c.number == 0x4000 ? 30000 : 60000));
	world_wait(w, 30000);
	assert_int_equal(only()->c.number, 0x4001);
}

static void an_expired_channel_makes_room_for_the_next(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->cfg.lifetime.nonce_ms = 3600000;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(refresh(&alice, 3600), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	world_wait(w, 600001);
	only()->n = (struct turn_offload_counts){ { 2, 0 }, { 20, 0 } };
	assert_int_equal(bind_channel(&alice, 0x4000, "8.8.8.8:53"), 0);
	struct addr peer = only()->c.peer, want = address("8.8.8.8:53");
	assert_true(addr_equal(&peer, &want));
	assert_int_equal(n_added, 2);
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_UP), 2);
}

static void without_memory_it_stays_in_user_space(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	no_memory = true;
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(why(w, FAST_WHY_MEMORY), 1);
	channel_data(&alice, 0x4000, "all the same");
	assert_peer_got(w, "9.9.9.9:53", "all the same");
	no_memory = false;
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(n_there, 1);
}

static void switched_off_nothing_is_there(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:53"), 0);
	turn_server_set_offload(w->server, false);
	assert_int_equal(n_there, 0);
	assert_int_equal(why(w, FAST_WHY_DISABLED), 1);
	turn_server_set_offload(w->server, true);
	assert_int_equal(n_there, 1);
}

/* ---- mobility (RFC 8016) ---- */

static unsigned allocate_mobile(struct client *c, char *ret_ticket)
{
	if (!c->nonce[0])
		assert_int_equal(handshake(c), 401);
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&c->sw, STUN_A_MOBILITY_TICKET, NULL, 0);
	unsigned code = read_allocation(c, ask(c));
	memcpy(ret_ticket, c->m.attr[STUN_A_MOBILITY_TICKET].p, TURN_TICKET_LEN);
	return code;
}

static unsigned move(struct client *c, const char *ticket)
{
	assert_int_equal(handshake(c), 401);
	begin(c, STUN_REFRESH);
	stun_put(&c->sw, STUN_A_MOBILITY_TICKET, ticket, TURN_TICKET_LEN);
	return ask(c);
}

static void a_move_takes_it_along_to_the_new_address(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = client_udp(w, "203.0.113.9:5000", "alice");
	char ticket[TURN_TICKET_LEN];

	assert_int_equal(allocate_mobile(&home, ticket), 0);
	assert_int_equal(bind_channel(&home, 0x4000, "9.9.9.9:53"), 0);
	only()->n = (struct turn_offload_counts){ { 6, 0 }, { 60, 0 } };
	assert_int_equal(move(&away, ticket), 0);
	struct addr client = only()->c.client, want = address("203.0.113.9:5000");
	assert_true(addr_equal(&client, &want));
	assert_int_equal(n_added, 2);
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_UP), 6);
}

/* The first ticket is good until the client is heard from its new place, be it only by the kernel; what the kernel
 * relayed before the move says nothing of that. */
static void what_the_kernel_relayed_from_the_new_path_ends_the_old_ticket(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = client_udp(w, "203.0.113.9:5000", "alice"),
		      third = client_udp(w, "203.0.113.9:5001", "alice"), fourth = client_udp(w, "203.0.113.9:5002", "alice");
	char ticket[TURN_TICKET_LEN];

	assert_int_equal(allocate_mobile(&home, ticket), 0);
	assert_int_equal(bind_channel(&home, 0x4000, "9.9.9.9:53"), 0);
	only()->n = (struct turn_offload_counts){ { 6, 0 }, { 60, 0 } };
	assert_int_equal(move(&away, ticket), 0);
	only()->n = (struct turn_offload_counts){ { 0, 7 }, { 0, 70 } }; /* from the peer */
	turn_server_count_offloaded(w->server);
	assert_int_equal(move(&third, ticket), 0); /* the answer was lost */
	only()->n = (struct turn_offload_counts){ { 1, 0 }, { 10, 0 } };
	turn_server_count_offloaded(w->server);
	assert_int_equal(move(&fourth, ticket), 437);
	assert_int_equal(refresh(&third, -1), 0);
}

static void a_move_to_tcp_leaves_the_kernel_and_a_broken_connection_is_away(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = client_tcp(w, "203.0.113.9:5000", "alice");
	char ticket[TURN_TICKET_LEN];

	assert_int_equal(allocate_mobile(&home, ticket), 0);
	assert_int_equal(bind_channel(&home, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(move(&away, ticket), 0);
	assert_int_equal(n_there, 0);
	assert_int_equal(why(w, FAST_WHY_TRANSPORT), 1);
	turn_path_gone(w->server, &away.path, w->now);
	assert_int_equal(why(w, FAST_WHY_AWAY), 1);
}

static void an_allocation_that_leaves_its_worker_leaves_the_kernel(void **state)
{
	struct world *w = *state, other = { 0 };
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away;
	char ticket[TURN_TICKET_LEN];

	world_join(&other, w, 1);
	turn_server_set_offload(other.server, true);
	away = client_udp(&other, "203.0.113.9:5000", "alice");
	assert_int_equal(allocate_mobile(&home, ticket), 0);
	assert_int_equal(bind_channel(&home, 0x4000, "9.9.9.9:53"), 0);
	only()->n = (struct turn_offload_counts){ { 6, 0 }, { 60, 0 } };
	assert_int_equal(move(&away, ticket), NO_ANSWER); /* asked of the first worker, which has it */
	assert_true(world_mail(w));
	assert_int_equal(n_there, 0);
	assert_true(world_mail(&other));
	assert_int_equal(late_answer(&away), 0);
	struct addr client = only()->c.client, want = address("203.0.113.9:5000");
	assert_true(addr_equal(&client, &want));
	world_stop(&other);
	assert_int_equal(n_there, 0);
}

#define OFFLOAD(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OFFLOAD(a_bound_channel_is_offered_with_its_addresses),
		OFFLOAD(it_lasts_as_long_as_permission_channel_and_allocation_do),
		OFFLOAD(a_short_allocation_ends_it_earlier),
		OFFLOAD(what_the_kernel_relayed_counts),
		OFFLOAD(a_session_shows_them_at_once),
		OFFLOAD(streams_stay_in_user_space),
		OFFLOAD(clients_of_this_server_stay_in_user_space),
		OFFLOAD(our_own_external_address_stays_in_user_space),
		OFFLOAD(a_limited_bit_rate_takes_all_out_and_lets_them_back),
		OFFLOAD(rules_that_forbid_the_peer_end_it_at_once),
		OFFLOAD(a_family_that_is_given_up_takes_its_channels_out),
		OFFLOAD(of_two_families_each_ends_its_own_there),
		OFFLOAD(an_expired_channel_makes_room_for_the_next),
		OFFLOAD(without_memory_it_stays_in_user_space),
		OFFLOAD(switched_off_nothing_is_there),
		OFFLOAD(a_move_takes_it_along_to_the_new_address),
		OFFLOAD(what_the_kernel_relayed_from_the_new_path_ends_the_old_ticket),
		OFFLOAD(a_move_to_tcp_leaves_the_kernel_and_a_broken_connection_is_away),
		OFFLOAD(an_allocation_that_leaves_its_worker_leaves_the_kernel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
