/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libosip2, for tests/bench/sip_parse.c: osip_message_parse() parses the message with the headers it knows, into
 * structures from the heap; Max-Forwards is one of those that it keeps as text.
 */
#include <stdlib.h>
#include <string.h>
#include <osipparser2/osip_parser.h>
#include "tests/bench/sip_parse.h"

static bool setup(void)
{
	return parser_init() == 0;
}

static size_t length(const char *s)
{
	return s ? strlen(s) : 0;
}

static bool read_facts(osip_message_t *m, struct sip_facts *f)
{
	osip_via_t *via = NULL;
	osip_route_t *route = NULL;
	osip_contact_t *contact = NULL;
	osip_header_t *hops = NULL;
	osip_generic_param_t *branch = NULL, *tag = NULL;
	osip_body_t *body = NULL;
	if (osip_message_get_via(m, 0, &via) < 0 || !m->from || !m->from->url || !m->to || !m->to->url ||
	    !m->call_id || !m->cseq)
		return false;
	osip_message_get_route(m, 0, &route);
	osip_message_get_contact(m, 0, &contact);
	osip_message_get_max_forwards(m, 0, &hops);
	osip_message_get_body(m, 0, &body);
	osip_via_param_get_byname(via, "branch", &branch);
	osip_from_get_tag(m->from, &tag);
	*f = (struct sip_facts){
		.via_host = length(via->host),
		.via_branch = branch ? length(branch->gvalue) : 0,
		.route_host = route && route->url ? length(route->url->host) : 0,
		.from_host = length(m->from->url->host),
		.from_tag = tag ? length(tag->gvalue) : 0,
		.to_host = length(m->to->url->host),
		.to_user = length(m->to->url->username),
		.call_id = length(m->call_id->number) +
			   (m->call_id->host ? 1 + length(m->call_id->host) : 0),
		.contact_user = contact && contact->url ? length(contact->url->username) : 0,
		.uri_user = m->req_uri ? length(m->req_uri->username) : 0,
		.method = length(m->sip_method),
		.body = body ? body->length : 0,
		.cseq = (unsigned)atoi(m->cseq->number),
		.max_forwards = hops && hops->hvalue ? (unsigned)atoi(hops->hvalue) : 0,
	};
	return true;
}

static bool parse(const char *p, size_t n, struct sip_facts *f)
{
	osip_message_t *m = NULL;
	if (osip_message_init(&m) != 0)
		return false;
	bool good = osip_message_parse(m, p, n) == 0 && read_facts(m, f);
	osip_message_free(m);
	return good;
}

const struct sip_parser parser_osip = { "libosip2", setup, parse };
