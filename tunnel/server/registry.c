/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of agents and codes. Their rows, and how they become JSON and are read again, are in
 * registry_values.c.
 *
 * Looking up by name walks the table: that is done for people, and once for each agent that enrols.
 * Both hashes are seeded, for a stranger chooses his key, and with it his identity.
 */
#include "tunnel/server/registry.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"

enum { ID_DIGITS_LEAST = 8 };

struct registry {
	struct hash_seed seed;
	struct htable agents, codes;
	uint64_t agents_max;
	size_t counts[ENTRY_STATES];
};

/* ---- life ---- */

int registry_new(uint64_t agents_max, struct registry **ret_r)
{
	struct registry *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->seed = hash_seed_random();
	r->agents_max = agents_max;
	htable_init(&r->agents);
	htable_init(&r->codes);
	*ret_r = r;
	return 0;
}

static void code_free(struct code *c)
{
	bytes_wipe(c, sizeof(*c));
	free(c);
}

static bool drop_agent(struct hnode *n, void *arg)
{
	struct registry *r = arg;
	struct entry *e = container_of(n, struct entry, node);

	htable_remove(&r->agents, n);
	free(e);
	return true;
}

static bool drop_code(struct hnode *n, void *arg)
{
	struct registry *r = arg;

	htable_remove(&r->codes, n);
	code_free(container_of(n, struct code, node));
	return true;
}

struct registry *registry_free(struct registry *r)
{
	if (!r)
		return NULL;
	htable_each(&r->agents, drop_agent, r);
	htable_each(&r->codes, drop_code, r);
	htable_deinit(&r->agents);
	htable_deinit(&r->codes);
	free(r);
	return NULL;
}

void registry_limit(struct registry *r, uint64_t agents_max)
{
	r->agents_max = agents_max;
}

/* ---- walking ---- */

struct entry_walk {
	bool (*fn)(struct entry *e, void *arg);
	void *arg;
};

static bool walk_entry(struct hnode *n, void *arg)
{
	const struct entry_walk *w = arg;

	return w->fn(container_of(n, struct entry, node), w->arg);
}

void registry_each(const struct registry *r, bool (*fn)(struct entry *e, void *arg), void *arg)
{
	htable_each((struct htable *)&r->agents, walk_entry, &(struct entry_walk){ fn, arg });
}

struct code_walk {
	bool (*fn)(struct code *c, void *arg);
	void *arg;
};

static bool walk_code(struct hnode *n, void *arg)
{
	const struct code_walk *w = arg;

	return w->fn(container_of(n, struct code, node), w->arg);
}

void registry_each_code(const struct registry *r, bool (*fn)(struct code *c, void *arg), void *arg)
{
	htable_each((struct htable *)&r->codes, walk_code, &(struct code_walk){ fn, arg });
}

/* ---- finding ---- */

static bool is_entry(const struct hnode *n, const void *key)
{
	return identity_hash_equal(&container_of(n, struct entry, node)->id, key);
}

static uint64_t entry_hash(const struct registry *r, const struct identity_hash *id)
{
	return hash_bytes(&r->seed, id->b, IDENTITY_LEN);
}

struct entry *registry_find(const struct registry *r, const struct identity_hash *id)
{
	struct hnode *n = htable_find(&r->agents, entry_hash(r, id), is_entry, id);

	return n ? container_of(n, struct entry, node) : NULL;
}

struct search {
	struct text name;
	struct entry *found;
	unsigned n;
};

static bool by_name(struct entry *e, void *arg)
{
	struct search *s = arg;

	if (e->state != ENTRY_REVOKED && text_eq(text_of(e->name), s->name))
		s->found = e;
	return !s->found;
}

struct entry *registry_named(const struct registry *r, struct text name)
{
	struct search s = { .name = name };

	registry_each(r, by_name, &s);
	return s.found;
}

static bool by_name_of_revoked(struct entry *e, void *arg)
{
	struct search *s = arg;

	if (e->state == ENTRY_REVOKED && text_eq(text_of(e->name), s->name)) {
		s->found = e;
		s->n++;
	}
	return true;
}

static bool by_digits(struct entry *e, void *arg)
{
	struct search *s = arg;

	if (text_ieq((struct text){ e->key + 7, MIN(s->name.n, (size_t)2 * IDENTITY_LEN) }, s->name)) {
		s->found = e;
		s->n++;
	}
	return true;
}

struct entry *registry_look_up(const struct registry *r, struct text name_or_id)
{
	struct entry *e = registry_named(r, name_or_id);
	struct search s = { .name = name_or_id };
	struct identity_hash id;

	if (e)
		return e;
	if (identity_parse(name_or_id, &id) == 0)
		return registry_find(r, &id);
	registry_each(r, by_name_of_revoked, &s);
	if (s.n)
		return s.n == 1 ? s.found : NULL;
	if (text_starts(s.name, TEXT("sha256:")))
		s.name = text_drop(s.name, 7);
	if (s.name.n < ID_DIGITS_LEAST)
		return NULL;
	registry_each(r, by_digits, &s);
	return s.n == 1 ? s.found : NULL;
}

