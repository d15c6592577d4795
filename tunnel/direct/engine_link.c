/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link of the engine: a peer_link, the ICE attempt that looks for its direct path, the pipe that the supervisor gives it, and
 * what the supervisor is told of all that.
 *
 * ICE runs in generations. A new one begins when the path that the last one found has died (the visitor begins it, a second
 * later, for paths come back), when an attempt has ended without a direct path over UDP (after 10 s, and ever less often, up to
 * 10 min), and when the network has changed; the host follows when the visitor's lines name a later generation. A path that works
 * outlives its attempt, but for TURN's, whose attempt is kept until there is another one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/fd.h"
#include "tunnel/direct/engine_priv.h"
#include "tunnel/direct/path_turn.h"

enum {
	RESTART_LOST_MS = 1000,
	RESTART_FIRST_MS = 10 * 1000,
	RESTART_MOST_MS = 600 * 1000,
	TELL_MS = 1000,
};

static uint64_t clock_ns(void *arg)
{
	(void)arg;
	return clock_steady_ns();
}

void link_dirty(struct link *k)
{
	k->dirty = true;
}

static void on_dirty(struct peer_link *l, void *arg)
{
	(void)l;
	link_dirty(arg);
}

/* ---- what the supervisor is told ---- */

enum child_path child_path_of(enum path_kind kind)
{
	static const enum child_path paths[PATH_KINDS] = { [PATH_DIRECT] = CHILD_PATH_UDP, [PATH_RAW] = CHILD_PATH_RAW, [PATH_TCP] = CHILD_PATH_TCP,
						    [PATH_TURN] = CHILD_PATH_TURN, [PATH_RELAY] = CHILD_PATH_RELAY };

	return kind < PATH_KINDS ? paths[kind] : CHILD_PATH_NONE;
}

static unsigned child_state_of(const struct peer_link_info *i)
{
	return i->state == PEER_LINK_UP ? CHILD_LINK_UP : i->state == PEER_LINK_INTERRUPTED ? CHILD_LINK_INTERRUPTED : CHILD_LINK_CONNECTING;
}

static void tell_state(struct link *k)
{
	struct peer_link_info i;
	struct child_link_state_msg m;
	const struct peer_path_info *active = NULL;

	peer_link_info(k->l, &i);
	for (unsigned p = 0; p < i.n_paths; p++)
		if (i.paths[p].active)
			active = &i.paths[p];
	m = (struct child_link_state_msg){
		.link = k->id, .state = (uint8_t)child_state_of(&i), .path = (uint8_t)(i.state == PEER_LINK_OPENING ? CHILD_PATH_NONE : child_path_of(i.kind)),
		.rtt_us = i.rtt_us, .loss_ppm = i.loss_ppm, .rate = { i.rate[0] * 8, i.rate[1] * 8 }, .bytes = { i.bytes[0], i.bytes[1] },
		.since = (uint64_t)i.path_since_ms, .reason = text_of(i.why), .local_candidates = k->n_local, .remote_candidates = k->n_remote,
		.streams = k->n_conns, .moves = i.moves_up + i.moves_down, .gap_max_us = i.gap_max_ms * 1000,
		.trying = k->ice && (i.kind >= PATH_KINDS || path_rank(i.kind) != 0),
	};
	if (active) {
		m.local = active->local;
		m.remote = active->remote;
		m.pair = text_of(active->detail);
	}
	engine_say(k->e, CHILD_LINK_STATE, &m);
	k->tell = false;
	link_show(k);
	if (!timer_is_set(&k->tell_timer) && (i.rate[0] || i.rate[1] || i.state != PEER_LINK_UP))
		loop_timer_set(k->e->loop, &k->tell_timer, TELL_MS);
}

static void on_tell_timer(struct timer *t, uint64_t now)
{
	struct link *k = container_of(t, struct link, tell_timer);

	(void)now;
	k->tell = true;
}

static void on_changed(struct peer_link *l, void *arg)
{
	struct link *k = arg;
	struct peer_link_info i;

	k->tell = k->dirty = true;
	peer_link_info(l, &i);
	k->up |= i.state == PEER_LINK_UP; /* those who wait are let in from the pass, outside of QUIC */
}

