/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The race for a server on loopback: dead ports, silent ones, false servers, proxies that are good, want a
 * login, refuse, lie or never answer. The servers are the tunnel's own TLS; proxies are a few lines here,
 * one that forwards included. Times are short, and nothing waits for a fixed moment.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include "common/bytes.h"
#include "tests/unit/support.h"
#include "tunnel/agent/dial.h"
#include "tunnel/link/tls.h"

enum { SIDES_MAX = 16 };

struct world;
struct place { /* something that listens on loopback */
	struct world *w;
	struct acceptor *a;
	uint16_t port;
	struct tls_ctx *tls; /* a tunnel server; NULL: a proxy or a silent one */
	const char *answer;  /* of a proxy: what it says, whoever asks; NULL: nothing, ever */
	const char *login;   /* of a proxy: what a request must hold; NULL: nothing */
	uint16_t forward;    /* of a proxy: on which port the server really is */
	unsigned accepted;
	char request[2048];
};
struct side { /* an accepted connection */
	struct place *at;
	struct stream *s, *far;
	bool open; /* a proxy's: bytes are passed on */
};

struct world {
	struct loop *loop;
	struct dns *dns;
	struct support_dir dir;
	struct server_keys keys, other;
	struct identity *agent;
	struct side sides[SIDES_MAX];
	unsigned n_sides;
	struct dial *dial;
	bool done, foreign;
	struct stream *won;
	struct dial_way way;
	char why[DIAL_WHY_MAX];
};

/* ---- what listens ---- */

static size_t swallow(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	(void)s;
	(void)p;
	(void)arg;
	return n;
}

static void side_end(struct side *d)
{
	d->s = stream_free(d->s);
	d->far = stream_free(d->far);
}

static void on_side_close(struct stream *s, int err, const char *why, void *arg)
{
	(void)s;
	(void)err;
	(void)why;
	side_end(arg);
}

static const struct stream_ops server_ops = { NULL, swallow, NULL, on_side_close };

static size_t far_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct side *d = arg;

	(void)s;
	return stream_write(d->s, p, n) == 0 ? n : 0;
}

static const struct stream_ops far_ops = { NULL, far_data, NULL, on_side_close };

static void open_way(struct side *d)
{
	struct addr to = addr_v4(INADDR_LOOPBACK, d->at->forward);

	assert_int_equal(stream_connect(d->at->w->loop, &to, NULL, &far_ops, d, &d->far), 0);
	d->open = true;
}

static size_t proxy_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct side *d = arg;
	struct place *at = d->at;
	const char *no =
		"HTTP/1.1 407 Auth\r\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=auth\r\n\r\n";

	if (d->open)
		return stream_write(d->far, p, n) == 0 ? n : 0;
	if (n < 4 || memcmp(p + n - 4, "\r\n\r\n", 4) != 0 || !at->answer)
		return at->answer ? 0 : n;
	(void)snprintf(at->request, sizeof(at->request), "%.*s", (int)n, (const char *)p);
	if (at->login && !strstr(at->request, at->login)) {
		(void)stream_write(s, no, strlen(no));
		stream_finish(s);
		return n;
	}
	(void)stream_write(s, at->answer, strlen(at->answer));
	if (at->forward)
		open_way(d);
	return n;
}

static const struct stream_ops proxy_ops = { NULL, proxy_data, NULL, on_side_close };

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct place *at = arg;
	struct side *d = &at->w->sides[at->w->n_sides++];
	struct stream_options o = { .tls = at->tls };

	(void)peer;
	(void)local;
	assert_true(at->w->n_sides <= SIDES_MAX);
	*d = (struct side){ .at = at };
	at->accepted++;
	assert_int_equal(
		stream_new(at->w->loop, fd, &o, at->tls ? &server_ops : &proxy_ops, d, &d->s), 0);
}

static const struct acceptor_ops acceptor_ops = { .on_accept = on_accept };

