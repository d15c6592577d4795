/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection log: COyymmdd.LOG with a line for each connection that was opened, in the layout that
 * readers of the original know, and COyymmdd.jsonl with all that happened to each attempt.
 *
 * A line belongs to the local day of its own time, not of its writing, so midnight falls where the clock
 * says. JSON lines are rendered like those of the log, with ids and escapes alike, plus the node, which
 * tells two nodes in one folder apart. A file that somebody has moved away is made again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "tunnel/log_msgs.h"
#include "tunnel/records_priv.h"

enum { MODE_DAY = 0640, LINE_MAX_TEXT = 256, MAX_FIELDS = 20 };

/* ---- on the connection's thread ---- */

static void push_line(struct records *rec, enum records_op_kind kind, const char *line, size_t n, int64_t now_ms)
{
	struct records_op *op = records_op_new(kind, n, now_ms);

	if (op)
		memcpy(op->bytes, line, n);
	pthread_mutex_lock(&rec->lock);
	if (op && rec->lines_queued + n <= RECORDS_LINES_MAX)
		records_push(rec, steal_ptr(&op));
	else
		rec->figures.lines_lost++;
	pthread_mutex_unlock(&rec->lock);
	free(op);
}

static void push_text(struct records *rec, const struct record *r, int64_t now_ms)
{
	char line[LINE_MAX_TEXT], source[ADDR_STRLEN], target[ADDR_STRLEN];
	struct sb b = sb_init(line, sizeof line);

	format_time(&b, now_ms, false);
	sb_fmt(&b, " Connection from %s to %s\n", addr_print(&r->source, source), addr_print(&r->target, target));
	push_line(rec, OP_LINE_TEXT, line, b.n, now_ms);
}

static const struct log_msg *const messages[RECORD_KINDS] = {
	[RECORD_OPENED] = &MSG_RELAY_CONNECTION_OPENED,
	[RECORD_ENDED] = &MSG_RELAY_CONNECTION_ENDED,
	[RECORD_REFUSED] = &MSG_RELAY_CONNECTION_REFUSED,
	[RECORD_FAILED] = &MSG_RELAY_CONNECTION_FAILED,
};

static const char *node_name(char buf[static 256])
{
	if (gethostname(buf, 255) < 0)
		snprintf(buf, 256, "?");
	buf[255] = 0;
	return buf;
}

static void push_json(struct records *rec, const struct record *r, int64_t now_ms)
{
	struct log_field f[MAX_FIELDS];
	char line[LOG_LINE_MAX + 1], node[256];
	size_t n = 0;

	f[n++] = LF_STR("node", node_name(node));
	if (r->id)
		f[n++] = LF_U64("connection", r->id);
	if (r->protocol)
		f[n++] = LF_STR("protocol", r->protocol);
	if (r->route)
		f[n++] = LF_STR("route", r->route);
	if (addr_family(&r->source) != AF_UNSPEC)
		f[n++] = LF_ADDR("source", &r->source);
	if (r->source_name)
		f[n++] = LF_STR("source_name", r->source_name);
	if (addr_family(&r->listener) != AF_UNSPEC)
		f[n++] = LF_ADDR("listener", &r->listener);
	if (addr_family(&r->target) != AF_UNSPEC)
		f[n++] = LF_ADDR("target", &r->target);
	if (r->target_name)
		f[n++] = LF_STR("target_name", r->target_name);
	if (r->kind == RECORD_ENDED) {
		f[n++] = LF_I64("duration_ms", r->opened_at ? MAX(now_ms - r->opened_at, 0) : 0);
		f[n++] = LF_U64("bytes_up", r->bytes_up);
		f[n++] = LF_U64("bytes_down", r->bytes_down);
	}
	if (r->reason)
		f[n++] = LF_STR("reason", r->reason);
	f[n] = (struct log_field){ .type = LF_END };
	size_t len = log_render(line, LOG_LINE_MAX, messages[r->kind], f, now_ms, true);
	line[len++] = '\n';
	push_line(rec, OP_LINE_JSON, line, len, now_ms);
}

/* Lock held. */
static bool too_many_refused(struct records *rec, int64_t now_ms)
{
	if (now_ms / 1000 != rec->refused_s) {
		rec->refused_s = now_ms / 1000;
		rec->refused = 0;
	}
	return rec->refused++ >= RECORDS_REFUSED_PER_S;
}

void records_connection(struct records *rec, const struct record *r, int64_t now_ms)
{
	if (!rec)
		return;
	pthread_mutex_lock(&rec->lock);
	bool text = rec->text_on && r->kind == RECORD_OPENED, json = rec->json_on;
	if (json && r->kind == RECORD_REFUSED && too_many_refused(rec, now_ms)) {
		rec->figures.lines_lost++;
		json = false;
	}
	pthread_mutex_unlock(&rec->lock);
	if (text)
		push_text(rec, r, now_ms);
	if (json)
		push_json(rec, r, now_ms);
}

/* ---- on the writer's ---- */

static int64_t day_of(int64_t unix_ms)
{
	time_t t = (time_t)(unix_ms / 1000);
	struct tm tm = { 0 };

	localtime_r(&t, &tm);
	return (int64_t)(tm.tm_year % 100) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday;
}

static void close_day(struct day_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

void records_close_days(struct records *rec)
{
	close_day(&rec->text);
	close_day(&rec->json);
}

static bool was_moved(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 || st.st_nlink == 0;
}

/* Makes sure that the file of the line's day is open. -errno. */
static int open_day(const struct records *rec, struct day_file *f, const char *suffix, int64_t at)
{
	int64_t day = day_of(at);
	char path[RECORDS_PATH];

	if (f->fd >= 0 && f->day == day && !was_moved(f->fd))
		return 0;
	close_day(f);
	if (snprintf(path, sizeof path, "%s/CO%06d%s", rec->at_work.dir, (int)day, suffix) >= (int)sizeof path)
		return -ENAMETOOLONG;
	f->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, MODE_DAY);
	if (f->fd < 0)
		return -errno;
	f->day = day;
	return 0;
}

void records_write_line(struct records *rec, const struct records_op *op)
{
	bool json = op->kind == OP_LINE_JSON;
	struct day_file *f = json ? &rec->json : &rec->text;
	int r = -ENOENT;

	if (rec->at_work.dir)
		r = open_day(rec, f, json ? ".jsonl" : ".LOG", op->at);
	if (r == 0)
		r = records_append(f->fd, (const char *)op->bytes, op->n);
	pthread_mutex_lock(&rec->lock);
	if (r == 0)
		rec->figures.lines++;
	else
		rec->figures.lines_lost++;
	uint64_t lost = rec->figures.lines_lost;
	pthread_mutex_unlock(&rec->lock);
	if (r < 0 && !rec->failing)
		log_emit(&MSG_RELAY_RECORDS_FAILED, LF_STR("dir", rec->at_work.dir ? rec->at_work.dir : "none"),
			 LF_ERRNO("error", r));
	if (r == 0 && rec->failing)
		log_emit(&MSG_RELAY_RECORDS_AGAIN, LF_U64("lost", lost));
	rec->failing = r < 0;
}
