/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Downloads and errands. A download waits for the first bytes before it answers, so that what fails at once is an error and no empty
 * file; when the tool fails later the connection is cut, and the client sees that something is missing. When the client goes,
 * the tool ends.
 */
#include "console/archives.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "common/backup.h"
#include "console/console.h"

enum { DOWNLOADS_MAX = 4, FIRST_BYTES = 4096, DOWNLOAD_MS = 3600 * 1000, ERRAND_OUTPUT = 8 << 20, PASSPHRASE_CAP = 1024, WORDS_MAX = 401 };

struct archives {
	struct console *c;
	unsigned downloads;
	struct upload *upload;
};

int archives_new(struct console *c, struct archives **ret_a)
{
	struct archives *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->c = c;
	*ret_a = a;
	return 0;
}

struct archives *archives_free(struct archives *a)
{
	if (!a)
		return NULL;
	upload_free(a->upload);
	free(a);
	return NULL;
}

struct upload **archives_upload(struct archives *a)
{
	return &a->upload;
}

/* The first line of what the tool says to people, without its own name and the command's. Whatever it was, it becomes UTF-8: JSON takes nothing else. */
static const char *words_of(const struct tool *t, char out[static WORDS_MAX])
{
	const char *colon = strncmp(t->words, "stile ", 6) == 0 ? strstr(t->words, ": ") : NULL;
	const char *words = colon ? colon + 2 : t->words[0] ? t->words : "the tool has ended without a word";
	struct sb b = sb_init(out, WORDS_MAX);

	sb_text(&b, (struct text){ words, strcspn(words, "\n") });
	if (!text_is_utf8(text_of(out)))
		for (char *p = out; *p; p++)
			*p = (unsigned char)*p < 0x80 ? *p : '?';
	return out;
}

/* ---- downloads ---- */

struct download { /* state of the ask, and gone with it */
	struct tool tool;
	struct ask *ask;
	const char *type, *end; /* of its name */
	bool begun;
	uint8_t first[FIRST_BYTES];
	size_t n, sent;
};

static void download_free(void *p)
{
	struct download *d = p;

	tool_close(&d->tool);
	d->ask->c->archives->downloads--;
	free(d);
}

static ssize_t pull(struct httpd_rq *rq, uint8_t *p, size_t n, void *arg)
{
	struct download *d = ((struct ask *)arg)->state;
	size_t some = MIN(n, d->n - d->sent);
	ssize_t got;

	(void)rq;
	if (some) {
		memcpy(p, d->first + d->sent, some);
		d->sent += some;
		return (ssize_t)some;
	}
	got = tool_read(&d->tool, p, n);
	return got >= 0 ? got : d->tool.status == 0 ? HTTPD_END : HTTPD_BROKEN;
}

static const struct httpd_source source = { pull };

/* Of the host's name only what a file's name may have everywhere. */
static void file_name(const char *end, char *out, size_t cap)
{
	char host[64] = "", when[32] = "";
	struct sb b = sb_init(out, cap);
	time_t now = time(NULL);
	struct tm tm;

	(void)gethostname(host, sizeof(host) - 1);
	for (char *p = host; *p; p++)
		if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '-'))
			*p = '_';
	if (localtime_r(&now, &tm))
		(void)strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &tm);
	sb_fmt(&b, "stile-%s-%s%s", host, when, end);
}

static void begin(struct download *d)
{
	struct ask *a = d->ask;
	char name[160];

	d->begun = true;
	file_name(d->end, name, sizeof(name));
	console_add_headers(a->c, a->rq, false);
	console_count(a->c, 200);
	httpd_add(a->rq, "Content-Disposition", "attachment; filename=\"%s\"", name);
	httpd_reply_stream(a->rq, 200, d->type, UINT64_MAX, &source);
}

static void on_ready(struct tool *t)
{
	struct download *d = container_of(t, struct download, tool);
	char words[WORDS_MAX];
	ssize_t n;

	if (d->begun) {
		httpd_wake(d->ask->rq);
		return;
	}
	n = tool_read(t, d->first, sizeof(d->first));
	if (n > 0) {
		d->n = (size_t)n;
		begin(d);
	} else if (n < 0) {
		ask_fail(d->ask, 502, "failed", "%s", words_of(t, words));
	}
}

