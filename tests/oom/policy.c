/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy, its credentials and the totals, with every allocation failed once: the outcome is the
 * error or the right answer, never a wrong one, and AddressSanitizer sees no leak.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/oom/failing.h"
#include "turn/policy.h"
#include "turn/totals.h"

static int make_policy(struct turn_policy **ret_p)
{
	struct turn_user_section users[] = { { "alice", "alice-secret" }, { "bob", "bob-secret" } };
	struct turn_secret_section secrets[] = { { "2026", "the-new-secret-of-2026" } };
	struct turn_extra_user extra[] = { { "carol", "carol-secret", NULL }, { "dave", "dave-secret", "partner.example" } };
	struct cfg_endpoint listen = { .at = addr_v4(0, 3478) };
	char *names[] = { "turn.partner.example", "*.partner.example" };
	struct addr own[] = { addr_v4(0xc0000201, 0), addr_v4(0xc0000202, 0) };
	struct cfg_ip_auto external = { .ip = own[1] };
	const struct turn_relay_pair former = { own[0], addr_v4(0xc0000203, 0) };
	struct prefix deny = { .a = addr_v4(0x0a000000, 0), .bits = 8 };
	struct turn_realm_section partner = {
		.name = "partner.example", .server_names = { names, 2 }, .listen = { &listen, 1 }, .password = "one-for-them",
		.users = { users, 2 }, .secrets = { secrets, 1 }, .peers = { .allow = { &deny, 1 }, .deny = { &deny, 1 } },
	};
	struct turn_config cfg = {
		.realms = { &partner, 1 },
		.realm = "example.org", .certificate = "a", .key = "b", .software = "Stile", .password = "one-for-all",
		.users = { users, 2 }, .secrets = { secrets, 1 }, .listen = { &listen, 1 },
		.relay = { .addresses = { own, 1 }, .external = { &external, 1 }, .outside = { own + 1, 1 } },
		.peers = { .allow = { &deny, 1 }, .deny = { &deny, 1 } },
	};
	char err[200] = "";
	struct turn_policy *p = NULL;
	int r = turn_policy_new(&cfg, extra, 2, err, sizeof(err), &p);

	if (r == 0)
		r = turn_policy_set_own(p, own, 2);
	if (r == 0)
		r = turn_policy_set_former(p, &former, 1);
	if (r < 0) {
		if (!p)
			assert_string_equal(err, "out of memory");
		turn_policy_unref(p);
		return r;
	}
	*ret_p = p;
	return 0;
}

static void a_policy_is_made_whole_or_not_at_all(void **state)
{
	unsigned n = 1;

	(void)state;
	while (oom_next(&n)) {
		struct turn_policy *p = NULL;
		int r = make_policy(&p);

		/* OpenSSL does without some of its allocations, so 0 is right, too. */
		assert_true(r == 0 || (r == -ENOMEM && oom_hit()));
		assert_int_equal(r == 0, p != NULL);
		turn_policy_unref(p);
	}
	assert_true(n > 20);
}

static ssize_t make_request(const char *user, const char *password, uint8_t *buf, size_t cap)
{
	static const uint8_t tid[STUN_TID_LEN] = "transaction";
	struct stun_key *k;
	struct stun_writer sw;

	assert_int_equal(stun_key_long_term(STUN_ALG_MD5, STUN_MAC_SHA1, text_of(user), TEXT("example.org"),
					    text_of(password), &k), 0);
	stun_begin(&sw, buf, cap, STUN_ALLOCATE, STUN_REQUEST, tid);
	stun_put_text(&sw, STUN_A_USERNAME, text_of(user));
	stun_put_text(&sw, STUN_A_REALM, TEXT("example.org"));
	stun_put_text(&sw, STUN_A_NONCE, TEXT("nonce"));
	stun_put_integrity(&sw, k);
	stun_key_free(k);
	return stun_end(&sw);
}

static void check_answer(const struct turn_policy *p, const struct stun_msg *m, enum turn_auth want)
{
	struct turn_identity id;
	struct turn_key *k = NULL;
	uint64_t detail;
	enum turn_auth a = turn_realm_authenticate(turn_policy_realm(p, 0), m, &(struct turn_auth_options){ 1700000000, NULL }, &id, &k, &detail);

	assert_true(a == want || (a == TURN_AUTH_NO_MEMORY && oom_hit()));
	assert_int_equal(k != NULL, a == TURN_AUTH_OK);
	turn_key_unref(k);
}

