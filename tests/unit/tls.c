/* SPDX-License-Identifier: Apache-2.0 */
/* TLS contexts: what is wrong with a certificate is said in a sentence, and what is right is reported. */
#include "tests/unit/support.h"

#include <errno.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cert.h"
#include "common/clock.h"
#include "common/tls.h"
#include "common/tls_tickets.h"

static int setup(void **state)
{
	struct support_dir *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	support_dir_make(d);
	support_cert(d, "good", "DNS:turn.example.org, DNS:*.example.net, IP:192.0.2.7", -1, 30);
	support_cert(d, "other", "DNS:other.example.org", -1, 30);
	support_cert(d, "old", "DNS:turn.example.org", -30, -2);
	support_cert(d, "young", "DNS:turn.example.org", 2, 30);
	support_write(d, "empty", "");
	support_write(d, "junk", "this is no certificate\n");
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	support_dir_remove(*state);
	free(*state);
	return 0;
}

static struct tls_ctx *server(struct support_dir *d, const char *cert, const char *key, char err[TLS_ERRLEN],
			      int *ret_r)
{
	struct tls_options o = { .cert_file = cert ? support_path(d, cert) : NULL,
				 .key_file = key ? support_path(d, key) : NULL };
	struct tls_ctx *c = NULL;

	*ret_r = tls_ctx_new(&o, err, &c);
	return c;
}

static void fails(struct support_dir *d, const char *cert, const char *key, int want, const char *words)
{
	char err[TLS_ERRLEN];
	int r;

	assert_null(server(d, cert, key, err, &r));
	assert_int_equal(r, want);
	if (!strstr(err, words))
		fail_msg("expected \"%s\" in: %s", words, err);
}

static void each_failure_has_its_own_sentence(void **state)
{
	struct support_dir *d = *state;

	fails(d, NULL, NULL, -EINVAL, "none is configured");
	fails(d, "good.pem", NULL, -EINVAL, "a key is needed");
	fails(d, "missing.pem", "good.key", -ENOENT, "certificate file \"");
	fails(d, "missing.pem", "good.key", -ENOENT, "No such file");
	fails(d, "good.pem", "missing.key", -ENOENT, "the key file");
	fails(d, "empty", "good.key", -EINVAL, "holds no PEM certificate");
	fails(d, "junk", "good.key", -EINVAL, "holds no PEM certificate");
	fails(d, "good.key", "good.key", -EINVAL, "holds no PEM certificate");
	fails(d, "good.pem", "junk", -EINVAL, "holds no PEM private key");
	fails(d, "good.pem", "other.key", -EKEYREJECTED, "does not belong to the certificate");
	fails(d, ".", "good.key", -EIO, "Is a directory");
}

/* By the start and by who looks at it before. */
static void a_damaged_chain_is_refused_and_said(void **state)
{
	struct support_dir *d = *state;
	struct cert_report report;
	char chain[8192];
	FILE *f = fopen(support_path(d, "good.pem"), "r");
	size_t n = fread(chain, 1, sizeof(chain) - 128, f);

	fclose(f);
	strcpy(chain + n, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
	support_write(d, "torn.pem", chain);
	fails(d, "torn.pem", "good.key", -EINVAL, "is damaged");
	cert_examine(&(struct cert_files){ .cert = support_path(d, "torn.pem") }, time(NULL), &report);
	assert_true(report.readable);
	assert_int_equal(report.n_faults, 1);
	assert_string_equal(report.faults[0], "the certificate number 2 in the file is damaged");
}

static void a_locked_key_says_how_to_unlock_it(void **state)
{
	struct support_dir *d = *state;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	FILE *f = fopen(support_path(d, "locked.key"), "w");

	assert_non_null(f);
	assert_int_equal(PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(), NULL, 0, NULL, (void *)"secret"), 1);
	fclose(f);
	EVP_PKEY_free(key);
	fails(d, "good.pem", "locked.key", -EINVAL, "passphrase");
}

static void dates_are_a_warning_and_not_a_refusal(void **state)
{
	struct support_dir *d = *state;
	char err[TLS_ERRLEN];
	int r;
	struct tls_ctx *c = server(d, "good.pem", "good.key", err, &r);

	assert_int_equal(r, 0);
	assert_string_equal(err, "");
	tls_ctx_unref(c);
	c = server(d, "old.pem", "old.key", err, &r);
	assert_int_equal(r, 0);
	assert_non_null(strstr(err, "expired on 20"));
	tls_ctx_unref(c);
	c = server(d, "young.pem", "young.key", err, &r);
	assert_int_equal(r, 0);
	assert_non_null(strstr(err, "not valid before 20"));
	tls_ctx_unref(c);
}

