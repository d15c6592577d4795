/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of Send and Data indications (RFC 8656 11): both ways unchanged, what is dropped and that it is
 * dropped without a word, relaying between two allocations, ICMP errors. Dropped means that nothing
 * arrives within the run's quiet time.
 */
#include <string.h>
#include <unistd.h>
#include "cli/conform.h"

struct pair {
	struct client *c;
	struct peer *p;
};

static struct pair permitted(struct talk *t)
{
	struct pair d;

	d.c = client_allocated(t);
	d.p = peer_open(d.c);
	permit(d.c, &d.p->at);
	return d;
}

static void out(struct talk *t)
{
	struct pair d = permitted(t);

	send_indication(d.c, &d.p->at, "hello, peer", 11);
	want_at_peer(d.p, d.c, "hello, peer", 11);
}

static void in(struct talk *t)
{
	struct pair d = permitted(t);

	conform_peer_send(d.p, d.c, "hello, client", 13);
	want_data(d.c, d.p, "hello, client", 13);
}

static void every_length(struct talk *t)
{
	struct pair d = permitted(t);
	uint8_t data[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };

	for (size_t n = 1; n <= sizeof data; n++) {
		send_indication(d.c, &d.p->at, data, n);
		want_at_peer(d.p, d.c, data, n);
		conform_peer_send(d.p, d.c, data, n);
		want_data(d.c, d.p, data, n);
	}
}

static void large(struct talk *t)
{
	struct pair d = permitted(t);
	uint8_t data[1300];

	memset(data, 0x5a, sizeof data);
	send_indication(d.c, &d.p->at, data, sizeof data);
	want_at_peer(d.p, d.c, data, sizeof data);
	conform_peer_send(d.p, d.c, data, sizeof data);
	want_data(d.c, d.p, data, sizeof data);
}

static void empty_out(struct talk *t)
{
	struct pair d = permitted(t);

	send_indication(d.c, &d.p->at, "", 0);
	want_at_peer(d.p, d.c, "", 0);
}

static void empty_in(struct talk *t)
{
	struct pair d = permitted(t);

	conform_peer_send(d.p, d.c, "", 0);
	want_data(d.c, d.p, "", 0);
}

static void without_data(struct talk *t)
{
	struct pair d = permitted(t);

	begin_class(d.c, STUN_SEND, STUN_INDICATION);
	stun_put_addr(&d.c->w, STUN_A_XOR_PEER_ADDRESS, &d.p->at);
	(void)ask_once(d.c);
	want_silence(d.c);
	want_nothing_at_peer(d.p);
}

static void without_peer(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin_class(c, STUN_SEND, STUN_INDICATION);
	stun_put(&c->w, STUN_A_DATA, "x", 1);
	(void)ask_once(c);
	want_silence(c);
	want_still(c);
}

static void without_allocation(struct talk *t)
{
	struct client *c = client_open(t);
	struct addr peer = addr_v4(0x08080808, 9);

	send_indication(c, &peer, "x", 1);
	want_silence(c);
	want_still(c);
}

static void unknown_required(struct talk *t)
{
	struct pair d = permitted(t);

	begin_class(d.c, STUN_SEND, STUN_INDICATION);
	stun_put_addr(&d.c->w, STUN_A_XOR_PEER_ADDRESS, &d.p->at);
	stun_put(&d.c->w, STUN_A_DATA, "x", 1);
	stun_put_raw(&d.c->w, 0x7f01, NULL, 0);
	tell(d.c);
	want_silence(d.c);
	want_nothing_at_peer(d.p);
}

static void unknown_optional(struct talk *t)
{
	struct pair d = permitted(t);

	begin_class(d.c, STUN_SEND, STUN_INDICATION);
	stun_put_addr(&d.c->w, STUN_A_XOR_PEER_ADDRESS, &d.p->at);
	stun_put_raw(&d.c->w, 0xff01, "1234", 4);
	stun_put(&d.c->w, STUN_A_DATA, "x", 1);
	tell(d.c);
	want_at_peer(d.p, d.c, "x", 1);
}

static void dont_fragment(struct talk *t)
{
	struct pair d = permitted(t);

	begin_class(d.c, STUN_SEND, STUN_INDICATION);
	stun_put_addr(&d.c->w, STUN_A_XOR_PEER_ADDRESS, &d.p->at);
	stun_put_flag(&d.c->w, STUN_A_DONT_FRAGMENT);
	stun_put(&d.c->w, STUN_A_DATA, "whole", 5);
	tell(d.c);
	want_at_peer(d.p, d.c, "whole", 5);
}

static void data_from_the_client(struct talk *t)
{
	struct pair d = permitted(t);

	begin_class(d.c, STUN_DATA, STUN_INDICATION);
	stun_put_addr(&d.c->w, STUN_A_XOR_PEER_ADDRESS, &d.p->at);
	stun_put(&d.c->w, STUN_A_DATA, "x", 1);
	tell(d.c);
	want_nothing_at_peer(d.p);
	want_still(d.c);
}

static void many_once_each(struct talk *t)
{
	struct pair d = permitted(t);

	for (uint8_t i = 0; i < 20; i++) {
		conform_peer_send(d.p, d.c, &i, 1);
		want_data(d.c, d.p, &i, 1);
	}
	want_no_data(d.c);
}

static void two_peers(struct talk *t)
{
	struct pair d = permitted(t);
	struct peer *second = peer_open(d.c);

	permit(d.c, &second->at);
	conform_peer_send(second, d.c, "two", 3);
	want_data(d.c, second, "two", 3);
	conform_peer_send(d.p, d.c, "one", 3);
	want_data(d.c, d.p, "one", 3);
}

