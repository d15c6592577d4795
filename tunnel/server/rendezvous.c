/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Agents that look for each other (docs/decisions/0020-direct-path.md): what one says to the other is passed on, and who
 * both want one get a relay (pairs.c). The server knows who speaks, for the handshake has proven it, and says so; what is
 * said is signed by the agents and none of its business.
 *
 * A worker charges its links for each word and asks the main thread, which has the directory; the answer goes to the
 * worker of the other link. What cannot be delivered comes back as SIGNAL-LOST: nobody has to guess.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/bytes.h"
#include "tunnel/log_msgs.h"
#include "tunnel/link/turn_uri.h"
#include "turn/policy.h"
#include "tunnel/server/local_turn.h"
#include "tunnel/server/rendezvous.h"
#include "tunnel/server/shares.h"

enum {
	ASK_MS = 30 * 1000,
	ASKS_MAX = 4096,
	SIGNAL_BURST = 256,
	SIGNALS_PER_S = 10,
	TURN_LIFETIME_S = 6 * 3600,
	GUEST_RELAYS = 4 /* it has one link at a time */
};

/* ---- worker: from a link ---- */

static bool may_speak(struct tunnel_link *l)
{
	uint64_t now = loop_now(l->worker->loop), gained = (now - l->spoke_at) * SIGNALS_PER_S / 1000;

	if (l->words + gained >= SIGNAL_BURST || !l->spoke_at) {
		l->words = SIGNAL_BURST;
		l->spoke_at = now;
	} else if (gained) {
		l->words += (unsigned)gained;
		l->spoke_at += gained * 1000 / SIGNALS_PER_S;
	}
	if (!l->words)
		return false;
	l->words--;
	return true;
}

static void say_lost(struct tunnel_link *l, uint64_t tag, enum wire_reason reason, const char *text)
{
	const struct wire_signal_lost m = { .tag = tag, .reason = (uint8_t)reason, .text = text_of(text) };

	worker_count(l->worker, TUNNEL_M_SIGNALS, reason == WIRE_R_LIMIT ? TUNNEL_SIGNAL_LIMITED : TUNNEL_SIGNAL_LOST, 1);
	(void)tunnel_link_send(l, WIRE_SIGNAL_LOST, &m);
}

static void say_no_relay(struct tunnel_link *l, const struct wire_relay *m, enum wire_reason reason, const char *text)
{
	const struct wire_relay no = { .identity = m->identity, .call = m->call, .reason = (uint8_t)reason, .text = text_of(text) };

	(void)tunnel_link_send(l, WIRE_RELAY, &no);
}

static void refuse_word(struct tunnel_link *l, unsigned type, const union wire_msg *m, enum wire_reason reason, const char *text)
{
	if (type == WIRE_TURN_ASK || type == WIRE_SHARE)
		return; /* it asks again */
	if (type == WIRE_SIGNAL)
		say_lost(l, m->signal.tag, reason, text);
	else
		say_no_relay(l, &m->relay, reason, text);
}

int rendezvous_on_frame(struct tunnel_link *l, unsigned type, const union wire_msg *m)
{
	uint8_t frame[WIRE_HEAD + WIRE_PAYLOAD_MAX];
	struct wr w = wr_init(frame, sizeof(frame));
	struct note *n;

	if (!l->rendezvous)
		return -EPROTO; /* it did not say that it knows these frames, or was not told that they are allowed */
	if (type == WIRE_SIGNAL && m->signal.identity.n == 0 && m->signal.name.n == 0 && m->signal.share == 0)
		return -EPROTO;
	if (!may_speak(l)) {
		refuse_word(l, type, m, WIRE_R_LIMIT, "this agent says too much to others: ten messages a second are passed on");
		return 0;
	}
	wire_write(&w, type, m);
	n = w.failed ? NULL : note_new(l->worker->server, NOTE_WORD, l->i.id, wr_len(&w) - WIRE_HEAD);
	if (!n) {
		refuse_word(l, type, m, WIRE_R_MEMORY, "");
		return 0;
	}
	n->link = l->i;
	n->type = type;
	memcpy(n->payload, frame + WIRE_HEAD, n->n);
	note_post(n);
	return 0;
}

