/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enrolment codes as people copy them, and the proofs: what each is bound to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include "common/bytes.h"
#include "tunnel/link/enrol.h"

/* Made by hand from the bytes 00 01 02 … 1f and their checksum, so that a code of today is read tomorrow. */
#define GOLDEN "000G40R-40M30E2-09185GR-38E1W81-24GK2GA-HC5RR34-D1P70X3-RFGMMNN"

static struct enrol_code golden(void)
{
	struct enrol_code c = { .host = "" };

	for (unsigned i = 0; i < 16; i++) {
		c.secret[i] = (uint8_t)i;
		c.root[i] = (uint8_t)(i + 16);
	}
	return c;
}

static void a_code_is_written_in_groups_that_are_read_again(void **state)
{
	struct enrol_code c = golden(), again;
	char text[ENROL_CODE_STRLEN];

	(void)state;
	assert_string_equal(enrol_code_write(&c, text), GOLDEN);
	assert_int_equal(enrol_code_parse(text_of(text), &again), ENROL_OK);
	assert_memory_equal(&c, &again, sizeof(c));
	strcpy(c.host, "tunnel.example.org");
	c.port = 7443;
	assert_string_equal(enrol_code_write(&c, text), GOLDEN "@tunnel.example.org:7443");
	assert_int_equal(enrol_code_parse(text_of(text), &again), ENROL_OK);
	assert_string_equal(again.host, "tunnel.example.org");
	assert_int_equal(again.port, 7443);
	strcpy(c.host, "2001:db8::7");
	assert_string_equal(enrol_code_write(&c, text), GOLDEN "@[2001:db8::7]:7443");
	assert_int_equal(enrol_code_parse(text_of(text), &again), ENROL_OK);
	assert_string_equal(again.host, "2001:db8::7");
}

static void what_people_do_to_a_code_is_forgiven(void **state)
{
	static const char *const ways[] = {
		"  000g40r-40m30e2-09185gr-38e1w81-24gk2ga-hc5rr34-d1p70x3-rfgmmnn  ",
		"OOOG4OR 4OM3OE2 O9I85GR 38ELW8I 24GK2GA HC5RR34 DLP7OX3 RFGMMNN",
		"000G40R40M30E209185GR38E1W8124GK2GAHC5RR34D1P70X3RFGMMNN",
		"000G-40R4-0M30-E209-185G-R38E-1W81-24GK-2GAH-C5RR-34D1-P70X-3RFG-MMNN\r\n",
	};
	struct enrol_code want = golden(), c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		if (enrol_code_parse(text_of(ways[i]), &c) != ENROL_OK)
			fail_msg("not read: %s", ways[i]);
		assert_memory_equal(&c, &want, sizeof(c));
	}
}

/* Each single slip, at each place, and two digits exchanged. */
static void every_slip_is_found(void **state)
{
	char text[] = GOLDEN;
	struct enrol_code c;

	(void)state;
	for (size_t i = 0; text[i]; i++) {
		char was = text[i];

		if (was == '-')
			continue;
		for (const char *d = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; *d; d++) {
			text[i] = *d;
			assert_int_equal(enrol_code_parse(text_of(text), &c),
					 *d == was ? ENROL_OK : ENROL_BAD_CHECKSUM);
		}
		text[i] = was;
		if (text[i + 1] && text[i + 1] != '-' && text[i + 1] != was) {
			text[i] = text[i + 1];
			text[i + 1] = was;
			assert_int_equal(enrol_code_parse(text_of(text), &c), ENROL_BAD_CHECKSUM);
			text[i + 1] = text[i];
			text[i] = was;
		}
	}
}

static void what_is_no_code_is_told_apart(void **state)
{
	static const struct {
		const char *text;
		enum enrol_error want;
	} rows[] = {
		{ "", ENROL_BAD_LENGTH },
		{ "000G40R-40M30E2", ENROL_BAD_LENGTH },
		{ GOLDEN "0", ENROL_BAD_LENGTH },
		{ "U" GOLDEN, ENROL_BAD_CHARACTER },
		{ "password", ENROL_BAD_LENGTH }, /* its letters could all be of a code */
		{ "000G40R!40M30E2", ENROL_BAD_CHARACTER },
		{ GOLDEN "@", ENROL_BAD_PLACE },
		{ GOLDEN "@host", ENROL_BAD_PLACE },
		{ GOLDEN "@host:0", ENROL_BAD_PLACE },
		{ GOLDEN "@host:65536", ENROL_BAD_PLACE },
		{ GOLDEN "@:7443", ENROL_BAD_PLACE },
		{ GOLDEN "@ho st:7443", ENROL_BAD_PLACE },
		{ GOLDEN "@[2001:db8::1]7443", ENROL_BAD_PLACE },
		{ GOLDEN "@[host]:7443", ENROL_BAD_PLACE },
		{ GOLDEN "@2001:db8::1", ENROL_BAD_PLACE },
		{ GOLDEN "@a@b:7443", ENROL_BAD_PLACE },
	};
	struct enrol_code c;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (enrol_code_parse(text_of(rows[i].text), &c) != rows[i].want)
			fail_msg("%s: %s", rows[i].text,
				 enrol_error_text(enrol_code_parse(text_of(rows[i].text), &c)));
}

