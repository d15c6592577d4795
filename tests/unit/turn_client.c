/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TURN client against the TURN core, in memory and on fake time: both without I/O, so hours pass in
 * milliseconds and packets are lost on demand. The world (tests/scenario/turn_world.h) holds the server;
 * struct talk is the way between it and one client, with an echoing peer behind the relay.
 */
#include <errno.h>
#include "tests/scenario/turn_world.h"
#include "turn/client.h"

#define HERE "192.0.2.1:4000"
#define PEER_A "9.9.9.9:5000"
#define PEER_B "9.9.9.10:5001"

struct talk {
	struct world *w;
	struct turn_path path;
	struct turn_client *c;
	unsigned lose_up, lose_down; /* so many of the next packets are lost */
	bool tamper;		     /* the next success response is changed on its way */
	unsigned sent_up, allocated, permitted, bound, failed, released;
	struct turn_failure failure;
	char text[256]; /* of the last failure */
	uint8_t request[2048]; /* the last message of the client */
	size_t request_n;
	/* what came back from the peers */
	unsigned by_channel, by_indication;
	uint8_t data[2048];
	size_t data_n;
	struct addr from;
};

/* ---- the way between client and server ---- */

static void to_server(const void *p, size_t n, void *arg)
{
	struct talk *t = arg;
	uint8_t *block = malloc(n);

	assert_non_null(block);
	memcpy(block, p, n);
	t->sent_up++;
	memcpy(t->request, p, MIN(n, sizeof t->request));
	t->request_n = n;
	if (t->lose_up)
		t->lose_up--;
	else
		turn_input(t->w->server, &t->path,
			   &(struct turn_packet){ .data = block, .n = n, .mark = DGRAM_MARK_NONE }, t->w->now);
	free(block);
}

static void to_client(struct talk *t, struct sent *s)
{
	size_t n = s->n;

	if (t->lose_down) {
		t->lose_down--;
		return;
	}
	if (t->path.transport->stream)
		assert_int_equal(turn_frame_length(s->data, s->n, &n), s->n);
	if (t->tamper && s->data[0] == 0x01 && s->data[1] == 0x03) {
		s->data[STUN_HEADER_LEN + 11] ^= 1; /* the first attribute is XOR-RELAYED-ADDRESS: its last byte */
		t->tamper = false;
	}
	turn_client_input(t->c, s->data, n);
}

static void echo(struct talk *t, const struct sent *s)
{
	uint8_t *block = malloc(4 + s->n);
	char peer[ADDR_STRLEN];

	assert_non_null(block);
	memcpy(block + 4, s->data, s->n);
	peer_sends(t->w, &s->from, addr_print(&s->to, peer),
		   &(struct turn_packet){ .data = block + 4, .n = s->n, .mark = DGRAM_MARK_NONE, .headroom = true });
	free(block);
}

/* Until nothing is under way any more. */
static void pump(struct talk *t)
{
	struct sent s;

	while (take(t->w, &s)) {
		if (s.to_peer)
			echo(t, &s);
		else
			to_client(t, &s);
		free(s.data);
	}
}

static void wait_ms(struct talk *t, uint64_t ms, uint64_t step)
{
	for (uint64_t left = ms; left > 0; left -= MIN(left, step)) {
		world_wait(t->w, MIN(left, step));
		pump(t);
	}
}

/* ---- what the client says ---- */

static void on_allocated(struct turn_client *c, void *arg)
{
	(void)c;
	((struct talk *)arg)->allocated++;
}

static void on_permitted(struct turn_client *c, const struct addr *peer, void *arg)
{
	(void)c;
	(void)peer;
	((struct talk *)arg)->permitted++;
}

static void on_bound(struct turn_client *c, const struct addr *peer, uint16_t channel, void *arg)
{
	assert_int_equal(turn_client_channel(c, peer), channel);
	((struct talk *)arg)->bound++;
}

static void on_data(struct turn_client *c, const struct addr *peer, const uint8_t *p, size_t n, bool by_channel,
		    void *arg)
{
	struct talk *t = arg;

	(void)c;
	assert_true(n <= sizeof t->data);
	memcpy(t->data, p, n);
	t->data_n = n;
	t->from = *peer;
	by_channel ? t->by_channel++ : t->by_indication++;
}

