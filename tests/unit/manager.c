/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and stopping by systemd, against a system bus that this test plays: one thread answers as the bus and as
 * org.freedesktop.systemd1, with units in the states that an administrator meets. What is held against it: which methods
 * are called with what, that the end of a job is waited for, and what is told of a unit that did not start.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>
#include "common/manager.h"
#include "common/json.h"
#include "common/manager_priv.h"

#define SD "org.freedesktop.systemd1"

struct unit {
	const char *name, *active, *sub, *file, *result; /* result: of its jobs; NULL: refused */
	int code, status;
	unsigned pid, restarts;
	uint64_t since_us;
};
static const struct unit units[] = {
	{ "stile-turn.service", "active", "running", "enabled", "done", 0, 0, 4711, 0, 1700000000000000 },
	{ "stile-tunnel.service", "failed", "failed", "enabled", "failed", CLD_EXITED, 2, 0, 5, 1700000001000000 },
	{ "stile-sip@lab.service", "inactive", "dead", "disabled", "done", CLD_KILLED, SIGSEGV, 0, 0, 1700000002000000 },
	{ "stile-agent.service", "activating", "auto-restart", "enabled", NULL, CLD_EXITED, 1, 0, 3, 1700000003000000 },
	{ "stile-strange.service", "active", "running", "enabled", "done", 0, 0, 1, 0, 0 },
};

struct world {
	int listener;
	char path[108], called[8][64]; /* "StartUnit stile-turn.service" */
	unsigned n_called;
	pthread_t thread;
};

static const struct unit *unit_at(const char *path)
{
	_cleanup_(freep) char *name = NULL;

	if (sd_bus_path_decode(path, "/org/freedesktop/systemd1/unit", &name) > 0)
		for (size_t i = 0; i < ARRAY_LEN(units); i++)
			if (strcmp(units[i].name, name) == 0)
				return &units[i];
	return NULL;
}

static int reply_property(sd_bus_message *m)
{
	const struct unit *u = unit_at(sd_bus_message_get_path(m));
	const char *iface, *name;

	assert_true(sd_bus_message_read(m, "ss", &iface, &name) >= 0);
	if (!u)
		return sd_bus_reply_method_return(m, "v", "s", "not-found");
	if (strcmp(name, "LoadState") == 0)
		return sd_bus_reply_method_return(m, "v", "s", "loaded");
	if (strcmp(name, "ActiveState") == 0)
		return sd_bus_reply_method_return(m, "v", "s", u->active);
	if (strcmp(name, "SubState") == 0)
		return sd_bus_reply_method_return(m, "v", "s", u->sub);
	if (strcmp(name, "UnitFileState") == 0)
		return sd_bus_reply_method_return(m, "v", "s", u->file);
	if (strcmp(name, "MainPID") == 0)
		return sd_bus_reply_method_return(m, "v", "u", u->pid);
	if (strcmp(name, "NRestarts") == 0)
		return sd_bus_reply_method_return(m, "v", "u", u->restarts);
	if (strcmp(name, "StateChangeTimestamp") == 0)
		return sd_bus_reply_method_return(m, "v", "t", u->since_us);
	if (strcmp(name, "ExecMainCode") == 0)
		return sd_bus_reply_method_return(m, "v", "i", u->code);
	return sd_bus_reply_method_return(m, "v", "i", u->status);
}

static int reply_list(sd_bus_message *m, bool files)
{
	sd_bus_message *r = NULL;

	assert_true(sd_bus_message_new_method_return(m, &r) >= 0);
	assert_true(sd_bus_message_open_container(r, 'a', files ? "(ss)" : "(ssssssouso)") >= 0);
	for (size_t i = 0; i < ARRAY_LEN(units); i++) /* every second one is loaded, all have a file */
		if (files)
			assert_true(sd_bus_message_append(r, "(ss)", units[i].name, units[i].file) >= 0);
		else if (i % 2)
			assert_true(sd_bus_message_append(r, "(ssssssouso)", units[i].name, "d", "loaded", units[i].active, units[i].sub, "", "/u", 0u,
							  "", "/") >= 0);
	assert_true(sd_bus_message_close_container(r) >= 0);
	int k = sd_bus_send(sd_bus_message_get_bus(m), r, NULL);
	sd_bus_message_unref(r);
	return k;
}

