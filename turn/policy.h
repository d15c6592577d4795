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

struct turn_realm; /* turn/realm.h */
struct turn_totals;
enum {
	TURN_REALMS_MAX = 200,	/* configured beside the default one */
	TURN_REALM_SLOTS = 256, /* and those that were configured and have allocations */
};

/* A user from the store (made by `stile turn user add`), beside those of the file. */
struct turn_extra_user {
	const char *name, *password;
	const char *realm; /* NULL: the default one */
};
int turn_policy_new(const struct turn_config *cfg, const struct turn_extra_user *extra, size_t n_extra,
		    char *err, size_t err_n, struct turn_policy **ret_p);
struct turn_policy *turn_policy_ref(struct turn_policy *p);
struct turn_policy *turn_policy_unref(struct turn_policy *p);
DEFINE_CLEANUP(struct turn_policy, turn_policy_unref)
/* A deep copy of the values, without log; limits that were not written are resolved (never 0). */
const struct turn_config *turn_policy_config(const struct turn_policy *p);

/* ---- realms ---- */
/* Before the policy is shared: its realms get the slots that `was` (NULL: there is none) had for their names,
 * and what `was` has beyond them stays as retired while t counts allocations in it. -ENOSPC: no slot is left. */
int turn_policy_settle(struct turn_policy *p, const struct turn_policy *was, const struct turn_totals *t);
/* Of a slot, configured or retired; of one that is free: the default realm. Never NULL. */
const struct turn_realm *turn_policy_realm(const struct turn_policy *p, unsigned slot);
bool turn_policy_has_realms(const struct turn_policy *p); /* beside the default one, configured or retired */
const char *turn_policy_slot_name(const struct turn_policy *p, unsigned slot); /* NULL: it is free */
bool turn_policy_is_retired(const struct turn_policy *p, unsigned slot);
/* The configured ones, the default one first. */
size_t turn_policy_n_realms(const struct turn_policy *p);
const struct turn_realm *turn_policy_nth_realm(const struct turn_policy *p, size_t i);
/* NULL: none is called so. name NULL: the default one. */
const struct turn_realm *turn_policy_find_realm(const struct turn_policy *p, const char *name);
/* The slot of the realm that a client's server name leads to; 0: of none, its address decides. */
unsigned turn_policy_realm_named(const struct turn_policy *p, struct text server_name);
/* The realm of who came by this transport to this address. named: see above. */
const struct turn_realm *turn_policy_realm_at(const struct turn_policy *p, unsigned named,
					      enum turn_listen_proto proto, const struct addr *local);

/* ---- credentials ---- */
enum turn_auth { /* positive codes: why a credential was refused; each has a row with its text */
	TURN_AUTH_OK,
	TURN_AUTH_UNKNOWN_USER,
	TURN_AUTH_WRONG_PASSWORD,   /* integrity does not match any key */
	TURN_AUTH_EXPIRED,	    /* REST credential: age in ret_detail (seconds) */
	TURN_AUTH_WRONG_REALM,	    /* REALM is another one than that of the path */
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
/* Keys made lately by one worker: turn/keys.c. */
struct turn_keys;
struct turn_keys *turn_keys_new(void); /* NULL: no memory */
void turn_keys_clear(struct turn_keys *ks);
struct turn_keys *turn_keys_free(struct turn_keys *ks);
struct turn_auth_options {
	uint64_t unix_s;
	struct turn_keys *keys; /* NULL: all are made anew */
};
/* Checks the integrity of a request that has USERNAME or USERHASH, REALM and a good nonce. On
 * TURN_AUTH_OK *ret_key is a new reference to the key that matched (kept by the allocation); otherwise it
 * is left alone. *ret_id is always set, as far as it is known: a refusal's log line wants the user. */
enum turn_auth turn_realm_authenticate(const struct turn_realm *x, const struct stun_msg *m, const struct turn_auth_options *o,
				       struct turn_identity *ret_id, struct turn_key **ret_key, uint64_t *ret_detail);
/* A key of one identity, reference-counted within a worker: HMAC states for both MACs, made when needed. */
struct turn_key;
struct turn_key *turn_key_ref(struct turn_key *k);
struct turn_key *turn_key_unref(struct turn_key *k);
struct turn_key *turn_key_copy(const struct turn_key *k); /* to go to another worker; NULL: there is none, or no memory */
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
	char rule[160]; /* "private (RFC 1918), refused by default", "turn.peers.deny 10.0.0.0/8" … */
};
/* May clients of this realm reach this peer, whatever its port? Deny rules of the server and the realm, then
 * allow rules, then the machine's addresses, then the class of the address; every spelling is brought to one
 * first. */
struct turn_verdict turn_policy_peer(const struct turn_policy *p, const struct turn_realm *x, const struct addr *peer);
/* True if the peer is a relay address as clients know it (in any spelling) and no rule decides about it: the external
 * one behind a 1:1 NAT, where the one inside is refused as the rest of one's own addresses is;
 * then it is a legal peer on the ports of live relay sockets only, checked per packet with
 * turn_totals_is_relay(). Ask this first; if it is false, turn_policy_peer() decides. */
bool turn_policy_is_own(const struct turn_policy *p, const struct turn_realm *x, const struct addr *peer);
/* A relay address behind a 1:1 NAT and what clients are told of it; ports 0. */
struct turn_relay_pair {
	struct addr inside, outside;
};
/* Those of the configuration, and former ones that live allocations were told. */
const struct turn_relay_pair *turn_policy_pairs(const struct turn_policy *p, size_t *ret_n);
/* Before the policy is shared: pairs that hold no longer. 0 or -ENOMEM. */
int turn_policy_set_former(struct turn_policy *p, const struct turn_relay_pair *former, size_t n);
/* Before the policy is shared: all addresses of this machine, which are refused by default. The relay
 * addresses are taken from the configuration given to turn_policy_new(), where the edge has filled them
 * in if the administrator did not. 0 or -ENOMEM. */
int turn_policy_set_own(struct turn_policy *p, const struct addr *own, size_t n);
