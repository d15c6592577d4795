/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile status: every service of this machine on one screen, and at its end what needs attention. What runs is what has
 * a live control socket in the runtime folder, all instances included; a socket that does not answer is shown as such.
 *
 * A service has a few lines of its own as long as all of them fit; else each has one, and --verbose shows the rest. The
 * lines at the end are those of service.health, errors first.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "cli/command.h"
#include "cli/services.h"
#include "common/manager.h"
#include "common/text.h"

enum { MAX_SERVICES = 64, ASK_TIMEOUT_MS = 3000, SCREEN_LINES = 24, HEALTH_LINES = 10, LINE = 900 };

/* Services that have a status of their own. */
struct kind {
	const char *program, *verb, *key; /* key: in the JSON form */
	const char *left; /* of what a drain waits for: its key is this and an s */
	void (*print)(const json_t *own);
};
static const struct kind kinds[] = {
	{ "stile-turn", "turn.status", "turn", "allocation", print_turn },
	{ "stile-tunnel", "relay.status", "relay", "connection", print_tunnel },
	{ "stile-agent", "agent.status", "agent", "connection", print_agent },
	{ "stile-sip", "sip.status", "sip", "transaction", print_sip },
	{ "stile-gateway", "gateway.status", "gateway", "transfer", print_gateway },
	{ "stile-fastpath", "fastpath.status", "fastpath", "channel", print_fastpath },
	{ "stile-console", "console.status", "console", "connection", print_console },
};

struct service_status {
	char socket[512];
	int error; /* of the attempt to reach it: 0 or -errno */
	json_t *status; /* of service.status; NULL: it does not answer */
	json_t *health; /* of service.health; NULL: an older one */
	const struct kind *kind; /* NULL: none of kinds */
	json_t *own;	/* of its own status verb, if it has one */
};

/* ---- asking ---- */

static void ask(struct service_status *s)
{
	struct control_client *cl;
	const char *program;

	s->error = control_connect(s->socket, ASK_TIMEOUT_MS, &cl);
	if (s->error < 0)
		return;
	s->status = services_ask(cl, "service.status");
	program = json_string_value(json_object_get(s->status, "program"));
	for (size_t i = 0; program && i < ARRAY_LEN(kinds); i++)
		if (strcmp(program, kinds[i].program) == 0) {
			s->kind = &kinds[i];
			s->own = services_ask(cl, kinds[i].verb);
		}
	if (s->status)
		s->health = services_ask(cl, "service.health");
	control_client_free(cl);
}

static size_t find_services(const char *dir, const char *instance, struct service_status *out)
{
	struct found_service found[MAX_SERVICES];
	size_t n = services_find(dir, instance, found, MAX_SERVICES);

	for (size_t i = 0; i < n; i++) {
		out[i] = (struct service_status){ 0 };
		memcpy(out[i].socket, found[i].socket, sizeof out[i].socket);
		ask(&out[i]);
	}
	return n;
}

/* ---- those that do not run ---- */

static bool was_found(const struct service_status *s, size_t n, const json_t *row)
{
	const char *program = json_string_value(json_object_get(row, "program")), *instance = json_string_value(json_object_get(row, "instance"));
	char socket[128];

	snprintf(socket, sizeof socket, "/%s%s%s.sock", program, *instance ? "@" : "", instance);
	for (size_t i = 0; i < n; i++)
		if (s[i].status && strcmp(strrchr(s[i].socket, '/'), socket) == 0)
			return true;
	return false;
}

/* Rows of the manager for services that have no living socket; those that nobody ever started are not worth a line. */
static json_t *stopped_services(const struct cli *cli, const struct service_status *s, size_t n)
{
	const char *only = cli_instance(cli);
	char err[MANAGER_ERRLEN];
	json_t *all = NULL, *rows = json_array(), *row;
	size_t i;

	if (manager_list(cli_runtime_dir(cli), &all, err) < 0)
		return rows;
	json_array_foreach(all, i, row) {
		bool ever = json_integer_value(json_object_get(row, "since")) || json_is_true(json_object_get(row, "enabled"));
		const char *instance = json_string_value(json_object_get(row, "instance"));
		if (ever && !was_found(s, n, row) && (!only || strcmp(instance, only) == 0))
			json_array_append(rows, row);
	}
	json_decref(all);
	return rows;
}

