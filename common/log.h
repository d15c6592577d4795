/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs: one line per event, with a message id from a table and typed key=value fields.
 *
 *   2026-11-21T09:40:00.123Z info turn.alloc.created allocation created user=alice client=192.0.2.7:40000
 *
 * A line never holds a format string that a stranger could reach: fields are typed, quoted and
 * escaped (control bytes, quotes, invalid UTF-8 as \xNN), and cut at a bound. The same event is JSON
 * with format: json. Lines go to stderr (journald picks the <N> priority up when it is the reader) or
 * to a file that is rotated by size and, if wished, deleted daily; a thread of its own writes, so no
 * event loop waits for a disk; when its bounded queue is full, lines are counted and a "lost N lines"
 * line follows. Secrets are never given to a log function.
 */
#pragma once
#include "common/addr.h"
#include "common/text.h"

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG, LOG_LVL_TRACE, LOG_LVL_COUNT };
int log_level_parse(struct text t, enum log_level *ret_level); /* error warn info debug trace */
const char *log_level_name(enum log_level l);

/* A row of a module's log table. Each module has one <module>/log_msgs.def of rows
 *   MSG(TURN_ALLOC_CREATED, "turn.alloc.created", INFO, "allocation created", NULL)
 * expanded to "extern const struct log_msg MSG_TURN_ALLOC_CREATED" in its log_msgs.h, to the
 * definitions in its log_msgs.c, and read by the tests that hold the error catalogue complete. */
struct log_msg {
	const char *id;	  /* "turn.alloc.created" */
	enum log_level level;
	const char *text; /* "allocation created": for people */
	const char *advice; /* what an administrator does about it; NULL if nothing */
};

enum log_field_type { LF_END, LF_TYPE_TEXT, LF_TYPE_ADDR, LF_TYPE_U64, LF_TYPE_I64, LF_TYPE_BOOL, LF_TYPE_ERRNO };
struct log_field {
	const char *key;
	enum log_field_type type;
	union {
		struct text text;
		const struct addr *addr;
		uint64_t u64;
		int64_t i64;
		bool b;
	};
};
#define LF_TEXT(k, t) ((struct log_field){ .key = (k), .type = LF_TYPE_TEXT, .text = (t) })
#define LF_STR(k, s) ((struct log_field){ .key = (k), .type = LF_TYPE_TEXT, .text = text_of(s) })
#define LF_ADDR(k, a) ((struct log_field){ .key = (k), .type = LF_TYPE_ADDR, .addr = (a) })
#define LF_U64(k, v) ((struct log_field){ .key = (k), .type = LF_TYPE_U64, .u64 = (v) })
#define LF_I64(k, v) ((struct log_field){ .key = (k), .type = LF_TYPE_I64, .i64 = (v) })
#define LF_BOOL(k, v) ((struct log_field){ .key = (k), .type = LF_TYPE_BOOL, .b = (v) })
#define LF_ERRNO(k, e) ((struct log_field){ .key = (k), .type = LF_TYPE_ERRNO, .i64 = (e) }) /* sign ignored */

/* The process's log, from any thread: log_emit(&MSG, LF_STR("user", u), LF_ADDR("client", &a)); */
#ifdef __cppcheck__ /* it does not know __VA_OPT__ */
#define log_emit(msg, ...) log_emit_fields((msg), NULL)
#else
#define log_emit(msg, ...)                                                                         \
	log_emit_fields((msg), (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ .type = LF_END } })
#endif
void log_emit_fields(const struct log_msg *m, const struct log_field *fields);
bool log_is_failing(void); /* the last lines could not be written */
bool log_enabled(enum log_level l); /* cheap; ask before computing costly fields */

/* Lines that somebody else can cause at any rate go through a gate, which lets so many of one kind through in a second. */
enum { LOG_GATE_LINES = 20 };
struct log_gate {
	uint64_t second;
	uint32_t n, suppressed;
	uint32_t lines; /* 0: LOG_GATE_LINES */
};
/* now: ms. True: log it; *ret_suppressed are those that were not, before. */
bool log_gate_pass(struct log_gate *g, uint64_t now, uint64_t *ret_suppressed);

struct log_config {
	enum log_level level;
	const char *dir;      /* NULL or "": stderr */
	const char *name;     /* "<program>[@instance]": the file is dir/name.log */
	uint64_t max_size;    /* bytes; then name.log.1 … name.log.<keep> */
	unsigned keep;
	bool delete_daily;    /* start an empty file at local midnight and delete the older ones */
	bool json;
};
/* Before log_open() lines go to stderr at level info. err gets a sentence; -errno. Opens a new
 * file before the old one is let go, so a failed reopen keeps the old log. log_open, log_reopen and
 * log_close belong to one thread; a second log_open replaces the settings. A file made by root gets
 * the owner of its folder, so that the log still rotates when the privileges are gone. */
int log_open(const struct log_config *c, char *err, size_t err_n);
int log_check(const struct log_config *c, char *err, size_t err_n); /* would log_open() work? Leaves nothing behind */
int log_reopen(char *err, size_t err_n); /* SIGHUP after logrotate */
void log_set_level(enum log_level l);	 /* live */
enum log_level log_get_level(void);
void log_flush(void);			 /* waits until all that was emitted is written */
void log_close(void);			 /* flush, stop the thread; later lines go to stderr */
enum { LOG_LINE_MAX = 4096, LOG_FIELD_MAX = 512 }; /* bytes of a rendered line, of a rendered value */
/* Renders one line (no newline) as the writer would, for tests and for rings that keep recent lines.
 * Returns its length; NUL-terminated. Fields that do not fit are left out and a mark says so: n of
 * at least 512 holds any message's own words, less may cut them (and the JSON). */
size_t log_render(char *buf, size_t n, const struct log_msg *m, const struct log_field *fields,
		  int64_t unix_ms, bool json);
