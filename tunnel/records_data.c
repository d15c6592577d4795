/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data logs: RLyymmddhhmmnn.LOG, one file a connection, with every byte of it as hex and text.
 *
 * The connection's thread copies packets into the queue, as far as its share goes; the writer renders them
 * into one buffer, which is flushed when it is full, when another connection follows, and at the end of a
 * batch. A file is made with O_EXCL and the first number nn that is free, so no file of another connection, of
 * another node or of yesterday is ever written to. A log that had to stop ends in whole lines and says why.
 *
 * References: the connection's, one for each queued op, the buffer's, one while room() is on its way.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "tunnel/log_msgs.h"
#include "tunnel/records_priv.h"

enum { MODE_DATA = 0600, LOOK_EVERY = 1 << 20, HEAD_TEXT_MAX = 2048 };

static const char *const stop_texts[DATA_LOG_STOPS] = {
	[DATA_LOG_RUNS] = "runs",
	[DATA_LOG_SIZE] = "its file has reached the size limit",
	[DATA_LOG_FLOOR] = "the disk has only its floor of free space left",
	[DATA_LOG_DISK] = "the disk is full or failed",
	[DATA_LOG_OPEN] = "its file could not be made",
	[DATA_LOG_MEMORY] = "there was no memory",
};

const char *data_log_stop_text(enum data_log_stop s)
{
	return (unsigned)s < DATA_LOG_STOPS ? stop_texts[s] : "?";
}

