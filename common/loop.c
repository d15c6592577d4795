/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event loop: libevent's epoll base driven pass by pass, a timer wheel, a mailbox.
 *
 * libevent only waits and dispatches descriptors and signals. All timers live in the wheel; a timerfd wakes the loop for
 * the earliest of them. It is not a timeout of libevent's, which would ask the clock twice and arm a timer of the kernel's
 * for every wait, however far the deadline. The mailbox is a stack that senders push
 * onto with one compare-and-swap and that the owner takes whole and reverses, which keeps the order
 * of each sender; whoever pushes onto an empty stack writes the eventfd. Nothing else is shared, so
 * libevent needs no locks.
 *
 * The clock is read at the first callback after a wait, not before the wait: libevent waits and
 * dispatches in one call, and a timer set by that callback must count from now.
 */
#include "common/loop.h"
#include "common/clock.h"
#include "common/loop_priv.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { BASE_DESCRIPTORS = 3 };

struct loop {
	struct event_base *base;
	struct timers *timers;
	int tick_fd;		/* a timerfd: wakes the loop for the wheel */
	struct event *tick;
	uint64_t tick_deadline; /* what it is armed for, not later than the earliest timer; TIMERS_NEVER: not armed */
	struct list hooks, signals;
	uint64_t now;
	bool now_fresh; /* now was read since the last wait */
	bool stop;
	int mail_fd;
	struct event *mail_ev;
	_Atomic(struct mail *) mail; /* newest first */
	_Atomic uint64_t passes;
};

struct loop_signal {
	struct list node;
	struct event *ev;
	struct loop *loop;
	void (*fn)(int signo, void *arg);
	void *arg;
};

static void refresh_now(struct loop *l)
{
	if (l->now_fresh)
		return;
	l->now = clock_steady_ms();
	l->now_fresh = true;
}

uint64_t loop_now(const struct loop *l)
{
	/* Every loop is heap memory of ours, so the cache behind the const may be filled. It is
	 * stale only for callbacks of libraries that bring their own events. */
	refresh_now((struct loop *)l);
	return l->now;
}

struct timers *loop_timers(struct loop *l)
{
	return l->timers;
}

uint64_t loop_passes(const struct loop *l)
{
	return atomic_load_explicit(&l->passes, memory_order_relaxed);
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

/* ---- the mailbox ---- */

void loop_post(struct loop *l, struct mail *m)
{
	struct mail *head = atomic_load_explicit(&l->mail, memory_order_relaxed);
	const uint64_t one = 1;

	do {
		m->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&l->mail, &head, m, memory_order_release,
							memory_order_relaxed));
	/* Not empty before: whoever made it so wakes the loop. A full counter (EAGAIN) is awake. */
	if (!head && write(l->mail_fd, &one, sizeof(one)) < 0)
		return;
}

bool loop_has_mail(const struct loop *l)
{
	return atomic_load_explicit(&l->mail, memory_order_relaxed) != NULL;
}

static struct mail *take_mail(struct loop *l)
{
	struct mail *in_order = NULL;
	struct mail *m = atomic_exchange_explicit(&l->mail, NULL, memory_order_acquire);

	while (m) {
		struct mail *next = m->next;

		m->next = in_order;
		in_order = m;
		m = next;
	}
	return in_order;
}

static void deliver_mail(struct loop *l)
{
	struct mail *m = take_mail(l);

	while (m) {
		struct mail *next = m->next;

		m->next = NULL;
		m->deliver(m, l);
		m = next;
	}
}

static void drop_mail(struct loop *l)
{
	struct mail *m = take_mail(l);

	while (m) {
		struct mail *next = m->next;

		if (m->drop)
			m->drop(m);
		m = next;
	}
}

static void on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint64_t count;

	(void)what;
	refresh_now(l);
	/* Only the wake-up is consumed here; the pass takes the mail itself. */
	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

