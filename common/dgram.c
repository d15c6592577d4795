/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving side of the batched datagram I/O: sockets, the arena, GRO runs and control messages, the
 * ICMP error queue. The sending side is dgram_tx.c.
 *
 * The arena has DGRAM_BATCH slots, each large enough for an aggregated run. A slot is busy once
 * dgram_send() was given bytes inside it, and free again after the flush. Slots are handed out in a
 * ring, so that many sockets with one datagram each share the arena within one pass; when few in a row
 * are left, the queue is flushed before more is received.
 */
#include "common/dgram.h"
#include "common/dgram_tx.h"
#include "common/inherited.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	/* Not a multiple of a page: the first lines of the slots fall into different cache sets. */
	SLOT_SIZE = DGRAM_HEADROOM + 65536,
	MIN_FREE = 16,	       /* fewer free slots: flush first */
	ENOUGH = 4,	       /* datagrams, or runs, that wait: they leave before more is received */
	MANY = 24,	       /* datagrams in one call: as before, while they are in the cache */
	COPY_SIZE = 256 * 1024, /* for dgram_send_copy, reset by each flush */
	RX_CONTROL = 192,      /* UDP_GRO, TOS, TTL, packet info, room to spare */
	RX_TRIES = 16,	       /* pending errors swallowed by one dgram_recv */
	ERRORS_PER_CALL = 64,
};
_Static_assert(DGRAM_BATCH == 64, "busy slots are a 64-bit map");

struct dgram_io {
	struct pass_hook hook;
	struct dgram_io_stats stats;
	struct dgram_batch last;
	struct tx_queue *tx;
	uint8_t *arena;
	uint64_t busy;	 /* slots that the output queue points into */
	unsigned cursor; /* the slot to hand out next */
	uint8_t *copies;
	size_t copied;
	struct mmsghdr msg[2 * DGRAM_BATCH]; /* twice, so that a batch may cross the arena's end */
	struct iovec iov[DGRAM_BATCH];
	struct addr from[DGRAM_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[DGRAM_BATCH][RX_CONTROL];
};

/* ---- the arena ---- */

static uint8_t *slot_data(const struct dgram_io *io, unsigned slot)
{
	return io->arena + (size_t)slot * SLOT_SIZE + DGRAM_HEADROOM;
}

/* What recvmmsg overwrites, set back. Messages i and i + DGRAM_BATCH share a slot. */
static void reset_message(struct dgram_io *io, unsigned i)
{
	unsigned slot = i % DGRAM_BATCH;

	io->msg[i].msg_hdr = (struct msghdr){
		.msg_name = &io->from[slot].sa, .msg_namelen = sizeof(io->from[slot]),
		.msg_iov = &io->iov[slot], .msg_iovlen = 1,
		.msg_control = io->control[slot], .msg_controllen = RX_CONTROL,
	};
}

static void init_messages(struct dgram_io *io)
{
	for (unsigned i = 0; i < DGRAM_BATCH; i++)
		io->iov[i] = (struct iovec){ slot_data(io, i), DGRAM_MAX };
	for (unsigned i = 0; i < 2 * DGRAM_BATCH; i++)
		reset_message(io, i);
}

/* The busy map as seen from slot `from`: bit 0 is that slot. */
static uint64_t busy_from(const struct dgram_io *io, unsigned from)
{
	return io->busy >> from | io->busy << (DGRAM_BATCH - from) % DGRAM_BATCH;
}

/* Free slots in a row from the cursor on, across the end of the arena. */
static unsigned free_slots(struct dgram_io *io)
{
	uint64_t busy = busy_from(io, io->cursor);
	unsigned n = busy ? (unsigned)__builtin_ctzll(busy) : DGRAM_BATCH;

	if (n >= MIN_FREE)
		return n;
	dgram_flush(io);
	return DGRAM_BATCH;
}

/* ---- life ---- */

static bool probe(int name, int value)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok;

	if (fd < 0)
		return false;
	ok = !setsockopt(fd, IPPROTO_UDP, name, &value, sizeof(value));
	close(fd);
	return ok;
}

