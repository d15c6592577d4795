/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service frame as init and administrators meet it: a small service in a child process, its
 * signals, exit codes, control verbs, readiness datagrams and what is left of its privileges. The
 * child leaves by exit(), so that a sanitizer's leak check decides on its exit code too.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <dirent.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "common/fd.h"
#include "tests/unit/service_demo.h"

/* --- running it --- */

struct world {
	char dir[64], config[128], run[128], socket[160], notify[128], out[128], stopped[128];
	int notify_fd;
	bool bare; /* without standard descriptors */
	pid_t pid;
};

static void write_config(const struct world *w, const char *demo)
{
	FILE *f = fopen(w->config, "w");

	assert_non_null(f);
	fprintf(f, "log: { dir: %s/log }\nstore: { path: %s/store }\ndemo: { %s }\n", w->dir, w->dir, demo);
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	strcpy(w->dir, "/tmp/stile-service-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	assert_int_equal(chmod(w->dir, 0755), 0);
	snprintf(w->config, sizeof(w->config), "%s/stile.yaml", w->dir);
	snprintf(w->run, sizeof(w->run), "%s/run", w->dir);
	snprintf(w->socket, sizeof(w->socket), "%s/stile-demo.sock", w->run);
	snprintf(w->notify, sizeof(w->notify), "%s/notify", w->dir);
	snprintf(w->out, sizeof(w->out), "%s/out", w->dir);
	snprintf(w->stopped, sizeof(w->stopped), "%s/run/stopped", w->dir);
	w->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(at.sun_path, w->notify, strlen(w->notify) + 1);
	assert_int_equal(bind(w->notify_fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(chmod(w->notify, 0666), 0);
	write_config(w, "number: 1");
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	char command[96];

	if (w->pid > 0) {
		kill(w->pid, SIGKILL);
		waitpid(w->pid, NULL, 0);
	}
	close(w->notify_fd);
	snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
	free(w);
	return 0;
}

/* extra: NULL-terminated further arguments. */
static void launch(struct world *w, const char *const *extra)
{
	char *argv[16] = { "stile-demo", "-c", w->config, "--runtime-dir", w->run };
	int argc = 5;

	while (extra && *extra)
		argv[argc++] = (char *)*extra++;
	fflush(NULL); /* what is buffered is not to be written twice */
	w->pid = fork();
	assert_true(w->pid >= 0);
	if (w->pid)
		return;
	setenv("NOTIFY_SOCKET", w->notify, 1);
	setenv("DEMO_STOPPED", w->stopped, 1);
	if (!freopen(w->out, "w", stdout) || dup2(1, 2) < 0)
		_exit(99);
	for (int fd = 0; w->bare && fd <= 2; fd++)
		close(fd);
	exit(service_main(&demo_ops, argc, argv)); /* not _exit: a leak checker wants its turn */
}

static int exit_code(struct world *w)
{
	int status;

	for (int i = 0; i < 1000; i++) {
		if (waitpid(w->pid, &status, WNOHANG) == w->pid) {
			w->pid = 0;
			assert_true(WIFEXITED(status));
			return WEXITSTATUS(status);
		}
		usleep(10000);
	}
	fail_msg("it does not end");
	return -1;
}

static void assert_said(const struct world *w, const char *part)
{
	static char text[16384];
	FILE *f = fopen(w->out, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[n] = 0;
	if (!strstr(text, part))
		fail_msg("no \"%s\" in: %s", part, text);
}

/* Waits for a readiness datagram with this part. */
static void assert_notified(const struct world *w, const char *part)
{
	struct pollfd p = { .fd = w->notify_fd, .events = POLLIN };
	char text[512];
	ssize_t n;

	do {
		if (poll(&p, 1, 10000) != 1)
			fail_msg("no notification with %s", part);
		n = recv(w->notify_fd, text, sizeof(text) - 1, 0);
		assert_true(n > 0);
		text[n] = 0;
	} while (!strstr(text, part));
}

static json_t *call(const struct world *w, const char *verb, json_t *args, const char *want_error)
{
	struct control_client *c = NULL;
	json_t *result = NULL, *error = NULL;
	int r;

	assert_int_equal(control_connect(w->socket, 5000, &c), 0);
	r = control_call(c, verb, args, &result, &error);
	if (want_error) {
		assert_int_equal(r, CONTROL_ERROR);
		assert_string_equal(json_string_value(json_object_get(error, "code")), want_error);
		result = error;
	} else {
		assert_int_equal(r, 0);
	}
	control_client_free(c);
	return result;
}

static void assert_status(const struct world *w, const char *key, const char *part)
{
	json_t *st = call(w, "service.status", NULL, NULL);
	const char *v = json_string_value(json_object_get(st, key));

	assert_non_null(v);
	if (*part ? !strstr(v, part) : *v)
		fail_msg("%s is \"%s\", not \"%s\"", key, v, part);
	json_decref(st);
}

static void start(struct world *w)
{
	launch(w, NULL);
	assert_notified(w, "READY=1");
}

/* --- start --- */

static void a_service_becomes_ready_answers_and_stops_cleanly(void **state)
{
	struct world *w = *state;
	json_t *st;

	start(w);
	st = call(w, "service.status", NULL, NULL);
	assert_string_equal(json_string_value(json_object_get(st, "program")), "stile-demo");
	assert_int_equal(json_integer_value(json_object_get(st, "pid")), w->pid);
	assert_true(json_integer_value(json_object_get(st, "memory")) > 1 << 20);
	assert_true(json_integer_value(json_object_get(st, "descriptors")) > 5);
	assert_true(json_integer_value(json_object_get(st, "descriptors_limit")) >= 1024);
	assert_int_equal(json_integer_value(json_object_get(st, "reloaded_at")), 0);
	json_decref(st);
	kill(w->pid, SIGTERM);
	assert_notified(w, "STOPPING=1");
	assert_int_equal(exit_code(w), 0);
	assert_int_equal(access(w->stopped, F_OK), 0);
	assert_int_not_equal(access(w->socket, F_OK), 0);
}

static void bad_command_lines_and_configurations_exit_with_2(void **state)
{
	struct world *w = *state;

	launch(w, (const char *[]){ "--no-such-option", NULL });
	assert_int_equal(exit_code(w), 2);
	assert_said(w, "--help");
	launch(w, (const char *[]){ "argument", NULL });
	assert_int_equal(exit_code(w), 2);
	launch(w, (const char *[]){ "--instance", "../up", NULL });
	assert_int_equal(exit_code(w), 2);
	assert_said(w, "an instance name has");
	write_config(w, "numbre: 1, number: 500");
	launch(w, NULL);
	assert_int_equal(exit_code(w), 2);
	assert_said(w, "stile.yaml:3:");
	assert_said(w, "did you mean 'number'");
	assert_said(w, "500");
	write_config(w, "number: 13");
	launch(w, NULL);
	assert_int_equal(exit_code(w), 2);
	assert_said(w, "bad luck");
	unlink(w->config);
	launch(w, NULL);
	assert_int_equal(exit_code(w), 2);
	assert_said(w, "stile.yaml");
}

static void check_shows_errors_and_starts_nothing(void **state)
{
	struct world *w = *state;

	launch(w, (const char *[]){ "--check", NULL });
	assert_int_equal(exit_code(w), 0);
	assert_said(w, "the configuration is good");
	assert_int_not_equal(access(w->run, F_OK), 0);
	write_config(w, "number: 13");
	launch(w, (const char *[]){ "--check", NULL });
	assert_int_equal(exit_code(w), 2);
	assert_said(w, "bad luck");
}

static void check_and_start_refuse_a_log_folder_that_cannot_be_written(void **state)
{
	struct world *w = *state;
	char path[96];

	snprintf(path, sizeof(path), "%s/log", w->dir);
	fclose(fopen(path, "w")); /* a file where the folder should be */
	launch(w, (const char *[]){ "--check", NULL });
	assert_int_equal(exit_code(w), 2);
	assert_said(w, "stile.yaml:1:");
	assert_said(w, path);
	if (geteuid() != 0)
		return;
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0); /* root's, but the service will be nobody */
	launch(w, (const char *[]){ "--user", "nobody", NULL });
	assert_int_equal(exit_code(w), 2);
	assert_said(w, "the user nobody cannot write to the folder");
}

static void help_and_version_exit_with_0(void **state)
{
	struct world *w = *state;

	launch(w, (const char *[]){ "--help", NULL });
	assert_int_equal(exit_code(w), 0);
	assert_said(w, "Exit codes:");
	launch(w, (const char *[]){ "--version", NULL });
	assert_int_equal(exit_code(w), 0);
	assert_said(w, "stile-demo " STILE_VERSION);
}

static void a_failed_start_exits_with_1_and_its_reason(void **state)
{
	struct world *w = *state;

	write_config(w, "fail_open: true");
	launch(w, NULL);
	assert_int_equal(exit_code(w), 1);
	assert_said(w, "the port is taken");
	assert_int_equal(access(w->stopped, F_OK), 0);
	write_config(w, "fail_start: true");
	launch(w, NULL);
	assert_int_equal(exit_code(w), 1);
	assert_said(w, "no worker wants to work");
	if (geteuid() != 0)
		return;
	launch(w, (const char *[]){ "--user", "no-such-user-here", NULL });
	assert_int_equal(exit_code(w), 2);
	assert_said(w, "there is no user \"no-such-user-here\"");
}

static void closed_standard_descriptors_are_nobody_elses(void **state)
{
	struct world *w = *state;

	w->bare = true;
	start(w);
	for (int fd = 0; fd <= 2; fd++) {
		char path[64], target[64] = "";

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)w->pid, fd);
		assert_true(readlink(path, target, sizeof(target) - 1) > 0);
		assert_string_equal(target, "/dev/null");
	}
	kill(w->pid, SIGTERM);
	assert_int_equal(exit_code(w), 0);
}

static void a_hangup_during_the_start_waits_for_it(void **state)
{
	struct world *w = *state;
	json_t *st = NULL;

	setenv("DEMO_HANGUP", "1", 1);
	launch(w, NULL);
	unsetenv("DEMO_HANGUP");
	assert_notified(w, "READY=1");
	assert_notified(w, "RELOADING=1");
	assert_notified(w, "READY=1");
	st = call(w, "service.status", NULL, NULL);
	assert_true(json_integer_value(json_object_get(st, "reloaded_at")) > 0);
	json_decref(st);
}

static void a_second_instance_needs_a_name_of_its_own(void **state)
{
	struct world *w = *state;
	struct world other = *w;

	start(w);
	snprintf(other.out, sizeof(other.out), "%s/out2", w->dir);
	launch(&other, NULL);
	assert_int_equal(exit_code(&other), 1);
	assert_said(&other, "another stile-demo is running");
	launch(&other, (const char *[]){ "--instance", "lab", NULL });
	assert_notified(w, "READY=1");
	snprintf(other.socket, sizeof(other.socket), "%s/stile-demo@lab.sock", w->run);
	assert_status(&other, "instance", "lab");
	kill(other.pid, SIGINT);
	assert_int_equal(exit_code(&other), 0);
	assert_status(w, "state", "running");
}

/* --- stop --- */

static void a_stop_waits_for_the_drain_no_longer_than_its_limit(void **state)
{
	struct world *w = *state;

	write_config(w, "never_drained: true");
	start(w);
	kill(w->pid, SIGTERM);
	assert_notified(w, "STOPPING=1");
	assert_status(w, "state", "draining");
	assert_int_equal(exit_code(w), 0);
	assert_int_equal(access(w->stopped, F_OK), 0);
}

static void a_second_signal_stops_at_once_and_is_no_clean_stop(void **state)
{
	struct world *w = *state;

	write_config(w, "never_drained: true");
	start(w);
	kill(w->pid, SIGTERM);
	assert_notified(w, "STOPPING=1");
	kill(w->pid, SIGTERM);
	assert_int_equal(exit_code(w), 1);
	assert_int_equal(access(w->stopped, F_OK), 0);
}

static void who_asks_the_store_because_of_its_answer_is_answered_at_the_stop_too(void **state)
{
	struct world *w = *state;
	char asked[160];

	snprintf(asked, sizeof(asked), "%s/run/asked", w->dir);
	setenv("DEMO_ASKED", asked, 1);
	start(w);
	unsetenv("DEMO_ASKED");
	kill(w->pid, SIGTERM);
	assert_int_equal(exit_code(w), 0);
	assert_int_equal(access(asked, F_OK), 0);
}

static void stop_over_the_control_socket_is_answered(void **state)
{
	struct world *w = *state;
	json_t *r;

	start(w);
	r = call(w, "service.stop", NULL, NULL);
	assert_true(json_is_true(json_object_get(r, "stopping")));
	json_decref(r);
	assert_int_equal(exit_code(w), 0);
}

/* --- drain --- */

static void a_drain_without_a_deadline_waits_until_a_stop_which_is_clean(void **state)
{
	struct world *w = *state;
	json_t *r;

	write_config(w, "never_drained: true");
	start(w);
	r = call(w, "service.drain", NULL, NULL);
	assert_int_equal(json_integer_value(json_object_get(r, "drain_left_ms")), -1);
	json_decref(r);
	usleep(500000); /* longer than a stop would wait */
	assert_status(w, "state", "draining");
	write_config(w, "never_drained: true, number: 5"); /* a reload is taken meanwhile */
	r = call(w, "service.reload", NULL, NULL);
	assert_int_equal(json_array_size(json_object_get(r, "changes")), 1);
	json_decref(r);
	assert_status(w, "state", "draining");
	kill(w->pid, SIGTERM);
	assert_int_equal(exit_code(w), 0);
	assert_int_equal(access(w->stopped, F_OK), 0);
}

static void a_drain_ends_at_its_deadline_and_the_last_one_set_counts(void **state)
{
	struct world *w = *state;

	write_config(w, "never_drained: true");
	start(w);
	json_decref(call(w, "service.drain", json_pack("{s:i}", "deadline_ms", 3600000), NULL));
	assert_status(w, "state", "draining");
	json_decref(call(w, "service.drain", json_pack("{s:i}", "deadline_ms", -1), "bad-request"));
	json_decref(call(w, "service.drain", json_pack("{s:s}", "deadline", "1h"), "bad-request"));
	json_decref(call(w, "service.drain", json_pack("{s:i}", "deadline_ms", 100), NULL));
	assert_int_equal(exit_code(w), 0);
}

static void a_drain_with_nothing_left_stops_at_once(void **state)
{
	struct world *w = *state;

	start(w);
	json_decref(call(w, "service.drain", NULL, NULL));
	assert_int_equal(exit_code(w), 0);
	assert_int_equal(access(w->stopped, F_OK), 0);
}

/* --- reload --- */

static void a_dry_run_tells_the_changes_and_applies_none(void **state)
{
	struct world *w = *state;
	json_t *r, *row;

	start(w);
	write_config(w, "number: 2, stuck: true");
	r = call(w, "service.reload", json_pack("{s:b}", "dry_run", 1), NULL);
	assert_true(json_is_true(json_object_get(r, "dry_run")));
	assert_int_equal(json_array_size(json_object_get(r, "changes")), 2);
	row = json_array_get(json_object_get(r, "changes"), 0);
	assert_string_equal(json_string_value(json_object_get(row, "key")), "demo.number");
	assert_string_equal(json_string_value(json_object_get(row, "was")), "1");
	assert_string_equal(json_string_value(json_object_get(row, "is")), "2");
	assert_false(json_is_true(json_object_get(row, "restart")));
	assert_true(json_is_true(json_object_get(json_array_get(json_object_get(r, "changes"), 1), "restart")));
	assert_int_equal(json_integer_value(json_object_get(r, "reloaded_at")), 0);
	json_decref(r);
	write_config(w, "number: many");
	json_decref(call(w, "service.reload", json_pack("{s:b}", "dry_run", 1), "failed"));
	assert_status(w, "reload_error", "");
	json_decref(call(w, "service.reload", json_pack("{s:i}", "dry_run", 1), "bad-request"));
	json_decref(call(w, "service.reload", json_pack("{s:b}", "dryrun", 1), "bad-request"));
}

static void a_good_reload_is_taken_and_a_bad_one_changes_nothing(void **state)
{
	struct world *w = *state;
	json_t *r;

	start(w);
	write_config(w, "number: 2");
	kill(w->pid, SIGHUP);
	assert_notified(w, "RELOADING=1");
	assert_notified(w, "READY=1");
	assert_status(w, "reload_error", "");
	write_config(w, "number: many");
	kill(w->pid, SIGHUP);
	assert_notified(w, "reload failed");
	assert_status(w, "reload_error", "stile.yaml:3:");
	write_config(w, "number: 77");
	r = call(w, "service.reload", NULL, "failed");
	assert_string_equal(json_string_value(json_object_get(r, "text")), "77 is refused by the service itself");
	json_decref(r);
	write_config(w, "number: 3");
	r = call(w, "service.reload", NULL, NULL);
	assert_true(json_integer_value(json_object_get(r, "reloaded_at")) > 0);
	json_decref(r);
	assert_status(w, "reload_error", "");
}

static void a_reload_reopens_a_log_that_was_moved_away(void **state)
{
	struct world *w = *state;
	char log[128], old[128];

	start(w);
	snprintf(log, sizeof(log), "%s/log/stile-demo.log", w->dir);
	snprintf(old, sizeof(old), "%s/log/stile-demo.old", w->dir);
	assert_int_equal(rename(log, old), 0);
	kill(w->pid, SIGHUP);
	assert_notified(w, "READY=1");
	assert_int_equal(access(log, F_OK), 0);
}

static void the_log_level_is_shown_and_set(void **state)
{
	struct world *w = *state;

	start(w);
	json_decref(call(w, "log.level", json_pack("{s:s}", "level", "debug"), NULL));
	assert_status(w, "log_level", "debug");
	json_decref(call(w, "log.level", json_pack("{s:s}", "level", "loud"), "bad-request"));
	json_decref(call(w, "log.level", json_pack("{s:i}", "level", 3), "bad-request"));
	json_decref(call(w, "log.level", json_pack("{s:s}", "lvl", "info"), "bad-request"));
	assert_status(w, "log_level", "debug");
}

/* --- watchdog --- */

static void the_watchdog_is_fed_only_while_the_workers_move(void **state)
{
	struct world *w = *state;
	struct pollfd p = { .fd = w->notify_fd, .events = POLLIN };
	char text[256];

	setenv("WATCHDOG_USEC", "100000", 1);
	start(w);
	assert_notified(w, "WATCHDOG=1");
	assert_notified(w, "WATCHDOG=1");
	kill(w->pid, SIGTERM);
	assert_int_equal(exit_code(w), 0);
	while (poll(&p, 1, 0) == 1)
		assert_true(recv(w->notify_fd, text, sizeof(text), 0) > 0);

	write_config(w, "stuck: true");
	start(w);
	unsetenv("WATCHDOG_USEC");
	assert_int_equal(poll(&p, 1, 400), 0);
}

/* --- privileges --- */

/* ThreadSanitizer starts a thread of its own before main(), which inherits nothing of ours. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREADS_BEFORE_MAIN 1
#endif
#endif
#ifndef THREADS_BEFORE_MAIN
#define THREADS_BEFORE_MAIN 0
#endif

static void assert_threads_have(pid_t pid, const char *key, const char *value)
{
	char path[64], line[256];
	struct dirent *e;
	unsigned threads = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d))) {
		char status[384];
		bool seen = false;
		FILE *f;

		if (e->d_name[0] == '.')
			continue;
		snprintf(status, sizeof(status), "%s/%s/status", path, e->d_name);
		f = fopen(status, "r");
		assert_non_null(f);
		while (fgets(line, sizeof(line), f)) {
			if (strncmp(line, key, strlen(key)) != 0)
				continue;
			seen = true;
			if (!strstr(line, value))
				fail_msg("thread %s: %s", e->d_name, line);
		}
		assert_true(seen);
		fclose(f);
		threads++;
	}
	closedir(d);
	assert_true(threads >= 2); /* the main one and at least the log's */
}

