/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `turn` section as a struct, its schema rows (turn/config.c) and the checks between them
 * (turn/config_check.c). Plain values only, owned by the struct cfg they were read into; what is compiled from
 * them (credentials, rules, limits) is in turn/policy.h.
 */
#pragma once
#include "common/config.h"
#include "common/service.h"

enum turn_listen_proto { TURN_LISTEN_UDP, TURN_LISTEN_TCP, TURN_LISTEN_TLS, TURN_LISTEN_DTLS, TURN_LISTEN_FRONT };

struct turn_user_section {
	char *name, *password; /* password is CFG_SECRET: password_file works too */
};
struct turn_secret_section {
	char *id, *secret;
};
struct turn_peer_rules {
	struct cfg_list allow, deny; /* struct prefix */
};
struct turn_limits { /* UINT64_MAX: unlimited; 0: not written, the policy resolves it */
	uint64_t allocations, allocations_per_user;
	uint64_t permissions_per_allocation, channels_per_allocation;
	uint64_t permissions, permissions_per_user, channels, channels_per_user;
	uint64_t bitrate, bitrate_per_user; /* bit/s */
	/* of the server only */
	uint64_t connections, connections_per_address; /* TCP, TLS and DTLS clients */
	uint64_t bad_credentials, bad_credentials_per_address, backoff_ms; /* turn/backoff.h */
	uint64_t unauthenticated_bitrate; /* excess of unauthenticated replies over their requests, per source prefix */
};
struct turn_realm_section { /* one beside the default realm, which the keys of `turn` itself describe */
	char *name;
	struct cfg_list server_names; /* char *: what leads TLS and DTLS clients here */
	struct cfg_list listen;	      /* struct cfg_endpoint: and other clients */
	char *certificate, *key;      /* for the server names; NULL: turn.certificate */
	char *password;
	struct cfg_list users, secrets;
	struct turn_peer_rules peers;
	struct turn_limits limits;
};
struct turn_config {
	char *realm;
	struct cfg_list listen; /* struct cfg_endpoint */
	char *certificate, *key;
	struct {
		struct cfg_list addresses; /* struct addr, port 0; empty: the addresses of the listeners or of this machine */
		struct cfg_list external;  /* struct cfg_ip_auto: as written; turn/relay_addresses.h matches them */
		/* struct addr: what clients are told of the address at the same place above; AF_UNSPEC: not known yet. No
		 * row fills it: the edge does, for the policy. Empty: each is told itself. */
		struct cfg_list outside;
		struct cfg_port_range ports;
	} relay;
	char *password;		 /* the simple case: one password, any user name */
	struct cfg_list users;	 /* struct turn_user_section */
	struct cfg_list secrets; /* struct turn_secret_section: time-limited REST credentials */
	struct turn_peer_rules peers;
	struct turn_limits limits;
	struct cfg_list realms; /* struct turn_realm_section */
	struct {
		struct cfg_list from; /* struct prefix: load balancers that begin connections with a PROXY header */
	} proxy_protocol;
	struct {
		struct cfg_list routes; /* struct front_route */
		uint64_t connections, connections_per_address;
		uint64_t idle_ms;
	} front; /* of listeners "front:" */
	struct {
		uint64_t default_ms, max_ms; /* 600 s, 3600 s */
		uint64_t nonce_ms;
	} lifetime;
	struct {
		unsigned mode; /* enum fast_mode: turn/fastpath/wire.h */
		struct cfg_list interfaces; /* char *; empty: stile-fastpath finds them */
		uint64_t channels;
	} fast_path;
	bool mobility;	  /* RFC 8016 */
	struct cfg_list alternate_servers, alternate_tls_servers; /* struct addr: where to send clients that cannot stay */
	char *alternate_domain; /* what the certificates of the second say; may be NULL */
	uint64_t drain_ms; /* how long a stop waits for allocations to end */
	uint64_t workers; /* 0: one per core */
	uint64_t coalesce_us; /* turn/coalesce.c; 0: off */
	char *software;	  /* SOFTWARE attribute; "" sends none */
	struct log_section *log; /* override; NULL if absent */
};
struct turn_root { /* what stile-turn reads of stile.yaml */
	struct log_section log;
	bool sandbox;
	struct store_section store;
	struct cfg_list stun_servers; /* struct cfg_hostport */
	struct turn_config turn;
};
extern const struct cfg_schema turn_config_schema; /* fills struct turn_config */
extern const struct cfg_schema turn_secret_schema; /* fills struct turn_secret_section */
extern const struct cfg_schema turn_user_schema;   /* fills struct turn_user_section */
extern const struct cfg_root turn_cfg_root;	   /* fills struct turn_root */
/* Checks beyond one row: a credential source exists, TLS listeners have a certificate and key that load
 * and match, no two listeners on one address, prefixes sane, external as many as addresses … What is allowed
 * but probably not meant (the whole internet as peers, a short secret) is a warning. */
void turn_config_check(struct cfg *c);
void turn_fast_path_check(struct cfg *c); /* the part of it that stile-fastpath reads */
void turn_config_check_front(struct cfg *c); /* a part of it: turn/config_check_front.c */
/* Whether a connection to a front can be for stile-turn itself, which takes a certificate then. */
bool turn_config_front_serves_us(const struct turn_config *t);
struct turn_own_set; /* turn/relay_addresses.h: of this machine */
/* Whether what turn.front.routes[route] leads to is a front listener itself. */
bool turn_config_front_loops(const struct turn_config *t, size_t route, const struct turn_own_set *own);
/* For struct service_ops: the log settings with this section's override, and the store's folder. */
void turn_log_config(const void *values, struct log_config *ret_lc);
const char *turn_store_path(const void *values);
/* What clients are told for one of our addresses: its external one, if there is one; the port stays. AF_UNSPEC: it has
 * one, which is not known yet. */
struct addr turn_public_address(const struct turn_config *cfg, const struct addr *at);
