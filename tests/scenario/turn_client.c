/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our TURN client in conversation with our server, and with somebody in between: what it asks, what it
 * believes, and what it refuses to do (RFC 8489 9.2.5). Time is the world's; a message to the client
 * waits until deliver() hands it over.
 */
#include "tests/scenario/turn_world.h"
#include <errno.h>
#include "turn/client.h"

struct us {
	struct world *w;
	struct client way; /* only its path */
	struct turn_client *c;
	uint8_t sent[2048]; /* the last request */
	size_t sent_n;
	unsigned n_sent, n_allocated, n_permitted, n_bound, n_data, n_failed, n_released;
	bool deaf; /* what we send never reaches the server */
	bool last_by_channel;
	struct turn_failure failure;
	char data[64];
};

static uint64_t our_now(void *arg)
{
	return ((struct us *)arg)->w->now;
}

static void on_send(const void *p, size_t n, void *arg)
{
	struct us *u = arg;

	assert_true(n <= sizeof u->sent);
	memcpy(u->sent, p, n);
	u->sent_n = n;
	u->n_sent++;
	if (!u->deaf) {
		uint8_t copy[sizeof u->sent];
		memcpy(copy, p, n);
		turn_input(u->w->server, &u->way.path,
			   &(struct turn_packet){ .data = copy, .n = n, .mark = DGRAM_MARK_NONE }, u->w->now);
	}
}

static void on_allocated(struct turn_client *c, void *arg)
{
	(void)c;
	((struct us *)arg)->n_allocated++;
}

static void on_permitted(struct turn_client *c, const struct addr *peer, void *arg)
{
	(void)c;
	(void)peer;
	((struct us *)arg)->n_permitted++;
}

static void on_bound(struct turn_client *c, const struct addr *peer, uint16_t channel, void *arg)
{
	(void)c;
	(void)peer;
	assert_int_equal(channel, 0x4000);
	((struct us *)arg)->n_bound++;
}

static void on_data(struct turn_client *c, const struct addr *peer, const uint8_t *p, size_t n,
		    bool by_channel, void *arg)
{
	struct us *u = arg;

	(void)c;
	(void)peer;
	snprintf(u->data, sizeof u->data, "%.*s", (int)n, (const char *)p);
	u->last_by_channel = by_channel;
	u->n_data++;
}

static void on_failed(struct turn_client *c, const struct turn_failure *f, void *arg)
{
	struct us *u = arg;

	(void)c;
	u->failure = *f;
	u->n_failed++;
}

static void on_released(struct turn_client *c, void *arg)
{
	(void)c;
	((struct us *)arg)->n_released++;
}

static const struct turn_client_ops ops = {
	on_send, on_allocated, on_permitted, on_bound, on_data, on_failed, on_released,
};

static void meet(struct us *u, struct world *w, const char *password, bool stream)
{
	*u = (struct us){ .w = w };
	u->way = stream ? client_tcp(w, "192.0.2.1:4000", "alice") : client_udp(w, "192.0.2.1:4000", "alice");
	const struct turn_client_options o = { .timers = w->timers, .now = our_now, .user = "alice",
					       .password = password, .stream = stream, .ops = &ops, .arg = u };
	assert_int_equal(turn_client_new(&o, &u->c), 0);
}

/* Hands over everything that waits, and what comes of it. */
static void deliver(struct us *u)
{
	struct sent s;

	while (take(u->w, &s)) {
		if (!s.to_peer)
			turn_client_input(u->c, s.data, s.n);
		free(s.data);
	}
}

static struct stun_msg asked(struct us *u)
{
	struct stun_msg m;

	assert_int_equal(stun_parse(u->sent, u->sent_n, &m), STUN_OK);
	return m;
}

