/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM-SHA-256 against the exchange of RFC 7677 3, byte for byte at both ends; then PLUS: two TLS
 * sessions with one machine in the middle, replays, wrong passwords, downgrades and what is malformed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include "common/bytes.h"
#include "tunnel/link/scram.h"

/* As it came over the wire: a copy, for the answer is written into t. */
static struct text of(const struct scram_text *t)
{
	static struct scram_text copies[4];
	static unsigned at;
	struct scram_text *c = &copies[at++ % ARRAY_LEN(copies)];

	*c = *t;
	return (struct text){ c->p, c->n };
}

static struct scram fresh(const char *type, uint8_t session)
{
	struct scram s = { .binding = { .type = type, .n = 32 } };

	memset(s.binding.data, session, 32);
	return s;
}

static struct scram_verifier verifier(const char *password)
{
	struct scram_verifier v;

	assert_int_equal(scram_verifier_make(text_of(password), NULL, 0, SCRAM_ROUNDS_MIN, &v),
			 SCRAM_OK);
	return v;
}

static void the_exchange_of_rfc_7677_is_spoken_to_the_byte(void **state)
{
	static const uint8_t salt[] = { 0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
					0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81 };
	struct scram c = fresh(NULL, 0), s = fresh(NULL, 0);
	struct scram_verifier v;
	struct scram_text t;

	(void)state;
	c.rounds_min = 4096;
	strcpy(c.nonce, "rOprNGfwEbeRWgbNEkqO");
	strcpy(s.nonce, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
	assert_int_equal(scram_verifier_make(TEXT("pencil"), salt, sizeof(salt), 4096, &v), SCRAM_OK);
	assert_int_equal(scram_client_first(&c, TEXT("user"), &t), SCRAM_OK);
	assert_string_equal(t.p, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
	assert_int_equal(scram_server_first(&s, &v, of(&t), &t), SCRAM_OK);
	assert_string_equal(
		t.p,
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
	assert_string_equal(s.name, "user");
	assert_int_equal(scram_client_final(&c, of(&t), TEXT("pencil"), &t), SCRAM_OK);
	assert_string_equal(t.p, "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
				 "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
	assert_int_equal(scram_server_final(&s, &v, of(&t), &t), SCRAM_OK);
	assert_string_equal(t.p, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
	assert_int_equal(scram_client_done(&c, of(&t)), SCRAM_OK);
	scram_wipe(&c);
	scram_wipe(&s);
}

/* Up to the server's verdict; *ret_client is the client's. */
static enum scram_result login(const struct scram_verifier *v, const char *password,
			       struct scram *c, struct scram *s, enum scram_result *ret_client)
{
	struct scram_text t;
	enum scram_result r;

	assert_int_equal(scram_client_first(c, TEXT("site, 17 = Köln"), &t), SCRAM_OK);
	r = scram_server_first(s, v, of(&t), &t);
	if (r != SCRAM_OK)
		return r;
	assert_int_equal(scram_client_final(c, of(&t), text_of(password), &t), SCRAM_OK);
	r = scram_server_final(s, v, of(&t), &t);
	*ret_client = scram_client_done(c, of(&t));
	return r;
}

static void both_sides_know_the_password_and_one_session(void **state)
{
	struct scram_verifier v = verifier("correct horse");
	struct scram c = fresh("tls-exporter", 1), s = fresh("tls-exporter", 1);
	enum scram_result seen = SCRAM_FAILED;

	(void)state;
	assert_int_equal(login(&v, "correct horse", &c, &s, &seen), SCRAM_OK);
	assert_int_equal(seen, SCRAM_OK);
	assert_string_equal(s.name, "site, 17 = Köln");
	assert_int_equal(strlen(s.nonce), 24);
	assert_string_not_equal(s.nonce, c.nonce);
}

static void a_wrong_password_is_refused_and_the_client_is_told(void **state)
{
	struct scram_verifier v = verifier("correct horse");
	struct scram c = fresh("tls-exporter", 1), s = fresh("tls-exporter", 1);
	enum scram_result seen = SCRAM_OK;

	(void)state;
	assert_int_equal(login(&v, "battery staple", &c, &s, &seen), SCRAM_WRONG);
	assert_int_equal(seen, SCRAM_REFUSED);
}

/* It has one session with the client and another one with the server, whose exporters differ. */
static void a_machine_in_the_middle_has_nothing_to_pass_on(void **state)
{
	struct scram_verifier v = verifier("correct horse");
	struct scram c = fresh("tls-exporter", 1), s = fresh("tls-exporter", 2);
	enum scram_result seen = SCRAM_OK;

	(void)state;
	assert_int_equal(login(&v, "correct horse", &c, &s, &seen), SCRAM_NO_BINDING);
	assert_int_equal(seen, SCRAM_REFUSED);
}

static void a_captured_login_is_good_for_nothing(void **state)
{
	struct scram_verifier v = verifier("correct horse");
	struct scram c = fresh("tls-exporter", 1), s = fresh("tls-exporter", 1),
		     again = fresh("tls-exporter", 1);
	struct scram_text first, challenge, final, t;

	(void)state;
	assert_int_equal(scram_client_first(&c, TEXT("a"), &first), SCRAM_OK);
	assert_int_equal(scram_server_first(&s, &v, of(&first), &challenge), SCRAM_OK);
	assert_int_equal(scram_client_final(&c, of(&challenge), TEXT("correct horse"), &final),
			 SCRAM_OK);
	assert_int_equal(scram_server_final(&s, &v, of(&final), &t), SCRAM_OK);
	assert_int_equal(scram_server_final(&s, &v, of(&final), &t),
			 SCRAM_MALFORMED); /* one try in one session */
	assert_int_equal(scram_server_first(&again, &v, of(&first), &challenge), SCRAM_OK);
	assert_int_equal(scram_server_final(&again, &v, of(&final), &t),
			 SCRAM_WRONG); /* the nonce is another one */
}

static void a_client_without_binding_is_not_let_in(void **state)
{
	static const char *const firsts[] = { "n,,n=a,r=abc", "y,,n=a,r=abc",
					      "p=tls-unique,,n=a,r=abc", "p=,,n=a,r=abc" };
	struct scram_verifier v = verifier("x");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
		struct scram s = fresh("tls-exporter", 1);
		struct scram_text t;

		assert_int_equal(scram_server_first(&s, &v, text_of(firsts[i]), &t), SCRAM_NO_BINDING);
	}
}

static void a_false_server_cannot_make_guessing_cheap_or_the_client_work_for_an_hour(void **state)
{
	static const struct {
		const char *rest;
		enum scram_result want;
	} rows[] = {
		{ "x,s=QUJD,i=4096", SCRAM_BAD_ROUNDS },
		{ "x,s=QUJD,i=4000000000", SCRAM_BAD_ROUNDS },
		{ "x,s=QUJD,i=0", SCRAM_BAD_ROUNDS },
		{ ",s=QUJD,i=65536", SCRAM_WRONG },
		{ "x,s=,i=65536", SCRAM_MALFORMED },
		{ "x,s=QUJD,i=65536,a=b", SCRAM_MALFORMED },
		{ "x,i=65536,s=QUJD", SCRAM_MALFORMED },
		{ "x,s=QUJD", SCRAM_MALFORMED },
		{ "x,s=QUJD,i=-1", SCRAM_MALFORMED },
		{ "x,s=QUJD,i=65536", SCRAM_OK },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct scram c = fresh("tls-exporter", 1);
		struct scram_text t;
		char message[128] = "r=mine";

		strcpy(c.nonce, "mine");
		assert_int_equal(scram_client_first(&c, TEXT("a"), &t), SCRAM_OK);
		strcat(message, rows[i].rest);
		assert_int_equal(scram_client_final(&c, text_of(message), TEXT("pw"), &t), rows[i].want);
	}
}

static void a_server_that_does_not_know_the_password_is_found_out(void **state)
{
	struct scram c = fresh("tls-exporter", 1);
	struct scram_text t;

	(void)state;
	strcpy(c.nonce, "mine");
	assert_int_equal(scram_client_first(&c, TEXT("a"), &t), SCRAM_OK);
	assert_int_equal(scram_client_done(&c, TEXT("v=AAAA")), SCRAM_MALFORMED); /* too early */
	assert_int_equal(scram_client_final(&c, TEXT("r=mineX,s=QUJD,i=32768"), TEXT("pw"), &t),
			 SCRAM_OK);
	struct scram copy = c;
	assert_int_equal(scram_client_done(&copy, TEXT("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
			 SCRAM_WRONG);
	copy = c;
	assert_int_equal(scram_client_done(&copy, TEXT("v=AAAA")), SCRAM_MALFORMED);
	copy = c;
	assert_int_equal(scram_client_done(&copy, TEXT("e=other-error")), SCRAM_REFUSED);
	copy = c;
	assert_int_equal(scram_client_done(&copy, TEXT("")), SCRAM_MALFORMED);
}

static void malformed_messages_are_told_from_wrong_ones(void **state)
{
	static const char *const firsts[] = {
		"",
		",",
		",,",
		"p=tls-exporter",
		"p=tls-exporter,",
		"p=tls-exporter,,",
		"p=tls-exporter,a=b,n=a,r=x",
		"p=tls-exporter,,n=,r=x",
		"p=tls-exporter,,n=a,r=",
		"p=tls-exporter,,n=a=2Xb,r=x",
		"p=tls-exporter,,n=a,r=x,e=1",
		"p=tls-exporter,,m=1,n=a,r=x",
		"p=tls-exporter,,n=a,r=x y",
		"p=tls-exporter,,n=a\x01,r=x",
		"p=tls-exporter,,n=\xff,r=x",
		"p=tls-exporter,,r=x,n=a",
		"x,,n=a,r=x",
	};
	static const char *const finals[] = {
		"", "c=", "c=AAAA,r=x", "r=x,c=AAAA,p=AAAA", "c=AAAA,r=x,p=AAAA", "c=AAAA,r=x,p=AAA", "c=A,r=x,p=AAAA"
	};
	struct scram_verifier v = verifier("x");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
		struct scram s = fresh("tls-exporter", 1);
		struct scram_text t;

		if (scram_server_first(&s, &v, text_of(firsts[i]), &t) != SCRAM_MALFORMED)
			fail_msg("taken: %s", firsts[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(finals); i++) {
		struct scram s = fresh("tls-exporter", 1);
		struct scram_text t;

		assert_int_equal(scram_server_first(&s, &v, TEXT("p=tls-exporter,,n=a,r=x"), &t),
				 SCRAM_OK);
		if (scram_server_final(&s, &v, text_of(finals[i]), &t) != SCRAM_MALFORMED)
			fail_msg("taken: %s", finals[i]);
	}
}

/* RFC 4013: a no-break space is a space, a soft hyphen is nothing. */
static void a_password_typed_in_two_ways_is_one(void **state)
{
	static const uint8_t salt[4] = "salt";
	struct scram_verifier a, b;

	(void)state;
	assert_int_equal(scram_verifier_make(TEXT("I\xc2\xadX y"), salt, 4, 4096, &a), SCRAM_OK);
	assert_int_equal(scram_verifier_make(TEXT("IX\xc2\xa0y"), salt, 4, 4096, &b), SCRAM_OK);
	assert_memory_equal(a.stored_key, b.stored_key, SCRAM_KEY_LEN);
	assert_int_equal(scram_verifier_make(TEXT("a\x07"), salt, 4, 4096, &a), SCRAM_BAD_PASSWORD);
	assert_int_equal(scram_verifier_make(TEXT(""), salt, 4, 4096, &a), SCRAM_BAD_PASSWORD);
}

/* Each message of the exchange has its place: one that comes twice, or too early, is malformed and proves nothing. */
static void messages_out_of_turn_are_malformed(void **state)
{
	struct scram_verifier v = verifier("x");
	struct scram s = fresh("tls-exporter", 1), c = fresh("tls-exporter", 1);
	struct scram_text t, first;

	(void)state;
	assert_int_equal(scram_server_final(&s, &v, TEXT("c=AAAA,r=x,p=AAAA"), &t), SCRAM_MALFORMED);
	assert_int_equal(scram_client_final(&c, TEXT("x"), TEXT("r=x,s=AAAA,i=4096"), &t), SCRAM_MALFORMED);
	assert_int_equal(scram_client_done(&c, TEXT("v=AAAA")), SCRAM_MALFORMED);
	assert_int_equal(scram_server_first(&s, &v, TEXT("p=tls-exporter,,n=a,r=x"), &first), SCRAM_OK);
	assert_int_equal(scram_server_first(&s, &v, TEXT("p=tls-exporter,,n=a,r=x"), &t), SCRAM_MALFORMED);
	/* a nonce with which the answer would not fit */
	struct scram other = fresh("tls-exporter", 1);
	char request[600] = "p=tls-exporter,,n=a,r=";
	size_t n = strlen(request);
	memset(request + n, 'r', SCRAM_NONCE_MAX / 2 + 1);
	assert_int_equal(scram_server_first(&other, &v, text_of(request), &t), SCRAM_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_exchange_of_rfc_7677_is_spoken_to_the_byte),
		cmocka_unit_test(both_sides_know_the_password_and_one_session),
		cmocka_unit_test(a_wrong_password_is_refused_and_the_client_is_told),
		cmocka_unit_test(a_machine_in_the_middle_has_nothing_to_pass_on),
		cmocka_unit_test(a_captured_login_is_good_for_nothing),
		cmocka_unit_test(a_client_without_binding_is_not_let_in),
		cmocka_unit_test(a_false_server_cannot_make_guessing_cheap_or_the_client_work_for_an_hour),
		cmocka_unit_test(a_server_that_does_not_know_the_password_is_found_out),
		cmocka_unit_test(malformed_messages_are_told_from_wrong_ones),
		cmocka_unit_test(a_password_typed_in_two_ways_is_one),
		cmocka_unit_test(messages_out_of_turn_are_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
