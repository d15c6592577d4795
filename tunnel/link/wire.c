/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames read and written by their rows (wire_table.c): one reader and one writer for each kind of value, and one loop
 * over the fields of any message. Every length makes a reader of its own that must be used up; a message is given out
 * only when all of it was right.
 */
#include <string.h>
#include "tunnel/link/wire.h"

/* ---- values ---- */

static bool number_allowed(const struct wire_field *f, uint64_t v)
{
	return v >= f->min && (!f->max || v <= f->max);
}

static bool text_allowed(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < 0x20 || p[i] == 0x7f || (p[i] == 0xc2 && i + 1 < n && p[i + 1] < 0xa0)) /* U+0080 to U+009F, too */
			return false;
	return text_is_utf8((struct text){ (const char *)p, n });
}

static const uint8_t number_size[] = { [WIRE_K_U8] = 1, [WIRE_K_U16] = 2, [WIRE_K_U32] = 4, [WIRE_K_U64] = 8 };

static enum wire_error read_number(const struct wire_field *f, struct rd *v, void *to)
{
	uint64_t n = 0;

	if (rd_left(v) != number_size[f->kind])
		return WIRE_BAD_SIZE;
	for (unsigned i = 0; i < number_size[f->kind]; i++)
		n = n << 8 | rd_u8(v);
	if (!number_allowed(f, n))
		return WIRE_BAD_VALUE;
	if (f->kind == WIRE_K_U8)
		*(uint8_t *)to = (uint8_t)n;
	else if (f->kind == WIRE_K_U16)
		*(uint16_t *)to = (uint16_t)n;
	else if (f->kind == WIRE_K_U32)
		*(uint32_t *)to = (uint32_t)n;
	else
		*(uint64_t *)to = n;
	return WIRE_OK;
}

static enum wire_error read_bytes(const struct wire_field *f, struct rd *v, void *to)
{
	size_t n = rd_left(v);
	const uint8_t *p = rd_take(v, n);

	if (n < f->min || (f->max && n > f->max))
		return WIRE_BAD_SIZE;
	if (f->kind == WIRE_K_BYTES) {
		*(struct wire_bytes *)to = (struct wire_bytes){ p, n };
		return WIRE_OK;
	}
	if (!text_allowed(p, n))
		return WIRE_BAD_VALUE;
	*(struct text *)to = (struct text){ (const char *)p, n };
	return WIRE_OK;
}

static struct addr addr_of(const uint8_t *ip, size_t n, uint16_t port)
{
	return n == 4 ? addr_v4(load_be32(ip), port) : addr_v6(ip, port);
}

static enum wire_error read_addr(struct rd *v, struct addr *to)
{
	size_t n = rd_left(v);
	const uint8_t *ip;

	if (n != 6 && n != 18)
		return WIRE_BAD_SIZE;
	ip = rd_take(v, n - 2);
	*to = addr_of(ip, n - 2, rd_u16(v));
	return WIRE_OK;
}

static enum wire_error read_prefix(struct rd *v, struct prefix *to)
{
	size_t n = rd_left(v);
	uint8_t bits = rd_u8(v);
	const uint8_t *ip;

	if (n != 5 && n != 17)
		return WIRE_BAD_SIZE;
	ip = rd_take(v, n - 1);
	if (bits > (n - 1) * 8)
		return WIRE_BAD_VALUE;
	for (size_t i = bits; i < (n - 1) * 8; i++)
		if (ip[i / 8] & 0x80 >> i % 8)
			return WIRE_BAD_VALUE; /* host bits: the sender means something else than it says */
	*to = (struct prefix){ addr_of(ip, n - 1, 0), bits };
	return WIRE_OK;
}

static enum wire_error read_range(struct rd *v, struct wire_range *to)
{
	if (rd_left(v) != 4)
		return WIRE_BAD_SIZE;
	to->first = rd_u16(v);
	to->last = rd_u16(v);
	return to->first <= to->last ? WIRE_OK : WIRE_BAD_VALUE;
}

