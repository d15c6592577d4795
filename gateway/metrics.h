/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of stile-gateway: the row enum is the order of gateway_metric_rows. Labels have fixed sets of values: no
 * share and no address is named here; the live table of the control socket has those.
 * docs/metrics.md has them all.
 */
#pragma once
#include "common/metrics.h"

enum gateway_metric {
	GATEWAY_M_CONNECTIONS, /* gauge */
	GATEWAY_M_ACCEPTED,
	GATEWAY_M_REFUSED,   /* by enum httpd_refusal */
	GATEWAY_M_PAGES,     /* requests for the pages themselves */
	GATEWAY_M_TRANSFERS, /* gauge: requests to shares */
	GATEWAY_M_ENDED,     /* by enum gateway_end */
	GATEWAY_M_BYTES,     /* by enum gateway_way */
	GATEWAY_METRICS
};
extern const struct metric_row gateway_metric_rows[GATEWAY_METRICS];

enum gateway_way { GATEWAY_TO_BROWSER, GATEWAY_TO_SHARE, GATEWAY_WAYS };
/* How a request to a share ended. */
enum gateway_end {
	GATEWAY_E_DONE,
	GATEWAY_E_REFUSED,   /* by the share: 4xx, 5xx */
	GATEWAY_E_BAD,	     /* no request for a share */
	GATEWAY_E_UNKNOWN,   /* there is no such share */
	GATEWAY_E_NOT_THERE, /* its sender's machine is not */
	GATEWAY_E_TUNNEL,    /* the tunnel server is not, or says no */
	GATEWAY_E_LIMIT,
	GATEWAY_E_GUESSING,
	GATEWAY_E_SILENT, /* the share said nothing for too long */
	GATEWAY_E_CUT,	  /* the share's end came too early */
	GATEWAY_E_LEFT,	  /* the browser went */
	GATEWAY_ENDS
};
extern const char *const gateway_end_labels[GATEWAY_ENDS + 1];
