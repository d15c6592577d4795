/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row for each table. The columns are those that fit beside each other on a terminal; the commands of each service
 * show all of them. A table whose verb tells no rates gets them from two looks at its bytes.
 *
 * A service is asked over a connection of its own each time: it may have been restarted meanwhile.
 */
#include <errno.h>
#include <string.h>
#include "cli/top.h"

enum { ASK_MS = 3000, SERVICES_MAX = 48, PAGE = 1000 };

/* clang-format off */
static const struct column service_columns[] = {
	{ "service", "SERVICE", COL_TEXT }, { "state", "STATE", COL_TEXT }, { "health", "HEALTH", COL_TEXT }, { "pid", "PID", COL_COUNT },
	{ "uptime_ms", "UP", COL_MS }, { "memory", "MEMORY", COL_BYTES }, { "descriptors", "DESCRIPTORS", COL_COUNT }, { "version", "VERSION", COL_TEXT },
};
static const struct column turn_columns[] = {
	{ "id", "ID", COL_COUNT }, { "user", "USER", COL_TEXT }, { "transport", "VIA", COL_TEXT }, { "client", "CLIENT", COL_TEXT },
	{ "relay", "RELAY", COL_TEXT }, { "rate_up", "UP/s", COL_BYTES }, { "rate_down", "DOWN/s", COL_BYTES }, { "bytes_up", "UP", COL_BYTES },
	{ "bytes_down", "DOWN", COL_BYTES }, { "age_ms", "AGE", COL_MS },
};
static const struct column relay_columns[] = {
	{ "id", "CONN", COL_COUNT }, { "route", "ROUTE", COL_TEXT }, { "state", "STATE", COL_TEXT }, { "source", "SOURCE", COL_TEXT },
	{ "target", "TARGET", COL_TEXT }, { "rate_up", "UP/s", COL_BYTES }, { "rate_down", "DOWN/s", COL_BYTES }, { "bytes_up", "UP", COL_BYTES },
	{ "bytes_down", "DOWN", COL_BYTES }, { "age_ms", "AGE", COL_MS },
};
static const struct column control_columns[] = {
	{ "id", "CONN", COL_COUNT }, { "name", "AGENT", COL_TEXT }, { "state", "STATE", COL_TEXT }, { "address", "ADDRESS", COL_TEXT },
	{ "jobs", "JOBS", COL_COUNT }, { "connections", "DATA", COL_COUNT }, { "rate_up", "UP/s", COL_BYTES }, { "rate_down", "DOWN/s", COL_BYTES },
	{ "reconnects", "AGAIN", COL_COUNT }, { "age_ms", "FOR", COL_MS },
};
static const struct column job_columns[] = {
	{ "number", "JOB", COL_COUNT }, { "agent", "AGENT", COL_TEXT }, { "name", "NAME", COL_TEXT }, { "address", "REACHED AT", COL_TEXT },
	{ "target", "TARGET", COL_TEXT }, { "state", "STATE", COL_TEXT }, { "connections", "DATA", COL_COUNT }, { "errors", "ERRORS", COL_COUNT },
	{ "rate_up", "UP/s", COL_BYTES }, { "rate_down", "DOWN/s", COL_BYTES },
};
static const struct column data_columns[] = {
	{ "id", "DATA", COL_COUNT }, { "agent", "AGENT", COL_TEXT }, { "job", "JOB", COL_TEXT }, { "state", "STATE", COL_TEXT },
	{ "source", "SOURCE", COL_TEXT }, { "target", "TARGET", COL_TEXT }, { "rate_up", "UP/s", COL_BYTES }, { "rate_down", "DOWN/s", COL_BYTES },
	{ "age_ms", "FOR", COL_MS },
};
static const struct column agent_columns[] = {
	{ "name", "NAME", COL_TEXT }, { "origin", "FROM", COL_TEXT }, { "port", "PORT", COL_TEXT }, { "target", "TARGET", COL_TEXT },
	{ "connections", "DATA", COL_COUNT }, { "accepted", "ALL", COL_COUNT }, { "errors", "ERRORS", COL_COUNT }, { "rate_up", "UP/s", COL_BYTES },
	{ "rate_down", "DOWN/s", COL_BYTES },
};
static const struct column transaction_columns[] = {
	{ "side", "SIDE", COL_TEXT }, { "method", "METHOD", COL_TEXT }, { "state", "STATE", COL_TEXT }, { "transport", "VIA", COL_TEXT },
	{ "peer", "PEER", COL_TEXT }, { "bytes", "BYTES", COL_BYTES }, { "age_ms", "AGE", COL_MS },
};
static const struct column flow_columns[] = {
	{ "id", "CONN", COL_COUNT }, { "transport", "VIA", COL_TEXT }, { "state", "STATE", COL_TEXT }, { "remote", "PEER", COL_TEXT },
	{ "local", "LOCAL", COL_TEXT }, { "age_ms", "AGE", COL_MS },
};
static const struct column transfer_columns[] = {
	{ "id", "ID", COL_COUNT }, { "share", "SHARE", COL_TEXT }, { "client", "BROWSER", COL_TEXT }, { "method", "METHOD", COL_TEXT },
	{ "what", "WHAT", COL_TEXT }, { "state", "STATE", COL_TEXT }, { "rate", "RATE/s", COL_BYTES }, { "bytes_to_browser", "DOWN", COL_BYTES },
	{ "bytes_to_share", "UP", COL_BYTES }, { "age_ms", "AGE", COL_MS },
};
static const struct column session_columns[] = {
	{ "user", "USER", COL_TEXT }, { "role", "ROLE", COL_TEXT }, { "address", "FROM", COL_TEXT }, { "idle_ms", "IDLE", COL_MS },
	{ "age_ms", "SINCE", COL_MS }, { "agent", "BROWSER", COL_TEXT },
};
static const struct column count_columns[] = {
	{ "what", "WHAT", COL_TEXT }, { "detail", "", COL_TEXT }, { "n", "N", COL_COUNT },
};
static const struct top_kind kinds[] = {
	{ "sessions", "stile-turn", "turn.sessions", turn_columns, ARRAY_LEN(turn_columns), "id", "rate_down" },
	{ "connections", "stile-tunnel", "relay.connections", relay_columns, ARRAY_LEN(relay_columns), NULL, "rate_down" },
	{ "agents", "stile-tunnel", "tunnel.control", control_columns, ARRAY_LEN(control_columns), "id", "rate_down" },
	{ "jobs", "stile-tunnel", "tunnel.jobs", job_columns, ARRAY_LEN(job_columns), "number", "rate_down" },
	{ "data", "stile-tunnel", "tunnel.connections", data_columns, ARRAY_LEN(data_columns), "id", "rate_down" },
	{ "jobs", "stile-agent", "agent.jobs", agent_columns, ARRAY_LEN(agent_columns), "name", "rate_down" },
	{ "transactions", "stile-sip", "sip.transactions", transaction_columns, ARRAY_LEN(transaction_columns), NULL, "age_ms" },
	{ "transfers", "stile-gateway", "gateway.transfers", transfer_columns, ARRAY_LEN(transfer_columns), NULL, "rate" },
	{ "sessions", "stile-console", "console.sessions", session_columns, ARRAY_LEN(session_columns), NULL, NULL },
	{ "counts", "stile-fastpath", "fastpath.counts", count_columns, ARRAY_LEN(count_columns), NULL, NULL },
	{ "flows", "stile-sip", "sip.flows", flow_columns, ARRAY_LEN(flow_columns), NULL, "age_ms" },
};
static const struct top_kind services_kind = { "services", NULL, NULL, service_columns, ARRAY_LEN(service_columns), NULL, NULL };
/* clang-format on */

