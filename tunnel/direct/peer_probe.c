/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What two ends of a link say to each other beside QUIC's streams: probes on each path, and datagrams of flow 0 inside
 * the connection. Also the heads of both, and of everybody's datagrams.
 *
 *   path is new               asked every 50 ms, then ever less often, until it answers: then it may be moved to
 *   path is in use            not asked: QUIC hears enough
 *   path stands by            asked every 5 s: is it still good, how long does it take; and so its NAT does not forget it
 *   path was silent (suspect) asked every 200 ms, then every second: two answers, and it may be used again
 *   NUDGE                     the host hears no acknowledgements: it asks the visitor, over the other paths, to move
 */
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "tunnel/direct/peer_priv.h"

enum { NEW_ASKS = 10, ANSWERS_NEEDED = 2, UNANSWERED_MAX = 3, STAND_BY_MS = 5000, SUSPECT_MS = 200, SUSPECT_ASKS = 25 };

int probe_parse(const uint8_t *p, size_t n, struct probe *ret_p)
{
	struct rd r = rd_init(p, n);
	uint8_t kind = rd_u8(&r);
	uint64_t token;

	if (r.failed || kind < PROBE_ASK || kind > PROBE_NUDGE)
		return -ENOMSG;
	token = rd_u64(&r);
	if (!rd_done(&r))
		return -EBADMSG;
	*ret_p = (struct probe){ kind, token };
	return 0;
}

void probe_write(const struct probe *p, uint8_t out[static PROBE_LEN])
{
	struct wr w = wr_init(out, PROBE_LEN);

	wr_u8(&w, (uint8_t)p->kind);
	wr_u64(&w, p->token);
}

int flow_head_parse(const uint8_t *p, size_t n, struct flow_head *ret_h)
{
	struct rd r = rd_init(p, n);
	struct flow_head h = { .flow = rd_u32(&r) };

	h.number = rd_u16(&r);
	h.part = rd_u8(&r);
	h.parts = rd_u8(&r);
	if (r.failed)
		return -EBADMSG;
	if (h.flow ? !h.parts || h.parts > FLOW_PARTS_MAX || h.part >= h.parts : h.parts || h.part > FLOW_PONG)
		return -EBADMSG;
	*ret_h = h;
	return 0;
}

void flow_head_write(const struct flow_head *h, uint8_t out[static FLOW_HEAD])
{
	struct wr w = wr_init(out, FLOW_HEAD);

	wr_u32(&w, h->flow);
	wr_u16(&w, h->number);
	wr_u8(&w, h->part);
	wr_u8(&w, h->parts);
}

/* ---- probes ---- */

static void say(struct link_path *lp, enum probe_kind kind, uint64_t token)
{
	uint8_t out[PROBE_LEN];

	probe_write(&(struct probe){ kind, token }, out);
	(void)path_send(lp->p, out, sizeof(out), sizeof(out)); /* a lost one is asked again */
}

/* How long until the next one, after this one. */
static uint64_t interval(const struct peer_link *l, const struct link_path *lp)
{
	if (lp->suspect)
		return (lp->asks < SUSPECT_ASKS ? SUSPECT_MS : 1000) * PEER_MS;
	if (lp->answers)
		return l->active_k == lp->k && l->bound ? 0 : STAND_BY_MS * PEER_MS;
	return (lp->asks < NEW_ASKS ? 50 : lp->asks < 3 * NEW_ASKS ? 250 : 2000) * PEER_MS;
}

void peer_suspect(struct link_path *lp, uint64_t now)
{
	lp->suspect = true;
	lp->answers = lp->asks = lp->unanswered = 0;
	lp->asked = 0;
	lp->ask_at = now;
}

static void ask(struct peer_link *l, struct link_path *lp, uint64_t now)
{
	if (lp->asked)
		lp->loss += (256 - lp->loss) / 8;
	if (lp->asked && ++lp->unanswered >= UNANSWERED_MAX && lp->answers && !lp->suspect) {
		peer_suspect(lp, now);
		peer_changed(l);
	}
	lp->asks++;
	lp->asked = now;
	if (bytes_random(&lp->token, sizeof(lp->token)) < 0)
		lp->token = now;
	say(lp, PROBE_ASK, lp->token);
}