static void a_service_started_as_root_keeps_nothing_of_it_in_any_thread(void **state)
{
	struct world *w = *state;
	struct passwd *pw = getpwnam("nobody");
	char path[160], ids[64];
	struct stat st;

	if (geteuid() != 0 || !pw)
		skip();
	launch(w, (const char *[]){ "--user", "nobody", NULL });
	assert_notified(w, "READY=1");
	snprintf(ids, sizeof(ids), "\t%u\t%u\t%u", pw->pw_uid, pw->pw_uid, pw->pw_uid);
	assert_threads_have(w->pid, "Uid:", ids);
	snprintf(ids, sizeof(ids), "\t%u\t%u\t%u", pw->pw_gid, pw->pw_gid, pw->pw_gid);
	assert_threads_have(w->pid, "Gid:", ids);
	assert_threads_have(w->pid, "CapEff:", "0000000000000000");
	assert_threads_have(w->pid, "CapPrm:", "0000000000000000");
#if !THREADS_BEFORE_MAIN
	assert_threads_have(w->pid, "CapBnd:", "0000000000000000");
	assert_threads_have(w->pid, "NoNewPrivs:", "1");
#endif
	snprintf(path, sizeof(path), "%s/log/stile-demo.log", w->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, pw->pw_uid);
	snprintf(path, sizeof(path), "%s/store/stile-demo.db", w->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, pw->pw_uid);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(w->socket, &st), 0);
	assert_int_equal(st.st_uid, pw->pw_uid);
	assert_int_equal(st.st_mode & 0777, 0660);
	kill(w->pid, SIGTERM);
	assert_int_equal(exit_code(w), 0);
	assert_int_not_equal(access(w->socket, F_OK), 0);
}

