/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stranger's request to a share, what of it we read ourselves: path, ranges, tags; codes and links; names of files; and what is sealed. The first
 * byte says which. What is read is true to itself: a range lies in its size, a path and a name lead nowhere else, a code that is written again is
 * the same.
 */
#include <stdlib.h>
#include <string.h>
#include "share/code.h"
#include "share/names.h"
#include "share/records.h"
#include "share/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(x)                                                                                                                                \
	do {                                                                                                                                   \
		if (!(x))                                                                                                                      \
			abort();                                                                                                               \
	} while (0)

static void on_path(struct text t)
{
	struct share_where w = share_where(t);

	MUST(w.place < SHARE_PLACES);
	if (w.place == SHARE_AT_PLAIN_FILE)
		MUST(share_path_good(w.rest, false));
	if (w.place == SHARE_AT_PLAIN_UPLOAD)
		MUST(text_find(w.rest, '/') < 0);
}

static void on_range(struct text t)
{
	uint64_t first, n, total;

	for (uint64_t size = 0; size < 3000; size += 999)
		if (share_range(t, size, &first, &n) == SHARE_RANGE_PART)
			MUST(n > 0 && first < size && n <= size - first);
	if (share_content_range(t, &first, &n, &total) == 0)
		MUST(n > 0 && first < total && n <= total - first);
	(void)share_tag_matches(t, "00112233445566778899aabbccddeeff");
}

static void on_code(struct text t)
{
	struct share_code c, again;
	char text[SHARE_CODE_STRLEN];

	if (share_code_parse(t, &c) != SHARE_CODE_OK)
		return;
	MUST(share_code_parse(text_of(share_code_write(&c, text)), &again) == SHARE_CODE_OK);
	MUST(memcmp(c.secret, again.secret, SHARE_SECRET) == 0 && strcmp(c.host, again.host) == 0 && c.port == again.port);
}

static void on_name(struct text t)
{
	char out[SHARE_NAME_MAX + 1], again[SHARE_NAME_MAX + 1];

	share_name_safe(t, out);
	MUST(*out && *out != '.' && !strchr(out, '/') && !strchr(out, '\\') && text_is_utf8(text_of(out)));
	share_name_again(out, 999, again);
	MUST(*again && *again != '.' && text_is_utf8(text_of(again)));
}

static void on_sealed(struct text t)
{
	static const uint8_t secret[SHARE_SECRET];
	char *p;
	size_t n;

	MUST(sealed_open(secret, "name", t, &p, &n) < 0); /* nobody seals by chance */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(struct text t) = { on_path, on_range, on_code, on_name, on_sealed };
	char *copy;

	if (size < 1)
		return 0;
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	readers[data[0] % ARRAY_LEN(readers)]((struct text){ copy, size - 1 });
	free(copy);
	return 0;
}
