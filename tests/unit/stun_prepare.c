/* SPDX-License-Identifier: Apache-2.0 */
/* OpaqueString (examples of RFC 8265 4.3 among them) and SASLprep (examples of RFC 4013 section 3 among them). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "stun/auth.h"

struct row {
	const char *in, *out; /* out NULL: refused */
	const char *what;
};
typedef int prepare_fn(struct text in, char *out, size_t cap, size_t *ret_n);

static void run(prepare_fn *prepare, const struct row *rows, size_t n_rows)
{
	for (size_t i = 0; i < n_rows; i++) {
		char out[256];
		size_t n = 0;
		int r = prepare(text_of(rows[i].in), out, sizeof out, &n);
		if (r != (rows[i].out ? 0 : -EINVAL))
			fail_msg("%s: result %d", rows[i].what, r);
		if (rows[i].out && !text_eq((struct text){ out, n }, text_of(rows[i].out)))
			fail_msg("%s: got \"%.*s\"", rows[i].what, (int)n, out);
	}
}

/* clang-format off */
static void opaque_string_keeps_what_people_type(void **state)
{
	static const struct row rows[] = {
		{ "correct horse battery staple", "correct horse battery staple", "RFC 8265, example 7" },
		{ "Correct Horse Battery Staple", "Correct Horse Battery Staple", "RFC 8265, example 8: case stays" },
		{ "\xcf\x80\xc3\x9f\xc3\xa5", "\xcf\x80\xc3\x9f\xc3\xa5", "RFC 8265, example 9: non-ASCII letters" },
		{ "Jack of \xe2\x99\xa6s", "Jack of \xe2\x99\xa6s", "RFC 8265, example 10: a symbol" },
		{ "foo\xe1\x9a\x80" "bar", "foo bar", "RFC 8265, example 11: Ogham space mark" },
		{ "a\xc2\xa0" "b\xe3\x80\x80" "c", "a b c", "no-break and ideographic space" },
		{ "e\xcc\x81", "\xc3\xa9", "e and acute are composed" },
		{ "\xe2\x84\xab", "\xc3\x85", "the Angstrom sign has a canonical form" },
		{ "\xe2\x85\xa8", "\xe2\x85\xa8", "Roman nine keeps its compatibility form" },
		{ "\xef\xbc\xa1", "\xef\xbc\xa1", "a full-width A is not folded" },
		{ "\xd7\x90" "a\xd7\x91", "\xd7\x90" "a\xd7\x91", "directions may mix" },
		{ "\xf0\x9f\x94\x91", "\xf0\x9f\x94\x91", "an emoji" },
		{ "\xe0\xa5\x90\xe0\xa4\x95\xe0\xa5\x8d", "\xe0\xa5\x90\xe0\xa4\x95\xe0\xa5\x8d", "Devanagari with virama" },
	};
	(void)state;
	run(stun_opaque_string, rows, ARRAY_LEN(rows));
}

static void opaque_string_refuses_what_the_freeform_class_excludes(void **state)
{
	static const struct row rows[] = {
		{ "", NULL, "RFC 8265, example 12: empty" },
		{ "my cat is a \x09" "by", NULL, "RFC 8265, example 13: a tab" },
		{ "a\x7f", NULL, "DEL" },
		{ "a\xc2\x85", NULL, "a C1 control" },
		{ "The\xc2\xadM", NULL, "a soft hyphen is ignorable" },
		{ "a\xe2\x80\x8b", NULL, "zero width space" },
		{ "\xef\xbb\xbf" "a", NULL, "byte order mark" },
		{ "a\xee\x80\x80", NULL, "private use" },
		{ "a\xef\xbf\xbe", NULL, "a non-character" },
		{ "a\xcd\xb8", NULL, "unassigned U+0378" },
		{ "a\xe1\x84\x80", NULL, "a conjoining jamo" },
		{ "a\xd9\x80", NULL, "Arabic tatweel" },
		{ "a\xe3\x80\xae", NULL, "Hangul single dot tone mark" },
		{ "a\xf3\xa0\x80\x81", NULL, "a language tag" },
		{ "a\xff", NULL, "no UTF-8" },
		{ "a\xed\xa0\x80", NULL, "a surrogate in UTF-8" },
		{ "a\xc0\x80", NULL, "an overlong NUL" },
	};
	(void)state;
	run(stun_opaque_string, rows, ARRAY_LEN(rows));
}

