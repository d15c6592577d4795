/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn/policy.c: what is compiled from the configuration: copied values, resolved limits, users of file
 * and store, what is refused, and how long it lives.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "turn/realm.h"

static char err[256];

static struct turn_policy *must(const struct turn_config *cfg, const struct turn_extra_user *extra, size_t n)
{
	struct turn_policy *p = NULL;

	if (turn_policy_new(cfg, extra, n, err, sizeof(err), &p) != 0)
		fail_msg("%s", err);
	return p;
}

static void refused(const struct turn_config *cfg, const char *why)
{
	struct turn_policy *p = NULL;

	err[0] = 0;
	assert_int_equal(turn_policy_new(cfg, NULL, 0, err, sizeof(err), &p), -EINVAL);
	assert_null(p);
	if (!strstr(err, why))
		fail_msg("'%s' is not in: %s", why, err);
}

/* Whether user and password open the door. */
static bool opens(const struct turn_policy *p, const char *user, const char *password)
{
	static const uint8_t tid[STUN_TID_LEN] = "transaction";
	_cleanup_(stun_key_freep) struct stun_key *theirs = NULL;
	struct turn_key *k = NULL;
	struct turn_identity id;
	struct stun_writer sw;
	struct stun_msg m;
	uint8_t buf[600];
	uint64_t detail;

	assert_int_equal(stun_key_long_term(STUN_ALG_SHA256, STUN_MAC_SHA256, text_of(user), TEXT("example.org"),
					    text_of(password), &theirs), 0);
	stun_begin(&sw, buf, sizeof(buf), STUN_ALLOCATE, STUN_REQUEST, tid);
	stun_put_text(&sw, STUN_A_USERNAME, text_of(user));
	stun_put_text(&sw, STUN_A_REALM, TEXT("example.org"));
	stun_put_text(&sw, STUN_A_NONCE, TEXT("nonce"));
	stun_put_password_algorithms(&sw);
	stun_put_password_algorithm(&sw, STUN_ALG_SHA256);
	stun_put_integrity(&sw, theirs);
	assert_int_equal(stun_parse(buf, (size_t)stun_end(&sw), &m), STUN_OK);
	turn_realm_authenticate(turn_policy_realm(p, 0), &m, &(struct turn_auth_options){ 0, NULL }, &id, &k, &detail);
	turn_key_unref(k);
	return k != NULL;
}

/* They may be made later, in the store. */
static void without_any_credential_nobody_comes_in(void **state)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = must(&(struct turn_config){ .realm = "example.org" }, NULL, 0);

	(void)state;
	assert_false(opens(p, "alice", ""));
	assert_false(opens(p, "alice", "nobody has this name")); /* what a name that nobody has is tried with */
	assert_false(opens(p, "1700000000:alice", "alice"));
}

static void a_user_of_the_store_is_credential_enough(void **state)
{
	struct turn_extra_user extra = { "carol", "carol-secret" };
	_cleanup_(turn_policy_unrefp) struct turn_policy *p =
		must(&(struct turn_config){ .realm = "example.org" }, &extra, 1);

	(void)state;
	assert_true(turn_policy_realm(p, 0)->hides_names);
	assert_true(opens(p, "carol", "carol-secret"));
	assert_false(opens(p, "carol", "carol"));
}

static void the_file_wins_over_the_store(void **state)
{
	struct turn_user_section file[] = { { "Zo\xc3\xab", "of the file" } };
	struct turn_extra_user extra[] = { { "bob", "bobs" }, { "Zoe\xcc\x88", "of the store" }, { "dave", "daves" } };
	_cleanup_(turn_policy_unrefp) struct turn_policy *p =
		must(&(struct turn_config){ .realm = "example.org", .users = { file, 1 } }, extra, 3);

	(void)state;
	assert_true(opens(p, "Zo\xc3\xab", "of the file"));
	assert_false(opens(p, "Zo\xc3\xab", "of the store"));
	assert_true(opens(p, "bob", "bobs"));
	assert_true(opens(p, "dave", "daves"));
}

static void many_users_are_all_found(void **state)
{
	enum { N = 3000 };
	static struct turn_extra_user extra[N];
	static char names[N][16];
	struct turn_policy *p;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		snprintf(names[i], sizeof(names[i]), "user-%u", i);
		extra[i] = (struct turn_extra_user){ names[i], names[i] };
	}
	p = must(&(struct turn_config){ .realm = "example.org" }, extra, N);
	for (unsigned i = 0; i < N; i += 7) {
		assert_true(opens(p, names[i], names[i]));
		assert_false(opens(p, names[i], "user-1000000"));
	}
	turn_policy_unref(p);
}

