/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link in its worker: its control connection comes, is lost, comes again, and one day does not. What belongs to it
 * (carriers.c) outlives the control connection by resume_ms.
 *
 * Timers: pulse, once a second while the control connection is up (keep-alive, the pool of carriers); end, which runs from
 * the loss of the control connection and, when the link is over, until its data connections have told their owner.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/reach.h"
#include "tunnel/server/rendezvous.h"
#include "tunnel/server/server_priv.h"

enum { PULSE_MS = 1000, OVER_MS = 20, OVER_TRIES = 500 };

static uint32_t spread(const struct tunnel_link *l)
{
	return (uint32_t)((l->i.id >> 8) * 2654435761u);
}

/* ---- its end ---- */

static void tell_main_over(struct tunnel_server *s, uint64_t link, uint64_t admission)
{
	struct note *n = note_new(s, NOTE_LINK_OVER, link, 0);

	if (!n)
		return; /* the directory keeps an entry, which the next arrival of this agent finds again */
	n->admission = admission;
	note_post(n);
}

static void link_free(struct tunnel_link *l)
{
	timer_stop(&l->pulse);
	timer_stop(&l->end);
	frame_conn_free(l->control);
	link_close_carriers(l);
	reach_link_gone(l);
	data_host_deinit(&l->host);
	list_unlink(&l->node);
	free(l);
}

static void over(struct tunnel_link *l)
{
	l->over = true;
	data_host_end_all(&l->host, WIRE_R_SESSION, "the agent did not come back in time");
	if (!list_empty(&l->host.conns) && ++l->over_tries < OVER_TRIES) {
		loop_timer_set(l->worker->loop, &l->end, OVER_MS); /* their owner is told first */
		return;
	}
	log_emit(&MSG_TUNNEL_LINK_OVER, LF_STR("agent", l->i.name), LF_U64("link", l->i.id),
		 LF_STR("reason", l->i.why));
	if (l->worker->server->o.link_ops->over)
		l->worker->server->o.link_ops->over(l, l->worker->server->o.arg);
	tell_main_over(l->worker->server, l->i.id, l->admission);
	link_free(l);
}

static void on_end(struct timer *t, uint64_t now)
{
	(void)now;
	over(container_of(t, struct tunnel_link, end));
}

/* The owner hears of it now, whatever its loop would have told later. */
static void stop(struct tunnel_link *l)
{
	list_for_each_safe (it, &l->host.conns)
		data_conn_end_now(list_entry(it, struct data_conn, node),
				  &(struct data_end){ .reason = WIRE_R_STOPPING });
	if (l->worker->server->o.link_ops->over)
		l->worker->server->o.link_ops->over(l, l->worker->server->o.arg);
	link_free(l);
}

void link_stop_all(struct tunnel_worker *w)
{
	while (!list_empty(&w->links))
		stop(list_entry(w->links.next, struct tunnel_link, node));
}

/* ---- up and down ---- */

static void answer_probe(struct tunnel_link *l, bool alive)
{
	struct note *n = l->probing ? note_new(l->worker->server, NOTE_PROBED, l->probing, 0) : NULL;

	l->probing = 0;
	if (!n)
		return;
	n->alive = alive;
	n->link = l->i;
	note_post(n);
}

static void down(struct tunnel_link *l, enum wire_reason reason, const char *why)
{
	struct tunnel_worker *w = l->worker;

	if (!l->i.up)
		return;
	l->i.up = false;
	l->i.since = clock_unix_ms();
	(void)snprintf(l->i.why, sizeof(l->i.why), "%s", why);
	timer_stop(&l->pulse);
	worker_count(w, TUNNEL_M_LINKS, 0, -1);
	worker_count(w, TUNNEL_M_LOST, 0, 1);
	log_emit(&MSG_TUNNEL_LINK_DOWN, LF_STR("agent", l->i.name), LF_ADDR("address", &l->i.peer),
		 LF_STR("reason", why));
	answer_probe(l, false);
	if (w->server->o.link_ops->down)
		w->server->o.link_ops->down(l, reason, why, w->server->o.arg);
	if (!timer_is_set(&l->end))
		loop_timer_set(w->loop, &l->end, w->resume_ms);
}

