/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses (common/addr.h): text both ways, comparison and hashing, the canonical form of every
 * spelling that hides an IPv4 address, and each class at both of its ends. The tables of classes
 * leave no gap, so that an address that changes its class is seen here.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "common/addr.h"
#include "common/bytes.h"

static struct addr parse(const char *s)
{
	struct addr a;
	if (addr_parse(text_of(s), 0, &a) != 0)
		fail_msg("'%s' does not parse", s);
	return a;
}

static void assert_prints(const struct addr *a, const char *want)
{
	char buf[ADDR_STRLEN];
	assert_string_equal(addr_print(a, buf), want);
}

static void text_is_parsed_and_printed(void **state)
{
	static const char *const rows[][3] = {
		/* given, with port, address alone */
		{ "192.0.2.1", "192.0.2.1:3478", "192.0.2.1" },
		{ "192.0.2.1:1", "192.0.2.1:1", "192.0.2.1" },
		{ "192.0.2.1:0", "192.0.2.1:0", "192.0.2.1" },
		{ "0.0.0.0:65535", "0.0.0.0:65535", "0.0.0.0" },
		{ "2001:db8::1", "[2001:db8::1]:3478", "2001:db8::1" },
		{ "[2001:DB8::1]:443", "[2001:db8::1]:443", "2001:db8::1" },
		{ "[2001:db8::1]", "[2001:db8::1]:3478", "2001:db8::1" },
		{ "2001:db8::1:443", "[2001:db8::1:443]:3478", "2001:db8::1:443" },
		{ "::", "[::]:3478", "::" },
		{ "[::]:0", "[::]:0", "::" },
		{ "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:3478", "::ffff:192.0.2.1" },
		{ "[::ffff:192.0.2.1]:5", "[::ffff:192.0.2.1]:5", "::ffff:192.0.2.1" },
		{ "fe80::1%2", "[fe80::1%2]:3478", "fe80::1%2" },
		{ "[fe80::1%4294967295]:5", "[fe80::1%4294967295]:5", "fe80::1%4294967295" },
		{ "febf:1111:2222:3333:4444:5555:6666:7777%4294967295",
		  "[febf:1111:2222:3333:4444:5555:6666:7777%4294967295]:3478",
		  "febf:1111:2222:3333:4444:5555:6666:7777%4294967295" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct addr a, b;
		char buf[ADDR_STRLEN];
		if (addr_parse(text_of(rows[i][0]), 3478, &a) != 0)
			fail_msg("'%s' does not parse", rows[i][0]);
		assert_prints(&a, rows[i][1]);
		assert_string_equal(addr_print_ip(&a, buf), rows[i][2]);
		b = parse(rows[i][1]);
		assert_true(addr_equal(&a, &b));
	}
}

static void what_is_not_an_address_is_refused(void **state)
{
	static const struct text rows[] = {
		TEXT(""),
		TEXT(" "),
		TEXT("localhost"),
		TEXT("1.2.3"),
		TEXT("1.2.3.4.5"),
		TEXT("1.2.3.256"),
		TEXT("01.2.3.4"),
		TEXT("1.2.3.4:"),
		TEXT("1.2.3.4:65536"),
		TEXT("1.2.3.4:01"),
		TEXT("1.2.3.4:+1"),
		TEXT("1.2.3.4:-1"),
		TEXT("1.2.3.4: 1"),
		TEXT("1.2.3.4:1:2"),
		TEXT("1.2.3.4 "),
		TEXT(" 1.2.3.4"),
		TEXT("1.2.3.4\0"),
		TEXT("1.2.3.4\0:5"),
		TEXT("0x7f.0.0.1"),
		TEXT("2130706433"),
		TEXT("127.1"),
		TEXT("[1.2.3.4]:5"),
		TEXT("[1.2.3.4]"),
		TEXT("[::1"),
		TEXT("::1]"),
		TEXT("[::1]5"),
		TEXT("[::1]:"),
		TEXT("[::1]:65536"),
		TEXT("[::1]::5"),
		TEXT("[]:5"),
		TEXT("[[::1]]:5"),
		TEXT(":::"),
		TEXT("1::2::3"),
		TEXT("12345::"),
		TEXT("1:2:3:4:5:6:7"),
		TEXT("1:2:3:4:5:6:7:8:9"),
		TEXT("::1%1"),
		TEXT("fe80::1%"),
		TEXT("fe80::1%0"),
		TEXT("fe80::1%01"),
		TEXT("fe80::1%eth0"),
		TEXT("fe80::1%4294967296"),
		TEXT("1.2.3.4%1"),
		TEXT("fe80::1%1%1"),
		TEXT("::1\0"),
		TEXT(":5"),
		TEXT(":"),
		TEXT("::ffff:1.2.3.4:5"),
		TEXT("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff:0000:1111:2222:3333:4444:5555:6666:7777:8888"),
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct addr a = addr_v4(0x01020304, 5), before = a;
		if (addr_parse(rows[i], 1, &a) != -EINVAL)
			fail_msg("row %zu '%.*s' was taken", i, TEXT_FMT(rows[i]));
		assert_memory_equal(&a, &before, sizeof a);
	}
}

static void a_sockaddr_is_checked_and_cleaned(void **state)
{
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(7), .sin6_flowinfo = 99, .sin6_scope_id = 3
	};
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(7) };
	struct sockaddr_storage un = { .ss_family = AF_UNIX };
	struct addr a = { 0 };
	(void)state;
	in6.sin6_addr.s6_addr[15] = 1;
	memset(in4.sin_zero, 0xee, sizeof in4.sin_zero);
	assert_int_equal(addr_from_sockaddr((void *)&in6, sizeof in6 - 1, &a), -EINVAL);
	assert_int_equal(addr_from_sockaddr((void *)&in4, sizeof in4 - 1, &a), -EINVAL);
	assert_int_equal(addr_from_sockaddr((void *)&in4, 1, &a), -EINVAL);
	assert_int_equal(addr_from_sockaddr(NULL, 0, &a), -EINVAL);
	assert_int_equal(addr_from_sockaddr((void *)&un, sizeof un, &a), -EAFNOSUPPORT);
	assert_int_equal(addr_family(&a), AF_UNSPEC);
	assert_int_equal(addr_from_sockaddr((void *)&in6, sizeof in6, &a), 0);
	assert_int_equal(a.in6.sin6_flowinfo, 0);
	assert_int_equal(a.in6.sin6_scope_id, 3);
	assert_int_equal(addr_len(&a), sizeof in6);
	assert_int_equal(addr_from_sockaddr((void *)&in4, sizeof(struct sockaddr_storage), &a), 0);
	assert_int_equal(a.in4.sin_zero[0], 0);
	assert_int_equal(addr_len(&a), sizeof in4);
}

