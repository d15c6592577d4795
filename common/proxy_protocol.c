/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of PROXY protocol version 2: sixteen fixed bytes, addresses by family, then TLVs.
 *
 * A LOCAL header, one of an unspecified family, and one that tells datagrams or Unix addresses are all good
 * and tell nothing: the text says to go on with the connection's own addresses then. Of the first two the
 * rest is skipped unread, as the text wants it, for nothing says where their TLVs would begin.
 */
#include "common/proxy_protocol.h"

enum { VERSION_2 = 0x20, PROXIED = 1, STREAM = 1, DATAGRAM = 2, NAME_MAX_BYTES = 255, UNIQUE_ID_MAX = 128 };
enum { TLV_ALPN = 1, TLV_AUTHORITY = 2, TLV_CHECKSUM = 3, TLV_UNIQUE_ID = 5 };

static const uint8_t signature[] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 'Q', 'U', 'I', 'T', 0x0a };

/* By the high half of the 14th byte. */
enum { UNSPECIFIED, INET, INET6, UNIX, FAMILIES };
static const struct {
	size_t ip, block; /* bytes of one address, and of all that comes in front of the TLVs */
} families[FAMILIES] = { [INET] = { 4, 12 }, [INET6] = { 16, 36 }, [UNIX] = { 0, 216 } };

const char *proxy_error_text(enum proxy_error e)
{
	static const char *const texts[PROXY_ERRORS] = {
		[PROXY_OK] = "ok",
		[PROXY_INCOMPLETE] = "the PROXY protocol header is not complete",
		[PROXY_MISSING] = "it does not begin with a PROXY protocol header",
		[PROXY_VERSION_1] = "it begins with a PROXY header of version 1; 2 is needed (haproxy: send-proxy-v2)",
		[PROXY_BAD_VERSION] = "the PROXY protocol header has an unknown version",
		[PROXY_BAD_COMMAND] = "the PROXY protocol header has an unknown command",
		[PROXY_BAD_FAMILY] = "the PROXY protocol header has an unknown address family or transport",
		[PROXY_TOO_LONG] = "the PROXY protocol header is longer than 4096 bytes",
		[PROXY_BAD_ADDRESS] = "the PROXY protocol header is too short for its addresses",
		[PROXY_BAD_TLV] = "the PROXY protocol header has a malformed TLV",
		[PROXY_BAD_CHECKSUM] = "the checksum of the PROXY protocol header is wrong",
	};
	return (unsigned)e < PROXY_ERRORS ? texts[e] : "unknown";
}

/* ---- CRC32c (RFC 4960 appendix B), four bits at a time ---- */

