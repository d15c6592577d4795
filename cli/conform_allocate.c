/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of Allocate (RFC 8656 7): what an allocation is told to its client, retransmission, lifetimes,
 * transports, families, ports and their reservation, the errors of each, and mobility (RFC 8016).
 * Each check makes clients of its own and gives back what it allocated.
 */
#include <stdio.h>
#include <string.h>
#include "cli/conform.h"

static struct client *allocating(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	return c;
}

static void send_signed(struct client *c)
{
	sign(c);
	ask(c);
}

/* ---- the answer ---- */

static void tells_all(struct talk *t)
{
	struct client *c = client_allocated(t);

	want(t, stun_has(&c->m, STUN_A_XOR_RELAYED_ADDRESS), "no XOR-RELAYED-ADDRESS");
	want(t, stun_has(&c->m, STUN_A_LIFETIME), "no LIFETIME");
	want(t, stun_has(&c->m, STUN_A_XOR_MAPPED_ADDRESS), "no XOR-MAPPED-ADDRESS");
}

static void mapped_as_binding(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr mapped;

	begin(c, STUN_BINDING);
	ask(c);
	want(t, stun_get_addr(&c->m, STUN_A_XOR_MAPPED_ADDRESS, &mapped) == 0 && addr_equal(&mapped, &c->mapped),
	     "Allocate and Binding tell different mapped addresses");
}

static void relayed_port(struct talk *t)
{
	struct client *c = client_allocated(t);

	want(t, !going_on(t) || addr_port(&c->relayed) >= 1024, "a well-known port");
	if (going_on(t) && addr_port(&c->relayed) < 49152)
		fail(t, "port %u is not in 49152-65535", addr_port(&c->relayed));
}

static void two_are_different(struct talk *t)
{
	struct client *a = client_allocated(t), *b = client_allocated(t);

	want(t, !going_on(t) || !addr_equal(&a->relayed, &b->relayed), "two clients got one relayed address");
}

/* ---- lifetimes ---- */

static uint32_t granted(struct talk *t, uint32_t asked)
{
	struct client *c = allocating(t);
	uint32_t s;

	if (asked)
		stun_put_u32(&c->w, STUN_A_LIFETIME, asked);
	send_signed(c);
	s = lifetime_of(c);
	release(c);
	return s;
}

static void default_lifetime(struct talk *t)
{
	uint32_t s = granted(t, 0);

	if (going_on(t) && s != 600)
		fail(t, "the default lifetime is %u s", s);
}

static void short_lifetime(struct talk *t)
{
	uint32_t s = granted(t, 0), asked = granted(t, 5);

	if (going_on(t) && asked < s)
		fail(t, "5 s were asked for and %u s granted; the default is %u s", asked, s);
}

static void long_lifetime(struct talk *t)
{
	uint32_t s = granted(t, 0xffffffff);

	if (going_on(t) && s > 86400)
		fail(t, "%u s were granted", s);
}

static void hour_at_most(struct talk *t)
{
	uint32_t s = granted(t, 0xffffffff);

	if (going_on(t) && s > 3600)
		fail(t, "%u s were granted", s);
}

/* ---- transports ---- */

static void no_transport(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	send_signed(c);
	want_error(c, 400);
}

static void short_transport(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	stun_put_raw(&c->w, 0x0019, "\x11", 1);
	send_signed(c);
	want_error(c, 400);
}

static void other_transport(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, t->row->arg[0] == 's' ? 132 : 0);
	send_signed(c);
	want_error(c, 442);
}

static void first_transport_counts(struct talk *t)
{
	struct client *c = allocating(t);

	put_transport(c, 132);
	send_signed(c);
	want_success(c);
}

static void tcp_from_a_datagram(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_TCP);
	send_signed(c);
	want_either(c, 400, 442);
}

/* ---- one five-tuple ---- */

static void second_is_refused(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	send_signed(c);
	want_error(c, 437);
}

static void repeated_is_the_same(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr first = c->relayed;

	c->answered = false;
	ask(c); /* the very same bytes */
	want_success(c);
	want(t, !going_on(t) || addr_equal(&first, &c->relayed), "the repeated request made another allocation");
}