static void a_certificate_is_described(void **state)
{
	char err[TLS_ERRLEN];
	int r;
	struct tls_ctx *c = server(*state, "good.pem", "good.key", err, &r);
	struct tls_cert_info info;

	assert_int_equal(r, 0);
	assert_int_equal(tls_cert_info(c, &info), 0);
	assert_string_equal(info.subject, "CN=good");
	assert_string_equal(info.issuer, "CN=good");
	assert_string_equal(info.sans, "DNS:turn.example.org, DNS:*.example.net, IP:192.0.2.7");
	assert_int_equal(strlen(info.sha256), 64);
	assert_in_range(info.not_after - time(NULL), 29 * 86400, 30 * 86400);
	assert_in_range(time(NULL) - info.not_before, 86000, 87000);
	tls_ctx_unref(c);
}

static void a_certificate_that_ended_today_has_no_day_left(void **state)
{
	(void)state;
	assert_int_equal(cert_days_left(1000000, 1000000), 0);
	assert_int_equal(cert_days_left(1000000, 1000000 - 86399), 0);
	assert_int_equal(cert_days_left(1000000, 1000000 - 86400), 1);
	assert_int_equal(cert_days_left(1000000, 1000001), -1);
	assert_int_equal(cert_days_left(1000000, 1000000 + 86400), -1);
	assert_int_equal(cert_days_left(1000000, 1000000 + 86401), -2);
}

static void a_context_lives_as_long_as_its_last_reference(void **state)
{
	char err[TLS_ERRLEN];
	int r;
	struct tls_ctx *c = server(*state, "good.pem", "good.key", err, &r);

	assert_ptr_equal(tls_ctx_ref(c), c);
	assert_null(tls_ctx_unref(c));
	assert_non_null(tls_ctx_ssl(c));
	assert_null(tls_ctx_unref(c));
	assert_null(tls_ctx_unref(NULL));
}

static void a_server_that_demands_certificates_needs_a_ca(void **state)
{
	struct support_dir *d = *state;
	struct tls_options o = { .cert_file = support_path(d, "good.pem"), .key_file = support_path(d, "good.key"),
				 .verify_peer = true };
	struct tls_ctx *c = NULL;
	char err[TLS_ERRLEN];

	assert_int_equal(tls_ctx_new(&o, err, &c), -EINVAL);
	assert_non_null(strstr(err, "no CA file"));
	o.ca_file = support_path(d, "junk");
	assert_int_equal(tls_ctx_new(&o, err, &c), -EINVAL);
	assert_non_null(strstr(err, "holds no PEM certificate of a CA"));
	o.ca_file = support_path(d, "other.pem");
	assert_int_equal(tls_ctx_new(&o, err, &c), 0);
	tls_ctx_unref(c);
}

/* ---- handshakes in memory ---- */

struct pair {
	SSL *server, *client;
};

static int shake(struct pair *p)
{
	for (int i = 0; i < 10; i++) {
		int c = SSL_do_handshake(p->client), s = SSL_do_handshake(p->server);

		if (c == 1 && s == 1)
			return 0;
		if ((c < 1 && SSL_get_error(p->client, c) != SSL_ERROR_WANT_READ) ||
		    (s < 1 && SSL_get_error(p->server, s) != SSL_ERROR_WANT_READ))
			return -1;
	}
	return -1;
}

/* session: to be resumed, or NULL. */
static int meet_again(struct tls_ctx *server_ctx, struct tls_ctx *client_ctx, const char *name, SSL_SESSION *session, struct pair *p)
{
	BIO *a, *b;

	assert_int_equal(tls_session_new(server_ctx, NULL, &p->server), 0);
	assert_int_equal(tls_session_new(client_ctx, name, &p->client), 0);
	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(p->server, a, a);
	SSL_set_bio(p->client, b, b);
	if (session)
		assert_int_equal(SSL_set_session(p->client, session), 1);
	return shake(p);
}

static int meet(struct tls_ctx *server_ctx, struct tls_ctx *client_ctx, const char *name, struct pair *p)
{
	return meet_again(server_ctx, client_ctx, name, NULL, p);
}

static void part(struct pair *p)
{
	SSL_free(p->server);
	SSL_free(p->client);
}

