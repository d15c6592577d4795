/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a WebRTC page needs of this server: URLs in the order of turn.listen, which is the order in which the administrator wants
 * them tried. DTLS is left out: no browser speaks TURN over it; Unix sockets too, for clients come by another way. Of a
 * configuration alone, so that the tool and the running server say the same.
 */
#pragma once
#include <jansson.h>
#include "turn/config.h"

/* The host that clients use, where nobody names one: an address given as external or, in outside[], found; a listener's; a relay
 * address; or localhost. Points into buf or is constant. */
const char *turn_snippet_host(const struct turn_config *cfg, char buf[static ADDR_STRLEN]);
/* "turn:HOST:3478?transport=udp", each once. NULL without memory. */
json_t *turn_snippet_urls(const struct turn_config *cfg, const char *host);
