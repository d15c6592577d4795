/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of stile-console: open() binds its ports and reads its certificate while still privileged; start() reads the
 * accounts and begins to serve; a reload takes a new certificate, new addresses and new limits of sessions and leaves every
 * connection and stream as it is.
 *
 * At the first start there is no administrator. A one-time token, made anew at each start and kept in memory only, is shown by
 * `stile console setup` to whoever may ask this control socket as an administrator, and by nobody else.
 */
#include "console/service.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/clock.h"
#include "console/archives.h"
#include "console/shares.h"
#include "console/console.h"
#include "console/log_msgs.h"
#include "console/runs.h"
#include "console/tool.h"

/* ---- TLS ---- */

static int read_tls(const struct console_config *k, char *err, size_t err_n, struct httpd_tls **ret_t)
{
	struct httpd_tls_options o = { .cert_file = k->certificate, .key_file = k->key, .client_ca_file = k->client_ca,
				       .client_crl_file = k->client_crl };

	*ret_t = NULL;
	return k->certificate ? httpd_tls_new(&o, err, err_n, ret_t) : 0;
}

static int on_open(struct service *s, char *err, size_t err_n)
{
	const struct console_root *root = cfg_values(s->cfg);
	const struct listeners none = { .n = 0 };
	struct console *c = calloc(1, sizeof(*c));
	int r;

	(void)snprintf(err, err_n, "out of memory");
	if (!c)
		return -ENOMEM;
	s->state = c;
	c->svc = s;
	s->drain_limit_ms = 3000;
	r = read_tls(&root->console, err, err_n, &c->tls);
	return r < 0 ? r : listeners_plan(&none, &root->console, &c->listeners, err, err_n);
}

/* ---- refusals ---- */

static void on_refused(enum httpd_refusal why, const struct addr *peer, const char *text, void *arg)
{
	struct console *c = arg;
	uint64_t suppressed;

	metric_add(c->metrics, 0, CONSOLE_M_REFUSED, why, 1);
	if (log_gate_pass(&c->gate, loop_now(c->svc->loop), &suppressed))
		log_emit(&MSG_CONSOLE_REFUSED, LF_STR("reason", httpd_refusal_names[why]), LF_ADDR("client", peer), LF_STR("text", text));
}

static void on_short(int err, void *arg)
{
	(void)arg;
	log_emit(&MSG_CONSOLE_SHORT, LF_ERRNO("error", err));
}

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	(void)local;
	httpd_take(arg, fd, peer);
}

static const struct acceptor_ops accept_ops = { .on_accept = on_accept, .on_error = on_short };
static const struct httpd_ops http_ops = { console_on_request, on_refused };
static const struct httpd_ops plain_ops = { console_on_metrics, on_refused };

/* ---- verbs ---- */

static void own_address(const struct console *c, char *out, size_t n)
{
	const struct console_config *k = console_config(c);
	char text[ADDR_STRLEN];

	out[0] = 0;
	if (k->listen.n)
		(void)snprintf(out, n, "%s://%s/", c->tls ? "https" : "http", addr_print(k->listen.items, text));
}

static void verb_status(struct control_request *rq, const json_t *args, void *arg)
{
	struct console *c = arg;
	char url[128];

	(void)args;
	own_address(c, url, sizeof(url));
	control_reply(rq, json_pack("{s:s, s:b, s:i, s:i, s:i, s:i, s:i, s:b}", "url", url, "setup_needed", c->setup_token[0] != 0, "users",
				    (int)c->accounts->n_users, "sessions", (int)c->accounts->n_sessions, "tokens", (int)c->accounts->n_tokens,
				    "streams", (int)events_streams(c->events), "connections", (int)httpd_counts(c->http)->conns, "client_certificates",
				    console_config(c)->client_ca != NULL));
}

