/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of the tunnel's tests. Threads: the test (clients), the site (agent and line), the server's workers, the
 * server's main loop in a thread of its own, and one for each connection of the target. What they share is atomic or asked
 * for by a call into the right thread.
 */
#include "tests/unit/tunnel_world.h"
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/joint.h"
#include "common/tls.h"
#include "tunnel/link/tls.h"
#include "tunnel/server/server_priv.h"

enum { CALL_S = 30 };

struct line { /* one connection of the line */
	struct list node;
	struct world *w;
	struct joint *joint;
};

struct world {
	struct world_options o;
	struct support_dir dir;
	struct server_keys keys;
	struct tls_ctx *server_tls, *agent_tls;
	struct identity *self;
	/* the server */
	struct workers main; /* its main thread */
	struct tunnel_server *server;
	uint16_t server_port;
	_Atomic unsigned port, ups, clean, lost, stopped, login_frames;
	unsigned known;
	/* the site */
	struct workers site;
	struct agent *agent, *copy;
	struct joint_pool *pool;
	struct acceptor *line_acceptor;
	struct addr line_at;
	struct list lines;
	_Atomic unsigned n_lines;
	bool silent;
	uint8_t instance;
	/* the target */
	int target_fd;
	struct addr target;
	pthread_t target_thread;
	_Atomic uint64_t sent, read, told[2];
	_Atomic int target_threads;
	/* the answer of the last info */
	struct agent_info info;
};

uint8_t world_byte(uint64_t offset)
{
	return (uint8_t)((offset * 0x9e3779b97f4a7c15u) >> 56);
}

/* ---- the target ---- */

static void send_pattern(int fd, uint32_t n)
{
	uint8_t buf[8192];

	for (uint64_t at = 0; at < n;) {
		size_t part = MIN((size_t)(n - at), sizeof(buf));
		ssize_t r;

		for (size_t i = 0; i < part; i++)
			buf[i] = world_byte(at + i);
		r = send(fd, buf, part, MSG_NOSIGNAL);
		if (r <= 0)
			return;
		at += (uint64_t)r;
	}
}

static void echo(int fd)
{
	uint8_t buf[8192];
	ssize_t r;

	while ((r = recv(fd, buf, sizeof(buf), 0)) > 0)
		for (ssize_t at = 0, s; at < r; at += s) {
			s = send(fd, buf + at, (size_t)(r - at), MSG_NOSIGNAL);
			if (s <= 0)
				return;
		}
}

static void swallow(int fd)
{
	uint8_t buf[65536];
	uint32_t answer[2] = { 0, 0 };
	ssize_t r;

	while ((r = recv(fd, buf, sizeof(buf), 0)) > 0) {
		answer[0] += (uint32_t)r;
		for (ssize_t i = 0; i < r; i++)
			answer[1] = answer[1] * 31 + buf[i];
	}
	if (r == 0)
		(void)send(fd, answer, sizeof(answer), MSG_NOSIGNAL);
}

static void send_on(struct world *w, int fd)
{
	static const uint8_t buf[16384];
	ssize_t r;

	w->sent = 0;
	while ((r = send(fd, buf, sizeof(buf), MSG_NOSIGNAL)) > 0)
		w->sent += (uint64_t)r;
}

static void half(struct world *w, int fd)
{
	uint8_t buf[4096];
	ssize_t r;
	uint64_t n = 0;

	(void)shutdown(fd, SHUT_WR);
	while ((r = recv(fd, buf, sizeof(buf), 0)) > 0)
		n += (uint64_t)r;
	w->read = r == 0 ? n : UINT64_MAX;
}

