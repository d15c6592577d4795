/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a path between two agents. One struct ice in a process is a thread with libnice in it (GLib's context lives
 * nowhere else); a struct ice_try is one attempt to reach one peer: it gathers candidates, gives them out as lines of
 * text, takes the peer's, checks, and tells each path that works, better ones later. Beside ICE it does what ICE cannot:
 * ports mapped by the router, probing of symmetric NATs, TCP simultaneous open. Whoever uses it sees lines go out,
 * lines come in, and paths.
 *
 * It carries lines, and is told who the peer is by nobody: offers are signed, and links authenticated, elsewhere. It
 * holds a path open by STUN (RFC 7675) as long as the attempt lives, and lets go of it with the attempt.
 *
 * ICE restart: a new attempt on both sides, with the old one freed when the new one's path has proven itself (or at
 * once). A struct ice_try belongs to the loop that made it: all calls from there, all callbacks there.
 */
#pragma once
#include <jansson.h>
#include <sys/uio.h>
#include "common/loop.h"
#include "tunnel/direct/candidate.h"

struct ice;
struct ice_try;

enum {
	ICE_UFRAG_MAX = 32, /* RFC 8445 5.3: 4 to 256; ours have 8 and 24 characters */
	ICE_PWD_MAX = 64,
	ICE_STUN_MAX = 8,
	ICE_TURN_MAX = 4,
	ICE_LINES_MAX = 64, /* that one attempt takes from its peer, good or bad, before it stops reading them */
};

struct ice_turn {
	struct addr server; /* TURN over UDP or TCP. Not TLS: libnice speaks plain text there */
	bool tcp;
	char user[513], password[257];
};
/* What holds for all attempts from now on. Copied. */
struct ice_settings {
	struct addr stun[ICE_STUN_MAX];
	size_t n_stun;
	struct ice_turn turn[ICE_TURN_MAX];
	size_t n_turn;
	uint16_t port_min, port_max; /* of our sockets; 0 and 0: any */
	bool no_ipv6;
	bool no_port_mapping;
	bool no_probing; /* of symmetric NATs */
	bool no_tcp;
	bool loopback;	/* loopback addresses are candidates: the tunnel's server is on this machine */
	uint64_t study_after_ms; /* how the NAT filters, and for how long it remembers, is looked at so long after the start; 0: as is best */
	struct text memory; /* what on_memory() was given in an earlier run; read in ice_new() */
	/* What was learned about this site's NAT, to be kept for the next run; NULL: nothing is remembered. */
	void (*on_memory)(struct text memory, void *arg);
	void *arg;
};

/* l: whose loop runs behaviour discovery and port mapping; it and the loops of the attempts end after ice_free().
 * 0, -ENOMEM, -EAGAIN. */
int ice_new(struct loop *l, const struct ice_settings *s, struct ice **ret_i);
struct ice *ice_free(struct ice *i); /* after its attempts; joins the thread */
DEFINE_CLEANUP(struct ice, ice_free)
int ice_set(struct ice *i, const struct ice_settings *s); /* for later attempts; 0, -ENOMEM, -EAGAIN: of a router nothing is asked */
void ice_network_changed(struct ice *i); /* what was found out about the network is asked again */
unsigned ice_binding_s(const struct ice *i); /* how long the NAT keeps a silent binding, at least; 0: not known, or long */
json_t *ice_show(const struct ice *i);	 /* what is known about this site: NAT behaviour, mapped ports, servers */

enum ice_kind {
	ICE_DIRECT,    /* a pair of libnice: fd is a duplicate of its bound socket, and libnice goes on reading STUN there.
			* Take it over with SO_REUSEPORT and a filter; never read it */
	ICE_RAW,       /* punched by our prober: fd is a UDP socket of your own, bound, not connected. Keep it open by traffic */
	ICE_TCP,       /* fd is a connected TCP socket between the two agents: frames of path_framed.c */
	ICE_RELAYED,   /* over TURN: no fd; send by ice_try_send(), receive by on_data (path_turn.c) */
	ICE_KINDS
};
struct ice_path {
	enum ice_kind kind;
	int fd; /* yours to close; -1: ICE_RELAYED */
	struct addr local, remote; /* as bound, as seen from here */
	enum candidate_type local_type, remote_type; /* SRFLX here: the socket is behind a NAT that we know */
	uint64_t after_ms; /* since the attempt began */
	unsigned rank; /* higher is better: direct of ICE, raw, TCP, relayed */
};
enum ice_state {
	ICE_GATHERING,
	ICE_CHECKING,
	ICE_CONNECTED, /* there is a path of this attempt */
	ICE_FAILED,    /* there is no path, and this attempt will find none; final */
};
struct ice_ops {
	/* A line for the peer, as soon as it is known; NULL: these were all. Lines are at most CANDIDATE_LINE_MAX. */
	void (*on_line)(struct ice_try *t, const char *line, void *arg);
	/* A path works. There may come several; a later one of a rank that is not lower takes an earlier one's place, and
	 * the earlier one of the same kind is no longer kept open by us. */
	void (*on_path)(struct ice_try *t, struct ice_path *p, void *arg);
	/* There is no path of this kind in this attempt any more, or there will be none: its checks found nothing, or are no
	 * longer answered. The others go on. */
	void (*on_lost)(struct ice_try *t, enum ice_kind k, void *arg);
	/* Of all of it: ICE_CHECKING, ICE_CONNECTED, ICE_FAILED. ice_try_free() is allowed in all callbacks but on_data. */
	void (*on_state)(struct ice_try *t, enum ice_state s, void *arg);
	/* Datagrams of the relayed path, a batch of them at a time; the memory is valid in the callback only. */
	void (*on_data)(struct ice_try *t, const struct iovec *v, size_t n, void *arg);
};
struct ice_try_options {
	bool controlling; /* the visitor's end */
	bool relay_only;  /* for tests, and for who must not show his addresses */
	bool no_relay;
	const struct ice_ops *ops;
	void *arg;
};
/* Begins to gather at once. 0, -ENOMEM, -EIO (no random numbers). No callback before it has returned. */
int ice_try_new(struct ice *i, struct loop *l, const struct ice_try_options *o, struct ice_try **ret_t);
struct ice_try *ice_try_free(struct ice_try *t); /* a path's socket that was given out lives on */
DEFINE_CLEANUP(struct ice_try, ice_try_free)

/* For the offer or the answer; known at once. */
const char *ice_try_ufrag(const struct ice_try *t);
const char *ice_try_pwd(const struct ice_try *t);
/* The peer's, once, as they are in its offer or answer; lines may be given before. 0 or -EINVAL: characters or
 * lengths that RFC 8839 5.4 does not have. */
int ice_try_remote(struct ice_try *t, const char *ufrag, const char *pwd);
/* A line of the peer's; NULL: these were all. 0, or a positive candidate_verdict: it is not used, and was counted. */
int ice_try_line(struct ice_try *t, const char *line);
/* Whether a direct path may still be found: checks, probes or TCP go on, and none of them has one that is of UDP. */
bool ice_try_searches(const struct ice_try *t);
/* Over TURN: n datagrams. How many were taken: fewer where the socket would block; -ENOTCONN without such a path. */
int ice_try_send(struct ice_try *t, const struct iovec *v, size_t n);
/* How to read a stuck attempt, in words: what was tried, and why it did not work. Never NULL. */
const char *ice_try_why(struct ice_try *t);
/* Candidates of both sides, pairs, refused lines, state, why: for `stile agent peers`. */
json_t *ice_try_show(struct ice_try *t);
const char *ice_kind_name(enum ice_kind k); /* "direct", "raw", "tcp", "turn" */