/* ---- mail to a worker ---- */

struct word { /* a frame for a link */
	struct mail mail;
	struct tunnel_server *server;
	uint64_t link, from; /* from: the link that hears if it cannot be delivered; 0: nobody */
	uint64_t tag;
	size_t n;
	uint8_t frame[];
};

static void post_word(struct tunnel_server *s, uint64_t to, uint64_t from, uint64_t tag, unsigned type, const void *msg);

static void lost(struct tunnel_server *s, uint64_t from, uint64_t tag, enum wire_reason reason, const char *text)
{
	const struct wire_signal_lost m = { .tag = tag, .reason = (uint8_t)reason, .text = text_of(text) };

	if (from)
		post_word(s, from, 0, 0, WIRE_SIGNAL_LOST, &m);
}

static void drop_word(struct mail *m)
{
	free(container_of(m, struct word, mail));
}

static void deliver_word(struct mail *m, struct loop *l)
{
	struct word *d = container_of(m, struct word, mail);
	struct tunnel_worker *w = tunnel_server_worker(d->server, tunnel_worker_of(d->link));
	struct tunnel_link *to = tunnel_link_find(w, d->link);
	bool known = to && to->control && to->rendezvous;
	int r = known ? frame_conn_data(to->control, d->frame, d->n) : -ENOTCONN;

	(void)l;
	if (d->frame[0] == WIRE_SIGNAL)
		worker_count(w, TUNNEL_M_SIGNALS, r == 0 ? TUNNEL_SIGNAL_PASSED : TUNNEL_SIGNAL_LOST, 1);
	if (r == -EAGAIN)
		lost(d->server, d->from, d->tag, WIRE_R_LIMIT, "that agent does not keep up with what it is told");
	else if (r < 0)
		lost(d->server, d->from, d->tag, WIRE_R_NOT_THERE,
		     to && to->control ? "that agent is older than direct links: update stile-agent there" : "");
	drop_word(m);
}

static void post_word(struct tunnel_server *s, uint64_t to, uint64_t from, uint64_t tag, unsigned type, const void *msg)
{
	uint8_t frame[WIRE_HEAD + WIRE_PAYLOAD_MAX];
	struct wr b = wr_init(frame, sizeof(frame));
	struct word *d;

	wire_write(&b, type, msg);
	d = b.failed ? NULL : calloc(1, sizeof(*d) + wr_len(&b));
	if (!d)
		return; /* as if it had been lost on the way; who waits for an answer has a deadline */
	*d = (struct word){ .mail = { .deliver = deliver_word, .drop = drop_word },
			    .server = s, .link = to, .from = from, .tag = tag, .n = wr_len(&b) };
	memcpy(d->frame, frame, d->n);
	loop_post(tunnel_server_worker(s, tunnel_worker_of(to))->loop, &d->mail);
}

/* ---- main: who is meant ---- */

static const struct directory_entry *named(struct tunnel_server *s, struct text name)
{
	list_for_each (it, &s->directory) {
		const struct directory_entry *e = list_entry(it, struct directory_entry, node);

		if (text_eq(text_of(e->name), name))
			return e;
	}
	return NULL;
}

/* Somebody else may have the name now: the sender should hear of that, and decide. */
static void not_there(struct tunnel_server *s, const struct note *n, const struct wire_signal *m)
{
	const struct directory_entry *other = m->identity.n && m->name.n ? named(s, m->name) : NULL;
	struct identity_hash id;
	char text[160], fingerprint[IDENTITY_STRLEN];

	if (!other) {
		lost(s, n->id, m->tag, WIRE_R_NOT_THERE, "no agent of this name or key is connected to the server");
		return;
	}
	memcpy(id.b, other->identity, sizeof(id.b));
	(void)snprintf(text, sizeof(text), "the agent that is called so has another key: %s", identity_print(&id, fingerprint));
	lost(s, n->id, m->tag, WIRE_R_UNKNOWN_KEY, text);
}

