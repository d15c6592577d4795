/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of TCP allocations (RFC 6062): Connect, ConnectionBind, ConnectionAttempt and their errors. Peers
 * are listening sockets of this machine, so they need a server that allows them. A data connection is
 * a client like any other; what is sent through it looks like ChannelData, so that its link can cut it
 * out of the stream.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include "cli/conform.h"
#include "common/clock.h"
#include "common/fd.h"

enum { PEER_MS = 1500, FRAME = 8 };

static const uint8_t ping[FRAME] = { 0x40, 0, 0, 4, 'p', 'i', 'n', 'g' };

static struct client *tcp_allocated(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_TCP);
	sign(c);
	ask(c);
	want_success(c);
	return c;
}

/* ---- the peer ---- */

static int peer_socket(struct talk *t, struct addr *ret_at)
{
	struct addr at = t->o->peer;
	socklen_t len = sizeof *ret_at;
	_cleanup_(closep) int fd = socket(addr_family(&at), SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr_set_port(&at, 0);
	if (fd < 0 || bind(fd, &at.sa, addr_len(&at)) < 0 || getsockname(fd, &ret_at->sa, &len) < 0) {
		fail(t, "no socket for the peer: %s", strerror(errno));
		return -1;
	}
	return steal_fd(&fd);
}

static int listening(struct talk *t, struct addr *ret_at)
{
	_cleanup_(closep) int fd = peer_socket(t, ret_at);

	if (fd >= 0 && listen(fd, 4) < 0)
		fail(t, "no socket for the peer: %s", strerror(errno));
	return steal_fd(&fd);
}

static bool is_ready(int fd, uint64_t ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return fd >= 0 && poll(&p, 1, (int)ms) > 0;
}

static int accepted(struct talk *t, int fd)
{
	if (!going_on(t) || !is_ready(fd, PEER_MS)) {
		fail(t, "no connection came to the peer");
		return -1;
	}
	return accept4(fd, NULL, NULL, SOCK_CLOEXEC);
}

static void want_bytes(struct talk *t, int fd)
{
	uint8_t got[FRAME];
	size_t n = 0;

	while (going_on(t) && n < sizeof got && is_ready(fd, PEER_MS)) {
		ssize_t r = recv(fd, got + n, sizeof got - n, 0);
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	want(t, n == sizeof got && memcmp(got, ping, sizeof got) == 0, "the bytes did not arrive at the peer");
}

/* ---- requests ---- */

static void connect_to(struct client *c, const struct addr *peer)
{
	if (!going_on(c->t))
		return;
	begin(c, STUN_CONNECT);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, peer);
	sign(c);
	ask(c);
}

static uint32_t connection_id(struct client *c)
{
	uint32_t id = 0;

	want_success(c);
	want(c->t, !going_on(c->t) || stun_get_u32(&c->m, STUN_A_CONNECTION_ID, &id) == 0, "no CONNECTION-ID");
	return id;
}

/* With the control connection's nonce; a server that binds nonces to five-tuples gives a new one. */
static void try_connection_bind(struct client *data, const struct client *control, uint32_t id)
{
	data->login = control->login;
	for (int i = 0; i < 2 && going_on(data->t); i++) {
		begin(data, STUN_CONNECTION_BIND);
		stun_put_u32(&data->w, STUN_A_CONNECTION_ID, id);
		sign(data);
		ask(data);
		if (error_code(data) != 438)
			break;
		learn(data);
	}
}

/* ---- checks ---- */

static void is_given(struct talk *t)
{
	struct client *c = tcp_allocated(t);

	want(t, !going_on(t) || stun_has(&c->m, STUN_A_XOR_RELAYED_ADDRESS), "no XOR-RELAYED-ADDRESS");
}

static void not_with(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_TCP);
	if (t->row->arg[0] == 'E')
		stun_put(&c->w, STUN_A_EVEN_PORT, "\x80", 1);
	else
		stun_put_flag(&c->w, STUN_A_DONT_FRAGMENT);
	sign(c);
	ask(c);
	want_error(c, 400);
}

static void connects(struct talk *t)
{
	struct client *c = tcp_allocated(t);
	struct addr at;
	_cleanup_(closep) int listener = listening(t, &at);

	connect_to(c, &at);
	(void)connection_id(c);
	closep(&(int){ accepted(t, listener) });
}

static void carries_both_ways(struct talk *t)
{
	struct client *c = tcp_allocated(t), *data;
	struct addr at;
	struct data_in d;
	_cleanup_(closep) int listener = listening(t, &at);

	connect_to(c, &at);
	uint32_t id = connection_id(c);
	_cleanup_(closep) int peer = accepted(t, listener);
	data = client_open(t);
	try_connection_bind(data, c, id);
	want_success(data);
	send_bytes(data, ping, sizeof ping);
	if (going_on(t))
		(void)talk_wait(t, clock_steady_ms() + 20); /* the link writes */
	want_bytes(t, peer);
	if (going_on(t) && send(peer, ping, sizeof ping, MSG_NOSIGNAL) < 0)
		fail(t, "the peer cannot send: %s", strerror(errno));
	want(t, next_data(data, &d) && d.n == 4, "the peer's bytes did not arrive");
}

