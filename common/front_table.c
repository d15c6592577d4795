/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routing table of a front: a copy of the configured routes, in their order, and the backends that they
 * name, each once. A backend's counters are written by all workers; it is counted by references, so that
 * a new table takes over the old one's and a connection can outlive both.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/front.h"
#include "common/server_name.h"

struct names {
	char **list;
	size_t n;
};

struct rule {
	struct names server_names, alpn;
	struct front_backend *to; /* referenced by the table's list */
};

struct front_table {
	_Atomic unsigned refs;
	struct rule *rules;
	size_t n_rules;
	struct front_backend **backends; /* the service itself is the first */
	size_t n_backends;
};

/* ---- backends ---- */

struct front_backend *front_backend_ref(struct front_backend *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

struct front_backend *front_backend_unref(struct front_backend *b)
{
	if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		free(b);
	return NULL;
}

static struct front_backend *backend_find(const struct front_table *t, const char *name, bool proxy)
{
	for (size_t i = 0; t && i < t->n_backends; i++)
		if (strcmp(t->backends[i]->name, name) == 0 && t->backends[i]->proxy == proxy)
			return t->backends[i];
	return NULL;
}

static struct front_backend *backend_new(const struct cfg_backend *to, const char *name, bool proxy)
{
	struct front_backend *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->refs = 1;
	b->self = !to;
	b->proxy = proxy;
	snprintf(b->name, sizeof(b->name), "%s", name);
	if (to && to->path[0]) {
		b->un.sun_family = AF_UNIX;
		snprintf(b->un.sun_path, sizeof(b->un.sun_path), "%s", to->path);
		b->len = sizeof(b->un);
	} else if (to) {
		b->at = to->at;
		b->len = addr_len(&to->at);
	}
	return b;
}

/* The table's own of that name: there already, the old table's, or a new one. to NULL: the service itself. */
static struct front_backend *backend_get(struct front_table *t, const struct front_table *before,
					 const struct cfg_backend *to, const char *name, bool proxy)
{
	struct front_backend *b = backend_find(t, name, proxy);

	if (b)
		return b;
	b = backend_find(before, name, proxy);
	b = b ? front_backend_ref(b) : backend_new(to, name, proxy);
	if (b)
		t->backends[t->n_backends++] = b; /* there is room for one a route, and for the service itself */
	return b;
}

/* ---- building ---- */

static int copy_names(const struct cfg_list *from, struct names *to)
{
	char *const *list = from->items;

	to->list = from->n ? calloc(from->n, sizeof(*to->list)) : NULL;
	if (from->n && !to->list)
		return -ENOMEM;
	for (; to->n < from->n; to->n++) {
		to->list[to->n] = text_dup(text_of(list[to->n]));
		if (!to->list[to->n])
			return -ENOMEM;
	}
	return 0;
}

static void free_names(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->list[i]);
	free(names->list);
}

static int add_rule(struct front_table *t, const struct front_table *before, const struct front_route *r)
{
	struct rule *rule = &t->rules[t->n_rules++];
	char name[CFG_BACKEND_STRLEN];

	cfg_backend_print(&r->to, t->backends[0]->name, name);
	rule->to = r->to.self ? t->backends[0] : backend_get(t, before, &r->to, name, r->proxy_protocol);
	if (!rule->to || copy_names(&r->server_name, &rule->server_names) < 0 || copy_names(&r->alpn, &rule->alpn) < 0)
		return -ENOMEM;
	return 0;
}

int front_table_new(const struct cfg_list *routes, const char *self, struct front_table *before,
		    struct front_table **ret_t)
{
	_cleanup_(front_table_unrefp) struct front_table *t = calloc(1, sizeof(*t));
	const struct front_route *list = routes->items;
	int r = 0;

	if (!t)
		return -ENOMEM;
	t->refs = 1;
	t->rules = calloc(routes->n + 1, sizeof(*t->rules));
	t->backends = calloc(routes->n + 1, sizeof(struct front_backend *));
	if (!t->rules || !t->backends || !backend_get(t, before, NULL, self, false))
		return -ENOMEM;
	for (size_t i = 0; i < routes->n && r == 0; i++)
		r = add_rule(t, before, &list[i]);
	if (r == 0)
		*ret_t = steal_ptr(&t);
	return r;
}

struct front_table *front_table_ref(struct front_table *t)
{
	if (t)
		atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

struct front_table *front_table_unref(struct front_table *t)
{
	if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (size_t i = 0; i < t->n_rules; i++) {
		free_names(&t->rules[i].server_names);
		free_names(&t->rules[i].alpn);
	}
	for (size_t i = 0; i < t->n_backends; i++)
		front_backend_unref(t->backends[i]);
	free(t->rules);
	free(t->backends);
	free(t);
	return NULL;
}

size_t front_table_backends(const struct front_table *t, struct front_backend *const **ret_list)
{
	*ret_list = t->backends;
	return t->n_backends;
}

/* ---- matching ---- */

static bool wants_name(const struct rule *r, struct text name)
{
	for (size_t i = 0; i < r->server_names.n; i++)
		if (name.p && server_name_match(text_of(r->server_names.list[i]), name))
			return true;
	return !r->server_names.n;
}

static bool wants_protocol(const struct rule *r, const struct client_hello *h, struct text *ret_alpn)
{
	*ret_alpn = (struct text){ 0 };
	for (size_t i = 0; i < r->alpn.n; i++)
		if (client_hello_offers(h, text_of(r->alpn.list[i]))) {
			*ret_alpn = text_of(r->alpn.list[i]);
			return true;
		}
	return !r->alpn.n;
}

struct front_backend *front_table_match(const struct front_table *t, const struct client_hello *h, struct text *ret_alpn)
{
	for (size_t i = 0; i < t->n_rules; i++)
		if (wants_name(&t->rules[i], h->server_name) && wants_protocol(&t->rules[i], h, ret_alpn))
			return t->rules[i].to;
	*ret_alpn = (struct text){ 0 };
	return t->backends[0];
}

bool front_table_serves_self(const struct front_table *t)
{
	for (size_t i = 0; i < t->n_rules; i++) {
		if (t->rules[i].to->self)
			return true;
		if (!t->rules[i].server_names.n && !t->rules[i].alpn.n)
			return false; /* takes all that is left */
	}
	return true;
}
