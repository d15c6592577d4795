/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP routes: a flow for each source, with a socket of its own that is connected to the target, so that answers
 * find their way by themselves and the target's refusals (ICMP) are noticed. Datagrams are received and sent in
 * batches (common/dgram) and go on in place.
 *
 * A flow ends when nothing came either way for a while, when its target refuses (the next datagram makes
 * another, to the next target), when it is kicked, when its route allows its source no more, or with its listener.
 * While a name is being resolved a few datagrams wait. Over the route's bit rate, and while its data log has to wait
 * for the disk, datagrams are dropped.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "common/clock.h"
#include "tunnel/log_msgs.h"
#include "tunnel/relay_priv.h"

enum { IDLE_MS = 60000, WAITING = 4, BUFFER = 1 << 20 };

struct waiting {
	uint8_t *p;
	size_t n;
};

struct relay_flow {
	struct relay_peer peer;
	struct hnode node; /* in worker->flows */
	struct relay_listener *listener;
	struct relay_dial dial;
	struct timer idle;
	struct io io; /* of the socket to the target */
	uint64_t last, bytes[2], packets[2];
	uint64_t window_at, window[2], rate[2];
	struct waiting waiting[WAITING];
	unsigned n_waiting;
	bool open, ending, log_waits;
};

static struct relay_flow *flow_of(const struct relay_peer *p)
{
	return container_of(p, struct relay_flow, peer);
}

/* ---- finding ---- */

struct key {
	const struct addr *source;
	const struct relay_listener *listener;
};

static uint64_t hash_key(const struct relay_worker *w, const struct key *k)
{
	return addr_hash_pair(&w->relay->seed, k->source, &k->listener->at);
}

static bool has_key(const struct hnode *n, const void *key)
{
	const struct relay_flow *f = container_of(n, struct relay_flow, node);
	const struct key *k = key;

	return f->listener == k->listener && addr_equal(&f->peer.source, k->source);
}

/* ---- ends ---- */

static void flow_free(struct relay_flow *f, const char *reason)
{
	struct relay_worker *w = f->peer.worker;

	relay_peer_count(&f->peer, f->bytes);
	relay_peer_record(&f->peer, f->open ? RECORD_ENDED : RECORD_FAILED, reason, f->bytes);
	relay_dial_end(&f->dial);
	timer_stop(&f->idle);
	if (f->open) {
		io_stop(&f->io);
		dgram_forget(w->dgram, f->io.fd);
		close(f->io.fd);
	}
	while (f->n_waiting)
		free(f->waiting[--f->n_waiting].p);
	htable_remove(&w->flows, &f->node);
	relay_peer_end(&f->peer);
	free(f);
}

/* From where the flow is still being looked at: it ends in the next pass. */
static void end_soon(struct relay_flow *f)
{
	f->ending = true;
	loop_timer_set(f->peer.worker->loop, &f->idle, 0);
}

static uint64_t idle_ms(const struct relay_flow *f)
{
	return f->peer.route->c->idle_ms ? f->peer.route->c->idle_ms : IDLE_MS;
}

static void on_idle(struct timer *t, uint64_t now)
{
	struct relay_flow *f = container_of(t, struct relay_flow, idle);
	uint64_t quiet = now - f->last;

	relay_peer_count(&f->peer, f->bytes);
	if (f->ending)
		flow_free(f, f->dial.why);
	else if (quiet >= idle_ms(f))
		flow_free(f, joint_end_text(JOINT_END_IDLE));
	else
		loop_timer_set(f->peer.worker->loop, t, idle_ms(f) - quiet);
}

/* ---- datagrams ---- */

static void count(struct relay_flow *f, unsigned way, size_t n)
{
	uint64_t now = loop_now(f->peer.worker->loop), gone = now - f->window_at;

	f->last = now;
	f->bytes[way] += n;
	f->packets[way]++;
	if (gone >= 1000) {
		for (unsigned i = 0; i < 2; i++) {
			f->rate[i] = f->window[i] * 1000 / gone;
			f->window[i] = 0;
		}
		f->window_at = now;
	}
	f->window[way] += n;
	relay_count(f->peer.worker, RELAY_M_PACKETS, way, 1);
}

