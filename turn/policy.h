/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the configuration says, compiled for use: credentials, peer rules, limits and lifetimes. A
 * policy is immutable, reference-counted (atomically) and shared by all workers; a reload builds a new
 * one and mails it to each worker, which swaps its pointer. Allocations keep what they need (their key,
 * their user's quota), so an old policy dies with its last user.
 */
#pragma once
#include "stun/auth.h"
#include "turn/config.h"

struct turn_key;

struct turn_policy;

/* A user from the store (made by `stile turn user add`), beside those of the file. */
struct turn_extra_user {
	const char *name, *password;
};
int turn_policy_new(const struct turn_config *cfg, const struct turn_extra_user *extra, size_t n_extra,
		    char *err, size_t err_n, struct turn_policy **ret_p);
struct turn_policy *turn_policy_ref(struct turn_policy *p);
struct turn_policy *turn_policy_unref(struct turn_policy *p);
DEFINE_CLEANUP(struct turn_policy, turn_policy_unref)
/* A deep copy of the values, without log; limits that were not written are resolved (never 0). */
const struct turn_config *turn_policy_config(const struct turn_policy *p);
bool turn_policy_has_users(const struct turn_policy *p); /* named ones: then USERHASH can be offered */

/* ---- credentials ---- */
enum turn_auth { /* positive codes: why a credential was refused; each has a row with its text */
	TURN_AUTH_OK,
	TURN_AUTH_UNKNOWN_USER,
	TURN_AUTH_WRONG_PASSWORD,   /* integrity does not match any key */
	TURN_AUTH_EXPIRED,	    /* REST credential: age in ret_detail (seconds) */
	TURN_AUTH_WRONG_REALM,
	TURN_AUTH_BAD_USERNAME,	    /* not valid UTF-8 / not allowed by the profile / too long */
	TURN_AUTH_UNKNOWN_USERHASH,
	TURN_AUTH_BAD_ALGORITHM,    /* PASSWORD-ALGORITHM not offered, or list altered (bid-down): 400 */
	TURN_AUTH_NO_MEMORY,	    /* not the client's fault: 508, or no answer */
	TURN_AUTH_CODES
};
const char *turn_auth_text(enum turn_auth a);
struct turn_identity {
	char user[256];	     /* as presented (REST: "1700000000:alice"), prepared, NUL-terminated */
	char account[256];   /* whom limits and logs count: "alice"; for the single password the user as presented */
	char secret_id[64];  /* REST: which secret matched; "" otherwise */
	uint64_t expires_unix; /* REST: 0 otherwise */
};
/* Checks the integrity of a request that has USERNAME or USERHASH, REALM and a good nonce. On
 * TURN_AUTH_OK *ret_key is a new reference to the key that matched (kept by the allocation); otherwise it
 * is left alone. *ret_id is always set, as far as it is known: a refusal's log line wants the user. */
enum turn_auth turn_policy_authenticate(const struct turn_policy *p, const struct stun_msg *m, uint64_t unix_s,
					struct turn_identity *ret_id, struct turn_key **ret_key,
					uint64_t *ret_detail);
/* A key of one identity, reference-counted within a worker: HMAC states for both MACs, made when needed. */
struct turn_key;
struct turn_key *turn_key_ref(struct turn_key *k);
struct turn_key *turn_key_unref(struct turn_key *k);
/* True if m is signed with this very key, and the algorithm it claims is the key's: the quick way for
 * requests of an existing allocation. False: turn_policy_authenticate() knows the reason. */
bool turn_key_check(struct turn_key *k, const struct stun_msg *m);
/* MI-SHA256 if the request names its password algorithm, else MI. Out of memory: the writer fails, so no unsigned answer goes out. */
void turn_key_sign(struct turn_key *k, struct stun_writer *sw, const struct stun_msg *request);

/* Mints time-limited credentials: user = "<unix expiry>:<name>", password = base64 HMAC(secret, user).
 * Without a name the user is the expiry alone. 0, -ENOSPC (name too long), -ENOMEM. */
struct turn_minted {
	char user[256], password[64];
};
int turn_mint_credential(enum stun_mac mac, struct text secret, struct text name, uint64_t expiry_unix,
			 struct turn_minted *ret_m);

/* ---- peers ---- */
struct turn_verdict {
	bool allowed;
	char rule[96]; /* "private (RFC 1918), refused by default", "turn.peers.deny 10.0.0.0/8" … */
};
/* May this peer be reached, whatever its port? Deny rules, then allow rules, then the machine's
 * addresses, then the class of the address; every spelling is brought to one first. */
struct turn_verdict turn_policy_peer(const struct turn_policy *p, const struct addr *peer);
/* True if the peer is turn.relay.addresses or .external (in any spelling) and no rule decides about it:
 * then it is a legal peer on the ports of live relay sockets only, checked per packet with
 * turn_totals_is_relay(). Ask this first; if it is false, turn_policy_peer() decides. */
bool turn_policy_is_own(const struct turn_policy *p, const struct addr *peer);
/* Before the policy is shared: all addresses of this machine, which are refused by default. The relay
 * addresses are taken from the configuration given to turn_policy_new(), where the edge has filled them
 * in if the administrator did not. 0 or -ENOMEM. */
int turn_policy_set_own(struct turn_policy *p, const struct addr *own, size_t n);
