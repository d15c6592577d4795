/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child's output is a pipe that the loop watches only while somebody waits for it. The end is the pidfd's, not the pipe's: a
 * grandchild that holds the pipe open keeps nobody waiting.
 *
 * Its group gets the signals, because the tool may have children of its own.
 */
#include "console/tool.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/fd.h"

enum { KILL_MS = 5000 };

/* In a build tree the tool is built beside us; installed it stands in the path of every user. */
void tool_path(char *buf, size_t n)
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

/* ---- its pipes ---- */

static void close_io(struct io *io)
{
	if (io->ev) {
		int fd = io->fd;
		io_stop(io);
		(void)close(fd);
	}
}

static void read_words(struct tool *t)
{
	char waste[1024];

	for (;;) {
		bool full = t->n_words == TOOL_WORDS - 1; /* what comes beyond is read and dropped: a full pipe would hold it */
		ssize_t n = read(t->err.fd, full ? waste : t->words + t->n_words, full ? sizeof(waste) : TOOL_WORDS - 1 - t->n_words);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close_io(&t->err);
			return;
		}
		t->n_words += full ? 0 : (size_t)n;
		t->words[t->n_words] = 0;
	}
}

static void on_words(struct io *io, int events)
{
	(void)events;
	read_words(container_of(io, struct tool, err));
}

static void on_output(struct io *io, int events)
{
	struct tool *t = container_of(io, struct tool, out);

	(void)events;
	if (io_change(io, 0) == 0)
		t->on_ready(t);
}

ssize_t tool_read(struct tool *t, void *p, size_t n)
{
	ssize_t got = t->out.ev ? read(t->out.fd, p, n) : 0;

	if (got > 0)
		return got;
	if (t->out.ev && got < 0 && (errno == EAGAIN || errno == EINTR) && t->pid) {
		(void)io_change(&t->out, IO_READ);
		return 0;
	}
	close_io(&t->out);
	return t->pid ? 0 : -1;
}

/* ---- its end ---- */

static void on_end(struct io *io, int events)
{
	struct tool *t = container_of(io, struct tool, end);
	int status = 0;

	(void)events;
	if (waitpid(t->pid, &status, WNOHANG) != t->pid)
		return;
	t->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	t->pid = 0;
	if (t->err.ev)
		read_words(t);
	close_io(&t->err);
	close_io(&t->end);
	timer_stop(&t->bound);
	t->on_ready(t);
}

static void on_bound(struct timer *timer, uint64_t now)
{
	struct tool *t = container_of(timer, struct tool, bound);

	(void)now;
	(void)kill(-t->pid, t->told ? SIGKILL : SIGTERM);
	t->told = true;
	loop_timer_set(t->loop, &t->bound, KILL_MS);
}

void tool_end(struct tool *t)
{
	if (t->pid && !t->told)
		on_bound(&t->bound, 0);
}

void tool_close(struct tool *t)
{
	if (t->pid) {
		(void)kill(-t->pid, SIGKILL);
		(void)waitpid(t->pid, NULL, 0);
		t->pid = 0;
	}
	close_io(&t->out);
	close_io(&t->err);
	close_io(&t->end);
	timer_stop(&t->bound);
}

/* ---- its start ---- */

struct ends { /* of the child */
	int in, out, err, file;
};

static int set_up(posix_spawnattr_t *attr, posix_spawn_file_actions_t *files, const struct ends *e)
{
	sigset_t none, plain;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&plain);
	r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	r = r ? r : posix_spawnattr_setsigmask(attr, &none);
	r = r ? r : posix_spawnattr_setsigdefault(attr, &plain);
	r = r ? r : posix_spawn_file_actions_adddup2(files, e->in, 0);
	r = r ? r : posix_spawn_file_actions_adddup2(files, e->out, 1);
	r = r ? r : posix_spawn_file_actions_adddup2(files, e->err, 2);
	return r || e->file < 0 ? r : posix_spawn_file_actions_adddup2(files, e->file, 3);
}

static int spawn(struct tool *t, const char *const *args, const struct ends *e)
{
	char path[PATH_MAX];
	const char *argv[TOOL_ARGS + 2] = { path };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int r;

	tool_path(path, sizeof(path));
	for (size_t i = 0; args[i] && i < TOOL_ARGS; i++)
		argv[i + 1] = args[i];
	if (posix_spawn_file_actions_init(&files) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attr) != 0) {
		posix_spawn_file_actions_destroy(&files);
		return -ENOMEM;
	}
	r = set_up(&attr, &files, e);
	r = r ? r : posix_spawn(&t->pid, path, &files, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	if (r)
		t->pid = 0;
	return -r;
}

/* A pipe has room for it without a reader. */
static int input_of(const char *text)
{
	int fds[2], r;

	if (!text)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (strlen(text) > PIPE_BUF)
		return -1;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	r = fd_write(fds[1], text, strlen(text));
	(void)close(fds[1]);
	if (r < 0)
		closep(&fds[0]);
	return r < 0 ? -1 : fds[0];
}

static int our_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	return fcntl(fds[1], F_SETFL, 0) < 0 ? -errno : 0; /* the child's end blocks, as a program expects it */
}

static int watch(struct tool *t, struct io *io, int *fd, void (*fn)(struct io *, int))
{
	int r = io_start(io, t->loop, *fd, IO_READ, fn);

	if (r == 0)
		*fd = -1;
	return r;
}

int tool_start(struct tool *t, struct loop *l, const struct tool_order *o)
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 };
	_cleanup_(closep) int in = input_of(o->input), end = -1;
	int r = in < 0 ? -EIO : our_pipe(out);

	t->loop = l;
	t->bound.fire = on_bound;
	if (r == 0 && !o->merged)
		r = our_pipe(err);
	if (r == 0)
		r = spawn(t, o->args, &(struct ends){ in, out[1], o->merged ? out[1] : err[1], o->file });
	closep(&out[1]);
	closep(&err[1]);
	if (r == 0 && (end = pidfd_open(t->pid, 0)) < 0)
		r = -errno;
	if (r == 0)
		r = watch(t, &t->end, &end, on_end);
	if (r == 0)
		r = watch(t, &t->out, &out[0], on_output);
	if (r == 0 && !o->merged)
		r = watch(t, &t->err, &err[0], on_words);
	closep(&out[0]);
	closep(&err[0]);
	if (r < 0)
		tool_close(t);
	else
		loop_timer_set(l, &t->bound, o->bound_ms);
	return r;
}
