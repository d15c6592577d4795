/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overload control between neighbours (RFC 7339, the algorithm "loss"), in words of the topmost Via: whoever sends a
 * request says that he takes part (oc, oc-algo); whoever answers says how many percent of the requests he wants to
 * be spared, and for how long (oc, oc-validity, oc-seq). Both sides are here, without I/O: what the parameters say, and
 * the memory of what each next hop has asked for.
 *
 * What is held back are requests that begin something; those of running dialogs count, and pass.
 */
#pragma once
#include "common/hash.h"
#include "sip-proxy/headers.h"
#include "sip-proxy/transport.h"

#define SIP_OC_TAKES_PART ";oc;oc-algo=\"loss\""
enum {
	SIP_OC_VALIDITY_MS = 1000,	 /* of what we ask */
	SIP_OC_VALIDITY_MAX_MS = 600000, /* of what others ask: they say it again with each response */
	SIP_SPARED_MAX = 1024,
};

/* ---- server: what we ask ---- */

/* Does who sent this take part? An oc without a value, and an algorithm that we have. */
bool sip_oc_asks(const struct sip_via *v);
struct sip_oc_wish {
	unsigned loss; /* percent; 0: nothing is wanted (any more) */
	uint64_t seq;  /* never lower than before: ms of the world's time */
};
/* The Via's value as the response shall carry it: our wish in place of its oc parameters. Length or -ENOSPC. */
ptrdiff_t sip_oc_answer(const struct sip_oc_wish *w, const struct sip_via *v, char *buf, size_t cap);

/* ---- client: what others ask ---- */

struct sip_oc_said {
	unsigned loss;
	uint32_t validity_ms; /* 0: it is over */
	uint64_t seq;	      /* in units of 10 us */
};
/* From our Via of a response. 0; -ENOENT: nothing was said; -EBADMSG: nonsense, or an algorithm that we did not offer. */
int sip_oc_read(const struct sip_via *v, struct sip_oc_said *ret_s);

struct sip_spared;
struct sip_spared *sip_spared_new(const struct hash_seed *seed);
struct sip_spared *sip_spared_free(struct sip_spared *s);
DEFINE_CLEANUP(struct sip_spared, sip_spared_free)
/* True: this one asks for something now, and did not before. */
bool sip_spared_hear(struct sip_spared *s, const struct sip_hop *from,
		     const struct sip_oc_said *said, uint64_t now);
/* A request is about to go there: must it be held back? begins: it is of no dialog yet. */
bool sip_spared_holds_back(struct sip_spared *s, const struct sip_hop *to, bool begins, uint64_t now);
unsigned sip_spared_count(const struct sip_spared *s);
