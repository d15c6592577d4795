/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile netcheck finds out: plain values that the probes fill (cli/netcheck_udp.c, _tcp.c, _portmap.c) and
 * the report prints (cli/netcheck_report.c). One struct netcheck is one look at the network; it owns nothing
 * and may be copied, so the look before can be kept to compare with.
 */
#pragma once
#include "cli/command.h"
#include "stun/nat.h"

enum { NC_SERVERS = 16, NC_FAMILIES = 2 };
enum nc_family_id { NC_V4, NC_V6 };

enum nc_tcp { NC_TCP_UNTRIED, NC_TCP_OPEN, NC_TCP_REFUSED, NC_TCP_SILENT };

struct nc_server {
	char name[280]; /* as given */
	char host[256];
	uint16_t port;
	struct addr at[NC_FAMILIES]; /* AF_UNSPEC: it has none */
	bool answered[NC_FAMILIES];
	double rtt_ms[NC_FAMILIES];
	struct addr mapped[NC_FAMILIES];
	bool has_other[NC_FAMILIES]; /* it offers RFC 5780 */
	enum nc_tcp tcp, tcp443;     /* its STUN port over TCP; port 443 of its host */
	char tls443[96];	     /* "TLSv1.3"; empty: no handshake */
	char tls443_why[160];
};

struct nc_family {
	bool routed; /* this machine has a way to some server */
	bool asked;  /* nat is set */
	struct nat_result nat;
};

struct nc_mapper { /* one protocol by which a router maps ports */
	bool available;
	char external[64]; /* the address it says it has outside; may be empty */
	char text[64];	   /* why not, if it said so */
};
struct nc_portmap {
	bool asked;
	struct nc_mapper upnp, natpmp, pcp;
};

struct netcheck {
	struct cli *cli;
	struct nc_server server[NC_SERVERS];
	unsigned n;
	struct nc_family family[NC_FAMILIES];
	uint64_t lifetime_ms; /* 0: not asked for */
	bool port443, ports;
	struct nc_portmap portmap;
};

int nc_udp(struct netcheck *nc);  /* 0 or -errno of what this machine could not do */
int nc_tcp(struct netcheck *nc);
void nc_portmap(struct netcheck *nc);
int nc_site(struct cli *cli, const char *name); /* the link to that agent, of the stile-agent here; 0 or an exit code */
/* The same for --json; *ret_r as above. */
json_t *nc_site_json(struct cli *cli, const char *name, int *ret_r);
bool nc_udp_works(const struct netcheck *nc);
bool nc_any_tcp(const struct netcheck *nc); /* some server was reached over TCP, if only to refuse */
/* As nat_result's; but silence everywhere, TCP too, is no sign of a firewall. */
enum nat_type nc_type(const struct netcheck *nc, enum nc_family_id f);
void nc_print(const struct netcheck *nc);
void nc_print_line(const struct netcheck *nc, const struct netcheck *before); /* one line for a repeated look */
json_t *nc_json(const struct netcheck *nc);
