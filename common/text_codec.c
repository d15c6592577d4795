/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hex and base64 (RFC 4648), strict in decoding: every value has exactly one spelling in base64, so
 * padding must be there and correct, bits behind the last byte must be zero, and nothing else (line
 * breaks, blanks, the other alphabet) is let through.
 */
#include <errno.h>
#include "common/text.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_decode(struct text t, uint8_t *out, size_t cap, size_t *ret_n)
{
	if (t.n % 2 != 0)
		return -EINVAL;
	if (t.n / 2 > cap)
		return -ENOSPC;
	for (size_t i = 0; i < t.n / 2; i++) {
		int hi = hex_digit(t.p[2 * i]), lo = hex_digit(t.p[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	*ret_n = t.n / 2;
	return 0;
}

void hex_encode(const void *p, size_t n, char *out)
{
	const uint8_t *b = p;
	for (size_t i = 0; i < n; i++) {
		*out++ = "0123456789abcdef"[b[i] >> 4];
		*out++ = "0123456789abcdef"[b[i] & 15];
	}
	*out = 0;
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct text t, uint8_t *out, size_t cap, size_t *ret_n)
{
	if (t.n % 4 != 0)
		return -EINVAL;
	size_t pad = 0;
	while (pad < 2 && pad < t.n && t.p[t.n - 1 - pad] == '=')
		pad++;
	size_t n = t.n / 4 * 3 - pad;
	if (n > cap)
		return -ENOSPC;
	uint32_t bits = 0;
	size_t done = 0;
	for (size_t i = 0; i < t.n - pad; i++) {
		int d = base64_digit(t.p[i]);
		if (d < 0)
			return -EINVAL;
		bits = (bits << 6 | (uint32_t)d) & 0xffffff;
		if (i % 4 != 0) /* the first digit of four completes no byte, each other one does */
			out[done++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
	}
	/* the last digit before the padding holds 2 or 4 bits that belong to no byte */
	if (bits & ((1u << (2 * pad)) - 1))
		return -EINVAL;
	*ret_n = n;
	return 0;
}

static char *encode(const uint8_t *b, size_t n, const char *alphabet, char *out)
{
	for (; n >= 3; b += 3, n -= 3) {
		uint32_t v = (uint32_t)b[0] << 16 | (uint32_t)b[1] << 8 | b[2];
		for (int shift = 18; shift >= 0; shift -= 6)
			*out++ = alphabet[v >> shift & 63];
	}
	if (n > 0) {
		uint32_t v = (uint32_t)b[0] << 16 | (n > 1 ? (uint32_t)b[1] << 8 : 0);
		for (int shift = 18; shift >= (n > 1 ? 6 : 12); shift -= 6)
			*out++ = alphabet[v >> shift & 63];
	}
	return out;
}

void base64_encode(const void *p, size_t n, char *out)
{
	char *end = encode(p, n, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
			   out);
	while ((end - out) % 4 != 0)
		*end++ = '=';
	*end = 0;
}

void base64url_encode(const void *p, size_t n, char *out)
{
	*encode(p, n, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", out) = 0;
}
