/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile sip status, transactions, flows, health, kick, trace: a running stile-sip. Each is a call of a control verb and
 * its answer as a table or as JSON. A trace is written as it comes, so that what was seen is in the file whenever it
 * ends.
 */
#include "cli/sip.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "common/cert.h"
#include "common/json.h"
#include "common/service.h"
#include "common/text.h"

enum { HEP_PORT = 9060 };

const char SIP_PROGRAM[] = "stile-sip";

int sip_call(struct cli *cli, const char *verb, json_t *args, json_t **ret_result)
{
	return cli_ask(cli, SIP_PROGRAM, verb, args, ret_result);
}

/* ---- status ---- */

/* Of its certificate; 0 for one that has none. */
static long long days_left(const json_t *l)
{
	return json_object_get(l, "not_after") ? cert_days_left(number_of_key(l, "not_after"), time(NULL)) : 0;
}

static void print_listener(const struct cli *cli, const json_t *l)
{
	long long left = days_left(l);
	bool cert = json_object_get(l, "not_after") != NULL;
	char line[512], age[32];
	struct sb b = sb_init(age, sizeof age);

	sb_duration(&b, left < 0 ? (uint64_t)(time(NULL) - number_of_key(l, "not_after")) * 1000 : 0);
	if (json_is_true(json_object_get(l, "removed")))
		snprintf(line, sizeof line, "removed; %lld connections go on", number_of_key(l, "connections"));
	else if (cert && left < 0)
		snprintf(line, sizeof line, "its certificate expired %s ago: %.200s", age, text_of_key(l, "certificate"));
	else if (cert)
		snprintf(line, sizeof line, "%lld connections; certificate %.200s, %lld days left%s",
			 number_of_key(l, "connections"), text_of_key(l, "certificate"), left,
			 left < 30 ? ": renew it" : "");
	else
		snprintf(line, sizeof line, "%lld connections", number_of_key(l, "connections"));
	char what[96];
	snprintf(what, sizeof what, "%s:%s%s", text_of_key(l, "transport"), text_of_key(l, "address"),
		 json_is_true(json_object_get(l, "lan")) ? " (lan)" : "");
	print_check(cli, left >= 0, what, line);
}

static void print_status(const struct cli *cli, const json_t *st)
{
	const json_t *domains = json_object_get(st, "domains");
	size_t i;
	json_t *row;

	printf("domains      ");
	print_strings(domains, ", ");
	printf("%s\ntransactions %lld under way, %lld over and kept; %lld messages wait\n",
	       json_array_size(domains) ? "" : "none", number_of_key(st, "transactions"), number_of_key(st, "kept"), number_of_key(st, "waiting"));
	printf("connections  %lld; %lld sources remembered\n", number_of_key(st, "connections"),
	       number_of_key(st, "sources"));
	if (number_of_key(st, "traces"))
		printf("traces       %lld under way\n", number_of_key(st, "traces"));
	json_array_foreach(json_object_get(st, "listeners"), i, row) print_listener(cli, row);
	json_array_foreach(json_object_get(st, "routes"), i, row)
		printf("route        %s → %s:%lld by %s%s\n", text_of_key(row, "domain"),
		       text_of_key(row, "host"), number_of_key(row, "port"), text_of_key(row, "transport"),
		       json_is_true(json_object_get(row, "active")) ? "" : ", switched off");
}

static int run_status(struct cli *cli)
{
	json_t *st = NULL, *row;
	bool good = true;
	size_t i;
	int r = sip_call(cli, "sip.status", NULL, &st);

	if (r == 0 && cli_has(cli, "json"))
		print_json(st);
	else if (r == 0)
		print_status(cli, st);
	json_array_foreach(json_object_get(st, "listeners"), i, row)
		good &= days_left(row) >= 0;
	json_decref(st);
	return r == 0 && !good ? EXIT_FAILED : r;
}

/* ---- lists ---- */

