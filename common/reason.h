/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A refusal's stable word, for whoever shows it in another language: it is made of the sentence's form, so that each refusal has one
 * without a table. "there is no connection %llu" is "there-is-no-connection", and its values are what stands in the gaps.
 *
 * Words of a catalogue are "reason.WORD", with {0}, {1} … for the values; without one the sentence is shown as it is. A form that
 * is changed gets another word, and its sentence is shown again until the catalogue knows it.
 */
#pragma once
#include <jansson.h>
#include "common/defs.h"

enum { REASON_WORD = 72 };
void reason_word(const char *fmt, char out[static REASON_WORD]); /* "": the form is nothing but gaps */
/* [strings], in their order; NULL: there are none, or where one ends cannot be told. */
json_t *reason_values(const char *fmt, const char *text);