static void again_after_release(struct talk *t)
{
	struct client *c = client_allocated(t);

	release(c);
	allocate(c);
}

static void indication(struct talk *t)
{
	struct client *c = client_open(t);

	begin_class(c, STUN_ALLOCATE, STUN_INDICATION);
	put_transport(c, REQUESTED_UDP);
	sign(c);
	(void)ask_once(c);
	want_silence(c);
	want_still(c);
}

/* ---- DONT-FRAGMENT ---- */

static void dont_fragment(struct talk *t)
{
	struct client *c = allocating(t);

	stun_put_flag(&c->w, STUN_A_DONT_FRAGMENT);
	send_signed(c);
	if (error_code(c))
		want_unknown(c, 0x001a);
	else
		want_success(c);
}

/* ---- ports ---- */

static void put_even(struct client *c, bool reserve)
{
	stun_put(&c->w, STUN_A_EVEN_PORT, reserve ? "\x80" : "\0", 1);
}

static void even_port(struct talk *t)
{
	struct client *c = allocating(t);

	put_even(c, false);
	send_signed(c);
	want_success(c);
	want(t, !going_on(t) || addr_port(&c->relayed) % 2 == 0, "the port is odd");
}

static void even_without_token(struct talk *t)
{
	struct client *c = allocating(t);

	put_even(c, false);
	send_signed(c);
	want_success(c);
	want(t, !going_on(t) || !stun_has(&c->m, STUN_A_RESERVATION_TOKEN), "a RESERVATION-TOKEN that nobody asked for");
}

/* The token, copied: the next answer takes the place of this one. */
static struct client *reserving(struct talk *t, uint8_t token[static 8])
{
	struct client *c = allocating(t);

	put_even(c, true);
	send_signed(c);
	want_success(c);
	want(t, !going_on(t) || (stun_has(&c->m, STUN_A_RESERVATION_TOKEN) && c->m.attr[STUN_A_RESERVATION_TOKEN].n == 8),
	     "no RESERVATION-TOKEN of 8 bytes");
	if (going_on(t))
		memcpy(token, c->m.attr[STUN_A_RESERVATION_TOKEN].p, 8);
	return c;
}

static void even_pair(struct talk *t)
{
	uint8_t token[8];
	struct client *c = reserving(t, token);

	want(t, !going_on(t) || addr_port(&c->relayed) % 2 == 0, "the port is odd");
}

static struct client *with_token(struct talk *t, const uint8_t token[static 8])
{
	struct client *c = allocating(t);

	stun_put(&c->w, STUN_A_RESERVATION_TOKEN, token, 8);
	send_signed(c);
	return c;
}

static void token_gives_the_next(struct talk *t)
{
	uint8_t token[8] = { 0 };
	struct client *a = reserving(t, token), *b = with_token(t, token);

	want_success(b);
	if (!going_on(t))
		return;
	want(t, addr_equal_ip(&a->relayed, &b->relayed) && addr_port(&b->relayed) == addr_port(&a->relayed) + 1,
	     "the token does not give the port above");
}

static void token_serves_once(struct talk *t)
{
	uint8_t token[8] = { 0 };

	reserving(t, token);
	want_success(with_token(t, token));
	want_error(with_token(t, token), 508);
}

static void token_of_nobody(struct talk *t)
{
	want_error(with_token(t, (const uint8_t *)"notoken!"), 508);
}

static void token_too_short(struct talk *t)
{
	struct client *c = allocating(t);

	stun_put_raw(&c->w, 0x0022, "token", 5);
	send_signed(c);
	want_error(c, 400);
}

static void token_and_even(struct talk *t)
{
	struct client *c = allocating(t);

	put_even(c, false);
	stun_put(&c->w, STUN_A_RESERVATION_TOKEN, "notoken!", 8);
	send_signed(c);
	want_error(c, 400);
}

static void token_and_family(struct talk *t)
{
	struct client *c = allocating(t);

	put_first_byte(c, STUN_A_REQUESTED_ADDRESS_FAMILY, 1);
	stun_put(&c->w, STUN_A_RESERVATION_TOKEN, "notoken!", 8);
	send_signed(c);
	want_error(c, 400);
}

