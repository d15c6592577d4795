/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steering in a SO_REUSEPORT group: the kernel picks the socket that reuseport_position() names, for IPv4 and
 * IPv6, datagrams and connections, and a client keeps its position whatever else is bound or closed. And the
 * question whether a port is free, which a group that would share it does not answer.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "common/dgram.h"
#include "common/reuseport.h"
#include "common/stream.h"

enum { MEMBERS = 5, CLIENTS = 40 };

struct group {
	int fd[MEMBERS];
	struct addr at;
};

static struct addr loopback(bool v6)
{
	static const uint8_t one[16] = { [15] = 1 };

	return v6 ? addr_v6(one, 0) : addr_v4(0x7f000001, 0);
}

static int bind_member(const struct addr *at, bool stream, int *ret_fd)
{
	if (stream)
		return stream_listen_socket(at, &(struct listen_options){ .reuseport = true, .v6only = true }, ret_fd);
	return dgram_socket(at, &(struct dgram_socket_options){ .reuseport = true, .v6only = true, .pktinfo = true }, ret_fd);
}

/* Steered behind the first member, as a service does whose clients are there already. */
static void group_open(struct group *g, struct addr at, bool stream)
{
	g->at = at;
	for (unsigned i = 0; i < MEMBERS; i++) {
		socklen_t n = sizeof g->at;
		if (i == 0 && bind_member(&g->at, stream, &g->fd[0]) == -EADDRNOTAVAIL)
			skip(); /* no IPv6 here */
		if (i > 0)
			assert_int_equal(bind_member(&g->at, stream, &g->fd[i]), 0);
		if (i == 0) {
			assert_int_equal(getsockname(g->fd[0], &g->at.sa, &n), 0);
			assert_int_equal(reuseport_steer(g->fd[0], addr_family(&g->at), MEMBERS), 0);
		}
	}
}

static void group_close(struct group *g)
{
	for (unsigned i = 0; i < MEMBERS; i++)
		close(g->fd[i]);
}

static int client_to(const struct addr *to, bool stream, struct addr *ret_from)
{
	socklen_t n = sizeof *ret_from;
	int fd = socket(addr_family(to), (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, &to->sa, addr_len(to)), 0);
	assert_int_equal(getsockname(fd, &ret_from->sa, &n), 0);
	return fd;
}

/* The member that something has come to. */
static unsigned reached(const struct group *g)
{
	struct pollfd p[MEMBERS];
	char buf[16];

	for (unsigned i = 0; i < MEMBERS; i++)
		p[i] = (struct pollfd){ .fd = g->fd[i], .events = POLLIN };
	assert_int_equal(poll(p, MEMBERS, 15000), 1);
	for (unsigned i = 0; i < MEMBERS; i++)
		if (p[i].revents) {
			int fd = recv(g->fd[i], buf, sizeof buf, 0) < 0 ? accept(g->fd[i], NULL, NULL) : -1;
			if (fd >= 0)
				close(fd);
			return i;
		}
	fail();
	return 0;
}

static void kernel_and_function_agree(struct addr at, bool stream)
{
	struct group g;
	unsigned seen = 0;

	group_open(&g, at, stream);
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct addr from;
		int fd = client_to(&g.at, stream, &from);
		if (!stream)
			assert_int_equal(send(fd, "x", 1, 0), 1);
		unsigned r = reached(&g);
		assert_int_equal(r, reuseport_position(&from, MEMBERS));
		seen |= 1u << r;
		close(fd);
	}
	assert_true((seen & (seen - 1)) != 0); /* they are spread */
	group_close(&g);
}

static void datagrams_over_ipv4_reach_the_position(void **state)
{
	(void)state;
	kernel_and_function_agree(loopback(false), false);
}

static void datagrams_over_ipv6_reach_the_position(void **state)
{
	(void)state;
	kernel_and_function_agree(loopback(true), false);
}