static void an_unset_address_is_harmless_everywhere(void **state)
{
	struct addr a = { 0 }, v4 = addr_v4(0, 0);
	const struct hash_seed seed = { 1, 2 };
	size_t n = 9;
	(void)state;
	assert_int_equal(addr_len(&a), 0);
	assert_int_equal(addr_port(&a), 0);
	addr_set_port(&a, 5);
	assert_int_equal(addr_port(&a), 0);
	assert_null(addr_ip(&a, &n));
	assert_int_equal(n, 0);
	assert_prints(&a, "(none)");
	assert_false(addr_equal(&a, &v4));
	assert_true(addr_equal(&a, &a));
	assert_true(addr_compare(&a, &v4) < 0);
	assert_true(addr_hash(&seed, &a) != addr_hash(&seed, &v4));
	addr_hash_ip(&seed, &a);
	assert_int_equal(addr_classify(&a), ADDR_UNSPECIFIED);
	struct addr c = addr_canonical(&a);
	assert_int_equal(addr_family(&c), AF_UNSPEC);
	struct prefix p = { 0 };
	assert_false(prefix_contains(&p, &a));
}

static void parts_are_read_and_the_port_is_set(void **state)
{
	static const uint8_t ip[16] = { 0x20, 1, 0xd, 0xb8, [15] = 9 };
	struct addr a = addr_v4(0xc0000201, 80), b = addr_v6(ip, 81);
	size_t n;
	(void)state;
	assert_memory_equal(addr_ip(&a, &n), "\xc0\x00\x02\x01", 4);
	assert_int_equal(n, 4);
	assert_memory_equal(addr_ip(&b, &n), ip, 16);
	assert_int_equal(n, 16);
	addr_set_port(&a, 65535);
	addr_set_port(&b, 1);
	assert_prints(&a, "192.0.2.1:65535");
	assert_prints(&b, "[2001:db8::9]:1");
	assert_int_equal(addr_port(&a), 65535);
	assert_int_equal(addr_port(&b), 1);
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

static void equality_order_and_hashes_agree(void **state)
{
	/* in ascending order */
	static const char *const rows[] = { "0.0.0.0:0",   "0.0.0.0:1",	    "1.2.3.4:256",
					    "1.2.3.4:257", "200.1.1.1:1",   "[::]:0",
					    "[::1]:5",	   "[::1:0]:1",	    "[::1:0]:500",
					    "[fe80::1]:9", "[fe80::1%1]:9", "[fe80::1%2]:9" };
	const struct hash_seed seed = { 3, 4 };
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t j = 0; j < ARRAY_LEN(rows); j++) {
			struct addr a = parse(rows[i]), b = parse(rows[j]);
			memset((char *)&b + addr_len(&b), 0xee, sizeof b - addr_len(&b));
			if (addr_family(&b) == AF_INET)
				memset(b.in4.sin_zero, 0xee, sizeof b.in4.sin_zero); /* must not count */
			else
				b.in6.sin6_flowinfo = 77;
			assert_int_equal(sign(addr_compare(&a, &b)), (i > j) - (i < j));
			assert_int_equal(addr_equal(&a, &b), i == j);
			assert_int_equal(addr_hash(&seed, &a) == addr_hash(&seed, &b), i == j);
			assert_int_equal(addr_hash_pair(&seed, &a, &b) == addr_hash_pair(&seed, &b, &a),
					 i == j);
			assert_int_equal(addr_equal_ip(&a, &b),
					 addr_hash_ip(&seed, &a) == addr_hash_ip(&seed, &b));
		}
	}
	struct addr a = parse("[fe80::1%1]:9"), b = parse("[fe80::1]:10"), c = parse("1.2.3.4:1"),
		    d = parse("1.2.3.4");
	assert_true(addr_equal_ip(&a, &b)); /* neither port nor scope */
	assert_true(addr_equal_ip(&c, &d));
	assert_false(addr_equal_ip(&a, &c));
}

