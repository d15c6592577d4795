/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A direct TCP connection, where UDP does not get through (RFC 6544, candidates of type "so"): each end listens on a port and
 * connects from the same port to the peer's candidates, again and again; where both have a NAT or a firewall, the two connections
 * cross and become one (RFC 9293 3.5). The port's outside address is asked from a STUN server over TCP. Whoever comes proves himself
 * by a STUN request with the attempt's credentials before anything else of him is read; the controlling end chooses one.
 *
 * Connecting begins at once where UDP is known to be blocked at either end, else when ICE has had GRACE_MS.
 *
 * Timer: one. The end of our lines waits TELL_MS for the STUN server; then rounds of connections, each made anew, until GIVE_UP_MS.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/bytes.h"
#include "tunnel/direct/ice_priv.h"

enum {
	TELL_MS = 1000,
	GRACE_MS = 1500,
	ROUND_MS = 250, /* a lost SYN is repeated after a second only: late for two that must cross */
	QUICK_ROUNDS = 5,
	LONG_ROUND_MS = 1500, /* after those: for long ways */
	GIVE_UP_MS = 12000,
	CHECK_MS = 3000, /* for who is connected and has not proven himself */
	CHECK_MAX = 400, /* bytes of a request or an answer */
	BACKLOG = 8,
};

/* ---- messages ---- */

static ssize_t write_check(const struct ice_try *t, const struct stun_msg *request, uint8_t out[static CHECK_MAX])
{
	const struct ice_tcp *x = &t->tcp;
	char name[2 * ICE_UFRAG_MAX + 2];
	struct stun_writer w;

	if (request)
		stun_begin_response(&w, out, CHECK_MAX, request, STUN_SUCCESS);
	else {
		stun_begin(&w, out, CHECK_MAX, STUN_BINDING, STUN_REQUEST, x->tid);
		snprintf(name, sizeof name, "%s:%s", t->peer_ufrag, t->ufrag);
		stun_put_text(&w, STUN_A_USERNAME, text_of(name));
		stun_put_flag(&w, STUN_A_USE_CANDIDATE);
	}
	stun_put_integrity(&w, request ? x->key : x->peer_key);
	stun_put_fingerprint(&w);
	return stun_end(&w);
}

static bool is_good(const struct ice_try *t, const struct stun_msg *m)
{
	const struct ice_tcp *x = &t->tcp;
	char name[2 * ICE_UFRAG_MAX + 2];
	struct text said;

	if (m->method != STUN_BINDING)
		return false;
	if (t->o.controlling)
		return m->class == STUN_SUCCESS && memcmp(m->tid, x->tid, STUN_TID_LEN) == 0 && stun_check_integrity(m, x->peer_key);
	snprintf(name, sizeof name, "%s:%s", t->ufrag, t->peer_ufrag);
	return m->class == STUN_REQUEST && stun_get_text(m, STUN_A_USERNAME, &said) == 0 && text_eq(said, text_of(name)) &&
	       stun_has(m, STUN_A_USE_CANDIDATE) && stun_check_integrity(m, x->key);
}

/* ---- connections ---- */

static void close_conn(struct ice_tcp_conn *c)
{
	io_stop(&c->io);
	if (c->state != ICE_TCP_FREE)
		close(c->io.fd);
	c->state = ICE_TCP_FREE;
	c->checked = false;
}

static void stop(struct ice_try *t)
{
	struct ice_tcp *x = &t->tcp;

	timer_stop(&x->timer);
	for (size_t i = 0; i < ICE_TCP_CONNS; i++)
		close_conn(&x->conns[i]);
	for (size_t i = 0; i < x->n_locals; i++) {
		io_stop(&x->locals[i].io);
		if (x->locals[i].io.fd >= 0)
			close(x->locals[i].io.fd);
	}
	x->n_locals = 0;
	close_conn(&x->stun);
}

/* Tail call. */
static void found(struct ice_try *t, struct ice_tcp_conn *c)
{
	struct ice_part *p = &t->parts[PART_TCP];
	struct ice_path path = { .kind = ICE_TCP, .local_type = CANDIDATE_HOST, .remote_type = CANDIDATE_PRFLX, .remote = c->remote };
	socklen_t len = sizeof path.local;

	io_stop(&c->io);
	path.fd = c->io.fd;
	c->state = ICE_TCP_FREE;
	(void)getsockname(path.fd, &path.local.sa, &len);
	stop(t);
	loop_timer_set(t->loop, &t->tcp.timer, 0); /* the new state, in a turn of its own */
	p->on = true;
	p->state = ICE_CONNECTED;
	ice_part_path(p, &path);
}

