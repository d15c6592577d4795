/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bindings in a keyed hash table by address of record; see location.h. One timer
 * sweeps once a minute, so that what nobody looks at goes, too; whoever looks sees
 * only what is good at that moment.
 */
#include "sip-proxy/location.h"
#include <errno.h>
#include <string.h>

enum { PER_AOR = 10, MOST = 100000, SWEEP_MS = 60 * 1000 };

struct aor {
	struct hnode node;
	char *name;
	struct sip_binding *v;
	unsigned n, cap;
};
struct sip_location {
	struct sip_location_options o;
	struct htable table;
	struct timer sweep;
	unsigned n;
	void (*changed)(void *arg, const char *aor);
	void *arg;
};

static void binding_deinit(struct sip_binding *b)
{
	free(b->uri);
	free(b->path);
	free(b->instance);
	free(b->call_id);
}

static void drop(struct sip_location *l, struct aor *a, unsigned i)
{
	struct sip_binding *b = &a->v[i];
	binding_deinit(b);
	memmove(b, b + 1, (--a->n - i) * sizeof *b);
	l->n--;
}

static void tell(const struct sip_location *l, const char *aor)
{
	if (l->changed)
		l->changed(l->arg, aor);
}

static bool is_name(const struct hnode *n, const void *key)
{
	return strcmp(container_of(n, struct aor, node)->name, key) == 0;
}

static struct aor *find(const struct sip_location *l, const char *name)
{
	struct hnode *n =
		htable_find(&l->table, hash_bytes(&l->o.seed, name, strlen(name)), is_name, name);
	return n ? container_of(n, struct aor, node) : NULL;
}

static void aor_free(struct sip_location *l, struct aor *a)
{
	while (a->n > 0)
		drop(l, a, a->n - 1);
	htable_remove(&l->table, &a->node);
	free(a->v);
	free(a->name);
	free(a);
}

static void purge(struct sip_location *l, struct aor *a, uint64_t now)
{
	unsigned before = a->n;
	for (unsigned i = a->n; i > 0; i--)
		if (a->v[i - 1].expires_at <= now)
			drop(l, a, i - 1);
	if (a->n != before)
		tell(l, a->name);
}

struct sweep {
	struct sip_location *l;
	uint64_t now;
};

static bool sweep_one(struct hnode *n, void *arg)
{
	const struct sweep *s = arg;
	struct aor *a = container_of(n, struct aor, node);
	purge(s->l, a, s->now);
	if (a->n == 0)
		aor_free(s->l, a);
	return true;
}

static void on_sweep(struct timer *t, uint64_t now)
{
	struct sip_location *l = container_of(t, struct sip_location, sweep);
	htable_each(&l->table, sweep_one, &(struct sweep){ l, now });
	timers_set(l->o.timers, t, now + SWEEP_MS);
}

int sip_location_new(const struct sip_location_options *o, struct sip_location **ret_l)
{
	struct sip_location *l = calloc(1, sizeof *l);
	if (!l)
		return -ENOMEM;
	l->o = *o;
	sip_location_set_limits(l, o->per_aor, o->most);
	htable_init(&l->table);
	l->sweep.fire = on_sweep;
	timers_set(o->timers, &l->sweep, SWEEP_MS);
	*ret_l = l;
	return 0;
}

struct sip_location *sip_location_free(struct sip_location *l)
{
	if (!l)
		return NULL;
	timer_stop(&l->sweep);
	l->changed = NULL; /* they are not over, only the service is */
	htable_each(&l->table, sweep_one, &(struct sweep){ l, UINT64_MAX });
	htable_deinit(&l->table);
	free(l);
	return NULL;
}

