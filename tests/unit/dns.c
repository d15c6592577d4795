/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolver against a name server of the test: all addresses with their time to live, names of addresses, deadlines,
 * cancelling, what is remembered and what is not, and a second name server when the first is silent.
 */
#include "tests/unit/support.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/dns.h"
#include "common/dns_cache.h"
#include "tests/unit/dns_server.h"

static const struct dns_row names[] = {
	{ "both.test", "192.0.2.1 192.0.2.2", "2001:db8::1", 60, RCODE_OK },
	{ "v4.test", "192.0.2.7", NULL, 300, RCODE_OK },
	{ "short.test", "192.0.2.8", NULL, 0, RCODE_OK },
	{ "empty.test", NULL, NULL, 60, RCODE_OK },
	{ "broken.test", NULL, NULL, 0, RCODE_SERVFAIL },
	{ "no6.test", "192.0.2.9", SILENCE, 60, RCODE_OK },
	{ "no4.test", SILENCE, "2001:db8::9", 60, RCODE_OK },
	{ "none6.test", NULL, SILENCE, 60, RCODE_OK },
	{ "v4.test.search.test", NULL, "2001:db8::4", 60, RCODE_OK },
	{ "silent.test", NULL, NULL, 0, NO_ANSWER },
	{ "7.2.0.192.in-addr.arpa", "client.example", NULL, 60, RCODE_OK },
	{ "8.2.0.192.in-addr.arpa", "<img>.example", NULL, 60, RCODE_OK },
	{ "9.2.0.192.in-addr.arpa", NULL, NULL, 60, NO_ANSWER },
	{ "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "six.example", NULL, 60, RCODE_OK },
	{ "many.test",
	  "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6 192.0.2.7 192.0.2.8 192.0.2.9 192.0.2.10 "
	  "192.0.2.11 192.0.2.12 192.0.2.13 192.0.2.14 192.0.2.15 192.0.2.16 192.0.2.17 192.0.2.18", NULL, 60, RCODE_OK },
};

struct world {
	struct loop *l;
	struct dns_server server;
	struct dns *dns;
	struct dns_query *q;
	bool over;
	unsigned calls;
	struct dns_answer got;
	char list[1024]; /* the addresses, sorted by nobody */
};

static void on_done(const struct dns_answer *a, void *arg)
{
	struct world *w = arg;
	char text[ADDR_STRLEN];

	w->q = NULL;
	w->over = true;
	w->calls++;
	w->got = *a;
	w->list[0] = 0;
	if (a->name)
		text_append(w->list, sizeof(w->list), a->name);
	for (size_t i = 0; i < a->n; i++) {
		text_append(w->list, sizeof(w->list), i ? " " : "");
		text_append(w->list, sizeof(w->list), addr_print(&a->addr[i], text));
	}
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct dns_options o = { .servers = w->server.servers, .timeout_ms = 300, .tries = 2 };

	assert_int_equal(loop_new(&w->l), 0);
	dns_server_start(&w->server, w->l, names, ARRAY_LEN(names));
	assert_int_equal(dns_new(w->l, &o, &w->dns), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	dns_free(w->dns);
	dns_server_stop(&w->server);
	loop_free(w->l);
	free(w);
	return 0;
}

static void start(struct world *w, const char *host, int family)
{
	const struct dns_request rq = { .host = host, .port = 3478, .family = family, .done = on_done, .arg = w };

	w->over = false;
	assert_int_equal(dns_addresses(w->dns, &rq, &w->q), 0);
	assert_false(w->over); /* never from within */
}

static enum dns_status look_up(struct world *w, const char *host, int family)
{
	start(w, host, family);
	support_run_until(w->l, &w->over, 8000);
	return w->got.status;
}

static void all_addresses_of_a_name_come_with_the_port_and_the_time_to_live(void **state)
{
	struct world *w = *state;

	assert_int_equal(look_up(w, "both.test", AF_UNSPEC), DNS_OK);
	assert_int_equal(w->got.n, 3);
	assert_non_null(strstr(w->list, "192.0.2.1:3478"));
	assert_non_null(strstr(w->list, "192.0.2.2:3478"));
	assert_non_null(strstr(w->list, "[2001:db8::1]:3478"));
	assert_in_range(w->got.ttl_ms, 59000, 60000);
	assert_int_equal(look_up(w, "both.test", AF_INET6), DNS_OK);
	assert_string_equal(w->list, "[2001:db8::1]:3478");
	assert_int_equal(look_up(w, "many.test", AF_INET), DNS_OK);
	assert_int_equal(w->got.n, DNS_ADDRESSES_MAX);
}

static void a_failure_says_which_one_it_is(void **state)
{
	static const struct {
		const char *host;
		int family;
		enum dns_status status;
	} rows[] = {
		{ "absent.test", AF_UNSPEC, DNS_NO_NAME },
		{ "empty.test", AF_UNSPEC, DNS_NO_ADDRESS },
		{ "v4.test", AF_INET6, DNS_NO_ADDRESS },
		{ "broken.test", AF_INET, DNS_NO_SERVER },
		{ "", AF_INET, DNS_BAD_NAME },
		{ "a..test", AF_INET, DNS_BAD_NAME },
		{ "192.0.2.1", AF_INET6, DNS_NO_ADDRESS },
	};
	struct world *w = *state;
	char longest[400];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(look_up(w, rows[i].host, rows[i].family), rows[i].status);
		assert_int_equal(w->got.n, 0);
		assert_true(strlen(dns_status_text(w->got.status)) > 8);
	}
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(look_up(w, longest, AF_INET), DNS_BAD_NAME);
}

static void numbers_and_localhost_ask_nobody(void **state)
{
	struct world *w = *state;

	assert_int_equal(look_up(w, "198.51.100.9", AF_UNSPEC), DNS_OK);
	assert_string_equal(w->list, "198.51.100.9:3478");
	assert_int_equal(look_up(w, "2001:db8::9", AF_INET6), DNS_OK);
	assert_string_equal(w->list, "[2001:db8::9]:3478");
	assert_int_equal(look_up(w, "localhost", AF_INET), DNS_OK);
	assert_non_null(strstr(w->list, "127.0.0.1:3478"));
	assert_int_equal(w->server.questions, 0);
}

/* Whatever other name this machine's file has. */
static void names_of_etc_hosts_are_found_there(void **state)
{
	struct world *w = *state;
	char ip[64], name[128], line[512];
	FILE *f = fopen("/etc/hosts", "r");
	struct addr a;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %127s", ip, name) != 2 || strchr(line, '#') || !strcmp(name, "localhost") ||
		    addr_parse(text_of(ip), 0, &a) < 0)
			continue;
		assert_int_equal(look_up(w, name, addr_family(&a)), DNS_OK);
		assert_non_null(strstr(w->list, ip));
		assert_int_equal(w->got.ttl_ms, 0);
	}
	if (f)
		fclose(f);
	assert_int_equal(w->server.questions, 0);
}

