/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile supervise: the command, its signals, the verbs of its control socket and the notifications of its services.
 *
 * It runs in the foreground and says what happens in a line each; the services' standard error follows with their name in
 * front. SIGTERM or Ctrl-C stops all services in order; a second one hurries them, a third one kills.
 * Exit: 0 when all have stopped well, 1 if one did not, 2 for a bad command line.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/cli_services.h"
#include "cli/supervisor.h"
#include "common/bytes.h"
#include "common/manager.h"

enum { NOTE_MAX = 2048 };

/* ---- the services ---- */

static struct supervised *find(const struct supervisor *sup, const char *program, const char *instance)
{
	list_for_each(it, &sup->services) {
		struct supervised *v = list_entry(it, struct supervised, node);
		if (strcmp(v->program, program) == 0 && strcmp(v->instance, instance) == 0)
			return v;
	}
	return NULL;
}

static struct supervised *of_process(const struct supervisor *sup, pid_t pid)
{
	list_for_each(it, &sup->services) {
		struct supervised *v = list_entry(it, struct supervised, node);
		if (pid > 0 && v->pid == pid)
			return v;
	}
	return NULL;
}

static bool any_runs(const struct supervisor *sup)
{
	list_for_each(it, &sup->services)
		if (list_entry(it, struct supervised, node)->pid)
			return true;
	return false;
}

/* "turn", "turn@lab", "turn@lab=FILE". */
static int add_word(struct supervisor *sup, const char *word)
{
	const char *file = strchr(word, '='), *end = file ? file : word + strlen(word), *at = memchr(word, '@', (size_t)(end - word));
	const char *program = manager_program(word, (size_t)((at ? at : end) - word));
	char instance[64] = "", err[256], path[PATH_MAX];
	struct instance i;

	if (at)
		snprintf(instance, sizeof instance, "%.*s", (int)(end - at - 1), at + 1);
	if (!program || (at && !*instance) || instance_init(&i, program, instance, sup->runtime_dir, err, sizeof err) < 0)
		return cli_wrong(sup->cli, "'%s' is no service: turn, turn@INSTANCE or turn@INSTANCE=FILE, and so on", word);
	if (file && !realpath(file + 1, path))
		return cli_fail(sup->cli, "%s: %s", file + 1, strerror(errno));
	if (!find(sup, program, instance) && !supervised_new(sup, program, instance, file ? path : sup->config))
		return cli_fail(sup->cli, "%s", strerror(ENOMEM));
	return 0;
}

/* Those that have a section in the file. */
static int add_configured(struct supervisor *sup)
{
	unsigned line;
	const char *at;
	int r = 0;

	for (size_t i = 0; i < cli_n_services && !r; i++) {
		_cleanup_(cfg_freep) struct cfg *c = NULL;
		const char *program = cli_services[i].ops.program;

		if (!manager_program(program, strlen(program)))
			continue; /* stile share reads the file, too, and is no service */
		(void)cfg_load(sup->config, cli_services[i].ops.config, &c);
		if (c && cfg_where(c, cli_services[i].section, &at, &line))
			r = add_word(sup, cli_services[i].section);
	}
	if (!r && list_empty(&sup->services))
		return cli_fail(sup->cli, "no service has a section in %s", sup->config);
	return r;
}

/* ---- verbs ---- */