static int reply_job(struct world *w, sd_bus_message *m)
{
	sd_bus *bus = sd_bus_message_get_bus(m);
	const char *name, *mode;
	const struct unit *u = NULL;

	assert_true(sd_bus_message_read(m, "ss", &name, &mode) >= 0);
	assert_string_equal(mode, "replace");
	if (w->n_called < ARRAY_LEN(w->called))
		snprintf(w->called[w->n_called++], sizeof(w->called[0]), "%s %.40s", sd_bus_message_get_member(m), name);
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strcmp(units[i].name, name) == 0)
			u = &units[i];
	if (!u)
		return sd_bus_reply_method_errorf(m, SD ".NoSuchUnit", "Unit %s not found.", name);
	if (!u->result)
		return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, "Interactive authentication required.");
	assert_true(sd_bus_reply_method_return(m, "o", "/org/freedesktop/systemd1/job/7") >= 0);
	/* Another job first: nobody may take it for ours. */
	assert_true(sd_bus_emit_signal(bus, "/org/freedesktop/systemd1", SD ".Manager", "JobRemoved", "uoss", 6u, "/org/freedesktop/systemd1/job/6",
				       "other.service", "canceled") >= 0);
	return sd_bus_emit_signal(bus, "/org/freedesktop/systemd1", SD ".Manager", "JobRemoved", "uoss", 7u, "/org/freedesktop/systemd1/job/7", name,
				  u->result);
}

static int on_message(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	const char *member = sd_bus_message_get_member(m);
	struct world *w = arg;

	(void)e;
	if (!sd_bus_message_is_method_call(m, NULL, NULL))
		return 0;
	if (strcmp(member, "Hello") == 0)
		return sd_bus_reply_method_return(m, "s", ":1.1");
	if (strcmp(member, "Get") == 0)
		return reply_property(m);
	if (strcmp(member, "ListUnitsByPatterns") == 0 || strcmp(member, "ListUnitFilesByPatterns") == 0)
		return reply_list(m, member[8] == 'F');
	if (strstr(member, "Unit"))
		return reply_job(w, m);
	return sd_bus_reply_method_return(m, ""); /* AddMatch, Subscribe … */
}

static void serve(struct world *w, int fd)
{
	sd_id128_t id = { 0 };
	sd_bus *bus = NULL;

	assert_true(sd_bus_new(&bus) >= 0);
	assert_true(sd_bus_set_fd(bus, fd, fd) >= 0);
	assert_true(sd_bus_set_server(bus, 1, id) >= 0);
	assert_true(sd_bus_set_anonymous(bus, 1) >= 0);
	assert_true(sd_bus_set_sender(bus, SD) >= 0);
	assert_true(sd_bus_add_filter(bus, NULL, on_message, w) >= 0);
	assert_true(sd_bus_start(bus) >= 0);
	while (sd_bus_process(bus, NULL) > 0 || (sd_bus_is_open(bus) > 0 && sd_bus_wait(bus, UINT64_MAX) >= 0))
		continue;
	sd_bus_unref(bus);
}

