/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peers that a server should not let a stranger reach, in every spelling that leads to them: its own
 * loopback, addresses that are none, link-local networks (cloud metadata lives there), groups. A relay
 * that lets one pass is a door into the network behind it. RFC 8656 9 leaves the choice to the server,
 * so only what may never be on a network (RFC 1122 3.2.1.3, RFC 4291 2.5) counts; the rest is advice.
 */
#include <string.h>
#include "cli/conform.h"

static void peer_of_row(struct talk *t, struct addr *ret_a)
{
	if (addr_parse(text_of(t->row->arg), 53, ret_a) < 0)
		fail(t, "the check's own address cannot be read");
}

static struct client *client_for(struct talk *t, const struct addr *peer)
{
	struct client *c = client_open(t);

	if (addr_family(peer) == AF_INET6)
		allocate_v6(c);
	else
		allocate(c);
	return c;
}

static void is_refused(struct talk *t)
{
	struct addr peer = { 0 };

	peer_of_row(t, &peer);
	struct client *c = client_for(t, &peer);
	try_permit(c, &peer);
	want_any_error(c);
	try_bind_channel(c, 0x4000, &peer);
	want_any_error(c);
}

static void with_403(struct talk *t)
{
	struct addr peer = { 0 };

	peer_of_row(t, &peer);
	struct client *c = client_for(t, &peer);
	try_permit(c, &peer);
	want_error(c, 403);
}

/* A Binding request by way of the relay: the server must not talk to itself. */
static void not_to_itself(struct talk *t)
{
	struct client *c = client_allocated(t);
	uint8_t request[STUN_HEADER_LEN] = { 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 's', 't', 'i', 'l', 'e' };
	struct data_in d;

	if (addr_family(&t->o->server) != AF_INET) {
		skip(t, "the server was reached by IPv6");
		return;
	}
	try_permit(c, &t->o->server);
	send_indication(c, &t->o->server, request, sizeof request);
	want(t, !next_data(c, &d), "the server answered a request that it had relayed to itself");
}

/* A refused peer stays refused: no permission, no data. */
static void refused_means_refused(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = addr_v4(0xe00000fb, 5353);

	try_bind_channel(c, 0x4001, &peer);
	if (going_on(t) && c->m.class == STUN_SUCCESS) {
		skip(t, "the server allows 224.0.0.251");
		return;
	}
	send_channel(c, 0x4001, "x", 1);
	peer = addr_v4(0x08080808, 9);
	bind_channel(c, 0x4001, &peer); /* the refused request has not taken the number */
}

#define V4 NEED_RELAY
#define V6 (NEED_RELAY | NEED_V6)
/* clang-format off */
static const struct check_row rows[] = {
	{ "peer-zero",           "RFC 1122 3.2.1.3", "0.0.0.0 is no peer", V4, is_refused, "0.0.0.0" },
	{ "peer-this-network",   "RFC 1122 3.2.1.3", "0.1.2.3, of \"this network\", is no peer", V4, is_refused, "0.1.2.3" },
	{ "peer-loopback",       "RFC 1122 3.2.1.3", "loopback is no peer", V4 | NEED_STRICT, is_refused, "127.0.0.53" },
	{ "peer-loopback-far",   "RFC 1122 3.2.1.3", "all of 127.0.0.0/8 is loopback", V4 | NEED_STRICT, is_refused, "127.255.255.254" },
	{ "peer-link-local",     "RFC 3927 2.7",     "169.254.169.254 (cloud metadata) is no peer", V4 | ADVISORY, is_refused, "169.254.169.254" },
	{ "peer-multicast",      "RFC 8656 9",       "a group, 224.0.0.251, is no peer", V4 | ADVISORY, is_refused, "224.0.0.251" },
	{ "peer-multicast-ssdp", "RFC 8656 9",       "a group, 239.255.255.250, is no peer", V4 | ADVISORY, is_refused, "239.255.255.250" },
	{ "peer-broadcast",      "RFC 8656 9",       "255.255.255.255 is no peer", V4 | ADVISORY, is_refused, "255.255.255.255" },
	{ "peer-reserved",       "RFC 1112 4",       "240.0.0.1, reserved, is no peer", V4 | ADVISORY, is_refused, "240.0.0.1" },
	{ "peer-403",            "RFC 8656 10.2",    "a refused peer is told by 403", V4 | ADVISORY, with_403, "0.0.0.0" },
	{ "peer-is-server",      "RFC 8656 21.1.7",  "the server does not relay to its own listening port", V4 | NEED_STRICT | ADVISORY, not_to_itself, NULL },
	{ "peer-refused",        "RFC 8656 12.2",    "a refused ChannelBind leaves its number free", V4, refused_means_refused, NULL },
	{ "peer6-unspecified",   "RFC 4291 2.5.2",   ":: is no peer", V6, is_refused, "::" },
	{ "peer6-loopback",      "RFC 4291 2.5.3",   "::1 is no peer", V6 | NEED_STRICT6, is_refused, "::1" },
	{ "peer6-mapped",        "RFC 4291 2.5.5.2", "::ffff:127.0.0.1, mapped loopback, is no peer", V6 | NEED_STRICT6 | ADVISORY, is_refused, "::ffff:127.0.0.1" },
	{ "peer6-mapped-meta",   "RFC 4291 2.5.5.2", "::ffff:169.254.169.254, mapped link-local, is no peer", V6 | ADVISORY, is_refused, "::ffff:169.254.169.254" },
	{ "peer6-mapped-any",    "RFC 4291 2.5.5.2", "::ffff:8.8.8.8 is no IPv6 peer", V6 | ADVISORY, is_refused, "::ffff:8.8.8.8" },
	{ "peer6-compatible",    "RFC 4291 2.5.5.1", "::127.0.0.1, compatible loopback, is no peer", V6 | NEED_STRICT6 | ADVISORY, is_refused, "::127.0.0.1" },
	{ "peer6-nat64",         "RFC 6052 5.1",     "64:ff9b::127.0.0.1, loopback behind NAT64, is no peer", V6 | NEED_STRICT6 | ADVISORY, is_refused, "64:ff9b::127.0.0.1" },
	{ "peer6-nat64-meta",    "RFC 6052 5.1",     "64:ff9b::169.254.169.254, link-local behind NAT64, is no peer", V6 | ADVISORY, is_refused, "64:ff9b::169.254.169.254" },
	{ "peer6-6to4",          "RFC 8656 21.4",    "2002:7f00:1::, loopback behind 6to4, is no peer", V6 | NEED_STRICT6 | ADVISORY, is_refused, "2002:7f00:1::1" },
	{ "peer6-6to4-meta",     "RFC 8656 21.4",    "2002:a9fe:a9fe::, link-local behind 6to4, is no peer", V6 | ADVISORY, is_refused, "2002:a9fe:a9fe::1" },
	{ "peer6-teredo",        "RFC 8656 21.4",    "a Teredo address of 169.254.169.254 is no peer", V6 | ADVISORY, is_refused, "2001:0:4136:e378:8000:63bf:5601:5601" },
	{ "peer6-link-local",    "RFC 4291 2.5.6",   "fe80::1 is no peer", V6 | ADVISORY, is_refused, "fe80::1" },
	{ "peer6-multicast",     "RFC 8656 9",       "ff02::1, all nodes, is no peer", V6 | ADVISORY, is_refused, "ff02::1" },
	{ "peer6-site-local",    "RFC 3879 4",       "fec0::1, site-local, is no peer", V6 | ADVISORY, is_refused, "fec0::1" },
};
/* clang-format on */
const struct check_area conform_safety = { "safety", rows, ARRAY_LEN(rows) };
