/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile connect, stile ping, stile agent peers: links between agents, asked of the stile-agent that runs here. It makes the link and
 * listens; the tool only waits and says what it hears.
 *
 * A visit of stile connect lasts as long as the tool does: Ctrl-C ends it.
 */
#include <limits.h>
#include <string.h>
#include <unistd.h>
#include "cli/tunnel.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/text.h"

enum { FOR_EVER_MS = INT_MAX, PING_MS = 20 * 1000, BETWEEN_PINGS_US = 1000 * 1000 };

/* ---- a link in words ---- */

static void path_words(const json_t *link, char *out, size_t n)
{
	const char *path = text_of_key(link, "path"), *state = text_of_key(link, "state"), *reason = text_of_key(link, "reason");
	long long rtt = number_of_key(link, "rtt_us");

	if (strcmp(state, "up") != 0 || strcmp(path, "none") == 0)
		(void)snprintf(out, n, "%s%s%s", state, *reason ? ": " : "", reason);
	else
		(void)snprintf(out, n, "%s, %lld.%lld ms%s%s%s%s%s", path, rtt / 1000, rtt / 100 % 10, *text_of_key(link, "pair") ? ", " : "",
			       text_of_key(link, "pair"), *reason ? " (" : "", reason, *reason ? ")" : "");
}

/* Of the other agent, perhaps. */
static void put_words(const char *before, const char *words)
{
	fputs(before, stdout);
	print_clean(stdout, words);
	putchar('\n');
}

static bool is_direct(const char *path)
{
	return strncmp(path, "direct", 6) == 0;
}

/* ---- stile connect ---- */

struct watch {
	struct cli *cli;
	char listen[80], last[900];
	bool told;
};

static void on_news(const json_t *p, void *arg)
{
	struct watch *w = arg;
	const json_t *link = json_object_get(p, "link");
	const char *why = text_of_key(p, "why");
	char line[900];
	bool up = link && strcmp(text_of_key(link, "state"), "up") == 0;

	if (cli_has(w->cli, "json")) {
		(void)json_dumpf(p, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		return;
	}
	if (!w->told) {
		w->told = true;
		printf("%s leads to ", text_of_key(p, "listen"));
		print_clean(stdout, text_of_key(p, "name"));
		printf("; Ctrl-C ends it\n");
	}
	if (json_is_object(link))
		path_words(link, line, sizeof line);
	else
		(void)snprintf(line, sizeof line, "%s", why);
	if (*line && strcmp(line, w->last) != 0 && (up || *why))
		print_check(w->cli, up, json_is_object(link) ? text_of_key(link, "peer") : "waiting", line);
	else if (*line && strcmp(line, w->last) != 0)
		put_words("  … ", line);
	(void)snprintf(w->last, sizeof w->last, "%s", line);
	fflush(stdout);
}

static json_t *visit_of(struct cli *cli)
{
	json_t *v = json_pack("{s:s, s:s}", "agent", cli->words[0], "target", cli->words[1]);

	if (cli->n_words > 2)
		json_object_set_new(v, "listen", json_string(cli->words[2]));
	if (cli_has(cli, "udp"))
		json_object_set_new(v, "protocol", json_string("udp"));
	if (cli_has(cli, "head-start"))
		json_object_set_new(v, "head_start", json_string(cli_option(cli, "head-start")));
	if (cli_has(cli, "identity"))
		json_object_set_new(v, "identity", json_string(cli_option(cli, "identity")));
	return v;
}

/* ---- first contact ---- */

static bool is_known(const json_t *peers, const char *name)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(peers, "known"), i, row)
		if (strcmp(text_of_key(row, "name"), name) == 0)
			return true;
	return false;
}

static int accept_here(struct cli *cli, struct control_client *cl, const char *identity)
{
	json_t *result = NULL;
	int r = cli_call(cli, cl, "agent.peer.accept", json_pack("{s:s}", "agent", identity), &result);

	json_decref(result);
	return r;
}

