/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digest authentication (sip-proxy/digest.h): the examples of RFC 7616 3.9.1 and RFC 2617 3.5, and what becomes of
 * credentials that are wrong, stale, of another realm, or for another URI.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "sip-proxy/digest.h"

static void the_examples_of_the_rfcs_are_right(void **state)
{
	static const struct {
		enum sip_digest_alg alg;
		const char *user, *realm, *password, *header, *method, *want;
	} rows[] = {
		{ SIP_ALG_SHA256, "Mufasa", "http-auth@example.org", "Circle of Life",
		  "Digest uri=\"/dir/index.html\", qop=auth, nc=00000001, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", "
		  "cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\"",
		  "GET", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1" },
		{ SIP_ALG_MD5, "Mufasa", "http-auth@example.org", "Circle of Life",
		  "Digest uri=\"/dir/index.html\", qop=auth, nc=00000001, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", "
		  "cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\"",
		  "GET", "8ca523f5e9506fed4657c9700eebdbec" },
		{ SIP_ALG_MD5, "Mufasa", "testrealm@host.com", "Circle Of Life",
		  "Digest uri=\"/dir/index.html\", qop=auth, nc=00000001, nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", "
		  "cnonce=\"0a4f113b\"",
		  "GET", "6629fae49393a05397450978507c4ef1" },
		{ SIP_ALG_MD5, "bob", "biloxi.com", "zanzibar",
		  "Digest uri=\"sip:bob@biloxi.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"",
		  "INVITE", "bf57e4e0d0bffc0fbaedce64d59add5e" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char ha1[SIP_DIGEST_HEX], got[SIP_DIGEST_HEX];
		struct sip_auth a;
		assert_int_equal(sip_auth_parse(text_of(rows[i].header), &a), 0);
		assert_int_equal(sip_digest_ha1(rows[i].alg, text_of(rows[i].user),
						text_of(rows[i].realm), text_of(rows[i].password), ha1),
				 0);
		assert_int_equal(
			sip_digest_response(rows[i].alg, ha1, &a, text_of(rows[i].method), got), 0);
		assert_string_equal(got, rows[i].want);
	}
}

static struct stun_nonces nonces;
static struct addr client;
static char header[1024];

/* Credentials as a client makes them from a challenge. */
static struct sip_auth credentials(enum sip_digest_alg alg, const char *user, const char *password,
				   const char *uri, uint64_t made_at)
{
	char nonce[STUN_NONCE_MAX], ha1[SIP_DIGEST_HEX], response[SIP_DIGEST_HEX];
	struct sip_auth a;
	size_t n = stun_nonce_make(&nonces, &client, TEXT("uc.test"), 0, made_at, nonce);
	(void)snprintf(header, sizeof header,
		       "Digest username=\"%s\", realm=\"uc.test\", nonce=\"%.*s\", uri=\"%s\", algorithm=%s, qop=auth, "
		       "nc=00000001, cnonce=\"abc\", response=\"%064d\"",
		       user, (int)n, nonce, uri, sip_digest_alg_name(alg), 0);
	assert_int_equal(sip_auth_parse(text_of(header), &a), 0);
	assert_int_equal(sip_digest_ha1(alg, text_of(user), TEXT("uc.test"), text_of(password), ha1), 0);
	assert_int_equal(sip_digest_response(alg, ha1, &a, TEXT("REGISTER"), response), 0);
	char *at = strstr(header, "response=\"") + 10;
	(void)snprintf(at, sizeof header - (size_t)(at - header), "%s\"", response);
	assert_int_equal(sip_auth_parse(text_of(header), &a), 0);
	return a;
}

static enum sip_digest_verdict verify(const struct sip_auth *a, const char *password, uint64_t now)
{
	struct sip_uri uri;
	assert_int_equal(sip_uri_parse(TEXT("sip:uc.test"), &uri), 0);
	const struct sip_digest_check c = { .nonces = &nonces,
					    .client = &client,
					    .realm = TEXT("uc.test"),
					    .method = TEXT("REGISTER"),
					    .uri = &uri,
					    .now = now };
	return sip_digest_verify(&c, a, text_of(password));
}

static void credentials_are_judged(void **state)
{
	struct sip_auth a;
	struct addr other = addr_v4(0xc0000202, 5060);
	(void)state;
	client = addr_v4(0xc0000201, 5060);
	assert_int_equal(stun_nonces_init(&nonces, 0), 0);
	for (unsigned alg = 0; alg < SIP_ALGS; alg++) {
		a = credentials((enum sip_digest_alg)alg, "alice", "secret", "sip:uc.test", 1000);
		assert_int_equal(verify(&a, "secret", 2000), SIP_DIGEST_GOOD);
		assert_int_equal(verify(&a, "wrong", 2000), SIP_DIGEST_BAD);
		assert_int_equal(verify(&a, NULL, 2000), SIP_DIGEST_BAD);
		assert_int_equal(verify(&a, "secret", 1000 + 11 * 60 * 1000), SIP_DIGEST_STALE);
		assert_int_equal(verify(&a, "wrong", 1000 + 11 * 60 * 1000), SIP_DIGEST_BAD);
	}
	a = credentials(SIP_ALG_MD5, "alice", "x", "sip:uc.test",
			1000); /* not even for a user who is not there */
	assert_int_equal(verify(&a, NULL, 2000), SIP_DIGEST_BAD);
	a = credentials(SIP_ALG_MD5, "alice", "secret", "sip:other.test", 1000);
	assert_int_equal(verify(&a, "secret", 2000), SIP_DIGEST_BAD);
	a = credentials(SIP_ALG_MD5, "alice", "secret", "sip:uc.test", 1000);
	client = other; /* the nonce was another one's */
	assert_int_equal(verify(&a, "secret", 2000), SIP_DIGEST_NONE);
}

static void only_what_is_offered_is_taken(void **state)
{
	struct sip_auth a;
	struct sip_digest_check c = { .nonces = &nonces,
				      .client = &client,
				      .realm = TEXT("uc.test"),
				      .method = TEXT("REGISTER"),
				      .algorithms = 1U << SIP_ALG_SHA256,
				      .now = 2000 };
	struct sip_uri uri;
	(void)state;
	client = addr_v4(0xc0000201, 5060);
	assert_int_equal(stun_nonces_init(&nonces, 0), 0);
	assert_int_equal(sip_uri_parse(TEXT("sip:uc.test"), &uri), 0);
	c.uri = &uri;
	a = credentials(SIP_ALG_MD5, "alice", "secret", "sip:uc.test", 1000);
	assert_int_equal(sip_digest_verify(&c, &a, TEXT("secret")), SIP_DIGEST_NONE);
	a = credentials(SIP_ALG_SHA256, "alice", "secret", "sip:uc.test", 1000);
	assert_int_equal(sip_digest_verify(&c, &a, TEXT("secret")), SIP_DIGEST_GOOD);
}

/* Credentials of these words, with the response that is right for them, to a service that knows whom they name. Their nonce
 * is ours and that old, or (-1) another one. */
static enum sip_digest_verdict judge(const char *words, int64_t age)
{
	const uint64_t now = 60 * 60 * 1000;
	char nonce[STUN_NONCE_MAX] = "n", all[1024], ha1[SIP_DIGEST_HEX], response[SIP_DIGEST_HEX];
	size_t n = age < 0 ? 1
			   : stun_nonce_make(&nonces, &client, TEXT("uc.test"), 0,
					     now - (uint64_t)age, nonce);
	struct sip_auth a;
	int len = snprintf(all, sizeof all, "Digest realm=\"uc.test\", nonce=\"%.*s\"%s", (int)n,
			   nonce, words);
	assert_int_equal(sip_auth_parse(text_of(all), &a), 0);
	assert_int_equal(sip_digest_ha1(SIP_ALG_MD5, a.param[SIP_D_USERNAME], TEXT("uc.test"),
					TEXT("secret"), ha1),
			 0);
	assert_int_equal(sip_digest_response(SIP_ALG_MD5, ha1, &a, TEXT("REGISTER"), response), 0);
	(void)snprintf(all + len, sizeof all - (size_t)len, ", response=\"%s\"", response);
	assert_int_equal(sip_auth_parse(text_of(all), &a), 0);
	return verify(&a, "secret", now);
}

static void credentials_that_are_not_whole_are_wrong_if_the_nonce_is_ours(void **state)
{
	static const char whole[] =
		", username=\"a\", uri=\"sip:uc.test\""; /* without an algorithm, which is MD5 */
	static const char *const rows[] = {
		", uri=\"sip:uc.test\"", /* no username */
		", username=\"a\"",
		", username=\"a\", uri=\"no uri\"",
		", username=\"a\", uri=\"sip:uc.test\", qop=auth-int, cnonce=\"c\", nc=00000001",
		", username=\"a\", uri=\"sip:uc.test\", qop=auth, nc=00000001",
		", username=\"a\", uri=\"sip:uc.test\", qop=auth, cnonce=\"c\"",
		", username=\"a\", uri=\"sip:uc.test\", qop=auth, cnonce=\"c\", nc=1",
		", username=\"a\", uri=\"sip:uc.test\", qop=auth, cnonce=\"c\", nc=0000000g",
		", username=\"a\", uri=\"sip:uc.test\", algorithm=SHA-1",
	};
	const int64_t good = 1000, stale = 11 * 60 * 1000, foreign = -1;
	struct sip_auth a;
	(void)state;
	client = addr_v4(0xc0000201, 5060);
	assert_int_equal(stun_nonces_init(&nonces, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(judge(rows[i], good), SIP_DIGEST_BAD);
		assert_int_equal(judge(rows[i], stale), SIP_DIGEST_BAD); /* no way around being counted */
		assert_int_equal(judge(rows[i], foreign), SIP_DIGEST_NONE); /* nobody to be counted */
	}
	assert_int_equal(judge(whole, good), SIP_DIGEST_GOOD);
	assert_int_equal(judge(whole, stale), SIP_DIGEST_STALE);
	assert_int_equal(judge(whole, foreign), SIP_DIGEST_NONE);
	a = credentials(SIP_ALG_MD5, "a", "secret", "sip:uc.test", 1000);
	a.param[SIP_D_RESPONSE] = (struct text){ 0 };
	assert_int_equal(verify(&a, "secret", 2000), SIP_DIGEST_BAD);
	a.param[SIP_D_NONCE] = (struct text){ 0 }; /* not even a foreign one */
	assert_int_equal(verify(&a, "secret", 2000), SIP_DIGEST_NONE);
}

static void the_credentials_for_this_realm_are_found_among_others(void **state)
{
	static const char request[] = "REGISTER sip:uc.test SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@uc.test>;tag=1\r\n"
				      "To: <sip:a@uc.test>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n"
				      "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\nAuthorization: Digest realm=\"other.test\", username=\"b\"\r\n"
				      "Authorization: Digest realm=\"uc.test\", username=\"a\"\r\nContent-Length: 0\r\n\r\n";
	struct sip_msg m = { 0 };
	struct sip_auth a;
	const struct head_field *f;
	(void)state;
	assert_int_equal(sip_headers_init(), 0);
	assert_int_equal(sip_msg_parse(&m, TEXT(request), SIP_DATAGRAM, NULL), SIP_OK);
	f = sip_digest_find(&m, SIP_H_AUTHORIZATION, TEXT("uc.test"), &a);
	assert_non_null(f);
	assert_true(text_eq(a.param[SIP_D_USERNAME], TEXT("a")));
	assert_null(sip_digest_find(&m, SIP_H_AUTHORIZATION, TEXT("third.test"), &a));
	assert_null(sip_digest_find(&m, SIP_H_PROXY_AUTHORIZATION, TEXT("uc.test"), &a));
	sip_msg_deinit(&m);
	sip_headers_deinit();
}

static void a_challenge_is_one_that_we_can_read(void **state)
{
	char out[SIP_CHALLENGE_MAX];
	struct sip_auth a;
	(void)state;
	ptrdiff_t n = sip_digest_challenge(SIP_ALG_SHA256, TEXT("uc.test"), TEXT("n1"), true, out);
	assert_true(n > 0);
	assert_int_equal(sip_auth_parse((struct text){ out, (size_t)n }, &a), 0);
	assert_true(text_eq(a.param[SIP_D_ALGORITHM], TEXT("SHA-256")));
	assert_true(text_eq(a.param[SIP_D_STALE], TEXT("TRUE")));
	assert_true(text_eq(a.param[SIP_D_QOP], TEXT("auth")));
	char realm[SIP_CHALLENGE_MAX + 1];
	memset(realm, 'r', sizeof(realm) - 1);
	realm[sizeof(realm) - 1] = 0;
	assert_int_equal(sip_digest_challenge(SIP_ALG_MD5, text_of(realm), TEXT("n1"), false, out), -ENOSPC);
}

static void headers_that_break_the_grammar_are_no_credentials(void **state)
{
	static const char *const rows[] = {
		"", "Digest", "Digest ", "Digest username", "Digest username=", "Digest =x", "Digest username=\"a", "Digest username=\"a\",",
		"Digest username=\"a\" realm=\"b\"", "Digest username=\"a\", username=\"b\"", "Digest username=\"a\"; realm=\"b\"", "\"Digest\" username=\"a\"",
	};
	struct sip_auth a;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (sip_auth_parse(text_of(rows[i]), &a) != -EBADMSG)
			fail_msg("taken: %s", rows[i]);
	assert_int_equal(sip_auth_parse(TEXT("digest  USERNAME = \"a\" ,\r\n x-new=1, nc=1"), &a), 0); /* unknown ones do no harm */
	assert_true(a.is_digest && text_eq(a.param[SIP_D_USERNAME], TEXT("a")) && text_eq(a.param[SIP_D_NC], TEXT("1")));
	assert_int_equal(sip_auth_parse(TEXT("Bearer what,ever=="), &a), 0);
	assert_false(a.is_digest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_the_rfcs_are_right),
		cmocka_unit_test(credentials_are_judged),
		cmocka_unit_test(only_what_is_offered_is_taken),
		cmocka_unit_test(credentials_that_are_not_whole_are_wrong_if_the_nonce_is_ours),
		cmocka_unit_test(the_credentials_for_this_realm_are_found_among_others),
		cmocka_unit_test(a_challenge_is_one_that_we_can_read),
		cmocka_unit_test(headers_that_break_the_grammar_are_no_credentials),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
