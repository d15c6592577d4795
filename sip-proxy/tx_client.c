/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two client machines: INVITE (RFC 3261 17.1.1 with the Accepted state of RFC 6026) and all others (17.1.2). The
 * ACK for a final response that is no 2xx, and CANCEL, are made from the request that was sent (17.1.1.3, 9.1). A CANCEL is
 * a transaction of its own, with nobody above it.
 */
#include <errno.h>
#include <string.h>
#include "common/bytes.h"
#include "sip-proxy/tx_priv.h"

enum { SMALL = 4096 }; /* an ACK or CANCEL fits on the stack, nearly always */

struct key {
	struct text branch;
	enum sip_method method;
	struct text method_name;
};

static struct text name_of(const struct sip_client_tx *c)
{
	return c->method == SIP_UNKNOWN_METHOD ? text_of(c->name) : sip_method_name(c->method);
}

static bool is_key(const struct hnode *n, const void *key)
{
	const struct sip_client_tx *c = container_of(n, struct sip_client_tx, node);
	const struct key *k = key;
	return c->method == k->method && strlen(c->branch) == k->branch.n &&
	       memcmp(c->branch, k->branch.p, k->branch.n) == 0 && text_eq(name_of(c), k->method_name);
}

static uint64_t hash_of(const struct sip_txs *t, struct text branch)
{
	return hash_bytes(&t->o.seed, branch.p, branch.n);
}

/* ---- life ---- */

static void on_send_failed(struct sip_wait *w, int err, const char *why);

/* The struct with its two texts behind it. */
static struct sip_client_tx *make(struct sip_txs *t, const struct sip_client_start *st)
{
	struct text method = st->method == SIP_UNKNOWN_METHOD ? st->method_name : (struct text){ 0 };
	struct text name = st->to->name;
	struct sip_client_tx *c = calloc(1, sizeof *c + method.n + 1 + name.n);
	if (!c)
		return NULL;
	if (method.n > 0)
		memcpy(c->name, method.p, method.n);
	c->to = *st->to;
	if (name.n > 0)
		memcpy(c->name + method.n + 1, name.p, name.n);
	c->to.name = (struct text){ c->name + method.n + 1, name.n };
	c->txs = t;
	c->user = st->user;
	c->owner = st->owner;
	c->own = st->own || st->method == SIP_CANCEL;
	c->method = st->method;
	c->state = st->method == SIP_INVITE ? SIP_TX_CALLING : SIP_TX_TRYING;
	c->reliable = sip_proto_rows[st->to->hop.proto].reliable;
	c->wait.failed = on_send_failed;
	c->made = sip_txs_now(t);
	text_append(c->branch, sizeof c->branch, st->branch);
	return c;
}

static void dispose(struct sip_client_tx *c)
{
	struct sip_txs *t = c->txs;
	timer_stop(&c->clock.timer);
	sip_wait_forget(&c->wait);
	htable_remove(&t->clients, &c->node);
	sip_drop_bytes(t, &c->bytes, &c->bytes_n);
	free(c);
}

int sip_client_new(struct sip_txs *t, const struct sip_client_start *st, struct sip_client_tx **ret_c)
{
	struct sip_client_tx *c = make(t, st);
	struct sip_hop used;
	int r;
	if (!c)
		return -ENOMEM;
	c->bytes = sip_keep_bytes(t, st->request);
	if (c->bytes)
		c->bytes_n = (uint32_t)st->request.n;
	if (!c->bytes || htable_insert(&t->clients, &c->node, hash_of(t, text_of(c->branch))) < 0) {
		dispose(c);
		return -ENOMEM;
	}
	used = c->to.hop;
	r = t->o.ops->send(t->o.edge, &c->to, st->request, &c->wait, &used);
	if (r < 0) {
		t->counts.send_failures++;
		dispose(c);
		return r;
	}
	c->to.hop = used;
	sip_on_request_sent(c);
	t->counts.clients++;
	*ret_c = c;
	return 0;
}

void sip_client_end(struct sip_client_tx *c)
{
	if (c->owner)
		c->user->ended(c, c->owner);
	dispose(c);
}