static void root_that_stays_root_has_no_capability_in_any_thread(void **state)
{
	struct world *w = *state;

	if (geteuid() != 0 || THREADS_BEFORE_MAIN)
		skip();
	launch(w, (const char *[]){ "--user", "root", NULL });
	assert_notified(w, "READY=1");
	assert_threads_have(w->pid, "CapEff:", "0000000000000000");
	assert_threads_have(w->pid, "CapPrm:", "0000000000000000");
	assert_threads_have(w->pid, "NoNewPrivs:", "1");
	kill(w->pid, SIGTERM);
	assert_int_equal(exit_code(w), 0);
}

/* --- names --- */

static void instance_names_make_paths_and_bad_ones_do_not(void **state)
{
	static const char *const bad[] = { "a/b", "..", "a b", "a@b", "\xc3\xa4", "a.b",
		"0123456789012345678901234567890123456789012345678901234567890123" };
	char err[256], dir[200];
	struct instance i;

	(void)state;
	assert_int_equal(instance_init(&i, "stile-turn", "lab", "/run/x", err, sizeof(err)), 0);
	assert_string_equal(i.full, "stile-turn@lab");
	assert_string_equal(i.socket_path, "/run/x/stile-turn@lab.sock");
	assert_int_equal(instance_init(&i, "stile-turn", NULL, "/run/x", err, sizeof(err)), 0);
	assert_string_equal(i.socket_path, "/run/x/stile-turn.sock");
	for (size_t k = 0; k < ARRAY_LEN(bad); k++)
		assert_int_equal(instance_init(&i, "stile-turn", bad[k], "/run/x", err, sizeof(err)), -EINVAL);
	memset(dir, 'x', sizeof(dir) - 1);
	dir[sizeof(dir) - 1] = 0;
	assert_int_equal(instance_init(&i, "stile-turn", "", dir, err, sizeof(err)), -ENAMETOOLONG);
	setenv("RUNTIME_DIRECTORY", "/run/first:/run/second", 1);
	assert_int_equal(instance_init(&i, "stile-turn", "", NULL, err, sizeof(err)), 0);
	assert_string_equal(i.runtime_dir, "/run/first");
	unsetenv("RUNTIME_DIRECTORY");
}

