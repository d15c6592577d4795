/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two hundred processes are killed in mid-write, at moments spread over the work: what was acknowledged is
 * there, in one unbroken sequence, and the store opens without a complaint. With the second hundred the
 * machine dies as well: of what was not synced the disk has some writes and others not (power.h).
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/store.h"
#include "tests/unit/power.h"

enum way {
	KILLED,	/* the process: the kernel keeps what it wrote */
	POWER,	/* the machine */
	LIAR,	/* the machine, on a disk that says it has synced and has not */
};

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

static void child_writes(const char *path, enum way way, int fd, int first)
{
	struct writer wr = { .fd = fd, .next = first };
	char err[256];

	if (way != KILLED)
		power_begin(way == LIAR);
	srand((unsigned)first);
	if (loop_new(&wr.loop) < 0 ||
	    store_open(&(struct store_options){ .path = path }, err, sizeof(err), &wr.store) != 0)
		_exit(1);
	for (int i = 0; i < 8; i++) /* eight under way, to have something in every commit */
		write_more(&wr);
	loop_run(wr.loop);
	_exit(5);
}

/* Counts as far as the sequence is unbroken. */
static void check_sequence(const struct store_object *o, void *arg)
{
	int *n = arg;
	char key[16];

	snprintf(key, sizeof(key), "%08d", *n);
	if (strcmp(o->key, key) == 0 && json_integer_value(json_object_get(o->body, "n")) == *n)
		(*n)++;
}

/* Writes for a while, is killed; the count that was acknowledged last, or `before` if none was. */
static int write_until_killed(const char *path, enum way way, int before, useconds_t us)
{
	int fds[2], acknowledged = before, n, status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		child_writes(path, way, fds[1], before);
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

/* Opens what the killed process left; the number of objects in it, or -1 if it does not open. */
static int count_present(const char *path, char err[static 256])
{
	struct store *s = NULL;
	int present = 0, r;

	if (store_open(&(struct store_options){ .path = path }, err, 256, &s) != 0)
		return -1;
	r = store_load(s, "kill", check_sequence, &present);
	store_close(s);
	return r == 0 ? present : -1;
}

static void in_a_folder(char path[static 64], const char *do_what)
{
	char command[96];

	if (!do_what) {
		/* Memory will do: a kill leaves what the kernel has, and power.h has a disk of its own. */
		char dir[64];

		snprintf(dir, sizeof(dir), "%s/stile-crash-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		assert_non_null(mkdtemp(dir));
		snprintf(path, 64, "%.50s/s.db", dir);
		return;
	}
	*strrchr(path, '/') = 0;
	snprintf(command, sizeof(command), "%s %s", do_what, path);
	assert_int_equal(system(command), 0);
}

/* How many rounds lost something that was acknowledged, or left a store that does not open. */
static int rounds_that_lost(enum way way, int rounds)
{
	char path[64], err[256] = "";
	int present = 0, lost = 0;

	in_a_folder(path, NULL);
	for (int round = 0; round < rounds && !lost; round++) {
		int acknowledged = write_until_killed(path, way, present, (useconds_t)(round * 397 % 9000));

		if (way != KILLED)
			power_failure(path);
		present = count_present(path, err);
		lost += present < acknowledged;
		if (lost && way != LIAR)
			print_error("round %d: %d acknowledged, %d present %s\n", round, acknowledged, present, err);
		if (way != KILLED)
			power_restored(path);
	}
	assert_true(lost || present > rounds);
	in_a_folder(path, "rm -rf");
	return lost;
}

static void nothing_acknowledged_is_lost_when_the_process_is_killed(void **state)
{
	(void)state;
	assert_int_equal(rounds_that_lost(KILLED, 100), 0);
}

static void nothing_acknowledged_is_lost_when_the_machine_loses_power(void **state)
{
	(void)state;
	assert_int_equal(rounds_that_lost(POWER, 100), 0);
}

/* That the case above can fail. */
static void a_disk_that_lies_about_syncing_is_found_out(void **state)
{
	(void)state;
	assert_int_equal(rounds_that_lost(LIAR, 50), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_acknowledged_is_lost_when_the_process_is_killed),
		cmocka_unit_test(nothing_acknowledged_is_lost_when_the_machine_loses_power),
		cmocka_unit_test(a_disk_that_lies_about_syncing_is_found_out),
	};

	return cmocka_run_group_tests_name("store crash", tests, NULL, NULL);
}
