/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn/config.c and turn/config_check.c: what an administrator writes, what it means, and the sentences
 * and places of every fault. Addresses are of loopback, which every machine has.
 */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/front.h"
#include "turn/config.h"
#include "turn/relay_addresses.h"

/* ---- reading ---- */

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

/* Whether exactly one error stands in this line and holds this text; n: how many errors there are in all. */
static void expect(const char *yaml, size_t n, unsigned line, const char *text)
{
	_cleanup_(cfg_freep) struct cfg *c = load(yaml);
	size_t found = 0;

	for (size_t i = 0; i < cfg_n_errors(c); i++) {
		const struct cfg_error *e = cfg_error(c, i);

		found += e->line == line && strstr(e->text, text) != NULL;
	}
	if (found != 1 || cfg_n_errors(c) != n) {
		cfg_print_errors(c, stderr);
		fail_msg("wanted %zu errors and in line %u: %s", n, line, text);
	}
}

static void expect_good(const char *yaml)
{
	_cleanup_(cfg_freep) struct cfg *c = load(yaml);

	if (cfg_print_errors(c, stderr))
		fail_msg("should be good:\n%s", yaml);
}

#define LO "  listen: [\"udp:127.0.0.1:3478\"]\n"
#define PW "  password: correct horse\n"

/* ---- rows ---- */

static void the_rows_make_sense_by_themselves(void **state)
{
	char err[256] = "";

	(void)state;
	if (cfg_schema_selftest(&turn_config_schema, err, sizeof(err)) || cfg_schema_selftest(turn_cfg_root.schema, err, sizeof(err)))
		fail_msg("%s", err);
}

static void a_password_alone_is_a_configuration(void **state)
{
	_cleanup_(cfg_freep) struct cfg *c = load("turn:\n" PW);
	const struct turn_config *t = turn_of(c);
	const struct cfg_endpoint *l = t->listen.items;
	char text[ADDR_STRLEN];

	(void)state;
	assert_int_equal(cfg_n_errors(c), 0);
	assert_string_equal(t->realm, "stile");
	assert_string_equal(t->software, "Stile");
	assert_int_equal(t->listen.n, 2);
	assert_int_equal(l[0].proto, TURN_LISTEN_UDP);
	assert_string_equal(addr_print(&l[0].at, text), "0.0.0.0:3478");
	assert_int_equal(l[1].proto, TURN_LISTEN_TCP);
	assert_string_equal(addr_print(&l[1].at, text), "0.0.0.0:3478");
	assert_int_equal(t->relay.ports.first, 49152);
	assert_int_equal(t->relay.ports.last, 65535);
	assert_int_equal(t->limits.allocations, 10000);
	assert_int_equal(t->limits.allocations_per_user, 0);
	assert_int_equal(t->limits.permissions_per_allocation, 200);
	assert_int_equal(t->limits.channels_per_allocation, 200);
	assert_true(t->limits.bitrate == UINT64_MAX && t->limits.bitrate_per_user == UINT64_MAX);
	assert_int_equal(t->limits.connections, 10000);
	assert_int_equal(t->limits.connections_per_address, 100);
	assert_int_equal(t->limits.unauthenticated_bitrate, 64000);
	assert_int_equal(t->limits.bad_credentials, 5);
	assert_int_equal(t->limits.bad_credentials_per_address, 100);
	assert_int_equal(t->limits.backoff_ms, 60000);
	assert_int_equal(t->lifetime.default_ms, 600000);
	assert_int_equal(t->lifetime.max_ms, 3600000);
	assert_int_equal(t->lifetime.nonce_ms, 600000);
	assert_int_equal(t->workers, 0);
	assert_null(t->log);
}

