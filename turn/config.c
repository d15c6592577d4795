/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `turn` section of stile.yaml as schema rows: every key with its type, range, default and what an
 * administrator needs to know. Plain values only; what must hold between several of them is in
 * turn/config_check.c, what is compiled from them in turn/policy.c.
 *
 * Names and meanings of the keys are promised to administrators: they grow, they do not change.
 */
#include "common/front.h"
#include "stun/public.h"
#include "turn/config.h"

/* Row of a member of a map inside struct turn_config: offsets are counted from the map's own struct. */
#define IN(map, member)                                                                            \
	.offset = offsetof(struct turn_config, map.member) - offsetof(struct turn_config, map)
#define SIZE_OF(map) sizeof(((struct turn_config *)NULL)->map)
#define SCHEMA(n, r, s) { .name = (n), .rows = (r), .n_rows = ARRAY_LEN(r), .size = (s) }

/* In the order of enum turn_listen_proto; a realm's clients come to a transport, whatever front led them there. */
static const char *const protocols[] = { "udp", "tcp", "tls", "dtls", "front", NULL };
static const char *const realm_protocols[] = { "udp", "tcp", "tls", "dtls", NULL };

/* clang-format off */
static const struct cfg_row user_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct turn_user_section, name),
	  .flags = CFG_REQUIRED | CFG_RELOAD, .min = 1, .max = 255,
	  .help = "User name that the client presents." },
	{ .name = "password", .type = &cfg_string, CFG_AT(struct turn_user_section, password),
	  .flags = CFG_REQUIRED | CFG_RELOAD | CFG_SECRET, .min = 1, .max = 255,
	  .help = "Password of this user." },
};
const struct cfg_schema turn_user_schema = SCHEMA("turn.users", user_rows, sizeof(struct turn_user_section));

static const struct cfg_row secret_rows[] = {
	{ .name = "id", .type = &cfg_string, CFG_AT(struct turn_secret_section, id),
	  .flags = CFG_REQUIRED | CFG_RELOAD, .min = 1, .max = 63,
	  .help = "Name of this secret in the log and for `stile credentials`; never sent to clients." },
	{ .name = "secret", .type = &cfg_string, CFG_AT(struct turn_secret_section, secret),
	  .flags = CFG_REQUIRED | CFG_RELOAD | CFG_SECRET, .min = 1, .max = 1024,
	  .help = "Secret shared with the service that hands out time-limited credentials (user \"<unix expiry>:<name>\", "
		  "password base64 of HMAC-SHA1 or HMAC-SHA256); at least 16 random characters. Several "
		  "secrets are valid side by side, so that they can be changed without a gap." },
};
const struct cfg_schema turn_secret_schema = SCHEMA("turn.secrets", secret_rows, sizeof(struct turn_secret_section));

static const struct cfg_row relay_rows[] = {
	{ .name = "addresses", .type = &cfg_ip, IN(relay, addresses), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Addresses of this machine that relay sockets are bound to. Default: the addresses of the listeners; "
		  "for 0.0.0.0 or :: the address that packets to the internet leave from." },
	{ .name = "external", .type = &cfg_ip_auto, IN(relay, external), .flags = CFG_LIST | CFG_BARE | CFG_RELOAD,
	  .help = "Behind 1:1 NAT: the public address of each of turn.relay.addresses, in the same order (or those of one "
		  "family, if the other has no NAT); clients are told these. auto has it found by stun_servers and followed "
		  "when it changes; auto alone: for all relay addresses." },
	{ .name = "ports", .type = &cfg_ports, IN(relay, ports), .flags = CFG_RELOAD, .min = 1024, .max = 65535, .def = "49152-65535",
	  .help = "UDP ports for relay sockets, one per allocation, taken at random; the firewall must let them in." },
};
static const struct cfg_schema relay_schema = SCHEMA("turn.relay", relay_rows, SIZE_OF(relay));

