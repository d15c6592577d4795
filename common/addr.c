/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and prefixes as text and as sockaddrs; see addr.h. What an address means (its class,
 * its canonical form) is in addr_class.c.
 *
 * Parsing is strict and numeric: what inet_pton takes, a scope as a number and on link-local
 * addresses only, a port without leading zeroes. Whatever is printed here is parsed here to the
 * same address. The routing table is asked by a socket of its own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/addr.h"
#include "common/fd.h"

socklen_t addr_len(const struct addr *a)
{
	if (addr_family(a) == AF_INET)
		return sizeof(a->in4);
	return addr_family(a) == AF_INET6 ? sizeof(a->in6) : 0;
}

struct addr addr_v4(uint32_t host_order_ip, uint16_t port)
{
	struct addr a = { .in4 = { .sin_family = AF_INET, .sin_port = htons(port) } };
	a.in4.sin_addr.s_addr = htonl(host_order_ip);
	return a;
}

struct addr addr_v6(const uint8_t ip[16], uint16_t port)
{
	struct addr a = { .in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) } };
	memcpy(&a.in6.sin6_addr, ip, 16);
	return a;
}

int addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct addr *ret_a)
{
	struct addr a = { 0 };
	if (!sa || len < offsetof(struct sockaddr, sa_data))
		return -EINVAL;
	if (sa->sa_family != AF_INET && sa->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	a.sa.sa_family = sa->sa_family;
	if (len < addr_len(&a))
		return -EINVAL;
	memcpy(&a, sa, addr_len(&a));
	if (sa->sa_family == AF_INET)
		memset(a.in4.sin_zero, 0, sizeof a.in4.sin_zero);
	else
		a.in6.sin6_flowinfo = 0;
	*ret_a = a;
	return 0;
}

uint16_t addr_port(const struct addr *a)
{
	if (addr_family(a) == AF_INET)
		return ntohs(a->in4.sin_port);
	return addr_family(a) == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

void addr_set_port(struct addr *a, uint16_t port)
{
	if (addr_family(a) == AF_INET)
		a->in4.sin_port = htons(port);
	else if (addr_family(a) == AF_INET6)
		a->in6.sin6_port = htons(port);
}

const uint8_t *addr_ip(const struct addr *a, size_t *ret_n)
{
	*ret_n = addr_family(a) == AF_INET ? 4 : addr_family(a) == AF_INET6 ? 16 : 0;
	if (*ret_n == 4)
		return (const uint8_t *)&a->in4.sin_addr;
	return *ret_n == 16 ? (const uint8_t *)&a->in6.sin6_addr : NULL;
}

int addr_towards(const struct addr *to, struct addr *ret_own)
{
	struct addr own = { 0 };
	socklen_t n = sizeof own;
	_cleanup_(closep) int fd = socket(addr_family(to), SOCK_DGRAM | SOCK_CLOEXEC, 0);

	/* connect() on a datagram socket sends nothing */
	if (fd < 0 || connect(fd, &to->sa, addr_len(to)) < 0 || getsockname(fd, &own.sa, &n) < 0)
		return -errno;
	addr_set_port(&own, 0);
	*ret_own = own;
	return 0;
}

/* Copies t for the C functions that want a string; false if it is too long or holds a NUL. */
static bool to_string(struct text t, char *buf, size_t cap)
{
	if (t.n == 0 || t.n >= cap || text_find(t, 0) >= 0)
		return false;
	memcpy(buf, t.p, t.n);
	buf[t.n] = 0;
	return true;
}

/* A decimal number without leading zeroes, at most max. */
static int parse_number(struct text t, uint64_t max, uint64_t *ret_v)
{
	if ((t.n > 1 && t.p[0] == '0') || text_u64(t, ret_v) < 0 || *ret_v > max)
		return -EINVAL;
	return 0;
}

/* An address alone: no port, no brackets. */
static int parse_ip(struct text t, struct addr *ret_a)
{
	char buf[ADDR_STRLEN];
	struct text scope = t;
	struct text ip = text_cut(&scope, '%');
	struct addr a = { .in4 = { .sin_family = AF_INET } };
	if (!to_string(ip, buf, sizeof buf))
		return -EINVAL;
	if (!scope.p && inet_pton(AF_INET, buf, &a.in4.sin_addr) == 1) {
		*ret_a = a;
		return 0;
	}
	a = (struct addr){ .in6 = { .sin6_family = AF_INET6 } };
	if (inet_pton(AF_INET6, buf, &a.in6.sin6_addr) != 1)
		return -EINVAL;
	if (scope.p) {
		uint64_t v;
		if (!IN6_IS_ADDR_LINKLOCAL(&a.in6.sin6_addr) ||
		    parse_number(scope, UINT32_MAX, &v) < 0 || v == 0)
			return -EINVAL;
		a.in6.sin6_scope_id = (uint32_t)v;
	}
	*ret_a = a;
	return 0;
}

int addr_parse(struct text t, uint16_t default_port, struct addr *ret_a)
{
	struct text ip = t, port = { 0 };
	struct addr a;
	uint64_t v = default_port;
	bool brackets = t.n > 0 && t.p[0] == '[';
	if (brackets) {
		port = text_drop(t, 1);
		ip = text_cut(&port, ']');
		if (!port.p || (port.n > 0 && port.p[0] != ':'))
			return -EINVAL; /* no closing bracket, or something else behind it */
		port = port.n > 0 ? text_drop(port, 1) : (struct text){ 0 };
	} else if (text_find(t, '.') >= 0 && text_find(t, ':') > text_find(t, '.')) {
		port = t; /* "192.0.2.1:3478", but not "::ffff:192.0.2.1" */
		ip = text_cut(&port, ':');
	}
	if (parse_ip(ip, &a) < 0 || (brackets && addr_family(&a) != AF_INET6))
		return -EINVAL;
	if (port.p && parse_number(port, UINT16_MAX, &v) < 0)
		return -EINVAL;
	addr_set_port(&a, (uint16_t)v);
	*ret_a = a;
	return 0;
}

const char *addr_print_ip(const struct addr *a, char buf[static ADDR_STRLEN])
{
	struct sb b = sb_init(buf, ADDR_STRLEN);
	char ip[INET6_ADDRSTRLEN];
	size_t n;
	const uint8_t *bytes = addr_ip(a, &n);
	for (size_t i = 0; bytes && n == 4 && i < n; i++) { /* inet_ntop goes through printf */
		if (i)
			sb_char(&b, '.');
		sb_u64(&b, bytes[i], 1);
	}
	if (!bytes)
		sb_str(&b, "(none)");
	else if (n == 16)
		sb_str(&b, inet_ntop(addr_family(a), bytes, ip, sizeof ip));
	if (n == 16 && a->in6.sin6_scope_id != 0)
		sb_fmt(&b, "%%%u", (unsigned)a->in6.sin6_scope_id);
	return buf;
}

const char *addr_print(const struct addr *a, char buf[static ADDR_STRLEN])
{
	char ip[ADDR_STRLEN];
	struct sb b = sb_init(buf, ADDR_STRLEN);
	addr_print_ip(a, ip);
	if (addr_family(a) == AF_INET6)
		sb_fmt(&b, "[%s]:%u", ip, (unsigned)addr_port(a));
	else
		sb_str(&b, ip);
	if (addr_family(a) == AF_INET) {
		sb_char(&b, ':');
		sb_u64(&b, addr_port(a), 1);
	}
	return buf;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	size_t na, nb;
	const uint8_t *pa = addr_ip(a, &na), *pb = addr_ip(b, &nb);
	if (na != nb)
		return na < nb ? -1 : 1;
	int r = na > 0 ? memcmp(pa, pb, na) : 0;
	if (r != 0)
		return r < 0 ? -1 : 1;
	if (addr_port(a) != addr_port(b))
		return addr_port(a) < addr_port(b) ? -1 : 1;
	if (na == 16 && a->in6.sin6_scope_id != b->in6.sin6_scope_id)
		return a->in6.sin6_scope_id < b->in6.sin6_scope_id ? -1 : 1;
	return 0;
}

/* Writes what identifies the address to key: 4 + 2 or 16 + 2 + 4 bytes, or none. The length tells
 * the families apart, and the hash covers the length. */
enum { KEY_MAX = 22 };

static size_t put_key(const struct addr *a, uint8_t *key)
{
	if (addr_family(a) == AF_INET) {
		memcpy(key, &a->in4.sin_addr, 4);
		memcpy(key + 4, &a->in4.sin_port, 2);
		return 6;
	}
	if (addr_family(a) != AF_INET6)
		return 0;
	memcpy(key, &a->in6.sin6_addr, 16);
	memcpy(key + 16, &a->in6.sin6_port, 2);
	memcpy(key + 18, &a->in6.sin6_scope_id, 4);
	return KEY_MAX;
}

uint64_t addr_hash(const struct hash_seed *s, const struct addr *a)
{
	uint8_t key[KEY_MAX];
	return hash_bytes(s, key, put_key(a, key));
}

uint64_t addr_hash_ip(const struct hash_seed *s, const struct addr *a)
{
	size_t n;
	const uint8_t *ip = addr_ip(a, &n);
	return hash_bytes(s, ip, n);
}

uint64_t addr_hash_pair(const struct hash_seed *s, const struct addr *a, const struct addr *b)
{
	uint8_t key[1 + 2 * KEY_MAX];
	size_t n = put_key(a, key + 1);
	key[0] = (uint8_t)n; /* where the second one begins */
	return hash_bytes(s, key, 1 + n + put_key(b, key + 1 + n));
}

/* True if the first `bits` bits of both are equal. */
static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

int prefix_parse(struct text t, struct prefix *ret_p)
{
	struct text bits = t;
	struct text ip = text_cut(&bits, '/');
	struct prefix p;
	uint64_t v;
	size_t n;
	if (text_find(ip, '%') >= 0 || parse_ip(ip, &p.a) < 0)
		return -EINVAL;
	const uint8_t *bytes = addr_ip(&p.a, &n);
	v = n * 8;
	if (bits.p && parse_number(bits, n * 8, &v) < 0)
		return -EINVAL;
	p.bits = (uint8_t)v;
	for (size_t i = 0; i < n * 8; i++) /* host bits: a typing error more often than not */
		if (i >= v && (bytes[i / 8] & 0x80 >> i % 8))
			return -EINVAL;
	*ret_p = p;
	return 0;
}

const char *prefix_print(const struct prefix *p, char buf[static PREFIX_STRLEN])
{
	char ip[ADDR_STRLEN];
	struct sb b = sb_init(buf, PREFIX_STRLEN);
	addr_print_ip(&p->a, ip);
	sb_str(&b, ip);
	sb_fmt(&b, "/%u", p->bits);
	return buf;
}

bool prefix_contains(const struct prefix *p, const struct addr *a)
{
	size_t np, na;
	const uint8_t *bp = addr_ip(&p->a, &np), *ba = addr_ip(a, &na);
	return np == na && np > 0 && p->bits <= np * 8 && same_bits(bp, ba, p->bits);
}

bool prefix_within(const struct prefix *p, const struct prefix *outer)
{
	return outer->bits <= p->bits && prefix_contains(outer, &p->a);
}
