/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `console` section as a struct; its schema rows and the checks between keys are in console/config.c. Plain values only,
 * owned by the struct cfg that they were read into.
 *
 * Who may reach the console is decided here and in the listener, not by the code behind: loopback needs nothing, every other
 * address needs TLS, and with it client certificates or the word public.
 */
#pragma once
#include "common/config.h"
#include "common/service.h"

struct console_config {
	struct cfg_list listen; /* struct addr */
	char *certificate, *key, *client_ca, *client_crl;
	bool public;
	struct cfg_list names; /* char * */
	uint64_t session_idle_ms, session_life_ms;
	uint64_t streams, connections;
	struct {
		struct cfg_list listen; /* struct addr */
	} metrics;
	struct log_section *log;
};
struct console_root {
	struct log_section log;
	bool sandbox;
	struct store_section store;
	struct console_config console;
};
extern const struct cfg_root console_cfg_root;
void console_config_check(struct cfg *c);
void console_log_config(const void *values, struct log_config *ret_lc);
const char *console_store_path(const void *values);
/* A request's Host is an address, localhost, or one of the names; else a page of somebody else speaks through it. */
bool console_host_is_ours(const struct console_config *c, const char *host);
