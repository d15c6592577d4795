/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One service under `stile supervise`: its process with its standard error in a pipe, its states, its last words.
 *
 * What ends by itself with a failure is tried again, after a second, then two, four … half a minute; a bad
 * configuration (exit code 2) is not, for only a change of the file helps. Who waits for a start hears of the first
 * failure at once. A stop is given the time that the service asks for by EXTEND_TIMEOUT_USEC (a drain), else a minute and
 * a half; then it is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli_services.h"
#include "cli/supervisor.h"
#include "common/clock.h"
#include "common/fd.h"

enum { FIRST_AGAIN_MS = 1000, LONGEST_AGAIN_MS = 30000, STEADY_MS = 60000, STOP_MS = 90000, BAD_CONFIG = 2, TAIL = 16384 };

static const char *const state_names[SV_STATES] = { "stopped", "starting", "running", "stopping", "failed" };

struct waiter {
	struct list node;
	struct supervised *v;
	struct control_request *rq;
	bool start;
};

/* ---- who waits ---- */

static void waiter_free(struct waiter *w)
{
	list_unlink(&w->node);
	free(w);
}

static void on_cancel(struct control_request *rq, void *arg)
{
	waiter_free(arg);
	control_fail(rq, "cancelled", NULL, "nobody waits any more; the service goes on as it was told to");
}

static bool says_end(const struct supervised *v, char *out, size_t n)
{
	if (v->signal)
		(void)snprintf(out, n, "ended by SIG%s", sigabbrev_np(v->signal) ? sigabbrev_np(v->signal) : "?");
	else if (v->exit_code >= 0)
		(void)snprintf(out, n, "exit code %d", v->exit_code);
	else
		return false;
	return true;
}

/* It runs, or it has ended. */
static void tell_waiters(struct supervised *v)
{
	char end[64] = "it did not run";

	list_for_each_safe(it, &v->waiters) {
		struct waiter *w = list_entry(it, struct waiter, node);
		struct control_request *rq = w->rq;
		bool start = w->start;

		if (v->state == SV_STARTING || v->state == SV_STOPPING || (start && v->again))
			continue;
		waiter_free(w);
		control_on_cancel(rq, NULL, NULL);
		(void)says_end(v, end, sizeof(end));
		if (start == (v->state == SV_RUNNING))
			control_reply(rq, supervised_row(v));
		else if (start)
			control_fail(rq, "failed", "stile logs shows more", "%s did not start: %s%s%s", v->full, end, v->last_error[0] ? ": " : "",
				     v->last_error);
		else
			control_fail(rq, "failed", NULL, "%s runs again", v->full);
	}
}

void supervised_await(struct supervised *v, struct control_request *rq, bool start)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w) {
		control_fail(rq, "failed", NULL, "out of memory");
		return;
	}
	*w = (struct waiter){ .v = v, .rq = rq, .start = start };
	list_append(&v->waiters, &w->node);
	control_on_cancel(rq, on_cancel, w);
	tell_waiters(v);
}

static void set_state(struct supervised *v, enum sv_state s)
{
	v->state = s;
	v->since = clock_unix_ms();
}

/* ---- its words ---- */

static void take_line(struct supervised *v, const char *line)
{
	size_t own = strlen(v->full); /* "stile-turn: cannot listen on …" */

	if (!*line)
		return;
	(void)snprintf(v->lines[v->n_lines++ % SV_LINES], SV_LINE, "%s", line);
	(void)snprintf(v->last_error, sizeof(v->last_error), "%s",
		       strncmp(line, v->full, own) == 0 && strncmp(line + own, ": ", 2) == 0 ? line + own + 2 : line);
	fprintf(stderr, "[%s] ", v->full + strlen("stile-"));
	print_clean(stderr, line);
	fputc('\n', stderr);
}

static void take_text(struct supervised *v, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\n' && v->partial_n < sizeof(v->partial) - 1) {
			v->partial[v->partial_n++] = p[i];
			continue;
		}
		v->partial[v->partial_n] = 0;
		v->partial_n = 0;
		take_line(v, v->partial);
		if (p[i] != '\n')
			v->partial[v->partial_n++] = p[i];
	}
}

