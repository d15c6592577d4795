/* SPDX-License-Identifier: Apache-2.0 */
/* Sends over many sockets with one call, on the kernel's own rings. Skipped where there are none for us. */
#include "tests/unit/support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/addr.h"
#include "common/ring.h"

enum { SOCKETS = RING_MESSAGES, ROUNDS = 50 };

struct world {
	struct ring *ring;
	int target, fd[SOCKETS], result[SOCKETS];
	struct addr to, nowhere;
	uint32_t serial[SOCKETS];
	struct iovec iov[SOCKETS], halves[SOCKETS][2];
	_Alignas(struct cmsghdr) uint8_t control[SOCKETS][CMSG_SPACE(sizeof(int))];
	struct mmsghdr msg[SOCKETS];
};

static int bound_socket(struct addr *ret_at)
{
	struct addr at = addr_v4(0x7f000001, 0);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t n = sizeof(*ret_at);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, &at.sa, addr_len(&at)), 0);
	assert_int_equal(getsockname(fd, &ret_at->sa, &n), 0);
	return fd;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct addr unused;
	int r;

	assert_non_null(w);
	*state = w;
	r = ring_new(&w->ring);
	if (r < 0)
		printf("no ring here: %s\n", strerror(-r));
	w->target = bound_socket(&w->to);
	w->nowhere = addr_v4(0xffffffff, 9); /* broadcast, which a socket must have asked for */
	for (unsigned i = 0; i < SOCKETS; i++) {
		w->fd[i] = bound_socket(&unused);
		w->iov[i] = (struct iovec){ &w->serial[i], sizeof(w->serial[i]) };
		w->msg[i].msg_hdr = (struct msghdr){ .msg_name = &w->to.sa, .msg_namelen = addr_len(&w->to),
						     .msg_iov = &w->iov[i], .msg_iovlen = 1 };
	}
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	ring_free(w->ring);
	close(w->target);
	for (unsigned i = 0; i < SOCKETS; i++)
		close(w->fd[i]);
	free(w);
	return 0;
}

static void need_ring(const struct world *w)
{
	if (!w->ring)
		skip();
}

static void assert_next(const struct world *w, uint32_t serial)
{
	uint32_t got;

	assert_int_equal(recv(w->target, &got, sizeof(got), 0), sizeof(got));
	assert_int_equal(got, serial);
}

static void make_elaborate(struct world *w, unsigned i)
{
	struct msghdr *h = &w->msg[i].msg_hdr;
	struct cmsghdr *c = (void *)w->control[i];

	w->halves[i][0] = (struct iovec){ &w->serial[i], 1 };
	w->halves[i][1] = (struct iovec){ (uint8_t *)&w->serial[i] + 1, sizeof(w->serial[i]) - 1 };
	*c = (struct cmsghdr){ .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL, .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(c), &(int){ 42 }, sizeof(int));
	h->msg_iov = w->halves[i];
	h->msg_iovlen = 2;
	h->msg_control = c;
	h->msg_controllen = CMSG_SPACE(sizeof(int));
}

static void assert_no_more(const struct world *w)
{
	char c;

	assert_int_equal(recv(w->target, &c, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

/* Every other message says its TTL and goes in two pieces, so that both kinds of request mix. Loopback delivers within the call. */
static void all_messages_leave_within_the_call_in_their_order(void **state)
{
	struct world *w = *state;
	uint32_t serial = 0;

	need_ring(w);
	for (unsigned i = 0; i < SOCKETS; i += 2)
		make_elaborate(w, i);
	for (unsigned round = 0; round < ROUNDS; round++) { /* around the rings several times, in calls of all sizes */
		unsigned n = 1 + round % SOCKETS;

		for (unsigned i = 0; i < n; i++)
			w->serial[i] = serial + i;
		ring_send(w->ring, w->fd, w->msg, n, w->result);
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(w->result[i], 0);
			assert_next(w, serial++);
		}
		assert_no_more(w);
	}
}

static void a_message_that_cannot_leave_reports_why_and_the_others_leave(void **state)
{
	struct world *w = *state;

	need_ring(w);
	for (unsigned i = 0; i < 4; i++)
		w->serial[i] = i;
	w->msg[1].msg_hdr.msg_name = &w->nowhere.sa;
	close(w->fd[2]);
	w->fd[2] = -1;
	for (unsigned round = 0; round < ROUNDS; round++) {
		ring_send(w->ring, w->fd, w->msg, 4, w->result);
		assert_int_equal(w->result[0], 0);
		assert_int_equal(w->result[1], -EACCES);
		assert_int_equal(w->result[2], -EBADF);
		assert_int_equal(w->result[3], 0);
		assert_next(w, 0);
		assert_next(w, 3);
		assert_no_more(w);
	}
}

/* What the kernel was asked and did not do may not be done later. */
static void a_ring_that_was_closed_sends_nothing_and_says_so(void **state)
{
	struct world *w = *state;

	need_ring(w);
	ring_send(w->ring, w->fd, w->msg, 0, w->result);
	assert_no_more(w);
	for (int fd = 3; fd < 1024; fd++) { /* the only descriptor that is no socket of ours */
		struct addr a;
		socklen_t n = sizeof(a);
		char name[64], path[64];
		ssize_t len;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, name, sizeof(name) - 1);
		if (len > 0 && (name[len] = 0, strstr(name, "io_uring")) && getsockname(fd, &a.sa, &n) < 0)
			assert_int_equal(dup2(w->target, fd), fd);
	}
	ring_send(w->ring, w->fd, w->msg, 3, w->result);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(w->result[i], -EBUSY);
	assert_no_more(w);
}

#define t(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		t(all_messages_leave_within_the_call_in_their_order),
		t(a_message_that_cannot_leave_reports_why_and_the_others_leave),
		t(a_ring_that_was_closed_sends_nothing_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
