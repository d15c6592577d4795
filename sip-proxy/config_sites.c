/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The UC servers of sip.lan.servers as schema rows, and what must hold between their keys: names that are unique, a way
 * to know each of them, a way to reach those that need not log on.
 *
 * The row of the list itself is in config.c; what the values do is in mesh.h.
 */
#include <string.h>
#include "sip-proxy/config.h"
#include "sip-proxy/uri.h"

/* clang-format off */
static const struct cfg_row server_rows[] = {
	{ .name = "user", .type = &cfg_string, CFG_AT(struct sip_server_section, user), .flags = CFG_REQUIRED | CFG_RELOAD, .min = 1, .max = 127,
	  .help = "Name by which the server logs on: the user part of To in its REGISTER. Each name once." },
	{ .name = "password", .type = &cfg_string, CFG_AT(struct sip_server_section, password), .flags = CFG_RELOAD | CFG_SECRET, .min = 1, .max = 255,
	  .help = "Its password. Without one it must come from one of its addresses, or over mutual TLS with its certificate_name." },
	{ .name = "addresses", .type = &cfg_prefix, CFG_AT(struct sip_server_section, addresses), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "From where it may log on. Empty: from everywhere in the LAN." },
	{ .name = "certificate_name", .type = &cfg_string, CFG_AT(struct sip_server_section, certificate_name), .flags = CFG_RELOAD, .min = 1, .max = 253,
	  .help = "Name in its certificate, by which it is known over an mtls listener of sip.lan." },
	{ .name = "contact", .type = &cfg_string, CFG_AT(struct sip_server_section, contact), .flags = CFG_RELOAD, .min = 1, .max = 500,
	  .help = "For a server that cannot log on: where it is reached, as sip:10.0.0.6:5060;transport=tcp. It is there from the start; its "
		  "addresses, or the one in this URI, say what comes from it." },
	{ .name = "users", .type = &cfg_string, CFG_AT(struct sip_server_section, users), .flags = CFG_LIST | CFG_RELOAD, .min = 1, .max = 127,
	  .help = "Users who live there, as far as it is known beforehand: alice, 2*, 100-199, *. Where several servers have a user, their "
		  "weights decide. Others are found by asking." },
	{ .name = "group", .type = &cfg_string, CFG_AT(struct sip_server_section, group), .flags = CFG_RELOAD, .min = 1, .max = 127,
	  .help = "Servers of one group serve the same users: a user found at one is everybody's, spread by weight." },
	{ .name = "weight", .type = &cfg_u64, CFG_AT(struct sip_server_section, weight), .flags = CFG_RELOAD, .max = 1000, .def = "100",
	  .help = "Its share of the users that several servers serve. 0: only when the others cannot be reached." },
};
/* clang-format on */
const struct cfg_schema sip_server_schema = { .name = "sip.lan.servers",
					      .rows = server_rows,
					      .n_rows = ARRAY_LEN(server_rows),
					      .size = sizeof(struct sip_server_section) };

/* Only what comes in by the LAN's side can be a server's. */
static bool has_interface(const struct sip_config *s, enum sip_proto proto)
{
	const struct cfg_endpoint *lan = s->lan.listen.items;
	bool mutual;

	for (size_t i = 0; i < s->lan.listen.n; i++)
		if (sip_listen_proto_of(lan[i].proto, &mutual) == proto)
			return true;
	return false;
}

static bool has_mtls(const struct sip_config *s)
{
	const struct cfg_endpoint *lan = s->lan.listen.items;

	for (size_t i = 0; i < s->lan.listen.n; i++)
		if (lan[i].proto == SIP_LISTEN_MTLS)
			return true;
	return false;
}

static void check_contact(struct cfg *c, const struct sip_config *s, size_t i, const char *contact)
{
	struct sip_uri u;
	enum sip_proto proto = SIP_UDP;

	if (sip_uri_parse(text_of(contact), &u) < 0 ||
	    (u.scheme != SIP_SCHEME_SIP && u.scheme != SIP_SCHEME_SIPS) || u.headers.p)
		cfg_add_error(c, cfg_path_item("sip.lan.servers", i, "contact").s,
			      "must be a SIP URI, as sip:10.0.0.6:5060;transport=tcp, not '%s'",
			      contact);
	else if (u.transport.p && sip_proto_parse(u.transport, &proto) < 0)
		cfg_add_error(c, cfg_path_item("sip.lan.servers", i, "contact").s,
			      "transport must be udp, tcp or tls, not '%.*s'", TEXT_FMT(u.transport));
	else if (s->lan.listen.n && !has_interface(s, u.scheme == SIP_SCHEME_SIPS ? SIP_TLS : proto))
		cfg_add_warning(c, cfg_path_item("sip.lan.servers", i, "contact").s,
				"sip.lan.listen has no %s interface: requests go there, but what comes from there is not taken as this server's",
				sip_proto_rows[u.scheme == SIP_SCHEME_SIPS ? SIP_TLS : proto].name);
}

