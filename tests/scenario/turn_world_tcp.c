/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP allocations in the world of the TURN conversations: connections with peers that only remember whom they
 * join, peers that answer a Connect when a test says so, and what clients say about them (RFC 6062). The bytes
 * of a bound connection are the real edge's business (turn/edge_tcp.c), and tests/interop has them.
 */
#include <errno.h>
#include "tests/scenario/turn_world_edge.h"

struct turn_flow {
	struct list node; /* in world->flows */
	struct world *w;
	struct turn_tcp *tcp;
	struct addr peer;
	struct turn_path client; /* bound to; no transport: nobody yet */
};

/* ---- the edge ---- */

int fake_listen(void *edge, struct turn_alloc *a, const struct addr *at, struct turn_relay **ret_r)
{
	return fake_relay_open(edge, a, at, ret_r);
}

static struct turn_flow *flow_new(struct world *w, const struct addr *peer)
{
	struct turn_flow *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	f->w = w;
	f->peer = *peer;
	list_append(&w->flows, &f->node);
	w->n_flows++;
	return f;
}

static void flow_free(struct turn_flow *f)
{
	list_unlink(&f->node);
	f->w->n_flows--;
	free(f);
}

int fake_connect(struct turn_relay *r, struct turn_tcp *t, const struct addr *peer, struct turn_flow **ret_f)
{
	struct turn_flow *f;

	if (r->w->connect_error)
		return r->w->connect_error;
	f = flow_new(r->w, peer);
	if (!f)
		return -ENOMEM;
	f->tcp = t;
	*ret_f = f;
	return 0;
}

void fake_name(struct turn_flow *f, struct turn_tcp *t)
{
	f->tcp = t;
}

int fake_bind(struct turn_flow *f, const struct turn_path *client)
{
	f->client = *client;
	return f->w->bind_error;
}

void fake_cut(struct turn_flow *f)
{
	if (f->client.transport)
		f->w->n_cut++;
	flow_free(f);
}

/* The real one takes the connection along; here its path does, in a block of exactly the request's size. */
bool fake_send_home(const struct turn_path *p, unsigned worker, const void *request, size_t n)
{
	struct world *w = p->handle, *home = worker < ARRAY_LEN(w->workers) ? w->workers[worker] : NULL;
	struct turn_path path = *p;
	uint8_t *block;

	if (!home || home == w)
		return false;
	block = malloc(n);
	assert_non_null(block);
	memcpy(block, request, n);
	path.handle = home;
	turn_input_again(home->server, &path,
			 &(struct turn_packet){ .data = block, .n = n, .mark = DGRAM_MARK_NONE },
			 home->now);
	free(block);
	return true;
}

/* ---- peers ---- */

static struct turn_flow *flow_with(struct world *w, const char *peer)
{
	struct addr a = address(peer);

	list_for_each (it, &w->flows) {
		struct turn_flow *f = list_entry(it, struct turn_flow, node);
		if (addr_equal(&f->peer, &a))
			return f;
	}
	return NULL;
}

void peer_answers(struct client *c, const char *peer, int err)
{
	struct turn_flow *f = flow_with(c->w, peer);

	assert_non_null(f);
	turn_tcp_connected(f->tcp, err, c->w->now);
}

bool peer_connects(struct world *w, const struct addr *relay, const char *peer)
{
	struct addr from = address(peer);
	struct turn_relay *r = relay_at(w, relay);
	struct turn_flow *f = flow_new(w, &from);

	assert_non_null(f);
	if (turn_tcp_accepted(r->alloc, &from, f, w->now))
		return true;
	flow_free(f);
	return false;
}

void peer_hangs_up(struct world *w, const char *peer)
{
	struct turn_flow *f = flow_with(w, peer);

	assert_non_null(f);
	turn_tcp_closed(f->tcp);
	flow_free(f);
}

bool is_bound(struct world *w, const char *peer, const struct client *data)
{
	struct turn_flow *f = flow_with(w, peer);

	return f && f->client.transport && addr_equal(&f->client.client, &data->path.client);
}

/* ---- clients ---- */

unsigned allocate_tcp(struct client *c)
{
	if (!c->nonce[0])
		assert_int_equal(handshake(c), 401);
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 6u << 24);
	return read_allocation(c, ask(c));
}

unsigned connect_to(struct client *c, const char *peer)
{
	struct addr a = address(peer);

	begin(c, STUN_CONNECT);
	stun_put_addr(&c->sw, STUN_A_XOR_PEER_ADDRESS, &a);
	return ask(c);
}

unsigned connected(struct client *c, const char *peer, uint32_t *ret_id)
{
	unsigned code = connect_to(c, peer);

	if (code != NO_ANSWER)
		return code;
	peer_answers(c, peer, 0);
	code = late_answer(c);
	if (code == 0)
		assert_int_equal(stun_get_u32(&c->m, STUN_A_CONNECTION_ID, ret_id), 0);
	return code;
}

uint32_t attempted(struct client *c, const char *peer)
{
	struct sent s;
	struct stun_msg m;
	struct addr from, expected = address(peer);
	uint32_t id = 0;

	assert_true(take(c->w, &s));
	assert_false(s.to_peer);
	assert_true(addr_equal(&s.to, &c->path.client));
	assert_int_equal(stun_parse(s.data, s.n, &m), STUN_OK);
	assert_int_equal(m.type, stun_type(STUN_CONNECTION_ATTEMPT, STUN_INDICATION));
	assert_int_equal(stun_get_addr(&m, STUN_A_XOR_PEER_ADDRESS, &from), 0);
	assert_true(addr_equal(&from, &expected));
	assert_int_equal(stun_get_u32(&m, STUN_A_CONNECTION_ID, &id), 0);
	free(s.data);
	return id;
}

unsigned bind_connection(struct client *data, uint32_t id)
{
	if (!data->nonce[0])
		assert_int_equal(handshake(data), 401);
	begin(data, STUN_CONNECTION_BIND);
	stun_put_u32(&data->sw, STUN_A_CONNECTION_ID, id);
	return ask(data);
}
