/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams over loopback TCP, plain and TLS: both ends in one loop, one conversation per test. Each end
 * is told how to behave (how much to take, when to free itself) and remembers what happened to it.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/stream.h"

struct end {
	struct stream *s;
	/* behaviour */
	size_t take_max;	 /* per call; 0: all */
	size_t frame;		 /* takes only whole frames of this size */
	bool take_nothing, echo, free_in_open, free_in_data, free_in_close, finish_in_data, pause_in_data;
	/* what happened */
	unsigned opens, closes, datas, drains;
	bool opened, closed, complete;
	int err;
	char why[200];
	uint8_t *got;
	size_t n_got, cap, want; /* complete once this much has come */
};

struct scene {
	struct support_dir dir;
	struct loop *l;
	struct tls_ctx *server_tls, *client_tls;
	struct acceptor *a;
	struct addr at;
	struct stream_options server_opt, client_opt;
	struct end server, client;
	unsigned accepted;
};

static void on_open(struct stream *s, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(s, e->s);
	e->opens++;
	e->opened = true;
	if (e->free_in_open)
		e->s = stream_free(e->s);
}

static size_t on_data(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	struct end *e = arg;
	size_t take = e->take_nothing ? 0 : n;

	e->datas++;
	if (e->take_max)
		take = MIN(take, e->take_max);
	if (e->frame)
		take -= take % e->frame;
	if (e->n_got + take >= e->cap) {
		e->cap = 2 * (e->n_got + take) + 1;
		e->got = realloc(e->got, e->cap);
		assert_non_null(e->got);
	}
	memcpy(e->got + e->n_got, p, take);
	e->n_got += take;
	e->complete = e->want && e->n_got >= e->want;
	if (e->echo)
		assert_int_equal(stream_write(s, p, take), 0);
	if (e->pause_in_data)
		stream_pause(s);
	if (e->finish_in_data)
		stream_finish(s);
	if (e->free_in_data)
		e->s = stream_free(s);
	return take;
}

static void on_drained(struct stream *s, void *arg)
{
	(void)s;
	((struct end *)arg)->drains++;
}

static void on_close(struct stream *s, int err, const char *why, void *arg)
{
	struct end *e = arg;

	e->closes++;
	e->closed = true;
	e->err = err;
	assert_non_null(why);
	assert_true(strlen(why) > 3);
	strncpy(e->why, why, sizeof(e->why) - 1);
	if (e->free_in_close)
		e->s = stream_free(s);
}

static const struct stream_ops ops = { on_open, on_data, on_drained, on_close };

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct scene *sc = arg;

	assert_int_equal(addr_family(peer), AF_INET);
	assert_true(addr_equal(local, &sc->at));
	if (sc->accepted++) {
		close(fd);
		return;
	}
	assert_int_equal(stream_new(sc->l, fd, &sc->server_opt, &ops, &sc->server, &sc->server.s), 0);
	assert_true(addr_equal(stream_peer(sc->server.s), peer));
	assert_true(addr_equal(stream_local(sc->server.s), local));
}

static const struct acceptor_ops acceptor_ops = { .on_accept = on_accept };

static int listener(struct addr *at)
{
	const struct listen_options lo = { 0 };
	socklen_t n = sizeof(*at);
	int fd = -1;

	*at = addr_v4(0x7f000001, 0);
	assert_int_equal(stream_listen_socket(at, &lo, &fd), 0);
	assert_int_equal(getsockname(fd, &at->sa, &n), 0);
	return fd;
}

static int plain_setup(void **state)
{
	struct scene *sc = calloc(1, sizeof(*sc));

	assert_non_null(sc);
	assert_int_equal(loop_new(&sc->l), 0);
	assert_int_equal(acceptor_new(sc->l, listener(&sc->at), &acceptor_ops, sc, &sc->a), 0);
	*state = sc;
	return 0;
}

