/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where no stile-agent runs, stile get starts one: in a folder of its own under the temporary one, with a key of its own, known to nobody, as a
 * guest of the one share (agent.guest). It ends with the command, and its folder with it.
 *
 * Where it stops being root it is nobody, or the user stile: it reads what strangers send.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/get.h"
#include "share/forward/config.h"

enum { READY_TRIES = 200, READY_US = 100 * 1000 };

static struct {
	char folder[128];
	pid_t pid;
} guest;

/* By system calls alone, for a signal's handler does it, too: opendir() there waits for ever if the signal came within malloc(). */
static void remove_folder(int at, const char *name)
{
	_Alignas(struct dirent64) char rows[4096];
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	/* NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c): a system call, which POSIX does not have */
	while (fd >= 0 && (n = getdents64(fd, rows, sizeof rows)) > 0) {
		const struct dirent64 *e;

		for (ssize_t i = 0; i < n; i += e->d_reclen) {
			e = (const void *)&rows[i];
			if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
				continue;
			if (e->d_type == DT_DIR)
				remove_folder(fd, e->d_name);
			else
				(void)unlinkat(fd, e->d_name, 0);
		}
	}
	if (fd >= 0)
		close(fd);
	(void)unlinkat(at, name, AT_REMOVEDIR);
}

void get_guest_end(void)
{
	if (guest.pid > 0) {
		(void)kill(guest.pid, SIGTERM);
		(void)waitpid(guest.pid, NULL, 0);
	}
	if (guest.folder[0])
		remove_folder(AT_FDCWD, guest.folder);
	guest.pid = 0;
	guest.folder[0] = '\0';
}

static void on_signal(int signo)
{
	if (guest.pid > 0)
		(void)kill(guest.pid, SIGTERM);
	if (guest.folder[0])
		remove_folder(AT_FDCWD, guest.folder); /* the process ends here: nothing else runs that this could disturb */
	_exit(128 + signo);
}

/* Beside this program, in the build tree's folder of it, or wherever PATH says. */
static void find_agent(char *out, size_t n)
{
	static const char *const places[] = { "", "/../tunnel" };
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	if (len > 0) {
		self[len] = '\0';
		(void)dirname(self);
		for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
			if (snprintf(out, n, "%s%s/stile-agent", self, places[i]) < (int)n && access(out, X_OK) == 0)
				return;
		}
	}
	(void)snprintf(out, n, "stile-agent");
}

static int write_config(struct cli *cli, const struct share_code *code, const char *id)
{
	char path[160];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/stile.yaml", guest.folder);
	f = fopen(path, "we");
	if (!f)
		return cli_fail(cli, "%s: %s", path, strerror(errno));
	fprintf(f, "log: { level: warn }\nagent:\n  name: guest\n  server: \"%s%s%s:%u\"\n  guest: \"%s\"\n  fallback_ports: [",
		strchr(code->host, ':') ? "[" : "", code->host, strchr(code->host, ':') ? "]" : "", code->port, id);
	for (unsigned i = 0; i < code->n_more; i++)
		fprintf(f, "%s%u", i ? ", " : "", code->more[i]);
	fprintf(f, "%s]\nstore: { path: \"%s/store\" }\n", code->n_more ? "" : SHARE_CONNECT_ORDER, guest.folder);
	return fclose(f) == 0 ? 0 : cli_fail(cli, "%s: %s", path, strerror(errno));
}

/* Whoever parses what the network says should not be root. Returns who it is instead; NULL: it was not. */
static const char *stop_being_root(void)
{
	const struct passwd *p = geteuid() == 0 ? getpwnam("stile") : NULL;

	if (!p && geteuid() == 0)
		p = getpwnam("nobody");
	if (p && (chown(guest.folder, p->pw_uid, p->pw_gid) < 0 || setgroups(0, NULL) < 0 || setgid(p->pw_gid) < 0 || setuid(p->pw_uid) < 0))
		_exit(126);
	return p ? p->pw_name : NULL;
}

static void become_agent(const char *program)
{
	char log[160], config[160], runtime[160];
	const char *user = stop_being_root();
	int fd;

	(void)snprintf(log, sizeof log, "%s/log", guest.folder);
	(void)snprintf(config, sizeof config, "%s/stile.yaml", guest.folder);
	(void)snprintf(runtime, sizeof runtime, "%s/run", guest.folder);
	(void)mkdir(runtime, 0700);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	fd = open(log, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	(void)dup2(fd, STDERR_FILENO);
	(void)dup2(fd, STDOUT_FILENO);
	(void)signal(SIGINT, SIG_IGN);
	execlp(program, "stile-agent", "-c", config, "--runtime-dir", runtime, (char *)NULL);
	if (user && errno == EACCES) /* the last word: see below */
		fprintf(stderr, "the user %s, which it becomes where root starts it, may not run it there: start stile get as an ordinary user, or put Stile "
				"where everybody may run it, as /usr/local or /opt\n", user);
	else
		fprintf(stderr, "%s: is it installed?\n", strerror(errno));
	_exit(127);
}

/* The last line that it wrote: why it is not there. */
static void last_word(char *out, size_t n)
{
	char path[160];
	FILE *f;

	(void)snprintf(path, sizeof path, "%s/log", guest.folder);
	f = fopen(path, "re");
	out[0] = '\0';
	while (f && fgets(out, (int)n, f))
		out[strcspn(out, "\n")] = '\0';
	if (f)
		fclose(f);
}

bool get_guest_died(char *why, size_t n)
{
	int status;

	if (guest.pid <= 0 || waitpid(guest.pid, &status, WNOHANG) != guest.pid)
		return false;
	guest.pid = 0;
	last_word(why, n);
	return true;
}

static int await_socket(struct cli *cli, const char *program, const char *socket)
{
	char word[400];

	for (unsigned i = 0; i < READY_TRIES; i++) {
		int status;

		if (access(socket, F_OK) == 0)
			return 0;
		if (waitpid(guest.pid, &status, WNOHANG) == guest.pid) {
			guest.pid = 0;
			last_word(word, sizeof word);
			get_guest_end();
			return cli_fail(cli, "%s did not start%s%s", program, *word ? ": " : "", word);
		}
		(void)usleep(READY_US);
	}
	get_guest_end();
	return cli_fail(cli, "%s did not become ready", program);
}

int get_guest_agent(struct cli *cli, const struct share_code *code, const struct share_keys *keys, char *socket, size_t n)
{
	const char *tmp = getenv("TMPDIR");
	char program[PATH_MAX], id[SHARE_ID_STRLEN];
	int r;

	(void)snprintf(guest.folder, sizeof guest.folder, "%.90s/stile-get-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(guest.folder)) {
		guest.folder[0] = '\0';
		return cli_fail(cli, "cannot make a folder for the agent: %s", strerror(errno));
	}
	hex_encode(keys->id, SHARE_ID, id);
	r = write_config(cli, code, id);
	if (r) {
		get_guest_end();
		return r;
	}
	find_agent(program, sizeof program);
	(void)signal(SIGINT, on_signal);
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGHUP, on_signal);
	guest.pid = fork();
	if (guest.pid == 0)
		become_agent(program);
	(void)snprintf(socket, n, "%s/run/stile-agent.sock", guest.folder);
	return await_socket(cli, program, socket);
}
