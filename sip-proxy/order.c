/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nobody overtakes. A lane belongs to one sender within one call (Call-ID and the sender's tag: From's of a request,
 * To's of a response). It exists only while a message of it waits for something, a lookup or a decision of the policy;
 * what the same sender sends meanwhile, requests and responses alike, is kept and comes again when the turn is free.
 * Retransmissions, CANCEL, and the ACK for a refusal do not come here if they find their transaction.
 */
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/proxy_priv.h"

struct sip_lane {
	struct hnode node;
	struct sip_proxy *px;
	struct list waiting; /* struct waiting */
	struct list drain;   /* unused while somebody has the turn */
	unsigned turns;	     /* how many have it */
	unsigned n;
	uint64_t id[2]; /* keyed hashes of Call-ID and tag */
};

struct waiting {
	struct list node;
	struct sip_hop from;
	size_t n;
	char bytes[];
};

struct key {
	uint64_t id[2];
};

static struct key key_of(const struct sip_proxy *px, const struct sip_basics *b, bool is_request)
{
	struct text tag = is_request ? b->from.tag : b->to.tag;
	struct hash_seed seed = px->o.seed;
	struct key k;
	k.id[0] = hash_bytes(&seed, b->call_id.p, b->call_id.n);
	seed.k0 ^= k.id[0];
	k.id[1] = tag.p ? hash_bytes(&seed, tag.p, tag.n) : 0;
	return k;
}

static bool is_lane(const struct hnode *n, const void *key)
{
	return memcmp(container_of(n, struct sip_lane, node)->id, key, sizeof(struct key)) == 0;
}

static struct sip_lane *find(const struct sip_proxy *px, const struct key *k)
{
	struct hnode *n = htable_find(&px->lanes, k->id[0] ^ k->id[1], is_lane, k);
	return n ? container_of(n, struct sip_lane, node) : NULL;
}

static void waiting_free(struct sip_lane *lane, struct waiting *w)
{
	struct sip_charges *cs = sip_txs_charges(lane->px->txs);
	list_unlink(&w->node);
	lane->n--;
	cs->waiting--;
	sip_uncharge_bytes(cs, w->n);
	free(w);
}

static void lane_free(struct sip_lane *lane)
{
	list_for_each_safe (it, &lane->waiting)
		waiting_free(lane, container_of(it, struct waiting, node));
	list_unlink(&lane->drain);
	htable_remove(&lane->px->lanes, &lane->node);
	free(lane);
}

struct sip_lane *sip_lane_take(struct sip_proxy *px, const struct sip_basics *b, bool is_request)
{
	struct key k = key_of(px, b, is_request);
	struct sip_lane *lane = find(px, &k);
	if (!lane) {
		lane = calloc(1, sizeof *lane);
		if (!lane || htable_insert(&px->lanes, &lane->node, k.id[0] ^ k.id[1]) < 0) {
			free(lane);
			return NULL;
		}
		lane->px = px;
		list_init(&lane->waiting);
		list_init(&lane->drain);
		memcpy(lane->id, k.id, sizeof lane->id);
	}
	lane->turns++;
	list_unlink(&lane->drain);
	return lane;
}

/* The next one comes in a turn of its own, not from within whatever has just ended. */
void sip_lane_leave(struct sip_proxy *px, struct sip_lane *lane)
{
	if (!lane || --lane->turns > 0)
		return;
	if (list_empty(&lane->waiting)) {
		lane_free(lane);
		return;
	}
	list_unlink(&lane->drain);
	list_append(&px->lanes_due, &lane->drain);
	timers_set(px->o.timers, &px->drain, px_now(px));
}

bool sip_lane_wait(struct sip_proxy *px, const struct sip_msg *m, const struct sip_basics *b,
		   const struct sip_hop *hop)
{
	struct sip_charges *cs = sip_txs_charges(px->txs);
	struct sip_lane *lane;
	struct waiting *w;
	struct key k;
	if (px->lanes.count == 0)
		return false;
	k = key_of(px, b, m->is_request);
	lane = find(px, &k);
	if (!lane)
		return false;
	if (lane->n >= cs->limits.waiting_per_lane || cs->waiting >= cs->limits.waiting ||
	    !sip_charge_bytes(cs, m->raw.n))
		return true; /* dropped: its sender will say it again */
	w = malloc(sizeof *w + m->raw.n);
	if (!w) {
		sip_uncharge_bytes(cs, m->raw.n);
		return true;
	}
	w->from = *hop;
	w->n = m->raw.n;
	memcpy(w->bytes, m->raw.p, m->raw.n);
	list_append(&lane->waiting, &w->node);
	lane->n++;
	cs->waiting++;
	px->counts.waited++;
	return true;
}

/* Lets the waiting go on, one after the other, until one of them must wait itself. */
static void drain(struct sip_proxy *px, struct sip_lane *lane)
{
	lane->turns++; /* it stays for now */
	while (lane->turns == 1 && !list_empty(&lane->waiting)) {
		struct waiting *w = container_of(lane->waiting.next, struct waiting, node);
		struct sip_msg m;
		if (sip_msg_parse(&m, (struct text){ w->bytes, w->n }, SIP_DATAGRAM, NULL) == SIP_OK)
			sip_px_message(px, &m, &w->from, true);
		sip_msg_deinit(&m);
		waiting_free(lane, w);
	}
	sip_lane_leave(px, lane);
}

static void on_drain(struct timer *t, uint64_t now)
{
	struct sip_proxy *px = container_of(t, struct sip_proxy, drain);
	(void)now;
	while (!list_empty(&px->lanes_due)) {
		struct sip_lane *lane = container_of(px->lanes_due.next, struct sip_lane, drain);
		list_unlink(&lane->drain);
		drain(px, lane);
	}
}

void sip_lanes_init(struct sip_proxy *px)
{
	htable_init(&px->lanes);
	list_init(&px->lanes_due);
	px->drain.fire = on_drain;
}

static bool free_one(struct hnode *n, void *arg)
{
	(void)arg;
	lane_free(container_of(n, struct sip_lane, node));
	return true;
}

void sip_lanes_free(struct sip_proxy *px)
{
	timer_stop(&px->drain);
	htable_each(&px->lanes, free_one, NULL);
	htable_deinit(&px->lanes);
}