/* The relayed address of one client as the other's peer. */
static void between_allocations(struct talk *t)
{
	struct client *a = client_allocated(t), *b = client_allocated(t);
	struct data_in d;

	try_permit(a, &b->relayed);
	if (going_on(t) && error_code(a) == 403) {
		skip(t, "the server does not allow its relayed addresses as peers");
		return;
	}
	want_success(a);
	permit(b, &a->relayed);
	send_indication(a, &b->relayed, "hello", 5);
	want(t, next_data(b, &d) && d.n == 5 && memcmp(d.p, "hello", 5) == 0, "nothing came from the other allocation");
	want(t, !going_on(t) || addr_equal(&d.peer, &a->relayed), "XOR-PEER-ADDRESS is not the other's relayed address");
}

static void v6_between_allocations(struct talk *t)
{
	struct client *a = client_open(t), *b = client_open(t);
	struct data_in d;

	allocate_v6(a);
	allocate_v6(b);
	try_permit(a, &b->relayed6);
	if (going_on(t) && error_code(a) == 403) {
		skip(t, "the server does not allow its relayed addresses as peers");
		return;
	}
	want_success(a);
	permit(b, &a->relayed6);
	send_indication(a, &b->relayed6, "hello", 5);
	want(t, next_data(b, &d) && d.n == 5 && memcmp(d.p, "hello", 5) == 0, "nothing came from the other allocation");
	want(t, !going_on(t) || addr_equal(&d.peer, &a->relayed6), "XOR-PEER-ADDRESS is not the other's relayed address");
}

static void closed_port(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);
	struct data_in d;

	permit(c, &p->at);
	if (!going_on(t))
		return;
	io_stop(&p->io); /* and nobody listens there */
	close(p->io.fd);
	p->io.fd = -1;
	for (int i = 0; i < 2; i++) {
		send_indication(c, &p->at, "x", 1);
		if (next_data(c, &d))
			break;
	}
	want(t, !going_on(t) || (d.m.method == STUN_DATA && stun_has(&d.m, STUN_A_ICMP)),
	     "no Data indication with ICMP came");
	want(t, !going_on(t) || addr_equal(&d.peer, &p->at), "its XOR-PEER-ADDRESS is not the peer's address");
	/* The figure of 18.13 has 7 bits for the type and 9 for the code; some write an octet each. */
	uint16_t v = going_on(t) ? load_be16(d.m.attr[STUN_A_ICMP].p + 2) : 0;
	want(t, v == (3 << 9 | 3) || v == (3 << 8 | 3), "its type and code are not \"port unreachable\"");
}

#define PEER (NEED_RELAY | NEED_PEER)
/* clang-format off */
static const struct check_row rows[] = {
	{ "send",                "RFC 8656 11.2", "a Send indication reaches the peer, from the relayed address", PEER, out, NULL },
	{ "data",                "RFC 8656 11.3", "a Data indication has the peer's address and its payload", PEER, in, NULL },
	{ "data-lengths",        "RFC 8656 11",   "lengths 1 to 9 arrive unchanged both ways", PEER, every_length, NULL },
	{ "data-large",          "RFC 8656 11",   "1300 bytes arrive unchanged both ways", PEER, large, NULL },
	{ "send-empty",          "RFC 8656 18.4", "a Send indication with empty DATA is an empty datagram", PEER, empty_out, NULL },
	{ "data-empty",          "RFC 8656 18.4", "a peer's empty datagram is a Data indication with empty DATA", PEER, empty_in, NULL },
	{ "send-no-data",        "RFC 8656 11.2", "a Send indication without DATA is dropped", PEER, without_data, NULL },
	{ "send-no-peer",        "RFC 8656 11.2", "a Send indication without XOR-PEER-ADDRESS is dropped", NEED_RELAY, without_peer, NULL },
	{ "send-nothing",        "RFC 8656 11.2", "a Send indication without an allocation is dropped", 0, without_allocation, NULL },
	{ "send-unknown",        "RFC 8489 6.3.2", "a Send indication with an unknown comprehension-required attribute is dropped", PEER, unknown_required, NULL },
	{ "send-unknown-optional", "RFC 8489 6.3.2", "an unknown comprehension-optional attribute in it is ignored", PEER, unknown_optional, NULL },
	{ "send-dont-fragment",  "RFC 8656 11.2", "a Send indication with DONT-FRAGMENT is relayed", PEER | NEED_DF, dont_fragment, NULL },
	{ "data-from-client",    "RFC 8656 11.4", "a Data indication from a client is dropped", PEER, data_from_the_client, NULL },
	{ "data-once",           "RFC 8656 11.3", "twenty datagrams come once each", PEER, many_once_each, NULL },
	{ "data-two-peers",      "RFC 8656 11.3", "two ports of one address are told apart", PEER, two_peers, NULL },
	{ "relay-to-relay",      "RFC 8656 3",    "two clients of the server reach each other by their relayed addresses", NEED_RELAY, between_allocations, NULL },
	{ "relay-to-relay-v6",   "RFC 8656 3",    "with IPv6 too", NEED_RELAY | NEED_V6, v6_between_allocations, NULL },
	{ "icmp",                "RFC 8656 11.5", "a closed port at the peer is told by a Data indication with ICMP", NEED_RELAY | NEED_SOCKET | ADVISORY, closed_port, NULL },
};
/* clang-format on */
const struct check_area conform_data = { "data", rows, ARRAY_LEN(rows) };
