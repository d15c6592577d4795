/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routing through the proxy (RFC 3261 16, RFC 5393): what is checked, what is changed in the copy that goes on, calls
 * with Record-Route from end to end, and that strangers are not relayed for.
 */
#include <stdio.h>
#include <string.h>
#include "tests/scenario/sip_world.h"

#define ALICE "udp:192.0.2.1:5060"
#define BOB "udp:192.0.2.20:5060"

static void begin(struct world *w)
{
	world_init(w);
	world_place(w, "sip:bob@192.0.2.20", NULL, 1000);
	world_start(w);
}

static void the_copy_has_our_via_the_new_target_and_one_hop_less(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say_req(&w, ALICE,
		&(struct req){ .method = "MESSAGE",
			       .body = "hello",
			       .more = "X-Unknown: kept  as it is\r\n" });
	struct sent s = expect_request(&w, "MESSAGE", BOB);
	assert_true(sent_has(
		&s, "MESSAGE sip:bob@192.0.2.20 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.100:5060;branch=z9hG4bK"));
	assert_string_equal(sent_value(&s, SIP_H_VIA, 1), "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1");
	assert_string_equal(sent_value(&s, SIP_H_MAX_FORWARDS, 0), "69");
	assert_string_equal(sent_value(&s, SIP_H_MAX_BREADTH, 0), "60");
	assert_string_equal(sent_value(&s, SIP_H_RECORD_ROUTE, 0), ""); /* a MESSAGE makes no dialog */
	assert_true(sent_has(&s, "X-Unknown: kept  as it is\r\n"));
	assert_true(sent_has(&s, "\r\n\r\nhello"));
	reply(&w, BOB, &s, 200, "b", "X-Too: 1\n");
	struct sent r = expect_response(&w, 200, ALICE);
	assert_int_equal(sent_count(&r, "Via:"), 1);
	assert_true(sent_has(&r, "X-Too: 1"));
	sent_free(&r);
	sent_free(&s);
	world_stop(&w);
}

static void max_forwards_is_added_if_there_is_none_and_zero_is_refused(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ .max_forwards = -2 });
	struct sent s = expect_request(&w, "INVITE", BOB);
	assert_string_equal(sent_value(&s, SIP_H_MAX_FORWARDS, 0), "70");
	sent_free(&s);
	say_req(&w, ALICE, &(struct req){ .max_forwards = -1, .branch = "z9hG4bK-2" });
	expect_and_free(&w, 483, ALICE);
	world_stop(&w);
}

static void an_extension_that_a_proxy_would_need_is_refused_by_its_name(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ .more = "Proxy-Require: foo\r\nRequire: 100rel\r\n" });
	struct sent s = expect_response(&w, 420, ALICE);
	assert_string_equal(sent_value(&s, SIP_H_UNSUPPORTED, 0), "foo");
	sent_free(&s);
	say_req(&w, ALICE, &(struct req){ .branch = "z9hG4bK-2", .more = "Require: 100rel\r\n" }); /* is the UAS's */
	s = expect_request(&w, "INVITE", BOB);
	sent_free(&s);
	world_stop(&w);
}

static void a_refusal_costs_no_transaction_and_its_ack_is_known(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	w.refuse = SIP_REFUSE_POLICY;
	for (unsigned i = 0; i < 2; i++) { /* the same response to the same request, with the same tag */
		char tag[64];
		say_req(&w, ALICE, &(struct req){ 0 });
		struct sent s = expect_response(&w, 403, ALICE);
		snprintf(tag, sizeof tag, "%s", strstr(sent_value(&s, SIP_H_TO, 0), "tag=") + 4);
		say_req(&w, ALICE, &(struct req){ .method = "ACK", .to_tag = tag });
		expect_nothing(&w);
		sent_free(&s);
	}
	assert_int_equal(sip_txs_charges(sip_proxy_txs(w.px))->open, 0);
	assert_int_equal(sip_proxy_counts(w.px)->stray_acks, 2);
	assert_int_equal(sip_proxy_counts(w.px)->refused[SIP_REFUSE_POLICY], 2);
	world_stop(&w);
}

static void a_challenge_is_sent_without_a_transaction(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	w.answer_401 = true;
	say_req(&w, ALICE, &(struct req){ .method = "REGISTER", .uri = "sip:uc.test" });
	struct sent s = expect_response(&w, 401, ALICE);
	assert_true(sent_has(&s, "WWW-Authenticate: Digest realm=\"uc.test\""));
	sent_free(&s);
	assert_int_equal(sip_txs_counts(sip_proxy_txs(w.px))->servers, 0);
	world_stop(&w);
}

static void strangers_are_not_relayed_for(void **state)
{
	static struct world w;
	static const char *const routes[] = {
		"",
		"Route: <sip:192.0.2.100;lr>\r\n",
		"Route: <sip:x@192.0.2.100:5060;lr>, <sip:victim.example;lr>\r\n",
		"Route: <sip:AAAAAAAAAAAAAAA@192.0.2.100:5060;lr>\r\n",
		"Route: <sip:victim.example;lr>\r\n",
	};
	(void)state;
	begin(&w);
	for (unsigned i = 0; i < ARRAY_LEN(routes); i++) {
		char branch[32];
		snprintf(branch, sizeof branch, "z9hG4bK-r%u", i);
		say_req(&w, "udp:203.0.113.9:5060",
			&(struct req){ .uri = "sip:premium@victim.example",
				       .branch = branch,
				       .more = routes[i],
				       .to_tag = i % 2 ? "t" : NULL });
		expect_and_free(&w, 403, "udp:203.0.113.9:5060");
		expect_nothing(&w);
		say_req(&w, "udp:203.0.113.9:5060",
			&(struct req){ .method = "ACK",
				       .uri = "sip:premium@victim.example",
				       .branch = branch,
				       .more = routes[i],
				       .to_tag = "t" });
		expect_nothing(&w);
	}
	assert_int_equal(w.n_lookups, 0);
	assert_int_equal(sip_txs_counts(sip_proxy_txs(w.px))->clients, 0);
	world_stop(&w);
}

