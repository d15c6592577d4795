/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the counters in the order of enum turn_metric, and the label values in the order of the
 * enums that index them. The values of refusals and auth results are short forms of their rows'
 * texts; a unit test holds that none is missing.
 */
#include "turn/metrics.h"
#include "stun/public.h"
#include "turn/alloc.h"
#include "turn/core.h"
#include "turn/lanes.h"
#include "turn/refusals.h"

/* clang-format off */
static const char *const protos[] = {
	[TURN_UDP] = "udp", [TURN_TCP] = "tcp", [TURN_TLS] = "tls", [TURN_DTLS] = "dtls", NULL,
};
static const char *const ends[TURN_ENDS + 1] = {
	[TURN_END_EXPIRED] = "expired", [TURN_END_RELEASED] = "released", [TURN_END_DISCONNECTED] = "disconnected",
	[TURN_END_KILLED] = "killed", [TURN_END_STOPPED] = "stopped",
};
static const char *const methods[] = {
	[TURN_METHOD_BINDING] = "binding", [TURN_METHOD_ALLOCATE] = "allocate", [TURN_METHOD_REFRESH] = "refresh",
	[TURN_METHOD_CREATE_PERMISSION] = "create_permission", [TURN_METHOD_CHANNEL_BIND] = "channel_bind",
	[TURN_METHOD_CONNECT] = "connect", [TURN_METHOD_CONNECTION_BIND] = "connection_bind", NULL,
};
static const char *const auths[TURN_AUTH_CODES + 1] = {
	[TURN_AUTH_OK] = "ok", [TURN_AUTH_UNKNOWN_USER] = "unknown_user", [TURN_AUTH_WRONG_PASSWORD] = "wrong_password",
	[TURN_AUTH_EXPIRED] = "expired", [TURN_AUTH_WRONG_REALM] = "wrong_realm", [TURN_AUTH_BAD_USERNAME] = "bad_username",
	[TURN_AUTH_UNKNOWN_USERHASH] = "unknown_userhash", [TURN_AUTH_BAD_ALGORITHM] = "bad_algorithm", [TURN_AUTH_NO_MEMORY] = "no_memory",
};
static const char *const drops[TURN_DROPS + 1] = {
	[TURN_DROP_NOT_TURN] = "not_turn", [TURN_DROP_MALFORMED] = "malformed", [TURN_DROP_FINGERPRINT] = "fingerprint",
	[TURN_DROP_UNEXPECTED] = "unexpected", [TURN_DROP_NO_ALLOCATION] = "no_allocation",
	[TURN_DROP_NO_CHANNEL] = "no_channel", [TURN_DROP_NO_PERMISSION] = "no_permission",
	[TURN_DROP_PEER_UNWANTED] = "peer_unwanted", [TURN_DROP_OWN_ADDRESS] = "own_address",
	[TURN_DROP_BITRATE_USER] = "bitrate_user", [TURN_DROP_BITRATE_REALM] = "bitrate_realm",
	[TURN_DROP_BITRATE_TOTAL] = "bitrate_total",
	[TURN_DROP_BUDGET] = "unauthenticated_budget", [TURN_DROP_TTL] = "ttl",
	[TURN_DROP_TOO_BIG] = "too_big", [TURN_DROP_CLIENT_AWAY] = "client_away",
	[TURN_DROP_ICMP_LIMIT] = "icmp_limit",
	[TURN_DROP_BAD_FRAME] = "bad_frame",
	[TURN_DROP_CLIENT_SLOW] = "client_slow", [TURN_DROP_CONN_LIMIT] = "connection_limit",
	[TURN_DROP_CONN_UNUSED] = "connection_unused", [TURN_DROP_CONN_FAILED] = "connection_failed",
	[TURN_DROP_PROXY_HEADER] = "proxy_header",
	[TURN_DROP_FRONT_NOT_TLS] = "front_not_tls", [TURN_DROP_FRONT_BAD_HELLO] = "front_bad_hello",
	[TURN_DROP_FRONT_SLOW] = "front_slow", [TURN_DROP_FRONT_LIMIT] = "front_limit",
	[TURN_DROP_FRONT_BACKEND_DOWN] = "front_backend_down",
	[TURN_DROP_LEAVING] = "listener_removed", [TURN_DROP_NOT_DTLS] = "not_dtls",
};
const char *const turn_revoked_labels[TURN_REVOKEDS + 1] = {
	[TURN_REVOKED_PERMISSION] = "permission", [TURN_REVOKED_CONNECTION] = "connection",
};
static const char *const public_whys[PUBLIC_WHYS + 1] = { /* public_why_key() */
	[PUBLIC_FOUND] = "found", [PUBLIC_ASKING] = "asking", [PUBLIC_NO_SERVERS] = "no-servers", [PUBLIC_NO_NAME] = "no-name",
	[PUBLIC_NO_WAY] = "no-way", [PUBLIC_SILENT] = "silent", [PUBLIC_REFUSED] = "refused", [PUBLIC_INSIDE] = "same-nat",
	[PUBLIC_DISAGREE] = "disagree", [PUBLIC_FAILED] = "failed",
};
static const char *const batchings[TURN_BATCHINGS + 1] = {
	[TURN_BATCH_GRO] = "gro", [TURN_BATCH_GSO] = "gso", [TURN_BATCH_RING] = "ring",
};
static const char *const lanes[] = {
	[TURN_LANE_STRANGERS] = "strangers", [TURN_LANE_REQUESTS] = "requests", [TURN_LANE_DATA] = "data", NULL,
};
static const char *const ways[] = { [TURN_UP] = "to_peer", [TURN_DOWN] = "to_client", NULL };