/* "stopped since 2026-11-28 12:00:01: exit code 2: cannot listen on …" */
static void stopped_text(const json_t *row, char *out, size_t cap)
{
	const char *signal = json_string_value(json_object_get(row, "signal")), *last = json_string_value(json_object_get(row, "last_error"));
	const json_t *code = json_object_get(row, "exit_code");
	time_t since = (time_t)(json_integer_value(json_object_get(row, "since")) / 1000);
	struct sb b = sb_init(out, cap);
	char when[32];
	struct tm tm;

	sb_str(&b, json_string_value(json_object_get(row, "state")));
	if (since && localtime_r(&since, &tm) && strftime(when, sizeof when, "%F %T", &tm))
		sb_fmt(&b, " since %s", when);
	if (signal)
		sb_fmt(&b, ": ended by %s", signal);
	else if (json_is_integer(code) && json_integer_value(code))
		sb_fmt(&b, ": exit code %lld", json_integer_value(code));
	if (last && *last)
		sb_fmt(&b, ": %s", last);
}

static bool has_failed(const json_t *row)
{
	return strcmp(json_string_value(json_object_get(row, "state")), "failed") == 0;
}

static void row_name(const json_t *row, char out[static 128])
{
	const char *instance = json_string_value(json_object_get(row, "instance"));

	snprintf(out, 128, "%s%s%s", json_string_value(json_object_get(row, "service")), *instance ? "@" : "", instance);
}

/* Stopped on purpose: a line, and no fault. */
static void print_stopped(const json_t *rows)
{
	char text[LINE], name[128];
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		if (has_failed(row))
			continue;
		stopped_text(row, text, sizeof text);
		row_name(row, name);
		printf("  - %-18s ", name);
		print_clean(stdout, text);
		putchar('\n');
	}
}

/* ---- health ---- */

/* "stile-turn@lab.sock" or what the service calls itself, without "stile-". */
static void short_name(const struct service_status *s, char *out, size_t cap)
{
	const char *file = strrchr(s->socket, '/') + 1;

	snprintf(out, cap, "%.*s", (int)(strlen(file) - strlen("stile-") - strlen(".sock")), file + strlen("stile-"));
}

static const char *not_answering(const struct service_status *s)
{
	return s->error == -EACCES ? "no access: run as root or as a member of the group stile" :
	       s->error == -ECONNREFUSED ? "it has ended without a clean stop; start it again" :
	       s->error < 0 ? strerror(-s->error) : "it does not answer";
}

static void add_line(json_t *lines, bool error, const char *name, const char *fmt, ...) _printf_(4, 5);
static void add_line(json_t *lines, bool error, const char *name, const char *fmt, ...)
{
	char text[LINE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	json_array_append_new(lines, json_pack("{s:b, s:s, s:s}", "error", error, "name", name, "text", text));
}

/* Errors of all services first, then warnings. */
static json_t *health_lines(const struct service_status *s, size_t n, const json_t *stopped)
{
	json_t *lines = json_array(), *item;
	char name[128], text[LINE];
	size_t k;

	json_array_foreach(stopped, k, item)
		if (has_failed(item)) {
			stopped_text(item, text, sizeof text);
			row_name(item, name);
			add_line(lines, true, name, "%s (stile logs %s; stile start %s)", text, name, name);
		}

	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < n; i++) {
			short_name(&s[i], name, sizeof name);
			if (!s[i].status && pass == 0)
				add_line(lines, true, name, "not answering: %s: %s", s[i].socket, not_answering(&s[i]));
			json_array_foreach(json_object_get(s[i].health, "items"), k, item) {
				bool error = strcmp(json_string_value(json_object_get(item, "severity")), "error") == 0;
				const char *hint = json_string_value(json_object_get(item, "hint"));
				if (error == (pass == 0))
					add_line(lines, error, name, "%s (%s)", json_string_value(json_object_get(item, "text")), hint);
			}
		}
	return lines;
}