static const struct column transaction_columns[] = {
	{ "side", "SIDE", COL_TEXT },	  { "method", "METHOD", COL_TEXT },
	{ "state", "STATE", COL_TEXT },	  { "transport", "TRANSPORT", COL_TEXT },
	{ "peer", "PEER", COL_TEXT },	  { "connection", "CONN", COL_COUNT },
	{ "bytes", "MEMORY", COL_BYTES }, { "age_ms", "AGE", COL_MS },
};
static const struct column flow_columns[] = {
	{ "id", "CONN", COL_COUNT },	  { "transport", "TRANSPORT", COL_TEXT },
	{ "direction", "WAY", COL_TEXT }, { "state", "STATE", COL_TEXT },
	{ "remote", "PEER", COL_TEXT },	  { "local", "OURS", COL_TEXT },
	{ "name", "IDENTITY", COL_TEXT }, { "in", "IN", COL_COUNT },
	{ "out", "OUT", COL_COUNT },	  { "queued", "QUEUED", COL_BYTES },
	{ "idle_ms", "IDLE", COL_MS },	  { "age_ms", "AGE", COL_MS },
};
static const struct column health_columns[] = {
	{ "transport", "TRANSPORT", COL_TEXT }, { "address", "ADDRESS", COL_TEXT },
	{ "failures", "FAILURES", COL_COUNT },	{ "error", "LAST", COL_TEXT },
	{ "retry_ms", "BEHIND FOR", COL_MS },
};

static const struct column registration_columns[] = {
	{ "user", "USER", COL_TEXT },
	{ "contact", "CONTACT", COL_TEXT },
	{ "transport", "TRANSPORT", COL_TEXT },
	{ "source", "FROM", COL_TEXT },
	{ "expires_s", "ENDS IN (S)", COL_COUNT },
	{ "outbound", "OUTBOUND", COL_BOOL },
};

/* Tables show one proven name; JSON has them all. */
static void add_names(json_t *rows)
{
	size_t i;
	json_t *row;

	json_array_foreach(rows, i, row)
	{
		const json_t *first = json_array_get(json_object_get(row, "identity"), 0);
		if (first)
			json_object_set_new(row, "name", json_string(json_string_value(first)));
	}
}

int sip_show(struct cli *cli, const struct sip_shown *l)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *rows = json_array();
	bool more = false;
	uint64_t limit = 1000;
	int r = cli_number(cli, "limit", 1, 1000000, &limit);

	if (!r)
		r = cli_connect(cli, SIP_PROGRAM, &cl);
	if (!r)
		r = cli_rows(cli, cl, &(struct cli_list){ .verb = l->verb, .limit = limit }, rows,
			     &more);
	if (!cli_has(cli, "json"))
		add_names(rows);
	if (r == 0)
		print_list(cli, l->columns, l->n, rows, l->none);
	if (more)
		fprintf(stderr, "stile %s: there may be more than these %zu; --limit shows them\n",
			cli->command->name, json_array_size(rows));
	json_decref(rows);
	return r;
}

int sip_change(struct cli *cli, const char *what, const char *verb, json_t *args, const char *done)
{
	json_t *result = NULL;
	int r = sip_call(cli, verb, args, &result);
	const char *name = json_string_value(json_object_get(result, "name"));

	if (r == 0 && cli_has(cli, "json")) {
		print_json(result);
	} else if (r == 0) {
		printf("%s ", what);
		print_clean(stdout, name ? name : cli->words[0]);
		printf(" %s\n", done);
	}
	json_decref(result);
	return r;
}

void sip_or_default(json_t *row, const char *key, const char *def)
{
	const json_t *v = json_object_get(row, key);

	if (!v)
		json_object_set_new(row, key, json_string(def));
	else if (json_is_boolean(v))
		json_object_set_new(row, key, json_string(json_is_true(v) ? "true" : "false"));
}

static int run_transactions(struct cli *cli)
{
	return sip_show(cli, &(struct sip_shown){ "sip.transactions", "no transactions",
						  transaction_columns, ARRAY_LEN(transaction_columns) });
}

static int run_flows(struct cli *cli)
{
	return sip_show(cli, &(struct sip_shown){ "sip.flows", "no connections", flow_columns,
						  ARRAY_LEN(flow_columns) });
}

static int run_registrations(struct cli *cli)
{
	return sip_show(cli, &(struct sip_shown){ "sip.registrations", "nobody is registered",
						  registration_columns,
						  ARRAY_LEN(registration_columns) });
}

static int run_health(struct cli *cli)
{
	return sip_show(cli, &(struct sip_shown){ "sip.health", "no next hop has failed lately",
						  health_columns, ARRAY_LEN(health_columns) });
}

static int run_kick(struct cli *cli)
{
	uint64_t id;

	if (text_u64(text_of(cli->words[0]), &id) < 0 || id > INT64_MAX)
		return cli_wrong(cli, "'%s' is no number; stile sip flows shows them", cli->words[0]);
	return cli_do(cli, SIP_PROGRAM, "sip.kick", json_pack("{s:I}", "id", (json_int_t)id), "connection %s is ended", cli->words[0]);
}

