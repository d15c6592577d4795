/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TURN core without memory: in every request each allocation fails once. The answer is 508 or none,
 * never a wrong one; nothing is half there afterwards, and the same request, retransmitted when there is
 * memory again, succeeds. The world of the scenario tests looks for what was left open at its end.
 */
#include <errno.h>
#include "tests/oom/failing.h"
#include "tests/scenario/turn_world.h"

static void a_server_is_made_whole_or_not_at_all(void **state)
{
	static struct world w;
	unsigned rounds = 0;

	(void)state;
	for (unsigned n = 1; oom_next(&n); rounds++) {
		world_config(&w);
		int r = world_try_start(&w);
		assert_true(r == 0 || (r == -ENOMEM && oom_hit()));
		world_stop(&w);
	}
	assert_true(rounds > 10);
}

/* A conversation up to the request in question, the request, and what must hold once it succeeded. */
struct talk {
	void (*before)(struct client *c);
	void (*build)(struct client *c);
	void (*after)(struct client *c);
	unsigned at_least; /* allocations that the request makes */
};

static bool say_with_failure(const struct talk *t, unsigned nth)
{
	static struct world w;
	world_config(&w);
	w.cfg.limits.permissions_per_allocation = w.cfg.limits.channels_per_allocation = 100;
	world_start(&w);
	w.arm = oom_arm;
	w.hit = oom_hit;
	struct client c = client_udp(&w, "192.0.2.1:4000", "alice");
	assert_int_equal(handshake(&c), 401);
	if (t->before)
		t->before(&c);
	t->build(&c);
	w.fail_nth = nth;
	unsigned code = ask(&c);
	bool failed = w.failed;
	if (!failed)
		assert_int_equal(code, 0);
	assert_true(code == 0 || code == 508 || code == NO_ANSWER);
	if (code != 0)
		assert_int_equal(ask_again(&c), 0);
	if (t->after)
		t->after(&c);
	world_stop(&w);
	return failed;
}

static void check(const struct talk *t)
{
	unsigned nth = 1;

	while (say_with_failure(t, nth))
		nth++;
	assert_true(nth > t->at_least);
}

static void build_allocate(struct client *c)
{
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
}

static void build_allocate_sha256(struct client *c)
{
	c->alg = STUN_ALG_SHA256;
	build_allocate(c);
}

static void build_dual(struct client *c)
{
	build_allocate(c);
	stun_put_u32(&c->sw, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2u << 24);
}

static void build_pair(struct client *c)
{
	build_allocate(c);
	stun_put(&c->sw, STUN_A_EVEN_PORT, "\x80", 1);
}

static void build_mobile(struct client *c)
{
	build_allocate(c);
	stun_put(&c->sw, STUN_A_MOBILITY_TICKET, NULL, 0);
}

static void one_relay(struct client *c)
{
	assert_int_equal(c->w->n_relays, 1);
	assert_int_equal(turn_totals_allocations(c->w->totals), 1);
}

static void one_or_two_relays(struct client *c)
{
	assert_in_range(c->w->n_relays, 1, 2);
	assert_int_equal(turn_totals_allocations(c->w->totals), 1);
}

static void one_relay_and_one_held(struct client *c)
{
	assert_int_equal(c->w->n_relays, 1);
	assert_int_equal(c->w->n_held, 1);
}

static void an_allocation_is_made_whole_or_not_at_all(void **state)
{
	(void)state;
	check(&(struct talk){ NULL, build_allocate, one_relay, 4 });
	check(&(struct talk){ NULL, build_allocate_sha256, one_relay, 4 });
	check(&(struct talk){ NULL, build_dual, one_or_two_relays, 5 });
	check(&(struct talk){ NULL, build_mobile, one_relay, 6 });
	check(&(struct talk){ NULL, build_pair, one_relay_and_one_held, 6 });
}

static void has_allocation(struct client *c)
{
	assert_int_equal(allocate(c), 0);
}

static void build_refresh(struct client *c)
{
	begin(c, STUN_REFRESH);
}