static void on_down(struct peer_link *l, void *arg)
{
	struct link *k = arg;

	(void)l;
	k->gone = k->dirty = true;
}

static void on_want_relay(struct peer_link *l, void *arg)
{
	struct link *k = arg;

	(void)l;
	if (!k->no_relay)
		engine_say(k->e, CHILD_WANT_CARRIER, &(struct child_link){ .link = k->id });
}

static void on_pong(struct peer_link *l, uint64_t cookie, enum path_kind kind, void *arg)
{
	struct link *k = arg;

	(void)l;
	if (cookie != k->ping_cookie || !k->ping_at)
		return;
	engine_say(k->e, CHILD_PONG, &(struct child_ping){ .link = k->id, .cookie = cookie, .path = (uint8_t)child_path_of(kind),
							   .rtt_us = (uint32_t)MAX((clock_ns(NULL) - k->ping_at) / 1000, UINT64_C(1)) });
	k->ping_at = 0;
}

void link_ping(struct link *k, uint64_t cookie)
{
	k->ping_cookie = cookie;
	k->ping_at = clock_ns(NULL);
	peer_link_ping(k->l, cookie);
	link_dirty(k);
}

/* ---- ICE ---- */

static void send_lines(struct link *k)
{
	struct child_ice m = { .link = k->id, .generation = k->generation, .done = k->lines_done };

	if (!k->n_lines && !k->lines_done)
		return;
	for (unsigned i = 0; i < k->n_lines; i++)
		m.candidates[i] = text_of(k->lines[i]);
	m.n_candidates = (uint16_t)k->n_lines;
	k->n_local = (uint16_t)(k->n_local + k->n_lines);
	k->n_lines = 0;
	k->lines_done = false;
	engine_say(k->e, CHILD_ICE_LOCAL, &m);
	link_show(k);
}

static void on_line(struct ice_try *t, const char *line, void *arg)
{
	struct link *k = arg;

	if (t == k->old_ice)
		return;
	if (!line) {
		k->lines_done = true;
		return;
	}
	if (k->n_lines == CANDIDATES_A_MESSAGE)
		send_lines(k);
	(void)snprintf(k->lines[k->n_lines++], sizeof(k->lines[0]), "%s", line);
}

static unsigned tag_of(const struct link *k, const struct ice_try *t, enum ice_kind kind)
{
	return ((t == k->old_ice ? k->old_generation : k->generation) + 1) * TAG_GENERATION + kind;
}

static int path_of_ice(struct link *k, struct ice_try *t, struct ice_path *p, struct path **ret_p)
{
	struct loop *l = k->e->loop;
	int r;

	switch (p->kind) {
	case ICE_DIRECT:
		r = path_udp_take(l, PATH_DIRECT, p->fd, &p->remote, ret_p);
		close(steal_fd(&p->fd));
		return r;
	case ICE_RAW: return path_udp_own(l, PATH_RAW, steal_fd(&p->fd), &p->remote, ret_p);
	case ICE_TCP: return path_framed_new(l, PATH_TCP, steal_fd(&p->fd), ret_p);
	case ICE_RELAYED: return path_turn_new(t, ret_p);
	default: return -ENOTSUP;
	}
}

static bool is_on(const struct link *k, enum path_kind kind)
{
	struct peer_link_info i;

	peer_link_info(k->l, &i);
	return i.kind == kind && i.state == PEER_LINK_UP;
}

