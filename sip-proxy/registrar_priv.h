/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What auth.c and registrar.c share: the registrar's insides. The table of guesses is
 * of a fixed size, so that guessing costs the guesser's own patience and none of our
 * memory.
 */
#pragma once
#include "sip-proxy/registrar.h"

enum { SIP_GUESSES = 8192 };
struct sip_guess {		    /* bad credentials of one source, for one user, or of the one for the other */
	uint64_t hash, last, until, good_at; /* ms */
	unsigned n;
};
struct sip_registrar {
	struct sip_registrar_options o;
	struct stun_nonces nonces;
	char *service_route; /* "<sip:proxy;lr>" (RFC 3608), or NULL */
	unsigned algorithms; /* bits: what is offered and taken; 0: each */
	struct sip_guess guesses[SIP_GUESSES];
};