static void on_pass_end(struct pass_hook *h)
{
	dgram_flush(container_of(h, struct dgram_io, hook));
}

int dgram_io_new(struct loop *l, const struct dgram_options *opt, struct dgram_io **ret_io)
{
	_cleanup_(dgram_io_freep) struct dgram_io *io = calloc(1, sizeof(*io));
	int r;

	if (!io)
		return -ENOMEM;
	io->stats.gro = !(opt && opt->no_gro) && probe(UDP_GRO, 1);
	io->stats.gso = !(opt && opt->no_gso) && probe(UDP_SEGMENT, 1200);
	io->stats.ring = opt && opt->ring;
	r = tx_queue_new(io->stats.ring ? &tx_kernel_ring : &tx_kernel, opt ? opt->ring : NULL, &io->stats, &io->tx);
	if (r < 0)
		return r;
	/* Mapped, so that only the pages that traffic touches become memory. */
	io->arena = mmap(NULL, (size_t)DGRAM_BATCH * SLOT_SIZE + COPY_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (io->arena == MAP_FAILED) {
		io->arena = NULL;
		return -ENOMEM;
	}
	io->copies = io->arena + (size_t)DGRAM_BATCH * SLOT_SIZE;
	init_messages(io);
	io->hook.run = on_pass_end;
	loop_add_hook(l, &io->hook);
	*ret_io = steal_ptr(&io);
	return 0;
}

struct dgram_io *dgram_io_free(struct dgram_io *io)
{
	if (!io)
		return NULL;
	loop_remove_hook(&io->hook);
	if (io->tx)
		tx_flush(io->tx);
	tx_queue_free(io->tx);
	if (io->arena)
		munmap(io->arena, (size_t)DGRAM_BATCH * SLOT_SIZE + COPY_SIZE);
	free(io);
	return NULL;
}

const struct dgram_batch *dgram_last_batch(const struct dgram_io *io)
{
	return &io->last;
}

const struct dgram_io_stats *dgram_io_stats(const struct dgram_io *io)
{
	return &io->stats;
}

/* ---- sockets ---- */

static int set_int(int fd, int level, int name, int v)
{
	return setsockopt(fd, level, name, &v, sizeof(v)) < 0 ? -errno : 0;
}

/* Beyond net.core.*mem_max if we may, else as far as that goes. */
static void set_buffer(int fd, int forced, int plain, int bytes)
{
	if (bytes && set_int(fd, SOL_SOCKET, forced, bytes) < 0)
		(void)set_int(fd, SOL_SOCKET, plain, bytes);
}

static int set_reports(int fd, bool v6, const struct dgram_socket_options *opt)
{
	const struct {
		bool on;
		int name4, name6;
	} reports[] = {
		{ opt->pktinfo, IP_PKTINFO, IPV6_RECVPKTINFO },
		{ opt->recv_mark, IP_RECVTOS, IPV6_RECVTCLASS },
		{ opt->recv_mark, IP_RECVTTL, IPV6_RECVHOPLIMIT },
		{ opt->recv_err, IP_RECVERR, IPV6_RECVERR },
		{ opt->freebind, IP_FREEBIND, IPV6_FREEBIND },
	};

	for (size_t i = 0; i < ARRAY_LEN(reports); i++) {
		int r = !reports[i].on ? 0 :
			v6	       ? set_int(fd, IPPROTO_IPV6, reports[i].name6, 1) :
					 set_int(fd, IPPROTO_IP, reports[i].name4, 1);

		if (r < 0)
			return r;
	}
	return 0;
}

int dgram_aggregate(int fd, bool on)
{
	return set_int(fd, IPPROTO_UDP, UDP_GRO, on);
}

int dgram_socket(const struct addr *bind_to, const struct dgram_socket_options *opt, int *ret_fd)
{
	bool v6 = addr_family(bind_to) == AF_INET6, inherited;
	int fd = -1, r = inherited_take(SOCK_DGRAM, bind_to, &fd);

	inherited = r == 0;
	if (r < 0 && r != -ENOENT)
		return r;
	if (!inherited)
		fd = socket(addr_family(bind_to), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = 0;
	if (v6 && !inherited)
		r = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, opt->v6only);
	if (!r && opt->reuseport && !inherited)
		r = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!r)
		r = set_reports(fd, v6, opt);
	if (opt->gro)
		(void)dgram_aggregate(fd, true); /* a gain, not a need */
	set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, opt->rcvbuf);
	set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, opt->sndbuf);
	if (!r && !inherited && bind(fd, &bind_to->sa, addr_len(bind_to)) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

/* ---- receiving ---- */

static void read_pktinfo4(const struct cmsghdr *c, struct dgram *d, uint16_t port)
{
	struct in_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof(info));
	d->local.in4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port),
					     .sin_addr = info.ipi_spec_dst };
}

