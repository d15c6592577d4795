/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, sockets and the clock around the rounds of stun/public.c; see public_watch.h.
 *
 * One target per own address. Its course: its timer fires → the names are resolved for its family, one query each
 * → socket and round → the outcome goes into its state, the socket is closed, and its timer is set again. What was
 * asked for meanwhile (public_watch_now) begins when the round has ended.
 */
#include "stun/public_watch.h"
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ADDRESSES_PER_NAME = 2, DATAGRAM_MAX = 2048, READS = 16 };

struct target {
	struct public_watch *w;
	struct public_watched it;
	struct timer due;
	struct dns_query *query[PUBLIC_SERVERS_MAX];
	unsigned resolving;
	struct addr server[PUBLIC_SERVERS_MAX];
	size_t n_servers;
	struct public_round *round;
	struct io io; /* fd -1: no socket */
	bool busy, again;
};

struct lookup { /* what a query's answer is for */
	struct target *t;
	unsigned i;
};

struct public_watch {
	struct public_watch_options o;
	struct cfg_hostport *servers;
	size_t n_servers, n_targets;
	struct target *targets;
	struct lookup *lookups; /* n_targets * PUBLIC_SERVERS_MAX */
};

/* ---- the end of a round ---- */

static void close_socket(struct target *t)
{
	if (t->io.fd < 0)
		return;
	io_stop(&t->io);
	close(t->io.fd);
	t->io.fd = -1;
}

static void take(struct target *t, const struct public_finding *f)
{
	struct public_watch *w = t->w;
	bool changed = public_state_take(&t->it.state, f, (int64_t)time(NULL));

	close_socket(t);
	t->round = public_round_free(t->round);
	t->busy = false;
	loop_timer_set(w->o.loop, &t->due, t->again ? 0 : public_state_wait(&t->it.state, w->o.interval_ms));
	t->again = false;
	w->o.told(&t->it, changed, w->o.arg);
}

static void fail(struct target *t, enum public_why why)
{
	take(t, &(struct public_finding){ .why = why });
}

/* ---- a round ---- */

static void round_send(const struct addr *to, const void *p, size_t n, void *arg)
{
	struct target *t = arg;

	/* An error (no route, a local filter) is silence: the request is repeated. */
	(void)!sendto(t->io.fd, p, n, 0, &to->sa, addr_len(to));
}

static void round_done(const struct public_finding *f, void *arg)
{
	take(arg, f);
}

static const struct public_round_ops round_ops = { .send = round_send, .done = round_done };

static void on_ready(struct io *io, int events)
{
	struct target *t = container_of(io, struct target, io);
	uint8_t buf[DATAGRAM_MAX];

	(void)events;
	for (unsigned i = 0; i < READS && t->round; i++) {
		struct addr from;
		socklen_t len = sizeof from;
		ssize_t n = recvfrom(io->fd, buf, sizeof buf, 0, &from.sa, &len);

		if (n < 0 && errno == ECONNREFUSED)
			continue; /* an ICMP error, of one of several servers */
		if (n < 0)
			return;
		public_round_input(t->round, &from, buf, (size_t)n, loop_now(t->w->o.loop));
	}
}

