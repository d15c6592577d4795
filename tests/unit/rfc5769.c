/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test vectors of RFC 5769 (2.1 to 2.4) and of RFC 8489 B.1 as corrected by verified erratum 6268 (its
 * printed form lacks PASSWORD-ALGORITHM, and length and MAC are wrong). Each is parsed, checked, spoilt,
 * and written again byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "stun/auth.h"

#define PASSWORD TEXT("VOkJxbRl1RmTxUk/WvJxBt")
#define MATRIX TEXT("\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9")
#define REALM TEXT("example.org")

/* clang-format off */
static const uint8_t tid[STUN_TID_LEN] = { 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae };
static const uint8_t tid_long[STUN_TID_LEN] = { 0x78, 0xad, 0x34, 0x33, 0xc6, 0xad,
						0x72, 0xc0, 0x29, 0xda, 0x41, 0x2e };

static const char request_hex[] = "000100582112a442b7e7a701bc34d686fa87dfae" /* header */
				  "802200105354554e207465737420636c69656e74" /* SOFTWARE "STUN test client" */
				  "002400046e0001ff"			    /* PRIORITY */
				  "80290008932ff9b151263b36"		    /* ICE-CONTROLLED */
				  "000600096576746a3a68367659202020"	    /* USERNAME "evtj:h6vY", padded by blanks */
				  "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
				  "80280004e57a3bcf";
static const char ipv4_hex[] = "0101003c2112a442b7e7a701bc34d686fa87dfae"
			       "8022000b7465737420766563746f7220" /* SOFTWARE "test vector", a blank */
			       "002000080001a147e112a643"	  /* XOR-MAPPED-ADDRESS 192.0.2.1:32853 */
			       "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
			       "80280004c07d4c96";
static const char ipv6_hex[] = "010100482112a442b7e7a701bc34d686fa87dfae"
			       "8022000b7465737420766563746f7220"
			       "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
			       "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
			       "80280004c8fb0b4c";
static const char long_term_hex[] = "000100602112a44278ad3433c6ad72c029da412e"
				    "00060012e3839ee38388e383aae38383e382afe382b90000" /* USERNAME */
				    "0015001c662f2f3439396b393534643" /* NONCE */
				    "64f4c33346f4c39465354767936347341"
				    "0014000b6578616d706c652e6f726700" /* REALM */
				    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";
static const char sha256_hex[] = "000100902112a44278ad3433c6ad72c029da412e"
				 "001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
				 "001500296f624d61744a6f733241414143662f2f3439396b3935346436"
				 "4f4c33346f4c39465354767936347341000000"
				 "0014000b6578616d706c652e6f726700"
				 "001d000400020000" /* PASSWORD-ALGORITHM SHA-256 */
				 "001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65";
/* clang-format on */

struct vector {
	uint8_t raw[256];
	size_t n;
	struct stun_msg m;
};

static void load(struct vector *v, const char *hex)
{
	assert_int_equal(hex_decode(text_of(hex), v->raw, sizeof v->raw, &v->n), 0);
	assert_int_equal(stun_parse(v->raw, v->n, &v->m), STUN_OK);
}

static struct stun_key *short_term(void)
{
	struct stun_key *k = NULL;
	assert_int_equal(stun_key_short_term(STUN_MAC_SHA1, PASSWORD, &k), 0);
	return k;
}

/* Any changed byte up to the MAC's end, and any in the fingerprint's value, must be noticed. The
 * fingerprint's own header is covered by nothing: spoilt, it is an unknown attribute behind the MAC. */
static void every_spoilt_byte_is_noticed(struct vector *v, const struct stun_key *k)
{
	for (size_t i = 0; i < v->n; i++) {
		if (v->m.has_fingerprint && i >= v->n - 8 && i < v->n - 4)
			continue;
		struct stun_msg m;
		v->raw[i] ^= 0x40;
		int r = stun_parse(v->raw, v->n, &m);
		if (r == STUN_OK && stun_check_integrity(&m, k))
			fail_msg("byte %zu changed and nobody noticed", i);
		v->raw[i] ^= 0x40;
	}
}

