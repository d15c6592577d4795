/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema rows of the `console` section, and what no row can say by itself: which listeners may be there without TLS or
 * without client certificates.
 *
 * An address that is not loopback is reached by others: it needs TLS, and with it certificates of its clients, or the word public.
 */
#include "console/config.h"
#include "common/cert.h"
#include <string.h>

#define SCHEMA(name_, rows_, size_) { (name_), (rows_), ARRAY_LEN(rows_), (size_) }

/* clang-format off */
static const struct cfg_row metrics_rows[] = {
	{ .name = "listen", .type = &cfg_addr, .offset = 0, .flags = CFG_LIST | CFG_BARE | CFG_RELOAD, .default_port = 9464,
	  .help = "Where /metrics of all services is served without a login, over plain HTTP; loopback addresses only. Without one, /metrics "
	  "of console.listen needs a token of the scope metrics." },
};
static const struct cfg_schema metrics_schema = SCHEMA("console.metrics", metrics_rows, sizeof(struct cfg_list));

static const struct cfg_row console_rows[] = {
	{ .name = "listen", .type = &cfg_addr, CFG_AT(struct console_config, listen), .flags = CFG_LIST | CFG_BARE | CFG_RELOAD, .default_port = 8443,
	  .def = "127.0.0.1:8443", .help = "Where the console is reached: HTTPS if there is a certificate, else HTTP, which loopback addresses "
	  "alone may have." },
	{ .name = "certificate", .type = &cfg_path, CFG_AT(struct console_config, certificate), .flags = CFG_RELOAD,
	  .help = "Certificate of the console, PEM, with its chain; read anew by a reload." },
	{ .name = "key", .type = &cfg_path, CFG_AT(struct console_config, key), .flags = CFG_RELOAD, .help = "Its private key, PEM." },
	{ .name = "client_ca", .type = &cfg_path, CFG_AT(struct console_config, client_ca), .flags = CFG_RELOAD,
	  .help = "Certificates, PEM: whoever connects must show a certificate that one of them has signed, before the login." },
	{ .name = "client_crl", .type = &cfg_path, CFG_AT(struct console_config, client_crl), .flags = CFG_RELOAD,
	  .help = "Revocation list of clients' certificates, PEM." },
	{ .name = "public", .type = &cfg_bool, CFG_AT(struct console_config, public), .flags = CFG_RELOAD, .def = "false",
	  .help = "Listen on addresses that are not loopback without asking for client certificates: then passwords are all that "
	  "protects the console." },
	{ .name = "names", .type = &cfg_string, CFG_AT(struct console_config, names), .flags = CFG_LIST | CFG_BARE | CFG_RELOAD, .max = 253,
	  .help = "Host names by which browsers reach the console over plain HTTP (through a proxy of yours); localhost and addresses "
	  "always do." },
	{ .name = "session_idle", .type = &cfg_duration, CFG_AT(struct console_config, session_idle_ms), .flags = CFG_RELOAD,
	  .min = 60000, .max = 604800000, .def = "1h", .help = "A session that was not used for so long has ended." },
	{ .name = "session_life", .type = &cfg_duration, CFG_AT(struct console_config, session_life_ms), .flags = CFG_RELOAD,
	  .min = 60000, .max = 2592000000, .def = "12h", .help = "After so long everybody logs in again." },
	{ .name = "streams", .type = &cfg_u64, CFG_AT(struct console_config, streams), .flags = CFG_RELOAD, .min = 1, .max = 10000,
	  .def = "256", .unit = "streams", .help = "Pages that get live data at the same time." },
	{ .name = "connections", .type = &cfg_u64, CFG_AT(struct console_config, connections), .min = 8, .max = 65535, .def = "1024",
	  .unit = "connections", .help = "Connections of browsers and API clients at the same time." },
	{ .name = "metrics", .sub = &metrics_schema, CFG_AT(struct console_config, metrics), .flags = CFG_RELOAD, .help = "Prometheus." },
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct console_config, log), .flags = CFG_OPTIONAL_MAP | CFG_RELOAD,
	  .help = "Log settings of stile-console alone, instead of those of the log section." },
};
static const struct cfg_schema console_schema = SCHEMA("console", console_rows, sizeof(struct console_config));

