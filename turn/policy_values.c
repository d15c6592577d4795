/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plain values that a policy keeps of the configuration: deep copies, since the struct cfg they were read
 * into is freed at the next reload; limits that nobody wrote get their values here. Secrets are wiped when
 * they are freed. The log section and the realms are not copied: realms are compiled (turn/realm.c).
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "turn/policy_priv.h"

/* Not _cleanup_(freep) material: it holds a password now and then. */
char *policy_wipe_free(char *s)
{
	if (s)
		bytes_wipe(s, strlen(s));
	free(s);
	return NULL;
}

int policy_copy_string(const char *in, char **ret_out)
{
	*ret_out = in ? text_dup(text_of(in)) : NULL;
	return in && !*ret_out ? -ENOMEM : 0;
}

int policy_copy_list(const struct cfg_list *in, size_t item, struct cfg_list *ret_out)
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

int policy_copy_names(const struct cfg_list *in, struct cfg_list *ret_out)
{
	char **from = in->items, **to;
	int r = 0;

	*ret_out = (struct cfg_list){ 0 };
	if (!in->n)
		return 0;
	ret_out->items = to = calloc(in->n, sizeof(*to));
	if (!to)
		return -ENOMEM;
	ret_out->n = in->n;
	for (size_t i = 0; i < in->n; i++)
		r |= policy_copy_string(from[i], &to[i]);
	return r;
}

void policy_free_names(struct cfg_list *list)
{
	char **names = list->items;

	for (size_t i = 0; i < list->n; i++)
		free(names[i]);
	free(names);
}

/* Users and secrets are pairs of strings: the second is the secret. */
struct pair {
	char *first, *second;
};
static_assert(sizeof(struct pair) == sizeof(struct turn_user_section) &&
	      sizeof(struct pair) == sizeof(struct turn_secret_section), "both are two strings");

int policy_copy_pairs(const struct cfg_list *in, struct cfg_list *ret_out)
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
		r |= policy_copy_string(from[i].first, &to[i].first);
		r |= policy_copy_string(from[i].second, &to[i].second);
	}
	return r;
}

void policy_free_pairs(struct cfg_list *list)
{
	struct pair *pairs = list->items;

	for (size_t i = 0; i < list->n; i++) {
		free(pairs[i].first);
		policy_wipe_free(pairs[i].second);
	}
	free(pairs);
}

void policy_resolve(uint64_t *limit, uint64_t n, uint64_t each)
{
	if (!*limit && __builtin_mul_overflow(n, each, limit))
		*limit = UINT64_MAX;
}

/* What nobody wrote. With one password for all names a limit per name protects nothing. */
void policy_resolve_limits(struct turn_config *c)
{
	if (!c->limits.allocations_per_user)
		c->limits.allocations_per_user = c->password ? UINT64_MAX : ALLOCATIONS_PER_USER;
	policy_resolve(&c->limits.permissions, c->limits.allocations, c->limits.permissions_per_allocation);
	policy_resolve(&c->limits.permissions_per_user, c->limits.allocations_per_user, c->limits.permissions_per_allocation);
	policy_resolve(&c->limits.channels, c->limits.allocations, c->limits.channels_per_allocation);
	policy_resolve(&c->limits.channels_per_user, c->limits.allocations_per_user, c->limits.channels_per_allocation);
}

int policy_copy_values(struct turn_config *to, const struct turn_config *from)
{
	int r = 0;

	to->relay.ports = from->relay.ports;
	to->limits = from->limits;
	to->lifetime = from->lifetime;
	to->workers = from->workers;
	to->coalesce_us = from->coalesce_us;
	to->mobility = from->mobility;
	to->front.connections = from->front.connections;
	to->front.connections_per_address = from->front.connections_per_address;
	to->front.idle_ms = from->front.idle_ms;
	to->fast_path.mode = from->fast_path.mode; /* the rest of it is stile-fastpath's */
	r |= policy_copy_string(from->realm, &to->realm);
	r |= policy_copy_string(from->certificate, &to->certificate);
	r |= policy_copy_string(from->key, &to->key);
	r |= policy_copy_string(from->software, &to->software);
	r |= policy_copy_string(from->alternate_domain, &to->alternate_domain);
	r |= policy_copy_list(&from->alternate_servers, sizeof(struct addr), &to->alternate_servers);
	r |= policy_copy_list(&from->alternate_tls_servers, sizeof(struct addr), &to->alternate_tls_servers);
	r |= policy_copy_string(from->password, &to->password);
	r |= policy_copy_pairs(&from->users, &to->users);
	r |= policy_copy_pairs(&from->secrets, &to->secrets);
	r |= policy_copy_list(&from->listen, sizeof(struct cfg_endpoint), &to->listen);
	r |= policy_copy_list(&from->relay.addresses, sizeof(struct addr), &to->relay.addresses);
	r |= policy_copy_list(&from->relay.external, sizeof(struct cfg_ip_auto), &to->relay.external);
	r |= policy_copy_list(&from->relay.outside, sizeof(struct addr), &to->relay.outside);
	r |= policy_copy_list(&from->peers.allow, sizeof(struct prefix), &to->peers.allow);
	r |= policy_copy_list(&from->peers.deny, sizeof(struct prefix), &to->peers.deny);
	r |= policy_copy_list(&from->proxy_protocol.from, sizeof(struct prefix), &to->proxy_protocol.from);
	policy_resolve_limits(to);
	return r ? -ENOMEM : 0;
}

void policy_free_values(struct turn_config *c)
{
	free(c->realm);
	free(c->certificate);
	free(c->key);
	free(c->software);
	policy_wipe_free(c->password);
	policy_free_pairs(&c->users);
	policy_free_pairs(&c->secrets);
	free(c->listen.items);
	free(c->alternate_domain);
	free(c->alternate_servers.items);
	free(c->alternate_tls_servers.items);
	free(c->relay.addresses.items);
	free(c->relay.external.items);
	free(c->relay.outside.items);
	free(c->peers.allow.items);
	free(c->peers.deny.items);
	free(c->proxy_protocol.from.items);
}
