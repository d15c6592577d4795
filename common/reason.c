/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of printf() is walked gap by gap; what a gap holds is found by the letters behind it in the finished sentence, for the values
 * themselves have been turned into text already.
 *
 * Only forms come here, which are ours: nothing of them is a stranger's.
 */
#include "common/reason.h"
#include <string.h>

enum { PART = 256 };

/* Behind the conversion that begins at p ("%-5.2lu"); p stays in front of its '%'. */
static const char *behind(const char *p)
{
	p++;
	p += strspn(p, "-+ #0123456789.*hljztL");
	return *p ? p + 1 : p;
}

void reason_word(const char *fmt, char out[static REASON_WORD])
{
	size_t n = 0;

	for (const char *p = fmt; *p && n < REASON_WORD - 1;) {
		char c = *p;

		if (c == '%' && p[1] != '%') {
			p = behind(p);
			c = '-';
		} else {
			p += c == '%' ? 2 : 1;
		}
		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
			out[n++] = c;
		else if (c != '\'' && n && out[n - 1] != '-')
			out[n++] = '-';
	}
	while (n && out[n - 1] == '-')
		n--;
	out[n] = 0;
}

/* The letters from p to the next gap or the end; behind them. */
static const char *letters(const char *p, char out[static PART])
{
	size_t n = 0;

	while (*p && (*p != '%' || p[1] == '%')) {
		if (n < PART - 1)
			out[n++] = *p;
		p += *p == '%' ? 2 : 1;
	}
	out[n] = 0;
	return p;
}

json_t *reason_values(const char *fmt, const char *text)
{
	json_t *values = json_array();
	char part[PART];
	const char *p = letters(fmt, part), *end;
	bool good = values && strncmp(text, part, strlen(part)) == 0;

	text += good ? strlen(part) : 0;
	while (good && *p) {
		p = letters(behind(p), part);
		end = part[0] ? strstr(text, part) : *p ? NULL : text + strlen(text);
		good = end && json_array_append_new(values, json_stringn(text, (size_t)(end - text))) == 0;
		text = end ? end + strlen(part) : text;
	}
	if (good && json_array_size(values))
		return values;
	json_decref(values);
	return NULL;
}
