/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One change of settings and objects on its way: judged as a whole (service_judge.c), written in one transaction of the store, applied, and answered. What
 * cannot be applied is taken back in the store too. A change may wait for its confirmation: the store knows that, so a restart
 * does not forget it, and the timer here takes it back when its time is over. Undo goes the same way: what it would do is
 * asked of the store first and judged, then done.
 *
 * One change at a time is under way; who comes meanwhile is told to come again. Main thread of the service.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "common/log_msgs.h"
#include "common/reason.h"
#include "common/service_priv.h"

enum { FORGET_MS = 3600 * 1000 };

/* ---- one change ---- */

struct change {
	struct service *s;
	struct control_request *rq; /* NULL: nobody asked */
	char who[256];
	json_t *steps; /* of a commit */
	uint64_t undoes; /* of an undo */
	int64_t until;
	unsigned transaction;
	bool back; /* it takes one back that could not be applied */
	char why[512]; /* of back */
	json_t *changed; /* rows of what a reload has changed */
	json_t *revisions;
	uint64_t number;
};

static void change_end(struct change *c)
{
	c->s->edits->busy = false;
	json_decref(c->steps);
	json_decref(c->changed);
	json_decref(c->revisions);
	free(c);
}

static void refuse(struct change *c, const char *code, const char *text)
{
	char word[REASON_WORD];

	reason_word(text, word);
	if (c->rq)
		control_fail_with(c->rq, code, NULL, json_pack("{s:s}", "reason", word), "%s", text);
	else
		log_emit(&MSG_CONFIG_STUCK, LF_U64("change", c->undoes), LF_STR("why", text));
	change_end(c);
}

static void refuse_faults(struct change *c, const char *code, json_t *faults)
{
	const json_t *first = json_array_get(faults, 0);
	const char *path = step_text(first, "path"), *key = step_text(first, "key"), *text = step_text(first, "text");
	size_t n = json_array_size(faults);

	control_fail_with(c->rq, code, strcmp(code, "locked") == 0 ? "change the file and run stile reload" : NULL,
			  json_pack("{s:O}", "fields", faults), "%s%s%s%s", path ? path : key ? key : "", path || key ? ": " : "",
			  text ? text : strerror(ENOMEM), n > 1 ? " (and more)" : "");
	change_end(c);
}

static void publish(struct service *s, uint64_t number, const char *who, const char *what)
{
	control_publish(s->control, "config.changed", json_pack("{s:I, s:s, s:s}", "change", (json_int_t)number, "who", who, "what", what));
}

/* ---- applying ---- */

/* What is in the store now holds in memory, too. */
static int take_settings(struct service *s, const json_t *rows)
{
	size_t i;
	json_t *row;
	int r = 0;

	json_array_foreach(rows, i, row) {
		json_t *body = json_object_get(row, "body");

		if (step_is_setting(row) && service_settings_put(s->settings, step_text(row, "key"), json_is_null(body) ? NULL : body,
							    (uint64_t)json_integer_value(json_object_get(row, "revision"))) < 0)
			r = -ENOMEM;
	}
	return r;
}

static int reload(struct change *c, char *err, size_t err_n)
{
	struct service_changes ch = { 0 };
	int r = service_reload(c->s, &ch);

	if (r < 0)
		snprintf(err, err_n, "%s", c->s->reload_error);
	json_decref(c->changed);
	c->changed = json_incref(ch.rows);
	service_changes_deinit(&ch);
	return r;
}

static int apply_object(struct service *s, const json_t *row, char *err, size_t err_n)
{
	const struct service_owner *o = service_owner_of(s, step_text(row, "kind"));
	json_t *body = json_object_get(row, "body");

	return !o ? 0 : o->apply(step_text(row, "key"), json_is_null(body) ? NULL : body,
				 (uint64_t)json_integer_value(json_object_get(row, "revision")), o->arg, err, err_n);
}

static json_t *revisions_of(const json_t *rows)
{
	json_t *out = json_array(), *row;
	size_t i;

	json_array_foreach(rows, i, row)
		json_array_append_new(out, json_pack("{s:O, s:O, s:O}", "kind", json_object_get(row, "kind"), "key",
						     json_object_get(row, "key"), "revision", json_object_get(row, "revision")));
	return out;
}

