/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers we know, from IANA's registry: name, compact form, whether it may be there once only (RFC 3261 7.3.1:
 * whatever is no comma-separated list), and whether its values may share a line. The challenges and credentials of
 * RFC 3261 22 may repeat, but their commas belong to themselves. What is not here passes untouched.
 */
#include <errno.h>
#include "sip-proxy/msg_priv.h"

static const struct header_row rows[] = {
	/* clang-format off */
	{ "Via",                  'v', HDR_LIST,   SIP_H_VIA },
	{ "Route",                0,   HDR_LIST,   SIP_H_ROUTE },
	{ "From",                 'f', HDR_SINGLE, SIP_H_FROM },
	{ "To",                   't', HDR_SINGLE, SIP_H_TO },
	{ "Call-ID",              'i', HDR_SINGLE, SIP_H_CALL_ID },
	{ "CSeq",                 0,   HDR_SINGLE, SIP_H_CSEQ },
	{ "Max-Forwards",         0,   HDR_SINGLE, SIP_H_MAX_FORWARDS },
	{ "Contact",              'm', HDR_LIST,   SIP_H_CONTACT },
	{ "Record-Route",         0,   HDR_LIST,   SIP_H_RECORD_ROUTE },
	{ "Path",                 0,   HDR_LIST,   SIP_H_PATH },		/* RFC 3327 */
	{ "Service-Route",        0,   HDR_LIST,   SIP_H_SERVICE_ROUTE },	/* RFC 3608 */
	{ "Proxy-Require",        0,   HDR_LIST,   SIP_H_PROXY_REQUIRE },
	{ "Require",              0,   HDR_LIST,   SIP_H_REQUIRE },
	{ "Supported",            'k', HDR_LIST,   SIP_H_SUPPORTED },
	{ "Unsupported",          0,   HDR_LIST,   SIP_H_UNSUPPORTED },
	{ "Expires",              0,   HDR_SINGLE, SIP_H_EXPIRES },
	{ "Min-Expires",          0,   HDR_SINGLE, SIP_H_MIN_EXPIRES },
	{ "Max-Breadth",          0,   HDR_SINGLE, SIP_H_MAX_BREADTH },		/* RFC 5393 */
	{ "Flow-Timer",           0,   HDR_SINGLE, SIP_H_FLOW_TIMER },		/* RFC 5626 */
	{ "Retry-After",          0,   HDR_SINGLE, SIP_H_RETRY_AFTER },
	{ "Timestamp",            0,   HDR_SINGLE, SIP_H_TIMESTAMP },
	{ "Reason",               0,   HDR_LIST,   SIP_H_REASON },		/* RFC 3326 */
	{ "Content-Length",       'l', HDR_SINGLE, SIP_H_CONTENT_LENGTH },
	{ "Content-Type",         'c', HDR_SINGLE, SIP_H_CONTENT_TYPE },
	{ "Content-Encoding",     'e', HDR_LIST,   SIP_H_CONTENT_ENCODING },
	{ "Content-Disposition",  0,   HDR_SINGLE, SIP_H_CONTENT_DISPOSITION },
	{ "Content-Language",     0,   HDR_LIST,   SIP_H_CONTENT_LANGUAGE },
	{ "MIME-Version",         0,   HDR_SINGLE, SIP_H_MIME_VERSION },
	{ "Authorization",        0,   0,          SIP_H_AUTHORIZATION },
	{ "Proxy-Authorization",  0,   0,          SIP_H_PROXY_AUTHORIZATION },
	{ "WWW-Authenticate",     0,   0,          SIP_H_WWW_AUTHENTICATE },
	{ "Proxy-Authenticate",   0,   0,          SIP_H_PROXY_AUTHENTICATE },
	{ "Authentication-Info",  0,   0,          SIP_H_AUTHENTICATION_INFO },
	{ "P-Asserted-Identity",  0,   HDR_LIST,   SIP_H_P_ASSERTED_IDENTITY },	/* RFC 3325 */
	{ "P-Preferred-Identity", 0,   HDR_LIST,   SIP_H_P_PREFERRED_IDENTITY },
	{ "P-Associated-URI",     0,   HDR_LIST,   SIP_H_P_ASSOCIATED_URI },	/* RFC 7315 */
	{ "Privacy",              0,   0,          SIP_H_PRIVACY },		/* RFC 3323: split by semicolons */
	{ "Identity",             'y', HDR_LIST,   SIP_H_IDENTITY },		/* RFC 8224 */
	{ "Identity-Info",        'n', HDR_SINGLE, SIP_H_IDENTITY_INFO },	/* RFC 4474 */
	{ "History-Info",         0,   HDR_LIST,   SIP_H_HISTORY_INFO },	/* RFC 7044 */
	{ "Diversion",            0,   HDR_LIST,   SIP_H_DIVERSION },		/* RFC 5806 */
	{ "Security-Client",      0,   HDR_LIST,   SIP_H_SECURITY_CLIENT },	/* RFC 3329 */
	{ "Security-Server",      0,   HDR_LIST,   SIP_H_SECURITY_SERVER },
	{ "Security-Verify",      0,   HDR_LIST,   SIP_H_SECURITY_VERIFY },
	{ "RAck",                 0,   HDR_SINGLE, SIP_H_RACK },		/* RFC 3262 */
	{ "RSeq",                 0,   HDR_SINGLE, SIP_H_RSEQ },
	{ "Event",                'o', HDR_SINGLE, SIP_H_EVENT },		/* RFC 6665 */
	{ "Allow-Events",         'u', HDR_LIST,   SIP_H_ALLOW_EVENTS },
	{ "Subscription-State",   0,   HDR_SINGLE, SIP_H_SUBSCRIPTION_STATE },
	{ "SIP-ETag",             0,   HDR_SINGLE, SIP_H_SIP_ETAG },		/* RFC 3903 */
	{ "SIP-If-Match",         0,   HDR_SINGLE, SIP_H_SIP_IF_MATCH },
	{ "Refer-To",             'r', HDR_SINGLE, SIP_H_REFER_TO },		/* RFC 3515 */
	{ "Refer-Sub",            0,   HDR_SINGLE, SIP_H_REFER_SUB },		/* RFC 4488 */
	{ "Referred-By",          'b', HDR_SINGLE, SIP_H_REFERRED_BY },		/* RFC 3892 */
	{ "Replaces",             0,   HDR_SINGLE, SIP_H_REPLACES },		/* RFC 3891 */
	{ "Join",                 0,   HDR_SINGLE, SIP_H_JOIN },		/* RFC 3911 */
	{ "Target-Dialog",        0,   HDR_SINGLE, SIP_H_TARGET_DIALOG },	/* RFC 4538 */
	{ "Session-Expires",      'x', HDR_SINGLE, SIP_H_SESSION_EXPIRES },	/* RFC 4028 */
	{ "Min-SE",               0,   HDR_SINGLE, SIP_H_MIN_SE },
	{ "Request-Disposition",  'd', HDR_LIST,   SIP_H_REQUEST_DISPOSITION },	/* RFC 3841 */
	{ "Accept-Contact",       'a', HDR_LIST,   SIP_H_ACCEPT_CONTACT },
	{ "Reject-Contact",       'j', HDR_LIST,   SIP_H_REJECT_CONTACT },
	{ "Accept",               0,   HDR_LIST,   SIP_H_ACCEPT },
	{ "Accept-Encoding",      0,   HDR_LIST,   SIP_H_ACCEPT_ENCODING },
	{ "Accept-Language",      0,   HDR_LIST,   SIP_H_ACCEPT_LANGUAGE },
	{ "Alert-Info",           0,   HDR_LIST,   SIP_H_ALERT_INFO },
	{ "Allow",                0,   HDR_LIST,   SIP_H_ALLOW },
	{ "Call-Info",            0,   HDR_LIST,   SIP_H_CALL_INFO },
	{ "Date",                 0,   HDR_SINGLE, SIP_H_DATE },
	{ "Error-Info",           0,   HDR_LIST,   SIP_H_ERROR_INFO },
	{ "In-Reply-To",          0,   HDR_LIST,   SIP_H_IN_REPLY_TO },
	{ "Organization",         0,   HDR_SINGLE, SIP_H_ORGANIZATION },
	{ "Priority",             0,   HDR_SINGLE, SIP_H_PRIORITY },
	{ "Reply-To",             0,   HDR_SINGLE, SIP_H_REPLY_TO },
	{ "Server",               0,   HDR_SINGLE, SIP_H_SERVER },
	{ "Subject",              's', HDR_SINGLE, SIP_H_SUBJECT },
	{ "User-Agent",           0,   HDR_SINGLE, SIP_H_USER_AGENT },
	{ "Warning",              0,   HDR_LIST,   SIP_H_WARNING },
	/* clang-format on */
};
_Static_assert(ARRAY_LEN(rows) == SIP_HEADERS - 1, "each id has a row");

struct header_table sip_header_table;

int sip_headers_init(void)
{
	if (sip_header_table.slots)
		return 0;
	return header_table_init(&sip_header_table, rows, ARRAY_LEN(rows));
}

void sip_headers_deinit(void)
{
	header_table_deinit(&sip_header_table);
}

/* The rows stand in the order of their ids; a unit test holds them to it. */
const struct header_row *sip_header_row(enum sip_header id)
{
	return id > 0 && id < SIP_HEADERS ? &rows[id - 1] : NULL;
}
