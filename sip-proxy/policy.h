/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy of the proxy: a chain of small hooks, asked in the order of their stages about each request that begins
 * something (no ACK, no CANCEL, no retransmission), and about each response on its way back. A hook looks at the
 * passage, changes headers through its edit, and either lets it go on or decides. If nobody decides, the core does:
 * a request of a dialog that went through us goes where its route set says; anything else is refused, so that the
 * proxy is no open relay.
 *
 * A hook that must wait for something keeps the passage and resumes it later; meanwhile later messages of the same
 * sender in the same call wait behind it, so nothing overtakes.
 */
#pragma once
#include "sip-proxy/edit.h"
#include "sip-proxy/headers.h"
#include "sip-proxy/refusals.h"
#include "sip-proxy/transport.h"
#include "sip-proxy/write.h"

struct sip_proxy;

enum sip_stage {		      /* the order in which hooks are asked */
		 SIP_STAGE_ADMISSION, /* rates, bans */
		 SIP_STAGE_IDENTITY,  /* who is it? digest, certificate, trusted addresses */
		 SIP_STAGE_HYGIENE,   /* headers that must not pass */
		 SIP_STAGE_ROUTING,   /* registrar, location, static routes, federation */
		 SIP_STAGES
};

enum sip_step {
	SIP_GO_ON,
	SIP_DECIDED, /* sip_forward(), sip_refuse(), sip_answer() or sip_drop() was called: no later hook is asked */
	SIP_WAIT, /* sip_passage_keep() was called; sip_passage_resume() will be */
};

enum { SIP_USER_MAX = 256 };

/* From which side of the proxy somebody speaks; what he may do follows from it (sip-proxy/trust.h). */
enum sip_origin {
	SIP_ORIGIN_STRANGER, /* nobody we know by more than credentials */
	SIP_ORIGIN_LAN,	     /* the own network: sip.lan, sip.sources.trusted, a UC server that is logged on */
	SIP_ORIGIN_ROUTE,    /* the other side of a static route */
	SIP_ORIGIN_PARTNER, /* another domain, proven by its certificate */
};

/* Somebody asks what would be decided, and nothing may happen: no hook counts, charges, asks or waits; each says
 * what it thinks by sip_note(). */
struct sip_explain {
	const struct sip_identity *identity; /* what the sender's certificate is said to prove; NULL: none */
	const char *hook;		     /* the one that speaks, set by the chain */
	void (*note)(void *arg, const char *hook, const char *text);
	void *arg;
};

/* A request on its way through the chain. */
struct sip_passage {
	struct sip_proxy *proxy;
	const struct sip_msg *msg; /* without our own Routes: they have been read already (RFC 3261 16.4) */
	const struct sip_basics *basics; /* of msg */
	struct sip_hop from;		 /* by where it came */
	uint64_t now;			 /* ms; of the call that is under way */
	bool for_us; /* the Request-URI names this proxy or one of its domains, and no Route is left */
	bool in_dialog; /* To has a tag, and the Route that we recorded for this dialog is proven by its MAC */
	bool has_to_tag;
	bool from_outside,
		to_outside; /* in_dialog: this side was of no domain of ours when the dialog began */
	bool has_flow; /* the dialog's Route, or a Path (RFC 5626), names the flow to go on: no other place is found for it */
	bool strict_flow; /* and there is no other way: 430 when it is gone */
	struct sip_hop flow;
	bool may_challenge; /* the dialog leads to a place that may ask for credentials */
	/* What hooks find out. */
	unsigned server; /* number of the UC server that it comes from (sip-proxy/mesh.h); 0: from none */
	bool trusted; /* comes from a side whose identity headers may stand */
	enum sip_origin origin;
	bool authenticated;
	char user[SIP_USER_MAX]; /* who it is: "alice@example.org", or a certificate's name; "" unknown */
	void *scratch[SIP_STAGES]; /* a kept passage's hooks may remember something, each stage its own */
	void (*gone)(struct sip_passage *p); /* set while waiting: the passage dies with the proxy; do not resume */
	bool wants_turn; /* it asks for credentials of stile-turn, and may have them (turn_credentials.h) */
	struct sip_explain *explain; /* not NULL: nothing may happen */
};

