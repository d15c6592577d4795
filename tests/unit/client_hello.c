/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ClientHello (common/client_hello.h): what OpenSSL's client really sends, in one record and in many; and
 * hellos made by hand with one thing wrong. Each is parsed in a block of exactly its size.
 */
#include "tests/unit/support.h"

#include <openssl/ssl.h>
#include "common/client_hello.h"

enum { ROOM = 4096, RECORD_HEAD = 5 };

struct made {
	uint8_t p[ROOM];
	size_t n;
};

/* The first flight of an OpenSSL client; alpn as on the wire, or NULL. */
static struct made openssl_hello(const char *name, const char *alpn, int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	struct made m;

	assert_true(SSL_set_max_proto_version(ssl, version));
	if (name)
		assert_true(SSL_set_tlsext_host_name(ssl, name));
	if (alpn)
		assert_int_equal(SSL_set_alpn_protos(ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn)), 0);
	SSL_set_bio(ssl, in, out);
	assert_true(SSL_connect(ssl) < 0);
	int n = BIO_read(out, m.p, sizeof(m.p));
	assert_true(n > 100);
	m.n = (size_t)n;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return m;
}

/* A minimal hello with these extensions. */
static struct made small_hello(const void *extensions, size_t n)
{
	struct made m;
	struct wr w = wr_init(m.p, sizeof(m.p));

	wr_bytes(&w, "\x16\x03\x01", 3);
	size_t record = wr_open16(&w);
	wr_bytes(&w, "\x01\x00", 2); /* the upper byte of the message's length */
	size_t message = wr_open16(&w);
	wr_bytes(&w, "\x03\x03", 2);
	wr_zero(&w, 32 + 1);
	wr_bytes(&w, "\x00\x02\x13\x01\x01\x00", 6);
	if (extensions) {
		size_t list = wr_open16(&w);
		wr_bytes(&w, extensions, n);
		wr_close16(&w, list);
	}
	wr_close16(&w, message);
	wr_close16(&w, record);
	assert_false(w.failed);
	m.n = wr_len(&w);
	return m;
}

/* The same message in records of so many bytes. */
static struct made cut(const struct made *m, size_t piece)
{
	struct made c;
	struct wr w = wr_init(c.p, sizeof(c.p));

	for (size_t at = RECORD_HEAD; at < m->n; at += piece) {
		wr_bytes(&w, m->p, 3);
		wr_u16(&w, (uint16_t)MIN(piece, m->n - at));
		wr_bytes(&w, m->p + at, MIN(piece, m->n - at));
	}
	assert_false(w.failed);
	c.n = wr_len(&w);
	return c;
}

static uint8_t *block; /* of the parse before; slices point into it */

static enum client_hello_error parse(const uint8_t *p, size_t n, struct client_hello *ret_h)
{
	free(block);
	block = malloc(n ? n : 1);
	assert_non_null(block);
	memcpy(block, p, n);
	return client_hello_parse(block, n, ret_h);
}

static int drop_block(void **state)
{
	(void)state;
	free(block);
	block = NULL;
	return 0;
}

static void name_and_protocols_of_a_real_client_are_read(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		struct made m = openssl_hello("turn.example.org", "\x09stun.turn\x12stun.nat-discovery", versions[i]);
		struct client_hello h;
		struct text name;

		assert_int_equal(parse(m.p, m.n, &h), CLIENT_HELLO_OK);
		assert_true(text_eq(h.server_name, TEXT("turn.example.org")));
		assert_true(client_hello_offers(&h, TEXT("stun.turn")));
		assert_true(client_hello_offers(&h, TEXT("stun.nat-discovery")));
		assert_false(client_hello_offers(&h, TEXT("stun")) || client_hello_offers(&h, TEXT("stun.turn2")));
		assert_true(client_hello_next_alpn(&h.alpn, &name) && text_eq(name, TEXT("stun.turn")));
		assert_true(client_hello_next_alpn(&h.alpn, &name));
		assert_false(client_hello_next_alpn(&h.alpn, &name));
	}
}

static void a_client_without_name_and_protocols_has_none(void **state)
{
	struct made m = openssl_hello(NULL, NULL, TLS1_3_VERSION), old = small_hello(NULL, 0);
	struct client_hello h;

	(void)state;
	assert_int_equal(parse(m.p, m.n, &h), CLIENT_HELLO_OK);
	assert_true(!h.server_name.p && !client_hello_offers(&h, TEXT("")));
	assert_int_equal(parse(old.p, old.n, &h), CLIENT_HELLO_OK);
	assert_null(h.server_name.p);
}

