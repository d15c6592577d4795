/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packet path for runs: datagrams of one sender that the kernel joined, such as the packets of a video frame. They
 * are judged once, counted once and queued once; nothing of them is touched but the four bytes in front of what a client
 * sends. Only the plain case is here, a channel of a UDP client: whatever else it is, drops and limits included, is
 * left to turn/relay_data.c, which gets the datagrams one by one.
 */
#include <string.h>
#include "turn/relay_data.h"

static unsigned count_of(const struct turn_run *run)
{
	return (unsigned)((run->n + run->segment - 1) / run->segment);
}

/* Of how many bytes of payload ChannelData of n bytes is, or SIZE_MAX. */
static size_t payload_of(const uint8_t *p, size_t n)
{
	size_t len = n < TURN_CHANNEL_HEAD ? SIZE_MAX : load_be16(p + 2);

	return len == SIZE_MAX || len > n - TURN_CHANNEL_HEAD || n - TURN_CHANNEL_HEAD - len > 3 ? SIZE_MAX : len;
}

/* ChannelData of one channel and one length, but for the last. */
static bool read_channel_data(const struct turn_run *run, struct dgram_run *ret_run)
{
	unsigned n = count_of(run);
	const uint8_t *p = run->data, *last = p + (n - 1) * run->segment;
	size_t len = payload_of(p, run->segment), last_len = payload_of(last, run->n - (n - 1) * run->segment);

	if (len == SIZE_MAX || last_len == SIZE_MAX || last_len > len || memcmp(last, p, 2) != 0)
		return false;
	for (unsigned i = 1; i + 1 < n; i++)
		if (memcmp(p + i * run->segment, p, TURN_CHANNEL_HEAD) != 0)
			return false;
	*ret_run = (struct dgram_run){ p + TURN_CHANNEL_HEAD, n, run->segment, len, last_len };
	return true;
}

bool turn_input_run(struct turn_server *s, const struct turn_path *from, const struct turn_run *run, uint64_t now)
{
	struct dgram_mark mark = run->mark;
	struct dgram_run out;
	struct addr inside;

	if (!s->o.relay->send_run || s->rates || !turn_is_channel_data(run->data[0]) || !read_channel_data(run, &out))
		return false;
	s->now = now;
	struct turn_alloc *a = turn_alloc_find(s, from);
	if (!a || a->unsettled || turn_alloc_is_over(a, now))
		return false;
	const struct turn_channel *c = turn_channel_by_number(a, load_be16(run->data), now);
	if (!c || c->permitted <= now || c->own || !turn_hop(&mark))
		return false;
	struct turn_relay *relay = turn_alloc_relay_to(a, &c->peer, now);
	if (!relay)
		return false;
	turn_count_relayed(a, TURN_UP, out.n, (out.n - 1) * out.len + out.last);
	s->o.relay->send_run(relay, s->behind_nat && turn_own_inside(s, &c->peer, false, &inside) ? &inside : &c->peer, &out,
			     mark);
	return true;
}

/* The last is of another length, which its head must say; the queue joins both again. */
static void send_down(struct turn_alloc *a, uint16_t number, const struct turn_run *run, struct dgram_mark mark)
{
	unsigned n = count_of(run);
	size_t last = run->n - (n - 1) * run->segment;
	struct dgram_run out = { run->data, last == run->segment ? n : n - 1, run->segment, run->segment, run->segment };
	uint8_t head[TURN_CHANNEL_HEAD];

	store_be16(head, number);
	store_be16(head + 2, (uint16_t)run->segment);
	a->path.transport->send_run(&a->path, head, &out, mark);
	if (out.n == n)
		return;
	out = (struct dgram_run){ run->data + out.n * run->segment, 1, run->segment, last, last };
	store_be16(head + 2, (uint16_t)last);
	a->path.transport->send_run(&a->path, head, &out, mark);
}

bool turn_peer_run(struct turn_alloc *a, const struct addr *peer, const struct turn_run *run, uint64_t now)
{
	struct turn_server *s = a->server;
	struct dgram_mark mark = run->mark;
	struct addr outside;

	if (!a->path.transport->send_run || s->rates || !turn_alloc_relay_to(a, peer, now) ||
	    run->segment > TURN_UDP_MAX - TURN_CHANNEL_HEAD)
		return false;
	if (s->behind_nat && turn_own_outside(s, peer, false, &outside))
		peer = &outside;
	const struct turn_channel *c = turn_channel_by_peer(a, peer, now);
	if (!c || c->permitted <= now || c->own || !turn_hop(&mark))
		return false;
	turn_count_relayed(a, TURN_DOWN, count_of(run), run->n);
	send_down(a, c->number, run, mark);
	return true;
}
