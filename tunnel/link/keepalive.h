/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the other end still there? Two cores without I/O, on the caller's clock in milliseconds.
 *
 * struct keepalive watches one connection: after an interval without a byte from the peer a PING is due, and if nothing at
 * all comes within max(3 s, 4 round trips) after it the connection is dead. Control connections use 5 s. The interval is
 * shortened by a random part, so that hundreds of connections do not ping together.
 *
 * struct nat_life learns how long a NAT on the way remembers an idle connection, between 20 s and 300 s: carriers that
 * wait are pinged so seldom as it tolerates. It goes up when pings after long silences are answered, down at
 * once when one is not while the control connection is well, and is forgotten when the network changes.
 */
#pragma once
#include "common/defs.h"

enum { KEEPALIVE_CONTROL_MS = 5000, KEEPALIVE_DEAD_MS = 3000, KEEPALIVE_DEAD_RTTS = 4 };

struct keepalive {
	uint64_t heard;	  /* when the last byte came */
	uint64_t asked;	  /* when the PING went out that nothing has followed yet; 0: none */
	uint64_t silence; /* how long it had been silent then */
	uint64_t cookie;  /* of the last PING */
	uint64_t cookie_us;
	uint32_t interval_ms, part_ms; /* of this round, with its random part */
	uint32_t rtt_us;	       /* smoothed; 0: not known */
};
enum keepalive_verdict { KEEPALIVE_WELL, KEEPALIVE_PING, KEEPALIVE_DEAD };

void keepalive_init(struct keepalive *k, uint64_t now, uint32_t interval_ms, uint32_t random);
void keepalive_set_interval(struct keepalive *k, uint32_t interval_ms, uint32_t random);
void keepalive_heard(struct keepalive *k, uint64_t now); /* anything */
/* What is to be done now. KEEPALIVE_PING: the caller sends one, and says keepalive_asked(). */
enum keepalive_verdict keepalive_due(const struct keepalive *k, uint64_t now);
uint64_t keepalive_next(const struct keepalive *k); /* when to ask again */
/* A PING goes out, due or not (a change of the network). Returns its cookie. */
uint64_t keepalive_asked(struct keepalive *k, uint64_t now, uint64_t now_us, uint32_t random);
/* A PONG: false if it answers nothing that was asked. */
bool keepalive_answered(struct keepalive *k, uint64_t cookie, uint64_t now_us);
uint32_t keepalive_patience(const struct keepalive *k); /* ms that an answer may take */

enum { NAT_LIFE_MIN_MS = 20 * 1000, NAT_LIFE_MAX_MS = 300 * 1000, NAT_LIFE_FIRST_MS = 30 * 1000 };
struct nat_life {
	uint32_t good_ms;  /* a silence that was survived */
	uint32_t bad_ms;   /* one that was not; 0: none known */
	uint32_t try_ms;   /* the interval in use */
	unsigned survived; /* at try_ms */
};
void nat_life_init(struct nat_life *n);
void nat_life_survived(struct nat_life *n, uint64_t silence_ms);
void nat_life_lost(struct nat_life *n, uint64_t silence_ms);
