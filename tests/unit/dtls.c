/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DTLS without sockets: a client and a listener whose datagrams meet in a queue, where a test may lose,
 * repeat or forge them.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/dtls.h"
#include "common/dtls_cookie.h"
#include "common/dtls_wire.h"

enum { QUEUE = 256, LARGEST = 17000 };

struct packet {
	bool to_server;
	struct addr peer;
	size_t n;
	uint8_t *p;
};

struct end {
	struct dtls_session *s;
	bool opened, closed, free_in_open, free_in_data, free_in_close, echo;
	unsigned opens, closes, datas;
	int err;
	char why[200];
	uint8_t got[LARGEST];
	size_t n_got;
};

struct scene {
	struct support_dir dir;
	struct loop *l;
	struct tls_ctx *server_ctx, *client_ctx;
	struct dtls_listener *d;
	struct addr client_at, server_at;
	struct end server, client;
	struct packet queue[QUEUE];
	unsigned head, tail;
	unsigned sent_by_server, sent_by_client, lose, largest;
};

/* ---- memory that OpenSSL holds, in blocks ---- */

static atomic_long live;

static void *count_malloc(size_t n, const char *file, int line)
{
	void *p = malloc(n);

	(void)file;
	(void)line;
	if (p)
		atomic_fetch_add(&live, 1);
	return p;
}

static void count_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (p)
		atomic_fetch_sub(&live, 1);
	free(p);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
	void *q;

	if (!n) {
		count_free(p, file, line);
		return NULL;
	}
	q = realloc(p, n);
	if (!p && q)
		atomic_fetch_add(&live, 1);
	return q;
}

/* ---- the wire ---- */

static void enqueue(struct scene *sc, bool to_server, const struct addr *peer, const void *p, size_t n)
{
	struct packet *k = &sc->queue[sc->tail++ % QUEUE];

	sc->largest = MAX(sc->largest, (unsigned)n);
	if (sc->lose) {
		sc->lose--;
		sc->tail--;
		return;
	}
	assert_true(sc->tail - sc->head <= QUEUE);
	*k = (struct packet){ .to_server = to_server, .peer = *peer, .n = n, .p = malloc(n) };
	assert_non_null(k->p);
	memcpy(k->p, p, n);
}

static void server_send(const struct addr *to, const struct addr *from, const void *p, size_t n, void *arg)
{
	struct scene *sc = arg;

	assert_true(addr_equal(from, &sc->server_at));
	sc->sent_by_server++;
	if (addr_equal(to, &sc->client_at))
		enqueue(sc, false, to, p, n);
}

static void client_send(const struct addr *to, const struct addr *from, const void *p, size_t n, void *arg)
{
	struct scene *sc = arg;

	(void)from;
	assert_true(addr_equal(to, &sc->server_at));
	sc->sent_by_client++;
	enqueue(sc, true, &sc->client_at, p, n);
}

static const struct dtls_ops server_ops = { server_send }, client_ops = { client_send };

static void on_open(struct dtls_session *s, void *arg)
{
	struct end *e = arg;

	e->opens++;
	e->opened = true;
	if (e->free_in_open)
		e->s = dtls_session_free(s);
}

static void on_data(struct dtls_session *s, uint8_t *p, size_t n, void *arg)
{
	struct end *e = arg;

	e->datas++;
	assert_true(n <= sizeof(e->got));
	memcpy(e->got, p, n);
	e->n_got = n;
	if (e->echo)
		assert_int_equal(dtls_session_send(s, p, n), 0);
	if (e->free_in_data)
		e->s = dtls_session_free(s);
}

static void on_close(struct dtls_session *s, int err, const char *why, void *arg)
{
	struct end *e = arg;

	e->closes++;
	e->closed = true;
	e->err = err;
	strncpy(e->why, why, sizeof(e->why) - 1);
	if (e->free_in_close)
		e->s = dtls_session_free(s);
}

static const struct dtls_session_ops session_ops = { on_open, on_data, on_close };

static void to_server(struct scene *sc, const struct packet *k)
{
	struct dtls_session *fresh = NULL;

	if (sc->server.s && !dtls_session_restarts(sc->server.s, k->p, k->n)) {
		dtls_session_input(sc->server.s, k->p, k->n);
		return;
	}
	if (dtls_listener_input(sc->d, &k->peer, &sc->server_at, k->p, k->n, &fresh) != 1)
		return;
	dtls_session_free(sc->server.s);
	sc->server.s = fresh;
	dtls_session_bind(fresh, &session_ops, &sc->server);
}

