/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip federation …: with whom this proxy speaks and what was spoken, partners allowed and denied while the service
 * runs, and whether others can find us: the own domain's SRV record against the own certificate.
 * The lists are the running service's; the check needs the configuration and the DNS alone.
 */
#include <stdlib.h>
#include "cli/sip.h"
#include "cli/sip_dns.h"
#include "common/text.h"
#include "sip-proxy/config.h"
#include "sip-proxy/identity.h"

/* ---- what is there ---- */

static const struct column seen_columns[] = {
	{ "domain", "PARTNER", COL_TEXT },    { "in", "IN", COL_TEXT },
	{ "out", "OUT", COL_TEXT },	      { "refused", "REFUSED", COL_COUNT },
	{ "limited", "TOO FAST", COL_COUNT }, { "idle_ms", "QUIET FOR", COL_MS },
	{ "last", "LAST REFUSAL", COL_TEXT },
};
static const struct column partner_columns[] = {
	{ "domain", "DOMAIN", COL_TEXT },     { "allow", "ALLOWED", COL_TEXT },
	{ "rate", "RATE", COL_TEXT },	      { "presence", "PRESENCE", COL_TEXT },
	{ "messages", "MESSAGES", COL_TEXT }, { "calls", "CALLS", COL_TEXT },
	{ "from", "SET IN", COL_TEXT },
};

/* {presence: 1, messages: 2, calls: 0, other: 0} → "1 presence, 2 messages" */
static void in_words(json_t *row, const char *key)
{
	const json_t *counts = json_object_get(row, key);
	static const char *const kinds[] = { "presence", "messages", "calls", "other" };
	char text[160] = "";
	struct sb b = sb_init(text, sizeof text);

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		json_int_t n = json_integer_value(json_object_get(counts, kinds[i]));
		if (n)
			sb_fmt(&b, "%s%lld %s", b.n ? ", " : "", (long long)n, kinds[i]);
	}
	json_object_set_new(row, key, json_string(b.n ? text : "-"));
}

static int run_show(struct cli *cli)
{
	json_t *result = NULL, *seen, *row;
	size_t i;
	int r = sip_call(cli, "sip.federation", json_object(), &result);

	seen = json_object_get(result, "seen");
	if (r == 0 && cli_has(cli, "json")) {
		print_json(result);
	} else if (r == 0) {
		printf("mode %s; a partner that is not listed may send %lld messages/s\n",
		       json_string_value(json_object_get(result, "mode")),
		       (long long)json_integer_value(json_object_get(result, "rate")));
		json_array_foreach(seen, i, row)
		{
			in_words(row, "in");
			in_words(row, "out");
		}
		if (json_array_size(seen))
			print_table(stdout, seen_columns, ARRAY_LEN(seen_columns), seen);
		else
			printf("nothing was spoken with anybody yet\n");
	}
	json_decref(result);
	return r;
}

static int run_list(struct cli *cli)
{
	json_t *result = NULL, *rows, *row;
	size_t i;
	int r = sip_call(cli, "sip.partner.list", json_object(), &result);

	rows = json_object_get(result, "rows");
	json_array_foreach(rows, i, row)
	{
		sip_or_default(row, "allow", "true");
		sip_or_default(row, "rate", "no limit");
		sip_or_default(row, "presence", "both");
		sip_or_default(row, "messages", "both");
		sip_or_default(row, "calls", "both");
	}
	if (r == 0)
		print_list(cli, partner_columns, ARRAY_LEN(partner_columns), rows, "no partner is known by name");
	json_decref(result);
	return r;
}

/* ---- changes ---- */

static int put(struct cli *cli, bool allow, const char *done)
{
	static const char *const texts[] = { "rate", "presence", "messages", "calls" };
	json_t *p = json_pack("{s:s, s:b}", "domain", cli->words[0], "allow", allow);

	for (size_t i = 0; allow && i < ARRAY_LEN(texts); i++)
		if (cli_has(cli, texts[i]))
			json_object_set_new(p, texts[i], json_string(cli_option(cli, texts[i])));
	return cli_do(cli, SIP_PROGRAM, "sip.partner.put",
		      json_pack("{s:o, s:b}", "partner", p, "create", 0), done, cli->words[0]);
}

static int run_allow(struct cli *cli)
{
	return put(cli, true, "%s is a partner");
}

static int run_deny(struct cli *cli)
{
	return put(cli, false, "%s is denied, both ways");
}

