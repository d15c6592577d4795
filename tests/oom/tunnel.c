/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel's link layer with every allocation failed once: two ends of a data connection over TLS in one loop, whose bytes
 * arrive whole or which ends with a reason; a server and an agent that are made, or say that they are not. Nothing hangs,
 * nothing leaks, and every chunk is given back.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/oom/failing.h"
#include "tunnel/agent/agent.h"
#include "tunnel/link/data_priv.h"
#include "tunnel/link/tls.h"
#include "tunnel/server/server.h"

enum { BYTES = 300000, PASSES = 3000 };

static struct support_dir dir;
static struct server_keys keys;
static struct identity *self;
static struct tls_ctx *server_tls, *agent_tls;

struct end {
	struct data_host host;
	struct chunk_pool chunks;
	struct carrier *carrier;
	struct data_conn *d;
	int fd; /* the test's end of the local socket */
	bool ended;
};

struct talk {
	struct loop *l;
	struct end server, agent;
	size_t sent, got;
	bool ended, bad;
	struct pass_hook hook;
	struct timer tick;
	unsigned passes;
};

static void on_end(struct data_conn *d, const struct data_end *e, void *arg)
{
	struct end *end = arg;

	(void)e;
	end->ended = true;
	end->d = data_conn_free(d);
}

static const struct data_ops data_ops = { .on_end = on_end };

