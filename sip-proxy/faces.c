/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faces: what the core knows as interfaces. A listener on one address has one; a wildcard listener has one for each of
 * the machine's addresses that was used, made when it is. Here is also by which one a message leaves, by the
 * routing table's word, and whether an address and port is ours.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "sip-proxy/edge_priv.h"

enum { ROUTE_MS = 1000, OWN_MS = 2000 };

/* ---- the machine's addresses ---- */

static void read_own(struct sip_edge *e)
{
	struct ifaddrs *list;

	if (e->own_at && loop_now(e->loop) - e->own_at < OWN_MS)
		return;
	e->own_at = loop_now(e->loop);
	if (getifaddrs(&list) < 0)
		return;
	e->n_own = 0;
	for (struct ifaddrs *i = list; i && e->n_own < SIP_FACES_MAX; i = i->ifa_next)
		if (i->ifa_addr &&
		    (i->ifa_addr->sa_family == AF_INET || i->ifa_addr->sa_family == AF_INET6) &&
		    addr_from_sockaddr(i->ifa_addr, sizeof(struct sockaddr_in6), &e->own[e->n_own]) == 0)
			e->n_own++;
	freeifaddrs(list);
}

/* ---- faces ---- */

void sip_face_name(struct sip_face *f)
{
	const struct sip_listener *l = f->listener;
	struct text host, rest = text_of(l->advertise);
	enum sip_host_kind kind;
	uint16_t port = 0;
	char at[ADDR_STRLEN], own[SIP_SENT_BY_MAX];

	f->pub.mutual = l->mutual;
	f->pub.lan = l->lan;
	f->pub.federation = l->federation;
	f->pub.removed = l->removed;
	if (!l->advertise[0] || sip_hostport_parse(&rest, &host, &kind, &port) < 0) {
		(void)snprintf(own, sizeof(own), "%s", addr_print(&f->pub.at, at));
	} else {
		bool v6 = kind == SIP_HOST_IPV6;
		(void)snprintf(own, sizeof(own), "%s%.*s%s:%u", v6 ? "[" : "",
			       (int)MIN(host.n, (size_t)255), host.p, v6 ? "]" : "",
			       port ? port : addr_port(&l->at));
	}
	memcpy(f->pub.sent_by, own, sizeof(own));
}

/* One that was removed and has connections still may have been added again since: then it is the new one. */
static struct sip_face *find(struct sip_edge *e, uint32_t id)
{
	struct sip_face *gone = NULL;

	list_for_each (it, &e->listeners) {
		struct sip_listener *l = list_entry(it, struct sip_listener, node);
		list_for_each (n, &l->faces) {
			struct sip_face *f = list_entry(n, struct sip_face, node);
			if (f->pub.id == id && !f->pub.removed)
				return f;
			if (f->pub.id == id)
				gone = f;
		}
	}
	return gone;
}

/*
 * The number of an interface follows from its transport and address, so that what remembers it (a token in a route set, a
 * binding in the store) means the same one after a restart, and never another one. Should two have the same number,
 * the later one takes the next (number_of()).
 */
static uint32_t first_number(enum sip_proto proto, const struct addr *at)
{
	static const struct hash_seed seed = { 0x5374696c65207369, 0x70206661636573 };
	uint64_t h = addr_hash(&seed, at) + proto;

	return (uint32_t)(h ^ h >> 32);
}

static uint32_t number_of(struct sip_edge *e, enum sip_proto proto, const struct addr *at)
{
	for (uint32_t id = first_number(proto, at);; id++) {
		const struct sip_face *f = id ? find(e, id) : NULL;
		if (id && (!f || (f->pub.proto == proto && addr_equal(&f->pub.at, at))))
			return id;
	}
}

static struct sip_face *used(struct sip_face *f)
{
	list_unlink(&f->node);
	list_append(&f->listener->faces, &f->node);
	return f;
}

/* Addresses come and go over the years: the one that was used longest ago gives way. Should it be used again, it has the same number. */
static bool make_room(struct sip_listener *l)
{
	if (l->n_faces < SIP_FACES_MAX)
		return true;
	list_for_each (it, &l->faces) {
		struct sip_face *f = list_entry(it, struct sip_face, node);
		if (f->n_conns)
			continue;
		list_unlink(&f->node);
		free(f);
		l->n_faces--;
		return true;
	}
	return false;
}

