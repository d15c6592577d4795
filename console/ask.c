/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request under way. It outlives the client that asked: whoever has work to do for it (a verb of a service, a hash, the disk)
 * holds a reference, and an answer to nobody is dropped.
 *
 * Answers are JSON, errors {"error":{code, text, hint, …}} as the services give them, so that a page has one way to show one.
 */
#include "console/console.h"

#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "common/reason.h"
#include "console/log_msgs.h"

static void on_gone(struct httpd_rq *rq, void *arg)
{
	struct ask *a = arg;

	(void)rq;
	a->rq = NULL;
	if (a->on_gone)
		a->on_gone(a);
	ask_unref(a);
}

struct ask *ask_new(struct console *c, struct httpd_rq *rq)
{
	struct ask *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->c = c;
	a->rq = rq;
	a->refs = 1; /* the request's */
	httpd_watch(rq, on_gone, a);
	return a;
}

/* It is its caller's; the answer may come later. */
struct ask *ask_new_tool(struct console *c, struct control_request *rq)
{
	struct ask *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->c = c;
	a->control = rq;
	a->refs = 1;
	(void)snprintf(a->who.name, sizeof(a->who.name), "%s", control_request_who(rq));
	memcpy(a->who.user, a->who.name, sizeof(a->who.user));
	a->who.role = control_request_role(rq);
	a->who.scope = SCOPE_READ | SCOPE_WRITE | SCOPE_METRICS;
	return a;
}

int ask_query(const struct ask *a, const char *name, char *out, size_t n)
{
	int r = httpd_query_value(a->rq ? httpd_query(a->rq) : text_of(a->query), name, out, n);

	return r == 0 && !text_is_utf8(text_of(out)) ? -EINVAL : r;
}

struct ask *ask_ref(struct ask *a)
{
	a->refs++;
	return a;
}

struct ask *ask_unref(struct ask *a)
{
	if (!a || --a->refs > 0)
		return NULL;
	if (a->control)
		control_fail(a->control, "failed", NULL, "the console has no answer");
	if (a->state_free)
		a->state_free(a->state);
	json_decref(a->body);
	free(a);
	return NULL;
}

/* ---- headers ---- */

