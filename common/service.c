/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a service, from main() to its exit code; service.h tells the order. Everything that
 * can fail does so before the service says that it is ready, with one sentence that names the
 * reason, on stderr and in the log.
 */
#include "common/service.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/clock.h"
#include "common/inherited.h"
#include "common/log_msgs.h"
#include "common/service_priv.h"

enum { EXIT_CLEAN = 0, EXIT_START_FAILED = 1, EXIT_BAD_CONFIG = 2, EXIT_AGAIN = 3 };
enum { DRAIN_LIMIT_MS = 10000, DRAIN_TICK_MS = 100, STOP_MARGIN_US = 30000000 };

struct run {
	struct service s;
	struct account account;
	struct watchdog watchdog;
	struct timer drain_tick;
	uint64_t drain_ms; /* the drain's limit, as it was given */
	bool logs;   /* the log is open */
	bool opened; /* open() was called, so stop() must be */
	bool as_nobody; /* for want of a better user */
	bool forced; /* stopped by a second signal */
	const struct service_embedding *embedding; /* NULL: the process is the service's */
	struct io stop; /* of its stop_fd */
};

/* --- stopping --- */

static void on_drain_tick(struct timer *t, uint64_t now)
{
	struct run *run = container_of(t, struct run, drain_tick);
	struct service *s = &run->s;

	if (!s->ops->drain || s->ops->drain(s)) {
		loop_stop(s->loop);
		return;
	}
	if (now >= s->drain_until) {
		if (run->drain_ms) /* without a limit nobody was promised anything */
			log_emit(&MSG_SERVICE_DRAIN_LIMIT, LF_U64("limit_ms", run->drain_ms));
		loop_stop(s->loop);
		return;
	}
	loop_timer_set(s->loop, &run->drain_tick, DRAIN_TICK_MS);
}

static void drain_for(struct run *run, uint64_t limit_ms)
{
	struct service *s = &run->s;
	uint64_t now = loop_now(s->loop);

	s->draining = true;
	run->drain_ms = limit_ms;
	s->drain_until = limit_ms > UINT64_MAX - now ? UINT64_MAX : now + limit_ms;
	run->drain_tick.fire = on_drain_tick;
	timers_set(loop_timers(s->loop), &run->drain_tick, now);
}

void service_stop(struct service *s)
{
	struct run *run = container_of(s, struct run, s);
	uint64_t limit_ms = s->drain_limit_ms;
	char state[128];

	if (s->stopping)
		return;
	s->stopping = true;
	if (s->draining) /* since it was asked to: a stop can only make it shorter */
		limit_ms = MIN(limit_ms, s->drain_until - MIN(s->drain_until, loop_now(s->loop)));
	log_emit(&MSG_SERVICE_STOPPING, LF_U64("limit_ms", limit_ms));
	snprintf(state, sizeof(state), "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=%llu",
		 (unsigned long long)MIN(limit_ms, UINT64_MAX / 2000) * 1000 + STOP_MARGIN_US);
	ready_notify(state);
	drain_for(run, limit_ms);
}

void service_drain(struct service *s, uint64_t limit_ms)
{
	struct run *run = container_of(s, struct run, s);

	if (s->stopping)
		return;
	if (limit_ms == UINT64_MAX)
		log_emit(&MSG_SERVICE_DRAINING);
	else
		log_emit(&MSG_SERVICE_DRAINING, LF_U64("limit_ms", limit_ms));
	ready_notify("STATUS=draining");
	drain_for(run, limit_ms);
}

static void on_stop_signal(int signo, void *arg)
{
	struct run *run = arg;

	(void)signo;
	if (!run->s.stopping) {
		service_stop(&run->s);
		return;
	}
	run->forced = true;
	log_emit(&MSG_SERVICE_FORCED);
	loop_stop(run->s.loop);
}

static void on_reload_signal(int signo, void *arg)
{
	struct run *run = arg;
	struct service_changes changes = { 0 };
	char err[256];

	(void)signo;
	if (!run->s.stopping)
		service_reload(&run->s, &changes);
	else if (log_reopen(err, sizeof(err)) < 0) /* a drain may last longer than a day's log */
		log_emit(&MSG_SERVICE_LOG_REOPEN_FAILED, LF_STR("reason", err));
	service_changes_deinit(&changes);
}

/* --- starting --- */

static int open_log(struct run *run, char *err, size_t err_n)
{
	struct service *s = &run->s;
	struct log_config lc = service_log_config(s->ops, s->instance.full, s->cfg);
	int r = 0;

	if (lc.dir && *lc.dir)
		r = service_make_dir(lc.dir, LOG_DIR_MODE, &run->account, err, err_n);
	if (r == 0)
		r = privileges_borrow(&run->account, err, err_n);
	if (r == 0)
		r = log_open(&lc, err, err_n);
	run->logs = r == 0;
	return r;
}

