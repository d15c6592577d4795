/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams that arrive as one run: what is relayed at once, what is left to be given one by one, and that both ways
 * relay and count the same.
 */
#include "common/bytes.h"
#include "tests/scenario/turn_world.h"

enum { CHANNEL = 0x4000, OTHER = 0x4001 };

/* A run in a heap block of exactly its size. */
struct block {
	uint8_t *p;
	size_t n, segment;
};

static void frame(struct block *b, unsigned channel, const char *text)
{
	size_t n = strlen(text);

	b->p = realloc(b->p, b->n + 4 + n);
	assert_non_null(b->p);
	store_be16(b->p + b->n, (uint16_t)channel);
	store_be16(b->p + b->n + 2, (uint16_t)n);
	memcpy(b->p + b->n + 4, text, n);
	b->n += 4 + n;
	if (!b->segment)
		b->segment = b->n;
}

static bool client_run(struct client *c, struct block *b, struct dgram_mark mark)
{
	const struct turn_run run = { b->p, b->n, b->segment, mark };
	bool taken = turn_input_run(c->w->server, &c->path, &run, c->w->now);

	free(b->p);
	*b = (struct block){ 0 };
	return taken;
}

static bool peer_run(struct client *c, const char *peer, const char *text, size_t segment, struct dgram_mark mark)
{
	struct world *w = c->w;
	struct addr from = address(peer);
	size_t n = strlen(text);
	uint8_t *p = malloc(n);

	assert_non_null(p);
	memcpy(p, text, n);
	bool taken = turn_peer_run(turn_alloc_find(w->server, &c->path), &from, &(struct turn_run){ p, n, segment, mark }, w->now);
	free(p);
	return taken;
}

static struct client with_channel(struct world *w)
{
	struct client alice = client_udp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, CHANNEL, "9.9.9.9:53"), 0);
	return alice;
}

static void a_clients_run_is_relayed_in_order_and_counted(void **state)
{
	struct world *w = *state;
	struct client alice = with_channel(w);
	struct block b = { 0 };

	frame(&b, CHANNEL, "one");
	frame(&b, CHANNEL, "two");
	frame(&b, CHANNEL, "3"); /* the last may be shorter */
	assert_true(client_run(&alice, &b, DGRAM_MARK_NONE));
	assert_peer_got(w, "9.9.9.9:53", "one");
	assert_peer_got(w, "9.9.9.9:53", "two");
	assert_peer_got(w, "9.9.9.9:53", "3");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_UP), 3);
	assert_int_equal(counted(w, TURN_M_BYTES, TURN_UP), 7);
	assert_int_equal(turn_alloc_find(w->server, &alice.path)->packets[TURN_UP], 3);
	assert_int_equal(turn_alloc_find(w->server, &alice.path)->bytes[TURN_UP], 7);
}

static void a_peers_run_is_relayed_with_the_length_of_each(void **state)
{
	struct world *w = *state;
	struct client alice = with_channel(w);

	assert_true(peer_run(&alice, "9.9.9.9:53", "onetwo3", 3, DGRAM_MARK_NONE));
	assert_channel_got(&alice, CHANNEL, "one");
	assert_channel_got(&alice, CHANNEL, "two");
	assert_channel_got(&alice, CHANNEL, "3");
	assert_true(peer_run(&alice, "9.9.9.9:53", "evensame", 4, DGRAM_MARK_NONE));
	assert_channel_got(&alice, CHANNEL, "even");
	assert_channel_got(&alice, CHANNEL, "same");
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_DOWN), 5);
	assert_int_equal(counted(w, TURN_M_BYTES, TURN_DOWN), 15);
}

static void a_run_loses_one_hop_and_keeps_its_dscp(void **state)
{
	struct world *w = *state;
	struct client alice = with_channel(w);
	struct block b = { 0 };
	struct sent s;

	frame(&b, CHANNEL, "aa");
	frame(&b, CHANNEL, "bb");
	assert_true(client_run(&alice, &b, (struct dgram_mark){ 0xb8, 64, -1 }));
	assert_true(peer_run(&alice, "9.9.9.9:53", "ccdd", 2, (struct dgram_mark){ 0xb8, 64, -1 }));
	for (int i = 0; i < 4; i++) {
		assert_true(take(w, &s));
		assert_int_equal(s.mark.tos, 0xb8);
		assert_int_equal(s.mark.ttl, 63);
		free(s.data);
	}
	frame(&b, CHANNEL, "aa");
	frame(&b, CHANNEL, "bb");
	assert_false(client_run(&alice, &b, (struct dgram_mark){ -1, 1, -1 })); /* its last hop: dropped one by one */
	assert_false(peer_run(&alice, "9.9.9.9:53", "ccdd", 2, (struct dgram_mark){ -1, 1, -1 }));
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_UP), 2);
}

