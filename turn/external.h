/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn.relay.external: auto. Finds the public address of each relay address by the servers of stun_servers, while
 * the server serves, and follows it when it changes: new allocations get the new one, those that exist keep what they
 * were told. The last value is kept in the store, so that a restart begins with it. Also where the service hears that
 * the machine's own addresses have changed. Main thread only.
 */
#pragma once
#include <jansson.h>
#include "turn/relay_addresses.h"

struct turn_service;
struct turn_external;

/* What the store remembers is read: blocking, before the loop runs. 0, -ENOMEM, or -EIO of the store. */
int turn_external_new(struct turn_service *ts, struct turn_external **ret_x);
struct turn_external *turn_external_free(struct turn_external *x);
/* Automatic addresses get what is known of them already: from the watch, or from the store. */
void turn_external_fill(const struct turn_external *x, struct turn_relay_set *set);
/* From now on these are the service's (ts->net.relay is one): asks for the automatic ones at once. On -ENOMEM what was
 * watched before stays watched. */
int turn_external_watch(struct turn_external *x, const struct turn_relay_set *set, const struct cfg_list *stun_servers);
/* Adds to a row of `stile status` how the external address of a->at is known. */
void turn_external_describe(const struct turn_external *x, const struct turn_relay_address *a, json_t *row);