static int apply(struct change *c, const json_t *rows, char *err, size_t err_n)
{
	size_t i;
	json_t *row;
	int r = take_settings(c->s, rows);

	snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (r == 0 && steps_have_settings(rows))
		r = reload(c, err, err_n);
	json_array_foreach(rows, i, row)
		if (r == 0 && !step_is_setting(row))
			r = apply_object(c->s, row, err, err_n);
	return r;
}

/* ---- waiting for a confirmation ---- */

static void wait_for(struct service_edits *e, uint64_t number, int64_t until, const char *who)
{
	int64_t left = until - clock_unix_ms();

	e->pending = number;
	e->until = until;
	snprintf(e->pending_who, sizeof(e->pending_who), "%s", who);
	if (number)
		loop_timer_set(e->s->loop, &e->deadline, (uint64_t)MAX(left, 0));
	else
		timer_stop(&e->deadline);
}

/* ---- the end of a change ---- */

static void done(struct change *c)
{
	struct service *s = c->s;
	json_t *answer;

	log_emit(&MSG_CONFIG_COMMITTED, LF_U64("change", c->number), LF_STR("who", c->who), LF_U64("objects", json_array_size(c->revisions)),
		 c->undoes ? LF_U64("undoes", c->undoes) : (struct log_field){ .type = LF_END });
	publish(s, c->number, c->who, c->undoes ? "undone" : "committed");
	answer = json_pack("{s:I, s:s, s:O, s:O}", "change", (json_int_t)c->number, "restart_needed", s->restart_needed, "changes", c->changed,
			   "revisions", c->revisions);
	if (c->until)
		json_object_set_new(answer, "confirm_until", json_integer((json_int_t)c->until));
	control_reply(c->rq, answer);
	service_transaction_done(s->edits, c->transaction);
	change_end(c);
}

static bool is_listed(const char *list, struct text key)
{
	struct text rest = text_of(list);

	while (rest.n)
		if (text_eq(text_trim(text_cut(&rest, ',')), key))
			return true;
	return false;
}

/* This process runs with what was rolled back, if a key that only a restart applies is another one since: nobody can be trusted to see to
 * that, for who made the change may be cut off. */
static void restart_if_needed(struct service *s, const char *before)
{
	struct text rest = text_of(s->restart_needed);
	bool other = false;

	while (rest.n && !other)
		other = !is_listed(before, text_trim(text_cut(&rest, ',')));
	if (!other)
		return;
	log_emit(&MSG_CONFIG_RESTARTS, LF_STR("keys", s->restart_needed));
	s->again = true;
	service_stop(s);
}

/* result: of the store, whether it has let go of it. What cannot be undone at all stays, and waits for nothing; as at a start. */
static void rolled_back(struct change *c, int result, const char *err)
{
	enum { RETRY_MS = 5000 };
	struct service *s = c->s;

	if (*err)
		log_emit(&MSG_CONFIG_STUCK, LF_U64("change", c->undoes), LF_STR("why", err));
	if (result == STORE_SECRET || result == STORE_NOT_FOUND) {
		(void)store_confirm(s->store, &(struct store_call){ 0 });
		wait_for(s->edits, 0, 0, "");
		change_end(c);
		return;
	}
	if (result) {
		loop_timer_set(s->loop, &s->edits->deadline, RETRY_MS);
		change_end(c);
		return;
	}
	log_emit(&MSG_CONFIG_ROLLED_BACK, LF_U64("change", c->undoes), LF_STR("who", c->who));
	publish(s, c->undoes, c->who, "rolled-back");
	change_end(c);
}

static void taken_back(struct change *c, const char *err)
{
	if (*err)
		log_emit(&MSG_CONFIG_STUCK, LF_U64("change", c->undoes), LF_STR("why", err));
	log_emit(&MSG_CONFIG_TAKEN_BACK, LF_U64("change", c->undoes), LF_STR("why", c->why));
	if (c->rq)
		control_fail(c->rq, "failed", "nothing was changed", "%s", c->why);
	change_end(c);
}