static int run_forget(struct cli *cli)
{
	return cli_do(cli, SIP_PROGRAM, "sip.partner.delete",
		      json_pack("{s:s}", "domain", cli->words[0]),
		      "%s is not known by name any more: the mode decides", cli->words[0]);
}

/* A setting in the store, under the file: what stands there is refused with its place. */
static int run_mode(struct cli *cli)
{
	return cli_do(cli, SIP_PROGRAM, "config.set",
		      json_pack("{s:s, s:s}", "path", "sip.federation.mode", "value", cli->words[0]),
		      "the mode of federation is %s", cli->words[0]);
}

/* ---- check ---- */

struct checking {
	struct cli_report report;
	const struct sip_config *c;
	struct sip_dns dns;
	struct sip_identity *id;
	const char *certificate;
	uint16_t port;
};

/* The record that partners would need. */
static void to_publish(const struct checking *k, const char *domain, char *out, size_t n)
{
	snprintf(out, n,
		 "publish in the DNS: _sipfederationtls._tcp.%.200s. 3600 IN SRV 10 0 %u HOST., HOST being the name of this machine's public address",
		 domain, k->port);
}

static void check_addresses(struct checking *k, const struct dns_srv *s)
{
	struct addr v[DNS_ADDRESSES_MAX];
	char line[512] = "";
	size_t n;
	enum dns_status st = sip_dns_addresses(&k->dns, s->target, s->port, v, ARRAY_LEN(v), &n);
	bool inside = sip_dns_print(v, n, line, sizeof line);

	if (st != DNS_OK)
		cli_report(&k->report, false, s->target, "%s: give this name an address in the DNS",
			   dns_status_text(st));
	else
		cli_report(&k->report, !inside, s->target, "%s%s", line,
			   inside ? ": partners outside cannot reach an address that is not public"
				  : "");
}

static void check_record(struct checking *k, const char *domain)
{
	char name[DNS_NAME_MAX * 2], what[DNS_NAME_MAX * 2 + 8], advice[512];
	struct dns_records *r = NULL;
	enum dns_status st;

	snprintf(name, sizeof name, "_sipfederationtls._tcp.%s", domain);
	snprintf(what, sizeof what, "SRV %s", name);
	st = sip_dns_records(&k->dns, DNS_SRV, name, &r);
	to_publish(k, domain, advice, sizeof advice);
	if (st != DNS_OK) {
		cli_report(&k->report, false, what, "%s; %s",
			   st == DNS_NO_NAME || st == DNS_NO_ADDRESS ? "there is no such record"
								     : dns_status_text(st),
			   advice);
		return;
	}
	sip_dns_sort(r->srv, r->n);
	for (size_t i = 0; i < r->n; i++) {
		const struct dns_srv *s = &r->srv[i];
		if (!s->target[0]) {
			cli_report(&k->report, false, what,
				   "it says that there is no federation here; %s", advice);
			continue;
		}
		cli_report(&k->report, s->port == k->port, what, "host %s, port %u%s", s->target,
			   s->port,
			   s->port == k->port
				   ? ""
				   : ": sip.federation.listen has another port, unless a router translates");
		check_addresses(k, s);
	}
	dns_records_unref(r);
}

static void check_name(struct checking *k, const char *domain)
{
	char names[512] = "";
	struct sb b = sb_init(names, sizeof names);

	for (unsigned i = 0; k->id && i < k->id->n; i++)
		sb_fmt(&b, "%s%s", i ? ", " : "", k->id->names[i]);
	if (!k->certificate)
		cli_report(&k->report, false, "certificate",
			   "none is configured: set sip.certificate and sip.key");
	else if (!k->id)
		cli_report(&k->report, false, "certificate", "%s cannot be read", k->certificate);
	else if (!sip_identity_covers(k->id, text_of(domain)))
		cli_report(&k->report, false, "certificate",
			   "%s names %s, but not %s: partners will refuse us. Get one with the subject alternative name DNS:%s, or URI:sip:%s",
			   k->certificate, b.n ? names : "nothing", domain, domain, domain);
	else
		cli_report(&k->report, true, "certificate", "%s names %s", k->certificate, domain);
}

static const struct cfg_endpoint *first_mutual(const struct sip_config *c)
{
	const struct cfg_endpoint *v = c->federation.listen.items, *l = c->listen.items;

	if (c->federation.listen.n)
		return v;
	for (size_t i = 0; i < c->listen.n; i++)
		if (l[i].proto == SIP_LISTEN_MTLS)
			return &l[i];
	return NULL;
}

