/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live data: one stream of server-sent events for each page. All streams read one ring, each from its own place and through
 * its own topics, so that two hundred of them cost one copy of an event, one subscription of a service, and nothing of it
 * grows because somebody does not read: who is overtaken by the ring is told how many events he has lost. An event leaves it
 * after its time too, so that its memory follows what happens now and not the busiest hour since the start.
 *
 * An event's id is "BOOT.SEQ": a page that comes back names the last one that it had, and goes on behind it if the ring still
 * has it and the console is the same. Services are asked for the topics that somebody wants, and for half a minute longer, so
 * that who comes back finds no gap.
 *
 * A stream is as good as the session or token that it was opened with: it ends with it, at the next keep-alive if that was by time.
 */
#include "console/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/clock.h"

enum {
	RING_EVENTS = 8192,
	RING_BYTES = 16 << 20,
	TOPICS_MAX = 64,
	TOPIC_MAX = 128,
	QUERY_MAX = 8 << 10,
	KEEP_ALIVE_MS = 15 * 1000,
	LINGER_MS = 30 * 1000,
};

struct event {
	char *service, *topic, *data; /* one allocation; data is one line of JSON */
	size_t n;
	uint64_t at; /* loop time */
	bool lost;   /* of the service itself: data is how many */
};
struct viewer {
	struct list node;
	struct events *e;
	struct ask *ask;
	char (*topics)[TOPIC_MAX]; /* "turn:turn.sessions", "*:log.*" */
	unsigned n_topics;
	uint64_t next; /* the event that comes now */
	uint64_t lost; /* to be told */
	bool greeted, ended, ping, restarted;
	char *out; /* what is being sent */
	size_t out_n, out_sent, out_cap;
	char id[65]; /* of the session or token that looks on */
};
struct wanted {
	struct list node;
	char topic[TOPIC_MAX];
	unsigned users;
	uint64_t until; /* without users: loop time at which it is dropped */
};
struct events {
	struct console *c;
	struct event ring[RING_EVENTS];
	uint64_t first, next; /* sequence numbers: [first, next) are in the ring */
	size_t bytes;
	uint64_t keep_ms;
	int64_t boot;
	struct list viewers, wanted;
	unsigned n_viewers;
	struct timer keep_alive;
};

/* ---- topics ---- */

static bool covers(const char *pattern, const char *name)
{
	size_t n = strlen(pattern);

	if (n > 0 && pattern[n - 1] == '*')
		return strncmp(pattern, name, n - 1) == 0;
	return strcmp(pattern, name) == 0;
}

static bool topic_covers(const char *topic, const char *service, const char *name)
{
	const char *colon = strchr(topic, ':');
	size_t n = (size_t)(colon - topic);

	if (!(n == 1 && topic[0] == '*') && !(strlen(service) == n && strncmp(topic, service, n) == 0))
		return false;
	return covers(colon + 1, name);
}

static bool wants(const struct viewer *v, const struct event *ev)
{
	for (unsigned i = 0; i < v->n_topics; i++)
		if (ev->lost ? topic_covers(v->topics[i], ev->service, "") || strncmp(v->topics[i], "*:", 2) == 0 ||
				       (strncmp(v->topics[i], ev->service, strlen(ev->service)) == 0 &&
					v->topics[i][strlen(ev->service)] == ':') :
			       topic_covers(v->topics[i], ev->service, ev->topic))
			return true;
	return false;
}

bool events_wanted(const struct events *e, const char *service, const char *topic)
{
	list_for_each(it, &e->wanted)
		if (topic_covers(list_entry(it, struct wanted, node)->topic, service, topic))
			return true;
	return false;
}

json_t *events_topics(const struct events *e, const char *service)
{
	json_t *topics = json_array();

	list_for_each(it, &e->wanted) {
		const char *t = list_entry(it, struct wanted, node)->topic, *colon = strchr(t, ':');
		size_t n = (size_t)(colon - t);

		if ((n == 1 && t[0] == '*') || (strlen(service) == n && strncmp(t, service, n) == 0))
			json_array_append_new(topics, json_string(colon + 1));
	}
	return topics;
}

static struct wanted *wanted_find(struct events *e, const char *topic)
{
	list_for_each(it, &e->wanted) {
		struct wanted *w = list_entry(it, struct wanted, node);

		if (strcmp(w->topic, topic) == 0)
			return w;
	}
	return NULL;
}

