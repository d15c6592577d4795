/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip interface list, add, set, on, off, remove, detect: where the proxy listens, changed while it runs.
 *
 * What the configuration file has is changed there; the others are objects of the store, by their name
 * transport:address:port.
 */
#include <string.h>
#include "cli/sip.h"
#include "common/json.h"
#include "common/text.h"

static const struct column columns[] = {
	{ "name", "INTERFACE", COL_TEXT },
	{ "state", "STATE", COL_TEXT },
	{ "from", "FROM", COL_TEXT },
	{ "public", "KNOWN AS", COL_TEXT },
	{ "nat", "NAT", COL_TEXT },
	{ "connections", "CONNS", COL_COUNT },
	{ "certificate", "CERTIFICATE", COL_TEXT },
	{ "warn", "WARNING", COL_TEXT },
	{ "why", "WHY", COL_TEXT },
};
static const struct column public_columns[] = {
	{ "address", "ADDRESS", COL_TEXT },
	{ "public", "PUBLIC", COL_TEXT },
	{ "nat", "NAT", COL_TEXT },
	{ "server", "SEEN BY", COL_TEXT },
	{ "why", "WHY NOT", COL_TEXT },
};

static int run_list(struct cli *cli)
{
	return sip_show(cli, &(struct sip_shown){ "sip.interface.list", "no interfaces", columns,
						  ARRAY_LEN(columns) });
}

static int run_detect(struct cli *cli)
{
	return sip_show(cli, &(struct sip_shown){ "sip.interface.detect",
						  "no interface has advertise: auto",
						  public_columns, ARRAY_LEN(public_columns) });
}

static void print_public(const char *what, const json_t *result, const char *key)
{
	const char *s = text_of_key(result, key);

	if (*s)
		printf("  %-10s %s\n", what, s);
}

/* One question, of any address of this machine. */
static int run_determine(struct cli *cli)
{
	json_t *result = NULL;
	int r = sip_call(cli, "sip.interface.determine", json_pack("{s:s}", "address", cli->n_words ? cli->words[0] : "0.0.0.0"), &result);

	if (r == 0 && cli_has(cli, "json")) {
		print_json(result);
	} else if (r == 0) {
		print_public("address", result, "address");
		print_public("public", result, "public");
		print_public("why not", result, "why");
		print_public("seen by", result, "server");
		print_public("NAT", result, "nat");
		print_public("means", result, "means");
	}
	if (r == 0 && !*text_of_key(result, "public"))
		r = EXIT_FAILED;
	json_decref(result);
	return r;
}

static int change(struct cli *cli, const char *verb, json_t *args, const char *done)
{
	return sip_change(cli, "interface", verb, args, done);
}

/* The keys that were given as options; "" takes one back to its default. */
static json_t *keys(const struct cli *cli)
{
	static const char *const names[] = { "certificate", "key", "ca", "advertise" };
	json_t *o = json_object();

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *v = cli_option(cli, names[i]);
		if (v)
			json_object_set_new(o, names[i], *v ? json_string(v) : json_null());
	}
	return o;
}

static int run_add(struct cli *cli)
{
	json_t *o = keys(cli);

	json_object_set_new(o, "listen", json_string(cli->words[0]));
	json_object_set_new(o, "active", json_boolean(!cli_has(cli, "off")));
	return change(cli, "sip.interface.put", json_pack("{s:o}", "interface", o),
		      cli_has(cli, "off") ? "is there, switched off" : "is listening");
}

static int set(struct cli *cli, json_t *o, const char *done)
{
	return change(cli, "sip.interface.set",
		      json_pack("{s:s, s:o}", "name", cli->words[0], "interface", o), done);
}

static int run_set(struct cli *cli)
{
	return set(cli, keys(cli), "is changed");
}

static int run_on(struct cli *cli)
{
	return set(cli, json_pack("{s:b}", "active", 1), "is listening");
}

static int run_off(struct cli *cli)
{
	return set(cli, json_pack("{s:b}", "active", 0),
		   "is switched off; its connections go on until they end");
}

static int run_remove(struct cli *cli)
{
	return change(cli, "sip.interface.delete", cli_named(cli),
		      "is removed; its connections go on until they end");
}

#define KEYS                                                                                         \
	{ "certificate", 0, "FILE", "its certificate with the chain (default: sip.certificate)",     \
	  false },                                                                                   \
		{ "key", 0, "FILE", "its private key", false },                                      \
		{ "ca", 0, "FILE", "CAs that others' certificates must come from here", false },     \
	{                                                                                            \
		"advertise", 0, "HOST[:PORT]", "what others reach it by; auto: found by STUN", false \
	}
static const struct option_row add_options[] = {
	KEYS,
	{ "off", 0, NULL, "make it, but do not listen yet", false },
};
static const struct option_row set_options[] = { KEYS };

static const struct command rows[] = {
	{ "sip interface list", "",
	  "where a running stile-sip listens, how it is known outside, and why not",
	  "KNOWN AS is what stands in Via, Record-Route and Contact behind a NAT.", NULL, 0, 0, 0,
	  run_list, WITHOUT_CONFIG },
	{ "sip interface add", "TRANSPORT:ADDRESS:PORT", "listen there, at once",
	  "TRANSPORT is udp, tcp, tls, mtls, ws or wss. Tried before it is kept: a port that is taken, a certificate that is not\n"
	  "good are refused with the reason.",
	  add_options, ARRAY_LEN(add_options), 1, 1, run_add, WITHOUT_CONFIG },
	{ "sip interface set", "NAME", "change certificate or public address of one, at once",
	  "An option with an empty value takes the key back to its default.", set_options,
	  ARRAY_LEN(set_options), 1, 1, run_set, WITHOUT_CONFIG },
	{ "sip interface on", "NAME", "switch one on", NULL, NULL, 0, 1, 1, run_on, WITHOUT_CONFIG },
	{ "sip interface off", "NAME", "switch one off; its connections go on", NULL, NULL, 0, 1, 1,
	  run_off, WITHOUT_CONFIG },
	{ "sip interface remove", "NAME", "remove one of the store; its connections go on", NULL,
	  NULL, 0, 1, 1, run_remove, WITHOUT_CONFIG },
	{ "sip interface detect", "", "ask the STUN servers for the public addresses, at once",
	  "For interfaces with advertise: auto. What comes of it is used at once and followed from then on.",
	  NULL, 0, 0, 0, run_detect, WITHOUT_CONFIG },
	{ "sip interface determine", "[ADDRESS]", "by what public address one of ours is seen, and what NAT is in front of it",
	  "ADDRESS is one of this machine's (default: the system's choice). Asked of stun_servers; nothing is changed.", NULL, 0, 0, 1,
	  run_determine, WITHOUT_CONFIG },
};
const struct command_table sip_interface_commands = { rows, ARRAY_LEN(rows) };