static void reset(int fd)
{
	const struct linger now = { .l_onoff = 1 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

struct target_conn {
	struct world *w;
	int fd;
};

static void *target_conn(void *arg)
{
	struct target_conn *t = arg;
	uint32_t n = 0;
	char what = 0;

	if (recv(t->fd, &what, 1, 0) == 1) {
		if (what == 'E')
			echo(t->fd);
		else if (what == 'D' && recv(t->fd, &n, 4, MSG_WAITALL) == 4)
			send_pattern(t->fd, n);
		else if (what == 'U')
			swallow(t->fd);
		else if (what == 'R')
			reset(t->fd);
		else if (what == 'S')
			send_on(t->w, t->fd);
		else if (what == 'H')
			half(t->w, t->fd);
	}
	close(t->fd);
	atomic_fetch_sub(&t->w->target_threads, 1);
	free(t);
	return NULL;
}

static void *target_main(void *arg)
{
	struct world *w = arg;

	for (;;) {
		int fd = accept4(w->target_fd, NULL, NULL, SOCK_CLOEXEC);
		struct target_conn *t = fd >= 0 ? malloc(sizeof(*t)) : NULL;
		pthread_t thread;

		if (!t)
			return NULL; /* the socket was shut down */
		*t = (struct target_conn){ w, fd };
		atomic_fetch_add(&w->target_threads, 1);
		if (pthread_create(&thread, NULL, target_conn, t) == 0)
			pthread_detach(thread);
	}
}

static void *target_udp(void *arg)
{
	struct world *w = arg;
	uint8_t buf[65536];
	struct addr from;

	for (;;) {
		socklen_t n = sizeof(from);
		ssize_t r = recvfrom(w->target_fd, buf, sizeof(buf), 0, &from.sa, &n);

		if (r < 0 || (r == 4 && memcmp(buf, "stop", 4) == 0))
			return NULL;
		(void)sendto(w->target_fd, buf, (size_t)r, 0, &from.sa, n);
	}
}

static int bound(int type, struct addr *ret_at)
{
	struct addr at = addr_v4(0x7f000001, 0);
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, &at.sa, addr_len(&at)), 0);
	assert_int_equal(getsockname(fd, &at.sa, &n), 0);
	*ret_at = at;
	return fd;
}

/* ---- the server ---- */

struct port { /* the job's, in the link's worker */
	struct world *w;
	struct tunnel_link *link;
	struct acceptor *acceptor;
	int udp;
	struct io io;
	struct addr client;
	struct data_conn *flow;
};

static void on_server_end(struct data_conn *d, const struct data_end *e, void *arg)
{
	struct port *p = arg;
	struct data_info i;

	data_conn_info(d, &i);
	for (unsigned w = 0; w < 2; w++)
		p->w->told[w] += i.bytes[w];
	if (p->flow == d)
		p->flow = NULL;
	data_conn_free(d); /* e stays until this returns */
	if (e->lost)
		p->w->lost++;
	else if (e->reason == WIRE_R_NONE)
		p->w->clean++;
	else if (strcmp(e->text, wire_reason_text(WIRE_R_STOPPING)) == 0)
		p->w->stopped++;
}

static void on_server_datagram(struct data_conn *d, const uint8_t *data, size_t n, void *arg)
{
	struct port *p = arg;

	(void)d;
	(void)sendto(p->udp, data, n, MSG_DONTWAIT, &p->client.sa, addr_len(&p->client));
}

static const struct data_ops server_data = { .on_end = on_server_end, .on_datagram = on_server_datagram };

static void on_client(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct port *p = arg;
	struct tunnel_open o = { .job = 1,
				 .kind = WIRE_JOB_TCP,
				 .plain = p->w->o.plain,
				 .fd = fd,
				 .source = *peer,
				 .server = *local,
				 .ops = &server_data,
				 .arg = p };
	struct data_conn *d;

	(void)tunnel_stream_open(p->link, &o, &d);
}

static const struct acceptor_ops client_ops = { .on_accept = on_client };

