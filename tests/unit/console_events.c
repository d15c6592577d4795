/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream of events of the console with a client that does not read: what it loses is counted to the last one, by number and by
 * bytes, and nothing is told twice. The real server, routes and accounts, over a socket pair; tests/console/live.py has the
 * rest with real services.
 */
#include "tests/unit/support.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "console/console.h"

struct world {
	struct service svc;
	struct console c;
	struct io io;
	int fd;
	char *got;
	size_t n, cap;
	const char *want;
	bool come;
	char cookie[COOKIE_LEN];
};

static const struct httpd_ops http_ops = { console_on_request, NULL };

static void on_bytes(struct io *io, int events)
{
	struct world *w = container_of(io, struct world, io);
	ssize_t n;

	(void)events;
	for (;;) {
		if (w->cap - w->n < 65536) {
			w->cap += 1 << 20;
			w->got = realloc(w->got, w->cap);
			assert_non_null(w->got);
		}
		n = recv(w->fd, w->got + w->n, w->cap - w->n - 1, 0);
		if (n <= 0)
			break;
		w->n += (size_t)n;
	}
	w->got[w->n] = 0;
	/* The end is looked for at the end: what is wanted is the last thing that comes. */
	if (w->want && memmem(w->got + (w->n > 4096 ? w->n - 4096 : 0), MIN(w->n, (size_t)4096), w->want, strlen(w->want)))
		w->come = true;
}

static int setup_keeping(void **state, uint64_t keep_ms)
{
	static const struct text yaml = TEXT("store: { path: /nowhere }\nconsole: { listen: \"127.0.0.1:8443\" }\n");
	struct world *w = calloc(1, sizeof(*w));
	struct user *u;
	char err[256];

	w->c.svc = &w->svc;
	assert_int_equal(cfg_load_text(yaml, "test", &console_cfg_root, &w->svc.cfg), 0);
	assert_int_equal(loop_new(&w->svc.loop), 0);
	assert_int_equal(store_open(&(struct store_options){ .path = ":memory:", .kinds = console_store_kinds }, err, sizeof(err), &w->svc.store), 0);
	assert_int_equal(metrics_new(console_metric_rows, CONSOLE_METRICS, 1, &w->c.metrics), 0);
	assert_int_equal(events_new(&w->c, keep_ms, &w->c.events), 0);
	assert_int_equal(accounts_new(&w->c, err, sizeof(err), &w->c.accounts), 0);
	assert_int_equal(backends_new(&w->c, &w->c.backends), 0);
	assert_int_equal(httpd_new(w->svc.loop, NULL, NULL, &http_ops, &w->c, &w->c.http), 0);
	u = user_add(w->c.accounts, "alice", CONTROL_ADMIN, "*");
	assert_non_null(session_add(w->c.accounts, u, &(struct addr){ 0 }, "test", w->cookie));
	store_flush(w->svc.store);
	support_run_for(w->svc.loop, 20); /* the session is kept, and that is told */
	*state = w;
	return 0;
}

static int setup(void **state)
{
	return setup_keeping(state, EVENTS_KEEP_MS);
}

static int setup_forgetful(void **state)
{
	return setup_keeping(state, 1000);
}

static int teardown(void **state)
{
	struct world *w = *state;

	io_stop(&w->io);
	if (w->fd > 0)
		close(w->fd);
	httpd_free(w->c.http);
	backends_free(w->c.backends);
	events_free(w->c.events);
	accounts_free(w->c.accounts);
	metrics_free(w->c.metrics);
	store_close(w->svc.store);
	loop_free(w->svc.loop);
	cfg_free(w->svc.cfg);
	free(w->got);
	free(w);
	return 0;
}

static void until(struct world *w, const char *want)
{
	w->want = want;
	w->come = false;
	assert_int_equal(io_change(&w->io, IO_READ), 0);
	support_run_until(w->svc.loop, &w->come, 60000);
	assert_int_equal(io_change(&w->io, 0), 0);
}

static void open_stream_at(struct world *w, const char *last)
{
	char head[512];
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
	w->fd = fd[1];
	snprintf(head, sizeof(head), "GET /api/v1/events?topics=turn:sessions HTTP/1.1\r\nHost: localhost\r\nCookie: __Host-stile=%s\r\nLast-Event-ID: %s\r\n\r\n",
		 w->cookie, last);
	assert_int_equal(send(w->fd, head, strlen(head), 0), strlen(head));
	assert_int_equal(io_start(&w->io, w->svc.loop, w->fd, IO_READ, on_bytes), 0);
	httpd_take(w->c.http, fd[0], &(struct addr){ 0 });
	until(w, "event: hello");
}

static void open_stream(struct world *w)
{
	open_stream_at(w, "");
}

