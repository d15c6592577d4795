/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 3263 with a name server of our own: which questions are asked for which URI, in what order the places come, how
 * long answers are kept, what failure does to the order; and the records' raw form, byte by byte.
 */
#include "tests/unit/support.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/dns_records.h"
#include "sip-proxy/health.h"
#include "sip-proxy/resolve.h"
#include "tests/unit/dns_server.h"

static const struct dns_row names[] = {
	{ .name = "naptr.test",
	  .ttl_s = 60,
	  .naptr = "20 10 s SIP+D2U _sip._udp.naptr.test, 10 10 s SIP+D2T _sip._tcp.naptr.test, 5 10 s SIP+D2S _sip._sctp.naptr.test" },
	{ .name = "_sip._tcp.naptr.test", .ttl_s = 60, .srv = "20 0 5072 b.test, 10 0 5071 a.test" },
	{ .name = "_sip._udp.naptr.test", .ttl_s = 60, .srv = "10 0 5073 a.test" },
	{ .name = "srv.test", .ttl_s = 60, .v4 = "192.0.2.99" },
	{ .name = "_sip._udp.srv.test", .ttl_s = 1, .srv = "10 0 5080 a.test" },
	{ .name = "_sips._tcp.srv.test", .ttl_s = 60, .srv = "10 0 5081 b.test" },
	{ .name = "plain.test", .ttl_s = 60, .v4 = "192.0.2.7 192.0.2.8", .v6 = "2001:db8::7" },
	{ .name = "none.test", .ttl_s = 60, .v4 = "192.0.2.66" },
	{ .name = "_sip._udp.none.test", .ttl_s = 60, .srv = "0 0 0 ." },
	{ .name = "broken.test", .ttl_s = 60, .rcode = RCODE_SERVFAIL },
	{ .name = "silent.test", .ttl_s = 60, .rcode = NO_ANSWER },
	{ .name = "_sipfederationtls._tcp.fed.test", .ttl_s = 60, .srv = "20 0 5063 b.test, 10 0 5062 a.test" },
	{ .name = "_sips._tcp.fed.test", .ttl_s = 60, .srv = "10 0 5081 b.test" },
	{ .name = "_sips._tcp.sips.test", .ttl_s = 60, .srv = "10 0 5081 b.test" },
	{ .name = "_sipfederationtls._tcp.inside.test",
	  .ttl_s = 60,
	  .srv = "10 0 5061 near.test, 20 0 5061 a.test" },
	{ .name = "_sipfederationtls._tcp.lan.test", .ttl_s = 60, .srv = "10 0 5061 near.test" },
	{ .name = "_sipfederationtls._tcp.deaf.test", .ttl_s = 60, .rcode = NO_ANSWER },
	{ .name = "mute.test", .ttl_s = 60, .v4 = "192.0.2.9" },
	{ .name = "_sip._udp.mute.test", .ttl_s = 60, .rcode = NO_ANSWER },
	{ .name = "_sip._tcp.mute.test", .ttl_s = 60, .rcode = NO_ANSWER },
	{ .name = "near.test", .ttl_s = 60, .v4 = "10.0.0.5" },
	{ .name = "a.test", .ttl_s = 60, .v4 = "192.0.2.1" },
	{ .name = "b.test", .ttl_s = 60, .v4 = "192.0.2.2" },
};

struct world {
	struct loop *loop;
	struct dns_server server;
	struct dns *dns;
	struct sip_resolver *r;
	struct sip_lookup lookup;
	bool done, no_udp;
	int status;
	char why[400], got[1024]; /* "tcp:192.0.2.1:5071 …" */
	char name[128];
	struct sip_target first;
};

static bool can_send(void *arg, enum sip_proto proto, sa_family_t family)
{
	const struct world *w = arg;

	return family != AF_INET6 &&
	       (proto == SIP_TCP || proto == SIP_TLS || (proto == SIP_UDP && !w->no_udp));
}

