/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output queue: entries in order of arrival, chained per group (socket and destination), groups
 * chained per socket. A flush walks socket by socket, cuts each group into runs of equal size,
 * source and marking (the last of a run may be shorter: UDP_SEGMENT, udp(7)), and sends up to
 * DGRAM_BATCH messages per system call.
 *
 * Sockets whose destinations get one datagram each, as a relay's do from scattered calls, have their messages sent
 * together, with one call for all of them where the kernel can (common/ring.h). They have no order to keep.
 *
 * Don't Fragment cannot be said per message on Linux, only per socket: messages that want it differ
 * from their neighbours end the batch, and the socket's IP_MTU_DISCOVER is changed around the
 * batch and put back, so no state is kept for a descriptor that may be closed and reused.
 *
 * What the kernel says about one message concerns that message only: a refused run goes out again
 * as single datagrams in its place (a run is sent whole or not at all, so nothing doubles), an
 * error left over from an ICMP message is tried again, a full socket buffer drops and counts.
 */
#include "common/dgram_tx.h"
#include "common/hash.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

enum {
	TX_IOV = 2048,		  /* per batch; one run needs at most 2 × TX_RUN_SEGMENTS */
	TX_CONTROL = 128,	  /* UDP_SEGMENT, TOS, TTL and packet info of IPv6 */
	TX_BUCKETS = 2 * TX_QUEUE, /* power of two */
	TX_TRIES = 3,		  /* per message, against errors left on the socket by ICMP */
	NONE = UINT16_MAX,
};

/* One datagram, or several of one size whose bodies lie at equal distances. */
struct tx_entry {
	const uint8_t *body;
	uint16_t len, last, stride; /* last: bytes of the last body, len of the others */
	uint8_t n, head_n;
	uint8_t head[DGRAM_HEAD]; /* in front of each */
	struct addr from; /* AF_UNSPEC: the socket's own */
	struct dgram_mark mark;
	uint16_t next; /* in the group */
};

/* One datagram of an entry. */
struct tx_at {
	uint16_t entry, segment;
};

struct tx_group {
	int fd;
	struct addr to;
	uint16_t first, last; /* entries */
	uint16_t next;	      /* group of the same socket */
	uint16_t bucket;
};

struct tx_fd {
	int fd;
	uint16_t first, last; /* groups */
	uint16_t bucket;
	bool each; /* its messages go with those of other sockets */
};

/* Messages of one system call. */
struct tx_batch {
	unsigned n, n_iov;
	struct mmsghdr msg[DGRAM_BATCH];
	struct tx_at first[DGRAM_BATCH]; /* what is behind each message, */
	uint16_t count[DGRAM_BATCH];	 /* and how many datagrams it has */
	int fd[DGRAM_BATCH], result[DGRAM_BATCH]; /* of messages for many sockets */
	struct iovec iov[TX_IOV];
	_Alignas(struct cmsghdr) uint8_t control[DGRAM_BATCH][TX_CONTROL];
};

struct tx_queue {
	const struct tx_sys *sys;
	void *arg;
	struct dgram_io_stats *stats;
	uint64_t seed;
	unsigned n, n_groups, n_fds;
	unsigned recent; /* the group that took the last datagram; it may be gone */
	unsigned refused, pause; /* GSO: refusals in a row, datagrams until it is tried again */
	uint16_t group_at[TX_BUCKETS], fd_at[TX_BUCKETS]; /* open addressing; NONE: empty */
	struct tx_entry entry[TX_QUEUE];
	struct tx_group group[TX_QUEUE];
	struct tx_fd fd[TX_QUEUE];
	struct tx_batch batch, plain;
};

/* ---- the queue ---- */

/* Seeded multiplicative mixing: destinations are a stranger's choice, the table is small and is
 * emptied with every flush. */
static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ (h >> 29);
}

static unsigned group_bucket(const struct tx_queue *q, int fd, const struct addr *to)
{
	uint64_t h = mix(q->seed, (uint64_t)(unsigned)fd);

	if (to->sa.sa_family == AF_INET) {
		h = mix(h, (uint64_t)to->in4.sin_addr.s_addr << 16 | to->in4.sin_port);
	} else if (to->sa.sa_family == AF_INET6) {
		uint64_t half[2];

		memcpy(half, &to->in6.sin6_addr, sizeof(half));
		h = mix(mix(mix(h, half[0]), half[1]), to->in6.sin6_port);
	}
	return (unsigned)(mix(h, q->seed) >> 20) % TX_BUCKETS;
}