static void only_a_run_of_one_channel_is_taken_whole(void **state)
{
	static const struct {
		unsigned first, second, third;
		const char *text[3];
	} odd[] = {
		{ CHANNEL, OTHER, CHANNEL, { "one", "two", "six" } },
		{ CHANNEL, CHANNEL, OTHER, { "one", "two", "six" } },
		{ OTHER, OTHER, OTHER, { "one", "two", "six" } },   /* bound to nobody */
		{ 0x5000, 0x5000, 0x5000, { "one", "two", "six" } }, /* no channel number */
		{ 0x0001, 0x0001, 0x0001, { "one", "two", "six" } }, /* no ChannelData at all */
	};
	struct world *w = *state;
	struct client alice = with_channel(w);

	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		struct block b = { 0 };
		frame(&b, odd[i].first, odd[i].text[0]);
		frame(&b, odd[i].second, odd[i].text[1]);
		frame(&b, odd[i].third, odd[i].text[2]);
		assert_false(client_run(&alice, &b, DGRAM_MARK_NONE));
		assert_silence(w);
	}
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_UP), 0);
}

static void lengths_that_do_not_fit_are_not_taken(void **state)
{
	struct world *w = *state;
	struct client alice = with_channel(w);

	for (unsigned bad = 0; bad < 3; bad++) {
		struct block b = { 0 };
		frame(&b, CHANNEL, "three4");
		frame(&b, CHANNEL, "three4");
		frame(&b, CHANNEL, "three4");
		store_be16(b.p + bad * b.segment + 2, 7); /* one more than there is */
		assert_false(client_run(&alice, &b, DGRAM_MARK_NONE));
		frame(&b, CHANNEL, "three4");
		frame(&b, CHANNEL, "three4");
		frame(&b, CHANNEL, "three4");
		store_be16(b.p + bad * b.segment + 2, 2); /* four less: more than padding */
		assert_false(client_run(&alice, &b, DGRAM_MARK_NONE));
		frame(&b, CHANNEL, "three4");
		frame(&b, CHANNEL, "three4");
		b.n -= 8 - bad; /* the last has 2, 3 or 4 bytes */
		assert_false(client_run(&alice, &b, DGRAM_MARK_NONE));
	}
	assert_silence(w);
	assert_int_equal(counted(w, TURN_M_PACKETS, TURN_UP), 0);
}

static void an_expired_channel_or_permission_lets_no_run_through(void **state)
{
	struct world *w = *state;
	struct client alice = with_channel(w);
	struct block b = { 0 };

	assert_false(peer_run(&alice, "9.9.9.9:54", "ccdd", 2, DGRAM_MARK_NONE)); /* permitted, but no channel */
	world_wait(w, TURN_PERMISSION_MS + 1);
	frame(&b, CHANNEL, "aa");
	frame(&b, CHANNEL, "bb");
	assert_false(client_run(&alice, &b, DGRAM_MARK_NONE));
	assert_false(peer_run(&alice, "9.9.9.9:53", "ccdd", 2, DGRAM_MARK_NONE));
	assert_silence(w);
}

static void no_run_passes_after_the_allocations_time(void **state)
{
	struct world *w = *state;
	struct client alice = with_channel(w);
	struct block b = { 0 };

	world_wait(w, 400000);
	assert_int_equal(bind_channel(&alice, CHANNEL, "9.9.9.9:53"), 0);
	w->now += 200000; /* its timer has not run */
	frame(&b, CHANNEL, "aa");
	frame(&b, CHANNEL, "bb");
	assert_false(client_run(&alice, &b, DGRAM_MARK_NONE));
	assert_false(peer_run(&alice, "9.9.9.9:53", "ccdd", 2, DGRAM_MARK_NONE));
	assert_silence(w);
}

static void a_limited_bit_rate_counts_datagrams_not_runs(void **state)
{
	struct world *w = *state;
	struct client alice = with_channel(w);
	struct block b = { 0 };

	w->cfg.limits.bitrate_per_user = 8000000;
	world_reload(w);
	frame(&b, CHANNEL, "aa");
	frame(&b, CHANNEL, "bb");
	assert_false(client_run(&alice, &b, DGRAM_MARK_NONE));
	assert_false(peer_run(&alice, "9.9.9.9:53", "ccdd", 2, DGRAM_MARK_NONE));
	assert_silence(w);
}

static void a_client_on_a_stream_gets_no_runs(void **state)
{
	struct world *w = *state;
	struct client alice = client_tcp(w, "192.0.2.1:4000", "alice");

	assert_int_equal(allocate(&alice), 0);
	assert_int_equal(bind_channel(&alice, CHANNEL, "9.9.9.9:53"), 0);
	assert_false(peer_run(&alice, "9.9.9.9:53", "ccdd", 2, DGRAM_MARK_NONE));
	assert_silence(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TALK(a_clients_run_is_relayed_in_order_and_counted),
		TALK(a_peers_run_is_relayed_with_the_length_of_each),
		TALK(a_run_loses_one_hop_and_keeps_its_dscp),
		TALK(only_a_run_of_one_channel_is_taken_whole),
		TALK(lengths_that_do_not_fit_are_not_taken),
		TALK(an_expired_channel_or_permission_lets_no_run_through),
		TALK(no_run_passes_after_the_allocations_time),
		TALK(a_limited_bit_rate_counts_datagrams_not_runs),
		TALK(a_client_on_a_stream_gets_no_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
