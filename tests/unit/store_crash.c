/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes are killed in mid-write, fifty times on one store, at moments spread over the work: what
 * was acknowledged is there, in one unbroken sequence, and the store opens without a complaint.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/store.h"

struct writer {
	struct store *store;
	struct loop *loop;
	int fd;
	int next; /* number of the next put */
};

static void on_written(const struct store_outcome *o, void *arg);

static void write_more(struct writer *wr)
{
	char key[16];
	struct store_call c = { .loop = wr->loop, .who = "test", .done = on_written, .arg = wr };

	snprintf(key, sizeof(key), "%08d", wr->next);
	if (store_put(wr->store, &c, "kill", key, 0, json_pack("{s:i}", "n", wr->next)) != 0)
		_exit(2);
	wr->next++;
}

/* Acknowledged: the number of objects that must be there from now on. */
static void on_written(const struct store_outcome *o, void *arg)
{
	struct writer *wr = arg;
	static int acknowledged;

	if (o->result != STORE_OK)
		_exit(3);
	if (!acknowledged)
		acknowledged = wr->next - 8;
	acknowledged++;
	if (write(wr->fd, &acknowledged, sizeof(acknowledged)) != sizeof(acknowledged))
		_exit(4);
	write_more(wr);
}

static void child_writes(const char *path, int fd, int first)
{
	struct writer wr = { .fd = fd, .next = first };
	char err[256];

	if (loop_new(&wr.loop) < 0 ||
	    store_open(&(struct store_options){ .path = path }, err, sizeof(err), &wr.store) != 0)
		_exit(1);
	for (int i = 0; i < 8; i++) /* eight under way, to have something in every commit */
		write_more(&wr);
	loop_run(wr.loop);
	_exit(5);
}

static void check_sequence(const struct store_object *o, void *arg)
{
	int *n = arg;
	char key[16];

	snprintf(key, sizeof(key), "%08d", *n);
	assert_string_equal(o->key, key);
	assert_int_equal(json_integer_value(json_object_get(o->body, "n")), *n);
	(*n)++;
}

/* Writes for a while, is killed; the count that was acknowledged last, or `before` if none was. */
static int write_until_killed(const char *path, int before, useconds_t us)
{
	int fds[2], acknowledged = before, n, status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		child_writes(path, fds[1], before);
	}
	close(fds[1]);
	if (read(fds[0], &n, sizeof(n)) == sizeof(n)) /* it is at work */
		acknowledged = n;
	usleep(us);
	kill(pid, SIGKILL);
	while (read(fds[0], &n, sizeof(n)) == sizeof(n))
		acknowledged = n;
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status)); /* and not ended by an error of its own */
	return acknowledged;
}

/* Opens what the killed process left; the number of objects in it. */
static int count_present(const char *path)
{
	struct store *s = NULL;
	char err[256] = "";
	int present = 0;

	if (store_open(&(struct store_options){ .path = path }, err, sizeof(err), &s) != 0)
		fail_msg("%s", err);
	assert_int_equal(store_load(s, "kill", check_sequence, &present), 0);
	store_close(s);
	return present;
}

static void nothing_acknowledged_is_lost_when_the_process_is_killed(void **state)
{
	char dir[] = "/tmp/stile-crash-XXXXXX", path[64], command[64];
	int present = 0, acknowledged;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s.db", dir);
	for (int round = 0; round < 50; round++) {
		acknowledged = write_until_killed(path, present, (useconds_t)(round * 397 % 9000));
		present = count_present(path);
		assert_true(present >= acknowledged);
	}
	assert_true(present > 100);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_acknowledged_is_lost_when_the_process_is_killed),
	};

	return cmocka_run_group_tests_name("store crash", tests, NULL, NULL);
}
