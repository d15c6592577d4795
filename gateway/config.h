/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `gateway` section as a struct, and its schema rows. Plain values only, owned by the struct cfg that they were read into.
 * What the tunnel server says of itself to agents (the address of this gateway, for links) stands in its own section.
 * The tool reads and judges the section with the same rows.
 */
#pragma once
#include "common/service.h"

enum gateway_proto { GATEWAY_TLS, GATEWAY_HTTP };

struct gateway_config {
	struct cfg_list listen; /* struct cfg_endpoint */
	char *certificate, *key;
	char *tunnel; /* path of stile-tunnel's socket for gateways */
	uint64_t drain_ms;
	struct {
		uint64_t connections, connections_per_address, transfers_per_address, guesses, wait_ms, stall_ms;
	} limits;
	struct log_section *log; /* override; NULL if absent */
};
struct gateway_root { /* what stile-gateway reads of stile.yaml */
	struct log_section log;
	bool sandbox;
	struct gateway_config gateway;
};
extern const struct cfg_root gateway_cfg_root;

/* Of the whole section, for struct service_ops. */
void gateway_config_check(struct cfg *c);
void gateway_log_config(const void *values, struct log_config *ret_lc);
