/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-time passwords by time: RFC 6238 with HMAC-SHA-1, 30 seconds and six digits, which is what every authenticator takes.
 *
 * A code counts for one step before and behind ours, because clocks differ, and each step counts once. The QR code is an SVG
 * of our own making: nothing of what a user chose is in it but as black squares.
 */
#include "console/console.h"

#include <openssl/hmac.h>
#include <qrencode.h>
#include <stdio.h>
#include <string.h>

enum { DIGITS = 6, WINDOW = 1, FUTURE = 3600 / TOTP_STEP_S, QUIET_ZONE = 4 };

void totp_base32(const uint8_t *p, size_t n, char *out)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	uint32_t bits = 0;
	unsigned have = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | p[i];
		for (have += 8; have >= 5; have -= 5)
			*out++ = letters[bits >> (have - 5) & 31];
	}
	if (have)
		*out++ = letters[bits << (5 - have) & 31];
	*out = 0;
}

unsigned totp_code(const uint8_t secret[static TOTP_SECRET], uint64_t step)
{
	unsigned char mac[EVP_MAX_MD_SIZE], counter[8];
	unsigned n = 0, at;

	for (int i = 0; i < 8; i++)
		counter[i] = (unsigned char)(step >> (56 - 8 * i));
	if (!HMAC(EVP_sha1(), secret, TOTP_SECRET, counter, sizeof(counter), mac, &n) || n < 20)
		return UINT32_MAX;
	at = mac[n - 1] & 15;
	return (((unsigned)mac[at] & 0x7f) << 24 | (unsigned)mac[at + 1] << 16 | (unsigned)mac[at + 2] << 8 | mac[at + 3]) % 1000000;
}

uint64_t totp_check(const uint8_t secret[static TOTP_SECRET], const char *code, int64_t unix_s, uint64_t last)
{
	uint64_t now = (uint64_t)unix_s / TOTP_STEP_S, given;

	if (strlen(code) != DIGITS || text_u64(text_of(code), &given) < 0)
		return 0;
	if (last > now + FUTURE) /* of a clock that was wrong, and has been set */
		last = 0;
	for (uint64_t step = now - WINDOW; step <= now + WINDOW; step++)
		if (step > last && totp_code(secret, step) == given)
			return step;
	return 0;
}

char *totp_qr_svg(const char *text)
{
	QRcode *qr = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);
	size_t cap, side;
	char *svg;
	struct sb b;

	if (!qr)
		return NULL;
	side = (size_t)qr->width + 2 * QUIET_ZONE;
	cap = 400 + (size_t)qr->width * (size_t)qr->width * 20;
	svg = malloc(cap);
	if (svg) {
		b = sb_init(svg, cap);
		sb_fmt(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %zu %zu\" shape-rendering=\"crispEdges\"><path fill=\"#fff\" "
		       "d=\"M0 0h%zuv%zuH0z\"/><path d=\"", side, side, side, side);
		for (int i = 0; i < qr->width * qr->width; i++)
			if (qr->data[i] & 1)
				sb_fmt(&b, "M%d %dh1v1h-1z", i % qr->width + QUIET_ZONE, i / qr->width + QUIET_ZONE);
		sb_str(&b, "\"/></svg>");
	}
	QRcode_free(qr);
	return svg;
}
