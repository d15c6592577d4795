/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ZIP of logs, or of whatever else an administrator takes along (libarchive, write side): entries one after the other,
 * each with its name, its time and its bytes, to a function that takes the archive's bytes as they come.
 *
 * Sizes need not be known before: a log grows while it is read. Deflated. Blocking, any thread.
 */
#pragma once
#include "common/defs.h"

struct log_zip;
/* write: 0, or a negative errno, which ends the archive. 0 or -ENOMEM. */
int log_zip_new(int (*write)(const void *p, size_t n, void *arg), void *arg, struct log_zip **ret_z);
struct log_zip *log_zip_free(struct log_zip *z); /* without the end: what was written is no ZIP */
DEFINE_CLEANUP(struct log_zip, log_zip_free)
/* Each returns 0, or -errno. */
int log_zip_begin(struct log_zip *z, const char *name, int64_t modified /* unix s */);
int log_zip_data(struct log_zip *z, const void *p, size_t n);
int log_zip_end(struct log_zip *z); /* the directory at the end; only log_zip_free() may follow */
