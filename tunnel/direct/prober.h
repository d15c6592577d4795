/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The birthday probe, for a NAT that gives each destination another port ("hard") against one that lets in known ports only
 * ("easy"): ICE's two sides never guess the hard one's port. So the hard side sends from many sockets at once to the easy
 * side's one port, which makes as many mappings; and the easy side asks ports of the hard one's block, each once and in a random
 * order, until it hits one of them. 64 of 64512 ports and 100 packets a second: half of all attempts have hit after 7 s,
 * 99 of 100 after 47.
 *
 * A probe is a STUN Binding request with the credentials of the attempt, as ICE's; the easy side chooses by USE-CANDIDATE. No I/O and no
 * clock. What is sent is bounded: PROBER_PPS, PROBER_ROUND_MS, once an attempt.
 */
#pragma once
#include "common/addr.h"
#include "common/timers.h"

enum {
	PROBER_SOCKETS = 64,
	PROBER_PPS = 95,
	PROBER_ROUND_MS = 58000,
	PROBER_REFRESH_MS = 10000, /* the hard side's mappings are kept open */
	PROBER_MSG_MAX = 256,
};
enum prober_role { PROBER_EASY, PROBER_HARD };
enum prober_end { PROBER_FOUND, PROBER_GAVE_UP };

struct prober;
struct prober_ops {
	void (*send)(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg); /* EASY: socket 0 */
	/* Once. FOUND: that socket and that address of the peer. prober_free() is allowed in it. */
	void (*done)(enum prober_end e, unsigned socket, const struct addr *peer, void *arg);
	uint32_t (*random)(void *arg);
};
struct prober_options {
	enum prober_role role;
	struct timers *timers;
	const struct prober_ops *ops;
	void *arg;
	const char *ufrag, *pwd;	       /* ours */
	const char *peer_ufrag, *peer_pwd;
	struct addr peer; /* HARD: the easy side's port. EASY: the hard side's address, its port does not count */
	uint16_t low, high; /* EASY: the block */
};
int prober_new(const struct prober_options *o, uint64_t now, struct prober **ret_p); /* 0, -ENOMEM, -EIO */
struct prober *prober_free(struct prober *p);
DEFINE_CLEANUP(struct prober, prober_free)
void prober_input(struct prober *p, unsigned socket, const struct addr *from, const void *data, size_t n, uint64_t now);
unsigned prober_sent(const struct prober *p);
