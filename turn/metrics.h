/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of stile-turn: the row enum is the order of turn_metric_rows. The label of each row has
 * a fixed set of values, whose position is the cell: an enum here, in turn/refusals.h or in
 * turn/policy.h. There are no user or peer labels; realms are few and the
 * administrator's. The edge adds its own rows at the end.
 */
#pragma once
#include "common/metrics.h"

enum turn_metric {
	TURN_M_ALLOCATIONS,	    /* gauge */
	TURN_M_ALLOCATIONS_CREATED, /* by proto of the client */
	TURN_M_ALLOCATIONS_ENDED,   /* by enum turn_end */
	TURN_M_PERMISSIONS,	    /* created */
	TURN_M_CHANNELS,	    /* bound */
	TURN_M_REQUESTS,	    /* by position in turn_methods */
	TURN_M_SUCCESSES,	    /* the same */
	TURN_M_REFUSALS,	    /* by enum turn_refusal */
	TURN_M_AUTH,		    /* by enum turn_auth */
	TURN_M_DROPS,		    /* by enum turn_drop */
	TURN_M_PACKETS,		    /* by enum turn_way */
	TURN_M_BYTES,		    /* the same */
	TURN_M_PEER_ERRORS,	    /* ICMP */
	TURN_M_REVOKED,		    /* by enum turn_revoked */
	TURN_M_OFFLOADED_PACKETS,   /* as TURN_M_PACKETS, which has them too */
	TURN_M_OFFLOADED_BYTES,
	TURN_M_OFFLOADED_CHANNELS,  /* gauge; the edge's */
	TURN_M_EXTERNAL_CHANGES,    /* main thread */
	TURN_M_EXTERNAL_FAILURES,   /* by enum public_why; main thread */
	TURN_M_REALM_ALLOCATIONS,   /* gauge; these by slot of the realm: turn/realm.h */
	TURN_M_REALM_CREATED,
	TURN_M_REALM_REFUSALS,
	TURN_M_REALM_BYTES,	    /* both directions; while there are several realms */
	TURN_M_DTLS_COOKIES,	    /* the edge's, as the next */
	TURN_M_QUEUE_DROPS,	    /* by enum turn_lane */
	TURN_M_BATCHING,	    /* gauge; by enum turn_batching */
	TURN_M_LATENCY,		    /* by position in turn_methods */
	TURN_METRICS
};
extern const struct metric_row turn_metric_rows[TURN_METRICS];

/* What the kernel takes or gives at once (common/dgram.h). */
enum turn_batching { TURN_BATCH_GRO, TURN_BATCH_GSO, TURN_BATCH_RING, TURN_BATCHINGS };

enum turn_way { TURN_UP, TURN_DOWN }; /* up: client to peer */

/* What a reload that forbids a peer has ended. */
enum turn_revoked { TURN_REVOKED_PERMISSION, TURN_REVOKED_CONNECTION, TURN_REVOKEDS };
extern const char *const turn_revoked_labels[TURN_REVOKEDS + 1];

/* Why a packet went nowhere. */
enum turn_drop {
	TURN_DROP_NOT_TURN,	  /* neither STUN nor ChannelData */
	TURN_DROP_MALFORMED,	  /* a length that lies, a bad indication */
	TURN_DROP_FINGERPRINT,
	TURN_DROP_UNEXPECTED,	  /* a response, an unknown method or indication */
	TURN_DROP_NO_ALLOCATION,
	TURN_DROP_NO_CHANNEL,	  /* never bound, or expired */
	TURN_DROP_NO_PERMISSION,  /* client to peer */
	TURN_DROP_PEER_UNWANTED,  /* peer to client, without permission */
	TURN_DROP_OWN_ADDRESS,	  /* an own address whose port is no live relay socket */
	TURN_DROP_BITRATE_USER,	  /* over turn.limits.bitrate_per_user */
	TURN_DROP_BITRATE_REALM,  /* over limits.bitrate of a realm */
	TURN_DROP_BITRATE_TOTAL,  /* over turn.limits.bitrate */
	TURN_DROP_BUDGET,	  /* an unauthenticated answer over its budget */
	TURN_DROP_TTL,		  /* arrived with its last hop */
	TURN_DROP_TOO_BIG,	  /* does not fit the frame to the client, or a datagram */
	TURN_DROP_CLIENT_AWAY,	  /* the connection broke, the client has not come back yet (RFC 8016) */
	TURN_DROP_ICMP_LIMIT,	  /* an ICMP error that was not told to the client: too many in a second */
	/* the edge's */
	TURN_DROP_BAD_FRAME,	  /* a stream that is neither STUN nor ChannelData: closed */
	TURN_DROP_CLIENT_SLOW,	  /* a client that does not read */
	TURN_DROP_CONN_LIMIT,	  /* a connection over turn.limits.connections* */
	TURN_DROP_CONN_UNUSED,	  /* a connection without an allocation, closed */
	TURN_DROP_CONN_FAILED,	  /* ended by an error before its first message: a TLS handshake, say */
	TURN_DROP_LEAVING,	  /* to a listener that was removed, from who has nothing there */
	TURN_DROP_PROXY_HEADER,	  /* a connection from a load balancer without a good PROXY header */
	TURN_DROP_FRONT_NOT_TLS,  /* to a front: neither TLS nor STUN */
	TURN_DROP_FRONT_BAD_HELLO,
	TURN_DROP_FRONT_SLOW,	  /* no whole ClientHello in time */
	TURN_DROP_FRONT_LIMIT,	  /* over turn.front.connections*, or too many that wait for their hello */
	TURN_DROP_FRONT_BACKEND_DOWN,
	TURN_DROP_NOT_DTLS,	  /* to a DTLS listener: of no session, and no ClientHello that opens one */
	TURN_DROPS
};
