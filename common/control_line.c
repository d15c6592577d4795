/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of control input: what a stranger on the socket may make us parse.
 *
 * Length, depth and the number of values are bounded before the JSON parser sees a byte, because
 * its own bounds are fixed when it is built and its memory grows with the number of values, not of
 * bytes. Duplicate keys, NUL in strings, bad UTF-8, anything after the object, and a line
 * that is no object are refused.
 */
#include <errno.h>
#include "common/control.h"

enum { CONTROL_MAX_VALUES = 1 << 16 };

static int refuse(int err, const char *why, const char **ret_why)
{
	*ret_why = why;
	return err;
}

/* Counts nesting and separators outside strings. It need not know JSON: what it misjudges is no JSON
 * and fails in the parser, which reads the same bytes up to the first error with the same lexing. */
static int check_bounds(struct text line, const char **ret_why)
{
	unsigned depth = 0, values = 0;
	bool quoted = false;

	for (size_t i = 0; i < line.n; i++) {
		char c = line.p[i];
		if (quoted) {
			if (c == '\\')
				i++;
			else if (c == '"')
				quoted = false;
			continue;
		}
		if (c == '"')
			quoted = true;
		else if (c == '{' || c == '[')
			depth++, values++;
		else if ((c == '}' || c == ']') && depth)
			depth--;
		else if (c == ',' || c == ':')
			values++;
		if (depth > CONTROL_MAX_DEPTH)
			return refuse(-EMSGSIZE, "nested too deeply", ret_why);
		if (values > CONTROL_MAX_VALUES)
			return refuse(-EMSGSIZE, "too many values", ret_why);
	}
	return 0;
}

static int refuse_json(const json_error_t *e, const char **ret_why)
{
	static const struct {
		enum json_error_code code;
		int err;
		const char *why;
	} reasons[] = {
		{ json_error_out_of_memory, -ENOMEM, "out of memory" },
		{ json_error_duplicate_key, -EINVAL, "a key stands twice in one object" },
		{ json_error_null_character, -EINVAL, "a NUL byte in a string" },
		{ json_error_null_byte_in_key, -EINVAL, "a NUL byte in a key" },
		{ json_error_numeric_overflow, -EINVAL, "a number out of range" },
		{ json_error_end_of_input_expected, -EINVAL, "something follows the object" },
	};

	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (json_error_code(e) == reasons[i].code)
			return refuse(reasons[i].err, reasons[i].why, ret_why);
	return refuse(-EINVAL, "not JSON", ret_why);
}

int control_parse_line(struct text line, json_t **ret_obj, const char **ret_why)
{
	json_error_t e;
	json_t *o;
	int r;

	if (line.n > CONTROL_MAX_LINE)
		return refuse(-EMSGSIZE, "the line is too long", ret_why);
	if (!text_is_utf8(line))
		return refuse(-EINVAL, "not UTF-8", ret_why);
	r = check_bounds(line, ret_why);
	if (r < 0)
		return r;
	o = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &e);
	if (!o)
		return refuse_json(&e, ret_why);
	if (!json_is_object(o)) {
		json_decref(o);
		return refuse(-EINVAL, "not a JSON object", ret_why);
	}
	*ret_obj = o;
	return 0;
}