void rendezvous_post(struct tunnel_server *s, uint64_t link, unsigned type, const void *msg)
{
	post_word(s, link, 0, 0, type, msg);
}

/* For whoever has the share. */
static void on_signal_of_share(struct tunnel_server *s, const struct note *n, const struct wire_signal *m)
{
	const struct share_entry *e = share_find(s, m->share);
	const struct directory_entry *to = e ? directory_entry_of(s, e->identity) : NULL;
	const struct wire_signal out = { .identity = { n->link.identity, WIRE_PIN }, .name = text_of(n->link.name), .share = m->share, .body = m->body };

	if (!e || (n->link.guest && n->link.guest != m->share))
		lost(s, n->id, m->tag, WIRE_R_UNKNOWN_SHARE, "");
	else if (!to)
		lost(s, n->id, m->tag, WIRE_R_NOT_THERE, "the sender's machine is not connected: it may be asleep or without a network");
	else if (to->link == n->id)
		lost(s, n->id, m->tag, WIRE_R_PROTOCOL, "that is this agent's own share: what it has is on this machine");
	else
		post_word(s, to->link, n->id, m->tag, WIRE_SIGNAL, &out);
}

static void on_signal(struct tunnel_server *s, const struct note *n, const struct wire_signal *m)
{
	const struct directory_entry *to = m->identity.n ? directory_entry_of(s, m->identity.p) : named(s, m->name);
	const struct wire_signal out = { .identity = { n->link.identity, WIRE_PIN }, .name = text_of(n->link.name), .body = m->body };

	if (n->link.guest && !share_guest_may(s, n, m->identity.n ? m->identity.p : NULL))
		lost(s, n->id, m->tag, WIRE_R_UNKNOWN_SHARE, "");
	else if (n->link.guest && !m->identity.n)
		lost(s, n->id, m->tag, WIRE_R_NOT_ALLOWED, "a guest speaks to the sender of its share only");
	else if (to && to->link == n->id)
		lost(s, n->id, m->tag, WIRE_R_PROTOCOL, "that is this agent itself");
	else if (to)
		post_word(s, to->link, n->id, m->tag, WIRE_SIGNAL, &out);
	else
		not_there(s, n, m);
}

/* ---- main: relays ---- */

struct relay_ask {
	struct list node;
	uint8_t from[WIRE_PIN], to[WIRE_PIN], call[WIRE_CALL];
	uint64_t link; /* of from */
	uint64_t share; /* whose guest from is; 0: an agent */
	uint64_t until;
};
struct relay_entry { /* a pair, as main knows it; the rest is its worker's */
	struct list node;
	uint64_t id;
	uint8_t ends[2][WIRE_PIN], call[WIRE_CALL];
	uint64_t share; /* whose guest one end is; 0: of none */
};

/* session 0: the other one wants it, too. */
static void say_relay(struct tunnel_server *s, uint64_t link, const uint8_t other[static WIRE_PIN], const uint8_t call[static WIRE_CALL],
		      uint64_t session)
{
	const struct wire_relay m = { .identity = { other, WIRE_PIN }, .call = { call, WIRE_CALL }, .session = session };

	post_word(s, link, 0, 0, WIRE_RELAY, &m);
}

static void drop_ask(struct tunnel_server *s, struct relay_ask *a)
{
	list_unlink(&a->node);
	s->n_asks--;
	free(a);
}

static void forget_old_asks(struct tunnel_server *s)
{
	uint64_t now = loop_now(s->loop);

	list_for_each_safe (it, &s->asks) {
		struct relay_ask *a = list_entry(it, struct relay_ask, node);

		if (now >= a->until)
			drop_ask(s, a);
	}
}

