/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs of stile-turn: status, sessions, kill, credentials, metrics. What a worker owns is asked
 * for by workers_call, which runs in the worker; the answer is put together in the main loop. Rows are
 * copies: nothing of a worker is kept.
 */
#include <errno.h>
#include <string.h>
#include "turn/edge.h"
#include "turn/external.h"
#include "turn/metrics.h"
#include "turn/realm.h"
#include "turn/service.h"
#include "turn/snippet.h"
#include "turn/users.h"

enum { PAGE = 200, PAGE_MAX = 1000, CREDENTIAL_TTL_S = 86400, CREDENTIAL_TTL_MAX_S = 365 * 86400 };

static int set_addr(json_t *o, const char *key, const struct addr *a)
{
	char buf[ADDR_STRLEN];

	return json_object_set_new(o, key, json_string(addr_print(a, buf)));
}

/* ---- turn.status ---- */

static json_t *relays_json(const struct turn_service *ts)
{
	json_t *rows = json_array();
	char buf[ADDR_STRLEN];

	for (size_t i = 0; i < ts->net.relay.n; i++) {
		json_t *row = json_pack("{s:s}", "address", addr_print_ip(&ts->net.relay.v[i].at, buf));
		turn_external_describe(ts->external, &ts->net.relay.v[i], row);
		json_array_append_new(rows, row);
	}
	return rows;
}

struct io_sum {
	struct dgram_io_stats s;
	bool gro, gso, ring; /* in every worker */
};

static void add_io(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;
	struct io_sum *sum = arg;
	const struct dgram_io_stats *s = dgram_io_stats(w->dgram);

	sum->s.rx += s->rx;
	sum->s.rx_calls += s->rx_calls;
	sum->s.tx += s->tx;
	sum->s.tx_calls += s->tx_calls;
	sum->s.tx_dropped += s->tx_dropped;
	sum->s.tx_errors += s->tx_errors;
	sum->gro &= s->gro;
	sum->gso &= s->gso;
	sum->ring &= s->ring;
}

static json_t *prefixes_json(const struct cfg_list *l)
{
	const struct prefix *p = l->items;
	json_t *rows = json_array();
	char buf[PREFIX_STRLEN];

	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(rows, json_string(prefix_print(&p[i], buf)));
	return rows;
}

/* ---- the fast path ---- */

struct offload_sum {
	struct turn_offload_state state;
	uint64_t n[FAST_WHYS];
};

static void add_offload(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;
	struct offload_sum *sum = arg;

	if (w->offload)
		turn_offload_state(w->offload, &sum->state);
	turn_server_count_offloaded(w->server);
	turn_server_why_offload(w->server, loop_now(w->loop), sum->n);
}

static json_t *fast_path_json(struct turn_service *ts)
{
	static const char *const modes[] = { "off", "tc", "xdp" };
	struct offload_sum sum = { 0 };
	json_t *others = json_array();
	json_int_t all = 0;

	workers_call(&ts->workers, add_offload, &sum);
	for (size_t i = 0; i < FAST_WHYS; i++) {
		all += (json_int_t)sum.n[i];
		if (i != FAST_OFFLOADED && sum.n[i])
			json_array_append_new(others, json_pack("{s:s, s:I}", "why", fast_why_texts[i], "channels", (json_int_t)sum.n[i]));
	}
	return json_pack("{s:b, s:i, s:s, s:s, s:I, s:I, s:o, s:I, s:I}", "enabled", turn_policy_config(ts->policy)->fast_path.mode != FAST_OFF,
			 "workers_connected", (int)sum.state.connected, "mode", modes[sum.state.mode], "interfaces", sum.state.interfaces,
			 "channels", all, "offloaded", (json_int_t)sum.n[FAST_OFFLOADED], "others", others,
			 "packets_to_peer", (json_int_t)metric_sum(ts->metrics, TURN_M_OFFLOADED_PACKETS, TURN_UP),
			 "packets_to_client", (json_int_t)metric_sum(ts->metrics, TURN_M_OFFLOADED_PACKETS, TURN_DOWN));
}