static void a_silent_name_ends_by_its_deadline_or_the_last_try(void **state)
{
	struct world *w = *state;
	const struct dns_request rq = { .host = "silent.test", .family = AF_INET, .deadline_ms = 100, .done = on_done,
					.arg = w };
	uint64_t t0 = loop_now(w->l);

	assert_int_equal(dns_addresses(w->dns, &rq, &w->q), 0);
	support_run_until(w->l, &w->over, 2000);
	assert_int_equal(w->got.status, DNS_TIMEOUT);
	assert_true(loop_now(w->l) - t0 >= 100);
	assert_true(w->server.questions <= 1); /* it did not wait for another try */
	support_run_for(w->l, 1500); /* c-ares ends after the deadline, unheard */
	assert_int_equal(w->calls, 1);
	w->over = false;
	assert_int_equal(look_up(w, "silent.test", AF_INET), DNS_TIMEOUT); /* remembered */
	assert_in_range(w->server.questions, 2, 2);
}

/* With its usual patience the question for both would go on for longer than anybody waits. */
static void a_family_that_is_not_answered_does_not_take_the_other_one_along(void **state)
{
	struct world *w = *state;
	const struct dns_options o = { .servers = w->server.servers };
	uint64_t t0 = loop_now(w->l);

	dns_free(w->dns);
	assert_int_equal(dns_new(w->l, &o, &w->dns), 0);
	assert_int_equal(look_up(w, "no6.test", AF_UNSPEC), DNS_OK);
	assert_string_equal(w->list, "192.0.2.9:3478");
	assert_int_equal(look_up(w, "no4.test", AF_UNSPEC), DNS_OK);
	assert_string_equal(w->list, "[2001:db8::9]:3478");
	assert_true(loop_now(w->l) - t0 < 5000);
	w->server.questions = 0;
	assert_int_equal(look_up(w, "no6.test", AF_UNSPEC), DNS_OK); /* remembered */
	assert_string_equal(w->list, "192.0.2.9:3478");
	assert_int_equal(w->server.questions, 0);
	start(w, "no6.test", AF_INET6);
	w->q = dns_cancel(w->q);
	start(w, "none6.test", AF_UNSPEC); /* for dns_free() to cancel while it is asked apart */
	support_run_for(w->l, 600);
	assert_false(w->over);
}