static const struct cfg_row root_rows[] = {
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct console_root, log), .flags = CFG_RELOAD,
	  .help = "Where and how much the services log." },
	SERVICE_SANDBOX_ROW(struct console_root),
	{ .name = "store", .sub = &cfg_store_schema, CFG_AT(struct console_root, store),
	  .help = "Where objects are kept that are made while the services run." },
	{ .name = "console", .sub = &console_schema, CFG_AT(struct console_root, console), .help = "The web console and the REST API." },
};
/* clang-format on */
static const struct cfg_schema root_schema = SCHEMA("stile.yaml", root_rows, sizeof(struct console_root));

static const char *const others[] = { "stun_servers", "turn", "tunnel", "agent", "sip", "share", "gateway", NULL };
const struct cfg_root console_cfg_root = { .schema = &root_schema, .other_sections = others };

static const struct console_config *config_of(const struct cfg *c)
{
	return &((const struct console_root *)cfg_values(c))->console;
}

static void check_listener(struct cfg *c, const struct console_config *k, size_t i)
{
	const struct addr *at = &((const struct addr *)k->listen.items)[i];
	struct cfg_path path = cfg_path_item("console.listen", i, "");

	if (addr_port(at) == 0)
		cfg_add_error(c, path.s, "a listener needs a port other than 0");
	if (addr_classify(at) == ADDR_LOOPBACK)
		return;
	if (!k->certificate)
		cfg_add_error(c, path.s, "is reached by others, so it needs TLS: set console.certificate and console.key, or listen on "
			      "127.0.0.1");
	else if (!k->client_ca && !k->public)
		cfg_add_error(c, path.s, "is reached by others: set console.client_ca (only clients with a certificate), or console.public: "
			      "true (passwords alone protect it)");
}

void console_config_check(struct cfg *c)
{
	const struct console_config *k = config_of(c);

	if (!k->certificate != !k->key)
		cfg_add_error(c, k->key ? "console.key" : "console.certificate", "certificate and key belong together: one of them is missing");
	if (k->certificate && k->key)
		cert_check(c, "console.certificate", k->certificate, k->key);
	if (k->client_ca && !k->certificate)
		cfg_add_error(c, "console.client_ca", "clients' certificates need TLS: console.certificate and console.key");
	if (k->client_crl && !k->client_ca)
		cfg_add_error(c, "console.client_crl", "revokes certificates of console.client_ca, which is not set");
	for (size_t i = 0; i < k->listen.n; i++)
		check_listener(c, k, i);
	for (size_t i = 0; i < k->metrics.listen.n; i++)
		if (addr_classify(&((const struct addr *)k->metrics.listen.items)[i]) != ADDR_LOOPBACK)
			cfg_add_error(c, cfg_path_item("console.metrics.listen", i, "").s,
				      "only loopback addresses are served without a login; others use a token of the scope metrics");
}

void console_log_config(const void *values, struct log_config *ret_lc)
{
	const struct console_root *root = values;

	log_section_config(root->console.log ? root->console.log : &root->log, ret_lc);
}

const char *console_store_path(const void *values)
{
	return ((const struct console_root *)values)->store.path;
}

/* "name:8443" without its port; an address keeps its brackets. */
static struct text host_without_port(struct text host)
{
	size_t i = host.n;

	while (i > 0 && host.p[i - 1] >= '0' && host.p[i - 1] <= '9')
		i--;
	if (i > 0 && i < host.n && host.p[i - 1] == ':')
		host.n = i - 1;
	return host;
}

bool console_host_is_ours(const struct console_config *c, const char *host)
{
	struct text name = host_without_port(text_of(host)), bare = name;
	struct addr a;

	if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
		bare = (struct text){ name.p + 1, name.n - 2 };
	if (text_ieq(name, TEXT("localhost")) || addr_parse(bare, 1, &a) == 0)
		return true;
	for (size_t i = 0; i < c->names.n; i++)
		if (text_ieq(name, text_of(((char *const *)c->names.items)[i])))
			return true;
	return false;
}
