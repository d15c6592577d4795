/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLS of agents and servers, handshakes in memory: who takes whom, by keys alone; what an agent gives away to a false
 * server (nothing); and that neither an old version nor a foreign protocol gets in.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include "common/bytes.h"
#include "tests/unit/support.h"
#include "tunnel/link/tls.h"

static struct support_dir *dir_new(void)
{
	struct support_dir *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	support_dir_make(d);
	return d;
}

static void dir_free(struct support_dir *d)
{
	support_dir_remove(d);
	free(d);
}

struct world {
	struct support_dir *dir;
	struct server_keys keys;
	struct identity *agent;
	struct tls_ctx *server;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	enum server_keys_news news;
	char err[IDENTITY_ERRLEN];

	w->dir = dir_new();
	assert_int_equal(server_keys_open(support_path(w->dir, ""), err, &news, &w->keys), 0);
	assert_int_equal(identity_of_agent(support_path(w->dir, ""), err, &w->agent), 0);
	assert_int_equal(link_tls_server(&w->keys, &w->server), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	server_keys_deinit(&w->keys);
	identity_unref(w->agent);
	tls_ctx_unref(w->server);
	dir_free(w->dir);
	free(w);
	return 0;
}

struct pair {
	SSL *server, *client;
};

static int shake(struct pair *p)
{
	for (int i = 0; i < 10; i++) {
		int c = SSL_do_handshake(p->client), s;

		if (c < 1 && SSL_get_error(p->client, c) != SSL_ERROR_WANT_READ)
			return -1; /* its error stays in the queue for the caller */
		s = SSL_do_handshake(p->server);
		if (c == 1 && s == 1)
			return 0;
		if (s < 1 && SSL_get_error(p->server, s) != SSL_ERROR_WANT_READ)
			return -2;
	}
	return -3;
}

static int meet(struct tls_ctx *server, struct tls_ctx *client, struct pair *p)
{
	BIO *a, *b;

	assert_int_equal(tls_session_new(server, NULL, &p->server), 0);
	assert_int_equal(tls_session_new(client, NULL, &p->client), 0);
	assert_int_equal(BIO_new_bio_pair(&a, 0, &b, 0), 1);
	SSL_set_bio(p->server, a, a);
	SSL_set_bio(p->client, b, b);
	return shake(p);
}

static void part(struct pair *p)
{
	SSL_free(p->server);
	SSL_free(p->client);
}

static struct link_expect pinned(const struct identity *root, const struct identity *successor)
{
	struct link_expect e = { .kind = LINK_EXPECT_PINS, .pins.root = *identity_hash(root) };

	if (successor)
		e.pins.successor = *identity_hash(successor);
	return e;
}

static struct link_expect by_code(const struct identity *root)
{
	struct link_expect e = { .kind = LINK_EXPECT_PREFIX };

	memcpy(e.prefix, identity_hash(root)->b, LINK_PREFIX_LEN);
	return e;
}

/* The handshake of w's agent, who expects this, with that server: 0, or the reason is in why. */
static int try(struct world *w, struct tls_ctx *server, struct link_expect e,
	       struct link_peer *ret_peer, char why[static 256])
{
	struct tls_ctx *client = NULL;
	struct link_peer seen;
	struct pair p;
	int r;

