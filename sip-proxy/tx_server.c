/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two server machines: INVITE (RFC 3261 17.2.1 with the Accepted state of RFC 6026) and all others (17.2.2); and
 * how a request finds its transaction (17.2.3). Responses are written above; here they are sent, kept and repeated. A
 * transaction that is over is charged to nobody any more, and gives way when there are too many of them.
 */
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/tx_priv.h"

/* ---- keys ---- */

static void put_lower(struct wr *w, struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		wr_u8(w, (uint8_t)sip_lower(t.p[i]));
	wr_u8(w, 0);
}

static void put(struct wr *w, struct text t)
{
	wr_bytes(w, t.p, t.n);
	wr_u8(w, 0);
}

/*
 * Branch, sent-by and method, ACK being INVITE's; NUL, which no header holds, in between. Without the magic cookie what
 * RFC 2543 compared: Request-URI, From's tag, Call-ID, the number of CSeq and the topmost Via (To's tag is not needed:
 * it is new in the ACK).
 */
static struct text key_of(struct sip_txs *t, const struct sip_msg *m, const struct sip_basics *b,
			  struct text method)
{
	struct wr w = wr_init(t->key, sizeof t->key);
	if (sip_branch_is_3261(b->via.branch)) {
		put(&w, b->via.branch);
		put_lower(&w, b->via.sent_by);
	} else {
		wr_u8(&w, 0);
		put(&w, m->uri);
		put(&w, b->from.tag);
		put(&w, b->call_id);
		wr_u32(&w, b->cseq.number);
		put(&w, b->via.raw);
	}
	put(&w, method);
	return w.failed ? (struct text){ t->key, 0 } : (struct text){ t->key, wr_len(&w) };
}

static bool is_key(const struct hnode *n, const void *key)
{
	const struct sip_server_tx *s = container_of(n, struct sip_server_tx, node);
	const struct text *k = key;
	return s->key_n == k->n && memcmp(s->key, k->p, k->n) == 0;
}

static struct sip_server_tx *find(struct sip_txs *t, struct text key)
{
	struct hnode *n = htable_find(&t->servers, hash_bytes(&t->o.seed, key.p, key.n), is_key, &key);
	return n ? container_of(n, struct sip_server_tx, node) : NULL;
}

struct sip_server_tx *sip_server_find(struct sip_txs *t, const struct sip_msg *m,
				      const struct sip_basics *b)
{
	return find(t, key_of(t, m, b, m->method == SIP_ACK ? TEXT("INVITE") : m->method_name));
}

struct sip_server_tx *sip_server_find_cancelled(struct sip_txs *t, const struct sip_msg *m,
						const struct sip_basics *b)
{
	return find(t, key_of(t, m, b, TEXT("INVITE")));
}

/* ---- life ---- */

int sip_server_new(struct sip_txs *t, const struct sip_msg *m, const struct sip_basics *b,
		   const struct sip_hop *came, struct sip_server_tx **ret_s)
{
	struct text key = key_of(t, m, b, m->method_name);
	struct sip_charge *charge;
	struct sip_server_tx *s;
	int r = sip_charge_open(&t->charges, &came->remote, b->to.tag.n > 0, &charge);
	if (r != 0)
		return r;
	s = calloc(1, sizeof *s + key.n);
	if (!s || htable_insert(&t->servers, &s->node, hash_bytes(&t->o.seed, key.p, key.n)) < 0) {
		free(s);
		sip_charge_close(&t->charges, charge);
		return -ENOMEM;
	}
	memcpy(s->key, key.p, key.n);
	s->key_n = (uint32_t)key.n;
	s->txs = t;
	s->charge = charge;
	s->reply = sip_reply_target(&b->via, came);
	s->reply.name = (struct text){ 0 };
	s->made = sip_txs_now(t);
	s->method = m->method;
	s->state = m->method == SIP_INVITE ? SIP_TX_PROCEEDING : SIP_TX_TRYING;
	s->reliable = sip_proto_rows[came->proto].reliable;
	list_init(&s->kept);
	sip_on_invite_received(s);
	t->counts.servers++;
	*ret_s = s;
	return 0;
}

static void forget_response(struct sip_server_tx *s)
{
	sip_drop_bytes(s->txs, &s->response, &s->response_n);
}

/* It is over but for repetitions: no more charged to its source, and it may have to give way. */
static void close_charge(struct sip_server_tx *s)
{
	struct sip_txs *t = s->txs;
	if (!s->charge)
		return;
	sip_charge_close(&t->charges, s->charge);
	s->charge = NULL;
	list_append(&t->kept, &s->kept);
	if (++t->charges.kept <= t->charges.limits.kept)
		return;
	t->counts.evicted++;
	sip_server_end(list_entry(t->kept.next, struct sip_server_tx, kept));
}