static void options_to_ourselves_are_answered_and_unknown_users_are_not_found(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ .method = "OPTIONS", .uri = "sip:192.0.2.100" });
	expect_and_free(&w, 200, ALICE);
	say_req(&w, ALICE,
		&(struct req){ .method = "OPTIONS", .uri = "sip:carol@uc.test", .branch = "z9hG4bK-2" });
	expect_and_free(&w, 404, ALICE);
	say_req(&w, ALICE, &(struct req){ .uri = "tel:+4930123", .branch = "z9hG4bK-3" });
	expect_and_free(&w, 403, ALICE);
	say_req(&w, ALICE, &(struct req){ .uri = "http://uc.test", .branch = "z9hG4bK-4" });
	expect_and_free(&w, 416, ALICE);
	world_stop(&w);
}

static void received_and_rport_are_written_into_the_via_and_responses_go_there(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say_req(&w, "udp:203.0.113.5:40123",
		&(struct req){ .method = "MESSAGE", .branch = "z9hG4bK-1;rport" });
	struct sent s = expect_request(&w, "MESSAGE", BOB);
	assert_true(strstr(sent_value(&s, SIP_H_VIA, 1), "received=203.0.113.5") != NULL);
	assert_true(strstr(sent_value(&s, SIP_H_VIA, 1), "rport=40123") != NULL);
	reply(&w, BOB, &s, 200, "b", NULL);
	expect_and_free(&w, 200, "udp:203.0.113.5:40123");
	sent_free(&s);
	world_stop(&w);
}

/* INVITE, 180, 200, ACK, then requests of the dialog from both sides, each by the routes that were recorded. */
static void call(struct world *w, const char *alice, const char *bob, const char *proto,
		 unsigned record_routes)
{
	char to_bob[1024], to_alice[1024];
	say_req(w, alice, &(struct req){ .proto = proto });
	struct sent s = expect_request(w, "INVITE", bob), r;
	assert_int_equal(sent_count(&s, "Record-Route:"), record_routes);
	reply(w, bob, &s, 180, "b", "RSeq: 1\nRequire: 100rel\n");
	r = expect_response(w, 180, alice);
	assert_int_equal(sent_count(&r, "Record-Route:"), record_routes);
	assert_true(sent_has(&r, "RSeq: 1") && sent_has(&r, "Require: 100rel"));
	sent_routes(&r, true, to_bob, sizeof to_bob);
	sent_routes(&s, false, to_alice, sizeof to_alice);
	sent_free(&r);
	const char *bob_uri = strncmp(bob, "tcp", 3) == 0 ? "sip:bob@192.0.2.20;transport=tcp"
			      : strstr(bob, "10.")	  ? "sip:bob@10.0.0.20"
							  : "sip:bob@192.0.2.20";
	const char *alice_uri = strncmp(alice, "tcp", 3) == 0 ? "sip:alice@192.0.2.1;transport=tcp"
							      : "sip:alice@192.0.2.1";
	char prack[1200];
	snprintf(prack, sizeof prack, "%sRAck: 1 1 INVITE\r\n", to_bob);
	say_req(w, alice,
		&(struct req){ .method = "PRACK",
			       .uri = bob_uri,
			       .to_tag = "b",
			       .branch = "z9hG4bK-p",
			       .cseq = 2,
			       .more = prack,
			       .proto = proto });
	r = expect_request(w, "PRACK", bob);
	assert_int_equal(sent_count(&r, "Route:"), 0);
	reply(w, bob, &r, 200, NULL, NULL);
	expect_and_free(w, 200, alice);
	sent_free(&r);
	reply(w, bob, &s, 200, "b", NULL);
	expect_and_free(w, 200, alice);
	say_req(w, alice,
		&(struct req){ .method = "ACK",
			       .uri = bob_uri,
			       .to_tag = "b",
			       .branch = "z9hG4bK-ack",
			       .more = to_bob,
			       .proto = proto });
	r = expect_request(w, "ACK", bob);
	assert_int_equal(sent_count(&r, "Route:"), 0);
	assert_int_equal(sent_count(&r, "Via:"), 2);
	sent_free(&r);
	/* bob hangs up */
	say_req(w, bob,
		&(struct req){ .method = "BYE",
			       .uri = alice_uri,
			       .from_tag = "b",
			       .to_tag = "a",
			       .branch = "z9hG4bK-bye",
			       .via_host = "192.0.2.20:5060",
			       .more = to_alice,
			       .proto = strncmp(bob, "tcp", 3) == 0 ? "TCP" : "UDP" });
	r = expect_request(w, "BYE", alice);
	assert_int_equal(sent_count(&r, "Route:"), 0);
	reply(w, alice, &r, 200, NULL, NULL);
	expect_and_free(w, 200, bob);
	sent_free(&r);
	sent_free(&s);
	expect_nothing(w);
}

static void a_call_follows_its_recorded_routes_in_both_directions(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	call(&w, ALICE, BOB, "UDP", 1);
	assert_int_equal(sip_proxy_counts(w.px)->acks_forwarded, 1);
	world_stop(&w);
}

static void between_two_transports_or_interfaces_the_route_is_recorded_twice(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	call(&w, "tcp:192.0.2.1:33000", BOB, "TCP", 2);
	world_stop(&w);
	world_init(&w);
	world_place(&w, "sip:bob@192.0.2.20;transport=tcp", NULL, 1000);
	world_start(&w);
	call(&w, ALICE, "tcp:192.0.2.20:5060", "UDP", 2);
	world_stop(&w);
	world_init(&w);
	world_place(&w, "sip:bob@10.0.0.20", NULL, 1000);
	world_start(&w);
	call(&w, ALICE, "udp:10.0.0.20:5060", "UDP", 2);
	world_stop(&w);
}