static void two_codes_have_nothing_in_common_but_the_server(void **state)
{
	struct identity_hash root;
	struct enrol_code a, b;
	uint8_t id_a[ENROL_ID_LEN], id_b[ENROL_ID_LEN];

	(void)state;
	memset(&root, 0x5a, sizeof(root));
	assert_int_equal(enrol_code_make(&root, &a), 0);
	assert_int_equal(enrol_code_make(&root, &b), 0);
	assert_memory_not_equal(a.secret, b.secret, ENROL_SECRET_LEN);
	assert_memory_equal(a.root, root.b, LINK_PREFIX_LEN);
	enrol_id(a.secret, id_a);
	enrol_id(b.secret, id_b);
	assert_memory_not_equal(id_a, id_b, ENROL_ID_LEN);
	assert_memory_not_equal(id_a, a.secret, ENROL_ID_LEN);
}

static void a_proof_holds_for_one_session_two_keys_one_name_and_one_side(void **state)
{
	struct enrol_code c = golden();
	struct enrol_session s = { .name = TEXT("site-17") }, other;
	uint8_t proof[ENROL_PROOF_LEN], mirror[ENROL_PROOF_LEN];
	struct text t = { (const char *)proof, sizeof(proof) };

	(void)state;
	memset(s.exporter, 1, sizeof(s.exporter));
	memset(&s.agent, 2, sizeof(s.agent));
	memset(&s.root, 3, sizeof(s.root));
	assert_int_equal(enrol_proof(c.secret, ENROL_AGENT, &s, proof), 0);
	assert_true(enrol_proof_good(c.secret, ENROL_AGENT, &s, t));
	assert_int_equal(enrol_proof(c.secret, ENROL_SERVER, &s, mirror), 0);
	assert_memory_not_equal(proof, mirror, sizeof(proof));
	assert_false(enrol_proof_good(c.secret, ENROL_SERVER, &s, t)); /* sent back as it came */
	for (unsigned i = 0; i < 4; i++) {
		other = s;
		if (i == 3)
			other.name = TEXT("site-18");
		else
			((uint8_t *)(i == 0   ? other.exporter
				     : i == 1 ? other.agent.b
					      : other.root.b))[31] ^= 1;
		assert_false(enrol_proof_good(c.secret, ENROL_AGENT, &other, t));
	}
	c.secret[15] ^= 0x80;
	assert_false(enrol_proof_good(c.secret, ENROL_AGENT, &s, t));
	c.secret[15] ^= 0x80;
	t.n--;
	assert_false(enrol_proof_good(c.secret, ENROL_AGENT, &s, t));
	s.name = (struct text){ (const char *)proof, 4000 };
	assert_true(enrol_proof(c.secret, ENROL_AGENT, &s, mirror) < 0); /* no name is so long */
}

static void each_fault_of_a_code_has_its_words(void **state)
{
	(void)state;
	for (unsigned e = ENROL_OK; e <= ENROL_BAD_PLACE; e++)
		for (unsigned other = ENROL_OK; other < e; other++)
			assert_string_not_equal(enrol_error_text((enum enrol_error)e), enrol_error_text((enum enrol_error)other));
	assert_string_equal(enrol_error_text((enum enrol_error)(ENROL_BAD_PLACE + 1)), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_code_is_written_in_groups_that_are_read_again),
		cmocka_unit_test(what_people_do_to_a_code_is_forgiven),
		cmocka_unit_test(every_slip_is_found),
		cmocka_unit_test(what_is_no_code_is_told_apart),
		cmocka_unit_test(two_codes_have_nothing_in_common_but_the_server),
		cmocka_unit_test(a_proof_holds_for_one_session_two_keys_one_name_and_one_side),
		cmocka_unit_test(each_fault_of_a_code_has_its_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