/* A 401 or 438 of a server of our making, to the last request. */
static void challenge(struct us *u, unsigned code, const char *nonce, const void *offer, size_t n)
{
	uint8_t buf[512];
	struct stun_msg m = asked(u);
	struct stun_writer sw;

	stun_begin_response(&sw, buf, sizeof buf, &m, STUN_ERROR);
	stun_put_error(&sw, code, "no");
	stun_put_text(&sw, STUN_A_REALM, TEXT("elsewhere.example"));
	stun_put_text(&sw, STUN_A_NONCE, text_of(nonce));
	if (offer)
		stun_put(&sw, STUN_A_PASSWORD_ALGORITHMS, offer, n);
	ssize_t len = stun_end(&sw);
	assert_true(len > 0);
	turn_client_input(u->c, buf, (size_t)len);
}

/* A success with a relayed address of somebody's choice, signed with this password if there is one. */
static void pretend_success(struct us *u, const char *password)
{
	uint8_t buf[512];
	struct stun_msg m = asked(u);
	struct addr relay = address("203.0.113.66:6666");
	struct stun_key *k = NULL;
	struct stun_writer sw;

	stun_begin_response(&sw, buf, sizeof buf, &m, STUN_SUCCESS);
	stun_put_addr(&sw, STUN_A_XOR_RELAYED_ADDRESS, &relay);
	stun_put_addr(&sw, STUN_A_XOR_MAPPED_ADDRESS, &relay);
	stun_put_u32(&sw, STUN_A_LIFETIME, 600);
	if (password) {
		assert_int_equal(stun_key_long_term(STUN_ALG_SHA256, STUN_MAC_SHA256, TEXT("alice"),
						    TEXT(WORLD_REALM), text_of(password), &k), 0);
		stun_put_integrity(&sw, k);
	}
	ssize_t n = stun_end(&sw);
	assert_true(n > 0);
	turn_client_input(u->c, buf, (size_t)n);
	stun_key_free(k);
}

/* "obMatJos2", feature bits, and what a server likes. */
#define NONCE_ALGORITHMS "obMatJos2AAABsomething"
#define NONCE_PLAIN "something"
#define OFFER_BOTH "\0\2\0\0\0\1\0\0"

static void it_allocates_permits_binds_and_gives_back(void **state)
{
	struct us u;
	struct addr peer = address("9.9.9.9:53");

	meet(&u, *state, "password of alice", false);
	assert_int_equal(turn_client_send(u.c, &peer, "x", 1), -ENOTCONN);
	assert_int_equal(turn_client_allocate(u.c), 0);
	deliver(&u);
	assert_int_equal(u.n_allocated, 1);
	assert_int_equal(u.n_sent, 2);
	assert_true(turn_client_uses_sha256(u.c));
	assert_int_equal(turn_client_permit(u.c, &peer), 0);
	deliver(&u);
	assert_int_equal(u.n_permitted, 1);
	peer_says(u.w, turn_client_relayed(u.c), "9.9.9.9:53", "hello");
	deliver(&u);
	assert_string_equal(u.data, "hello");
	assert_false(u.last_by_channel);
	assert_int_equal(turn_client_bind(u.c, &peer), 0);
	deliver(&u);
	assert_int_equal(u.n_bound, 1);
	peer_says(u.w, turn_client_relayed(u.c), "9.9.9.9:53", "hello again");
	deliver(&u);
	assert_true(u.last_by_channel);
	assert_int_equal(turn_client_send(u.c, &peer, "up", 2), 0);
	assert_peer_got(u.w, "9.9.9.9:53", "up");
	turn_client_release(u.c);
	deliver(&u);
	assert_int_equal(u.n_released, 1);
	assert_int_equal(u.w->n_relays, 0);
	turn_client_free(u.c);
}

static void drop_answers(struct us *u)
{
	struct sent s;

	while (take(u->w, &s))
		free(s.data);
}

/* RFC 8656 8.3: a 437 to the repeat says that the allocation is gone, as was wanted. */
static void a_release_whose_answer_was_lost_is_one(void **state)
{
	struct us u;

	meet(&u, *state, "password of alice", false);
	assert_int_equal(turn_client_allocate(u.c), 0);
	deliver(&u);
	turn_client_release(u.c);
	drop_answers(&u);
	world_wait(u.w, 500);
	deliver(&u);
	assert_int_equal(u.n_released, 1);
	assert_int_equal(u.n_failed, 0);
	assert_false(turn_client_is_allocated(u.c));
	turn_client_free(u.c);
}