/* 5 us is an answer from memory, 100 us what signatures may cost, beyond 10 ms something is wrong. */
static const double durations[] = { 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 0.1, 1, 0 };

const struct metric_row turn_metric_rows[TURN_METRICS] = {
	[TURN_M_ALLOCATIONS] = { "stile_turn_allocations", METRIC_GAUGE, "Allocations alive", NULL, NULL, NULL },
	[TURN_M_ALLOCATIONS_CREATED] = { "stile_turn_allocations_created_total", METRIC_COUNTER,
		"Allocations created, by the client's transport", "transport", protos, NULL },
	[TURN_M_ALLOCATIONS_ENDED] = { "stile_turn_allocations_ended_total", METRIC_COUNTER,
		"Allocations ended, by cause", "cause", ends, NULL },
	[TURN_M_PERMISSIONS] = { "stile_turn_permissions_created_total", METRIC_COUNTER, "Permissions created", NULL, NULL, NULL },
	[TURN_M_CHANNELS] = { "stile_turn_channels_bound_total", METRIC_COUNTER, "Channels bound", NULL, NULL, NULL },
	[TURN_M_REQUESTS] = { "stile_turn_requests_total", METRIC_COUNTER, "Requests received, by method", "method", methods, NULL },
	[TURN_M_SUCCESSES] = { "stile_turn_successes_total", METRIC_COUNTER, "Requests answered with success, by method", "method", methods, NULL },
	[TURN_M_REFUSALS] = { "stile_turn_refusals_total", METRIC_COUNTER, "Requests refused, by reason", "reason", turn_refusal_labels, NULL },
	[TURN_M_AUTH] = { "stile_turn_auth_total", METRIC_COUNTER, "Credentials checked, by result", "result", auths, NULL },
	[TURN_M_DROPS] = { "stile_turn_drops_total", METRIC_COUNTER, "Packets and connections dropped, by reason", "reason", drops, NULL },
	[TURN_M_PACKETS] = { "stile_turn_relayed_packets_total", METRIC_COUNTER, "Packets relayed, by direction", "direction", ways, NULL },
	[TURN_M_BYTES] = { "stile_turn_relayed_bytes_total", METRIC_COUNTER, "Payload bytes relayed, by direction", "direction", ways, NULL },
	[TURN_M_OFFLOADED_PACKETS] = { "stile_turn_offloaded_packets_total", METRIC_COUNTER,
		"Packets relayed in the kernel, by direction; part of stile_turn_relayed_packets_total", "direction", ways, NULL },
	[TURN_M_OFFLOADED_BYTES] = { "stile_turn_offloaded_bytes_total", METRIC_COUNTER,
		"Payload bytes relayed in the kernel, by direction; part of stile_turn_relayed_bytes_total", "direction", ways, NULL },
	[TURN_M_OFFLOADED_CHANNELS] = { "stile_turn_offloaded_channels", METRIC_GAUGE, "Channels in the kernel", NULL, NULL, NULL },
	[TURN_M_BATCHING] = { "stile_turn_batching_workers", METRIC_GAUGE,
		"Workers that receive runs of datagrams at once (gro), send them so (gso), and send by many sockets with one call (ring)",
		"feature", batchings, NULL },
	[TURN_M_REALM_ALLOCATIONS] = { "stile_turn_realm_allocations", METRIC_GAUGE, "Allocations alive, by realm", "realm", NULL, NULL,
		TURN_REALM_SLOTS },
	[TURN_M_REALM_CREATED] = { "stile_turn_realm_allocations_created_total", METRIC_COUNTER, "Allocations created, by realm",
		"realm", NULL, NULL, TURN_REALM_SLOTS },
	[TURN_M_REALM_REFUSALS] = { "stile_turn_realm_refusals_total", METRIC_COUNTER,
		"Requests refused beyond the first challenge, by realm", "realm", NULL, NULL, TURN_REALM_SLOTS },
	[TURN_M_REALM_BYTES] = { "stile_turn_realm_relayed_bytes_total", METRIC_COUNTER,
		"Payload bytes relayed, both directions, by realm; counted while there are several", "realm", NULL, NULL, TURN_REALM_SLOTS },
	[TURN_M_DTLS_COOKIES] = { "stile_turn_dtls_cookie_requests_total", METRIC_COUNTER,
		"DTLS clients asked to show that they are where they say (HelloVerifyRequest): the first step of each", NULL, NULL, NULL },
	[TURN_M_QUEUE_DROPS] = { "stile_turn_receive_queue_drops_total", METRIC_COUNTER,
		"Datagrams that the kernel dropped because a listener's receive queue was full, by lane", "lane", lanes, NULL },
	[TURN_M_LATENCY] = { "stile_turn_request_duration_seconds", METRIC_HISTOGRAM,
		"Time from a request's first byte in hand to its answer in the output queue, by method", "method", methods, durations },
	[TURN_M_PEER_ERRORS] = { "stile_turn_peer_errors_total", METRIC_COUNTER, "ICMP errors that peers answered with", NULL, NULL, NULL },
	[TURN_M_EXTERNAL_CHANGES] = { "stile_turn_external_address_changes_total", METRIC_COUNTER,
		"Public addresses found that were not known before (turn.relay.external: auto)", NULL, NULL, NULL },
	[TURN_M_EXTERNAL_FAILURES] = { "stile_turn_external_address_failures_total", METRIC_COUNTER,
		"Rounds of stun_servers that could not tell the public address, by reason", "reason", public_whys, NULL },
	[TURN_M_REVOKED] = { "stile_turn_revoked_total", METRIC_COUNTER,
		"Permissions and TCP connections ended because a reload forbids their peer", "what", turn_revoked_labels, NULL },
};
/* clang-format on */
