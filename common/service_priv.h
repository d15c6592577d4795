/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the service frame share; nobody else includes it.
 *
 *   service.c          a service's life: start, signals, drain, stop
 *   service_options.c  the command line and --help
 *   service_config.c   the sections log and store, loading and checking a configuration
 *   service_settings.c settings of the store: read before the start, laid under the file, config.get
 *   service_judge.c    what stands against a change
 *   service_commit.c   a change on its way: stored, applied, confirmed, undone
 *   service_edits.c    its verbs: config.set, config.begin, config.commit …
 *   service_objects.c  objects of the store and who holds them
 *   service_reload.c   SIGHUP; service_changes.c: what it changes
 *   service_verbs.c    control verbs that every service has; service_health.c: what needs attention;
 *                      service_logs.c: log.files, log.tail, log.read, log.delete
 *   service_notify.c   systemd: readiness and watchdog; service_files.c: folders made for the service's user
 *   service_sandbox.c  folders and system calls that are given up
 *   privileges.c       becoming that user; instance.c: names and paths of an instance
 */
#pragma once
#include <string.h>
#include "common/service.h"

/* --- service_options.c --- */
struct service_args {
	const char *config, *instance, *runtime_dir, *user;
	bool check;
};
/* 0: go on; 1: done (--help, --version), exit 0; -EINVAL after a sentence on stderr. */
int service_parse_args(const struct service_ops *ops, int argc, char **argv, struct service_args *ret_a);

/* --- service_config.c --- */
/* Loads and checks; 0, or -errno with all errors in *ret_cfg (NULL only without memory). */
int service_load(const struct service_ops *ops, const char *user, const char *path, const json_t *settings, struct cfg **ret_cfg);
struct log_config service_log_config(const struct service_ops *ops, const char *name, const struct cfg *c);

/* --- privileges.c --- */
struct account {
	char name[64];
	uid_t uid;
	gid_t gid;
};
int account_find(const char *user, const char *group, struct account *ret_a, char *err, size_t err_n);
/* For a process that is root: files made from here on are the account's, and what it may not do
 * fails now instead of later. Nothing happens if it is not root or the account is root. */
int privileges_borrow(const struct account *a, char *err, size_t err_n);
int privileges_return(void);
/* Takes away what only exec() could give back: no_new_privs, bounding and ambient sets. Per thread
 * and inherited, so it comes first. */
void privileges_confine(void);
/* The uid will not change at the drop (it is the account's already, or nobody's to change): threads
 * that begin from here on give up their capabilities themselves. Before there are threads. */
void privileges_keep_ids(void);
/* CAP_NET_BIND_SERVICE stays with the main thread, if it is there. Before there are threads. */
void privileges_keep_bind(void);

/* --- service_files.c --- */
enum { SOCKET_DIR_MODE = 0755, LOG_DIR_MODE = 0750, STORE_DIR_MODE = 0700 };
/* Makes path and what is missing above it; folders that it makes are given to the account if we are
 * root. */
int service_make_dir(const char *path, mode_t mode, const struct account *a, char *err, size_t err_n);
/* Could service_make_dir() and a file in it succeed? Changes nothing. */
int service_dir_usable(const char *path, const struct account *a, char *err, size_t err_n);

/* --- service_sandbox.c --- */
/* While there is one thread and the folders can be made. 0 or -ENOMEM: what the kernel does not have is no error. */
int service_sandbox_files(struct service *s, const struct account *a);
void service_sandbox_calls(struct service *s);
void service_sandbox_log(const struct service *s);
const char *service_sandbox_text(const struct service *s); /* "system calls and files", "off", or what does not hold and why */
/* Could c be followed by this process? 0, or -EACCES and a sentence. */
int service_sandbox_judge(const struct service *s, const struct cfg *c, char *err, size_t err_n);
struct service_sandbox *service_sandbox_free(struct service_sandbox *b);

/* --- service_reload.c --- */
/* Both fill *ret_changes (zeroed before, deinit after) as far as they come. */
int service_reload(struct service *s, struct service_changes *ret_changes); /* 0, or -errno with s->reload_error set */
int service_reload_preview(struct service *s, struct service_changes *ret_changes, char *err, size_t err_n);
/* The same with other settings. Of a bad configuration *ret_cfg has the errors; NULL: it is not that, and err tells. */
int service_examine(struct service *s, const json_t *settings, struct service_changes *ret_changes, struct cfg **ret_cfg,
		    char *err, size_t err_n);

/* --- service_changes.c --- */
int service_changes_init(struct service_changes *c, const struct cfg *was, const struct cfg *is); /* 0 or -ENOMEM */
void service_changes_deinit(struct service_changes *c);
void service_changes_log(const struct service_changes *c);

