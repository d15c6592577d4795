/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two timers, both started and stopped by events: the interval runs from the last byte that was heard; patience runs
 * from the PING that it led to. Any byte ends both, for it proves as much as a PONG does; the round trip is measured by
 * PONGs alone.
 */
#include "tunnel/link/keepalive.h"

enum { SURVIVALS = 3 }; /* at one interval, before a longer one is tried */

static uint32_t with_random_part(uint32_t ms, uint32_t random)
{
	return ms - (uint32_t)((uint64_t)ms / 5 * (random & 0xffff) >> 16); /* 80 to 100 % */
}

void keepalive_init(struct keepalive *k, uint64_t now, uint32_t interval_ms, uint32_t random)
{
	*k = (struct keepalive){ .heard = now };
	keepalive_set_interval(k, interval_ms, random);
}

void keepalive_set_interval(struct keepalive *k, uint32_t interval_ms, uint32_t random)
{
	k->interval_ms = interval_ms;
	k->part_ms = with_random_part(interval_ms, random);
}

void keepalive_heard(struct keepalive *k, uint64_t now)
{
	k->heard = now;
	k->asked = 0;
}

uint32_t keepalive_patience(const struct keepalive *k)
{
	return MAX((uint32_t)KEEPALIVE_DEAD_MS, k->rtt_us / 1000 * KEEPALIVE_DEAD_RTTS);
}

uint64_t keepalive_next(const struct keepalive *k)
{
	return k->asked ? k->asked + keepalive_patience(k) : k->heard + k->part_ms;
}

enum keepalive_verdict keepalive_due(const struct keepalive *k, uint64_t now)
{
	if (now < keepalive_next(k))
		return KEEPALIVE_WELL;
	return k->asked ? KEEPALIVE_DEAD : KEEPALIVE_PING;
}

uint64_t keepalive_asked(struct keepalive *k, uint64_t now, uint64_t now_us, uint32_t random)
{
	if (!k->asked) {
		k->asked = MAX(now, (uint64_t)1);
		k->silence = now - k->heard;
	}
	k->cookie++;
	k->cookie_us = now_us;
	k->part_ms = with_random_part(k->interval_ms, random);
	return k->cookie;
}

bool keepalive_answered(struct keepalive *k, uint64_t cookie, uint64_t now_us)
{
	uint64_t took = now_us - k->cookie_us;

	if (!k->cookie || cookie > k->cookie)
		return false;
	if (cookie == k->cookie && took < UINT32_MAX)
		k->rtt_us = k->rtt_us ? (uint32_t)((k->rtt_us * 3ull + took) / 4)
				      : (uint32_t)MAX(took, (uint64_t)1);
	return true;
}

/* ---- what the NAT tolerates ---- */

void nat_life_init(struct nat_life *n)
{
	*n = (struct nat_life){ .try_ms = NAT_LIFE_FIRST_MS };
}

void nat_life_survived(struct nat_life *n, uint64_t silence_ms)
{
	uint32_t most = n->bad_ms ? MAX(n->bad_ms - n->bad_ms / 4, (uint32_t)NAT_LIFE_MIN_MS)
				  : (uint32_t)NAT_LIFE_MAX_MS;

	if (silence_ms < n->try_ms - n->try_ms / 4)
		return; /* too short to say anything */
	n->good_ms = MAX(n->good_ms, (uint32_t)MIN(silence_ms, (uint64_t)NAT_LIFE_MAX_MS));
	if (++n->survived < SURVIVALS || n->try_ms >= most)
		return;
	n->survived = 0;
	n->try_ms = MIN(n->try_ms + n->try_ms / 2, most);
}

void nat_life_lost(struct nat_life *n, uint64_t silence_ms)
{
	uint32_t silence = (uint32_t)MIN(silence_ms, (uint64_t)NAT_LIFE_MAX_MS);

	if (silence < NAT_LIFE_MIN_MS)
		return; /* no NAT forgets so soon: it was something else */
	n->bad_ms = n->bad_ms ? MIN(n->bad_ms, silence) : silence;
	if (n->good_ms >= n->bad_ms)
		n->good_ms = 0; /* another NAT than it was */
	n->survived = 0;
	n->try_ms = MAX((uint32_t)NAT_LIFE_MIN_MS, MAX(n->good_ms, silence / 2));
}
