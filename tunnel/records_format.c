/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Head lines and hex lines. Pure text: no files, no locks.
 *
 * The hex line is written by hand, not by printf, because a data log of a busy connection spends its
 * time here.
 */
#include "tunnel/records_format.h"
#include <string.h>
#include <time.h>

static const char digits[] = "0123456789abcdef";

void format_time(struct sb *b, int64_t unix_ms, bool with_ms)
{
	time_t t = (time_t)(unix_ms / 1000);
	struct tm tm = { 0 };

	localtime_r(&t, &tm);
	sb_fmt(b, "%04d/%02d/%02d %02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	       tm.tm_sec);
	if (with_ms)
		sb_fmt(b, ".%03d", (int)(unix_ms % 1000));
}

void format_packet_head(struct sb *b, int64_t unix_ms, const char *from, const char *to, size_t n)
{
	format_time(b, unix_ms, true);
	sb_fmt(b, " Packet from %s to %s, %zu byte%s\n", from, to, n, n == 1 ? "" : "s");
}

size_t format_hex_line(struct sb *b, uint64_t offset, const uint8_t *p, size_t n)
{
	char line[3 * HEX_PER_LINE + HEX_PER_LINE + 8], *o = line;

	n = MIN(n, HEX_PER_LINE);
	sb_fmt(b, "%08llx ", (unsigned long long)offset);
	for (size_t i = 0; i < HEX_PER_LINE; i++) {
		if (i % 8 == 0)
			*o++ = ' ';
		*o++ = i < n ? digits[p[i] >> 4] : ' ';
		*o++ = i < n ? digits[p[i] & 15] : ' ';
		*o++ = ' ';
	}
	*o++ = ' ';
	*o++ = '|';
	for (size_t i = 0; i < n; i++)
		*o++ = p[i] >= 0x20 && p[i] < 0x7f ? (char)p[i] : '.';
	*o++ = '|';
	*o++ = '\n';
	sb_text(b, (struct text){ line, (size_t)(o - line) });
	return n;
}

void format_safe(struct sb *b, const char *s)
{
	for (size_t i = 0; s && s[i] && i < 256; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c >= 0x20 && c < 0x7f && c != '\\')
			sb_char(b, (char)c);
		else
			sb_fmt(b, "\\x%02x", c);
	}
}
