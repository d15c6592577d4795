/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of refusals, and the reason phrases of the codes (RFC 3261 21 and its successors). A row's words on the
 * wire follow from its code alone, so that two causes of one code look the same outside; the sentence is for the
 * administrator.
 */
#include "sip-proxy/refusals.h"

struct phrase {
	uint16_t code;
	const char *text;
};
/* clang-format off */
static const struct phrase phrases[] = {
	{ 100, "Trying" }, { 180, "Ringing" }, { 181, "Call Is Being Forwarded" }, { 182, "Queued" },
	{ 183, "Session Progress" }, { 200, "OK" }, { 202, "Accepted" }, { 204, "No Notification" },
	{ 300, "Multiple Choices" }, { 301, "Moved Permanently" }, { 302, "Moved Temporarily" }, { 305, "Use Proxy" },
	{ 380, "Alternative Service" }, { 400, "Bad Request" }, { 401, "Unauthorized" }, { 402, "Payment Required" },
	{ 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 406, "Not Acceptable" },
	{ 407, "Proxy Authentication Required" }, { 408, "Request Timeout" }, { 410, "Gone" },
	{ 412, "Conditional Request Failed" }, { 413, "Request Entity Too Large" }, { 414, "Request-URI Too Long" },
	{ 415, "Unsupported Media Type" }, { 416, "Unsupported URI Scheme" }, { 420, "Bad Extension" },
	{ 421, "Extension Required" }, { 422, "Session Interval Too Small" }, { 423, "Interval Too Brief" },
	{ 428, "Use Identity Header" }, { 430, "Flow Failed" }, { 436, "Bad Identity Info" },
	{ 439, "First Hop Lacks Outbound Support" }, { 440, "Max-Breadth Exceeded" },
	{ 480, "Temporarily Unavailable" }, { 481, "Call/Transaction Does Not Exist" }, { 482, "Loop Detected" },
	{ 483, "Too Many Hops" }, { 484, "Address Incomplete" }, { 485, "Ambiguous" }, { 486, "Busy Here" },
	{ 487, "Request Terminated" }, { 488, "Not Acceptable Here" }, { 489, "Bad Event" }, { 491, "Request Pending" },
	{ 493, "Undecipherable" }, { 494, "Security Agreement Required" }, { 500, "Server Internal Error" },
	{ 501, "Not Implemented" }, { 502, "Bad Gateway" }, { 503, "Service Unavailable" }, { 504, "Server Time-out" },
	{ 505, "Version Not Supported" }, { 513, "Message Too Large" }, { 600, "Busy Everywhere" }, { 603, "Decline" },
	{ 604, "Does Not Exist Anywhere" }, { 606, "Not Acceptable" },
};

#define T400 400, "Bad Request"
#define T403 403, "Forbidden"
#define T404 404, "Not Found"
#define T408 408, "Request Timeout"
#define T420 420, "Bad Extension"
#define T430 430, "Flow Failed"
#define T440 440, "Max-Breadth Exceeded"
#define T480 480, "Temporarily Unavailable"
#define T481 481, "Call/Transaction Does Not Exist"
#define T482 482, "Loop Detected"
#define T483 483, "Too Many Hops"
#define T487 487, "Request Terminated"
#define T500 500, "Server Internal Error"
#define T502 502, "Bad Gateway"
#define T503 503, "Service Unavailable"
#define T513 513, "Message Too Large"
#define NONE 0, ""

