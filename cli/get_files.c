/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a share, written here. Names come from the other side: each part of a path is checked, folders are opened one in the other without
 * following links, and no file is written over. Until it is whole a file is called NAME.part, and NAME.part.json says whose part it is: share,
 * salt and size; so another call goes on with it, if the file there is still the same. Where either name is somebody else's, NAME gets a number.
 * No file that comes is given the name of such a note, for it would be believed.
 *
 * What came is compared with the SHA-256 that the sender computes on its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/get.h"
#include "common/fd.h"
#include "common/json.h"
#include "share/names.h"
#include "share/request.h"

enum { NAMES_TRIED = 1000, FILES_NAME = 255 - 16 };

struct file { /* one, on its way */
	struct get *g;
	uint64_t n, size, at; /* at: plain bytes that are there, whole records */
	int64_t mtime;
	uint8_t salt[SHARE_SALT];
	char tag[SHARE_HEX_STRLEN];
	int dir, fd;
	char name[SHARE_NAME_MAX + 1], part[300], side[310];
	EVP_MD_CTX *md;
	struct share_records_ctx *ctx;
	uint8_t buf[RECORD_SIZE];
};

static int fail_at(struct file *f, const char *name, int error)
{
	share_bar_end(&f->g->bar);
	return cli_fail(f->g->cli, "%s: %s", name, strerror(error));
}

/* ---- where it goes ---- */

/* Of "a/b/c.txt": the folder a/b below top, and the name. */
static int open_folder(struct get *g, int top, struct text path, char name[static SHARE_NAME_MAX + 1], int *ret_dir)
{
	_cleanup_(closep) int dir = fcntl(top, F_DUPFD_CLOEXEC, 0);
	struct text rest = path, part = text_cut(&rest, '/');

	for (; dir >= 0 && rest.p; part = text_cut(&rest, '/')) {
		char word[SHARE_NAME_MAX + 1];
		int next;

		(void)snprintf(word, sizeof word, "%.*s", TEXT_FMT(part));
		if (mkdirat(dir, word, 0777) < 0 && errno != EEXIST)
			return cli_fail(g->cli, "%s: %s", word, strerror(errno));
		next = openat(dir, word, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return cli_fail(g->cli, "%s: %s", word, errno == ELOOP || errno == ENOTDIR ? "is there, and is no folder" : strerror(errno));
		close(dir);
		dir = next;
	}
	if (dir < 0)
		return cli_fail(g->cli, "%s", strerror(errno));
	(void)snprintf(name, SHARE_NAME_MAX + 1, "%.*s", TEXT_FMT(part));
	*ret_dir = steal_fd(&dir);
	return 0;
}

static int write_side(struct file *f, bool ours)
{
	char text[300], salt[SHARE_HEX_STRLEN], id[SHARE_ID_STRLEN];
	int how = O_CREAT | (ours ? O_TRUNC : O_EXCL);
	int fd = openat(f->dir, f->side, how | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600), n;

	hex_encode(f->salt, SHARE_SALT, salt);
	hex_encode(f->g->keys.id, SHARE_ID, id);
	n = snprintf(text, sizeof text, "{\"share\": \"%s\", \"salt\": \"%s\", \"size\": %llu, \"receiver\": \"", id, salt, (unsigned long long)f->size);
	hex_encode(f->g->http.receiver, 16, text + n);
	(void)snprintf(text + n + 32, sizeof text - (size_t)n - 32, "\"}\n");
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
		int error = errno;

		if (fd >= 0) {
			close(fd);
			(void)unlinkat(f->dir, f->side, 0);
		}
		return -error;
	}
	close(fd);
	return 0;
}