static void opaque_string_looks_at_context_where_unicode_demands_it(void **state)
{
	static const struct row rows[] = {
		{ "l\xc2\xb7l", "l\xc2\xb7l", "middle dot between two l" },
		{ "l\xc2\xb7" "a", NULL, "middle dot before an a" },
		{ "\xc2\xb7l", NULL, "middle dot first" },
		{ "\xcd\xb5\xce\xb1", "\xcd\xb5\xce\xb1", "keraia before Greek" },
		{ "\xcd\xb5" "a", NULL, "keraia before Latin" },
		{ "\xd7\x90\xd7\xb3", "\xd7\x90\xd7\xb3", "geresh behind Hebrew" },
		{ "a\xd7\xb4", NULL, "gershayim behind Latin" },
		{ "\xe3\x83\xbb\xe3\x82\xa2", "\xe3\x83\xbb\xe3\x82\xa2", "middle dot with katakana" },
		{ "a\xe3\x83\xbb", NULL, "katakana middle dot alone" },
		{ "\xd9\xa1\xd9\xa2", "\xd9\xa1\xd9\xa2", "Arabic-Indic digits" },
		{ "\xd9\xa1\xdb\xb2", NULL, "the two kinds mixed" },
		{ "\xdb\xb1", "\xdb\xb1", "extended Arabic-Indic digits" },
		{ "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d", "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d", "joiner behind a virama" },
		{ "a\xe2\x80\x8d", NULL, "joiner behind a letter" },
		{ "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8c", "\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8c", "non-joiner behind a virama" },
		{ "\xd8\xa8\xe2\x80\x8c\xd8\xa8", "\xd8\xa8\xe2\x80\x8c\xd8\xa8", "non-joiner between joining letters" },
		{ "\xd8\xa8\xd9\x8e\xe2\x80\x8c\xd9\x8e\xd8\xa7", "\xd8\xa8\xd9\x8e\xe2\x80\x8c\xd9\x8e\xd8\xa7",
		  "non-joiner, marks do not count" },
		{ "a\xe2\x80\x8c" "b", NULL, "non-joiner between Latin letters" },
		{ "\xe2\x80\x8c\xd8\xa8", NULL, "non-joiner first" },
		{ "\xd8\xa8\xe2\x80\x8c", NULL, "non-joiner last" },
	};
	(void)state;
	run(stun_opaque_string, rows, ARRAY_LEN(rows));
}

static void saslprep_maps_and_normalises(void **state)
{
	static const struct row rows[] = {
		{ "I\xc2\xadX", "IX", "RFC 4013, example 1: soft hyphen to nothing" },
		{ "user", "user", "RFC 4013, example 2" },
		{ "USER", "USER", "RFC 4013, example 3: case stays" },
		{ "\xc2\xaa", "a", "RFC 4013, example 4: NFKC" },
		{ "\xe2\x85\xa8", "IX", "RFC 4013, example 5: NFKC" },
		{ "The\xc2\xadM\xc2\xaatr\xe2\x85\xa8", "TheMatrIX", "RFC 5769 2.4" },
		{ "a\xc2\xa0" "b", "a b", "a space that is not ASCII" },
		{ "a\xe2\x80\x8b" "b", "a b", "zero width space: a space before it is nothing" },
		{ "a\xef\xbb\xbf" "b\xe2\x81\xa0" "c\xef\xb8\x8f", "abc", "table B.1" },
		{ "\xe3\x83\x9e\xe3\x83\x88", "\xe3\x83\x9e\xe3\x83\x88", "katakana" },
		{ "\xd7\x90" "1\xd7\x91", "\xd7\x90" "1\xd7\x91", "right-to-left with a digit inside" },
		{ "", "", "empty" },
		{ "\xc2\xad", "", "only what is mapped to nothing" },
		{ "p@ss w0rd!", "p@ss w0rd!", "ASCII stays" },
	};
	(void)state;
	run(stun_saslprep, rows, ARRAY_LEN(rows));
}