static void everything_the_design_promises_is_read(void **state)
{
	_cleanup_(cfg_freep) struct cfg *c = load(
		"stun_servers: [\"stun.example.net:3478\"]\n"
		"tunnel: {name: not ours}\n"
		"turn:\n"
		"  realm: example.org\n"
		"  listen: [\"udp:127.0.0.1:3478\", \"tcp:127.0.0.1:3478\", \"udp:127.0.0.2:3478\"]\n"
		"  relay: {addresses: [127.0.0.1], external: [203.0.113.1], ports: 50000-51000}\n"
		"  users: [{name: alice, password: alice-secret}]\n"
		"  secrets: [{id: 2026a, secret: shared-secret-of-the-rest-api}]\n"
		"  peers: {allow: [10.0.0.0/8], deny: [10.9.0.0/16]}\n"
		"  limits: {allocations: unlimited, allocations_per_user: 7, bitrate_per_user: 2Mbit/s}\n"
		"  lifetime: {default: 5m, max: 1h, nonce: 60s}\n"
		"  workers: 2\n"
		"  software: \"\"\n"
		"  log: {level: debug}\n");
	const struct turn_config *t = turn_of(c);
	const struct turn_user_section *u = t->users.items;
	const struct turn_secret_section *s = t->secrets.items;
	char text[ADDR_STRLEN];

	(void)state;
	assert_int_equal(cfg_print_errors(c, stderr), 0);
	assert_string_equal(t->realm, "example.org");
	assert_int_equal(t->listen.n, 3);
	const struct cfg_ip_auto *external = t->relay.external.items;
	assert_false(external->automatic);
	assert_string_equal(addr_print_ip(&external->ip, text), "203.0.113.1");
	assert_int_equal(t->relay.ports.first, 50000);
	assert_string_equal(u->name, "alice");
	assert_string_equal(u->password, "alice-secret");
	assert_string_equal(s->id, "2026a");
	assert_string_equal(s->secret, "shared-secret-of-the-rest-api");
	assert_int_equal(t->peers.allow.n, 1);
	assert_int_equal(((const struct prefix *)t->peers.deny.items)->bits, 16);
	assert_true(t->limits.allocations == UINT64_MAX);
	assert_int_equal(t->limits.allocations_per_user, 7);
	assert_int_equal(t->limits.bitrate_per_user, 2000000);
	assert_int_equal(t->lifetime.default_ms, 300000);
	assert_int_equal(t->workers, 2);
	assert_string_equal(t->software, "");
	assert_non_null(t->log);
	assert_int_equal(((const struct turn_root *)cfg_values(c))->stun_servers.n, 1);
}

static void values_out_of_range_are_refused(void **state)
{
	static const char *const bad[] = {
		"realm: \"\"", "workers: 251", "relay: {ports: 0-100}", "relay: {ports: 1-65535}", "relay: {ports: 60000-50000}",
		"limits: {allocations: 0}", "limits: {allocations_per_user: 0}", "limits: {channels_per_allocation: 5000}",
		"limits: {unauthenticated_bitrate: 1kbit/s}", "limits: {bad_credentials: 0}",
		"limits: {backoff: 0s}", "limits: {backoff: 2h}", "limits: {bad_credentials_per_address: none}", "lifetime: {nonce: 0s}", "lifetime: {max: 2d}",
		"peers: {allow: [10.0.0.1/8]}", "peers: {deny: [somewhere]}", "relay: {addresses: [\"127.0.0.1:5\"]}",
		"limit: {allocations: 5}", "users: [{name: x, password: y}, {name: z}]", "secrets: [{id: a}]",
	};
	char yaml[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(yaml, sizeof(yaml), "turn:\n" LO PW "  %s\n", bad[i]);
		_cleanup_(cfg_freep) struct cfg *c = load(yaml);

		if (cfg_n_errors(c) != 1 || cfg_error(c, 0)->line != 4) {
			cfg_print_errors(c, stderr);
			fail_msg("%s", bad[i]);
		}
	}
}

/* ---- checks between keys ---- */

static void without_a_credential_source_it_says_what_to_write(void **state)
{
	(void)state;
	expect("turn:\n" LO, 1, 1, "no password, users or secrets");
	expect("turn:\n" LO "  users: []\n", 1, 1, "password: ");
	expect("log: {level: info}\n", 1, 0, "secrets: [ {id");
	/* a bad password is one error, not two */
	expect("turn:\n" LO "  password: \"\"\n", 1, 3, "password");
	expect_good("turn:\n" LO "  secrets: [{id: a, secret: b}]\n");
	expect_good("turn:\n" LO "  users: [{name: a, password: b}]\n");
}

