/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles the configuration into a policy: a copy of the plain values, users and passwords prepared
 * once (OpaqueString, RFC 8265) and found by name or by user hash, secrets, and the digests that keys
 * are made with. Immutable once it is shared; freed with its last reference, secrets wiped.
 *
 * Users of the store stand beside those of the file; if both know a name, the file's counts.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "turn/policy_priv.h"

/* What limits.allocations_per_user is when nobody wrote it. */
enum { ALLOCATIONS_PER_USER = 20 };

/* ---- users by name and by hash ---- */

static bool has_name(const struct hnode *n, const void *key)
{
	return text_eq(text_of(container_of(n, struct policy_user, by_name)->name), *(const struct text *)key);
}

static bool has_hash(const struct hnode *n, const void *key)
{
	return memcmp(container_of(n, struct policy_user, by_hash)->userhash, key, STUN_USERHASH_LEN) == 0;
}

struct policy_user *policy_user_find(const struct turn_policy *p, struct text prepared_name)
{
	uint64_t hash = hash_bytes(&p->seed, prepared_name.p, prepared_name.n);
	struct hnode *n = htable_find(&p->by_name, hash, has_name, &prepared_name);

	return n ? container_of(n, struct policy_user, by_name) : NULL;
}

struct policy_user *policy_user_by_hash(const struct turn_policy *p, const uint8_t userhash[STUN_USERHASH_LEN])
{
	uint64_t hash = hash_bytes(&p->seed, userhash, STUN_USERHASH_LEN);
	struct hnode *n = htable_find(&p->by_hash, hash, has_hash, userhash);

	return n ? container_of(n, struct policy_user, by_hash) : NULL;
}

/* ---- preparing ---- */

static _printf_(3, 4) int refuse(char *err, size_t err_n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* Not _cleanup_(freep) material: it holds a password now and then. */
static char *wipe_free(char *s)
{
	if (s)
		bytes_wipe(s, strlen(s));
	free(s);
	return NULL;
}

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

/* Fills the next free place of p->users. A name that is there already is left alone: 0, unless it
 * stands twice in the file. */
static int add_user(struct turn_policy *p, const char *name, const char *password, bool from_file,
		    char *err, size_t err_n)
{
	struct policy_user *u = &p->users[p->n_users];
	struct text prepared;
	int r = prepare(name, POLICY_NAME_MAX, &u->name);

	if (r == 0 && policy_user_find(p, text_of(u->name))) {
		u->name = wipe_free(u->name);
		return from_file ? refuse(err, err_n, "two users are called '%s'", name) : 0;
	}
	p->n_users++; /* from here on the policy frees it */
	if (r == 0)
		r = prepare(password, PREPARED_MAX, &u->password);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return refuse(err, err_n, "%s of user '%.100s' cannot be used: %s", u->name ? "the password" : "the name",
			      name, r == -ENOSPC ? "it is too long" : "it holds characters that RFC 8265 forbids, or is empty");
	prepared = text_of(u->name);
	stun_userhash(prepared, text_of(p->cfg.realm), u->userhash);
	r = htable_insert(&p->by_name, &u->by_name, hash_bytes(&p->seed, prepared.p, prepared.n));
	if (r == 0)
		r = htable_insert(&p->by_hash, &u->by_hash, hash_bytes(&p->seed, u->userhash, STUN_USERHASH_LEN));
	return r;
}

static int add_users(struct turn_policy *p, const struct cfg_list *file, const struct turn_extra_user *extra,
		     size_t n_extra, char *err, size_t err_n)
{
	const struct turn_user_section *users = file->items;
	int r = 0;

	if (file->n + n_extra == 0)
		return 0;
	p->users = calloc(file->n + n_extra, sizeof(*p->users));
	if (!p->users)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < file->n; i++)
		r = add_user(p, users[i].name, users[i].password, true, err, err_n);
	for (size_t i = 0; r == 0 && i < n_extra; i++)
		r = add_user(p, extra[i].name, extra[i].password, false, err, err_n);
	return r;
}