static void on_closed(struct frame_conn *c, int err, const char *why, void *arg)
{
	struct tunnel_link *l = arg;

	(void)err;
	l->control = frame_conn_free(c);
	down(l, err == ETIMEDOUT ? WIRE_R_TIMEOUT : WIRE_R_NONE, l->said[0] ? l->said : why);
}

static int on_refused(struct tunnel_link *l, const struct wire_refused *m)
{
	struct sb b = sb_init(l->said, sizeof(l->said));

	sb_fmt(&b, "the agent says: %s%s", wire_reason_text(m->reason), m->text.n ? ": " : "");
	sb_text(&b, m->text);
	return -ECONNRESET;
}

static void ping(struct tunnel_link *l, uint64_t now)
{
	const struct wire_ping p = { keepalive_asked(&l->keep, now, clock_steady_us(), spread(l)) };

	(void)frame_conn_send(l->control, WIRE_PING, &p);
}

static int on_pong(struct tunnel_link *l, uint64_t cookie)
{
	if (!keepalive_answered(&l->keep, cookie, clock_steady_us()))
		return -EPROTO;
	l->i.rtt_us = l->host.rtt_us = l->keep.rtt_us;
	answer_probe(l, true);
	return 0;
}

static int on_frame(struct frame_conn *c, const struct wire_got *g, void *arg)
{
	struct tunnel_link *l = arg;

	keepalive_heard(&l->keep, loop_now(l->worker->loop));
	switch (g->type) {
	case WIRE_PING: (void)frame_conn_send(c, WIRE_PONG, &g->m.ping); return 0;
	case WIRE_PONG: return on_pong(l, g->m.ping.cookie);
	case WIRE_REFUSED: return on_refused(l, &g->m.refused);
	case WIRE_ENDED: return link_on_ended(l, &g->m.ended);
	case WIRE_OPENED: return link_on_opened(l, &g->m.opened);
	case WIRE_SIGNAL:
	case WIRE_RELAY:
	case WIRE_SHARE:
	case WIRE_TURN_ASK: return rendezvous_on_frame(l, g->type, &g->m);
	case WIRE_REACH: return reach_on_frame(l, &g->m.reach);
	default:
		if (l->i.guest && g->type != WIRE_JOBS_SYNCED)
			return -EPROTO; /* a guest has no jobs */
		l->worker->server->o.link_ops->frame(l, g->type, &g->m, l->worker->server->o.arg);
		return 0;
	}
}

static const struct frame_conn_ops control_ops = { .frame = on_frame, .closed = on_closed };

static void on_pulse(struct timer *t, uint64_t now)
{
	struct tunnel_link *l = container_of(t, struct tunnel_link, pulse);

	loop_timer_set(l->worker->loop, &l->pulse, PULSE_MS);
	if (!l->control)
		return;
	link_pool(l);
	switch (keepalive_due(&l->keep, now)) {
	case KEEPALIVE_PING: ping(l, now); break;
	case KEEPALIVE_DEAD:
		frame_conn_give_up(l->control, "the agent does not answer any more");
		break;
	case KEEPALIVE_WELL: break;
	}
}

/* ---- its beginning ---- */

static struct tunnel_link *link_new(struct tunnel_worker *w, const struct handover *h)
{
	struct tunnel_link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->worker = w;
	l->i.id = h->session;
	memcpy(l->i.identity, h->identity, WIRE_PIN);
	l->i.begun = clock_unix_ms();
	list_init(&l->hello);
	list_init(&l->plain);
	data_host_init(&l->host, w->loop, &server_host_ops, l, &w->chunks);
	l->host.server = true;
	pool_init(&l->pool, loop_now(w->loop));
	pool_init(&l->plain_pool, loop_now(w->loop));
	l->pulse.fire = on_pulse;
	l->end.fire = on_end;
	list_append(&w->links, &l->node);
	return l;
}

struct tunnel_link *tunnel_link_find(struct tunnel_worker *w, uint64_t id)
{
	list_for_each (it, &w->links) {
		struct tunnel_link *l = list_entry(it, struct tunnel_link, node);

		if (l->i.id == id && !l->over)
			return l;
	}
	return NULL;
}

