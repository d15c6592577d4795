/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `share` section as a struct, and its schema rows: what stile share and stile get take from the configuration of the
 * machine they run on. Both run without one: every key has a default.
 * A section without a service: stile check judges it like the others.
 */
#pragma once
#include "common/service.h"

enum { SHARE_ORDER_MAX = 7 /* SHARE_MORE_PORTS */ };
#define SHARE_CONNECT_ORDER "1935,443,80" /* what both ends know without being told */

struct share_config {
	uint64_t base_port;
	char *interface;	      /* NULL: the one of the default way */
	bool port_mapping, test;
	struct cfg_list connect_order; /* struct cfg_port_range, each of one port */
};
struct share_root { /* what the tool reads of stile.yaml for a share */
	struct cfg_list stun_servers; /* struct cfg_hostport */
	struct share_config share;
};
extern const struct cfg_root share_cfg_root;
void share_config_check(struct cfg *c);
void share_log_config(const void *values, struct log_config *ret_lc); /* a share has no log of its own */
/* The file's, or the defaults where there is no file and none was named. 0, or -errno after the errors were printed. */
int share_config_load(const char *path, bool named, struct cfg **ret_c);
const struct share_root *share_root_of(const struct cfg *c);
/* The ports of share.connect_order; how many. 0: they are the default's, which need not be told. */
unsigned share_told_order(const struct share_config *c, uint16_t ports[static SHARE_ORDER_MAX]);
/* All of them. */
unsigned share_connect_order(const struct share_config *c, uint16_t ports[static SHARE_ORDER_MAX]);
