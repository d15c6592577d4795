/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joints between a source and a target that the test plays: TCP over loopback, where resets and hang-ups are
 * what they are in life, and socket pairs. The test's ends are non-blocking and moved by the test itself
 * between runs of the loop.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/joint.h"
#include "common/stream.h"

/* Sanitizers have memory of their own. */
#if defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

struct scene {
	struct loop *l;
	struct joint_pool *pool;
	struct joint *j;
	int source, target; /* the test's own ends */
	int b;		    /* to be dialled when wanted; -1: refuse */
	struct joint_tls tls_b;
	bool opened, ended, free_in_tap, wanted;
	unsigned wants, ends;
	int want_err;
	char want_why[JOINT_WHY], why[JOINT_WHY];
	enum joint_end end;
	int err;
	struct joint_info last;
	size_t tapped[2];
	uint8_t tap_sum;
	size_t budget, passed; /* of limited ways */
};

/* The loop's time is that of its last pass: it is brought up to date first, or nothing would be waited for. */
static void run_for(struct loop *l, unsigned ms)
{
	support_run_for(l, 0);
	support_run_for(l, MAX(ms, 1));
}

/* ---- the owner ---- */

static void want_b(struct joint *j, int err, const char *why, void *arg)
{
	struct scene *sc = arg;

	sc->wants++;
	sc->wanted = true;
	sc->want_err = err;
	snprintf(sc->want_why, sizeof(sc->want_why), "%s", why);
	if (sc->b >= 0) {
		int fd = sc->b;

		sc->b = -1;
		joint_dial(j, fd, &sc->tls_b);
	} else {
		joint_refuse(j, err, why);
	}
}

static void on_open(struct joint *j, void *arg)
{
	(void)j;
	((struct scene *)arg)->opened = true;
}

static void tap(struct joint *j, enum joint_way w, const uint8_t *p, size_t n, void *arg)
{
	struct scene *sc = arg;

	sc->tapped[w] += n;
	for (size_t i = 0; i < n; i++)
		sc->tap_sum ^= p[i];
	if (sc->free_in_tap)
		sc->j = joint_free(j);
}

static size_t room(struct joint *j, enum joint_way w, size_t want, void *arg)
{
	struct scene *sc = arg;

	(void)j;
	(void)w;
	return MIN(want, sc->budget);
}

static void passed(struct joint *j, enum joint_way w, size_t n, void *arg)
{
	struct scene *sc = arg;

	(void)j;
	(void)w;
	assert_true(n <= sc->budget);
	sc->budget -= n;
	sc->passed += n;
}

static void on_end(struct joint *j, enum joint_end end, int err, const char *why, void *arg)
{
	struct scene *sc = arg;

	sc->ends++;
	sc->ended = true;
	sc->end = end;
	sc->err = err;
	assert_true(strlen(why) > 3);
	snprintf(sc->why, sizeof(sc->why), "%s", why);
	joint_info(j, &sc->last);
	sc->j = joint_free(j);
}

static const struct joint_ops ops = { want_b, NULL, on_open, tap, room, passed, on_end };

/* ---- the scene ---- */

static void unblock(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

static void tcp_pair(int ret_fd[2])
{
	struct addr at = addr_v4(0x7f000001, 0);
	socklen_t n = sizeof(at);
	int l, r;

	assert_int_equal(stream_listen_socket(&at, &(struct listen_options){ 0 }, &l), 0);
	assert_int_equal(getsockname(l, &at.sa, &n), 0);
	ret_fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(ret_fd[0], &at.sa, addr_len(&at)), 0);
	do {
		r = accept(l, NULL, NULL);
	} while (r < 0 && errno == EAGAIN);
	assert_true(r >= 0);
	ret_fd[1] = r;
	close(l);
	unblock(ret_fd[0]);
	unblock(ret_fd[1]);
}

static void unix_pair(int ret_fd[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ret_fd), 0);
}

static void scene_begin(struct scene *sc, const struct joint_pool_options *po)
{
	memset(sc, 0, sizeof(*sc));
	sc->source = sc->target = sc->b = -1;
	assert_int_equal(loop_new(&sc->l), 0);
	assert_int_equal(joint_pool_new(sc->l, po, &sc->pool), 0);
}