static void build_refresh_of_new_mac(struct client *c)
{
	c->alg = STUN_ALG_SHA256; /* another key: the credential is looked up again */
	begin(c, STUN_REFRESH);
}

static void build_permissions(struct client *c)
{
	begin(c, STUN_CREATE_PERMISSION);
	for (uint32_t i = 0; i < 9; i++) {
		struct addr peer = addr_v4(0x09090901 + i, 1);
		stun_put_addr(&c->sw, STUN_A_XOR_PEER_ADDRESS, &peer);
	}
}

static void all_permitted(struct client *c)
{
	send_to(c, "9.9.9.1:1", "first");
	assert_peer_got(c->w, "9.9.9.1:1", "first");
	send_to(c, "9.9.9.9:1", "last");
	assert_peer_got(c->w, "9.9.9.9:1", "last");
}

static void has_some_channels(struct client *c)
{
	char peer[32];

	has_allocation(c);
	for (unsigned i = 1; i <= 8; i++) { /* every array is full now */
		snprintf(peer, sizeof peer, "9.9.8.%u:1", i);
		assert_int_equal(bind_channel(c, 0x4000 + i, peer), 0);
	}
}

static void build_channel(struct client *c)
{
	struct addr peer = address("9.9.9.9:1");

	begin(c, STUN_CHANNEL_BIND);
	stun_put_u32(&c->sw, STUN_A_CHANNEL_NUMBER, 0x4fffu << 16);
	stun_put_addr(&c->sw, STUN_A_XOR_PEER_ADDRESS, &peer);
}

static void channel_works(struct client *c)
{
	channel_data(c, 0x4fff, "hello");
	assert_peer_got(c->w, "9.9.9.9:1", "hello");
	peer_says(c->w, &c->relay, "9.9.9.9:1", "hello");
	assert_channel_got(c, 0x4fff, "hello");
}

static void all_channels_work(struct client *c)
{
	channel_works(c);
	for (unsigned i = 1; i <= 8; i++) {
		char peer[32];
		snprintf(peer, sizeof peer, "9.9.8.%u:1", i);
		channel_data(c, 0x4000 + i, "old");
		assert_peer_got(c->w, peer, "old");
		peer_says(c->w, &c->relay, peer, "old");
		assert_channel_got(c, 0x4000 + i, "old");
	}
}

static void requests_on_an_allocation_are_done_whole_or_not_at_all(void **state)
{
	(void)state;
	check(&(struct talk){ has_allocation, build_refresh, one_relay, 0 });
	check(&(struct talk){ has_allocation, build_refresh_of_new_mac, one_relay, 1 });
	check(&(struct talk){ has_allocation, build_permissions, all_permitted, 2 });
	check(&(struct talk){ has_allocation, build_channel, channel_works, 5 });
	check(&(struct talk){ has_some_channels, build_channel, all_channels_work, 2 });
}

/* A Connect that could not be begun leaves nothing, and one that was is answered later. */
static bool connect_with_failure(unsigned nth)
{
	static struct world w;
	uint32_t id = 0;

	world_config(&w);
	world_start(&w);
	w.arm = oom_arm;
	w.hit = oom_hit;
	struct client c = client_tcp(&w, "192.0.2.1:4000", "alice"), data = client_tcp(&w, "192.0.2.1:4001", "alice");
	assert_int_equal(allocate_tcp(&c), 0);
	w.fail_nth = nth;
	unsigned code = connect_to(&c, "9.9.9.9:80");
	bool failed = w.failed;
	assert_true(code == NO_ANSWER || (failed && code == 508));
	if (code == NO_ANSWER && w.n_flows == 0) /* no memory for an answer either */
		code = 508;
	assert_int_equal(w.n_flows, code == 508 ? 0 : 1);
	if (code == 508)
		assert_int_equal(connect_to(&c, "9.9.9.9:80"), NO_ANSWER);
	peer_answers(&c, "9.9.9.9:80", 0);
	assert_int_equal(late_answer(&c), 0);
	assert_int_equal(stun_get_u32(&c.m, STUN_A_CONNECTION_ID, &id), 0);
	assert_int_equal(bind_connection(&data, id), 0);
	assert_true(is_bound(&w, "9.9.9.9:80", &data));
	world_stop(&w);
	return failed;
}

