/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `sip` section of stile.yaml as schema rows: every key with its type, range, default and what an administrator
 * needs to know. What must hold between several of them is in sip-proxy/config_check.c.
 *
 * Names and meanings of the keys are promised to administrators: they grow, they do not change.
 */
#include "sip-proxy/config.h"
#include "stun/public.h"

#define IN(map, member)                                                                            \
	.offset = offsetof(struct sip_config, map.member) - offsetof(struct sip_config, map)
#define SIZE_OF(map) sizeof(((struct sip_config *)NULL)->map)
#define SCHEMA(n, r, s)                                                                            \
	{                                                                                          \
		.name = (n), .rows = (r), .n_rows = ARRAY_LEN(r), .size = (s)                      \
	}

const char *const sip_listen_protocols[] = { "udp", "tcp", "tls", "mtls", "ws", "wss", NULL };
const char *const sip_route_protocols[] = { "udp", "tcp", "tls", "mtls", NULL };
static const char *const digest_words[] = { "md5", "sha-256", NULL }; /* in the order of enum sip_digest_alg */

enum sip_proto sip_listen_proto_of(unsigned p, bool *ret_mutual)
{
	static const enum sip_proto protos[SIP_LISTEN_PROTOS] = {
		[SIP_LISTEN_UDP] = SIP_UDP,  [SIP_LISTEN_TCP] = SIP_TCP, [SIP_LISTEN_TLS] = SIP_TLS,
		[SIP_LISTEN_MTLS] = SIP_TLS, [SIP_LISTEN_WS] = SIP_WS,	 [SIP_LISTEN_WSS] = SIP_WSS,
	};

	*ret_mutual = p == SIP_LISTEN_MTLS;
	return protos[p < SIP_LISTEN_PROTOS ? p : SIP_LISTEN_UDP];
}

bool sip_listen_is_secure(const struct cfg_endpoint *e)
{
	bool mutual;

	return sip_proto_rows[sip_listen_proto_of(e->proto, &mutual)].secure;
}

bool sip_is_inside(const struct addr *a)
{
	switch (addr_classify(a)) {
	case ADDR_LOOPBACK:
	case ADDR_LINK_LOCAL:
	case ADDR_PRIVATE:
	case ADDR_UNIQUE_LOCAL: return true;
	default: return false;
	}
}

/* clang-format off */
static const struct cfg_row interface_rows[] = {
	{ .name = "listen", .type = &cfg_endpoint, CFG_AT(struct sip_interface_section, listen), .flags = CFG_REQUIRED | CFG_RELOAD,
	  .choices = sip_listen_protocols, .help = "Transport, address and port, as in sip.listen." },
	{ .name = "active", .type = &cfg_bool, CFG_AT(struct sip_interface_section, active), .flags = CFG_RELOAD, .def = "true",
	  .help = "Whether it listens. Switched off, its connections go on until they end." },
	{ .name = "certificate", .type = &cfg_path, CFG_AT(struct sip_interface_section, certificate), .flags = CFG_RELOAD,
	  .help = "PEM file with this interface's certificate, followed by its chain. Default: sip.certificate." },
	{ .name = "key", .type = &cfg_path, CFG_AT(struct sip_interface_section, key), .flags = CFG_RELOAD,
	  .help = "PEM file with the key of this certificate, without a passphrase. Default: sip.key." },
	{ .name = "ca", .type = &cfg_path, CFG_AT(struct sip_interface_section, ca), .flags = CFG_RELOAD,
	  .help = "PEM file with the CAs that others' certificates must come from here. Default: sip.ca." },
	{ .name = "advertise", .type = &cfg_string, CFG_AT(struct sip_interface_section, advertise), .flags = CFG_RELOAD, .min = 1, .max = 260,
	  .help = "Host, or host:port, by which others reach this interface behind a NAT: in Via, Record-Route and Contact in place of its "
		  "address. auto: its public address as stun_servers see it, followed when it changes, over UDP with the port that the router has "
		  "for it (kept open); auto:5060 with this port, which the router forwards." },
};
const struct cfg_schema sip_interface_schema = SCHEMA("sip.interfaces", interface_rows, sizeof(struct sip_interface_section));

