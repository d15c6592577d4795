/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets in UDP datagrams of a socket of our own: whole runs at a time, by UDP_SEGMENT and UDP_GRO, for the kernel's work per
 * packet is what a fast path costs.
 *
 * The address is that of an ICE agent's socket, which has to go on answering STUN there. So ours joins it in a SO_REUSEPORT
 * group, and a filter steers each datagram: from the other agent's address, and no STUN (RFC 7983: the first byte is
 * above 3): to us; all else: to the first socket of the group, which is the ICE agent's. The source is looked at because
 * TURN's ChannelData and QUIC's short headers begin alike. So no stranger's datagram comes in here.
 *
 * Several paths may live on one such socket (a new pair, beside the one before): the filter of the group knows all of them, and
 * is made anew with each that comes or goes, for the kernel numbers them in the order in which they came.
 */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include "common/bytes.h"
#include "common/fd.h"
#include "tunnel/direct/path.h"

enum {
	READS = 16, /* runs of one pass */
	BUFFER = 65536,
	SOCKET_BUFFER = 4 << 20, /* the kernel gives as much of it as the administrator allows */
	STUN_MAX = 3,
	GROUP_MAX = 4, /* paths on one socket */
	MTU_UDP = 1452,
	IP4_SOURCE = 12, IP4_PORT = 20, IP6_SOURCE = 8, IP6_PORT = 40, /* no options, no extension headers: else it is not for us */
	STEPS_EACH = 16,
};

struct path_udp {
	struct path p;
	struct loop *loop;
	struct io io;
	struct timer failing;
	int fd, error;
	bool blocked, no_gso;
	bool *gone;
	bool steered; /* one of a group */
	struct list node; /* groups */
	uint8_t in[BUFFER];
};

/* Of this thread's loop: all paths that share their address with an ICE agent, in the order in which they were bound. */
static _Thread_local struct list steered;

static struct path_udp *udp_of(struct path *p)
{
	return container_of(p, struct path_udp, p);
}

/* ---- the filter ---- */

/* If the datagram comes from `from` and is no STUN, `ret`; else the next rule. Returns the instructions written. */
static unsigned put_rule(struct sock_filter *c, const struct addr *from, uint32_t ret)
{
	size_t ip_n;
	const uint8_t *ip = addr_ip(from, &ip_n);
	uint32_t net = (uint32_t)SKF_NET_OFF, at = net + (ip_n == 4 ? IP4_SOURCE : IP6_SOURCE);
	unsigned words = (unsigned)ip_n / 4, n = 0, all = 2 * words + 5;

	for (unsigned i = 0; i < words; i++) {
		c[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at + 4 * i);
		c[n] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, load_be32(ip + 4 * i), 0, (uint8_t)(all - n - 1));
		n++;
	}
	c[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_H | BPF_ABS, net + (ip_n == 4 ? IP4_PORT : IP6_PORT));
	c[n] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, addr_port(from), 0, (uint8_t)(all - n - 1));
	n++;
	c[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0);
	c[n] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, STUN_MAX, 0, (uint8_t)(all - n - 1));
	n++;
	c[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, ret);
	return n;
}

static bool same_group(const struct path_udp *a, const struct path_udp *b)
{
	return addr_equal(&a->p.local, &b->p.local);
}

