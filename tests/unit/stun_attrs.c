/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attribute registry, row by row, against a second table written from the RFCs (not from the source):
 * each attribute makes a round trip in every class where it means something; in a wrong class, behind
 * the integrity attribute or with a wrong length it does not count, and what a wrong length means
 * depends on the top bit of its type.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "stun/auth.h"

#define V4 "00010d96c0000201"			      /* 192.0.2.1:3478 */
#define V6 "00020d9620010db8000000000000000000000001" /* [2001:db8::1]:3478 */
#define MAC16 "000102030405060708090a0b0c0d0e0f"

enum { Q = 1, I = 2, S = 4, E = 8 }; /* request, indication, success, error */

struct expect {
	uint16_t type;
	enum stun_attr id;
	const char *name;
	unsigned where;
	const char *good;   /* a legal value, hex */
	const char *bad[4]; /* illegal ones; "-" is the empty value */
};

/* clang-format off */
static const struct expect expects[] = {
	{ 0x0001, STUN_A_MAPPED_ADDRESS, "MAPPED-ADDRESS", S, V4, { "-", "00010d96", V4 "00", "00030d96c0000201" } },
	{ 0x0002, STUN_A_RESPONSE_ADDRESS, "RESPONSE-ADDRESS", Q, V4, { "-", "00010d96c00002" } },
	{ 0x0003, STUN_A_CHANGE_REQUEST, "CHANGE-REQUEST", Q, "00000006", { "-", "000006", "0000000006" } },
	{ 0x0004, STUN_A_SOURCE_ADDRESS, "SOURCE-ADDRESS", S, V4, { "-" } },
	{ 0x0005, STUN_A_CHANGED_ADDRESS, "CHANGED-ADDRESS", S, V4, { "-" } },
	{ 0x0006, STUN_A_USERNAME, "USERNAME", Q | I, "616c696365", { "-" } },
	{ 0x0007, STUN_A_PASSWORD, "PASSWORD", S, "73656372", { NULL } },
	{ 0x0008, STUN_A_MESSAGE_INTEGRITY, "MESSAGE-INTEGRITY", Q | I | S | E, MAC16 "10111213", { "-", MAC16, MAC16 "101112", MAC16 "1011121314151617" } },
	{ 0x0009, STUN_A_ERROR_CODE, "ERROR-CODE", E, "00000414556e6b6e6f776e", { "-", "000004" } },
	{ 0x000a, STUN_A_UNKNOWN_ATTRIBUTES, "UNKNOWN-ATTRIBUTES", E, "7f007f01", { "7f", "7f0001" } },
	{ 0x000b, STUN_A_REFLECTED_FROM, "REFLECTED-FROM", S, V4, { "-" } },
	{ 0x000c, STUN_A_CHANNEL_NUMBER, "CHANNEL-NUMBER", Q, "40000000", { "-", "4000", "4000000000" } },
	{ 0x000d, STUN_A_LIFETIME, "LIFETIME", Q | S, "00000258", { "-", "000258", "0000000258" } },
	{ 0x0012, STUN_A_XOR_PEER_ADDRESS, "XOR-PEER-ADDRESS", Q | I, V6, { "-", "00020d96c0000201", "00010d9620010db8000000000000000000000001", V6 "00" } },
	{ 0x0013, STUN_A_DATA, "DATA", I, "68656c6c6f", { NULL } },
	{ 0x0014, STUN_A_REALM, "REALM", Q | S | E, "6578616d706c65", { "-" } },
	{ 0x0015, STUN_A_NONCE, "NONCE", Q | S | E, "6e6f6e6365", { NULL } },
	{ 0x0016, STUN_A_XOR_RELAYED_ADDRESS, "XOR-RELAYED-ADDRESS", S, V4, { "-", "0001" } },
	{ 0x0017, STUN_A_REQUESTED_ADDRESS_FAMILY, "REQUESTED-ADDRESS-FAMILY", Q, "02000000", { "-", "02", "0200000000" } },
	{ 0x0018, STUN_A_EVEN_PORT, "EVEN-PORT", Q, "80", { "-", "8000", "80000000" } },
	{ 0x0019, STUN_A_REQUESTED_TRANSPORT, "REQUESTED-TRANSPORT", Q, "11000000", { "-", "11" } },
	{ 0x001a, STUN_A_DONT_FRAGMENT, "DONT-FRAGMENT", Q | I, "", { "00", "00000000" } },
	{ 0x001b, STUN_A_ACCESS_TOKEN, "ACCESS-TOKEN", Q, "000c0102030405", { "-", "00" } },
	{ 0x001c, STUN_A_MESSAGE_INTEGRITY_SHA256, "MESSAGE-INTEGRITY-SHA256", Q | I | S | E, MAC16 "10111213", { "-", "000102030405060708090a0b", MAC16 "1011", MAC16 MAC16 "00000000" } },
	{ 0x001d, STUN_A_PASSWORD_ALGORITHM, "PASSWORD-ALGORITHM", Q, "00020000", { "-", "0002", "000200000000" } },
	{ 0x001e, STUN_A_USERHASH, "USERHASH", Q, MAC16 MAC16, { "-", MAC16, MAC16 MAC16 "00" } },
	{ 0x0020, STUN_A_XOR_MAPPED_ADDRESS, "XOR-MAPPED-ADDRESS", S, V6, { "-", "0002", "00020d96c0000201" } },
	{ 0x0022, STUN_A_RESERVATION_TOKEN, "RESERVATION-TOKEN", Q | S, "0102030405060708", { "-", "01020304", "010203040506070809" } },
	{ 0x0024, STUN_A_PRIORITY, "PRIORITY", Q, "6e0001ff", { "-", "6e" } },
	{ 0x0025, STUN_A_USE_CANDIDATE, "USE-CANDIDATE", Q, "", { "00" } },
	{ 0x0026, STUN_A_PADDING, "PADDING", Q | S, "0000000000", { NULL } },
	{ 0x0027, STUN_A_RESPONSE_PORT, "RESPONSE-PORT", Q, "0d960000", { "-", "0d", "0d96000000" } },
	{ 0x002a, STUN_A_CONNECTION_ID, "CONNECTION-ID", Q | I | S, "00000001", { "-", "01" } },
	{ 0x8000, STUN_A_ADDITIONAL_ADDRESS_FAMILY, "ADDITIONAL-ADDRESS-FAMILY", Q, "02000000", { "-", "02" } },
	{ 0x8001, STUN_A_ADDRESS_ERROR_CODE, "ADDRESS-ERROR-CODE", S, "02000428", { "-", "020004" } },
	{ 0x8002, STUN_A_PASSWORD_ALGORITHMS, "PASSWORD-ALGORITHMS", Q | S | E, "0002000000010000", { "-", "0002", "000200000001" } },
	{ 0x8003, STUN_A_ALTERNATE_DOMAIN, "ALTERNATE-DOMAIN", E, "6578616d706c65", { "-" } },
	{ 0x8004, STUN_A_ICMP, "ICMP", I, "0000030400000578", { "-", "00000304" } },
	{ 0x8022, STUN_A_SOFTWARE, "SOFTWARE", Q | I | S | E, "5374696c65", { NULL } },
	{ 0x8023, STUN_A_ALTERNATE_SERVER, "ALTERNATE-SERVER", E, V4, { "-", "0001" } },
	{ 0x8025, STUN_A_TRANSACTION_TRANSMIT_COUNTER, "TRANSACTION_TRANSMIT_COUNTER", Q | S | E, "00000101", { "-", "01" } },
	{ 0x8027, STUN_A_CACHE_TIMEOUT, "CACHE-TIMEOUT", Q | S, "0000003c", { "-" } },
	{ 0x8028, STUN_A_FINGERPRINT, "FINGERPRINT", Q | I | S | E, NULL /* computed */, { "-", "000000", "0000000000" } },
	{ 0x8029, STUN_A_ICE_CONTROLLED, "ICE-CONTROLLED", Q, "0102030405060708", { "-", "01020304" } },
	{ 0x802a, STUN_A_ICE_CONTROLLING, "ICE-CONTROLLING", Q, "0102030405060708", { "-", "01020304" } },
	{ 0x802b, STUN_A_RESPONSE_ORIGIN, "RESPONSE-ORIGIN", S, V4, { "-", "0001" } },
	{ 0x802c, STUN_A_OTHER_ADDRESS, "OTHER-ADDRESS", S, V6, { "-", "0001" } },
	{ 0x802d, STUN_A_ECN_CHECK, "ECN-CHECK STUN", Q | S, "00000001", { "-", "01" } },
	{ 0x802e, STUN_A_THIRD_PARTY_AUTHORIZATION, "THIRD-PARTY-AUTHORIZATION", E, "617574682e6578616d706c65", { "-" } },
	{ 0x8030, STUN_A_MOBILITY_TICKET, "MOBILITY-TICKET", Q | S, "0102030405", { NULL } },
};
/* clang-format on */

