/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sip.federation as schema rows, and what must hold between its keys, the own certificate and the static routes. What is
 * made of it at run time is in sip-proxy/federation.c.
 * Names and meanings of the keys are promised to administrators, as in sip-proxy/config.c.
 */
#include <stdio.h>
#include <string.h>
#include "common/server_name.h"
#include "common/tls.h"
#include "sip-proxy/config.h"
#include "sip-proxy/identity.h"

#define AT_F(member) CFG_AT(struct sip_federation_section, member)
#define AT_P(member) CFG_AT(struct sip_partner_section, member)

const char *const sip_federation_modes[] = { "off", "listed", "open", NULL };
const char *const sip_between_words[] = { "both", "in", "out", "none", NULL };

/* clang-format off */
static const struct cfg_row partner_rows[] = {
	{ .name = "domain", .type = &cfg_string, AT_P(domain), .flags = CFG_REQUIRED | CFG_RELOAD, .min = 1, .max = 253,
	  .help = "The other domain. Each once." },
	{ .name = "allow", .type = &cfg_bool, AT_P(allow), .flags = CFG_RELOAD, .def = "true",
	  .help = "false: this domain is refused, both ways, also in mode open." },
	{ .name = "rate", .type = &cfg_u64, AT_P(rate), .flags = CFG_RELOAD, .max = 1000000, .def = "0", .unit = "messages/s",
	  .help = "What this partner may send; 0: no limit of its own. Beyond it its requests get 503." },
	{ .name = "presence", .type = &cfg_enum, AT_P(ways[SIP_TRAFFIC_PRESENCE]), .flags = CFG_RELOAD, .choices = sip_between_words, .def = "both",
	  .help = "Who may see whose presence (SUBSCRIBE, PUBLISH, NOTIFY of their own): in: theirs ours; out: ours theirs." },
	{ .name = "messages", .type = &cfg_enum, AT_P(ways[SIP_TRAFFIC_MESSAGES]), .flags = CFG_RELOAD, .choices = sip_between_words, .def = "both",
	  .help = "Who may begin to send instant messages (MESSAGE): in: they to us; out: we to them." },
	{ .name = "calls", .type = &cfg_enum, AT_P(ways[SIP_TRAFFIC_CALLS]), .flags = CFG_RELOAD, .choices = sip_between_words, .def = "both",
	  .help = "Who may call (INVITE, REFER): in: they us; out: we them. Calls that are there go on." },
};
const struct cfg_schema sip_partner_schema = { .name = "sip.federation.partners", .rows = partner_rows, .n_rows = ARRAY_LEN(partner_rows),
	.size = sizeof(struct sip_partner_section) };

static const struct cfg_row federation_rows[] = {
	{ .name = "mode", .type = &cfg_enum, AT_F(mode), .flags = CFG_RELOAD, .choices = sip_federation_modes, .def = "off",
	  .help = "off: no other domain but those of sip.routes. listed: the partners that are allowed by name. open: every domain that "
		  "publishes _sipfederationtls._tcp and proves its name, but for the partners with allow: false." },
	{ .name = "listen", .type = &cfg_endpoint, AT_F(listen), .flags = CFG_LIST | CFG_BARE | CFG_RELOAD, .choices = sip_listen_protocols,
	  .help = "Where partners connect to, as mtls:0.0.0.0:5061: one more interface, beside those of sip.listen. Only in use with a mode "
		  "other than off." },
	{ .name = "certificate", .type = &cfg_path, AT_F(certificate), .flags = CFG_RELOAD,
	  .help = "PEM file with the certificate for it, followed by its chain. Must name each of sip.domains. Default: sip.certificate." },
	{ .name = "key", .type = &cfg_path, AT_F(key), .flags = CFG_RELOAD, .help = "PEM file with its key. Default: sip.key." },
	{ .name = "ca", .type = &cfg_path, AT_F(ca), .flags = CFG_RELOAD,
	  .help = "PEM file with the CAs that partners' certificates must come from. Default: sip.ca." },
	{ .name = "advertise", .type = &cfg_string, AT_F(advertise), .flags = CFG_RELOAD, .min = 1, .max = 260,
	  .help = "Host, or host:port, by which partners reach it: in Via and Record-Route. They hold the certificate against it in the "
		  "later requests of a call, so it should be a name of the certificate. Default: the address." },
	{ .name = "sips_srv", .type = &cfg_bool, AT_F(sips_srv), .flags = CFG_RELOAD, .def = "false",
	  .help = "A domain without _sipfederationtls._tcp is looked for under _sips._tcp." },
	{ .name = "rate", .type = &cfg_u64, AT_F(rate), .flags = CFG_RELOAD, .max = 1000000, .def = "20", .unit = "messages/s",
	  .help = "What each partner may send that is allowed by mode open and not by name; 0: no limit." },
	{ .name = "addresses", .type = &cfg_prefix, AT_F(addresses), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Where partners may be besides public addresses. A partner's SRV record that leads elsewhere, into our own network say, is "
		  "not followed." },
	{ .name = "partners", .sub = &sip_partner_schema, AT_F(partners), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "What is known of other domains: allowed or not, how much, what. More can be added while the service runs: "
		  "stile sip federation allow." },
};
const struct cfg_schema sip_federation_schema = { .name = "sip.federation", .rows = federation_rows, .n_rows = ARRAY_LEN(federation_rows),
	.size = sizeof(struct sip_federation_section) };