static void on_failed(struct turn_client *c, const struct turn_failure *f, void *arg)
{
	struct talk *t = arg;

	(void)c;
	t->failed++;
	t->failure = *f;
	turn_failure_text(f, t->text, sizeof t->text);
}

static void on_released(struct turn_client *c, void *arg)
{
	(void)c;
	((struct talk *)arg)->released++;
}

static const struct turn_client_ops ops = {
	.send = to_server, .on_allocated = on_allocated, .on_permitted = on_permitted, .on_bound = on_bound,
	.on_data = on_data, .on_failed = on_failed, .on_released = on_released,
};

static uint64_t fake_now(void *arg)
{
	return ((struct talk *)arg)->w->now;
}

/* ---- beginning and end of a talk ---- */

static void talk_init(struct talk *t, struct world *w, struct client at, struct turn_client_options o)
{
	*t = (struct talk){ .w = w, .path = at.path };
	o.timers = w->timers;
	o.now = fake_now;
	o.stream = at.path.transport->stream;
	o.ops = &ops;
	o.arg = t;
	o.user = o.user ? o.user : at.user;
	o.password = o.password ? o.password : at.password;
	assert_int_equal(turn_client_new(&o, &t->c), 0);
}

static void talk_deinit(struct talk *t)
{
	t->c = turn_client_free(t->c);
}

static void start(struct talk *t, struct world *w, struct turn_client_options o)
{
	talk_init(t, w, client_udp(w, HERE, "alice"), o);
	assert_int_equal(turn_client_allocate(t->c), 0);
	pump(t);
}

static void bind_to(struct talk *t, const char *peer)
{
	struct addr a = address(peer);
	unsigned before = t->bound;

	assert_int_equal(turn_client_bind(t->c, &a), 0);
	pump(t);
	assert_int_equal(t->bound, before + 1);
}

static void permit_to(struct talk *t, const char *peer)
{
	struct addr a = address(peer);
	unsigned before = t->permitted;

	assert_int_equal(turn_client_permit(t->c, &a), 0);
	pump(t);
	assert_int_equal(t->permitted, before + 1);
}

/* One packet to the peer and back; its content is compared. */
static void assert_echo(struct talk *t, const char *peer, size_t n, bool by_channel)
{
	struct addr a = address(peer);
	uint8_t data[2048];
	unsigned *count = by_channel ? &t->by_channel : &t->by_indication, before = *count;

	assert_int_equal(bytes_random(data, n), 0);
	assert_int_equal(turn_client_send(t->c, &a, data, n), 0);
	pump(t);
	assert_int_equal(*count, before + 1);
	assert_true(addr_equal(&t->from, &a));
	assert_int_equal(t->data_n, n);
	assert_memory_equal(t->data, data, n);
}

/* ---- allocating ---- */

static void an_allocation_is_made_with_sha256_where_the_server_offers_it(void **state)
{
	struct world *w = *state;
	struct talk t;
	struct addr here = address(HERE);

	start(&t, w, (struct turn_client_options){ 0 });
	assert_int_equal(t.allocated, 1);
	assert_int_equal(t.failed, 0);
	assert_true(turn_client_is_allocated(t.c));
	assert_true(turn_client_uses_sha256(t.c));
	assert_string_equal(turn_client_realm(t.c), WORLD_REALM);
	assert_int_equal(turn_client_lifetime_s(t.c), 600);
	assert_true(addr_equal(turn_client_mapped(t.c), &here));
	assert_int_equal(w->n_relays, 1);
	assert_true(addr_port(turn_client_relayed(t.c)) >= 49152);
	assert_int_equal(t.sent_up, 2); /* the challenge, and the answer to it */
	talk_deinit(&t);
}

static void a_client_of_rfc_5766_uses_md5(void **state)
{
	struct talk t;

	start(&t, *state, (struct turn_client_options){ .no_sha256 = true, .lifetime_s = 900 });
	assert_int_equal(t.allocated, 1);
	assert_false(turn_client_uses_sha256(t.c));
	assert_int_equal(turn_client_lifetime_s(t.c), 900);
	bind_to(&t, PEER_A);
	assert_echo(&t, PEER_A, 100, true);
	talk_deinit(&t);
}