static void on_answer(struct peer_link *l, struct link_path *lp, uint64_t token, uint64_t now)
{
	bool news = !lp->answers || lp->suspect;

	if (!lp->asked || token != lp->token)
		return;
	lp->rtt_ns = lp->rtt_ns ? (3 * lp->rtt_ns + (now - lp->asked)) / 4 : now - lp->asked;
	lp->loss -= lp->loss / 8;
	lp->asked = 0;
	lp->unanswered = 0;
	lp->answers++;
	if (lp->suspect && lp->answers < ANSWERS_NEEDED)
		lp->ask_at = now + SUSPECT_MS / 4 * PEER_MS;
	else
		lp->suspect = false;
	if (!lp->suspect)
		lp->ask_at = now + STAND_BY_MS * PEER_MS;
	if (news && !lp->suspect) {
		l->move_at = now;
		peer_changed(l);
	}
}

/* A stranger does not know it; the server could, and would only make us look for another path. */
static uint64_t nudge_token(const struct peer_link *l)
{
	return ((uint64_t)load_be32(l->o.dcid) << 32) | load_be32(l->o.dcid + 4);
}

bool peer_probe_input(struct peer_link *l, struct link_path *lp, const uint8_t *p, size_t n, uint64_t now)
{
	struct probe m;
	int r = probe_parse(p, n, &m);

	if (r == -ENOMSG)
		return false;
	if (r < 0)
		return true;
	if (m.kind == PROBE_ASK)
		say(lp, PROBE_ANSWER, m.token);
	else if (m.kind == PROBE_ANSWER)
		on_answer(l, lp, m.token, now);
	else if (m.token == nudge_token(l))
		peer_on_nudge(l, lp, now);
	return true;
}

void peer_nudge(struct peer_link *l)
{
	for (unsigned i = 0; i < PEER_LINK_PATHS; i++) {
		struct link_path *lp = &l->paths[i];

		if (lp->p && lp->p->state == PATH_READY && lp->k != l->active_k)
			say(lp, PROBE_NUDGE, nudge_token(l));
	}
}

void peer_probe_tick(struct peer_link *l, uint64_t now)
{
	for (unsigned i = 0; i < PEER_LINK_PATHS; i++) {
		struct link_path *lp = &l->paths[i];
		uint64_t wait;

		if (!lp->p || lp->p->state != PATH_READY || lp->ask_at > now)
			continue;
		wait = interval(l, lp);
		if (wait)
			ask(l, lp, now);
		lp->ask_at = now + (wait ? wait : STAND_BY_MS * PEER_MS);
	}
}

uint64_t peer_probe_deadline(const struct peer_link *l)
{
	uint64_t at = QUIC_NEVER;

	for (unsigned i = 0; i < PEER_LINK_PATHS; i++)
		if (l->paths[i].p && l->paths[i].p->state == PATH_READY)
			at = MIN(at, l->paths[i].ask_at);
	return at;
}

/* ---- inside the connection ---- */

static void control(struct peer_link *l, unsigned kind, uint64_t cookie)
{
	uint8_t out[FLOW_HEAD + 8];

	flow_head_write(&(struct flow_head){ .part = (uint8_t)kind }, out);
	store_be32(out + FLOW_HEAD, (uint32_t)(cookie >> 32));
	store_be32(out + FLOW_HEAD + 4, (uint32_t)cookie);
	if (l->q)
		(void)quic_datagram_send(l->q, out, kind == FLOW_KICK ? FLOW_HEAD : sizeof(out));
	peer_dirty(l);
}

void peer_kick(struct peer_link *l)
{
	control(l, FLOW_KICK, 0);
}

void peer_link_ping(struct peer_link *l, uint64_t cookie)
{
	control(l, FLOW_PING, cookie);
}

bool peer_control(struct peer_link *l, const uint8_t *p, size_t n)
{
	struct flow_head h;
	struct link_path *lp;
	uint64_t cookie;

	if (flow_head_parse(p, n, &h) < 0)
		return true;
	if (h.flow)
		return false;
	if (n != FLOW_HEAD + 8)
		return true;
	cookie = ((uint64_t)load_be32(p + FLOW_HEAD) << 32) | load_be32(p + FLOW_HEAD + 4);
	if (h.part == FLOW_PING)
		control(l, FLOW_PONG, cookie);
	lp = peer_active(l);
	if (h.part == FLOW_PONG && lp)
		l->o.ops->pong(l, cookie, lp->p->kind, l->o.ops->arg);
	return true;
}