static void on_client_datagram(struct io *io, int events)
{
	struct port *p = container_of(io, struct port, io);
	struct tunnel_open o = { .job = 1, .kind = WIRE_JOB_UDP, .fd = -1, .ops = &server_data, .arg = p };
	uint8_t buf[65536];
	socklen_t n = sizeof(p->client);
	ssize_t r = recvfrom(p->udp, buf, sizeof(buf), MSG_DONTWAIT, &p->client.sa, &n);

	(void)events;
	if (r < 0)
		return;
	o.source = o.server = p->client;
	if (!p->flow && tunnel_stream_open(p->link, &o, &p->flow) < 0)
		p->flow = NULL;
	if (p->flow)
		data_conn_datagram(p->flow, buf, (size_t)r);
}

static void open_port(struct world *w, struct tunnel_link *l)
{
	struct port *p = calloc(1, sizeof(*p));
	struct addr at;
	int fd;

	*p = (struct port){ .w = w, .link = l, .udp = -1 };
	if (w->o.udp) {
		p->udp = fd = bound(SOCK_DGRAM, &at);
		(void)io_start(&p->io, tunnel_worker_loop(tunnel_link_worker(l)), fd, IO_READ,
			       on_client_datagram);
	} else {
		at = addr_v4(0x7f000001, 0);
		(void)stream_listen_socket(&at, &(struct listen_options){ 0 }, &fd);
		(void)getsockname(fd, &at.sa, &(socklen_t){ sizeof(at) });
		(void)acceptor_new(tunnel_worker_loop(tunnel_link_worker(l)), fd, &client_ops, p,
				   &p->acceptor);
	}
	tunnel_link_set_state(l, p);
	w->port = addr_port(&at);
}

static void on_up(struct tunnel_link *l, bool again, bool other, void *arg)
{
	struct world *w = arg;

	(void)l;
	(void)again;
	(void)other;
	w->ups++;
}

static void on_link_frame(struct tunnel_link *l, unsigned type, const union wire_msg *m, void *arg)
{
	struct wire_job_state_msg state = { .state = WIRE_JOB_ACTIVE };

	if (type != WIRE_JOB)
		return;
	if (!tunnel_link_state(l))
		open_port(arg, l);
	state.id = m->job.id;
	(void)tunnel_link_send(l, WIRE_JOB_STATE, &state);
}

static void on_over(struct tunnel_link *l, void *arg)
{
	struct port *p = tunnel_link_state(l);

	(void)arg;
	if (!p)
		return;
	acceptor_free(p->acceptor);
	io_stop(&p->io);
	if (p->udp >= 0)
		close(p->udp);
	free(p);
}

static const struct tunnel_link_ops link_ops = { .up = on_up, .frame = on_link_frame, .over = on_over };

static void on_arrived(struct tunnel_arrival *a, void *arg)
{
	const struct tunnel_admission ad = { .name = "site",
					     .welcome = { .server_name = TEXT("world") } };

	const struct wire_pending wait = { .agent = { tunnel_arrival_info(a)->identity, WIRE_PIN },
					   .server = { tunnel_arrival_info(a)->identity, WIRE_PIN } };
	struct world *w = arg;
	uint8_t identity[WIRE_PIN];

	if (w->o.judge == WORLD_LETS_WAIT)
		(void)tunnel_arrival_send(a, WIRE_PENDING, &wait);
	if (w->o.judge != WORLD_ADMITS && w->o.judge != WORLD_REVOKES)
		return;
	memcpy(identity, tunnel_arrival_info(a)->identity, WIRE_PIN);
	tunnel_arrival_admit(a, &ad);
	if (w->o.judge == WORLD_REVOKES)
		tunnel_server_end_identity(w->server, identity, WIRE_R_REVOKED, "");
}

static void on_arrival_frame(struct tunnel_arrival *a, unsigned type, const union wire_msg *m, void *arg)
{
	struct world *w = arg;

	(void)a;
	(void)type;
	(void)m;
	w->login_frames += w->o.judge == WORLD_ADMITS;
}