static void a_client_behind_nat_is_called_back_by_its_flow(void **state)
{
	static struct world w;
	char to_alice[1024];
	(void)state;
	begin(&w);
	say_req(&w, "udp:203.0.113.5:40123", &(struct req){ .branch = "z9hG4bK-1;rport" });
	struct sent s = expect_request(&w, "INVITE", BOB), r;
	assert_int_equal(sent_count(&s, "Record-Route:"), 2);
	sent_routes(&s, false, to_alice, sizeof to_alice);
	reply(&w, BOB, &s, 200, "b", NULL);
	expect_and_free(&w, 200, "udp:203.0.113.5:40123");
	say_req(&w, BOB,
		&(struct req){ .method = "BYE",
			       .uri = "sip:alice@192.168.1.7",
			       .from_tag = "b",
			       .to_tag = "a",
			       .branch = "z9hG4bK-bye",
			       .via_host = "192.0.2.20",
			       .more = to_alice });
	r = expect_request(&w, "BYE", "udp:203.0.113.5:40123");
	sent_free(&r);
	sent_free(&s);
	world_stop(&w);
}

static void a_client_that_only_asks_for_rport_needs_no_flow(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ .branch = "z9hG4bK-1;rport" });
	struct sent s = expect_request(&w, "INVITE", BOB);
	assert_true(sent_has(&s, "rport=5060"));
	assert_int_equal(sent_count(&s, "Record-Route:"), 1);
	sent_free(&s);
	world_stop(&w);
}

static void a_recorded_route_opens_no_other_dialog(void **state)
{
	static struct world w;
	char routes[1024];
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	struct sent s = expect_request(&w, "INVITE", BOB);
	sent_routes(&s, false, routes, sizeof routes);
	const struct req tries[] = {
		{ .call = "call-2", .to_tag = "b" },
		{ .from_tag = "other", .to_tag = "b" },
		{ .method = "MESSAGE" }, /* no dialog at all */
	};
	for (unsigned i = 0; i < ARRAY_LEN(tries); i++) {
		struct req r = tries[i];
		r.uri = "sip:premium@198.51.100.1";
		r.branch = "z9hG4bK-other";
		r.more = routes;
		say_req(&w, ALICE, &r);
		expect_and_free(&w, 403, ALICE);
		expect_nothing(&w);
	}
	sent_free(&s);
	world_stop(&w);
}

/* Nor does the Route of a caller who can be reached by his connection alone, which names it: neither while it is there nor when it
 * is gone, and the Request-URI would say where to go. */
static void a_recorded_flow_is_of_its_dialog_too(void **state)
{
	static const char from[] = "tcp:203.0.113.9:40001";
	static struct world w;
	struct req r = { .method = "MESSAGE", .uri = "sip:premium@198.51.100.1", .proto = "TCP", .via_host = "203.0.113.9:40001" };
	char route[1024];
	(void)state;
	begin(&w);
	say_req(&w, "tcp:203.0.113.9:40000", &(struct req){ .proto = "TCP", .via_host = "203.0.113.9:40000" });
	struct sent s = expect_request(&w, "INVITE", BOB);
	snprintf(route, sizeof route, "Route: %s\r\n", sent_value(&s, SIP_H_RECORD_ROUTE, 1));
	sent_free(&s);
	r.more = route;
	for (unsigned i = 0; i < 2; i++) {
		r.branch = i ? "z9hG4bK-dead" : "z9hG4bK-alive";
		w.dead_conn = i ? 40000 : 0;
		say_req(&w, from, &r);
		expect_and_free(&w, 403, from);
		expect_nothing(&w);
	}
	world_stop(&w);
}

/* The ACK for a 2xx leaves by the interface that the Route names, as the dialog's other requests: another one has another address,
 * and perhaps another certificate. */
static void the_ack_leaves_by_the_interface_of_the_dialog(void **state)
{
	static const char *const uris[] = { "sip:bob@10.0.0.20", "sip:bob@ten.test" };
	static struct world w;
	char routes[1024], branch[32];
	(void)state;
	world_init(&w);
	world_place(&w, "sip:bob@10.0.0.20", NULL, 1000);
	world_start(&w);
	w.names[0].name = "ten.test";
	w.names[0].at[0] = "udp:10.0.0.20:5060";
	call_up(&w, ALICE, "udp:10.0.0.20:5060", routes, sizeof routes);
	for (unsigned i = 0; i < ARRAY_LEN(uris); i++) {
		static const char *const methods[] = { "INFO", "ACK" };
		for (unsigned k = 0; k < ARRAY_LEN(methods); k++) {
			snprintf(branch, sizeof branch, "z9hG4bK-%u-%u", i, k);
			say_req(&w, ALICE,
				&(struct req){ .method = methods[k],
					       .uri = uris[i],
					       .to_tag = "b",
					       .branch = branch,
					       .cseq = 5,
					       .more = routes });
			if (i == 1)
				answer_lookup(&w, w.n_lookups - 1, true);
			struct sent s = expect_request(&w, methods[k], "udp:10.0.0.20:5060");
			assert_int_equal(s.to.hop.iface, 4);
			if (k == 0) {
				reply(&w, "udp:10.0.0.20:5060", &s, 200, NULL, NULL);
				expect_and_free(&w, 200, ALICE);
			}
			sent_free(&s);
		}
	}
	world_stop(&w);
}

