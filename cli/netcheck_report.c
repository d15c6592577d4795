/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile netcheck says: for people a line for each finding with its meaning in plain words, for programs
 * JSON with the same findings. What is not known is null there and "not known" here, with the reason. Nothing is
 * found out or decided here.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "cli/netcheck.h"
#include "common/text.h"

static const char *const family_names[NC_FAMILIES] = { "IPv4", "IPv6" };

/* ---- words ---- */

static const char *type_name(const struct netcheck *nc, enum nc_family_id f)
{
	return nat_type_name(nc_type(nc, f));
}

static const char *type_meaning(const struct netcheck *nc, enum nc_family_id f)
{
	if (!nc_udp_works(nc) && !nc_any_tcp(nc))
		return "no server answered over UDP or TCP: is the network up, and are these the right servers?";
	return nat_type_meaning(nc_type(nc, f));
}

static const char *varies(enum nat_mapping m)
{
	static const char *const words[NAT_MAPPINGS] = {
		[NAT_MAPPING_UNKNOWN] = "not known",
		[NAT_MAPPING_NONE] = "there is no NAT in between",
		[NAT_MAPPING_ENDPOINT] = "the same public port for all destinations",
		[NAT_MAPPING_ADDRESS] = "varies: another public port for each destination address",
		[NAT_MAPPING_ADDRESS_PORT] = "varies: another public port for each destination address and port",
		[NAT_MAPPING_VARIES] = "varies by destination",
	};

	return words[m];
}

static const char *admits(enum nat_filtering f)
{
	static const char *const words[NAT_FILTERINGS] = {
		[NAT_FILTERING_UNKNOWN] = "not known",
		[NAT_FILTERING_ENDPOINT] = "everybody gets in",
		[NAT_FILTERING_ADDRESS] = "only addresses that were sent to get in",
		[NAT_FILTERING_ADDRESS_PORT] = "only addresses and ports that were sent to get in",
	};

	return words[f];
}

static const char *known(enum nat_known k)
{
	return k == NAT_YES ? "yes" : k == NAT_NO ? "no" : "not known";
}

static const char *tcp_words(enum nc_tcp t)
{
	static const char *const words[] = { "-", "open", "refused", "no answer" };

	return words[t];
}

/* ---- for people ---- */

static void line(const char *what, const char *text)
{
	printf("  %-16s ", what);
	print_clean(stdout, text);
	fputc('\n', stdout);
}

static void print_lifetime(const struct nat_result *n)
{
	char text[128];
	struct sb b = sb_init(text, sizeof text);

	if (n->lifetime_max_ms == 0)
		return;
	sb_str(&b, n->lifetime_max_ms == TIMERS_NEVER ? "longer than " : "between ");
	sb_duration(&b, n->lifetime_min_ms);
	if (n->lifetime_max_ms != TIMERS_NEVER) {
		sb_str(&b, " and ");
		sb_duration(&b, n->lifetime_max_ms);
	}
	sb_str(&b, " without traffic");
	line("binding lives", text);
}

static void print_public(const struct nat_result *n)
{
	char local[ADDR_STRLEN], mapped[ADDR_STRLEN], text[256];

	if (addr_family(&n->mapped) == AF_UNSPEC)
		return;
	snprintf(text, sizeof text, "%s, seen as %s%s", addr_print(&n->local, local), addr_print(&n->mapped, mapped),
		 n->mapping == NAT_MAPPING_NONE ? "" : n->port_kept == NAT_YES ? " (the port is kept)" : " (another port)");
	line("address", text);
}

static void print_family(const struct netcheck *nc, enum nc_family_id id)
{
	const struct nc_family *f = &nc->family[id];
	const struct nat_result *n = &f->nat;
	char text[512], at[ADDR_STRLEN], other[ADDR_STRLEN];

	printf("%s\n", family_names[id]);
	if (!f->routed) {
		line("UDP", "no way to any of the servers from this machine");
		return;
	}
	line("UDP", n->answered ? "works" : "no server answered");
	print_public(n);
	snprintf(text, sizeof text, "%s: %s", type_name(nc, id), type_meaning(nc, id));
	line("NAT type", text);
	line("other sites", nat_type_reaches(nc_type(nc, id)));
	if (!n->answered)
		return;
	line("mapping", varies(n->mapping));
	line("filter", admits(n->filtering));
	if (n->mapping != NAT_MAPPING_NONE)
		line("hairpinning", known(n->hairpin));
	print_lifetime(n);
	snprintf(text, sizeof text, "%s%s%s", addr_print(&n->server, at), addr_family(&n->other) != AF_UNSPEC ? " and " : "",
		 addr_family(&n->other) != AF_UNSPEC ? addr_print(&n->other, other) : "");
	line("asked", text);
	for (unsigned g = 1; g < NAT_GAP_END; g <<= 1)
		if (n->gaps & g)
			line("not known", nat_gap_text(g));
}

