/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets in a byte pipe (tunnel/direct/path_framed.c) over a socket pair whose other end is the test's: batches that arrive in any
 * pieces, frames that are none, a pipe that is full, closed, or whose path is freed in a callback.
 */
#include "tests/unit/support.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/bytes.h"
#include "tunnel/direct/path.h"

static struct {
	struct loop *l;
	struct path *p;
	int far; /* the other end, blocking */
	unsigned arrived, states;
	bool writable, failed, free_then, got;
	uint8_t data[PATH_BATCH_MAX];
	size_t n, segment;
	char why[PATH_WHY];
} w;

static void on_arrived(struct path *p, uint8_t *data, size_t n, size_t segment, void *arg)
{
	(void)arg;
	w.arrived++;
	w.got = true;
	memcpy(w.data, data, n);
	w.n = n;
	w.segment = segment;
	if (w.free_then)
		w.p = path_free(p);
}

static void on_writable(struct path *p, void *arg)
{
	(void)arg;
	w.writable = true;
	if (w.free_then)
		w.p = path_free(p);
}

static void on_state(struct path *p, void *arg)
{
	(void)arg;
	w.states++;
	w.failed = p->state == PATH_FAILED;
	memcpy(w.why, p->why, sizeof(w.why));
	w.p = path_free(p); /* as an owner does */
}

static const struct path_sink sink = { on_arrived, on_writable, on_state };

