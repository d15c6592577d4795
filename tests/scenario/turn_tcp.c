/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP allocations (RFC 6062): who gets one, Connect and what it is refused for, ConnectionAttempt,
 * ConnectionBind, the 30 seconds of both, and what ends with what. The bytes of a bound connection:
 * tests/interop/wire.py.
 */
#include <errno.h>
#include "tests/scenario/turn_world.h"
#include "turn/tcp_alloc.h"

#define PEER "9.9.9.9:80"

static struct client with_allocation(struct world *w)
{
	struct client c = client_tcp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate_tcp(&c), 0);
	return c;
}

/* ---- Allocate: RFC 6062 5.1 ---- */

static void over_udp_there_is_no_tcp_allocation(void **state)
{
	struct world *w = *state;
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate_tcp(&alice), 400);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_CONTRADICTION), 1);
	assert_int_equal(w->n_relays, 0);
}

static void over_tcp_and_tls_there_is(void **state)
{
	struct world *w = *state;
	struct client tcp = client_tcp(w, "192.0.2.1:4000", "alice"), tls = client_tls(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate_tcp(&tcp), 0);
	assert_int_equal(allocate_tcp(&tls), 0);
	assert_int_equal(w->n_relays, 2);
	assert_int_equal(refresh(&tcp, 0), 0);
	assert_int_equal(w->n_relays, 1);
}

static unsigned allocate_with(struct client *c, enum stun_attr attr, const void *p, size_t n)
{
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 6u << 24);
	stun_put(&c->sw, attr, p, n);
	return ask(c);
}

static void what_only_udp_has_excludes_a_tcp_allocation(void **state)
{
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(handshake(&alice), 401);
	assert_int_equal(allocate_with(&alice, STUN_A_EVEN_PORT, "\x80", 1), 400);
	assert_int_equal(allocate_with(&alice, STUN_A_DONT_FRAGMENT, NULL, 0), 400);
	assert_int_equal(allocate_with(&alice, STUN_A_RESERVATION_TOKEN, "12345678", 8), 400);
	assert_int_equal(allocate_with(&alice, STUN_A_MOBILITY_TICKET, NULL, 0), 405);
	assert_int_equal(w->n_relays, 0);
}

static void a_tcp_allocation_has_no_channels_and_sends_no_datagrams(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w);

	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_int_equal(bind_channel(&alice, 0x4000, PEER), 400);
	send_to(&alice, PEER, "hello");
	assert_silence(w);
}

/* ---- Connect: RFC 6062 5.2 ---- */

static void a_connect_is_answered_when_its_peer_has(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w);
	uint32_t id = 0;

	assert_int_equal(connect_to(&alice, PEER), NO_ANSWER);
	assert_int_equal(counted(w, TURN_M_SUCCESSES, TURN_METHOD_CONNECT), 0);
	peer_answers(&alice, PEER, 0);
	assert_int_equal(late_answer(&alice), 0);
	assert_int_equal(stun_get_u32(&alice.m, STUN_A_CONNECTION_ID, &id), 0);
	assert_int_equal(counted(w, TURN_M_SUCCESSES, TURN_METHOD_CONNECT), 1);
	assert_silence(w);
}

/* RFC 6062 wants a permission of the peers that come, not of those that the client goes to. */
static void a_connect_needs_no_permission_and_makes_none(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w);
	uint32_t id;

	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_false(peer_connects(w, &alice.relay, "9.9.9.9:81"));
}

/* Advisory: CVE-2020-26262. */
static void the_peer_rules_hold_for_a_connect(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w);

	assert_int_equal(connect_to(&alice, "10.0.0.1:80"), 403);
	assert_int_equal(connect_to(&alice, "127.0.0.1:80"), 403);
	assert_int_equal(connect_to(&alice, "[2001:4860::1]:80"), 443);
	assert_int_equal(w->n_flows, 0);
}

/* The machine's own services are nobody's peers, also where a UDP allocation has the same port. */
static void of_our_own_addresses_only_tcp_relays_are_peers(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), bob = client_tcp(w, "192.0.2.2:4000", "bob"),
		      udp = client_udp(w, "192.0.2.2:4000", "bob");
	char peer[ADDR_STRLEN];
	uint32_t id;

	assert_int_equal(allocate_tcp(&bob), 0);
	assert_int_equal(allocate(&udp), 0);
	assert_int_equal(connected(&alice, addr_print(&bob.relay, peer), &id), 0);
	assert_int_equal(connect_to(&alice, addr_print(&udp.relay, peer)), 403);
	assert_int_equal(connect_to(&alice, "198.51.100.10:22"), 403);
	assert_int_equal(permit(&udp, "198.51.100.10:1"), 0);
	send_to(&udp, addr_print(&bob.relay, peer), "hello");
	assert_silence(w);
}