/* Both pairs, joined and open. */
static void join(struct scene *sc, const struct joint_options *opt, void (*pair)(int *))
{
	struct joint_options o = *opt;
	int a[2], b[2];

	pair(a);
	pair(b);
	sc->source = a[0];
	sc->target = b[1];
	o.fd = a[1];
	assert_int_equal(joint_new(sc->pool, &o, &ops, sc, &sc->j), 0);
	joint_dial(sc->j, b[0], NULL);
	support_run_until(sc->l, &sc->opened, 1000);
}

static void scene_end(struct scene *sc)
{
	sc->j = joint_free(sc->j);
	if (sc->source >= 0)
		close(sc->source);
	if (sc->target >= 0)
		close(sc->target);
	if (sc->b >= 0)
		close(sc->b);
	assert_int_equal(joint_pool_stats(sc->pool)->joints, 0);
	assert_int_equal(joint_pool_stats(sc->pool)->pipes_lent, 0);
	joint_pool_free(sc->pool);
	loop_free(sc->l);
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 31 + (i >> 9) + (i >> 17));
}

struct transfer {
	int from, to;
	size_t n, sent, got;
	bool eof;
};

/* One go at both ends; true while something moved. */
static bool move(struct transfer *t)
{
	static uint8_t buf[1 << 16];
	bool moved = false;
	ssize_t r;

	if (t->sent < t->n) {
		size_t part = MIN(sizeof(buf), t->n - t->sent);

		for (size_t i = 0; i < part; i++)
			buf[i] = byte_at(t->sent + i);
		r = send(t->from, buf, part, MSG_NOSIGNAL);
		if (r > 0) {
			t->sent += (size_t)r;
			moved = true;
		}
		if (t->sent == t->n)
			shutdown(t->from, SHUT_WR);
	}
	while ((r = recv(t->to, buf, sizeof(buf), 0)) > 0) {
		for (ssize_t i = 0; i < r; i++)
			if (buf[i] != byte_at(t->got + (size_t)i))
				fail_msg("byte %zu is not what was sent", t->got + (size_t)i);
		t->got += (size_t)r;
		moved = true;
	}
	t->eof |= r == 0;
	return moved;
}

static void transfer(struct scene *sc, struct transfer *t, size_t n_transfers)
{
	unsigned quiet = 0;
	bool all = false;

	while (!all && quiet < 3000) {
		bool moved = false;

		all = true;
		for (size_t i = 0; i < n_transfers; i++) {
			moved |= move(&t[i]);
			all &= t[i].eof;
		}
		run_for(sc->l, 1);
		quiet = moved ? 0 : quiet + 1;
	}
	for (size_t i = 0; i < n_transfers; i++) {
		assert_true(t[i].eof);
		assert_int_equal(t[i].got, t[i].n);
	}
}

static void say(int fd, const char *s)
{
	assert_int_equal(send(fd, s, strlen(s), MSG_NOSIGNAL), strlen(s));
}

static void hears(struct scene *sc, int fd, const char *s)
{
	char buf[256];
	size_t n = 0;

	for (int i = 0; i < 1000 && n < strlen(s); i++) {
		ssize_t r = recv(fd, buf + n, sizeof(buf) - n, 0);

		if (r > 0)
			n += (size_t)r;
		else
			run_for(sc->l, 1);
	}
	assert_int_equal(n, strlen(s));
	assert_memory_equal(buf, s, n);
}

static int error_of(struct scene *sc, int fd)
{
	char c;

	for (int i = 0; i < 1000; i++) {
		ssize_t r = recv(fd, &c, 1, 0);

		if (r >= 0)
			return r == 0 ? 0 : -1;
		if (errno != EAGAIN)
			return errno;
		run_for(sc->l, 1);
	}
	return -2;
}

/* ---- conversations ---- */

