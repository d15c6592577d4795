/* SPDX-License-Identifier: Apache-2.0 */
/* Stateless nonces: form, binding to client, realm and features, age, key rotation. RFC 8489 9.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "stun/auth.h"

#define REALM TEXT("example.org")
enum {
	T0 = 1000000,
	MINUTE = 60000,
	FEATURES = STUN_FEATURE_PASSWORD_ALGORITHMS | STUN_FEATURE_USERNAME_ANONYMITY
};

struct world {
	struct stun_nonces nonces;
	struct addr client;
	char buf[STUN_NONCE_MAX];
	struct text nonce;
};

static void make(struct world *w, uint32_t features, uint64_t now)
{
	w->nonce.p = w->buf;
	w->nonce.n = stun_nonce_make(&w->nonces, &w->client, REALM, features, now, w->buf);
}

static enum stun_nonce_state check(const struct world *w, uint64_t now)
{
	return stun_nonce_check(&w->nonces, w->nonce, &w->client, REALM, now, NULL);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	assert_int_equal(stun_nonces_init(&w->nonces, T0), 0);
	w->client = addr_v4(0xc0000201, 50000);
	make(w, FEATURES, T0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void it_begins_with_the_cookie_and_the_feature_bits(void **state)
{
	struct world *w = *state;

	/* Bits count from the right (erratum 6290): 0x000003 is "AAAD". */
	assert_true(text_starts(w->nonce, TEXT("obMatJos2AAAD")));
	assert_int_equal(stun_nonce_features(w->nonce), FEATURES);
	make(w, STUN_FEATURE_USERNAME_ANONYMITY, T0);
	assert_true(text_starts(w->nonce, TEXT("obMatJos2AAAC"))); /* as in RFC 8489 B.1 */
	make(w, 0, T0);
	assert_false(text_starts(w->nonce, TEXT("obMatJos2")));
	assert_int_equal(stun_nonce_features(w->nonce), 0);
	assert_int_equal(check(w, T0), STUN_NONCE_GOOD);
}

static void a_client_reads_feature_bits_only_behind_a_whole_cookie(void **state)
{
	(void)state;
	assert_int_equal(stun_nonce_features(TEXT("obMatJos2AAABx")), STUN_FEATURE_PASSWORD_ALGORITHMS);
	assert_int_equal(stun_nonce_features(TEXT("obMatJos2gAAA")), 0x800000);
	assert_int_equal(stun_nonce_features(TEXT("obMatJos2AAA")), 0);
	assert_int_equal(stun_nonce_features(TEXT("obMatJos2AA=A")), 0);
	assert_int_equal(stun_nonce_features(TEXT("obMatJos3AAAB")), 0);
	assert_int_equal(stun_nonce_features(TEXT("")), 0);
}

static void it_is_text_of_quoted_string_characters_and_ends_in_nul(void **state)
{
	struct world *w = *state;

	assert_true(w->nonce.n < STUN_NONCE_MAX);
	assert_int_equal(strlen(w->buf), w->nonce.n);
	for (size_t i = 0; i < w->nonce.n; i++)
		assert_true(w->buf[i] > ' ' && w->buf[i] < 0x7f && w->buf[i] != '"' && w->buf[i] != '\\');
}

static void it_is_good_for_ten_minutes_and_then_stale(void **state)
{
	struct world *w = *state;
	uint64_t age = 0;

	assert_int_equal(check(w, T0), STUN_NONCE_GOOD);
	assert_int_equal(check(w, T0 + 10 * MINUTE - 1), STUN_NONCE_GOOD);
	assert_int_equal(check(w, T0 + 10 * MINUTE), STUN_NONCE_STALE);
	assert_int_equal(stun_nonce_check(&w->nonces, w->nonce, &w->client, REALM, T0 + 777, &age),
			 STUN_NONCE_GOOD);
	assert_int_equal(age, 777);
	assert_int_equal(check(w, T0 - 1),
			 STUN_NONCE_STALE); /* from the future: the clock is not to be trusted */
}

