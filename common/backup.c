/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing and opening of backups; backup.h has the format.
 *
 * All that is read from a file is bounded before it is used: the line, the costs of the key (a stranger's file must not take the
 * machine's memory), the size as a whole.
 */
#include "common/backup.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/fd.h"
#include "common/store.h"

enum { SALT = 16, NONCE = 12, KEY = 32, TAG = 16, COST_N = 32768, COST_R = 8, COST_P = 1, COST_N_MAX = 1 << 20, COST_RP_MAX = 64 };
#define KDF_MEMORY ((uint64_t)1 << 30)

struct seal {
	uint8_t salt[SALT], nonce[NONCE];
	uint64_t n, r, p;
	uint8_t key[KEY]; /* by key_of(), wiped after use */
};

static int say(char *err, size_t err_n, int r, const char *text)
{
	snprintf(err, err_n, "%s", text);
	return r;
}

/* ---- key and cipher ---- */

static int key_of(struct seal *s, const char *passphrase)
{
	return EVP_PBE_scrypt(passphrase, strlen(passphrase), s->salt, SALT, s->n, s->r, s->p, KDF_MEMORY, s->key, KEY) == 1 ? 0 : -ENOMEM;
}

/* In place; the tag is made (seal) or held against. */
static bool cipher(const struct seal *s, struct text line, uint8_t *at, size_t n, uint8_t *tag, bool seal)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int got = 0;
	bool good = c && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, s->key, s->nonce, seal) == 1 &&
		    EVP_CipherUpdate(c, NULL, &got, (const uint8_t *)line.p, (int)line.n) == 1 &&
		    EVP_CipherUpdate(c, at, &got, at, (int)n) == 1;

	if (good && !seal)
		good = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1;
	if (good)
		good = EVP_CipherFinal_ex(c, at + got, &got) == 1;
	if (good && seal)
		good = EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, tag) == 1;
	EVP_CIPHER_CTX_free(c);
	return good;
}

/* ---- making ---- */

static json_t *seal_json(const struct seal *s)
{
	char salt[2 * SALT + 1], nonce[2 * NONCE + 1];

	hex_encode(s->salt, SALT, salt);
	hex_encode(s->nonce, NONCE, nonce);
	return json_pack("{s:s, s:I, s:I, s:I, s:s, s:s}", "kdf", "scrypt", "n", (json_int_t)s->n, "r", (json_int_t)s->r, "p", (json_int_t)s->p,
			 "salt", salt, "nonce", nonce);
}

/* The line with its end, malloc'd; NULL: no memory. */
static char *line_of(json_t *about, const struct seal *s)
{
	char *text = NULL, *line = NULL;

	if (json_object_set_new(about, "stile_backup", json_integer(BACKUP_FORMAT)) == 0 &&
	    json_object_set_new(about, "version", json_string(STILE_VERSION)) == 0 &&
	    json_object_set_new(about, "store", json_integer(store_schema_version())) == 0 && json_object_set_new(about, "seal", seal_json(s)) == 0)
		text = json_dumps(about, JSON_COMPACT);
	if (text && asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	free(text);
	return line;
}

static int write_file(const char *path, struct text line, const uint8_t *body, size_t n)
{
	bool out = strcmp(path, "-") == 0;
	int fd = out ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), r;

	if (fd < 0)
		return -errno;
	r = fd_write(fd, line.p, line.n);
	if (r == 0)
		r = fd_write(fd, body, n);
	if (out)
		return r;
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	close(fd);
	if (r < 0)
		unlink(path); /* half a backup is none */
	return r;
}

int backup_write(const char *path, json_t *about, const json_t *contents, const char *passphrase, char *err, size_t err_n)
{
	struct seal s = { .n = COST_N, .r = COST_R, .p = COST_P };
	char *line = NULL, *text = NULL, *body = NULL;
	size_t n = 0;
	int r;

	if (strlen(passphrase) < BACKUP_PASSPHRASE_MIN)
		return say(err, err_n, -EINVAL, "a passphrase has at least 8 characters");
	if (bytes_random(s.salt, SALT) < 0 || bytes_random(s.nonce, NONCE) < 0)
		return say(err, err_n, -EIO, "there are no random numbers");
	r = key_of(&s, passphrase);
	line = line_of(about, &s);
	text = json_dumps(contents, JSON_COMPACT);
	n = text ? strlen(text) : 0;
	body = text ? realloc(text, n + TAG) : NULL;
	text = body ? body : text;
	if (r < 0 || !line || !body)
		r = say(err, err_n, -ENOMEM, "out of memory");
	else if (strlen(line) > BACKUP_LINE_MAX ||
		 strlen(line) + n + TAG > BACKUP_MAX) /* as a file: it shall be read again */
		r = say(err, err_n, -EFBIG, "this is too much for one backup");
	else if (!cipher(&s, text_of(line), (uint8_t *)body, n, (uint8_t *)body + n, true))
		r = say(err, err_n, -EIO, "the contents cannot be sealed");
	else if ((r = write_file(path, text_of(line), (uint8_t *)body, n + TAG)) < 0)
		snprintf(err, err_n, "%s: %s", path, strerror(-r));
	bytes_wipe(s.key, sizeof(s.key));
	if (text)
		bytes_wipe(text, n);
	free(text);
	free(line);
	return r;
}

/* ---- reading ---- */

