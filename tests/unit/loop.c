/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop on the real clock: timers, descriptors, hooks, mail between threads, workers. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "common/loop.h"

static uint64_t real_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- timers ---- */

struct shot {
	struct timer t;
	struct loop *l;
	uint64_t due, fired;
	int n, stop_after;
	uint64_t again;
};

static void on_shot(struct timer *t, uint64_t now)
{
	struct shot *s = container_of(t, struct shot, t);

	assert_true(now >= s->due);
	s->fired = now;
	s->n++;
	if (s->again) {
		s->due = now + s->again;
		loop_timer_set(s->l, t, s->again);
	}
	if (s->n == s->stop_after)
		loop_stop(s->l);
}

static void a_timer_fires_once_it_is_due_and_never_early(void **state)
{
	_cleanup_(loop_freep) struct loop *l = NULL;
	struct shot s = { .t.fire = on_shot, .stop_after = 1 };
	uint64_t t0;

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	t0 = loop_now(l); /* of the pass: real time may be further on a busy machine */
	s.l = l;
	s.due = t0 + 30;
	loop_timer_set(l, &s.t, 30);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(s.n, 1);
	assert_in_range(real_ms() - t0, 29, 30000);
}

static void a_timer_set_from_its_own_callback_fires_again(void **state)
{
	_cleanup_(loop_freep) struct loop *l = NULL;
	struct shot s = { .t.fire = on_shot, .stop_after = 5, .again = 4 };

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	s.l = l;
	loop_timer_set(l, &s.t, 0);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(s.n, 5);
	timer_stop(&s.t);
}

static void a_loop_that_slept_long_before_it_runs_counts_from_its_first_pass(void **state)
{
	_cleanup_(loop_freep) struct loop *l = NULL;
	struct shot s = { .t.fire = on_shot, .stop_after = 1 };
	uint64_t t0, passes;

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	usleep(60 * 1000);
	/* Set before the run: counts from loop_new, so it is due at once. */
	s.l = l;
	loop_timer_set(l, &s.t, 10);
	t0 = real_ms();
	passes = loop_passes(l);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(loop_passes(l) - passes, 1); /* and waited for nothing */
	assert_in_range(loop_now(l), t0, real_ms());
}

/* ---- descriptors ---- */

struct pipe_end {
	struct io io;
	struct loop *l;
	struct shot *late;
	uint64_t now;
	int calls;
	char got;
};

static void on_readable(struct io *io, int events)
{
	struct pipe_end *p = container_of(io, struct pipe_end, io);

	assert_int_equal(events, IO_READ);
	assert_int_equal(read(io->fd, &p->got, 1), 1);
	p->now = loop_now(io->loop);
	p->calls++;
	loop_stop(io->loop);
}

struct writer {
	struct timer t;
	int fd;
};

static void write_byte(struct timer *t, uint64_t now)
{
	(void)now;
	assert_int_equal(write(container_of(t, struct writer, t)->fd, "x", 1), 1);
}

static void now_is_read_after_the_wait_and_not_before_it(void **state)
{
	_cleanup_(loop_freep) struct loop *l = NULL;
	struct pipe_end p = { 0 };
	struct writer w = { .t.fire = write_byte };
	int fds[2];
	uint64_t t0;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(loop_new(&l), 0);
	w.fd = fds[1];
	assert_int_equal(io_start(&p.io, l, fds[0], IO_READ, on_readable), 0);
	t0 = loop_now(l);
	loop_timer_set(l, &w.t, 40);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(p.calls, 1);
	assert_int_equal(p.got, 'x');
	assert_true(p.now >= t0 + 40);
	io_stop(&p.io);
	io_stop(&p.io);
	close(fds[0]);
	close(fds[1]);
}

static void never_called(struct io *io, int events)
{
	(void)io;
	(void)events;
	fail();
}