static void a_request_is_judged_rightly_or_not_at_all(void **state)
{
	static const struct {
		const char *user, *password;
		enum turn_auth want;
	} rows[] = {
		{ "alice", "alice-secret", TURN_AUTH_OK },
		{ "alice", "wrong", TURN_AUTH_WRONG_PASSWORD },
		{ "eve", "one-for-all", TURN_AUTH_OK },
		{ "1800000000:dave", "one-for-all", TURN_AUTH_OK },
		{ "1800000000:dave", "wrong", TURN_AUTH_WRONG_PASSWORD },
	};
	struct turn_policy *p;

	(void)state;
	assert_int_equal(make_policy(&p), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t buf[300];
		ssize_t len = make_request(rows[i].user, rows[i].password, buf, sizeof(buf));
		struct stun_msg m;
		unsigned n = 1;

		assert_int_equal(stun_parse(buf, (size_t)len, &m), STUN_OK);
		while (oom_next(&n))
			check_answer(p, &m, rows[i].want);
		assert_true(n > 2);
	}
	turn_policy_unref(p);
}

static void an_answer_that_cannot_be_signed_is_not_written(void **state)
{
	uint8_t in[300], out[300];
	struct turn_policy *p;
	struct stun_msg m;
	struct turn_identity id;
	struct turn_key *k = NULL;
	struct stun_writer sw;
	uint64_t detail;

	(void)state;
	assert_int_equal(make_policy(&p), 0);
	assert_int_equal(stun_parse(in, (size_t)make_request("eve", "one-for-all", in, sizeof(in)), &m), STUN_OK);
	assert_int_equal(turn_realm_authenticate(turn_policy_realm(p, 0), &m, &(struct turn_auth_options){ 0, NULL }, &id, &k, &detail), TURN_AUTH_OK);
	m.attr[STUN_A_PASSWORD_ALGORITHM] = m.attr[STUN_A_MESSAGE_INTEGRITY]; /* the other state is made anew */
	stun_begin_response(&sw, out, sizeof(out), &m, STUN_SUCCESS);
	oom_arm(1);
	turn_key_sign(k, &sw, &m);
	assert_true(oom_hit());
	oom_arm(0);
	assert_true(stun_end(&sw) < 0);
	turn_key_unref(k);
	turn_policy_unref(p);
}

static void totals_count_right_or_refuse(void **state)
{
	unsigned n = 1;

	(void)state;
	while (oom_next(&n)) {
		_cleanup_(turn_totals_freep) struct turn_totals *t = turn_totals_new();
		_cleanup_(turn_budget_freep) struct turn_budget *b = turn_budget_new();
		struct addr at = addr_v4(0xc0000201, 50000);
		struct turn_account *a[40] = { NULL };
		uint64_t live = 0;

		for (size_t i = 0; t && i < ARRAY_LEN(a); i++) {
			char name[] = { (char)('A' + i), 0 };
			enum turn_limit r = turn_totals_take(t, i % 2, name, &(struct turn_caps){ 100, 90, 2 }, &a[i]);

			assert_true(r == TURN_LIMIT_OK || (r == TURN_LIMIT_NO_MEMORY && oom_hit() && !a[i]));
			live += r == TURN_LIMIT_OK;
			assert_int_equal(turn_totals_allocations(t), live);
		}
		if (t) {
			turn_totals_relay_opened(t, &at);
			assert_true(turn_totals_is_relay(t, &at) || oom_hit());
			turn_totals_relay_closed(t, &at);
			assert_false(turn_totals_is_relay(t, &at));
		}
		for (size_t i = 0; t && i < ARRAY_LEN(a); i++)
			turn_totals_give(t, a[i]);
		assert_true((t && b) || oom_hit());
	}
	assert_true(n > 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_policy_is_made_whole_or_not_at_all),
		cmocka_unit_test(a_request_is_judged_rightly_or_not_at_all),
		cmocka_unit_test(an_answer_that_cannot_be_signed_is_not_written),
		cmocka_unit_test(totals_count_right_or_refuse),
	};

	oom_openssl();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