static void saslprep_refuses_what_stringprep_prohibits(void **state)
{
	static const struct row rows[] = {
		{ "a\x07", NULL, "RFC 4013, example 6: an ASCII control" },
		{ "\xd8\xa7" "1", NULL, "RFC 4013, example 7: bidi" },
		{ "\xd7\x90" "a\xd7\x91", NULL, "left-to-right inside right-to-left" },
		{ "1\xd7\x91", NULL, "right-to-left does not begin it" },
		{ "a\x7f", NULL, "DEL" },
		{ "a\xc2\x80", NULL, "C.2.2" },
		{ "a\xe2\x80\xa8", NULL, "line separator, C.2.2" },
		{ "a\xee\x80\x80", NULL, "private use, C.3" },
		{ "a\xf3\xb0\x80\x80", NULL, "private use, plane 15" },
		{ "a\xef\xb7\x90", NULL, "a non-character, C.4" },
		{ "a\xed\xbf\xbf", NULL, "a surrogate, C.5" },
		{ "a\xef\xbf\xbd", NULL, "replacement character, C.6" },
		{ "a\xe2\xbf\xb0", NULL, "ideographic description, C.7" },
		{ "a\xe2\x80\x8e", NULL, "left-to-right mark, C.8" },
		{ "a\xe2\x80\xae", NULL, "right-to-left override, C.8" },
		{ "a\xf3\xa0\x80\xa0", NULL, "a tag, C.9" },
		{ "a\xcd\xb8", NULL, "unassigned" },
		{ "a\xc3", NULL, "cut UTF-8" },
	};
	(void)state;
	run(stun_saslprep, rows, ARRAY_LEN(rows));
}
/* clang-format on */

static void both_are_stable_under_repetition(void **state)
{
	static const char *const inputs[] = { "caf\x65\xcc\x81", "\xe2\x84\xab\xc2\xa0",
					      "\xef\xb7\xba", "\xc2\xaa\xe2\x85\xa8" };
	prepare_fn *const both[] = { stun_opaque_string, stun_saslprep };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(inputs); i++)
		for (size_t k = 0; k < ARRAY_LEN(both); k++) {
			char once[128], twice[128];
			size_t n, m;
			assert_int_equal(both[k](text_of(inputs[i]), once, sizeof once, &n), 0);
			assert_int_equal(both[k]((struct text){ once, n }, twice, sizeof twice, &m), 0);
			assert_int_equal(n, m);
			assert_memory_equal(once, twice, n);
		}
}

static void a_small_buffer_and_a_huge_input_are_told(void **state)
{
	static char huge[2000];
	char out[2000];
	size_t n = 77;

	(void)state;
	assert_int_equal(stun_opaque_string(TEXT("secret"), out, 5, &n), -ENOSPC);
	assert_int_equal(stun_saslprep(TEXT("\xe2\x85\xa8"), out, 1, &n), -ENOSPC); /* grows: IX */
	assert_int_equal(n, 77); /* written only on success */
	assert_int_equal(stun_opaque_string(TEXT("secret"), out, 6, &n), 0);
	assert_int_equal(n, 6);
	memset(huge, 'x', sizeof huge);
	assert_int_equal(stun_opaque_string((struct text){ huge, 1024 }, out, sizeof out, &n), 0);
	assert_int_equal(n, 1024);
	assert_int_equal(stun_opaque_string((struct text){ huge, 1025 }, out, sizeof out, &n), -ENOSPC);
	assert_int_equal(stun_saslprep((struct text){ huge, sizeof huge }, out, sizeof out, &n),
			 -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opaque_string_keeps_what_people_type),
		cmocka_unit_test(opaque_string_refuses_what_the_freeform_class_excludes),
		cmocka_unit_test(opaque_string_looks_at_context_where_unicode_demands_it),
		cmocka_unit_test(saslprep_maps_and_normalises),
		cmocka_unit_test(saslprep_refuses_what_stringprep_prohibits),
		cmocka_unit_test(both_are_stable_under_repetition),
		cmocka_unit_test(a_small_buffer_and_a_huge_input_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
