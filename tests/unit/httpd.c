/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP frame over loopback: a raw client and the server in one loop, one conversation per test. The handler is told by the
 * path what to do, so that a test reads as what a client sends and what it gets.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/httpd.h"

enum { CLIENTS = 4, BIG = 3 << 20, BODY_MAX = 1000 };

struct client {
	struct io io;
	int fd;
	char *got;
	size_t n, cap;
	const char *want; /* done when this has come */
	bool done, ended;
};
struct scene {
	struct support_dir dir;
	struct loop *l;
	struct httpd *h;
	struct httpd_limits limits;
	struct acceptor *a;
	struct addr at;
	struct client c[CLIENTS];
	/* of the handler */
	struct httpd_rq *waiting;
	unsigned requests, gone, refused[HTTPD_REFUSALS];
	bool told, cut; /* on_gone, on_refused */
	bool narrow;	/* clients with a small window */
	char refusal[200];
	size_t streamed, sunk, sink_takes;
	char *big;
};

/* ---- the handler ---- */

static void on_gone(struct httpd_rq *rq, void *arg)
{
	struct scene *sc = arg;

	if (rq == sc->waiting)
		sc->waiting = NULL;
	sc->gone++;
	sc->told = true;
}

static void echo(struct httpd_rq *rq, struct text body, void *arg)
{
	(void)arg;
	httpd_add(rq, "X-Length", "%zu", body.n);
	httpd_reply(rq, 200, "application/octet-stream", body);
}

static ssize_t pull_count(struct httpd_rq *rq, uint8_t *p, size_t n, void *arg)
{
	struct scene *sc = arg;

	if (sc->streamed == 3)
		return HTTPD_END;
	if (sc->streamed++ == 1) {
		sc->waiting = rq; /* the second piece has to be waited for */
		return 0;
	}
	return snprintf((char *)p, n, "piece %zu\n", sc->streamed);
}

static ssize_t pull_big(struct httpd_rq *rq, uint8_t *p, size_t n, void *arg)
{
	struct scene *sc = arg;

	(void)rq;
	if (sc->streamed == BIG)
		return HTTPD_END;
	n = MIN(n, BIG - sc->streamed);
	memcpy(p, sc->big + sc->streamed, n);
	sc->streamed += n;
	return (ssize_t)n;
}

static ssize_t pull_broken(struct httpd_rq *rq, uint8_t *p, size_t n, void *arg)
{
	(void)rq;
	(void)p;
	(void)n;
	(void)arg;
	return HTTPD_BROKEN;
}

static size_t sink_bytes(struct httpd_rq *rq, const uint8_t *p, size_t n, void *arg)
{
	struct scene *sc = arg;
	size_t take = MIN(n, sc->sink_takes);

	assert_memory_equal(p, sc->big + sc->sunk, take);
	sc->sunk += take;
	if (take < n)
		sc->waiting = rq;
	return take;
}

static void sink_end(struct httpd_rq *rq, void *arg)
{
	(void)arg;
	httpd_reply(rq, 201, NULL, TEXT(""));
}

static const struct httpd_source count_source = { pull_count }, big_source = { pull_big }, broken_source = { pull_broken };
static const struct httpd_sink sink = { sink_bytes, sink_end };

static void about(struct httpd_rq *rq)
{
	char q[64] = "", subject[256] = "", sha[65] = "", text[1024];
	int r = httpd_query_value(httpd_query(rq), "q", q, sizeof(q));

	(void)httpd_client_cert(rq, subject, sizeof(subject), sha);
	(void)snprintf(text, sizeof(text), "%.*s|%.*s|%.*s|%d|%s|%u|%d|%s", TEXT_FMT(httpd_method(rq)), TEXT_FMT(httpd_path(rq)),
		       TEXT_FMT(httpd_query(rq)), r, q, httpd_fields(rq, "cookie"), httpd_over_tls(rq), subject);
	httpd_reply(rq, 200, "text/plain", text_of(text));
}

