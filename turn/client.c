/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TURN client's state machine. One struct request per transaction in flight; what must be kept
 * alive (allocation, permissions, channels) is refreshed by timers:
 *
 *   refresh   one minute before the allocation's lifetime ends, or at half of a short one
 *   renew     a peer's permission 240 s after it was granted (it lives 300 s), by rebinding its
 *             channel when it has one (a channel lives 600 s and its binding renews the permission)
 */
#include "turn/client.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "turn/client_challenge.h"
#include "turn/server.h"

enum {
	FIRST_CHANNEL = 0x4000,
	LAST_CHANNEL = 0x4fff,
	RENEW_MS = 240000,
	REFRESH_MARGIN_S = 60,
	MAX_TRIES = 3, /* challenge, stale nonce, and the answer */
	MAX_TEXT = 512,
	ALLOCATION_MISMATCH = 437,
	PROTOCOL_UDP = 17,
};

struct peer {
	struct list node;
	struct turn_client *client;
	struct addr addr;
	uint16_t channel; /* asked for or bound; 0: permission only */
	bool permitted, bound;
	struct timer renew;
};

struct request {
	struct list node;
	struct turn_client *client;
	struct stun_tx *tx;
	enum stun_method method;
	struct peer *peer; /* NULL unless it is about one */
	uint32_t lifetime_s; /* Refresh: 0 releases */
	unsigned tries;
	struct stun_key *key; /* signs it, checks the answer; NULL before the challenge */
};

struct turn_client {
	struct turn_client_options o;
	char user[MAX_TEXT], password[MAX_TEXT]; /* prepared */
	struct turn_challenge challenge; /* the server's last one */
	bool challenged, allocated;
	struct addr relayed, mapped;
	uint32_t lifetime_s;
	uint16_t next_channel;
	struct timer refresh;
	struct list requests, peers;
};

static int request_start(struct turn_client *c, enum stun_method m, struct peer *p, uint32_t lifetime_s, unsigned tries);

/* ---- failures ---- */

/* The allocation is gone, and with it all permissions and channels: nothing is kept alive any more. */
static void on_gone(struct turn_client *c)
{
	c->allocated = false;
	timer_stop(&c->refresh);
	list_for_each(it, &c->peers) {
		struct peer *p = list_entry(it, struct peer, node);
		p->permitted = p->bound = false;
		timer_stop(&p->renew);
	}
}

static void fail(struct turn_client *c, const struct request *rq, enum turn_failure_kind kind,
		 const struct stun_msg *m, const char *why)
{
	struct turn_failure f = { .kind = kind, .method = rq->method };
	struct text reason = { 0 };

	if (rq->peer)
		f.peer = rq->peer->addr;
	if (m && stun_get_error(m, &f.code, &reason) == 0) {
		size_t n = MIN(reason.n, sizeof f.reason - 1);
		for (size_t i = 0; i < n; i++)
			f.reason[i] = (unsigned char)reason.p[i] < 0x20 || reason.p[i] == 0x7f ? '?' : reason.p[i];
		(void)stun_get_addr(m, STUN_A_ALTERNATE_SERVER, &f.alternate);
	}
	if (why)
		snprintf(f.reason, sizeof f.reason, "%s", why);
	if (rq->method == STUN_ALLOCATE || rq->method == STUN_REFRESH ||
	    f.code == ALLOCATION_MISMATCH) /* RFC 8656 5 */
		on_gone(c);
	if (c->o.ops->on_failed)
		c->o.ops->on_failed(c, &f, c->o.arg);
}

/* ---- requests ---- */

static void request_free(struct request *rq)
{
	list_unlink(&rq->node);
	stun_tx_free(rq->tx);
	stun_key_free(rq->key);
	free(rq);
}

static void on_tx_send(struct stun_tx *t, const void *p, size_t n, void *arg)
{
	struct request *rq = arg;

	(void)t;
	rq->client->o.ops->send(p, n, rq->client->o.arg);
}

