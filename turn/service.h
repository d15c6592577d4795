/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-turn as a service: the operations that common/service calls, and the policy that its parts
 * rebuild together when users or the configuration change. Main loop only; the workers get what
 * concerns them by workers_call.
 */
#pragma once
#include "turn/edge.h"

extern const struct service_ops turn_service_ops;
/* Compiles the present configuration and the store's users into a new policy and hands it to every
 * worker. 0, or -errno after writing a sentence; on failure the old policy stays. */
int turn_service_rebuild(struct turn_service *ts, char *err, size_t err_n);
/* self_test.c: the user of a test that is under way; false: there is none. */
struct turn_self_test *turn_self_test_free(struct turn_self_test *t);
bool turn_self_test_user(const struct turn_service *ts, struct turn_extra_user *ret_u);
bool turn_self_test_is_in(const struct turn_service *ts, const struct turn_realm *x);
void turn_self_test_add_verbs(struct turn_service *ts);
/* users.c: an object of the file, with where it stands. row is taken and given back. */
json_t *turn_row_of_file(const struct turn_service *ts, json_t *row, const char *path);
/* certificates.c */
void turn_certificates_add_verbs(struct turn_service *ts);
/* service_health.c */
void turn_health(struct service *s, struct health *h);