static void a_descriptor_that_is_watched_for_nothing_stays_silent_until_changed(void **state)
{
	_cleanup_(loop_freep) struct loop *l = NULL;
	struct shot s = { .t.fire = on_shot, .stop_after = 1 };
	struct pipe_end p = { 0 };
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "y", 1), 1);
	assert_int_equal(loop_new(&l), 0);
	s.l = l;
	assert_int_equal(io_start(&p.io, l, fds[0], 0, never_called), 0);
	loop_timer_set(l, &s.t, 10);
	assert_int_equal(loop_run(l), 0);
	p.io.ready = on_readable;
	assert_int_equal(io_change(&p.io, IO_READ), 0);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(p.got, 'y');
	io_stop(&p.io);
	close(fds[0]);
	close(fds[1]);
}

static int got_signal;

static void on_usr1(int signo, void *arg)
{
	got_signal = signo;
	loop_stop(arg);
}

static void a_signal_is_delivered_in_the_loop(void **state)
{
	_cleanup_(loop_freep) struct loop *l = NULL;

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(loop_on_signal(l, SIGUSR1, on_usr1, l), 0);
	raise(SIGUSR1);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(got_signal, SIGUSR1);
}

/* ---- hooks ---- */

struct counted_hook {
	struct pass_hook h;
	struct pass_hook *removes;
	struct loop *l;
	int n, order;
};
static int hook_clock;

static void count_hook(struct pass_hook *h)
{
	struct counted_hook *c = container_of(h, struct counted_hook, h);

	c->n++;
	c->order = ++hook_clock;
	if (c->removes)
		loop_remove_hook(c->removes);
	if (c->l)
		loop_stop(c->l);
}

static void hooks_run_each_pass_and_the_first_added_runs_last(void **state)
{
	_cleanup_(loop_freep) struct loop *l = NULL;
	struct counted_hook a = { .h.run = count_hook }, b = { .h.run = count_hook };

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	a.l = l;
	loop_add_hook(l, &a.h);
	loop_add_hook(l, &b.h);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(a.n, 2);
	assert_int_equal(b.n, 2);
	assert_true(b.order < a.order);
	assert_int_equal(loop_passes(l), 2);
	loop_remove_hook(&a.h);
	loop_remove_hook(&b.h);
}

static void a_hook_may_remove_itself_and_the_one_that_is_next(void **state)
{
	_cleanup_(loop_freep) struct loop *l = NULL;
	struct counted_hook a = { .h.run = count_hook }, b = a, c = a;

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	a.l = l;
	c.removes = &b.h;
	loop_add_hook(l, &a.h);
	loop_add_hook(l, &b.h);
	loop_add_hook(l, &c.h);
	a.removes = &a.h;
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(b.n, 0);
	assert_int_equal(a.n, 1);
	assert_int_equal(c.n, 1);
	loop_stop(l);
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(a.n, 1);
	assert_int_equal(c.n, 2);
	loop_remove_hook(&c.h);
}

/* ---- mail ---- */

struct letter {
	struct mail m;
	int number;
	int *expect;
	bool last, *dropped;
};

static void on_letter(struct mail *m, struct loop *l)
{
	struct letter *t = container_of(m, struct letter, m);

	assert_int_equal(t->number, *t->expect);
	++*t->expect;
	if (t->last)
		loop_stop(l);
}

static void mail_arrives_in_the_order_it_was_posted_even_before_the_run(void **state)
{
	_cleanup_(loop_freep) struct loop *l = NULL;
	struct letter t[100];
	int expect = 0;

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	for (int i = 0; i < 100; i++) {
		t[i] = (struct letter){ .m.deliver = on_letter, .number = i, .expect = &expect, .last = i == 99 };
		loop_post(l, &t[i].m);
	}
	assert_int_equal(loop_run(l), 0);
	assert_int_equal(expect, 100);
}

static void drop_letter(struct mail *m)
{
	*container_of(m, struct letter, m)->dropped = true;
}

