/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The long-term credential as the server asks for it (RFC 8489 9.2.4): challenge, nonce, old and new
 * clients, owners, REST credentials; what strangers are told and what the administrator is.
 */
#include "tests/scenario/turn_world.h"

static bool last_refusal(const struct turn_refused *r, void *arg)
{
	*(struct turn_refused *)arg = *r;
	return false;
}

static struct turn_refused latest(struct world *w)
{
	struct turn_refused r = { 0 };

	turn_refusals_each(turn_server_refusals(w->server), last_refusal, &r);
	return r;
}

static void the_first_request_is_challenged_and_that_is_no_event(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	assert_string_equal(alice.realm, WORLD_REALM);
	assert_true(stun_has(&alice.m, STUN_A_PASSWORD_ALGORITHMS));
	assert_int_equal(stun_nonce_features(text_of(alice.nonce)),
			 STUN_FEATURE_PASSWORD_ALGORITHMS | STUN_FEATURE_USERNAME_ANONYMITY);
	assert_false(stun_has(&alice.m, STUN_A_MESSAGE_INTEGRITY));
	assert_int_equal(latest(w).what, TURN_ACCEPTED); /* the ring is empty */
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_CHALLENGE), 1);
}

static void names_are_not_asked_to_hide_where_a_secret_may_be_meant(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->secrets[0] = (struct turn_secret_section){ (char *)"2026a", (char *)"north" };
	w->cfg.secrets = (struct cfg_list){ w->secrets, 1 };
	world_reload(w);
	assert_int_equal(handshake(&alice), 401);
	assert_int_equal(stun_nonce_features(text_of(alice.nonce)), STUN_FEATURE_PASSWORD_ALGORITHMS);
}

static void a_wrong_password_and_an_unknown_user_look_the_same_outside(void **state)
{
	struct world *w = *state;
	struct client wrong = client_udp(w, "192.0.2.1:4000", "alice"),
		      nobody = client_udp(w, "192.0.2.1:4001", "nobody");
	struct text reason_wrong, reason_nobody;
	unsigned code;

	wrong.password = "guess";
	assert_int_equal(allocate(&wrong), 401);
	assert_string_equal(latest(w).reason, "the credential is not good: wrong password");
	assert_string_equal(latest(w).user, "alice");
	assert_int_equal(allocate(&nobody), 401);
	assert_string_equal(latest(w).reason, "the credential is not good: unknown user name");
	assert_int_equal(stun_get_error(&wrong.m, &code, &reason_wrong), 0);
	assert_int_equal(stun_get_error(&nobody.m, &code, &reason_nobody), 0);
	assert_true(text_eq(reason_wrong, reason_nobody));
	assert_int_equal(wrong.answer_n, nobody.answer_n);
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD), 1);
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_UNKNOWN_USER), 1);
	assert_int_equal(w->n_relays, 0);
}

static void integrity_without_name_realm_or_nonce_is_bad(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct stun_key *k;

	assert_int_equal(handshake(&alice), 401);
	assert_int_equal(stun_key_short_term(STUN_MAC_SHA1, TEXT("x"), &k), 0);
	begin(&alice, STUN_ALLOCATE);
	stun_put_text(&alice.sw, STUN_A_USERNAME, TEXT("alice"));
	stun_put_integrity(&alice.sw, k);
	alice.unsigned_next = true;
	assert_int_equal(ask(&alice), 400);
	stun_key_free(k);
}

static void a_nonce_grows_stale_and_the_answer_has_a_new_one(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	world_wait(w, 600001);
	assert_int_equal(allocate(&alice), 438);
	assert_true(stun_has(&alice.m, STUN_A_PASSWORD_ALGORITHMS));
	assert_int_equal(allocate(&alice), 0); /* with the new one */
	assert_int_equal(latest(w).what, TURN_ACCEPTED);
}

static void how_long_a_nonce_is_good_is_the_administrators_word(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	w->cfg.lifetime.nonce_ms = 30000;
	world_reload(w);
	assert_int_equal(handshake(&alice), 401);
	turn_server_set_nonces(w->server, &w->nonces); /* as after a rotation: the lifetime stays */
	world_wait(w, 29000);
	assert_int_equal(allocate(&alice), 0);
	world_wait(w, 2000);
	assert_int_equal(refresh(&alice, -1), 438);
	assert_int_equal(refresh(&alice, -1), 0);
}

/* RFC 8489 9.2.4: name and password are judged before the nonce's age, and the answer to an old nonce
 * changes nothing. */