static void print_mapper(const char *name, const struct nc_mapper *m, struct sb *b)
{
	sb_fmt(b, "%s%s %s", b->n ? ", " : "", name, m->available ? "yes" : "no");
	if (m->text[0] || m->external[0])
		sb_fmt(b, " (%s%s)", m->text[0] ? m->text : "outside ", m->text[0] ? "" : m->external);
}

static void print_portmap(const struct nc_portmap *pm)
{
	char text[512];
	struct sb b = sb_init(text, sizeof text);

	if (!pm->asked)
		return;
	print_mapper("UPnP", &pm->upnp, &b);
	print_mapper("NAT-PMP", &pm->natpmp, &b);
	print_mapper("PCP", &pm->pcp, &b);
	printf("Router\n");
	line("port mapping", text);
}

static json_t *server_rows(const struct netcheck *nc)
{
	json_t *rows = json_array();

	for (unsigned i = 0; i < nc->n; i++) {
		const struct nc_server *s = &nc->server[i];
		char ms[NC_FAMILIES][32];
		for (unsigned f = 0; f < NC_FAMILIES; f++)
			if (addr_family(&s->at[f]) == AF_UNSPEC)
				snprintf(ms[f], sizeof ms[f], "-");
			else if (s->answered[f])
				snprintf(ms[f], sizeof ms[f], "%.1f ms", s->rtt_ms[f]);
			else
				snprintf(ms[f], sizeof ms[f], "no answer");
		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", s->name, "v4", ms[NC_V4], "v6",
						      ms[NC_V6], "tcp", tcp_words(s->tcp), "tcp443", tcp_words(s->tcp443), "tls443",
						      s->tls443[0] ? s->tls443 : s->tls443_why[0] ? "no" : "-"));
	}
	return rows;
}

void nc_print(const struct netcheck *nc)
{
	static const struct column cols[] = {
		{ "name", "SERVER", COL_TEXT },	    { "v4", "UDP IPv4", COL_TEXT },   { "v6", "UDP IPv6", COL_TEXT },
		{ "tcp", "TCP", COL_TEXT }, { "tcp443", "TCP 443", COL_TEXT }, { "tls443", "TLS 443", COL_TEXT },
	};
	json_t *rows = server_rows(nc);

	for (unsigned f = 0; f < NC_FAMILIES; f++)
		if (f == NC_V4 || nc->family[f].routed)
			print_family(nc, f);
	if (!nc->family[NC_V6].routed)
		printf("IPv6\n  %-16s %s\n", "UDP", "no server with an IPv6 address that this machine has a way to");
	print_portmap(&nc->portmap);
	fputc('\n', stdout);
	print_table(stdout, cols, nc->port443 ? ARRAY_LEN(cols) : 4, rows);
	json_decref(rows);
}

static bool same(const struct nat_result *a, const struct nat_result *b)
{
	return a->type == b->type && a->answered == b->answered && addr_equal_ip(&a->mapped, &b->mapped);
}

void nc_print_line(const struct netcheck *nc, const struct netcheck *before)
{
	char clock[16], ip[ADDR_STRLEN];
	time_t now = time(NULL);
	struct tm tm;

	strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&now, &tm));
	printf("%s", clock);
	for (unsigned f = 0; f < NC_FAMILIES; f++) {
		const struct nat_result *n = &nc->family[f].nat;
		if (!nc->family[f].routed)
			continue;
		printf("  %s %s", family_names[f], type_name(nc, f));
		if (addr_family(&n->mapped) != AF_UNSPEC)
			printf(", %s, %llu ms", addr_print_ip(&n->mapped, ip), (unsigned long long)n->rtt_ms);
		if (!same(n, &before->family[f].nat))
			printf("  (changed, it was %s)", type_name(before, f));
	}
	fputc('\n', stdout);
}