static void check_proof(struct cfg *c, const struct sip_config *s,
			const struct sip_server_section *v, size_t i)
{
	if (v->certificate_name && !has_mtls(s))
		cfg_add_error(c, cfg_path_item("sip.lan.servers", i, "certificate_name").s,
			      "certificates are seen on an mtls listener only: add one to sip.lan.listen");
	if (v->password || v->addresses.n || v->certificate_name || v->contact)
		return;
	cfg_add_error(c, cfg_path_item("sip.lan.servers", i, "password").s,
		      "%s could be anybody: give it a password, its addresses, or over mutual TLS its certificate_name",
		      v->user);
}

static void check_names(struct cfg *c, const struct sip_config *s,
			const struct sip_server_section *v, size_t i)
{
	const struct sip_user_section *u = s->users.items;

	for (size_t k = 0; k < i; k++)
		if (v[k].user && strcmp(v[k].user, v[i].user) == 0)
			cfg_add_error(c, cfg_path_item("sip.lan.servers", i, "user").s,
				      "there are two servers %s", v[i].user);
	for (size_t k = 0; k < s->users.n; k++)
		if (u[k].name && strcmp(u[k].name, v[i].user) == 0)
			cfg_add_error(c, cfg_path_item("sip.lan.servers", i, "user").s,
				      "%s is one of sip.users, too: they could not be told apart",
				      v[i].user);
	if (strpbrk(v[i].user, "@:;<>\" \t"))
		cfg_add_error(c, cfg_path_item("sip.lan.servers", i, "user").s,
			      "must be the user part of a SIP address, without '@', blanks and quotes");
}

static void check_turn(struct cfg *c, const struct sip_config *s)
{
	char *const *uri = s->turn.uris.items;

	if (s->turn.secret && !s->turn.uris.n)
		cfg_add_error(c, "sip.turn.uris",
			      "say where stile-turn is: uris: [\"turn:turn.example.org:3478\"]");
	if (s->turn.uris.n && !s->turn.secret)
		cfg_add_error(c, "sip.turn.secret",
			      "without the secret of one of turn.secrets nothing can be minted");
	for (size_t i = 0; i < s->turn.uris.n; i++) {
		struct text t = text_of(uri[i]);
		bool scheme = text_starts(t, TEXT("turn:")) || text_starts(t, TEXT("turns:"));
		if (!scheme || strpbrk(uri[i], " \t\",<>"))
			cfg_add_error(c, cfg_path_item("sip.turn.uris", i, "").s,
				      "must be as turn:turn.example.org:3478?transport=udp or turns:turn.example.org, not '%s'",
				      uri[i]);
	}
	for (const char *p = s->turn.header; p && *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
		      (*p >= '0' && *p <= '9') || *p == '-')) {
			cfg_add_error(c, "sip.turn.header",
				      "must be a header's name of letters, digits and '-', not '%s'",
				      s->turn.header);
			break;
		}
}

void sip_config_check_sites(struct cfg *c, const struct sip_config *s)
{
	const struct sip_server_section *v = s->lan.servers.items;

	check_turn(c, s);
	if (s->lan.servers.n > SIP_SERVERS_MAX)
		cfg_add_error(c, "sip.lan.servers", "at most %d servers", SIP_SERVERS_MAX);
	if (s->lan.servers.n && !s->lan.listen.n)
		cfg_add_error(c, "sip.lan.servers",
			      "there is no interface for them: set sip.lan.listen");
	if (s->lan.servers.n && !s->domains.n)
		cfg_add_error(c, "sip.lan.servers", "their users need a domain: set sip.domains");
	for (size_t i = 0; i < s->lan.servers.n; i++) {
		if (!v[i].user)
			continue;
		check_names(c, s, v, i);
		check_proof(c, s, &v[i], i);
		if (v[i].contact)
			check_contact(c, s, i, v[i].contact);
	}
}