static void pair(int fd[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
}

/* The agent's end: OPEN has come. */
static int on_frame(struct carrier *c, const struct wire_got *g)
{
	struct end *end = c->host->owner;
	int fd[2], r;

	if (g->type != WIRE_OPEN)
		return -EPROTO;
	r = data_conn_new(c->host, &g->m.open, -1, &end->d);
	if (r < 0)
		return r;
	end->d->ops = &data_ops;
	end->d->arg = end;
	carrier_attach(c, end->d);
	pair(fd);
	end->fd = fd[0];
	if (data_conn_set_fd(end->d, fd[1]) < 0)
		data_conn_end(end->d, &(struct data_end){ .reason = WIRE_R_MEMORY });
	return 0;
}

static void on_idle(struct carrier *c)
{
	(void)c;
}

static void on_gone(struct carrier *c, int err, const char *why)
{
	struct end *end = c->host->owner;

	(void)err;
	(void)why;
	end->carrier = NULL;
}

static void on_data_conn(struct data_conn *d)
{
	(void)d;
}

static const struct data_host_ops host_ops = {
	.carrier_frame = on_frame,
	.carrier_idle = on_idle,
	.carrier_gone = on_gone,
	.lost = on_data_conn,
	.ended = on_data_conn,
};

/* Both sessions, after their handshake. Not what is tested: nothing fails here. */
static void handshake(int a, int b, SSL **ret_server, SSL **ret_client)
{
	int s = 0, c = 0;

	assert_int_equal(tls_session_new(server_tls, NULL, ret_server), 0);
	assert_int_equal(tls_session_new(agent_tls, NULL, ret_client), 0);
	(void)SSL_set_fd(*ret_server, a);
	(void)SSL_set_fd(*ret_client, b);
	for (unsigned i = 0; i < 100 && (s != 1 || c != 1); i++) {
		c = SSL_do_handshake(*ret_client);
		s = SSL_do_handshake(*ret_server);
	}
	assert_true(s == 1 && c == 1);
}

static int begin_end(struct talk *t, struct end *e, int fd, SSL *ssl, bool server)
{
	struct frame_conn *fc;
	int r;

	e->fd = -1;
	data_host_init(&e->host, t->l, &host_ops, e, &e->chunks);
	e->host.server = server;
	e->host.window = 1 << 20;
	e->host.resume_ms = 50;
	r = frame_conn_new(t->l, fd, ssl, server ? WIRE_TO_SERVER : WIRE_TO_AGENT, &fc);
	if (r == 0)
		r = carrier_new(&e->host, fc, &e->carrier);
	if (r == 0)
		carrier_ready(e->carrier);
	return r;
}

static int open_one(struct talk *t)
{
	const struct wire_open m = {
		.stream = 1, .job = 1, .kind = WIRE_JOB_TCP, .source = addr_v4(0x7f000001, 1)
	};
	struct end *e = &t->server;
	int fd[2], r;

	pair(fd);
	e->fd = fd[0];
	r = data_conn_new(&e->host, &m, fd[1], &e->d);
	if (r < 0)
		return r;
	e->d->ops = &data_ops;
	e->d->arg = e;
	carrier_attach(e->carrier, e->d);
	(void)frame_conn_send(e->carrier->conn, WIRE_OPEN, &m);
	data_pump_in(e->d);
	return 0;
}

/* The client sends, the target reads, as far as the sockets let them. */
static void move(struct talk *t)
{
	static uint8_t buf[20000];
	ssize_t r;

	if (t->server.fd >= 0 && t->sent < BYTES) {
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = (uint8_t)((t->sent + i) * 7 >> 3);
		r = send(t->server.fd, buf, MIN(sizeof(buf), BYTES - t->sent), MSG_NOSIGNAL);
		t->sent += r > 0 ? (size_t)r : 0;
		if (t->sent == BYTES)
			(void)shutdown(t->server.fd, SHUT_WR);
	}
	while (t->agent.fd >= 0 && (r = recv(t->agent.fd, buf, sizeof(buf), 0)) > 0) {
		for (ssize_t i = 0; i < r; i++)
			t->bad |= buf[i] != (uint8_t)((t->got + (size_t)i) * 7 >> 3);
		t->got += (size_t)r;
	}
	if (t->got == BYTES)
		(void)shutdown(t->agent.fd, SHUT_WR);
}

static void on_pass(struct pass_hook *h)
{
	struct talk *t = container_of(h, struct talk, hook);

	oom_pause();
	move(t);
	if ((t->server.ended && (t->agent.ended || !t->agent.d)) || ++t->passes > PASSES)
		loop_stop(t->l);
	oom_resume();
}

static void on_tick(struct timer *tm, uint64_t now)
{
	struct talk *t = container_of(tm, struct talk, tick);

	(void)now;
	loop_timer_set(t->l, tm, 1);
}

static void end_end(struct end *e)
{
	data_conn_free(e->d);
	data_host_deinit(&e->host);
	assert_int_equal(e->chunks.n_lent, 0);
	chunk_pool_trim(&e->chunks);
	if (e->fd >= 0)
		close(e->fd);
}

static void bytes_arrive_whole_or_the_data_connection_ends(void **state)
{
	unsigned whole = 0, rounds = 0;

	(void)state;
	for (unsigned n = 1; oom_next(&n); rounds++) {
		struct talk t = { .hook.run = on_pass, .tick.fire = on_tick };
		SSL *ssl[2];
		int fd[2], r, q;

		oom_pause();
		assert_int_equal(loop_new(&t.l), 0);
		pair(fd);
		handshake(fd[0], fd[1], &ssl[0], &ssl[1]);
		oom_resume();
		r = begin_end(&t, &t.server, fd[0], ssl[0], true);
		q = begin_end(&t, &t.agent, fd[1], ssl[1], false);
		if (r == 0 && q == 0)
			r = open_one(&t);
		if (r == 0 && q == 0) {
			loop_add_hook(t.l, &t.hook);
			loop_timer_set(t.l, &t.tick, 1);
			assert_int_equal(loop_run(t.l), 0);
			loop_remove_hook(&t.hook);
			timer_stop(&t.tick);
			assert_true(t.passes <= PASSES);
			assert_false(t.bad);
			whole += t.got == BYTES;
		} else {
			assert_true(oom_hit());
		}
		oom_pause();
		end_end(&t.server);
		end_end(&t.agent);
		loop_free(t.l);
		oom_resume();
	}
	assert_true(whole > 0 && rounds > 10);
}

/* ---- server and agent ---- */

static int no_dial(void *arg, bool control, bool plain,
		   void (*done)(const struct agent_dialled *d, void *done_arg), void *done_arg,
		   void **ret_handle)
{
	(void)arg;
	(void)control;
	(void)plain;
	(void)done;
	(void)done_arg;
	(void)ret_handle;
	return -ENETUNREACH;
}

static void an_agent_is_made_with_its_jobs_or_not_at_all(void **state)
{
	static const struct agent_ops ops;
	const struct agent_options o = { .name = "a", .ops = &ops, .dialer.start = no_dial };
	const struct wire_job job = { .id = 1, .kind = WIRE_JOB_TCP, .host = TEXT("h") };

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		struct agent *a = NULL;
		struct loop *l;
		int r;

		oom_pause();
		assert_int_equal(loop_new(&l), 0);
		oom_resume();
		r = agent_new(l, &o, &a);
		if (r == 0)
			r = agent_put_job(a, &job);
		if (r == 0)
			r = agent_put_job(a, &job);
		if (a)
			agent_connect(a);
		assert_true(r == 0 || (r == -ENOMEM && oom_hit()));
		agent_free(a);
		loop_free(l);
	}
}