static enum wire_error read_value(const struct wire_field *f, struct rd *v, void *to)
{
	switch (f->kind) {
	case WIRE_K_TEXT:
	case WIRE_K_BYTES:
		return read_bytes(f, v, to);
	case WIRE_K_ADDR:
		return read_addr(v, to);
	case WIRE_K_PREFIX:
		return read_prefix(v, to);
	case WIRE_K_RANGE:
		return read_range(v, to);
	default:
		return read_number(f, v, to);
	}
}

static const uint8_t element_size[] = {
	[WIRE_K_U8] = 1, [WIRE_K_U16] = 2, [WIRE_K_U32] = 4, [WIRE_K_U64] = 8, [WIRE_K_TEXT] = sizeof(struct text),
	[WIRE_K_BYTES] = sizeof(struct wire_bytes), [WIRE_K_ADDR] = sizeof(struct addr),
	[WIRE_K_PREFIX] = sizeof(struct prefix), [WIRE_K_RANGE] = sizeof(struct wire_range),
};

/* ---- reading messages ---- */

static const struct wire_field *field_of(const struct wire_frame *row, uint16_t id, unsigned *ret_i)
{
	for (unsigned i = 0; i < row->n_fields; i++) {
		if (row->fields[i].id != id)
			continue;
		*ret_i = i;
		return &row->fields[i];
	}
	return NULL;
}

/* One field into the message; seen has a bit for each row. */
static enum wire_error read_field(const struct wire_frame *row, struct rd *r, uint8_t *msg, uint32_t *seen)
{
	uint16_t id = rd_u16(r), n = rd_u16(r);
	struct rd v = rd_sub(r, n);
	const struct wire_field *f;
	uint16_t *count;
	unsigned i;
	uint8_t *to;

	if (r->failed)
		return WIRE_CUT;
	f = field_of(row, id, &i);
	if (!f)
		return id & 0x8000 ? WIRE_OK : WIRE_UNKNOWN_FIELD;
	to = msg + f->at;
	if (f->most) {
		count = (uint16_t *)(void *)(msg + f->count_at);
		if (*count >= f->most)
			return WIRE_FIELD_TWICE;
		to += (size_t)(*count)++ * element_size[f->kind];
	} else if (*seen & 1u << i) {
		return WIRE_FIELD_TWICE;
	}
	*seen |= 1u << i;
	return read_value(f, &v, to);
}

static enum wire_error read_fields(const struct wire_frame *row, struct rd *r, uint8_t *msg)
{
	enum wire_error e = WIRE_OK;
	uint32_t seen = 0;

	while (!e && rd_left(r))
		e = read_field(row, r, msg, &seen);
	for (unsigned i = 0; !e && i < row->n_fields; i++)
		if (row->fields[i].required && !(seen & 1u << i))
			e = WIRE_FIELD_MISSING;
	return e;
}

static enum wire_error read_fixed(const struct wire_frame *row, struct rd *r, uint8_t *msg)
{
	for (unsigned i = 0; i < row->n_fields; i++) {
		const struct wire_field *f = &row->fields[i];
		struct rd v = rd_sub(r, number_size[f->kind]);

		if (r->failed)
			return WIRE_CUT;
		(void)read_number(f, &v, msg + f->at);
	}
	return rd_done(r) ? WIRE_OK : WIRE_CUT;
}

enum wire_error wire_parse_row(const struct wire_frame *row, const void *payload, size_t n, void *msg)
{
	struct rd r = rd_init(payload, n);

	memset(msg, 0, row->size);
	return row->layout == WIRE_L_FIXED ? read_fixed(row, &r, msg) : read_fields(row, &r, msg);
}

enum wire_error wire_parse(unsigned type, const void *payload, size_t n, union wire_msg *ret_msg)
{
	const struct wire_frame *row = wire_frame_of(type);
	union wire_msg m;
	enum wire_error e;

