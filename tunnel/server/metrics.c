/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the counters of the tunnel's server, in the order of enum tunnel_metric, and the values of their labels in the
 * order of the enums that index them. What became of a connection to the tunnel's port has a sentence for the log beside
 * its label.
 */
#include "tunnel/server/metrics.h"
#include "tunnel/link/wire.h"

/* clang-format off */
const char *const tunnel_arrived_texts[TUNNEL_ARRIVED] = {
	[TUNNEL_A_CONTROL] = "an agent's control connection",
	[TUNNEL_A_CARRIER] = "an agent's carrier",
	[TUNNEL_A_PLAIN] = "an agent's plain carrier",
	[TUNNEL_A_RELAY] = "an agent's end of a relay to another agent",
	[TUNNEL_A_GARBAGE] = "it spoke no TLS: a port scanner, or a client of something else",
	[TUNNEL_A_TLS] = "the TLS handshake failed",
	[TUNNEL_A_PROTOCOL] = "it did not keep to the protocol",
	[TUNNEL_A_SLOW] = "it did not finish its greeting in time",
	[TUNNEL_A_REFUSED] = "it was refused",
	[TUNNEL_A_LEFT] = "it went before it was welcome",
	[TUNNEL_A_LIMIT] = "there are too many unfinished greetings, in all or of this source",
	[TUNNEL_A_SHORT] = "no memory or descriptors are left, or the service is about to stop",
};

static const char *const arrived[TUNNEL_ARRIVED + 1] = {
	[TUNNEL_A_CONTROL] = "control", [TUNNEL_A_CARRIER] = "carrier", [TUNNEL_A_PLAIN] = "plain", [TUNNEL_A_RELAY] = "relay",
	[TUNNEL_A_GARBAGE] = "garbage",
	[TUNNEL_A_TLS] = "tls", [TUNNEL_A_PROTOCOL] = "protocol", [TUNNEL_A_SLOW] = "slow", [TUNNEL_A_REFUSED] = "refused",
	[TUNNEL_A_LEFT] = "left", [TUNNEL_A_LIMIT] = "limit", [TUNNEL_A_SHORT] = "short",
};
static const char *const ended[] = { [TUNNEL_E_CLEAN] = "clean", [TUNNEL_E_RESET] = "reset", [TUNNEL_E_LOST] = "lost", NULL };
static const char *const signals[] = { [TUNNEL_SIGNAL_PASSED] = "passed", [TUNNEL_SIGNAL_LOST] = "lost", [TUNNEL_SIGNAL_LIMITED] = "limited", NULL };
static const char *const reaches[] = { "other", [WIRE_REACH_OURS] = "ours", [WIRE_REACH_OPEN] = "open", [WIRE_REACH_REFUSED] = "refused",
					[WIRE_REACH_SILENT] = "silent", [WIRE_REACH_NO_WAY] = "no-way", [WIRE_REACH_LIMIT] = "limit", NULL };
static const char *const ways[] = { "to_target", "to_client", NULL };

const struct metric_row tunnel_metric_rows[TUNNEL_METRICS] = {
	[TUNNEL_M_STRANGERS] = { "stile_tunnel_strangers", METRIC_GAUGE, "Connections that have not been welcomed yet", NULL, NULL, NULL },
	[TUNNEL_M_ARRIVED] = { "stile_tunnel_arrived_total", METRIC_COUNTER, "Connections to the tunnel's ports, by what became of them", "outcome", arrived, NULL },
	[TUNNEL_M_LINKS] = { "stile_tunnel_links", METRIC_GAUGE, "Agents whose control connection is up", NULL, NULL, NULL },
	[TUNNEL_M_LOST] = { "stile_tunnel_links_lost_total", METRIC_COUNTER, "Control connections that were lost", NULL, NULL, NULL },
	[TUNNEL_M_CARRIERS] = { "stile_tunnel_carriers", METRIC_GAUGE, "Carriers, idle and busy", NULL, NULL, NULL },
	[TUNNEL_M_STREAMS] = { "stile_tunnel_link_data_connections", METRIC_GAUGE, "Data connections and flows", NULL, NULL, NULL },
	[TUNNEL_M_OPENED] = { "stile_tunnel_link_opened_total", METRIC_COUNTER, "Data connections and flows begun", NULL, NULL, NULL },
	[TUNNEL_M_RESUMED] = { "stile_tunnel_link_resumed_total", METRIC_COUNTER, "Data connections that went on over another carrier", NULL, NULL, NULL },
	[TUNNEL_M_ENDED] = { "stile_tunnel_link_ended_total", METRIC_COUNTER, "Data connections ended, by how", "how", ended, NULL },
	[TUNNEL_M_BYTES] = { "stile_tunnel_link_bytes_total", METRIC_COUNTER, "Payload bytes through the tunnel, by direction", "direction", ways, NULL },
	[TUNNEL_M_SIGNALS] = { "stile_tunnel_signals_total", METRIC_COUNTER, "What agents said to each other through the server, by what became of it", "outcome", signals, NULL },
	[TUNNEL_M_RELAYS] = { "stile_tunnel_agent_relays", METRIC_GAUGE, "Relays between two agents", NULL, NULL, NULL },
	[TUNNEL_M_RELAY_BYTES] = { "stile_tunnel_agent_relay_bytes_total", METRIC_COUNTER, "Bytes through relays between two agents", NULL, NULL, NULL },
	[TUNNEL_M_REACHES] = { "stile_tunnel_reach_tests_total", METRIC_COUNTER, "Connections back that agents asked for, by what became of them", "result", reaches, NULL },
};
/* clang-format on */
