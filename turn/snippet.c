/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The URLs of a WebRTC page, in the forms of RFC 7065, and the host in them. Nothing here asks anybody: it is all of
 * the configuration, where the edge has filled in what was found. A reader who gives his own host to the tool gets
 * it in every URL, name or address.
 */
#include "turn/snippet.h"
#include <string.h>

static const struct {
	const char *scheme, *transport; /* NULL: no browser speaks it */
} forms[] = {
	[TURN_LISTEN_UDP] = { "turn", "udp" },
	[TURN_LISTEN_TCP] = { "turn", "tcp" },
	[TURN_LISTEN_TLS] = { "turns", "tcp" },
	[TURN_LISTEN_DTLS] = { NULL, NULL },
	[TURN_LISTEN_FRONT] = { "turns", "tcp" },
};

const char *turn_snippet_host(const struct turn_config *cfg, char buf[static ADDR_STRLEN])
{
	const struct cfg_ip_auto *external = cfg->relay.external.items;
	const struct addr *relay = cfg->relay.addresses.items, *outside = cfg->relay.outside.items;
	const struct cfg_endpoint *l = cfg->listen.items;

	for (size_t i = 0; i < cfg->relay.external.n; i++)
		if (!external[i].automatic)
			return addr_print_ip(&external[i].ip, buf);
	for (size_t i = 0; cfg->relay.external.n && i < cfg->relay.outside.n; i++)
		if (addr_family(&outside[i]) != AF_UNSPEC)
			return addr_print_ip(&outside[i], buf);
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

/* An IPv4 and an IPv6 listener of one port are the same to a client that goes by a name. */
json_t *turn_snippet_urls(const struct turn_config *cfg, const char *host)
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