static void verb_services(struct control_request *rq, const json_t *args, void *arg)
{
	const struct supervisor *sup = arg;
	json_t *rows = json_array();

	(void)args;
	list_for_each(it, &sup->services)
		json_array_append_new(rows, supervised_row(list_entry(it, struct supervised, node)));
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

/* A program of ours may be started although it was not named at the start; an instance has a file that we would have to know. */
static struct supervised *meant(struct supervisor *sup, struct control_request *rq, const json_t *args)
{
	const char *program = json_string_value(json_object_get(args, "program")), *name = json_string_value(json_object_get(args, "instance"));
	const char *known = program ? manager_program(program, strlen(program)) : NULL;
	struct supervised *v = known ? find(sup, known, name ? name : "") : NULL;

	if (!v && known && (!name || !*name))
		v = supervised_new(sup, known, "", sup->config);
	if (!v)
		control_fail(rq, "not-found", "stile supervise NAME@INSTANCE=FILE makes it known", "the supervisor knows no service %s%s%s",
			     program ? program : "", name && *name ? "@" : "", name ? name : "");
	return v;
}

static void order(struct supervisor *sup, struct control_request *rq, const json_t *args, enum manager_action action)
{
	static void (*const fns[])(struct supervised *) = { [MANAGER_START] = supervised_start, [MANAGER_STOP] = supervised_stop,
							     [MANAGER_RESTART] = supervised_restart };
	struct supervised *v;

	if (sup->signals) {
		control_fail(rq, "busy", NULL, "the supervisor is stopping");
		return;
	}
	v = meant(sup, rq, args);
	if (!v)
		return;
	printf("%s: %s asked for by %s\n", v->full, manager_action_names[action], control_request_who(rq));
	fflush(stdout);
	fns[action](v);
	supervised_await(v, rq, action != MANAGER_STOP);
}

static void verb_start(struct control_request *rq, const json_t *args, void *arg)
{
	order(arg, rq, args, MANAGER_START);
}

static void verb_stop(struct control_request *rq, const json_t *args, void *arg)
{
	order(arg, rq, args, MANAGER_STOP);
}

static void verb_restart(struct control_request *rq, const json_t *args, void *arg)
{
	order(arg, rq, args, MANAGER_RESTART);
}

static void verb_output(struct control_request *rq, const json_t *args, void *arg)
{
	struct supervisor *sup = arg;
	const char *program = json_string_value(json_object_get(args, "program")), *name = json_string_value(json_object_get(args, "instance"));
	json_int_t lines = json_integer_value(json_object_get(args, "lines"));
	struct supervised *v = program ? find(sup, program, name ? name : "") : NULL;

	if (!v)
		control_fail(rq, "not-found", "stile status names them", "the supervisor knows no service %s", program ? program : "");
	else
		control_reply(rq, json_pack("{s:I, s:o}", "total", (json_int_t)v->n_lines, "rows", supervised_output(v, lines > 0 ? (unsigned)MIN(lines, SV_LINES) : SV_LINES)));
}

static const struct control_verb verbs[] = {
	{ "supervisor.services", CONTROL_VIEWER, verb_services, "its services: state, process, how they ended, their last error" },
	{ "supervisor.start", CONTROL_OPERATOR, verb_start, "{program, instance}: starts it, and answers when it runs or has failed" },
	{ "supervisor.stop", CONTROL_OPERATOR, verb_stop, "{program, instance}: stops it, and answers when it has ended" },
	{ "supervisor.restart", CONTROL_OPERATOR, verb_restart, "{program, instance}: stops and starts it" },
	{ "supervisor.output", CONTROL_OPERATOR, verb_output, "{program, instance, lines}: the last lines of its standard error" },
};

static int open_control(struct supervisor *sup)
{
	char path[400], err[512] = "";
	const struct control_options o = { .path = path, .program = MANAGER_SUPERVISOR, .instance = "", .version = STILE_VERSION, .mode = 0660,
					   .group = "stile" };
	int r;

	snprintf(path, sizeof path, "%s/" MANAGER_SUPERVISOR ".sock", sup->runtime_dir);
	if (mkdir(sup->runtime_dir, 0755) < 0 && errno != EEXIST)
		return cli_fail(sup->cli, "cannot make the folder %s: %s", sup->runtime_dir, strerror(errno));
	r = control_server_new(sup->loop, &o, err, sizeof err, &sup->control);
	if (r == 0)
		r = control_add_verbs(sup->control, verbs, ARRAY_LEN(verbs), sup);
	return r < 0 ? cli_fail(sup->cli, "%s", err[0] ? err : strerror(-r)) : 0;
}

/* ---- notifications ---- */

/* "READY=1\nSTATUS=running" */
static void take_note(struct supervised *v, char *note)
{
	for (char *line = note, *next; line; line = next) {
		char *value = strchr(line, '=');

		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		if (value && (!next || value < next)) {
			*value++ = 0;
			supervised_notified(v, line, value);
		}
	}
}

static void on_notify(struct io *io, int events)
{
	struct supervisor *sup = container_of(io, struct supervisor, notify);
	char note[NOTE_MAX];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = { note, sizeof note - 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t n = recvmsg(io->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	struct supervised *v = NULL;
	struct ucred who;

	(void)events;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) { /* the kernel's word, whoever writes */
		memcpy(&who, CMSG_DATA(c), sizeof who);
		v = of_process(sup, who.pid);
	}
	if (!v)
		return;
	note[n] = 0;
	take_note(v, note);
}

/* An abstract name, so that it needs no folder that every service's user may write to. */
static int open_notify(struct supervisor *sup)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	uint8_t random[8];
	char hex[17];
	int fd, on = 1, r;

	if (bytes_random(random, sizeof random) < 0)
		return cli_fail(sup->cli, "no random numbers");
	hex_encode(random, sizeof random, hex);
	snprintf(sup->notify_path, sizeof sup->notify_path, "@stile-supervisor-%s", hex);
	memcpy(a.sun_path + 1, sup->notify_path + 1, strlen(sup->notify_path) - 1);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
	    bind(fd, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(sup->notify_path))) < 0 ? -errno : 0;
	if (r == 0)
		r = io_start(&sup->notify, sup->loop, fd, IO_READ, on_notify);
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? cli_fail(sup->cli, "no socket for notifications: %s", strerror(-r)) : 0;
}

