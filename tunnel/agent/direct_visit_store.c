/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Visits made while the agent runs (`stile agent visit add`, the console): kept in the store under the kind "agent.visit", by name. A
 * name that the file uses is locked: the file's visit is there, and the store's waits until the file lets go of the name.
 *
 * A change is checked as the file would be, stored, and then done. Visits of stile connect and stile get are not kept; they can be ended
 * here before whoever made them ends them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/json.h"
#include "common/stored.h"
#include "common/values.h"
#include "tunnel/agent/direct_priv.h"

/* The other visit that listens where c would; "": none. */
static void find_rival(struct direct *d, const struct visit_config *c, const char *name, char out[static VISIT_NAME_STRLEN])
{
	out[0] = '\0';
	if (!c->enabled || !addr_port(&c->listen))
		return;
	list_for_each (it, &d->visits) {
		const struct dvisit *v = list_entry(it, struct dvisit, node);

		if (v->c->udp == c->udp && addr_equal(&v->c->listen, &c->listen) &&
		    (v->origin == VISIT_OF_REQUEST || strcmp(v->name, name) != 0))
			(void)snprintf(out, VISIT_NAME_STRLEN, "%s", v->name);
	}
}

/* ---- a change that is on the disk ---- */

static void apply(struct direct *d)
{
	const struct agent_config *c = agent_config_of(d->as);

	(void)peers_configure(d, c); /* without memory the others stay as they are */
	(void)visits_configure(d, c);
	visits_peers_changed(d);
	direct_want_child(d);
	control_publish(d->as->svc->control, "agent.peers", json_pack("{s:s}", "event", "visits"));
}

static int on_put(const char *name, const json_t *body, bool flag, void *arg, char *err, size_t err_n)
{
	(void)name;
	(void)body;
	(void)flag;
	(void)err;
	(void)err_n;
	apply(arg);
	return 0;
}

static void on_deleted(const char *name, bool flag, void *arg)
{
	(void)name;
	(void)flag;
	apply(arg);
}

static json_t *row_of(const char *name, void *arg)
{
	json_t *rows = visits_json(arg), *row, *found = NULL;
	size_t i;

	json_array_foreach(rows, i, row)
		if (strcmp(text_of_key(row, "name"), name) == 0 && strcmp(text_of_key(row, "origin"), "connect") != 0)
			found = row;
	json_incref(found);
	json_decref(rows);
	return found;
}

/* What it would be in the file, or NULL and a sentence. */
static json_t *judged(struct direct *d, const json_t *body, char name[static VISIT_NAME_STRLEN], char *err, size_t err_n)
{
	_cleanup_(cfg_freep) struct cfg *cfg = NULL;
	const struct visit_config *c;
	char rival[VISIT_NAME_STRLEN], at[ADDR_STRLEN];

	if (!json_is_object(body)) {
		(void)snprintf(err, err_n, "visit must be a map with the keys of agent.visits");
		return NULL;
	}
	if (visit_parse(body, err, err_n, &cfg) < 0)
		return NULL;
	c = cfg_values(cfg);
	(void)visit_name(c, name);
	find_rival(d, c, name, rival);
	if (*rival) {
		(void)snprintf(err, err_n, "'listen': the visit %.200s listens on %s already", rival, addr_print(&c->listen, at));
		return NULL;
	}
	return values_json(&visit_schema, c);
}

static int on_check(const char *name, json_t **body, void *arg, char *err, size_t err_n)
{
	struct direct *d = arg;
	char called[VISIT_NAME_STRLEN];
	json_t *whole;

	if (visit_is_of_file(agent_config_of(d->as), name)) {
		(void)snprintf(err, err_n, "the visit %s is set in %s", name, d->as->svc->config_path);
		return -EEXIST;
	}
	whole = judged(d, *body, called, err, err_n);
	if (whole && strcmp(called, name) != 0) {
		(void)snprintf(err, err_n, "'name' must be the object's key, %s", name);
		json_decref(whole);
		whole = NULL;
	}
	if (!whole)
		return -EINVAL;
	json_decref(*body);
	*body = whole;
	return 0;
}