/* The listener was called so when the dialog began; meanwhile another address is advertised. */
static void a_route_of_ours_is_known_by_its_token_whatever_host_it_names(void **state)
{
	static const char *const methods[] = { "INFO", "ACK", "BYE" };
	static struct world w;
	char routes[1024], old[1024] = "", branch[32];
	(void)state;
	begin(&w);
	call_up(&w, ALICE, BOB, routes, sizeof routes);
	for (char *p = routes, *at; *p; p = at + strlen("192.0.2.100")) {
		at = strstr(p, "192.0.2.100");
		if (!at) {
			text_append(old, sizeof old, p);
			break;
		}
		*at = 0;
		text_append(old, sizeof old, p);
		text_append(old, sizeof old, "203.0.113.77");
	}
	assert_non_null(strstr(old, "@203.0.113.77"));
	for (unsigned i = 0; i < ARRAY_LEN(methods); i++) {
		snprintf(branch, sizeof branch, "z9hG4bK-old%u", i);
		say_req(&w, ALICE, &(struct req){ .method = methods[i], .uri = "sip:bob@192.0.2.20", .to_tag = "b", .branch = branch, .cseq = 2 + i, .more = old });
		struct sent s = expect_request(&w, methods[i], BOB);
		assert_int_equal(sent_count(&s, "Route:"), 0);
		sent_free(&s);
	}
	/* in another dialog it is anybody's Route */
	say_req(&w, ALICE, &(struct req){ .method = "INFO", .call = "call-2", .to_tag = "b", .branch = "z9hG4bK-other", .cseq = 9, .more = old });
	struct sent s = expect_request(&w, "INFO", "udp:203.0.113.77:5060");
	assert_int_equal(sent_count(&s, "Route: <sip:"), 1);
	sent_free(&s);
	world_stop(&w);
}

/* Who is in a dialog may say where its requests go. To a listener of ours they would come in again, and by sip.lan as from
 * the own network: a stranger who was called back could register as anybody. */
static void nothing_of_a_dialog_comes_back_to_a_listener_of_ours(void **state)
{
	static const char *const uris[] = { "sip:10.0.0.100", "sip:192.0.2.100:5060",
					    "sip:x@ours.test:5060", "sip:10.0.0.100;transport=tcp" };
	static struct world w;
	char routes[4096], branch[32];
	(void)state;
	begin(&w);
	call_up(&w, ALICE, BOB, routes, sizeof routes);
	w.names[0].name = "ours.test";
	w.names[0].at[0] = "udp:10.0.0.100:5060";
	for (unsigned i = 0; i < ARRAY_LEN(uris); i++) {
		snprintf(branch, sizeof branch, "z9hG4bK-own%u", i);
		say_req(&w, ALICE,
			&(struct req){ .method = "MESSAGE",
				       .uri = uris[i],
				       .to_tag = "b",
				       .branch = branch,
				       .cseq = i + 2,
				       .more = routes });
		if (strstr(uris[i], "ours.test"))
			answer_lookup(&w, w.n_lookups - 1, true);
		expect_and_free(&w, 482, ALICE);
		expect_nothing(&w);
	}
	for (unsigned i = 0; i < 40; i++) /* our own names in front are taken off, but not without end */
		snprintf(routes + strlen(routes), sizeof routes - strlen(routes),
			 "Route: <sip:10.0.0.100;lr>\r\n");
	say_req(&w, ALICE,
		&(struct req){ .method = "MESSAGE",
			       .to_tag = "b",
			       .branch = "z9hG4bK-own9",
			       .cseq = 9,
			       .more = routes });
	expect_and_free(&w, 482, ALICE);
	world_stop(&w);
}

/* REGISTER is of no dialog (RFC 3261 10.2): a Route of one is no proof that it need not be asked for credentials. */
static void a_registration_gets_nothing_by_the_route_of_a_dialog(void **state)
{
	static struct world w;
	char routes[1024];
	(void)state;
	begin(&w);
	call_up(&w, ALICE, BOB, routes, sizeof routes);
	say_req(&w, ALICE,
		&(struct req){ .method = "REGISTER",
			       .uri = "sip:198.51.100.1",
			       .to_tag = "b",
			       .branch = "z9hG4bK-2",
			       .cseq = 2,
			       .more = routes });
	expect_and_free(&w, 403, ALICE);
	expect_nothing(&w);
	world_stop(&w);
}

static void a_strict_router_before_us_is_undone_and_one_behind_us_is_obeyed(void **state)
{
	static struct world w;
	char routes[1024], uri[256];
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	struct sent s = expect_request(&w, "INVITE", BOB), r;
	snprintf(uri, sizeof uri, "%s", sent_value(&s, SIP_H_RECORD_ROUTE, 0) + 1);
	*strchr(uri, '>') = 0;
	say_req(&w, ALICE,
		&(struct req){ .method = "BYE",
			       .uri = uri,
			       .to_tag = "b",
			       .branch = "z9hG4bK-2",
			       .more = "Route: <sip:bob@192.0.2.20>\r\n" });
	r = expect_request(&w, "BYE", BOB);
	assert_true(sent_has(&r, "BYE sip:bob@192.0.2.20 SIP/2.0"));
	assert_int_equal(sent_count(&r, "Route:"), 0);
	sent_free(&r);
	sent_routes(&s, true, routes, sizeof routes);
	snprintf(routes + strlen(routes), sizeof routes - strlen(routes),
		 "Route: <sip:192.0.2.50>, <sip:192.0.2.51;lr>\r\n");
	say_req(&w, ALICE,
		&(struct req){ .method = "BYE",
			       .uri = "sip:bob@192.0.2.20",
			       .to_tag = "b",
			       .branch = "z9hG4bK-3",
			       .more = routes });
	r = expect_request(&w, "BYE", "udp:192.0.2.50:5060");
	assert_true(sent_has(&r, "BYE sip:192.0.2.50 SIP/2.0"));
	assert_string_equal(sent_value(&r, SIP_H_ROUTE, 0), "<sip:192.0.2.51;lr>");
	assert_string_equal(sent_value(&r, SIP_H_ROUTE, 1), "<sip:bob@192.0.2.20>");
	sent_free(&r);
	sent_free(&s);
	world_stop(&w);
}

/* Sends what came out back in, as a route that leads back to us would. */
static struct sent back(struct world *w, const struct sent *s)
{
	struct sent r;
	say(w, "udp:192.0.2.100:5060", s->bytes);
	assert_true(take(w, &r));
	return r;
}

