/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which manager there is. A supervisor whose socket is alive has made the services of this runtime folder, so it is
 * asked first; then systemd, if this machine was booted with it.
 *
 * The supervisor is asked like any service, over its control socket; its rows are those of manager.h already.
 */
#include "common/manager.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/control.h"
#include "common/manager_priv.h"

enum { ASK_MS = 5000, WAIT_MS = 300000 };

const char *const manager_programs[] = { "stile-turn", "stile-tunnel", "stile-agent", "stile-sip", "stile-fastpath", "stile-console",
					 "stile-gateway", NULL };
const char *const manager_action_names[] = { [MANAGER_START] = "start", [MANAGER_STOP] = "stop", [MANAGER_RESTART] = "restart" };

const char *manager_program(const char *word, size_t n)
{
	const size_t prefix = strlen("stile-");

	for (const char *const *p = manager_programs; *p; p++)
		if ((strlen(*p) == n && strncmp(*p, word, n) == 0) || (strlen(*p + prefix) == n && strncmp(*p + prefix, word, n) == 0))
			return *p;
	return NULL;
}

int manager_unit_name(const char *program, const char *instance, char *out, size_t n)
{
	int len = snprintf(out, n, "%s%s%s.service", program, *instance ? "@" : "", instance);

	return len < 0 || (size_t)len >= n ? -EINVAL : 0;
}

bool manager_unit_parse(const char *unit, char *program, size_t program_n, char *instance, size_t instance_n)
{
	const char *end = strrchr(unit, '.'), *at = strchr(unit, '@');
	size_t n;

	if (!end || strcmp(end, ".service") != 0 || (at && at + 1 == end))
		return false; /* or a template without an instance */
	n = (size_t)((at ? at : end) - unit);
	for (const char *const *p = manager_programs; *p; p++)
		if (strlen(*p) == n && strncmp(unit, *p, n) == 0) {
			(void)snprintf(program, program_n, "%s", *p);
			(void)snprintf(instance, instance_n, "%.*s", at ? (int)(end - at - 1) : 0, at ? at + 1 : "");
			return true;
		}
	return false;
}

/* ---- the supervisor ---- */

/* -ENOSYS: there is none. */
static int supervisor_connect(const char *runtime_dir, int timeout_ms, struct control_client **ret_c, char err[static MANAGER_ERRLEN])
{
	char path[512];
	int r;

	(void)snprintf(path, sizeof(path), "%s/" MANAGER_SUPERVISOR ".sock", runtime_dir);
	r = control_connect(path, timeout_ms, ret_c);
	if (r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR)
		return -ENOSYS;
	if (r == -EACCES)
		(void)snprintf(err, MANAGER_ERRLEN, "no access to the supervisor (%s): run as its user, as root, or as a member of the group stile", path);
	else if (r < 0)
		(void)snprintf(err, MANAGER_ERRLEN, "the supervisor does not answer (%s): %s", path, strerror(-r));
	return r;
}

static int errno_of(const char *code)
{
	return !code ? -EIO : strcmp(code, "forbidden") == 0 ? -EACCES : strcmp(code, "not-found") == 0 ? -ENOENT : -EIO;
}

/* Takes args. */
static int supervisor_call(struct control_client *cl, const char *verb, json_t *args, json_t **ret_result, char err[static MANAGER_ERRLEN])
{
	json_t *error = NULL;
	const char *text, *hint;
	int r = control_call(cl, verb, args, ret_result, &error);

	if (r == 0)
		return 0;
	text = json_string_value(json_object_get(error, "text"));
	hint = json_string_value(json_object_get(error, "hint"));
	(void)snprintf(err, MANAGER_ERRLEN, "%s%s%s", text ? text : r < 0 ? strerror(-r) : "the supervisor refuses", hint ? "\n" : "", hint ? hint : "");
	r = r == CONTROL_ERROR ? errno_of(json_string_value(json_object_get(error, "code"))) : r;
	json_decref(error);
	return r;
}

static int supervisor_list(const char *runtime_dir, json_t **ret_rows, char err[static MANAGER_ERRLEN])
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL, *rows;
	int r = supervisor_connect(runtime_dir, ASK_MS, &cl, err);

	if (r == 0)
		r = supervisor_call(cl, "supervisor.services", NULL, &result, err);
	if (r < 0)
		return r;
	rows = json_object_get(result, "rows");
	*ret_rows = rows ? json_incref(rows) : json_array();
	json_decref(result);
	return 0;
}

static int supervisor_do(const char *runtime_dir, const struct manager_order *o, json_t **ret_row, char err[static MANAGER_ERRLEN])
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	char verb[32];
	int r = supervisor_connect(runtime_dir, WAIT_MS, &cl, err);

	if (r < 0)
		return r;
	(void)snprintf(verb, sizeof(verb), "supervisor.%s", manager_action_names[o->action]);
	return supervisor_call(cl, verb, json_pack("{s:s, s:s}", "program", o->program, "instance", o->instance), ret_row, err);
}

/* ---- whichever there is ---- */

static int nobody(char err[static MANAGER_ERRLEN])
{
	(void)snprintf(err, MANAGER_ERRLEN, "nobody starts and stops services here: this machine was not booted with systemd, and no supervisor runs\n"
		       "Start one that does: stile supervise -c FILE");
	return -ENOSYS;
}

int manager_list(const char *runtime_dir, json_t **ret_rows, char err[static MANAGER_ERRLEN])
{
	int r = supervisor_list(runtime_dir, ret_rows, err);

	if (r != -ENOSYS)
		return r;
	return manager_systemd_there() ? manager_systemd_list(ret_rows, err) : nobody(err);
}

int manager_do(const char *runtime_dir, const struct manager_order *o, json_t **ret_row, char err[static MANAGER_ERRLEN])
{
	int r;

	*ret_row = NULL;
	r = supervisor_do(runtime_dir, o, ret_row, err);
	if (r != -ENOSYS)
		return r;
	return manager_systemd_there() ? manager_systemd_do(o, ret_row, err) : nobody(err);
}
