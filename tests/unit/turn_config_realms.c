/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn.realms as an administrator writes it: what it means, the limits that follow from others, and the
 * sentences and places of every fault. Addresses are of loopback, which every machine has.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tests/unit/support.h"
#include "turn/config.h"
#include "turn/realm.h"

static struct support_dir dir;

static struct cfg *load(const char *yaml)
{
	struct cfg *c = NULL;

	assert_int_not_equal(cfg_load_text(text_of(yaml), "stile.yaml", &turn_cfg_root, &c), -ENOMEM);
	assert_non_null(c);
	turn_config_check(c);
	return c;
}

static const struct turn_config *turn_of(const struct cfg *c)
{
	return &((const struct turn_root *)cfg_values(c))->turn;
}

/* Exactly one error, in this line, with this text. */
static void expect(const char *yaml, unsigned line, const char *text)
{
	_cleanup_(cfg_freep) struct cfg *c = load(yaml);

	if (cfg_n_errors(c) == 1 && cfg_error(c, 0)->line == line && strstr(cfg_error(c, 0)->text, text))
		return;
	cfg_print_errors(c, stderr);
	fail_msg("wanted one error in line %u: %s", line, text);
}

static void warns(const char *yaml, unsigned line, const char *text)
{
	_cleanup_(cfg_freep) struct cfg *c = load(yaml);

	assert_int_equal(cfg_print_errors(c, stderr), 0);
	for (size_t i = 0; i < cfg_n_warnings(c); i++)
		if (cfg_warning(c, i)->line == line && strstr(cfg_warning(c, i)->text, text))
			return;
	fail_msg("wanted a warning in line %u: %s", line, text);
}

/* Its realms begin in line 6. */
#define TURN                                                                                                           \
	"turn:\n  realm: example.org\n  password: correct horse\n"                                                     \
	"  listen: [\"udp:127.0.0.1:3478\", \"udp:0.0.0.0:3479\", \"tcp:127.0.0.1:3478\"]\n  realms:\n"
#define WAY "      listen: [\"udp:127.0.0.1:3478\"]\n"
#define PW "      password: battery staple\n"

static void a_realm_is_read_with_all_it_has(void **state)
{
	_cleanup_(cfg_freep) struct cfg *c = load(
		TURN "    - name: partner.example\n      server_names: [turn.partner.example, \"*.partner.example\"]\n" WAY
		     "      users: [ { name: alice, password: secret password } ]\n"
		     "      secrets: [ { id: p1, secret: a secret of the partner } ]\n"
		     "      peers: { allow: [10.1.0.0/16], deny: [10.1.2.0/24] }\n"
		     "      limits: { allocations: 50, bitrate: 10Mbit/s }\n");
	const struct turn_realm_section *x = turn_of(c)->realms.items;

	(void)state;
	assert_int_equal(cfg_n_errors(c), 1); /* no tls listener for the names: below */
	assert_int_equal(turn_of(c)->realms.n, 1);
	assert_string_equal(x->name, "partner.example");
	assert_string_equal(((char **)x->server_names.items)[1], "*.partner.example");
	assert_int_equal(x->listen.n, 1);
	assert_string_equal(((struct turn_user_section *)x->users.items)->password, "secret password");
	assert_string_equal(((struct turn_secret_section *)x->secrets.items)->id, "p1");
	assert_int_equal(x->peers.allow.n, 1);
	assert_int_equal(x->limits.allocations, 50);
	assert_int_equal(x->limits.bitrate, 10000000);
	assert_int_equal(x->limits.allocations_per_user, 0); /* not written */
}