static int tls_setup(void **state)
{
	struct tls_options so = { 0 }, co = { .client = true, .verify_peer = true };
	char err[TLS_ERRLEN];
	struct scene *sc;

	plain_setup(state);
	sc = *state;
	support_dir_make(&sc->dir);
	support_cert(&sc->dir, "s", "DNS:turn.example.org", -1, 10);
	so.cert_file = support_path(&sc->dir, "s.pem");
	so.key_file = support_path(&sc->dir, "s.key");
	co.ca_file = so.cert_file;
	assert_int_equal(tls_ctx_new(&so, err, &sc->server_tls), 0);
	assert_int_equal(tls_ctx_new(&co, err, &sc->client_tls), 0);
	sc->server_opt.tls = sc->server_tls;
	sc->client_opt.tls = sc->client_tls;
	sc->client_opt.server_name = "turn.example.org";
	return 0;
}

static int scene_teardown(void **state)
{
	struct scene *sc = *state;

	stream_free(sc->server.s);
	stream_free(sc->client.s);
	acceptor_free(sc->a);
	loop_free(sc->l);
	free(sc->server.got);
	free(sc->client.got);
	tls_ctx_unref(sc->server_tls);
	tls_ctx_unref(sc->client_tls);
	if (sc->dir.path[0])
		support_dir_remove(&sc->dir);
	free(sc);
	return 0;
}

static void connect_client(struct scene *sc)
{
	assert_int_equal(stream_connect(sc->l, &sc->at, &sc->client_opt, &ops, &sc->client, &sc->client.s), 0);
	assert_int_equal(sc->client.opens, 0);
}

