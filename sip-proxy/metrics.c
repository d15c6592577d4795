/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of stile-sip's counters, in the order of enum sip_metric, and their label values in the
 * order of the enums that index them. Labels never grow: methods that we do not know are "other".
 * After a change: tests/admin/metrics.py --write.
 */
#include "sip-proxy/metrics.h"
#include "sip-proxy/refusals.h"
#include "sip-proxy/transport.h"

/* clang-format off */
static const char *const methods[SIP_METHODS + 1] = {
	[SIP_UNKNOWN_METHOD] = "other", [SIP_INVITE] = "INVITE", [SIP_ACK] = "ACK", [SIP_BYE] = "BYE", [SIP_CANCEL] = "CANCEL",
	[SIP_OPTIONS] = "OPTIONS", [SIP_REGISTER] = "REGISTER", [SIP_PRACK] = "PRACK", [SIP_UPDATE] = "UPDATE", [SIP_INFO] = "INFO",
	[SIP_MESSAGE] = "MESSAGE", [SIP_SUBSCRIBE] = "SUBSCRIBE", [SIP_NOTIFY] = "NOTIFY", [SIP_REFER] = "REFER", [SIP_PUBLISH] = "PUBLISH",
};
static const char *const classes[SIP_CLASSES + 1] = { "1xx", "2xx", "3xx", "4xx", "5xx", "6xx", NULL };
#define CLASSES_OF(m) m " 1xx", m " 2xx", m " 3xx", m " 4xx", m " 5xx", m " 6xx"
static const char *const answers[SIP_METHODS * SIP_CLASSES + 1] = { /* in the order of the methods above */
	CLASSES_OF("other"), CLASSES_OF("INVITE"), CLASSES_OF("ACK"), CLASSES_OF("BYE"), CLASSES_OF("CANCEL"), CLASSES_OF("OPTIONS"),
	CLASSES_OF("REGISTER"), CLASSES_OF("PRACK"), CLASSES_OF("UPDATE"), CLASSES_OF("INFO"), CLASSES_OF("MESSAGE"),
	CLASSES_OF("SUBSCRIBE"), CLASSES_OF("NOTIFY"), CLASSES_OF("REFER"), CLASSES_OF("PUBLISH"), NULL,
};
static const char *const protos[SIP_PROTOS + 1] = { [SIP_UDP] = "udp", [SIP_TCP] = "tcp", [SIP_TLS] = "tls", [SIP_WS] = "ws", [SIP_WSS] = "wss" };
static const char *const drops[SIP_DROPS + 1] = {
	[SIP_DROP_GARBAGE] = "garbage", [SIP_DROP_DENIED] = "denied", [SIP_DROP_BANNED] = "banned", [SIP_DROP_RATE] = "rate",
	[SIP_DROP_QUEUE] = "queue", [SIP_DROP_CONNECTIONS] = "connections", [SIP_DROP_DESCRIPTORS] = "descriptors",
	[SIP_DROP_MEMORY] = "memory", [SIP_DROP_SLOW] = "slow", [SIP_DROP_DRAINING] = "draining",
};
static const char *const verdicts[SIP_VERDICTS + 1] = {
	[SIP_OK] = "ok", [SIP_INCOMPLETE] = "incomplete", [SIP_EMPTY] = "empty", [SIP_NOT_SIP] = "not_sip",
	[SIP_HEAD_TOO_LONG] = "head_too_long", [SIP_BODY_TOO_LONG] = "body_too_long", [SIP_TOO_MANY_HEADERS] = "too_many_headers",
	[SIP_BAD_START_LINE] = "start_line", [SIP_BAD_VERSION] = "version", [SIP_BAD_LINE_END] = "line_end", [SIP_BAD_NAME] = "name",
	[SIP_BAD_VALUE] = "value", [SIP_DUPLICATE] = "duplicate", [SIP_BAD_CONTENT_LENGTH] = "content_length",
	[SIP_NO_CONTENT_LENGTH] = "no_content_length", [SIP_SHORT_BODY] = "short_body", [SIP_MISSING_HEADER] = "missing_header",
	[SIP_BAD_VIA] = "via", [SIP_BAD_FROM] = "from", [SIP_BAD_TO] = "to", [SIP_BAD_CALL_ID] = "call_id", [SIP_BAD_CSEQ] = "cseq",
	[SIP_CSEQ_METHOD] = "cseq_method", [SIP_BAD_MAX_FORWARDS] = "max_forwards", [SIP_BAD_ROUTE] = "route",
	[SIP_BAD_CONTACT] = "contact", [SIP_BAD_URI] = "uri", [SIP_URI_SCHEME] = "uri_scheme",
};
static const char *const ways[] = { [SIP_WAY_CLIENT] = "client", [SIP_WAY_SERVER] = "server", NULL };
static const char *const lookups[] = { [SIP_LOOKUP_FOUND] = "found", [SIP_LOOKUP_FAILED] = "failed", NULL };
static const char *const logons[] = { [SIP_LOGON_TAKEN] = "taken", [SIP_LOGON_REFUSED] = "refused", NULL };
static const char *const server_states[] = { [SIP_SERVER_WELL] = "well", [SIP_SERVER_SICK] = "does_not_answer", [SIP_SERVER_OFF] = "not_logged_on", NULL };
static const char *const questions[] = { "found", "nowhere", "silent", "refused", NULL }; /* enum mesh_result */
static const char *const txs[] = { [SIP_TXS_OPEN] = "open", [SIP_TXS_KEPT] = "kept", NULL };
static const char *const strays[] = { [SIP_STRAY_RESPONSE] = "response", [SIP_STRAY_ACK] = "ack", NULL };
static const char *const again[] = {
	[SIP_AGAIN_REQUEST_SENT] = "request_sent", [SIP_AGAIN_RESPONSE_SENT] = "response_sent",
	[SIP_AGAIN_REQUEST_ABSORBED] = "request_absorbed", [SIP_AGAIN_RESPONSE_ABSORBED] = "response_absorbed", NULL,
};
static const double seconds[] = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 32, 0 };

