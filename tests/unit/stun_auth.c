/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys, MESSAGE-INTEGRITY with both MACs, truncation, USERHASH, PASSWORD-ALGORITHM(S). HMAC results
 * are compared with OpenSSL's own HMAC(), which shares no code with ours above the block function, and with the
 * vectors of RFC 2202 and RFC 4231; whole messages of the RFCs are in rfc5769.c.
 */
#include <errno.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "stun/key_priv.h"

static const uint8_t tid[STUN_TID_LEN] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };

struct built {
	uint8_t raw[512];
	size_t n;
	struct stun_writer sw;
	struct stun_msg m;
};

static void begin(struct built *b)
{
	stun_begin(&b->sw, b->raw, sizeof b->raw, STUN_ALLOCATE, STUN_REQUEST, tid);
	stun_put_text(&b->sw, STUN_A_USERNAME, TEXT("alice"));
}

static void parse(struct built *b)
{
	ssize_t n = stun_end(&b->sw);
	assert_true(n > 0);
	b->n = (size_t)n;
	assert_int_equal(stun_parse(b->raw, b->n, &b->m), STUN_OK);
}

static struct stun_key *key_of(enum stun_mac mac, const char *secret)
{
	struct stun_key *k = NULL;
	assert_int_equal(stun_key_short_term(mac, text_of(secret), &k), 0);
	return k;
}

static void check_hex(const uint8_t *got, const char *want)
{
	char hex[2 * STUN_MAC_MAX + 1];
	hex_encode(got, strlen(want) / 2, hex);
	assert_string_equal(hex, want);
}