static void names_are_told_apart(void **state)
{
	(void)state;
	expect(TURN "    - { name: example.org, password: battery staple, listen: [\"udp:127.0.0.1:3478\"] }\n", 6,
	       "is the default realm (turn.realm)");
	expect(TURN "    - name: a\n" WAY PW "    - name: a\n      listen: [\"tcp:127.0.0.1:3478\"]\n" PW, 9,
	       "two realms are called 'a'; the first stands in line 6");
	expect(TURN "    - name: a/b\n" WAY PW, 6, "must not hold a slash");
	expect(TURN "    - name: 'a\"b'\n" WAY PW, 6, "must not hold quotes");
	expect(TURN "    - password: battery staple\n" WAY, 6, "'name' is required in turn.realms");
	expect(TURN "    - name: a\n" WAY PW "      realms: []\n", 9, "unknown key 'realms' in turn.realms");
}

static void something_must_lead_to_each_realm_and_nothing_to_two(void **state)
{
	(void)state;
	expect(TURN "    - name: a\n" PW, 6, "no client would come to this realm; write server_names: [turn.a]");
	expect(TURN "    - name: a\n      server_names: [turn.a]\n" PW, 7, "turn.listen has no tls or dtls listener");
	expect(TURN "    - name: a\n      listen: [\"udp:127.0.0.2:3478\"]\n" PW, 7,
	       "nothing listens on udp:127.0.0.2:3478; add it to turn.listen");
	expect(TURN "    - name: a\n" WAY PW "    - name: b\n" WAY PW, 10, "leads to a realm already, in line 7");
	_cleanup_(cfg_freep) struct cfg *covered =
		load(TURN "    - name: a\n      listen: [\"udp:127.0.0.9:3479\"]\n" PW); /* by 0.0.0.0:3479 */
	assert_int_equal(cfg_print_errors(covered, stderr), 0);
}

/* A file with TLS, whose realms begin in line 8. */
static const char *tls(const char *realms)
{
	static char yaml[2000];
	char cert[SUPPORT_PATH];

	snprintf(cert, sizeof cert, "%s", support_path(&dir, "default.pem"));
	snprintf(yaml, sizeof yaml,
		 "turn:\n  realm: example.org\n  password: correct horse\n  listen: [\"tls:127.0.0.1:5349\"]\n"
		 "  certificate: %s\n  key: %s\n  realms:\n%s", cert, support_path(&dir, "default.key"), realms);
	return yaml;
}

static void server_names_are_host_names_and_lead_to_one_realm(void **state)
{
	(void)state;
	expect(tls("    - { name: a, password: battery staple, server_names: [192.0.2.1] }\n"), 8, "clients send no addresses");
	expect(tls("    - { name: a, password: battery staple, server_names: [\"t*.a\"] }\n"), 8, "only as its whole first label");
	expect(tls("    - { name: a, password: battery staple, server_names: [x.a, X.a] }\n"), 8, "leads to a realm already");
	expect(tls("    - { name: a, password: battery staple, server_names: [x.a] }\n"
		   "    - { name: b, password: battery staple, server_names: [y.b, x.A] }\n"), 9,
	       "the server name 'x.A' leads to a realm already, in line 8");
	_cleanup_(cfg_freep) struct cfg *more_exact =
		load(tls("    - { name: a, password: battery staple, server_names: [\"*.a\"] }\n"
			 "    - { name: b, password: battery staple, server_names: [x.a] }\n"));
	assert_int_equal(cfg_print_errors(more_exact, stderr), 0);
}

static const char *with_certificate(const char *names, const char *cert, const char *key)
{
	static char yaml[1000];
	size_t n = (size_t)snprintf(yaml, sizeof yaml, "    - name: a\n      password: battery staple\n      %s\n", names);

	if (cert)
		n += (size_t)snprintf(yaml + n, sizeof yaml - n, "      certificate: %s\n", support_path(&dir, cert));
	if (key)
		snprintf(yaml + n, sizeof yaml - n, "      key: %s\n", support_path(&dir, key));
	return tls(yaml);
}