static void end_all(struct world *w)
{
	assert_int_equal(turn_server_kill_realm(w->server, NULL, w->now), 1);
}

/* RFC 8656 5: a 437 to anything but Allocate, and there is no allocation any more. */
static void it_learns_by_any_request_that_its_allocation_is_gone(void **state)
{
	struct us u;
	struct addr peer = address("9.9.9.9:53");

	meet(&u, *state, "password of alice", false);
	assert_int_equal(turn_client_allocate(u.c), 0);
	deliver(&u);
	assert_int_equal(turn_client_bind(u.c, &peer), 0);
	deliver(&u);
	end_all(u.w);
	assert_int_equal(turn_client_permit(u.c, &peer), 0);
	deliver(&u);
	assert_int_equal(u.n_failed, 1);
	assert_int_equal(u.failure.code, 437);
	assert_false(turn_client_is_allocated(u.c));
	assert_int_equal(turn_client_channel(u.c, &peer), 0);
	assert_int_equal(turn_client_send(u.c, &peer, "x", 1), -ENOTCONN);
	unsigned sent = u.n_sent;
	world_wait(u.w, 600000); /* and nothing is kept alive */
	assert_int_equal(u.n_sent, sent);
	assert_int_equal(turn_client_allocate(u.c), 0);
	deliver(&u);
	assert_int_equal(u.n_allocated, 2);
	turn_client_free(u.c);
}

/* Another peer's fault, say a rule, is no end of the allocation. */
static void what_is_refused_of_a_peer_leaves_the_allocation(void **state)
{
	struct us u;
	struct addr peer = address("10.0.0.1:53");

	meet(&u, *state, "password of alice", false);
	assert_int_equal(turn_client_allocate(u.c), 0);
	deliver(&u);
	assert_int_equal(turn_client_permit(u.c, &peer), 0);
	deliver(&u);
	assert_int_equal(u.failure.code, 403);
	assert_true(turn_client_is_allocated(u.c));
	turn_client_free(u.c);
}

static void it_keeps_all_alive_through_stale_nonces(void **state)
{
	struct us u;
	struct addr peer = address("9.9.9.9:53");

	meet(&u, *state, "password of alice", false);
	assert_int_equal(turn_client_allocate(u.c), 0);
	deliver(&u);
	assert_int_equal(turn_client_bind(u.c, &peer), 0);
	deliver(&u);
	for (int s = 0; s < 7200; s += 10) { /* nonces live 600 s here */
		world_wait(u.w, 10000);
		deliver(&u);
	}
	assert_int_equal(u.n_failed, 0);
	assert_true(counted(u.w, TURN_M_REFUSALS, TURN_REFUSE_STALE_NONCE) > 5);
	assert_int_equal(turn_client_send(u.c, &peer, "still here", 10), 0);
	assert_peer_got(u.w, "9.9.9.9:53", "still here");
	turn_client_free(u.c);
}

/* The server has named users only, so it asks for hashes of names (RFC 8489 9.2.5: MUST). */
static void it_hides_its_name_where_the_server_asks(void **state)
{
	struct us u;
	struct world *w = *state;

	meet(&u, w, "password of alice", false);
	assert_int_equal(turn_client_allocate(u.c), 0);
	deliver(&u);
	struct stun_msg m = asked(&u);
	assert_true(stun_has(&m, STUN_A_USERHASH));
	assert_false(stun_has(&m, STUN_A_USERNAME));
	turn_client_free(u.c);
	w->cfg.password = (char *)"one password";
	world_reload(w);
	meet(&u, w, "password of alice", false);
	u.way.path.client = address("192.0.2.1:4001");
	assert_int_equal(turn_client_allocate(u.c), 0);
	deliver(&u);
	assert_int_equal(u.n_allocated, 1);
	m = asked(&u);
	assert_true(stun_has(&m, STUN_A_USERNAME));
	turn_client_free(u.c);
}

