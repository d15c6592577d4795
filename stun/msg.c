/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading STUN messages: one pass over the received bytes, then typed getters over the index it made.
 * Nothing is copied, nothing allocated; the index points into the caller's buffer. The writer is
 * msg_write.c, the rules of single attributes are rows of attr_table.c.
 *
 * Order (RFC 8489 14.5 to 14.7): behind MESSAGE-INTEGRITY only MESSAGE-INTEGRITY-SHA256 and FINGERPRINT
 * count, behind MESSAGE-INTEGRITY-SHA256 only FINGERPRINT, and FINGERPRINT must be the last. What
 * stands in a wrong place is as if it were absent, unknown types included; an attacker may have put
 * it there.
 */
#include <errno.h>
#include <string.h>
#include "stun/auth.h"

enum { FAMILY_V4 = 1, FAMILY_V6 = 2 }; /* RFC 8489 14.1 */

/* What only the parser needs to know on its way. */
struct parse {
	struct rd r;
	struct stun_msg *m;
	enum stun_order order; /* of the last ordered attribute seen */
	bool bad;	       /* m->bad_attr holds the first bad one */
	bool bad_fingerprint;
};

static int parse_header(struct rd *r, struct stun_msg *m)
{
	const uint8_t *raw = r->pos;
	uint16_t type = rd_u16(r), length = rd_u16(r);
	bool magic = rd_u32(r) == STUN_MAGIC;
	const uint8_t *tid = rd_take(r, STUN_TID_LEN);

	if (!tid || type & 0xc000 || length % 4 || length != rd_left(r))
		return STUN_NOT_STUN;
	/* RFC 3489 clients know Binding requests and their responses, nothing else. */
	if (!magic &&
	    (stun_type_method(type) != STUN_BINDING || stun_type_class(type) == STUN_INDICATION))
		return STUN_NOT_STUN;
	*m = (struct stun_msg){
		.raw = raw,
		.raw_n = STUN_HEADER_LEN + (size_t)length,
		.type = type,
		.method = stun_type_method(type),
		.class = stun_type_class(type),
		.tid = tid,
		.rfc3489 = !magic,
		.bad_attr = STUN_ATTRS,
	};
	return STUN_OK;
}

/* First byte reserved and ignored, then the family, which fixes the length. */
static bool address_well_formed(struct rd value)
{
	rd_u8(&value);
	switch (rd_u8(&value)) {
	case FAMILY_V4: return rd_left(&value) == 2 + 4;
	case FAMILY_V6: return rd_left(&value) == 2 + 16;
	default: return false;
	}
}

static bool well_formed(const struct stun_attr_row *row, const struct rd *value)
{
	size_t n = rd_left(value);
	if (n < row->min || n > row->max || n % row->unit)
		return false;
	if (row->shape == STUN_SHAPE_ADDRESS || row->shape == STUN_SHAPE_XOR_ADDRESS)
		return address_well_formed(*value);
	return true;
}

static void note_bad(struct parse *ps, enum stun_attr a)
{
	if (!ps->bad)
		ps->m->bad_attr = a;
	ps->bad = true;
}

static unsigned add_type(uint16_t *types, unsigned n, uint16_t type)
{
	for (unsigned i = 0; i < n; i++)
		if (types[i] == type)
			return n;
	if (n < STUN_MAX_UNKNOWN)
		types[n++] = type;
	return n;
}

/* An attribute with a place of its own has been found at this offset. */
static void on_ordered(struct parse *ps, const struct stun_attr_row *row, size_t offset)
{
	struct stun_msg *m = ps->m;

	ps->order = row->order;
	switch (row->order) {
	case STUN_BODY: break;
	case STUN_INTEGRITY: m->mi_offset = (uint16_t)offset; break;
	case STUN_INTEGRITY_SHA256: m->mi256_offset = (uint16_t)offset; break;
	case STUN_LAST:
		m->has_fingerprint = load_be32(m->attr[row->id].p) == stun_fingerprint(m->raw, offset);
		ps->bad_fingerprint = !m->has_fingerprint;
		break;
	}
}

static void on_attr(struct parse *ps, const struct stun_attr_row *row, const struct rd *value,
		    size_t offset)
{
	struct stun_msg *m = ps->m;
	struct stun_value *v = &m->attr[row->id];

	if (!(row->where & 1 << m->class) || (v->p && !row->repeat))
		return;
	if (!well_formed(row, value)) {
		if (row->type < 0x8000)
			note_bad(ps, row->id);
		return;
	}
	if (!v->p)
		*v = (struct stun_value){ .p = value->pos, .n = (uint16_t)rd_left(value) };
	if (row->order != STUN_BODY)
		on_ordered(ps, row, offset);
}

