/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles the configuration into a policy: a copy of the plain values, the realms (realm.c), the relay
 * addresses. Immutable once it is shared; freed with its last reference.
 *
 * A new policy takes the slots of its realms over from the one before by their names. A realm that is no
 * longer configured stays in its slot, retired, until a later policy finds it without allocations; so
 * what lives in it keeps its rules and limits, and its number means nothing else meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/server_name.h"
#include "turn/policy_priv.h"
#include "turn/totals.h"

int policy_refuse(const struct policy_error *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->text, e->n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- a policy's life ---- */

static int add_realm(struct turn_policy *p, const struct realm_sources *from, const struct policy_error *e)
{
	struct turn_realm *x;
	int r = turn_realm_new(from, e, &x);

	if (r < 0)
		return r;
	x->slot = (unsigned)p->n_realms; /* for who needs no other policy's: settle gives it the right one */
	p->realms[p->n_realms++] = x;
	p->slots[x->slot].realm = turn_realm_ref(x);
	return 0;
}

static int add_realms(struct turn_policy *p, struct realm_sources *from, const struct policy_error *e)
{
	const struct cfg_list *list = &from->cfg->realms;
	const struct turn_realm_section *sections = list->items;
	int r;

	if (list->n > TURN_REALMS_MAX)
		return policy_refuse(e, "at most %d realms are possible beside the default one", TURN_REALMS_MAX);
	p->realms = calloc(list->n + 1, sizeof(struct turn_realm *));
	if (!p->realms)
		return -ENOMEM;
	r = add_realm(p, from, e);
	for (size_t i = 0; r == 0 && i < list->n; i++) {
		from->section = &sections[i];
		r = add_realm(p, from, e);
	}
	return r;
}

static int compile(struct turn_policy *p, struct realm_sources *from, const struct policy_error *e)
{
	int r = policy_copy_values(&p->cfg, from->cfg);

	if (r == 0)
		r = add_realms(p, from, e);
	if (r == 0)
		r = policy_set_relay(p);
	return r;
}

int turn_policy_new(const struct turn_config *cfg, const struct turn_extra_user *extra, size_t n_extra,
		    char *err, size_t err_n, struct turn_policy **ret_p)
{
	_cleanup_(turn_policy_unrefp) struct turn_policy *p = calloc(1, sizeof(*p));
	struct realm_sources from = { .cfg = cfg, .extra = extra, .n_extra = n_extra };
	int r = p ? 0 : -ENOMEM;

	if (p) {
		p->refs = 1;
		r = compile(p, &from, &(struct policy_error){ err, err_n });
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
	for (size_t i = 0; i < p->n_realms; i++)
		turn_realm_unref(p->realms[i]);
	free(p->realms);
	for (size_t i = 0; i < ARRAY_LEN(p->slots); i++)
		turn_realm_unref(p->slots[i].realm);
	free(p->relay);
	free(p->pairs);
	free(p->own);
	policy_free_values(&p->cfg);
	free(p);
	return NULL;
}

const struct turn_config *turn_policy_config(const struct turn_policy *p)
{
	return &p->cfg;
}

/* ---- slots ---- */

/* The slot in which the policy before this one knew a realm of this name; 0: none. */
static unsigned slot_of_name(const struct turn_policy *was, const char *name)
{
	for (unsigned i = 1; was && i < TURN_REALM_SLOTS; i++)
		if (was->slots[i].realm && strcmp(was->slots[i].realm->name, name) == 0)
			return i;
	return 0;
}

/* A retired realm may go when nothing lives in it; what left the configuration just now may have been given
 * something since we looked. */
static bool must_stay(const struct turn_policy *was, unsigned slot, const struct turn_totals *t)
{
	return was && was->slots[slot].realm && (!was->slots[slot].retired || turn_totals_of_realm(t, slot) > 0);
}

static void empty_slots(struct turn_policy *p)
{
	for (unsigned i = 1; i < TURN_REALM_SLOTS; i++)
		p->slots[i] = (struct policy_slot){ turn_realm_unref(p->slots[i].realm), false };
}

static void put(struct turn_policy *p, unsigned slot, struct turn_realm *x)
{
	x->slot = slot;
	p->slots[slot].realm = turn_realm_ref(x);
}

int turn_policy_settle(struct turn_policy *p, const struct turn_policy *was, const struct turn_totals *t)
{
	unsigned slot, next = 1;

	empty_slots(p);
	for (size_t i = 1; i < p->n_realms; i++)
		if ((slot = slot_of_name(was, p->realms[i]->name)) != 0)
			put(p, slot, p->realms[i]);
	for (slot = 1; slot < TURN_REALM_SLOTS; slot++)
		if (!p->slots[slot].realm && must_stay(was, slot, t))
			p->slots[slot] = (struct policy_slot){ turn_realm_ref(was->slots[slot].realm), true };
	for (size_t i = 1; i < p->n_realms; i++) {
		if (slot_of_name(was, p->realms[i]->name))
			continue;
		while (next < TURN_REALM_SLOTS && (p->slots[next].realm || turn_totals_of_realm(t, next) > 0))
			next++;
		if (next == TURN_REALM_SLOTS)
			return -ENOSPC;
		put(p, next, p->realms[i]);
	}
	return 0;
}

const struct turn_realm *turn_policy_realm(const struct turn_policy *p, unsigned slot)
{
	const struct turn_realm *r = slot < TURN_REALM_SLOTS ? p->slots[slot].realm : NULL;
	return r ? r : p->realms[0];
}

bool turn_policy_is_retired(const struct turn_policy *p, unsigned slot)
{
	return slot < TURN_REALM_SLOTS && p->slots[slot].retired;
}

bool turn_policy_has_realms(const struct turn_policy *p)
{
	for (unsigned i = 1; i < TURN_REALM_SLOTS; i++)
		if (p->slots[i].realm)
			return true;
	return false;
}

const char *turn_policy_slot_name(const struct turn_policy *p, unsigned slot)
{
	if (slot == 0)
		return p->realms[0]->name;
	return slot < TURN_REALM_SLOTS && p->slots[slot].realm ? p->slots[slot].realm->name : NULL;
}

size_t turn_policy_n_realms(const struct turn_policy *p)
{
	return p->n_realms;
}

const struct turn_realm *turn_policy_nth_realm(const struct turn_policy *p, size_t i)
{
	return p->realms[i];
}

const struct turn_realm *turn_policy_find_realm(const struct turn_policy *p, const char *name)
{
	for (size_t i = 0; i < p->n_realms; i++)
		if (!name || strcmp(p->realms[i]->name, name) == 0)
			return p->realms[i];
	return NULL;
}

/* ---- who comes where ---- */

unsigned turn_policy_realm_named(const struct turn_policy *p, struct text server_name)
{
	unsigned best = 0;
	int how = 0;

	for (size_t i = 1; server_name.n && i < p->n_realms; i++) {
		char *const *names = p->realms[i]->server_names.items;
		for (size_t k = 0; k < p->realms[i]->server_names.n; k++) {
			int m = server_name_match(text_of(names[k]), server_name);
			if (m > how) {
				how = m;
				best = p->realms[i]->slot;
			}
		}
	}
	return best;
}

/* 2: this very address, 1: its port on any address of the machine, 0: not. */
static int listens_at(const struct cfg_endpoint *e, enum turn_listen_proto proto, const struct addr *local)
{
	if (e->proto != (unsigned)proto || addr_port(&e->at) != addr_port(local) ||
	    addr_family(&e->at) != addr_family(local))
		return 0;
	return addr_equal_ip(&e->at, local) ? 2 : addr_classify(&e->at) == ADDR_UNSPECIFIED;
}

const struct turn_realm *turn_policy_realm_at(const struct turn_policy *p, unsigned named,
					      enum turn_listen_proto proto, const struct addr *local)
{
	const struct turn_realm *best = p->realms[0];
	int how = 0;

	if (named && named < TURN_REALM_SLOTS && p->slots[named].realm && !p->slots[named].retired)
		return p->slots[named].realm;
	for (size_t i = 1; i < p->n_realms; i++) {
		const struct cfg_endpoint *e = p->realms[i]->listen.items;
		for (size_t k = 0; k < p->realms[i]->listen.n; k++) {
			int m = listens_at(&e[k], proto, local);
			if (m > how) {
				how = m;
				best = p->realms[i];
			}
		}
	}
	return best;
}
