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
/* HMAC-SHA256 as a value, for keys that are copied about; it stands in no list of what must be freed. */
void stun_mac_save(const void *key, size_t key_n, struct stun_saved_mac *ret_s);
void stun_mac_saved(const struct stun_saved_mac *s, struct text data, uint8_t ret_mac[static STUN_MAC_MAX]);