static void server_start(struct worker *wk, void *arg)
{
	struct world *w = arg;
	struct tunnel_server_options o = {
		.workers = w->o.workers ? w->o.workers : 1,
		.resume_ms = (uint32_t)MAX(w->o.resume_ms ? w->o.resume_ms : WORLD_RESUME_MS, 0),
		.allow_plain = w->o.plain,
		.hello_ms = w->o.hello_ms,
		.strangers_per_source = w->o.strangers_per_source,
		.carriers = w->o.carriers,
		.window = w->o.window,
		.arrived = on_arrived,
		.arrival_frame = on_arrival_frame,
		.link_ops = &link_ops,
		.arg = w
	};
	struct addr at;
	char err[200] = "";
	int fd = bound(SOCK_STREAM, &at); /* a port that is free */

	close(fd);
	assert_int_equal(tunnel_server_new(wk->loop, &o, &w->server), 0);
	tunnel_server_set_tls(w->server, w->server_tls);
	assert_int_equal(tunnel_server_listen(w->server, &at, err, sizeof(err)), 0);
	assert_int_equal(tunnel_server_start(w->server, err, sizeof(err)), 0);
	w->server_port = addr_port(&at);
}

static void configure(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	tunnel_server_configure(w->server, w->o.window, (uint32_t)w->o.resume_ms, w->o.plain);
}

void world_configure(struct world *w, uint32_t resume_ms)
{
	w->o.resume_ms = (int)resume_ms;
	workers_call(&w->main, configure, w);
}

static void look_at_links(struct tunnel_worker *tw, void *arg)
{
	struct world *w = arg;

	list_for_each (it, &tw->links)
		w->known = list_entry(it, struct tunnel_link, node)->host.resume_ms;
}

static void ask_links(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	tunnel_server_call(w->server, look_at_links, w);
}

uint32_t world_link_resume_ms(struct world *w)
{
	workers_call(&w->main, ask_links, w);
	return w->known;
}

static void server_stop(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	w->server = tunnel_server_free(w->server);
}

/* ---- the line ---- */

static void on_line_end(struct joint *j, enum joint_end end, int err, const char *why, void *arg)
{
	struct line *l = arg;

	(void)end;
	(void)err;
	(void)why;
	joint_free(j);
	list_unlink(&l->node);
	l->w->n_lines--;
	free(l);
}

static void on_want_b(struct joint *j, int err, const char *why, void *arg)
{
	(void)arg;
	joint_refuse(j, err, why);
}

static const struct joint_ops line_ops = { .want_b = on_want_b, .on_end = on_line_end };

static void pause_line(struct line *l, bool on)
{
	joint_pause(l->joint, JOINT_UP, on);
	joint_pause(l->joint, JOINT_DOWN, on);
}

static void on_line(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct world *w = arg;
	struct line *l = calloc(1, sizeof(*l));
	const struct joint_options o = { .fd = fd };
	struct addr to = addr_v4(0x7f000001, w->server_port);
	int b = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)peer;
	(void)local;
	l->w = w;
	if (joint_new(w->pool, &o, &line_ops, l, &l->joint) < 0) {
		close(b);
		free(l);
		return;
	}
	list_append(&w->lines, &l->node);
	w->n_lines++;
	(void)connect(b, &to.sa, addr_len(&to));
	joint_dial(l->joint, b, NULL);
	if (w->silent)
		pause_line(l, true);
}

static const struct acceptor_ops line_acceptor_ops = { .on_accept = on_line };

/* ---- the agent ---- */

struct dial {
	struct world *w;
	struct stream *stream;
	void (*done)(const struct agent_dialled *d, void *arg);
	void *arg;
};

static void on_dial_open(struct stream *s, void *arg)
{
	struct dial *d = arg;
	const struct agent_dialled r = { .stream = s };

	d->done(&r, d->arg);
	free(d);
}

static size_t on_dial_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	(void)s;
	(void)p;
	(void)arg;
	return n;
}

static void on_dial_close(struct stream *s, int err, const char *why, void *arg)
{
	struct dial *d = arg;
	const struct agent_dialled r = { .why = why };

	(void)err;
	stream_free(s);
	d->done(&r, d->arg);
	free(d);
}

static const struct stream_ops dial_ops = { .on_open = on_dial_open,
					    .on_data = on_dial_data,
					    .on_close = on_dial_close };