static void on_done(struct sip_lookup *l, int status, const char *why, const struct sip_target *t,
		    unsigned n)
{
	struct world *w = container_of(l, struct world, lookup);
	struct sb b = sb_init(w->got, sizeof(w->got));
	char at[ADDR_STRLEN];

	for (unsigned i = 0; i < n; i++)
		sb_fmt(&b, "%s%s:%s", i ? " " : "", sip_proto_rows[t[i].hop.proto].name,
		       addr_print(&t[i].hop.remote, at));
	w->status = status;
	w->done = true;
	(void)snprintf(w->why, sizeof(w->why), "%s", why);
	if (n) {
		w->first = t[0];
		(void)snprintf(w->name, sizeof(w->name), "%.*s", TEXT_FMT(t[0].name));
	}
}

static bool may_be_partner(void *arg, const struct addr *at)
{
	(void)arg;
	return addr_classify(at) != ADDR_PRIVATE;
}

static void resolver_new(struct world *w)
{
	assert_int_equal(sip_resolver_new(&(struct sip_resolver_options){ .loop = w->loop,
									  .dns = w->dns,
									  .can_send = can_send,
									  .may_be_partner = may_be_partner,
									  .arg = w },
					  &w->r),
			 0);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(loop_new(&w->loop), 0);
	dns_server_start(&w->server, w->loop, names, ARRAY_LEN(names));
	assert_int_equal(dns_new(w->loop,
				 &(struct dns_options){
					 .servers = w->server.servers, .timeout_ms = 200, .tries = 2 },
				 &w->dns),
			 0);
	resolver_new(w);
	w->lookup.done = on_done;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	sip_resolver_free(w->r);
	dns_free(w->dns);
	dns_server_stop(&w->server);
	loop_free(w->loop);
	free(w);
	return 0;
}

static const char *where(struct world *w, struct sip_next next)
{
	w->done = false;
	w->got[0] = 0;
	assert_int_equal(sip_resolver_lookup(w->r, &next, &w->lookup), 0);
	assert_false(w->done);
	support_run_until(w->loop, &w->done, 10000);
	return w->got;
}

static struct sip_next host(const char *s)
{
	return (struct sip_next){ .host = text_of(s) };
}

static void numbers_ask_nobody(void **state)
{
	struct world *w = *state;

	assert_string_equal(where(w, host("192.0.2.5")), "udp:192.0.2.5:5060");
	assert_string_equal(
		where(w, (struct sip_next){ .host = TEXT("192.0.2.5"), .port = 5099, .sips = true }),
		"tls:192.0.2.5:5099");
	assert_string_equal(where(w, (struct sip_next){ .host = TEXT("192.0.2.5"),
							.has_proto = true,
							.proto = SIP_TCP }),
			    "tcp:192.0.2.5:5060");
	assert_string_equal(where(w, (struct sip_next){ .host = TEXT("192.0.2.5"),
							.sips = true,
							.has_proto = true,
							.proto = SIP_TCP }),
			    "tls:192.0.2.5:5061");
	w->no_udp = true;
	assert_string_equal(where(w, host("192.0.2.5")), "tcp:192.0.2.5:5060");
	assert_string_equal(where(w, host("2001:db8::1")), ""); /* no listener of that family */
	assert_non_null(strstr(w->why, "no listener of ours"));
	assert_int_equal(w->server.questions, 0);
}

static void naptr_chooses_the_transport_and_srv_the_order(void **state)
{
	struct world *w = *state;

	assert_string_equal(where(w, host("naptr.test")),
			    "tcp:192.0.2.1:5071 tcp:192.0.2.2:5072 udp:192.0.2.1:5073");
	assert_string_equal(w->name, "naptr.test"); /* what a certificate must be for: not the SRV's target */
	w->no_udp = true;
	assert_string_equal(where(w, host("naptr.test.")), "tcp:192.0.2.1:5071 tcp:192.0.2.2:5072");
}

static void a_port_or_a_transport_shortens_the_way(void **state)
{
	struct world *w = *state;

	assert_string_equal(where(w, (struct sip_next){ .host = TEXT("naptr.test"),
							.has_proto = true,
							.proto = SIP_UDP }),
			    "udp:192.0.2.1:5073");
	assert_string_equal(where(w, (struct sip_next){ .host = TEXT("plain.test"), .port = 5066 }),
			    "udp:192.0.2.7:5066 udp:192.0.2.8:5066");
}

