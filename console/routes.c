/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API as one table, and the way of a request to its row: host → row → who asks → may he → the body → the handler. A row
 * is the only place where a right is given, so that no handler can forget to ask for it. A body takes as long as its sender likes:
 * when it is there who asks is judged again, for his session may have ended, or his rights be less. tests/console/api.py
 * holds console/openapi.json against this table, both ways.
 *
 * A session comes by its cookie; a request of it that changes something must show the session's CSRF token in a header, which
 * no other page can read or send, and must not come from another origin. A token comes by Authorization and needs neither.
 */
#include "console/console.h"

#include <stdio.h>
#include <string.h>
#include "console/log_msgs.h"
#include "console/archives.h"
#include "console/runs.h"
#include "console/shares.h"

enum { BODY_MAX = 1 << 20, LONG_BODY_MAX = 16 << 20 };

#define API "/api/v1"
#define SERVICE API "/services/{service}"

/* clang-format off */
const struct route console_routes[] = {
	{ "GET",    "/healthz",					CONTROL_VIEWER,	  ROUTE_OPEN,		     healthz_get },
	{ "GET",    "/readyz",					CONTROL_VIEWER,	  ROUTE_OPEN,		     readyz_get },
	{ "GET",    "/metrics",					CONTROL_VIEWER,	  ROUTE_METRICS,	     metrics_get },
	{ "GET",    API "/openapi.json",			CONTROL_VIEWER,	  ROUTE_OPEN,		     openapi_get },
	{ "GET",    API "/setup",				CONTROL_VIEWER,	  ROUTE_OPEN,		     setup_get },
	{ "POST",   API "/setup",				CONTROL_VIEWER,	  ROUTE_OPEN | ROUTE_BODY,   setup_post },
	{ "POST",   API "/login",				CONTROL_VIEWER,	  ROUTE_OPEN | ROUTE_BODY,   login_post },
	{ "POST",   API "/logout",				CONTROL_VIEWER,	  ROUTE_BODY,		     logout_post },
	{ "GET",    API "/me",					CONTROL_VIEWER,	  0,			     me_get },
	{ "PUT",    API "/me",					CONTROL_VIEWER,	  ROUTE_BODY,		     me_put },
	{ "POST",   API "/me/totp",				CONTROL_VIEWER,	  ROUTE_BODY,		     totp_post },
	{ "POST",   API "/me/totp/confirm",			CONTROL_VIEWER,	  ROUTE_BODY,		     totp_confirm },
	{ "POST",   API "/me/totp/off",				CONTROL_VIEWER,	  ROUTE_BODY,		     totp_off },
	{ "GET",    API "/users",				CONTROL_ADMIN,	  ROUTE_TOOL, users_get },
	{ "POST",   API "/users",				CONTROL_ADMIN,	  ROUTE_BODY | ROUTE_TOOL, users_post },
	{ "PUT",    API "/users/{name}",			CONTROL_ADMIN,	  ROUTE_BODY | ROUTE_TOOL, user_put },
	{ "DELETE", API "/users/{name}",			CONTROL_ADMIN,	  ROUTE_TOOL, user_delete },
	{ "GET",    API "/tokens",				CONTROL_ADMIN,	  ROUTE_TOOL, tokens_get },
	{ "POST",   API "/tokens",				CONTROL_ADMIN,	  ROUTE_BODY | ROUTE_TOOL, tokens_post },
	{ "DELETE", API "/tokens/{id}",				CONTROL_ADMIN,	  ROUTE_TOOL, token_delete },
	{ "GET",    API "/sessions",				CONTROL_ADMIN,	  ROUTE_TOOL, sessions_get },
	{ "DELETE", API "/sessions/{id}",			CONTROL_ADMIN,	  ROUTE_TOOL, session_delete },
	{ "GET",    API "/audit",				CONTROL_ADMIN,	  ROUTE_TOOL, audit_get },
	{ "GET",    API "/events",				CONTROL_VIEWER,	  0,			     events_get },
	{ "GET",    API "/load",				CONTROL_VIEWER,	  0,			     load_get },
	{ "POST",   API "/qr",					CONTROL_VIEWER,	  ROUTE_BODY | ROUTE_READ,   qr_post },
	{ "GET",    API "/system",				CONTROL_VIEWER,	  0,			     system_get },
	{ "GET",    API "/services",				CONTROL_VIEWER,	  0,			     services_get },
	{ "GET",    API "/wizard",				CONTROL_VIEWER,	  0,			     wizard_get },
	{ "POST",   API "/tests",				CONTROL_OPERATOR, ROUTE_BODY,		     tests_post },
	{ "GET",    API "/tests/{id}",				CONTROL_OPERATOR, 0,			     test_get },
	{ "DELETE", API "/tests/{id}",				CONTROL_OPERATOR, 0,			     test_delete },
	{ "POST",   API "/backup",				CONTROL_ADMIN,	  ROUTE_BODY,		     backup_post },
	{ "POST",   API "/restores",				CONTROL_ADMIN,	  ROUTE_BYTES,		     restores_post },
	{ "POST",   API "/restores/{id}",			CONTROL_ADMIN,	  ROUTE_BODY,		     restore_post },
	{ "DELETE", API "/restores/{id}",			CONTROL_ADMIN,	  0,			     restore_delete },
	{ "GET",    API "/logs.zip",				CONTROL_OPERATOR, 0,			     logs_zip },
	{ "DELETE", API "/logs",				CONTROL_ADMIN,	  0,			     logs_delete },
	{ "GET",    SERVICE,					CONTROL_VIEWER,	  0,			     service_get },
	{ "POST",   SERVICE "/{action}",			CONTROL_OPERATOR, ROUTE_BODY,		     service_act },
	{ "GET",    SERVICE "/verbs",				CONTROL_VIEWER,	  0,			     verbs_get },
	{ "GET",    SERVICE "/verbs/{verb}",			CONTROL_VIEWER,	  0,			     verb_get },
	{ "POST",   SERVICE "/verbs/{verb}",			CONTROL_VIEWER,	  ROUTE_BODY | ROUTE_LONG,   verb_post },
	{ "GET",    SERVICE "/config",				CONTROL_OPERATOR, 0,			     config_get },
	{ "PUT",    SERVICE "/config/{path}",			CONTROL_ADMIN,	  ROUTE_BODY,		     config_put },
	{ "DELETE", SERVICE "/config/{path}",			CONTROL_ADMIN,	  0,			     config_delete },
	{ "GET",    SERVICE "/objects/{kind}",			CONTROL_OPERATOR, 0,			     objects_get },
	{ "PUT",    SERVICE "/objects/{kind}",			CONTROL_ADMIN,	  ROUTE_BODY,		     object_put },
	{ "DELETE", SERVICE "/objects/{kind}",			CONTROL_ADMIN,	  0,			     object_delete },
	{ "POST",   SERVICE "/changes",				CONTROL_ADMIN,	  ROUTE_BODY,		     changes_post },
	{ "GET",    SERVICE "/changes/{id}",			CONTROL_ADMIN,	  0,			     change_get },
	{ "POST",   SERVICE "/changes/{id}/validate",		CONTROL_ADMIN,	  ROUTE_BODY,		     change_validate },
	{ "POST",   SERVICE "/changes/{id}/commit",		CONTROL_ADMIN,	  ROUTE_BODY,		     change_commit },
	{ "POST",   SERVICE "/changes/{id}/abort",		CONTROL_ADMIN,	  ROUTE_BODY,		     change_abort },
	{ "POST",   SERVICE "/confirm",				CONTROL_ADMIN,	  ROUTE_BODY,		     confirm_post },
	{ "POST",   SERVICE "/undo",				CONTROL_ADMIN,	  ROUTE_BODY,		     undo_post },
	{ "GET",    SERVICE "/audit",				CONTROL_OPERATOR, 0,			     service_audit_get },
	{ "GET",    SERVICE "/shares",				CONTROL_OPERATOR, 0,			     made_shares_get },
	{ "POST",   SERVICE "/shares",				CONTROL_OPERATOR, ROUTE_BYTES,		     made_shares_post },
};
/* clang-format on */
const size_t console_n_routes = ARRAY_LEN(console_routes);