static void parse_attr(struct parse *ps)
{
	struct stun_msg *m = ps->m;
	size_t offset = (size_t)(ps->r.pos - m->raw);
	uint16_t type = rd_u16(&ps->r), n = rd_u16(&ps->r);
	struct rd value = rd_sub(&ps->r, n);

	rd_take(&ps->r, -(size_t)n & 3); /* padding must be there; its content means nothing */
	if (ps->r.failed)
		return;
	if (ps->order == STUN_LAST) {
		note_bad(ps, STUN_A_FINGERPRINT);
		return;
	}
	const struct stun_attr_row *row = stun_attr_by_type(type);
	if (ps->order != STUN_BODY && (!row || row->order <= ps->order))
		return;
	if (row)
		on_attr(ps, row, &value, offset);
	else if (type < 0x8000)
		m->n_unknown = (uint8_t)add_type(m->unknown, m->n_unknown, type);
}

int stun_parse(const void *p, size_t n, struct stun_msg *ret_m)
{
	struct parse ps = { .r = rd_init(p, n), .m = ret_m };
	int code = parse_header(&ps.r, ret_m);

	if (code != STUN_OK)
		return code;
	while (rd_left(&ps.r) > 0)
		parse_attr(&ps);
	/* A wrong fingerprint comes first: what says it is damaged is not worth an answer. */
	if (ps.bad_fingerprint)
		return STUN_BAD_FINGERPRINT;
	if (ps.r.failed)
		ret_m->bad_attr = STUN_ATTRS;
	return ps.r.failed || ps.bad ? STUN_MALFORMED : STUN_OK;
}

ssize_t stun_frame_length(const void *p, size_t n)
{
	struct rd r = rd_init(p, n);
	uint16_t type = rd_u16(&r), length = rd_u16(&r);
	uint32_t magic = rd_u32(&r);

	/* Fields that are not there yet read as zero, so what is wrong already is refused early. */
	if (type & 0xc000 || length % 4 || (!r.failed && magic != STUN_MAGIC))
		return -EBADMSG;
	return n < STUN_HEADER_LEN ? 0 : STUN_HEADER_LEN + (ssize_t)length;
}

unsigned stun_not_understood(const struct stun_msg *m, uint64_t understood,
			     uint16_t ret_types[static STUN_MAX_UNKNOWN])
{
	unsigned n = m->n_unknown;

	memcpy(ret_types, m->unknown, n * sizeof m->unknown[0]);
	for (unsigned a = 0; a < STUN_ATTRS; a++)
		if (m->attr[a].p && !(understood & STUN_BIT(a)) && stun_attr_table[a].type < 0x8000)
			n = add_type(ret_types, n, stun_attr_table[a].type);
	return n;
}

/* Getters */

static int read_addr(const struct stun_msg *m, enum stun_attr a, struct stun_value v, struct addr *ret_a)
{
	/* The key is what stands in the header: the cookie, then the transaction id (RFC 8489 14.2). */
	const uint8_t *key = m->raw + 4;
	bool xored = stun_attr_table[a].shape == STUN_SHAPE_XOR_ADDRESS;
	uint8_t ip[16];

	if (!xored && stun_attr_table[a].shape != STUN_SHAPE_ADDRESS)
		return -EBADMSG;
	struct rd r = rd_init(v.p, v.n);
	if (!address_well_formed(r))
		return -EBADMSG;
	rd_u16(&r);
	uint16_t port = rd_u16(&r);
	size_t n = rd_left(&r);
	memcpy(ip, rd_take(&r, n), n);
	if (xored) {
		port ^= load_be16(key);
		for (size_t i = 0; i < n; i++)
			ip[i] ^= key[i];
	}
	*ret_a = n == 4 ? addr_v4(load_be32(ip), port) : addr_v6(ip, port);
	return 0;
}

int stun_get_addr(const struct stun_msg *m, enum stun_attr a, struct addr *ret_a)
{
	return stun_has(m, a) ? read_addr(m, a, m->attr[a], ret_a) : -ENOENT;
}

int stun_get_u32(const struct stun_msg *m, enum stun_attr a, uint32_t *ret_v)
{
	if (!stun_has(m, a))
		return -ENOENT;
	struct rd r = rd_init(m->attr[a].p, m->attr[a].n);
	uint32_t v = rd_u32(&r);
	if (!rd_done(&r))
		return -EBADMSG;
	*ret_v = v;
	return 0;
}

