/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of the tunnel's server: the row enum is the order of tunnel_metric_rows. Labels have
 * fixed sets of values: no agent, job or address is named here; the live tables of the control socket
 * have those.
 */
#pragma once
#include "common/metrics.h"

enum tunnel_metric {
	TUNNEL_M_STRANGERS, /* gauge: connections before WELCOME */
	TUNNEL_M_ARRIVED,   /* by enum tunnel_arrived */
	TUNNEL_M_LINKS,	    /* gauge: agents whose control connection is up */
	TUNNEL_M_LOST,	    /* control connections lost */
	TUNNEL_M_CARRIERS,  /* gauge */
	TUNNEL_M_STREAMS,   /* gauge: data connections and flows */
	TUNNEL_M_OPENED,
	TUNNEL_M_RESUMED,
	TUNNEL_M_ENDED, /* by enum tunnel_ended */
	TUNNEL_M_BYTES, /* by way */
	TUNNEL_M_SIGNALS, /* by enum tunnel_signal */
	TUNNEL_M_RELAYS,  /* gauge: between two agents */
	TUNNEL_M_RELAY_BYTES,
	TUNNEL_M_REACHES, /* by enum wire_reach */
	TUNNEL_METRICS
};
extern const struct metric_row tunnel_metric_rows[TUNNEL_METRICS];

/* What became of a connection to the tunnel's port. */
enum tunnel_arrived {
	TUNNEL_A_CONTROL,
	TUNNEL_A_CARRIER,
	TUNNEL_A_PLAIN,
	TUNNEL_A_GARBAGE,  /* neither TLS nor a plain carrier's head: a port scanner */
	TUNNEL_A_TLS,	   /* the handshake failed, or it was for something else */
	TUNNEL_A_PROTOCOL, /* no HELLO, or a broken one */
	TUNNEL_A_SLOW,
	TUNNEL_A_REFUSED, /* said HELLO and was not let in */
	TUNNEL_A_LEFT,	  /* went by itself */
	TUNNEL_A_LIMIT,	  /* too many strangers, of all or of one source */
	TUNNEL_A_SHORT,	  /* no memory, no descriptors, about to stop */
	TUNNEL_A_RELAY,	  /* an end of one between two agents */
	TUNNEL_ARRIVED
};
extern const char *const tunnel_arrived_texts[TUNNEL_ARRIVED]; /* sentences of the log */
enum tunnel_signal { TUNNEL_SIGNAL_PASSED, TUNNEL_SIGNAL_LOST, TUNNEL_SIGNAL_LIMITED }; /* what became of it */
enum tunnel_ended { TUNNEL_E_CLEAN, TUNNEL_E_RESET, TUNNEL_E_LOST };
