/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of a service's own log: its files, its lines, its bytes, deleting them; and the same of its records, if it leaves some. A disk may be slow and a log is looked
 * through for a word, so all of it happens on a thread that lives while there is something to do; the loop only
 * starts it and takes the answers by mail.
 *
 * A job copies what it needs of the configuration when it is asked for. After a deletion the log is opened again, so that
 * its writer knows the size.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/clock.h"
#include "common/folder_reader.h"
#include "common/json.h"
#include "common/log_msgs.h"
#include "common/log_reader.h"
#include "common/privileges.h"
#include "common/service_priv.h"

enum { JOBS_MAX = 32 };

enum what { LOG_FILES, LOG_TAIL, LOG_READ, LOG_DELETE, RECORD_FILES, RECORD_READ, RECORD_DELETE };

struct log_job {
	struct mail mail;
	struct list node;
	struct service_logs *logs;
	struct control_request *rq;
	enum what what;
	json_t *args; /* a copy of its own */
	char dir[512], name[128];
	int r;
	json_t *result;
};

struct service_logs {
	struct service *s;
	pthread_mutex_t lock;
	struct list queue; /* with the lock */
	bool running;	   /* the thread has not looked at the queue for the last time; with the lock */
	bool joinable, stopped;
	pthread_t thread;
	unsigned n; /* jobs that are not answered; main thread */
};

/* ---- the thread ---- */

static int tail(const struct log_job *j, const struct log_place *p, json_t **ret)
{
	struct log_query q = { .place = *p, .match = word_of_key(j->args, "match"), .level = LOG_LVL_TRACE, .after = word_of_key(j->args, "after"),
			       .before = word_of_key(j->args, "before") };
	json_int_t lines = json_integer_value(json_object_get(j->args, "lines"));
	const char *level = word_of_key(j->args, "level");

	if ((q.after && q.before) || (level && log_level_parse(text_of(level), &q.level) < 0) || lines < 0)
		return -EINVAL;
	q.lines = (unsigned)MIN(lines, (json_int_t)LOG_READ_LINES_MAX);
	return log_read_lines(&q, ret);
}

static int chunk(const struct log_job *j, const struct log_place *p, json_t **ret)
{
	struct log_chunk c = { .place = *p, .file = word_of_key(j->args, "name") };
	json_int_t offset = json_integer_value(json_object_get(j->args, "offset")), n = json_integer_value(json_object_get(j->args, "length"));

	if (!c.file || offset < 0 || n < 0)
		return -EINVAL;
	c.offset = (uint64_t)offset;
	c.n = (size_t)n;
	return log_read_chunk(&c, ret);
}

/* What is to be deleted: 0 and a name, or a time (0: all). */
static int which(const struct log_job *j, const char **ret_name, int64_t *ret_before)
{
	const json_t *days = json_object_get(j->args, "older_than_days"), *all = json_object_get(j->args, "all");
	const char *name = word_of_key(j->args, "name");

	if ((name != NULL) + (days != NULL) + (all != NULL) != 1 || (days && (!json_is_integer(days) || json_integer_value(days) < 1)) ||
	    (all && !json_is_true(all)))
		return -EINVAL;
	*ret_name = name;
	*ret_before = days ? (int64_t)time(NULL) - MIN(json_integer_value(days), (json_int_t)36500) * 86400 : 0;
	return 0;
}

static int delete_files(const struct log_job *j, json_t **ret)
{
	const char *name;
	int64_t before;
	int r = which(j, &name, &before);

	if (r < 0)
		return r;
	return j->what == LOG_DELETE ? log_delete(&(struct log_place){ j->dir, j->name }, name, before, ret) :
				       folder_delete(&(struct folder){ j->dir, j->logs->s->ops->is_record }, name, before, ret);
}

static int record_chunk(const struct log_job *j, json_t **ret)
{
	struct folder_chunk c = { .name = word_of_key(j->args, "name") };
	json_int_t offset = json_integer_value(json_object_get(j->args, "offset")), n = json_integer_value(json_object_get(j->args, "length"));

	if (!c.name || offset < 0 || n < 0)
		return -EINVAL;
	c.offset = (uint64_t)offset;
	c.n = (size_t)n;
	return folder_read(&(struct folder){ j->dir, j->logs->s->ops->is_record }, &c, ret);
}

static void run_job(struct log_job *j)
{
	struct log_place p = { j->dir, j->name };

	if (j->what < RECORD_FILES)
		log_flush(); /* what was said before the question is in the answer */
	switch (j->what) {
	case LOG_FILES:
		j->r = log_read_list(&p, &j->result);
		break;
	case LOG_TAIL:
		j->r = tail(j, &p, &j->result);
		break;
	case LOG_READ:
		j->r = chunk(j, &p, &j->result);
		break;
	case RECORD_FILES:
		j->r = folder_list(&(struct folder){ j->dir, j->logs->s->ops->is_record }, word_of_key(j->args, "after"), &j->result);
		break;
	case RECORD_READ:
		j->r = record_chunk(j, &j->result);
		break;
	case LOG_DELETE:
	case RECORD_DELETE:
		j->r = delete_files(j, &j->result);
		break;
	}
}