static int dial_start(void *arg, bool control, bool plain,
		      void (*done)(const struct agent_dialled *d, void *done_arg), void *done_arg,
		      void **ret_handle)
{
	struct world *w = arg;
	struct dial *d = calloc(1, sizeof(*d));
	struct stream_options o = { .tls = w->agent_tls, .handshake_ms = 3000 };
	int r;

	(void)control;
	if (plain)
		o.tls = NULL;
	if (plain && w->o.plain_refused) {
		w->o.plain_refused--;
		free(d);
		return -ECONNREFUSED;
	}
	*d = (struct dial){ .w = w, .done = done, .arg = done_arg };
	r = stream_connect(w->site.w[0].loop, &w->line_at, &o, &dial_ops, d, &d->stream);
	if (r < 0)
		free(d);
	else
		*ret_handle = d;
	return r;
}

static void dial_cancel(void *arg, void *handle)
{
	struct dial *d = handle;

	(void)arg;
	stream_free(d->stream);
	free(d);
}

static void on_agent_end(struct data_conn *d, const struct data_end *e, void *arg)
{
	(void)e;
	(void)arg;
	data_conn_free(d);
}

static const struct data_ops agent_data = { .on_end = on_agent_end };

static void on_open(struct agent *a, struct data_conn *d, const struct wire_open *o, void *arg)
{
	struct world *w = arg;
	int type = o->kind == WIRE_JOB_UDP ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)a;
	data_conn_own(d, &agent_data, w);
	/* On loopback connect() is done at once, or fails at once. */
	if (connect(fd, &w->target.sa, addr_len(&w->target)) < 0 && errno != EINPROGRESS) {
		close(fd);
		agent_data_refuse(d, WIRE_R_REFUSED, strerror(errno));
		return;
	}
	agent_data_dialled(d, fd, &w->target, &w->target);
}

static const struct agent_ops agent_ops = { .on_open = on_open };

static void agent_begin(struct world *w, struct agent **ret_a)
{
	struct agent_options o = { .name = "site",
				   .program = "test",
				   .host = "here",
				   .detached_max = w->o.detached,
				   .ops = &agent_ops,
				   .arg = w,
				   .dialer = { .start = dial_start, .cancel = dial_cancel, .arg = w } };
	const struct wire_job job = { .id = 1,
				      .kind = w->o.udp ? WIRE_JOB_UDP : WIRE_JOB_TCP,
				      .host = TEXT("127.0.0.1"),
				      .target_port = 1 };

	memset(o.instance, ++w->instance, sizeof(o.instance));
	assert_int_equal(agent_new(w->site.w[0].loop, &o, ret_a), 0);
	assert_int_equal(agent_put_job(*ret_a, &job), 0);
	agent_connect(*ret_a);
}

static void site_start(struct worker *wk, void *arg)
{
	struct world *w = arg;
	struct addr at = addr_v4(0x7f000001, 0);
	int fd;

	assert_int_equal(joint_pool_new(wk->loop, NULL, &w->pool), 0);
	assert_int_equal(stream_listen_socket(&at, &(struct listen_options){ 0 }, &fd), 0);
	(void)getsockname(fd, &w->line_at.sa, &(socklen_t){ sizeof(w->line_at) });
	assert_int_equal(acceptor_new(wk->loop, fd, &line_acceptor_ops, w, &w->line_acceptor), 0);
	agent_begin(w, &w->agent);
}

static void site_stop(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	w->agent = agent_free(w->agent);
	w->copy = agent_free(w->copy);
	w->line_acceptor = acceptor_free(w->line_acceptor);
	list_for_each_safe (it, &w->lines) {
		struct line *l = list_entry(it, struct line, node);

		joint_free(l->joint);
		list_unlink(&l->node);
		free(l);
	}
	joint_pool_free(w->pool);
}

/* ---- the world ---- */

static const struct worker_ops no_ops;