int sip_aor_of(const struct sip_uri *u, char out[static SIP_AOR_MAX])
{
	if (u->scheme != SIP_SCHEME_SIP && u->scheme != SIP_SCHEME_SIPS)
		return -EBADMSG;
	ptrdiff_t n = u->user.n ? sip_uri_unescape(u->user, out, SIP_AOR_MAX - 1) : -EBADMSG;
	if (n < 0)
		return (int)n;
	if ((size_t)n + 1 + u->host.n >= SIP_AOR_MAX)
		return -ENOSPC;
	out[n++] = '@';
	for (size_t i = 0; i < u->host.n; i++, n++)
		out[n] = sip_lower(u->host.p[i]);
	out[n] = 0;
	return 0;
}

const struct sip_binding *sip_location_find(struct sip_location *l, const char *aor, uint64_t now,
					    unsigned *ret_n)
{
	struct aor *a = find(l, aor);
	if (a)
		purge(l, a, now);
	*ret_n = a ? a->n : 0;
	return a ? a->v : NULL;
}

static bool is_same(const struct sip_binding *a, const struct sip_binding *b)
{
	struct sip_uri x, y;
	if (a->reg_id && b->reg_id && a->instance && b->instance) /* RFC 5626 6 */
		return a->reg_id == b->reg_id && strcmp(a->instance, b->instance) == 0;
	return sip_uri_parse(text_of(a->uri), &x) == 0 && sip_uri_parse(text_of(b->uri), &y) == 0 &&
	       sip_uri_equal(&x, &y);
}

static int copy(struct sip_binding *to, const struct sip_binding *b)
{
	*to = *b;
	to->uri = strdup(b->uri);
	to->call_id = strdup(b->call_id);
	to->path = b->path ? strdup(b->path) : NULL;
	to->instance = b->instance ? strdup(b->instance) : NULL;
	if (to->uri && to->call_id && !to->path == !b->path && !to->instance == !b->instance)
		return 0;
	binding_deinit(to);
	return -ENOMEM;
}

static int aor_new(struct sip_location *l, const char *name, struct aor **ret_a)
{
	struct aor *a = calloc(1, sizeof *a);
	int r = -ENOMEM;
	if (a && (a->name = strdup(name)))
		r = htable_insert(&l->table, &a->node, hash_bytes(&l->o.seed, name, strlen(name)));
	if (r < 0 && a) {
		free(a->name);
		free(a);
		return r;
	}
	*ret_a = a;
	return r;
}

static struct sip_binding *known(const struct aor *a, const struct sip_binding *b)
{
	for (unsigned i = 0; a && i < a->n; i++)
		if (is_same(&a->v[i], b))
			return &a->v[i];
	return NULL;
}

/* May they all be taken? */
static int check(const struct sip_location *l, const struct aor *a, const struct sip_binding *v, unsigned n,
		 uint64_t now)
{
	unsigned more = 0, less = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct sip_binding *old = known(a, &v[i]);
		if (old && strcmp(old->call_id, v[i].call_id) == 0 && v[i].cseq <= old->cseq)
			return -EALREADY;
		more += !old && v[i].expires_at > now;
		less += old && v[i].expires_at <= now;
	}
	more -= MIN(more, less);
	return more > 0 && ((a ? a->n : 0) + more > l->o.per_aor || l->n + more > l->o.most) ? -ENOSPC : 0;
}

/* Those that go first, so that there is room for those that come. Cannot fail: fresh has the memory. */
static void put_all(struct sip_location *l, struct aor *a, struct sip_binding *fresh, unsigned n, uint64_t now)
{
	for (unsigned i = 0; i < n; i++) {
		struct sip_binding *old = known(a, &fresh[i]);
		if (old)
			drop(l, a, (unsigned)(old - a->v));
	}
	for (unsigned i = 0; i < n; i++) {
		struct sip_binding *twice = known(a, &fresh[i]); /* the same contact again in one request */
		if (twice)
			drop(l, a, (unsigned)(twice - a->v));
		if (fresh[i].expires_at <= now) {
			binding_deinit(&fresh[i]);
			continue;
		}
		a->v[a->n++] = fresh[i];
		l->n++;
	}
}

