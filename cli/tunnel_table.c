/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls and tables of the tunnel's commands. A table is asked for anew each second rather than patched by events: what
 * it shows changes with every byte. Whoever wants events subscribes to the topics at the control socket.
 * Only the control socket is asked.
 */
#include <string.h>
#include <unistd.h>
#include "cli/tunnel.h"
#include "common/json.h"
#include "common/text.h"

const char AGENT_PROGRAM[] = "stile-agent";

void row_set_time(json_t *row, const char *key, time_t at)
{
	char when[32] = "";
	struct tm tm;

	if (at && localtime_r(&at, &tm))
		(void)strftime(when, sizeof when, "%F %T", &tm);
	json_object_set_new(row, key, json_string(when));
}

/* ---- tables ---- */

static int all_rows(struct cli *cli, struct control_client *cl, const struct table_ask *t, json_t *rows)
{
	json_t *args = t->args ? json_deep_copy(t->args) : json_object(), *result = NULL, *cursor;
	uint64_t limit = 1000;
	int r = cli_has(cli, "limit") ? cli_number(cli, "limit", 1, 1000000, &limit) : 0;

	while (r == 0) {
		if (t->pages)
			json_object_set_new(args, "limit", json_integer((json_int_t)MIN(limit - json_array_size(rows), 1000)));
		r = cli_call(cli, cl, t->verb, json_deep_copy(args), &result);
		if (r)
			break;
		json_array_extend(rows, json_object_get(result, "rows"));
		cursor = json_object_get(result, "cursor");
		if (!cursor || json_array_size(rows) >= limit)
			break;
		json_object_set(args, "cursor", cursor);
		json_decref(result);
		result = NULL;
	}
	if (r == 0 && json_object_get(result, "cursor"))
		fprintf(stderr, "stile %s: there may be more than these %zu; --limit shows them\n", cli->command->name, json_array_size(rows));
	json_decref(result);
	json_decref(args);
	return r;
}

static int show_once(struct cli *cli, struct control_client *cl, const struct table_ask *t)
{
	json_t *rows = json_array(), *row;
	size_t i;
	int r = all_rows(cli, cl, t, rows);

	if (r == 0 && cli_has(cli, "json")) {
		print_json(rows);
	} else if (r == 0 && json_array_size(rows)) {
		json_array_foreach(rows, i, row)
			if (t->polish)
				t->polish(row);
		print_table(stdout, t->columns, t->n_columns, rows);
	} else if (r == 0) {
		printf("%s\n", t->none);
	}
	json_decref(rows);
	return r;
}

bool table_next(struct cli *cli)
{
	(void)fflush(stdout);
	sleep(1);
	if (isatty(STDOUT_FILENO) && !cli_has(cli, "json"))
		fputs("\033[H\033[2J", stdout);
	return print_is_read();
}

int table_show(struct cli *cli, const struct table_ask *t)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	int r = cli_connect(cli, t->program, &cl);

	if (!r)
		r = show_once(cli, cl, t);
	while (r == 0 && cli_has(cli, "watch") && table_next(cli))
		r = show_once(cli, cl, t);
	return r;
}

/* ---- the system monitor ---- */

void monitor_print(const json_t *m)
{
	char rss[32];
	struct sb b = sb_init(rss, sizeof rss);
	size_t i;
	json_t *w;

	sb_size(&b, (uint64_t)number_of_key(m, "rss"));
	printf("machine      %lld %% CPU (%.1f s in all), %s memory, %lld of %lld descriptors, %lld sockets, %lld threads, loops %lld ms late\n",
	       number_of_key(m, "cpu_percent"), json_real_value(json_object_get(m, "cpu_seconds")), rss, number_of_key(m, "descriptors"),
	       number_of_key(m, "descriptors_limit"), number_of_key(m, "sockets"), number_of_key(m, "threads"), number_of_key(m, "loop_lag_ms"));
	json_array_foreach(json_object_get(m, "warnings"), i, w)
		printf("warning      %s\n", json_string_value(w));
}
