/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens of Record-Route and Path (RFC 5626 5.1), and branches: what was made can be read, what was changed or belongs
 * to another dialog cannot.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include "sip-proxy/token.h"
#include "sip-proxy/transaction.h"

static const struct sip_token_key secret = { { 1, 2, 3 }, 0x1122334455667788 }, *key = &secret;
static const struct text call = TEXT("call-1"), tag = TEXT("a");
static const struct text tags[2] = { TEXT("x"), TEXT("a") };

static struct sip_token flow_of(const char *at, uint8_t flags)
{
	struct sip_token t = { .flags = flags,
			       .hop = { .proto = SIP_TLS, .iface = 7, .conn = 0x123456789abcdef } };
	assert_int_equal(addr_parse(text_of(at), 0, &t.hop.remote), 0);
	return t;
}

static void a_token_says_what_it_was_made_of(void **state)
{
	static const char *const at[] = { "192.0.2.1:40000", "[2001:db8::1]:5061" };
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct sip_token t = flow_of(at[i], SIP_TOKEN_FLOW | SIP_TOKEN_STRICT), back;
		char text[SIP_TOKEN_MAX];
		assert_int_equal(sip_token_make(key, &t, call, tag, text), 0);
		assert_int_equal(sip_token_read(key, text_of(text), call, tags, &back), 0);
		assert_true(addr_equal(&back.hop.remote, &t.hop.remote));
		assert_int_equal(back.hop.conn, t.hop.conn);
		assert_int_equal(back.hop.iface, 7);
		assert_int_equal(back.hop.proto, SIP_TLS);
		assert_true(back.flags & SIP_TOKEN_STRICT);
	}
}

static void no_character_of_a_token_can_be_changed(void **state)
{
	static const char other[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=";
	const struct sip_token t = flow_of("192.0.2.1:40000", SIP_TOKEN_FLOW);
	struct sip_token back;
	char text[SIP_TOKEN_MAX], changed[SIP_TOKEN_MAX];
	(void)state;
	assert_int_equal(sip_token_make(key, &t, call, tag, text), 0);
	size_t n = strlen(text);
	for (size_t i = 0; i < n; i++)
		for (const char *c = other; *c; c++) {
			memcpy(changed, text, n + 1);
			if (changed[i] == *c)
				continue;
			changed[i] = *c;
			assert_true(sip_token_read(key, text_of(changed), call, tags, &back) < 0);
		}
	for (size_t i = 0; i < n; i++) /* nor left out at the end */
		assert_true(sip_token_read(key, (struct text){ text, i }, call, tags, &back) < 0);
}

static void a_token_opens_only_its_own_dialog(void **state)
{
	static const struct text others[2] = { TEXT("x"), TEXT("y") },
				 none[2] = { { NULL, 0 }, { NULL, 0 } };
	static const struct text shifted[2] = { TEXT("1a"), TEXT("") };
	static const struct sip_token_key other_key = { { 9 }, 0 };
	const struct sip_token t = { 0 };
	struct sip_token back;
	char text[SIP_TOKEN_MAX];
	(void)state;
	assert_int_equal(sip_token_make(key, &t, call, tag, text), 0);
	assert_int_equal(sip_token_read(key, text_of(text), call, tags, &back), 0);
	assert_int_equal(sip_token_read(key, text_of(text), TEXT("call-2"), tags, &back), -EPERM);
	assert_int_equal(sip_token_read(key, text_of(text), call, others, &back), -EPERM);
	assert_int_equal(sip_token_read(key, text_of(text), call, none, &back), -EPERM);
	assert_int_equal(sip_token_read(key, text_of(text), TEXT("call-"), shifted, &back), -EPERM);
	assert_int_equal(sip_token_read(&other_key, text_of(text), call, tags, &back), -EPERM);
	assert_int_equal(sip_token_read(key, TEXT("alice"), call, tags, &back), -EBADMSG);
}

static void a_connection_of_another_run_is_nobodys(void **state)
{
	struct sip_token_key later = secret;
	const struct sip_token t = flow_of("192.0.2.1:40000", SIP_TOKEN_FLOW);
	struct sip_token udp = t, back;
	char text[SIP_TOKEN_MAX];
	(void)state;
	later.epoch = 99;
	assert_int_equal(sip_token_make(key, &t, call, tag, text), 0);
	assert_int_equal(sip_token_read(&later, text_of(text), call, tags, &back), 0); /* the dialog goes on … */
	assert_true(back.hop.conn != t.hop.conn && back.hop.conn > UINT32_MAX); /* … by another connection */
	udp.hop.proto = SIP_UDP; /* which has no connections that could be somebody else's */
	udp.hop.conn = 0;
	assert_int_equal(sip_token_make(key, &udp, call, tag, text), 0);
	assert_int_equal(sip_token_read(&later, text_of(text), call, tags, &back), 0);
	assert_int_equal(back.hop.conn, 0);
	assert_int_equal(back.hop.iface, 7);
}

static void a_path_token_is_of_no_dialog_and_a_dialogs_is_no_path(void **state)
{
	static const struct text none[2] = { { NULL, 0 }, { NULL, 0 } };
	const struct sip_token path = flow_of("192.0.2.1:40000", SIP_TOKEN_FLOW | SIP_TOKEN_PATH);
	struct sip_token back;
	char text[SIP_TOKEN_MAX];
	(void)state;
	assert_int_equal(sip_token_make(key, &path, call, tag, text), 0);
	assert_int_equal(sip_token_read(key, text_of(text), TEXT("any"), none, &back), 0);
	assert_true(back.flags & SIP_TOKEN_PATH);
}

static void absurdly_long_call_ids_have_tokens_too(void **state)
{
	static char a[5000], b[5000];
	struct sip_token t = { 0 }, back;
	char text[SIP_TOKEN_MAX];
	(void)state;
	memset(a, 'x', sizeof a);
	memset(b, 'x', sizeof b);
	b[4999] = 'y';
	assert_int_equal(sip_token_make(key, &t, (struct text){ a, sizeof a }, tag, text), 0);
	assert_int_equal(
		sip_token_read(key, text_of(text), (struct text){ a, sizeof a }, tags, &back), 0);
	assert_int_equal(sip_token_read(key, text_of(text), (struct text){ b, sizeof b }, tags, &back),
			 -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_says_what_it_was_made_of),
		cmocka_unit_test(no_character_of_a_token_can_be_changed),
		cmocka_unit_test(a_token_opens_only_its_own_dialog),
		cmocka_unit_test(a_connection_of_another_run_is_nobodys),
		cmocka_unit_test(a_path_token_is_of_no_dialog_and_a_dialogs_is_no_path),
		cmocka_unit_test(absurdly_long_call_ids_have_tokens_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