static void names_that_are_equal_name_the_first(void **state)
{
	(void)state;
	expect("turn:\n" LO "  users:\n    - {name: alice, password: a}\n    - {name: bob, password: b}\n"
	       "    - {name: alice, password: c}\n", 1, 6, "the first stands in line 4");
	/* composed and decomposed */
	expect("turn:\n" LO "  users:\n    - {name: \"Zo\xc3\xab\", password: a}\n    - {name: \"Zoe\xcc\x88\", password: b}\n", 1, 5,
	       "two users are called");
	expect("turn:\n" LO "  secrets:\n    - {id: x, secret: a}\n    - {id: x, secret: b}\n", 1, 5, "two secrets are called 'x'");
}

static void texts_that_clients_could_not_send_are_refused(void **state)
{
	(void)state;
	expect("turn:\n" LO "  password: \"a\xc2\xad" "b\"\n", 1, 3, "OpaqueString");
	expect("turn:\n" LO "  users: [{name: \"a\xc2\xad\", password: b}]\n", 1, 3, "this user name");
	expect("turn:\n" LO "  users: [{name: a, password: \"\xcd\xb8\"}]\n", 1, 3, "this password");
	expect("turn:\n" LO PW "  realm: 'a\"b'\n", 1, 4, "quotes");
	expect("turn:\n" LO PW "  realm: \"Zoe\xcc\x88\"\n", 1, 4, "Zo\xc3\xab");
}

static void a_secret_is_never_in_a_message(void **state)
{
	_cleanup_(cfg_freep) struct cfg *c = load("turn:\n  password: \"topsecret\xc2\xad\"\n  users: [{name: a, password: \"topsecret\xcd\xb8\"}]\n");

	(void)state;
	assert_true(cfg_n_errors(c) >= 2);
	for (size_t i = 0; i < cfg_n_errors(c); i++)
		assert_null(strstr(cfg_error(c, i)->text, "topsecret"));
}

static void two_listeners_on_one_address_are_refused(void **state)
{
	(void)state;
	expect("turn:\n" PW "  listen:\n    - udp:127.0.0.1:3478\n    - udp:127.0.0.1:3478\n", 1, 5,
	       "two listeners on UDP port 127.0.0.1:3478");
	expect("turn:\n" PW "  listen: []\n", 1, 3, "no listener");
	expect_good("turn:\n" PW "  listen: [\"udp:127.0.0.1:3478\", \"tcp:127.0.0.1:3478\", \"udp:127.0.0.2:3478\"]\n");
}

static void addresses_of_another_machine_are_refused_with_ours(void **state)
{
	(void)state;
	expect("turn:\n" PW "  listen: [\"udp:192.0.2.77:3478\"]\n", 1, 3, "127.0.0.1");
	expect("turn:\n" PW LO "  relay: {addresses: [192.0.2.77]}\n", 1, 4, "192.0.2.77 is no address of this machine");
	expect("turn:\n" PW LO "  relay: {addresses: [0.0.0.0]}\n", 1, 4, "clients are told this address");
	expect("turn:\n" PW LO "  relay: {addresses: [127.0.0.1, 127.0.0.1]}\n", 1, 4, "stands twice");
	expect_good("turn:\n" PW LO "  relay: {addresses: [127.0.0.1, 127.0.0.2]}\n");
}

static void external_addresses_belong_to_relay_addresses(void **state)
{
	(void)state;
	expect("turn:\n" PW LO "  relay: {addresses: [127.0.0.1, 127.0.0.2], external: [203.0.113.1]}\n", 1, 4,
	       "names 1 IPv4 address for 2 relay addresses");
	expect("turn:\n" PW LO "  relay: {addresses: [127.0.0.1], external: [\"2a00::1\"]}\n", 1, 4, "both be IPv4");
	expect("turn:\n" PW LO "  relay: {addresses: [127.0.0.1], external: [203.0.113.1, 203.0.113.2]}\n", 1, 4, "for 1 relay address ");
	expect_good("turn:\n" PW LO "  relay: {external: [203.0.113.1]}\n"); /* of the listener's, which is found */
	expect_good("turn:\n" PW LO "  relay: {addresses: [127.0.0.1, \"::1\"], external: 203.0.113.1}\n");
}