/* Without --runtime-dir: root's is /run/stile, anybody else's is the one of his session. */
static void without_a_runtime_folder_there_is_no_socket(void **state)
{
	bool root = geteuid() == 0;
	char err[256];
	struct instance i;

	(void)state;
	unsetenv("RUNTIME_DIRECTORY");
	if (root) {
		assert_int_equal(instance_init(&i, "stile-turn", "", NULL, err, sizeof(err)), 0);
		assert_string_equal(i.socket_path, "/run/stile/stile-turn.sock");
		assert_int_equal(seteuid(65534), 0);
	}
	setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
	assert_int_equal(instance_init(&i, "stile-turn", "lab", NULL, err, sizeof(err)), 0);
	assert_string_equal(i.socket_path, "/run/user/1000/stile/stile-turn@lab.sock");
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(instance_init(&i, "stile-turn", "lab", NULL, err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "--runtime-dir"));
	if (root)
		assert_int_equal(seteuid(0), 0);
}

/* --- settings of the store --- */

static json_t *set_number(const struct world *w, int n, const char *want_error)
{
	return call(w, "config.set", json_pack("{s:s, s:i}", "path", "demo.number", "value", n), want_error);
}

static void assert_number(const struct world *w, const char *value, const char *source)
{
	json_t *got = call(w, "config.get", json_pack("{s:s}", "path", "demo.number"), NULL);
	const json_t *row = json_array_get(json_object_get(got, "rows"), 0);

	assert_string_equal(json_string_value(json_object_get(row, "value")), value);
	assert_string_equal(json_string_value(json_object_get(row, "source")), source);
	json_decref(got);
}