static uint32_t crc_add(uint32_t crc, const uint8_t *p, size_t n)
{
	static const uint32_t steps[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	for (size_t i = 0; i < n; i++) {
		crc = steps[(crc ^ p[i]) & 15] ^ crc >> 4;
		crc = steps[(crc ^ (uint32_t)p[i] >> 4) & 15] ^ crc >> 4;
	}
	return crc;
}

/* Of the n bytes at p, with the four at `field` taken as zero. */
static uint32_t checksum(const uint8_t *p, size_t n, const uint8_t *field)
{
	static const uint8_t zero[4];
	uint32_t crc = crc_add(UINT32_MAX, p, (size_t)(field - p));

	crc = crc_add(crc, zero, sizeof(zero));
	return ~crc_add(crc, field + sizeof(zero), n - (size_t)(field - p) - sizeof(zero));
}

/* ---- reading ---- */

/* The fixed part, as far as it is there. */
static enum proxy_error check_beginning(const uint8_t *p, size_t n)
{
	static const char version_1[] = "PROXY ";

	if (n && memcmp(p, version_1, MIN(n, sizeof(version_1) - 1)) == 0)
		return n < sizeof(version_1) - 1 ? PROXY_INCOMPLETE : PROXY_VERSION_1;
	if (n && memcmp(p, signature, MIN(n, sizeof(signature))) != 0)
		return PROXY_MISSING;
	if (n > 12 && (p[12] & 0xf0) != VERSION_2)
		return PROXY_BAD_VERSION;
	if (n > 12 && (p[12] & 0x0f) > PROXIED)
		return PROXY_BAD_COMMAND;
	if (n > 13 && (p[12] & 0x0f) == PROXIED && (p[13] >> 4 >= FAMILIES || (p[13] & 0x0f) > DATAGRAM))
		return PROXY_BAD_FAMILY;
	if (n >= PROXY_FIXED && PROXY_FIXED + load_be16(p + 14) > PROXY_MAX)
		return PROXY_TOO_LONG;
	return n < PROXY_FIXED ? PROXY_INCOMPLETE : PROXY_OK;
}

size_t proxy_wanted(const uint8_t *p, size_t n)
{
	enum proxy_error e = check_beginning(p, n);

	if (e == PROXY_INCOMPLETE)
		return PROXY_FIXED - n;
	if (e != PROXY_OK || n >= PROXY_FIXED + (size_t)load_be16(p + 14))
		return 0;
	return PROXY_FIXED + (size_t)load_be16(p + 14) - n;
}

static void read_addresses(struct rd *r, unsigned family, struct proxy_header *h)
{
	size_t n = families[family].ip;
	struct rd client = rd_sub(r, n), server = rd_sub(r, n);
	const uint8_t *c = client.pos, *s = server.pos;
	uint16_t client_port = rd_u16(r), server_port = rd_u16(r);

	if (r->failed)
		return;
	h->client = family == INET ? addr_v4(load_be32(c), client_port) : addr_v6(c, client_port);
	h->server = family == INET ? addr_v4(load_be32(s), server_port) : addr_v6(s, server_port);
}

/* True if *slot was free; a value of no bytes is one, too. */
static bool keep_once(struct text *slot, const struct rd *value)
{
	bool first = !slot->p;

	*slot = (struct text){ (const char *)value->pos, rd_left(value) };
	return first && slot->n <= NAME_MAX_BYTES;
}

static bool read_tlv(struct rd *r, struct proxy_header *h, const uint8_t **crc)
{
	uint8_t type = rd_u8(r);
	struct rd value = rd_sub(r, rd_u16(r));

	if (value.failed)
		return false;
	switch (type) {
	case TLV_ALPN:
		return keep_once(&h->alpn, &value);
	case TLV_AUTHORITY:
		return keep_once(&h->authority, &value);
	case TLV_CHECKSUM:
		if (*crc || rd_left(&value) != 4)
			return false;
		*crc = value.pos;
		return true;
	case TLV_UNIQUE_ID:
		return rd_left(&value) <= UNIQUE_ID_MAX;
	default: /* NOOP, SSL, NETNS, a cloud's own, and what is invented later */
		return true;
	}
}

enum proxy_error proxy_parse(const uint8_t *p, size_t n, struct proxy_header *ret_h)
{
	enum proxy_error e = check_beginning(p, n);
	struct proxy_header h = { 0 };
	const uint8_t *crc = NULL;
	struct rd r, block;

	if (e != PROXY_OK)
		return e;
	h.length = PROXY_FIXED + (size_t)load_be16(p + 14);
	h.local = (p[12] & 0x0f) != PROXIED;
	if (n < h.length)
		return PROXY_INCOMPLETE;
	r = rd_init(p + PROXY_FIXED, h.length - PROXY_FIXED);
	unsigned family = h.local ? UNSPECIFIED : p[13] >> 4;
	if (family != UNSPECIFIED) {
		block = rd_sub(&r, families[family].block);
		if (block.failed)
			return PROXY_BAD_ADDRESS;
		if (families[family].ip && (p[13] & 0x0f) == STREAM)
			read_addresses(&block, family, &h);
		while (rd_left(&r))
			if (!read_tlv(&r, &h, &crc))
				return PROXY_BAD_TLV;
	}
	if (crc && load_be32(crc) != checksum(p, h.length, crc))
		return PROXY_BAD_CHECKSUM;
	h.checksum = crc != NULL;
	*ret_h = h;
	return PROXY_OK;
}

/* ---- writing ---- */

static unsigned family_of(const struct proxy_header *h)
{
	if (h->local || addr_family(&h->client) != addr_family(&h->server))
		return UNSPECIFIED;
	return addr_family(&h->client) == AF_INET ? INET : addr_family(&h->client) == AF_INET6 ? INET6 : UNSPECIFIED;
}

static void write_name(struct wr *w, uint8_t type, struct text name)
{
	if (!name.p)
		return;
	if (name.n > NAME_MAX_BYTES)
		w->failed = true;
	wr_u8(w, type);
	wr_u16(w, (uint16_t)name.n);
	wr_bytes(w, name.p, name.n);
}

void proxy_write(struct wr *w, const struct proxy_header *h)
{
	unsigned family = family_of(h);
	const uint8_t *start = w->pos;
	uint8_t *crc = NULL;
	size_t n, mark;

	wr_bytes(w, signature, sizeof(signature));
	wr_u8(w, (uint8_t)(VERSION_2 | (h->local ? 0 : PROXIED)));
	wr_u8(w, family == UNSPECIFIED ? 0 : (uint8_t)(family << 4 | STREAM));
	mark = wr_open16(w);
	if (family != UNSPECIFIED) {
		wr_bytes(w, addr_ip(&h->client, &n), families[family].ip);
		wr_bytes(w, addr_ip(&h->server, &n), families[family].ip);
		wr_u16(w, addr_port(&h->client));
		wr_u16(w, addr_port(&h->server));
		write_name(w, TLV_ALPN, h->alpn);
		write_name(w, TLV_AUTHORITY, h->authority);
		if (h->checksum) {
			wr_u8(w, TLV_CHECKSUM);
			wr_u16(w, 4);
			crc = wr_take(w, 4);
		}
	}
	wr_close16(w, mark);
	if (crc && !w->failed) {
		memset(crc, 0, 4);
		store_be32(crc, checksum(start, (size_t)(w->pos - start), crc));
	}
}
