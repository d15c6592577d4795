/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share is made when its `stile share` says that it is ready, which is when a server can find it; until then whoever asked waits, for
 * READY_MS at most. What the tool says is JSON, an event a line (cli/share.c); of those that come later nothing is kept.
 *
 * The file's name is the receiver's business too, so it is kept as it is, as far as it can be the name of a file in one folder.
 */
#include "console/shares.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "common/fd.h"
#include "common/json.h"
#include "common/text.h"
#include "console/console.h"
#include "console/tool.h"

enum { SHARES_MAX = 32, FILE_MB = 100, ROOM_MB = 64, HOURS_MAX = 8760, READY_MS = 25000, LINE_MAX_N = 4096, NAME_MAX_N = 200, ARGS = 16 };
#define FOR_EVER_MS (UINT64_C(366) * 86400 * 1000) /* stile share knows its end itself */

struct made_share {
	struct made_shares *of; /* NULL: a free place */
	struct tool tool;
	struct ask *ask; /* whoever waits until it is ready; NULL: it is */
	struct timer late;
	char service[PARAM_MAX], id[20], code[128], link[900], name[NAME_MAX_N + 1], target[300], why[300];
	char dir[432]; /* "": of a service */
	uint64_t hours, n;
	int fd;		/* of the file, while it comes */
	char line[LINE_MAX_N];
	size_t len;
};
struct made_shares {
	struct console *c;
	char dir[400]; /* of all files */
	struct made_share all[SHARES_MAX];
};

/* ---- files ---- */

static void file_path(const struct made_share *s, char *out, size_t n)
{
	(void)snprintf(out, n, "%s/%s", s->dir, s->name);
}

static void shut(struct made_share *s)
{
	closep(&s->fd);
	s->fd = -1;
}

static void drop_file(struct made_share *s)
{
	char path[sizeof(s->dir) + sizeof(s->name) + 1];

	shut(s);
	if (!s->dir[0])
		return;
	file_path(s, path, sizeof(path));
	(void)unlink(path);
	(void)rmdir(s->dir);
	s->dir[0] = '\0';
}

static bool is_name(const char *s)
{
	if (!*s || strcmp(s, ".") == 0 || strcmp(s, "..") == 0 || *s == '-' || strlen(s) > NAME_MAX_N || !text_is_utf8(text_of(s)))
		return false;
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f || *s == '/')
			return false;
	return true;
}

/* 0 or -errno. */
static int make_file(struct made_share *s)
{
	char path[sizeof(s->dir) + sizeof(s->name) + 1], hex[17];
	uint8_t random[8];
	int r = bytes_random(random, sizeof(random));

	if (r < 0)
		return r;
	hex_encode(random, sizeof(random), hex);
	if (mkdir(s->of->dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	(void)snprintf(s->dir, sizeof(s->dir), "%s/%s", s->of->dir, hex);
	if (mkdir(s->dir, 0700) < 0) {
		r = -errno;
		s->dir[0] = '\0';
		return r;
	}
	file_path(s, path, sizeof(path));
	s->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return s->fd < 0 ? -errno : 0;
}

static bool has_room(const struct made_share *s)
{
	struct statvfs v;

	return statvfs(s->of->dir, &v) < 0 || (uint64_t)v.f_bavail * v.f_frsize >= (uint64_t)ROOM_MB << 20;
}

/* ---- one share ---- */

static void clear(struct made_share *s)
{
	timer_stop(&s->late);
	tool_close(&s->tool);
	drop_file(s);
	s->ask = ask_unref(s->ask);
	bytes_wipe(s->code, sizeof(s->code));
	bytes_wipe(s->link, sizeof(s->link));
	*s = (struct made_share){ .fd = -1 };
}

static json_t *row(const struct made_share *s)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "share", s->id, "name", s->name[0] ? s->name : s->target, "code", s->code, "link", s->link, "kind",
			 s->dir[0] ? "http" : "tcp");
}

static void answer(struct made_share *s, unsigned status, const char *why)
{
	struct ask *a = steal_ptr(&s->ask);

	timer_stop(&s->late);
	if (!a)
		return;
	if (status == 201)
		ask_reply(a, status, row(s));
	else
		ask_fail(a, status, "failed", "%s", why);
	ask_unref(a);
}

static void copy(const json_t *o, const char *key, char *out, size_t n)
{
	(void)snprintf(out, n, "%s", text_of_key(o, key));
}