const struct metric_row sip_metric_rows[SIP_METRICS] = {
	[SIP_M_REQUESTS_IN] = { .name = "stile_sip_requests_received_total", .kind = METRIC_COUNTER, .help = "Requests that came in, retransmissions included.", .label = "method", .label_values = methods },
	[SIP_M_REQUESTS_OUT] = { .name = "stile_sip_requests_sent_total", .kind = METRIC_COUNTER, .help = "Requests sent, retransmissions included.", .label = "method", .label_values = methods },
	[SIP_M_RESPONSES_IN] = { .name = "stile_sip_responses_received_total", .kind = METRIC_COUNTER, .help = "Responses that came in.", .label = "class", .label_values = classes },
	[SIP_M_RESPONSES_OUT] = { .name = "stile_sip_responses_sent_total", .kind = METRIC_COUNTER, .help = "Responses sent.", .label = "class", .label_values = classes },
	[SIP_M_BYTES_IN] = { .name = "stile_sip_received_bytes_total", .kind = METRIC_COUNTER, .help = "Bytes of messages that came in.", .label = "transport", .label_values = protos },
	[SIP_M_BYTES_OUT] = { .name = "stile_sip_sent_bytes_total", .kind = METRIC_COUNTER, .help = "Bytes of messages sent.", .label = "transport", .label_values = protos },
	[SIP_M_DROPS] = { .name = "stile_sip_drops_total", .kind = METRIC_COUNTER, .help = "Packets and connections that went no further, by reason.", .label = "reason", .label_values = drops },
	[SIP_M_KERNEL_DROPS] = { .name = "stile_sip_kernel_drops_total", .kind = METRIC_COUNTER, .help = "Datagrams that the kernel dropped before we saw them: they began like nothing of ours, or the queue was full." },
	[SIP_M_BAD] = { .name = "stile_sip_bad_messages_total", .kind = METRIC_COUNTER, .help = "Messages that are not well-formed, by what is wrong.", .label = "reason", .label_values = verdicts },
	[SIP_M_CONNECTIONS] = { .name = "stile_sip_connections", .kind = METRIC_GAUGE, .help = "Connections that are open or being opened.", .label = "transport", .label_values = protos },
	[SIP_M_CONNECTIONS_OPENED] = { .name = "stile_sip_connections_opened_total", .kind = METRIC_COUNTER, .help = "Connections that were established, both ways.", .label = "transport", .label_values = protos },
	[SIP_M_CONNECTION_FAILURES] = { .name = "stile_sip_connection_failures_total", .kind = METRIC_COUNTER, .help = "Connections that could not be established or ended by an error.", .label = "transport", .label_values = protos },
	[SIP_M_KEEPALIVES] = { .name = "stile_sip_keepalives_total", .kind = METRIC_COUNTER, .help = "Keep-alives that were answered (CRLF, STUN).", .label = "transport", .label_values = protos },
	[SIP_M_SEND_FAILURES] = { .name = "stile_sip_send_failures_total", .kind = METRIC_COUNTER, .help = "Messages that could not be sent.", .label = "transport", .label_values = protos },
	[SIP_M_BANNED] = { .name = "stile_sip_bans_total", .kind = METRIC_COUNTER, .help = "Sources that were banned for a while." },
	[SIP_M_TRANSACTIONS] = { .name = "stile_sip_transactions", .kind = METRIC_GAUGE, .help = "Transactions there are now: under way, or over and kept to absorb what comes again.", .label = "state", .label_values = txs },
	[SIP_M_TRANSACTION_BYTES] = { .name = "stile_sip_transaction_bytes", .kind = METRIC_GAUGE, .help = "Bytes of messages that are kept for transactions." },
	[SIP_M_TRANSACTIONS_STARTED] = { .name = "stile_sip_transactions_started_total", .kind = METRIC_COUNTER, .help = "Transactions that were begun.", .label = "side", .label_values = ways },
	[SIP_M_RETRANSMISSIONS] = { .name = "stile_sip_retransmissions_total", .kind = METRIC_COUNTER, .help = "What was sent again by our timers, and what came again and was absorbed.", .label = "what", .label_values = again },
	[SIP_M_TIMEOUTS] = { .name = "stile_sip_transaction_timeouts_total", .kind = METRIC_COUNTER, .help = "Transactions that nobody answered (client) or acknowledged (server).", .label = "side", .label_values = ways },
	[SIP_M_STRAYS] = { .name = "stile_sip_strays_total", .kind = METRIC_COUNTER, .help = "Messages dropped because nothing that we know of belongs to them.", .label = "what", .label_values = strays },
	[SIP_M_FAILOVERS] = { .name = "stile_sip_failovers_total", .kind = METRIC_COUNTER, .help = "Times that the next place of a name was tried because one did not answer." },
	[SIP_M_LATENCY] = { .name = "stile_sip_response_seconds", .kind = METRIC_HISTOGRAM, .help = "From a request's arrival to its final response on the way back; without INVITE, which people answer.", .buckets = seconds },
	[SIP_M_SETUP] = { .name = "stile_sip_setup_seconds", .kind = METRIC_HISTOGRAM, .help = "From an INVITE's arrival to the first response of a next hop on the way back, 100 not counted: until it rings.", .buckets = seconds },
	[SIP_M_REFUSALS] = { .name = "stile_sip_refusals_total", .kind = METRIC_COUNTER, .help = "Requests that were refused, by reason.", .label = "reason", .label_values = sip_refusal_labels },
	[SIP_M_ANSWERS] = { .name = "stile_sip_answers_total", .kind = METRIC_COUNTER, .help = "Responses that went back to where the request came from, ours and those passed on, by method and class.", .label = "answer", .label_values = answers },
	[SIP_M_OVERLOAD] = { .name = "stile_sip_overload_percent", .kind = METRIC_GAUGE, .help = "Share of their requests that neighbours are asked to spare us (RFC 7339); 0: none." },
	[SIP_M_HELD_BACK] = { .name = "stile_sip_held_back_total", .kind = METRIC_COUNTER, .help = "Requests that were not sent to a next hop because it asked for fewer (RFC 7339)." },
	[SIP_M_SPARED] = { .name = "stile_sip_spared_next_hops", .kind = METRIC_GAUGE, .help = "Next hops that ask for fewer requests now." },
	[SIP_M_REGISTRATIONS] = { .name = "stile_sip_registrations", .kind = METRIC_GAUGE, .help = "Contacts that are registered now." },
	[SIP_M_REGISTRATIONS_UNWRITTEN] = { .name = "stile_sip_registrations_unwritten", .kind = METRIC_GAUGE, .help = "Users whose registrations are not in the store yet; more than a few for longer than seconds: the disk does not keep up." },
	[SIP_M_LOOKUPS] = { .name = "stile_sip_lookups_total", .kind = METRIC_COUNTER, .help = "Look-ups of next hops (RFC 3263).", .label = "result", .label_values = lookups },
	[SIP_M_LOGONS] = { .name = "stile_sip_server_logons_total", .kind = METRIC_COUNTER, .help = "Log-ons of UC servers, refreshes included.", .label = "result", .label_values = logons },
	[SIP_M_SERVERS] = { .name = "stile_sip_servers", .kind = METRIC_GAUGE, .help = "UC servers of sip.lan.servers by what they are now.", .label = "state", .label_values = server_states },
	[SIP_M_SERVER_USERS] = { .name = "stile_sip_server_users", .kind = METRIC_GAUGE, .help = "Users of whom it is remembered at which UC server they live." },
	[SIP_M_QUESTIONS] = { .name = "stile_sip_server_questions_total", .kind = METRIC_COUNTER, .help = "Questions to all UC servers for a user whom nobody knew, by what came of it.", .label = "result", .label_values = questions },
	[SIP_M_USER_CONFLICTS] = { .name = "stile_sip_user_conflicts_total", .kind = METRIC_COUNTER, .help = "Times that a UC server claimed a user who lived at another one." },
	[SIP_M_CERTIFICATE_END] = { .name = "stile_sip_certificate_end_timestamp_seconds", .kind = METRIC_GAUGE, .help = "When the first of the listeners' certificates ends, as seconds since 1970; 0: there is none." },
};
/* clang-format on */
