/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The course of NAT discovery: phases, each a few Binding transactions side by side, and what follows from
 * their answers. Tests are rows; a test is a transaction with the address its answer came from.
 *
 * Silence is evidence only where speech is possible: that a changed answer did not come in counts as
 * filtered only if that very address answers when it is asked directly (from socket 1).
 *
 * Timers: those of the transactions (RTO from the first answer's round trip, 40 to 200 ms; given up after 79
 * of them), and one for the wait of the lifetime test.
 */
#include "stun/nat.h"
#include <errno.h>
#include <string.h>
#include "stun/transaction.h"

enum {
	CHANGE_IP = 4,
	CHANGE_PORT = 2,
	FIRST_RTO_MS = 100,
	MIN_RTO_MS = 40,
	MAX_RTO_MS = 200,
	LIFETIME_STEPS = 8,	/* the first wait is this part of the longest */
	LIFETIME_FINE_MS = 1000,
};

enum test_id {
	T_HELLO_0,
	T_HELLO_1,
	T_CHANGE_BOTH, /* 4.4, test II */
	T_CHANGE_PORT, /* 4.4, test III */
	T_OTHER_IP,    /* 4.3, test II */
	T_OTHER_BOTH,  /* 4.3, test III */
	T_OTHER_PORT,
	T_SECOND,
	T_HAIRPIN,
	T_REFRESH, /* 4.6: the binding under test is used … */
	T_ALIVE,   /* … and asked for */
	TESTS
};
enum phase { P_HELLO, P_BEHAVIOUR, P_HAIRPIN, P_LIFETIME, P_DONE };
enum next { GO_ON, STAY, END };

static const struct test_row {
	unsigned socket;
	uint32_t change;
} rows[TESTS] = {
	[T_HELLO_0] = { 0, 0 },	   [T_HELLO_1] = { 1, 0 },
	[T_CHANGE_BOTH] = { 0, CHANGE_IP | CHANGE_PORT },
	[T_CHANGE_PORT] = { 0, CHANGE_PORT },
	[T_OTHER_IP] = { 1, 0 },   [T_OTHER_BOTH] = { 1, 0 }, [T_OTHER_PORT] = { 1, 0 },
	[T_SECOND] = { 1, 0 },	   [T_HAIRPIN] = { 1, 0 },
	[T_REFRESH] = { 0, 0 },	   [T_ALIVE] = { 1, 0 },
};

struct test {
	struct nat *n;
	struct stun_tx *tx;
	struct addr to, from; /* from: of the answer */
	struct addr mapped;
	uint64_t sent_at, rtt;
	unsigned got_on;	/* the socket that the answer came in on */
	bool running, answered; /* answered: a success with a mapped address */
	bool refused;		/* an error came */
};

struct nat {
	struct nat_options o;
	enum phase phase;
	struct test test[TESTS];
	uint64_t rto;
	unsigned rx_socket; /* of what is being looked at */
	struct addr rx_from;
	uint8_t hairpin_tid[STUN_TID_LEN];
	bool hairpinned;
	struct timer wait; /* of the lifetime test */
	uint64_t waiting_ms, alive_ms, dead_ms;
	struct nat_result r;
};

static void step(struct nat *n);

/* ---- one test ---- */

static void tx_send(struct stun_tx *t, const void *p, size_t n, void *arg)
{
	const struct test *test = arg;
	struct nat *nat = test->n;
	unsigned socket = rows[test - nat->test].socket;

	(void)t;
	nat->o.ops->send(socket, &test->to, p, n, nat->o.arg);
}

static void read_answer(struct test *t, const struct stun_msg *m)
{
	struct nat *n = t->n;

	t->from = n->rx_from;
	t->got_on = n->rx_socket;
	t->rtt = n->o.ops->now(n->o.arg) - t->sent_at;
	t->refused = m->class == STUN_ERROR;
	t->answered = !t->refused && (stun_get_addr(m, STUN_A_XOR_MAPPED_ADDRESS, &t->mapped) == 0 ||
				      stun_get_addr(m, STUN_A_MAPPED_ADDRESS, &t->mapped) == 0);
	if (t == &n->test[T_HELLO_0] && t->answered && stun_get_addr(m, STUN_A_OTHER_ADDRESS, &n->r.other) < 0)
		(void)stun_get_addr(m, STUN_A_CHANGED_ADDRESS, &n->r.other); /* a server of RFC 3489 */
}

static void tx_done(struct stun_tx *tx, const struct stun_msg *m, void *arg)
{
	struct test *t = arg;

	(void)tx;
	t->running = false;
	if (m)
		read_answer(t, m);
	step(t->n);
}

static const struct stun_tx_ops tx_ops = { .send = tx_send, .done = tx_done };

