/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who somebody outside of our own network may speak for: the domain of his From against what his connection has proven
 * (RFC 5922), the static route of that domain, and federation. docs/decisions/0022-sip-trust.md has the reasons. The
 * judgement is a function of a few facts, so that a test can go through all of them; the hook collects the facts and acts.
 */
#pragma once
#include "sip-proxy/federation.h"
#include "sip-proxy/registrar.h"
#include "sip-proxy/routes.h"

struct sip_claim {
	enum sip_proto proto;
	bool federation;		     /* came by the interface for partners */
	const struct sip_identity *identity; /* proven by a certificate whose chain is good; NULL: none */
	struct text from;		     /* the domain that it speaks for */
	bool ours;			     /* … is one of our own */
	const struct sip_static_route *route; /* … has this one; NULL: none */
	bool from_gateway; /* its source is one of the addresses of the route's gateway */
	enum sip_federation_says federation_says; /* of this domain */
};

enum sip_trust {
	SIP_TRUST_STRANGER, /* nothing is claimed that had to be proven here: credentials and later stages decide */
	SIP_TRUST_ROUTE,    /* it is the other side of the route */
	SIP_TRUST_LOGIN,    /* … if it has credentials of sip.users */
	SIP_TRUST_PARTNER,  /* it is that domain */
	SIP_TRUST_IDENTITY, /* 403: it is not who it says */
	SIP_TRUST_POLICY,   /* 403: it is, and is not wanted */
};
struct sip_judgement {
	enum sip_trust trust;
	const char *why; /* a sentence that lives for ever */
};
struct sip_judgement sip_trust_judge(const struct sip_claim *c);

struct sip_trusting { /* of the hook: its arg */
	const struct sip_edge_ops *ops;
	void *edge;
	const struct sip_routing *routing;
	const struct sip_federating *federating;
	struct sip_registrar *registrar; /* who asks for credentials */
};
/* SIP_STAGE_IDENTITY, behind whoever knows the own network and before the credentials of our users. */
enum sip_step sip_trust_request(struct sip_passage *p, void *arg);
/* A P-Asserted-Identity in a response from a partner must be of a domain that it has proven. */
bool sip_trust_response(struct sip_return *ret, void *arg);