/* Both sides show the same digits, or somebody sits in the middle: only people can tell. */
static int compare(struct cli *cli, struct control_client *cl, const json_t *contact)
{
	const char *string = text_of_key(contact, "string");
	char answer[16];

	fprintf(stderr, "First contact with %s. Both sides must show the same digits:\n\n    %s\n\n"
			"There, stile agent peers shows them; stile agent peer accept %s --allow PREFIX:PORT lets this agent in.\n",
		cli->words[0], string, string);
	if (json_is_true(json_object_get(contact, "changed")))
		fprintf(stderr, "NOTE: an agent of this name is known here with ANOTHER KEY.\n");
	if (!isatty(STDIN_FILENO))
		return cli_fail(cli, "compare the digits, then: stile agent peer accept %s", string);
	fprintf(stderr, "Does it show the same digits there? Type yes: ");
	if (!fgets(answer, sizeof answer, stdin) || strcmp(answer, "yes\n") != 0)
		return cli_fail(cli, "not accepted");
	return accept_here(cli, cl, text_of_key(contact, "identity"));
}

static int make_contact(struct cli *cli, struct control_client *cl)
{
	json_t *peers = NULL, *contact = NULL, *args;
	int r = cli_call(cli, cl, "agent.peers", NULL, &peers);
	bool known = r == 0 && (cli_has(cli, "identity") || is_known(peers, cli->words[0]));

	json_decref(peers);
	if (r || known)
		return r;
	args = json_pack("{s:s, s:s*}", "agent", cli->words[0], "code", cli_option(cli, "code"));
	r = cli_call(cli, cl, "agent.contact", args, &contact);
	if (r == 0 && !cli_has(cli, "code"))
		r = compare(cli, cl, contact);
	json_decref(contact);
	return r;
}

static int run_connect(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	struct watch w = { .cli = cli };
	json_t *result = NULL;
	int r = cli_connect_patient(cli, AGENT_PROGRAM, FOR_EVER_MS, &cl);

	if (r)
		return r;
	r = make_contact(cli, cl);
	if (r)
		return r;
	control_on_progress(cl, on_news, &w);
	r = cli_call(cli, cl, "agent.visit", json_pack("{s:o}", "visit", visit_of(cli)), &result);
	json_decref(result);
	return r;
}

/* ---- stile ping ---- */

static int ping_once(struct cli *cli, struct control_client *cl, unsigned n, bool *ret_direct)
{
	json_t *result = NULL;
	char line[900];
	long long rtt;
	int r = cli_call(cli, cl, "agent.ping", json_pack("{s:s}", "agent", cli->words[0]), &result);

	if (r)
		return r;
	*ret_direct = is_direct(text_of_key(result, "path"));
	rtt = number_of_key(result, "rtt_us");
	path_words(json_object_get(result, "link"), line, sizeof line);
	if (cli_has(cli, "json")) {
		(void)json_dumpf(result, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		printf("%u  %lld.%02lld ms", n, rtt / 1000, rtt / 10 % 100);
		put_words("  ", line);
	}
	fflush(stdout);
	json_decref(result);
	return 0;
}

static int run_ping(struct cli *cli)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	uint64_t count = cli_has(cli, "until-direct") ? 60 : 4;
	bool direct = false;
	int r = cli_number(cli, "count", 1, 1000000, &count);

	if (r)
		return r;
	r = cli_connect_patient(cli, AGENT_PROGRAM, PING_MS, &cl);
	for (unsigned i = 1; r == 0 && i <= count; i++) {
		r = ping_once(cli, cl, i, &direct);
		if (direct && cli_has(cli, "until-direct"))
			return r;
		if (r == 0 && i < count)
			(void)usleep(BETWEEN_PINGS_US);
	}
	if (r == 0 && cli_has(cli, "until-direct"))
		return cli_fail(cli, "the link to %s is not direct; stile agent peers says why", cli->words[0]);
	return r;
}

/* ---- who is known ---- */