static void listen_at(struct world *w, struct place *at)
{
	struct addr a = addr_v4(INADDR_LOOPBACK, 0);
	socklen_t n = sizeof(a);
	int fd;

	at->w = w;
	assert_int_equal(stream_listen_socket(&a, &(struct listen_options){ .backlog = 8 }, &fd), 0);
	assert_int_equal(getsockname(fd, &a.sa, &n), 0);
	at->port = addr_port(&a);
	assert_int_equal(acceptor_new(w->loop, fd, &acceptor_ops, at, &at->a), 0);
}

static void close_place(struct place *at)
{
	acceptor_free(at->a);
	tls_ctx_unref(at->tls);
}

/* A port of loopback where nobody listens. */
static uint16_t dead_port(struct world *w)
{
	struct place at = { .w = w };

	listen_at(w, &at);
	acceptor_free(at.a);
	return at.port;
}

static struct place server(struct world *w, const struct server_keys *keys)
{
	struct place at = { .w = w };

	assert_int_equal(link_tls_server(keys, &at.tls), 0);
	return at;
}

/* ---- the race ---- */

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	enum server_keys_news news;
	char err[IDENTITY_ERRLEN];
	struct support_dir there;

	assert_int_equal(loop_new(&w->loop), 0);
	assert_int_equal(dns_new(w->loop, &(struct dns_options){ .servers = "127.0.0.1:9" }, &w->dns),
			 0);
	support_dir_make(&w->dir);
	support_dir_make(&there);
	assert_int_equal(server_keys_open(w->dir.path, err, &news, &w->keys), 0);
	assert_int_equal(server_keys_open(there.path, err, &news, &w->other), 0);
	assert_int_equal(identity_make("agent", NULL, &w->agent), 0);
	support_dir_remove(&there);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	dial_cancel(w->dial);
	stream_free(w->won);
	for (unsigned i = 0; i < w->n_sides; i++)
		side_end(&w->sides[i]);
	support_run_for(w->loop, 1);
	server_keys_deinit(&w->keys);
	server_keys_deinit(&w->other);
	identity_unref(w->agent);
	support_dir_remove(&w->dir);
	dns_free(w->dns);
	loop_free(w->loop);
	free(w);
	return 0;
}

static void on_done(const struct dial_result *r, void *arg)
{
	struct world *w = arg;

	assert_false(w->done);
	w->done = true;
	w->dial = NULL;
	w->won = r->stream;
	w->way = r->way;
	w->foreign = r->foreign;
	(void)snprintf(w->why, sizeof(w->why), "%s", r->why ? r->why : "");
}

static void begin(struct world *w, struct dial_options o)
{
	struct link_expect e = { .kind = LINK_EXPECT_PINS, .pins.root = *identity_hash(w->keys.root) };
	struct tls_ctx *ctx = NULL;

	assert_int_equal(link_tls_agent(w->agent, &e, &ctx), 0);
	o.loop = w->loop;
	o.dns = w->dns;
	o.host = o.host ? o.host : "127.0.0.1";
	o.tls = ctx;
	o.done = on_done;
	o.arg = w;
	w->done = false;
	assert_int_equal(dial_start(&o, &w->dial), 0);
	assert_false(w->done); /* nothing is called back from in there */
	tls_ctx_unref(ctx);
}

static void race(struct world *w, struct dial_options o)
{
	begin(w, o);
	support_run_until(w->loop, &w->done, 40000);
}

static void the_servers_own_port_wins_at_once(void **state)
{
	struct world *w = *state;
	struct place s = server(w, &w->keys);
	uint64_t before = loop_now(w->loop);

	listen_at(w, &s);
	race(w, (struct dial_options){
			.ports = { s.port, dead_port(w) }, .n_ports = 2, .stagger_ms = 60000 });
	assert_non_null(w->won);
	assert_int_equal(w->way.port, s.port);
	assert_false(w->way.proxied);
	assert_true(loop_now(w->loop) - before < 30000);
	close_place(&s);
}