static void verb_setup(struct control_request *rq, const json_t *args, void *arg)
{
	struct console *c = arg;
	char url[128], link[256] = "";

	(void)args;
	own_address(c, url, sizeof(url));
	if (c->setup_token[0])
		(void)snprintf(link, sizeof(link), "%s#/setup?token=%s", url, c->setup_token);
	control_reply(rq, json_pack("{s:b, s:s, s:s, s:s}", "needed", c->setup_token[0] != 0, "url", url, "token", c->setup_token, "link", link));
}

/* Without what would let anybody take one over. */
static void verb_sessions(struct control_request *rq, const json_t *args, void *arg)
{
	struct console *c = arg;
	json_t *rows = json_array();
	int64_t now = clock_unix_ms();

	(void)args;
	list_for_each(it, &c->accounts->sessions) {
		const struct session *s = list_entry(it, struct session, node);

		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "user", s->user->name, "role", role_name(s->user->role), "address",
						      s->address, "agent", s->agent, "age_ms", (json_int_t)(now - s->created_at), "idle_ms",
						      (json_int_t)(now - s->seen_at)));
	}
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

static void verb_metrics(struct control_request *rq, const json_t *args, void *arg)
{
	struct console *c = arg;
	char *text;

	metric_set(c->metrics, 0, CONSOLE_M_CONNECTIONS, 0, httpd_counts(c->http)->conns);
	if (!json_is_true(json_object_get(args, "text"))) {
		control_reply(rq, metrics_json(c->metrics));
		return;
	}
	text = metrics_prometheus(c->metrics);
	control_reply(rq, json_pack("{s:s}", "text", text ? text : ""));
	free(text);
}

struct new_password {
	struct console *c;
	struct control_request *rq;
	char name[64], who[64];
};

static void on_password_saved(int r, void *arg)
{
	struct new_password *n = arg;

	if (r < 0)
		control_fail(n->rq, "failed", NULL, "the store is full or failing");
	else
		control_reply(n->rq, json_pack("{s:s}", "user", n->name));
	free(n);
}

static void on_password_hash(bool match, const char *hash, void *arg)
{
	struct new_password *n = arg;
	struct user *u = user_find(n->c->accounts, n->name);

	(void)match;
	if (!u || !*hash) {
		control_fail(n->rq, "failed", NULL, "the account is gone, or the service stops");
		free(n);
		return;
	}
	(void)snprintf(u->hash, sizeof(u->hash), "%s", hash);
	u->totp = false; /* whoever lost his password has often lost the telephone, too */
	sessions_remove_of(n->c->accounts, u, NULL);
	user_save(n->c->accounts, u, n->who, on_password_saved, n);
}

/* The way back in for who has root's rights on this machine and no password. */
static void verb_password(struct control_request *rq, const json_t *args, void *arg)
{
	const char *name = json_string_value(json_object_get(args, "user")), *password = json_string_value(json_object_get(args, "password"));
	struct console *c = arg;
	struct user *u = user_find(c->accounts, name);
	struct new_password *n;

	if (!u || !password || strlen(password) < PASSWORD_MIN || strlen(password) > PASSWORD_MAX) {
		control_fail(rq, u ? "bad-request" : "not-found", u ? "{\"user\":\"alice\",\"password\":\"…\"}" : NULL,
			     u ? "a password has 10 to 256 bytes" : "there is no account of this name");
		return;
	}
	n = calloc(1, sizeof(*n));
	if (n) {
		*n = (struct new_password){ .c = c, .rq = rq };
		(void)snprintf(n->name, sizeof(n->name), "%s", name);
		(void)snprintf(n->who, sizeof(n->who), "%s", control_request_who(rq));
	}
	if (!n || hasher_make(c->hasher, password, on_password_hash, n) < 0) {
		control_fail(rq, "busy", NULL, "too many passwords are being hashed");
		free(n);
		return;
	}
	log_emit(&MSG_CONSOLE_ACCOUNT, LF_STR("what", "password"), LF_STR("of", name), LF_STR("by", control_request_who(rq)));
}

