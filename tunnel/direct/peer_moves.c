/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which path carries the link. The visitor decides; the host follows wherever packets come from.
 *
 *   handshake    on a direct path as soon as there is one; after the head start on any. If nothing answers, on the next one
 *   up           a better path that has answered a probe: QUIC validates it (RFC 9000 9), and the traffic follows
 *   silence      something must be answered (data under way, or a kick sent because data had come and then nothing), and no
 *                packet has come for 300 ms (more on a long or jittery way): the path is dead. At once to the best of the others
 *   kicks        after a move, until something comes on the new path: the host learns of it by what arrives, and the visitor
 *                may have nothing else to say
 *   nudge        the host heard no acknowledgements while the visitor hears data, or its own path has gone: it says so over another
 *
 * A dead path is suspect until it answers again. Between TURN and the server's relay the one that has carried more is taken; as long
 * as that is not known of both, the shorter way, loss counted in. A link that has been busy on one of them for a while
 * tries what the other one carries, once in a long time.
 */
#include <errno.h>
#include <string.h>
#include "common/clock.h"
#include "tunnel/direct/peer_priv.h"

enum {
	ROTATE_MS = 400,	/* a handshake that nothing answers tries another path */
	FOLLOW_MS = 200,	/* the host goes along, if nothing came for so long */
	RETRY_MS = 200,		/* a move that QUIC cannot make yet */
	RETRY_DEAD_MS = 10,	/* the same, away from a dead path */
	FAILED_MS = 3000,	/* a path whose validation failed */
	BETTER_RELAY_MS = 30000, /* between TURN and relay, at most so often */
	BUSY_S = 10,		/* what a relay carries is known after so long … */
	BUSY_LEAST = 64 * 1024,	/* … at no less than so many bytes/s */
	RATE_OLD_MS = 600000,	/* and looked at again after this */
	KICK_GAP_MS = 20, KICK_AGAIN_MS = 150, KICK_MIN_MS = 40,
	NUDGE_MS = 100, NUDGES = 20, NUDGE_TRUST_MS = 2000,
	WANT_RELAY_MS = 500, WANT_RELAY_MAX_MS = 30000,
	KEEP_ALIVE_DIRECT_S = 10, KEEP_ALIVE_RELAY_S = 20, KEEP_ALIVE_LEAST_S = 2,
	RECENT_MS = 1000,
	HOST_GAP_MS = 3000, /* the host learns late that a path was dead */
	SILENCE_SLACK_MS = 200, /* a lost packet, said again by QUIC, must have its answer within this and two round trips */
};

static bool usable(const struct link_path *lp)
{
	return lp->p && lp->p->state == PATH_READY && !lp->suspect;
}

static bool rate_known(const struct link_path *lp, uint64_t now)
{
	return lp->rate && now - lp->rated_at < RATE_OLD_MS * PEER_MS;
}

/* A lost probe in a hundred counts as 8 % more of the way. */
static uint64_t cost(const struct link_path *lp)
{
	return lp->rtt_ns + lp->rtt_ns * lp->loss / 32;
}

/* Of the relays; the hystereses keep two that are alike from taking turns. */
static bool better_relay(const struct link_path *a, const struct link_path *b, uint64_t now)
{
	if (a->p->kind == b->p->kind)
		return a->added > b->added;
	if (rate_known(a, now) && rate_known(b, now) && a->rate > b->rate + b->rate / 4)
		return true;
	if (rate_known(a, now) && rate_known(b, now) && b->rate > a->rate + a->rate / 4)
		return false;
	if (a->rtt_ns && b->rtt_ns)
		return cost(a) + cost(a) / 4 + 5 * PEER_MS < cost(b);
	return false;
}

/* Is a better than b? */
static bool better(const struct link_path *a, const struct link_path *b, uint64_t now)
{
	unsigned ra = path_rank(a->p->kind), rb = path_rank(b->p->kind);

	if (ra != rb)
		return ra < rb;
	if (ra == 0)
		return a->p->kind != b->p->kind ? a->p->kind < b->p->kind : a->added > b->added;
	return better_relay(a, b, now);
}

/* answered: only one that has answered a probe. but: not this one. */
static struct link_path *best(struct peer_link *l, bool answered, const struct link_path *but, uint64_t now)
{
	struct link_path *b = NULL;