static void put_body(struct turn_client *c, struct stun_writer *sw, const struct request *rq)
{
	uint8_t transport[4] = { PROTOCOL_UDP };
	uint8_t family[4] = { c->o.family == AF_INET6 ? 2 : 1 };

	switch (rq->method) {
	case STUN_ALLOCATE:
		stun_put(sw, STUN_A_REQUESTED_TRANSPORT, transport, sizeof transport);
		if (c->o.family != AF_UNSPEC)
			stun_put(sw, STUN_A_REQUESTED_ADDRESS_FAMILY, family, sizeof family);
		if (c->o.lifetime_s)
			stun_put_u32(sw, STUN_A_LIFETIME, c->o.lifetime_s);
		break;
	case STUN_REFRESH:
		stun_put_u32(sw, STUN_A_LIFETIME, rq->lifetime_s);
		break;
	case STUN_CHANNEL_BIND:
		stun_put_u32(sw, STUN_A_CHANNEL_NUMBER, (uint32_t)rq->peer->channel << 16);
		stun_put_addr(sw, STUN_A_XOR_PEER_ADDRESS, &rq->peer->addr);
		break;
	default: /* CreatePermission */
		stun_put_addr(sw, STUN_A_XOR_PEER_ADDRESS, &rq->peer->addr);
		break;
	}
}

static void on_tx_done(struct stun_tx *t, const struct stun_msg *m, void *arg);
static const struct stun_tx_ops tx_ops = { .send = on_tx_send, .done = on_tx_done };

static int request_send(struct turn_client *c, struct request *rq)
{
	uint8_t buf[STUN_REQUEST_MAX], tid[STUN_TID_LEN];
	struct stun_writer sw;
	int r = bytes_random(tid, sizeof tid);

	if (r < 0 || (c->challenged && (r = turn_challenge_key(&c->challenge, text_of(c->user), text_of(c->password),
							     &rq->key)) < 0))
		return r;
	stun_begin(&sw, buf, sizeof buf, rq->method, STUN_REQUEST, tid);
	put_body(c, &sw, rq);
	if (rq->key)
		turn_challenge_sign(&c->challenge, text_of(c->user), rq->key, &sw);
	ssize_t n = stun_end(&sw);
	if (n < 0)
		return (int)n;
	const struct stun_tx_options o = { .timers = c->o.timers, .reliable = c->o.stream, .key = rq->key,
					   .ops = &tx_ops, .arg = rq };
	return stun_tx_new(&o, c->o.now(c->o.arg), buf, (size_t)n, &rq->tx);
}

static int request_start(struct turn_client *c, enum stun_method m, struct peer *p, uint32_t lifetime_s, unsigned tries)
{
	struct request *rq = calloc(1, sizeof *rq);

	if (!rq)
		return -ENOMEM;
	rq->client = c;
	rq->method = m;
	rq->peer = p;
	rq->lifetime_s = lifetime_s;
	rq->tries = tries;
	list_append(&c->requests, &rq->node);
	int r = request_send(c, rq);
	if (r < 0)
		request_free(rq);
	return r;
}

/* ---- answers ---- */

static void on_refresh_due(struct timer *t, uint64_t now)
{
	struct turn_client *c = container_of(t, struct turn_client, refresh);

	(void)now;
	(void)request_start(c, STUN_REFRESH, NULL, c->o.lifetime_s ? c->o.lifetime_s : c->lifetime_s, 0);
}

static void plan_refresh(struct turn_client *c)
{
	uint64_t in_s = c->lifetime_s > 2 * REFRESH_MARGIN_S ? c->lifetime_s - REFRESH_MARGIN_S : c->lifetime_s / 2;

	timers_set(c->o.timers, &c->refresh, c->o.now(c->o.arg) + MAX(in_s, 1) * 1000);
}

static void on_renew_due(struct timer *t, uint64_t now)
{
	struct peer *p = container_of(t, struct peer, renew);

	(void)now;
	(void)request_start(p->client, p->bound ? STUN_CHANNEL_BIND : STUN_CREATE_PERMISSION, p, 0, 0);
}

