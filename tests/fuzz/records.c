/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log writer's inputs: what a stranger sends, and the names that he gives himself. Checked: the hex columns
 * of a data log read back to the very bytes; the text column, names and head lines are printable ASCII in one
 * line; a line of the connection log is one line of JSON whose name has no control character.
 */
#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/log_msgs.h"
#include "tunnel/records_format.h"

static unsigned nibble(char c)
{
	assert((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void check_printable(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert(p[i] >= 0x20 && p[i] < 0x7f);
}

static void check_hex(const uint8_t *p, size_t n, uint64_t offset)
{
	for (size_t i = 0; i < n;) {
		char line[HEX_LINE_MAX];
		struct sb b = sb_init(line, sizeof line);
		size_t k = format_hex_line(&b, offset + i, p + i, n - i);
		const char *hex = strchr(line, ' ') + 1; /* then groups of eight, each behind a blank more */
		assert(k == MIN(n - i, HEX_PER_LINE) && !b.truncated && line[b.n - 1] == '\n');
		assert(strtoull(line, NULL, 16) == offset + i);
		check_printable(line, b.n - 1);
		for (size_t j = 0; j < k; j++) {
			const char *two = hex + 1 + 3 * j + j / 8;
			assert((nibble(two[0]) << 4 | nibble(two[1])) == p[i + j]);
		}
		const char *text = line + b.n - 2 - k;
		assert(text[-1] == '|' && text[k] == '|');
		for (size_t j = 0; j < k; j++)
			assert(text[j] == (p[i + j] >= 0x20 && p[i + j] < 0x7f ? (char)p[i + j] : '.'));
		i += k;
	}
}

static void check_name(const char *name, size_t n)
{
	char safe[1200], line[LOG_LINE_MAX];
	struct sb b = sb_init(safe, sizeof safe);
	struct log_field f[] = { LF_TEXT("source_name", ((struct text){ name, n })), LF_STR("reason", name), { .type = LF_END } };
	json_error_t e;

	format_safe(&b, name);
	check_printable(safe, b.n);
	assert(!b.truncated);
	size_t len = log_render(line, sizeof line, &MSG_RELAY_CONNECTION_ENDED, f, 966730715000, true);
	assert(!memchr(line, '\n', len));
	json_t *j = json_loadb(line, len, 0, &e);
	assert(j && json_is_string(json_object_get(j, "source_name")) && json_is_string(json_object_get(j, "reason")));
	json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Two bytes place the packet in its stream, on both sides of the eighth digit; the rest is packet and name. */
	uint64_t offset = size < 2 ? 0 : (uint64_t)data[0] << 28 | (uint64_t)data[1] << 4;
	size_t n = size < 2 ? 0 : size - 2;
	uint8_t *packet = malloc(n ? n : 1);
	char *name = malloc(n + 1);

	if (!packet || !name)
		abort();
	if (n)
		memcpy(packet, data + 2, n);
	if (n)
		memcpy(name, data + 2, n);
	name[n] = 0;
	check_hex(packet, n, offset);
	check_name(name, n);
	free(packet);
	free(name);
	return 0;
}
