/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads on their way to the disk. Bytes come in order, so that the hash is ready when the last one is there.
 *
 * Names are given at the end, by a link or a rename that fails if somebody else has the name: nothing is ever replaced.
 * Wire and meaning are in docs/decisions/0024-sharing.md.
 */
#include "share/uploads.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/fd.h"

enum { NAMES_TRIED = 1000, DISK_LEFT_FREE = 64 << 20, DONE_KEPT = 1024 };

struct uploads {
	struct loop *loop;
	int dir;
	uint64_t limit, taken; /* taken: bytes of files that are whole, or on their way */
	struct list all;
	unsigned n_open, n_done;
	struct timer sweep;
	char why[256];
};

const char *upload_error_text(enum upload_error e)
{
	switch (e) {
	case UPLOAD_OK: return "the upload is good";
	case UPLOAD_LIMIT: return "the file is larger than this share allows";
	case UPLOAD_DISK: return "there is not enough room on the disk of the other side";
	case UPLOAD_MANY: return "too many files are being sent at once; try again later";
	case UPLOAD_OFFSET: return "the file does not go on at this place";
	case UPLOAD_FAILED: return "the file could not be written on the other side";
	}
	return "unknown";
}

static enum upload_error failed(struct uploads *u, int error)
{
	(void)snprintf(u->why, sizeof(u->why), "%s", strerror(error));
	return error == ENOSPC || error == EDQUOT ? UPLOAD_DISK : error == EFBIG ? UPLOAD_LIMIT : UPLOAD_FAILED;
}

const char *uploads_why(const struct uploads *u)
{
	return u->why;
}

/* ---- one ---- */

static void close_file(struct upload *up)
{
	EVP_MD_CTX_free(up->md);
	up->md = NULL;
	if (up->fd >= 0)
		close(up->fd);
	up->fd = -1;
	if (up->hidden[0])
		(void)unlinkat(up->of->dir, up->hidden, 0);
	up->hidden[0] = '\0';
}

void upload_drop(struct upload *up)
{
	struct uploads *u = up->of;

	if (up->done) {
		u->n_done--;
	} else {
		u->n_open--;
		u->taken -= up->size;
	}
	close_file(up);
	list_unlink(&up->node);
	free(up);
}