/* ---- turn.status: realms ---- */

static json_t *names_json(const struct cfg_list *l)
{
	char *const *names = l->items;
	json_t *rows = json_array();

	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(rows, json_string(names[i]));
	return rows;
}

static json_t *endpoints_json(const struct cfg_list *l)
{
	const struct cfg_endpoint *e = l->items;
	json_t *rows = json_array();
	char at[ADDR_STRLEN];

	for (size_t i = 0; i < l->n; i++)
		json_array_append_new(rows, json_sprintf("%s:%s", turn_listen_kinds[e[i].proto].name, addr_print(&e[i].at, at)));
	return rows;
}

static json_int_t limit_json(uint64_t limit)
{
	return limit == UINT64_MAX ? -1 : (json_int_t)limit;
}

/* Without the one of a test that is under way. */
static json_int_t n_users(const struct turn_service *ts, const struct turn_realm *x)
{
	return (json_int_t)x->n_users - turn_self_test_is_in(ts, x);
}

/* The default realm first, then the others, then those that a reload removed and that still have allocations. */
static json_t *realms_json(const struct turn_service *ts)
{
	const struct turn_policy *p = ts->policy;
	json_t *rows = json_array();

	for (size_t i = 0; i < turn_policy_n_realms(p); i++) {
		const struct turn_realm *x = turn_policy_nth_realm(p, i);
		json_array_append_new(rows, json_pack("{s:s, s:b, s:o, s:o, s:b, s:I, s:I, s:I, s:I}", "name", x->name, "removed", 0,
			"server_names", names_json(&x->server_names), "listen", endpoints_json(&x->listen), "password",
			x->password != NULL, "users", n_users(ts, x), "secrets", (json_int_t)x->secrets.n, "allocations",
			(json_int_t)turn_totals_of_realm(ts->totals, x->slot), "allocations_limit", limit_json(x->limits.allocations)));
	}
	for (unsigned slot = 1; slot < TURN_REALM_SLOTS; slot++)
		if (turn_policy_is_retired(p, slot) && turn_totals_of_realm(ts->totals, slot) > 0)
			json_array_append_new(rows, json_pack("{s:s, s:b, s:I}", "name", turn_policy_realm(p, slot)->name, "removed",
							      1, "allocations", (json_int_t)turn_totals_of_realm(ts->totals, slot)));
	return rows;
}

static void verb_status(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	const struct turn_config *cfg = turn_policy_config(ts->policy);
	struct io_sum sum = { .gro = true, .gso = true, .ring = true };

	(void)args;
	workers_call(&ts->workers, add_io, &sum);
	control_reply(rq, json_pack("{s:s, s:o, s:b, s:o, s:o*, s:o, s:i, s:i, s:i, s:I, s:I, s:I, s:b, s:I, s:I, s:o, s:o, s:o, s:{s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I}}",
		"realm", cfg->realm, "realms", realms_json(ts), "draining", ts->draining, "listeners", turn_listeners_json(ts, true), "front", turn_front_json(ts), "relay_addresses", relays_json(ts),
		"relay_port_first", (int)cfg->relay.ports.first, "relay_port_last", (int)cfg->relay.ports.last,
		"workers", (int)ts->n_workers,
		"allocations", (json_int_t)turn_totals_allocations(ts->totals),
		"allocations_limit", limit_json(cfg->limits.allocations),
		"connections", (json_int_t)clients_count(ts->clients),
		"password", cfg->password != NULL, "users", n_users(ts, turn_policy_realm(ts->policy, 0)),
		"secrets", (json_int_t)turn_policy_realm(ts->policy, 0)->secrets.n, "peers_allowed", prefixes_json(&cfg->peers.allow),
		"peers_denied", prefixes_json(&cfg->peers.deny), "fast_path", fast_path_json(ts),
		"io", "gro", sum.gro, "gso", sum.gso, "ring", sum.ring, "received", (json_int_t)sum.s.rx,
		"receive_calls", (json_int_t)sum.s.rx_calls, "sent", (json_int_t)sum.s.tx, "send_calls",
		(json_int_t)sum.s.tx_calls, "send_dropped", (json_int_t)sum.s.tx_dropped, "send_errors",
		(json_int_t)sum.s.tx_errors));
}

