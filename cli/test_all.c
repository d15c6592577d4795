/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile test: every self-test that fits what runs here, one after the other, each a line with its outcome and its time, and
 * all of what it said if it failed. The tests are the tool's own commands, run as children of this one: so one that
 * hangs is ended, Ctrl-C ends the one at work and is said, and each can be repeated by the line that is shown.
 *
 * On a terminal a line below shows which one runs and for how long. Exit 1 if one failed or it was interrupted.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli_services.h"
#include "cli/command.h"
#include "cli/measure.h"
#include "cli/services.h"
#include "common/clock.h"
#include "common/manager.h"
#include "turn/config.h"

enum { STEPS_MAX = 128, ARGS_MAX = 12, ARG = 300, OUTPUT_MAX = 256 << 10, PATIENCE_S = 300, ASK_MS = 3000, SERVICES_MAX = 64 };

static volatile sig_atomic_t interrupted;

struct step {
	char args[ARGS_MAX][ARG];
	unsigned n;
};

struct tests {
	struct cli *cli;
	struct step steps[STEPS_MAX];
	unsigned n, failed;
	json_t *report; /* --json */
	bool lines;	/* --json --follow: each as it comes */
	bool terminal;
};

static void on_interrupt(int signo)
{
	(void)signo;
	interrupted = 1;
}

/* ---- what to test ---- */

/* Words, ended by NULL. The same one twice is tested once. */
static void add(struct tests *t, const char *first, ...)
{
	struct step *s = &t->steps[t->n];
	va_list ap;

	if (t->n == STEPS_MAX)
		return;
	*s = (struct step){ 0 };
	va_start(ap, first);
	for (const char *w = first; w && s->n < ARGS_MAX; w = va_arg(ap, const char *))
		snprintf(s->args[s->n++], ARG, "%s", w);
	va_end(ap);
	for (unsigned i = 0; i < t->n; i++)
		if (memcmp(&t->steps[i], s, sizeof *s) == 0)
			return;
	t->n++;
}

static void add_turn(struct tests *t, const char *config)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;

	add(t, "test", "turn", "-c", config, NULL);
	if (cfg_load(config, &turn_cfg_root, &c) == 0 && ((const struct turn_root *)cfg_values(c))->stun_servers.n)
		add(t, "netcheck", "-c", config, NULL);
}

/* Each agent that is connected, with its jobs; routes are judged by what the relay says of them. */
static void add_tunnel(struct tests *t, struct control_client *cl, const char *dir, const char *instance)
{
	json_t *links = services_ask(cl, "tunnel.control"), *row;
	size_t i;

	json_array_foreach(json_object_get(links, "rows"), i, row) {
		const char *agent = json_string_value(json_object_get(row, "name"));
		if (agent && json_is_true(json_object_get(row, "up")) && json_integer_value(json_object_get(row, "jobs")))
			add(t, "test", "agent", agent, "--runtime-dir", dir, *instance ? "--instance" : NULL, instance, NULL);
	}
	json_decref(links);
	links = services_ask(cl, "relay.routes");
	if (json_array_size(json_object_get(links, "rows")))
		add(t, "relay", "status", "--runtime-dir", dir, *instance ? "--instance" : NULL, instance, NULL);
	json_decref(links);
}

/* A listener as a URI that can be asked: "sip:192.0.2.1:5060;transport=tcp". Of a wildcard, on loopback. */
static void add_listener(struct tests *t, const json_t *l)
{
	const char *transport = json_string_value(json_object_get(l, "transport")), *at = json_string_value(json_object_get(l, "address"));
	struct addr a;
	char uri[ARG], text[ADDR_STRLEN];

	if (!transport || !at || json_is_true(json_object_get(l, "removed")) || addr_parse(text_of(at), 0, &a) < 0 ||
	    (strcmp(transport, "udp") != 0 && strcmp(transport, "tcp") != 0))
		return; /* who speaks TLS needs a name and CAs, which stile sip doctor has */
	if (addr_classify(&a) == ADDR_UNSPECIFIED)
		a = addr_family(&a) == AF_INET ? addr_v4(INADDR_LOOPBACK, addr_port(&a)) : addr_v6((const uint8_t *)&in6addr_loopback, addr_port(&a));
	snprintf(uri, sizeof uri, "sip:%s;transport=%s", addr_print(&a, text), transport);
	add(t, "test", "sip", uri, NULL);
}

static void add_sip(struct tests *t, struct control_client *cl, const char *config)
{
	json_t *status = services_ask(cl, "sip.status"), *row;
	size_t i;

	json_array_foreach(json_object_get(status, "listeners"), i, row)
		add_listener(t, row);
	json_array_foreach(json_object_get(status, "routes"), i, row) {
		const char *domain = json_string_value(json_object_get(row, "domain"));
		if (domain && json_is_true(json_object_get(row, "active")))
			add(t, "sip", "doctor", domain, "-c", config, NULL);
	}
	json_decref(status);
}

