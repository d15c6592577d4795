/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP over UDP: a socket for each listener, batches in and out (common/dgram.h). STUN Binding requests on the same
 * port are answered (RFC 5626 5.4), and sent where it is to be known how the socket is seen outside; line ends are keep-alives. ICMP errors are told to whoever waits for an answer
 * from that address, so that the next target is tried at once and not after half a minute.
 *
 * What is longer than a datagram's usual way allows is fragmented by routers: DF is off, for SIP has no way to
 * find out a path's MTU.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include "common/bytes.h"
#include "sip-proxy/edge_priv.h"

/* ---- waiting for ICMP errors ---- */

static struct list *bucket(struct sip_edge *e, const struct addr *remote)
{
	return &e->udp_waits[addr_hash(&e->seed, remote) % SIP_WAIT_BUCKETS];
}

void sip_udp_wait(struct sip_edge *e, struct sip_wait *w, const struct addr *remote)
{
	sip_wait_forget(w);
	w->remote = *remote;
	list_append(bucket(e, remote), &w->node);
}

/* Destination unreachable, whatever the code, is a failure to send (RFC 3261 18.4). Routers may cut our packets, so the kernel tells
 * of no "fragmentation needed". */
static void on_error(const struct dgram_error *err, void *arg)
{
	enum { V4_UNREACHABLE = 3, V4_PORT = 3, V6_UNREACHABLE = 1, V6_PORT = 4 };
	struct sip_listener *l = arg;
	struct sip_edge *e = l->edge;
	struct list gone, *from = bucket(e, &err->to);
	bool port = err->icmp_code == (err->v6 ? V6_PORT : V4_PORT);

	if (err->icmp_type != (err->v6 ? V6_UNREACHABLE : V4_UNREACHABLE))
		return;
	list_init(&gone);
	list_for_each_safe (it, from) {
		struct sip_wait *w = list_entry(it, struct sip_wait, node);
		if (!addr_equal(&w->remote, &err->to))
			continue;
		list_unlink(it);
		list_append(&gone, it);
	}
	while (!list_empty(&gone)) { /* each may free or forget others */
		struct sip_wait *w = list_entry(gone.next, struct sip_wait, node);
		sip_wait_forget(w);
		w->failed(w, port ? ECONNREFUSED : EHOSTUNREACH,
			  port ? "the host answered that nothing listens there (ICMP)"
			       : "the network answered that no way leads there (ICMP)");
	}
}

/* ---- in ---- */

/* What we have asked for ourselves, from the server that was asked; a second one is garbage. */
static bool take_answer(struct sip_listener *l, const struct dgram *d, const struct stun_msg *m)
{
	struct addr mapped;

	if (m->class != STUN_SUCCESS || m->method != STUN_BINDING || !addr_equal(&d->from, &l->stun_server) ||
	    memcmp(m->tid, l->stun_id, sizeof(l->stun_id)) != 0 ||
	    stun_get_addr(m, STUN_A_XOR_MAPPED_ADDRESS, &mapped) < 0)
		return false;
	l->stun_server = (struct addr){ 0 };
	if (l->edge->public.seen)
		l->edge->public.seen(l->edge->public.arg, &l->asked, &mapped);
	return true;
}

static void answer_stun(struct sip_listener *l, const struct dgram *d)
{
	struct sip_edge *e = l->edge;
	struct stun_msg m;
	struct stun_writer w;
	uint8_t buf[128];
	ssize_t n;
	bool good = stun_parse(d->data, d->len, &m) == STUN_OK;

	if (good && take_answer(l, d, &m))
		return;
	if (!good || m.class != STUN_REQUEST || m.method != STUN_BINDING || m.rfc3489) {
		sip_edge_dropped(e, &d->from, SIP_UDP, SIP_DROP_GARBAGE);
		return;
	}
	if (sip_sources_message(e->sources, &d->from, loop_now(e->loop)) != SIP_DROPS) {
		sip_edge_dropped(e, &d->from, SIP_UDP, SIP_DROP_RATE);
		return;
	}
	stun_begin_response(&w, buf, sizeof(buf), &m, STUN_SUCCESS);
	stun_put_addr(&w, STUN_A_XOR_MAPPED_ADDRESS, &d->from);
	n = stun_end(&w);
	if (n <= 0)
		return;
	sip_count(e, SIP_M_KEEPALIVES, SIP_UDP, 1);
	dgram_send_copy(e->dgram,
			&(struct dgram_route){ l->fd, &d->from, l->wildcard ? &d->local : NULL,
					       DGRAM_MARK_NONE },
			buf, (size_t)n);
}

