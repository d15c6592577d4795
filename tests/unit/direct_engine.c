/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two engines, of a visitor and of a host, with real sockets on loopback, real ICE between them, and this test as the supervisor
 * of both: local connections and flows cross, compared byte by byte, over a direct path and over a pipe; refusals, cuts, and the
 * ends of everything are told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include "common/clock.h"
#include "common/fd.h"
#include "common/stream.h"
#include "tunnel/direct/channel.h"
#include "tunnel/direct/engine.h"
#include "tunnel/direct/peer_link.h"
#include "tunnel/direct/stream_head.h"
#include "tunnel/link/identity.h"

enum { VISITOR, HOST, LINK = 7, VISIT = 3, WAIT_MS = 60000 };

struct side {
	struct test *t;
	unsigned which;
	struct engine *engine;
	struct channel *channel;
	struct identity *id;
	bool ready, gone, ended;
	unsigned path, state, refused, streams_ended, admits, carriers, pongs, alive;
	char why[200], gone_why[200];
	uint64_t bytes[2];
};
struct hand;
struct test {
	struct loop *loop;
	struct hand *hand; /* the host, in the place of its engine */
	struct side sides[2];
	struct addr target; /* where what the visitor asks for really is */
	bool no_relay, refuse;
	int pipes[2]; /* the last pipe's ends are the engines'; kept here as duplicates, to cut it */
	bool (*until)(struct test *t);
	struct timer poll, deadline;
	bool late;
};

static void pass_ice(struct side *to, const struct child_ice *m)
{
	struct child_ice c = *m;

	assert_int_equal(channel_send(to->channel, CHILD_ICE_REMOTE, &c), 0);
}

static void hand_pipe(struct test *t, int fd);

static void give_pipe(struct test *t)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	if (t->hand)
		hand_pipe(t, fds[HOST]);
	for (unsigned i = 0; i < (t->hand ? 1 : 2); i++) {
		closep(&t->pipes[i]);
		t->pipes[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
		assert_int_equal(channel_send_fd(t->sides[i].channel, CHILD_CARRIER,
						 &(struct child_carrier){ .link = LINK, .kind = CHILD_PATH_RELAY, .text = text_of("the test's relay") },
						 fds[i]), 0);
	}
}

static void on_admit(struct test *t, struct side *s, const struct child_admit *m)
{
	struct child_admitted a = { .request = m->request, .addresses = { t->target }, .n_addresses = 1 };

	s->admits++;
	assert_int_equal(m->port, 3389);
	assert_true(text_eq(m->host, text_of("target.test")));
	if (t->refuse)
		a = (struct child_admitted){ .request = m->request, .reason = WIRE_R_NOT_ALLOWED, .text = text_of("not for you") };
	assert_int_equal(channel_send(s->channel, CHILD_ADMITTED, &a), 0);
}

static void on_stream(struct side *s, const struct child_stream_msg *m)
{
	s->refused += m->event == CHILD_STREAM_REFUSED;
	s->streams_ended += m->event == CHILD_STREAM_ENDED;
	if (m->event == CHILD_STREAM_ENDED)
		memcpy(s->bytes, m->bytes, sizeof(s->bytes));
	(void)snprintf(s->why, sizeof(s->why), "%.*s", (int)m->text.n, m->text.n ? m->text.p : "");
}