static const uint8_t tid[STUN_TID_LEN] = { 0xa, 0xb, 0xc, 0xd, 1, 2, 3, 4, 5, 6, 7, 8 };
static const uint8_t mac[STUN_MI_LEN] = { 0 };

/* A message under construction, and its parse. */
struct built {
	uint8_t raw[2048];
	struct stun_writer sw;
	struct stun_msg m;
	int code;
};

static void begin(struct built *b, enum stun_class c)
{
	stun_begin(&b->sw, b->raw, sizeof b->raw, STUN_BINDING, c, tid);
}

static void finish(struct built *b)
{
	ssize_t n = stun_end(&b->sw);
	assert_true(n > 0);
	b->code = stun_parse(b->raw, (size_t)n, &b->m);
}

static void put_hex(struct built *b, uint16_t type, const char *hex)
{
	uint8_t value[128];
	size_t n = 0;

	if (strcmp(hex, "-") != 0)
		assert_int_equal(hex_decode(text_of(hex), value, sizeof value, &n), 0);
	stun_put_raw(&b->sw, type, value, n);
}

static void put_good(struct built *b, const struct expect *e)
{
	if (e->good)
		put_hex(b, e->type, e->good);
	else
		stun_put_fingerprint(&b->sw);
}

static void expect_good(const struct built *b, const struct expect *e)
{
	uint8_t value[128];
	size_t n;

	assert_int_equal(b->code, STUN_OK);
	assert_true(stun_has(&b->m, e->id));
	if (!e->good)
		return;
	assert_int_equal(hex_decode(text_of(e->good), value, sizeof value, &n), 0);
	assert_int_equal(b->m.attr[e->id].n, n);
	assert_memory_equal(b->m.attr[e->id].p, value, n);
}