static void the_family_of_the_relay_address_can_be_asked_for(void **state)
{
	struct talk t;

	start(&t, *state, (struct turn_client_options){ .family = AF_INET6 });
	assert_int_equal(t.allocated, 1);
	assert_int_equal(addr_family(turn_client_relayed(t.c)), AF_INET6);
	talk_deinit(&t);
}

static void a_wrong_password_fails_once_and_says_so(void **state)
{
	struct world *w = *state;

	for (unsigned old = 0; old < 2; old++) {
		struct talk t;
		start(&t, w, (struct turn_client_options){ .password = "wrong", .no_sha256 = old });
		assert_int_equal(t.failed, 1);
		assert_int_equal(t.sent_up, 2); /* it is not tried again with the same password */
		assert_int_equal(t.failure.kind, TURN_FAIL_REFUSED);
		assert_int_equal(t.failure.method, STUN_ALLOCATE);
		assert_int_equal(t.failure.code, 401);
		assert_string_equal(t.text, "the server refused Allocate: 401 Unauthorized - wrong user name or password");
		assert_false(turn_client_is_allocated(t.c));
		talk_deinit(&t);
	}
	assert_int_equal(w->n_relays, 0);
	assert_int_equal(counted(w, TURN_M_AUTH, TURN_AUTH_WRONG_PASSWORD), 2);
}

static void an_unknown_user_learns_no_more_than_that(void **state)
{
	struct talk t;

	start(&t, *state, (struct turn_client_options){ .user = "mallory" });
	assert_string_equal(t.text, "the server refused Allocate: 401 Unauthorized - wrong user name or password");
	talk_deinit(&t);
}

static void a_limit_is_named(void **state)
{
	struct world *w = *state;
	struct talk first, second;

	w->cfg.limits.allocations_per_user = 1;
	world_reload(w);
	start(&first, w, (struct turn_client_options){ 0 });
	talk_init(&second, w, client_udp(w, "192.0.2.2:4000", "alice"), (struct turn_client_options){ 0 });
	assert_int_equal(turn_client_allocate(second.c), 0);
	pump(&second);
	assert_int_equal(second.failed, 1);
	assert_int_equal(second.failure.code, 486);
	assert_non_null(strstr(second.text, "turn.limits.allocations_per_user"));
	talk_deinit(&second);
	talk_deinit(&first);
}

/* ---- loss and interference ---- */

static void lost_packets_are_repeated(void **state)
{
	struct world *w = *state;
	struct talk t;

	talk_init(&t, w, client_udp(w, HERE, "alice"), (struct turn_client_options){ 0 });
	t.lose_up = 2;
	t.lose_down = 1;
	assert_int_equal(turn_client_allocate(t.c), 0);
	wait_ms(&t, 10000, 100);
	assert_int_equal(t.allocated, 1);
	assert_int_equal(t.failed, 0);
	assert_int_equal(w->n_relays, 1);
	t.lose_down = 2; /* the server has bound it already when it is asked again */
	struct addr a = address(PEER_A);
	assert_int_equal(turn_client_bind(t.c, &a), 0);
	wait_ms(&t, 5000, 100);
	assert_int_equal(t.lose_down, 0);
	assert_int_equal(t.bound, 1);
	assert_echo(&t, PEER_A, 10, true);
	talk_deinit(&t);
}

static void a_lost_answer_does_not_make_a_second_allocation(void **state)
{
	struct world *w = *state;
	struct talk t;

	talk_init(&t, w, client_udp(w, HERE, "alice"), (struct turn_client_options){ 0 });
	assert_int_equal(turn_client_allocate(t.c), 0);
	struct sent s;
	assert_true(take(w, &s)); /* the challenge arrives, the success does not */
	t.lose_down = 0;
	to_client(&t, &s);
	free(s.data);
	t.lose_down = 1;
	pump(&t);
	assert_int_equal(t.allocated, 0);
	assert_int_equal(w->n_relays, 1);
	wait_ms(&t, 1000, 100);
	assert_int_equal(t.allocated, 1);
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(w->opens, 1);
	talk_deinit(&t);
}