static void on_log_room(void *arg)
{
	flow_of(arg)->log_waits = false;
}

/* False: it is dropped. */
static bool may_pass(struct relay_flow *f, unsigned way, const uint8_t *p, size_t n)
{
	struct relay_worker *w = f->peer.worker;
	struct route *r = f->peer.route;

	if (f->log_waits) {
		relay_count(w, RELAY_M_UDP_DROPS, RELAY_DROP_LOG, 1);
		return false;
	}
	if (r->c->limits.bitrate != UINT64_MAX) {
		if (route_room(r, n, loop_now(w->loop)) < n) {
			relay_count(w, RELAY_M_UDP_DROPS, RELAY_DROP_BITRATE, 1);
			return false;
		}
		route_passed(r, n, loop_now(w->loop));
	}
	f->log_waits = relay_peer_passes(&f->peer, way, p, n) == DATA_LOG_WAIT;
	count(f, way, n);
	return true;
}

static void on_answer(const struct dgram *d, void *arg)
{
	struct relay_flow *f = arg;
	struct relay_listener *l = f->listener;
	struct dgram_route to = { .fd = l->fd, .to = &f->peer.source, .mark = DGRAM_MARK_NONE };

	if (f->ending || !may_pass(f, 1, d->data, d->len))
		return;
	if (addr_classify(&l->at) == ADDR_UNSPECIFIED && addr_family(&f->peer.listener) != AF_UNSPEC)
		to.from = &f->peer.listener;
	dgram_send(f->peer.worker->dgram, &to, NULL, 0, d->data, d->len);
}

static void target_failed(struct relay_flow *f, const char *why)
{
	if (f->ending)
		return;
	relay_count(f->peer.worker, RELAY_M_UDP_DROPS, RELAY_DROP_TARGET, 1);
	relay_count(f->peer.worker, RELAY_M_TRIES, 0, 1);
	route_missed(f->peer.route, f->dial.target, loop_now(f->peer.worker->loop));
	(void)snprintf(f->dial.why, sizeof(f->dial.why), "the target cannot be reached: %s", why);
	end_soon(f);
}

enum { ICMP4_UNREACHABLE = 3, ICMP4_TOO_BIG = 4, ICMP6_UNREACHABLE = 1 };

/* "Too big" is no verdict on the target, and what the network says of time is none either. */
static void on_icmp(const struct dgram_error *e, void *arg)
{
	char why[64];

	if (e->icmp_type != (e->v6 ? ICMP6_UNREACHABLE : ICMP4_UNREACHABLE) || (!e->v6 && e->icmp_code == ICMP4_TOO_BIG))
		return;
	(void)snprintf(why, sizeof(why), "ICMP%s unreachable, code %u", e->v6 ? "v6" : "", e->icmp_code);
	target_failed(arg, why);
}

static void on_target_ready(struct io *io, int events)
{
	struct relay_flow *f = container_of(io, struct relay_flow, io);
	int r;

	(void)events;
	(void)dgram_recv_errors(io->fd, on_icmp, f);
	r = dgram_recv(f->peer.worker->dgram, io->fd, 0, on_answer, f);
	if (r < 0)
		target_failed(f, strerror(-r));
}

static void to_target(struct relay_flow *f, const uint8_t *p, size_t n, bool stays)
{
	struct dgram_route to = { .fd = f->io.fd, .to = &f->peer.target, .mark = DGRAM_MARK_NONE };

	if (!may_pass(f, 0, p, n))
		return;
	if (stays)
		dgram_send(f->peer.worker->dgram, &to, NULL, 0, p, n);
	else
		dgram_send_copy(f->peer.worker->dgram, &to, p, n);
}

static void hold(struct relay_flow *f, const struct dgram *d)
{
	uint8_t *p = f->n_waiting < WAITING ? malloc(MAX(d->len, 1)) : NULL;

	if (!p) {
		relay_count(f->peer.worker, RELAY_M_UDP_DROPS, RELAY_DROP_WAITING, 1);
		return;
	}
	memcpy(p, d->data, d->len);
	f->waiting[f->n_waiting++] = (struct waiting){ p, d->len };
}