static void every_beginning_is_incomplete(void **state)
{
	struct made m = openssl_hello("turn.example.org", "\x09stun.turn", TLS1_3_VERSION), c = cut(&m, 33);
	struct client_hello h;

	(void)state;
	for (size_t n = 0; n < m.n; n++)
		assert_int_equal(parse(m.p, n, &h), CLIENT_HELLO_INCOMPLETE);
	for (size_t n = 0; n < c.n; n++)
		assert_int_equal(parse(c.p, n, &h), CLIENT_HELLO_INCOMPLETE);
}

static void it_may_be_cut_into_records_anywhere(void **state)
{
	struct made m = openssl_hello("turn.example.org", "\x09stun.turn", TLS1_3_VERSION);

	(void)state;
	for (size_t piece = 1; piece <= 400; piece++) {
		struct made c = cut(&m, piece);
		struct client_hello h;

		assert_int_equal(parse(c.p, c.n, &h), CLIENT_HELLO_OK);
		assert_true(text_eq(h.server_name, TEXT("turn.example.org")) && client_hello_offers(&h, TEXT("stun.turn")));
	}
}

/* What comes behind the hello, such as early data in records of its own, is not looked at. */
static void what_follows_in_other_records_does_not_matter(void **state)
{
	struct made m = openssl_hello("a.example", NULL, TLS1_3_VERSION);
	struct client_hello h;

	(void)state;
	memcpy(m.p + m.n, "\x17\x03\x03\xff\xff?", 6);
	assert_int_equal(parse(m.p, m.n + 6, &h), CLIENT_HELLO_OK);
	assert_true(text_eq(h.server_name, TEXT("a.example")));
}

static void malformed_extensions_are_refused(void **state)
{
/* clang-format off */
#define X(error, bytes) { error, bytes, sizeof(bytes) - 1 }
	static const struct {
		enum client_hello_error error;
		const char *bytes;
		size_t n;
	} cases[] = {
		X(CLIENT_HELLO_OK, ""),
		X(CLIENT_HELLO_OK, "\x00\x00\x00\x06\x00\x04\x00\x00\x01" "a"),
		X(CLIENT_HELLO_OK, "\xff\x01\x00\x01\x00" "\x00\x10\x00\x04\x00\x02\x01" "x"),
		X(CLIENT_HELLO_OK, "\x00\x00\x00\x06\x00\x04\x07\x00\x01" "a"), /* a type of names that nobody defined */
		X(CLIENT_HELLO_MALFORMED, "\xff"),
		X(CLIENT_HELLO_MALFORMED, "\xff\x01\x00\x02\x00"),
		X(CLIENT_HELLO_MALFORMED, "\x00\x00\x00\x00"),
		X(CLIENT_HELLO_MALFORMED, "\x00\x00\x00\x02\x00\x00"),
		X(CLIENT_HELLO_MALFORMED, "\x00\x00\x00\x06\x00\x03\x00\x00\x01" "a"),
		X(CLIENT_HELLO_MALFORMED, "\x00\x00\x00\x06\x00\x04\x00\x00\x02" "a"),
		X(CLIENT_HELLO_MALFORMED, "\x00\x00\x00\x06\x00\x04\x00\x00\x01" "a" "\x00\x00\x00\x06\x00\x04\x00\x00\x01" "b"),
		X(CLIENT_HELLO_BAD_NAME, "\x00\x00\x00\x05\x00\x03\x00\x00\x00"),
		X(CLIENT_HELLO_BAD_NAME, "\x00\x00\x00\x06\x00\x04\x00\x00\x01\x00"),
		X(CLIENT_HELLO_BAD_NAME, "\x00\x00\x00\x06\x00\x04\x00\x00\x01 "),
		X(CLIENT_HELLO_BAD_NAME, "\x00\x00\x00\x06\x00\x04\x00\x00\x01\xe9"),
		X(CLIENT_HELLO_BAD_NAME, "\x00\x00\x00\x0a\x00\x08\x00\x00\x01" "a\x00\x00\x01" "b"),
		X(CLIENT_HELLO_MALFORMED, "\x00\x10\x00\x02\x00\x00"),
		X(CLIENT_HELLO_MALFORMED, "\x00\x10\x00\x04\x00\x03\x01" "x"),
		X(CLIENT_HELLO_MALFORMED, "\x00\x10\x00\x04\x00\x02\x01" "x" "\x00\x10\x00\x04\x00\x02\x01" "x"),
		X(CLIENT_HELLO_BAD_NAME, "\x00\x10\x00\x03\x00\x01\x00"),
		X(CLIENT_HELLO_BAD_NAME, "\x00\x10\x00\x04\x00\x02\x02" "x"),
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct made m = small_hello(cases[i].bytes, cases[i].n);
		struct client_hello h;

		assert_int_equal(parse(m.p, m.n, &h), cases[i].error);
	}
}