static void on_path(struct ice_try *t, struct ice_path *p, void *arg)
{
	struct link *k = arg;
	struct path *path;
	int r;

	if (t == k->old_ice || (p->kind == ICE_TCP && k->visitor && is_on(k, PATH_TCP))) { /* a second one is no better */
		closep(&p->fd);
		return;
	}
	r = path_of_ice(k, t, p, &path);

	if (r < 0) {
		char text[160];

		(void)snprintf(text, sizeof(text), "a %s path was found and cannot be used: %s", ice_kind_name(p->kind), strerror(-r));
		if (r != -ENOTSUP)
			engine_log(k->e, LOG_LVL_WARN, k->id, text);
		closep(&p->fd);
		return;
	}
	path->tag = tag_of(k, t, p->kind);
	path->local = addr_family(&path->local) ? path->local : p->local;
	path->remote = p->remote;
	(void)snprintf(path->detail, sizeof(path->detail), "%s to %s, found in %u ms", candidate_type_name(p->local_type),
		       candidate_type_name(p->remote_type), (unsigned)p->after_ms);
	(void)peer_link_add_path(k->l, path);
	if (p->kind == ICE_DIRECT || p->kind == ICE_RAW)
		k->restart_wait = 0;
}

static void restart_later(struct link *k, uint64_t ms)
{
	if (k->visitor && !timer_is_set(&k->restart))
		loop_timer_set(k->e->loop, &k->restart, ms);
}

/* The attempt has come to its end without a direct path over UDP. */
static void again_later(struct link *k)
{
	k->restart_wait = MIN(MAX(2 * k->restart_wait, (uint64_t)RESTART_FIRST_MS), (uint64_t)RESTART_MOST_MS);
	restart_later(k, k->restart_wait);
}

static void on_lost(struct ice_try *t, enum ice_kind kind, void *arg)
{
	struct link *k = arg;

	if (t != k->old_ice)
		peer_link_why(k->l, ice_try_why(t));
	peer_link_drop_paths(k->l, tag_of(k, t, kind));
	if (t != k->old_ice && kind != ICE_RELAYED && !ice_try_searches(t))
		again_later(k);
	link_dirty(k);
}

static void on_state(struct ice_try *t, enum ice_state s, void *arg)
{
	struct link *k = arg;

	if (t == k->old_ice && s == ICE_FAILED)
		peer_link_drop_paths(k->l, tag_of(k, t, ICE_RELAYED));
	if (t == k->old_ice || s == ICE_CONNECTED)
		return;
	peer_link_why(k->l, ice_try_why(t));
	if (s != ICE_FAILED)
		return;
	again_later(k);
}

static void on_data(struct ice_try *t, const struct iovec *v, size_t n, void *arg)
{
	(void)arg;
	path_turn_input(t, v, n);
}

static const struct ice_ops ice_ops = { .on_line = on_line, .on_path = on_path, .on_lost = on_lost, .on_state = on_state, .on_data = on_data };

static bool has_path(const struct peer_link_info *i, unsigned tag)
{
	for (unsigned p = 0; p < i->n_paths; p++)
		if (i->paths[p].tag == tag)
			return true;
	return false;
}

static bool is_active(const struct peer_link_info *i, unsigned tag)
{
	for (unsigned p = 0; p < i->n_paths; p++)
		if (i->paths[p].active)
			return i->paths[p].tag == tag;
	return false;
}

/* A path through TURN lives as long as its attempt does: that one stays until the next has one of its own. */
static void keep_for_turn(struct link *k)
{
	struct peer_link_info i;

	peer_link_info(k->l, &i);
	if (k->ice && !(k->old_ice && is_active(&i, tag_of(k, k->old_ice, ICE_RELAYED))) && has_path(&i, tag_of(k, k->ice, ICE_RELAYED))) {
		k->old_ice = ice_try_free(k->old_ice);
		k->old_ice = steal_ptr(&k->ice);
		k->old_generation = k->generation;
	}
	k->ice = ice_try_free(k->ice);
}

static void forget_old(struct link *k)
{
	struct peer_link_info i;
	unsigned tag;

	if (!k->old_ice)
		return;
	peer_link_info(k->l, &i);
	tag = tag_of(k, k->old_ice, ICE_RELAYED);
	if (is_active(&i, tag) || (has_path(&i, tag) && !has_path(&i, tag_of(k, k->ice, ICE_RELAYED))))
		return;
	k->old_ice = ice_try_free(k->old_ice);
	peer_link_drop_paths(k->l, tag);
}

