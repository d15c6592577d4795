/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold between several keys of the `sip` section: run by the service before it starts, by a reload, and by
 * `stile check`. Every fault is added with its place and a sentence that says what to write. A value that its own
 * row refused is empty here and has its error already, so empty ones are passed over.
 */
#include <stdio.h>
#include <string.h>
#include "common/cert.h"
#include "common/server_name.h"
#include "common/tls.h"
#include "sip-proxy/config.h"

/* ---- names ---- */

static void check_domains(struct cfg *c, const struct sip_config *s)
{
	char *const *d = s->domains.items;

	for (size_t i = 0; i < s->domains.n; i++) {
		sip_check_domain(c, cfg_path_item("sip.domains", i, "").s, d[i]);
		for (size_t k = 0; k < i; k++)
			if (text_ieq(text_of(d[i]), text_of(d[k])))
				cfg_add_error(c, cfg_path_item("sip.domains", i, "").s,
					      "the domain %s stands here twice", d[i]);
	}
}

static void check_users(struct cfg *c, const struct sip_config *s)
{
	const struct sip_user_section *u = s->users.items;

	if (s->users.n && !s->domains.n)
		cfg_add_error(c, "sip.users", "users need a domain to be at home in: set sip.domains");
	for (size_t i = 0; i < s->users.n; i++) {
		if (!u[i].name)
			continue;
		if (u[i].domain && !sip_config_has_domain(s, u[i].domain))
			cfg_add_error(c, cfg_path_item("sip.users", i, "domain").s,
				      "%s is not one of sip.domains", u[i].domain);
		for (size_t k = 0; k < i; k++)
			if (u[k].name && strcmp(u[i].name, u[k].name) == 0 &&
			    text_ieq(text_of(u[i].domain ? u[i].domain : ""),
				     text_of(u[k].domain ? u[k].domain : "")))
				cfg_add_error(c, cfg_path_item("sip.users", i, "name").s,
					      "there are two users %s", u[i].name);
	}
}

/* ---- listeners ---- */

struct place {
	struct cfg_path key;
	const struct cfg_endpoint *at;
};

static bool over_udp(const struct cfg_endpoint *e)
{
	return e->proto == SIP_LISTEN_UDP;
}

static void check_place(struct cfg *c, const struct place *p, size_t n, size_t i)
{
	char at[ADDR_STRLEN];

	if (addr_family(&p[i].at->at) == AF_UNSPEC)
		return;
	for (size_t k = 0; k < i; k++)
		if (over_udp(p[k].at) == over_udp(p[i].at) && addr_equal(&p[k].at->at, &p[i].at->at))
			cfg_add_error(c, p[i].key.s,
				      "%s has a listener already (%s): each address and port can have one over UDP and one over TCP",
				      addr_print(&p[i].at->at, at), p[k].key.s);
	(void)n;
}

static void check_certificate(struct cfg *c, const char *key, const char *certificate,
			      const char *key_file, const char *ca)
{
	struct tls_cert_info info;
	struct tls_ctx *ctx = NULL;
	char err[TLS_ERRLEN];
	int r;

	if (!certificate || !key_file) {
		cfg_add_error(c, key,
			      "TLS needs a certificate and its key: set sip.certificate and sip.key");
		return;
	}
	r = tls_ctx_new(&(struct tls_options){ .cert_file = certificate, .key_file = key_file },
			err, &ctx);
	if (r < 0)
		cfg_add_error(c, key, "%s", err);
	else if (*err)
		cfg_add_warning(c, key, "%s", err);
	if (r == 0 && tls_cert_info(ctx, &info) == 0) {
		cert_warn_end(&info, time(NULL), err);
		if (*err)
			cfg_add_warning(c, key, "the certificate \"%s\": %s", certificate, err);
	}
	tls_ctx_unref(ctx);
	ctx = NULL;
	if (ca && tls_ctx_new(&(struct tls_options){ .client = true, .ca_file = ca, .verify_peer = true },
			      err, &ctx) < 0)
		cfg_add_error(c, key, "%s", err);
	tls_ctx_unref(ctx);
}

static void check_crl(struct cfg *c, const char *file)
{
	struct tls_ctx *ctx = NULL;
	char err[TLS_ERRLEN];

	if (tls_ctx_new(&(struct tls_options){ .client = true, .crl_file = file, .verify_peer = true }, err, &ctx) < 0)
		cfg_add_error(c, "sip.crl", "%s", err);
	else if (*err)
		cfg_add_warning(c, "sip.crl", "%s", err);
	tls_ctx_unref(ctx);
}

static void check_lan(struct cfg *c, const char *key, const struct cfg_endpoint *e)
{
	if (addr_classify(&e->at) == ADDR_GLOBAL)
		cfg_add_warning(
			c, key,
			"this is a public address, and everybody who reaches it is trusted; let a firewall see to it");
}

static bool is_auto_port(const char *name)
{
	uint64_t port;

	return strncmp(name, "auto:", 5) == 0 && text_u64(text_of(name + 5), &port) == 0 &&
	       port > 0 && port <= UINT16_MAX;
}

