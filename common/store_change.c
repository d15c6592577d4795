/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store's operations mean: what a revision refuses, the audit row beside each change, several objects as one, what
 * waits for a confirmation, and undo. An undo is a change like any other, made from audit rows; a secret that the audit
 * does not show is taken from where it is kept for a day.
 */
#include <errno.h>
#include "common/clock.h"
#include "common/store_priv.h"
#include "common/store_secrets.h"

static const char PENDING_KEY[] = "change";

/* --- one object --- */

static const struct store_kind *kind_of(const struct store *s, const char *kind)
{
	for (const struct store_kind *k = s->kinds; k && k->name; k++)
		if (strcmp(k->name, kind) == 0)
			return k;
	return NULL;
}

static const struct cfg_schema *schema_of(const struct store *s, const char *kind)
{
	const struct store_kind *k = kind_of(s, kind);

	return k ? k->schema : NULL;
}

static int audit(struct store *s, struct store_change *c)
{
	struct store_change shown = *c;
	struct store_masked m;
	int r = store_mask(schema_of(s, c->kind), c->before, c->after, &m);

	if (r < 0)
		return r;
	shown.before = m.before;
	shown.after = m.after;
	r = s->engine->past_drop(s->db, c->at - s->keep_secrets_ms);
	if (r == 0)
		r = s->engine->audit_add(s->db, &shown, &c->audit);
	if (r == 0 && m.lost)
		r = s->engine->past_add(s->db, c);
	store_masked_done(&m);
	return r;
}

static int change(struct store *s, struct store_op *op, struct store_change *c)
{
	const struct store_kind *k = kind_of(s, c->kind);
	bool unaudited;
	int r;

	c->at = clock_unix_ms();
	c->who = op->who;
	if (k && k->unaudited)
		c->audit = (uint64_t)c->at;
	unaudited = c->audit != 0;
	r = c->audit ? 0 : audit(s, c);
	if (r == 0)
		r = c->after ? s->engine->set(s->db, c) : s->engine->remove(s->db, c);
	if (r == 0) {
		op->outcome.audit = unaudited ? 0 : c->audit;
		op->outcome.revision = c->after ? c->audit : 0;
	}
	return r;
}

static json_t *body_json(const char *text)
{
	return text ? json_loads(text, JSON_DECODE_ANY, NULL) : json_null();
}

/* What a commit or an undo has made of an object. */
static int tell(struct store_op *op, const struct store_change *c)
{
	json_t *row = json_pack("{s:s, s:s, s:o, s:I}", "kind", c->kind, "key", c->key, "body", body_json(c->after), "revision",
				(json_int_t)(c->after ? c->audit : 0));

	return json_array_append_new(op->outcome.rows, row) < 0 ? -ENOMEM : 0;
}

static void row_done(struct store_row *row)
{
	store_wipe_text(row->body);
}

static int tell_other(struct store *s, struct store_op *op, const char *kind, const char *key, const struct store_row *row);

int store_run_put(struct store *s, struct store_op *op)
{
	struct store_change c = { .kind = op->kind, .key = op->key, .after = op->body };
	_cleanup_(row_done) struct store_row row = { 0 };
	int r;

	r = s->engine->get(s->db, op->kind, op->key, &row);
	c.before = row.body;
	if (r == STORE_NOT_FOUND && (op->number == 0 || op->number == STORE_ANY))
		return change(s, op, &c);
	if (r != 0)
		return r;
	r = op->number == 0 ? STORE_EXISTS : op->number != STORE_ANY && op->number != row.revision ? STORE_CONFLICT : 0;
	if (r != 0)
		return tell_other(s, op, op->kind, op->key, &row) < 0 ? -ENOMEM : r;
	if (op->quiet)
		c.audit = row.revision;
	return change(s, op, &c);
}

int store_run_delete(struct store *s, struct store_op *op)
{
	struct store_change c = { .kind = op->kind, .key = op->key };
	_cleanup_(row_done) struct store_row row = { 0 };
	int r;

	r = s->engine->get(s->db, op->kind, op->key, &row);
	c.before = row.body;
	if (r != 0)
		return r;
	if (op->number != STORE_ANY && op->number != row.revision)
		return STORE_CONFLICT;
	return change(s, op, &c);
}

static int rows_new(struct store_op *op)
{
	json_decref(op->outcome.rows);
	op->outcome.rows = json_array();
	return op->outcome.rows ? 0 : -ENOMEM;
}