static struct tls_ctx *client(const char *ca, const char *const *alpn)
{
	struct tls_options o = { .client = true, .ca_file = ca, .verify_peer = ca != NULL, .alpn = alpn };
	struct tls_ctx *c = NULL;
	char err[TLS_ERRLEN];

	assert_int_equal(tls_ctx_new(&o, err, &c), 0);
	return c;
}

static void a_client_accepts_the_right_name_only(void **state)
{
	static const struct {
		const char *name;
		int want;
	} rows[] = {
		{ "turn.example.org", 0 },  { "a.example.net", 0 },
		{ "192.0.2.7", 0 },	    { "evil.example.org", -1 },
		{ "a.b.example.net", -1 },  { "192.0.2.8", -1 },
		{ "example.net", -1 },	    { "turn.example.org.evil.test", -1 },
		{ "turn.example.org.", 0 }, { "evil.example.org.", -1 },
	};
	struct support_dir *d = *state;
	char err[TLS_ERRLEN];
	int r;
	struct tls_ctx *s = server(d, "good.pem", "good.key", err, &r), *c = client(support_path(d, "good.pem"), NULL);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pair p;

		assert_int_equal(meet(s, c, rows[i].name, &p), rows[i].want);
		if (rows[i].want < 0)
			assert_int_not_equal(SSL_get_verify_result(p.client), X509_V_OK);
		part(&p);
	}
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

static void a_client_refuses_an_expired_and_a_foreign_certificate(void **state)
{
	struct support_dir *d = *state;
	char err[TLS_ERRLEN];
	int r;
	struct tls_ctx *s = server(d, "old.pem", "old.key", err, &r);
	struct tls_ctx *c = client(support_path(d, "old.pem"), NULL), *foreign = client(support_path(d, "other.pem"), NULL);
	struct pair p;

	assert_int_equal(meet(s, c, "turn.example.org", &p), -1);
	assert_int_equal(SSL_get_verify_result(p.client), X509_V_ERR_CERT_HAS_EXPIRED);
	part(&p);
	assert_int_equal(meet(s, foreign, "turn.example.org", &p), -1);
	part(&p);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
	tls_ctx_unref(foreign);
}

static void alpn_takes_the_servers_preference_and_no_overlap_is_no_error(void **state)
{
	static const char *const offered[] = { "http/1.1", "stun.turn", NULL };
	static const char *const wanted[] = { "stun.turn", "http/1.1", NULL };
	static const char *const foreign[] = { "sip", NULL };
	struct support_dir *d = *state;
	struct tls_options o = { .cert_file = support_path(d, "good.pem"), .key_file = support_path(d, "good.key"),
				 .alpn = wanted };
	struct tls_ctx *s = NULL, *c = client(NULL, offered), *other = client(NULL, foreign);
	char err[TLS_ERRLEN];
	const uint8_t *got;
	unsigned n;
	struct pair p;

	assert_int_equal(tls_ctx_new(&o, err, &s), 0);
	assert_int_equal(meet(s, c, NULL, &p), 0);
	SSL_get0_alpn_selected(p.client, &got, &n);
	assert_int_equal(n, 9);
	assert_memory_equal(got, "stun.turn", 9);
	part(&p);
	assert_int_equal(meet(s, other, NULL, &p), 0);
	SSL_get0_alpn_selected(p.client, &got, &n);
	assert_int_equal(n, 0);
	part(&p);
	tls_ctx_unref(s);
	tls_ctx_unref(c);
	tls_ctx_unref(other);
}

static void only_tls_1_2_and_1_3_are_spoken(void **state)
{
	static const struct {
		int version, want;
	} rows[] = { { TLS1_VERSION, -1 }, { TLS1_1_VERSION, -1 }, { TLS1_2_VERSION, 0 }, { TLS1_3_VERSION, 0 } };
	char err[TLS_ERRLEN];
	int r;
	struct tls_ctx *s = server(*state, "good.pem", "good.key", err, &r);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tls_ctx *c = client(NULL, NULL);
		struct pair p;

		SSL_CTX_set_cipher_list(tls_ctx_ssl(c), "ALL:@SECLEVEL=0");
		SSL_CTX_set_min_proto_version(tls_ctx_ssl(c), rows[i].version);
		SSL_CTX_set_max_proto_version(tls_ctx_ssl(c), rows[i].version);
		assert_int_equal(meet(s, c, NULL, &p), rows[i].want);
		if (rows[i].want == 0)
			assert_int_equal(SSL_version(p.server), rows[i].version);
		part(&p);
		tls_ctx_unref(c);
	}
	tls_ctx_unref(s);
}

