/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands in the user part of our Record-Route and Path URIs: flags, perhaps a flow (RFC 5626 5.1), and a MAC. A
 * dialog's token is bound to Call-ID and to the tag of whoever began it, so that a Route of ours opens nothing but the
 * dialog for which it was made, and it says which sides were of our domains; a Path token is bound to its flow alone.
 * Binary, in base64url:
 *	flags u8; if FLOW or IFACE: interface u32; if FLOW: transport u8, connection u64, port u16, address 4 or 16;
 *	MAC: the first 10 bytes of HMAC-SHA-256 under the core's key
 */
#pragma once
#include "sip-proxy/transport.h"

enum {
	SIP_TOKEN_FLOW = 1 << 0,      /* later requests go by this flow */
	SIP_TOKEN_IFACE = 1 << 1,     /* or at least by this interface */
	SIP_TOKEN_IPV6 = 1 << 2,      /* of the flow's address */
	SIP_TOKEN_PATH = 1 << 3,      /* of a registration, not of a dialog */
	SIP_TOKEN_STRICT = 1 << 4,    /* by this flow or not at all: 430 when it is gone */
	SIP_TOKEN_CHALLENGE = 1 << 5, /* who is reached by it may ask for credentials (401, 407) */
	SIP_TOKEN_CALLER_OUTSIDE = 1 << 6, /* of a dialog: who began it was of no domain of ours … */
	SIP_TOKEN_CALLEE_OUTSIDE =
		1 << 7, /* … nor was who was called. Of what older versions have made this is not known */
	SIP_TOKEN_MAX = 72, /* characters, with NUL */
};
struct sip_token {
	uint8_t flags;
	bool from_outside, to_outside; /* read: the same of the request's two sides, whoever of them began */
	struct sip_hop hop; /* as flags say */
};
struct sip_token_key {
	uint8_t mac[32]; /* kept over a restart, or the dialogs of before cannot go on */
	uint64_t epoch;	 /* of this run: the number of a connection that another run wrote down is nobody's here */
};
/* call_id and tag: of the dialog; ignored for PATH. 0, -ENOSPC, -EIO (OpenSSL). */
int sip_token_make(const struct sip_token_key *key, const struct sip_token *t, struct text call_id,
		   struct text tag, char out[static SIP_TOKEN_MAX]);
/* 0, -EBADMSG (no token), -EPERM (its MAC is not good for this dialog; two tags may be tried). */
int sip_token_read(const struct sip_token_key *key, struct text user, struct text call_id,
		   const struct text tags[2], struct sip_token *ret_t);
