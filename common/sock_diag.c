/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four dumps: TCP and UDP, IPv4 and IPv6. The kernel's answer is trusted to be what it says, but its lengths are
 * checked all the same; an attribute that this kernel does not send leaves its figure at 0.
 * Nothing is kept between two calls.
 */
#include "common/sock_diag.h"
#include <dirent.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "common/fd.h"

enum { BUFFER = 64 << 10, STATES_ALL = 0xfff };

static const char *state_name(unsigned s)
{
	static const char *const names[] = { "?",	  "established", "syn-sent", "syn-received", "fin-wait-1", "fin-wait-2", "time-wait",
					     "closed", "close-wait",	 "last-ack", "listen",	     "closing" };

	return s < ARRAY_LEN(names) ? names[s] : "?";
}

static struct addr address(const struct inet_diag_msg *m, const void *ip, uint16_t port)
{
	uint32_t v4;

	if (m->idiag_family != AF_INET)
		return addr_v6(ip, ntohs(port));
	memcpy(&v4, ip, sizeof(v4));
	return addr_v4(ntohl(v4), ntohs(port));
}

static void take_info(struct sock_diag *s, const void *p, size_t n)
{
	struct tcp_info i = { 0 };

	memcpy(&i, p, MIN(n, sizeof(i)));
	s->rtt_us = i.tcpi_rtt;
	s->retransmits = i.tcpi_total_retrans;
	s->lost = i.tcpi_lost;
	s->sent = i.tcpi_bytes_acked;
	s->received = i.tcpi_bytes_received;
}

static void take(const struct nlmsghdr *h, bool udp, void (*fn)(const struct sock_diag *s, void *arg), void *arg)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	struct sock_diag s = { .udp = udp };
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return;
	s.local = address(m, m->id.idiag_src, m->id.idiag_sport);
	if (m->id.idiag_dport)
		s.peer = address(m, m->id.idiag_dst, m->id.idiag_dport);
	s.state = udp ? (m->id.idiag_dport ? "connected" : "bound") : state_name(m->idiag_state);
	s.recv_queue = m->idiag_rqueue;
	s.send_queue = m->idiag_wqueue;
	s.inode = m->idiag_inode;
	for (const struct rtattr *a = (const void *)(m + 1); RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type == INET_DIAG_INFO && !udp)
			take_info(&s, RTA_DATA(a), RTA_PAYLOAD(a));
	fn(&s, arg);
}

static int dump(int fd, int family, bool udp, void (*fn)(const struct sock_diag *s, void *arg), void *arg)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} rq = { .h = { .nlmsg_len = sizeof(rq), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		 .r = { .sdiag_family = (uint8_t)family, .sdiag_protocol = udp ? IPPROTO_UDP : IPPROTO_TCP, .idiag_states = STATES_ALL,
			.idiag_ext = 1 << (INET_DIAG_INFO - 1) } };
	_cleanup_(freep) uint8_t *buf = aligned_alloc(NLMSG_ALIGNTO, BUFFER);

	if (!buf)
		return -ENOMEM;
	if (send(fd, &rq, sizeof(rq), 0) < 0)
		return -errno;
	for (;;) {
		ssize_t got = recv(fd, buf, BUFFER, 0);
		unsigned n = got > 0 ? (unsigned)got : 0;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR)
				return -((const struct nlmsgerr *)NLMSG_DATA(h))->error;
			take(h, udp, fn, arg);
		}
		if (got == 0)
			return -EIO;
	}
}

int sock_diag_each(void (*fn)(const struct sock_diag *s, void *arg), void *arg)
{
	static const struct timeval patience = { .tv_sec = 5 };
	_cleanup_(closep) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	int r = fd < 0 ? -errno : 0;

	if (r == 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (unsigned i = 0; i < 4 && r == 0; i++)
		r = dump(fd, i & 1 ? AF_INET6 : AF_INET, i & 2, fn, arg);
	return r;
}

/* ---- whose ---- */

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

uint32_t *sock_diag_own(size_t *ret_n)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0, cap = 256;
	uint32_t *own = d ? malloc(cap * sizeof(*own)) : NULL;

	for (struct dirent *e; own && (e = readdir(d));) {
		struct stat st;
		uint32_t *more;

		if (fstatat(dirfd(d), e->d_name, &st, 0) < 0 || !S_ISSOCK(st.st_mode))
			continue;
		if (n == cap) {
			more = realloc(own, 2 * cap * sizeof(*own));
			if (!more)
				break; /* those that there was room for */
			own = more;
			cap *= 2;
		}
		own[n++] = (uint32_t)st.st_ino;
	}
	if (d)
		(void)closedir(d);
	if (own)
		qsort(own, n, sizeof(*own), by_value);
	*ret_n = n;
	return own;
}

bool sock_diag_is_own(const uint32_t *own, size_t n, uint32_t inode)
{
	return inode && bsearch(&inode, own, n, sizeof(*own), by_value);
}