static void want(struct events *e, const struct viewer *v)
{
	bool more = false;

	for (unsigned i = 0; i < v->n_topics; i++) {
		struct wanted *w = wanted_find(e, v->topics[i]);

		if (!w) {
			w = calloc(1, sizeof(*w));
			if (!w)
				continue;
			memcpy(w->topic, v->topics[i], TOPIC_MAX);
			list_append(&e->wanted, &w->node);
			more = true;
		}
		w->users++;
	}
	if (more)
		backends_topics_changed(e->c->backends);
}

static void unwant(struct events *e, const struct viewer *v)
{
	for (unsigned i = 0; i < v->n_topics; i++) {
		struct wanted *w = wanted_find(e, v->topics[i]);

		if (w && --w->users == 0)
			w->until = loop_now(e->c->svc->loop) + LINGER_MS;
	}
}

/* ---- the ring ---- */

static void drop_oldest(struct events *e)
{
	struct event *ev = &e->ring[e->first++ % RING_EVENTS];

	e->bytes -= ev->n;
	free(ev->service);
	*ev = (struct event){ 0 };
}

static void drop_old(struct events *e, uint64_t now)
{
	while (e->first < e->next && now - e->ring[e->first % RING_EVENTS].at > e->keep_ms)
		drop_oldest(e);
}

static void publish(struct events *e, const char *service, const char *topic, const char *data, bool lost)
{
	size_t s = strlen(service) + 1, t = strlen(topic) + 1, d = strlen(data) + 1;
	uint64_t now = loop_now(e->c->svc->loop);
	char *p = malloc(s + t + d);

	if (!p)
		return; /* the number is not used either; what is lost for want of memory is told by no one */
	drop_old(e, now);
	if (e->next - e->first == RING_EVENTS)
		drop_oldest(e);
	while (e->bytes + s + t + d > RING_BYTES && e->first < e->next)
		drop_oldest(e);
	memcpy(p, service, s);
	memcpy(p + s, topic, t);
	memcpy(p + s + t, data, d);
	e->ring[e->next++ % RING_EVENTS] = (struct event){ p, p + s, p + s + t, s + t + d, now, lost };
	e->bytes += s + t + d;
	list_for_each(it, &e->viewers) {
		struct viewer *v = list_entry(it, struct viewer, node);

		if (v->ask->rq && wants(v, &e->ring[(e->next - 1) % RING_EVENTS]))
			httpd_wake(v->ask->rq);
	}
}

void events_publish(struct events *e, const char *service, const char *topic, const json_t *data)
{
	char *text = e && events_wanted(e, service, topic) ? json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	if (text)
		publish(e, service, topic, text, false);
	free(text);
}

void events_lost(struct events *e, const char *service, uint64_t n)
{
	char data[120];

	(void)snprintf(data, sizeof(data), "{\"lost\":%llu,\"service\":\"%.60s\"}", (unsigned long long)n, service);
	publish(e, service, "lost", data, true);
}

/* ---- a stream ---- */

static struct sb out_room(struct viewer *v, size_t n)
{
	if (v->out_cap < n) {
		char *bigger = realloc(v->out, n);

		if (!bigger)
			return sb_init(v->out, 0);
		v->out = bigger;
		v->out_cap = n;
	}
	return sb_init(v->out, v->out_cap);
}

static void render_event(struct viewer *v, const struct event *ev, uint64_t seq)
{
	struct sb b = out_room(v, ev->n + 128);

	sb_fmt(&b, "id: %llx.%llu\nevent: ", (unsigned long long)v->e->boot, (unsigned long long)seq);
	if (ev->lost)
		sb_str(&b, "lost");
	else
		sb_fmt(&b, "%s:%s", ev->service, ev->topic);
	sb_str(&b, "\ndata: ");
	sb_str(&b, ev->data);
	sb_str(&b, "\n\n");
	v->out_n = b.n;
}

/* 1: there is something to send; -1: there is no memory for it, and the page comes back for it. */
static int filled(const struct viewer *v)
{
	return v->out_n > 0 ? 1 : -1;
}

