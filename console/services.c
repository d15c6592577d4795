/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes under /services: every one of them is a verb of a service's control socket, called with the right of the
 * console and held against the role that the verb demands. What an operator or administrator does is logged and audited here
 * with his name; the services' own audit gets it as "console NAME".
 *
 * A request whose client goes takes its verb with it (cancel), as far as the service can.
 */
#include "console/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/control_link.h"

enum { VERB_MS = 10 * 1000, LONG_MS = 10 * 60 * 1000, CONFIRM_MS = 60 * 1000 };

static struct backend *backend_of(struct ask *a)
{
	struct backend *k = backend_find(a->c->backends, a->params[0]);

	if (!k)
		ask_fail(a, 404, "not-found", "there is no service of this name");
	return k;
}

/* ---- calls ---- */

static void on_client_gone(struct ask *a)
{
	struct backend *k = backend_find(a->c->backends, a->params[0]);
	uint64_t call = a->call;

	a->call = 0;
	if (!k || !k->link || !call)
		return;
	control_link_forget(k->link, call);
	ask_unref(a);
}

static void on_answer(int r, json_t *result, json_t *error, void *arg)
{
	struct ask *a = arg;

	a->call = 0;
	if (r == -ETIMEDOUT)
		ask_fail(a, 504, "late", "the service does not answer in time");
	else if (r < 0)
		ask_fail(a, 503, "unreachable", "the connection to the service broke: %s", strerror(-r));
	else if (error)
		ask_service_error(a, error);
	else
		ask_reply(a, 200, json_incref(result));
	ask_unref(a);
}

static void no_link(struct ask *a, const struct backend *k)
{
	ask_fail(a, 503, k->here ? "unreachable" : "stopped", k->here ? "the service does not answer" : "the service is stopped");
}

/* args is taken. */
static void call(struct ask *a, struct backend *k, const char *verb, json_t *args, uint64_t ms)
{
	if (!k->link || !args) {
		json_decref(args);
		no_link(a, k);
		return;
	}
	a->on_gone = on_client_gone;
	a->call = control_link_call(k->link, verb, args, ms, on_answer, ask_ref(a));
}

/* ---- a verb with its progress, as a stream of events ---- */

enum { FLOW_MAX = 1 << 20 };

struct flow { /* state of the ask */
	char *out;
	size_t n, sent, cap;
	uint64_t lost; /* progress that did not fit, because the client does not read */
	bool ended;
};

static void flow_free(void *p)
{
	struct flow *f = p;

	free(f->out);
	free(f);
}

static void flow_add(struct ask *a, const char *event, const json_t *data)
{
	struct flow *f = a->state;
	char *text = json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY), *bigger;
	size_t need = text ? f->n + strlen(text) + 64 : 0;

	if (text && need > f->cap) {
		bigger = realloc(f->out, 2 * need);
		f->out = bigger ? bigger : f->out;
		f->cap = bigger ? 2 * need : f->cap;
	}
	if (text && need <= f->cap)
		f->n += (size_t)snprintf(f->out + f->n, f->cap - f->n, "event: %s\ndata: %s\n\n", event, text);
	free(text);
	if (a->rq)
		httpd_wake(a->rq);
}

static ssize_t flow_pull(struct httpd_rq *rq, uint8_t *p, size_t n, void *arg)
{
	struct ask *a = arg;
	struct flow *f = a->state;
	size_t some = MIN(n, f->n - f->sent);

	(void)rq;
	if (some == 0 && f->ended)
		return HTTPD_END;
	if (some)
		memcpy(p, f->out + f->sent, some);
	f->sent += some;
	if (f->sent == f->n)
		f->n = f->sent = 0;
	return (ssize_t)some;
}

static void on_flow_progress(json_t *progress, void *arg)
{
	struct ask *a = arg;
	struct flow *f = a->state;
	json_t *lost;

	if (f->n - f->sent > FLOW_MAX) {
		f->lost++;
		return;
	}
	lost = f->lost ? json_pack("{s:I}", "lost", (json_int_t)f->lost) : NULL;
	if (lost)
		flow_add(a, "lost", lost);
	json_decref(lost);
	f->lost = 0;
	flow_add(a, "progress", progress);
}

static void on_flow_answer(int r, json_t *result, json_t *error, void *arg)
{
	struct ask *a = arg;
	struct flow *f = a->state;
	json_t *why = r < 0 ? json_pack("{s:s, s:s}", "code", r == -ETIMEDOUT ? "late" : "unreachable", "text", strerror(-r)) : NULL;

	a->call = 0;
	f->ended = true;
	if (result)
		flow_add(a, "result", result);
	else if (error || why)
		flow_add(a, "error", error ? error : why);
	else if (a->rq)
		httpd_wake(a->rq);
	json_decref(why);
	ask_unref(a);
}