static void a_wrong_password_is_told_even_with_an_old_nonce(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      mallory = client_udp(w, "192.0.2.1:4001", "alice");

	mallory.password = "guess";
	assert_int_equal(handshake(&mallory), 401);
	assert_int_equal(allocate(&alice), 0);
	w->users[0].password = (char *)"a new password";
	world_reload(w);
	world_wait(w, 590000);
	assert_int_equal(refresh(&alice, 3600), 0);
	world_wait(w, 20000);
	assert_int_equal(allocate(&mallory), 401);
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD), 1);
	alice.password = "a new password";
	assert_int_equal(refresh(&alice, 0), 438); /* right, but old: maybe somebody plays it again */
	assert_false(stun_has(&alice.m, STUN_A_MESSAGE_INTEGRITY));
	assert_int_equal(w->n_relays, 1);
	alice.password = "password of alice"; /* still the allocation's */
	assert_int_equal(refresh(&alice, -1), 0);
}

static void a_nonce_is_good_for_its_address_only(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      thief = client_udp(w, "192.0.2.66:4000", "alice"), again = client_udp(w, "192.0.2.1:4001", "alice");

	assert_int_equal(handshake(&alice), 401);
	memcpy(again.nonce, alice.nonce, sizeof again.nonce);
	memcpy(again.realm, alice.realm, sizeof again.realm);
	assert_int_equal(allocate(&again), 0); /* a client's other socket */
	memcpy(thief.nonce, alice.nonce, sizeof thief.nonce);
	memcpy(thief.realm, alice.realm, sizeof thief.realm);
	assert_int_equal(allocate(&thief), 438);
	memset(alice.nonce, 'x', 30);
	alice.nonce[30] = 0;
	assert_int_equal(allocate(&alice), 438);
	alice.nonce[3] = (char)0xff; /* no text at all */
	assert_int_equal(allocate(&alice), 438);
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD), 0); /* and nobody's password was tried */
}

static void an_allocation_obeys_its_owner_only(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      bob = client_udp(w, "192.0.2.1:4000", "bob");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(handshake(&bob), 401);
	assert_int_equal(refresh(&bob, 0), 441);
	assert_int_equal(permit(&bob, "9.9.9.9"), 441);
	bob.password = "guess";
	assert_int_equal(refresh(&bob, 0), 401);
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_OWNER), 2);
}

/* RFC 8656 19: 441 is for "non-Allocate" requests. A client that comes to a five-tuple which a NAT gave to
 * somebody else before must learn that, and try from another port. */
static void an_allocate_on_the_five_tuple_of_another_user_is_a_mismatch(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      bob = client_udp(w, "192.0.2.1:4000", "bob");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(allocate(&bob), 437);
	assert_true(stun_has(&bob.m, STUN_A_MESSAGE_INTEGRITY));
	bob.tids = alice.tids - 1; /* even with the same transaction id it is not bob's to know */
	assert_int_equal(allocate(&bob), 437);
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(refresh(&alice, -1), 0);
}

static void the_owners_key_does_not_go_with_another_name(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct stun_key *k;

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(stun_key_long_term(STUN_ALG_MD5, STUN_MAC_SHA1, TEXT("alice"),
					    TEXT(WORLD_REALM), text_of(alice.password), &k),
			 0);
	begin(&alice, STUN_REFRESH);
	stun_put_text(&alice.sw, STUN_A_USERNAME, TEXT("bob"));
	stun_put_text(&alice.sw, STUN_A_REALM, text_of(alice.realm));
	stun_put_text(&alice.sw, STUN_A_NONCE, text_of(alice.nonce));
	stun_put_integrity(&alice.sw, k);
	alice.unsigned_next = true; /* it is, already */
	assert_int_equal(ask(&alice), 401);
	stun_key_free(k);
}

static void a_client_of_rfc_8489_uses_sha_256(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	alice.alg = STUN_ALG_SHA256;
	assert_int_equal(allocate(&alice), 0); /* the answer's MESSAGE-INTEGRITY-SHA256 was checked */
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(refresh(&alice, 0), 0);
}

