/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket of SIP (sip-proxy/ws.h): the upgrade of RFC 6455 1.3 and RFC 7118 5 with what each missing piece is answered, the
 * frames of RFC 6455 5.7 cut at every byte, and what ends a connection with which of its codes.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sip-proxy/ws.h"

/* ---- the upgrade ---- */

#define START "GET / HTTP/1.1\r\n"
#define HOST "Host: sip.test\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define SIP "Sec-WebSocket-Protocol: chat, sip\r\n"

static void the_upgrade_is_answered_as_in_the_rfc(void **state)
{
	static const char head[] = START HOST UPGRADE KEY VERSION SIP "Content-Length: 0\r\n\r\n";
	char answer[WS_ANSWER_MAX];
	bool page = true;
	(void)state;
	for (size_t n = 0; n < sizeof(head) - 1; n++)
		assert_int_equal(ws_upgrade((struct text){ head, n }, answer, &page), 0);
	assert_int_equal(ws_upgrade(text_of(head), answer, &page), sizeof(head) - 1);
	assert_false(page);
	assert_string_equal(answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
				    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n");
}

static void a_page_is_known_by_its_origin(void **state)
{
	static const char *const origins[] = { "Origin: http://evil.test\r\n\r\n",
					       "origin: null\r\n\r\n", "ORIGIN:\r\n\r\n" };
	char head[512], answer[WS_ANSWER_MAX];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(origins); i++) {
		bool page = false;
		(void)snprintf(head, sizeof(head), START HOST UPGRADE KEY VERSION SIP "%s", origins[i]);
		assert_int_equal(ws_upgrade(text_of(head), answer, &page), strlen(head));
		assert_true(page);
	}
}

static void what_is_no_upgrade_to_sip_is_told_what_is_missing(void **state)
{
	static const struct {
		const char *head, *status, *more;
	} rows[] = {
		{ "GET / HTTP/1.0\r\n" HOST UPGRADE KEY VERSION SIP "\r\n", "400 ", "" },
		{ "GET /\r\n" HOST UPGRADE KEY VERSION SIP "\r\n", "400 ", "" },
		{ "POST / HTTP/1.1\r\n" HOST UPGRADE KEY VERSION SIP "\r\n", "405 ", "Allow: GET\r\n" },
		{ START HOST KEY VERSION SIP "\r\n", "426 ", "Upgrade: websocket\r\n" },
		{ START HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY VERSION SIP "\r\n", "426 ", "Upgrade: websocket\r\n" },
		{ START HOST "Upgrade: websocket\r\nConnection: close\r\n" KEY VERSION SIP "\r\n", "426 ", "Upgrade: websocket\r\n" },
		{ START HOST UPGRADE KEY SIP "\r\n", "426 ", "Sec-WebSocket-Version: 13\r\n" },
		{ START HOST UPGRADE KEY SIP "Sec-WebSocket-Version: 8\r\n\r\n", "426 ", "Sec-WebSocket-Version: 13\r\n" },
		{ START UPGRADE KEY VERSION SIP "\r\n", "400 ", "" },
		{ START HOST UPGRADE VERSION SIP "\r\n", "400 ", "" },
		{ START HOST UPGRADE VERSION SIP "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n\r\n", "400 ", "" },
		{ START HOST UPGRADE VERSION SIP "Sec-WebSocket-Key: ************************\r\n\r\n", "400 ", "" },
		{ START HOST UPGRADE VERSION SIP "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEy\r\n\r\n", "400 ", "" },
		{ START HOST UPGRADE KEY VERSION "\r\n", "400 ", "" },
		{ START HOST UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat, sips\r\n\r\n", "400 ", "" },
		{ START HOST UPGRADE KEY VERSION SIP "Content-Length: 5\r\n\r\n", "400 ", "" },
		{ START HOST UPGRADE KEY VERSION SIP "Transfer-Encoding: chunked\r\n\r\n", "400 ", "" },
		{ START HOST UPGRADE KEY KEY VERSION SIP "\r\n", "400 ", "" },
		{ START HOST ": nameless\r\n\r\n", "400 ", "" },
	};
	char answer[WS_ANSWER_MAX];
	bool page;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(ws_upgrade(text_of(rows[i].head), answer, &page), -EBADMSG);
		assert_int_equal(strncmp(answer, "HTTP/1.1 ", 9), 0);
		assert_int_equal(strncmp(answer + 9, rows[i].status, strlen(rows[i].status)), 0);
		assert_non_null(strstr(answer, rows[i].more));
		assert_non_null(strstr(answer, "Content-Length: 0\r\nConnection: close\r\n\r\n"));
	}
}