static void check_advertised(struct cfg *c, const char *key, const char *name)
{
	struct text rest = text_of(name), host;
	enum sip_host_kind kind;
	uint16_t port;

	if (name && (strcmp(name, "auto") == 0 || is_auto_port(name)))
		return;
	if (name && (sip_hostport_parse(&rest, &host, &kind, &port) < 0 || rest.n))
		cfg_add_error(c, key,
			      "must be a host or host:port, as sip.example.org or 192.0.2.10:5061, or auto or auto:PORT, not '%s'",
			      name);
}

void sip_check_interface(struct cfg *c, const char *path, const struct sip_interface_section *f)
{
	check_advertised(c, cfg_path_under(path, "advertise").s, f->advertise);
	if (addr_family(&f->listen.at) != AF_UNSPEC && sip_listen_is_secure(&f->listen) && f->active &&
	    f->certificate && f->key)
		check_certificate(c, cfg_path_under(path, "certificate").s, f->certificate, f->key,
				  f->ca);
}

static void check_auto(struct cfg *c, const struct sip_root *root)
{
	const struct sip_interface_section *f = root->sip.interfaces.items;

	for (size_t i = 0; i < root->sip.interfaces.n; i++)
		if (f[i].advertise && strncmp(f[i].advertise, "auto", 4) == 0 && !root->stun_servers.n)
			cfg_add_error(c, cfg_path_item("sip.interfaces", i, "advertise").s,
				      "auto asks STUN servers outside: name them in stun_servers");
}

static void check_listeners(struct cfg *c, const struct sip_config *s)
{
	size_t n = 0, most = s->listen.n + s->interfaces.n + s->lan.listen.n + s->federation.listen.n;
	struct place *p = calloc(most + 1, sizeof(*p));
	const struct cfg_endpoint *l = s->listen.items, *lan = s->lan.listen.items,
				  *fed = s->federation.listen.items;
	const struct sip_interface_section *f = s->interfaces.items;
	const struct sip_federation_section *fs = &s->federation;
	bool any_secure = false;

	for (size_t i = 0; p && i < s->listen.n; i++)
		p[n++] = (struct place){ cfg_path_item("sip.listen", i, ""), &l[i] };
	for (size_t i = 0; p && i < s->interfaces.n; i++)
		p[n++] = (struct place){ cfg_path_item("sip.interfaces", i, "listen"), &f[i].listen };
	for (size_t i = 0; p && i < s->lan.listen.n; i++)
		p[n++] = (struct place){ cfg_path_item("sip.lan.listen", i, ""), &lan[i] };
	for (size_t i = 0; p && i < fs->listen.n; i++)
		p[n++] = (struct place){ cfg_path_item("sip.federation.listen", i, ""), &fed[i] };
	for (size_t i = 0; i < n; i++)
		check_place(c, p, n, i);
	for (size_t i = 0; i < s->listen.n; i++)
		any_secure |= sip_listen_is_secure(&l[i]);
	for (size_t i = 0; i < s->lan.listen.n; i++) {
		any_secure |= sip_listen_is_secure(&lan[i]);
		check_lan(c, cfg_path_item("sip.lan.listen", i, "").s, &lan[i]);
	}
	for (size_t i = 0; i < s->interfaces.n; i++)
		check_advertised(c, cfg_path_item("sip.interfaces", i, "advertise").s, f[i].advertise);
	for (size_t i = 0; i < s->interfaces.n; i++)
		if (sip_listen_is_secure(&f[i].listen) && f[i].active)
			check_certificate(c, cfg_path_item("sip.interfaces", i, "certificate").s,
					  f[i].certificate ? f[i].certificate : s->certificate,
					  f[i].key ? f[i].key : s->key, f[i].ca ? f[i].ca : s->ca);
	if (fs->mode != SIP_FEDERATION_OFF && fs->listen.n)
		check_certificate(c, "sip.federation.certificate",
				  fs->certificate ? fs->certificate : s->certificate,
				  fs->key ? fs->key : s->key, fs->ca ? fs->ca : s->ca);
	if (any_secure || s->certificate)
		check_certificate(c, "sip.certificate", s->certificate, s->key, s->ca);
	if (!n)
		cfg_add_error(c, "sip.listen",
			      "there is no listener; write for instance: listen: [\"udp:0.0.0.0:5060\", \"tcp:0.0.0.0:5060\"]");
	free(p);
}

/* ---- routes ---- */

/* Does it serve this transport, from this address (unset: any)? */
static bool serves(const struct cfg_endpoint *e, enum sip_proto proto, const struct addr *from)
{
	bool mutual;

	if (sip_listen_proto_of(e->proto, &mutual) != proto)
		return false;
	return addr_family(from) == AF_UNSPEC || addr_equal_ip(&e->at, from) ||
	       (addr_family(&e->at) == addr_family(from) && addr_classify(&e->at) == ADDR_UNSPECIFIED);
}