static void a_port_that_refuses_makes_room_for_the_next_at_once(void **state)
{
	struct world *w = *state;
	struct place s = server(w, &w->keys);

	listen_at(w, &s);
	race(w, (struct dial_options){ .ports = { dead_port(w), dead_port(w), s.port },
				       .n_ports = 3,
				       .stagger_ms = 60000 });
	assert_non_null(w->won);
	assert_int_equal(w->way.port, s.port);
	close_place(&s);
}

static void a_port_that_is_silent_costs_one_stagger(void **state)
{
	struct world *w = *state;
	struct place silent = { .w = w }, s = server(w, &w->keys);

	listen_at(w, &silent);
	listen_at(w, &s);
	race(w, (struct dial_options){ .ports = { silent.port, s.port },
				       .n_ports = 2,
				       .stagger_ms = 50,
				       .try_ms = 30000 });
	assert_non_null(w->won);
	assert_int_equal(w->way.port, s.port);
	assert_int_equal(silent.accepted, 1);
	close_place(&silent);
	close_place(&s);
}

static void a_false_server_does_not_win_and_is_named(void **state)
{
	struct world *w = *state;
	struct place fake = server(w, &w->other), s = server(w, &w->keys);
	char root[IDENTITY_STRLEN];

	listen_at(w, &fake);
	listen_at(w, &s);
	race(w, (struct dial_options){
			.ports = { fake.port, s.port }, .n_ports = 2, .stagger_ms = 60000 });
	assert_non_null(w->won);
	assert_int_equal(w->way.port, s.port);
	w->won = stream_free(w->won);
	race(w, (struct dial_options){ .ports = { fake.port }, .n_ports = 1 });
	assert_null(w->won);
	assert_true(w->foreign);
	assert_non_null(strstr(w->why, identity_print(identity_hash(w->other.root), root)));
	close_place(&fake);
	close_place(&s);
}

static void each_way_that_failed_leaves_its_reason(void **state)
{
	struct world *w = *state;
	struct place proxy = { .answer = "HTTP/1.1 403 Filtered\r\n\r\n" }, silent = { .w = w };
	uint16_t dead = dead_port(w);
	char want[128];

	listen_at(w, &proxy);
	listen_at(w, &silent);
	struct proxy p = { .host = "127.0.0.1", .port = proxy.port };
	race(w, (struct dial_options){ .ports = { dead, silent.port },
				       .n_ports = 2,
				       .proxy = &p,
				       .stagger_ms = 20,
				       .try_ms = 300 });
	assert_null(w->won);
	assert_false(w->foreign);
	(void)snprintf(want, sizeof(want), "127.0.0.1:%u: ", dead);
	assert_non_null(strstr(w->why, want));
	(void)snprintf(want, sizeof(want),
		       "port %u through the proxy 127.0.0.1:%u: the proxy answers 403 Filtered",
		       silent.port, proxy.port);
	assert_non_null(strstr(w->why, want));
	(void)snprintf(want, sizeof(want), "127.0.0.1:%u: ", silent.port);
	assert_non_null(strstr(w->why, want));
	close_place(&proxy);
	close_place(&silent);
}

static void what_answers_with_something_else_is_no_server(void **state)
{
	struct world *w = *state;
	struct place web = { .answer = "HTTP/1.1 400 Bad Request\r\n\r\n" };

	listen_at(w, &web);
	race(w, (struct dial_options){ .ports = { web.port }, .n_ports = 1, .try_ms = 2000 });
	assert_null(w->won);
	assert_non_null(strstr(w->why, "127.0.0.1:"));
	close_place(&web);
}

