/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of settings and changes that every service has. Each step (set, unset, put, delete) is either a change of its
 * own or is collected in a transaction, which is looked at, tried and committed as one. Transactions are in memory only, a few at a
 * time, and go when nobody touches them.
 */
#include <errno.h>
#include <stdio.h>
#include "common/clock.h"
#include "common/service_priv.h"
#include "common/store_secrets.h"

enum { TRANSACTIONS_MAX = 16, STEPS_MAX = STORE_CHANGE_MAX, IDLE_MS = 15 * 60 * 1000, SWEEP_MS = 30 * 1000, CONFIRM_MAX_MS = 24 * 3600 * 1000,
       AUDIT_PAGE = 100, AUDIT_MAX = 200 };

struct transaction {
	struct list node;
	unsigned number;
	char who[256];
	json_t *steps;
	uint64_t touched; /* the loop's clock */
};

/* ---- arguments ---- */

static bool has_only(struct control_request *rq, const json_t *args, const char *const *known, const char *hint)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)args, key, v) {
		size_t i = 0;
		while (known[i] && strcmp(known[i], key) != 0)
			i++;
		if (!known[i] && strcmp(key, "as") != 0) {
			control_fail(rq, "bad-request", hint, "there is no argument \"%s\"", key);
			return false;
		}
	}
	return true;
}

/* In whose name; NULL: the request was ended. The console asks for its users. */
static const char *who_of(struct control_request *rq, const json_t *args)
{
	const json_t *as = json_object_get(args, "as");
	size_t n = json_string_length(as);

	if (!as)
		return control_request_who(rq);
	if (control_request_role(rq) < CONTROL_ADMIN)
		control_fail(rq, "forbidden", NULL, "\"as\" needs the role admin");
	else if (n < 1 || n > 200)
		control_fail(rq, "bad-request", NULL, "\"as\" is a name of 1 to 200 bytes");
	else
		return json_string_value(as);
	return NULL;
}

/* An integer from min on, -1 if it is absent. False: the request was ended. */
static bool number_of(struct control_request *rq, const json_t *args, const char *key, json_int_t min, json_int_t *ret_v)
{
	const json_t *v = json_object_get(args, key);

	*ret_v = v ? json_integer_value(v) : -1;
	if (!v || (json_is_integer(v) && *ret_v >= min))
		return true;
	control_fail(rq, "bad-request", NULL, "\"%s\" is an integer from %d on", key, (int)min);
	return false;
}

/* Fills ch. False: the request was ended. */
static bool change_of(struct control_request *rq, const json_t *args, struct service_change *ch)
{
	json_int_t within;

	if (!number_of(rq, args, "confirm_within_ms", 1000, &within))
		return false;
	if (within > CONFIRM_MAX_MS) {
		control_fail(rq, "bad-request", NULL, "\"confirm_within_ms\" is at most a day");
		return false;
	}
	*ch = (struct service_change){ .rq = rq, .who = who_of(rq, args), .until = within < 0 ? 0 : clock_unix_ms() + within };
	return ch->who != NULL;
}

/* ---- transactions ---- */

static void transaction_free(struct service_edits *e, struct transaction *t)
{
	list_unlink(&t->node);
	e->n_transactions--;
	json_decref(t->steps);
	free(t);
}

void service_transactions_free(struct service_edits *e)
{
	timer_stop(&e->sweep);
	while (!list_empty(&e->transactions))
		transaction_free(e, list_entry(e->transactions.next, struct transaction, node));
}

json_t *service_transactions_json(const struct service_edits *e)
{
	json_t *out = json_array();

	list_for_each(it, &e->transactions) {
		const struct transaction *t = list_entry(it, struct transaction, node);
		json_array_append_new(out, json_pack("{s:i, s:s, s:I}", "transaction", (int)t->number, "who", t->who, "changes",
						     (json_int_t)json_array_size(t->steps)));
	}
	return out;
}

static void on_sweep(struct timer *timer, uint64_t now)
{
	struct service_edits *e = container_of(timer, struct service_edits, sweep);

	list_for_each_safe(it, &e->transactions) {
		struct transaction *t = list_entry(it, struct transaction, node);
		if (now - t->touched > IDLE_MS)
			transaction_free(e, t);
	}
	if (e->n_transactions)
		loop_timer_set(e->s->loop, timer, SWEEP_MS);
}