/* ---- which row ---- */

/* Segment by segment; a parameter is decoded, and its words are as good as a fixed segment's only if they are not empty, and UTF-8.
 * Fixed segments win over parameters, because every row is tried and the one with the fewest parameters is taken. */
static int match(const char *pattern, struct text path, char params[ROUTE_PARAMS][PARAM_MAX])
{
	struct text want = text_of(pattern);
	int n = 0;

	while (want.p && path.p) {
		struct text w = text_cut(&want, '/'), got = text_cut(&path, '/');

		if (w.n > 0 && w.p[0] == '{') {
			if (got.n == 0 || n == ROUTE_PARAMS || httpd_decode(got, false, params[n], PARAM_MAX) < 0 ||
			    !text_is_utf8(text_of(params[n])))
				return -1;
			n++;
		} else if (!text_eq(w, got)) {
			return -1;
		}
	}
	return want.p || path.p ? -1 : n;
}

static const struct route *find_route(struct text method, struct text path, char params[ROUTE_PARAMS][PARAM_MAX], bool *ret_path)
{
	const struct route *best = NULL;
	int fewest = ROUTE_PARAMS + 1;

	*ret_path = false;
	for (size_t i = 0; i < console_n_routes; i++) {
		char tried[ROUTE_PARAMS][PARAM_MAX] = { "" };
		int n = match(console_routes[i].pattern, path, tried);

		if (n < 0)
			continue;
		*ret_path = true;
		if (n >= fewest || !text_eq(method, text_of(console_routes[i].method)))
			continue;
		best = &console_routes[i];
		fewest = n;
		memcpy(params, tried, sizeof(tried));
	}
	return best;
}