static int set_password(struct turn_policy *p, const char *password, char *err, size_t err_n)
{
	int r = password ? prepare(password, PREPARED_MAX, &p->password) : 0;

	if (r == 0 || r == -ENOMEM)
		return r;
	return refuse(err, err_n, "turn.password cannot be used: %s",
		      r == -ENOSPC ? "it is too long" : "it holds characters that RFC 8265 forbids, or is empty");
}

/* ---- the copy of the values ---- */

static int copy_string(const char *in, char **ret_out)
{
	*ret_out = in ? text_dup(text_of(in)) : NULL;
	return in && !*ret_out ? -ENOMEM : 0;
}

static int copy_list(const struct cfg_list *in, size_t item, struct cfg_list *ret_out)
{
	*ret_out = (struct cfg_list){ 0 };
	if (!in->n)
		return 0;
	ret_out->items = malloc(in->n * item);
	if (!ret_out->items)
		return -ENOMEM;
	memcpy(ret_out->items, in->items, in->n * item);
	ret_out->n = in->n;
	return 0;
}

/* Users and secrets are pairs of strings: the second is the secret. */
struct pair {
	char *first, *second;
};
static_assert(sizeof(struct pair) == sizeof(struct turn_user_section) &&
	      sizeof(struct pair) == sizeof(struct turn_secret_section), "both are two strings");

static int copy_pairs(const struct cfg_list *in, struct cfg_list *ret_out)
{
	const struct pair *from = in->items;
	struct pair *to;
	int r = 0;

	*ret_out = (struct cfg_list){ 0 };
	if (!in->n)
		return 0;
	ret_out->items = to = calloc(in->n, sizeof(*to));
	if (!to)
		return -ENOMEM;
	ret_out->n = in->n;
	for (size_t i = 0; i < in->n; i++) {
		r |= copy_string(from[i].first, &to[i].first);
		r |= copy_string(from[i].second, &to[i].second);
	}
	return r;
}

static void free_pairs(struct cfg_list *list)
{
	struct pair *pairs = list->items;

	for (size_t i = 0; i < list->n; i++) {
		free(pairs[i].first);
		wipe_free(pairs[i].second);
	}
	free(pairs);
}

static void resolve(uint64_t *limit, uint64_t allocations, uint64_t each)
{
	if (!*limit && __builtin_mul_overflow(allocations, each, limit))
		*limit = UINT64_MAX;
}

/* What nobody wrote. With one password for all names a limit per name protects nothing. */
static void resolve_limits(struct turn_config *c)
{
	if (!c->limits.allocations_per_user)
		c->limits.allocations_per_user = c->password ? UINT64_MAX : ALLOCATIONS_PER_USER;
	resolve(&c->limits.permissions, c->limits.allocations, c->limits.permissions_per_allocation);
	resolve(&c->limits.permissions_per_user, c->limits.allocations_per_user, c->limits.permissions_per_allocation);
	resolve(&c->limits.channels, c->limits.allocations, c->limits.channels_per_allocation);
	resolve(&c->limits.channels_per_user, c->limits.allocations_per_user, c->limits.channels_per_allocation);
}

static int copy_values(struct turn_config *to, const struct turn_config *from)
{
	int r = 0;

	to->relay.ports = from->relay.ports;
	to->limits = from->limits;
	to->lifetime = from->lifetime;
	to->workers = from->workers;
	to->mobility = from->mobility;
	to->fast_path.mode = from->fast_path.mode; /* the rest of it is stile-fastpath's */
	r |= copy_string(from->realm, &to->realm);
	r |= copy_string(from->certificate, &to->certificate);
	r |= copy_string(from->key, &to->key);
	r |= copy_string(from->software, &to->software);
	r |= copy_string(from->alternate_domain, &to->alternate_domain);
	r |= copy_list(&from->alternate_servers, sizeof(struct addr), &to->alternate_servers);
	r |= copy_list(&from->alternate_tls_servers, sizeof(struct addr), &to->alternate_tls_servers);
	r |= copy_string(from->password, &to->password);
	r |= copy_pairs(&from->users, &to->users);
	r |= copy_pairs(&from->secrets, &to->secrets);
	r |= copy_list(&from->listen, sizeof(struct cfg_endpoint), &to->listen);
	r |= copy_list(&from->relay.addresses, sizeof(struct addr), &to->relay.addresses);
	r |= copy_list(&from->relay.external, sizeof(struct addr), &to->relay.external);
	r |= copy_list(&from->peers.allow, sizeof(struct prefix), &to->peers.allow);
	r |= copy_list(&from->peers.deny, sizeof(struct prefix), &to->peers.deny);
	resolve_limits(to);
	return r ? -ENOMEM : 0;
}

