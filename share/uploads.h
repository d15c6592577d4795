/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that receivers send: into one folder, under a name of our making, never over a file that is there. Until it is whole a file has no
 * name (O_TMPFILE), or where the file system knows no such files a hidden one; so an upload that is broken off leaves nothing behind.
 *
 * An upload is known by 16 random bytes of its sender and can be resumed while the share runs. Limits: bytes of one file, of all files
 * of the share, how many are under way; and some of the disk stays free.
 */
#pragma once
#include "common/loop.h"
#include "share/code.h"
#include "share/names.h"

enum { UPLOADS_OPEN_MAX = 64, UPLOAD_SHA = 32 };
enum { UPLOAD_IDLE_MS = 60 * 60 * 1000 };

enum upload_error { /* positive module codes */
	UPLOAD_OK,
	UPLOAD_LIMIT, /* larger than allowed */
	UPLOAD_DISK,  /* no room */
	UPLOAD_MANY,  /* too many are under way */
	UPLOAD_OFFSET, /* not where it stands */
	UPLOAD_FAILED, /* see uploads_why() */
};
const char *upload_error_text(enum upload_error e);

struct upload {
	struct list node;
	struct uploads *of;
	uint8_t salt[SHARE_SALT];
	char name[SHARE_NAME_MAX + 1]; /* wanted; once done: as it is */
	uint64_t size, got;
	bool done, busy; /* busy: a request is writing */
	void *owner;	 /* which one; of who uses this */
	uint8_t sha[UPLOAD_SHA];
	/* private */
	int fd;
	char hidden[64]; /* "": it has no name */
	void *md;
	uint64_t touched;
};
struct uploads;
/* limit: bytes of all files together. err: a sentence. */
int uploads_open(struct loop *l, const char *dir, uint64_t limit, char *err, size_t err_n, struct uploads **ret_u);
struct uploads *uploads_free(struct uploads *u); /* what is not whole is gone */
DEFINE_CLEANUP(struct uploads, uploads_free)
uint64_t uploads_room(const struct uploads *u); /* bytes that one more file may have */
struct upload *uploads_find(struct uploads *u, const uint8_t salt[static SHARE_SALT]);
/* name: as a stranger gave it. */
enum upload_error uploads_begin(struct uploads *u, const uint8_t salt[static SHARE_SALT], struct text name, uint64_t size, struct upload **ret_up);
enum upload_error upload_write(struct upload *up, const void *p, size_t n);
/* All is there: it gets its name and its hash. */
enum upload_error upload_finish(struct upload *up);
void upload_drop(struct upload *up);
const char *uploads_why(const struct uploads *u); /* of the last UPLOAD_FAILED */