static void a_peer_that_refuses_or_is_silent_makes_a_447(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w);

	assert_int_equal(connect_to(&alice, PEER), NO_ANSWER);
	peer_answers(&alice, PEER, ECONNREFUSED);
	assert_int_equal(late_answer(&alice), 447);
	assert_int_equal(w->n_flows, 0);
	assert_int_equal(connect_to(&alice, PEER), NO_ANSWER); /* and may be tried again */
	world_wait(w, 29999);
	assert_silence(w);
	world_wait(w, 1);
	assert_int_equal(late_answer(&alice), 447);
	assert_int_equal(w->n_flows, 0);
	w->connect_error = -ENETUNREACH;
	assert_int_equal(connect_to(&alice, PEER), 447);
	w->connect_error = -EMFILE;
	assert_int_equal(connect_to(&alice, PEER), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_CONNECT), 3);
}

static void there_is_one_connection_with_a_peer(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice");
	uint32_t id, other;

	assert_int_equal(connect_to(&alice, PEER), NO_ANSWER);
	assert_int_equal(connect_to(&alice, PEER), 446); /* while it is under way, */
	peer_answers(&alice, PEER, 0);
	assert_true(w->n_queue == 1);
	struct sent s;
	assert_true(take(w, &s));
	struct stun_msg m;
	assert_int_equal(stun_parse(s.data, s.n, &m), STUN_OK);
	assert_int_equal(stun_get_u32(&m, STUN_A_CONNECTION_ID, &id), 0);
	free(s.data);
	assert_int_equal(connect_to(&alice, PEER), 446); /* while nobody is bound to it, */
	assert_int_equal(bind_connection(&data, id), 0);
	assert_int_equal(connect_to(&alice, PEER), 446); /* and while somebody is */
	assert_int_equal(connected(&alice, "9.9.9.9:81", &other), 0); /* another port is another peer */
	assert_true(id != other);
	peer_hangs_up(w, PEER);
	assert_int_equal(connected(&alice, PEER, &other), 0);
	assert_true(id != other);
}

static void a_connect_without_a_tcp_allocation_is_refused(void **state)
{
	struct world *w = *state;
	struct client udp = client_udp(w, "192.0.2.1:4000", "alice"), tcp = client_tcp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&udp), 0);
	assert_int_equal(connect_to(&udp, PEER), 400);
	assert_int_equal(handshake(&tcp), 401);
	assert_int_equal(connect_to(&tcp, PEER), 437);
	assert_int_equal(allocate(&tcp), 0); /* a UDP one */
	assert_int_equal(connect_to(&tcp, PEER), 400);
	assert_int_equal(w->n_flows, 0);
}

static void a_connect_names_a_peer(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w);

	begin(&alice, STUN_CONNECT);
	assert_int_equal(ask(&alice), 400);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_MISSING), 1);
}

static void an_allocation_has_so_many_connections_and_no_more(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w);
	char peer[32];
	uint32_t id;

	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	for (unsigned i = 0; i < TURN_TCP_MAX; i++) {
		snprintf(peer, sizeof peer, "9.9.9.9:%u", 100 + i);
		assert_int_equal(connected(&alice, peer, &id), 0);
	}
	assert_int_equal(connect_to(&alice, PEER), 508);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_CONNECTIONS), 1);
	assert_false(peer_connects(w, &alice.relay, PEER));
	peer_hangs_up(w, "9.9.9.9:100");
	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(w->n_flows, TURN_TCP_MAX);
}

/* ---- ConnectionAttempt: RFC 6062 5.3 ---- */

static void a_peer_that_comes_is_announced_if_it_has_a_permission(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice");

	assert_false(peer_connects(w, &alice.relay, PEER));
	assert_silence(w);
	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_false(peer_connects(w, &alice.relay, "9.9.9.8:80"));
	assert_silence(w);
	assert_true(peer_connects(w, &alice.relay, PEER));
	uint32_t id = attempted(&alice, PEER);
	assert_int_equal(connect_to(&alice, PEER), 446);
	assert_int_equal(bind_connection(&data, id), 0);
	assert_true(is_bound(w, PEER, &data));
}

static void a_permission_that_has_ended_lets_nobody_in(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w);

	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	world_wait(w, 300000);
	assert_false(peer_connects(w, &alice.relay, PEER));
	assert_silence(w);
	assert_int_equal(w->n_flows, 0);
}

