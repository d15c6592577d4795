/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad credentials back off (turn/backoff.h): a guesser is slowed down, whoever is good beside it is not, and the
 * administrator reads why.
 */
#include "tests/scenario/turn_world.h"

static bool first_refusal(const struct turn_refused *r, void *arg)
{
	*(struct turn_refused *)arg = *r;
	return false;
}

static struct turn_refused latest(struct world *w)
{
	struct turn_refused r = { 0 };

	turn_refusals_each(turn_server_refusals(w->server), first_refusal, &r);
	return r;
}

static void set_limits(struct world *w, uint64_t per_user, uint64_t per_address)
{
	w->cfg.limits.bad_credentials = per_user;
	w->cfg.limits.bad_credentials_per_address = per_address;
	world_reload(w);
}

static struct client guesser(struct world *w, const char *from, const char *user)
{
	struct client c = client_udp(w, from, user);

	c.password = "guess";
	assert_int_equal(handshake(&c), 401);
	return c;
}

static void after_some_failures_a_guess_is_neither_judged_nor_answered(void **state)
{
	struct world *w = *state;
	struct client mallory;

	set_limits(w, 5, 100);
	mallory = guesser(w, "192.0.2.1:4000", "alice");
	for (int i = 0; i < 5; i++)
		assert_int_equal(allocate(&mallory), 401);
	assert_string_equal(latest(w).reason, "the credential is not good: wrong password; backing off until 08:00:01 UTC "
					      "after 5 bad credentials");
	assert_int_equal(allocate(&mallory), NO_ANSWER);
	mallory.password = "password of alice"; /* the right guess is not told from a wrong one */
	assert_int_equal(allocate(&mallory), NO_ANSWER);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_BACKOFF), 2);
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD), 5);
	world_wait(w, 1000);
	assert_int_equal(allocate(&mallory), 0);
}

static unsigned judged_within(struct world *w, struct client *c, uint64_t ms, uint64_t every)
{
	int64_t before = counted(w, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD);

	for (uint64_t t = 0; t < ms; t += every) {
		(void)allocate(c);
		world_wait(w, every);
	}
	return (unsigned)(counted(w, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD) - before);
}

static void waits_double_up_to_their_bound_and_are_forgotten(void **state)
{
	struct world *w = *state;
	struct client mallory;

	set_limits(w, 5, UINT64_MAX);
	mallory = guesser(w, "192.0.2.1:4000", "alice");
	/* 5, and three after each of the waits of 1, 2, 4, 8, 16 s */
	assert_in_range(judged_within(w, &mallory, 32000, 100), 5 + 4 * 3, 5 + 5 * 3);
	(void)judged_within(w, &mallory, 120000, 1000);
	assert_in_range(judged_within(w, &mallory, 300000, 1000), 9, 18); /* three a minute */
	for (int i = 0; i < 9; i++) /* halved each time */
		world_wait(w, 600000);
	mallory.nonce[0] = 0;
	assert_int_equal(handshake(&mallory), 401);
	for (int i = 0; i < 5; i++)
		assert_int_equal(allocate(&mallory), 401);
}

static void an_old_nonce_is_no_way_around(void **state)
{
	struct world *w = *state;
	struct client mallory;

	set_limits(w, 5, 100);
	mallory = guesser(w, "192.0.2.1:4000", "alice");
	char nonce[sizeof mallory.nonce];
	memcpy(nonce, mallory.nonce, sizeof nonce);
	world_wait(w, 601000);
	for (int i = 0; i < 5; i++) {
		memcpy(mallory.nonce, nonce, sizeof nonce); /* the answer brought a new one */
		assert_int_equal(allocate(&mallory), 401);
	}
	memcpy(mallory.nonce, nonce, sizeof nonce);
	mallory.password = "password of alice"; /* 438 would tell that it is right */
	assert_int_equal(allocate(&mallory), NO_ANSWER);
}

/* A broken phone behind a NAT, and its neighbours with other names. */
static void neighbours_behind_the_same_nat_notice_nothing(void **state)
{
	struct world *w = *state;
	struct client broken, bob = client_udp(w, "192.0.2.1:4001", "bob");

	set_limits(w, 5, 20);
	broken = guesser(w, "192.0.2.1:4000", "alice");
	for (int i = 0; i < 200; i++) {
		(void)allocate(&broken);
		world_wait(w, 100);
	}
	assert_int_equal(allocate(&broken), NO_ANSWER);
	assert_int_equal(allocate(&bob), 0);
}

/* Two devices of one user at one address: the old one has the old password. */
static void a_users_good_device_gets_in_beside_its_broken_one(void **state)
{
	struct world *w = *state;
	struct client broken, good = client_udp(w, "192.0.2.1:4001", "alice"), again = client_udp(w, "192.0.2.1:4002", "alice");
	unsigned code = NO_ANSWER, tries = 0;

	set_limits(w, 5, 20);
	assert_int_equal(allocate(&good), 0);
	broken = guesser(w, "192.0.2.1:4000", "alice");
	assert_int_equal(handshake(&again), 401);
	for (int i = 0; i < 60; i++) { /* it knocks each second, for a minute */
		(void)allocate(&broken);
		world_wait(w, 1000);
	}
	assert_int_equal(refresh(&good, -1), 0); /* what lives is never asked about */
	for (; code == NO_ANSWER && tries < 10; tries++) {
		code = allocate(&again);
		world_wait(w, 700);
		(void)allocate(&broken);
	}
	assert_int_equal(code, 0);
}

