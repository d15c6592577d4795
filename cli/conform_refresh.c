/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of Refresh (RFC 8656 8): the lifetime that is granted, the release with zero and what it takes
 * with it, families. That an allocation expires by itself after ten minutes or more is not waited for.
 * A repeated request is the very same bytes.
 */
#include "cli/conform.h"

static void refresh(struct client *c, const uint32_t *asked)
{
	begin(c, STUN_REFRESH);
	if (asked)
		stun_put_u32(&c->w, STUN_A_LIFETIME, *asked);
	sign(c);
	ask(c);
}

static void refresh_family(struct client *c, unsigned family, const uint32_t *asked)
{
	begin(c, STUN_REFRESH);
	put_first_byte(c, STUN_A_REQUESTED_ADDRESS_FAMILY, family);
	if (asked)
		stun_put_u32(&c->w, STUN_A_LIFETIME, *asked);
	sign(c);
	ask(c);
}

static const uint32_t zero = 0;

static void without_allocation(struct talk *t)
{
	struct client *c = client_open(t);

	refresh(c, NULL);
	want_error(c, 437);
}

static void release_without_allocation(struct talk *t)
{
	struct client *c = client_open(t);

	refresh(c, &zero);
	want_error(c, 437);
}

static void is_granted(struct talk *t)
{
	struct client *c = client_allocated(t);

	refresh(c, NULL);
	want(t, lifetime_of(c) > 0, "a lifetime of 0 was granted");
}

static void as_asked(struct talk *t)
{
	struct client *c = client_allocated(t);

	refresh(c, &(uint32_t){ 900 });
	want_success(c);
	uint32_t s = lifetime_of(c);
	if (going_on(t) && s > 900)
		fail(t, "900 s were asked for and %u s granted", s);
}

static void not_below_default(struct talk *t)
{
	struct client *c = client_allocated(t);
	uint32_t first = lifetime_of(c);

	refresh(c, &(uint32_t){ 5 });
	uint32_t s = lifetime_of(c);
	if (going_on(t) && s < first)
		fail(t, "5 s were asked for and %u s granted; the default is %u s", s, first);
}

static void not_above_maximum(struct talk *t)
{
	struct client *c = client_allocated(t);

	refresh(c, &(uint32_t){ 0xffffffff });
	uint32_t s = lifetime_of(c);
	if (going_on(t) && s > 86400)
		fail(t, "%u s were granted", s);
}

static void zero_releases(struct talk *t)
{
	struct client *c = client_allocated(t);

	refresh(c, &zero);
	want(t, lifetime_of(c) == 0, "the answer's LIFETIME is not 0");
	refresh(c, NULL);
	want_error(c, 437);
}

static void release_takes_all(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct addr peer = addr_v4(0x08080808, 9);

	release(c);
	try_permit(c, &peer);
	want_error(c, 437);
	try_bind_channel(c, 0x4000, &peer);
	want_error(c, 437);
}

static void release_ends_relaying(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);

	bind_channel(c, 0x4000, &p->at);
	send_channel(c, 0x4000, "before", 6);
	want_at_peer(p, c, "before", 6);
	release(c);
	send_channel(c, 0x4000, "behind", 6);
	want_nothing_at_peer(p);
}

static void permissions_do_not_survive(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = peer_open(c);

	permit(c, &p->at);
	release(c);
	allocate(c);
	send_indication(c, &p->at, "old", 3);
	want_nothing_at_peer(p);
}

static void repeated(struct talk *t)
{
	struct client *c = client_allocated(t);

	refresh(c, &(uint32_t){ 900 });
	want_success(c);
	c->answered = false;
	ask(c); /* the very same bytes */
	want_success(c);
}

static void unknown_attribute(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin(c, STUN_REFRESH);
	stun_put_u32(&c->w, STUN_A_LIFETIME, 0);
	stun_put_raw(&c->w, 0x7f01, NULL, 0);
	sign(c);
	ask(c);
	want_unknown(c, 0x7f01);
	refresh(c, NULL); /* and nothing was done */
	want_success(c);
}