static bool is_of(const struct found_service *f, const char *program)
{
	size_t n = strlen(program);

	return strncmp(f->full, program, n) == 0 && (f->full[n] == 0 || f->full[n] == '@');
}

unsigned top_views(const struct cli *cli, struct top_view out[static TOP_VIEWS_MAX])
{
	struct found_service found[SERVICES_MAX];
	size_t n = services_find(cli_runtime_dir(cli), cli_instance(cli), found, SERVICES_MAX);
	unsigned k = 1;

	out[0] = (struct top_view){ .kind = &services_kind, .title = "services" };
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < ARRAY_LEN(kinds) && k < TOP_VIEWS_MAX; j++) {
			if (!is_of(&found[i], kinds[j].program))
				continue;
			out[k] = (struct top_view){ .kind = &kinds[j], .service = found[i] };
			snprintf(out[k].title, sizeof out[k].title, "%.40s %s", found[i].full + strlen("stile-"), kinds[j].title);
			k++;
		}
	return k;
}

/* ---- asking ---- */

/* NULL, and why. args are taken. */
static json_t *ask(struct control_client *cl, const char *verb, json_t *args, char *why, size_t why_n)
{
	json_t *result = NULL, *error = NULL;
	const char *text;
	int r = control_call(cl, verb, args, &result, &error);

	if (r == 0)
		return result;
	text = json_string_value(json_object_get(error, "text"));
	snprintf(why, why_n, "%s", text ? text : strerror(r < 0 ? -r : EIO));
	json_decref(error);
	return NULL;
}