/* Is the part that lies there of this share? And of this very file? */
static bool is_ours(struct file *f, bool *ret_same)
{
	char text[400], salt[SHARE_HEX_STRLEN], id[SHARE_ID_STRLEN];
	int fd = openat(f->dir, f->side, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
	json_t *o = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
	bool ours, same;

	if (fd >= 0)
		close(fd);
	hex_encode(f->salt, SHARE_SALT, salt);
	hex_encode(f->g->keys.id, SHARE_ID, id);
	ours = strcmp(text_of_key(o, "share"), id) == 0;
	same = ours && strcmp(text_of_key(o, "salt"), salt) == 0 &&
	       (uint64_t)number_of_key(o, "size") == f->size;
	if (same && share_hex16(text_of(text_of_key(o, "receiver")), f->g->http.receiver) < 0)
		same = false; /* --once knows its receiver by it */
	json_decref(o);
	*ret_same = same;
	return ours;
}

static int hash_there(struct file *f)
{
	for (uint64_t at = 0; at < f->at;) {
		ssize_t n = pread(f->fd, f->buf, MIN(f->at - at, (uint64_t)RECORD_PLAIN), (off_t)at);

		if (n <= 0 || EVP_DigestUpdate(f->md, f->buf, (size_t)n) != 1)
			return fail_at(f, f->part, n < 0 ? errno : EIO);
		at += (uint64_t)n;
	}
	return 0;
}

/* -EEXIST: somebody else has this name, or that of the note beside it. */
static int open_part_called(struct file *f, const char *name, bool *ret_goes_on)
{
	bool ours;
	int how, r;

	(void)snprintf(f->part, sizeof f->part, "%s.part", name);
	(void)snprintf(f->side, sizeof f->side, "%s.json", f->part);
	ours = is_ours(f, ret_goes_on);
	how = !ours ? O_EXCL : *ret_goes_on ? 0 : O_TRUNC;
	f->fd = openat(f->dir, f->part, O_CREAT | how | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (f->fd < 0)
		return -errno;
	r = *ret_goes_on ? 0 : write_side(f, ours);
	if (r < 0 && !ours) {
		(void)unlinkat(f->dir, f->part, 0);
		close(steal_fd(&f->fd));
	}
	return r;
}

static int open_part(struct file *f)
{
	char name[SHARE_NAME_MAX + 1];
	struct stat st;
	bool goes_on;
	int r = open_part_called(f, f->name, &goes_on);

	for (unsigned i = 2; r == -EEXIST && i < NAMES_TRIED; i++) {
		share_name_again(f->name, i, name);
		r = open_part_called(f, name, &goes_on);
	}
	if (r < 0)
		return fail_at(f, f->part, -r);
	if (fstat(f->fd, &st) < 0)
		return fail_at(f, f->part, errno);
	if (!S_ISREG(st.st_mode))
		return fail_at(f, f->part, EEXIST);
	f->at = goes_on ? MIN((uint64_t)st.st_size, f->size) : 0;
	if (f->at < f->size || f->size % RECORD_PLAIN)
		f->at -= f->at % RECORD_PLAIN;
	f->md = EVP_MD_CTX_new();
	if (!f->md || EVP_DigestInit_ex(f->md, EVP_sha256(), NULL) != 1)
		return fail_at(f, f->name, ENOMEM);
	return goes_on ? hash_there(f) : 0;
}

/* ---- its records ---- */

static int write_all(struct file *f, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = pwrite(f->fd, f->buf + done, n - done, (off_t)(f->at + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return fail_at(f, f->part, r < 0 ? errno : EIO);
		done += (size_t)r;
	}
	if (n && EVP_DigestUpdate(f->md, f->buf, n) != 1)
		return fail_at(f, f->name, EIO);
	f->at += n;
	return 0;
}

/* One record: 0; -errno: the way was lost; an exit code. */
static int take_record(struct file *f)
{
	uint64_t number = f->at / RECORD_PLAIN;
	size_t want = (size_t)MIN(f->size - f->at, (uint64_t)RECORD_PLAIN) + RECORD_TAG, n = 0;

	while (n < want) {
		ssize_t got = share_http_read(&f->g->http, f->buf + n, want - n);

		if (got <= 0)
			return got < 0 ? (int)got : -ECONNRESET;
		n += (size_t)got;
	}
	if (share_records_open(f->ctx, (uint32_t)number, number + 1 == share_records_count(f->size), f->buf, n, f->buf) < 0) {
		share_bar_end(&f->g->bar);
		return cli_fail(f->g->cli, "%s: what came cannot be opened with this code: it was changed on the way", f->name);
	}
	return write_all(f, n - RECORD_TAG);
}

static int ask_from(struct file *f)
{
	char path[32], fields[160];
	uint64_t from = f->at / RECORD_PLAIN * RECORD_SIZE;
	const struct share_ask a = { .method = "GET", .path = path, .fields = fields };

	(void)snprintf(path, sizeof path, "e/%llu", (unsigned long long)f->n);
	(void)snprintf(fields, sizeof fields, "Range: bytes=%llu-\r\nIf-Range: \"%s\"\r\n", (unsigned long long)from, f->tag);
	return get_ask(f->g, &a);
}

/* AGAIN: the file is another one now. */
enum { AGAIN = 100, WRONG_HASH = 101 };

static int take_records(struct file *f)
{
	struct get *g = f->g;
	bool empty = f->size == 0;

	g->what = f->name;
	g->size = f->size;
	while (f->at < f->size || empty) {
		int r = ask_from(f);

		if (r)
			return r;
		if (g->http.status == 412 || g->http.status == 410)
			return AGAIN;
		if (g->http.status != 206)
			return g->http.status == 200 ? AGAIN : get_fail_status(g);
		if (g->http.range_first != f->at / RECORD_PLAIN * RECORD_SIZE || g->http.range_total != share_records_size(f->size))
			return AGAIN;
		do {
			r = take_record(f);
			g->at = f->at;
			get_progress(g, false);
			empty = false;
		} while (r == 0 && f->at < f->size);
		if (r > 0)
			return r;
		if (r < 0) {
			empty = f->size == 0;
			r = get_wait(g);
		}
		if (r)
			return r;
	}
	return 0;
}

/* The sender's own hash of it. */
static int ask_hash(struct file *f, char sha[static 2 * GET_SHA + 1])
{
	char path[32];
	json_t *o = NULL;
	int r = 0;

	(void)snprintf(path, sizeof path, "h/%llu", (unsigned long long)f->n);
	while (r == 0 && !o) {
		r = get_ask(f->g, &(struct share_ask){ .method = "GET", .path = path });
		if (r)
			return r;
		if (f->g->http.status == 412 || f->g->http.status == 410)
			return AGAIN;
		if (f->g->http.status != 200)
			return get_fail_status(f->g);
		o = get_sealed(f->g);
		if (!o)
			r = f->g->http.fd < 0 ? get_wait(f->g) : EXIT_FAILED;
	}
	(void)snprintf(sha, 2 * GET_SHA + 1, "%s", text_of_key(o, "sha256"));
	json_decref(o);
	return r;
}

/* On whatever file system. */
static bool is_note(const char *name)
{
	static const char end[] = ".part.json";
	size_t n = strlen(name);

	return n >= sizeof end - 1 && strcasecmp(name + n - (sizeof end - 1), end) == 0;
}

static int give_name(struct file *f)
{
	char wanted[SHARE_NAME_MAX + 1];
	int r = is_note(f->name) ? -EEXIST : fd_rename_new(f->dir, f->part, f->name);

	(void)snprintf(wanted, sizeof wanted, "%s", f->name);
	for (unsigned i = 2; r == -EEXIST && i < NAMES_TRIED; i++) {
		share_name_again(wanted, i, f->name);
		r = fd_rename_new(f->dir, f->part, f->name);
	}
	(void)unlinkat(f->dir, f->side, 0);
	return r < 0 ? fail_at(f, f->name, -r) : 0;
}

static int finish(struct file *f)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_sec = f->mtime } };
	uint8_t sum[EVP_MAX_MD_SIZE];
	char own[2 * GET_SHA + 1], theirs[2 * GET_SHA + 1], line[700];
	struct sb b = sb_init(line, sizeof line);
	int r = fdatasync(f->fd) < 0 ? fail_at(f, f->part, errno) : ask_hash(f, theirs);

	if (r)
		return r;
	if (EVP_DigestFinal_ex(f->md, sum, NULL) != 1)
		return fail_at(f, f->name, EIO);
	hex_encode(sum, GET_SHA, own);
	if (strcmp(own, theirs) != 0)
		return WRONG_HASH;
	(void)futimens(f->fd, times);
	r = give_name(f);
	if (r)
		return r;
	get_refresh(f->g);
	f->g->got++;
	f->g->bytes += f->size;
	sb_fmt(&b, "✔ %s  ", f->name);
	sb_size(&b, f->size);
	sb_fmt(&b, "  SHA-256 %s  (%s)", own, text_of_key(json_object_get(f->g->news, "link"), "path"));
	get_say(f->g, "got", f->name, f->size, line);
	return 0;
}

