/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker of the tunnel's server: a thread with its loop, its listening sockets, strangers and
 * links. Its state is touched by no other thread; the main thread's orders come by workers_call and by
 * mail.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "common/clock.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/rendezvous.h"
#include "tunnel/server/server_priv.h"

enum { TICK_MS = 1000 };

struct worker_listener {
	struct list node;
	uint64_t id;
	struct tunnel_worker *worker;
	struct acceptor *acceptor;
	bool told;
};

uint64_t worker_next_id(struct tunnel_worker *w)
{
	return ++w->seq << 8 | w->index;
}

void worker_count(struct tunnel_worker *w, unsigned row, unsigned label, int64_t v)
{
	metric_add(w->server->metrics, w->index, row, label, v);
}

void worker_count_carriers(struct tunnel_worker *w, int64_t v)
{
	worker_count(w, TUNNEL_M_CARRIERS, 0, v);
	atomic_fetch_add_explicit(&w->server->carriers, v, memory_order_relaxed);
}

bool worker_many_carriers(const struct tunnel_worker *w)
{
	return atomic_load_explicit(&w->server->carriers, memory_order_relaxed) >= w->server->o.carriers;
}

bool worker_may_log(struct tunnel_worker *w, enum tunnel_line line, uint64_t *ret_suppressed)
{
	return log_gate_pass(&w->gates[line], loop_now(w->loop), ret_suppressed);
}

struct loop *tunnel_worker_loop(const struct tunnel_worker *w)
{
	return w->loop;
}

unsigned tunnel_worker_index(const struct tunnel_worker *w)
{
	return w->index;
}

void *tunnel_worker_owner(const struct tunnel_worker *w)
{
	return w->owner;
}

/* ---- listeners ---- */

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct worker_listener *l = arg;

	if (l->told)
		proxy_intake_take(l->worker->intake, fd, peer, local, (struct proxy_tag){ 0 });
	else
		stranger_accepted(l->worker, fd, peer, local);
}

static void on_told(const struct proxy_arrival *a, void *arg)
{
	stranger_accepted(arg, a->fd, &a->client, &a->server);
}

static void on_untold(const struct addr *sender, struct proxy_tag tag, const char *why, void *arg)
{
	(void)tag;
	if (why) /* else it came and went without a byte */
		stranger_outcome(arg, sender, TUNNEL_A_GARBAGE, why);
}

static const struct proxy_intake_ops intake_ops = { .on_arrival = on_told, .on_refused = on_untold };

static void on_accept_error(int err, void *arg)
{
	struct worker_listener *l = arg;
	uint64_t suppressed;

	if (worker_may_log(l->worker, TUNNEL_LINE_SHORT, &suppressed))
		log_emit(&MSG_TUNNEL_LISTENER, LF_ERRNO("error", err), LF_U64("suppressed", suppressed));
}

static const struct acceptor_ops acceptor_ops = { .on_accept = on_accept, .on_error = on_accept_error };

static int listen_on(struct tunnel_worker *w, const struct listen_order *o)
{
	struct worker_listener *l = calloc(1, sizeof(*l));
	int fd = o->fds[w->index], r;

	if (!l) {
		close(fd);
		return -ENOMEM;
	}
	*l = (struct worker_listener){ .id = o->id, .worker = w, .told = o->told };
	r = l->told && !w->intake ? proxy_intake_new(w->loop, NULL, &intake_ops, w, &w->intake) : 0;
	if (r < 0)
		close(fd);
	else
		r = acceptor_new(w->loop, fd, &acceptor_ops, l, &l->acceptor);
	if (r < 0) {
		free(l);
		return r;
	}
	list_append(&w->listeners, &l->node);
	return 0;
}

static void unlisten(struct tunnel_worker *w, uint64_t id)
{
	list_for_each_safe (it, &w->listeners) {
		struct worker_listener *l = list_entry(it, struct worker_listener, node);

		if (id && l->id != id)
			continue;
		list_unlink(&l->node);
		acceptor_free(l->acceptor);
		free(l);
	}
}