static void its_lifetime_can_be_set(void **state)
{
	struct world *w = *state;

	w->nonces.lifetime_ms = 5000;
	assert_int_equal(check(w, T0 + 4999), STUN_NONCE_GOOD);
	assert_int_equal(check(w, T0 + 5000), STUN_NONCE_STALE);
}

static void for_another_address_or_realm_it_is_foreign(void **state)
{
	struct world *w = *state;
	uint8_t ip6[16] = { [10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2, [15] = 1 };
	const struct addr others[] = { addr_v4(0xc0000202, 50000), addr_v4(0xc0000200, 50000),
				       addr_v6(ip6, 50000) };

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(stun_nonce_check(&w->nonces, w->nonce, &others[i], REALM, T0, NULL),
				 STUN_NONCE_FOREIGN);
	assert_int_equal(stun_nonce_check(&w->nonces, w->nonce, &w->client, TEXT("example.orf"), T0, NULL),
			 STUN_NONCE_FOREIGN);
	assert_int_equal(stun_nonce_check(&w->nonces, w->nonce, &w->client, TEXT(""), T0, NULL),
			 STUN_NONCE_FOREIGN);
	assert_int_equal(check(w, T0), STUN_NONCE_GOOD);
}

static void for_another_port_of_the_same_address_it_is_good(void **state)
{
	struct world *w = *state;
	const struct addr other = addr_v4(0xc0000201, 50001);

	char own[STUN_NONCE_MAX];
	size_t n = stun_nonce_make(&w->nonces, &other, REALM, stun_nonce_features(w->nonce), T0, own);

	assert_int_equal(stun_nonce_check(&w->nonces, w->nonce, &other, REALM, T0, NULL), STUN_NONCE_GOOD);
	/* RFC 8489 9.2.4: but it is not given the same one */
	assert_false(text_eq(w->nonce, (struct text){ own, n }));
	assert_int_equal(stun_nonce_check(&w->nonces, (struct text){ own, n }, &w->client, REALM, T0, NULL),
			 STUN_NONCE_GOOD);
}

/* Advisory: CVE-2025-69217. */
static void every_changed_character_makes_it_foreign(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < w->nonce.n; i++) {
		for (int bit = 0; bit < 8; bit++) {
			w->buf[i] = (char)(w->buf[i] ^ 1 << bit);
			assert_int_equal(check(w, T0), STUN_NONCE_FOREIGN);
			w->buf[i] = (char)(w->buf[i] ^ 1 << bit);
		}
	}
	assert_int_equal(check(w, T0), STUN_NONCE_GOOD);
}

static void every_cut_and_any_addition_makes_it_foreign(void **state)
{
	struct world *w = *state;
	size_t n = w->nonce.n;

	for (w->nonce.n = 0; w->nonce.n < n; w->nonce.n++)
		assert_int_equal(check(w, T0), STUN_NONCE_FOREIGN);
	w->nonce.n = n + 1;
	assert_int_equal(check(w, T0), STUN_NONCE_FOREIGN);
	w->nonce.n = n;
	assert_int_equal(check(w, T0), STUN_NONCE_GOOD);
}

static void without_its_cookie_it_is_foreign(void **state)
{
	struct world *w = *state;

	/* The bid-down attack: take the cookie away, so that the client believes in an old server. */
	w->nonce = text_drop(w->nonce, 13);
	assert_int_equal(check(w, T0), STUN_NONCE_FOREIGN);
}

static void the_time_of_issue_has_one_spelling(void **state)
{
	struct world *w = *state;
	bool changed = false;

	make(w, FEATURES, 0xabcdef);
	for (size_t i = 13; i < 25; i++)
		if (w->buf[i] >= 'a' && w->buf[i] <= 'f') {
			w->buf[i] = (char)(w->buf[i] - 'a' + 'A');
			changed = true;
		}
	assert_true(changed);
	assert_int_equal(check(w, 0xabcdef), STUN_NONCE_FOREIGN);
}

