/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key pairs, their hashes and files, and the server's three: what is made, what is never made over what is there, rotation,
 * and the backup.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include "common/bytes.h"
#include "tests/unit/support.h"
#include "tunnel/link/server_keys.h"

static struct support_dir *dir_new(void)
{
	struct support_dir *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	support_dir_make(d);
	return d;
}

static void dir_free(struct support_dir *d)
{
	support_dir_remove(d);
	free(d);
}

static int setup(void **state)
{
	*state = dir_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	dir_free(*state);
	return 0;
}

static char *path_of(struct support_dir *d, const char *name)
{
	static char buf[4][512];
	static unsigned at;
	char *p = buf[at++ % 4];

	(void)snprintf(p, sizeof(buf[0]), "%s", support_path(d, name));
	return p;
}

static bool same(const struct identity *a, const struct identity *b)
{
	return identity_hash_equal(identity_hash(a), identity_hash(b));
}

/* ---- hashes ---- */

static void a_hash_is_read_as_it_is_printed_and_as_people_write_it(void **state)
{
	struct identity_hash h, again;
	char text[IDENTITY_STRLEN];

	(void)state;
	for (unsigned i = 0; i < IDENTITY_LEN; i++)
		h.b[i] = (uint8_t)(i * 7 + 3);
	assert_string_equal(identity_print(&h, text),
			    "sha256:030a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dc");
	assert_int_equal(identity_parse(text_of(text), &again), 0);
	assert_true(identity_hash_equal(&h, &again));
	assert_int_equal(
		identity_parse(TEXT("  SHA256:03:0A:11:18 1f262d34-3b424950 575e656c737a81888f969da4abb2b9c0c7ced5dc "),
			       &again),
		0);
	assert_true(identity_hash_equal(&h, &again));
	assert_int_equal(identity_parse(text_of(text + 7), &again), 0);
	text[40] = 0;
	assert_int_equal(identity_parse(text_of(text), &again), -EINVAL);
	assert_int_equal(
		identity_parse(TEXT("sha256:030a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dc00"),
			       &again),
		-EINVAL);
	assert_int_equal(
		identity_parse(TEXT("sha256:zz0a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dc"),
			       &again),
		-EINVAL);
	assert_int_equal(identity_parse(TEXT(""), &again), -EINVAL);
	memset(&h, 0, sizeof(h));
	assert_false(identity_hash_is_set(&h));
}

/* The reference is the command line: openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum. */
static void a_hash_is_what_openssl_says_of_the_public_key(void **state)
{
	struct support_dir *d = *state;
	struct identity *i = NULL;
	char err[IDENTITY_ERRLEN], command[2048], line[80] = "", text[IDENTITY_STRLEN];
	FILE *f;

	assert_int_equal(identity_make("x", NULL, &i), 0);
	assert_int_equal(identity_save(i, path_of(d, "x.pem"), true, err), 0);
	(void)snprintf(command, sizeof(command),
		       "openssl x509 -in %s -noout -pubkey | openssl pkey -pubin -outform der | sha256sum",
		       path_of(d, "x.pem"));
	f = popen(command, "r");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	pclose(f);
	line[64] = 0;
	assert_string_equal(identity_print(identity_hash(i), text) + 7, line);
	identity_unref(i);
}

/* ---- an agent's ---- */