	for (unsigned i = 0; i < PEER_LINK_PATHS; i++) {
		struct link_path *lp = &l->paths[i];

		if (lp == but || !usable(lp) || (answered && (!lp->answers || lp->not_before > now)))
			continue;
		if (!b || better(lp, b, now))
			b = lp;
	}
	return b;
}

static bool has_relay(const struct peer_link *l)
{
	for (unsigned i = 0; i < PEER_LINK_PATHS; i++)
		if (usable(&l->paths[i]) && path_rank(l->paths[i].p->kind))
			return true;
	return false;
}

static bool head_start_over(const struct peer_link *l, uint64_t now)
{
	return l->o.head_start_ms != PEER_LINK_NEVER && now - l->created >= l->o.head_start_ms * PEER_MS;
}

/* ---- handshake ---- */

static bool may_start(const struct peer_link *l, const struct link_path *lp, uint64_t now)
{
	return path_rank(lp->p->kind) == 0 || head_start_over(l, now);
}

static void say_flight(struct peer_link *l)
{
	if (l->hs && l->flight_n)
		(void)path_send(l->hs->p, l->flight, l->flight_n, l->flight_segment);
}

void peer_start(struct peer_link *l, uint64_t now)
{
	struct link_path *b;

	if (!l->o.visitor || l->bound || l->hs)
		return;
	b = best(l, false, NULL, now);
	if (!b || !may_start(l, b, now))
		return;
	l->hs = b;
	l->hs_since = now;
	l->hs_heard = false;
	say_flight(l);
}

/* Nothing has answered: the next one in turn. */
static void rotate(struct peer_link *l, uint64_t now)
{
	unsigned at = (unsigned)(l->hs - l->paths);

	l->hs_since = now;
	for (unsigned i = 1; i <= PEER_LINK_PATHS; i++) {
		struct link_path *lp = &l->paths[(at + i) % PEER_LINK_PATHS];

		if (!lp->p || lp->p->state != PATH_READY || !may_start(l, lp, now))
			continue;
		l->hs = lp;
		break;
	}
	l->hs_heard = false;
	say_flight(l);
}

static void handshake_tick(struct peer_link *l, uint64_t now)
{
	peer_start(l, now);
	if (l->hs && l->hs_heard && now - l->heard >= ROTATE_MS * PEER_MS)
		l->hs_heard = false;
	if (l->hs && l->o.visitor && !l->hs_heard && now - l->hs_since >= ROTATE_MS * PEER_MS)
		rotate(l, now);
	peer_bind(l, now);
}

static void keep_alive(struct peer_link *l, const struct link_path *lp)
{
	uint64_t s = path_rank(lp->p->kind) ? KEEP_ALIVE_RELAY_S : KEEP_ALIVE_DIRECT_S;

	if (l->o.binding_s)
		s = MIN(s, MAX((uint64_t)l->o.binding_s * 2 / 3, (uint64_t)KEEP_ALIVE_LEAST_S));
	quic_conn_keep_alive(l->q, s * PEER_SECOND);
}

/* The handshake is done: from now on QUIC knows paths, and each has its number. */
void peer_bind(struct peer_link *l, uint64_t now)
{
	if (l->bound || !quic_conn_confirmed(l->q) || !l->hs)
		return;
	l->bound = true;
	l->hs->k = PEER_HANDSHAKE_K;
	l->hs->answers += !l->hs->answers; /* it has proven itself */
	l->active_k = quic_conn_path(l->q);
	l->move_at = now;
	keep_alive(l, l->hs);
	peer_changed(l);
}

/* The host, and its handshake is done; but the path died before the visitor heard of it, and so that goes round as before and knows of
 * one path. What it sends must be answered there. Nothing here is proven: only where nobody has been heard for a while, and early. */
void peer_follow(struct peer_link *l, struct link_path *lp, const uint8_t *p, size_t n, uint64_t now)
{
	struct link_path *was;

	if (!l->bound || l->o.visitor || lp->k == PEER_HANDSHAKE_K || now - l->heard < FOLLOW_MS * PEER_MS ||
	    now - l->created > PEER_LINK_OPEN_MS * PEER_MS || !quic_conn_is_first(l->q, p, n))
		return;
	was = peer_path_numbered(l, PEER_HANDSHAKE_K);
	if (was)
		was->k = lp->k;
	lp->k = PEER_HANDSHAKE_K;
	l->hs = lp;
	keep_alive(l, lp);
	peer_changed(l);
}

