/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing STUN messages into the caller's buffer. Like the cursor below it, the writer latches: write
 * everything, test once at stun_end(). A value that breaks its row's length rule latches too, so that
 * nothing leaves this library that its own parser would refuse.
 *
 * For RFC 3489 clients (no cookie) texts are filled with blanks inside their length and lists to an
 * even count, because that RFC knows no padding. Integrity and fingerprint are in integrity.c.
 */
#include <errno.h>
#include <string.h>
#include "stun/msg.h"

static const struct stun_attr_row *row_of(enum stun_attr a)
{
	return &stun_attr_table[a];
}

/* An open attribute: where its length stands, and where its value begins. */
struct open_attr {
	size_t mark, value;
};

static struct open_attr open_attr(struct stun_writer *sw, uint16_t type)
{
	struct open_attr o;

	wr_u16(&sw->w, type);
	o.mark = wr_open16(&sw->w);
	o.value = wr_len(&sw->w);
	return o;
}

static void close_attr(struct stun_writer *sw, struct open_attr o)
{
	wr_close16(&sw->w, o.mark);
	wr_zero(&sw->w, -wr_len(&sw->w) & 3);
}

static void check_length(struct stun_writer *sw, enum stun_attr a, size_t n)
{
	const struct stun_attr_row *row = row_of(a);

	if (n < row->min || n > row->max || n % row->unit)
		sw->w.failed = true;
}

/* Blanks up to a multiple of four, inside the value: RFC 3489 11.2.6 and 11.2.9. */
static void fill_rfc3489(struct stun_writer *sw, struct open_attr o)
{
	if (sw->rfc3489)
		for (size_t n = -(wr_len(&sw->w) - o.value) & 3; n > 0; n--)
			wr_u8(&sw->w, ' ');
}

static void begin(struct stun_writer *sw, void *buf, size_t cap, uint16_t type)
{
	*sw = (struct stun_writer){ .w = wr_init(buf, cap) };
	wr_u16(&sw->w, type);
	wr_u16(&sw->w, 0); /* the length; stun_end() knows it */
}

void stun_begin(struct stun_writer *sw, void *buf, size_t cap, enum stun_method m,
		enum stun_class c, const uint8_t tid[static STUN_TID_LEN])
{
	begin(sw, buf, cap, stun_type(m, c));
	wr_u32(&sw->w, STUN_MAGIC);
	wr_bytes(&sw->w, tid, STUN_TID_LEN);
}

void stun_begin_response(struct stun_writer *sw, void *buf, size_t cap,
			 const struct stun_msg *request, enum stun_class c)
{
	begin(sw, buf, cap, stun_type(request->method, c));
	sw->rfc3489 = request->rfc3489;
	/* The cookie, or what an RFC 3489 client has in its place, and the transaction id. */
	wr_bytes(&sw->w, request->raw + 4, 4 + STUN_TID_LEN);
}

void stun_put_raw(struct stun_writer *sw, uint16_t type, const void *p, size_t n)
{
	struct open_attr o = open_attr(sw, type);

	if (n > 0)
		wr_bytes(&sw->w, p, n);
	close_attr(sw, o);
}

void stun_put(struct stun_writer *sw, enum stun_attr a, const void *p, size_t n)
{
	check_length(sw, a, n);
	stun_put_raw(sw, row_of(a)->type, p, n);
}

void stun_put_addr(struct stun_writer *sw, enum stun_attr a, const struct addr *addr)
{
	struct open_attr o = open_attr(sw, row_of(a)->type);
	bool xored = row_of(a)->shape == STUN_SHAPE_XOR_ADDRESS;
	sa_family_t family = addr_family(addr);
	uint16_t port = addr_port(addr);
	size_t n;

	if ((!xored && row_of(a)->shape != STUN_SHAPE_ADDRESS) ||
	    (family != AF_INET && family != AF_INET6))
		sw->w.failed = true;
	if (sw->w.failed)
		return;
	const uint8_t *key = sw->w.start + 4; /* cookie and transaction id, as the reader will see them */
	const uint8_t *ip = addr_ip(addr, &n);
	wr_u8(&sw->w, 0);
	wr_u8(&sw->w, family == AF_INET ? 1 : 2);
	wr_u16(&sw->w, xored ? port ^ load_be16(key) : port);
	for (size_t i = 0; i < n; i++)
		wr_u8(&sw->w, xored ? ip[i] ^ key[i] : ip[i]);
	close_attr(sw, o);
}

void stun_put_u32(struct stun_writer *sw, enum stun_attr a, uint32_t v)
{
	struct open_attr o = open_attr(sw, row_of(a)->type);

	check_length(sw, a, sizeof v);
	wr_u32(&sw->w, v);
	close_attr(sw, o);
}

void stun_put_u64(struct stun_writer *sw, enum stun_attr a, uint64_t v)
{
	struct open_attr o = open_attr(sw, row_of(a)->type);

	check_length(sw, a, sizeof v);
	wr_u64(&sw->w, v);
	close_attr(sw, o);
}

void stun_put_text(struct stun_writer *sw, enum stun_attr a, struct text t)
{
	struct open_attr o = open_attr(sw, row_of(a)->type);

	check_length(sw, a, t.n);
	if (t.n > 0)
		wr_bytes(&sw->w, t.p, t.n);
	fill_rfc3489(sw, o);
	close_attr(sw, o);
}

void stun_put_flag(struct stun_writer *sw, enum stun_attr a)
{
	stun_put(sw, a, NULL, 0);
}

static void put_error(struct stun_writer *sw, enum stun_attr a, uint8_t first, unsigned code,
		      const char *reason)
{
	struct open_attr o = open_attr(sw, row_of(a)->type);
	struct text t = text_of(reason);

	if (code < 300 || code > 699)
		sw->w.failed = true;
	check_length(sw, a, 4 + t.n);
	wr_u8(&sw->w, first);
	wr_u8(&sw->w, 0);
	wr_u8(&sw->w, (uint8_t)(code / 100));
	wr_u8(&sw->w, (uint8_t)(code % 100));
	if (t.n > 0)
		wr_bytes(&sw->w, t.p, t.n);
	fill_rfc3489(sw, o);
	close_attr(sw, o);
}

void stun_put_error(struct stun_writer *sw, unsigned code, const char *reason)
{
	put_error(sw, STUN_A_ERROR_CODE, 0, code, reason);
}

void stun_put_address_error(struct stun_writer *sw, sa_family_t family, unsigned code, const char *reason)
{
	put_error(sw, STUN_A_ADDRESS_ERROR_CODE, family == AF_INET ? 1 : 2, code, reason);
}

void stun_put_unknown(struct stun_writer *sw, const uint16_t *types, unsigned n)
{
	struct open_attr o = open_attr(sw, row_of(STUN_A_UNKNOWN_ATTRIBUTES)->type);

	for (unsigned i = 0; i < n; i++)
		wr_u16(&sw->w, types[i]);
	if (sw->rfc3489 && n % 2) /* RFC 3489 11.2.10: one of them is repeated */
		wr_u16(&sw->w, types[n - 1]);
	close_attr(sw, o);
}

ssize_t stun_end(struct stun_writer *sw)
{
	size_t n = wr_len(&sw->w);

	if (sw->w.failed || n < STUN_HEADER_LEN || n - STUN_HEADER_LEN > UINT16_MAX)
		return -ENOSPC;
	store_be16(sw->w.start + 2, (uint16_t)(n - STUN_HEADER_LEN));
	return (ssize_t)n;
}
