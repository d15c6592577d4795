/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where SIP messages come from and go to, in words that need no socket: the meeting point of the protocol core
 * (transactions, routing), which does no I/O, and the edge (sip-proxy/edge.h), which owns sockets, connections, TLS
 * and DNS. The core calls the edge through struct sip_edge_ops, so that a test stands in for it; the edge calls the
 * core through struct sip_edge_events. Everything is in one thread; nothing blocks; no callback comes from inside of
 * a call that asked for it.
 *
 * The pure rules of RFC 3261 18, RFC 3581 and RFC 5923 that both need are functions here (sip-proxy/transport.c).
 */
#pragma once
#include "common/addr.h"
#include "common/list.h"
#include "sip-proxy/headers.h"
#include "sip-proxy/msg.h"

/* ---- transports ---- */

enum sip_proto { SIP_UDP, SIP_TCP, SIP_TLS, SIP_WS, SIP_WSS, SIP_PROTOS };
struct sip_proto_row {
	const char *name; /* "udp": of URIs' transport parameters, the configuration, metrics */
	struct text via;  /* "UDP" */
	uint16_t port;	  /* default: 5060, 5061 … */
	bool reliable, secure;
};
extern const struct sip_proto_row sip_proto_rows[SIP_PROTOS];
/* By a Via's or a URI parameter's word, case does not count; -EINVAL. */
int sip_proto_parse(struct text word, enum sip_proto *ret_p);

enum {
	SIP_UDP_MAX = 1300, /* a longer request goes by a transport with congestion control (RFC 3261 18.1.1) */
	SIP_SENT_BY_MAX = 270, /* "host:port" */
	SIP_TARGETS_MAX = 16,
};

/* A listener: what a Via, a Record-Route and a Contact of ours say. */
struct sip_interface {
	uint32_t id; /* never 0, never another one's; the same after a restart */
	enum sip_proto proto;
	bool mutual;		       /* demands certificates */
	bool lan;		       /* trusted side; sites and federation read it */
	bool federation;	       /* for partners alone */
	bool removed;		       /* takes nothing new; what came in by it goes on */
	struct addr at;		       /* as bound; may be a wildcard */
	char sent_by[SIP_SENT_BY_MAX]; /* for Via and URIs: host:port */
};

/* Who the other end of a connection is, proven in its handshake: the certificate's identities of RFC 5922 7.1 (SIP URIs
 * without user, and DNS names if there are none of those). One that was not verified has none at all. */
struct sip_identity {
	bool verified;
	unsigned n;
	const char *const *names; /* lower case */
	char sha256[65];	  /* of the certificate */
};
/* RFC 5922 7.2: the very name, case does not count; wildcards never match. */
bool sip_identity_covers(const struct sip_identity *id, struct text domain);

/* One end of a message's way: a value to copy and keep. */
struct sip_hop {
	enum sip_proto proto;
	uint32_t iface;	    /* sip_interface.id; 0: any that fits */
	uint64_t conn;	    /* the connection, never used again; 0: none (UDP), or whichever fits */
	struct addr remote; /* from where it came, where to it goes */
	struct addr local;  /* our address, as far as it is known */
};

/* ---- what the core asks of the edge ---- */

/* A place to send to. */
struct sip_target {
	struct sip_hop hop;
	bool only_flow; /* over this very connection (hop.conn), or not at all (RFC 5626); UDP: no difference */
	bool mutual; /* show our certificate, too (it is asked for by most) */
	bool federation; /* a partner: leaves by the interface for them, if there is one */
	struct text name; /* secure: the domain that the other end's certificate must cover (RFC 5922 4): the one of the
			   * URI, not what DNS made of it. Empty: responses, which go to who asked. Read during the call */
	uint16_t reply_port; /* of a response: if the connection is gone, a new one goes to hop.remote's address and this
			      * port (RFC 3261 18.2.2); 0: no new one */
};

/* Told once if the bytes did not get there: the connection was refused, is gone, the handshake failed, an ICMP error
 * came. Lives in a transaction; linked from a successful send() until failed() or sip_wait_forget(). Success is silence. */
struct sip_wait {
	struct list node;
	struct addr remote;					      /* UDP: of the edge */
	void (*failed)(struct sip_wait *w, int err, const char *why); /* err: positive errno; may free w */
	uint64_t conn, held; /* of the edge: where it waits for a connection that is being made; held 0: it does not */
};
static inline void sip_wait_forget(struct sip_wait *w)
{
	list_unlink(&w->node);
}