static void on_undone(const struct store_outcome *o, void *arg);

/* It is stored and cannot be applied: the store lets go of it, and what was holds again. */
static void take_back(struct change *c, const char *why)
{
	struct store_call call = { .loop = c->s->loop, .who = "could not be applied", .done = on_undone, .arg = c };
	int r;

	snprintf(c->why, sizeof(c->why), "%s", why);
	c->back = true;
	c->undoes = c->number;
	c->until = 0;
	r = store_undo(c->s->store, &call, c->number, STORE_FORCE, 0);
	if (r < 0)
		taken_back(c, strerror(-r));
}

static const char *outcome_text(const struct store_outcome *o)
{
	return o->result > 0 ? store_result_text((enum store_result)o->result) : strerror(-o->result);
}

/* Both versions, so that whoever is refused can decide. */
static void conflict(struct change *c, const struct store_outcome *o)
{
	json_t *step = json_array_get(c->steps, o->refused), *theirs = json_array_get(o->rows, 0), *yours = json_deep_copy(json_object_get(step, "body"));
	json_t *shown = json_deep_copy(theirs), *body = json_object_get(shown, "body");
	bool gone = !json_is_object(body);
	const char *kind = step_text(step, "kind"), *key = step_text(step, "key"), *who = step_text(shown, "who");

	service_hide(c->s, kind, body);
	service_hide(c->s, kind, yours);
	control_fail_with(c->rq, o->result == STORE_EXISTS ? "exists" : "conflict", "look at both and repeat the change with the new revision",
			  json_pack("{s:s, s:s, s:o, s:o}", "kind", kind, "key", key, "yours", yours ? yours : json_null(), "theirs", shown ? shown : json_null()),
			  gone ? "%s is not there any more%s%s" : "%s was changed meanwhile%s%s", key, who ? " by " : "", who ? who : "");
	change_end(c);
}

static void on_committed(const struct store_outcome *o, void *arg)
{
	struct change *c = arg;
	const char *key = step_text(json_array_get(c->steps, o->refused), "key");
	char err[512] = "";

	if (o->result == STORE_CONFLICT || o->result == STORE_EXISTS) {
		conflict(c, o);
		return;
	}
	if (o->result == STORE_NOT_FOUND)
		snprintf(err, sizeof(err), "%s is not in the store", key ? key : "it");
	else if (o->result)
		snprintf(err, sizeof(err), "the store: %s", outcome_text(o));
	if (o->result) {
		refuse(c, o->result == STORE_NOT_FOUND ? "not-found" : "failed", err);
		return;
	}
	c->number = o->audit;
	c->revisions = revisions_of(o->rows);
	if (apply(c, o->rows, err, sizeof(err)) < 0) {
		take_back(c, err);
		return;
	}
	if (c->until)
		wait_for(c->s->edits, c->number, c->until, c->who);
	done(c);
}

static void on_undone(const struct store_outcome *o, void *arg)
{
	struct change *c = arg;
	struct service_edits *e = c->s->edits;
	char err[512] = "", before[sizeof(c->s->restart_needed)];
	struct service *s = c->s;

	snprintf(before, sizeof(before), "%s", s->restart_needed);
	if (o->result == 0) {
		c->number = o->audit;
		json_decref(c->revisions);
		c->revisions = revisions_of(o->rows);
	}
	if (o->result)
		snprintf(err, sizeof(err), "%s", outcome_text(o));
	else if (apply(c, o->rows, err, sizeof(err)) == 0)
		err[0] = 0;
	if (o->result == 0 && e->pending == c->undoes)
		wait_for(e, 0, 0, "");
	if (c->back)
		taken_back(c, err);
	else if (!c->rq) {
		rolled_back(c, o->result, err);
		restart_if_needed(s, before);
	}
	else if (o->result)
		refuse(c, o->result == STORE_CONFLICT ? "conflict" : o->result == STORE_NOT_FOUND ? "not-found" : "failed", err);
	else if (*err)
		take_back(c, err);
	else {
		if (c->until)
			wait_for(e, c->number, c->until, c->who);
		done(c);
	}
}

