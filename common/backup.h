/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backup is one file: a line of JSON that everybody may read (what it is, when and by which version it was made, what is in
 * it), and behind it the contents, a JSON document, sealed under a passphrase: AES-256-GCM with a key by scrypt, the line itself
 * authenticated with it. What a newer version has made is refused before a passphrase is asked for.
 *
 *   {"stile_backup":1,"version":"0.1.0","store":3,…,"seal":{"kdf":"scrypt","n":32768,"r":8,"p":1,"salt":"…","nonce":"…"}}\n
 *   sealed bytes, the last 16 of them the tag
 */
#pragma once
#include <jansson.h>
#include "common/text.h"

enum { BACKUP_FORMAT = 1, BACKUP_MAX = 256 << 20, BACKUP_LINE_MAX = 64 << 10, BACKUP_PASSPHRASE_MIN = 8 };

/* Adds format, versions and seal to about (a JSON object), and makes the file, which must not exist ("-": standard output). 0 or -errno and a sentence. */
int backup_write(const char *path, json_t *about, const json_t *contents, const char *passphrase, char *err, size_t err_n);

struct backup { /* as read, not opened yet */
	json_t *about;
	char *bytes; /* the whole file */
	size_t n, line; /* of it, with the line's end */
};
/* 0, or -errno and a sentence: no backup, damaged, or made by a newer version. */
int backup_read(const char *path, struct backup *ret_b, char *err, size_t err_n);
int backup_parse(struct text file, json_t **ret_about, size_t *ret_line, char *err, size_t err_n);
/* -EACCES: another passphrase, or somebody has changed the file. */
int backup_open(const struct backup *b, const char *passphrase, json_t **ret_contents, char *err, size_t err_n);
void backup_done(struct backup *b);
