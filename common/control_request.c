/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of the control protocol, from the line to their one answer; cancel; the built-in verbs.
 *
 * A request belongs to whoever took it (the verb's function) and lives until control_reply() or
 * control_fail(). If its peer goes first, the request is cut off from it and its answer is
 * dropped; who works for it is told through control_on_cancel().
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "common/control_priv.h"
#include "common/reason.h"

#define MAX_ID ((json_int_t)1 << 53) /* what JavaScript holds exactly */

/* --- answers --- */

static void send_json(struct control_peer *p, json_int_t id, const char *what, const json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	size_t n = text ? strlen(text) : 0;

	if (!text)
		peer_fail(p, id, "failed", NULL, "out of memory");
	else if (n + 64 > CONTROL_MAX_LINE) /* 64: what stands around it */
		peer_fail(p, id, "too-long", "ask for fewer rows with \"limit\"",
			  "the answer has %zu bytes, a line may have %d", n, CONTROL_MAX_LINE);
	else
		peer_send(p, id, what, text, n);
	free(text);
}

/* more: further fields, or NULL */
static void send_error(struct control_peer *p, json_int_t id, const char *code, const char *hint,
		       const char *text, json_t *more)
{
	static const char last_words[] = "{\"code\":\"failed\",\"text\":\"out of memory\"}";
	char *line = NULL;
	json_t *o;

	/* s*: a hint of NULL is left out. Text that is no UTF-8 (a path, say) makes no JSON string. */
	if (!text_is_utf8(text_of(text)))
		text = "the reason cannot be shown, it is not UTF-8; see the log";
	o = json_pack("{s:s, s:s, s:s*}", "code", code, "text", text, "hint", hint);
	if (o && more)
		json_object_update_missing(o, more);
	if (o)
		line = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (line && strlen(line) < CONTROL_MAX_LINE - 64)
		peer_send(p, id, "error", line, strlen(line));
	else
		peer_send(p, id, "error", last_words, sizeof(last_words) - 1);
	free(line);
}

void peer_fail(struct control_peer *p, json_int_t id, const char *code, const char *hint,
	       const char *fmt, ...)
{
	char text[1024];
	struct sb b = sb_init(text, sizeof(text));
	va_list ap;

	va_start(ap, fmt);
	sb_vfmt(&b, fmt, ap);
	va_end(ap);
	send_error(p, id, code, hint, text, NULL);
}

static void request_end(struct control_request *rq)
{
	if (rq->peer) {
		list_unlink(&rq->node);
		rq->peer->n_requests--;
	}
	free(rq);
}

void control_reply(struct control_request *rq, json_t *result)
{
	if (rq->peer)
		send_json(rq->peer, rq->id, "result", result);
	json_decref(result);
	request_end(rq);
}

static void _printf_(5, 0) fail_v(struct control_request *rq, const char *code, const char *hint, json_t *more, const char *fmt, va_list ap)
{
	char text[1024], word[REASON_WORD];
	struct sb b = sb_init(text, sizeof(text)); /* a long reason is cut between two characters */
	json_t *all = more ? more : json_object(), *values;

	if (rq->peer) {
		sb_vfmt(&b, fmt, ap);
		reason_word(fmt, word);
		if (*word && !json_object_get(all, "reason")) {
			json_object_set_new(all, "reason", json_string(word));
			values = reason_values(fmt, text);
			if (values)
				json_object_set_new(all, "values", values);
		}
		send_error(rq->peer, rq->id, code, hint, text, all);
	}
	json_decref(all);
	request_end(rq);
}

void control_fail(struct control_request *rq, const char *code, const char *hint, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail_v(rq, code, hint, NULL, fmt, ap);
	va_end(ap);
}

void control_fail_with(struct control_request *rq, const char *code, const char *hint, json_t *more, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fail_v(rq, code, hint, more, fmt, ap);
	va_end(ap);
}

void control_progress(struct control_request *rq, json_t *progress)
{
	/* Dropped for a peer that does not read: the next one says more. */
	if (rq->peer && progress && peer_backlog(rq->peer) < CONTROL_EVENTS_BELOW)
		send_json(rq->peer, rq->id, "progress", progress);
	json_decref(progress);
}

void control_on_cancel(struct control_request *rq, void (*fn)(struct control_request *, void *), void *arg)
{
	rq->on_cancel = fn;
	rq->cancel_arg = arg;
}

enum control_role control_request_role(const struct control_request *rq)
{
	return rq->role;
}

const char *control_request_who(const struct control_request *rq)
{
	return rq->who;
}

/* May end the request, so nobody touches it afterwards. */
static void request_cancel(struct control_request *rq)
{
	if (rq->cancelled || !rq->on_cancel)
		return;
	rq->cancelled = true;
	rq->on_cancel(rq, rq->cancel_arg);
}

void peer_abandon_requests(struct control_peer *p)
{
	while (!list_empty(&p->requests)) {
		struct control_request *rq = list_entry(p->requests.next, struct control_request, node);
		list_unlink(&rq->node);
		rq->peer = NULL;
		p->n_requests--;
		request_cancel(rq);
	}
}

static struct control_request *find_request(const struct control_peer *p, json_int_t id)
{
	list_for_each(it, &p->requests) {
		struct control_request *rq = list_entry(it, struct control_request, node);
		if (rq->id == id)
			return rq;
	}
	return NULL;
}

/* --- verbs --- */

static const struct control_verb *find_verb(const struct control_server *s, const char *name,
					    void **ret_arg)
{
	list_for_each(it, &s->verbs) {
		const struct control_verbs *v = list_entry(it, struct control_verbs, node);
		for (size_t i = 0; i < v->n; i++) {
			if (strcmp(v->verbs[i].name, name) == 0) {
				*ret_arg = v->arg;
				return &v->verbs[i];
			}
		}
	}
	return NULL;
}

static void refuse_unknown_verb(struct control_peer *p, json_int_t id, const char *name)
{
	struct text wanted = text_of(name);
	const char *best = NULL;
	size_t best_distance = 4; /* a verb further off than three changes is no help */
	char hint[128];

	list_for_each(it, &p->server->verbs) {
		const struct control_verbs *v = list_entry(it, struct control_verbs, node);
		for (size_t i = 0; i < v->n; i++) {
			size_t d = text_distance(wanted, text_of(v->verbs[i].name));
			if (d < best_distance) {
				best_distance = d;
				best = v->verbs[i].name;
			}
		}
	}
	if (best)
		snprintf(hint, sizeof(hint), "did you mean '%s'?", best);
	else
		snprintf(hint, sizeof(hint), "the verb 'verbs' lists what there is");
	peer_fail(p, id, "unknown-verb", hint, "%s knows no verb '%.*s'", p->server->program,
		  (int)MIN(wanted.n, 100), wanted.p);
}

static struct control_request *request_new(struct control_peer *p, json_int_t id)
{
	struct control_request *rq = calloc(1, sizeof(*rq));

	if (!rq)
		return NULL;
	rq->peer = p;
	rq->id = id;
	rq->role = p->role;
	memcpy(rq->who, p->who, sizeof(rq->who));
	list_append(&p->requests, &rq->node);
	p->n_requests++;
	return rq;
}

static void call_verb(struct control_peer *p, json_int_t id, const char *name, const json_t *args)
{
	_cleanup_(json_decrefp) json_t *none = NULL;
	const struct control_verb *v;
	struct control_request *rq;
	void *arg = NULL;

	v = find_verb(p->server, name, &arg);
	if (!v) {
		refuse_unknown_verb(p, id, name);
		return;
	}
	if (p->role < v->role) {
		peer_fail(p, id, "forbidden",
			  "be root, or for the role operator a member of the socket's group",
			  "%s needs the role %s; %s is %s", v->name, control_role_name(v->role),
			  p->who, control_role_name(p->role));
		return;
	}
	if (p->n_requests >= CONTROL_MAX_IN_FLIGHT) {
		peer_fail(p, id, "busy", "wait for answers", "%u requests are in flight", p->n_requests);
		return;
	}
	if (!args) {
		none = json_object();
		args = none;
	}
	rq = args ? request_new(p, id) : NULL;
	if (!rq) {
		peer_fail(p, id, "failed", NULL, "out of memory");
		return;
	}
	v->call(rq, args, arg);
}

static void cancel(struct control_peer *p, json_int_t id, const json_t *which)
{
	struct control_request *rq;
	json_t *done;

	if (peer_unsubscribe(p, json_integer_value(which))) {
		rq = NULL;
	} else {
		rq = find_request(p, json_integer_value(which));
		if (!rq) {
			peer_fail(p, id, "not-found", NULL, "no request %" JSON_INTEGER_FORMAT " is in flight",
				  json_integer_value(which));
			return;
		}
		if (!rq->on_cancel) {
			peer_fail(p, id, "failed", NULL, "this request cannot be cancelled; its answer will come");
			return;
		}
	}
	done = json_pack("{s:b}", "cancelled", 1);
	send_json(p, id, "result", done);
	json_decref(done);
	if (rq)
		request_cancel(rq);
}

/* --- lines --- */

static bool id_is_valid(const json_t *id)
{
	return json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < MAX_ID;
}

/* The shape of a request: its keys and their types, nothing else. NULL if it is right. */
static const char *request_fault(const json_t *o)
{
	const json_t *verb = json_object_get(o, "verb"), *args = json_object_get(o, "args");
	const json_t *which = json_object_get(o, "cancel");
	size_t known = 1 + !!verb + !!args + !!which;

	if (!id_is_valid(json_object_get(o, "id")))
		return "a request needs an \"id\", an integer from 0 to 2^53 - 1";
	if (json_object_size(o) != known)
		return "a request has the keys id, verb and args, or id and cancel, and no other";
	if (which && !verb && !args)
		return id_is_valid(which) ? NULL : "\"cancel\" is the id of a request";
	if (which || !json_is_string(verb))
		return "a request needs a \"verb\", a string";
	if (args && !json_is_object(args))
		return "\"args\" is an object";
	return NULL;
}

void peer_dispatch(struct control_peer *p, struct text line)
{
	_cleanup_(json_decrefp) json_t *o = NULL;
	const char *why = NULL;
	const json_t *which;
	json_int_t id;
	int r;

	r = control_parse_line(line, &o, &why);
	if (r < 0) {
		peer_fail(p, -1, r == -EMSGSIZE ? "too-long" : "bad-request", NULL, "%s", why);
		return;
	}
	id = id_is_valid(json_object_get(o, "id")) ? json_integer_value(json_object_get(o, "id")) : -1;
	why = request_fault(o);
	if (why) {
		peer_fail(p, id, "bad-request", NULL, "%s", why);
		return;
	}
	if (find_request(p, id) || peer_has_subscription(p, id)) {
		/* Under the id it would look like the answer to the one that has it. */
		peer_fail(p, -1, "bad-request", NULL, "the id %" JSON_INTEGER_FORMAT " is in use", id);
		return;
	}
	which = json_object_get(o, "cancel");
	if (which)
		cancel(p, id, which);
	else
		call_verb(p, id, json_string_value(json_object_get(o, "verb")), json_object_get(o, "args"));
}

/* --- built in --- */

static void on_ping(struct control_request *rq, const json_t *args, void *arg)
{
	(void)args;
	(void)arg;
	control_reply(rq, json_pack("{s:I}", "time",
				    (json_int_t)clock_unix_ms()));
}

static void on_verbs(struct control_request *rq, const json_t *args, void *arg)
{
	const struct control_server *s = arg;
	json_t *rows = json_array();

	(void)args;
	list_for_each(it, &s->verbs) {
		const struct control_verbs *v = list_entry(it, struct control_verbs, node);
		for (size_t i = 0; i < v->n; i++)
			json_array_append_new(rows, json_pack("{s:s, s:s, s:b, s:s}", "verb", v->verbs[i].name,
							      "role", control_role_name(v->verbs[i].role),
							      "allowed", rq->role >= v->verbs[i].role,
							      "help", v->verbs[i].help));
	}
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

static void on_subscribe(struct control_request *rq, const json_t *args, void *arg)
{
	(void)arg;
	peer_subscribe(rq, args);
}

const struct control_verb control_builtin_verbs[] = {
	{ "ping", CONTROL_VIEWER, on_ping, "Answers, with the time in milliseconds." },
	{ "verbs", CONTROL_VIEWER, on_verbs, "Lists the verbs with the role that each needs." },
	{ "events.subscribe", CONTROL_VIEWER, on_subscribe,
	  "Sends events of the topics given (\"a.b\", \"a.*\" or \"*\") until it is cancelled." },
};
const size_t control_n_builtin_verbs = ARRAY_LEN(control_builtin_verbs);
