/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs of the gateway: status, transfers under way and their end, metrics.
 * Nothing here knows what is in a transfer: it is encrypted.
 * Whatever the console shows of a gateway comes from here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/clock.h"
#include "gateway/service.h"

static unsigned connections(const struct gateway_service *gs)
{
	return (gs->tls ? httpd_counts(gs->tls)->conns : 0) + (gs->plain ? httpd_counts(gs->plain)->conns : 0);
}

static void verb_status(struct control_request *rq, const json_t *args, void *arg)
{
	struct gateway_service *gs = arg;
	struct metrics *m = gs->g.metrics;
	int r = gateway_tunnel_reached(gs);

	(void)args;
	monitor_sample(&gs->monitor, loop_now(gs->svc->loop));
	control_reply(rq, json_pack("{s:o, s:s, s:s, s:i, s:i, s:I, s:I, s:b, s:o}", "listeners", gateway_listeners_json(gs), "tunnel", gs->g.config->tunnel,
				    "tunnel_error", r < 0 ? strerror(-r) : "", "connections", (int)connections(gs), "transfers", (int)gs->g.n_transfers, "bytes_to_browser",
				    (json_int_t)metric_sum(m, GATEWAY_M_BYTES, GATEWAY_TO_BROWSER), "bytes_to_share",
				    (json_int_t)metric_sum(m, GATEWAY_M_BYTES, GATEWAY_TO_SHARE), "draining", gs->draining, "monitor",
				    monitor_json(&gs->monitor)));
}

static void add_row(const struct transfer_info *t, void *arg)
{
	char client[ADDR_STRLEN] = "";
	uint64_t age = (uint64_t)clock_unix_ms() - t->begun_ms, n = t->bytes[GATEWAY_TO_BROWSER] + t->bytes[GATEWAY_TO_SHARE];

	if (addr_family(&t->client) != AF_UNSPEC)
		(void)addr_print(&t->client, client);
	json_array_append_new(arg, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I}", "id", (json_int_t)t->id, "share", t->share, "client", client,
					     "method", t->method, "what", t->what, "state", t->waiting ? "waiting" : "answering", "bytes_to_browser",
					     (json_int_t)t->bytes[GATEWAY_TO_BROWSER], "bytes_to_share", (json_int_t)t->bytes[GATEWAY_TO_SHARE], "rate",
					     (json_int_t)(age ? n * 1000 / age : 0), "age_ms", (json_int_t)age));
}

static void verb_transfers(struct control_request *rq, const json_t *args, void *arg)
{
	struct gateway_service *gs = arg;
	json_t *rows = json_array();

	(void)args;
	gateway_each(&gs->g, add_row, rows);
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

static void verb_kick(struct control_request *rq, const json_t *args, void *arg)
{
	struct gateway_service *gs = arg;
	const json_t *id = json_object_get(args, "id");

	if (!json_is_integer(id))
		control_fail(rq, "bad-request", "stile gateway transfers shows the numbers", "id must be a number");
	else if (gateway_kick(&gs->g, (uint64_t)json_integer_value(id)) < 0)
		control_fail(rq, "not-found", "stile gateway transfers", "there is no transfer %lld", json_integer_value(id));
	else
		control_reply(rq, json_pack("{s:O}", "id", (json_t *)id));
}

static void verb_metrics(struct control_request *rq, const json_t *args, void *arg)
{
	struct gateway_service *gs = arg;
	char *text = json_is_true(json_object_get(args, "text")) ? metrics_prometheus(gs->g.metrics) : NULL;

	control_reply(rq, text ? json_pack("{s:s}", "text", text) : metrics_json(gs->g.metrics));
	free(text);
}

static const struct control_verb verbs[] = {
	{ "gateway.status", CONTROL_VIEWER, verb_status, "listeners, connections, transfers, bytes; what the process uses of the machine" },
	{ "gateway.transfers", CONTROL_VIEWER, verb_transfers, "requests to shares under way: share, browser's address, bytes, age" },
	{ "gateway.kick", CONTROL_OPERATOR, verb_kick, "{id}: ends one transfer; the browser may go on with another one" },
	{ "gateway.metrics", CONTROL_VIEWER, verb_metrics, "{text}: counters, as JSON or as Prometheus text" },
};

void gateway_add_verbs(struct gateway_service *gs)
{
	control_add_verbs(gs->svc->control, verbs, ARRAY_LEN(verbs), gs);
}