/* A socket of this very address, connected to nobody. */
static int open_socket(struct target *t, struct addr *ret_local)
{
	const struct addr *at = &t->it.local;
	struct addr local;
	socklen_t len = sizeof local;
	int fd = socket(addr_family(at), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r = 0;

	if (fd < 0)
		return -errno;
	if (bind(fd, &at->sa, addr_len(at)) < 0 || getsockname(fd, &local.sa, &len) < 0)
		r = -errno;
	if (r == 0)
		r = io_start(&t->io, t->w->o.loop, fd, IO_READ, on_ready);
	if (r < 0) {
		close(fd);
		return r;
	}
	t->io.fd = fd;
	*ret_local = local;
	return 0;
}

static void ask(struct target *t)
{
	struct loop *l = t->w->o.loop;
	struct public_round_options o = { .timers = loop_timers(l), .ops = &round_ops, .arg = t, .servers = t->server,
					  .n_servers = t->n_servers };
	int r;

	if (!t->n_servers) {
		fail(t, t->w->n_servers ? PUBLIC_NO_NAME : PUBLIC_NO_SERVERS);
		return;
	}
	r = open_socket(t, &o.local);
	if (r == 0)
		r = public_round_new(&o, loop_now(l), &t->round);
	if (r < 0)
		fail(t, r == -ENOMEM || r == -EIO ? PUBLIC_FAILED : PUBLIC_NO_WAY);
}

/* ---- names ---- */

static void add_server(struct target *t, const struct addr *a)
{
	for (size_t i = 0; i < t->n_servers; i++)
		if (addr_equal(&t->server[i], a))
			return;
	if (t->n_servers < PUBLIC_SERVERS_MAX)
		t->server[t->n_servers++] = *a;
}

static void on_name(const struct dns_answer *a, void *arg)
{
	const struct lookup *lk = arg;
	struct target *t = lk->t;

	t->query[lk->i] = NULL;
	t->resolving--;
	for (size_t i = 0; i < a->n && i < ADDRESSES_PER_NAME; i++)
		add_server(t, &a->addr[i]);
	if (!t->resolving)
		ask(t);
}

static void begin(struct target *t)
{
	struct public_watch *w = t->w;
	size_t first = (size_t)(t - w->targets) * PUBLIC_SERVERS_MAX;

	t->busy = true;
	t->n_servers = 0;
	for (unsigned i = 0; i < w->n_servers; i++) {
		struct lookup *lk = &w->lookups[first + i];
		const struct dns_request rq = { .host = w->servers[i].host, .port = w->servers[i].port,
						.family = addr_family(&t->it.local), .done = on_name, .arg = lk };
		*lk = (struct lookup){ t, i };
		if (dns_addresses(w->o.dns, &rq, &t->query[i]) == 0)
			t->resolving++;
	}
	if (!t->resolving)
		ask(t);
}

static void on_due(struct timer *timer, uint64_t now)
{
	struct target *t = container_of(timer, struct target, due);

	(void)now;
	begin(t);
}

/* ---- life ---- */

static int copy_servers(struct public_watch *w, const struct public_watch_options *o)
{
	w->servers = calloc(MAX(o->n_servers, 1u), sizeof *w->servers);
	if (!w->servers)
		return -ENOMEM;
	for (size_t i = 0; i < o->n_servers && w->n_servers < PUBLIC_SERVERS_MAX; i++) {
		w->servers[i] = (struct cfg_hostport){ strdup(o->servers[i].host), o->servers[i].port };
		if (!w->servers[i].host)
			return -ENOMEM;
		w->n_servers++;
	}
	return 0;
}

int public_watch_new(const struct public_watch_options *o, struct public_watch **ret_w)
{
	_cleanup_(public_watch_freep) struct public_watch *w = calloc(1, sizeof *w);
	size_t n = MIN(o->n_watched, (size_t)PUBLIC_WATCHED_MAX);

	if (!w)
		return -ENOMEM;
	w->o = *o;
	if (!w->o.interval_ms)
		w->o.interval_ms = PUBLIC_INTERVAL_MS;
	w->targets = calloc(MAX(n, (size_t)1), sizeof *w->targets);
	w->lookups = calloc(MAX(n, (size_t)1) * PUBLIC_SERVERS_MAX, sizeof *w->lookups);
	if (!w->targets || !w->lookups || copy_servers(w, o) < 0)
		return -ENOMEM;
	for (; w->n_targets < n; w->n_targets++) {
		struct target *t = &w->targets[w->n_targets];
		*t = (struct target){ .w = w, .it = o->watched[w->n_targets], .due.fire = on_due, .io.fd = -1 };
		loop_timer_set(o->loop, &t->due, 0);
	}
	*ret_w = steal_ptr(&w);
	return 0;
}

struct public_watch *public_watch_free(struct public_watch *w)
{
	if (!w)
		return NULL;
	for (size_t i = 0; i < w->n_targets; i++) {
		struct target *t = &w->targets[i];
		timer_stop(&t->due);
		for (unsigned k = 0; k < PUBLIC_SERVERS_MAX; k++)
			dns_cancel(t->query[k]);
		public_round_free(t->round);
		close_socket(t);
	}
	for (size_t i = 0; i < w->n_servers; i++)
		free(w->servers[i].host);
	free(w->servers);
	free(w->targets);
	free(w->lookups);
	free(w);
	return NULL;
}

void public_watch_now(struct public_watch *w)
{
	for (size_t i = 0; i < w->n_targets; i++) {
		struct target *t = &w->targets[i];
		if (t->busy)
			t->again = true;
		else
			loop_timer_set(w->o.loop, &t->due, 0);
	}
}

const struct public_state *public_watch_find(const struct public_watch *w, const struct addr *local)
{
	for (size_t i = 0; i < w->n_targets; i++)
		if (addr_equal_ip(&w->targets[i].it.local, local))
			return &w->targets[i].it.state;
	return NULL;
}
