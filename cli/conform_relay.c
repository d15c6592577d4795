/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data of a conversation: what the client sends through the server, what arrives at the peer, and the way
 * back. A peer is a UDP socket of this machine, or, with a server that refuses such peers, a second
 * allocation of the same server: then what is proved is the server's relaying out and back in.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/conform.h"
#include "common/clock.h"
#include "common/dgram.h"

enum { DATA_MS = 1500 };

/* ---- the client's end ---- */

void send_indication(struct client *c, const struct addr *peer, const void *p, size_t n)
{
	if (!going_on(c->t))
		return;
	begin_class(c, STUN_SEND, STUN_INDICATION);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, peer);
	stun_put(&c->w, STUN_A_DATA, p, n);
	tell(c);
}

void send_channel(struct client *c, unsigned number, const void *p, size_t n)
{
	struct wr w = wr_init(c->out, c->out ? OUT_MAX : 0);

	wr_u16(&w, (uint16_t)number);
	wr_u16(&w, (uint16_t)n);
	wr_bytes(&w, p, n);
	if (c->link && turn_link_is_stream(c->link))
		wr_zero(&w, -n & 3);
	c->out_n = wr_len(&w);
	send_bytes(c, c->out, c->out_n);
}

static bool read_data(const struct heard *h, struct data_in *ret_d)
{
	if (h->n >= 4 && turn_is_channel_data(h->p[0])) {
		*ret_d = (struct data_in){ .by_channel = true, .channel = load_be16(h->p), .p = h->p + 4,
					   .n = MIN((size_t)load_be16(h->p + 2), h->n - 4) };
		return true;
	}
	*ret_d = (struct data_in){ 0 };
	if (stun_parse(h->p, h->n, &ret_d->m) != STUN_OK || ret_d->m.class != STUN_INDICATION)
		return false;
	(void)stun_get_addr(&ret_d->m, STUN_A_XOR_PEER_ADDRESS, &ret_d->peer);
	ret_d->p = ret_d->m.attr[STUN_A_DATA].p;
	ret_d->n = ret_d->m.attr[STUN_A_DATA].n;
	return true;
}

static bool take_data(struct client *c, uint64_t ms, struct data_in *ret_d)
{
	uint64_t deadline = clock_steady_ms() + ms;

	do {
		for (unsigned i = 0; i < c->in.n; i++)
			if (read_data(&c->in.v[i], ret_d)) {
				inbox_take(&c->in, i, &c->taken);
				return read_data(&c->taken, ret_d);
			}
	} while (talk_wait(c->t, deadline));
	return false;
}

bool next_data(struct client *c, struct data_in *ret_d)
{
	*ret_d = (struct data_in){ 0 };
	return going_on(c->t) && take_data(c, DATA_MS, ret_d);
}

static bool same_bytes(const struct data_in *d, const void *p, size_t n)
{
	return d->n == n && (n == 0 || memcmp(d->p, p, n) == 0);
}

void want_data(struct client *c, const struct peer *from, const void *p, size_t n)
{
	struct data_in d;

	if (!going_on(c->t))
		return;
	if (!next_data(c, &d))
		fail(c->t, "no Data indication came for the peer's datagram");
	else if (d.by_channel)
		fail(c->t, "ChannelData came where a Data indication was due");
	else if (d.m.method != STUN_DATA || !d.p)
		fail(c->t, "the indication has no DATA");
	else if (!addr_equal(&d.peer, &from->at))
		fail(c->t, "XOR-PEER-ADDRESS is not the peer's address");
	else
		want(c->t, same_bytes(&d, p, n), "the payload arrived changed");
}

void want_channel_data(struct client *c, unsigned number, const void *p, size_t n)
{
	struct data_in d;

	if (!going_on(c->t))
		return;
	if (!next_data(c, &d))
		fail(c->t, "no ChannelData came for the peer's datagram");
	else if (!d.by_channel)
		fail(c->t, "an indication came where ChannelData was due");
	else if (d.channel != number)
		fail(c->t, "ChannelData came on channel 0x%04x, not on 0x%04x", d.channel, number);
	else
		want(c->t, same_bytes(&d, p, n), "the payload arrived changed");
}

void want_no_data(struct client *c)
{
	struct data_in d;

	if (going_on(c->t) && take_data(c, c->t->s->quiet_ms, &d))
		fail(c->t, "%s came that should have been dropped", d.by_channel ? "ChannelData" : "an indication");
}

