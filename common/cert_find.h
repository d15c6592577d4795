/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates that lie in some folders, for an administrator who picks one: each PEM file that begins with a certificate,
 * with its key if that lies beside it. What is in a file and what is wrong with it is cert.h's.
 *
 * Folders are not entered further, and of the files no more are looked at than is said here.
 */
#pragma once
#include "common/cert.h"

enum { CERT_FIND_MAX = 64, CERT_FIND_FILES = 512 };

struct cert_found {
	char cert[4096], key[4096]; /* key "": none that belongs to it was found */
	struct cert_report report;
};
/* fn for each, in the order of the folders; a folder that stands there twice is looked at once. now: for dates. */
void cert_find(const char *const *folders, size_t n, time_t now, void (*fn)(void *arg, const struct cert_found *f), void *arg);
