/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several realms on one server: who comes where, whose users are asked, what each may use of the server, and
 * what a reload that adds, changes or removes one does to those who are there.
 *
 * partner.example has an address of its own (198.51.100.2) and the server name of slot 1; other.example, where
 * a test adds it, is slot 2.
 */
#include "tests/scenario/turn_world.h"

static struct cfg_endpoint partner_listens = { .proto = TURN_LISTEN_UDP };
static struct turn_user_section partner_users[2] = {
	{ (char *)"alice", (char *)"another password" }, /* the same name as in the default realm */
	{ (char *)"carol", (char *)"password of carol" },
};

static int setup(void **state)
{
	if (world_setup(state) != 0)
		return -1;
	struct world *w = *state;

	partner_listens.at = address("198.51.100.2:3478");
	w->realms[0] = (struct turn_realm_section){ .name = (char *)"partner.example",
						    .listen = { &partner_listens, 1 },
						    .users = { partner_users, 2 } };
	w->realms[1] = (struct turn_realm_section){ .name = (char *)"other.example", .password = (char *)"for everybody" };
	w->cfg.realms.n = 1;
	world_reload(w);
	return 0;
}
#define REALMS(fn) cmocka_unit_test_setup_teardown(fn, setup, world_teardown)

/* Who comes to the partner's address. */
static struct client partner(struct world *w, const char *at, const char *user)
{
	struct client c = client_udp(w, at, user);

	c.path.local = partner_listens.at;
	for (size_t i = 0; i < ARRAY_LEN(partner_users); i++)
		if (strcmp(user, partner_users[i].name) == 0)
			c.password = partner_users[i].password;
	return c;
}

static bool newest(const struct turn_refused *r, void *arg)
{
	*(struct turn_refused *)arg = *r;
	return false;
}

static struct turn_refused latest(struct world *w)
{
	struct turn_refused r = { 0 };

	turn_refusals_each(turn_server_refusals(w->server), newest, &r);
	return r;
}

/* ---- who comes where ---- */

static void the_address_that_a_client_came_to_says_its_realm(void **state)
{
	struct world *w = *state;
	struct client here = client_udp(w, "192.0.2.1:4000", "alice"), there = partner(w, "192.0.2.1:4001", "carol"),
		      tcp = client_tcp(w, "192.0.2.1:4002", "alice");

	assert_int_equal(handshake(&here), 401);
	assert_string_equal(here.realm, WORLD_REALM);
	assert_int_equal(handshake(&there), 401);
	assert_string_equal(there.realm, "partner.example");
	tcp.path.local = partner_listens.at; /* which listens there by UDP only */
	assert_int_equal(handshake(&tcp), 401);
	assert_string_equal(tcp.realm, WORLD_REALM);
}

static void a_server_name_beats_the_address(void **state)
{
	struct world *w = *state;
	struct client tls = client_tls(w, "192.0.2.1:4000", "carol");

	tls.path.realm = 1;
	tls.password = "password of carol";
	assert_int_equal(allocate(&tls), 0);
	assert_string_equal(tls.realm, "partner.example");
}

static void of_two_addresses_the_exact_one_counts(void **state)
{
	struct world *w = *state;
	struct cfg_endpoint any = { .proto = TURN_LISTEN_UDP, .at = address("0.0.0.0:3478") };
	struct client exact = partner(w, "192.0.2.1:1", "carol"), rest = client_udp(w, "192.0.2.1:2", "whoever");

	w->realms[1].listen = (struct cfg_list){ &any, 1 };
	w->cfg.realms.n = 2;
	world_reload(w);
	assert_int_equal(handshake(&exact), 401);
	assert_string_equal(exact.realm, "partner.example");
	rest.password = "for everybody";
	assert_int_equal(allocate(&rest), 0);
	assert_string_equal(rest.realm, "other.example");
}

/* ---- credentials ---- */