/* Its bucket, or the empty one where it belongs. */
static unsigned fd_bucket(const struct tx_queue *q, int fd)
{
	unsigned b = (unsigned)(mix(q->seed, (uint64_t)(unsigned)fd) >> 20) % TX_BUCKETS;

	while (q->fd_at[b] != NONE && q->fd[q->fd_at[b]].fd != fd)
		b = (b + 1) % TX_BUCKETS;
	return b;
}

bool tx_has(const struct tx_queue *q, int fd)
{
	return q->fd_at[fd_bucket(q, fd)] != NONE;
}

static struct tx_fd *fd_of(struct tx_queue *q, int fd)
{
	unsigned b = fd_bucket(q, fd);

	if (q->fd_at[b] != NONE)
		return &q->fd[q->fd_at[b]];
	q->fd_at[b] = (uint16_t)q->n_fds;
	q->fd[q->n_fds] = (struct tx_fd){ .fd = fd, .first = NONE, .last = NONE, .bucket = (uint16_t)b };
	return &q->fd[q->n_fds++];
}

static bool is_group(const struct tx_group *g, int fd, const struct addr *to)
{
	return g->fd == fd && addr_equal(&g->to, to);
}

/* A run goes to one group: its first datagram finds it, the others are compared with where that one went. */
static struct tx_group *group_of(struct tx_queue *q, int fd, const struct addr *to)
{
	unsigned b;
	uint16_t g;
	struct tx_fd *f;

	if (q->recent < q->n_groups && is_group(&q->group[q->recent], fd, to))
		return &q->group[q->recent];
	for (b = group_bucket(q, fd, to); (g = q->group_at[b]) != NONE; b = (b + 1) % TX_BUCKETS) {
		if (is_group(&q->group[g], fd, to)) {
			q->recent = g;
			return &q->group[g];
		}
	}
	g = (uint16_t)q->n_groups++;
	q->recent = g;
	q->group_at[b] = g;
	q->group[g] = (struct tx_group){ .fd = fd, .to = *to, .first = NONE, .last = NONE, .next = NONE,
					 .bucket = (uint16_t)b };
	f = fd_of(q, fd);
	if (f->first == NONE)
		f->first = g;
	else
		q->group[f->last].next = g;
	f->last = g;
	return &q->group[g];
}

bool tx_full(const struct tx_queue *q)
{
	return q->n == TX_QUEUE;
}

unsigned tx_waiting(const struct tx_queue *q)
{
	return q->n;
}

void tx_add(struct tx_queue *q, const struct tx_datagram *d)
{
	const struct addr *from = d->route->from;
	struct tx_group *g;
	struct tx_entry *e;
	uint16_t i;

	if (tx_full(q))
		tx_flush(q);
	i = (uint16_t)q->n++;
	e = &q->entry[i];
	e->head_n = (uint8_t)d->head.iov_len;
	if (e->head_n)
		memcpy(e->head, d->head.iov_base, e->head_n);
	e->body = d->body.iov_base;
	e->len = (uint16_t)d->body.iov_len;
	e->n = (uint8_t)MAX(d->n, 1U);
	e->stride = (uint16_t)d->stride;
	e->last = e->n > 1 ? (uint16_t)d->last : e->len;
	e->mark = d->route->mark;
	e->next = NONE;
	if (from && from->sa.sa_family == d->route->to->sa.sa_family)
		e->from = *from;
	else
		e->from.sa.sa_family = AF_UNSPEC;
	g = group_of(q, d->route->fd, d->route->to);
	if (g->first == NONE)
		g->first = i;
	else
		q->entry[g->last].next = i;
	g->last = i;
}

static void empty_queue(struct tx_queue *q)
{
	for (unsigned i = 0; i < q->n_groups; i++)
		q->group_at[q->group[i].bucket] = NONE;
	for (unsigned i = 0; i < q->n_fds; i++)
		q->fd_at[q->fd[i].bucket] = NONE;
	q->n = q->n_groups = q->n_fds = 0;
}