/* ---- several objects as one ---- */

static void past_done(struct store_past *p)
{
	free(p->kind);
	free(p->key);
	free(p->before);
	free(p->who);
}

/* What is there instead of what was meant: whoever is refused can see both. */
static int tell_other(struct store *s, struct store_op *op, const char *kind, const char *key, const struct store_row *row)
{
	_cleanup_(past_done) struct store_past past = { 0 };
	json_t *one;

	if (rows_new(op) < 0)
		return -ENOMEM;
	(void)s->engine->audit_get(s->db, row->revision, &past); /* of an unaudited kind there is none */
	one = json_pack("{s:s, s:s, s:o, s:I, s:s*}", "kind", kind, "key", key, "body", body_json(row->body), "revision",
			(json_int_t)row->revision, "who", past.who);
	return json_array_append_new(op->outcome.rows, one) < 0 ? -ENOMEM : 0;
}

static int judge(const struct step *st, int found, const struct store_row *row)
{
	if (found != 0 && found != STORE_NOT_FOUND)
		return found;
	if (found == STORE_NOT_FOUND)
		return !st->body ? STORE_NOT_FOUND : st->revision && st->revision != STORE_ANY ? STORE_CONFLICT : 0;
	if (st->revision == STORE_ANY || st->revision == row->revision)
		return 0;
	return st->revision ? STORE_CONFLICT : STORE_EXISTS;
}

static int run_step(struct store *s, struct store_op *op, const struct step *st, uint64_t *change_no)
{
	struct store_change c = { .kind = st->kind, .key = st->key, .after = st->body, .change = *change_no };
	_cleanup_(row_done) struct store_row row = { 0 };
	int r = judge(st, s->engine->get(s->db, st->kind, st->key, &row), &row);

	c.before = row.body;
	if (r == STORE_CONFLICT || r == STORE_EXISTS)
		return tell_other(s, op, st->kind, st->key, &row) < 0 ? -ENOMEM : r;
	if (r == 0)
		r = change(s, op, &c);
	if (!*change_no)
		*change_no = op->outcome.audit;
	return r != 0 ? r : tell(op, &c);
}

/* Beside the change, that it waits for its confirmation. */
static int put_pending(struct store *s, const struct store_op *op, uint64_t change_no)
{
	struct store_change c = { .kind = STORE_PENDING_KIND, .key = PENDING_KEY, .at = clock_unix_ms() };
	_cleanup_(freep) char *body = NULL;
	json_t *o = json_pack("{s:I, s:I, s:I, s:s}", "change", (json_int_t)change_no, "until",
			      (json_int_t)op->until, "within", (json_int_t)(op->until - c.at),
			      "who", op->who);

	body = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	c.after = body;
	c.audit = (uint64_t)c.at;
	return body ? s->engine->set(s->db, &c) : -ENOMEM;
}

int store_run_commit(struct store *s, struct store_op *op)
{
	uint64_t change_no = 0;
	int r = rows_new(op);

	for (size_t i = 0; r == 0 && i < op->n_steps; i++) {
		op->outcome.refused = i;
		r = run_step(s, op, &op->steps[i], &change_no);
	}
	if (r == 0 && op->until)
		r = put_pending(s, op, change_no);
	op->outcome.audit = change_no;
	return r;
}

/* 0, STORE_NOT_FOUND or a failure. */
static int get_pending(struct store *s, int64_t *ret_until, uint64_t *ret_change)
{
	_cleanup_(row_done) struct store_row row = { 0 };
	int r = s->engine->get(s->db, STORE_PENDING_KIND, PENDING_KEY, &row);
	json_t *o = r == 0 ? json_loads(row.body, 0, NULL) : NULL;

	*ret_until = json_integer_value(json_object_get(o, "until"));
	*ret_change = (uint64_t)json_integer_value(json_object_get(o, "change"));
	json_decref(o);
	return r;
}

static int drop_pending(struct store *s)
{
	return s->engine->remove(s->db, &(struct store_change){ .kind = STORE_PENDING_KIND, .key = PENDING_KEY });
}

int store_run_confirm(struct store *s, struct store_op *op)
{
	int64_t until;
	int r = get_pending(s, &until, &op->outcome.audit);

	return r != 0 ? r : drop_pending(s);
}

/* ---- undo ---- */

