/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the STUN library itself does with a key; the public side is auth.h. A key stays opaque even here:
 * only auth_key.c sees its HMAC states, integrity.c asks it for the MAC of a message, and nonce.c
 * takes the same HMAC under keys of its own.
 */
#pragma once
#include "stun/auth.h"

enum { STUN_MAC_MAX = 32 };

enum stun_mac stun_key_algorithm(const struct stun_key *k);
/* The whole MAC (20 or 32 bytes) over head followed by rest. */
void stun_key_mac(const struct stun_key *k, struct text head, struct text rest,
		  uint8_t ret_mac[static STUN_MAC_MAX]);
/* HMAC-SHA256 in one go, for keys that are not worth a struct stun_key. */
void stun_hmac_sha256(const void *key, size_t key_n, struct text data,
		      uint8_t ret_mac[static STUN_MAC_MAX]);
