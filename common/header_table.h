/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header names of text protocols (SIP, HTTP-like heads): one table per protocol, looked up without
 * regard to case. A seeded-free perfect-enough hash finds a candidate row, the name confirms it, so
 * a crafted name can never be taken for another header. Compact forms (SIP) are part of the row.
 */
#pragma once
#include "common/text.h"

enum {
	HDR_SINGLE = 1 << 0, /* at most once in a message */
	HDR_LIST = 1 << 1,   /* comma-separated values may share a line */
};
struct header_row {
	const char *name;
	char compact; /* 0: none */
	uint8_t flags;
	uint16_t id; /* > 0; unique in the table */
};
enum { HEADER_TABLE_MAX = 256 }; /* rows: a parser keeps one bit for each */
struct header_table {
	const struct header_row *rows;
	uint16_t n_rows;
	struct header_slot *slots; /* 4× n_rows rounded up to a power of two */
	uint16_t mask;
};
struct header_slot {
	uint16_t row; /* + 1; 0: empty */
	uint16_t n;   /* length of the name (or of the compact form) that led here */
};
/* rows stay the caller's. -ENOMEM, or -EINVAL for a table that contradicts itself: a name, compact
 * form or id used twice, an id of 0, no rows or more than HEADER_TABLE_MAX. */
int header_table_init(struct header_table *t, const struct header_row *rows, uint16_t n_rows);
void header_table_deinit(struct header_table *t); /* fine on a zeroed one */
/* NULL: unknown. */
const struct header_row *header_find(const struct header_table *t, struct text name);