/* By the argument "transaction"; NULL with the request ended. */
static struct transaction *find(struct service_edits *e, struct control_request *rq, const json_t *args)
{
	json_int_t wanted;

	if (!number_of(rq, args, "transaction", 1, &wanted))
		return NULL;
	list_for_each(it, &e->transactions) {
		struct transaction *t = list_entry(it, struct transaction, node);
		if (t->number == wanted) {
			t->touched = loop_now(e->s->loop);
			return t;
		}
	}
	control_fail(rq, "not-found", "config.begin begins one; idle ones go after 15 minutes", "there is no transaction %lld", (long long)wanted);
	return NULL;
}

static void on_begin(struct control_request *rq, const json_t *args, void *arg)
{
	static const char *const known[] = { NULL };
	struct service *s = arg;
	struct service_edits *e = s->edits;
	const char *who = has_only(rq, args, known, NULL) ? who_of(rq, args) : NULL;
	struct transaction *t;

	if (!who)
		return;
	if (!s->store) {
		control_fail(rq, "failed", "set store.path", "this service runs without a store");
		return;
	}
	if (e->n_transactions >= TRANSACTIONS_MAX) {
		control_fail(rq, "busy", "config.get lists them, config.abort ends one", "%u transactions are open", e->n_transactions);
		return;
	}
	t = calloc(1, sizeof(*t));
	if (t)
		t->steps = json_array();
	if (!t || !t->steps) {
		free(t);
		control_fail(rq, "failed", NULL, "%s", strerror(ENOMEM));
		return;
	}
	t->number = ++e->last_transaction;
	t->touched = loop_now(s->loop);
	snprintf(t->who, sizeof(t->who), "%s", who);
	list_append(&e->transactions, &t->node);
	if (e->n_transactions++ == 0) {
		e->sweep.fire = on_sweep;
		loop_timer_set(s->loop, &e->sweep, SWEEP_MS);
	}
	control_reply(rq, json_pack("{s:i}", "transaction", (int)t->number));
}

static void on_abort(struct control_request *rq, const json_t *args, void *arg)
{
	struct service *s = arg;
	struct transaction *t = find(s->edits, rq, args);

	if (!t)
		return;
	control_reply(rq, json_pack("{s:i}", "transaction", (int)t->number));
	transaction_free(s->edits, t);
}

/* ---- steps ---- */

static bool same_thing(const json_t *a, const json_t *b)
{
	return json_equal(json_object_get(a, "kind"), json_object_get(b, "kind")) &&
	       json_equal(json_object_get(a, "key"), json_object_get(b, "key"));
}

/* A second word on the same thing takes the place of the first, and keeps the revision that was named then. */
static void stage(struct transaction *t, struct control_request *rq, json_t *step)
{
	json_t *other;
	size_t i;

	json_array_foreach(t->steps, i, other)
		if (same_thing(other, step)) {
			if (json_integer_value(json_object_get(step, "revision")) < 0)
				json_object_set(step, "revision", json_object_get(other, "revision"));
			json_array_remove(t->steps, i);
			break;
		}
	if (json_array_size(t->steps) >= STEPS_MAX) {
		json_decref(step);
		control_fail(rq, "busy", "commit it", "a transaction has at most %d changes", STEPS_MAX);
		return;
	}
	json_array_append_new(t->steps, step);
	control_reply(rq, json_pack("{s:i, s:I}", "transaction", (int)t->number, "changes", (json_int_t)json_array_size(t->steps)));
}

/* kind and key are strings; body is taken: an object, or NULL for a deletion. */
static void take_step(struct service *s, struct control_request *rq, const json_t *args, json_t *step)
{
	struct transaction *t = NULL;
	struct service_change ch;
	json_int_t revision;
	json_t *steps;

	if (!step) {
		control_reply(rq, NULL);
		return;
	}
	if (!number_of(rq, args, "revision", 0, &revision) ||
	    (json_object_get(args, "transaction") && !(t = find(s->edits, rq, args)))) {
		json_decref(step);
		return;
	}
	json_object_set_new(step, "revision", json_integer(revision));
	if (t) {
		stage(t, rq, step);
		return;
	}
	if (!change_of(rq, args, &ch)) {
		json_decref(step);
		return;
	}
	steps = json_array();
	json_array_append_new(steps, step);
	service_commit(s, &ch, steps);
}