static int run_unregister(struct cli *cli)
{
	json_t *args = json_pack("{s:s}", "user", cli->words[0]), *result = NULL;
	int r;

	if (cli->n_words > 1)
		json_object_set_new(args, "contact", json_string(cli->words[1]));
	r = sip_call(cli, "sip.registration.delete", args, &result);
	if (r == 0 && cli_has(cli, "json")) {
		print_json(result);
	} else if (r == 0) {
		printf("%lld registrations of ", number_of_key(result, "ended"));
		print_clean(stdout, cli->words[0]);
		printf(" are ended\n");
	}
	json_decref(result);
	return r;
}

static int run_metrics(struct cli *cli)
{
	return cli_metrics(cli, SIP_PROGRAM, "sip.metrics");
}

/* ---- trace ---- */

struct tracing {
	struct cli *cli;
	FILE *file; /* NULL: to a capture server */
	int hep;
	unsigned long long n, cut;
	int error;
};

static int pass_on(struct tracing *t, const json_t *m)
{
	struct sip_traced traced;
	int r = sip_traced_read(m, &traced);

	if (r < 0)
		return r;
	t->cut += traced.cut > 0;
	r = t->file ? sip_pcap_write(t->file, &traced) : sip_hep_send(t->hep, &traced);
	free(traced.data);
	return r == 0 && t->file && fflush(t->file) != 0 ? -EIO : r;
}

static void on_message(const json_t *m, void *arg)
{
	struct tracing *t = arg;
	int r = t->error ? 0 : pass_on(t, m);

	if (r < 0) {
		t->error = r;
		(void)cli_fail(t->cli, "the message cannot be passed on: %s", strerror(-r));
	}
	t->n++;
}

static json_t *trace_args(const struct cli *cli, uint64_t messages, uint64_t seconds)
{
	const char *call = cli_option(cli, "call"), *address = cli_option(cli, "address");
	json_t *args = json_pack("{s:I, s:I}", "messages", (json_int_t)messages, "seconds",
				 (json_int_t)seconds);

	if (call)
		json_object_set_new(args, "call", json_string(call));
	if (address)
		json_object_set_new(args, "address", json_string(address));
	return args;
}

static int trace_into(struct cli *cli, struct tracing *t, uint64_t messages, uint64_t seconds)
{
	_cleanup_(control_client_freep) struct control_client *asks = NULL, *cl = NULL;
	struct instance at;
	json_t *result = NULL;
	char err[256];
	int r = cli_connect(cli, SIP_PROGRAM, &asks); /* it says why not, if not */

	if (r)
		return r;
	if (t->file && sip_pcap_begin(t->file) < 0)
		return cli_fail(cli, "the file cannot be written: %s", strerror(EIO));
	r = cli_place(cli, SIP_PROGRAM, &at, err, sizeof err);
	if (r == 0) /* nothing may come for as long as the trace lasts */
		r = control_connect(at.socket_path, (int)(seconds * 1000 + 5000), &cl);
	if (r < 0)
		return cli_fail(cli, "cannot talk to stile-sip: %s", strerror(-r));
	control_on_progress(cl, on_message, t);
	fprintf(stderr, "tracing for at most %llu s and %llu messages; Ctrl-C ends it\n",
		(unsigned long long)seconds, (unsigned long long)messages);
	r = cli_call(cli, cl, "sip.trace", trace_args(cli, messages, seconds), &result);
	if (r == 0)
		fprintf(stderr, "%llu messages: %s\n", t->n, text_of_key(result, "why"));
	if (t->cut)
		fprintf(stderr,
			"%llu of them are cut: they are longer than stile-sip can hand on in one piece\n",
			t->cut);
	json_decref(result);
	return t->error ? EXIT_FAILED : r;
}

static int trace_to_file(struct cli *cli, uint64_t messages, uint64_t seconds)
{
	const char *path = cli_option(cli, "write");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1, r; /* what was encrypted stands in it */
	struct tracing t = { .cli = cli, .file = stdout };

	if (path && fd < 0 && errno == EEXIST)
		return cli_fail(cli, "%s is there already; a trace does not replace it: name another file", path);
	if (path && (fd < 0 || !(t.file = fdopen(fd, "wb"))))
		return cli_fail(cli, "%s cannot be written: %s", path, strerror(errno));
	r = path ? 0 : print_bytes_may(cli);
	if (r)
		return r;
	r = trace_into(cli, &t, messages, seconds);
	if (path && fclose(t.file) != 0 && r == 0)
		r = cli_fail(cli, "%s cannot be written: %s", path, strerror(errno));
	return r;
}

