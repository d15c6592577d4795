/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: made from their configuration, compared, counted against. A route keeps a configuration of its own
 * (common/values.h): so a route of the file does not hang on the file's values, and two are the same if their JSON is.
 * What a change must not lose is handed on to the successor.
 */
#include "tunnel/route.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/values.h"
#include "tunnel/policy.h"

enum { ASIDE_MS = 1000, ASIDE_MAX_MS = 30000 };

/* ---- JSON, and back ---- */

json_t *route_config_json(const struct route_config *c)
{
	return values_json(&route_schema, c);
}

static void check(struct cfg *c, const char *path)
{
	route_config_check(c, path, cfg_values(c));
}

int route_parse(const json_t *o, char *err, size_t err_n, struct cfg **ret_cfg)
{
	static const struct values_kind kind = { .name = "route", .root = &route_cfg_root, .check = check };

	return values_parse(&kind, o, err, err_n, ret_cfg);
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
	return !r->c->allow.n || prefixes_hold(&r->c->allow, source);
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
	return bucket_room(&r->totals->spent_until, r->c->limits.bitrate, want, now_ms);
}

void route_passed(struct route *r, size_t n, uint64_t now_ms)
{
	bucket_take(&r->totals->spent_until, r->c->limits.bitrate, n, now_ms);
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
