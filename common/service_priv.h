/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the service frame share; nobody else includes it.
 *
 *   service.c          a service's life: start, signals, drain, stop
 *   service_options.c  the command line and --help
 *   service_config.c   the sections log and store, loading and checking a configuration
 *   service_reload.c   SIGHUP
 *   service_changes.c  what a reload changes
 *   service_verbs.c    control verbs that every service has
 *   service_notify.c   systemd: readiness and watchdog
 *   service_files.c    folders made for the service's user
 *   privileges.c       becoming that user
 *   instance.c         names and paths of an instance
 */
#pragma once
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
int service_load(const struct service_ops *ops, const char *user, const char *path, struct cfg **ret_cfg);
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

/* --- service_reload.c --- */
/* Both fill *ret_changes (zeroed before, deinit after) as far as they come. */
int service_reload(struct service *s, struct service_changes *ret_changes); /* 0, or -errno with s->reload_error set */
int service_reload_preview(struct service *s, struct service_changes *ret_changes, char *err, size_t err_n);

/* --- service_changes.c --- */
int service_changes_init(struct service_changes *c, const struct cfg *was, const struct cfg *is); /* 0 or -ENOMEM */
void service_changes_deinit(struct service_changes *c);
void service_changes_log(const struct service_changes *c);

/* --- service_verbs.c --- */
int service_add_verbs(struct service *s);

/* --- service_objects.c --- */
void service_on_objects(struct control_request *rq, const json_t *args, void *arg);

/* --- service_notify.c --- */
struct watchdog {
	struct timer timer;
	struct service *s;
	uint64_t every_ms; /* 0: none wanted */
	bool starved;	   /* said so already */
};
void watchdog_start(struct watchdog *w, struct service *s);
void watchdog_stop(struct watchdog *w);