/* Advisory: embedded IPv4. */
static void every_spelling_leads_to_the_address_really_meant(void **state)
{
	static const char *const rows[][2] = {
		{ "127.0.0.1", "127.0.0.1" },
		{ "::ffff:127.0.0.1", "127.0.0.1" },
		{ "::ffff:7f00:1", "127.0.0.1" },
		{ "::127.0.0.1", "127.0.0.1" },
		{ "::7f00:1", "127.0.0.1" },
		{ "64:ff9b::7f00:1", "127.0.0.1" },
		{ "64:ff9b::10.1.2.3", "10.1.2.3" },
		{ "2002:7f00:1::", "127.0.0.1" },
		{ "2002:7f00:1::1", "127.0.0.1" },
		{ "2002:c0a8:101:ffff:1:2:3:4", "192.168.1.1" },
		{ "2002:a00:1:7f00:1::", "10.0.0.1" }, /* bytes 2 to 5 count, not what follows */
		/* Teredo: server 65.54.227.120, flags, port, client flipped (RFC 4380 section 4) */
		{ "2001:0:4136:e378:8000:63bf:80ff:fffe", "127.0.0.1" },
		{ "2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45" },
		{ "2001:0:7f00:1:8000:63bf:f5ff:fffe", "10.0.0.1" },
		{ "2001::ffff:ffff", "0.0.0.0" },
		{ "2001::", "255.255.255.255" },
		{ "::ffff:0.0.0.0", "0.0.0.0" },
		{ "::ffff:0.0.0.1", "0.0.0.1" },
		{ "64:ff9b::", "0.0.0.0" },
		{ "2002::", "0.0.0.0" },
		{ "::2", "0.0.0.2" },
		/* what only looks like one of them stays */
		{ "::", "::" },
		{ "::1", "::1" },
		{ "::1:0:0", "::1:0:0" },
		{ "::fffe:127.0.0.1", "::fffe:7f00:1" },
		{ "::ffff:0:127.0.0.1", "::ffff:0:7f00:1" },
		{ "0:0:0:0:1:ffff:7f00:1", "::1:ffff:7f00:1" },
		{ "64:ff9b:1::7f00:1", "64:ff9b:1::7f00:1" },
		{ "64:ff9b::1:7f00:1", "64:ff9b::1:7f00:1" },
		{ "65:ff9b::7f00:1", "65:ff9b::7f00:1" },
		{ "2003:7f00:1::", "2003:7f00:1::" },
		{ "2001:1::80ff:fffe", "2001:1::80ff:fffe" },
		{ "2001:db8::1", "2001:db8::1" },
		{ "fe80::1%7", "fe80::1" }, /* the scope is dropped */
		{ "fe80::5efe:127.0.0.1", "fe80::5efe:7f00:1" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct addr a = parse(rows[i][0]), want = parse(rows[i][1]);
		addr_set_port(&a, 4711);
		addr_set_port(&want, 4711);
		struct addr c = addr_canonical(&a), again = addr_canonical(&c);
		if (!addr_equal(&c, &want))
			fail_msg("'%s' does not become '%s'", rows[i][0], rows[i][1]);
		assert_memory_equal(&c, &want, sizeof c); /* no leftovers in unused fields */
		assert_memory_equal(&again, &c, sizeof c);
	}
	struct addr a = parse("2001:db8::1");
	a.in6.sin6_flowinfo = 5;
	a.in6.sin6_scope_id = 6;
	a = addr_canonical(&a);
	assert_int_equal(a.in6.sin6_flowinfo | a.in6.sin6_scope_id, 0);
}

struct class_row {
	const char *first, *last; /* both ends of a block; what is beside it has a row of its own */
	enum addr_class class;
};

static const struct class_row v4_blocks[] = {
	/* without a gap, from 0.0.0.0 to the end */
	{ "0.0.0.0", "0.255.255.255", ADDR_UNSPECIFIED },
	{ "1.0.0.0", "9.255.255.255", ADDR_GLOBAL },
	{ "10.0.0.0", "10.255.255.255", ADDR_PRIVATE },
	{ "11.0.0.0", "100.63.255.255", ADDR_GLOBAL },
	{ "100.64.0.0", "100.127.255.255", ADDR_SHARED },
	{ "100.128.0.0", "126.255.255.255", ADDR_GLOBAL },
	{ "127.0.0.0", "127.255.255.255", ADDR_LOOPBACK },
	{ "128.0.0.0", "169.253.255.255", ADDR_GLOBAL },
	{ "169.254.0.0", "169.254.255.255", ADDR_LINK_LOCAL },
	{ "169.255.0.0", "172.15.255.255", ADDR_GLOBAL },
	{ "172.16.0.0", "172.31.255.255", ADDR_PRIVATE },
	{ "172.32.0.0", "191.255.255.255", ADDR_GLOBAL },
	{ "192.0.0.0", "192.0.0.255", ADDR_RESERVED },
	{ "192.0.1.0", "192.0.1.255", ADDR_GLOBAL },
	{ "192.0.2.0", "192.0.2.255", ADDR_DOCUMENTATION },
	{ "192.0.3.0", "192.88.98.255", ADDR_GLOBAL },
	{ "192.88.99.0", "192.88.99.255", ADDR_RESERVED },
	{ "192.88.100.0", "192.167.255.255", ADDR_GLOBAL },
	{ "192.168.0.0", "192.168.255.255", ADDR_PRIVATE },
	{ "192.169.0.0", "198.17.255.255", ADDR_GLOBAL },
	{ "198.18.0.0", "198.19.255.255", ADDR_RESERVED },
	{ "198.20.0.0", "198.51.99.255", ADDR_GLOBAL },
	{ "198.51.100.0", "198.51.100.255", ADDR_DOCUMENTATION },
	{ "198.51.101.0", "203.0.112.255", ADDR_GLOBAL },
	{ "203.0.113.0", "203.0.113.255", ADDR_DOCUMENTATION },
	{ "203.0.114.0", "223.255.255.255", ADDR_GLOBAL },
	{ "224.0.0.0", "239.255.255.255", ADDR_MULTICAST },
	{ "240.0.0.0", "255.255.255.254", ADDR_RESERVED },
	{ "255.255.255.255", "255.255.255.255", ADDR_BROADCAST },
};

static const struct class_row v6_blocks[] = {
	{ "::", "::", ADDR_UNSPECIFIED },
	{ "::1", "::1", ADDR_LOOPBACK },
	{ "0:0:0:0:0:1::", "::fffe:ffff:ffff", ADDR_RESERVED }, /* between compatible and mapped */
	{ "::1:0:0:0", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED },
	{ "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED },
	{ "100::", "100::ffff:ffff:ffff:ffff", ADDR_RESERVED },
	{ "100:0:0:1::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED },
	{ "2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_GLOBAL },
	{ "2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED },
	{ "2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_GLOBAL },
	{ "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_DOCUMENTATION },
	{ "2001:db9::", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_GLOBAL },
	{ "2003::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_GLOBAL },
	{ "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_DOCUMENTATION },
	{ "3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_GLOBAL },
	{ "4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED },
	{ "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_UNIQUE_LOCAL },
	{ "fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_RESERVED },
	{ "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_LINK_LOCAL },
	{ "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_UNIQUE_LOCAL },
	{ "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ADDR_MULTICAST },
};

static void assert_class(const struct addr *a, enum addr_class want)
{
	char buf[ADDR_STRLEN];
	if (addr_classify(a) != want)
		fail_msg("%s is %s, not %s", addr_print_ip(a, buf),
			 addr_class_name(addr_classify(a)), addr_class_name(want));
}

static void each_class_begins_and_ends_where_it_should(void **state)
{
	uint32_t next = 0;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v4_blocks); i++) {
		struct addr a = parse(v4_blocks[i].first), b = parse(v4_blocks[i].last);
		assert_class(&a, v4_blocks[i].class);
		assert_class(&b, v4_blocks[i].class);
		assert_int_equal(ntohl(a.in4.sin_addr.s_addr), next); /* the table leaves nothing out */
		next = ntohl(b.in4.sin_addr.s_addr) + 1;
	}
	assert_int_equal(next, 0);
	for (size_t i = 0; i < ARRAY_LEN(v6_blocks); i++) {
		struct addr a = parse(v6_blocks[i].first), b = parse(v6_blocks[i].last);
		assert_class(&a, v6_blocks[i].class);
		assert_class(&b, v6_blocks[i].class);
	}
}

/* The five spellings of one IPv4 address. */
static void spell(uint32_t ip, struct addr out[5])
{
	uint8_t b[16] = { [10] = 0xff, [11] = 0xff }, compatible[16] = { 0 },
		nat64[16] = { 0, 0x64, 0xff, 0x9b };
	uint8_t six[16] = { 0x20, 0x02, [8] = 1 }, teredo[16] = { 0x20, 0x01, 0, 0, 1, 2, 3, 4, 0x80 };
	for (unsigned i = 0; i < 4; i++) {
		uint8_t v = (uint8_t)(ip >> (24 - 8 * i));
		b[12 + i] = compatible[12 + i] = nat64[12 + i] = six[2 + i] = v;
		teredo[12 + i] = (uint8_t)~v;
	}
	out[0] = addr_v6(b, 9);
	out[1] = addr_v6(compatible, 9);
	out[2] = addr_v6(nat64, 9);
	out[3] = addr_v6(six, 9);
	out[4] = addr_v6(teredo, 9);
}

static void a_hidden_address_has_the_class_of_the_real_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v4_blocks); i++) {
		struct addr ends[2] = { parse(v4_blocks[i].first), parse(v4_blocks[i].last) };
		for (size_t j = 0; j < 2; j++) {
			uint32_t ip = ntohl(ends[j].in4.sin_addr.s_addr);
			struct addr hidden[5], want = addr_v4(ip, 9);
			spell(ip, hidden);
			for (size_t k = 0; k < 5; k++) {
				struct addr c = addr_canonical(&hidden[k]);
				if (k == 1 && ip <= 1)
					continue; /* those are :: and ::1 themselves */
				assert_true(addr_equal(&c, &want));
				assert_class(&hidden[k], v4_blocks[i].class);
			}
		}
	}
}

static void every_class_has_a_name(void **state)
{
	(void)state;
	for (int c = 0; c < ADDR_CLASSES; c++)
		assert_non_null(addr_class_name(c));
	assert_string_equal(addr_class_name(ADDR_PRIVATE), "private (RFC 1918)");
	assert_string_equal(addr_class_name(ADDR_CLASSES), "unknown");
}

static void prefixes_are_parsed_and_printed(void **state)
{
	static const char *const rows[][2] = {
		{ "10.0.0.0/8", "10.0.0.0/8" },
		{ "0.0.0.0/0", "0.0.0.0/0" },
		{ "192.0.2.1", "192.0.2.1/32" },
		{ "192.0.2.128/25", "192.0.2.128/25" },
		{ "2001:db8::/32", "2001:db8::/32" },
		{ "::/0", "::/0" },
		{ "::1", "::1/128" },
		{ "2001:db8::8000:0/97", "2001:db8::8000:0/97" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128" },
	};
	static const struct text bad[] = {
		TEXT(""),
		TEXT("/8"),
		TEXT("10.0.0.0/"),
		TEXT("10.0.0.0/33"),
		TEXT("10.0.0.0/08"),
		TEXT("10.0.0.0/-1"),
		TEXT("10.0.0.0/8/8"),
		TEXT("10.0.0.1/8"),
		TEXT("10.0.0.0/255.0.0.0"),
		TEXT("10/8"),
		TEXT("192.0.2.128/24"),
		TEXT("::/129"),
		TEXT("2001:db8::1/127"),
		TEXT("[::]/0"),
		TEXT("fe80::1%2"),
		TEXT("fe80::%2/10"),
		TEXT("10.0.0.0:1/8"),
		TEXT(" 10.0.0.0/8"),
		TEXT("10.0.0.0/8 "),
		TEXT("10.0.0.0/8\0"),
		TEXT("2001:db8::8000:0/96"),
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct prefix p;
		char buf[PREFIX_STRLEN];
		if (prefix_parse(text_of(rows[i][0]), &p) != 0)
			fail_msg("'%s' does not parse", rows[i][0]);
		assert_string_equal(prefix_print(&p, buf), rows[i][1]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct prefix p;
		if (prefix_parse(bad[i], &p) != -EINVAL)
			fail_msg("row %zu '%.*s' was taken", i, TEXT_FMT(bad[i]));
	}
}

static void a_prefix_contains_exactly_its_addresses_at_every_length(void **state)
{
	static const uint8_t ip[16] = { 0xa5, 0x5a, 0xff, 0x00, 0x12, 0x34, 0x56, 0x78,
					0x9a, 0xbc, 0xde, 0xf0, 0x81, 0x7e, 0xc3, 0x3c };
	(void)state;
	for (unsigned family = 0; family < 2; family++) {
		unsigned max = family ? 128 : 32;
		for (unsigned bits = 0; bits <= max; bits++) {
			struct addr a = family ? addr_v6(ip, 5) : addr_v4(load_be32(ip), 5);
			struct prefix p = { .a = a, .bits = (uint8_t)bits };
			assert_true(prefix_contains(&p, &a));
			for (unsigned flip = 0; flip < max; flip++) {
				uint8_t other[16];
				memcpy(other, ip, sizeof other);
				other[flip / 8] ^= (uint8_t)(0x80 >> flip % 8);
				a = family ? addr_v6(other, 6) : addr_v4(load_be32(other), 6);
				assert_int_equal(prefix_contains(&p, &a), flip >= bits);
			}
		}
	}
}

static void families_never_match_each_other(void **state)
{
	struct prefix all4, all6;
	struct addr a4 = parse("10.0.0.1"), a6 = parse("::ffff:10.0.0.1");
	(void)state;
	assert_int_equal(prefix_parse(TEXT("0.0.0.0/0"), &all4), 0);
	assert_int_equal(prefix_parse(TEXT("::/0"), &all6), 0);
	assert_true(prefix_contains(&all4, &a4));
	assert_true(prefix_contains(&all6, &a6));
	assert_false(prefix_contains(&all4, &a6));
	assert_false(prefix_contains(&all6, &a4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_parsed_and_printed),
		cmocka_unit_test(what_is_not_an_address_is_refused),
		cmocka_unit_test(a_sockaddr_is_checked_and_cleaned),
		cmocka_unit_test(an_unset_address_is_harmless_everywhere),
		cmocka_unit_test(parts_are_read_and_the_port_is_set),
		cmocka_unit_test(equality_order_and_hashes_agree),
		cmocka_unit_test(every_spelling_leads_to_the_address_really_meant),
		cmocka_unit_test(each_class_begins_and_ends_where_it_should),
		cmocka_unit_test(a_hidden_address_has_the_class_of_the_real_one),
		cmocka_unit_test(every_class_has_a_name),
		cmocka_unit_test(prefixes_are_parsed_and_printed),
		cmocka_unit_test(a_prefix_contains_exactly_its_addresses_at_every_length),
		cmocka_unit_test(families_never_match_each_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