void data_log_unref(struct data_log *d)
{
	if (atomic_fetch_sub(&d->refs, 1) != 1)
		return;
	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

static void stop_log(struct data_log *d, enum data_log_stop why, int error)
{
	enum data_log_stop runs = DATA_LOG_RUNS;
	char file[sizeof d->name];

	if (!atomic_compare_exchange_strong(&d->stop, &runs, why))
		return;
	pthread_mutex_lock(&d->rec->lock);
	d->rec->figures.stops[why]++;
	snprintf(file, sizeof file, "%s", d->name);
	data_log_wake(d->rec, d);
	pthread_mutex_unlock(&d->rec->lock);
	log_emit(&MSG_RELAY_DATA_LOG_STOPPED, LF_U64("connection", d->id), LF_STR("route", d->route),
		 LF_STR("file", file[0] ? file : "none"), LF_STR("reason", data_log_stop_text(why)),
		 error ? LF_ERRNO("error", error) : (struct log_field){ .type = LF_END });
}

/* ---- on the connection's thread ---- */

static void push(struct data_log *d, struct records_op *op)
{
	op->data = d;
	atomic_fetch_add(&d->refs, 1);
	if (op->kind == OP_PACKET) {
		d->queued += op->n;
		d->rec->data_queued += op->n;
	}
	records_push(d->rec, op);
}

static void render_head(const struct data_log *d, const struct data_log_options *o, int64_t now_ms, struct sb *b)
{
	sb_fmt(b, "Connection %llu from %s", (unsigned long long)d->id, d->source);
	if (o->source_name) {
		sb_str(b, " (");
		format_safe(b, o->source_name);
		sb_char(b, ')');
	}
	sb_fmt(b, " to %s", d->target);
	if (o->target_name) {
		sb_str(b, " (");
		format_safe(b, o->target_name);
		sb_char(b, ')');
	}
	sb_str(b, ", route ");
	format_safe(b, d->route);
	sb_str(b, ", log begun ");
	format_time(b, now_ms, true);
	sb_str(b, "\n\n");
}

int data_log_open(struct records *rec, const struct data_log_options *o, int64_t now_ms, struct data_log **ret_d)
{
	char head[HEAD_TEXT_MAX];
	struct sb b = sb_init(head, sizeof head);
	struct data_log *d;

	if (!rec)
		return -ENOENT;
	pthread_mutex_lock(&rec->lock);
	bool on = rec->on;
	pthread_mutex_unlock(&rec->lock);
	if (!on)
		return -ENOENT;
	d = calloc(1, sizeof *d);
	if (!d)
		return -ENOMEM;
	d->rec = rec;
	d->o = *o;
	d->fd = -1;
	d->id = o->id;
	atomic_init(&d->refs, 1);
	snprintf(d->route, sizeof d->route, "%s", o->route ? o->route : "-");
	addr_print(&o->source, d->source);
	if (addr_family(&o->target) == AF_UNSPEC) /* the agent has not said yet where a name led */
		(void)snprintf(d->target, sizeof d->target, "%s", o->target_name ? o->target_name : "-");
	else
		addr_print(&o->target, d->target);
	render_head(d, o, now_ms, &b);
	struct records_op *op = records_op_new(OP_OPEN, b.n, now_ms);
	if (!op) {
		data_log_unref(d);
		return -ENOMEM;
	}
	memcpy(op->bytes, head, b.n);
	pthread_mutex_lock(&rec->lock);
	push(d, op);
	rec->figures.data_logs++;
	rec->figures.data_logs_open++;
	pthread_mutex_unlock(&rec->lock);
	*ret_d = d;
	return 0;
}

/* Lock held. A share of its own, and less when all of them together hold much. */
static bool must_wait(struct data_log *d)
{
	if (d->queued < RECORDS_DATA_MAX_EACH && d->rec->data_queued < RECORDS_DATA_MAX)
		return false;
	if (!d->waits)
		d->rec->figures.waits++;
	d->waits = true;
	return true;
}

int data_log_packet(struct data_log *d, enum data_log_way way, const void *p, size_t n, int64_t now_ms)
{
	struct records_op *op;

	if (atomic_load(&d->stop) != DATA_LOG_RUNS)
		return DATA_LOG_STOPPED;
	if (n == 0)
		return 0;
	op = records_op_new(OP_PACKET, n, now_ms);
	if (!op) {
		stop_log(d, DATA_LOG_MEMORY, ENOMEM);
		return DATA_LOG_STOPPED;
	}
	op->way = way;
	memcpy(op->bytes, p, n);
	pthread_mutex_lock(&d->rec->lock);
	push(d, op);
	bool wait = must_wait(d);
	pthread_mutex_unlock(&d->rec->lock);
	return wait ? DATA_LOG_WAIT : 0;
}

const char *data_log_why(const struct data_log *d)
{
	enum data_log_stop s = atomic_load(&d->stop);

	return s == DATA_LOG_RUNS ? NULL : data_log_stop_text(s);
}

void data_log_name(const struct data_log *d, char *out, size_t cap)
{
	struct data_log *writable = (struct data_log *)d; /* the lock is the records' */

	pthread_mutex_lock(&writable->rec->lock);
	snprintf(out, cap, "%s", d->name);
	pthread_mutex_unlock(&writable->rec->lock);
}

struct data_log *data_log_close(struct data_log *d, const char *reason, int64_t now_ms)
{
	char text[512];
	struct sb b = sb_init(text, sizeof text);
	struct records_op *op;

	if (!d)
		return NULL;
	if (reason) {
		format_time(&b, now_ms, true);
		sb_str(&b, " End: ");
		format_safe(&b, reason);
		sb_char(&b, '\n');
	}
	op = records_op_new(OP_CLOSE, b.n, now_ms);
	if (op)
		memcpy(op->bytes, text, b.n);
	pthread_mutex_lock(&d->rec->lock);
	d->closed = true;
	d->rec->figures.data_logs_open--;
	if (op)
		push(d, op); /* without one the file is closed with the last reference */
	pthread_mutex_unlock(&d->rec->lock);
	data_log_unref(d);
	return NULL;
}

/* ---- room ---- */

static void drop_room(struct mail *m)
{
	data_log_unref(container_of(m, struct data_log, mail));
}

static void deliver_room(struct mail *m, struct loop *l)
{
	struct data_log *d = container_of(m, struct data_log, mail);

	(void)l;
	/* Only its own thread closes it, and that is this one; once it is closed, the records may be gone. */
	if (!d->closed) {
		pthread_mutex_lock(&d->rec->lock);
		d->mail_out = false;
		pthread_mutex_unlock(&d->rec->lock);
		d->o.room(d->o.arg);
	}
	data_log_unref(d);
}

void data_log_wake(struct records *rec, struct data_log *d)
{
	bool room = d->queued <= RECORDS_DATA_MAX_EACH / 2 && (!d->queued || rec->data_queued <= RECORDS_DATA_MAX / 2);

	if (!d->waits || d->closed || d->mail_out || (!room && atomic_load(&d->stop) == DATA_LOG_RUNS))
		return;
	d->waits = false;
	d->mail_out = true;
	atomic_fetch_add(&d->refs, 1);
	d->mail = (struct mail){ .deliver = deliver_room, .drop = drop_room };
	loop_post(d->o.loop, &d->mail);
}

/* ---- on the writer's thread ---- */

/* "RL" yymmddhhmm nn ".LOG"; nn begins where the last one of this minute was. */
static int make_file(struct records *rec, struct data_log *d, int64_t at)
{
	char path[RECORDS_PATH], name[sizeof d->name];
	time_t t = (time_t)(at / 1000);
	struct tm tm = { 0 };

	localtime_r(&t, &tm);
	if (rec->name_minute != t / 60) {
		rec->name_minute = t / 60;
		rec->name_next = 0;
	}
	for (unsigned i = rec->name_next; i < RECORDS_NUMBERS; i++) {
		snprintf(name, sizeof name, "RL%02u%02u%02u%02u%02u%02u.LOG", (unsigned)tm.tm_year % 100u, (unsigned)tm.tm_mon + 1u,
			 (unsigned)tm.tm_mday, (unsigned)tm.tm_hour, (unsigned)tm.tm_min, i);
		if (snprintf(path, sizeof path, "%s/%s", rec->at_work.dir, name) >= (int)sizeof path)
			return -ENAMETOOLONG;
		d->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, MODE_DATA);
		if (d->fd < 0 && errno == EEXIST)
			continue;
		if (d->fd < 0)
			return -errno;
		rec->name_next = i + 1;
		pthread_mutex_lock(&rec->lock);
		snprintf(d->name, sizeof d->name, "%s", name);
		pthread_mutex_unlock(&rec->lock);
		return 0;
	}
	return -EEXIST;
}