/* ---- frames ---- */

/* What a client sends: masked with the key of the RFC's example, the length in the form asked for (0: the shortest). */
static size_t masked(uint8_t *out, unsigned first, size_t form, const void *p, size_t n)
{
	static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
	size_t at = 0;
	form = form ? form : n < 126 ? 1 : n <= UINT16_MAX ? 2 : 8;
	out[at++] = (uint8_t)first;
	out[at++] = (uint8_t)(0x80 | (form == 1 ? n : form == 2 ? 126 : 127));
	for (size_t i = form; form > 1 && i-- > 0;)
		out[at++] = (uint8_t)((uint64_t)n >> 8 * i);
	memcpy(out + at, mask, 4);
	at += 4;
	for (size_t i = 0; i < n; i++)
		out[at++] = ((const uint8_t *)p)[i] ^ mask[i % 4];
	return at;
}

static size_t heard; /* bytes of what give() has told last */

/* One frame to a reader, from a block of its own size: what it says. */
static int give(struct ws_reader *r, unsigned first, size_t form, const void *p, size_t n, char *out)
{
	uint8_t *whole = malloc(n + 14), *buf;
	size_t len = masked(whole, first, form, p, n), used;
	struct ws_input in;
	int rc;
	buf = malloc(len);
	memcpy(buf, whole, len);
	rc = ws_read(r, buf, len, &used, &in);
	heard = in.n;
	if (in.n && out)
		memcpy(out, in.data, in.n);
	assert_int_equal(used, rc >= 0 || rc == -EILSEQ ? len : used);
	free(buf);
	free(whole);
	return rc;
}

static void a_frame_that_is_not_whole_waits_for_the_rest(void **state)
{
	static const uint8_t hello[] = { 0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58 }; /* 5.7 */
	static char text[70000];
	static const size_t lengths[] = { 0, 5, 125, 126, 65535, 65536, sizeof(text) };
	static uint8_t frame[sizeof(text) + 14], copy[sizeof(frame)];
	struct ws_reader r = { .max = sizeof(text) };
	struct ws_input in;
	size_t used;
	(void)state;
	memcpy(copy, hello, sizeof(hello));
	assert_int_equal(ws_read(&r, copy, sizeof(hello), &used, &in), WS_MESSAGE);
	assert_int_equal(used, sizeof(hello));
	assert_memory_equal(in.data, "Hello", 5);
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		size_t n = masked(frame, 0x82, 0, text, lengths[i]);
		for (size_t cut = 0; cut < n; cut += cut < 20 ? 1 : 4999) {
			memcpy(copy, frame, n);
			assert_int_equal(ws_read(&r, copy, cut, &used, &in), WS_MORE);
			assert_int_equal(used, 0);
			assert_memory_equal(copy, frame, n); /* nothing is unmasked twice */
		}
		memcpy(copy, frame, n);
		assert_int_equal(ws_read(&r, copy, n, &used, &in), WS_MESSAGE);
		assert_int_equal(used, n);
		assert_int_equal(in.n, lengths[i]);
		assert_memory_equal(in.data, text, in.n);
	}
	ws_reader_deinit(&r);
}

static void fragments_become_one_message_with_pings_between_them(void **state)
{
	struct ws_reader r = { .max = 11 };
	char out[128];
	(void)state;
	for (int i = 0; i < 2; i++) { /* and again, with the memory of the first */
		assert_int_equal(give(&r, 0x01, 0, "He", 2, out), WS_MORE);
		assert_int_equal(give(&r, 0x89, 0, "are you", 7, out), WS_PING);
		assert_memory_equal(out, "are you", 7);
		assert_int_equal(give(&r, 0x00, 0, "llo ", 4, out), WS_MORE);
		assert_int_equal(give(&r, 0x8a, 0, "", 0, out), WS_PONG);
		assert_int_equal(give(&r, 0x80, 0, "World", 5, NULL), WS_MESSAGE);
		assert_int_equal(heard, 11);
		assert_memory_equal(r.parts, "Hello World", 11);
	}
	assert_int_equal(give(&r, 0x88, 0, "\x03\xe8", 2, out), WS_CLOSE);
	assert_memory_equal(out, "\x03\xe8", 2);
	assert_int_equal(give(&r, 0x88, 0, "", 0, out), WS_CLOSE);
	ws_reader_deinit(&r);
	assert_null(r.parts);
}

