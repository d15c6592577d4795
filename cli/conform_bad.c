/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad input: whatever a stranger sends, the server answers the next good request, and an allocation of
 * the same five-tuple lives on. Nothing is expected of the answers to what is bad, but that no request
 * succeeds that should not. On streams each piece has a connection of its own, since it may be closed.
 */
#include <string.h>
#include "cli/conform.h"
#include "common/clock.h"

static void random_bytes(struct talk *t)
{
	struct client *c = client_open(t);
	uint8_t junk[512];

	for (size_t i = 0; i < 100 && !c->closed; i++) {
		(void)bytes_random(junk, sizeof junk);
		send_bytes(c, junk, 1 + i * 5);
	}
	want_alive(t);
}

static void random_stun(struct talk *t)
{
	struct client *c = client_open(t);
	uint8_t junk[200];

	for (size_t i = 0; i < 100 && !c->closed; i++) {
		begin(c, (enum stun_method)(i % 16));
		(void)bytes_random(junk, sizeof junk);
		wr_bytes(&c->w.w, junk, 4 * (i % 50));
		tell(c);
	}
	want_alive(t);
}

/* A real Allocate, whole and signed, cut or changed in each place. */
static void every_cut(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	sign(c);
	finish(c);
	for (size_t n = 0; n < c->out_n; n++) {
		if (n >= STUN_HEADER_LEN)
			store_be16(c->out + 2, (uint16_t)((n - STUN_HEADER_LEN) & ~(size_t)3));
		send_bytes(c, c->out, n);
	}
	want_alive(t);
}

static void every_bit(struct talk *t)
{
	struct client *c = client_open(t);

	challenge(c);
	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	sign(c);
	finish(c);
	for (size_t i = STUN_HEADER_LEN; i < c->out_n && going_on(t); i++) {
		c->out[i] ^= 1;
		send_bytes(c, c->out, c->out_n);
		c->out[i] ^= 1;
	}
	(void)talk_wait(t, clock_steady_ms() + t->s->quiet_ms);
	for (unsigned i = 0; i < c->in.n; i++)
		want(t, load_be16(c->in.v[i].p) != stun_type(STUN_ALLOCATE, STUN_SUCCESS), "a changed request got an allocation");
	want_alive(t);
}

static void attribute_past_the_end(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_BINDING);
	stun_put_raw(&c->w, 0x8022, "1234", 4);
	finish(c);
	store_be16(c->out + STUN_HEADER_LEN + 2, t->row->arg[0] == 'f' ? 0xffff : 8);
	(void)ask_once(c);
	want_no_success(c);
	want_alive(t);
}

static void attribute_head_cut(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_BINDING);
	stun_put_raw(&c->w, 0x8022, "1234", 4);
	stun_put_raw(&c->w, 0x8022, NULL, 0);
	finish(c);
	store_be16(c->out + STUN_HEADER_LEN + 2, 0xfff0);
	tell(c);
	want_alive(t);
}

static void many_attributes(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_BINDING);
	for (unsigned i = 0; i < 300; i++)
		stun_put_raw(&c->w, 0x8022, NULL, 0);
	tell(c);
	want_alive(t);
}

static void many_unknown(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_BINDING);
	for (unsigned i = 0; i < 300; i++)
		stun_put_raw(&c->w, (uint16_t)(0x7000 + i), NULL, 0);
	(void)ask_once(c);
	want_no_success(c);
	want_alive(t);
}

static void many_peers(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin(c, STUN_CREATE_PERMISSION);
	for (unsigned i = 0; i < 90; i++) {
		struct addr peer = addr_v4(0x08080800 + i, 9);
		stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, &peer);
	}
	sign(c);
	ask(c); /* granted, or refused for its number: both are right */
	want_still(c);
}

static void large_datagram(struct talk *t)
{
	struct client *c = client_open(t);
	static const uint8_t zeroes[9000];

	begin(c, STUN_BINDING);
	stun_put_raw(&c->w, 0x8022, zeroes, sizeof zeroes);
	tell(c);
	want_alive(t);
}

static void empty_datagrams(struct talk *t)
{
	struct client *c = client_open(t);

	for (int i = 0; i < 5; i++)
		send_bytes(c, "", 0);
	want_still(c);
}

static void other_protocols(struct talk *t)
{
	static const uint8_t first[] = { 2, 16, 22, 63, 64, 79, 128, 191, 192, 255 };
	struct client *c = client_open(t);
	uint8_t packet[32] = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(first); i++) {
		packet[0] = first[i];
		send_bytes(c, packet, sizeof packet);
	}
	want_still(c);
}

static void credential_in_pieces(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	stun_put_raw(&c->w, 0x0006, NULL, 0);
	stun_put_raw(&c->w, 0x0014, NULL, 0);
	stun_put_raw(&c->w, 0x0015, NULL, 0);
	stun_put_raw(&c->w, 0x0008, NULL, 0);
	(void)ask_once(c);
	if (t->s->have & NEED_AUTH)
		want_no_success(c);
	want_alive(t);
}

static void zero_in_name(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	challenge(c);
	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	c->login.no_user = true;
	stun_put_raw(&c->w, 0x0006, "a\0b\0c", 5);
	sign(c);
	(void)ask_once(c);
	want_no_success(c);
	want_alive(t);
}

