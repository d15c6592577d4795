/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of framing on TCP and TLS (RFC 8489 6.2.2, RFC 8656 12.5): a stream has no edges, so messages may
 * come in pieces or many at once; and what follows when it can no longer be read. A piece is one write with
 * Nagle's algorithm off and a pause behind it, so it is usually a segment too.
 */
#include <string.h>
#include "cli/conform.h"
#include "common/clock.h"

enum { PAUSE_MS = 30 };

static void pause_for(struct talk *t, uint64_t ms)
{
	uint64_t until = clock_steady_ms() + ms;

	while (going_on(t) && clock_steady_ms() < until)
		(void)talk_wait(t, until);
}

static void in_pieces(struct talk *t)
{
	struct client *c = client_open(t);
	uint64_t first = 0;

	(void)text_u64(text_of(t->row->arg), &first);
	begin(c, STUN_BINDING);
	stun_put_text(&c->w, STUN_A_SOFTWARE, TEXT("stile conform"));
	finish(c);
	send_bytes(c, c->out, first);
	pause_for(t, PAUSE_MS);
	send_bytes(c, c->out + first, c->out_n - first);
	await(c);
	want_success(c);
}

static void byte_by_byte(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_BINDING);
	finish(c);
	for (size_t i = 0; i < c->out_n; i++) {
		send_bytes(c, c->out + i, 1);
		pause_for(t, 2);
	}
	await(c);
	want_success(c);
}

/* Requests in one write; every one must be answered. */
static void glue(struct client *c, unsigned n)
{
	uint8_t all[20 * STUN_HEADER_LEN], tids[20][STUN_TID_LEN];

	for (unsigned i = 0; i < n; i++) {
		begin(c, STUN_BINDING);
		finish(c);
		memcpy(all + (size_t)i * STUN_HEADER_LEN, c->out, STUN_HEADER_LEN);
		memcpy(tids[i], c->tid, STUN_TID_LEN);
	}
	send_bytes(c, all, n * STUN_HEADER_LEN);
	for (unsigned i = 0; i < n; i++) {
		memcpy(c->tid, tids[i], STUN_TID_LEN);
		c->answered = false;
		await(c);
		want_success(c);
	}
}

static void two_at_once(struct talk *t)
{
	glue(client_open(t), 2);
}

static void twenty_at_once(struct talk *t)
{
	glue(client_open(t), 20);
}

static void one_and_a_half(struct talk *t)
{
	struct client *c = client_open(t);
	uint8_t both[2 * STUN_HEADER_LEN], first[STUN_TID_LEN], second[STUN_TID_LEN];

	begin(c, STUN_BINDING);
	finish(c);
	memcpy(both, c->out, STUN_HEADER_LEN);
	memcpy(first, c->tid, sizeof first);
	begin(c, STUN_BINDING);
	finish(c);
	memcpy(both + STUN_HEADER_LEN, c->out, STUN_HEADER_LEN);
	memcpy(second, c->tid, sizeof second);
	send_bytes(c, both, STUN_HEADER_LEN + 7);
	memcpy(c->tid, first, sizeof first);
	await(c); /* it is not held up by the half */
	want_success(c);
	send_bytes(c, both + STUN_HEADER_LEN + 7, STUN_HEADER_LEN - 7);
	memcpy(c->tid, second, sizeof second);
	c->answered = false;
	await(c);
	want_success(c);
}

/* ---- ChannelData ---- */

static struct peer *bound_peer(struct client *c)
{
	struct peer *p = peer_open(c);

	bind_channel(c, 0x4000, &p->at);
	return p;
}

static void channel_then_request(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = bound_peer(c);
	uint8_t both[8 + STUN_HEADER_LEN] = { 0x40, 0, 0, 3, 'o', 'd', 'd', 0 };

	begin(c, STUN_BINDING);
	finish(c);
	memcpy(both + 8, c->out, STUN_HEADER_LEN);
	send_bytes(c, both, sizeof both);
	await(c);
	want_success(c);
	want_at_peer(p, c, "odd", 3);
}

static void channel_cut_in_padding(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = bound_peer(c);

	send_bytes(c, "\x40\0\0\5hello\0", 10);
	pause_for(t, PAUSE_MS);
	send_bytes(c, "\0\0", 2);
	want_at_peer(p, c, "hello", 5);
	want_still(c);
}

static void padding_is_any(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = bound_peer(c);

	send_bytes(c, "\x40\0\0\1xabc", 8);
	want_at_peer(p, c, "x", 1);
	want_still(c);
}

static void from_server_is_padded(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = bound_peer(c);

	conform_peer_send(p, c, "odd", 3);
	conform_peer_send(p, c, "second", 6);
	want_channel_data(c, 0x4000, "odd", 3);
	want_channel_data(c, 0x4000, "second", 6);
	want_still(c); /* and what follows is where it should be */
}

static void channels_at_once(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = bound_peer(c);

	send_bytes(c, "\x40\0\0\1a\0\0\0\x40\0\0\2bc\0\0\x40\0\0\4defg", 24);
	want_at_peer(p, c, "a", 1);
	want_at_peer(p, c, "bc", 2);
	want_at_peer(p, c, "defg", 4);
}