/* The next thing to send. 0: there is none. */
static int fill(struct viewer *v)
{
	struct events *e = v->e;
	struct sb b;

	v->out_n = v->out_sent = 0;
	if (!v->greeted) {
		b = out_room(v, 256);
		sb_fmt(&b, "retry: 2000\nid: %llx.%llu\nevent: hello\ndata: {\"seq\":%llu,\"restarted\":%s}\n\n", (unsigned long long)e->boot,
		       (unsigned long long)(v->next - 1), (unsigned long long)(v->next - 1), v->restarted ? "true" : "false");
		v->greeted = true;
		v->out_n = b.n;
		return filled(v);
	}
	if (v->next < e->first) {
		v->lost += e->first - v->next;
		v->next = e->first;
	}
	if (v->lost) {
		b = out_room(v, 256);
		sb_fmt(&b, "id: %llx.%llu\nevent: lost\ndata: {\"lost\":%llu}\n\n", (unsigned long long)e->boot, (unsigned long long)(v->next - 1),
		       (unsigned long long)v->lost);
		v->lost = 0;
		v->out_n = b.n;
		return filled(v);
	}
	for (; v->next < e->next; v->next++)
		if (wants(v, &e->ring[v->next % RING_EVENTS])) {
			render_event(v, &e->ring[v->next % RING_EVENTS], v->next);
			v->next++;
			return filled(v);
		}
	if (!v->ping)
		return 0;
	v->ping = false;
	b = out_room(v, 16);
	sb_str(&b, ": \n\n"); /* a comment, so that a client that has gone is noticed */
	v->out_n = b.n;
	return filled(v);
}

static ssize_t pull(struct httpd_rq *rq, uint8_t *p, size_t n, void *arg)
{
	struct ask *a = arg;
	struct viewer *v = a->state;
	size_t some;
	int r;

	(void)rq;
	if (v->ended)
		return HTTPD_END;
	r = v->out_sent == v->out_n ? fill(v) : 1;
	if (r <= 0)
		return r < 0 ? HTTPD_BROKEN : 0;
	some = MIN(n, v->out_n - v->out_sent);
	memcpy(p, v->out + v->out_sent, some);
	v->out_sent += some;
	return (ssize_t)some;
}

static const struct httpd_source source = { pull };

static void viewer_free(void *p)
{
	struct viewer *v = p;

	free(v->topics);
	free(v->out);
	free(v);
}

static void on_gone(struct ask *a)
{
	struct viewer *v = a->state;

	list_unlink(&v->node);
	v->e->n_viewers--;
	unwant(v->e, v);
	metric_set(a->c->metrics, 0, CONSOLE_M_STREAMS, 0, v->e->n_viewers);
}

/* ---- the request ---- */

static bool topic_is_good(struct text t)
{
	ptrdiff_t colon = text_find(t, ':');

	if (colon <= 0 || t.n >= TOPIC_MAX || (size_t)colon + 1 >= t.n)
		return false;
	for (size_t i = 0; i < t.n; i++)
		if (!((t.p[i] >= '0' && t.p[i] <= '9') || (t.p[i] >= 'a' && t.p[i] <= 'z') || (t.p[i] >= 'A' && t.p[i] <= 'Z') ||
		      strchr(":.-_@*", t.p[i])))
			return false;
	return true;
}

static int parse_topics(struct viewer *v, struct text list)
{
	v->topics = calloc(TOPICS_MAX, sizeof(*v->topics));
	if (!v->topics)
		return -ENOMEM;
	while (list.p) {
		struct text t = text_cut(&list, ',');

		if (!topic_is_good(t) || v->n_topics == TOPICS_MAX)
			return -EINVAL;
		memcpy(v->topics[v->n_topics++], t.p, t.n);
	}
	return 0;
}

/* "18c2f.17": where a page was. What is not ours, or from before a restart, begins with the present. */
static void resume_at(struct viewer *v, const char *last)
{
	struct text rest = text_of(last);
	struct text boot = text_cut(&rest, '.');
	uint64_t b, seq;

	v->next = v->e->next;
	if (!last)
		return;
	if (text_u64_hex(boot, &b) < 0 || text_u64(rest, &seq) < 0 || (int64_t)b != v->e->boot || seq >= v->e->next) {
		v->restarted = true;
		return;
	}
	v->next = seq + 1;
}

