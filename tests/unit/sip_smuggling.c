/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smuggling corpus (tests/torture/smuggling.py) at the parser: each message gets its verdict in a datagram, and on a
 * stream however it is cut into pieces; behind a bad one nothing is given out; what is given out never holds the word
 * "smuggled"; each frame of WebSocket ends the way that its row says. The running proxy meets them in tests/sip/smuggling.py.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "sip-proxy/framer.h"
#include "sip-proxy/headers.h"
#include "sip-proxy/ws.h"
#include "tests/torture/file.h"
#include "tests/torture/smuggling.h"

static char *block; /* of exactly the file's size */
static size_t block_n;

static int setup(void **state)
{
	(void)state;
	return sip_headers_init();
}

static int teardown(void **state)
{
	(void)state;
	free(block);
	sip_headers_deinit();
	return 0;
}

static void load(const char *file)
{
	char name[128];
	(void)snprintf(name, sizeof name, "smuggling/%s", file);
	free(block);
	block = torture_read(name, ".bin", &block_n);
}

static bool is_smuggled(struct text t)
{
	return memmem(t.p, t.n, "smuggled", 8) != NULL;
}

static void check_verdict(const char *file, int v, int want)
{
	if (v != want)
		fail_msg("%s: %s, not %s", file, sip_verdict_row((enum sip_verdict)v)->label,
			 sip_verdict_row((enum sip_verdict)want)->label);
}

/* The verdict of both readers, of what the edge asks first and what the core asks behind it. */
static int judge(int parsed, const struct sip_msg *m, const char *file)
{
	struct sip_basics b;
	int v = parsed == SIP_OK ? (int)sip_basics_read(m, &b) : parsed;
	if (v == SIP_OK && is_smuggled(m->raw))
		fail_msg("%s is taken", file);
	return v;
}

static void in_a_datagram_each_gets_its_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(smuggling_rows); i++) {
		const struct smuggling_row *row = &smuggling_rows[i];
		struct sip_msg m;
		if (row->datagram < 0)
			continue;
		load(row->file);
		int r = sip_msg_parse(&m, (struct text){ block, block_n }, SIP_DATAGRAM, NULL);
		check_verdict(row->file, judge(r, &m, row->file), row->datagram);
		sip_msg_deinit(&m);
	}
}

/* Offers the file in pieces of `step` bytes: the first verdict that is not good. */
static int over_a_stream(const struct smuggling_row *row, size_t step)
{
	struct sip_framer f = { 0 };
	unsigned good = 0;
	int v = SIP_INCOMPLETE;
	size_t at = 0, have = 0;
	while (have < block_n && v == SIP_INCOMPLETE) {
		have = MIN(have + step, block_n);
		for (int r = SIP_FRAME_MESSAGE; r != SIP_FRAME_MORE && v == SIP_INCOMPLETE;) {
			enum sip_verdict why = SIP_OK;
			struct sip_msg m;
			size_t used;
			r = sip_framer_next(&f, (struct text){ block + at, have - at }, &m, &used, &why);
			at += used;
			if (r != SIP_FRAME_MESSAGE && r != SIP_FRAME_BAD)
				continue;
			int judged = judge(r == SIP_FRAME_BAD ? (int)why : SIP_OK, &m, row->file);
			sip_msg_deinit(&m);
			if (judged == SIP_OK)
				good++;
			else
				v = judged;
		}
	}
	if (good != row->before)
		fail_msg("%s: %u good messages in front, not %u", row->file, good, row->before);
	return v;
}

static void on_a_stream_each_gets_its_verdict_however_it_is_cut(void **state)
{
	static const size_t steps[] = { 1, 2, 3, 7, 64, SIZE_MAX / 2 };
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(smuggling_rows); i++) {
		const struct smuggling_row *row = &smuggling_rows[i];
		if (row->stream < 0)
			continue;
		load(row->file);
		for (size_t k = 0; k < ARRAY_LEN(steps); k++)
			check_verdict(row->file, over_a_stream(row, steps[k]), row->stream);
	}
}

/* The same name, and nothing behind it but what follows. */
static bool has_row(const char *name, const char *more)
{
	char file[128];
	struct sb b = sb_init(file, sizeof file);
	sb_fmt(&b, "twice-%s%s", name, more);
	for (char *p = file; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p | 0x20);
	for (size_t i = 0; i < ARRAY_LEN(smuggling_rows); i++)
		if (strcmp(smuggling_rows[i].file, file) == 0)
			return true;
	return false;
}

static void no_header_that_may_be_there_once_is_forgotten(void **state)
{
	(void)state;
	for (unsigned id = 1; id < SIP_HEADERS; id++) {
		const struct header_row *row = sip_header_row((enum sip_header)id);
		if (!(row->flags & HDR_SINGLE))
			continue;
		if (!has_row(row->name, "") || !has_row(row->name, "-case") ||
		    (row->compact && !has_row(row->name, "-compact")))
			fail_msg("%s is missing in tests/torture/smuggling.py", row->name);
	}
}

/* The verdict on a message of a WebSocket: the code of its answer. */
static int judge_message(const struct ws_input *in, const char *file)
{
	struct sip_msg m;
	int r = sip_msg_parse(&m, (struct text){ in->data, in->n }, SIP_DATAGRAM, NULL);
	int v = judge(r, &m, file);
	sip_msg_deinit(&m);
	return sip_verdict_row((enum sip_verdict)v)->code;
}

static int end_of(int event)
{
	return event == -EMSGSIZE ? 1009 : event == -EILSEQ ? 1007 : event < 0 ? 1002 : 0;
}

/* Frames arrive byte by byte, or all at once: how the first that is at fault ends it. */
static int end_of_frames(const char *file, size_t step)
{
	struct ws_reader r = { .max = 65536 };
	int end = -1;
	uint8_t *copy = malloc(block_n);
	assert_non_null(copy);
	memcpy(copy, block, block_n);
	for (size_t at = 0, have = MIN(step, block_n); end < 0;) {
		struct ws_input in;
		size_t used;
		int event = ws_read(&r, copy + at, have - at, &used, &in);
		at += used;
		if (event < 0)
			end = end_of(event);
		else if (event == WS_MESSAGE)
			end = judge_message(&in, file);
		else if (event == WS_PING || event == WS_PONG || event == WS_CLOSE)
			fail_msg("%s: event %d", file, event);
		else if (used == 0 && have == block_n)
			fail_msg("%s waits for more", file);
		else if (used == 0)
			have = MIN(have + step, block_n);
	}
	ws_reader_deinit(&r);
	free(copy);
	return end;
}

static void over_websocket_each_ends_as_it_must(void **state)
{
	char answer[WS_ANSWER_MAX];
	bool page;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(smuggling_frames); i++) {
		const struct smuggling_frames *row = &smuggling_frames[i];
		load(row->file);
		if (strncmp(row->file, "http-", 5) == 0) {
			assert_int_equal(ws_upgrade((struct text){ block, block_n }, answer, &page),
					 -EBADMSG);
			assert_int_equal(strncmp(answer, "HTTP/1.1 400 ", 13), 0);
			continue;
		}
		for (size_t step = 1; step <= block_n; step = step * 5 + block_n / 2) {
			int end = end_of_frames(row->file, step);
			if (end != row->end)
				fail_msg("%s ends with %d, not %d", row->file, end, row->end);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_a_datagram_each_gets_its_verdict),
		cmocka_unit_test(on_a_stream_each_gets_its_verdict_however_it_is_cut),
		cmocka_unit_test(no_header_that_may_be_there_once_is_forgotten),
		cmocka_unit_test(over_websocket_each_ends_as_it_must),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
