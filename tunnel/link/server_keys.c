/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's three key pairs: opened, rotated, exported and imported.
 *
 * Every change writes the root first, then the successor, then the link pair. A crash in between leaves a root that is its
 * own successor, or a link certificate of another root; server_keys_open() knows both and goes on from there, so that
 * a rotation that was begun is finished.
 */
#include "tunnel/link/server_keys.h"
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "tunnel/link/identity_priv.h"

enum { PATH_LEN = 4096, BACKUP_PAIRS = 2 };

static const char ROOT_FILE[] = "tunnel-root.pem", SUCCESSOR_FILE[] = "tunnel-successor.pem",
		  LINK_FILE[] = "tunnel-link.pem";
static const char ROOT_NAME[] = "stile tunnel root", LINK_NAME[] = "stile tunnel link";

void server_keys_deinit(struct server_keys *k)
{
	k->root = identity_unref(k->root);
	k->successor = identity_unref(k->successor);
	k->link = identity_unref(k->link);
}

void server_keys_copy(const struct server_keys *from, struct server_keys *ret_k)
{
	*ret_k = (struct server_keys){ identity_ref(from->root), identity_ref(from->successor),
				       identity_ref(from->link) };
}

static void replace(struct server_keys *k, struct server_keys *by)
{
	server_keys_deinit(k);
	*k = *by;
	*by = (struct server_keys){ 0 };
}

/* ---- files ---- */

/* NULL in *ret_i if there is no such file. */
static int load(const char *folder, const char *name, char *err, struct identity **ret_i)
{
	char path[PATH_LEN];
	int r = identity_path(folder, name, path, sizeof(path), err);

	if (r == 0)
		r = identity_load(path, err, ret_i);
	return r == -ENOENT ? 0 : r;
}

static int save(const char *folder, const char *name, const struct identity *i, char *err)
{
	char path[PATH_LEN];
	int r = identity_path(folder, name, path, sizeof(path), err);

	return r < 0 ? r : identity_save(i, path, identity_has_key(i), err);
}

static int save_all(const char *folder, const struct server_keys *k, char *err)
{
	int r = save(folder, ROOT_FILE, k->root, err);

	if (r == 0)
		r = save(folder, SUCCESSOR_FILE, k->successor, err);
	return r == 0 ? save(folder, LINK_FILE, k->link, err) : r;
}

/* ---- making ---- */

static int make(const char *name, const struct identity *by, char *err, struct identity **ret_i)
{
	int r = identity_make(name, by, ret_i);

	if (r == -ENOKEY)
		return identity_say(
			err, r,
			"the root's private key is not here: import it from the backup (stile tunnel identity import)");
	return r < 0 ? identity_say(err, r, "a key pair cannot be made: %s", strerror(-r)) : 0;
}

/* What is NULL in k is made. */
static int make_missing(struct server_keys *k, char *err)
{
	int r = 0;

	if (!k->root)
		r = make(ROOT_NAME, NULL, err, &k->root);
	if (r == 0 && !k->successor)
		r = make(ROOT_NAME, NULL, err, &k->successor);
	if (r == 0 && !k->link)
		r = make(LINK_NAME, k->root, err, &k->link);
	return r;
}

/* A link pair without its key, or of another root, is none. */
static void drop_useless(struct server_keys *k)
{
	if (k->root && k->successor &&
	    identity_hash_equal(identity_hash(k->root), identity_hash(k->successor)))
		k->successor = identity_unref(k->successor);
	if (k->link && (!identity_has_key(k->link) || !k->root ||
			!identity_signed_by(identity_cert(k->link), identity_cert(k->root))))
		k->link = identity_unref(k->link);
}

static int nothing_to_go_on(const char *folder, char *err)
{
	return identity_say(err, -ENOKEY,
			    "the root key %s/%s is missing, and so is the key of its successor; agents would take no other: put "
			    "the backup's files back",
			    folder, ROOT_FILE);
}

int server_keys_open(const char *folder, char err[static IDENTITY_ERRLEN],
		     enum server_keys_news *ret_news, struct server_keys *ret_k)
{
	_cleanup_(server_keys_deinit) struct server_keys keys = { 0 };
	enum server_keys_news news = KEYS_AS_THEY_WERE;
	int r = load(folder, ROOT_FILE, err, &keys.root);

	if (r == 0)
		r = load(folder, SUCCESSOR_FILE, err, &keys.successor);
	if (r == 0)
		r = load(folder, LINK_FILE, err, &keys.link);
	if (r < 0)
		return r;
	if (!keys.root && (keys.link || keys.successor)) {
		if (!keys.successor || !identity_has_key(keys.successor))
			return nothing_to_go_on(folder, err);
		keys.root = steal_ptr(&keys.successor);
		news = KEYS_ROOT_REPLACED;
	} else if (!keys.root) {
		news = KEYS_MADE;
	}
	drop_useless(&keys);
	if (news == KEYS_AS_THEY_WERE)
		news = !keys.successor ? KEYS_SUCCESSOR_MADE : !keys.link ? KEYS_LINK_MADE : news;
	if (news != KEYS_AS_THEY_WERE)
		r = make_missing(&keys, err);
	if (r == 0 && news != KEYS_AS_THEY_WERE)
		r = save_all(folder, &keys, err);
	if (r < 0)
		return r;
	*ret_news = news;
	*ret_k = keys;
	keys = (struct server_keys){ 0 };
	return 0;
}

/* ---- rotation ---- */

