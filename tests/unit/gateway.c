/* SPDX-License-Identifier: Apache-2.0 */
/* stile-gateway without its sockets: paths, heads of shares, who guesses, the keys. */
#include "tests/unit/support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/page.h"
#include "gateway/transfer.h"

static void a_path_is_of_a_share_or_of_nobody(void **state)
{
	static const struct {
		const char *path;
		bool good;
		const char *rest; /* NULL: not even a slash */
	} rows[] = {
		{ "/s/0123456789abcdef", true, NULL },	   { "/s/0123456789abcdef/", true, "" },	  { "/s/0123456789abcdef/e/0", true, "e/0" },
		{ "/s/0123456789abcde", false, NULL },	   { "/s/0123456789abcdef0", false, NULL },	  { "/s/0123456789abcdeg/", false, NULL },
		{ "/s/0123456789ABCDEF/", false, NULL },   { "/s//0123456789abcdef/", false, NULL },	  { "s/0123456789abcdef/", false, NULL },
		{ "", false, NULL },			   { "/", false, NULL },			  { "/s/", false, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct text id, rest;
		size_t n = strlen(rows[i].path);
		char *block = malloc(n + !n);

		memcpy(block, rows[i].path, n);
		assert_int_equal(gateway_path((struct text){ block, n }, &id, &rest), rows[i].good);
		if (rows[i].good) {
			assert_int_equal(id.n, GATEWAY_ID);
			assert_int_equal(rest.p != NULL, rows[i].rest != NULL);
			assert_true(text_eq(rest, text_of(rows[i].rest)));
		}
		free(block);
	}
}

static int read_answer(const char *text, size_t n, struct gateway_answer *a)
{
	char *block = malloc(n + !n);
	const char *why = NULL;
	int r;

	memcpy(block, text, n);
	r = gateway_read_answer((struct text){ block, n }, a, &why);
	if (r == -EBADMSG)
		assert_non_null(why);
	free(block);
	return r;
}

static void a_head_of_a_share_is_read_whole_or_not_at_all(void **state)
{
	static const char head[] = "HTTP/1.0 206 Partial Content\r\nContent-Length: 5\r\nETag: \"a\"\r\nX-Other: b\r\nContent-Type: text/plain\r\n\r\n";
	struct gateway_answer a;

	(void)state;
	for (size_t n = 0; n < sizeof(head) - 1; n++)
		assert_int_equal(read_answer(head, n, &a), -EAGAIN);
	assert_int_equal(read_answer(head, sizeof(head) - 1, &a), 0);
	assert_true(a.status == 206 && a.length == 5 && a.n_pass == 1 && a.head == sizeof(head) - 1);
	assert_string_equal(a.pass[0].name, "ETag");
	assert_int_equal(read_answer("HTTP/1.1 200 \r\n\r\nbody", 21, &a), 0);
	assert_true(a.length == UINT64_MAX && a.head == 17);
}

static void heads_that_could_be_read_differently_are_refused(void **state)
{
	static const char *const bad[] = {
		"HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 x\r\nContent-Length: +1\r\n\r\n",
		"HTTP/1.1 200 x\r\nContent-Length: 18446744073709551615\r\n\r\n",
		"HTTP/1.1 200 x\r\nContent-Length : 1\r\n\r\n",
		"HTTP/1.1 200 x\r\nETag: a\r\n b\r\n\r\n",
		"HTTP/1.1 200 x\r\nETag: \xc3\xa4\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 600 x\r\n\r\n",
		"HTTP/1.1 2x0 x\r\n\r\n",
		"HTTP/2 200\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"HTTP/1.1 200 x\nContent-Length: 1\n\n",
	};
	struct gateway_answer a;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (read_answer(bad[i], strlen(bad[i]), &a) != -EBADMSG)
			fail_msg("%s is taken", bad[i]);
}

static struct addr ip(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text_of(text), 1, &a), 0);
	return a;
}

static void guesses_are_counted_for_each_address_and_forgotten(void **state)
{
	_cleanup_(guesses_freep) struct guesses *g = NULL;
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.2"), six = ip("2001:db8::1"), near = ip("2001:db8::ffff"), far = ip("2001:db8:0:1::1");

	(void)state;
	assert_int_equal(guesses_new(&g), 0);
	for (unsigned i = 1; i <= 6; i++)
		assert_int_equal(guesses_add(g, &a, 1000), i);
	assert_true(guesses_many(g, &a, 5, 1000));
	assert_false(guesses_many(g, &a, 6, 1000));
	assert_false(guesses_many(g, &b, 0, 1000));
	assert_true(guesses_many(g, &a, 5, 1000 + GUESSES_WINDOW_MS - 1));
	assert_false(guesses_many(g, &a, 5, 1000 + GUESSES_WINDOW_MS));
	assert_int_equal(guesses_add(g, &a, 1000 + GUESSES_WINDOW_MS), 1);
	assert_int_equal(guesses_add(g, &six, 5), 1);
	assert_int_equal(guesses_add(g, &near, 5), 2); /* the same /64 */
	assert_int_equal(guesses_add(g, &far, 5), 1);
}

static void very_many_addresses_take_no_more_memory(void **state)
{
	_cleanup_(guesses_freep) struct guesses *g = NULL;

	(void)state;
	assert_int_equal(guesses_new(&g), 0);
	for (uint32_t i = 0; i < 4 * GUESSES_SLOTS; i++) {
		struct addr a = addr_v4(0x0a000000 + i, 1);

		assert_int_equal(guesses_add(g, &a, i), 1);
		assert_int_equal(guesses_add(g, &a, i), 2);
	}
}

static void the_keys_make_sense_and_pages_are_there(void **state)
{
	static const char *const names[] = { "", "app.js", "stile.js", "sw.js", "words.js", "style.css" };
	char err[256];

	(void)state;
	assert_int_equal(cfg_schema_selftest(gateway_cfg_root.schema, err, sizeof(err)), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_true(page_find(text_of(names[i])) && page_find(text_of(names[i]))->data.n > 100);
	assert_null(page_find(TEXT("index.html")));
	assert_null(page_find(TEXT("../config.c")));
}

static int begin(void **state)
{
	(void)state;
	return gateway_heads_init();
}

static int end(void **state)
{
	(void)state;
	gateway_heads_deinit();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_is_of_a_share_or_of_nobody),
		cmocka_unit_test(a_head_of_a_share_is_read_whole_or_not_at_all),
		cmocka_unit_test(heads_that_could_be_read_differently_are_refused),
		cmocka_unit_test(guesses_are_counted_for_each_address_and_forgotten),
		cmocka_unit_test(very_many_addresses_take_no_more_memory),
		cmocka_unit_test(the_keys_make_sense_and_pages_are_there),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
