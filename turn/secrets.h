/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared secrets made while the server runs (`stile turn secret add`): kept in the store under the kind "turn.secret" (those
 * of a realm under "turn.realms.secret", with the realm in front of the id), and compiled into the policy behind those of
 * the file. An id that the file sets is locked: the file wins. A secret never leaves by a verb. Main thread only.
 */
#pragma once
#include "turn/config.h"
#include "turn/policy.h"

struct turn_service;
struct turn_secrets;

/* Before start() ends: what the store has is read. 0, -ENOMEM or -EIO. */
int turn_secrets_new(struct turn_service *ts, struct turn_secrets **ret_s);
struct turn_secrets *turn_secrets_free(struct turn_secrets *s);

/* Lists that were made longer for one compilation. */
struct turn_secrets_merged {
	void *made[TURN_REALMS_MAX + 2];
	size_t n;
};
/* cfg is a copy whose lists are another's: those that get secrets of the store are replaced by longer ones, which are m's.
 * 0 or -ENOMEM; done follows in both cases, when cfg is no longer needed. */
int turn_secrets_merge(const struct turn_secrets *s, struct turn_config *cfg, struct turn_secrets_merged *m);
void turn_secrets_merged_done(struct turn_secrets_merged *m);
void turn_secrets_add_verbs(struct turn_service *ts);
