/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a direct link with every allocation of ours failed once: each is made whole or says so, nothing leaks, and a link
 * whose connection finds no memory delivers what it has to, or ends with a reason; no byte is another one.
 *
 * What GnuTLS and ngtcp2 allocate themselves does not fail here: quic_conn.c takes their word for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "common/control_link.h"
#include "common/unix_socket.h"
#include "tests/oom/failing.h"
#include "tests/unit/peer_world.h"
#include "tunnel/direct/channel.h"
#include "tunnel/direct/prober.h"

enum { BYTES = 200000 };

/* ---- a link ---- */

static bool arrived(struct world *w)
{
	const struct app_stream *a = &w->ends[HOST].streams[0];

	return w->ends[VISITOR].downs || w->ends[HOST].downs || (a->received == BYTES && a->finished);
}

static uint64_t fixed_clock(void *arg)
{
	return ((struct world *)arg)->now;
}

static void a_link_is_made_or_not(void **state)
{
	struct world w = { 0 };

	(void)state;
	world_open(&w, 200);
	for (unsigned n = 1; oom_next(&n);) {
		struct peer_link_options o = { .visitor = true, .creds = w.ends[VISITOR].creds, .peer = *identity_hash(w.ends[HOST].id),
					       .pool = &w.ends[VISITOR].pool, .clock = fixed_clock, .clock_arg = &w, .ops = &w.ends[VISITOR].ops };
		struct peer_link *l = NULL;
		int r = peer_link_new(&o, &l);

		assert_true(r == 0 || (r == -ENOMEM && oom_hit() && !l));
		peer_link_free(l);
	}
	world_close(&w);
}

static void bytes_arrive_or_the_link_says_why_not(void **state)
{
	(void)state;
	for (unsigned n = 1;; n++) {
		struct world w = { 0 };
		bool good, hit;

		world_open(&w, 200);
		world_wire(&w, 0, PATH_DIRECT, 5, 50, 0);
		assert_true(world_until(&w, world_up, 5000));
		world_send(&w, VISITOR, BYTES, true);
		oom_arm(n);
		good = world_until(&w, arrived, 3000);
		hit = oom_hit();
		oom_arm(0);
		assert_true(good || hit);
		world_close(&w);
		if (!hit)
			break;
	}
}

/* Its reader is not told to read on by anything but room(). */
static void a_stream_that_found_no_memory_goes_on_when_there_is_some(void **state)
{
	struct world w = { 0 };
	struct app_stream *a;

	(void)state;
	world_open(&w, 200);
	world_wire(&w, 0, PATH_DIRECT, 5, 50, 0);
	assert_true(world_until(&w, world_up, 5000));
	a = world_send(&w, VISITOR, 1, false);
	world_run(&w, 1000); /* and what it had taken is given back */
	chunk_pool_trim(&w.ends[VISITOR].pool);
	a->finish = true;
	oom_arm(1);
	world_continue(&w.ends[VISITOR], a, BYTES - 1);
	assert_true(oom_hit());
	oom_arm(0);
	assert_true(world_until(&w, arrived, 60000));
	assert_int_equal(w.ends[HOST].streams[0].received, BYTES);
	world_close(&w);
}

/* ---- the probe ---- */

static void send_nothing(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg)
{
	(void)socket, (void)to, (void)p, (void)n, (void)arg;
}

static void done(enum prober_end e, unsigned socket, const struct addr *peer, void *arg)
{
	(void)e, (void)socket, (void)peer, (void)arg;
}

static uint32_t no_random(void *arg)
{
	(void)arg;
	return 7;
}

static void a_probe_begins_or_not(void **state)
{
	static const struct prober_ops ops = { send_nothing, done, no_random };

	(void)state;
	for (unsigned n = 1; oom_next(&n);) {
		struct timers *timers = NULL;
		struct prober *p = NULL;
		struct prober_options o = { .role = PROBER_EASY, .ops = &ops, .ufrag = "easy", .pwd = "easyeasyeasyeasyeasyeasy", .peer_ufrag = "hard",
					    .peer_pwd = "hardhardhardhardhardhard", .peer = addr_v4(0xcb007108, 0), .low = 1024, .high = 65535 };
		int r;

		oom_pause();
		timers = timers_new(0);
		assert_non_null(timers);
		oom_resume();
		o.timers = timers;
		r = prober_new(&o, 0, &p);
		assert_true(r == 0 || (oom_hit() && !p));
		prober_free(p);
		timers_free(timers);
	}
}

/* ---- supervisor and child ---- */

static void on_message(struct channel *c, unsigned type, const union child_any *m, int *fd, void *arg)
{
	(void)c, (void)type, (void)m, (void)fd, (void)arg;
}

static void on_closed(struct channel *c, const char *why, void *arg)
{
	(void)c, (void)why, (void)arg;
}

/* Until the socket is full and what is said has to wait. */
static void words_wait_or_the_channel_ends(void **state)
{
	static const struct channel_ops ops = { on_message, on_closed };
	uint8_t bytes[4000] = { 1 };
	const struct child_memory m = { .memory = { bytes, sizeof(bytes) } };
	struct loop *l;

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	for (unsigned n = 1; oom_next(&n);) {
		struct channel *c = NULL;
		int fds[2], r;

		assert_int_equal(channel_pair(fds), 0);
		r = channel_new(l, fds[0], CHILD_TO_SUPERVISOR, &ops, NULL, &c);
		for (unsigned i = 0; i < 400 && r == 0; i++)
			r = channel_send(c, CHILD_MEMORY, &m);
		assert_true(r == 0 || oom_hit());
		channel_free(c);
		close(fds[1]);
	}
	loop_free(l);
}

static void no_link(struct control_link *l, int err, const char *why, void *arg)
{
	(void)l, (void)err, (void)why, (void)arg;
}

static void answered(int r, json_t *result, json_t *error, void *arg)
{
	unsigned *n = arg;

	assert_true(r < 0 && !result && !error); /* nobody accepts */
	++*n;
}

static void a_question_of_another_service_is_over_once(void **state)
{
	static const struct control_link_ops ops = { .on_down = no_link };
	char path[64];
	struct loop *l;
	int fd;

	(void)state;
	(void)snprintf(path, sizeof(path), "/tmp/stile-oom-%d.sock", (int)getpid());
	assert_int_equal(unix_socket_listen(path, &(struct unix_socket_options){ .mode = 0600, .uid = geteuid() }, &fd), 0);
	assert_int_equal(loop_new(&l), 0);
	for (unsigned n = 1; oom_next(&n);) {
		struct control_link *c = NULL;
		unsigned told = 0;
		int r = control_link_new(l, path, &ops, NULL, &c);

		if (r == 0)
			(void)control_link_call(c, "ping", NULL, 1000, answered, &told);
		control_link_free(c);
		assert_true(r == 0 ? told == 1 : oom_hit() && told == 0);
	}
	loop_free(l);
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_link_is_made_or_not),
		cmocka_unit_test(bytes_arrive_or_the_link_says_why_not),
		cmocka_unit_test(a_stream_that_found_no_memory_goes_on_when_there_is_some),
		cmocka_unit_test(a_probe_begins_or_not),
		cmocka_unit_test(words_wait_or_the_channel_ends),
		cmocka_unit_test(a_question_of_another_service_is_over_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