static void both_talk_and_close_one_after_the_other(void **state)
{
	struct scene sc;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	say(sc.target, "220 ready\r\n");
	hears(&sc, sc.source, "220 ready\r\n");
	say(sc.source, "QUIT\r\n");
	shutdown(sc.source, SHUT_WR);
	hears(&sc, sc.target, "QUIT\r\n");
	assert_int_equal(error_of(&sc, sc.target), 0); /* the end was passed on */
	assert_false(sc.ended);
	say(sc.target, "221 bye\r\n");
	hears(&sc, sc.source, "221 bye\r\n"); /* the other way goes on */
	close(sc.target);
	sc.target = -1;
	assert_int_equal(error_of(&sc, sc.source), 0);
	support_run_until(sc.l, &sc.ended, 1000);
	assert_int_equal(sc.end, JOINT_END_CLEAN);
	assert_int_equal(sc.last.bytes[JOINT_UP], 6);
	assert_int_equal(sc.last.bytes[JOINT_DOWN], 20);
	assert_int_equal(sc.ends, 1);
	scene_end(&sc);
}

static void bulk_goes_through_a_pipe_and_the_pipe_comes_back(void **state)
{
	struct scene sc;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	struct transfer t[] = { { sc.source, sc.target, 20 << 20, 0, 0, false }, { sc.target, sc.source, 9 << 20, 0, 0, false } };
	transfer(&sc, t, 2);
	support_run_until(sc.l, &sc.ended, 1000);
	assert_int_equal(sc.end, JOINT_END_CLEAN);
	const struct joint_pool_stats *st = joint_pool_stats(sc.pool);
	assert_true(st->bytes_spliced > 15 << 20);
	assert_int_equal(st->bytes_spliced + st->bytes_copied, 29 << 20);
	assert_int_equal(st->pipes_lent, 0);
	assert_true(st->pipes_spare > 0);
	scene_end(&sc);
}

static void a_bulk_flow_that_goes_quiet_gives_its_pipe_back(void **state)
{
	struct scene sc;
	struct joint_info i;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	struct transfer t = { sc.source, sc.target, 200 << 20, 0, 0, false };
	while (t.sent < 8 << 20) {
		move(&t);
		run_for(sc.l, 0);
	}
	joint_info(sc.j, &i);
	assert_true(i.splicing[JOINT_UP]);
	assert_false(i.splicing[JOINT_DOWN]);
	for (t.n = t.sent + 1; t.got < t.n; run_for(sc.l, 1))
		move(&t);
	run_for(sc.l, 2500);
	joint_info(sc.j, &i);
	assert_false(i.splicing[JOINT_UP]);
	assert_int_equal(joint_pool_stats(sc.pool)->pipes_lent, 0);
	scene_end(&sc);
}

static void without_pipes_bulk_is_copied(void **state)
{
	struct scene sc;

	(void)state;
	scene_begin(&sc, &(struct joint_pool_options){ .no_splice = true });
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	struct transfer t[] = { { sc.source, sc.target, 5 << 20, 0, 0, false }, { sc.target, sc.source, 5 << 20, 0, 0, false } };
	transfer(&sc, t, 2);
	assert_int_equal(joint_pool_stats(sc.pool)->bytes_spliced, 0);
	scene_end(&sc);
}

static void socket_pairs_are_joined_as_well(void **state)
{
	struct scene sc;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ .preface = "PROXY", .preface_n = 5 }, unix_pair);
	hears(&sc, sc.target, "PROXY");
	struct transfer t[] = { { sc.source, sc.target, 5 << 20, 0, 0, false }, { sc.target, sc.source, 5 << 20, 0, 0, false } };
	transfer(&sc, t, 2);
	support_run_until(sc.l, &sc.ended, 1000);
	assert_int_equal(sc.end, JOINT_END_CLEAN);
	scene_end(&sc);
}

static void a_reader_that_does_not_read_costs_one_buffer(void **state)
{
	struct scene sc;
	struct joint_info i;
	static const char junk[100000];

	(void)state;
	scene_begin(&sc, &(struct joint_pool_options){ .no_splice = true });
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	for (int quiet = 0; quiet < 50;) { /* until nobody takes anything more */
		quiet = send(sc.source, junk, sizeof(junk), MSG_NOSIGNAL) > 0 ? 0 : quiet + 1;
		run_for(sc.l, 1);
	}
	joint_info(sc.j, &i);
	assert_true(i.held[JOINT_UP] > 0);
	assert_true(i.held[JOINT_UP] <= JOINT_BUFFER);
	/* The other way is not disturbed. */
	say(sc.target, "hello");
	hears(&sc, sc.source, "hello");
	scene_end(&sc);
}

