/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NAT discovery on fake time against a fake NAT and a fake server (RFC 5780 4): every mapping with every
 * filter, servers that can do less, servers that are not where they should be, loss, and bindings that end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "common/bytes.h"
#include "stun/msg.h"
#include "stun/nat.h"

enum { MAX_FLIGHT = 64, MAX_BINDINGS = 16, ONE_WAY_MS = 10 };

struct flight { /* a datagram on its way to one of our sockets */
	uint64_t at;
	unsigned socket;
	struct addr from;
	uint8_t data[256];
	size_t n;
};
struct binding {
	unsigned socket;
	struct addr to; /* what its mapping depends on */
	struct addr outside;
	struct addr called[8]; /* destinations: what its filter admits */
	unsigned n_called;
	uint64_t used;
};

struct world {
	struct timers *timers;
	uint64_t now;
	struct nat *nat;
	struct nat_result result;
	unsigned dones;
	struct nat_options o;
	/* the NAT; mapping NAT_MAPPING_NONE: there is none */
	enum nat_mapping mapping;
	enum nat_filtering filtering;
	bool turns_around, blocks;
	const char *outside_ip;
	uint64_t lifetime_ms; /* of a binding without traffic; 0: for ever */
	struct binding binding[MAX_BINDINGS];
	unsigned n_bindings;
	/* the server: 198.51.100.1:3478, and 198.51.100.2:3479 */
	bool two_addresses, rfc3489, ignores_change, refuses_change, no_response_port, dead_other, refuses_all;
	const char *other; /* what it says its other address is */
	unsigned loses;	   /* the first datagrams of each test, one in so many */
	unsigned sends;
	struct flight flight[MAX_FLIGHT];
	unsigned n_flight;
};

static struct addr address(const char *text)
{
	struct addr a;
	assert_int_equal(addr_parse(text_of(text), 0, &a), 0);
	return a;
}

/* ---- the fake NAT ---- */

static bool same_destination(const struct world *w, const struct addr *a, const struct addr *b)
{
	return w->mapping == NAT_MAPPING_ENDPOINT || w->mapping == NAT_MAPPING_NONE ||
	       (w->mapping == NAT_MAPPING_ADDRESS ? addr_equal_ip(a, b) : addr_equal(a, b));
}

static struct binding *outgoing(struct world *w, unsigned socket, const struct addr *to)
{
	struct binding *b = NULL;

	for (unsigned i = 0; i < w->n_bindings && !b; i++)
		if (w->binding[i].socket == socket && same_destination(w, &w->binding[i].to, to))
			b = &w->binding[i];
	if (b && w->lifetime_ms && w->now - b->used >= w->lifetime_ms)
		b->n_called = 0; /* ended; a new one with, as it happens, the same port */
	if (!b) {
		assert_true(w->n_bindings < MAX_BINDINGS);
		b = &w->binding[w->n_bindings++];
		*b = (struct binding){ .socket = socket, .to = *to };
		b->outside = w->mapping == NAT_MAPPING_NONE ? w->o.local[socket] : address(w->outside_ip);
		if (w->mapping != NAT_MAPPING_NONE)
			addr_set_port(&b->outside, (uint16_t)(20000 + w->n_bindings));
	}
	b->used = w->now;
	for (unsigned i = 0; i < b->n_called; i++)
		if (addr_equal(&b->called[i], to))
			return b;
	assert_true(b->n_called < ARRAY_LEN(b->called));
	b->called[b->n_called++] = *to;
	return b;
}

static bool admits(const struct world *w, const struct binding *b, const struct addr *from)
{
	if (w->lifetime_ms && w->now - b->used >= w->lifetime_ms)
		return false;
	for (unsigned i = 0; i < b->n_called; i++)
		if (w->filtering == NAT_FILTERING_ENDPOINT ||
		    (w->filtering == NAT_FILTERING_ADDRESS ? addr_equal_ip(&b->called[i], from) :
							     addr_equal(&b->called[i], from)))
			return true;
	return false;
}

static void incoming(struct world *w, const struct addr *from, const struct addr *to, const void *p, size_t n)
{
	for (unsigned i = 0; i < w->n_bindings; i++) {
		const struct binding *b = &w->binding[i];
		if (!addr_equal(&b->outside, to) || !admits(w, b, from))
			continue;
		assert_true(w->n_flight < MAX_FLIGHT && n <= sizeof w->flight[0].data);
		struct flight *f = &w->flight[w->n_flight++];
		*f = (struct flight){ .at = w->now + 2 * ONE_WAY_MS, .socket = b->socket, .from = *from, .n = n };
		memcpy(f->data, p, n);
		return;
	}
}

