/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TURN core in conversation: the input is a list of events (datagrams of strangers and clients,
 * requests signed with a good password around arbitrary attributes, peers' datagrams, time, ends of
 * connections). Whatever happens: nothing is sent to a peer that the rules forbid, what is sent to
 * clients can be parsed, and at the end every socket and every count is given back.
 */
#include "tests/scenario/turn_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum happening { STRANGER, CLIENT, SIGNED, PEER, TIME, STREAM, STREAM_SIGNED, GONE, EVENTS };

static const char *const peers[] = { "9.9.9.9:53", "9.9.9.8:1", "[2a00::9]:53", "10.0.0.1:1",
				     "198.51.100.10:50000" };

static void look_at(struct world *w)
{
	struct sent s;
	struct stun_msg m;

	while (take(w, &s)) {
		if (s.to_peer) {
			bool own = turn_policy_is_own(w->policy, turn_policy_realm(w->policy, 0), &s.to);
			if (own ? !turn_totals_is_relay(w->totals, &s.to)
				: !turn_policy_peer(w->policy, turn_policy_realm(w->policy, 0), &s.to).allowed)
				abort();
		} else if (s.n < 4 || (s.data[0] < 0x40 && stun_parse(s.data, s.n, &m) != STUN_OK)) {
			abort();
		}
		free(s.data);
	}
}

static void signed_request(struct client *c, struct rd *r)
{
	static const enum stun_method methods[] = {
		STUN_ALLOCATE,	   STUN_REFRESH, STUN_CREATE_PERMISSION,
		STUN_CHANNEL_BIND, STUN_BINDING, STUN_CONNECT,
	};

	begin(c, methods[rd_u8(r) % ARRAY_LEN(methods)]);
	size_t n = MIN(rd_left(r) & ~(size_t)3, (size_t)1024);
	wr_bytes(&c->sw.w, rd_take(r, n), n);
	ask(c);
}

static void peer_event(struct world *w, const struct client *c, struct rd *r)
{
	const struct addr *relay = addr_family(&c->relay) == AF_UNSPEC ? &c->relay6 : &c->relay;
	const char *peer = peers[rd_u8(r) % ARRAY_LEN(peers)];
	size_t n = rd_left(r);
	uint8_t *block = malloc(4 + n);
	struct addr at = *relay;

	if (!block)
		abort();
	if (n)
		memcpy(block + 4, rd_take(r, n), n);
	if (turn_totals_is_relay(w->totals, &at))
		peer_sends(w, &at, peer,
			   &(struct turn_packet){ .data = block + 4,
						  .n = n,
						  .mark = DGRAM_MARK_NONE,
						  .headroom = n & 1 });
	free(block);
}

/* As it is, in a block of exactly its size. */
static void datagram(struct client *c, struct rd *r)
{
	size_t n = rd_left(r);
	uint8_t *block = malloc(n ? n : 1);

	if (!block)
		abort();
	memcpy(block, rd_take(r, n), n);
	turn_input(c->w->server, &c->path,
		   &(struct turn_packet){ .data = block, .n = n, .mark = DGRAM_MARK_NONE }, c->w->now);
	free(block);
}

static void happen(struct world *w, struct client *all, enum happening e, struct rd *r)
{
	struct client *stranger = &all[0], *udp = &all[1], *tcp = &all[2];

	switch (e) {
	case STRANGER: datagram(stranger, r); break;
	case CLIENT: datagram(udp, r); break;
	case SIGNED: signed_request(udp, r); break;
	case PEER: peer_event(w, rd_left(r) & 1 ? udp : tcp, r); break;
	case TIME: world_wait(w, rd_u16(r) * UINT64_C(20)); break;
	case STREAM: datagram(tcp, r); break;
	case STREAM_SIGNED: signed_request(tcp, r); break;
	default: turn_path_gone(w->server, &tcp->path, w->now); break;
	}
	look_at(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct rd r = rd_init(data, size);

	world_config(&w);
	world_start(&w);
	struct client all[] = {
		client_udp(&w, "192.0.2.9:9", "bob"),
		client_udp(&w, "192.0.2.1:4000", "alice"),
		client_tcp(&w, "192.0.2.1:4000", "alice"),
	};
	allocate(&all[1]);
	allocate(&all[2]);
	bind_channel(&all[1], 0x4000, peers[0]);
	permit(&all[2], peers[0]);
	while (rd_left(&r) >= 3) {
		enum happening e = rd_u8(&r) % EVENTS;
		size_t n = rd_u16(&r);
		struct rd event = rd_sub(&r, MIN(n, rd_left(&r)));
		happen(&w, all, e, &event);
	}
	world_stop(&w);
	return 0;
}