static void an_agent_is_the_same_after_a_restart(void **state)
{
	struct support_dir *d = *state;
	struct identity *first = NULL, *second = NULL;
	char err[IDENTITY_ERRLEN];
	struct stat st;

	assert_int_equal(identity_of_agent(support_path(d, ""), err, &first), 0);
	assert_int_equal(stat(path_of(d, "agent-identity.pem"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(identity_of_agent(support_path(d, ""), err, &second), 0);
	assert_true(same(first, second));
	assert_true(identity_has_key(second));
	identity_unref(first);
	identity_unref(second);
}

static void a_damaged_file_is_never_overwritten(void **state)
{
	struct support_dir *d = *state;
	struct identity *i = NULL;
	char err[IDENTITY_ERRLEN], back[16] = "";
	FILE *f = fopen(path_of(d, "agent-identity.pem"), "w");

	fputs("half a file", f);
	fclose(f);
	assert_int_equal(identity_of_agent(support_path(d, ""), err, &i), -EINVAL);
	assert_non_null(strstr(err, "is damaged"));
	assert_null(i);
	f = fopen(path_of(d, "agent-identity.pem"), "r");
	assert_non_null(fgets(back, sizeof(back), f));
	fclose(f);
	assert_string_equal(back, "half a file");
}

static void what_a_crash_left_beside_the_file_is_in_nobodys_way(void **state)
{
	struct support_dir *d = *state;
	struct identity *i = NULL;
	char err[IDENTITY_ERRLEN];
	FILE *f = fopen(path_of(d, "agent-identity.pem.new"), "w");

	fputs("begun", f);
	fclose(f);
	assert_int_equal(identity_of_agent(support_path(d, ""), err, &i), 0);
	assert_int_equal(access(path_of(d, "agent-identity.pem.new"), F_OK), -1);
	identity_unref(i);
	assert_int_equal(identity_of_agent("/nonexistent/folder", err, &i), -ENOENT);
	assert_non_null(strstr(err, "cannot be written"));
}

static void a_pem_text_must_be_whole_and_its_own(void **state)
{
	struct identity *a = NULL, *b = NULL, *got[2] = { NULL };
	char *pa = NULL, *pb = NULL, both[8192];
	size_t n;

	(void)state;
	assert_int_equal(identity_make("a", NULL, &a), 0);
	assert_int_equal(identity_make("b", NULL, &b), 0);
	assert_int_equal(identity_to_pem(a, "open sesame", true, &pa), 0);
	assert_int_equal(identity_to_pem(b, NULL, true, &pb), 0);
	assert_non_null(strstr(pa, "BEGIN ENCRYPTED PRIVATE KEY"));
	(void)snprintf(both, sizeof(both), "%s%s", pa, pb);
	assert_int_equal(identity_from_pem(text_of(both), "open sesame", got, 2, &n), 0);
	assert_int_equal(n, 2);
	assert_true(same(got[0], a) && same(got[1], b) && identity_has_key(got[0]) &&
		    identity_has_key(got[1]));
	identity_unref(got[0]);
	identity_unref(got[1]);
	assert_int_equal(identity_from_pem(text_of(both), "wrong", got, 2, &n), -EKEYREJECTED);
	assert_int_equal(identity_from_pem(text_of(both), NULL, got, 2, &n), -EKEYREJECTED);
	assert_int_equal(identity_from_pem(text_of(both), "open sesame", got, 1, &n), -EINVAL); /* too many */
	(void)snprintf(both, sizeof(both), "%.*s%s", (int)(strstr(pa, "-----BEGIN ENC") - pa), pa,
		       strstr(pb, "-----BEGIN PRIV"));
	assert_int_equal(identity_from_pem(text_of(both), NULL, got, 2, &n), -EINVAL); /* another one's key */
	assert_int_equal(identity_from_pem(TEXT(""), NULL, got, 2, &n), -EINVAL);
	for (size_t cut = 1; cut + 1 < strlen(pb); cut += 13) /* no beginning of it is a whole pair */
		if (identity_from_pem((struct text){ pb, cut }, NULL, got, 2, &n) == 0) {
			assert_false(identity_has_key(got[0]));
			identity_unref(got[0]);
		}
	identity_unref(a);
	identity_unref(b);
	free(pa);
	free(pb);
}

static void only_p256_is_an_identity(void **state)
{
	EVP_PKEY *keys[] = { EVP_EC_gen("P-384"), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") };
	struct identity_hash h;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		X509 *x = X509_new();

		assert_int_equal(X509_set_pubkey(x, keys[i]), 1);
		assert_int_equal(identity_of_cert(x, &h), -EINVAL);
		X509_free(x);
		EVP_PKEY_free(keys[i]);
	}
}

/* ---- the server's ---- */

static struct server_keys opened(struct support_dir *d, enum server_keys_news want)
{
	enum server_keys_news news = KEYS_AS_THEY_WERE;
	struct server_keys k = { 0 };
	char err[IDENTITY_ERRLEN] = "";
	int r = server_keys_open(support_path(d, ""), err, &news, &k);

	if (r < 0)
		fail_msg("%d: %s", r, err);
	assert_int_equal(news, want);
	assert_true(identity_signed_by(identity_cert(k.link), identity_cert(k.root)));
	assert_true(identity_has_key(k.link));
	assert_false(same(k.root, k.successor));
	return k;
}

static void a_server_makes_its_keys_once(void **state)
{
	struct server_keys first = opened(*state, KEYS_MADE),
			   second = opened(*state, KEYS_AS_THEY_WERE);

	assert_true(same(first.root, second.root) && same(first.successor, second.successor) &&
		    same(first.link, second.link));
	assert_false(identity_signed_by(identity_cert(first.root), identity_cert(first.successor)));
	server_keys_deinit(&first);
	server_keys_deinit(&second);
}

static void a_lost_link_key_is_made_anew_under_the_same_root(void **state)
{
	struct server_keys first = opened(*state, KEYS_MADE), second;

	assert_int_equal(unlink(path_of(*state, "tunnel-link.pem")), 0);
	second = opened(*state, KEYS_LINK_MADE);
	assert_true(same(first.root, second.root));
	assert_false(same(first.link, second.link));
	server_keys_deinit(&first);
	server_keys_deinit(&second);
}

static void a_lost_root_is_replaced_by_the_successor(void **state)
{
	struct server_keys first = opened(*state, KEYS_MADE), second;

	assert_int_equal(unlink(path_of(*state, "tunnel-root.pem")), 0);
	second = opened(*state, KEYS_ROOT_REPLACED);
	assert_true(same(first.successor, second.root));
	server_keys_deinit(&first);
	server_keys_deinit(&second);
}

static void no_root_is_made_where_agents_wait_for_another(void **state)
{
	struct support_dir *d = *state;
	struct server_keys k = opened(d, KEYS_MADE), none;
	enum server_keys_news news;
	char err[IDENTITY_ERRLEN];

	assert_int_equal(server_keys_drop_successor_key(support_path(d, ""), &k, err), 0);
	assert_int_equal(unlink(path_of(d, "tunnel-root.pem")), 0);
	assert_int_equal(server_keys_open(support_path(d, ""), err, &news, &none), -ENOKEY);
	assert_non_null(strstr(err, "put the backup's files back"));
	assert_int_equal(unlink(path_of(d, "tunnel-successor.pem")), 0);
	assert_int_equal(server_keys_open(support_path(d, ""), err, &news, &none), -ENOKEY);
	server_keys_deinit(&k);
}

static void rotation_moves_the_successor_up(void **state)
{
	struct support_dir *d = *state;
	struct server_keys k = opened(d, KEYS_MADE), was, again;
	char err[IDENTITY_ERRLEN];

	server_keys_copy(&k, &was);
	assert_int_equal(server_keys_rotate_link(support_path(d, ""), &k, err), 0);
	assert_true(same(k.root, was.root) && same(k.successor, was.successor) &&
		    !same(k.link, was.link));
	assert_true(identity_signed_by(identity_cert(k.link), identity_cert(was.root)));
	assert_int_equal(server_keys_rotate_root(support_path(d, ""), &k, err), 0);
	assert_true(same(k.root, was.successor) && !same(k.successor, was.root) &&
		    !same(k.successor, was.successor));
	again = opened(d, KEYS_AS_THEY_WERE);
	assert_true(same(k.root, again.root) && same(k.successor, again.successor) &&
		    same(k.link, again.link));
	server_keys_deinit(&k);
	server_keys_deinit(&was);
	server_keys_deinit(&again);
}

/* The root's file is written, the others are still the old ones. */
static void a_rotation_cut_short_by_a_crash_is_finished(void **state)
{
	struct support_dir *d = *state;
	struct server_keys k = opened(d, KEYS_MADE), again;
	char err[IDENTITY_ERRLEN];

	assert_int_equal(identity_save(k.successor, path_of(d, "tunnel-root.pem"), true, err), 0);
	again = opened(d, KEYS_SUCCESSOR_MADE);
	assert_true(same(again.root, k.successor));
	server_keys_deinit(&k);
	server_keys_deinit(&again);
	again = opened(d, KEYS_AS_THEY_WERE);
	server_keys_deinit(&again);
}

static void a_successor_kept_elsewhere_comes_back_by_its_export(void **state)
{
	struct support_dir *d = *state;
	struct server_keys k = opened(d, KEYS_MADE), again;
	char err[IDENTITY_ERRLEN], *pem = NULL, *none = NULL;

	assert_int_equal(server_keys_export(&k, "correct horse", true, err, &pem), 0);
	assert_int_equal(server_keys_drop_successor_key(support_path(d, ""), &k, err), 0);
	assert_false(identity_has_key(k.successor));
	assert_int_equal(server_keys_export(&k, "correct horse", true, err, &none), -ENOKEY);
	assert_int_equal(server_keys_rotate_root(support_path(d, ""), &k, err), -ENOKEY);
	assert_non_null(strstr(err, "import it first"));
	again = opened(d, KEYS_AS_THEY_WERE);
	assert_true(same(again.successor, k.successor) && !identity_has_key(again.successor));
	assert_int_equal(server_keys_import(support_path(d, ""), text_of(pem), "wrong", false, &k, err),
			 -EKEYREJECTED);
	assert_int_equal(server_keys_import(support_path(d, ""), text_of(pem), "correct horse",
					    false, &k, err),
			 0);
	assert_int_equal(server_keys_rotate_root(support_path(d, ""), &k, err), 0);
	assert_true(same(again.successor, k.root));
	free(pem);
	server_keys_deinit(&k);
	server_keys_deinit(&again);
}

static void a_backup_makes_another_machine_the_same_server(void **state)
{
	struct support_dir *d = *state, *other = dir_new();
	struct server_keys k = opened(d, KEYS_MADE), there = opened(other, KEYS_MADE), again;
	char err[IDENTITY_ERRLEN], *pem = NULL;

	assert_int_equal(server_keys_export(&k, "correct horse", false, err, &pem), 0);
	assert_int_equal(server_keys_import(support_path(other, ""), text_of(pem), "correct horse",
					    false, &there, err),
			 -EEXIST);
	assert_non_null(strstr(err, "locked out"));
	assert_false(same(k.root, there.root));
	assert_int_equal(server_keys_import(support_path(other, ""), text_of(pem), "correct horse",
					    true, &there, err),
			 0);
	again = opened(other, KEYS_AS_THEY_WERE);
	assert_true(same(k.root, again.root) && same(k.successor, again.successor) &&
		    identity_has_key(again.successor));
	assert_int_equal(server_keys_import(support_path(other, ""), TEXT("nonsense"), NULL, true,
					    &there, err),
			 -EINVAL);
	free(pem);
	server_keys_deinit(&k);
	server_keys_deinit(&there);
	server_keys_deinit(&again);
	dir_free(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_hash_is_read_as_it_is_printed_and_as_people_write_it),
		T(a_hash_is_what_openssl_says_of_the_public_key),
		T(an_agent_is_the_same_after_a_restart),
		T(a_damaged_file_is_never_overwritten),
		T(what_a_crash_left_beside_the_file_is_in_nobodys_way),
		T(a_pem_text_must_be_whole_and_its_own),
		T(only_p256_is_an_identity),
		T(a_server_makes_its_keys_once),
		T(a_lost_link_key_is_made_anew_under_the_same_root),
		T(a_lost_root_is_replaced_by_the_successor),
		T(no_root_is_made_where_agents_wait_for_another),
		T(rotation_moves_the_successor_up),
		T(a_rotation_cut_short_by_a_crash_is_finished),
		T(a_successor_kept_elsewhere_comes_back_by_its_export),
		T(a_backup_makes_another_machine_the_same_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