static void an_automatic_external_address_wants_somebody_to_ask(void **state)
{
#define ASK "stun_servers: [\"stun.example.net:3478\"]\n"
	(void)state;
	expect("turn:\n" PW LO "  relay: {external: auto}\n", 1, 4, "stun_servers names none");
	expect_good(ASK "turn:\n" PW LO "  relay: {external: auto}\n");
	expect_good(ASK "turn:\n" PW LO "  relay: {addresses: [127.0.0.1, 127.0.0.2], external: [auto]}\n");
	expect_good(ASK "turn:\n" PW LO "  relay: {addresses: [127.0.0.1, 127.0.0.2], external: [203.0.113.1, auto]}\n");
	expect(ASK "turn:\n" PW LO "  relay: {addresses: [127.0.0.1, 127.0.0.2, 127.0.0.3], external: [203.0.113.1, auto]}\n", 1, 5,
	       "one of them auto, for 3 relay addresses");
	expect("turn:\n" PW LO "  relay: {external: automatic}\n", 1, 4, "must be auto or a numeric address");
}

static void relay_ports_keep_off_the_listeners(void **state)
{
	(void)state;
	expect("turn:\n" PW LO "  relay: {ports: 3000-4000}\n", 1, 4, "include port 3478 of a listener");
	expect("turn:\n" PW LO "  relay: {addresses: [127.0.0.1], ports: 3478}\n", 1, 4, "include port 3478");
	expect("turn:\n" PW "  listen: [\"udp:0.0.0.0:3478\"]\n  relay: {addresses: [127.0.0.2], ports: 3000-4000}\n", 1, 4,
	       "include port 3478");
	expect_good("turn:\n" PW LO "  relay: {addresses: [127.0.0.2], ports: 3000-4000}\n");
	expect_good("turn:\n" PW "  listen: [\"tcp:127.0.0.1:3478\"]\n  relay: {ports: 3000-4000}\n");
}

static void an_allowed_prefix_that_never_matches_is_refused(void **state)
{
	static const char *const hidden[] = { "2002::/16", "::ffff:10.0.0.0/104", "64:ff9b::/96", "2001::/32" };
	char yaml[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
		snprintf(yaml, sizeof(yaml), "turn:\n" PW LO "  peers: {allow: [\"%s\"]}\n", hidden[i]);
		expect(yaml, 1, 4, "write the IPv4 prefix");
		snprintf(yaml, sizeof(yaml), "turn:\n" PW LO "  peers: {deny: [\"%s\"]}\n", hidden[i]);
		expect_good(yaml);
	}
	expect_good("turn:\n" PW LO "  peers: {allow: [\"::/0\", 0.0.0.0/0, 127.0.0.0/8, \"::1\"]}\n");
}

static void the_default_lifetime_is_not_longer_than_the_longest(void **state)
{
	(void)state;
	expect("turn:\n" PW LO "  lifetime: {default: 2h}\n", 1, 4, "longer than turn.lifetime.max of 3600 s");
}

static void all_faults_are_shown_at_once(void **state)
{
	_cleanup_(cfg_freep) struct cfg *c = load("turn:\n"
						  "  listen: [\"udp:192.0.2.77:3478\", \"tls:127.0.0.1:5349\"]\n"
						  "  relay: {addresses: [192.0.2.78], external: [203.0.113.1, 203.0.113.2]}\n"
						  "  peers: {allow: [\"2002::/16\"]}\n"
						  "  lifetime: {default: 2h}\n");

	(void)state;
	assert_int_equal(cfg_n_errors(c), 7);
}

/* ---- certificates ---- */

static char folder[] = "/tmp/stile-turn-config-XXXXXX";

static void write_pem(const char *name, EVP_PKEY *key, X509 *cert)
{
	char path[100];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(cert ? PEM_write_X509(f, cert) : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
	fclose(f);
}

static void write_certificate(const char *name, EVP_PKEY *key, long seconds_left)
{
	X509 *x = X509_new();

	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), seconds_left);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)"test", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	assert_true(X509_sign(x, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256()) > 0);
	write_pem(name, NULL, x);
	X509_free(x);
}

static int make_certificates(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256"), *edwards = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

	(void)state;
	assert_non_null(mkdtemp(folder));
	write_certificate("cert.pem", key, 3600);
	write_certificate("old.pem", key, -30);
	write_certificate("edwards.pem", edwards, 3600);
	write_pem("key.pem", key, NULL);
	write_pem("other.pem", other, NULL);
	write_pem("edwards.key", edwards, NULL);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	EVP_PKEY_free(edwards);
	return 0;
}