static bool wants_flow(const struct ask *a)
{
	struct text type = text_of(httpd_field(a->rq, "Accept"));

	return text_eq(text_trim(text_cut(&type, ',')), TEXT("text/event-stream"));
}

static const struct httpd_source flow_source = { flow_pull };

/* args is taken. */
static void call_flow(struct ask *a, struct backend *k, const char *verb, json_t *args, uint64_t ms)
{
	a->state = args ? calloc(1, sizeof(struct flow)) : NULL;
	if (!a->state) {
		json_decref(args);
		ask_reply(a, 500, NULL);
		return;
	}
	a->state_free = flow_free;
	a->on_gone = on_client_gone;
	console_add_headers(a->c, a->rq, false);
	console_count(a->c, 200);
	httpd_reply_stream(a->rq, 200, "text/event-stream", UINT64_MAX, &flow_source);
	a->call = control_link_call(k->link, verb, args, ms, on_flow_answer, ask_ref(a));
	if (a->call)
		control_link_on_progress(k->link, a->call, on_flow_progress, a);
}

/* A look is no action: it comes by GET, and stands in no audit, however often a page looks. */
static bool only_reads(const char *verb)
{
	static const char *const reads[] = { "config.audit", "config.diff", "config.get", "config.validate", "log.read", "log.tail",
					     "records.read", "service.objects", "sip.registrations", "sip.server.users", "turn.why" };
	size_t n = strlen(verb);

	if (n > 6 && (strcmp(verb + n - 5, ".list") == 0 || strcmp(verb + n - 6, ".files") == 0))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(reads); i++)
		if (strcmp(reads[i], verb) == 0)
			return true;
	return false;
}

static bool verb_is_allowed(struct ask *a, const struct backend *k, const char *verb, const json_t *args, bool by_get)
{
	enum control_role role = CONTROL_ADMIN;
	int r;

	if (!k->link) {
		no_link(a, k);
		return false;
	}
	r = backend_verb_role(k, verb, args, &role);
	if (strcmp(verb, "events.subscribe") == 0 || r < 0) {
		ask_fail(a, 404, "unknown-verb", "the service has no verb of this name");
		return false;
	}
	if (by_get && role != CONTROL_VIEWER && (r > 0 || !only_reads(verb))) {
		ask_fail(a, 405, "bad-request", "this verb is called by POST");
		return false;
	}
	if (a->who.role < role) {
		ask_fail(a, 403, "forbidden", "this verb needs the role %s", role_name(role));
		return false;
	}
	return true;
}

static void audit(struct ask *a, const char *what, const json_t *args)
{
	ask_audit(a, what, a->params[0], args);
}

/* ---- services ---- */

void services_get(struct ask *a)
{
	json_t *rows = backends_json(a->c->backends);

	ask_reply(a, 200, rows ? json_pack("{s:o}", "services", rows) : NULL);
}

void service_get(struct ask *a)
{
	struct backend *k = backend_of(a);
	json_t *j;

	if (!k)
		return;
	j = backend_json(k);
	if (j && k->status)
		json_object_set(j, "status", k->status);
	ask_reply(a, 200, j);
}

static const struct action {
	const char *name, *verb; /* verb: of the service itself; NULL: only the manager can */
	enum control_role role;
	bool managed; /* by the manager, if there is one */
} actions[] = {
	{ "reload", "service.reload", CONTROL_OPERATOR, false },
	{ "drain", "service.drain", CONTROL_ADMIN, false },
	{ "start", NULL, CONTROL_OPERATOR, true },
	{ "restart", NULL, CONTROL_ADMIN, true },
	{ "stop", "service.stop", CONTROL_ADMIN, true },
};

static void on_managed(int r, const json_t *row, const char *err, void *arg)
{
	struct ask *a = arg;

	if (r == 0)
		ask_reply(a, 200, row ? json_deep_copy(row) : json_object());
	else
		ask_fail(a, r == -EACCES ? 403 : r == -ENOENT ? 404 : r == -ENOSYS ? 503 : 502, r == -EACCES ? "forbidden" : "failed", "%s", err);
	ask_unref(a);
}

static void act(struct ask *a, struct backend *k, const struct action *what)
{
	bool own = strcmp(k->program, a->c->svc->ops->program) == 0;
	int r = what->managed && !own ? backend_manage(k, what->name, on_managed, ask_ref(a)) : -ENOSYS;

	if (r == 0)
		return;
	if (what->managed && !own)
		ask_unref(a);
	if (r == -EBUSY)
		ask_fail(a, 409, "busy", "other services are being started or stopped; try again");
	else if (what->verb)
		call(a, k, what->verb, a->body ? json_incref(a->body) : json_object(), VERB_MS);
	else
		ask_fail(a, 503, "failed", own ? "the console does not restart itself: stile restart console" :
			 "nobody looks after this service here: neither systemd nor stile supervise");
}