static void a_peer_that_nobody_binds_to_is_closed_after_30_s(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice");

	assert_int_equal(permit(&alice, "9.9.9.9"), 0);
	assert_true(peer_connects(w, &alice.relay, PEER));
	uint32_t id = attempted(&alice, PEER);
	world_wait(w, 29999);
	assert_int_equal(w->n_flows, 1);
	world_wait(w, 1);
	assert_int_equal(w->n_flows, 0);
	assert_int_equal(bind_connection(&data, id), 400);
}

/* ---- ConnectionBind: RFC 6062 5.4 ---- */

static void a_bind_needs_an_id_that_waits(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice"),
		      late = client_tcp(w, "192.0.2.1:4002", "alice");
	uint32_t id;

	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(bind_connection(&data, id ^ 1), 400);
	assert_int_equal(bind_connection(&data, id ^ 1u << 24), 400); /* of a worker that there is not */
	begin(&data, STUN_CONNECTION_BIND);
	assert_int_equal(ask(&data), 400);
	assert_int_equal(bind_connection(&data, id), 0);
	assert_true(is_bound(w, PEER, &data));
	assert_int_equal(bind_connection(&late, id), 400); /* taken */
	assert_true(is_bound(w, PEER, &data));
}

static void a_connection_that_nobody_binds_is_closed_after_30_s(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice");
	uint32_t id;

	assert_int_equal(connected(&alice, PEER, &id), 0);
	world_wait(w, 30000);
	assert_int_equal(w->n_flows, 0);
	assert_int_equal(bind_connection(&data, id), 400);
	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(bind_connection(&data, id), 0);
	world_wait(w, 60000); /* bound, it stays */
	assert_true(is_bound(w, PEER, &data));
}

static void another_user_cannot_bind(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), bob = client_tcp(w, "192.0.2.1:4001", "bob");
	uint32_t id;

	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(bind_connection(&bob, id), 400);
	bob.password = "nobody's";
	assert_int_equal(bind_connection(&bob, id), 401);
	assert_false(is_bound(w, PEER, &bob));
}

static void only_a_connection_of_its_own_is_bound(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), udp = client_udp(w, "192.0.2.1:4001", "alice");
	uint32_t id;

	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(bind_connection(&udp, id), 400);
	assert_int_equal(bind_connection(&alice, id), 400); /* the control connection is none */
	assert_int_equal(w->n_flows, 1);
}

static void the_nonce_of_the_control_connection_serves_its_data_connections(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice");
	uint32_t id;

	memcpy(data.nonce, alice.nonce, sizeof data.nonce);
	memcpy(data.realm, alice.realm, sizeof data.realm);
	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(bind_connection(&data, id), 0);
}

static void a_bind_that_fails_ends_the_connection(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice");
	uint32_t id;

	assert_int_equal(connected(&alice, PEER, &id), 0);
	w->bind_error = -ENOMEM;
	assert_int_equal(bind_connection(&data, id), 0);
	assert_int_equal(w->n_flows, 0);
	assert_int_equal(w->n_cut, 1);
}

static void a_bind_finds_the_worker_that_has_the_connection(void **state)
{
	struct world *w = *state;
	static struct world two;
	struct client alice = with_allocation(w);
	uint32_t id;

	world_join(&two, w, 1);
	struct client data = client_tcp(&two, "192.0.2.1:4001", "alice");
	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(bind_connection(&data, id), NO_ANSWER); /* this worker has none */
	data.w = w;
	assert_int_equal(late_answer(&data), 0);
	assert_true(is_bound(w, PEER, &data));
	assert_int_equal(counted(&two, TURN_M_REQUESTS, TURN_METHOD_CONNECTION_BIND),
			 1); /* where it came, and once */
	assert_int_equal(counted(w, TURN_M_REQUESTS, TURN_METHOD_CONNECTION_BIND), 0);
	assert_int_equal(counted(w, TURN_M_SUCCESSES, TURN_METHOD_CONNECTION_BIND), 1);
	world_stop(&two);
}

/* A client whose credential ends in an hour, and a peer that comes a minute after that. */
static uint32_t attempted_after_expiry(struct world *w, struct client *alice)
{
	assert_int_equal(allocate_tcp(alice), 0);
	assert_int_equal(permit(alice, "9.9.9.9"), 0);
	world_clock(WORLD_UNIX_S + 3660);
	assert_true(peer_connects(w, &alice->relay, PEER));
	return attempted(alice, PEER);
}

static struct client minted(struct world *w, const char *at)
{
	struct client c = client_tcp(w, at, "");

	c.user = w->minted.user;
	c.password = w->minted.password;
	return c;
}