static int setup(void **state)
{
	int fd[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	assert_int_equal(loop_new(&w.l), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
	w.far = fd[1];
	assert_int_equal(path_framed_new(w.l, PATH_RELAY, fd[0], &w.p), 0);
	path_own(w.p, &sink, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	w.p = path_free(w.p);
	if (w.far >= 0)
		close(w.far);
	loop_free(w.l);
	return 0;
}

static void say(const void *p, size_t n)
{
	assert_int_equal(send(w.far, p, n, MSG_NOSIGNAL), n);
}

static void hear(void *p, size_t n)
{
	assert_int_equal(recv(w.far, p, n, MSG_WAITALL), n);
}

static void a_batch_arrives_however_the_pipe_cuts_it(void **state)
{
	uint8_t frame[FRAMED_HEAD + 25], warm[FRAMED_HEAD] = { 0 };

	(void)state;
	framed_head(frame, 10, 25);
	for (size_t i = 0; i < 25; i++)
		frame[FRAMED_HEAD + i] = (uint8_t)i;
	say(warm, sizeof(warm));
	for (size_t i = 0; i < sizeof(frame); i++) {
		assert_int_equal(w.arrived, 0);
		say(frame + i, 1);
		if (i + 1 < sizeof(frame))
			support_run_for(w.l, 1);
	}
	support_run_until(w.l, &w.got, 30000);
	assert_int_equal(w.arrived, 1); /* an empty frame is no batch */
	assert_int_equal(w.n, 25);
	assert_int_equal(w.segment, 10);
	assert_memory_equal(w.data, frame + FRAMED_HEAD, 25);
	assert_int_equal(w.p->packets[1], 3);
	assert_int_equal(w.p->bytes[1], 25);
}

static void a_batch_leaves_behind_its_head(void **state)
{
	static uint8_t big[PATH_BATCH_MAX + 1];
	uint8_t got[FRAMED_HEAD + 5];

	(void)state;
	assert_int_equal(path_send(w.p, (const uint8_t *)"abcde", 5, 5), 0);
	hear(got, sizeof(got));
	assert_memory_equal(got, "\0\5\0\5abcde", sizeof(got));
	assert_int_equal(path_send(w.p, big, sizeof(big), 1200), -ENOTCONN);
	assert_int_equal(w.p->packets[0], 1);
}

static void what_is_no_frame_ends_the_path_with_its_reason(void **state)
{
	static const uint8_t bad[][FRAMED_HEAD] = { { 0, 0, 0, 1 }, { 0, 2, 0, 1 }, { 0, 1, 0, 0 }, { 0, 1, 0xff, 0xff } };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (i) {
			teardown(state);
			setup(state);
		}
		say(bad[i], FRAMED_HEAD);
		support_run_until(w.l, &w.failed, 30000);
		assert_string_equal(w.why, "what came through the pipe is no frame of ours");
		assert_int_equal(w.states, 1);
		assert_int_equal(w.arrived, 0);
	}
}

static void a_closed_pipe_is_told_once_and_never_from_within_a_call(void **state)
{
	close(w.far);
	w.far = -1;
	assert_int_equal(path_send(w.p, (const uint8_t *)"x", 1, 1), -ENOTCONN); /* lost */
	assert_int_equal(w.states, 0);
	assert_int_equal(path_send(w.p, (const uint8_t *)"x", 1, 1), -ENOTCONN);
	support_run_until(w.l, &w.failed, 30000);
	assert_int_equal(w.states, 1);
	assert_non_null(strstr(w.why, "the other end"));
	teardown(state);
	setup(state);
	close(w.far);
	w.far = -1;
	support_run_until(w.l, &w.failed, 30000); /* and without a call */
	assert_non_null(strstr(w.why, "the other end has closed the pipe"));
}

/* Batches until the pipe takes no more; their number. */
static unsigned fill(void)
{
	static uint8_t batch[PATH_BATCH_MAX];
	unsigned n = 0;
	int r;

	while ((r = path_send(w.p, batch, sizeof(batch), 1200)) == 0)
		n++;
	assert_int_equal(r, -EAGAIN);
	return n;
}

static void a_full_pipe_takes_one_batch_more_and_says_when_there_is_room(void **state)
{
	static uint8_t got[FRAMED_HEAD + PATH_BATCH_MAX];
	unsigned n = fill();

	(void)state;
	support_run_for(w.l, 5);
	assert_false(w.writable);
	for (unsigned i = 0; i + 1 < n; i++)
		hear(got, sizeof(got));
	support_run_until(w.l, &w.writable, 30000);
	hear(got, sizeof(got)); /* the one that was kept, whole */
	assert_int_equal(load_be16(got), 1200);
	assert_int_equal(load_be16(got + 2), PATH_BATCH_MAX);
	assert_int_equal(path_send(w.p, (const uint8_t *)"x", 1, 1), 0);
}

static void a_path_may_be_freed_in_its_callbacks(void **state)
{
	static uint8_t got[FRAMED_HEAD + PATH_BATCH_MAX];
	static const uint8_t two[] = { 0, 1, 0, 1, 'a', 0, 1, 0, 1, 'b' };
	unsigned n;

	w.free_then = true;
	say(two, sizeof(two));
	support_run_until(w.l, &w.got, 30000);
	assert_int_equal(w.arrived, 1); /* the second is nobody's any more */
	assert_null(w.p);
	teardown(state);
	setup(state);
	w.free_then = true;
	n = fill();
	for (unsigned i = 0; i + 1 < n; i++)
		hear(got, sizeof(got));
	support_run_until(w.l, &w.writable, 30000);
	assert_null(w.p);
}

static void on_far(struct io *io, int events)
{
	(void)io;
	(void)events;
	w.got = true;
}

/* NATs and proxies on the way forget what is silent. Time is the timers' alone: nobody waits for it. */
static void a_silent_pipe_is_kept_warm(void **state)
{
	struct timers *timers = loop_timers(w.l);
	uint8_t got[FRAMED_HEAD + 1];
	struct io far = { 0 };

	(void)state;
	assert_int_equal(path_send(w.p, (const uint8_t *)"a", 1, 1), 0);
	hear(got, FRAMED_HEAD + 1);
	timers_run(timers, loop_now(w.l) + 15100);
	assert_int_equal(io_start(&far, w.l, w.far, IO_READ, on_far), 0);
	support_run_until(w.l, &w.got, 30000);
	io_stop(&far);
	assert_int_equal(recv(w.far, got, sizeof(got), MSG_DONTWAIT), FRAMED_HEAD);
	assert_memory_equal(got, "\0\0\0", FRAMED_HEAD);
	assert_int_equal(w.p->packets[0], 1); /* that was no packet */
}

static void a_full_pipe_that_breaks_is_told_from_the_loop(void **state)
{
	(void)state;
	(void)fill();
	close(w.far);
	w.far = -1;
	assert_int_equal(w.states, 0);
	support_run_until(w.l, &w.failed, 30000);
	assert_int_equal(w.states, 1);
	assert_true(w.why[0] != '\0');
}

/* Over TCP nothing may wait for more to come. */
static void a_connection_is_tuned_for_packets(void **state)
{
	struct addr at = addr_v4(INADDR_LOOPBACK, 0);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 0;
	socklen_t n = sizeof(at);

	teardown(state);
	memset(&w, 0, sizeof(w));
	assert_int_equal(loop_new(&w.l), 0);
	assert_true(listener >= 0 && fd >= 0);
	assert_int_equal(bind(listener, &at.sa, sizeof(at.in4)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, &at.sa, &n), 0);
	assert_int_equal(connect(fd, &at.sa, n), 0);
	w.far = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(w.far >= 0);
	close(listener);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(path_framed_new(w.l, PATH_TCP, fd, &w.p), 0);
	path_own(w.p, &sink, NULL);
	n = sizeof(on);
	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &n), 0);
	assert_true(on != 0);
	a_batch_leaves_behind_its_head(state);
}

int main(void)
{
#define PIPE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		PIPE(a_batch_arrives_however_the_pipe_cuts_it),
		PIPE(a_batch_leaves_behind_its_head),
		PIPE(what_is_no_frame_ends_the_path_with_its_reason),
		PIPE(a_closed_pipe_is_told_once_and_never_from_within_a_call),
		PIPE(a_full_pipe_takes_one_batch_more_and_says_when_there_is_room),
		PIPE(a_path_may_be_freed_in_its_callbacks),
		PIPE(a_silent_pipe_is_kept_warm),
		PIPE(a_full_pipe_that_breaks_is_told_from_the_loop),
		PIPE(a_connection_is_tuned_for_packets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
