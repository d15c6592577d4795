/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the findings of NAT discovery are called, and what they mean for somebody who wants a direct
 * connection: the classic names of RFC 3489 5 from the two behaviours of RFC 4787. Pure functions over
 * tables; nothing is decided here that was not found out in stun/nat.c.
 */
#include "stun/nat.h"

static const struct {
	const char *name, *key, *meaning;
} types[NAT_TYPES] = {
	[NAT_UNKNOWN] = { "Unknown", "unknown", "what was seen does not tell whether direct connections work" },
	[NAT_OPEN_INTERNET] = { "Open Internet", "open-internet",
				"there is no NAT and no filter: everybody can connect directly" },
	[NAT_FULL_CONE] = { "Full Cone", "full-cone",
			    "direct connections work with everybody, once this side has sent a first packet anywhere" },
	[NAT_RESTRICTED_CONE] = { "Restricted Cone", "restricted-cone",
				  "direct connections work with nearly everybody, also with symmetric NATs, if both sides "
				  "begin (ICE does that)" },
	[NAT_RESTRICTED_PORT_CONE] = { "Restricted Port Cone", "restricted-port-cone",
				       "direct connections work if both sides begin (ICE does that), except with peers behind "
				       "a symmetric NAT: those need a relay (TURN)" },
	[NAT_SYMMETRIC] = { "Symmetric", "symmetric",
			    "direct connections work only with peers that are open, full cone or restricted cone; all others "
			    "need a relay (TURN)" },
	[NAT_UDP_BLOCKED] = { "Firewall blocks UDP", "udp-blocked",
			      "nothing direct over UDP: a relay (TURN) over TCP or TLS, best on port 443, is the only way" },
	[NAT_SYMMETRIC_FIREWALL] = { "Symmetric UDP Firewall", "symmetric-firewall",
				     "no NAT, but a firewall lets in only answers: direct connections work if both sides begin "
				     "(ICE does that)" },
};

static const char *const mappings[NAT_MAPPINGS] = {
	[NAT_MAPPING_UNKNOWN] = "unknown",
	[NAT_MAPPING_NONE] = "none",
	[NAT_MAPPING_ENDPOINT] = "endpoint-independent",
	[NAT_MAPPING_ADDRESS] = "address-dependent",
	[NAT_MAPPING_ADDRESS_PORT] = "address-and-port-dependent",
	[NAT_MAPPING_VARIES] = "varies by destination",
};

static const char *const filterings[NAT_FILTERINGS] = {
	[NAT_FILTERING_UNKNOWN] = "unknown",
	[NAT_FILTERING_ENDPOINT] = "endpoint-independent",
	[NAT_FILTERING_ADDRESS] = "address-dependent",
	[NAT_FILTERING_ADDRESS_PORT] = "address-and-port-dependent",
};

enum nat_type nat_type_of(bool answered, enum nat_mapping m, enum nat_filtering f, unsigned gaps)
{
	static const enum nat_type cone[NAT_FILTERINGS] = { NAT_UNKNOWN, NAT_FULL_CONE, NAT_RESTRICTED_CONE,
							    NAT_RESTRICTED_PORT_CONE };
	static const enum nat_type none[NAT_FILTERINGS] = { NAT_UNKNOWN, NAT_OPEN_INTERNET, NAT_SYMMETRIC_FIREWALL,
							    NAT_SYMMETRIC_FIREWALL };

	if (!answered)
		return NAT_UDP_BLOCKED;
	if (gaps & NAT_GAP_INSIDE) /* beyond it there may be anything */
		return NAT_UNKNOWN;
	switch (m) {
	case NAT_MAPPING_NONE: return none[f];
	case NAT_MAPPING_ENDPOINT: return cone[f];
	case NAT_MAPPING_ADDRESS:
	case NAT_MAPPING_ADDRESS_PORT:
	case NAT_MAPPING_VARIES: return NAT_SYMMETRIC;
	default: return NAT_UNKNOWN;
	}
}

const char *nat_type_name(enum nat_type t)
{
	return types[t].name;
}

const char *nat_type_key(enum nat_type t)
{
	return types[t].key;
}

const char *nat_type_meaning(enum nat_type t)
{
	return types[t].meaning;
}

/* What two agents find between them: UDP by ICE, by probes, TCP, or a relay. */
const char *nat_type_reaches(enum nat_type t)
{
	static const char anybody[] = "agents reach every site directly, but those that let out port 443 only (by a relay)";
	static const char *const texts[NAT_TYPES] = {
		[NAT_UNKNOWN] = "stile ping AGENT --until-direct tells what becomes of a link",
		[NAT_OPEN_INTERNET] = anybody,
		[NAT_FULL_CONE] = anybody,
		[NAT_RESTRICTED_CONE] = anybody,
		[NAT_RESTRICTED_PORT_CONE] = "agents reach other sites directly; symmetric ones within a minute, by probes; those that let "
					     "out port 443 only by a relay",
		[NAT_SYMMETRIC] = "agents reach open, full cone and restricted cone sites directly; restricted port cones and firewalls "
				  "within a minute, by probes; other symmetric ones, and where UDP is blocked, by a relay, unless a "
				  "router opens a port (UPnP, NAT-PMP, PCP)",
		[NAT_UDP_BLOCKED] = "agents reach other sites directly over TCP, if any TCP port may be left by; symmetric ones by a relay",
		[NAT_SYMMETRIC_FIREWALL] = "agents reach other sites directly; symmetric ones within a minute, by probes; those that let out "
					   "port 443 only by a relay",
	};

	return texts[t];
}

const char *nat_mapping_name(enum nat_mapping m)
{
	return mappings[m];
}

const char *nat_filtering_name(enum nat_filtering f)
{
	return filterings[f];
}

const char *nat_gap_text(enum nat_gap one)
{
	switch (one) {
	case NAT_GAP_NO_OTHER:
		return "the server has only one address, so how strangers are filtered cannot be seen; ask one with two "
		       "addresses and two ports (RFC 5780)";
	case NAT_GAP_OTHER_SILENT:
		return "the server's other address or port does not answer, so its silence says nothing about the NAT";
	case NAT_GAP_NO_CHANGE:
		return "the server does not answer from its other address, so how strangers are filtered cannot be seen";
	case NAT_GAP_INSIDE:
		return "the server is on this side of a NAT, so it cannot tell what is beyond; ask one on the internet";
	case NAT_GAP_NO_RESPONSE_PORT:
		return "the server does not know RESPONSE-PORT (RFC 5780), so how long bindings live cannot be measured";
	case NAT_GAP_REFUSED:
		return "the server refuses to tell our address; it may want credentials even for that";
	default:
		return NULL;
	}
}
