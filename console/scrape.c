/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics of all services in one answer: the Prometheus text of each, its samples with the labels service and instance, and
 * the samples of one name together behind one HELP and TYPE, as the format demands where two instances have the same ones.
 *
 * The services are asked at the same time; one that does not answer in time is missing, and stile_up says so.
 */
#include "console/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/control_link.h"

enum { ANSWER_MS = 3000, FAMILIES_MAX = 4096 };

struct family {
	char *name, *head; /* head: its HELP and TYPE lines */
	char *samples;
	size_t n, cap;
};
struct scrape {
	struct family *families;
	size_t n, cap;
};

struct scrape *scrape_new(void)
{
	return calloc(1, sizeof(struct scrape));
}

struct scrape *scrape_free(struct scrape *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->n; i++) {
		free(s->families[i].name);
		free(s->families[i].head);
		free(s->families[i].samples);
	}
	free(s->families);
	free(s);
	return NULL;
}

static struct family *family_of(struct scrape *s, struct text name)
{
	struct family *bigger;

	for (size_t i = 0; i < s->n; i++)
		if (text_eq(text_of(s->families[i].name), name))
			return &s->families[i];
	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 64;

		bigger = cap <= FAMILIES_MAX ? realloc(s->families, cap * sizeof(*bigger)) : NULL;
		if (!bigger)
			return NULL;
		s->families = bigger;
		s->cap = cap;
	}
	bigger = &s->families[s->n];
	*bigger = (struct family){ .name = text_dup(name) };
	if (!bigger->name)
		return NULL;
	s->n++;
	return bigger;
}

static int append(struct family *f, const char *p, size_t n)
{
	if (f->n + n + 1 > f->cap) {
		size_t cap = (f->n + n + 1) * 2;
		char *bigger = realloc(f->samples, cap);

		if (!bigger)
			return -ENOMEM;
		f->samples = bigger;
		f->cap = cap;
	}
	memcpy(f->samples + f->n, p, n);
	f->n += n;
	f->samples[f->n] = 0;
	return 0;
}

/* "# HELP name …" or "# TYPE name …": the first service's words hold. */
static int add_head(struct scrape *s, struct text line, struct family **ret_f)
{
	struct text rest = text_drop(line, strlen("# HELP ")), name = text_cut(&rest, ' ');
	struct family *f = name.n ? family_of(s, name) : NULL;
	const char *type = "# TYPE ";
	char *head;

	if (!f)
		return name.n ? -ENOMEM : -EINVAL;
	*ret_f = f;
	if (f->head && (strstr(f->head, type) || line.p[2] == 'H'))
		return 0;
	if (asprintf(&head, "%s%.*s\n", f->head ? f->head : "", TEXT_FMT(line)) < 0)
		return -ENOMEM;
	free(f->head);
	f->head = head;
	return 0;
}

/* "name{label=\"x\"} 1" → "name{service=\"turn\",instance=\"\",label=\"x\"} 1" */
static int add_sample(struct family *f, struct text line, const char *labels)
{
	ptrdiff_t brace = text_find(line, '{'), blank = text_find(line, ' ');
	size_t name_n = (size_t)(brace >= 0 && brace < blank ? brace : blank);
	struct text rest = text_drop(line, name_n);
	bool labelled = brace >= 0 && brace < blank;
	int r;

	if (blank <= 0)
		return -EINVAL;
	r = append(f, line.p, name_n);
	if (r == 0)
		r = append(f, labels, strlen(labels));
	if (r == 0)
		r = append(f, labelled ? "," : "}", 1);
	if (labelled)
		rest = text_drop(rest, 1);
	if (r == 0)
		r = append(f, rest.p, rest.n);
	return r < 0 ? r : append(f, "\n", 1);
}

int scrape_add(struct scrape *s, const char *service, const char *instance, const char *text)
{
	struct text rest = text_of(text);
	struct family *f = NULL;
	char labels[256];
	int r = 0;

	(void)snprintf(labels, sizeof(labels), "{service=\"%.64s\",instance=\"%.64s\"", service, instance); /* words of socket names */
	while (rest.p && r == 0) {
		struct text line = text_cut(&rest, '\n');

		if (line.n == 0)
			continue;
		if (text_starts(line, TEXT("# HELP ")) || text_starts(line, TEXT("# TYPE ")))
			r = add_head(s, line, &f);
		else if (line.p[0] != '#')
			r = f ? add_sample(f, line, labels) : -EINVAL;
	}
	return r;
}

