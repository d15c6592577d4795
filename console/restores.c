/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restoring in two steps: the file is uploaded and its first line, which everybody may read, is judged and shown; then it is opened with its
 * passphrase, for a look or in earnest. One upload is kept, in memory, for a quarter of an hour.
 *
 * Services are stopped, restored and started again by the tool. The console's own store is left out: it runs, and accounts of
 * another day could lock out who does this. A restore that has begun goes on when its client goes, and even when the console stops.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common/backup.h"
#include "common/fd.h"
#include "console/archives.h"
#include "console/console.h"

enum { KEEP_MS = 15 * 60 * 1000, RESTORE_MS = 30 * 60 * 1000 };

struct upload {
	struct archives *of;
	struct console *c;
	char id[33];
	int fd; /* memory */
	uint64_t n;
	json_t *about; /* NULL: it is not all there yet */
	struct timer end;
	struct errand *errand;
	bool earnest;
	struct ask *ask; /* that waits for the errand */
};

struct upload *upload_free(struct upload *u)
{
	if (!u)
		return NULL;
	if (u->earnest)
		errand_leave(u->errand);
	else
		errand_stop(u->errand);
	if (u->errand)
		ask_unref(u->ask);
	timer_stop(&u->end);
	closep(&u->fd);
	json_decref(u->about);
	free(u);
	return NULL;
}

/* ---- the file ---- */

static void drop_half(void *p)
{
	upload_free(p);
}

static size_t on_bytes(struct httpd_rq *rq, const uint8_t *p, size_t n, void *arg)
{
	struct ask *a = arg;
	struct upload *u = a->state;

	(void)rq;
	u->n += n;
	if (u->n > BACKUP_MAX)
		ask_fail(a, 413, "too-long", "a backup has at most %d MB", BACKUP_MAX >> 20);
	else if (fd_write(u->fd, p, n) < 0)
		ask_fail(a, 500, "failed", "there is no memory for it");
	return n;
}

static void on_old(struct timer *t, uint64_t now)
{
	struct upload *u = container_of(t, struct upload, end);
	struct upload **kept = archives_upload(u->of);

	(void)now;
	if (u->errand) {
		loop_timer_set(u->c->svc->loop, t, KEEP_MS);
		return;
	}
	*kept = upload_free(u);
}

/* 0, or -errno and a sentence. */
static int judge(struct upload *u, char *err, size_t err_n)
{
	size_t line;
	void *p = u->n ? mmap(NULL, (size_t)u->n, PROT_READ, MAP_PRIVATE, u->fd, 0) : MAP_FAILED;
	int r;

	if (p == MAP_FAILED) {
		(void)snprintf(err, err_n, "this is no backup of Stile");
		return -EINVAL;
	}
	r = backup_parse((struct text){ p, (size_t)u->n }, &u->about, &line, err, err_n);
	(void)munmap(p, (size_t)u->n);
	return r;
}

static void on_end(struct httpd_rq *rq, void *arg)
{
	struct ask *a = arg;
	struct upload *u = a->state, **kept = archives_upload(a->c->archives);
	char err[512];
	int r;

	(void)rq;
	if (!ask_may(a))
		return;
	r = judge(u, err, sizeof(err));
	if (r < 0) {
		ask_fail(a, r == -EPROTO ? 409 : 400, r == -EPROTO ? "newer-version" : "bad-backup", "%s", err);
		return;
	}
	if (*kept && (*kept)->errand) {
		ask_fail(a, 409, "busy", "another backup is being restored");
		return;
	}
	a->state = NULL;
	a->state_free = NULL;
	upload_free(*kept);
	*kept = u;
	loop_timer_set(a->c->svc->loop, &u->end, KEEP_MS);
	ask_reply(a, 201, json_pack("{s:s, s:O}", "id", u->id, "about", u->about));
}

static const struct httpd_sink sink = { on_bytes, on_end };

void restores_post(struct ask *a)
{
	struct upload *u;
	uint8_t id[16];

	if (httpd_body_length(a->rq) != UINT64_MAX && httpd_body_length(a->rq) > BACKUP_MAX) {
		ask_fail(a, 413, "too-long", "a backup has at most %d MB", BACKUP_MAX >> 20);
		return;
	}
	u = calloc(1, sizeof(*u));
	if (u)
		*u = (struct upload){ .of = a->c->archives, .c = a->c, .fd = memfd_create("stile-restore", MFD_CLOEXEC), .end.fire = on_old };
	if (!u || u->fd < 0 || bytes_random(id, sizeof(id)) < 0) {
		upload_free(u);
		ask_reply(a, 500, NULL);
		return;
	}
	hex_encode(id, sizeof(id), u->id);
	a->state = u;
	a->state_free = drop_half;
	ask_audit(a, "restore upload", "", NULL);
	httpd_body_stream(a->rq, &sink);
}

/* ---- what becomes of it ---- */

static struct upload *upload_of(struct ask *a)
{
	struct upload *u = *archives_upload(a->c->archives);

	if (u && same_secret(a->params[0], u->id))
		return u;
	ask_fail(a, 404, "not-found", "there is no such upload, or it was a quarter of an hour ago");
	return NULL;
}

static void on_restored(json_t *result, json_t *error, void *arg)
{
	struct upload *u = arg;
	struct ask *a = u->ask;

	u->errand = NULL;
	u->ask = NULL;
	if (result)
		ask_reply(a, 200, json_incref(result));
	else
		ask_service_error(a, error);
	ask_unref(a);
}

void restore_post(struct ask *a)
{
	const char *args[16] = { "restore", "/proc/self/fd/3", "--json", "--runtime-dir", a->c->svc->instance.runtime_dir, "--but",
				 a->c->svc->instance.full };
	struct upload *u = upload_of(a);
	bool dry = json_is_true(json_object_get(a->body, "dry_run"));
	char *passphrase;
	size_t n = 7;
	int r;

	if (!u || !(passphrase = archive_passphrase(a)))
		return;
	args[n++] = dry ? "--dry-run" : "--stop";
	if (json_is_true(json_object_get(a->body, "keep_files")))
		args[n++] = "--keep-files";
	if (u->errand) {
		r = -EBUSY;
	} else {
		if (!dry)
			ask_audit(a, "restore", "", NULL);
		u->earnest = !dry;
		u->ask = ask_ref(a);
		r = errand_start(a->c, &(struct tool_order){ .args = args, .input = passphrase, .file = u->fd, .bound_ms = RESTORE_MS },
				 on_restored, u, &u->errand);
		if (r < 0)
			u->ask = ask_unref(a);
	}
	if (r == -EBUSY)
		ask_fail(a, 409, "busy", "this backup is being restored");
	else if (r < 0)
		ask_fail(a, 500, "failed", "the tool cannot be started: %s", strerror(-r));
	bytes_wipe(passphrase, strlen(passphrase));
	free(passphrase);
}

void restore_delete(struct ask *a)
{
	struct upload *u = upload_of(a), **kept = archives_upload(a->c->archives);

	if (!u)
		return;
	if (u->errand) {
		ask_fail(a, 409, "busy", "this backup is being restored");
		return;
	}
	*kept = upload_free(u);
	ask_reply(a, 200, json_object());
}