static int open_control(struct run *run, char *err, size_t err_n)
{
	struct service *s = &run->s;
	struct control_options o = { .path = s->instance.socket_path, .program = s->ops->program,
				     .instance = s->instance.name, .version = STILE_VERSION,
				     .mode = 0660, .group = "stile" };
	int r;

	r = service_make_dir(s->instance.runtime_dir, SOCKET_DIR_MODE, &run->account, err, err_n);
	if (r == 0)
		r = privileges_borrow(&run->account, err, err_n);
	if (r == 0)
		r = control_server_new(s->loop, &o, err, err_n, &s->control);
	if (r == 0)
		r = service_add_verbs(s);
	if (r == 0)
		r = service_logs_new(s);
	return r;
}

/* malloc'd; NULL: no store, or no memory */
static char *store_file(const struct service *s)
{
	const char *dir = s->ops->store_path && s->cfg ? s->ops->store_path(cfg_values(s->cfg)) : NULL;
	char *path = NULL;

	return dir && asprintf(&path, "%s/%s.db", dir, s->instance.full) >= 0 ? path : NULL;
}

static int open_store(struct run *run, char *err, size_t err_n)
{
	struct service *s = &run->s;
	const char *dir = s->ops->store_path ? s->ops->store_path(cfg_values(s->cfg)) : NULL;
	_cleanup_(freep) char *path = NULL;
	int r;

	if (!dir)
		return 0;
	path = store_file(s);
	if (!path)
		return -ENOMEM;
	r = service_make_dir(dir, STORE_DIR_MODE, &run->account, err, err_n);
	if (r == 0)
		r = privileges_borrow(&run->account, err, err_n);
	if (r == 0)
		r = store_open(&(struct store_options){ .path = path, .kinds = s->kinds }, err, err_n, &s->store);
	if (r == 0 && s->settings->unread) {
		snprintf(err, err_n, "the settings in %s could not be read; start again", path);
		r = -EIO;
	}
	return r > 0 ? -EIO : r;
}

static int watch_signals(struct run *run)
{
	static const int stops[] = { SIGTERM, SIGINT };
	int r = 0;

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(stops) && r == 0; i++)
		r = loop_on_signal(run->s.loop, stops[i], on_stop_signal, run);
	return r < 0 ? r : loop_on_signal(run->s.loop, SIGHUP, on_reload_signal, run);
}

/* A SIGHUP that comes while there is nothing to catch it (logrotate at boot) waits, and kills nobody. */
static void hold_reloads(int how)
{
	sigset_t hup;

	sigemptyset(&hup);
	sigaddset(&hup, SIGHUP);
	sigprocmask(how, &hup, NULL);
}

/* Started with a standard descriptor closed, the next file opened would take its number, and lines meant
 * for stderr would go into a socket or a database. */
static void fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* Every client costs a descriptor, so all that we may have are used. */
static void raise_descriptor_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = MIN(l.rlim_max, (rlim_t)1 << 20);
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* Each step with the files that it makes; what one opens with the user's rights ends with ours. */
static int open_files(struct run *run, char *err, size_t err_n)
{
	static int (*const steps[])(struct run *, char *, size_t) = { open_log, open_control, open_store };
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(steps) && r == 0; i++) {
		r = steps[i](run, err, err_n);
		if (privileges_return() < 0 && r == 0) {
			snprintf(err, err_n, "cannot become root again");
			r = -EPERM;
		}
	}
	return r;
}

/* What is of the process, before there are threads. */
static int prepare_process(struct run *run, char *err, size_t err_n)
{
	struct service *s = &run->s;
	int r = inherited_open(err, err_n);

	if (r < 0)
		return r;
	privileges_confine(); /* before there are threads: they inherit it */
	if (geteuid() != 0 || run->account.uid == 0)
		privileges_keep_ids();
	if (s->ops->binds_later)
		privileges_keep_bind();
	raise_descriptor_limit();
	return service_sandbox_files(s, &run->account);
}

/* Root is given up for good, and what only a stranger would call. */
static int confine_process(struct run *run, char *err, size_t err_n)
{
	struct service *s = &run->s;
	int r = privileges_drop(s->user, s->group, s->ops->capabilities, err, err_n);

	if (r == 0)
		service_sandbox_calls(s);
	return r;
}

static void on_stop_fd(struct io *io, int events)
{
	struct run *run = container_of(io, struct run, stop);

	(void)events;
	io_stop(io);
	service_stop(&run->s);
}

