/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles one realm: users and passwords prepared once (OpaqueString, RFC 8265) and found by name or by user
 * hash, secrets, limits, and the digests that keys are made with.
 *
 * Users of the store stand beside those of the file; if both know a name, the file's counts. The default
 * realm is made of the keys of `turn` itself, any other of its section, with the server's limits as the
 * defaults of those per user and per allocation.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "turn/policy_priv.h"

/* ---- users by name and by hash ---- */

static bool has_name(const struct hnode *n, const void *key)
{
	return text_eq(text_of(container_of(n, struct policy_user, by_name)->name), *(const struct text *)key);
}

static bool has_hash(const struct hnode *n, const void *key)
{
	return memcmp(container_of(n, struct policy_user, by_hash)->userhash, key, STUN_USERHASH_LEN) == 0;
}

struct policy_user *policy_user_find(const struct turn_realm *r, struct text prepared_name)
{
	uint64_t hash = hash_bytes(&r->seed, prepared_name.p, prepared_name.n);
	struct hnode *n = htable_find(&r->by_name, hash, has_name, &prepared_name);

	return n ? container_of(n, struct policy_user, by_name) : NULL;
}

struct policy_user *policy_user_by_hash(const struct turn_realm *r, const uint8_t userhash[STUN_USERHASH_LEN])
{
	uint64_t hash = hash_bytes(&r->seed, userhash, STUN_USERHASH_LEN);
	struct hnode *n = htable_find(&r->by_hash, hash, has_hash, userhash);

	return n ? container_of(n, struct policy_user, by_hash) : NULL;
}

/* ---- preparing ---- */

enum { PREPARED_MAX = 1024 }; /* NFC may make a text longer; names have their own, smaller bound */

static int prepare(const char *in, size_t max, char **ret_out)
{
	char out[PREPARED_MAX];
	size_t n;
	int r = stun_opaque_string(text_of(in), out, sizeof(out), &n);

	if (r == 0 && n > max)
		r = -ENOSPC;
	if (r == 0) {
		*ret_out = text_dup((struct text){ out, n });
		r = *ret_out ? 0 : -ENOMEM;
	}
	bytes_wipe(out, sizeof(out));
	return r;
}

/* Fills the next free place of x->users. A name that is there already is left alone: 0, unless it
 * stands twice in the file. */
static int add_user(struct turn_realm *x, const struct turn_extra_user *from, bool from_file, const struct policy_error *e)
{
	struct policy_user *u = &x->users[x->n_users];
	struct text prepared;
	int r = prepare(from->name, POLICY_NAME_MAX, &u->name);

	if (r == 0 && policy_user_find(x, text_of(u->name))) {
		u->name = policy_wipe_free(u->name);
		return from_file ? policy_refuse(e, "two users are called '%s' (realm %s)", from->name, x->name) : 0;
	}
	x->n_users++; /* from here on the realm frees it */
	u->from_file = from_file;
	if (r == 0)
		r = prepare(from->password, PREPARED_MAX, &u->password);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return policy_refuse(e, "%s of user '%.100s' cannot be used: %s", u->name ? "the password" : "the name", from->name,
				     r == -ENOSPC ? "it is too long" : "it holds characters that RFC 8265 forbids, or is empty");
	prepared = text_of(u->name);
	stun_userhash(prepared, text_of(x->name), u->userhash);
	r = htable_insert(&x->by_name, &u->by_name, hash_bytes(&x->seed, prepared.p, prepared.n));
	if (r == 0)
		r = htable_insert(&x->by_hash, &u->by_hash, hash_bytes(&x->seed, u->userhash, STUN_USERHASH_LEN));
	return r;
}

static bool is_of(const struct turn_extra_user *u, const struct turn_realm_section *section)
{
	return section ? u->realm && section->name && strcmp(u->realm, section->name) == 0 : !u->realm;
}

static int add_users(struct turn_realm *x, const struct cfg_list *file, const struct realm_sources *from,
		     const struct policy_error *e)
{
	const struct turn_user_section *users = file->items;
	int r = 0;

	if (file->n + from->n_extra == 0)
		return 0;
	x->users = calloc(file->n + from->n_extra, sizeof(*x->users));
	if (!x->users)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < file->n; i++)
		r = add_user(x, &(struct turn_extra_user){ .name = users[i].name, .password = users[i].password }, true, e);
	for (size_t i = 0; r == 0 && i < from->n_extra; i++)
		if (is_of(&from->extra[i], from->section))
			r = add_user(x, &from->extra[i], false, e);
	return r;
}

static int set_password(struct turn_realm *x, const char *password, const struct policy_error *e)
{
	int r = password ? prepare(password, PREPARED_MAX, &x->password) : 0;

	if (r == 0 || r == -ENOMEM)
		return r;
	return policy_refuse(e, "turn.password cannot be used (realm %s): %s", x->name,
			     r == -ENOSPC ? "it is too long" : "it holds characters that RFC 8265 forbids, or is empty");
}

/* ---- limits ---- */

static void or_else(uint64_t *limit, uint64_t otherwise)
{
	if (!*limit)
		*limit = otherwise;
}