static void meet(struct scene *sc)
{
	connect_client(sc);
	support_run_until(sc->l, &sc->client.opened, 3000);
	support_run_until(sc->l, &sc->server.opened, 3000);
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

static void fill(uint8_t *p, size_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = byte_at(from + i);
}

static void assert_bytes(const struct end *e, size_t n)
{
	assert_int_equal(e->n_got, n);
	for (size_t i = 0; i < n; i++)
		if (e->got[i] != byte_at(i))
			fail_msg("byte %zu differs", i);
}

/* ---- these run over plain TCP and over TLS ---- */

static void bytes_travel_both_ways_and_the_end_is_reported_once(void **state)
{
	struct scene *sc = *state;
	uint8_t hello[500];

	meet(sc);
	fill(hello, 0, sizeof(hello));
	sc->server.echo = true;
	sc->client.want = sizeof(hello);
	assert_int_equal(stream_write(sc->client.s, hello, sizeof(hello)), 0);
	support_run_until(sc->l, &sc->client.complete, 3000);
	assert_bytes(&sc->server, sizeof(hello));
	assert_bytes(&sc->client, sizeof(hello));
	sc->server.free_in_close = true;
	stream_finish(sc->client.s);
	assert_int_equal(stream_write(sc->client.s, "x", 1), -EPIPE);
	support_run_until(sc->l, &sc->client.closed, 3000);
	assert_int_equal(sc->server.closes, 1);
	assert_int_equal(sc->server.err, 0);
	assert_string_equal(sc->server.why, "closed by the peer");
	assert_int_equal(sc->client.closes, 1);
	assert_int_equal(sc->client.err, 0);
	assert_int_equal(sc->client.opens + sc->server.opens, 2);
}

static void what_is_written_before_it_is_open_goes_out_first(void **state)
{
	struct scene *sc = *state;
	uint8_t p[64];

	fill(p, 0, sizeof(p));
	connect_client(sc);
	assert_int_equal(stream_write(sc->client.s, p, 32), 0);
	assert_int_equal(stream_write(sc->client.s, p + 32, 32), 0);
	sc->server.want = sizeof(p);
	support_run_until(sc->l, &sc->server.complete, 3000);
	assert_bytes(&sc->server, sizeof(p));
}

static void finish_before_it_is_open_still_delivers(void **state)
{
	struct scene *sc = *state;
	uint8_t p[64];

	fill(p, 0, sizeof(p));
	connect_client(sc);
	assert_int_equal(stream_write(sc->client.s, p, sizeof(p)), 0);
	stream_finish(sc->client.s);
	support_run_until(sc->l, &sc->server.closed, 3000);
	assert_bytes(&sc->server, sizeof(p));
	assert_int_equal(sc->server.err, 0);
}

/* Feeds a megabyte, as much as the queue takes each pass. */
struct feeder {
	struct pass_hook hook;
	struct stream *s;
	size_t sent, total;
	unsigned refusals;
};

static void feed(struct pass_hook *h)
{
	struct feeder *f = container_of(h, struct feeder, hook);
	uint8_t part[10007];

	while (f->sent < f->total) {
		size_t n = MIN(sizeof(part), f->total - f->sent);
		int r;

		fill(part, f->sent, n);
		r = stream_write(f->s, part, n);
		if (r == -ENOBUFS) {
			f->refusals++;
			return;
		}
		assert_int_equal(r, 0);
		assert_true(stream_queued(f->s) <= 256 * 1024);
		f->sent += n;
	}
}

static void a_reader_that_pauses_holds_the_writer_back_and_nothing_is_lost(void **state)
{
	struct scene *sc = *state;
	struct feeder f = { .hook.run = feed, .total = 24 << 20 };

	meet(sc);
	f.s = sc->client.s;
	stream_pause(sc->server.s);
	loop_add_hook(sc->l, &f.hook);
	for (unsigned i = 0; i < 1000 && f.refusals == 0; i++)
		support_run_for(sc->l, 10);
	support_run_for(sc->l, 50);
	assert_true(f.sent < f.total);
	assert_true(f.refusals > 0);
	assert_int_equal(sc->server.n_got, 0);
	sc->server.want = f.total;
	stream_resume(sc->server.s);
	support_run_until(sc->l, &sc->server.complete, 20000);
	loop_remove_hook(&f.hook);
	assert_bytes(&sc->server, f.total);
	assert_true(sc->client.drains > 0);
	assert_int_equal(stream_queued(sc->client.s), 0);
}

static void what_the_owner_leaves_comes_again_with_what_follows(void **state)
{
	struct scene *sc = *state;
	uint8_t p[7000];

	meet(sc);
	fill(p, 0, sizeof(p));
	sc->server.frame = 1000;
	sc->server.want = sizeof(p);
	for (size_t i = 0; i < sizeof(p); i += 350) {
		assert_int_equal(stream_write(sc->client.s, p + i, 350), 0);
		support_run_for(sc->l, 2);
	}
	support_run_until(sc->l, &sc->server.complete, 3000);
	assert_bytes(&sc->server, sizeof(p));
}

static void a_pause_inside_on_data_keeps_the_rest_until_resumed(void **state)
{
	struct scene *sc = *state;
	uint8_t p[3000];

	meet(sc);
	fill(p, 0, sizeof(p));
	sc->server.take_max = 1000;
	sc->server.pause_in_data = true;
	assert_int_equal(stream_write(sc->client.s, p, sizeof(p)), 0);
	for (unsigned k = 1; k <= 3; k++) {
		sc->server.want = 1000 * k;
		sc->server.complete = false;
		support_run_until(sc->l, &sc->server.complete, 20000);
		support_run_for(sc->l, 20);
		assert_int_equal(sc->server.n_got, 1000 * k);
		stream_resume(sc->server.s);
	}
	assert_bytes(&sc->server, sizeof(p));
}

static void a_message_larger_than_the_buffer_closes_with_enobufs(void **state)
{
	struct scene *sc = *state;
	uint8_t p[5000];

	sc->server_opt.max_in = 4096;
	meet(sc);
	fill(p, 0, sizeof(p));
	sc->server.take_nothing = true;
	assert_int_equal(stream_write(sc->client.s, p, sizeof(p)), 0);
	support_run_until(sc->l, &sc->server.closed, 3000);
	assert_int_equal(sc->server.err, ENOBUFS);
}

static void a_stream_may_be_freed_in_any_callback(void **state)
{
	struct scene *sc = *state;
	uint8_t p[100] = { 0 };

	meet(sc);
	sc->server.free_in_data = true;
	sc->client.free_in_close = true;
	assert_int_equal(stream_write(sc->client.s, p, sizeof(p)), 0);
	support_run_until(sc->l, &sc->client.closed, 3000);
	assert_int_equal(sc->server.closes, 0); /* freed by its owner: no on_close */
	assert_null(sc->server.s);
	assert_null(sc->client.s);
}

static void a_stream_may_be_freed_in_on_open(void **state)
{
	struct scene *sc = *state;

	sc->client.free_in_open = true;
	connect_client(sc);
	support_run_until(sc->l, &sc->server.closed, 3000);
	assert_null(sc->client.s);
	assert_int_equal(sc->client.closes, 0);
}

static void finish_inside_on_data_sends_the_answer_first(void **state)
{
	struct scene *sc = *state;
	uint8_t p[2000];

	meet(sc);
	fill(p, 0, sizeof(p));
	sc->server.echo = true;
	sc->server.finish_in_data = true;
	assert_int_equal(stream_write(sc->client.s, p, sizeof(p)), 0);
	support_run_until(sc->l, &sc->client.closed, 3000);
	assert_bytes(&sc->client, sizeof(p));
	stream_finish(sc->client.s);
	sc->client.s = stream_free(sc->client.s);
	support_run_until(sc->l, &sc->server.closed, 3000);
	assert_int_equal(sc->server.err, 0);
}

/* The deadline is for what stands still. */
static void what_is_queued_at_the_end_has_time_as_long_as_it_moves(void **state)
{
	enum { SIZE = 12 << 20, STEP_MS = 10, FLUSH_MS = 1000 }; /* more than the kernel takes at once */
	struct scene *sc = *state;
	uint8_t *p = malloc(SIZE);
	uint64_t t0;

	assert_non_null(p);
	fill(p, 0, SIZE);
	sc->client_opt.flush_ms = FLUSH_MS;
	sc->client_opt.max_out = SIZE;
	sc->server.pause_in_data = true;
	sc->server.want = SIZE;
	meet(sc);
	assert_int_equal(stream_write(sc->client.s, p, SIZE), 0);
	t0 = loop_now(sc->l);
	stream_finish(sc->client.s);
	for (unsigned i = 0; i < 1000 && !sc->server.complete && !sc->server.closed; i++) {
		support_run_for(sc->l, STEP_MS);
		stream_resume(sc->server.s);
	}
	assert_true(loop_now(sc->l) - t0 > FLUSH_MS); /* or nothing was shown */
	assert_bytes(&sc->server, SIZE);
	free(p);
}

static void a_peer_that_never_closes_is_left_after_two_seconds(void **state)
{
	struct scene *sc = *state;
	uint64_t t0;

	meet(sc);
	stream_pause(sc->client.s); /* does not see the end, so does not close */
	t0 = loop_now(sc->l);
	stream_finish(sc->server.s);
	support_run_until(sc->l, &sc->server.closed, 3000);
	assert_true(loop_now(sc->l) - t0 >= 1900);
	assert_int_equal(sc->server.err, 0);
}

static void an_idle_stream_is_closed_after_its_time(void **state)
{
	struct scene *sc = *state;
	uint64_t first, second;

	sc->server_opt.idle_ms = 500;
	meet(sc);
	first = loop_now(sc->l);
	assert_int_equal(stream_write(sc->client.s, "x", 1), 0);
	support_run_for(sc->l, 100);
	second = loop_now(sc->l);
	(void)stream_write(sc->client.s, "x", 1); /* too late if this process was stopped */
	support_run_until(sc->l, &sc->server.closed, 20000);
	assert_true(loop_now(sc->l) - (sc->server.n_got == 2 ? second : first) >= 500); /* since the last byte */
	assert_int_equal(sc->server.err, ETIMEDOUT);
}

static void a_queue_that_is_full_says_no_and_takes_all_or_nothing(void **state)
{
	struct scene *sc = *state;
	uint8_t *p = calloc(1, 300000);

	sc->client_opt.max_out = 100000;
	connect_client(sc); /* nothing leaves yet: all is queued */
	assert_int_equal(stream_write(sc->client.s, p, 100001), -ENOBUFS);
	assert_int_equal(stream_queued(sc->client.s), 0);
	assert_int_equal(stream_write(sc->client.s, p, 99999), 0);
	assert_int_equal(stream_write(sc->client.s, p, 2), -ENOBUFS);
	assert_int_equal(stream_queued(sc->client.s), 99999);
	assert_int_equal(stream_write(sc->client.s, p, 1), 0);
	sc->server.want = 100000;
	support_run_until(sc->l, &sc->server.complete, 3000);
	assert_int_equal(sc->server.n_got, 100000);
	assert_int_equal(sc->client.drains, 1);
	free(p);
}

/* ---- plain only ---- */

static void a_refused_connection_is_reported_from_the_loop(void **state)
{
	struct scene *sc = *state;

	sc->a = acceptor_free(sc->a);
	connect_client(sc);
	assert_int_equal(sc->client.closes, 0);
	support_run_until(sc->l, &sc->client.closed, 3000);
	assert_int_equal(sc->client.err, ECONNREFUSED);
	assert_int_equal(sc->client.opens, 0);
}

static void nothing_is_called_back_from_inside_new_write_or_free(void **state)
{
	struct scene *sc = *state;
	struct linger hard = { .l_onoff = 1 };
	int r;

	meet(sc);
	/* A reset peer: the error may be found by the write itself. */
	(void)setsockopt(stream_fd(sc->server.s), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	sc->server.s = stream_free(sc->server.s);
	r = stream_write(sc->client.s, "x", 1);
	assert_true(r == 0 || r == -EPIPE);
	assert_int_equal(sc->client.closes, 0);
	support_run_until(sc->l, &sc->client.closed, 3000);
	assert_true(sc->client.err == ECONNRESET || sc->client.err == EPIPE);
	assert_int_equal(sc->client.closes, 1);
	support_run_for(sc->l, 20);
	assert_int_equal(sc->client.closes, 1);
}

static unsigned shortages;

static void on_shortage(int err, void *arg)
{
	(void)arg;
	assert_int_equal(err, EMFILE);
	shortages++;
}

static void out_of_descriptors_pauses_says_so_once_and_recovers(void **state)
{
	static const struct acceptor_ops short_ops = { on_accept, on_shortage };
	struct scene *sc = *state;
	struct rlimit old, tight;
	uint64_t passes;

	acceptor_free(sc->a);
	assert_int_equal(acceptor_new(sc->l, listener(&sc->at), &short_ops, sc, &sc->a), 0);
	connect_client(sc);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	tight.rlim_cur = (rlim_t)stream_fd(sc->client.s) + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	shortages = 0;
	passes = loop_passes(sc->l);
	support_run_for(sc->l, 350);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(shortages, 1);
	assert_true(loop_passes(sc->l) - passes < 60); /* it did not spin */
	support_run_until(sc->l, &sc->server.opened, 1000);
}

/* ---- TLS only ---- */

static void a_wrong_name_is_refused_by_the_client_with_a_reason(void **state)
{
	struct scene *sc = *state;

	sc->client_opt.server_name = "evil.example.org";
	connect_client(sc);
	support_run_until(sc->l, &sc->client.closed, 3000);
	assert_int_equal(sc->client.err, EPROTO);
	assert_non_null(strstr(sc->client.why, "certificate is refused"));
	assert_non_null(strstr(sc->client.why, "mismatch"));
	sc->client.s = stream_free(sc->client.s);
	support_run_until(sc->l, &sc->server.closed, 3000);
	assert_int_equal(sc->server.err, EPROTO);
	assert_int_equal(sc->client.opens + sc->server.opens, 0);
}

/* A raw TCP client that says n bytes of p. */
static int raw_client(struct scene *sc, const void *p, size_t n)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, &sc->at.sa, addr_len(&sc->at)), 0);
	if (n)
		assert_int_equal(send(fd, p, n, 0), n);
	return fd;
}

