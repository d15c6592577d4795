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
#include <string.h>

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

int reuseport_steer(int fd, sa_family_t family, unsigned n)
{
	bool v6 = family == AF_INET6;
	uint32_t net = (uint32_t)SKF_NET_OFF;
	struct sock_filter code[] = {
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
		BPF_STMT(BPF_RET | BPF_A, 0),
	};

	return n <= 1 ? 0 : attach(fd, code, ARRAY_LEN(code));
}