static void its_row_says_what_the_rfc_says(void **state)
{
	const struct expect *e = *state;
	const struct stun_attr_row *row = stun_attr_by_type(e->type);

	assert_non_null(row);
	assert_int_equal(row->id, e->id);
	assert_ptr_equal(row, &stun_attr_table[e->id]);
	assert_string_equal(row->name, e->name);
	assert_int_equal(row->where, e->where);
	assert_true(text_starts(text_of(row->clause), TEXT("RFC ")));
}

static void it_makes_a_round_trip_and_is_ignored_in_a_wrong_class(void **state)
{
	const struct expect *e = *state;

	for (enum stun_class c = STUN_REQUEST; c <= STUN_ERROR; c++) {
		struct built b;
		begin(&b, c);
		stun_put_text(&b.sw, STUN_A_SOFTWARE, TEXT("x"));
		if (e->id == STUN_A_SOFTWARE)
			begin(&b, c);
		put_good(&b, e);
		finish(&b);
		assert_int_equal(b.m.n_unknown, 0);
		if (e->where & 1u << c) {
			expect_good(&b, e);
		} else {
			assert_int_equal(b.code, STUN_OK);
			assert_false(stun_has(&b.m, e->id));
		}
	}
}

static enum stun_class legal_class(const struct expect *e)
{
	enum stun_class c = STUN_REQUEST;
	while (!(e->where & 1u << c))
		c++;
	return c;
}

/* Advisory: behind the integrity. */
static void behind_integrity_it_does_not_count(void **state)
{
	const struct expect *e = *state;
	bool fingerprint = e->id == STUN_A_FINGERPRINT,
	     sha256 = e->id == STUN_A_MESSAGE_INTEGRITY_SHA256;
	struct built b;

	begin(&b, legal_class(e));
	stun_put(&b.sw, STUN_A_MESSAGE_INTEGRITY, mac, sizeof mac);
	put_good(&b, e);
	finish(&b);
	if (fingerprint || sha256) {
		expect_good(&b, e);
	} else {
		assert_int_equal(b.code, STUN_OK);
		assert_true(!stun_has(&b.m, e->id) || e->id == STUN_A_MESSAGE_INTEGRITY);
	}

	begin(&b, legal_class(e));
	stun_put(&b.sw, STUN_A_MESSAGE_INTEGRITY_SHA256, mac, 16);
	put_good(&b, e);
	finish(&b);
	assert_int_equal(b.code, STUN_OK);
	assert_int_equal(stun_has(&b.m, e->id), fingerprint || sha256);
	if (sha256)
		assert_int_equal(b.m.attr[e->id].n, 16);
}