/* --- service_verbs.c --- */
int service_add_verbs(struct service *s);
int64_t service_descriptors(void); /* that are open; -1: not known */

/* --- service_logs.c --- */
int service_logs_new(struct service *s); /* and its verbs. 0 or -ENOMEM */
void service_logs_stop(struct service *s); /* while the loop still takes mail: nothing is asked of a disk any more */
void service_logs_free(struct service *s);

/* --- service_health.c --- */
int service_health_new(struct service *s); /* 0 or -ENOMEM */
void service_health_look(struct service *s); /* the configuration is another one, or its files have been read anew */
void service_health_free(struct service *s);
json_t *service_health(struct service *s);
void service_on_health(struct control_request *rq, const json_t *args, void *arg);

/* --- service_objects.c --- */
void service_on_objects(struct control_request *rq, const json_t *args, void *arg);
const struct service_owner *service_owner_of(const struct service *s, const char *kind);
const struct store_kind *service_find_kind(const struct service *s, const char *name);
/* In place: the secrets of an object of this kind, to be shown. Anything else than an object (a deletion) stays as it is. */
void service_hide(const struct service *s, const char *kind, json_t *body);

/* --- service_settings.c --- */
#define SETTING_KIND "setting"
struct service_settings {
	json_t *pieces;	   /* path → piece of configuration: all that the store has */
	json_t *live;	   /* of them, those that are not skipped */
	json_t *revisions; /* path → integer */
	json_t *skipped;   /* path → why it was left out at the start */
	uint64_t undone;   /* a change that was rolled back at the start */
	bool unread;	   /* the store could not be asked */
};
/* Reads them from the store's file, before it is opened for good. Never fails: the opening will. */
int service_settings_read(struct service *s, const char *store_file);
struct service_settings *service_settings_free(struct service_settings *t);
/* The configuration of a start: bad settings are left out. 0, or -errno with the errors of the file in s->cfg. */
int service_settings_load(struct service *s);
void service_settings_log(const struct service *s); /* what was left out */
/* piece NULL: it is gone. 0 or -ENOMEM. */
int service_settings_put(struct service_settings *t, const char *path, json_t *piece, uint64_t revision);
void service_on_get(struct control_request *rq, const json_t *args, void *arg);

/* --- service_commit.c --- */
struct service_edits {
	struct service *s;
	struct timer deadline; /* of what waits for its confirmation */
	struct timer forget;   /* old secrets */
	bool busy;	       /* a change is being written */
	uint64_t pending;      /* the change that waits; 0: none */
	int64_t until;
	char pending_who[128];
	struct list transactions; /* service_edits.c */
	unsigned n_transactions, last_transaction;
	struct timer sweep;
};
int service_edits_new(struct service *s); /* reads what waits; 0 or -errno */
struct service_edits *service_edits_free(struct service_edits *e);
/* steps: [{kind, key, body|null, revision}], revision -1: whatever is there; taken. until: 0, or unix ms. Each ends the request. */
struct service_change {
	struct control_request *rq;
	const char *who;
	int64_t until;
	unsigned transaction; /* that goes when it has gone well; 0: none */
};
static inline const char *step_text(const json_t *step, const char *key)
{
	return json_string_value(json_object_get(step, key));
}
static inline bool step_is_setting(const json_t *step)
{
	const char *kind = step_text(step, "kind");

	return kind && strcmp(kind, SETTING_KIND) == 0;
}
bool steps_have_settings(const json_t *steps);
void service_commit(struct service *s, const struct service_change *ch, json_t *steps);
void service_undo(struct service *s, const struct service_change *ch, uint64_t number);
void service_confirm(struct service *s, struct control_request *rq, const char *who);

/* --- service_judge.c --- */
/* What stands against the steps: [{path, kind, key, text}]; empty: nothing. NULL: no memory. Of settings, *ret_changes has what they
 * change (deinit after). *ret_code: "locked" instead of "bad-request". Bodies of the steps may be put into their normal form. */
json_t *service_judge(struct service *s, json_t *steps, struct service_changes *ret_changes, const char **ret_code);

/* --- service_edits.c --- */
int service_add_edit_verbs(struct service *s);
void service_transactions_free(struct service_edits *e);
void service_transaction_done(struct service_edits *e, unsigned number);
json_t *service_transactions_json(const struct service_edits *e);

/* --- service_notify.c --- */
void ready_silence(void); /* PID 1 waits for somebody else in this process */
struct watchdog {
	struct timer timer;
	struct service *s;
	uint64_t every_ms; /* 0: none wanted */
	bool starved;	   /* said so already */
};
void watchdog_start(struct watchdog *w, struct service *s);
void watchdog_stop(struct watchdog *w);
