/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnetlink by hand: questions for a route and for a neighbour, and the request to look after one. Answers are
 * read by the kernel's own macros; they come from the kernel, and belong to the question by their sequence
 * number. Changes are common/net_changes's.
 */
#include "turn/fastpath/routes.h"
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>
#include "common/net_changes.h"

enum { SETTLE_MS = 20, BUFFER = 8192 };

struct fast_routes {
	int fd; /* for questions */
	uint32_t seq;
	bool neighbours;
	struct net_changes *changes;
};

struct request {
	struct nlmsghdr h;
	union {
		struct rtmsg rt;
		struct ndmsg nd;
	};
	_Alignas(NLMSG_ALIGNTO) uint8_t attrs[128];
};

/* ---- one question, one answer ---- */

static void put_attr(struct request *q, unsigned short type, const void *p, size_t n)
{
	struct rtattr *a = (void *)((uint8_t *)q + NLMSG_ALIGN(q->h.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), p, n);
	q->h.nlmsg_len = NLMSG_ALIGN(q->h.nlmsg_len) + (uint32_t)RTA_ALIGN(a->rta_len);
}

static void put_ip(struct request *q, unsigned short type, const struct addr *a)
{
	size_t n;
	const uint8_t *ip = addr_ip(a, &n);

	put_attr(q, type, ip, n);
}

/* False: the kernel has no answer but an error. */
static bool ask(struct fast_routes *r, struct request *q, uint8_t *buf, size_t buf_n)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	const struct nlmsghdr *h = (const void *)buf;

	q->h.nlmsg_flags = NLM_F_REQUEST;
	q->h.nlmsg_seq = ++r->seq;
	if (sendto(r->fd, q, q->h.nlmsg_len, 0, (const void *)&kernel, sizeof kernel) < 0)
		return false;
	for (;;) {
		ssize_t n = recv(r->fd, buf, buf_n, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if (NLMSG_OK(h, (size_t)n) && h->nlmsg_seq == r->seq) /* else of a question that was given up */
			return h->nlmsg_type != NLMSG_ERROR;
	}
}

/* ---- routes ---- */

static struct addr hop_of(int family, const void *ip)
{
	return family == AF_INET ? addr_v4(be32toh(*(const uint32_t *)ip), 0) : addr_v6(ip, 0);
}

static void read_metrics(const struct rtattr *metrics, struct fast_hop *hop)
{
	int n = (int)RTA_PAYLOAD(metrics);

	for (const struct rtattr *a = RTA_DATA(metrics); RTA_OK(a, n); a = RTA_NEXT(a, n))
		if (a->rta_type == RTAX_MTU && RTA_PAYLOAD(a) >= sizeof(uint32_t))
			memcpy(&hop->mtu, RTA_DATA(a), sizeof hop->mtu);
}

static void read_via(const struct rtattr *a, struct fast_hop *hop)
{
	const struct rtvia *via = RTA_DATA(a);

	if (RTA_PAYLOAD(a) >= sizeof *via && RTA_PAYLOAD(a) >= sizeof *via + (via->rtvia_family == AF_INET ? 4u : 16u))
		hop->at = hop_of(via->rtvia_family, via->rtvia_addr);
}

static unsigned read_route(const uint8_t *buf, const struct addr *to, struct fast_hop *hop)
{
	const struct nlmsghdr *h = (const void *)buf;
	const struct rtmsg *rt = NLMSG_DATA(h);
	int n = (int)RTM_PAYLOAD(h);

	*hop = (struct fast_hop){ .at = *to };
	addr_set_port(&hop->at, 0);
	for (const struct rtattr *a = RTM_RTA(rt); RTA_OK(a, n); a = RTA_NEXT(a, n)) {
		if (a->rta_type == RTA_OIF)
			memcpy(&hop->ifindex, RTA_DATA(a), sizeof hop->ifindex);
		else if (a->rta_type == RTA_GATEWAY)
			hop->at = hop_of(rt->rtm_family, RTA_DATA(a));
		else if (a->rta_type == RTA_VIA)
			read_via(a, hop);
		else if (a->rta_type == RTA_METRICS)
			read_metrics(a, hop);
	}
	return rt->rtm_type;
}

static void begin_route(struct request *q, const struct addr *to)
{
	size_t n;

	(void)addr_ip(to, &n);
	memset(q, 0, sizeof *q);
	q->h.nlmsg_type = RTM_GETROUTE;
	q->h.nlmsg_len = NLMSG_LENGTH(sizeof q->rt);
	q->rt.rtm_family = (unsigned char)addr_family(to);
	q->rt.rtm_dst_len = (unsigned char)(n * 8);
	put_ip(q, RTA_DST, to);
}