/* ---- for programs ---- */

static json_t *addr_json(const struct addr *a)
{
	char text[ADDR_STRLEN];

	return addr_family(a) == AF_UNSPEC ? json_null() : json_string(addr_print(a, text));
}

static json_t *known_json(enum nat_known k)
{
	return k == NAT_NOT_KNOWN ? json_null() : json_boolean(k == NAT_YES);
}

static json_t *gaps_json(const struct nat_result *n)
{
	json_t *a = json_array();

	for (unsigned g = 1; g < NAT_GAP_END; g <<= 1)
		if (n->gaps & g)
			json_array_append_new(a, json_string(nat_gap_text(g)));
	return a;
}

static void add_lifetime(json_t *j, const struct nat_result *n)
{
	if (n->lifetime_max_ms == 0)
		return;
	json_object_set_new(j, "lifetime_min_ms", json_integer((json_int_t)n->lifetime_min_ms));
	json_object_set_new(j, "lifetime_max_ms", n->lifetime_max_ms == TIMERS_NEVER ? json_null() :
										       json_integer((json_int_t)n->lifetime_max_ms));
}

static json_t *family_json(const struct netcheck *nc, enum nc_family_id id)
{
	const struct nat_result *n = &nc->family[id].nat;
	enum nat_known v = n->mapping == NAT_MAPPING_UNKNOWN ? NAT_NOT_KNOWN :
			   n->mapping == NAT_MAPPING_NONE || n->mapping == NAT_MAPPING_ENDPOINT ? NAT_NO : NAT_YES;
	json_t *j;

	if (!nc->family[id].asked)
		return json_null();
	j = json_pack("{s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "udp", n->answered, "type",
		      type_name(nc, id), "type_key", nat_type_key(nc_type(nc, id)), "meaning", type_meaning(nc, id), "other_sites", nat_type_reaches(nc_type(nc, id)), "mapping",
		      nat_mapping_name(n->mapping), "filtering", nat_filtering_name(n->filtering), "mapping_varies", known_json(v),
		      "hairpinning", known_json(n->hairpin), "port_kept", known_json(n->port_kept), "local", addr_json(&n->local),
		      "public", addr_json(&n->mapped), "server", addr_json(&n->server), "other", addr_json(&n->other), "not_known",
		      gaps_json(n));
	if (j)
		add_lifetime(j, n);
	return j;
}

static json_t *server_json(const struct nc_server *s)
{
	json_t *j = json_pack("{s:s, s:s, s:s, s:s}", "name", s->name, "tcp", tcp_words(s->tcp), "tcp_443", tcp_words(s->tcp443),
			      "tls_443", s->tls443[0] ? s->tls443 : s->tls443_why);

	for (unsigned f = 0; j && f < NC_FAMILIES; f++) {
		const char *key = f == NC_V4 ? "udp_ipv4_ms" : "udp_ipv6_ms";
		json_object_set_new(j, key, s->answered[f] ? json_real(s->rtt_ms[f]) : json_null());
		json_object_set_new(j, f == NC_V4 ? "ipv4" : "ipv6", addr_json(&s->at[f]));
	}
	return j;
}

static json_t *mapper_json(const struct nc_mapper *m)
{
	return json_pack("{s:b, s:s, s:s}", "available", m->available, "external", m->external, "text", m->text);
}

static json_t *portmap_json(const struct nc_portmap *pm)
{
	if (!pm->asked)
		return json_null();
	return json_pack("{s:o, s:o, s:o}", "upnp", mapper_json(&pm->upnp), "nat_pmp", mapper_json(&pm->natpmp), "pcp",
			 mapper_json(&pm->pcp));
}

json_t *nc_json(const struct netcheck *nc)
{
	json_t *servers = json_array();

	for (unsigned i = 0; i < nc->n; i++)
		json_array_append_new(servers, server_json(&nc->server[i]));
	return json_pack("{s:I, s:b, s:o, s:o, s:o, s:o}", "time", (json_int_t)time(NULL), "udp", nc_udp_works(nc), "ipv4",
			 family_json(nc, NC_V4), "ipv6", family_json(nc, NC_V6), "servers", servers, "port_mapping", portmap_json(&nc->portmap));
}
