/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay.watch: the bytes of one connection as they pass, as progress of a request that ends when the connection
 * does, or when its client cancels it or goes. The tap is on while somebody watches. Who looked at what is
 * in the log.
 */
#include <errno.h>
#include <string.h>
#include "tunnel/log_msgs.h"
#include "tunnel/service.h"

struct watcher {
	struct list node;
	struct tunnel_service *ts;
	struct control_request *rq;
	uint64_t id;
};

struct tunnel_watchers {
	struct tunnel_service *ts;
	struct list all;
};

static bool is_watched(const struct tunnel_watchers *w, uint64_t id)
{
	list_for_each(it, &w->all)
		if (list_entry(it, struct watcher, node)->id == id)
			return true;
	return false;
}

/* The request is ended by the caller. */
static void leave(struct watcher *v)
{
	struct tunnel_service *ts = v->ts;
	uint64_t id = v->id;

	list_unlink(&v->node);
	free(v);
	if (!is_watched(ts->watchers, id))
		(void)relay_act(ts->relay, id, RELAY_WATCH_OFF);
}

static void on_cancel(struct control_request *rq, void *arg)
{
	leave(arg);
	control_fail(rq, "cancelled", NULL, "no longer watched");
}

static json_t *piece(const struct relay_seen *s)
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

static void on_seen(const struct relay_seen *s, void *arg)
{
	struct tunnel_watchers *w = arg;

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

void tunnel_verb_watch(struct control_request *rq, const json_t *args, void *arg)
{
	struct tunnel_service *ts = arg;
	const json_t *id = json_object_get(args, "id");
	struct watcher *v;
	int r;

	if (!json_is_integer(id)) {
		control_fail(rq, "bad-request", "stile relay connections shows the numbers", "id must be a number");
		return;
	}
	v = calloc(1, sizeof(*v));
	r = v ? relay_act(ts->relay, (uint64_t)json_integer_value(id), RELAY_WATCH_ON) : -ENOMEM;
	if (r < 0) {
		free(v);
		if (r == -ENOENT)
			control_fail(rq, "not-found", "stile relay connections", "there is no connection %lld", json_integer_value(id));
		else
			control_fail(rq, "failed", NULL, "%s", strerror(-r));
		return;
	}
	*v = (struct watcher){ .ts = ts, .rq = rq, .id = (uint64_t)json_integer_value(id) };
	list_append(&ts->watchers->all, &v->node);
	control_on_cancel(rq, on_cancel, v);
	log_emit(&MSG_RELAY_WATCHED, LF_U64("connection", v->id), LF_STR("by", control_request_who(rq)));
}

int tunnel_watchers_new(struct tunnel_service *ts, struct tunnel_watchers **ret_w)
{
	struct tunnel_watchers *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->ts = ts;
	list_init(&w->all);
	relay_on_seen(ts->relay, on_seen, w);
	*ret_w = w;
	return 0;
}

struct tunnel_watchers *tunnel_watchers_free(struct tunnel_watchers *w)
{
	if (!w)
		return NULL;
	relay_on_seen(w->ts->relay, NULL, NULL);
	list_for_each_safe(it, &w->all) {
		struct watcher *v = list_entry(it, struct watcher, node);

		list_unlink(it);
		control_fail(v->rq, "cancelled", NULL, "the service stops");
		free(v);
	}
	free(w);
	return NULL;
}
