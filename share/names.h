/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of files as they go between two machines: what comes from a disk is any bytes, what comes from a stranger is any text. No I/O.
 *
 * Not a check but a repair: whoever gives a bad name gets a good one.
 * A path of several parts is checked by share/request.h.
 */
#pragma once
#include "common/text.h"

enum { SHARE_NAME_MAX = 255 };
/* Fit to be shown and to stand in JSON: bytes that are no UTF-8, control characters, and those that turn the direction of writing become '_'. */
void share_name_show(struct text raw, char *out, size_t cap);
/* Of an upload, as a file here: its last part (of either kind of slash), shown as above, at most SHARE_NAME_MAX bytes with its extension
 * kept, not hidden, not one of the names that Windows gives to devices, no blanks or dots at the end; never empty. */
void share_name_safe(struct text raw, char out[static SHARE_NAME_MAX + 1]);
/* "report (2).pdf" */
void share_name_again(const char *name, unsigned n, char out[static SHARE_NAME_MAX + 1]);