static struct relay_ask *ask_of(struct tunnel_server *s, const uint8_t from[static WIRE_PIN], const uint8_t to[static WIRE_PIN],
				const uint8_t call[static WIRE_CALL])
{
	list_for_each (it, &s->asks) {
		struct relay_ask *a = list_entry(it, struct relay_ask, node);

		if (memcmp(a->from, from, WIRE_PIN) == 0 && memcmp(a->to, to, WIRE_PIN) == 0 && memcmp(a->call, call, WIRE_CALL) == 0)
			return a;
	}
	return NULL;
}

static bool is_end(const struct relay_entry *e, const uint8_t identity[static WIRE_PIN])
{
	return memcmp(e->ends[0], identity, WIRE_PIN) == 0 || memcmp(e->ends[1], identity, WIRE_PIN) == 0;
}

/* Of these two, in this call: there is one at most, and it makes way for another. */
static bool is_between(const struct relay_entry *e, const uint8_t one[static WIRE_PIN],
		       const struct wire_relay *m)
{
	return is_end(e, one) && is_end(e, m->identity.p) && memcmp(e->call, m->call.p, WIRE_CALL) == 0;
}

/* How many an agent has: those that are, and those that it waits for; beside the one that is asked for by n, or answered. */
static unsigned relays_beside(struct tunnel_server *s, const uint8_t whose[static WIRE_PIN],
			      const struct note *n, const struct wire_relay *m)
{
	const struct relay_ask *asked[2] = { ask_of(s, n->link.identity, m->identity.p, m->call.p),
					     ask_of(s, m->identity.p, n->link.identity, m->call.p) };
	unsigned count = 0;

	list_for_each (it, &s->pairs) {
		const struct relay_entry *e = list_entry(it, struct relay_entry, node);

		count += is_end(e, whose) && !is_between(e, n->link.identity, m);
	}
	list_for_each (it, &s->asks) {
		const struct relay_ask *a = list_entry(it, struct relay_ask, node);

		count += memcmp(a->from, whose, WIRE_PIN) == 0 && a != asked[0] && a != asked[1];
	}
	return count;
}

/* The pair of before, of the same call: it makes way. */
static void end_pair(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN],
		     const struct wire_relay *m)
{
	list_for_each_safe (it, &s->pairs) {
		struct relay_entry *e = list_entry(it, struct relay_entry, node);

		if (is_between(e, identity, m))
			pair_order_end(s, e->id, "an agent wants it no more");
	}
}

void rendezvous_end_relays(struct tunnel_server *s, const uint8_t *identity, uint64_t share)
{
	list_for_each_safe (it, &s->asks) {
		struct relay_ask *a = list_entry(it, struct relay_ask, node);

		if ((!identity || memcmp(a->from, identity, WIRE_PIN) == 0) &&
		    (!share || a->share == share))
			drop_ask(s, a);
	}
	list_for_each (it, &s->pairs) {
		const struct relay_entry *e = list_entry(it, struct relay_entry, node);

		if ((!identity || is_end(e, identity)) && (!share || e->share == share))
			pair_order_end(s, e->id, "the server has sent an agent away");
	}
}

static int make_pair(struct tunnel_server *s, const struct relay_ask *a, const struct note *n)
{
	struct relay_entry *e = calloc(1, sizeof(*e));
	int r = -ENOMEM;

	if (e) {
		s->pair_base += 0x100;
		e->id = s->pair_base | tunnel_worker_of(a->link);
		memcpy(e->ends[0], a->from, WIRE_PIN);
		memcpy(e->ends[1], n->link.identity, WIRE_PIN);
		memcpy(e->call, a->call, WIRE_CALL);
		e->share = a->share ? a->share : n->link.guest;
		r = pair_order_begin(s, e->id, e->ends[0], e->ends[1]);
	}
	if (r < 0) {
		free(e);
		return r;
	}
	list_append(&s->pairs, &e->node);
	say_relay(s, a->link, n->link.identity, a->call, e->id);
	say_relay(s, n->id, a->from, a->call, e->id);
	return 0;
}

