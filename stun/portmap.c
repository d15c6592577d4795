/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codec of the two questions; see portmap.h. The first byte is the version (0 NAT-PMP, 2 PCP), the second the
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
	OP_ADDRESS = 0,	 /* NAT-PMP, RFC 6886 3.2 */
	OP_ANNOUNCE = 0, /* PCP, RFC 6887 14.1 */
	PCP_HEADER = 24,
};

static void put_mapped(struct wr *w, const struct addr *a)
{
	size_t n;
	const uint8_t *ip = addr_ip(a, &n);

	if (n == 4) { /* RFC 6887 5: IPv4-mapped */
		wr_zero(w, 10);
		wr_u16(w, 0xffff);
	}
	wr_bytes(w, ip, n);
}

size_t portmap_ask(enum portmap_protocol p, const struct addr *ours, uint8_t out[static PORTMAP_REQUEST_MAX])
{
	struct wr w = wr_init(out, PORTMAP_REQUEST_MAX);

	if (p == PORTMAP_NATPMP) {
		wr_u8(&w, NATPMP_VERSION);
		wr_u8(&w, OP_ADDRESS);
		return wr_len(&w);
	}
	wr_u8(&w, PCP_VERSION);
	wr_u8(&w, OP_ANNOUNCE);
	wr_u16(&w, 0);
	wr_u32(&w, 0); /* lifetime */
	put_mapped(&w, ours);
	return wr_len(&w);
}

/* RFC 6886 3.2: the address only on success; an error may end after the epoch. */
static int parse_natpmp(struct rd *r, struct portmap_answer *a)
{
	a->protocol = PORTMAP_NATPMP;
	a->result = rd_u16(r);
	a->epoch_s = rd_u32(r);
	if (a->result == PORTMAP_SUCCESS)
		a->external = addr_v4(rd_u32(r), 0);
	return r->failed ? -EBADMSG : 0;
}

/* RFC 6887 7.2; options may follow. */
static int parse_pcp(struct rd *r, size_t n, struct portmap_answer *a)
{
	a->protocol = PORTMAP_PCP;
	(void)rd_u8(r);
	a->result = rd_u8(r);
	(void)rd_u32(r); /* lifetime */
	a->epoch_s = rd_u32(r);
	(void)rd_take(r, 12);
	return r->failed || n % 4 ? -EBADMSG : 0;
}

int portmap_parse(const void *p, size_t n, struct portmap_answer *ret_a)
{
	struct rd r = rd_init(p, n);
	struct portmap_answer a = { 0 };
	uint8_t version = rd_u8(&r), op = rd_u8(&r);
	int err;

	if (r.failed || n > PORTMAP_ANSWER_MAX || op != (ANSWER | OP_ADDRESS))
		return -EBADMSG;
	if (version == NATPMP_VERSION)
		err = parse_natpmp(&r, &a);
	else if (version == PCP_VERSION)
		err = parse_pcp(&r, n, &a);
	else
		err = -EBADMSG;
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