static void a_wrong_password_is_said_once(void **state)
{
	struct us u;
	char text[300];

	meet(&u, *state, "guess", false);
	assert_int_equal(turn_client_allocate(u.c), 0);
	deliver(&u);
	assert_int_equal(u.n_failed, 1);
	assert_int_equal(u.n_sent, 2);
	assert_int_equal(u.failure.kind, TURN_FAIL_REFUSED);
	assert_int_equal(u.failure.code, 401);
	assert_non_null(strstr(turn_failure_text(&u.failure, text, sizeof text), "wrong user name or password"));
	turn_client_free(u.c);
}

static void an_answer_that_is_not_signed_is_not_believed(void **state)
{
	struct us u;
	struct sent s;

	meet(&u, *state, "password of alice", false);
	assert_int_equal(turn_client_allocate(u.c), 0);
	assert_true(take(u.w, &s)); /* the 401 */
	u.deaf = true;
	turn_client_input(u.c, s.data, s.n);
	free(s.data);
	assert_int_equal(u.n_sent, 2);
	pretend_success(&u, NULL);
	pretend_success(&u, "another password");
	assert_int_equal(u.n_allocated, 0);
	assert_int_equal(u.n_failed, 0); /* as if never received: the true answer may still come */
	u.deaf = false;
	world_wait(u.w, 500);
	deliver(&u);
	assert_int_equal(u.n_allocated, 1);
	assert_true(addr_equal_ip(turn_client_relayed(u.c), &u.w->relay_addresses[0]));
	turn_client_free(u.c);
}

static void on_a_stream_a_forged_answer_ends_the_request(void **state)
{
	struct us u;
	struct sent s;

	meet(&u, *state, "password of alice", true);
	assert_int_equal(turn_client_allocate(u.c), 0);
	assert_true(take(u.w, &s));
	u.deaf = true;
	turn_client_input(u.c, s.data, s.n);
	free(s.data);
	pretend_success(&u, NULL);
	assert_int_equal(u.n_allocated, 0);
	assert_int_equal(u.failure.kind, TURN_FAIL_PROTOCOL);
	turn_client_free(u.c);
}

/* RFC 8489 9.2.5, bid-down: the bit is there, the list was taken away. */
static void an_offer_that_was_taken_away_is_not_answered_with_less(void **state)
{
	struct us u;

	meet(&u, *state, "password of alice", false);
	u.deaf = true;
	assert_int_equal(turn_client_allocate(u.c), 0);
	challenge(&u, 401, NONCE_ALGORITHMS, NULL, 0);
	assert_int_equal(u.n_sent, 1);
	assert_int_equal(u.failure.kind, TURN_FAIL_PROTOCOL);
	assert_int_equal(turn_client_allocate(u.c), 0);
	challenge(&u, 401, NONCE_ALGORITHMS, "\0\7\0\0", 4); /* nothing that we know */
	assert_int_equal(u.n_sent, 2);
	assert_int_equal(u.n_failed, 2);
	assert_int_equal(turn_client_allocate(u.c), 0);
	challenge(&u, 401, NONCE_ALGORITHMS, "\0\7\0\5xxxx", 8); /* its length lies */
	assert_int_equal(u.n_failed, 3);
	turn_client_free(u.c);
}

static void an_offer_is_echoed_as_it_came(void **state)
{
	static const uint8_t odd[] = { 0, 9, 0, 3, 1, 2, 3, 0, 0, 1, 0, 0, 0, 2, 0, 0 }; /* unknown, MD5, SHA-256 */
	enum stun_algorithm alg;
	struct us u;

	meet(&u, *state, "password of alice", false);
	u.deaf = true;
	assert_int_equal(turn_client_allocate(u.c), 0);
	challenge(&u, 401, NONCE_ALGORITHMS, odd, sizeof odd);
	assert_int_equal(u.n_sent, 2);
	struct stun_msg m = asked(&u);
	assert_int_equal(m.attr[STUN_A_PASSWORD_ALGORITHMS].n, sizeof odd);
	assert_memory_equal(m.attr[STUN_A_PASSWORD_ALGORITHMS].p, odd, sizeof odd);
	assert_int_equal(stun_get_password_algorithm(&m, &alg), 0);
	assert_int_equal(alg, STUN_ALG_MD5); /* the first that we know */
	assert_true(stun_has(&m, STUN_A_MESSAGE_INTEGRITY_SHA256));
	assert_false(stun_has(&m, STUN_A_MESSAGE_INTEGRITY));
	turn_client_free(u.c);
}