/* ---- targets ---- */

static int open_to(struct relay_flow *f, const struct addr *to)
{
	struct addr from = f->peer.route->c->source_address;
	int fd, r;

	if (addr_family(&from) == AF_UNSPEC) {
		static const uint8_t any[16];

		from = addr_family(to) == AF_INET6 ? addr_v6(any, 0) : addr_v4(0, 0);
	}
	r = dgram_socket(&from, &(struct dgram_socket_options){ .gro = true, .recv_err = true, .v6only = true,
							     .rcvbuf = BUFFER, .sndbuf = BUFFER }, &fd);
	if (r < 0)
		return r;
	if (connect(fd, &to->sa, addr_len(to)) < 0)
		r = -errno;
	if (r == 0)
		r = io_start(&f->io, f->peer.worker->loop, fd, IO_READ, on_target_ready);
	if (r < 0)
		close(fd);
	return r;
}

static void on_next(struct relay_dial *d, const struct addr *to)
{
	static const uint64_t none[2];
	struct relay_flow *f = container_of(d, struct relay_flow, dial);
	int r;

	if (!to) {
		relay_count(f->peer.worker, RELAY_M_UDP_DROPS, RELAY_DROP_TARGET, 1);
		atomic_fetch_add_explicit(&f->peer.route->totals->failed, 1, memory_order_relaxed);
		end_soon(f);
		return;
	}
	f->peer.target = *to;
	f->peer.target_index = (uint8_t)d->target;
	r = open_to(f, to);
	if (r < 0) {
		relay_dial_failed(d, -r, strerror(-r));
		return;
	}
	f->open = true;
	if (f->peer.route->c->log_data)
		(void)relay_peer_log(&f->peer, on_log_room);
	relay_peer_record(&f->peer, RECORD_OPENED, NULL, none);
	for (unsigned i = 0; i < f->n_waiting; i++) {
		to_target(f, f->waiting[i].p, f->waiting[i].n, false);
		free(f->waiting[i].p);
	}
	f->n_waiting = 0;
}

/* ---- sources ---- */

static struct relay_flow *flow_new(struct relay_listener *l, const struct dgram *d, int *ret_error)
{
	struct relay_worker *w = l->worker;
	struct relay_flow *f = calloc(1, sizeof(*f));
	struct key k = { &d->from, l };

	*ret_error = f ? relay_peer_begin(&f->peer, l, &d->from, addr_family(&d->local) ? &d->local : &l->at) : -ENOMEM;
	if (*ret_error < 0) {
		free(f);
		return NULL;
	}
	f->listener = l;
	*ret_error = htable_insert(&w->flows, &f->node, hash_key(w, &k));
	if (*ret_error < 0) {
		relay_peer_end(&f->peer);
		free(f);
		return NULL;
	}
	list_append(&w->flows_by_age, &f->peer.node);
	f->last = f->window_at = loop_now(w->loop);
	f->idle.fire = on_idle;
	loop_timer_set(w->loop, &f->idle, idle_ms(f));
	f->dial = (struct relay_dial){ .worker = w, .route = f->peer.route, .index = l->index, .next = on_next };
	relay_dial_begin(&f->dial);
	return f;
}

static struct relay_flow *admit(struct relay_listener *l, const struct dgram *d)
{
	struct relay_flow *f = NULL;
	enum relay_refusal why = RELAY_REFUSED_SOURCE;
	int r;

	if (l->worker->draining) {
		why = RELAY_REFUSED_DRAINING;
	} else if (route_allows(l->route, &d->from)) {
		f = flow_new(l, d, &r);
		why = r == -EUSERS ? RELAY_REFUSED_LIMIT : RELAY_REFUSED_MEMORY;
	}
	if (!f)
		relay_refused(l, &d->from, why);
	return f;
}

