/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NAT behaviour discovery, the client's side (RFC 5780 4): is there a NAT, how does it map (4.3) and filter
 * (4.4), does it turn packets to its own outside around (hairpinning, 3.3), how long does a binding live
 * (4.6); and the classic name of all this (RFC 3489 5). Servers of RFC 3489 with CHANGED-ADDRESS will do.
 *
 * No I/O and no clock: two UDP sockets belong to the caller, who sends what it is told to, feeds what arrives and
 * runs the timers. Socket 0 speaks to nobody but the server's first address, so that what it receives
 * tells how strangers are filtered; socket 1 asks the other addresses. What a server cannot show is
 * reported as not known, with the reason; it is never guessed.
 */
#pragma once
#include "common/addr.h"
#include "common/timers.h"

enum { NAT_SOCKETS = 2 };

enum nat_mapping { /* RFC 4787 4.1 */
	NAT_MAPPING_UNKNOWN,
	NAT_MAPPING_NONE, /* no NAT: the mapped address is our own */
	NAT_MAPPING_ENDPOINT,	  /* endpoint-independent: one mapping for all destinations */
	NAT_MAPPING_ADDRESS,	  /* another one for each address */
	NAT_MAPPING_ADDRESS_PORT, /* another one for each address and port */
	NAT_MAPPING_VARIES,	  /* by destination; on what it depends could not be found out */
	NAT_MAPPINGS
};
enum nat_filtering { /* RFC 4787 5 */
	NAT_FILTERING_UNKNOWN,
	NAT_FILTERING_ENDPOINT, /* endpoint-independent: everybody gets in */
	NAT_FILTERING_ADDRESS,
	NAT_FILTERING_ADDRESS_PORT,
	NAT_FILTERINGS
};
enum nat_type { /* the names that administrators know */
	NAT_UNKNOWN,
	NAT_OPEN_INTERNET,
	NAT_FULL_CONE,
	NAT_RESTRICTED_CONE,
	NAT_RESTRICTED_PORT_CONE,
	NAT_SYMMETRIC,
	NAT_UDP_BLOCKED,
	NAT_SYMMETRIC_FIREWALL,
	NAT_TYPES
};
enum nat_known { NAT_NOT_KNOWN, NAT_NO, NAT_YES };

/* Why something is not known; a set of bits. */
enum nat_gap {
	NAT_GAP_NO_OTHER = 1 << 0,	   /* the server has only one address */
	NAT_GAP_OTHER_SILENT = 1 << 1,	   /* its other address or port answers nobody */
	NAT_GAP_NO_CHANGE = 1 << 2,	   /* it cannot answer from its other address */
	NAT_GAP_INSIDE = 1 << 3,	   /* it is on our side of a NAT */
	NAT_GAP_NO_RESPONSE_PORT = 1 << 4, /* binding lifetime: it cannot answer to another port */
	NAT_GAP_REFUSED = 1 << 5,	   /* it answers Binding requests with an error */
	NAT_GAP_END = 1 << 6,
};

struct nat_result {
	int error;	     /* 0, or -ENOMEM, -EIO (no random numbers): nothing else is set */
	bool answered;	     /* the server answered over UDP at all */
	struct addr server;
	struct addr local, mapped; /* of socket 0 */
	struct addr other;   /* the server's other address; AF_UNSPEC: none, or none that can be believed */
	enum nat_mapping mapping;
	enum nat_filtering filtering;
	enum nat_type type;
	enum nat_known hairpin;
	enum nat_known port_kept; /* outside the same port as inside */
	unsigned gaps;	     /* of enum nat_gap */
	uint64_t rtt_ms;
	/* A binding lives at least so long and less than so long without traffic: 0 and 0 not measured;
	 * TIMERS_NEVER: longer than was waited for. */
	uint64_t lifetime_min_ms, lifetime_max_ms;
};

struct nat;
struct nat_ops {
	void (*send)(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg);
	void (*done)(const struct nat_result *r, void *arg); /* once; nat_free() is allowed in it */
	uint64_t (*now)(void *arg);
};
struct nat_options {
	struct timers *timers;
	const struct nat_ops *ops;
	void *arg;
	struct addr server;
	struct addr second; /* a server elsewhere, to compare mappings if the first has one address; or AF_UNSPEC */
	struct addr local[NAT_SOCKETS]; /* the sockets' own addresses towards the server */
	uint64_t lifetime_ms; /* how long to wait at most for a binding to end; 0: do not measure */
};
/* 0 or -ENOMEM; begins at once. Each silence takes about four seconds, the lifetime up to a few times lifetime_ms. */
int nat_new(const struct nat_options *o, struct nat **ret_n);
struct nat *nat_free(struct nat *n);
DEFINE_CLEANUP(struct nat, nat_free)
void nat_input(struct nat *n, unsigned socket, const struct addr *from, const void *p, size_t len);

/* Private, shared and local addresses: a server that has one is in a network of ours. */
bool nat_is_inside(const struct addr *a);

/* ---- words: stun/nat_words.c ---- */
enum nat_type nat_type_of(bool answered, enum nat_mapping m, enum nat_filtering f, unsigned gaps);
const char *nat_type_name(enum nat_type t);	      /* "Full Cone" */
const char *nat_type_key(enum nat_type t);	      /* "full-cone": for programs */
const char *nat_type_meaning(enum nat_type t);	      /* what it means for direct connections, a sentence */
const char *nat_type_reaches(enum nat_type t);     /* which other sites agents here reach directly: tests/netns/matrix.py */
const char *nat_mapping_name(enum nat_mapping m);     /* "endpoint-independent" */
const char *nat_filtering_name(enum nat_filtering f);
/* Sentences for the gaps, one bit each; NULL if the bit means nothing. */
const char *nat_gap_text(enum nat_gap one);
