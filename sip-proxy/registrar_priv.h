/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What auth.c and registrar.c share: the registrar's insides. The tables of who has guessed and of who was right are
 * of a fixed size, so that guessing costs the guesser's own patience and none of our memory; they are sets, in which
 * who has guessed least, or was right longest ago, gives way.
 */
#pragma once
#include "sip-proxy/registrar.h"

enum { SIP_SETS = 2048, SIP_WAYS = 4 };
struct sip_guess { /* bad credentials of one source, for one user, or of the one for the other */
	uint64_t hash, last, until; /* ms */
	unsigned n;		    /* 0: free */
};
struct sip_known {	   /* a pair of source and user that was right */
	uint64_t pair, at; /* ms; 0: free */
};
struct sip_registrar {
	struct sip_registrar_options o;
	struct stun_nonces nonces;
	char *service_route; /* "<sip:proxy;lr>" (RFC 3608), or NULL */
	unsigned algorithms; /* bits: what is offered and taken; 0: each */
	struct sip_guess guesses[SIP_SETS][SIP_WAYS];
	struct sip_known known[SIP_SETS][SIP_WAYS];
};
