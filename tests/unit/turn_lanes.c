/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn/lanes.c on real sockets: each kind of datagram is put into its lane, and into the queue of the worker that
 * the client's address names, whatever the datagram is. And what shows why: a queue that a flood has filled takes
 * nothing from the others.
 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/dgram.h"
#include "turn/lanes.h"

enum { WORKERS = 2, SOCKETS = WORKERS * TURN_LANES };

struct group {
	int fd[SOCKETS];
	struct addr at;
};

static void open_group(struct group *g, const char *ip)
{
	socklen_t n = sizeof g->at;

	assert_int_equal(addr_parse(text_of(ip), 0, &g->at), 0);
	for (unsigned i = 0; i < SOCKETS; i++) {
		assert_int_equal(dgram_socket(&g->at, &(struct dgram_socket_options){ .reuseport = true, .v6only = true, .rcvbuf = 16384 },
					      &g->fd[i]), 0);
		if (i > 0)
			continue;
		assert_int_equal(getsockname(g->fd[0], &g->at.sa, &n), 0);
		assert_int_equal(turn_lanes_steer(g->fd[0], addr_family(&g->at), WORKERS), 0);
	}
}

static void close_group(struct group *g)
{
	for (unsigned i = 0; i < SOCKETS; i++)
		close(g->fd[i]);
}

static int open_client(const struct group *g, struct addr *ret_at)
{
	struct addr any = g->at;
	socklen_t n = sizeof *ret_at;
	int fd;

	addr_set_port(&any, 0);
	assert_int_equal(dgram_socket(&any, &(struct dgram_socket_options){ .v6only = true }, &fd), 0);
	assert_int_equal(getsockname(fd, &ret_at->sa, &n), 0);
	return fd;
}

/* Where one datagram is; it is taken out. Loopback delivers at once, unless the kernel is busy. */
static unsigned where(const struct group *g)
{
	struct pollfd p[SOCKETS];
	unsigned found = SOCKETS;
	char buf[2048];

	for (unsigned i = 0; i < SOCKETS; i++)
		p[i] = (struct pollfd){ .fd = g->fd[i], .events = POLLIN };
	(void)poll(p, SOCKETS, 5000);
	for (unsigned i = 0; i < SOCKETS; i++)
		while (recv(g->fd[i], buf, sizeof buf, MSG_DONTWAIT) >= 0) {
			assert_int_equal(found, SOCKETS); /* once */
			found = i;
		}
	return found;
}

/* The worker that this client's datagrams go to. */
static unsigned home_of(const struct group *g, int fd)
{
	assert_int_equal(sendto(fd, "", 1, 0, &g->at.sa, addr_len(&g->at)), 1);
	unsigned at = where(g);
	assert_true(at < WORKERS); /* a stranger's */
	return at;
}

static const struct {
	const char *bytes;
	size_t n;
	enum turn_lane lane;
} kinds[] = {
	{ "\x00\x01\x00\x00", 20, TURN_LANE_STRANGERS }, /* Binding */
	{ "\x00\x03\x00\x00", 28, TURN_LANE_STRANGERS }, /* Allocate */
	{ "\x00\x11\x00\x00", 20, TURN_LANE_STRANGERS }, /* a Binding indication */
	{ "\x01\x01\x00\x00", 20, TURN_LANE_STRANGERS }, /* a response */
	{ "\x00\x17\x00\x00", 20, TURN_LANE_STRANGERS }, /* a Data indication is never ours */
	{ "\x16\xfe\xfd\x00", 120, TURN_LANE_STRANGERS }, /* ClientHello */
	{ "\x15\xfe\xfd\x00", 20, TURN_LANE_STRANGERS },
	{ "\xff\xff\xff\xff", 64, TURN_LANE_STRANGERS },
	{ "\x80\x00\x00\x00", 64, TURN_LANE_STRANGERS },
	{ "\x40\x00\x00", 3, TURN_LANE_STRANGERS }, /* too short for what it says */
	{ "\x17", 1, TURN_LANE_STRANGERS },
	{ "", 0, TURN_LANE_STRANGERS },
	{ "\x00\x04\x00\x00", 100, TURN_LANE_REQUESTS }, /* Refresh */
	{ "\x00\x08\x00\x00", 100, TURN_LANE_REQUESTS }, /* CreatePermission */
	{ "\x00\x09\x00\x00", 100, TURN_LANE_REQUESTS }, /* ChannelBind */
	{ "\x40\x00\x00\xa0", 164, TURN_LANE_DATA }, /* ChannelData */
	{ "\x7f\xff\x00\x00", 4, TURN_LANE_DATA },
	{ "\x00\x16\x00\x00", 200, TURN_LANE_DATA }, /* Send */
	{ "\x17\xfe\xfd\x00", 200, TURN_LANE_DATA }, /* a record of a DTLS session */
};