static int start(struct run *run, char *err, size_t err_n)
{
	struct service *s = &run->s;
	bool process = !run->embedding;
	int r;

	snprintf(err, err_n, "out of memory");
	r = process ? prepare_process(run, err, err_n) : 0;
	if (r == 0)
		r = loop_new(&s->loop);
	if (r == 0)
		r = process ? watch_signals(run) : io_start(&run->stop, s->loop, run->embedding->stop_fd, IO_READ, on_stop_fd);
	if (process)
		hold_reloads(SIG_UNBLOCK);
	if (r == 0)
		r = open_files(run, err, err_n);
	if (r < 0)
		return r;
	service_settings_log(s);
	r = service_edits_new(s);
	if (r < 0)
		return r;
	r = service_health_new(s);
	if (r < 0)
		return r;
	service_health_look(s); /* while it may still read what is root's */
	if (run->as_nobody)
		log_emit(&MSG_SERVICE_NOBODY);
	run->opened = true;
	r = s->ops->open ? s->ops->open(s, err, err_n) : 0;
	if (r == 0 && process)
		r = confine_process(run, err, err_n);
	if (r == 0 && s->ops->start)
		r = s->ops->start(s, err, err_n);
	return r;
}

static int run_until_stopped(struct run *run)
{
	struct service *s = &run->s;
	int r;

	s->started_at = clock_unix_ms();
	s->started = clock_steady_ms();
	if (run->embedding) {
		run->embedding->begun(NULL, run->embedding->arg);
	} else {
		watchdog_start(&run->watchdog, s);
		inherited_settle(true);
		inherited_tell_unused();
	}
	service_sandbox_log(s);
	log_emit(&MSG_SERVICE_READY, LF_STR("version", STILE_VERSION), LF_STR("config", s->config_path),
		 LF_STR("control", s->instance.socket_path), LF_U64("pid", (uint64_t)getpid()));
	ready_notify("READY=1\nSTATUS=running");
	r = loop_run(s->loop);
	watchdog_stop(&run->watchdog);
	timer_stop(&run->drain_tick);
	if (!run->embedding) { /* from here on a signal ends a stop that hangs */
		signal(SIGTERM, SIG_DFL);
		signal(SIGINT, SIG_DFL);
	}
	if (r < 0 || run->forced)
		return EXIT_START_FAILED;
	return s->again ? EXIT_AGAIN : EXIT_CLEAN;
}

static void start_failed(const struct run *run, const char *err)
{
	const struct service *s = &run->s;
	struct log_config lc = service_log_config(s->ops, s->instance.full, s->cfg);

	log_emit(&MSG_SERVICE_START_FAILED, LF_STR("reason", err));
	if (run->logs && lc.dir && *lc.dir) /* else that was stderr already */
		fprintf(stderr, "%s: %s\n", s->instance.full, err);
}

/* Who waits for the store or the log's files learns how it went while everything still stands; also who asks anew because of what
 * he learns, but not for ever. */
static void deliver_outcomes(struct service *s)
{
	enum { ROUNDS = 16 };

	if (!s->loop)
		return;
	service_logs_stop(s);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (s->store)
			store_flush(s->store);
		if (i > 0 && !loop_has_mail(s->loop))
			return;
		loop_stop(s->loop); /* so this is one pass that does not wait */
		loop_run(s->loop);
	}
}

static int run_service(struct run *run)
{
	struct service *s = &run->s;
	char err[512] = "";
	int code;

	if (!run->embedding)
		umask(027);
	if (start(run, err, sizeof(err)) == 0) {
		code = run_until_stopped(run);
	} else {
		start_failed(run, err);
		if (run->embedding)
			run->embedding->begun(err, run->embedding->arg);
		code = EXIT_START_FAILED;
	}
	io_stop(&run->stop);
	deliver_outcomes(s);
	s->edits = service_edits_free(s->edits);
	if (run->opened && s->ops->stop)
		s->ops->stop(s);
	s->control = control_server_free(s->control); /* with the last answers */
	if (!run->embedding)
		inherited_close();
	s->store = store_close(s->store);
	service_logs_free(s);
	service_health_free(s);
	s->sandbox = service_sandbox_free(s->sandbox);
	if (code == EXIT_CLEAN)
		log_emit(&MSG_SERVICE_STOPPED);
	log_close();
	s->loop = loop_free(s->loop);
	return code;
}

static void list_kinds(struct service *s)
{
	size_t n = 0;

	for (const struct store_kind *k = s->ops->store_kinds; k && k->name && n < SERVICE_KINDS - 2; k++)
		s->kinds[n++] = *k;
	s->kinds[n] = (struct store_kind){ .name = SETTING_KIND, .schema = s->ops->config->schema, .place = "" };
}