static void what_cannot_be_used_is_named(void **state)
{
	struct turn_user_section twice[] = { { "Zo\xc3\xab", "a" }, { "Zoe\xcc\x88", "b" } }, control[] = { { "bob", "a\nb" } },
				 bad_name[] = { { "b\x01", "x" } };
	static char huge[1200];

	(void)state;
	memset(huge, 'x', sizeof(huge) - 1);
	struct turn_user_section long_name[] = { { huge, "x" } };
	refused(&(struct turn_config){ .realm = "r", .users = { twice, 2 } }, "two users are called");
	refused(&(struct turn_config){ .realm = "r", .users = { control, 1 } }, "password of user 'bob'");
	refused(&(struct turn_config){ .realm = "r", .users = { bad_name, 1 } }, "the name of user");
	refused(&(struct turn_config){ .realm = "r", .users = { long_name, 1 } }, "too long");
	refused(&(struct turn_config){ .realm = "r", .password = "a\x7f" }, "turn.password cannot be used");
	refused(&(struct turn_config){ .realm = "r", .password = "" }, "turn.password cannot be used");
}

static void the_limit_per_user_depends_on_what_protects_it(void **state)
{
	struct turn_user_section users[] = { { "alice", "x" } };
	static const struct {
		const char *password;
		uint64_t written, is;
	} rows[] = {
		{ NULL, 0, 20 }, { NULL, 3, 3 }, { NULL, UINT64_MAX, UINT64_MAX },
		{ "one", 0, UINT64_MAX }, { "one", 5, 5 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct turn_config cfg = { .realm = "example.org", .users = { users, 1 }, .password = (char *)rows[i].password };
		_cleanup_(turn_policy_unrefp) struct turn_policy *p = NULL;

		cfg.limits.allocations_per_user = rows[i].written;
		p = must(&cfg, NULL, 0);
		assert_true(turn_policy_config(p)->limits.allocations_per_user == rows[i].is);
	}
}

static void limits_that_nobody_wrote_follow_from_the_others(void **state)
{
	struct turn_user_section users[] = { { "alice", "x" } };
	struct turn_config cfg = { .realm = "example.org", .users = { users, 1 } };

	(void)state;
	cfg.limits.allocations = UINT64_MAX;
	cfg.limits.allocations_per_user = 20;
	cfg.limits.permissions_per_allocation = 200;
	cfg.limits.channels_per_allocation = 100;
	cfg.limits.channels = 7;
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = must(&cfg, NULL, 0);
	const struct turn_config *is = turn_policy_config(p);
	assert_true(is->limits.permissions == UINT64_MAX);
	assert_int_equal(is->limits.permissions_per_user, 4000);
	assert_int_equal(is->limits.channels, 7);
	assert_int_equal(is->limits.channels_per_user, 2000);
}

static void the_values_are_copied_to_the_last(void **state)
{
	char realm[] = "example.org", software[] = "Stile", password[] = "one", name[] = "alice", user_pw[] = "x", id[] = "2026",
	     secret[] = "s", cert[] = "c.pem", key[] = "k.pem";
	struct turn_user_section users[] = { { name, user_pw } };
	struct turn_secret_section secrets[] = { { id, secret } };
	struct cfg_endpoint listen[] = { { .proto = TURN_LISTEN_TLS, .at = addr_v4(0, 5349) } };
	struct addr relay[] = { addr_v4(0xc0000201, 0) };
	struct prefix allow[] = { { .a = addr_v4(0x0a000000, 0), .bits = 8 } };
	struct turn_config cfg = {
		.realm = realm, .software = software, .password = password, .certificate = cert, .key = key,
		.users = { users, 1 }, .secrets = { secrets, 1 }, .listen = { listen, 1 }, .peers.allow = { allow, 1 },
		.relay = { .addresses = { relay, 1 }, .ports = { 50000, 50010 } },
		.limits = { .allocations = 7, .bitrate = 8 }, .lifetime = { .max_ms = 9 }, .workers = 3,
	};
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = must(&cfg, NULL, 0);
	const struct turn_config *c = turn_policy_config(p);
	const struct turn_user_section *u;
	const struct turn_secret_section *s;

	(void)state;
	for (char *all[] = { realm, software, password, name, user_pw, id, secret, cert, key, NULL }, **i = all; *i; i++)
		**i = '!';
	memset(listen, 0, sizeof(listen));
	memset(relay, 0, sizeof(relay));
	memset(allow, 0, sizeof(allow));
	u = c->users.items;
	s = c->secrets.items;
	assert_string_equal(c->realm, "example.org");
	assert_string_equal(c->software, "Stile");
	assert_string_equal(c->password, "one");
	assert_string_equal(c->certificate, "c.pem");
	assert_string_equal(c->key, "k.pem");
	assert_string_equal(u->name, "alice");
	assert_string_equal(u->password, "x");
	assert_string_equal(s->id, "2026");
	assert_string_equal(s->secret, "s");
	assert_int_equal(((const struct cfg_endpoint *)c->listen.items)->proto, TURN_LISTEN_TLS);
	assert_int_equal(addr_port(&((const struct cfg_endpoint *)c->listen.items)->at), 5349);
	assert_int_equal(((const struct prefix *)c->peers.allow.items)->bits, 8);
	assert_int_equal(addr_family(c->relay.addresses.items), AF_INET);
	assert_int_equal(c->relay.ports.first, 50000);
	assert_int_equal(c->limits.allocations, 7);
	assert_int_equal(c->lifetime.max_ms, 9);
	assert_int_equal(c->workers, 3);
	assert_null(c->log);
	assert_true(opens(p, "someone", "one"));
}

static void *use_and_drop(void *arg)
{
	struct turn_policy *p = arg;

	for (int i = 0; i < 200; i++) {
		turn_policy_ref(p);
		if (!opens(p, "alice", "alice-secret"))
			return NULL;
		turn_policy_unref(p);
	}
	turn_policy_unref(p);
	return "fine";
}

static void four_workers_share_one_policy(void **state)
{
	struct turn_user_section users[] = { { "alice", "alice-secret" } };
	struct turn_policy *p = must(&(struct turn_config){ .realm = "example.org", .users = { users, 1 } }, NULL, 0);
	pthread_t th[4];
	void *fine;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&th[i], NULL, use_and_drop, turn_policy_ref(p)), 0);
	turn_policy_unref(p);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(th[i], &fine), 0);
		assert_non_null(fine);
	}
	assert_null(turn_policy_ref(NULL));
	assert_null(turn_policy_unref(NULL));
}

