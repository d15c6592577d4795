/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of stile-sip: the order of enum sip_metric is that of the rows in sip-
 * proxy/metrics.c, and the enums below index the labels. One worker (the protocol thread), so the
 * worker's index is always 0. Written by the protocol thread alone.
 */
#pragma once
#include "common/metrics.h"
#include "sip-proxy/msg.h"

enum sip_metric {
	SIP_M_REQUESTS_IN,
	SIP_M_REQUESTS_OUT,
	SIP_M_RESPONSES_IN,
	SIP_M_RESPONSES_OUT,
	SIP_M_BYTES_IN,
	SIP_M_BYTES_OUT,
	SIP_M_DROPS,
	SIP_M_KERNEL_DROPS,
	SIP_M_BAD,
	SIP_M_CONNECTIONS,
	SIP_M_CONNECTIONS_OPENED,
	SIP_M_CONNECTION_FAILURES,
	SIP_M_KEEPALIVES,
	SIP_M_SEND_FAILURES,
	SIP_M_BANNED,
	SIP_M_TRANSACTIONS,
	SIP_M_TRANSACTION_BYTES,
	SIP_M_TRANSACTIONS_STARTED,
	SIP_M_RETRANSMISSIONS,
	SIP_M_TIMEOUTS,
	SIP_M_STRAYS,
	SIP_M_FAILOVERS,
	SIP_M_LATENCY,
	SIP_M_SETUP,
	SIP_M_REFUSALS,
	SIP_M_LOOKUPS,
	SIP_M_ANSWERS,
	SIP_M_OVERLOAD,
	SIP_M_HELD_BACK,
	SIP_M_SPARED,
	SIP_M_REGISTRATIONS,
	SIP_M_REGISTRATIONS_UNWRITTEN,
	SIP_M_LOGONS,
	SIP_M_SERVERS,
	SIP_M_SERVER_USERS,
	SIP_M_QUESTIONS,
	SIP_M_USER_CONFLICTS,
	SIP_M_CERTIFICATE_END,
	SIP_METRICS
};
extern const struct metric_row sip_metric_rows[SIP_METRICS];

/* Why a packet or a connection goes no further, before a SIP parser has seen it. */
enum sip_drop {
	SIP_DROP_GARBAGE, /* does not begin like SIP or STUN */
	SIP_DROP_DENIED,  /* the source is on the deny list, or not on the allow list */
	SIP_DROP_BANNED,
	SIP_DROP_RATE,
	SIP_DROP_QUEUE,	      /* the peer's queue is full */
	SIP_DROP_CONNECTIONS, /* too many connections, of all or of this source */
	SIP_DROP_DESCRIPTORS,
	SIP_DROP_MEMORY,
	SIP_DROP_SLOW, /* a message that did not arrive in time */
	SIP_DROP_DRAINING,
	SIP_DROPS
};
enum { SIP_CLASSES = 6 }; /* 1xx … 6xx */
enum sip_way { SIP_WAY_CLIENT, SIP_WAY_SERVER };
enum sip_txs_kind { SIP_TXS_OPEN, SIP_TXS_KEPT };
enum sip_again {
	SIP_AGAIN_REQUEST_SENT,
	SIP_AGAIN_RESPONSE_SENT,
	SIP_AGAIN_REQUEST_ABSORBED,
	SIP_AGAIN_RESPONSE_ABSORBED
};
enum sip_stray { SIP_STRAY_RESPONSE, SIP_STRAY_ACK };
enum sip_logon { SIP_LOGON_TAKEN, SIP_LOGON_REFUSED };
enum sip_server_state { SIP_SERVER_WELL, SIP_SERVER_SICK, SIP_SERVER_OFF };
enum sip_found { SIP_LOOKUP_FOUND, SIP_LOOKUP_FAILED };