void sip_server_end(struct sip_server_tx *s)
{
	struct sip_txs *t = s->txs;
	timer_stop(&s->clock.timer);
	htable_remove(&t->servers, &s->node);
	if (s->user)
		s->user->ended(s, s->owner);
	if (s->charge)
		sip_charge_close(&t->charges, s->charge);
	else
		t->charges.kept--;
	list_unlink(&s->kept);
	forget_response(s);
	free(s);
}

void sip_server_own(struct sip_server_tx *s, const struct sip_server_user *user, void *owner)
{
	s->user = user;
	s->owner = owner;
}

/* ---- sending ---- */

static void send_bytes(struct sip_server_tx *s, struct text bytes)
{
	struct sip_txs *t = s->txs;
	if (t->o.ops->send(t->o.edge, &s->reply, bytes, NULL, NULL) < 0)
		t->counts.send_failures++;
}

/* What may have to be sent again is kept, in place of what was. */
static int keep(struct sip_server_tx *s, struct text bytes)
{
	forget_response(s);
	s->response = sip_keep_bytes(s->txs, bytes);
	if (!s->response)
		return -ENOMEM;
	s->response_n = (uint32_t)bytes.n;
	return 0;
}

static int respond_provisional(struct sip_server_tx *s, struct text bytes)
{
	if (s->state != SIP_TX_PROCEEDING && s->state != SIP_TX_TRYING)
		return -EALREADY;
	s->state = SIP_TX_PROCEEDING;
	sip_on_response_sent(s);
	send_bytes(s, bytes);
	return s->reliable ? 0 : keep(s, bytes);
}

static int respond_success(struct sip_server_tx *s, struct text bytes)
{
	if (s->state != SIP_TX_PROCEEDING && s->state != SIP_TX_ACCEPTED)
		return -EALREADY;
	send_bytes(s, bytes);
	if (s->state == SIP_TX_ACCEPTED)
		return 0;
	s->state = SIP_TX_ACCEPTED;
	forget_response(s); /* who was called repeats his 2xx himself */
	sip_on_success_sent(s);
	close_charge(s);
	return 0;
}

static int respond_final(struct sip_server_tx *s, struct text bytes)
{
	int r = 0;
	if (s->state != SIP_TX_PROCEEDING && s->state != SIP_TX_TRYING)
		return -EALREADY;
	s->state = SIP_TX_COMPLETED;
	send_bytes(s, bytes);
	forget_response(s);
	if (!s->reliable)
		r = keep(s, bytes);
	sip_on_final_sent(s);
	close_charge(s);
	return r;
}

int sip_server_respond(struct sip_server_tx *s, unsigned code, struct text bytes)
{
	if (code < 200)
		return respond_provisional(s, bytes);
	return code < 300 && s->method == SIP_INVITE ? respond_success(s, bytes)
						     : respond_final(s, bytes);
}

void sip_server_give_up(struct sip_server_tx *s)
{
	if (s->state != SIP_TX_PROCEEDING && s->state != SIP_TX_TRYING)
		return;
	s->state = SIP_TX_COMPLETED;
	forget_response(s);
	sip_on_final_sent(s);
	close_charge(s);
}

/* ---- events ---- */

static void send_again(struct sip_server_tx *s)
{
	if (!s->response)
		return;
	s->txs->counts.responses_repeated++;
	send_bytes(s, (struct text){ s->response, s->response_n });
}

enum sip_seen sip_server_input(struct sip_server_tx *s, const struct sip_msg *m)
{
	if (m->method == SIP_ACK) {
		if (s->state == SIP_TX_ACCEPTED)
			return SIP_SEEN_ACK_2XX;
		if (s->state == SIP_TX_COMPLETED) {
			s->state = SIP_TX_CONFIRMED;
			forget_response(s);
			sip_on_ack_received(s);
		}
		return SIP_SEEN_ABSORBED;
	}
	s->txs->counts.requests_absorbed++;
	if (s->state == SIP_TX_PROCEEDING || s->state == SIP_TX_COMPLETED)
		send_again(s);
	return SIP_SEEN_ABSORBED;
}

void sip_server_repeat(struct sip_server_tx *s)
{
	if (s->state == SIP_TX_COMPLETED) {
		send_again(s);
		return;
	}
	sip_on_response_sent(s); /* the hand of 100 Trying does not turn again */
	if (s->user && s->user->trying_due)
		s->user->trying_due(s, s->owner);
}

void sip_server_expire(struct sip_server_tx *s)
{
	if (s->method == SIP_INVITE && s->state == SIP_TX_COMPLETED)
		s->txs->counts.acks_missing++;
	sip_server_end(s);
}

const struct sip_target *sip_server_reply(const struct sip_server_tx *s)
{
	return &s->reply;
}

void *sip_server_owner(const struct sip_server_tx *s, const struct sip_server_user *user)
{
	return s->user == user ? s->owner : NULL;
}