/* ---- the fake server ---- */

static void put_addresses(const struct world *w, struct stun_writer *sw, const struct addr *mapped)
{
	struct addr other = address(w->other);

	if (w->rfc3489) {
		stun_put_addr(sw, STUN_A_MAPPED_ADDRESS, mapped);
		stun_put_addr(sw, STUN_A_CHANGED_ADDRESS, &other);
		return;
	}
	stun_put_addr(sw, STUN_A_XOR_MAPPED_ADDRESS, mapped);
	if (w->two_addresses)
		stun_put_addr(sw, STUN_A_OTHER_ADDRESS, &other);
}

static bool refuses(const struct world *w, const struct stun_msg *m)
{
	return w->refuses_all || (stun_has(m, STUN_A_CHANGE_REQUEST) && (w->refuses_change || !w->two_addresses)) ||
	       (stun_has(m, STUN_A_RESPONSE_PORT) && w->no_response_port);
}

static void server(struct world *w, const struct addr *client, const struct addr *at, const struct stun_msg *m)
{
	uint8_t buf[256];
	struct stun_writer sw;
	struct addr from = *at, to = *client, other = address("198.51.100.2:3479");
	uint32_t change = 0;
	bool error = refuses(w, m);

	stun_begin_response(&sw, buf, sizeof buf, m, error ? STUN_ERROR : STUN_SUCCESS);
	if (error)
		stun_put_error(&sw, 420, "Unknown Attribute");
	else
		put_addresses(w, &sw, client);
	if (!error && !w->ignores_change && stun_get_u32(m, STUN_A_CHANGE_REQUEST, &change) == 0) {
		uint16_t port = change & 2 ? addr_port(&other) : addr_port(&from);
		if (change & 4)
			from = other;
		addr_set_port(&from, port);
	}
	if (!error && stun_has(m, STUN_A_RESPONSE_PORT))
		addr_set_port(&to, load_be16(m->attr[STUN_A_RESPONSE_PORT].p));
	if (w->dead_other && !addr_equal(&from, &w->o.server))
		return;
	incoming(w, &from, &to, buf, (size_t)stun_end(&sw));
}

static bool is_ours(const struct world *w, const struct addr *to)
{
	for (unsigned i = 0; i < w->n_bindings; i++)
		if (addr_equal(&w->binding[i].outside, to))
			return true;
	return false;
}

static void on_send(unsigned socket, const struct addr *to, const void *p, size_t n, void *arg)
{
	struct world *w = arg;
	struct stun_msg m;
	struct addr alive[] = { address("198.51.100.1:3478"), address("198.51.100.1:3479"), address("198.51.100.2:3478"),
				address("198.51.100.2:3479"), address("203.0.113.77:3478"), w->o.server };

	assert_true(socket < NAT_SOCKETS);
	assert_int_equal(stun_parse(p, n, &m), STUN_OK);
	if (w->blocks || (w->loses && w->sends++ % w->loses != 0))
		return;
	if (socket == 0 && !addr_equal(to, &w->o.server)) /* else the filter tests would prove nothing */
		assert_true(w->result.error == 0 && is_ours(w, to));
	struct addr outside = outgoing(w, socket, to)->outside;
	if (is_ours(w, to)) {
		if (w->turns_around)
			incoming(w, &outside, to, p, n);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(alive); i++)
		if (addr_equal(&alive[i], to) && (!w->dead_other || addr_equal(to, &w->o.server))) {
			server(w, &outside, to, &m);
			return;
		}
}

static void on_done(const struct nat_result *r, void *arg)
{
	struct world *w = arg;

	w->result = *r;
	w->dones++;
	w->nat = nat_free(w->nat);
}

static uint64_t on_now(void *arg)
{
	return ((struct world *)arg)->now;
}

static const struct nat_ops ops = { .send = on_send, .done = on_done, .now = on_now };

/* ---- running it ---- */

static void deliver_due(struct world *w)
{
	for (unsigned i = 0; i < w->n_flight; i++) {
		struct flight f = w->flight[i];
		if (f.at > w->now)
			continue;
		w->flight[i--] = w->flight[--w->n_flight];
		if (!w->nat)
			continue;
		uint8_t *block = malloc(f.n);
		assert_non_null(block);
		memcpy(block, f.data, f.n);
		nat_input(w->nat, f.socket, &f.from, block, f.n);
		free(block);
	}
}

