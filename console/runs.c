/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child has its output in a pipe that the loop reads. What it says is one JSON value in the end (`stile test --json` an array
 * of results, `stile netcheck --json` an object), or a result a line as it comes; anything else is words for people. The end is the pidfd's:
 * a grandchild that holds the pipe open keeps nobody waiting.
 */
#include "console/runs.h"
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "console/console.h"

enum { RUNS_MAX = 8, RUN_OUTPUT = 256 << 10, RUN_WORDS = 4096, RUN_MS = 300000, RUN_KILL_MS = 5000 };

struct run {
	uint64_t id; /* 0: free */
	struct runs *of;
	pid_t pid; /* 0: ended */
	struct io out, end;
	struct timer bound;
	bool told; /* to end, by SIGTERM */
	int status;
	size_t len;
	char *text; /* RUN_OUTPUT bytes */
};
struct runs {
	struct loop *loop;
	uint64_t last;
	struct run run[RUNS_MAX];
};

int runs_new(struct loop *l, struct runs **ret_r)
{
	struct runs *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->loop = l;
	*ret_r = r;
	return 0;
}

/* ---- the life of a run ---- */

static void close_io(struct io *io)
{
	if (io->ev) {
		int fd = io->fd;
		io_stop(io);
		(void)close(fd);
	}
}

static void read_output(struct run *n)
{
	char waste[4096];

	for (;;) {
		bool full = n->len == RUN_OUTPUT; /* what comes beyond is read and dropped: a full pipe would hold the child */
		ssize_t got = full ? read(n->out.fd, waste, sizeof(waste)) : read(n->out.fd, n->text + n->len, RUN_OUTPUT - n->len);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			close_io(&n->out);
			return;
		}
		n->len += full ? 0 : (size_t)got;
	}
}

static void on_output(struct io *io, int events)
{
	(void)events;
	read_output(container_of(io, struct run, out));
}

static void ended(struct run *n)
{
	if (n->out.ev)
		read_output(n);
	close_io(&n->out);
	close_io(&n->end);
	timer_stop(&n->bound);
	n->pid = 0;
}

static void on_end(struct io *io, int events)
{
	struct run *n = container_of(io, struct run, end);
	int status = 0;

	(void)events;
	if (waitpid(n->pid, &status, WNOHANG) != n->pid)
		return;
	n->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	ended(n);
}

/* Its group: the tool may have children of its own. */
static void on_bound(struct timer *t, uint64_t now)
{
	struct run *n = container_of(t, struct run, bound);

	(void)now;
	(void)kill(-n->pid, n->told ? SIGKILL : SIGTERM);
	n->told = true;
	loop_timer_set(n->of->loop, &n->bound, RUN_KILL_MS);
}

static void run_clear(struct run *n)
{
	if (n->pid) {
		(void)kill(-n->pid, SIGKILL);
		(void)waitpid(n->pid, NULL, 0);
		ended(n);
	}
	free(n->text);
	*n = (struct run){ .of = n->of };
}

struct runs *runs_free(struct runs *r)
{
	for (size_t i = 0; r && i < RUNS_MAX; i++)
		run_clear(&r->run[i]);
	free(r);
	return NULL;
}

/* ---- its start ---- */

/* In a build tree the tool is built beside us; installed it stands in the path of every user. */
static void tool_path(char *buf, size_t n)
{
	ssize_t got = readlink("/proc/self/exe", buf, n - 1);
	char *slash = NULL;

	buf[MAX(got, 0)] = '\0';
	slash = strrchr(buf, '/');
	if (slash) {
		*slash = '\0';
		slash = strrchr(buf, '/');
	}
	if (slash) {
		(void)snprintf(slash, n - (size_t)(slash - buf), "/cli/stile");
		if (access(buf, X_OK) == 0)
			return;
	}
	(void)snprintf(buf, n, "%s", STILE_BINDIR "/stile");
}

static int spawn_tool(struct run *n, char **argv, int out)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, plain;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&plain);
	if (posix_spawn_file_actions_init(&files) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attr) != 0) {
		posix_spawn_file_actions_destroy(&files);
		return -ENOMEM;
	}
	r = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	r = r ? r : posix_spawnattr_setsigmask(&attr, &none);
	r = r ? r : posix_spawnattr_setsigdefault(&attr, &plain);
	r = r ? r : posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	r = r ? r : posix_spawn_file_actions_adddup2(&files, out, 1);
	r = r ? r : posix_spawn_file_actions_adddup2(&files, out, 2);
	r = r ? r : posix_spawn(&n->pid, argv[0], &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	if (r)
		n->pid = 0;
	return -r;
}

static int run_start(struct run *n, char **argv)
{
	int fds[2], end, r;

	n->text = malloc(RUN_OUTPUT);
	if (!n->text)
		return -ENOMEM;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	(void)fcntl(fds[1], F_SETFL, 0); /* the child's end blocks, as a program expects it */
	r = spawn_tool(n, argv, fds[1]);
	(void)close(fds[1]);
	if (r < 0) {
		(void)close(fds[0]);
		return r;
	}
	end = pidfd_open(n->pid, 0);
	r = end < 0 ? -errno : io_start(&n->end, n->of->loop, end, IO_READ, on_end);
	if (r < 0 && end >= 0)
		(void)close(end);
	r = r < 0 ? r : io_start(&n->out, n->of->loop, fds[0], IO_READ, on_output);
	if (!n->out.ev)
		(void)close(fds[0]);
	n->bound.fire = on_bound;
	loop_timer_set(n->of->loop, &n->bound, RUN_MS);
	return r;
}

