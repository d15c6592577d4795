/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of tunnel/ that read and write keys and pins share: the sentence that tells what
 * went wrong, and the one way in which a small secret file is written.
 *
 * Not for other folders.
 */
#pragma once
#include "tunnel/link/identity.h"

/* Writes the sentence into err (IDENTITY_ERRLEN) and returns r. */
int identity_say(char *err, int r, const char *fmt, ...) _printf_(3, 4);
/* As identity.h says of files: mode 0600, all or nothing, on the disk when it returns. */
int identity_write_file(const char *path, struct text content, char err[static IDENTITY_ERRLEN]);
int identity_path(const char *folder, const char *name, char *buf, size_t n,
		  char err[static IDENTITY_ERRLEN]);