static int remove_certificates(void **state)
{
	static const char *const names[] = { "cert.pem", "key.pem", "other.pem", "old.pem", "edwards.pem", "edwards.key" };
	char path[100];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

static const char *tls_yaml(const char *proto, const char *cert, const char *key)
{
	static char yaml[500];
	size_t n = (size_t)snprintf(yaml, sizeof(yaml), "turn:\n" PW "  listen: [\"%s:127.0.0.1:5349\"]\n", proto);

	if (cert)
		n += (size_t)snprintf(yaml + n, sizeof(yaml) - n, "  certificate: %s/%s\n", folder, cert);
	if (key)
		snprintf(yaml + n, sizeof(yaml) - n, "  key: %s/%s\n", folder, key);
	return yaml;
}

static void tls_needs_a_certificate_and_its_key(void **state)
{
	static const char *const protos[] = { "tls", "dtls" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(protos); i++) {
		expect(tls_yaml(protos[i], NULL, NULL), 1, 3, "both are missing");
		expect(tls_yaml(protos[i], "cert.pem", NULL), 1, 4, "the key is missing");
		expect(tls_yaml(protos[i], NULL, "key.pem"), 1, 4, "the certificate is missing");
		expect(tls_yaml(protos[i], "cert.pem", "other.pem"), 1, 5, "does not belong to the certificate");
		expect(tls_yaml(protos[i], "none.pem", "key.pem"), 1, 4, "none.pem");
		expect(tls_yaml(protos[i], "key.pem", "key.pem"), 1, 4, "key.pem");
		expect_good(tls_yaml(protos[i], "cert.pem", "key.pem"));
	}
	/* nothing is asked of files that nobody uses */
	expect_good(tls_yaml("udp", "none.pem", NULL));
}

static void a_missing_key_file_is_named_in_its_line(void **state)
{
	_cleanup_(cfg_freep) struct cfg *c = load(tls_yaml("tls", "cert.pem", "none.pem"));

	(void)state;
	assert_int_equal(cfg_n_errors(c), 1);
	assert_non_null(strstr(cfg_error(c, 0)->text, "none.pem"));
}

static void an_expired_certificate_is_a_warning(void **state)
{
	_cleanup_(cfg_freep) struct cfg *c = load(tls_yaml("tls", "old.pem", "key.pem"));

	(void)state;
	assert_int_equal(cfg_n_errors(c), 0);
	assert_int_equal(cfg_n_warnings(c), 1);
	assert_int_equal(cfg_warning(c, 0)->line, 4);
	assert_non_null(strstr(cfg_warning(c, 0)->text, "expired on"));
}

/* OpenSSL 3.0 picks no cipher for such a key over DTLS, so every handshake would fail. */
static void a_key_that_dtls_cannot_use_is_refused_for_dtls(void **state)
{
	(void)state;
	expect_good(tls_yaml("tls", "edwards.pem", "edwards.key"));
	expect(tls_yaml("dtls", "edwards.pem", "edwards.key"), 1, 5, "Ed25519");
	expect(tls_yaml("tls:127.0.0.1:5349\", \"dtls", "edwards.pem", "edwards.key"), 1, 5, "Ed25519");
}

/* ---- warnings ---- */

static void what_is_probably_not_meant_is_a_warning(void **state)
{
	_cleanup_(cfg_freep) struct cfg *c = load("turn:\n" LO "  password: short\n"
						  "  users: [{name: a, password: longenough}, {name: b, password: short}]\n"
						  "  secrets: [{id: a, secret: 0123456789abcde}, {id: b, secret: 0123456789abcdef}]\n"
						  "  peers:\n    allow: [0.0.0.0/0, 10.1.0.0/16, 10.0.0.0/7]\n    deny: [10.0.0.0/8]\n");
	_cleanup_(cfg_freep) struct cfg *fine = load("turn:\n" LO PW "  peers: {allow: [10.0.0.0/8], deny: [10.1.0.0/16]}\n");
	static const struct {
		unsigned line;
		const char *text;
	} rows[] = {
		{ 3, "less than 8 characters" },
		{ 4, "less than 8 characters" },
		{ 5, "less than 16 characters" },
		{ 7, "0.0.0.0/0 lets clients reach every address" },
		{ 7, "10.1.0.0/16 is never allowed: turn.peers.deny 10.0.0.0/8 beats it" },
	};

	(void)state;
	assert_int_equal(cfg_print_errors(c, stderr), 0);
	assert_int_equal(cfg_n_warnings(c), ARRAY_LEN(rows));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(cfg_warning(c, i)->line, rows[i].line);
		assert_non_null(strstr(cfg_warning(c, i)->text, rows[i].text));
		assert_null(strstr(cfg_warning(c, i)->text, "short"));
	}
	assert_int_equal(cfg_n_warnings(fine), 0);
}