size_t registry_count(const struct registry *r, enum entry_state s)
{
	return r->counts[s];
}

bool registry_full(const struct registry *r, enum entry_state s)
{
	return r->counts[ENTRY_PENDING] + r->counts[ENTRY_APPROVED] >= r->agents_max ||
	       (s == ENTRY_PENDING && r->counts[ENTRY_PENDING] >= REGISTRY_PENDING_MAX);
}

/* ---- changing ---- */

int registry_load(struct registry *r, const struct entry *e)
{
	struct entry *at = registry_find(r, &e->id);
	int rc;

	if (!at) {
		at = malloc(sizeof(*at));
		if (!at)
			return -ENOMEM;
		*at = *e;
		at->node = (struct hnode){ 0 };
		rc = htable_insert(&r->agents, &at->node, entry_hash(r, &e->id));
		if (rc < 0) {
			free(at);
			return rc;
		}
	} else {
		struct hnode node = at->node;

		r->counts[at->state]--;
		*at = *e;
		at->node = node;
	}
	r->counts[e->state]++;
	return 0;
}

int registry_put(struct registry *r, const struct entry *e)
{
	if (!registry_find(r, &e->id) && registry_full(r, (enum entry_state)e->state))
		return -ENOSPC;
	return registry_load(r, e);
}

void registry_remove(struct registry *r, struct entry *e)
{
	r->counts[e->state]--;
	(void)drop_agent(&e->node, r);
}

/* A name that looks like a fingerprint would be taken for one. */
bool registry_name_good(struct text name)
{
	struct text trimmed = text_trim(name);
	size_t digits = 0;

	if (name.n == 0 || name.n > REGISTRY_NAME_MAX || trimmed.n != name.n ||
	    !text_is_utf8(name) || text_starts(name, TEXT("sha256:")))
		return false;
	for (size_t i = 0; i < name.n; i++) {
		if ((uint8_t)name.p[i] < ' ' || name.p[i] == 0x7f ||
		    (name.p[i] == '\xc2' && (uint8_t)name.p[i + 1] < 0xa0))
			return false; /* U+0080 to U+009F are of two bytes, the second below U+00A0's */
		digits += strchr("0123456789abcdefABCDEF", name.p[i]) != NULL;
	}
	return digits < name.n || name.n < ID_DIGITS_LEAST;
}

void registry_free_name(struct text wanted, bool (*taken)(const char *name, void *arg), void *arg,
			char out[static REGISTRY_NAME_MAX + 1])
{
	char tail[16] = "";

	if (!registry_name_good(wanted))
		wanted = TEXT("agent");
	for (unsigned i = 2;; i++) {
		struct sb b = sb_init(out, REGISTRY_NAME_MAX + 1 - strlen(tail));

		sb_text(&b, wanted); /* cut, never in the middle of a character */
		text_append(out, REGISTRY_NAME_MAX + 1, tail);
		if (!taken(out, arg))
			return;
		(void)snprintf(tail, sizeof(tail), "-%u", i);
	}
}

/* ---- codes ---- */

static bool is_code(const struct hnode *n, const void *key)
{
	return memcmp(container_of(n, struct code, node)->key, key, REGISTRY_CODE_KEYLEN) == 0; /* no secret */
}

static uint64_t code_hash(const struct registry *r, const char *key)
{
	return hash_bytes(&r->seed, key, REGISTRY_CODE_KEYLEN);
}

void registry_code_key(const uint8_t secret[static ENROL_SECRET_LEN],
		       char out[static REGISTRY_CODE_KEYLEN + 1])
{
	uint8_t id[ENROL_ID_LEN];

	enrol_id(secret, id);
	hex_encode(id, sizeof(id), out);
}

struct code *registry_code(struct registry *r, struct text key, uint64_t now_s)
{
	struct hnode *n;
	struct code *c;

	if (key.n != REGISTRY_CODE_KEYLEN)
		return NULL;
	n = htable_find(&r->codes, code_hash(r, key.p), is_code, key.p);
	c = n ? container_of(n, struct code, node) : NULL;
	if (!c || now_s < c->expires)
		return c;
	registry_code_remove(r, c);
	return NULL;
}

struct purge {
	struct registry *r;
	uint64_t now_s;
};

static bool drop_if_old(struct hnode *n, void *arg)
{
	const struct purge *p = arg;

	return p->now_s < container_of(n, struct code, node)->expires || drop_code(n, p->r);
}

int registry_code_put(struct registry *r, const struct code *c, uint64_t now_s)
{
	struct code *copy;
	int rc;

	htable_each(&r->codes, drop_if_old, &(struct purge){ r, now_s });
	if (r->codes.count >= REGISTRY_CODES_MAX)
		return -ENOSPC;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *c;
	copy->node = (struct hnode){ 0 };
	rc = htable_insert(&r->codes, &copy->node, code_hash(r, c->key));
	if (rc < 0)
		code_free(copy);
	return rc;
}

void registry_code_remove(struct registry *r, struct code *c)
{
	(void)drop_code(&c->node, r);
}
