/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP connection of a route: admitted (source, limit, descriptors), its TLS finished if the route has some, a
 * target dialled, joined, counted, recorded, ended. It stays on the worker that accepted it.
 *
 * The first bytes to the target are the PROXY header, before TLS with the target begins. A data log or a
 * watcher taps the joint, which takes this connection alone off splice.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/stream.h"
#include "common/proxy_protocol.h"
#include "tunnel/log_msgs.h"
#include "tunnel/relay_priv.h"

enum { KEEP_IDLE_S = 60, KEEP_EVERY_S = 15, KEEP_COUNT = 4 };

struct relay_conn {
	struct relay_peer peer;
	struct joint *joint;
	struct relay_dial dial;
	bool open, dialling;
	bool kept_alive; /* its target is asked whether it is still there */
};

static struct relay_conn *conn_of(const struct relay_peer *p)
{
	return container_of(p, struct relay_conn, peer);
}

static void conn_free(struct relay_conn *c)
{
	relay_dial_end(&c->dial);
	joint_free(c->joint);
	relay_peer_end(&c->peer);
	free(c);
}

/* ---- taps ---- */

static void update_taps(struct relay_conn *c)
{
	bool on = c->peer.log || c->peer.watched;

	joint_tap(c->joint, JOINT_UP, on);
	joint_tap(c->joint, JOINT_DOWN, on);
}

static void log_goes_on(struct relay_conn *c)
{
	joint_pause(c->joint, JOINT_UP, false);
	joint_pause(c->joint, JOINT_DOWN, false);
}

static void on_log_room(void *arg)
{
	log_goes_on(conn_of(arg));
}

static void close_log(struct relay_conn *c, const char *reason)
{
	if (!c->peer.log)
		return;
	c->peer.log = data_log_close(c->peer.log, reason, clock_unix_ms());
	log_goes_on(c); /* it asks for nothing any more */
}

static void on_tap(struct joint *j, enum joint_way w, const uint8_t *p, size_t n, void *arg)
{
	struct relay_conn *c = arg;
	int r = relay_peer_passes(&c->peer, (unsigned)w, p, n);

	if (r == DATA_LOG_WAIT) {
		joint_pause(j, w, true);
	} else if (r == DATA_LOG_STOPPED) {
		log_goes_on(c);
		update_taps(c);
	}
}

/* ---- limits ---- */

static size_t on_room(struct joint *j, enum joint_way w, size_t want, void *arg)
{
	struct relay_conn *c = arg;

	(void)j;
	(void)w;
	return route_room(c->peer.route, want, loop_now(c->peer.worker->loop));
}

static void on_passed(struct joint *j, enum joint_way w, size_t n, void *arg)
{
	struct relay_conn *c = arg;

	(void)j;
	(void)w;
	route_passed(c->peer.route, n, loop_now(c->peer.worker->loop));
}

/* ---- the target ---- */

/* Of connections that last, in the worker's own time: most are over before it matters, and these are four calls. */
static void keep_alive(struct relay_conn *c)
{
	static const struct { int level, name, v; } o[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEP_EVERY_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT },
	};
	int fd = joint_fd(c->joint, JOINT_B);

	if (c->kept_alive || !c->open || fd < 0)
		return;
	c->kept_alive = true;
	for (size_t i = 0; i < ARRAY_LEN(o); i++)
		(void)setsockopt(fd, o[i].level, o[i].name, &o[i].v, sizeof(o[i].v));
}

/* The local port is chosen by connect(), so that one address has more than 28,000 of them. */
static int bind_source(int fd, const struct addr *from)
{
	const int one = 1;

	if (addr_family(from) == AF_UNSPEC)
		return 0;
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(fd, &from->sa, addr_len(from)) < 0 ? -errno : 0;
}