static const struct nat_result *discover(struct world *w)
{
	assert_int_equal(nat_new(&w->o, &w->nat), 0);
	for (uint64_t end = w->now + 3600000; !w->dones && w->now < end; w->now++) {
		deliver_due(w);
		timers_run(w->timers, w->now);
	}
	assert_int_equal(w->dones, 1);
	assert_int_equal(w->result.error, 0);
	return &w->result;
}

static void reset(struct world *w)
{
	w->nat = nat_free(w->nat);
	w->dones = w->n_flight = w->n_bindings = w->sends = 0;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->now = 5000;
	w->timers = timers_new(w->now);
	w->mapping = NAT_MAPPING_ENDPOINT;
	w->filtering = NAT_FILTERING_ADDRESS_PORT;
	w->outside_ip = "203.0.113.5";
	w->two_addresses = true;
	w->other = "198.51.100.2:3479";
	w->o = (struct nat_options){ .timers = w->timers, .ops = &ops, .arg = w, .server = address("198.51.100.1:3478"),
				     .local = { address("192.168.1.7:40000"), address("192.168.1.7:40001") } };
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	nat_free(w->nat);
	timers_free(w->timers);
	free(w);
	return 0;
}

/* ---- the tests ---- */

static void every_mapping_with_every_filter_is_recognised(void **state)
{
	static const enum nat_type want[NAT_MAPPINGS][NAT_FILTERINGS] = {
		[NAT_MAPPING_NONE] = { 0, NAT_OPEN_INTERNET, NAT_SYMMETRIC_FIREWALL, NAT_SYMMETRIC_FIREWALL },
		[NAT_MAPPING_ENDPOINT] = { 0, NAT_FULL_CONE, NAT_RESTRICTED_CONE, NAT_RESTRICTED_PORT_CONE },
		[NAT_MAPPING_ADDRESS] = { 0, NAT_SYMMETRIC, NAT_SYMMETRIC, NAT_SYMMETRIC },
		[NAT_MAPPING_ADDRESS_PORT] = { 0, NAT_SYMMETRIC, NAT_SYMMETRIC, NAT_SYMMETRIC },
	};
	struct world *w = *state;

	for (w->mapping = NAT_MAPPING_NONE; w->mapping < NAT_MAPPING_VARIES; w->mapping++)
		for (w->filtering = NAT_FILTERING_ENDPOINT; w->filtering < NAT_FILTERINGS; w->filtering++) {
			const struct nat_result *r;
			if (w->mapping == NAT_MAPPING_NONE)
				w->o.local[0] = address("203.0.113.5:40000");
			else
				w->o.local[0] = address("192.168.1.7:40000");
			reset(w);
			r = discover(w);
			assert_int_equal(r->mapping, w->mapping);
			assert_int_equal(r->filtering, w->filtering);
			assert_string_equal(nat_type_name(r->type), nat_type_name(want[w->mapping][w->filtering]));
			assert_int_equal(r->gaps, 0);
			assert_int_equal(r->rtt_ms, 2 * ONE_WAY_MS);
		}
}

static void hairpinning_is_seen_where_there_is_any(void **state)
{
	struct world *w = *state;

	for (w->filtering = NAT_FILTERING_ENDPOINT; w->filtering < NAT_FILTERINGS; w->filtering++) {
		w->turns_around = true;
		reset(w);
		assert_int_equal(discover(w)->hairpin, NAT_YES);
		w->turns_around = false;
		reset(w);
		assert_int_equal(discover(w)->hairpin, NAT_NO);
	}
	w->mapping = NAT_MAPPING_NONE;
	w->o.local[0] = address("203.0.113.5:40000");
	reset(w);
	assert_int_equal(discover(w)->hairpin, NAT_NOT_KNOWN);
}

static void silence_is_a_firewall_that_blocks_udp(void **state)
{
	struct world *w = *state;
	const struct nat_result *r;
	uint64_t began = w->now;

	w->blocks = true;
	r = discover(w);
	assert_false(r->answered);
	assert_int_equal(r->type, NAT_UDP_BLOCKED);
	assert_int_equal(r->mapping, NAT_MAPPING_UNKNOWN);
	assert_in_range(w->now - began, 5000, 10000);
}

