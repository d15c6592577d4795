/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands outside of QUIC and at the beginning of its streams, cut at every byte; datagrams in parts that come in any order,
 * twice, or with sizes that cannot be; and a UDP path beside the socket of another, which keeps what is its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tests/unit/support.h"
#include "tunnel/direct/flows.h"

static void a_head_is_read_as_written_and_at_no_byte_sooner(void **state)
{
	struct stream_head h = { .kind = WIRE_JOB_TCP, .port = 3389, .host = "target.test" }, g;
	uint8_t out[STREAM_HEAD_MAX + 4] = { 0 };
	size_t n = stream_head_write(&h, out), used;

	(void)state;
	for (size_t i = 0; i < n; i++)
		assert_int_equal(stream_head_parse(out, i, &g, &used), -EAGAIN);
	assert_int_equal(stream_head_parse(out, n + 4, &g, &used), 0);
	assert_int_equal(used, n);
	assert_true(g.kind == h.kind && g.port == h.port && strcmp(g.host, h.host) == 0);
	out[1] = 9; /* kind */
	assert_int_equal(stream_head_parse(out, n, &g, &used), -EPROTO);
	out[1] = WIRE_JOB_UDP;
	out[n - 1] = '\n';
	assert_int_equal(stream_head_parse(out, n, &g, &used), -EPROTO);
}

static void an_answer_is_read_as_written_and_fit_to_be_shown(void **state)
{
	struct stream_answer a = { .reason = WIRE_R_REFUSED, .text = "no \x01one" }, b;
	uint8_t out[STREAM_ANSWER_MAX];
	size_t n = stream_answer_write(&a, out), used;

	(void)state;
	for (size_t i = 0; i < n; i++)
		assert_int_equal(stream_answer_parse(out, i, &b, &used), -EAGAIN);
	assert_int_equal(stream_answer_parse(out, n, &b, &used), 0);
	assert_string_equal(b.text, "no ?one");
	out[0] = WIRE_REASONS;
	assert_int_equal(stream_answer_parse(out, n, &b, &used), -EPROTO);
}

static void a_frame_is_whole_or_waits_or_is_none(void **state)
{
	uint8_t p[FRAMED_HEAD + 30] = { 0 };
	size_t segment, n;

	(void)state;
	framed_head(p, 12, 30);
	for (size_t i = 0; i < sizeof(p); i++)
		assert_int_equal(framed_parse(p, i, &segment, &n), -EAGAIN);
	assert_int_equal(framed_parse(p, sizeof(p), &segment, &n), 0);
	assert_true(segment == 12 && n == 30);
	framed_head(p, 0, 30);
	assert_int_equal(framed_parse(p, sizeof(p), &segment, &n), -EPROTO);
	memset(p, 0xff, FRAMED_HEAD);
	assert_int_equal(framed_parse(p, sizeof(p), &segment, &n), -EPROTO);
	memset(p, 0, FRAMED_HEAD);
	assert_int_equal(framed_parse(p, FRAMED_HEAD, &segment, &n), 0);
	assert_int_equal(n, 0);
}

/* Part `part` of `parts` of datagram `number`, n times `fill`. */
#define ADD(number, part, parts, fill, n) add(&a, &(const struct flow_head){ 1, number, part, parts }, fill, n)

static size_t whole; /* bytes of the datagram that was whole last */

static int add(struct flow_parts *a, const struct flow_head *h, char fill, size_t n)
{
	static uint8_t p[FLOW_DATAGRAM_MAX];

	memset(p, fill, n);
	return flow_parts_add(a, h, p, n, &whole);
}

