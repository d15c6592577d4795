/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What headers say, read when somebody asks: each function takes the value of one header (from sip_value() or
 * sip_values_next()) and yields slices of it. Grammar of RFC 3261 25.1, with blanks and folds wherever LWS may be.
 * Strict: what does not match the grammar, or names one parameter twice, is -EBADMSG. No memory.
 */
#pragma once
#include "sip-proxy/msg.h"
#include "sip-proxy/uri.h"

/* ;name=value;name …: p NULL if there is no such parameter or it has no value. Quotes of a quoted value are kept. */
struct text sip_param(struct text params, struct text name);
bool sip_has_param(struct text params, struct text name);
/* The next of them: false at the end, or where they are malformed (which the parsers below have ruled out). A parameter
 * without a value has value.p == NULL. */
bool sip_param_next(struct text *rest, struct text *ret_name, struct text *ret_value);
/* "a \"b\"" without its quotes and with its pairs undone; a text without quotes as it is. Length, or -ENOSPC. */
ptrdiff_t sip_unquote(struct text t, char *out, size_t cap);

/* Does this list of option tags (Supported, Require …) have the option? */
bool sip_has_option(const struct sip_msg *m, enum sip_header id, struct text option);
bool sip_wants_privacy(const struct sip_msg *m); /* RFC 3323: Privacy says anything but "none" */
/* Is it a client that has sent this request, and not a proxy? */
bool sip_has_one_via(const struct sip_msg *m);

struct sip_via {
	struct text raw;
	struct text protocol; /* "SIP" and "2.0" are checked; this is the transport: "UDP" */
	struct text host;     /* IPv6 without brackets */
	struct text sent_by; /* host and port as they stand, with brackets; blanks around ':' only if the sender put them */
	enum sip_host_kind host_kind;
	uint16_t port;	      /* 0: none */
	struct text params;   /* from the first ';' on; may be empty */
	struct text branch;   /* p NULL: none (RFC 2543) */
	struct text received; /* as it stands; p NULL: none */
	struct text rport;    /* value; p NULL if absent or without a value */
	bool has_rport;
	struct text maddr, ttl;
	bool alias; /* RFC 5923 */
	bool oc;    /* RFC 7339, with a value or without: sip-proxy/overload.h */
};
int sip_via_parse(struct text value, struct sip_via *ret_v);
/* The branch begins with RFC 3261's magic cookie, and there is something behind it. */
bool sip_branch_is_3261(struct text branch);

/* May something be sent to where this Via points? No, if its host, received or maddr is a broadcast, multicast or
 * unspecified address (RFC 4475 3.3.10). */
bool sip_via_is_unicast(const struct sip_via *v);

/* From, To, Contact, Route, Record-Route, Path, Service-Route, P-Asserted-Identity, Refer-To, Reply-To … */
struct sip_addr {
	struct text raw;
	struct text display;  /* as it stands, quotes and all; may be empty */
	struct text uri;      /* between the angle brackets, or bare */
	struct text params;   /* from the first ';' behind the URI on; may be empty */
	struct text tag;      /* p NULL: none */
	bool bracketed, star; /* star: Contact's "*", everything else is empty */
};
int sip_addr_parse(struct text value, struct sip_addr *ret_a);

struct sip_cseq {
	uint32_t number; /* below 2^31 */
	enum sip_method method;
	struct text method_name;
};
int sip_cseq_parse(struct text value, struct sip_cseq *ret_c);
/* CSeq's, RSeq's, Max-Forwards', Expires', Content-Length's … digits. 0, -EBADMSG, or -ERANGE beyond max. */
int sip_number_parse(struct text value, uint32_t max, uint32_t *ret_n);
/* "0.5" is 500, "1" 1000. */
int sip_q_parse(struct text value, uint16_t *ret_thousandths);
/* Contact's q: 1000 if it has none. */
int sip_addr_q(const struct sip_addr *a, uint16_t *ret_thousandths);
int sip_call_id_check(struct text value); /* word ["@" word] */

/* Authorization, WWW-Authenticate and their Proxy- forms (RFC 3261 22, RFC 8760, RFC 7616). Quotes are cut off from the
 * quoted ones; their escapes are not undone (sip_unquote() of the raw text does it, where one can be). p NULL: absent. */
enum sip_digest_param {
	SIP_D_USERNAME,
	SIP_D_REALM,
	SIP_D_NONCE,
	SIP_D_URI,
	SIP_D_RESPONSE,
	SIP_D_ALGORITHM,
	SIP_D_CNONCE,
	SIP_D_OPAQUE,
	SIP_D_QOP,
	SIP_D_NC,
	SIP_D_STALE,
	SIP_D_DOMAIN,
	SIP_D_USERHASH,
	SIP_D_PARAMS
};
struct sip_auth {
	struct text scheme; /* "Digest" */
	bool is_digest;	    /* only then the rest is filled in */
	struct text param[SIP_D_PARAMS];
};
int sip_auth_parse(struct text value, struct sip_auth *ret_a);

/* The eight headers that a proxy reads, together: first Via, first Route, From, To, Call-ID, CSeq, Max-Forwards, first
 * Contact. */
struct sip_basics {
	struct sip_via via;
	struct sip_addr route; /* raw.p NULL: none */
	struct sip_addr from, to;
	struct text call_id;
	struct sip_cseq cseq;
	int max_forwards;	 /* -1: none */
	struct sip_addr contact; /* raw.p NULL: none */
	struct sip_uri uri;	 /* of a request; zero in a response */
};
/* Reads and checks them, and the Request-URI: SIP_OK, or the verdict on what is wrong. What was read before stays. */
enum sip_verdict sip_basics_read(const struct sip_msg *m, struct sip_basics *ret_b);
