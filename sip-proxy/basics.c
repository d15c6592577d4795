/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The eight headers that a proxy reads, in one go and in the order in which RFC 3261 16.3
 * checks a request. Whatever is found bad has a verdict; what was read before is there, so
 * that a refusal can be sent to the topmost Via.
 */
#include "sip-proxy/headers.h"

static bool first_value(const struct sip_msg *m, enum sip_header id, struct text *ret_value)
{
	struct sip_values it = sip_values(m, id);
	return sip_values_next(&it, ret_value);
}

static enum sip_verdict read_address(const struct sip_msg *m, enum sip_header id,
				     enum sip_verdict bad, struct sip_addr *ret_a)
{
	struct text value = sip_value(m, id);
	if (!value.p)
		return SIP_MISSING_HEADER;
	return sip_addr_parse(value, ret_a) < 0 || ret_a->star ? bad : SIP_OK;
}

/* Route, Contact: only the first value, which may be absent. */
static enum sip_verdict read_first(const struct sip_msg *m, enum sip_header id,
				   enum sip_verdict bad, struct sip_addr *ret_a)
{
	struct text value;
	if (!first_value(m, id, &value))
		return SIP_OK;
	if (sip_addr_parse(value, ret_a) < 0)
		return bad;
	return id == SIP_H_ROUTE && (ret_a->star || !ret_a->bracketed) ? bad : SIP_OK;
}

static enum sip_verdict read_cseq(const struct sip_msg *m, struct sip_cseq *ret_c)
{
	struct text value = sip_value(m, SIP_H_CSEQ);
	if (!value.p)
		return SIP_MISSING_HEADER;
	if (sip_cseq_parse(value, ret_c) < 0)
		return SIP_BAD_CSEQ;
	return m->is_request && !text_eq(ret_c->method_name, m->method_name) ? SIP_CSEQ_METHOD : SIP_OK;
}

static enum sip_verdict read_via(const struct sip_msg *m, struct sip_via *ret_v)
{
	struct text value;
	if (!first_value(m, SIP_H_VIA, &value))
		return SIP_MISSING_HEADER;
	return sip_via_parse(value, ret_v) < 0 ? SIP_BAD_VIA : SIP_OK;
}

static enum sip_verdict read_small(const struct sip_msg *m, struct sip_basics *b)
{
	struct text value = sip_value(m, SIP_H_MAX_FORWARDS);
	uint32_t n;
	b->call_id = sip_value(m, SIP_H_CALL_ID);
	if (!b->call_id.p)
		return SIP_MISSING_HEADER;
	if (sip_call_id_check(b->call_id) < 0)
		return SIP_BAD_CALL_ID;
	b->max_forwards = -1;
	if (!value.p)
		return SIP_OK;
	if (sip_number_parse(value, 255, &n) < 0)
		return SIP_BAD_MAX_FORWARDS;
	b->max_forwards = (int)n;
	return SIP_OK;
}

static enum sip_verdict read_uri(const struct sip_msg *m, struct sip_uri *ret_u)
{
	if (!m->is_request) {
		*ret_u = (struct sip_uri){ 0 };
		return SIP_OK;
	}
	if (sip_uri_parse(m->uri, ret_u) < 0)
		return SIP_BAD_URI;
	if (ret_u->scheme == SIP_SCHEME_OTHER)
		return SIP_URI_SCHEME;
	return ret_u->headers.p ? SIP_BAD_URI : SIP_OK; /* RFC 3261 19.1.1: not allowed there */
}

enum sip_verdict sip_basics_read(const struct sip_msg *m, struct sip_basics *b)
{
	enum sip_verdict v;
	b->route.raw = b->contact.raw = (struct text){ 0 };
	if ((v = read_via(m, &b->via)) != SIP_OK ||
	    (v = read_address(m, SIP_H_FROM, SIP_BAD_FROM, &b->from)) != SIP_OK ||
	    (v = read_address(m, SIP_H_TO, SIP_BAD_TO, &b->to)) != SIP_OK ||
	    (v = read_small(m, b)) != SIP_OK || (v = read_cseq(m, &b->cseq)) != SIP_OK ||
	    (v = read_uri(m, &b->uri)) != SIP_OK)
		return v;
	v = read_first(m, SIP_H_ROUTE, SIP_BAD_ROUTE, &b->route);
	return v != SIP_OK ? v : read_first(m, SIP_H_CONTACT, SIP_BAD_CONTACT, &b->contact);
}