static void on_message(struct channel *c, unsigned type, const union child_any *m, int *fd, void *arg)
{
	struct side *s = arg;
	struct test *t = s->t;

	(void)c;
	(void)fd;
	switch (type) {
	case CHILD_READY: s->ready = true; break;
	case CHILD_ICE_LOCAL: pass_ice(&t->sides[!s->which], &m->ice); break;
	case CHILD_WANT_CARRIER:
		s->carriers++;
		if (!t->no_relay && s->which == VISITOR)
			give_pipe(t);
		break;
	case CHILD_LINK_STATE:
		s->state = m->link_state.state;
		s->path = m->link_state.path;
		break;
	case CHILD_LINK_GONE:
		s->gone = true;
		(void)snprintf(s->gone_why, sizeof(s->gone_why), "%.*s", (int)m->link.text.n, m->link.text.n ? m->link.text.p : "");
		break;
	case CHILD_ADMIT: on_admit(t, s, &m->admit); break;
	case CHILD_STREAM: on_stream(s, &m->stream); break;
	case CHILD_PONG: s->pongs++; break;
	case CHILD_ALIVE: s->alive++; break;
	case CHILD_LOG: print_message("log: %.*s\n", (int)m->log.text.n, m->log.text.p); break;
	default: break;
	}
}

static void on_closed(struct channel *c, const char *why, void *arg)
{
	(void)c;
	fail_msg("the channel of side %u has ended: %s", ((struct side *)arg)->which, why);
}

static void on_gone(void *arg)
{
	((struct side *)arg)->ended = true;
}

static const struct channel_ops channel_ops = { .message = on_message, .closed = on_closed };

/* ---- waiting ---- */

static void on_poll(struct timer *timer, uint64_t now)
{
	struct test *t = container_of(timer, struct test, poll);

	(void)now;
	if (t->until(t))
		loop_stop(t->loop);
	else
		loop_timer_set(t->loop, timer, 2);
}

static void on_deadline(struct timer *timer, uint64_t now)
{
	struct test *t = container_of(timer, struct test, deadline);

	(void)now;
	t->late = true;
	loop_stop(t->loop);
}

static bool wait_for(struct test *t, bool (*until)(struct test *t))
{
	t->until = until;
	t->late = false;
	t->poll.fire = on_poll;
	t->deadline.fire = on_deadline;
	loop_timer_set(t->loop, &t->poll, 0);
	loop_timer_set(t->loop, &t->deadline, WAIT_MS);
	assert_int_equal(loop_run(t->loop), 0);
	timer_stop(&t->poll);
	timer_stop(&t->deadline);
	return !t->late;
}

/* ---- the two ---- */

static void setup(struct side *s, uint32_t flags)
{
	struct child_setup m = { .identity = { identity_hash(s->id)->b, IDENTITY_LEN }, .flags = flags | CHILD_F_LOOPBACK };
	struct identity_der der;

	assert_int_equal(identity_to_der(s->id, &der), 0);
	m.key = (struct wire_bytes){ der.key, der.key_n };
	m.certificate = (struct wire_bytes){ der.cert, der.cert_n };
	assert_int_equal(channel_send(s->channel, CHILD_SETUP, &m), 0);
	identity_der_free(&der);
}

static bool both_ready(struct test *t)
{
	return t->sides[0].ready && t->sides[1].ready;
}

static void begin(struct test *t, uint32_t flags)
{
	t->pipes[0] = t->pipes[1] = -1;
	assert_int_equal(loop_new(&t->loop), 0);
	for (unsigned i = 0; i < 2; i++) {
		struct side *s = &t->sides[i];
		int fds[2];

		s->t = t;
		s->which = i;
		assert_int_equal(identity_make(i ? "host" : "visitor", NULL, &s->id), 0);
		assert_int_equal(channel_pair(fds), 0);
		assert_int_equal(engine_new(t->loop, fds[1], on_gone, s, &s->engine), 0);
		assert_int_equal(channel_new(t->loop, fds[0], CHILD_TO_SUPERVISOR, &channel_ops, s, &s->channel), 0);
		setup(s, flags);
	}
	assert_true(wait_for(t, both_ready));
}

static void open_link_of(struct test *t, unsigned side, uint32_t head_start)
{
	uint8_t dcid[CHILD_DCID];
	struct child_link_open m = { .link = LINK, .role = side == VISITOR ? CHILD_VISITOR : CHILD_HOST, .name = text_of("peer"),
				     .peer = { identity_hash(t->sides[!side].id)->b, IDENTITY_LEN }, .dcid = { dcid, sizeof(dcid) },
				     .head_start = head_start };

	memset(dcid, 0x77, sizeof(dcid));
	assert_int_equal(channel_send(t->sides[side].channel, CHILD_LINK_OPEN, &m), 0);
}