/* One place to forward to. All texts are copied. */
struct sip_place {
	struct text uri; /* the new Request-URI; p NULL: it stays */
	struct text routes; /* "<sip:a;lr>, <sip:b;lr>": pushed in front of what is left of Route (Path, RFC 3327) */
	struct text next; /* URI to ask DNS for in place of Route's first or the Request-URI; p NULL: those */
	struct text name; /* secure: what the other end's certificate must cover; p NULL: the host of what DNS is asked for */
	uint16_t q;    /* thousandths; places of one q are tried in parallel, a lower one later */
	bool has_flow; /* to this very hop, no DNS */
	bool only_flow; /* and never by another connection than hop.conn: 430 if that is gone (RFC 5626) */
	bool mutual;	    /* show our certificate */
	bool may_challenge; /* its 401 and 407 pass: a gateway of the administrator's, who knows our users */
	bool federation, sips_srv; /* of struct sip_next */
	bool elsewhere;	    /* never to a listener of our own: 482 */
	bool path_token;    /* Record-Route or Path must bring later requests back to this flow */
	struct sip_hop hop; /* has_flow; else of it only iface counts, if it is not 0 */
	uint16_t group; /* places of one group (not 0) stand for one device: the next one only if one failed to be
			     * reached (430, 408, 503), never after an answer of the device itself (RFC 5626 5.3) */
};
/* Adds a place. 0, -ENOMEM, or -ENOSPC beyond SIP_PLACES_MAX (places of the most q stay). */
enum { SIP_PLACES_MAX = 32 };
int sip_forward(struct sip_passage *p, const struct sip_place *place);
/* A request for which the policy wants to see every later one of the dialog, too: Record-Route. The default for
 * methods that make dialogs (INVITE, SUBSCRIBE, REFER, NOTIFY); this takes it back or asks for it. */
void sip_record_route(struct sip_passage *p, bool wanted);
enum { SIP_DETAIL_MAX = 160 }; /* of a refusal */
/* A request for one of our own users that would leave by its Route: a telephone's outbound proxy, called by a name that is none of
 * ours. A sentence for whoever refuses it, in buf; NULL: it is not so. */
const char *sip_foreign_route(const struct sip_passage *p, char *buf, size_t n);
/* REGISTER on its way to another registrar: a Path of ours (RFC 3327), with the flow's token if place says so. */
void sip_add_path(struct sip_passage *p);

/* detail, which may be NULL, goes to log and ring, never to the wire. lines may be NULL. */
void sip_refuse(struct sip_passage *p, enum sip_refusal why, const char *detail);
struct sip_answer {
	unsigned code;
	struct text reason; /* p NULL: the usual one of the code */
	const struct sip_line *lines;
	unsigned n_lines;
	struct text content_type, body;
};
/* An answer of our own: a challenge, the registrar's 200 … Written at once, so nothing needs to live longer. Below 300 it
 * is kept for retransmissions; others are made again each time, and cost a stranger's request no memory. */
void sip_answer(struct sip_passage *p, const struct sip_answer *a);
void sip_drop(struct sip_passage *p, enum sip_refusal why); /* no answer at all */
bool sip_passage_refuses(const struct sip_passage *p);	    /* decided so far */

/* What the sender's connection has proven; NULL: nothing. Until the next event. */
const struct sip_identity *sip_passage_identity(const struct sip_passage *p);
/* May it use ways out to other domains? Our own users and servers; nobody's partner. */
bool sip_may_leave(const struct sip_passage *p);
/* A sentence for `stile sip explain`; nothing happens unless p->explain. */
void sip_note(const struct sip_passage *p, const char *fmt, ...) _printf_(2, 3);

/* Changes that all forwarded copies get; Via, From, To, Call-ID and CSeq are not to be touched. */
struct sip_edit *sip_passage_edit(struct sip_passage *p);
/* The passage at a place where it can wait (p itself is of the call's stack), or NULL: no memory or too many: refuse. */
struct sip_passage *sip_passage_keep(struct sip_passage *p);
/* Goes on with the next hook, or if decided with the decision. Never from within the hook. p is the kept one. */
void sip_passage_resume(struct sip_passage *p, uint64_t now);

/* A response on its way back. */
struct sip_return {
	struct sip_proxy *proxy;
	const struct sip_msg *msg; /* its topmost Via is ours still */
	const struct sip_basics *basics;
	struct sip_hop from, to; /* whence it came; by where its request came */
	bool to_trusted;	 /* the request's side was trusted */
	bool may_challenge;	 /* of the place that answers */
	const struct sip_place *place; /* where its request went */
	bool wants_turn;	       /* of the request */
	bool from_server;	       /* a hook has found: it comes from a UC server */
	bool asserted;		       /* a hook has judged its P-Asserted-Identity: what is left of it may stand */
	struct sip_edit *edit;
	unsigned replace; /* a hook may make it this code (without headers and body of the original): 0 no */
};

struct sip_hook {
	const char *name;
	enum sip_stage stage;
	/* Either may be NULL. The request one of SIP_STAGE_HYGIENE is asked about the ACK for a 2xx, too: it may edit it, and
	 * nothing else. */
	enum sip_step (*request)(struct sip_passage *p, void *arg);
	/* false: the response is dropped */
	bool (*response)(struct sip_return *ret, void *arg);
	void *arg;
};