static const struct cfg_row lan_rows[] = {
	{ .name = "listen", .type = &cfg_endpoint, IN(lan, listen), .flags = CFG_LIST | CFG_RELOAD, .choices = sip_listen_protocols,
	  .help = "Interfaces of the own network, as in sip.listen: who comes in here is trusted, its P-Asserted-Identity stands, and it "
		  "may send anywhere. Never an address that strangers can reach. With sip.lan.servers only they are trusted, once logged on. "
		  "Never trusted is a page in a browser (WebSocket with an Origin), for any page could speak as whoever looks at it." },
	{ .name = "servers", .sub = &sip_server_schema, IN(lan, servers), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "UC servers of our domains: each logs on (REGISTER for its own name), and the proxy finds out which user lives at which." },
	{ .name = "remember", .type = &cfg_duration, IN(lan, remember_ms), .flags = CFG_RELOAD, .min = 1000, .max = 86400000, .def = "10m",
	  .help = "How long it is remembered at which server a user was found, until all are asked again." },
	{ .name = "ask", .type = &cfg_duration, IN(lan, ask_ms), .flags = CFG_RELOAD, .min = 100, .max = 10000, .def = "2s",
	  .help = "How long the UC servers have to say whether a user is theirs, when nobody knows." },
};
static const struct cfg_schema lan_schema = SCHEMA("sip.lan", lan_rows, SIZE_OF(lan));

static const struct cfg_row user_rows[] = {
	{ .name = "name", .type = &cfg_string, CFG_AT(struct sip_user_section, name), .flags = CFG_REQUIRED | CFG_RELOAD, .min = 1, .max = 127,
	  .help = "User part of the address, and user name of the credentials: alice." },
	{ .name = "password", .type = &cfg_string, CFG_AT(struct sip_user_section, password), .flags = CFG_REQUIRED | CFG_RELOAD | CFG_SECRET,
	  .min = 1, .max = 255, .help = "Password of this user." },
	{ .name = "domain", .type = &cfg_string, CFG_AT(struct sip_user_section, domain), .flags = CFG_RELOAD, .min = 1, .max = 253,
	  .help = "One of sip.domains. Default: the first of them." },
};
const struct cfg_schema sip_user_schema = SCHEMA("sip.users", user_rows, sizeof(struct sip_user_section));

static const struct cfg_row route_rows[] = {
	{ .name = "domain", .type = &cfg_string, CFG_AT(struct sip_route_section, domain), .flags = CFG_REQUIRED | CFG_RELOAD, .min = 1, .max = 253,
	  .help = "Requests for users of this domain go this way. Each domain once." },
	{ .name = "host", .type = &cfg_string, CFG_AT(struct sip_route_section, host), .flags = CFG_REQUIRED | CFG_RELOAD, .min = 1, .max = 253,
	  .help = "Name or address of the gateway; a name is looked up while the service runs, all of its addresses are tried." },
	{ .name = "port", .type = &cfg_u64, CFG_AT(struct sip_route_section, port), .flags = CFG_RELOAD, .max = 65535, .def = "0",
	  .help = "Its port; 0: as its SRV records say, or the transport's own (5060, with TLS 5061)." },
	{ .name = "transport", .type = &cfg_enum, CFG_AT(struct sip_route_section, transport), .flags = CFG_RELOAD, .choices = sip_route_protocols,
	  .def = "tls", .help = "Transport; mtls shows our certificate and needs a listener mtls:." },
	{ .name = "bind", .type = &cfg_ip, CFG_AT(struct sip_route_section, bind), .flags = CFG_RELOAD,
	  .help = "Address of ours to send from; a listener of this transport must have it. Default: the system's choice." },
	{ .name = "active", .type = &cfg_bool, CFG_AT(struct sip_route_section, active), .flags = CFG_RELOAD, .def = "true",
	  .help = "Switched off, requests for the domain are refused as if there were no route; calls go on." },
	{ .name = "trusted", .type = &cfg_bool, CFG_AT(struct sip_route_section, trusted), .flags = CFG_RELOAD, .def = "false",
	  .help = "What comes from there needs no password: proven by its certificate, or over TLS or TCP from the gateway's own addresses. "
		  "With mtls this is so in any case. Else whoever speaks for the domain is asked for credentials of sip.users (407)." },
	{ .name = "user", .type = &cfg_string, CFG_AT(struct sip_route_section, user), .flags = CFG_RELOAD, .min = 1, .max = 127,
	  .help = "The account of sip.users by which the other side proves itself where it is not trusted. Default: any of them." },
};
const struct cfg_schema sip_route_schema = SCHEMA("sip.routes", route_rows, sizeof(struct sip_route_section));