/* A reload tells READY=1, too. */
static void forget_notifications(struct world *w)
{
	char text[512];

	while (recv(w->notify_fd, text, sizeof(text), MSG_DONTWAIT) > 0)
		;
}

static void stop(struct world *w)
{
	kill(w->pid, SIGTERM);
	assert_int_equal(exit_code(w), 0);
	forget_notifications(w);
}

static void a_setting_holds_over_a_restart_and_what_cannot_be_applied_is_taken_back(void **state)
{
	struct world *w = *state;
	json_t *said;

	write_config(w, "stuck: false");
	start(w);
	assert_number(w, "1", "default");
	json_decref(set_number(w, 42, NULL));
	assert_number(w, "42", "store");
	json_decref(set_number(w, 13, "bad-request"));
	said = set_number(w, 77, "failed"); /* only its reload finds out */
	assert_non_null(strstr(json_string_value(json_object_get(said, "text")), "refused by the service itself"));
	json_decref(said);
	assert_number(w, "42", "store");
	stop(w);
	start(w);
	assert_number(w, "42", "store");
	said = call(w, "config.audit", NULL, NULL); /* 77 and that it was taken back are told */
	assert_int_equal(json_array_size(json_object_get(said, "rows")), 3);
	json_decref(said);
	json_decref(call(w, "config.unset", json_pack("{s:s}", "path", "demo.number"), NULL));
	assert_number(w, "1", "default");
	stop(w);
}