static void other_family(struct talk *t)
{
	struct client *c = client_allocated(t);

	refresh_family(c, 2, NULL);
	want_error(c, 443);
}

static void own_family(struct talk *t)
{
	struct client *c = client_allocated(t);

	refresh_family(c, 1, NULL);
	want_success(c);
}

static void one_of_two(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	put_first_byte(c, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2);
	sign(c);
	ask(c);
	want_success(c);
	refresh_family(c, 2, &zero);
	want_success(c);
	c->allocated = true; /* the other half of it */
	refresh(c, NULL);
	want_success(c);
	refresh_family(c, 2, NULL);
	want_error(c, 443);
}

static void by_another_five_tuple(struct talk *t)
{
	struct client *a = client_allocated(t), *b = client_open(t);

	refresh(b, &zero);
	want_error(b, 437);
	refresh(a, NULL);
	want_success(a);
}

static void short_lifetime_attribute(struct talk *t)
{
	struct client *c = client_allocated(t);

	begin(c, STUN_REFRESH);
	stun_put_raw(&c->w, 0x000d, "\0\0", 2);
	sign(c);
	ask_once(c);
	want_no_success(c);
	refresh(c, NULL);
	want_success(c);
}

#define RELAY NEED_RELAY
/* clang-format off */
static const struct check_row rows[] = {
	{ "refresh-nothing",     "RFC 8656 8.2", "a Refresh without an allocation gets 437", RELAY, without_allocation, NULL },
	{ "release-nothing",     "RFC 8656 5",   "a Refresh with LIFETIME 0 without an allocation gets 437", RELAY, release_without_allocation, NULL },
	{ "refresh",             "RFC 8656 8.2", "a Refresh is answered with a LIFETIME above 0", RELAY, is_granted, NULL },
	{ "refresh-asked",       "RFC 8656 8.2", "no more than the lifetime that was asked for is granted", RELAY | ADVISORY, as_asked, NULL },
	{ "refresh-short",       "RFC 8656 8.2", "a lifetime below the default gets the default", RELAY, not_below_default, NULL },
	{ "refresh-long",        "RFC 8656 8.2", "a lifetime without end is cut to the server's maximum", RELAY, not_above_maximum, NULL },
	{ "refresh-repeated",    "RFC 8656 5",   "a repeated Refresh gets success again", RELAY, repeated, NULL },
	{ "release",             "RFC 8656 8.2", "LIFETIME 0 is granted and ends the allocation", RELAY, zero_releases, NULL },
	{ "release-takes-all",   "RFC 8656 8.2", "after that CreatePermission and ChannelBind get 437", RELAY, release_takes_all, NULL },
	{ "release-ends-relay",  "RFC 8656 8.2", "after that nothing is relayed on its channels", RELAY | NEED_PEER, release_ends_relaying, NULL },
	{ "release-permissions", "RFC 8656 9",   "a new allocation of the five-tuple has no old permissions", RELAY | NEED_PEER, permissions_do_not_survive, NULL },
	{ "refresh-unknown",     "RFC 8489 6.3.1", "a Refresh with an unknown attribute gets 420 and changes nothing", RELAY, unknown_attribute, NULL },
	{ "refresh-malformed",   "RFC 8656 18.2", "a LIFETIME of two bytes is not accepted and changes nothing", RELAY, short_lifetime_attribute, NULL },
	{ "refresh-family",      "RFC 8656 8.2", "REQUESTED-ADDRESS-FAMILY of the allocation is accepted", RELAY, own_family, NULL },
	{ "refresh-other-family", "RFC 8656 8.2", "REQUESTED-ADDRESS-FAMILY of another family gets 443", RELAY, other_family, NULL },
	{ "refresh-one-of-two",  "RFC 8656 8.2", "of two relayed addresses one can be released", RELAY | NEED_DUAL, one_of_two, NULL },
	{ "refresh-elsewhere",   "RFC 8656 5",   "another five-tuple cannot release it, with the same credential", RELAY, by_another_five_tuple, NULL },
};
/* clang-format on */
const struct check_area conform_refresh = { "refresh", rows, ARRAY_LEN(rows) };
