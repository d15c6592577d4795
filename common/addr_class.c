/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an address means: the address that it really reaches, and the class of that one.
 *
 * Two tables of prefixes, the first that matches wins. They follow IANA's special-purpose
 * registries (RFC 6890); blocks in them that happen to be routed (AS112, the anycast addresses of
 * 192.0.0.0/24) count as reserved, since nobody is to be relayed there. In IPv6 only 2000::/3 is
 * given out as global unicast (RFC 4291 section 2.4), so whatever else has no row of its own is
 * reserved, too: that covers ::ffff:0:a.b.c.d (RFC 2765), the local NAT64 prefix 64:ff9b:1::/48
 * (RFC 8215) and 5f00::/16.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <string.h>
#include "common/addr.h"

static const struct {
	uint32_t net;
	uint8_t bits;
	uint8_t class;
} v4_rows[] = {
	/* clang-format off */
	{ 0xffffffff, 32, ADDR_BROADCAST },
	{ 0x00000000,  8, ADDR_UNSPECIFIED },
	{ 0x0a000000,  8, ADDR_PRIVATE },	/* 10/8 */
	{ 0x64400000, 10, ADDR_SHARED },	/* 100.64/10 */
	{ 0x7f000000,  8, ADDR_LOOPBACK },	/* 127/8 */
	{ 0xa9fe0000, 16, ADDR_LINK_LOCAL },	/* 169.254/16 */
	{ 0xac100000, 12, ADDR_PRIVATE },	/* 172.16/12 */
	{ 0xc0000000, 24, ADDR_RESERVED },	/* 192.0.0/24 IETF protocol assignments */
	{ 0xc0000200, 24, ADDR_DOCUMENTATION },	/* 192.0.2/24 */
	{ 0xc0586300, 24, ADDR_RESERVED },	/* 192.88.99/24 6to4 relay anycast */
	{ 0xc0a80000, 16, ADDR_PRIVATE },	/* 192.168/16 */
	{ 0xc6120000, 15, ADDR_RESERVED },	/* 198.18/15 benchmarking */
	{ 0xc6336400, 24, ADDR_DOCUMENTATION },	/* 198.51.100/24 */
	{ 0xcb007100, 24, ADDR_DOCUMENTATION },	/* 203.0.113/24 */
	{ 0xe0000000,  4, ADDR_MULTICAST },	/* 224/4 */
	{ 0xf0000000,  4, ADDR_RESERVED },	/* 240/4 */
	{ 0x00000000,  0, ADDR_GLOBAL },
	/* clang-format on */
};

/* No IPv6 row but loopback and unspecified needs more than its first 64 bits. */
static const struct {
	uint64_t net;
	uint8_t bits;
	uint8_t class;
} v6_rows[] = {
	/* clang-format off */
	{ 0xff00000000000000,  8, ADDR_MULTICAST },
	{ 0xfe80000000000000, 10, ADDR_LINK_LOCAL },
	{ 0xfec0000000000000, 10, ADDR_UNIQUE_LOCAL },	/* site-local, RFC 3879 */
	{ 0xfc00000000000000,  7, ADDR_UNIQUE_LOCAL },
	{ 0x20010db800000000, 32, ADDR_DOCUMENTATION },
	{ 0x3fff000000000000, 20, ADDR_DOCUMENTATION },	/* RFC 9637 */
	{ 0x2001000000000000, 23, ADDR_RESERVED },	/* IETF protocol assignments */
	{ 0x2000000000000000,  3, ADDR_GLOBAL },
	{ 0x0000000000000000,  0, ADDR_RESERVED },	/* never given out; 100::/64 */
	/* clang-format on */
};