static void open_link(struct test *t, uint32_t head_start)
{
	open_link_of(t, VISITOR, head_start);
	open_link_of(t, HOST, head_start);
}

static void finish(struct test *t)
{
	for (unsigned i = 0; i < 2; i++) {
		engine_free(t->sides[i].engine);
		channel_free(t->sides[i].channel);
		identity_unref(t->sides[i].id);
		closep(&t->pipes[i]);
	}
	loop_free(t->loop);
}

static bool up_by(struct test *t, unsigned path)
{
	return t->sides[0].path == path && t->sides[1].path == path && t->sides[0].state == CHILD_LINK_UP &&
	       t->sides[1].state == CHILD_LINK_UP;
}

static bool up_direct(struct test *t)
{
	return up_by(t, CHILD_PATH_UDP);
}

static bool up_relayed(struct test *t)
{
	return up_by(t, CHILD_PATH_RELAY);
}

/* ---- a program at the visitor's, and one at the host's ---- */

static int bound(int type, struct addr *ret_at)
{
	struct addr at = addr_v4(INADDR_LOOPBACK, 0);
	socklen_t n = sizeof(*ret_at);
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, &at.sa, addr_len(&at)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 16), 0);
	*ret_at = at;
	assert_int_equal(getsockname(fd, &ret_at->sa, &n), 0);
	return fd;
}

static struct addr visit(struct test *t, int type)
{
	struct addr at;
	int fd = bound(type, &at);
	struct child_listen m = { .visit = VISIT, .link = LINK, .kind = type == SOCK_STREAM ? WIRE_JOB_TCP : WIRE_JOB_UDP,
				  .host = text_of("target.test"), .port = 3389 };

	assert_int_equal(channel_send_fd(t->sides[VISITOR].channel, CHILD_LISTEN, &m, fd), 0);
	return at;
}

static int connect_to(const struct addr *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_true(connect(fd, &at->sa, addr_len(at)) == 0 || errno == EINPROGRESS);
	return fd;
}

/* Both send n bytes, end, and read the other's: all in the poll of wait_for(). */
struct talk {
	int listener, a, b;
	size_t n, sent[2], got[2];
	bool ended[2], shut[2], reset[2], hold_b;
};
static struct talk talk;