static void read_pktinfo6(const struct cmsghdr *c, struct dgram *d, uint16_t port)
{
	struct in6_pktinfo info;

	memcpy(&info, CMSG_DATA(c), sizeof(info));
	d->local.in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port),
					      .sin6_addr = info.ipi6_addr };
	if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
		d->local.in6.sin6_scope_id = info.ipi6_ifindex;
}

/* The kernel writes TOS as one byte and the rest as int; read what is there. */
static int control_int(const struct cmsghdr *c)
{
	int v;

	if (c->cmsg_len < CMSG_LEN(sizeof(v)))
		return *CMSG_DATA(c);
	memcpy(&v, CMSG_DATA(c), sizeof(v));
	return v;
}

/* Fills d's local address and marking; returns the size of a GRO run's segments, or 0. */
static size_t read_control(struct msghdr *h, uint16_t port, struct dgram *d)
{
	size_t segment = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			segment = (size_t)control_int(c);
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			read_pktinfo4(c, d, port);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			read_pktinfo6(c, d, port);
		else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) ||
			 (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS))
			d->mark.tos = (int16_t)(control_int(c) & 0xff);
		else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
			 (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT))
			d->mark.ttl = (int16_t)(control_int(c) & 0xff);
	}
	return segment;
}

/* One by one. Returns how many. */
static int hand_over_each(struct dgram *d, size_t segment, const struct dgram_sink *to)
{
	size_t left = d->len;
	int n = 0;

	do {
		d->len = MIN(segment, left);
		d->first_of_run = n == 0;
		to->one(d, to->arg);
		d->data += d->len;
		left -= d->len;
		n++;
	} while (left);
	return n;
}

/* One message of the kernel: one datagram, or a run of them. Returns how many. */
static int hand_over(struct dgram_io *io, unsigned i, uint16_t port, const struct dgram_sink *to)
{
	struct mmsghdr *m = &io->msg[i];
	struct dgram d = { .data = slot_data(io, i % DGRAM_BATCH), .len = m->msg_len, .from = io->from[i % DGRAM_BATCH],
			   .mark = DGRAM_MARK_NONE, .first_of_run = true };
	size_t segment;

	if (m->msg_hdr.msg_flags & MSG_TRUNC) {
		io->stats.rx_truncated++;
		reset_message(io, i);
		return 0;
	}
	segment = read_control(&m->msg_hdr, port, &d);
	reset_message(io, i);
	if (segment == 0 || segment >= d.len)
		return hand_over_each(&d, d.len, to);
	io->stats.rx_gro_runs++;
	io->last.runs++;
	if (to->run && to->run(&d, segment, to->arg))
		return (int)((d.len + segment - 1) / segment);
	return hand_over_each(&d, segment, to);
}

/* Errors that an ICMP message left on the socket, or a shortage that passes: not the socket's end. */
static bool is_passing(int error)
{
	switch (error) {
	case EINTR:
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENETDOWN:
	case ENONET:
	case EPROTO:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case EMSGSIZE:
	case EACCES:
	case EPERM:
	case ENOMEM:
	case ENOBUFS:
		return true;
	default:
		return false;
	}
}