/* Delivers until nothing is under way. */
static void pump(struct scene *sc)
{
	while (sc->head != sc->tail) {
		struct packet k = sc->queue[sc->head++ % QUEUE];

		if (k.to_server)
			to_server(sc, &k);
		else if (sc->client.s)
			dtls_session_input(sc->client.s, k.p, k.n);
		free(k.p);
	}
}

/* ---- the scene ---- */

static int setup(void **state)
{
	struct scene *sc = calloc(1, sizeof(*sc));
	struct tls_options so = { .dtls = true }, co = { .dtls = true, .client = true, .verify_peer = true };
	char err[TLS_ERRLEN];

	assert_non_null(sc);
	assert_int_equal(loop_new(&sc->l), 0);
	support_dir_make(&sc->dir);
	support_cert(&sc->dir, "s", "DNS:turn.example.org", -1, 10);
	so.cert_file = support_path(&sc->dir, "s.pem");
	so.key_file = support_path(&sc->dir, "s.key");
	co.ca_file = so.cert_file;
	assert_int_equal(tls_ctx_new(&so, err, &sc->server_ctx), 0);
	assert_int_equal(tls_ctx_new(&co, err, &sc->client_ctx), 0);
	assert_int_equal(dtls_listener_new(sc->l, sc->server_ctx, &server_ops, sc, &sc->d), 0);
	sc->client_at = addr_v4(0xc0000207, 40000);
	sc->server_at = addr_v4(0xc0000201, 5349);
	*state = sc;
	return 0;
}

static int teardown(void **state)
{
	struct scene *sc = *state;

	dtls_session_free(sc->server.s);
	dtls_session_free(sc->client.s);
	dtls_listener_free(sc->d);
	while (sc->head != sc->tail)
		free(sc->queue[sc->head++ % QUEUE].p);
	tls_ctx_unref(sc->server_ctx);
	tls_ctx_unref(sc->client_ctx);
	loop_free(sc->l);
	support_dir_remove(&sc->dir);
	free(sc);
	return 0;
}

static void start_client_for(struct scene *sc, const char *name)
{
	const struct dtls_client_options opt = { sc->client_ctx, name, &sc->server_at, &client_ops, sc };

	assert_int_equal(dtls_client_new(sc->l, &opt, &session_ops, &sc->client, &sc->client.s), 0);
}

static void start_client(struct scene *sc)
{
	start_client_for(sc, "turn.example.org");
}

static void meet(struct scene *sc)
{
	start_client(sc);
	pump(sc);
	assert_true(sc->client.opened);
	assert_true(sc->server.opened);
}

/* ---- what a session does ---- */

static void records_travel_both_ways_one_datagram_each(void **state)
{
	struct scene *sc = *state;
	uint8_t p[1300];

	meet(sc);
	assert_true(sc->largest <= 1200 + 64); /* the handshake keeps to its MTU */
	assert_true(addr_equal(dtls_session_peer(sc->server.s), &sc->client_at));
	assert_true(addr_equal(dtls_session_local(sc->server.s), &sc->server_at));
	assert_int_equal(SSL_version(dtls_session_ssl(sc->server.s)), DTLS1_2_VERSION);
	sc->server.echo = true;
	assert_int_equal(bytes_random(p, sizeof(p)), 0);
	sc->sent_by_client = sc->sent_by_server = 0;
	assert_int_equal(dtls_session_send(sc->client.s, p, sizeof(p)), 0);
	pump(sc);
	assert_int_equal(sc->client.n_got, sizeof(p));
	assert_memory_equal(sc->client.got, p, sizeof(p));
	assert_int_equal(sc->sent_by_client, 1);
	assert_int_equal(sc->sent_by_server, 1);
	assert_int_equal(sc->client.opens + sc->server.opens, 2);
}

static void sending_has_its_limits(void **state)
{
	static uint8_t p[16385];
	struct scene *sc = *state;

	start_client(sc);
	assert_int_equal(dtls_session_send(sc->client.s, p, 1), -ENOTCONN);
	pump(sc);
	assert_int_equal(dtls_session_send(sc->client.s, p, 16385), -EMSGSIZE);
	assert_int_equal(dtls_session_send(sc->client.s, p, 16384), 0);
	assert_int_equal(dtls_session_send(sc->client.s, p, 0), 0);
	pump(sc);
	assert_int_equal(sc->server.n_got, 16384);
	assert_int_equal(sc->server.datas, 1);
}