int sip_edge_ask_public(struct sip_edge *e, const struct addr *at, const struct addr *server)
{
	struct stun_writer w;
	uint8_t buf[64];
	ssize_t n;

	list_for_each (it, &e->listeners) {
		struct sip_listener *l = list_entry(it, struct sip_listener, node);
		if (l->transport != &sip_udp || l->removed || !addr_equal(&l->asked, at) ||
		    addr_family(server) != addr_family(&l->at))
			continue;
		if (bytes_random(l->stun_id, sizeof(l->stun_id)) < 0)
			return -EIO;
		stun_begin(&w, buf, sizeof(buf), STUN_BINDING, STUN_REQUEST, l->stun_id);
		n = stun_end(&w);
		if (n <= 0)
			return -EIO;
		l->stun_server = *server;
		dgram_send_copy(e->dgram, &(struct dgram_route){ l->fd, server, NULL, DGRAM_MARK_NONE }, buf,
				(size_t)n);
		return 0;
	}
	return -ENOENT;
}

static bool only_line_ends(const struct dgram *d)
{
	for (size_t i = 0; i < d->len; i++)
		if (d->data[i] != '\r' && d->data[i] != '\n' && d->data[i] != 0 && d->data[i] != ' ')
			return false;
	return d->len <= 8;
}

static void on_sip(struct sip_listener *l, const struct dgram *d)
{
	struct sip_edge *e = l->edge;
	struct sip_face *f = sip_face_at(l, l->wildcard ? &d->local : &l->at);
	struct text bytes = { (const char *)d->data, d->len };
	struct sip_limits limits = { .max_body = (uint32_t)e->limits.message_bytes };
	struct sip_hop hop = { .proto = SIP_UDP, .remote = d->from };
	struct sip_msg m;
	int r;

	if (!f) {
		sip_edge_dropped(e, &d->from, SIP_UDP, SIP_DROP_MEMORY);
		return;
	}
	hop.iface = f->pub.id;
	hop.local = f->pub.at;
	if (!sip_edge_admit(e, &hop, bytes))
		return;
	r = sip_msg_parse(&m, bytes, SIP_DATAGRAM, &limits);
	if (r == SIP_OK) {
		sip_edge_message(e, &m, &hop);
	} else if (r > 0 && r != SIP_EMPTY) {
		size_t n = sip_edge_bad(e, &m, &hop, (enum sip_verdict)r);
		if (n)
			dgram_send_copy(e->dgram,
					&(struct dgram_route){ l->fd, &d->from,
							       l->wildcard ? &f->pub.at : NULL,
							       DGRAM_MARK_NONE },
					e->scratch, n);
	} else if (r < 0) {
		sip_edge_dropped(e, &d->from, SIP_UDP, SIP_DROP_MEMORY);
	}
	sip_msg_deinit(&m);
}

static void on_datagram(const struct dgram *d, void *arg)
{
	struct sip_listener *l = arg;

	if (l->removed && l->edge->draining)
		return;
	if (addr_port(&d->from) == 0)
		return;
	if (d->len && stun_demux(d->data[0]) == DEMUX_STUN)
		answer_stun(l, d);
	else if (only_line_ends(d))
		sip_count(l->edge, SIP_M_KEEPALIVES, SIP_UDP, 1);
	else
		on_sip(l, d);
}

static void on_ready(struct io *io, int events)
{
	struct sip_listener *l = container_of(io, struct sip_listener, io);

	(void)events;
	(void)dgram_recv_errors(l->fd, on_error, l);
	(void)dgram_recv(l->edge->dgram, l->fd, addr_port(&l->at), on_datagram, l);
}

/* ---- what the kernel lets in ---- */