static void resets_are_passed_on(void **state)
{
	static const struct linger now = { .l_onoff = 1 };

	(void)state;
	for (int side = 0; side < 2; side++) {
		struct scene sc;

		scene_begin(&sc, NULL);
		join(&sc, &(struct joint_options){ 0 }, tcp_pair);
		int *dying = side ? &sc.target : &sc.source, other = side ? sc.source : sc.target;
		assert_int_equal(setsockopt(*dying, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
		close(*dying);
		*dying = -1;
		assert_int_equal(error_of(&sc, other), ECONNRESET);
		support_run_until(sc.l, &sc.ended, 1000);
		assert_int_equal(sc.end, side ? JOINT_END_RESET_B : JOINT_END_RESET_A);
		assert_int_equal(sc.err, ECONNRESET);
		scene_end(&sc);
	}
}

static void an_answer_before_a_reset_still_arrives(void **state)
{
	struct scene sc;
	static const char junk[300000];

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	assert_true(send(sc.source, junk, sizeof(junk), MSG_NOSIGNAL) > 0);
	run_for(sc.l, 5);
	say(sc.target, "413 too large\r\n");
	close(sc.target); /* with the request unread: a reset */
	sc.target = -1;
	(void)send(sc.source, junk, sizeof(junk), MSG_NOSIGNAL);
	hears(&sc, sc.source, "413 too large\r\n");
	support_run_until(sc.l, &sc.ended, 1000);
	assert_int_equal(sc.end, JOINT_END_RESET_B);
	scene_end(&sc);
}

static void a_reset_after_a_half_close_is_noticed(void **state)
{
	static const struct linger now = { .l_onoff = 1 };
	struct scene sc;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	shutdown(sc.source, SHUT_WR);
	assert_int_equal(error_of(&sc, sc.target), 0);
	assert_int_equal(setsockopt(sc.source, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(sc.source);
	sc.source = -1;
	support_run_until(sc.l, &sc.ended, 1000);
	assert_true(sc.end == JOINT_END_RESET_A);
	scene_end(&sc);
}

/* ---- deadlines ---- */

static void idle_joints_end_and_busy_ones_do_not(void **state)
{
	struct scene sc;
	uint64_t said = 0;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ .idle_ms = 150 }, tcp_pair);
	for (int i = 0; i < 8 && !sc.ended; i++) { /* it may end here if this process was stopped */
		said = loop_now(sc.l);
		say(sc.source, "x");
		run_for(sc.l, 50);
	}
	support_run_until(sc.l, &sc.ended, 1000);
	assert_int_equal(sc.end, JOINT_END_IDLE);
	assert_true(loop_now(sc.l) - said >= 150);
	scene_end(&sc);
}

static void a_half_closed_joint_has_its_own_deadline(void **state)
{
	struct scene sc;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ .idle_ms = 60000, .half_close_ms = 100 }, tcp_pair);
	run_for(sc.l, 150);
	assert_false(sc.ended);
	shutdown(sc.target, SHUT_WR);
	support_run_until(sc.l, &sc.ended, 1000);
	assert_int_equal(sc.end, JOINT_END_HALF_CLOSED);
	scene_end(&sc);
}

/* ---- dialling ---- */

static int dead_port(void)
{
	struct addr at = addr_v4(0x7f000001, 0);
	socklen_t n = sizeof(at);
	int l, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(stream_listen_socket(&at, &(struct listen_options){ 0 }, &l), 0);
	assert_int_equal(getsockname(l, &at.sa, &n), 0);
	close(l);
	assert_true(connect(fd, &at.sa, addr_len(&at)) == 0 || errno == EINPROGRESS || errno == ECONNREFUSED);
	return fd;
}

