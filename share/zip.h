/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of a share as one ZIP file, made while it is read: nothing is compressed and nothing is kept but the piece under way. It cannot be
 * resumed, and its length is not known before its end. A file that goes away or changes while it is in it ends it as broken.
 *
 * Blocking reads of the disk, a piece at a time.
 */
#pragma once
#include "share/tree.h"

struct share_archive;
int share_archive_new(struct tree *t, struct share_archive **ret_a); /* 0 or -ENOMEM */
struct share_archive *share_archive_free(struct share_archive *a);
/* Up to n bytes: how many; 0: the end; -errno: it is broken. */
ssize_t share_archive_read(struct share_archive *a, void *p, size_t n);