/* ---- who asks ---- */

static bool take_bearer(struct ask *a, const char *authorization)
{
	const struct user *maker;
	struct token *t;

	if (strncasecmp(authorization, "Bearer ", 7) != 0)
		return false;
	t = token_of_secret(a->c->accounts, authorization + 7);
	if (!t)
		return false;
	(void)snprintf(a->who.name, sizeof(a->who.name), "token %.50s", t->name);
	(void)snprintf(a->who.id, sizeof(a->who.id), "%s", t->id);
	maker = user_find(a->c->accounts, t->user); /* NULL: the tool's, by the right of its machine's root */
	(void)snprintf(a->who.user, sizeof(a->who.user), "%s", t->user);
	a->who.role = maker ? MIN(t->role, maker->role) : t->role;
	a->who.scope = t->scope;
	return true;
}

static const char cookie_name[] = "__Host-stile=";

/* The value of our cookie; two of them are none: somebody has planted one. */
static bool find_cookie(const struct ask *a, char *out, size_t n)
{
	struct text rest = text_of(httpd_field(a->rq, "Cookie"));
	bool found = false;

	if (httpd_fields(a->rq, "Cookie") != 1)
		return false;
	while (rest.p) {
		struct text one = text_trim(text_cut(&rest, ';'));

		if (!text_starts(one, text_of(cookie_name)))
			continue;
		one = text_drop(one, sizeof(cookie_name) - 1);
		if (found || one.n >= n)
			return false;
		memcpy(out, one.p, one.n);
		out[one.n] = 0;
		found = true;
	}
	return found;
}

static bool take_cookie(struct ask *a)
{
	char cookie[128];
	struct session *s;

	if (!find_cookie(a, cookie, sizeof(cookie)))
		return false;
	s = session_of_cookie(a->c->accounts, cookie);
	if (!s)
		return false;
	a->who.session = s;
	memcpy(a->who.id, s->id, sizeof(a->who.id));
	a->who.role = s->user->role;
	a->who.scope = SCOPE_READ | SCOPE_WRITE | SCOPE_METRICS;
	(void)snprintf(a->who.name, sizeof(a->who.name), "%s", s->user->name);
	(void)snprintf(a->who.user, sizeof(a->who.user), "%s", s->user->name);
	return true;
}

