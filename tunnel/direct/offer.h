/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed offers (docs/decisions/0020-direct-path.md): what two agents say to each other through the server, which carries them
 * and can neither change nor make any, nor use one twice.
 *
 *   u8 version, u8 kind, fields as in tunnel/link/wire.h, 64 bytes: ECDSA P-256 (r, s) over "stile offer 1" NUL and all before
 *
 * Signed is also who it is from and for, the call it belongs to (16 random bytes of the visitor), its number in that call and
 * direction, and of an OFFER the epoch of the host: 16 random bytes of its process, which the host tells whom it does not
 * understand. So no clock is needed to see that an offer is old.
 *
 * No I/O, no memory of its own; texts and bytes are slices of what was parsed.
 */
#pragma once
#include <openssl/evp.h>
#include "tunnel/direct/child_msg.h"
#include "tunnel/link/identity.h"

enum {
	OFFER_VERSION = 1,
	OFFER_MAX = 12288,
	OFFER_SIGNATURE = 64,
	OFFER_CALL = 16,
	OFFER_EPOCH = 16,
	OFFER_KEY_MAX = 120, /* a P-256 SubjectPublicKeyInfo has 91 bytes */
};
enum offer_kind {
	OFFER_OFFER = 1, /* visitor to host: come and meet me */
	OFFER_ANSWER,	 /* host to visitor: I do */
	OFFER_ICE,	 /* either: more candidates, a restart */
	OFFER_SIGNAL,	 /* either: bytes for the other child */
	OFFER_BYE,	 /* either: no, or no more; with a reason. A host's epoch, if that is why */
	OFFER_KNOCK,	 /* first contact, visitor to host: hash of a nonce, or proof that it knows a one-time code */
	OFFER_NONCE_MSG, /* host to visitor: its nonce, or its proof */
	OFFER_REVEAL,	 /* visitor to host: the nonce */
	OFFER_KINDS
};
struct offer {
	uint8_t kind; /* enum offer_kind */
	struct wire_bytes from, to; /* WIRE_PIN each */
	struct wire_bytes key;	    /* of `from`: its SubjectPublicKeyInfo, DER */
	struct wire_bytes call;	    /* OFFER_CALL */
	uint32_t number;	    /* 1, 2 … */
	struct wire_bytes epoch;    /* OFFER_EPOCH, or none */
	uint64_t features;
	struct wire_bytes dcid; /* CHILD_DCID: of an OFFER */
	struct child_ice ice;	/* its link does not count */
	struct wire_bytes body; /* SIGNAL; first contact */
	uint8_t reason;		/* BYE: enum wire_reason */
	struct text text, name; /* name: what the sender calls itself */
};
/* Reads and checks all that can be checked without memory: form, key and identity, signature. from, to: who it must be; from
 * NULL at first contact, whose KNOCK may be for nobody (zeros: the host's key is not known). -EBADMSG: form; -EKEYREJECTED: another key or a false signature. *ret_why a sentence. */
int offer_read(const uint8_t *p, size_t n, const struct identity_hash *from, const struct identity_hash *to, struct offer *ret_o,
	       const char **ret_why);
/* from and key are filled in. *ret_n bytes at out. */
int offer_write(const struct offer *o, EVP_PKEY *key, uint8_t out[static OFFER_MAX], size_t *ret_n);