/* recvmsg is a bit cheaper for one message. Both without the C library's wrappers, which prepare for the cancellation of
 * threads each time, 2 % of a packet; nobody cancels threads here. */
static int receive_some(int fd, struct mmsghdr *msg, unsigned n)
{
	long got;

	if (n > 1)
		return (int)syscall(SYS_recvmmsg, fd, msg, n, MSG_DONTWAIT, NULL);
	got = syscall(SYS_recvmsg, fd, &msg->msg_hdr, MSG_DONTWAIT);
	if (got < 0)
		return -1;
	msg->msg_len = (unsigned)got;
	return 1;
}

/* recvmmsg past pending errors. Number of messages, 0 for nothing, or -errno. */
static int receive(struct dgram_io *io, int fd, struct mmsghdr *msg, unsigned n)
{
	for (int tries = 0; tries < RX_TRIES; tries++) {
		int r = receive_some(fd, msg, n);

		io->stats.rx_calls++;
		if (r >= 0)
			return r;
		if (errno == EAGAIN)
			return 0;
		if (!is_passing(errno))
			return -errno;
	}
	return 0;
}

/* Among n messages from `start` on. */
static unsigned longest_row(const struct dgram_io *io, unsigned start, unsigned n)
{
	unsigned best = n > 0, row = 1;

	for (unsigned i = 1; i < n; i++) {
		row = addr_equal(&io->from[(start + i) % DGRAM_BATCH], &io->from[(start + i - 1) % DGRAM_BATCH]) ? row + 1 : 1;
		best = MAX(best, row);
	}
	return best;
}

int dgram_recv_most(struct dgram_io *io, int fd, uint16_t local_port, unsigned *most, const struct dgram_sink *to)
{
	unsigned slots = free_slots(io), start = io->cursor;
	int r = receive(io, fd, io->msg + start, MIN(slots, *most));
	uint64_t used;
	int n = 0;

	*most = r < 0 ? 0 : (unsigned)r;
	io->last = (struct dgram_batch){ .messages = *most, .row = longest_row(io, start, *most) };
	if (r <= 0)
		return r;
	for (int i = 0; i < r; i++)
		n += hand_over(io, start + (unsigned)i, local_port, to);
	io->stats.rx += (uint64_t)n;
	/* After a delay many sockets are ready at once. Would all be read before anything left, the first would wait for the last,
	 * and the receivers would have nothing to do meanwhile and too much then. */
	if (tx_waiting(io->tx) >= ENOUGH || n >= MANY) {
		dgram_flush(io);
		return n;
	}
	/* On behind the last slot that is referenced; the others are warm in the cache. */
	used = busy_from(io, start) & UINT64_MAX >> (DGRAM_BATCH - (unsigned)r);
	io->cursor = used ? (start + DGRAM_BATCH - (unsigned)__builtin_clzll(used)) % DGRAM_BATCH : start;
	return n;
}

int dgram_recv(struct dgram_io *io, int fd, uint16_t local_port,
	       void (*fn)(const struct dgram *d, void *arg), void *arg)
{
	const struct dgram_sink to = { .one = fn, .arg = arg };
	unsigned most = DGRAM_BATCH;

	return dgram_recv_most(io, fd, local_port, &most, &to);
}

/* ---- the error queue ---- */

static void read_error(struct msghdr *h, const struct addr *to, void (*fn)(const struct dgram_error *, void *),
		       void *arg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		struct {
			struct sock_extended_err e;
			struct addr offender;
		} in = { 0 };
		struct dgram_error out = { .to = *to };

		if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
		    !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			continue;
		if (c->cmsg_len < CMSG_LEN(sizeof(in.e)))
			continue;
		memcpy(&in, CMSG_DATA(c), MIN(sizeof(in), c->cmsg_len - CMSG_LEN(0)));
		if (in.e.ee_origin != SO_EE_ORIGIN_ICMP && in.e.ee_origin != SO_EE_ORIGIN_ICMP6)
			continue; /* our own stack's, not from the network */
		if (in.offender.sa.sa_family == AF_INET || in.offender.sa.sa_family == AF_INET6)
			out.offender = in.offender;
		addr_set_port(&out.offender, 0);
		out.icmp_type = in.e.ee_type;
		out.icmp_code = in.e.ee_code;
		out.v6 = in.e.ee_origin == SO_EE_ORIGIN_ICMP6;
		out.info = in.e.ee_info;
		fn(&out, arg);
	}
}

