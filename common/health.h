/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an administrator should know about a running service before it hurts: certificates that end, disks that fill,
 * descriptors, listeners that are not bound, jobs and routes that fail. One item for each thing: a stable word from one
 * table, what it is about, a sentence, and what to do. The verb service.health, `stile status` and the console show
 * the same items.
 *
 * Looks at memory, and at the files' attributes; the contents of a certificate are read again only when the file has
 * changed. Main thread of the service.
 */
#pragma once
#include <jansson.h>
#include "common/defs.h"

enum health_id { /* the words are in health.c */
	HEALTH_RELOAD_FAILED,
	HEALTH_RESTART_NEEDED,
	HEALTH_CERTIFICATE_ENDED,
	HEALTH_CERTIFICATE_ENDS,
	HEALTH_CERTIFICATE_CHANGED,
	HEALTH_CERTIFICATE_UNREADABLE,
	HEALTH_DISK_SPACE,
	HEALTH_DESCRIPTORS,
	HEALTH_MEMORY,
	HEALTH_LOOP_LATE,
	HEALTH_LOG_FAILING,
	HEALTH_STORE_FAILING,
	HEALTH_LISTENER_NOT_BOUND,
	HEALTH_JOB_FAILING,
	HEALTH_ROUTE_FAILING,
	HEALTH_PUBLIC_ADDRESS,
	HEALTH_SERVER_UNREACHABLE,
	HEALTH_BACKEND_DOWN,
	HEALTH_PARTNER_FAILING,
	HEALTH_FAST_PATH,
	HEALTH_IDS
};
enum { HEALTH_EACH = 20 };
enum health_severity { HEALTH_WARNING, HEALTH_ERROR };

struct health_end { /* of the first certificate in a file */
	int64_t at; /* unix s; 0: it could never be read */
	uint8_t sha256[32];
};
/* A certificate that was looked at, so that it is not read again for each question. */
struct health_cert {
	char *path;
	int64_t stamp_ns, size; /* of the file as it was read: ctime */
	uint64_t inode;
	struct health_end end, at_work; /* at_work: when it was loaded, last at health_certs_loaded() */
	int error; /* of the last look: 0 or -errno */
};
struct health_certs {
	struct health_cert *v;
	size_t n;
};
void health_certs_deinit(struct health_certs *c);
/* The service has just read its files: what is in them now is what it works with. */
void health_certs_loaded(struct health_certs *c);

struct health {
	json_t *items;
	struct health_certs *certs;
	int64_t now_ms; /* unix */
	enum health_severity worst;
	bool open; /* the item added last is one of items */
	unsigned n[HEALTH_IDS]; /* how many of each; only the first HEALTH_EACH are items */
};
/* subject: what it is about (a file, a route's name); "" for the service as a whole. */
void health_add(struct health *h, enum health_id id, enum health_severity severity, const char *subject, const char *fmt, ...)
	_printf_(5, 6);
/* Of the item added last: values for who translates its sentence; another hint than its row's. */
void health_arg_i64(struct health *h, const char *key, int64_t v);
void health_arg_str(struct health *h, const char *key, const char *v);

/* key: the configuration's, "turn.certificate". Adds what is to be said of the file, or nothing. */
void health_certificate(struct health *h, const char *key, const char *path);
/* The file system of a folder of logs or of the store. what: "log" */
void health_folder(struct health *h, const char *what, const char *path);

/* Of memory used and its limit (0: none), both in bytes. */
void health_memory(struct health *h, uint64_t used, uint64_t limit);

/* How late a loop is: it ticks each HEALTH_TICK_MS by its own clock, and what came late in the last minute adds up. Now and then a machine
 * is busy; more than a sixth of all time is a machine with too much to do. */
enum { HEALTH_TICK_MS = 1000, HEALTH_LATE_SLOTS = 7, HEALTH_LATE_MS = 10000 };
struct health_late {
	uint64_t due; /* 0: it has not begun */
	uint64_t slot[HEALTH_LATE_SLOTS], ms[HEALTH_LATE_SLOTS]; /* of ten seconds each: which, and how late in it */
};
void health_late_tick(struct health_late *l, uint64_t now_ms);
uint64_t health_late_ms(const struct health_late *l, uint64_t now_ms);
void health_loop(struct health *h, uint64_t late_ms); /* says it, if it is too much */

/* {at, worst, items}, errors first; takes the items. NULL without memory. */
json_t *health_json(struct health *h);
/* Words and hints for who documents them; NULL behind the last. */
const char *health_id_word(unsigned id);
const char *health_id_hint(unsigned id);
