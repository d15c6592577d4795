/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip certificate list, check, request, self-signed: what the listeners show, what is wrong with a file before it is
 * put to work, and new keys with a request for a CA or, for tests, with a certificate that signs itself.
 *
 * Only list and files ask a running service; the others read and write files of whoever calls them (common/cert.h).
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "cli/command.h"
#include "common/cert.h"
#include "common/text.h"

static int run_files(struct cli *cli)
{
	return cli_certificate_files(cli, "stile-sip", "sip.certificate.files");
}

static int run_list(struct cli *cli)
{
	return cli_certificates(cli, "stile-sip", "sip.certificates", "sip.certificate and sip.key name the files");
}

/* ---- check ---- */

static int run_check_file(struct cli *cli)
{
	const struct cert_files f = { .cert = cli->words[0],
				      .key = cli_option(cli, "key"),
				      .ca = cli_option(cli, "ca"),
				      .name = cli_option(cli, "name") };
	struct cert_report r;
	json_t *row;

	cert_examine(&f, time(NULL), &r);
	row = cert_report_row(&f, &r);
	if (!row)
		return cli_fail(cli, "out of memory");
	if (cli_has(cli, "json")) {
		print_json(row);
	} else {
		if (r.readable)
			cli_print_certificate(row, "");
		cli_print_sayings(cli, row);
		if (!r.n_faults)
			print_check(cli, true, "usable", f.key ? "certificate and key belong together" : "--key FILE looks at its key, too");
	}
	json_decref(row);
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

	if (!w.key_file || !w.out_file)
		return cli_wrong(cli, "--key FILE and --out FILE say where to");
	for (unsigned i = 0; i < cli->n_words; i++)
		w.names[w.n_names++] = cli->words[i];
	r = cert_make(&w, err);
	if (r < 0)
		return cli_fail(cli, "%s", err);
	if (cli_has(cli, "json")) {
		json_t *j = json_pack("{s:s, s:s}", "file", w.out_file, "key", w.key_file);
		print_json(j);
		json_decref(j);
	} else if (days) {
		printf("%s is for tests: others trust it only if they are told to. Key: %s\n",
		       w.out_file, w.key_file);
	} else {
		printf("%s is for your CA; what it sends back goes into the file of sip.certificate, with its chain behind it. Key: %s\n",
		       w.out_file, w.key_file);
	}
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