static void expect_bytes(struct stun_writer *sw, const struct vector *v)
{
	ssize_t n = stun_end(sw);
	assert_int_equal(n, v->n);
	assert_memory_equal(sw->w.start, v->raw, v->n);
}

static void expect_text(const struct stun_msg *m, enum stun_attr a, struct text want)
{
	struct text t;
	assert_int_equal(stun_get_text(m, a, &t), 0);
	assert_int_equal(t.n, want.n);
	assert_memory_equal(t.p, want.p, want.n);
}

/* The vectors pad with blanks where our writer, as RFC 8489 asks, pads with zeros. */
static void blank_padding(struct stun_writer *sw, size_t n)
{
	memset(sw->w.pos - n, ' ', n);
}

static void the_sample_request_is_read_checked_and_written_again(void **state)
{
	_cleanup_(stun_key_freep) struct stun_key *k = short_term();
	struct vector v;
	uint32_t priority;
	uint64_t tie;

	(void)state;
	load(&v, request_hex);
	assert_int_equal(v.m.method, STUN_BINDING);
	assert_int_equal(v.m.class, STUN_REQUEST);
	assert_memory_equal(v.m.tid, tid, sizeof tid);
	assert_true(v.m.has_fingerprint);
	expect_text(&v.m, STUN_A_SOFTWARE, TEXT("STUN test client"));
	expect_text(&v.m, STUN_A_USERNAME, TEXT("evtj:h6vY"));
	assert_int_equal(stun_get_u32(&v.m, STUN_A_PRIORITY, &priority), 0);
	assert_int_equal(priority, 0x6e0001ff);
	assert_int_equal(stun_get_u64(&v.m, STUN_A_ICE_CONTROLLED, &tie), 0);
	assert_true(tie == 0x932ff9b151263b36);
	assert_true(stun_check_integrity(&v.m, k));
	every_spoilt_byte_is_noticed(&v, k);

	uint8_t buf[256];
	struct stun_writer sw;
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, tid);
	stun_put_text(&sw, STUN_A_SOFTWARE, TEXT("STUN test client"));
	stun_put_u32(&sw, STUN_A_PRIORITY, priority);
	stun_put_u64(&sw, STUN_A_ICE_CONTROLLED, tie);
	stun_put_text(&sw, STUN_A_USERNAME, TEXT("evtj:h6vY"));
	blank_padding(&sw, 3);
	stun_put_integrity(&sw, k);
	stun_put_fingerprint(&sw);
	expect_bytes(&sw, &v);
}

static void sample_response(const char *hex, const char *mapped)
{
	_cleanup_(stun_key_freep) struct stun_key *k = short_term();
	struct vector v;
	struct addr a, want;

	load(&v, hex);
	assert_int_equal(v.m.class, STUN_SUCCESS);
	assert_true(v.m.has_fingerprint);
	expect_text(&v.m, STUN_A_SOFTWARE, TEXT("test vector"));
	assert_int_equal(addr_parse(text_of(mapped), 0, &want), 0);
	assert_int_equal(stun_get_addr(&v.m, STUN_A_XOR_MAPPED_ADDRESS, &a), 0);
	assert_true(addr_equal(&a, &want));
	assert_true(stun_check_integrity(&v.m, k));
	every_spoilt_byte_is_noticed(&v, k);

	uint8_t buf[256];
	struct stun_writer sw;
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_SUCCESS, tid);
	stun_put_text(&sw, STUN_A_SOFTWARE, TEXT("test vector"));
	blank_padding(&sw, 1);
	stun_put_addr(&sw, STUN_A_XOR_MAPPED_ADDRESS, &want);
	stun_put_integrity(&sw, k);
	stun_put_fingerprint(&sw);
	expect_bytes(&sw, &v);
}

static void the_sample_ipv4_response_is_read_checked_and_written_again(void **state)
{
	(void)state;
	sample_response(ipv4_hex, "192.0.2.1:32853");
}