static uint8_t byte_at(unsigned side, size_t at)
{
	return (uint8_t)(((at + side * 77777) * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static void move(int fd, unsigned side)
{
	uint8_t p[16384];
	ssize_t r;

	while (talk.sent[side] < talk.n) {
		size_t n = MIN(sizeof(p), talk.n - talk.sent[side]);

		for (size_t i = 0; i < n; i++)
			p[i] = byte_at(side, talk.sent[side] + i);
		r = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0 && (errno == ECONNRESET || errno == EPIPE))
			talk.reset[side] = true;
		if (r < 0)
			break;
		talk.sent[side] += (size_t)r;
	}
	if (talk.sent[side] == talk.n && !talk.shut[side]) {
		talk.shut[side] = true;
		(void)shutdown(fd, SHUT_WR);
	}
	while ((r = recv(fd, p, sizeof(p), MSG_DONTWAIT)) > 0) {
		for (ssize_t i = 0; i < r; i++)
			if (p[i] != byte_at(!side, talk.got[side] + (size_t)i))
				fail_msg("byte %zu is another one", talk.got[side] + (size_t)i);
		talk.got[side] += (size_t)r;
	}
	if (r == 0)
		talk.ended[side] = true;
	else if (r < 0 && errno != EAGAIN && errno != ENOTCONN)
		talk.reset[side] = true;
}

static void step(void)
{
	if (talk.b < 0)
		talk.b = accept4(talk.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (talk.a >= 0)
		move(talk.a, 0);
	if (talk.b >= 0 && !talk.hold_b)
		move(talk.b, 1);
}

static bool talked(struct test *t)
{
	(void)t;
	step();
	return talk.ended[0] && talk.ended[1] && talk.got[0] == talk.n && talk.got[1] == talk.n;
}

static bool well_under_way(struct test *t)
{
	(void)t;
	step();
	return talk.got[0] > talk.n / 10 && talk.got[1] > talk.n / 10;
}

static bool a_reset(struct test *t)
{
	(void)t;
	step();
	return talk.reset[0];
}

static void talk_begin(struct test *t, const struct addr *at, size_t n)
{
	talk = (struct talk){ .a = -1, .b = -1, .n = n };
	talk.listener = bound(SOCK_STREAM, &t->target);
	talk.a = connect_to(at);
}

static void talk_end(void)
{
	closep(&talk.a);
	closep(&talk.b);
	closep(&talk.listener);
}

static bool told_ends(struct test *t)
{
	return t->sides[0].streams_ended == 1 && t->sides[1].streams_ended == 1;
}

/* ---- tests ---- */

static void a_connection_crosses_a_direct_path_byte_by_byte(void **state)
{
	struct test t = { .no_relay = true };
	struct addr at;

	(void)state;
	begin(&t, 0);
	at = visit(&t, SOCK_STREAM);
	talk_begin(&t, &at, 3000000); /* before there is a link: it waits */
	open_link(&t, 200);
	assert_true(wait_for(&t, talked));
	assert_true(up_direct(&t));
	talk_end();
	assert_true(wait_for(&t, told_ends));
	assert_int_equal(t.sides[HOST].bytes[0], 3000000);
	assert_int_equal(t.sides[VISITOR].bytes[1], 3000000);
	finish(&t);
}

static void without_direct_paths_it_goes_through_the_pipe(void **state)
{
	struct test t = { 0 };
	struct addr at;

	(void)state;
	begin(&t, CHILD_F_NO_DIRECT);
	at = visit(&t, SOCK_STREAM);
	open_link(&t, 100);
	assert_true(wait_for(&t, up_relayed));
	talk_begin(&t, &at, 2000000);
	assert_true(wait_for(&t, talked));
	talk_end();
	finish(&t);
}

static void a_pipe_that_breaks_in_the_middle_is_replaced(void **state)
{
	struct test t = { 0 };
	struct addr at;

	(void)state;
	begin(&t, CHILD_F_NO_DIRECT);
	at = visit(&t, SOCK_STREAM);
	open_link(&t, 0);
	assert_true(wait_for(&t, up_relayed));
	talk_begin(&t, &at, 20000000);
	assert_true(wait_for(&t, well_under_way));
	assert_int_equal(shutdown(t.pipes[0], SHUT_RDWR), 0);
	assert_true(wait_for(&t, talked));
	assert_true(t.sides[VISITOR].carriers >= 2);
	talk_end();
	finish(&t);
}

static bool refused(struct test *t)
{
	step();
	return t->sides[VISITOR].refused && talk.reset[0];
}

static void what_the_host_does_not_allow_is_refused_with_its_reason(void **state)
{
	struct test t = { .no_relay = true, .refuse = true };
	struct addr at;

	(void)state;
	begin(&t, 0);
	at = visit(&t, SOCK_STREAM);
	open_link(&t, 200);
	talk_begin(&t, &at, 100);
	assert_true(wait_for(&t, refused));
	assert_string_equal(t.sides[VISITOR].why, "not for you");
	assert_true(talk.b < 0);
	talk_end();
	talk_begin(&t, &at, 100); /* and where nobody listens */
	closep(&talk.listener);
	t.refuse = false;
	t.sides[VISITOR].refused = 0;
	assert_true(wait_for(&t, refused));
	assert_non_null(strstr(t.sides[VISITOR].why, "Connection refused"));
	talk_end();
	finish(&t);
}

static void a_reset_is_passed_on_as_one(void **state)
{
	struct test t = { .no_relay = true };
	struct addr at;

	(void)state;
	begin(&t, 0);
	at = visit(&t, SOCK_STREAM);
	open_link(&t, 200);
	talk_begin(&t, &at, 50000000);
	assert_true(wait_for(&t, well_under_way));
	socket_reset(talk.b);
	talk.b = 0; /* nobody, but not to be accepted again */
	talk.hold_b = true;
	assert_true(wait_for(&t, a_reset));
	talk.b = -1;
	talk_end();
	finish(&t);
}

static bool link_gone(struct test *t)
{
	step();
	return t->sides[0].gone && t->sides[1].gone && talk.reset[0];
}

static void the_end_of_a_link_is_told_and_resets_its_connections(void **state)
{
	struct test t = { .no_relay = true };
	struct addr at;

	(void)state;
	begin(&t, 0);
	at = visit(&t, SOCK_STREAM);
	open_link(&t, 200);
	talk_begin(&t, &at, 50000000);
	assert_true(wait_for(&t, well_under_way));
	assert_int_equal(channel_send(t.sides[HOST].channel, CHILD_LINK_CLOSE, &(struct child_link){ .link = LINK, .text = text_of("enough") }), 0);
	assert_true(wait_for(&t, link_gone));
	assert_string_equal(t.sides[HOST].gone_why, "enough");
	assert_string_equal(t.sides[VISITOR].gone_why, "the other agent ended the link: enough");
	talk_end();
	finish(&t);
}

/* ---- a visitor that has said all, and is slow to read the answer ---- */

enum { ANSWER = 4500000, SMALL = 4096 };

static bool answered_and_told(struct test *t)
{
	uint8_t p[16384];
	ssize_t r;

	if (talk.b < 0 && !talk.shut[1])
		talk.b = accept4(talk.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (talk.b >= 0 && !talk.ended[1])
		talk.ended[1] = recv(talk.b, p, sizeof(p), MSG_DONTWAIT) == 0;
	while (talk.b >= 0 && talk.ended[1] && talk.sent[1] < ANSWER) {
		size_t n = MIN(sizeof(p), ANSWER - talk.sent[1]);

		for (size_t i = 0; i < n; i++)
			p[i] = byte_at(1, talk.sent[1] + i);
		r = send(talk.b, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r < 0)
			break;
		talk.sent[1] += (size_t)r;
	}
	if (talk.sent[1] == ANSWER && talk.b >= 0) {
		talk.shut[1] = true;
		closep(&talk.b);
	}
	return t->sides[HOST].streams_ended == 1; /* so the visitor's engine has all */
}

/* All has crossed, both ways have ended, and a's socket has taken as much as it can. */
static void answer_a_slow_reader(struct test *t)
{
	int small = SMALL;
	struct addr at;

	begin(t, 0);
	at = visit(t, SOCK_STREAM);
	open_link(t, 200);
	assert_true(wait_for(t, up_direct));
	talk = (struct talk){ .a = -1, .b = -1 };
	talk.listener = bound(SOCK_STREAM, &t->target);
	talk.a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(talk.a >= 0);
	assert_int_equal(setsockopt(talk.a, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	assert_int_equal(connect(talk.a, &at.sa, addr_len(&at)), 0);
	assert_int_equal(send(talk.a, "?", 1, MSG_NOSIGNAL), 1);
	assert_int_equal(shutdown(talk.a, SHUT_WR), 0);
	assert_true(wait_for(t, answered_and_told));
}

static bool all_is_read(struct test *t)
{
	uint8_t p[65536];
	ssize_t r;

	(void)t;
	while ((r = recv(talk.a, p, sizeof(p), MSG_DONTWAIT)) > 0) {
		for (ssize_t i = 0; i < r; i++)
			if (p[i] != byte_at(1, talk.got[0] + (size_t)i))
				fail_msg("byte %zu is another one", talk.got[0] + (size_t)i);
		talk.got[0] += (size_t)r;
	}
	talk.ended[0] = r == 0;
	talk.reset[0] = r < 0 && errno != EAGAIN;
	return talk.ended[0] || talk.reset[0];
}

static void who_reads_the_answer_late_gets_all_of_it(void **state)
{
	struct test t = { .no_relay = true };

	(void)state;
	answer_a_slow_reader(&t);
	assert_int_equal(t.sides[VISITOR].streams_ended, 0);
	assert_true(wait_for(&t, all_is_read));
	assert_int_equal(talk.got[0], ANSWER);
	assert_true(talk.ended[0]);
	assert_true(wait_for(&t, told_ends));
	assert_int_equal(t.sides[VISITOR].bytes[1], ANSWER);
	talk_end();
	finish(&t);
}

static void the_end_of_a_visit_resets_who_has_not_read_all(void **state)
{
	struct test t = { .no_relay = true };

	(void)state;
	answer_a_slow_reader(&t);
	assert_int_equal(channel_send(t.sides[VISITOR].channel, CHILD_UNLISTEN,
				      &(struct child_visit){ .visit = VISIT }),
			 0);
	assert_true(wait_for(&t, told_ends));
	assert_string_equal(t.sides[VISITOR].why, "the visit was ended");
	assert_true(wait_for(&t, all_is_read));
	assert_true(talk.reset[0] && talk.got[0] < ANSWER);
	talk_end();
	finish(&t);
}

static void an_engine_ends_with_an_answer_that_is_not_read(void **state)
{
	struct test t = { .no_relay = true };

	(void)state;
	answer_a_slow_reader(&t);
	finish(&t);
	assert_true(all_is_read(NULL));
	assert_true(talk.reset[0]);
	talk_end();
}

static int udp_a = -1, udp_b = -1;
static unsigned udp_back;
static struct addr udp_at;

static bool datagrams_came_back(struct test *t)
{
	static unsigned round;
	static uint8_t p[65536], q[65536];
	struct sockaddr_storage from;
	socklen_t n = sizeof(from);
	ssize_t r;

	(void)t;
	if (round++ % 20 == 0) { /* they may be lost: said again */
		memset(p, 0x5c, 9000);
		(void)sendto(udp_a, p, 100, 0, &udp_at.sa, addr_len(&udp_at));
		(void)sendto(udp_a, p, 9000, 0, &udp_at.sa, addr_len(&udp_at));
	}
	while ((r = recvfrom(udp_b, q, sizeof(q), 0, (struct sockaddr *)&from, &n)) > 0)
		(void)sendto(udp_b, q, (size_t)r, 0, (struct sockaddr *)&from, n);
	while ((r = recv(udp_a, q, sizeof(q), 0)) > 0) {
		assert_true(r == 100 || r == 9000);
		for (ssize_t i = 0; i < r; i++)
			assert_int_equal(q[i], 0x5c);
		udp_back |= r == 100 ? 1 : 2;
	}
	return udp_back == 3;
}

static void datagrams_cross_and_come_back_long_ones_too(void **state)
{
	struct test t = { .no_relay = true };
	struct addr mine;

	(void)state;
	begin(&t, 0);
	udp_at = visit(&t, SOCK_DGRAM);
	open_link(&t, 200);
	udp_a = bound(SOCK_DGRAM, &mine);
	udp_b = bound(SOCK_DGRAM, &t.target);
	assert_true(wait_for(&t, datagrams_came_back));
	assert_int_equal(t.sides[HOST].admits, 1);
	closep(&udp_a);
	closep(&udp_b);
	finish(&t);
}

/* ---- a host by hand: it answers, and sends what it has to say when the test says so ---- */

struct hand {
	struct peer_link *l;
	struct peer_link_ops ops;
	struct quic_creds *creds;
	struct chunk_pool pool;
	struct quic_stream *s;
	uint8_t head[STREAM_HEAD_MAX];
	size_t head_n;
	bool answered, ended, hold; /* ended: the visitor's way */
	uint32_t flow;
	unsigned datagrams;
};

static uint64_t hand_clock(void *arg)
{
	(void)arg;
	return clock_steady_ns();
}

static void hand_pipe(struct test *t, int fd)
{
	struct path *p;

	assert_int_equal(path_framed_new(t->loop, PATH_RELAY, fd, &p), 0);
	assert_int_equal(peer_link_add_path(t->hand->l, p), 0);
}

static void hand_opened(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	struct hand *h = arg;

	(void)q;
	h->s = s;
	h->flow = (uint32_t)(s->id / 4 + 1);
}

static void hand_data(struct quic_conn *q, struct quic_stream *s, const uint8_t *p, size_t n, bool fin, void *arg)
{
	struct hand *h = arg;
	uint8_t out[STREAM_ANSWER_MAX];
	struct stream_head head;
	size_t used;

	assert_true(n <= sizeof(h->head) - h->head_n);
	for (size_t i = 0; i < n; i++)
		h->head[h->head_n++] = p[i];
	h->ended |= fin;
	quic_stream_consumed(q, s, n);
	if (h->answered || stream_head_parse(h->head, h->head_n, &head, &used) < 0)
		return;
	assert_int_equal(head.kind, WIRE_JOB_UDP);
	h->answered = true;
	assert_int_equal(quic_stream_write(q, s, out, stream_answer_write(&(struct stream_answer){ .reason = 0 }, out)), 0);
}

static void hand_code(struct quic_conn *q, struct quic_stream *s, uint64_t code, void *arg)
{
	(void)q;
	(void)s;
	(void)code;
	(void)arg;
}

static void hand_stream(struct quic_conn *q, struct quic_stream *s, void *arg)
{
	(void)q;
	(void)s;
	(void)arg;
}

static void hand_datagram(struct quic_conn *q, const uint8_t *p, size_t n, void *arg)
{
	(void)q;
	(void)p;
	(void)n;
	((struct hand *)arg)->datagrams++;
}

static void hand_link(struct peer_link *l, void *arg)
{
	(void)l;
	(void)arg;
}

static void hand_lost(struct peer_link *l, enum path_kind kind, void *arg)
{
	(void)l;
	(void)kind;
	(void)arg;
}

static void hand_pong(struct peer_link *l, uint64_t cookie, enum path_kind kind, void *arg)
{
	(void)l;
	(void)cookie;
	(void)kind;
	(void)arg;
}

static void hand_step(struct hand *h)
{
	if (h->hold)
		return;
	if (peer_link_deadline(h->l) <= hand_clock(NULL))
		peer_link_tick(h->l);
	peer_link_flush(h->l);
}

static void hand_begin(struct test *t, struct hand *h)
{
	static const struct quic_ops quic = { .opened = hand_opened, .data = hand_data, .room = hand_stream, .reset = hand_code, .stopped = hand_code,
					      .closed = hand_stream, .datagram = hand_datagram };
	struct peer_link_options o = { .peer = *identity_hash(t->sides[VISITOR].id), .pool = &h->pool, .clock = hand_clock, .ops = &h->ops };

	t->hand = h;
	h->ops = (struct peer_link_ops){ .changed = hand_link, .down = hand_link, .want_relay = hand_link, .lost = hand_lost, .pong = hand_pong,
					 .dirty = hand_link, .quic = &quic, .quic_arg = h, .arg = h };
	assert_int_equal(quic_creds_of(t->sides[HOST].id, &h->creds), 0);
	memset(o.dcid, 0x77, sizeof(o.dcid));
	o.creds = h->creds;
	assert_int_equal(peer_link_new(&o, &h->l), 0);
}

static void hand_end(struct hand *h)
{
	peer_link_free(h->l);
	quic_creds_free(h->creds);
	chunk_pool_trim(&h->pool);
}

static bool hand_has_a_flow(struct test *t)
{
	(void)sendto(udp_a, "x", 1, 0, &udp_at.sa, addr_len(&udp_at));
	hand_step(t->hand);
	return t->hand->answered && t->hand->datagrams;
}

static bool both_have_ended(struct test *t)
{
	hand_step(t->hand);
	t->hand->hold = true;
	return t->hand->ended;
}

static bool is_alive(struct test *t)
{
	hand_step(t->hand);
	return t->sides[VISITOR].alive;
}

static bool visitor_told_the_end(struct test *t)
{
	hand_step(t->hand);
	return t->sides[VISITOR].streams_ended == 1;
}

/* The visit ends while the flow is still QUIC's: then a late datagram comes, and what closes the stream. */
static void a_flow_that_has_ended_outlives_its_listener(void **state)
{
	struct test t = { 0 };
	struct hand h = { 0 };
	uint8_t late[FLOW_HEAD + 4] = { 0 };
	struct addr mine;

	(void)state;
	begin(&t, CHILD_F_NO_DIRECT);
	hand_begin(&t, &h);
	udp_at = visit(&t, SOCK_DGRAM);
	udp_a = bound(SOCK_DGRAM, &mine);
	open_link_of(&t, VISITOR, 0);
	assert_true(wait_for(&t, hand_has_a_flow));
	quic_stream_finish(peer_link_quic(h.l), h.s);
	assert_true(wait_for(&t, both_have_ended));
	assert_int_equal(channel_send(t.sides[VISITOR].channel, CHILD_UNLISTEN, &(struct child_visit){ .visit = VISIT }), 0);
	assert_int_equal(channel_send(t.sides[VISITOR].channel, CHILD_PROBE, &(struct child_nothing){ 0 }), 0);
	assert_true(wait_for(&t, is_alive));
	assert_int_equal(t.sides[VISITOR].streams_ended, 0);
	flow_head_write(&(struct flow_head){ .flow = h.flow, .number = 1, .parts = 1 }, late);
	assert_int_equal(quic_datagram_send(peer_link_quic(h.l), late, sizeof(late)), 0);
	h.hold = false;
	assert_true(wait_for(&t, visitor_told_the_end));
	closep(&udp_a);
	hand_end(&h);
	finish(&t);
}

static bool ponged(struct test *t)
{
	return t->sides[VISITOR].pongs == 1;
}

static void a_ping_comes_back(void **state)
{
	struct test t = { .no_relay = true };

	(void)state;
	begin(&t, 0);
	open_link(&t, 200);
	assert_true(wait_for(&t, up_direct));
	assert_int_equal(channel_send(t.sides[VISITOR].channel, CHILD_PING, &(struct child_ping){ .link = LINK, .cookie = 99 }), 0);
	assert_true(wait_for(&t, ponged));
	finish(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_crosses_a_direct_path_byte_by_byte),
		cmocka_unit_test(without_direct_paths_it_goes_through_the_pipe),
		cmocka_unit_test(a_pipe_that_breaks_in_the_middle_is_replaced),
		cmocka_unit_test(what_the_host_does_not_allow_is_refused_with_its_reason),
		cmocka_unit_test(a_reset_is_passed_on_as_one),
		cmocka_unit_test(the_end_of_a_link_is_told_and_resets_its_connections),
		cmocka_unit_test(who_reads_the_answer_late_gets_all_of_it),
		cmocka_unit_test(the_end_of_a_visit_resets_who_has_not_read_all),
		cmocka_unit_test(an_engine_ends_with_an_answer_that_is_not_read),
		cmocka_unit_test(datagrams_cross_and_come_back_long_ones_too),
		cmocka_unit_test(a_flow_that_has_ended_outlives_its_listener),
		cmocka_unit_test(a_ping_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
