/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two rings are memory shared with the kernel: we write requests behind the tail of the first and it moves that
 * one's head; it writes what failed behind the tail of the second and we move that one's head. Success is not reported
 * (IOSQE_CQE_SKIP_SUCCESS), which saves the second ring most of its work.
 *
 * A message with one piece and nothing to be set goes as an address and a buffer, which spares the kernel the reading of
 * its header, pieces and control data, where it takes an address there (Linux 6.1).
 *
 * MSG_DONTWAIT makes a request end within the call that hands it in (the kernel marks it REQ_F_NOWAIT). What the call
 * did not take, as it may when memory is short, is taken out again: else it would be sent with the next call, and
 * then twice.
 */
#include "common/ring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* Not in the headers of Debian 12's kernel or younger than them. */
#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_FEAT_CQE_SKIP
#define IORING_FEAT_CQE_SKIP (1U << 11)
#endif

struct ring {
	int fd;
	uint8_t *shared; /* both rings */
	size_t shared_n, sqe_n;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	unsigned *sq_head, *sq_tail, *cq_head, *cq_tail;
	unsigned sq_mask, cq_mask;
	bool sends_to; /* IORING_OP_SEND takes an address */
};

static void *map(int fd, size_t n, off_t what)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);

	return p == MAP_FAILED ? NULL : p;
}

static int map_rings(struct ring *r, const struct io_uring_params *p)
{
	unsigned *array;

	r->shared_n = MAX(p->sq_off.array + p->sq_entries * sizeof(unsigned), p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe));
	r->sqe_n = p->sq_entries * sizeof(struct io_uring_sqe);
	r->shared = map(r->fd, r->shared_n, IORING_OFF_SQ_RING);
	r->sqe = map(r->fd, r->sqe_n, IORING_OFF_SQES);
	if (!r->shared || !r->sqe)
		return -ENOMEM;
	r->sq_head = (unsigned *)(void *)(r->shared + p->sq_off.head);
	r->sq_tail = (unsigned *)(void *)(r->shared + p->sq_off.tail);
	r->cq_head = (unsigned *)(void *)(r->shared + p->cq_off.head);
	r->cq_tail = (unsigned *)(void *)(r->shared + p->cq_off.tail);
	r->cqe = (struct io_uring_cqe *)(void *)(r->shared + p->cq_off.cqes);
	r->sq_mask = p->sq_entries - 1;
	r->cq_mask = p->cq_entries - 1;
	array = (unsigned *)(void *)(r->shared + p->sq_off.array);
	for (unsigned i = 0; i < p->sq_entries; i++)
		array[i] = i; /* a request's place is its number */
	return 0;
}

/* It begins its work with that: what it does not need now is never to be had by it. */
static int restrict_to_sends(int fd)
{
	struct io_uring_restriction only[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_SENDMSG },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_SEND },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_CQE_SKIP_SUCCESS },
	};

	if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, only, ARRAY_LEN(only)) < 0 ||
	    syscall(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
		return -errno;
	return 0;
}

/* A kernel that takes no address refuses the request; one that does finds that nobody has this one. */
static bool can_send_to(struct ring *r)
{
	struct sockaddr_un nobody = { .sun_family = AF_UNIX }; /* of a name that begins with a zero: no file's */
	struct iovec v = { &nobody, 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_name = &nobody, .msg_namelen = sizeof(nobody), .msg_iov = &v, .msg_iovlen = 1 } };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), result = -EINVAL;

	if (fd < 0)
		return false;
	snprintf(nobody.sun_path + 1, sizeof(nobody.sun_path) - 1, "stile: nobody %ld", (long)getpid());
	r->sends_to = true;
	ring_send(r, &fd, &m, 1, &result);
	close(fd);
	return result == -ECONNREFUSED;
}

int ring_new(struct ring **ret_ring)
{
	const unsigned needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_CQE_SKIP;
	struct io_uring_params p = { .flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED };
	_cleanup_(ring_freep) struct ring *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->fd = (int)syscall(SYS_io_uring_setup, RING_MESSAGES, &p);
	if (r->fd < 0)
		return -errno;
	if ((p.features & needed) != needed)
		return -ENOSYS;
	err = map_rings(r, &p);
	if (err == 0)
		err = restrict_to_sends(r->fd);
	if (err < 0)
		return err;
	r->sends_to = can_send_to(r);
	*ret_ring = steal_ptr(&r);
	return 0;
}

struct ring *ring_free(struct ring *ring)
{
	if (!ring)
		return NULL;
	if (ring->shared)
		munmap(ring->shared, ring->shared_n);
	if (ring->sqe)
		munmap(ring->sqe, ring->sqe_n);
	if (ring->fd >= 0)
		close(ring->fd);
	free(ring);
	return NULL;
}

static void put_request(const struct ring *r, struct io_uring_sqe *s, int fd, const struct msghdr *h, unsigned i)
{
	memset(s, 0, sizeof(*s));
	s->flags = IOSQE_CQE_SKIP_SUCCESS;
	s->fd = fd;
	if (r->sends_to && h->msg_iovlen == 1 && !h->msg_controllen) {
		s->opcode = IORING_OP_SEND;
		s->addr = (uint64_t)(uintptr_t)h->msg_iov->iov_base;
		s->len = (uint32_t)h->msg_iov->iov_len;
		s->addr2 = (uint64_t)(uintptr_t)h->msg_name;
		s->addr_len = (uint16_t)h->msg_namelen;
	} else {
		s->opcode = IORING_OP_SENDMSG;
		s->addr = (uint64_t)(uintptr_t)h;
		s->len = 1;
	}
	s->msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	s->user_data = i;
}

static void take_failures(struct ring *r, unsigned n, int *ret_result)
{
	unsigned head = *r->cq_head, tail = __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE);

	for (; head != tail; head++) {
		const struct io_uring_cqe *c = &r->cqe[head & r->cq_mask];
		if (c->user_data < n)
			ret_result[c->user_data] = c->res < 0 ? c->res : 0;
	}
	__atomic_store_n(r->cq_head, head, __ATOMIC_RELEASE);
}

void ring_send(struct ring *r, const int *fd, struct mmsghdr *msgs, unsigned n, int *ret_result)
{
	unsigned start = *r->sq_tail, taken;

	for (unsigned i = 0; i < n; i++) {
		put_request(r, &r->sqe[(start + i) & r->sq_mask], fd[i], &msgs[i].msg_hdr, i);
		ret_result[i] = 0;
	}
	__atomic_store_n(r->sq_tail, start + n, __ATOMIC_RELEASE);
	(void)syscall(SYS_io_uring_enter, r->fd, n, 0, 0, NULL, 0); /* what it did is in the rings */
	taken = __atomic_load_n(r->sq_head, __ATOMIC_ACQUIRE) - start;
	__atomic_store_n(r->sq_tail, start + taken, __ATOMIC_RELEASE);
	for (unsigned i = taken; i < n; i++)
		ret_result[i] = -EBUSY;
	take_failures(r, n, ret_result);
}