/* The controlling end asks on one connection at a time. */
static void ask_one(struct ice_try *t)
{
	struct ice_tcp *x = &t->tcp;
	uint8_t out[CHECK_MAX];
	ssize_t n;

	for (size_t i = 0; i < ICE_TCP_CONNS; i++)
		if (x->conns[i].checked)
			return;
	for (size_t i = 0; i < ICE_TCP_CONNS; i++) {
		struct ice_tcp_conn *c = &x->conns[i];
		if (c->state != ICE_TCP_CONNECTED)
			continue;
		n = write_check(t, NULL, out);
		if (n > 0 && send(c->io.fd, out, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n) {
			c->checked = true;
			return;
		}
		close_conn(c);
	}
}

/* What stands in front is taken to its end and no further: frames follow. Tail call. */
static void read_check(struct ice_try *t, struct ice_tcp_conn *c)
{
	uint8_t buf[CHECK_MAX], out[CHECK_MAX];
	struct stun_msg m;
	ssize_t n = recv(c->io.fd, buf, sizeof buf, MSG_PEEK | MSG_DONTWAIT), whole, len;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	whole = n > 0 ? stun_frame_length(buf, (size_t)n) : -EBADMSG;
	if (whole == 0 || (whole > n && whole <= (ssize_t)sizeof buf))
		return; /* the rest comes, or CHECK_MS passes */
	if (whole < 0 || whole > n || recv(c->io.fd, buf, (size_t)whole, MSG_DONTWAIT) != whole ||
	    stun_parse(buf, (size_t)whole, &m) != STUN_OK || !is_good(t, &m)) {
		close_conn(c);
		return;
	}
	if (!t->o.controlling) {
		len = write_check(t, &m, out);
		if (len < 0 || send(c->io.fd, out, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) != len) {
			close_conn(c);
			return;
		}
	}
	found(t, c);
}

static void on_conn(struct io *io, int events)
{
	struct ice_tcp_conn *c = container_of(io, struct ice_tcp_conn, io);
	struct ice_try *t = c->t;
	int error = 0;
	socklen_t len = sizeof error;

	if (c->state == ICE_TCP_CONNECTING && (events & (IO_WRITE | IO_CLOSED))) {
		if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0) {
			close_conn(c);
			return;
		}
		c->state = ICE_TCP_CONNECTED;
		c->since = loop_now(t->loop);
		if (io_change(io, IO_READ) != 0) {
			close_conn(c);
			return;
		}
		if (t->o.controlling)
			ask_one(t);
	} else if (c->state == ICE_TCP_CONNECTED)
		read_check(t, c);
}

static struct ice_tcp_conn *free_conn(struct ice_tcp *x)
{
	for (size_t i = 0; i < ICE_TCP_CONNS; i++)
		if (x->conns[i].state == ICE_TCP_FREE)
			return &x->conns[i];
	return NULL;
}

static void on_stun(struct io *io, int events);

static int watch(struct ice_try *t, struct ice_tcp_conn *c, int fd, const struct addr *remote, int state)
{
	int one = 1, events = state == ICE_TCP_CONNECTING ? IO_WRITE : IO_READ;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->t = t;
	c->remote = *remote;
	c->since = loop_now(t->loop);
	if (io_start(&c->io, t->loop, fd, events, c == &t->tcp.stun ? on_stun : on_conn) != 0) {
		close(fd);
		return -ENOMEM;
	}
	c->io.fd = fd;
	c->state = state;
	return 0;
}

