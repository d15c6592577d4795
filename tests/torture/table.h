/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of the messages of RFC 4475 and RFC 5118 that stand beside this file (vectors.py makes them): the
 * verdict of sip_msg_parse(), that of sip_basics_read(), and what a proxy does in the end. The last column is held by
 * the tests of the proxy core; where a message is refused by the first two, it is their row's code.
 */
#pragma once
#include "sip-proxy/msg.h"

enum { TORTURE_FORWARD = 0, TORTURE_DROP = -1 };
struct torture_row {
	const char *file;
	enum sip_verdict parse, basics;
	int proxy; /* TORTURE_FORWARD, TORTURE_DROP, or the code of the refusal */
	const char *why;
};

static const struct torture_row torture_rows[] = {
	/* clang-format off */
	/* RFC 4475 3.1.1: valid */
	{ "rfc4475/wsinv",      SIP_OK, SIP_OK, TORTURE_FORWARD, "folds, blanks and escapes wherever they may be" },
	{ "rfc4475/intmeth",    SIP_OK, SIP_OK, TORTURE_FORWARD, "every character that a token, a word, a user may have" },
	{ "rfc4475/esc01",      SIP_OK, SIP_OK, TORTURE_FORWARD, "escapes in URIs" },
	{ "rfc4475/escnull",    SIP_OK, SIP_OK, TORTURE_FORWARD, "escaped NULs in URIs stay escaped" },
	{ "rfc4475/esc02",      SIP_OK, SIP_OK, TORTURE_FORWARD, "a percent sign where it escapes nothing: an unknown method" },
	{ "rfc4475/lwsdisp",    SIP_OK, SIP_OK, TORTURE_FORWARD, "no blank between display name and <" },
	{ "rfc4475/longreq",    SIP_OK, SIP_OK, TORTURE_FORWARD, "long values, 34 Vias" },
	{ "rfc4475/dblreq",     SIP_OK, SIP_OK, TORTURE_FORWARD, "bytes behind the message in a datagram are dropped" },
	{ "rfc4475/semiuri",    SIP_OK, SIP_OK, TORTURE_FORWARD, "semicolons in the user part" },
	{ "rfc4475/transports", SIP_OK, SIP_OK, TORTURE_FORWARD, "transports that nobody knows, in Vias that are not ours" },
	{ "rfc4475/mpart01",    SIP_OK, SIP_OK, TORTURE_FORWARD, "a binary body" },
	{ "rfc4475/unreason",   SIP_OK, SIP_OK, TORTURE_FORWARD, "a reason phrase in UTF-8" },
	{ "rfc4475/noreason",   SIP_OK, SIP_OK, TORTURE_FORWARD, "an empty reason phrase" },
	/* 3.1.2: invalid */
	{ "rfc4475/badinv01",   SIP_OK, SIP_BAD_VIA, 400, "separators with nothing between them" },
	{ "rfc4475/clerr",      SIP_SHORT_BODY, SIP_OK, 400, "Content-Length beyond the datagram" },
	{ "rfc4475/ncl",        SIP_BAD_CONTENT_LENGTH, SIP_OK, 400, "a negative Content-Length" },
	{ "rfc4475/scalar02",   SIP_OK, SIP_BAD_MAX_FORWARDS, 400, "numbers beyond their range" },
	{ "rfc4475/scalarlg",   SIP_OK, SIP_BAD_CSEQ, TORTURE_DROP, "the same in a response" },
	{ "rfc4475/quotbal",    SIP_OK, SIP_BAD_TO, 400, "a quote that does not end" },
	{ "rfc4475/ltgtruri",   SIP_OK, SIP_BAD_URI, 400, "a Request-URI in angle brackets" },
	{ "rfc4475/lwsruri",    SIP_BAD_START_LINE, SIP_OK, 400, "a blank in the Request-URI" },
	{ "rfc4475/lwsstart",   SIP_BAD_START_LINE, SIP_OK, 400, "two blanks in the request line" },
	{ "rfc4475/trws",       SIP_BAD_START_LINE, SIP_OK, 400, "blanks at the end of the request line" },
	{ "rfc4475/escruri",    SIP_OK, SIP_BAD_URI, 400, "headers in the Request-URI" },
	{ "rfc4475/baddate",    SIP_OK, SIP_OK, TORTURE_FORWARD, "a proxy does not read Date" },
	{ "rfc4475/regbadct",   SIP_OK, SIP_BAD_CONTACT, 400, "a question mark in a URI without angle brackets" },
	{ "rfc4475/badaspec",   SIP_OK, SIP_BAD_TO, 400, "blanks inside angle brackets" },
	{ "rfc4475/baddn",      SIP_OK, SIP_BAD_FROM, 400, "a comma in a display name without quotes" },
	{ "rfc4475/badvers",    SIP_BAD_VERSION, SIP_OK, 505, "SIP/7.0" },
	{ "rfc4475/mismatch01", SIP_OK, SIP_CSEQ_METHOD, 400, "CSeq names another method" },
	{ "rfc4475/mismatch02", SIP_OK, SIP_CSEQ_METHOD, 400, "the same with an unknown method" },
	{ "rfc4475/bigcode",    SIP_BAD_START_LINE, SIP_OK, TORTURE_DROP, "a status code beyond three digits" },
	/* 3.2 to 3.4 */
	{ "rfc4475/badbranch",  SIP_OK, SIP_OK, TORTURE_FORWARD, "a branch that is only the cookie: matched as RFC 2543 does" },
	{ "rfc4475/insuf",      SIP_OK, SIP_MISSING_HEADER, 400, "From, To and Call-ID are missing: there is nothing to answer with" },
	{ "rfc4475/unkscm",     SIP_OK, SIP_URI_SCHEME, 416, "a scheme that nobody knows" },
	{ "rfc4475/novelsc",    SIP_OK, SIP_URI_SCHEME, 416, "a scheme that is not SIP's" },
	{ "rfc4475/unksm2",     SIP_OK, SIP_OK, TORTURE_FORWARD, "such schemes in From, To and Contact are the registrar's matter" },
	{ "rfc4475/bext01",     SIP_OK, SIP_OK, 420, "Proxy-Require names what we do not know" },
	{ "rfc4475/invut",      SIP_OK, SIP_OK, TORTURE_FORWARD, "an unknown body" },
	{ "rfc4475/regaut01",   SIP_OK, SIP_OK, TORTURE_FORWARD, "an unknown authorization scheme is the registrar's matter" },
	{ "rfc4475/multi01",    SIP_DUPLICATE, SIP_OK, 400, "single-value headers given twice" },
	{ "rfc4475/mcl01",      SIP_DUPLICATE, SIP_OK, 400, "two Content-Lengths" },
	{ "rfc4475/bcast",      SIP_OK, SIP_OK, TORTURE_DROP, "the response would go to a broadcast address" },
	{ "rfc4475/zeromf",     SIP_OK, SIP_OK, 483, "Max-Forwards is 0" },
	{ "rfc4475/cparam01",   SIP_OK, SIP_OK, TORTURE_FORWARD, "an unknown parameter of Contact" },
	{ "rfc4475/cparam02",   SIP_OK, SIP_OK, TORTURE_FORWARD, "an unknown parameter of the URI in Contact" },
	{ "rfc4475/regescrt",   SIP_OK, SIP_OK, TORTURE_FORWARD, "a Contact with an escaped header" },
	{ "rfc4475/sdp01",      SIP_OK, SIP_OK, TORTURE_FORWARD, "an Accept that nobody can satisfy is the called one's matter" },
	{ "rfc4475/inv2543",    SIP_OK, SIP_OK, TORTURE_FORWARD, "RFC 2543: no tag, no branch, no Max-Forwards" },
	/* RFC 5118 */
	{ "rfc5118/ipv6-good",        SIP_OK, SIP_OK, TORTURE_FORWARD, "IPv6 references" },
	{ "rfc5118/ipv6-bad",         SIP_OK, SIP_BAD_URI, 400, "an IPv6 address without brackets" },
	{ "rfc5118/port-ambiguous",   SIP_OK, SIP_OK, TORTURE_FORWARD, "what looks like a port is part of the address" },
	{ "rfc5118/port-unambiguous", SIP_OK, SIP_OK, TORTURE_FORWARD, "a port behind the brackets" },
	{ "rfc5118/via-received-param-with-delim", SIP_OK, SIP_OK, TORTURE_FORWARD, "received=[…]" },
	{ "rfc5118/via-received-param-no-delim",   SIP_OK, SIP_OK, TORTURE_FORWARD, "received=… without brackets" },
	{ "rfc5118/ipv6-in-sdp",       SIP_OK, SIP_OK, TORTURE_FORWARD, "IPv6 in the body" },
	{ "rfc5118/mult-ip-in-header", SIP_OK, SIP_OK, TORTURE_FORWARD, "IPv4 and IPv6 in the Vias" },
	{ "rfc5118/mult-ip-in-sdp",    SIP_OK, SIP_OK, TORTURE_FORWARD, "IPv4 and IPv6 in the body" },
	{ "rfc5118/ipv4-mapped-ipv6",  SIP_OK, SIP_OK, TORTURE_FORWARD, "IPv4-mapped addresses" },
	{ "rfc5118/ipv6-bug-abnf-3-colons",    SIP_OK, SIP_BAD_URI, 400, "no address; the RFC lets a parser guess, ours does not" },
	{ "rfc5118/ipv6-correct-abnf-2-colons", SIP_OK, SIP_OK, TORTURE_FORWARD, "IPv4 at the end of IPv6" },
	/* with the Content-Length that the RFC prints, not the body's */
	{ "rfc5118/ipv6-in-sdp-as-printed",      SIP_SHORT_BODY, SIP_OK, 400, "Content-Length beyond the datagram (RFC 3261 18.3)" },
	{ "rfc5118/mult-ip-in-sdp-as-printed",   SIP_OK, SIP_OK, TORTURE_FORWARD, "the body ends where Content-Length says" },
	{ "rfc5118/ipv4-mapped-ipv6-as-printed", SIP_OK, SIP_OK, TORTURE_FORWARD, "the same" },
	/* clang-format on */
};