/* ---- turn.sessions: pages in order of (worker, age); the cursor is the last id ---- */

struct page {
	json_t *rows;
	unsigned left;
	uint64_t after; /* id to go on behind, within worker `worker` */
	unsigned worker;
	const char *realm; /* NULL: of all */
	uint64_t now;
};

static unsigned worker_of(uint64_t id)
{
	return (unsigned)(id & 0xff);
}

static void add_session(const struct turn_session_info *i, void *arg)
{
	struct page *pg = arg;
	json_t *row = json_pack("{s:I, s:s%, s:s, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "id", (json_int_t)i->id,
		"user", i->user, strlen(i->user), "realm", i->realm, "realm_removed", i->retired, "transport", i->transport,
		"age_ms", (json_int_t)(pg->now - i->created_ms),
		"remaining_ms", (json_int_t)(i->expires_ms > pg->now ? i->expires_ms - pg->now : 0),
		"packets_up", (json_int_t)i->packets_up, "bytes_up", (json_int_t)i->bytes_up,
		"packets_down", (json_int_t)i->packets_down, "bytes_down", (json_int_t)i->bytes_down,
		"permissions", (int)i->permissions, "channels", (int)i->channels);

	if (!row)
		return;
	set_addr(row, "client", &i->client);
	set_addr(row, "local", &i->local);
	set_addr(row, "relay", &i->relay);
	json_array_append_new(pg->rows, row);
	pg->left--;
}

static void add_sessions(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;
	struct page *pg = arg;

	if (w->index < pg->worker || pg->left == 0)
		return;
	pg->now = loop_now(w->loop);
	turn_server_sessions(w->server, &(struct turn_session_query){ w->index == pg->worker ? pg->after : 0, pg->left, pg->realm },
			     pg->now, add_session, pg);
}

static void verb_sessions(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	json_int_t limit = json_integer_value(json_object_get(args, "limit"));
	const json_t *cursor = json_object_get(args, "cursor");
	struct page pg = { .left = limit > 0 ? (unsigned)MIN(limit, PAGE_MAX) : PAGE,
			   .realm = json_string_value(json_object_get(args, "realm")) };
	unsigned asked = pg.left;

	if (cursor) {
		pg.after = (uint64_t)json_integer_value(cursor);
		pg.worker = worker_of(pg.after);
	}
	pg.rows = json_array();
	workers_call(&ts->workers, add_sessions, &pg);
	json_t *result = json_pack("{s:O}", "rows", pg.rows);
	size_t n = json_array_size(pg.rows);
	if (pg.left == 0 && n == asked) /* there may be more */
		json_object_set(result, "cursor", json_object_get(json_array_get(pg.rows, n - 1), "id"));
	json_decref(pg.rows);
	control_reply(rq, result);
}

/* ---- turn.kill ---- */

struct kill {
	uint64_t id;
	const char *realm;
	unsigned done;
};

static void kill_sessions(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;
	struct kill *k = arg;

	k->done += turn_server_kill_realm(w->server, k->realm, loop_now(w->loop));
}

static void kill_session(struct worker *wk, void *arg)
{
	struct turn_worker *w = wk->state;
	struct kill *k = arg;

	if (w->index == worker_of(k->id))
		k->done = turn_server_kill(w->server, k->id, loop_now(w->loop));
}

/* Those of a list that are still there; which of them were not is told, for they may have ended meanwhile. */
static void kill_listed(struct turn_service *ts, struct control_request *rq, const json_t *ids)
{
	json_t *killed = json_array(), *gone = json_array(), *id;
	size_t i;

	json_array_foreach(ids, i, id) {
		struct kill k = { .id = (uint64_t)json_integer_value(id) };
		if (json_is_integer(id))
			workers_call(&ts->workers, kill_session, &k);
		json_array_append(k.done ? killed : gone, id);
	}
	control_reply(rq, json_pack("{s:o, s:o}", "killed", killed, "gone", gone));
}