static void a_credential_opens_its_own_realm_only(void **state)
{
	struct world *w = *state;
	struct client good = partner(w, "192.0.2.1:1", "alice"), crossed = partner(w, "192.0.2.1:2", "alice"),
		      carol = client_udp(w, "192.0.2.1:3", "carol");

	assert_int_equal(allocate(&good), 0);
	crossed.password = "password of alice"; /* right in the default realm */
	assert_int_equal(allocate(&crossed), 401);
	assert_string_equal(latest(w).realm, "partner.example");
	assert_string_equal(latest(w).reason, "the credential is not good: wrong password");
	carol.password = "password of carol";
	assert_int_equal(allocate(&carol), 401);
	assert_string_equal(latest(w).realm, WORLD_REALM);
	assert_string_equal(latest(w).reason, "the credential is not good: unknown user name");
}

static void who_names_another_realm_is_refused_in_words_for_the_administrator(void **state)
{
	struct world *w = *state;
	struct client stubborn = client_udp(w, "192.0.2.1:1", "alice");

	assert_int_equal(handshake(&stubborn), 401);
	snprintf(stubborn.realm, sizeof stubborn.realm, "partner.example");
	stubborn.password = "another password";
	assert_int_equal(allocate(&stubborn), 401);
	assert_string_equal(latest(w).reason, "the credential is not good: realm \"partner.example\" is not served on udp "
					      "198.51.100.1:3478, which is realm \"example.org\"");
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_WRONG_REALM), 1);
	assert_int_equal(w->n_relays, 0);
}

static void a_nonce_of_one_realm_is_worthless_in_another(void **state)
{
	struct world *w = *state;
	struct client here = client_udp(w, "192.0.2.1:1", "alice"), there = partner(w, "192.0.2.1:1", "alice");

	assert_int_equal(handshake(&here), 401);
	snprintf(there.nonce, sizeof there.nonce, "%s", here.nonce);
	snprintf(there.realm, sizeof there.realm, "partner.example");
	assert_int_equal(allocate(&there), 438);
	assert_int_equal(allocate(&there), 0); /* with the one that came with the answer */
}

static void a_time_limited_credential_is_of_the_realm_of_its_secret(void **state)
{
	struct world *w = *state;
	struct turn_secret_section secret = { (char *)"p1", (char *)"the partner's secret" };
	struct turn_minted made;

	w->realms[0].secrets = (struct cfg_list){ &secret, 1 };
	world_reload(w);
	assert_int_equal(turn_mint_credential(STUN_MAC_SHA256, text_of(secret.secret), TEXT("dora"), 1800000060, &made), 0);
	struct client there = partner(w, "192.0.2.1:1", made.user), here = client_udp(w, "192.0.2.1:2", made.user);
	there.password = here.password = made.password;
	assert_int_equal(allocate(&there), 0);
	assert_int_equal(allocate(&here), 401);
}

/* ---- old and new clients, names that are hidden ---- */

static void names_are_hidden_where_all_users_are_named_and_nowhere_else(void **state)
{
	struct world *w = *state;
	struct client named = partner(w, "192.0.2.1:1", "carol"), any = client_tls(w, "192.0.2.1:2", "x"),
		      here = client_udp(w, "192.0.2.1:3", "alice");

	w->cfg.realms.n = 2;
	w->secrets[0] = (struct turn_secret_section){ (char *)"2026a", (char *)"a shared secret" };
	w->cfg.secrets = (struct cfg_list){ w->secrets, 1 };
	world_reload(w);
	any.path.realm = 2; /* one password for all names */
	assert_int_equal(handshake(&named), 401);
	assert_int_equal(handshake(&any), 401);
	assert_string_equal(any.realm, "other.example");
	assert_int_equal(handshake(&here), 401);
	assert_int_equal(stun_nonce_features(text_of(named.nonce)),
			 STUN_FEATURE_PASSWORD_ALGORITHMS | STUN_FEATURE_USERNAME_ANONYMITY);
	assert_int_equal(stun_nonce_features(text_of(any.nonce)), STUN_FEATURE_PASSWORD_ALGORITHMS);
	assert_int_equal(stun_nonce_features(text_of(here.nonce)), STUN_FEATURE_PASSWORD_ALGORITHMS);
	named.alg = STUN_ALG_SHA256;
	named.userhash = true;
	assert_int_equal(allocate(&named), 0);
}