static const struct cfg_row peers_rows[] = {
	{ .name = "allow", .type = &cfg_prefix, IN(peers, allow), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Prefixes that clients may reach although they are refused by default (everything that is not a "
		  "public unicast address: loopback, private, link-local, multicast …, and this server's own addresses). "
		  "IPv4 addresses hidden in IPv6 ones are compared as IPv4." },
	{ .name = "deny", .type = &cfg_prefix, IN(peers, deny), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Prefixes that clients may not reach; a denied prefix beats an allowed one, whichever is longer." },
};
static const struct cfg_schema peers_schema = SCHEMA("turn.peers", peers_rows, SIZE_OF(peers));

static const struct cfg_row limits_rows[] = {
	{ .name = "allocations", .type = &cfg_count, IN(limits, allocations), .flags = CFG_RELOAD,
	  .min = 1, .def = "10000", .unit = "allocations",
	  .help = "Allocations in total; each takes one relay port and one file descriptor." },
	{ .name = "allocations_per_user", .type = &cfg_count, IN(limits, allocations_per_user), .flags = CFG_RELOAD,
	  .min = 1, .unit = "allocations",
	  .help = "Allocations of one user name (with time-limited credentials: the name behind the expiry). Default: "
		  "20, but unlimited when turn.password is set: the user name is free then, so a limit per name would stop "
		  "clients that share one and nobody who wants around it; turn.limits.allocations still holds. "
		  "A browser takes two or three per connection and network interface." },
	{ .name = "permissions_per_allocation", .type = &cfg_count, IN(limits, permissions_per_allocation),
	  .flags = CFG_RELOAD, .min = 1, .max = 65535, .def = "200", .unit = "peers",
	  .help = "Peer addresses that one allocation may talk to at a time." },
	{ .name = "permissions", .type = &cfg_count, IN(limits, permissions), .flags = CFG_RELOAD,
	  .min = 1, .unit = "peers",
	  .help = "Permissions in total, those that have ended but not yet made room included. Default: as many as "
		  "turn.limits.allocations and turn.limits.permissions_per_allocation allow together." },
	{ .name = "permissions_per_user", .type = &cfg_count, IN(limits, permissions_per_user), .flags = CFG_RELOAD,
	  .min = 1, .unit = "peers",
	  .help = "Permissions of one user name; as turn.limits.permissions, with turn.limits.allocations_per_user." },
	{ .name = "channels_per_allocation", .type = &cfg_count, IN(limits, channels_per_allocation),
	  .flags = CFG_RELOAD, .min = 1, .max = 4096, .def = "200", .unit = "channels",
	  .help = "Channels of one allocation at a time." },
	{ .name = "channels", .type = &cfg_count, IN(limits, channels), .flags = CFG_RELOAD,
	  .min = 1, .unit = "channels",
	  .help = "Channels in total; as turn.limits.permissions." },
	{ .name = "channels_per_user", .type = &cfg_count, IN(limits, channels_per_user), .flags = CFG_RELOAD,
	  .min = 1, .unit = "channels",
	  .help = "Channels of one user name; as turn.limits.permissions_per_user." },
	{ .name = "bitrate", .type = &cfg_bitrate, IN(limits, bitrate), .flags = CFG_RELOAD,
	  .min = 64000, .def = "unlimited", .unit = "bit/s",
	  .help = "Relayed traffic in total, both directions together; one second's worth may go at once, what exceeds "
		  "it is dropped." },
	{ .name = "bitrate_per_user", .type = &cfg_bitrate, IN(limits, bitrate_per_user), .flags = CFG_RELOAD,
	  .min = 64000, .def = "unlimited", .unit = "bit/s",
	  .help = "Relayed traffic of one user name, both directions together; as turn.limits.bitrate." },
	{ .name = "connections", .type = &cfg_count, IN(limits, connections), .flags = CFG_RELOAD,
	  .min = 1, .def = "10000", .unit = "connections",
	  .help = "TCP, TLS and DTLS clients in total, with or without an allocation." },
	{ .name = "connections_per_address", .type = &cfg_count, IN(limits, connections_per_address),
	  .flags = CFG_RELOAD, .min = 1, .def = "100", .unit = "connections",
	  .help = "TCP, TLS and DTLS clients from one address; raise it if many clients share one public address." },
	{ .name = "bad_credentials", .type = &cfg_count, IN(limits, bad_credentials), .flags = CFG_RELOAD,
	  .min = 1, .def = "5", .unit = "failures",
	  .help = "Bad credentials of one user name from one address (IPv6: its /64) and worker, before further ones wait: they are "
		  "neither judged nor answered for a second, twice as long with each further round. Open sessions go on." },
	{ .name = "bad_credentials_per_address", .type = &cfg_count, IN(limits, bad_credentials_per_address),
	  .flags = CFG_RELOAD, .min = 1, .def = "100", .unit = "failures",
	  .help = "The same for all user names of an address together; users who got in from there within the last hour "
		  "are not held up by it." },
	{ .name = "backoff", .type = &cfg_duration, IN(limits, backoff_ms), .flags = CFG_RELOAD,
	  .min = 1000, .max = 3600000, .def = "60s",
	  .help = "Longest wait after bad credentials. Failures are half forgotten after ten minutes without one." },
	{ .name = "unauthenticated_bitrate", .type = &cfg_bitrate, IN(limits, unauthenticated_bitrate),
	  .flags = CFG_RELOAD, .min = 8000, .def = "64kbit/s", .unit = "bit/s",
	  .help = "What unauthenticated answers may exceed their requests by, per source prefix (IPv4 /24, IPv6 /48) and "
		  "worker, so that forged requests cannot turn this server against somebody; requests that carry a valid "
		  "nonce are not counted." },
};
static const struct cfg_schema limits_schema = SCHEMA("turn.limits", limits_rows, SIZE_OF(limits));

static const struct cfg_schema realm_user_schema =
	SCHEMA("turn.realms.users", user_rows, sizeof(struct turn_user_section));
static const struct cfg_schema realm_secret_schema =
	SCHEMA("turn.realms.secrets", secret_rows, sizeof(struct turn_secret_section));

static const struct cfg_row realm_peers_rows[] = {
	{ .name = "allow", .type = &cfg_prefix, CFG_AT(struct turn_peer_rules, allow), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Prefixes that clients of this realm may reach, beside those of turn.peers.allow; what turn.peers.deny "
		  "names stays refused." },
	{ .name = "deny", .type = &cfg_prefix, CFG_AT(struct turn_peer_rules, deny), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Prefixes that clients of this realm may not reach, beside those of turn.peers.deny." },
};
static const struct cfg_schema realm_peers_schema =
	SCHEMA("turn.realms.peers", realm_peers_rows, sizeof(struct turn_peer_rules));

#define REALM_LIMIT(n, t, u, lo, hi, h) \
	{ .name = #n, .type = &t, CFG_AT(struct turn_limits, n), .flags = CFG_RELOAD, .min = (lo), .max = (hi), .unit = u, .help = h }
static const struct cfg_row realm_limits_rows[] = {
	REALM_LIMIT(allocations, cfg_count, "allocations", 1, 0,
		    "Allocations of this realm; turn.limits.allocations holds too. Default: no limit of its own."),
	REALM_LIMIT(allocations_per_user, cfg_count, "allocations", 1, 0,
		    "Allocations of one user name in this realm. Default: as turn.limits.allocations_per_user says or, if "
		    "nothing is written there, 20 (unlimited if this realm has a password for all names)."),
	REALM_LIMIT(permissions_per_allocation, cfg_count, "peers", 1, 65535,
		    "As turn.limits.permissions_per_allocation, which is the default."),
	REALM_LIMIT(permissions, cfg_count, "peers", 1, 0,
		    "Permissions of this realm; turn.limits.permissions holds too. Default: no limit of its own."),
	REALM_LIMIT(permissions_per_user, cfg_count, "peers", 1, 0,
		    "Permissions of one user name in this realm. Default: as many as allocations_per_user and "
		    "permissions_per_allocation of this realm allow together."),
	REALM_LIMIT(channels_per_allocation, cfg_count, "channels", 1, 4096,
		    "As turn.limits.channels_per_allocation, which is the default."),
	REALM_LIMIT(channels, cfg_count, "channels", 1, 0,
		    "Channels of this realm; turn.limits.channels holds too. Default: no limit of its own."),
	REALM_LIMIT(channels_per_user, cfg_count, "channels", 1, 0,
		    "Channels of one user name in this realm; as permissions_per_user."),
	REALM_LIMIT(bitrate, cfg_bitrate, "bit/s", 64000, 0,
		    "Relayed traffic of this realm, both directions together; turn.limits.bitrate holds too. Default: no "
		    "limit of its own."),
	REALM_LIMIT(bitrate_per_user, cfg_bitrate, "bit/s", 64000, 0,
		    "Relayed traffic of one user name in this realm. Default: as turn.limits.bitrate_per_user says."),
};
static const struct cfg_schema realm_limits_schema =
	SCHEMA("turn.realms.limits", realm_limits_rows, sizeof(struct turn_limits));

#define REALM(member) CFG_AT(struct turn_realm_section, member)
static const struct cfg_row realm_rows[] = {
	{ .name = "name", .type = &cfg_string, REALM(name), .flags = CFG_REQUIRED | CFG_RELOAD, .min = 1, .max = 63,
	  .help = "Name of the realm, as clients hash it into their passwords; usually a domain." },
	{ .name = "server_names", .type = &cfg_string, REALM(server_names), .flags = CFG_LIST | CFG_RELOAD, .min = 1, .max = 253,
	  .help = "TLS and DTLS clients that ask for one of these host names (SNI) belong to this realm; \"*.partner.example\" "
		  "is any one label in front. The exact name beats the pattern." },
	{ .name = "listen", .type = &cfg_endpoint, REALM(listen), .flags = CFG_LIST | CFG_RELOAD, .choices = realm_protocols,
	  .help = "Clients that came to these addresses belong to this realm, unless a server name said otherwise; each "
		  "must be one of turn.listen, or an address that a listener on 0.0.0.0 or :: covers." },
	{ .name = "certificate", .type = &cfg_path, REALM(certificate), .flags = CFG_RELOAD,
	  .help = "PEM file with the certificate that clients are shown who ask for one of server_names, followed by its "
		  "chain. Default: turn.certificate." },
	{ .name = "key", .type = &cfg_path, REALM(key), .flags = CFG_RELOAD,
	  .help = "PEM file with the private key of this certificate." },
	{ .name = "password", .type = &cfg_string, REALM(password), .flags = CFG_RELOAD | CFG_SECRET, .min = 1, .max = 255,
	  .help = "One password for all clients of this realm, as turn.password." },
	{ .name = "users", .sub = &realm_user_schema, REALM(users), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Named users of this realm; the same name in another realm is somebody else. More can be added while the "
		  "server runs: `stile turn user add NAME --realm REALM`." },
	{ .name = "secrets", .sub = &realm_secret_schema, REALM(secrets), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Shared secrets of this realm's time-limited credentials." },
	{ .name = "peers", .sub = &realm_peers_schema, REALM(peers), .flags = CFG_RELOAD,
	  .help = "Which addresses clients of this realm may reach, on top of turn.peers." },
	{ .name = "limits", .sub = &realm_limits_schema, REALM(limits), .flags = CFG_RELOAD,
	  .help = "What clients of this realm may use of the server's turn.limits." },
};
static const struct cfg_schema realm_schema = SCHEMA("turn.realms", realm_rows, sizeof(struct turn_realm_section));

static const struct cfg_row proxy_rows[] = {
	{ .name = "from", .type = &cfg_prefix, IN(proxy_protocol, from), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Load balancers, as prefixes. A TCP or TLS connection from there must begin with a PROXY protocol "
		  "header of version 2 (haproxy: send-proxy-v2); the address that it tells is the client's, in limits, log "
		  "and answers. Whoever can connect from these addresses can pretend to be anybody." },
};
static const struct cfg_schema proxy_schema = SCHEMA("turn.proxy_protocol", proxy_rows, SIZE_OF(proxy_protocol));

static const char *const ourselves[] = { "turn", NULL };
static const struct cfg_row route_rows[] = {
	{ .name = "server_name", .type = &cfg_string, CFG_AT(struct front_route, server_name), .flags = CFG_LIST | CFG_RELOAD,
	  .min = 1, .max = 253,
	  .help = "Names that the client asks for (SNI); \"*.example.org\" is any one label in front. Absent: any name, or "
		  "none." },
	{ .name = "alpn", .type = &cfg_string, CFG_AT(struct front_route, alpn), .flags = CFG_LIST | CFG_RELOAD,
	  .min = 1, .max = 255,
	  .help = "Protocols of which the client offers one (ALPN): TURN's are stun.turn and stun.nat-discovery, a web "
		  "server's h2 and http/1.1. Absent: any, or none." },
	{ .name = "to", .type = &cfg_backend, CFG_AT(struct front_route, to), .flags = CFG_REQUIRED | CFG_RELOAD, .choices = ourselves,
	  .help = "Who gets the connection: turn, which is this server with its own TLS; a Unix socket, \"unix:/run/x.sock\"; "
		  "or a numeric address with a port." },
	{ .name = "proxy_protocol", .type = &cfg_bool, CFG_AT(struct front_route, proxy_protocol), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether the connection begins with a PROXY protocol header of version 2, which tells the client's address. "
		  "Stile's services on a Unix socket and nginx with \"listen … proxy_protocol\" want one." },
};
static const struct cfg_schema route_schema = SCHEMA("turn.front.routes", route_rows, sizeof(struct front_route));

static const struct cfg_row front_rows[] = {
	{ .name = "routes", .sub = &route_schema, IN(front, routes), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Where connections of \"front:\" listeners go, by what their TLS ClientHello asks for: the first route that "
		  "fits counts; what fits none is for turn. Plain STUN over TCP is for turn as long as one could be." },
	{ .name = "connections", .type = &cfg_count, IN(front, connections), .flags = CFG_RELOAD, .min = 1, .def = "10000",
	  .unit = "connections", .help = "Connections in total that wait for their ClientHello or are joined to a backend." },
	{ .name = "connections_per_address", .type = &cfg_count, IN(front, connections_per_address), .flags = CFG_RELOAD,
	  .min = 1, .def = "200", .unit = "connections",
	  .help = "The same from one address; raise it if many clients share one public address." },
	{ .name = "idle", .type = &cfg_duration, IN(front, idle_ms), .flags = CFG_RELOAD, .min = 10000, .max = 604800000, .def = "1h",
	  .help = "A connection with a backend on which no byte has moved for so long is closed." },
};
static const struct cfg_schema front_schema = SCHEMA("turn.front", front_rows, SIZE_OF(front));

static const struct cfg_row lifetime_rows[] = {
	{ .name = "default", .type = &cfg_duration, IN(lifetime, default_ms), .flags = CFG_RELOAD,
	  .min = 1000, .max = 86400000, .def = "600s",
	  .help = "Lifetime of an allocation whose client does not ask for one, between two refreshes." },
	{ .name = "max", .type = &cfg_duration, IN(lifetime, max_ms), .flags = CFG_RELOAD,
	  .min = 1000, .max = 86400000, .def = "3600s",
	  .help = "Longest lifetime a client can ask for." },
	{ .name = "nonce", .type = &cfg_duration, IN(lifetime, nonce_ms), .flags = CFG_RELOAD,
	  .min = 1000, .max = 86400000, .def = "600s",
	  .help = "How long a nonce is accepted; clients then get a new one by themselves (438 Stale Nonce)." },
};
static const struct cfg_schema lifetime_schema = SCHEMA("turn.lifetime", lifetime_rows, SIZE_OF(lifetime));

/* In the order of enum fast_mode. */
static const char *const fast_modes[] = { "off", "tc", "xdp", "auto", NULL };

static const struct cfg_row fast_path_rows[] = {
	{ .name = "mode", .type = &cfg_enum, IN(fast_path, mode), .choices = fast_modes, .def = "off",
	  .help = "off; or relay the channels of UDP clients in the kernel, by eBPF programs that stile-fastpath(8), a "
		  "service of its own, attaches to the interfaces: at TC ingress (tc), in the drivers (xdp), or in the drivers if "
		  "all of them run XDP natively and at TC ingress otherwise (auto). All else is relayed as ever. Firewall rules "
		  "of this machine see none of these packets." },
	{ .name = "interfaces", .type = &cfg_string, IN(fast_path, interfaces), .flags = CFG_LIST, .min = 1, .max = 15,
	  .help = "Names of the Ethernet interfaces that clients and peers are reached over. Default: all that are up and have "
		  "an address when stile-fastpath starts." },
	{ .name = "channels", .type = &cfg_u64, IN(fast_path, channels), .min = 1, .max = 1000000, .def = "16384",
	  .unit = "channels",
	  .help = "Channels that may be in the kernel at a time; each of them takes 64 bytes in advance and about 400 while it is there." },
};
static const struct cfg_schema fast_path_schema = SCHEMA("turn.fast_path", fast_path_rows, SIZE_OF(fast_path));

static const struct cfg_row turn_rows[] = {
	{ .name = "realm", .type = &cfg_string, CFG_AT(struct turn_config, realm), .flags = CFG_RELOAD,
	  .min = 1, .max = 127, .def = "stile",
	  .help = "Realm of the credentials; usually the domain. Passwords that clients have saved as a hash are bound "
		  "to it; after a change running sessions go on, and new ones are told the new name." },
	{ .name = "listen", .type = &cfg_endpoint, CFG_AT(struct turn_config, listen), .flags = CFG_LIST | CFG_RELOAD | CFG_UNIX,
	  .choices = protocols, .def = "udp:0.0.0.0:3478, tcp:0.0.0.0:3478",
	  .help = "Where clients connect: udp, tcp, tls or dtls, address and port, in the order they are recommended to "
		  "clients. tls and dtls need a certificate. \"front:0.0.0.0:443\" shares a port, see turn.front; "
		  "\"tls:unix:/run/stile/turn-443.sock\" takes what another service's front hands on. For networks that let out only web traffic: \"tls:0.0.0.0:443\". A reload "
		  "serves added ones at once; removed ones serve the allocations they have and close behind the last." },
	{ .name = "certificate", .type = &cfg_path, CFG_AT(struct turn_config, certificate),
	  .flags = CFG_RELOAD,
	  .help = "PEM file with the certificate for tls and dtls listeners, followed by its chain. A reload reads it "
		  "anew, also under the same name; connections that are open keep the old one." },
	{ .name = "key", .type = &cfg_path, CFG_AT(struct turn_config, key), .flags = CFG_RELOAD,
	  .help = "PEM file with the certificate's private key." },
	{ .name = "relay", .sub = &relay_schema, CFG_AT(struct turn_config, relay), .flags = CFG_RELOAD,
	  .help = "Relay sockets. A change counts for new allocations; those that exist keep what they have." },
	{ .name = "password", .type = &cfg_string, CFG_AT(struct turn_config, password),
	  .flags = CFG_RELOAD | CFG_SECRET, .min = 1, .max = 255,
	  .help = "One password for all clients, with any user name: the simple case of one UC server. Names that stand "
		  "in turn.users keep their own password." },
	{ .name = "users", .sub = &turn_user_schema, CFG_AT(struct turn_config, users), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Named users, each with a password; more can be added while the server runs." },
	{ .name = "secrets", .sub = &turn_secret_schema, CFG_AT(struct turn_config, secrets), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Shared secrets of time-limited credentials (the TURN REST API that WebRTC services use)." },
	{ .name = "peers", .sub = &peers_schema, CFG_AT(struct turn_config, peers), .flags = CFG_RELOAD,
	  .help = "Which addresses clients may reach through the relay, on top of the safe defaults." },
	{ .name = "limits", .sub = &limits_schema, CFG_AT(struct turn_config, limits), .flags = CFG_RELOAD,
	  .help = "What clients may use; every limit has its own error, counter and log line." },
	{ .name = "realms", .sub = &realm_schema, CFG_AT(struct turn_config, realms), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "More realms on this server, each with its own users, rules, share of the limits and certificate; the keys "
		  "above describe the default realm, whose clients are all others." },
	{ .name = "proxy_protocol", .sub = &proxy_schema, CFG_AT(struct turn_config, proxy_protocol), .flags = CFG_RELOAD,
	  .help = "Load balancers in front of TCP and TLS." },
	{ .name = "front", .sub = &front_schema, CFG_AT(struct turn_config, front), .flags = CFG_RELOAD,
	  .help = "Sharing a port, as 443, with web servers and other services: what \"front:\" listeners do." },
	{ .name = "lifetime", .sub = &lifetime_schema, CFG_AT(struct turn_config, lifetime), .flags = CFG_RELOAD,
	  .help = "How long allocations and nonces live." },
	{ .name = "drain", .type = &cfg_duration, CFG_AT(struct turn_config, drain_ms), .flags = CFG_RELOAD,
	  .max = 604800000, .def = "0s",
	  .help = "How long a stop (SIGTERM, systemctl stop) waits for allocations to end before it ends them; new ones are "
		  "refused meanwhile. 0: not at all. `stile turn drain` waits as long as it is told." },
	{ .name = "workers", .type = &cfg_u64, CFG_AT(struct turn_config, workers), .max = 250, .def = "0",
	  .unit = "threads", .help = "Worker threads; 0: one per core." },
	{ .name = "coalesce", .type = &cfg_u64, CFG_AT(struct turn_config, coalesce_us), .flags = CFG_RELOAD, .max = 200,
	  .def = "0", .unit = "us",
	  .help = "Microseconds that a worker waits under traffic before it looks for packets again, so that it finds several "
		  "at once: less CPU for each packet, and up to that much more delay. 0: it looks at once." },
	{ .name = "alternate_servers", .type = &cfg_addr, CFG_AT(struct turn_config, alternate_servers),
	  .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Other TURN servers, address:port for UDP and TCP. New clients are sent there (300 Try Alternate) while this "
		  "server drains or has turn.limits.allocations; each to one of its own address family." },
	{ .name = "alternate_tls_servers", .type = &cfg_addr, CFG_AT(struct turn_config, alternate_tls_servers),
	  .flags = CFG_LIST | CFG_RELOAD,
	  .help = "The same for clients that came over TLS or DTLS." },
	{ .name = "alternate_domain", .type = &cfg_string, CFG_AT(struct turn_config, alternate_domain), .flags = CFG_RELOAD,
	  .min = 1, .max = 253,
	  .help = "Domain name in the certificates of turn.alternate_tls_servers, for clients to verify them by." },
	{ .name = "fast_path", .sub = &fast_path_schema, CFG_AT(struct turn_config, fast_path),
	  .help = "Relaying in the kernel, for channels of UDP clients." },
	{ .name = "mobility", .type = &cfg_bool, CFG_AT(struct turn_config, mobility), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether clients may keep their allocation when their address changes (RFC 8016)." },
	{ .name = "software", .type = &cfg_string, CFG_AT(struct turn_config, software), .flags = CFG_RELOAD,
	  .max = 127, .def = "Stile", .help = "SOFTWARE attribute of answers; \"\" sends none." },
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct turn_config, log), .flags = CFG_OPTIONAL_MAP | CFG_RELOAD,
	  .help = "Log settings of stile-turn alone, instead of those of the log section." },
};
const struct cfg_schema turn_config_schema = SCHEMA("turn", turn_rows, sizeof(struct turn_config));

static const struct cfg_row root_rows[] = {
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct turn_root, log), .flags = CFG_RELOAD,
	  .help = "Where and how much the services log." },
	SERVICE_SANDBOX_ROW(struct turn_root),
	{ .name = "store", .sub = &cfg_store_schema, CFG_AT(struct turn_root, store),
	  .help = "Where objects are kept that are made while the services run." },
	{ .name = "stun_servers", .type = &cfg_hostport, CFG_AT(struct turn_root, stun_servers),
	  .flags = CFG_LIST | CFG_RELOAD, .most = PUBLIC_SERVERS_MAX,
	  .help = "STUN servers outside of this network, to find one's own public address." },
	{ .name = "turn", .sub = &turn_config_schema, CFG_AT(struct turn_root, turn),
	  .help = "The STUN and TURN server." },
};
/* clang-format on */
static const struct cfg_schema root_schema = SCHEMA("stile.yaml", root_rows, sizeof(struct turn_root));

static const char *const others[] = { "tunnel", "agent", "sip", "console", "gateway", "share", NULL };
const struct cfg_root turn_cfg_root = { .schema = &root_schema, .other_sections = others };

void turn_log_config(const void *values, struct log_config *ret_lc)
{
	const struct turn_root *root = values;

	log_section_config(root->turn.log ? root->turn.log : &root->log, ret_lc);
}

const char *turn_store_path(const void *values)
{
	return ((const struct turn_root *)values)->store.path;
}

struct addr turn_public_address(const struct turn_config *cfg, const struct addr *at)
{
	const struct addr *inside = cfg->relay.addresses.items, *outside = cfg->relay.outside.items;

	for (size_t i = 0; i < cfg->relay.addresses.n && i < cfg->relay.outside.n; i++)
		if (addr_equal_ip(&inside[i], at)) {
			struct addr a = outside[i];
			if (addr_family(&a) != AF_UNSPEC)
				addr_set_port(&a, addr_port(at));
			return a;
		}
	return *at;
}
