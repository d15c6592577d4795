/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lanes of a UDP listener. A flood of requests from forged sources fills the receive queue that it comes in
 * by, and whatever shares the queue is lost with it: with one socket a worker, established sessions lost packets as
 * the flood did. So a worker has a socket for each kind of packet, and the kernel, by a program on the first byte
 * of the payload, puts each where it belongs:
 *
 *   strangers   what anybody may send: Binding, Allocate, DTLS handshakes, and all that is not named below
 *   requests    of who has a session: Refresh, CreatePermission, ChannelBind
 *   data        ChannelData, Send, records of DTLS sessions
 *
 * A lane is where a packet waits, not what may be in it: the core judges each alike, from whichever it came. A worker
 * takes one batch of the first two in a pass, and several of the last.
 */
#pragma once
#include "common/addr.h"

enum turn_lane { TURN_LANE_STRANGERS, TURN_LANE_REQUESTS, TURN_LANE_DATA, TURN_LANES };

const char *turn_lane_name(enum turn_lane lane);

/* Position of a worker's socket in the group: the strangers' lane comes first, so that a group whose
 * other lanes are not bound yet is one of plain sockets. */
static inline unsigned turn_lane_position(enum turn_lane lane, unsigned worker, unsigned n_workers)
{
	return (unsigned)lane * n_workers + worker;
}

/* fd: the group's first socket. 0 or -errno: then all of it goes by the kernel's own choice. */
int turn_lanes_steer(int fd, sa_family_t family, unsigned n_workers);
