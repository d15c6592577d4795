/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel's server, main thread: its workers, its listening sockets (bound once per worker), the
 * TLS context and what may change while it runs. Who is let in stands in arrivals.c, what the workers
 * do in worker.c and below.
 */
#include "tunnel/server/server.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/inherited.h"
#include "common/reuseport.h"
#include "common/unix_socket.h"
#include "tunnel/server/rendezvous.h"
#include "tunnel/server/shares.h"
#include "tunnel/server/server_priv.h"

enum {
	WINDOW = 4 << 20,
	STRANGERS = 512,
	STRANGERS_PER_SOURCE = 64 /* what an agent dials at once when it has lost all */,
	HELLO_MS = 10 * 1000
};

static int64_t most_carriers(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur > INT32_MAX)
		return INT32_MAX;
	return (int64_t)l.rlim_cur / 4 * 3;
}

/* ---- life ---- */

int tunnel_server_new(struct loop *l, const struct tunnel_server_options *o, struct tunnel_server **ret_s)
{
	struct tunnel_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->o = *o;
	s->o.window = o->window ? o->window : WINDOW;
	s->o.strangers = o->strangers ? o->strangers : STRANGERS;
	s->o.strangers_per_source = o->strangers_per_source ? o->strangers_per_source
							    : STRANGERS_PER_SOURCE;
	s->o.carriers = o->carriers ? o->carriers : most_carriers();
	s->o.hello_ms = o->hello_ms ? o->hello_ms : HELLO_MS;
	s->n_workers = MIN(o->workers ? o->workers : workers_default_count(),
			   (unsigned)SERVER_WORKERS_MAX);
	list_init(&s->listeners);
	list_init(&s->arrivals);
	list_init(&s->directory);
	list_init(&s->asks);
	list_init(&s->turn_asks);
	list_init(&s->pairs);
	list_init(&s->shares);
	list_init(&s->knocks);
	tunnel_server_set_rendezvous(s, &o->rendezvous);
	r = bytes_random(&s->session_base, sizeof(s->session_base));
	if (r == 0)
		r = metrics_new(tunnel_metric_rows, TUNNEL_METRICS, s->n_workers, &s->metrics);
	s->passes = calloc(s->n_workers, sizeof(*s->passes));
	if (r == 0 && !s->passes)
		r = -ENOMEM;
	s->strangers = clients_new();
	s->pending = clients_new();
	if (r == 0 && (!s->strangers || !s->pending))
		r = -ENOMEM;
	if (r == 0)
		r = notes_open(s);
	if (r < 0) {
		tunnel_server_free(s);
		return r;
	}
	s->session_base = (s->session_base >> 1) & ~0xffull; /* room to count, and for the worker's number */
	*ret_s = s;
	return 0;
}

static void listener_free(struct tunnel_server *s, struct tunnel_listener *l)
{
	for (unsigned i = 0; l->fds && i < s->n_workers; i++)
		if (l->fds[i] >= 0)
			close(l->fds[i]);
	free(l->fds);
	if (l->path[0])
		(void)unix_socket_remove_dead(l->path); /* or it lives, and is not ours */
	list_unlink(&l->node);
	free(l);
}

struct tunnel_server *tunnel_server_free(struct tunnel_server *s)
{
	if (!s)
		return NULL;
	share_door_close(s);
	if (s->started)
		workers_stop(&s->workers);
	while (!list_empty(&s->listeners))
		listener_free(s, list_entry(s->listeners.next, struct tunnel_listener, node));
	notes_close(s);
	arrivals_free(s);
	rendezvous_free(s);
	shares_free(s);
	tls_ctx_unref(s->tls);
	metrics_free(s->metrics);
	clients_free(s->strangers);
	clients_free(s->pending);
	free(s->passes);
	free(s);
	return NULL;
}

/* ---- listeners ---- */