static void a_freed_session_says_goodbye_and_the_peer_hears_the_end(void **state)
{
	struct scene *sc = *state;

	meet(sc);
	sc->server.free_in_close = true;
	sc->client.s = dtls_session_free(sc->client.s);
	pump(sc);
	assert_int_equal(sc->server.closes, 1);
	assert_int_equal(sc->server.err, 0);
	assert_null(sc->server.s);
}

static void a_session_may_be_freed_in_any_callback(void **state)
{
	struct scene *sc = *state;

	sc->client.free_in_open = true;
	sc->server.free_in_close = true;
	start_client(sc);
	pump(sc);
	assert_null(sc->client.s);
	assert_int_equal(sc->client.closes, 0);
	assert_null(sc->server.s);
	sc->client = (struct end){ 0 };
	sc->server = (struct end){ .free_in_data = true };
	meet(sc);
	assert_int_equal(dtls_session_send(sc->client.s, "x", 1), 0);
	pump(sc);
	assert_null(sc->server.s);
	assert_true(sc->client.closed);
}

static void a_lost_flight_is_sent_again(void **state)
{
	struct scene *sc = *state;
	uint64_t t0 = loop_now(sc->l);

	start_client(sc);
	to_server(sc, &sc->queue[sc->head]); /* the cookie request comes back … */
	free(sc->queue[sc->head++ % QUEUE].p);
	dtls_session_input(sc->client.s, sc->queue[sc->head].p, sc->queue[sc->head].n);
	free(sc->queue[sc->head++ % QUEUE].p);
	assert_int_equal(sc->tail - sc->head, 1); /* … and the ClientHello with the cookie is under way */
	sc->lose = 1;				   /* the server's flight: one datagram */
	pump(sc);
	assert_non_null(sc->server.s);
	assert_false(sc->client.opened);
	for (int i = 0; i < 30 && !sc->client.opened; i++) {
		support_run_for(sc->l, 100);
		pump(sc);
	}
	assert_true(sc->client.opened && sc->server.opened);
	assert_true(loop_now(sc->l) - t0 >= 500);
}

static void a_handshake_that_stalls_is_ended_by_its_deadline(void **state)
{
	struct scene *sc = *state;

	start_client(sc);
	sc->client.free_in_close = true;
	support_run_until(sc->l, &sc->client.closed, 12000);
	assert_int_equal(sc->client.err, ETIMEDOUT);
	assert_true(sc->sent_by_client >= 3); /* it tried again meanwhile */
	assert_null(sc->client.s);
}

static void a_peer_that_lost_its_session_begins_anew_from_the_same_port(void **state)
{
	struct scene *sc = *state;
	struct dtls_session *first;
	struct packet k;

	meet(sc);
	first = sc->server.s;
	SSL_set_quiet_shutdown(dtls_session_ssl(sc->client.s), 1); /* it died: no word of goodbye */
	sc->client.s = dtls_session_free(sc->client.s);
	start_client(sc);
	k = sc->queue[sc->head++ % QUEUE];
	to_server(sc, &k); /* its first hello, without a cookie, ends nothing */
	free(k.p);
	assert_ptr_equal(sc->server.s, first);
	pump(sc);
	assert_int_equal(sc->client.opens, 2);
	assert_int_equal(sc->server.opens, 2);
	assert_int_equal(dtls_session_send(sc->client.s, "again", 5), 0);
	pump(sc);
	assert_int_equal(sc->server.n_got, 5);
}

static void garbage_does_not_disturb_an_open_session(void **state)
{
	struct scene *sc = *state;

	meet(sc);
	for (unsigned i = 0; i < 2000; i++) {
		uint8_t junk[200];
		size_t n = i % sizeof(junk) + 1;

		assert_int_equal(bytes_random(junk, sizeof(junk)), 0);
		if (i % 3 == 0)
			memcpy(junk, "\x17\xfe\xfd\x00\x01", 5); /* an encrypted record, it says */
		if (i % 3 == 1)
			memcpy(junk, "\x15\xfe\xfd\x00\x00\x00\x00\x00\x00\x00\x09\x00\x02\x02\x28", 15); /* alert */
		dtls_session_input(sc->server.s, junk, n);
		assert_false(sc->server.closed);
	}
	assert_int_equal(sc->server.datas, 0);
	assert_int_equal(dtls_session_send(sc->client.s, "still there", 11), 0);
	pump(sc);
	assert_int_equal(sc->server.n_got, 11);
	assert_int_equal(ERR_peek_error(), 0);
}