static void verb_kill(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	const json_t *id = json_object_get(args, "id");
	struct kill k = { .id = (uint64_t)json_integer_value(id), .realm = json_string_value(json_object_get(args, "realm")) };

	if (k.realm) {
		workers_call(&ts->workers, kill_sessions, &k);
		control_reply(rq, json_pack("{s:s, s:I}", "realm", k.realm, "killed", (json_int_t)k.done));
		return;
	}
	if (json_is_array(json_object_get(args, "ids"))) {
		kill_listed(ts, rq, json_object_get(args, "ids"));
		return;
	}
	if (!json_is_integer(id)) {
		control_fail(rq, "bad-request", "stile turn sessions shows the ids", "id must be a number");
		return;
	}
	workers_call(&ts->workers, kill_session, &k);
	if (k.done)
		control_reply(rq, json_pack("{s:I}", "killed", (json_int_t)k.id));
	else
		control_fail(rq, "not-found", "stile turn sessions", "there is no session %llu", (unsigned long long)k.id);
}

/* ---- turn.credentials ---- */

const struct turn_realm *turn_realm_of_args(const struct turn_service *ts, struct control_request *rq, const json_t *args)
{
	const char *name = json_string_value(json_object_get(args, "realm"));
	const struct turn_realm *x = turn_policy_find_realm(ts->policy, name);

	if (!x)
		control_fail(rq, "not-found", "stile status names the realms", "there is no realm %s", name);
	return x;
}

static const struct turn_secret_section *find_secret(const struct turn_realm *x, const char *id)
{
	const struct turn_secret_section *s = x->secrets.items;

	for (size_t i = 0; i < x->secrets.n; i++)
		if (!id || strcmp(s[i].id, id) == 0)
			return &s[i];
	return NULL;
}

static void verb_credentials(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	const char *name = json_string_value(json_object_get(args, "name"));
	const char *secret_id = json_string_value(json_object_get(args, "secret"));
	json_int_t ttl = json_integer_value(json_object_get(args, "ttl"));
	const char *mac = json_string_value(json_object_get(args, "mac"));
	const struct turn_realm *x = turn_realm_of_args(ts, rq, args);
	const struct turn_secret_section *s = x ? find_secret(x, secret_id) : NULL;
	struct turn_minted made;

	if (!x)
		return;
	if (!s) {
		control_fail(rq, "not-found", x->slot ? "write, in this realm: secrets: [ { id: 2026a, secret: … } ]" :
							"write: turn.secrets: [ { id: 2026a, secret: … } ]",
			     secret_id ? "there is no secret %s in realm %s" : "no shared secret is configured%s in realm %s",
			     secret_id ? secret_id : "", x->name);
		return;
	}
	ttl = ttl > 0 ? MIN(ttl, CREDENTIAL_TTL_MAX_S) : CREDENTIAL_TTL_S;
	uint64_t expiry = (uint64_t)time(NULL) + (uint64_t)ttl;
	int r = turn_mint_credential(mac && strcmp(mac, "sha256") == 0 ? STUN_MAC_SHA256 : STUN_MAC_SHA1,
				     text_of(s->secret), text_of(name ? name : "user"), expiry, &made);
	if (r != 0) {
		control_fail(rq, "bad-request", NULL, "cannot make a credential for this name");
		return;
	}
	control_reply(rq, json_pack("{s:s, s:s, s:I, s:I, s:s, s:s, s:o}", "username", made.user, "password", made.password, "ttl",
				    (json_int_t)ttl, "expires", (json_int_t)expiry, "secret", s->id, "realm",
				    x->name, "listeners", turn_listeners_json(ts, false)));
	bytes_wipe(&made, sizeof made);
}

/* ---- turn.snippet ---- */