static void drain(struct tunnel_worker *w, const struct listen_order *o)
{
	const struct wire_goaway m = { .text = text_of(o->text), .retry_after = o->retry_after_s };

	w->draining = true;
	list_for_each (it, &w->links)
		(void)tunnel_link_send(list_entry(it, struct tunnel_link, node), WIRE_GOAWAY, &m);
}

void worker_obey(struct worker *wk, void *arg)
{
	struct tunnel_worker *w = wk->state;
	struct listen_order *o = arg;
	int r;

	switch (o->what) {
	case TUNNEL_LISTEN:
		r = listen_on(w, o);
		if (r < 0)
			o->error = r;
		break;
	case TUNNEL_UNLISTEN: unlisten(w, o->id); break;
	case TUNNEL_TLS:
		tls_ctx_unref(w->tls);
		w->tls = tls_ctx_ref(o->tls);
		break;
	case TUNNEL_CONFIGURE:
		w->window = o->window;
		w->resume_ms = o->resume_ms;
		w->allow_plain = o->allow_plain;
		break;
	case TUNNEL_DRAIN: drain(w, o); break;
	}
}

/* ---- life ---- */

static void on_tick(struct timer *t, uint64_t now)
{
	struct tunnel_worker *w = container_of(t, struct tunnel_worker, tick);
	uint64_t bytes[2] = { 0, 0 };

	list_for_each (it, &w->links) {
		struct tunnel_link *l = list_entry(it, struct tunnel_link, node);

		link_close_silent(l, now);
		for (unsigned i = 0; i < 2; i++) {
			bytes[i] += l->host.bytes[i] - l->counted[i];
			l->counted[i] = l->host.bytes[i];
		}
	}
	for (unsigned i = 0; i < 2; i++)
		if (bytes[i])
			worker_count(w, TUNNEL_M_BYTES, i, (int64_t)bytes[i]);
	if (!w->chunks.n_lent)
		chunk_pool_trim(&w->chunks);
	loop_timer_set(w->loop, &w->tick, TICK_MS);
}

static void teardown(struct worker *wk, void *arg)
{
	struct tunnel_worker *w = wk->state;

	(void)arg;
	if (!w)
		return;
	timer_stop(&w->tick);
	unlisten(w, 0);
	w->intake = proxy_intake_free(w->intake);
	strangers_free(w);
	pairs_free(w);
	link_stop_all(w);
	if (w->server->o.worker_end && w->owner)
		w->server->o.worker_end(w, w->owner, w->server->o.arg);
	chunk_pool_trim(&w->chunks);
	tls_ctx_unref(w->tls);
	free(w);
	wk->state = NULL;
}

static int setup(struct worker *wk, void *arg)
{
	struct tunnel_server *s = arg;
	struct tunnel_worker *w = calloc(1, sizeof(*w));
	int r = 0;

	if (!w)
		return -ENOMEM;
	wk->state = w;
	*w = (struct tunnel_worker){ .server = s,
				     .index = wk->index,
				     .loop = wk->loop,
				     .window = s->o.window,
				     .resume_ms = s->o.resume_ms,
				     .allow_plain = s->o.allow_plain };
	list_init(&w->listeners);
	list_init(&w->strangers);
	list_init(&w->links);
	list_init(&w->pairs);
	list_init(&w->reaches);
	w->tls = s->tls ? tls_ctx_ref(s->tls) : NULL;
	w->tick.fire = on_tick;
	loop_timer_set(w->loop, &w->tick, TICK_MS);
	if (s->o.worker_begin) {
		w->owner = s->o.worker_begin(w, s->o.arg, &r);
		if (r < 0)
			teardown(wk, arg);
	}
	return r;
}

const struct worker_ops tunnel_worker_ops = { .setup = setup, .teardown = teardown };
