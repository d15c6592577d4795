/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the tunnel's server: what agents say to each other, and relays between two of them.
 *
 *   rendezvous.c  a link's SIGNAL and RELAY, in its worker and in the main thread; what is passed on
 *   pairs.c       worker: two connections joined, blindly
 */
#pragma once
#include "tunnel/server/server_priv.h"

/* Worker. SIGNAL, RELAY or TURN-ASK of a link. -EPROTO: it may not say this. */
int rendezvous_on_frame(struct tunnel_link *l, unsigned type, const union wire_msg *m);

/* Main thread. */
void rendezvous_hear(struct tunnel_server *s, const struct note *n);	  /* NOTE_WORD */
void rendezvous_pair_over(struct tunnel_server *s, const struct note *n); /* NOTE_PAIR_OVER */
/* Whoever was sent away keeps no relay, and has asked for none. identity NULL: anybody; share 0: guests or not. */
void rendezvous_end_relays(struct tunnel_server *s, const uint8_t *identity, uint64_t share);
void rendezvous_free(struct tunnel_server *s);
void rendezvous_post(struct tunnel_server *s, uint64_t link, unsigned type, const void *msg); /* a frame for an agent; lost if it is not there */

/* pairs.c. Main thread: to the worker in whose number the id ends. 0 or -ENOMEM. */
int pair_order_begin(struct tunnel_server *s, uint64_t id, const uint8_t a[static WIRE_PIN], const uint8_t b[static WIRE_PIN]);
void pair_order_end(struct tunnel_server *s, uint64_t id, const char *why); /* why: static */
/* Worker: a connection that says it is one end; frees what of h is left, as its caller does. */
void pair_take(struct tunnel_worker *w, struct handover *h);
void pairs_free(struct tunnel_worker *w);