/* clang-format on */

/* ---- checks ---- */

void sip_check_domain(struct cfg *c, const char *key, const char *name)
{
	struct addr a;
	const char *why = server_name_fault(text_of(name));

	if (addr_parse(text_of(name), 0, &a) == 0)
		cfg_add_error(c, key,
			      "'%s' is an address; a domain is a name, as in alice@example.org", name);
	else if (why || strchr(name, '*'))
		cfg_add_error(c, key, "'%s' is no domain: it %s", name, why ? why : "has a wildcard");
}

bool sip_config_has_domain(const struct sip_config *s, const char *name)
{
	char *const *d = s->domains.items;

	for (size_t i = 0; i < s->domains.n; i++)
		if (text_ieq(text_of(d[i]), text_of(name)))
			return true;
	return false;
}

static void check_partners(struct cfg *c, const struct sip_config *s)
{
	const struct sip_partner_section *p = s->federation.partners.items;
	const struct sip_route_section *r = s->routes.items;
	const char *list = "sip.federation.partners";

	for (size_t i = 0; i < s->federation.partners.n; i++) {
		struct cfg_path key = cfg_path_item(list, i, "domain");

		if (!p[i].domain)
			continue;
		sip_check_domain(c, key.s, p[i].domain);
		if (sip_config_has_domain(s, p[i].domain))
			cfg_add_error(c, key.s, "%s is one of sip.domains: its users are here",
				      p[i].domain);
		for (size_t k = 0; k < i; k++)
			if (p[k].domain && text_ieq(text_of(p[k].domain), text_of(p[i].domain)))
				cfg_add_error(c, key.s, "there is another partner %s", p[i].domain);
		for (size_t k = 0; k < s->routes.n; k++)
			if (r[k].domain && r[k].active && p[i].allow &&
			    text_ieq(text_of(r[k].domain), text_of(p[i].domain)))
				cfg_add_warning(c, key.s,
						"the static route for %s goes before federation",
						p[i].domain);
	}
}

/* What partners will look for in the certificate that we show (RFC 5922 7.2). */
static void check_own_names(struct cfg *c, const struct sip_config *s)
{
	const struct sip_federation_section *f = &s->federation;
	const char *file = f->certificate ? f->certificate : s->certificate;
	struct sip_identity *id = file ? sip_identity_of_file(file) : NULL;
	char *const *d = s->domains.items;

	for (size_t i = 0; id && i < s->domains.n; i++)
		if (!sip_identity_covers(id, text_of(d[i])))
			cfg_add_warning(
				c, f->certificate ? "sip.federation.certificate" : "sip.certificate",
				"the certificate does not name %s: partners will refuse what its users send (RFC 5922)",
				d[i]);
	free(id);
}

static bool has_mutual(const struct sip_config *s)
{
	const struct cfg_endpoint *l = s->listen.items;
	const struct sip_interface_section *f = s->interfaces.items;
	bool any = s->federation.listen.n > 0;

	for (size_t i = 0; i < s->listen.n; i++)
		any |= l[i].proto == SIP_LISTEN_MTLS;
	for (size_t i = 0; i < s->interfaces.n; i++)
		any |= f[i].active && f[i].listen.proto == SIP_LISTEN_MTLS;
	return any;
}

void sip_check_federation(struct cfg *c, const struct sip_config *s)
{
	const struct cfg_endpoint *l = s->federation.listen.items;

	for (size_t i = 0; i < s->federation.listen.n; i++)
		if (l[i].proto != SIP_LISTEN_MTLS)
			cfg_add_error(c, cfg_path_item("sip.federation.listen", i, "").s,
				      "partners must prove their names: write mtls:ADDRESS:PORT");
	check_partners(c, s);
	if (s->federation.mode == SIP_FEDERATION_OFF)
		return;
	if (!s->domains.n)
		cfg_add_error(c, "sip.federation.mode",
			      "federation is between domains: set sip.domains");
	if (!has_mutual(s))
		cfg_add_error(c, "sip.federation.mode",
			      "partners have nowhere to connect to: set sip.federation.listen, as mtls:0.0.0.0:5061");
	check_own_names(c, s);
}