static void forge(struct scene *sc, uint8_t type, unsigned epoch, size_t length)
{
	uint8_t junk[13 + 96] = { type, 0xfe, 0xfd, 0, (uint8_t)epoch, 0, 1, 2, 3, 4, 5, 0, (uint8_t)length };

	dtls_session_input(sc->server.s, junk, 13 + length);
	if (sc->server.closed)
		fail_msg("type %u, epoch %u, %zu bytes: %s", type, epoch, length, sc->server.why);
	dtls_session_input(sc->client.s, junk, 13 + length);
	assert_false(sc->client.closed);
}

static void forge_all(struct scene *sc)
{
	for (uint8_t type = 19; type < 26; type++)
		for (unsigned epoch = 0; epoch < 3; epoch++)
			for (size_t length = 0; length < 96; length++)
				forge(sc, type, epoch, length);
}

/* RFC 6347 4.1.2.7: a bad record is dropped. OpenSSL takes one that is too short for its cipher for a fault of its
 * own and ends the session, and anybody can send one in the peer's name. */
static void a_forged_record_of_any_length_ends_nothing(void **state)
{
	static const char *const ciphers[] = { "ECDHE+AESGCM", "ECDHE+CHACHA20" };
	struct scene *sc = *state;

	for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
		assert_int_equal(SSL_CTX_set_cipher_list(tls_ctx_ssl(sc->client_ctx), ciphers[i]), 1);
		meet(sc);
		forge_all(sc);
		sc->server.n_got = 0;
		assert_int_equal(dtls_session_send(sc->client.s, "still there", 11), 0);
		pump(sc);
		assert_int_equal(sc->server.n_got, 11);
		assert_int_equal(ERR_peek_error(), 0);
		sc->client.s = dtls_session_free(sc->client.s); /* says goodbye, in the shortest record there is */
		pump(sc);
		assert_true(sc->server.closed);
		sc->server.s = dtls_session_free(sc->server.s);
		sc->server.closed = sc->server.opened = sc->client.opened = false;
	}
}

/* One record with a wrong MAC would end it: RFC 7366 in OpenSSL 3.0. */
static void a_session_is_never_made_with_a_cbc_cipher(void **state)
{
	struct scene *sc = *state;

	assert_int_equal(SSL_CTX_set_cipher_list(tls_ctx_ssl(sc->client_ctx), "ECDHE+AES+SHA256:ECDHE+AES+SHA1"), 1);
	start_client(sc);
	pump(sc);
	assert_true(sc->client.closed);
	assert_false(sc->server.opened);
}

static void a_wrong_name_is_refused_with_a_reason(void **state)
{
	struct scene *sc = *state;

	start_client_for(sc, "evil.example.org");
	pump(sc);
	assert_true(sc->client.closed);
	assert_int_equal(sc->client.err, EPROTO);
	assert_non_null(strstr(sc->client.why, "mismatch"));
	assert_true(sc->server.closed); /* by the alert */
	assert_int_equal(sc->server.opens, 0);
}

/* ---- before there is a session ---- */

/* The client's first ClientHello, without a cookie, or its second, with one. */
static struct packet hello(struct scene *sc, bool with_cookie)
{
	struct packet k;

	start_client(sc);
	k = sc->queue[sc->head++ % QUEUE];
	if (!with_cookie)
		return k;
	to_server(sc, &k);
	assert_null(sc->server.s);
	free(k.p);
	k = sc->queue[sc->head++ % QUEUE];
	dtls_session_input(sc->client.s, k.p, k.n);
	free(k.p);
	return sc->queue[sc->head++ % QUEUE];
}

static void a_late_copy_of_the_hello_does_not_end_its_session(void **state)
{
	struct scene *sc = *state;
	struct packet k = hello(sc, true);

	to_server(sc, &k);
	pump(sc);
	assert_true(sc->server.opened);
	assert_false(dtls_session_restarts(sc->server.s, k.p, k.n));
	for (size_t n = 0; n < k.n; n++)
		assert_false(dtls_session_restarts(sc->server.s, k.p, n));
	free(k.p);
}