void sip_client_abandon(struct sip_client_tx *c)
{
	c->owner = NULL;
	if (c->method == SIP_INVITE && c->state == SIP_TX_PROCEEDING && !c->cancelled)
		sip_on_abandoned(c);
}

bool sip_client_withdraw(struct sip_client_tx *c)
{
	struct sip_txs *t = c->txs;
	if (!t->o.ops->withdraw || c->state > SIP_TX_TRYING || !t->o.ops->withdraw(t->o.edge, &c->wait))
		return false;
	dispose(c);
	return true;
}

bool sip_client_is_held(const struct sip_client_tx *c)
{
	const struct sip_txs *t = c->txs;
	return t->o.ops->held && t->o.ops->held(t->o.edge, &c->wait);
}

static void report(struct sip_client_tx *c, int err)
{
	struct sip_txs *t = c->txs;
	if (!c->reported && t->o.ops->report)
		t->o.ops->report(t->o.edge, &c->to, err);
	c->reported = true;
}

static void fail(struct sip_client_tx *c, enum sip_client_failure f, const char *why)
{
	void *owner = c->owner;
	c->owner = NULL; /* one word, and the last */
	if (owner)
		c->user->failed(c, owner, f, why);
	dispose(c);
}

static void on_send_failed(struct sip_wait *w, int err, const char *why)
{
	struct sip_client_tx *c = container_of(w, struct sip_client_tx, wait);
	c->txs->counts.send_failures++;
	if (c->state >= SIP_TX_ACCEPTED)
		return; /* the ACK did not arrive: its repetition may */
	report(c, err ? err : EIO);
	fail(c, SIP_CLIENT_TRANSPORT, why);
}

/* ---- ACK and CANCEL ---- */

static int send_ack(struct sip_client_tx *c)
{
	struct sip_txs *t = c->txs;
	int r = t->o.ops->send(t->o.edge, &c->to, (struct text){ c->bytes, c->bytes_n }, NULL, NULL);
	if (r < 0)
		t->counts.send_failures++;
	return r;
}

/* From here on the ACK is what is kept. */
static void acknowledge(struct sip_client_tx *c, const struct sip_msg *response)
{
	struct sip_txs *t = c->txs;
	struct sip_msg request;
	char small[SMALL], *ack = NULL, *buf = small;
	size_t cap = c->bytes_n + response->raw.n + 64;
	ssize_t n = -1;
	if (cap > sizeof small)
		buf = malloc(cap);
	if (buf && sip_msg_parse(&request, (struct text){ c->bytes, c->bytes_n }, SIP_DATAGRAM,
				 NULL) == SIP_OK)
		n = sip_ack_write(buf, MAX(cap, sizeof small), &request, response);
	if (buf)
		sip_msg_deinit(&request);
	sip_drop_bytes(t, &c->bytes, &c->bytes_n);
	if (n > 0)
		ack = sip_keep_bytes(t, (struct text){ buf, (size_t)n });
	if (ack) {
		c->bytes = ack;
		c->bytes_n = (uint32_t)n;
		send_ack(c);
	}
	if (buf != small)
		free(buf);
}

static const struct sip_client_user nobody;

static int send_cancel(struct sip_client_tx *c, const struct sip_line *lines, unsigned n_lines)
{
	struct sip_client_tx *cancel;
	struct sip_msg request;
	size_t cap = c->bytes_n + SMALL; /* of the INVITE some lines, and what lines say */
	char *buf = malloc(cap);
	ssize_t n = buf ? -EBADMSG : -ENOMEM;
	if (buf && sip_msg_parse(&request, (struct text){ c->bytes, c->bytes_n }, SIP_DATAGRAM,
				 NULL) == SIP_OK)
		n = sip_cancel_write(buf, cap, &request, lines, n_lines);
	if (buf)
		sip_msg_deinit(&request);
	const struct sip_client_start st = {
		.request = { buf, (size_t)MAX(n, 0) },
		.method = SIP_CANCEL,
		.method_name = TEXT("CANCEL"),
		.branch = c->branch,
		.to = &c->to,
		.user = &nobody,
	};
	int r = n < 0 ? (int)n : sip_client_new(c->txs, &st, &cancel);
	free(buf);
	return r;
}