/* False, and said once, while the disk is at its floor. */
static bool has_space(struct records *rec)
{
	uint64_t left;

	if (!rec->at_work.o.data_floor || records_free_space(rec->at_work.dir, &left) < 0)
		return true;
	rec->checked_at = rec->written;
	rec->look = false;
	if (left <= rec->at_work.o.data_floor && !rec->below_floor)
		log_emit(&MSG_RELAY_DISK_FLOOR, LF_STR("dir", rec->at_work.dir), LF_U64("free", left),
			 LF_U64("floor", rec->at_work.o.data_floor));
	rec->below_floor = left <= rec->at_work.o.data_floor;
	return !rec->below_floor;
}

/* The last line of a log that had to stop. Where the disk is full, cutting half a line off may have made room
 * for it; if not, the counter and the log have it. */
static void sign_off(struct data_log *d, enum data_log_stop why, int error)
{
	char text[160];
	struct sb b = sb_init(text, sizeof text);
	struct stat st = { 0 };

	stop_log(d, why, error);
	if (d->fd < 0)
		return;
	sb_fmt(&b, "Logging stopped: %s\n", data_log_stop_text(why));
	if (fstat(d->fd, &st) < 0) {
		/* it is not cut then */
	}
	/* Shorter than what was written: an administrator has emptied it meanwhile. */
	if ((st.st_size > (off_t)d->size && ftruncate(d->fd, (off_t)d->size) < 0) || fd_write(d->fd, text, b.n) < 0) {
		/* said above */
	}
	close(d->fd);
	d->fd = -1;
}

/* Cuts the buffer behind the last whole line that fits into room. */
static size_t whole_lines(const char *p, size_t n, uint64_t room)
{
	n = (size_t)MIN((uint64_t)n, room);
	while (n && p[n - 1] != '\n')
		n--;
	return n;
}