char *scrape_text(const struct scrape *s)
{
	size_t n = 1, at = 0;
	char *out;

	for (size_t i = 0; i < s->n; i++)
		n += (s->families[i].head ? strlen(s->families[i].head) : 0) + s->families[i].n;
	out = malloc(n);
	if (!out)
		return NULL;
	for (size_t i = 0; i < s->n; i++) {
		const struct family *f = &s->families[i];
		size_t h = f->head ? strlen(f->head) : 0;

		if (h)
			memcpy(out + at, f->head, h);
		if (f->n)
			memcpy(out + at + h, f->samples, f->n);
		at += h + f->n;
	}
	out[at] = 0;
	return out;
}

/* ---- the route ---- */

struct gathering {
	struct ask *a;
	struct scrape *s;
	unsigned waiting;
	bool failed;
};
struct question {
	struct gathering *g;
	char service[100], instance[64];
};

static const char *const request_classes[] = { "1xx", "2xx", "3xx", "4xx", "5xx", NULL };
static const char *const logins[] = { "good", "bad", "throttled", NULL };
const struct metric_row console_metric_rows[CONSOLE_METRICS] = {
	[CONSOLE_M_REQUESTS] = { "stile_console_requests_total", METRIC_COUNTER, "Requests answered, by class of their status", "class",
				 request_classes },
	[CONSOLE_M_REFUSED] = { "stile_console_refused_total", METRIC_COUNTER, "Connections and requests that were refused or cut, by reason",
				"reason", httpd_refusal_names },
	[CONSOLE_M_CONNECTIONS] = { "stile_console_connections", METRIC_GAUGE, "Connections of browsers and API clients", NULL, NULL },
	[CONSOLE_M_STREAMS] = { "stile_console_streams", METRIC_GAUGE, "Pages that get live data", NULL, NULL },
	[CONSOLE_M_LOGINS] = { "stile_console_logins_total", METRIC_COUNTER, "Logins, by result", "result", logins },
};

static void add_up(struct backend *k, void *arg)
{
	struct gathering *g = arg;
	char text[128];

	(void)snprintf(text, sizeof(text), "# HELP stile_up Whether the service answers\n# TYPE stile_up gauge\nstile_up %d\n",
		       strcmp(backend_state(k), "running") == 0 || strcmp(backend_state(k), "draining") == 0);
	g->failed |= scrape_add(g->s, k->program + strlen("stile-"), k->instance, text) < 0;
}

static void finish(struct gathering *g)
{
	char *text;

	if (--g->waiting > 0)
		return;
	text = g->failed ? NULL : scrape_text(g->s);
	if (text && g->a->rq && !httpd_replied(g->a->rq)) {
		console_add_headers(g->a->c, g->a->rq, false);
		console_count(g->a->c, 200);
		httpd_reply_taken(g->a->rq, 200, "text/plain; version=0.0.4; charset=utf-8", text, strlen(text));
	} else {
		free(text);
		ask_fail(g->a, 500, "failed", "the metrics of the services cannot be put together");
	}
	ask_unref(g->a);
	scrape_free(g->s);
	free(g);
}

static void on_text(int r, json_t *result, json_t *error, void *arg)
{
	struct question *q = arg;
	const char *text = json_string_value(json_object_get(result, "text"));

	(void)error;
	if (r == 0 && text && scrape_add(q->g->s, q->service, q->instance, text) == -ENOMEM)
		q->g->failed = true;
	finish(q->g);
	free(q);
}

static void ask_one(struct backend *k, void *arg)
{
	static const char *const verbs[] = { "turn.metrics", "relay.metrics", "sip.metrics", "gateway.metrics", "agent.metrics",
					     "console.metrics" };
	struct gathering *g = arg;
	enum control_role role;

	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		struct question *q;

		if (!k->link || backend_verb_role(k, verbs[i], NULL, &role) < 0)
			continue;
		q = calloc(1, sizeof(*q));
		if (!q) {
			g->failed = true;
			return;
		}
		q->g = g;
		(void)snprintf(q->service, sizeof(q->service), "%s", k->program + strlen("stile-"));
		(void)snprintf(q->instance, sizeof(q->instance), "%s", k->instance);
		g->waiting++;
		(void)control_link_call(k->link, verbs[i], json_pack("{s:b}", "text", 1), ANSWER_MS, on_text, q);
	}
}

void metrics_get(struct ask *a)
{
	struct gathering *g = calloc(1, sizeof(*g));

	if (!g || !(g->s = scrape_new())) {
		free(g);
		ask_reply(a, 500, NULL);
		return;
	}
	g->a = ask_ref(a);
	g->waiting = 1;
	backends_each(a->c->backends, add_up, g);
	backends_each(a->c->backends, ask_one, g);
	finish(g);
}