static void old_clients_and_new_ones_are_in_one_realm_at_once(void **state)
{
	struct world *w = *state;
	struct client old = partner(w, "192.0.2.1:1", "carol"), new = partner(w, "192.0.2.1:2", "carol"),
		      hidden = partner(w, "192.0.2.1:3", "carol");

	new.alg = hidden.alg = STUN_ALG_SHA256;
	hidden.userhash = true;
	assert_int_equal(allocate(&old), 0); /* each answer's signature is checked by its kind */
	assert_int_equal(allocate(&new), 0);
	assert_int_equal(allocate(&hidden), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(refresh(&old, -1), 0);
		assert_false(stun_has(&old.m, STUN_A_MESSAGE_INTEGRITY_SHA256));
		assert_int_equal(refresh(&new, -1), 0);
		assert_true(stun_has(&new.m, STUN_A_MESSAGE_INTEGRITY_SHA256));
		assert_int_equal(refresh(&hidden, -1), 0);
	}
}

static void a_user_hash_is_of_its_realm(void **state)
{
	struct world *w = *state;
	struct client lost = client_udp(w, "192.0.2.1:1", "carol");

	lost.alg = STUN_ALG_SHA256;
	lost.userhash = true;
	lost.password = "password of carol";
	assert_int_equal(allocate(&lost), 401);
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_UNKNOWN_USERHASH), 1);
}

/* ---- shares of the limits ---- */

static void the_same_name_in_two_realms_is_two_users(void **state)
{
	struct world *w = *state;
	struct client here = client_udp(w, "192.0.2.1:1", "alice"), there = partner(w, "192.0.2.1:2", "alice"),
		      more = partner(w, "192.0.2.1:3", "alice");

	w->cfg.limits.allocations_per_user = 1; /* the default of the realm too */
	world_reload(w);
	assert_int_equal(allocate(&here), 0);
	assert_int_equal(allocate(&there), 0);
	assert_int_equal(allocate(&more), 486);
	assert_int_equal(refresh(&here, 0), 0);
	assert_int_equal(allocate(&more), 486); /* what alice gave back there is not hers here */
	w->realms[0].limits.allocations_per_user = 2;
	world_reload(w);
	assert_int_equal(allocate(&more), 0);
}

static void a_realm_has_its_share_and_the_server_its_total(void **state)
{
	struct world *w = *state;
	struct client a = partner(w, "192.0.2.1:1", "alice"), b = partner(w, "192.0.2.1:2", "carol"),
		      c = client_udp(w, "192.0.2.1:3", "alice"), d = client_udp(w, "192.0.2.1:4", "bob");

	w->realms[0].limits.allocations = 1;
	w->cfg.limits.allocations = 2;
	world_reload(w);
	assert_int_equal(allocate(&a), 0);
	assert_int_equal(allocate(&b), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_QUOTA_REALM), 1);
	assert_string_equal(latest(w).realm, "partner.example");
	assert_int_equal(allocate(&c), 0); /* the refused one took nothing of the total */
	assert_int_equal(allocate(&d), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_QUOTA_TOTAL), 1);
	assert_int_equal(refresh(&a, 0), 0);
	assert_int_equal(allocate(&b), 0);
}

static void a_realm_that_is_full_sends_nobody_elsewhere(void **state)
{
	struct world *w = *state;
	struct addr other = address("203.0.113.5:3478");
	struct client a = partner(w, "192.0.2.1:1", "alice"), b = partner(w, "192.0.2.1:2", "carol");

	w->cfg.alternate_servers = (struct cfg_list){ &other, 1 };
	w->realms[0].limits.allocations = 1;
	world_reload(w);
	assert_int_equal(allocate(&a), 0);
	assert_int_equal(allocate(&b), 508);
}