static int open_file(struct uploads *u, struct upload *up)
{
	char hex[SHARE_HEX_STRLEN];

	up->fd = openat(u->dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
	if (up->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
		return -errno;
	hex_encode(up->salt, SHARE_SALT, hex);
	(void)snprintf(up->hidden, sizeof(up->hidden), ".%s.part", hex);
	up->fd = openat(u->dir, up->hidden, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (up->fd >= 0)
		return 0;
	up->hidden[0] = '\0';
	return -errno;
}

static int give_name(struct upload *up, const char *name)
{
	char path[64];

	if (up->hidden[0]) {
		int r = fd_rename_new(up->of->dir, up->hidden, name);

		if (r == 0)
			up->hidden[0] = '\0';
		return r;
	}
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", up->fd);
	return linkat(AT_FDCWD, path, up->of->dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

enum upload_error upload_finish(struct upload *up)
{
	struct uploads *u = up->of;
	char name[SHARE_NAME_MAX + 1];
	int r;

	if (up->done)
		return UPLOAD_OK;
	if (up->got != up->size)
		return UPLOAD_OFFSET;
	if (fdatasync(up->fd) < 0)
		return failed(u, errno);
	(void)snprintf(name, sizeof(name), "%s", up->name);
	r = give_name(up, name);
	for (unsigned i = 2; r == -EEXIST && i < NAMES_TRIED; i++) {
		share_name_again(up->name, i, name);
		r = give_name(up, name);
	}
	if (r < 0)
		return failed(u, -r);
	if (EVP_DigestFinal_ex(up->md, up->sha, NULL) != 1)
		return failed(u, EIO);
	memcpy(up->name, name, sizeof(up->name));
	up->done = true;
	u->n_open--;
	u->n_done++;
	close_file(up);
	return UPLOAD_OK;
}

enum upload_error upload_write(struct upload *up, const void *p, size_t n)
{
	const uint8_t *at = p;

	up->touched = loop_now(up->of->loop);
	if (up->done || n > up->size - up->got)
		return UPLOAD_LIMIT;
	for (size_t done = 0; done < n;) {
		ssize_t r = pwrite(up->fd, at + done, n - done, (off_t)(up->got + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return failed(up->of, r < 0 ? errno : EIO);
		done += (size_t)r;
	}
	if (n && EVP_DigestUpdate(up->md, p, n) != 1)
		return failed(up->of, EIO);
	up->got += n;
	return UPLOAD_OK;
}

/* ---- all ---- */

uint64_t uploads_room(const struct uploads *u)
{
	return u->limit - MIN(u->taken, u->limit);
}

struct upload *uploads_find(struct uploads *u, const uint8_t salt[static SHARE_SALT])
{
	list_for_each (it, &u->all) {
		struct upload *up = list_entry(it, struct upload, node);

		if (memcmp(up->salt, salt, SHARE_SALT) == 0)
			return up;
	}
	return NULL;
}

static bool disk_holds(const struct uploads *u, uint64_t size)
{
	struct statvfs v;
	uint64_t left;

	if (fstatvfs(u->dir, &v) < 0)
		return true; /* writing will tell */
	left = (uint64_t)v.f_bavail * v.f_frsize;
	return left > DISK_LEFT_FREE && size <= left - DISK_LEFT_FREE;
}

/* The one that nobody has written to for longest makes way, if that was long ago. */
static bool make_room(struct uploads *u)
{
	struct upload *oldest = NULL;

	if (u->n_open < UPLOADS_OPEN_MAX)
		return true;
	list_for_each (it, &u->all) {
		struct upload *up = list_entry(it, struct upload, node);

		if (!up->done && !up->busy && (!oldest || up->touched < oldest->touched))
			oldest = up;
	}
	if (!oldest || loop_now(u->loop) - oldest->touched < UPLOAD_IDLE_MS / 10)
		return false;
	upload_drop(oldest);
	return true;
}

/* Whoever asks what became of an old one is told that it is not known. */
static void forget_old(struct uploads *u)
{
	list_for_each_safe (it, &u->all) {
		struct upload *up = list_entry(it, struct upload, node);

		if (u->n_done <= DONE_KEPT)
			return;
		if (up->done && !up->busy)
			upload_drop(up);
	}
}

enum upload_error uploads_begin(struct uploads *u, const uint8_t salt[static SHARE_SALT], struct text name, uint64_t size, struct upload **ret_up)
{
	struct upload *up;
	int r;

	if (size > uploads_room(u))
		return UPLOAD_LIMIT;
	if (!disk_holds(u, size))
		return UPLOAD_DISK;
	if (!make_room(u))
		return UPLOAD_MANY;
	forget_old(u);
	up = calloc(1, sizeof(*up));
	if (!up)
		return failed(u, ENOMEM);
	*up = (struct upload){ .of = u, .size = size, .fd = -1, .touched = loop_now(u->loop) };
	memcpy(up->salt, salt, SHARE_SALT);
	share_name_safe(name, up->name);
	list_append(&u->all, &up->node);
	u->n_open++;
	u->taken += size;
	r = open_file(u, up);
	up->md = r == 0 ? EVP_MD_CTX_new() : NULL;
	if (!up->md || EVP_DigestInit_ex(up->md, EVP_sha256(), NULL) != 1) {
		upload_drop(up);
		return failed(u, r < 0 ? -r : ENOMEM);
	}
	*ret_up = up;
	return UPLOAD_OK;
}

static void on_sweep(struct timer *t, uint64_t now)
{
	struct uploads *u = container_of(t, struct uploads, sweep);

	list_for_each_safe (it, &u->all) {
		struct upload *up = list_entry(it, struct upload, node);

		if (!up->done && !up->busy && now - up->touched >= UPLOAD_IDLE_MS)
			upload_drop(up);
	}
	loop_timer_set(u->loop, t, UPLOAD_IDLE_MS / 10);
}

int uploads_open(struct loop *l, const char *dir, uint64_t limit, char *err, size_t err_n, struct uploads **ret_u)
{
	struct uploads *u = calloc(1, sizeof(*u));
	int r = 0;

	if (!u)
		return -ENOMEM;
	u->loop = l;
	u->limit = limit;
	list_init(&u->all);
	u->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (u->dir < 0 || faccessat(u->dir, ".", W_OK | X_OK, AT_EACCESS) < 0)
		r = -errno;
	if (r < 0) {
		(void)snprintf(err, err_n, "%s: %s", dir, strerror(-r));
		uploads_free(u);
		return r;
	}
	u->sweep.fire = on_sweep;
	loop_timer_set(l, &u->sweep, UPLOAD_IDLE_MS / 10);
	*ret_u = u;
	return 0;
}

struct uploads *uploads_free(struct uploads *u)
{
	if (!u)
		return NULL;
	timer_stop(&u->sweep);
	list_for_each_safe (it, &u->all)
		upload_drop(list_entry(it, struct upload, node));
	if (u->dir >= 0)
		close(u->dir);
	free(u);
	return NULL;
}
