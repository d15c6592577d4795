/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of files, made harmless. A name is looked at character by character, as UTF-8; where the bytes are none, one by one.
 *
 * What replaces a character is '_', one for each: so a name stays as long as it was, in characters, and cannot become another
 * one's by losing some.
 */
#include "share/names.h"
#include <stdio.h>

enum { AGAIN_MAX = 12 /* " (1000)" */, LONG = 2 * SHARE_NAME_MAX, EXTENSION_MAX = 16 };

/* Bytes of the character at p, and the character; 0: it is none. */
static size_t character(struct text t, uint32_t *ret_c)
{
	static const uint8_t lengths[] = { 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 2, 3, 4 };
	size_t n = t.n ? lengths[(uint8_t)t.p[0] >> 4] : 0;
	uint32_t c = (uint8_t)t.p[0];

	if (!n || n > t.n || !text_is_utf8((struct text){ t.p, n }))
		return 0;
	if (n > 1)
		c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++)
		c = c << 6 | ((uint8_t)t.p[i] & 0x3f);
	*ret_c = c;
	return n;
}

/* Controls, and characters that make the rest be written the other way round or not be seen at all. */
static bool is_bad(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x2069) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb);
}

void share_name_show(struct text raw, char *out, size_t cap)
{
	struct sb b = sb_init(out, cap);

	while (raw.n) {
		uint32_t c;
		size_t n = character(raw, &c);

		if (n && !is_bad(c))
			sb_text(&b, (struct text){ raw.p, n });
		else
			sb_char(&b, '_');
		raw = text_drop(raw, n ? n : 1);
	}
}

static struct text last_part(struct text t)
{
	for (size_t i = t.n; i > 0; i--)
		if (t.p[i - 1] == '/' || t.p[i - 1] == '\\')
			return text_drop(t, i);
	return t;
}

/* CON, PRN, AUX, NUL, COM1, LPT1 …, with whatever extension. */
static bool is_device(struct text name)
{
	static const char *const devices[] = { "con", "prn", "aux", "nul", "com", "lpt" };
	struct text stem = text_cut(&name, '.');

	for (size_t i = 0; i < ARRAY_LEN(devices); i++) {
		bool digit = i >= 4 && stem.n == 4 && stem.p[3] >= '0' && stem.p[3] <= '9';

		if ((stem.n == 3 && i < 4 && text_ieq(stem, text_of(devices[i]))) ||
		    (digit && text_ieq((struct text){ stem.p, 3 }, text_of(devices[i]))))
			return true;
	}
	return false;
}

static struct text extension(struct text t)
{
	for (size_t i = t.n; i > 1 && t.n - i < EXTENSION_MAX - 1; i--)
		if (t.p[i - 1] == '.')
			return text_drop(t, i - 1);
	return (struct text){ 0 };
}

/* stem and ext in at most max bytes. */
static void put(struct text stem, struct text ext, size_t max, char out[static SHARE_NAME_MAX + 1])
{
	char cut[SHARE_NAME_MAX + 1];
	struct sb b = sb_init(cut, MIN(max - ext.n, sizeof(cut) - 1) + 1), whole;

	sb_text(&b, stem);
	whole = sb_init(out, SHARE_NAME_MAX + 1);
	sb_str(&whole, cut);
	sb_text(&whole, ext);
}

void share_name_safe(struct text raw, char out[static SHARE_NAME_MAX + 1])
{
	static const char forbidden[] = "<>:\"|?*"; /* of other systems' names: the file may go there one day */
	char shown[4 * SHARE_NAME_MAX + 1], cut[LONG + EXTENSION_MAX];
	struct text t, ext;

	raw = last_part(raw);
	ext = extension(raw);
	if (raw.n > LONG && ext.n) { /* the middle does not matter */
		memcpy(cut, raw.p, LONG);
		memcpy(cut + LONG, ext.p, ext.n);
		raw = (struct text){ cut, LONG + ext.n };
	}
	share_name_show(raw, shown, sizeof(shown));
	for (char *p = shown; *p; p++)
		if (strchr(forbidden, *p))
			*p = '_';
	t = text_of(shown);
	while (t.n && (t.p[t.n - 1] == ' ' || t.p[t.n - 1] == '.'))
		t.n--;
	while (t.n && (t.p[0] == ' ' || t.p[0] == '.'))
		t = text_drop(t, 1);
	if (!t.n)
		t = TEXT("upload");
	ext = extension(t);
	t.n -= ext.n;
	put(t, ext, SHARE_NAME_MAX - AGAIN_MAX - 1, out);
	if (is_device(text_of(out))) {
		char kept[SHARE_NAME_MAX + 1];

		(void)snprintf(kept, sizeof(kept), "%s", out);
		(void)snprintf(out, SHARE_NAME_MAX + 1, "_%.*s", SHARE_NAME_MAX - 1, kept);
	}
}

void share_name_again(const char *name, unsigned n, char out[static SHARE_NAME_MAX + 1])
{
	struct text t = text_of(name), ext = extension(t);
	char stem[SHARE_NAME_MAX + AGAIN_MAX + 1];

	t.n -= ext.n;
	(void)snprintf(stem, sizeof(stem), "%.*s (%u)", (int)MIN(t.n, (size_t)SHARE_NAME_MAX - ext.n - AGAIN_MAX), t.p, n);
	put(text_of(stem), ext, SHARE_NAME_MAX, out);
}
