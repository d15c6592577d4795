/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz target: one line of the control protocol (control_parse_line), as any local process may send
 * it to a service. What is accepted is an object within the bounds, and survives being written and
 * read again.
 */
#include <assert.h>
#include <string.h>
#include "common/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned depth_of(const json_t *v)
{
	unsigned deepest = 0, d;
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_array(v)) {
		json_array_foreach(v, i, item)
			if ((d = depth_of(item)) > deepest)
				deepest = d;
	} else if (json_is_object(v)) {
		json_object_foreach((json_t *)v, key, item)
			if ((d = depth_of(item)) > deepest)
				deepest = d;
	} else {
		return 0;
	}
	return deepest + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1), *again;
	json_t *o = NULL, *o2 = NULL;
	const char *why = NULL;
	int r;

	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	r = control_parse_line((struct text){ copy, size }, &o, &why);
	if (r < 0) {
		assert(!o && why);
	} else {
		assert(json_is_object(o) && depth_of(o) <= CONTROL_MAX_DEPTH);
		again = json_dumps(o, JSON_COMPACT);
		/* Escapes may grow a line past the limit, then it is not one to be read again. */
		if (again && strlen(again) <= CONTROL_MAX_LINE) {
			assert(control_parse_line(text_of(again), &o2, &why) == 0);
			assert(json_equal(o, o2));
			json_decref(o2);
		}
		free(again);
		json_decref(o);
	}
	free(copy);
	return 0;
}