/* > 0: there may be more; 0: its end. */
static ssize_t read_some(struct supervised *v)
{
	char buf[4096];
	ssize_t n = read(v->err.fd, buf, sizeof(buf));

	if (n > 0)
		take_text(v, buf, (size_t)n);
	return n;
}

static void close_output(struct supervised *v)
{
	int fd = v->err.fd;

	if (fd < 0)
		return;
	while (read_some(v) > 0)
		continue;
	if (v->partial_n)
		take_text(v, "\n", 1);
	io_stop(&v->err);
	close(fd);
	v->err.fd = -1;
}

static void on_output(struct io *io, int events)
{
	struct supervised *v = container_of(io, struct supervised, err);

	(void)events;
	if (read_some(v) == 0)
		close_output(v);
}

/* The last line of level error in its log file: a service with log.dir is silent on stderr once it runs. */
static void read_log(struct supervised *v)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	struct log_config lc = { 0 };
	char path[SV_PATH + 128], *buf = NULL, *rest;
	size_t n = 0;
	FILE *f;

	for (size_t i = 0; i < cli_n_services; i++)
		if (strcmp(cli_services[i].ops.program, v->program) == 0 && cfg_load(v->config, cli_services[i].ops.config, &c) == 0)
			cli_services[i].ops.log_config(cfg_values(c), &lc);
	if (!lc.dir || !*lc.dir)
		return;
	(void)snprintf(path, sizeof(path), "%.500s/%s.log", lc.dir, v->full);
	f = fopen(path, "re");
	if (!f)
		return;
	buf = malloc(TAIL + 1);
	if (buf && (fseek(f, -TAIL, SEEK_END) == 0 || fseek(f, 0, SEEK_SET) == 0))
		n = fread(buf, 1, TAIL, f);
	(void)fclose(f);
	if (buf)
		buf[n] = 0;
	for (rest = buf; rest && *rest;) {
		char *line = rest, *level = strchr(line, ' ');
		rest = strchr(rest, '\n');
		if (rest)
			*rest++ = 0;
		if ((level && strncmp(level, " error ", 7) == 0) || strstr(line, "\"level\":\"error\""))
			(void)snprintf(v->last_error, sizeof(v->last_error), "%s", line);
	}
	free(buf);
}

/* ---- the process ---- */

/* Where its program is: beside this one, as in a package; in the build's folder of its name; or in the PATH. */
static void find_program(const struct supervised *v, char out[static SV_PATH])
{
	static const char *const places[] = { "", "../turn/", "../turn/fastpath/", "../tunnel/", "../sip-proxy/", "../console/", "../gateway/",
					      "../sbin/" };

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		(void)snprintf(out, SV_PATH, "%.400s/%s%s", v->sup->home, places[i], v->program);
		if (access(out, X_OK) == 0)
			return;
	}
	(void)snprintf(out, SV_PATH, "%s", v->program);
}

_Noreturn static void run_child(const struct supervised *v, const char *path, int err)
{
	static const int heard[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	const char *argv[12] = { path, "-c", v->config, "--runtime-dir", v->sup->runtime_dir };
	unsigned n = 5;
	sigset_t none;

	if (*v->instance) {
		argv[n++] = "--instance";
		argv[n++] = v->instance;
	}
	if (v->sup->user) {
		argv[n++] = "--user";
		argv[n++] = v->sup->user;
	}
	for (size_t i = 0; i < ARRAY_LEN(heard); i++)
		(void)signal(heard[i], SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)setsid(); /* Ctrl-C is for the supervisor, which stops all in order */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)dup2(err, STDERR_FILENO);
	(void)dup2(err, STDOUT_FILENO);
	(void)setenv("NOTIFY_SOCKET", v->sup->notify_path, 1);
	(void)unsetenv("JOURNAL_STREAM");
	(void)execvp(path, (char *const *)argv);
	fprintf(stderr, "cannot run %s: %s\n", path, strerror(errno));
	_exit(127);
}

/* The child has the supervisor's handlers, which write into the supervisor's loop, until it has reset them: a stop that
 * comes before that would be the supervisor's own. */
static pid_t fork_unheard(void)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid != 0)
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static void on_later(struct timer *t, uint64_t now)
{
	struct supervised *v = container_of(t, struct supervised, later);

	(void)now;
	v->restarts++;
	supervised_start(v);
}