static json_t *allowed(const struct cli *cli)
{
	json_t *a = json_array();

	for (unsigned i = 0; i < cli->n_many; i++)
		json_array_append_new(a, json_string(cli->many[i]));
	return a;
}

static int run_accept(struct cli *cli)
{
	return cli_do(cli, AGENT_PROGRAM, "agent.peer.accept", json_pack("{s:s, s:o}", "agent", cli->words[0], "allow", allowed(cli)),
		      "%s is known from now on", cli->words[0]);
}

static int run_forget(struct cli *cli)
{
	return cli_do(cli, AGENT_PROGRAM, "agent.peer.forget", json_pack("{s:s}", "agent", cli->words[0]), "%s is not known any more", cli->words[0]);
}

static int run_invite(struct cli *cli)
{
	json_t *result = NULL;
	int r = cli_ask(cli, AGENT_PROGRAM, "agent.invite", json_pack("{s:o}", "allow", allowed(cli)), &result);

	if (r == 0 && cli_has(cli, "json"))
		print_json(result);
	else if (r == 0)
		printf("%s\nGood once, and for an hour. The visitor runs: stile connect AGENT HOST:PORT --code CODE\n", text_of_key(result, "code"));
	json_decref(result);
	return r;
}

/* ---- stile agent peers ---- */

static const struct column link_columns[] = {
	{ "peer", "AGENT", COL_TEXT },	      { "role", "WE ARE", COL_TEXT },	 { "state", "STATE", COL_TEXT },
	{ "path", "PATH", COL_TEXT },	      { "age_ms", "SINCE", COL_MS },	 { "rtt", "RTT", COL_TEXT },
	{ "loss", "LOSS", COL_TEXT },	      { "connections", "CONNS", COL_COUNT }, { "bytes_up", "UP", COL_BYTES },
	{ "bytes_down", "DOWN", COL_BYTES }, { "pair", "BETWEEN", COL_TEXT },   { "reason", "WHY IT IS NOT BETTER", COL_TEXT },
};
static const struct column visit_columns[] = {
	{ "listen", "LISTENS ON", COL_TEXT }, { "name", "LEADS TO", COL_TEXT },	     { "protocol", "", COL_TEXT },
	{ "state", "STATE", COL_TEXT },	      { "opened", "OPENED", COL_COUNT },     { "refused", "REFUSED", COL_COUNT },
	{ "origin", "FROM", COL_TEXT },	      { "number", "NUMBER", COL_COUNT },     { "why", "REASON", COL_TEXT },
};
static const struct column known_columns[] = {
	{ "name", "AGENT", COL_TEXT },	{ "identity", "IDENTITY", COL_TEXT }, { "may", "", COL_TEXT },
	{ "reaches", "MAY REACH HERE", COL_TEXT }, { "origin", "FROM", COL_TEXT },
};

static const struct column pending_columns[] = {
	{ "name", "AGENT", COL_TEXT }, { "string", "DIGITS", COL_TEXT }, { "wants", "", COL_TEXT }, { "identity", "IDENTITY", COL_TEXT },
	{ "note", "", COL_TEXT },
};

static void polish_pending(json_t *row)
{
	bool visitor = strcmp(text_of_key(row, "role"), "visitor") == 0;

	json_object_set_new(row, "wants", json_string(visitor ? "wants to come here" : "is to be visited"));
	json_object_set_new(row, "note", json_string(json_is_true(json_object_get(row, "changed")) ? "ANOTHER KEY than the known agent of this name" : ""));
}

static void polish_link(json_t *row)
{
	long long rtt = number_of_key(row, "rtt_us"), loss = number_of_key(row, "loss_ppm"), since = number_of_key(row, "since");

	if (since)
		json_object_set_new(row, "age_ms", json_integer(clock_unix_ms() - since));
	json_object_set_new(row, "rtt", rtt ? json_sprintf("%lld.%lld ms", rtt / 1000, rtt / 100 % 10) : json_string(""));
	json_object_set_new(row, "loss", json_sprintf("%lld.%lld%%", loss / 10000, loss / 1000 % 10));
}

