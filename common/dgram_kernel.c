/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls below the output queue (common/dgram_tx.h): rows of struct tx_sys for the real kernel. One has a
 * ring, by which messages for many sockets go with one call; the other serves loops with few sockets, and kernels
 * and sandboxes without io_uring. Tests have rows of their own.
 */
#include "common/dgram_tx.h"
#include "common/ring.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert((int)RING_MESSAGES >= (int)DGRAM_BATCH, "a batch goes with one call");

static int kernel_send(int fd, struct mmsghdr *msgs, unsigned n, void *arg)
{
	long r;

	(void)arg;
	/* As dgram.c's receive_some(): cheaper for one, and without wrappers. */
	if (n == 1)
		r = syscall(SYS_sendmsg, fd, &msgs->msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 1;
	else
		r = syscall(SYS_sendmmsg, fd, msgs, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	return r < 0 ? -errno : (int)r;
}

static int kernel_set_pmtu(int fd, bool v6, int mode, void *arg)
{
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, name = v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER;
	int old;
	socklen_t n = sizeof(old);

	(void)arg;
	if (getsockopt(fd, level, name, &old, &n) < 0 || setsockopt(fd, level, name, &mode, sizeof(mode)) < 0)
		return -errno;
	return old;
}

static void kernel_send_each(const int *fd, struct mmsghdr *msgs, unsigned n, int *ret_result, void *arg)
{
	ring_send(arg, fd, msgs, n, ret_result);
}

const struct tx_sys tx_kernel = { kernel_send, kernel_set_pmtu, NULL };
const struct tx_sys tx_kernel_ring = { kernel_send, kernel_set_pmtu, kernel_send_each };