static void learn(struct tunnel_link *l, const struct handover *h, const struct wire_hello *hello,
		  const struct wire_welcome *wm)
{
	struct tunnel_link_info *i = &l->i;

	wire_text_copy(i->name, sizeof(i->name), wm->name);
	wire_text_copy(i->program, sizeof(i->program), hello->program);
	wire_text_copy(i->host, sizeof(i->host), hello->host);
	memcpy(i->instance, h->instance, WIRE_INSTANCE);
	i->version = MIN(hello->version, (uint16_t)WIRE_VERSION);
	i->peer = h->peer;
	i->local = h->local;
	i->lan = hello->lan;
	i->guest = h->guest;
	i->since = clock_unix_ms();
	i->up = true;
}

static void welcome(struct tunnel_link *l, const struct handover *h, bool again, bool other_process)
{
	struct tunnel_worker *w = l->worker;
	union wire_msg hello, wm;

	(void)wire_parse(WIRE_HELLO, h->payload, h->hello_n, &hello);
	(void)wire_parse(WIRE_WELCOME, h->payload + h->hello_n, h->welcome_n, &wm);
	learn(l, h, &hello.hello, &wm.welcome);
	if (again)
		l->i.reconnects++;
	l->admission = h->admission;
	l->host.window = w->window; /* as it is told below */
	l->host.resume_ms = w->resume_ms;
	timer_stop(&l->end);
	wm.welcome.version = l->i.version;
	wm.welcome.session = l->i.id;
	wm.welcome.observed = h->peer;
	wm.welcome.program = text_of("stile-tunnel " STILE_VERSION);
	wm.welcome.window = w->window;
	wm.welcome.resume_ms = w->resume_ms;
	l->rendezvous = atomic_load_explicit(&w->server->rendezvous_on, memory_order_relaxed) && (hello.hello.features & WIRE_F_RENDEZVOUS);
	wm.welcome.features = (l->rendezvous ? WIRE_F_RENDEZVOUS | WIRE_F_SHARE : 0) | (l->i.guest ? 0 : WIRE_F_PATHS) | WIRE_F_REACH;
	keepalive_init(&l->keep, loop_now(w->loop), KEEPALIVE_CONTROL_MS, spread(l));
	(void)frame_conn_send(l->control, WIRE_WELCOME, &wm.welcome);
	frame_conn_set_where(l->control, WIRE_IN_CONTROL);
	worker_count(w, TUNNEL_M_LINKS, 0, 1);
	link_plain_key(l);
	data_host_probe(&l->host); /* what was there before may be as lost as the control connection was */
	ping(l, loop_now(w->loop)); /* the round trip is known from the beginning */
	l->told_pool = l->told_plain = 0;
	l->said[0] = 0;
	link_pool(l);
	loop_timer_set(w->loop, &l->pulse, PULSE_MS);
	log_emit(&MSG_TUNNEL_LINK_UP, LF_STR("agent", l->i.name), LF_ADDR("address", &l->i.peer),
		 LF_U64("link", l->i.id), LF_BOOL("again", again));
	if (w->server->o.link_ops->up)
		w->server->o.link_ops->up(l, again, other_process, w->server->o.arg);
}

/* The control connection that is there makes way for another one. */
static void replace(struct tunnel_link *l)
{
	const struct wire_refused m = { .reason = WIRE_R_REPLACED };

	if (!l->control)
		return;
	(void)frame_conn_send(l->control, WIRE_REFUSED, &m);
	frame_conn_finish(steal_ptr(&l->control));
	down(l, WIRE_R_REPLACED, wire_reason_text(WIRE_R_REPLACED));
}

static const struct tunnel_ended_identity *was_ended(const struct tunnel_worker *w, const struct handover *h)
{
	for (unsigned i = 0; i < MIN(w->n_ended, (unsigned)ENDED_KEPT); i++)
		if (h->admission <= w->ended[i].admission && memcmp(w->ended[i].identity, h->identity, WIRE_PIN) == 0)
			return &w->ended[i];
	return NULL;
}

