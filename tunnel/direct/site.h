/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This site as it was last seen from outside: a few sockets ask two STUN addresses each, when the process begins and whenever the
 * network has changed; what they were told is judged (site_nat.h), kept for the attempts, and remembered over runs.
 *
 * A block of ports that was seen earlier at the same public address widens the one seen now: a NAT shows more of itself over time.
 */
#pragma once
#include <jansson.h>
#include "common/list.h"
#include "common/loop.h"
#include "tunnel/direct/ice.h"
#include "tunnel/direct/site_nat.h"

struct site;
struct site_watch { /* inside its owner, who unlinks it */
	struct list node;
	void (*changed)(struct site_watch *w);
};

int site_new(struct loop *l, const struct ice_settings *s, struct site **ret_s); /* asks at once */
struct site *site_free(struct site *s);
DEFINE_CLEANUP(struct site, site_free)
void site_set(struct site *s, const struct ice_settings *settings);
void site_ask(struct site *s); /* again; nothing while it is asking */
bool site_known(const struct site *s); /* a round of samples has ended, whatever it said */
const struct site_nat *site_nat(const struct site *s); /* of the last round; before: as remembered */
void site_watch(struct site *s, struct site_watch *w);
unsigned site_binding_s(const struct site *s); /* of ice_binding_s() */
json_t *site_show(const struct site *s);
