/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom a certificate names (sip-proxy/identity.h), by RFC 5922 7.1: SIP URIs without a user before DNS names before the common name,
 * and nothing that a stranger could have put there to be taken for another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include "sip-proxy/identity.h"
#include "sip-proxy/transport.h"

/* Names of a certificate with this common name and these alternative names (NULL: none), a blank between them. */
static const char *names_of(const char *cn, const char *san, bool verified)
{
	static char text[8192];
	struct sb b = sb_init(text, sizeof(text));
	X509_EXTENSION *ext = san ? X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san) : NULL;
	struct sip_identity *id;
	X509 *x = X509_new();

	if (cn)
		assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, (const uint8_t *)cn, -1, -1, 0), 1);
	if (san) {
		assert_non_null(ext);
		assert_int_equal(X509_add_ext(x, ext, -1), 1);
	}
	id = sip_identity_of_x509(x, verified);
	assert_non_null(id);
	for (unsigned i = 0; i < id->n; i++)
		sb_fmt(&b, "%s%s", i ? " " : "", id->names[i]);
	assert_int_equal(id->verified, verified);
	free(id);
	X509_EXTENSION_free(ext);
	X509_free(x);
	return text;
}

static void the_names_are_those_of_the_rfc(void **state)
{
	static const struct {
		const char *cn, *san, *want;
	} rows[] = {
		{ "cn.test", "URI:sip:uc.test,DNS:other.test", "uc.test" },
		{ "cn.test", "DNS:other.test,URI:sip:UC.test,URI:sip:b.test", "uc.test b.test" },
		{ "cn.test", "URI:sip:ceo@uc.test,DNS:Other.TEST", "other.test" }, /* a user is no domain */
		{ "cn.test", "URI:sip:uc.test:5061,DNS:a.test", "a.test" },
		{ "cn.test", "URI:sips:uc.test,DNS:a.test", "a.test" },
		{ "cn.test", "URI:https://uc.test/,DNS:a.test", "a.test" },
		{ "cn.test", "DNS:a.test,IP:192.0.2.1,IP:2001:db8::1", "a.test 192.0.2.1 2001:db8::1" },
		{ "cn.test", "email:x@uc.test", "" }, /* with other names the common name is none */
		{ "cn.test", "DNS:a test", "" },
		{ "cn.test", "DNS:*.uc.test,DNS:b.test", "b.test" }, /* a wildcard covers nothing */
		{ "CN.test", NULL, "cn.test" },
		{ "Example Ltd.", NULL, "" },
		{ "m\xc3\xbcnchen.test", NULL, "" },
		{ NULL, NULL, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *got = names_of(rows[i].cn, rows[i].san, true);
		if (strcmp(got, rows[i].want) != 0)
			fail_msg("%s and %s: '%s', not '%s'", rows[i].cn, rows[i].san, got, rows[i].want);
	}
	assert_string_equal(names_of("cn.test", "DNS:a.test", false), ""); /* nothing is proven */
}

static void a_name_with_a_zero_in_it_names_nobody(void **state)
{
	static const char evil[] = "sip:uc.test\0.evil.test";
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	X509 *x = X509_new();
	struct sip_identity *id;

	(void)state;
	for (int type = GEN_DNS; type <= GEN_URI; type += GEN_URI - GEN_DNS) {
		GENERAL_NAME *g = GENERAL_NAME_new();
		ASN1_IA5STRING *s = ASN1_IA5STRING_new();
		assert_int_equal(ASN1_STRING_set(s, type == GEN_DNS ? evil + 4 : evil, (int)sizeof(evil) - (type == GEN_DNS ? 5 : 1)), 1);
		GENERAL_NAME_set0_value(g, type, s);
		assert_true(sk_GENERAL_NAME_push(names, g) > 0);
	}
	assert_int_equal(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0), 1);
	id = sip_identity_of_x509(x, true);
	assert_int_equal(id->n, 0);
	free(id);
	GENERAL_NAMES_free(names);
	X509_free(x);
}

static void many_and_long_names_are_bounded(void **state)
{
	static char san[70 * 16 + 400];
	struct sb b = sb_init(san, sizeof(san));
	unsigned n = 1;

	(void)state;
	sb_fmt(&b, "DNS:%0300d", 1); /* longer than any host */
	for (unsigned i = 0; i < 70; i++)
		sb_fmt(&b, ",DNS:h%u.test", i);
	for (const char *p = names_of("cn.test", san, true); (p = strchr(p, ' ')); p++)
		n++;
	assert_int_equal(n, 64);
	assert_int_equal(strncmp(names_of("cn.test", san, true), "h0.test h1.test", 15), 0);
}

static void what_is_no_certificate_is_nobody(void **state)
{
	(void)state;
	assert_null(sip_identity_of_x509(NULL, true));
	assert_null(sip_identity_of_file("/nowhere/at/all.pem"));
	assert_null(sip_identity_of_file("/dev/null"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_names_are_those_of_the_rfc),
		cmocka_unit_test(a_name_with_a_zero_in_it_names_nobody),
		cmocka_unit_test(many_and_long_names_are_bounded),
		cmocka_unit_test(what_is_no_certificate_is_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
