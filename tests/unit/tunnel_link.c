/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel from end to end in one process: server, agent, and a line between them that is cut, or falls silent, in
 * mid-transfer. Every byte is compared.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "tests/unit/tunnel_world.h"
#include "tunnel/server/metrics.h"

static void say(int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n) {
		ssize_t r = send(fd, at, n, MSG_NOSIGNAL);

		if (r <= 0)
			fail_msg("send: %s", strerror(errno));
		at += r;
		n -= (size_t)r;
	}
}

static void ask_download(int fd, uint32_t n)
{
	uint8_t ask[5] = { 'D' };

	memcpy(ask + 1, &n, 4);
	say(fd, ask, sizeof(ask));
}

/* Reads n bytes of the pattern, from offset on. */
static void compare(int fd, uint64_t offset, size_t n)
{
	uint8_t buf[65536];

	while (n) {
		ssize_t r = recv(fd, buf, MIN(n, sizeof(buf)), 0);

		if (r <= 0)
			fail_msg("%zu bytes are missing: %s", n, r ? strerror(errno) : "end");
		for (ssize_t i = 0; i < r; i++)
			if (buf[i] != world_byte(offset + (uint64_t)i))
				fail_msg("byte %llu is wrong",
					 (unsigned long long)(offset + (uint64_t)i));
		offset += (uint64_t)r;
		n -= (size_t)r;
	}
}

static void expect_end(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, 0), 0);
}

static void bytes_come_back_and_both_ends_end(void **state)
{
	struct world *w = world_new(&(struct world_options){ 0 });
	int fd = world_client(w);
	char back[6] = "";

	(void)state;
	say(fd, "Ehello", 6);
	assert_int_equal(recv(fd, back, 5, MSG_WAITALL), 5);
	assert_string_equal(back, "hello");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	expect_end(fd);
	close(fd);
	world_free(w);
}

static void one_way_ends_and_the_other_goes_on(void **state)
{
	struct world *w = world_new(&(struct world_options){ 0 });
	int fd = world_client(w);
	static const uint8_t zeroes[100000];

	(void)state;
	say(fd, "H", 1);
	expect_end(fd); /* the target has said its last; we go on */
	say(fd, zeroes, sizeof(zeroes));
	close(fd);
	for (unsigned i = 0; i < 2000 && world_read(w) != sizeof(zeroes); i++)
		(void)poll(NULL, 0, 5);
	assert_int_equal(world_read(w), sizeof(zeroes));
	world_free(w);
}