/* ---- the peer's end ---- */

static void on_peer_datagrams(struct io *io, int events)
{
	struct peer *p = container_of(io, struct peer, io);
	uint8_t buf[DGRAM_MAX];
	struct sockaddr_storage from;
	socklen_t len;
	ssize_t n;

	(void)events;
	while (len = sizeof from, (n = recvfrom(io->fd, buf, sizeof buf, MSG_DONTWAIT, (struct sockaddr *)&from, &len)) >= 0) {
		struct addr a;
		if (addr_from_sockaddr((struct sockaddr *)&from, len, &a) == 0)
			inbox_put(p->t, &p->in, buf, (size_t)n, &a);
	}
}

static int open_socket(struct peer *p)
{
	struct addr at = p->t->o->peer;
	socklen_t len = sizeof p->at;
	int fd, r;

	addr_set_port(&at, 0);
	r = dgram_socket(&at, &(struct dgram_socket_options){ .v6only = true }, &fd);
	if (r < 0)
		return r;
	r = getsockname(fd, &p->at.sa, &len) < 0 ? -errno : io_start(&p->io, p->t->loop, fd, IO_READ, on_peer_datagrams);
	if (r < 0) {
		p->io.fd = -1;
		close(fd);
	}
	return r;
}

static void open_allocation(struct peer *p, struct client *c)
{
	bool v6 = addr_family(&c->relayed) != AF_INET;
	struct client *other = client_open(p->t);

	if (v6)
		allocate_v6(other);
	else
		allocate(other);
	p->relay = other;
	p->at = v6 ? other->relayed6 : other->relayed;
	permit(other, v6 ? &c->relayed6 : &c->relayed);
}

struct peer *peer_open(struct client *c)
{
	struct talk *t = c->t;
	struct peer *p = &t->peers[MIN(t->n_peers, MAX_PEERS - 1)];

	p->t = t;
	if (!going_on(t))
		return p;
	if (t->n_peers == MAX_PEERS) {
		fail(t, "the check opens too many peers");
		return p;
	}
	*p = (struct peer){ .t = t, .io.fd = -1 };
	t->n_peers++;
	if (!t->s->socket_peers || addr_family(&c->relayed) != AF_INET) {
		open_allocation(p, c);
		return p;
	}
	int r = open_socket(p);
	if (r < 0)
		fail(t, "no socket for the peer: %s", strerror(-r));
	return p;
}

void conform_peer_send(struct peer *p, const struct client *to, const void *data, size_t n)
{
	const struct addr *at = addr_family(&to->relayed) == AF_INET ? &to->relayed : &to->relayed6;

	if (!going_on(to->t))
		return;
	if (p->relay)
		send_indication(p->relay, at, data, n);
	else if (sendto(p->io.fd, data, n, MSG_NOSIGNAL, &at->sa, addr_len(at)) < 0)
		fail(p->t, "the peer cannot send to the relayed address: %s", strerror(errno));
}

/* The next datagram at the peer, whichever kind it is; it stays readable until the next one. */
static bool at_peer(struct peer *p, uint64_t ms, struct data_in *ret_d)
{
	uint64_t deadline = clock_steady_ms() + ms;

	if (p->relay)
		return take_data(p->relay, ms, ret_d);
	while (p->in.n == 0)
		if (!talk_wait(p->t, deadline))
			return false;
	inbox_take(&p->in, 0, &p->taken);
	*ret_d = (struct data_in){ .peer = p->taken.from, .p = p->taken.p, .n = p->taken.n };
	return true;
}

void want_at_peer(struct peer *p, const struct client *from, const void *data, size_t n)
{
	const struct addr *relayed = addr_family(&from->relayed) == AF_INET ? &from->relayed : &from->relayed6;
	struct data_in d;

	if (!going_on(from->t))
		return;
	if (!at_peer(p, DATA_MS, &d))
		fail(p->t, "nothing arrived at the peer");
	else if (!same_bytes(&d, data, n))
		fail(p->t, "the payload arrived changed at the peer (%zu bytes, not %zu)", d.n, n);
	else if (!addr_equal(&d.peer, relayed))
		fail(p->t, "the peer's datagram does not come from the relayed address");
}

void want_nothing_at_peer(struct peer *p)
{
	struct data_in d;

	if (going_on(p->t) && at_peer(p, p->t->s->quiet_ms, &d))
		fail(p->t, "a datagram reached the peer that should have been dropped");
}