/* But whoever guesses at a user who is there, behind the same NAT, is held to four a second. */
static void a_known_pair_is_no_way_to_guess_at_any_rate(void **state)
{
	struct world *w = *state;
	struct client good = client_udp(w, "192.0.2.1:4001", "alice"), mallory;

	set_limits(w, 5, UINT64_MAX);
	assert_int_equal(allocate(&good), 0);
	mallory = guesser(w, "192.0.2.1:4000", "alice");
	assert_in_range(judged_within(w, &mallory, 60000, 10), 200, 5 + 64 + 4 * 60 + 3 * 7);
}

static void another_name_each_time_is_stopped_by_the_limit_of_the_address(void **state)
{
	struct world *w = *state;
	char name[16];
	unsigned answered = 0;
	struct client bob = client_udp(w, "192.0.2.9:1", "bob");

	set_limits(w, 5, 20);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "user%d", i);
		struct client c = guesser(w, "192.0.2.1:4000", name);
		answered += allocate(&c) == 401;
	}
	assert_int_equal(answered, 20);
	assert_non_null(strstr(latest(w).reason, "after 20 bad credentials of this address"));
	assert_int_equal(allocate(&bob), 0); /* from elsewhere */
}

static void a_known_user_passes_while_its_address_waits(void **state)
{
	struct world *w = *state;
	char name[16];
	struct client bob = client_udp(w, "192.0.2.1:1", "bob"), later = client_udp(w, "192.0.2.1:2", "bob");

	set_limits(w, 5, 20);
	assert_int_equal(allocate(&bob), 0);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "user%d", i);
		struct client c = guesser(w, "192.0.2.1:4000", name);
		(void)allocate(&c);
	}
	assert_int_equal(allocate(&later), 0);
}

static void an_ipv6_source_is_its_64(void **state)
{
	struct world *w = *state;
	struct client a, b, elsewhere = client_udp(w, "[2001:db8:1:2::1]:1", "alice");

	set_limits(w, 5, 100);
	a = guesser(w, "[2001:db8:1:1::1]:1", "alice");
	b = guesser(w, "[2001:db8:1:1:ffff::2]:1", "alice");
	for (int i = 0; i < 5; i++)
		assert_int_equal(allocate(i % 2 ? &a : &b), 401);
	assert_int_equal(allocate(&a), NO_ANSWER);
	assert_int_equal(allocate(&b), NO_ANSWER);
	assert_int_equal(allocate(&elsewhere), 0);
}

/* Advisory: state for spoofed packets. */
static void what_has_no_nonce_of_ours_leaves_no_trace(void **state)
{
	struct world *w = *state;
	struct client forged = client_udp(w, "192.0.2.1:4000", "alice"), alice = client_udp(w, "192.0.2.1:4001", "alice");

	set_limits(w, 5, 5);
	forged.password = "guess";
	snprintf(forged.realm, sizeof forged.realm, "%s", WORLD_REALM);
	for (int i = 0; i < 50; i++) {
		snprintf(forged.nonce, sizeof forged.nonce, "%048d", i);
		assert_int_equal(allocate(&forged), 438);
	}
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_BACKOFF), 0);
	assert_int_equal(allocate(&alice), 0);
}

static void what_is_no_guess_is_not_counted(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	set_limits(w, 2, 2);
	assert_int_equal(handshake(&alice), 401);
	snprintf(alice.realm, sizeof alice.realm, "elsewhere.example");
	for (int i = 0; i < 10; i++) {
		assert_int_equal(allocate(&alice), 401); /* each answer tells the realm */
		assert_non_null(strstr(latest(w).reason, "realm \"elsewhere.example\" is not served on udp"));
		snprintf(alice.realm, sizeof alice.realm, "elsewhere.example");
	}
	snprintf(alice.realm, sizeof alice.realm, "%s", WORLD_REALM);
	assert_int_equal(allocate(&alice), 0);
}

static void a_reload_changes_the_limits(void **state)
{
	struct world *w = *state;
	struct client mallory;

	set_limits(w, 2, UINT64_MAX);
	mallory = guesser(w, "192.0.2.1:4000", "alice");
	assert_int_equal(allocate(&mallory), 401);
	assert_int_equal(allocate(&mallory), 401);
	assert_int_equal(allocate(&mallory), NO_ANSWER);
	set_limits(w, UINT64_MAX, UINT64_MAX);
	for (int i = 0; i < 20; i++)
		assert_int_equal(allocate(&mallory), 401);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(after_some_failures_a_guess_is_neither_judged_nor_answered),
		TALK(waits_double_up_to_their_bound_and_are_forgotten),
		TALK(an_old_nonce_is_no_way_around),
		TALK(neighbours_behind_the_same_nat_notice_nothing),
		TALK(a_users_good_device_gets_in_beside_its_broken_one),
		TALK(a_known_pair_is_no_way_to_guess_at_any_rate),
		TALK(another_name_each_time_is_stopped_by_the_limit_of_the_address),
		TALK(a_known_user_passes_while_its_address_waits),
		TALK(an_ipv6_source_is_its_64),
		TALK(what_has_no_nonce_of_ours_leaves_no_trace),
		TALK(what_is_no_guess_is_not_counted),
		TALK(a_reload_changes_the_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
