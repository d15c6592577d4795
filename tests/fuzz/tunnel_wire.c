/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel's frames. The first byte of the input says which way and in which place (before WELCOME, control, carrier)
 * the rest is read; then frames follow each other as on a connection. Checked: nothing is read beyond a frame, slices
 * lie inside it, a beginning is incomplete or bad for the same reason, and what was read, written again, is read alike.
 */
#include <assert.h>
#include "tunnel/link/wire.h"

static const uint8_t *inside_p;
static size_t inside_n;

static void check_inside(const void *p, size_t n)
{
	if (n)
		assert((const uint8_t *)p >= inside_p && (const uint8_t *)p + n <= inside_p + inside_n);
}

/* Fields of two messages of this type are equal, slices by their bytes. */
static void check_equal(const struct wire_frame *row, const uint8_t *a, const uint8_t *b)
{
	for (unsigned i = 0; i < row->n_fields; i++) {
		const struct wire_field *f = &row->fields[i];
		const struct wire_bytes *x = (const void *)(a + f->at), *y = (const void *)(b + f->at);
		static const size_t size[] = { [WIRE_K_U8] = 1, [WIRE_K_U16] = 2, [WIRE_K_U32] = 4, [WIRE_K_U64] = 8 };

		if (f->most) {
			assert(*(const uint16_t *)(const void *)(a + f->count_at) == *(const uint16_t *)(const void *)(b + f->count_at));
		} else if (f->kind == WIRE_K_TEXT || f->kind == WIRE_K_BYTES) {
			check_inside(x->p, x->n);
			assert(x->n == y->n && (!x->n || memcmp(x->p, y->p, x->n) == 0));
		} else if (f->kind == WIRE_K_ADDR) {
			assert(addr_equal((const void *)(a + f->at), (const void *)(b + f->at)));
		} else {
			assert(memcmp(a + f->at, b + f->at, size[f->kind]) == 0);
		}
	}
}

static void check_round_trip(unsigned type, const union wire_msg *m)
{
	static uint8_t out[WIRE_HEAD + WIRE_DATAGRAM_MAX];
	struct wr w = wr_init(out, sizeof(out));
	union wire_msg again;

	wire_write(&w, type, m);
	assert(!w.failed);
	assert(wire_parse(type, out + WIRE_HEAD, wr_len(&w) - WIRE_HEAD, &again) == WIRE_OK);
	check_equal(wire_frame_of(type), (const uint8_t *)m, (const uint8_t *)&again);
}

static void check_beginning(const uint8_t *p, size_t n, struct wire_place place, enum wire_error whole)
{
	uint8_t *block = malloc(n ? n : 1);
	enum wire_error e;
	struct wire_got g;

	assert(block);
	memcpy(block, p, n);
	e = wire_next(block, n, place, &g);
	assert(e == WIRE_INCOMPLETE || e == whole);
	free(block);
}

static void check_plain(const uint8_t *p, size_t n)
{
	struct wire_plain h;
	uint8_t out[WIRE_PLAIN_HEAD];
	struct wr w = wr_init(out, sizeof(out));

	if (wire_plain_parse(p, n, &h) != WIRE_OK)
		return;
	wire_plain_write(&w, &h);
	assert(!w.failed && memcmp(out, p, sizeof(out)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t wheres[] = { WIRE_IN_HELLO, WIRE_IN_CONTROL, WIRE_IN_CARRIER };
	struct wire_place place = { size && data[0] & 1 ? WIRE_TO_AGENT : WIRE_TO_SERVER, wheres[size ? (data[0] >> 1) % 3 : 0] };
	uint8_t *block = malloc(size ? size : 1); /* exactly its size: one byte too many shows */
	size_t at = 1;

	assert(block);
	if (size)
		memcpy(block, data, size);
	while (at < size) {
		enum wire_error e;
		struct wire_got g;

		inside_p = block + at;
		inside_n = size - at;
		e = wire_next(block + at, size - at, place, &g);
		assert(e < WIRE_ERRORS);
		for (size_t k = 0; k < MIN(size - at, (size_t)64); k++)
			check_beginning(block + at, k, place, e);
		if (e)
			break;
		assert(g.size >= WIRE_HEAD && g.size <= size - at);
		inside_n = g.size;
		if (wire_frame_of(g.type))
			check_round_trip(g.type, &g.m);
		else
			assert(wire_ignorable(g.type));
		at += g.size;
	}
	if (size)
		check_plain(block + 1, size - 1);
	free(block);
	return 0;
}