static int add_ask(struct tunnel_server *s, const struct note *n, const struct wire_relay *m)
{
	struct relay_ask *a = ask_of(s, n->link.identity, m->identity.p, m->call.p);

	if (!a) {
		if (s->n_asks >= ASKS_MAX)
			return -EUSERS;
		a = calloc(1, sizeof(*a));
		if (!a)
			return -ENOMEM;
		memcpy(a->from, n->link.identity, WIRE_PIN);
		memcpy(a->to, m->identity.p, WIRE_PIN);
		memcpy(a->call, m->call.p, WIRE_CALL);
		list_append(&s->asks, &a->node);
		s->n_asks++;
	}
	a->link = n->id;
	a->share = n->link.guest;
	a->until = loop_now(s->loop) + ASK_MS;
	return 0;
}

static void no_relay(struct tunnel_server *s, const struct note *n, const struct wire_relay *m, enum wire_reason reason, const char *text)
{
	const struct wire_relay no = { .identity = m->identity, .call = m->call, .reason = (uint8_t)reason, .text = text_of(text) };

	post_word(s, n->id, 0, 0, WIRE_RELAY, &no);
}

static const char THIS_HAS_MANY[] = "this agent has as many relays as it may have (tunnel.direct.relays)",
		  THAT_HAS_MANY[] = "that agent has as many relays as it may have (tunnel.direct.relays)";

/* Whoever asked hears it, too. other: what is answered; NULL: nothing. False: neither of the two has as many as it may. */
static bool has_many(struct tunnel_server *s, const struct note *n, const struct wire_relay *m,
		     struct relay_ask *other)
{
	unsigned most = s->rendezvous.relays,
		 mine = n->link.guest ? MIN(most, (unsigned)GUEST_RELAYS) : most;
	bool many = relays_beside(s, n->link.identity, n, m) >= mine;
	struct wire_relay no = { .identity = { n->link.identity, WIRE_PIN },
				 .call = m->call,
				 .reason = WIRE_R_LIMIT,
				 .text = text_of(many ? THAT_HAS_MANY : THIS_HAS_MANY) };

	if (!many && relays_beside(s, m->identity.p, n, m) < most)
		return false;
	no_relay(s, n, m, WIRE_R_LIMIT, many ? THIS_HAS_MANY : THAT_HAS_MANY);
	if (other) {
		post_word(s, other->link, 0, 0, WIRE_RELAY, &no);
		drop_ask(s, other);
	}
	return true;
}

static void want_relay(struct tunnel_server *s, const struct note *n, const struct wire_relay *m)
{
	const struct directory_entry *to = directory_entry_of(s, m->identity.p);
	struct relay_ask *other = ask_of(s, m->identity.p, n->link.identity, m->call.p);
	int r;

	if (!s->rendezvous.relay) {
		no_relay(s, n, m, WIRE_R_NOT_ALLOWED, "this server relays nothing between agents (tunnel.direct.relay)");
		return;
	}
	if (!to) {
		no_relay(s, n, m, WIRE_R_NOT_THERE, "");
		return;
	}
	if (has_many(s, n, m, other))
		return;
	end_pair(s, n->link.identity, m);
	r = other ? make_pair(s, other, n) : add_ask(s, n, m);
	if (r < 0)
		no_relay(s, n, m, r == -EUSERS ? WIRE_R_LIMIT : WIRE_R_MEMORY, "");
	else if (other)
		drop_ask(s, other);
	else
		say_relay(s, to->link, n->link.identity, m->call.p, 0);
}

static void on_relay(struct tunnel_server *s, const struct note *n, const struct wire_relay *m)
{
	struct relay_ask *mine;

	forget_old_asks(s);
	if (n->link.guest && !share_guest_may(s, n, m->identity.p)) {
		no_relay(s, n, m, WIRE_R_NOT_ALLOWED, "a guest speaks to the sender of its share only");
		return;
	}
	if (m->reason == WIRE_R_NONE) {
		want_relay(s, n, m);
		return;
	}
	mine = ask_of(s, n->link.identity, m->identity.p, m->call.p);
	if (mine)
		drop_ask(s, mine);
	end_pair(s, n->link.identity, m);
}

