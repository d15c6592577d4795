/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a share serves (share/tree.h) and its ZIP file (share/zip.h): regular files below the folder and nothing else, entries that
 * keep their numbers while files come, change and go, hashes of what was there, and archives that are whole or broken.
 */
#include "tests/unit/support.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/text.h"
#include "share/zip.h"

static struct {
	char root[64];
	struct loop *l;
	struct tree *t;
} w;

static const char *at(const char *name)
{
	static char paths[4][512];
	static unsigned turn;
	char *p = paths[turn++ % ARRAY_LEN(paths)];

	(void)snprintf(p, sizeof(paths[0]), "%s/%s", w.root, name);
	return p;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(w.root, sizeof(w.root), "/tmp/stile-tree-XXXXXX");
	assert_non_null(mkdtemp(w.root));
	assert_int_equal(loop_new(&w.l), 0);
	put("b", "bb");
	put("a", "");
	assert_int_equal(mkdir(at("sub"), 0700), 0);
	put("sub/c", "ccc");
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	w.t = tree_free(w.t);
	loop_free(w.l);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", w.root);
	return system(command);
}

static void open_it(const char *path)
{
	char err[256] = "";

	if (tree_open(w.l, path, err, sizeof(err), &w.t) < 0)
		fail_msg("%s", err);
}

static void assert_there(const char *shown, uint64_t n, uint64_t size)
{
	uint64_t number = UINT64_MAX;
	const struct tree_entry *e = tree_named(w.t, text_of(shown), &number);

	if (!e)
		fail_msg("%s is not there", shown);
	assert_int_equal(number, n);
	assert_ptr_equal(e, tree_entry(w.t, n));
	assert_int_equal(e->size, size);
}

static void assert_gone(const char *shown)
{
	uint64_t n;

	assert_null(tree_named(w.t, text_of(shown), &n));
}

static void regular_files_below_the_folder_are_there_and_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(symlink("/etc/passwd", at("link")), 0);
	assert_int_equal(symlink("sub", at("way")), 0);
	assert_int_equal(mkfifo(at("pipe"), 0600), 0);
	open_it(w.root);
	assert_true(tree_is_dir(w.t));
	assert_string_equal(tree_name(w.t), strrchr(w.root, '/') + 1);
	assert_int_equal(tree_count(w.t), 3);
	assert_int_equal(tree_total(w.t), 5);
	assert_there("a", 0, 0);
	assert_there("b", 1, 2);
	assert_there("sub/c", 2, 3);
	assert_false(tree_cut(w.t));
	assert_null(tree_entry(w.t, 3));
}

static void a_share_of_one_file_has_that_one(void **state)
{
	int fd;
	struct tree_identity was;

	(void)state;
	open_it(at("b"));
	assert_false(tree_is_dir(w.t));
	assert_string_equal(tree_name(w.t), "b");
	assert_there("b", 0, 2);
	put("a", "other");
	assert_int_equal(tree_scan(w.t), 0);
	assert_int_equal(tree_count(w.t), 1);
	assert_int_equal(unlink(at("b")), 0);
	assert_int_equal(tree_scan(w.t), 0);
	assert_gone("b");
	assert_int_equal(tree_open_entry(w.t, 0, &fd, &was), -ENOENT);
	assert_int_equal(tree_open_entry(w.t, 1, &fd, &was), -ENOENT);
}

static void what_cannot_be_shared_is_refused_with_its_reason(void **state)
{
	char err[256];

	(void)state;
	assert_int_equal(tree_open(w.l, at("nothing"), err, sizeof(err), &w.t), -ENOENT);
	assert_non_null(strstr(err, "nothing: No such file"));
	assert_int_equal(tree_open(w.l, "/dev/null", err, sizeof(err), &w.t), -EINVAL);
	assert_non_null(strstr(err, "neither a file nor a folder"));
	assert_null(w.t);
}