/* ---- passes ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint64_t count;

	(void)what;
	refresh_now(l);
	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
	l->tick_deadline = TIMERS_NEVER; /* it has fired; the pass runs the wheel */
}

/* Arms the wake-up for the earliest timer. Returns true if that is already due. When the earliest was stopped, the wake-up
 * stays as it is: one that finds nothing due costs less than a system call for each timer that is set and stopped. */
static bool arm_tick(struct loop *l)
{
	uint64_t next = timers_next(l->timers);
	struct itimerspec at = { 0 };

	if (next >= l->tick_deadline)
		return false;
	if (next <= l->now)
		return true;
	at.it_value.tv_sec = (time_t)(next / 1000);
	at.it_value.tv_nsec = (long)(next % 1000 * 1000000);
	if (timerfd_settime(l->tick_fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
		return true; /* look at the clock rather than sleep past it */
	l->tick_deadline = next;
	return false;
}

static void run_hooks(struct loop *l)
{
	struct list todo;

	if (list_empty(&l->hooks))
		return;
	/* Hooks are moved over one by one, so that a hook may remove any other. */
	list_init(&todo);
	list_append(&l->hooks, &todo);
	list_unlink(&l->hooks);
	while (!list_empty(&todo)) {
		struct pass_hook *h = list_entry(todo.next, struct pass_hook, node);

		list_unlink(&h->node);
		list_append(&l->hooks, &h->node);
		h->run(h);
	}
}

static void finish_pass(struct loop *l)
{
	refresh_now(l);
	deliver_mail(l);
	timers_run(l->timers, l->now);
	run_hooks(l);
	atomic_fetch_add_explicit(&l->passes, 1, memory_order_relaxed);
}

int loop_run(struct loop *l)
{
	l->now_fresh = false;
	finish_pass(l);
	while (!l->stop) {
		int flags = EVLOOP_ONCE;

		if (arm_tick(l))
			flags |= EVLOOP_NONBLOCK;
		l->now_fresh = false;
		if (event_base_loop(l->base, flags) < 0)
			return errno ? -errno : -EIO;
		finish_pass(l);
	}
	l->stop = false;
	return 0;
}

void loop_add_hook(struct loop *l, struct pass_hook *h)
{
	list_insert_before(l->hooks.next, &h->node);
}

void loop_remove_hook(struct pass_hook *h)
{
	list_unlink(&h->node);
}

/* ---- life ---- */

/* Are there descriptors for a base (epoll, and a pair for signals)? libevent ends the process if it finds
 * none for the pair, so it is asked first. */
static int probe_descriptors(int any_fd)
{
	int fd[BASE_DESCRIPTORS], n = 0, r = 0;

	while (n < BASE_DESCRIPTORS && r == 0) {
		fd[n] = fcntl(any_fd, F_DUPFD_CLOEXEC, 0);
		if (fd[n] < 0)
			r = -errno;
		else
			n++;
	}
	while (n > 0)
		close(fd[--n]);
	return r;
}

static struct event_base *new_base(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base = NULL;

	if (!cfg)
		return NULL;
	/* One thread per base; the environment does not choose the backend; libevent need not know the time. */
	if (!event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV | EVENT_BASE_FLAG_NO_CACHE_TIME) &&
	    !event_config_avoid_method(cfg, "select") && !event_config_avoid_method(cfg, "poll"))
		base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return base;
}

/* OpenSSL writes without MSG_NOSIGNAL. Where the thread has blocked the signal (libstile-agent's, in a process that is another's)
 * that is enough, and what the process does with it stays as it is. */
static void expect_no_sigpipe(void)
{
	sigset_t blocked;

	if (pthread_sigmask(SIG_SETMASK, NULL, &blocked) != 0 || sigismember(&blocked, SIGPIPE) != 1)
		(void)signal(SIGPIPE, SIG_IGN);
}

int loop_new(struct loop **ret_loop)
{
	_cleanup_(loop_freep) struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	loop_memory_start();
	expect_no_sigpipe();
	list_init(&l->hooks);
	list_init(&l->signals);
	l->tick_deadline = TIMERS_NEVER;
	l->tick_fd = -1;
	refresh_now(l);
	l->mail_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->mail_fd < 0)
		return -errno;
	l->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (l->tick_fd < 0)
		return -errno;
	r = probe_descriptors(l->mail_fd);
	if (r < 0)
		return r;
	l->base = new_base();
	l->timers = timers_new(l->now);
	if (!l->base || !l->timers)
		return -ENOMEM;
	l->tick = event_new(l->base, l->tick_fd, EV_READ | EV_PERSIST, on_tick, l);
	l->mail_ev = event_new(l->base, l->mail_fd, EV_READ | EV_PERSIST, on_mail, l);
	if (!l->tick || !l->mail_ev || event_add(l->tick, NULL) < 0 || event_add(l->mail_ev, NULL) < 0)
		return -ENOMEM;
	*ret_loop = steal_ptr(&l);
	return 0;
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	drop_mail(l);
	list_for_each_safe(it, &l->hooks)
		list_unlink(it);
	list_for_each_safe(it, &l->signals) {
		struct loop_signal *s = list_entry(it, struct loop_signal, node);

		list_unlink(it);
		event_free(s->ev);
		free(s);
	}
	if (l->tick)
		event_free(l->tick);
	if (l->mail_ev)
		event_free(l->mail_ev);
	timers_free(l->timers);
	if (l->base)
		event_base_free(l->base);
	if (l->tick_fd >= 0)
		close(l->tick_fd);
	if (l->mail_fd >= 0)
		close(l->mail_fd);
	free(l);
	return NULL;
}