static void a_loop_is_detected_and_a_spiral_is_not(void **state)
{
	static struct world w;
	(void)state;
	world_init(&w);
	world_place(&w, "sip:bob@192.0.2.100", NULL, 1000);
	world_start(&w);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE" });
	struct sent s = expect_request(
		&w, "MESSAGE", "udp:192.0.2.100:5060"); /* from sip:bob@uc.test to sip:bob@192.0.2.100 */
	struct sent again = back(&w, &s);		/* another Request-URI: a spiral */
	assert_true(strncmp(again.bytes, "MESSAGE sip:bob@192.0.2.100", 27) == 0);
	struct sent loop = back(&w, &again); /* the same one: a loop */
	assert_true(strncmp(loop.bytes, "SIP/2.0 482 ", 12) == 0);
	sent_free(&s);
	sent_free(&again);
	sent_free(&loop);
	world_stop(&w);
}

static void hooks_edit_what_passes_and_may_replace_responses(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	w.strip = "P-Asserted-Identity";
	w.drop_401 = true;
	say_req(&w, ALICE,
		&(struct req){ .method = "MESSAGE",
			       .more = "P-Asserted-Identity: <sip:boss@uc.test>\r\nX-Other: 1\r\n" });
	struct sent s = expect_request(&w, "MESSAGE", BOB);
	assert_false(sent_has(&s, "Asserted"));
	assert_true(sent_has(&s, "X-Other: 1"));
	reply(&w, BOB, &s, 401, "b", "WWW-Authenticate: Digest realm=\"phish\", nonce=\"1\"\n");
	struct sent r = expect_response(&w, 403, ALICE);
	assert_false(sent_has(&r, "phish"));
	sent_free(&r);
	sent_free(&s);
	world_stop(&w);
}

static void a_malformed_request_is_answered_400_and_goes_no_further(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say(&w, ALICE,
	    "MESSAGE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-1\r\nFrom: <sip:a@b>;tag=1\r\n"
	    "To: <sip:b@c>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
	expect_and_free(&w, 400, ALICE);
	say(&w, ALICE,
	    "MESSAGE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-1\r\nFrom: <sip:a@b>;tag=1\r\n"
	    "To: <sip:b@c>\r\nCall-ID: x\r\nCall-ID: y\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n");
	expect_and_free(&w, 400, ALICE);
	expect_nothing(&w);
	assert_int_equal(sip_proxy_counts(w.px)->refused[SIP_REFUSE_MALFORMED], 2);
	world_stop(&w);
}

static void a_drained_proxy_takes_nothing_new_and_ends_what_it_has(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE" });
	struct sent s = expect_request(&w, "MESSAGE", BOB);
	assert_false(sip_proxy_idle(w.px));
	sip_proxy_drain(w.px, true);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .branch = "z9hG4bK-2" });
	expect_and_free(&w, 503, ALICE);
	reply(&w, BOB, &s, 200, "b", NULL);
	expect_and_free(&w, 200, ALICE);
	assert_true(sip_proxy_idle(w.px));
	sent_free(&s);
	world_stop(&w);
}

static void subscriptions_and_their_notifications_record_routes(void **state)
{
	static struct world w;
	char to_alice[1024];
	(void)state;
	begin(&w);
	say_req(&w, ALICE,
		&(struct req){ .method = "SUBSCRIBE", .more = "Event: presence\r\nExpires: 60\r\n" });
	struct sent s = expect_request(&w, "SUBSCRIBE", BOB), n;
	assert_int_equal(sent_count(&s, "Record-Route:"), 1);
	sent_routes(&s, false, to_alice, sizeof to_alice);
	/* the NOTIFY may come before the 200 */
	say_req(&w, BOB,
		&(struct req){ .method = "NOTIFY",
			       .uri = "sip:alice@192.0.2.1",
			       .from_tag = "b",
			       .to_tag = "a",
			       .via_host = "192.0.2.20",
			       .branch = "z9hG4bK-n",
			       .more = to_alice });
	n = expect_request(&w, "NOTIFY", ALICE);
	assert_int_equal(sent_count(&n, "Record-Route:"), 1);
	reply(&w, ALICE, &n, 200, NULL, NULL);
	expect_and_free(&w, 200, BOB);
	reply(&w, BOB, &s, 200, "b", NULL);
	expect_and_free(&w, 200, ALICE);
	sent_free(&n);
	sent_free(&s);
	world_stop(&w);
}

static void a_maddr_that_names_us_is_taken_off(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say_req(&w, ALICE,
		&(struct req){ .method = "MESSAGE",
			       .uri = "sip:bob@uc.test:5060;maddr=192.0.2.100;transport=udp;x=1" });
	struct sent s = expect_request(&w, "MESSAGE", BOB);
	sent_free(&s);
	w.n_places = 0;
	w.places[0].uri.p = NULL;
	w.n_places = 1;
	say_req(&w, ALICE,
		&(struct req){ .method = "MESSAGE",
			       .uri = "sip:bob@192.0.2.33:5060;maddr=192.0.2.100;transport=udp;x=1",
			       .branch = "z9hG4bK-2" });
	s = expect_request(&w, "MESSAGE", "udp:192.0.2.33:5060");
	assert_true(sent_has(&s, "MESSAGE sip:bob@192.0.2.33;x=1 SIP/2.0"));
	sent_free(&s);
	say_req(&w, ALICE,
		&(struct req){ .method = "MESSAGE",
			       .uri = "sip:bob@192.0.2.33;maddr=192.0.2.100;x=1?Subject=y",
			       .branch = "z9hG4bK-3" });
	expect_and_free(&w, 400, ALICE); /* RFC 3261 19.1.1: no headers in a Request-URI */
	world_stop(&w);
}

static void a_response_without_the_senders_via_goes_nowhere(void **state)
{
	static struct world w;
	char text[2048], *cut;
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE" });
	struct sent s = expect_request(&w, "MESSAGE", BOB);
	snprintf(text, sizeof text, "SIP/2.0 200 OK%s", strstr(s.bytes, "\r\nVia"));
	cut = strstr(text, "Via: SIP/2.0/UDP 192.0.2.1:5060");
	memcpy(cut, "Xyz", 3);
	say(&w, BOB, text);
	expect_nothing(&w);
	assert_int_equal(sip_proxy_counts(w.px)->stray_responses, 1);
	sent_free(&s);
	world_stop(&w);
}

