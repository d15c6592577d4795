/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that chooses a datagram's lane by its first bytes (RFC 7983, RFC 8489 5, RFC 8656 12.4): what it
 * leaves in the accumulator is an enum turn_lane. What is too short for a header goes with the strangers. It only
 * sorts: a datagram in a wrong lane is served all the same.
 */
#include "turn/lanes.h"
#include <linux/filter.h>
#include "common/reuseport.h"

enum {
	LEAST = 4, /* of ChannelData, and more than any load below reads */
	DTLS_APPLICATION_DATA = 23,
	CHANNEL_DATA = 1, /* the upper two bits */
	SEND_INDICATION = 0x0016,
	REFRESH = 0x0004,
	CREATE_PERMISSION = 0x0008,
	CHANNEL_BIND = 0x0009,
};

const char *turn_lane_name(enum turn_lane lane)
{
	static const char *const names[] = {
		[TURN_LANE_STRANGERS] = "strangers", [TURN_LANE_REQUESTS] = "requests", [TURN_LANE_DATA] = "data",
	};

	return names[lane];
}

int turn_lanes_steer(int fd, sa_family_t family, unsigned n_workers)
{
	/* Jumps count the instructions that they pass over. */
	static const struct sock_filter lane[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, LEAST, 0, 9), /* else strangers */
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, DTLS_APPLICATION_DATA, 11, 0), /* data */
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 6),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CHANNEL_DATA, 9, 0), /* data */
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SEND_INDICATION, 7, 0), /* data */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, REFRESH, 4, 0), /* requests */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CREATE_PERMISSION, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CHANNEL_BIND, 2, 0),
		BPF_STMT(BPF_LD | BPF_IMM, TURN_LANE_STRANGERS),
		BPF_STMT(BPF_JMP | BPF_JA, 3),
		BPF_STMT(BPF_LD | BPF_IMM, TURN_LANE_REQUESTS),
		BPF_STMT(BPF_JMP | BPF_JA, 1),
		BPF_STMT(BPF_LD | BPF_IMM, TURN_LANE_DATA),
	};

	return reuseport_steer_by(fd, family, n_workers, lane, ARRAY_LEN(lane));
}