/* Without a shared secret the credential is some user's own, which this server does not give away: it says whose. */
static json_t *unfinished(const struct turn_realm *x)
{
	const char *of = x->password ? (x->slot ? "realm's password" : "turn.password") : "user's password";

	return json_pack("{s:s, s:s}", "username", x->password ? "stile" : "", "credential_of", of);
}

static json_t *finished(const struct turn_realm *x, const json_t *args)
{
	const struct turn_secret_section *s = x->secrets.items;
	json_int_t ttl = json_integer_value(json_object_get(args, "ttl"));
	const char *name = json_string_value(json_object_get(args, "name"));
	struct turn_minted made;
	json_t *o = NULL;

	ttl = ttl > 0 ? MIN(ttl, CREDENTIAL_TTL_MAX_S) : CREDENTIAL_TTL_S;
	uint64_t expiry = (uint64_t)time(NULL) + (uint64_t)ttl;
	if (turn_mint_credential(STUN_MAC_SHA1, text_of(s->secret), text_of(name ? name : "stile"), expiry, &made) == 0)
		o = json_pack("{s:s, s:s, s:I, s:s}", "username", made.user, "credential", made.password, "expires",
			      (json_int_t)expiry, "secret", s->id);
	bytes_wipe(&made, sizeof made);
	return o;
}

static void verb_snippet(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	const struct turn_config *cfg = turn_policy_config(ts->policy);
	const struct turn_realm *x = turn_realm_of_args(ts, rq, args);
	const char *host = json_string_value(json_object_get(args, "host"));
	char buf[ADDR_STRLEN];
	json_t *o;

	if (!x)
		return;
	o = x->secrets.n ? finished(x, args) : unfinished(x);
	if (!o) {
		control_fail(rq, "bad-request", NULL, "cannot make a credential for this name");
		return;
	}
	json_object_set_new(o, "urls", turn_snippet_urls(cfg, host && *host ? host : turn_snippet_host(cfg, buf)));
	control_reply(rq, o);
}

static void count_offloaded(struct worker *wk, void *arg)
{
	(void)arg;
	turn_server_count_offloaded(((struct turn_worker *)wk->state)->server);
}

static void verb_metrics(struct control_request *rq, const json_t *args, void *arg)
{
	struct turn_service *ts = arg;
	bool text = json_is_true(json_object_get(args, "text"));

	workers_call(&ts->workers, count_offloaded, NULL);
	if (!text) {
		control_reply(rq, metrics_json(ts->metrics));
		return;
	}
	char *t = metrics_prometheus(ts->metrics);
	control_reply(rq, json_pack("{s:s}", "text", t ? t : ""));
	free(t);
}

static const struct control_verb verbs[] = {
	{ "turn.status", CONTROL_VIEWER, verb_status, "listeners, relay addresses, credential sources, counts" },
	{ "turn.sessions", CONTROL_VIEWER, verb_sessions, "{limit, cursor, realm}: allocations with their five-tuple, bytes and lifetime" },
	{ "turn.kill", CONTROL_OPERATOR, verb_kill, "{id}, {ids} or {realm}: ends one allocation, several, or all of a realm" },
	{ "turn.credentials", CONTROL_OPERATOR, verb_credentials, "{name, ttl, secret, mac, realm}: mints a time-limited credential" },
	{ "turn.why", CONTROL_OPERATOR, turn_verb_why, "{match, limit, realm}: recent refusals of a user or an address, newest first" },
	{ "turn.snippet", CONTROL_OPERATOR, verb_snippet, "{host, name, ttl, realm}: iceServers of a WebRTC page, with a credential if there is a secret" },
	{ "turn.peer", CONTROL_VIEWER, turn_verb_peer, "{address, realm}: may clients reach this peer, and by which rule" },
	{ "turn.metrics", CONTROL_VIEWER, verb_metrics, "{text}: counters, as JSON or as Prometheus text" },
};

void turn_add_verbs(struct turn_service *ts)
{
	control_add_verbs(ts->svc->control, verbs, ARRAY_LEN(verbs), ts);
}
