/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The YAML writer of `stile config export`: block maps, a line for a list of plain values, items of a list
 * of maps with a dash.
 *
 * Quoted texts are written as JSON strings, which YAML reads alike.
 */
#include <string.h>
#include "cli/config_yaml.h"
#include "common/text.h"

static bool is_word(const char *s) /* that YAML readers take for something else */
{
	static const char *const words[] = { "null", "true", "false", "yes", "no", "on", "off", "y", "n" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (text_ieq(text_of(s), text_of(words[i])))
			return true;
	return false;
}

static bool is_plain(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-+@");

	return n && !s[n] && s[0] != '-' && s[0] != '@' && s[0] != '.' && s[0] != '+' && !is_word(s);
}

static void put_scalar(FILE *f, const json_t *v)
{
	const char *s = json_string_value(v);

	if (s && is_plain(s))
		fputs(s, f);
	else if (json_is_null(v))
		fputs("~", f);
	else
		json_dumpf(v, f, JSON_ENCODE_ANY | JSON_COMPACT);
}

static bool is_nested(const json_t *v)
{
	return json_is_object(v) || json_is_array(v);
}

static void put_map(FILE *f, const json_t *map, int indent, bool first_in_place);

static void put_list(FILE *f, const json_t *list, int indent)
{
	bool flow = true;
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
		flow &= !is_nested(v);
	if (!flow)
		fputc('\n', f);
	else
		fputs(" [", f);
	json_array_foreach(list, i, v) {
		if (flow) {
			fputs(i ? ", " : "", f);
			put_scalar(f, v);
		} else {
			fprintf(f, "%*s- ", indent, "");
			put_map(f, v, indent + 2, true);
		}
	}
	if (flow)
		fputs("]\n", f);
}

static void put_map(FILE *f, const json_t *map, int indent, bool first_in_place)
{
	const char *key;
	json_t *v;

	if (json_is_object(map) && !json_object_size(map))
		fputs("{}\n", f);
	json_object_foreach((json_t *)map, key, v) {
		fprintf(f, "%*s%s:", first_in_place ? 0 : indent, "", key);
		first_in_place = false;
		if (json_is_array(v)) {
			put_list(f, v, indent + 2);
		} else if (json_is_object(v)) {
			fputs(json_object_size(v) ? "\n" : " ", f);
			put_map(f, v, indent + 2, false);
		} else {
			fputc(' ', f);
			put_scalar(f, v);
			fputc('\n', f);
		}
	}
}

void print_yaml(FILE *f, const json_t *root)
{
	put_map(f, root, 0, false);
}