void service_act(struct ask *a)
{
	struct backend *k = backend_of(a);

	if (!k)
		return;
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		if (strcmp(actions[i].name, a->params[1]) != 0)
			continue;
		if (a->who.role < actions[i].role) {
			ask_fail(a, 403, "forbidden", "this needs the role %s", role_name(actions[i].role));
			return;
		}
		audit(a, actions[i].name, a->body);
		act(a, k, &actions[i]);
		return;
	}
	ask_fail(a, 404, "not-found", "a service can be told to start, stop, restart, reload or drain");
}

/* ---- any verb ---- */

void verbs_get(struct ask *a)
{
	struct backend *k = backend_of(a);

	if (k && !k->verbs)
		ask_fail(a, 503, "unreachable", "the service has not said yet what it can do");
	else if (k)
		ask_reply(a, 200, json_pack("{s:O}", "rows", k->verbs));
}

void verb_get(struct ask *a)
{
	struct backend *k = backend_of(a);
	json_t *args = NULL;
	char text[4096];
	int r;

	if (!k)
		return;
	r = ask_query(a, "args", text, sizeof(text));
	if (r == 0)
		args = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	else if (r == -ENOENT)
		args = json_object();
	if (!json_is_object(args)) {
		json_decref(args);
		ask_fail(a, 400, "bad-request", "args must be one JSON object");
		return;
	}
	if (verb_is_allowed(a, k, a->params[1], args, true))
		call(a, k, a->params[1], args, VERB_MS);
	else
		json_decref(args);
}

static json_t *body_copy(const struct ask *a)
{
	return a->body ? json_copy(a->body) : json_object();
}

/* What has no answer yet failed without memory. */
static void give_up(struct ask *a, json_t *args)
{
	json_decref(args);
	ask_reply(a, 500, NULL);
}

/* What concerns the console itself may cut its author off: without his word from the other side it is taken back. Who knows better
 * says confirm_within_ms himself; 0: at once and for good. */
static void add_confirmation(const struct ask *a, const struct backend *k, const char *verb, json_t *args)
{
	const json_t *within = json_object_get(args, "confirm_within_ms");
	const char *path = json_string_value(json_object_get(args, "path"));
	bool one = strcmp(verb, "config.set") == 0 || strcmp(verb, "config.unset") == 0,
	     many = strcmp(verb, "config.commit") == 0 || strcmp(verb, "config.undo") == 0;

	if (json_is_integer(within) && json_integer_value(within) == 0)
		json_object_del(args, "confirm_within_ms");
	else if (!within && strcmp(k->program, a->c->svc->ops->program) == 0 &&
		 (many || (one && path && strncmp(path, "console.", 8) == 0 && !json_object_get(args, "transaction"))))
		json_object_set_new(args, "confirm_within_ms", json_integer(CONFIRM_MS));
}

/* If-Match: "17" names the revision that is changed. */
static bool add_revision(struct ask *a, json_t *args)
{
	uint64_t v = 0;
	int r = ask_if_match(a, &v);

	return r == -ENOENT || (r == 0 && json_object_set_new(args, "revision", json_integer((json_int_t)v)) == 0);
}

/* A verb of its own kind takes a revision if its help says so; another one would do it whatever the revision is. */
static bool add_verb_revision(struct ask *a, const struct backend *k, json_t *args)
{
	const char *help = httpd_field(a->rq, "If-Match") ? backend_verb_help(k, a->params[1]) : "revision";

	if (strstr(help, "revision"))
		return add_revision(a, args);
	ask_fail(a, 400, "bad-request", "this verb takes no If-Match; change the object by PUT or DELETE of its kind");
	return false;
}

void verb_post(struct ask *a)
{
	struct backend *k = backend_of(a);
	enum control_role role = CONTROL_VIEWER;
	json_t *args;
	char as[96];

	if (!k || !verb_is_allowed(a, k, a->params[1], a->body, false))
		return;
	/* A viewer may ask for the log level, an operator for objects; who sets the one, or sees secrets in the others, is known. */
	if (backend_verb_role(k, a->params[1], a->body, &role) > 0 || (role > CONTROL_VIEWER && !only_reads(a->params[1])))
		audit(a, a->params[1], a->body);
	args = body_copy(a);
	if (!args || !add_verb_revision(a, k, args)) {
		give_up(a, args);
		return;
	}
	if (role == CONTROL_ADMIN && strncmp(a->params[1], "config.", 7) == 0) {
		json_object_set_new(args, "as", json_string(ask_as(a, as))); /* for the service's own audit */
		add_confirmation(a, k, a->params[1], args);
	}
	if (wants_flow(a))
		call_flow(a, k, a->params[1], args, LONG_MS);
	else
		call(a, k, a->params[1], args, LONG_MS);
}