static void a_bind_outlives_the_credential_as_the_allocation_does(void **state)
{
	struct world *w = *state;

	world_mints(w, "alice");
	struct client alice = minted(w, "192.0.2.1:4000"), data = minted(w, "192.0.2.1:4001"),
		      thief = minted(w, "192.0.2.1:4002"), late = minted(w, "192.0.2.1:4003");
	uint32_t id = attempted_after_expiry(w, &alice);
	thief.password = "guess";
	assert_int_equal(bind_connection(&thief, id), 401);
	assert_int_equal(bind_connection(&late, id ^ 1), 401); /* it names nothing that lives */
	assert_int_equal(allocate_tcp(&late), 401);
	assert_int_equal(bind_connection(&data, id), 0);
	assert_true(is_bound(w, PEER, &data));
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_EXPIRED), 2);
}

static void a_bind_outlives_the_password_too(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice");
	uint32_t id;

	assert_int_equal(connected(&alice, PEER, &id), 0);
	w->users[0].password = (char *)"another";
	world_reload(w);
	assert_int_equal(bind_connection(&data, id), 0);
}

static void a_bind_with_a_stale_nonce_is_told_so(void **state)
{
	struct world *w = *state;

	world_mints(w, "alice");
	struct client alice = minted(w, "192.0.2.1:4000"), data = minted(w, "192.0.2.1:4001");
	assert_int_equal(handshake(&data), 401);
	world_wait(w, 600000);
	uint32_t id = attempted_after_expiry(w, &alice);
	assert_int_equal(bind_connection(&data, id), 438);
	assert_int_equal(bind_connection(&data, id), 0);
}

static void a_bind_outlives_the_credential_on_another_worker(void **state)
{
	struct world *w = *state;
	static struct world two;

	world_join(&two, w, 1);
	world_mints(w, "alice");
	world_mints(&two, "alice");
	struct client alice = minted(w, "192.0.2.1:4000"), thief = minted(&two, "192.0.2.1:4001"),
		      data = minted(&two, "192.0.2.1:4002"), stale = minted(&two, "192.0.2.1:4003");
	assert_int_equal(handshake(&stale), 401);
	world_wait(w, 600000);
	world_wait(&two, 600000);
	uint32_t id = attempted_after_expiry(w, &alice);
	thief.password = "guess";
	assert_int_equal(bind_connection(&thief, id), NO_ANSWER);
	thief.w = w;
	assert_int_equal(late_answer(&thief), 401);
	assert_int_equal(counted(&two, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD), 0); /* judged once, */
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD), 1); /* where it says to belong */
	thief = minted(&two, "192.0.2.1:4004");
	thief.password = "guess";
	assert_int_equal(bind_connection(&thief, id ^ 4u << 24), 401); /* of a worker that there is not */
	assert_int_equal(counted(&two, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD), 1);
	assert_int_equal(bind_connection(&stale, id), 438);
	assert_int_equal(bind_connection(&data, id), NO_ANSWER);
	data.w = w;
	assert_int_equal(late_answer(&data), 0);
	assert_true(is_bound(w, PEER, &data));
	world_stop(&two);
}

/* ---- ends ---- */

static void everything_ends_with_the_control_connection(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice");
	uint32_t id;

	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(bind_connection(&data, id), 0);
	assert_int_equal(connected(&alice, "9.9.9.9:81", &id), 0);
	assert_int_equal(connect_to(&alice, "9.9.9.9:82"), NO_ANSWER);
	turn_path_gone(w->server, &alice.path, w->now);
	assert_int_equal(w->n_relays, 0);
	assert_int_equal(w->n_flows, 0);
	assert_int_equal(w->n_cut, 1);
	world_wait(w, 60000);
	assert_silence(w);
}

static void everything_ends_with_the_allocation(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice");
	uint32_t id;

	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(bind_connection(&data, id), 0);
	assert_int_equal(refresh(&alice, 0), 0);
	assert_int_equal(w->n_flows, 0);
	assert_int_equal(w->n_cut, 1);
	assert_int_equal(allocate_tcp(&alice), 0);
	assert_int_equal(connected(&alice, PEER, &id), 0);
	world_wait(w, 600000);
	assert_int_equal(w->n_relays, 0);
	assert_int_equal(w->n_flows, 0);
}

