/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes that people read out and type: bytes as digits of Crockford's base32, which has no I, L, O and U, so that what is read out
 * over the telephone has one spelling. n bytes are n * 8 / 5 digits, rounded down; the bits of the last byte that no digit holds
 * are not written, and zero when they are read. Checksums and what else stands in a code are its owner's.
 */
#pragma once
#include "common/text.h"

/* A dash behind each group of so many digits. */
void crockford_write(struct sb *b, const uint8_t *bytes, size_t n, unsigned group);
/* Case, blanks, dashes, O for 0, I and L for 1 do not matter. 0; -EILSEQ: a character that no code has; -EMSGSIZE: too few or too many. */
int crockford_read(struct text t, uint8_t *bytes, size_t n);
