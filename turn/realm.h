/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A realm, compiled for use: whose users are asked, which peers and limits hold, what its clients came to.
 * Immutable and reference-counted (atomically): policies share it, and one that a reload took out of the
 * configuration is kept by the policies after it while it has allocations (docs/decisions/0008-realms.md).
 *
 * Its slot is its number while it is known: allocations, paths, accounts and metrics name it by that, so
 * nothing on the packet path compares names. Slot 0 is the default realm, whatever its name.
 */
#pragma once
#include <openssl/evp.h>
#include <stdatomic.h>
#include "common/hash.h"
#include "turn/policy.h"

struct policy_user {
	struct hnode by_name, by_hash;
	char *name, *password; /* prepared by OpaqueString; the password is wiped when freed */
	bool from_file;
	uint8_t userhash[STUN_USERHASH_LEN];
};

struct turn_realm {
	/* what requests read */
	char *name;
	unsigned slot;
	bool hides_names; /* all its users are named: their hashes can be looked up (RFC 8489 9.2) */
	uint64_t lease_bytes; /* taken at once from the totals */
	struct turn_limits limits; /* resolved; of the default realm the shares are unlimited: the server's hold */
	struct turn_peer_rules peers; /* of the default realm empty: the server's hold for all */
	/* who is who */
	struct hash_seed seed; /* strangers choose the names that are looked up */
	struct policy_user *users;
	size_t n_users;
	struct htable by_name, by_hash;
	char *password; /* prepared; NULL if there is none */
	struct cfg_list secrets; /* struct turn_secret_section; wiped when freed */
	EVP_MD *digest[STUN_ALG_SHA256 + 1]; /* by enum stun_algorithm */
	/* who comes here */
	struct cfg_list server_names; /* char * */
	struct cfg_list listen;	      /* struct cfg_endpoint */
	_Atomic unsigned refs;
};