int sip_client_cancel(struct sip_client_tx *c, const struct sip_line *lines, unsigned n_lines)
{
	int r;
	if (c->method != SIP_INVITE || c->state != SIP_TX_PROCEEDING || c->cancelled)
		return -EALREADY;
	r = send_cancel(c, lines, n_lines);
	/* One that cannot be sent, for its flow is gone, is as one that was lost: nobody else would end this transaction. */
	c->cancelled = true;
	sip_on_cancel_sent(c);
	return r;
}

/* ---- events ---- */

static void tell(struct sip_client_tx *c, const struct sip_msg *m, const struct sip_basics *b)
{
	if (c->owner)
		c->user->response(c, c->owner, m, b);
}

static void on_provisional(struct sip_client_tx *c, const struct sip_msg *m, const struct sip_basics *b)
{
	if (c->state > SIP_TX_PROCEEDING)
		return;
	c->state = SIP_TX_PROCEEDING;
	sip_on_provisional_received(c);
	tell(c, m, b);
}

static void on_success(struct sip_client_tx *c, const struct sip_msg *m, const struct sip_basics *b)
{
	if (c->state > SIP_TX_ACCEPTED)
		return; /* behind another final response: not theirs to send */
	if (c->state < SIP_TX_ACCEPTED) {
		c->state = SIP_TX_ACCEPTED;
		sip_drop_bytes(c->txs, &c->bytes, &c->bytes_n);
		sip_on_success_received(c);
	} else {
		c->txs->counts.responses_absorbed++;
	}
	tell(c, m, b);
}

static void on_final(struct sip_client_tx *c, const struct sip_msg *m, const struct sip_basics *b)
{
	if (c->state == SIP_TX_ACCEPTED || c->state == SIP_TX_COMPLETED) {
		c->txs->counts.responses_absorbed++;
		if (c->state == SIP_TX_COMPLETED && c->method == SIP_INVITE && c->bytes)
			send_ack(c);
		return;
	}
	c->state = SIP_TX_COMPLETED;
	if (c->method == SIP_INVITE)
		acknowledge(c, m);
	else
		sip_drop_bytes(c->txs, &c->bytes, &c->bytes_n);
	sip_on_final_received(c);
	tell(c, m, b);
}

/* Ours, and that of whoever sent us the request: a response without the second would have nowhere to go. */
static bool has_two_vias(const struct sip_msg *m)
{
	struct sip_values it = sip_values(m, SIP_H_VIA);
	struct text value;
	return sip_values_next(&it, &value) && sip_values_next(&it, &value);
}

bool sip_client_input(struct sip_txs *t, const struct sip_msg *m, const struct sip_basics *b)
{
	const struct key key = { b->via.branch, b->cseq.method, b->cseq.method_name };
	struct hnode *n = key.branch.p ? htable_find(&t->clients, hash_of(t, key.branch), is_key, &key)
				       : NULL;
	struct sip_client_tx *c;
	if (!n)
		return false;
	c = container_of(n, struct sip_client_tx, node);
	if (!c->own && !has_two_vias(m))
		return false;
	report(c, 0);
	sip_wait_forget(&c->wait); /* it got there; what its connection does now is another matter */
	if (m->status < 200)
		on_provisional(c, m, b);
	else if (m->status < 300 && c->method == SIP_INVITE)
		on_success(c, m, b);
	else
		on_final(c, m, b);
	return true;
}

void sip_client_repeat(struct sip_client_tx *c)
{
	struct sip_txs *t = c->txs;
	if (c->state > SIP_TX_PROCEEDING || !c->bytes)
		return;
	t->counts.requests_repeated++;
	if (t->o.ops->send(t->o.edge, &c->to, (struct text){ c->bytes, c->bytes_n }, NULL, NULL) < 0)
		t->counts.send_failures++;
}

void sip_client_expire(struct sip_client_tx *c)
{
	if (c->state >= SIP_TX_ACCEPTED) {
		sip_client_end(c);
		return;
	}
	c->txs->counts.client_timeouts++;
	report(c, ETIMEDOUT);
	fail(c, SIP_CLIENT_TIMEOUT, "no final response in time");
}

enum sip_tx_state sip_client_state(const struct sip_client_tx *c)
{
	return c->state;
}

const struct sip_target *sip_client_target(const struct sip_client_tx *c)
{
	return &c->to;
}
