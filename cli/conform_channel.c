/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of channels (RFC 8656 12): what may be bound to what, that a channel is a permission too, and
 * ChannelData with every length and padding, on datagrams and on streams. How frames are cut out of a
 * stream is in conform_stream.c.
 */
#include <string.h>
#include "cli/conform.h"

static struct addr somewhere(unsigned i) /* bound only, never sent to */
{
	return addr_v4(0x08080800 + i, 9);
}

/* ---- ChannelBind ---- */

static void number_is_accepted(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(8);
	uint64_t number = 0;

	(void)text_u64_hex(text_of(t->row->arg), &number);
	bind_channel(c, (unsigned)number, &peer);
}

static void number_is_refused(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(8);
	uint64_t number = 0;

	(void)text_u64_hex(text_of(t->row->arg), &number);
	try_bind_channel(c, (unsigned)number, &peer);
	want_error(c, 400);
}

static void no_number(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(8);

	begin(c, STUN_CHANNEL_BIND);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, &peer);
	sign(c);
	ask(c);
	want_error(c, 400);
}

static void short_number(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(8);

	begin(c, STUN_CHANNEL_BIND);
	stun_put_raw(&c->w, 0x000c, "\x40\0", 2);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, &peer);
	sign(c);
	ask(c);
	want_error(c, 400);
}

static void no_peer(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin(c, STUN_CHANNEL_BIND);
	put_channel(c, 0x4000);
	sign(c);
	ask(c);
	want_error(c, 400);
}

static void no_allocation(struct talk *t)
{
	struct client *c = client_open(t);
	struct addr peer = somewhere(8);

	try_bind_channel(c, 0x4000, &peer);
	want_error(c, 437);
}

static void number_of_another(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr one = somewhere(1), two = somewhere(2);

	bind_channel(c, 0x4000, &one);
	try_bind_channel(c, 0x4000, &two);
	want_error(c, 400);
}

static void number_of_another_port(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(1);

	bind_channel(c, 0x4000, &peer);
	addr_set_port(&peer, 10);
	try_bind_channel(c, 0x4000, &peer);
	want_error(c, 400);
}

static void peer_of_another(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(1);

	bind_channel(c, 0x4000, &peer);
	try_bind_channel(c, 0x4001, &peer);
	want_error(c, 400);
}

static void two_ports_two_numbers(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(1);

	bind_channel(c, 0x4000, &peer);
	addr_set_port(&peer, 10);
	bind_channel(c, 0x4001, &peer);
}

static void again(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(1);

	for (int i = 0; i < 3; i++)
		bind_channel(c, 0x4000, &peer);
}

static void repeated(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(1);

	bind_channel(c, 0x4000, &peer);
	c->answered = false;
	ask(c); /* the very same bytes */
	want_success(c);
}

static void each_has_its_own(struct talk *t)
{
	struct client *a = client_allocated(t), *b = client_allocated(t);
	struct addr one = somewhere(1), two = somewhere(2);

	bind_channel(a, 0x4000, &one);
	bind_channel(b, 0x4000, &two);
}

static void other_family(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer;

	(void)addr_parse(TEXT("2001:4860:4860::8888"), 9, &peer);
	try_bind_channel(c, 0x4000, &peer);
	want_error(c, 443);
}

static void reserved_bits(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(1);

	begin(c, STUN_CHANNEL_BIND);
	stun_put_u32(&c->w, STUN_A_CHANNEL_NUMBER, 0x4000ffff);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, &peer);
	sign(c);
	ask(c);
	want_success(c);
}

static void unknown_attribute(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(1);

	begin(c, STUN_CHANNEL_BIND);
	put_channel(c, 0x4000);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, &peer);
	stun_put_raw(&c->w, 0x7f01, NULL, 0);
	sign(c);
	ask(c);
	want_unknown(c, 0x7f01);
}

/* ---- ChannelData ---- */

struct bound {
	struct client *c;
	struct peer *p;
};

static struct bound bound(struct talk *t)
{
	struct bound b;

	b.c = client_allocated(t);
	b.p = peer_open(b.c);
	bind_channel(b.c, 0x4abc, &b.p->at);
	return b;
}

static void out(struct talk *t)
{
	struct bound b = bound(t);

	send_channel(b.c, 0x4abc, "hello, peer", 11);
	want_at_peer(b.p, b.c, "hello, peer", 11);
}

static void in(struct talk *t)
{
	struct bound b = bound(t);

	conform_peer_send(b.p, b.c, "hello, client", 13);
	want_channel_data(b.c, 0x4abc, "hello, client", 13);
}