/* Whom the service has become: the check asks what that user may read and write. */
static bool user_of(pid_t pid, char out[static 64])
{
	const struct passwd *pw;
	struct stat st;
	char path[32];

	snprintf(path, sizeof path, "/proc/%d", (int)pid);
	pw = geteuid() == 0 && stat(path, &st) == 0 ? getpwuid(st.st_uid) : NULL;
	if (pw)
		snprintf(out, 64, "%s", pw->pw_name);
	return pw != NULL;
}

static void add_service(struct tests *t, const struct found_service *f)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	const char *dir = cli_runtime_dir(t->cli), *config, *instance = strchr(f->full, '@') ? strchr(f->full, '@') + 1 : "";
	json_t *status = NULL;
	char user[64];

	if (control_connect(f->socket, ASK_MS, &cl) == 0)
		status = services_ask(cl, "service.status");
	config = json_string_value(json_object_get(status, "config"));
	if (!config)
		return; /* stile status says that it does not answer */
	if (access(config, R_OK) == 0 && user_of((pid_t)json_integer_value(json_object_get(status, "pid")), user))
		add(t, "check", "-c", config, "--user", user, NULL);
	else if (access(config, R_OK) == 0)
		add(t, "check", "-c", config, NULL);
	if (strncmp(f->full, "stile-turn@", 11) == 0 || strcmp(f->full, "stile-turn") == 0)
		add_turn(t, config);
	else if (strncmp(f->full, "stile-tunnel", 12) == 0)
		add_tunnel(t, cl, dir, instance);
	else if (strncmp(f->full, "stile-agent", 11) == 0)
		add(t, "agent", "status", "--runtime-dir", dir, *instance ? "--instance" : NULL, instance, NULL);
	else if (strncmp(f->full, "stile-sip", 9) == 0)
		add_sip(t, cl, config);
	json_decref(status);
}

static int find_tests(struct tests *t)
{
	struct found_service found[SERVICES_MAX];
	const char *dir = cli_runtime_dir(t->cli), *instance = cli_instance(t->cli);
	size_t n = services_find(dir, instance, found, SERVICES_MAX);

	for (size_t i = 0; i < n; i++)
		add_service(t, &found[i]);
	if (!n)
		return cli_fail(t->cli, "no service of Stile runs (no control socket in %s): there is nothing to test", dir);
	add(t, "status", "--runtime-dir", dir, instance ? "--instance" : NULL, instance, NULL);
	return 0;
}

/* ---- running them ---- */

struct child {
	pid_t pid;
	int fd;
	char *out;
	size_t n;
	bool hung;
};

static int start(const struct step *s, struct child *ret_c)
{
	const char *argv[ARGS_MAX + 2] = { "stile" };
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	for (unsigned i = 0; i < s->n; i++)
		argv[i + 1] = s->args[i];
	fflush(stdout);
	ret_c->pid = fork();
	if (ret_c->pid == 0) {
		(void)dup2(fds[1], STDOUT_FILENO);
		(void)dup2(fds[1], STDERR_FILENO);
		(void)signal(SIGPIPE, SIG_DFL);
		(void)execv("/proc/self/exe", (char *const *)argv);
		_exit(127);
	}
	close(fds[1]);
	ret_c->fd = fds[0];
	if (ret_c->pid < 0)
		close(fds[0]);
	return ret_c->pid < 0 ? -errno : 0;
}

static void show_progress(const struct tests *t, unsigned i, double seconds)
{
	char line[400];
	struct sb b = sb_init(line, sizeof line);

	if (!t->terminal)
		return;
	sb_fmt(&b, "  [%u/%u]", i + 1, t->n);
	for (unsigned k = 0; k < t->steps[i].n && t->steps[i].args[k][0] != '-'; k++)
		sb_fmt(&b, " %s", t->steps[i].args[k]);
	sb_fmt(&b, "  %.0f s", seconds);
	print_again(stderr, line);
}

/* Until it closes its output, hangs, or is interrupted. */
static void read_output(const struct tests *t, unsigned i, struct child *c, uint64_t began)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };

	c->out = calloc(1, OUTPUT_MAX + 1);
	while (c->out && !interrupted) {
		double seconds = (double)(clock_steady_ns() - began) / 1e9;
		char more[4096];
		ssize_t n;

		show_progress(t, i, seconds);
		if (seconds > PATIENCE_S) {
			c->hung = true;
			return;
		}
		if (poll(&p, 1, 500) <= 0)
			continue;
		n = read(c->fd, more, sizeof more);
		if (n <= 0)
			return;
		if (c->n + (size_t)n <= OUTPUT_MAX) {
			memcpy(c->out + c->n, more, (size_t)n);
			c->n += (size_t)n;
		}
	}
}