/* RFC 8489 9.2.4, the last paragraph: the answer's integrity follows from the password algorithm. */
static void the_answers_integrity_follows_the_password_algorithm(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");
	struct stun_key *sha1, *sha256;

	assert_int_equal(handshake(&alice), 401);
	assert_int_equal(stun_key_long_term(STUN_ALG_SHA256, STUN_MAC_SHA1, TEXT("alice"), TEXT(WORLD_REALM),
					    text_of(alice.password), &sha1), 0);
	assert_int_equal(stun_key_long_term(STUN_ALG_MD5, STUN_MAC_SHA256, TEXT("alice"), TEXT(WORLD_REALM),
					    text_of(alice.password), &sha256), 0);
	for (int named = 0; named < 2; named++) {
		begin(&alice, STUN_REFRESH); /* 437, but signed */
		stun_put_text(&alice.sw, STUN_A_USERNAME, TEXT("alice"));
		stun_put_text(&alice.sw, STUN_A_REALM, text_of(alice.realm));
		stun_put_text(&alice.sw, STUN_A_NONCE, text_of(alice.nonce));
		if (named) {
			stun_put_password_algorithms(&alice.sw);
			stun_put_password_algorithm(&alice.sw, STUN_ALG_SHA256);
		}
		stun_put_integrity(&alice.sw, named ? sha1 : sha256);
		alice.unsigned_next = true;
		assert_int_equal(ask(&alice), 437);
		assert_int_equal(stun_has(&alice.m, STUN_A_MESSAGE_INTEGRITY_SHA256), named);
		assert_int_equal(stun_has(&alice.m, STUN_A_MESSAGE_INTEGRITY), !named);
	}
	stun_key_free(sha1);
	stun_key_free(sha256);
}

static void a_client_of_rfc_8489_may_hide_its_name(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      nobody = client_udp(w, "192.0.2.1:1", "nobody");

	alice.alg = nobody.alg = STUN_ALG_SHA256;
	alice.userhash = nobody.userhash = true;
	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(refresh(&alice, -1), 0);
	assert_int_equal(allocate(&nobody), 401);
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_UNKNOWN_USERHASH), 1);
}

static void an_altered_list_of_algorithms_is_refused(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	begin(&alice, STUN_ALLOCATE); /* a list without its choice: somebody took something away */
	stun_put_u32(&alice.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put_password_algorithms(&alice.sw);
	assert_int_equal(ask(&alice), 400);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_ALGORITHM), 1);
	begin(&alice, STUN_ALLOCATE); /* a list that was never ours */
	stun_put_u32(&alice.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&alice.sw, STUN_A_PASSWORD_ALGORITHMS, "\0\1\0\0", 4);
	stun_put_password_algorithm(&alice.sw, STUN_ALG_MD5);
	assert_int_equal(ask(&alice), 400);
}

static void a_time_limited_credential_works_until_it_has_expired(void **state)
{
	struct world *w = *state;
	struct turn_minted good, old;
	struct addr peer = address("9.9.9.9:1");

	w->secrets[0] = (struct turn_secret_section){ (char *)"2026a", (char *)"a shared secret" };
	w->cfg.secrets = (struct cfg_list){ w->secrets, 1 };
	world_reload(w);
	assert_int_equal(turn_mint_credential(STUN_MAC_SHA1, TEXT("a shared secret"), TEXT("carol"),
					      1800000060, &good),
			 0);
	assert_int_equal(turn_mint_credential(STUN_MAC_SHA256, TEXT("a shared secret"),
					      TEXT("carol"), 1799999960, &old),
			 0);
	struct client fresh = client_udp(w, "192.0.2.1:4000", good.user),
		      late = client_udp(w, "192.0.2.1:4001", old.user);
	fresh.password = good.password;
	late.password = old.password;
	assert_int_equal(allocate(&fresh), 0);
	assert_int_equal(allocate(&late), 401);
	assert_non_null(strstr(latest(w).reason, "expired, 40 s ago (secret 2026a); here it is 2027-01-15 08:00:00 UTC"));
	begin(&fresh, STUN_CREATE_PERMISSION);
	stun_put_addr(&fresh.sw, STUN_A_XOR_PEER_ADDRESS, &peer);
	assert_int_equal(ask(&fresh), 0);
}

/* What the time in a credential says about who made it, and where no secret fits. */
static void a_bad_time_limited_credential_says_what_is_wrong_with_it(void **state)
{
	static const struct {
		uint64_t expiry;
		const char *password, *says;
	} cases[] = {
		{ 3600, NULL, "3600 is no point in time: the service that makes it should write now + lifetime" },
		{ 1799000000, NULL, "expired, 1000000 s ago (secret 2026b); the client keeps an old one, or a clock is wrong: "
				    "here it is 2027-01-15 08:00:00 UTC" },
		{ 1800000060, "tampered", "wrong password: none of the 2 shared secrets made it, or it was altered" },
	};
	struct world *w = *state;
	struct turn_minted m;

	w->secrets[0] = (struct turn_secret_section){ (char *)"2026a", (char *)"a shared secret" };
	w->secrets[1] = (struct turn_secret_section){ (char *)"2026b", (char *)"another secret" };
	w->cfg.secrets = (struct cfg_list){ w->secrets, 2 };
	world_reload(w);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(turn_mint_credential(STUN_MAC_SHA1, TEXT("another secret"), TEXT("carol"), cases[i].expiry, &m), 0);
		struct client c = client_udp(w, "192.0.2.1:4000", m.user);
		c.password = cases[i].password ? cases[i].password : m.password;
		assert_int_equal(allocate(&c), 401);
		if (!strstr(latest(w).reason, cases[i].says))
			fail_msg("%s", latest(w).reason);
	}
	w->cfg.secrets.n = 0;
	world_reload(w);
	struct client c = client_udp(w, "192.0.2.1:4000", m.user);
	c.password = m.password;
	assert_int_equal(allocate(&c), 401);
	assert_non_null(strstr(latest(w).reason, "unknown user name: it looks time-limited, but there is no shared secret"));
}