static void a_setting_that_is_bad_beside_a_new_file_is_left_out(void **state)
{
	struct world *w = *state;
	json_t *got;

	write_config(w, "stuck: false");
	start(w);
	json_decref(set_number(w, 99, NULL));
	stop(w);
	write_config(w, "never_drained: true");
	launch(w, NULL);
	assert_notified(w, "READY=1");
	assert_number(w, "1", "default");
	got = call(w, "config.get", json_pack("{s:s}", "path", "demo.number"), NULL);
	assert_non_null(strstr(json_string_value(json_object_get(json_array_get(json_object_get(got, "rows"), 0), "skipped")), "never drained"));
	json_decref(got);
	json_decref(set_number(w, 50, NULL)); /* which goes with the file */
	assert_number(w, "50", "store");
	kill(w->pid, SIGTERM);
	kill(w->pid, SIGTERM);
	waitpid(w->pid, NULL, 0);
	w->pid = 0;
}

static bool waits(const struct world *w)
{
	json_t *got = call(w, "config.get", NULL, NULL);
	bool yes = json_is_object(json_object_get(got, "pending"));

	json_decref(got);
	return yes;
}

/* Started with the change, and there is still time to confirm it. */
static bool start_with_change(struct world *w)
{
	json_decref(call(w, "config.set", json_pack("{s:s, s:b, s:i}", "path", "demo.stuck", "value", 1, "confirm_within_ms", 5000), NULL));
	stop(w);
	start(w);
	return waits(w);
}