static void garbage_instead_of_a_client_hello_is_a_clean_close(void **state)
{
	struct scene *sc = *state;

	for (unsigned i = 0; i < 200; i++) {
		uint8_t junk[512];
		int fd;

		assert_int_equal(bytes_random(junk, sizeof(junk)), 0);
		if (i % 2) /* looks like a record of a ClientHello for a while */
			memcpy(junk, "\x16\x03\x01\x01\xfb\x01\x00\x01\xf7\x03\x03", 11);
		fd = raw_client(sc, junk, sizeof(junk));
		assert_int_equal(shutdown(fd, SHUT_WR), 0); /* chance may promise a longer record */
		sc->accepted = 0;
		free(sc->server.got);
		sc->server = (struct end){ 0 };
		support_run_until(sc->l, &sc->server.closed, 3000);
		assert_true(sc->server.err == EPROTO || (i % 2 == 0 && sc->server.err == ECONNRESET));
		assert_non_null(strstr(sc->server.why, "TLS"));
		assert_int_equal(sc->server.opens, 0);
		sc->server.s = stream_free(sc->server.s);
		close(fd);
	}
	assert_int_equal(ERR_peek_error(), 0); /* nothing left behind for the next one */
}

static void a_handshake_that_never_ends_is_ended(void **state)
{
	struct scene *sc = *state;
	int fd;

	sc->server_opt.handshake_ms = 80;
	fd = raw_client(sc, "\x16\x03\x01\x01\x00", 5);
	support_run_until(sc->l, &sc->server.closed, 2000);
	assert_int_equal(sc->server.err, ETIMEDOUT);
	close(fd);
}

