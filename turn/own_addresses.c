/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of this machine: peers that stay refused (but for live relay sockets), and the relay
 * addresses when turn.relay.addresses names none: the listeners' own where they are concrete, else, per
 * family, the address that a packet to the outside would leave from.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "turn/edge.h"

static bool known(const struct addr *list, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (addr_equal_ip(&list[i], a))
			return true;
	return false;
}

size_t turn_own_addresses(struct addr *out, size_t cap)
{
	struct ifaddrs *all;
	size_t n = 0;

	if (getifaddrs(&all) < 0)
		return 0;
	for (struct ifaddrs *i = all; i && n < cap; i = i->ifa_next) {
		struct addr a;
		if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
			continue;
		socklen_t len = i->ifa_addr->sa_family == AF_INET ? sizeof a.in4 : sizeof a.in6;
		if (addr_from_sockaddr(i->ifa_addr, len, &a) == 0 && !known(out, n, &a))
			out[n++] = a;
	}
	freeifaddrs(all);
	return n;
}

/* The source address the kernel would choose towards an address of the documentation range; connect()
 * on a datagram socket sends nothing. */
static bool default_source(const char *towards, struct addr *ret_a)
{
	struct addr to;
	socklen_t len = sizeof *ret_a;
	bool ok = false;

	if (addr_parse(text_of(towards), 9, &to) < 0)
		return false;
	int fd = socket(addr_family(&to), SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	if (connect(fd, &to.sa, addr_len(&to)) == 0 && getsockname(fd, &ret_a->sa, &len) == 0) {
		enum addr_class c = addr_classify(ret_a);
		ok = c != ADDR_UNSPECIFIED && c != ADDR_LINK_LOCAL;
		addr_set_port(ret_a, 0);
	}
	close(fd);
	return ok;
}

static void add_relay(struct turn_service *ts, const struct addr *a)
{
	struct addr ip = *a;

	addr_set_port(&ip, 0);
	if (ts->n_relay < ARRAY_LEN(ts->relay) && !known(ts->relay, ts->n_relay, &ip))
		ts->relay[ts->n_relay++] = ip;
}

static void relay_for_listener(struct turn_service *ts, const struct addr *at)
{
	struct addr found;

	if (addr_classify(at) != ADDR_UNSPECIFIED) {
		add_relay(ts, at);
		return;
	}
	if (default_source(addr_family(at) == AF_INET ? "192.0.2.1" : "2001:db8::1", &found)) {
		add_relay(ts, &found);
		return;
	}
	/* No route to the outside: the first address that is not loopback will do. */
	for (size_t i = 0; i < ts->n_own; i++) {
		enum addr_class c = addr_classify(&ts->own[i]);
		if (addr_family(&ts->own[i]) == addr_family(at) && c != ADDR_LOOPBACK && c != ADDR_LINK_LOCAL) {
			add_relay(ts, &ts->own[i]);
			return;
		}
	}
}

int turn_relay_addresses(struct turn_service *ts, const struct turn_config *cfg, char *err, size_t err_n)
{
	const struct addr *given = cfg->relay.addresses.items;
	const struct cfg_endpoint *listen = cfg->listen.items;

	ts->n_relay = 0;
	for (size_t i = 0; i < cfg->relay.addresses.n; i++)
		add_relay(ts, &given[i]);
	for (size_t i = 0; i < cfg->listen.n && !cfg->relay.addresses.n; i++)
		relay_for_listener(ts, &listen[i].at);
	if (ts->n_relay)
		return 0;
	snprintf(err, err_n, "found no address of this machine to relay from; name one: turn.relay.addresses: [192.0.2.10]");
	return -EADDRNOTAVAIL;
}