static void every_length(struct talk *t)
{
	struct bound b = bound(t);
	uint8_t data[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

	for (size_t n = 1; n <= sizeof data; n++) {
		send_channel(b.c, 0x4abc, data, n);
		want_at_peer(b.p, b.c, data, n);
		conform_peer_send(b.p, b.c, data, n);
		want_channel_data(b.c, 0x4abc, data, n);
	}
}

static void large(struct talk *t)
{
	struct bound b = bound(t);
	uint8_t data[1400];

	memset(data, 0x5a, sizeof data);
	send_channel(b.c, 0x4abc, data, sizeof data);
	want_at_peer(b.p, b.c, data, sizeof data);
	conform_peer_send(b.p, b.c, data, sizeof data);
	want_channel_data(b.c, 0x4abc, data, sizeof data);
}

static void empty_out(struct talk *t)
{
	struct bound b = bound(t);

	send_channel(b.c, 0x4abc, "", 0);
	want_at_peer(b.p, b.c, "", 0);
}

static void empty_in(struct talk *t)
{
	struct bound b = bound(t);

	conform_peer_send(b.p, b.c, "", 0);
	want_channel_data(b.c, 0x4abc, "", 0);
}

static void padded_datagram(struct talk *t)
{
	struct bound b = bound(t);

	send_bytes(b.c, "\x4a\xbc\0\1x\0\0\0", 8);
	want_at_peer(b.p, b.c, "x", 1);
}

static void length_past_the_end(struct talk *t)
{
	struct bound b = bound(t);

	send_bytes(b.c, "\x4a\xbc\0\x20short", 9);
	want_nothing_at_peer(b.p);
	want_still(b.c);
}

static void head_cut_short(struct talk *t)
{
	struct bound b = bound(t);

	send_bytes(b.c, "\x4a\xbc\0", 3);
	want_nothing_at_peer(b.p);
	want_still(b.c);
}

static void not_bound(struct talk *t)
{
	struct bound b = bound(t);

	send_channel(b.c, 0x4abd, "x", 1);
	want_nothing_at_peer(b.p);
	want_still(b.c);
}

static void of_another_client(struct talk *t)
{
	struct bound b = bound(t);
	struct client *other = client_open(t);

	want_still(other); /* a stream that begins with ChannelData may be taken for another protocol */
	send_channel(other, 0x4abc, "x", 1);
	want_nothing_at_peer(b.p);
	want_still(other);
}

static void is_a_permission(struct talk *t)
{
	struct bound b = bound(t);
	struct peer *second = peer_open(b.c); /* the same address, another port */

	if (!going_on(t))
		return;
	if (!addr_equal_ip(&b.p->at, &second->at)) {
		skip(t, "the second peer has another address");
		return;
	}
	conform_peer_send(second, b.c, "hello", 5);
	want_data(b.c, second, "hello", 5);
}

static void send_to_a_bound_peer(struct talk *t)
{
	struct bound b = bound(t);

	send_indication(b.c, &b.p->at, "by Send", 7);
	want_at_peer(b.p, b.c, "by Send", 7);
}

static void many_in_order(struct talk *t)
{
	struct bound b = bound(t);

	for (uint8_t i = 0; i < 20; i++) {
		send_channel(b.c, 0x4abc, &i, 1);
		want_at_peer(b.p, b.c, &i, 1);
	}
}

static void both_channels(struct talk *t)
{
	struct bound b = bound(t);
	struct peer *second = peer_open(b.c);

	bind_channel(b.c, 0x4abd, &second->at);
	conform_peer_send(second, b.c, "two", 3);
	want_channel_data(b.c, 0x4abd, "two", 3);
	conform_peer_send(b.p, b.c, "one", 3);
	want_channel_data(b.c, 0x4abc, "one", 3);
}

#define RELAY NEED_RELAY
#define PEER (NEED_RELAY | NEED_PEER)
/* clang-format off */
static const struct check_row rows[] = {
	{ "channel-first",       "RFC 8656 12.2", "channel 0x4000 can be bound", RELAY, number_is_accepted, "4000" },
	{ "channel-last",        "RFC 8656 12.2", "channel 0x4fff can be bound", RELAY, number_is_accepted, "4fff" },
	{ "channel-below",       "RFC 8656 12.2", "channel 0x3fff gets 400", RELAY, number_is_refused, "3fff" },
	{ "channel-zero",        "RFC 8656 12.2", "channel 0 gets 400", RELAY, number_is_refused, "0" },
	{ "channel-reserved",    "RFC 8656 12.2", "channel 0x5000, good in RFC 5766 and reserved since, gets 400", RELAY | ADVISORY, number_is_refused, "5000" },
	{ "channel-8000",        "RFC 8656 12.2", "channel 0x8000 gets 400", RELAY, number_is_refused, "8000" },
	{ "channel-ffff",        "RFC 8656 12.2", "channel 0xffff gets 400", RELAY, number_is_refused, "ffff" },
	{ "channel-no-number",   "RFC 8656 12.2", "ChannelBind without CHANNEL-NUMBER gets 400", RELAY, no_number, NULL },
	{ "channel-short",       "RFC 8656 18.1", "a CHANNEL-NUMBER of two bytes gets 400", RELAY, short_number, NULL },
	{ "channel-no-peer",     "RFC 8656 12.2", "ChannelBind without XOR-PEER-ADDRESS gets 400", RELAY, no_peer, NULL },
	{ "channel-nothing",     "RFC 8656 5",    "ChannelBind without an allocation gets 437", RELAY, no_allocation, NULL },
	{ "channel-taken",       "RFC 8656 12.2", "a number bound to another peer gets 400", RELAY, number_of_another, NULL },
	{ "channel-taken-port",  "RFC 8656 12.2", "a number bound to another port of the peer gets 400", RELAY, number_of_another_port, NULL },
	{ "channel-peer-taken",  "RFC 8656 12.2", "a peer bound to another number gets 400", RELAY, peer_of_another, NULL },
	{ "channel-ports",       "RFC 8656 12",   "two ports of one address have a channel each", RELAY, two_ports_two_numbers, NULL },
	{ "channel-again",       "RFC 8656 12.2", "a binding can be refreshed", RELAY, again, NULL },
	{ "channel-repeated",    "RFC 8656 5",    "a repeated ChannelBind gets success again", RELAY, repeated, NULL },
	{ "channel-own",         "RFC 8656 12",   "two allocations may use one number for different peers", RELAY, each_has_its_own, NULL },
	{ "channel-family",      "RFC 8656 12.2", "an IPv6 peer of an IPv4 allocation gets 443", RELAY, other_family, NULL },
	{ "channel-rffu",        "RFC 8656 18.1", "the reserved bits of CHANNEL-NUMBER are ignored", RELAY, reserved_bits, NULL },
	{ "channel-unknown",     "RFC 8489 6.3.1", "ChannelBind with an unknown attribute gets 420", RELAY, unknown_attribute, NULL },
	{ "channel-out",         "RFC 8656 12.6", "ChannelData reaches the peer, from the relayed address", PEER, out, NULL },
	{ "channel-in",          "RFC 8656 12.7", "a bound peer's datagram comes as ChannelData", PEER, in, NULL },
	{ "channel-lengths",     "RFC 8656 12.5", "lengths 1 to 9 arrive unchanged both ways, whatever the padding", PEER, every_length, NULL },
	{ "channel-large",       "RFC 8656 12.6", "1400 bytes arrive unchanged both ways", PEER, large, NULL },
	{ "channel-empty-out",   "RFC 8656 12.6", "ChannelData of length 0 is relayed as an empty datagram", PEER, empty_out, NULL },
	{ "channel-empty-in",    "RFC 8656 12.7", "a peer's empty datagram comes as ChannelData of length 0", PEER, empty_in, NULL },
	{ "channel-padded",      "RFC 8656 12.5", "padding in a datagram is not relayed", PEER | NEED_DATAGRAM, padded_datagram, NULL },
	{ "channel-too-long",    "RFC 8656 12.6", "ChannelData whose length passes the datagram's end is dropped", PEER | NEED_DATAGRAM, length_past_the_end, NULL },
	{ "channel-head",        "RFC 8656 12.4", "three bytes of ChannelData are dropped", PEER | NEED_DATAGRAM, head_cut_short, NULL },
	{ "channel-unbound",     "RFC 8656 12.6", "ChannelData of an unbound number is dropped", PEER, not_bound, NULL },
	{ "channel-elsewhere",   "RFC 8656 12.6", "ChannelData of a client without an allocation is dropped", PEER, of_another_client, NULL },
	{ "channel-permission",  "RFC 8656 12.2", "a channel is a permission for the peer's other ports too", PEER, is_a_permission, NULL },
	{ "channel-send",        "RFC 8656 12",   "Send indications go on to a bound peer", PEER, send_to_a_bound_peer, NULL },
	{ "channel-order",       "RFC 8656 12.6", "twenty messages arrive once each", PEER, many_in_order, NULL },
	{ "channel-two",         "RFC 8656 12.7", "two bound peers come on their own channels", PEER, both_channels, NULL },
};
/* clang-format on */
const struct check_area conform_channel = { "channel", rows, ARRAY_LEN(rows) };
