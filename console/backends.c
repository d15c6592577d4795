/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The services that the console knows: whoever has a control socket in its runtime folder, and stays known when the socket
 * goes. The folder is looked at each second; a service is asked for its status and health every few, whatever the number of
 * pages that look on, so that viewers cost the services nothing.
 *
 * A link that breaks is tried again at the next look. A service that is there and does not answer is "late", and everything
 * that is known of it is still shown.
 */
#include "console/console.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/control_link.h"
#include "common/json.h"
#include "console/log_msgs.h"
#include "console/manage.h"

enum { LOOK_MS = 1000, ASK_EVERY_MS = 3000, ANSWER_MS = 2500, BACKENDS_MAX = 64 };

struct backends {
	struct console *c;
	struct list list;
	struct timer look;
	struct manage *manage;
	unsigned n;
	bool looked;
};

static void tell(struct backend *k)
{
	const char *state = backend_state(k);
	json_t *j;

	if (strcmp(k->shown, state) == 0)
		return;
	(void)snprintf(k->shown, sizeof(k->shown), "%s", state);
	j = backend_json(k);
	if (j)
		events_publish(k->of->c->events, "console", "services", j);
	json_decref(j);
}

static void replace(json_t **at, json_t *j)
{
	json_decref(*at);
	*at = json_incref(j);
}

/* ---- questions ---- */

static void on_health(int r, json_t *result, json_t *error, void *arg)
{
	struct backend *k = arg;
	const json_t *was = json_object_get(k->health, "items");

	(void)error;
	if (r < 0 || !result)
		return; /* an older service without the verb: nothing is known of its health */
	if (!json_equal(json_object_get(result, "items"), was))
		k->shown[0] = 0; /* the pages want to know */
	replace(&k->health, result);
	tell(k);
}

static void on_status(int r, json_t *result, json_t *error, void *arg)
{
	struct backend *k = arg;

	(void)error;
	k->asked = false;
	k->late = r == -ETIMEDOUT;
	if (result) {
		replace(&k->status, result);
		k->status_at = loop_now(k->of->c->svc->loop);
	}
	tell(k);
}

static void on_verbs(int r, json_t *result, json_t *error, void *arg)
{
	struct backend *k = arg;

	(void)r;
	(void)error;
	if (result)
		replace(&k->verbs, json_object_get(result, "rows"));
}

static void ask(struct backend *k)
{
	if (k->asked || !k->link)
		return;
	k->asked = true;
	(void)control_link_call(k->link, "service.status", NULL, ANSWER_MS, on_status, k);
	if (k->link)
		(void)control_link_call(k->link, "service.health", NULL, ANSWER_MS, on_health, k);
}

/* ---- the link ---- */

static void on_up(struct control_link *l, const json_t *hello, void *arg)
{
	struct backend *k = arg;
	json_t *topics = events_topics(k->of->c->events, k->service);

	replace(&k->hello, (json_t *)hello);
	log_emit(&MSG_CONSOLE_SERVICE_UP, LF_STR("service", k->service));
	(void)control_link_call(l, "verbs", NULL, ANSWER_MS, on_verbs, k);
	if (json_array_size(topics) > 0)
		control_link_subscribe(l, json_incref(topics));
	json_decref(topics);
	ask(k);
}

static void on_event(struct control_link *l, const json_t *event, void *arg)
{
	struct backend *k = arg;
	const char *topic = json_string_value(json_object_get(event, "topic"));
	const json_t *lost = json_object_get(event, "lost");

	(void)l;
	if (lost)
		events_lost(k->of->c->events, k->service, (uint64_t)json_integer_value(lost));
	else if (topic)
		events_publish(k->of->c->events, k->service, topic, json_object_get(event, "data"));
}

static void on_down(struct control_link *l, int err, const char *why, void *arg)
{
	struct backend *k = arg;

	(void)l;
	k->error = err ? -err : -ECONNRESET;
	k->link = control_link_free(k->link);
	k->asked = false;
	log_emit(&MSG_CONSOLE_SERVICE_DOWN, LF_STR("service", k->service), LF_STR("reason", why));
	tell(k);
}

static const struct control_link_ops link_ops = { on_up, on_event, on_down };

static void connect_to(struct backend *k)
{
	if (k->link || !k->here)
		return;
	k->error = control_link_new(k->of->c->svc->loop, k->path, &link_ops, k, &k->link);
	if (k->error < 0)
		k->link = NULL;
	tell(k);
}

/* ---- the folder ---- */

static struct backend *backend_add(struct backends *b, const char *service)
{
	struct backend *k = b->n < BACKENDS_MAX ? calloc(1, sizeof(*k)) : NULL;
	const char *at = strchr(service, '@');

	if (!k)
		return NULL;
	k->of = b;
	(void)snprintf(k->service, sizeof(k->service), "%s", service);
	(void)snprintf(k->path, sizeof(k->path), "%s/stile-%s.sock", b->c->svc->instance.runtime_dir, service);
	(void)snprintf(k->program, sizeof(k->program), "stile-%.*s", (int)(at ? at - service : 20), service);
	(void)snprintf(k->instance, sizeof(k->instance), "%s", at ? at + 1 : "");
	list_append(&b->list, &k->node);
	b->n++;
	return k;
}