/*
 * A flood of garbage must not fill the queue that calls wait in, so the socket takes only what begins like something
 * of ours: a letter, then three characters of a method, a version or a blank, and as many bytes as the shortest message has; a
 * STUN message with its cookie; a line end. The program sees the datagram from its UDP header on; a load beyond the end drops it. What it drops shows in the
 * socket's counter (sip_udp_drops()).
 */
enum { DATA = 8, TAKE = 0xffff, SHORTEST = 64 };
#define LOAD_BYTE(at) BPF_STMT(BPF_LD | BPF_B | BPF_ABS, DATA + (at))
#define IF_EQUAL(v, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (v), (yes), (no))
#define IF_LESS(v, yes, no) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (v), (no), (yes))
#define END(v) BPF_STMT(BPF_RET | BPF_K, (v))
/* A blank or a printable character, or the end. */
#define PRINTABLE(at) LOAD_BYTE(at), IF_LESS(0x20, 0, 1), END(0), IF_LESS(0x7f, 1, 0), END(0)

static const struct sock_filter filter[] = {
	LOAD_BYTE(0),
	IF_EQUAL('\r', 0, 1),
	END(TAKE),
	IF_EQUAL('\n', 0, 1),
	END(TAKE),
	IF_LESS(2, 0, 4), /* STUN: 0x00.., 0x01.. */
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, DATA + 4),
	IF_EQUAL(0x2112a442, 0, 1),
	END(TAKE),
	END(0),
	/* The accumulator is the first byte still: a letter, whatever its case. */
	BPF_STMT(BPF_ALU | BPF_OR | BPF_K, 0x20),
	IF_LESS('a', 0, 1),
	END(0),
	IF_LESS('z' + 1, 1, 0),
	END(0),
	PRINTABLE(1),
	PRINTABLE(2),
	PRINTABLE(3),
	BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
	IF_LESS(DATA + SHORTEST, 0, 1),
	END(0),
	END(TAKE),
};

static void attach_filter(int fd)
{
	const struct sock_fprog program = { ARRAY_LEN(filter), (struct sock_filter *)filter };

	/* Without it, garbage is read and dropped by us. */
	(void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* ---- vtable ---- */

static int udp_open(struct sip_listener *l)
{
	attach_filter(l->fd);
	return io_start(&l->io, l->edge->loop, l->fd, IO_READ, on_ready);
}

static void udp_close(struct sip_listener *l)
{
	io_stop(&l->io);
	if (l->fd >= 0)
		dgram_forget(l->edge->dgram, l->fd);
}

uint64_t sip_udp_drops(const struct sip_listener *l)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t n = sizeof(info);

	if (l->fd < 0 || getsockopt(l->fd, SOL_SOCKET, SO_MEMINFO, info, &n) < 0)
		return 0;
	return info[SK_MEMINFO_DROPS];
}

unsigned sip_udp_fill(const struct sip_listener *l)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t n = sizeof(info);

	if (l->fd < 0 || getsockopt(l->fd, SOL_SOCKET, SO_MEMINFO, info, &n) < 0 ||
	    !info[SK_MEMINFO_RCVBUF])
		return 0;
	return (unsigned)MIN((uint64_t)info[SK_MEMINFO_RMEM_ALLOC] * 100 / info[SK_MEMINFO_RCVBUF],
			     UINT64_C(100));
}

static int udp_send(struct sip_edge *e, const struct sip_send *s)
{
	struct sip_listener *l = s->face->listener;
	const struct sip_hop hop = { .proto = SIP_UDP,
				     .iface = s->face->pub.id,
				     .remote = s->to->hop.remote,
				     .local = s->face->pub.at };

	if (s->bytes.n > 65507)
		return -EMSGSIZE;
	dgram_send_copy(e->dgram,
			&(struct dgram_route){ l->fd, &s->to->hop.remote,
					       l->wildcard ? &s->face->pub.at : NULL, DGRAM_MARK_NONE },
			s->bytes.p, s->bytes.n);
	sip_edge_sent(e, &hop, s->bytes);
	if (s->wait)
		sip_udp_wait(e, s->wait, &s->to->hop.remote);
	if (s->ret_used)
		*s->ret_used = hop;
	return 0;
}

const struct sip_transport sip_udp = {
	.proto = SIP_UDP,
	.open = udp_open,
	.close = udp_close,
	.send = udp_send,
};