static void a_new_certificate_is_for_new_sessions_and_open_ones_go_on(void **state)
{
	struct scene *sc = *state;
	struct tls_options so = { .dtls = true }, co = { .dtls = true, .client = true, .verify_peer = true };
	char err[TLS_ERRLEN];

	support_cert(&sc->dir, "n", "DNS:turn.example.org", -1, 10);
	co.ca_file = so.cert_file = support_path(&sc->dir, "n.pem");
	so.key_file = support_path(&sc->dir, "n.key");
	_cleanup_(tls_ctx_unrefp) struct tls_ctx *fresh = NULL, *trusts_fresh = NULL;
	assert_int_equal(tls_ctx_new(&so, err, &fresh), 0);
	assert_int_equal(tls_ctx_new(&co, err, &trusts_fresh), 0);
	meet(sc);
	sc->server.echo = true;
	dtls_listener_set_ctx(sc->d, fresh);
	assert_int_equal(dtls_session_send(sc->client.s, "old", 3), 0);
	pump(sc);
	assert_int_equal(sc->client.n_got, 3);

	sc->client.s = dtls_session_free(sc->client.s); /* now one that trusts the new certificate only */
	pump(sc);
	sc->server.s = dtls_session_free(sc->server.s);
	sc->client = sc->server = (struct end){ 0 };
	const struct dtls_client_options opt = { trusts_fresh, "turn.example.org", &sc->server_at, &client_ops, sc };
	assert_int_equal(dtls_client_new(sc->l, &opt, &session_ops, &sc->client, &sc->client.s), 0);
	pump(sc);
	assert_true(sc->client.opened);
	assert_true(sc->server.opened);
}

static void the_server_name_chooses_the_certificate(void **state)
{
	struct scene *sc = *state;
	struct tls_options so = { .dtls = true }, co = { .dtls = true, .client = true, .verify_peer = true };
	char err[TLS_ERRLEN];

	support_cert(&sc->dir, "p", "DNS:turn.partner.example", -1, 10);
	co.ca_file = so.cert_file = support_path(&sc->dir, "p.pem");
	so.key_file = support_path(&sc->dir, "p.key");
	_cleanup_(tls_ctx_unrefp) struct tls_ctx *partner = NULL, *trusts_partner = NULL;
	assert_int_equal(tls_ctx_new(&so, err, &partner), 0);
	assert_int_equal(tls_ctx_new(&co, err, &trusts_partner), 0);
	assert_int_equal(tls_ctx_add_name(sc->server_ctx, "turn.partner.example", partner), 0);
	const struct dtls_client_options opt = { trusts_partner, "turn.partner.example", &sc->server_at, &client_ops, sc };
	assert_int_equal(dtls_client_new(sc->l, &opt, &session_ops, &sc->client, &sc->client.s), 0);
	pump(sc);
	assert_true(sc->client.opened); /* its certificate, and the name, are good */
	assert_true(sc->server.opened);
	assert_true(text_eq(tls_server_name(dtls_session_ssl(sc->server.s)), TEXT("turn.partner.example")));
	sc->client.s = dtls_session_free(sc->client.s);
	pump(sc);
	sc->server.s = dtls_session_free(sc->server.s);
	sc->client = sc->server = (struct end){ 0 };
	meet(sc); /* and the other name gets the other one, as before */
}

static void a_cookie_of_before_the_new_certificate_is_still_good(void **state)
{
	struct scene *sc = *state;

	start_client(sc);
	struct packet first = sc->queue[sc->head++ % QUEUE];
	to_server(sc, &first); /* answered with a cookie, by the spare that goes now */
	free(first.p);
	dtls_listener_set_ctx(sc->d, sc->server_ctx);
	pump(sc);
	assert_true(sc->client.opened);
	assert_true(sc->server.opened);
}

