/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codec of NAT-PMP and PCP; see portmap.h. The first byte is the version (0 NAT-PMP, 2 PCP), the second the
 * opcode with its top bit set in answers. A router that knows one protocol answers the other's
 * question with "unsupported version" in its own format, which the rules below take for what it says.
 */
#include "stun/portmap.h"
#include <errno.h>
#include "common/bytes.h"

enum {
	NATPMP_VERSION = 0,
	PCP_VERSION = 2,
	ANSWER = 0x80,
	NATPMP_ADDRESS = 0,  /* RFC 6886 3.2 */
	NATPMP_MAP_UDP = 1,  /* 3.3 */
	NATPMP_MAP_TCP = 2,
	PCP_ANNOUNCE = 0,    /* RFC 6887 14.1 */
	PCP_MAP = 1,	     /* 11.1 */
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
};

static void put_address(struct wr *w, const struct addr *a)
{
	size_t n;
	const uint8_t *ip = addr_ip(a, &n);

	if (n == 4) { /* RFC 6887 5: IPv4-mapped */
		wr_zero(w, 10);
		wr_u16(w, 0xffff);
	}
	wr_bytes(w, ip, n);
}

static struct addr take_address(struct rd *r, uint16_t port)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	const uint8_t *ip = rd_take(r, 16);
	struct addr none = { 0 };

	if (!ip)
		return none;
	return memcmp(ip, mapped, sizeof mapped) == 0 ? addr_v4(load_be32(ip + 12), port) : addr_v6(ip, port);
}

/* RFC 6887 7.1. */
static void put_pcp_head(struct wr *w, uint8_t op, uint32_t lifetime_s, const struct addr *ours)
{
	wr_u8(w, PCP_VERSION);
	wr_u8(w, op);
	wr_u16(w, 0);
	wr_u32(w, lifetime_s);
	put_address(w, ours);
}

size_t portmap_ask(enum portmap_protocol p, const struct addr *ours, uint8_t out[static PORTMAP_REQUEST_MAX])
{
	struct wr w = wr_init(out, PORTMAP_REQUEST_MAX);

	if (p == PORTMAP_NATPMP) {
		wr_u8(&w, NATPMP_VERSION);
		wr_u8(&w, NATPMP_ADDRESS);
		return wr_len(&w);
	}
	put_pcp_head(&w, PCP_ANNOUNCE, 0, ours);
	return wr_len(&w);
}

size_t portmap_map(enum portmap_protocol p, const struct portmap_wish *wish, uint8_t out[static PORTMAP_REQUEST_MAX])
{
	static const uint8_t any4[16] = { [10] = 0xff, [11] = 0xff }, any6[16] = { 0 };
	struct wr w = wr_init(out, PORTMAP_REQUEST_MAX);
	bool v4 = addr_family(&wish->inside) == AF_INET;

	if (p == PORTMAP_NATPMP && !v4)
		return 0;
	if (p == PORTMAP_NATPMP) {
		wr_u8(&w, NATPMP_VERSION);
		wr_u8(&w, wish->tcp ? NATPMP_MAP_TCP : NATPMP_MAP_UDP);
		wr_u16(&w, 0);
		wr_u16(&w, addr_port(&wish->inside));
		wr_u16(&w, wish->lifetime_s ? wish->outside_port : 0);
		wr_u32(&w, wish->lifetime_s);
		return wr_len(&w);
	}
	put_pcp_head(&w, PCP_MAP, wish->lifetime_s, &wish->inside);
	wr_bytes(&w, wish->nonce, PORTMAP_NONCE);
	wr_u8(&w, wish->tcp ? PROTOCOL_TCP : PROTOCOL_UDP);
	wr_zero(&w, 3);
	wr_u16(&w, addr_port(&wish->inside));
	wr_u16(&w, wish->outside_port);
	wr_bytes(&w, v4 ? any4 : any6, 16); /* no preference for an address */
	return wr_len(&w);
}

/* RFC 6886 3.2, 3.3: the address, or the mapping, only on success; an error may end after the epoch. */
static int parse_natpmp(struct rd *r, uint8_t op, struct portmap_answer *a)
{
	a->protocol = PORTMAP_NATPMP;
	a->mapping = op != NATPMP_ADDRESS;
	a->tcp = op == NATPMP_MAP_TCP;
	a->result = rd_u16(r);
	a->epoch_s = rd_u32(r);
	if (a->mapping && a->result == PORTMAP_SUCCESS) {
		a->inside_port = rd_u16(r);
		a->outside_port = rd_u16(r);
		a->lifetime_s = rd_u32(r);
	} else if (a->result == PORTMAP_SUCCESS)
		a->external = addr_v4(rd_u32(r), 0);
	return r->failed ? -EBADMSG : 0;
}

/* RFC 6887 7.2, 11.1; options may follow. */
static int parse_pcp(struct rd *r, size_t n, uint8_t op, struct portmap_answer *a)
{
	uint8_t protocol;
	struct addr outside;

	a->protocol = PORTMAP_PCP;
	a->mapping = op == PCP_MAP;
	(void)rd_u8(r);
	a->result = rd_u8(r);
	a->lifetime_s = rd_u32(r);
	a->epoch_s = rd_u32(r);
	(void)rd_take(r, 12);
	if (a->mapping && !(a->result == PORTMAP_UNSUPPORTED_VERSION && rd_left(r) == 0)) {
		const uint8_t *nonce = rd_take(r, PORTMAP_NONCE);
		protocol = rd_u8(r);
		(void)rd_take(r, 3);
		a->inside_port = rd_u16(r);
		a->outside_port = rd_u16(r);
		outside = take_address(r, a->outside_port);
		if (r->failed || (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP))
			return -EBADMSG;
		memcpy(a->nonce, nonce, PORTMAP_NONCE);
		a->tcp = protocol == PROTOCOL_TCP;
		if (a->result == PORTMAP_SUCCESS)
			a->external = outside;
	}
	return r->failed || n % 4 ? -EBADMSG : 0;
}

int portmap_parse(const void *p, size_t n, struct portmap_answer *ret_a)
{
	struct rd r = rd_init(p, n);
	struct portmap_answer a = { 0 };
	uint8_t version = rd_u8(&r), op = rd_u8(&r);
	int err = -EBADMSG;

	if (r.failed || n > PORTMAP_ANSWER_MAX || !(op & ANSWER))
		return -EBADMSG;
	op &= (uint8_t)~ANSWER;
	if (version == NATPMP_VERSION && op <= NATPMP_MAP_TCP)
		err = parse_natpmp(&r, op, &a);
	else if (version == PCP_VERSION && op <= PCP_MAP)
		err = parse_pcp(&r, n, op, &a);
	if (err == 0)
		*ret_a = a;
	return err;
}

const char *portmap_result_text(unsigned result)
{
	switch (result) {
	case PORTMAP_SUCCESS: return "success";
	case PORTMAP_UNSUPPORTED_VERSION: return "this version is not spoken";
	case PORTMAP_NOT_AUTHORIZED: return "refused: it is switched off";
	default: return "refused";
	}
}