int tx_queue_new(const struct tx_sys *sys, void *arg, struct dgram_io_stats *stats,
		 struct tx_queue **ret_q)
{
	struct tx_queue *q = calloc(1, sizeof(*q)); /* zeroed: the kernel sees the padding of control data */

	if (!q)
		return -ENOMEM;
	q->sys = sys;
	q->arg = arg;
	q->stats = stats;
	q->seed = hash_seed_random().k0;
	q->refused = q->pause = 0;
	q->batch.n = q->batch.n_iov = 0;
	q->plain.n = q->plain.n_iov = 0;
	q->n = q->n_groups = q->n_fds = 0;
	memset(q->group_at, 0xff, sizeof(q->group_at)); /* NONE */
	memset(q->fd_at, 0xff, sizeof(q->fd_at));
	*ret_q = q;
	return 0;
}

struct tx_queue *tx_queue_free(struct tx_queue *q)
{
	free(q);
	return NULL;
}

/* ---- from entries to messages ---- */

static size_t body_size(const struct tx_entry *e, unsigned segment)
{
	return segment + 1U == e->n ? e->last : e->len;
}

static struct tx_at next_of(const struct tx_queue *q, struct tx_at at)
{
	if (++at.segment == q->entry[at.entry].n)
		at = (struct tx_at){ q->entry[at.entry].next, 0 };
	return at;
}

static bool same_mark(const struct tx_entry *a, const struct tx_entry *b)
{
	return a->mark.tos == b->mark.tos && a->mark.ttl == b->mark.ttl && a->mark.df == b->mark.df;
}

/* How many datagrams from `at` on make one UDP_SEGMENT run: equal sizes, the last may be shorter. */
static unsigned run_length(const struct tx_queue *q, struct tx_at at)
{
	const struct tx_entry *first = &q->entry[at.entry], *e;
	size_t size = first->head_n + body_size(first, at.segment), total = size, s = size;
	unsigned n = 1;

	if (!size)
		return 1;
	for (at = next_of(q, at); at.entry != NONE && n < TX_RUN_SEGMENTS && s == size; at = next_of(q, at)) {
		e = &q->entry[at.entry];
		s = e->head_n + body_size(e, at.segment);
		if (!s || s > size || total + s > TX_RUN_BYTES)
			break;
		if (e != first && (!same_mark(first, e) || !addr_equal(&first->from, &e->from)))
			break;
		total += s;
		n++;
	}
	return n;
}