static void it_outlives_one_rotation_of_the_keys_but_not_two(void **state)
{
	struct world *w = *state;
	uint8_t first[32];

	memcpy(first, &w->nonces.key[0], sizeof first);
	stun_nonces_tick(&w->nonces, T0 + 60 * MINUTE - 1);
	assert_memory_equal(&w->nonces.key[0], first, sizeof first);
	make(w, FEATURES, T0 + 60 * MINUTE - 1);
	stun_nonces_tick(&w->nonces, T0 + 60 * MINUTE);
	assert_memory_not_equal(&w->nonces.key[0], first, sizeof first);
	assert_memory_equal(&w->nonces.key[1], first, sizeof first);
	assert_int_equal(check(w, T0 + 60 * MINUTE), STUN_NONCE_GOOD);
	stun_nonces_tick(&w->nonces, T0 + 120 * MINUTE);
	assert_int_equal(check(w, T0 + 120 * MINUTE), STUN_NONCE_FOREIGN);
	make(w, FEATURES, T0 + 120 * MINUTE);
	assert_int_equal(check(w, T0 + 120 * MINUTE), STUN_NONCE_GOOD);
}

static void two_servers_do_not_know_each_others(void **state)
{
	struct world *w = *state;
	struct stun_nonces other;

	assert_int_equal(stun_nonces_init(&other, T0), 0);
	assert_memory_not_equal(&other.key[0], &w->nonces.key[0], sizeof other.key[0]);
	assert_memory_not_equal(&other.key[0], &other.key[1], sizeof other.key[0]);
	assert_int_equal(stun_nonce_check(&other, w->nonce, &w->client, REALM, T0, NULL),
			 STUN_NONCE_FOREIGN);
}

static void it_works_for_ipv6_and_the_longest_realm(void **state)
{
	static char longest[763];
	struct world *w = *state;
	uint8_t ip6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 };
	struct text realm = { longest, sizeof longest };

	memset(longest, 'r', sizeof longest);
	w->client = addr_v6(ip6, 3478);
	w->nonce.n = stun_nonce_make(&w->nonces, &w->client, realm, FEATURES, T0, w->buf);
	assert_int_equal(stun_nonce_check(&w->nonces, w->nonce, &w->client, realm, T0, NULL),
			 STUN_NONCE_GOOD);
	longest[762] = 's';
	assert_int_equal(stun_nonce_check(&w->nonces, w->nonce, &w->client, realm, T0, NULL),
			 STUN_NONCE_FOREIGN);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Advisory: CVE-2025-69217. */
static void keys_do_not_follow_from_the_librarys_generator(void **state)
{
	struct stun_nonces one, two;

	(void)state;
	srand(42), srandom(42), srand48(42);
	assert_int_equal(stun_nonces_init(&one, T0), 0);
	srand(42), srandom(42), srand48(42);
	assert_int_equal(stun_nonces_init(&two, T0), 0);
	assert_memory_not_equal(&one.key[0], &two.key[0], sizeof one.key[0]);
	assert_memory_not_equal(&one.key[0], &one.key[1], sizeof one.key[0]);
	memcpy(two.key, one.key, sizeof two.key);
	two.rotate_ms = 1;
	srand(42), srandom(42), srand48(42);
	stun_nonces_tick(&two, T0 + 10);
	assert_memory_not_equal(&one.key[0], &two.key[0], sizeof one.key[0]);
	assert_memory_equal(&one.key[0], &two.key[1], sizeof one.key[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_begins_with_the_cookie_and_the_feature_bits),
		TEST(a_client_reads_feature_bits_only_behind_a_whole_cookie),
		TEST(it_is_text_of_quoted_string_characters_and_ends_in_nul),
		TEST(it_is_good_for_ten_minutes_and_then_stale),
		TEST(its_lifetime_can_be_set),
		TEST(for_another_address_or_realm_it_is_foreign),
		TEST(for_another_port_of_the_same_address_it_is_good),
		TEST(every_changed_character_makes_it_foreign),
		TEST(keys_do_not_follow_from_the_librarys_generator),
		TEST(every_cut_and_any_addition_makes_it_foreign),
		TEST(without_its_cookie_it_is_foreign),
		TEST(the_time_of_issue_has_one_spelling),
		TEST(it_outlives_one_rotation_of_the_keys_but_not_two),
		TEST(two_servers_do_not_know_each_others),
		TEST(it_works_for_ipv6_and_the_longest_realm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
