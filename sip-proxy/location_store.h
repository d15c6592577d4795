/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The location service in the store: written behind, so that no REGISTER waits for a disk, and read at the start, so that
 * a restart keeps who is registered where, with Path, flow and the time that is left. One object of the kind
 * "sip.binding" for each address of record. Changes of one address within half a second are one writing; what the store
 * does not take is tried again. Killed, the service loses that half second and nothing else.
 *
 * A connection that a binding was made over does not outlive the process: what comes back has flow's address but no number,
 * so it counts as dead (430 with Outbound, else the contact's own address is tried). Over UDP the flow is good still.
 */
#pragma once
#include "common/store.h"
#include "sip-proxy/location.h"

#define SIP_BINDING_KIND "sip.binding"

struct sip_location_store;
struct sip_location_store_options {
	struct store *store; /* NULL: nothing is written */
	struct loop *loop;
	struct sip_location *location;
	void (*changed)(void *arg, const char *aor); /* bindings of this user are others than before; may be NULL */
	void *arg;
};
/* Reads what is there and watches the location from then on, for itself and for `changed`. 0, -ENOMEM, or what store_load() says. */
int sip_location_store_new(const struct sip_location_store_options *o,
			   struct sip_location_store **ret_s);
/* Queues what is not written yet; store_close() finishes it. Before the location is freed. */
struct sip_location_store *sip_location_store_free(struct sip_location_store *s);
DEFINE_CLEANUP(struct sip_location_store, sip_location_store_free)
unsigned sip_location_store_waiting(const struct sip_location_store *s); /* addresses that are not written yet */

/* For tests: an address's bindings as they stand in the store, and back. now: ms of the timers, unix_ms: of the world. */
struct sip_times {
	uint64_t now;
	int64_t unix_ms;
};
json_t *sip_bindings_json(const struct sip_binding *v, unsigned n, struct sip_times t);
/* Those that are still good, into the location. How many, or -EBADMSG, -ENOMEM, -ENOSPC. */
int sip_bindings_take(struct sip_location *l, const char *aor, const json_t *body, struct sip_times t);
