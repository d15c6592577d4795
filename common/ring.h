/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends over many sockets with one system call: an io_uring(7) that is used for nothing else. sendmmsg(2) takes many
 * messages, but for one socket; a relay has a socket for each allocation.
 *
 * Every message is tried when ring_send() is called and its result is there when it returns; nothing stays under
 * way, so neither messages nor descriptors need to live longer than the call. A ring is one thread's at a time. It can do nothing
 * but send, and needs no call but io_uring_enter(), so a process that makes its rings first may shut itself in then
 * (SANDBOX_RING). Kernels before 5.18 have none that is fit, and an administrator or a sandbox may forbid it
 * (kernel.io_uring_disabled, SystemCallFilter=): then ring_new() fails, and its caller sends socket by socket.
 */
#pragma once
#include <sys/socket.h>
#include "common/defs.h"

enum { RING_MESSAGES = 64 }; /* with one call */

struct ring;
int ring_new(struct ring **ret_ring); /* 0 or -errno */
struct ring *ring_free(struct ring *ring);
DEFINE_CLEANUP(struct ring, ring_free)

/* Message i of n (at most RING_MESSAGES) goes over fd[i], without waiting. ret_result[i]: 0 if it was sent, or -errno; -EBUSY:
 * the kernel did not get to it. */
void ring_send(struct ring *ring, const int *fd, struct mmsghdr *msgs, unsigned n, int *ret_result);