static void mail_left_in_a_freed_loop_is_dropped_not_delivered(void **state)
{
	struct loop *l = NULL;
	bool dropped = false;
	struct letter t = { .m = { .deliver = on_letter, .drop = drop_letter }, .number = -1, .dropped = &dropped };
	struct letter u = { .m.deliver = on_letter, .number = -1 };

	(void)state;
	assert_int_equal(loop_new(&l), 0);
	loop_post(l, &t.m);
	loop_post(l, &u.m);
	assert_null(loop_free(l));
	assert_true(dropped);
}

/* ---- workers ---- */

enum { N = 4, MAILS = 25000 }; /* each worker sends this many to each other in turn: 100k in all */

struct ring {
	struct workers ws;
	atomic_uint received, wrong_thread, sent_done, downs, ups;
	atomic_bool all_down_after_ups;
	int fail_at;
	unsigned late;
};

struct parcel {
	struct mail m;
	struct ring *ring;
	struct worker *to;
	unsigned sender;
	unsigned serial;
};

struct inbox {
	unsigned next[N]; /* serial expected from each sender */
	struct ring *ring;
};

static void on_parcel(struct mail *m, struct loop *l)
{
	struct parcel *p = container_of(m, struct parcel, m);
	struct inbox *in = p->to->state;

	if (l != p->to->loop || !pthread_equal(pthread_self(), p->to->thread) ||
	    p->serial != in->next[p->sender])
		atomic_fetch_add(&p->ring->wrong_thread, 1);
	in->next[p->sender] = p->serial + 1;
	atomic_fetch_add(&p->ring->received, 1);
	free(p);
}

static void free_parcel(struct mail *m)
{
	free(container_of(m, struct parcel, m));
}

static void post_parcel(struct ring *ring, struct worker *from, struct worker *to, unsigned serial)
{
	struct parcel *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	*p = (struct parcel){ .m = { .deliver = on_parcel, .drop = free_parcel },
			      .ring = ring, .to = to, .sender = from->index, .serial = serial };
	loop_post(to->loop, &p->m);
}

static void flood_from(struct worker *w, void *arg)
{
	struct ring *ring = arg;

	for (unsigned i = 0; i < MAILS / N; i++)
		for (unsigned k = 0; k < N; k++)
			post_parcel(ring, w, &ring->ws.w[k], i);
}

struct start_flood {
	struct mail m;
	struct worker *w;
	struct ring *ring;
};

static void on_start_flood(struct mail *m, struct loop *l)
{
	struct start_flood *s = container_of(m, struct start_flood, m);

	(void)l;
	flood_from(s->w, s->ring);
	atomic_fetch_add(&s->ring->sent_done, 1);
}

static int ring_setup(struct worker *w, void *arg)
{
	struct ring *ring = arg;

	if ((int)w->index == ring->fail_at)
		return -EADDRINUSE;
	w->state = calloc(1, sizeof(struct inbox));
	if (!w->state)
		return -ENOMEM;
	if (atomic_fetch_add(&ring->ups, 1) != w->index)
		atomic_fetch_add(&ring->wrong_thread, 1);
	return 0;
}

static void ring_teardown(struct worker *w, void *arg)
{
	struct ring *ring = arg;

	atomic_fetch_add(&ring->downs, 1);
	free(w->state);
}

static const struct worker_ops ring_ops = { ring_setup, ring_teardown };

static void four_workers_exchange_a_hundred_thousand_mails_in_order(void **state)
{
	struct ring ring = { .fail_at = -1 };
	struct start_flood s[N];

	(void)state;
	assert_int_equal(workers_start(&ring.ws, N, &ring_ops, &ring), 0);
	assert_int_equal(atomic_load(&ring.ups), N);
	for (unsigned i = 0; i < N; i++) {
		s[i] = (struct start_flood){ .m.deliver = on_start_flood, .w = &ring.ws.w[i], .ring = &ring };
		loop_post(ring.ws.w[i].loop, &s[i].m);
	}
	/* Stopping delivers what is still in the boxes: not one may be missing. */
	workers_stop(&ring.ws);
	assert_int_equal(atomic_load(&ring.sent_done), N);
	assert_int_equal(atomic_load(&ring.received), N * (MAILS / N) * N);
	assert_int_equal(atomic_load(&ring.wrong_thread), 0);
	assert_int_equal(atomic_load(&ring.downs), N);
}