int server_keys_rotate_link(const char *folder, struct server_keys *k, char err[static IDENTITY_ERRLEN])
{
	_cleanup_(server_keys_deinit) struct server_keys fresh = { identity_ref(k->root),
								   identity_ref(k->successor), NULL };
	int r = make_missing(&fresh, err);

	if (r == 0)
		r = save(folder, LINK_FILE, fresh.link, err);
	if (r == 0)
		replace(k, &fresh);
	return r;
}

int server_keys_rotate_root(const char *folder, struct server_keys *k, char err[static IDENTITY_ERRLEN])
{
	_cleanup_(server_keys_deinit) struct server_keys fresh = { .root = identity_ref(k->successor) };
	int r;

	if (!identity_has_key(k->successor))
		return identity_say(
			err, -ENOKEY,
			"the successor's private key is kept elsewhere: import it first (stile tunnel identity import)");
	r = make_missing(&fresh, err);
	if (r == 0)
		r = save_all(folder, &fresh, err);
	if (r == 0)
		replace(k, &fresh);
	return r;
}

/* ---- backup ---- */

static int without_key(const struct identity *i, char *err, struct identity **ret_i)
{
	_cleanup_(freep) char *pem = NULL;
	size_t n;
	int r = identity_to_pem(i, NULL, false, &pem);

	if (r == 0)
		r = identity_from_pem(text_of(pem), NULL, ret_i, 1, &n);
	return r < 0 ? identity_say(err, r, "the successor's certificate cannot be copied: %s",
				    strerror(-r))
		     : 0;
}

int server_keys_drop_successor_key(const char *folder, struct server_keys *k,
				   char err[static IDENTITY_ERRLEN])
{
	struct identity *bare = NULL;
	int r = without_key(k->successor, err, &bare);

	if (r == 0)
		r = save(folder, SUCCESSOR_FILE, bare, err);
	if (r < 0) {
		identity_unref(bare);
		return r;
	}
	identity_unref(k->successor);
	k->successor = bare;
	return 0;
}

static void free_secret(char *p)
{
	if (p)
		bytes_wipe(p, strlen(p));
	free(p);
}

int server_keys_export(const struct server_keys *k, const char *passphrase, bool successor_only,
		       char err[static IDENTITY_ERRLEN], char **ret_pem)
{
	char *root = NULL, *successor = NULL, *both = NULL;
	int r = 0;

	if (successor_only && !identity_has_key(k->successor))
		return identity_say(
			err, -ENOKEY,
			"the successor's private key is not here: it was exported and removed");
	if (!successor_only)
		r = identity_to_pem(k->root, passphrase, identity_has_key(k->root), &root);
	if (r == 0)
		r = identity_to_pem(k->successor, passphrase, identity_has_key(k->successor),
				    &successor);
	if (r == 0 && asprintf(&both, "%s%s", root ? root : "", successor) < 0)
		r = -ENOMEM;
	free_secret(root);
	free_secret(successor);
	if (r < 0)
		return identity_say(err, r, "the keys cannot be exported: %s", strerror(-r));
	*ret_pem = both;
	return 0;
}

static bool same(const struct identity *a, const struct identity *b)
{
	return identity_hash_equal(identity_hash(a), identity_hash(b));
}

/* The pairs of a backup into the places of those that are here already. */
static int take_back(const struct server_keys *k, struct identity *const *pairs, size_t n,
		     char *err, struct server_keys *fresh)
{
	char text[IDENTITY_STRLEN];

	server_keys_copy(k, fresh);
	for (size_t i = 0; i < n; i++) {
		struct identity **place = same(pairs[i], k->root)	 ? &fresh->root
					  : same(pairs[i], k->successor) ? &fresh->successor
									 : NULL;

		if (!place)
			return identity_say(err, -EEXIST,
					    "the backup holds another root or successor, %s; agents that know the present ones "
					    "would be locked out (--force takes it all the same)",
					    identity_print(identity_hash(pairs[i]), text));
		if (identity_has_key(pairs[i])) {
			identity_unref(*place);
			*place = identity_ref(pairs[i]);
		}
	}
	return 0;
}

static int take_over(struct identity *const *pairs, size_t n, char *err, struct server_keys *fresh)
{
	if (n != BACKUP_PAIRS || !identity_has_key(pairs[0]))
		return identity_say(
			err, -EINVAL,
			"this is no whole backup: it must hold the root with its key, and the successor");
	fresh->root = identity_ref(pairs[0]);
	fresh->successor = identity_ref(pairs[1]);
	return make_missing(fresh, err);
}

int server_keys_import(const char *folder, struct text pem, const char *passphrase, bool force,
		       struct server_keys *k, char err[static IDENTITY_ERRLEN])
{
	_cleanup_(server_keys_deinit) struct server_keys fresh = { 0 };
	struct identity *pairs[BACKUP_PAIRS] = { NULL };
	size_t n = 0;
	int r = identity_from_pem(pem, passphrase, pairs, BACKUP_PAIRS, &n);

	if (r == -EKEYREJECTED)
		return identity_say(err, r, "the passphrase is not the backup's");
	if (r < 0)
		return identity_say(err, r,
				    "this is no backup of a tunnel server's keys, or it is damaged");
	r = take_back(k, pairs, n, err, &fresh);
	if (r == -EEXIST && force) {
		server_keys_deinit(&fresh);
		r = take_over(pairs, n, err, &fresh);
	}
	if (r == 0)
		r = save_all(folder, &fresh, err);
	if (r == 0)
		replace(k, &fresh);
	for (size_t i = 0; i < n; i++)
		identity_unref(pairs[i]);
	return r;
}