static void download(struct ask *a, const char *const *args, const char *input, const char *type, const char *end)
{
	struct archives *of = a->c->archives;
	struct download *d;
	int r;

	if (of->downloads == DOWNLOADS_MAX) {
		ask_fail(a, 409, "busy", "%d archives are being made; come again when one is ready", DOWNLOADS_MAX);
		return;
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		ask_reply(a, 500, NULL);
		return;
	}
	*d = (struct download){ .ask = a, .type = type, .end = end, .tool.on_ready = on_ready };
	of->downloads++;
	a->state = d;
	a->state_free = download_free;
	r = tool_start(&d->tool, a->c->svc->loop, &(struct tool_order){ .args = args, .input = input, .file = -1, .bound_ms = DOWNLOAD_MS });
	if (r < 0)
		ask_fail(a, 500, "failed", "the tool cannot be started: %s", strerror(-r));
}

char *archive_passphrase(struct ask *a)
{
	const char *p = ask_string(a, "passphrase");
	char *line = NULL;

	if (!p || strlen(p) < BACKUP_PASSPHRASE_MIN || strlen(p) >= PASSPHRASE_CAP - 1)
		ask_field_error(a, "passphrase", "a passphrase has at least %d characters", BACKUP_PASSPHRASE_MIN);
	else if (strpbrk(p, "\r\n"))
		ask_field_error(a, "passphrase", "a passphrase is one line");
	else if (asprintf(&line, "%s\n", p) < 0) {
		line = NULL;
		ask_reply(a, 500, NULL);
	}
	return line;
}

void backup_post(struct ask *a)
{
	const char *args[] = { "backup", "-", "-c", a->c->svc->config_path, "--runtime-dir", a->c->svc->instance.runtime_dir, NULL };
	char *passphrase = archive_passphrase(a);

	if (!passphrase)
		return;
	ask_audit(a, "backup", "", NULL);
	download(a, args, passphrase, "application/octet-stream", ".backup");
	bytes_wipe(passphrase, strlen(passphrase));
	free(passphrase);
}

/* ---- what becomes of the logs ---- */

struct log_words {
	const char *v[16];
	size_t n;
	char service[PARAM_MAX], file[PARAM_MAX], days[16];
};

static void word(struct log_words *w, const char *text)
{
	if (w->n < ARRAY_LEN(w->v) - 1)
		w->v[w->n++] = text;
	w->v[w->n] = NULL;
}

/* 1: there; 0: not; -1: answered. */
static int value(struct ask *a, const char *name, char *out, size_t n)
{
	int r = ask_query(a, name, out, n);

	if (r < 0 && r != -ENOENT)
		ask_fail(a, 400, "bad-request", "?%s= cannot be read", name);
	return r == 0 ? 1 : r == -ENOENT ? 0 : -1;
}

static bool is_on(struct ask *a, const char *name)
{
	char text[8] = "";

	return ask_query(a, name, text, sizeof(text)) == 0 && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
}

static bool begin_words(struct ask *a, struct log_words *w, const char *what)
{
	int r = value(a, "service", w->service, sizeof(w->service));

	if (r > 0 && !backend_find(a->c->backends, w->service)) {
		ask_fail(a, 404, "not-found", "there is no service of this name");
		return false;
	}
	word(w, "logs");
	word(w, what);
	word(w, "-c");
	word(w, a->c->svc->config_path);
	word(w, "--runtime-dir");
	word(w, a->c->svc->instance.runtime_dir);
	if (is_on(a, "records"))
		word(w, "--records");
	if (r > 0)
		word(w, w->service);
	return r >= 0;
}

void logs_zip(struct ask *a)
{
	struct log_words w = { .n = 0 };

	if (!begin_words(a, &w, "zip"))
		return;
	word(&w, "--out");
	word(&w, "-");
	ask_audit(a, "logs zip", w.service, NULL);
	download(a, w.v, NULL, "application/zip", ".zip");
}

