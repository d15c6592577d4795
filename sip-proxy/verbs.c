/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs of stile-sip: what there is now (status, transactions, flows, health of next hops), and what may be
 * done with a connection. A verb reads its arguments, asks, and answers; lists come a page at a time. sip.trace is in
 * sip-proxy/trace.c.
 */
#include <string.h>
#include "sip-proxy/log_msgs.h"
#include "sip-proxy/service.h"

enum { PAGE = 200, PAGE_MAX = 1000 };

static unsigned limit_of(const json_t *args)
{
	json_int_t limit = json_integer_value(json_object_get(args, "limit"));

	return limit > 0 ? (unsigned)MIN(limit, PAGE_MAX) : PAGE;
}

struct sip_listing sip_listing_begin(struct sip_service *ss, const json_t *args)
{
	uint64_t cursor = (uint64_t)json_integer_value(json_object_get(args, "cursor"));

	return (struct sip_listing){ .ss = ss,
				     .rows = json_array(),
				     .now = loop_now(ss->svc->loop),
				     .cursor = cursor,
				     .skip = cursor,
				     .limit = limit_of(args) };
}

bool sip_listing_takes(struct sip_listing *l)
{
	if (l->skip) {
		l->skip--;
		return false;
	}
	l->more = json_array_size(l->rows) >= l->limit;
	return !l->more;
}

void sip_listing_reply(struct control_request *rq, const struct sip_listing *l)
{
	control_reply(rq, l->more ? json_pack("{s:o, s:I}", "rows", l->rows, "cursor", (json_int_t)(l->cursor + json_array_size(l->rows)))
				  : json_pack("{s:o}", "rows", l->rows));
}

static void verb_status(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	const struct sip_charges *ch = sip_txs_charges(sip_proxy_txs(ss->proxy));
	json_t *edge = sip_edge_status_json(ss->edge);

	(void)args;
	json_object_set_new(edge, "transactions", json_integer(ch->open));
	json_object_set_new(edge, "kept", json_integer(ch->kept));
	json_object_set_new(edge, "waiting", json_integer(ch->waiting));
	json_object_set_new(edge, "overload_percent", json_integer(sip_proxy_loss(ss->proxy)));
	json_object_set_new(edge, "spared", json_integer(sip_proxy_spared(ss->proxy)));
	json_object_set_new(edge, "routes", sip_routes_json(ss->routing.routes));
	json_object_set_new(edge, "domains", sip_routes_domains_json(ss->routing.routes));
	json_object_set_new(edge, "traces", json_integer(sip_traces_count(ss->traces)));
	control_reply(rq, edge);
}

/* ---- transactions ---- */

static bool on_transaction(const struct sip_tx_view *v, void *arg)
{
	struct sip_listing *l = arg;
	char at[ADDR_STRLEN];

	if (!sip_listing_takes(l))
		return !l->more;
	json_array_append_new(
		l->rows,
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "side",
			  v->server ? "server" : "client", "method", sip_method_name(v->method).p,
			  "state", sip_tx_state_name(v->state), "transport",
			  sip_proto_rows[v->peer.proto].name, "peer",
			  addr_print(&v->peer.remote, at), "age_ms", (json_int_t)(l->now - v->made),
			  "bytes", (json_int_t)v->bytes, "connection", (json_int_t)v->peer.conn));
	return true;
}

static void verb_transactions(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	struct sip_listing l = sip_listing_begin(ss, args);

	sip_txs_each(sip_proxy_txs(ss->proxy), on_transaction, &l);
	sip_listing_reply(rq, &l);
}

/* ---- flows ---- */

static void verb_flows(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	control_reply(
		rq, sip_edge_flows_json(ss->edge,
					(uint64_t)json_integer_value(json_object_get(args, "cursor")),
					limit_of(args)));
}

static void verb_kick(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	json_int_t id = json_integer_value(json_object_get(args, "id"));

	if (id <= 0)
		control_fail(rq, "bad-request", "stile sip flows shows the numbers",
			     "id must be a number");
	else if (!sip_edge_kick(ss->edge, (uint64_t)id))
		control_fail(rq, "not-found", "stile sip flows", "there is no connection %lld", id);
	else
		control_reply(rq, json_pack("{s:I}", "kicked", id));
}

static void verb_health(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;

	(void)args;
	control_reply(rq, json_pack("{s:o}", "rows", sip_edge_health_json(ss->edge)));
}

static void verb_metrics(struct control_request *rq, const json_t *args, void *arg)
{
	struct sip_service *ss = arg;
	char *t;

	sip_service_count(ss);
	if (!json_is_true(json_object_get(args, "text"))) {
		control_reply(rq, metrics_json(ss->metrics));
		return;
	}
	t = metrics_prometheus(ss->metrics);
	control_reply(rq, json_pack("{s:s}", "text", t ? t : ""));
	free(t);
}

static const struct control_verb verbs[] = {
	{ "sip.status", CONTROL_VIEWER, verb_status,
	  "listeners with their certificates, routes, domains, counts" },
	{ "sip.transactions", CONTROL_VIEWER, verb_transactions,
	  "{limit, cursor}: transactions with state, peer and age" },
	{ "sip.flows", CONTROL_VIEWER, verb_flows,
	  "{limit, cursor}: connections with both ends, proven names and age" },
	{ "sip.kick", CONTROL_OPERATOR, verb_kick, "{id}: ends one connection" },
	{ "sip.health", CONTROL_VIEWER, verb_health, "next hops that failed lately" },
	{ "sip.trace", CONTROL_ADMIN, sip_verb_trace,
	  "{call} or {address}, {messages, seconds}: decrypted messages as progress, until one of the limits or a cancel" },
	{ "sip.metrics", CONTROL_VIEWER, verb_metrics, "{text}: counters, as JSON or as Prometheus text" },
};

void sip_add_verbs(struct sip_service *ss)
{
	control_add_verbs(ss->svc->control, verbs, ARRAY_LEN(verbs), ss);
}