static void permissions_and_channels_are_shares_too(void **state)
{
	struct world *w = *state;
	struct client a = partner(w, "192.0.2.1:1", "alice"), b = partner(w, "192.0.2.1:2", "carol"),
		      c = client_udp(w, "192.0.2.1:3", "alice");

	w->realms[0].limits.permissions = 2;
	w->realms[0].limits.channels = 1;
	world_reload(w);
	assert_int_equal(allocate(&a), 0);
	assert_int_equal(allocate(&b), 0);
	assert_int_equal(allocate(&c), 0);
	assert_int_equal(permit(&a, "9.9.9.1"), 0);
	assert_int_equal(bind_channel(&b, 0x4000, "9.9.9.1:1"), 0);
	assert_int_equal(permit(&a, "9.9.9.2"), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_PERMISSIONS_REALM), 1);
	assert_int_equal(bind_channel(&a, 0x4000, "9.9.9.1:1"), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_CHANNELS_REALM), 1);
	assert_int_equal(permit(&c, "9.9.9.1"), 0);
	assert_int_equal(permit(&c, "9.9.9.2"), 0);
	assert_int_equal(refresh(&b, 0), 0);
	assert_int_equal(permit(&a, "9.9.9.2"), 0);
	w->realms[0].limits.permissions_per_allocation = 2;
	w->realms[0].limits.permissions = 0;
	world_reload(w);
	assert_int_equal(permit(&a, "9.9.9.3"), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_PERMISSIONS), 1);
	assert_int_equal(permit(&c, "9.9.9.3"), 0);
}

static unsigned pass(struct client *c, unsigned n)
{
	static char block[1001];
	struct sent s;
	unsigned got = 0;

	memset(block, 'x', 1000);
	for (unsigned i = 0; i < n; i++) {
		send_to(c, "9.9.9.9:9", block);
		if (take(c->w, &s)) {
			free(s.data);
			got++;
		}
	}
	return got;
}

static void a_realms_bit_rate_is_its_own(void **state)
{
	struct world *w = *state;
	struct client a = partner(w, "192.0.2.1:1", "alice"), b = partner(w, "192.0.2.1:2", "carol"),
		      c = client_udp(w, "192.0.2.1:3", "alice");

	w->realms[0].limits.bitrate = 80000; /* 10 packets a second */
	world_reload(w);
	assert_int_equal(allocate(&a), 0);
	assert_int_equal(allocate(&b), 0);
	assert_int_equal(allocate(&c), 0);
	assert_int_equal(permit(&a, "9.9.9.9"), 0);
	assert_int_equal(permit(&b, "9.9.9.9"), 0);
	assert_int_equal(permit(&c, "9.9.9.9"), 0);
	assert_int_equal(pass(&a, 6), 6);
	unsigned rest = pass(&b, 8); /* a's worker has leased a little more than it used */
	assert_true(rest == 3 || rest == 4);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_BITRATE_REALM), 8 - rest);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_BITRATE_USER), 0);
	assert_int_equal(pass(&c, 40), 40);
	world_wait(w, 1000);
	assert_int_equal(pass(&b, 9), 9);
}

/* ---- peers ---- */

static void a_realms_rules_stand_on_top_of_the_servers(void **state)
{
	struct world *w = *state;
	struct prefix ten = { address("10.0.0.0"), 8 }, bad = { address("10.6.6.0"), 24 }, nine = { address("9.9.9.0"), 24 };
	struct client here = client_udp(w, "192.0.2.1:1", "alice"), there = partner(w, "192.0.2.1:2", "alice");

	w->realms[0].peers.allow = (struct cfg_list){ &ten, 1 };
	w->realms[0].peers.deny = (struct cfg_list){ &nine, 1 };
	w->cfg.peers.deny = (struct cfg_list){ &bad, 1 };
	world_reload(w);
	assert_int_equal(allocate(&here), 0);
	assert_int_equal(allocate(&there), 0);
	assert_int_equal(permit(&there, "10.1.1.1"), 0);
	assert_int_equal(permit(&here, "10.1.1.1"), 403);
	assert_int_equal(permit(&there, "10.6.6.1"), 403); /* the server's word is the last */
	assert_non_null(strstr(latest(w).reason, "turn.peers.deny 10.6.6.0/24"));
	assert_int_equal(permit(&there, "9.9.9.9"), 403);
	assert_non_null(strstr(latest(w).reason, "peers.deny 9.9.9.0/24 of realm partner.example"));
	assert_int_equal(permit(&here, "9.9.9.9"), 0);
}

