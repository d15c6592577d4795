/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read out of a JSON object in one word: of control verbs' arguments, of rows that a service answered, of bodies in
 * a store. A key that is not there, or has a value of another type, is as one that is empty. Texts live as long as
 * their value.
 */
#pragma once
#include <jansson.h>

/* "" where there is none. */
static inline const char *text_of_key(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* NULL where there is none or it is empty: for arguments that may be left out. */
static inline const char *word_of_key(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && *s ? s : NULL;
}

static inline long long number_of_key(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}
