/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the jobs' counters in the order of enum job_metric, and the label values in the order of the enums that index
 * them. There are no labels for agents or jobs: tunnel.jobs has the figures of each. Reasons of ends are those of the
 * wire, in the order of enum wire_reason; a unit test holds the two alike.
 */
#include "tunnel/server/jobs_priv.h"

/* clang-format off */
static const double lags[] = { 0.001, 0.01, 0.1, 0.5, 1, 5, 0 };
static const char *const kinds[] = { "tcp", "udp", NULL };
static const char *const ways[] = { "to_target", "to_source", NULL };
static const char *const refusals[JOB_REFUSALS + 1] = {
	[JOB_REFUSED_SOURCE] = "source", [JOB_REFUSED_LIMIT] = "limit", [JOB_REFUSED_TOTAL] = "total",
	[JOB_REFUSED_DESCRIPTORS] = "descriptors", [JOB_REFUSED_AWAY] = "agent_away", [JOB_REFUSED_TARGET] = "target_down",
	[JOB_REFUSED_DRAINING] = "draining", [JOB_REFUSED_MEMORY] = "memory",
};
const char *const job_end_labels[WIRE_REASONS + 1] = {
	[WIRE_R_NONE] = "clean", [WIRE_R_PROTOCOL] = "protocol", [WIRE_R_VERSION] = "version", [WIRE_R_UNKNOWN_KEY] = "unknown_key",
	[WIRE_R_REVOKED] = "revoked", [WIRE_R_IN_USE] = "in_use", [WIRE_R_PASSWORD] = "password", [WIRE_R_NOT_APPROVED] = "not_approved",
	[WIRE_R_SESSION] = "session", [WIRE_R_LIMIT] = "limit", [WIRE_R_STOPPING] = "stopping", [WIRE_R_MEMORY] = "memory",
	[WIRE_R_REPLACED] = "replaced", [WIRE_R_KICKED] = "kicked", [WIRE_R_TIMEOUT] = "timeout", [WIRE_R_UNKNOWN_JOB] = "unknown_job",
	[WIRE_R_UNKNOWN_STREAM] = "unknown_stream", [WIRE_R_NOT_ALLOWED] = "not_allowed", [WIRE_R_NO_NAME] = "no_name",
	[WIRE_R_UNREACHABLE] = "unreachable", [WIRE_R_REFUSED] = "refused", [WIRE_R_RESET] = "reset", [WIRE_R_PORT_TAKEN] = "port_taken",
	[WIRE_R_PORT_FORBIDDEN] = "port_forbidden", [WIRE_R_EXPIRED] = "expired", [WIRE_R_PLAIN_FORBIDDEN] = "plain_forbidden",
	[WIRE_R_ERROR] = "error",
};

const struct metric_row job_metric_rows[JOB_METRICS] = {
	[JOB_M_JOBS] = { "stile_tunnel_jobs", METRIC_GAUGE, "Forward jobs of connected agents", NULL, NULL, NULL },
	[JOB_M_CONNECTIONS] = { "stile_tunnel_connections", METRIC_GAUGE, "Connections and flows of forward jobs", "protocol", kinds, NULL },
	[JOB_M_ACCEPTED] = { "stile_tunnel_accepted_total", METRIC_COUNTER, "Connections and flows taken", "protocol", kinds, NULL },
	[JOB_M_REFUSED] = { "stile_tunnel_refused_total", METRIC_COUNTER, "Connections and flows refused, by reason", "reason", refusals, NULL },
	[JOB_M_ENDED] = { "stile_tunnel_ended_total", METRIC_COUNTER, "Data connections ended, by reason", "reason", job_end_labels, NULL },
	[JOB_M_BYTES] = { "stile_tunnel_bytes_total", METRIC_COUNTER, "Payload bytes of forward jobs, by direction", "direction", ways, NULL },
	[JOB_M_LAG] = { "stile_tunnel_loop_lag_seconds", METRIC_HISTOGRAM, "How late the workers' heartbeats were", NULL, NULL, lags },
};
/* clang-format on */