static int copy_all(const struct sip_binding *v, unsigned n, struct sip_binding **ret_fresh)
{
	struct sip_binding *fresh = calloc(n, sizeof *fresh);
	unsigned i = 0;
	while (fresh && i < n && copy(&fresh[i], &v[i]) == 0)
		i++;
	if (fresh && i == n) {
		*ret_fresh = fresh;
		return 0;
	}
	while (i > 0)
		binding_deinit(&fresh[--i]);
	free(fresh);
	return -ENOMEM;
}

static int make_room(struct aor *a, unsigned n)
{
	struct sip_binding *more;
	if (a->n + n <= a->cap)
		return 0;
	more = realloc(a->v, (a->n + n) * sizeof *more);
	if (!more)
		return -ENOMEM;
	a->v = more;
	a->cap = a->n + n;
	return 0;
}

int sip_location_set_all(struct sip_location *l, const char *aor, const struct sip_binding *v, unsigned n,
			 uint64_t now)
{
	struct aor *a = find(l, aor);
	struct sip_binding *fresh;
	int r;
	if (n == 0)
		return 0;
	if (a)
		purge(l, a, now);
	r = check(l, a, v, n, now);
	if (r == 0)
		r = copy_all(v, n, &fresh);
	if (r < 0)
		return r;
	if (!a)
		r = aor_new(l, aor, &a);
	if (r == 0)
		r = make_room(a, n);
	if (r < 0) {
		while (n > 0)
			binding_deinit(&fresh[--n]);
		free(fresh);
		return r;
	}
	put_all(l, a, fresh, n, now);
	free(fresh);
	tell(l, aor);
	return 0;
}

int sip_location_set(struct sip_location *l, const char *aor, const struct sip_binding *b, uint64_t now)
{
	return sip_location_set_all(l, aor, b, 1, now);
}

unsigned sip_location_drop(struct sip_location *l, const char *aor, bool (*over)(const struct sip_binding *b, void *arg), void *arg)
{
	struct aor *a = find(l, aor);
	unsigned n = 0;
	for (unsigned i = a ? a->n : 0; i-- > 0;)
		if (over(&a->v[i], arg)) {
			drop(l, a, i);
			n++;
		}
	if (n)
		tell(l, aor);
	return n;
}

int sip_location_clear(struct sip_location *l, const char *aor, const char *call_id, uint32_t cseq)
{
	struct aor *a = find(l, aor);
	for (unsigned i = 0; a && i < a->n; i++)
		if (strcmp(a->v[i].call_id, call_id) == 0 && cseq <= a->v[i].cseq)
			return -EALREADY;
	if (!a || a->n == 0)
		return 0;
	while (a->n > 0)
		drop(l, a, a->n - 1);
	tell(l, aor);
	return 0;
}

void sip_location_watch(struct sip_location *l, void (*changed)(void *arg, const char *aor), void *arg)
{
	l->changed = changed;
	l->arg = arg;
}

const struct sip_binding *sip_location_peek(const struct sip_location *l, const char *aor, unsigned *ret_n)
{
	const struct aor *a = find(l, aor);
	*ret_n = a ? a->n : 0;
	return a ? a->v : NULL;
}

void sip_location_set_limits(struct sip_location *l, unsigned per_aor, unsigned most)
{
	l->o.per_aor = per_aor ? per_aor : PER_AOR;
	l->o.most = most ? most : MOST;
}

unsigned sip_location_count(const struct sip_location *l)
{
	return l->n;
}

struct walk {
	uint64_t now;
	bool (*fn)(const char *aor, const struct sip_binding *b, void *arg);
	void *arg;
};

static bool walk_one(struct hnode *n, void *arg)
{
	const struct walk *w = arg;
	const struct aor *a = container_of(n, struct aor, node);
	for (unsigned i = 0; i < a->n; i++)
		if (a->v[i].expires_at > w->now && !w->fn(a->name, &a->v[i], w->arg))
			return false;
	return true;
}

void sip_location_each(struct sip_location *l, uint64_t now,
		       bool (*fn)(const char *aor, const struct sip_binding *b, void *arg), void *arg)
{
	htable_each(&l->table, walk_one, &(struct walk){ now, fn, arg });
}