static void on_allocate_success(struct turn_client *c, struct request *rq, const struct stun_msg *m)
{
	if (stun_get_addr(m, STUN_A_XOR_RELAYED_ADDRESS, &c->relayed) < 0 || stun_get_u32(m, STUN_A_LIFETIME, &c->lifetime_s) < 0) {
		fail(c, rq, TURN_FAIL_PROTOCOL, NULL, "no relayed address or lifetime in it");
		return;
	}
	(void)stun_get_addr(m, STUN_A_XOR_MAPPED_ADDRESS, &c->mapped);
	c->allocated = true;
	plan_refresh(c);
	if (c->o.ops->on_allocated)
		c->o.ops->on_allocated(c, c->o.arg);
}

static bool is_release(const struct request *rq)
{
	return rq->method == STUN_REFRESH && rq->lifetime_s == 0;
}

static void on_refresh_success(struct turn_client *c, struct request *rq, const struct stun_msg *m)
{
	if (is_release(rq)) {
		on_gone(c);
		if (c->o.ops->on_released)
			c->o.ops->on_released(c, c->o.arg);
		return;
	}
	(void)stun_get_u32(m, STUN_A_LIFETIME, &c->lifetime_s);
	plan_refresh(c);
}

static void on_peer_success(struct turn_client *c, struct request *rq)
{
	struct peer *p = rq->peer;
	bool first_permission = !p->permitted, first_binding = !p->bound;

	if (!c->allocated) /* it was asked for before the allocation went */
		return;
	p->permitted = true;
	timers_set(c->o.timers, &p->renew, c->o.now(c->o.arg) + RENEW_MS);
	if (rq->method == STUN_CHANNEL_BIND) {
		p->bound = true;
		if (first_binding && c->o.ops->on_bound)
			c->o.ops->on_bound(c, &p->addr, p->channel, c->o.arg);
	} else if (first_permission && c->o.ops->on_permitted) {
		c->o.ops->on_permitted(c, &p->addr, c->o.arg);
	}
}

static void on_success(struct turn_client *c, struct request *rq, const struct stun_msg *m)
{
	switch (rq->method) {
	case STUN_ALLOCATE:
		on_allocate_success(c, rq, m);
		break;
	case STUN_REFRESH:
		on_refresh_success(c, rq, m);
		break;
	default:
		on_peer_success(c, rq);
		break;
	}
}

/* 1: another try makes sense, 0: it does not, -EPROTO: the server's offer cannot be followed. */
static int take_challenge(struct turn_client *c, const struct request *rq, const struct stun_msg *m, unsigned code)
{
	int r;

	if (rq->tries + 1 >= MAX_TRIES || (code == 401 && rq->key))
		return 0; /* signed and still refused: the credentials are wrong */
	r = turn_challenge_take(&c->challenge, m, c->o.no_sha256);
	if (r == 0)
		c->challenged = true;
	return r == 0 ? 1 : r == -EPROTO ? r : 0;
}

static void fail_silent(struct turn_client *c, const struct request *rq, enum stun_tx_failure why)
{
	if (why == STUN_TX_TIMEOUT)
		fail(c, rq, TURN_FAIL_TIMEOUT, NULL, NULL);
	else
		fail(c, rq, TURN_FAIL_PROTOCOL, NULL, why == STUN_TX_INTEGRITY ?
		     "its integrity is wrong: another server, or somebody in between" :
		     "it has an attribute we do not know, or is an error without a code");
}

static void on_error(struct turn_client *c, struct request *rq, const struct stun_msg *m)
{
	unsigned code = 0;
	struct text reason;
	int r = 0;

	if (stun_get_error(m, &code, &reason) == 0 && (code == 401 || code == 438))
		r = take_challenge(c, rq, m, code);
	if (code == ALLOCATION_MISMATCH && is_release(rq)) { /* RFC 8656 8.3: it "effectively succeeded" */
		on_refresh_success(c, rq, m);
		return;
	}
	if (r == 0) {
		fail(c, rq, TURN_FAIL_REFUSED, m, NULL);
		return;
	}
	if (r < 0) {
		fail(c, rq, TURN_FAIL_PROTOCOL, NULL, "it offers no password algorithm that we know, or hides its offer");
		return;
	}
	r = request_start(c, rq->method, rq->peer, rq->lifetime_s, rq->tries + 1);
	if (r < 0)
		fail(c, rq, TURN_FAIL_LOCAL, NULL, strerror(-r));
}