static void entries_keep_their_numbers_and_changed_files_get_another_salt(void **state)
{
	uint8_t salt[SHARE_SALT];
	int fd;
	struct tree_identity was;

	(void)state;
	open_it(w.root);
	memcpy(salt, tree_entry(w.t, 1)->salt, sizeof(salt));
	put("aa", "new");
	assert_int_equal(unlink(at("a")), 0);
	assert_int_equal(tree_scan(w.t), 0);
	assert_gone("a");
	assert_null(tree_entry(w.t, 0));
	assert_there("b", 1, 2);
	assert_there("aa", 3, 3);
	assert_int_equal(tree_total(w.t), 8);
	assert_memory_equal(tree_entry(w.t, 1)->salt, salt, sizeof(salt));
	put("b", "changed");
	assert_int_equal(tree_open_entry(w.t, 1, &fd, &was), -ESTALE); /* told once, and brought up to date */
	assert_there("b", 1, 7);
	assert_memory_not_equal(tree_entry(w.t, 1)->salt, salt, sizeof(salt));
	assert_int_equal(tree_open_entry(w.t, 1, &fd, &was), 0);
	assert_true(tree_same(&was, fd));
	put("b", "while it is read");
	assert_false(tree_same(&was, fd));
	assert_int_equal(tree_scan(w.t), 0); /* somebody else asks for the list */
	assert_false(tree_same(&was, fd));
	close(fd);
}

/* Between the look and the opening somebody puts a way out in its place. */
static void nothing_outside_is_opened_by_a_link_that_came_later(void **state)
{
	int fd;
	struct tree_identity was;

	(void)state;
	open_it(w.root);
	assert_int_equal(unlink(at("b")), 0);
	assert_int_equal(symlink("/etc/passwd", at("b")), 0);
	assert_int_equal(tree_open_entry(w.t, 1, &fd, &was), -ENOENT);
	assert_gone("b");
	assert_int_equal(rename(at("sub"), at("was")), 0);
	assert_int_equal(symlink(at("was"), at("sub")), 0);
	assert_int_equal(tree_open_entry(w.t, 2, &fd, &was), -ENOENT);
	assert_int_equal(unlink(at("a")), 0);
	assert_int_equal(mkdir(at("a"), 0700), 0);
	assert_int_equal(tree_open_entry(w.t, 0, &fd, &was), -ENOENT);
	assert_int_equal(rmdir(at("a")), 0);
	put("a", "back"); /* and may come back under its number */
	assert_int_equal(tree_open_entry(w.t, 0, &fd, &was), -ESTALE);
	assert_there("a", 0, 4);
}

static void a_folder_too_deep_is_left_out_and_the_rest_is_there(void **state)
{
	char path[512] = "d";

	(void)state;
	for (unsigned i = 0; i <= TREE_DEPTH_MAX + 1; i++) {
		assert_int_equal(mkdir(at(path), 0700), 0);
		(void)strncat(path, "/d", sizeof(path) - strlen(path) - 1);
	}
	put("z", "zz");
	open_it(w.root);
	assert_true(tree_cut(w.t));
	assert_int_equal(tree_count(w.t), 4);
	assert_there("sub/c", 2, 3);
	assert_there("z", 3, 2);
}

/* ---- hashes ---- */

struct waiting {
	struct tree_wait w;
	bool done;
	int r;
};

static void on_hash(struct tree_wait *tw, int r)
{
	struct waiting *x = container_of(tw, struct waiting, w);

	x->done = true;
	x->r = r;
}

static int hash(uint64_t n, const char *want)
{
	struct waiting x = { .w = { .n = n, .done = on_hash } };
	char hex[2 * TREE_SHA + 1];

	tree_hash(w.t, &x.w);
	assert_false(x.done); /* never at once */
	support_run_until(w.l, &x.done, 30000);
	if (want && x.r == 0) {
		hex_encode(tree_entry(w.t, n)->sha, TREE_SHA, hex);
		assert_string_equal(hex, want);
	}
	return x.r;
}

static void a_hash_is_that_of_the_file(void **state)
{
	static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			  abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

	(void)state;
	put("b", "abc");
	open_it(w.root);
	assert_int_equal(hash(0, empty), 0);
	assert_int_equal(hash(1, abc), 0);
	assert_true(tree_entry(w.t, 1)->has_sha);
	assert_int_equal(hash(1, abc), 0); /* from memory */
	put("b", "");
	assert_int_equal(tree_scan(w.t), 0);
	assert_int_equal(hash(1, empty), 0);
	assert_int_equal(unlink(at("sub/c")), 0);
	assert_int_equal(hash(2, NULL), -ENOENT);
	assert_int_equal(hash(99, NULL), -ENOENT);
}