static void unknown_id(struct talk *t)
{
	struct client *c = tcp_allocated(t), *data = client_open(t);

	want(t, c->allocated, "no allocation");
	try_connection_bind(data, c, 0x7e57ab1e);
	want_error(data, 400);
}

static void no_peer(struct talk *t)
{
	struct client *c = tcp_allocated(t);

	begin(c, STUN_CONNECT);
	sign(c);
	ask(c);
	want_error(c, 400);
}

static void no_allocation(struct talk *t)
{
	struct client *c = client_open(t);

	connect_to(c, &t->o->peer);
	want_error(c, 437);
}

static void twice(struct talk *t)
{
	struct client *c = tcp_allocated(t);
	struct addr at;
	int listener = listening(t, &at);

	connect_to(c, &at);
	want_success(c);
	connect_to(c, &at);
	want_error(c, 446);
	closep(&listener);
}

static void nobody_listens(struct talk *t)
{
	struct client *c = tcp_allocated(t);
	struct addr at;
	int bound = peer_socket(t, &at); /* bound, not listening */

	connect_to(c, &at);
	want_error(c, 447);
	closep(&bound);
}

static void on_udp_allocation(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr at;
	int listener = listening(t, &at);

	connect_to(c, &at);
	want_any_error(c);
	closep(&listener);
}

static int call_in(struct client *c, const struct addr *relayed, struct addr *ret_at)
{
	_cleanup_(closep) int fd = peer_socket(c->t, ret_at);

	if (fd >= 0 && going_on(c->t) && connect(fd, &relayed->sa, addr_len(relayed)) < 0)
		fail(c->t, "the peer cannot connect to the relayed address: %s", strerror(errno));
	return steal_fd(&fd);
}

static void attempt_is_told(struct talk *t)
{
	struct client *c = tcp_allocated(t), *data;
	struct addr at = { 0 };
	struct data_in d = { 0 };
	uint32_t id = 0;

	permit(c, &t->o->peer);
	_cleanup_(closep) int peer = call_in(c, &c->relayed, &at);
	want(t, next_data(c, &d) && d.m.method == STUN_CONNECTION_ATTEMPT, "no ConnectionAttempt indication came");
	want(t, !going_on(t) || addr_equal(&d.peer, &at), "its XOR-PEER-ADDRESS is not the peer's address");
	want(t, !going_on(t) || stun_get_u32(&d.m, STUN_A_CONNECTION_ID, &id) == 0, "it has no CONNECTION-ID");
	data = client_open(t);
	try_connection_bind(data, c, id);
	want_success(data);
	send_bytes(data, ping, sizeof ping);
	if (going_on(t))
		(void)talk_wait(t, clock_steady_ms() + 20);
	want_bytes(t, peer);
}

static void attempt_without_permission(struct talk *t)
{
	struct client *c = tcp_allocated(t);
	struct addr at = { 0 };

	want(t, c->allocated, "no allocation");
	if (!going_on(t))
		return;
	int peer = call_in(c, &c->relayed, &at);
	want_no_data(c);
	closep(&peer);
}

#define PLAIN (NEED_TCP_RELAY | NEED_STREAM)
#define PEER (NEED_TCP_RELAY | NEED_STREAM | NEED_SOCKET)
/* clang-format off */
static const struct check_row rows[] = {
	{ "tcp-allocate",        "RFC 6062 5.1", "REQUESTED-TRANSPORT TCP gives an allocation", PLAIN, is_given, NULL },
	{ "tcp-even-port",       "RFC 6062 5.1", "it excludes EVEN-PORT: 400", PLAIN, not_with, "EVEN-PORT" },
	{ "tcp-dont-fragment",   "RFC 6062 5.1", "it excludes DONT-FRAGMENT: 400", PLAIN, not_with, "DONT-FRAGMENT" },
	{ "tcp-connect",         "RFC 6062 5.2", "Connect reaches the peer and gives a CONNECTION-ID", PEER, connects, NULL },
	{ "tcp-data",            "RFC 6062 5.4", "a bound data connection carries bytes both ways", PEER, carries_both_ways, NULL },
	{ "tcp-unknown-id",      "RFC 6062 5.4", "ConnectionBind with an unknown CONNECTION-ID gets 400", PLAIN, unknown_id, NULL },
	{ "tcp-no-peer",         "RFC 6062 5.2", "Connect without a peer gets 400", PLAIN, no_peer, NULL },
	{ "tcp-nothing",         "RFC 6062 5.2", "Connect without an allocation gets 437", PLAIN, no_allocation, NULL },
	{ "tcp-twice",           "RFC 6062 5.2", "a second Connect to the peer gets 446", PEER, twice, NULL },
	{ "tcp-closed",          "RFC 6062 5.2", "Connect to a port where nobody listens gets 447", PEER, nobody_listens, NULL },
	{ "tcp-on-udp",          "RFC 6062 5.2", "Connect on a UDP allocation is refused", PEER | ADVISORY, on_udp_allocation, NULL },
	{ "tcp-attempt",         "RFC 6062 5.3", "a permitted peer's connection is told and can be bound", PEER, attempt_is_told, NULL },
	{ "tcp-attempt-refused", "RFC 6062 5.3", "a connection without a permission is told to nobody", PEER, attempt_without_permission, NULL },
};
/* clang-format on */
const struct check_area conform_tcp = { "tcp", rows, ARRAY_LEN(rows) };