static void prepare(int fd)
{
	/* Accepted sockets inherit it; where the system does not allow it, its own choice stays. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
}

/* A reload may want the port of a listener that goes when the new one is there. */
static bool is_ours(const struct tunnel_server *s, const struct addr *at)
{
	if (!s)
		return false;
	list_for_each(it, &s->listeners) {
		const struct tunnel_listener *o = list_entry(it, struct tunnel_listener, node);

		if (!o->path[0] && addr_family(&o->at) == addr_family(at) &&
		    addr_port(&o->at) == addr_port(at) && !addr_equal(&o->at, at) &&
		    (addr_classify(&o->at) == ADDR_UNSPECIFIED || addr_classify(at) == ADDR_UNSPECIFIED))
			return true;
	}
	return false;
}

/* Or of somebody else in this process: the kernel lets both have it until then. */
static bool is_let_go(const struct tunnel_server *s, const struct addr *at)
{
	return s && s->o.let_go && s->o.let_go(at, s->o.arg);
}

/* A port that another program of our user has would be shared, not refused. */
static int probe_free(const struct tunnel_server *s, const struct addr *at)
{
	return inherited_has(SOCK_STREAM, at) || is_ours(s, at) || is_let_go(s, at)
		       ? 0
		       : reuseport_probe(SOCK_STREAM, at);
}

static int bind_place(struct tunnel_server *s, struct tunnel_listener *l, uid_t uid, unsigned i)
{
	const struct listen_options o = { .reuseport = s->n_workers > 1 || is_let_go(s, &l->at),
					  .v6only = true };
	int r;

	if (!l->path[0]) {
		r = i == 0 && o.reuseport ? probe_free(s, &l->at) : 0;
		if (r == 0)
			r = stream_listen_socket(&l->at, &o, &l->fds[i]);
		if (r == 0)
			prepare(l->fds[i]);
		return r;
	}
	if (i == 0)
		return unix_socket_listen(l->path, &(struct unix_socket_options){ .mode = 0660, .uid = uid }, &l->fds[0]);
	l->fds[i] = fcntl(l->fds[0], F_DUPFD_CLOEXEC, 0); /* there is one, which the workers share */
	return l->fds[i] < 0 ? -errno : 0;
}

static int cannot_listen(const struct addr *at, const char *path, int r, char *err, size_t err_n)
{
	char text[ADDR_STRLEN];

	(void)snprintf(err, err_n, "cannot listen on %s: %s",
		       path && *path ? path : addr_print(at, text), strerror(-r));
	return r;
}

static int bind_all(struct tunnel_server *s, struct tunnel_listener *l, uid_t uid, char *err, size_t err_n)
{
	l->fds = malloc(s->n_workers * sizeof(*l->fds));
	if (!l->fds) {
		(void)snprintf(err, err_n, "out of memory");
		return -ENOMEM;
	}
	for (unsigned i = 0; i < s->n_workers; i++)
		l->fds[i] = -1;
	for (unsigned i = 0; i < s->n_workers; i++) {
		int r = bind_place(s, l, uid, i);

		if (r < 0)
			return cannot_listen(&l->at, l->path, r, err, err_n);
		if (!l->path[0] && addr_port(&l->at) == 0) { /* the others get the port that the first one was given */
			socklen_t n = sizeof(l->at);

			(void)getsockname(l->fds[i], &l->at.sa, &n);
		}
	}
	return 0;
}

static int hand_over(struct tunnel_server *s, struct tunnel_listener *l)
{
	struct listen_order o = { .what = TUNNEL_LISTEN, .id = l->id, .told = l->path[0] != 0, .fds = l->fds };

	workers_call(&s->workers, worker_obey, &o);
	free(l->fds);
	l->fds = NULL;
	return o.error;
}

/* By its path, or by its address. */
static struct tunnel_listener *find_listener(struct tunnel_server *s, const struct addr *at, const char *path)
{
	list_for_each (it, &s->listeners) {
		struct tunnel_listener *l = list_entry(it, struct tunnel_listener, node);

		if (path ? strcmp(l->path, path) == 0 : at && !l->path[0] && addr_equal(&l->at, at))
			return l;
	}
	return NULL;
}

static void unlisten(struct tunnel_server *s, struct tunnel_listener *l)
{
	struct listen_order o = { .what = TUNNEL_UNLISTEN, .id = l ? l->id : 0 };

	if (!l)
		return;
	if (s->started)
		workers_call(&s->workers, worker_obey, &o);
	listener_free(s, l);
}

static int listen_at(struct tunnel_server *s, const struct addr *at, const char *path, uid_t uid, char *err, size_t err_n)
{
	struct tunnel_listener *l;
	int r;

	if (find_listener(s, at, path))
		return 0;
	l = calloc(1, sizeof(*l));
	if (!l) {
		(void)snprintf(err, err_n, "out of memory");
		return -ENOMEM;
	}
	if (at)
		l->at = *at;
	l->id = ++s->last_listener;
	list_append(&s->listeners, &l->node);
	if (path)
		(void)snprintf(l->path, sizeof(l->path), "%s", path);
	r = bind_all(s, l, uid, err, err_n);
	if (r < 0) {
		listener_free(s, l);
		return r;
	}
	if (!s->started)
		return 0;
	r = hand_over(s, l);
	if (r < 0) {
		(void)snprintf(err, err_n, "%s", strerror(-r));
		unlisten(s, l);
	}
	return r;
}

int tunnel_server_probe(const struct tunnel_server *s, const struct addr *at, const char *path,
			char *err, size_t err_n)
{
	int r = *path ? unix_socket_probe(path) : probe_free(s, at);

	return r < 0 ? cannot_listen(at, path, r, err, err_n) : 0;
}

int tunnel_server_listen(struct tunnel_server *s, const struct addr *at, char *err, size_t err_n)
{
	return listen_at(s, at, NULL, 0, err, err_n);
}

int tunnel_server_listen_unix(struct tunnel_server *s, const char *path, uid_t uid, char *err, size_t err_n)
{
	return listen_at(s, NULL, path, uid, err, err_n);
}

void tunnel_server_unlisten(struct tunnel_server *s, const struct addr *at)
{
	unlisten(s, find_listener(s, at, NULL));
}

void tunnel_server_unlisten_unix(struct tunnel_server *s, const char *path)
{
	unlisten(s, find_listener(s, NULL, path));
}

int tunnel_server_start(struct tunnel_server *s, char *err, size_t err_n)
{
	int r = workers_start(&s->workers, s->n_workers, &tunnel_worker_ops, s);

	if (r < 0) {
		(void)snprintf(err, err_n, "cannot start the tunnel's workers: %s", strerror(-r));
		return r;
	}
	s->started = true;
	list_for_each (it, &s->listeners) {
		r = hand_over(s, list_entry(it, struct tunnel_listener, node));
		if (r < 0) {
			(void)snprintf(err, err_n, "cannot listen: %s", strerror(-r));
			return r;
		}
	}
	return 0;
}

/* ---- what changes while it runs ---- */

void tunnel_server_set_tls(struct tunnel_server *s, struct tls_ctx *ctx)
{
	struct listen_order o = { .what = TUNNEL_TLS, .tls = ctx };

	tls_ctx_unref(s->tls);
	s->tls = tls_ctx_ref(ctx);
	if (s->started)
		workers_call(&s->workers, worker_obey, &o);
}

void tunnel_server_set_rendezvous(struct tunnel_server *s, const struct tunnel_rendezvous *r)
{
	s->rendezvous = *r;
	atomic_store_explicit(&s->rendezvous_on, r->enabled, memory_order_relaxed);
}

void tunnel_server_configure(struct tunnel_server *s, uint32_t window, uint32_t resume_ms,
			     bool allow_plain)
{
	struct listen_order o = { .what = TUNNEL_CONFIGURE,
				  .window = window ? window : (uint32_t)WINDOW,
				  .resume_ms = resume_ms,
				  .allow_plain = allow_plain };

	s->o.window = o.window;
	s->o.resume_ms = o.resume_ms;
	s->o.allow_plain = allow_plain;
	if (s->started)
		workers_call(&s->workers, worker_obey, &o);
}

void tunnel_server_drain(struct tunnel_server *s, const char *text, uint32_t retry_after_s)
{
	struct listen_order o = { .what = TUNNEL_DRAIN, .text = text, .retry_after_s = retry_after_s };

	if (s->draining)
		return;
	s->draining = true;
	if (s->started)
		workers_call(&s->workers, worker_obey, &o);
}

struct call {
	void (*fn)(struct tunnel_worker *w, void *arg);
	void *arg;
};

static void call_one(struct worker *wk, void *arg)
{
	struct call *c = arg;

	c->fn(wk->state, c->arg);
}

void tunnel_server_call(struct tunnel_server *s, void (*fn)(struct tunnel_worker *w, void *arg),
			void *arg)
{
	struct call c = { fn, arg };

	if (s->started)
		workers_call(&s->workers, call_one, &c);
}

void tunnel_server_post(struct tunnel_server *s, unsigned worker, struct mail *m)
{
	loop_post(s->workers.w[worker].loop, m);
}

struct tunnel_worker *tunnel_server_worker(struct tunnel_server *s, unsigned index)
{
	return s->workers.w[index].state;
}

bool tunnel_server_alive(struct tunnel_server *s)
{
	bool all = true;

	for (unsigned i = 0; s->started && i < s->n_workers; i++) {
		uint64_t now = loop_passes(s->workers.w[i].loop);

		all &= now != s->passes[i];
		s->passes[i] = now;
	}
	return all;
}

struct metrics *tunnel_server_metrics(struct tunnel_server *s)
{
	return s->metrics;
}

bool tunnel_server_has_share(struct tunnel_server *s, uint64_t id)
{
	return share_find(s, id) != NULL;
}

bool tunnel_server_guest_room(struct tunnel_server *s, uint64_t id)
{
	unsigned of_it = 0, all = 0;

	list_for_each (it, &s->directory) {
		const struct directory_entry *e = list_entry(it, struct directory_entry, node);

		of_it += e->guest == id;
		all += e->guest != 0;
	}
	return of_it < SHARE_GUESTS_MAX && all < GUESTS_MAX;
}
