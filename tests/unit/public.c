/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One's own public address: what a round concludes from its servers' answers, on fake time; what is kept over the
 * rounds; and the watch with real sockets on loopback, names and all.
 */
#include "tests/unit/support.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/dgram.h"
#include "stun/msg.h"
#include "stun/public_watch.h"
#include "tests/unit/dns_server.h"

static struct addr at(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(text_of(s), 3478, &a), 0);
	return a;
}

/* ---- rounds, on fake time ---- */

enum { SERVERS = 3 };

struct world {
	struct timers *timers;
	struct public_round *round;
	struct addr server[SERVERS];
	uint8_t tid[SERVERS][STUN_TID_LEN];
	unsigned sent[SERVERS], done;
	uint64_t now;
	struct public_finding f;
};

static void on_send(const struct addr *to, const void *p, size_t n, void *arg)
{
	struct world *w = arg;
	struct stun_msg m;

	assert_int_equal(stun_parse(p, n, &m), STUN_OK);
	assert_int_equal(m.method, STUN_BINDING);
	for (unsigned i = 0; i < SERVERS; i++) {
		if (!addr_equal(&w->server[i], to))
			continue;
		w->sent[i]++;
		memcpy(w->tid[i], m.tid, STUN_TID_LEN);
	}
}

static void on_done(const struct public_finding *f, void *arg)
{
	struct world *w = arg;

	w->f = *f;
	w->done++;
	w->round = public_round_free(w->round);
}

static const struct public_round_ops ops = { .send = on_send, .done = on_done };

static void begin(struct world *w, const char *local, size_t n_servers)
{
	struct public_round_options o = { .ops = &ops, .arg = w, .local = at(local), .n_servers = n_servers };

	*w = (struct world){ .server = { at("203.0.113.10"), at("203.0.113.11"), at("203.0.113.12") }, .now = 1000 };
	w->timers = timers_new(w->now);
	o.timers = w->timers;
	o.servers = w->server;
	assert_int_equal(public_round_new(&o, w->now, &w->round), 0);
	assert_int_equal(w->done, 0);
}

static void end(struct world *w)
{
	public_round_free(w->round);
	timers_free(w->timers);
}

static void run_to(struct world *w, uint64_t now)
{
	w->now = now;
	timers_run(w->timers, now);
}

/* Server i has seen this address, or, with NULL, answers with an error. */
static void answer(struct world *w, unsigned i, const char *mapped)
{
	uint8_t out[128];
	struct stun_writer sw;

	stun_begin(&sw, out, sizeof out, STUN_BINDING, mapped ? STUN_SUCCESS : STUN_ERROR, w->tid[i]);
	if (mapped) {
		struct addr a = at(mapped);
		stun_put_addr(&sw, STUN_A_XOR_MAPPED_ADDRESS, &a);
	} else {
		stun_put_error(&sw, 500, "no");
	}
	public_round_input(w->round, &w->server[i], out, (size_t)stun_end(&sw), w->now);
	if (w->round)
		run_to(w, w->now);
}