static void a_silent_server_is_given_up_after_seven_packets(void **state)
{
	struct talk t;

	talk_init(&t, *state, client_udp(*state, HERE, "alice"), (struct turn_client_options){ 0 });
	t.lose_up = 1000;
	assert_int_equal(turn_client_allocate(t.c), 0);
	wait_ms(&t, 39400, 100);
	assert_int_equal(t.failed, 0);
	wait_ms(&t, 200, 100);
	assert_int_equal(t.failed, 1);
	assert_int_equal(t.sent_up, STUN_RC);
	assert_int_equal(t.failure.kind, TURN_FAIL_TIMEOUT);
	assert_string_equal(t.text, "no answer to Allocate");
	talk_deinit(&t);
}

static void keep_session(const struct turn_session_info *i, void *arg)
{
	*(struct turn_session_info *)arg = *i;
}

static uint16_t relay_port(struct world *w)
{
	struct turn_session_info i = { 0 };

	turn_server_sessions(w->server, &(struct turn_session_query){ .after_id = 0, .limit = 1 }, w->now, keep_session, &i);
	return addr_port(&i.relay);
}

static void a_changed_answer_is_not_believed(void **state)
{
	struct world *w = *state;
	struct talk t;

	talk_init(&t, w, client_udp(w, HERE, "alice"), (struct turn_client_options){ 0 });
	t.tamper = true;
	assert_int_equal(turn_client_allocate(t.c), 0);
	pump(&t);
	assert_false(t.tamper); /* it was changed */
	assert_int_equal(t.allocated, 0);
	assert_int_equal(t.failed, 0); /* the true one may still come */
	wait_ms(&t, 1000, 100);
	assert_int_equal(t.allocated, 1);
	assert_int_equal(addr_port(turn_client_relayed(t.c)), relay_port(w));
	talk_deinit(&t);
}

static void the_words_of_a_server_cannot_move_the_cursor(void **state)
{
	uint8_t buf[256];
	struct stun_writer sw;
	struct talk t;

	talk_init(&t, *state, client_udp(*state, HERE, "alice"), (struct turn_client_options){ 0 });
	t.lose_up = 1;
	assert_int_equal(turn_client_allocate(t.c), 0);
	stun_begin(&sw, buf, sizeof buf, STUN_ALLOCATE, STUN_ERROR, t.request + 8);
	stun_put_error(&sw, 500, "evil\n\x1b[2J\x7fwords");
	ssize_t n = stun_end(&sw);
	assert_true(n > 0);
	turn_client_input(t.c, buf, (size_t)n);
	assert_int_equal(t.failed, 1);
	assert_string_equal(t.text, "the server refused Allocate: 500 evil??[2J?words");
	talk_deinit(&t);
}

static void noise_is_ignored(void **state)
{
	struct talk t;
	uint8_t noise[200];

	start(&t, *state, (struct turn_client_options){ 0 });
	bind_to(&t, PEER_A);
	for (unsigned i = 0; i < 20000; i++) {
		size_t n = i % sizeof noise;
		uint8_t *block = malloc(n ? n : 1);
		assert_non_null(block);
		assert_int_equal(bytes_random(block, n), 0);
		if (n >= 8 && i % 3 == 0)
			store_be32(block + 4, STUN_MAGIC);
		if (n && i % 2 == 0)
			block[0] = (uint8_t)(i % 4 ? 1 : 0x41); /* a response; ChannelData of a channel it has not */
		turn_client_input(t.c, block, n);
		free(block);
	}
	assert_int_equal(t.failed, 0);
	assert_int_equal(t.by_channel + t.by_indication, 0);
	assert_echo(&t, PEER_A, 10, true);
	talk_deinit(&t);
}

/* ---- keeping alive ---- */