static void ice_begin(struct link *k, uint32_t generation)
{
	const struct ice_try_options o = { .controlling = k->visitor, .no_relay = k->e->flags & CHILD_F_NO_TURN,
					   .relay_only = k->e->flags & CHILD_F_NO_DIRECT, .ops = &ice_ops, .arg = k };

	timer_stop(&k->restart);
	keep_for_turn(k);
	k->generation = generation;
	k->n_local = k->n_remote = 0;
	k->n_lines = 0;
	k->lines_done = false;
	if (o.relay_only && (o.no_relay || !k->e->ice_settings->n_turn)) {
		peer_link_why(k->l, "direct paths are switched off (agent.direct)");
		return;
	}
	if (ice_try_new(k->e->ice, k->e->loop, &o, &k->ice) < 0) {
		peer_link_why(k->l, "out of memory");
		return;
	}
	engine_say(k->e, CHILD_ICE_LOCAL, &(struct child_ice){ .link = k->id, .generation = generation, .ufrag = text_of(ice_try_ufrag(k->ice)),
							       .pwd = text_of(ice_try_pwd(k->ice)) });
}

static void on_restart(struct timer *t, uint64_t now)
{
	struct link *k = container_of(t, struct link, restart);
	(void)now;
	if (is_on(k, PATH_DIRECT) || is_on(k, PATH_RAW))
		return; /* it has come back */
	ice_begin(k, k->generation + 1);
}

static void on_link_lost(struct peer_link *l, enum path_kind kind, void *arg)
{
	struct link *k = arg;

	(void)l;
	if (!path_rank(kind))
		restart_later(k, RESTART_LOST_MS);
}

void link_network_changed(struct link *k)
{
	if (!k->visitor)
		return;
	timer_stop(&k->restart);
	k->restart_wait = 0;
	restart_later(k, RESTART_LOST_MS);
}

static void remote_line(struct link *k, struct text t)
{
	char line[CANDIDATE_LINE_MAX + 1];

	if (t.n >= sizeof(line))
		return;
	wire_text_copy(line, sizeof(line), t);
	k->n_remote++;
	(void)ice_try_line(k->ice, line); /* what is not taken is counted there */
}

void link_ice_remote(struct link *k, const struct child_ice *m)
{
	char ufrag[ICE_UFRAG_MAX + 1], pwd[ICE_PWD_MAX + 1];

	if (m->generation > k->generation)
		ice_begin(k, m->generation);
	if (!k->ice || m->generation < k->generation)
		return;
	if (m->ufrag.n && m->ufrag.n < sizeof(ufrag) && m->pwd.n < sizeof(pwd)) {
		wire_text_copy(ufrag, sizeof(ufrag), m->ufrag);
		wire_text_copy(pwd, sizeof(pwd), m->pwd);
		(void)ice_try_remote(k->ice, ufrag, pwd);
	}
	for (unsigned i = 0; i < m->n_candidates && k->ice; i++)
		remote_line(k, m->candidates[i]);
	if (m->done && k->ice)
		(void)ice_try_line(k->ice, NULL);
	link_show(k);
}

/* ---- the supervisor's pipe ---- */

void link_carrier(struct link *k, const struct child_carrier *m, int *fd)
{
	struct path *p;

	if (*fd < 0) {
		k->no_relay = m->final;
		return;
	}
	if (path_framed_new(k->e->loop, PATH_RELAY, steal_fd(fd), &p) < 0)
		return;
	wire_text_copy(p->detail, sizeof(p->detail), m->text);
	(void)peer_link_add_path(k->l, p);
	link_dirty(k);
}

/* ---- life ---- */

static void on_timer(struct io *io, int events)
{
	struct link *k = container_of(io, struct link, timer);
	uint64_t n;

	(void)events;
	if (read(io->fd, &n, sizeof(n)) < 0)
		return;
	k->armed = QUIC_NEVER;
	peer_link_tick(k->l);
	k->dirty = true;
}