static const struct cfg_row turn_rows[] = {
	{ .name = "uris", .type = &cfg_string, IN(turn, uris), .flags = CFG_LIST | CFG_RELOAD, .min = 6, .max = 255,
	  .help = "Where UC clients find stile-turn: turn:turn.example.org:3478?transport=udp, turns:turn.example.org:5349 (RFC 7065)." },
	{ .name = "secret", .type = &cfg_string, IN(turn, secret), .flags = CFG_RELOAD | CFG_SECRET, .min = 1, .max = 255,
	  .help = "The secret of one of turn.secrets: with it credentials are minted that stile-turn takes." },
	{ .name = "lifetime", .type = &cfg_duration, IN(turn, lifetime_ms), .flags = CFG_RELOAD, .min = 60000, .max = 604800000, .def = "12h",
	  .help = "How long such a credential is good; longer than a registration, which brings the next one." },
	{ .name = "header", .type = &cfg_string, IN(turn, header), .flags = CFG_RELOAD, .min = 1, .max = 63, .def = "X-TURN-Credentials",
	  .help = "Header by which a client asks in its REGISTER (with any value), and gets them in the answer." },
	{ .name = "plain", .type = &cfg_bool, IN(turn, plain), .flags = CFG_RELOAD, .def = "false",
	  .help = "Whether they are handed out over UDP, TCP and ws, too, where others can read them." },
};
static const struct cfg_schema turn_schema = SCHEMA("sip.turn", turn_rows, SIZE_OF(turn));