static void without_naptr_the_services_are_asked_for(void **state)
{
	struct world *w = *state;

	assert_string_equal(where(w, host("srv.test")), "udp:192.0.2.1:5080");
	assert_string_equal(where(w, (struct sip_next){ .host = TEXT("srv.test"), .sips = true }),
			    "tls:192.0.2.2:5081");
	assert_string_equal(where(w, host("plain.test")), "udp:192.0.2.7:5060 udp:192.0.2.8:5060");
	assert_string_equal(where(w, (struct sip_next){ .host = TEXT("plain.test"), .sips = true }),
			    "tls:192.0.2.7:5061 tls:192.0.2.8:5061");
	assert_string_equal(where(w, host("none.test")), "");
	assert_non_null(strstr(w->why, "no SIP there"));
}

static void a_failure_says_which_one_it_is(void **state)
{
	struct world *w = *state;

	assert_string_equal(where(w, host("nowhere.test")), "");
	assert_int_equal(w->status, -EHOSTUNREACH);
	assert_non_null(strstr(w->why, "the name does not exist"));
	where(w, host("broken.test"));
	assert_int_equal(w->status, -EHOSTUNREACH);
	where(w, host("silent.test"));
	assert_non_null(strstr(w->why, "in time"));
	where(w, host(""));
	assert_non_null(strstr(w->why, "cannot be a name"));
}

/* Some routers' name servers know A only, and swallow what else they are asked for. */
static void who_swallows_srv_questions_is_asked_for_addresses_in_time(void **state)
{
	struct world *w = *state;

	sip_resolver_free(w->r); /* another one, with a patience of c-ares that is longer than ours, as it usually is */
	dns_free(w->dns);
	assert_int_equal(dns_new(w->loop,
				 &(struct dns_options){ .servers = w->server.servers,
							.timeout_ms = SIP_LOOKUP_MS,
							.tries = 2 },
				 &w->dns),
			 0);
	resolver_new(w);
	assert_string_equal(where(w, host("mute.test")), "udp:192.0.2.9:5060");
}

static void answers_are_kept_for_their_time_to_live(void **state)
{
	struct world *w = *state;
	unsigned asked;

	where(w, host("naptr.test"));
	asked = w->server.questions;
	where(w, host("naptr.test"));
	assert_int_equal(w->server.questions, asked);
	where(w, (struct sip_next){ .host = TEXT("srv.test"), .has_proto = true, .proto = SIP_UDP });
	asked = w->server.questions;
	support_run_for(w->loop, 1200); /* its SRV is good for a second, its target for a minute */
	where(w, (struct sip_next){ .host = TEXT("srv.test"), .has_proto = true, .proto = SIP_UDP });
	assert_int_equal(w->server.questions, asked + 1);
}

static void a_failed_place_goes_behind_the_others_and_never_away(void **state)
{
	struct world *w = *state;
	const struct sip_next next = { .host = TEXT("naptr.test"), .has_proto = true, .proto = SIP_TCP };
	json_t *rows;

	where(w, next);
	sip_resolver_report(w->r, &w->first, ETIMEDOUT, loop_now(w->loop));
	assert_string_equal(where(w, next), "tcp:192.0.2.2:5072 tcp:192.0.2.1:5071");
	sip_resolver_report(w->r, &w->first, ECONNREFUSED, loop_now(w->loop));
	assert_string_equal(where(w, next), "tcp:192.0.2.1:5071 tcp:192.0.2.2:5072"); /* both: all are tried */
	rows = sip_resolver_health_json(w->r, loop_now(w->loop));
	assert_int_equal(json_array_size(rows), 2);
	json_decref(rows);
	sip_resolver_report(w->r, &w->first, 0, loop_now(w->loop)); /* the first one answers */
	assert_string_equal(where(w, next), "tcp:192.0.2.1:5071 tcp:192.0.2.2:5072");
	rows = sip_resolver_health_json(w->r, loop_now(w->loop));
	assert_int_equal(json_array_size(rows), 1);
	json_decref(rows);
}

