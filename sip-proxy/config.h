/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `sip` section as a struct, its schema rows (sip-proxy/config.c) and the checks between keys
 * (sip-proxy/config_check.c). Plain values only, owned by the struct cfg that they were read into. What the edge
 * makes of the listeners is in sip-proxy/service_listen.c, what routing makes of the routes in sip-proxy/routes.c.
 */
#pragma once
#include "common/config.h"
#include "common/service.h"
#include "sip-proxy/transport.h"

enum sip_listen_proto {
	SIP_LISTEN_UDP,
	SIP_LISTEN_TCP,
	SIP_LISTEN_TLS,
	SIP_LISTEN_MTLS,
	SIP_ROUTE_PROTOS, /* so many are routes', too: those that we connect by */
	SIP_LISTEN_WS = SIP_ROUTE_PROTOS,
	SIP_LISTEN_WSS,
	SIP_LISTEN_PROTOS
};

struct sip_interface_section { /* an item of sip.interfaces */
	struct cfg_endpoint listen;
	bool active;
	char *certificate, *key, *ca; /* NULL: those of the section */
	char *advertise;
};

enum { SIP_SERVERS_MAX = 64 };
struct sip_server_section {					    /* an item of sip.lan.servers */
	char *user, *password, *contact, *certificate_name, *group; /* NULL: not set */
	struct cfg_list addresses;				    /* struct prefix */
	struct cfg_list users; /* char *: "alice", "2*", "100-199", "*" */
	uint64_t weight;
};

struct sip_user_section {
	char *name, *password;
	char *domain; /* NULL: the first of sip.domains */
};

struct sip_route_section {
	char *domain, *host;
	char *user; /* the one account of the other side; NULL: any */
	uint64_t port;	    /* 0: by DNS, or the transport's */
	unsigned transport; /* enum sip_listen_proto */
	struct addr bind;   /* AF_UNSPEC: the system's choice */
	bool active, trusted;
};

/* What is allowed or not between two domains. */
enum sip_traffic { SIP_TRAFFIC_PRESENCE, SIP_TRAFFIC_MESSAGES, SIP_TRAFFIC_CALLS, SIP_TRAFFICS };
enum sip_between { SIP_BOTH_WAYS, SIP_INWARD, SIP_OUTWARD, SIP_NEITHER };

struct sip_partner_section { /* an item of sip.federation.partners */
	char *domain;
	bool allow;
	uint64_t rate;		     /* messages a second; 0: no limit */
	unsigned ways[SIP_TRAFFICS]; /* enum sip_between */
};

enum sip_federation_mode { SIP_FEDERATION_OFF, SIP_FEDERATION_LISTED, SIP_FEDERATION_OPEN };
struct sip_federation_section {
	unsigned mode;
	struct cfg_list listen;	      /* struct cfg_endpoint */
	char *certificate, *key, *ca; /* NULL: those of the section */
	char *advertise;
	bool sips_srv;
	uint64_t rate;
	struct cfg_list addresses; /* struct prefix */
	struct cfg_list partners;  /* struct sip_partner_section */
};

struct sip_config {
	struct cfg_list domains;    /* char * */
	struct cfg_list listen;	    /* struct cfg_endpoint */
	struct cfg_list interfaces; /* struct sip_interface_section */
	struct {
		struct cfg_list listen, servers; /* struct cfg_endpoint, struct sip_server_section */
		uint64_t remember_ms, ask_ms;
	} lan;
	char *certificate, *key, *ca; /* NULL: none; the system's CAs */
	char *crl;		      /* NULL: none */
	struct cfg_list users;	      /* struct sip_user_section */
	struct cfg_list digest;	      /* unsigned: enum sip_digest_alg; none: each */
	struct {
		struct cfg_list uris; /* char *: "turn:turn.example.org:3478?transport=udp" */
		char *secret, *header;
		uint64_t lifetime_ms;
		bool plain;
	} turn;
	struct cfg_list routes;	      /* struct sip_route_section */
	bool use_routes;
	struct sip_federation_section federation;
	struct {
		struct cfg_list allow, deny, unlimited, trusted; /* struct prefix */
	} sources;
	struct {
		uint64_t connections, connections_per_source, queue, rate, burst, ban_after, ban_ms,
			message_bytes;
		uint64_t transactions, transactions_per_source, memory, registrations,
			registrations_per_user;
		uint64_t connect_ms, handshake_ms, first_ms, partial_ms, idle_ms;
	} limits;
	bool overload_control;
	char *service_route; /* or NULL */
	struct {
		uint64_t t1_ms, t2_ms, t4_ms, ringing_ms, failover_ms, keepalive_ms, probe_ms;
	} timers;
	uint64_t drain_ms;
	struct log_section *log;
};
struct sip_root { /* what stile-sip reads of stile.yaml */
	struct log_section log;
	bool sandbox;
	struct store_section store;
	struct cfg_list stun_servers; /* struct cfg_hostport */
	struct sip_config sip;
};
extern const struct cfg_root sip_cfg_root;
extern const struct cfg_schema sip_interface_schema;
extern const struct cfg_schema sip_user_schema, sip_route_schema, sip_partner_schema,
	sip_federation_schema, sip_server_schema;
extern const char *const sip_federation_modes[], *const sip_between_words[]; /* in the order of their enums */
extern const char *const sip_listen_protocols[], *const sip_route_protocols[]; /* in the order of enum sip_listen_proto */
enum sip_proto sip_listen_proto_of(unsigned p, bool *ret_mutual); /* of a position in the above */
bool sip_listen_is_secure(const struct cfg_endpoint *e); /* its transport needs a certificate */
bool sip_is_inside(const struct addr *a); /* of a LAN or of this machine; a wildcard is not */

/* config_federation.c, as parts of the check */
void sip_check_domain(struct cfg *c, const char *key, const char *name);
bool sip_config_has_domain(const struct sip_config *s, const char *name);
void sip_check_federation(struct cfg *c, const struct sip_config *s);

/* Of one interface, wherever it comes from: TLS with its own files, name. path: "sip.interfaces[0]" */
void sip_check_interface(struct cfg *c, const char *path, const struct sip_interface_section *f);
void sip_config_check(struct cfg *c); /* for struct service_ops */
void sip_config_check_sites(struct cfg *c, const struct sip_config *s); /* config_sites.c */
void sip_log_config(const void *values, struct log_config *ret_lc);
const char *sip_store_path(const void *values);
