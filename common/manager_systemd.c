/* SPDX-License-Identifier: Apache-2.0 */
/*
 * systemd by sd-bus: units named as the programs, "stile-turn.service" and "stile-turn@INSTANCE.service". A job is waited
 * for by the signal JobRemoved, whose match stands before the job is asked for.
 *
 * Who may is polkit's affair (packaging/polkit): the tool lets it ask for a password on a terminal, a console's
 * user has the rule. Nothing here trusts a name that it was not given by manager_programs.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include "common/clock.h"
#include "common/manager_priv.h"

#define DEST "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER_IFACE DEST ".Manager"
enum { JOB_WAIT_MS = 300000, UNIT = 160 };

struct bus {
	sd_bus *b;
	char job[256], result[32]; /* the job waited for, and how it ended; "": not yet */
};

static void bus_close(struct bus *b)
{
	sd_bus_flush_close_unref(b->b);
}

static int fail(char err[static MANAGER_ERRLEN], int r, const char *what, const sd_bus_error *e)
{
	(void)snprintf(err, MANAGER_ERRLEN, "%s: %s", what, e && e->message ? e->message : strerror(-r));
	return r;
}

static int bus_open(struct bus *b, char err[static MANAGER_ERRLEN])
{
	int r = sd_bus_open_system(&b->b);

	return r < 0 ? fail(err, r, "cannot reach systemd by the system bus", NULL) : 0;
}

bool manager_systemd_there(void)
{
	return sd_booted() > 0 || getenv("DBUS_SYSTEM_BUS_ADDRESS"); /* a bus that was named is one to be asked */
}

/* ---- properties ---- */

static char *text_property(struct bus *b, const char *path, const char *iface, const char *name)
{
	char *s = NULL;

	return sd_bus_get_property_string(b->b, DEST, path, iface, name, NULL, &s) < 0 ? NULL : s;
}

static uint64_t number_property(struct bus *b, const char *path, const char *name, char type)
{
	union {
		uint64_t t;
		uint32_t u;
		int32_t i;
	} v = { 0 };
	const char *iface = strcmp(name, "StateChangeTimestamp") == 0 ? DEST ".Unit" : DEST ".Service";

	if (sd_bus_get_property_trivial(b->b, DEST, path, iface, name, NULL, type, &v) < 0)
		return 0;
	return type == 't' ? v.t : type == 'u' ? v.u : (uint64_t)(uint32_t)v.i;
}

/* How it ended, if it has: by code (CLD_EXITED) or signal. */
static void set_end(json_t *row, uint64_t code, uint64_t status)
{
	const char *name = code == CLD_KILLED || code == CLD_DUMPED ? sigabbrev_np((int)status) : NULL;

	json_object_set_new(row, "exit_code", code == CLD_EXITED ? json_integer((json_int_t)status) : json_null());
	json_object_set_new(row, "signal", name ? json_sprintf("SIG%s", name) : json_null());
}

static const char *state_of(const char *active, const char *sub)
{
	return strcmp(active, "active") == 0 ? "running" : strcmp(active, "reloading") == 0 ? "running" :
	       strcmp(active, "activating") == 0 ? (strcmp(sub, "auto-restart") == 0 ? "failed" : "starting") :
	       strcmp(active, "deactivating") == 0 ? "stopping" : strcmp(active, "failed") == 0 ? "failed" : "stopped";
}

/* NULL: there is no such unit file. */
static json_t *unit_row(struct bus *b, const char *unit)
{
	_cleanup_(freep) char *path = NULL, *load = NULL, *active = NULL, *sub = NULL, *file = NULL, *error = NULL;
	char program[32], instance[64];
	const char *state;
	json_t *row;

	if (!manager_unit_parse(unit, program, sizeof(program), instance, sizeof(instance)) ||
	    sd_bus_path_encode(MANAGER_PATH "/unit", unit, &path) < 0)
		return NULL;
	load = text_property(b, path, DEST ".Unit", "LoadState");
	if (!load || strcmp(load, "loaded") != 0)
		return NULL;
	active = text_property(b, path, DEST ".Unit", "ActiveState");
	sub = text_property(b, path, DEST ".Unit", "SubState");
	file = text_property(b, path, DEST ".Unit", "UnitFileState");
	state = state_of(active ? active : "", sub ? sub : "");
	if (strcmp(state, "failed") == 0)
		error = manager_journal_error(unit);
	row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:s?, s:I, s:I}", "program", program, "service", program + strlen("stile-"),
			"instance", instance, "state", state, "by", "systemd", "pid", (json_int_t)number_property(b, path, "MainPID", 'u'),
			"enabled", file && strncmp(file, "enabled", 7) == 0, "last_error", error, "since",
			(json_int_t)(number_property(b, path, "StateChangeTimestamp", 't') / 1000), "restarts",
			(json_int_t)number_property(b, path, "NRestarts", 'u'));
	if (row && strcmp(state, "running") != 0 && strcmp(state, "starting") != 0)
		set_end(row, number_property(b, path, "ExecMainCode", 'i'), number_property(b, path, "ExecMainStatus", 'i'));
	else if (row)
		set_end(row, 0, 0);
	return row;
}