static const struct cfg_row sources_rows[] = {
	{ .name = "allow", .type = &cfg_prefix, IN(sources, allow), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Who may send at all. Empty: everybody who is not denied." },
	{ .name = "deny", .type = &cfg_prefix, IN(sources, deny), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Who is not heard, whatever else is said here. Nothing is answered." },
	{ .name = "unlimited", .type = &cfg_prefix, IN(sources, unlimited), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Servers of one's own: no rate, no limit of connections, no ban." },
	{ .name = "trusted", .type = &cfg_prefix, IN(sources, trusted), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Who is trusted as if it came in by sip.lan: TCP and TLS only, for a UDP source can be forged; and no page in a browser." },
};
static const struct cfg_schema sources_schema = SCHEMA("sip.sources", sources_rows, SIZE_OF(sources));

static const struct cfg_row limits_rows[] = {
	{ .name = "connections", .type = &cfg_count, IN(limits, connections), .flags = CFG_RELOAD, .min = 1, .def = "20000",
	  .help = "TCP and TLS connections in all." },
	{ .name = "connections_per_source", .type = &cfg_count, IN(limits, connections_per_source), .flags = CFG_RELOAD, .min = 1, .def = "1000",
	  .help = "Connections of one source (an IPv4 address, an IPv6 /64): a NAT's clients are one." },
	{ .name = "queue", .type = &cfg_size, IN(limits, queue), .flags = CFG_RELOAD, .min = 65536, .max = 1 << 26, .def = "512KiB",
	  .help = "Bytes that may wait for a peer that does not read." },
	{ .name = "rate", .type = &cfg_u64, IN(limits, rate), .flags = CFG_RELOAD, .max = 1000000, .def = "2000", .unit = "messages/s",
	  .help = "Messages a second from one source, before anything is parsed; 0: no limit. Beyond it datagrams are dropped, connections "
		  "are read more slowly." },
	{ .name = "burst", .type = &cfg_u64, IN(limits, burst), .flags = CFG_RELOAD, .min = 1, .max = 1000000, .def = "4000", .unit = "messages",
	  .help = "Messages that may come at once before the rate counts." },
	{ .name = "ban_after", .type = &cfg_u64, IN(limits, ban_after), .flags = CFG_RELOAD, .max = 1000000, .def = "20", .unit = "messages",
	  .help = "Messages that are not well-formed in a minute over TCP and TLS, after which a source is banned; 0: never." },
	{ .name = "ban", .type = &cfg_duration, IN(limits, ban_ms), .flags = CFG_RELOAD, .min = 1000, .max = 86400000, .def = "10m",
	  .help = "How long a ban lasts." },
	{ .name = "message", .type = &cfg_size, IN(limits, message_bytes), .flags = CFG_RELOAD, .min = 4096, .max = 1 << 24, .def = "1MiB",
	  .help = "Longest body of a message." },
	{ .name = "transactions", .type = &cfg_count, IN(limits, transactions), .flags = CFG_RELOAD, .min = 10, .max = 10000000, .def = "100000",
	  .help = "Transactions under way in all; beyond it requests are answered with 503 and Retry-After." },
	{ .name = "transactions_per_source", .type = &cfg_count, IN(limits, transactions_per_source), .flags = CFG_RELOAD, .min = 1,
	  .max = 10000000, .def = "20000", .help = "Transactions under way of one source." },
	{ .name = "registrations", .type = &cfg_count, IN(limits, registrations), .flags = CFG_RELOAD, .min = 1, .max = 10000000, .def = "100000",
	  .help = "Contacts that are registered, of all users." },
	{ .name = "registrations_per_user", .type = &cfg_count, IN(limits, registrations_per_user), .flags = CFG_RELOAD, .min = 1, .max = 16,
	  .def = "10", .help = "Contacts of one user; a REGISTER with more is refused." },
	{ .name = "memory", .type = &cfg_size, IN(limits, memory), .flags = CFG_RELOAD, .min = 1 << 20, .def = "512MiB",
	  .help = "Bytes of messages that are kept for transactions." },
	{ .name = "connect", .type = &cfg_duration, IN(limits, connect_ms), .flags = CFG_RELOAD, .min = 100, .max = 60000, .def = "4s",
	  .help = "Time to connect to a place, handshake included." },
	{ .name = "handshake", .type = &cfg_duration, IN(limits, handshake_ms), .flags = CFG_RELOAD, .min = 100, .max = 60000, .def = "5s",
	  .help = "Time for the TLS handshake of who connects to us." },
	{ .name = "first", .type = &cfg_duration, IN(limits, first_ms), .flags = CFG_RELOAD, .min = 1000, .max = 3600000, .def = "30s",
	  .help = "Time for the first message of who connects to us." },
	{ .name = "partial", .type = &cfg_duration, IN(limits, partial_ms), .flags = CFG_RELOAD, .min = 100, .max = 600000, .def = "10s",
	  .help = "Time for the rest of a message that has begun." },
	{ .name = "idle", .type = &cfg_duration, IN(limits, idle_ms), .flags = CFG_RELOAD, .max = 86400000, .def = "20m",
	  .help = "Silence after which a connection is closed; keep-alives count as words. 0: never." },
};
static const struct cfg_schema limits_schema = SCHEMA("sip.limits", limits_rows, SIZE_OF(limits));

static const struct cfg_row timers_rows[] = {
	{ .name = "t1", .type = &cfg_duration, IN(timers, t1_ms), .flags = CFG_RELOAD, .min = 50, .max = 10000, .def = "500ms",
	  .help = "RFC 3261's T1, the estimate of a round trip: first retransmission over UDP, and 64 of it until nobody has answered." },
	{ .name = "t2", .type = &cfg_duration, IN(timers, t2_ms), .flags = CFG_RELOAD, .min = 100, .max = 60000, .def = "4s",
	  .help = "Longest time between retransmissions." },
	{ .name = "t4", .type = &cfg_duration, IN(timers, t4_ms), .flags = CFG_RELOAD, .min = 100, .max = 60000, .def = "5s",
	  .help = "How long a message may be under way." },
	{ .name = "ringing", .type = &cfg_duration, IN(timers, ringing_ms), .flags = CFG_RELOAD, .min = 10000, .max = 3600000, .def = "181s",
	  .help = "How long a call may ring before it is cancelled (timer C)." },
	{ .name = "failover", .type = &cfg_duration, IN(timers, failover_ms), .flags = CFG_RELOAD, .min = 100, .max = 32000, .def = "800ms",
	  .help = "A place of a name with several that is silent for so long is no longer waited for alone: the next one is tried." },
	{ .name = "probe", .type = &cfg_duration, IN(timers, probe_ms), .flags = CFG_RELOAD, .max = 3600000, .def = "30s",
	  .help = "How often the gateways of sip.routes are asked whether they are there (OPTIONS), all places of each; 0: never. One that "
		  "does not answer is tried behind the others, and its return is seen by this." },
	{ .name = "keepalive", .type = &cfg_duration, IN(timers, keepalive_ms), .flags = CFG_RELOAD, .max = 3600000, .def = "95s",
	  .help = "Our CRLF keep-alives on connections that we made (RFC 5626); 0: none." },
};
static const struct cfg_schema timers_schema = SCHEMA("sip.timers", timers_rows, SIZE_OF(timers));

static const struct cfg_row sip_rows[] = {
	{ .name = "domains", .type = &cfg_string, CFG_AT(struct sip_config, domains), .flags = CFG_LIST | CFG_RELOAD, .min = 1, .max = 253,
	  .help = "Domains whose users are at home here. The first one is the realm of their credentials." },
	{ .name = "listen", .type = &cfg_endpoint, CFG_AT(struct sip_config, listen), .flags = CFG_LIST | CFG_RELOAD,
	  .choices = sip_listen_protocols, .def = "udp:0.0.0.0:5060, tcp:0.0.0.0:5060",
	  .help = "Where the proxy listens: udp, tcp, tls or mtls (TLS that demands a certificate), ws or wss (WebSocket, for browsers), "
		  "address and port. tls, mtls and wss need sip.certificate and sip.key." },
	{ .name = "interfaces", .sub = &sip_interface_schema, CFG_AT(struct sip_config, interfaces), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Listeners beside those of sip.listen that have a certificate or a public name of their own." },
	{ .name = "lan", .sub = &lan_schema, CFG_AT(struct sip_config, lan), .flags = CFG_RELOAD,
	  .help = "The side of the own network." },
	{ .name = "certificate", .type = &cfg_path, CFG_AT(struct sip_config, certificate), .flags = CFG_RELOAD,
	  .help = "PEM file with the certificate for tls and mtls, followed by its chain. It is shown to whom we connect to as well. Its "
		  "names should be those of sip.domains (RFC 5922)." },
	{ .name = "key", .type = &cfg_path, CFG_AT(struct sip_config, key), .flags = CFG_RELOAD,
	  .help = "PEM file with the key of the certificate, without a passphrase." },
	{ .name = "ca", .type = &cfg_path, CFG_AT(struct sip_config, ca), .flags = CFG_RELOAD,
	  .help = "PEM file with the CAs that others' certificates must come from. Default: the system's." },
	{ .name = "crl", .type = &cfg_path, CFG_AT(struct sip_config, crl), .flags = CFG_RELOAD,
	  .help = "PEM file with the revocation lists (CRL) of these CAs: a certificate that is in one is refused, and so is every one of a "
		  "CA whose list is out of date. A CA without a list is not asked for one. Read anew by a reload." },
	{ .name = "users", .sub = &sip_user_schema, CFG_AT(struct sip_config, users), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Accounts of those who may register here. More can be added while the service runs: stile sip user add." },
	{ .name = "digest", .type = &cfg_enum, CFG_AT(struct sip_config, digest), .flags = CFG_LIST | CFG_RELOAD, .choices = digest_words,
	  .help = "By which algorithms passwords are asked for. Empty: by each. digest: [md5] for clients that give up when they are offered "
		  "another one (baresip 1.0); [sha-256] once all can do it (RFC 8760)." },
	{ .name = "turn", .sub = &turn_schema, CFG_AT(struct sip_config, turn), .flags = CFG_RELOAD,
	  .help = "Credentials of stile-turn for UC clients behind NATs." },
	{ .name = "routes", .sub = &sip_route_schema, CFG_AT(struct sip_config, routes), .flags = CFG_LIST | CFG_RELOAD,
	  .help = "Where requests for other domains go. Only who is authenticated or trusted may use them." },
	{ .name = "use_routes", .type = &cfg_bool, CFG_AT(struct sip_config, use_routes), .flags = CFG_RELOAD, .def = "true",
	  .help = "One switch for all of sip.routes." },
	{ .name = "federation", .sub = &sip_federation_schema, CFG_AT(struct sip_config, federation), .flags = CFG_RELOAD,
	  .help = "Other domains that are found by the DNS and proven by their certificates." },
	{ .name = "sources", .sub = &sources_schema, CFG_AT(struct sip_config, sources), .flags = CFG_RELOAD,
	  .help = "Who may send, by address." },
	{ .name = "limits", .sub = &limits_schema, CFG_AT(struct sip_config, limits), .flags = CFG_RELOAD,
	  .help = "What others may use of this proxy." },
	{ .name = "timers", .sub = &timers_schema, CFG_AT(struct sip_config, timers), .flags = CFG_RELOAD, .help = "Times of RFC 3261 and of keep-alives." },
	{ .name = "service_route", .type = &cfg_string, CFG_AT(struct sip_config, service_route), .flags = CFG_RELOAD, .min = 1, .max = 255,
	  .help = "SIP URI that users who register are told to send all their requests through (Service-Route, RFC 3608), such as "
		  "sip:proxy.example.org;lr. Default: none is told." },
	{ .name = "overload_control", .type = &cfg_bool, CFG_AT(struct sip_config, overload_control), .flags = CFG_RELOAD, .def = "true",
	  .help = "Overload control with neighbours that take part in it (RFC 7339): a next hop that asks for fewer requests gets fewer new ones, "
		  "and before our own limits are reached others are asked." },
	{ .name = "drain", .type = &cfg_duration, CFG_AT(struct sip_config, drain_ms), .flags = CFG_RELOAD, .max = 604800000, .def = "5s",
	  .help = "How long a stop (SIGTERM, systemctl stop) waits for transactions to end; new requests are answered with 503 meanwhile." },
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct sip_config, log), .flags = CFG_OPTIONAL_MAP | CFG_RELOAD,
	  .help = "Log settings of stile-sip alone, instead of those of the log section." },
};
static const struct cfg_schema sip_schema = SCHEMA("sip", sip_rows, sizeof(struct sip_config));

static const struct cfg_row root_rows[] = {
	{ .name = "log", .sub = &cfg_log_schema, CFG_AT(struct sip_root, log), .flags = CFG_RELOAD,
	  .help = "Where and how much the services log." },
	SERVICE_SANDBOX_ROW(struct sip_root),
	{ .name = "store", .sub = &cfg_store_schema, CFG_AT(struct sip_root, store),
	  .help = "Where objects are kept that are made while the services run." },
	{ .name = "stun_servers", .type = &cfg_hostport, CFG_AT(struct sip_root, stun_servers), .flags = CFG_LIST | CFG_RELOAD, .most = PUBLIC_SERVERS_MAX,
	  .help = "STUN servers outside of this network, to find one's own public address." },
	{ .name = "sip", .sub = &sip_schema, CFG_AT(struct sip_root, sip), .help = "The SIP proxy." },
};
/* clang-format on */
static const struct cfg_schema root_schema = SCHEMA("stile.yaml", root_rows, sizeof(struct sip_root));

static const char *const others[] = { "turn", "tunnel", "agent", "console", "gateway", "share", NULL };
const struct cfg_root sip_cfg_root = { .schema = &root_schema, .other_sections = others };

void sip_log_config(const void *values, struct log_config *ret_lc)
{
	const struct sip_root *root = values;

	log_section_config(root->sip.log ? root->sip.log : &root->log, ret_lc);
}

const char *sip_store_path(const void *values)
{
	return ((const struct sip_root *)values)->store.path;
}