static void publish(struct world *w, unsigned from, unsigned n, size_t size)
{
	char *fill = calloc(1, size + 1);

	memset(fill, 'x', size);
	for (unsigned i = from; i < from + n; i++) {
		json_t *data = json_pack("{s:i, s:s}", "i", (int)i, "fill", fill);

		events_publish(w->c.events, "turn", "sessions", data);
		json_decref(data);
	}
	free(fill);
}

/* The number behind this word, if the text at p begins with it. Of megabytes only the first bytes are looked at. */
static bool number_behind(const char *p, const char *word, unsigned *ret_n)
{
	if (strncmp(p, word, strlen(word)) != 0)
		return false;
	*ret_n = (unsigned)strtoul(p + strlen(word), NULL, 10);
	return true;
}

/* Each event is there or is counted as lost, in order and once. Returns how many were lost. */
static unsigned reckon(const struct world *w, unsigned all)
{
	static const char begin[] = "\nevent: ";
	unsigned next = 0, lost = 0, n;

	for (const char *p = w->got; (p = memmem(p, (size_t)(w->got + w->n - p), begin, strlen(begin)));) {
		p += strlen(begin);
		if (number_behind(p, "lost\ndata: {\"lost\":", &n)) {
			assert_true(n > 0);
			lost += n;
			next += n;
		} else if (number_behind(p, "turn:sessions\ndata: {\"i\":", &n)) {
			assert_int_equal(n, next);
			next++;
		}
	}
	assert_int_equal(next, all);
	return lost;
}

static void who_does_not_read_is_told_how_many_events_he_lost(void **state)
{
	struct world *w = *state;

	open_stream(w);
	publish(w, 0, 20000, 20);
	until(w, "{\"i\":19999,");
	assert_int_equal(reckon(w, 20000), 20000 - 8192);
	/* And again, with some of them on their way already. */
	for (unsigned i = 0; i < 20; i++) {
		publish(w, 20000 + 1000 * i, 1000, 20);
		support_run_for(w->svc.loop, 1);
	}
	until(w, "{\"i\":39999,");
	assert_true(reckon(w, 40000) > 20000 - 8192);
}

static void large_events_are_bounded_by_their_bytes(void **state)
{
	struct world *w = *state;

	open_stream(w);
	publish(w, 0, 250, 100 << 10); /* 25 MB into a ring of 16 */
	publish(w, 250, 1, 1);
	until(w, "{\"i\":250,");
	assert_in_range(reckon(w, 251), 80, 110);
}

static void what_a_service_lost_is_passed_on(void **state)
{
	struct world *w = *state;

	open_stream(w);
	events_lost(w->c.events, "sip", 7); /* nobody here asked for it */
	events_lost(w->c.events, "turn", 5);
	publish(w, 0, 1, 1);
	until(w, "{\"i\":0,");
	assert_non_null(strstr(w->got, "event: lost\ndata: {\"lost\":5,\"service\":\"turn\"}"));
	assert_null(strstr(w->got, "\"sip\""));
}

static void come_back(struct world *w, const char *last)
{
	close(w->fd);
	io_stop(&w->io);
	support_run_for(w->svc.loop, 20);
	w->n = 0;
	open_stream_at(w, last);
}

static void who_was_away_finds_what_has_had_its_time_counted(void **state)
{
	struct world *w = *state;
	char place[64];
	const char *id;

	open_stream(w);
	id = strstr(w->got, "id: ");
	assert_int_equal(sscanf(id, "id: %63s", place), 1);
	publish(w, 0, 10, 20);
	come_back(w, place);
	until(w, "{\"i\":9,");
	assert_int_equal(reckon(w, 10), 0);
	support_run_for(w->svc.loop, 1100);
	publish(w, 10, 1, 20);
	come_back(w, place);
	until(w, "{\"i\":10,");
	assert_int_equal(reckon(w, 11), 10);
}

static void the_stream_of_a_session_ends_with_its_time(void **state)
{
	struct world *w = *state;
	struct session *s = list_entry(w->c.accounts->sessions.next, struct session, node);

	open_stream(w);
	accounts_sweep(w->c.accounts);
	publish(w, 0, 1, 1);
	until(w, "{\"i\":0,");
	s->created_at -= (int64_t)console_config(&w->c)->session_life_ms + 1;
	accounts_sweep(w->c.accounts);
	assert_int_equal(w->c.accounts->n_sessions, 0);
	until(w, "\r\n0\r\n\r\n"); /* the last chunk */
	store_flush(w->svc.store);
	support_run_for(w->svc.loop, 20); /* what became of the session in the store is told */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_does_not_read_is_told_how_many_events_he_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(large_events_are_bounded_by_their_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_service_lost_is_passed_on, setup, teardown),
		cmocka_unit_test_setup_teardown(who_was_away_finds_what_has_had_its_time_counted, setup_forgetful, teardown),
		cmocka_unit_test_setup_teardown(the_stream_of_a_session_ends_with_its_time, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