int dgram_recv_errors(int fd, void (*fn)(const struct dgram_error *e, void *arg), void *arg)
{
	int n = 0;

	while (n < ERRORS_PER_CALL) {
		_Alignas(struct cmsghdr) uint8_t control[256];
		uint8_t start[64]; /* of the datagram that caused it; not needed */
		struct addr to = { 0 };
		struct iovec v = { start, sizeof(start) };
		struct msghdr h = { .msg_name = &to.sa, .msg_namelen = sizeof(to), .msg_iov = &v,
				    .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };

		if (recvmsg(fd, &h, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? n : -errno;
		}
		read_error(&h, &to, fn, arg);
		n++;
	}
	return n;
}

/* ---- sending ---- */

static void mark_busy(struct dgram_io *io, const void *p)
{
	uintptr_t at = (uintptr_t)p - (uintptr_t)io->arena;

	if (at < (size_t)DGRAM_BATCH * SLOT_SIZE) /* bytes elsewhere give a huge number */
		io->busy |= UINT64_C(1) << (at / SLOT_SIZE);
}

void dgram_send(struct dgram_io *io, const struct dgram_route *route, const void *head, size_t head_n,
		const void *body, size_t body_n)
{
	const struct tx_datagram d = { .route = route, .head = { (void *)head, head_n }, .body = { (void *)body, body_n } };

	if (head_n > DGRAM_HEAD || head_n + body_n > DGRAM_MAX) {
		io->stats.tx_errors++;
		return;
	}
	if (tx_full(io->tx))
		dgram_flush(io);
	mark_busy(io, body);
	tx_add(io->tx, &d);
}

void dgram_send_run(struct dgram_io *io, const struct dgram_route *route, const void *head, size_t head_n,
		    const struct dgram_run *run)
{
	size_t size = head_n + run->len;
	unsigned most = (unsigned)MIN((size_t)TX_RUN_SEGMENTS, TX_RUN_BYTES / MAX(size, (size_t)1));

	if (head_n > DGRAM_HEAD || size > TX_RUN_BYTES || run->last > run->len || run->stride > DGRAM_MAX) {
		io->stats.tx_errors += run->n;
		return;
	}
	for (unsigned at = 0, n; at < run->n; at += n) {
		struct tx_datagram d = { .route = route, .head = { (void *)head, head_n }, .stride = run->stride };

		n = MIN(most, run->n - at);
		d.n = n;
		d.body = (struct iovec){ (void *)(run->data + at * run->stride), run->len };
		d.last = at + n == run->n ? run->last : run->len;
		if (tx_full(io->tx))
			dgram_flush(io);
		mark_busy(io, run->data);
		tx_add(io->tx, &d);
	}
}

void dgram_send_copy(struct dgram_io *io, const struct dgram_route *route, const void *body, size_t body_n)
{
	uint8_t *copy;

	if (body_n > DGRAM_MAX) {
		io->stats.tx_errors++;
		return;
	}
	if (body_n > COPY_SIZE - io->copied || tx_full(io->tx))
		dgram_flush(io);
	copy = io->copies + io->copied;
	memcpy(copy, body, body_n);
	io->copied += body_n;
	dgram_send(io, route, NULL, 0, copy, body_n);
}

void dgram_flush(struct dgram_io *io)
{
	tx_flush(io->tx);
	io->busy = 0;
	io->cursor = 0;
	io->copied = 0;
}

void dgram_forget(struct dgram_io *io, int fd)
{
	if (tx_has(io->tx, fd)) /* then all of it: to keep a part of the queue would cost every flush */
		dgram_flush(io);
}