/* Advisory: CVE-2022-2576. */
static void a_flood_of_spoofed_hellos_holds_no_memory(void **state)
{
	enum { FLOOD = 100000, WARM = 1000 };
	struct scene *sc = *state;
	struct packet k = hello(sc, false);
	struct dtls_session *s = NULL;
	long before = 0;

	sc->sent_by_server = 0;
	for (uint32_t i = 0; i < FLOOD; i++) {
		struct addr from = addr_v4(0x0a000000 + i, (uint16_t)(1024 + i % 60000));

		if (i == WARM)
			before = atomic_load(&live);
		assert_int_equal(dtls_listener_input(sc->d, &from, &sc->server_at, k.p, k.n, &s), 0);
	}
	assert_null(s);
	assert_int_equal(sc->sent_by_server, FLOOD);
	assert_true(atomic_load(&live) <= before);
	free(k.p);
}

/* Advisory: CVE-2022-2576. */
static void the_answer_to_a_stranger_is_smaller_than_the_question(void **state)
{
	struct scene *sc = *state;
	struct packet k = hello(sc, false), answer;

	to_server(sc, &k);
	assert_int_equal(sc->sent_by_server, 1);
	answer = sc->queue[sc->head++ % QUEUE];
	assert_true(answer.n < k.n);
	free(k.p);
	free(answer.p);
}

/* Advisory: CVE-2022-2576. */
static void a_cookie_is_good_for_the_address_it_was_sent_to_only(void **state)
{
	struct scene *sc = *state;
	struct packet k = hello(sc, true);
	struct addr other = addr_v4(0xc0000208, 40000), port = addr_v4(0xc0000207, 40001);
	struct addr local = addr_v4(0xc0000202, 5349);
	struct dtls_session *s = NULL;

	assert_int_equal(dtls_listener_input(sc->d, &other, &sc->server_at, k.p, k.n, &s), 0);
	assert_int_equal(dtls_listener_input(sc->d, &port, &sc->server_at, k.p, k.n, &s), 0);
	assert_null(s);
	sc->server_at = local; /* as the listener's answer is checked against it */
	assert_int_equal(dtls_listener_input(sc->d, &sc->client_at, &local, k.p, k.n, &s), 0);
	assert_null(s);
	sc->server_at = addr_v4(0xc0000201, 5349);
	assert_int_equal(dtls_listener_input(sc->d, &sc->client_at, &sc->server_at, k.p, k.n, &s), 1);
	dtls_session_free(s);
	free(k.p);
}

static void cookies_live_for_one_to_two_rotations(void **state)
{
	struct dtls_cookie_jar jar;
	struct addr peer = addr_v4(0xc0000207, 40000), local = addr_v4(0xc0000201, 5349);
	uint8_t cookie[DTLS_COOKIE_LEN];

	(void)state;
	assert_int_equal(dtls_cookie_init(&jar, 1000), 0);
	assert_int_equal(dtls_cookie_begin(&jar, &peer, &local, 1000), 0);
	assert_true(dtls_cookie_make(&jar, cookie));
	assert_true(dtls_cookie_check(&jar, cookie, sizeof(cookie)));
	assert_false(dtls_cookie_check(&jar, cookie, sizeof(cookie) - 1));
	assert_int_equal(dtls_cookie_begin(&jar, &peer, &local, 1000 + DTLS_COOKIE_ROTATE_MS), 0);
	assert_true(dtls_cookie_check(&jar, cookie, sizeof(cookie)));
	assert_int_equal(dtls_cookie_begin(&jar, &peer, &local, 1000 + 2 * DTLS_COOKIE_ROTATE_MS), 0);
	assert_false(dtls_cookie_check(&jar, cookie, sizeof(cookie)));
}

static void anything_but_a_client_hello_is_dropped_in_silence(void **state)
{
	struct scene *sc = *state;
	struct packet k = hello(sc, false);
	struct dtls_session *s = NULL;
	int r;

	for (size_t n = 0; n < k.n; n++) /* cut short */
		assert_int_equal(dtls_listener_input(sc->d, &sc->client_at, &sc->server_at, k.p, n, &s), -EPROTO);
	assert_int_equal(sc->sent_by_server, 0);
	for (unsigned i = 0; i < 5000; i++) {
		uint8_t junk[1400];
		size_t n = MIN(sizeof(junk), k.n);

		memcpy(junk, k.p, n);
		assert_int_equal(bytes_random(junk + 11 + i % (n - 15), 4), 0); /* damaged */
		r = dtls_listener_input(sc->d, &sc->client_at, &sc->server_at, junk, n, &s);
		assert_true(r == 0 || r == -EPROTO); /* what is left may still be a ClientHello */
		assert_int_equal(bytes_random(junk, sizeof(junk)), 0);
		assert_int_equal(dtls_listener_input(sc->d, &sc->client_at, &sc->server_at, junk, 1400, &s), -EPROTO);
		while (sc->head != sc->tail)
			free(sc->queue[sc->head++ % QUEUE].p);
	}
	assert_null(s);
	assert_int_equal(ERR_peek_error(), 0);
	sc->client.s = dtls_session_free(sc->client.s);
	meet(sc); /* a real client still gets in */
	free(k.p);
}