/* ---- beginnings ---- */

/* NULL: the request was ended. */
static struct change *change_new(struct service *s, const struct service_change *ch, json_t *steps, uint64_t undoes)
{
	struct service_edits *e = s->edits;
	struct change *c = NULL;

	if (!s->store)
		control_fail(ch->rq, "failed", "set store.path", "this service runs without a store");
	else if (e->busy)
		control_fail(ch->rq, "busy", "repeat it", "another change is being written");
	else if (e->pending && e->pending != undoes)
		control_fail(ch->rq, "busy", "stile config confirm, or stile config undo", "change %llu of %s waits for its confirmation",
			     (unsigned long long)e->pending, e->pending_who);
	else if (!steps || !(c = calloc(1, sizeof(*c))))
		control_fail(ch->rq, "failed", NULL, "%s", strerror(ENOMEM));
	if (!c) {
		json_decref(steps);
		return NULL;
	}
	*c = (struct change){ .s = s, .rq = ch->rq, .steps = steps, .undoes = undoes, .until = ch->until, .transaction = ch->transaction, .changed = json_array() };
	snprintf(c->who, sizeof(c->who), "%s", ch->who);
	e->busy = true;
	return c;
}

/* True if nothing stands against the steps; else the request was ended. */
static bool passes(struct change *c, json_t *steps)
{
	struct service_changes ch = { 0 };
	const char *code;
	json_t *faults = service_judge(c->s, steps, &ch, &code);
	bool good = faults && !json_array_size(faults);

	service_changes_deinit(&ch);
	if (!faults)
		refuse(c, "failed", strerror(ENOMEM));
	else if (!good)
		refuse_faults(c, code, faults);
	json_decref(faults);
	return good;
}

static uint64_t revision_of(const json_t *step)
{
	json_int_t v = json_integer_value(json_object_get(step, "revision"));

	return v < 0 ? STORE_ANY : (uint64_t)v;
}

void service_commit(struct service *s, const struct service_change *ch, json_t *steps)
{
	struct change *c = change_new(s, ch, steps, 0); /* NULL: the steps have gone, too */
	struct store_call call = { .loop = s->loop, .done = on_committed, .arg = c };
	struct store_item *items;
	size_t n, i;
	json_t *step;
	int r = -ENOMEM;

	if (!c || !passes(c, steps))
		return;
	call.who = c->who;
	n = json_array_size(steps);
	items = calloc(MAX(n, (size_t)1), sizeof(*items));
	json_array_foreach(steps, i, step) {
		json_t *body = json_object_get(step, "body");
		if (items)
			items[i] = (struct store_item){ .kind = step_text(step, "kind"), .key = step_text(step, "key"),
							.body = json_is_null(body) ? NULL : body, .revision = revision_of(step) };
	}
	if (items)
		r = store_commit(s->store, &call, items, n, c->until);
	free(items);
	if (r < 0)
		refuse(c, r == -EINVAL ? "bad-request" : "failed", r == -EINVAL ? "a name or a value is too long, or there is nothing to commit" : strerror(-r));
}

static void on_would_undo(const struct store_outcome *o, void *arg)
{
	struct change *c = arg;
	struct store_call call = { .loop = c->s->loop, .who = c->who, .done = on_undone, .arg = c };
	json_t *steps;
	int r;

	if (o->result == STORE_NOT_FOUND) {
		refuse(c, "not-found", "there is no such change; stile config history lists them");
		return;
	}
	if (o->result == STORE_CONFLICT) {
		refuse(c, "conflict", "what it changed was changed again since; undo that first");
		return;
	}
	if (o->result) {
		refuse(c, "failed", outcome_text(o));
		return;
	}
	steps = json_deep_copy(o->rows);
	if (!steps || !passes(c, steps)) {
		if (!steps)
			refuse(c, "failed", strerror(ENOMEM));
		json_decref(steps);
		return;
	}
	json_decref(steps);
	r = store_undo(c->s->store, &call, c->undoes, 0, c->until);
	if (r < 0)
		refuse(c, "failed", strerror(-r));
}