struct world *world_new(const struct world_options *o)
{
	struct world *w = calloc(1, sizeof(*w));
	char err[IDENTITY_ERRLEN];
	enum server_keys_news news;
	struct link_expect expect = { .kind = LINK_EXPECT_PINS };

	assert_non_null(w);
	w->o = *o;
	list_init(&w->lines);
	support_dir_make(&w->dir);
	assert_int_equal(server_keys_open(w->dir.path, err, &news, &w->keys), 0);
	assert_int_equal(identity_make("site", NULL, &w->self), 0);
	expect.pins.root = *identity_hash(w->keys.root);
	assert_int_equal(link_tls_server(&w->keys, &w->server_tls), 0);
	assert_int_equal(link_tls_agent(w->self, &expect, &w->agent_tls), 0);
	w->target_fd = bound(o->udp ? SOCK_DGRAM : SOCK_STREAM, &w->target);
	if (!o->udp)
		assert_int_equal(listen(w->target_fd, 128), 0);
	assert_int_equal(
		pthread_create(&w->target_thread, NULL, o->udp ? target_udp : target_main, w), 0);
	assert_int_equal(workers_start(&w->main, 1, &no_ops, w), 0);
	workers_call(&w->main, server_start, w);
	assert_int_equal(workers_start(&w->site, 1, &no_ops, w), 0);
	workers_call(&w->site, site_start, w);
	return w;
}

static bool target_idle(struct world *w)
{
	return w->target_threads == 0;
}

unsigned world_stop_server(struct world *w)
{
	workers_call(&w->main, server_stop, w);
	return w->stopped;
}

void world_free(struct world *w)
{
	workers_call(&w->site, site_stop, w);
	workers_stop(&w->site);
	workers_call(&w->main, server_stop, w);
	workers_stop(&w->main);
	if (w->o.udp) {
		int fd = socket(AF_INET, SOCK_DGRAM, 0);

		(void)sendto(fd, "stop", 4, 0, &w->target.sa, addr_len(&w->target));
		close(fd);
	}
	(void)shutdown(w->target_fd, SHUT_RDWR);
	pthread_join(w->target_thread, NULL);
	close(w->target_fd);
	world_wait(w, target_idle, "the target's connections have ended");
	tls_ctx_unref(w->server_tls);
	tls_ctx_unref(w->agent_tls);
	identity_unref(w->self);
	server_keys_deinit(&w->keys);
	support_dir_remove(&w->dir);
	free(w);
}

void world_wait(struct world *w, bool (*fn)(struct world *w), const char *what)
{
	for (unsigned i = 0; i < 4000; i++) {
		if (fn(w))
			return;
		(void)poll(NULL, 0, 5);
	}
	fail_msg("not so within 20 s: %s", what);
}

static bool has_port(struct world *w)
{
	return w->port != 0;
}

uint16_t world_port(struct world *w)
{
	world_wait(w, has_port, "the job has a port");
	return (uint16_t)w->port;
}

static SSL *comes_in(struct world *w, struct tls_ctx *tls, int *ret_fd)
{
	const struct timeval limit = { .tv_sec = 10 };
	struct addr to = addr_v4(0x7f000001, w->server_port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SSL *ssl;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, &to.sa, addr_len(&to)), 0);
	assert_int_equal(tls_session_new(tls, NULL, &ssl), 0);
	assert_int_equal(SSL_set_fd(ssl, fd), 1);
	assert_int_equal(SSL_connect(ssl), 1);
	*ret_fd = fd;
	return ssl;
}

SSL *world_rogue(struct world *w, int *ret_fd)
{
	return comes_in(w, w->agent_tls, ret_fd);
}

SSL *world_stranger(struct world *w, int *ret_fd)
{
	const struct link_expect expect = { .kind = LINK_EXPECT_ANY };
	struct identity *self;
	struct tls_ctx *tls;
	SSL *ssl;

	assert_int_equal(identity_make("stranger", NULL, &self), 0);
	assert_int_equal(link_tls_agent(self, &expect, &tls), 0);
	ssl = comes_in(w, tls, ret_fd);
	tls_ctx_unref(tls);
	identity_unref(self);
	return ssl;
}

