/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ALTERNATE-SERVER (RFC 8489 10, 14.15, 14.16): who is sent where, when this server drains or is full, and
 * who is not.
 */
#include "tests/scenario/turn_world.h"

static struct addr plain[3], tls[1];

static void configure(struct world *w)
{
	plain[0] = address("203.0.113.1:3478");
	plain[1] = address("[2001:db8::2]:3478");
	plain[2] = address("203.0.113.3:3479");
	tls[0] = address("203.0.113.1:5349");
	w->cfg.alternate_servers = (struct cfg_list){ plain, 3 };
	w->cfg.alternate_tls_servers = (struct cfg_list){ tls, 1 };
	w->cfg.alternate_domain = (char *)"turn.example.net";
	world_reload(w);
}

static struct addr sent_to(struct client *c)
{
	struct addr a;
	struct stun_key *k = NULL;

	assert_int_equal(allocate(c), 300);
	assert_int_equal(stun_get_addr(&c->m, STUN_A_ALTERNATE_SERVER, &a), 0);
	assert_int_equal(addr_family(&a), addr_family(&c->path.client));
	assert_int_equal(stun_key_long_term(STUN_ALG_MD5, STUN_MAC_SHA1, text_of(c->user), text_of(c->realm),
					    text_of(c->password), &k), 0);
	assert_true(stun_check_integrity(&c->m, k));
	stun_key_free(k);
	return a;
}

static void a_draining_server_sends_new_clients_on_and_keeps_old_ones(void **state)
{
	struct world *w = *state;
	struct client old = client_udp(w, "192.0.2.1:4000", "alice"), fresh = client_udp(w, "192.0.2.2:4000", "bob"),
		      stranger = client_udp(w, "192.0.2.3:4000", "bob");
	bool first = false, third = false;

	configure(w);
	assert_int_equal(allocate(&old), 0);
	turn_server_set_draining(w->server, true);
	for (unsigned i = 0; i < 64; i++) {
		struct addr a = sent_to(&fresh);
		first |= addr_equal(&a, &plain[0]);
		third |= addr_equal(&a, &plain[2]);
		assert_false(stun_has(&fresh.m, STUN_A_ALTERNATE_DOMAIN));
	}
	assert_true(first && third);
	assert_int_equal(ask_again(&old), 0); /* its Allocate, retransmitted */
	assert_int_equal(refresh(&old, -1), 0);
	assert_int_equal(bind_channel(&old, 0x4000, "9.9.9.9:53"), 0);
	stranger.password = "wrong";
	assert_int_equal(allocate(&stranger), 401);
	turn_server_set_draining(w->server, false);
	assert_int_equal(allocate(&fresh), 0);
}

static void each_family_has_its_own_alternates(void **state)
{
	struct world *w = *state;
	struct client six = client_udp(w, "[2001:db8:1::1]:4000", "alice");

	configure(w);
	turn_server_set_draining(w->server, true);
	struct addr a = sent_to(&six);
	assert_true(addr_equal(&a, &plain[1]));
	w->cfg.alternate_servers.n = 1;
	world_reload(w);
	assert_int_equal(allocate(&six), 508);
}

static void a_tls_client_is_told_the_name_too(void **state)
{
	struct world *w = *state;
	struct client c = client_tls(w, "192.0.2.1:4000", "alice");
	struct text name;

	configure(w);
	turn_server_set_draining(w->server, true);
	struct addr a = sent_to(&c);
	assert_true(addr_equal(&a, &tls[0]));
	assert_int_equal(stun_get_text(&c.m, STUN_A_ALTERNATE_DOMAIN, &name), 0);
	assert_true(text_eq(name, text_of("turn.example.net")));
	w->cfg.alternate_tls_servers.n = 0;
	world_reload(w);
	assert_int_equal(allocate(&c), 508);
}

static void a_full_server_sends_on_and_a_full_user_stays(void **state)
{
	struct world *w = *state;
	struct client one = client_udp(w, "192.0.2.1:4000", "alice"), two = client_udp(w, "192.0.2.1:4001", "alice"),
		      bob = client_udp(w, "192.0.2.2:4000", "bob");

	w->cfg.limits.allocations = 2;
	w->cfg.limits.allocations_per_user = 1;
	configure(w);
	assert_int_equal(allocate(&one), 0);
	assert_int_equal(allocate(&two), 486); /* there it would have as many */
	assert_int_equal(allocate(&bob), 0);
	w->cfg.limits.allocations_per_user = 9;
	world_reload(w);
	struct addr a = sent_to(&two);
	assert_false(addr_equal(&a, &plain[1]));
	w->cfg.alternate_servers.n = 0;
	world_reload(w);
	assert_int_equal(allocate(&two), 508);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(a_draining_server_sends_new_clients_on_and_keeps_old_ones),
		TALK(each_family_has_its_own_alternates),
		TALK(a_tls_client_is_told_the_name_too),
		TALK(a_full_server_sends_on_and_a_full_user_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
