/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of the control protocol: who wants which topics, and what they have not read yet.
 *
 * An event is rendered once and shared by all who get it. Each peer has a ring of CONTROL_RING events;
 * they move into its output only while that is short, so a peer that does not read costs the ring
 * and no more: the oldest event is overwritten. Events are numbered per subscription when they are
 * published, so what was lost shows as a gap, and one "lost" line stands in for each gap.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "common/control_priv.h"

struct control_event {
	unsigned refs;
	size_t n;
	char json[]; /* "topic":"…","data":{…} */
};

struct control_sub {
	struct list node; /* of peer->subs */
	json_int_t id;	  /* of the request that made it */
	uint64_t published, sent; /* numbers of the last event published and written */
	size_t n_topics;
	char *topics[]; /* "turn.sessions", "turn.*" or "*" */
};

struct control_slot {
	struct control_sub *sub;
	struct control_event *event;
	uint64_t seq;
};

static void event_unref(struct control_event *e)
{
	if (e && --e->refs == 0)
		free(e);
}

static struct control_event *event_new(const char *topic, json_t *data)
{
	struct control_event *e = NULL;
	char *text = data ? json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	size_t n = text ? strlen(text) + strlen(topic) + sizeof("\"topic\":\"\",\"data\":") : 0;

	if (text && n <= CONTROL_MAX_EVENT)
		e = malloc(sizeof(*e) + n);
	if (e) {
		e->refs = 1;
		e->n = (size_t)snprintf(e->json, n, "\"topic\":\"%s\",\"data\":%s", topic, text);
	}
	free(text);
	return e;
}

/* --- subscriptions --- */

static void sub_free(struct control_sub *sub)
{
	for (size_t i = 0; i < sub->n_topics; i++)
		free(sub->topics[i]);
	free(sub);
}

static bool sub_wants(const struct control_sub *sub, const char *topic)
{
	for (size_t i = 0; i < sub->n_topics; i++) {
		const char *t = sub->topics[i];
		size_t n = strlen(t);
		/* "turn.*" matches by its prefix "turn.", "*" by the empty one. */
		if (t[n - 1] == '*' ? strncmp(t, topic, n - 1) == 0 : strcmp(t, topic) == 0)
			return true;
	}
	return false;
}