static const char *subject_shown_to(SSL *client)
{
	static char cn[64];
	X509 *x = SSL_get0_peer_certificate(client);

	assert_non_null(x);
	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, cn, sizeof(cn));
	return cn;
}

static void the_server_name_chooses_the_certificate(void **state)
{
	static const char *const alpn[] = { "stun.turn", NULL };
	static const struct {
		const char *name, *shown;
	} rows[] = {
		{ "other.example.org", "other" }, { "OTHER.example.org", "other" }, { "x.wild.example", "old" },
		{ "y.wild.example", "other" },	  { "a.b.wild.example", "good" },   { "unknown.example", "good" },
		{ NULL, "good" },		  { "192.0.2.7", "good" },
	};
	struct support_dir *d = *state;
	char err[TLS_ERRLEN];
	int r;
	struct tls_ctx *s = NULL, *other = server(d, "other.pem", "other.key", err, &r), *old = server(d, "old.pem", "old.key", err, &r);
	struct tls_ctx *c = client(NULL, alpn);
	const struct tls_ctx *of = NULL;
	const char *pattern = NULL;

	struct tls_options o = { .cert_file = support_path(d, "good.pem"), .key_file = support_path(d, "good.key"), .alpn = alpn };
	assert_int_equal(tls_ctx_new(&o, err, &s), 0);
	assert_int_equal(tls_ctx_add_name(s, "*.wild.example", other), 0);
	assert_int_equal(tls_ctx_add_name(s, "x.wild.example", old), 0);
	assert_int_equal(tls_ctx_add_name(s, "other.example.org", other), 0);
	assert_true(tls_ctx_nth_name(s, 1, &pattern, &of));
	assert_string_equal(pattern, "x.wild.example");
	assert_ptr_equal(of, old);
	assert_false(tls_ctx_nth_name(s, 3, &pattern, &of));
	tls_ctx_unref(other); /* s has its own references */
	tls_ctx_unref(old);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
		for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
			struct pair p;

			SSL_CTX_set_max_proto_version(tls_ctx_ssl(c), version);
			assert_int_equal(meet(s, c, rows[i].name, &p), 0);
			if (strcmp(subject_shown_to(p.client), rows[i].shown) != 0)
				fail_msg("%s is shown %s", rows[i].name ? rows[i].name : "nobody", subject_shown_to(p.client));
			if (rows[i].name && rows[i].name[0] != '1')
				assert_true(text_ieq(tls_server_name(p.server), text_of(rows[i].name)));
			else
				assert_int_equal(tls_server_name(p.server).n, 0);
			part(&p);
		}
	tls_ctx_unref(s);
	tls_ctx_unref(c);
}

/* TLS 1.2 binds the name to the session: who resumes one is still known by the name that it asked for first,
 * whether or not a certificate was chosen by it. */
static void a_resumed_session_has_its_server_name(void **state)
{
	static const char *const names[] = { "other.example.org", "turn.example.org", "unknown.example" };
	char err[TLS_ERRLEN];
	int r;
	struct tls_ctx *plain = server(*state, "good.pem", "good.key", err, &r), *many = server(*state, "good.pem", "good.key", err, &r);
	struct tls_ctx *other = server(*state, "other.pem", "other.key", err, &r), *c = client(NULL, NULL);

	assert_int_equal(tls_ctx_add_name(many, "other.example.org", other), 0);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++)
		for (size_t i = 0; i < 2 * ARRAY_LEN(names); i++) {
			struct tls_ctx *s = i % 2 ? many : plain;
			SSL_SESSION *session;
			struct pair p;

			SSL_CTX_set_max_proto_version(tls_ctx_ssl(c), version);
			assert_int_equal(meet(s, c, names[i / 2], &p), 0);
			session = SSL_SESSION_dup(SSL_get0_session(p.client)); /* the original dies with its connection */
			part(&p);
			assert_int_equal(meet_again(s, c, names[i / 2], session, &p), 0);
			if (version == TLS1_2_VERSION)
				assert_true(SSL_session_reused(p.server));
			assert_true(text_ieq(tls_server_name(p.server), text_of(names[i / 2])));
			part(&p);
			SSL_SESSION_free(session);
		}
	tls_ctx_unref(plain);
	tls_ctx_unref(many);
	tls_ctx_unref(other);
	tls_ctx_unref(c);
}