static void a_key_makes_the_hmac_of_rfc_2202_and_rfc_4231(void **state)
{
	uint8_t mac[STUN_MAC_MAX], twenty[20], long_key[131];
	struct stun_key *k;

	(void)state;
	memset(twenty, 0x0b, sizeof twenty);
	memset(long_key, 0xaa, sizeof long_key);
	assert_int_equal(stun_key_raw(STUN_MAC_SHA1, twenty, sizeof twenty, &k), 0);
	stun_key_mac(k, TEXT("Hi "), TEXT("There"), mac);
	check_hex(mac, "b617318655057264e28bc0b6fb378c8ef146be00");
	stun_key_free(k);
	assert_int_equal(stun_key_raw(STUN_MAC_SHA1, long_key, 80, &k), 0); /* longer than a block */
	stun_key_mac(k, TEXT(""), TEXT("Test Using Larger Than Block-Size Key - Hash Key First"), mac);
	check_hex(mac, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
	stun_key_free(k);
	assert_int_equal(stun_key_raw(STUN_MAC_SHA256, twenty, sizeof twenty, &k), 0);
	stun_key_mac(k, TEXT("Hi There"), TEXT(""), mac);
	check_hex(mac, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	stun_key_free(k);
	assert_int_equal(stun_key_raw(STUN_MAC_SHA256, long_key, sizeof long_key, &k), 0);
	stun_key_mac(k, TEXT("Test Using Larger Than Block-Size Key"), TEXT(" - Hash Key First"), mac);
	check_hex(mac, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	stun_key_free(k);
	struct stun_saved_mac saved;

	stun_mac_save("Jefe", 4, &saved);
	stun_mac_saved(&saved, TEXT("what do ya want for nothing?"), mac);
	check_hex(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void a_key_may_sign_many_messages(void **state)
{
	_cleanup_(stun_key_freep) struct stun_key *k = key_of(STUN_MAC_SHA256, "secret");
	uint8_t first[STUN_MAC_MAX], again[STUN_MAC_MAX];

	(void)state;
	stun_key_mac(k, TEXT("one"), TEXT(""), first);
	stun_key_mac(k, TEXT("two"), TEXT(""), again);
	assert_memory_not_equal(first, again, sizeof first);
	stun_key_mac(k, TEXT("one"), TEXT(""), again);
	assert_memory_equal(first, again, sizeof first);
}

static void a_key_fits_the_memory_of_a_user_and_may_be_empty(void **state)
{
	_cleanup_(stun_key_freep) struct stun_key *k = key_of(STUN_MAC_SHA1, "");
	uint8_t got[STUN_MAC_MAX];

	(void)state;
	assert_true(malloc_usable_size(k) <= 256);
	stun_key_mac(k, TEXT(""), TEXT(""), got);
	check_hex(got, "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d");
	assert_null(stun_key_free(NULL));
}

static void a_long_term_key_is_the_hash_of_user_realm_password(void **state)
{
	static const struct {
		enum stun_algorithm alg;
		const char *key;
	} rows[] = {
		/* RFC 8489 18.5.1.1: user "user", realm "realm", password "pass" */
		{ STUN_ALG_MD5, "8493fbc53ba582fb4c044c456bdc40eb" },
		/* sha256("user:realm:pass") */
		{ STUN_ALG_SHA256, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (enum stun_mac mac = STUN_MAC_SHA1; mac <= STUN_MAC_SHA256; mac++) {
			uint8_t raw[32], got[STUN_MAC_MAX], want[STUN_MAC_MAX];
			unsigned n = sizeof raw;
			struct stun_key *k, *direct;
			EVP_Digest("user:realm:pass", 15, raw, &n,
				   rows[i].alg == STUN_ALG_MD5 ? EVP_md5() : EVP_sha256(), NULL);
			if (rows[i].key)
				check_hex(raw, rows[i].key);
			assert_int_equal(stun_key_long_term(rows[i].alg, mac, TEXT("user"),
							    TEXT("realm"), TEXT("pass"), &k),
					 0);
			assert_int_equal(stun_key_raw(mac, raw, n, &direct), 0);
			stun_key_mac(k, TEXT("m"), TEXT(""), got);
			stun_key_mac(direct, TEXT("m"), TEXT(""), want);
			assert_memory_equal(got, want, mac == STUN_MAC_SHA1 ? 20 : 32);
			stun_key_free(k);
			stun_key_free(direct);
		}
}

static void an_unknown_algorithm_makes_no_key(void **state)
{
	struct stun_key *k = NULL;

	(void)state;
	assert_int_equal(stun_key_long_term((enum stun_algorithm)3, STUN_MAC_SHA1, TEXT("u"),
					    TEXT("r"), TEXT("p"), &k),
			 -EINVAL);
	assert_null(k);
}

static void the_mac_covers_the_message_as_if_it_were_the_last_attribute(void **state)
{
	_cleanup_(stun_key_freep) struct stun_key *k = key_of(STUN_MAC_SHA1, "secret");
	uint8_t copy[512], want[EVP_MAX_MD_SIZE];
	unsigned want_n;
	struct built b;

	(void)state;
	begin(&b);
	size_t at = wr_len(&b.sw.w);
	stun_put_integrity(&b.sw, k);
	stun_put_fingerprint(&b.sw);
	parse(&b);
	assert_int_equal(b.m.mi_offset, at);
	/* by the book: the message up to the attribute, its length field ending with the attribute */
	memcpy(copy, b.raw, at);
	store_be16(copy + 2, (uint16_t)(at + 24 - STUN_HEADER_LEN));
	HMAC(EVP_sha1(), "secret", 6, copy, at, want, &want_n);
	assert_memory_equal(b.m.attr[STUN_A_MESSAGE_INTEGRITY].p, want, want_n);
	assert_true(stun_check_integrity(&b.m, k));
	/* the check leaves the message as it was */
	assert_int_equal(load_be16(b.raw + 2), b.n - STUN_HEADER_LEN);
}

static void a_wrong_key_or_a_changed_byte_is_refused(void **state)
{
	(void)state;
	for (enum stun_mac mac = STUN_MAC_SHA1; mac <= STUN_MAC_SHA256; mac++) {
		_cleanup_(stun_key_freep) struct stun_key *k = key_of(mac, "secret"),
							  *wrong = key_of(mac, "Secret");
		struct built b;
		begin(&b);
		stun_put_integrity(&b.sw, k);
		parse(&b);
		assert_true(stun_check_integrity(&b.m, k));
		assert_false(stun_check_integrity(&b.m, wrong));
		for (size_t bit = 0; bit < 8 * b.n; bit++) {
			struct stun_msg m;
			b.raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_false(stun_parse(b.raw, b.n, &m) == STUN_OK &&
				     stun_check_integrity(&m, k));
			b.raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

static void a_key_checks_only_the_attribute_of_its_own_mac(void **state)
{
	_cleanup_(stun_key_freep) struct stun_key *sha1 = key_of(STUN_MAC_SHA1, "s"),
						  *sha256 = key_of(STUN_MAC_SHA256, "s");
	struct built b;

	(void)state;
	begin(&b);
	parse(&b);
	assert_false(stun_check_integrity(&b.m, sha1));
	assert_false(stun_check_integrity(&b.m, sha256));
	begin(&b);
	stun_put_integrity(&b.sw, sha1);
	parse(&b);
	assert_true(stun_check_integrity(&b.m, sha1));
	assert_false(stun_check_integrity(&b.m, sha256));
}

static void both_macs_may_stand_in_one_message(void **state)
{
	_cleanup_(stun_key_freep) struct stun_key *sha1 = key_of(STUN_MAC_SHA1, "s"),
						  *sha256 = key_of(STUN_MAC_SHA256, "s");
	struct built b;

	(void)state;
	begin(&b);
	stun_put_integrity(&b.sw, sha1);
	stun_put_integrity(&b.sw, sha256);
	stun_put_fingerprint(&b.sw);
	parse(&b);
	assert_true(stun_check_integrity(&b.m, sha1));
	assert_true(stun_check_integrity(&b.m, sha256));
	assert_true(b.m.has_fingerprint);
	assert_int_equal(b.m.mi256_offset, b.m.mi_offset + 24);
	b.raw[b.m.mi_offset + 4] ^= 1; /* the second covers the first */
	assert_false(stun_check_integrity(&b.m, sha256));
}

static void a_truncated_sha256_mac_is_accepted_from_16_bytes_in_fours(void **state)
{
	_cleanup_(stun_key_freep) struct stun_key *k = key_of(STUN_MAC_SHA256, "secret");

	(void)state;
	for (size_t n = 0; n <= 40; n++) {
		uint8_t mac[EVP_MAX_MD_SIZE] = { 0 };
		unsigned mac_n;
		struct built b;
		begin(&b);
		size_t at = wr_len(&b.sw.w);
		store_be16(b.raw + 2, (uint16_t)(at + 4 + n - STUN_HEADER_LEN));
		HMAC(EVP_sha256(), "secret", 6, b.raw, at, mac, &mac_n);
		stun_put_raw(&b.sw, 0x001c, mac, n);
		ssize_t len = stun_end(&b.sw);
		bool legal = n >= 16 && n <= 32 && n % 4 == 0;
		assert_int_equal(stun_parse(b.raw, (size_t)len, &b.m), legal ? STUN_OK : STUN_MALFORMED);
		if (!legal)
			continue;
		assert_true(stun_check_integrity(&b.m, k));
		b.raw[at + 4 + n - 1] ^= 1;
		assert_false(stun_check_integrity(&b.m, k));
	}
}

/* Advisory: behind the integrity. */
static void attributes_added_behind_the_mac_change_nothing(void **state)
{
	_cleanup_(stun_key_freep) struct stun_key *k = key_of(STUN_MAC_SHA1, "secret");
	struct text user;
	struct built b;

	(void)state;
	begin(&b);
	stun_put_integrity(&b.sw, k);
	stun_put_text(&b.sw, STUN_A_REALM, TEXT("evil"));
	stun_put_text(&b.sw, STUN_A_USERNAME, TEXT("mallory"));
	stun_put_raw(&b.sw, 0x7fff, NULL, 0);
	parse(&b);
	assert_true(stun_check_integrity(&b.m, k));
	assert_false(stun_has(&b.m, STUN_A_REALM));
	assert_int_equal(b.m.n_unknown, 0);
	assert_int_equal(stun_get_text(&b.m, STUN_A_USERNAME, &user), 0);
	assert_true(text_eq(user, TEXT("alice")));
}

static void userhash_is_sha256_of_user_and_realm(void **state)
{
	uint8_t got[STUN_USERHASH_LEN], want[32];
	unsigned n = sizeof want;

	(void)state;
	stun_userhash(TEXT("alice"), TEXT("example.org"), got);
	EVP_Digest("alice:example.org", 17, want, &n, EVP_sha256(), NULL);
	assert_memory_equal(got, want, sizeof want);
}

static void our_password_algorithms_are_sha256_then_md5(void **state)
{
	static const uint8_t wire[] = { 0, 2, 0, 0, 0, 1, 0, 0 };
	static const uint8_t reduced[] = { 0, 1, 0, 0 }, swapped[] = { 0, 1, 0, 0, 0, 2, 0, 0 };
	struct built b;

	(void)state;
	begin(&b);
	stun_put_password_algorithms(&b.sw);
	parse(&b);
	assert_int_equal(b.m.attr[STUN_A_PASSWORD_ALGORITHMS].n, sizeof wire);
	assert_memory_equal(b.m.attr[STUN_A_PASSWORD_ALGORITHMS].p, wire, sizeof wire);
	assert_true(stun_password_algorithms_equal_ours(&b.m));

	/* A man in the middle took the better one away, or the client made it up. */
	begin(&b);
	stun_put(&b.sw, STUN_A_PASSWORD_ALGORITHMS, reduced, sizeof reduced);
	parse(&b);
	assert_false(stun_password_algorithms_equal_ours(&b.m));
	begin(&b);
	stun_put(&b.sw, STUN_A_PASSWORD_ALGORITHMS, swapped, sizeof swapped);
	parse(&b);
	assert_false(stun_password_algorithms_equal_ours(&b.m));
	begin(&b);
	parse(&b);
	assert_false(stun_password_algorithms_equal_ours(&b.m));
}

static void a_chosen_password_algorithm_is_read_strictly(void **state)
{
	static const struct {
		const char *hex;
		int result;
	} rows[] = {
		{ "00010000", 0 },
		{ "00020000", 0 },
		{ "00030000", -ENOTSUP },	  /* nobody knows it */
		{ "01020000", -ENOTSUP },	  /* not cut to eight bits */
		{ "0002000461626364", -ENOTSUP }, /* parameters that it does not have */
		{ "00020004", -EBADMSG },	  /* they are missing */
		{ "0002000000020000", -EBADMSG }, /* two of them */
	};
	enum stun_algorithm alg = 0;
	struct built b;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t value[16];
		size_t n;
		assert_int_equal(hex_decode(text_of(rows[i].hex), value, sizeof value, &n), 0);
		begin(&b);
		stun_put(&b.sw, STUN_A_PASSWORD_ALGORITHM, value, n);
		parse(&b);
		assert_int_equal(stun_get_password_algorithm(&b.m, &alg), rows[i].result);
		if (rows[i].result == 0)
			assert_int_equal(alg, value[1]);
	}
	begin(&b);
	parse(&b);
	assert_int_equal(stun_get_password_algorithm(&b.m, &alg), -ENOENT);
	begin(&b);
	stun_put_password_algorithm(&b.sw, STUN_ALG_MD5);
	parse(&b);
	assert_int_equal(stun_get_password_algorithm(&b.m, &alg), 0);
	assert_int_equal(alg, STUN_ALG_MD5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_key_makes_the_hmac_of_rfc_2202_and_rfc_4231),
		cmocka_unit_test(a_key_may_sign_many_messages),
		cmocka_unit_test(a_key_fits_the_memory_of_a_user_and_may_be_empty),
		cmocka_unit_test(a_long_term_key_is_the_hash_of_user_realm_password),
		cmocka_unit_test(an_unknown_algorithm_makes_no_key),
		cmocka_unit_test(the_mac_covers_the_message_as_if_it_were_the_last_attribute),
		cmocka_unit_test(a_wrong_key_or_a_changed_byte_is_refused),
		cmocka_unit_test(a_key_checks_only_the_attribute_of_its_own_mac),
		cmocka_unit_test(both_macs_may_stand_in_one_message),
		cmocka_unit_test(a_truncated_sha256_mac_is_accepted_from_16_bytes_in_fours),
		cmocka_unit_test(attributes_added_behind_the_mac_change_nothing),
		cmocka_unit_test(userhash_is_sha256_of_user_and_realm),
		cmocka_unit_test(our_password_algorithms_are_sha256_then_md5),
		cmocka_unit_test(a_chosen_password_algorithm_is_read_strictly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
