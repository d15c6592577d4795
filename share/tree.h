/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a share serves: one file, or the regular files below a folder. Nothing outside of it is ever opened: every path is resolved by the
 * kernel beneath the folder (openat2), without symbolic links, and what is not a regular file is not there: devices, sockets and FIFOs.
 *
 * An entry keeps its number for the life of the tree, and its salt (share/records.h) for as long as it is the same file: device, inode,
 * size and times. Hashes are computed in the loop, some bytes a pass, while nobody waits for them in vain.
 */
#pragma once
#include <sys/stat.h>
#include "common/loop.h"
#include "share/code.h"

enum { TREE_ENTRIES_MAX = 10000, TREE_DEPTH_MAX = 32, TREE_PATH_MAX = 4096, TREE_SHA = 32 };

struct tree_entry {
	char *path;  /* below the folder, as the disk has it; of a single file its name */
	char *shown; /* as it is told: UTF-8 */
	uint64_t size;
	int64_t mtime; /* unix s */
	uint8_t salt[SHARE_SALT], sha[TREE_SHA];
	bool has_sha, there;
	struct tree_identity {
		dev_t dev;
		ino_t ino;
		off_t size;
		struct timespec mtime, ctime;
	} identity;
};

struct tree;
/* err: a sentence. */
int tree_open(struct loop *l, const char *path, char *err, size_t err_n, struct tree **ret_t);
struct tree *tree_free(struct tree *t);
DEFINE_CLEANUP(struct tree, tree_free)
bool tree_is_dir(const struct tree *t);
const char *tree_name(const struct tree *t); /* as it is told */
bool tree_cut(const struct tree *t);	     /* there was more than TREE_ENTRIES_MAX, or something deeper than TREE_DEPTH_MAX */
uint64_t tree_total(const struct tree *t);   /* bytes of all entries */
int tree_scan(struct tree *t);		     /* again: what is new, gone or changed. 0 or -errno */
size_t tree_count(const struct tree *t);
const struct tree_entry *tree_entry(const struct tree *t, uint64_t n); /* NULL: none, or gone */
const struct tree_entry *tree_named(const struct tree *t, struct text shown, uint64_t *ret_n);
/* A descriptor of it, and what it is; -ESTALE: it is another file than when it was scanned, and its entry is brought up to date;
 * -ENOENT and others. */
int tree_open_entry(struct tree *t, uint64_t n, int *ret_fd, struct tree_identity *ret_was);
struct tree_identity tree_identity_of(const struct stat *st);
/* As -ESTALE of above, while fd is being read. The entry does not tell: another look may have brought it up to date meanwhile. */
bool tree_same(const struct tree_identity *was, int fd);

struct tree_wait { /* for the hash of an entry */
	struct list node;
	uint64_t n;
	void (*done)(struct tree_wait *w, int r); /* 0: entry->sha; -errno. w is unlinked */
};
void tree_hash(struct tree *t, struct tree_wait *w); /* done comes later, never at once */
void tree_hash_cancel(struct tree_wait *w);	     /* harmless on a zeroed one */