/* Those questions get lost and are repeated: each family's own is quicker then. */
static void families_that_were_asked_for_apart_come_together_and_in_order(void **state)
{
	struct world *w = *state;
	const struct dns_options o = { .servers = w->server.servers };
	uint64_t t0 = loop_now(w->l);
	struct addr own, six;
	unsigned first;

	assert_int_equal(addr_parse(TEXT("2001:db8::1"), 0, &six), 0);
	first = addr_towards(&six, &own) == 0 ? AF_INET6 : AF_INET; /* is there a way? */
	dns_free(w->dns);
	assert_int_equal(dns_new(w->l, &o, &w->dns), 0);
	w->server.lost = 2;
	assert_int_equal(look_up(w, "both.test", AF_UNSPEC), DNS_OK);
	assert_true(loop_now(w->l) - t0 < 1500);
	assert_int_equal(w->got.n, 3);
	assert_int_equal(strncmp(w->list, "[2001:db8::1]:3478", 18) == 0, first == AF_INET6);
	assert_in_range(w->got.ttl_ms, 59000, 60000);
}

static void a_family_that_is_asked_for_by_itself_is_not_looked_for_under_other_names(void **state)
{
	struct world *w = *state;
	const struct dns_options o = { .servers = w->server.servers };

	dns_free(w->dns);
	assert_int_equal(setenv("LOCALDOMAIN", "search.test", 1), 0);
	assert_int_equal(dns_new(w->l, &o, &w->dns), 0);
	assert_int_equal(unsetenv("LOCALDOMAIN"), 0);
	assert_int_equal(look_up(w, "v4.test", AF_INET6), DNS_OK); /* there is a list, and who asks for one family gets it */
	assert_string_equal(w->list, "[2001:db8::4]:3478");
	w->server.lost = 2;
	assert_int_equal(look_up(w, "v4.test", AF_UNSPEC), DNS_OK);
	assert_string_equal(w->list, "192.0.2.7:3478");
}

/* The answer for both comes after one for the halves: it has all of the name, and is what is remembered. */
static void a_family_that_is_answered_late_is_remembered_with_the_other_one(void **state)
{
	static const struct dns_row late[] = { { "no6.test", "192.0.2.9", "2001:db8::9", 60, RCODE_OK } };
	struct world *w = *state;
	const struct dns_options o = { .servers = w->server.servers, .timeout_ms = 1000, .tries = 2 };

	dns_free(w->dns);
	assert_int_equal(dns_new(w->l, &o, &w->dns), 0);
	assert_int_equal(look_up(w, "no6.test", AF_UNSPEC), DNS_OK);
	assert_int_equal(w->got.n, 1);
	w->server.rows = late; /* c-ares asks again */
	w->server.n_rows = 1;
	support_run_for(w->l, 1500);
	w->server.questions = 0;
	assert_int_equal(look_up(w, "no6.test", AF_UNSPEC), DNS_OK);
	assert_int_equal(w->got.n, 2);
	assert_int_equal(w->server.questions, 0);
}

static void who_cancelled_hears_nothing(void **state)
{
	struct world *w = *state;

	start(w, "both.test", AF_UNSPEC); /* under way */
	w->q = dns_cancel(w->q);
	start(w, "192.0.2.1", AF_UNSPEC); /* known already */
	w->q = dns_cancel(w->q);
	start(w, "silent.test", AF_UNSPEC);
	support_run_for(w->l, 100);
	w->q = dns_cancel(w->q);
	support_run_for(w->l, 100);
	assert_int_equal(w->calls, 0);
	start(w, "silent.test", AF_UNSPEC); /* for dns_free() to cancel */
}