/* A path that can be set here; NULL: the request was ended. */
static const char *path_of(struct service *s, struct control_request *rq, const json_t *args, const json_t *value, json_t **ret_piece)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	char err[400] = "";
	int r;

	if (!path || !*path || strlen(path) > 120) {
		control_fail(rq, "bad-request", "config.get lists the keys", "\"path\" is a key, such as log.level");
		return NULL;
	}
	if (strncmp(path, "store.", 6) == 0) {
		control_fail(rq, "bad-request", "set it in the file", "%s cannot be a setting of the store that it describes", path);
		return NULL;
	}
	r = cfg_setting(s->ops->config, path, value, ret_piece, err, sizeof(err));
	if (r == 0)
		return path;
	if (r == -EINVAL)
		control_fail_with(rq, "bad-request", NULL, json_pack("{s:[{s:s, s:s}]}", "fields", "path", path, "text", err), "%s: %s", path, err);
	else
		control_reply(rq, NULL);
	return NULL;
}

static void on_set(struct control_request *rq, const json_t *args, void *arg)
{
	static const char *const known[] = { "path", "value", "revision", "transaction", "confirm_within_ms", NULL };
	struct service *s = arg;
	const json_t *value = json_object_get(args, "value");
	json_t *piece = NULL;
	const char *path;
	int r;

	if (!has_only(rq, args, known, "{\"path\":\"log.level\", \"value\":\"debug\"}"))
		return;
	if (!value) {
		control_fail(rq, "bad-request", "config.unset goes back to the default", "\"value\" is missing");
		return;
	}
	path = path_of(s, rq, args, value, &piece);
	if (!path)
		return;
	r = store_unhide(s->ops->config->schema, piece, json_object_get(s->settings->pieces, path));
	if (r != 0) {
		json_decref(piece);
		if (r == STORE_SECRET)
			control_fail(rq, "bad-request", "give the secret itself", "%s stands for a secret and is none", CFG_MASK);
		else
			control_reply(rq, NULL);
	} else {
		take_step(s, rq, args, json_pack("{s:s, s:s, s:o}", "kind", SETTING_KIND, "key", path, "body", piece));
	}
}

static void on_unset(struct control_request *rq, const json_t *args, void *arg)
{
	static const char *const known[] = { "path", "revision", "transaction", "confirm_within_ms", NULL };
	struct service *s = arg;
	const char *path = json_string_value(json_object_get(args, "path"));

	if (!has_only(rq, args, known, "{\"path\":\"log.level\"}"))
		return;
	/* What this version no longer knows may still be there, and may go. */
	if (!path || !json_object_get(s->settings->pieces, path))
		path = path_of(s, rq, args, NULL, NULL);
	if (path)
		take_step(s, rq, args, json_pack("{s:s, s:s, s:n}", "kind", SETTING_KIND, "key", path, "body"));
}

/* body: of an object; NULL: delete */
static void step_of_object(struct service *s, struct control_request *rq, const json_t *args, json_t *body)
{
	const char *kind = json_string_value(json_object_get(args, "kind")), *key = json_string_value(json_object_get(args, "key"));
	const struct store_kind *k = kind ? service_find_kind(s, kind) : NULL;

	if (!kind || !key || !*key || strlen(key) > 255)
		control_fail(rq, "bad-request", "service.objects lists kinds and keys", "\"kind\" and \"key\" name an object");
	else if (!k || strcmp(kind, SETTING_KIND) == 0 || !service_owner_of(s, kind))
		control_fail(rq, "not-found", "service.objects lists the kinds", "there are no objects of the kind %s that can be changed here", kind);
	else if (body && k->schema && store_is_hidden(k->schema, body))
		control_fail(rq, "bad-request", "give the secret itself", "%s stands for a secret and is none", CFG_MASK);
	else
		take_step(s, rq, args, json_pack("{s:s, s:s, s:O?}", "kind", kind, "key", key, "body", body));
}