static int connect_to(const struct route *r, const struct addr *to, int *ret_fd)
{
	int fd = socket(addr_family(to), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;
	const int one = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	rc = bind_source(fd, &r->c->source_address);
	if (rc == 0 && connect(fd, &to->sa, addr_len(to)) < 0 && errno != EINPROGRESS)
		rc = -errno;
	if (rc < 0) {
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

static void on_next(struct relay_dial *d, const struct addr *to)
{
	struct relay_conn *c = container_of(d, struct relay_conn, dial);
	const struct route_target_tls *tls = d->route->c->target_tls;
	const struct route_target *t = d->route->c->target.items;
	int fd = -1, r;

	if (!to) {
		joint_refuse(c->joint, d->err, d->why);
		return;
	}
	c->peer.target = *to;
	c->peer.target_index = (uint8_t)d->target;
	r = connect_to(d->route, to, &fd);
	if (r < 0) {
		relay_dial_failed(d, -r, strerror(-r));
		return;
	}
	joint_dial(c->joint, fd, &(struct joint_tls){ d->route->target_tls, tls && tls->server_name ? tls->server_name :
						      t[d->target].host });
}

static void on_want_b(struct joint *j, int err, const char *why, void *arg)
{
	struct relay_conn *c = arg;

	(void)j;
	if (c->dialling) {
		relay_dial_failed(&c->dial, err, why);
		return;
	}
	c->dialling = true;
	relay_dial_begin(&c->dial);
}

/* A socket that has just connected has room for a header. */
static int on_connected(struct joint *j, int fd, void *arg)
{
	struct relay_conn *c = arg;
	struct proxy_header h = { .client = c->peer.source, .server = c->peer.listener };
	uint8_t buf[PROXY_WRITE_MAX];
	struct wr w = wr_init(buf, sizeof(buf));

	(void)j;
	if (c->peer.route->c->proxy_protocol != ROUTE_PROXY_V2)
		return 0;
	proxy_write(&w, &h);
	if (w.failed)
		return -EINVAL;
	return send(fd, buf, (size_t)(w.pos - buf), MSG_NOSIGNAL | MSG_DONTWAIT) == w.pos - buf ? 0 : -EIO;
}

static void on_open(struct joint *j, void *arg)
{
	static const uint64_t none[2];
	struct relay_conn *c = arg;
	const struct route_config *rc = c->peer.route->c;

	c->open = true;
	relay_dial_reached(&c->dial);
	if (rc->limits.bitrate != UINT64_MAX) {
		joint_limit(j, JOINT_UP, true);
		joint_limit(j, JOINT_DOWN, true);
	}
	if (rc->log_data)
		(void)relay_peer_log(&c->peer, on_log_room);
	if (c->peer.log || c->peer.watched)
		update_taps(c);
	relay_peer_record(&c->peer, RECORD_OPENED, NULL, none);
}

/* ---- its end ---- */

static void log_failed(struct relay_conn *c, enum joint_end end, int err, const char *why)
{
	struct relay_worker *w = c->peer.worker;
	bool by_target = end == JOINT_END_CONNECT || end == JOINT_END_CONNECT_TIMEOUT;
	uint64_t suppressed;

	if (err == EMFILE || err == ENFILE)
		relay_count(w, RELAY_M_REFUSED, RELAY_REFUSED_DESCRIPTORS, 1);
	if (!by_target && !log_enabled(LOG_LVL_DEBUG))
		return; /* strangers who speak no TLS, or leave at once */
	if (relay_may_log(w, RELAY_LINE_FAILED, &suppressed))
		log_emit(by_target ? &MSG_RELAY_CONNECTION_FAILED : &MSG_RELAY_CONNECTION_LEFT, LF_STR("route", c->peer.route->name),
			 LF_ADDR("source", &c->peer.source), LF_STR("target", c->peer.route->target), LF_STR("cause", joint_end_text(end)),
			 LF_STR("reason", why), LF_U64("connection", c->peer.id), LF_U64("suppressed", suppressed));
}

static void on_end(struct joint *j, enum joint_end end, int err, const char *why, void *arg)
{
	struct relay_conn *c = arg;
	struct joint_info i;
	bool failed = !c->open;

	joint_info(j, &i);
	relay_peer_count(&c->peer, i.bytes);
	relay_count(c->peer.worker, RELAY_M_ENDED, end, 1);
	close_log(c, why);
	if (failed) {
		atomic_fetch_add_explicit(&c->peer.route->totals->failed, 1, memory_order_relaxed);
		log_failed(c, end, err, why);
	}
	relay_peer_record(&c->peer, failed ? RECORD_FAILED : RECORD_ENDED, why, i.bytes);
	conn_free(c);
}

static const struct joint_ops ops = {
	.want_b = on_want_b,
	.on_connected = on_connected,
	.on_open = on_open,
	.tap = on_tap,
	.room = on_room,
	.passed = on_passed,
	.on_end = on_end,
};

/* ---- its beginning ---- */

static int conn_new(struct relay_listener *l, int fd, const struct addr *source, const struct addr *local)
{
	const struct route_config *rc = l->route->c;
	struct relay_conn *c = calloc(1, sizeof(*c));
	struct joint_options o = { .fd = fd, .tls.ctx = l->route->tls, .connect_ms = rc->connect_ms, .idle_ms = rc->idle_ms,
				   .half_close_ms = rc->half_close_ms };
	int r = c ? relay_peer_begin(&c->peer, l, source, local) : -ENOMEM;

	if (r < 0) {
		free(c);
		socket_reset(fd);
		return r;
	}
	list_append(&l->worker->conns, &c->peer.node);
	c->dial = (struct relay_dial){ .worker = l->worker, .route = c->peer.route, .index = l->index, .next = on_next };
	r = joint_new(l->worker->pool, &o, &ops, c, &c->joint);
	if (r < 0) {
		conn_free(c);
		return r;
	}
	if (!l->route->tls)
		on_want_b(c->joint, 0, "", c);
	return 0;
}

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct relay_listener *l = arg;
	enum relay_refusal why;
	int r;

	if (l->worker->draining) {
		why = RELAY_REFUSED_DRAINING;
	} else if (!route_allows(l->route, peer)) {
		why = RELAY_REFUSED_SOURCE;
	} else {
		r = conn_new(l, fd, peer, local);
		if (r < 0)
			relay_refused(l, peer, r == -EUSERS ? RELAY_REFUSED_LIMIT : RELAY_REFUSED_MEMORY);
		return;
	}
	socket_reset(fd);
	relay_refused(l, peer, why);
}

static void on_refused(int fd, const struct addr *peer, void *arg)
{
	socket_reset(fd);
	relay_refused(arg, peer, RELAY_REFUSED_DESCRIPTORS);
}

static void on_short(int listen_fd, int err, void *arg)
{
	struct relay_listener *l = arg;

	acceptor_refuse(listen_fd, err, &l->worker->spare, on_refused, l);
}

static void on_accept_error(int err, void *arg)
{
	struct relay_listener *l = arg;
	uint64_t suppressed;

	if (relay_may_log(l->worker, RELAY_LINE_SHORT, &suppressed))
		log_emit(&MSG_RELAY_ACCEPT, LF_STR("route", l->route->name), LF_ERRNO("error", err), LF_U64("suppressed", suppressed));
}

const struct acceptor_ops relay_acceptor_ops = { .on_accept = on_accept, .on_error = on_accept_error, .on_short = on_short };

/* ---- all of them ---- */

void relay_conns_count(struct relay_worker *w)
{
	list_for_each(it, &w->conns) {
		struct relay_conn *c = conn_of(list_entry(it, struct relay_peer, node));
		struct joint_info i;

		joint_info(c->joint, &i);
		relay_peer_count(&c->peer, i.bytes);
		keep_alive(c);
	}
}

void relay_conns_drop(struct relay_worker *w, const char *route)
{
	list_for_each_safe(it, &w->conns) {
		struct relay_conn *c = conn_of(list_entry(it, struct relay_peer, node));
		struct joint_info i;

		if (route && strcmp(c->peer.route->name, route) != 0)
			continue;
		if (route) {
			joint_kill(c->joint, NULL);
			continue;
		}
		joint_info(c->joint, &i); /* the worker ends: nothing is told by the loop any more */
		relay_peer_count(&c->peer, i.bytes);
		close_log(c, "the service stopped");
		relay_peer_record(&c->peer, c->open ? RECORD_ENDED : RECORD_FAILED, "the service stopped", i.bytes);
		conn_free(c);
	}
}

void relay_conns_recheck(struct relay_worker *w, const struct route *r)
{
	list_for_each (it, &w->conns) {
		struct relay_conn *c = conn_of(list_entry(it, struct relay_peer, node));

		if (relay_peer_struck_off(&c->peer, r))
			joint_kill(c->joint, RELAY_STRUCK_OFF);
	}
}

int relay_conn_act(struct relay_worker *w, uint64_t id, enum relay_act what)
{
	list_for_each(it, &w->conns) {
		struct relay_conn *c = conn_of(list_entry(it, struct relay_peer, node));
		int r = 0;

		if (c->peer.id != id)
			continue;
		if (what == RELAY_KICK)
			joint_kill(c->joint, NULL);
		else if (what == RELAY_LOG_ON)
			r = relay_peer_log(&c->peer, on_log_room);
		else if (what == RELAY_LOG_OFF)
			close_log(c, "switched off");
		else
			c->peer.watched = what == RELAY_WATCH_ON;
		update_taps(c);
		return r;
	}
	return -ENOENT;
}

static const char *state_of(const struct relay_conn *c, const struct joint_info *i)
{
	if (!c->open)
		return c->dial.query ? "resolving" : c->dialling ? "connecting" : "handshake";
	return i->ended[JOINT_UP] || i->ended[JOINT_DOWN] ? "half-closed" : "open";
}

json_t *relay_conn_json(const struct relay_peer *p, uint64_t now)
{
	const struct relay_conn *c = conn_of(p);
	struct joint_info i;

	(void)now;
	joint_info(c->joint, &i);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "state", state_of(c, &i), "bytes_up",
			 (json_int_t)i.bytes[JOINT_UP], "bytes_down", (json_int_t)i.bytes[JOINT_DOWN], "rate_up",
			 (json_int_t)i.rate[JOINT_UP], "rate_down", (json_int_t)i.rate[JOINT_DOWN], "held_up",
			 (json_int_t)i.held[JOINT_UP], "held_down", (json_int_t)i.held[JOINT_DOWN], "quiet_ms",
			 (json_int_t)i.quiet_ms, "spliced", i.splicing[JOINT_UP] || i.splicing[JOINT_DOWN]);
}