/* "stile-turn.sock", "stile-turn@lab.sock": of the control protocol. Other sockets of services have other names. */
static bool is_control_socket(const char *name)
{
	static const char *const known[] = { "turn", "tunnel", "agent", "sip", "fastpath", "gateway", "console", "share" };
	struct text t = text_of(name), program;

	if (!text_starts(t, TEXT("stile-")) || t.n > 100 || t.n < 12 || strcmp(name + t.n - 5, ".sock") != 0)
		return false;
	t = (struct text){ t.p + 6, t.n - 11 };
	program = text_cut(&t, '@');
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (text_eq(program, text_of(known[i])))
			return true;
	return false;
}

static void look(struct backends *b)
{
	DIR *d = opendir(b->c->svc->instance.runtime_dir);

	list_for_each(it, &b->list)
		list_entry(it, struct backend, node)->here = false;
	for (struct dirent *e; d && (e = readdir(d));) {
		struct backend *k;
		char service[100];

		if (!is_control_socket(e->d_name))
			continue;
		(void)snprintf(service, sizeof(service), "%.*s", (int)(strlen(e->d_name) - 11), e->d_name + 6);
		k = backend_find(b, service);
		if (!k)
			k = backend_add(b, service);
		if (k)
			k->here = true;
	}
	if (d)
		closedir(d);
	b->looked = true;
}

static void on_look(struct timer *t, uint64_t now)
{
	struct backends *b = container_of(t, struct backends, look);

	look(b);
	list_for_each(it, &b->list) {
		struct backend *k = list_entry(it, struct backend, node);

		connect_to(k);
		if (k->link && control_link_is_up(k->link) && (!k->status_at || now - k->status_at >= ASK_EVERY_MS))
			ask(k);
		tell(k);
	}
	loop_timer_set(b->c->svc->loop, t, LOOK_MS);
}

/* ---- the manager ---- */

static void name_of_row(const json_t *row, char *out, size_t n)
{
	const char *service = json_string_value(json_object_get(row, "service")), *instance = json_string_value(json_object_get(row, "instance"));

	(void)snprintf(out, n, "%s%s%s", service ? service : "", instance && *instance ? "@" : "", instance ? instance : "");
}

static void on_managed(const json_t *rows, void *arg)
{
	struct backends *b = arg;
	size_t i;
	json_t *row;

	list_for_each(it, &b->list)
		replace(&list_entry(it, struct backend, node)->managed, NULL);
	json_array_foreach(rows, i, row) {
		struct backend *k;
		char service[100];

		name_of_row(row, service, sizeof(service));
		k = *service ? backend_find(b, service) : NULL;
		if (!k && *service)
			k = backend_add(b, service);
		if (k)
			replace(&k->managed, row);
	}
	list_for_each(it, &b->list)
		tell(list_entry(it, struct backend, node));
}

int backend_manage(struct backend *k, const char *action, void (*done)(int r, const json_t *row, const char *err, void *arg), void *arg)
{
	return k->managed ? manage_do(k->of->manage, action, k->program, k->instance, done, arg) : -ENOSYS;
}

/* ---- for others ---- */

struct backend *backend_find(struct backends *b, const char *service)
{
	list_for_each(it, &b->list) {
		struct backend *k = list_entry(it, struct backend, node);

		if (strcmp(k->service, service) == 0)
			return k;
	}
	return NULL;
}

void backends_each(struct backends *b, void (*fn)(struct backend *k, void *arg), void *arg)
{
	list_for_each(it, &b->list)
		fn(list_entry(it, struct backend, node), arg);
}

void backends_topics_changed(struct backends *b)
{
	list_for_each(it, &b->list) {
		struct backend *k = list_entry(it, struct backend, node);
		json_t *topics = events_topics(b->c->events, k->service);

		if (k->link && control_link_is_up(k->link) && json_array_size(topics) > 0)
			control_link_subscribe(k->link, json_incref(topics));
		json_decref(topics);
	}
}

bool backends_ready(const struct backends *b)
{
	return b->looked;
}

const char *backend_state(const struct backend *k)
{
	const char *state = json_string_value(json_object_get(k->status, "state"));
	const char *managed = json_string_value(json_object_get(k->managed, "state"));

	if (!k->link && managed && strcmp(managed, "running") != 0)
		return managed;
	if (!k->here)
		return "stopped";
	if (!k->link)
		return k->error == -ECONNREFUSED || k->error == -ECONNRESET || k->error == -ENOENT ? "failed" : "unreachable";
	if (!control_link_is_up(k->link))
		return "starting";
	if (k->late)
		return "late";
	return state ? state : "running";
}

const char *backend_verb_help(const struct backend *k, const char *verb)
{
	const char *name, *help;
	size_t i;
	json_t *v;

	json_array_foreach(k->verbs, i, v) {
		name = json_string_value(json_object_get(v, "verb"));
		help = json_string_value(json_object_get(v, "help"));
		if (name && help && strcmp(name, verb) == 0)
			return help;
	}
	return "";
}