static void a_server_with_one_address_says_what_it_cannot_know(void **state)
{
	struct world *w = *state;
	const struct nat_result *r;

	w->two_addresses = false;
	r = discover(w);
	assert_true(r->answered);
	assert_int_equal(r->gaps, NAT_GAP_NO_OTHER);
	assert_int_equal(r->mapping, NAT_MAPPING_UNKNOWN);
	assert_int_equal(r->type, NAT_UNKNOWN);
	assert_int_equal(addr_family(&r->other), AF_UNSPEC);
	w->o.second = address("203.0.113.77:3478"); /* a second server shows the mapping at least */
	reset(w);
	assert_int_equal(discover(w)->mapping, NAT_MAPPING_ENDPOINT);
	assert_int_equal(w->result.type, NAT_UNKNOWN);
	w->mapping = NAT_MAPPING_ADDRESS;
	reset(w);
	assert_int_equal(discover(w)->mapping, NAT_MAPPING_VARIES);
	assert_int_equal(w->result.type, NAT_SYMMETRIC);
	assert_int_equal(w->result.filtering, NAT_FILTERING_UNKNOWN);
}

static void no_nat_but_one_address_leaves_the_firewall_unknown(void **state)
{
	struct world *w = *state;

	w->two_addresses = false;
	w->mapping = NAT_MAPPING_NONE;
	w->o.local[0] = address("203.0.113.5:40000");
	assert_int_equal(discover(w)->mapping, NAT_MAPPING_NONE);
	assert_int_equal(w->result.type, NAT_UNKNOWN);
}

static void a_server_of_rfc_3489_will_do(void **state)
{
	struct world *w = *state;

	w->rfc3489 = true;
	w->filtering = NAT_FILTERING_ADDRESS;
	assert_int_equal(discover(w)->type, NAT_RESTRICTED_CONE);
	w->other = "198.51.100.1:3478"; /* "changed" to itself: it has no other one */
	reset(w);
	assert_int_equal(discover(w)->gaps, NAT_GAP_NO_OTHER);
}

static void an_other_address_that_cannot_be_is_not_believed(void **state)
{
	static const char *const lies[] = { "198.51.100.1:3479", "198.51.100.2:3478", "10.0.0.2:3479", "127.0.0.1:3479",
					    "[2001:db8::2]:3479", "224.0.0.1:3479" };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		w->other = lies[i];
		reset(w);
		assert_int_equal(discover(w)->gaps, NAT_GAP_NO_OTHER);
		assert_int_equal(w->result.filtering, NAT_FILTERING_UNKNOWN);
	}
}

static void a_server_that_ignores_or_refuses_the_change_makes_no_full_cone(void **state)
{
	struct world *w = *state;

	w->ignores_change = true;
	assert_int_equal(discover(w)->filtering, NAT_FILTERING_UNKNOWN);
	assert_int_equal(w->result.gaps, NAT_GAP_NO_CHANGE);
	assert_int_equal(w->result.mapping, NAT_MAPPING_ENDPOINT);
	w->ignores_change = false;
	w->refuses_change = true;
	reset(w);
	assert_int_equal(discover(w)->gaps, NAT_GAP_NO_CHANGE);
	assert_int_equal(w->result.type, NAT_UNKNOWN);
}

static void a_dead_other_address_makes_no_strict_filter(void **state)
{
	struct world *w = *state;

	w->dead_other = true;
	w->filtering = NAT_FILTERING_ENDPOINT;
	assert_int_equal(discover(w)->filtering, NAT_FILTERING_UNKNOWN);
	assert_int_equal(w->result.gaps, NAT_GAP_OTHER_SILENT);
	assert_int_equal(w->result.mapping, NAT_MAPPING_UNKNOWN);
}

static void a_server_behind_the_same_nat_cannot_tell(void **state)
{
	struct world *w = *state;

	w->mapping = NAT_MAPPING_NONE;
	w->filtering = NAT_FILTERING_ENDPOINT;
	w->o.server = address("192.168.1.1:3478");
	w->other = "192.168.1.2:3479";
	assert_true(discover(w)->gaps & NAT_GAP_INSIDE);
	assert_int_equal(w->result.type, NAT_UNKNOWN);
	w->o.server = address("198.51.100.1:3478"); /* a carrier's server, which sees the inside of its NAT */
	w->other = "198.51.100.2:3479";
	w->mapping = NAT_MAPPING_ENDPOINT;
	w->outside_ip = "100.64.3.4";
	reset(w);
	assert_int_equal(discover(w)->gaps, NAT_GAP_INSIDE);
	assert_int_equal(w->result.type, NAT_UNKNOWN);
}

static void a_server_that_refuses_is_no_blocked_udp(void **state)
{
	struct world *w = *state;

	w->refuses_all = true;
	assert_true(discover(w)->answered);
	assert_int_equal(w->result.gaps, NAT_GAP_REFUSED);
	assert_int_equal(w->result.type, NAT_UNKNOWN);
}

