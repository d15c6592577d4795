/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libre, for tests/bench/sip_parse.c: sip_msg_decode() makes a hash of the headers and parses the most important ones;
 * Route and Contact are parsed when they are asked for.
 */
#include <stdint.h>
#include <sys/socket.h>
#define HAVE_SOCKLEN_T 1 /* or libre declares one that is another */
#include <re/re.h>
#include "tests/bench/sip_parse.h"

static bool setup(void)
{
	return libre_init() == 0;
}

static bool parse(const char *p, size_t n, struct sip_facts *f)
{
	struct mbuf *mb = mbuf_alloc(n);
	struct sip_msg *m = NULL;
	struct sip_addr route = { .uri = { .host = { 0 } } }, contact = { .uri = { .user = { 0 } } };
	const struct sip_hdr *rh = NULL, *ch = NULL;
	bool good = mb && mbuf_write_mem(mb, (const uint8_t *)p, n) == 0;
	if (good) {
		mb->pos = 0;
		good = sip_msg_decode(&m, mb) == 0;
	}
	if (good) {
		rh = sip_msg_hdr(m, SIP_HDR_ROUTE);
		ch = sip_msg_hdr(m, SIP_HDR_CONTACT);
		good = (!rh || sip_addr_decode(&route, &rh->val) == 0) &&
		       (!ch || sip_addr_decode(&contact, &ch->val) == 0);
	}
	if (good)
		*f = (struct sip_facts){
			.via_host = m->via.sentby.l,
			.via_branch = m->via.branch.l,
			.route_host = route.uri.host.l,
			.from_host = m->from.uri.host.l,
			.from_tag = m->from.tag.l,
			.to_host = m->to.uri.host.l,
			.to_user = m->to.uri.user.l,
			.call_id = m->callid.l,
			.contact_user = contact.uri.user.l,
			.uri_user = m->uri.user.l,
			.method = m->met.l,
			.body = mbuf_get_left(m->mb),
			.cseq = m->cseq.num,
			.max_forwards = pl_u32(&m->maxfwd),
		};
	mem_deref(m);
	mem_deref(mb);
	return good;
}

const struct sip_parser parser_re = { "libre", setup, parse };
