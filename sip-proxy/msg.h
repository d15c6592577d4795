/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP messages (RFC 3261): one pass over the received buffer yields the start line, an index of the headers as
 * slices of that buffer, and the body. Nothing is copied; memory is taken only for a message with more headers than
 * the index inside struct sip_msg holds. What a header says is read when somebody asks: sip-proxy/headers.h, uri.h.
 *
 * Strict by design: what two parsers could read differently (bare CR or LF, names that are no tokens, single-value
 * headers given twice, a Content-Length that lies) is refused with a verdict, and never forwarded. Headers and
 * methods that we do not know pass untouched.
 */
#pragma once
#include "common/head.h"

/* Dense ids of the headers we know; names, compact forms and flags are in sip-proxy/header_rows.c. */
enum sip_header {
	SIP_H_UNKNOWN = 0,
	/* What a proxy reads */
	SIP_H_VIA,
	SIP_H_ROUTE,
	SIP_H_FROM,
	SIP_H_TO,
	SIP_H_CALL_ID,
	SIP_H_CSEQ,
	SIP_H_MAX_FORWARDS,
	SIP_H_CONTACT,
	SIP_H_RECORD_ROUTE,
	SIP_H_PATH,
	SIP_H_SERVICE_ROUTE,
	SIP_H_PROXY_REQUIRE,
	SIP_H_REQUIRE,
	SIP_H_SUPPORTED,
	SIP_H_UNSUPPORTED,
	SIP_H_EXPIRES,
	SIP_H_MIN_EXPIRES,
	SIP_H_MAX_BREADTH,
	SIP_H_FLOW_TIMER,
	SIP_H_RETRY_AFTER,
	SIP_H_TIMESTAMP,
	SIP_H_REASON,
	/* The body */
	SIP_H_CONTENT_LENGTH,
	SIP_H_CONTENT_TYPE,
	SIP_H_CONTENT_ENCODING,
	SIP_H_CONTENT_DISPOSITION,
	SIP_H_CONTENT_LANGUAGE,
	SIP_H_MIME_VERSION,
	/* Authentication and identity */
	SIP_H_AUTHORIZATION,
	SIP_H_PROXY_AUTHORIZATION,
	SIP_H_WWW_AUTHENTICATE,
	SIP_H_PROXY_AUTHENTICATE,
	SIP_H_AUTHENTICATION_INFO,
	SIP_H_P_ASSERTED_IDENTITY,
	SIP_H_P_PREFERRED_IDENTITY,
	SIP_H_P_ASSOCIATED_URI,
	SIP_H_PRIVACY,
	SIP_H_IDENTITY,
	SIP_H_IDENTITY_INFO,
	SIP_H_HISTORY_INFO,
	SIP_H_DIVERSION,
	SIP_H_SECURITY_CLIENT,
	SIP_H_SECURITY_SERVER,
	SIP_H_SECURITY_VERIFY,
	/* Dialogs, events */
	SIP_H_RACK,
	SIP_H_RSEQ,
	SIP_H_EVENT,
	SIP_H_ALLOW_EVENTS,
	SIP_H_SUBSCRIPTION_STATE,
	SIP_H_SIP_ETAG,
	SIP_H_SIP_IF_MATCH,
	SIP_H_REFER_TO,
	SIP_H_REFER_SUB,
	SIP_H_REFERRED_BY,
	SIP_H_REPLACES,
	SIP_H_JOIN,
	SIP_H_TARGET_DIALOG,
	SIP_H_SESSION_EXPIRES,
	SIP_H_MIN_SE,
	SIP_H_REQUEST_DISPOSITION,
	SIP_H_ACCEPT_CONTACT,
	SIP_H_REJECT_CONTACT,
	/* The rest of RFC 3261 */
	SIP_H_ACCEPT,
	SIP_H_ACCEPT_ENCODING,
	SIP_H_ACCEPT_LANGUAGE,
	SIP_H_ALERT_INFO,
	SIP_H_ALLOW,
	SIP_H_CALL_INFO,
	SIP_H_DATE,
	SIP_H_ERROR_INFO,
	SIP_H_IN_REPLY_TO,
	SIP_H_ORGANIZATION,
	SIP_H_PRIORITY,
	SIP_H_REPLY_TO,
	SIP_H_SERVER,
	SIP_H_SUBJECT,
	SIP_H_USER_AGENT,
	SIP_H_WARNING,
	SIP_HEADERS
};

enum sip_method {
	SIP_UNKNOWN_METHOD = 0, /* an extension: its name is in the message */
	SIP_INVITE,
	SIP_ACK,
	SIP_BYE,
	SIP_CANCEL,
	SIP_OPTIONS,
	SIP_REGISTER,
	SIP_PRACK,
	SIP_UPDATE,
	SIP_INFO,
	SIP_MESSAGE,
	SIP_SUBSCRIBE,
	SIP_NOTIFY,
	SIP_REFER,
	SIP_PUBLISH,
	SIP_METHODS
};
enum sip_method sip_method_of(struct text name); /* by its exact name: methods are case-sensitive */
struct text sip_method_name(enum sip_method m);	 /* for metrics: "other" for an unknown one */

