/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: made from their configuration, compared, counted against. A route keeps a configuration of its own,
 * made by writing the values as JSON and reading that back against the same rows: so a route of the file does not
 * hang on the file's values, one of the store is checked as one of the file, and two are the same if
 * their JSON is.
 */
#include "tunnel/route.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "turn/rate.h"

enum { VALUE_MAX = 4096, ASIDE_MS = 1000, ASIDE_MAX_MS = 30000 };

/* ---- JSON, and back ---- */

static json_t *schema_json(const struct cfg_schema *s, const void *values);

/* Values that were not written and have no default are zeroed. */
static bool is_unset(const struct cfg_row *row, const void *src)
{
	static const uint8_t zeroes[sizeof(struct addr)];

	return !row->def && row->type->size <= sizeof(zeroes) && memcmp(src, zeroes, row->type->size) == 0;
}

static json_t *value_json(const struct cfg_row *row, const void *src)
{
	char buf[VALUE_MAX];
	struct sb out = sb_init(buf, sizeof(buf));

	if (is_unset(row, src))
		return NULL;

	if (row->type == &cfg_bool)
		return json_boolean(*(const bool *)src);
	row->type->print(row, src, &out);
	return out.n && !out.truncated ? json_stringn(buf, out.n) : NULL;
}

static json_t *list_json(const struct cfg_row *row, const struct cfg_list *l)
{
	json_t *a = json_array();

	for (size_t i = 0; i < l->n; i++)
		if (json_array_append_new(a, value_json(row, (const char *)l->items + i * row->type->size)) < 0)
			break;
	if (a && json_array_size(a) == l->n && l->n)
		return a;
	json_decref(a);
	return NULL;
}

static json_t *row_json(const struct cfg_row *row, const void *src)
{
	if (row->sub && (row->flags & CFG_OPTIONAL_MAP))
		return *(void *const *)src ? schema_json(row->sub, *(void *const *)src) : NULL;
	if (row->sub)
		return schema_json(row->sub, src);
	return row->flags & CFG_LIST ? list_json(row, src) : value_json(row, src);
}

/* What is empty is left out: it is not written, or has its default. */
static json_t *schema_json(const struct cfg_schema *s, const void *values)
{
	json_t *o = json_object();

	for (size_t i = 0; i < s->n_rows; i++) {
		json_t *v = row_json(&s->rows[i], (const char *)values + s->rows[i].offset);

		if (v)
			json_object_set_new(o, s->rows[i].name, v);
	}
	return o;
}

json_t *route_config_json(const struct route_config *c)
{
	return schema_json(&route_schema, c);
}

/* All that is wrong, as far as it fits. */
static int put_errors(const struct cfg *c, int r, char *err, size_t err_n)
{
	struct sb out = sb_init(err, err_n);

	if (!c || !cfg_n_errors(c))
		sb_str(&out, strerror(r < 0 ? -r : EINVAL));
	for (size_t i = 0; c && i < cfg_n_errors(c); i++)
		sb_fmt(&out, "%s%s", i ? "; " : "", cfg_error(c, i)->text);
	return r < 0 ? r : -EINVAL;
}

int route_parse(const json_t *o, char *err, size_t err_n, struct cfg **ret_cfg)
{
	_cleanup_(cfg_freep) struct cfg *c = NULL;
	json_t *document = json_pack("{s:O}", "route", (json_t *)o);
	_cleanup_(freep) char *text = document ? json_dumps(document, JSON_PRESERVE_ORDER) : NULL; /* JSON is YAML */
	int r;

	json_decref(document);
	if (!text)
		return put_errors(NULL, -ENOMEM, err, err_n);
	r = cfg_load_text(text_of(text), "route", &route_cfg_root, &c);
	if (r == 0)
		route_config_check(c, "route", cfg_values(c));
	if (r < 0 || cfg_n_errors(c))
		return put_errors(c, r, err, err_n);
	*ret_cfg = steal_ptr(&c);
	return 0;
}

/* ---- life ---- */

static struct route_totals *totals_unref(struct route_totals *t)
{
	if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		free(t);
	return NULL;
}

static int take_totals(struct route *r, const struct route *before)
{
	if (before) {
		r->totals = before->totals;
		atomic_fetch_add_explicit(&r->totals->refs, 1, memory_order_relaxed);
		return 0;
	}
	r->totals = calloc(1, sizeof(*r->totals));
	if (!r->totals)
		return -ENOMEM;
	atomic_init(&r->totals->refs, 1);
	return 0;
}

static int load_tls(struct route *r, char *err, size_t err_n)
{
	const struct route_tls *in = r->c->tls;
	const struct route_target_tls *out = r->c->target_tls;
	char why[TLS_ERRLEN] = "";
	int rc = 0;

	if (in)
		rc = tls_ctx_new(&(struct tls_options){ .cert_file = in->certificate, .key_file = in->key }, why, &r->tls);
	if (rc == 0 && out)
		rc = tls_ctx_new(&(struct tls_options){ .client = true, .ca_file = out->ca, .verify_peer = out->verify }, why,
				 &r->target_tls);
	if (rc < 0)
		(void)snprintf(err, err_n, "%s", why);
	return rc;
}

