/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a step of cli/turn_probe failed, as a sentence for an administrator: what was seen, and what that
 * usually means. What the server itself refused is worded by turn/client_failure.c. Texts go to the
 * caller's buffer, which is returned.
 */
#pragma once
#include <openssl/ssl.h>
#include "cli/turn_probe.h"

struct turn_link_end { /* what on_close told; ssl may be NULL */
	int err;
	const char *why;
	SSL *ssl;
};

/* The link ended in this step. */
const char *turn_link_reason(const struct turn_probe_options *o, enum turn_probe_step step, const struct turn_link_end *end,
			     char *buf, size_t n);
/* The step's time is over and nothing came. */
const char *turn_silence_reason(const struct turn_probe_options *o, enum turn_probe_step step, char *buf, size_t n);
/* "certificate good until 2027-01-31": of the peer, after the handshake. */
const char *turn_certificate_text(SSL *ssl, bool verified, char *buf, size_t n);