	assert_int_equal(link_tls_agent(w->agent, &e, &client), 0);
	r = meet(server, client, &p);
	why[0] = 0;
	if (r < 0) {
		(void)link_tls_why(p.client, why, 256);
		assert_null(SSL_get0_peer_certificate(p.server)); /* nothing of the agent's was given away */
	} else {
		assert_int_equal(link_tls_peer(p.client, ret_peer), 0);
		assert_int_equal(link_tls_peer(p.server, &seen), 0);
		assert_true(identity_hash_equal(&seen.id, identity_hash(w->agent)));
		assert_int_equal(SSL_version(p.server), TLS1_3_VERSION);
	}
	part(&p);
	tls_ctx_unref(client);
	return r;
}

static int take_all(X509_STORE_CTX *x, void *arg)
{
	(void)x;
	(void)arg;
	return 1;
}

static int take_first(SSL *ssl, const unsigned char **out, unsigned char *out_n,
		      const unsigned char *in, unsigned in_n, void *arg)
{
	(void)ssl;
	(void)in_n;
	(void)arg;
	*out = in + 1;
	*out_n = in[0];
	return SSL_TLSEXT_ERR_OK;
}

static void an_agent_takes_the_root_that_it_has_pinned_and_no_other(void **state)
{
	struct world *w = *state;
	struct identity *foreign = NULL;
	struct link_peer peer;
	char why[256];

	assert_int_equal(identity_make("x", NULL, &foreign), 0);
	assert_int_equal(try(w, w->server, pinned(w->keys.root, w->keys.successor), &peer, why), 0);
	assert_true(identity_hash_equal(&peer.id, identity_hash(w->keys.root)));
	assert_false(peer.successor);
	assert_int_equal(try(w, w->server, pinned(foreign, w->keys.root), &peer, why),
			 0); /* as the pinned successor */
	assert_true(peer.successor);
	assert_int_equal(try(w, w->server, pinned(foreign, NULL), &peer, why), -1);
	assert_non_null(strstr(why, "the server shows another root key, sha256:"));
	assert_int_equal(try(w, w->server, pinned(w->keys.link, NULL), &peer, why),
			 -1); /* a link key is no root */
	identity_unref(foreign);
}

static void a_code_is_the_first_half_of_the_roots_hash(void **state)
{
	struct world *w = *state;
	struct link_peer peer;
	char why[256];
	struct link_expect e = by_code(w->keys.root);

	assert_int_equal(try(w, w->server, e, &peer, why), 0);
	e.prefix[15] ^= 1;
	assert_int_equal(try(w, w->server, e, &peer, why), -1);
	assert_non_null(strstr(why, "not the server of the enrolment code"));
}

static void rotated_keys_are_taken_by_every_agent_that_knows_root_or_successor(void **state)
{
	struct world *w = *state;
	struct link_expect e = pinned(w->keys.root, w->keys.successor),
			   old = pinned(w->keys.root, NULL);
	struct tls_ctx *rotated = NULL;
	struct link_peer peer;
	char err[IDENTITY_ERRLEN], why[256];

	assert_int_equal(server_keys_rotate_link(support_path(w->dir, ""), &w->keys, err), 0);
	assert_int_equal(link_tls_server(&w->keys, &rotated), 0);
	assert_int_equal(try(w, rotated, e, &peer, why), 0);
	assert_false(peer.successor);
	tls_ctx_unref(rotated);
	assert_int_equal(server_keys_rotate_root(support_path(w->dir, ""), &w->keys, err), 0);
	assert_int_equal(link_tls_server(&w->keys, &rotated), 0);
	assert_int_equal(try(w, rotated, e, &peer, why), 0);
	assert_true(peer.successor);
	assert_int_equal(try(w, rotated, old, &peer, why), -1);
	assert_int_equal(try(w, rotated, pinned(w->keys.root, w->keys.successor), &peer, why),
			 0); /* pins that have moved */
	assert_int_equal(try(w, w->server, pinned(w->keys.root, w->keys.successor), &peer, why),
			 -1); /* a stolen old key */
	tls_ctx_unref(rotated);
}

/* Who knows the root's certificate, which is public, cannot put it behind a key of his own. */
static void a_false_server_cannot_borrow_the_roots_certificate(void **state)
{
	struct world *w = *state;
	struct server_keys thief = { .root = w->keys.root, .successor = w->keys.successor };
	struct tls_ctx *server = NULL;
	struct link_peer peer;
	char why[256];

	assert_int_equal(identity_make("thief", NULL, &thief.link), 0);
	assert_int_equal(link_tls_server(&thief, &server), 0);
	assert_int_equal(try(w, server, pinned(w->keys.root, w->keys.successor), &peer, why), -1);
	assert_non_null(strstr(why, "not signed by its root key"));
	identity_unref(thief.link);
	tls_ctx_unref(server);
}

/* A link certificate that ended a quarter of a century ago, of a name that says nothing, is as good as any. */
static void dates_and_names_do_not_count(void **state)
{
	struct world *w = *state;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());
	struct tls_ctx *server = NULL;
	struct link_peer peer;
	char why[256];

	assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
	assert_int_equal(ASN1_TIME_set_string_X509(X509_getm_notBefore(x), "20000101000000Z"), 1);
	assert_int_equal(ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "20010101000000Z"), 1);
	assert_int_equal(X509_set_pubkey(x, key), 1);
	assert_true(X509_sign(x, identity_key(w->keys.root), EVP_sha256()) > 0);
	assert_int_equal(SSL_CTX_use_certificate(c, x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(c, key), 1);
	assert_int_equal(SSL_CTX_add1_chain_cert(c, identity_cert(w->keys.root)), 1);
	SSL_CTX_set_alpn_select_cb(c, take_first, NULL);
	SSL_CTX_set_verify(c, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_cert_verify_callback(c, take_all, NULL);
	assert_int_equal(tls_ctx_adopt(c, false, &server), 0);
	assert_int_equal(try(w, server, pinned(w->keys.root, NULL), &peer, why), 0);
	tls_ctx_unref(server);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* The same sessions' ends know one value for each label, and no other session does. */
static void an_exporter_is_one_sessions_own(void **state)
{
	struct world *w = *state;
	struct link_expect e = pinned(w->keys.root, NULL);
	uint8_t a[2][LINK_EXPORTER_LEN], b[2][LINK_EXPORTER_LEN], c[LINK_EXPORTER_LEN];
	struct tls_ctx *client = NULL;

	assert_int_equal(link_tls_agent(w->agent, &e, &client), 0);
	for (int i = 0; i < 2; i++) {
		struct pair p;

		assert_int_equal(meet(w->server, client, &p), 0);
		assert_int_equal(link_tls_exporter(p.client, LINK_EXPORTER_ENROL, a[i]), 0);
		assert_int_equal(link_tls_exporter(p.server, LINK_EXPORTER_ENROL, b[i]), 0);
		assert_int_equal(link_tls_exporter(p.server, LINK_EXPORTER_BINDING, c), 0);
		assert_memory_equal(a[i], b[i], LINK_EXPORTER_LEN);
		assert_memory_not_equal(a[i], c, LINK_EXPORTER_LEN);
		assert_false(SSL_session_reused(p.client));
		part(&p);
	}
	assert_memory_not_equal(a[0], a[1], LINK_EXPORTER_LEN);
	tls_ctx_unref(client);
}

/* A client as anybody can make one; what it lacks is told by the row. */
static void strangers_do_not_get_in(void **state)
{
	enum { NO_CERT = 1, NO_ALPN = 2, OTHER_ALPN = 4, TLS12 = 8 };
	static const int rows[] = { NO_CERT, NO_ALPN, OTHER_ALPN, TLS12 };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		SSL_CTX *c = SSL_CTX_new(TLS_client_method());
		struct tls_ctx *client = NULL;
		struct link_peer peer;
		struct pair p;
		char buf[16];
		int r;

		if (rows[i] != NO_CERT) {
			SSL_CTX_use_certificate(c, identity_cert(w->agent));
			SSL_CTX_use_PrivateKey(c, identity_key(w->agent));
		}
		if (rows[i] == TLS12)
			SSL_CTX_set_max_proto_version(c, TLS1_2_VERSION);
		if (rows[i] == OTHER_ALPN)
			SSL_CTX_set_alpn_protos(c, (const uint8_t *)"\x02h2", 3);
		else if (rows[i] != NO_ALPN)
			SSL_CTX_set_alpn_protos(c, (const uint8_t *)"\x0dstile-agent/1", 14);
		assert_int_equal(tls_ctx_adopt(c, true, &client), 0);
		r = meet(w->server, client, &p);
		if (r == 0) { /* TLS 1.3: the client is through before the server has judged */
			r = SSL_read(p.server, buf, sizeof(buf)) < 0 ? link_tls_peer(p.server, &peer)
								     : -9;
			assert_int_equal(r, -EPROTO);
		}
		assert_true(r < 0);
		part(&p);
		tls_ctx_unref(client);
	}
}

static void an_agent_talks_to_no_server_of_another_kind(void **state)
{
	struct world *w = *state;
	struct link_expect any = { .kind = LINK_EXPECT_ANY };
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());
	struct tls_ctx *server = NULL;
	struct link_peer peer;
	char why[256];

	SSL_CTX_use_certificate(c, identity_cert(w->agent));
	SSL_CTX_use_PrivateKey(c, identity_key(w->agent));
	assert_int_equal(tls_ctx_adopt(c, false, &server), 0);
	assert_int_equal(try(w, server, any, &peer, why), -1);
	assert_non_null(strstr(why, "it is no tunnel server"));
	assert_int_equal(try(w, w->server, any, &peer, why), 0);
	tls_ctx_unref(server);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_agent_takes_the_root_that_it_has_pinned_and_no_other),
		T(a_code_is_the_first_half_of_the_roots_hash),
		T(rotated_keys_are_taken_by_every_agent_that_knows_root_or_successor),
		T(a_false_server_cannot_borrow_the_roots_certificate),
		T(dates_and_names_do_not_count),
		T(an_exporter_is_one_sessions_own),
		T(strangers_do_not_get_in),
		T(an_agent_talks_to_no_server_of_another_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