static void a_change_that_needed_a_restart_is_rolled_back_by_another_one(void **state)
{
	struct world *w = *state;
	int status = 0, tries = 0;
	json_t *got;

	write_config(w, "number: 1");
	start(w);
	while (!start_with_change(w)) /* a slow machine: the start has rolled it back already */
		assert_true(++tries < 5);
	for (int i = 0; i < 3000 && waitpid(w->pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	w->pid = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	forget_notifications(w);
	start(w);
	got = call(w, "config.get", json_pack("{s:s}", "path", "demo.stuck"), NULL);
	assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(got, "rows"), 0), "source")), "default");
	json_decref(got);
	stop(w);
}

static void the_common_schemas_are_sound(void **state)
{
	char err[256] = "";

	(void)state;
	if (cfg_schema_selftest(&cfg_log_schema, err, sizeof(err)) || cfg_schema_selftest(&cfg_store_schema, err, sizeof(err)))
		fail_msg("%s", err);
}

#define IN_WORLD(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instance_names_make_paths_and_bad_ones_do_not),
		cmocka_unit_test(without_a_runtime_folder_there_is_no_socket),
		cmocka_unit_test(the_common_schemas_are_sound),
		IN_WORLD(a_service_becomes_ready_answers_and_stops_cleanly),
		IN_WORLD(bad_command_lines_and_configurations_exit_with_2),
		IN_WORLD(check_shows_errors_and_starts_nothing),
		IN_WORLD(check_and_start_refuse_a_log_folder_that_cannot_be_written),
		IN_WORLD(help_and_version_exit_with_0),
		IN_WORLD(a_failed_start_exits_with_1_and_its_reason),
		IN_WORLD(closed_standard_descriptors_are_nobody_elses),
		IN_WORLD(a_hangup_during_the_start_waits_for_it),
		IN_WORLD(a_second_instance_needs_a_name_of_its_own),
		IN_WORLD(a_stop_waits_for_the_drain_no_longer_than_its_limit),
		IN_WORLD(a_second_signal_stops_at_once_and_is_no_clean_stop),
		IN_WORLD(who_asks_the_store_because_of_its_answer_is_answered_at_the_stop_too),
		IN_WORLD(stop_over_the_control_socket_is_answered),
		IN_WORLD(a_drain_without_a_deadline_waits_until_a_stop_which_is_clean),
		IN_WORLD(a_drain_ends_at_its_deadline_and_the_last_one_set_counts),
		IN_WORLD(a_drain_with_nothing_left_stops_at_once),
		IN_WORLD(a_dry_run_tells_the_changes_and_applies_none),
		IN_WORLD(a_good_reload_is_taken_and_a_bad_one_changes_nothing),
		IN_WORLD(a_reload_reopens_a_log_that_was_moved_away),
		IN_WORLD(a_setting_holds_over_a_restart_and_what_cannot_be_applied_is_taken_back),
		IN_WORLD(a_setting_that_is_bad_beside_a_new_file_is_left_out),
		IN_WORLD(a_change_that_needed_a_restart_is_rolled_back_by_another_one),
		IN_WORLD(the_log_level_is_shown_and_set),
		IN_WORLD(the_watchdog_is_fed_only_while_the_workers_move),
		IN_WORLD(a_service_started_as_root_keeps_nothing_of_it_in_any_thread),
		IN_WORLD(root_that_stays_root_has_no_capability_in_any_thread),
	};

	umask(022); /* the user that is dropped to reads the world's files, whatever mask the caller has */
	return cmocka_run_group_tests_name("service", tests, NULL, NULL);
}
