/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One way out of a LAN: a connection to the tunnel server, found by trying everything that could work, a
 * little apart, and taking the first whose TLS handshake succeeds (RFC 8305). Tried are all addresses
 * of the server's name, IPv6 and IPv4 in turn, at its port, then at the fallback ports; and each port
 * through an HTTP proxy, too, if there is one. A try that fails makes room for the next at once. What worked
 * last time has the first place.
 *
 *   stagger   DIAL_STAGGER_MS after a try was begun: the next one begins
 *   deadline  DIAL_DEADLINE_MS after the start: nothing has worked
 *
 * Each try that failed leaves half a sentence; together they are the reason that an administrator reads.
 */
#pragma once
#include "common/dns.h"
#include "common/stream.h"
#include "tunnel/agent/proxy.h"

enum {
	DIAL_STAGGER_MS = 300,
	DIAL_TRY_MS = 10000,
	DIAL_DEADLINE_MS = 30000,
	DIAL_PORTS_MAX = 8,
	DIAL_ADDRESSES_MAX = 8, /* of one name */
	DIAL_AT_ONCE = 12,
	DIAL_WHY_MAX = 1024,
};

struct dial_way {	  /* how it went, or is to go */
	struct addr addr; /* of the server, or of the proxy */
	uint16_t port;	  /* of the server */
	bool proxied;
};

struct dial_result {	       /* lives as long as the call of done() */
	struct stream *stream; /* open, nothing read from it; the receiver's. NULL: failed */
	struct dial_way way;
	const char *why;
	bool foreign; /* some try met a server with another key than expected */
};

struct dial_options { /* copied; what it points to lives as long as the dial, but host, only and first */
	struct loop *loop;
	struct dns *dns;
	const char *host;
	uint16_t ports[DIAL_PORTS_MAX]; /* in the order in which they are tried */
	unsigned n_ports;
	const struct proxy *proxy;		  /* NULL: none */
	struct tls_ctx *tls;			  /* NULL: plain TCP */
	const struct dial_way *only;		  /* nothing else is tried; NULL: everything */
	const struct dial_way *first; /* what worked last time: begun at once, without asking names; may be NULL */
	unsigned stagger_ms, try_ms, deadline_ms; /* 0: as above */
	void (*done)(const struct dial_result *r, void *arg); /* once, from the loop; the dial is gone then */
	void *arg;
};

struct dial;
/* 0, -ENOMEM, or -EINVAL: no ports. */
int dial_start(const struct dial_options *o, struct dial **ret_d);
struct dial *dial_cancel(struct dial *d); /* done() will not be called; NULL is fine */
