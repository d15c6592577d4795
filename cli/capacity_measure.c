/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stile-turn on a port of loopback that nobody has, in a folder that goes away with it; and the load generator of
 * `stile bench turn` against it. One worker, so that what is measured is not spread over CPUs that others use.
 *
 * The process that is started is ended here, whatever happens between.
 */
#include "cli/capacity.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "cli/turn_load.h"
#include "common/control.h"

enum { READY_MS = 10000, ALLOCATIONS = 64, AUDIO_SIZE = 160, VIDEO_SIZE = 1200, VIDEO_BURST = 8, AUDIO_RATE = 20000, VIDEO_RATE = 40000, ANSWER_MS = 2000 };

enum { FILES = 7 };
struct server {
	char files[FILES][128];
	char dir[72], config[96], socket[128], program[PATH_MAX + 32];
	uint16_t port;
	pid_t pid;
};

static int say(char *err, size_t n, int r, const char *what)
{
	(void)snprintf(err, n, "%s: %s", what, strerror(-r));
	return r;
}

/* One that is free now, for UDP. */
static int free_port(uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r = fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || getsockname(fd, (struct sockaddr *)&a, &n) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	*ret_port = ntohs(a.sin_port);
	return r;
}

/* Beside this program, in the build's folder, or in the PATH. */
static void find_program(char *out, size_t n)
{
	static const char *const places[] = { "", "../turn/", "../sbin/" };
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	self[MAX(len, 0)] = 0;
	for (size_t i = 0; i < ARRAY_LEN(places) && strrchr(self, '/'); i++) {
		snprintf(out, n, "%.*s/%sstile-turn", (int)(strrchr(self, '/') - self), self, places[i]);
		if (access(out, X_OK) == 0)
			return;
	}
	snprintf(out, n, "stile-turn");
}

