/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile relay watch, stile tunnel watch: the bytes of one connection as they pass, in the columns of the data log. They
 * come as progress of one request, which ends with the connection; whoever stops watching just goes. What passed
 * faster than it could be shown is counted, not kept: the connection does not wait for a terminal. Of a job of the
 * tunnel one connection after the other is shown.
 */
#include <string.h>
#include <unistd.h>
#include "cli/relay.h"
#include "tunnel/records_format.h"

enum { PATIENCE_MS = 7 * 24 * 3600 * 1000, CHUNK = 64 << 10 };

struct view {
	struct cli *cli;
	char source[80], target[80];
	uint64_t at[2]; /* bytes shown or lost, since the watch began */
	uint8_t bytes[CHUNK];
};

static void show_bytes(struct view *v, bool down, size_t n)
{
	char line[HEX_LINE_MAX];

	for (size_t i = 0; i < n;) {
		struct sb b = sb_init(line, sizeof line);
		i += format_hex_line(&b, v->at[down] + i, v->bytes + i, n - i);
		fwrite(line, 1, b.n, stdout);
	}
	v->at[down] += n;
}

static void on_piece(const json_t *p, void *arg)
{
	struct view *v = arg;
	const char *hex = json_string_value(json_object_get(p, "hex")), *way = json_string_value(json_object_get(p, "way"));
	bool down = way && strcmp(way, "down") == 0;
	json_int_t lost = json_integer_value(json_object_get(p, "lost"));
	char head[HEX_HEAD_MAX];
	struct sb b = sb_init(head, sizeof head);
	size_t n = 0;

	if (cli_has(v->cli, "json")) {
		json_dumpf(p, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		return;
	}
	if (lost > 0)
		printf("(%lld byte%s passed that could not be shown)\n", (long long)lost, lost == 1 ? "" : "s");
	if (!hex || hex_decode(text_of(hex), v->bytes, sizeof v->bytes, &n) < 0)
		return;
	format_packet_head(&b, json_integer_value(json_object_get(p, "at")), down ? v->target : v->source,
			   down ? v->source : v->target, n);
	fwrite(head, 1, b.n, stdout);
	show_bytes(v, down, n);
	fflush(stdout);
}

struct kind {
	const char *list, *watch, *hint; /* verbs, and the command that shows the numbers */
};
static const struct kind of_relay = { "relay.connections", "relay.watch", "stile relay connections" };
static const struct kind of_tunnel = { "tunnel.connections", "tunnel.watch", "stile tunnel connections" };

static void take_ends(struct view *v, const json_t *row)
{
	const char *source = json_string_value(json_object_get(row, "source"));
	const char *target = json_string_value(json_object_get(row, "target"));

	snprintf(v->source, sizeof v->source, "%s", source ? source : "?");
	snprintf(v->target, sizeof v->target, "%s", target && *target ? target : "its target");
}

static bool is_of_job(const json_t *row, const char *job)
{
	char name[512];

	snprintf(name, sizeof name, "%s/%s", json_string_value(json_object_get(row, "agent")), json_string_value(json_object_get(row, "job")));
	return strcmp(name, job) == 0;
}

/* The connection of this number, or the first of the job; both ends of it, for the head lines. *id 0: there is none. */
static int look_up(struct cli *cli, struct control_client *cl, const struct kind *k, const char *job, uint64_t *id, struct view *v)
{
	json_t *rows = json_array(), *row;
	uint64_t wanted = *id;
	bool more;
	size_t i;
	int r = cli_rows(cli, cl, &(struct cli_list){ .verb = k->list, .limit = 1000000 }, rows, &more);

	*id = 0;
	json_array_foreach(rows, i, row) {
		uint64_t n = (uint64_t)json_integer_value(json_object_get(row, "id"));
		if (*id || (job ? !is_of_job(row, job) : n != wanted))
			continue;
		take_ends(v, row);
		*id = n;
	}
	json_decref(rows);
	return r;
}

static int watch_one(struct cli *cli, const struct kind *k, uint64_t id, struct view *v)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *result = NULL;
	int r = cli_connect_patient(cli, RELAY_PROGRAM, PATIENCE_MS, &cl);

	if (r)
		return r;
	if (!cli_has(cli, "json")) {
		printf("Watching connection %llu from %s to %s; Ctrl-C stops watching\n", (unsigned long long)id, v->source, v->target);
		fflush(stdout);
	}
	v->at[0] = v->at[1] = 0;
	control_on_progress(cl, on_piece, v);
	r = cli_call(cli, cl, k->watch, json_pack("{s:I}", "id", (json_int_t)id), &result);
	if (r == 0 && !cli_has(cli, "json"))
		printf("The connection has ended\n");
	fflush(stdout);
	json_decref(result);
	return r;
}

static int run(struct cli *cli, const struct kind *k, const char *job, uint64_t id)
{
	_cleanup_(control_client_freep) struct control_client *asks = NULL;
	static struct view v;
	uint64_t before = 0, wanted = id;
	int r = cli_connect(cli, RELAY_PROGRAM, &asks);

	v.cli = cli;
	while (r == 0) {
		r = look_up(cli, asks, k, job, &id, &v);
		if (r == 0 && !id && !job)
			return cli_fail(cli, "there is no connection %llu\n  try: %s", (unsigned long long)wanted, k->hint);
		if (r == 0 && id && id != before)
			r = watch_one(cli, k, id, &v);
		else
			(void)usleep(200000); /* the job has none now */
		before = id;
		if (!job)
			break;
	}
	return r;
}

static int run_watch(struct cli *cli)
{
	uint64_t id;

	if (text_u64(text_of(cli->words[0]), &id) < 0 || !id || id > INT64_MAX)
		return cli_wrong(cli, "CONN is a number; stile relay connections shows it");
	return run(cli, &of_relay, NULL, id);
}

static int run_tunnel_watch(struct cli *cli)
{
	const char *word = cli->words[0];
	uint64_t id = 0;

	if (text_u64(text_of(word), &id) == 0 && id && id <= INT64_MAX)
		return run(cli, &of_tunnel, NULL, id);
	if (strchr(word, '/'))
		return run(cli, &of_tunnel, word, 0);
	return cli_wrong(cli, "a number of stile tunnel connections, or AGENT/JOB");
}

static const struct command rows[] = {
	{ "relay watch", "CONN", "see the bytes of a connection as they pass, in hex and text",
	  "CONN is the number that stile relay connections shows. With --json a line for each piece, as the service sends it.\n"
	  "Who watched what is in the service's log.",
	  NULL, 0, 1, 1, run_watch, WITHOUT_CONFIG },
	{ "tunnel watch", "DATA|AGENT/JOB", "see the bytes of a data connection as they pass, in hex and text",
	  "DATA is the number that stile tunnel connections shows; of a job one connection is shown after the other, until Ctrl-C.\n"
	  "With --json a line for each piece. For operators; who watched what is in the service's log.",
	  NULL, 0, 1, 1, run_tunnel_watch, WITHOUT_CONFIG },
};
const struct command_table relay_watch_commands = { rows, ARRAY_LEN(rows) };