/* ---- silence ---- */

void peer_data_came(struct peer_link *l, uint64_t now)
{
	struct quic_info i;

	l->last_data = now;
	if (!l->o.visitor)
		return;
	quic_conn_info(l->q, &i);
	l->kick_at = now + MAX(i.srtt_ns, KICK_MIN_MS * PEER_MS);
}

void peer_sent(struct peer_link *l, uint64_t now)
{
	struct quic_info i;

	quic_conn_info(l->q, &i);
	if (!i.in_flight)
		return;
	l->last_data = now;
	if (!l->asking)
		l->asking = now;
}

static void count_gap(struct peer_link *l, uint64_t before, uint64_t now)
{
	uint64_t ms = (now - before) / PEER_MS;
	unsigned b = 0;

	l->gap_pending = false;
	if (before > l->last_data + RECENT_MS * PEER_MS)
		return; /* nobody waited for anything */
	while (b < PEER_LINK_GAPS - 1 && ms >= peer_link_gap_ms[b])
		b++;
	l->gaps[b]++;
	l->last_gap_ms = (uint32_t)ms;
	l->gap_max_ms = MAX(l->gap_max_ms, l->last_gap_ms);
}

/* What comes sooner may be the answer to a validation, which says nothing of where the host sends. */
static uint64_t settle_ns(const struct peer_link *l)
{
	struct quic_info i;

	quic_conn_info(l->q, &i);
	return i.pto_ns + KICK_MIN_MS * PEER_MS;
}

void peer_heard(struct peer_link *l, struct link_path *lp, uint64_t before, uint64_t now)
{
	l->asking = 0;
	l->nudged = 0;
	if (l->bound)
		peer_note_path(l, now); /* looks at when it was heard before this */
	l->heard = now;
	if (!l->settled && lp->k == l->active_k && now - l->moved > settle_ns(l))
		l->settled = true;
	if (l->gap_pending && (lp->k == l->active_k || !l->o.visitor))
		count_gap(l, before, now);
	if (l->state == PEER_LINK_INTERRUPTED && lp->k == l->active_k) {
		l->state = PEER_LINK_UP;
		l->leaving = false;
		peer_changed(l);
	}
}

static uint64_t silence_ns(const struct peer_link *l)
{
	struct quic_info i;

	quic_conn_info(l->q, &i);
	return MIN(MAX(MIN(4 * i.pto_ns, 2 * i.srtt_ns + SILENCE_SLACK_MS * PEER_MS), PEER_LINK_SILENCE_MS * PEER_MS),
		   PEER_LINK_SILENCE_MAX_MS * PEER_MS);
}

/* ---- moves ---- */

/* A new pair of ICE has taken the place of an old one. */
static void drop_older(struct peer_link *l, const struct link_path *newer)
{
	for (unsigned i = 0; i < PEER_LINK_PATHS; i++) {
		struct link_path *lp = &l->paths[i];

		if (lp->p && lp != newer && lp->p->kind == newer->p->kind && lp->added <= newer->added)
			peer_path_remove(l, lp);
	}
}

/* QUIC uses another path than a moment ago. */
void peer_note_path(struct peer_link *l, uint64_t now)
{
	unsigned k = quic_conn_path(l->q);
	struct link_path *from, *to;

	if (!l->bound || k == l->active_k)
		return;
	from = peer_path_numbered(l, l->active_k);
	to = peer_path_numbered(l, k);
	if (!from || !to || path_rank(to->p->kind) > path_rank(from->p->kind))
		l->moves_down++;
	else
		l->moves_up++;
	l->active_k = k;
	l->busy_s = 0;
	l->moved = now;
	l->asking = 0; /* what the one before did not answer says nothing of this one */
	l->gap_pending = l->leaving || now - l->heard < (l->o.visitor ? RECENT_MS : HOST_GAP_MS) * PEER_MS; /* else it was silent anyway */
	l->leaving = false;
	l->settled = !l->o.visitor;
	l->path_since_ms = clock_unix_ms();
	if (to)
		keep_alive(l, to);
	if (from)
		from->ask_at = now;
	if (to)
		drop_older(l, to);
	peer_changed(l);
}

