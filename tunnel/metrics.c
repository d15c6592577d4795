/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the relay's counters in the order of enum relay_metric, and the label values in the order of the enums
 * that index them. Bytes are counted from live connections once a second, not only when one ends; counts of
 * each route are beside these, in struct route_totals, because metrics have no labels that grow.
 */
#include "tunnel/metrics.h"
#include "common/joint.h"

/* clang-format off */
const char *const relay_refusal_texts[RELAY_REFUSALS] = {
	[RELAY_REFUSED_SOURCE] = "the route does not allow this source",
	[RELAY_REFUSED_LIMIT] = "the route has as many connections as allowed",
	[RELAY_REFUSED_DESCRIPTORS] = "no descriptors are left",
	[RELAY_REFUSED_DRAINING] = "the service is about to stop",
	[RELAY_REFUSED_MEMORY] = "out of memory",
};

static const char *const kinds[] = { [RELAY_TCP] = "tcp", [RELAY_UDP] = "udp", NULL };
static const char *const ways[] = { "to_target", "to_source", NULL };
static const char *const carried[] = { "spliced", "copied", NULL };
static const char *const refusals[RELAY_REFUSALS + 1] = {
	[RELAY_REFUSED_SOURCE] = "source", [RELAY_REFUSED_LIMIT] = "limit", [RELAY_REFUSED_DESCRIPTORS] = "descriptors",
	[RELAY_REFUSED_DRAINING] = "draining", [RELAY_REFUSED_MEMORY] = "memory",
};
static const char *const drops[RELAY_UDP_DROPS + 1] = {
	[RELAY_DROP_BITRATE] = "bitrate", [RELAY_DROP_WAITING] = "waiting", [RELAY_DROP_LOG] = "log", [RELAY_DROP_TARGET] = "target",
};

static const char *const names[RELAY_NAMES + 1] = {
	[RELAY_NAME_FOUND] = "found", [RELAY_NAME_NONE] = "none", [RELAY_NAME_NOT_ASKED] = "not_asked",
};

const struct metric_row relay_metric_rows[RELAY_METRICS] = {
	[RELAY_M_CONNECTIONS] = { "stile_relay_connections", METRIC_GAUGE, "Connections and flows alive", "protocol", kinds, NULL },
	[RELAY_M_ACCEPTED] = { "stile_relay_accepted_total", METRIC_COUNTER, "Connections and flows taken", "protocol", kinds, NULL },
	[RELAY_M_REFUSED] = { "stile_relay_refused_total", METRIC_COUNTER, "Connections and flows refused, by reason", "reason", refusals, NULL },
	[RELAY_M_ENDED] = { "stile_relay_ended_total", METRIC_COUNTER, "TCP connections ended, by cause", "cause", joint_end_labels, NULL },
	[RELAY_M_TRIES] = { "stile_relay_target_failures_total", METRIC_COUNTER, "Tries to reach a target that failed", NULL, NULL, NULL },
	[RELAY_M_BYTES] = { "stile_relay_bytes_total", METRIC_COUNTER, "Payload bytes relayed, by direction", "direction", ways, NULL },
	[RELAY_M_CARRIED] = { "stile_relay_carried_bytes_total", METRIC_COUNTER, "Bytes of TCP by how they were carried", "path", carried, NULL },
	[RELAY_M_PACKETS] = { "stile_relay_packets_total", METRIC_COUNTER, "Datagrams relayed, by direction", "direction", ways, NULL },
	[RELAY_M_UDP_DROPS] = { "stile_relay_udp_drops_total", METRIC_COUNTER, "Datagrams dropped, by reason", "reason", drops, NULL },
	[RELAY_M_NAMES] = { "stile_relay_source_names_total", METRIC_COUNTER, "Names of sources looked up, by result", "result", names, NULL },
};
/* clang-format on */