/* RFC 3327 and 5626: a registration passes through us; later requests come by the Path that we put in. */
static void a_registration_gets_a_path_that_leads_back_to_its_flow(void **state)
{
	static struct world w;
	char route[1024];
	(void)state;
	begin(&w);
	w.add_path = true;
	w.places[0].uri.p = NULL;
	w.places[0].next = TEXT("sip:192.0.2.20");
	say_req(&w, "tcp:203.0.113.5:40000",
		&(struct req){ .method = "REGISTER",
			       .uri = "sip:bob@home.test",
			       .proto = "TCP",
			       .via_host = "192.168.1.2" });
	struct sent s = expect_request(&w, "REGISTER", BOB), r;
	assert_int_equal(sent_count(&s, "Path:"), 1);
	snprintf(route, sizeof route, "Route: %s\r\n", sent_value(&s, SIP_H_PATH, 0));
	sent_free(&s);
	w.add_path = false;
	w.n_places = 0;
	say_req(&w, BOB,
		&(struct req){ .uri = "sip:alice@192.168.1.2",
			       .via_host = "192.0.2.20",
			       .more = route,
			       .branch = "z9hG4bK-2" });
	r = expect_request(&w, "INVITE", "tcp:203.0.113.5:40000");
	assert_true(r.to.only_flow);
	assert_int_equal(sent_count(&r, "\r\nRoute:"), 0);
	sent_free(&r);
	w.dead_conn = 40000;
	say_req(&w, BOB,
		&(struct req){ .uri = "sip:alice@192.168.1.2",
			       .via_host = "192.0.2.20",
			       .more = route,
			       .branch = "z9hG4bK-3" });
	expect_and_free(&w, 430, BOB);
	route[20] = route[20] == 'A' ? 'B' : 'A'; /* a forged one */
	say_req(&w, BOB,
		&(struct req){ .uri = "sip:alice@192.168.1.2",
			       .via_host = "192.0.2.20",
			       .more = route,
			       .branch = "z9hG4bK-4" });
	expect_and_free(&w, 403, BOB);
	world_stop(&w);
}

static void what_came_without_a_content_length_goes_on_with_one(void **state)
{
	static struct world w;
	(void)state;
	world_init(&w);
	world_place(&w, "sip:bob@192.0.2.20;transport=tcp", NULL, 1000);
	world_start(&w);
	say(&w, ALICE,
	    "MESSAGE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-1\r\nFrom: <sip:a@b>;tag=1\r\n"
	    "To: <sip:b@c>\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\n\r\nhello");
	struct sent s = expect_request(&w, "MESSAGE", "tcp:192.0.2.20:5060");
	assert_string_equal(sent_value(&s, SIP_H_CONTENT_LENGTH, 0), "5");
	sent_free(&s);
	world_stop(&w);
}

struct told {
	char text[1024];
};

static void note_it(void *arg, const char *name, const char *text)
{
	struct told *t = arg;
	size_t n = strlen(t->text);
	(void)snprintf(t->text + n, sizeof t->text - n, "%s: %s\n", name, text);
}

static void explain(struct world *w, const char *request, const char *want)
{
	struct told told = { "" };
	struct sip_explain x = { .note = note_it, .arg = &told };
	struct sip_hop from = hop_of(ALICE);
	(void)sip_proxy_explain(w->px, text_of(request), &from, &x);
	if (!strstr(told.text, want))
		fail_msg("'%s' is not in:\n%s", want, told.text);
	expect_nothing(w);
	assert_int_equal(sip_proxy_counts(w->px)->requests_out[SIP_MESSAGE], 0);
}

#define ASKED(method, uri, more)                                                                                       \
	method " " uri " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-x\r\nFrom: <sip:alice@uc.test>;tag=1\r\nTo: <" uri ">\r\n" \
	"Call-ID: x\r\nCSeq: 1 " method "\r\n" more "Content-Length: 0\r\n\r\n"

/* What would happen to a request is told, and nothing happens. */
static void a_decision_is_explained_without_being_carried_out(void **state)
{
	static struct world w;
	struct sip_explain x = { .note = note_it };
	struct sip_hop from = hop_of(ALICE);
	struct told told = { "" };
	(void)state;
	world_init(&w);
	world_start(&w);
	explain(&w, ASKED("OPTIONS", "sip:uc.test", ""), "decision: 200 OK: the proxy answers a ping itself");
	explain(&w, ASKED("MESSAGE", "sip:nobody@uc.test", ""), "decision: 404 ");
	explain(&w, ASKED("MESSAGE", "sip:x@elsewhere.test", ""), "decision: 403 ");
	explain(&w, ASKED("MESSAGE", "sip:bob@uc.test", "Max-Forwards: 0\r\n"), "decision: 483 ");
	w.refuse = SIP_REFUSE_POLICY;
	explain(&w, ASKED("MESSAGE", "sip:bob@uc.test", ""), "because the test says so");
	w.refuse = SIP_ACCEPTED;
	world_place(&w, "sip:bob@192.0.2.20", NULL, 1000);
	world_place(&w, "sip:bob@192.0.2.21", "sip:edge.test;transport=tls", 1000);
	w.places[2] = (struct sip_place){ .has_flow = true, .only_flow = true, .hop = hop_of("tcp:192.0.2.22:33000"), .q = 1000 };
	w.n_places = 3;
	explain(&w, ASKED("MESSAGE", "sip:bob@uc.test", ""), "decision: goes to sip:bob@192.0.2.20\n");
	explain(&w, ASKED("MESSAGE", "sip:bob@uc.test", ""), "decision: goes to sip:edge.test;transport=tls");
	explain(&w, ASKED("MESSAGE", "sip:bob@uc.test", ""), "192.0.2.22:33000, over the connection that is there");
	w.places[0] = (struct sip_place){ .next = TEXT("sip:edge.test;transport=udp"), .q = 1000 };
	w.n_places = 1;
	explain(&w, ASKED("MESSAGE", "sips:bob@partner.example", ""),
		"decision: 480: it would go to sip:edge.test;transport=udp, and the Request-URI is sips");
	x.arg = &told;
	assert_true(sip_proxy_explain(w.px, TEXT("no message"), &from, &x) < 0);
	assert_string_equal(told.text, "");
	world_stop(&w);
}

