/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of what RFC 8489 added to the long-term mechanism: the nonce cookie and its security features,
 * PASSWORD-ALGORITHMS and the guard against bidding down, MESSAGE-INTEGRITY-SHA256, USERHASH. A server
 * that announces none of it is skipped but for the one rule that binds the announcement together.
 */
#include <stdio.h>
#include <string.h>
#include "cli/conform.h"

#define COOKIE "obMatJos2"

static struct client *modern_client(struct talk *t)
{
	struct client *c = client_open(t);

	c->login.choose = true;
	c->login.algorithm = STUN_ALG_SHA256;
	c->login.mac = STUN_MAC_SHA256;
	challenge(c);
	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	return c;
}

/* ---- the announcement ---- */

static void announced_together(struct talk *t)
{
	struct client *c = client_open(t);
	bool bit;

	challenge(c);
	bit = stun_nonce_features(text_of(c->login.nonce)) & STUN_FEATURE_PASSWORD_ALGORITHMS;
	want(t, bit || !c->login.n_algorithms, "PASSWORD-ALGORITHMS came, but the nonce has no bit for it");
	want(t, !bit || c->login.n_algorithms, "the nonce has the bit, but no PASSWORD-ALGORITHMS came");
}

static void nonce_has_cookie(struct talk *t)
{
	struct client *c = client_open(t);
	uint8_t bits[8];
	size_t n;

	challenge(c);
	if (!going_on(t))
		return;
	want(t, text_starts(text_of(c->login.nonce), TEXT(COOKIE)), "the nonce does not begin with obMatJos2");
	want(t, strlen(c->login.nonce) >= strlen(COOKIE) + 4 &&
			base64_decode((struct text){ c->login.nonce + strlen(COOKIE), 4 }, bits, sizeof bits, &n) == 0 && n == 3,
	     "four base64 characters do not follow the cookie");
}

static void list_is_readable(struct talk *t)
{
	struct client *c = client_open(t);
	struct rd r;
	unsigned n = 0;

	challenge(c);
	r = rd_init(c->login.algorithms, c->login.n_algorithms);
	while (rd_left(&r) > 0) {
		rd_u16(&r);
		size_t parameters = rd_u16(&r);
		rd_sub(&r, (parameters + 3) & ~(size_t)3);
		n++;
	}
	want(t, n > 0 && !r.failed, "the list is empty or ends in the middle of an algorithm");
}

/* ---- SHA-256 ---- */

static void sha256_is_good(struct talk *t)
{
	struct client *c = modern_client(t);

	sign(c);
	ask(c);
	want_success(c);
}

static void sha256_is_answered(struct talk *t)
{
	struct client *c = modern_client(t);

	sign(c);
	ask(c);
	want_success(c);
	want_signed(c);
}

static void sha256_for_all(struct talk *t)
{
	struct client *c = modern_client(t);
	struct addr peer = addr_v4(0x08080808, 9); /* only permitted, never sent to */

	sign(c);
	ask(c);
	want_success(c);
	permit(c, &peer);
	want_signed(c);
	begin(c, STUN_REFRESH);
	sign(c);
	ask(c);
	want_success(c);
	want_signed(c);
}

static void md5_chosen(struct talk *t)
{
	struct client *c = modern_client(t);

	c->login.algorithm = STUN_ALG_MD5;
	sign(c);
	ask(c);
	want_success(c);
	want_signed(c);
}

static void old_client(struct talk *t)
{
	want_signed(client_allocated(t));
}

static void sha256_flipped(struct talk *t)
{
	struct client *c = modern_client(t);

	sign(c);
	finish(c);
	c->out[c->out_n - 1] ^= 1;
	ask(c);
	want_error(c, 401);
}

static void sha256_wrong_password(struct talk *t)
{
	struct client *c = modern_client(t);

	text_append(c->login.password, sizeof c->login.password, "x");
	sign(c);
	ask(c);
	want_error(c, 401);
}

/* ---- bidding down ---- */

static void list_shortened(struct talk *t)
{
	struct client *c = modern_client(t);

	memcpy(c->login.algorithms, "\0\1\0\0", 4); /* MD5 alone */
	c->login.n_algorithms = 4;
	c->login.algorithm = STUN_ALG_MD5;
	sign(c);
	ask(c);
	want_error(c, 400);
}

static void choice_without_list(struct talk *t)
{
	struct client *c = modern_client(t);

	c->login.choose = false;
	put_login(c);
	stun_put_password_algorithm(&c->w, STUN_ALG_SHA256);
	put_mac(c);
	ask(c);
	want_error(c, 400);
}

static void list_without_choice(struct talk *t)
{
	struct client *c = modern_client(t);

	c->login.choose = false;
	put_login(c);
	stun_put(&c->w, STUN_A_PASSWORD_ALGORITHMS, c->login.algorithms, c->login.n_algorithms);
	put_mac(c);
	ask(c);
	want_error(c, 400);
}

