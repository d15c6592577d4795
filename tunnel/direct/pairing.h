/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First contact of two agents that do not know each other's key (docs/decisions/0020-direct-path.md), through a server that neither
 * of them trusts: a short authentication string that people compare, or a one-time code that proves the keys to each other.
 *
 * The string: the visitor commits to a nonce before it sees the host's, and reveals it after. Whoever sits in the middle has to
 * choose his part before he knows theirs, so that both sides show the same eight digits with a chance of one in 10^8, each
 * time that people try. No I/O here; bodies of offers of the kinds KNOCK, NONCE and REVEAL are made and read.
 */
#pragma once
#include "tunnel/direct/offer.h"
#include "tunnel/link/enrol.h"

enum {
	PAIRING_NONCE = 16,
	PAIRING_PROOF = 32,
	PAIRING_SAS_STRLEN = 10, /* "1234-5678" */
	PAIRING_BODY_MAX = 1 + ENROL_ID_LEN + PAIRING_PROOF,
	PAIRING_SHARE_KEY = 32,
};
enum pairing_way { PAIRING_BY_STRING = 1, PAIRING_BY_CODE = 2, PAIRING_BY_SHARE = 3 }; /* first byte of each body */

struct pairing { /* the same at both ends; all of it signed by who says it */
	uint8_t call[OFFER_CALL];
	struct identity_hash visitor, host;
};
/* SHA-256 of the visitor's nonce, bound to call and key. */
void pairing_commit(const struct pairing *p, const uint8_t nonce[static PAIRING_NONCE], uint8_t out[static WIRE_PIN]);
void pairing_string(const struct pairing *p, const uint8_t visitor[static PAIRING_NONCE], const uint8_t host[static PAIRING_NONCE],
		    char out[static PAIRING_SAS_STRLEN]);
/* Of a code (tunnel/link/enrol.h, whose root is the host's key here). The host's key is not part of the visitor's proof but by its
 * first half, which the code names: the visitor does not know more of it yet. 0 or -EIO. */
int pairing_proof(const struct pairing *p, const struct enrol_code *c, bool of_host, uint8_t out[static PAIRING_PROOF]);

/* Of a share (docs/decisions/0024-sharing.md): both know the key, and nobody else. 0 or -EIO. */
int pairing_share_proof(const struct pairing *p, const uint8_t key[static PAIRING_SHARE_KEY], bool of_host, uint8_t out[static PAIRING_PROOF]);

/* Bodies: way, then commit, nonce, or id and proof; behind the host's proof of a share its kind. */
struct pairing_body {
	enum pairing_way way;
	struct wire_bytes commit, nonce, id, proof;
	uint8_t kind; /* enum wire_share_kind */
};
enum wire_error pairing_read(unsigned kind, const struct wire_bytes *body, struct pairing_body *ret_b);
