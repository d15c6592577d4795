/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a message is not taken: one row for each verdict holds the response that a request
 * gets, the label of the counter, and the words for the log. A response with the same fault
 * is dropped, for nobody answers to those.
 */
#include "sip-proxy/msg.h"

static const struct sip_verdict_row rows[SIP_VERDICTS] = {
	/* clang-format off */
	[SIP_OK]                 = { 0,   "",                             "ok",                 "ok" },
	[SIP_INCOMPLETE]         = { 0,   "",                             "incomplete",         "the message goes on" },
	[SIP_EMPTY]              = { 0,   "",                             "empty",              "nothing but line ends" },
	[SIP_NOT_SIP]            = { 0,   "",                             "not_sip",            "this is no SIP message" },
	[SIP_HEAD_TOO_LONG]      = { 513, "Message Too Large",            "head_too_long",      "the headers are longer than the limit" },
	[SIP_BODY_TOO_LONG]      = { 513, "Message Too Large",            "body_too_long",      "the body is longer than the limit" },
	[SIP_TOO_MANY_HEADERS]   = { 513, "Message Too Large",            "too_many_headers",   "more headers than the limit" },
	[SIP_BAD_START_LINE]     = { 400, "Bad Request Line",             "bad_start_line",     "the start line is malformed" },
	[SIP_BAD_VERSION]        = { 505, "Version Not Supported",        "bad_version",        "the version is not SIP/2.0" },
	[SIP_BAD_LINE_END]       = { 400, "Bare CR Or LF",                "bad_line_end",       "a CR or LF stands alone" },
	[SIP_BAD_NAME]           = { 400, "Malformed Header Name",        "bad_header_name",    "a header's name is no token" },
	[SIP_BAD_VALUE]          = { 400, "Control Character In Header",  "control_character",  "a control character stands in a header" },
	[SIP_DUPLICATE]          = { 400, "Header Given Twice",           "duplicate_header",   "a header that may be there once is there twice" },
	[SIP_BAD_CONTENT_LENGTH] = { 400, "Bad Content-Length",           "bad_content_length", "Content-Length is no number, or too large a one" },
	[SIP_NO_CONTENT_LENGTH]  = { 400, "Missing Content-Length",       "no_content_length",  "on a stream Content-Length must be there" },
	[SIP_SHORT_BODY]         = { 400, "Body Shorter Than Announced",  "short_body",         "the datagram ends before the body does" },
	[SIP_MISSING_HEADER]     = { 400, "Missing Header",               "missing_header",     "Via, From, To, Call-ID or CSeq is missing" },
	[SIP_BAD_VIA]            = { 400, "Malformed Via",                "bad_via",            "Via is malformed" },
	[SIP_BAD_FROM]           = { 400, "Malformed From",               "bad_from",           "From is malformed" },
	[SIP_BAD_TO]             = { 400, "Malformed To",                 "bad_to",             "To is malformed" },
	[SIP_BAD_CALL_ID]        = { 400, "Malformed Call-ID",            "bad_call_id",        "Call-ID is malformed" },
	[SIP_BAD_CSEQ]           = { 400, "Malformed CSeq",               "bad_cseq",           "CSeq is malformed, or its number is beyond 2^31" },
	[SIP_CSEQ_METHOD]        = { 400, "Method Differs From CSeq",     "cseq_method",        "CSeq names another method than the request line" },
	[SIP_BAD_MAX_FORWARDS]   = { 400, "Malformed Max-Forwards",       "bad_max_forwards",   "Max-Forwards is no number from 0 to 255" },
	[SIP_BAD_ROUTE]          = { 400, "Malformed Route",              "bad_route",          "Route is malformed" },
	[SIP_BAD_CONTACT]        = { 400, "Malformed Contact",            "bad_contact",        "Contact is malformed" },
	[SIP_BAD_URI]            = { 400, "Malformed Request-URI",        "bad_uri",            "the Request-URI is malformed" },
	[SIP_URI_SCHEME]         = { 416, "Unsupported URI Scheme",       "uri_scheme",         "the Request-URI has a scheme that is not ours" },
	/* clang-format on */
};

const struct sip_verdict_row *sip_verdict_row(enum sip_verdict v)
{
	return &rows[(unsigned)v < SIP_VERDICTS ? v : SIP_NOT_SIP];
}