struct sip_face *sip_face_at(struct sip_listener *l, const struct addr *local)
{
	struct addr at = *local;
	struct sip_face *f;

	addr_set_port(&at, addr_port(&l->at));
	list_for_each (it, &l->faces) {
		f = list_entry(it, struct sip_face, node);
		if (addr_equal(&f->pub.at, &at))
			return used(f);
	}
	if (addr_family(&at) == AF_UNSPEC || !make_room(l))
		return NULL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->listener = l;
	f->pub = (struct sip_interface){ .id = number_of(l->edge, l->transport->proto, &at),
					 .proto = l->transport->proto,
					 .at = at };
	sip_face_name(f);
	l->n_faces++;
	list_append(&l->faces, &f->node);
	return f;
}

/* Of a wildcard listener, for an address of this machine that was not used yet since the start: what remembers it (a binding in
 * the store, a call) is older. */
static struct sip_face *remembered(struct sip_edge *e, uint32_t id)
{
	read_own(e);
	list_for_each (it, &e->listeners) {
		struct sip_listener *l = list_entry(it, struct sip_listener, node);
		for (unsigned i = 0; l->wildcard && !l->removed && i < e->n_own; i++) {
			struct addr at = e->own[i];
			addr_set_port(&at, addr_port(&l->at));
			if (addr_family(&at) == addr_family(&l->at) && first_number(l->transport->proto, &at) == id)
				return sip_face_at(l, &at);
		}
	}
	return NULL;
}

struct sip_face *sip_face_by_id(struct sip_edge *e, uint32_t id)
{
	struct sip_face *f = find(e, id);

	return f ? used(f) : id ? remembered(e, id) : NULL;
}

/* ---- which one to leave by ---- */

/* Our address on the way to there, as the routing table says: remembered for a moment. */
static const struct addr *source_for(struct sip_edge *e, const struct addr *to)
{
	struct sip_route *r = &e->routes[addr_hash_ip(&e->seed, to) % SIP_ROUTES_CACHED];
	uint64_t now = loop_now(e->loop);
	bool v6 = addr_family(to) == AF_INET6;
	int fd = e->route_fd[v6];
	socklen_t n = sizeof(r->from);
	struct addr there = *to;

	if (r->until > now && addr_equal_ip(&r->to, to))
		return &r->from;
	if (fd < 0)
		fd = e->route_fd[v6] =
			socket(addr_family(to), SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (!addr_port(&there))
		addr_set_port(&there, 9);
	(void)connect(fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr));
	if (fd < 0 || connect(fd, &there.sa, addr_len(&there)) < 0 ||
	    getsockname(fd, &r->from.sa, &n) < 0) {
		r->until = 0;
		return NULL;
	}
	r->to = *to;
	r->until = now + ROUTE_MS;
	return &r->from;
}

static bool serves(const struct sip_listener *l, const struct sip_target *to)
{
	return !l->removed && l->transport->proto == to->hop.proto &&
	       addr_family(&l->at) == addr_family(&to->hop.remote);
}

/* The better, the higher: the listener that has the system's address for the way, then a wildcard, then any; for a
 * mutual target one with mutual TLS, for a partner that of the federation. 0: it cannot. */
static int rank(const struct sip_listener *l, const struct sip_target *to, const struct addr *source)
{
	int r = 1;

	if (!serves(l, to))
		return 0;
	if (l->wildcard && !source)
		return 0;
	if (l->wildcard)
		r += 2;
	else if (source && addr_equal_ip(&l->at, source))
		r += 4;
	else if (addr_classify(&l->at) == ADDR_LOOPBACK && addr_classify(&to->hop.remote) != ADDR_LOOPBACK)
		return 0; /* nothing gets away from there */
	if (l->mutual == to->mutual)
		r += 8;
	if (l->federation == to->federation)
		r += 16;
	return r;
}

struct sip_face *sip_face_for(struct sip_edge *e, const struct sip_target *to)
{
	struct sip_face *f = to->hop.iface ? sip_face_by_id(e, to->hop.iface) : NULL;
	struct sip_listener *best = NULL;
	const struct addr *source;
	int best_rank = 0;

	if (f && f->pub.proto == to->hop.proto && addr_family(&f->pub.at) == addr_family(&to->hop.remote))
		return f;
	source = source_for(e, &to->hop.remote);
	list_for_each (it, &e->listeners) {
		struct sip_listener *l = list_entry(it, struct sip_listener, node);
		int r = rank(l, to, source);
		if (r > best_rank) {
			best_rank = r;
			best = l;
		}
	}
	if (!best)
		return NULL;
	return sip_face_at(best, best->wildcard ? source : &best->at);
}