/* Its link, if there is one, goes by the number, so that its end is told of the latest. */
static void not_come(struct tunnel_worker *w, uint64_t link, uint64_t admission)
{
	struct tunnel_link *l = tunnel_link_find(w, link);

	if (l)
		l->admission = MAX(l->admission, admission);
	else
		tell_main_over(w->server, link, admission);
}

void link_not_come(struct tunnel_server *s, uint64_t link, uint64_t admission)
{
	struct order *o =
		order_new(tunnel_server_worker(s, tunnel_worker_of(link)), ORDER_NOT_COME, 0, NULL);

	if (!o)
		return; /* as in tell_main_over() */
	o->link = link;
	o->admission = admission;
	order_post(o);
}

static void take_control(struct tunnel_worker *w, struct handover *h)
{
	struct tunnel_link *l = tunnel_link_find(w, h->session);
	bool again = l != NULL, other = again && memcmp(l->i.instance, h->instance, WIRE_INSTANCE) != 0;
	const struct tunnel_ended_identity *ended = was_ended(w, h);
	struct frame_conn *c = NULL;
	int fd = h->fd;

	if (!l)
		l = link_new(w, h);
	if (l)
		h->fd = -1;
	if (!l || frame_conn_new(w->loop, fd, steal_ptr(&h->ssl), WIRE_TO_SERVER, &c) < 0) {
		if (l && !again)
			link_free(l);
		not_come(w, h->session, h->admission);
		return;
	}
	frame_conn_set_owner(c, &control_ops, l);
	replace(l);
	if (other) {
		link_close_carriers(l);
		data_host_end_all(&l->host, WIRE_R_SESSION, "the agent was restarted");
	}
	l->control = c;
	welcome(l, h, again, other);
	if (ended)
		tunnel_link_end(l, ended->reason, wire_reason_text(ended->reason), 0);
	else if (h->admission <= atomic_load(&w->server->closed_admission))
		tunnel_link_end(l, WIRE_R_KICKED, wire_reason_text(WIRE_R_KICKED), TUNNEL_AGAIN_S);
}

static void take_carrier(struct tunnel_worker *w, struct handover *h)
{
	struct tunnel_link *l = tunnel_link_find(w, h->session);
	struct wire_welcome wm = { .version = WIRE_VERSION };
	const char *why = "its agent has more ready carriers than it was asked for, or too many that do not resume";
	struct wire_refused no = { .reason = WIRE_R_SESSION };
	struct frame_conn *c;
	int fd = h->fd;
	bool right = l && memcmp(l->i.identity, h->identity, WIRE_PIN) == 0 &&
		     memcmp(l->i.instance, h->instance, WIRE_INSTANCE) == 0;

	h->fd = -1;
	if (frame_conn_new(w->loop, fd, steal_ptr(&h->ssl), WIRE_TO_SERVER, &c) < 0)
		return;
	if (right && !link_has_room(l, h->purpose))
		no = (struct wire_refused){ .reason = WIRE_R_LIMIT, .text = text_of(why) };
	stranger_outcome(w, &h->peer, no.reason == WIRE_R_LIMIT ? TUNNEL_A_REFUSED : TUNNEL_A_CARRIER, why);
	if (!right || no.reason == WIRE_R_LIMIT) {
		(void)frame_conn_send(c, WIRE_REFUSED, &no);
		frame_conn_finish(c);
		return;
	}
	(void)frame_conn_send(c, WIRE_WELCOME, &wm);
	(void)link_add_carrier(l, c, h->purpose);
}

void link_take(struct tunnel_worker *w, struct handover *h)
{
	if (h->purpose == HANDOVER_PLAIN)
		link_take_plain(w, h);
	else if (h->purpose == WIRE_PURPOSE_CONTROL)
		take_control(w, h);
	else if (h->purpose == WIRE_PURPOSE_RELAY)
		pair_take(w, h);
	else
		take_carrier(w, h);
	handover_free(h);
}

/* ---- what main says ---- */

