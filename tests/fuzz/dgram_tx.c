/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output queue (common/dgram_tx.h): the input says which datagrams come, of which size and marking and for whom,
 * when the queue is flushed or asked, and what the kernel says to each call. Checked: nothing is sent twice;
 * of one socket and destination all leaves in the order in which it came; what did not leave was counted.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include "common/bytes.h"
#include "common/dgram_tx.h"

enum { DATAGRAMS = 4096, FDS = 4, PORTS = 8, SIZE = 96, BURST = 80, CALLS_MAX = 200000 };

struct world {
	struct rd in;
	uint32_t added, sent, last[FDS][PORTS]; /* serial + 1 */
	unsigned calls;
};

static size_t segment_of(struct msghdr *h)
{
	uint16_t v = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT)
			memcpy(&v, CMSG_DATA(c), sizeof(v));
	return v;
}

static void check_message(struct world *w, int fd, struct msghdr *h)
{
	static uint8_t bytes[DGRAM_MAX];
	unsigned port = ntohs(((const struct sockaddr_in *)h->msg_name)->sin_port);
	size_t n = 0, segment = segment_of(h);

	for (size_t i = 0; i < h->msg_iovlen; i++) {
		assert(n + h->msg_iov[i].iov_len <= sizeof(bytes));
		memcpy(bytes + n, h->msg_iov[i].iov_base, h->msg_iov[i].iov_len);
		n += h->msg_iov[i].iov_len;
	}
	if (!segment)
		segment = n;
	assert(fd < FDS && port < PORTS && segment >= 4 && (n + segment - 1) / segment <= TX_RUN_SEGMENTS);
	for (size_t at = 0; at < n; at += segment) {
		uint32_t serial = load_be32(bytes + at) + 1;

		assert(n - at >= 4 && serial > w->last[fd][port] && serial <= w->added);
		w->last[fd][port] = serial;
		w->sent++;
	}
}

/* The next byte of the input is what the kernel says; behind its end it takes everything. */
static int fake_send(int fd, struct mmsghdr *msgs, unsigned n, void *arg)
{
	static const int errors[] = { EINVAL, EIO, EAGAIN, EINTR, ECONNREFUSED, EMSGSIZE, ENOBUFS, EPERM };
	struct world *w = arg;
	uint8_t b = rd_left(&w->in) ? rd_u8(&w->in) : 0xff;
	unsigned take = b < 0x80 ? MIN(n, 1u + b % 8) : n;

	assert(++w->calls < CALLS_MAX);
	if (b >= 0x80 && b < 0xc0)
		return -errors[b % ARRAY_LEN(errors)];
	for (unsigned i = 0; i < take; i++)
		check_message(w, fd, &msgs[i].msg_hdr);
	return (int)take;
}

/* Likewise, a byte for each message. */
static void fake_send_each(const int *fd, struct mmsghdr *msgs, unsigned n, int *ret_result, void *arg)
{
	static const int errors[] = { EAGAIN, ECONNREFUSED, EBUSY, EPERM };
	struct world *w = arg;

	for (unsigned i = 0; i < n; i++) {
		uint8_t b = rd_left(&w->in) ? rd_u8(&w->in) : 0;

		ret_result[i] = b & 0x80 ? -errors[b % ARRAY_LEN(errors)] : 0;
		if (!ret_result[i])
			check_message(w, fd[i], &msgs[i].msg_hdr);
	}
}

static int fake_set_pmtu(int fd, bool v6, int mode, void *arg)
{
	(void)fd;
	(void)v6;
	(void)mode;
	(void)arg;
	return 0;
}

/* All with one entry, the last maybe shorter. */
static void add_run(struct world *w, struct tx_queue *q, uint8_t (*pool)[SIZE], const struct dgram_route *route, unsigned n,
		    uint8_t size)
{
	struct tx_datagram d = { .route = route, .n = MIN(n, DATAGRAMS - w->added), .stride = SIZE };

	if (!d.n)
		return;
	d.body = (struct iovec){ pool[w->added], 4 + size % (SIZE - 4) };
	d.last = d.n > 1 ? 4 + size % (d.body.iov_len - 3) : d.body.iov_len;
	for (unsigned i = 0; i < d.n; i++) {
		store_be32(pool[w->added], w->added);
		w->added++;
	}
	tx_add(q, &d);
	assert(tx_has(q, route->fd));
}

static void add(struct world *w, struct tx_queue *q, uint8_t (*pool)[SIZE], uint8_t what)
{
	uint8_t size = rd_u8(&w->in), mark = rd_u8(&w->in);
	unsigned burst = what & 0x40 ? 1 + mark % BURST : 1;
	const struct addr to = addr_v4(0xc0000207, (uint16_t)(what / FDS % PORTS));
	const struct dgram_route route = { what % FDS, &to, NULL,
					   { (int16_t)(mark & 1 ? 0x10 : -1), (int16_t)(mark & 2 ? 9 : -1), (int8_t)(mark % 3 - 1) } };

	if (mark & 8 && burst > 1) {
		add_run(w, q, pool, &route, MIN(burst, (unsigned)TX_RUN_SEGMENTS), size);
		return;
	}
	for (; burst && w->added < DATAGRAMS; burst--) {
		uint8_t *p = pool[w->added];
		size_t n = 4 + size % (SIZE - 4), cut = mark & 4 ? DGRAM_HEAD : 0;

		store_be32(p, w->added++);
		tx_add(q, &(struct tx_datagram){ &route, { p, cut }, { p + cut, n - cut } });
		assert(tx_has(q, route.fd));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct tx_sys fake[] = { { fake_send, fake_set_pmtu, NULL }, { fake_send, fake_set_pmtu, fake_send_each } };
	struct world w = { .in = rd_init(data, size) };
	struct dgram_io_stats stats = { .gso = true };
	uint8_t(*pool)[SIZE] = calloc(DATAGRAMS, sizeof(*pool));
	struct tx_queue *q;

	assert(pool && tx_queue_new(&fake[size % 2], &w, &stats, &q) == 0);
	while (rd_left(&w.in) && w.added < DATAGRAMS) {
		uint8_t what = rd_u8(&w.in);

		if (what & 0x80)
			tx_flush(q);
		else
			add(&w, q, pool, what);
	}
	tx_flush(q);
	for (int fd = 0; fd < FDS; fd++)
		assert(!tx_has(q, fd));
	assert(stats.tx == w.sent && w.sent + stats.tx_dropped + stats.tx_errors == w.added);
	tx_queue_free(q);
	free(pool);
	return 0;
}