static void *server_main(void *arg)
{
	struct world *w = arg;
	int fd;

	while ((fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		serve(w, fd);
	return NULL;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char address[160];

	snprintf(w->path, sizeof(w->path), "/tmp/stile-manager-%d.sock", (int)getpid());
	memcpy(a.sun_path, w->path, sizeof(w->path));
	w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(bind(w->listener, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(w->listener, 8) == 0);
	snprintf(address, sizeof(address), "unix:path=%s", w->path);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
	assert_int_equal(pthread_create(&w->thread, NULL, server_main, w), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	shutdown(w->listener, SHUT_RDWR);
	pthread_join(w->thread, NULL);
	close(w->listener);
	unlink(w->path);
	unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
	free(w);
	return 0;
}

static const json_t *row_of(const json_t *rows, const char *program)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (strcmp(json_string_value(json_object_get(row, "program")), program) == 0)
			return row;
	return NULL;
}

static void the_list_has_every_unit_of_ours_once_with_how_it_ended(void **state)
{
	char err[MANAGER_ERRLEN] = "";
	const json_t *row;
	json_t *rows = NULL;

	(void)state;
	assert_int_equal(manager_list("/nonexistent", &rows, err), 0);
	assert_int_equal(json_array_size(rows), 4);
	assert_null(row_of(rows, "stile-strange"));
	row = row_of(rows, "stile-turn");
	assert_string_equal(text_of_key(row, "state"), "running");
	assert_string_equal(text_of_key(row, "by"), "systemd");
	assert_int_equal(json_integer_value(json_object_get(row, "pid")), 4711);
	assert_int_equal(json_integer_value(json_object_get(row, "since")), 1700000000000);
	assert_true(json_is_true(json_object_get(row, "enabled")) && json_is_null(json_object_get(row, "exit_code")));
	row = row_of(rows, "stile-tunnel");
	assert_string_equal(text_of_key(row, "state"), "failed");
	assert_int_equal(json_integer_value(json_object_get(row, "exit_code")), 2);
	assert_int_equal(json_integer_value(json_object_get(row, "restarts")), 5);
	row = row_of(rows, "stile-sip");
	assert_string_equal(text_of_key(row, "state"), "stopped");
	assert_string_equal(text_of_key(row, "instance"), "lab");
	assert_string_equal(text_of_key(row, "signal"), "SIGSEGV");
	assert_false(json_is_true(json_object_get(row, "enabled")));
	assert_string_equal(text_of_key(row_of(rows, "stile-agent"), "state"), "failed"); /* it is tried again and again */
	json_decref(rows);
}

static int order(enum manager_action action, const char *program, const char *instance, json_t **ret_row, char err[static MANAGER_ERRLEN])
{
	const struct manager_order o = { action, program, instance };

	err[0] = 0;
	return manager_do("/nonexistent", &o, ret_row, err);
}

static void a_job_is_waited_for_and_a_failed_one_says_how_it_ended(void **state)
{
	struct world *w = *state;
	char err[MANAGER_ERRLEN];
	json_t *row = NULL;

	assert_int_equal(order(MANAGER_RESTART, "stile-turn", "", &row, err), 0);
	assert_string_equal(text_of_key(row, "state"), "running");
	json_decref(row);
	assert_int_equal(order(MANAGER_STOP, "stile-sip", "lab", &row, err), 0);
	json_decref(row);
	assert_int_equal(order(MANAGER_START, "stile-tunnel", "", &row, err), -EIO);
	assert_non_null(strstr(err, "stile-tunnel did not start: exit code 2"));
	assert_non_null(strstr(err, "journalctl -u stile-tunnel.service"));
	json_decref(row);
	assert_string_equal(w->called[0], "RestartUnit stile-turn.service");
	assert_string_equal(w->called[1], "StopUnit stile-sip@lab.service");
	assert_string_equal(w->called[2], "StartUnit stile-tunnel.service");
}

static void who_may_not_and_what_is_not_there_are_told_apart(void **state)
{
	char err[MANAGER_ERRLEN];
	json_t *row = NULL;

	(void)state;
	assert_int_equal(order(MANAGER_START, "stile-agent", "", &row, err), -EACCES);
	assert_non_null(strstr(err, "group stile"));
	assert_int_equal(order(MANAGER_START, "stile-console", "", &row, err), -ENOENT);
	assert_non_null(strstr(err, "no unit stile-console.service"));
	assert_null(row);
}

static void names_of_units_are_taken_apart_and_others_are_not_ours(void **state)
{
	static const char *const bad[] = { "stile-turn", "stile-turn.socket", "stile-turn@.service", "stile-turnx.service", "stile-.service",
					   "nginx.service", ".service", "", "stile-turn.service.d" };
	char program[32], instance[64], unit[160];

	(void)state;
	assert_true(manager_unit_parse("stile-turn@a-b_c.service", program, sizeof(program), instance, sizeof(instance)));
	assert_string_equal(program, "stile-turn");
	assert_string_equal(instance, "a-b_c");
	assert_int_equal(manager_unit_name(program, instance, unit, sizeof(unit)), 0);
	assert_string_equal(unit, "stile-turn@a-b_c.service");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(manager_unit_parse(bad[i], program, sizeof(program), instance, sizeof(instance)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_list_has_every_unit_of_ours_once_with_how_it_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(a_job_is_waited_for_and_a_failed_one_says_how_it_ended, setup, teardown),
		cmocka_unit_test_setup_teardown(who_may_not_and_what_is_not_there_are_told_apart, setup, teardown),
		cmocka_unit_test(names_of_units_are_taken_apart_and_others_are_not_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
