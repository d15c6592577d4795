/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests that watch, in a list: each piece goes to all who asked for its connection. The tap goes off with the
 * last of them. Who looked at what is in the log.
 * Main thread.
 */
#include "tunnel/watch.h"
#include <errno.h>
#include <string.h>

struct watcher {
	struct list node;
	struct watchers *all;
	struct control_request *rq;
	uint64_t id;
};

struct watchers {
	struct watch_source source;
	struct list all;
};

static bool is_watched(const struct watchers *w, uint64_t id)
{
	list_for_each(it, &w->all)
		if (list_entry(it, struct watcher, node)->id == id)
			return true;
	return false;
}

/* The request is ended by the caller. */
static void leave(struct watcher *v)
{
	struct watchers *w = v->all;
	uint64_t id = v->id;

	list_unlink(&v->node);
	free(v);
	if (!is_watched(w, id))
		(void)w->source.tap(id, false, w->source.arg);
}

static void on_cancel(struct control_request *rq, void *arg)
{
	leave(arg);
	control_fail(rq, "cancelled", NULL, "no longer watched");
}

static json_t *piece(const struct seen *s)
{
	char *hex = malloc(2 * s->n + 1);
	json_t *o;

	if (!hex)
		return NULL;
	hex_encode(s->p, s->n, hex);
	o = json_pack("{s:s, s:I, s:I, s:I, s:s}", "way", s->way ? "down" : "up", "at", (json_int_t)s->at, "bytes",
		      (json_int_t)s->n, "lost", (json_int_t)s->lost, "hex", hex);
	free(hex);
	return o;
}

static void on_seen(const struct seen *s, void *arg)
{
	struct watchers *w = arg;

	list_for_each_safe(it, &w->all) {
		struct watcher *v = list_entry(it, struct watcher, node);
		struct control_request *rq = v->rq;
		json_t *o;

		if (v->id != s->id)
			continue;
		if (s->ended) {
			list_unlink(&v->node);
			free(v);
			control_reply(rq, json_pack("{s:b}", "ended", 1));
		} else if ((o = piece(s))) {
			control_progress(rq, o);
		}
	}
}

void watchers_ask(struct watchers *w, struct control_request *rq, const json_t *args)
{
	const json_t *id = json_object_get(args, "id");
	struct watcher *v;
	int r;

	if (!json_is_integer(id)) {
		control_fail(rq, "bad-request", w->source.list_hint, "id must be a number");
		return;
	}
	v = calloc(1, sizeof(*v));
	r = v ? w->source.tap((uint64_t)json_integer_value(id), true, w->source.arg) : -ENOMEM;
	if (r < 0) {
		free(v);
		if (r == -ENOENT)
			control_fail(rq, "not-found", w->source.list_hint,
				     "there is no connection %lld", json_integer_value(id));
		else
			control_fail(rq, "failed", NULL, "%s", strerror(-r));
		return;
	}
	*v = (struct watcher){ .all = w, .rq = rq, .id = (uint64_t)json_integer_value(id) };
	list_append(&w->all, &v->node);
	control_on_cancel(rq, on_cancel, v);
	log_emit(w->source.msg, LF_U64("connection", v->id), LF_STR("by", control_request_who(rq)));
}

int watchers_new(const struct watch_source *s, struct watchers **ret_w)
{
	struct watchers *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->source = *s;
	list_init(&w->all);
	s->outlet->arg = w;
	s->outlet->on_seen = on_seen;
	*ret_w = w;
	return 0;
}

struct watchers *watchers_free(struct watchers *w)
{
	if (!w)
		return NULL;
	w->source.outlet->on_seen = NULL;
	list_for_each_safe(it, &w->all) {
		struct watcher *v = list_entry(it, struct watcher, node);

		list_unlink(it);
		control_fail(v->rq, "cancelled", NULL, "the service stops");
		free(v);
	}
	free(w);
	return NULL;
}
