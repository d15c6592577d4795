/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent's supervisor and its child say to each other, over one SOCK_SEQPACKET socket pair: a message is one
 * packet, `u8 type` and fields as in tunnel/link/wire.h, with at most one descriptor. The rows are in child_msg.c.
 *
 * The supervisor has the control links, the configuration, the signatures and the rules; the child has what reads the
 * network: ICE, QUIC, and their sockets. So the supervisor takes nothing from the child on trust but what costs the child's own
 * sessions, and keeps none of its bytes unparsed. Both ends are of one build: there are no versions.
 *
 * Texts and bytes of a parsed message are slices of the packet. Absent numbers are 0, absent texts empty.
 */
#pragma once
#include "tunnel/link/wire.h"

enum {
	CHILD_PACKET_MAX = 32768,
	CHILD_CANDIDATES_MAX = 16, /* of one message */
	CHILD_CANDIDATE_MAX = 511,
	CHILD_ADDRESSES_MAX = 8,
	CHILD_SERVERS_MAX = 8,
	CHILD_EXTRA_MAX = 2048,
	CHILD_MEMORY_MAX = 16384,
	CHILD_SHOW_MAX = 24576,
	CHILD_DCID = 18,
};

enum child_type {
	/* supervisor to child */
	CHILD_SETUP = 0x01,	     /* first; and again when a value has changed (the identity never does) */
	CHILD_TURN = 0x02,	     /* one TURN server; number 0 forgets those before */
	CHILD_NETWORK_CHANGED = 0x03, /* addresses of this host came or went */
	CHILD_PROBE = 0x04,	     /* say ALIVE; who does not for 15 s has hung, and is killed */
	CHILD_LINK_OPEN = 0x10,	     /* begin: gather, and be ready for the peer */
	CHILD_ICE_REMOTE = 0x11,     /* what the peer has gathered; checked: signature, order. Not checked: what candidates say */
	CHILD_CARRIER = 0x12,	     /* with a descriptor: a byte stream to the peer, for framed packets; or that there is none, and why */
	CHILD_LINK_CLOSE = 0x13,
	CHILD_LISTEN = 0x14,   /* with a descriptor: bound (and listening) here; each connection, or flow, goes to a target of the peer */
	CHILD_UNLISTEN = 0x15, /* what is open goes on */
	CHILD_ADMITTED = 0x16, /* answer to ADMIT */
	CHILD_PING = 0x18,
	/* child to supervisor */
	CHILD_READY = 0x40,	/* answer to the first SETUP: privileges dropped, threads run */
	CHILD_ICE_LOCAL = 0x41, /* of a link or of its next generation: what is there at once; candidates follow as they come */
	CHILD_WANT_CARRIER = 0x42,
	CHILD_LINK_STATE = 0x43, /* at each change, and once a second while numbers change */
	CHILD_LINK_GONE = 0x44,	 /* it is over, also after LINK_CLOSE; the number is not heard of again */
	CHILD_ADMIT = 0x45,	 /* may this peer reach this target? ADMITTED comes in any case */
	CHILD_STREAM = 0x46,	 /* a connection or flow has begun, or ended */
	CHILD_PONG = 0x47,
	CHILD_MEMORY = 0x48, /* to be kept for the next SETUP */
	CHILD_LOG = 0x49,
	CHILD_ALIVE = 0x4a,
	CHILD_SHOW = 0x4b, /* what people may want to know of a link, or of the site: JSON that is passed on, and acted upon by nobody */
	/* both ways */
	CHILD_SIGNAL = 0x60, /* bytes for the peer's child, or from it: signed, in order, through the server */
};