/* A test that cannot be sent for lack of memory ends the whole. */
static void start(struct nat *n, enum test_id id, const struct addr *to)
{
	struct test *t = &n->test[id];
	uint8_t buf[64], tid[STUN_TID_LEN];
	struct stun_writer sw;
	const struct stun_tx_options o = { .timers = n->o.timers, .ops = &tx_ops, .arg = t };
	int r = bytes_random(tid, sizeof tid);

	stun_tx_free(t->tx);
	*t = (struct test){ .n = n, .to = *to, .sent_at = n->o.ops->now(n->o.arg), .running = true };
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, tid);
	if (rows[id].change)
		stun_put_u32(&sw, STUN_A_CHANGE_REQUEST, rows[id].change);
	if (id == T_ALIVE) {
		uint8_t port[4] = { 0 };
		store_be16(port, addr_port(&n->test[T_REFRESH].mapped));
		stun_put(&sw, STUN_A_RESPONSE_PORT, port, sizeof port);
	}
	if (id == T_HAIRPIN)
		memcpy(n->hairpin_tid, tid, sizeof tid);
	if (r == 0)
		r = stun_tx_new(&o, t->sent_at, buf, (size_t)stun_end(&sw), &t->tx);
	if (r == 0)
		stun_tx_rto(t->tx, n->rto);
	else
		t->running = false;
	if (r < 0)
		n->r.error = r;
}

static bool any_running(const struct nat *n)
{
	for (unsigned i = 0; i < TESTS; i++)
		if (n->test[i].running)
			return true;
	return false;
}

/* ---- what follows from the answers ---- */

bool nat_is_inside(const struct addr *a)
{
	enum addr_class c = addr_classify(a);

	return c == ADDR_PRIVATE || c == ADDR_SHARED || c == ADDR_LOOPBACK || c == ADDR_LINK_LOCAL ||
	       c == ADDR_UNIQUE_LOCAL;
}

/* Another address that is not another one in both parts, or not of the server's kind, is no help. */
static bool other_is_usable(const struct nat *n)
{
	const struct addr *other = &n->r.other, *server = &n->o.server;

	return addr_family(other) == addr_family(server) && !addr_equal_ip(other, server) &&
	       addr_port(other) != addr_port(server) && addr_port(other) != 0 &&
	       (nat_is_inside(server) || addr_classify(other) == addr_classify(server));
}

static void judge_hello(struct nat *n)
{
	const struct test *hello = &n->test[T_HELLO_0];
	struct nat_result *r = &n->r;

	r->answered = hello->answered || hello->refused;
	if (!hello->answered) {
		r->gaps |= hello->refused ? NAT_GAP_REFUSED : 0;
		return;
	}
	r->mapped = hello->mapped;
	r->rtt_ms = hello->rtt;
	r->port_kept = addr_port(&r->mapped) == addr_port(&r->local) ? NAT_YES : NAT_NO;
	n->rto = MIN(MAX(r->rtt_ms, (uint64_t)MIN_RTO_MS), (uint64_t)MAX_RTO_MS);
	if (nat_is_inside(&n->o.server) || nat_is_inside(&r->mapped))
		r->gaps |= NAT_GAP_INSIDE;
	if (!other_is_usable(n)) {
		r->other = (struct addr){ 0 };
		r->gaps |= NAT_GAP_NO_OTHER;
	}
}

static bool same_mapping(const struct nat *n, enum test_id a, enum test_id b)
{
	return addr_equal(&n->test[a].mapped, &n->test[b].mapped);
}

static enum nat_mapping judge_mapping(const struct nat *n)
{
	const struct test *t = n->test;

	if (addr_equal(&n->r.mapped, &n->r.local))
		return NAT_MAPPING_NONE;
	if (!t[T_HELLO_1].answered)
		return NAT_MAPPING_UNKNOWN;
	if (t[T_OTHER_IP].answered && same_mapping(n, T_HELLO_1, T_OTHER_IP))
		return NAT_MAPPING_ENDPOINT;
	if (t[T_OTHER_IP].answered && t[T_OTHER_BOTH].answered)
		return same_mapping(n, T_OTHER_IP, T_OTHER_BOTH) ? NAT_MAPPING_ADDRESS : NAT_MAPPING_ADDRESS_PORT;
	if (t[T_OTHER_BOTH].answered && same_mapping(n, T_HELLO_1, T_OTHER_BOTH))
		return NAT_MAPPING_ENDPOINT;
	if (t[T_SECOND].answered && same_mapping(n, T_HELLO_1, T_SECOND))
		return NAT_MAPPING_ENDPOINT;
	return t[T_OTHER_IP].answered || t[T_OTHER_BOTH].answered || t[T_SECOND].answered ? NAT_MAPPING_VARIES :
											     NAT_MAPPING_UNKNOWN;
}