static void answers_become_findings(void **state)
{
	static const struct {
		const char *local, *mapped[SERVERS]; /* "" silent, NULL: an error */
		enum public_why why;
		const char *external;
		bool port_kept;
	} rows[] = {
		{ "10.0.0.5:4000", { "198.51.100.7:4000", "198.51.100.7:4000", "198.51.100.7:4000" }, PUBLIC_FOUND, "198.51.100.7", true },
		{ "10.0.0.5:4000", { "198.51.100.7:4001", "198.51.100.7:4002", "" }, PUBLIC_FOUND, "198.51.100.7", false },
		{ "10.0.0.5:4000", { "", "", "198.51.100.7:4000" }, PUBLIC_FOUND, "198.51.100.7", true },
		{ "198.51.100.7:4000", { "198.51.100.7:4000", "", "" }, PUBLIC_FOUND, "198.51.100.7", true }, /* no NAT */
		{ "10.0.0.5:4000", { "198.51.100.7:4000", "198.51.100.8:4000", "" }, PUBLIC_DISAGREE, NULL, false },
		{ "10.0.0.5:4000", { "10.0.0.5:4000", "10.0.0.5:4000", "" }, PUBLIC_INSIDE, NULL, false },
		{ "10.0.0.5:4000", { "100.64.1.1:4000", "", "" }, PUBLIC_INSIDE, NULL, false }, /* behind the second of two NATs */
		{ "10.0.0.5:4000", { "10.0.0.5:4000", "198.51.100.7:4000", "" }, PUBLIC_FOUND, "198.51.100.7", true },
		{ "10.0.0.5:4000", { NULL, NULL, NULL }, PUBLIC_REFUSED, NULL, false },
		{ "10.0.0.5:4000", { NULL, "", "198.51.100.7:4000" }, PUBLIC_FOUND, "198.51.100.7", true },
		{ "10.0.0.5:4000", { "", "", "" }, PUBLIC_SILENT, NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct world w;
		begin(&w, rows[i].local, SERVERS);
		for (unsigned s = 0; s < SERVERS && w.round; s++)
			if (!rows[i].mapped[s] || rows[i].mapped[s][0])
				answer(&w, s, rows[i].mapped[s]);
		if (w.round)
			run_to(&w, 1000 + PUBLIC_ROUND_MS);
		assert_int_equal(w.done, 1);
		assert_int_equal(w.f.why, rows[i].why);
		assert_true(strlen(public_why_text(w.f.why)) > 4 && strlen(public_why_key(w.f.why)) > 4);
		if (rows[i].external) {
			struct addr a = at(rows[i].external);
			assert_true(addr_equal_ip(&w.f.external, &a));
			assert_int_equal(addr_port(&w.f.external), 0);
			assert_int_equal(w.f.port_kept, rows[i].port_kept);
		}
		end(&w);
	}
}

static void a_round_ends_when_all_have_answered_or_soon_after_the_first(void **state)
{
	struct world w;

	(void)state;
	begin(&w, "10.0.0.5:4000", 2);
	run_to(&w, 1100);
	answer(&w, 0, "198.51.100.7:4000");
	run_to(&w, 1100 + PUBLIC_COMPARE_MS - 1);
	assert_int_equal(w.done, 0);
	run_to(&w, 1100 + PUBLIC_COMPARE_MS);
	assert_int_equal(w.f.why, PUBLIC_FOUND);
	assert_in_range(w.sent[1], 2, 4); /* repeated meanwhile */
	assert_int_equal(w.sent[0], 1);
	end(&w);

	begin(&w, "10.0.0.5:4000", 2);
	run_to(&w, 1040);
	answer(&w, 1, "198.51.100.7:4000");
	answer(&w, 0, "198.51.100.7:4000");
	assert_int_equal(w.done, 1);
	end(&w);

	begin(&w, "10.0.0.5:4000", 0);
	run_to(&w, 1001);
	assert_int_equal(w.f.why, PUBLIC_NO_SERVERS);
	end(&w);
}

static void an_answer_counts_only_from_whom_was_asked(void **state)
{
	struct world w;

	(void)state;
	begin(&w, "10.0.0.5:4000", 1);
	w.server[0] = at("192.0.2.66");
	answer(&w, 0, "192.0.2.99:4000");
	assert_int_equal(w.done, 0);
	run_to(&w, 1000 + PUBLIC_ROUND_MS);
	assert_int_equal(w.f.why, PUBLIC_SILENT);
	end(&w);
}

static void what_is_known_stays_until_another_address_is_found(void **state)
{
	struct public_state st = PUBLIC_STATE_NEW;
	struct public_finding f = { .why = PUBLIC_SILENT };

	(void)state;
	assert_int_equal(st.why, PUBLIC_ASKING);
	assert_false(public_state_take(&st, &f, 100));
	assert_false(st.known);
	assert_int_equal(public_state_wait(&st, 60000), PUBLIC_RETRY_MS);
	f = (struct public_finding){ .why = PUBLIC_FOUND, .external = at("198.51.100.7"), .server = at("203.0.113.10") };
	assert_true(public_state_take(&st, &f, 200));
	assert_false(public_state_take(&st, &f, 260));
	assert_true(st.known && st.found_at == 260);
	assert_int_equal(public_state_wait(&st, 60000), 60000);
	f = (struct public_finding){ .why = PUBLIC_DISAGREE };
	for (unsigned i = 0; i < 12; i++)
		assert_false(public_state_take(&st, &f, 300));
	assert_true(st.known && st.why == PUBLIC_DISAGREE);
	assert_int_equal(public_state_wait(&st, 60000), 60000);
	f = (struct public_finding){ .why = PUBLIC_FOUND, .external = at("198.51.100.8"), .server = at("203.0.113.10") };
	assert_true(public_state_take(&st, &f, 400));
	assert_int_equal(st.failures, 0);
}

/* ---- the watch, on loopback ---- */

struct responder { /* a STUN server that says what it is told to */
	struct io io;
	struct addr at, told;
	unsigned asked;
	uint16_t last_port;
};

static void on_request(struct io *io, int events)
{
	struct responder *s = container_of(io, struct responder, io);
	uint8_t buf[512], out[128];
	struct addr from;
	socklen_t len = sizeof from;
	struct stun_msg m;
	struct stun_writer sw;
	ssize_t n = recvfrom(io->fd, buf, sizeof buf, 0, &from.sa, &len);

	(void)events;
	if (n < 0 || stun_parse(buf, (size_t)n, &m) != STUN_OK)
		return;
	s->asked++;
	s->last_port = addr_port(&from);
	stun_begin_response(&sw, out, sizeof out, &m, STUN_SUCCESS);
	stun_put_addr(&sw, STUN_A_XOR_MAPPED_ADDRESS, &s->told);
	n = stun_end(&sw);
	assert_int_equal(sendto(io->fd, out, (size_t)n, 0, &from.sa, len), n);
}

static void responder_start(struct responder *s, struct loop *l, const char *told)
{
	socklen_t len = sizeof s->at;
	int fd;

	*s = (struct responder){ .at = at("127.0.0.1"), .told = at(told) };
	addr_set_port(&s->at, 0);
	assert_int_equal(dgram_socket(&s->at, &(struct dgram_socket_options){ .v6only = true }, &fd), 0);
	assert_int_equal(getsockname(fd, &s->at.sa, &len), 0);
	assert_int_equal(io_start(&s->io, l, fd, IO_READ, on_request), 0);
}

static void responder_stop(struct responder *s)
{
	io_stop(&s->io);
	close(s->io.fd);
}

struct hearing {
	unsigned told, changed;
	bool enough;
	unsigned wanted;
	struct public_watched last;
};

static void on_told(const struct public_watched *w, bool changed, void *arg)
{
	struct hearing *h = arg;

	h->told++;
	h->changed += changed;
	h->last = *w;
	h->enough = h->told >= h->wanted;
}

static void hear(struct loop *l, struct hearing *h, unsigned more)
{
	h->wanted = h->told + more;
	h->enough = false;
	support_run_until(l, &h->enough, 8000);
}

static void the_watch_asks_by_name_again_and_again_and_tells_changes(void **state)
{
	static const struct dns_row names[] = { { "stun.test", "127.0.0.1", NULL, 60, RCODE_OK } };
	struct loop *l;
	struct dns *dns;
	struct dns_server ns;
	struct responder s;
	struct hearing h = { 0 };
	struct public_watch *w;
	struct public_watched watched = { at("127.0.0.1"), PUBLIC_STATE_NEW };
	struct cfg_hostport server = { .host = (char *)"stun.test" };
	uint16_t port;

	(void)state;
	addr_set_port(&watched.local, 0);
	assert_int_equal(loop_new(&l), 0);
	dns_server_start(&ns, l, names, ARRAY_LEN(names));
	responder_start(&s, l, "198.51.100.7:1");
	server.port = addr_port(&s.at);
	assert_int_equal(dns_new(l, &(struct dns_options){ .servers = ns.servers }, &dns), 0);
	const struct public_watch_options o = { .loop = l, .dns = dns, .servers = &server, .n_servers = 1,
						.watched = &watched, .n_watched = 1, .interval_ms = 50,
						.told = on_told, .arg = &h };
	assert_int_equal(public_watch_new(&o, &w), 0);
	hear(l, &h, 1);
	assert_true(h.changed == 1 && h.last.state.known && !h.last.state.port_kept);
	port = s.last_port;
	hear(l, &h, 2);
	assert_int_equal(h.changed, 1);
	assert_int_not_equal(s.last_port, port); /* a fresh socket: a fresh mapping */
	s.told = at("198.51.100.8:1");
	hear(l, &h, 2);
	assert_int_equal(h.changed, 2);
	struct addr eight = at("198.51.100.8");
	assert_true(addr_equal_ip(&public_watch_find(w, &watched.local)->external, &eight));
	assert_null(public_watch_find(w, &eight));
	public_watch_free(w);
	dns_free(dns);
	responder_stop(&s);
	dns_server_stop(&ns);
	loop_free(l);
}

static void the_watch_says_why_it_knows_nothing(void **state)
{
	struct loop *l;
	struct dns *dns;
	struct responder s;
	struct hearing h = { 0 };
	struct public_watch *w;
	struct public_watched watched[] = { { at("127.0.0.1"), PUBLIC_STATE_NEW }, { at("192.0.2.77"), PUBLIC_STATE_NEW },
					    { at("::1"), PUBLIC_STATE_NEW } };
	struct cfg_hostport server = { .host = (char *)"127.0.0.1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(watched); i++)
		addr_set_port(&watched[i].local, 0);
	assert_int_equal(loop_new(&l), 0);
	responder_start(&s, l, "127.0.0.1:1");
	server.port = addr_port(&s.at);
	assert_int_equal(dns_new(l, NULL, &dns), 0);
	struct public_watch_options o = { .loop = l, .dns = dns, .servers = &server, .n_servers = 1, .watched = watched,
					  .n_watched = ARRAY_LEN(watched), .told = on_told, .arg = &h };
	assert_int_equal(public_watch_new(&o, &w), 0);
	hear(l, &h, 3);
	assert_int_equal(public_watch_find(w, &watched[0].local)->why, PUBLIC_INSIDE);
	assert_int_equal(public_watch_find(w, &watched[1].local)->why, PUBLIC_NO_WAY);
	assert_int_equal(public_watch_find(w, &watched[2].local)->why, PUBLIC_NO_NAME);
	s.told = at("198.51.100.7:1");
	public_watch_now(w); /* sooner than the retry */
	hear(l, &h, 3);
	assert_int_equal(public_watch_find(w, &watched[0].local)->why, PUBLIC_FOUND);
	public_watch_now(w);
	public_watch_free(w); /* in the middle of it */
	o.n_servers = 0;
	o.n_watched = 1;
	assert_int_equal(public_watch_new(&o, &w), 0);
	hear(l, &h, 1);
	assert_int_equal(h.last.state.why, PUBLIC_NO_SERVERS);
	public_watch_free(w);
	dns_free(dns);
	responder_stop(&s);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_become_findings),
		cmocka_unit_test(a_round_ends_when_all_have_answered_or_soon_after_the_first),
		cmocka_unit_test(an_answer_counts_only_from_whom_was_asked),
		cmocka_unit_test(what_is_known_stays_until_another_address_is_found),
		cmocka_unit_test(the_watch_asks_by_name_again_and_again_and_tells_changes),
		cmocka_unit_test(the_watch_says_why_it_knows_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