static void a_stale_nonce_costs_one_more_request(void **state)
{
	struct world *w = *state;
	struct talk t;

	start(&t, w, (struct turn_client_options){ 0 });
	assert_int_equal(stun_nonces_init(&w->nonces, w->now), 0); /* as a restarted server: all are worthless */
	w->nonces.lifetime_ms = w->cfg.lifetime.nonce_ms;
	turn_server_set_nonces(w->server, &w->nonces);
	unsigned before = t.sent_up;
	permit_to(&t, PEER_A);
	assert_int_equal(t.sent_up, before + 2);
	assert_int_equal(counted(w, TURN_M_REFUSALS, TURN_REFUSE_STALE_NONCE), 1);
	permit_to(&t, PEER_B);
	assert_int_equal(t.sent_up, before + 3); /* the new one is kept */
	assert_int_equal(t.failed, 0);
	talk_deinit(&t);
}

static void two_hours_pass_and_everything_is_still_there(void **state)
{
	struct world *w = *state;
	struct talk t;

	start(&t, w, (struct turn_client_options){ 0 });
	bind_to(&t, PEER_A);
	permit_to(&t, PEER_B);
	for (unsigned minute = 0; minute < 120; minute++) {
		assert_echo(&t, PEER_A, 160, true);
		assert_echo(&t, PEER_B, 160, false);
		wait_ms(&t, 60000, 500);
	}
	assert_int_equal(t.failed, 0);
	assert_int_equal(t.allocated, 1);
	assert_int_equal(t.bound, 1);
	assert_int_equal(w->opens, 1);
	assert_true(counted(w, TURN_M_REFUSALS, TURN_REFUSE_STALE_NONCE) > 5); /* nonces live ten minutes here */
	assert_true(t.sent_up < 600); /* and it is no flood: 240 packets of data among them */
	talk_deinit(&t);
}

static void a_short_lifetime_is_refreshed_at_its_half(void **state)
{
	struct world *w = *state;
	struct talk t;

	w->cfg.lifetime.default_ms = w->cfg.lifetime.max_ms = 10000;
	world_reload(w);
	start(&t, w, (struct turn_client_options){ 0 });
	assert_int_equal(turn_client_lifetime_s(t.c), 10);
	wait_ms(&t, 60000, 100);
	assert_int_equal(w->n_relays, 1);
	assert_int_equal(w->opens, 1);
	assert_int_equal(t.failed, 0);
	talk_deinit(&t);
}

static void an_allocation_that_the_server_lost_is_reported(void **state)
{
	struct world *w = *state;
	struct talk t;

	start(&t, w, (struct turn_client_options){ 0 });
	turn_path_gone(w->server, &t.path, w->now); /* as if it had been killed */
	wait_ms(&t, 600000, 1000);
	assert_int_equal(t.failed, 1);
	assert_int_equal(t.failure.method, STUN_REFRESH);
	assert_int_equal(t.failure.code, 437);
	assert_false(turn_client_is_allocated(t.c));
	talk_deinit(&t);
}

/* ---- peers and data ---- */

static void a_denied_peer_is_named(void **state)
{
	struct talk t;
	struct addr denied = address("10.1.2.3:99");

	start(&t, *state, (struct turn_client_options){ 0 });
	assert_int_equal(turn_client_permit(t.c, &denied), 0);
	pump(&t);
	assert_int_equal(t.failed, 1);
	assert_int_equal(t.failure.code, 403);
	assert_true(addr_equal(&t.failure.peer, &denied));
	assert_string_equal(t.text, "the server refused CreatePermission for 10.1.2.3:99: 403 Forbidden - "
				    "the server's rules forbid it (turn.peers)");
	assert_true(turn_client_is_allocated(t.c));
	assert_int_equal(turn_client_bind(t.c, &denied), 0);
	pump(&t);
	assert_int_equal(t.failed, 2);
	assert_int_equal(turn_client_channel(t.c, &denied), 0);
	talk_deinit(&t);
}

static void a_megabyte_goes_both_ways(struct talk *t)
{
	size_t total = 0;

	bind_to(t, PEER_A);
	permit_to(t, PEER_B);
	for (unsigned i = 0; total < 1 << 20; i++) { /* all lengths modulo four, by channel and by Send */
		size_t n = 1000 + i % 7;
		assert_echo(t, i % 5 ? PEER_A : PEER_B, n, i % 5 != 0);
		total += n;
	}
	assert_int_equal(t->failed, 0);
}

