/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates that lie in some folders, for an administrator who picks one: each PEM file that begins with a certificate,
 * with its key if that lies beside it. What is in a file and what is wrong with it is cert.h's.
 *
 * Folders are not entered further, and of the files no more are looked at than is said here.
 */
#pragma once
#include "common/cert.h"

enum { CERT_FIND_MAX = 64, CERT_FIND_FILES = 512, CERT_FIND_FOLDERS = 16 };

/* Those beside these files, which need not be certificates; NULL among them: none. In the order of the folders, each of which is looked
 * at once. now: for dates. Rows as cert_row() makes them, their key "" if none that belongs to it was found. NULL without memory. */
json_t *cert_find(const char *const *files, size_t n, time_t now);