/* Where a registration has left a Path (RFC 3327), its first value is asked for, not the contact. */
static void the_first_of_a_path_is_the_next_hop(void **state)
{
	static struct world w;
	(void)state;
	world_init(&w);
	world_start(&w);
	w.places[0] = (struct sip_place){ .uri = TEXT("sip:bob@10.9.9.9"), .routes = TEXT("<sip:edge.test;lr>, <sip:inner.test;lr>"), .q = 1000 };
	w.n_places = 1;
	w.names[0].name = "edge.test";
	w.names[0].at[0] = "udp:192.0.2.30:5060";
	w.n_lookups = 0;
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE" });
	assert_int_equal(w.n_lookups, 1);
	assert_string_equal(w.asked_host[0], "edge.test");
	answer_lookup(&w, 0, true);
	struct sent s = expect_request(&w, "MESSAGE", "udp:192.0.2.30:5060");
	assert_true(sent_has(&s, "MESSAGE sip:bob@10.9.9.9 SIP/2.0\r\n"));
	assert_string_equal(sent_value(&s, SIP_H_ROUTE, 0), "<sip:edge.test;lr>");
	assert_string_equal(sent_value(&s, SIP_H_ROUTE, 1), "<sip:inner.test;lr>");
	reply(&w, "udp:192.0.2.30:5060", &s, 200, "b", NULL);
	sent_free(&s);
	expect_and_free(&w, 200, ALICE);
	w.places[0] = (struct sip_place){ .uri = TEXT("sip:bob@10.9.9.9"), .next = TEXT("tel:+4930123"), .q = 1000 };
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .branch = "z9hG4bK-2", .call = "2" });
	expect_and_free(&w, 502, ALICE); /* there is no way to a number */
	world_stop(&w);
}

static void a_breadth_that_is_no_number_is_malformed_and_zero_is_440(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .more = "Max-Breadth: many\r\n" });
	expect_and_free(&w, 400, ALICE);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .branch = "z9hG4bK-2", .more = "Max-Breadth: 0\r\n" });
	expect_and_free(&w, 440, ALICE);
	world_stop(&w);
}

/* What looks like a strict router's work but is not is no way around the Route's proof. */
static void a_strict_routers_uri_must_be_ours(void **state)
{
	static struct world w;
	char uri[256];
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ 0 });
	struct sent s = expect_request(&w, "INVITE", BOB);
	snprintf(uri, sizeof uri, "%s", sent_value(&s, SIP_H_RECORD_ROUTE, 0) + 1);
	*strchr(uri, '>') = 0;
	say_req(&w, ALICE,
		&(struct req){ .method = "BYE", .uri = uri, .to_tag = "b", .call = "another", .branch = "z9hG4bK-2", .more = "Route: <sip:bob@192.0.2.20>\r\n" });
	expect_and_free(&w, 403, ALICE); /* another dialog's */
	say_req(&w, ALICE, &(struct req){ .method = "BYE", .uri = uri, .to_tag = "b", .branch = "z9hG4bK-3", .more = "Route: bob\r\n" });
	expect_and_free(&w, 400, ALICE);
	say_req(&w, ALICE,
		&(struct req){ .method = "BYE", .uri = "sip:192.0.2.100:5060;lr", .to_tag = "b", .branch = "z9hG4bK-4", .more = "Route: <sip:bob@192.0.2.20>\r\n" });
	expect_and_free(&w, 403, ALICE); /* without a word of ours it proves nothing */
	sent_free(&s);
	world_stop(&w);
}

static void an_ack_waits_for_its_name_and_goes_with_the_proxy(void **state)
{
	static struct world w;
	char routes[1024];
	(void)state;
	begin(&w);
	call_up(&w, ALICE, BOB, routes, sizeof routes);
	w.n_lookups = 0;
	say_req(&w, ALICE, &(struct req){ .method = "ACK", .uri = "sip:bob@slow.test", .to_tag = "b", .branch = "z9hG4bK-a1", .more = routes });
	assert_int_equal(w.n_lookups, 1);
	assert_string_equal(w.asked_host[0], "slow.test");
	answer_lookup(&w, 0, false);
	expect_nothing(&w); /* there is nobody to whom an ACK could be refused */
	w.names[0].name = "slow.test";
	w.names[0].at[0] = BOB;
	say_req(&w, ALICE, &(struct req){ .method = "ACK", .uri = "sip:bob@slow.test", .to_tag = "b", .branch = "z9hG4bK-a2", .more = routes });
	answer_lookup(&w, 1, true);
	struct sent s = expect_request(&w, "ACK", BOB);
	sent_free(&s);
	say_req(&w, ALICE, &(struct req){ .method = "ACK", .uri = "sip:bob@slow.test", .to_tag = "b", .branch = "z9hG4bK-a3", .more = routes });
	assert_int_equal(w.n_lookups, 3);
	world_stop(&w); /* which leaves nothing */
}

/* RFC 3261 16.6 step 7, 26.2.2: to another domain's sips only by TLS; a Route without it is asked for as if it had it. Our own
 * domain may be served as it likes, and a recorded Route is one by which we are reached. */
