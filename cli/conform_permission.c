/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of permissions (RFC 8656 9 and 10): by address and not by port, all or none of a request,
 * each allocation's own. What a server must not let anybody reach is in conform_safety.c. Their expiry
 * after five minutes is not waited for.
 */
#include "cli/conform.h"

static struct addr somewhere(unsigned i) /* permitted only, never sent to */
{
	return addr_v4(0x08080800 + i, 9);
}

static void is_granted(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);

	permit(c, &p->at);
}

static void no_peer(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin(c, STUN_CREATE_PERMISSION);
	sign(c);
	ask(c);
	want_error(c, 400);
}

static void no_allocation(struct talk *t)
{
	struct client *c = client_open(t);
	struct addr peer = somewhere(8);

	try_permit(c, &peer);
	want_error(c, 437);
}

static void several(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin(c, STUN_CREATE_PERMISSION);
	for (unsigned i = 1; i <= 5; i++) {
		struct addr peer = somewhere(i);
		stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, &peer);
	}
	sign(c);
	ask(c);
	want_success(c);
}

static void again(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(8);

	for (int i = 0; i < 3; i++)
		permit(c, &peer);
}

static void repeated(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(8);

	permit(c, &peer);
	c->answered = false;
	ask(c); /* the very same bytes */
	want_success(c);
}

static void other_family(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer;

	(void)addr_parse(TEXT("2001:4860:4860::8888"), 9, &peer);
	try_permit(c, &peer);
	want_error(c, 443);
}

static void v4_on_v6(struct talk *t)
{
	struct client *c = client_open(t);
	struct addr peer = somewhere(8);

	allocate_v6(c);
	try_permit(c, &peer);
	want_error(c, 443);
}

static void malformed(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin(c, STUN_CREATE_PERMISSION);
	if (t->row->arg[0] == 's')
		stun_put_raw(&c->w, 0x0012, "\0\1\x21", 3);
	else
		stun_put_raw(&c->w, 0x0012, "\0\7\x21\x12\x29\x1a\xac\x4a", 8);
	sign(c);
	(void)ask_once(c);
	want_either(c, 400, 443);
}

static void unknown_attribute(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = somewhere(8);

	begin(c, STUN_CREATE_PERMISSION);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, &peer);
	stun_put_raw(&c->w, 0x7f01, NULL, 0);
	sign(c);
	ask(c);
	want_unknown(c, 0x7f01);
}

static void as_indication(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);

	begin_class(c, STUN_CREATE_PERMISSION, STUN_INDICATION);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, &p->at);
	sign(c);
	(void)ask_once(c);
	want_silence(c);
	send_indication(c, &p->at, "x", 1);
	want_nothing_at_peer(p);
}

/* ---- what they let through ---- */

static void nothing_out_without(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);

	send_indication(c, &p->at, "x", 1);
	want_nothing_at_peer(p);
}

static void nothing_in_without(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);

	conform_peer_send(p, c, "x", 1);
	want_no_data(c);
}

static void in_with(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);

	permit(c, &p->at);
	conform_peer_send(p, c, "hello", 5);
	want_data(c, p, "hello", 5);
}

static void port_does_not_count(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);
	struct addr at = p->at;

	addr_set_port(&at, t->row->arg ? 0 : (uint16_t)(addr_port(&p->at) ^ 1));
	permit(c, &at);
	conform_peer_send(p, c, "hello", 5);
	want_data(c, p, "hello", 5);
	send_indication(c, &p->at, "hello", 5);
	want_at_peer(p, c, "hello", 5);
}

static void each_has_its_own(struct talk *t)
{
	struct client *a = client_allocated(t), *b = client_allocated(t);
	struct peer *p = peer_open(a);

	permit(a, &p->at);
	conform_peer_send(p, b, "x", 1);
	want_no_data(b);
}

static void all_or_none(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);
	struct addr v6;

	(void)addr_parse(TEXT("2001:4860:4860::8888"), 9, &v6);
	begin(c, STUN_CREATE_PERMISSION);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, &p->at);
	stun_put_addr(&c->w, STUN_A_XOR_PEER_ADDRESS, &v6);
	sign(c);
	ask(c);
	want_error(c, 443);
	conform_peer_send(p, c, "x", 1);
	want_no_data(c);
}

static void another_address(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);
	struct addr other = somewhere(8);

	permit(c, &other);
	send_indication(c, &p->at, "x", 1);
	want_nothing_at_peer(p);
	conform_peer_send(p, c, "x", 1);
	want_no_data(c);
}

#define RELAY NEED_RELAY
#define PEER (NEED_RELAY | NEED_PEER)
/* clang-format off */
static const struct check_row rows[] = {
	{ "permission",          "RFC 8656 10.2", "CreatePermission for a peer is granted", PEER, is_granted, NULL },
	{ "permission-no-peer",  "RFC 8656 10.2", "CreatePermission without a peer gets 400", RELAY, no_peer, NULL },
	{ "permission-nothing",  "RFC 8656 5",    "CreatePermission without an allocation gets 437", RELAY, no_allocation, NULL },
	{ "permission-several",  "RFC 8656 10.2", "five peers in one request are granted", RELAY, several, NULL },
	{ "permission-again",    "RFC 8656 9",    "a permission can be refreshed", RELAY, again, NULL },
	{ "permission-repeated", "RFC 8656 5",    "a repeated CreatePermission gets success again", RELAY, repeated, NULL },
	{ "permission-family",   "RFC 8656 10.2", "an IPv6 peer of an IPv4 allocation gets 443", RELAY, other_family, NULL },
	{ "permission-family-v6", "RFC 8656 10.2", "an IPv4 peer of an IPv6 allocation gets 443", RELAY | NEED_V6, v4_on_v6, NULL },
	{ "permission-short",    "RFC 8656 18.3", "an XOR-PEER-ADDRESS of three bytes gets 400", RELAY, malformed, "short" },
	{ "permission-strange",  "RFC 8656 18.3", "an XOR-PEER-ADDRESS of an unknown family gets 400 or 443", RELAY, malformed, "family" },
	{ "permission-unknown",  "RFC 8489 6.3.1", "CreatePermission with an unknown attribute gets 420", RELAY, unknown_attribute, NULL },
	{ "permission-indication", "RFC 8489 6.3", "CreatePermission as an indication gives nothing", PEER, as_indication, NULL },
	{ "permission-in",       "RFC 8656 11.3", "a permitted peer's datagram comes as a Data indication", PEER, in_with, NULL },
	{ "no-permission-out",   "RFC 8656 11.2", "a Send indication without a permission is dropped", PEER, nothing_out_without, NULL },
	{ "no-permission-in",    "RFC 8656 11.3", "a peer's datagram without a permission is dropped", PEER, nothing_in_without, NULL },
	{ "permission-other",    "RFC 8656 9",    "a permission for one address is none for another", PEER, another_address, NULL },
	{ "permission-port",     "RFC 8656 9",    "the port of a permission does not count", PEER, port_does_not_count, NULL },
	{ "permission-port-0",   "RFC 8656 10.2", "port 0 in CreatePermission is fine", PEER | ADVISORY, port_does_not_count, "0" },
	{ "permission-own",      "RFC 8656 9",    "one allocation's permission is none of another's", PEER, each_has_its_own, NULL },
	{ "permission-all-or-none", "RFC 8656 10.2", "a request with one bad peer gives no permission at all", PEER, all_or_none, NULL },
};
/* clang-format on */
const struct check_area conform_permission = { "permission", rows, ARRAY_LEN(rows) };