/* ---- families ---- */

static void family_v4(struct talk *t)
{
	struct client *c = allocating(t);

	put_first_byte(c, STUN_A_REQUESTED_ADDRESS_FAMILY, 1);
	send_signed(c);
	want_success(c);
	want(t, !going_on(t) || addr_family(&c->relayed) == AF_INET, "the relayed address is not IPv4");
}

static void family_default(struct talk *t)
{
	struct client *c = client_allocated(t);

	want(t, !going_on(t) || addr_family(&c->relayed6) == AF_UNSPEC, "an IPv6 address that nobody asked for");
}

static void family_v6(struct talk *t)
{
	struct client *c = client_open(t);

	allocate_v6(c);
	want(t, !going_on(t) || addr_family(&c->relayed) == AF_UNSPEC, "an IPv4 address came with it");
}

static void family_v6_refused(struct talk *t)
{
	struct client *c = allocating(t);

	put_first_byte(c, STUN_A_REQUESTED_ADDRESS_FAMILY, 2);
	send_signed(c);
	want_error(c, 440);
}

static void family_unknown(struct talk *t)
{
	struct client *c = allocating(t);

	put_first_byte(c, STUN_A_REQUESTED_ADDRESS_FAMILY, 3);
	send_signed(c);
	want_error(c, 440);
}

static void family_short(struct talk *t)
{
	struct client *c = allocating(t);

	stun_put_raw(&c->w, 0x0017, "\1", 1);
	send_signed(c);
	want_error(c, 400);
}

static void dual(struct talk *t)
{
	struct client *c = allocating(t);

	put_first_byte(c, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2);
	send_signed(c);
	want_success(c);
	want(t, !going_on(t) || (addr_family(&c->relayed) == AF_INET && addr_family(&c->relayed6) == AF_INET6),
	     "not one relayed address of each family");
}

static void additional_and(struct talk *t)
{
	struct client *c = allocating(t);
	bool v4 = strcmp(t->row->arg, "IPv4") == 0;

	put_first_byte(c, STUN_A_ADDITIONAL_ADDRESS_FAMILY, v4 ? 1 : 2);
	if (strcmp(t->row->arg, "REQUESTED") == 0)
		put_first_byte(c, STUN_A_REQUESTED_ADDRESS_FAMILY, 1);
	if (strcmp(t->row->arg, "EVEN-PORT") == 0)
		put_even(c, true);
	if (strcmp(t->row->arg, "TOKEN") == 0)
		stun_put(&c->w, STUN_A_RESERVATION_TOKEN, "notoken!", 8);
	send_signed(c);
	want_error(c, 400);
}

/* ---- limits, mobility ---- */

static void quota(struct talk *t)
{
	enum { TRIES = 256 };
	struct talk *more[TRIES / MAX_CLIENTS] = { 0 };
	unsigned i, code = 0;

	for (i = 0; i < TRIES && !code && going_on(t); i++) {
		struct talk **at = &more[i / MAX_CLIENTS];
		if (i % MAX_CLIENTS == 0 && (!(*at = malloc(sizeof **at)) || talk_begin(*at, t->o, t->s) < 0)) {
			fail(t, "out of memory");
			break;
		}
		struct client *c = allocating(*at);
		send_signed(c);
		code = error_code(c);
		if (!going_on(*at))
			fail(t, "%s", (*at)->note);
	}
	for (size_t k = 0; k < ARRAY_LEN(more) && more[k]; k++) {
		if (more[k]->loop)
			talk_end(more[k]);
		free(more[k]);
	}
	if (!code)
		skip(t, "256 allocations were not refused");
	else if (code != 486 && code != 508)
		fail(t, "allocation %u was refused with %u, neither 486 nor 508", i, code);
}

