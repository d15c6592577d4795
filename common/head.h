/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one strict parser of heads made of a start line and headers (HTTP/1.1 per RFC 9112 without
 * obs-fold; SIP per RFC 3261 with folding), over the received buffer: it yields offsets, copies
 * nothing, allocates nothing, and never trusts a length. Bare CR or LF, NUL, blanks before the
 * colon, names that are not tokens, and single headers given twice are errors.
 */
#pragma once
#include "common/header_table.h"

enum head_error { /* positive module codes */
	HEAD_OK,
	HEAD_INCOMPLETE, /* no empty line yet; not an error on a stream */
	HEAD_TOO_LONG,
	HEAD_BAD_START_LINE,
	HEAD_BAD_LINE_END,
	HEAD_BAD_NAME,
	HEAD_BAD_VALUE,
	HEAD_DUPLICATE,
	HEAD_TOO_MANY,
};
const char *head_error_text(enum head_error e);

struct head_field {
	struct text name, value;   /* value trimmed; folded lines still contain their CRLF + blanks */
	const struct header_row *row; /* NULL: unknown header */
};
enum { HEAD_FOLDING = 1 << 0 /* accept SIP's line folding */ };

struct head {
	struct text start_line;
	struct head_field *fields; /* caller's array */
	unsigned n_fields, cap;
	size_t length; /* bytes up to and including the empty line */
};
/* fields: caller's array of cap entries. Returns HEAD_OK, HEAD_INCOMPLETE or the first error. */
enum head_error head_parse(struct text buf, const struct header_table *t, unsigned flags, size_t max_length,
			   struct head_field *fields, unsigned cap, struct head *ret_head);
const struct head_field *head_find(const struct head *h, uint16_t id); /* first; NULL if none */
/* The start line in its three words; HEAD_OK or HEAD_BAD_START_LINE. */
enum head_error head_start_words(struct text start_line, struct text ret_words[3]);
bool head_is_token(struct text t); /* RFC 9110 token characters, at least one */