static void a_server_of_rfc_5389_gets_what_it_knows(void **state)
{
	struct us u;

	meet(&u, *state, "password of alice", false);
	u.deaf = true;
	assert_int_equal(turn_client_allocate(u.c), 0);
	challenge(&u, 401, NONCE_PLAIN, NULL, 0);
	struct stun_msg m = asked(&u);
	assert_true(stun_has(&m, STUN_A_MESSAGE_INTEGRITY));
	assert_false(stun_has(&m, STUN_A_PASSWORD_ALGORITHM));
	assert_true(stun_has(&m, STUN_A_USERNAME));
	turn_client_free(u.c);
}

static void after_an_offer_there_is_no_way_back_to_less(void **state)
{
	struct us u;

	meet(&u, *state, "password of alice", false);
	u.deaf = true;
	assert_int_equal(turn_client_allocate(u.c), 0);
	challenge(&u, 401, NONCE_ALGORITHMS, OFFER_BOTH, 8);
	assert_int_equal(u.n_sent, 2);
	challenge(&u, 438, NONCE_PLAIN, NULL, 0);
	assert_int_equal(u.n_sent, 2);
	assert_int_equal(u.failure.kind, TURN_FAIL_PROTOCOL);
	assert_true(turn_client_uses_sha256(u.c));
	turn_client_free(u.c);
}

static void a_client_may_be_freed_with_requests_under_way(void **state)
{
	struct us u;
	struct addr peer = address("9.9.9.9:53");

	meet(&u, *state, "password of alice", false);
	assert_int_equal(turn_client_allocate(u.c), 0);
	deliver(&u);
	u.deaf = true;
	assert_int_equal(turn_client_bind(u.c, &peer), 0);
	assert_int_equal(turn_client_permit(u.c, &peer), 0);
	turn_client_free(u.c);
	world_wait(u.w, 100000);
}

static void a_silent_server_is_told_apart(void **state)
{
	struct us u;
	char text[300];

	meet(&u, *state, "password of alice", false);
	u.deaf = true;
	assert_int_equal(turn_client_allocate(u.c), 0);
	for (int i = 0; i < 80; i++)
		world_wait(u.w, 500);
	assert_int_equal(u.n_sent, 7);
	assert_int_equal(u.failure.kind, TURN_FAIL_TIMEOUT);
	assert_non_null(strstr(turn_failure_text(&u.failure, text, sizeof text), "no answer to Allocate"));
	turn_client_free(u.c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(it_allocates_permits_binds_and_gives_back),
		TALK(a_release_whose_answer_was_lost_is_one),
		TALK(it_learns_by_any_request_that_its_allocation_is_gone),
		TALK(what_is_refused_of_a_peer_leaves_the_allocation),
		TALK(it_keeps_all_alive_through_stale_nonces),
		TALK(it_hides_its_name_where_the_server_asks),
		TALK(a_wrong_password_is_said_once),
		TALK(an_answer_that_is_not_signed_is_not_believed),
		TALK(on_a_stream_a_forged_answer_ends_the_request),
		TALK(an_offer_that_was_taken_away_is_not_answered_with_less),
		TALK(an_offer_is_echoed_as_it_came),
		TALK(a_server_of_rfc_5389_gets_what_it_knows),
		TALK(after_an_offer_there_is_no_way_back_to_less),
		TALK(a_client_may_be_freed_with_requests_under_way),
		TALK(a_silent_server_is_told_apart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
