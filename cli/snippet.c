/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile turn snippet: what a WebRTC page or a UC client needs to use this server, ready to paste. The
 * URLs stand in the order of turn.listen, which is the order in which the administrator wants them
 * tried; DTLS is left out because no browser speaks TURN over it.
 */
#include <netdb.h>
#include <string.h>
#include "cli/command.h"
#include "cli/credential.h"
#include "common/bytes.h"

static const struct {
	const char *scheme, *transport; /* NULL: no browser speaks it */
} forms[] = {
	[TURN_LISTEN_UDP] = { "turn", "udp" },
	[TURN_LISTEN_TCP] = { "turn", "tcp" },
	[TURN_LISTEN_TLS] = { "turns", "tcp" },
	[TURN_LISTEN_DTLS] = { NULL, NULL },
	[TURN_LISTEN_FRONT] = { "turns", "tcp" },
};

/* The address clients use: as given, or the public one that the configuration knows, or a listener's. */
static const char *pick_host(const struct cli *cli, const struct turn_config *cfg, char buf[static ADDR_STRLEN])
{
	const struct cfg_ip_auto *external = cfg->relay.external.items;
	const struct addr *relay = cfg->relay.addresses.items;
	const struct cfg_endpoint *l = cfg->listen.items;

	if (cli->n_words)
		return cli->words[0];
	for (size_t i = 0; i < cfg->relay.external.n; i++)
		if (!external[i].automatic)
			return addr_print_ip(&external[i].ip, buf);
	for (size_t i = 0; i < cfg->listen.n; i++)
		if (!l[i].path[0] && addr_classify(&l[i].at) != ADDR_UNSPECIFIED)
			return addr_print_ip(&l[i].at, buf);
	return cfg->relay.addresses.n ? addr_print_ip(&relay[0], buf) : "localhost";
}

static bool has_url(const json_t *urls, const json_t *url)
{
	size_t i;
	json_t *u;

	json_array_foreach(urls, i, u)
		if (json_equal(u, url))
			return true;
	return false;
}

/* Each URL once: an IPv4 and an IPv6 listener of one port are the same to a client that goes by a name. */
static json_t *urls_json(const struct turn_config *cfg, const char *host)
{
	const struct cfg_endpoint *l = cfg->listen.items;
	const char *open = strchr(host, ':') ? "[" : "", *close = *open ? "]" : "";
	json_t *urls = json_array();

	for (size_t i = 0; i < cfg->listen.n; i++) {
		if (l[i].path[0] || !forms[l[i].proto].scheme)
			continue;
		json_t *url = json_sprintf("%s:%s%s%s:%u?transport=%s", forms[l[i].proto].scheme, open, host, close,
					   addr_port(&l[i].at), forms[l[i].proto].transport);
		if (has_url(urls, url))
			json_decref(url);
		else
			json_array_append_new(urls, url);
	}
	return urls;
}

int run_snippet(struct cli *cli)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	struct credential cred;
	char buf[ADDR_STRLEN];

	if (cfg_load(cli_config_path(cli), &turn_cfg_root, &cfg) < 0) {
		if (cfg)
			cfg_print_errors(cfg, stderr);
		return EXIT_USAGE;
	}
	const struct turn_config *turn = &((const struct turn_root *)cfg_values(cfg))->turn;
	int r = credential_for_client(cli, turn, &cred);
	if (r)
		return r;
	json_t *server = json_pack("{s:o, s:s, s:s}", "urls", urls_json(turn, pick_host(cli, turn, buf)), "username", cred.user,
				   "credential", cred.password);
	json_t *j = json_pack("{s:[o]}", "iceServers", server);
	print_json(j);
	json_decref(j);
	bytes_wipe(&cred, sizeof cred);
	return 0;
}