static void a_name_that_nobody_resolves_is_said_and_a_proxy_helps(void **state)
{
	struct world *w = *state;
	struct place s = server(w, &w->keys), proxy = { .answer = "HTTP/1.1 200 OK\r\n\r\n" };

	listen_at(w, &s);
	proxy.forward = s.port;
	listen_at(w, &proxy);
	struct proxy p = { .host = "127.0.0.1", .port = proxy.port };
	race(w, (struct dial_options){ .host = "tunnel.stile.test",
				       .ports = { 7443 },
				       .n_ports = 1,
				       .proxy = &p,
				       .stagger_ms = 20 });
	assert_non_null(w->won);
	assert_true(w->way.proxied);
	assert_non_null(strstr(
		proxy.request,
		"CONNECT tunnel.stile.test:7443 HTTP/1.1\r\nHost: tunnel.stile.test:7443\r\n"));
	w->won = stream_free(w->won);
	race(w, (struct dial_options){
			.host = "tunnel.stile.test", .ports = { 7443 }, .n_ports = 1, .deadline_ms = 500 });
	assert_null(w->won);
	assert_non_null(strstr(w->why, "tunnel.stile.test: "));
	close_place(&s);
	close_place(&proxy);
}

static void a_proxy_that_wants_a_login_gets_it_on_a_second_connection(void **state)
{
	struct world *w = *state;
	struct place s = server(w, &w->keys),
		     proxy = { .answer = "HTTP/1.1 200 OK\r\n\r\n",
			       .login = "Proxy-Authorization: Digest username=\"u\"" };
	uint8_t hi[] = "hello";

	listen_at(w, &s);
	proxy.forward = s.port;
	listen_at(w, &proxy);
	struct proxy p = { .host = "127.0.0.1", .port = proxy.port, .user = "u", .password = "p" },
		     wrong = p;
	uint16_t dead = dead_port(w);
	race(w, (struct dial_options){ .ports = { dead }, .n_ports = 1, .proxy = &p });
	assert_non_null(w->won);
	assert_true(w->way.proxied);
	assert_int_equal(w->way.port, dead);
	assert_int_equal(proxy.accepted, 2);
	assert_int_equal(stream_write(w->won, hi, sizeof(hi)), 0); /* it is a stream like others */
	w->won = stream_free(w->won);
	proxy.login = "never";
	strcpy(wrong.password, "q");
	race(w, (struct dial_options){ .ports = { dead }, .n_ports = 1, .proxy = &wrong });
	assert_null(w->won);
	assert_non_null(strstr(w->why, "refuses the user or password of agent.proxy"));
	close_place(&s);
	close_place(&proxy);
}

static void proxies_that_lie_are_told_apart(void **state)
{
	static const struct {
		const char *answer, *want;
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\n\r\nand more", "adds bytes of its own" },
		{ "HTTP/1.1 200 OK\nX\r\n\r\n", "not HTTP" },
		{ "+OK POP3 ready\r\n\r\n", "HTTP" },
		{ "HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n", "302 Found" },
		{ "HTTP/1.1 200 OK\r\n\r\n", "port" }, /* it opens a way to nothing */
	};
	struct world *w = *state;
	uint16_t dead = dead_port(w);

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct place proxy = { .answer = rows[i].answer };

		listen_at(w, &proxy);
		struct proxy p = { .host = "127.0.0.1", .port = proxy.port };
		race(w, (struct dial_options){
				.ports = { dead }, .n_ports = 1, .proxy = &p, .try_ms = 300 });
		assert_null(w->won);
		if (!strstr(w->why, rows[i].want))
			fail_msg("%s: %s", rows[i].answer, w->why);
		close_place(&proxy);
	}
}

static void a_proxy_that_leads_to_a_false_server_gains_nothing(void **state)
{
	struct world *w = *state;
	struct place fake = server(w, &w->other), proxy = { .answer = "HTTP/1.1 200 OK\r\n\r\n" };

	listen_at(w, &fake);
	proxy.forward = fake.port;
	listen_at(w, &proxy);
	struct proxy p = { .host = "127.0.0.1", .port = proxy.port };
	race(w, (struct dial_options){ .ports = { dead_port(w) }, .n_ports = 1, .proxy = &p });
	assert_null(w->won);
	assert_true(w->foreign);
	close_place(&fake);
	close_place(&proxy);
}