/* ---- one file ---- */

/* It is there already, of the same size: the same? */
static int is_there(struct file *f, bool *ret_same)
{
	_cleanup_(closep) int fd = openat(f->dir, f->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	char own[2 * GET_SHA + 1], theirs[2 * GET_SHA + 1];
	struct stat st;
	int r;

	*ret_same = false;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != f->size)
		return 0;
	r = ask_hash(f, theirs);
	if (r)
		return r;
	*ret_same = get_sha(fd, f->buf, own) && strcmp(own, theirs) == 0;
	return 0;
}

static int open_ctx(struct file *f)
{
	int r = share_records_of(f->g->code.secret, f->salt, "file", false, &f->ctx);

	return r < 0 ? fail_at(f, f->name, -r) : 0;
}

static int take(struct file *f)
{
	bool same = false;
	int r;

	if (strlen(f->name) > FILES_NAME)
		return fail_at(f, f->name, ENAMETOOLONG);
	r = is_there(f, &same);
	if (r == 0 && same) {
		char line[400];

		f->g->skipped++;
		(void)snprintf(line, sizeof line, "  %s is there already", f->name);
		get_say(f->g, "there", f->name, f->size, line);
		return 0;
	}
	if (r == 0)
		r = open_part(f);
	if (r == 0)
		r = open_ctx(f);
	if (r == 0)
		r = take_records(f);
	if (r == 0)
		r = finish(f);
	if (r == WRONG_HASH) {
		(void)unlinkat(f->dir, f->part, 0);
		(void)unlinkat(f->dir, f->side, 0);
		share_bar_end(&f->g->bar);
		return cli_fail(f->g->cli, "%s: its SHA-256 is not the sender's; it was thrown away", f->name);
	}
	return r;
}

