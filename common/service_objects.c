/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of the store: who holds the kinds in memory, and the verb service.objects, which tells what administrators have made, kind
 * by kind and page by page, for `stile config export` and pages of the console. Secrets are masked by their schema; only an
 * admin may ask for them in the clear. Nothing is changed here.
 */
#include <errno.h>
#include <string.h>
#include "common/log_msgs.h"
#include "common/service_priv.h"
#include "common/store_secrets.h"

enum { PAGE = 200 };

struct listing {
	struct control_request *rq;
	const struct store_kind *kind;
	bool secrets;
};

void service_own(struct service *s, const struct service_owner *o)
{
	if (s->n_owners < ARRAY_LEN(s->owners))
		s->owners[s->n_owners++] = *o;
}

void service_disown(struct service *s, const void *arg)
{
	size_t left = 0;

	for (size_t i = 0; i < s->n_owners; i++)
		if (s->owners[i].arg != arg)
			s->owners[left++] = s->owners[i];
	s->n_owners = left;
}

const struct service_owner *service_owner_of(const struct service *s, const char *kind)
{
	for (size_t i = 0; i < s->n_owners; i++)
		if (strcmp(s->owners[i].kind, kind) == 0)
			return &s->owners[i];
	return NULL;
}

const struct store_kind *service_find_kind(const struct service *s, const char *name)
{
	for (const struct store_kind *k = s->kinds; k->name; k++)
		if (strcmp(k->name, name) == 0)
			return k;
	return NULL;
}

void service_hide(const struct service *s, const char *kind, json_t *body)
{
	const struct store_kind *k = kind ? service_find_kind(s, kind) : NULL;

	if (k && k->schema && json_is_object(body))
		store_hide(k->schema, body);
}

/* all: what the service has learnt, too */
static void reply_kinds(struct control_request *rq, const struct service *s, bool all)
{
	json_t *kinds = json_array(), *places = json_object();

	for (const struct store_kind *k = s->kinds; s->store && k->name; k++) {
		if (k->place || all)
			json_array_append_new(kinds, json_string(k->name));
		if (k->place && *k->place)
			json_object_set_new(places, k->name, json_pack("{s:s, s:s}", "list", k->place, "key", k->schema->rows[0].name));
	}
	control_reply(rq, json_pack("{s:o, s:o}", "kinds", kinds, "places", places));
}

/* One row for the answer, a copy: {key, body, revision, changed_at}, and placed where it is not the body that stands in a file. NULL
 * without memory. */
static json_t *shown_row(const struct listing *l, const json_t *row)
{
	json_t *body = json_deep_copy(json_object_get(row, "body")), *shown;

	if (body && !l->secrets && l->kind->schema && store_hide(l->kind->schema, body) < 0) {
		json_decref(body);
		return NULL;
	}
	shown = body ? json_pack("{s:O, s:o, s:O, s:O}", "key", json_object_get(row, "key"), "body", body, "revision",
				 json_object_get(row, "revision"), "changed_at", json_object_get(row, "changed_at")) : NULL;
	if (shown && l->kind->placed)
		json_object_set_new(shown, "placed", json_pack("o?", l->kind->placed(body)));
	return shown;
}

static void on_listed(const struct store_outcome *o, void *arg)
{
	struct listing *l = arg;
	json_t *rows, *one, *answer;
	size_t i;

	if (o->result != STORE_OK) {
		control_fail(l->rq, "failed", NULL, "the store: %s",
			     o->result > 0 ? store_result_text((enum store_result)o->result) : strerror(-o->result));
		free(l);
		return;
	}
	rows = json_array();
	json_array_foreach(o->rows, i, one)
		if (json_array_append_new(rows, shown_row(l, one)) < 0) {
			json_decref(rows);
			rows = NULL;
			break;
		}
	answer = rows ? json_pack("{s:o}", "rows", rows) : NULL;
	if (answer && json_array_size(rows) == PAGE)
		json_object_set(answer, "cursor", json_object_get(json_array_get(rows, PAGE - 1), "key"));
	control_reply(l->rq, answer);
	free(l);
}

static void list_kind(struct service *s, struct control_request *rq, const struct store_kind *kind, const json_t *args)
{
	struct store_call call = { .loop = s->loop, .who = control_request_who(rq), .done = on_listed };
	struct listing *l = calloc(1, sizeof *l);
	int r = l ? 0 : -ENOMEM;

	if (l) {
		*l = (struct listing){ .rq = rq, .kind = kind, .secrets = json_is_true(json_object_get(args, "secrets")) };
		call.arg = l;
		r = store_list(s->store, &call, kind->name, json_string_value(json_object_get(args, "after")), PAGE);
	}
	if (r < 0) {
		control_fail(rq, "failed", NULL, "the store: %s", strerror(-r));
		free(l);
	}
}

void service_on_objects(struct control_request *rq, const json_t *args, void *arg)
{
	struct service *s = arg;
	const char *name = json_string_value(json_object_get(args, "kind"));
	const struct store_kind *kind = name ? service_find_kind(s, name) : NULL;

	if (!name) {
		reply_kinds(rq, s, json_is_true(json_object_get(args, "all")));
	} else if (!kind || !s->store) {
		control_fail(rq, "not-found", "without \"kind\" the kinds are listed", "there is no kind of object of this name");
	} else if (json_is_true(json_object_get(args, "secrets")) && control_request_role(rq) < CONTROL_ADMIN) {
		control_fail(rq, "forbidden", NULL, "secrets in the clear need the role admin");
	} else {
		if (json_is_true(json_object_get(args, "secrets")))
			log_emit(&MSG_SERVICE_ASKED, LF_STR("verb", "service.objects"), LF_STR("secrets", name),
				 LF_STR("who", control_request_who(rq)));
		list_kind(s, rq, kind, args);
	}
}
