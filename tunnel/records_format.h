/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How bytes of a connection look to people, in the data log and in `stile relay watch` alike:
 *
 *   2026/11/21 13:04:00.123 Packet from 192.0.2.7:40000 to 10.3.100.14:25, 18 bytes
 *   00000000  48 45 4c 4f 20 65 78 61  6d 70 6c 65 2e 6f 72 67  |HELO example.org|
 *   00000010  0d 0a                                             |..|
 *
 * The offset counts the bytes of that direction from the connection's first. Only printable ASCII
 * stands between the bars, so nothing that a stranger sends can steer a terminal.
 */
#pragma once
#include "common/text.h"

enum {
	HEX_PER_LINE = 16,
	HEX_LINE_MAX = 96,  /* bytes of one line, newline included */
	HEX_HEAD_MAX = 224, /* of a head line with two addresses */
};

/* "2026/11/21 13:04:00", local time; with ms ".123" behind it. */
void format_time(struct sb *b, int64_t unix_ms, bool with_ms);
/* A head line with its newline. */
void format_packet_head(struct sb *b, int64_t unix_ms, const char *from, const char *to, size_t n);
/* One line for at most HEX_PER_LINE bytes; returns how many it showed. */
size_t format_hex_line(struct sb *b, uint64_t offset, const uint8_t *p, size_t n);
/* A text that a stranger may have chosen: what is not printable ASCII becomes \xNN; cut at 256 bytes. */
void format_safe(struct sb *b, const char *s);