/* The filter of u's group, attached through u. */
static int steer(const struct path_udp *u)
{
	struct sock_filter code[GROUP_MAX * STEPS_EACH + 1];
	struct sock_fprog prog;
	unsigned n = 0, members = 0;

	list_for_each (it, &steered) {
		const struct path_udp *m = list_entry(it, struct path_udp, node);

		if (!same_group(m, u))
			continue;
		if (members == GROUP_MAX)
			return -EUSERS;
		n += put_rule(code + n, &m->p.remote, ++members);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	memset(&prog, 0, sizeof(prog));
	prog.len = (unsigned short)n;
	prog.filter = code;
	return setsockopt(u->fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

/* u's socket is closed. The kernel puts the last one of the group into its place; so do we. */
static void unsteer(struct path_udp *u)
{
	struct path_udp *last = NULL;

	list_for_each (it, &steered) {
		struct path_udp *m = list_entry(it, struct path_udp, node);

		if (m != u && same_group(m, u))
			last = m;
	}
	if (last) {
		bool behind = false;

		for (struct list *it = u->node.next; it != &steered; it = it->next)
			behind |= it == &last->node;
		if (behind) {
			list_unlink(&last->node);
			list_insert_before(&u->node, &last->node);
		}
	}
	list_unlink(&u->node);
	if (last)
		(void)steer(last);
}

/* ---- life ---- */

static struct path *udp_free(struct path *p)
{
	struct path_udp *u = udp_of(p);

	if (u->gone)
		*u->gone = true;
	timer_stop(&u->failing);
	io_stop(&u->io);
	closep(&u->fd);
	if (u->steered)
		unsteer(u);
	free(u);
	return NULL;
}

static void on_failing(struct timer *t, uint64_t now)
{
	struct path_udp *u = container_of(t, struct path_udp, failing);

	(void)now;
	io_stop(&u->io);
	path_set_state(&u->p, PATH_FAILED, strerror(u->error));
}

/* ---- sending ---- */

static ssize_t send_run(const struct path_udp *u, const uint8_t *data, size_t n, size_t segment)
{
	union {
		char bytes[CMSG_SPACE(sizeof(uint16_t))];
		struct cmsghdr align;
	} control;
	struct iovec v = { (void *)data, n };
	struct msghdr m = { .msg_name = (void *)&u->p.remote, .msg_namelen = addr_len(&u->p.remote), .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t r;

	if (n > segment) {
		const uint16_t value = (uint16_t)segment;
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = IPPROTO_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(value));
		memcpy(CMSG_DATA(c), &value, sizeof(value));
	}
	do {
		r = sendmsg(u->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* One by one, where the kernel or the route has no segmentation. What is refused in the middle is lost. */
static int send_each(struct path_udp *u, const uint8_t *data, size_t n, size_t segment)
{
	int first = 0;

	for (size_t at = 0; at < n; at += segment) {
		ssize_t r = send_run(u, data + at, MIN(segment, n - at), segment);

		if (r >= 0)
			continue;
		if (!at && r == -EAGAIN)
			return -EAGAIN;
		u->p.dropped++;
		first = first ? first : (int)r;
	}
	return first == -EAGAIN ? 0 : first;
}

/* No later datagram fares better: there is no such network any more. */
static bool fatal(int error)
{
	return error == ENETUNREACH || error == EHOSTUNREACH || error == ENETDOWN || error == EADDRNOTAVAIL || error == EBADF;
}

static int udp_send(struct path *p, const uint8_t *data, size_t n, size_t segment)
{
	struct path_udp *u = udp_of(p);
	int r;

	if (p->state != PATH_READY)
		return -ENOTCONN;
	if (u->no_gso && n > segment) {
		r = send_each(u, data, n, segment);
	} else {
		r = (int)send_run(u, data, n, segment);
		if (n > segment && (r == -EINVAL || r == -EIO || r == -EOPNOTSUPP)) {
			u->no_gso = true;
			r = send_each(u, data, n, segment);
		}
	}
	if (r == -EAGAIN) {
		u->blocked = true;
		(void)io_change(&u->io, IO_READ | IO_WRITE);
		return r;
	}
	if (r < 0) {
		p->dropped += path_count(n, segment);
		if (fatal(-r) && !timer_is_set(&u->failing)) {
			u->error = -r;
			loop_timer_set(u->loop, &u->failing, 0);
		}
		return r;
	}
	p->bytes[0] += n;
	p->packets[0] += path_count(n, segment);
	return 0;
}

/* ---- receiving ---- */

static size_t segment_of(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		int value;

		if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
			continue;
		memcpy(&value, CMSG_DATA(c), sizeof(value));
		return value > 0 ? (size_t)value : 0;
	}
	return 0;
}

static void read_socket(struct path_udp *u)
{
	bool gone = false;

	u->gone = &gone;
	for (unsigned i = 0; i < READS; i++) {
		union {
			char bytes[CMSG_SPACE(sizeof(int)) + 64];
			struct cmsghdr align;
		} control;
		struct addr from = { 0 };
		struct iovec v = { u->in, sizeof(u->in) };
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v, .msg_iovlen = 1,
				    .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
		ssize_t r = recvmsg(u->fd, &m, MSG_DONTWAIT);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			break;
		if (!addr_equal_ip(&from, &u->p.remote) || addr_port(&from) != addr_port(&u->p.remote)) {
			u->p.dropped++; /* from before the filter, or of an own socket: nobody else is let in */
			continue;
		}
		path_arrived(&u->p, u->in, (size_t)r, segment_of(&m));
		if (gone)
			return;
	}
	u->gone = NULL;
}

static void on_ready(struct io *io, int events)
{
	struct path_udp *u = container_of(io, struct path_udp, io);
	bool gone = false;

	if (events & IO_WRITE) {
		(void)io_change(&u->io, IO_READ);
		u->gone = &gone;
		if (u->blocked && u->p.sink) {
			u->blocked = false;
			u->p.sink->writable(&u->p, u->p.arg);
		}
		if (gone)
			return;
		u->gone = NULL;
	}
	if (events & IO_READ)
		read_socket(u);
}

/* ---- making one ---- */

static void set_options(int fd, sa_family_t family)
{
	int on = 1, buffer = SOCKET_BUFFER;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
	(void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
	/* Never fragmented, and never cut by what the kernel believes the path's MTU to be: QUIC finds that out by itself. */
	if (family == AF_INET) {
		int probe = IP_PMTUDISC_PROBE;

		(void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof(probe));
	} else {
		int probe = IPV6_PMTUDISC_PROBE;

		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &probe, sizeof(probe));
	}
}

static const struct path_ops udp_ops = { .send = udp_send, .free = udp_free };

static int udp_new(struct loop *l, enum path_kind kind, int fd, const struct addr *remote, struct path_udp **ret_u)
{
	_cleanup_(closep) int owned = fd;
	struct path_udp *u = malloc(sizeof(*u));
	struct sockaddr_storage ss;
	socklen_t ss_n = sizeof(ss);
	int r;

	if (!u)
		return -ENOMEM;
	memset(u, 0, offsetof(struct path_udp, in));
	u->p = (struct path){ .ops = &udp_ops, .kind = kind, .state = PATH_READY, .mtu = MTU_UDP, .remote = *remote };
	u->loop = l;
	u->fd = steal_fd(&owned);
	u->failing.fire = on_failing;
	list_init(&u->node);
	r = getsockname(fd, (struct sockaddr *)&ss, &ss_n) < 0 ? -errno : 0;
	if (r == 0)
		r = addr_from_sockaddr((struct sockaddr *)&ss, ss_n, &u->p.local);
	if (r == 0 && addr_family(&u->p.local) != addr_family(remote))
		r = -EAFNOSUPPORT;
	if (r == 0) {
		set_options(fd, addr_family(remote));
		r = io_start(&u->io, l, fd, IO_READ, on_ready);
	}
	if (r < 0) {
		udp_free(&u->p);
		return r;
	}
	*ret_u = u;
	return 0;
}

int path_udp_own(struct loop *l, enum path_kind kind, int fd, const struct addr *remote, struct path **ret_p)
{
	struct path_udp *u;
	int r = udp_new(l, kind, fd, remote, &u);

	if (r == 0)
		*ret_p = &u->p;
	return r;
}

/* A socket bound where `bound` is, behind it in the group. */
static int join(int bound, int *ret_fd)
{
	_cleanup_(closep) int fd = -1;
	struct sockaddr_storage ss = { 0 };
	socklen_t n = sizeof(ss);
	int on = 1, only = 1;

	if (getsockname(bound, (struct sockaddr *)&ss, &n) < 0)
		return -errno;
	fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ss.ss_family == AF_INET6) {
		socklen_t only_n = sizeof(only);

		(void)getsockopt(bound, IPPROTO_IPV6, IPV6_V6ONLY, &only, &only_n);
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	}
	/* Linux lets a bound socket join a group as late as now. */
	if (setsockopt(bound, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&ss, n) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int path_udp_take(struct loop *l, enum path_kind kind, int bound, const struct addr *remote, struct path **ret_p)
{
	struct path_udp *u;
	int fd = -1, r;

	r = join(bound, &fd);
	if (r < 0)
		return r;
	r = udp_new(l, kind, fd, remote, &u);
	if (r < 0)
		return r;
	if (!steered.next)
		list_init(&steered);
	u->steered = true;
	list_append(&steered, &u->node);
	r = steer(u);
	if (r < 0) {
		udp_free(&u->p);
		return r;
	}
	*ret_p = &u->p;
	return 0;
}