static bool end(struct child *c)
{
	int status = 0;

	if (interrupted || c->hung)
		(void)kill(c->pid, SIGTERM);
	close(c->fd);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The last line that says something, without the mark and the blanks of a checklist. */
static void last_line(const char *text, char *out, size_t n)
{
	const char *line = "", *next;

	for (const char *p = text; p && *p; p = next) {
		next = strchr(p, '\n');
		if (strspn(p, " \n") < (next ? (size_t)(next - p) : strlen(p)))
			line = p;
		next = next ? next + 1 : NULL;
	}
	line += strspn(line, " ");
	if (strncmp(line, "✔ ", strlen("✔ ")) == 0)
		line += strlen("✔ ");
	line += strspn(line, " ");
	snprintf(out, n, "%.*s", (int)strcspn(line, "\n"), line);
}

static void print_all_of_it(const char *text)
{
	for (const char *p = text, *next; p && *p; p = next) {
		next = strchr(p, '\n');
		printf("      %.*s\n", next ? (int)(next - p) : (int)strlen(p), p);
		next = next ? next + 1 : NULL;
	}
}

static void step_name(const struct step *s, char *out, size_t cap)
{
	struct sb b = sb_init(out, cap);

	for (unsigned k = 0; k < s->n; k++)
		sb_fmt(&b, "%s%s", k ? " " : "", s->args[k]);
}

/* Taken. */
static void add_result(const struct tests *t, json_t *row)
{
	if (!t->lines) {
		json_array_append_new(t->report, row);
		return;
	}
	json_dumpf(row, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(row);
}

/* Which one begins, of how many. */
static void announce(const struct tests *t, unsigned i)
{
	char name[640];

	if (!t->lines)
		return;
	step_name(&t->steps[i], name, sizeof name);
	add_result(t, json_pack("{s:s, s:i, s:i}", "begins", name, "number", (int)i + 1, "of", (int)t->n));
}

static void report(struct tests *t, unsigned i, bool good, const struct child *c, double seconds)
{
	char name[640], last[300], line[400];

	step_name(&t->steps[i], name, sizeof name);
	if (t->terminal)
		print_again(stderr, "");
	if (t->report) {
		add_result(t, json_pack("{s:s, s:b, s:f, s:s%}", "test", name, "good", good, "seconds", seconds, "output",
							   c->out ? c->out : "", c->n));
		return;
	}
	last_line(c->out ? c->out : "", last, sizeof last);
	snprintf(line, sizeof line, "%s%s%.1f s)", good ? last : c->hung ? "it does not end" : "failed", good && !*last ? "(" : " (", seconds);
	printf("  %s%s%s stile %s\n      ", !t->cli->color ? "" : good ? "\033[32m" : "\033[31m", good ? "✔" : "✘", t->cli->color ? "\033[0m" : "", name);
	print_clean(stdout, line);
	putchar('\n');
	if (!good)
		print_all_of_it(c->out ? c->out : "");
	fflush(stdout);
}

static void run_step(struct tests *t, unsigned i)
{
	struct child c = { 0 };
	uint64_t began = clock_steady_ns();
	bool good;

	announce(t, i);
	good = start(&t->steps[i], &c) == 0;

	if (good) {
		read_output(t, i, &c, began);
		good = end(&c);
	}
	if (!interrupted) {
		t->failed += !good;
		report(t, i, good, &c, (double)(clock_steady_ns() - began) / 1e9);
	}
	free(c.out);
}

static int run_test(struct cli *cli)
{
	static struct tests t;
	const struct sigaction sa = { .sa_handler = on_interrupt };
	unsigned i = 0;
	int r;

	t.cli = cli;
	t.terminal = isatty(STDERR_FILENO) && !cli_has(cli, "json");
	t.report = cli_has(cli, "json") ? json_array() : NULL;
	t.lines = t.report && cli_has(cli, "follow");
	r = find_tests(&t);
	if (r)
		return r;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	for (; i < t.n && !interrupted; i++)
		run_step(&t, i);
	if (t.terminal)
		print_again(stderr, "");
	if (t.report && !t.lines)
		print_json(t.report);
	json_decref(t.report);
	if (interrupted)
		return cli_fail(cli, "interrupted after %u of %u tests", i ? i - 1 : 0, t.n);
	if (!cli_has(cli, "json") && t.failed)
		printf("%u of %u tests failed\n", t.failed, t.n);
	else if (!cli_has(cli, "json"))
		printf("all %u tests are good\n", t.n);
	return t.failed ? EXIT_FAILED : 0;
}

static const struct option_row options[] = {
	{ "follow", 'f', NULL, "with --json: a line as each test begins, and one with its result, as they come" },
};

static const struct command rows[] = {
	{ "test", "", "run every self-test that fits the services that run here",
	  "The configuration's check, real traffic through stile-turn, each agent's jobs through the tunnel, the routes, the SIP\n"
	  "listeners and the domains of its routes, and health: each with its outcome, and all that it said if it failed. stile test\n"
	  "turn, agent, sip, tcp … are the single ones. Ctrl-C ends it.",
	  options, ARRAY_LEN(options), 0, 0, run_test, WITHOUT_CONFIG },
};
const struct command_table test_all_commands = { rows, ARRAY_LEN(rows) };
