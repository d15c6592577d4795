/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request to a share's HTTP server asks for: its path, and the ranges of its heads. Strangers write all of it. No I/O, and
 * nothing is kept; texts are slices of what was given.
 *
 * RFC 9110: Range (14.2; one range, for several are answered as if there was none), Content-Range (14.4), If-Range (13.1.5).
 */
#pragma once
#include "share/code.h"

enum share_place {
	SHARE_AT_NOTHING, /* 404 */
	SHARE_AT_PAGE,	  /* "", "/" and what the page needs: rest */
	SHARE_AT_META,
	SHARE_AT_ENTRY,	  /* number */
	SHARE_AT_HASH,	  /* number */
	SHARE_AT_ARCHIVE,
	SHARE_AT_UPLOAD, /* salt */
	SHARE_AT_DONE,
	SHARE_AT_PLAIN_META,
	SHARE_AT_PLAIN_FILE, /* rest: its path */
	SHARE_AT_PLAIN_ARCHIVE,
	SHARE_AT_PLAIN_UPLOAD, /* rest: its name */
	SHARE_PLACES
};
struct share_where {
	enum share_place place;
	uint64_t id; /* of the share */
	uint64_t number;
	uint8_t salt[SHARE_SALT];
	struct text rest;
};
/* path: decoded, without the query. */
struct share_where share_where(struct text path);
/* A path below a folder, or a name (one_name): UTF-8, relative, no empty part, no "." or "..", no control characters. */
bool share_path_good(struct text path, bool one_name);

enum share_range { SHARE_RANGE_ALL, SHARE_RANGE_PART, SHARE_RANGE_NOT /* 416 */ };
/* Of something of size bytes; range: the header, or empty. A form that we do not know asks for all of it. */
enum share_range share_range(struct text range, uint64_t size, uint64_t *ret_first, uint64_t *ret_n);
/* "bytes A-B/T": whole and true to itself, or -EINVAL. */
int share_content_range(struct text range, uint64_t *ret_first, uint64_t *ret_n, uint64_t *ret_total);
/* "\"…\"" among the tags of an If-Range or If-None-Match, or "*". */
bool share_tag_matches(struct text header, const char *tag);
