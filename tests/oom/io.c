/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops, datagrams, workers and streams with every allocation failed once, OpenSSL's included: what is
 * made returns an error, what is under way closes with a reason, nothing hangs and nothing leaks. Of
 * the thousands inside OpenSSL every seventh is taken, for the time it takes.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/dgram.h"
#include "common/stream.h"
#include "tests/oom/failing.h"

enum { BYTES = 100000, FRAME = 700, PATIENCE_MS = 20000 };

static struct support_dir dir;

/* ---- what is made ---- */

static int nothing(struct worker *w, void *arg)
{
	(void)w;
	(void)arg;
	return 0;
}

static void loops_datagrams_and_workers_are_made_or_not(void **state)
{
	static const struct worker_ops ops = { .setup = nothing };

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		_cleanup_(loop_freep) struct loop *l = NULL;
		_cleanup_(dgram_io_freep) struct dgram_io *io = NULL;
		struct workers ws = { 0 };
		int r = loop_new(&l);

		if (r == 0)
			r = dgram_io_new(l, NULL, &io);
		if (r == 0)
			r = workers_start(&ws, 3, &ops, NULL);
		assert_true(r == -ENOMEM || (r == 0 && !oom_hit()));
		workers_stop(&ws);
	}
}

static int make_ctx(bool client, struct tls_ctx **ret_ctx)
{
	static const char *const alpn[] = { "stun.turn", NULL };
	struct tls_options o = { .client = client, .alpn = alpn };
	char err[TLS_ERRLEN];
	int r;

	if (client) {
		o.ca_file = support_path(&dir, "s.pem");
		o.verify_peer = true;
	} else {
		o.cert_file = support_path(&dir, "s.pem");
		o.key_file = support_path(&dir, "s.key");
	}
	r = tls_ctx_new(&o, err, ret_ctx);
	if (r < 0)
		assert_true(strlen(err) > 5);
	return r;
}

static void tls_contexts_are_made_or_say_why_not(void **state)
{
	(void)state;
	for (unsigned n = 1; oom_next(&n); n += 6) {
		_cleanup_(tls_ctx_unrefp) struct tls_ctx *server = NULL, *client = NULL;
		int r = make_ctx(false, &server);

		if (r == 0)
			r = make_ctx(true, &client);
		assert_true(r < 0 || (server && client));
	}
}

/* ---- a conversation over a stream ---- */

struct talk;
struct end {
	struct talk *talk;
	struct stream *s;
	size_t got;
	bool echo;
};

struct talk {
	struct loop *l;
	struct end client, server;
	bool over;
};

static void on_open(struct stream *s, void *arg)
{
	static uint8_t bytes[BYTES];
	struct end *e = arg;

	if (!e->echo && stream_write(s, bytes, sizeof(bytes)) < 0)
		stream_finish(s);
}

static size_t on_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct end *e = arg;
	size_t take = e->got + n < BYTES ? n - n % FRAME : n;

	e->got += take;
	if (e->echo && take && stream_write(s, p, take) < 0)
		stream_finish(s);
	if (!e->echo && e->got == BYTES)
		stream_finish(s);
	return take;
}

static void on_close(struct stream *s, int err, const char *why, void *arg)
{
	struct end *e = arg;

	(void)err;
	assert_non_null(why);
	e->s = stream_free(s);
	e->talk->over = !e->talk->client.s && !e->talk->server.s;
}

static void converse(struct tls_ctx *server, struct tls_ctx *client)
{
	static const struct stream_ops ops = { on_open, on_data, NULL, on_close };
	const struct stream_options so = { .tls = server }, co = { .tls = client, .server_name = "turn.example.org" };
	struct talk t = { .client.talk = &t, .server = { .talk = &t, .echo = true } };
	int fds[2];

	oom_pause(); /* that a loop is not made is tested in io.c */
	assert_int_equal(loop_new(&t.l), 0);
	oom_resume();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	if (stream_new(t.l, fds[0], &so, &ops, &t.server, &t.server.s) < 0)
		close(fds[1]);
	else if (stream_new(t.l, fds[1], &co, &ops, &t.client, &t.client.s) < 0)
		assert_true(oom_hit());
	if (t.server.s)
		support_run_until(t.l, &t.over, PATIENCE_MS);
	if (!oom_hit()) {
		assert_int_equal(t.server.got, BYTES);
		assert_int_equal(t.client.got, BYTES);
	}
	oom_arm(0);
	loop_free(t.l);
}

static void a_plain_conversation_ends_whatever_fails(void **state)
{
	(void)state;
	for (unsigned n = 1; oom_next(&n);)
		converse(NULL, NULL);
}

static void a_tls_conversation_ends_whatever_fails(void **state)
{
	struct tls_ctx *server = NULL, *client = NULL;

	(void)state;
	assert_int_equal(make_ctx(false, &server), 0);
	assert_int_equal(make_ctx(true, &client), 0);
	for (unsigned n = 1; oom_next(&n); n += 6)
		converse(server, client);
	tls_ctx_unref(server);
	tls_ctx_unref(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loops_datagrams_and_workers_are_made_or_not),
		cmocka_unit_test(tls_contexts_are_made_or_say_why_not),
		cmocka_unit_test(a_plain_conversation_ends_whatever_fails),
		cmocka_unit_test(a_tls_conversation_ends_whatever_fails),
	};
	int r;

	oom_openssl();
	support_dir_make(&dir);
	support_cert(&dir, "s", "DNS:turn.example.org", -1, 10);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	support_dir_remove(&dir);
	return r;
}