static void a_reset_is_passed_on_as_a_reset(void **state)
{
	struct world *w = world_new(&(struct world_options){ 0 });
	const struct linger now = { .l_onoff = 1 };
	int fd = world_client(w);
	char c;

	(void)state;
	say(fd, "R", 1);
	assert_int_equal(recv(fd, &c, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(fd);
	fd = world_client(w);
	say(fd, "H", 1);
	expect_end(fd);
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	for (unsigned i = 0; i < 2000 && world_read(w) != UINT64_MAX; i++)
		(void)poll(NULL, 0, 5);
	assert_true(world_read(w) == UINT64_MAX); /* the target saw a reset, too */
	world_free(w);
}

/* Cuts one connection of the line after the other while the test reads. */
struct cutter {
	struct world *w;
	pthread_t thread;
	bool all;
	_Atomic bool stop;
	_Atomic unsigned cuts;
};

static void *cutter_main(void *arg)
{
	struct cutter *c = arg;

	while (!c->stop) {
		(void)poll(NULL, 0, c->all ? 400 : 60);
		if (c->all)
			world_cut_all(c->w);
		else
			world_cut_one(c->w, c->cuts * 7);
		c->cuts++;
	}
	return NULL;
}

static void begin_cutting(struct cutter *c, struct world *w, bool all)
{
	*c = (struct cutter){ .w = w, .all = all };
	assert_int_equal(pthread_create(&c->thread, NULL, cutter_main, c), 0);
}

/* While there is still something to carry. */
static void wait_for_cuts(const struct cutter *c)
{
	for (unsigned i = 0; i < 4000 && c->cuts <= 2; i++)
		(void)poll(NULL, 0, 5);
	assert_true(c->cuts > 2);
}

static void end_cutting(struct cutter *c)
{
	c->stop = true;
	pthread_join(c->thread, NULL);
}

static void a_download_survives_carriers_that_are_killed(void **state)
{
	enum { N = 40 << 20 };
	struct world *w = world_new(&(struct world_options){ .workers = 2 });
	struct cutter c;
	int fd = world_client(w);

	(void)state;
	ask_download(fd, N);
	compare(fd, 0, 1000);
	begin_cutting(&c, w, false);
	compare(fd, 1000, N / 2);
	wait_for_cuts(&c);
	compare(fd, 1000 + N / 2, N / 2 - 1000);
	end_cutting(&c);
	expect_end(fd);
	close(fd);
	assert_int_equal(world_ended(w, true), 0);
	world_free(w);
}

static void an_upload_survives_the_loss_of_everything(void **state)
{
	enum { N = 24 << 20 };
	struct world *w = world_new(&(struct world_options){ 0 });
	uint8_t *all = malloc(N);
	uint32_t answer[2], sum = 0;
	struct cutter c;
	int fd = world_client(w);

	(void)state;
	assert_non_null(all);
	for (uint32_t i = 0; i < N; i++) {
		all[i] = world_byte(i);
		sum = sum * 31 + all[i];
	}
	say(fd, "U", 1);
	begin_cutting(&c, w, true);
	for (unsigned i = 0; i < 24; i++) {
		if (i == 23)
			wait_for_cuts(&c);
		say(fd, all + (i << 20), 1 << 20);
		(void)poll(NULL, 0, 40);
	}
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(recv(fd, answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
	end_cutting(&c);
	assert_int_equal(answer[0], N);
	assert_int_equal(answer[1], sum);
	close(fd);
	free(all);
	assert_int_equal(world_ended(w, true), 0);
	world_free(w);
}

static void connections_that_a_nat_forgets_are_found_within_seconds(void **state)
{
	enum { N = 24 << 20 };
	struct world *w = world_new(&(struct world_options){ 0 });
	int fd = world_client(w), other;
	struct timespec begin, end;
	char back[4] = "";

	(void)state;
	ask_download(fd, N);
	compare(fd, 0, 1000);
	world_freeze(w);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	other = world_client(w); /* is given a carrier that is dead, too */
	say(other, "Eyes", 4);
	compare(fd, 1000, N - 1000);
	expect_end(fd);
	assert_int_equal(recv(other, back, 3, MSG_WAITALL), 3);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true(end.tv_sec - begin.tv_sec < 25);
	assert_int_equal(world_ended(w, true), 0);
	close(other);
	close(fd);
	world_free(w);
}

/* Only the server sends: the agent would find out at its next, seldom, PING; the server tells it. */
static void an_upload_over_a_forgotten_connection_goes_on(void **state)
{
	struct world *w = world_new(&(struct world_options){ 0 });
	static uint8_t all[300000];
	uint32_t answer[2];
	int fd = world_client(w);

	(void)state;
	say(fd, "U", 1);
	say(fd, all, 1000);
	(void)poll(NULL, 0, 300);
	world_freeze_data(w);
	say(fd, all, sizeof(all));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	assert_int_equal(recv(fd, answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
	assert_int_equal(answer[0], 1000 + sizeof(all));
	assert_int_equal(world_ups(w), 1); /* the control connection was well all the time */
	close(fd);
	world_free(w);
}

static void who_does_not_read_stops_the_target(void **state)
{
	struct world *w = world_new(&(struct world_options){ .window = 1 << 20 });
	int fd = world_client(w), other;
	uint64_t last = 0;
	char back[4] = "";

	(void)state;
	say(fd, "S", 1);
	for (unsigned same = 0, i = 0; same < 40 && i < 4000; i++) {
		(void)poll(NULL, 0, 10);
		same = world_sent(w) == last && last ? same + 1 : 0;
		last = world_sent(w);
	}
	assert_true(last < 40 << 20); /* sockets' buffers on the way, and a window */
	other = world_client(w);      /* and does not stop the others */
	say(other, "Eyes", 4);
	assert_int_equal(recv(other, back, 3, MSG_WAITALL), 3);
	close(other);
	close(fd);
	world_free(w);
}

static void a_browser_opens_thirty_at_once(void **state)
{
	struct world *w = world_new(&(struct world_options){ .workers = 2 });
	int fds[30];

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 30; i++) {
			fds[i] = world_client(w);
			ask_download(fds[i], 20000 + i);
		}
		for (unsigned i = 0; i < 30; i++) {
			compare(fds[i], 0, 20000 + i);
			expect_end(fds[i]);
			close(fds[i]);
		}
	}
	world_free(w);
}

static bool is_up_again(struct world *w)
{
	return world_ups(w) >= 2;
}

/* With what was said of it still readable when the data connection itself has been freed. */
static void a_server_that_stops_tells_each_data_connection(void **state)
{
	struct world *w = world_new(&(struct world_options){ .workers = 2 });
	int fd[3];
	char c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
		fd[i] = world_client(w);
		say(fd[i], "Ea", 2);
		assert_int_equal(recv(fd[i], &c, 1, 0), 1);
	}
	assert_int_equal(world_stop_server(w), ARRAY_LEN(fd));
	for (size_t i = 0; i < ARRAY_LEN(fd); i++)
		close(fd[i]);
	world_free(w);
}

static void a_restarted_agent_gets_its_link_back(void **state)
{
	struct world *w = world_new(&(struct world_options){ 0 });
	uint16_t port = world_port(w);
	int fd = world_client(w);
	char c;

	(void)state;
	say(fd, "E", 1);
	world_agent_restart(w);
	world_wait(w, is_up_again, "the agent is welcome again");
	assert_true(recv(fd, &c, 1, 0) <= 0); /* its data connections have ended */
	close(fd);
	assert_int_equal(world_port(w), port);
	fd = world_client(w);
	say(fd, "Ea", 2);
	assert_int_equal(recv(fd, &c, 1, 0), 1);
	close(fd);
	world_free(w);
}

static void a_copied_key_is_refused_while_the_first_answers(void **state)
{
	struct world *w = world_new(&(struct world_options){ .workers = 2 });
	struct agent_info first, second;

	(void)state;
	(void)world_port(w);
	world_agent_copy(w);
	for (unsigned i = 0; i < 2000; i++) {
		world_copy_info(w, &second);
		if (second.state == AGENT_WAITING && second.why[0])
			break;
		(void)poll(NULL, 0, 5);
	}
	assert_non_null(strstr(second.why, "another process uses the same key"));
	assert_true(second.retry_in_ms > 30000); /* no war */
	world_agent_info(w, &first);
	assert_int_equal(first.state, AGENT_UP);
	assert_int_equal(first.reconnects, 0);
	assert_int_equal(world_ups(w), 1);
	world_free(w);
}

static bool one_is_lost(struct world *w)
{
	return world_ended(w, true) == 1;
}

static void where_nothing_is_resumed_a_lost_connection_ends_its_own(void **state)
{
	struct world *w = world_new(&(struct world_options){ .resume_ms = WORLD_NO_RESUME });
	int fd = world_client(w);
	char c;

	(void)state;
	say(fd, "Ea", 2);
	assert_int_equal(recv(fd, &c, 1, 0), 1);
	world_cut_all(w);
	world_wait(w, one_is_lost, "the data connection has ended");
	close(fd);
	world_free(w);
}

static void a_reload_holds_for_a_link_that_connects_again(void **state)
{
	struct world *w = world_new(&(struct world_options){ 0 });

	(void)state;
	(void)world_port(w);
	world_configure(w, 5000);
	world_cut_all(w);
	world_wait(w, is_up_again, "the agent is welcome again");
	assert_int_equal(world_link_resume_ms(w), 5000); /* as it was told */
	world_free(w);
}

static void who_never_comes_back_is_given_up(void **state)
{
	struct world *w = world_new(&(struct world_options){ .resume_ms = 300 });
	int fd = world_client(w);
	char c;

	(void)state;
	say(fd, "Ea", 2);
	assert_int_equal(recv(fd, &c, 1, 0), 1);
	world_silence(w, true);
	world_cut_all(w);
	assert_int_equal(recv(fd, &c, 1, 0), -1); /* a reset: bytes may be missing */
	close(fd);
	world_free(w);
}

static void datagrams_go_there_and_back(void **state)
{
	static const size_t sizes[] = { 1400, 1, 9000, 60000, 0, 1400 };
	struct world *w = world_new(&(struct world_options){ .udp = true });
	struct pollfd p = { .fd = world_client(w), .events = POLLIN };
	static char out[60000], back[65536];
	unsigned at = 0;

	(void)state;
	memset(out, 'x', sizeof(out));
	for (; at < ARRAY_LEN(sizes); at++) { /* the first one, too, which comes before there is a target */
		assert_int_equal(send(p.fd, out, sizes[at], 0), sizes[at]);
		assert_int_equal(poll(&p, 1, 15000), 1);
		assert_int_equal(recv(p.fd, back, sizeof(back), 0), sizes[at]);
		assert_memory_equal(back, out, sizes[at]);
	}
	close(p.fd);
	world_free(w);
}

static void a_visitor_does_not_notice_a_reconnection(void **state)
{
	struct world *w = world_new(&(struct world_options){ 0 });
	char back[4] = "";
	int fd;

	(void)state;
	(void)world_port(w);
	for (unsigned i = 0; i < 5; i++) {
		world_cut_all(w);
		(void)poll(NULL, 0, (int)i * 40);
		fd = world_client(w); /* while the control connection is lost, or just back */
		say(fd, "Eyes", 4);
		assert_int_equal(recv(fd, back, 3, MSG_WAITALL), 3);
		assert_string_equal(back, "yes");
		close(fd);
	}
	world_free(w);
}

static void plain_carriers_are_tried_again_until_they_are_there(void **state)
{
	struct world *w = world_new(&(struct world_options){ .plain = true, .plain_refused = 4 });
	int fd = world_client(w);
	char c;

	(void)state;
	say(fd, "Ea", 2);
	assert_int_equal(recv(fd, &c, 1, 0), 1);
	close(fd);
	world_free(w);
}

static void plain_data_connections_are_joined_and_spliced(void **state)
{
	enum { N = 20 << 20 };
	struct world *w = world_new(&(struct world_options){ .plain = true, .workers = 2 });
	int fds[12];
	char back[6] = "";
	char c;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = world_client(w);
		say(fds[i], "Ehello", 6);
	}
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
		assert_int_equal(recv(fds[i], back, 5, MSG_WAITALL), 5);
		assert_string_equal(back, "hello");
		assert_int_equal(shutdown(fds[i], SHUT_WR), 0);
		expect_end(fds[i]);
		close(fds[i]);
	}
	fds[0] = world_client(w);
	ask_download(fds[0], N);
	compare(fds[0], 0, N);
	expect_end(fds[0]);
	close(fds[0]);
	fds[0] = world_client(w);
	say(fds[0], "R", 1);
	assert_int_equal(recv(fds[0], &c, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(fds[0]);
	assert_true(metric_sum(tunnel_server_metrics(world_server(w)), 1, 2) >=
		    14); /* stile_tunnel_arrived_total, plain */
	/* Nobody resumes these. */
	fds[0] = world_client(w);
	say(fds[0], "Ea", 2);
	assert_int_equal(recv(fds[0], &c, 1, 0), 1);
	world_cut_all(w);
	assert_true(recv(fds[0], &c, 1, 0) <= 0);
	close(fds[0]);
	world_free(w);
}

static void what_passed_last_over_a_plain_carrier_is_counted_when_it_is_ended(void **state)
{
	enum { N = 1 << 20 };
	struct world *w = world_new(&(struct world_options){ .plain = true });
	int fd = world_client(w);

	(void)state;
	ask_download(fd, N);
	compare(fd, 0, N);
	assert_int_equal(world_stop_server(w), 1);
	assert_int_equal(world_told(w, DATA_UP), 5);
	assert_int_equal(world_told(w, DATA_DOWN), N);
	close(fd);
	world_free(w);
}

static enum agent_state state_of(struct world *w)
{
	struct agent_info i;

	world_agent_info(w, &i);
	return i.state;
}

static void who_waits_for_approval_is_no_stranger_and_who_waits_for_nothing_is_turned_away(void **state)
{
	struct world *w =
		world_new(&(struct world_options){ .judge = WORLD_LETS_WAIT, .hello_ms = 2500 });
	const unsigned slow = 6;

	(void)state;
	for (unsigned i = 0; i < 4000 && state_of(w) != AGENT_PENDING; i++)
		(void)poll(NULL, 0, 5);
	(void)poll(NULL, 0, 3500); /* longer than a stranger may take */
	assert_int_equal(state_of(w), AGENT_PENDING);
	assert_int_equal(metric_sum(tunnel_server_metrics(world_server(w)), 1, slow), 0);
	world_free(w);

	w = world_new(&(struct world_options){ .judge = WORLD_IS_MUTE, .hello_ms = 1500 });
	for (unsigned i = 0;
	     i < 4000 && !metric_sum(tunnel_server_metrics(world_server(w)), 1, slow); i++)
		(void)poll(NULL, 0, 5);
	assert_true(metric_sum(tunnel_server_metrics(world_server(w)), 1, slow) > 0);
	world_free(w);
}

static void garbage_from_a_port_scanner_is_counted(void **state)
{
	static const char *const things[] = { "GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n",
					      "\x16\x03\x01zzzzzzzzzzzzzzzzzzzz", "sTpl" };
	struct world *w = world_new(&(struct world_options){ 0 });
	struct metrics *m = tunnel_server_metrics(world_server(w));
	int64_t n = 0;

	(void)state;
	(void)world_port(w);
	for (size_t i = 0; i < ARRAY_LEN(things); i++) {
		struct addr to = addr_v4(0x7f000001, world_server_port(w));
		const struct timeval limit = { .tv_sec = 20 };
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		char c[64];

		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		assert_int_equal(connect(fd, &to.sa, addr_len(&to)), 0);
		assert_int_equal(send(fd, things[i], strlen(things[i]), MSG_NOSIGNAL),
				 strlen(things[i]));
		while (recv(fd, c, sizeof(c), 0) > 0)
			; /* an alert, or nothing; and the end */
		assert_true(errno != EAGAIN);
		close(fd);
	}
	for (unsigned i = 0; i < 4000 && n < (int64_t)ARRAY_LEN(things); i++) {
		n = metric_sum(m, 1 /* stile_tunnel_arrived_total */, 3) + metric_sum(m, 1, 4) +
		    metric_sum(m, 1, 5) + metric_sum(m, 1, 6);
		(void)poll(NULL, 0, 5);
	}
	assert_int_equal(n, ARRAY_LEN(things));
	world_free(w);
}

static void tell(SSL *ssl, unsigned type, const void *msg)
{
	uint8_t frame[WIRE_HEAD + WIRE_EARLY_MAX];
	struct wr b = wr_init(frame, sizeof(frame));

	wire_write(&b, type, msg);
	assert_false(b.failed);
	(void)SSL_write(ssl, frame, (int)wr_len(&b)); /* the other side may have closed */
}

/* It is closed, and not only silent. */
static void expect_closed(SSL *ssl)
{
	char c[512];
	int r;

	do {
		r = SSL_read(ssl, c, sizeof(c));
	} while (r > 0);
	assert_int_not_equal(SSL_get_error(ssl, r), SSL_ERROR_WANT_READ);
}

/* Nobody answers its HELLO: what it says meanwhile would wait in the main thread's mail. */
static void who_says_more_than_a_login_takes_is_turned_away(void **state)
{
	struct world *w = world_new(&(struct world_options){ .judge = WORLD_IS_MUTE, .hello_ms = 60000 });
	static const uint8_t instance[WIRE_INSTANCE] = { 7 };
	const struct wire_hello hello = { .version = WIRE_VERSION,
					  .purpose = WIRE_PURPOSE_CONTROL,
					  .instance = { instance, sizeof(instance) } };
	const struct wire_scram line = { TEXT("n,,n=x,r=y") };
	const struct wire_job_gone gone = { 1 };
	const struct {
		unsigned type;
		const void *msg;
		unsigned hellos, n;
	} rogues[] = { { WIRE_SCRAM, &line, 1, 9 },
		       { WIRE_SCRAM, &line, 0, 1 },
		       { WIRE_HELLO, &hello, 1, 1 },
		       { WIRE_JOB_GONE, &gone, 1, 1 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rogues); i++) {
		int fd;
		SSL *ssl = world_rogue(w, &fd);

		if (rogues[i].hellos)
			tell(ssl, WIRE_HELLO, &hello);
		for (unsigned n = 0; n < rogues[i].n; n++)
			tell(ssl, rogues[i].type, rogues[i].msg);
		expect_closed(ssl);
		SSL_free(ssl);
		close(fd);
	}
	world_free(w);
}

/* A carrier of the agent's that the agent knows nothing of. */
static SSL *rogue_carrier(struct world *w, uint8_t purpose, int *ret_fd)
{
	struct agent_info i;
	uint8_t instance[WIRE_INSTANCE];
	struct wire_hello hello = { .version = WIRE_VERSION, .purpose = purpose, .instance = { instance, sizeof(instance) } };
	SSL *ssl = world_rogue(w, ret_fd);

	world_agent_info(w, &i);
	memset(instance, 1, sizeof(instance));
	hello.session = i.session;
	tell(ssl, WIRE_HELLO, &hello);
	return ssl;
}

/* The reason of REFUSED; WIRE_R_NONE: it is welcome. */
static unsigned verdict(SSL *ssl)
{
	uint8_t buf[4096];
	union wire_msg m;
	int n = SSL_read(ssl, buf, sizeof(buf));

	assert_true(n >= WIRE_HEAD); /* the first record is the first frame */
	if (buf[0] == WIRE_WELCOME)
		return WIRE_R_NONE;
	assert_int_equal(buf[0], WIRE_REFUSED);
	assert_int_equal(wire_parse(WIRE_REFUSED, buf + WIRE_HEAD, (size_t)n - WIRE_HEAD, &m), WIRE_OK);
	return m.refused.reason;
}

static void hang_up(SSL *ssl, int fd)
{
	SSL_free(ssl);
	close(fd);
}

static struct wire_hello hello_of(const uint8_t instance[static WIRE_INSTANCE])
{
	return (struct wire_hello){ .version = WIRE_VERSION,
				    .purpose = WIRE_PURPOSE_CONTROL,
				    .instance = { instance, WIRE_INSTANCE } };
}

/* The agent is asked whether it lives once for both; its answer is for both. */
static void two_copies_of_a_key_at_once_are_refused_as_one_is(void **state)
{
	struct world *w = world_new(&(struct world_options){ .workers = 2 });
	SSL *ssl[2];
	int fd[2];

	(void)state;
	(void)world_port(w);
	world_silence(w, true);
	for (uint8_t i = 0; i < 2; i++) {
		uint8_t instance[WIRE_INSTANCE];
		const struct wire_hello hello = hello_of(instance);

		memset(instance, 0x70 + i, sizeof(instance));
		ssl[i] = world_rogue(w, &fd[i]);
		tell(ssl[i], WIRE_HELLO, &hello);
		(void)poll(NULL, 0, 200); /* until it is asked */
	}
	world_silence(w, false);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(verdict(ssl[i]), WIRE_R_IN_USE);
		hang_up(ssl[i], fd[i]);
	}
	assert_int_equal(world_ups(w), 1);
	world_free(w);
}

/* Whoever judges it has done so: what it remembered of the login is gone. */
static void a_login_that_goes_on_after_it_was_let_in_is_told_to_nobody(void **state)
{
	struct world *w = world_new(&(struct world_options){ 0 });
	static const uint8_t instance[WIRE_INSTANCE] = { 7 };
	const struct wire_hello hello = hello_of(instance);
	const struct wire_scram line = { TEXT("n,,n=x,r=y") };
	uint8_t frames[2 * (WIRE_HEAD + WIRE_EARLY_MAX)];
	struct wr b = wr_init(frames, sizeof(frames));
	SSL *ssl;
	int fd;

	(void)state;
	(void)world_port(w);
	ssl = world_rogue(w, &fd); /* let in, as soon as the agent that is there does not answer */
	wire_write(&b, WIRE_HELLO, &hello);
	wire_write(&b, WIRE_SCRAM, &line);
	assert_true(SSL_write(ssl, frames, (int)wr_len(&b)) > 0);
	assert_int_equal(verdict(ssl), WIRE_R_IN_USE);
	hang_up(ssl, fd);
	assert_int_equal(world_login_frames(w), 0);
	world_free(w);
}

/* HELLO and the end in one segment: it is let in, and is not there any more. */
static void say_hello_and_go(SSL *ssl, int fd, uint8_t instance_byte)
{
	const uint8_t instance[WIRE_INSTANCE] = { instance_byte };
	const struct wire_hello hello = hello_of(instance);
	const int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &one, sizeof(one));
	tell(ssl, WIRE_HELLO, &hello);
	hang_up(ssl, fd);
}

static bool knows_one(struct world *w)
{
	return world_known(w) == 1;
}

static bool knows_nobody(struct world *w)
{
	return world_known(w) == 0;
}

static void who_goes_before_its_welcome_leaves_no_place_behind(void **state)
{
	struct world *w = world_new(&(struct world_options){ .workers = 2, .resume_ms = 300 });

	(void)state;
	(void)world_port(w);
	for (unsigned i = 0; i < 8; i++) {
		int fd;
		SSL *ssl = world_stranger(w, &fd);

		say_hello_and_go(ssl, fd, 7);
	}
	world_wait(w, knows_one, "the server knows the agent that is there, and nobody else");
	world_free(w);
}

static void a_reconnection_that_is_lost_on_the_way_does_not_keep_the_place_of_its_link(void **state)
{
	struct world *w = world_new(&(struct world_options){ .workers = 2, .resume_ms = 300 });
	SSL *ssl;
	int fd;

	(void)state;
	(void)world_port(w);
	ssl = world_rogue(w, &fd);
	say_hello_and_go(ssl, fd, 1); /* as the agent's own process */
	(void)poll(NULL, 0, 200);
	world_silence(w, true);
	world_cut_all(w);
	world_wait(w, knows_nobody, "the link is over, and with it its place");
	world_free(w);
}

static bool has_its_carriers(struct world *w)
{
	struct agent_info i;

	world_agent_info(w, &i);
	return i.state == AGENT_UP && i.ready >= 2;
}

static void more_carriers_than_were_asked_for_are_refused(void **state)
{
	enum { MOST = 100 };
	struct world *w = world_new(&(struct world_options){ .workers = 2 });
	SSL *ssl[MOST];
	int fds[MOST];
	unsigned n = 0, reason = WIRE_R_NONE;

	(void)state;
	world_wait(w, has_its_carriers, "the agent has its carriers");
	while (n < MOST && reason == WIRE_R_NONE) {
		ssl[n] = rogue_carrier(w, WIRE_PURPOSE_CARRIER, &fds[n]);
		reason = verdict(ssl[n]);
		n++;
	}
	assert_int_equal(reason, WIRE_R_LIMIT);
	assert_in_range(n, 60, 70); /* two are asked for, and the agent has them */
	assert_int_equal(metric_sum(tunnel_server_metrics(world_server(w)), 1, 7 /* refused */), 1);
	while (n--)
		hang_up(ssl[n], fds[n]);
	world_free(w);
}

static void a_frame_at_the_wrong_time_is_refused_in_words(void **state)
{
	struct world *w = world_new(&(struct world_options){ 0 });
	const struct wire_ack ack = { 1, 2 }; /* of nothing */
	SSL *ssl;
	int fd;

	(void)state;
	world_wait(w, has_its_carriers, "the agent has its carriers");
	ssl = rogue_carrier(w, WIRE_PURPOSE_CARRIER, &fd);
	assert_int_equal(verdict(ssl), WIRE_R_NONE);
	tell(ssl, WIRE_ACK, &ack);
	assert_int_equal(verdict(ssl), WIRE_R_PROTOCOL);
	hang_up(ssl, fd);
	world_free(w);
}

static void the_carriers_of_all_agents_leave_descriptors_to_the_service(void **state)
{
	struct world *w = world_new(&(struct world_options){ .workers = 2, .carriers = 4 });
	SSL *ssl[4];
	int fds[4];

	(void)state;
	world_wait(w, has_its_carriers, "the agent has its carriers");
	for (unsigned i = 0; i < 3; i++) {
		ssl[i] = rogue_carrier(w, WIRE_PURPOSE_CARRIER, &fds[i]);
		assert_int_equal(verdict(ssl[i]), i < 2 ? WIRE_R_NONE : WIRE_R_LIMIT);
	}
	for (unsigned i = 0; i < 3; i++)
		hang_up(ssl[i], fds[i]);
	for (unsigned tries = 0, reason = WIRE_R_LIMIT; reason != WIRE_R_NONE; tries++) {
		assert_true(tries < 400); /* there is room again */
		ssl[3] = rogue_carrier(w, WIRE_PURPOSE_CARRIER, &fds[3]);
		reason = verdict(ssl[3]);
		hang_up(ssl[3], fds[3]);
		(void)poll(NULL, 0, 20);
	}
	world_free(w);
}

static void who_pings_and_never_says_what_it_resumes_is_closed(void **state)
{
	struct world *w = world_new(&(struct world_options){ .hello_ms = 3000 });
	const struct wire_ping p = { 1 };
	unsigned n = 0;
	char c[512];
	SSL *ssl;
	int fd;

	(void)state;
	world_wait(w, has_its_carriers, "the agent has its carriers");
	ssl = rogue_carrier(w, WIRE_PURPOSE_RESUME, &fd);
	assert_int_equal(verdict(ssl), WIRE_R_NONE);
	do {
		tell(ssl, WIRE_PING, &p);
		(void)poll(NULL, 0, 200);
	} while (SSL_read(ssl, c, sizeof(c)) > 0 && ++n < 100);
	assert_true(n < 100);
	hang_up(ssl, fd);
	world_free(w);
}

static int64_t strangers(struct world *w)
{
	return metric_sum(tunnel_server_metrics(world_server(w)), TUNNEL_M_STRANGERS, 0);
}

static int64_t beyond_the_limit(struct world *w)
{
	return metric_sum(tunnel_server_metrics(world_server(w)), TUNNEL_M_ARRIVED, TUNNEL_A_LIMIT);
}

/* With all the carriers that it wants. */
static bool agent_has_come(struct world *w)
{
	struct agent_info i;

	world_agent_info(w, &i);
	return i.state == AGENT_UP && i.ready && i.ready >= i.wanted && !strangers(w);
}

static bool forty_have_come(struct world *w)
{
	return strangers(w) + beyond_the_limit(w) == 40;
}

static bool no_strangers(struct world *w)
{
	return !strangers(w);
}

static bool one_stranger(struct world *w)
{
	return strangers(w) == 1;
}

static int silent_stranger(struct world *w)
{
	struct addr to = addr_v4(INADDR_LOOPBACK, world_server_port(w));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &to.sa, addr_len(&to)), 0);
	return fd;
}

