/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traced messages as HEP version 3 (the encapsulation of Homer and other capture servers): a UDP datagram for each
 * message, made of chunks of vendor, type, length and value. The addresses and ports are the real ones; the
 * protocol is the one that carried the message, but its bytes are decrypted.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli/sip.h"
#include "common/bytes.h"
#include "common/text.h"

enum {
	HEP_FAMILY = 1,
	HEP_PROTOCOL = 2,
	HEP_V4_FROM = 3, /* and 4: to; 5 and 6 for IPv6 */
	HEP_V6_FROM = 5,
	HEP_PORT_FROM = 7,
	HEP_PORT_TO = 8,
	HEP_SECONDS = 9,
	HEP_MICROSECONDS = 10,
	HEP_TYPE = 11,
	HEP_AGENT = 12,
	HEP_PAYLOAD = 15,
	HEP_SIP = 1,
	HEP_INET = 2,
	HEP_INET6 = 10,
	OUR_AGENT = 2026,
	PACKET_MAX = 65000,
};

int sip_hep_open(const struct addr *to, int *ret_fd)
{
	int fd = socket(addr_family(to), SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, &to->sa, addr_len(to)) < 0) {
		int r = -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static void chunk(struct wr *w, unsigned type, const void *p, size_t n)
{
	wr_u16(w, 0); /* vendor: generic */
	wr_u16(w, (uint16_t)type);
	wr_u16(w, (uint16_t)(6 + n));
	wr_bytes(w, p, n);
}

static void number(struct wr *w, unsigned type, uint32_t v, size_t n)
{
	uint8_t big[4];

	store_be32(big, v);
	chunk(w, type, big + 4 - n, n);
}

static void addresses(struct wr *w, const struct sip_traced *t)
{
	bool v6 = addr_family(&t->from) == AF_INET6;
	size_t n;
	const uint8_t *ip = addr_ip(&t->from, &n);

	number(w, HEP_FAMILY, v6 ? HEP_INET6 : HEP_INET, 1);
	number(w, HEP_PROTOCOL, strcmp(t->transport, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP, 1);
	chunk(w, v6 ? HEP_V6_FROM : HEP_V4_FROM, ip, n);
	ip = addr_ip(&t->to, &n);
	chunk(w, (v6 ? HEP_V6_FROM : HEP_V4_FROM) + 1, ip, n);
	number(w, HEP_PORT_FROM, addr_port(&t->from), 2);
	number(w, HEP_PORT_TO, addr_port(&t->to), 2);
}

int sip_hep_send(int fd, const struct sip_traced *t)
{
	uint8_t *packet = malloc(PACKET_MAX);
	struct wr w = wr_init(packet, packet ? PACKET_MAX : 0);
	int r = 0;

	if (!packet)
		return -ENOMEM;
	wr_bytes(&w, "HEP3", 4);
	wr_u16(&w, 0); /* length: below */
	addresses(&w, t);
	number(&w, HEP_SECONDS, (uint32_t)(t->time_us / 1000000), 4);
	number(&w, HEP_MICROSECONDS, (uint32_t)(t->time_us % 1000000), 4);
	number(&w, HEP_TYPE, HEP_SIP, 1);
	number(&w, HEP_AGENT, OUR_AGENT, 4);
	chunk(&w, HEP_PAYLOAD, t->data, MIN(t->n, PACKET_MAX - wr_len(&w) - 6));
	store_be16(packet + 4, (uint16_t)wr_len(&w));
	/* Nobody listens there yet, or not now: the next one may arrive. */
	if (w.failed || (send(fd, packet, wr_len(&w), 0) < 0 && errno != ECONNREFUSED))
		r = w.failed ? -EMSGSIZE : -errno;
	free(packet);
	return r;
}