static void the_sample_ipv6_response_is_read_checked_and_written_again(void **state)
{
	(void)state;
	sample_response(ipv6_hex, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

static void the_long_term_request_is_read_checked_and_written_again(void **state)
{
	_cleanup_(stun_key_freep) struct stun_key *k = NULL;
	struct text nonce = TEXT("f//499k954d6OL34oL9FSTvy64sA");
	struct vector v;
	char password[64];
	size_t n;

	(void)state;
	/* "The", soft hyphen, "M", feminine ordinal, "tr", Roman numeral nine: SASLprep gives "TheMatrIX". */
	assert_int_equal(stun_saslprep(TEXT("The\xc2\xadM\xc2\xaatr\xe2\x85\xa8"), password,
				       sizeof password, &n),
			 0);
	assert_int_equal(n, 9);
	assert_memory_equal(password, "TheMatrIX", 9);
	assert_int_equal(stun_key_long_term(STUN_ALG_MD5, STUN_MAC_SHA1, MATRIX, REALM,
					    (struct text){ password, n }, &k),
			 0);

	load(&v, long_term_hex);
	assert_false(v.m.has_fingerprint);
	expect_text(&v.m, STUN_A_USERNAME, MATRIX);
	expect_text(&v.m, STUN_A_NONCE, nonce);
	expect_text(&v.m, STUN_A_REALM, REALM);
	assert_true(stun_check_integrity(&v.m, k));
	every_spoilt_byte_is_noticed(&v, k);

	uint8_t buf[256];
	struct stun_writer sw;
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, tid_long);
	stun_put_text(&sw, STUN_A_USERNAME, MATRIX);
	stun_put_text(&sw, STUN_A_NONCE, nonce);
	stun_put_text(&sw, STUN_A_REALM, REALM);
	stun_put_integrity(&sw, k);
	expect_bytes(&sw, &v);
}

static void the_sha256_request_of_rfc8489_is_read_checked_and_written_again(void **state)
{
	_cleanup_(stun_key_freep) struct stun_key *k = NULL;
	struct text nonce = TEXT("obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA");
	uint8_t userhash[STUN_USERHASH_LEN];
	enum stun_algorithm alg;
	struct vector v;

	(void)state;
	assert_int_equal(stun_key_long_term(STUN_ALG_SHA256, STUN_MAC_SHA256, MATRIX, REALM,
					    TEXT("TheMatrIX"), &k),
			 0);
	load(&v, sha256_hex);
	stun_userhash(MATRIX, REALM, userhash);
	assert_true(stun_has(&v.m, STUN_A_USERHASH));
	assert_memory_equal(v.m.attr[STUN_A_USERHASH].p, userhash, sizeof userhash);
	expect_text(&v.m, STUN_A_NONCE, nonce);
	assert_int_equal(stun_nonce_features(nonce), STUN_FEATURE_USERNAME_ANONYMITY);
	assert_int_equal(stun_get_password_algorithm(&v.m, &alg), 0);
	assert_int_equal(alg, STUN_ALG_SHA256);
	assert_true(stun_check_integrity(&v.m, k));
	every_spoilt_byte_is_noticed(&v, k);

	uint8_t buf[256];
	struct stun_writer sw;
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, tid_long);
	stun_put(&sw, STUN_A_USERHASH, userhash, sizeof userhash);
	stun_put_text(&sw, STUN_A_NONCE, nonce);
	stun_put_text(&sw, STUN_A_REALM, REALM);
	stun_put_password_algorithm(&sw, STUN_ALG_SHA256);
	stun_put_integrity(&sw, k);
	expect_bytes(&sw, &v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sample_request_is_read_checked_and_written_again),
		cmocka_unit_test(the_sample_ipv4_response_is_read_checked_and_written_again),
		cmocka_unit_test(the_sample_ipv6_response_is_read_checked_and_written_again),
		cmocka_unit_test(the_long_term_request_is_read_checked_and_written_again),
		cmocka_unit_test(the_sha256_request_of_rfc8489_is_read_checked_and_written_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