static void mac_first(struct talk *t)
{
	struct client *c = client_open(t);

	challenge(c);
	begin(c, STUN_ALLOCATE);
	put_mac(c);
	put_transport(c, REQUESTED_UDP);
	put_login(c);
	(void)ask_once(c);
	want_no_success(c);
	want_alive(t);
}

static void address_of_family_0(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin_class(c, STUN_SEND, STUN_INDICATION);
	stun_put_raw(&c->w, 0x0012, "\0\0\0\0\0\0\0\0", 8);
	stun_put(&c->w, STUN_A_DATA, "x", 1);
	tell(c);
	want_still(c);
}

static void port_0(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);
	struct addr at = p->at;

	permit(c, &p->at);
	addr_set_port(&at, 0);
	send_indication(c, &at, "x", 1);
	send_indication(c, &p->at, "y", 1);
	want_at_peer(p, c, "y", 1);
}

/* Everything bad that a datagram can be, on the five-tuple of a living allocation. */
static void allocation_survives(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);
	uint8_t junk[256];

	bind_channel(c, 0x4000, &p->at);
	for (size_t i = 0; i < 50; i++) {
		(void)bytes_random(junk, sizeof junk);
		junk[0] &= 0x3f;
		send_bytes(c, junk, 1 + i * 5);
	}
	send_channel(c, 0x4000, "alive", 5);
	want_at_peer(p, c, "alive", 5);
	begin(c, STUN_REFRESH);
	sign(c);
	ask(c);
	want_success(c);
}

static void foreign_release(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin(c, STUN_REFRESH); /* unsigned: anybody can send it */
	stun_put_u32(&c->w, STUN_A_LIFETIME, 0);
	ask(c);
	want_no_success(c);
	begin(c, STUN_REFRESH);
	sign(c);
	ask(c);
	want_success(c);
}

#define RELAY NEED_RELAY
/* clang-format off */
static const struct check_row rows[] = {
	{ "bad-random",          "RFC 8489 6.3",  "a hundred random messages harm nothing", 0, random_bytes, NULL },
	{ "bad-random-stun",     "RFC 8489 6.3",  "a hundred good headers with random attributes harm nothing", 0, random_stun, NULL },
	{ "bad-cuts",            "RFC 8489 6.3",  "an Allocate cut at every length harms nothing", 0, every_cut, NULL },
	{ "bad-bits",            "RFC 8489 14.5", "an Allocate with one bit changed in any byte of its body gives no allocation", NEED_AUTH, every_bit, NULL },
	{ "bad-attribute-length", "RFC 8489 14",  "an attribute of 65535 bytes in a message of 28 is not believed", ADVISORY, attribute_past_the_end, "ffff" },
	{ "bad-attribute-end",   "RFC 8489 14",   "an attribute four bytes longer than the message is not believed", ADVISORY, attribute_past_the_end, "8" },
	{ "bad-attribute-head",  "RFC 8489 14",   "an attribute that swallows those behind it harms nothing", 0, attribute_head_cut, NULL },
	{ "bad-many",            "RFC 8489 14",   "three hundred empty attributes harm nothing", 0, many_attributes, NULL },
	{ "bad-many-unknown",    "RFC 8489 6.3.1", "three hundred unknown required attributes harm nothing", 0, many_unknown, NULL },
	{ "bad-many-peers",      "RFC 8656 10.2", "a CreatePermission with ninety peers is answered", RELAY, many_peers, NULL },
	{ "bad-large",           "RFC 8489 6.2.1", "a request of 9000 bytes harms nothing", 0, large_datagram, NULL },
	{ "bad-empty",           "RFC 8489 5",    "empty datagrams harm nothing", NEED_DATAGRAM, empty_datagrams, NULL },
	{ "bad-protocols",       "RFC 7983 7",    "first bytes of DTLS, RTP, ZRTP and others harm nothing", NEED_DATAGRAM, other_protocols, NULL },
	{ "bad-empty-login",     "RFC 8489 9.2.4", "USERNAME, REALM, NONCE and integrity, all empty, are not accepted", 0, credential_in_pieces, NULL },
	{ "bad-zero-name",       "RFC 8489 14.3", "a USERNAME with zero bytes in it is not accepted", NEED_AUTH, zero_in_name, NULL },
	{ "bad-mac-first",       "RFC 8489 14.5", "a credential behind its own MESSAGE-INTEGRITY is not accepted", NEED_AUTH, mac_first, NULL },
	{ "bad-family",          "RFC 8656 18.3", "a Send indication to an address of family 0 harms nothing", RELAY, address_of_family_0, NULL },
	{ "bad-port-0",          "RFC 8656 11.2", "a Send indication to port 0 harms nothing", RELAY | NEED_PEER, port_0, NULL },
	{ "bad-and-alive",       "RFC 8489 6.3",  "an allocation lives through garbage on its own five-tuple", RELAY | NEED_PEER | NEED_DATAGRAM, allocation_survives, NULL },
	{ "bad-release",         "RFC 8656 5",    "an unsigned Refresh cannot end an allocation", RELAY | NEED_AUTH, foreign_release, NULL },
};
/* clang-format on */
const struct check_area conform_bad = { "bad", rows, ARRAY_LEN(rows) };