static bool has_listener(const struct sip_config *s, unsigned transport, const struct addr *from)
{
	const struct cfg_endpoint *l = s->listen.items, *lan = s->lan.listen.items,
				  *fed = s->federation.listen.items;
	const struct sip_interface_section *f = s->interfaces.items;
	bool mutual, any = false;
	enum sip_proto proto = sip_listen_proto_of(transport, &mutual);

	for (size_t i = 0; i < s->listen.n; i++)
		any |= serves(&l[i], proto, from);
	for (size_t i = 0; i < s->lan.listen.n; i++)
		any |= serves(&lan[i], proto, from);
	for (size_t i = 0; i < s->interfaces.n; i++)
		any |= f[i].active && serves(&f[i].listen, proto, from);
	for (size_t i = 0; s->federation.mode != SIP_FEDERATION_OFF && i < s->federation.listen.n; i++)
		any |= serves(&fed[i], proto, from);
	return any;
}

static bool leads_to_us(const struct sip_config *s, const struct sip_route_section *r)
{
	const struct cfg_endpoint *l = s->listen.items;
	struct addr to;
	bool m;

	if (addr_parse(text_of(r->host), 0, &to) < 0)
		return sip_config_has_domain(s, r->host) && !r->port;
	addr_set_port(&to,
		      (uint16_t)(r->port ? r->port
					 : sip_proto_rows[sip_listen_proto_of(r->transport, &m)].port));
	for (size_t i = 0; i < s->listen.n; i++)
		if (addr_equal(&l[i].at, &to))
			return true;
	return false;
}

static void check_route(struct cfg *c, const struct sip_config *s,
			const struct sip_route_section *r, size_t i)
{
	sip_check_domain(c, cfg_path_item("sip.routes", i, "domain").s, r->domain);
	if (sip_config_has_domain(s, r->domain))
		cfg_add_error(c, cfg_path_item("sip.routes", i, "domain").s,
			      "%s is one of sip.domains: its users are here", r->domain);
	if (leads_to_us(s, r))
		cfg_add_error(c, cfg_path_item("sip.routes", i, "host").s,
			      "%s is this proxy itself: the route would lead in circles", r->host);
	if (r->active && !has_listener(s, r->transport, &(struct addr){ 0 }))
		cfg_add_error(c, cfg_path_item("sip.routes", i, "transport").s,
			      "there is no listener for %s to send from: add one to sip.listen",
			      sip_listen_protocols[r->transport]);
	else if (r->active && !has_listener(s, r->transport, &r->bind))
		cfg_add_error(c, cfg_path_item("sip.routes", i, "bind").s, "no listener for %s has this address",
			      sip_listen_protocols[r->transport]);
	if (r->transport == SIP_LISTEN_UDP && r->trusted)
		cfg_add_error(c, cfg_path_item("sip.routes", i, "trusted").s,
			      "the source of a UDP packet can be forged: a trusted route needs mtls, tls or tcp");
	if (r->transport == SIP_LISTEN_MTLS && !s->certificate)
		cfg_add_error(c, cfg_path_item("sip.routes", i, "transport").s,
			      "mtls needs our certificate: set sip.certificate and sip.key");
	if (r->transport == SIP_LISTEN_UDP && r->active)
		cfg_add_warning(
			c, cfg_path_item("sip.routes", i, "transport").s,
			"nothing protects what goes over UDP: prefer tls where the other side has it");
}

static void check_routes(struct cfg *c, const struct sip_config *s)
{
	const struct sip_route_section *r = s->routes.items;

	for (size_t i = 0; i < s->routes.n; i++) {
		if (!r[i].domain || !r[i].host)
			continue;
		check_route(c, s, &r[i], i);
		for (size_t k = 0; k < i; k++)
			if (r[k].domain && text_ieq(text_of(r[k].domain), text_of(r[i].domain)))
				cfg_add_error(c, cfg_path_item("sip.routes", i, "domain").s,
					      "there is another route for %s", r[i].domain);
	}
}

static void check_service_route(struct cfg *c, const char *route)
{
	struct sip_uri u;

	if (route && (sip_uri_parse(text_of(route), &u) < 0 ||
		      (u.scheme != SIP_SCHEME_SIP && u.scheme != SIP_SCHEME_SIPS) || u.user.p ||
		      u.headers.p || !u.lr || strpbrk(route, "<>\"")))
		cfg_add_error(c, "sip.service_route",
			      "must be the SIP URI of a loose router, as sip:proxy.example.org;lr, not '%s'",
			      route);
}

void sip_config_check(struct cfg *c)
{
	const struct sip_config *s = &((const struct sip_root *)cfg_values(c))->sip;

	check_domains(c, s);
	check_users(c, s);
	check_listeners(c, s);
	check_auto(c, cfg_values(c));
	check_routes(c, s);
	check_service_route(c, s->service_route);
	sip_check_federation(c, s);
	sip_config_check_sites(c, s);
	if (s->limits.burst < s->limits.rate)
		cfg_add_error(c, "sip.limits.burst",
			      "must be at least sip.limits.rate, or the rate can never be reached");
	if (s->crl)
		check_crl(c, s->crl);
	if (!s->domains.n && !s->routes.n)
		cfg_add_warning(c, "sip.domains",
				"without a domain and without a route every request is refused");
}