uint32_t sip_edge_interface_at(struct sip_edge *e, enum sip_proto proto, bool mutual,
			       const struct addr *ip)
{
	struct sip_face *f = NULL;

	list_for_each (it, &e->listeners) {
		struct sip_listener *l = list_entry(it, struct sip_listener, node);
		if (l->removed || l->transport->proto != proto ||
		    addr_family(&l->at) != addr_family(ip) ||
		    !(l->wildcard || addr_equal_ip(&l->at, ip)))
			continue;
		if (!f || l->mutual == mutual)
			f = sip_face_at(l, ip);
	}
	return f ? f->pub.id : 0;
}

uint32_t sip_edge_lan_interface(struct sip_edge *e, enum sip_proto proto, bool mutual)
{
	struct sip_face *f = NULL;

	list_for_each (it, &e->listeners) {
		struct sip_listener *l = list_entry(it, struct sip_listener, node);
		if (l->lan && !l->removed && !l->wildcard && l->transport->proto == proto &&
		    (!f || l->mutual == mutual))
			f = sip_face_at(l, &l->at);
	}
	return f ? f->pub.id : 0;
}

uint32_t sip_edge_interface_like(struct sip_edge *e, const struct sip_interface *like)
{
	struct sip_listener *best = NULL;
	struct sip_face *f;
	int best_rank = 0;

	list_for_each (it, &e->listeners) {
		struct sip_listener *l = list_entry(it, struct sip_listener, node);
		int r = 1 + 2 * (l->mutual == like->mutual) + 4 * (l->federation == like->federation);
		if (!l->removed && l->transport->proto == like->proto && l->lan == like->lan &&
		    r > best_rank) {
			best_rank = r;
			best = l;
		}
	}
	f = !best			? NULL
	    : !list_empty(&best->faces) ? list_entry(best->faces.prev, struct sip_face, node)
					: sip_face_at(best, &best->at);
	return f ? f->pub.id : 0;
}

/* ---- is it us? ---- */

static bool is_own(struct sip_edge *e, const struct addr *a)
{
	if (addr_classify(a) == ADDR_LOOPBACK) /* all of 127/8 */
		return true;
	read_own(e);
	for (unsigned i = 0; i < e->n_own; i++)
		if (addr_equal_ip(&e->own[i], a))
			return true;
	return false;
}

/* Does what is sent to this address come to a listener ? To 0.0.0.0 it comes to this machine, to a group
 * (all-hosts) or a broadcast address to each socket that is bound to no address. */
static bool comes_to(struct sip_edge *e, const struct sip_listener *l, const struct addr *a)
{
	enum addr_class class = addr_classify(a);

	if (class == ADDR_UNSPECIFIED)
		return true;
	if (!l->wildcard)
		return addr_equal_ip(a, &l->at);
	return class == ADDR_MULTICAST || class == ADDR_BROADCAST || is_own(e, a);
}

static bool advertises(const struct sip_listener *l, struct text host, uint16_t port)
{
	struct text rest = text_of(l->advertise), own;
	enum sip_host_kind kind;
	uint16_t own_port = 0;

	if (!l->advertise[0] || sip_hostport_parse(&rest, &own, &kind, &own_port) < 0)
		return false;
	if (!own_port)
		own_port = addr_port(&l->at);
	return text_ieq(own, host) &&
	       own_port == (port ? port : sip_proto_rows[l->transport->proto].port);
}

bool sip_listeners_are(struct sip_edge *e, struct text host, uint16_t port)
{
	struct addr a;
	bool literal = addr_parse(host, 0, &a) == 0;

	if (literal)
		a = addr_canonical(&a); /* an IPv4 address in IPv6's clothes */
	list_for_each (it, &e->listeners) {
		const struct sip_listener *l = list_entry(it, struct sip_listener, node);
		uint16_t wanted = port ? port : sip_proto_rows[l->transport->proto].port;

		if (advertises(l, host, port))
			return true;
		if (literal && wanted == addr_port(&l->at) &&
		    addr_family(&a) == addr_family(&l->at) && comes_to(e, l, &a))
			return true;
	}
	return false;
}