/* A server that says nothing about CHANGE-REQUEST and answers from where it always does. */
static bool came_unchanged(const struct nat *n, enum test_id id)
{
	const struct test *t = &n->test[id];
	bool ip_changed = !addr_equal_ip(&t->from, &n->o.server);
	bool port_changed = addr_port(&t->from) != addr_port(&n->o.server);

	if (!t->answered)
		return false;
	return ip_changed != ((rows[id].change & CHANGE_IP) != 0) || port_changed != ((rows[id].change & CHANGE_PORT) != 0);
}

static enum nat_filtering judge_filtering(struct nat *n)
{
	const struct test *t = n->test, *both = &t[T_CHANGE_BOTH], *port = &t[T_CHANGE_PORT];

	if (n->r.gaps & NAT_GAP_NO_OTHER)
		return NAT_FILTERING_UNKNOWN;
	if (both->refused || port->refused || came_unchanged(n, T_CHANGE_BOTH) || came_unchanged(n, T_CHANGE_PORT)) {
		n->r.gaps |= NAT_GAP_NO_CHANGE;
		return NAT_FILTERING_UNKNOWN;
	}
	if (both->answered)
		return NAT_FILTERING_ENDPOINT;
	if (!t[T_OTHER_BOTH].answered || (!port->answered && !t[T_OTHER_PORT].answered)) {
		n->r.gaps |= NAT_GAP_OTHER_SILENT;
		return NAT_FILTERING_UNKNOWN;
	}
	return port->answered ? NAT_FILTERING_ADDRESS : NAT_FILTERING_ADDRESS_PORT;
}

/* ---- phases ---- */

static void begin_behaviour(struct nat *n)
{
	struct addr ip = n->r.other, port = n->o.server;

	if (addr_family(&n->o.second) != AF_UNSPEC && (n->r.gaps & NAT_GAP_NO_OTHER))
		start(n, T_SECOND, &n->o.second);
	if (n->r.gaps & NAT_GAP_NO_OTHER)
		return;
	addr_set_port(&ip, addr_port(&n->o.server));
	addr_set_port(&port, addr_port(&n->r.other));
	start(n, T_CHANGE_BOTH, &n->o.server);
	start(n, T_CHANGE_PORT, &n->o.server);
	start(n, T_OTHER_IP, &ip);
	start(n, T_OTHER_BOTH, &n->r.other);
	start(n, T_OTHER_PORT, &port);
}

/* Socket 1 calls socket 0 by its outside address; socket 0 has called the other way before, so that a
 * filter that admits only who was called is no obstacle. */
static void begin_hairpin(struct nat *n)
{
	const struct test *a = &n->test[T_HELLO_0], *b = &n->test[T_HELLO_1];
	uint8_t buf[STUN_HEADER_LEN], tid[STUN_TID_LEN] = { 0 };
	struct stun_writer sw;

	if (n->r.mapping == NAT_MAPPING_NONE || !b->answered)
		return;
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_INDICATION, tid);
	n->o.ops->send(0, &b->mapped, buf, (size_t)stun_end(&sw), n->o.arg);
	start(n, T_HAIRPIN, &a->mapped);
}

static void judge_hairpin(struct nat *n)
{
	if (addr_family(&n->test[T_HAIRPIN].to) != AF_UNSPEC)
		n->r.hairpin = n->hairpinned ? NAT_YES : NAT_NO;
}

static void finish(struct nat *n)
{
	n->phase = P_DONE;
	timer_stop(&n->wait);
	n->r.type = nat_type_of(n->r.answered, n->r.mapping, n->r.filtering, n->r.gaps);
	n->o.ops->done(&n->r, n->o.arg);
}

/* ---- binding lifetime ---- */

static void on_waited(struct timer *timer, uint64_t now)
{
	struct nat *n = container_of(timer, struct nat, wait);

	(void)now;
	start(n, T_ALIVE, &n->o.server);
	if (n->r.error)
		finish(n);
}

/* The next wait: twice as long while bindings live, then between what lived and what did not. False: that is it. */
static bool next_wait(struct nat *n)
{
	uint64_t max = n->o.lifetime_ms;

	bool none_died = n->dead_ms == TIMERS_NEVER;

	if (n->waiting_ms == 0) {
		n->waiting_ms = MAX(max / LIFETIME_STEPS, UINT64_C(1));
		return true;
	}
	if (n->alive_ms >= max)
		return false;
	if (!none_died && n->dead_ms - n->alive_ms <= MAX((uint64_t)LIFETIME_FINE_MS, n->dead_ms / LIFETIME_STEPS))
		return false;
	n->waiting_ms = none_died ? MIN(2 * n->alive_ms, max) : (n->alive_ms + n->dead_ms) / 2;
	return true;
}