/* Counted when it is answered, refusals included; a request that waits for another worker is not done yet. */
static void how_long_each_request_took_is_observed_by_method(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0); /* 401, then success */
	assert_int_equal(refresh(&alice, -1), 0);
	send_to(&alice, "9.9.9.9:53", "no request");
	assert_int_equal(counted(w, TURN_M_LATENCY, TURN_METHOD_ALLOCATE), 2);
	assert_int_equal(counted(w, TURN_M_LATENCY, TURN_METHOD_REFRESH), 1);
	assert_int_equal(counted(w, TURN_M_LATENCY, TURN_METHOD_BINDING), 0);
	json_t *all = metrics_json(w->metrics);
	json_t *refreshes = json_object_get(json_object_get(all, "stile_turn_request_duration_seconds"), "refresh");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(refreshes, "buckets"), "5e-06")), 0);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(refreshes, "buckets"), "1e-05")), 1);
	json_decref(all);
}

static void the_one_password_opens_for_any_name(void **state)
{
	struct world *w = *state;
	struct client uc = client_udp(w, "192.0.2.1:4000", "whoever");

	w->cfg.password = (char *)"one password";
	world_reload(w);
	uc.password = "one password";
	assert_int_equal(allocate(&uc), 0);
}

static void a_new_password_does_not_cut_off_what_lives(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice"),
		      later = client_udp(w, "192.0.2.1:4001", "alice");

	assert_int_equal(allocate(&alice), 0);
	w->users[0].password = (char *)"a new password";
	world_reload(w);
	assert_int_equal(refresh(&alice, -1), 0); /* with the old one */
	assert_int_equal(allocate(&later), 401);
	later.password = alice.password = "a new password";
	assert_int_equal(allocate(&later), 0);
	assert_int_equal(refresh(&alice, -1), 0); /* the new one is as good */
	w->cfg.users.n = 0;
	w->cfg.password = (char *)"one";
	world_reload(w);
	assert_int_equal(refresh(&alice, -1), 0); /* even without any */
}

static void an_answer_has_a_fingerprint_if_the_request_has(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	assert_false(alice.m.has_fingerprint);
	alice.fingerprint = true;
	assert_int_equal(allocate(&alice), 0);
	assert_true(alice.m.has_fingerprint);
	assert_int_equal(allocate(&alice), 437);
	assert_true(alice.m.has_fingerprint);
}

static void after_a_change_of_keys_clients_just_ask_again(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(stun_nonces_init(&w->nonces, w->now), 0); /* as after a restart */
	turn_server_set_nonces(w->server, &w->nonces);
	assert_int_equal(refresh(&alice, -1), 438);
	assert_int_equal(refresh(&alice, -1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(the_first_request_is_challenged_and_that_is_no_event),
		TALK(names_are_not_asked_to_hide_where_a_secret_may_be_meant),
		TALK(a_wrong_password_and_an_unknown_user_look_the_same_outside),
		TALK(integrity_without_name_realm_or_nonce_is_bad),
		TALK(a_nonce_grows_stale_and_the_answer_has_a_new_one),
		TALK(how_long_a_nonce_is_good_is_the_administrators_word),
		TALK(a_wrong_password_is_told_even_with_an_old_nonce),
		TALK(a_nonce_is_good_for_its_address_only),
		TALK(an_allocation_obeys_its_owner_only),
		TALK(an_allocate_on_the_five_tuple_of_another_user_is_a_mismatch),
		TALK(the_owners_key_does_not_go_with_another_name),
		TALK(a_client_of_rfc_8489_uses_sha_256),
		TALK(the_answers_integrity_follows_the_password_algorithm),
		TALK(a_client_of_rfc_8489_may_hide_its_name),
		TALK(an_altered_list_of_algorithms_is_refused),
		TALK(a_time_limited_credential_works_until_it_has_expired),
		TALK(a_bad_time_limited_credential_says_what_is_wrong_with_it),
		TALK(how_long_each_request_took_is_observed_by_method),
		TALK(the_one_password_opens_for_any_name),
		TALK(a_new_password_does_not_cut_off_what_lives),
		TALK(an_answer_has_a_fingerprint_if_the_request_has),
		TALK(after_a_change_of_keys_clients_just_ask_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