static bool topic_is_valid(const json_t *t)
{
	const char *s = json_string_value(t);
	size_t n = s ? strlen(s) : 0;
	const char *star = s ? strchr(s, '*') : NULL;

	if (!n || n > 64 || strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_*") != n)
		return false;
	return !star || (star == s + n - 1 && (n == 1 || star[-1] == '.'));
}

static int sub_new(const json_t *topics, json_int_t id, struct control_sub **ret_sub)
{
	size_t n = json_array_size(topics);
	struct control_sub *sub = calloc(1, sizeof(*sub) + n * sizeof(sub->topics[0]));

	if (!sub)
		return -ENOMEM;
	sub->id = id;
	for (; sub->n_topics < n; sub->n_topics++) {
		char *t = strdup(json_string_value(json_array_get(topics, sub->n_topics)));
		if (!t) {
			sub_free(sub);
			return -ENOMEM;
		}
		sub->topics[sub->n_topics] = t;
	}
	*ret_sub = sub;
	return 0;
}

static struct control_sub *find_sub(const struct control_peer *p, json_int_t id)
{
	list_for_each(it, &p->subs) {
		struct control_sub *sub = list_entry(it, struct control_sub, node);
		if (sub->id == id)
			return sub;
	}
	return NULL;
}

bool peer_has_subscription(const struct control_peer *p, json_int_t id)
{
	return find_sub(p, id) != NULL;
}

static bool topics_are_valid(const json_t *topics)
{
	size_t n = json_array_size(topics);

	for (size_t i = 0; i < n; i++)
		if (!topic_is_valid(json_array_get(topics, i)))
			return false;
	return n > 0 && n <= CONTROL_MAX_TOPICS;
}

void peer_subscribe(struct control_request *rq, const json_t *args)
{
	struct control_peer *p = rq->peer;
	json_t *topics = json_object_get(args, "topics");
	struct control_sub *sub = NULL;

	if (!topics_are_valid(topics) || json_object_size(args) != 1) {
		control_fail(rq, "bad-request", "\"args\":{\"topics\":[\"turn.sessions\",\"log.*\"]}",
			     "\"topics\" is a list of 1 to %d topics and all there is", CONTROL_MAX_TOPICS);
		return;
	}
	if (p->n_subs >= CONTROL_MAX_SUBS) {
		control_fail(rq, "busy", "cancel one", "%u subscriptions are open", p->n_subs);
		return;
	}
	if (!p->ring)
		p->ring = calloc(CONTROL_RING, sizeof(p->ring[0]));
	if (!p->ring || sub_new(topics, rq->id, &sub) < 0) {
		control_fail(rq, "failed", NULL, "out of memory");
		return;
	}
	list_append(&p->subs, &sub->node);
	p->n_subs++;
	p->server->n_subs++;
	control_reply(rq, json_pack("{s:O}", "topics", topics));
}

static void sub_drop(struct control_peer *p, struct control_sub *sub)
{
	for (unsigned i = 0; i < p->ring_n; i++) {
		struct control_slot *slot = &p->ring[(p->ring_head + i) % CONTROL_RING];
		if (slot->sub == sub) {
			event_unref(slot->event);
			*slot = (struct control_slot){ 0 };
		}
	}
	list_unlink(&sub->node);
	p->n_subs--;
	p->server->n_subs--;
	sub_free(sub);
}

bool peer_unsubscribe(struct control_peer *p, json_int_t id)
{
	struct control_sub *sub = find_sub(p, id);

	if (sub)
		sub_drop(p, sub);
	return sub != NULL;
}

void peer_drop_subscriptions(struct control_peer *p)
{
	while (!list_empty(&p->subs))
		sub_drop(p, list_entry(p->subs.next, struct control_sub, node));
}

/* --- the ring --- */

static struct control_slot ring_pop(struct control_peer *p)
{
	struct control_slot slot = p->ring[p->ring_head];

	p->ring[p->ring_head] = (struct control_slot){ 0 };
	p->ring_head = (p->ring_head + 1) % CONTROL_RING;
	p->ring_n--;
	return slot;
}

static void ring_push(struct control_peer *p, struct control_sub *sub, struct control_event *e)
{
	if (p->ring_n == CONTROL_RING)
		event_unref(ring_pop(p).event);
	p->ring[(p->ring_head + p->ring_n) % CONTROL_RING] =
		(struct control_slot){ .sub = sub, .event = e, .seq = sub->published };
	p->ring_n++;
	e->refs++;
}

static void send_lost(struct control_peer *p, struct control_sub *sub, uint64_t last)
{
	char line[96];
	int n;

	if (last == sub->sent)
		return;
	n = snprintf(line, sizeof(line), "{\"seq\":%" PRIu64 ",\"lost\":%" PRIu64 "}", last,
		     last - sub->sent);
	peer_send(p, sub->id, "event", line, (size_t)n);
	sub->sent = last;
}

static void send_event(struct control_peer *p, const struct control_slot *slot)
{
	char head[48];
	size_t n = (size_t)snprintf(head, sizeof(head), "{\"seq\":%" PRIu64 ",", slot->seq);
	size_t all = n + slot->event->n + 1;
	char *line = malloc(all);

	send_lost(p, slot->sub, slot->seq - 1);
	if (!line)
		return; /* and it shows as lost before the next one */
	memcpy(line, head, n);
	memcpy(line + n, slot->event->json, slot->event->n);
	line[all - 1] = '}';
	peer_send(p, slot->sub->id, "event", line, all);
	slot->sub->sent = slot->seq;
	free(line);
}

void peer_pump_events(struct control_peer *p)
{
	while (p->ring_n && !p->doomed && peer_backlog(p) < CONTROL_EVENTS_BELOW) {
		struct control_slot slot = ring_pop(p);
		if (slot.event)
			send_event(p, &slot);
		event_unref(slot.event);
	}
	if (p->ring_n || p->doomed || peer_backlog(p) >= CONTROL_EVENTS_BELOW)
		return;
	list_for_each(it, &p->subs) /* losses that no later event has told of */
		send_lost(p, list_entry(it, struct control_sub, node),
			  list_entry(it, struct control_sub, node)->published);
}

/* --- publishing --- */

bool control_has_subscribers(const struct control_server *s, const char *topic)
{
	if (!s->n_subs)
		return false;
	list_for_each(peer, &s->peers) {
		const struct control_peer *p = list_entry(peer, struct control_peer, node);
		list_for_each(sub, &p->subs)
			if (sub_wants(list_entry(sub, struct control_sub, node), topic))
				return true;
	}
	return false;
}

static void peer_publish(struct control_peer *p, const char *topic, struct control_event *e)
{
	bool any = false;

	list_for_each(it, &p->subs) {
		struct control_sub *sub = list_entry(it, struct control_sub, node);
		if (!sub_wants(sub, topic))
			continue;
		any = true;
		sub->published++;
		if (e) /* NULL: too large, or no memory; it shows as lost */
			ring_push(p, sub, e);
	}
	if (any)
		peer_pump_events(p);
}

void control_publish(struct control_server *s, const char *topic, json_t *data)
{
	struct control_event *e;

	if (control_has_subscribers(s, topic)) {
		e = event_new(topic, data);
		list_for_each_safe(it, &s->peers)
			peer_publish(list_entry(it, struct control_peer, node), topic, e);
		event_unref(e);
	}
	json_decref(data);
}