static void a_realms_certificate_is_looked_at(void **state)
{
	const char *names = "server_names: [turn.partner.example, x.other.example]";

	(void)state;
	expect(with_certificate(names, "partner.pem", NULL), 11, "belong together; the key is missing");
	expect(with_certificate(names, NULL, "partner.key"), 11, "belong together; the certificate is missing");
	expect(with_certificate(names, "none.pem", "partner.key"), 11, "none.pem");
	expect(with_certificate(names, "partner.pem", "default.key"), 12, "does not belong to the certificate");
	expect(with_certificate("listen: [\"tls:127.0.0.1:5349\"]", "partner.pem", "partner.key"), 11, "there are none");
	warns(with_certificate(names, "partner.pem", "partner.key"), 10,
	      "the certificate is not for x.other.example, so clients will refuse it; it is for: DNS:*.partner.example");
	_cleanup_(cfg_freep) struct cfg *good =
		load(with_certificate("server_names: [turn.partner.example, \"*.partner.example\"]", "partner.pem", "partner.key"));
	assert_int_equal(cfg_n_errors(good), 0);
	assert_int_equal(cfg_n_warnings(good), 0);
}

static void credentials_and_prefixes_have_the_checks_of_the_default_realm(void **state)
{
	(void)state;
	expect(TURN "    - name: a\n" WAY "      users:\n        - { name: x, password: long enough }\n"
		    "        - { name: x, password: long enough }\n", 10, "two users are called 'x'; the first stands in line 9");
	expect(TURN "    - name: a\n" WAY "      secrets: [ { id: x, secret: long enough to be one }, { id: x, secret: long enough to be "
		    "one } ]\n", 8, "two secrets are called 'x'");
	expect(TURN "    - name: a\n" WAY PW "      peers: { allow: [\"::ffff:10.0.0.0/104\"] }\n", 9, "write the IPv4 prefix");
	expect(TURN "    - name: a\n" WAY PW "      limits: { bitrate: 5 }\n", 9, "'bitrate'");
	expect(TURN "    - name: a\n" WAY PW "      limits: { connections: 5 }\n", 9, "unknown key 'connections' in turn.realms.limits");
	warns(TURN "    - name: a\n" WAY "      password: short\n", 8, "soon guessed");
	warns(TURN "    - name: a\n" WAY, 6, "only users made by `stile turn user add NAME --realm a`");
	warns(TURN "    - name: a\n" WAY PW "      peers: { allow: [10.0.0.0/8] }\n  peers: { deny: [10.0.0.0/7] }\n", 9,
	      "is never allowed: turn.peers.deny 10.0.0.0/7 beats it");
}

static void the_default_realm_may_be_empty_if_there_is_another(void **state)
{
	_cleanup_(cfg_freep) struct cfg *c =
		load("turn:\n  listen: [\"udp:127.0.0.1:3478\"]\n  realms:\n    - name: a\n" WAY PW);

	(void)state;
	assert_int_equal(cfg_print_errors(c, stderr), 0);
}

/* ---- what follows ---- */

static void limits_of_a_realm_follow_from_the_servers(void **state)
{
	struct turn_realm_section x[] = {
		{ .name = "a", .limits = { .allocations = 7 } },
		{ .name = "b", .password = "for all names" },
		{ .name = "c", .limits = { .allocations_per_user = 3, .permissions_per_allocation = 5, .bitrate_per_user = 99 } },
	};
	struct turn_config cfg = {
		.realm = "r", .password = "p", .realms = { x, 3 },
		.limits = { .allocations = 100, .permissions_per_allocation = 20, .channels_per_allocation = 30,
			    .bitrate = UINT64_MAX, .bitrate_per_user = 1000 },
	};
	char err[200];
	struct turn_policy *made = NULL;

	(void)state;
	assert_int_equal(turn_policy_new(&cfg, NULL, 0, err, sizeof err, &made), 0);
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = made;
	const struct turn_limits *d = &turn_policy_nth_realm(p, 0)->limits, *a = &turn_policy_nth_realm(p, 1)->limits,
				 *b = &turn_policy_nth_realm(p, 2)->limits, *c = &turn_policy_nth_realm(p, 3)->limits;
	assert_true(d->allocations == UINT64_MAX && d->bitrate == UINT64_MAX);
	assert_true(d->allocations_per_user == UINT64_MAX); /* one password for all names */
	assert_int_equal(a->allocations, 7);
	assert_int_equal(a->allocations_per_user, 20);
	assert_int_equal(a->permissions_per_user, 20 * 20);
	assert_int_equal(a->bitrate_per_user, 1000);
	assert_true(a->bitrate == UINT64_MAX && a->permissions == UINT64_MAX && b->allocations_per_user == UINT64_MAX);
	assert_int_equal(c->allocations_per_user, 3);
	assert_int_equal(c->permissions_per_user, 15);
	assert_int_equal(c->channels_per_user, 90);
	assert_int_equal(c->bitrate_per_user, 99);
}

