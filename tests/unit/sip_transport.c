/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of sip-proxy/transport.h: what a receiver writes into a Via (RFC 3261 18.2.1, RFC 3581 4), where a
 * response goes (RFC 3261 18.2.2), and whom a certificate speaks for (RFC 5922 7.2).
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "sip-proxy/transport.h"

static struct addr at(const char *s)
{
	struct addr a;
	assert_int_equal(addr_parse(text_of(s), 0, &a), 0);
	return a;
}

static struct sip_via via(const char *s)
{
	struct sip_via v;
	assert_int_equal(sip_via_parse(text_of(s), &v), 0);
	return v;
}

static void a_via_gets_received_and_rport_where_they_are_due(void **state)
{
	static const struct {
		const char *via, *from, *want; /* want NULL: nothing changes */
	} rows[] = {
		{ "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa", "192.0.2.1:5060", NULL },
		{ "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa", "192.0.2.1:4444", NULL },
		{ "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa", "192.0.2.1:4444",
		  "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKa;received=192.0.2.1" },
		{ "SIP/2.0/UDP pc.example.org;branch=z9hG4bKa;rport", "192.0.2.1:4444",
		  "SIP/2.0/UDP pc.example.org;branch=z9hG4bKa;received=192.0.2.1;rport=4444" },
		/* RFC 3581 4: with rport, received even if it is the same address */
		{ "SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bKa", "192.0.2.1:5060",
		  "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa;received=192.0.2.1;rport=5060" },
		/* what the sender made up about itself goes */
		{ "SIP/2.0/TCP 192.0.2.1;received=203.0.113.9;branch=z9hG4bKa", "192.0.2.1:5060",
		  "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKa;received=192.0.2.1" },
		{ "SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bKa", "[2001:db8::2]:40000",
		  "SIP/2.0/TLS [2001:db8::1]:5061;branch=z9hG4bKa;received=2001:db8::2" },
	};
	char buf[256];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sip_via v = via(rows[i].via);
		struct addr from = at(rows[i].from);
		ptrdiff_t n = sip_via_fill(&v, &from, buf, sizeof(buf));
		if (!rows[i].want)
			assert_int_equal(n, 0);
		else
			assert_string_equal(buf, rows[i].want);
	}
	struct sip_via v = via("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa");
	struct addr from = at("192.0.2.1:1");
	assert_int_equal(sip_via_fill(&v, &from, buf, 30), -ENOSPC);
}

static void a_server_transaction_answers_on_the_flow_of_its_request(void **state)
{
	struct sip_hop came = { .proto = SIP_TCP,
				.iface = 3,
				.conn = 17,
				.remote = at("192.0.2.1:40000"),
				.local = at("192.0.2.9:5060") };
	struct sip_via v = via("SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bKa");
	struct sip_target t = sip_reply_target(&v, &came);
	struct addr want = at("192.0.2.1:5070");
	(void)state;
	assert_int_equal(t.hop.conn, 17);
	assert_int_equal(t.reply_port, 5070);
	came.proto = SIP_UDP;
	came.conn = 0;
	v = via("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bKa");
	t = sip_reply_target(&v, &came); /* no rport: the sent-by's port */
	assert_true(addr_equal(&t.hop.remote, &want));
	v = via("SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bKa");
	t = sip_reply_target(&v, &came);
	assert_true(addr_equal(&t.hop.remote, &came.remote));
	assert_int_equal(t.hop.iface, 3);
	v = via("SIP/2.0/UDP 10.0.0.1;maddr=192.0.2.77;rport;branch=z9hG4bKa"); /* RFC 3261 18.2.2 */
	want = at("192.0.2.77:5060");
	t = sip_reply_target(&v, &came);
	assert_true(addr_equal(&t.hop.remote, &want));
}

/* Whoever asks us to answer to everybody is answered himself. */
static void nothing_is_answered_to_a_broadcast_or_multicast_address(void **state)
{
	static const char *const vias[] = {
		"SIP/2.0/UDP 10.0.0.1;maddr=255.255.255.255;rport;branch=z9hG4bKa",
		"SIP/2.0/UDP 10.0.0.1;maddr=224.0.1.75;rport;branch=z9hG4bKa",
		"SIP/2.0/UDP 10.0.0.1;maddr=0.0.0.0;rport;branch=z9hG4bKa"
	};
	struct sip_hop came = { .proto = SIP_UDP, .iface = 3, .remote = at("192.0.2.1:40000") };
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vias); i++) {
		struct sip_via v = via(vias[i]);
		struct sip_target t = sip_reply_target(&v, &came);
		assert_true(addr_equal(&t.hop.remote, &came.remote));
	}
}

static void an_identity_covers_its_very_names_only(void **state)
{
	const char *const names[] = { "example.org", "*.example.net" };
	struct sip_identity id = { .verified = true, .n = 2, .names = names };
	(void)state;
	assert_true(sip_identity_covers(&id, TEXT("Example.ORG")));
	assert_false(sip_identity_covers(&id, TEXT("sub.example.org")));
	assert_false(sip_identity_covers(&id, TEXT("sip.example.net")));
	assert_false(sip_identity_covers(&id, TEXT("")));
	assert_false(sip_identity_covers(NULL, TEXT("example.org")));
	id.verified = false;
	assert_false(sip_identity_covers(&id, TEXT("example.org")));
}

static void transports_have_their_words_and_ports(void **state)
{
	enum sip_proto p;
	(void)state;
	assert_int_equal(sip_proto_parse(TEXT("tls"), &p), 0);
	assert_int_equal(p, SIP_TLS);
	assert_int_equal(sip_proto_rows[p].port, 5061);
	assert_true(sip_proto_rows[p].secure && sip_proto_rows[p].reliable);
	assert_int_equal(sip_proto_parse(TEXT("Udp"), &p), 0);
	assert_int_equal(p, SIP_UDP);
	assert_int_equal(sip_proto_parse(TEXT("sctp"), &p), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_via_gets_received_and_rport_where_they_are_due),
		cmocka_unit_test(a_server_transaction_answers_on_the_flow_of_its_request),
		cmocka_unit_test(nothing_is_answered_to_a_broadcast_or_multicast_address),
		cmocka_unit_test(an_identity_covers_its_very_names_only),
		cmocka_unit_test(transports_have_their_words_and_ports),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