/* ---- descriptors and signals ---- */

static short to_libevent(int events)
{
	return (short)(EV_PERSIST | (events & IO_READ ? EV_READ : 0) | (events & IO_WRITE ? EV_WRITE : 0) |
		       (events & IO_EDGE ? EV_ET : 0) | (events & IO_CLOSED ? EV_CLOSED : 0));
}

static void on_io(evutil_socket_t fd, short what, void *arg)
{
	struct io *io = arg;

	(void)fd;
	refresh_now(io->loop);
	io->ready(io, (what & EV_READ ? IO_READ : 0) | (what & EV_WRITE ? IO_WRITE : 0) | (what & EV_CLOSED ? IO_CLOSED : 0));
}

int io_start(struct io *io, struct loop *l, int fd, int events, void (*ready)(struct io *, int))
{
	*io = (struct io){ .loop = l, .fd = fd, .ready = ready };
	io->ev = event_new(l->base, fd, to_libevent(events ? events : IO_READ), on_io, io);
	if (!io->ev)
		return -ENOMEM;
	io->events = events;
	if (events && event_add(io->ev, NULL) < 0) {
		io_stop(io);
		return -ENOMEM;
	}
	return 0;
}

int io_change(struct io *io, int events)
{
	if (events == io->events)
		return 0;
	event_del(io->ev);
	io->events = 0;
	if (!events)
		return 0;
	if (event_assign(io->ev, io->loop->base, io->fd, to_libevent(events), on_io, io) < 0)
		return -EINVAL;
	if (event_add(io->ev, NULL) < 0)
		return -ENOMEM;
	io->events = events;
	return 0;
}

void io_stop(struct io *io)
{
	if (io->ev)
		event_free(io->ev);
	io->ev = NULL;
	io->events = 0;
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct loop_signal *s = arg;

	(void)what;
	refresh_now(s->loop);
	s->fn(signo, s->arg);
}

int loop_on_signal(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg)
{
	struct loop_signal *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->fn = fn;
	s->arg = arg;
	s->ev = event_new(l->base, signo, EV_SIGNAL | EV_PERSIST, on_signal, s);
	if (!s->ev || event_add(s->ev, NULL) < 0) {
		if (s->ev)
			event_free(s->ev);
		free(s);
		return -ENOMEM;
	}
	list_append(&l->signals, &s->node);
	return 0;
}