/* m has a code if it is an error, and is signed if the request was: the transaction has seen to it. */
static void on_tx_done(struct stun_tx *t, const struct stun_msg *m, void *arg)
{
	struct request *rq = arg;
	struct turn_client *c = rq->client;

	list_unlink(&rq->node);
	if (!m)
		fail_silent(c, rq, stun_tx_failure(t));
	else if (m->class == STUN_SUCCESS)
		on_success(c, rq, m);
	else
		on_error(c, rq, m);
	request_free(rq);
}

/* ---- peers and data ---- */

static struct peer *peer_find(const struct turn_client *c, const struct addr *addr)
{
	list_for_each(it, &c->peers) {
		struct peer *p = list_entry(it, struct peer, node);
		if (addr_equal(&p->addr, addr))
			return p;
	}
	return NULL;
}

static struct peer *peer_get(struct turn_client *c, const struct addr *addr)
{
	struct peer *p = peer_find(c, addr);

	if (p || !(p = calloc(1, sizeof *p)))
		return p;
	p->client = c;
	p->addr = *addr;
	p->renew.fire = on_renew_due;
	list_append(&c->peers, &p->node);
	return p;
}

int turn_client_permit(struct turn_client *c, const struct addr *peer)
{
	struct peer *p = c->allocated ? peer_get(c, peer) : NULL;

	if (!c->allocated)
		return -ENOTCONN;
	return p ? request_start(c, STUN_CREATE_PERMISSION, p, 0, 0) : -ENOMEM;
}

int turn_client_bind(struct turn_client *c, const struct addr *peer)
{
	struct peer *p = c->allocated ? peer_get(c, peer) : NULL;

	if (!c->allocated)
		return -ENOTCONN;
	if (!p)
		return -ENOMEM;
	if (!p->channel) {
		if (c->next_channel > LAST_CHANNEL)
			return -ENOSPC;
		p->channel = c->next_channel++;
	}
	return request_start(c, STUN_CHANNEL_BIND, p, 0, 0);
}

static int send_channel(struct turn_client *c, const struct peer *p, const void *data, size_t n)
{
	uint8_t buf[DGRAM_MAX];
	struct wr w = wr_init(buf, sizeof buf);

	wr_u16(&w, p->channel);
	wr_u16(&w, (uint16_t)n);
	wr_bytes(&w, data, n);
	if (c->o.stream)
		wr_zero(&w, -n & 3);
	if (w.failed)
		return -EMSGSIZE;
	c->o.ops->send(buf, wr_len(&w), c->o.arg);
	return 0;
}

static int send_indication(struct turn_client *c, const struct addr *peer, const void *data, size_t n)
{
	uint8_t buf[DGRAM_MAX], tid[STUN_TID_LEN];
	struct stun_writer sw;
	int r = bytes_random(tid, sizeof tid);

	if (r < 0)
		return r;
	stun_begin(&sw, buf, sizeof buf, STUN_SEND, STUN_INDICATION, tid);
	stun_put_addr(&sw, STUN_A_XOR_PEER_ADDRESS, peer);
	stun_put(&sw, STUN_A_DATA, data, n);
	ssize_t len = stun_end(&sw);
	if (len < 0)
		return -EMSGSIZE;
	c->o.ops->send(buf, (size_t)len, c->o.arg);
	return 0;
}

int turn_client_send(struct turn_client *c, const struct addr *peer, const void *p, size_t n)
{
	struct peer *to = peer_find(c, peer);

	if (!c->allocated)
		return -ENOTCONN;
	if (n > UINT16_MAX)
		return -EMSGSIZE;
	return to && to->bound ? send_channel(c, to, p, n) : send_indication(c, peer, p, n);
}