static const struct control_verb verbs[] = {
	{ "console.status", CONTROL_VIEWER, verb_status, "address, accounts, sessions, streams, and whether the set-up is still to be done" },
	{ "console.setup", CONTROL_ADMIN, verb_setup, "the address and the one-time token of the first login" },
	{ "console.password", CONTROL_ADMIN, verb_password, "{user, password}: a new password; one-time codes go off, sessions end" },
	{ "console.sessions", CONTROL_OPERATOR, verb_sessions, "who is logged in: user, address, browser, when last seen" },
	{ "console.api", CONTROL_ADMIN, console_on_tool,
	  "{method, path, body}: users, tokens, sessions and audit of the console, as its REST API has them" },
	{ "console.metrics", CONTROL_VIEWER, verb_metrics, "{text}: counters, as JSON or as Prometheus text" },
};

/* ---- start ---- */

static int begin_setup(struct console *c)
{
	uint8_t random[16];
	char url[128];

	if (accounts_admins(c->accounts) > 0)
		return 0;
	if (bytes_random(random, sizeof(random)) < 0)
		return -EIO;
	hex_encode(random, sizeof(random), c->setup_token);
	own_address(c, url, sizeof(url));
	log_emit(&MSG_CONSOLE_SETUP, LF_STR("url", url));
	return 0;
}

static int make_http(struct console *c, struct httpd_tls *tls, struct httpd **ret_h)
{
	const struct httpd_limits limits = { .conns = (unsigned)console_config(c)->connections,
					     .conns_per_addr = (unsigned)console_config(c)->connections / 4 };

	return httpd_new(c->svc->loop, &limits, tls, &http_ops, c, ret_h);
}

static int start_parts(struct console *c, char *err, size_t err_n)
{
	const struct httpd_limits few = { .conns = 32 };
	int r = metrics_new(console_metric_rows, CONSOLE_METRICS, 1, &c->metrics);

	if (r == 0)
		r = throttle_new(&c->throttle);
	if (r == 0)
		r = events_new(c, EVENTS_KEEP_MS, &c->events);
	if (r == 0)
		r = accounts_new(c, err, err_n, &c->accounts);
	if (r == 0)
		r = hasher_new(c->svc->loop, &c->hasher);
	if (r == 0)
		r = backends_new(c, &c->backends);
	if (r == 0)
		r = load_new(c, &c->load);
	if (r == 0)
		r = runs_new(c->svc->loop, &c->runs);
	if (r == 0)
		r = archives_new(c, &c->archives);
	if (r == 0)
		r = made_shares_new(c, &c->shares);
	if (r == 0)
		r = make_http(c, c->tls, &c->http);
	if (r == 0)
		r = httpd_new(c->svc->loop, &few, NULL, &plain_ops, c, &c->plain);
	return r < 0 ? r : begin_setup(c);
}

static int begin_listener(const struct listener *l, int fd, struct acceptor **ret_a, void *arg)
{
	struct console *c = arg;
	int r = acceptor_new(c->svc->loop, fd, &accept_ops, l->metrics ? c->plain : c->http, ret_a);

	if (r == 0 && !l->metrics)
		log_emit(&MSG_CONSOLE_LISTENING, LF_ADDR("address", &l->at), LF_BOOL("tls", c->tls != NULL),
			 LF_BOOL("client_certificates", console_config(c)->client_ca != NULL));
	return r;
}

static int on_start(struct service *s, char *err, size_t err_n)
{
	struct console *c = s->state;
	struct listeners plan = c->listeners, none = { .n = 0 };
	int r;

	(void)snprintf(err, err_n, "out of memory");
	r = start_parts(c, err, err_n);
	if (r < 0)
		return r;
	c->listeners = none;
	r = listeners_take(&c->listeners, &plan, false, begin_listener, c);
	return r < 0 ? r : control_add_verbs(s->control, verbs, ARRAY_LEN(verbs), c);
}