static void an_answer_is_remembered_as_long_as_it_says(void **state)
{
	struct world *w = *state;

	assert_int_equal(look_up(w, "v4.test", AF_INET), DNS_OK);
	assert_int_equal(look_up(w, "V4.Test", AF_INET), DNS_OK);
	assert_string_equal(w->list, "192.0.2.7:3478");
	assert_int_equal(w->server.questions, 1);
	assert_int_equal(look_up(w, "short.test", AF_INET), DNS_OK);
	assert_int_equal(w->got.ttl_ms, 0);
	assert_int_equal(look_up(w, "short.test", AF_INET), DNS_OK);
	assert_int_equal(w->server.questions, 3);
	assert_int_equal(look_up(w, "absent.test", AF_INET), DNS_NO_NAME);
	assert_int_equal(look_up(w, "absent.test", AF_INET), DNS_NO_NAME);
	assert_int_equal(w->server.questions, 4);
}

static void the_memory_forgets_what_is_old_and_what_is_too_much(void **state)
{
	_cleanup_(dns_cache_freep) struct dns_cache *c = dns_cache_new();
	const struct dns_answers a = { .status = DNS_OK, .n = 1, .expires = 1000 };
	char name[32];

	(void)state;
	for (unsigned i = 0; i < DNS_CACHE_MAX + 1; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		dns_cache_put(c, name, AF_INET, &a);
	}
	assert_null(dns_cache_find(c, "n0.test", AF_INET, 999));
	assert_non_null(dns_cache_find(c, "n1.test", AF_INET, 999));
	assert_null(dns_cache_find(c, "n1.test", AF_INET6, 999));
	assert_null(dns_cache_find(c, "n1.test", AF_INET, 1000));
	assert_null(dns_cache_find(c, "n1.test", AF_INET, 999)); /* gone for good */
	dns_cache_clear(c);
	assert_null(dns_cache_find(c, "n2.test", AF_INET, 999));
}

static int start_naming(struct world *w, const char *ip, struct dns_query **ret_q)
{
	const struct dns_request rq = { .deadline_ms = 200, .done = on_done, .arg = w };
	struct addr a;

	w->over = false;
	assert_int_equal(addr_parse(text_of(ip), 0, &a), 0);
	return dns_name(w->dns, &a, &rq, ret_q);
}

static enum dns_status name_of(struct world *w, const char *ip)
{
	assert_int_equal(start_naming(w, ip, &w->q), 0);
	assert_false(w->over); /* never from within */
	support_run_until(w->l, &w->over, 8000);
	return w->got.status;
}

static void an_address_has_a_name_or_it_is_said_why_not(void **state)
{
	struct world *w = *state;

	assert_int_equal(name_of(w, "192.0.2.7"), DNS_OK);
	assert_string_equal(w->list, "client.example");
	assert_in_range(w->got.ttl_ms, DNS_CACHE_NAME_MS - 1000, DNS_CACHE_NAME_MS);
	assert_int_equal(name_of(w, "2001:db8::1"), DNS_OK);
	assert_string_equal(w->list, "six.example");
	assert_int_equal(name_of(w, "127.0.0.1"), DNS_OK); /* of /etc/hosts */
	assert_string_equal(w->list, "localhost");
	assert_int_equal(w->server.questions, 2);
	assert_int_equal(name_of(w, "192.0.2.10"), DNS_NO_NAME);
	assert_int_equal(name_of(w, "192.0.2.10"), DNS_NO_NAME);
	assert_int_equal(name_of(w, "192.0.2.7"), DNS_OK);
	assert_string_equal(w->list, "client.example");
	assert_int_equal(w->server.questions, 3); /* the others are remembered */
}

static void a_name_that_is_none_is_no_answer(void **state)
{
	struct world *w = *state;

	assert_int_equal(name_of(w, "192.0.2.8"), DNS_SERVER_FAILED);
	assert_string_equal(w->list, "");
}