static void on_put(struct control_request *rq, const json_t *args, void *arg)
{
	static const char *const known[] = { "kind", "key", "body", "revision", "transaction", "confirm_within_ms", NULL };
	json_t *body = json_object_get(args, "body");

	if (!has_only(rq, args, known, "{\"kind\":…, \"key\":…, \"body\":{…}}"))
		return;
	if (json_is_object(body))
		step_of_object(arg, rq, args, body);
	else
		control_fail(rq, "bad-request", NULL, "\"body\" is an object");
}

static void on_delete(struct control_request *rq, const json_t *args, void *arg)
{
	static const char *const known[] = { "kind", "key", "revision", "transaction", "confirm_within_ms", NULL };

	if (has_only(rq, args, known, "{\"kind\":…, \"key\":…}"))
		step_of_object(arg, rq, args, NULL);
}

/* ---- a transaction as a whole ---- */

static json_t *objects_of(const struct service *s, const json_t *steps)
{
	json_t *out = json_array(), *step;
	size_t i;

	json_array_foreach(steps, i, step) {
		json_t *body = json_deep_copy(json_object_get(step, "body"));
		if (step_is_setting(step)) {
			json_decref(body);
			continue;
		}
		service_hide(s, step_text(step, "kind"), body);
		json_array_append_new(out, json_pack("{s:O, s:O, s:o}", "kind", json_object_get(step, "kind"), "key", json_object_get(step, "key"),
						     "after", body));
	}
	return out;
}

/* What stands against it, and in ch what its settings change; it stays as it is. NULL: no memory. */
static json_t *judge(struct service *s, const struct transaction *t, struct service_changes *ch)
{
	json_t *steps = json_deep_copy(t->steps), *faults;
	const char *code;

	faults = steps ? service_judge(s, steps, ch, &code) : NULL;
	json_decref(steps);
	return faults;
}

static void on_diff(struct control_request *rq, const json_t *args, void *arg)
{
	struct service *s = arg;
	struct transaction *t = find(s->edits, rq, args);
	struct service_changes ch = { 0 };
	json_t *faults;

	if (!t)
		return;
	faults = judge(s, t, &ch);
	control_reply(rq, faults ? json_pack("{s:o, s:o, s:O, s:b}", "rows", ch.rows ? json_incref(ch.rows) : json_array(), "objects",
					     objects_of(s, t->steps), "errors", faults, "good", json_array_size(faults) == 0) : NULL);
	json_decref(faults);
	service_changes_deinit(&ch);
}

static void on_validate(struct control_request *rq, const json_t *args, void *arg)
{
	struct service *s = arg;
	struct transaction *t = find(s->edits, rq, args);
	struct service_changes ch = { 0 };
	json_t *faults;

	if (!t)
		return;
	faults = judge(s, t, &ch);
	control_reply(rq, faults ? json_pack("{s:b, s:O}", "good", json_array_size(faults) == 0, "errors", faults) : NULL);
	json_decref(faults);
	service_changes_deinit(&ch);
}

/* A refused commit leaves the transaction as it is, to be mended. So it is copied, and goes when the commit has gone well: by its
 * client's abort, or idle. */
static void on_commit(struct control_request *rq, const json_t *args, void *arg)
{
	static const char *const known[] = { "transaction", "confirm_within_ms", NULL };
	struct service *s = arg;
	struct service_change ch;
	struct transaction *t;

	if (!has_only(rq, args, known, NULL) || !(t = find(s->edits, rq, args)) || !change_of(rq, args, &ch))
		return;
	if (!json_array_size(t->steps)) {
		control_fail(rq, "bad-request", "config.set, config.put …", "the transaction has no changes");
		return;
	}
	ch.transaction = t->number;
	service_commit(s, &ch, json_deep_copy(t->steps));
}

void service_transaction_done(struct service_edits *e, unsigned number)
{
	list_for_each_safe(it, &e->transactions) {
		struct transaction *t = list_entry(it, struct transaction, node);
		if (t->number == number)
			transaction_free(e, t);
	}
}

static void on_confirm(struct control_request *rq, const json_t *args, void *arg)
{
	const char *who = who_of(rq, args);

	if (who)
		service_confirm(arg, rq, who);
}