static bool begin_round(struct nat *n)
{
	n->test[T_ALIVE].to = (struct addr){ 0 };
	if (!next_wait(n)) {
		n->r.lifetime_min_ms = n->alive_ms;
		n->r.lifetime_max_ms = n->dead_ms;
		return false;
	}
	start(n, T_REFRESH, &n->o.server);
	return true;
}

/* A transaction of the lifetime test has ended; false: the test is over. */
static bool step_lifetime(struct nat *n)
{
	const struct test *alive = &n->test[T_ALIVE], *refresh = &n->test[T_REFRESH];

	if (addr_family(&alive->to) == AF_UNSPEC) {
		if (!refresh->answered)
			return false; /* the server is gone */
		timers_set(n->o.timers, &n->wait, n->o.ops->now(n->o.arg) + n->waiting_ms);
		return true;
	}
	if (alive->refused || (alive->answered && alive->got_on != 0)) {
		n->r.gaps |= NAT_GAP_NO_RESPONSE_PORT;
		return false;
	}
	if (alive->answered)
		n->alive_ms = n->waiting_ms;
	else
		n->dead_ms = n->waiting_ms;
	return begin_round(n);
}

/* ---- the course ---- */

static void enter(struct nat *n, enum phase p)
{
	n->phase = p;
	switch (p) {
	case P_HELLO:
		start(n, T_HELLO_0, &n->o.server);
		start(n, T_HELLO_1, &n->o.server);
		break;
	case P_BEHAVIOUR: begin_behaviour(n); break;
	case P_HAIRPIN: begin_hairpin(n); break;
	case P_LIFETIME: begin_round(n); break;
	case P_DONE: break;
	}
}

/* All tests of the phase have ended. */
static enum next leave(struct nat *n)
{
	switch (n->phase) {
	case P_HELLO: judge_hello(n); return n->test[T_HELLO_0].answered ? GO_ON : END;
	case P_BEHAVIOUR:
		n->r.mapping = judge_mapping(n);
		n->r.filtering = judge_filtering(n);
		return GO_ON;
	case P_HAIRPIN: judge_hairpin(n); return n->o.lifetime_ms ? GO_ON : END;
	case P_LIFETIME: return step_lifetime(n) ? STAY : END;
	case P_DONE: break;
	}
	return END;
}

/* A test has ended. The last thing done with n: done() may free it. */
static void step(struct nat *n)
{
	while (!any_running(n) && !timer_is_set(&n->wait)) {
		enum next what = n->r.error ? END : leave(n);
		if (what == END) {
			finish(n);
			return;
		}
		if (what == GO_ON)
			enter(n, n->phase + 1);
	}
}

/* ---- birth, input, death ---- */

int nat_new(const struct nat_options *o, struct nat **ret_n)
{
	struct nat *n = calloc(1, sizeof *n);
	int r;

	if (!n)
		return -ENOMEM;
	n->o = *o;
	n->rto = FIRST_RTO_MS;
	n->dead_ms = TIMERS_NEVER;
	n->wait.fire = on_waited;
	n->r.server = o->server;
	n->r.local = o->local[0];
	for (unsigned i = 0; i < TESTS; i++)
		n->test[i].n = n;
	enter(n, P_HELLO);
	if (n->r.error) {
		r = n->r.error;
		nat_free(n);
		return r;
	}
	*ret_n = n;
	return 0;
}

struct nat *nat_free(struct nat *n)
{
	if (!n)
		return NULL;
	timer_stop(&n->wait);
	for (unsigned i = 0; i < TESTS; i++)
		stun_tx_free(n->test[i].tx);
	free(n);
	return NULL;
}

/* Our own request came in at socket 0: the NAT has turned it around. */
static bool is_hairpin(const struct nat *n, unsigned socket, const struct stun_msg *m)
{
	return n->phase == P_HAIRPIN && socket == 0 && m->class == STUN_REQUEST &&
	       memcmp(m->tid, n->hairpin_tid, STUN_TID_LEN) == 0 && n->test[T_HAIRPIN].running;
}

void nat_input(struct nat *n, unsigned socket, const struct addr *from, const void *p, size_t len)
{
	struct stun_msg m;

	if (n->phase == P_DONE || stun_parse(p, len, &m) != STUN_OK)
		return;
	n->rx_socket = socket;
	n->rx_from = *from;
	if (is_hairpin(n, socket, &m)) {
		struct test *t = &n->test[T_HAIRPIN];
		n->hairpinned = true;
		t->tx = stun_tx_free(t->tx);
		t->running = false;
		step(n);
		return;
	}
	for (unsigned i = 0; i < TESTS; i++)
		if (n->test[i].running && stun_tx_input(n->test[i].tx, &m))
			return; /* n may be gone */
}
