/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers shared by unit tests: certificates made at run time in a folder of their own, and running
 * a loop until something has happened. cmocka asserts are used inside, so only tests may call these.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "common/loop.h"

enum { SUPPORT_PATH = 128 };

struct support_dir {
	char path[SUPPORT_PATH / 2];
};
void support_dir_make(struct support_dir *d);
void support_dir_remove(struct support_dir *d); /* with the files in it */
/* "<dir>/<name>", in one of four static buffers used in turn. */
const char *support_path(const struct support_dir *d, const char *name);
void support_write(const struct support_dir *d, const char *name, const char *text);

/* Writes <name>.pem and <name>.key: self-signed P-256, valid from and until so many days from now. */
void support_cert(const struct support_dir *d, const char *name, const char *san, int from_days,
		  int until_days);

/* Runs the loop until *flag is true; fails the test after ms. */
void support_run_until(struct loop *l, const bool *flag, unsigned ms);
void support_run_for(struct loop *l, unsigned ms);
/* Resident memory of this process, in KiB. */
long support_rss_kib(void);