static void polish_known(json_t *row)
{
	bool visitor = json_is_true(json_object_get(row, "visitor")), host = json_is_true(json_object_get(row, "host"));

	json_object_set_new(row, "reaches", strings_joined(json_object_get(row, "allow"), ", "));
	json_object_set_new(row, "may", json_string(visitor && host ? "both ways" : visitor ? "may come" : "is visited"));
}

/* ---- all of one ---- */

static const struct column path_columns[] = {
	{ "path", "PATH", COL_TEXT },	{ "state", "", COL_TEXT },	   { "rtt", "RTT", COL_TEXT },
	{ "lost", "PROBES LOST", COL_TEXT }, { "carried_words", "CARRIED", COL_TEXT }, { "bytes_up", "UP", COL_BYTES },
	{ "bytes_down", "DOWN", COL_BYTES }, { "local", "HERE", COL_TEXT },	  { "remote", "THERE", COL_TEXT },
	{ "pair", "BETWEEN", COL_TEXT }, { "why", "NOTE", COL_TEXT },
};

static void polish_path(json_t *row)
{
	long long rtt = number_of_key(row, "rtt_us"), carried = number_of_key(row, "carried");

	json_object_set_new(row, "rtt", rtt ? json_sprintf("%lld.%lld ms", rtt / 1000, rtt / 100 % 10) : json_string(""));
	json_object_set_new(row, "lost", json_sprintf("%.0f%%", 100 * json_number_value(json_object_get(row, "probes_lost"))));
	json_object_set_new(row, "carried_words", carried ? json_sprintf("%.1f Mbit/s", (double)carried / 1e6) : json_string(""));
}

static void print_gaps(const json_t *link)
{
	long long above = 0;
	const json_t *row;
	size_t i;

	printf("Path changes: %lld to better ones, %lld away from dead ones; longest gap %lld ms, last %lld ms\n", number_of_key(link, "moves_up"),
	       number_of_key(link, "moves_down"), number_of_key(link, "gap_max_us") / 1000, number_of_key(link, "last_gap_ms"));
	json_array_foreach(json_object_get(link, "gaps"), i, row) {
		long long below = number_of_key(row, "below_ms"), n = number_of_key(row, "moves");

		if (n && below)
			printf("  %4lld to %4lld ms  %lld\n", above, below, n);
		else if (n)
			printf("  %4lld ms and more %lld\n", above, n);
		above = below;
	}
}

static void print_lines(const char *title, const json_t *lines)
{
	const json_t *line;
	size_t i;

	if (json_array_size(lines))
		printf("%s\n", title);
	json_array_foreach(lines, i, line)
		put_words("  ", json_string_value(line));
}

/* What ICE has tried, in its own lines (RFC 8839), and what became of it. */
static void print_tried(const json_t *ice)
{
	const json_t *port, *n;
	const char *key;
	size_t i;

	if (!json_is_object(ice))
		return;
	printf("Search for a direct path: %s", text_of_key(ice, "state"));
	put_words("; ", text_of_key(ice, "why"));
	print_lines("Addresses of this end", json_object_get(ice, "local"));
	print_lines("Addresses of the other end", json_object_get(ice, "remote"));
	json_object_foreach((json_t *)json_object_get(ice, "refused"), key, n) {
		printf("  %lld not tried", (long long)json_integer_value(n));
		put_words(": ", key);
	}
	json_array_foreach(json_object_get(ice, "ports"), i, port)
		printf("  router, port of %s: %s%s%s\n", text_of_key(port, "inside"), text_of_key(port, "outside"),
		       *text_of_key(port, "outside") ? " by " : "", *text_of_key(port, "by") ? text_of_key(port, "by") : text_of_key(port, "why"));
}

