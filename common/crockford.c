/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Five bits at a time: what is held of a byte waits for the next one.
 *
 * Digits are taken as they come; the first thing that is wrong ends it, so whoever asks is told the first slip of a code.
 * What was written until then is the caller's to wipe.
 */
#include "common/crockford.h"
#include <errno.h>

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void crockford_write(struct sb *b, const uint8_t *bytes, size_t n, unsigned group)
{
	unsigned held = 0, bits = 0, written = 0;

	for (size_t i = 0; i < n; i++) {
		held = (held << 8 | bytes[i]) & 0xffff;
		for (bits += 8; bits >= 5; bits -= 5) {
			if (written && written % group == 0)
				sb_char(b, '-');
			sb_char(b, digits[held >> (bits - 5) & 31]);
			written++;
		}
	}
}

static int digit_of(char c)
{
	const char *at;

	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	c = c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c;
	at = c ? strchr(digits, c) : NULL;
	return at ? (int)(at - digits) : -1;
}

static bool is_between(char c)
{
	return c == ' ' || c == '-' || c == '\t' || c == '\r' || c == '\n';
}

int crockford_read(struct text t, uint8_t *bytes, size_t n)
{
	unsigned held = 0, bits = 0;
	size_t left = n * 8 / 5, at = 0;

	for (size_t i = 0; i < t.n; i++) {
		int d = digit_of(t.p[i]);

		if (is_between(t.p[i]))
			continue;
		if (d < 0)
			return -EILSEQ;
		if (left-- == 0)
			return -EMSGSIZE;
		held = (held << 5 | (unsigned)d) & 0xffff;
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			bytes[at++] = (uint8_t)(held >> bits);
		}
	}
	if (left)
		return -EMSGSIZE;
	if (at < n)
		bytes[at] = (uint8_t)(held << (8 - bits));
	return 0;
}