static void every_kind_has_its_lane_and_every_client_its_worker(const char *ip)
{
	struct group g;
	unsigned seen[WORKERS] = { 0 };

	open_group(&g, ip);
	for (unsigned c = 0; c < 16; c++) {
		struct addr me;
		int fd = open_client(&g, &me);
		unsigned worker = home_of(&g, fd);
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
			char datagram[256] = { 0 };
			memcpy(datagram, kinds[i].bytes, MIN(kinds[i].n, (size_t)4));
			assert_int_equal(sendto(fd, datagram, kinds[i].n, 0, &g.at.sa, addr_len(&g.at)), kinds[i].n);
			unsigned at = where(&g);
			if (at != turn_lane_position(kinds[i].lane, worker, WORKERS))
				fail_msg("kind %zu is at %u", i, at);
		}
		seen[worker]++;
		close(fd);
	}
	assert_true(seen[0] > 0 && seen[1] > 0); /* by chance: 2^-15 */
	close_group(&g);
}

static void over_ipv4(void **state)
{
	(void)state;
	every_kind_has_its_lane_and_every_client_its_worker("127.0.0.1");
}

static void over_ipv6(void **state)
{
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	struct addr lo;
	bool there;

	(void)state;
	assert_int_equal(addr_parse(TEXT("[::1]:0"), 0, &lo), 0);
	there = fd >= 0 && bind(fd, &lo.sa, addr_len(&lo)) == 0;
	if (fd >= 0)
		close(fd);
	if (!there)
		skip();
	every_kind_has_its_lane_and_every_client_its_worker("::1");
}

/* Far more strangers than their queue holds, and then a session's packets: all of those are there. */
static void a_full_queue_of_strangers_takes_nothing_from_sessions(void **state)
{
	struct group g;
	struct addr me;
	char stranger[100] = { 0, 1 }, data[100] = { 0x40 }, buf[200];
	unsigned n = 0, strangers = 0;

	(void)state;
	open_group(&g, "127.0.0.1");
	int fd = open_client(&g, &me);
	unsigned worker = home_of(&g, fd);
	for (unsigned i = 0; i < 5000; i++)
		assert_int_equal(sendto(fd, stranger, sizeof stranger, 0, &g.at.sa, addr_len(&g.at)), sizeof stranger);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(sendto(fd, data, sizeof data, 0, &g.at.sa, addr_len(&g.at)), sizeof data);
	struct pollfd p = { .fd = g.fd[turn_lane_position(TURN_LANE_DATA, worker, WORKERS)], .events = POLLIN };
	while (n < 10 && poll(&p, 1, 5000) == 1 && recv(p.fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
		n++;
	while (recv(g.fd[turn_lane_position(TURN_LANE_STRANGERS, worker, WORKERS)], buf, sizeof buf, MSG_DONTWAIT) > 0)
		strangers++;
	assert_int_equal(n, 10);
	assert_in_range(strangers, 1, 4000);
	close(fd);
	close_group(&g);
}

static void each_lane_has_its_name(void **state)
{
	(void)state;
	assert_string_equal(turn_lane_name(TURN_LANE_STRANGERS), "strangers");
	assert_string_equal(turn_lane_name(TURN_LANE_REQUESTS), "requests");
	assert_string_equal(turn_lane_name(TURN_LANE_DATA), "data");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{ "every kind has its lane and every client its worker over IPv4", over_ipv4, NULL, NULL, NULL },
		{ "every kind has its lane and every client its worker over IPv6", over_ipv6, NULL, NULL, NULL },
		cmocka_unit_test(a_full_queue_of_strangers_takes_nothing_from_sessions),
		cmocka_unit_test(each_lane_has_its_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