/* ---- reload and stop ---- */

static int on_examine(struct service *s, const struct cfg *cfg, struct service_changes *ch, char *err, size_t err_n)
{
	const struct console_config *k = &((const struct console_root *)cfg_values(cfg))->console;
	struct console *c = s->state;
	struct httpd_tls *t = NULL;
	struct listeners plan;
	int r = read_tls(k, err, err_n, &t);

	(void)ch;
	httpd_tls_unref(t);
	if (r == 0)
		r = listeners_plan(&c->listeners, k, &plan, err, err_n);
	if (r == 0)
		listeners_drop(&plan);
	return r;
}

/* tls: what holds from now on; taken. The server that was stays for its streams, if TLS has come or gone. */
static int change_over(struct console *c, struct httpd_tls *tls, struct listeners *plan)
{
	bool other = !tls != !c->tls;
	struct httpd *was = c->http;
	struct httpd_tls *was_tls = c->tls;
	int r = other ? make_http(c, tls, &c->http) : 0;

	if (r < 0) {
		listeners_drop(plan);
		return r;
	}
	c->tls = tls;
	r = listeners_take(&c->listeners, plan, other, begin_listener, c);
	if (r < 0) {
		c->tls = was_tls;
		if (other)
			httpd_free(c->http);
		c->http = was;
		return r;
	}
	if (other) {
		httpd_free(c->old);
		c->old = was;
		httpd_drain(was);
	} else if (tls) {
		httpd_set_tls(c->http, tls);
	}
	httpd_tls_unref(was_tls);
	return 0;
}

static int on_reload(struct service *s, struct cfg *cfg, char *err, size_t err_n)
{
	const struct console_config *k = &((const struct console_root *)cfg_values(cfg))->console;
	struct console *c = s->state;
	struct httpd_tls *t = NULL;
	struct listeners plan;
	int r = read_tls(k, err, err_n, &t);

	if (r < 0) {
		log_emit(&MSG_CONSOLE_TLS_FAILED, LF_STR("reason", err));
		return r;
	}
	r = listeners_plan(&c->listeners, k, &plan, err, err_n);
	if (r == 0) {
		r = change_over(c, t, &plan);
		if (r < 0)
			(void)snprintf(err, err_n, "%s", strerror(-r));
	}
	if (r < 0)
		httpd_tls_unref(t);
	return r;
}

static bool on_drain(struct service *s)
{
	struct console *c = s->state;

	if (!c->stopping) {
		c->stopping = true;
		listeners_close(&c->listeners);
		httpd_drain(c->http);
		httpd_drain(c->plain);
	}
	return httpd_counts(c->http)->conns <= events_streams(c->events);
}

static void on_stop(struct service *s)
{
	struct console *c = s->state;

	if (!c)
		return;
	listeners_close(&c->listeners);
	httpd_free(c->http);
	httpd_free(c->old);
	httpd_free(c->plain);
	hasher_free(c->hasher);
	backends_free(c->backends); /* before those whose questions wait there */
	runs_free(c->runs);
	made_shares_free(c->shares);
	archives_free(c->archives);
	load_free(c->load);
	events_free(c->events);
	accounts_free(c->accounts);
	throttle_free(c->throttle);
	metrics_free(c->metrics);
	httpd_tls_unref(c->tls);
	explicit_bzero(c->setup_token, sizeof(c->setup_token));
	free(c);
	s->state = NULL;
}

const struct service_ops console_service_ops = {
	.program = "stile-console",
	.summary = "The web console of Stile, its REST API and its metrics",
	.config = &console_cfg_root,
	.check = console_config_check,
	.log_config = console_log_config,
	.store_path = console_store_path,
	.store_kinds = console_store_kinds,
	.program_path = tool_path,
	.writes_config = true,
	.open = on_open,
	.start = on_start,
	.examine = on_examine,
	.reload = on_reload,
	.drain = on_drain,
	.stop = on_stop,
};
