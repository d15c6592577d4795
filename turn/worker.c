/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker of stile-turn: a thread with its loop, its sockets, its protocol core and its clients.
 * Set up in the thread that will run it; torn down there too, clients first, sockets last. Its state is
 * touched by no other thread.
 */
#include <errno.h>
#include "common/clock.h"
#include "turn/edge.h"
#include "turn/log_msgs.h"
#include "turn/metrics.h"

enum { HEARTBEAT_MS = 1000 };

static uint64_t wall_clock_s(void)
{
	return (uint64_t)time(NULL);
}

/* GSO rests for a while where the kernel refused it. */
static void tell_batching(struct turn_worker *w)
{
	const struct dgram_io_stats *io = dgram_io_stats(w->dgram);
	const bool on[TURN_BATCHINGS] = { [TURN_BATCH_GRO] = io->gro, [TURN_BATCH_GSO] = io->gso, [TURN_BATCH_RING] = io->ring };

	for (unsigned i = 0; i < TURN_BATCHINGS; i++)
		metric_set(w->ts->metrics, w->index, TURN_M_BATCHING, i, on[i]);
}

static void on_heartbeat(struct timer *t, uint64_t now)
{
	struct turn_worker *w = container_of(t, struct turn_worker, heartbeat);

	(void)now;
	turn_queues_look(w);
	tell_batching(w);
	loop_timer_set(w->loop, &w->heartbeat, HEARTBEAT_MS);
}

bool turn_edge_may_log(struct turn_worker *w, enum turn_edge_line line, uint64_t *ret_suppressed)
{
	return log_gate_pass(&w->gates[line], loop_now(w->loop), ret_suppressed);
}

void turn_client_failed(struct turn_worker *w, const struct turn_failure *f)
{
	uint64_t suppressed;

	metric_add(w->ts->metrics, w->index, TURN_M_DROPS, TURN_DROP_CONN_FAILED, 1);
	if (turn_edge_may_log(w, TURN_LINE_FAILED, &suppressed))
		log_emit(&MSG_TURN_CONN_FAILED, LF_ADDR("client", f->client), LF_STR("transport", f->transport),
			 LF_ERRNO("error", f->error), LF_STR("why", f->why), LF_U64("suppressed", suppressed));
}

bool turn_client_admit(struct turn_worker *w, const struct addr *from)
{
	const struct turn_config *cfg = turn_policy_config(w->policy);
	enum clients_verdict v = clients_enter(w->ts->clients, from, cfg->limits.connections,
							cfg->limits.connections_per_address);
	uint64_t suppressed;

	if (v == CLIENTS_OK)
		return true;
	metric_add(w->ts->metrics, w->index, TURN_M_DROPS, TURN_DROP_CONN_LIMIT, 1);
	if (turn_edge_may_log(w, TURN_LINE_LIMIT, &suppressed))
		log_emit(v == CLIENTS_ADDRESS ? &MSG_TURN_CONN_LIMIT_ADDRESS : &MSG_TURN_CONN_LIMIT,
			 LF_ADDR("client", from), LF_U64("suppressed", suppressed));
	return false;
}

static int open_listeners(struct turn_worker *w)
{
	int r = 0;

	list_for_each(it, &w->ts->listeners) {
		struct turn_listener *l = list_entry(it, struct turn_listener, node);
		r = turn_listener_kind(l)->open(w, l);
		if (r < 0)
			break;
	}
	return r;
}

/* ---- mail between the cores ---- */

static void deliver_mail(struct mail *mail, struct loop *l)
{
	struct turn_mail *m = container_of(mail, struct turn_mail, mail);
	struct turn_worker *w = m->to;

	m->deliver(w->server, m, loop_now(l));
}

static void drop_mail(struct mail *mail)
{
	struct turn_mail *m = container_of(mail, struct turn_mail, mail);

	m->drop(m);
}

static int post_mail(void *edge, unsigned worker, struct turn_mail *m)
{
	struct workers *ws = &((struct turn_worker *)edge)->ts->workers;

	if (worker >= ws->n)
		return -ENOENT;
	m->to = ws->w[worker].state;
	m->mail.deliver = deliver_mail;
	m->mail.drop = drop_mail;
	loop_post(ws->w[worker].loop, &m->mail);
	return 0;
}

static int open_core(struct turn_worker *w)
{
	struct turn_service *ts = w->ts;
	struct turn_server_options o = {
		.worker = w->index,
		.seed = &ts->seed,
		.post = post_mail,
		.timers = loop_timers(w->loop),
		.policy = w->policy,
		.totals = ts->totals,
		.reservations = ts->reservations,
		.discovery = ts->discovery,
		.relay = &turn_udp_relay_ops,
		.offload = w->offload ? &turn_udp_offload_ops : NULL,
		.edge = w,
		.metrics = ts->metrics,
		.nonces = &ts->nonces,
		.clock_ns = clock_steady_ns,
		.unix_s = wall_clock_s,
	};

	return turn_server_new(&o, loop_now(w->loop), &w->server);
}

static int open_offload(struct turn_worker *w)
{
	int r = turn_policy_config(w->policy)->fast_path.mode == FAST_OFF ? 0 : turn_offload_new(w, &w->offload);

	if (r == 0 && (r = open_core(w)) == 0)
		turn_server_set_offload(w->server, w->offload != NULL);
	return r;
}

static void teardown(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;

	(void)arg;
	if (!w)
		return;
	timer_stop(&w->heartbeat);
	loop_remove_hook(&w->coalesce);
	turn_acceptors_close(w);
	turn_front_close(w);
	if (w->server) {
		turn_conns_close(w);
		turn_dtls_close(w, NULL);
	}
	w->server = turn_server_free(w->server);
	w->offload = turn_offload_free(w->offload);
	turn_flows_close(w);
	turn_udp_close_all(w);
	dgram_io_free(w->dgram);
	htable_deinit(&w->sessions);
	turn_policy_unref(w->policy);
	turn_contexts_deinit(&w->contexts);
	free(w);
	wk->state = NULL;
}

static int setup(struct worker *wk, void *arg)
{
	struct turn_worker *w = calloc(1, sizeof *w);
	int r;

	if (!w)
		return -ENOMEM;
	wk->state = w;
	w->ts = arg;
	w->index = wk->index;
	w->loop = wk->loop;
	w->policy = turn_policy_ref(w->ts->policy);
	w->contexts = (struct turn_contexts){ tls_ctx_ref(w->ts->contexts.tls), tls_ctx_ref(w->ts->contexts.dtls) };
	w->seed = hash_seed_random();
	list_init(&w->coalesce.node);
	list_init(&w->udp);
	list_init(&w->acceptors);
	list_init(&w->conns);
	list_init(&w->flows);
	htable_init(&w->sessions);
	w->heartbeat.fire = on_heartbeat;
	loop_timer_set(w->loop, &w->heartbeat, HEARTBEAT_MS);
	turn_coalesce_start(w);
	if ((r = dgram_io_new(w->loop, &(struct dgram_options){ .ring = w->ts->rings[w->index] }, &w->dgram)) < 0 || (r = open_offload(w)) < 0 ||
	    (r = turn_front_open(w)) < 0 || (r = open_listeners(w)) < 0) {
		teardown(wk, arg);
		return r;
	}
	tell_batching(w);
	return 0;
}

const struct worker_ops turn_worker_ops = { .setup = setup, .teardown = teardown };
