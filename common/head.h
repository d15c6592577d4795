/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one strict parser of heads made of a start line and headers (HTTP/1.1 per RFC 9112 without
 * obs-fold; SIP per RFC 3261), over the received buffer: it yields offsets, copies nothing,
 * allocates nothing, and never trusts a length. Bare CR or LF, control characters, blanks before
 * the colon, names that are not tokens, and single headers given twice are errors.
 *
 * What SIP allows beyond that is switched on by flags, never by default: in HTTP each of them is a
 * way to smuggle a request past somebody.
 */
#pragma once
#include "common/header_table.h"

/* Positive module codes. */
enum head_error {
	HEAD_OK,
	HEAD_INCOMPLETE, /* no empty line yet; not an error on a stream */
	HEAD_TOO_LONG,
	HEAD_BAD_START_LINE,
	HEAD_BAD_LINE_END, /* bare CR or LF */
	HEAD_BAD_NAME,
	HEAD_BAD_VALUE, /* a control character, in whatever line */
	HEAD_DUPLICATE,
	HEAD_TOO_MANY,
};
const char *head_error_text(enum head_error e);

struct head_field {
	struct text name, value; /* value trimmed; folded lines still contain their CRLF + blanks */
	const struct header_row *row; /* NULL: unknown header */
};
enum {
	/* A line that begins with a blank continues the one before it. */
	HEAD_FOLDING = 1 << 0,
	/* "To : x": RFC 3261's HCOLON, sent in RFC 4475 3.1.1.1. */
	HEAD_COLON_BLANKS = 1 << 1,
	/* In quotes, a backslash and a control character but CR and LF: quoted-pair, RFC 4475 3.1.1.2. */
	HEAD_ESCAPES = 1 << 2,
	/* Whoever has to answer a bad message needs what is good of it: a header at fault is left out
	 * (its folded lines, too; of a single one given twice the second), the first error is returned
	 * at the end, and *ret_head is filled in. Its length is 0 if the end of the head was not found. */
	HEAD_GO_ON = 1 << 3,
	HEAD_SIP = HEAD_FOLDING | HEAD_COLON_BLANKS | HEAD_ESCAPES,
};

/* What a protocol allows; one const of it per protocol. */
struct head_rules {
	const struct header_table *table;
	unsigned flags;
	size_t max_length; /* of the whole head */
};

struct head {
	struct text start_line;
	struct head_field *fields; /* caller's array */
	unsigned n_fields, cap;
	size_t length; /* bytes up to and including the empty line */
};
/* fields: caller's array of cap entries. Returns HEAD_OK, HEAD_INCOMPLETE or the first error; what
 * it says about a beginning of a message it also says about the whole, or HEAD_INCOMPLETE. The start
 * line is only checked for being one: a SIP server answers to a bad one, and needs the headers for
 * that. */
enum head_error head_parse(struct text buf, const struct head_rules *rules,
			   struct head_field *fields, unsigned cap, struct head *ret_head);
const struct head_field *head_find(const struct head *h, uint16_t id); /* first; NULL if none */
/* The start line in its three words: method, target, version; or version, three digits, reason
 * (which may be empty and hold blanks). HEAD_OK or HEAD_BAD_START_LINE. Which one it is shows in
 * the first word: only a version holds a slash. */
enum head_error head_start_words(struct text start_line, struct text ret_words[3]);
bool head_is_token(struct text t); /* RFC 9110 token characters, at least one */