/* Where an IPv6 address carries the IPv4 address that it leads to. */
static const struct {
	uint8_t net[12];
	uint8_t bytes; /* of net */
	uint8_t at;    /* of the IPv4 address */
	uint8_t flip;  /* its bytes are XORed with this */
} embedded_rows[] = {
	/* clang-format off */
	{ { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 12, 12, 0 },	/* mapped, RFC 4291 */
	{ { 0 }, 12, 12, 0 },						/* compatible */
	{ { 0x00, 0x64, 0xff, 0x9b }, 12, 12, 0 },			/* NAT64, RFC 6052 */
	{ { 0x20, 0x02 }, 2, 2, 0 },					/* 6to4, RFC 3056 */
	{ { 0x20, 0x01, 0x00, 0x00 }, 4, 12, 0xff },			/* Teredo client, 4380 */
	/* clang-format on */
};

/* :: and ::1 look like IPv4-compatible addresses, but are not. */
static bool is_v6_special(const uint8_t ip[16])
{
	static const uint8_t zero[15];
	return memcmp(ip, zero, sizeof zero) == 0 && ip[15] <= 1;
}

struct addr addr_canonical(const struct addr *a)
{
	if (addr_family(a) == AF_INET)
		return addr_v4(ntohl(a->in4.sin_addr.s_addr), addr_port(a));
	if (addr_family(a) != AF_INET6)
		return (struct addr){ 0 };
	const uint8_t *ip = a->in6.sin6_addr.s6_addr;
	if (is_v6_special(ip))
		return addr_v6(ip, addr_port(a));
	for (size_t i = 0; i < ARRAY_LEN(embedded_rows); i++) {
		uint32_t v4;
		if (memcmp(ip, embedded_rows[i].net, embedded_rows[i].bytes) != 0)
			continue;
		memcpy(&v4, ip + embedded_rows[i].at, sizeof v4);
		uint32_t flip = embedded_rows[i].flip * UINT32_C(0x01010101);
		return addr_v4(ntohl(v4) ^ flip, addr_port(a));
	}
	return addr_v6(ip, addr_port(a));
}

struct addr addr_source(const struct addr *a)
{
	struct addr s = addr_canonical(a);

	addr_set_port(&s, 0);
	if (addr_family(&s) == AF_INET6)
		memset(s.in6.sin6_addr.s6_addr + 8, 0, 8);
	return s;
}

static enum addr_class classify_v4(uint32_t ip)
{
	for (size_t i = 0; i < ARRAY_LEN(v4_rows); i++) {
		unsigned bits = v4_rows[i].bits;
		if (bits == 0 || (ip ^ v4_rows[i].net) >> (32 - bits) == 0)
			return v4_rows[i].class;
	}
	return ADDR_RESERVED; /* not reached: the last row takes all */
}

static enum addr_class classify_v6(const uint8_t ip[16])
{
	uint64_t head;
	if (is_v6_special(ip))
		return ip[15] ? ADDR_LOOPBACK : ADDR_UNSPECIFIED;
	memcpy(&head, ip, sizeof head);
	head = be64toh(head);
	for (size_t i = 0; i < ARRAY_LEN(v6_rows); i++) {
		unsigned bits = v6_rows[i].bits;
		if (bits == 0 || (head ^ v6_rows[i].net) >> (64 - bits) == 0)
			return v6_rows[i].class;
	}
	return ADDR_RESERVED; /* not reached */
}

enum addr_class addr_classify(const struct addr *a)
{
	struct addr c = addr_canonical(a);
	if (addr_family(&c) == AF_INET)
		return classify_v4(ntohl(c.in4.sin_addr.s_addr));
	if (addr_family(&c) == AF_INET6)
		return classify_v6(c.in6.sin6_addr.s6_addr);
	return ADDR_UNSPECIFIED;
}

const char *addr_class_name(enum addr_class c)
{
	static const char *const names[ADDR_CLASSES] = {
		[ADDR_GLOBAL] = "global",
		[ADDR_UNSPECIFIED] = "unspecified",
		[ADDR_LOOPBACK] = "loopback",
		[ADDR_LINK_LOCAL] = "link-local",
		[ADDR_PRIVATE] = "private (RFC 1918)",
		[ADDR_SHARED] = "carrier-grade NAT (RFC 6598)",
		[ADDR_UNIQUE_LOCAL] = "unique-local",
		[ADDR_MULTICAST] = "multicast",
		[ADDR_BROADCAST] = "broadcast",
		[ADDR_DOCUMENTATION] = "documentation",
		[ADDR_RESERVED] = "reserved",
	};
	return (unsigned)c < ADDR_CLASSES ? names[c] : "unknown";
}
