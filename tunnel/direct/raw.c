/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edge of the prober: sockets, and the place of the easy side's one; see raw.h. Everything here belongs to the attempt's loop,
 * and nothing is read from a socket that has been given away.
 *
 * Timer: place, which asks the STUN server (RFC 8489) every ASK_MS until it has answered and then every PLACE_MS, so that the NAT
 * keeps the mapping (RFC 4787 4.3: two minutes, in practice 30 s).
 */
#include "tunnel/direct/raw.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/bytes.h"
#include "stun/msg.h"

enum { PLACE_MS = 15000, ASK_MS = 300, BATCH = 16 };

struct raw_socket {
	struct io io; /* fd -1: none */
	struct raw *r;
};
struct raw {
	struct raw_options o;
	struct raw_socket sockets[PROBER_SOCKETS];
	struct timer place;
	uint8_t tid[STUN_TID_LEN];
	bool placed;
	struct prober *prober;
};

static void close_socket(struct raw_socket *s)
{
	io_stop(&s->io);
	if (s->io.fd >= 0)
		close(s->io.fd);
	s->io.fd = -1;
}

/* ---- the prober's ---- */

static void on_send(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg)
{
	struct raw *r = arg;

	(void)!sendto(r->sockets[socket].io.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL, &to->sa, addr_len(to));
}

static void on_done(enum prober_end e, unsigned socket, const struct addr *peer, void *arg)
{
	struct raw *r = arg;
	struct addr local = { 0 }, to;
	socklen_t len = sizeof local;
	int fd = -1;

	timer_stop(&r->place);
	if (e == PROBER_FOUND) {
		struct raw_socket *s = &r->sockets[socket];
		to = *peer;
		io_stop(&s->io);
		fd = s->io.fd;
		s->io.fd = -1;
		(void)getsockname(fd, &local.sa, &len);
	}
	for (unsigned i = 0; i < PROBER_SOCKETS; i++)
		close_socket(&r->sockets[i]);
	r->o.ops->done(fd, fd >= 0 ? &local : NULL, fd >= 0 ? &to : NULL, r->o.arg);
}

static uint32_t on_random(void *arg)
{
	uint32_t v = 0;

	(void)arg;
	(void)!bytes_random(&v, sizeof v);
	return v;
}

static const struct prober_ops prober_ops = { on_send, on_done, on_random };

/* ---- sockets ---- */

static void on_place(struct timer *t, uint64_t now)
{
	struct raw *r = container_of(t, struct raw, place);
	uint8_t buf[64];
	struct stun_writer sw;
	ssize_t n;

	(void)now;
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, r->tid);
	if ((n = stun_end(&sw)) > 0)
		on_send(0, &r->o.stun, buf, (size_t)n, r);
	loop_timer_set(r->o.loop, &r->place, r->placed ? PLACE_MS : ASK_MS);
}

/* True: it was the STUN server's word about our place. */
static bool take_place(struct raw *r, const uint8_t *p, size_t n)
{
	struct stun_msg m;
	struct addr outside;

	if (stun_parse(p, n, &m) != STUN_OK || m.class != STUN_SUCCESS || memcmp(m.tid, r->tid, STUN_TID_LEN) != 0)
		return false;
	if (stun_get_addr(&m, STUN_A_XOR_MAPPED_ADDRESS, &outside) == 0 && !r->placed) {
		r->placed = true;
		loop_timer_set(r->o.loop, &r->place, PLACE_MS);
		r->o.ops->placed(&outside, r->o.arg);
	}
	return true;
}

static void on_readable(struct io *io, int events)
{
	struct raw_socket *s = container_of(io, struct raw_socket, io);
	struct raw *r = s->r;
	uint8_t buf[1500];

	(void)events;
	/* One datagram a turn: whatever it leads to may free all this; the loop comes back, for it is level-triggered. */
	struct addr from = { 0 };
	socklen_t len = sizeof from;
	ssize_t n = recvfrom(io->fd, buf, sizeof buf, MSG_DONTWAIT, &from.sa, &len);
	if (n < 0 || (r->o.role == PROBER_EASY && take_place(r, buf, (size_t)n)))
		return;
	if (r->prober)
		prober_input(r->prober, (unsigned)(s - r->sockets), &from, buf, (size_t)n, loop_now(r->o.loop));
}

static int open_socket(struct raw *r, unsigned i)
{
	struct raw_socket *s = &r->sockets[i];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	s->io.fd = fd;
	return io_start(&s->io, r->o.loop, fd, IO_READ, on_readable);
}

int raw_new(const struct raw_options *o, struct raw **ret_r)
{
	_cleanup_(raw_freep) struct raw *r = calloc(1, sizeof *r);
	int err;

	if (!r)
		return -ENOMEM;
	r->o = *o;
	r->place.fire = on_place;
	for (unsigned i = 0; i < PROBER_SOCKETS; i++) {
		r->sockets[i].r = r;
		r->sockets[i].io.fd = -1;
	}
	if ((err = bytes_random(r->tid, sizeof r->tid)) != 0)
		return err;
	if (o->role == PROBER_EASY) {
		if ((err = open_socket(r, 0)) != 0)
			return err;
		on_place(&r->place, 0);
	}
	*ret_r = steal_ptr(&r);
	return 0;
}

int raw_probe(struct raw *r, const struct prober_options *o)
{
	struct prober_options po = *o;
	int err = 0;

	po.role = r->o.role;
	po.timers = loop_timers(r->o.loop);
	po.ops = &prober_ops;
	po.arg = r;
	for (unsigned i = 0; r->o.role == PROBER_HARD && err == 0 && i < PROBER_SOCKETS; i++)
		err = open_socket(r, i);
	return err ? err : prober_new(&po, loop_now(r->o.loop), &r->prober);
}

struct raw *raw_free(struct raw *r)
{
	if (!r)
		return NULL;
	timer_stop(&r->place);
	prober_free(r->prober);
	for (unsigned i = 0; i < PROBER_SOCKETS; i++)
		close_socket(&r->sockets[i]);
	free(r);
	return NULL;
}

unsigned raw_sent(const struct raw *r)
{
	return r->prober ? prober_sent(r->prober) : 0;
}