static void parts_are_put_together_in_any_order_and_never_mixed(void **state)
{
	struct flow_parts a = { 0 };

	(void)state;
	assert_int_equal(ADD(1, 2, 3, 'c', 5), -EAGAIN); /* the last comes first */
	assert_int_equal(ADD(1, 0, 3, 'a', 10), -EAGAIN);
	assert_int_equal(ADD(1, 0, 3, 'a', 10), -EAGAIN);
	assert_int_equal(ADD(1, 1, 3, 'b', 10), 0);
	assert_int_equal(whole, 25);
	assert_memory_equal(a.buffer, "aaaaaaaaaabbbbbbbbbbccccc", 25);
	assert_int_equal(ADD(2, 0, 2, 'd', 10), -EAGAIN);
	assert_int_equal(ADD(3, 1, 2, 'e', 10), -EAGAIN); /* of another one: the first is given up */
	assert_int_equal(ADD(3, 0, 2, 'f', 10), 0);
	assert_memory_equal(a.buffer, "ffffffffffeeeeeeeeee", 20);
	assert_int_equal(ADD(4, 0, 3, 'a', 10), -EAGAIN);
	assert_int_equal(ADD(4, 1, 3, 'a', 11), -EBADMSG); /* as long as each other */
	assert_int_equal(ADD(5, 0, 64, 'a', 1300), -EBADMSG); /* more than a datagram may have */
	assert_int_equal(ADD(6, 0, 2, 'a', 0), -EBADMSG);
	flow_parts_free(&a);
}

/* As they are sent: evenly, rounded up, the last one shorter. */
static void the_largest_datagram_comes_in_parts(void **state)
{
	enum { PARTS = 47, PART = 1394, LAST = FLOW_DATAGRAM_MAX - (PARTS - 1) * PART };
	struct flow_parts a = { 0 };

	(void)state;
	for (uint8_t i = 0; i < PARTS - 1; i++)
		assert_int_equal(ADD(1, i, PARTS, 'a', PART), -EAGAIN);
	assert_int_equal(ADD(1, PARTS - 1, PARTS, 'b', LAST), 0);
	assert_int_equal(whole, FLOW_DATAGRAM_MAX);
	assert_true(a.buffer[0] == 'a' && a.buffer[whole - LAST - 1] == 'a' &&
		    a.buffer[whole - LAST] == 'b' && a.buffer[whole - 1] == 'b');
	assert_int_equal(ADD(2, PARTS - 1, PARTS, 'b', LAST), -EAGAIN); /* from behind */
	for (uint8_t i = PARTS - 1; i > 1; i--)
		assert_int_equal(ADD(2, i - 1, PARTS, 'a', PART), -EAGAIN);
	assert_int_equal(ADD(2, 0, PARTS, 'a', PART), 0);
	assert_int_equal(whole, FLOW_DATAGRAM_MAX);
	for (uint8_t i = 0; i < PARTS - 1; i++)
		assert_int_equal(ADD(3, i, PARTS, 'a', PART), -EAGAIN);
	assert_int_equal(ADD(3, PARTS - 1, PARTS, 'b', LAST + 1), -EBADMSG); /* one more than there may be */
	assert_int_equal(ADD(4, 0, 2, 'a', FLOW_DATAGRAM_MAX - 1), -EAGAIN);
	assert_int_equal(ADD(4, 1, 2, 'b', 1), 0);
	assert_int_equal(ADD(5, 0, 2, 'a', FLOW_DATAGRAM_MAX), -EBADMSG);
	flow_parts_free(&a);
}

/* ---- a path beside an ICE agent's socket ---- */

struct seen {
	unsigned packets;
	size_t bytes;
};

static void on_arrived(struct path *p, uint8_t *data, size_t n, size_t segment, void *arg)
{
	struct seen *s = arg;

	(void)p;
	for (size_t i = 0; i < n; i++)
		assert_int_equal(data[i], 0x41);
	s->packets += (unsigned)path_count(n, segment);
	s->bytes += n;
}

static void on_nothing(struct path *p, void *arg)
{
	(void)p;
	(void)arg;
}

static const struct path_sink sink = { .arrived = on_arrived, .writable = on_nothing, .state = on_nothing };