static void unbound_in_between(struct talk *t)
{
	struct client *c = client_allocated(t);
	struct peer *p = bound_peer(c);

	send_bytes(c, "\x40\7\0\1a\0\0\0\x40\0\0\2bc\0\0", 16);
	want_at_peer(p, c, "bc", 2);
}

/* ---- what cannot be read ---- */

static void garbage(struct talk *t)
{
	struct client *c = client_open(t);

	send_bytes(c, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", 37);
	pause_for(t, PAUSE_MS);
	want_alive(t);
}

static void garbage_ends_the_stream(struct talk *t)
{
	struct client *c = client_open(t);

	send_bytes(c, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 20);
	pause_for(t, t->s->quiet_ms);
	want(t, c->closed, "the connection stays open");
}

static void endless_message(struct talk *t)
{
	struct client *c = client_open(t);

	send_bytes(c, "\0\1\xff\xfc\x21\x12\xa4\x42stile-confo", 19);
	pause_for(t, PAUSE_MS);
	want_alive(t);
}

static void length_odd(struct talk *t)
{
	struct client *c = client_open(t);

	send_bytes(c, "\0\1\0\3\x21\x12\xa4\x42stile-conform!!", 23);
	pause_for(t, PAUSE_MS);
	want_alive(t);
}

static void large_request(struct talk *t)
{
	struct client *c = client_open(t);
	static const uint8_t filling[8000];

	begin(c, STUN_BINDING);
	stun_put_raw(&c->w, 0xff01, filling, sizeof filling);
	ask(c);
	want_success(c);
}

static void half_and_gone(struct talk *t)
{
	struct client *c = client_open(t);

	begin(c, STUN_BINDING);
	finish(c);
	send_bytes(c, c->out, 11);
	pause_for(t, PAUSE_MS);
	client_close(c);
	want_alive(t);
}

#define STREAM NEED_STREAM
#define PEER (NEED_STREAM | NEED_RELAY | NEED_PEER)
/* clang-format off */
static const struct check_row rows[] = {
	{ "stream-1",            "RFC 8489 6.2.2", "a request cut after its first byte is answered", STREAM, in_pieces, "1" },
	{ "stream-4",            "RFC 8489 6.2.2", "a request cut behind its length is answered", STREAM, in_pieces, "4" },
	{ "stream-19",           "RFC 8489 6.2.2", "a request cut in the last byte of its header is answered", STREAM, in_pieces, "19" },
	{ "stream-20",           "RFC 8489 6.2.2", "a request cut behind its header is answered", STREAM, in_pieces, "20" },
	{ "stream-22",           "RFC 8489 6.2.2", "a request cut in an attribute is answered", STREAM, in_pieces, "22" },
	{ "stream-bytes",        "RFC 8489 6.2.2", "a request that comes byte by byte is answered", STREAM, byte_by_byte, NULL },
	{ "stream-two",          "RFC 8489 6.2.2", "two requests in one segment are both answered", STREAM, two_at_once, NULL },
	{ "stream-twenty",       "RFC 8489 6.2.2", "twenty requests in one segment are all answered", STREAM, twenty_at_once, NULL },
	{ "stream-half",         "RFC 8489 6.2.2", "half a request behind a whole one does not hold that up", STREAM, one_and_a_half, NULL },
	{ "stream-large",        "RFC 8489 6.2.2", "a request of 8000 bytes is answered", STREAM | ADVISORY, large_request, NULL },
	{ "stream-channel-stun", "RFC 8656 12.5",  "a request right behind padded ChannelData is answered", PEER, channel_then_request, NULL },
	{ "stream-channel-cut",  "RFC 8656 12.5",  "ChannelData cut in its padding is relayed", PEER, channel_cut_in_padding, NULL },
	{ "stream-channel-fill", "RFC 8656 12.5",  "padding of ChannelData may be any bytes", PEER, padding_is_any, NULL },
	{ "stream-channel-in",   "RFC 8656 12.5",  "ChannelData from the server is padded to a multiple of four", PEER, from_server_is_padded, NULL },
	{ "stream-channel-many", "RFC 8656 12.5",  "three ChannelData messages in one segment are all relayed", PEER, channels_at_once, NULL },
	{ "stream-channel-drop", "RFC 8656 12.6",  "ChannelData of an unbound number takes nothing else with it", PEER, unbound_in_between, NULL },
	{ "stream-http",         "RFC 8489 6.3",   "an HTTP request on the port harms nothing", STREAM, garbage, NULL },
	{ "stream-garbage",      "RFC 8489 6.3",   "a stream that cannot be read any more is closed", STREAM | ADVISORY, garbage_ends_the_stream, NULL },
	{ "stream-endless",      "RFC 8489 6.3",   "a message that promises 65532 bytes harms nothing", STREAM, endless_message, NULL },
	{ "stream-odd",          "RFC 8489 5",     "a length that is no multiple of four harms nothing", STREAM, length_odd, NULL },
	{ "stream-gone",         "RFC 8489 6.2.2", "a client that leaves in the middle of a request harms nothing", STREAM, half_and_gone, NULL },
};
/* clang-format on */
const struct check_area conform_stream = { "stream", rows, ARRAY_LEN(rows) };