static bool changes(const struct route *r)
{
	return strcmp(r->method, "GET") != 0 && !(r->flags & ROUTE_READ);
}

/* Browsers say where a request comes from; who says nothing is no browser. */
static bool is_other_origin(const struct ask *a)
{
	const char *origin = httpd_field(a->rq, "Origin"), *host = httpd_field(a->rq, "Host"), *site = httpd_field(a->rq, "Sec-Fetch-Site");

	if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
		return true;
	if (!origin || !host)
		return false;
	if (strncmp(origin, "https://", 8) == 0)
		return strcasecmp(origin + 8, host) != 0;
	return strncmp(origin, "http://", 7) != 0 || strcasecmp(origin + 7, host) != 0;
}

bool ask_may(struct ask *a)
{
	const struct route *r = a->route;
	const char *authorization = httpd_field(a->rq, "Authorization");
	bool known;
	unsigned scope = r->flags & ROUTE_METRICS ? SCOPE_METRICS | SCOPE_READ : changes(r) ? SCOPE_WRITE : SCOPE_READ | SCOPE_WRITE;

	a->who = (struct identity){ .session = NULL };
	known = authorization ? take_bearer(a, authorization) : take_cookie(a);
	if (changes(r) && is_other_origin(a)) {
		ask_fail(a, 403, "csrf", "this request comes from a page of another site");
		return false;
	}
	if (r->flags & ROUTE_OPEN)
		return true;
	if (!known) {
		ask_fail(a, 401, "not-logged-in", "log in first: the session has ended, or there was none");
		return false;
	}
	if (a->who.session && changes(r) && !same_secret(httpd_field(a->rq, "X-Stile-CSRF"), a->who.session->csrf)) {
		ask_fail(a, 403, "csrf", "the header X-Stile-CSRF with the session's token is missing or wrong");
		return false;
	}
	if (!(a->who.scope & scope)) {
		ask_fail(a, 403, "forbidden", "this token has not the scope for it");
		return false;
	}
	if (a->who.role < r->role) {
		ask_fail(a, 403, "forbidden", "this needs the role %s", role_name(r->role));
		return false;
	}
	return true;
}

bool ask_may_still(struct ask *a)
{
	return a->control || (a->rq && ask_may(a));
}

/* ---- the body ---- */

static void on_body(struct httpd_rq *rq, struct text body, void *arg)
{
	struct ask *a = arg;
	json_error_t e;

	(void)rq;
	if (!ask_may(a))
		return;
	if (body.n > 0) {
		a->body = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, &e);
		if (!json_is_object(a->body)) {
			ask_fail(a, 400, "bad-request", "the body is no JSON object: line %d: %.100s", a->body ? 1 : e.line,
				 a->body ? "an object was expected" : e.text);
			return;
		}
	}
	a->route->handle(a);
}

/* A form of another page can send text or fields, never these types without being asked first. */
static bool has_type(struct httpd_rq *rq, struct text wanted)
{
	struct text type = text_of(httpd_field(rq, "Content-Type"));

	return text_ieq(text_trim(text_cut(&type, ';')), wanted);
}

static void go(struct ask *a)
{
	if (a->route->flags & ROUTE_BODY && httpd_has_body(a->rq) && !has_type(a->rq, TEXT("application/json")))
		ask_fail(a, 415, "bad-request", "the body must be application/json");
	else if (a->route->flags & ROUTE_BYTES && !has_type(a->rq, TEXT("application/octet-stream")))
		ask_fail(a, 415, "bad-request", "the body must be application/octet-stream");
	else if (a->route->flags & ROUTE_BODY)
		httpd_body_whole(a->rq, a->route->flags & ROUTE_LONG ? LONG_BODY_MAX : BODY_MAX, on_body);
	else
		a->route->handle(a);
}