static void users_of_the_store_belong_to_their_realm(void **state)
{
	struct turn_realm_section x = { .name = "a" };
	struct turn_config cfg = { .realm = "r", .password = "p", .realms = { &x, 1 } };
	struct turn_extra_user extra[] = {
		{ "alice", "1", NULL }, { "alice", "2", "a" }, { "bob", "3", "a" }, { "carol", "4", "of no realm that is configured" },
	};
	char err[200];
	struct turn_policy *p = NULL;

	(void)state;
	assert_int_equal(turn_policy_new(&cfg, extra, 4, err, sizeof err, &p), 0);
	assert_int_equal(turn_policy_nth_realm(p, 0)->n_users, 1);
	assert_int_equal(turn_policy_nth_realm(p, 1)->n_users, 2);
	assert_false(turn_policy_nth_realm(p, 0)->hides_names); /* it has a password for all names */
	assert_true(turn_policy_nth_realm(p, 1)->hides_names);
	turn_policy_unref(p);
}

static void a_server_name_leads_to_the_realm_that_names_it_best(void **state)
{
	char *any[] = { "*.example.org", "other.example" }, *exact[] = { "turn.example.org" };
	struct turn_realm_section x[] = { { .name = "any", .server_names = { any, 2 } }, { .name = "exact", .server_names = { exact, 1 } } };
	struct turn_config cfg = { .realm = "r", .password = "p", .realms = { x, 2 } };
	char err[200];
	struct turn_policy *p = NULL;

	(void)state;
	assert_int_equal(turn_policy_new(&cfg, NULL, 0, err, sizeof err, &p), 0);
	assert_int_equal(turn_policy_realm_named(p, TEXT("TURN.example.org")), 2);
	assert_int_equal(turn_policy_realm_named(p, TEXT("x.example.org")), 1);
	assert_int_equal(turn_policy_realm_named(p, TEXT("other.example")), 1);
	assert_int_equal(turn_policy_realm_named(p, TEXT("nobody.example")), 0);
	assert_int_equal(turn_policy_realm_named(p, TEXT("")), 0);
	turn_policy_unref(p);
}

static int setup(void **state)
{
	(void)state;
	support_dir_make(&dir);
	support_cert(&dir, "default", "DNS:turn.example.org", -1, 30);
	support_cert(&dir, "partner", "DNS:*.partner.example", -1, 30);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	support_dir_remove(&dir);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_realm_is_read_with_all_it_has),
		cmocka_unit_test(names_are_told_apart),
		cmocka_unit_test(something_must_lead_to_each_realm_and_nothing_to_two),
		cmocka_unit_test(server_names_are_host_names_and_lead_to_one_realm),
		cmocka_unit_test(a_realms_certificate_is_looked_at),
		cmocka_unit_test(credentials_and_prefixes_have_the_checks_of_the_default_realm),
		cmocka_unit_test(the_default_realm_may_be_empty_if_there_is_another),
		cmocka_unit_test(limits_of_a_realm_follow_from_the_servers),
		cmocka_unit_test(users_of_the_store_belong_to_their_realm),
		cmocka_unit_test(a_server_name_leads_to_the_realm_that_names_it_best),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
