/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading of paths and ranges. A path has one meaning or none: what is doubtful is not found.
 *
 * No memory of its own; a number that does not fit is none.
 * Wire and meaning are in docs/decisions/0024-sharing.md.
 */
#include "share/request.h"
#include <errno.h>

/* ---- paths ---- */

static bool is_plain_byte(char c)
{
	return (unsigned char)c >= ' ' && c != 0x7f && c != '\\';
}

bool share_path_good(struct text path, bool one_name)
{
	struct text rest = path;

	if (!path.n || path.n > 4096 || !text_is_utf8(path))
		return false;
	for (size_t i = 0; i < path.n; i++)
		if (!is_plain_byte(path.p[i]))
			return false;
	while (rest.p) {
		struct text part = text_cut(&rest, '/');

		if (!part.n || part.n > 255 || text_eq(part, TEXT(".")) || text_eq(part, TEXT("..")))
			return false;
		if (one_name && rest.p)
			return false;
	}
	return true;
}

static bool number_of(struct text t, uint64_t *ret_n)
{
	return t.n && (t.n == 1 || t.p[0] != '0') && text_u64(t, ret_n) == 0;
}

static const struct {
	const char *word;
	enum share_place place;
} words[] = {
	{ "meta", SHARE_AT_META },
	{ "a", SHARE_AT_ARCHIVE },
	{ "done", SHARE_AT_DONE },
	{ "plain/meta", SHARE_AT_PLAIN_META },
	{ "plain/a", SHARE_AT_PLAIN_ARCHIVE },
};

static void with_argument(struct share_where *w, char kind, struct text arg)
{
	switch (kind) {
	case 'e':
	case 'h':
		if (number_of(arg, &w->number))
			w->place = kind == 'e' ? SHARE_AT_ENTRY : SHARE_AT_HASH;
		break;
	case 'u':
		if (share_hex16(arg, w->salt) == 0)
			w->place = SHARE_AT_UPLOAD;
		break;
	case 'f':
	case 'n':
		if (!share_path_good(arg, kind == 'n'))
			break;
		w->place = kind == 'f' ? SHARE_AT_PLAIN_FILE : SHARE_AT_PLAIN_UPLOAD;
		w->rest = arg;
		break;
	default: break;
	}
}

struct share_where share_where(struct text path)
{
	struct share_where none = { 0 }, w = { 0 };
	struct text id;

	if (!text_starts(path, TEXT("/s/")))
		return none;
	path = text_drop(path, 3);
	id = text_cut(&path, '/');
	if (share_id_parse(id, &w.id) < 0)
		return none;
	if (path.n >= 2 && path.p[1] == '/')
		with_argument(&w, path.p[0], text_drop(path, 2));
	for (size_t i = 0; i < ARRAY_LEN(words) && w.place == SHARE_AT_NOTHING; i++)
		if (text_eq(path, text_of(words[i].word)))
			w.place = words[i].place;
	if (w.place == SHARE_AT_NOTHING && (!path.n || share_path_good(path, true))) {
		w.place = SHARE_AT_PAGE;
		w.rest = path;
	}
	return w;
}

/* ---- ranges ---- */

/* "A-B", "A-", "-N" */
enum share_range share_range(struct text range, uint64_t size, uint64_t *ret_first, uint64_t *ret_n)
{
	struct text last = text_trim(range), first;
	uint64_t a, b;

	*ret_first = 0;
	*ret_n = size;
	if (!text_starts(last, TEXT("bytes=")))
		return SHARE_RANGE_ALL;
	last = text_drop(last, 6);
	first = text_cut(&last, '-');
	if (!last.p)
		return SHARE_RANGE_ALL;
	if (!first.n) {
		if (text_u64(last, &b) < 0)
			return SHARE_RANGE_ALL;
		if (!b || !size)
			return SHARE_RANGE_NOT;
		*ret_n = MIN(b, size);
		*ret_first = size - *ret_n;
		return SHARE_RANGE_PART;
	}
	if (text_u64(first, &a) < 0 || (last.n && (text_u64(last, &b) < 0 || b < a)))
		return SHARE_RANGE_ALL;
	if (a >= size)
		return SHARE_RANGE_NOT;
	b = last.n ? MIN(b, size - 1) : size - 1;
	*ret_first = a;
	*ret_n = b - a + 1;
	return SHARE_RANGE_PART;
}

int share_content_range(struct text range, uint64_t *ret_first, uint64_t *ret_n, uint64_t *ret_total)
{
	struct text total = text_trim(range), last, first;
	uint64_t a, b, t;

	if (!text_starts(total, TEXT("bytes ")))
		return -EINVAL;
	total = text_drop(total, 6);
	last = text_cut(&total, '/');
	first = text_cut(&last, '-');
	if (!total.p || !last.p || text_u64(first, &a) < 0 || text_u64(last, &b) < 0 || text_u64(total, &t) < 0 || b < a || b >= t)
		return -EINVAL;
	*ret_first = a;
	*ret_n = b - a + 1;
	*ret_total = t;
	return 0;
}

bool share_tag_matches(struct text header, const char *tag)
{
	const struct text want = text_of(tag);

	while (header.p) {
		struct text one = text_trim(text_cut(&header, ','));

		if (text_eq(one, TEXT("*")))
			return true;
		if (one.n == want.n + 2 && one.p[0] == '"' && one.p[one.n - 1] == '"' && memcmp(one.p + 1, want.p, want.n) == 0)
			return true;
	}
	return false;
}