static void on_line(struct made_share *s, struct text line)
{
	json_t *o = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL);
	const char *event = json_string_value(json_object_get(o, "event"));

	if (event && strcmp(event, "ready") == 0) {
		copy(o, "id", s->id, sizeof(s->id));
		copy(o, "code", s->code, sizeof(s->code));
		copy(o, "link", s->link, sizeof(s->link));
		answer(s, 201, "");
	} else if (event && strcmp(event, "waiting") == 0) {
		copy(o, "text", s->why, sizeof(s->why));
	}
	json_decref(o);
}

static void on_ready(struct tool *t)
{
	struct made_share *s = container_of(t, struct made_share, tool);
	ssize_t got;

	while ((got = tool_read(t, s->line + s->len, sizeof(s->line) - s->len)) > 0) {
		struct text rest = { s->line, s->len + (size_t)got };

		for (char *nl; (nl = memchr(rest.p, '\n', rest.n)) != NULL;) {
			size_t n = (size_t)(nl - rest.p);

			on_line(s, (struct text){ rest.p, n });
			rest = text_drop(rest, n + 1);
		}
		s->len = rest.n == sizeof(s->line) ? 0 : rest.n; /* what is longer than a line can be is none */
		memmove(s->line, rest.p, s->len);
	}
	if (got == 0)
		return;
	if (s->ask) {
		for (char *p = t->words; *p; p++)
			*p = (unsigned char)*p < 0x20 ? ' ' : *p;
		answer(s, 409, t->words[0] && text_is_utf8(text_of(t->words)) ? t->words : "stile share has ended");
	}
	clear(s);
}

static void on_late(struct timer *timer, uint64_t now)
{
	struct made_share *s = container_of(timer, struct made_share, late);

	(void)now;
	answer(s, 409, s->why[0] ? s->why : "the agent does not answer");
	tool_end(&s->tool);
}

static int start(struct made_share *s)
{
	char path[sizeof(s->dir) + sizeof(s->name) + 1], hours[24];
	const char *at = strchr(s->service, '@'), *args[ARGS] = { "share" };
	size_t n = 1;

	if (s->dir[0]) {
		file_path(s, path, sizeof(path));
		args[n++] = path;
	} else {
		args[n++] = "--tcp";
		args[n++] = s->target;
	}
	if (s->hours) {
		(void)snprintf(hours, sizeof(hours), "%lluh", (unsigned long long)s->hours);
		args[n++] = "--expire";
		args[n++] = hours;
	}
	if (at) {
		args[n++] = "--instance";
		args[n++] = at + 1;
	}
	args[n++] = "--json";
	args[n++] = "--runtime-dir";
	args[n++] = s->of->c->svc->instance.runtime_dir;
	args[n++] = "-c"; /* for share.connect_order */
	args[n++] = s->of->c->svc->config_path;
	s->tool.on_ready = on_ready;
	s->late.fire = on_late;
	loop_timer_set(s->of->c->svc->loop, &s->late, READY_MS);
	return tool_start(&s->tool, s->of->c->svc->loop, &(struct tool_order){ .args = args, .file = -1, .bound_ms = FOR_EVER_MS });
}

/* ---- the routes ---- */

static void drop_half(void *p)
{
	clear(p);
}

static size_t on_bytes(struct httpd_rq *rq, const uint8_t *p, size_t n, void *arg)
{
	struct ask *a = arg;
	struct made_share *s = a->state;

	(void)rq;
	s->n += n;
	if (s->fd < 0)
		ask_fail(a, 400, "bad-request", "a service is shared without a body");
	else if (s->n > (uint64_t)FILE_MB << 20)
		ask_fail(a, 413, "too-long", "a file of at most %d MB is shared from here; larger ones by stile share", FILE_MB);
	else if (!has_room(s) || fd_write(s->fd, p, n) < 0)
		ask_fail(a, 500, "failed", "there is no room for it in %s", s->of->dir);
	return n;
}

static void on_end(struct httpd_rq *rq, void *arg)
{
	struct ask *a = arg;
	struct made_share *s = a->state;
	json_t *args;
	int r;

	(void)rq;
	if (!ask_may(a))
		return;
	shut(s);
	a->state = NULL;
	a->state_free = NULL;
	s->ask = ask_ref(a);
	args = json_pack("{s:s}", "name", s->dir[0] ? s->name : s->target);
	ask_audit(a, "share", s->service, args);
	json_decref(args);
	r = start(s);
	if (r == 0)
		return;
	answer(s, 500, strerror(-r));
	clear(s);
}

