/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mobility (RFC 8016): tickets, moves to another five-tuple, transport and worker, and who may not. A client
 * that has moved is a copy of itself with another address.
 */
#include <errno.h>
#include "tests/scenario/turn_world.h"

static char ticket[TURN_TICKET_LEN]; /* the last one that was given */

static void keep_ticket(const struct client *c)
{
	assert_int_equal(c->m.attr[STUN_A_MOBILITY_TICKET].n, sizeof ticket);
	memcpy(ticket, c->m.attr[STUN_A_MOBILITY_TICKET].p, sizeof ticket);
}

static unsigned allocate_mobile(struct client *c)
{
	if (!c->nonce[0])
		assert_int_equal(handshake(c), 401);
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&c->sw, STUN_A_MOBILITY_TICKET, NULL, 0);
	unsigned code = read_allocation(c, ask(c));
	if (code == 0)
		keep_ticket(c);
	return code;
}

static unsigned show(struct client *c, const char *shown, size_t n, int64_t lifetime)
{
	if (!c->nonce[0])
		assert_int_equal(handshake(c), 401);
	begin(c, STUN_REFRESH);
	if (lifetime >= 0)
		stun_put_u32(&c->sw, STUN_A_LIFETIME, (uint32_t)lifetime);
	stun_put(&c->sw, STUN_A_MOBILITY_TICKET, shown, n);
	return ask(c);
}

static unsigned move(struct client *c)
{
	unsigned code = show(c, ticket, sizeof ticket, -1);
	if (code == 0)
		keep_ticket(c);
	return code;
}

/* The same client at another address. */
static struct client moved(const struct client *c, const char *to)
{
	struct client there = client_udp(c->w, to, c->user);
	there.relay = c->relay;
	return there;
}