static void one_byte_changed_in_the_frame_is_refused(void **state)
{
	/* In a small hello: position, new value, verdict. */
	static const struct {
		size_t at;
		uint8_t value;
		enum client_hello_error error;
	} cases[] = {
		{ 0, 23, CLIENT_HELLO_NOT_TLS },	 { 1, 2, CLIENT_HELLO_NOT_TLS },
		{ 3, 0x41, CLIENT_HELLO_BAD_RECORD },	 { 5, 2, CLIENT_HELLO_OTHER_MESSAGE },
		{ 6, 1, CLIENT_HELLO_TOO_LONG },	 { 8, 1, CLIENT_HELLO_MALFORMED }, /* ends within the record */
		{ 8, 200, CLIENT_HELLO_INCOMPLETE },	 { 9, 2, CLIENT_HELLO_MALFORMED },
		{ 43, 33, CLIENT_HELLO_MALFORMED },	 { 45, 3, CLIENT_HELLO_MALFORMED },
		{ 45, 0, CLIENT_HELLO_MALFORMED },	 { 48, 0, CLIENT_HELLO_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct made m = small_hello("\xff\x01\x00\x01\x00", 5);
		struct client_hello h;

		m.p[cases[i].at] = cases[i].value;
		assert_int_equal(parse(m.p, m.n, &h), cases[i].error);
		assert_true(strlen(client_hello_error_text(cases[i].error)) > 20);
	}
}

static void another_record_in_its_middle_is_refused(void **state)
{
	struct made m = openssl_hello("a.example", NULL, TLS1_3_VERSION), c = cut(&m, 50);
	struct client_hello h;

	(void)state;
	c.p[RECORD_HEAD + 50] = 21; /* an alert */
	assert_int_equal(parse(c.p, c.n, &h), CLIENT_HELLO_BAD_RECORD);
	c = cut(&m, 50);
	c.p[RECORD_HEAD + 50 + 4] = 0; /* an empty one */
	assert_int_equal(parse(c.p, c.n, &h), CLIENT_HELLO_BAD_RECORD);
}

static void it_is_bounded(void **state)
{
	static uint8_t p[CLIENT_HELLO_MAX + 1000];
	struct client_hello h;

	(void)state;
	/* 16 KiB of records that carry one byte each, of a hello that would be shorter */
	for (size_t i = 0; i + 6 <= sizeof(p); i += 6)
		memcpy(p + i, "\x16\x03\x01\x00\x01\x00", 6);
	p[5] = 1;
	p[5 + 12] = 0x20;
	assert_int_equal(parse(p, CLIENT_HELLO_MAX - 1, &h), CLIENT_HELLO_INCOMPLETE);
	assert_int_equal(parse(p, CLIENT_HELLO_MAX, &h), CLIENT_HELLO_TOO_LONG);
	assert_int_equal(parse(p, sizeof(p), &h), CLIENT_HELLO_TOO_LONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(name_and_protocols_of_a_real_client_are_read),
		cmocka_unit_test(a_client_without_name_and_protocols_has_none),
		cmocka_unit_test(every_beginning_is_incomplete),
		cmocka_unit_test(it_may_be_cut_into_records_anywhere),
		cmocka_unit_test(what_follows_in_other_records_does_not_matter),
		cmocka_unit_test(malformed_extensions_are_refused),
		cmocka_unit_test(one_byte_changed_in_the_frame_is_refused),
		cmocka_unit_test(another_record_in_its_middle_is_refused),
		cmocka_unit_test(it_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, drop_block);
}