	if (!row)
		return WIRE_UNKNOWN_FRAME;
	if (row->layout == WIRE_L_RAW) {
		ret_msg->data.bytes = (struct wire_bytes){ payload, n };
		return WIRE_OK;
	}
	e = wire_parse_row(row, payload, n, &m);
	if (!e)
		memcpy(ret_msg, &m, row->size);
	return e;
}

static uint32_t longest(unsigned type, unsigned where)
{
	if (where == WIRE_IN_HELLO)
		return WIRE_EARLY_MAX;
	return type == WIRE_DATAGRAM ? WIRE_DATAGRAM_MAX : WIRE_PAYLOAD_MAX;
}

enum wire_error wire_next(const uint8_t *p, size_t n, struct wire_place at, struct wire_got *ret_g)
{
	struct rd r = rd_init(p, n);
	unsigned type = rd_u8(&r);
	uint32_t length = rd_u24(&r);
	const struct wire_frame *row;
	enum wire_error e = WIRE_OK;

	if (n == 0)
		return WIRE_INCOMPLETE;
	row = wire_frame_of(type);
	if (!row && !wire_ignorable(type))
		return WIRE_UNKNOWN_FRAME;
	if (row && (!(row->way & at.way) || !(row->where & at.where)))
		return WIRE_WRONG_WAY;
	if (r.failed)
		return WIRE_INCOMPLETE;
	if (length > longest(type, at.where))
		return WIRE_TOO_LONG;
	if (rd_left(&r) < length)
		return WIRE_INCOMPLETE;
	if (row)
		e = wire_parse(type, r.pos, length, &ret_g->m);
	if (e)
		return e;
	ret_g->type = type;
	ret_g->size = WIRE_HEAD + length;
	return WIRE_OK;
}

/* ---- writing ---- */

static uint64_t number_of(const struct wire_field *f, const void *from)
{
	switch (f->kind) {
	case WIRE_K_U8:
		return *(const uint8_t *)from;
	case WIRE_K_U16:
		return *(const uint16_t *)from;
	case WIRE_K_U32:
		return *(const uint32_t *)from;
	default:
		return *(const uint64_t *)from;
	}
}

static void write_number(struct wr *w, const struct wire_field *f, const void *from)
{
	uint64_t v = number_of(f, from);

	if (!number_allowed(f, v))
		w->failed = true;
	for (unsigned i = number_size[f->kind]; i-- > 0;)
		wr_u8(w, (uint8_t)(v >> i * 8));
}

static void write_bytes(struct wr *w, const struct wire_field *f, const void *from)
{
	const struct wire_bytes *b = from;
	const struct text *t = from;
	const void *p = f->kind == WIRE_K_TEXT ? (const void *)t->p : b->p;
	size_t n = f->kind == WIRE_K_TEXT ? t->n : b->n;

	if (n < f->min || (f->max && n > f->max) || (f->kind == WIRE_K_TEXT && !text_allowed(p, n)))
		w->failed = true;
	wr_bytes(w, p, n);
}

static void write_ip(struct wr *w, const struct addr *a)
{
	size_t n;
	const uint8_t *ip = addr_ip(a, &n);

	if (addr_family(a) == AF_UNSPEC)
		w->failed = true;
	else
		wr_bytes(w, ip, n);
}

static void write_value(struct wr *w, const struct wire_field *f, const void *from)
{
	const struct wire_range *range = from;
	const struct prefix *prefix = from;

	switch (f->kind) {
	case WIRE_K_TEXT:
	case WIRE_K_BYTES:
		write_bytes(w, f, from);
		break;
	case WIRE_K_ADDR:
		write_ip(w, from);
		wr_u16(w, addr_family(from) == AF_UNSPEC ? 0 : addr_port(from));
		break;
	case WIRE_K_PREFIX:
		wr_u8(w, prefix->bits);
		write_ip(w, &prefix->a);
		break;
	case WIRE_K_RANGE:
		wr_u16(w, range->first);
		wr_u16(w, range->last);
		break;
	default:
		write_number(w, f, from);
	}
}