/* The kernel gives the connections of one address to all workers. */
static void an_address_has_its_share_of_the_places_of_all_workers_together(void **state)
{
	struct world *w = world_new(&(struct world_options){
		.workers = 4, .strangers_per_source = 8, .hello_ms = 60000 });
	int fds[40];

	(void)state;
	world_wait(w, agent_has_come, "the agent is there");
	for (unsigned n = 0; n < ARRAY_LEN(fds); n++)
		fds[n] = silent_stranger(w);
	world_wait(w, forty_have_come, "all are counted");
	assert_int_equal(strangers(w), 8);
	for (unsigned n = 0; n < ARRAY_LEN(fds); n++)
		close(fds[n]);
	world_wait(w, no_strangers, "they have gone");
	fds[0] = silent_stranger(w);
	world_wait(w, one_stranger, "there is room again");
	close(fds[0]);
	world_free(w);
}

static bool is_pending(struct world *w)
{
	return state_of(w) == AGENT_PENDING;
}

static void of_one_address_four_wait_for_approval_in_all_workers_together(void **state)
{
	struct world *w = world_new(
		&(struct world_options){ .workers = 4, .judge = WORLD_LETS_WAIT, .hello_ms = 60000 });
	unsigned waiting = 1; /* the agent */
	SSL *ssl[16];
	int fd[16];

	(void)state;
	world_wait(w, is_pending, "the agent waits");
	for (uint8_t i = 0; i < ARRAY_LEN(fd); i++) {
		uint8_t instance[WIRE_INSTANCE], frame[4096];
		const struct wire_hello hello = hello_of(instance);

		memset(instance, 0x70 + i, sizeof(instance));
		ssl[i] = world_stranger(w, &fd[i]);
		tell(ssl[i], WIRE_HELLO, &hello);
		assert_true(SSL_read(ssl[i], frame, sizeof(frame)) >= WIRE_HEAD);
		assert_true(frame[0] == WIRE_PENDING || frame[0] == WIRE_REFUSED);
		waiting += frame[0] == WIRE_PENDING;
	}
	assert_int_equal(waiting, 4);
	for (unsigned i = 0; i < ARRAY_LEN(fd); i++)
		hang_up(ssl[i], fd[i]);
	world_free(w);
}