static void sips_goes_to_other_domains_by_tls_alone(void **state)
{
	static const struct {
		const char *uri, *next, *at; /* at NULL: refused */
		const char *out, *in;	     /* the recorded Routes; out NULL: one */
	} rows[] = {
		{ "sips:bob@partner.example", "sip:192.0.2.20;transport=tcp", NULL, NULL, NULL },
		{ "sips:bob@partner.example", "sip:192.0.2.20;transport=udp", NULL, NULL, NULL },
		{ "sips:bob@partner.example", "sip:192.0.2.20;transport=tls", "tls:192.0.2.20:5061",
		  "<sips:", "<sip:" },
		{ "sip:bob@partner.example", "sip:192.0.2.20;transport=tcp", "tcp:192.0.2.20:5060",
		  "<sip:", "<sip:" },
		{ "sips:bob@uc.test", "sip:192.0.2.20;transport=tcp", "tcp:192.0.2.20:5060",
		  "<sip:", "<sip:" },
		{ "sips:bob@uc.test", "sip:192.0.2.20;transport=tls", "tls:192.0.2.20:5061",
		  "<sips:", "<sip:" },
		{ "sips:bob@uc.test", "sip:192.0.2.20;transport=udp", BOB, "<sip:", NULL },
	};
	static struct world w;
	char routes[1024];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_init(&w);
		world_place(&w, NULL, rows[i].next, 1000);
		w.places[0].uri.p = NULL;
		world_start(&w);
		say_req(&w, ALICE, &(struct req){ .uri = rows[i].uri });
		if (!rows[i].at) {
			expect_and_free(&w, 480, ALICE);
			assert_int_equal(w.refused, SIP_REFUSE_IN_CLEAR);
			world_stop(&w);
			continue;
		}
		struct sent s = expect_request(&w, "INVITE", rows[i].at);
		assert_int_equal(strncmp(sent_value(&s, SIP_H_RECORD_ROUTE, 0), rows[i].out,
					 strlen(rows[i].out)),
				 0);
		if (rows[i].in)
			assert_int_equal(strncmp(sent_value(&s, SIP_H_RECORD_ROUTE, 1), rows[i].in,
						 strlen(rows[i].in)),
					 0);
		sent_free(&s);
		world_stop(&w);
	}
	begin(&w);
	call_up(&w, ALICE, BOB, routes, sizeof routes);
	snprintf(routes + strlen(routes), sizeof routes - strlen(routes),
		 "Route: <sip:192.0.2.50;lr>\r\n");
	for (unsigned i = 0; i < 2; i++) {
		const char *method = i ? "INFO" : "ACK";
		say_req(&w, ALICE,
			&(struct req){ .method = method,
				       .uri = "sips:x@partner.example",
				       .to_tag = "b",
				       .branch = i ? "z9hG4bK-2" : "z9hG4bK-1a",
				       .cseq = 1 + i,
				       .more = routes });
		struct sent s = expect_request(&w, method, "tls:192.0.2.50:5061");
		sent_free(&s);
	}
	world_stop(&w);
}

static void a_route_that_is_not_ours_is_told(void **state)
{
	static struct world w;
	(void)state;
	begin(&w);
	say_req(&w, ALICE, &(struct req){ .method = "MESSAGE", .uri = "sip:carol@uc.test", .more = "Route: <sip:192.0.2.200;lr>\r\n" });
	expect_and_free(&w, 403, ALICE);
	assert_int_equal(w.refused, SIP_REFUSE_RELAY);
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_copy_has_our_via_the_new_target_and_one_hop_less),
		cmocka_unit_test(max_forwards_is_added_if_there_is_none_and_zero_is_refused),
		cmocka_unit_test(an_extension_that_a_proxy_would_need_is_refused_by_its_name),
		cmocka_unit_test(a_refusal_costs_no_transaction_and_its_ack_is_known),
		cmocka_unit_test(a_challenge_is_sent_without_a_transaction),
		cmocka_unit_test(strangers_are_not_relayed_for),
		cmocka_unit_test(options_to_ourselves_are_answered_and_unknown_users_are_not_found),
		cmocka_unit_test(received_and_rport_are_written_into_the_via_and_responses_go_there),
		cmocka_unit_test(a_call_follows_its_recorded_routes_in_both_directions),
		cmocka_unit_test(between_two_transports_or_interfaces_the_route_is_recorded_twice),
		cmocka_unit_test(a_client_behind_nat_is_called_back_by_its_flow),
		cmocka_unit_test(a_client_that_only_asks_for_rport_needs_no_flow),
		cmocka_unit_test(a_recorded_route_opens_no_other_dialog),
		cmocka_unit_test(a_recorded_flow_is_of_its_dialog_too),
		cmocka_unit_test(the_ack_leaves_by_the_interface_of_the_dialog),
		cmocka_unit_test(a_route_of_ours_is_known_by_its_token_whatever_host_it_names),
		cmocka_unit_test(nothing_of_a_dialog_comes_back_to_a_listener_of_ours),
		cmocka_unit_test(a_registration_gets_nothing_by_the_route_of_a_dialog),
		cmocka_unit_test(a_strict_router_before_us_is_undone_and_one_behind_us_is_obeyed),
		cmocka_unit_test(a_loop_is_detected_and_a_spiral_is_not),
		cmocka_unit_test(hooks_edit_what_passes_and_may_replace_responses),
		cmocka_unit_test(a_malformed_request_is_answered_400_and_goes_no_further),
		cmocka_unit_test(a_drained_proxy_takes_nothing_new_and_ends_what_it_has),
		cmocka_unit_test(subscriptions_and_their_notifications_record_routes),
		cmocka_unit_test(a_response_without_the_senders_via_goes_nowhere),
		cmocka_unit_test(a_registration_gets_a_path_that_leads_back_to_its_flow),
		cmocka_unit_test(what_came_without_a_content_length_goes_on_with_one),
		cmocka_unit_test(a_maddr_that_names_us_is_taken_off),
		cmocka_unit_test(a_decision_is_explained_without_being_carried_out),
		cmocka_unit_test(the_first_of_a_path_is_the_next_hop),
		cmocka_unit_test(a_breadth_that_is_no_number_is_malformed_and_zero_is_440),
		cmocka_unit_test(a_strict_routers_uri_must_be_ours),
		cmocka_unit_test(an_ack_waits_for_its_name_and_goes_with_the_proxy),
		cmocka_unit_test(sips_goes_to_other_domains_by_tls_alone),
		cmocka_unit_test(a_route_that_is_not_ours_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