static void a_target_that_refuses_is_followed_by_the_next(void **state)
{
	struct scene sc;
	int a[2], b[2];

	(void)state;
	scene_begin(&sc, NULL);
	tcp_pair(a);
	tcp_pair(b);
	sc.source = a[0];
	sc.target = b[1];
	sc.b = b[0];
	assert_int_equal(joint_new(sc.pool, &(struct joint_options){ .fd = a[1] }, &ops, &sc, &sc.j), 0);
	say(sc.source, "early");
	joint_dial(sc.j, dead_port(), NULL);
	support_run_until(sc.l, &sc.opened, 1000);
	assert_int_equal(sc.wants, 1);
	assert_int_equal(sc.want_err, ECONNREFUSED);
	hears(&sc, sc.target, "early");
	scene_end(&sc);
}

static void without_another_target_the_source_is_reset(void **state)
{
	struct scene sc;
	int a[2];

	(void)state;
	scene_begin(&sc, NULL);
	tcp_pair(a);
	sc.source = a[0];
	assert_int_equal(joint_new(sc.pool, &(struct joint_options){ .fd = a[1] }, &ops, &sc, &sc.j), 0);
	joint_dial(sc.j, dead_port(), NULL);
	assert_int_equal(error_of(&sc, sc.source), ECONNRESET);
	assert_int_equal(sc.end, JOINT_END_CONNECT);
	assert_int_equal(sc.err, ECONNREFUSED);
	scene_end(&sc);
}

static void a_target_that_hangs_runs_into_the_deadline(void **state)
{
	struct addr at = addr_v4(0x7f000001, 0);
	socklen_t n = sizeof(at);
	struct scene sc;
	int a[2], l, fill[8], fd;

	(void)state;
	scene_begin(&sc, NULL);
	tcp_pair(a);
	sc.source = a[0];
	assert_int_equal(stream_listen_socket(&at, &(struct listen_options){ .backlog = 1 }, &l), 0);
	assert_int_equal(getsockname(l, &at.sa, &n), 0);
	for (size_t i = 0; i < ARRAY_LEN(fill); i++) { /* its queue is full: SYNs are dropped */
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fill[i], &at.sa, addr_len(&at));
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(fd, &at.sa, addr_len(&at)), -1);
	assert_int_equal(joint_new(sc.pool, &(struct joint_options){ .fd = a[1], .connect_ms = 100 }, &ops, &sc, &sc.j), 0);
	joint_dial(sc.j, fd, NULL);
	support_run_until(sc.l, &sc.ended, 2000);
	assert_int_equal(sc.end, JOINT_END_CONNECT_TIMEOUT);
	for (size_t i = 0; i < ARRAY_LEN(fill); i++)
		close(fill[i]);
	close(l);
	scene_end(&sc);
}