static void what_breaks_the_rules_ends_the_connection(void **state)
{
	static const char long_[WS_CONTROL_MAX + 1] = { 0 };
	static const struct {
		unsigned first;
		size_t form, n;
		int want;
	} rows[] = {
		{ 0xc1, 0, 1, -EBADMSG }, { 0xa1, 0, 1, -EBADMSG }, { 0x91, 0, 1, -EBADMSG }, /* bits of extensions */
		{ 0x83, 0, 1, -EBADMSG }, { 0x87, 0, 1, -EBADMSG }, { 0x8b, 0, 1, -EBADMSG }, /* opcodes of the future */
		{ 0x09, 0, 1, -EBADMSG }, { 0x89, 0, sizeof(long_), -EBADMSG },		      /* control: in pieces, long */
		{ 0x82, 2, 5, -EBADMSG }, { 0x82, 8, 126, -EBADMSG },			      /* not the shortest form */
		{ 0x88, 0, 1, -EBADMSG },						      /* half a code */
		{ 0x80, 0, 1, -EBADMSG },						      /* a part of nothing */
		{ 0x82, 0, 101, -EMSGSIZE },
	};
	struct ws_reader r = { .max = 100 };
	uint8_t plain[] = { 0x81, 0x01, 'x', 0, 0, 0, 0 }, sign[14] = { 0x82, 0xff, 0x80 };
	struct ws_input in;
	size_t n;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(give(&r, rows[i].first, rows[i].form, long_, rows[i].n, NULL), rows[i].want);
	assert_int_equal(ws_read(&r, plain, sizeof(plain), &n, &in), -EBADMSG); /* 5.1: not masked */
	assert_int_equal(ws_read(&r, sign, sizeof(sign), &n, &in), -EBADMSG);	/* 5.2: the highest bit of a length is 0 */
	assert_int_equal(give(&r, 0x01, 0, "a", 1, NULL), WS_MORE);
	assert_int_equal(give(&r, 0x81, 0, "b", 1, NULL), -EBADMSG); /* a new message within one */
	assert_int_equal(give(&r, 0x80, 0, long_, 100, NULL), -EMSGSIZE); /* with what was there: 101 */
	ws_reader_deinit(&r);
}

static void text_must_be_utf8_and_binary_need_not(void **state)
{
	struct ws_reader r = { .max = 100 };
	char out[8];
	(void)state;
	assert_int_equal(give(&r, 0x81, 0, "\xc3\xa4", 2, out), WS_MESSAGE);
	assert_int_equal(give(&r, 0x81, 0, "\xc3(", 2, out), -EILSEQ);
	assert_int_equal(give(&r, 0x82, 0, "\xc3(", 2, out), WS_MESSAGE);
	assert_int_equal(give(&r, 0x01, 0, "\xc3", 1, NULL), WS_MORE); /* a character may be cut by a fragment's end */
	assert_int_equal(give(&r, 0x80, 0, "\xa4", 1, NULL), WS_MESSAGE);
	assert_int_equal(give(&r, 0x01, 0, "\xc3", 1, NULL), WS_MORE);
	assert_int_equal(give(&r, 0x80, 0, "(", 1, NULL), -EILSEQ);
	ws_reader_deinit(&r);
}

static void our_frames_have_the_heads_of_the_rfc(void **state)
{
	static const struct {
		enum ws_opcode op;
		size_t n, len;
		uint8_t head[WS_FRAME_HEAD_MAX];
	} rows[] = {
		{ WS_OP_TEXT, 5, 2, { 0x81, 5 } },
		{ WS_OP_PONG, 0, 2, { 0x8a, 0 } },
		{ WS_OP_BINARY, 125, 2, { 0x82, 125 } },
		{ WS_OP_BINARY, 126, 4, { 0x82, 126, 0, 126 } },
		{ WS_OP_BINARY, 256, 4, { 0x82, 126, 1, 0 } },
		{ WS_OP_BINARY, 65535, 4, { 0x82, 126, 0xff, 0xff } },
		{ WS_OP_BINARY, 65536, 10, { 0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0 } },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t head[WS_FRAME_HEAD_MAX];
		assert_int_equal(ws_frame_head(head, rows[i].op, rows[i].n), rows[i].len);
		assert_memory_equal(head, rows[i].head, rows[i].len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_upgrade_is_answered_as_in_the_rfc),
		cmocka_unit_test(a_page_is_known_by_its_origin),
		cmocka_unit_test(what_is_no_upgrade_to_sip_is_told_what_is_missing),
		cmocka_unit_test(a_frame_that_is_not_whole_waits_for_the_rest),
		cmocka_unit_test(fragments_become_one_message_with_pings_between_them),
		cmocka_unit_test(what_breaks_the_rules_ends_the_connection),
		cmocka_unit_test(text_must_be_utf8_and_binary_need_not),
		cmocka_unit_test(our_frames_have_the_heads_of_the_rfc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
