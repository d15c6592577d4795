/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child's life. It is dead when its end of the channel is closed, or when it has not answered a PROBE in time: whatever is
 * left of it is killed and waited for, without blocking.
 *
 * One that is not needed any more finds its channel closed, and has a moment to give back what it holds of others: ports of the
 * router, allocations of TURN servers. The next one need not wait for it.
 *
 * Timers: next, which starts it (at once, or when it is due after a death: 100 ms, twice as long after each further one, 30 s
 * at most; a minute of life makes up for all), and reaps what is left; probe, every 5 s while it lives; leaving, which looks whether
 * the one that is not needed has ended.
 */
#include "tunnel/agent/child.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "common/clock.h"
#include "tunnel/direct/channel.h"

enum { CHANNEL_FD = 3, FIRST_WAIT_MS = 100, LAST_WAIT_MS = 30 * 1000, GOOD_LIFE_MS = 60 * 1000, REAP_MS = 10 };
enum { PROBE_MS = 5000, PROBES_MISSED_MAX = 3, GOODBYE_MS = 3000, LEAVING_MS = 20 };

struct child {
	struct loop *loop;
	const struct child_ops *ops;
	void *arg;
	char program[512];
	bool wanted, ready;
	pid_t pid; /* 0: none; else it lives, or is to be waited for */
	pid_t leaving; /* the one before, which was not needed any more; 0: none */
	struct channel *channel;
	struct timer next, probe, leave;
	unsigned starts, unanswered;
	uint64_t wait_ms, started_at, start_at, left_at;
	int64_t since;
	char why[160];
};

/* ---- its program ---- */

/* Beside this program; below it, where it is built; or installed. */
void child_program(char *buf, size_t size)
{
	static const char *const places[] = { "/stile-agent-direct", "/direct/stile-agent-direct" };
	const char *other = getenv("STILE_DIRECT"); /* of a test */
	ssize_t n = readlink("/proc/self/exe", buf, size - 64);
	char *slash;

	buf[MAX(n, 0)] = '\0';
	slash = strrchr(buf, '/');
	for (size_t i = 0; slash && !other && i < ARRAY_LEN(places); i++) {
		(void)snprintf(slash, size - (size_t)(slash - buf), "%s", places[i]);
		if (access(buf, X_OK) == 0)
			return;
	}
	(void)snprintf(buf, size, "%s", other ? other : STILE_LIBEXECDIR "/stile-agent-direct");
}

/* Nothing of the environment is for the child but what sanitizers and tests say. */
static void pick_environment(char **out, unsigned max)
{
	static const char *const kept[] = { "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=", "TSAN_OPTIONS=", "STILE_" };
	unsigned n = 0;

	for (char **e = environ; *e && n + 1 < max; e++)
		for (size_t i = 0; i < ARRAY_LEN(kept); i++)
			if (strncmp(*e, kept[i], strlen(kept[i])) == 0 && n + 1 < max)
				out[n++] = *e;
	out[n] = NULL;
}

static int spawn(struct child *c, int fd)
{
	char *argv[] = { c->program, NULL }, *env[32];
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, plain;
	int r;

	pick_environment(env, ARRAY_LEN(env));
	(void)sigemptyset(&none);
	(void)sigfillset(&plain);
	if (posix_spawn_file_actions_init(&files) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attr) != 0) {
		posix_spawn_file_actions_destroy(&files);
		return -ENOMEM;
	}
	/* A group of its own: Ctrl-C at a terminal is for the supervisor, who ends it. */
	r = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	r = r ? r : posix_spawnattr_setsigmask(&attr, &none);
	r = r ? r : posix_spawnattr_setsigdefault(&attr, &plain);
	r = r ? r : posix_spawn_file_actions_adddup2(&files, fd, CHANNEL_FD);
	r = r ? r : posix_spawn(&c->pid, c->program, &files, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	if (r)
		c->pid = 0;
	return -r;
}

/* ---- death ---- */

static void describe(struct child *c, int status)
{
	if (WIFSIGNALED(status))
		(void)snprintf(c->why, sizeof(c->why), "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		(void)snprintf(c->why, sizeof(c->why), "it exited with status %d", WEXITSTATUS(status));
}

static void schedule(struct child *c)
{
	uint64_t now = loop_now(c->loop);

	loop_timer_set(c->loop, &c->next, c->pid ? REAP_MS : c->start_at > now ? c->start_at - now : 0);
}

static void on_dead(struct child *c, const char *why)
{
	uint64_t now = loop_now(c->loop);

	c->channel = channel_free(c->channel);
	c->ready = false;
	timer_stop(&c->probe);
	if (c->pid)
		(void)kill(c->pid, SIGKILL);
	c->wait_ms = !c->wait_ms || now - c->started_at >= GOOD_LIFE_MS ? FIRST_WAIT_MS : MIN(c->wait_ms * 2, (uint64_t)LAST_WAIT_MS);
	c->start_at = now + c->wait_ms;
	(void)snprintf(c->why, sizeof(c->why), "%s", why);
	schedule(c);
}

/* The status says more than the end of the channel did. */
static bool reap(struct child *c)
{
	int status;
	pid_t r = waitpid(c->pid, &status, WNOHANG);

	if (r == 0)
		return false;
	if (r > 0 && c->unanswered <= PROBES_MISSED_MAX) /* else we have killed it, and why is known */
		describe(c, status);
	c->pid = 0;
	return true;
}

/* ---- goodbye ---- */

static void kill_and_wait(pid_t pid)
{
	if (kill(pid, SIGKILL) == 0)
		(void)waitpid(pid, NULL, 0);
}

static void on_leave(struct timer *t, uint64_t now)
{
	struct child *c = container_of(t, struct child, leave);

	if (waitpid(c->leaving, NULL, WNOHANG) == 0) {
		if (now - c->left_at >= GOODBYE_MS)
			(void)kill(c->leaving, SIGKILL);
		loop_timer_set(c->loop, &c->leave, LEAVING_MS);
		return;
	}
	c->leaving = 0;
}

static void dismiss(struct child *c)
{
	if (c->leaving)
		kill_and_wait(c->leaving);
	c->channel = channel_free(c->channel);
	c->ready = false;
	timer_stop(&c->probe);
	c->leaving = c->pid;
	c->left_at = loop_now(c->loop);
	loop_timer_set(c->loop, &c->leave, LEAVING_MS);
	c->pid = 0;
	c->wait_ms = 0;
	c->start_at = 0;
	(void)snprintf(c->why, sizeof(c->why), "it is not needed");
}

/* The end of the agent waits for it. rest: pauses that there may be, for all together. */
static void see_off(pid_t pid, unsigned *rest)
{
	const struct timespec pause = { .tv_nsec = LEAVING_MS * 1000000L };

	for (; pid && *rest; (*rest)--) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return;
		(void)nanosleep(&pause, NULL);
	}
	if (pid)
		kill_and_wait(pid);
}