/* ---- main: TURN servers ---- */

void rendezvous_give_turn(struct tunnel_server *s, uint64_t link, const struct wire_turn *m)
{
	post_word(s, link, 0, 0, WIRE_TURN, m);
}

static void on_turn_ask(struct tunnel_server *s, const struct note *n)
{
	const struct cfg_list *list = s->rendezvous.turn_servers;
	const struct cfg_hostport *h = list ? list->items : NULL;
	struct wire_turn m = { .lifetime = TURN_LIFETIME_S };
	char uris[WIRE_URIS_MAX][TURN_URI_STRLEN];
	struct turn_minted made = { 0 };
	char name[6 + WIRE_PIN + 1] = "agent-"; /* and half of its fingerprint: nothing that an agent chooses */

	hex_encode(n->link.identity, WIRE_PIN / 2, name + 6);
	if (!n->link.guest && (!list || list->n == 0) && s->rendezvous.local_turn) {
		local_turn_ask(s, n->id, name, TURN_LIFETIME_S);
		return;
	}
	if (!list || list->n == 0 || !s->rendezvous.turn_secret) {
		m.text = TEXT("this tunnel server gives no TURN servers");
		post_word(s, n->id, 0, 0, WIRE_TURN, &m);
		return;
	}
	if (!n->link.guest && turn_mint_credential(STUN_MAC_SHA1, text_of(s->rendezvous.turn_secret), text_of(name),
						   (uint64_t)time(NULL) + TURN_LIFETIME_S, &made) != 0)
		return;
	for (size_t i = 0; i < 2 * list->n && i < WIRE_URIS_MAX; i++) {
		struct turn_uri u = { .port = h[i / 2].port, .tcp = i % 2 };
		(void)snprintf(u.host, sizeof(u.host), "%s", h[i / 2].host);
		(void)turn_uri_print(&u, uris[i]);
		m.uris[m.n_uris++] = text_of(uris[i]);
	}
	if (!n->link.guest) { /* a guest is told them as STUN servers: nothing relays for whoever has a code */
		m.username = text_of(made.user);
		m.password = text_of(made.password);
	}
	post_word(s, n->id, 0, 0, WIRE_TURN, &m);
	bytes_wipe(&made, sizeof(made));
}

void rendezvous_hear(struct tunnel_server *s, const struct note *n)
{
	union wire_msg m;

	if (wire_parse(n->type, n->payload, n->n, &m) != WIRE_OK)
		return;
	if (n->type == WIRE_SIGNAL && m.signal.share)
		on_signal_of_share(s, n, &m.signal);
	else if (n->type == WIRE_SIGNAL)
		on_signal(s, n, &m.signal);
	else if (n->type == WIRE_SHARE && !n->link.guest)
		shares_hear(s, n, &m.share);
	else if (n->type == WIRE_SHARE)
		return;
	else if (n->type == WIRE_TURN_ASK)
		on_turn_ask(s, n);
	else
		on_relay(s, n, &m.relay);
}

void rendezvous_pair_over(struct tunnel_server *s, const struct note *n)
{
	list_for_each_safe (it, &s->pairs) {
		struct relay_entry *e = list_entry(it, struct relay_entry, node);

		if (e->id != n->id)
			continue;
		list_unlink(&e->node);
		free(e);
	}
}

void rendezvous_free(struct tunnel_server *s)
{
	local_turn_free(s);
	list_for_each_safe (it, &s->asks)
		drop_ask(s, list_entry(it, struct relay_ask, node));
	list_for_each_safe (it, &s->pairs) {
		struct relay_entry *e = list_entry(it, struct relay_entry, node);

		list_unlink(&e->node);
		free(e);
	}
}