static const struct httpd_sink sink = { on_bytes, on_end };

static struct made_share *place(struct made_shares *m)
{
	for (size_t i = 0; i < SHARES_MAX; i++)
		if (!m->all[i].of)
			return &m->all[i];
	return NULL;
}

/* False: the request was ended. */
static bool read_words(struct ask *a, struct made_share *s)
{
	char hours[16] = "";
	int timed = ask_query(a, "hours", hours, sizeof(hours)), aimed = ask_query(a, "target", s->target, sizeof(s->target));

	(void)snprintf(s->service, sizeof(s->service), "%s", a->params[0]);
	if (strncmp(s->service, "agent", 5) != 0 || (s->service[5] && s->service[5] != '@') || s->service[strlen(s->service) - 1] == '@')
		ask_fail(a, 404, "not-found", "only agents share: agent, or agent@NAME as GET /services names it");
	else if ((timed < 0 && timed != -ENOENT) || (hours[0] && (text_u64(text_of(hours), &s->hours) < 0 || !s->hours || s->hours > HOURS_MAX)))
		ask_field_error(a, "hours", "a number from 1 to %d, or nothing", HOURS_MAX);
	else if (aimed == 0 ? !is_name(s->target) : aimed != -ENOENT)
		ask_field_error(a, "target", "HOST:PORT");
	else if (!s->target[0] && (ask_query(a, "name", s->name, sizeof(s->name)) < 0 || !is_name(s->name)))
		ask_field_error(a, "name", "the name of a file, of at most %d bytes", NAME_MAX_N);
	else
		return true;
	return false;
}

void made_shares_post(struct ask *a)
{
	struct made_shares *m = a->c->shares;
	struct made_share *s = place(m);
	int r;

	if (!s) {
		ask_fail(a, 409, "busy", "%d shares are made here at most", SHARES_MAX);
		return;
	}
	if (httpd_body_length(a->rq) != UINT64_MAX && httpd_body_length(a->rq) > (uint64_t)FILE_MB << 20) {
		ask_fail(a, 413, "too-long", "a file of at most %d MB is shared from here; larger ones by stile share", FILE_MB);
		return;
	}
	*s = (struct made_share){ .of = m, .fd = -1 };
	if (!read_words(a, s)) {
		clear(s);
		return;
	}
	r = s->target[0] ? 0 : make_file(s);
	if (r < 0) {
		ask_fail(a, 500, "failed", "%s: %s", m->dir, strerror(-r));
		clear(s);
		return;
	}
	a->state = s;
	a->state_free = drop_half;
	httpd_body_stream(a->rq, &sink);
}

void made_shares_get(struct ask *a)
{
	const struct made_shares *m = a->c->shares;
	json_t *rows = json_array();

	for (size_t i = 0; i < SHARES_MAX; i++)
		if (m->all[i].code[0] && strcmp(m->all[i].service, a->params[0]) == 0)
			json_array_append_new(rows, row(&m->all[i]));
	ask_reply(a, 200, json_pack("{s:o}", "rows", rows));
}

/* ---- life ---- */

/* Two levels deep: files of a console that was killed. */
static void sweep(const char *dir, unsigned deep)
{
	DIR *d = opendir(dir);
	char path[1024];

	for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) >= (int)sizeof(path))
			continue;
		if (deep)
			sweep(path, deep - 1);
		(void)remove(path);
	}
	if (d)
		(void)closedir(d);
}

int made_shares_new(struct console *c, struct made_shares **ret_m)
{
	struct made_shares *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->c = c;
	for (size_t i = 0; i < SHARES_MAX; i++)
		m->all[i].fd = -1;
	(void)snprintf(m->dir, sizeof(m->dir), "%s/%s.shares", c->svc->instance.runtime_dir, c->svc->instance.full);
	sweep(m->dir, 1);
	*ret_m = m;
	return 0;
}

struct made_shares *made_shares_free(struct made_shares *m)
{
	for (size_t i = 0; m && i < SHARES_MAX; i++)
		clear(&m->all[i]);
	if (m)
		(void)rmdir(m->dir);
	free(m);
	return NULL;
}