void service_undo(struct service *s, const struct service_change *ch, uint64_t number)
{
	struct change *c = change_new(s, ch, json_array(), number);
	struct store_call call = { .loop = s->loop, .done = on_would_undo, .arg = c };
	int r;

	if (!c)
		return;
	call.who = c->who;
	r = store_undo(s->store, &call, number, STORE_DRY, 0);
	if (r < 0)
		refuse(c, "failed", strerror(-r));
}

static void on_confirmed(const struct store_outcome *o, void *arg)
{
	struct change *c = arg;
	struct service_edits *e = c->s->edits;

	if (o->result) {
		refuse(c, "failed", outcome_text(o));
		return;
	}
	log_emit(&MSG_CONFIG_CONFIRMED, LF_U64("change", e->pending), LF_STR("who", c->who));
	publish(c->s, e->pending, c->who, "confirmed");
	control_reply(c->rq, json_pack("{s:I}", "change", (json_int_t)e->pending));
	wait_for(e, 0, 0, "");
	change_end(c);
}

void service_confirm(struct service *s, struct control_request *rq, const char *who)
{
	const struct service_change ch = { .rq = rq, .who = who };
	struct change *c;
	int r;

	if (!s->edits->pending) {
		control_fail(rq, "not-found", NULL, "no change waits for a confirmation");
		return;
	}
	c = change_new(s, &ch, json_array(), s->edits->pending);
	if (!c)
		return;
	r = store_confirm(s->store, &(struct store_call){ .loop = s->loop, .who = c->who, .done = on_confirmed, .arg = c });
	if (r < 0)
		refuse(c, "failed", strerror(-r));
}

/* ---- life ---- */

static void on_deadline(struct timer *t, uint64_t now)
{
	enum { AGAIN_MS = 200 };
	struct service_edits *e = container_of(t, struct service_edits, deadline);
	struct change *c;

	(void)now;
	if (e->busy) {
		loop_timer_set(e->s->loop, t, AGAIN_MS);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		loop_timer_set(e->s->loop, t, AGAIN_MS);
		return;
	}
	*c = (struct change){ .s = e->s, .undoes = e->pending, .who = "not confirmed in time", .changed = json_array() };
	e->busy = true;
	if (store_undo(e->s->store, &(struct store_call){ .loop = e->s->loop, .who = c->who, .done = on_undone, .arg = c }, c->undoes,
		       STORE_FORCE, 0) < 0) {
		change_end(c);
		loop_timer_set(e->s->loop, t, AGAIN_MS);
	}
}

static void on_forget(struct timer *t, uint64_t now)
{
	struct service_edits *e = container_of(t, struct service_edits, forget);

	(void)now;
	store_forget(e->s->store);
	loop_timer_set(e->s->loop, t, FORGET_MS);
}

static void on_pending(const struct store_object *o, void *arg)
{
	struct service_edits *e = arg;
	const char *who = step_text(o->body, "who");
	int64_t until = json_integer_value(json_object_get(o->body, "until")),
		within = json_integer_value(json_object_get(o->body, "within"));

	if (within > 0) /* a clock that has been set back since, or begins in 1970, gives it no more */
		until = MIN(until, clock_unix_ms() + within);
	wait_for(e, (uint64_t)json_integer_value(json_object_get(o->body, "change")), until,
		 who ? who : "");
}

int service_edits_new(struct service *s)
{
	struct service_edits *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	e->s = s;
	e->deadline.fire = on_deadline;
	list_init(&e->transactions);
	s->edits = e;
	e->forget.fire = on_forget;
	if (s->store)
		loop_timer_set(s->loop, &e->forget, 0);
	r = s->store ? store_load(s->store, STORE_PENDING_KIND, on_pending, e) : 0;
	return r > 0 ? -EIO : r;
}

struct service_edits *service_edits_free(struct service_edits *e)
{
	if (!e)
		return NULL;
	timer_stop(&e->deadline);
	timer_stop(&e->forget);
	service_transactions_free(e);
	free(e);
	return NULL;
}