static void moves(struct talk *t)
{
	struct client *a = allocating(t), *b;

	stun_put(&a->w, STUN_A_MOBILITY_TICKET, NULL, 0);
	send_signed(a);
	want_success(a);
	const struct stun_value *ticket = &a->m.attr[STUN_A_MOBILITY_TICKET];
	b = client_open(t);
	begin(b, STUN_REFRESH);
	if (going_on(t))
		stun_put(&b->w, STUN_A_MOBILITY_TICKET, ticket->p, ticket->n);
	send_signed(b);
	want_success(b);
	want(t, !going_on(t) || stun_has(&b->m, STUN_A_MOBILITY_TICKET), "no new ticket");
	a->allocated = !going_on(t);
	b->allocated = going_on(t);
	begin(b, STUN_REFRESH);
	send_signed(b);
	want_success(b);
}

static void false_ticket(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_REFRESH);
	stun_put(&c->w, STUN_A_MOBILITY_TICKET, "a ticket from nowhere", 21);
	send_signed(c);
	want_any_error(c);
}

#define RELAY NEED_RELAY
/* clang-format off */
static const struct check_row rows[] = {
	{ "allocate",            "RFC 8656 7.2",  "the answer has XOR-RELAYED-ADDRESS, LIFETIME and XOR-MAPPED-ADDRESS", RELAY, tells_all, NULL },
	{ "allocate-mapped",     "RFC 8656 7.2",  "its mapped address is the one that Binding tells", RELAY, mapped_as_binding, NULL },
	{ "relayed-port",        "RFC 8656 7.2",  "the relayed port is one of 49152-65535", RELAY | ADVISORY, relayed_port, NULL },
	{ "relayed-distinct",    "RFC 8656 7.2",  "two clients get two relayed addresses", RELAY, two_are_different, NULL },
	{ "lifetime-default",    "RFC 8656 7.2",  "the default lifetime is 600 s", RELAY | ADVISORY, default_lifetime, NULL },
	{ "lifetime-short",      "RFC 8656 7.2",  "a lifetime below the default gets the default", RELAY, short_lifetime, NULL },
	{ "lifetime-long",       "RFC 8656 7.2",  "a lifetime without end is cut to the server's maximum", RELAY, long_lifetime, NULL },
	{ "lifetime-hour",       "RFC 8656 7.2",  "that maximum is at most one hour", RELAY | ADVISORY, hour_at_most, NULL },
	{ "transport-missing",   "RFC 8656 7.2",  "an Allocate without REQUESTED-TRANSPORT gets 400", RELAY, no_transport, NULL },
	{ "transport-short",     "RFC 8656 7.2",  "a malformed REQUESTED-TRANSPORT gets 400", RELAY, short_transport, NULL },
	{ "transport-sctp",      "RFC 8656 7.2",  "REQUESTED-TRANSPORT SCTP gets 442", RELAY, other_transport, "sctp" },
	{ "transport-zero",      "RFC 8656 7.2",  "REQUESTED-TRANSPORT 0 gets 442", RELAY, other_transport, "0" },
	{ "transport-twice",     "RFC 8489 14",   "of a repeated attribute the first counts", RELAY | ADVISORY, first_transport_counts, NULL },
	{ "transport-tcp",       "RFC 6062 5.1",  "a TCP allocation is not given to a client on UDP or DTLS", RELAY | NEED_DATAGRAM, tcp_from_a_datagram, NULL },
	{ "allocate-twice",      "RFC 8656 7.2",  "a second Allocate on the five-tuple gets 437", RELAY, second_is_refused, NULL },
	{ "allocate-repeated",   "RFC 8656 7.2",  "a repeated Allocate gets the same success response", RELAY | NEED_DATAGRAM, repeated_is_the_same, NULL },
	{ "allocate-again",      "RFC 8656 8.2",  "after its release the five-tuple may allocate again", RELAY, again_after_release, NULL },
	{ "allocate-indication", "RFC 8489 6.3",  "Allocate as an indication is discarded", RELAY, indication, NULL },
	{ "dont-fragment",       "RFC 8656 7.2",  "DONT-FRAGMENT is accepted, or refused with a 420 that lists it", RELAY, dont_fragment, NULL },
	{ "even-port",           "RFC 8656 7.2",  "EVEN-PORT gives an even port", RELAY, even_port, NULL },
	{ "even-port-alone",     "RFC 8656 7.2",  "without its R bit there is no RESERVATION-TOKEN", RELAY, even_without_token, NULL },
	{ "even-port-pair",      "RFC 8656 7.2",  "with its R bit there is an even port and a RESERVATION-TOKEN of 8 bytes", RELAY | NEED_RESERVATION, even_pair, NULL },
	{ "token",               "RFC 8656 7.2",  "the token gives the port above on the same address", RELAY | NEED_RESERVATION, token_gives_the_next, NULL },
	{ "token-once",          "RFC 8656 7.2",  "a token serves once; then it gets 508", RELAY | NEED_RESERVATION, token_serves_once, NULL },
	{ "token-unknown",       "RFC 8656 7.2",  "a token that the server never gave gets 508", RELAY | NEED_RESERVATION, token_of_nobody, NULL },
	{ "token-short",         "RFC 8656 18.10", "a token of 5 bytes gets 400", RELAY | NEED_RESERVATION, token_too_short, NULL },
	{ "token-and-even-port", "RFC 8656 7.2",  "RESERVATION-TOKEN together with EVEN-PORT gets 400", RELAY | NEED_RESERVATION, token_and_even, NULL },
	{ "token-and-family",    "RFC 8656 7.2",  "RESERVATION-TOKEN together with REQUESTED-ADDRESS-FAMILY gets 400", RELAY | NEED_RESERVATION, token_and_family, NULL },
	{ "family-ipv4",         "RFC 8656 7.2",  "REQUESTED-ADDRESS-FAMILY IPv4 gives an IPv4 address", RELAY, family_v4, NULL },
	{ "family-default",      "RFC 8656 7.2",  "without it the relayed address is IPv4, and one", RELAY, family_default, NULL },
	{ "family-ipv6",         "RFC 8656 7.2",  "REQUESTED-ADDRESS-FAMILY IPv6 gives an IPv6 address, and no other", RELAY | NEED_V6, family_v6, NULL },
	{ "family-ipv6-refused", "RFC 8656 7.2",  "a server without IPv6 relays refuses it with 440", RELAY | NEED_V4_ONLY_RELAY, family_v6_refused, NULL },
	{ "family-unknown",      "RFC 8656 7.2",  "an unknown family gets 440", RELAY, family_unknown, NULL },
	{ "family-short",        "RFC 8656 18.6", "a malformed REQUESTED-ADDRESS-FAMILY gets 400", RELAY | ADVISORY, family_short, NULL },
	{ "dual",                "RFC 8656 7.2",  "ADDITIONAL-ADDRESS-FAMILY IPv6 gives an address of each family", RELAY | NEED_DUAL, dual, NULL },
	{ "dual-and-requested",  "RFC 8656 7.2",  "it excludes REQUESTED-ADDRESS-FAMILY: 400", RELAY | NEED_DUAL, additional_and, "REQUESTED" },
	{ "dual-ipv4",           "RFC 8656 7.2",  "ADDITIONAL-ADDRESS-FAMILY IPv4 gets 400", RELAY | NEED_DUAL, additional_and, "IPv4" },
	{ "dual-and-even-port",  "RFC 8656 7.2",  "it excludes EVEN-PORT with the R bit: 400", RELAY | NEED_DUAL, additional_and, "EVEN-PORT" },
	{ "dual-and-token",      "RFC 8656 7.2",  "it excludes RESERVATION-TOKEN: 400", RELAY | NEED_DUAL, additional_and, "TOKEN" },
	{ "quota",               "RFC 8656 7.2",  "a user who wants too many allocations gets 486 or 508", RELAY | NEED_EXHAUST, quota, NULL },
	{ "mobility",            "RFC 8016 3.2",  "a ticket takes the allocation to another five-tuple", RELAY | NEED_MOBILITY, moves, NULL },
	{ "mobility-false",      "RFC 8016 3.2",  "a ticket that the server never gave is refused", RELAY | NEED_MOBILITY, false_ticket, NULL },
};
/* clang-format on */
const struct check_area conform_allocate = { "allocate", rows, ARRAY_LEN(rows) };