static void input_channel(struct turn_client *c, const uint8_t *p, size_t n)
{
	struct rd r = rd_init(p, n);
	uint16_t channel = rd_u16(&r), len = rd_u16(&r);
	const uint8_t *data = rd_take(&r, len);

	if (r.failed)
		return;
	list_for_each(it, &c->peers) {
		struct peer *peer = list_entry(it, struct peer, node);
		if (peer->bound && peer->channel == channel) {
			if (c->o.ops->on_data)
				c->o.ops->on_data(c, &peer->addr, data, len, true, c->o.arg);
			return;
		}
	}
}

static void input_stun(struct turn_client *c, const uint8_t *p, size_t n)
{
	struct stun_msg m;
	struct addr peer;

	if (stun_parse(p, n, &m) != STUN_OK)
		return;
	if (m.class == STUN_INDICATION) {
		struct stun_value data = m.attr[STUN_A_DATA];
		if (m.method == STUN_DATA && data.p && stun_get_addr(&m, STUN_A_XOR_PEER_ADDRESS, &peer) == 0 && c->o.ops->on_data)
			c->o.ops->on_data(c, &peer, data.p, data.n, false, c->o.arg);
		return;
	}
	list_for_each_safe(it, &c->requests)
		if (stun_tx_input(list_entry(it, struct request, node)->tx, &m))
			return;
}

void turn_client_input(struct turn_client *c, uint8_t *p, size_t n)
{
	if (n < 4)
		return;
	if (turn_is_channel_data(p[0]))
		input_channel(c, p, n);
	else
		input_stun(c, p, n);
}

/* ---- life ---- */

static int prepare(const char *in, char out[static MAX_TEXT])
{
	size_t n;
	int r = stun_opaque_string(text_of(in), out, MAX_TEXT - 1, &n);

	if (r == 0)
		out[n] = 0;
	return r;
}

int turn_client_new(const struct turn_client_options *o, struct turn_client **ret_c)
{
	struct turn_client *c = calloc(1, sizeof *c);
	int r;

	if (!c)
		return -ENOMEM;
	list_init(&c->requests);
	list_init(&c->peers);
	c->o = *o;
	c->next_channel = FIRST_CHANNEL;
	c->refresh.fire = on_refresh_due;
	if ((r = prepare(o->user, c->user)) < 0 || (r = prepare(o->password, c->password)) < 0) {
		turn_client_free(c);
		return r;
	}
	c->o.user = c->o.password = NULL; /* the caller's may go */
	*ret_c = c;
	return 0;
}

struct turn_client *turn_client_free(struct turn_client *c)
{
	if (!c)
		return NULL;
	timer_stop(&c->refresh);
	list_for_each_safe(it, &c->requests)
		request_free(list_entry(it, struct request, node));
	list_for_each_safe(it, &c->peers) {
		struct peer *p = list_entry(it, struct peer, node);
		timer_stop(&p->renew);
		free(p);
	}
	bytes_wipe(c->password, sizeof c->password);
	free(c);
	return NULL;
}

int turn_client_allocate(struct turn_client *c)
{
	return request_start(c, STUN_ALLOCATE, NULL, 0, 0);
}

void turn_client_release(struct turn_client *c)
{
	if (c->allocated)
		(void)request_start(c, STUN_REFRESH, NULL, 0, 0);
}

bool turn_client_is_allocated(const struct turn_client *c)
{
	return c->allocated;
}

const struct addr *turn_client_relayed(const struct turn_client *c)
{
	return &c->relayed;
}

const struct addr *turn_client_mapped(const struct turn_client *c)
{
	return &c->mapped;
}

uint32_t turn_client_lifetime_s(const struct turn_client *c)
{
	return c->lifetime_s;
}

const char *turn_client_realm(const struct turn_client *c)
{
	return c->challenge.realm;
}

bool turn_client_uses_sha256(const struct turn_client *c)
{
	return c->challenge.algorithm == STUN_ALG_SHA256;
}

uint16_t turn_client_channel(const struct turn_client *c, const struct addr *peer)
{
	const struct peer *p = peer_find(c, peer);

	return p && p->bound ? p->channel : 0;
}