static void count_known(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	w->known = 0;
	list_for_each (it, &w->server->directory)
		w->known++;
}

unsigned world_known(struct world *w)
{
	workers_call(&w->main, count_known, w);
	return w->known;
}

unsigned world_login_frames(struct world *w)
{
	return w->login_frames;
}

uint16_t world_server_port(struct world *w)
{
	return w->server_port;
}

struct tunnel_server *world_server(struct world *w)
{
	return w->server;
}

int world_client(struct world *w)
{
	struct addr to = addr_v4(0x7f000001, world_port(w));
	const struct timeval limit = { .tv_sec = CALL_S };
	int fd = socket(AF_INET, (w->o.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, &to.sa, addr_len(&to)), 0);
	return fd;
}

/* ---- what happens to the line ---- */

static void cut_all(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	list_for_each_safe (it, &w->lines)
		joint_kill(list_entry(it, struct line, node)->joint, NULL);
}

void world_cut_all(struct world *w)
{
	workers_call(&w->site, cut_all, w);
}

struct cut {
	struct world *w;
	unsigned n;
};

static void cut_one(struct worker *wk, void *arg)
{
	struct cut *c = arg;
	unsigned i = 0, n = c->w->n_lines ? c->n % c->w->n_lines : 0;

	(void)wk;
	list_for_each_safe (it, &c->w->lines) {
		if (i++ == n) {
			joint_kill(list_entry(it, struct line, node)->joint, NULL);
			return;
		}
	}
}

void world_cut_one(struct world *w, unsigned n)
{
	struct cut c = { w, n };

	workers_call(&w->site, cut_one, &c);
}

static void silence(struct worker *wk, void *arg)
{
	struct cut *c = arg;

	(void)wk;
	c->w->silent = c->n;
	list_for_each (it, &c->w->lines)
		pause_line(list_entry(it, struct line, node), c->n);
}

void world_silence(struct world *w, bool on)
{
	struct cut c = { w, on };

	workers_call(&w->site, silence, &c);
}

static void freeze(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	list_for_each (it, &w->lines)
		pause_line(list_entry(it, struct line, node), true);
}

static void freeze_data(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	list_for_each (it, &w->lines)
		if (it != w->lines.next)
			pause_line(list_entry(it, struct line, node), true);
}

void world_freeze_data(struct world *w)
{
	workers_call(&w->site, freeze_data, w);
}

void world_freeze(struct world *w)
{
	workers_call(&w->site, freeze, w);
}

unsigned world_lines(struct world *w)
{
	return w->n_lines;
}

static void restart(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	w->agent = agent_free(w->agent);
	agent_begin(w, &w->agent);
}

void world_agent_restart(struct world *w)
{
	workers_call(&w->site, restart, w);
}

static void copy(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	agent_begin(w, &w->copy);
}

void world_agent_copy(struct world *w)
{
	workers_call(&w->site, copy, w);
}

static void ask_copy(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	agent_info(w->copy, &w->info);
}

void world_copy_info(struct world *w, struct agent_info *ret_i)
{
	workers_call(&w->site, ask_copy, w);
	*ret_i = w->info;
}

static void ask_info(struct worker *wk, void *arg)
{
	struct world *w = arg;

	(void)wk;
	agent_info(w->agent, &w->info);
}

void world_agent_info(struct world *w, struct agent_info *ret_i)
{
	workers_call(&w->site, ask_info, w);
	*ret_i = w->info;
}

unsigned world_ups(struct world *w)
{
	return w->ups;
}

unsigned world_ended(struct world *w, bool lost)
{
	return lost ? w->lost : w->clean;
}

uint64_t world_told(struct world *w, enum data_way way)
{
	return w->told[way];
}

uint64_t world_sent(struct world *w)
{
	return w->sent;
}

uint64_t world_read(struct world *w)
{
	return w->read;
}
