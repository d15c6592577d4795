/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and FINGERPRINT on a message (RFC 8489 14.5 to 14.7), and
 * the PASSWORD-ALGORITHM(S) attributes (14.11, 14.12).
 *
 * Each covers the bytes in front of it, with a header whose length says that it is the last attribute.
 * The writer patches the real header; the check works on a copy of its 20 bytes, so that a received
 * message stays as it is. The MAC itself is auth_key.c, the CRC fingerprint.c.
 */
#include <errno.h>
#include <string.h>
#include "stun/key_priv.h"

/* Which attribute belongs to a MAC, and how long it is when we write it. */
static const struct {
	enum stun_attr attr;
	size_t len;
} by_mac[] = {
	[STUN_MAC_SHA1] = { STUN_A_MESSAGE_INTEGRITY, STUN_MI_LEN },
	[STUN_MAC_SHA256] = { STUN_A_MESSAGE_INTEGRITY_SHA256, STUN_MI256_LEN },
};

/* MAC over raw up to offset, as if an attribute of n bytes there were the last. */
static void message_mac(const struct stun_key *k, const uint8_t *raw, size_t offset, size_t n,
			uint8_t ret_mac[static STUN_MAC_MAX])
{
	uint8_t header[STUN_HEADER_LEN];

	memcpy(header, raw, sizeof header);
	store_be16(header + 2, (uint16_t)(offset + 4 + n - STUN_HEADER_LEN));
	stun_key_mac(k, (struct text){ (const char *)header, sizeof header },
		     (struct text){ (const char *)raw + STUN_HEADER_LEN, offset - STUN_HEADER_LEN },
		     ret_mac);
}

/* True if an attribute of n bytes still fits a STUN message behind what is written. */
static bool fits(struct stun_writer *sw, size_t n)
{
	size_t len = wr_len(&sw->w);

	if (len < STUN_HEADER_LEN || len + 4 + n - STUN_HEADER_LEN > UINT16_MAX)
		sw->w.failed = true;
	return !sw->w.failed;
}

void stun_put_integrity(struct stun_writer *sw, const struct stun_key *k)
{
	enum stun_mac mac = stun_key_algorithm(k);
	uint8_t value[STUN_MAC_MAX];

	if (!fits(sw, by_mac[mac].len))
		return;
	message_mac(k, sw->w.start, wr_len(&sw->w), by_mac[mac].len, value);
	stun_put(sw, by_mac[mac].attr, value, by_mac[mac].len);
}

void stun_put_fingerprint(struct stun_writer *sw)
{
	if (!fits(sw, sizeof(uint32_t)))
		return;
	size_t n = wr_len(&sw->w);
	store_be16(sw->w.start + 2, (uint16_t)(n + 8 - STUN_HEADER_LEN));
	stun_put_u32(sw, STUN_A_FINGERPRINT, stun_fingerprint(sw->w.start, n));
}

bool stun_check_integrity(const struct stun_msg *m, const struct stun_key *k)
{
	enum stun_mac mac = stun_key_algorithm(k);
	struct stun_value v = m->attr[by_mac[mac].attr];
	uint8_t expected[STUN_MAC_MAX];

	/* The row has limited the length (exactly 20; 16 to 32, in fours), so a short MAC never gets here. */
	if (!v.p)
		return false;
	message_mac(k, m->raw, (size_t)(v.p - m->raw) - 4, v.n, expected);
	return bytes_equal_ct(v.p, expected, v.n);
}

/* Algorithm, then the length of its parameters; neither of ours has any. The best stands first. */
static const uint8_t our_algorithms[] = { 0, STUN_ALG_SHA256, 0, 0, 0, STUN_ALG_MD5, 0, 0 };

void stun_put_password_algorithms(struct stun_writer *sw)
{
	stun_put(sw, STUN_A_PASSWORD_ALGORITHMS, our_algorithms, sizeof our_algorithms);
}

void stun_put_password_algorithm(struct stun_writer *sw, enum stun_algorithm alg)
{
	stun_put(sw, STUN_A_PASSWORD_ALGORITHM, (uint8_t[]){ 0, (uint8_t)alg, 0, 0 }, 4);
}

int stun_get_password_algorithm(const struct stun_msg *m, enum stun_algorithm *ret_alg)
{
	struct stun_value v = m->attr[STUN_A_PASSWORD_ALGORITHM];

	if (!v.p)
		return -ENOENT;
	struct rd r = rd_init(v.p, v.n);
	uint16_t alg = rd_u16(&r), parameters = rd_u16(&r);
	rd_take(&r, parameters);
	rd_take(&r, -(size_t)parameters & 3);
	if (!rd_done(&r))
		return -EBADMSG;
	if ((alg != STUN_ALG_MD5 && alg != STUN_ALG_SHA256) || parameters > 0)
		return -ENOTSUP;
	*ret_alg = (enum stun_algorithm)alg;
	return 0;
}

bool stun_password_algorithms_equal_ours(const struct stun_msg *m)
{
	struct stun_value v = m->attr[STUN_A_PASSWORD_ALGORITHMS];

	return v.p && v.n == sizeof our_algorithms && memcmp(v.p, our_algorithms, v.n) == 0;
}