/* What to ask DNS for (RFC 3263): the URI of the next hop, or of the response's Via. */
struct sip_next {
	struct text host; /* name or address; IPv6 without brackets */
	uint16_t port;	  /* 0: none given */
	bool sips;
	bool has_proto; /* a transport parameter */
	enum sip_proto proto;
	bool federation; /* another domain: by its SRV _sipfederationtls._tcp alone, and to public places */
	bool sips_srv;	 /* … or else by _sips._tcp */
};
/* The places of a name in the order to try them, healthy ones first; never empty if status is 0. */
struct sip_lookup {
	void (*done)(struct sip_lookup *l, int status, const char *why,
		     const struct sip_target *targets, unsigned n);
	void *under_way; /* of the edge */
};

struct sip_edge_ops {
	/* Sends, or queues while a connection is being made. 0; -ENOBUFS the peer's queue is full; -ENOTCONN the flow is
	 * gone (only_flow); -EMSGSIZE; -ENETUNREACH no listener fits; -ENOMEM … The bytes are copied if they must wait.
	 * w may be NULL. ret_used, which may be NULL: the hop as it is now (interface, connection, our address). */
	int (*send)(void *edge, const struct sip_target *to, struct text bytes, struct sip_wait *w,
		    struct sip_hop *ret_used);
	/* The interface by which send() would leave: its sent_by is what the Via must say. NULL: none fits. */
	const struct sip_interface *(*interface_for)(void *edge, const struct sip_target *to);
	const struct sip_interface *(*interface)(void *edge, uint32_t id); /* NULL: gone */
	bool (*is_us)(void *edge, struct text host,
		      uint16_t port); /* an address and port (0: the default) of a listener */
	bool (*alive)(void *edge, const struct sip_hop *hop); /* the flow can be sent on; UDP: its interface is there */
	const struct sip_identity *(*identity)(void *edge, uint64_t conn); /* NULL: none; until the next event */
	/* 0, or -ENOMEM, -EBUSY; then done() comes once, unless lookup_cancel() is called. */
	int (*lookup)(void *edge, const struct sip_next *next, struct sip_lookup *l);
	void (*lookup_cancel)(void *edge, struct sip_lookup *l);
	/* How it went: a place that failed is tried behind the others for a while. err 0: it answered. */
	void (*report)(void *edge, const struct sip_target *to, int err);
	/* Each of these may be NULL: no, never. Does this place count as failing now? */
	bool (*fails)(void *edge, const struct sip_target *to);
	/* What was sent with w has not left yet: it waits for a connection that is being made. */
	bool (*held)(void *edge, const struct sip_wait *w);
	/* This connection is a page's in a browser, or it is gone and could have been one: who opens the page need not know, so that
	 * where it comes from is no proof of who speaks. */
	bool (*is_page)(void *edge, const struct sip_hop *hop);
	/* Takes it back, if it has not left: true, then it will not be sent, and w is forgotten. The connection is made
	 * nevertheless, for whoever comes next. */
	bool (*withdraw)(void *edge, struct sip_wait *w);
};
static inline bool sip_from_page(const struct sip_edge_ops *ops, void *edge, const struct sip_hop *hop)
{
	return ops->is_page && ops->is_page(edge, hop);
}

/* ---- what the edge tells the core ---- */

struct sip_edge_events {
	/* A whole message, parsed and taken by the admission; m and its bytes live as long as the call. now: ms */
	void (*message)(void *core, const struct sip_msg *m, const struct sip_hop *hop, uint64_t now);
	void (*closed)(void *core, uint64_t conn,
		       uint64_t now); /* no more from it: its flows are dead (RFC 5626) */
};

/* ---- rules ---- */

/* A Via's value without the parameters that gone() names: others can be put behind it. */
void sip_via_without(const struct sip_via *v, bool (*gone)(struct text name), struct sb *b);
/* The topmost Via's value with received and rport as RFC 3261 18.2.1 and RFC 3581 4 want them: received if the sent-by
 * is another address or if rport was asked for. Length, or -ENOSPC. If nothing must change: 0. */
ptrdiff_t sip_via_fill(const struct sip_via *v, const struct addr *remote, char *buf, size_t cap);
/* Where the response to a request with this (filled in) Via goes, which came in there: that flow first (RFC 3261 18.2.2, RFC 3581 4). */
struct sip_target sip_reply_target(const struct sip_via *v, const struct sip_hop *came);
