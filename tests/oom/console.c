/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP frame and the request path of the console with every allocation failed once: a request gets its answer, an answer that
 * says so, or its connection ends; nothing hangs, nothing leaks, and the next one is served as if nothing had been. The store runs in
 * its thread as ever: whatever of its allocations is hit is one more case.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "console/console.h"
#include "tests/oom/failing.h"

enum { PATIENCE_MS = 30000 };

struct world {
	struct service svc;
	struct console c;
	struct io io;
	int fd;
	char got[65536];
	size_t n;
	bool ended;
	char cookie[COOKIE_LEN], csrf[48];
};
static struct world w;

static const struct httpd_ops http_ops = { console_on_request, NULL };

static void on_bytes(struct io *io, int events)
{
	ssize_t n = recv(io->fd, w.got + w.n, sizeof(w.got) - w.n - 1, 0);

	(void)events;
	if (n > 0) {
		w.n += (size_t)n;
		w.got[w.n] = 0;
		if (!strstr(w.got, "event: hello"))
			return; /* of a stream that is enough */
	}
	w.ended = true;
	io_stop(io);
}

/* Head as it stands; what each request has is added. The answer is in w.got; "": the connection was ended without one. */
static void ask(const char *head, const char *body)
{
	char text[2048];
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	(void)snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: __Host-stile=%s\r\nX-Stile-CSRF: %s\r\n"
		       "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", head, w.cookie, w.csrf, strlen(body), body);
	assert_int_equal(send(fd[1], text, strlen(text), 0), strlen(text));
	w.n = 0;
	w.got[0] = 0;
	w.ended = false;
	oom_pause();
	assert_int_equal(io_start(&w.io, w.svc.loop, fd[1], IO_READ, on_bytes), 0);
	oom_resume();
	httpd_take(w.c.http, fd[0], &(struct addr){ 0 });
	support_run_until(w.svc.loop, &w.ended, PATIENCE_MS);
	close(fd[1]);
}

static unsigned status(void)
{
	return strncmp(w.got, "HTTP/1.1 ", 9) == 0 ? (unsigned)strtoul(w.got + 9, NULL, 10) : 0;
}

static int setup(void **state)
{
	static const struct text yaml = TEXT("store: { path: /nowhere }\nconsole: { listen: \"127.0.0.1:8443\" }\n");
	struct session *s;
	struct user *u;
	char err[256];

	(void)state;
	w.c.svc = &w.svc;
	(void)snprintf(w.svc.instance.runtime_dir, sizeof(w.svc.instance.runtime_dir), "/nowhere");
	assert_int_equal(cfg_load_text(yaml, "test", &console_cfg_root, &w.svc.cfg), 0);
	assert_int_equal(loop_new(&w.svc.loop), 0);
	assert_int_equal(store_open(&(struct store_options){ .path = ":memory:", .kinds = console_store_kinds }, err, sizeof(err), &w.svc.store), 0);
	assert_int_equal(metrics_new(console_metric_rows, CONSOLE_METRICS, 1, &w.c.metrics), 0);
	assert_int_equal(throttle_new(&w.c.throttle), 0);
	assert_int_equal(events_new(&w.c, EVENTS_KEEP_MS, &w.c.events), 0);
	assert_int_equal(accounts_new(&w.c, err, sizeof(err), &w.c.accounts), 0);
	assert_int_equal(backends_new(&w.c, &w.c.backends), 0);
	assert_int_equal(load_new(&w.c, &w.c.load), 0);
	assert_int_equal(httpd_new(w.svc.loop, NULL, NULL, &http_ops, &w.c, &w.c.http), 0);
	u = user_add(w.c.accounts, "alice", CONTROL_ADMIN, "*");
	s = session_add(w.c.accounts, u, &(struct addr){ 0 }, "test", w.cookie);
	assert_non_null(s);
	memcpy(w.csrf, s->csrf, sizeof(w.csrf));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	httpd_free(w.c.http);
	backends_free(w.c.backends);
	load_free(w.c.load);
	events_free(w.c.events);
	accounts_free(w.c.accounts);
	throttle_free(w.c.throttle);
	metrics_free(w.c.metrics);
	store_close(w.svc.store);
	loop_free(w.svc.loop);
	cfg_free(w.svc.cfg);
	return 0;
}

static void every_request_has_an_answer_or_an_end(void **state)
{
	static const struct {
		const char *head, *body;
		unsigned status; /* with memory */
	} rows[] = {
		{ "GET /api/v1/me", "", 200 },
		{ "PUT /api/v1/me", "{\"language\":\"de\"}", 200 },
		{ "GET /api/v1/services", "", 200 },
		{ "GET /api/v1/services/nobody/verbs/turn.status?args=%7B%7D", "", 404 },
		{ "GET /api/v1/users", "", 200 },
		{ "GET /api/v1/audit?limit=5", "", 200 },
		{ "POST /api/v1/users", "{\"name\":\"bob\",\"role\":\"king\",\"password\":\"long enough for it\"}", 400 },
		{ "GET /api/v1/system", "", 200 },
		{ "GET /api/v1/load", "", 200 },
		{ "GET /api/v1/events?topics=turn:x,*:log", "", 200 },
		{ "GET /api/v1/openapi.json", "", 200 },
		{ "GET /metrics", "", 200 },
		{ "GET /", "", 200 },
		{ "GET /api/v1/nothing", "", 404 },
		{ "DELETE /api/v1/tokens/none", "", 404 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (unsigned n = 1; oom_next(&n);) {
			ask(rows[i].head, rows[i].body);
			if (!oom_hit() && status() != rows[i].status)
				fail_msg("%s: %.200s", rows[i].head, w.got);
			assert_true(status() == 0 || status() == rows[i].status || status() >= 400);
		}
		ask(rows[i].head, rows[i].body);
		assert_int_equal(status(), rows[i].status);
	}
}

static void a_server_is_made_or_not(void **state)
{
	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		struct httpd *h = NULL;
		int r = httpd_new(w.svc.loop, NULL, NULL, &http_ops, &w.c, &h);

		assert_true(r == -ENOMEM || (r == 0 && !oom_hit()));
		httpd_free(h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_is_made_or_not),
		cmocka_unit_test(every_request_has_an_answer_or_an_end),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