static void health_forgets_after_a_while_and_is_bounded(void **state)
{
	struct sip_health *h = sip_health_new();
	struct sip_hop at = { .proto = SIP_UDP, .remote = addr_v4(0x01020304, 5060) };
	uint64_t now = 1000;
	json_t *rows;

	(void)state;
	assert_non_null(h);
	for (unsigned i = 0; i < 20; i++)
		sip_health_report(h, &at, ETIMEDOUT, now); /* a crowd that fails at once is one failure */
	assert_int_equal(sip_health_until(h, &at, now), now + SIP_HEALTH_FIRST_MS);
	now += SIP_HEALTH_FIRST_MS;
	assert_int_equal(sip_health_until(h, &at, now), 0);
	for (unsigned i = 0; i < 20; i++) {
		sip_health_report(h, &at, ETIMEDOUT, now);
		now = sip_health_until(h, &at, now);
	}
	sip_health_report(h, &at, ETIMEDOUT, now);
	assert_int_equal(sip_health_until(h, &at, now), now + SIP_HEALTH_LONGEST_MS);
	for (unsigned i = 0; i < SIP_HEALTH_MAX + 10; i++) {
		at.remote = addr_v4(0x0a000000 + i, 5060);
		sip_health_report(h, &at, ETIMEDOUT, now);
	}
	rows = sip_health_json(h, now);
	assert_int_equal(json_array_size(rows), SIP_HEALTH_MAX);
	json_decref(rows);
	sip_health_free(h);
}

static uint32_t highest(uint32_t below, void *arg)
{
	(void)arg;
	return below - 1;
}
static uint32_t lowest(uint32_t below, void *arg)
{
	(void)below;
	(void)arg;
	return 0;
}
static uint32_t cycle(uint32_t below, void *arg)
{
	unsigned *n = arg;
	return (*n)++ % below;
}

static void srv_records_come_by_priority_and_weight(void **state)
{
	static const struct dns_srv v[] = { { 20, 5, 1, "late" },
					    { 10, 60, 2, "often" },
					    { 10, 20, 3, "seldom" },
					    { 10, 0, 4, "spare" } };
	struct dns_srv s[4];
	unsigned n = 0, first[6] = { 0 };

	(void)state;
	memcpy(s, v, sizeof(v));
	sip_srv_order(s, 4, highest, NULL);
	assert_int_equal(s[3].port, 1); /* a lower priority is never before */
	memcpy(s, v, sizeof(v));
	sip_srv_order(s, 4, lowest, NULL);
	assert_int_equal(s[3].port, 1);
	for (unsigned i = 0; i < 81 * 100; i++) {
		memcpy(s, v, sizeof(v));
		sip_srv_order(s, 4, cycle, &n);
		first[s[0].port]++;
	}
	assert_in_range(first[2], 5500, 6600); /* 60 of 80 */
	assert_in_range(first[3], 1500, 2600); /* 20 of 80 */
}

/* ---- raw answers ---- */

#define HEAD "\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
#define QUESTION                                                                                   \
	"\x04_sip\x04_udp\x01"                                                                     \
	"d\x00\x00\x21\x00\x01"
#define RECORD "\xc0\x0c\x00\x21\x00\x01\x00\x00\x00\x3c"

static enum dns_status parse(const char *p, size_t n, struct dns_records **r)
{
	char *block = malloc(n);
	enum dns_status s;

	assert_non_null(block);
	memcpy(block, p, n);
	*r = NULL;
	s = dns_records_parse(block, n, DNS_SRV, r);
	free(block);
	return s;
}

