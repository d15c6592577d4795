/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backup's file: what was sealed comes back, nobody opens it without the passphrase, and what is cut off, changed in any byte or
 * made by a newer version is refused with words.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/backup.h"
#include "common/store.h"

static const char PASS[] = "correct horse", PATH[] = "/tmp/stile-backup-test";

static json_t *contents(void)
{
	return json_pack("{s:[{s:s}], s:{s:s}}", "services", "service", "stile-turn", "files", "/etc/x", "hush-hush");
}

static const char *made(void)
{
	static char path[64];
	json_t *about = json_pack("{s:s}", "host", "here"), *c = contents();
	char err[256] = "";

	snprintf(path, sizeof(path), "%s-%d", PATH, (int)getpid());
	unlink(path);
	assert_int_equal(backup_write(path, about, c, PASS, err, sizeof(err)), 0);
	json_decref(about);
	json_decref(c);
	return path;
}

static void what_was_sealed_comes_back_by_its_passphrase_alone(void **state)
{
	const char *path = made();
	struct backup b;
	json_t *got = NULL, *want = contents(), *about = json_object();
	char err[256] = "";

	(void)state;
	assert_int_equal(backup_read(path, &b, err, sizeof(err)), 0);
	assert_string_equal(json_string_value(json_object_get(b.about, "host")), "here");
	assert_null(memmem(b.bytes, b.n, "hush-hush", 9));
	assert_int_equal(backup_open(&b, "correct horsf", &got, err, sizeof(err)), -EACCES);
	assert_non_null(strstr(err, "not the passphrase"));
	assert_int_equal(backup_open(&b, PASS, &got, err, sizeof(err)), 0);
	assert_true(json_equal(got, want));
	assert_int_equal(backup_write(path, about, want, PASS, err, sizeof(err)), -EEXIST);
	assert_int_equal(backup_write("/tmp/x", about, want, "short", err, sizeof(err)), -EINVAL);
	json_decref(got);
	json_decref(want);
	json_decref(about);
	backup_done(&b);
	unlink(path);
}

static void cut_off_anywhere_or_changed_it_is_refused(void **state)
{
	const char *path = made();
	struct backup b;
	json_t *about = NULL;
	size_t line;
	char err[256] = "";

	(void)state;
	assert_int_equal(backup_read(path, &b, err, sizeof(err)), 0);
	for (size_t n = 0; n < b.n; n++) {
		struct backup cut = b;
		json_t *got = NULL;
		cut.n = n;
		if (backup_parse((struct text){ b.bytes, n }, &about, &line, err, sizeof(err)) < 0)
			continue;
		json_decref(about);
		if (n % 64 == 0) /* a key for each would take minutes */
			assert_int_equal(backup_open(&cut, PASS, &got, err, sizeof(err)), -EACCES);
	}
	for (size_t at = b.line; at < b.n; at += 41) {
		json_t *got = NULL;
		b.bytes[at] ^= 1;
		assert_int_equal(backup_open(&b, PASS, &got, err, sizeof(err)), -EACCES);
		b.bytes[at] ^= 1;
	}
	char *host = memmem(b.bytes, b.line, "here", 4); /* the line is sealed, too */
	json_t *got = NULL;
	*host = 'H';
	assert_int_equal(backup_open(&b, PASS, &got, err, sizeof(err)), -EACCES);
	backup_done(&b);
	unlink(path);
}

static int parse(const char *line, char *err, size_t err_n)
{
	char file[1024];
	json_t *about = NULL;
	size_t n;
	int r;

	snprintf(file, sizeof(file), "%s\n0123456789abcdef", line);
	r = backup_parse(text_of(file), &about, &n, err, err_n);
	json_decref(about);
	return r;
}

#define SEAL(n, r, salt) "\"seal\":{\"kdf\":\"scrypt\",\"n\":" n ",\"r\":" r ",\"p\":1,\"salt\":\"" salt "\",\"nonce\":\"000102030405060708090a0b\"}}"
#define SALT "000102030405060708090a0b0c0d0e0f"

static void a_newer_ones_and_strange_ones_are_told_apart(void **state)
{
	static const char *const newer[] = {
		"{\"stile_backup\":2,\"version\":\"0.1.0\",\"store\":1," SEAL("32768", "8", SALT),
		"{\"stile_backup\":1,\"version\":\"99.0.0\",\"store\":1," SEAL("32768", "8", SALT),
		"{\"stile_backup\":1,\"version\":\"0.1.0\",\"store\":999," SEAL("32768", "8", SALT),
	}, *const bad[] = {
		"", "[]", "{}", "hello", "{\"stile_backup\":1}", "{\"stile_backup\":1,\"version\":\"0.1\",\"store\":1," SEAL("32768", "8", SALT),
		"{\"stile_backup\":1,\"version\":\"0.1.0\",\"store\":1}",
		"{\"stile_backup\":1,\"version\":\"0.1.0\",\"store\":1," SEAL("1073741824", "8", SALT),
		"{\"stile_backup\":1,\"version\":\"0.1.0\",\"store\":1," SEAL("32767", "8", SALT),
		"{\"stile_backup\":1,\"version\":\"0.1.0\",\"store\":1," SEAL("1048576", "64", SALT),
		"{\"stile_backup\":1,\"version\":\"0.1.0\",\"store\":1," SEAL("32768", "8", "00"),
	};
	char err[256] = "";

	(void)state;
	assert_int_equal(parse("{\"stile_backup\":1,\"version\":\"0.1.0\",\"store\":1," SEAL("32768", "8", SALT), err, sizeof(err)), 0);
	for (size_t i = 0; i < ARRAY_LEN(newer); i++) {
		assert_int_equal(parse(newer[i], err, sizeof(err)), -EPROTO);
		assert_non_null(strstr(err, "newer than this one"));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse(bad[i], err, sizeof(err)), -EINVAL);
	struct backup b;
	assert_int_equal(backup_read("/nowhere/at/all", &b, err, sizeof(err)), -ENOENT);
	assert_int_equal(backup_read("/tmp", &b, err, sizeof(err)), -EFBIG);
}

/* A disk that is full in the middle, and more than a backup may say of itself before it is opened: nothing is left behind. */
static void half_a_backup_is_none(void **state)
{
	struct rlimit was, little = { .rlim_cur = 100 };
	json_t *about = json_object(), *c = contents();
	char path[64], err[256] = "", *huge = calloc(1, BACKUP_LINE_MAX + 1);
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
	int r;

	(void)state;
	snprintf(path, sizeof(path), "%s-half-%d", PATH, (int)getpid());
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	little.rlim_max = was.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
	r = backup_write(path, about, c, PASS, err, sizeof(err));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	signal(SIGXFSZ, handler);
	assert_int_equal(r, -EFBIG);
	assert_non_null(strstr(err, path));
	assert_int_equal(access(path, F_OK), -1);
	memset(huge, 'x', BACKUP_LINE_MAX);
	json_object_set_new(about, "host", json_string(huge));
	assert_int_equal(backup_write(path, about, c, PASS, err, sizeof(err)), -EFBIG);
	assert_non_null(strstr(err, "too much for one backup"));
	assert_int_equal(access(path, F_OK), -1);
	free(huge);
	json_decref(about);
	json_decref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_sealed_comes_back_by_its_passphrase_alone),
		cmocka_unit_test(cut_off_anywhere_or_changed_it_is_refused),
		cmocka_unit_test(a_newer_ones_and_strange_ones_are_told_apart),
		cmocka_unit_test(half_a_backup_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
