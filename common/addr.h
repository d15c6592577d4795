/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transport addresses and prefixes, IPv4 and IPv6: parse, print, compare, hash, classify,
 * canonicalise.
 *
 * A struct addr is a sockaddr that can be handed to the kernel as it is. An IPv4 address inside an
 * IPv6 one (mapped, compatible, NAT64 64:ff9b::/96, 6to4, Teredo) hides its real target from a rule
 * list; addr_canonical() brings every spelling to the address that would really be reached, so
 * that a rule is matched once, against one form (RFC 6890, RFC 4291 2.5.5, 6052, 3056, 4380).
 */
#pragma once
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include "common/hash.h"
#include "common/text.h"

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	};
};

#define ADDR_STRLEN 64 /* "[v6%scope]:port" with NUL */

static inline sa_family_t addr_family(const struct addr *a) /* AF_UNSPEC if unset */
{
	return a->sa.sa_family;
}
socklen_t addr_len(const struct addr *a); /* of the sockaddr */
struct addr addr_v4(uint32_t host_order_ip, uint16_t port);
struct addr addr_v6(const uint8_t ip[16], uint16_t port);
int addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct addr *ret_a);
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
const uint8_t *addr_ip(const struct addr *a, size_t *ret_n); /* 4 or 16 bytes, network order */

/* "192.0.2.1", "192.0.2.1:3478", "2001:db8::1", "[2001:db8::1]:3478"; numeric only.
 * Without a port, default_port is set. 0 or -EINVAL. */
int addr_parse(struct text t, uint16_t default_port, struct addr *ret_a);
const char *addr_print(const struct addr *a, char buf[static ADDR_STRLEN]); /* with port */
/* Without port and brackets. */
const char *addr_print_ip(const struct addr *a, char buf[static ADDR_STRLEN]);

/* Family, address, port, and the scope (which only the kernel's link-local addresses carry). */
static inline bool addr_equal(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in4.sin_port == b->in4.sin_port &&
		       a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
	if (a->sa.sa_family == AF_INET6)
		return a->in6.sin6_port == b->in6.sin6_port &&
		       a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
		       memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
	return true; /* both unset */
}
/* Family and address; a peer's address from the wire has no scope, so it does not count. */
static inline bool addr_equal_ip(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
	return a->sa.sa_family != AF_INET6 || memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
}
/* Of ours: the one that packets to that one leave from, as the routing table says. Its port is 0. 0 or -errno: there is no way. */
int addr_towards(const struct addr *to, struct addr *ret_own);

/* Total order, for sorting; 0 if addr_equal. */
int addr_compare(const struct addr *a, const struct addr *b);

/* Hashes of what addr_equal and addr_equal_ip compare, and of a pair of addresses (a five-tuple
 * without its protocol). */
uint64_t addr_hash(const struct hash_seed *s, const struct addr *a);
uint64_t addr_hash_ip(const struct hash_seed *s, const struct addr *a);
uint64_t addr_hash_pair(const struct hash_seed *s, const struct addr *a, const struct addr *b);

/* The address that is really meant: ::ffff:a.b.c.d, ::a.b.c.d, 64:ff9b::/96, 2002::/16 and
 * 2001:0::/32 (the client's address, un-obfuscated) become IPv4; all else is kept, :: and ::1 too.
 * Scope and flow label are dropped. The port stays. */
struct addr addr_canonical(const struct addr *a);
/* Whom one at this address is counted as where each source has a limit: canonical, without a port, of IPv6 the /64, which is one
 * customer's (or more of him). */
struct addr addr_source(const struct addr *a);

enum addr_class {
	ADDR_GLOBAL,
	ADDR_UNSPECIFIED,   /* 0.0.0.0/8, :: */
	ADDR_LOOPBACK,	    /* 127/8, ::1 */
	ADDR_LINK_LOCAL,    /* 169.254/16, fe80::/10 */
	ADDR_PRIVATE,	    /* RFC 1918 */
	ADDR_SHARED,	    /* CGNAT 100.64/10 (RFC 6598) */
	ADDR_UNIQUE_LOCAL,  /* fc00::/7, and site-local fec0::/10 */
	ADDR_MULTICAST,	    /* 224/4, ff00::/8 */
	ADDR_BROADCAST,	    /* 255.255.255.255 */
	ADDR_DOCUMENTATION, /* 192.0.2/24, 198.51.100/24, 203.0.113/24, 2001:db8::/32, 3fff::/20 */
	/* 192.0.0/24, 192.88.99/24, 198.18/15, 240/4, 2001::/23, IPv6 outside 2000::/3 */
	ADDR_RESERVED,
	ADDR_CLASSES
};
enum addr_class addr_classify(const struct addr *a); /* canonicalises first */
const char *addr_class_name(enum addr_class c);	     /* "loopback", "private (RFC 1918)" … */

struct prefix {
	struct addr a; /* host bits zero, port 0 */
	uint8_t bits;
};
#define PREFIX_STRLEN 64
/* "10.0.0.0/8", "2001:db8::/32", or a bare address (full length). Host bits set: -EINVAL. */
int prefix_parse(struct text t, struct prefix *ret_p);
const char *prefix_print(const struct prefix *p, char buf[static PREFIX_STRLEN]);
/* Compares bits only; the caller canonicalises first. Families never match each other. */
bool prefix_contains(const struct prefix *p, const struct addr *a);
bool prefix_within(const struct prefix *p, const struct prefix *outer); /* all of it */