static void in_another_network_names_are_asked_for_anew(void **state)
{
	static const struct dns_row inside[] = { { "v4.test", "198.51.100.7", NULL, 300, RCODE_OK },
						 { "7.2.0.192.in-addr.arpa", "inside.example", NULL, 60, RCODE_OK } };
	struct world *w = *state;

	assert_int_equal(look_up(w, "v4.test", AF_INET), DNS_OK);
	assert_int_equal(name_of(w, "192.0.2.7"), DNS_OK);
	w->server.rows = inside;
	w->server.n_rows = ARRAY_LEN(inside);
	assert_int_equal(look_up(w, "v4.test", AF_INET), DNS_OK);
	assert_string_equal(w->list, "192.0.2.7:3478"); /* nobody has said anything yet */
	dns_forget(w->dns);
	assert_int_equal(look_up(w, "v4.test", AF_INET), DNS_OK);
	assert_string_equal(w->list, "198.51.100.7:3478");
	assert_int_equal(name_of(w, "192.0.2.7"), DNS_OK);
	assert_string_equal(w->list, "inside.example");
}

static void what_was_asked_in_another_network_is_not_remembered(void **state)
{
	static const struct dns_row inside[] = { { "v4.test", "198.51.100.7", NULL, 300, RCODE_OK } };
	struct world *w = *state;

	start(w, "v4.test", AF_INET);
	dns_forget(w->dns);
	support_run_until(w->l, &w->over, 8000);
	assert_string_equal(w->list, "192.0.2.7:3478"); /* for who has asked then */
	w->server.rows = inside;
	w->server.n_rows = ARRAY_LEN(inside);
	assert_int_equal(look_up(w, "v4.test", AF_INET), DNS_OK);
	assert_string_equal(w->list, "198.51.100.7:3478");
}

static void names_have_a_deadline_and_a_bounded_number_under_way(void **state)
{
	struct world *w = *state;
	uint64_t t0 = loop_now(w->l);
	struct dns_query *q[DNS_NAMING_MAX];

	assert_int_equal(name_of(w, "192.0.2.9"), DNS_TIMEOUT);
	assert_true(loop_now(w->l) - t0 >= 190);
	assert_int_equal(name_of(w, "192.0.2.7"), DNS_OK);
	for (unsigned i = 1; i < DNS_NAMING_MAX; i++)
		assert_int_equal(start_naming(w, "192.0.2.9", &q[i]), 0);
	for (unsigned i = 1; i < DNS_NAMING_MAX; i++)
		dns_cancel(q[i]); /* the name server is asked for them all the same */
	assert_int_equal(start_naming(w, "192.0.2.9", &q[0]), -EBUSY);
	assert_int_equal(name_of(w, "192.0.2.7"), DNS_OK); /* what is known asks nobody */
	w->calls = 0;
	support_run_for(w->l, 1500); /* c-ares ends */
	assert_int_equal(w->calls, 0);
	assert_int_equal(name_of(w, "2001:db8::1"), DNS_OK);
	w->server.questions = 0;
	assert_int_not_equal(name_of(w, "192.0.2.9"), DNS_OK); /* remembered; why it has none c-ares does not say */
	assert_int_equal(w->server.questions, 0);
	assert_int_equal(start_naming(w, "192.0.2.10", &w->q), 0); /* for dns_free() to cancel */
}

/* Starts names of 198.18.x.y until one is refused; the others are answered. Returns how many there were. */
static unsigned name_many(struct world *w, unsigned from)
{
	struct dns_query *q;
	char ip[32];

	for (unsigned i = 0;; i++) {
		snprintf(ip, sizeof(ip), "198.18.%u.%u", (from + i) / 256, (from + i) % 256);
		if (start_naming(w, ip, &q) == -EBUSY)
			return i;
		assert_true(i < DNS_NAMING_MAX);
	}
}

static void a_crowd_of_strangers_asks_for_so_many_names_a_second(void **state)
{
	struct world *w = *state;
	uint64_t t0 = loop_now(w->l), took = 0;
	unsigned n = 0, more = 1;

	for (; more && took < 900; took = loop_now(w->l) - t0) {
		w->calls = 0;
		more = name_many(w, n);
		n += more;
		for (unsigned i = 0; i < 10000 && w->calls < more; i++)
			support_run_for(w->l, 2);
		assert_int_equal(w->calls, more); /* none is under way: what is refused then is refused for the second's sake */
	}
	assert_true(n <= DNS_NAMING_PER_S * (took / 1000 + 1));
	assert_true(more || took >= 1000 || n == DNS_NAMING_PER_S); /* a machine that crawls does not ask for so many */
	support_run_for(w->l, 1000);
	assert_int_equal(name_of(w, "192.0.2.7"), DNS_OK);
}