/* ---- what is shown is of its realm ---- */

static void a_ticket_a_token_and_a_connection_are_of_their_realm(void **state)
{
	struct world *w = *state;
	struct client here = client_udp(w, "192.0.2.1:1", "alice"), there = partner(w, "192.0.2.1:2", "alice");
	uint8_t ticket[TURN_TICKET_LEN];

	assert_int_equal(handshake(&here), 401);
	begin(&here, STUN_ALLOCATE);
	stun_put_u32(&here.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&here.sw, STUN_A_EVEN_PORT, "\x80", 1);
	stun_put(&here.sw, STUN_A_MOBILITY_TICKET, NULL, 0);
	assert_int_equal(read_allocation(&here, ask(&here)), 0);
	memcpy(ticket, here.m.attr[STUN_A_MOBILITY_TICKET].p, sizeof ticket);

	assert_int_equal(handshake(&there), 401); /* alice too, and with her good password */
	begin(&there, STUN_REFRESH);
	stun_put(&there.sw, STUN_A_MOBILITY_TICKET, ticket, sizeof ticket);
	assert_int_equal(ask(&there), 437);
	assert_non_null(strstr(latest(w).reason, "another user's"));
	begin(&there, STUN_ALLOCATE);
	stun_put_u32(&there.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&there.sw, STUN_A_RESERVATION_TOKEN, here.token, sizeof here.token);
	assert_int_equal(ask(&there), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_RESERVATION), 1);

	struct client back = client_udp(w, "192.0.2.1:9", "alice"); /* whereas at home both are good */
	assert_int_equal(handshake(&back), 401);
	begin(&back, STUN_ALLOCATE);
	stun_put_u32(&back.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&back.sw, STUN_A_RESERVATION_TOKEN, here.token, sizeof here.token);
	assert_int_equal(ask(&back), 0);
}