static void loss_changes_no_verdict(void **state)
{
	struct world *w = *state;

	for (w->loses = 2; w->loses < 4; w->loses++)
		for (w->filtering = NAT_FILTERING_ENDPOINT; w->filtering < NAT_FILTERINGS; w->filtering++) {
			reset(w);
			assert_int_equal(discover(w)->filtering, w->filtering);
			assert_int_equal(w->result.mapping, NAT_MAPPING_ENDPOINT);
		}
}

static void the_lifetime_of_a_binding_is_enclosed(void **state)
{
	static const uint64_t lives[] = { 5000, 30000, 61000, 119000 };
	struct world *w = *state;

	w->o.lifetime_ms = 120000;
	for (size_t i = 0; i < ARRAY_LEN(lives); i++) {
		w->lifetime_ms = lives[i];
		reset(w);
		const struct nat_result *r = discover(w);
		assert_true(r->lifetime_min_ms <= lives[i] && r->lifetime_max_ms >= lives[i]);
		assert_true(r->lifetime_max_ms - r->lifetime_min_ms <= MAX(lives[i] / 4, UINT64_C(1500)));
		assert_int_equal(r->type, NAT_RESTRICTED_PORT_CONE);
	}
}

static void a_binding_that_outlives_the_wait_is_said_to(void **state)
{
	struct world *w = *state;

	w->o.lifetime_ms = 60000;
	assert_int_equal(discover(w)->lifetime_min_ms, 60000);
	assert_true(w->result.lifetime_max_ms == TIMERS_NEVER);
	w->no_response_port = true;
	reset(w);
	assert_int_equal(discover(w)->gaps, NAT_GAP_NO_RESPONSE_PORT);
	assert_int_equal(w->result.lifetime_min_ms, 0);
	assert_int_equal(w->result.lifetime_max_ms, 0);
}

static void garbage_and_strangers_answers_are_ignored(void **state)
{
	struct world *w = *state;
	uint8_t answer[32] = { 1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42 };
	struct addr stranger = address("203.0.113.66:1");

	assert_int_equal(nat_new(&w->o, &w->nat), 0);
	nat_input(w->nat, 0, &stranger, answer, sizeof answer);
	nat_input(w->nat, 1, &stranger, "x", 1);
	nat_input(w->nat, 0, &stranger, NULL, 0);
	assert_int_equal(w->dones, 0);
}

static void every_finding_has_its_words(void **state)
{
	(void)state;
	for (unsigned t = 0; t < NAT_TYPES; t++) {
		assert_true(strlen(nat_type_name(t)) > 0 && strlen(nat_type_key(t)) > 0);
		assert_true(strlen(nat_type_meaning(t)) > 20);
		assert_true(strlen(nat_type_reaches(t)) > 20);
	}
	for (unsigned g = 1; g < NAT_GAP_END; g <<= 1)
		assert_non_null(nat_gap_text(g));
	for (unsigned m = 0; m < NAT_MAPPINGS; m++)
		assert_non_null(nat_mapping_name(m));
	for (unsigned f = 0; f < NAT_FILTERINGS; f++)
		assert_non_null(nat_filtering_name(f));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static void each_gap_has_its_words(void **state)
{
	(void)state;
	for (unsigned bit = NAT_GAP_NO_OTHER; bit <= NAT_GAP_REFUSED; bit <<= 1)
		assert_non_null(nat_gap_text((enum nat_gap)bit));
	assert_null(nat_gap_text(NAT_GAP_END));
	assert_null(nat_gap_text((enum nat_gap)0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_mapping_with_every_filter_is_recognised),
		CASE(hairpinning_is_seen_where_there_is_any),
		CASE(silence_is_a_firewall_that_blocks_udp),
		CASE(a_server_with_one_address_says_what_it_cannot_know),
		CASE(no_nat_but_one_address_leaves_the_firewall_unknown),
		CASE(a_server_of_rfc_3489_will_do),
		CASE(an_other_address_that_cannot_be_is_not_believed),
		CASE(a_server_that_ignores_or_refuses_the_change_makes_no_full_cone),
		CASE(a_dead_other_address_makes_no_strict_filter),
		CASE(a_server_behind_the_same_nat_cannot_tell),
		CASE(a_server_that_refuses_is_no_blocked_udp),
		CASE(loss_changes_no_verdict),
		CASE(the_lifetime_of_a_binding_is_enclosed),
		CASE(a_binding_that_outlives_the_wait_is_said_to),
		CASE(garbage_and_strangers_answers_are_ignored),
		CASE(every_finding_has_its_words),
		cmocka_unit_test(each_gap_has_its_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
