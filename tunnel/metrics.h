/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of the relay: the row enum is the order of relay_metric_rows. The label of each row has a fixed set
 * of values, whose position is the cell: an enum here, or enum joint_end. There are no labels for routes or
 * sources; relay.route.list has the figures of each route.
 */
#pragma once
#include "common/metrics.h"

enum relay_metric {
	RELAY_M_CONNECTIONS, /* gauge, by enum relay_kind */
	RELAY_M_ACCEPTED,    /* the same */
	RELAY_M_REFUSED,     /* by enum relay_refusal */
	RELAY_M_ENDED,	     /* TCP connections, by enum joint_end */
	RELAY_M_TRIES,	     /* at targets that failed */
	RELAY_M_BYTES,	     /* by way: to_target, to_source */
	RELAY_M_CARRIED,     /* the same bytes of TCP, by how: spliced, copied */
	RELAY_M_PACKETS,     /* of UDP flows, by way */
	RELAY_M_UDP_DROPS,   /* by enum relay_udp_drop */
	RELAY_M_NAMES,	     /* of sources of TCP, by enum relay_name */
	RELAY_METRICS
};
extern const struct metric_row relay_metric_rows[RELAY_METRICS];

enum relay_kind { RELAY_TCP, RELAY_UDP };
enum relay_name { RELAY_NAME_FOUND, RELAY_NAME_NONE, RELAY_NAME_NOT_ASKED, RELAY_NAMES };

/* Why a connection or flow was not taken. */
enum relay_refusal {
	RELAY_REFUSED_SOURCE,	   /* not within tunnel.routes.allow */
	RELAY_REFUSED_LIMIT,	   /* tunnel.routes.limits.connections */
	RELAY_REFUSED_DESCRIPTORS, /* the process has none left */
	RELAY_REFUSED_DRAINING,
	RELAY_REFUSED_MEMORY,
	RELAY_REFUSALS
};
extern const char *const relay_refusal_texts[RELAY_REFUSALS]; /* sentences of the log */

enum relay_udp_drop {
	RELAY_DROP_BITRATE,
	RELAY_DROP_WAITING, /* more than a few before the target's name was resolved */
	RELAY_DROP_LOG,     /* its data log waits for the disk */
	RELAY_DROP_TARGET,  /* the target answered with an error (ICMP), or there is none */
	RELAY_UDP_DROPS
};