/* One list, two tables. */
#define REFUSALS(X) \
	X(ACCEPTED,                NONE, "accepted",         NULL,                        "accepted") \
	X(REFUSE_MALFORMED,        T400, "malformed",        &MSG_SIP_REFUSED_REQUEST,    "the request is not well-formed") \
	X(REFUSE_TOO_MANY_HOPS,    T483, "too_many_hops",    &MSG_SIP_REFUSED_REQUEST,    "Max-Forwards has come to its end") \
	X(REFUSE_LOOP,             T482, "loop",             &MSG_SIP_REFUSED_LOOP,       "the request was here before, and nothing about it has changed") \
	X(REFUSE_BREADTH,          T440, "max_breadth",      &MSG_SIP_REFUSED_LOOP,       "Max-Breadth does not allow so many branches") \
	X(REFUSE_EXTENSION,        T420, "extension",        &MSG_SIP_REFUSED_REQUEST,    "Proxy-Require asks for what we do not have") \
	X(REFUSE_NO_TRANSACTION,   T481, "no_transaction",   NULL,                        "there is no transaction to cancel") \
	X(REFUSE_RELAY,            T403, "relay",            &MSG_SIP_REFUSED_RELAY,      "neither for one of our domains nor from one of our users") \
	X(REFUSE_DIALOG,           T403, "dialog",           &MSG_SIP_REFUSED_RELAY,      "its Route names us, but is not one that we recorded for this dialog") \
	X(REFUSE_SOURCE,           T403, "source",           &MSG_SIP_REFUSED_POLICY,     "not from this address") \
	X(REFUSE_IDENTITY,         T403, "identity",         &MSG_SIP_REFUSED_IDENTITY,   "the sender may not speak for this From") \
	X(REFUSE_CREDENTIAL,       T403, "credential",       &MSG_SIP_REFUSED_IDENTITY,   "the credential is not good") \
	X(REFUSE_BACKOFF,          T403, "backoff",          NULL,                        "not judged: too many bad credentials before") \
	X(REFUSE_POLICY,           T403, "policy",           &MSG_SIP_REFUSED_POLICY,     "a rule forbids it") \
	X(REFUSE_UNKNOWN_USER,     T404, "unknown_user",     &MSG_SIP_REFUSED_TARGET,     "there is no such user") \
	X(REFUSE_OFFLINE,          T480, "offline",          &MSG_SIP_REFUSED_TARGET,     "the user is not registered") \
	X(REFUSE_UNREACHABLE,      T500, "unreachable",      &MSG_SIP_REFUSED_UNREACHABLE, "no place of the target could be reached") \
	X(REFUSE_UNRESOLVED,       T502, "unresolved",       &MSG_SIP_REFUSED_UNREACHABLE, "DNS does not know the target") \
	X(REFUSE_IN_CLEAR,         T480, "in_clear",         &MSG_SIP_REFUSED_POLICY,     "the Request-URI is sips, and the way to its domain is not encrypted") \
	X(REFUSE_TIMEOUT,          T408, "timeout",          &MSG_SIP_REFUSED_UNREACHABLE, "no answer in time") \
	X(REFUSE_FLOW,             T430, "flow",             &MSG_SIP_REFUSED_FLOW,       "the flow to the client is gone") \
	X(REFUSE_CANCELLED,        T487, "cancelled",        NULL,                        "the caller gave up") \
	X(REFUSE_TOO_LARGE,        T513, "too_large",        &MSG_SIP_REFUSED_REQUEST,    "with our headers the message would be too large") \
	X(REFUSE_RATE,             T503, "rate",             &MSG_SIP_REFUSED_RATE,       "the partner sends more than it may in a second") \
	X(REFUSE_OVERLOAD_SOURCE,  T503, "overload_source",  &MSG_SIP_OVERLOAD_SOURCE,    "the source has as many transactions as allowed") \
	X(REFUSE_OVERLOAD,         T503, "overload",         &MSG_SIP_OVERLOAD,           "there are as many transactions as allowed") \
	X(REFUSE_RESOURCES,        T503, "resources",        &MSG_SIP_OVERLOAD,           "no memory") \
	X(REFUSE_SPARED,           T503, "spared",           &MSG_SIP_REFUSED_SPARED,     "the next hop has asked for fewer requests (RFC 7339)") \
	X(REFUSE_DRAINING,         T503, "draining",         NULL,                        "the proxy drains") \
	X(REFUSE_INTERNAL,         T500, "internal",         &MSG_SIP_INTERNAL,           "the proxy failed")
#define ROW(name, ...) ROW_(name, __VA_ARGS__)
#define ROW_(name, code, text, label, msg, sentence) [SIP_##name] = { code, text, label, msg, sentence },
#define LABEL(name, ...) LABEL_(name, __VA_ARGS__)
#define LABEL_(name, code, text, label, msg, sentence) [SIP_##name] = label,

const struct sip_refusal_row sip_refusal_rows[SIP_REFUSALS] = { REFUSALS(ROW) };
const char *const sip_refusal_labels[SIP_REFUSALS + 1] = { REFUSALS(LABEL) };
/* clang-format on */

struct text sip_reason_phrase(unsigned code)
{
	for (size_t i = 0; i < ARRAY_LEN(phrases); i++)
		if (phrases[i].code == code)
			return text_of(phrases[i].text);
	return TEXT("");
}