static int write_config(const struct server *s)
{
	int fd = open(s->config, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : 0;

	if (r == 0 && dprintf(fd,
			      "log: { level: error }\nstore: { path: \"%s\" }\nturn:\n  listen: [\"udp:127.0.0.1:%u\"]\n  realm: capacity\n"
			      "  users: [ { name: capacity, password: capacity-of-this-machine } ]\n  peers: { allow: [127.0.0.0/8] }\n"
			      "  relay: { addresses: [127.0.0.1], ports: 61000-65535 }\n  workers: 1\n"
			      "  limits: { allocations_per_user: unlimited, unauthenticated_bitrate: unlimited }\n",
			      s->dir, s->port) < 0)
		r = -EIO;
	if (fd >= 0)
		close(fd);
	return r;
}

static int start(struct server *s)
{
	int said = open(s->files[FILES - 1], O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* what it says if it does not start */

	s->pid = fork();
	if (s->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)dup2(said, STDOUT_FILENO);
		(void)dup2(said, STDERR_FILENO);
		if (geteuid() == 0)
			(void)execlp(s->program, s->program, "-c", s->config, "--runtime-dir", s->dir, "--user", "root", NULL);
		else
			(void)execlp(s->program, s->program, "-c", s->config, "--runtime-dir", s->dir, NULL);
		_exit(127);
	}
	if (said >= 0)
		close(said);
	return s->pid < 0 ? -errno : 0;
}

static int wait_ready(struct server *s, char *err, size_t err_n)
{
	for (int waited = 0; waited < READY_MS; waited += 20) {
		struct control_client *cl;

		if (control_connect(s->socket, ANSWER_MS, &cl) == 0) {
			control_client_free(cl);
			return 0;
		}
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
			s->pid = 0;
			char line[200] = "";
			FILE *f = fopen(s->files[FILES - 1], "re");
			if (f && !fgets(line, sizeof line, f))
				line[0] = 0;
			if (f)
				fclose(f);
			line[strcspn(line, "\n")] = 0;
			(void)snprintf(err, err_n, "%s did not start: %s", s->program, line);
			return -ECHILD;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	(void)snprintf(err, err_n, "%s is not ready after %d s", s->program, READY_MS / 1000);
	return -ETIMEDOUT;
}

static const char *const file_names[] = { "stile.yaml", "stile-turn.sock", "stile-turn.db", "stile-turn.db-wal", "stile-turn.db-shm",
					   "stile-turn.db-journal", "stderr" };

/* Calls only what a signal's handler may call. */
static void remove_files(const struct server *s)
{
	for (size_t i = 0; s->dir[0] && i < ARRAY_LEN(file_names); i++)
		(void)unlink(s->files[i]);
	if (s->dir[0])
		(void)rmdir(s->dir);
}

static struct server *at_work; /* for Ctrl-C */

static void on_interrupt(int signo)
{
	if (at_work && at_work->pid > 0) {
		(void)kill(at_work->pid, SIGKILL);
		(void)waitpid(at_work->pid, NULL, 0);
	}
	if (at_work)
		remove_files(at_work);
	_exit(128 + signo);
}

static void stop(struct server *s)
{
	if (s->pid > 0) {
		(void)kill(s->pid, SIGTERM);
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
		(void)kill(s->pid, SIGTERM); /* nothing is worth a drain */
		while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	}
	at_work = NULL;
	remove_files(s);
}

/* Of all CPUs, less what the generator used: interrupts are nobody's, and half of them its. */
static int cost(const struct server *s, const struct turn_load_options *o, double *ret_us, char *err, size_t err_n)
{
	struct turn_load_result *res = calloc(1, sizeof *res);
	double host, server;
	int r = res ? turn_load(o, res) : -ENOMEM;

	(void)s;
	if (r < 0) {
		free(res);
		return say(err, err_n, r, "the load");
	}
	if (r > 0 || !res->received) {
		(void)snprintf(err, err_n, "%s", res->error[0] ? res->error : "nothing came through");
		free(res);
		return -EIO;
	}
	server = res->run.server_s * 1e6 / (double)res->received;
	host = (res->run.host_busy_s - res->run.generator_s) * 1e6 / (double)res->received;
	*ret_us = MAX(server, MIN(host, server * 3)); /* others may be busy here, too: their work is not the relay's */
	free(res);
	return 0;
}

static int measure(struct server *s, uint64_t ms, double *ret_audio, double *ret_video, char *err, size_t err_n)
{
	struct turn_load_options o = { .mode = LOAD_RELAY, .proto = TURN_UDP, .server = addr_v4(INADDR_LOOPBACK, s->port),
				       .peer_ip = addr_v4(INADDR_LOOPBACK, 0), .user = "capacity", .password = "capacity-of-this-machine",
				       .allocations = ALLOCATIONS, .size = AUDIO_SIZE, .burst = 1, .directions = LOAD_UP | LOAD_DOWN, .rate = AUDIO_RATE,
				       .run_ms = ms, .warmup_ms = 300, .in_flight = 32, .server_pid = s->pid };
	int r = cost(s, &o, ret_audio, err, err_n);

	o.size = VIDEO_SIZE;
	o.burst = VIDEO_BURST;
	o.rate = VIDEO_RATE;
	return r < 0 ? r : cost(s, &o, ret_video, err, err_n);
}

int capacity_measure(uint64_t ms, double *ret_audio, double *ret_video, char *err, size_t err_n)
{
	const char *tmp = getenv("TMPDIR");
	struct server s = { .pid = 0 };
	int r;

	/* the path of a socket is short */
	snprintf(s.dir, sizeof s.dir, "%s/stile-capacity-XXXXXX", tmp && *tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	if (!mkdtemp(s.dir))
		return say(err, err_n, -errno, s.dir);
	snprintf(s.config, sizeof s.config, "%s/stile.yaml", s.dir);
	snprintf(s.socket, sizeof s.socket, "%s/stile-turn.sock", s.dir);
	for (size_t i = 0; i < FILES; i++)
		snprintf(s.files[i], sizeof s.files[i], "%s/%s", s.dir, file_names[i]);
	at_work = &s;
	(void)signal(SIGINT, on_interrupt);
	(void)signal(SIGTERM, on_interrupt);
	find_program(s.program, sizeof s.program);
	r = free_port(&s.port);
	if (r == 0)
		r = write_config(&s);
	if (r == 0)
		r = start(&s);
	if (r < 0)
		(void)say(err, err_n, r, "cannot start a stile-turn");
	if (r == 0)
		r = wait_ready(&s, err, err_n);
	if (r == 0)
		r = measure(&s, ms, ret_audio, ret_video, err, err_n);
	stop(&s);
	return r;
}