static void an_allocation_moves_with_all_it_has(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");

	assert_int_equal(allocate_mobile(&home), 0);
	away.relay = home.relay;
	assert_int_equal(bind_channel(&home, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(permit(&home, "8.8.8.8"), 0);
	assert_int_equal(move(&away), 0);
	channel_data(&away, 0x4000, "through the old channel");
	assert_peer_got(w, "9.9.9.9:53", "through the old channel");
	peer_says(w, &away.relay, "9.9.9.9:53", "to the new place");
	assert_channel_got(&away, 0x4000, "to the new place");
	peer_says(w, &away.relay, "8.8.8.8:1", "indicated");
	assert_client_got(&away, "8.8.8.8:1", "indicated");
	assert_int_equal(turn_server_count(w->server), 1);
	assert_int_equal(turn_totals_allocations(w->totals), 1);
}

static void the_old_five_tuple_ends_with_the_answer(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");

	assert_int_equal(allocate_mobile(&home), 0);
	assert_int_equal(bind_channel(&home, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(move(&away), 0);
	channel_data(&home, 0x4000, "late");
	assert_silence(w);
	assert_int_equal(refresh(&home, -1), 437);
	assert_int_equal(refresh(&away, -1), 0);
}

static void each_move_gives_a_new_ticket_and_a_used_one_ends(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), b = moved(&home, "203.0.113.9:5000"),
		      c = moved(&home, "203.0.113.9:5001"), d = moved(&home, "203.0.113.9:5002");
	char first[TURN_TICKET_LEN], second[TURN_TICKET_LEN];

	assert_int_equal(allocate_mobile(&home), 0);
	memcpy(first, ticket, sizeof first);
	assert_int_equal(move(&b), 0);
	memcpy(second, ticket, sizeof second);
	assert_memory_not_equal(first, second, sizeof first);
	/* the answer was lost, and the client has moved on with the ticket that it has */
	assert_int_equal(show(&c, first, sizeof first, -1), 0);
	keep_ticket(&c);
	assert_int_equal(show(&d, second, sizeof second, -1), 437);
	assert_int_equal(move(&d), 0);
	assert_int_equal(show(&b, first, sizeof first, -1), 437);
}

static void a_move_said_twice_is_answered_twice(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");
	char again[TURN_TICKET_LEN];

	assert_int_equal(allocate_mobile(&home), 0);
	assert_int_equal(move(&away), 0);
	memcpy(again, ticket, sizeof again);
	assert_int_equal(ask_again(&away), 0);
	keep_ticket(&away);
	assert_memory_equal(again, ticket, sizeof again);
	assert_int_equal(move(&away), 400); /* a new request from the same five-tuple needs none */
	assert_int_equal(refresh(&away, -1), 0);
}

/* A Refresh with the first ticket is late on its way from the old path: it must not take the allocation back. */
static void assert_late_refresh_is_refused(struct world *w, struct client *home, struct client *away, const char *first)
{
	assert_int_equal(show(home, first, TURN_TICKET_LEN, -1), 437);
	assert_int_equal(ask_again(away), 0); /* the move's own retransmission still has its answer */
	assert_int_equal(turn_server_count(w->server), 1);
	assert_int_equal(refresh(away, -1), 0);
}

/* Advisory: mobility by a stranger. */
static void data_from_the_new_path_ends_the_old_ticket(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");
	char first[TURN_TICKET_LEN];

	assert_int_equal(allocate_mobile(&home), 0);
	memcpy(first, ticket, sizeof first);
	assert_int_equal(bind_channel(&home, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(move(&away), 0);
	channel_data(&away, 0x4000, "heard from");
	assert_peer_got(w, "9.9.9.9:53", "heard from");
	assert_late_refresh_is_refused(w, &home, &away, first);
}

static void an_indication_from_the_new_path_ends_the_old_ticket(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");
	char first[TURN_TICKET_LEN];

	assert_int_equal(allocate_mobile(&home), 0);
	memcpy(first, ticket, sizeof first);
	assert_int_equal(permit(&home, "9.9.9.9"), 0);
	assert_int_equal(move(&away), 0);
	send_to(&away, "9.9.9.9:53", "heard from");
	assert_peer_got(w, "9.9.9.9:53", "heard from");
	assert_late_refresh_is_refused(w, &home, &away, first);
}

static void a_request_from_the_new_path_ends_the_old_ticket(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000"),
		      third = moved(&home, "203.0.113.9:5001"), forger;
	char first[TURN_TICKET_LEN];

	assert_int_equal(allocate_mobile(&home), 0);
	memcpy(first, ticket, sizeof first);
	assert_int_equal(move(&away), 0);
	forger = away;
	forger.password = "guess";
	assert_int_equal(permit(&forger, "9.9.9.9"), 401);	    /* nobody's word that she is there */
	assert_int_equal(show(&third, first, sizeof first, -1), 0); /* so the first ticket is good: the answer may be lost */
	keep_ticket(&third);
	assert_int_equal(permit(&third, "9.9.9.9"), 0);
	assert_int_equal(show(&home, first, sizeof first, -1), 437);
	assert_int_equal(show(&away, first, sizeof first, -1), 437);
	assert_int_equal(refresh(&third, -1), 0);
	assert_int_equal(move(&home), 0); /* with the new one it goes back */
}

/* Advisory: mobility by a stranger. */
static void a_ticket_without_the_credential_is_worth_nothing(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), thief = client_udp(w, "203.0.113.9:5000", "bob"),
		      forger = client_udp(w, "203.0.113.9:5001", "alice");
	char none[TURN_TICKET_LEN];

	memset(none, '0', sizeof none);
	forger.password = "not hers";
	assert_int_equal(allocate_mobile(&home), 0);
	assert_int_equal(show(&thief, none, sizeof none, -1), 437);
	assert_int_equal(show(&thief, ticket, sizeof ticket, -1), 437); /* and the same to the byte */
	assert_int_equal(show(&thief, ticket, sizeof ticket, 0), 437);
	assert_int_equal(show(&forger, ticket, sizeof ticket, -1), 401);
	assert_int_equal(refresh(&home, -1), 0);
	assert_int_equal(turn_server_count(w->server), 1);
}

static void what_mobility_refuses(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");

	assert_int_equal(handshake(&home), 401);
	begin(&home, STUN_ALLOCATE);
	stun_put_u32(&home.sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put(&home.sw, STUN_A_MOBILITY_TICKET, "full", 4);
	assert_int_equal(ask(&home), 400);
	assert_int_equal(allocate_mobile(&home), 0);
	assert_int_equal(show(&away, "short", 5, -1), 400);
	assert_int_equal(show(&away, "", 0, -1), 400);
	w->cfg.mobility = false;
	world_reload(w);
	assert_int_equal(move(&away), 405);
	away = client_udp(w, "203.0.113.9:5001", "alice");
	assert_int_equal(allocate_mobile(&away), 405);
	assert_int_equal(allocate(&away), 0);
	assert_false(stun_has(&away.m, STUN_A_MOBILITY_TICKET));
}

static void a_ticket_with_lifetime_0_releases(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");

	assert_int_equal(allocate_mobile(&home), 0);
	assert_int_equal(show(&away, ticket, sizeof ticket, 0), 0);
	assert_int_equal(turn_server_count(w->server), 0);
	assert_int_equal(show(&away, ticket, sizeof ticket, 0), 437);
}

static void a_broken_connection_keeps_a_mobile_allocation(void **state)
{
	struct world *w = *state;
	struct client tcp = client_tcp(w, "192.0.2.1:4000", "alice"), plain = client_tcp(w, "192.0.2.1:4001", "alice"),
		      away = moved(&tcp, "203.0.113.9:5000");

	assert_int_equal(allocate(&plain), 0);
	assert_int_equal(allocate_mobile(&tcp), 0);
	assert_int_equal(permit(&tcp, "9.9.9.9"), 0);
	turn_path_gone(w->server, &plain.path, w->now);
	turn_path_gone(w->server, &tcp.path, w->now);
	assert_int_equal(turn_server_count(w->server), 1);
	peer_says(w, &tcp.relay, "9.9.9.9:53", "nobody home");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_DROPS, TURN_DROP_CLIENT_AWAY), 1);
	assert_int_equal(move(&away), 0); /* over UDP */
	peer_says(w, &tcp.relay, "9.9.9.9:53", "back");
	assert_client_got(&away, "9.9.9.9:53", "back");
	tcp = client_tcp(w, "192.0.2.1:4002", "alice");
	assert_int_equal(move(&tcp), 0);
	turn_path_gone(w->server, &tcp.path, w->now);
	world_wait(w, 600000); /* whoever does not come back is forgotten */
	assert_int_equal(turn_server_count(w->server), 0);
}

/* Advisory: quotas in a loop. */
static void moves_take_no_more_of_the_quota(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"), extra = client_udp(w, "192.0.2.1:4001", "alice");

	w->cfg.limits.allocations_per_user = 1;
	world_reload(w);
	assert_int_equal(allocate_mobile(&home), 0);
	for (unsigned i = 0; i < 50; i++) {
		char at[32];
		snprintf(at, sizeof at, "203.0.113.9:%u", 5000 + i);
		struct client away = moved(&home, at);
		assert_int_equal(move(&away), 0);
	}
	assert_int_equal(allocate(&extra), 486);
	assert_int_equal(turn_totals_allocations(w->totals), 1);
}

/* ---- several workers ---- */

struct ids {
	unsigned n;
	uint64_t id[100];
};

static void note_id(const struct turn_session_info *i, void *arg)
{
	struct ids *ids = arg;

	ids->id[ids->n++] = i->id;
}

static void at_worker(struct client *c, struct world *w)
{
	c->w = w;
	c->path.handle = w;
}

static unsigned answer_after_mail(struct client *c, struct world *a, struct world *b)
{
	struct sent s;
	unsigned code = 0;
	struct text reason;

	while (world_mail(a) || world_mail(b))
		;
	if (!take(c->w, &s))
		return NO_ANSWER;
	c->answer_n = s.n;
	memcpy(c->answer, s.data, s.n);
	free(s.data);
	assert_int_equal(stun_parse(c->answer, c->answer_n, &c->m), STUN_OK);
	if (c->m.class == STUN_ERROR)
		assert_int_equal(stun_get_error(&c->m, &code, &reason), 0);
	else
		keep_ticket(c);
	return code;
}

static void a_ticket_brings_the_allocation_from_another_worker(void **state)
{
	struct world *one = *state;
	static struct world two;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");

	world_join(&two, one, 1);
	at_worker(&away, &two);
	assert_int_equal(allocate_mobile(&home), 0);
	away.relay = home.relay;
	assert_int_equal(bind_channel(&home, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(permit(&home, "8.8.8.8"), 0);
	assert_int_equal(move(&away), NO_ANSWER);
	assert_int_equal(answer_after_mail(&away, one, &two), 0);
	assert_int_equal(turn_server_count(one->server), 0);
	assert_int_equal(turn_server_count(two.server), 1);
	assert_int_equal(one->n_relays + one->n_held + two.n_held, 0);
	channel_data(&away, 0x4000, "up");
	assert_peer_got(&two, "9.9.9.9:53", "up");
	peer_says(&two, &away.relay, "9.9.9.9:53", "down");
	assert_channel_got(&away, 0x4000, "down");
	peer_says(&two, &away.relay, "8.8.8.8:9", "down");
	assert_client_got(&away, "8.8.8.8:9", "down");
	assert_int_equal(refresh(&home, -1), 437);
	assert_int_equal(memcmp(ticket, "01", 2), 0); /* and the new ticket names the new worker */
	world_wait(&two, 600000);
	assert_int_equal(turn_server_count(two.server), 0);
	world_stop(&two);
}

static unsigned allocate_mobile_both(struct client *c)
{
	assert_int_equal(handshake(c), 401);
	begin(c, STUN_ALLOCATE);
	stun_put_u32(&c->sw, STUN_A_REQUESTED_TRANSPORT, 17u << 24);
	stun_put_u32(&c->sw, STUN_A_ADDITIONAL_ADDRESS_FAMILY, 2u << 24);
	stun_put(&c->sw, STUN_A_MOBILITY_TICKET, NULL, 0);
	unsigned code = read_allocation(c, ask(c));
	if (code == 0)
		keep_ticket(c);
	return code;
}

static void two_families_keep_their_times_on_another_worker(void **state)
{
	struct world *one = *state;
	static struct world two;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"),
		      away = moved(&home, "203.0.113.9:5000");

	world_join(&two, one, 1);
	at_worker(&away, &two);
	assert_int_equal(allocate_mobile_both(&home), 0);
	assert_int_equal(refresh_family(&home, 1, 3600), 0);
	assert_int_equal(handshake(&away), 401);
	begin(&away, STUN_REFRESH); /* of IPv6 alone, for 1200 s */
	stun_put_u32(&away.sw, STUN_A_LIFETIME, 1200);
	stun_put_u32(&away.sw, STUN_A_REQUESTED_ADDRESS_FAMILY, 2u << 24);
	stun_put(&away.sw, STUN_A_MOBILITY_TICKET, ticket, sizeof ticket);
	assert_int_equal(ask(&away), NO_ANSWER);
	assert_int_equal(answer_after_mail(&away, one, &two), 0);
	world_wait(&two, 1199999);
	assert_int_equal(two.n_relays, 2);
	world_wait(&two, 1);
	assert_int_equal(two.n_relays, 1);
	world_wait(&two, 2399999);
	assert_int_equal(two.n_relays, 1);
	world_wait(&two, 1);
	assert_int_equal(turn_server_count(two.server), 0);
	world_stop(&two);
}

static void a_ticket_gives_one_of_two_families_back(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"),
		      away = moved(&home, "203.0.113.9:5000");

	assert_int_equal(allocate_mobile_both(&home), 0);
	assert_int_equal(handshake(&away), 401);
	begin(&away, STUN_REFRESH);
	stun_put_u32(&away.sw, STUN_A_LIFETIME, 0);
	stun_put_u32(&away.sw, STUN_A_REQUESTED_ADDRESS_FAMILY, 2u << 24);
	stun_put(&away.sw, STUN_A_MOBILITY_TICKET, ticket, sizeof ticket);
	assert_int_equal(ask(&away), 0);
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(turn_server_count(w->server), 1);
	assert_int_equal(move(&away), 0);
}

/* A reload gives the new rules to one worker after the other, and what is under way between them must not slip through. */
static void an_allocation_that_changes_its_worker_comes_under_the_rules_there(void **state)
{
	struct world *one = *state;
	static struct world two;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");
	struct prefix deny;

	world_join(&two, one, 1);
	at_worker(&away, &two);
	assert_int_equal(allocate_mobile(&home), 0);
	away.relay = home.relay;
	assert_int_equal(bind_channel(&home, 0x4000, "9.9.9.9:53"), 0);
	assert_int_equal(bind_channel(&home, 0x4001, "8.8.8.8:53"), 0);
	assert_int_equal(prefix_parse(TEXT("9.9.9.0/24"), &deny), 0);
	two.cfg.peers.deny = (struct cfg_list){ &deny, 1 };
	world_reload(&two);
	assert_int_equal(move(&away), NO_ANSWER);
	assert_int_equal(answer_after_mail(&away, one, &two), 0);
	channel_data(&away, 0x4000, "up");
	peer_says(&two, &away.relay, "9.9.9.9:53", "down");
	assert_silence(&two);
	channel_data(&away, 0x4001, "up");
	assert_peer_got(&two, "8.8.8.8:53", "up");
	assert_int_equal(counted(&two, TURN_M_REVOKED, TURN_REVOKED_PERMISSION), 1);
	world_stop(&two);
}

static void what_was_settled_stays_so_on_another_worker(void **state)
{
	struct world *one = *state;
	static struct world two;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");
	char first[TURN_TICKET_LEN];

	world_join(&two, one, 1);
	at_worker(&away, &two);
	assert_int_equal(allocate_mobile(&home), 0);
	memcpy(first, ticket, sizeof first);
	assert_int_equal(move(&away), NO_ANSWER);
	assert_int_equal(answer_after_mail(&away, one, &two), 0);
	assert_int_equal(permit(&away, "9.9.9.9"), 0);
	assert_int_equal(show(&home, first, sizeof first, -1), NO_ANSWER); /* the first worker has a note of where it went */
	assert_int_equal(answer_after_mail(&home, one, &two), 437);
	assert_int_equal(refresh(&away, -1), 0);
	world_stop(&two);
}

static void an_old_ticket_follows_the_allocation_from_worker_to_worker(void **state)
{
	struct world *one = *state;
	static struct world two, three;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"), b = moved(&home, "203.0.113.9:5000"),
		      c = moved(&home, "203.0.113.9:5001");
	char first[TURN_TICKET_LEN];

	world_join(&two, one, 1);
	world_join(&three, one, 2);
	at_worker(&b, &two);
	at_worker(&c, &three);
	assert_int_equal(allocate_mobile(&home), 0);
	memcpy(first, ticket, sizeof first);
	assert_int_equal(move(&b), NO_ANSWER);
	assert_int_equal(answer_after_mail(&b, one, &two), 0); /* and the client never sees it */
	assert_int_equal(show(&c, first, sizeof first, -1), NO_ANSWER);
	while (world_mail(one) || world_mail(&two))
		;
	assert_int_equal(answer_after_mail(&c, &three, &three), 0);
	assert_int_equal(turn_server_count(three.server), 1);
	world_stop(&three);
	world_stop(&two);
}

/* The answers of all three moves were lost, and so is the client's patience: it shows the one ticket it has
 * wherever it comes up. */
static void a_ticket_that_left_a_worker_twice_is_looked_for_where_it_went_last(void **state)
{
	struct world *one = *state;
	static struct world two, three;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"), b = moved(&home, "203.0.113.9:5000"),
		      back = moved(&home, "203.0.113.9:5001"), c = moved(&home, "203.0.113.9:5002"),
		      again = moved(&home, "203.0.113.9:5003");
	char first[TURN_TICKET_LEN];

	world_join(&two, one, 1);
	world_join(&three, one, 2);
	at_worker(&b, &two);
	at_worker(&c, &three);
	at_worker(&again, &two);
	assert_int_equal(allocate_mobile(&home), 0);
	memcpy(first, ticket, sizeof first);
	assert_int_equal(move(&b), NO_ANSWER);
	assert_int_equal(answer_after_mail(&b, one, &two), 0);
	assert_int_equal(show(&back, first, sizeof first, -1), NO_ANSWER);
	assert_int_equal(answer_after_mail(&back, one, &two), 0);
	assert_int_equal(show(&c, first, sizeof first, -1), NO_ANSWER);
	assert_int_equal(answer_after_mail(&c, one, &three), 0);
	assert_int_equal(show(&again, first, sizeof first, -1), NO_ANSWER);
	while (world_mail(one) || world_mail(&three))
		;
	assert_int_equal(answer_after_mail(&again, one, &two), 0);
	assert_int_equal(turn_server_count(two.server), 1);
	world_stop(&three);
	world_stop(&two);
}

/* Loops through allocate, move to the other worker and back, refresh, and the three ways to end, with more clients
 * than the quota lets in. It holds at every moment, and nothing of it is lost or left over.
 * Advisory: quotas in a loop. */
static void quotas_hold_while_clients_loop_over_two_workers(void **state)
{
	enum { QUOTA = 3, ROUNDS = 40 };
	struct world *one = *state;
	static struct world two;
	struct client c[QUOTA + 2];
	char at[32];

	one->cfg.limits.allocations_per_user = QUOTA;
	world_reload(one);
	world_join(&two, one, 1);
	two.cfg.limits.allocations_per_user = QUOTA;
	world_reload(&two);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned in = 0;
		for (unsigned i = 0; i < ARRAY_LEN(c); i++) {
			snprintf(at, sizeof at, "192.0.2.%u:%u", 1 + i, 4000 + round);
			c[i] = client_udp(one, at, "alice");
			unsigned code = allocate_mobile(&c[i]);
			assert_int_equal(code, in < QUOTA ? 0 : 486);
			if (code)
				continue;
			in++;
			for (unsigned hop = 0; hop < 4; hop++) { /* there and back, and refreshed each time */
				snprintf(at, sizeof at, "203.0.113.%u:%u", 1 + i, 5000 + 4 * round + hop);
				struct client next = moved(&c[i], at);
				at_worker(&next, hop % 2 ? one : &two);
				assert_int_equal(move(&next), NO_ANSWER);
				assert_int_equal(answer_after_mail(&next, one, &two), 0);
				assert_int_equal(refresh(&next, 3600), 0);
				c[i] = next;
			}
			assert_int_equal(turn_totals_allocations(one->totals), in);
		}
		assert_int_equal(turn_server_count(one->server) + turn_server_count(two.server), QUOTA);
		for (unsigned i = 0; i < QUOTA; i++) {
			if (round % 3 == 0)
				assert_int_equal(refresh(&c[i], 0), 0);
			else if (round % 3 == 1)
				assert_int_equal(refresh(&c[i], 1), 0);
		}
		if (round % 3 == 2) { /* killed, wherever it is */
			struct ids ids = { 0 };
			turn_server_sessions(one->server, &(struct turn_session_query){ .limit = 100 }, one->now, note_id, &ids);
			for (unsigned i = 0; i < ids.n; i++)
				assert_true(turn_server_kill(one->server, ids.id[i], one->now));
		}
		world_wait(one, 600001);
		world_wait(&two, 600001);
		assert_int_equal(turn_totals_allocations(one->totals), 0);
		assert_int_equal(one->n_relays + two.n_relays + one->n_held + two.n_held, 0);
	}
	assert_int_equal(counted(one, TURN_M_REFUSALS, TURN_REFUSE_QUOTA_USER), 2 * ROUNDS);
	world_stop(&two);
}

static void a_request_that_asks_another_worker_is_counted_once(void **state)
{
	struct world *one = *state;
	static struct world two;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");

	world_join(&two, one, 1);
	at_worker(&away, &two);
	assert_int_equal(allocate_mobile(&home), 0);
	assert_int_equal(handshake(&away), 401);
	int64_t before = counted(&two, TURN_M_REQUESTS, TURN_METHOD_REFRESH);
	assert_int_equal(move(&away), NO_ANSWER);
	assert_int_equal(answer_after_mail(&away, one, &two), 0);
	assert_int_equal(counted(&two, TURN_M_REQUESTS, TURN_METHOD_REFRESH), before + 1);
	assert_int_equal(counted(&two, TURN_M_SUCCESSES, TURN_METHOD_REFRESH), 1);
	world_stop(&two);
}

/* No memory where it arrives: everything of it goes, and the request is answered. */
static void an_allocation_that_cannot_be_taken_in_ends(void **state)
{
	struct world *one = *state;
	static struct world two;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");

	world_join(&two, one, 1);
	at_worker(&away, &two);
	assert_int_equal(allocate_mobile(&home), 0);
	assert_int_equal(permit(&home, "8.8.8.8"), 0);
	assert_int_equal(move(&away), NO_ANSWER);
	two.open_error = -ENOMEM;
	assert_int_equal(answer_after_mail(&away, one, &two), 437);
	assert_int_equal(one->n_held + one->n_relays + two.n_relays, 0);
	assert_int_equal(turn_server_count(two.server), 0);
	assert_int_equal(turn_totals_allocations(one->totals), 0);
	assert_int_equal(counted(one, TURN_M_ALLOCATIONS, 0) + counted(&two, TURN_M_ALLOCATIONS, 0), 0);
	assert_int_equal(counted(&two, TURN_M_ALLOCATIONS_ENDED, TURN_END_STOPPED), 1);
	assert_false(turn_totals_is_relay(one->totals, &home.relay));
	world_stop(&two);
}

/* Advisory: mobility by a stranger. */
static void another_worker_gives_nothing_to_a_stranger(void **state)
{
	struct world *one = *state;
	static struct world two;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"), thief = client_udp(one, "203.0.113.9:5000", "bob");

	world_join(&two, one, 1);
	at_worker(&thief, &two);
	assert_int_equal(allocate_mobile(&home), 0);
	assert_int_equal(move(&thief), NO_ANSWER);
	assert_int_equal(answer_after_mail(&thief, one, &two), 437);
	ticket[0] = '7'; /* a worker that there is not */
	assert_int_equal(move(&thief), 437);
	ticket[0] = 'z';
	assert_int_equal(move(&thief), 437);
	assert_int_equal(refresh(&home, -1), 0);
	world_stop(&two);
}

static struct client minted(struct world *w, const char *at)
{
	struct client c = client_udp(w, at, "");

	c.user = w->minted.user;
	c.password = w->minted.password;
	return c;
}

static void a_client_moves_after_its_credential_has_run_out(void **state)
{
	struct world *w = *state;

	world_mints(w, "alice");
	struct client home = minted(w, "192.0.2.1:4000"), away = minted(w, "203.0.113.9:5000"),
		      forger = minted(w, "203.0.113.9:5001");
	forger.password = "guess";
	assert_int_equal(allocate_mobile(&home), 0);
	world_clock(WORLD_UNIX_S + 3660);
	assert_int_equal(show(&forger, ticket, sizeof ticket, -1), 401);
	assert_int_equal(move(&away), 0);
	assert_int_equal(ask_again(&away), 0);
	assert_int_equal(refresh(&away, -1), 0);
	assert_int_equal(refresh(&home, -1), 401); /* there is nothing of hers there any more */
	home = minted(w, "192.0.2.1:4001");
	assert_int_equal(show(&home, ticket, sizeof ticket, 0), 0); /* given back from there */
	assert_int_equal(turn_server_count(w->server), 0);
	assert_int_equal(show(&home, ticket, sizeof ticket, -1), 401);
}

static void and_to_another_worker(void **state)
{
	struct world *one = *state;
	static struct world two;

	world_join(&two, one, 1);
	world_mints(one, "alice");
	world_mints(&two, "alice");
	struct client home = minted(one, "192.0.2.1:4000"), away = minted(&two, "203.0.113.9:5000"),
		      forger = minted(&two, "203.0.113.9:5001"),
		      stale = minted(&two, "203.0.113.9:5002");
	forger.password = "guess";
	assert_int_equal(handshake(&stale), 401);
	world_wait(one, 600000);
	world_wait(&two, 600000);
	assert_int_equal(allocate_mobile(&home), 0);
	world_clock(WORLD_UNIX_S + 3660);
	assert_int_equal(move(&forger), NO_ANSWER);
	assert_int_equal(answer_after_mail(&forger, one, &two), 401);
	assert_int_equal(counted(&two, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD), 1); /* once */
	assert_int_equal(move(&stale), 438); /* nothing is given away for a nonce that anybody may have kept */
	assert_int_equal(turn_server_count(one->server), 1);
	assert_int_equal(refresh(&home, -1), 0);
	assert_int_equal(move(&away), NO_ANSWER);
	assert_int_equal(answer_after_mail(&away, one, &two), 0);
	assert_int_equal(turn_server_count(one->server), 0);
	assert_int_equal(permit(&away, "9.9.9.9"), 0);
	send_to(&away, "9.9.9.9:53", "still here");
	assert_peer_got(&two, "9.9.9.9:53", "still here");
	assert_int_equal(refresh(&away, 0), 0);
	world_stop(&two);
}

static void who_asked_and_went_away_finds_the_allocation_waiting(void **state)
{
	struct world *one = *state;
	static struct world two;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000"),
		      later = moved(&home, "203.0.113.9:5001");

	world_join(&two, one, 1);
	at_worker(&away, &two);
	at_worker(&later, &two);
	assert_int_equal(allocate_mobile(&home), 0);
	assert_int_equal(move(&away), NO_ANSWER);
	two.paths_dead = true;
	assert_int_equal(answer_after_mail(&away, one, &two), NO_ANSWER);
	assert_int_equal(turn_server_count(two.server), 1);
	assert_int_equal(move(&later), 0); /* with the ticket it has */
	world_stop(&two);
}

static void what_is_under_way_when_all_stops_is_closed(void **state)
{
	struct world *one = *state;
	static struct world two;
	struct client home = client_udp(one, "192.0.2.1:4000", "alice"), away = moved(&home, "203.0.113.9:5000");

	world_join(&two, one, 1);
	at_worker(&away, &two);
	assert_int_equal(allocate_mobile(&home), 0);
	assert_int_equal(permit(&home, "8.8.8.8"), 0);
	assert_int_equal(move(&away), NO_ANSWER);
	assert_true(world_mail(one));
	assert_int_equal(one->n_held, 1);
	world_stop(&two);
	assert_int_equal(one->n_held, 0);
	assert_int_equal(turn_totals_allocations(one->totals), 0);
}

static void what_has_expired_does_not_move_though_its_timer_has_not_run(void **state)
{
	struct world *w = *state;
	struct client home = client_udp(w, "192.0.2.1:4000", "alice"),
		      away = moved(&home, "203.0.113.9:5000");

	assert_int_equal(allocate_mobile(&home), 0);
	w->now += 601000;
	assert_int_equal(move(&away), 437);
	assert_int_equal(counted(w, TURN_M_ALLOCATIONS_ENDED, TURN_END_EXPIRED), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(an_allocation_moves_with_all_it_has),
		TALK(the_old_five_tuple_ends_with_the_answer),
		TALK(each_move_gives_a_new_ticket_and_a_used_one_ends),
		TALK(a_move_said_twice_is_answered_twice),
		TALK(data_from_the_new_path_ends_the_old_ticket),
		TALK(an_indication_from_the_new_path_ends_the_old_ticket),
		TALK(a_request_from_the_new_path_ends_the_old_ticket),
		TALK(a_ticket_without_the_credential_is_worth_nothing),
		TALK(what_mobility_refuses),
		TALK(a_ticket_with_lifetime_0_releases),
		TALK(a_broken_connection_keeps_a_mobile_allocation),
		TALK(moves_take_no_more_of_the_quota),
		TALK(a_ticket_brings_the_allocation_from_another_worker),
		TALK(two_families_keep_their_times_on_another_worker),
		TALK(a_ticket_gives_one_of_two_families_back),
		TALK(an_allocation_that_changes_its_worker_comes_under_the_rules_there),
		TALK(what_was_settled_stays_so_on_another_worker),
		TALK(an_old_ticket_follows_the_allocation_from_worker_to_worker),
		TALK(a_ticket_that_left_a_worker_twice_is_looked_for_where_it_went_last),
		TALK(quotas_hold_while_clients_loop_over_two_workers),
		TALK(a_request_that_asks_another_worker_is_counted_once),
		TALK(an_allocation_that_cannot_be_taken_in_ends),
		TALK(another_worker_gives_nothing_to_a_stranger),
		TALK(a_client_moves_after_its_credential_has_run_out),
		TALK(and_to_another_worker),
		TALK(who_asked_and_went_away_finds_the_allocation_waiting),
		TALK(what_is_under_way_when_all_stops_is_closed),
		TALK(what_has_expired_does_not_move_though_its_timer_has_not_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