static void on_request(struct httpd_rq *rq, void *arg)
{
	struct scene *sc = arg;
	struct text path = httpd_path(rq);

	sc->requests++;
	httpd_watch(rq, on_gone, sc);
	if (text_eq(path, TEXT("/echo")))
		httpd_body_whole(rq, BODY_MAX, echo);
	else if (text_eq(path, TEXT("/later")))
		sc->waiting = rq;
	else if (text_eq(path, TEXT("/pieces")))
		httpd_reply_stream(rq, 200, "text/plain", UINT64_MAX, &count_source);
	else if (text_eq(path, TEXT("/big")))
		httpd_reply_stream(rq, 200, NULL, BIG, &big_source);
	else if (text_eq(path, TEXT("/broken")))
		httpd_reply_stream(rq, 200, NULL, 100, &broken_source);
	else if (text_eq(path, TEXT("/sink")))
		httpd_body_stream(rq, &sink);
	else if (text_eq(path, TEXT("/bad-field"))) {
		httpd_add(rq, "X-Bad", "a\r\nSet-Cookie: b");
		httpd_reply_static(rq, 200, NULL, TEXT("never"));
	} else
		about(rq);
}

static void on_refused(enum httpd_refusal why, const struct addr *peer, const char *text, void *arg)
{
	struct scene *sc = arg;

	assert_non_null(httpd_refusal_names[why]);
	assert_true(addr_family(peer) == AF_INET || addr_family(peer) == AF_INET6);
	sc->refused[why]++;
	sc->cut = true;
	(void)snprintf(sc->refusal, sizeof(sc->refusal), "%s", text);
}

static const struct httpd_ops ops = { on_request, on_refused };

/* ---- clients ---- */

static void on_client(struct io *io, int events)
{
	struct client *c = container_of(io, struct client, io);
	ssize_t n;

	(void)events;
	if (c->n + 65536 > c->cap) {
		c->cap = 2 * c->cap + 65536 + 1;
		c->got = realloc(c->got, c->cap);
		assert_non_null(c->got);
	}
	n = read(c->fd, c->got + c->n, 65536);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		c->ended = c->done = true;
		io_stop(io);
		return;
	}
	c->n += (size_t)n;
	c->got[c->n] = 0;
	if (c->want && memmem(c->got, c->n, c->want, strlen(c->want)))
		c->done = true;
}

static void hang_up(struct client *c)
{
	io_stop(&c->io);
	if (c->fd > 0)
		close(c->fd);
	free(c->got);
	*c = (struct client){ 0 };
}

static struct client *dial(struct scene *sc, unsigned i)
{
	struct client *c = &sc->c[i];

	hang_up(c);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(c->fd >= 0);
	if (sc->narrow)
		assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &(int){ 4096 }, sizeof(int)), 0);
	assert_int_equal(connect(c->fd, &sc->at.sa, addr_len(&sc->at)), 0);
	assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(io_start(&c->io, sc->l, c->fd, IO_READ, on_client), 0);
	return c;
}

static void say(struct scene *sc, struct client *c, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(c->fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN) {
			support_run_for(sc->l, 1);
			continue;
		}
		if (sent < 0)
			return; /* the server had enough; the test looks at what it says */
		p += sent;
		n -= (size_t)sent;
	}
}

static void tell(struct scene *sc, struct client *c, const char *request)
{
	free(c->got);
	c->got = NULL;
	c->n = c->cap = 0;
	say(sc, c, request, strlen(request));
}

static void until(struct scene *sc, struct client *c, const char *want)
{
	c->want = want;
	c->done = c->ended || (want && c->n && memmem(c->got, c->n, want, strlen(want)));
	support_run_until(sc->l, &c->done, 20000);
	assert_true(!want || (c->n && memmem(c->got, c->n, want, strlen(want))));
}

static void ask(struct scene *sc, struct client *c, const char *request, const char *want)
{
	tell(sc, c, request);
	until(sc, c, want);
}

static void has(const struct client *c, const char *part)
{
	if (!c->n || !strstr(c->got, part))
		fail_msg("no \"%s\" in \"%.300s\"", part, c->n ? c->got : "");
}

/* ---- a scene ---- */