/* ---- the list ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of units into an object, each once. */
static int add_names(sd_bus_message *m, const char *fields, json_t *names)
{
	char type[32];
	int r;

	(void)snprintf(type, sizeof(type), "(%s)", fields);
	r = sd_bus_message_enter_container(m, 'a', type);
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'r', fields)) > 0) {
		const char *s = NULL;

		r = sd_bus_message_read_basic(m, 's', &s);
		if (r >= 0 && strrchr(s, '/'))
			s = strrchr(s, '/') + 1; /* of a file */
		if (r >= 0)
			json_object_set_new(names, s, json_true());
		while (r >= 0 && !sd_bus_message_at_end(m, 0))
			r = sd_bus_message_skip(m, NULL);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r < 0 ? r : 0;
}

static int collect(struct bus *b, const char *method, const char *fields, json_t *names, char err[static MANAGER_ERRLEN])
{
	_cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r = sd_bus_call_method(b->b, DEST, MANAGER_PATH, MANAGER_IFACE, method, &e, &m, "asas", 0, 1, "stile-*.service");

	if (r < 0)
		return fail(err, r, "systemd does not list its units", &e);
	r = add_names(m, fields, names);
	return r < 0 ? fail(err, r, "systemd's list of units cannot be read", NULL) : 0;
}

int manager_systemd_list(json_t **ret_rows, char err[static MANAGER_ERRLEN])
{
	_cleanup_(bus_close) struct bus b = { 0 };
	json_t *names = json_object(), *rows = json_array(), *v;
	const char *list[128], *name;
	size_t n = 0;
	int r = bus_open(&b, err);

	if (r == 0)
		r = collect(&b, "ListUnitsByPatterns", "ssssssouso", names, err);
	if (r == 0)
		r = collect(&b, "ListUnitFilesByPatterns", "ss", names, err);
	json_object_foreach(names, name, v)
		if (n < ARRAY_LEN(list))
			list[n++] = name;
	qsort(list, n, sizeof(*list), by_name);
	for (size_t i = 0; i < n && r == 0; i++) {
		json_t *row = unit_row(&b, list[i]);
		if (row)
			json_array_append_new(rows, row);
	}
	json_decref(names);
	if (r < 0) {
		json_decref(rows);
		return r;
	}
	*ret_rows = rows;
	return 0;
}

/* ---- jobs ---- */

static int on_removed(sd_bus_message *m, void *arg, sd_bus_error *e)
{
	struct bus *b = arg;
	const char *path, *unit, *result;
	uint32_t id;

	(void)e;
	if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) >= 0 && b->job[0] && strcmp(path, b->job) == 0)
		(void)snprintf(b->result, sizeof(b->result), "%s", result);
	return 0;
}

static int wait_for_job(struct bus *b, char err[static MANAGER_ERRLEN])
{
	uint64_t until = clock_steady_ms() + JOB_WAIT_MS;
	int r = 0;

	while (!b->result[0] && r >= 0 && clock_steady_ms() < until) {
		r = sd_bus_process(b->b, NULL);
		if (r == 0)
			r = sd_bus_wait(b->b, 1000000);
		if (r == -EINTR)
			r = 0;
	}
	if (r < 0)
		return fail(err, r, "systemd went away while it worked", NULL);
	if (!b->result[0]) {
		(void)snprintf(err, MANAGER_ERRLEN, "systemd is still at it after %d s: systemctl list-jobs", JOB_WAIT_MS / 1000);
		return -EIO;
	}
	return 0;
}