static void raw_answers_are_read_strictly(void **state)
{
	static const char good[] = HEAD QUESTION RECORD "\x00\x0a\x00\x0a\x00\x14\x13\xc4\x01"
							"h\xc0\x16";
	static const char loop[] = HEAD QUESTION RECORD "\x00\x08\x00\x0a\x00\x14\x13\xc4\xc0\x2a";
	static const char over[] = HEAD QUESTION RECORD "\x00\x30\x00\x0a\x00\x14\x13\xc4\x01"
							"h\xc0\x16";
	static const char tail[] = HEAD QUESTION RECORD "\x00\x0b\x00\x0a\x00\x14\x13\xc4\x01"
							"h\xc0\x16!";
	static const char odd[] = HEAD QUESTION RECORD "\x00\x0a\x00\x0a\x00\x14\x13\xc4\x01\n\xc0\x16";
	struct dns_records *r;

	(void)state;
	assert_int_equal(parse(good, sizeof(good) - 1, &r), DNS_OK);
	assert_int_equal(r->n, 1);
	assert_int_equal(r->ttl_s, 60);
	assert_int_equal(r->srv[0].priority, 10);
	assert_int_equal(r->srv[0].weight, 20);
	assert_int_equal(r->srv[0].port, 5060);
	assert_string_equal(r->srv[0].target, "h.d");
	dns_records_unref(r);
	for (size_t n = 0; n < sizeof(good) - 1; n++)
		assert_int_not_equal(parse(good, n, &r), DNS_OK);
	assert_int_not_equal(parse(loop, sizeof(loop) - 1, &r), DNS_OK); /* a pointer to itself */
	assert_int_not_equal(parse(over, sizeof(over) - 1, &r), DNS_OK); /* a record beyond the end */
	assert_int_not_equal(parse(tail, sizeof(tail) - 1, &r), DNS_OK); /* bytes behind the name */
	assert_int_not_equal(parse(odd, sizeof(odd) - 1, &r), DNS_OK);	 /* a line end in a name */
}

static void partners_are_found_by_their_federation_record_alone(void **state)
{
	struct world *w = *state;
	struct sip_next n = host("fed.test");

	n.federation = true;
	assert_string_equal(where(w, n), "tls:192.0.2.1:5062 tls:192.0.2.2:5063");
	assert_string_equal(w->name, "fed.test"); /* what its certificate must name */
	n.sips_srv = true;
	assert_string_equal(where(w, n), "tls:192.0.2.1:5062 tls:192.0.2.2:5063");
	n = host("sips.test");
	n.federation = true;
	assert_string_equal(where(w, n), "");
	assert_non_null(strstr(w->why, "no SRV record _sipfederationtls._tcp"));
	n.sips_srv = true;
	assert_string_equal(where(w, n), "tls:192.0.2.2:5081");
	n = host("plain.test"); /* it has addresses, and that is no invitation */
	n.federation = n.sips_srv = true;
	assert_string_equal(where(w, n), "");
	n = host("deaf.test");
	n.federation = true;
	assert_string_equal(where(w, n), "");
	assert_non_null(strstr(w->why, dns_status_text(DNS_TIMEOUT)));
}

static void a_partners_record_does_not_lead_into_our_network(void **state)
{
	struct world *w = *state;
	struct sip_next n = host("inside.test");

	n.federation = true;
	assert_string_equal(where(w, n), "tls:192.0.2.1:5061");
	n = host("lan.test");
	n.federation = true;
	assert_string_equal(where(w, n), "");
	assert_non_null(strstr(w->why, "10.0.0.5"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(numbers_ask_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(naptr_chooses_the_transport_and_srv_the_order,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_or_a_transport_shortens_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(without_naptr_the_services_are_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failure_says_which_one_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(
			who_swallows_srv_questions_is_asked_for_addresses_in_time, setup, teardown),
		cmocka_unit_test_setup_teardown(answers_are_kept_for_their_time_to_live, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_place_goes_behind_the_others_and_never_away,
						setup, teardown),
		cmocka_unit_test(health_forgets_after_a_while_and_is_bounded),
		cmocka_unit_test(srv_records_come_by_priority_and_weight),
		cmocka_unit_test(raw_answers_are_read_strictly),
		cmocka_unit_test_setup_teardown(partners_are_found_by_their_federation_record_alone,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_partners_record_does_not_lead_into_our_network,
						setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