static void realms_are_found_by_name_and_by_slot(void **state)
{
	struct turn_realm_section x[] = { { .name = "a.example", .password = "pa" }, { .name = "b.example", .password = "pb" } };
	static struct turn_realm_section many[TURN_REALMS_MAX + 1];
	static char names[TURN_REALMS_MAX + 1][16];
	char password[] = "p";
	_cleanup_(turn_policy_unrefp) struct turn_policy *p =
		must(&(struct turn_config){ .realm = "example.org", .password = "main", .realms = { x, 2 } }, NULL, 0);

	(void)state;
	assert_int_equal(turn_policy_n_realms(p), 3);
	assert_string_equal(turn_policy_slot_name(p, 0), "example.org");
	assert_string_equal(turn_policy_slot_name(p, 2), "b.example");
	assert_null(turn_policy_slot_name(p, 3));
	assert_null(turn_policy_slot_name(p, UINT_MAX));
	assert_ptr_equal(turn_policy_find_realm(p, NULL), turn_policy_realm(p, 0));
	assert_ptr_equal(turn_policy_find_realm(p, "a.example"), turn_policy_realm(p, 1));
	assert_ptr_equal(turn_policy_nth_realm(p, 2), turn_policy_realm(p, 2));
	assert_null(turn_policy_find_realm(p, "c.example"));
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		(void)snprintf(names[i], sizeof(names[i]), "r%zu", i);
		many[i] = (struct turn_realm_section){ .name = names[i], .password = password };
	}
	refused(&(struct turn_config){ .realm = "r", .password = "p", .realms = { many, ARRAY_LEN(many) } }, "realms are possible");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_any_credential_nobody_comes_in),
		cmocka_unit_test(a_user_of_the_store_is_credential_enough),
		cmocka_unit_test(the_file_wins_over_the_store),
		cmocka_unit_test(many_users_are_all_found),
		cmocka_unit_test(what_cannot_be_used_is_named),
		cmocka_unit_test(the_limit_per_user_depends_on_what_protects_it),
		cmocka_unit_test(limits_that_nobody_wrote_follow_from_the_others),
		cmocka_unit_test(the_values_are_copied_to_the_last),
		cmocka_unit_test(four_workers_share_one_policy),
		cmocka_unit_test(realms_are_found_by_name_and_by_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