/* The server's limits hold for all, so the shares of the default realm are whatever the others leave. */
static struct turn_limits limits_of_default(const struct turn_config *cfg)
{
	struct turn_config c = { .limits = cfg->limits, .password = cfg->password };

	policy_resolve_limits(&c);
	c.limits.allocations = c.limits.permissions = c.limits.channels = c.limits.bitrate = UINT64_MAX;
	return c.limits;
}

static struct turn_limits limits_of_section(const struct turn_config *cfg, const struct turn_realm_section *s)
{
	const struct turn_limits *server = &cfg->limits;
	struct turn_limits l = s->limits;

	or_else(&l.allocations, UINT64_MAX);
	or_else(&l.permissions, UINT64_MAX);
	or_else(&l.channels, UINT64_MAX);
	or_else(&l.bitrate, UINT64_MAX);
	or_else(&l.bitrate_per_user, server->bitrate_per_user);
	or_else(&l.allocations_per_user, server->allocations_per_user);
	or_else(&l.allocations_per_user, s->password ? UINT64_MAX : ALLOCATIONS_PER_USER);
	or_else(&l.permissions_per_allocation, server->permissions_per_allocation);
	or_else(&l.channels_per_allocation, server->channels_per_allocation);
	policy_resolve(&l.permissions_per_user, l.allocations_per_user, l.permissions_per_allocation);
	policy_resolve(&l.channels_per_user, l.allocations_per_user, l.channels_per_allocation);
	return l;
}

/* 50 ms of the lowest rate, so that no worker hoards what others could use. */
static uint64_t lease_size(const struct turn_config *cfg, const struct turn_limits *l)
{
	uint64_t bytes = MIN(MIN(l->bitrate, l->bitrate_per_user), cfg->limits.bitrate) / 8 / 20;
	return MIN(MAX(bytes, UINT64_C(1500)), UINT64_C(65536));
}

/* ---- a realm's life ---- */

static int fetch_digests(struct turn_realm *x)
{
	x->digest[STUN_ALG_MD5] = EVP_MD_fetch(NULL, "MD5", NULL);
	x->digest[STUN_ALG_SHA256] = EVP_MD_fetch(NULL, "SHA256", NULL);
	return x->digest[STUN_ALG_MD5] && x->digest[STUN_ALG_SHA256] ? 0 : -ENOMEM;
}

static int copy_section(struct turn_realm *x, const struct turn_realm_section *s)
{
	int r = policy_copy_names(&s->server_names, &x->server_names);

	r |= policy_copy_list(&s->listen, sizeof(struct cfg_endpoint), &x->listen);
	r |= policy_copy_list(&s->peers.allow, sizeof(struct prefix), &x->peers.allow);
	r |= policy_copy_list(&s->peers.deny, sizeof(struct prefix), &x->peers.deny);
	return r ? -ENOMEM : 0;
}

static int compile(struct turn_realm *x, const struct realm_sources *from, const struct policy_error *e)
{
	const struct turn_config *cfg = from->cfg;
	const struct turn_realm_section *s = from->section;
	int r = policy_copy_string(s ? s->name : cfg->realm, &x->name);

	x->limits = s ? limits_of_section(cfg, s) : limits_of_default(cfg);
	x->lease_bytes = lease_size(cfg, &x->limits);
	if (r == 0 && s)
		r = copy_section(x, s);
	if (r == 0)
		r = fetch_digests(x);
	if (r == 0)
		r = policy_copy_pairs(s ? &s->secrets : &cfg->secrets, &x->secrets);
	if (r == 0)
		r = set_password(x, s ? s->password : cfg->password, e);
	if (r == 0)
		r = add_users(x, s ? &s->users : &cfg->users, from, e);
	x->hides_names = x->n_users && !x->password && !x->secrets.n;
	return r < 0 ? r : 0;
}

int turn_realm_new(const struct realm_sources *from, const struct policy_error *e, struct turn_realm **ret_r)
{
	_cleanup_(turn_realm_unrefp) struct turn_realm *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return -ENOMEM;
	x->refs = 1;
	x->seed = hash_seed_random();
	htable_init(&x->by_name);
	htable_init(&x->by_hash);
	r = compile(x, from, e);
	if (r < 0)
		return r;
	*ret_r = steal_ptr(&x);
	return 0;
}

struct turn_realm *turn_realm_ref(struct turn_realm *r)
{
	if (r)
		atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

struct turn_realm *turn_realm_unref(struct turn_realm *r)
{
	if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	htable_deinit(&r->by_name);
	htable_deinit(&r->by_hash);
	for (size_t i = 0; i < r->n_users; i++) {
		free(r->users[i].name);
		policy_wipe_free(r->users[i].password);
	}
	free(r->users);
	policy_wipe_free(r->password);
	policy_free_pairs(&r->secrets);
	policy_free_names(&r->server_names);
	free(r->listen.items);
	free(r->peers.allow.items);
	free(r->peers.deny.items);
	for (size_t i = 0; i < ARRAY_LEN(r->digest); i++)
		EVP_MD_free(r->digest[i]);
	free(r->name);
	free(r);
	return NULL;
}