static void on_datagram(const struct dgram *d, void *arg)
{
	struct relay_listener *l = arg;
	struct key k = { &d->from, l };
	struct hnode *n = htable_find(&l->worker->flows, hash_key(l->worker, &k), has_key, &k);
	struct relay_flow *f = n ? container_of(n, struct relay_flow, node) : admit(l, d);

	if (!f)
		return;
	if (f->ending)
		relay_count(l->worker, RELAY_M_UDP_DROPS, RELAY_DROP_TARGET, 1);
	else if (f->open)
		to_target(f, d->data, d->len, true);
	else
		hold(f, d);
}

static void on_source_ready(struct io *io, int events)
{
	struct relay_listener *l = container_of(io, struct relay_listener, io);

	(void)events;
	(void)dgram_recv(l->worker->dgram, l->fd, addr_port(&l->at), on_datagram, l);
}

int relay_udp_open(struct relay_listener *l, int fd)
{
	int r = io_start(&l->io, l->worker->loop, fd, IO_READ, on_source_ready);

	if (r < 0)
		close(fd);
	else
		l->fd = fd;
	return r;
}

void relay_udp_close(struct relay_listener *l)
{
	list_for_each_safe(it, &l->worker->flows_by_age) {
		struct relay_flow *f = flow_of(list_entry(it, struct relay_peer, node));

		if (f->listener == l)
			flow_free(f, "its route listens there no more");
	}
	io_stop(&l->io);
	dgram_forget(l->worker->dgram, l->fd);
	close(l->fd);
	l->fd = -1;
}

/* ---- all of them ---- */

void relay_flows_count(struct relay_worker *w)
{
	list_for_each(it, &w->flows_by_age) {
		struct relay_flow *f = flow_of(list_entry(it, struct relay_peer, node));

		relay_peer_count(&f->peer, f->bytes);
	}
}

void relay_flows_drop(struct relay_worker *w, const char *route)
{
	list_for_each_safe(it, &w->flows_by_age) {
		struct relay_flow *f = flow_of(list_entry(it, struct relay_peer, node));

		if (!route || strcmp(f->peer.route->name, route) == 0)
			flow_free(f, route ? joint_end_text(JOINT_END_KILLED) : "the service stopped");
	}
}

void relay_flows_recheck(struct relay_worker *w, const struct route *r)
{
	list_for_each_safe (it, &w->flows_by_age) {
		struct relay_flow *f = flow_of(list_entry(it, struct relay_peer, node));

		if (relay_peer_struck_off(&f->peer, r))
			flow_free(f, RELAY_STRUCK_OFF);
	}
}

int relay_flow_act(struct relay_worker *w, uint64_t id, enum relay_act what)
{
	list_for_each(it, &w->flows_by_age) {
		struct relay_flow *f = flow_of(list_entry(it, struct relay_peer, node));

		if (f->peer.id != id)
			continue;
		if (what == RELAY_LOG_ON)
			return relay_peer_log(&f->peer, on_log_room);
		if (what == RELAY_KICK) {
			flow_free(f, joint_end_text(JOINT_END_KILLED));
		} else if (what == RELAY_LOG_OFF) {
			f->peer.log = data_log_close(f->peer.log, "switched off", clock_unix_ms());
			f->log_waits = false;
		} else {
			f->peer.watched = what == RELAY_WATCH_ON;
		}
		return 0;
	}
	return -ENOENT;
}

json_t *relay_flow_json(const struct relay_peer *p, uint64_t now)
{
	const struct relay_flow *f = flow_of(p);
	bool stale = now - f->window_at > 2000;

	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "state",
			 f->open ? "open" : f->dial.query ? "resolving" : "ending", "bytes_up", (json_int_t)f->bytes[0],
			 "bytes_down", (json_int_t)f->bytes[1], "packets_up", (json_int_t)f->packets[0], "packets_down",
			 (json_int_t)f->packets[1], "rate_up", (json_int_t)(stale ? 0 : f->rate[0]), "rate_down",
			 (json_int_t)(stale ? 0 : f->rate[1]), "quiet_ms", (json_int_t)(now - f->last));
}