static void connections_over_ipv4_reach_the_position(void **state)
{
	(void)state;
	kernel_and_function_agree(loopback(false), true);
}

static void connections_over_ipv6_reach_the_position(void **state)
{
	(void)state;
	kernel_and_function_agree(loopback(true), true);
}

static void expect_at(const struct group *g, int fd, const struct addr *from)
{
	assert_int_equal(send(fd, "x", 1, 0), 1);
	assert_int_equal(reached(g), reuseport_position(from, MEMBERS));
}

static void a_client_keeps_its_position_while_listeners_come_and_go(void **state)
{
	struct group wild, exact, other;
	struct addr from[CLIENTS];
	int fd[CLIENTS];

	(void)state;
	group_open(&wild, addr_v4(0, 0), false);
	struct addr to = loopback(false);
	addr_set_port(&to, addr_port(&wild.at));
	for (unsigned i = 0; i < CLIENTS; i++) {
		fd[i] = client_to(&to, false, &from[i]);
		expect_at(&wild, fd[i], &from[i]);
	}
	group_open(&other, loopback(false), false); /* another port is nobody's business */
	for (unsigned i = 0; i < CLIENTS; i++)
		expect_at(&wild, fd[i], &from[i]);
	group_open(&exact, to, false); /* from here on the kernel prefers the exact address */
	for (unsigned i = 0; i < CLIENTS; i++)
		expect_at(&exact, fd[i], &from[i]);
	group_close(&other);
	group_close(&exact);
	for (unsigned i = 0; i < CLIENTS; i++) {
		expect_at(&wild, fd[i], &from[i]);
		close(fd[i]);
	}
	group_close(&wild);
}

static void a_group_of_one_needs_no_steering(void **state)
{
	struct addr a = addr_v4(0xc0000201, 4000);

	(void)state;
	assert_int_equal(reuseport_position(&a, 1), 0);
	assert_int_equal(reuseport_position(&a, 0), 0);
	assert_int_equal(reuseport_steer(-1, AF_INET, 1), 0);
	assert_int_equal(reuseport_steer(-1, AF_INET, 2), -EBADF);
}

static void a_port_that_would_be_shared_is_not_free(struct addr at, bool stream)
{
	int type = stream ? SOCK_STREAM : SOCK_DGRAM;
	struct group g;

	group_open(&g, at, stream);
	assert_int_equal(reuseport_probe(type, &g.at), -EADDRINUSE);
	group_close(&g);
	assert_int_equal(reuseport_probe(type, &g.at), 0);
}

static void a_port_of_a_group_is_not_free(void **state)
{
	(void)state;
	for (int stream = 0; stream < 2; stream++) {
		a_port_that_would_be_shared_is_not_free(loopback(false), stream);
		a_port_that_would_be_shared_is_not_free(loopback(true), stream);
	}
}

/* As the address of an allocation does, whose connections leave from it. */
static void connections_do_not_keep_a_port(void **state)
{
	struct group g;
	struct addr from;
	int fd, accepted;

	(void)state;
	group_open(&g, loopback(false), true);
	fd = client_to(&g.at, true, &from);
	accepted = accept(g.fd[reuseport_position(&from, MEMBERS)], NULL, NULL);
	assert_true(accepted >= 0);
	group_close(&g);
	assert_int_equal(reuseport_probe(SOCK_STREAM, &g.at), 0);
	close(accepted);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams_over_ipv4_reach_the_position),
		cmocka_unit_test(datagrams_over_ipv6_reach_the_position),
		cmocka_unit_test(connections_over_ipv4_reach_the_position),
		cmocka_unit_test(connections_over_ipv6_reach_the_position),
		cmocka_unit_test(a_client_keeps_its_position_while_listeners_come_and_go),
		cmocka_unit_test(a_group_of_one_needs_no_steering),
		cmocka_unit_test(a_port_of_a_group_is_not_free),
		cmocka_unit_test(connections_do_not_keep_a_port),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
