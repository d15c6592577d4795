/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIP, SIPS and tel URIs (sip-proxy/uri.h): what they are made of, what is refused, and the comparisons that RFC 3261
 * 19.1.4 and RFC 3966 give as examples, both ways round.
 */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "sip-proxy/uri.h"

#define assert_text(t, s) assert_true(text_eq((t), text_of(s)))

static struct sip_uri good(const char *s)
{
	struct sip_uri u;
	if (sip_uri_parse(text_of(s), &u) != 0)
		fail_msg("%s is refused", s);
	return u;
}

static void a_sip_uri_is_taken_apart(void **state)
{
	struct sip_uri u = good(
		"sip:alice:secretword@Atlanta.example.com:5062;transport=tcp;lr;x=%20?subject=a%20b&to=c");
	struct text v;
	(void)state;
	assert_int_equal(u.scheme, SIP_SCHEME_SIP);
	assert_text(u.user, "alice");
	assert_text(u.password, "secretword");
	assert_text(u.host, "Atlanta.example.com");
	assert_int_equal(u.host_kind, SIP_HOST_NAME);
	assert_int_equal(u.port, 5062);
	assert_text(u.transport, "tcp");
	assert_true(u.lr);
	assert_text(u.headers, "subject=a%20b&to=c");
	assert_true(sip_uri_param(&u, TEXT("X"), &v));
	assert_text(v, "%20");
	assert_true(sip_uri_param(&u, TEXT("LR"), &v));
	assert_null(v.p);
	assert_false(sip_uri_param(&u, TEXT("l"), NULL));
}

static void hosts_are_names_or_addresses(void **state)
{
	struct sip_uri u = good("sips:[2001:db8::10]:5070;maddr=192.0.2.1");
	struct addr a, want;
	(void)state;
	assert_int_equal(u.scheme, SIP_SCHEME_SIPS);
	assert_null(u.user.p);
	assert_text(u.host, "2001:db8::10");
	assert_int_equal(u.host_kind, SIP_HOST_IPV6);
	assert_text(u.maddr, "192.0.2.1");
	assert_int_equal(sip_uri_addr(&u, 5061, &a), 0);
	assert_int_equal(addr_parse(TEXT("[2001:db8::10]:5070"), 0, &want), 0);
	assert_true(addr_equal(&a, &want));
	u = good("sip:192.0.2.4");
	assert_int_equal(u.host_kind, SIP_HOST_IPV4);
	assert_int_equal(sip_uri_addr(&u, 5060, &a), 0);
	assert_int_equal(addr_port(&a), 5060);
	u = good("sip:a@host.example.com.");
	assert_int_equal(sip_uri_addr(&u, 5060, &a), -EBADMSG);
	assert_int_equal(good("sip:1.example.1a").host_kind, SIP_HOST_NAME);
}

static void users_may_hold_almost_anything(void **state)
{
	(void)state;
	assert_text(good("sip:user;par=u%40example.net@example.com").user, "user;par=u%40example.net");
	assert_text(good("sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too."
			 "(doesn't-it)@example.com")
			    .password,
		    "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)");
	assert_text(good("sip:null-%00-null@example.com").user, "null-%00-null");
	assert_text(good("sip:a:@example.com").password, "");
	assert_null(good("sip:a@example.com").password.p);
}

static void what_is_not_well_formed_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"sip",
		"sip:",
		":a",
		"sip:a@",
		"sip:@example.com",
		"sip:a@b@c",
		"sip:a@exam ple.com",
		"sip:a b@example.com",
		"1ip:a@b",
		"sip:a@b:",
		"sip:a@b:0",
		"sip:a@b:65536",
		"sip:a@b:5060x",
		"sip:a@b;",
		"sip:a@b;;lr",
		"sip:a@b;=x",
		"sip:a@b;x=",
		"sip:a@b;x=%2",
		"sip:a@b;x=%2g",
		"sip:a@b;lr;LR",
		"sip:a@b;x=1;y;x=2",
		"sip:a@b?",
		"sip:a@b?x",
		"sip:a@b?=x",
		"sip:a@b?x=<",
		"sip:a@b?x=1&",
		"sip:a@.b",
		"sip:a@b..c",
		"sip:a@256.1.1.1",
		"sip:a@1.2.3",
		"sip:a@1.2.3.4.5",
		"sip:a@1.2.3.4.",
		"sip:a@[::1",
		"sip:a@[::1]x",
		"sip:a@[1.2.3.4]",
		"sip:a@[]",
		"sip:a@2001:db8::10",
		"sip:a%@b",
		"sip:\"a\"@b",
		"sip:a@b\r\n",
		"sip:a@b,",
		"<sip:a@b>",
		"sip:a:b:c@d",
		"tel:",
		"tel:+",
		"tel:-",
		"tel:abz",
		"tel:+1a",
		"tel:1;",
		"tel:1;x;x",
		"http:",
		"http:a b",
		"http:<a>",
		"x:%zz",
	};
	struct sip_uri u;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (sip_uri_parse(text_of(bad[i]), &u) != -EBADMSG)
			fail_msg("%s is taken", bad[i]);
	assert_int_equal(sip_uri_parse((struct text){ "sip:a\0b@c", 9 }, &u), -EBADMSG);
	assert_int_equal(sip_uri_parse((struct text){ "sip:[::1\0b]", 11 }, &u), -EBADMSG);
	assert_int_equal(good("http://example.com/x?y=[::1]%20").scheme, SIP_SCHEME_OTHER);
}

