/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a server's 401 or 438 told a client: realm, nonce, and which algorithms and names it wants (RFC 8489
 * 9.2.5). Plain data of one client; it puts credentials on a request and makes the key that signs it. The
 * password is not kept here.
 */
#pragma once
#include "stun/auth.h"

enum { TURN_OFFER_MAX = 64 /* bytes of PASSWORD-ALGORITHMS: room for sixteen */ };

struct turn_challenge {
	char realm[512]; /* "": not challenged yet */
	char nonce[1024];
	uint8_t offer[TURN_OFFER_MAX]; /* as it came: echoed, so that the server sees a change on the way */
	uint16_t offer_n;	       /* 0: a server of RFC 5389 */
	enum stun_algorithm algorithm;
	bool hide_name; /* USERHASH instead of USERNAME */
};

/* From a 401 or 438; rfc5389: algorithms and hidden names are ignored. 0; -ENOENT if it is not complete,
 * -EPROTO if its offer cannot be followed: asking again would serve only who altered it. */
int turn_challenge_take(struct turn_challenge *ch, const struct stun_msg *m, bool rfc5389);
int turn_challenge_key(const struct turn_challenge *ch, struct text user, struct text password,
		       struct stun_key **ret_key);
/* All that stands in front of the integrity, and the integrity. */
void turn_challenge_sign(const struct turn_challenge *ch, struct text user, const struct stun_key *key,
			 struct stun_writer *sw);