static void a_megabyte_comes_back_as_it_went_over_udp(void **state)
{
	struct talk t;

	start(&t, *state, (struct turn_client_options){ 0 });
	a_megabyte_goes_both_ways(&t);
	talk_deinit(&t);
}

static void a_megabyte_comes_back_as_it_went_over_tcp(void **state)
{
	struct talk t;

	talk_init(&t, *state, client_tcp(*state, HERE, "alice"), (struct turn_client_options){ 0 });
	assert_int_equal(turn_client_allocate(t.c), 0);
	pump(&t);
	a_megabyte_goes_both_ways(&t);
	talk_deinit(&t);
}

static void an_empty_packet_is_a_packet(void **state)
{
	struct talk t;

	start(&t, *state, (struct turn_client_options){ 0 });
	bind_to(&t, PEER_A);
	permit_to(&t, PEER_B);
	assert_echo(&t, PEER_A, 0, true);
	assert_echo(&t, PEER_B, 0, false);
	talk_deinit(&t);
}

static void what_cannot_be_sent_is_an_error(void **state)
{
	struct talk t;
	struct addr a = address(PEER_A);
	static uint8_t much[UINT16_MAX + 1];

	talk_init(&t, *state, client_udp(*state, HERE, "alice"), (struct turn_client_options){ 0 });
	assert_int_equal(turn_client_send(t.c, &a, "x", 1), -ENOTCONN);
	assert_int_equal(turn_client_permit(t.c, &a), -ENOTCONN);
	assert_int_equal(turn_client_bind(t.c, &a), -ENOTCONN);
	assert_int_equal(turn_client_allocate(t.c), 0);
	pump(&t);
	assert_int_equal(turn_client_send(t.c, &a, much, sizeof much), -EMSGSIZE);
	bind_to(&t, PEER_A);
	assert_int_equal(turn_client_send(t.c, &a, much, UINT16_MAX), -EMSGSIZE); /* and its head */
	talk_deinit(&t);
}

/* ---- the end ---- */

static void a_released_allocation_is_gone_at_once(void **state)
{
	struct world *w = *state;
	struct talk t;
	struct addr a = address(PEER_A);

	start(&t, w, (struct turn_client_options){ 0 });
	bind_to(&t, PEER_A);
	turn_client_release(t.c);
	pump(&t);
	assert_int_equal(t.released, 1);
	assert_int_equal(t.failed, 0);
	assert_int_equal(w->n_relays, 0);
	assert_false(turn_client_is_allocated(t.c));
	assert_int_equal(turn_client_send(t.c, &a, "x", 1), -ENOTCONN);
	unsigned before = t.sent_up;
	wait_ms(&t, 3600000, 10000); /* nothing is renewed any more */
	assert_int_equal(t.sent_up, before);
	assert_int_equal(t.failed, 0);
	assert_int_equal(turn_client_channel(t.c, &a), 0);
	assert_int_equal(turn_client_allocate(t.c), 0); /* and another one can be made, without what the first had */
	pump(&t);
	assert_int_equal(t.allocated, 2);
	bind_to(&t, PEER_A);
	assert_echo(&t, PEER_A, 10, true);
	talk_deinit(&t);
}

static void a_client_that_is_freed_takes_its_requests_along(void **state)
{
	struct world *w = *state;
	struct talk t;
	struct addr a = address(PEER_A);

	start(&t, w, (struct turn_client_options){ 0 });
	bind_to(&t, PEER_B);
	t.lose_up = 100;
	assert_int_equal(turn_client_bind(t.c, &a), 0);
	turn_client_release(t.c);
	talk_deinit(&t);
	world_wait(w, 3600000); /* no timer of it fires */
	assert_int_equal(t.failed, 0);
}