static void a_second_name_server_answers_for_a_dead_one(void **state)
{
	struct world *w = *state;
	char servers[2 * ADDR_STRLEN];
	const struct dns_options o = { .servers = servers, .timeout_ms = 200, .tries = 2 };
	static const struct dns_row mute[] = { { "v4.test", NULL, NULL, 0, NO_ANSWER } };
	struct dns_server dead;

	dns_server_start(&dead, w->l, mute, 1);
	snprintf(servers, sizeof(servers), "%s,%s", dead.servers, w->server.servers);
	dns_free(w->dns);
	assert_int_equal(dns_new(w->l, &o, &w->dns), 0);
	assert_int_equal(look_up(w, "v4.test", AF_INET), DNS_OK);
	assert_string_equal(w->list, "192.0.2.7:3478");
	assert_int_equal(dead.questions, 1);
	dns_server_stop(&dead);
	w->dns = dns_free(w->dns);
	assert_int_equal(dns_new(w->l, &(struct dns_options){ .servers = "nonsense" }, &w->dns), -EINVAL);
}

static void free_in_done(const struct dns_answer *a, void *arg)
{
	struct world *w = arg;

	(void)a;
	w->dns = dns_free(w->dns);
	w->over = true;
}

static void everything_is_allowed_in_the_answer(void **state)
{
	struct world *w = *state;
	const struct dns_request rq = { .host = "both.test", .done = free_in_done, .arg = w };
	struct dns_query *other;

	assert_int_equal(dns_addresses(w->dns, &rq, &w->q), 0);
	assert_int_equal(dns_addresses(w->dns, &rq, &other), 0); /* goes with the resolver */
	support_run_until(w->l, &w->over, 4000);
	support_run_for(w->l, 50);
}

static void records_of_a_name_that_is_none_are_not_asked_for(void **state)
{
	struct world *w = *state;
	char longest[300];
	const char *const hosts[] = { "", longest };

	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		const struct dns_request rq = { .host = hosts[i], .done = on_done, .arg = w };
		w->over = false;
		int r = dns_records(w->dns, DNS_SRV, &rq, &w->q);
		if (r < 0)
			continue; /* refused at once is as good */
		assert_false(w->over);
		support_run_until(w->l, &w->over, 8000);
		assert_int_equal(w->got.status, DNS_BAD_NAME);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_addresses_of_a_name_come_with_the_port_and_the_time_to_live, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failure_says_which_one_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_and_localhost_ask_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(names_of_etc_hosts_are_found_there, setup, teardown),
		cmocka_unit_test_setup_teardown(a_silent_name_ends_by_its_deadline_or_the_last_try, setup, teardown),
		cmocka_unit_test_setup_teardown(a_family_that_is_not_answered_does_not_take_the_other_one_along, setup, teardown),
		cmocka_unit_test_setup_teardown(families_that_were_asked_for_apart_come_together_and_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_family_that_is_asked_for_by_itself_is_not_looked_for_under_other_names, setup, teardown),
		cmocka_unit_test_setup_teardown(a_family_that_is_answered_late_is_remembered_with_the_other_one, setup, teardown),
		cmocka_unit_test_setup_teardown(who_cancelled_hears_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_is_remembered_as_long_as_it_says, setup, teardown),
		cmocka_unit_test(the_memory_forgets_what_is_old_and_what_is_too_much),
		cmocka_unit_test_setup_teardown(an_address_has_a_name_or_it_is_said_why_not, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_that_is_none_is_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(in_another_network_names_are_asked_for_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_asked_in_another_network_is_not_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(names_have_a_deadline_and_a_bounded_number_under_way, setup, teardown),
		cmocka_unit_test_setup_teardown(a_crowd_of_strangers_asks_for_so_many_names_a_second, setup, teardown),
		cmocka_unit_test_setup_teardown(a_second_name_server_answers_for_a_dead_one, setup, teardown),
		cmocka_unit_test_setup_teardown(everything_is_allowed_in_the_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(records_of_a_name_that_is_none_are_not_asked_for, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