static struct viewer *viewer_new(struct ask *a, int *ret_r)
{
	struct viewer *v = calloc(1, sizeof(*v));
	char query[QUERY_MAX], last[64];
	const char *header = httpd_field(a->rq, "Last-Event-ID");

	*ret_r = -ENOMEM;
	if (!v)
		return NULL;
	v->e = a->c->events;
	v->ask = a;
	*ret_r = ask_query(a, "topics", query, sizeof(query));
	if (*ret_r == 0)
		*ret_r = parse_topics(v, text_of(query));
	if (*ret_r < 0) {
		viewer_free(v);
		return NULL;
	}
	if (!header && ask_query(a, "last", last, sizeof(last)) == 0)
		header = last;
	resume_at(v, header);
	memcpy(v->id, a->who.id, sizeof(v->id));
	return v;
}

void events_get(struct ask *a)
{
	struct events *e = a->c->events;
	struct viewer *v;
	int r;

	if (text_eq(httpd_method(a->rq), TEXT("HEAD"))) {
		ask_fail(a, 405, "not-found", "a stream has no head alone");
		return;
	}
	if (e->n_viewers >= console_config(a->c)->streams) {
		httpd_add(a->rq, "Retry-After", "10");
		ask_fail(a, 503, "busy", "there are %u streams already; console.streams allows no more", e->n_viewers);
		return;
	}
	v = viewer_new(a, &r);
	if (!v) {
		ask_fail(a, r == -ENOMEM ? 500 : 400, "bad-request", "topics=SERVICE:TOPIC,… names up to %d topics; * may end each half", TOPICS_MAX);
		return;
	}
	a->state = v;
	a->state_free = viewer_free;
	a->on_gone = on_gone;
	list_append(&e->viewers, &v->node);
	e->n_viewers++;
	metric_set(a->c->metrics, 0, CONSOLE_M_STREAMS, 0, e->n_viewers);
	want(e, v);
	console_add_headers(a->c, a->rq, false);
	httpd_add(a->rq, "X-Accel-Buffering", "no");
	console_count(a->c, 200);
	/* pull() gets the ask: it is the request's watch. */
	httpd_reply_stream(a->rq, 200, "text/event-stream", UINT64_MAX, &source);
}

void events_end_of(struct events *e, const char *id)
{
	if (!e)
		return;
	list_for_each(it, &e->viewers) {
		struct viewer *v = list_entry(it, struct viewer, node);

		if (strcmp(v->id, id) != 0)
			continue;
		v->ended = true;
		if (v->ask->rq)
			httpd_wake(v->ask->rq);
	}
}

unsigned events_streams(const struct events *e)
{
	return e->n_viewers;
}

/* ---- life ---- */

static void on_keep_alive(struct timer *t, uint64_t now)
{
	struct events *e = container_of(t, struct events, keep_alive);
	bool fewer = false;

	drop_old(e, now);
	accounts_sweep(e->c->accounts);
	list_for_each(it, &e->viewers) {
		struct viewer *v = list_entry(it, struct viewer, node);

		v->ping = true;
		if (v->ask->rq)
			httpd_wake(v->ask->rq);
	}
	list_for_each_safe(it, &e->wanted) {
		struct wanted *w = list_entry(it, struct wanted, node);

		if (w->users || w->until > now)
			continue;
		list_unlink(&w->node);
		free(w);
		fewer = true;
	}
	if (fewer)
		backends_topics_changed(e->c->backends);
	loop_timer_set(e->c->svc->loop, t, KEEP_ALIVE_MS);
}

int events_new(struct console *c, uint64_t keep_ms, struct events **ret_e)
{
	struct events *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->c = c;
	e->keep_ms = keep_ms;
	e->boot = clock_unix_ms();
	e->first = e->next = 1;
	list_init(&e->viewers);
	list_init(&e->wanted);
	e->keep_alive.fire = on_keep_alive;
	loop_timer_set(c->svc->loop, &e->keep_alive, KEEP_ALIVE_MS);
	*ret_e = e;
	return 0;
}

struct events *events_free(struct events *e)
{
	if (!e)
		return NULL;
	timer_stop(&e->keep_alive);
	while (e->first < e->next)
		drop_oldest(e);
	list_for_each_safe(it, &e->wanted) {
		list_unlink(it);
		free(list_entry(it, struct wanted, node));
	}
	free(e);
	return NULL;
}
