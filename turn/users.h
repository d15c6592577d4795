/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users made while the server runs (`stile turn user add`): kept in the store under the kind "turn.user" (those of a
 * realm under "turn.realms.user", with the realm in front of the name), loaded at start, and compiled into the
 * policy beside those of the file. A name that the file sets is locked: the file wins. Passwords are kept
 * readable in the store's file (mode 0600), because both the MD5 and the SHA-256 key, in any realm, must be made
 * from them; the audit does not have them.
 */
#pragma once
#include "turn/policy.h"

struct turn_service;
struct turn_users;

extern const struct store_kind turn_store_kinds[]; /* for struct service_ops */
int turn_users_new(struct store *st, struct turn_users **ret_u); /* st may be NULL: an empty list that cannot change */
struct turn_users *turn_users_free(struct turn_users *u);
/* Borrowed until the next change. */
const struct turn_extra_user *turn_users_list(const struct turn_users *u, size_t *ret_n);
void turn_users_add_verbs(struct turn_service *ts);