static void begin_neighbour(struct request *q, unsigned short type, const struct fast_hop *hop)
{
	*q = (struct request){ .h = { .nlmsg_type = type, .nlmsg_len = NLMSG_LENGTH(sizeof q->nd), .nlmsg_flags = NLM_F_REQUEST },
			       .nd = { .ndm_family = (uint8_t)addr_family(&hop->at), .ndm_ifindex = (int)hop->ifindex } };
	put_ip(q, NDA_DST, &hop->at);
}

/* Makes the kernel find or confirm it, as traffic of its own would: what XDP sends it does not see. */
static void use_neighbour(struct fast_routes *r, const struct fast_hop *hop)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct request q;

	begin_neighbour(&q, RTM_NEWNEIGH, hop);
	q.nd.ndm_flags = NTF_USE;
	q.h.nlmsg_flags |= NLM_F_CREATE;
	(void)sendto(r->fd, &q, q.h.nlmsg_len, 0, (const void *)&kernel, sizeof kernel); /* an error is read with the next answer */
}

static bool find_mac(struct fast_routes *r, struct fast_hop *hop)
{
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[BUFFER];
	struct request q;
	enum { FRESH = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE, GOOD = FRESH | NUD_PROBE | NUD_STALE | NUD_DELAY };

	begin_neighbour(&q, RTM_GETNEIGH, hop);
	if (!ask(r, &q, buf, sizeof buf)) {
		use_neighbour(r, hop);
		return false;
	}
	const struct nlmsghdr *h = (const void *)buf;
	const struct ndmsg *nd = NLMSG_DATA(h);
	if (!(nd->ndm_state & FRESH))
		use_neighbour(r, hop);
	int n = (int)NLMSG_PAYLOAD(h, sizeof *nd);
	for (const struct rtattr *a = (const void *)((const uint8_t *)nd + NLMSG_ALIGN(sizeof *nd)); RTA_OK(a, n); a = RTA_NEXT(a, n))
		if (a->rta_type == NDA_LLADDR && RTA_PAYLOAD(a) == sizeof hop->mac && nd->ndm_state & GOOD) {
			memcpy(hop->mac, RTA_DATA(a), sizeof hop->mac);
			hop->has_mac = true;
		}
	return hop->has_mac;
}

enum fast_why fast_route_find(struct fast_routes *r, const struct addr *from, const struct addr *to, struct fast_hop *ret_hop)
{
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[BUFFER];
	uint16_t from_port = htobe16(addr_port(from)), to_port = htobe16(addr_port(to));
	struct request q;

	begin_route(&q, to);
	size_t n;
	(void)addr_ip(from, &n);
	q.rt.rtm_src_len = (unsigned char)(n * 8);
	put_ip(&q, RTA_SRC, from);
	put_attr(&q, RTA_IP_PROTO, &(uint8_t){ IPPROTO_UDP }, 1);
	put_attr(&q, RTA_SPORT, &from_port, 2);
	put_attr(&q, RTA_DPORT, &to_port, 2);
	if (!ask(r, &q, buf, sizeof buf) || read_route(buf, to, ret_hop) != RTN_UNICAST ||
	    !ret_hop->ifindex)
		return FAST_WHY_NO_ROUTE;
	return r->neighbours && !find_mac(r, ret_hop) ? FAST_WHY_NEIGHBOUR : FAST_OFFLOADED;
}

bool fast_route_is_local(struct fast_routes *r, const struct addr *a)
{
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[BUFFER];
	struct fast_hop hop;
	struct request q;

	if (addr_classify(a) == ADDR_LOOPBACK)
		return false;
	begin_route(&q, a);
	return ask(r, &q, buf, sizeof buf) && read_route(buf, a, &hop) == RTN_LOCAL;
}

/* ---- life ---- */

int fast_routes_new(struct loop *l, bool neighbours, void (*changed)(void *arg), void *arg, struct fast_routes **ret_r)
{
	_cleanup_(fast_routes_freep) struct fast_routes *r = calloc(1, sizeof *r);
	const struct net_changes_options o = {
		.also = NET_CHANGES_LINKS | NET_CHANGES_RULES | (neighbours ? NET_CHANGES_NEIGHBOURS : 0), .settle_ms = SETTLE_MS
	};
	int err;

	if (!r)
		return -ENOMEM;
	r->neighbours = neighbours;
	r->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (r->fd < 0)
		return -errno;
	/* So that a question is refused rather than misunderstood. */
	(void)setsockopt(r->fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &(int){ 1 }, sizeof(int));
	err = net_changes_new_with(l, &o, changed, arg, &r->changes);
	if (err < 0)
		return err;
	*ret_r = steal_ptr(&r);
	return 0;
}

struct fast_routes *fast_routes_free(struct fast_routes *r)
{
	if (!r)
		return NULL;
	net_changes_free(r->changes);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
	return NULL;
}