static void a_peer_that_leaves_during_the_handshake_is_reported(void **state)
{
	struct scene *sc = *state;

	close(raw_client(sc, "\x16\x03\x01\x01\x00", 5));
	support_run_until(sc->l, &sc->server.closed, 2000);
	assert_int_equal(sc->server.err, ECONNRESET);
}

static void a_fin_without_close_notify_is_an_end_and_is_told_apart(void **state)
{
	struct scene *sc = *state;

	meet(sc);
	assert_int_equal(shutdown(stream_fd(sc->client.s), SHUT_WR), 0);
	support_run_until(sc->l, &sc->server.closed, 3000);
	assert_int_equal(sc->server.err, 0);
	assert_non_null(strstr(sc->server.why, "without a TLS close_notify"));
}

static void tls_streams_work_over_tls_1_2_as_well(void **state)
{
	struct scene *sc = *state;

	SSL_CTX_set_max_proto_version(tls_ctx_ssl(sc->server_tls), TLS1_2_VERSION);
	bytes_travel_both_ways_and_the_end_is_reported_once(state);
}

#define both(f)                                                                                    \
	{ "plain: " #f, f, plain_setup, scene_teardown, NULL }, { "tls: " #f, f, tls_setup, scene_teardown, NULL }
#define plain(f) { "plain: " #f, f, plain_setup, scene_teardown, NULL }
#define tls(f) { "tls: " #f, f, tls_setup, scene_teardown, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		both(bytes_travel_both_ways_and_the_end_is_reported_once),
		both(what_is_written_before_it_is_open_goes_out_first),
		both(finish_before_it_is_open_still_delivers),
		both(a_reader_that_pauses_holds_the_writer_back_and_nothing_is_lost),
		both(what_the_owner_leaves_comes_again_with_what_follows),
		both(a_pause_inside_on_data_keeps_the_rest_until_resumed),
		both(a_message_larger_than_the_buffer_closes_with_enobufs),
		both(a_stream_may_be_freed_in_any_callback),
		both(a_stream_may_be_freed_in_on_open),
		both(finish_inside_on_data_sends_the_answer_first),
		both(what_is_queued_at_the_end_has_time_as_long_as_it_moves),
		both(a_peer_that_never_closes_is_left_after_two_seconds),
		both(an_idle_stream_is_closed_after_its_time),
		both(a_queue_that_is_full_says_no_and_takes_all_or_nothing),
		plain(a_refused_connection_is_reported_from_the_loop),
		plain(nothing_is_called_back_from_inside_new_write_or_free),
		plain(out_of_descriptors_pauses_says_so_once_and_recovers),
		tls(a_wrong_name_is_refused_by_the_client_with_a_reason),
		tls(garbage_instead_of_a_client_hello_is_a_clean_close),
		tls(a_handshake_that_never_ends_is_ended),
		tls(a_peer_that_leaves_during_the_handshake_is_reported),
		tls(a_fin_without_close_notify_is_an_end_and_is_told_apart),
		tls(tls_streams_work_over_tls_1_2_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
