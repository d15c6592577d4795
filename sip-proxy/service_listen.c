/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the configuration's lists of listeners (sip.listen, sip.interfaces,
 * sip.lan.listen, sip.federation.listen) to what the edge plans with. An interface without a certificate of its
 * own has the section's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "sip-proxy/service.h"

static struct sip_listen_spec spec_of(const struct sip_config *c, const struct cfg_endpoint *e)
{
	struct sip_listen_spec s = {
		.at = e->at, .certificate = c->certificate, .key = c->key, .ca = c->ca, .crl = c->crl
	};

	s.proto = sip_listen_proto_of(e->proto, &s.mutual);
	return s;
}

static size_t collect(const struct sip_service *ss, const struct sip_config *c,
		      const struct sip_interface_section *f, size_t n_f, struct sip_listen_spec *v,
		      char (*names)[SIP_SENT_BY_MAX])
{
	const struct sip_federation_section *fs = &c->federation;
	const struct cfg_endpoint *l = c->listen.items, *lan = c->lan.listen.items,
				  *fed = fs->listen.items;
	size_t n = 0;

	for (size_t i = 0; i < c->listen.n; i++)
		v[n++] = spec_of(c, &l[i]);
	for (size_t i = 0; i < n_f; i++) {
		if (!f[i].active)
			continue;
		v[n] = spec_of(c, &f[i].listen);
		if (f[i].certificate)
			v[n].certificate = f[i].certificate;
		if (f[i].key)
			v[n].key = f[i].key;
		if (f[i].ca)
			v[n].ca = f[i].ca;
		sip_interfaces_name(ss->interfaces, &f[i], names[i], sizeof(names[i]));
		v[n++].advertise = names[i];
	}
	for (size_t i = 0; i < c->lan.listen.n; i++) {
		v[n] = spec_of(c, &lan[i]);
		v[n++].lan = true;
	}
	for (size_t i = 0; fs->mode != SIP_FEDERATION_OFF && i < fs->listen.n; i++) {
		v[n] = spec_of(c, &fed[i]);
		if (fs->certificate)
			v[n].certificate = fs->certificate;
		if (fs->key)
			v[n].key = fs->key;
		if (fs->ca)
			v[n].ca = fs->ca;
		v[n].advertise = fs->advertise;
		v[n++].federation = true;
	}
	return n;
}

static struct sip_edge_limits limits_of(const struct sip_config *c)
{
	return (struct sip_edge_limits){
		.connections = c->limits.connections,
		.connections_per_source = c->limits.connections_per_source,
		.queue = c->limits.queue,
		.rate = c->limits.rate,
		.burst = c->limits.burst,
		.ban_after = c->limits.ban_after,
		.ban_ms = c->limits.ban_ms,
		.message_bytes = c->limits.message_bytes,
		.connect_ms = c->limits.connect_ms,
		.handshake_ms = c->limits.handshake_ms,
		.first_ms = c->limits.first_ms,
		.partial_ms = c->limits.partial_ms,
		.idle_ms = c->limits.idle_ms,
		.ping_ms = c->timers.keepalive_ms,
	};
}

static struct sip_edge_config config_of(const struct sip_config *c)
{
	return (struct sip_edge_config){
		.certificate = c->certificate,
		.key = c->key,
		.ca = c->ca,
		.crl = c->crl,
		.limits = limits_of(c),
		.allow = c->sources.allow.items,
		.n_allow = c->sources.allow.n,
		.deny = c->sources.deny.items,
		.n_deny = c->sources.deny.n,
		.unlimited = c->sources.unlimited.items,
		.n_unlimited = c->sources.unlimited.n,
	};
}

static int plan_once(struct sip_service *ss, const struct sip_config *c, char *warning, char *err,
		     size_t err_n, struct sip_edge_plan **ret_p)
{
	struct sip_edge_config ec = config_of(c);
	const struct sip_interface_section *f = NULL;
	struct sip_listen_spec *v = NULL;
	char(*names)[SIP_SENT_BY_MAX] = NULL;
	size_t n_f = 0;
	int r = sip_interfaces_all(ss->interfaces, c, &f, &n_f);

	if (r == 0) {
		v = calloc(c->listen.n + n_f + c->lan.listen.n + c->federation.listen.n + 1,
			   sizeof(*v));
		names = calloc(n_f + 1, sizeof(*names));
	}
	if (!v || !names) {
		(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
		r = -ENOMEM;
	} else {
		ec.listen = v;
		ec.n_listen = collect(ss, c, f, n_f, v, names);
		r = sip_edge_plan(ss->edge, &ec, warning, err, err_n, ret_p);
	}
	free(names);
	free(v);
	return r;
}

/* What the store has must not keep the rest from being served: it is left out, one after the other. */
int sip_service_plan(struct sip_service *ss, const struct sip_config *c, char *warning, char *err,
		     size_t err_n, struct sip_edge_plan **ret_p)
{
	int r;

	while ((r = plan_once(ss, c, warning, err, err_n, ret_p)) < 0 && r != -ENOMEM &&
	       sip_interfaces_leave_out(ss->interfaces, err))
		;
	return r;
}
