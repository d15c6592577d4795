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

void cli_print_day(const char *what, time_t t)
{
	char day[32];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(day, sizeof(day), "%Y-%m-%d %H:%M UTC", &tm);
	printf("  %-11s %s\n", what, day);
}

static void print_sayings(const struct cli *cli, const json_t *v, bool good, const char *what)
{
	size_t i;
	json_t *s;

	json_array_foreach(v, i, s) print_check(cli, good, what, json_string_value(s));
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

/* Whether it has no fault. */
static bool print_row(const struct cli *cli, const json_t *row, const char *service, bool needed)
{
	const json_t *faults = json_object_get(row, "faults"), *by = json_object_get(row, "listeners");
	size_t i;
	json_t *s;

	print_head(row);
	printf("  subject     %s\n  names       %s\n  issuer      %s\n  key         %s, %s\n",
	       text_of_key(row, "subject"), text_of_key(row, "names"), text_of_key(row, "issuer"), text_of_key(row, "kind"),
	       json_is_true(json_object_get(row, "key_matches")) ? "its key is there"
								 : "its key is not there");
	json_array_foreach(json_object_get(row, "chain"), i, s)
		printf("  chain       %s\n", json_string_value(s));
	cli_print_day("valid from", (time_t)json_integer_value(json_object_get(row, "not_before")));
	cli_print_day("until", (time_t)json_integer_value(json_object_get(row, "not_after")));
	json_array_foreach(by, i, s) printf("  shown at    %s\n", json_string_value(s));
	if (!needed)
		printf("  shown at    nowhere: no listener needs it\n");
	else if (!json_is_true(json_object_get(row, "at_work")))
		printf("  shown at    nowhere yet: stile reload %s puts it to work\n", service);
	print_sayings(cli, faults, false, "fault");
	print_sayings(cli, json_object_get(row, "warnings"), true, "warning");
	return json_array_size(faults) == 0;
}

int cli_certificates(struct cli *cli, const char *program, const char *verb, const char *none)
{
	json_t *result = NULL, *row;
	int r = cli_ask(cli, program, verb, NULL, &result);
	json_t *rows = json_object_get(result, "rows");
	bool good = true, needed = !json_is_false(json_object_get(result, "needed"));
	size_t i;

	if (r == 0 && cli_has(cli, "json")) {
		print_json(rows);
	} else if (r == 0) {
		json_array_foreach(rows, i, row) good &= print_row(cli, row, strchr(program, '-') + 1, needed);
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