static int take_entry(struct get *g, int top, const json_t *e, bool is_dir, const char *name)
{
	struct file *f = calloc(1, sizeof *f);
	const char *path = is_dir ? text_of_key(e, "path") : name;
	int r;

	if (!f)
		return cli_fail(g->cli, "out of memory");
	*f = (struct file){ .g = g, .n = (uint64_t)number_of_key(e, "n"), .size = (uint64_t)number_of_key(e, "size"), .mtime = number_of_key(e, "mtime"),
			    .dir = -1, .fd = -1 };
	(void)snprintf(f->tag, sizeof f->tag, "%s", text_of_key(e, "salt"));
	if (!share_path_good(text_of(path), !is_dir) || f->size > RECORDS_PLAIN_MAX || share_hex16(text_of(f->tag), f->salt) < 0)
		r = cli_fail(g->cli, "the other side names a file that cannot be: it is not taken");
	else
		r = open_folder(g, top, text_of(path), f->name, &f->dir);
	if (r == 0)
		r = take(f);
	EVP_MD_CTX_free(f->md);
	share_records_free(f->ctx);
	if (f->fd >= 0)
		close(f->fd);
	if (f->dir >= 0)
		close(f->dir);
	free(f);
	return r;
}

int get_files(struct get *g, const json_t *meta, bool *ret_again)
{
	bool is_dir = strcmp(text_of_key(meta, "kind"), "dir") == 0;
	const json_t *entries = json_object_get(meta, "entries");
	_cleanup_(closep) int top = -1;
	char name[SHARE_NAME_MAX + 1], line[400];
	int r = 0;

	share_name_safe(text_of(text_of_key(meta, "name")), name);
	if (!is_dir && !json_array_size(entries))
		return cli_fail(g->cli, "the file is not there any more at the sender, or cannot be read");
	if (is_dir && mkdirat(g->out, name, 0777) < 0 && errno != EEXIST)
		return cli_fail(g->cli, "%s: %s", name, strerror(errno));
	top = is_dir ? openat(g->out, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : fcntl(g->out, F_DUPFD_CLOEXEC, 0);
	if (top < 0)
		return cli_fail(g->cli, "%s: %s", name, strerror(errno));
	for (size_t i = 0; r == 0 && i < json_array_size(entries); i++) {
		r = take_entry(g, top, json_array_get(entries, i), is_dir, name);
		g->what = NULL;
		share_bar_end(&g->bar);
	}
	if (r == AGAIN) {
		*ret_again = true;
		return 0;
	}
	if (r == 0 && json_is_true(json_object_get(meta, "more")))
		return cli_fail(g->cli, "the folder has more files than a share can list; these were taken");
	if (r == 0 && is_dir) {
		(void)snprintf(line, sizeof line, "✔ %s: %u files, %u were there already", name, g->got, g->skipped);
		get_say(g, "folder", name, g->bytes, line);
	}
	return r;
}