static void check_all(struct checking *k)
{
	const struct cfg_endpoint *at = first_mutual(k->c);
	char *const *d = k->c->domains.items;
	char text[ADDR_STRLEN];

	k->port = at ? addr_port(&at->at) : 5061;
	cli_report(&k->report, k->c->federation.mode != SIP_FEDERATION_OFF, "mode", "%s%s",
		   sip_federation_modes[k->c->federation.mode],
		   k->c->federation.mode == SIP_FEDERATION_OFF ? ": set sip.federation.mode to listed or open"
							       : "");
	if (at)
		cli_report(&k->report, true, "listener", "mtls:%s", addr_print(&at->at, text));
	else
		cli_report(&k->report, false, "listener",
			   "partners have nowhere to connect to: set sip.federation.listen, as mtls:0.0.0.0:5061");
	if (!k->c->domains.n)
		cli_report(&k->report, false, "domains", "there is none: set sip.domains");
	for (size_t i = 0; i < k->c->domains.n; i++) {
		check_name(k, d[i]);
		check_record(k, d[i]);
	}
}

int sip_load_config(struct cli *cli, struct cfg **ret_c)
{
	int r = cfg_load(cli_config_path(cli), &sip_cfg_root, ret_c);

	if (r == 0 && *ret_c)
		return 0;
	if (*ret_c)
		cfg_print_errors(*ret_c, stderr);
	return cli_fail(cli, "%s cannot be read", cli_config_path(cli));
}

static int run_check(struct cli *cli)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	struct checking k = { 0 };
	int r = sip_load_config(cli, &cfg);

	if (r)
		return r;
	k.c = &((const struct sip_root *)cfg_values(cfg))->sip;
	k.certificate = k.c->federation.certificate ? k.c->federation.certificate : k.c->certificate;
	k.id = k.certificate ? sip_identity_of_file(k.certificate) : NULL;
	r = sip_dns_open(&k.dns);
	if (r < 0) {
		free(k.id);
		return cli_fail(cli, "no resolver: %s", strerror(-r));
	}
	k.report = cli_report_begin(cli);
	check_all(&k);
	cli_report_end(&k.report, true);
	sip_dns_close(&k.dns);
	free(k.id);
	return k.report.bad ? EXIT_FAILED : 0;
}

static const struct option_row allow_options[] = {
	{ "rate", 0, "N", "messages a second that it may send (default: no limit)" },
	{ "presence", 0, "both|in|out|none", "who may see whose presence: in: they ours" },
	{ "messages", 0, "both|in|out|none", "who may send instant messages to whom: in: they to us" },
	{ "calls", 0, "both|in|out|none", "who may call whom: in: they us" },
};

static const struct command rows[] = {
	{ "sip federation", "", "with whom this proxy speaks, and what was spoken", NULL, NULL, 0,
	  0, 0, run_show, WITHOUT_CONFIG },
	{ "sip federation list", "", "partners of the file and of the store, with what is allowed",
	  NULL, NULL, 0, 0, 0, run_list, WITHOUT_CONFIG },
	{ "sip federation allow", "DOMAIN", "allow a domain by name, at once",
	  "The partner is kept in the store of the running service. What is not given stays as it was.\n\n"
	  "  stile sip federation allow partner.example --calls none --rate 50",
	  allow_options, ARRAY_LEN(allow_options), 1, 1, run_allow, WITHOUT_CONFIG },
	{ "sip federation deny", "DOMAIN", "deny a domain, at once, both ways",
	  "Calls that are there go on.", NULL, 0, 1, 1, run_deny, WITHOUT_CONFIG },
	{ "sip federation forget", "DOMAIN", "delete a partner of the store",
	  "The mode decides about the domain then.", NULL, 0, 1, 1, run_forget, WITHOUT_CONFIG },
	{ "sip federation mode", "off|listed|open", "with whom federation is, at once",
	  "Kept in the store (sip.federation.mode), unless the file says it. Calls that are there go on.", NULL, 0, 1, 1,
	  run_mode, WITHOUT_CONFIG },
	{ "sip federation check", "", "can other domains find us, and will they believe us",
	  "Compares the names of our certificate and the SRV record of each of sip.domains with the configuration, and says\n"
	  "what to publish in the DNS or what certificate to get. No service is needed. Exit 1 if something is missing.",
	  NULL, 0, 0, 0, run_check, WITHOUT_SERVICE },
};
const struct command_table sip_federation_commands = { rows, ARRAY_LEN(rows) };