static void open_server(struct scene *sc, struct httpd_tls *tls)
{
	struct addr at = addr_v4(INADDR_LOOPBACK, 0);
	socklen_t n = sizeof(sc->at);
	int fd;

	assert_int_equal(httpd_new(sc->l, &sc->limits, tls, &ops, sc, &sc->h), 0);
	assert_int_equal(stream_listen_socket(&at, &(struct listen_options){ 0 }, &fd), 0);
	assert_int_equal(getsockname(fd, &sc->at.sa, &n), 0);
	assert_int_equal(acceptor_new(sc->l, fd, &httpd_acceptor, sc->h, &sc->a), 0);
}

static int setup(void **state)
{
	struct scene *sc = calloc(1, sizeof(*sc));

	assert_non_null(sc);
	support_dir_make(&sc->dir);
	assert_int_equal(loop_new(&sc->l), 0);
	sc->big = malloc(BIG);
	assert_non_null(sc->big);
	for (size_t i = 0; i < BIG; i++)
		sc->big[i] = (char)(i * 2654435761u >> 13);
	sc->sink_takes = SIZE_MAX;
	*state = sc;
	return 0;
}

static int teardown(void **state)
{
	struct scene *sc = *state;

	acceptor_free(sc->a);
	httpd_free(sc->h);
	assert_int_equal(sc->gone, sc->requests); /* each is told, whatever its end */
	for (unsigned i = 0; i < CLIENTS; i++)
		hang_up(&sc->c[i]);
	loop_free(sc->l);
	support_dir_remove(&sc->dir);
	free(sc->big);
	free(sc);
	return 0;
}

/* ---- conversations ---- */

static void a_request_is_given_as_it_came(void **state)
{
	struct scene *sc = *state;
	struct client *c;

	open_server(sc, NULL);
	c = dial(sc, 0);
	ask(sc, c, "GET /a%2fb%00?q=x%20y+z&r=%3c HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n", "|2|0|");
	has(c, "HTTP/1.1 200 OK\r\n");
	has(c, "GET|/a%2fb%00|q=x%20y+z&r=%3c|0|x y z|2|0|");
	/* The connection lives on. */
	ask(sc, c, "GET /?q=1&q=2 HTTP/1.1\r\nHost: h\r\n\r\n", "|0|0|");
	has(c, "GET|/|q=1&q=2|-17|1|0|0|");
	ask(sc, c, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "\r\n\r\n");
	has(c, "Content-Length: ");
	assert_int_equal(httpd_counts(sc->h)->requests, 3);
	assert_int_equal(httpd_counts(sc->h)->accepted, 1);
}

static void percent_decoding_is_strict(void **state)
{
	static const struct {
		const char *in, *out;
		int r;
	} rows[] = { { "a%41b", "aAb", 0 }, { "%", "", -EINVAL },     { "%4", "", -EINVAL },  { "%4g", "", -EINVAL },
		     { "%00", "", -EINVAL }, { "%e2%82%ac", "€", 0 }, { "a+b", "a b", 0 },	 { "12345678", "", -ENOSPC },
		     { "", "", 0 },	     { "1234567", "1234567", 0 } };
	char out[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(httpd_decode(text_of(rows[i].in), true, out, sizeof(out)), rows[i].r);
		if (rows[i].r == 0)
			assert_string_equal(out, rows[i].out);
	}
	assert_int_equal(httpd_decode(TEXT("a+b"), false, out, sizeof(out)), 0);
	assert_string_equal(out, "a+b");
}