/* ---- sharing a port ---- */

static void a_route_that_leads_back_to_the_front_is_found(void **state)
{
	static const struct {
		const char *listen, *to;
		bool loops;
	} rows[] = {
		{ "192.0.2.1:443", "192.0.2.1:443", true },   { "192.0.2.1:443", "192.0.2.2:443", false },
		{ "192.0.2.1:443", "192.0.2.1:444", false },  { "0.0.0.0:443", "127.0.0.1:443", true },
		{ "0.0.0.0:443", "0.0.0.0:443", true },	      { "0.0.0.0:443", "192.0.2.7:443", true },
		{ "0.0.0.0:443", "192.0.2.8:443", false },    { "0.0.0.0:443", "192.0.2.7:444", false },
		{ "0.0.0.0:443", "[::1]:443", false },	      { "[::]:443", "[2001:db8::7]:443", true },
		{ "[::]:443", "[2001:db8::8]:443", false },   { "[::]:443", "[::1]:443", true },
		{ "0.0.0.0:443", "[::ffff:192.0.2.7]:443", true },
	};
	static struct turn_own_set own = { .n = 2 };

	(void)state;
	assert_int_equal(addr_parse(TEXT("192.0.2.7"), 0, &own.v[0]), 0);
	assert_int_equal(addr_parse(TEXT("2001:db8::7"), 0, &own.v[1]), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cfg_endpoint at = { .proto = TURN_LISTEN_FRONT };
		struct front_route route = { .to = { .self = false } };
		struct turn_config t = { .listen = { &at, 1 }, .front.routes = { &route, 1 } };

		assert_int_equal(addr_parse(text_of(rows[i].listen), 0, &at.at), 0);
		assert_int_equal(addr_parse(text_of(rows[i].to), 0, &route.to.at), 0);
		if (turn_config_front_loops(&t, 0, &own) != rows[i].loops)
			fail_msg("%s to %s", rows[i].listen, rows[i].to);
		at.proto = TURN_LISTEN_TLS;
		assert_false(turn_config_front_loops(&t, 0, &own));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rows_make_sense_by_themselves),
		cmocka_unit_test(a_password_alone_is_a_configuration),
		cmocka_unit_test(everything_the_design_promises_is_read),
		cmocka_unit_test(values_out_of_range_are_refused),
		cmocka_unit_test(without_a_credential_source_it_says_what_to_write),
		cmocka_unit_test(names_that_are_equal_name_the_first),
		cmocka_unit_test(texts_that_clients_could_not_send_are_refused),
		cmocka_unit_test(a_secret_is_never_in_a_message),
		cmocka_unit_test(two_listeners_on_one_address_are_refused),
		cmocka_unit_test(addresses_of_another_machine_are_refused_with_ours),
		cmocka_unit_test(external_addresses_belong_to_relay_addresses),
		cmocka_unit_test(an_automatic_external_address_wants_somebody_to_ask),
		cmocka_unit_test(relay_ports_keep_off_the_listeners),
		cmocka_unit_test(an_allowed_prefix_that_never_matches_is_refused),
		cmocka_unit_test(the_default_lifetime_is_not_longer_than_the_longest),
		cmocka_unit_test(all_faults_are_shown_at_once),
		cmocka_unit_test(tls_needs_a_certificate_and_its_key),
		cmocka_unit_test(a_missing_key_file_is_named_in_its_line),
		cmocka_unit_test(an_expired_certificate_is_a_warning),
		cmocka_unit_test(a_key_that_dtls_cannot_use_is_refused_for_dtls),
		cmocka_unit_test(what_is_probably_not_meant_is_a_warning),
		cmocka_unit_test(a_route_that_leads_back_to_the_front_is_found),
	};

	return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