void peer_on_moved(struct peer_link *l, unsigned k, bool ok)
{
	struct link_path *lp = peer_path_numbered(l, k);
	uint64_t now = peer_now(l);

	l->move_at = now;
	if (ok) {
		l->kicks = PEER_KICKS;
		l->kick_at = now;
	} else if (lp) {
		lp->not_before = now + FAILED_MS * PEER_MS;
		if (!l->leaving) /* else each path that comes is tried at once */
			l->move_at = lp->not_before;
	}
}

/* The path in use is dead. */
static void leave(struct peer_link *l, uint64_t now)
{
	struct link_path *a = peer_active(l);

	l->leaving = true;
	l->asking = 0;
	l->move_at = now;
	if (!a)
		return;
	peer_suspect(a, now);
	l->o.ops->lost(l, a->p->kind, l->o.ops->arg);
}

static void interrupted(struct peer_link *l)
{
	if (l->state != PEER_LINK_UP)
		return;
	l->state = PEER_LINK_INTERRUPTED;
	peer_changed(l);
}

static void move_away(struct peer_link *l, uint64_t now)
{
	struct link_path *a = peer_active(l), *to = best(l, true, a, now);
	int r;

	if (!to)
		to = best(l, false, a, now);
	if (!to) {
		interrupted(l);
		l->move_at = now + RETRY_MS * PEER_MS;
		return;
	}
	r = quic_conn_move(l->q, to->k, true, now);
	l->move_at = now + RETRY_DEAD_MS * PEER_MS;
	if (r < 0)
		return;
	l->kicks = PEER_KICKS;
	l->kick_at = now;
	peer_note_path(l, now);
}

/* The relay that is not in use and has not shown what it carries, if the one in use has. */
static struct link_path *untried_relay(struct peer_link *l, const struct link_path *a, uint64_t now)
{
	if (!a || !path_rank(a->p->kind) || l->busy_s < BUSY_S || !rate_known(a, now))
		return NULL;
	for (unsigned i = 0; i < PEER_LINK_PATHS; i++) {
		struct link_path *lp = &l->paths[i];

		if (lp != a && usable(lp) && lp->answers && lp->not_before <= now && path_rank(lp->p->kind) && lp->p->kind != a->p->kind &&
		    !rate_known(lp, now))
			return lp;
	}
	return NULL;
}

/* Whether the path was the limit or who sends is not known at the receiving end, and need not be: what does not fill a path is carried
 * by both alike, and the shorter way decides. */
void peer_rated(struct peer_link *l, uint64_t bytes_s, uint64_t now)
{
	struct link_path *a = peer_active(l);

	l->busy_s = bytes_s >= BUSY_LEAST ? l->busy_s + 1 : 0;
	if (!a || l->busy_s < BUSY_S / 2)
		return; /* the first seconds on a path are no measure */
	a->rate = rate_known(a, now) ? (3 * a->rate + bytes_s) / 4 : bytes_s;
	a->rated_at = now;
	if (l->o.visitor && path_rank(a->p->kind) && l->busy_s % BUSY_S == 0)
		l->move_at = MIN(l->move_at, now);
}

static void move_up(struct peer_link *l, uint64_t now)
{
	struct link_path *a = peer_active(l), *to = best(l, true, NULL, now), *untried = untried_relay(l, a, now);
	struct quic_info i;

	l->move_at = QUIC_NEVER;
	if (untried && (!to || path_rank(to->p->kind)))
		to = untried;
	if (!to || to == a || (a && to != untried && !better(to, a, now)))
		return;
	if (a && path_rank(a->p->kind) == path_rank(to->p->kind) && path_rank(to->p->kind) && now - l->moved < BETTER_RELAY_MS * PEER_MS) {
		l->move_at = l->moved + BETTER_RELAY_MS * PEER_MS;
		return;
	}
	quic_conn_info(l->q, &i);
	if (i.probing || quic_conn_move(l->q, to->k, false, now) < 0)
		l->move_at = now + RETRY_MS * PEER_MS;
}