static enum control_role role_of_verb(const json_t *verb)
{
	enum control_role role = CONTROL_ADMIN; /* of a word that is not known, too */

	(void)role_parse(text_of_key(verb, "role"), &role);
	return role;
}

/* A few arguments need more than their verb. A service holds them against the role of its caller, which is the console's own whoever asks:
 * so they are known here, too (tests/console/access.py looks where there are more of them). */
static const struct {
	const char *verb, *argument;
	enum control_role role;
} raised[] = {
	{ "log.level", "level", CONTROL_OPERATOR },
	{ "service.objects", "secrets", CONTROL_ADMIN },
};

static int raise_role(const char *verb, const json_t *args, enum control_role *role)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(raised); i++) {
		const json_t *given = strcmp(verb, raised[i].verb) == 0 ? json_object_get(args, raised[i].argument) : NULL;

		if (!given || json_is_false(given))
			continue;
		*role = MAX(*role, raised[i].role);
		r = 1;
	}
	return r;
}

int backend_verb_role(const struct backend *k, const char *verb, const json_t *args, enum control_role *ret_role)
{
	size_t i;
	json_t *v;

	json_array_foreach(k->verbs, i, v) {
		if (strcmp(text_of_key(v, "verb"), verb) != 0)
			continue;
		*ret_role = role_of_verb(v);
		return raise_role(verb, args, ret_role);
	}
	return -ENOENT;
}

/* Nobody starts a console that is stopped from its own page, and its restart would wait for itself. */
static json_t *can_json(const struct backend *k)
{
	bool own = strcmp(k->program, "stile-console") == 0;
	json_t *can = json_array();

	if (k->managed && !k->link)
		json_array_append_new(can, json_string("start"));
	if (k->managed && k->link && !own)
		json_array_append_new(can, json_string("restart"));
	if (k->link) {
		json_array_append_new(can, json_string("stop"));
		json_array_append_new(can, json_string("reload"));
		json_array_append_new(can, json_string("drain"));
	}
	return can;
}

/* What became of a service that does not run: exit code or signal, its last error line, when. */
static json_t *exit_json(const struct backend *k)
{
	const json_t *m = k->managed;

	if (!m || k->link)
		return json_null();
	return json_pack("{s:O*, s:O*, s:O*, s:O*}", "code", json_object_get(m, "exit_code"), "signal", json_object_get(m, "signal"), "error",
			 json_object_get(m, "last_error"), "time", json_object_get(m, "since"));
}

json_t *backend_json(const struct backend *k)
{
	const json_t *s = k->status;
	json_t *worst = json_object_get(k->health, "worst"), *items = json_object_get(k->health, "items");
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:o}", "service", k->service, "program", k->program, "instance", k->instance, "state",
			      backend_state(k), "can", can_json(k));

	if (!j)
		return NULL;
	json_object_set(j, "version", json_object_get(k->hello, "version") ? json_object_get(k->hello, "version") : json_null());
	if (k->link && s) {
		json_object_set(j, "started_at", json_object_get(s, "started_at"));
		json_object_set_new(j, "uptime", json_integer(json_integer_value(json_object_get(s, "uptime_ms")) / 1000));
		json_object_set(j, "pid", json_object_get(s, "pid"));
		json_object_set(j, "memory", json_object_get(s, "memory"));
		json_object_set(j, "drain_left_ms", json_object_get(s, "drain_left_ms"));
	}
	json_object_set(j, "health", worst && k->link ? worst : json_null());
	json_object_set_new(j, "items", items && k->link ? json_incref(items) : json_array());
	json_object_set_new(j, "exit", exit_json(k));
	json_object_set(j, "by", k->managed ? json_object_get(k->managed, "by") : json_null());
	return j;
}

static void add_row(struct backend *k, void *arg)
{
	json_t *j = backend_json(k);

	if (j)
		json_array_append_new(arg, j);
}

json_t *backends_json(struct backends *b)
{
	json_t *rows = json_array();

	if (rows)
		backends_each(b, add_row, rows);
	return rows;
}

/* ---- life ---- */

int backends_new(struct console *c, struct backends **ret_b)
{
	struct backends *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->c = c;
	b->look.fire = on_look;
	list_init(&b->list);
	r = manage_new(c->svc->loop, c->svc->instance.runtime_dir, on_managed, b, &b->manage);
	if (r < 0) {
		free(b);
		return r;
	}
	loop_timer_set(c->svc->loop, &b->look, 0);
	*ret_b = b;
	return 0;
}

struct backends *backends_free(struct backends *b)
{
	if (!b)
		return NULL;
	timer_stop(&b->look);
	manage_free(b->manage);
	list_for_each_safe(it, &b->list) {
		struct backend *k = list_entry(it, struct backend, node);

		list_unlink(&k->node);
		k->link = control_link_free(k->link);
		json_decref(k->hello);
		json_decref(k->status);
		json_decref(k->health);
		json_decref(k->verbs);
		json_decref(k->managed);
		free(k);
	}
	free(b);
	return NULL;
}