/* ---- signals ---- */

static void on_child(int signo, void *arg)
{
	struct supervisor *sup = arg;
	pid_t pid;
	int status;

	(void)signo;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct supervised *v = of_process(sup, pid);
		if (v)
			supervised_ended(v, status);
	}
	if (sup->signals && !any_runs(sup))
		loop_stop(sup->loop);
}

static void on_end(int signo, void *arg)
{
	struct supervisor *sup = arg;

	(void)signo;
	sup->signals++;
	list_for_each(it, &sup->services) {
		struct supervised *v = list_entry(it, struct supervised, node);
		if (sup->signals == 1)
			supervised_stop(v);
		else
			supervised_hurry(v, sup->signals > 2);
	}
	if (!any_runs(sup))
		loop_stop(sup->loop);
}

static void on_hangup(int signo, void *arg)
{
	const struct supervisor *sup = arg;

	list_for_each(it, &sup->services) {
		const struct supervised *v = list_entry(it, struct supervised, node);
		if (v->pid)
			(void)kill(v->pid, signo);
	}
}

static int watch_signals(struct supervisor *sup)
{
	static const struct {
		int signo;
		void (*fn)(int signo, void *arg);
	} all[] = { { SIGCHLD, on_child }, { SIGTERM, on_end }, { SIGINT, on_end }, { SIGHUP, on_hangup } };
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(all) && r == 0; i++)
		r = loop_on_signal(sup->loop, all[i].signo, all[i].fn, sup);
	return r < 0 ? cli_fail(sup->cli, "%s", strerror(-r)) : 0;
}

/* ---- the command ---- */

static int set_paths(struct supervisor *sup)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	path[MAX(n, 0)] = 0;
	if (strrchr(path, '/'))
		snprintf(sup->home, sizeof sup->home, "%.*s", (int)MIN(strrchr(path, '/') - path, SV_PATH - 1), path);
	snprintf(sup->runtime_dir, sizeof sup->runtime_dir, "%s", cli_runtime_dir(sup->cli));
	if (!realpath(cli_config_path(sup->cli), path) || strlen(path) >= sizeof sup->config)
		return cli_fail(sup->cli, "%s: %s", cli_config_path(sup->cli), strerror(errno));
	memcpy(sup->config, path, strlen(path) + 1);
	return 0;
}

static int begin(struct supervisor *sup)
{
	int r = set_paths(sup);

	for (unsigned i = 0; i < sup->cli->n_words && !r; i++)
		r = add_word(sup, sup->cli->words[i]);
	if (!r && !sup->cli->n_words)
		r = add_configured(sup);
	if (!r && loop_new(&sup->loop) < 0)
		r = cli_fail(sup->cli, "%s", strerror(ENOMEM));
	if (!r)
		r = open_control(sup);
	if (!r)
		r = open_notify(sup);
	return r ? r : watch_signals(sup);
}

static int run_supervise(struct cli *cli)
{
	struct supervisor sup = { .cli = cli, .user = cli_option(cli, "user") };
	int r, fd;

	list_init(&sup.services);
	r = begin(&sup);
	if (!r) {
		list_for_each(it, &sup.services)
			supervised_start(list_entry(it, struct supervised, node));
		r = loop_run(sup.loop) < 0 || sup.failed ? EXIT_FAILED : 0;
	}
	list_for_each_safe(it, &sup.services)
		supervised_free(list_entry(it, struct supervised, node));
	fd = sup.notify.fd;
	if (sup.notify.ev) {
		io_stop(&sup.notify);
		close(fd);
	}
	control_server_free(sup.control);
	loop_free(sup.loop);
	return r;
}

static const struct option_row supervise_options[] = {
	{ "user", 'u', "USER", "whom the services become when root starts them (default stile, else nobody)" },
};

static const struct command rows[] = {
	{ "supervise", "[SERVICE...]", "start services and look after them, where there is no systemd",
	  "In the foreground. Starts the SERVICEs, or those that have a section in the configuration; starts again what falls\n"
	  "(not after a bad configuration), and starts and stops them for stile start, stop and restart. A SERVICE is turn,\n"
	  "tunnel, agent, sip, console …; turn@lab=FILE is an instance with a file of its own. SIGHUP is passed on; SIGTERM or\n"
	  "Ctrl-C stops all, a second one hurries them, a third one kills.",
	  supervise_options, ARRAY_LEN(supervise_options), 0, CLI_MAX_WORDS, run_supervise, 0 },
};
const struct command_table supervise_commands = { rows, ARRAY_LEN(rows) };
