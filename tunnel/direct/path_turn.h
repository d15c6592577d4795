/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path through a TURN server: an attempt's relayed component (ice.h), whose datagrams go through libnice. Slow beside a
 * direct path, and no server of ours need be on the way.
 *
 * The path belongs to its owner and may outlive the attempt; it takes nothing any more then.
 */
#pragma once
#include "tunnel/direct/ice.h"
#include "tunnel/direct/path.h"

/* After ICE_RELAYED was told, while the attempt has no such path yet. 0 or -ENOMEM. Ready at once. */
int path_turn_new(struct ice_try *t, struct path **ret_p);
/* What ice_ops.on_data() brought. The attempt's path may be freed in it. */
void path_turn_input(struct ice_try *t, const struct iovec *v, size_t n);
