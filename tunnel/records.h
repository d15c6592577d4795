/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the relay leaves on disk for people: the connection log, one file a day for all connections,
 * and the data log, a file with every byte of one connection.
 *
 * One struct records serves all workers of a process. Its writer thread is the only one that touches
 * the disk; a worker hands over copies and goes on. Two nodes may share the folder: days are appended
 * to under a lock, data logs are made with O_EXCL. Lines of the connection log that find a full queue
 * are counted and lost; bytes of a data log are never lost, their connection waits instead, alone,
 * until there is room. Of those who are refused a bounded number a second have lines. When the disk fails
 * or comes to its floor of free space the connections go on, logging stops, and a counter and a log line say
 * why. Time is an input (unix ms).
 */
#pragma once
#include "common/addr.h"
#include "common/loop.h"

struct records;

struct records_options {
	const char *dir;       /* existing folder; NULL or "": nothing is recorded */
	bool connections;      /* COyymmdd.LOG */
	bool connections_json; /* COyymmdd.jsonl */
	uint64_t data_max_size; /* bytes of one data log; 0: no limit */
	uint64_t data_floor;   /* bytes that data logs leave free on the disk */
	uint64_t keep_ms;      /* files of either kind that nobody wrote to for so long are removed; 0: never */
	uint64_t sweep_ms;     /* how often they are looked for; 0: every hour */
};

/* err gets a sentence; -errno. Where records_options has no folder, all that follows does nothing. */
int records_new(const struct records_options *o, char *err, size_t err_n, struct records **ret_rec);
/* Settings that could be taken: checked, and held. */
struct records_settings;
int records_settings_new(const struct records_options *o, char *err, size_t err_n,
			 struct records_settings **ret_s);
struct records_settings *records_settings_free(struct records_settings *s);
DEFINE_CLEANUP(struct records_settings, records_settings_free)
void records_take(struct records *rec,
		  struct records_settings *s); /* frees s. Live, from the thread that made rec */
/* Both in one. On failure the old settings stay. Data logs that are open stay where
 * they are. */
int records_configure(struct records *rec, const struct records_options *o, char *err, size_t err_n);
/* Would records_configure() work? Changes nothing. */
int records_check(const struct records_options *o, char *err, size_t err_n);
/* Writes all that is queued. Every data log has been closed before. */
struct records *records_free(struct records *rec);
void records_flush(struct records *rec); /* waits until all that was handed over is written */
DEFINE_CLEANUP(struct records, records_free)
bool records_is_ours(const char *name); /* exactly the names that we give */

/* ---- connection log ---- */

enum record_kind { RECORD_OPENED, RECORD_ENDED, RECORD_REFUSED, RECORD_FAILED, RECORD_KINDS };
struct record { /* all borrowed; what is not known is NULL, 0 or of no family */
	enum record_kind kind;
	uint64_t id;	      /* of the connection, as the tool shows it */
	const char *protocol; /* "tcp", "udp" */
	const char *route;    /* its name */
	struct addr source, listener, target;
	const char *source_name, *target_name; /* as resolved or configured */
	const char *reason;   /* ended, refused, failed: one short sentence */
	int64_t opened_at;    /* unix ms; of RECORD_ENDED */
	uint64_t bytes_up, bytes_down;
};
/* From any thread; never blocks on the disk. rec may be NULL. */
void records_connection(struct records *rec, const struct record *r, int64_t now_ms);

/* ---- data log ---- */

struct data_log; /* belongs to the connection, and to its thread */
struct data_log_options {
	struct loop *loop; /* where room is called */
	void (*room)(void *arg); /* after DATA_LOG_WAIT: go on */
	void *arg;
	uint64_t id;
	const char *route;
	struct addr source, target;
	const char *source_name, *target_name;
};
/* Does not touch the disk: a file that cannot be made shows in the first packets, as DATA_LOG_STOPPED.
 * -ENOENT: there is no folder for records; -ENOMEM. */
int data_log_open(struct records *rec, const struct data_log_options *o, int64_t now_ms, struct data_log **ret_d);
enum data_log_way { DATA_LOG_UP, DATA_LOG_DOWN }; /* source to target, and back */
enum { DATA_LOG_WAIT = 1, DATA_LOG_STOPPED = 2 };
/* Takes a copy of all n bytes. DATA_LOG_WAIT: taken too, but read no more of this connection until room(), which
 * follows, once. DATA_LOG_STOPPED: not taken, logging has ended (data_log_why); let the connection go on
 * without it. If it stops while somebody waits, room() is called as well. */
int data_log_packet(struct data_log *d, enum data_log_way way, const void *p, size_t n, int64_t now_ms);
const char *data_log_why(const struct data_log *d);  /* why it has stopped; NULL while it runs */
/* "RL26112113040012.LOG"; "" until the writer has made it. */
void data_log_name(const struct data_log *d, char *out, size_t cap);
/* What was handed over is still written, and reason as the last line. Takes NULL, returns NULL; no
 * room() follows. */
struct data_log *data_log_close(struct data_log *d, const char *reason, int64_t now_ms);

/* ---- figures ---- */

enum data_log_stop {
	DATA_LOG_RUNS,
	DATA_LOG_SIZE,	/* its file has reached data_max_size */
	DATA_LOG_FLOOR, /* the disk has no more than data_floor left */
	DATA_LOG_DISK,	/* the disk is full, or failed */
	DATA_LOG_OPEN,	/* its file could not be made */
	DATA_LOG_MEMORY,
	DATA_LOG_STOPS
};
const char *data_log_stop_text(enum data_log_stop s);
struct records_figures {
	uint64_t lines, lines_lost; /* of the connection log */
	uint64_t data_logs, data_logs_open;
	uint64_t data_bytes;	    /* of connections, written in hex */
	uint64_t waits;		    /* DATA_LOG_WAIT was answered */
	uint64_t stops[DATA_LOG_STOPS];
};
void records_figures(const struct records *rec, struct records_figures *ret_f); /* from any thread */