static void failed_at_once(struct supervised *v, const char *what, int r)
{
	(void)snprintf(v->last_error, sizeof(v->last_error), "%s: %s", what, strerror(-r));
	v->exit_code = -1;
	v->signal = 0;
	set_state(v, SV_FAILED);
	tell_waiters(v);
}

void supervised_start(struct supervised *v)
{
	char path[SV_PATH];
	int fds[2];

	timer_stop(&v->later);
	v->wanted = true;
	if (v->pid) {
		v->again |= v->state == SV_STOPPING;
		return;
	}
	if (pipe2(fds, O_CLOEXEC) < 0) {
		failed_at_once(v, "no pipe", -errno);
		return;
	}
	find_program(v, path);
	(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
	v->last_error[0] = 0;
	v->was_ready = false;
	fflush(stdout);
	v->pid = fork_unheard();
	if (v->pid == 0)
		run_child(v, path, fds[1]);
	close(fds[1]);
	if (v->pid < 0) {
		v->pid = 0;
		close(fds[0]);
		failed_at_once(v, "no process", -errno);
		return;
	}
	if (io_start(&v->err, v->sup->loop, fds[0], IO_READ, on_output) < 0)
		v->err.fd = fds[0]; /* read at its end */
	set_state(v, SV_STARTING);
}

static void on_limit(struct timer *t, uint64_t now)
{
	struct supervised *v = container_of(t, struct supervised, limit);

	(void)now;
	printf("%s does not stop: killed\n", v->full);
	fflush(stdout);
	(void)kill(v->pid, SIGKILL);
}

void supervised_stop(struct supervised *v)
{
	timer_stop(&v->later);
	v->wanted = v->again = false;
	if (!v->pid) {
		if (v->state != SV_FAILED)
			set_state(v, SV_STOPPED);
		tell_waiters(v);
		return;
	}
	if (v->state == SV_STOPPING)
		return;
	set_state(v, SV_STOPPING);
	v->limit.fire = on_limit;
	loop_timer_set(v->sup->loop, &v->limit, STOP_MS);
	(void)kill(v->pid, SIGTERM);
}

void supervised_restart(struct supervised *v)
{
	if (!v->pid) {
		supervised_start(v);
		return;
	}
	supervised_stop(v);
	v->wanted = v->again = true;
}

void supervised_hurry(struct supervised *v, bool kill_it)
{
	if (v->pid)
		(void)kill(v->pid, kill_it ? SIGKILL : SIGTERM);
}

/* What it says of its stop is what it is allowed. */
void supervised_notified(struct supervised *v, const char *key, const char *value)
{
	unsigned long long usec = strtoull(value, NULL, 10);

	if (strcmp(key, "READY") == 0 && v->state == SV_STARTING) {
		v->was_ready = true;
		v->last_error[0] = 0; /* warnings of the start are no failure */
		set_state(v, SV_RUNNING);
		printf("%s runs, pid %d\n", v->full, (int)v->pid);
		fflush(stdout);
		tell_waiters(v);
	} else if (strcmp(key, "EXTEND_TIMEOUT_USEC") == 0 && v->state == SV_STOPPING) {
		loop_timer_set(v->sup->loop, &v->limit, MIN(MAX(usec / 1000, (unsigned long long)STOP_MS), 1ull << 40));
	}
}

/* It ended by itself, or did not even begin. */
static void fell(struct supervised *v)
{
	uint64_t wait = FIRST_AGAIN_MS;
	bool steady = v->was_ready && clock_unix_ms() - v->since > STEADY_MS;
	char end[64] = "?";

	if (!v->last_error[0] || v->was_ready)
		read_log(v);
	set_state(v, SV_FAILED);
	(void)says_end(v, end, sizeof(end));
	v->failures = steady ? 1 : v->failures + 1;
	wait = MIN((uint64_t)FIRST_AGAIN_MS << MIN(v->failures - 1, 6u), (uint64_t)LONGEST_AGAIN_MS);
	printf("%s fell: %s%s%s", v->full, end, v->last_error[0] ? ": " : "", v->last_error);
	if (v->exit_code != BAD_CONFIG && v->wanted) {
		printf("; again in %llu s", (unsigned long long)wait / 1000);
		v->later.fire = on_later;
		loop_timer_set(v->sup->loop, &v->later, wait);
	}
	putchar('\n');
	fflush(stdout);
}

void supervised_ended(struct supervised *v, int status)
{
	bool asked = v->state == SV_STOPPING;

	close_output(v);
	timer_stop(&v->limit);
	v->pid = 0;
	v->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	v->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	if (!asked && (v->exit_code != 0 || !v->was_ready)) {
		fell(v);
	} else if (v->exit_code != 0 && (v->was_ready || v->signal != SIGTERM)) { /* told to stop, and it ended badly */
		v->sup->failed = true;
		if (!v->last_error[0])
			read_log(v);
		set_state(v, SV_FAILED);
		printf("%s stopped badly: %s%d%s%s\n", v->full, v->signal ? "signal " : "exit code ", v->signal ? v->signal : v->exit_code,
		       v->last_error[0] ? ": " : "", v->last_error);
	} else {
		v->wanted &= v->again;
		v->failures = 0;
		v->last_error[0] = 0;
		set_state(v, SV_STOPPED);
		printf("%s stopped\n", v->full);
	}
	fflush(stdout);
	if (v->again) {
		v->again = false;
		supervised_start(v);
	}
	tell_waiters(v);
}

/* ---- told ---- */

json_t *supervised_row(const struct supervised *v)
{
	bool ended = v->state == SV_STOPPED || v->state == SV_FAILED;
	json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:b, s:I, s:I}", "program", v->program, "service", v->program + strlen("stile-"),
				"instance", v->instance, "state", state_names[v->state], "by", "supervisor", "pid", (json_int_t)v->pid, "enabled",
				v->wanted, "since", (json_int_t)v->since, "restarts", (json_int_t)v->restarts);

	if (!row)
		return NULL;
	json_object_set_new(row, "exit_code", ended && v->exit_code >= 0 ? json_integer(v->exit_code) : json_null());
	json_object_set_new(row, "signal", ended && v->signal && sigabbrev_np(v->signal) ? json_sprintf("SIG%s", sigabbrev_np(v->signal)) : json_null());
	json_t *last = v->state == SV_FAILED && v->last_error[0] ? json_string(v->last_error) : NULL;
	json_object_set_new(row, "last_error", last ? last : json_null());
	return row;
}

