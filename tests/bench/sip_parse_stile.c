/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ours, for tests/bench/sip_parse.c: sip_msg_parse(), sip_basics_read(), and the URIs of the four addresses, which the
 * other libraries take apart as well.
 */
#include "sip-proxy/headers.h"
#include "tests/bench/sip_parse.h"

static bool setup(void)
{
	return sip_headers_init() == 0;
}

static bool parse(const char *p, size_t n, struct sip_facts *f)
{
	struct sip_msg m;
	struct sip_basics b;
	struct sip_uri route = { 0 }, from, to, contact = { 0 };
	bool good = sip_msg_parse(&m, (struct text){ p, n }, SIP_DATAGRAM, NULL) == SIP_OK &&
		    sip_basics_read(&m, &b) == SIP_OK && m.is_request &&
		    (!b.route.raw.p || sip_uri_parse(b.route.uri, &route) == 0) &&
		    sip_uri_parse(b.from.uri, &from) == 0 && sip_uri_parse(b.to.uri, &to) == 0 &&
		    (!b.contact.raw.p || b.contact.star || sip_uri_parse(b.contact.uri, &contact) == 0);
	if (good)
		*f = (struct sip_facts){
			.via_host = b.via.host.n,
			.via_branch = b.via.branch.n,
			.route_host = route.host.n,
			.from_host = from.host.n,
			.from_tag = b.from.tag.n,
			.to_host = to.host.n,
			.to_user = to.user.n,
			.call_id = b.call_id.n,
			.contact_user = contact.user.n,
			.uri_user = b.uri.user.n,
			.method = m.method_name.n,
			.body = m.body.n,
			.cseq = b.cseq.number,
			.max_forwards = b.max_forwards > 0 ? (unsigned)b.max_forwards : 0,
		};
	sip_msg_deinit(&m);
	return good;
}

const struct sip_parser parser_stile = { "stile", setup, parse };
