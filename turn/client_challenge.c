/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A challenge read and answered, as RFC 8489 9.2.5 and 9.2.3.2 say: the offer of algorithms is echoed and
 * its first known one chosen; with an offer all requests carry MESSAGE-INTEGRITY-SHA256. The nonce
 * cookie guards the offer: a server that speaks of algorithms but lists none was tampered with, and is
 * not answered with the weaker ones.
 */
#include "turn/client_challenge.h"
#include <errno.h>
#include <string.h>

/* The first algorithm of the offer that we know; -ENOTSUP if there is none. */
static int choose_algorithm(struct stun_value offer, enum stun_algorithm *ret_alg)
{
	struct rd r = rd_init(offer.p, offer.n);

	while (rd_left(&r) > 0) {
		uint16_t alg = rd_u16(&r), parameters = rd_u16(&r);

		rd_take(&r, ((size_t)parameters + 3) & ~(size_t)3);
		if (!r.failed && parameters == 0 && (alg == STUN_ALG_SHA256 || alg == STUN_ALG_MD5)) {
			*ret_alg = (enum stun_algorithm)alg;
			return 0;
		}
		if (r.failed)
			break;
	}
	return -ENOTSUP;
}

static int take_features(struct turn_challenge *ch, const struct stun_msg *m, uint32_t features)
{
	struct stun_value offer = m->attr[STUN_A_PASSWORD_ALGORITHMS];

	ch->hide_name = (features & STUN_FEATURE_USERNAME_ANONYMITY) != 0;
	if (!offer.p) /* after an offer there is no way back: "using MESSAGE-INTEGRITY-SHA256 only" */
		return ch->offer_n || features & STUN_FEATURE_PASSWORD_ALGORITHMS ? -EPROTO : 0;
	if (offer.n > sizeof ch->offer || choose_algorithm(offer, &ch->algorithm) < 0)
		return -EPROTO;
	memcpy(ch->offer, offer.p, offer.n);
	ch->offer_n = offer.n;
	return 0;
}

int turn_challenge_take(struct turn_challenge *ch, const struct stun_msg *m, bool rfc5389)
{
	struct turn_challenge fresh = *ch;
	struct text realm, nonce;
	int r;

	if (stun_get_text(m, STUN_A_NONCE, &nonce) < 0 || nonce.n >= sizeof fresh.nonce)
		return -ENOENT;
	if (stun_get_text(m, STUN_A_REALM, &realm) == 0 && realm.n < sizeof fresh.realm)
		sb_text(&(struct sb){ .p = fresh.realm, .cap = sizeof fresh.realm }, realm);
	else if (!fresh.realm[0]) /* a 438 may leave out what is known */
		return -ENOENT;
	sb_text(&(struct sb){ .p = fresh.nonce, .cap = sizeof fresh.nonce }, nonce);
	fresh.algorithm = STUN_ALG_MD5;
	r = rfc5389 ? 0 : take_features(&fresh, m, stun_nonce_features(nonce));
	if (r == 0)
		*ch = fresh;
	return r;
}

int turn_challenge_key(const struct turn_challenge *ch, struct text user, struct text password,
		       struct stun_key **ret_key)
{
	return stun_key_long_term(ch->algorithm, ch->offer_n ? STUN_MAC_SHA256 : STUN_MAC_SHA1, user,
				  text_of(ch->realm), password, ret_key);
}

void turn_challenge_sign(const struct turn_challenge *ch, struct text user, const struct stun_key *key,
			 struct stun_writer *sw)
{
	uint8_t hash[STUN_USERHASH_LEN];

	if (ch->hide_name) {
		stun_userhash(user, text_of(ch->realm), hash);
		stun_put(sw, STUN_A_USERHASH, hash, sizeof hash);
	} else {
		stun_put_text(sw, STUN_A_USERNAME, user);
	}
	stun_put_text(sw, STUN_A_REALM, text_of(ch->realm));
	stun_put_text(sw, STUN_A_NONCE, text_of(ch->nonce));
	if (ch->offer_n) {
		stun_put(sw, STUN_A_PASSWORD_ALGORITHMS, ch->offer, ch->offer_n);
		stun_put_password_algorithm(sw, ch->algorithm);
	}
	stun_put_integrity(sw, key);
}