static void a_failed_setup_stops_those_that_were_up_and_returns_its_error(void **state)
{
	struct ring ring = { .fail_at = 2 };

	(void)state;
	assert_int_equal(workers_start(&ring.ws, N, &ring_ops, &ring), -EADDRINUSE);
	assert_int_equal(atomic_load(&ring.ups), 2);
	assert_int_equal(atomic_load(&ring.downs), 2);
	workers_stop(&ring.ws); /* harmless */
}

struct roll_call {
	unsigned n, wrong;
};

static void answer(struct worker *w, void *arg)
{
	struct roll_call *c = arg;

	if (w->index != c->n++ || !pthread_equal(pthread_self(), w->thread))
		c->wrong++;
}

static void a_call_runs_in_each_worker_in_turn_and_waits(void **state)
{
	struct ring ring = { .fail_at = -1 };
	struct roll_call c = { 0 };

	(void)state;
	assert_int_equal(workers_start(&ring.ws, N, &ring_ops, &ring), 0);
	workers_call(&ring.ws, answer, &c);
	assert_int_equal(c.n, N);
	assert_int_equal(c.wrong, 0);
	workers_stop(&ring.ws);
}

static void a_loop_for_which_no_descriptor_is_left_says_so(void **state)
{
	struct rlimit before, few;
	struct loop *l = NULL;
	int held[64], next, n = 0, run = 0, r;

	(void)state;
	while (run < 7 && n < (int)ARRAY_LEN(held)) { /* holes in what we inherited are filled */
		held[n] = dup(0);
		assert_true(held[n] > 0);
		run = n && held[n] == held[n - 1] + 1 ? run + 1 : 1;
		n++;
	}
	assert_int_equal(run, 7);
	next = held[n - 7];
	for (; run; run--)
		close(held[--n]);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (rlim_t more = 0; more < 7; more++) { /* none for the mailbox; for timers; to wait with; for signals … */
		few = (struct rlimit){ (rlim_t)next + more, before.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		r = loop_new(&l);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
		assert_int_equal(r, more < 5 ? -EMFILE : 0);
		if (r == 0)
			l = loop_free(l);
	}
	while (n)
		close(held[--n]);
}

static void there_is_at_least_one_usable_core(void **state)
{
	(void)state;
	assert_in_range(workers_default_count(), 1, 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_timer_fires_once_it_is_due_and_never_early),
		cmocka_unit_test(a_timer_set_from_its_own_callback_fires_again),
		cmocka_unit_test(a_loop_that_slept_long_before_it_runs_counts_from_its_first_pass),
		cmocka_unit_test(now_is_read_after_the_wait_and_not_before_it),
		cmocka_unit_test(a_descriptor_that_is_watched_for_nothing_stays_silent_until_changed),
		cmocka_unit_test(a_signal_is_delivered_in_the_loop),
		cmocka_unit_test(hooks_run_each_pass_and_the_first_added_runs_last),
		cmocka_unit_test(a_hook_may_remove_itself_and_the_one_that_is_next),
		cmocka_unit_test(mail_arrives_in_the_order_it_was_posted_even_before_the_run),
		cmocka_unit_test(mail_left_in_a_freed_loop_is_dropped_not_delivered),
		cmocka_unit_test(four_workers_exchange_a_hundred_thousand_mails_in_order),
		cmocka_unit_test(a_failed_setup_stops_those_that_were_up_and_returns_its_error),
		cmocka_unit_test(a_call_runs_in_each_worker_in_turn_and_waits),
		cmocka_unit_test(a_loop_for_which_no_descriptor_is_left_says_so),
		cmocka_unit_test(there_is_at_least_one_usable_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