/* The loop's own timers count in ms, which is too coarse for pacing. */
static void arm(struct link *k)
{
	uint64_t at = peer_link_deadline(k->l);
	struct itimerspec ts = { 0 };

	if (at == k->armed)
		return;
	k->armed = at;
	if (at != QUIC_NEVER) {
		at = MAX(at, UINT64_C(1)); /* 0 would switch it off */
		ts.it_value.tv_sec = (time_t)(at / UINT64_C(1000000000));
		ts.it_value.tv_nsec = (long)(at % UINT64_C(1000000000));
	}
	(void)timerfd_settime(k->timer.fd, TFD_TIMER_ABSTIME, &ts, NULL);
}

void link_pass(struct link *k)
{
	send_lines(k);
	if (k->up && !k->gone)
		listeners_link_up(k->e, k);
	if (k->tell && !k->gone)
		forget_old(k);
	if (k->dirty && !k->gone) {
		k->dirty = false;
		peer_link_flush(k->l);
		arm(k);
	}
	if (k->tell && !k->gone)
		tell_state(k);
	if (k->gone) {
		struct peer_link_info i;

		peer_link_info(k->l, &i);
		engine_say(k->e, CHILD_LINK_GONE, &(struct child_link){ .link = k->id, .reason = WIRE_R_ERROR, .text = text_of(i.why) });
		link_free(k);
	}
}

void link_close(struct link *k, const char *why)
{
	peer_link_close(k->l, why);
	k->dirty = true;
}

void link_free(struct link *k)
{
	struct engine *e = k->e;

	timer_stop(&k->restart);
	timer_stop(&k->tell_timer);
	timer_stop(&k->show_timer);
	k->gone = true;
	k->ice = ice_try_free(k->ice);
	k->old_ice = ice_try_free(k->old_ice);
	if (k->l)
		peer_link_free(k->l); /* its streams close, and so their connections */
	if (k->timer.loop) {
		int fd = k->timer.fd;

		io_stop(&k->timer);
		close(fd);
	}
	listeners_link_gone(e, k);
	list_unlink(&k->node);
	e->n_links--;
	free(k);
}

static int start(struct link *k, const struct child_link_open *m)
{
	struct peer_link_options o = {
		.visitor = k->visitor, .creds = k->e->creds, .congestion = k->e->congestion, .pool = &k->e->pool,
		.head_start_ms = m->head_start == CHILD_HEAD_START_ONLY_DIRECT ? PEER_LINK_NEVER : m->head_start, .clock = clock_ns, .ops = &k->ops,
	};
	int fd, r;

	o.binding_s = k->e->ice ? ice_binding_s(k->e->ice) : 0;
	if (m->peer.n != sizeof(o.peer.b) || m->dcid.n != sizeof(o.dcid))
		return -EINVAL;
	memcpy(o.peer.b, m->peer.p, sizeof(o.peer.b));
	memcpy(o.dcid, m->dcid.p, sizeof(o.dcid));
	k->ops = (struct peer_link_ops){ .changed = on_changed, .down = on_down, .want_relay = on_want_relay, .lost = on_link_lost,
					 .pong = on_pong, .dirty = on_dirty, .quic = &streams_ops, .quic_arg = k, .arg = k };
	r = peer_link_new(&o, &k->l);
	if (r < 0)
		return r;
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = io_start(&k->timer, k->e->loop, fd, IO_READ, on_timer);
	if (r < 0) {
		k->timer.loop = NULL;
		close(fd);
	}
	return r;
}

int link_open(struct engine *e, const struct child_link_open *m)
{
	struct link *k;
	int r;

	if (e->n_links >= LINKS_MAX || engine_link(e, m->link))
		return -EUSERS;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->e = e;
	k->id = m->link;
	k->visitor = m->role == CHILD_VISITOR;
	k->no_relay = m->no_relay;
	k->armed = QUIC_NEVER;
	k->restart.fire = on_restart;
	k->tell_timer.fire = on_tell_timer;
	wire_text_copy(k->name, sizeof(k->name), m->name);
	list_init(&k->conns);
	list_append(&e->links, &k->node);
	e->n_links++;
	r = start(k, m);
	if (r < 0) {
		link_free(k);
		return r;
	}
	ice_begin(k, 0);
	k->dirty = k->tell = true;
	return 0;
}