/* What the server answers to the first Allocate, without a signature as this one has none. */
static void answer_of_a_server(struct talk *t, struct world *w, enum stun_class class, const char *realm, const char *nonce)
{
	uint8_t buf[256];
	struct stun_writer sw;
	ssize_t n;

	talk_init(t, w, client_udp(w, HERE, "alice"), (struct turn_client_options){ 0 });
	t->lose_up = 1;
	assert_int_equal(turn_client_allocate(t->c), 0);
	stun_begin(&sw, buf, sizeof buf, STUN_ALLOCATE, class, t->request + 8);
	if (class == STUN_ERROR)
		stun_put_error(&sw, 401, "Unauthorized");
	if (realm)
		stun_put_text(&sw, STUN_A_REALM, text_of(realm));
	if (nonce)
		stun_put_text(&sw, STUN_A_NONCE, text_of(nonce));
	n = stun_end(&sw);
	assert_true(n > 0);
	turn_client_input(t->c, buf, (size_t)n);
}

static void a_success_without_an_address_is_a_wrong_answer(void **state)
{
	struct talk t;

	answer_of_a_server(&t, *state, STUN_SUCCESS, NULL, NULL);
	assert_int_equal(t.failed, 1);
	assert_int_equal(t.allocated, 0);
	assert_string_equal(t.text, "the server's answer to Allocate is wrong: no relayed address or lifetime in it");
	talk_deinit(&t);
}

/* RFC 8489 9.2.4: without realm and nonce there is nothing to authenticate with, and no second request. */
static void a_challenge_that_is_not_whole_is_a_refusal(void **state)
{
	static const struct {
		const char *realm, *nonce;
	} rows[] = { { NULL, NULL }, { "example.org", NULL }, { NULL, "nonce" } };
	struct talk t;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		answer_of_a_server(&t, *state, STUN_ERROR, rows[i].realm, rows[i].nonce);
		assert_int_equal(t.failed, 1);
		assert_non_null(strstr(t.text, "the server refused Allocate: 401 Unauthorized"));
		talk_deinit(&t);
	}
}

static void each_failure_has_its_sentence(void **state)
{
	static const struct {
		struct turn_failure f;
		const char *want;
	} rows[] = {
		{ { .kind = TURN_FAIL_TIMEOUT, .method = STUN_REFRESH }, "no answer to Refresh" },
		{ { .kind = TURN_FAIL_LOCAL, .method = STUN_CHANNEL_BIND, .reason = "Cannot allocate memory" },
		  "cannot send ChannelBind: Cannot allocate memory" },
		{ { .kind = TURN_FAIL_PROTOCOL, .method = STUN_ALLOCATE }, "the server's answer to Allocate is wrong" },
	};
	char buf[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(turn_failure_text(&rows[i].f, buf, sizeof buf), rows[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(an_allocation_is_made_with_sha256_where_the_server_offers_it),
		TALK(a_client_of_rfc_5766_uses_md5),
		TALK(the_family_of_the_relay_address_can_be_asked_for),
		TALK(a_wrong_password_fails_once_and_says_so),
		TALK(an_unknown_user_learns_no_more_than_that),
		TALK(a_limit_is_named),
		TALK(lost_packets_are_repeated),
		TALK(a_lost_answer_does_not_make_a_second_allocation),
		TALK(a_silent_server_is_given_up_after_seven_packets),
		TALK(a_changed_answer_is_not_believed),
		TALK(the_words_of_a_server_cannot_move_the_cursor),
		TALK(noise_is_ignored),
		TALK(a_stale_nonce_costs_one_more_request),
		TALK(two_hours_pass_and_everything_is_still_there),
		TALK(a_short_lifetime_is_refreshed_at_its_half),
		TALK(an_allocation_that_the_server_lost_is_reported),
		TALK(a_denied_peer_is_named),
		TALK(a_megabyte_comes_back_as_it_went_over_udp),
		TALK(a_megabyte_comes_back_as_it_went_over_tcp),
		TALK(an_empty_packet_is_a_packet),
		TALK(what_cannot_be_sent_is_an_error),
		TALK(a_released_allocation_is_gone_at_once),
		TALK(a_client_that_is_freed_takes_its_requests_along),
		TALK(a_success_without_an_address_is_a_wrong_answer),
		TALK(a_challenge_that_is_not_whole_is_a_refusal),
		TALK(each_failure_has_its_sentence),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