static void on_undo(struct control_request *rq, const json_t *args, void *arg)
{
	static const char *const known[] = { "change", "confirm_within_ms", NULL };
	struct service_change ch;
	json_int_t number;

	if (!has_only(rq, args, known, NULL) || !number_of(rq, args, "change", 1, &number) || !change_of(rq, args, &ch))
		return;
	if (number < 0)
		control_fail(rq, "bad-request", "config.audit lists them", "\"change\" is the number of a change");
	else
		service_undo(arg, &ch, (uint64_t)number);
}

/* ---- history ---- */

struct asked {
	struct control_request *rq;
	unsigned limit;
};

static void on_audited(const struct store_outcome *o, void *arg)
{
	struct asked *a = arg;
	size_t n = json_array_size(o->rows);
	json_t *answer;

	if (o->result) {
		control_fail(a->rq, "failed", NULL, "the store: %s",
			     o->result > 0 ? store_result_text((enum store_result)o->result) : strerror(-o->result));
		free(a);
		return;
	}
	answer = json_pack("{s:O}", "rows", o->rows);
	if (answer && n && n == a->limit)
		json_object_set(answer, "cursor", json_object_get(json_array_get(o->rows, n - 1), "audit"));
	control_reply(a->rq, answer);
	free(a);
}

static void on_audit(struct control_request *rq, const json_t *args, void *arg)
{
	static const char *const known[] = { "before", "cursor", "limit", NULL };
	struct service *s = arg;
	struct store_call call = { .loop = s->loop, .done = on_audited };
	json_int_t before, limit, cursor;
	struct asked *a;
	int r = -ENOMEM;

	if (!has_only(rq, args, known, "{\"before\":17, \"limit\":100}") || !number_of(rq, args, "before", 1, &before) ||
	    !number_of(rq, args, "cursor", 1, &cursor) || !number_of(rq, args, "limit", 1, &limit))
		return;
	if (!s->store) {
		control_fail(rq, "failed", "set store.path", "this service runs without a store");
		return;
	}
	a = calloc(1, sizeof(*a));
	if (a) {
		*a = (struct asked){ rq, limit < 0 ? AUDIT_PAGE : (unsigned)MIN(limit, (json_int_t)AUDIT_MAX) };
		call.arg = a;
		before = before < 0 ? cursor : before;
		r = store_audit(s->store, &call, before < 0 ? 0 : (uint64_t)before, a->limit);
	}
	if (r < 0) {
		free(a);
		control_fail(rq, "failed", NULL, "%s", strerror(-r));
	}
}

static const struct control_verb verbs[] = {
	{ "config.get", CONTROL_OPERATOR, service_on_get, "{path}: the keys of the configuration with value, source, type, range and help." },
	{ "config.set", CONTROL_ADMIN, on_set, "{path, value, revision, transaction, confirm_within_ms}: sets a key in the store." },
	{ "config.unset", CONTROL_ADMIN, on_unset, "{path, revision, transaction, confirm_within_ms}: the key goes back to its default." },
	{ "config.put", CONTROL_ADMIN, on_put, "{kind, key, body, revision, transaction, confirm_within_ms}: makes or changes an object of the store." },
	{ "config.delete", CONTROL_ADMIN, on_delete, "{kind, key, revision, transaction, confirm_within_ms}: deletes an object of the store." },
	{ "config.begin", CONTROL_ADMIN, on_begin, "Begins a transaction: changes that are committed as one." },
	{ "config.diff", CONTROL_ADMIN, on_diff, "{transaction}: what it would change, and what stands against it." },
	{ "config.validate", CONTROL_ADMIN, on_validate, "{transaction}: what stands against it, key by key." },
	{ "config.commit", CONTROL_ADMIN, on_commit, "{transaction, confirm_within_ms}: does it, all or nothing; unconfirmed it is taken back in time." },
	{ "config.abort", CONTROL_ADMIN, on_abort, "{transaction}: drops it." },
	{ "config.confirm", CONTROL_ADMIN, on_confirm, "Keeps the change that waits for its confirmation." },
	{ "config.undo", CONTROL_ADMIN, on_undo, "{change, confirm_within_ms}: makes what a change has changed what it was before." },
	{ "config.audit", CONTROL_OPERATOR, on_audit, "{before, limit}: who changed what and when, with before and after, newest first." },
};

int service_add_edit_verbs(struct service *s)
{
	return control_add_verbs(s->control, verbs, ARRAY_LEN(verbs), s);
}
