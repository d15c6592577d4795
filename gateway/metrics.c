/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the counters in the order of enum gateway_metric, and the values of their labels in the order of the enums that
 * index them. Bytes are those of bodies, as they are passed on: encrypted.
 * Connections are counted by their servers (common/httpd.h) and brought here once a second.
 */
#include "gateway/metrics.h"
#include "common/httpd.h"

/* clang-format off */
static const char *const ways[] = { [GATEWAY_TO_BROWSER] = "to_browser", [GATEWAY_TO_SHARE] = "to_share", NULL };
const char *const gateway_end_labels[GATEWAY_ENDS + 1] = {
	[GATEWAY_E_DONE] = "done", [GATEWAY_E_REFUSED] = "refused", [GATEWAY_E_BAD] = "bad-request", [GATEWAY_E_UNKNOWN] = "unknown-share",
	[GATEWAY_E_NOT_THERE] = "not-there", [GATEWAY_E_TUNNEL] = "tunnel", [GATEWAY_E_LIMIT] = "limit", [GATEWAY_E_GUESSING] = "guessing",
	[GATEWAY_E_SILENT] = "silent", [GATEWAY_E_CUT] = "cut", [GATEWAY_E_LEFT] = "left",
};

const struct metric_row gateway_metric_rows[GATEWAY_METRICS] = {
	[GATEWAY_M_CONNECTIONS] = { "stile_gateway_connections", METRIC_GAUGE, "Connections of browsers", NULL, NULL, NULL },
	[GATEWAY_M_ACCEPTED] = { "stile_gateway_accepted_total", METRIC_COUNTER, "Connections of browsers taken", NULL, NULL, NULL },
	[GATEWAY_M_REFUSED] = { "stile_gateway_connections_refused_total", METRIC_COUNTER, "Connections refused or cut, by reason", "reason", httpd_refusal_names, NULL },
	[GATEWAY_M_PAGES] = { "stile_gateway_pages_total", METRIC_COUNTER, "Files of the pages served", NULL, NULL, NULL },
	[GATEWAY_M_TRANSFERS] = { "stile_gateway_transfers", METRIC_GAUGE, "Requests to shares under way", NULL, NULL, NULL },
	[GATEWAY_M_ENDED] = { "stile_gateway_transfers_ended_total", METRIC_COUNTER, "Requests to shares, by how they ended", "how", gateway_end_labels, NULL },
	[GATEWAY_M_BYTES] = { "stile_gateway_bytes_total", METRIC_COUNTER, "Bytes of bodies passed on, by direction", "direction", ways, NULL },
};
/* clang-format on */