#define t(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void keep_datagram(const struct addr *to, const struct addr *from, const void *p, size_t n, void *arg)
{
	char *kept = arg;

	(void)to;
	(void)from;
	memcpy(kept, p, n);
	kept[n] = 0;
}

/* The BIO between OpenSSL and an owner's datagrams: one at a time, whole or cut, never the next one's bytes. */
static void a_wire_gives_one_datagram_and_no_more(void **state)
{
	static const struct dtls_ops ops = { keep_datagram };
	char sent[32] = "", got[16];
	struct dtls_wire w = { .ops = &ops, .arg = sent };
	SSL_CTX *ctx = SSL_CTX_new(DTLS_method());
	SSL *ssl = SSL_new(ctx);
	BIO *bio;

	(void)state;
	assert_non_null(ssl);
	assert_int_equal(dtls_wire_attach(&w, ssl), 0);
	bio = SSL_get_rbio(ssl);
	assert_int_equal(BIO_ctrl(bio, BIO_CTRL_DGRAM_QUERY_MTU, 0, NULL), DTLS_HANDSHAKE_MTU);
	assert_int_equal(BIO_ctrl(bio, BIO_CTRL_DGRAM_GET_FALLBACK_MTU, 0, NULL), DTLS_HANDSHAKE_MTU);
	assert_int_equal(BIO_ctrl(bio, BIO_CTRL_FLUSH, 0, NULL), 1);
	assert_int_equal(BIO_ctrl(bio, BIO_CTRL_PENDING, 0, NULL), 0);
	assert_true(BIO_read(bio, got, sizeof(got)) <= 0);
	assert_true(BIO_should_retry(bio));
	w.in = (const uint8_t *)"datagram";
	w.in_n = 8;
	assert_int_equal(BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_PEEK_MODE, 1, NULL), 1);
	assert_int_equal(BIO_read(bio, got, sizeof(got)), 8);
	assert_int_equal(BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_PEEK_MODE, 0, NULL), 1);
	assert_int_equal(BIO_read(bio, got, 4), 4); /* as recv() does: the rest is gone */
	assert_memory_equal(got, "data", 4);
	assert_true(BIO_read(bio, got, sizeof(got)) <= 0);
	assert_int_equal(BIO_write(bio, "answer", 6), 6);
	assert_string_equal(sent, "answer");
	assert_true(w.wrote);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(records_travel_both_ways_one_datagram_each),
		t(sending_has_its_limits),
		t(a_freed_session_says_goodbye_and_the_peer_hears_the_end),
		t(a_session_may_be_freed_in_any_callback),
		t(a_lost_flight_is_sent_again),
		t(a_handshake_that_stalls_is_ended_by_its_deadline),
		t(a_peer_that_lost_its_session_begins_anew_from_the_same_port),
		t(a_late_copy_of_the_hello_does_not_end_its_session),
		t(garbage_does_not_disturb_an_open_session),
		t(a_forged_record_of_any_length_ends_nothing),
		t(a_session_is_never_made_with_a_cbc_cipher),
		t(a_wrong_name_is_refused_with_a_reason),
		t(a_new_certificate_is_for_new_sessions_and_open_ones_go_on),
		t(a_cookie_of_before_the_new_certificate_is_still_good),
		t(the_server_name_chooses_the_certificate),
		t(a_flood_of_spoofed_hellos_holds_no_memory),
		t(the_answer_to_a_stranger_is_smaller_than_the_question),
		t(a_cookie_is_good_for_the_address_it_was_sent_to_only),
		t(cookies_live_for_one_to_two_rotations),
		t(anything_but_a_client_hello_is_dropped_in_silence),
		cmocka_unit_test(a_wire_gives_one_datagram_and_no_more),
	};

	/* Before anything of OpenSSL's is used. */
	if (CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free) != 1)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
