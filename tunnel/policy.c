/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of prefixes are matched against the address that would really be reached (addr_canonical), so that no
 * spelling of it gets around them. A bucket is one atomic word, and any thread may take from it.
 * Nothing here keeps state of its own.
 */
#include "tunnel/policy.h"
#include <errno.h>
#include <netinet/tcp.h>
#include "common/dgram.h"
#include "common/stream.h"
#include "turn/rate.h"

enum { KEEP_IDLE_S = 60, KEEP_EVERY_S = 15, KEEP_COUNT = 4, UDP_BUFFER = 4 << 20 };

bool prefixes_hold(const struct cfg_list *prefixes, const struct addr *a)
{
	const struct prefix *p = prefixes->items;
	struct addr canonical = addr_canonical(a);

	for (size_t i = 0; i < prefixes->n; i++)
		if (prefix_contains(&p[i], &canonical))
			return true;
	return false;
}

bool prefixes_less(const struct cfg_list *was, const struct cfg_list *is)
{
	const struct prefix *old = was->items, *now = is->items;

	for (size_t i = 0; i < was->n; i++) {
		bool held = false;

		for (size_t k = 0; k < is->n && !held; k++)
			held = prefix_within(&old[i], &now[k]);
		if (!held)
			return true;
	}
	return false;
}

size_t bucket_room(const _Atomic uint64_t *spent_until, uint64_t rate, size_t want, uint64_t now_ms)
{
	uint64_t now = now_ms * RATE_NS_PER_MS;
	uint64_t until = atomic_load_explicit(spent_until, memory_order_relaxed);
	uint64_t ahead = until > now ? until - now : 0;

	if (ahead >= RATE_BURST_NS)
		return 0;
	return (size_t)MIN((uint64_t)want, rate_bytes(RATE_BURST_NS - ahead, rate));
}

void bucket_take(_Atomic uint64_t *spent_until, uint64_t rate, size_t n, uint64_t now_ms)
{
	uint64_t now = now_ms * RATE_NS_PER_MS, cost = rate_cost_ns(n, rate);
	uint64_t until = atomic_load_explicit(spent_until, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(spent_until, &until, MAX(until, now) + cost,
						      memory_order_relaxed, memory_order_relaxed))
		;
}

/* What accepted sockets inherit. */
static void set_up_tcp(int fd)
{
	static const struct {
		int level, name, v;
	} o[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEP_EVERY_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT },
	};

	for (size_t i = 0; i < ARRAY_LEN(o); i++)
		(void)setsockopt(fd, o[i].level, o[i].name, &o[i].v, sizeof(o[i].v));
}

int port_socket(const struct addr *at, const struct port_socket_options *o, int *ret_fd)
{
	int r;

	if (o->udp)
		return dgram_socket(at,
				    &(struct dgram_socket_options){ .reuseport = o->share,
								    .freebind = o->absent,
								    .gro = !o->single,
								    .v6only = true,
								    .pktinfo = addr_classify(at) ==
									       ADDR_UNSPECIFIED,
								    .rcvbuf = UDP_BUFFER,
								    .sndbuf = UDP_BUFFER },
				    ret_fd);
	r = stream_listen_socket(
		at,
		&(struct listen_options){ .reuseport = o->share, .freebind = o->absent, .v6only = true },
		ret_fd);
	if (r == 0)
		set_up_tcp(*ret_fd);
	return r;
}

const char *port_socket_advice(int error)
{
	switch (error) {
	case EADDRINUSE: return "; another program has this port, see: ss -lnp";
	case EACCES:
		return "; ports below 1024 need CAP_NET_BIND_SERVICE, which a service that root starts keeps";
	case EMFILE:
	case ENFILE: return "; raise LimitNOFILE of the service";
	default: return "";
	}
}