static void print_site(const json_t *site)
{
	const json_t *nat = json_object_get(site, "nat");

	if (!json_is_object(nat))
		return;
	printf("This network, seen from outside: address %s, mapping %s", *text_of_key(nat, "public") ? text_of_key(nat, "public") : "not known",
	       text_of_key(nat, "mapping"));
	if (number_of_key(nat, "block_high"))
		printf(", ports %lld to %lld", number_of_key(nat, "block_low"), number_of_key(nat, "block_high"));
	if (number_of_key(nat, "step"))
		printf(" in steps of %lld", number_of_key(nat, "step"));
	if (*text_of_key(nat, "filtering"))
		printf(", filtering %s", text_of_key(nat, "filtering"));
	if (number_of_key(nat, "lifetime_max_s"))
		printf(", a silent binding lives %lld to %lld s", number_of_key(nat, "lifetime_min_s"), number_of_key(nat, "lifetime_max_s"));
	else if (number_of_key(nat, "lifetime_min_s"))
		printf(", a silent binding lives longer than %lld s", number_of_key(nat, "lifetime_min_s"));
	putchar('\n');
}

static json_t *links_to(const json_t *peers, const char *agent)
{
	json_t *rows = json_array(), *row;
	size_t i;

	json_array_foreach(json_object_get(peers, "rows"), i, row)
		if (strcmp(text_of_key(row, "peer"), agent) == 0 || strcmp(text_of_key(row, "identity"), agent) == 0)
			json_array_append(rows, row);
	return rows;
}

static void print_part(const char *title, json_t *rows, const struct column *columns, unsigned n, void (*polish)(json_t *row))
{
	json_t *row;
	size_t i;

	if (!json_array_size(rows))
		return;
	json_array_foreach(rows, i, row)
		if (polish)
			polish(row);
	printf("%s\n", title);
	print_table(stdout, columns, n, rows);
}

/* All that is known of the links to one agent. False: there is none. */
static bool print_one(const json_t *peers, const char *agent)
{
	json_t *rows = links_to(peers, agent), *row;
	bool any = json_array_size(rows) != 0;
	size_t i;

	print_part("Links", rows, link_columns, ARRAY_LEN(link_columns), polish_link);
	json_array_foreach(rows, i, row) {
		print_part("Paths", json_object_get(row, "paths"), path_columns, ARRAY_LEN(path_columns), polish_path);
		print_gaps(row);
		print_tried(json_object_get(row, "ice"));
	}
	if (any)
		print_site(json_object_get(peers, "site"));
	json_decref(rows);
	return any;
}

static int run_peers(struct cli *cli)
{
	json_t *st = NULL;
	int r;

	do {
		r = cli_ask(cli, AGENT_PROGRAM, "agent.peers", NULL, &st);
		if (r)
			return r;
		if (cli_has(cli, "json")) {
			print_json(st);
		} else if (cli->n_words) {
			if (!print_one(st, cli->words[0]))
				r = cli_fail(cli, "there is no link to %s; stile ping %s makes one", cli->words[0], cli->words[0]);
		} else {
			if (!json_array_size(json_object_get(st, "rows")))
				printf("no links to other agents\n");
			print_part("Links", json_object_get(st, "rows"), link_columns, ARRAY_LEN(link_columns), polish_link);
			print_part("Visits", json_object_get(st, "visits"), visit_columns, ARRAY_LEN(visit_columns), NULL);
			print_part("First contact: accept it if both sides show the same digits (stile agent peer accept)",
				   json_object_get(st, "pending"), pending_columns, ARRAY_LEN(pending_columns), polish_pending);
			print_part("Known agents", json_object_get(st, "known"), known_columns, ARRAY_LEN(known_columns), polish_known);
		}
		json_decref(st);
		st = NULL;
	} while (r == 0 && cli_has(cli, "watch") && table_next(cli));
	return r;
}

/* ---- stile agent shares ---- */

static const struct column shared_columns[] = {
	{ "share", "ID", COL_TEXT },   { "name", "NAME", COL_TEXT },	 { "kind", "", COL_TEXT },	 { "host", "LEADS TO", COL_TEXT }, { "port", "PORT", COL_COUNT },
	{ "guests", "GUESTS", COL_COUNT }, { "state", "STATE", COL_TEXT }, { "why", "REASON", COL_TEXT },
};