json_t *supervised_output(const struct supervised *v, unsigned lines)
{
	uint64_t n = MIN(MIN(v->n_lines, (uint64_t)SV_LINES), lines);
	json_t *rows = json_array();

	for (uint64_t i = v->n_lines - n; i < v->n_lines; i++) {
		json_t *line = json_string(v->lines[i % SV_LINES]);
		json_array_append_new(rows, line ? line : json_string("?"));
	}
	return rows;
}

struct supervised *supervised_new(struct supervisor *sup, const char *program, const char *instance, const char *config)
{
	struct supervised *v = calloc(1, sizeof(*v));

	if (v)
		v->lines = calloc(SV_LINES, sizeof(*v->lines));
	if (!v || !v->lines) {
		free(v);
		return NULL;
	}
	v->sup = sup;
	v->err.fd = -1;
	v->exit_code = -1;
	(void)snprintf(v->program, sizeof(v->program), "%s", program);
	(void)snprintf(v->instance, sizeof(v->instance), "%s", instance);
	(void)snprintf(v->full, sizeof(v->full), "%s%s%s", v->program, *instance ? "@" : "", v->instance);
	(void)snprintf(v->config, sizeof(v->config), "%s", config);
	list_init(&v->waiters);
	list_append(&sup->services, &v->node);
	set_state(v, SV_STOPPED);
	return v;
}

struct supervised *supervised_free(struct supervised *v)
{
	if (!v)
		return NULL;
	list_for_each_safe(it, &v->waiters) {
		struct waiter *w = list_entry(it, struct waiter, node);
		struct control_request *rq = w->rq;
		waiter_free(w);
		control_on_cancel(rq, NULL, NULL);
		control_fail(rq, "failed", NULL, "the supervisor ends");
	}
	close_output(v);
	timer_stop(&v->later);
	timer_stop(&v->limit);
	list_unlink(&v->node);
	free(v->lines);
	free(v);
	return NULL;
}