static void on_accept(struct io *io, int events)
{
	struct ice_tcp_local *l = container_of(io, struct ice_tcp_local, io);
	struct ice_try *t = l->t;
	struct addr from = { 0 };
	socklen_t len = sizeof from;
	int fd = accept4(io->fd, &from.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct ice_tcp_conn *c;

	(void)events;
	if (fd < 0)
		return;
	if (!t->has_remote || !(c = free_conn(&t->tcp))) {
		close(fd); /* nobody is expected yet, or there are too many */
		return;
	}
	if (watch(t, c, fd, &from, ICE_TCP_CONNECTED) == 0 && t->o.controlling)
		ask_one(t);
}

/* A socket on that address, whose port others of ours share. */
static int open_socket(struct addr *at, bool bind_it)
{
	int fd = socket(addr_family(at), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
	socklen_t len = sizeof *at;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) < 0 ||
	    (bind_it && (bind(fd, &at->sa, addr_len(at)) < 0 || getsockname(fd, &at->sa, &len) < 0))) {
		int r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int begin_connect(struct ice_tcp_local *l, const struct addr *to)
{
	struct addr at = l->addr;
	int fd = open_socket(&at, true);

	if (fd < 0)
		return fd;
	if (connect(fd, &to->sa, addr_len(to)) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -errno;
	}
	return fd;
}

/* ---- rounds ---- */

static bool is_over(struct ice_try *t)
{
	return t->parts[PART_DIRECT].has_path || t->parts[PART_RAW].has_path || t->parts[PART_TCP].has_path;
}

static void begin_round(struct ice_try *t)
{
	struct ice_tcp *x = &t->tcp;
	uint64_t now = loop_now(t->loop);
	struct ice_tcp_conn *c;
	int fd;

	for (size_t i = 0; i < ICE_TCP_CONNS; i++) {
		c = &x->conns[i];
		if (c->state == ICE_TCP_CONNECTING || (c->state == ICE_TCP_CONNECTED && now - c->since >= CHECK_MS))
			close_conn(c);
	}
	for (size_t i = 0; i < x->n_locals; i++)
		for (size_t j = 0; j < x->n_remotes; j++) {
			if (addr_family(&x->locals[i].addr) != addr_family(&x->remotes[j]) || !(c = free_conn(x)))
				continue;
			if ((fd = begin_connect(&x->locals[i], &x->remotes[j])) >= 0)
				(void)watch(t, c, fd, &x->remotes[j], ICE_TCP_CONNECTING);
		}
}

static bool udp_is_blocked(const struct ice_try *t)
{
	return (t->raw.own_known && t->raw.own.mapping == SITE_UNKNOWN) || (t->raw.peer_known && t->raw.peer.mapping == SITE_UNKNOWN);
}

static void give_up(struct ice_try *t)
{
	stop(t);
	if (t->parts[PART_TCP].on)
		ice_part_lose(&t->parts[PART_TCP]);
}

static void on_timer(struct timer *timer, uint64_t now)
{
	struct ice_tcp *x = container_of(timer, struct ice_tcp, timer);
	struct ice_try *t = container_of(x, struct ice_try, tcp);

	if (t->parts[PART_TCP].has_path) {
		ice_judge_state(t);
		return;
	}
	if (is_over(t) || t->state == ICE_FAILED || (x->connecting_since && now - x->connecting_since >= GIVE_UP_MS)) {
		give_up(t);
		return;
	}
	loop_timer_set(t->loop, timer, x->rounds < QUICK_ROUNDS ? ROUND_MS : LONG_ROUND_MS);
	if (t->has_remote && x->n_remotes && !x->connecting_since &&
	    (udp_is_blocked(t) || now - x->met_at >= GRACE_MS)) {
		x->connecting_since = now;
		t->parts[PART_TCP].on = true;
		t->parts[PART_TCP].state = ICE_CHECKING;
	}
	if (x->connecting_since) {
		x->rounds++;
		begin_round(t);
	}
	if (!x->told && (x->answered || now - t->began >= TELL_MS)) {
		x->told = true;
		ice_tell_end(t);
	}
}

/* ---- our candidates ---- */

static void tell(struct ice_try *t, const struct addr *at, enum candidate_type type, const struct addr *base)
{
	struct candidate c = { .component = CANDIDATE_DIRECT, .tcp = CANDIDATE_TCP_SO, .addr = *at, .type = type,
			       .priority = candidate_priority(type, 4 << 13, CANDIDATE_DIRECT) }; /* RFC 6544 4.2 */
	char line[CANDIDATE_STRLEN];

	if (t->n_local == CANDIDATES_MAX || t->told_all)
		return;
	if (type != CANDIDATE_HOST)
		c.related = *base;
	snprintf(c.foundation, sizeof c.foundation, "t%u", (unsigned)t->n_local);
	t->local[t->n_local++] = c;
	candidate_print(&c, line);
	t->o.ops->on_line(t, line, t->o.arg);
}

static void on_stun(struct io *io, int events)
{
	struct ice_tcp_conn *c = container_of(io, struct ice_tcp_conn, io);
	struct ice_try *t = c->t;
	struct ice_tcp *x = &t->tcp;
	uint8_t buf[CHECK_MAX];
	struct stun_writer w;
	struct stun_msg m;
	struct addr outside;
	ssize_t n;

	if (c->state == ICE_TCP_CONNECTING && (events & (IO_WRITE | IO_CLOSED))) {
		stun_begin(&w, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, x->tid);
		n = stun_end(&w);
		c->state = ICE_TCP_CONNECTED;
		if (n < 0 || send(io->fd, buf, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n || io_change(io, IO_READ) != 0)
			close_conn(c);
	} else if (c->state == ICE_TCP_CONNECTED) {
		n = recv(io->fd, buf, sizeof buf, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		io_change(io, 0); /* it stays open: the NAT's mapping of the port lives by it */
		if (n > 0 && stun_parse(buf, (size_t)n, &m) == STUN_OK && m.class == STUN_SUCCESS &&
		    memcmp(m.tid, x->tid, STUN_TID_LEN) == 0 && stun_get_addr(&m, STUN_A_XOR_MAPPED_ADDRESS, &outside) == 0 &&
		    !addr_equal(&outside, &c->remote)) {
			x->answered = true;
			tell(t, &outside, CANDIDATE_SRFLX, &c->remote);
		}
	}
}

/* From the first address of IPv4. */
static void ask_outside(struct ice_try *t)
{
	struct ice_tcp *x = &t->tcp;
	const struct addr *server = ice_stun_server(&t->s);

	for (size_t i = 0; i < x->n_locals && addr_family(server) == AF_INET; i++)
		if (addr_family(&x->locals[i].addr) == AF_INET) {
			int fd = begin_connect(&x->locals[i], server);
			/* remote is what a candidate of the same place would be */
			if (fd >= 0)
				(void)watch(t, &x->stun, fd, &x->locals[i].addr, ICE_TCP_CONNECTING);
			return;
		}
}

static void listen_at(struct ice_try *t, const struct addr *address)
{
	struct ice_tcp *x = &t->tcp;
	struct ice_tcp_local *l = &x->locals[x->n_locals];
	int fd;

	*l = (struct ice_tcp_local){ .t = t, .addr = *address };
	if ((fd = open_socket(&l->addr, true)) < 0)
		return;
	if (listen(fd, BACKLOG) < 0 || io_start(&l->io, t->loop, fd, IO_READ, on_accept) != 0) {
		close(fd);
		return;
	}
	l->io.fd = fd;
	x->n_locals++;
}

/* ---- the attempt's calls ---- */

/* In a turn of its own, for lines are told. */
static void on_begin(struct timer *timer, uint64_t now)
{
	struct ice_tcp *x = container_of(timer, struct ice_tcp, timer);
	struct ice_try *t = container_of(x, struct ice_try, tcp);

	(void)now;
	timer->fire = on_timer;
	loop_timer_set(t->loop, timer, ROUND_MS);
	if (x->begun < x->n_locals) {
		timer->fire = on_begin;
		loop_timer_set(t->loop, timer, 0);
		tell(t, &x->locals[x->begun++].addr, CANDIDATE_HOST, NULL);
	}
}

void ice_tcp_begin(struct ice_try *t)
{
	struct ice_tcp *x = &t->tcp;
	struct addr local[ICE_LOCAL_MAX];
	size_t n;

	x->told = true;
	if (t->s.no_tcp || !t->parts[PART_DIRECT].on)
		return;
	n = ice_local_addresses(&t->s, local);
	for (size_t i = 0; i < n; i++)
		listen_at(t, &local[i]);
	if (x->n_locals == 0 || bytes_random(x->tid, sizeof x->tid) != 0)
		return;
	x->told = false;
	ask_outside(t);
	x->timer.fire = on_begin;
	loop_timer_set(t->loop, &x->timer, 0);
}

void ice_tcp_end(struct ice_try *t)
{
	stop(t);
	t->tcp.key = stun_key_free(t->tcp.key);
	t->tcp.peer_key = stun_key_free(t->tcp.peer_key);
}

bool ice_tcp_is_told(const struct ice_try *t)
{
	return t->tcp.told || t->tcp.n_locals == 0;
}

void ice_tcp_met(struct ice_try *t)
{
	struct ice_tcp *x = &t->tcp;

	x->met_at = loop_now(t->loop);
	if (stun_key_short_term(STUN_MAC_SHA1, text_of(t->pwd), &x->key) != 0 ||
	    stun_key_short_term(STUN_MAC_SHA1, text_of(t->peer_pwd), &x->peer_key) != 0)
		stop(t);
}

void ice_tcp_candidate(struct ice_try *t, const struct candidate *c)
{
	struct ice_tcp *x = &t->tcp;

	if (c->tcp != CANDIDATE_TCP_ACTIVE && x->n_remotes < ICE_TCP_REMOTES)
		x->remotes[x->n_remotes++] = c->addr;
}
