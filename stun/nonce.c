/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stateless nonces for the long-term mechanism. The text is
 *
 *	[ "obMatJos2" base64(24 feature bits) ] hex(time of issue, 48 bits of ms) hex(port) base64url(MAC, 16 bytes)
 *
 * The MAC (HMAC-SHA256 under a key of this process, truncated) covers the text in front of it, the client's
 * IP address, and the realm. So a nonce proves, without a table, that somebody at this address received it from
 * us, when, and with which features: stripping the cookie or a feature bit (the bid-down attack of RFC 8489
 * 9.2.1) makes it a foreign one. The port only makes the nonces of two sockets differ, as RFC 8489 9.2.4 wants: a
 * client may use one nonce on all its sockets, as clients do for the data connections of RFC 6062.
 *
 * Bit 0 of the features is the rightmost of the 24: RFC 8489 18.1 says leftmost, its own example says
 * rightmost, and verified erratum 6290 settles it for the example.
 */
#include <errno.h>
#include <string.h>
#include "stun/key_priv.h"

#define COOKIE "obMatJos2"
enum {
	COOKIE_LEN = sizeof COOKIE - 1,
	FEATURES_LEN = 4, /* base64 of 3 bytes */
	TIME_LEN = 12,
	PORT_LEN = 4,
	MAC_BYTES = 16,
	MAC_LEN = 22, /* base64url of 16 bytes, no padding */
	LIFETIME_MS = 10 * 60 * 1000,
	ROTATE_MS = 60 * 60 * 1000,
	REALM_MAX = 763, /* RFC 8489 14.9 */
};
_Static_assert(COOKIE_LEN + FEATURES_LEN + TIME_LEN + PORT_LEN + MAC_LEN < STUN_NONCE_MAX,
	       "a nonce fits its buffer");

static int new_key(struct stun_saved_mac *ret_key)
{
	uint8_t fresh[32];
	int r = bytes_random(fresh, sizeof fresh);

	if (r < 0)
		return r;
	stun_mac_save(fresh, sizeof fresh, ret_key);
	bytes_wipe(fresh, sizeof fresh);
	return 0;
}

int stun_nonces_init(struct stun_nonces *n, uint64_t now_ms)
{
	int r;

	*n = (struct stun_nonces){ .rotated_at = now_ms };
	/* Both random: a key of zeros would accept anybody's nonce until the first rotation. */
	r = new_key(&n->key[0]);
	return r < 0 ? r : new_key(&n->key[1]);
}

void stun_nonces_tick(struct stun_nonces *n, uint64_t now_ms)
{
	struct stun_saved_mac fresh;

	if (now_ms - n->rotated_at < (n->rotate_ms ? n->rotate_ms : ROTATE_MS))
		return;
	if (new_key(&fresh) < 0)
		return; /* the old keys are still good; the next tick tries again */
	n->key[1] = n->key[0];
	n->key[0] = fresh;
	bytes_wipe(&fresh, sizeof fresh);
	n->rotated_at = now_ms;
}

/* MAC of prefix (the nonce up to its MAC) for this client and realm, as text. */
static void mac_text(const struct stun_saved_mac *key, struct text prefix, const struct addr *client,
		     struct text realm, char ret_mac[static MAC_LEN + 1])
{
	uint8_t data[COOKIE_LEN + FEATURES_LEN + TIME_LEN + PORT_LEN + 1 + 1 + 16 + REALM_MAX],
		mac[STUN_MAC_MAX];
	struct wr w = wr_init(data, sizeof data);
	size_t ip_n;
	const uint8_t *ip = addr_ip(client, &ip_n);

	/* Every part says its length or has a fixed one, so no two inputs read alike. */
	wr_u8(&w, (uint8_t)prefix.n);
	wr_bytes(&w, prefix.p, prefix.n);
	wr_u8(&w, (uint8_t)ip_n);
	wr_bytes(&w, ip, ip_n);
	wr_bytes(&w, realm.p, MIN(realm.n, (size_t)REALM_MAX));
	stun_mac_saved(key, (struct text){ (const char *)data, wr_len(&w) }, mac);
	base64url_encode(mac, MAC_BYTES, ret_mac);
}

/* The last so many digits. */
static void put_hex(struct sb *b, uint64_t v, unsigned digits)
{
	char text[TIME_LEN];

	for (unsigned i = digits; i > 0; i--, v >>= 4)
		text[i - 1] = "0123456789abcdef"[v & 15];
	sb_text(b, (struct text){ text, digits });
}

size_t stun_nonce_make(const struct stun_nonces *n, const struct addr *client, struct text realm,
		       uint32_t features, uint64_t now_ms, char out[static STUN_NONCE_MAX])
{
	struct sb b = sb_init(out, STUN_NONCE_MAX);

	if (features) {
		uint8_t bits[3] = { (uint8_t)(features >> 16), (uint8_t)(features >> 8),
				    (uint8_t)features };
		char text[BASE64_LEN(sizeof bits) + 1];
		base64_encode(bits, sizeof bits, text);
		sb_str(&b, COOKIE);
		sb_str(&b, text);
	}
	put_hex(&b, now_ms, TIME_LEN);
	put_hex(&b, addr_port(client), PORT_LEN);
	char mac[MAC_LEN + 1];
	mac_text(&n->key[0], (struct text){ out, b.n }, client, realm, mac);
	sb_str(&b, mac);
	return b.n;
}

enum stun_nonce_state stun_nonce_check(const struct stun_nonces *n, struct text nonce,
				       const struct addr *client, struct text realm,
				       uint64_t now_ms, uint64_t *ret_age_ms)
{
	size_t front = nonce.n == COOKIE_LEN + FEATURES_LEN + TIME_LEN + PORT_LEN + MAC_LEN
			       ? COOKIE_LEN + FEATURES_LEN
			       : 0;
	uint64_t issued;

	if (nonce.n != front + TIME_LEN + PORT_LEN + MAC_LEN ||
	    text_u64_hex((struct text){ nonce.p + front, TIME_LEN }, &issued) < 0)
		return STUN_NONCE_FOREIGN;
	struct text prefix = { nonce.p, front + TIME_LEN + PORT_LEN };
	bool ours = false;
	for (size_t i = 0; i < ARRAY_LEN(n->key) && !ours; i++) {
		char mac[MAC_LEN + 1];
		mac_text(&n->key[i], prefix, client, realm, mac);
		ours = bytes_equal_ct(mac, nonce.p + prefix.n, MAC_LEN);
	}
	if (!ours)
		return STUN_NONCE_FOREIGN;
	uint64_t age = (now_ms - issued) & 0xffffffffffff;
	if (ret_age_ms)
		*ret_age_ms = age;
	return age < (n->lifetime_ms ? n->lifetime_ms : LIFETIME_MS) ? STUN_NONCE_GOOD
								     : STUN_NONCE_STALE;
}

uint32_t stun_nonce_features(struct text nonce)
{
	uint8_t bits[3];
	size_t n;

	if (!text_starts(nonce, TEXT(COOKIE)) || nonce.n < COOKIE_LEN + FEATURES_LEN ||
	    base64_decode((struct text){ nonce.p + COOKIE_LEN, FEATURES_LEN }, bits, sizeof bits, &n) < 0 ||
	    n != sizeof bits)
		return 0;
	return (uint32_t)bits[0] << 16 | (uint32_t)bits[1] << 8 | bits[2];
}