static void print_health(const struct cli *cli, const json_t *lines)
{
	size_t n = json_array_size(lines), shown = cli_has(cli, "verbose") || n <= HEALTH_LINES ? n : HEALTH_LINES - 1, i;
	const json_t *l;

	json_array_foreach(lines, i, l) {
		bool error = json_is_true(json_object_get(l, "error"));
		if (i >= shown)
			break;
		if (error) {
			print_check(cli, false, json_string_value(json_object_get(l, "name")), json_string_value(json_object_get(l, "text")));
			continue;
		}
		printf("  %s!%s %-18s ", cli->color ? "\033[33m" : "", cli->color ? "\033[0m" : "", json_string_value(json_object_get(l, "name")));
		print_clean(stdout, json_string_value(json_object_get(l, "text")));
		putchar('\n');
	}
	if (shown < n)
		printf("  and %zu more: stile status --verbose\n", n - shown);
	if (n == 0)
		print_check(cli, true, "health", "nothing to do");
}

/* ---- the services ---- */

static void print_draining(const struct service_status *s)
{
	json_int_t left = json_integer_value(json_object_get(s->status, "drain_left_ms"));
	char time[64], key[64];
	struct sb b = sb_init(time, sizeof time);

	printf("    draining, ");
	if (s->own && s->kind) {
		snprintf(key, sizeof key, "%ss", s->kind->left);
		json_int_t n = json_integer_value(json_object_get(s->own, key));
		printf("%lld %s%s left; ", (long long)n, s->kind->left, n == 1 ? "" : "s");
	}
	if (left < 0) {
		printf("stops when nothing is left\n");
		return;
	}
	sb_duration(&b, (uint64_t)left);
	printf("stops when nothing is left, or in %s\n", time);
}

struct figures {
	char uptime[64], memory[32];
	const char *program, *instance, *state;
};

static struct figures figures_of(const struct service_status *s)
{
	struct figures f = { .program = json_string_value(json_object_get(s->status, "program")),
			     .instance = json_string_value(json_object_get(s->status, "instance")),
			     .state = json_string_value(json_object_get(s->status, "state")) };
	struct sb b = sb_init(f.uptime, sizeof f.uptime), m = sb_init(f.memory, sizeof f.memory);

	sb_duration(&b, (uint64_t)json_integer_value(json_object_get(s->status, "uptime_ms")));
	sb_size(&m, (uint64_t)json_integer_value(json_object_get(s->status, "memory")));
	f.instance = f.instance ? f.instance : "";
	f.state = f.state ? f.state : "?";
	return f;
}

static void print_service(const struct cli *cli, const struct service_status *s)
{
	struct figures f;

	(void)cli;
	if (!s->status) /* said below */
		return;
	f = figures_of(s);
	printf("%s%s%s  %s, pid %lld, up %s, %s of memory, log level %s\n", f.program, *f.instance ? "@" : "", f.instance,
	       json_string_value(json_object_get(s->status, "version")), (long long)json_integer_value(json_object_get(s->status, "pid")),
	       f.uptime, f.memory, json_string_value(json_object_get(s->status, "log_level")));
	const char *shut = json_string_value(json_object_get(s->status, "sandbox"));
	if (shut)
		printf("    sandbox: %s\n", shut);
	if (s->own && s->kind)
		s->kind->print(s->own);
	if (strcmp(f.state, "draining") == 0)
		print_draining(s);
}

/* "stile-turn@lab      running, up 3h 2m, 12 MB, 17 allocations" */
static void print_short(const struct cli *cli, const struct service_status *s)
{
	char name[128], key[64], line[LINE];
	struct figures f;
	int n;

	short_name(s, name, sizeof name);
	if (!s->status) /* said below */
		return;
	f = figures_of(s);
	n = snprintf(line, sizeof line, "%s, up %s, %s of memory", f.state, f.uptime, f.memory);
	if (s->own && s->kind && n > 0 && (size_t)n < sizeof line) {
		snprintf(key, sizeof key, "%ss", s->kind->left);
		long long count = (long long)json_integer_value(json_object_get(s->own, key));
		snprintf(line + n, sizeof line - (size_t)n, ", %lld %s%s", count, s->kind->left, count == 1 ? "" : "s");
	}
	const char *worst = json_string_value(json_object_get(s->health, "worst"));
	if (!worst || strcmp(worst, "error") != 0)
		print_check(cli, true, name, line);
	else
		print_check(cli, false, name, line);
}

