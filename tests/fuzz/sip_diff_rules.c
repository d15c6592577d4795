/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The differences that sip_diff.c accepts, each with its reason; docs/fuzzing.md has the same list in words. A rule is as
 * narrow as it can be: it asks for what in the message makes that parser read it another way.
 */
#include <string.h>
#include "sip-proxy/headers.h"
#include "tests/fuzz/sip_diff.h"

enum { SOFIA = 1 << DIFF_SOFIA, OSIP = 1 << DIFF_OSIP, RE = 1 << DIFF_RE };
#define BIT(fact) (1u << DIFF_##fact)
static const unsigned hosts = BIT(ROUTE_HOST) | BIT(FROM_HOST) | BIT(TO_HOST);
static const unsigned users = BIT(TO_USER) | BIT(CONTACT_USER) | BIT(URI_USER);

struct difference {
	const struct sip_msg *m;
	struct sip_basics b;
	enum diff_what what;
	size_t ours, theirs;
	struct sip_uri uri; /* in which the fact stands; scheme_name empty: in none */
};
struct rule {
	const char *name;
	unsigned peers, facts;
	bool (*holds)(const struct difference *d);
};

static bool find_uri(struct difference *d)
{
	struct text t = { 0 };
	switch (d->what) {
	case DIFF_ROUTE_HOST: t = d->b.route.raw.p ? d->b.route.uri : t; break;
	case DIFF_FROM_HOST: t = d->b.from.uri; break;
	case DIFF_TO_HOST:
	case DIFF_TO_USER: t = d->b.to.uri; break;
	case DIFF_CONTACT_USER: t = d->b.contact.raw.p ? d->b.contact.uri : t; break;
	case DIFF_URI_USER: t = d->m->uri; break;
	default: break;
	}
	return t.p && sip_uri_parse(t, &d->uri) == 0;
}

/* ---- another way to write the same ---- */

static bool brackets(const struct difference *d)
{
	bool v6 = d->what == DIFF_VIA_HOST ? d->b.via.host_kind == SIP_HOST_IPV6
					   : d->uri.host_kind == SIP_HOST_IPV6;
	return v6 && d->theirs == d->ours + 2;
}

static bool sent_by(const struct difference *d)
{
	return d->theirs >= d->ours && d->theirs <= d->b.via.sent_by.n;
}

/* libre knows transports of capital letters only, and takes what follows them for the host. */
static bool odd_transport(const struct difference *d)
{
	struct text t = d->b.via.protocol;
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] < 'A' || t.p[i] > 'Z')
			return true;
	return false;
}

/* libre ends a quoted display name at the first quotation mark, escaped or not. */
static bool quoted_pair(const struct difference *d)
{
	struct text t = d->what == DIFF_CONTACT_USER ? d->b.contact.display
			: d->what == DIFF_FROM_HOST || d->what == DIFF_FROM_TAG
				? d->b.from.display
				: d->b.to.display;
	return text_find(t, '\\') >= 0;
}

static bool escapes(const struct difference *d)
{
	return text_find(d->uri.user, '%') >= 0 && d->theirs < d->ours;
}

static bool other_scheme(const struct difference *d)
{
	return d->uri.scheme_name.n > 0 && d->uri.scheme != SIP_SCHEME_SIP && d->uri.scheme != SIP_SCHEME_SIPS;
}

/* ---- less than the whole ---- */

static bool always(const struct difference *d)
{
	(void)d;
	return true;
}

static bool body_untyped(const struct difference *d)
{
	struct text type = sip_value(d->m, SIP_H_CONTENT_TYPE);
	return !sip_has(d->m, SIP_H_CONTENT_LENGTH) || !type.p ||
	       text_ieq((struct text){ type.p, MIN(type.n, 9) }, TEXT("multipart"));
}

static bool ipv6_host(const struct difference *d)
{
	return d->uri.host_kind == SIP_HOST_IPV6;
}

static const struct rule rules[] = {
	{ "IPv6 with its brackets", SOFIA | RE, hosts | BIT(VIA_HOST), brackets },
	{ "sent-by with its port", RE, BIT(VIA_HOST), sent_by },
	{ "a transport that is no word", RE, BIT(VIA_HOST), odd_transport },
	{ "a display name with an escape", RE, BIT(CONTACT_USER) | BIT(FROM_HOST) | BIT(FROM_TAG) | BIT(TO_USER) | BIT(TO_HOST), quoted_pair },
	{ "escapes resolved", SOFIA | OSIP, users, escapes },
	{ "another scheme", SOFIA | OSIP | RE, hosts | users, other_scheme },
	{ "the body is cut by the caller", RE, BIT(BODY), always },
	{ "no body without type and length", OSIP, BIT(BODY), body_untyped },
	{ "IPv6 with IPv4 at its end", RE, hosts, ipv6_host },
};

const char *diff_rule_for(const struct sip_msg *m, enum diff_what w, enum diff_peer peer, size_t ours,
			  size_t theirs)
{
	struct difference d = { .m = m, .what = w, .ours = ours, .theirs = theirs };
	if (sip_basics_read(m, &d.b) != SIP_OK)
		return NULL;
	if (!find_uri(&d))
		d.uri = (struct sip_uri){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if ((rules[i].peers >> peer & 1) && (rules[i].facts >> w & 1) && rules[i].holds(&d))
			return rules[i].name;
	return NULL;
}