static void a_connection_to_a_peer_is_of_its_realm(void **state)
{
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:1", "alice"), thief = client_tls(w, "192.0.2.1:2", "alice"),
		      data = client_tcp(w, "192.0.2.1:3", "alice");
	uint32_t id = 0;

	assert_int_equal(allocate_tcp(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(connected(&alice, "9.9.9.9:80", &id), 0);
	thief.path.realm = 1;
	thief.password = "another password";
	assert_int_equal(bind_connection(&thief, id), 400);
	assert_int_equal(bind_connection(&data, id), 0);
}

static void a_ticket_goes_to_another_worker_with_its_realm(void **state)
{
	struct world *w = *state, second;
	struct client there = partner(w, "192.0.2.1:1", "alice");
	uint8_t ticket[TURN_TICKET_LEN];

	world_join(&second, w, 1);
	memcpy(second.realms, w->realms, sizeof second.realms);
	second.cfg.realms.n = 1;
	world_reload(&second);
	assert_int_equal(handshake(&there), 401);
	begin(&there, STUN_ALLOCATE);
	stun_put_u32(&there.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&there.sw, STUN_A_MOBILITY_TICKET, NULL, 0);
	assert_int_equal(read_allocation(&there, ask(&there)), 0);
	memcpy(ticket, there.m.attr[STUN_A_MOBILITY_TICKET].p, sizeof ticket);

	struct client wrong = client_udp(&second, "192.0.2.7:1", "alice"), right = partner(&second, "192.0.2.7:2", "alice");
	struct client *tries[] = { &wrong, &right };
	for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
		assert_int_equal(handshake(tries[i]), 401);
		begin(tries[i], STUN_REFRESH);
		stun_put(&tries[i]->sw, STUN_A_MOBILITY_TICKET, ticket, sizeof ticket);
		assert_int_equal(ask(tries[i]), NO_ANSWER);
		assert_true(world_mail(w));
		assert_true(world_mail(&second));
		assert_int_equal(late_answer(tries[i]), i == 0 ? 437 : 0);
	}
	assert_int_equal(turn_server_count(w->server), 0);
	right.relay = there.relay;
	assert_int_equal(refresh(&right, 0), 0);
	world_stop(&second);
}

/* ---- what the administrator sees ---- */

static void keep_session(const struct turn_session_info *i, void *arg)
{
	struct turn_session_info **next = arg;
	*(*next)++ = *i;
}

static void sessions_counters_and_ends_are_by_realm(void **state)
{
	struct world *w = *state;
	struct turn_session_info seen[4], *next = seen;
	struct client a = client_udp(w, "192.0.2.1:1", "alice"), b = partner(w, "192.0.2.1:2", "alice"),
		      c = partner(w, "192.0.2.1:3", "carol");

	assert_int_equal(allocate(&a), 0);
	assert_int_equal(allocate(&b), 0);
	assert_int_equal(allocate(&c), 0);
	assert_int_equal(permit(&b, "9.9.9.9"), 0);
	send_to(&b, "9.9.9.9:9", "12345");
	assert_peer_got(w, "9.9.9.9:9", "12345");
	assert_int_equal(permit(&b, "10.0.0.1"), 403);
	assert_int_equal(counted(w, TURN_M_REALM_ALLOCATIONS, 0), 1);
	assert_int_equal(counted(w, TURN_M_REALM_ALLOCATIONS, 1), 2);
	assert_int_equal(counted(w, TURN_M_REALM_CREATED, 1), 2);
	assert_int_equal(counted(w, TURN_M_REALM_BYTES, 1), 5);
	assert_int_equal(counted(w, TURN_M_REALM_BYTES, 0), 0);
	assert_int_equal(counted(w, TURN_M_REALM_REFUSALS, 1), 1); /* the challenges are none */
	assert_int_equal(counted(w, TURN_M_REALM_REFUSALS, 0), 0);
	turn_server_sessions(w->server, &(struct turn_session_query){ .limit = 4, .realm = "partner.example" }, w->now, keep_session, &next);
	assert_int_equal(next - seen, 2);
	assert_string_equal(seen[0].realm, "partner.example");
	assert_string_equal(seen[1].user, "carol");
	assert_false(seen[0].retired);
	w->cfg.realms.n = 0;
	world_reload(w);
	next = seen;
	turn_server_sessions(w->server, &(struct turn_session_query){ .limit = 4 }, w->now, keep_session, &next);
	assert_int_equal(next - seen, 3);
	assert_true(seen[1].retired && !seen[0].retired);
	assert_int_equal(turn_server_kill_realm(w->server, "nobody.example", w->now), 0);
	assert_int_equal(turn_server_kill_realm(w->server, "partner.example", w->now), 2);
	assert_int_equal(turn_server_count(w->server), 1);
	assert_int_equal(counted(w, TURN_M_REALM_ALLOCATIONS, 1), 0);
}

/* ---- reload ---- */

static void a_realm_that_is_added_is_there_at_once(void **state)
{
	struct world *w = *state;
	struct cfg_endpoint its = { .proto = TURN_LISTEN_UDP, .at = address("198.51.100.3:3478") };
	struct client alice = partner(w, "192.0.2.1:1", "alice"), new = client_udp(w, "192.0.2.1:2", "x");

	assert_int_equal(allocate(&alice), 0);
	new.path.local = its.at;
	new.password = "for everybody";
	w->realms[1].listen = (struct cfg_list){ &its, 1 };
	w->cfg.realms.n = 2;
	world_reload(w);
	assert_int_equal(allocate(&new), 0);
	assert_string_equal(new.realm, "other.example");
	assert_int_equal(refresh(&alice, -1), 0);
}

/* Realms keep their numbers, whatever their place in the file. */
static void the_order_of_realms_means_nothing(void **state)
{
	struct world *w = *state;
	struct client alice = partner(w, "192.0.2.1:1", "alice"), tls = client_tls(w, "192.0.2.1:2", "carol");
	struct turn_realm_section was = w->realms[0];

	tls.path.realm = 1;
	tls.password = "password of carol";
	assert_int_equal(allocate(&alice), 0);
	w->realms[0] = w->realms[1];
	w->realms[1] = was;
	w->cfg.realms.n = 2;
	world_reload(w);
	assert_int_equal(refresh(&alice, -1), 0);
	assert_int_equal(allocate(&tls), 0); /* whose connection began before the reload */
	assert_string_equal(tls.realm, "partner.example");
}

static void what_lives_in_a_removed_realm_goes_on_by_its_rules(void **state)
{
	struct world *w = *state;
	struct prefix nine = { address("9.9.9.0"), 24 };
	struct client alice = partner(w, "192.0.2.1:1", "alice"), late = partner(w, "192.0.2.1:2", "carol");

	w->realms[0].peers.deny = (struct cfg_list){ &nine, 1 };
	w->realms[0].limits.permissions = 2;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(permit(&alice, "9.9.8.1"), 0);
	w->cfg.realms.n = 0;
	world_reload(w);
	send_to(&alice, "9.9.8.1:5", "still there");
	assert_peer_got(w, "9.9.8.1:5", "still there");
	assert_int_equal(refresh(&alice, -1), 0);
	assert_int_equal(permit(&alice, "9.9.9.9"), 403);
	assert_int_equal(permit(&alice, "9.9.8.2"), 0);
	assert_int_equal(permit(&alice, "9.9.8.3"), 508);
	world_wait(w, 599000);
	assert_int_equal(refresh(&alice, -1), 0); /* its nonce is 599 s old */
	world_wait(w, 2000);
	assert_int_equal(refresh(&alice, -1), 438); /* and too old now; the new one is of its realm */
	assert_string_equal(alice.realm, "partner.example");
	assert_int_equal(refresh(&alice, -1), 0);
	/* Nobody new comes in: who came to its address is of the default realm now. */
	assert_int_equal(allocate(&late), 401);
	assert_string_equal(late.realm, WORLD_REALM);
	assert_int_equal(refresh(&alice, 0), 0);
	assert_int_equal(allocate(&alice), 438); /* gone with its last allocation */
	assert_string_equal(alice.realm, WORLD_REALM);
	assert_int_equal(allocate(&alice), 401);
}

static void a_removed_realm_that_comes_back_finds_its_own(void **state)
{
	struct world *w = *state;
	struct client alice = partner(w, "192.0.2.1:1", "alice"), more = partner(w, "192.0.2.1:2", "alice");

	w->realms[0].limits.allocations_per_user = 1;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	for (int i = 0; i < 3; i++) {
		w->cfg.realms.n = 0;
		world_reload(w);
	}
	w->realms[1] = w->realms[0]; /* at another place in the file */
	w->realms[0] = (struct turn_realm_section){ .name = (char *)"new.example", .password = (char *)"x" };
	w->cfg.realms.n = 2;
	world_reload(w);
	assert_int_equal(allocate(&more), 486); /* alice has one: she is counted as before */
	assert_int_equal(refresh(&alice, 0), 0);
	assert_int_equal(allocate(&more), 0);
}

static void a_removed_realms_slot_is_free_only_when_it_is_empty(void **state)
{
	struct world *w = *state;
	struct client alice = partner(w, "192.0.2.1:1", "alice");

	assert_int_equal(allocate(&alice), 0);
	w->realms[0] = (struct turn_realm_section){ .name = (char *)"a.example", .password = (char *)"x" };
	world_reload(w);
	world_reload(w);
	assert_string_equal(turn_policy_realm(w->policy, 1)->name, "partner.example");
	assert_true(turn_policy_is_retired(w->policy, 1));
	assert_string_equal(turn_policy_realm(w->policy, 2)->name, "a.example");
	assert_int_equal(refresh(&alice, 0), 0);
	world_reload(w);
	assert_string_equal(turn_policy_realm(w->policy, 1)->name, WORLD_REALM); /* as of any free one */
	w->realms[1] = (struct turn_realm_section){ .name = (char *)"b.example", .password = (char *)"x" };
	w->cfg.realms.n = 2;
	world_reload(w);
	assert_string_equal(turn_policy_realm(w->policy, 1)->name, "b.example");
	assert_string_equal(turn_policy_realm(w->policy, 2)->name, "a.example");
}

static void the_default_realm_may_be_renamed_under_its_sessions(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice"), late = client_udp(w, "192.0.2.1:2", "bob");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(handshake(&late), 401);
	w->cfg.realm = (char *)"renamed.example";
	world_reload(w);
	assert_string_equal(alice.realm, WORLD_REALM);
	assert_int_equal(refresh(&alice, -1), 0); /* by the old name, with the old nonce */
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(allocate(&late), 401); /* the name it was told is no more, and it is told the new one */
	assert_non_null(strstr(latest(w).reason, "realm \"example.org\" is not served on udp"));
	assert_string_equal(late.realm, "renamed.example");
	assert_int_equal(allocate(&late), 0);
	assert_int_equal(turn_server_count(w->server), 2);
}

static void a_client_that_is_told_the_new_name_takes_it_over(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:1", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(refresh(&alice, 3600), 0);
	w->cfg.realm = (char *)"renamed.example";
	world_reload(w);
	world_wait(w, 600001);
	assert_int_equal(refresh(&alice, -1), 438);
	assert_string_equal(alice.realm, "renamed.example");
	assert_int_equal(refresh(&alice, -1), 0);
	assert_int_equal(refresh(&alice, -1), 0);
}

/* It is asked for by its name (stile turn why --realm NAME), and cut within a letter it would be no text. */
static void a_long_name_of_the_default_realm_is_told_whole(void **state)
{
	struct world *w = *state;
	char name[128];
	struct client alice = client_udp(w, "192.0.2.1:1", "alice"), wrong = client_udp(w, "192.0.2.1:2", "alice");
	struct turn_session_info seen[1], *next = seen;

	memset(name, 'x', sizeof name);
	memcpy(name + 62, "\xc3\xa4", 2); /* ends with the 64th byte */
	name[127] = 0;
	w->cfg.realm = name;
	world_reload(w);
	assert_int_equal(allocate(&alice), 0);
	wrong.password = "wrong";
	assert_int_equal(allocate(&wrong), 401);
	assert_string_equal(latest(w).realm, name);
	turn_server_sessions(w->server, &(struct turn_session_query){ .limit = 1, .realm = name }, w->now, keep_session, &next);
	assert_ptr_equal(next, seen + 1);
	assert_string_equal(seen[0].realm, name);
	w->cfg.realm = (char *)WORLD_REALM;
	world_reload(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REALMS(the_address_that_a_client_came_to_says_its_realm),
		REALMS(a_server_name_beats_the_address),
		REALMS(of_two_addresses_the_exact_one_counts),
		REALMS(a_credential_opens_its_own_realm_only),
		REALMS(who_names_another_realm_is_refused_in_words_for_the_administrator),
		REALMS(a_nonce_of_one_realm_is_worthless_in_another),
		REALMS(a_time_limited_credential_is_of_the_realm_of_its_secret),
		REALMS(names_are_hidden_where_all_users_are_named_and_nowhere_else),
		REALMS(old_clients_and_new_ones_are_in_one_realm_at_once),
		REALMS(a_user_hash_is_of_its_realm),
		REALMS(the_same_name_in_two_realms_is_two_users),
		REALMS(a_realm_has_its_share_and_the_server_its_total),
		REALMS(a_realm_that_is_full_sends_nobody_elsewhere),
		REALMS(permissions_and_channels_are_shares_too),
		REALMS(a_realms_bit_rate_is_its_own),
		REALMS(a_realms_rules_stand_on_top_of_the_servers),
		REALMS(a_ticket_a_token_and_a_connection_are_of_their_realm),
		REALMS(a_connection_to_a_peer_is_of_its_realm),
		REALMS(a_ticket_goes_to_another_worker_with_its_realm),
		REALMS(sessions_counters_and_ends_are_by_realm),
		REALMS(a_realm_that_is_added_is_there_at_once),
		REALMS(the_order_of_realms_means_nothing),
		REALMS(what_lives_in_a_removed_realm_goes_on_by_its_rules),
		REALMS(a_removed_realm_that_comes_back_finds_its_own),
		REALMS(a_removed_realms_slot_is_free_only_when_it_is_empty),
		REALMS(the_default_realm_may_be_renamed_under_its_sessions),
		REALMS(a_client_that_is_told_the_new_name_takes_it_over),
		REALMS(a_long_name_of_the_default_realm_is_told_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
