/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sofia-sip, for tests/bench/sip_parse.c: msg_make() parses the message and each of its headers, URIs included, into
 * structures of a memory home, which msg_destroy() frees.
 */
#include <string.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_parser.h>
#include <sofia-sip/msg.h>
#include "tests/bench/sip_parse.h"

static bool setup(void)
{
	return true;
}

static size_t length(const char *s)
{
	return s ? strlen(s) : 0;
}

static bool parse(const char *p, size_t n, struct sip_facts *f)
{
	msg_t *msg = msg_make(sip_default_mclass(), 0, p, (ssize_t)n);
	const sip_t *s = msg ? sip_object(msg) : NULL;
	bool good = s && !s->sip_error && s->sip_request && s->sip_via && s->sip_from &&
		    s->sip_to && s->sip_call_id && s->sip_cseq;
	if (good)
		*f = (struct sip_facts){
			.via_host = length(s->sip_via->v_host),
			.via_branch = length(s->sip_via->v_branch),
			.route_host = s->sip_route ? length(s->sip_route->r_url->url_host) : 0,
			.from_host = length(s->sip_from->a_url->url_host),
			.from_tag = length(s->sip_from->a_tag),
			.to_host = length(s->sip_to->a_url->url_host),
			.to_user = length(s->sip_to->a_url->url_user),
			.call_id = length(s->sip_call_id->i_id),
			.contact_user = s->sip_contact ? length(s->sip_contact->m_url->url_user) : 0,
			.uri_user = length(s->sip_request->rq_url->url_user),
			.method = length(s->sip_request->rq_method_name),
			.body = s->sip_payload ? s->sip_payload->pl_len : 0,
			.cseq = s->sip_cseq->cs_seq,
			.max_forwards = s->sip_max_forwards ? (unsigned)s->sip_max_forwards->mf_count : 0,
		};
	msg_destroy(msg);
	return good;
}

const struct sip_parser parser_sofia = { "sofia-sip", setup, parse };