static bool is_revoked(struct world *w)
{
	struct agent_info i;

	world_agent_info(w, &i);
	return i.state == AGENT_WAITING && strstr(i.why, wire_reason_text(WIRE_R_REVOKED));
}

/* The order to end it may reach the link's worker before the agent does, which comes from another one. */
static void who_is_revoked_while_it_is_let_in_does_not_stay(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct world *w = world_new(&(struct world_options){ .workers = 4, .judge = WORLD_REVOKES });

		world_wait(w, is_revoked, "the agent is told that it is revoked");
		assert_int_equal(metric_sum(tunnel_server_metrics(world_server(w)), 2 /* links */, 0), 0);
		world_free(w);
	}
}

static bool two_are_left(struct world *w)
{
	struct agent_info i;

	world_agent_info(w, &i);
	return i.detached == 2 && i.streams == 2;
}

static void a_server_cannot_make_the_agent_keep_what_it_likes(void **state)
{
	struct world *w = world_new(&(struct world_options){ .detached = 2, .resume_ms = 24 * 3600 * 1000 });
	struct agent_info i;
	int fds[5];
	char c;

	(void)state;
	for (unsigned n = 0; n < ARRAY_LEN(fds); n++) {
		fds[n] = world_client(w);
		say(fds[n], "Ea", 2);
		assert_int_equal(recv(fds[n], &c, 1, 0), 1);
	}
	world_agent_info(w, &i);
	assert_int_equal(i.resume_ms, 10 * 60 * 1000);
	world_silence(w, true);
	world_cut_all(w);
	world_wait(w, two_are_left, "two data connections wait, the others have ended");
	for (unsigned n = 0; n < ARRAY_LEN(fds); n++)
		close(fds[n]);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_come_back_and_both_ends_end),
		cmocka_unit_test(one_way_ends_and_the_other_goes_on),
		cmocka_unit_test(a_reset_is_passed_on_as_a_reset),
		cmocka_unit_test(a_download_survives_carriers_that_are_killed),
		cmocka_unit_test(an_upload_survives_the_loss_of_everything),
		cmocka_unit_test(connections_that_a_nat_forgets_are_found_within_seconds),
		cmocka_unit_test(an_upload_over_a_forgotten_connection_goes_on),
		cmocka_unit_test(who_does_not_read_stops_the_target),
		cmocka_unit_test(a_browser_opens_thirty_at_once),
		cmocka_unit_test(a_server_that_stops_tells_each_data_connection),
		cmocka_unit_test(a_restarted_agent_gets_its_link_back),
		cmocka_unit_test(a_copied_key_is_refused_while_the_first_answers),
		cmocka_unit_test(two_copies_of_a_key_at_once_are_refused_as_one_is),
		cmocka_unit_test(a_login_that_goes_on_after_it_was_let_in_is_told_to_nobody),
		cmocka_unit_test(who_goes_before_its_welcome_leaves_no_place_behind),
		cmocka_unit_test(
			a_reconnection_that_is_lost_on_the_way_does_not_keep_the_place_of_its_link),
		cmocka_unit_test(where_nothing_is_resumed_a_lost_connection_ends_its_own),
		cmocka_unit_test(a_reload_holds_for_a_link_that_connects_again),
		cmocka_unit_test(who_never_comes_back_is_given_up),
		cmocka_unit_test(a_visitor_does_not_notice_a_reconnection),
		cmocka_unit_test(datagrams_go_there_and_back),
		cmocka_unit_test(plain_carriers_are_tried_again_until_they_are_there),
		cmocka_unit_test(plain_data_connections_are_joined_and_spliced),
		cmocka_unit_test(what_passed_last_over_a_plain_carrier_is_counted_when_it_is_ended),
		cmocka_unit_test(
			who_waits_for_approval_is_no_stranger_and_who_waits_for_nothing_is_turned_away),
		cmocka_unit_test(who_says_more_than_a_login_takes_is_turned_away),
		cmocka_unit_test(more_carriers_than_were_asked_for_are_refused),
		cmocka_unit_test(a_frame_at_the_wrong_time_is_refused_in_words),
		cmocka_unit_test(the_carriers_of_all_agents_leave_descriptors_to_the_service),
		cmocka_unit_test(who_pings_and_never_says_what_it_resumes_is_closed),
		cmocka_unit_test(an_address_has_its_share_of_the_places_of_all_workers_together),
		cmocka_unit_test(of_one_address_four_wait_for_approval_in_all_workers_together),
		cmocka_unit_test(who_is_revoked_while_it_is_let_in_does_not_stay),
		cmocka_unit_test(a_server_cannot_make_the_agent_keep_what_it_likes),
		cmocka_unit_test(garbage_from_a_port_scanner_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