/* ---- verbs ---- */

static bool locked(struct control_request *rq, const char *name, void *arg)
{
	const struct direct *d = arg;

	if (!name || !*name)
		control_fail(rq, "bad-request", "stile agent peers shows the names", "name must be the name of a visit");
	else if (visit_is_of_file(agent_config_of(d->as), name))
		control_fail(rq, "locked", "change the file and run stile reload agent", "the visit %s is set in %s", name, d->as->svc->config_path);
	else
		return false;
	return true;
}

static void submit(struct control_request *rq, const char *changed, const json_t *body, uint64_t revision, void *arg)
{
	struct direct *d = arg;
	char err[1024], name[VISIT_NAME_STRLEN];
	json_t *whole = judged(d, body, name, err, sizeof(err));

	if (!whole)
		control_fail(rq, "bad-request", NULL, "%s", err);
	else if ((changed && !stored_keeps_name(d->kept, rq, changed, name)) || locked(rq, name, d))
		json_decref(whole);
	else
		stored_put(d->kept, rq, name, whole, revision, false);
}

static const struct stored_ops ops = { .kind = "agent.visit", .noun = "visit", .put = on_put,
				       .list_hint = "stile agent peers; those of stile connect are ended by stile agent visit end",
				       .deleted = on_deleted, .row = row_of, .check = on_check, .name_max = VISIT_NAME_MAX,
				       .locked = locked, .submit = submit };

int visits_open(struct direct *d)
{
	return stored_new(d->as->svc, &ops, d, &d->kept);
}

static void verb_end(struct control_request *rq, const json_t *args, void *arg)
{
	json_int_t number = json_integer_value(json_object_get(args, "number"));
	struct direct *d = arg;
	struct dvisit *v = number > 0 && number <= UINT32_MAX ? visit_numbered(d, (uint32_t)number) : NULL;
	char why[DIRECT_WHY];

	if (!v || v->origin != VISIT_OF_REQUEST) {
		control_fail(rq, v ? "conflict" : "not-found", v ? "stile agent visit stop NAME" : "stile agent peers --json shows the numbers",
			     v ? "the visit %lld was not made by stile connect or stile get" : "there is no visit %lld", number);
		return;
	}
	(void)snprintf(why, sizeof(why), "ended at the agent by %s", control_request_who(rq));
	if (v->guest) {
		guest_end(v->guest, why);
	} else {
		if (v->request)
			control_fail(steal_ptr(&v->request), "ended", NULL, "%s", why);
		visit_remove(v);
	}
	direct_want_child(d);
	control_reply(rq, json_pack("{s:I}", "number", number));
}

static const struct control_verb verbs[] = {
	{ "agent.visit.add", CONTROL_ADMIN, stored_verb_add, "{visit: {agent, target, listen, …}, replace}: makes a visit that stays, or changes one of the store" },
	{ "agent.visit.change", CONTROL_ADMIN, stored_verb_change, "{name, visit: {key: value, …}}: other values for some keys of a visit of the store" },
	{ "agent.visit.start", CONTROL_OPERATOR, stored_verb_start, "{name}: the visit of the store is there" },
	{ "agent.visit.stop", CONTROL_OPERATOR, stored_verb_stop, "{name}: the visit of the store is interrupted; its connections end" },
	{ "agent.visit.delete", CONTROL_ADMIN, stored_verb_delete, "{name}: deletes a visit of the store; its connections end" },
};
static const struct control_verb of_visits[] = {
	{ "agent.visit.end", CONTROL_OPERATOR, verb_end, "{number}: ends a visit of stile connect or stile get" },
};

void visits_add_verbs(struct direct *d)
{
	control_add_verbs(d->as->svc->control, verbs, ARRAY_LEN(verbs), d->kept);
	control_add_verbs(d->as->svc->control, of_visits, ARRAY_LEN(of_visits), d);
}