static void probe(struct tunnel_worker *w, const struct order *o)
{
	struct tunnel_link *l = tunnel_link_find(w, o->link);
	struct note *n;

	if (l && l->control) {
		l->probing = o->stranger;
		ping(l, loop_now(w->loop));
		return;
	}
	n = note_new(w->server, NOTE_PROBED, o->stranger, 0);
	if (n)
		note_post(n);
}

void link_obey(struct tunnel_worker *w, const struct order *o)
{
	if (o->kind == ORDER_PROBE) {
		probe(w, o);
		return;
	}
	if (o->kind == ORDER_NOT_COME) {
		not_come(w, o->link, o->admission);
		return;
	}
	w->ended[w->n_ended++ % ENDED_KEPT] =
		(struct tunnel_ended_identity){ .admission = o->admission, .reason = o->reason };
	memcpy(w->ended[(w->n_ended - 1) % ENDED_KEPT].identity, o->identity, WIRE_PIN);
	list_for_each_safe (it, &w->links) {
		struct tunnel_link *l = list_entry(it, struct tunnel_link, node);
		union wire_msg m = { 0 };

		if (memcmp(l->i.identity, o->identity, WIRE_PIN) != 0)
			continue;
		(void)wire_parse(WIRE_REFUSED, o->frame + WIRE_HEAD, o->n - WIRE_HEAD, &m);
		tunnel_link_end(l, o->reason, wire_reason_text(o->reason), m.refused.retry_after);
	}
}

/* ---- the owner's side ---- */

int tunnel_link_send(struct tunnel_link *l, unsigned type, const void *msg)
{
	int r = l->control ? frame_conn_send(l->control, type, msg) : -ENOTCONN;

	return r == -EPIPE ? -ENOTCONN : r;
}

/* It was sent away: its relays end, too, and those that it was about to ask for. */
static void tell_main_ended(const struct tunnel_link *l)
{
	struct note *n = note_new(l->worker->server, NOTE_LINK_ENDED, l->i.id, 0);

	if (!n)
		return; /* a relay of it goes on until its ends let go */
	n->link = l->i;
	note_post(n);
}

void tunnel_link_end(struct tunnel_link *l, enum wire_reason reason, const char *text,
		     uint32_t retry_after_s)
{
	const struct wire_refused m = { .reason = (uint8_t)reason,
					.text = text_of(text),
					.retry_after = retry_after_s };

	if (l->over)
		return;
	if (l->control) {
		(void)frame_conn_send(l->control, WIRE_REFUSED, &m);
		frame_conn_finish(steal_ptr(&l->control));
	}
	down(l, reason, text && *text ? text : wire_reason_text(reason));
	l->over = true;
	tell_main_ended(l);
	loop_timer_set(l->worker->loop, &l->end, 0);
}

void tunnel_link_drop(struct tunnel_link *l, const char *why)
{
	if (!l->control)
		return;
	l->control = frame_conn_free(l->control);
	down(l, WIRE_R_KICKED, why);
}

uint64_t tunnel_link_id(const struct tunnel_link *l)
{
	return l->i.id;
}

void *tunnel_link_state(const struct tunnel_link *l)
{
	return l->state;
}

void tunnel_link_set_state(struct tunnel_link *l, void *state)
{
	l->state = state;
}

struct tunnel_worker *tunnel_link_worker(const struct tunnel_link *l)
{
	return l->worker;
}

void tunnel_link_rename(struct tunnel_link *l, const char *name)
{
	(void)snprintf(l->i.name, sizeof(l->i.name), "%s", name);
}

void tunnel_link_info(const struct tunnel_link *l, struct tunnel_link_info *ret_i)
{
	*ret_i = l->i;
	ret_i->carriers = l->host.n_idle + l->host.n_busy + l->n_hello;
	ret_i->ready = l->host.n_idle;
	ret_i->wanted = l->told_pool;
	ret_i->streams = l->host.n_conns;
	ret_i->detached = l->host.n_detached;
	ret_i->bytes[0] = l->host.bytes[0];
	ret_i->bytes[1] = l->host.bytes[1];
}

void tunnel_worker_each(struct tunnel_worker *w, void (*fn)(struct tunnel_link *l, void *arg), void *arg)
{
	list_for_each (it, &w->links)
		fn(list_entry(it, struct tunnel_link, node), arg);
}
