/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program sees the packet from its network header (SKF_NET_OFF), for UDP datagrams and for
 * the SYNs of TCP alike: position = mix(source address words, source port) mod n. Fixed header
 * lengths are assumed: an IPv4 packet with options is still steered stably, only by other bytes
 * of its header; an IPv6 packet with extension headers likewise.
 */
#include "common/reuseport.h"
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/fd.h"

enum { IP4_SOURCE = 12, IP4_PORTS = 20, IP6_SOURCE_END = 20, IP6_PORTS = 40 };

/* Multiplying by an odd constant spreads consecutive ports over the whole word. */
#define MIX 0x9e3779b1u

static int attach(int fd, struct sock_filter *code, unsigned short n)
{
	struct sock_fprog prog;

	memset(&prog, 0, sizeof prog); /* its padding too: valgrind looks at what the kernel is handed */
	prog.len = n;
	prog.filter = code;
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof prog) < 0 ? -errno : 0;
}

enum { MIX_STEPS = 11, MAX_STEPS = 64 };

/* Leaves the client's place among n in the accumulator. */
static void put_mix(struct sock_filter code[static MIX_STEPS], bool v6, unsigned n)
{
	uint32_t net = (uint32_t)SKF_NET_OFF;
	const struct sock_filter mix[MIX_STEPS] = {
		/* the address: IPv4's, or the last word of IPv6's upper half and of its lower half */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + (v6 ? IP6_SOURCE_END : IP4_SOURCE)),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + (v6 ? 12 : IP4_SOURCE)),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
		BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, MIX),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, net + (v6 ? IP6_PORTS : IP4_PORTS)),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
		BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, MIX),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 8),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, n),
	};

	memcpy(code, mix, sizeof mix);
}

int reuseport_steer(int fd, sa_family_t family, unsigned n)
{
	struct sock_filter code[MIX_STEPS + 1];

	if (n <= 1)
		return 0;
	put_mix(code, family == AF_INET6, n);
	code[MIX_STEPS] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_A, 0);
	return attach(fd, code, ARRAY_LEN(code));
}

int reuseport_steer_by(int fd, sa_family_t family, unsigned n, const struct sock_filter *kind, size_t n_kind)
{
	const struct sock_filter sum[] = {
		BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, n),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_MEM, 0),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct sock_filter code[MAX_STEPS];

	if (!n || n_kind > MAX_STEPS - MIX_STEPS - 1 - ARRAY_LEN(sum))
		return -EINVAL;
	put_mix(code, family == AF_INET6, n);
	code[MIX_STEPS] = (struct sock_filter)BPF_STMT(BPF_ST, 0);
	memcpy(code + MIX_STEPS + 1, kind, n_kind * sizeof *kind);
	memcpy(code + MIX_STEPS + 1 + n_kind, sum, sizeof sum);
	return attach(fd, code, (unsigned short)(MIX_STEPS + 1 + n_kind + ARRAY_LEN(sum)));
}

unsigned reuseport_position(const struct addr *client, unsigned n)
{
	size_t ip_n;
	const uint8_t *ip = addr_ip(client, &ip_n);
	uint32_t a;

	if (n <= 1 || ip_n < 4)
		return 0;
	a = ip_n == 16 ? load_be32(ip + 4) + load_be32(ip + 12) : 2 * load_be32(ip);
	a = (a * MIX + addr_port(client)) * MIX;
	return (a >> 8) % n;
}

int reuseport_probe(int type, const struct addr *at)
{
	bool v6 = addr_family(at) == AF_INET6;
	_cleanup_(closep) int fd = socket(addr_family(at), type | SOCK_CLOEXEC, 0);

	if (fd < 0 || (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 1 }, sizeof(int)) < 0) ||
	    (type == SOCK_STREAM &&
	     setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0) ||
	    bind(fd, &at->sa, addr_len(at)) < 0)
		return -errno;
	return 0;
}