/* ---- settings, objects and changes: the config.* verbs ---- */

static bool add_query_number(struct ask *a, json_t *args, const char *name)
{
	char text[24];
	uint64_t v;
	int r = ask_query(a, name, text, sizeof(text));

	if (r == -ENOENT)
		return true;
	if (r < 0 || text_u64(text_of(text), &v) < 0 || v > INT64_MAX) {
		ask_fail(a, 400, "bad-request", "%s must be a number", name);
		return false;
	}
	return json_object_set_new(args, name, json_integer((json_int_t)v)) == 0;
}

/* The verb with the user's name; args is taken. changes: it is audited. */
static void config_call(struct ask *a, const char *verb, json_t *args, bool changes)
{
	struct backend *k = backend_of(a);
	char as[96];

	if (!k || !args || !verb_is_allowed(a, k, verb, args, false)) {
		give_up(a, args);
		return;
	}
	if (changes) {
		audit(a, verb, args);
		json_object_set_new(args, "as", json_string(ask_as(a, as)));
		add_confirmation(a, k, verb, args);
	}
	call(a, k, verb, args, VERB_MS);
}

void config_get(struct ask *a)
{
	config_call(a, "config.get", json_object(), false);
}

void config_put(struct ask *a)
{
	json_t *args = body_copy(a);

	if (!args || json_object_set_new(args, "path", json_string(a->params[1])) < 0 || !add_revision(a, args) ||
	    !add_query_number(a, args, "transaction"))
		give_up(a, args);
	else
		config_call(a, "config.set", args, true);
}

void config_delete(struct ask *a)
{
	json_t *args = json_pack("{s:s}", "path", a->params[1]);

	if (!args || !add_revision(a, args) || !add_query_number(a, args, "transaction") || !add_query_number(a, args, "confirm_within_ms"))
		give_up(a, args);
	else
		config_call(a, "config.unset", args, true);
}

void objects_get(struct ask *a)
{
	json_t *args = json_pack("{s:s}", "kind", a->params[1]);
	char after[PARAM_MAX];
	int r = ask_query(a, "after", after, sizeof(after));
	bool bad = r < 0 && r != -ENOENT;

	if (bad)
		ask_fail(a, 400, "bad-request", "?after= is the key of the last object that was read");
	if (bad || !args || (r == 0 && json_object_set_new(args, "after", json_string(after)) < 0))
		give_up(a, args);
	else
		config_call(a, "service.objects", args, false);
}

void object_put(struct ask *a)
{
	json_t *args = body_copy(a);

	if (!args || json_object_set_new(args, "kind", json_string(a->params[1])) < 0 || !add_revision(a, args) ||
	    !add_query_number(a, args, "transaction"))
		give_up(a, args);
	else
		config_call(a, "config.put", args, true);
}

void object_delete(struct ask *a)
{
	json_t *args = json_pack("{s:s}", "kind", a->params[1]);
	char key[PARAM_MAX];

	if (ask_query(a, "key", key, sizeof(key)) < 0) {
		json_decref(args);
		ask_fail(a, 400, "bad-request", "?key= names the object");
		return;
	}
	if (!args || json_object_set_new(args, "key", json_string(key)) < 0 || !add_revision(a, args) ||
	    !add_query_number(a, args, "transaction") ||
		 !add_query_number(a, args, "confirm_within_ms"))
		give_up(a, args);
	else
		config_call(a, "config.delete", args, true);
}

void changes_post(struct ask *a)
{
	config_call(a, "config.begin", body_copy(a), true);
}

static json_t *change_args(struct ask *a)
{
	json_t *args = body_copy(a);
	uint64_t id;

	if (text_u64(text_of(a->params[1]), &id) < 0 || id > INT64_MAX) {
		json_decref(args);
		ask_fail(a, 404, "not-found", "a change has a number");
		return NULL;
	}
	if (args)
		json_object_set_new(args, "transaction", json_integer((json_int_t)id));
	return args;
}

void change_get(struct ask *a)
{
	config_call(a, "config.diff", change_args(a), false);
}

void change_validate(struct ask *a)
{
	config_call(a, "config.validate", change_args(a), false);
}

void change_commit(struct ask *a)
{
	config_call(a, "config.commit", change_args(a), true);
}

void change_abort(struct ask *a)
{
	config_call(a, "config.abort", change_args(a), true);
}

void confirm_post(struct ask *a)
{
	config_call(a, "config.confirm", body_copy(a), true);
}

void undo_post(struct ask *a)
{
	config_call(a, "config.undo", body_copy(a), true);
}

void service_audit_get(struct ask *a)
{
	json_t *args = json_object();

	if (!args || !add_query_number(a, args, "before") || !add_query_number(a, args, "limit"))
		give_up(a, args);
	else
		config_call(a, "config.audit", args, false);
}