enum child_role {
	CHILD_VISITOR = 1, /* QUIC client, ICE controlling */
	CHILD_HOST = 2,	   /* QUIC server, ICE controlled */
};
enum child_path { /* best first, but for the two relays, which are measured */
	CHILD_PATH_NONE,
	CHILD_PATH_UDP, /* direct: ICE's pair */
	CHILD_PATH_RAW, /* direct: punched by the prober */
	CHILD_PATH_TCP, /* direct, framed */
	CHILD_PATH_TURN,
	CHILD_PATH_RELAY, /* framed, through the server */
	CHILD_PATHS
};
extern const char *const child_path_names[CHILD_PATHS]; /* "direct", "direct-punched", "direct-tcp", "turn", "relay" … */
enum child_link_state { CHILD_LINK_CONNECTING = 1, CHILD_LINK_UP, CHILD_LINK_INTERRUPTED /* no path; goes on */, CHILD_LINK_STATES };

/* Bits of flags in SETUP. */
enum {
	CHILD_F_NO_DIRECT = 1 << 0, /* relays only (for tests and for people who want that) */
	CHILD_F_NO_IPV6 = 1 << 1,
	CHILD_F_NO_PORTMAP = 1 << 2, /* neither UPnP nor NAT-PMP nor PCP */
	CHILD_F_NO_PROBES = 1 << 3,  /* no birthday probes, no raw UDP */
	CHILD_F_NO_TCP = 1 << 4,     /* no direct TCP */
	CHILD_F_NO_TURN = 1 << 5,
	CHILD_F_LOOPBACK = 1 << 7, /* the server is on this host: loopback candidates count */
};
struct child_setup {
	struct wire_bytes key, certificate; /* of the identity, DER: PKCS #8 and X.509 */
	struct wire_bytes identity;	    /* WIRE_PIN: SHA-256 of its SubjectPublicKeyInfo */
	struct text stun[CHILD_SERVERS_MAX]; /* HOST:PORT */
	uint16_t n_stun;
	uint32_t flags;
	uint16_t first_port, last_port; /* of direct UDP sockets; 0: any */
	struct text congestion;		/* "bbr", "bbr2", "cubic"; empty: bbr */
	struct wire_bytes memory;	/* the last MEMORY */
};
struct child_turn {
	uint16_t number; /* 0, 1 … */
	struct text host; /* name or address; empty: no TURN server at all */
	uint16_t port;
	uint8_t tcp; /* 1: TURN over TCP */
	struct text username, password;
};
struct child_nothing {
	uint8_t none;
};
enum { CHILD_HEAD_START_ONLY_DIRECT = 0xffffffffu };
struct child_link_open {
	uint32_t link; /* never used twice by a supervisor */
	uint8_t role;  /* enum child_role */
	struct wire_bytes peer; /* WIRE_PIN: its identity */
	struct text name;	/* for the log */
	struct wire_bytes dcid; /* CHILD_DCID: of the visitor's first packets; the host takes no others */
	uint32_t head_start;	/* ms for direct paths alone; CHILD_HEAD_START_ONLY_DIRECT: no relay ever */
	uint8_t no_relay;	/* the server has none to offer */
};
struct child_ice { /* ICE-LOCAL, ICE-REMOTE */
	uint32_t link, generation; /* 0; one more with each restart: the candidates of before do not count any more */
	struct text ufrag, pwd;	   /* in the first of a generation */
	struct text candidates[CHILD_CANDIDATES_MAX]; /* "candidate:…", RFC 8839 */
	uint16_t n_candidates;
	uint8_t done; /* no more of this generation */
	struct wire_bytes extra; /* what else the two children tell each other with it */
};
struct child_carrier {
	uint32_t link;
	uint8_t kind;	  /* enum child_path: RELAY */
	struct text text; /* "relay of tunnel.example.org", or why there is none (no descriptor) */
	uint8_t final;	  /* there will never be one: do not ask again */
};
struct child_link { /* LINK-CLOSE, WANT-CARRIER, LINK-GONE */
	uint32_t link;
	uint8_t reason; /* enum wire_reason */
	struct text text;
};
struct child_listen {
	uint32_t visit; /* number of the listener */
	uint32_t link;
	uint8_t kind; /* enum wire_job_kind: TCP or UDP */
	struct text host; /* the target, as the peer resolves it */
	uint16_t port;
	uint32_t connections; /* at once; 0: no limit of its own */
};
struct child_visit { /* UNLISTEN */
	uint32_t visit;
};
struct child_admit {
	uint64_t request;
	uint32_t link;
	uint8_t kind; /* enum wire_job_kind */
	struct text host;
	uint16_t port;
};
struct child_admitted {
	uint64_t request;
	uint8_t reason; /* enum wire_reason; 0: yes */
	struct text text;
	struct addr addresses[CHILD_ADDRESSES_MAX]; /* with the port, in the order in which they are to be tried */
	uint16_t n_addresses;
};
struct child_link_state_msg {
	uint32_t link;
	uint8_t state; /* enum child_link_state */
	uint8_t path;  /* enum child_path */
	struct addr local, remote; /* of the path; unset where that means nothing */
	uint32_t rtt_us, loss_ppm;
	uint64_t rate[2];	/* bit/s now: sent, received */
	uint64_t bytes[2];	/* since the link began */
	uint64_t since;		/* unix ms: on this path */
	struct text reason;	/* why it is not better; empty: it is the best */
	struct text pair;	/* "host udp 192.0.2.1:5000 - srflx udp …" */
	uint16_t local_candidates, remote_candidates;
	uint32_t streams;
	uint32_t moves;	     /* path changes so far */
	uint32_t gap_max_us; /* longest gap of delivery at one */
	uint8_t trying;	     /* 1: a better path is being looked for */
};
enum child_stream_event { CHILD_STREAM_OPENED = 1, CHILD_STREAM_ENDED, CHILD_STREAM_REFUSED };
struct child_stream_msg {
	uint32_t link, visit; /* visit: at the visitor */
	uint64_t stream;      /* unique in its link */
	uint8_t event;	      /* enum child_stream_event */
	uint8_t kind;	      /* enum wire_job_kind */
	struct text host;     /* of the target */
	uint16_t port;
	struct addr source, target; /* what is known of them at this end */
	uint64_t bytes[2];	    /* ENDED: to the target, and back */
	uint8_t reason;		    /* enum wire_reason */
	struct text text;
};
struct child_ping { /* PING, PONG */
	uint32_t link;
	uint64_t cookie;
	uint32_t rtt_us; /* PONG; 0: no answer */
	uint8_t path;	 /* enum child_path: on which it came back */
};
struct child_memory {
	struct wire_bytes memory;
};
struct child_log {
	uint8_t level; /* enum log_level */
	uint32_t link; /* 0: none */
	struct text text;
};
struct child_show {
	uint32_t link; /* 0: of the site */
	struct wire_bytes json;
};
struct child_signal {
	uint32_t link;
	struct wire_bytes body;
};

union child_any {
	struct child_setup setup;
	struct child_turn turn;
	struct child_nothing nothing; /* NETWORK-CHANGED, PROBE, READY, ALIVE */
	struct child_link_open link_open;
	struct child_ice ice;
	struct child_carrier carrier;
	struct child_link link;
	struct child_listen listen;
	struct child_visit visit;
	struct child_admit admit;
	struct child_admitted admitted;
	struct child_link_state_msg link_state;
	struct child_stream_msg stream;
	struct child_ping ping;
	struct child_memory memory;
	struct child_log log;
	struct child_show show;
	struct child_signal signal;
};

enum { CHILD_TO_CHILD = 1, CHILD_TO_SUPERVISOR = 2 };
/* A whole packet. way: who reads it. */
enum wire_error child_parse(const uint8_t *p, size_t n, unsigned way, unsigned *ret_type, union child_any *ret_m);
void child_write(struct wr *w, unsigned type, const void *msg); /* latches w->failed as wire_write() does */
extern const struct wire_frame child_frames[];
extern const size_t child_n_frames;
