/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `tunnel` section as a struct, its schema rows (tunnel/config.c), its kinds of values
 * (tunnel/config_types.c) and the checks between keys (tunnel/config_check.c). Plain values only, owned by the
 * struct cfg that they were read into; what a route makes of them is in tunnel/route.h.
 *
 * A route has one schema, whether it stands in the file or is made while the service runs.
 */
#pragma once
#include "common/config.h"
#include "common/service.h"

/* "0.0.0.0:1001", "[::]:20000-20099", or only the ports: of every IPv4 address. */
struct route_listen {
	struct addr at; /* with the first port; AF_UNSPEC: not written */
	uint16_t last;
};
extern const struct cfg_type cfg_route_listen;

/* "10.3.100.14:25", "mail.intra"; port 0: the listener's. */
struct route_target {
	char *host;
	uint16_t port;
};
extern const struct cfg_type cfg_route_target;

enum { ROUTE_PORTS_MAX = 4096, ROUTE_TARGETS_MAX = 16, ROUTE_NAME_MAX = 63 };

struct route_tls {
	char *certificate, *key;
};
struct route_target_tls {
	char *ca, *server_name;
	bool verify;
};
enum route_proxy { ROUTE_PROXY_OFF, ROUTE_PROXY_V2 };

struct route_config {
	char *name; /* NULL: not written; it is called as it listens */
	struct route_listen listen;
	struct cfg_list target; /* struct route_target, in the order they are tried */
	bool udp, enabled, log_data;
	struct cfg_list allow; /* struct prefix; empty: all sources */
	struct {
		uint64_t connections; /* or flows */
		uint64_t bitrate;     /* both directions together */
	} limits;
	struct addr source_address; /* AF_UNSPEC: the system's choice */
	unsigned proxy_protocol;    /* enum route_proxy */
	struct route_tls *tls;	    /* NULL: plain */
	struct route_target_tls *target_tls;
	uint64_t connect_ms, idle_ms, half_close_ms; /* idle 0: never */
	char *note;
};

struct records_section {
	char *dir;
	bool connections, json;
	uint64_t data_max_size, data_floor, keep_ms;
};

struct tunnel_config {
	char *name, *public_name; /* NULL: the host's; the bound address */
	struct cfg_list listen;	  /* struct cfg_endpoint; none: no tunnel */
	bool accept;		  /* agents are let in */
	char *password;		  /* NULL: none can enrol by one */
	struct cfg_backend gateway; /* path: where gateways ask for shares; "": nowhere */
	char *gateway_url;	    /* NULL: none is told of */
	struct cfg_list ports;	  /* struct cfg_port_range that agents may open */
	struct addr bind;
	struct cfg_list binds; /* struct prefix */
	uint64_t window, resume_ms;
	bool allow_plain;
	struct {
		uint64_t agents, jobs, ports, connections;
	} limits;
	struct {
		bool enabled, relay, local_turn;
		uint64_t relays, relay_bytes, relay_bitrate;
		struct cfg_list turn_servers; /* struct cfg_hostport */
		char *turn_secret;	      /* NULL: none */
	} direct; /* between agents */
	struct cfg_list routes; /* struct route_config */
	struct records_section records;
	uint64_t workers; /* 0: one per core */
	uint64_t drain_ms;
	bool resolve_names;
	struct log_section *log; /* override; NULL if absent */
};
struct tunnel_root { /* what stile-tunnel reads of stile.yaml */
	struct log_section log;
	bool sandbox;
	struct store_section store;
	struct cfg_list stun_servers; /* struct cfg_hostport */
	struct tunnel_config tunnel;
};
extern const struct cfg_schema route_schema; /* fills struct route_config */
extern const struct cfg_root route_cfg_root; /* "route: {…}" as a whole document; fills struct route_config */
extern const struct cfg_root tunnel_cfg_root;

/* "0.0.0.0:1001", or with "/udp": how a route without a name is called. */
enum { ROUTE_LISTEN_STRLEN = 96 };
const char *route_listen_name(const struct route_config *c, char buf[static ROUTE_LISTEN_STRLEN]);
/* Checks between the keys of one route; path is that of its map: "tunnel.routes[2]", "route". */
void route_config_check(struct cfg *c, const char *path, const struct route_config *r);
/* Of the whole section, for struct service_ops. */
void tunnel_config_check(struct cfg *c);
void tunnel_log_config(const void *values, struct log_config *ret_lc);
const char *tunnel_store_path(const void *values);
const char *tunnel_records_path(const void *values);