int stun_get_u64(const struct stun_msg *m, enum stun_attr a, uint64_t *ret_v)
{
	if (!stun_has(m, a))
		return -ENOENT;
	struct rd r = rd_init(m->attr[a].p, m->attr[a].n);
	uint64_t v = rd_u64(&r);
	if (!rd_done(&r))
		return -EBADMSG;
	*ret_v = v;
	return 0;
}

int stun_get_text(const struct stun_msg *m, enum stun_attr a, struct text *ret_t)
{
	if (!stun_has(m, a))
		return -ENOENT;
	struct text t = { (const char *)m->attr[a].p, m->attr[a].n };
	if (!text_is_utf8(t))
		return -EBADMSG;
	*ret_t = t;
	return 0;
}

/* The part that ERROR-CODE and ADDRESS-ERROR-CODE share. A reason is for people: one that is no UTF-8
 * is dropped, the code still counts. */
static int read_error(struct stun_value v, uint8_t *ret_first, unsigned *ret_code, struct text *ret_reason)
{
	struct rd r = rd_init(v.p, v.n);
	uint8_t first = rd_u8(&r);
	rd_u8(&r);
	unsigned class = rd_u8(&r) & 7, number = rd_u8(&r);
	size_t n = rd_left(&r);
	struct text reason = { (const char *)rd_take(&r, n), n };

	if (!rd_done(&r) || class < 3 || class > 6 || number > 99)
		return -EBADMSG;
	*ret_first = first;
	*ret_code = class * 100 + number;
	*ret_reason = text_is_utf8(reason) ? reason : TEXT("");
	return 0;
}

int stun_get_error(const struct stun_msg *m, unsigned *ret_code, struct text *ret_reason)
{
	uint8_t reserved;

	if (!stun_has(m, STUN_A_ERROR_CODE))
		return -ENOENT;
	return read_error(m->attr[STUN_A_ERROR_CODE], &reserved, ret_code, ret_reason);
}

int stun_get_address_error(const struct stun_msg *m, sa_family_t *ret_family, unsigned *ret_code,
			   struct text *ret_reason)
{
	struct stun_value v = m->attr[STUN_A_ADDRESS_ERROR_CODE];
	uint8_t family;

	if (!v.p)
		return -ENOENT;
	if (v.p[0] != FAMILY_V4 && v.p[0] != FAMILY_V6)
		return -EBADMSG;
	int r = read_error(v, &family, ret_code, ret_reason);
	if (r < 0)
		return r;
	*ret_family = family == FAMILY_V4 ? AF_INET : AF_INET6;
	return 0;
}

int stun_next_attr(const struct stun_msg *m, size_t *it, uint16_t *ret_type, struct stun_value *ret_v)
{
	struct rd r = rd_init(m->raw, m->raw_n);

	rd_take(&r, *it ? *it : STUN_HEADER_LEN);
	uint16_t type = rd_u16(&r), n = rd_u16(&r);
	struct rd value = rd_sub(&r, n);
	rd_take(&r, -(size_t)n & 3);
	const struct stun_attr_row *row = stun_attr_by_type(type);
	/* The body ends where the parser saw it end: a fingerprint of a wrong length, say, was ignored. */
	if (r.failed || (row && row->order != STUN_BODY && m->attr[row->id].p == value.pos))
		return -ENOENT;
	*it = (size_t)(r.pos - m->raw);
	*ret_type = type;
	*ret_v = (struct stun_value){ .p = value.pos, .n = n };
	return 0;
}

int stun_next_addr(const struct stun_msg *m, enum stun_attr a, size_t *it, struct addr *ret_a)
{
	struct stun_value v;
	uint16_t type;

	if (!stun_has(m, a))
		return -ENOENT;
	while (stun_next_attr(m, it, &type, &v) == 0)
		if (type == stun_attr_table[a].type)
			return read_addr(m, a, v, ret_a);
	return -ENOENT;
}

static const struct {
	enum stun_method method;
	const char *name;
} method_names[] = {
	{ STUN_BINDING, "Binding" },
	{ STUN_ALLOCATE, "Allocate" },
	{ STUN_REFRESH, "Refresh" },
	{ STUN_SEND, "Send" },
	{ STUN_DATA, "Data" },
	{ STUN_CREATE_PERMISSION, "CreatePermission" },
	{ STUN_CHANNEL_BIND, "ChannelBind" },
	{ STUN_CONNECT, "Connect" },
	{ STUN_CONNECTION_BIND, "ConnectionBind" },
	{ STUN_CONNECTION_ATTEMPT, "ConnectionAttempt" },
};

const char *stun_method_name(enum stun_method m)
{
	for (size_t i = 0; i < ARRAY_LEN(method_names); i++)
		if (method_names[i].method == m)
			return method_names[i].name;
	return "unknown method";
}