static void a_body_comes_whole_or_is_refused_with_413(void **state)
{
	struct scene *sc = *state;
	struct client *c;

	open_server(sc, NULL);
	c = dial(sc, 0);
	ask(sc, c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "hello");
	has(c, "X-Length: 5\r\n");
	ask(sc, c, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde");
	ask(sc, c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "X-Length: 0\r\n");
	/* Too large, but small enough to be read past: the connection goes on. */
	tell(sc, c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n");
	say(sc, c, sc->big, 5000);
	until(sc, c, "HTTP/1.1 413");
	ask(sc, c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET|/|");
	/* In chunks nobody says how much it will be. */
	tell(sc, c, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n");
	say(sc, c, sc->big, 5000);
	say(sc, c, "\r\n0\r\n\r\n", 7);
	until(sc, c, "HTTP/1.1 413");
	assert_int_equal(sc->refused[HTTPD_BIG_BODY], 2);
	/* Who asks first is told before it sends. */
	ask(sc, c, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n", "HTTP/1.1 413");
	until(sc, c, NULL);
}

static void a_body_that_nobody_wants_does_not_go_on_for_ever(void **state)
{
	struct scene *sc = *state;
	struct client *c;

	open_server(sc, NULL);
	c = dial(sc, 0);
	tell(sc, c, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n");
	say(sc, c, sc->big, 2 << 20);
	until(sc, c, NULL);
	assert_true(c->ended);
}

static void an_answer_may_come_later(void **state)
{
	struct scene *sc = *state;
	struct client *c;

	open_server(sc, NULL);
	c = dial(sc, 0);
	for (int i = 0; i < 2; i++) { /* with a body that is not read before, too */
		tell(sc, c, i ? "POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" : "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
		while (!sc->waiting)
			support_run_for(sc->l, 1);
		support_run_for(sc->l, 30);
		assert_int_equal(c->n, 0);
		httpd_add(sc->waiting, "X-Late", "yes");
		httpd_reply(sc->waiting, 404, "text/plain", TEXT("not here"));
		until(sc, c, "not here");
		has(c, "X-Late: yes\r\n");
	}
}

static void a_stream_waits_for_its_source(void **state)
{
	struct scene *sc = *state;
	struct client *c;

	open_server(sc, NULL);
	c = dial(sc, 0);
	ask(sc, c, "GET /pieces HTTP/1.1\r\nHost: h\r\n\r\n", "piece 1\n");
	has(c, "Transfer-Encoding: chunked\r\n");
	while (!sc->waiting)
		support_run_for(sc->l, 1);
	httpd_wake(sc->waiting);
	until(sc, c, "0\r\n\r\n");
	has(c, "piece 3\n");
	/* A client that goes while it waits is noticed. */
	sc->streamed = 0;
	sc->waiting = NULL;
	sc->told = false;
	ask(sc, c, "GET /pieces HTTP/1.1\r\nHost: h\r\n\r\n", "piece 1\n");
	while (!sc->waiting)
		support_run_for(sc->l, 1);
	hang_up(c);
	support_run_until(sc->l, &sc->told, 20000);
}

static void a_large_answer_arrives_byte_for_byte(void **state)
{
	struct scene *sc = *state;
	const char *body;
	struct client *c;

	open_server(sc, NULL);
	c = dial(sc, 0);
	ask(sc, c, "GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", NULL);
	body = strstr(c->got, "\r\n\r\n") + 4;
	assert_int_equal(c->n - (size_t)(body - c->got), BIG);
	assert_memory_equal(body, sc->big, BIG);
	c = dial(sc, 1);
	ask(sc, c, "GET /broken HTTP/1.1\r\nHost: h\r\n\r\n", NULL);
	assert_true(c->ended);
}

static void a_large_body_waits_for_its_sink(void **state)
{
	struct scene *sc = *state;
	struct client *c;

	open_server(sc, NULL);
	c = dial(sc, 0);
	sc->sink_takes = 1000;
	tell(sc, c, "PUT /sink HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
	say(sc, c, sc->big, 100000);
	while (!sc->waiting)
		support_run_for(sc->l, 1);
	support_run_for(sc->l, 30);
	assert_int_equal(sc->sunk, 1000); /* no more than it took */
	sc->sink_takes = SIZE_MAX;
	httpd_body_go(sc->waiting);
	until(sc, c, "HTTP/1.1 201");
	assert_int_equal(sc->sunk, 100000);
}

static void fields_of_an_answer_cannot_be_split(void **state)
{
	struct scene *sc = *state;
	struct client *c;

	open_server(sc, NULL);
	c = dial(sc, 0);
	ask(sc, c, "GET /bad-field HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 500");
	assert_null(strstr(c->got, "Set-Cookie"));
}

static void bad_heads_are_refused(void **state)
{
	static const char *const heads[] = {
		"GET\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n", /* no Host */
		"GET / HTTP/9.9\r\nHost: h\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
	};
	struct scene *sc = *state;
	char *long_head = malloc(70000);
	struct client *c;

	assert_non_null(long_head);
	open_server(sc, NULL);
	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		c = dial(sc, 0);
		ask(sc, c, heads[i], NULL);
		assert_true(c->ended);
		assert_true(c->n == 0 || strncmp(c->got + 8, " 4", 2) == 0 || strncmp(c->got + 8, " 505", 4) == 0);
	}
	assert_int_equal(sc->requests, 0);
	/* Larger than we want, and larger than there is room for. */
	for (unsigned i = 0; i < 2; i++) {
		memset(long_head, 'a', 69999);
		memcpy(long_head, "GET / HTTP/1.1\r\nHost: h\r\nX-Long: ", 33);
		memcpy(long_head + (i ? 69900 : 17000), "\r\n\r\n", 5);
		c = dial(sc, 1 + i);
		ask(sc, c, long_head, "HTTP/1.1 431");
	}
	assert_int_equal(sc->refused[HTTPD_BIG_HEAD], 1);
	free(long_head);
}

static void slow_clients_are_cut(void **state)
{
	struct scene *sc = *state;
	struct client *c;

	sc->limits = (struct httpd_limits){ .head_ms = 500, .stall_ms = 500 };
	open_server(sc, NULL);
	c = dial(sc, 0);
	for (int i = 0; i < 1000 && !c->ended; i++) { /* a byte now and then does not prolong it */
		say(sc, c, i ? "a" : "GET /", i ? 1 : 5);
		support_run_for(sc->l, 20);
	}
	assert_true(c->ended);
	assert_int_equal(sc->refused[HTTPD_SLOW_HEAD], 1);
	c = dial(sc, 1);
	tell(sc, c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n");
	for (int i = 0; i < 1000 && !c->ended; i++) {
		say(sc, c, "b", 1);
		support_run_for(sc->l, 20);
	}
	assert_true(c->ended);
	assert_int_equal(sc->refused[HTTPD_SLOW_BODY], 1);
	/* Asks for a lot and reads nothing of it. */
	sc->narrow = true;
	c = dial(sc, 2);
	io_stop(&c->io);
	tell(sc, c, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
	sc->cut = false;
	support_run_until(sc->l, &sc->cut, 20000);
	assert_int_equal(sc->refused[HTTPD_SLOW_READER], 1);
}

static void a_body_that_breaks_off_is_noticed_at_once(void **state)
{
	static const char *const bodies[] = { "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it",
					      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
					      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe" };
	struct scene *sc = *state;

	sc->limits.stall_ms = 120000;
	open_server(sc, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(bodies); i++) {
		struct client *c = dial(sc, i);

		tell(sc, c, bodies[i]);
		support_run_for(sc->l, 50); /* the server has read all of it, and waits */
		sc->told = false;
		assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
		support_run_until(sc->l, &sc->told, 20000);
	}
	/* Whoever sends all of it may close his side. */
	struct client *c = dial(sc, 3);

	tell(sc, c, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
	support_run_for(sc->l, 50);
	say(sc, c, "lo", 2);
	assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
	until(sc, c, "hello");
}

/* However much of what it says has come when its client ends his way: what is whole is answered, and nothing waits for the rest. */
static void who_says_nothing_more_is_not_waited_for(void **state)
{
	static const char one[] = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst",
			  *const all[] = { "", "GE", "POST /echo HTTP/1.1\r\nHos",
					   "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nsecond",
					   "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlastGET /" };
	struct scene *sc = *state;

	sc->limits = (struct httpd_limits){ .head_ms = 120000, .idle_ms = 120000 };
	open_server(sc, NULL);
	for (unsigned i = 0; i < 2 * ARRAY_LEN(all); i++) {
		const char *more = all[i / 2];
		struct client *c = dial(sc, 0);
		bool early = i % 2; /* the end comes with the bytes, not after them */

		tell(sc, c, one);
		say(sc, c, more, strlen(more));
		if (!early)
			support_run_for(sc->l, 50);
		assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
		support_run_until(sc->l, &c->ended, 20000);
		has(c, "first");
		if (strstr(more, "POST") && strstr(more, "Content"))
			has(c, strstr(more, "second") ? "second" : "last");
	}
	assert_int_equal(httpd_counts(sc->h)->conns, 0);
}

static void a_quiet_stream_is_not_slow(void **state)
{
	struct scene *sc = *state;
	struct client *c;

	sc->limits = (struct httpd_limits){ .head_ms = 400, .stall_ms = 200, .idle_ms = 400 };
	open_server(sc, NULL);
	c = dial(sc, 0);
	ask(sc, c, "GET /pieces HTTP/1.1\r\nHost: h\r\n\r\n", "piece 1\n");
	support_run_for(sc->l, 600);
	assert_false(c->ended);
	(void)poll(NULL, 0, 100); /* it is woken in the moment in which it is looked at */
	httpd_wake(sc->waiting);
	until(sc, c, "0\r\n\r\n");
	until(sc, c, NULL); /* and then it is idle */
	assert_int_equal(sc->refused[HTTPD_SLOW_READER] + sc->refused[HTTPD_SLOW_HEAD], 0);
}

static void connections_are_counted(void **state)
{
	struct scene *sc = *state;
	struct client *c;

	sc->limits = (struct httpd_limits){ .conns = 2 };
	open_server(sc, NULL);
	ask(sc, dial(sc, 0), "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET|");
	ask(sc, dial(sc, 1), "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET|");
	c = dial(sc, 2);
	until(sc, c, NULL);
	assert_true(c->ended);
	assert_int_equal(sc->refused[HTTPD_FULL], 1);
	ask(sc, &sc->c[0], "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", NULL);
	ask(sc, dial(sc, 3), "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET|");
	assert_int_equal(httpd_counts(sc->h)->conns, 2);
}

static void an_ipv6_network_is_one_address(void **state)
{
	static const char *const from[] = { "2001:db8::1", "2001:db8::2", "2001:db8::3",
					    "2001:db8:0:1::1" };
	struct scene *sc = *state;
	int fd[ARRAY_LEN(from)][2];

	sc->limits = (struct httpd_limits){ .conns_per_addr = 2 };
	open_server(sc, NULL);
	for (size_t i = 0; i < ARRAY_LEN(from); i++) {
		struct addr peer;
		assert_int_equal(addr_parse(text_of(from[i]), (uint16_t)(1000 + i), &peer), 0);
		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd[i]), 0);
		httpd_take(sc->h, fd[i][0], &peer);
	}
	assert_int_equal(sc->refused[HTTPD_FULL_OF_ADDR], 1);
	assert_int_equal(httpd_counts(sc->h)->conns, 3);
	for (size_t i = 0; i < ARRAY_LEN(from); i++)
		close(fd[i][1]);
}

static void two_servers_count_their_connections_together(void **state)
{
	static const char *const from[] = { "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3" };
	struct scene *sc = *state;
	struct httpd *other;
	int fd[ARRAY_LEN(from)][2];

	sc->limits = (struct httpd_limits){ .conns = 3, .conns_per_addr = 2 };
	open_server(sc, NULL);
	assert_int_equal(httpd_new(sc->l, &sc->limits, NULL, &ops, sc, &other), 0);
	httpd_count_together(sc->h, other);
	for (size_t i = 0; i < ARRAY_LEN(from); i++) {
		struct addr peer;
		assert_int_equal(addr_parse(text_of(from[i]), (uint16_t)(1000 + i), &peer), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd[i]), 0);
		httpd_take(i % 2 ? other : sc->h, fd[i][0], &peer);
	}
	assert_int_equal(sc->refused[HTTPD_FULL_OF_ADDR], 1);
	assert_int_equal(sc->refused[HTTPD_FULL], 1);
	assert_int_equal(httpd_counts(sc->h)->conns, 1);
	assert_int_equal(httpd_counts(other)->conns, 2);
	httpd_free(other);
	for (size_t i = 0; i < ARRAY_LEN(from); i++)
		close(fd[i][1]);
}

static void a_drain_ends_idle_connections_and_lets_answers_finish(void **state)
{
	struct scene *sc = *state;
	struct client *idle, *busy;

	open_server(sc, NULL);
	idle = dial(sc, 0);
	ask(sc, idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET|");
	busy = dial(sc, 1);
	tell(sc, busy, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
	while (!sc->waiting)
		support_run_for(sc->l, 1);
	httpd_drain(sc->h);
	until(sc, idle, NULL);
	assert_true(idle->ended);
	assert_false(busy->ended);
	httpd_reply(sc->waiting, 200, "text/plain", TEXT("done"));
	until(sc, busy, "done");
	until(sc, busy, NULL);
	assert_int_equal(httpd_counts(sc->h)->conns, 0);
}

static void what_waits_is_told_when_the_server_ends(void **state)
{
	struct scene *sc = *state;

	open_server(sc, NULL);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const paths[] = { "later", "pieces", "sink" };
		char request[100];

		sc->waiting = NULL;
		sc->sink_takes = 0;
		(void)snprintf(request, sizeof(request), "PUT /%s HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n012345678", paths[i]);
		memcpy(sc->big, "012345678", 9);
		tell(sc, dial(sc, i), request);
		while (!sc->waiting)
			support_run_for(sc->l, 1);
	}
	assert_int_equal(sc->gone, 0); /* teardown() frees the server and counts */
}

/* ---- TLS ---- */

static size_t on_tls_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct client *c = arg;

	(void)s;
	c->got = realloc(c->got, c->n + n + 1);
	assert_non_null(c->got);
	memcpy(c->got + c->n, p, n);
	c->n += n;
	c->got[c->n] = 0;
	c->done = c->want && strstr(c->got, c->want);
	return n;
}

static void on_tls_open(struct stream *s, void *arg)
{
	(void)arg;
	assert_int_equal(stream_write(s, "GET /tls HTTP/1.1\r\nHost: h\r\n\r\n", 30), 0);
}

static void on_tls_close(struct stream *s, int err, const char *why, void *arg)
{
	struct client *c = arg;

	(void)s;
	(void)err;
	(void)why;
	c->done = c->ended = true;
}

static const struct stream_ops tls_client = { on_tls_open, on_tls_data, NULL, on_tls_close };

/* A GET over TLS with this certificate, or none, trusting the server's. */
static void tls_get(struct scene *sc, unsigned i, const char *trust, const char *cert)
{
	struct tls_options o = { .client = true, .verify_peer = true, .ca_file = support_path(&sc->dir, trust) };
	_cleanup_(tls_ctx_unrefp) struct tls_ctx *ctx = NULL;
	_cleanup_(stream_freep) struct stream *s = NULL;
	char err[TLS_ERRLEN], file[SUPPORT_PATH], key[SUPPORT_PATH];
	struct stream_options so = { .server_name = "localhost" };

	if (cert) {
		(void)snprintf(file, sizeof(file), "%s/%s.pem", sc->dir.path, cert);
		(void)snprintf(key, sizeof(key), "%s/%s.key", sc->dir.path, cert);
		o.cert_file = file;
		o.key_file = key;
	}
	assert_int_equal(tls_ctx_new(&o, err, &ctx), 0);
	so.tls = ctx;
	sc->c[i].want = "tls|";
	assert_int_equal(stream_connect(sc->l, &sc->at, &so, &tls_client, &sc->c[i], &s), 0);
	support_run_until(sc->l, &sc->c[i].done, 20000);
}

static struct httpd_tls *server_tls(struct scene *sc, const char *name, const char *clients)
{
	char cert[SUPPORT_PATH], key[SUPPORT_PATH], ca[SUPPORT_PATH], err[256] = "";
	struct httpd_tls_options o = { .cert_file = cert, .key_file = key, .client_ca_file = clients ? ca : NULL };
	struct httpd_tls *t = NULL;

	(void)snprintf(cert, sizeof(cert), "%s/%s.pem", sc->dir.path, name);
	(void)snprintf(key, sizeof(key), "%s/%s.key", sc->dir.path, name);
	(void)snprintf(ca, sizeof(ca), "%s/%s.pem", sc->dir.path, clients ? clients : "");
	if (httpd_tls_new(&o, err, sizeof(err), &t) < 0)
		assert_true(strlen(err) > 10);
	return t;
}

static void certificates_are_replaced_while_it_runs(void **state)
{
	struct scene *sc = *state;
	struct httpd_tls *one, *two;

	support_cert(&sc->dir, "one", "DNS:localhost", -1, 30);
	support_cert(&sc->dir, "two", "DNS:localhost", -1, 30);
	one = server_tls(sc, "one", NULL);
	two = server_tls(sc, "two", NULL);
	assert_non_null(one);
	assert_non_null(two);
	assert_null(server_tls(sc, "three", NULL));
	open_server(sc, one);
	tls_get(sc, 0, "one.pem", NULL);
	has(&sc->c[0], "GET|/tls||-2||0|1|");
	httpd_set_tls(sc->h, two);
	httpd_tls_unref(one);
	httpd_tls_unref(two);
	tls_get(sc, 1, "two.pem", NULL);
	has(&sc->c[1], "GET|/tls|");
	tls_get(sc, 2, "one.pem", NULL);
	assert_int_equal(sc->c[2].n, 0);
}

static void clients_must_show_their_certificate(void **state)
{
	struct scene *sc = *state;
	struct httpd_tls *t;

	support_cert(&sc->dir, "server", "DNS:localhost", -1, 30);
	support_cert(&sc->dir, "known", "DNS:known", -1, 30);
	support_cert(&sc->dir, "stranger", "DNS:known", -1, 30);
	t = server_tls(sc, "server", "known");
	assert_non_null(t);
	open_server(sc, t);
	httpd_tls_unref(t);
	tls_get(sc, 0, "server.pem", "known");
	has(&sc->c[0], "GET|/tls||-2||0|1|CN=");
	tls_get(sc, 1, "server.pem", "stranger");
	assert_int_equal(sc->c[1].n, 0);
	assert_int_equal(sc->refused[HTTPD_BAD_CERT], 1);
	assert_true(strlen(sc->refusal) > 10);
	tls_get(sc, 2, "server.pem", NULL);
	assert_int_equal(sc->c[2].n, 0);
	assert_int_equal(sc->refused[HTTPD_BAD_CERT], 2);
	assert_string_equal(sc->refusal, "the client shows no certificate");
	assert_int_equal(sc->requests, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_request_is_given_as_it_came, setup, teardown),
		cmocka_unit_test_setup_teardown(percent_decoding_is_strict, setup, teardown),
		cmocka_unit_test_setup_teardown(a_body_comes_whole_or_is_refused_with_413, setup, teardown),
		cmocka_unit_test_setup_teardown(a_body_that_nobody_wants_does_not_go_on_for_ever, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_may_come_later, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_waits_for_its_source, setup, teardown),
		cmocka_unit_test_setup_teardown(a_large_answer_arrives_byte_for_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(a_large_body_waits_for_its_sink, setup, teardown),
		cmocka_unit_test_setup_teardown(fields_of_an_answer_cannot_be_split, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_heads_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(slow_clients_are_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(a_body_that_breaks_off_is_noticed_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(who_says_nothing_more_is_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_quiet_stream_is_not_slow, setup, teardown),
		cmocka_unit_test_setup_teardown(connections_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(an_ipv6_network_is_one_address, setup, teardown),
		cmocka_unit_test_setup_teardown(two_servers_count_their_connections_together, setup, teardown),
		cmocka_unit_test_setup_teardown(a_drain_ends_idle_connections_and_lets_answers_finish, setup, teardown),
		cmocka_unit_test_setup_teardown(what_waits_is_told_when_the_server_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(certificates_are_replaced_while_it_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(clients_must_show_their_certificate, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