static int udp(sa_family_t family, struct addr *ret_at)
{
	const uint8_t loopback6[16] = { [15] = 1 };
	struct addr at = family == AF_INET ? addr_v4(INADDR_LOOPBACK, 0) : addr_v6(loopback6, 0);
	socklen_t n = sizeof(*ret_at);
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (bind(fd, &at.sa, addr_len(&at)) < 0) {
		close(fd);
		return -1; /* no IPv6 here */
	}
	*ret_at = at;
	assert_int_equal(getsockname(fd, &ret_at->sa, &n), 0);
	return fd;
}

static unsigned waiting(int fd)
{
	uint8_t p[2000];
	unsigned n = 0;

	while (recv(fd, p, sizeof(p), MSG_DONTWAIT) >= 0)
		n++;
	return n;
}

/* ICE's socket keeps STUN and strangers; ours gets the peer's packets, in runs, both ways. */
static void takeover(sa_family_t family)
{
	struct loop *l;
	struct addr at, peer_at, stranger_at;
	int ice = udp(family, &at), peer = udp(family, &peer_at), stranger = udp(family, &stranger_at);
	struct seen seen = { 0 };
	struct path *p;
	uint8_t packet[1200], stun[20] = { 0, 1 };

	if (ice < 0 || peer < 0 || stranger < 0)
		return;
	memset(packet, 0x41, sizeof(packet));
	assert_int_equal(loop_new(&l), 0);
	assert_int_equal(path_udp_take(l, PATH_DIRECT, ice, &peer_at, &p), 0);
	path_own(p, &sink, &seen);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(sendto(peer, packet, sizeof(packet), 0, &at.sa, addr_len(&at)), sizeof(packet));
	assert_int_equal(sendto(peer, stun, sizeof(stun), 0, &at.sa, addr_len(&at)), sizeof(stun));
	assert_int_equal(sendto(stranger, packet, sizeof(packet), 0, &at.sa, addr_len(&at)), sizeof(packet));
	for (unsigned i = 0; i < 400 && seen.packets < 20; i++)
		support_run_for(l, 10);
	assert_int_equal(seen.packets, 20);
	assert_int_equal(seen.bytes, 20 * sizeof(packet));
	assert_int_equal(waiting(ice), 2);
	{
		uint8_t batch[10 * 1200];

		memset(batch, 0x41, sizeof(batch));
		assert_int_equal(path_send(p, batch, sizeof(batch) - 700, 1200), 0);
		unsigned arrived = waiting(peer);
		for (unsigned i = 0; i < 400 && arrived < 10; i++) {
			support_run_for(l, 10);
			arrived += waiting(peer);
		}
		assert_int_equal(arrived, 10);
	}
	close(ice); /* the attempt has ended; the path lives on */
	seen = (struct seen){ 0 };
	assert_int_equal(sendto(peer, packet, sizeof(packet), 0, &at.sa, addr_len(&at)), sizeof(packet));
	for (unsigned i = 0; i < 400 && !seen.packets; i++)
		support_run_for(l, 10);
	assert_int_equal(seen.packets, 1);
	path_free(p);
	loop_free(l);
	close(peer);
	close(stranger);
}

static void a_path_takes_only_the_peers_packets_from_an_ice_agents_socket(void **state)
{
	(void)state;
	takeover(AF_INET);
}

static void the_same_with_ipv6(void **state)
{
	(void)state;
	takeover(AF_INET6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_head_is_read_as_written_and_at_no_byte_sooner),
		cmocka_unit_test(an_answer_is_read_as_written_and_fit_to_be_shown),
		cmocka_unit_test(a_frame_is_whole_or_waits_or_is_none),
		cmocka_unit_test(parts_are_put_together_in_any_order_and_never_mixed),
		cmocka_unit_test(the_largest_datagram_comes_in_parts),
		cmocka_unit_test(a_path_takes_only_the_peers_packets_from_an_ice_agents_socket),
		cmocka_unit_test(the_same_with_ipv6),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