static int trace_to_server(struct cli *cli, uint64_t messages, uint64_t seconds)
{
	struct tracing t = { .cli = cli };
	struct addr to;
	int r;

	if (addr_parse(text_of(cli_option(cli, "hep")), HEP_PORT, &to) < 0)
		return cli_wrong(cli, "--hep wants an address and a port, such as 192.0.2.20:9060");
	r = sip_hep_open(&to, &t.hep);
	if (r < 0)
		return cli_fail(cli, "cannot send to %s: %s", cli_option(cli, "hep"), strerror(-r));
	r = trace_into(cli, &t, messages, seconds);
	close(t.hep);
	return r;
}

static int run_trace(struct cli *cli)
{
	uint64_t messages = 10000, seconds = 300;
	int r = cli_number(cli, "messages", 1, 1000000, &messages);

	if (!r)
		r = cli_number(cli, "seconds", 1, 86400, &seconds);
	if (r)
		return r;
	if (!cli_option(cli, "call") == !cli_option(cli, "address"))
		return cli_wrong(cli, "say what: --call ID, or --address ADDRESS");
	return cli_has(cli, "hep") ? trace_to_server(cli, messages, seconds)
				   : trace_to_file(cli, messages, seconds);
}

static const struct option_row list_options[] = {
	{ "limit", 'n', "N", "show at most so many (default 1000)" },
};
static const struct option_row trace_options[] = {
	{ "call", 0, "ID", "the messages with this Call-ID" },
	{ "address", 0, "ADDRESS", "the messages from and to this address, or prefix" },
	{ "write", 'w', "FILE", "a new pcap file (default: standard output, as for: | tshark -r -)" },
	{ "hep", 0, "ADDRESS:PORT", "a capture server (HEP3, as Homer's) in place of a file" },
	{ "messages", 0, "N", "end after so many messages (default 10000)" },
	{ "seconds", 0, "N", "end after so many seconds (default 300)" },
};

static const struct command rows[] = {
	{ "sip status", "",
	  "listeners with their certificates, domains, routes and counts of a running stile-sip",
	  "Exit 1 if a certificate has expired.", NULL, 0, 0, 0, run_status, WITHOUT_CONFIG },
	{ "sip transactions", "", "transactions that are under way or over and kept", NULL,
	  list_options, ARRAY_LEN(list_options), 0, 0, run_transactions, WITHOUT_CONFIG },
	{ "sip flows", "", "TCP and TLS connections, and who is proven to be at their other end",
	  NULL, list_options, ARRAY_LEN(list_options), 0, 0, run_flows, WITHOUT_CONFIG },
	{ "sip registrations", "", "who is registered where, and by which connection or address",
	  NULL, list_options, ARRAY_LEN(list_options), 0, 0, run_registrations, WITHOUT_CONFIG },
	{ "sip unregister", "USER [CONTACT]", "end the registrations of a user, or one of them",
	  "USER is alice@example.org. The client's next REGISTER makes it anew.", NULL, 0, 1, 2, run_unregister, WITHOUT_CONFIG },
	{ "sip health", "", "next hops that failed lately",
	  "They are tried behind the others of their name for the time shown, and at once when nothing else is left.",
	  list_options, ARRAY_LEN(list_options), 0, 0, run_health, WITHOUT_CONFIG },
	{ "sip kick", "CONN", "end a connection", "CONN is a number of stile sip flows.", NULL, 0,
	  1, 1, run_kick, WITHOUT_CONFIG },
	{ "sip metrics", "[NAME]", "counters and latencies of stile-sip, in the form that Prometheus reads",
	  "NAME is a part of the names to show. docs/metrics.md explains each.", NULL, 0, 0, 1,
	  run_metrics, WITHOUT_CONFIG },
	{ "sip trace", "", "write the messages of a call or an address, decrypted, into a pcap file",
	  "For administrators only, and the service's log says who asked. Wireshark and sngrep read the file:\n\n"
	  "  stile sip trace --address 192.0.2.7 -w phone.pcap\n"
	  "  stile sip trace --call a84b4c76e66710@pc33.example.org | tshark -r - -V",
	  trace_options, ARRAY_LEN(trace_options), 0, 0, run_trace, WITHOUT_CONFIG },
};
const struct command_table sip_commands = { rows, ARRAY_LEN(rows) };