static void free_values(struct turn_config *c)
{
	free(c->realm);
	free(c->certificate);
	free(c->key);
	free(c->software);
	wipe_free(c->password);
	free_pairs(&c->users);
	free_pairs(&c->secrets);
	free(c->listen.items);
	free(c->alternate_domain);
	free(c->alternate_servers.items);
	free(c->alternate_tls_servers.items);
	free(c->relay.addresses.items);
	free(c->relay.external.items);
	free(c->peers.allow.items);
	free(c->peers.deny.items);
}

/* ---- a policy's life ---- */

static int fetch_digests(struct turn_policy *p)
{
	p->digest[STUN_ALG_MD5] = EVP_MD_fetch(NULL, "MD5", NULL);
	p->digest[STUN_ALG_SHA256] = EVP_MD_fetch(NULL, "SHA256", NULL);
	return p->digest[STUN_ALG_MD5] && p->digest[STUN_ALG_SHA256] ? 0 : -ENOMEM;
}

static int compile(struct turn_policy *p, const struct turn_config *cfg, const struct turn_extra_user *extra,
		   size_t n_extra, char *err, size_t err_n)
{
	int r = copy_values(&p->cfg, cfg);

	if (r == 0)
		r = fetch_digests(p);
	if (r == 0)
		r = set_password(p, cfg->password, err, err_n);
	if (r == 0)
		r = add_users(p, &cfg->users, extra, n_extra, err, err_n);
	if (r == 0)
		r = policy_set_relay(p);
	if (r == 0 && !p->password && !p->n_users && !p->cfg.secrets.n)
		r = refuse(err, err_n, "there is no password, user or secret: nobody could use the server");
	return r;
}

int turn_policy_new(const struct turn_config *cfg, const struct turn_extra_user *extra, size_t n_extra,
		    char *err, size_t err_n, struct turn_policy **ret_p)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = calloc(1, sizeof(*p));
	int r = p ? 0 : -ENOMEM;

	if (p) {
		p->refs = 1;
		p->seed = hash_seed_random();
		htable_init(&p->by_name);
		htable_init(&p->by_hash);
		r = compile(p, cfg, extra, n_extra, err, err_n);
	}
	if (r == -ENOMEM)
		snprintf(err, err_n, "out of memory");
	if (r < 0)
		return r;
	*ret_p = steal_ptr(&p);
	return 0;
}

struct turn_policy *turn_policy_ref(struct turn_policy *p)
{
	if (p)
		atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

struct turn_policy *turn_policy_unref(struct turn_policy *p)
{
	if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	htable_deinit(&p->by_name);
	htable_deinit(&p->by_hash);
	for (size_t i = 0; i < p->n_users; i++) {
		free(p->users[i].name);
		wipe_free(p->users[i].password);
	}
	free(p->users);
	wipe_free(p->password);
	free(p->relay);
	free(p->own);
	for (size_t i = 0; i < ARRAY_LEN(p->digest); i++)
		EVP_MD_free(p->digest[i]);
	free_values(&p->cfg);
	free(p);
	return NULL;
}

const struct turn_config *turn_policy_config(const struct turn_policy *p)
{
	return &p->cfg;
}

bool turn_policy_has_users(const struct turn_policy *p)
{
	return p->n_users > 0;
}