/* ---- what it says ---- */

static void on_message(struct channel *ch, unsigned type, const union child_any *m, int *fd, void *arg)
{
	struct child *c = arg;

	(void)ch;
	c->unanswered = 0;
	if (type == CHILD_ALIVE || (type == CHILD_READY && c->ready))
		return;
	c->ready = c->ready || type == CHILD_READY;
	c->ops->message(c, type, m, fd, c->arg);
}

static void on_closed(struct channel *ch, const char *why, void *arg)
{
	(void)ch;
	on_dead(arg, why); /* the owner hears of it when its status is known */
}

static const struct channel_ops channel_ops = { .message = on_message, .closed = on_closed };

static void on_probe(struct timer *t, uint64_t now)
{
	struct child *c = container_of(t, struct child, probe);

	(void)now;
	if (c->unanswered++ >= PROBES_MISSED_MAX) {
		on_dead(c, "it did not answer for 15 s");
		return;
	}
	loop_timer_set(c->loop, &c->probe, PROBE_MS);
	(void)channel_send(c->channel, CHILD_PROBE, &(struct child_nothing){ 0 });
}

/* ---- start ---- */

static int start(struct child *c)
{
	int fds[2], r = channel_pair(fds);

	if (r < 0)
		return r;
	r = channel_new(c->loop, fds[0], CHILD_TO_SUPERVISOR, &channel_ops, c, &c->channel);
	if (r == 0)
		r = spawn(c, fds[1]);
	close(fds[1]);
	if (r < 0) {
		c->channel = channel_free(c->channel);
		return r;
	}
	c->since = clock_unix_ms();
	c->starts++;
	c->unanswered = 0;
	c->started_at = loop_now(c->loop);
	loop_timer_set(c->loop, &c->probe, PROBE_MS);
	c->ops->started(c, c->arg);
	return 0;
}

static void on_next(struct timer *t, uint64_t now)
{
	struct child *c = container_of(t, struct child, next);
	int r;

	if (c->pid && !c->channel) {
		if (reap(c) && c->wanted)
			c->ops->died(c, c->why, c->arg);
		if (c->pid || c->wanted)
			schedule(c);
		return;
	}
	if (!c->wanted || c->channel)
		return;
	r = now < c->start_at ? 0 : start(c);
	if (c->channel)
		return;
	if (r < 0) {
		char why[sizeof(c->why)];

		(void)snprintf(why, sizeof(why), "%.100s: %s", c->program, strerror(-r));
		on_dead(c, why);
		c->ops->died(c, c->why, c->arg);
		return;
	}
	schedule(c);
}

/* ---- the owner's side ---- */

int child_new(struct loop *l, const struct child_ops *ops, void *arg, struct child **ret_c)
{
	struct child *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->loop = l;
	c->ops = ops;
	c->arg = arg;
	c->next.fire = on_next;
	c->probe.fire = on_probe;
	c->leave.fire = on_leave;
	child_program(c->program, sizeof(c->program));
	*ret_c = c;
	return 0;
}

struct child *child_free(struct child *c)
{
	unsigned rest = GOODBYE_MS / LEAVING_MS;

	if (!c)
		return NULL;
	timer_stop(&c->next);
	timer_stop(&c->probe);
	timer_stop(&c->leave);
	channel_free(c->channel);
	see_off(c->pid, &rest);
	see_off(c->leaving, &rest);
	free(c);
	return NULL;
}

void child_want(struct child *c, bool wanted)
{
	if (c->wanted == wanted)
		return;
	c->wanted = wanted;
	if (!wanted && c->channel) {
		dismiss(c);
	} else if (wanted && !c->pid) {
		schedule(c);
	}
}

bool child_ready(const struct child *c)
{
	return c->ready;
}

int child_send(struct child *c, unsigned type, const void *msg, int fd)
{
	if (c->channel)
		return channel_send_fd(c->channel, type, msg, fd);
	if (fd >= 0)
		close(fd);
	return -ENOTCONN;
}

void child_info(const struct child *c, struct child_info *ret_i)
{
	*ret_i = (struct child_info){ .pid = c->channel ? c->pid : 0, .ready = c->ready, .starts = c->starts, .since = c->since };
	(void)snprintf(ret_i->why, sizeof(ret_i->why), "%s", c->why);
}