static void who_waits_no_longer_holds_up_nobody(void **state)
{
	struct waiting first = { .w = { .n = 1, .done = on_hash } }, second = { .w = { .n = 2, .done = on_hash } };
	struct tree_wait never = { .n = 0 };

	(void)state;
	open_it(w.root);
	tree_hash_cancel(&never);
	tree_hash(w.t, &first.w);
	tree_hash(w.t, &second.w);
	tree_hash_cancel(&first.w);
	support_run_until(w.l, &second.done, 30000);
	assert_int_equal(second.r, 0);
	assert_false(first.done);
}

/* ---- the archive ---- */

/* All of it, read in pieces of this size. The length, or what is wrong. */
static ssize_t archive(char *out, size_t cap, size_t piece, void (*between)(void))
{
	struct share_archive *a;
	size_t n = 0;
	ssize_t got;

	assert_int_equal(share_archive_new(w.t, &a), 0);
	while ((got = share_archive_read(a, out + n, MIN(piece, cap - n))) > 0) {
		n += (size_t)got;
		if (between)
			between();
		between = NULL;
	}
	share_archive_free(a);
	return got < 0 ? got : (ssize_t)n;
}

/* "name=content;…" of an archive, as another program reads it. */
static void list_archive(const char *zip, size_t n, char *out, size_t cap)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	struct sb b = sb_init(out, cap);
	char text[256];

	assert_int_equal(archive_read_support_format_zip(a), ARCHIVE_OK);
	assert_int_equal(archive_read_open_memory(a, zip, n), ARCHIVE_OK);
	while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
		la_ssize_t got = archive_read_data(a, text, sizeof(text));

		assert_true(got >= 0);
		sb_fmt(&b, "%s=%.*s;", strchr(archive_entry_pathname(e), '/') + 1, (int)got, text);
	}
	assert_int_equal(archive_read_free(a), ARCHIVE_OK);
}

static void remove_c(void)
{
	assert_int_equal(unlink(at("sub/c")), 0);
}

static void change_a(void)
{
	put("a", "another content");
}

static void change_a_and_look(void)
{
	put("a", "as long as that");
	assert_int_equal(tree_scan(w.t), 0);
}

static void an_archive_has_what_is_there_and_is_whole_or_broken(void **state)
{
	static char zip[1 << 17], listed[1024];
	static const size_t pieces[] = { 1, 7, sizeof(zip) };
	ssize_t n;

	(void)state;
	put("a", "first");
	open_it(w.root);
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		n = archive(zip, sizeof(zip), pieces[i], NULL);
		assert_true(n > 0);
		list_archive(zip, (size_t)n, listed, sizeof(listed));
		assert_string_equal(listed, "a=first;b=bb;sub/c=ccc;");
	}
	n = archive(zip, sizeof(zip), 1, remove_c); /* what goes before its turn is not in it */
	assert_true(n > 0);
	list_archive(zip, (size_t)n, listed, sizeof(listed));
	assert_string_equal(listed, "a=first;b=bb;");
	assert_int_equal(archive(zip, sizeof(zip), 1, change_a), -ESTALE);
	assert_int_equal(archive(zip, sizeof(zip), 1, change_a_and_look), -ESTALE); /* also where another receiver has asked for the list */
	assert_true(archive(zip, sizeof(zip), 100, NULL) > 0); /* and the next one has the new content */
}

int main(void)
{
#define TREE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TREE(regular_files_below_the_folder_are_there_and_nothing_else),
		TREE(a_share_of_one_file_has_that_one),
		TREE(what_cannot_be_shared_is_refused_with_its_reason),
		TREE(entries_keep_their_numbers_and_changed_files_get_another_salt),
		TREE(nothing_outside_is_opened_by_a_link_that_came_later),
		TREE(a_folder_too_deep_is_left_out_and_the_rest_is_there),
		TREE(a_hash_is_that_of_the_file),
		TREE(who_waits_no_longer_holds_up_nobody),
		TREE(an_archive_has_what_is_there_and_is_whole_or_broken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