void peer_path_gone(struct peer_link *l, bool was_active, enum path_kind kind)
{
	uint64_t now = peer_now(l);

	if (!l->bound || !was_active || l->state == PEER_LINK_DOWN)
		return;
	l->leaving = l->o.visitor;
	l->move_at = now;
	l->o.ops->lost(l, kind, l->o.ops->arg);
	if (!l->o.visitor)
		peer_nudge(l); /* the visitor need not find out by silence; if it does not hear of it, it will */
	peer_dirty(l);
}

void peer_on_nudge(struct peer_link *l, struct link_path *lp, uint64_t now)
{
	if (!l->o.visitor || !l->bound || lp->k == l->active_k || l->leaving || (l->moved && now - l->moved < NUDGE_TRUST_MS * PEER_MS))
		return;
	leave(l, now);
}

/* ---- time ---- */

/* The visitor. */
static void watch(struct peer_link *l, uint64_t now)
{
	if (l->kick_at <= now) {
		bool quiet = now - l->heard >= KICK_MIN_MS * PEER_MS;

		l->kick_at = QUIC_NEVER;
		if (quiet || l->kicks || !l->settled)
			peer_kick(l);
		if (l->kicks)
			l->kicks--;
		if (l->kicks || !l->settled)
			l->kick_at = now + (l->kicks ? KICK_GAP_MS : KICK_AGAIN_MS) * PEER_MS;
	}
	if (!l->leaving && l->asking && now - l->asking >= silence_ns(l))
		leave(l, now);
	if (l->move_at <= now) {
		if (l->leaving)
			move_away(l, now);
		else
			move_up(l, now);
	}
}

static void host_watch(struct peer_link *l, uint64_t now)
{
	if (l->asking && now - l->asking >= silence_ns(l) && l->nudge_at <= now) {
		l->nudge_at = now + NUDGE_MS * PEER_MS;
		if (++l->nudged <= NUDGES)
			peer_nudge(l);
		else
			l->nudge_at = now + PEER_SECOND;
	}
}

void peer_moves_tick(struct peer_link *l, uint64_t now)
{
	if (!l->bound)
		handshake_tick(l, now);
	else if (l->o.visitor)
		watch(l, now);
	else
		host_watch(l, now);
	if (l->o.head_start_ms != PEER_LINK_NEVER && head_start_over(l, now) && !has_relay(l) && l->want_relay_at <= now) {
		l->want_relay_wait = MIN(MAX(2 * l->want_relay_wait, (uint64_t)WANT_RELAY_MS), (uint64_t)WANT_RELAY_MAX_MS);
		l->want_relay_at = now + l->want_relay_wait * PEER_MS;
		l->o.ops->want_relay(l, l->o.ops->arg);
	}
}

/* When the handshake can begin on a path that there is; one that comes says so itself. */
static uint64_t start_at(const struct peer_link *l)
{
	uint64_t at = QUIC_NEVER;

	for (unsigned i = 0; i < PEER_LINK_PATHS; i++) {
		const struct link_path *lp = &l->paths[i];

		if (!usable(lp))
			continue;
		if (path_rank(lp->p->kind) == 0)
			at = 0;
		else if (l->o.head_start_ms != PEER_LINK_NEVER)
			at = MIN(at, l->created + l->o.head_start_ms * PEER_MS);
	}
	return at;
}

uint64_t peer_moves_deadline(const struct peer_link *l)
{
	uint64_t at = QUIC_NEVER;

	if (l->o.head_start_ms != PEER_LINK_NEVER && !has_relay(l))
		at = MAX(l->want_relay_at, l->created + l->o.head_start_ms * PEER_MS);
	if (!l->bound) {
		if (l->o.visitor && !l->hs)
			at = MIN(at, start_at(l));
		if (l->hs && l->o.visitor)
			at = MIN(at, MAX(l->hs_since, l->heard) + ROTATE_MS * PEER_MS);
		return at;
	}
	if (l->asking && !l->leaving)
		at = MIN(at, MAX(l->asking + silence_ns(l), l->o.visitor ? 0 : l->nudge_at));
	if (l->o.visitor)
		at = MIN(at, MIN(l->kick_at, l->move_at));
	return at;
}