static void describe(struct route *r)
{
	const struct route_target *t = r->c->target.items;
	struct sb out = sb_init(r->target, sizeof(r->target));
	char buf[ROUTE_LISTEN_STRLEN];

	(void)snprintf(r->name, sizeof(r->name), "%s", r->c->name ? r->c->name : route_listen_name(r->c, buf));
	for (size_t i = 0; i < r->c->target.n; i++) {
		if (i)
			sb_str(&out, ", ");
		cfg_route_target.print(NULL, &t[i], &out);
	}
}

static int set_up(struct route *r, const struct route_config *c, const struct route *before, char *err, size_t err_n)
{
	int rc;

	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	r->json = route_config_json(c);
	if (!r->json)
		return -ENOMEM;
	rc = route_parse(r->json, err, err_n, &r->cfg);
	if (rc < 0)
		return rc;
	r->c = cfg_values(r->cfg);
	describe(r);
	r->health = calloc(r->c->target.n, sizeof(*r->health));
	if (!r->health)
		return -ENOMEM;
	rc = take_totals(r, before);
	return rc < 0 ? rc : load_tls(r, err, err_n);
}

int route_new(const struct route_config *c, enum route_origin origin, const struct route *before, char *err, size_t err_n,
	      struct route **ret_r)
{
	_cleanup_(route_unrefp) struct route *r = calloc(1, sizeof(*r));
	int rc;

	if (!r) {
		(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	atomic_init(&r->refs, 1);
	r->origin = origin;
	rc = set_up(r, c, before, err, err_n);
	if (rc < 0)
		return rc;
	*ret_r = steal_ptr(&r);
	return 0;
}

struct route *route_ref(struct route *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

struct route *route_unref(struct route *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	json_decref(r->json);
	cfg_free(r->cfg);
	totals_unref(r->totals);
	free(r->health);
	tls_ctx_unref(r->tls);
	tls_ctx_unref(r->target_tls);
	free(r);
	return NULL;
}

bool route_same(const struct route *a, const struct route *b)
{
	return a->origin == b->origin && json_equal(a->json, b->json);
}

/* ---- what it allows ---- */

bool route_allows(const struct route *r, const struct addr *source)
{
	const struct prefix *p = r->c->allow.items;
	struct addr canonical;

	if (!r->c->allow.n)
		return true;
	canonical = addr_canonical(source);
	for (size_t i = 0; i < r->c->allow.n; i++)
		if (prefix_contains(&p[i], &canonical))
			return true;
	return false;
}

bool route_enter(struct route *r)
{
	struct route_totals *t = r->totals;
	int64_t n = atomic_fetch_add_explicit(&t->connections, 1, memory_order_relaxed);

	if ((uint64_t)n < r->c->limits.connections) {
		atomic_fetch_add_explicit(&t->accepted, 1, memory_order_relaxed);
		return true;
	}
	atomic_fetch_sub_explicit(&t->connections, 1, memory_order_relaxed);
	return false;
}

void route_leave(struct route *r)
{
	atomic_fetch_sub_explicit(&r->totals->connections, 1, memory_order_relaxed);
}

size_t route_room(struct route *r, size_t want, uint64_t now_ms)
{
	uint64_t now = now_ms * RATE_NS_PER_MS;
	uint64_t until = atomic_load_explicit(&r->totals->spent_until, memory_order_relaxed);
	uint64_t ahead = until > now ? until - now : 0;

	if (ahead >= RATE_BURST_NS)
		return 0;
	return (size_t)MIN((uint64_t)want, rate_bytes(RATE_BURST_NS - ahead, r->c->limits.bitrate));
}

void route_passed(struct route *r, size_t n, uint64_t now_ms)
{
	uint64_t now = now_ms * RATE_NS_PER_MS, cost = rate_cost_ns(n, r->c->limits.bitrate);
	uint64_t until = atomic_load_explicit(&r->totals->spent_until, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(&r->totals->spent_until, &until, MAX(until, now) + cost,
						      memory_order_relaxed, memory_order_relaxed))
		;
}

/* ---- which targets can be reached ---- */

void route_reached(struct route *r, unsigned i)
{
	if (atomic_load_explicit(&r->health[i].failures, memory_order_relaxed) == 0)
		return;
	atomic_store_explicit(&r->health[i].failures, 0, memory_order_relaxed);
	atomic_store_explicit(&r->health[i].aside_until, 0, memory_order_relaxed);
}

void route_missed(struct route *r, unsigned i, uint64_t now_ms)
{
	unsigned n = atomic_fetch_add_explicit(&r->health[i].failures, 1, memory_order_relaxed);
	uint64_t aside = MIN((uint64_t)ASIDE_MS << MIN(n, 10), ASIDE_MAX_MS);

	atomic_store_explicit(&r->health[i].aside_until, now_ms + aside, memory_order_relaxed);
}

bool route_aside(const struct route *r, unsigned i, uint64_t now_ms)
{
	return atomic_load_explicit(&r->health[i].aside_until, memory_order_relaxed) > now_ms;
}
