/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pcap file of messages that were taken behind TLS: each stands as one UDP datagram between the real addresses and
 * ports, whatever carried it, for that is what the tools can read without a key. Link type RAW: the packet begins with
 * its IP header. A message longer than a datagram is cut, and the header says how long it was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cli/sip.h"
#include "common/bytes.h"
#include "common/text.h"

enum { RAW = 101, SNAP = 65535, UDP = 17, HEADERS_MAX = 48 };

static int put(FILE *f, const void *p, size_t n)
{
	return fwrite(p, 1, n, f) == n ? 0 : -EIO;
}

int sip_pcap_begin(FILE *f)
{
	const uint32_t head[6] = { 0xa1b2c3d4, 2 | 4 << 16, 0, 0, SNAP, RAW }; /* of this machine's byte order */

	return put(f, head, sizeof(head));
}

static uint32_t sum(const uint8_t *p, size_t n, uint32_t s)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		s += load_be16(p + i);
	return n & 1 ? s + (uint32_t)(p[n - 1] << 8) : s;
}

static uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)~s;
}

static void write_udp(struct wr *w, const struct addr *from, const struct addr *to,
		      const uint8_t *data, size_t n)
{
	size_t ip_n;
	const uint8_t *a = addr_ip(from, &ip_n), *b = addr_ip(to, &ip_n);
	uint8_t head[8];
	uint32_t s = UDP + (uint32_t)n + 8;

	store_be16(head, addr_port(from));
	store_be16(head + 2, addr_port(to));
	store_be16(head + 4, (uint16_t)(n + 8));
	store_be16(head + 6, 0);
	s = sum(a, ip_n, s);
	s = sum(b, ip_n, s);
	s = sum(head, 8, s);
	s = sum(data, n, s);
	store_be16(head + 6, fold(s) ? fold(s) : 0xffff);
	wr_bytes(w, head, sizeof(head));
	wr_bytes(w, data, n);
}

static void write_v4(struct wr *w, const struct addr *from, const struct addr *to, size_t n)
{
	uint8_t head[20] = { 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, UDP };
	size_t ip_n;

	store_be16(head + 2, (uint16_t)(20 + 8 + n));
	memcpy(head + 12, addr_ip(from, &ip_n), 4);
	memcpy(head + 16, addr_ip(to, &ip_n), 4);
	store_be16(head + 10, fold(sum(head, 20, 0)));
	wr_bytes(w, head, sizeof(head));
}

static void write_v6(struct wr *w, const struct addr *from, const struct addr *to, size_t n)
{
	size_t ip_n;

	wr_u32(w, 0x60000000);
	wr_u16(w, (uint16_t)(8 + n));
	wr_u8(w, UDP);
	wr_u8(w, 64);
	wr_bytes(w, addr_ip(from, &ip_n), 16);
	wr_bytes(w, addr_ip(to, &ip_n), 16);
}

static int write_packet(FILE *f, uint64_t time_us, const uint8_t *packet, size_t n, size_t whole)
{
	const uint32_t head[4] = { (uint32_t)(time_us / 1000000), (uint32_t)(time_us % 1000000),
				   (uint32_t)n, (uint32_t)whole };
	int r = put(f, head, sizeof(head));

	return r < 0 ? r : put(f, packet, n);
}

static bool read_addr(const json_t *m, const char *key, struct addr *ret_a)
{
	const char *s = json_string_value(json_object_get(m, key));

	return s && addr_parse(text_of(s), 0, ret_a) == 0;
}

int sip_traced_read(const json_t *m, struct sip_traced *ret_t)
{
	const char *data = json_string_value(json_object_get(m, "data"));
	const char *transport = json_string_value(json_object_get(m, "transport"));
	struct sip_traced t = { .time_us = (uint64_t)json_integer_value(json_object_get(m, "time_us")),
				.transport = transport,
				.cut = (size_t)MAX(json_integer_value(json_object_get(m, "cut")), 0) };
	size_t cap = data ? strlen(data) : 0;
	struct addr remote, local;
	bool out = json_is_true(json_object_get(m, "out"));

	if (!data || !transport || !read_addr(m, "remote", &remote) ||
	    !read_addr(m, "local", &local) || addr_family(&remote) != addr_family(&local))
		return -EBADMSG;
	t.from = out ? local : remote;
	t.to = out ? remote : local;
	t.data = malloc(cap + 1);
	if (!t.data)
		return -ENOMEM;
	if (base64_decode((struct text){ data, cap }, t.data, cap + 1, &t.n) < 0) {
		free(t.data);
		return -EBADMSG;
	}
	*ret_t = t;
	return 0;
}

int sip_pcap_write(FILE *f, const struct sip_traced *t)
{
	uint8_t *packet = malloc(SNAP);
	struct wr w = wr_init(packet, packet ? SNAP : 0);
	size_t n = MIN(t->n, (size_t)SNAP - HEADERS_MAX);
	int r;

	if (!packet)
		return -ENOMEM;
	if (addr_family(&t->from) == AF_INET)
		write_v4(&w, &t->from, &t->to, n);
	else
		write_v6(&w, &t->from, &t->to, n);
	write_udp(&w, &t->from, &t->to, t->data, n);
	r = write_packet(f, t->time_us, packet, wr_len(&w), wr_len(&w) + (t->n - n) + t->cut);
	free(packet);
	return r;
}