static void behind_the_fingerprint_it_spoils_the_message(void **state)
{
	const struct expect *e = *state;
	struct built b;

	begin(&b, legal_class(e));
	/* The fingerprint is right for the whole length, so only its place is wrong. */
	size_t at = wr_len(&b.sw.w);
	stun_put_u32(&b.sw, STUN_A_FINGERPRINT, 0);
	put_good(&b, e);
	ssize_t n = stun_end(&b.sw);
	store_be32(b.raw + at + 4, stun_fingerprint(b.raw, at));
	assert_int_equal(stun_parse(b.raw, (size_t)n, &b.m), STUN_MALFORMED);
	assert_int_equal(b.m.bad_attr, STUN_A_FINGERPRINT);
}

static void a_wrong_length_is_fatal_only_where_comprehension_is_required(void **state)
{
	const struct expect *e = *state;

	for (size_t i = 0; i < ARRAY_LEN(e->bad) && e->bad[i]; i++) {
		for (enum stun_class c = STUN_REQUEST; c <= STUN_ERROR; c++) {
			struct built b;
			begin(&b, c);
			put_hex(&b, e->type, e->bad[i]);
			finish(&b);
			assert_false(stun_has(&b.m, e->id));
			if (e->type < 0x8000 && e->where & 1u << c) {
				assert_int_equal(b.code, STUN_MALFORMED);
				assert_int_equal(b.m.bad_attr, e->id);
			} else {
				assert_int_equal(b.code, STUN_OK);
			}
		}
	}
}

static void of_two_the_first_counts(void **state)
{
	const struct expect *e = *state;
	struct built b;

	begin(&b, legal_class(e));
	put_good(&b, e);
	size_t second = wr_len(&b.sw.w) + 4;
	put_good(&b, e);
	memset(b.raw + second, 0, wr_len(&b.sw.w) - second);
	if (stun_attr_table[e->id].repeat) { /* each counts, so each must be well-formed */
		finish(&b);
		assert_int_equal(b.code, STUN_MALFORMED);
		b.raw[second + 1] = b.raw[second - 4 - b.m.attr[e->id].n + 1]; /* its family again */
	}
	finish(&b);
	expect_good(&b, e);
}

/* The typed writer and the typed getter of its shape agree with each other. */
static void its_typed_writer_and_getter_agree(void **state)
{
	const struct expect *e = *state;
	struct built b;
	struct addr a4 = addr_v4(0xc0000201, 3478), a;
	uint32_t v32;
	uint64_t v64;
	struct text t;

	begin(&b, legal_class(e));
	switch (stun_attr_table[e->id].shape) {
	case STUN_SHAPE_ADDRESS:
	case STUN_SHAPE_XOR_ADDRESS:
		stun_put_addr(&b.sw, e->id, &a4);
		finish(&b);
		assert_int_equal(stun_get_addr(&b.m, e->id, &a), 0);
		assert_true(addr_equal(&a, &a4));
		break;
	case STUN_SHAPE_U32:
		if (e->id == STUN_A_FINGERPRINT)
			stun_put_fingerprint(&b.sw);
		else
			stun_put_u32(&b.sw, e->id, 0x01020304);
		finish(&b);
		assert_int_equal(stun_get_u32(&b.m, e->id, &v32), 0);
		assert_true(v32 == 0x01020304 || e->id == STUN_A_FINGERPRINT);
		break;
	case STUN_SHAPE_U64:
		stun_put_u64(&b.sw, e->id, 0x0102030405060708);
		finish(&b);
		assert_int_equal(stun_get_u64(&b.m, e->id, &v64), 0);
		assert_true(v64 == 0x0102030405060708);
		break;
	case STUN_SHAPE_TEXT:
		stun_put_text(&b.sw, e->id, TEXT("h\xc3\xa9"));
		finish(&b);
		assert_int_equal(stun_get_text(&b.m, e->id, &t), 0);
		assert_true(text_eq(t, TEXT("h\xc3\xa9")));
		break;
	case STUN_SHAPE_FLAG:
		stun_put_flag(&b.sw, e->id);
		finish(&b);
		assert_true(stun_has(&b.m, e->id));
		break;
	case STUN_SHAPE_BYTES:
	case STUN_SHAPE_ERROR:
	case STUN_SHAPE_TYPES: { /* errors and lists have writers of their own, see stun_msg.c */
		uint8_t value[128];
		size_t n;
		assert_int_equal(hex_decode(text_of(e->good), value, sizeof value, &n), 0);
		stun_put(&b.sw, e->id, value, n);
		finish(&b);
		expect_good(&b, e);
		break;
	}
	}
	assert_int_equal(b.code, STUN_OK);
}