static void put_control(struct msghdr *h, int level, int type, const void *p, size_t n)
{
	struct cmsghdr *c = (void *)((uint8_t *)h->msg_control + h->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(n);
	memcpy(CMSG_DATA(c), p, n);
	h->msg_controllen += CMSG_SPACE(n);
}

static void put_source(struct msghdr *h, const struct addr *from)
{
	if (from->sa.sa_family == AF_INET) {
		struct in_pktinfo info = { .ipi_spec_dst = from->in4.sin_addr };

		put_control(h, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else if (from->sa.sa_family == AF_INET6) {
		struct in6_pktinfo info = { .ipi6_addr = from->in6.sin6_addr,
					    .ipi6_ifindex = from->in6.sin6_scope_id };

		put_control(h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
}

static void put_marks(struct msghdr *h, const struct tx_entry *e, bool v6)
{
	int v;

	if (e->mark.tos > 0) { /* 0 is what our sockets send unasked, and two values cost the kernel an allocation */
		v = e->mark.tos;
		put_control(h, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, &v, sizeof(v));
	}
	if (e->mark.ttl > 0) { /* 0 may not leave this host */
		v = e->mark.ttl;
		put_control(h, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_HOPLIMIT : IP_TTL, &v, sizeof(v));
	}
}

/* The pieces of n datagrams. Returns the datagram after. */
static struct tx_at put_bodies(struct tx_queue *q, struct tx_batch *b, struct tx_at at, unsigned n)
{
	struct iovec *v = &b->iov[b->n_iov];

	while (n) {
		struct tx_entry *e = &q->entry[at.entry];
		unsigned end = MIN(at.segment + n, (unsigned)e->n);

		n -= end - at.segment;
		for (; at.segment < end; at.segment++) {
			if (e->head_n)
				*v++ = (struct iovec){ e->head, e->head_n };
			*v++ = (struct iovec){ (uint8_t *)e->body + (size_t)at.segment * e->stride,
					       body_size(e, at.segment) };
		}
		if (end == e->n)
			at = (struct tx_at){ e->next, 0 };
	}
	b->n_iov = (unsigned)(v - b->iov);
	return at;
}

/* Appends one message of n datagrams; the caller has seen that there is room. Returns the datagram after. */
static struct tx_at put_message(struct tx_queue *q, struct tx_batch *b, struct tx_group *g, struct tx_at at, unsigned n)
{
	const struct tx_entry *first = &q->entry[at.entry];
	struct msghdr *h = &b->msg[b->n].msg_hdr;
	uint16_t segment = (uint16_t)(first->head_n + body_size(first, at.segment));

	*h = (struct msghdr){ .msg_name = &g->to.sa, .msg_namelen = addr_len(&g->to),
			      .msg_iov = &b->iov[b->n_iov], .msg_control = b->control[b->n] };
	b->first[b->n] = at;
	b->count[b->n] = (uint16_t)n;
	at = put_bodies(q, b, at, n);
	h->msg_iovlen = (size_t)(&b->iov[b->n_iov] - h->msg_iov);
	if (n > 1)
		put_control(h, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
	put_source(h, &first->from);
	put_marks(h, first, g->to.sa.sa_family == AF_INET6);
	if (!h->msg_controllen)
		h->msg_control = NULL;
	b->n++;
	return at;
}

/* ---- sending ---- */

static void count_sent(struct tx_queue *q, const struct tx_batch *b, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++) {
		q->stats->tx += b->count[i];
		if (b->count[i] > 1) {
			q->stats->tx_gso_runs++;
			q->refused = 0;
		}
	}
}

static void drop_rest(struct tx_queue *q, const struct tx_batch *b, unsigned from)
{
	for (unsigned i = from; i < b->n; i++)
		q->stats->tx_dropped += b->count[i];
}

static void send_batch(struct tx_queue *q, struct tx_batch *b, int fd);

/* The kernel did not take message i as a run: its datagrams go out one by one, now, in its place. */
static void resend_plainly(struct tx_queue *q, struct tx_batch *b, unsigned i, int fd)
{
	struct tx_group g = { .fd = fd };
	struct tx_at at = b->first[i];

	memcpy(&g.to, b->msg[i].msg_hdr.msg_name, b->msg[i].msg_hdr.msg_namelen);
	if (++q->refused >= TX_REFUSALS) {
		q->refused = 0;
		q->pause = TX_GSO_PAUSE;
		q->stats->gso = false;
	}
	for (unsigned k = 0; k < b->count[i]; k++)
		at = put_message(q, &q->plain, &g, at, 1);
	send_batch(q, &q->plain, fd);
}

static bool refuses_run(int error)
{
	return error == EINVAL || error == EIO || error == EMSGSIZE || error == EOPNOTSUPP;
}

/* Sends all messages of the batch and empties it. Nothing is sent twice: sendmmsg says how many went. */
static void send_batch(struct tx_queue *q, struct tx_batch *b, int fd)
{
	unsigned done = 0, tries = 0;

	while (done < b->n) {
		int r = q->sys->send(fd, b->msg + done, b->n - done, q->arg);

		q->stats->tx_calls++;
		if (r > 0) {
			count_sent(q, b, done, (unsigned)r);
			done += (unsigned)r;
			tries = 0;
		} else if (r == -EINTR) {
			continue;
		} else if (r == -EAGAIN || r == -EWOULDBLOCK) {
			drop_rest(q, b, done);
			break;
		} else if (b->count[done] > 1 && refuses_run(-r)) {
			resend_plainly(q, b, done++, fd);
			tries = 0;
		} else if (++tries == TX_TRIES) {
			q->stats->tx_errors += b->count[done++];
			tries = 0;
		}
	}
	b->n = b->n_iov = 0;
}

/* As send_batch, with the socket's path MTU discovery set as the datagrams of this batch want it. */
static void send_marked(struct tx_queue *q, struct tx_batch *b, int fd, int df)
{
	bool v6;
	int old;

	if (!b->n)
		return;
	v6 = ((const struct sockaddr *)b->msg[0].msg_hdr.msg_name)->sa_family == AF_INET6;
	if (df < 0) {
		send_batch(q, b, fd);
		return;
	}
	/* PROBE sets DF and ignores a path MTU learned before: the relay's client finds it, not we. */
	old = q->sys->set_pmtu(fd, v6, df ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT, q->arg);
	send_batch(q, b, fd);
	if (old >= 0)
		(void)q->sys->set_pmtu(fd, v6, old, q->arg);
}

static bool may_run(struct tx_queue *q)
{
	if (q->stats->gso)
		return true;
	if (q->pause && --q->pause == 0)
		q->stats->gso = true; /* try again: what was refused may have been one destination's */
	return false;
}

static void flush_fd(struct tx_queue *q, const struct tx_fd *f)
{
	struct tx_batch *b = &q->batch;
	int8_t df = -1;

	for (uint16_t gi = f->first; gi != NONE; gi = q->group[gi].next) {
		struct tx_group *g = &q->group[gi];

		for (struct tx_at at = { g->first, 0 }; at.entry != NONE;) {
			unsigned n = may_run(q) ? run_length(q, at) : 1;

			if (b->n == DGRAM_BATCH || b->n_iov + 2 * n > TX_IOV ||
			    (b->n && q->entry[at.entry].mark.df != df))
				send_marked(q, b, f->fd, df);
			df = q->entry[at.entry].mark.df;
			at = put_message(q, b, g, at, n);
		}
	}
	send_marked(q, b, f->fd, df);
}

/* ---- many sockets with one call ---- */

/* One datagram for each of its destinations, and nothing to be set for them. */
static bool is_scattered(const struct tx_queue *q, const struct tx_fd *f)
{
	for (uint16_t gi = f->first; gi != NONE; gi = q->group[gi].next) {
		const struct tx_group *g = &q->group[gi];
		const struct tx_entry *e = &q->entry[g->first];

		if (g->first != g->last || e->n > 1 || e->mark.df >= 0)
			return false;
	}
	return true;
}

/* What was not sent is tried again by itself, and counted there. */
static void finish_each(struct tx_queue *q, const struct tx_batch *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct tx_group g = { .fd = b->fd[i] };

		if (b->result[i] == 0) {
			q->stats->tx++;
			continue;
		}
		memcpy(&g.to, b->msg[i].msg_hdr.msg_name, b->msg[i].msg_hdr.msg_namelen);
		(void)put_message(q, &q->plain, &g, b->first[i], 1);
		send_batch(q, &q->plain, g.fd);
	}
}

static void send_each(struct tx_queue *q, struct tx_batch *b)
{
	if (b->n == 1) {
		send_batch(q, b, b->fd[0]);
		return;
	}
	if (b->n) {
		q->sys->send_each(b->fd, b->msg, b->n, b->result, q->arg);
		q->stats->tx_calls++;
		finish_each(q, b);
	}
	b->n = b->n_iov = 0;
}

static void add_each(struct tx_queue *q, const struct tx_fd *f)
{
	struct tx_batch *b = &q->batch;

	for (uint16_t gi = f->first; gi != NONE; gi = q->group[gi].next) {
		struct tx_group *g = &q->group[gi];

		if (b->n == DGRAM_BATCH)
			send_each(q, b);
		b->fd[b->n] = f->fd;
		(void)put_message(q, b, g, (struct tx_at){ g->first, 0 }, 1);
	}
}

void tx_flush(struct tx_queue *q)
{
	bool many = q->n_fds > 1 && q->sys->send_each;

	if (!q->n)
		return;
	for (unsigned i = 0; i < q->n_fds; i++) {
		q->fd[i].each = many && is_scattered(q, &q->fd[i]);
		if (!q->fd[i].each)
			flush_fd(q, &q->fd[i]);
	}
	for (unsigned i = 0; many && i < q->n_fds; i++)
		if (q->fd[i].each)
			add_each(q, &q->fd[i]);
	if (many)
		send_each(q, &q->batch);
	empty_queue(q);
}