static void a_family_that_is_given_back_ends_its_connections(void **state)
{
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:4000", "alice"),
		      data = client_tcp(w, "192.0.2.1:4001", "alice");
	uint32_t id;

	assert_int_equal(handshake(&alice), 401);
	begin(&alice, STUN_ALLOCATE);
	stun_put_u32(&alice.sw, STUN_A_REQUESTED_TRANSPORT, 6u << 24);
	stun_put_u32(&alice.sw, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2u << 24);
	assert_int_equal(read_allocation(&alice, ask(&alice)), 0);
	assert_int_equal(connected(&alice, "[2a00::9]:80", &id), 0);
	assert_int_equal(bind_connection(&data, id), 0);
	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(refresh_family(&alice, 2, 0), 0);
	assert_int_equal(w->n_flows, 1);
	assert_int_equal(w->n_cut, 1);
	assert_int_equal(connect_to(&alice, PEER), 446); /* the other one's goes on */
}

static void an_allocation_outlives_its_data_connections(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice");
	uint32_t id;

	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(bind_connection(&data, id), 0);
	peer_hangs_up(w, PEER);
	turn_path_gone(w->server, &data.path, w->now);
	assert_int_equal(w->n_flows, 0);
	assert_int_equal(refresh(&alice, -1), 0); /* the allocation stays */
}

static void a_reload_that_forbids_a_peer_cuts_its_connections(void **state)
{
	struct world *w = *state;
	struct client alice = with_allocation(w), data = client_tcp(w, "192.0.2.1:4001", "alice"),
		      other = client_tcp(w, "192.0.2.1:4002", "alice");
	struct prefix deny;
	uint32_t id, kept;

	assert_int_equal(connected(&alice, "8.8.8.8:80", &kept), 0);
	assert_int_equal(bind_connection(&other, kept), 0);
	assert_int_equal(connected(&alice, PEER, &id), 0);
	assert_int_equal(bind_connection(&data, id), 0);
	assert_int_equal(connected(&alice, "9.9.9.8:80", &id), 0); /* waits to be bound */
	assert_int_equal(connect_to(&alice, "9.9.9.7:80"), NO_ANSWER); /* is under way */
	assert_int_equal(w->n_flows, 4);
	assert_int_equal(prefix_parse(TEXT("9.9.9.0/24"), &deny), 0);
	w->cfg.peers.deny = (struct cfg_list){ &deny, 1 };
	world_reload(w);
	assert_int_equal(w->n_flows, 1);
	assert_true(is_bound(w, "8.8.8.8:80", &other));
	assert_int_equal(late_answer(&alice), 403); /* the Connect that was under way */
	assert_int_equal(counted(w, TURN_M_REVOKED, TURN_REVOKED_CONNECTION), 3);
	assert_int_equal(bind_connection(&data, id), 400);
	assert_int_equal(refresh(&alice, -1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(over_udp_there_is_no_tcp_allocation),
		TALK(over_tcp_and_tls_there_is),
		TALK(what_only_udp_has_excludes_a_tcp_allocation),
		TALK(a_tcp_allocation_has_no_channels_and_sends_no_datagrams),
		TALK(a_connect_is_answered_when_its_peer_has),
		TALK(a_connect_needs_no_permission_and_makes_none),
		TALK(the_peer_rules_hold_for_a_connect),
		TALK(of_our_own_addresses_only_tcp_relays_are_peers),
		TALK(a_peer_that_refuses_or_is_silent_makes_a_447),
		TALK(there_is_one_connection_with_a_peer),
		TALK(a_connect_without_a_tcp_allocation_is_refused),
		TALK(a_connect_names_a_peer),
		TALK(an_allocation_has_so_many_connections_and_no_more),
		TALK(a_peer_that_comes_is_announced_if_it_has_a_permission),
		TALK(a_permission_that_has_ended_lets_nobody_in),
		TALK(a_peer_that_nobody_binds_to_is_closed_after_30_s),
		TALK(a_bind_needs_an_id_that_waits),
		TALK(a_connection_that_nobody_binds_is_closed_after_30_s),
		TALK(another_user_cannot_bind),
		TALK(only_a_connection_of_its_own_is_bound),
		TALK(the_nonce_of_the_control_connection_serves_its_data_connections),
		TALK(a_bind_that_fails_ends_the_connection),
		TALK(a_bind_finds_the_worker_that_has_the_connection),
		TALK(a_bind_outlives_the_credential_as_the_allocation_does),
		TALK(a_bind_outlives_the_password_too),
		TALK(a_bind_with_a_stale_nonce_is_told_so),
		TALK(a_bind_outlives_the_credential_on_another_worker),
		TALK(everything_ends_with_the_control_connection),
		TALK(everything_ends_with_the_allocation),
		TALK(a_family_that_is_given_back_ends_its_connections),
		TALK(an_allocation_outlives_its_data_connections),
		TALK(a_reload_that_forbids_a_peer_cuts_its_connections),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