static json_t *service_row(const struct found_service *f)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *status = NULL, *health = NULL;
	char why[128] = "";

	if (control_connect(f->socket, ASK_MS, &cl) == 0) {
		status = ask(cl, "service.status", NULL, why, sizeof why);
		health = ask(cl, "service.health", NULL, why, sizeof why);
	}
	if (!status)
		status = json_pack("{s:s}", "state", "does not answer");
	json_object_set_new(status, "service", json_string(f->full + strlen("stile-")));
	json_object_set(status, "health", json_object_get(health, "worst"));
	json_decref(health);
	return status;
}

static json_t *service_rows(const struct cli *cli)
{
	struct found_service found[SERVICES_MAX];
	size_t n = services_find(cli_runtime_dir(cli), cli_instance(cli), found, SERVICES_MAX);
	json_t *rows = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(rows, service_row(&found[i]));
	return rows;
}

static json_t *all_rows(struct control_client *cl, const char *verb, char *why, size_t why_n)
{
	json_t *rows = json_array(), *cursor = NULL, *result;

	do {
		json_t *args = json_pack("{s:i}", "limit", PAGE);
		if (cursor)
			json_object_set(args, "cursor", cursor);
		json_decref(cursor);
		result = ask(cl, verb, args, why, why_n);
		if (!result) {
			json_decref(rows);
			return NULL;
		}
		json_array_extend(rows, json_object_get(result, "rows"));
		cursor = json_incref(json_object_get(result, "cursor"));
		json_decref(result);
	} while (cursor && json_array_size(rows) < TOP_ROWS_MAX);
	json_decref(cursor);
	return rows;
}

/* ---- rates ---- */

static void set_rate(json_t *row, const json_t *was, const char *bytes, const char *rate, double seconds)
{
	json_int_t now = json_integer_value(json_object_get(row, bytes)), then = json_integer_value(json_object_get(was, bytes));

	json_object_set_new(row, rate, json_integer(was && now >= then ? (json_int_t)((double)(now - then) / seconds) : 0));
}

/* By the id as a text: it may be a number or a name. */
static void name_of(const json_t *row, const char *id, char out[static 96])
{
	const json_t *v = json_object_get(row, id);

	if (json_is_string(v))
		snprintf(out, 96, "%.90s", json_string_value(v));
	else
		snprintf(out, 96, "%lld", (long long)json_integer_value(v));
}

static void add_rates(json_t *rows, const json_t *before, const char *id, double seconds)
{
	json_t *by_id = json_object(), *row;
	char name[96];
	size_t i;

	json_array_foreach(before, i, row) {
		name_of(row, id, name);
		json_object_set(by_id, name, row);
	}
	json_array_foreach(rows, i, row) {
		name_of(row, id, name);
		const json_t *was = json_object_get(by_id, name);
		set_rate(row, was, "bytes_up", "rate_up", seconds);
		set_rate(row, was, "bytes_down", "rate_down", seconds);
	}
	json_decref(by_id);
}

json_t *top_rows(const struct cli *cli, const struct top_view *v, const json_t *before, double seconds, char *why, size_t why_n)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	json_t *rows;
	int r;

	if (!v->kind->verb)
		return service_rows(cli);
	r = control_connect(v->service.socket, ASK_MS, &cl);
	if (r < 0) {
		snprintf(why, why_n, "%s does not answer: %s", v->service.full, strerror(-r));
		return NULL;
	}
	rows = all_rows(cl, v->kind->verb, why, why_n);
	if (rows && v->kind->id)
		add_rates(rows, before, v->kind->id, MAX(seconds, 0.1));
	return rows;
}
