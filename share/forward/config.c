/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema rows of the `share` section, and the check of its list of ports.
 *
 * Names and meanings of the keys are promised to administrators: they grow, they do not change.
 * The reference page and stile check have them from here.
 */
#include "share/forward/config.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "stun/public.h"

#define SHARE(member) CFG_AT(struct share_config, member)

/* clang-format off */
static const struct cfg_row share_rows[] = {
	{ .name = "base_port", .type = &cfg_u64, SHARE(base_port), .min = 1, .max = 65535, .def = "8080",
	  .help = "In port-forwarding mode (stile share --forward) a machine serves on this port and the last octet of its IPv4 address "
	  "together: 8080 and 141 are 8221." },
	{ .name = "interface", .type = &cfg_string, SHARE(interface), .min = 1, .max = 45,
	  .help = "The interface (or an address of this machine) that the router's rule leads to. Default: the one that leads to the outside." },
	{ .name = "port_mapping", .type = &cfg_bool, SHARE(port_mapping), .def = "true",
	  .help = "Whether the router is asked to open the port by itself (PCP, NAT-PMP, UPnP)." },
	{ .name = "test", .type = &cfg_bool, SHARE(test), .def = "true",
	  .help = "Whether the tunnel server is asked to connect back, so that it is known whether the forwarding works." },
	{ .name = "connect_order", .type = &cfg_ports, SHARE(connect_order), .flags = CFG_LIST | CFG_BARE, .def = SHARE_CONNECT_ORDER,
	  .help = "Ports of the tunnel server that the other side (stile get without an agent of its own) tries, one shortly after the "
	  "other, when the server's own port does not answer at once. Another order than the default is told within the code, so that nothing "
	  "has to be configured there." },
};
static const struct cfg_schema share_schema = { .name = "share", .rows = share_rows, .n_rows = ARRAY_LEN(share_rows), .size = sizeof(struct share_config) };

static const struct cfg_row root_rows[] = {
	{ .name = "stun_servers", .type = &cfg_hostport, CFG_AT(struct share_root, stun_servers), .flags = CFG_LIST | CFG_RELOAD, .most = PUBLIC_SERVERS_MAX,
	  .help = "STUN servers outside of this network, to find one's own public address." },
	{ .name = "share", .sub = &share_schema, CFG_AT(struct share_root, share), .help = "Shares of this machine (stile share, stile get)." },
};
static const struct cfg_schema root_schema = { .name = "stile.yaml", .rows = root_rows, .n_rows = ARRAY_LEN(root_rows), .size = sizeof(struct share_root) };

static const char *const others[] = { "log", "sandbox", "store", "turn", "tunnel", "agent", "sip", "console", "gateway", NULL };
const struct cfg_root share_cfg_root = { .schema = &root_schema, .other_sections = others };
/* clang-format on */

const struct share_root *share_root_of(const struct cfg *c)
{
	return cfg_values(c);
}

void share_config_check(struct cfg *c)
{
	const struct share_config *s = &share_root_of(c)->share;
	const struct cfg_port_range *p = s->connect_order.items;

	if (s->connect_order.n > SHARE_ORDER_MAX)
		cfg_add_error(c, "share.connect_order", "at most %d ports are tried", SHARE_ORDER_MAX);
	for (size_t i = 0; i < s->connect_order.n; i++)
		if (p[i].first != p[i].last)
			cfg_add_error(c, cfg_path_item("share.connect_order", i, "").s, "name single ports in their order, not a range");
}

int share_config_load(const char *path, bool named, struct cfg **ret_c)
{
	int r = named || access(path, R_OK) == 0 ? cfg_load(path, &share_cfg_root, ret_c) :
						   cfg_load_text(TEXT("{}"), "defaults", &share_cfg_root, ret_c);

	if (r == 0)
		share_config_check(*ret_c);
	if (r == 0 && cfg_n_errors(*ret_c))
		r = -EINVAL;
	if (r < 0 && *ret_c)
		(void)cfg_print_errors(*ret_c, stderr);
	return r;
}

void share_log_config(const void *values, struct log_config *ret_lc)
{
	(void)values;
	*ret_lc = (struct log_config){ 0 };
}

unsigned share_connect_order(const struct share_config *c, uint16_t ports[static SHARE_ORDER_MAX])
{
	const struct cfg_port_range *p = c->connect_order.items;
	unsigned n = 0;

	for (size_t i = 0; i < c->connect_order.n && n < SHARE_ORDER_MAX; i++)
		ports[n++] = p[i].first;
	return n;
}

unsigned share_told_order(const struct share_config *c, uint16_t ports[static SHARE_ORDER_MAX])
{
	unsigned n = share_connect_order(c, ports);
	char text[64];
	struct sb b = sb_init(text, sizeof(text));

	for (unsigned i = 0; i < n; i++)
		sb_fmt(&b, "%s%u", i ? "," : "", ports[i]);
	return strcmp(text, SHARE_CONNECT_ORDER) == 0 ? 0 : n;
}