static void the_registry_is_complete_and_unambiguous(void **state)
{
	(void)state;
	assert_int_equal(ARRAY_LEN(expects), STUN_ATTRS);
	for (unsigned type = 0; type <= UINT16_MAX; type++) {
		const struct stun_attr_row *row = stun_attr_by_type((uint16_t)type);
		bool expected = false;

		if (type == 0x8032) { /* what the drafts of RFC 8656 called it, and coturn does */
			assert_ptr_equal(row, &stun_attr_table[STUN_A_ADDITIONAL_ADDRESS_FAMILY]);
			continue;
		}
		for (size_t i = 0; i < ARRAY_LEN(expects); i++)
			expected |= expects[i].type == type;
		assert_int_equal(row != NULL, expected);
		assert_true(!row || row->type == type);
	}
}

/* Advisory: CVE-2026-43994. */
static void the_longest_value_is_read_and_one_byte_more_is_not(void **state)
{
	static const struct {
		enum stun_attr id;
		enum stun_class class;
		size_t max;
	} longest[] = {
		{ STUN_A_USERNAME, STUN_REQUEST, 512 },
		{ STUN_A_REALM, STUN_REQUEST, 763 },
		{ STUN_A_NONCE, STUN_REQUEST, 763 },
		{ STUN_A_ERROR_CODE, STUN_ERROR, 4 + 763 },
		{ STUN_A_SOFTWARE, STUN_REQUEST, 763 },
		{ STUN_A_ALTERNATE_DOMAIN, STUN_ERROR, 255 },
	};
	uint8_t value[1024] = { 0, 0, 4, 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(longest); i++) {
		struct built b;
		begin(&b, longest[i].class);
		stun_put_raw(&b.sw, stun_attr_table[longest[i].id].type, value, longest[i].max);
		finish(&b);
		assert_int_equal(b.code, STUN_OK);
		assert_int_equal(b.m.attr[longest[i].id].n, longest[i].max);
		begin(&b, longest[i].class);
		stun_put_raw(&b.sw, stun_attr_table[longest[i].id].type, value, longest[i].max + 1);
		finish(&b);
		assert_false(stun_has(&b.m, longest[i].id));
	}
}

static const struct {
	const char *name;
	CMUnitTestFunction run;
} per_row[] = {
	{ "its row says what the RFC says", its_row_says_what_the_rfc_says },
	{ "it makes a round trip and is ignored in a wrong class",
	  it_makes_a_round_trip_and_is_ignored_in_a_wrong_class },
	{ "behind integrity it does not count", behind_integrity_it_does_not_count },
	{ "behind the fingerprint it spoils the message", behind_the_fingerprint_it_spoils_the_message },
	{ "a wrong length is fatal only where comprehension is required",
	  a_wrong_length_is_fatal_only_where_comprehension_is_required },
	{ "of two the first counts", of_two_the_first_counts },
	{ "its typed writer and getter agree", its_typed_writer_and_getter_agree },
};

int main(void)
{
	static char names[ARRAY_LEN(expects) * ARRAY_LEN(per_row)][128];
	static struct CMUnitTest tests[2 + ARRAY_LEN(names)] = {
		cmocka_unit_test(the_registry_is_complete_and_unambiguous),
		cmocka_unit_test(the_longest_value_is_read_and_one_byte_more_is_not),
	};
	size_t n = 2;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct expect *e = &expects[i / ARRAY_LEN(per_row)];
		size_t k = i % ARRAY_LEN(per_row);
		/* For the three with a place of their own, the order rule comes before the repeat rule. */
		if (per_row[k].run == of_two_the_first_counts && stun_attr_table[e->id].order != STUN_BODY)
			continue;
		snprintf(names[i], sizeof names[i], "%s: %s", e->name, per_row[k].name);
		tests[n++] = (struct CMUnitTest){ .name = names[i],
						  .test_func = per_row[k].run,
						  .initial_state = (void *)e };
	}
	return _cmocka_run_group_tests("attributes", tests, n, NULL, NULL);
}
