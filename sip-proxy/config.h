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

struct sip_user_section {
	char *name, *password;
	char *domain; /* NULL: the first of sip.domains */
};

struct sip_route_section {
	char *domain, *host;
	uint64_t port;	    /* 0: by DNS, or the transport's */
	unsigned transport; /* enum sip_listen_proto */
	struct addr bind;   /* AF_UNSPEC: the system's choice */
	bool active;
};

struct sip_config {
	struct cfg_list domains;    /* char * */
	struct cfg_list listen;	    /* struct cfg_endpoint */
	struct cfg_list interfaces; /* struct sip_interface_section */
	struct {
		struct cfg_list listen;
	} lan;
	char *certificate, *key, *ca; /* NULL: none; the system's CAs */
	struct cfg_list users;	      /* struct sip_user_section */
	struct cfg_list routes;	      /* struct sip_route_section */
	bool use_routes;
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
	struct {
		uint64_t t1_ms, t2_ms, t4_ms, ringing_ms, failover_ms, keepalive_ms, probe_ms;
	} timers;
	uint64_t drain_ms;
	struct log_section *log;
};
struct sip_root { /* what stile-sip reads of stile.yaml */
	struct log_section log;
	struct store_section store;
	struct cfg_list stun_servers; /* struct cfg_hostport */
	struct sip_config sip;
};
extern const struct cfg_root sip_cfg_root;
extern const struct cfg_schema sip_user_schema, sip_route_schema;
extern const char *const sip_listen_protocols[], *const sip_route_protocols[]; /* in the order of enum sip_listen_proto */
enum sip_proto sip_listen_proto_of(unsigned p, bool *ret_mutual); /* of a position in the above */

void sip_config_check(struct cfg *c); /* for struct service_ops */
void sip_log_config(const void *values, struct log_config *ret_lc);
const char *sip_store_path(const void *values);