static void a_server_is_made_or_not_at_all(void **state)
{
	const struct tunnel_server_options o = { .workers = 1 };

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		struct addr at = addr_v4(0x7f000001, 0);
		struct tunnel_server *s = NULL;
		struct loop *l;
		char err[200];
		int r;

		oom_pause();
		assert_int_equal(loop_new(&l), 0);
		oom_resume();
		r = tunnel_server_new(l, &o, &s);
		if (r == 0)
			r = tunnel_server_listen(s, &at, err, sizeof(err));
		assert_true(r == 0 || (r == -ENOMEM && oom_hit()));
		tunnel_server_free(s);
		loop_free(l);
	}
}

static int setup(void **state)
{
	char err[IDENTITY_ERRLEN];
	enum server_keys_news news;
	struct link_expect expect = { .kind = LINK_EXPECT_PINS };

	(void)state;
	oom_pause();
	support_dir_make(&dir);
	assert_int_equal(server_keys_open(dir.path, err, &news, &keys), 0);
	assert_int_equal(identity_make("a", NULL, &self), 0);
	expect.pins.root = *identity_hash(keys.root);
	assert_int_equal(link_tls_server(&keys, &server_tls), 0);
	assert_int_equal(link_tls_agent(self, &expect, &agent_tls), 0);
	oom_resume();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tls_ctx_unref(server_tls);
	tls_ctx_unref(agent_tls);
	identity_unref(self);
	server_keys_deinit(&keys);
	support_dir_remove(&dir);
	return 0;
}

static void a_queue_that_finds_no_memory_is_what_it_was(void **state)
{
	static uint8_t bytes[3 * CHUNK_BYTES];
	struct chunk_pool pool = { 0 };
	struct chunk_queue q = { .pool = &pool };
	struct iovec v[8];

	(void)state;
	memset(bytes, 7, sizeof(bytes));
	assert_int_equal(chunk_queue_add(&q, bytes, 10), 0);
	for (unsigned n = 1; n <= 3; n++) {
		oom_arm(n);
		assert_int_equal(chunk_queue_add(&q, bytes, sizeof(bytes)), -ENOMEM);
		assert_true(oom_hit());
		oom_arm(0);
		assert_int_equal(q.n, 10);
		assert_int_equal(pool.n_lent, 1);
		chunk_pool_trim(&pool); /* what was had for it is spare now */
	}
	assert_int_equal(chunk_queue_add(&q, bytes, sizeof(bytes)), 0);
	assert_int_equal(chunk_queue_iov(&q, v, 8), 4);
	assert_int_equal(v[0].iov_len + v[1].iov_len + v[2].iov_len + v[3].iov_len, 10 + sizeof(bytes));
	chunk_queue_drop(&q, q.n);
	assert_int_equal(pool.n_lent, 0);
	chunk_pool_trim(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_arrive_whole_or_the_data_connection_ends),
		cmocka_unit_test(an_agent_is_made_with_its_jobs_or_not_at_all),
		cmocka_unit_test(a_server_is_made_or_not_at_all),
		cmocka_unit_test(a_queue_that_finds_no_memory_is_what_it_was),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