/* a.b.c as one number; -1: it is none. */
static int64_t version_number(const char *s)
{
	struct text rest = text_of(s ? s : "");
	int64_t v = 0;

	for (int i = 0; i < 3; i++) {
		struct text part = text_cut(&rest, '.');
		uint64_t n;
		if (text_u64(part, &n) < 0 || n > 9999)
			return -1;
		v = v * 10000 + (int64_t)n;
	}
	return rest.p ? -1 : v;
}

static bool is_hex(const json_t *o, const char *key, uint8_t *out, size_t n)
{
	const char *s = json_string_value(json_object_get(o, key));
	size_t got = 0;

	return s && hex_decode(text_of(s), out, n, &got) == 0 && got == n;
}

static bool read_seal(const json_t *about, struct seal *s)
{
	const json_t *o = json_object_get(about, "seal");
	json_int_t n = json_integer_value(json_object_get(o, "n")), r = json_integer_value(json_object_get(o, "r")),
		   p = json_integer_value(json_object_get(o, "p"));
	const char *kdf = json_string_value(json_object_get(o, "kdf"));

	if (!kdf || strcmp(kdf, "scrypt") != 0 || n < 2 || n > COST_N_MAX || (n & (n - 1)) || r < 1 || p < 1 || r > COST_RP_MAX || p > COST_RP_MAX ||
	    (uint64_t)n * (uint64_t)r * 128 > KDF_MEMORY / 2)
		return false;
	s->n = (uint64_t)n;
	s->r = (uint64_t)r;
	s->p = (uint64_t)p;
	return is_hex(o, "salt", s->salt, SALT) && is_hex(o, "nonce", s->nonce, NONCE);
}

static int judge(const json_t *about, char *err, size_t err_n)
{
	json_int_t format = json_integer_value(json_object_get(about, "stile_backup")), store = json_integer_value(json_object_get(about, "store"));
	const char *version = json_string_value(json_object_get(about, "version"));
	struct seal s;

	if (format < 1 || store < 1 || version_number(version) < 0)
		return say(err, err_n, -EINVAL, "this is no backup of Stile");
	if (format > BACKUP_FORMAT || store > store_schema_version() || version_number(version) > version_number(STILE_VERSION)) {
		snprintf(err, err_n, "this backup was made by Stile %.20s, which is newer than this one (" STILE_VERSION "): install that version and restore with it",
			 version);
		return -EPROTO;
	}
	return read_seal(about, &s) ? 0 : say(err, err_n, -EINVAL, "the backup is damaged: its first line does not say how it is sealed");
}

int backup_parse(struct text file, json_t **ret_about, size_t *ret_line, char *err, size_t err_n)
{
	ptrdiff_t end = text_find((struct text){ file.p, MIN(file.n, (size_t)BACKUP_LINE_MAX) }, '\n');
	json_t *about = end > 0 ? json_loadb(file.p, (size_t)end, 0, NULL) : NULL;
	int r;

	if (!json_is_object(about)) {
		json_decref(about);
		return say(err, err_n, -EINVAL, "this is no backup of Stile");
	}
	r = judge(about, err, err_n);
	if (r == 0 && file.n - (size_t)end - 1 < TAG)
		r = say(err, err_n, -EINVAL, "the backup is cut off");
	if (r < 0) {
		json_decref(about);
		return r;
	}
	*ret_about = about;
	*ret_line = (size_t)end + 1;
	return 0;
}

int backup_read(const char *path, struct backup *ret_b, char *err, size_t err_n)
{
	struct backup b = { 0 };
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t got = 0;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		snprintf(err, err_n, "%s: %s", path, strerror(-r));
		return r;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > BACKUP_MAX)
		return say(err, err_n, -EFBIG, "this is no backup of Stile");
	b.bytes = malloc((size_t)st.st_size + 1);
	while (b.bytes && b.n < (size_t)st.st_size && (got = read(fd, b.bytes + b.n, (size_t)st.st_size - b.n)) > 0)
		b.n += (size_t)got;
	if (!b.bytes || got < 0) {
		r = b.bytes ? -EIO : -ENOMEM;
		free(b.bytes);
		return say(err, err_n, r, "the file cannot be read");
	}
	r = backup_parse((struct text){ b.bytes, b.n }, &b.about, &b.line, err, err_n);
	if (r < 0)
		free(b.bytes);
	else
		*ret_b = b;
	return r;
}

int backup_open(const struct backup *b, const char *passphrase, json_t **ret_contents, char *err, size_t err_n)
{
	size_t n = b->n - b->line - TAG;
	uint8_t *plain = malloc(n + 1), tag[TAG];
	struct seal s;
	bool good;

	if (!plain || !read_seal(b->about, &s) || key_of(&s, passphrase) < 0) {
		free(plain);
		return say(err, err_n, -ENOMEM, "out of memory");
	}
	memcpy(plain, b->bytes + b->line, n);
	memcpy(tag, b->bytes + b->line + n, TAG);
	good = cipher(&s, (struct text){ b->bytes, b->line }, plain, n, tag, false);
	bytes_wipe(s.key, sizeof(s.key));
	*ret_contents = good ? json_loadb((char *)plain, n, 0, NULL) : NULL;
	bytes_wipe(plain, n);
	free(plain);
	if (!good)
		return say(err, err_n, -EACCES, "this is not the passphrase of the backup, or the file was changed");
	return *ret_contents ? 0 : say(err, err_n, -EINVAL, "the backup's contents cannot be read");
}

void backup_done(struct backup *b)
{
	json_decref(b->about);
	free(b->bytes);
	*b = (struct backup){ 0 };
}