/* The file tells where the store is, and the store's settings complete the file. */
static int read_settings(struct run *run, bool check)
{
	_cleanup_(freep) char *path = check ? NULL : store_file(&run->s);
	char err[128];
	int r = privileges_borrow(&run->account, err, sizeof(err));

	if (r == 0)
		r = service_settings_read(&run->s, path);
	privileges_return();
	return r;
}

static int read_configuration(struct run *run, bool check)
{
	struct service *s = &run->s;
	int r = service_load(s->ops, s->user, s->config_path, NULL, &s->cfg);

	list_kinds(s);
	if (r != -ENOMEM && read_settings(run, check) < 0)
		r = -ENOMEM;
	if (r != -ENOMEM && json_object_size(s->settings->pieces))
		r = service_settings_load(s);
	return r;
}

static int load(struct run *run, bool check)
{
	struct service *s = &run->s;
	int r = read_configuration(run, check);

	if (r == 0 && check)
		service_check_files(s->ops, s->user, s->cfg);
	if (s->cfg)
		for (size_t i = 0; i < cfg_n_warnings(s->cfg); i++) {
			const struct cfg_error *w = cfg_warning(s->cfg, i);
			fprintf(stderr, "%s:%u:%u: warning: %s\n", w->file, w->line, w->column, w->text);
		}
	if (r < 0 && s->cfg)
		cfg_print_errors(s->cfg, stderr);
	else if (r < 0)
		fprintf(stderr, "%s: %s\n", s->config_path, strerror(-r));
	return r;
}

int service_main(const struct service_ops *ops, int argc, char **argv)
{
	struct run run = { .s = { .ops = ops, .drain_limit_ms = DRAIN_LIMIT_MS } };
	struct service *s = &run.s;
	struct service_args args;
	char err[512] = "";
	int r, code = EXIT_BAD_CONFIG;

	fill_standard_descriptors();
	hold_reloads(SIG_BLOCK);
	r = service_parse_args(ops, argc, argv, &args);
	if (r != 0)
		return r < 0 ? EXIT_BAD_CONFIG : EXIT_CLEAN;
	s->config_path = args.config;
	s->user = args.user ? args.user : service_default_user();
	run.as_nobody = geteuid() == 0 && !args.user && strcmp(s->user, "nobody") == 0;
	/* A check opens no socket, so a user without a runtime folder may make one too. */
	r = instance_init(&s->instance, ops->program, args.instance,
			  args.check && !args.runtime_dir ? "/run/stile" : args.runtime_dir, err, sizeof(err));
	if (r == 0 && geteuid() == 0)
		r = account_find(s->user, s->group, &run.account, err, sizeof(err));
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", ops->program, err);
		return EXIT_BAD_CONFIG;
	}
	s->uid = geteuid() == 0 ? run.account.uid : geteuid();
	if (load(&run, args.check) == 0) {
		s->fixed = cfg_fixed_values(s->cfg);
		code = args.check ? EXIT_CLEAN : run_service(&run);
		if (args.check)
			printf("%s: the configuration is good for %s\n", s->config_path, ops->program);
	}
	cfg_free(s->cfg);
	service_settings_free(s->settings);
	free(s->fixed);
	return code;
}

/* The first error of a configuration; the log is not open yet. */
static void tell_bad_config(const struct run *run, int r)
{
	const struct cfg *c = run->s.cfg;
	char text[512];
	struct sb b = sb_init(text, sizeof(text));

	if (c && cfg_n_errors(c)) {
		const struct cfg_error *e = cfg_error(c, 0);

		sb_part(&b, text_of(e->file), 150);
		sb_fmt(&b, ":%u:%u: ", e->line, e->column);
		sb_part(&b, text_of(e->text), 300);
	} else {
		sb_fmt(&b, "%s: %s", run->s.config_path, strerror(-r));
	}
	run->embedding->begun(text, run->embedding->arg);
}

void service_run_embedded(const struct service_ops *ops, const struct service_embedding *e)
{
	struct run run = { .s = { .ops = ops, .drain_limit_ms = DRAIN_LIMIT_MS, .config_path = e->config }, .embedding = e };
	struct service *s = &run.s;
	char err[512] = "";
	int r = instance_init(&s->instance, ops->program, NULL, e->runtime_dir, err, sizeof(err));

	if (r < 0) {
		e->begun(err, e->arg);
		return;
	}
	ready_silence();
	/* Nobody else is become: the effective ids are of the whole process. */
	s->user = geteuid() == 0 ? "root" : service_default_user();
	s->uid = geteuid();
	r = read_configuration(&run, false);
	if (r < 0) {
		tell_bad_config(&run, r);
	} else {
		s->fixed = cfg_fixed_values(s->cfg);
		(void)run_service(&run);
	}
	cfg_free(s->cfg);
	service_settings_free(s->settings);
	free(s->fixed);
}