static bool absent(const struct wire_field *f, const void *from)
{
	switch (f->kind) {
	case WIRE_K_TEXT:
		return ((const struct text *)from)->n == 0;
	case WIRE_K_BYTES:
		return ((const struct wire_bytes *)from)->n == 0;
	case WIRE_K_ADDR:
		return addr_family(from) == AF_UNSPEC;
	case WIRE_K_PREFIX:
	case WIRE_K_RANGE:
		return false;
	default:
		return number_of(f, from) == 0;
	}
}

static void write_field(struct wr *w, const struct wire_field *f, const void *from)
{
	size_t mark;

	wr_u16(w, f->id);
	mark = wr_open16(w);
	write_value(w, f, from);
	wr_close16(w, mark);
}

static void write_fields(struct wr *w, const struct wire_frame *row, const uint8_t *msg)
{
	for (unsigned i = 0; i < row->n_fields; i++) {
		const struct wire_field *f = &row->fields[i];
		unsigned count = f->most ? *(const uint16_t *)(const void *)(msg + f->count_at) : 0;

		if (count > f->most)
			w->failed = true;
		for (unsigned k = 0; k < MIN(count, f->most); k++)
			write_field(w, f, msg + f->at + (size_t)k * element_size[f->kind]);
		if (!f->most && (f->required || !absent(f, msg + f->at)))
			write_field(w, f, msg + f->at);
	}
}

void wire_write_row(struct wr *w, const struct wire_frame *row, const void *msg)
{
	if (row->layout == WIRE_L_FIELDS)
		write_fields(w, row, msg);
	for (unsigned i = 0; row->layout != WIRE_L_FIELDS && i < row->n_fields; i++)
		write_value(w, &row->fields[i], (const uint8_t *)msg + row->fields[i].at);
}

void wire_write(struct wr *w, unsigned type, const void *msg)
{
	const struct wire_frame *row = wire_frame_of(type);
	size_t mark = wr_len(w), n;

	wr_u8(w, (uint8_t)type);
	wr_u24(w, 0);
	if (!row) {
		w->failed = true;
		return;
	}
	wire_write_row(w, row, msg);
	if (w->failed)
		return;
	n = wr_len(w) - mark - WIRE_HEAD;
	if (n > longest(type, WIRE_IN_CARRIER))
		w->failed = true;
	else
		store_be32(w->start + mark, (uint32_t)type << 24 | (uint32_t)n);
}

void wire_text_copy(char *to, size_t n, struct text t)
{
	struct sb b = sb_init(to, n);

	sb_text(&b, t);
}

/* ---- plain carriers ---- */

static const uint8_t plain_begin[] = { 's', 'T', 'p', 'l', WIRE_VERSION };

enum wire_error wire_plain_parse(const uint8_t *p, size_t n, struct wire_plain *ret_p)
{
	struct rd r = rd_init(p, n);
	struct wire_plain h;
	const uint8_t *mac;

	if (n && memcmp(p, plain_begin, MIN(n, sizeof(plain_begin))) != 0)
		return WIRE_BAD_VALUE;
	if (n < WIRE_PLAIN_HEAD)
		return WIRE_INCOMPLETE;
	(void)rd_take(&r, sizeof(plain_begin));
	h.session = rd_u64(&r);
	h.number = rd_u64(&r);
	mac = rd_take(&r, sizeof(h.mac));
	memcpy(h.mac, mac, sizeof(h.mac));
	*ret_p = h;
	return WIRE_OK;
}

void wire_plain_write(struct wr *w, const struct wire_plain *p)
{
	wr_bytes(w, plain_begin, sizeof(plain_begin));
	wr_u64(w, p->session);
	wr_u64(w, p->number);
	wr_bytes(w, p->mac, sizeof(p->mac));
}