/* A free place, or the oldest that has ended; NULL: one is under way. */
static struct run *run_place(struct runs *r)
{
	struct run *oldest = &r->run[0];

	for (size_t i = 0; i < RUNS_MAX; i++) {
		if (r->run[i].pid)
			return NULL;
		if (r->run[i].id < oldest->id)
			oldest = &r->run[i];
	}
	oldest->of = r;
	run_clear(oldest);
	return oldest;
}

/* ---- the routes ---- */

void tests_post(struct ask *a)
{
	struct runs *r = a->c->runs;
	const char *what = ask_string(a, "what"), *file = a->c->svc->config_path;
	char tool[PATH_MAX];
	char *argv[] = { tool, NULL, "--json", "--runtime-dir", a->c->svc->instance.runtime_dir, NULL, NULL, NULL };
	struct run *n;
	int e;

	if (what && strcmp(what, "all") != 0 && strcmp(what, "network") != 0) {
		ask_field_error(a, "what", "all or network");
		return;
	}
	n = run_place(r);
	if (!n) {
		ask_fail(a, 409, "busy", "tests are under way; wait for their end, or end them");
		return;
	}
	tool_path(tool, sizeof(tool));
	if (what && strcmp(what, "network") == 0) { /* for its stun_servers; the tests ask the services for their files */
		argv[1] = "netcheck";
		argv[5] = "-c";
		argv[6] = (char *)(uintptr_t)file;
	} else {
		argv[1] = "test";
	}
	n->id = ++r->last;
	e = run_start(n, argv);
	if (e < 0) {
		run_clear(n);
		ask_fail(a, 500, "failed", "%s cannot be started: %s", tool, strerror(-e));
		return;
	}
	ask_reply(a, 202, json_pack("{s:I}", "id", (json_int_t)n->id));
}

static struct run *run_of(struct ask *a)
{
	char *end = NULL;
	unsigned long long id = strtoull(a->params[0], &end, 10);

	for (size_t i = 0; id && *end == '\0' && i < RUNS_MAX; i++)
		if (a->c->runs->run[i].id == id)
			return &a->c->runs->run[i];
	ask_fail(a, 404, "not-found", "there is no such run of the tests, or it is long ago");
	return NULL;
}

/* For people, and of a program: whatever it was, what becomes of it is UTF-8 without control characters. */
static void add_words(struct sb *b, struct text line)
{
	bool utf8 = text_is_utf8(line);

	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];
		sb_char(b, c < 0x20 || c == 0x7f ? ' ' : c >= 0x80 && !utf8 ? '?' : (char)c);
	}
	sb_char(b, '\n');
}

/* Each line that is an object is a result, as it is; what else was said goes into b. */
static void add_lines(const struct run *n, json_t *results, struct sb *b)
{
	for (const char *p = n->text, *stop = n->text + n->len; p < stop;) {
		const char *nl = memchr(p, '\n', (size_t)(stop - p));
		struct text line = { p, (size_t)((nl ? nl : stop) - p) };
		json_t *row = line.n && *p == '{' ? json_loadb(p, line.n, JSON_REJECT_DUPLICATES, NULL) : NULL;

		if (!nl && n->pid)
			break; /* not whole yet */
		if (row)
			json_array_append_new(results, row);
		else if (line.n && b->n + line.n + 2 < RUN_WORDS)
			add_words(b, line);
		p += line.n + 1;
	}
}

void test_get(struct ask *a)
{
	struct run *n = run_of(a);
	char text[RUN_WORDS] = "";
	struct sb b = sb_init(text, sizeof(text));
	json_t *results, *whole;

	if (!n)
		return;
	results = json_array();
	whole = n->pid ? NULL : json_loadb(n->text, n->len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_array(whole))
		json_array_extend(results, whole);
	else if (whole)
		json_array_append(results, whole);
	else
		add_lines(n, results, &b);
	json_decref(whole);
	ask_reply(a, 200, json_pack("{s:b, s:i, s:b, s:o, s:s}", "done", n->pid == 0, "status", n->status, "interrupted", n->told, "results",
				    results, "text", text));
}

void test_delete(struct ask *a)
{
	struct run *n = run_of(a);

	if (!n)
		return;
	if (n->pid && !n->told)
		on_bound(&n->bound, 0);
	ask_reply(a, 200, json_pack("{s:b}", "done", n->pid == 0));
}

/* ---- what the wizard knows of this machine ---- */

static json_t *addresses_json(void)
{
	struct ifaddrs *list = NULL;
	json_t *rows = json_array();
	char buf[ADDR_STRLEN];
	struct addr at;

	if (getifaddrs(&list) < 0)
		return rows;
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || addr_from_sockaddr(i->ifa_addr, sizeof(struct sockaddr_in6), &at) < 0)
			continue;
		enum addr_class class = addr_classify(&at);
		if (class != ADDR_LOOPBACK && class != ADDR_LINK_LOCAL)
			json_array_append_new(rows, json_pack("{s:s, s:s, s:b}", "address", addr_print_ip(&at, buf), "interface", i->ifa_name,
							      "public", class == ADDR_GLOBAL));
	}
	freeifaddrs(list);
	return rows;
}

void wizard_get(struct ask *a)
{
	char host[256] = "";

	(void)gethostname(host, sizeof(host) - 1);
	ask_reply(a, 200, json_pack("{s:s, s:o}", "hostname", host, "addresses", addresses_json()));
}
