/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema rows of the `gateway` section, and the checks between its keys.
 *
 * Names and meanings of the keys are promised to administrators: they grow, they do not change.
 * Each key stands here once, with type, range, default and help.
 */
#include "gateway/config.h"
#include "common/cert.h"

#define SCHEMA(n, r, s) { .name = (n), .rows = (r), .n_rows = ARRAY_LEN(r), .size = (s) }
#define GATEWAY(member) CFG_AT(struct gateway_config, member)
#define LIMIT(member) .offset = offsetof(struct gateway_config, limits.member) - offsetof(struct gateway_config, limits)

/* clang-format off */
static const char *const protos[] = { [GATEWAY_TLS] = "tls", [GATEWAY_HTTP] = "http", NULL };
static const struct cfg_row limit_rows[] = {
	{ .name = "connections", .type = &cfg_u64, LIMIT(connections), .min = 1, .max = 100000, .def = "512",
	  .help = "Connections of browsers at a time; more are closed at once." },
	{ .name = "connections_per_address", .type = &cfg_u64, LIMIT(connections_per_address), .min = 1, .max = 100000, .def = "64",
	  .help = "The same of one address (IPv6: its /64)." },
	{ .name = "transfers_per_address", .type = &cfg_u64, LIMIT(transfers_per_address), .flags = CFG_RELOAD, .min = 1, .max = 100000, .def = "32",
	  .help = "Requests to shares at a time from one address (IPv6: its /64); more are told to wait." },
	{ .name = "guesses", .type = &cfg_u64, LIMIT(guesses), .flags = CFG_RELOAD, .min = 1, .max = 1000000, .def = "20",
	  .help = "Links to shares that do not exist, from one address in ten minutes; after that all of its requests are refused until they are over." },
	{ .name = "wait", .type = &cfg_duration, LIMIT(wait_ms), .flags = CFG_RELOAD, .min = 1000, .max = 3600000, .def = "2m",
	  .help = "How long a share may take to begin its answer." },
	{ .name = "stall", .type = &cfg_duration, LIMIT(stall_ms), .flags = CFG_RELOAD, .min = 1000, .max = 3600000, .def = "60s",
	  .help = "A transfer without a byte of the share for so long is cut; the browser goes on where it was." },
};
static const struct cfg_schema limits_schema = SCHEMA("gateway.limits", limit_rows, sizeof(((struct gateway_config *)NULL)->limits));

static const struct cfg_row gateway_rows[] = {
	{ .name = "listen", .type = &cfg_endpoint, GATEWAY(listen), .flags = CFG_LIST | CFG_BARE | CFG_RELOAD | CFG_UNIX, .choices = protos,
	  .help = "Where browsers come in: tls:ADDRESS:PORT, or tls:unix:PATH behind a front: listener of stile-turn, which passes on what is "
	  "for this server name with a PROXY header. http: only behind a proxy of one's own that ends TLS: browsers decrypt on https pages "
	  "alone." },
	{ .name = "certificate", .type = &cfg_path, GATEWAY(certificate), .flags = CFG_RELOAD,
	  .help = "PEM file with the certificate for tls listeners, followed by its chain. A reload reads it anew." },
	{ .name = "key", .type = &cfg_path, GATEWAY(key), .flags = CFG_RELOAD, .help = "PEM file with the certificate's private key." },
	{ .name = "tunnel", .type = &cfg_path, GATEWAY(tunnel), .flags = CFG_RELOAD, .def = "/run/stile/gateway.sock",
	  .help = "The socket of stile-tunnel for gateways (tunnel.gateway), by which the senders' agents are reached." },
	{ .name = "drain", .type = &cfg_duration, GATEWAY(drain_ms), .flags = CFG_RELOAD, .max = 86400000, .def = "10s",
	  .help = "How long a stop waits for transfers under way." },
	{ .name = "limits", .sub = &limits_schema, GATEWAY(limits), .flags = CFG_RELOAD, .help = "What browsers may use." },
	{ .name = "log", .sub = &cfg_log_schema, GATEWAY(log), .flags = CFG_OPTIONAL_MAP | CFG_RELOAD,
	  .help = "Log settings of stile-gateway alone, instead of those of the log section." },
};
static const struct cfg_schema gateway_schema = SCHEMA("gateway", gateway_rows, sizeof(struct gateway_config));

static const struct cfg_row root_rows[] = {
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct gateway_root, log), .flags = CFG_RELOAD,
	  .help = "Where and how much the services log." },
	SERVICE_SANDBOX_ROW(struct gateway_root),
	{ .name = "gateway", .sub = &gateway_schema, CFG_AT(struct gateway_root, gateway), .help = "Browsers that take part in a share." },
};
/* clang-format on */
static const struct cfg_schema root_schema = SCHEMA("stile.yaml", root_rows, sizeof(struct gateway_root));

static const char *const others[] = { "store", "stun_servers", "turn", "tunnel", "agent", "sip", "console", "share", NULL };
const struct cfg_root gateway_cfg_root = { .schema = &root_schema, .other_sections = others };

void gateway_config_check(struct cfg *c)
{
	const struct gateway_config *g = &((const struct gateway_root *)cfg_values(c))->gateway;
	const struct cfg_endpoint *e = g->listen.items;
	bool tls = false;

	if (!g->listen.n)
		cfg_add_error(c, "gateway", "a gateway needs a place where browsers come in: gateway: { listen: \"tls:0.0.0.0:443\" }, "
					    "or \"tls:unix:/run/stile/gateway.sock\" behind the front of stile-turn");
	for (size_t i = 0; i < g->listen.n; i++)
		tls |= e[i].proto == GATEWAY_TLS;
	if (tls && !g->certificate)
		cfg_add_error(c, "gateway.listen", "a tls listener needs gateway.certificate and gateway.key");
	if (g->certificate && !g->key)
		cfg_add_error(c, "gateway.certificate", "the private key is missing: gateway.key");
	if (g->key && !g->certificate)
		cfg_add_error(c, "gateway.key", "the certificate is missing: gateway.certificate");
	if (g->certificate && g->key)
		cert_check(c, "gateway.certificate", g->certificate, g->key);
}

void gateway_log_config(const void *values, struct log_config *ret_lc)
{
	const struct gateway_root *root = values;

	log_section_config(root->gateway.log ? root->gateway.log : &root->log, ret_lc);
}