static void on_deleted(json_t *result, json_t *error, void *arg)
{
	struct ask *a = arg;

	if (result)
		ask_reply(a, 200, json_pack("{s:O}", "rows", result));
	else
		ask_service_error(a, error);
	ask_unref(a);
}

static bool add_what(struct ask *a, struct log_words *w)
{
	int file = value(a, "file", w->file, sizeof(w->file)), days = value(a, "older_than_days", w->days, sizeof(w->days));
	bool all = is_on(a, "all");
	uint64_t n;

	if (file < 0 || days < 0)
		return false;
	if (file + days + all != 1) {
		ask_fail(a, 400, "bad-request", "what? One of ?file=NAME, ?older_than_days=N and ?all=1");
		return false;
	}
	if (days && (text_u64(text_of(w->days), &n) < 0 || n < 1 || n > 36500)) {
		ask_fail(a, 400, "bad-request", "older_than_days must be a number from 1 to 36500");
		return false;
	}
	word(w, file ? "--file" : days ? "--older-than" : "--all");
	if (file || days)
		word(w, file ? w->file : w->days);
	return true;
}

void logs_delete(struct ask *a)
{
	struct log_words w = { .n = 0 };
	struct errand *e;
	int r;

	if (!begin_words(a, &w, "delete") || !add_what(a, &w))
		return;
	word(&w, "--json");
	word(&w, "--yes");
	ask_audit(a, "logs delete", w.service, NULL);
	r = errand_start(a->c, &(struct tool_order){ .args = w.v, .file = -1, .bound_ms = DOWNLOAD_MS }, on_deleted, ask_ref(a), &e);
	if (r == 0)
		return;
	ask_fail(a, 500, "failed", "the tool cannot be started: %s", strerror(-r));
	ask_unref(a);
}

/* ---- errands ---- */

struct errand {
	struct tool tool;
	char *out;
	size_t n, cap;
	errand_done_fn done;
	void *arg;
};

static void errand_free(struct errand *e)
{
	tool_close(&e->tool);
	free(e->out);
	free(e);
}

static void errand_end(struct errand *e)
{
	json_t *j = e->out && e->tool.status <= 1 ? json_loadb(e->out, e->n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	json_t *error = json_is_object(j) && e->tool.status ? json_incref(json_object_get(j, "error")) : NULL;
	char words[WORDS_MAX];

	if (!error && (!j || e->tool.status))
		error = json_pack("{s:s, s:s}", "code", "failed", "text", words_of(&e->tool, words));
	e->done(error ? NULL : j, error, e->arg);
	json_decref(error);
	json_decref(j);
	errand_free(e);
}

static void on_errand(struct tool *t)
{
	struct errand *e = container_of(t, struct errand, tool);
	ssize_t n = 1;

	while (n > 0) {
		if (e->n == e->cap && e->cap < ERRAND_OUTPUT) {
			size_t cap = e->cap ? 2 * e->cap : 4096;
			char *bigger = realloc(e->out, cap);

			e->out = bigger ? bigger : e->out;
			e->cap = bigger ? cap : e->cap;
		}
		if (e->n == e->cap) { /* no room: it ends, and says so itself */
			tool_end(t);
			e->n = 0;
		}
		n = e->cap ? tool_read(t, e->out + e->n, e->cap - e->n) : -1;
		e->n += n > 0 ? (size_t)n : 0;
	}
	if (n < 0)
		errand_end(e);
}

int errand_start(struct console *c, const struct tool_order *o, errand_done_fn done, void *arg, struct errand **ret_e)
{
	struct errand *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	*e = (struct errand){ .tool.on_ready = on_errand, .done = done, .arg = arg };
	r = tool_start(&e->tool, c->svc->loop, o);
	if (r < 0) {
		errand_free(e);
		return r;
	}
	*ret_e = e;
	return 0;
}

void errand_stop(struct errand *e)
{
	if (e)
		errand_free(e);
}

void errand_leave(struct errand *e)
{
	if (!e)
		return;
	e->tool.pid = 0; /* not killed, and init's when the console has ended */
	errand_free(e);
}