static bool accept_with_failure(unsigned nth)
{
	static struct world w;

	world_config(&w);
	world_start(&w);
	struct client c = client_tcp(&w, "192.0.2.1:4000", "alice");
	assert_int_equal(allocate_tcp(&c), 0);
	assert_int_equal(permit(&c, "9.9.9.9"), 0);
	oom_arm(nth + 1); /* the first is the world's own */
	bool in = peer_connects(&w, &c.relay, "9.9.9.9:80");
	bool failed = oom_hit();
	oom_arm(0);
	assert_true(in || failed);
	assert_int_equal(w.n_flows, in ? 1 : 0);
	if (in)
		assert_true(attempted(&c, "9.9.9.9:80") != 0);
	assert_silence(&w);
	world_stop(&w);
	return failed;
}

static void connections_of_tcp_allocations_are_there_whole_or_not_at_all(void **state)
{
	unsigned n = 1;

	(void)state;
	while (connect_with_failure(n))
		n++;
	assert_true(n > 2);
	for (n = 1; accept_with_failure(n);)
		n++;
	assert_true(n > 1);
}

static void data_needs_no_memory(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      tcp = client_tcp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, "9.9.9.9:1"), 0);
	assert_int_equal(allocate(&tcp), 0);
	assert_int_equal(bind_channel(&tcp, 0x4000, "9.9.9.9:1"), 0);
	w->arm = oom_arm;
	w->hit = oom_hit;
	w->fail_nth = 1;
	channel_data(&alice, 0x4000, "up");
	assert_false(w->failed);
	w->fail_nth = 1;
	send_to(&tcp, "9.9.9.9:1", "up");
	assert_false(w->failed);
	assert_peer_got(w, "9.9.9.9:1", "up");
	assert_peer_got(w, "9.9.9.9:1", "up");
	uint8_t data[8] = "    down";
	struct turn_packet pk = { .data = data + 4, .n = 3, .mark = DGRAM_MARK_NONE };
	oom_arm(1);
	peer_sends(w, &alice.relay, "9.9.9.9:1", &pk);
	peer_sends(w, &alice.relay, "9.9.9.9:2", &pk);
	peer_sends(w, &tcp.relay, "9.9.9.9:1", &pk);
	peer_sends(w, &tcp.relay, "9.9.9.9:2", &pk);
	assert_false(oom_hit());
	oom_arm(0);
	assert_channel_got(&alice, 0x4000, "dow");
	assert_client_got(&alice, "9.9.9.9:2", "dow");
	assert_channel_got(&tcp, 0x4000, "dow");
	assert_client_got(&tcp, "9.9.9.9:2", "dow");
}

static void binding_and_refusals_need_no_memory(void **state)
{
	struct world *w = *state;
	struct client c = client_udp(w, "192.0.2.1:4000", "alice");

	w->arm = oom_arm;
	w->hit = oom_hit;
	w->fail_nth = 1;
	assert_int_equal(handshake(&c), 401);
	assert_false(w->failed);
	w->fail_nth = 1;
	begin(&c, STUN_BINDING);
	c.unsigned_next = true;
	assert_int_equal(ask(&c), 0);
	assert_false(w->failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_is_made_whole_or_not_at_all),
		cmocka_unit_test(an_allocation_is_made_whole_or_not_at_all),
		cmocka_unit_test(requests_on_an_allocation_are_done_whole_or_not_at_all),
		cmocka_unit_test(connections_of_tcp_allocations_are_there_whole_or_not_at_all),
		TALK(data_needs_no_memory),
		TALK(binding_and_refusals_need_no_memory),
	};
	oom_openssl();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
