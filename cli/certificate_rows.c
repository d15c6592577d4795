/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates of a running service, as its verbs tell them (cert_row() of common/cert.h): for `stile sip certificate list` and
 * files, `stile turn certificate list` and files. A fault is a line with a cross and makes the exit status 1; so scripts see it,
 * too. Nothing is read here but the answer.
 */
#include <string.h>
#include <time.h>
#include "cli/command.h"
#include "common/json.h"

void cli_print_sayings(const struct cli *cli, const json_t *row)
{
	size_t i;
	json_t *s;

	json_array_foreach(json_object_get(row, "faults"), i, s) print_check(cli, false, "fault", json_string_value(s));
	json_array_foreach(json_object_get(row, "warnings"), i, s) print_check(cli, true, "warning", json_string_value(s));
}

/* Whom it is for: of a SIP listener, or of clients who ask for these names. */
static void print_head(const json_t *row)
{
	const json_t *names = json_object_get(row, "server_names");
	size_t i;
	json_t *s;

	printf("%s (", text_of_key(row, "file"));
	if (!json_array_size(names))
		printf("%s", *text_of_key(row, "for") && strcmp(text_of_key(row, "for"), "all") != 0 ? text_of_key(row, "for") : "for all listeners");
	json_array_foreach(names, i, s)
		printf("%s%s", i ? ", " : "for ", json_string_value(s));
	printf(")\n");
}

static void put(const char *what, const char *text, const char *more)
{
	printf("  %-11s ", what);
	print_clean(stdout, text);
	printf("%s\n", more);
}

static void put_day(const char *what, json_int_t unix_s)
{
	time_t t = (time_t)unix_s;
	char day[32] = "";
	struct tm tm;

	if (gmtime_r(&t, &tm))
		(void)strftime(day, sizeof(day), "%Y-%m-%d %H:%M UTC", &tm);
	put(what, day, "");
}

void cli_print_certificate(const json_t *row, const char *of_key)
{
	size_t i;
	json_t *s;

	put("subject", text_of_key(row, "subject"), "");
	put("names", text_of_key(row, "names"), "");
	put("issuer", text_of_key(row, "issuer"), "");
	put("key", text_of_key(row, "kind"), of_key);
	json_array_foreach(json_object_get(row, "chain"), i, s)
		put("chain", json_string_value(s), "");
	put_day("valid from", json_integer_value(json_object_get(row, "not_before")));
	put_day("until", json_integer_value(json_object_get(row, "not_after")));
}

static void print_row(const struct cli *cli, const json_t *row, const char *service, bool needed)
{
	const json_t *by = json_object_get(row, "listeners");
	size_t i;
	json_t *s;

	print_head(row);
	cli_print_certificate(row, json_is_true(json_object_get(row, "key_matches")) ? ", its key is there" : ", its key is not there");
	json_array_foreach(by, i, s) printf("  shown at    %s\n", json_string_value(s));
	if (!needed)
		printf("  shown at    nowhere: no listener needs it\n");
	else if (!json_is_true(json_object_get(row, "at_work")))
		printf("  shown at    nowhere yet: stile reload %s puts it to work\n", service);
	cli_print_sayings(cli, row);
}

int cli_certificates(struct cli *cli, const char *program, const char *verb, const char *none)
{
	json_t *result = NULL, *row;
	int r = cli_ask(cli, program, verb, NULL, &result);
	json_t *rows = json_object_get(result, "rows");
	bool good = true, needed = !json_is_false(json_object_get(result, "needed"));
	size_t i;

	json_array_foreach(rows, i, row) good &= json_array_size(json_object_get(row, "faults")) == 0;
	if (r == 0 && cli_has(cli, "json")) {
		print_json(rows);
	} else if (r == 0) {
		json_array_foreach(rows, i, row) print_row(cli, row, strchr(program, '-') + 1, needed);
		if (!json_array_size(rows))
			printf("no certificates: %s\n", none);
	}
	json_decref(result);
	return r == 0 && !good ? EXIT_FAILED : r;
}

static const struct column file_columns[] = {
	{ "file", "FILE", COL_TEXT }, { "key", "KEY", COL_TEXT }, { "subject", "SUBJECT", COL_TEXT }, { "names", "NAMES", COL_TEXT },
	{ "days_left", "DAYS LEFT", COL_COUNT },
};

int cli_certificate_files(struct cli *cli, const char *program, const char *verb)
{
	json_t *result = NULL;
	int r = cli_ask(cli, program, verb, NULL, &result);

	if (r == 0)
		print_list(cli, file_columns, ARRAY_LEN(file_columns), json_object_get(result, "rows"), "no certificates in these folders");
	json_decref(result);
	return r;
}
