/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every service's main() shares: options, instance names, configuration with its errors, log,
 * control socket, signals, privileges, readiness and watchdog.
 *
 * Order of a start: options → configuration (exit 2 with all errors shown) → log, control socket and
 * store (their files are the user's) → the service's open() (binds ports and reads keys while still
 * privileged) → privileges dropped, system calls given up → start() → ready. SIGTERM/SIGINT → drain() up to its limit →
 * stop; a second one stops at once. service.drain → the same with a limit of its own, or none. SIGHUP → log reopened, reload(). Exit 0 only after a clean stop,
 * 1 for a failed start or a forced stop, 2 for a bad command line or configuration, 3 after a stop that asks for a start: a change that
 * needs a restart was rolled back.
 */
#pragma once
#include <sys/types.h>
#include "common/config.h"
#include "common/control.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/store.h"

/* "/run/stile/stile-turn@lab.sock" and friends. */
struct instance {
	char program[32];
	char name[64];	     /* "" or NAME of --instance: letters, digits, - and _ */
	char full[100];	     /* program or program@name */
	char runtime_dir[256]; /* --runtime-dir, $RUNTIME_DIRECTORY, /run/stile (root) or $XDG_RUNTIME_DIR/stile */
	char socket_path[512];
};
int instance_init(struct instance *i, const char *program, const char *name, const char *runtime_dir,
		  char *err, size_t err_n);
/* What FILE|DIR of --config says when it is a folder, a whole installation of its own: its stile.yaml, and its name, the
 * instance's. 1; 0 if it is none; -ENAMETOOLONG for what then is "". */
int instance_folder(const char *config, char *path, size_t path_n, char *name, size_t name_n);

struct log_section { /* schema cfg_log_schema: the log section, and its override in each service's section */
	unsigned level, format;
	char *dir;
	uint64_t max_size, keep;
	bool delete_daily;
};
extern const struct cfg_schema cfg_log_schema;
void log_section_config(const struct log_section *l, struct log_config *ret_lc);
struct store_section {
	char *path; /* folder */
};
extern const struct cfg_schema cfg_store_schema;

struct service;
struct service_health;
struct service_logs;
struct service_sandbox;
struct health;

/* A row of each service's root, whose struct has a `bool sandbox`: see service_sandbox.c. */
#define SERVICE_SANDBOX_ROW(root) \
	{ .name = "sandbox", .type = &cfg_bool, CFG_AT(root, sandbox), .def = "true", \
	  .help = "Services shut themselves in when they have started: seccomp leaves them the system calls that they need, Landlock the " \
	  "folders that this file has them write in. stile status tells what the kernel has of it." }

/* What a reload changes: rows {key, what, was, is, restart} as in struct cfg_change, without was and is for
 * secrets and whole items. */
struct service_changes {
	json_t *rows;
	size_t more; /* that did not fit */
};
int service_changes_add(struct service_changes *c, const struct cfg_change *ch); /* 0 or -ENOMEM */

/* Who holds the objects of a kind in memory. What comes in by another way than the kind's own verbs (config.put, an undo, a
 * commit of many) is judged and done by it. */
struct service_owner {
	const char *kind;
	/* Could it be held? May put another reference in the place of *body. 0; -EINVAL; -EEXIST: the file has one of this name. NULL: the
	 * kind's schema judges alone. */
	int (*check)(const char *key, json_t **body, void *arg, char *err, size_t err_n);
	/* It is in the store: now hold it. 0, or -errno and a sentence. body NULL: it is gone. */
	int (*apply)(const char *key, json_t *body, uint64_t revision, void *arg, char *err, size_t err_n);
	void *arg;
};
enum { SERVICE_OWNERS = 16, SERVICE_KINDS = 16 };

struct service_ops {
	const char *program; /* "stile-turn" */
	const char *summary; /* for --help */
	const struct cfg_root *config;
	/* Further checks of the parsed values; adds errors to c. Also used by `stile check`. */
	void (*check)(struct cfg *c);
	/* The log settings that hold for this service: base section and its own override merged. */
	void (*log_config)(const void *values, struct log_config *ret_lc);
	/* It opens ports at reloads too: the main thread keeps the right to bind those below 1024, if it has it. */
	bool binds_later;
	const char *(*store_path)(const void *values); /* folder, or NULL if the service has no store */
	/* Folder of files that it leaves for people beside its log (the relay's records), NULL: none; and which files there are such. Both or none. */
	const char *(*records_path)(const void *values);
	bool (*is_record)(const char *name);
	const struct store_kind *store_kinds; /* of its objects; ended by a row without a name. May be NULL */
	/* Each returns 0 or a negative errno after writing a sentence into err. A failed one is followed
	 * by stop(). */
	int (*open)(struct service *s, char *err, size_t err_n);  /* still privileged */
	const int *capabilities; /* that are left after open(), ended by -1; NULL: none */
	/* The one program that it may start while it runs, by its path. NULL: none. */
	void (*program_path)(char *buf, size_t n);
	bool writes_config; /* the folder of its configuration stays writable: it restores backups */
	unsigned sandbox_calls; /* SANDBOX_BPF, SANDBOX_RING: needs more than others (common/sandbox.h) */
	int (*start)(struct service *s, char *err, size_t err_n); /* privileges gone */
	/* Before each reload, and for a dry run: could the service take c? Tries all that can fail, changes nothing,
	 * and adds to ch what the files do not show (a certificate's file has new contents). May be NULL. */
	int (*examine)(struct service *s, const struct cfg *c, struct service_changes *ch, char *err, size_t err_n);
	/* c is the new configuration; on 0 the service has taken it (s->cfg is replaced after). */
	int (*reload)(struct service *s, struct cfg *c, char *err, size_t err_n);
	bool (*drain)(struct service *s); /* true: nothing left, stop now */
	void (*stop)(struct service *s);
	bool (*alive)(struct service *s); /* every worker moved since the last call; feeds the watchdog */
	void (*health)(struct service *s, struct health *h); /* what only this service knows (common/health.h); may be NULL */
};

struct service {
	const struct service_ops *ops;
	struct instance instance;
	const char *config_path;
	struct cfg *cfg;
	struct loop *loop;
	struct control_server *control;
	struct store *store;
	struct store_kind kinds[SERVICE_KINDS]; /* ops->store_kinds and the settings */
	struct service_owner owners[SERVICE_OWNERS];
	size_t n_owners;
	struct service_settings *settings;
	struct service_edits *edits; /* changes under way */
	void *state; /* of the service */
	int64_t started_at; /* unix ms */
	uint64_t started;   /* the same by the steady clock, ms */
	int64_t reloaded_at; /* unix ms; 0: never */
	char *fixed; /* cfg_fixed_values() of the start */
	char restart_needed[256]; /* keys that the file has changed since, and that only a restart applies */
	struct service_health *health;
	struct service_logs *logs;
	struct service_sandbox *sandbox;
	char reload_error[512]; /* of the last reload; "" if it went well: shown by status */
	/* To drop to when started as root: --user, else "stile" if it exists, else "nobody". After that,
	 * a reload can read only what this user may read. */
	const char *user, *group;
	uid_t uid; /* that user's; who is not root stays who he is */
	uint64_t drain_limit_ms; /* of a stop: 10 s unless open() or reload() sets another */
	uint64_t drain_until; /* the loop's clock; UINT64_MAX: until nothing is left */
	bool draining; /* nothing new is taken on */
	bool stopping; /* told to by a signal: the next one stops at once */
	bool again; /* it stops to be started anew */
};
int service_main(const struct service_ops *ops, int argc, char **argv);

/* The same life inside of a program that is somebody else's (libstile-agent), in a thread of its own: signals, ids, umask, limits,
 * sandbox and systemd are that program's affair and stay as they are. It ends by the verb service.stop, or when stop_fd is readable.
 * One per process: the log is the process's. */
struct service_embedding {
	const char *config, *runtime_dir;
	int stop_fd; /* the caller's */
	/* From that thread, once. failed: NULL: it is ready; else a sentence, and it ends. */
	void (*begun)(const char *failed, void *arg);
	void *arg;
};
void service_run_embedded(const struct service_ops *ops, const struct service_embedding *e);
void service_own(struct service *s, const struct service_owner *o);
void service_disown(struct service *s, const void *arg); /* whatever this one holds: it goes before the service */
void service_stop(struct service *s); /* as SIGTERM does */
/* Takes nothing new on and stops when nothing is left, or after limit_ms (UINT64_MAX: no limit). Called again it
 * sets another limit. A stop that comes meanwhile waits no longer than its own limit. */
void service_drain(struct service *s, uint64_t limit_ms);

/* Adds what the schema cannot know to the errors of c: ops->check(), and a log folder that cannot be
 * written. For `stile check`; the start and every reload use it too. user may be NULL. */
void service_check(const struct service_ops *ops, const char *user, struct cfg *c);
/* For checks by root, which may read what user may not: a warning about files that the configuration is made of or names. A start as root
 * reads them before it becomes that user, so this is not among what stops it. */
void service_check_files(const struct service_ops *ops, const char *user, struct cfg *c);
const char *service_default_user(void);

/* Pieces of it, for tests and for other programs. */
/* Also no_new_privs. keep: capabilities that stay, ended by -1; NULL: none. */
int privileges_drop(const char *user, const char *group, const int *keep, char *err, size_t err_n);
void ready_notify(const char *state); /* sd_notify; "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=…" */
