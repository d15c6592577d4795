/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip certificate list, check, request, self-signed: what the listeners show, what is wrong with a file before it is
 * put to work, and new keys with a request for a CA or, for tests, with a certificate that signs itself.
 *
 * Only list asks a running service; the others read and write files of whoever calls them (common/cert.h).
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "cli/sip.h"
#include "common/cert.h"
#include "common/text.h"

static const char *string(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void print_day(const char *what, time_t t)
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

/* ---- list ---- */

static bool print_row(const struct cli *cli, const json_t *row)
{
	const json_t *faults = json_object_get(row, "faults"), *by = json_object_get(row, "listeners");
	bool good = json_array_size(faults) == 0;
	size_t i;
	json_t *s;

	printf("%s (%s)\n", string(row, "file"),
	       strcmp(string(row, "for"), "all") ? string(row, "for") : "for all listeners");
	printf("  subject     %s\n  names       %s\n  issuer      %s\n  key         %s, %s\n",
	       string(row, "subject"), string(row, "names"), string(row, "issuer"), string(row, "kind"),
	       json_is_true(json_object_get(row, "key_matches")) ? "its key is there"
								 : "its key is not there");
	json_array_foreach(json_object_get(row, "chain"), i, s)
		printf("  chain       %s\n", json_string_value(s));
	print_day("valid from", (time_t)json_integer_value(json_object_get(row, "not_before")));
	print_day("until", (time_t)json_integer_value(json_object_get(row, "not_after")));
	if (json_is_true(json_object_get(row, "at_work")))
		json_array_foreach(by, i, s) printf("  shown at    %s\n", json_string_value(s));
	else
		printf("  shown at    nowhere yet: stile reload sip puts it to work\n");
	print_sayings(cli, faults, false, "fault");
	print_sayings(cli, json_object_get(row, "warnings"), true, "warning");
	return good;
}

static const struct column file_columns[] = {
	{ "file", "FILE", COL_TEXT },	  { "key", "KEY", COL_TEXT },
	{ "subject", "SUBJECT", COL_TEXT }, { "names", "NAMES", COL_TEXT },
	{ "days_left", "DAYS LEFT", COL_COUNT },
};

static int run_files(struct cli *cli)
{
	return sip_show(cli, &(struct sip_shown){ "sip.certificate.files", "no certificates in these folders", file_columns,
						  ARRAY_LEN(file_columns) });
}

static int run_list(struct cli *cli)
{
	json_t *result = NULL, *row;
	int r = sip_call(cli, "sip.certificates", NULL, &result);
	json_t *rows = json_object_get(result, "rows");
	bool good = true;
	size_t i;

	if (r == 0 && cli_has(cli, "json")) {
		print_json(rows);
	} else if (r == 0) {
		json_array_foreach(rows, i, row) good &= print_row(cli, row);
		if (!json_array_size(rows))
			printf("no certificates: sip.certificate and sip.key name the files\n");
	}
	json_decref(result);
	return r == 0 && !good ? EXIT_FAILED : r;
}

/* ---- check ---- */

static int run_check_file(struct cli *cli)
{
	const struct cert_files f = { .cert = cli->words[0],
				      .key = cli_option(cli, "key"),
				      .ca = cli_option(cli, "ca"),
				      .name = cli_option(cli, "name") };
	struct cert_report r;

	cert_examine(&f, time(NULL), &r);
	if (r.readable) {
		printf("  subject     %s\n  names       %s\n  issuer      %s\n  key         %s\n",
		       r.info.subject, r.info.sans, r.info.issuer, r.key_kind);
		for (unsigned i = 0; i < r.n_chain; i++)
			printf("  chain       %s\n", r.chain[i]);
		print_day("valid from", r.info.not_before);
		print_day("until", r.info.not_after);
	}
	for (unsigned i = 0; i < r.n_faults; i++)
		print_check(cli, false, "fault", r.faults[i]);
	for (unsigned i = 0; i < r.n_warnings; i++)
		print_check(cli, true, "warning", r.warnings[i]);
	if (!r.n_faults)
		print_check(cli, true, "usable",
			    f.key ? "certificate and key belong together"
				  : "--key FILE looks at its key, too");
	return r.n_faults ? EXIT_FAILED : 0;
}

/* ---- request, self-signed ---- */

static int make(struct cli *cli, unsigned days)
{
	struct cert_wish w = { .key_file = cli_option(cli, "key"),
			       .out_file = cli_option(cli, "out"),
			       .days = days };
	char err[TLS_ERRLEN];
	int r;

	if (!w.key_file || !w.out_file) {
		fprintf(stderr, "stile %s: --key FILE and --out FILE say where to\n",
			cli->command->name);
		return EXIT_USAGE;
	}
	for (unsigned i = 0; i < cli->n_words; i++)
		w.names[w.n_names++] = cli->words[i];
	r = cert_make(&w, err);
	if (r < 0)
		return cli_fail(cli, "%s", err);
	if (days)
		printf("%s is for tests: others trust it only if they are told to. Key: %s\n",
		       w.out_file, w.key_file);
	else
		printf("%s is for your CA; what it sends back goes into the file of sip.certificate, with its chain behind it. Key: %s\n",
		       w.out_file, w.key_file);
	return 0;
}

static int run_request(struct cli *cli)
{
	return make(cli, 0);
}

static int run_self_signed(struct cli *cli)
{
	uint64_t days = 90;
	int r = cli_number(cli, "days", 1, 3650, &days);

	return r ? r : make(cli, (unsigned)days);
}

static const struct option_row check_options[] = {
	{ "key", 0, "FILE", "its private key", false },
	{ "ca", 0, "FILE", "CAs that should vouch for it", false },
	{ "name", 0, "NAME", "the domain that it should be for, without wildcards", false },
};
static const struct option_row request_options[] = {
	{ "key", 0, "FILE", "its private key: used if it is there, else made", false },
	{ "out", 0, "FILE", "where the request goes; must not be there", false },
};
static const struct option_row self_signed_options[] = {
	{ "key", 0, "FILE", "its private key: used if it is there, else made", false },
	{ "out", 0, "FILE", "where the certificate goes; must not be there", false },
	{ "days", 0, "N", "how long it is valid (default 90)", false },
};

static const struct command rows[] = {
	{ "sip certificate list", "",
	  "the certificates of a running stile-sip: names, issuer, validity, chain, key",
	  "Exit status 1 if one has a fault. A warning comes from 30 days before the end.", NULL, 0,
	  0, 0, run_list, WITHOUT_CONFIG },
	{ "sip certificate files", "", "certificates to choose from, with their keys",
	  "The PEM files in the folders of the configuration and of its certificates.", NULL, 0, 0, 0, run_files, WITHOUT_CONFIG },
	{ "sip certificate check", "FILE", "what is wrong with a certificate, before it is put to work",
	  "Looks at dates, order of the chain, key, CAs and name, and says each fault in a sentence.",
	  check_options, ARRAY_LEN(check_options), 1, 1, run_check_file,
	  WITHOUT_CONFIG | WITHOUT_SERVICE },
	{ "sip certificate request", "NAME...", "a key and a request for a CA (CSR)",
	  "NAMEs are the domains and hosts that the certificate should be for: those of sip.domains first (RFC 5922).",
	  request_options, ARRAY_LEN(request_options), 1, CLI_MAX_WORDS, run_request,
	  WITHOUT_CONFIG | WITHOUT_SERVICE },
	{ "sip certificate self-signed", "NAME...", "a key and a certificate that signs itself, for tests",
	  NULL, self_signed_options, ARRAY_LEN(self_signed_options), 1, CLI_MAX_WORDS,
	  run_self_signed, WITHOUT_CONFIG | WITHOUT_SERVICE },
};
const struct command_table sip_certificate_commands = { rows, ARRAY_LEN(rows) };