static void too_many_parameters_are_nobodys(void **state)
{
	char in[1024];
	struct sip_uri u;
	(void)state;
	for (unsigned n = 64; n <= 65; n++) {
		struct sb b = sb_init(in, sizeof in);
		sb_str(&b, "sip:a@b");
		for (unsigned i = 0; i < n; i++)
			sb_fmt(&b, ";p%u", i);
		assert_int_equal(sip_uri_parse((struct text){ in, b.n }, &u), n == 64 ? 0 : -EBADMSG);
	}
}

static void a_tel_uri_is_taken_apart(void **state)
{
	struct sip_uri u = good("tel:+1-201-555-0123;ext=22");
	(void)state;
	assert_int_equal(u.scheme, SIP_SCHEME_TEL);
	assert_text(u.number, "+1-201-555-0123");
	assert_true(sip_uri_param(&u, TEXT("ext"), NULL));
	assert_text(good("tel:7042;phone-context=example.com").number, "7042");
	assert_text(good("tel:*21#;phone-context=+1").number, "*21#");
}

static void comparison_follows_the_examples(void **state)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} rows[] = {
		/* clang-format off */
		/* RFC 3261 19.1.4 */
		{ "sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true },
		{ "sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true },
		{ "sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true },
		{ "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
		  "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true },
		{ "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
		  "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true },
		{ "SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false },
		{ "sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false },
		{ "sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false },
		{ "sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false },
		{ "sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false },
		{ "sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false },
		{ "sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false },
		/* the rest of the rules */
		{ "sip:a@b", "sips:a@b", false },
		{ "sip:a@b;user=phone", "sip:a@b", false },
		{ "sip:a@b;ttl=1", "sip:a@b", false },
		{ "sip:a@b;method=INVITE", "sip:a@b", false },
		{ "sip:a@b;maddr=192.0.2.1", "sip:a@b", false },
		{ "sip:a@b;lr", "sip:a@b", true },
		{ "sip:a@b;x=%41", "sip:a@b;x=a", true },
		{ "sip:a:p@b", "sip:a@b", false },
		{ "sip:a:p@b", "sip:a:q@b", false },
		{ "sip:b", "sip:a@b", false },
		{ "sip:a%3bx@b", "sip:a;x@b", false },
		{ "sip:a%3bx@b", "sip:a%3Bx@b", true },
		{ "sip:a@[2001:db8::0:1]", "sip:a@[2001:DB8::1]", true },
		{ "sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]", false },
		{ "sip:a@b?x=1&x=2", "sip:a@b?x=1", false },
		{ "sip:a@b?x=A", "sip:a@b?X=A", true },
		{ "sip:a@b?x=A", "sip:a@b?x=a", false },
		/* RFC 3966 4 */
		{ "tel:+1-201-555-0123", "tel:+12015550123", true },
		{ "tel:+1-201-555-0123;a=b;c=d", "tel:+1(201)5550123;C=D;a=b", true },
		{ "tel:+12015550123", "tel:12015550123", false },
		{ "tel:+12015550123", "tel:+12015550124", false },
		{ "tel:+12015550123", "tel:+120155501234", false },
		{ "tel:7042;phone-context=example.com", "tel:7042;phone-context=EXAMPLE.com", true },
		{ "tel:7042;phone-context=+1-2", "tel:7042;phone-context=+12", true },
		{ "tel:7042;ext=1-2", "tel:7042;ext=12", true },
		{ "tel:7042;isub=1", "tel:7042", false },
		{ "tel:7042", "sip:7042@b", false },
		/* others */
		{ "HTTP://a", "http://a", true },
		{ "http://A", "http://a", false },
		/* clang-format on */
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct sip_uri a = good(rows[i].a), b = good(rows[i].b);
		if (sip_uri_equal(&a, &b) != rows[i].equal || sip_uri_equal(&b, &a) != rows[i].equal)
			fail_msg("%s and %s", rows[i].a, rows[i].b);
		assert_true(sip_uri_equal(&a, &a) && sip_uri_equal(&b, &b));
	}
}

static void escapes_are_undone(void **state)
{
	char out[8];
	(void)state;
	assert_int_equal(sip_uri_unescape(TEXT("a%40b%4a"), out, sizeof out), 4);
	assert_memory_equal(out, "a@bJ", 4);
	assert_int_equal(sip_uri_unescape(TEXT("a%00"), out, sizeof out), -EBADMSG);
	assert_int_equal(sip_uri_unescape(TEXT("a%0d"), out, sizeof out), -EBADMSG);
	assert_int_equal(sip_uri_unescape(TEXT("a%4"), out, sizeof out), -EBADMSG);
	assert_int_equal(sip_uri_unescape(TEXT("123456789"), out, sizeof out), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sip_uri_is_taken_apart),
		cmocka_unit_test(hosts_are_names_or_addresses),
		cmocka_unit_test(users_may_hold_almost_anything),
		cmocka_unit_test(what_is_not_well_formed_is_refused),
		cmocka_unit_test(too_many_parameters_are_nobodys),
		cmocka_unit_test(a_tel_uri_is_taken_apart),
		cmocka_unit_test(comparison_follows_the_examples),
		cmocka_unit_test(escapes_are_undone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