static void write_buffer(struct records *rec, struct data_log *d, size_t n)
{
	uint64_t max = rec->at_work.o.data_max_size;
	size_t whole = n;
	int r;

	if ((rec->look || rec->written - rec->checked_at >= LOOK_EVERY) && !has_space(rec)) {
		sign_off(d, DATA_LOG_FLOOR, 0);
		return;
	}
	if (max && d->size + n > max)
		whole = whole_lines(rec->buffer, n, max > d->size ? max - d->size : 0);
	r = fd_write(d->fd, rec->buffer, whole);
	if (r < 0) {
		sign_off(d, DATA_LOG_DISK, r);
		return;
	}
	d->size += whole;
	rec->written += whole;
	if (whole < n)
		sign_off(d, DATA_LOG_SIZE, 0);
}

void data_log_flush(struct records *rec)
{
	struct data_log *d = rec->buffered;
	size_t n = rec->buffer_n;

	if (!d)
		return;
	rec->buffered = NULL;
	rec->buffer_n = 0;
	if (n && d->fd >= 0)
		write_buffer(rec, d, n);
	data_log_unref(d);
}

/* Where at least `need` bytes can be rendered for d. */
static struct sb room_for(struct records *rec, struct data_log *d, size_t need)
{
	if (rec->buffered != d || sizeof rec->buffer - rec->buffer_n < need) {
		data_log_flush(rec);
		rec->buffered = d;
		atomic_fetch_add(&d->refs, 1);
	}
	return sb_init(rec->buffer + rec->buffer_n, sizeof rec->buffer - rec->buffer_n);
}

static void put_packet(struct records *rec, struct data_log *d, const struct records_op *op)
{
	bool up = op->way == DATA_LOG_UP;
	struct sb b = room_for(rec, d, HEX_HEAD_MAX);

	format_packet_head(&b, op->at, up ? d->source : d->target, up ? d->target : d->source, op->n);
	rec->buffer_n += b.n;
	for (size_t i = 0; i < op->n && d->fd >= 0;) {
		b = room_for(rec, d, HEX_LINE_MAX);
		i += format_hex_line(&b, d->at[op->way] + i, op->bytes + i, op->n - i);
		rec->buffer_n += b.n;
	}
	d->at[op->way] += op->n;
}

static void put_text(struct records *rec, struct data_log *d, const struct records_op *op)
{
	struct sb b = room_for(rec, d, op->n + 1);

	sb_text(&b, (struct text){ (const char *)op->bytes, op->n });
	rec->buffer_n += b.n;
}

static void open_log(struct records *rec, struct data_log *d, const struct records_op *op)
{
	int r = rec->at_work.dir ? 0 : -ENOENT;

	if (r == 0 && !has_space(rec)) {
		stop_log(d, DATA_LOG_FLOOR, 0);
		return;
	}
	if (r == 0)
		r = make_file(rec, d, op->at);
	if (r < 0)
		stop_log(d, r == -ENOSPC ? DATA_LOG_DISK : DATA_LOG_OPEN, r);
	else
		put_text(rec, d, op);
}

static void close_log(struct records *rec, struct data_log *d, const struct records_op *op)
{
	if (d->fd < 0)
		return;
	put_text(rec, d, op);
	data_log_flush(rec);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

void data_log_write(struct records *rec, struct records_op *op)
{
	struct data_log *d = op->data;

	if (op->kind == OP_OPEN)
		open_log(rec, d, op);
	else if (op->kind == OP_CLOSE)
		close_log(rec, d, op);
	else if (d->fd >= 0)
		put_packet(rec, d, op);
	if (op->kind == OP_PACKET) {
		pthread_mutex_lock(&rec->lock);
		rec->figures.data_bytes += d->fd >= 0 ? op->n : 0;
		d->queued -= op->n;
		rec->data_queued -= op->n;
		data_log_wake(rec, d);
		pthread_mutex_unlock(&rec->lock);
	}
	data_log_unref(d);
}
