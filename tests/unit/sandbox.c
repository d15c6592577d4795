/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process cannot do any more after common/sandbox.h, each in a child of its own, for there is no way back; and what it can.
 * A child tells by its exit status: the line that failed, or 0.
 */
#include "common/sandbox.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/ring.h"

#define CHILD_MUST(fact) do { if (!(fact)) { fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #fact, errno); _exit(1); } } while (0)

static char root[64];

static char *in_root(const char *name)
{
	static char path[4][128];
	static unsigned turn;

	(void)snprintf(path[++turn % 4], sizeof(path[0]), "%s/%s", root, name);
	return path[turn % 4];
}

static int set_up(void **state)
{
	(void)state;
	(void)snprintf(root, sizeof(root), "/tmp/stile-sandbox-XXXXXX");
	if (!mkdtemp(root) || mkdir(in_root("left"), 0700) < 0 || mkdir(in_root("shut"), 0700) < 0)
		return -1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(in_root("left/a"));
	unlink(in_root("left/b"));
	unlink(in_root("left/s"));
	unlink(in_root("shut/a"));
	rmdir(in_root("left"));
	rmdir(in_root("shut"));
	return rmdir(root);
}

static void in_child(void (*run)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		run();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool makes(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int run_program(const char *path)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		execl(path, path, (char *)NULL);
		_exit(errno);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Kernels without Landlock are met in tests/packaging/sandbox.py; here it is nothing to fail for. */
static int shut_files(const char *program)
{
	const char *left[] = { in_root("left"), "/there/is/no/such" };
	int r = sandbox_files(left, 2, program);

	if (r == -ENOSYS || r == -EOPNOTSUPP) {
		fprintf(stderr, "this kernel has no Landlock\n");
		_exit(0);
	}
	return r;
}

static void only_the_folder(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHILD_MUST(makes(in_root("shut/a")));
	CHILD_MUST(shut_files(NULL) >= 1);
	CHILD_MUST(makes(in_root("left/a")));
	CHILD_MUST(rename(in_root("left/a"), in_root("left/b")) == 0);
	CHILD_MUST(truncate(in_root("left/b"), 10) == 0);
	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", in_root("left/s"));
	CHILD_MUST(bind(s, (struct sockaddr *)&at, sizeof(at)) == 0);
	CHILD_MUST(makes("/dev/null"));
	CHILD_MUST(access("/etc/passwd", R_OK) == 0 && open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0);
	CHILD_MUST(!makes(in_root("shut/a")) && errno == EACCES);
	CHILD_MUST(!makes(in_root("new")) && errno == EACCES);
	CHILD_MUST(unlink(in_root("shut/a")) < 0 && errno == EACCES);
	CHILD_MUST(mkdir(in_root("shut/b"), 0700) < 0 && errno == EACCES);
	CHILD_MUST(rename(in_root("left/b"), in_root("shut/b")) < 0 && (errno == EACCES || errno == EXDEV));
	CHILD_MUST(run_program("/bin/true") == EACCES);
	CHILD_MUST(kill(getppid(), 0) < 0 || sandbox_files(NULL, 0, NULL) < 6); /* from version 6 on */
}

static void writing_is_left_where_it_was_asked_for(void **state)
{
#ifdef STILE_COVERAGE
	skip(); /* it may write anywhere, for its counts are written where it was built */
#endif
	(void)state;
	in_child(only_the_folder);
}

static void only_the_program(void)
{
	CHILD_MUST(shut_files("/bin/true") >= 1);
	CHILD_MUST(sandbox_calls(SANDBOX_PROGRAMS) == 0);
	CHILD_MUST(run_program("/bin/true") == 0);
	CHILD_MUST(run_program("/bin/ls") == EACCES);
	CHILD_MUST(run_program("/bin/sh") == EACCES);
}

static void one_program_can_be_started(void **state)
{
	(void)state;
	in_child(only_the_program);
}

static bool refused(long r)
{
	return r < 0 && errno == ENOSYS;
}

static void needed_calls_alone(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHILD_MUST(sandbox_calls(0) == 0);
	CHILD_MUST(refused(syscall(SYS_unshare, CLONE_NEWNS)));
	CHILD_MUST(refused(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL)));
	CHILD_MUST(refused(syscall(SYS_clone3, NULL, 0)));
	CHILD_MUST(refused(syscall(SYS_mount, "none", "/mnt", "tmpfs", 0, NULL)));
	CHILD_MUST(refused(syscall(SYS_bpf, 0, NULL, 0)));
	CHILD_MUST(refused(syscall(SYS_io_uring_setup, 8, NULL)));
	CHILD_MUST(refused(syscall(SYS_keyctl, 0, 0, 0, 0, 0)));
	CHILD_MUST(refused(syscall(SYS_setuid, 0)));
	CHILD_MUST(refused(syscall(SYS_execve, "/bin/true", NULL, NULL)));
	CHILD_MUST(refused(syscall(SYS_init_module, NULL, 0, NULL)));
	CHILD_MUST(refused(syscall(4095)));
	CHILD_MUST(refused(socket(AF_PACKET, SOCK_RAW, 0)));
	CHILD_MUST(refused(socket(AF_VSOCK, SOCK_STREAM, 0)));
	CHILD_MUST(refused(mprotect(page, 4096, PROT_READ | PROT_EXEC)));
	CHILD_MUST(mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	CHILD_MUST(socket(AF_INET6, SOCK_DGRAM, 0) >= 0 && socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
	CHILD_MUST(mprotect(page, 4096, PROT_READ) == 0);
}

static void calls_that_nobody_needs_do_not_exist(void **state)
{
	(void)state;
	in_child(needed_calls_alone);
}

static void ring_of_before(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	char byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct mmsghdr m = { .msg_hdr = { .msg_name = &at, .msg_namelen = sizeof(at), .msg_iov = &iov, .msg_iovlen = 1 } };
	struct ring *ring, *later;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result;

	if (ring_new(&ring) < 0)
		_exit(0); /* no kernel for it */
	CHILD_MUST(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && getsockname(fd, (struct sockaddr *)&at, &n) == 0);
	CHILD_MUST(sandbox_calls(SANDBOX_RING) == 0);
	ring_send(ring, &fd, &m, 1, &result);
	CHILD_MUST(result == 0 && recv(fd, &byte, 1, MSG_DONTWAIT) == 1);
	CHILD_MUST(ring_new(&later) == -ENOSYS);
}

static void a_ring_that_was_made_before_sends_on(void **state)
{
	(void)state;
	in_child(ring_of_before);
}

static sem_t filtered, tried;
static bool thread_was_refused;

static void *try_later(void *arg)
{
	while (sem_wait(&filtered) < 0)
		;
	thread_was_refused = refused(syscall(SYS_unshare, CLONE_NEWNS));
	sem_post(&tried);
	return arg;
}

static void threads_too(void)
{
	pthread_t before;

	CHILD_MUST(sem_init(&filtered, 0, 0) == 0 && sem_init(&tried, 0, 0) == 0);
	CHILD_MUST(pthread_create(&before, NULL, try_later, NULL) == 0);
	CHILD_MUST(sandbox_calls(0) == 0);
	sem_post(&filtered);
	while (sem_wait(&tried) < 0)
		;
	CHILD_MUST(thread_was_refused);
	CHILD_MUST(pthread_join(before, NULL) == 0);
	CHILD_MUST(pthread_create(&before, NULL, try_later, NULL) == 0); /* and new ones can be made */
	sem_post(&filtered);
	CHILD_MUST(pthread_join(before, NULL) == 0 && thread_was_refused);
}

static void threads_that_were_there_are_held_as_well(void **state)
{
	(void)state;
	in_child(threads_too);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(writing_is_left_where_it_was_asked_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_program_can_be_started, set_up, tear_down),
		cmocka_unit_test(calls_that_nobody_needs_do_not_exist),
		cmocka_unit_test(a_ring_that_was_made_before_sends_on),
		cmocka_unit_test(threads_that_were_there_are_held_as_well),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
