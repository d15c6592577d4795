/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile-turn and stile-fastpath say to each other, over a SOCK_SEQPACKET Unix socket, one per worker:
 *
 *   turn → helper   HELLO               helper → turn   WELCOME, with the slots' memory as a descriptor
 *   turn → helper   ADD a channel       helper → turn   ADDED: its slot, and whether it is in the kernel
 *   turn → helper   REMOVE a slot       helper → turn   REMOVED
 *                                       helper → turn   STATE: a channel's way has changed (routes)
 *
 * Each message is one packet of FAST_MSG_LEN bytes: magic, version, type, sequence number, body, zeroes. An
 * answer carries the number of what it answers. Expiry and counters need no message: turn/fastpath/layout.h.
 * A message that is not exactly this ends the connection. Integers are big-endian.
 */
#pragma once
#include "common/addr.h"

enum {
	FAST_MSG_LEN = 128,
	FAST_VERSION = 1,
	FAST_NAMES_LEN = 64,	/* the interfaces' names, for people */
	FAST_UNANSWERED_MAX = 64, /* requests of one connection without an answer */
};

#define FAST_NO_SLOT UINT32_MAX

enum fast_type { FAST_HELLO = 1, FAST_WELCOME, FAST_ADD, FAST_ADDED, FAST_REMOVE, FAST_REMOVED, FAST_STATE };
enum fast_mode { FAST_OFF, FAST_TC, FAST_XDP, FAST_AUTO }; /* also the values of turn.fast_path.mode */

/* Why a channel is not in the kernel. The first ones only stile-turn says. */
enum fast_why {
	FAST_OFFLOADED,
	FAST_WHY_DISABLED,   /* turn.fast_path.mode is off */
	FAST_WHY_NO_HELPER,  /* stile-fastpath does not answer */
	FAST_WHY_WAITING,    /* asked, no answer yet */
	FAST_WHY_TRANSPORT,  /* the client came over TCP, TLS or DTLS */
	FAST_WHY_AWAY,	     /* the client's connection broke (RFC 8016) */
	FAST_WHY_BITRATE,    /* a bit rate is limited, which is counted exactly in user space */
	FAST_WHY_OWN_PEER,   /* the peer is a relay socket of this server */
	FAST_WHY_NO_PERMISSION,
	FAST_WHY_FULL,	     /* turn.fast_path.channels */
	FAST_WHY_MEMORY,
	FAST_WHY_BAD,	     /* the helper would not have it: an address that is not of this machine */
	FAST_WHY_NO_ROUTE,   /* or one that goes nowhere in particular: loopback, broadcast */
	FAST_WHY_INTERFACE,  /* the way goes over an interface that has no fast path */
	FAST_WHY_NEIGHBOUR,  /* XDP: the next hop's MAC is not known yet */
	FAST_WHYS
};
extern const char *const fast_why_texts[FAST_WHYS + 1];

struct fast_channel { /* client and local are of one family, relay and peer of one */
	struct addr client, local, relay, peer;
	uint16_t number;
};

struct fast_msg {
	enum fast_type type;
	uint32_t seq;
	union {
		struct {
			uint16_t worker;
		} hello;
		struct {
			enum fast_mode mode; /* FAST_TC or FAST_XDP */
			uint32_t slots;
			char interfaces[FAST_NAMES_LEN];
		} welcome;
		struct fast_channel add;
		struct {
			uint32_t slot, generation;
			enum fast_why why; /* ADDED: slot may be FAST_NO_SLOT */
		} state; /* ADDED, STATE; REMOVE and REMOVED without why */
	};
};

/* 0, or -EBADMSG: not exactly a message of this version. */
int fast_msg_parse(const uint8_t *p, size_t n, struct fast_msg *ret_m);
void fast_msg_write(const struct fast_msg *m, uint8_t ret_p[static FAST_MSG_LEN]);

/* "<runtime dir>/stile-fastpath[@instance].channels"; -ENAMETOOLONG. */
int fast_socket_path(const char *runtime_dir, const char *instance, char *ret_path, size_t n);
