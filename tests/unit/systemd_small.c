/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent without libsystemd says to PID 1 and hears of it (common/systemd_small.c): the same environment, the same answers.
 * The socket is a real one, read without waiting, for a datagram that was sent is there; paths are of this process alone, and
 * the environment is put back as it was found, which is empty of these names.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
/* cmocka wants the above first */
#include <cmocka.h>

#include "common/systemd.h"

static int listen_at(const struct sockaddr_un *at, size_t path_n)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_n)), 0);
	return fd;
}

static void expect(int fd, const char *text)
{
	char buf[100] = "";

	assert_int_equal(read(fd, buf, sizeof(buf) - 1), (ssize_t)strlen(text));
	assert_string_equal(buf, text);
}

static void what_is_said_arrives_at_the_socket_by_path_or_abstract(void **state)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int n = snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/stile-notify-%d", (int)getpid()), fd;

	(void)state;
	fd = listen_at(&at, (size_t)n);
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	assert_int_equal(sd_notify(0, "READY=1\nSTATUS=running"), 1);
	expect(fd, "READY=1\nSTATUS=running");
	close(fd);
	unlink(at.sun_path);
	assert_true(sd_notify(0, "READY=1") < 0);

	n = snprintf(at.sun_path, sizeof(at.sun_path), "@stile-notify-%d", (int)getpid());
	setenv("NOTIFY_SOCKET", at.sun_path, 1);
	at.sun_path[0] = '\0';
	fd = listen_at(&at, (size_t)n);
	assert_int_equal(sd_notify(0, "WATCHDOG=1"), 1);
	expect(fd, "WATCHDOG=1");
	close(fd);
}

static void without_a_socket_nothing_is_said_and_a_strange_one_is_an_error(void **state)
{
	char longest[300];

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(sd_notify(0, "READY=1"), 0);
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(sd_notify(0, "READY=1"), -EINVAL);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	setenv("NOTIFY_SOCKET", longest, 1);
	assert_int_equal(sd_notify(0, "READY=1"), -EINVAL);
	unsetenv("NOTIFY_SOCKET");
}

static void sockets_and_watchdog_are_those_of_this_process(void **state)
{
	char pid[20];
	uint64_t usec;

	(void)state;
	(void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_FDS", "0", 1);
	setenv("LISTEN_PID", "1", 1);
	assert_int_equal(sd_listen_fds(0), 0);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "-4", 1);
	assert_int_equal(sd_listen_fds(1), 0);
	assert_null(getenv("LISTEN_PID"));
	assert_int_equal(sd_watchdog_enabled(0, &usec), 0);
	setenv("WATCHDOG_USEC", "600000", 1);
	assert_int_equal(sd_watchdog_enabled(0, &usec), 1);
	assert_int_equal(usec, 600000);
	setenv("WATCHDOG_PID", "1", 1);
	assert_int_equal(sd_watchdog_enabled(0, &usec), 0);
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_said_arrives_at_the_socket_by_path_or_abstract),
		cmocka_unit_test(without_a_socket_nothing_is_said_and_a_strange_one_is_an_error),
		cmocka_unit_test(sockets_and_watchdog_are_those_of_this_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