/* Lines of a screen; of a pipe, as many as a terminal commonly has. */
static size_t screen_lines(void)
{
	struct winsize w;

	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row > 2 ? w.ws_row - 1u : SCREEN_LINES;
}

static size_t count_lines(const char *s)
{
	size_t n = 0;

	for (; (s = strchr(s, '\n')); s++)
		n++;
	return n;
}

/* What fn prints for each service, as a text; malloc'd, NULL without memory. */
static char *printed(const struct cli *cli, const struct service_status *s, size_t n,
		     void (*fn)(const struct cli *cli, const struct service_status *s))
{
	FILE *real = stdout, *mem;
	char *text = NULL;
	size_t size;

	fflush(stdout);
	mem = open_memstream(&text, &size);
	if (!mem)
		return NULL;
	stdout = mem; /* glibc's is a variable: every printer of a table ends up here */
	for (size_t i = 0; i < n; i++)
		fn(cli, &s[i]);
	stdout = real;
	fclose(mem);
	return text;
}

static void print_all(const struct cli *cli, const struct service_status *s, size_t n, size_t health)
{
	char *text = printed(cli, s, n, print_service);

	if (text && !cli_has(cli, "verbose") && n > 1 && count_lines(text) + MIN(health, (size_t)HEALTH_LINES) > screen_lines()) {
		free(text);
		text = printed(cli, s, n, print_short);
	}
	fputs(text ? text : "", stdout);
	free(text);
}

static json_t *status_json(struct service_status *s, size_t n, json_t *stopped)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < n; i++) {
		json_t *row = s[i].status ? json_incref(s[i].status) : json_pack("{s:s}", "socket", s[i].socket);
		if (s[i].own && s[i].kind)
			json_object_set(row, s[i].kind->key, s[i].own);
		if (s[i].health)
			json_object_set(row, "health", s[i].health);
		json_array_append_new(rows, row);
	}
	json_array_extend(rows, stopped); /* rows of common/manager.h, with "by" in place of a pid */
	return rows;
}

static int run_status(struct cli *cli)
{
	struct service_status found[MAX_SERVICES];
	const char *dir = cli_runtime_dir(cli);
	size_t n = find_services(dir, cli_instance(cli), found);
	json_t *stopped = stopped_services(cli, found, n), *lines = health_lines(found, n, stopped);
	bool good = n > 0 && json_array_size(lines) == 0;

	if (cli_has(cli, "json")) {
		json_t *j = status_json(found, n, stopped);
		print_json(j);
		json_decref(j);
	} else if (n == 0 && json_array_size(stopped) == 0) {
		fprintf(stderr, "no service of Stile runs%s (no control socket in %s)\n", cli_has(cli, "instance") ? " under this name" : "", dir);
	} else {
		print_all(cli, found, n, json_array_size(lines) + json_array_size(stopped));
		print_stopped(stopped);
		print_health(cli, lines);
	}
	json_decref(lines);
	json_decref(stopped);
	for (size_t i = 0; i < n; i++) {
		json_decref(found[i].status);
		json_decref(found[i].own);
		json_decref(found[i].health);
	}
	return good ? 0 : EXIT_FAILED;
}

static const struct option_row status_options[] = {
	{ "verbose", 'v', NULL, "all lines of every service and of its health, even if they do not fit on a screen" },
};

static const struct command rows[] = {
	{ "status", "", "what runs, on which addresses, and whether it is well",
	  "All services of this machine that have a control socket, or with --instance the ones of that name, on one screen;\n"
	  "then what needs your attention: certificates that end, disks that fill, listeners that are not bound, jobs and\n"
	  "routes that fail, each with what to do. Exit 1 if nothing runs, or if there is such a line (✘ an error, ! a warning).",
	  status_options, ARRAY_LEN(status_options), 0, 0, run_status, WITHOUT_CONFIG },
};
const struct command_table status_commands = { rows, ARRAY_LEN(rows) };