const char console_csp[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
			   "font-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

void console_add_headers(const struct console *c, struct httpd_rq *rq, bool cacheable)
{
	(void)c;
	httpd_add(rq, "Content-Security-Policy", "%s", console_csp);
	httpd_add(rq, "X-Content-Type-Options", "nosniff");
	httpd_add(rq, "X-Frame-Options", "DENY");
	httpd_add(rq, "Referrer-Policy", "no-referrer");
	httpd_add(rq, "Cross-Origin-Opener-Policy", "same-origin");
	httpd_add(rq, "Cross-Origin-Resource-Policy", "same-origin");
	httpd_add(rq, "Permissions-Policy", "camera=(), microphone=(), geolocation=()");
	if (httpd_over_tls(rq))
		httpd_add(rq, "Strict-Transport-Security", "max-age=31536000");
	if (!cacheable)
		httpd_add(rq, "Cache-Control", "no-store");
}

void console_count(struct console *c, unsigned status)
{
	metric_add(c->metrics, 0, CONSOLE_M_REQUESTS, MIN(status / 100, 5u) - 1, 1);
}

/* ---- answers ---- */

/* The same answer over the control socket. j is taken. */
static void reply_tool(struct ask *a, unsigned status, json_t *j)
{
	struct control_request *rq = steal_ptr(&a->control);
	json_t *error = json_object_get(j, "error");
	const char *code = json_string_value(json_object_get(error, "code")), *text = json_string_value(json_object_get(error, "text")),
		   *hint = json_string_value(json_object_get(error, "hint"));
	json_t *fields = json_object_get(error, "fields");

	if (status < 400 || !error) {
		control_reply(rq, j);
		return;
	}
	control_fail_with(rq, code ? code : "failed", hint, fields ? json_pack("{s:O}", "fields", fields) : NULL, "%s", text ? text : "");
	json_decref(j);
}

void ask_reply(struct ask *a, unsigned status, json_t *j)
{
	char *text;

	if (a->control) {
		reply_tool(a, status, j);
		return;
	}
	text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	if (!a->rq || httpd_replied(a->rq)) {
		free(text);
		return;
	}
	console_add_headers(a->c, a->rq, false);
	if (text) {
		console_count(a->c, status);
		httpd_reply_taken(a->rq, status, "application/json", text, strlen(text));
		return;
	}
	console_count(a->c, 500);
	httpd_reply_static(a->rq, 500, "application/json", TEXT("{\"error\":{\"code\":\"failed\",\"text\":\"out of memory\"}}"));
}

void ask_fail_json(struct ask *a, unsigned status, json_t *error)
{
	ask_reply(a, status, error ? json_pack("{s:o}", "error", error) : NULL);
}

void ask_fail(struct ask *a, unsigned status, const char *code, const char *fmt, ...)
{
	char text[512], word[REASON_WORD];
	struct sb b = sb_init(text, sizeof(text));
	va_list ap;

	va_start(ap, fmt);
	sb_vfmt(&b, fmt, ap);
	va_end(ap);
	reason_word(fmt, word);
	ask_fail_json(a, status, json_pack("{s:s, s:s, s:s*, s:o*}", "code", code, "text", text, "reason", *word ? word : NULL, "values",
					   reason_values(fmt, text)));
}

void ask_field_error(struct ask *a, const char *path, const char *fmt, ...)
{
	char text[512], word[REASON_WORD];
	struct sb b = sb_init(text, sizeof(text));
	va_list ap;

	va_start(ap, fmt);
	sb_vfmt(&b, fmt, ap);
	va_end(ap);
	reason_word(fmt, word);
	ask_fail_json(a, 400, json_pack("{s:s, s:s, s:s*, s:o*, s:[{s:s, s:s}]}", "code", "bad-request", "text", text, "reason", *word ? word : NULL,
					"values", reason_values(fmt, text), "fields", "path", path, "text", text));
}

static const struct {
	const char *code;
	unsigned status;
} statuses[] = {
	{ "bad-request", 400 }, { "too-long", 413 }, { "unknown-verb", 404 }, { "forbidden", 403 }, { "not-found", 404 },
	{ "exists", 409 },	{ "conflict", 412 }, { "busy", 409 },	       { "locked", 423 },    { "cancelled", 409 },
	{ "bad-backup", 400 },	{ "newer-version", 409 }, { "wrong-passphrase", 403 }, { "not-writable", 409 }, { "running", 409 },
};

void ask_service_error(struct ask *a, const json_t *error)
{
	const char *code = json_string_value(json_object_get(error, "code"));
	unsigned status = 502; /* "failed", and what is not known yet */

	for (size_t i = 0; code && i < ARRAY_LEN(statuses); i++)
		if (strcmp(code, statuses[i].code) == 0)
			status = statuses[i].status;
	ask_fail_json(a, status, json_deep_copy(error));
}

static int read_if_match(struct ask *a, uint64_t *ret_revision)
{
	struct text t = text_of(a->rq ? httpd_field(a->rq, "If-Match") : NULL);

	if (!t.p || text_eq(t, TEXT("*")))
		return -ENOENT;
	if (t.n > 2 && t.p[0] == '"' && t.p[t.n - 1] == '"')
		t = (struct text){ t.p + 1, t.n - 2 };
	if (text_u64(t, ret_revision) == 0 && *ret_revision <= INT64_MAX)
		return 0;
	ask_fail(a, 400, "bad-request", "If-Match must be a revision");
	return -EINVAL;
}

int ask_if_match(struct ask *a, uint64_t *ret_revision)
{
	if (!a->if_match.read)
		a->if_match.result = read_if_match(a, &a->if_match.revision);
	a->if_match.read = true;
	*ret_revision = a->if_match.revision;
	return a->if_match.result;
}

/* ---- small things ---- */

const char *ask_as(const struct ask *a, char buf[static 96])
{
	(void)snprintf(buf, 96, "console %s", a->who.name);
	return buf;
}

struct session *ask_session(const struct ask *a)
{
	list_for_each(it, &a->c->accounts->sessions) {
		struct session *s = list_entry(it, struct session, node);

		if (strcmp(s->id, a->who.id) == 0)
			return s;
	}
	return NULL;
}

const char *ask_string(const struct ask *a, const char *key)
{
	return json_string_value(json_object_get(a->body, key));
}

void ask_log(const struct ask *a, const char *what, const char *of)
{
	log_emit(&MSG_CONSOLE_ACTION, LF_STR("user", a->who.name), LF_STR("action", what), LF_STR("of", of));
}

/* Secrets may be among the arguments: the audit keeps which there were, and no value that is not a number or a switch. */
static json_t *args_for_audit(const json_t *args)
{
	json_t *o = json_object(), *v;
	const char *key;

	json_object_foreach((json_t *)args, key, v) {
		bool plain = json_is_number(v) || json_is_boolean(v) || strcmp(key, "name") == 0 || strcmp(key, "id") == 0 || strcmp(key, "key") == 0 ||
			     strcmp(key, "kind") == 0 || strcmp(key, "path") == 0 || strcmp(key, "agent") == 0 || strcmp(key, "job") == 0 ||
			     strcmp(key, "route") == 0 || strcmp(key, "server") == 0;

		json_object_set_new(o, key, plain ? json_incref(v) : json_string("…"));
	}
	return o;
}

void ask_audit(struct ask *a, const char *what, const char *of, const json_t *args)
{
	char as[96], from[ADDR_STRLEN] = "";

	if (a->rq)
		(void)addr_print_ip(httpd_peer(a->rq), from);
	ask_log(a, what, of);
	accounts_audit_action(a->c->accounts, ask_as(a, as), *of ? of : "all services",
			      json_pack("{s:s, s:o, s:s, s:I}", "action", what, "args", args_for_audit(args), "from", from, "at",
					(json_int_t)clock_unix_ms()));
}

bool ask_password_is_good(struct ask *a, const char *password)
{
	size_t n = password ? strlen(password) : 0;

	if (n >= PASSWORD_MIN && n <= PASSWORD_MAX)
		return true;
	ask_field_error(a, "password", "a password has %d to %d bytes", PASSWORD_MIN, PASSWORD_MAX);
	return false;
}

void ask_on_saved(int r, void *arg)
{
	struct ask *a = arg;

	if (r < 0)
		ask_fail(a, 500, "failed", "the change cannot be kept: the store is full or failing");
	else
		ask_reply(a, 200, json_object());
	ask_unref(a);
}