/* Why a message is not taken. Positive module codes; each has a row. */
enum sip_verdict {
	SIP_OK,
	SIP_INCOMPLETE, /* stream: more bytes are needed; not an error */
	SIP_EMPTY,	/* nothing but line ends: a keep-alive */
	SIP_NOT_SIP,	/* not even a start line with SIP's version, or no end of the head: drop */
	SIP_HEAD_TOO_LONG,
	SIP_BODY_TOO_LONG,
	SIP_TOO_MANY_HEADERS,
	SIP_BAD_START_LINE,
	SIP_BAD_VERSION,
	SIP_BAD_LINE_END,
	SIP_BAD_NAME,
	SIP_BAD_VALUE,
	SIP_DUPLICATE,
	SIP_BAD_CONTENT_LENGTH,
	SIP_NO_CONTENT_LENGTH,
	SIP_SHORT_BODY,
	SIP_MISSING_HEADER,
	SIP_BAD_VIA,
	SIP_BAD_FROM,
	SIP_BAD_TO,
	SIP_BAD_CALL_ID,
	SIP_BAD_CSEQ,
	SIP_CSEQ_METHOD,
	SIP_BAD_MAX_FORWARDS,
	SIP_BAD_ROUTE,
	SIP_BAD_CONTACT,
	SIP_BAD_URI,
	SIP_URI_SCHEME,
	SIP_VERDICTS
};
struct sip_verdict_row {
	uint16_t code; /* the response to a request; 0: drop silently. A response is always dropped. */
	const char *reason; /* its reason phrase */
	const char *label;  /* of the counter, lower_case */
	const char *text;   /* for the log */
};
const struct sip_verdict_row *sip_verdict_row(enum sip_verdict v);

enum {
	SIP_INLINE_FIELDS = 48,
	SIP_MAX_HEAD = 65535,
	SIP_MAX_BODY = 1 << 20,
	SIP_MAX_FIELDS = 512,
};
struct sip_limits { /* 0: the constants above */
	uint32_t max_head, max_body;
	uint16_t max_fields;
};

struct sip_msg {
	struct text raw; /* start line to the end of the body; line ends before it and bytes behind it are left out */
	struct head head;
	struct text body;
	bool is_request;
	enum sip_method method;	     /* request only; a response has its method in CSeq */
	struct text method_name;     /* the same as text */
	struct text uri;	     /* request: the Request-URI as it stands */
	uint16_t status;	     /* response: 100…699 */
	struct text reason;	     /* response: may be empty, any UTF-8 */
	uint16_t first[SIP_HEADERS]; /* number of the first field of each id, + 1; 0: absent */
	struct head_field *more;     /* malloc'd, when the fields did not fit the next line */
	struct head_field fields[SIP_INLINE_FIELDS];
};

/* Builds the table of header names, once per process and before the first message. 0 or -ENOMEM. */
int sip_headers_init(void);
void sip_headers_deinit(void);
const struct header_row *sip_header_row(enum sip_header id); /* name, compact form, flags */

enum sip_framing {
	SIP_DATAGRAM, /* the buffer is the whole packet: without a Content-Length the body is the rest (RFC 3261 18.3) */
	SIP_STREAM, /* a message must say its length; SIP_INCOMPLETE until it is there */
};
/*
 * Parses the message at the start of buf, which must outlive m. SIP_OK, another sip_verdict, or -ENOMEM.
 *
 * On a bad message m holds what could be read: headers at fault are left out, of a single-value header given twice the
 * first stays, so that sip_response_write() can answer. It has no fields at all if not even the lines were there.
 * Whatever is returned, sip_msg_deinit() is due, and enough.
 */
int sip_msg_parse(struct sip_msg *m, struct text buf, enum sip_framing framing,
		  const struct sip_limits *limits);
void sip_msg_deinit(struct sip_msg *m);
/* The same message in another place: copies raw to buf (of at least raw.n bytes) and the index with it. 0 or -ENOMEM. */
int sip_msg_copy(struct sip_msg *to, const struct sip_msg *from, char *buf);

/* The first field of this id, or NULL; the next one behind f. For SIP_H_UNKNOWN nothing. */
const struct head_field *sip_find(const struct sip_msg *m, enum sip_header id);
const struct head_field *sip_find_next(const struct sip_msg *m, const struct head_field *f);
static inline bool sip_has(const struct sip_msg *m, enum sip_header id)
{
	return m->first[id] != 0;
}
/* The value of the first field of this id; p NULL: absent. */
struct text sip_value(const struct sip_msg *m, enum sip_header id);

/* Every value of an id, in order, over all its fields and the commas within (outside of quotes and angle brackets):
 *	struct sip_values it = sip_values(m, SIP_H_VIA);
 *	while (sip_values_next(&it, &value)) …
 * Blanks around are cut off; an empty value ("a,,b") is given out as it is, and no grammar takes it. */
struct sip_values {
	const struct sip_msg *m;
	const struct head_field *f; /* the field of the value given out last */
	struct text rest;
};
struct sip_values sip_values(const struct sip_msg *m, enum sip_header id);
bool sip_values_next(struct sip_values *it, struct text *ret_value);