static SSL_SESSION *first_session(struct tls_ctx *s, struct tls_ctx *c)
{
	SSL_SESSION *session;
	struct pair p;
	char byte;

	assert_int_equal(meet(s, c, NULL, &p), 0);
	(void)SSL_read(p.client, &byte, 1); /* TLS 1.3 sends tickets behind the handshake */
	session = SSL_SESSION_dup(SSL_get0_session(p.client)); /* the original dies with its connection */
	part(&p);
	return session;
}

static bool is_resumed(struct tls_ctx *s, struct tls_ctx *c, SSL_SESSION *session)
{
	SSL_SESSION *copy = SSL_SESSION_dup(session); /* it dies with its connection */
	struct pair p;
	bool reused;

	assert_int_equal(meet_again(s, c, NULL, copy, &p), 0);
	reused = SSL_session_reused(p.server);
	part(&p);
	SSL_SESSION_free(copy);
	return reused;
}

/* As long as a session may be resumed, and no longer; and at its own context only. */
static void a_ticket_opens_until_its_sessions_time_is_over(void **state)
{
	char err[TLS_ERRLEN];
	int r;
	struct tls_ctx *s = server(*state, "good.pem", "good.key", err, &r), *other = server(*state, "good.pem", "good.key", err, &r);
	struct tls_ctx *c = client(NULL, NULL);
	uint64_t life = (uint64_t)SSL_CTX_get_timeout(tls_ctx_ssl(s)) * 1000, now = clock_steady_ms();

	assert_true(life >= 60 * 60 * 1000);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		SSL_SESSION *session, *later;

		SSL_CTX_set_max_proto_version(tls_ctx_ssl(c), version);
		session = first_session(s, c);
		assert_true(is_resumed(s, c, session));
		assert_false(is_resumed(other, c, session));
		assert_int_equal(tls_tickets_renew(tls_ctx_ssl(s), now + life - 1000), 0);
		assert_true(is_resumed(s, c, session));
		now += life + 1000;
		assert_int_equal(tls_tickets_renew(tls_ctx_ssl(s), now), 0);
		assert_true(is_resumed(s, c, session));
		later = first_session(s, c);
		now += life + 1000;
		assert_int_equal(tls_tickets_renew(tls_ctx_ssl(s), now), 0);
		assert_false(is_resumed(s, c, session));
		assert_true(is_resumed(s, c, later));
		now += 3 * life; /* nobody came meanwhile */
		assert_int_equal(tls_tickets_renew(tls_ctx_ssl(s), now), 0);
		assert_false(is_resumed(s, c, later));
		SSL_SESSION_free(session);
		SSL_SESSION_free(later);
	}
	tls_ctx_unref(s);
	tls_ctx_unref(other);
	tls_ctx_unref(c);
}

static void a_certificate_says_whom_it_is_for(void **state)
{
	char err[TLS_ERRLEN];
	int r;
	struct tls_ctx *c = server(*state, "good.pem", "good.key", err, &r);

	assert_true(tls_cert_covers(c, "turn.example.org"));
	assert_true(tls_cert_covers(c, "turn.example.org."));
	assert_true(tls_cert_covers(c, "a.example.net"));
	assert_true(tls_cert_covers(c, "*.example.net"));
	assert_false(tls_cert_covers(c, "*.example.org"));
	assert_false(tls_cert_covers(c, "example.net"));
	assert_false(tls_cert_covers(c, "turn.partner.example"));
	tls_ctx_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_failure_has_its_own_sentence),
		cmocka_unit_test(a_damaged_chain_is_refused_and_said),
		cmocka_unit_test(a_locked_key_says_how_to_unlock_it),
		cmocka_unit_test(dates_are_a_warning_and_not_a_refusal),
		cmocka_unit_test(a_certificate_is_described),
		cmocka_unit_test(a_certificate_that_ended_today_has_no_day_left),
		cmocka_unit_test(a_context_lives_as_long_as_its_last_reference),
		cmocka_unit_test(a_server_that_demands_certificates_needs_a_ca),
		cmocka_unit_test(a_client_accepts_the_right_name_only),
		cmocka_unit_test(a_client_refuses_an_expired_and_a_foreign_certificate),
		cmocka_unit_test(alpn_takes_the_servers_preference_and_no_overlap_is_no_error),
		cmocka_unit_test(only_tls_1_2_and_1_3_are_spoken),
		cmocka_unit_test(the_server_name_chooses_the_certificate),
		cmocka_unit_test(a_resumed_session_has_its_server_name),
		cmocka_unit_test(a_ticket_opens_until_its_sessions_time_is_over),
		cmocka_unit_test(a_certificate_says_whom_it_is_for),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
