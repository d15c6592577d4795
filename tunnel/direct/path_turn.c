/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QUIC packets as datagrams of a TURN allocation; see path_turn.h. A batch is cut into its packets, for TURN wraps each of them; what
 * arrives is put together again where packets of one size lie one behind the other, as ice_nice.c collects them.
 *
 * A socket that is full loses the rest of a batch: libnice does not say when it has room again, and QUIC's loss recovery and pacing
 * cope. The MTU leaves room for ChannelData and an IPv6 header on the way.
 */
#include "tunnel/direct/path_turn.h"
#include <errno.h>
#include "tunnel/direct/ice_priv.h"

enum { TURN_MTU = 1400 };

struct path_turn {
	struct path p;
	struct ice_try *t; /* NULL: it has ended */
	bool *gone;	   /* set while callbacks run: they may free the path */
};

static int turn_send(struct path *p, const uint8_t *data, size_t n, size_t segment)
{
	struct path_turn *x = container_of(p, struct path_turn, p);
	struct iovec v[PATH_PACKETS_MAX];
	size_t count = 0;
	int sent;

	if (!x->t)
		return -ENOTCONN;
	if (!segment || segment > n)
		segment = n;
	for (size_t at = 0; at < n && count < PATH_PACKETS_MAX; at += segment)
		v[count++] = (struct iovec){ (uint8_t *)data + at, MIN(segment, n - at) };
	sent = ice_try_send(x->t, v, count);
	if (sent < 0) {
		p->dropped += count;
		return sent;
	}
	p->dropped += count - (size_t)sent;
	p->bytes[0] += n;
	p->packets[0] += count;
	return 0;
}

static struct path *turn_free(struct path *p)
{
	struct path_turn *x = container_of(p, struct path_turn, p);

	if (x->t)
		x->t->turn = NULL;
	if (x->gone)
		*x->gone = true;
	free(x);
	return NULL;
}

static const struct path_ops turn_ops = { .send = turn_send, .free = turn_free };

int path_turn_new(struct ice_try *t, struct path **ret_p)
{
	struct path_turn *x = calloc(1, sizeof *x);

	if (!x)
		return -ENOMEM;
	if (t->turn)
		t->turn->t = NULL; /* another one takes its place */
	x->p = (struct path){ .ops = &turn_ops, .kind = PATH_TURN, .state = PATH_READY, .mtu = TURN_MTU };
	x->t = t;
	t->turn = x;
	*ret_p = &x->p;
	return 0;
}

void path_turn_gone(struct path_turn *x)
{
	x->t = NULL;
}

/* How many of v, from the first on, are one batch: of one size, the last may be shorter, one behind the other in memory. */
static size_t batch(const struct iovec *v, size_t n)
{
	size_t i = 1, bytes = v[0].iov_len;

	while (i < n && v[i - 1].iov_len == v[0].iov_len && v[i].iov_len <= v[0].iov_len && v[i].iov_len != 0 &&
	       (uint8_t *)v[i - 1].iov_base + v[i - 1].iov_len == v[i].iov_base && bytes + v[i].iov_len <= PATH_BATCH_MAX)
		bytes += v[i++].iov_len;
	return i;
}

void path_turn_input(struct ice_try *t, const struct iovec *v, size_t n)
{
	struct path_turn *x = t->turn;
	bool gone = false;

	if (!x)
		return;
	x->gone = &gone;
	for (size_t i = 0, k; i < n && !gone; i += k) {
		size_t bytes = 0;
		k = batch(v + i, n - i);
		for (size_t j = 0; j < k; j++)
			bytes += v[i + j].iov_len;
		path_arrived(&x->p, v[i].iov_base, bytes, v[i].iov_len);
	}
	if (!gone)
		x->gone = NULL;
}