static void a_carrier_takes_the_way_that_was_found_and_no_other(void **state)
{
	struct world *w = *state;
	struct place s = server(w, &w->keys), proxy = { .answer = "HTTP/1.1 200 OK\r\n\r\n" };
	struct dial_way way;

	listen_at(w, &s);
	proxy.forward = s.port;
	listen_at(w, &proxy);
	struct proxy p = { .host = "127.0.0.1", .port = proxy.port };
	race(w, (struct dial_options){ .ports = { dead_port(w) }, .n_ports = 1, .proxy = &p });
	assert_true(w->way.proxied);
	way = w->way;
	w->won = stream_free(w->won);
	race(w, (struct dial_options){ .only = &way, .proxy = &p, .ports = { s.port }, .n_ports = 1 });
	assert_non_null(w->won);
	assert_true(w->way.proxied);
	assert_int_equal(proxy.accepted, 2);
	close_place(&s);
	close_place(&proxy);
}

static void what_worked_last_time_is_tried_first_and_is_no_condition(void **state)
{
	struct world *w = *state;
	struct place s = server(w, &w->keys), silent = { .w = w };
	struct dial_way way = { .addr = addr_v4(INADDR_LOOPBACK, 0) };

	listen_at(w, &s);
	listen_at(w, &silent);
	way.port = s.port;
	addr_set_port(&way.addr, s.port);
	race(w, (struct dial_options){ .first = &way,
				       .ports = { silent.port, s.port },
				       .n_ports = 2,
				       .stagger_ms = 60000 });
	assert_non_null(w->won); /* without a stagger */
	assert_int_equal(silent.accepted, 0);
	w->won = stream_free(w->won);
	way.port = silent.port;
	addr_set_port(&way.addr, silent.port);
	race(w, (struct dial_options){ .first = &way,
				       .ports = { silent.port, s.port },
				       .n_ports = 2,
				       .stagger_ms = 30,
				       .try_ms = 60000 });
	assert_non_null(w->won);
	assert_int_equal(w->way.port, s.port);
	assert_int_equal(silent.accepted, 1); /* once, not once more as the name's own */
	w->won = stream_free(w->won);
	way.port = dead_port(w);
	addr_set_port(&way.addr, way.port);
	race(w, (struct dial_options){ .host = "tunnel.stile.test",
				       .first = &way,
				       .ports = { 7443 },
				       .n_ports = 1,
				       .deadline_ms = 30000 });
	assert_null(w->won); /* neither the way nor a name */
	close_place(&s);
	close_place(&silent);
}

static void a_race_that_is_cancelled_leaves_nothing(void **state)
{
	struct world *w = *state;
	struct place silent = { .w = w };

	listen_at(w, &silent);
	struct proxy p = { .host = "127.0.0.1", .port = silent.port };
	begin(w, (struct dial_options){ .ports = { silent.port, dead_port(w) },
					.n_ports = 2,
					.proxy = &p,
					.stagger_ms = 1 });
	support_run_for(w->loop, 50);
	w->dial = dial_cancel(w->dial);
	support_run_for(w->loop, 50);
	assert_false(w->done);
	begin(w, (struct dial_options){
			 .ports = { silent.port }, .n_ports = 1, .try_ms = 60000, .deadline_ms = 200 });
	support_run_until(w->loop, &w->done, 20000);
	assert_non_null(strstr(w->why, "no answer in time"));
	close_place(&silent);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_servers_own_port_wins_at_once),
		T(a_port_that_refuses_makes_room_for_the_next_at_once),
		T(a_port_that_is_silent_costs_one_stagger),
		T(a_false_server_does_not_win_and_is_named),
		T(each_way_that_failed_leaves_its_reason),
		T(what_answers_with_something_else_is_no_server),
		T(a_name_that_nobody_resolves_is_said_and_a_proxy_helps),
		T(a_proxy_that_wants_a_login_gets_it_on_a_second_connection),
		T(proxies_that_lie_are_told_apart),
		T(a_proxy_that_leads_to_a_false_server_gains_nothing),
		T(a_carrier_takes_the_way_that_was_found_and_no_other),
		T(what_worked_last_time_is_tried_first_and_is_no_condition),
		T(a_race_that_is_cancelled_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
