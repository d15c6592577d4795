/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the records share; nobody else includes it.
 *
 *   records.c        settings, the queue, the writer thread, figures
 *   records_conn.c   lines of the connection log and the files of the day
 *   records_data.c   data logs, from both sides: the connection's and the writer's
 *   records_files.c  what both need of a folder: append under a lock, free space, removal by age
 *
 * Whatever is marked "writer" belongs to the writer thread; "lock" to who holds records.lock.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include "common/fd.h"
#include "tunnel/records.h"
#include "tunnel/records_format.h"

enum {
	RECORDS_LINES_MAX = 4 << 20, /* bytes of connection lines that may wait for the disk */
	RECORDS_DATA_MAX = 32 << 20, /* bytes of all data logs together */
	RECORDS_DATA_MAX_EACH = 256 << 10, /* … and of one of them */
	RECORDS_BUFFER = 128 << 10,	   /* rendered, per write() */
	RECORDS_REFUSED_PER_S = 200, /* lines about who was refused: a stranger makes them, as many as he likes */
	RECORDS_SWEEP_MS = 3600000,
	RECORDS_NUMBERS = 1000000, /* names tried for one data log */
	RECORDS_PATH = 4096,
};

enum records_op_kind { OP_LINE_TEXT, OP_LINE_JSON, OP_OPEN, OP_PACKET, OP_CLOSE };
struct records_op {
	struct list node;
	enum records_op_kind kind;
	enum data_log_way way;
	int64_t at;
	struct data_log *data; /* of the last three; a reference */
	size_t n;
	uint8_t bytes[];
};

struct records_settings {
	char *dir; /* NULL: none */
	struct records_options o; /* but for dir */
};

struct day_file { /* writer */
	int fd;
	int64_t day; /* yymmdd of what is open */
};

struct records {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	/* lock: */
	struct list queue;
	size_t lines_queued, data_queued;
	bool stop, busy;
	bool changed; /* next holds settings for the writer to take over */
	struct records_settings next;
	bool on, text_on, json_on;
	int64_t refused_s; /* the second in which refused lines were taken */
	unsigned refused;
	struct records_figures figures;
	/* writer: */
	struct records_settings at_work;
	struct day_file text, json;
	uint64_t sweep_at; /* steady ms */
	bool failing; /* the last line could not be written, and the log was told */
	bool below_floor;
	bool look; /* at the free space, before the next write */
	uint64_t checked_at; /* data bytes when free space was looked at last */
	int64_t name_minute; /* of the last data log's name */
	unsigned name_next;
	uint64_t written; /* rendered bytes of data logs */
	struct data_log *buffered; /* whose bytes the buffer holds; a reference */
	size_t buffer_n;
	char buffer[RECORDS_BUFFER];
};

struct data_log {
	struct records *rec;
	struct data_log_options o; /* loop, room and arg count */
	atomic_uint refs;
	_Atomic(enum data_log_stop) stop;
	uint64_t id;
	char route[64], source[ADDR_STRLEN], target[ADDR_STRLEN];
	/* lock: */
	size_t queued;
	bool closed, waits /* was told so */, mail_out;
	struct mail mail;
	char name[32];
	/* writer: */
	int fd;
	uint64_t size; /* whole and written */
	uint64_t at[2]; /* stream offset, either way */
};

/* records.c */
struct records_op *records_op_new(enum records_op_kind kind, size_t n, int64_t now_ms);
void records_push(struct records *rec, struct records_op *op); /* lock held */

/* records_conn.c: writer */
void records_write_line(struct records *rec, const struct records_op *op);
void records_close_days(struct records *rec);

/* records_data.c */
void data_log_unref(struct data_log *d);
void data_log_write(struct records *rec, struct records_op *op); /* writer */
void data_log_flush(struct records *rec);			 /* writer: buffer → file */
void data_log_wake(struct records *rec, struct data_log *d);	 /* lock held: room(), if it waits and there is some */

/* records_files.c */
int records_append(int fd, const char *p, size_t n); /* whole or not at all, where the file system can */
int records_free_space(const char *dir, uint64_t *ret_bytes);
unsigned records_sweep(const char *dir, uint64_t keep_ms, int64_t now_ms); /* returns how many it removed */
