/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STUN messages: any bytes are parsed. What is accepted is written again from its parsed attributes, and
 * that must parse to the same attributes and be written to the same bytes again. All getters run
 * over whatever was found, also over messages that were called malformed.
 */
#include <errno.h>
#include <string.h>
#include "stun/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

static size_t rebuild(const struct stun_msg *m, uint8_t *buf, size_t cap)
{
	static const enum stun_attr macs[] = { STUN_A_MESSAGE_INTEGRITY,
					       STUN_A_MESSAGE_INTEGRITY_SHA256 };
	struct stun_writer sw;
	struct stun_value v;
	uint16_t type;

	stun_begin_response(&sw, buf, cap, m, m->class);
	for (size_t it = 0; stun_next_attr(m, &it, &type, &v) == 0;)
		stun_put_raw(&sw, type, v.p, v.n);
	for (size_t i = 0; i < ARRAY_LEN(macs); i++)
		if (stun_has(m, macs[i]))
			stun_put(&sw, macs[i], m->attr[macs[i]].p, m->attr[macs[i]].n);
	if (m->has_fingerprint)
		stun_put_fingerprint(&sw);
	ssize_t n = stun_end(&sw);
	CHECK(n >= STUN_HEADER_LEN && (size_t)n <= m->raw_n);
	return (size_t)n;
}

static void same(const struct stun_msg *a, const struct stun_msg *b)
{
	CHECK(a->type == b->type && a->rfc3489 == b->rfc3489 && memcmp(a->raw + 4, b->raw + 4, 16) == 0);
	CHECK(a->has_fingerprint == b->has_fingerprint && a->n_unknown == b->n_unknown);
	CHECK(memcmp(a->unknown, b->unknown, a->n_unknown * sizeof a->unknown[0]) == 0);
	for (enum stun_attr i = 0; i < STUN_ATTRS; i++) {
		CHECK(stun_has(a, i) == stun_has(b, i) && a->attr[i].n == b->attr[i].n);
		/* The fingerprint is of other bytes: padding and what was ignored are gone. */
		if (stun_has(a, i) && i != STUN_A_FINGERPRINT)
			CHECK(memcmp(a->attr[i].p, b->attr[i].p, a->attr[i].n) == 0);
	}
}

/* An address that was read is written to the same bytes, but for the reserved first one. */
static void address_round_trip(const struct stun_msg *m, enum stun_attr a)
{
	uint8_t buf[64];
	struct stun_writer sw;
	struct addr addr;

	CHECK(stun_get_addr(m, a, &addr) == 0);
	stun_begin_response(&sw, buf, sizeof buf, m, m->class);
	stun_put_addr(&sw, a, &addr);
	CHECK(stun_end(&sw) == STUN_HEADER_LEN + 4 + m->attr[a].n);
	CHECK(memcmp(buf + STUN_HEADER_LEN + 5, m->attr[a].p + 1, m->attr[a].n - 1u) == 0);
}

static void read_everything(const struct stun_msg *m)
{
	struct addr addr;
	struct text t;
	enum stun_algorithm alg;
	sa_family_t family;
	unsigned code;
	uint32_t v32;
	uint64_t v64;
	uint16_t types[STUN_MAX_UNKNOWN];
	char prepared[2048];
	size_t n;

	for (enum stun_attr a = 0; a < STUN_ATTRS; a++) {
		const struct stun_attr_row *row = &stun_attr_table[a];
		bool address = row->shape == STUN_SHAPE_ADDRESS || row->shape == STUN_SHAPE_XOR_ADDRESS;
		if (stun_has(m, a) && address)
			address_round_trip(m, a);
		for (size_t it = 0; address && stun_next_addr(m, a, &it, &addr) == 0;)
			CHECK(it <= m->raw_n);
		CHECK((stun_get_u32(m, a, &v32) == 0) == (stun_has(m, a) && m->attr[a].n == 4));
		CHECK((stun_get_u64(m, a, &v64) == 0) == (stun_has(m, a) && m->attr[a].n == 8));
		if (stun_get_text(m, a, &t) == 0 && row->shape == STUN_SHAPE_TEXT && t.n <= 64) {
			stun_nonce_features(t);
			if (stun_opaque_string(t, prepared, sizeof prepared, &n) == 0)
				CHECK(n > 0 && text_is_utf8((struct text){ prepared, n }));
			if (stun_saslprep(t, prepared, sizeof prepared, &n) == 0)
				CHECK(text_is_utf8((struct text){ prepared, n }));
		}
	}
	if (stun_get_error(m, &code, &t) == 0)
		CHECK(code >= 300 && code <= 699 && text_is_utf8(t));
	if (stun_get_address_error(m, &family, &code, &t) == 0)
		CHECK(code >= 300 && code <= 699);
	if (stun_get_password_algorithm(m, &alg) == 0)
		CHECK(alg == STUN_ALG_MD5 || alg == STUN_ALG_SHA256);
	stun_password_algorithms_equal_ours(m);
	CHECK(stun_not_understood(m, 0, types) >= m->n_unknown);
}

/* Nobody has this key, so no input can be signed with it by chance. */
static void check_keys(const struct stun_msg *m)
{
	for (enum stun_mac mac = STUN_MAC_SHA1; mac <= STUN_MAC_SHA256; mac++) {
		struct stun_key *k;
		if (stun_key_raw(mac, "a key of the fuzzer", 19, &k) < 0)
			continue;
		CHECK(!stun_check_integrity(m, k));
		stun_key_free(k);
	}
}

static void on_accepted(const struct stun_msg *m)
{
	uint8_t *first = malloc(m->raw_n), *second = malloc(m->raw_n);
	struct stun_msg again;

	CHECK(first && second);
	size_t n = rebuild(m, first, m->raw_n);
	CHECK(stun_parse(first, n, &again) == STUN_OK);
	same(m, &again);
	CHECK(rebuild(&again, second, m->raw_n) == n && memcmp(first, second, n) == 0);
	CHECK(m->rfc3489 || stun_frame_length(m->raw, m->raw_n) == (ssize_t)m->raw_n);
	free(first);
	free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size ? size : 1); /* exactly its size: one byte too many is seen */
	struct stun_msg m;

	CHECK(p);
	if (size > 0)
		memcpy(p, data, size);
	ssize_t frame = stun_frame_length(p, size);
	CHECK(frame == -EBADMSG || frame == 0 || (frame >= STUN_HEADER_LEN && frame % 4 == 0));
	int r = stun_parse(p, size, &m);
	if (r != STUN_NOT_STUN) {
		read_everything(&m);
		check_keys(&m);
	}
	if (r == STUN_OK)
		on_accepted(&m);
	free(p);
	return 0;
}
