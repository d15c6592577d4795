/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: the request path of stile-console. The input is what a client sends, byte for byte, over a socket to the real
 * server with the real routes, accounts and an empty store: heads, targets, cookies, bodies, pipelined requests. "@COOKIE@"
 * and "@CSRF@" in it become an administrator's session, so that the handlers behind the login are reached.
 *
 * Services and passwords are not there, and no tool that could be started: nothing waits for anything but the loop.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "console/archives.h"
#include "console/console.h"
#include "console/runs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATIENCE_MS = 10000, INPUT_MAX = 1 << 17 };

struct bench {
	struct service svc;
	struct console c;
	struct io client;
	int fd; /* the client's end */
	struct timer late;
	char cookie[COOKIE_LEN], csrf[48];
};

static const struct httpd_ops http_ops = { console_on_request, NULL };

/* The client reads all of it, whatever it is. */
static void on_client(struct io *io, int events)
{
	struct bench *b = container_of(io, struct bench, client);
	char buf[1 << 14];
	ssize_t n = recv(b->fd, buf, sizeof(buf), 0);

	(void)events;
	if (n > 0 || (n < 0 && errno == EAGAIN))
		return;
	assert(httpd_counts(b->c.http)->conns == 0);
	loop_stop(b->svc.loop);
}

static void on_late(struct timer *t, uint64_t now)
{
	(void)t;
	(void)now;
	abort(); /* every connection comes to its end */
}

static struct bench *bench_new(void)
{
	static const struct text yaml = TEXT("store: { path: /nowhere }\nconsole: { listen: \"127.0.0.1:8443\", streams: 4 }\n");
	static struct bench b;
	struct httpd_limits limits = { .head_ms = 200, .idle_ms = 200, .stall_ms = 200 };
	struct session *s;
	struct user *u;
	char err[256];

	log_set_level(LOG_LVL_ERROR);
	b.c.svc = &b.svc;
	b.late.fire = on_late;
	(void)snprintf(b.svc.instance.runtime_dir, sizeof(b.svc.instance.runtime_dir), "/nowhere");
	if (cfg_load_text(yaml, "fuzz", &console_cfg_root, &b.svc.cfg) < 0 || loop_new(&b.svc.loop) < 0 ||
	    store_open(&(struct store_options){ .path = ":memory:", .kinds = console_store_kinds }, err, sizeof(err), &b.svc.store) != 0 ||
	    metrics_new(console_metric_rows, CONSOLE_METRICS, 1, &b.c.metrics) < 0 || throttle_new(&b.c.throttle) < 0 ||
	    events_new(&b.c, EVENTS_KEEP_MS, &b.c.events) < 0 || accounts_new(&b.c, err, sizeof(err), &b.c.accounts) < 0 ||
	    hasher_new(b.svc.loop, &b.c.hasher) < 0 || backends_new(&b.c, &b.c.backends) < 0 || load_new(&b.c, &b.c.load) < 0 ||
	    runs_new(b.svc.loop, &b.c.runs) < 0 || archives_new(&b.c, &b.c.archives) < 0 ||
	    httpd_new(b.svc.loop, &limits, NULL, &http_ops, &b.c, &b.c.http) < 0)
		abort();
	u = user_add(b.c.accounts, "alice", CONTROL_ADMIN, "*");
	s = u ? session_add(b.c.accounts, u, &(struct addr){ 0 }, "fuzz", b.cookie) : NULL;
	if (!s)
		abort();
	(void)snprintf(b.csrf, sizeof(b.csrf), "%s", s->csrf);
	return &b;
}

/* The marks replaced; malloc'd. */
static char *filled_in(const struct bench *b, const uint8_t *data, size_t size, size_t *ret_n)
{
	char *out = malloc(8 * size + 64);
	size_t n = 0;

	for (size_t i = 0; out && i < size;) {
		const char *with = size - i >= 8 && memcmp(data + i, "@COOKIE@", 8) == 0 ? b->cookie :
				   size - i >= 6 && memcmp(data + i, "@CSRF@", 6) == 0	 ? b->csrf :
											 NULL;

		if (with) {
			memcpy(out + n, with, strlen(with));
			n += strlen(with);
			i += with == b->cookie ? 8 : 6;
		} else {
			out[n++] = (char)data[i++];
		}
	}
	*ret_n = n;
	return out;
}

static void serve(struct bench *b, const char *p, size_t n)
{
	int fd[2], room = INPUT_MAX * 2;
	ssize_t sent;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) < 0)
		abort();
	(void)setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	sent = send(fd[1], p, n, MSG_NOSIGNAL);
	(void)sent; /* what does not fit is not sent */
	(void)shutdown(fd[1], SHUT_WR);
	httpd_take(b->c.http, fd[0], &(struct addr){ 0 });
	b->fd = fd[1];
	loop_timer_set(b->svc.loop, &b->late, PATIENCE_MS);
	if (io_start(&b->client, b->svc.loop, b->fd, IO_READ, on_client) < 0 || loop_run(b->svc.loop) != 0)
		abort();
	io_stop(&b->client);
	timer_stop(&b->late);
	close(b->fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bench *b;
	size_t n;
	char *p;

	if (!b)
		b = bench_new();
	if (size > INPUT_MAX)
		return 0;
	p = filled_in(b, data, size, &n);
	if (p)
		serve(b, p, n);
	free(p);
	return 0;
}