static void a_source_that_resets_while_we_dial_ends_it(void **state)
{
	static const struct linger now = { .l_onoff = 1 };
	struct scene sc;
	int a[2];

	(void)state;
	scene_begin(&sc, NULL);
	tcp_pair(a);
	assert_int_equal(joint_new(sc.pool, &(struct joint_options){ .fd = a[1] }, &ops, &sc, &sc.j), 0);
	assert_int_equal(setsockopt(a[0], SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(a[0]);
	support_run_until(sc.l, &sc.ended, 1000);
	assert_int_equal(sc.end, JOINT_END_RESET_A);
	scene_end(&sc);
}

/* ---- taps, limits, ends ---- */

static void a_tapped_way_leaves_splice_and_misses_nothing(void **state)
{
	struct scene sc;
	struct joint_info i;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	joint_tap(sc.j, JOINT_UP, true);
	struct transfer t[] = { { sc.source, sc.target, 6 << 20, 0, 0, false }, { sc.target, sc.source, 6 << 20, 0, 0, false } };
	while (t[1].sent < t[1].n / 2) {
		move(&t[0]);
		move(&t[1]);
		run_for(sc.l, 0);
	}
	joint_info(sc.j, &i);
	assert_false(i.splicing[JOINT_UP]);
	assert_true(i.splicing[JOINT_DOWN]);
	joint_tap(sc.j, JOINT_DOWN, true); /* in mid-flow */
	transfer(&sc, t, 2);
	assert_int_equal(sc.tapped[JOINT_UP], 6 << 20);
	assert_in_range(sc.tapped[JOINT_DOWN], 1, (6 << 20) - 1);
	scene_end(&sc);
}

static void an_owner_may_free_the_joint_in_a_tap(void **state)
{
	struct scene sc;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	joint_tap(sc.j, JOINT_UP, true);
	sc.free_in_tap = true;
	say(sc.source, "x");
	assert_int_equal(error_of(&sc, sc.target), 0);
	assert_int_equal(sc.ends, 0);
	assert_null(sc.j);
	scene_end(&sc);
}

static void a_limited_way_passes_what_it_may(void **state)
{
	struct scene sc;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	joint_limit(sc.j, JOINT_UP, true);
	say(sc.source, "0123456789");
	run_for(sc.l, 30);
	assert_int_equal(sc.passed, 0);
	sc.budget = 4;
	hears(&sc, sc.target, "0123");
	run_for(sc.l, 30);
	assert_int_equal(sc.passed, 4);
	say(sc.target, "free"); /* the other way has no limit */
	hears(&sc, sc.source, "free");
	sc.budget = 100;
	hears(&sc, sc.target, "456789");
	scene_end(&sc);
}

static void a_paused_way_waits(void **state)
{
	struct scene sc;
	char c;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	joint_pause(sc.j, JOINT_UP, true);
	say(sc.source, "abc");
	run_for(sc.l, 30);
	assert_int_equal(recv(sc.target, &c, 1, 0), -1);
	joint_pause(sc.j, JOINT_UP, false);
	hears(&sc, sc.target, "abc");
	scene_end(&sc);
}

static void a_killed_joint_resets_both(void **state)
{
	struct scene sc;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	joint_kill(sc.j, NULL);
	joint_kill(sc.j, NULL);
	assert_false(sc.ended); /* not from within the call */
	support_run_until(sc.l, &sc.ended, 1000);
	assert_int_equal(sc.end, JOINT_END_KILLED);
	assert_int_equal(sc.ends, 1);
	assert_int_equal(error_of(&sc, sc.source), ECONNRESET);
	assert_int_equal(error_of(&sc, sc.target), ECONNRESET);
	scene_end(&sc);
}

static void a_killed_joint_resets_a_side_that_has_not_taken_its_bytes(void **state)
{
	struct scene sc;
	static const char block[65536];
	ssize_t n;

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	while ((n = send(sc.source, block, sizeof block, MSG_DONTWAIT)) > 0)
		run_for(sc.l, 5); /* until the target's window is shut */
	joint_kill(sc.j, NULL);
	support_run_until(sc.l, &sc.ended, 1000);
	do
		n = recv(sc.target, (char[65536]){ 0 }, 65536, 0);
	while (n > 0);
	assert_int_equal(n, -1);
	assert_int_equal(errno, ECONNRESET);
	scene_end(&sc);
}

static void the_rate_is_of_the_last_second(void **state)
{
	struct scene sc;
	struct joint_info i = { 0 };

	(void)state;
	scene_begin(&sc, NULL);
	join(&sc, &(struct joint_options){ 0 }, tcp_pair);
	for (int k = 0; k < 13 || (i.rate[JOINT_UP] < 40 && k < 100); k++) { /* more if we were stopped for the last second */
		say(sc.source, "0123456789");
		run_for(sc.l, 100);
		joint_info(sc.j, &i);
	}
	assert_in_range(i.rate[JOINT_UP], 40, 110);
	assert_int_equal(i.rate[JOINT_DOWN], 0);
	scene_end(&sc);
}

/* ---- memory ---- */

static void idle_joints_are_small(void **state)
{
	enum { N = 400 };
	struct scene sc;
	struct joint *j[N];
	int ends[N][2];
	long before, after;

	(void)state;
	scene_begin(&sc, NULL);
	before = support_rss_kib();
	for (int i = 0; i < N; i++) {
		int a[2], b[2];

		unix_pair(a);
		unix_pair(b);
		ends[i][0] = a[0];
		ends[i][1] = b[1];
		sc.opened = false;
		assert_int_equal(joint_new(sc.pool, &(struct joint_options){ .fd = a[1], .idle_ms = 60000 }, &ops, &sc, &j[i]), 0);
		joint_dial(j[i], b[0], NULL);
		support_run_until(sc.l, &sc.opened, 1000);
	}
	after = support_rss_kib();
#if !SANITIZED
	assert_true((after - before) * 1024 / N < 3500);
#else
	(void)before;
	(void)after;
#endif
	for (int i = 0; i < N; i++) {
		joint_free(j[i]);
		close(ends[i][0]);
		close(ends[i][1]);
	}
	scene_end(&sc);
}

/* ---- TLS ---- */

struct tls_client {
	SSL *ssl;
	bool done;
};

static struct tls_ctx *tls_make(struct support_dir *d, bool client)
{
	struct tls_options o = { .client = client };
	char err[TLS_ERRLEN];
	struct tls_ctx *c;

	if (client) {
		o.ca_file = support_path(d, "s.pem");
		o.verify_peer = true;
	} else {
		o.cert_file = support_path(d, "s.pem");
		o.key_file = support_path(d, "s.key");
	}
	assert_int_equal(tls_ctx_new(&o, err, &c), 0);
	return c;
}

/* source ~ TLS ~ A of the first joint, plain between both, B of the second ~ TLS to A of the third … so that every
 * side's TLS is exercised by joints themselves: plain → (B is TLS) → (A is TLS) → plain. */
static void tls_on_either_side_carries_every_byte(void **state)
{
	struct support_dir d;
	struct scene one, two;
	int a[2], mid[2], b[2];

	(void)state;
	support_dir_make(&d);
	support_cert(&d, "s", "DNS:target.test", -1, 2);
	struct tls_ctx *server = tls_make(&d, false), *client = tls_make(&d, true);
	scene_begin(&one, NULL);
	memset(&two, 0, sizeof(two));
	two.l = one.l;
	two.pool = one.pool;
	two.source = two.target = -1;
	tcp_pair(a);
	tcp_pair(mid);
	tcp_pair(b);
	two.b = b[0];
	assert_int_equal(joint_new(one.pool, &(struct joint_options){ .fd = mid[1], .tls.ctx = server }, &ops, &two, &two.j), 0);
	assert_int_equal(joint_new(one.pool, &(struct joint_options){ .fd = a[1] }, &ops, &one, &one.j), 0);
	joint_dial(one.j, mid[0], &(struct joint_tls){ client, "target.test" });
	support_run_until(one.l, &two.opened, 2000);
	assert_true(one.opened);
	assert_non_null(joint_ssl(one.j, JOINT_B));
	assert_non_null(joint_ssl(two.j, JOINT_A));
	struct transfer t[] = { { a[0], b[1], 4 << 20, 0, 0, false }, { b[1], a[0], 3 << 20, 0, 0, false } };
	transfer(&one, t, 2);
	support_run_until(one.l, &one.ended, 1000);
	support_run_until(one.l, &two.ended, 1000);
	assert_int_equal(one.end, JOINT_END_CLEAN);
	assert_int_equal(two.end, JOINT_END_CLEAN);
	assert_int_equal(two.last.bytes[JOINT_UP], 4 << 20);
	close(a[0]);
	close(b[1]);
	tls_ctx_unref(server);
	tls_ctx_unref(client);
	scene_end(&one);
	support_dir_remove(&d);
}

static void a_target_with_the_wrong_name_is_not_reached(void **state)
{
	struct support_dir d;
	struct scene one, two;
	int a[2], mid[2];

	(void)state;
	support_dir_make(&d);
	support_cert(&d, "s", "DNS:target.test", -1, 2);
	struct tls_ctx *server = tls_make(&d, false), *client = tls_make(&d, true);
	scene_begin(&one, NULL);
	memset(&two, 0, sizeof(two));
	two.b = -1;
	tcp_pair(a);
	tcp_pair(mid);
	one.source = a[0];
	assert_int_equal(joint_new(one.pool, &(struct joint_options){ .fd = mid[1], .tls.ctx = server }, &ops, &two, &two.j), 0);
	assert_int_equal(joint_new(one.pool, &(struct joint_options){ .fd = a[1] }, &ops, &one, &one.j), 0);
	joint_dial(one.j, mid[0], &(struct joint_tls){ client, "other.test" });
	support_run_until(one.l, &one.ended, 2000);
	assert_int_equal(one.end, JOINT_END_CONNECT);
	assert_non_null(strstr(one.want_why, "certificate"));
	support_run_until(one.l, &two.ended, 2000);
	tls_ctx_unref(server);
	tls_ctx_unref(client);
	scene_end(&one);
	support_dir_remove(&d);
}

static void a_source_that_speaks_no_tls_or_is_silent_is_let_go(void **state)
{
	struct support_dir d;

	(void)state;
	support_dir_make(&d);
	support_cert(&d, "s", "DNS:target.test", -1, 2);
	for (int silent = 0; silent < 2; silent++) {
		struct tls_ctx *server = tls_make(&d, false);
		struct scene sc;
		int a[2];

		scene_begin(&sc, NULL);
		tcp_pair(a);
		sc.source = a[0];
		assert_int_equal(joint_new(sc.pool, &(struct joint_options){ .fd = a[1], .tls.ctx = server, .handshake_ms = 100 },
					   &ops, &sc, &sc.j), 0);
		if (!silent)
			say(a[0], "GET / HTTP/1.0\r\n\r\n");
		support_run_until(sc.l, &sc.ended, 2000);
		assert_int_equal(sc.end, silent ? JOINT_END_SLOW_TLS_A : JOINT_END_TLS_A);
		assert_int_equal(sc.wants, 0);
		tls_ctx_unref(server);
		scene_end(&sc);
	}
	support_dir_remove(&d);
}

static void every_end_has_a_text_and_a_label(void **state)
{
	(void)state;
	for (unsigned e = 0; e < JOINT_ENDS; e++) {
		assert_true(strlen(joint_end_text((enum joint_end)e)) > 5);
		assert_true(strlen(joint_end_labels[e]) > 3);
	}
	assert_null(joint_end_labels[JOINT_ENDS]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_talk_and_close_one_after_the_other),
		cmocka_unit_test(bulk_goes_through_a_pipe_and_the_pipe_comes_back),
		cmocka_unit_test(a_bulk_flow_that_goes_quiet_gives_its_pipe_back),
		cmocka_unit_test(without_pipes_bulk_is_copied),
		cmocka_unit_test(socket_pairs_are_joined_as_well),
		cmocka_unit_test(a_reader_that_does_not_read_costs_one_buffer),
		cmocka_unit_test(resets_are_passed_on),
		cmocka_unit_test(an_answer_before_a_reset_still_arrives),
		cmocka_unit_test(a_reset_after_a_half_close_is_noticed),
		cmocka_unit_test(idle_joints_end_and_busy_ones_do_not),
		cmocka_unit_test(a_half_closed_joint_has_its_own_deadline),
		cmocka_unit_test(a_target_that_refuses_is_followed_by_the_next),
		cmocka_unit_test(without_another_target_the_source_is_reset),
		cmocka_unit_test(a_target_that_hangs_runs_into_the_deadline),
		cmocka_unit_test(a_source_that_resets_while_we_dial_ends_it),
		cmocka_unit_test(a_tapped_way_leaves_splice_and_misses_nothing),
		cmocka_unit_test(an_owner_may_free_the_joint_in_a_tap),
		cmocka_unit_test(a_limited_way_passes_what_it_may),
		cmocka_unit_test(a_paused_way_waits),
		cmocka_unit_test(a_killed_joint_resets_both),
		cmocka_unit_test(a_killed_joint_resets_a_side_that_has_not_taken_its_bytes),
		cmocka_unit_test(the_rate_is_of_the_last_second),
		cmocka_unit_test(idle_joints_are_small),
		cmocka_unit_test(tls_on_either_side_carries_every_byte),
		cmocka_unit_test(a_target_with_the_wrong_name_is_not_reached),
		cmocka_unit_test(a_source_that_speaks_no_tls_or_is_silent_is_let_go),
		cmocka_unit_test(every_end_has_a_text_and_a_label),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