static int refused(int r, const char *unit, const sd_bus_error *e, char err[static MANAGER_ERRLEN])
{
	if (sd_bus_error_has_name(e, SD_BUS_ERROR_ACCESS_DENIED) || sd_bus_error_has_name(e, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED)) {
		(void)snprintf(err, MANAGER_ERRLEN, "not allowed: become root, or a member of the group stile (its polkit rule allows it)");
		return -EACCES;
	}
	if (sd_bus_error_has_name(e, DEST ".NoSuchUnit") || sd_bus_error_has_name(e, DEST ".LoadFailed")) {
		(void)snprintf(err, MANAGER_ERRLEN, "systemd has no unit %s", unit);
		return -ENOENT;
	}
	return fail(err, r, "systemd refuses", e);
}

static int ask_job(struct bus *b, const char *method, const char *unit, char err[static MANAGER_ERRLEN])
{
	_cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *answer = NULL;
	const char *job;
	int r;

	r = sd_bus_match_signal(b->b, NULL, DEST, MANAGER_PATH, MANAGER_IFACE, "JobRemoved", on_removed, b);
	if (r >= 0)
		r = sd_bus_call_method(b->b, DEST, MANAGER_PATH, MANAGER_IFACE, "Subscribe", &e, NULL, "");
	if (r >= 0)
		r = sd_bus_message_new_method_call(b->b, &call, DEST, MANAGER_PATH, MANAGER_IFACE, method);
	if (r >= 0)
		r = sd_bus_message_append(call, "ss", unit, "replace");
	if (r >= 0)
		r = sd_bus_message_set_allow_interactive_authorization(call, 1);
	if (r >= 0)
		r = sd_bus_call(b->b, call, (uint64_t)JOB_WAIT_MS * 1000, &e, &answer);
	if (r >= 0)
		r = sd_bus_message_read(answer, "o", &job);
	if (r < 0)
		return refused(r, unit, &e, err);
	(void)snprintf(b->job, sizeof(b->job), "%s", job);
	return 0;
}

/* "stile-turn did not start: exit code 1: cannot listen on …" */
static void say_failed(const char *unit, const char *action, const struct bus *b, const json_t *row, char err[static MANAGER_ERRLEN])
{
	const char *signal = json_string_value(json_object_get(row, "signal")), *last = json_string_value(json_object_get(row, "last_error"));
	const json_t *code = json_object_get(row, "exit_code");
	int n = snprintf(err, MANAGER_ERRLEN, "%.*s did not %s: ", (int)(strlen(unit) - strlen(".service")), unit, action);

	if (n < 0 || n >= MANAGER_ERRLEN)
		return;
	if (signal)
		n += snprintf(err + n, MANAGER_ERRLEN - (size_t)n, "ended by %s", signal);
	else if (json_is_integer(code) && json_integer_value(code))
		n += snprintf(err + n, MANAGER_ERRLEN - (size_t)n, "exit code %lld", json_integer_value(code));
	else
		n += snprintf(err + n, MANAGER_ERRLEN - (size_t)n, "the job ended as %s", b->result);
	if (n < MANAGER_ERRLEN)
		(void)snprintf(err + n, MANAGER_ERRLEN - (size_t)n, "%s%s\njournalctl -u %s shows more", last ? ": " : "", last ? last : "", unit);
}

int manager_systemd_do(const struct manager_order *o, json_t **ret_row, char err[static MANAGER_ERRLEN])
{
	static const char *const methods[] = { [MANAGER_START] = "StartUnit", [MANAGER_STOP] = "StopUnit", [MANAGER_RESTART] = "RestartUnit" };
	_cleanup_(bus_close) struct bus b = { 0 };
	char unit[UNIT];
	int r = manager_unit_name(o->program, o->instance, unit, sizeof(unit));

	if (r == 0)
		r = bus_open(&b, err);
	if (r == 0)
		r = ask_job(&b, methods[o->action], unit, err);
	if (r == 0)
		r = wait_for_job(&b, err);
	if (r < 0)
		return r;
	*ret_row = unit_row(&b, unit);
	if (strcmp(b.result, "done") == 0)
		return 0;
	say_failed(unit, manager_action_names[o->action], &b, *ret_row, err);
	return -EIO;
}
