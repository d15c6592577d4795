/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps secrets out of the audit: what an object held before and after a change is written down with a
 * mark in the place of each value whose schema row is CFG_SECRET. The object itself keeps the value, for the
 * service works with it. A mark says whether the change touched the secret: if it did not, an undo takes the
 * value that the object has now; if it did, what it was is not in the audit.
 */
#pragma once
#include "common/config.h"
#include "common/store.h"

struct store_masked {
	char *before, *after; /* malloc'd, NULL where there is no object */
	bool lost; /* before has the mark of a secret that was changed */
};
/* schema NULL: nothing of this kind is secret. 0 or -ENOMEM; a text that is no JSON is -EINVAL. */
int store_mask(const struct cfg_schema *schema, const char *before, const char *after, struct store_masked *ret_m);
void store_masked_done(struct store_masked *m);
/* An object as the audit has it, its marks filled in from now (NULL: there is no object). 0, STORE_SECRET,
 * -ENOMEM, -EINVAL. */
int store_unmask(const struct cfg_schema *schema, const char *masked, const char *now, char **ret_body);
/* In place: each secret of the object becomes CFG_MASK. 0 or -ENOMEM. */
int store_hide(const struct cfg_schema *schema, json_t *of);
/* A secret of the object is CFG_MASK: it was read from here, and is no value to be written. */
bool store_is_hidden(const struct cfg_schema *schema, json_t *of);
/* Puts what `beside` has in the place of each CFG_MASK: so that who was shown a mask can write back what he has changed beside it. Items of a
 * list are found by their first key, their name. STORE_SECRET: a mask has nothing to stand for; -ENOMEM. */
int store_unhide(const struct cfg_schema *schema, json_t *of, const json_t *beside);