static void choice_not_offered(struct talk *t)
{
	struct client *c = modern_client(t);

	c->login.choose = false;
	put_login(c);
	stun_put(&c->w, STUN_A_PASSWORD_ALGORITHMS, c->login.algorithms, c->login.n_algorithms);
	stun_put_raw(&c->w, 0x001d, "\x77\x77\0\0", 4);
	put_mac(c);
	ask(c);
	want_error(c, 400);
}

static void feature_bits_cleared(struct talk *t)
{
	struct client *c = client_open(t);

	challenge(c);
	if (going_on(t) && strlen(c->login.nonce) > strlen(COOKIE) + 4)
		memcpy(c->login.nonce + strlen(COOKIE), "AAAA", 4);
	begin(c, STUN_ALLOCATE);
	put_transport(c, REQUESTED_UDP);
	sign(c);
	ask(c);
	want_any_error(c);
}

/* ---- USERHASH ---- */

static void hash_is_good(struct talk *t)
{
	struct client *c = modern_client(t);

	c->login.hash = true;
	sign(c);
	ask(c);
	want_success(c);
	want_signed(c);
}

static void hash_of_nobody(struct talk *t)
{
	struct client *c = modern_client(t);

	c->login.hash = true;
	snprintf(c->login.user, sizeof c->login.user, "nobody-of-this-name");
	sign(c);
	ask(c);
	want_error(c, 401);
}

static void hash_cut_short(struct talk *t)
{
	struct client *c = modern_client(t);

	c->login.no_user = true;
	stun_put_raw(&c->w, 0x001e, "0123456789abcdef", 16);
	sign(c);
	(void)ask_once(c);
	want_no_success(c);
	want_still(c);
}

#define SHA256 (NEED_AUTH | NEED_RELAY | NEED_SHA256)
#define HASH (NEED_AUTH | NEED_RELAY | NEED_SHA256 | NEED_USERHASH)
/* clang-format off */
static const struct check_row rows[] = {
	{ "announced-together",  "RFC 8489 9.2.4", "PASSWORD-ALGORITHMS and the nonce's bit for it come together or not at all", NEED_AUTH, announced_together, NULL },
	{ "nonce-cookie",        "RFC 8489 9.2",   "the nonce begins with obMatJos2 and four base64 characters", NEED_AUTH | NEED_SHA256, nonce_has_cookie, NULL },
	{ "algorithms-list",     "RFC 8489 14.11", "PASSWORD-ALGORITHMS is a list of whole algorithms", NEED_AUTH | NEED_SHA256, list_is_readable, NULL },
	{ "sha256",              "RFC 8489 9.2.4", "a SHA-256 key with MESSAGE-INTEGRITY-SHA256 is accepted", SHA256, sha256_is_good, NULL },
	{ "sha256-answered",     "RFC 8489 9.2.4", "the answer to it carries the right MESSAGE-INTEGRITY-SHA256", SHA256, sha256_is_answered, NULL },
	{ "sha256-later",        "RFC 8489 9.2.5", "later requests of the allocation go on with it", SHA256, sha256_for_all, NULL },
	{ "md5-chosen",          "RFC 8489 9.2.4", "MD5, chosen from the list, is accepted with MESSAGE-INTEGRITY-SHA256", SHA256, md5_chosen, NULL },
	{ "old-client",          "RFC 8489 9.2.4", "a client that knows none of this goes on with MD5 and MESSAGE-INTEGRITY", SHA256, old_client, NULL },
	{ "sha256-flipped",      "RFC 8489 14.6",  "one wrong bit in MESSAGE-INTEGRITY-SHA256 gets 401", SHA256, sha256_flipped, NULL },
	{ "sha256-password",     "RFC 8489 9.2.4", "a wrong password with SHA-256 gets 401", SHA256, sha256_wrong_password, NULL },
	{ "bid-down",            "RFC 8489 9.2.4", "an altered PASSWORD-ALGORITHMS gets 400", SHA256, list_shortened, NULL },
	{ "choice-without-list", "RFC 8489 9.2.4", "PASSWORD-ALGORITHM without the list gets 400", SHA256, choice_without_list, NULL },
	{ "list-without-choice", "RFC 8489 9.2.4", "the list without PASSWORD-ALGORITHM gets 400", SHA256, list_without_choice, NULL },
	{ "choice-not-offered",  "RFC 8489 9.2.4", "an algorithm that is not in the list gets 400", SHA256, choice_not_offered, NULL },
	{ "features-cleared",    "RFC 8489 9.2",   "a nonce whose feature bits were cleared on the way is not accepted", SHA256 | ADVISORY, feature_bits_cleared, NULL },
	{ "userhash",            "RFC 8489 14.4",  "USERHASH in place of USERNAME is accepted", HASH | ADVISORY, hash_is_good, NULL },
	{ "userhash-unknown",    "RFC 8489 9.2.4", "the USERHASH of nobody gets 401", HASH | ADVISORY, hash_of_nobody, NULL },
	{ "userhash-short",      "RFC 8489 14.4",  "a USERHASH of 16 bytes is not accepted, and harms nothing", NEED_AUTH | NEED_RELAY | NEED_SHA256, hash_cut_short, NULL },
};
/* clang-format on */
const struct check_area conform_algorithms = { "algorithms", rows, ARRAY_LEN(rows) };