static void *logs_main(void *arg)
{
	struct service_logs *l = arg;

	pthread_mutex_lock(&l->lock);
	while (!list_empty(&l->queue)) {
		struct log_job *j = list_entry(l->queue.next, struct log_job, node);

		list_unlink(&j->node);
		pthread_mutex_unlock(&l->lock);
		run_job(j);
		loop_post(l->s->loop, &j->mail);
		pthread_mutex_lock(&l->lock);
	}
	l->running = false;
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* ---- the loop ---- */

static void job_free(struct log_job *j)
{
	j->logs->n--;
	json_decref(j->args);
	json_decref(j->result);
	free(j);
}

static void refuse(const struct log_job *j)
{
	static const char *const forms[] = {
		[LOG_FILES] = "{}", [LOG_TAIL] = "{\"lines\":200,\"match\":\"alice\",\"level\":\"warn\",\"after\":\"CURSOR\"}",
		[LOG_READ] = "{\"name\":\"stile-turn.log.1\",\"offset\":0}",
		[LOG_DELETE] = "{\"name\":\"stile-turn.log.1\"}, {\"older_than_days\":7} or {\"all\":true}",
		[RECORD_FILES] = "{\"after\":\"CO261129.LOG\"}", [RECORD_READ] = "{\"name\":\"CO261129.LOG\",\"offset\":0}",
		[RECORD_DELETE] = "{\"name\":\"CO261129.LOG\"}, {\"older_than_days\":7} or {\"all\":true}" };

	if (j->r == -EINVAL)
		control_fail(j->rq, "bad-request", forms[j->what], "an argument is missing or is not what it should be");
	else if (j->r == -ENOENT && j->what != LOG_FILES && j->what != LOG_TAIL && j->what != RECORD_FILES)
		control_fail(j->rq, "not-found", j->what > RECORD_FILES ? "records.files names them" : "log.files names them",
			     "there is no such file in the %s", j->what > RECORD_FILES ? "records" : "log");
	else
		control_fail(j->rq, "failed", NULL, "the %s in %s: %s", j->what >= RECORD_FILES ? "records" : "log", j->dir, strerror(-j->r));
}

static void deliver(struct mail *m, struct loop *loop)
{
	struct log_job *j = container_of(m, struct log_job, mail);
	char err[256] = "";

	(void)loop;
	if (j->r < 0) {
		refuse(j);
	} else {
		if (j->what == RECORD_DELETE) {
			log_emit(&MSG_SERVICE_RECORDS_DELETED, LF_U64("files", json_array_size(json_object_get(j->result, "deleted"))),
				 LF_STR("who", control_request_who(j->rq)));
		} else if (j->what == RECORD_FILES) {
			json_object_set_new(j->result, "dir", json_string(j->dir));
		} else if (j->what == LOG_DELETE) {
			(void)log_reopen(err, sizeof(err)); /* its writer counts the bytes of the file */
			log_emit(&MSG_SERVICE_LOG_DELETED, LF_U64("files", json_array_size(json_object_get(j->result, "deleted"))),
				 LF_STR("who", control_request_who(j->rq)));
		} else if (j->what == LOG_FILES) {
			json_t *rows = steal_ptr(&j->result);
			j->result = json_pack("{s:s, s:s, s:o}", "to", "file", "dir", j->dir, "rows", rows);
		}
		control_reply(j->rq, steal_ptr(&j->result));
	}
	job_free(j);
}

static void drop(struct mail *m)
{
	struct log_job *j = container_of(m, struct log_job, mail);

	control_fail(j->rq, "cancelled", NULL, "the service stops");
	job_free(j);
}

static int enqueue(struct service_logs *l, struct log_job *j)
{
	int r = 0;

	pthread_mutex_lock(&l->lock);
	list_append(&l->queue, &j->node);
	if (!l->running) {
		if (l->joinable) /* it has ended, or is just about to */
			pthread_join(l->thread, NULL);
		r = privileges_thread_new(&l->thread, logs_main, l);
		l->joinable = l->running = r == 0;
		if (r < 0)
			list_unlink(&j->node);
	}
	pthread_mutex_unlock(&l->lock);
	return r;
}

static void no_folder(struct control_request *rq, const struct service *s, enum what what)
{
	if (what >= RECORD_FILES)
		control_fail(rq, "not-found", "tunnel.records.dir in the configuration gives them a folder", "%s writes no records", s->instance.full);
	else if (what == LOG_FILES)
		control_reply(rq, json_pack("{s:s, s:s, s:[]}", "to", getenv("JOURNAL_STREAM") ? "journal" : "stderr", "dir", "", "rows"));
	else
		control_fail(rq, "not-found", "log.dir in the configuration gives it files", "%s logs to its standard error, not to files",
			     s->instance.full);
}

static void ask(struct control_request *rq, const json_t *args, struct service *s, enum what what)
{
	struct log_config lc = service_log_config(s->ops, s->instance.full, s->cfg);
	const char *dir = what >= RECORD_FILES ? s->ops->records_path(cfg_values(s->cfg)) : lc.dir;
	struct service_logs *l = s->logs;
	struct log_job *j;
	int r;

	if (!dir || !*dir) {
		no_folder(rq, s, what);
		return;
	}
	j = l->n < JOBS_MAX && !l->stopped ? calloc(1, sizeof(*j)) : NULL;
	if (!j) {
		control_fail(rq, "busy", NULL, "too many questions about the log at once");
		return;
	}
	l->n++;
	*j = (struct log_job){ .mail = { .deliver = deliver, .drop = drop }, .logs = l, .rq = rq, .what = what, .args = json_deep_copy(args) };
	(void)snprintf(j->dir, sizeof(j->dir), "%s", dir);
	(void)snprintf(j->name, sizeof(j->name), "%s", s->instance.full);
	r = enqueue(l, j); /* from here on j->r is the thread's */
	if (r < 0) {
		j->r = r;
		refuse(j);
		job_free(j);
	}
}

static void on_files(struct control_request *rq, const json_t *args, void *arg)
{
	ask(rq, args, arg, LOG_FILES);
}

static void on_tail(struct control_request *rq, const json_t *args, void *arg)
{
	ask(rq, args, arg, LOG_TAIL);
}

static void on_read(struct control_request *rq, const json_t *args, void *arg)
{
	ask(rq, args, arg, LOG_READ);
}

static void on_delete(struct control_request *rq, const json_t *args, void *arg)
{
	struct service *s = arg;

	log_emit(&MSG_SERVICE_ASKED, LF_STR("verb", "log.delete"), LF_STR("who", control_request_who(rq)));
	ask(rq, args, s, LOG_DELETE);
}

static void on_record_files(struct control_request *rq, const json_t *args, void *arg)
{
	ask(rq, args, arg, RECORD_FILES);
}

static void on_record_read(struct control_request *rq, const json_t *args, void *arg)
{
	ask(rq, args, arg, RECORD_READ);
}

static void on_record_delete(struct control_request *rq, const json_t *args, void *arg)
{
	log_emit(&MSG_SERVICE_ASKED, LF_STR("verb", "records.delete"), LF_STR("who", control_request_who(rq)));
	ask(rq, args, arg, RECORD_DELETE);
}

static const struct control_verb verbs[] = {
	{ "log.files", CONTROL_OPERATOR, on_files, "where the log goes, and its files with their sizes" },
	{ "log.tail", CONTROL_OPERATOR, on_tail, "{lines, match, level, after | before}: the last lines, those behind a cursor, or those before it" },
	{ "log.read", CONTROL_OPERATOR, on_read, "{name, offset, length}: bytes of one of its files, as base64" },
	{ "log.delete", CONTROL_ADMIN, on_delete, "{name} | {older_than_days} | {all: true}: deletes files; the current one is emptied" },
};

static const struct control_verb record_verbs[] = {
	{ "records.files", CONTROL_OPERATOR, on_record_files, "{after}: connection and data logs, 1000 at a time, by name" },
	{ "records.read", CONTROL_OPERATOR, on_record_read, "{name, offset, length}: bytes of one of them, as base64" },
	{ "records.delete", CONTROL_ADMIN, on_record_delete,
	  "{name} | {older_than_days} | {all: true}: deletes them; those written to in the last day are emptied" },
};

int service_logs_new(struct service *s)
{
	struct service_logs *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	l->s = s;
	list_init(&l->queue);
	pthread_mutex_init(&l->lock, NULL);
	s->logs = l;
	r = control_add_verbs(s->control, verbs, ARRAY_LEN(verbs), s);
	return r < 0 || !s->ops->records_path ? r : control_add_verbs(s->control, record_verbs, ARRAY_LEN(record_verbs), s);
}

/* What is under way is finished; its answers wait in the loop. */
void service_logs_stop(struct service *s)
{
	if (!s->logs)
		return;
	if (s->logs->joinable)
		pthread_join(s->logs->thread, NULL);
	s->logs->joinable = false;
	s->logs->stopped = true;
}

void service_logs_free(struct service *s)
{
	if (!s->logs)
		return;
	service_logs_stop(s);
	pthread_mutex_destroy(&s->logs->lock);
	free(s->logs);
	s->logs = NULL;
}