/* What the object was before, with its secrets. */
static int was(struct store *s, uint64_t audit, const struct store_past *past, const char *now, char **ret_body)
{
	int r = store_unmask(schema_of(s, past->kind), past->before, now, ret_body);

	if (r == STORE_SECRET)
		r = s->engine->past_get(s->db, audit, ret_body);
	return r == STORE_NOT_FOUND ? STORE_SECRET : r;
}

static int undo_row(struct store *s, struct store_op *op, uint64_t audit, uint64_t *change_no)
{
	_cleanup_(past_done) struct store_past past = { 0 };
	_cleanup_(row_done) struct store_row row = { 0 }, back = { 0 };
	struct store_change c = { .undoes = audit, .change = *change_no };
	int r = s->engine->audit_get(s->db, audit, &past);

	if (r == 0 && past.latest != audit)
		return op->flags & STORE_FORCE ? 0 : STORE_CONFLICT;
	if (r == 0)
		r = s->engine->get(s->db, past.kind, past.key, &row);
	if (r != 0 && r != STORE_NOT_FOUND)
		return r;
	if (!past.kind)
		return STORE_NOT_FOUND;
	c.kind = past.kind;
	c.key = past.key;
	c.before = row.body;
	r = was(s, audit, &past, row.body, &back.body);
	c.after = back.body;
	if (r == 0)
		r = change(s, op, &c);
	if (!*change_no)
		*change_no = op->outcome.audit;
	return r != 0 ? r : tell(op, &c);
}

static int undo_rows(struct store *s, struct store_op *op, const uint64_t *ids, size_t n)
{
	uint64_t change_no = 0, pending;
	int64_t until;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = undo_row(s, op, ids[i], &change_no);
	op->outcome.audit = change_no;
	if (r == 0 && get_pending(s, &until, &pending) == 0 && n && pending == ids[n - 1])
		r = drop_pending(s);
	if (r == 0 && op->until)
		r = put_pending(s, op, change_no);
	return r;
}

int store_run_undo(struct store *s, struct store_op *op)
{
	_cleanup_(past_done) struct store_past past = { 0 };
	uint64_t ids[STORE_CHANGE_MAX];
	size_t n = 0;
	int r = rows_new(op);

	if (r == 0)
		r = s->engine->past_drop(s->db, clock_unix_ms() - s->keep_secrets_ms);
	if (r == 0)
		r = s->engine->audit_get(s->db, op->number, &past);
	if (r == 0)
		r = s->engine->audit_of(s->db, past.change, ids, &n);
	return r != 0 ? r : undo_rows(s, op, ids, n);
}

int store_run_forget(struct store *s, struct store_op *op)
{
	(void)op;
	return s->engine->past_drop(s->db, clock_unix_ms() - s->keep_secrets_ms);
}

int store_run_list(struct store *s, struct store_op *op)
{
	int r = rows_new(op);

	return r < 0 ? r : s->engine->list(s->db, op->kind, op->key, op->limit, op->outcome.rows);
}

int store_run_audit(struct store *s, struct store_op *op)
{
	int r = rows_new(op);

	return r < 0 ? r : s->engine->audit_list(s->db, op->number, op->limit, op->outcome.rows);
}

/* What should have been confirmed by now. */
int store_undo_overdue(struct store *s, uint64_t *ret_undone)
{
	struct store_op op = { .who = (char *)"not confirmed in time", .flags = STORE_FORCE };
	bool undone = false;
	int64_t until;
	int r = get_pending(s, &until, &op.number);

	*ret_undone = 0;
	if (r == STORE_NOT_FOUND || (r == 0 && until > clock_unix_ms()))
		return 0;
	if (r == 0)
		r = s->engine->begin(s->db);
	if (r != 0)
		return r;
	r = s->engine->mark(s->db);
	if (r == 0)
		r = store_run_undo(s, &op);
	if (r == STORE_NOT_FOUND ||
	    r == STORE_SECRET) { /* what cannot be undone waits for nothing, and none of it is undone */
		r = s->engine->to_mark(s->db);
		r = r != 0 ? r : drop_pending(s);
	} else if (r == 0) {
		r = s->engine->keep(s->db);
		undone = true;
	}
	json_decref(op.outcome.rows);
	if (r == 0)
		r = s->engine->commit(s->db);
	if (r != 0)
		s->engine->rollback(s->db);
	else if (undone)
		*ret_undone = op.number;
	return r;
}