static bool host_is_good(struct console *c, struct httpd_rq *rq)
{
	const char *host = httpd_field(rq, "Host");

	if (host && httpd_fields(rq, "Host") == 1 && (httpd_over_tls(rq) || console_host_is_ours(console_config(c), host)))
		return true;
	console_add_headers(c, rq, false);
	console_count(c, 421);
	httpd_reply_static(rq, 421, "text/plain; charset=utf-8",
			   TEXT("This host name is not one of the console's. Use its address, or add the name to console.names.\n"));
	return false;
}

void console_on_request(struct httpd_rq *rq, void *arg)
{
	struct console *c = arg;
	char params[ROUTE_PARAMS][PARAM_MAX] = { "" };
	struct text method = httpd_method(rq), path = httpd_path(rq);
	const struct route *r;
	struct ask *a;
	bool known;

	if (!host_is_good(c, rq))
		return;
	r = find_route(text_eq(method, TEXT("HEAD")) ? TEXT("GET") : method, path, params, &known);
	if (!r && !known && !text_starts(path, TEXT("/api/"))) {
		pages_serve(c, rq);
		return;
	}
	a = ask_new(c, rq);
	if (!a) {
		httpd_reply_static(rq, 503, NULL, (struct text){ "", 0 });
		return;
	}
	a->route = r;
	memcpy(a->params, params, sizeof(params));
	if (!r)
		ask_fail(a, known ? 405 : 404, "not-found", known ? "this resource has no such method" : "there is no such resource");
	else if (ask_may(a))
		go(a);
}

void console_on_metrics(struct httpd_rq *rq, void *arg)
{
	static const struct route own = { "GET", "/metrics", CONTROL_VIEWER, ROUTE_OPEN, metrics_get };
	struct console *c = arg;
	struct ask *a = ask_new(c, rq);

	if (!a) {
		httpd_reply_static(rq, 503, NULL, (struct text){ "", 0 });
		return;
	}
	a->route = &own;
	if (!text_eq(httpd_path(rq), TEXT("/metrics")) || !text_eq(httpd_method(rq), TEXT("GET")))
		ask_fail(a, 404, "not-found", "here is only GET /metrics");
	else
		metrics_get(a);
}

/* What is about the console itself has no other service's verb: so the tool comes by the same rows, with the right that its
 * control socket gives it. */
void console_on_tool(struct control_request *rq, const json_t *args, void *arg)
{
	const char *method = json_string_value(json_object_get(args, "method")), *path = json_string_value(json_object_get(args, "path"));
	json_t *body = json_object_get(args, "body");
	char params[ROUTE_PARAMS][PARAM_MAX] = { "" };
	struct text query = text_of(path ? path : ""), at = text_cut(&query, '?');
	const struct route *r;
	struct ask *a;
	bool known;

	if (!method || !path || (body && !json_is_object(body))) {
		control_fail(rq, "bad-request", "{\"method\":\"GET\", \"path\":\"/api/v1/users\", \"body\":{}}", "\"method\" and \"path\" name a resource");
		return;
	}
	r = find_route(text_of(method), at, params, &known);
	if (!r || !(r->flags & ROUTE_TOOL)) {
		control_fail(rq, "not-found", "users, tokens, sessions and audit; the others are verbs of the services",
			     r ? "the tool has another way to this resource" : "there is no such resource");
		return;
	}
	a = ask_new_tool(arg, rq);
	if (!a) {
		control_reply(rq, NULL);
		return;
	}
	a->route = r;
	a->query = query.p ? query.p : "";
	a->body = body ? json_deep_copy(body) : NULL;
	memcpy(a->params, params, sizeof(params));
	if (a->who.role < r->role)
		ask_fail(a, 403, "forbidden", "this needs the role %s", role_name(r->role));
	else
		r->handle(a);
	a->query = "";
	ask_unref(a);
}
