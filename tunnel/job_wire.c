/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both directions, key by key. A number that has no limit in the configuration is 0 on the wire, and what only the
 * agent needs to know of its own job (how long a connect may take, how often a target is tried) stays at home.
 * The agent's frame is the only source of what the server knows of a job.
 */
#include "tunnel/job_wire.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *job_state_text(unsigned state)
{
	static const char *const texts[] = {
		[0] = "not connected",
		[WIRE_JOB_ACTIVE] = "active",
		[WIRE_JOB_INTERRUPTED] = "interrupted",
		[WIRE_JOB_REFUSED] = "refused",
		[WIRE_JOB_PORT_TAKEN] = "port taken",
		[WIRE_JOB_TARGET_DOWN] = "target down",
		[WIRE_JOB_OVER] = "expired",
	};

	return state < ARRAY_LEN(texts) ? texts[state] : "unknown";
}

static uint32_t flags_of(const struct job_config *j)
{
	return (j->encrypt ? WIRE_JOB_ENCRYPT : 0u) | (j->enabled ? WIRE_JOB_ENABLED : 0u) |
	       (j->proxy_protocol == ROUTE_PROXY_V2 ? WIRE_JOB_PROXY_V2 : 0u) |
	       (j->health_ms ? WIRE_JOB_HEALTH_CHECK : 0u);
}

void job_to_wire(const struct job_config *j, const char *name, int64_t expires, struct wire_job *ret_w)
{
	const struct prefix *p = j->allow.items;

	*ret_w = (struct wire_job){
		.kind = j->udp ? WIRE_JOB_UDP : WIRE_JOB_TCP,
		.port = j->port.first,
		.count = (uint16_t)job_ports(j),
		.target_port = j->target.port ? j->target.port : j->port.first,
		.flags = flags_of(j),
		.name = text_of(name),
		.host = text_of(j->target.host),
		.note = text_of(j->note),
		.bind = j->bind,
		.n_allow = (uint16_t)MIN(j->allow.n, (size_t)WIRE_ALLOW_MAX),
		.expires = (uint64_t)MAX(expires, 0),
		.connections = (uint32_t)MIN(j->limits.connections, (uint64_t)UINT32_MAX),
		.bitrate = j->limits.bitrate == UINT64_MAX ? 0 : j->limits.bitrate,
	};
	for (unsigned i = 0; i < ret_w->n_allow; i++)
		ret_w->allow[i] = p[i];
}

static void put_text(json_t *o, const char *key, struct text t)
{
	if (t.n)
		json_object_set_new(o, key, json_stringn(t.p, t.n));
}

static void put_ports(json_t *o, const struct wire_job *w)
{
	unsigned last = w->port + MAX(w->count, 1u) - 1u;
	bool six = w->host.n && memchr(w->host.p, ':', w->host.n);
	unsigned target = w->target_port ? w->target_port : w->port;

	if (!w->port)
		json_object_set_new(o, "port", json_string("*"));
	else if (w->count <= 1)
		json_object_set_new(o, "port", json_sprintf("%u", w->port));
	else
		json_object_set_new(o, "port", json_sprintf("%u-%u", w->port, last));
	json_object_set_new(
		o, "target",
		json_sprintf(six ? "[%.*s]:%u" : "%.*s:%u", TEXT_FMT(w->host), target));
}

static void put_lists(json_t *o, const struct wire_job *w)
{
	json_t *allow = json_array(), *limits = json_object();
	char buf[ADDR_STRLEN], prefix[PREFIX_STRLEN];
	struct job_expiry e = { .at = (int64_t)MIN(w->expires, (uint64_t)1 << 40) };
	char when[40];
	struct sb b = sb_init(when, sizeof(when));

	for (unsigned i = 0; i < w->n_allow; i++)
		json_array_append_new(allow, json_string(prefix_print(&w->allow[i], prefix)));
	json_object_set_new(o, "allow", allow);
	if (w->connections)
		json_object_set_new(limits, "connections", json_sprintf("%u", w->connections));
	if (w->bitrate)
		json_object_set_new(limits, "bitrate",
				    json_sprintf("%llu", (unsigned long long)w->bitrate));
	json_object_set_new(o, "limits", limits);
	if (addr_family(&w->bind) != AF_UNSPEC)
		json_object_set_new(o, "bind", json_string(addr_print_ip(&w->bind, buf)));
	if (!w->expires)
		return;
	cfg_job_expiry.print(NULL, &e, &b);
	json_object_set_new(o, "expire", json_string(when));
}

int job_from_wire(const struct wire_job *w, char *err, size_t err_n, struct cfg **ret_cfg)
{
	json_t *o = json_object();
	int r;

	if (!o) {
		(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	put_text(o, "name", w->name);
	put_text(o, "note", w->note);
	put_ports(o, w);
	put_lists(o, w);
	json_object_set_new(o, "protocol", json_string(w->kind == WIRE_JOB_UDP ? "udp" : "tcp"));
	json_object_set_new(o, "encrypt", json_boolean(w->flags & WIRE_JOB_ENCRYPT));
	json_object_set_new(o, "enabled", json_boolean(w->flags & WIRE_JOB_ENABLED));
	if (w->flags & WIRE_JOB_PROXY_V2)
		json_object_set_new(o, "proxy_protocol", json_string("v2"));
	if (w->flags & WIRE_JOB_HEALTH_CHECK)
		json_object_set_new(o, "health_check", json_string("30s"));
	r = job_parse(o, err, err_n, ret_cfg);
	json_decref(o);
	return r;
}