static int run_shares(struct cli *cli)
{
	return table_show(cli, &(struct table_ask){ .program = AGENT_PROGRAM, .verb = "agent.shares", .columns = shared_columns,
						    .n_columns = ARRAY_LEN(shared_columns), .none = "nothing is shared" });
}

/* clang-format off */
static const struct option_row connect_options[] = {
	{ "udp", 'u', NULL, "datagrams instead of connections", false },
	{ "head-start", 0, "TIME", "how long only direct paths are tried: 200ms (default), 0s, or unlimited", false },
	{ "code", 0, "CODE", "of stile agent invite there: for the first contact, instead of comparing digits", false },
	{ "identity", 0, "FINGERPRINT", "of the other agent's key; default: the known agent of this name", false },
};
static const struct option_row accept_options[] = {
	{ "allow", 'a', "PREFIX[:PORTS]", "what the visitor reaches here: 10.1.0.25:3389, 10.1.0.0/24, [2001:db8::/64]:22-25; may be repeated", true },
};
static const struct option_row ping_options[] = {
	{ "count", 'n', "N", "pings, one a second (default 4; with --until-direct 60)", false },
	{ "until-direct", 0, NULL, "end as soon as the link is direct; exit status 1 if it never is", false },
};
static const struct option_row peers_options[] = {
	{ "watch", 'w', NULL, "again every second, until Ctrl-C", false },
};
static const struct command rows[] = {
	{ "connect", "AGENT HOST:PORT [LOCAL]", "reach HOST:PORT in the network of another agent, over a direct link where one is possible",
	  "The stile-agent that runs here listens on LOCAL (a port of 127.0.0.1, or an address and a port; default: any free port), and\n"
	  "the other agent, which applies its rules for visitors (agent.visitors), connects to HOST:PORT. Ctrl-C ends it. For good:\n"
	  "stile agent visit add, or agent.visits in stile.yaml. An agent whose key is not known here is asked for a first contact: both sides show eight digits, which\n"
	  "people compare, or --code proves who is who.",
	  connect_options, ARRAY_LEN(connect_options), 2, 3, run_connect, WITHOUT_CONFIG },
	{ "agent peer accept", "DIGITS|AGENT", "first contact: both sides show the same digits, so the other agent is known from now on",
	  "AGENT is a name or a fingerprint of stile agent peers. Of a visitor --allow says what it reaches here.", accept_options,
	  ARRAY_LEN(accept_options), 1, 1, run_accept, WITHOUT_CONFIG },
	{ "agent peer forget", "AGENT", "another agent is not known any more; its links end", NULL, NULL, 0, 1, 1, run_forget, WITHOUT_CONFIG },
	{ "agent invite", "", "a code, good once and for an hour, by which another agent becomes a visitor here", NULL, accept_options,
	  ARRAY_LEN(accept_options), 0, 0, run_invite, WITHOUT_CONFIG },
	{ "ping", "AGENT", "the round-trip time to another agent, and the path that it took",
	  "A link is made if there is none.", ping_options, ARRAY_LEN(ping_options), 1, 1, run_ping, WITHOUT_CONFIG },
	{ "agent shares", "", "what is shared from here now, and how many have its code", NULL, NULL, 0, 0, 0, run_shares, WITHOUT_CONFIG },
	{ "agent peers", "[AGENT]", "links to other agents: path, round-trip time, loss, and the reason why it is not better",
	  "With AGENT (a name or a fingerprint) all of the links to it: every path that stands by, the gaps at path changes, the addresses that\n"
	  "both ends have tried and what became of it, and what is known of this network's NAT.",
	  peers_options, ARRAY_LEN(peers_options), 0, 1, run_peers, WITHOUT_CONFIG },
};
/* clang-format on */
const struct command_table direct_commands = { rows, ARRAY_LEN(rows) };
