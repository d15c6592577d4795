/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preparation of user names and passwords, so that one password typed in two ways gives one key:
 * OpaqueString (RFC 8265 4.2, over the FreeformClass of RFC 8264) for STUN and TURN, with MD5 keys too as RFC 8489
 * wants, and SASLprep (RFC 4013, a profile of stringprep, RFC 3454) for SCRAM.
 *
 * Character data is that of libunistring, hence of its Unicode version; SASLprep's Unicode 3.2 is
 * widened to it, as everybody does. Code points not assigned there are refused in both: their
 * normal form could change under a stored password. Strings are secrets: buffers are wiped.
 */
#include <errno.h>
#include <string.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>
#include "stun/auth.h"

enum { PREPARE_MAX = 1024 }; /* bytes in; far above RFC 8489's 508 for a user name */

struct runes {
	uint32_t *p;
	size_t n;
};

struct range {
	uint32_t first, last;
};

static bool in_ranges(uint32_t c, const struct range *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}
#define IN(c, ranges) in_ranges(c, ranges, ARRAY_LEN(ranges))

/* OpaqueString: the contextual rules of RFC 5892 appendix A. True: the character may stand at i. */

static bool is_virama(struct runes s, size_t i)
{
	return uc_combining_class(s.p[i]) == UC_CCC_VR;
}

/* A.1: behind a virama, or between letters that join towards it from both sides. */
static bool zero_width_non_joiner(struct runes s, size_t i)
{
	size_t at = i;
	int type;

	if (i > 0 && is_virama(s, i - 1))
		return true;
	do {
		if (at == 0)
			return false;
		type = uc_joining_type(s.p[--at]);
	} while (type == UC_JOINING_TYPE_T);
	if (type != UC_JOINING_TYPE_L && type != UC_JOINING_TYPE_D)
		return false;
	for (at = i + 1; at < s.n; at++) {
		type = uc_joining_type(s.p[at]);
		if (type != UC_JOINING_TYPE_T)
			return type == UC_JOINING_TYPE_R || type == UC_JOINING_TYPE_D;
	}
	return false;
}

static bool zero_width_joiner(struct runes s, size_t i) /* A.2 */
{
	return i > 0 && is_virama(s, i - 1);
}

static bool middle_dot(struct runes s, size_t i) /* A.3: Catalan l·l */
{
	return i > 0 && i + 1 < s.n && s.p[i - 1] == 'l' && s.p[i + 1] == 'l';
}

static bool has_script(uint32_t c, const char *name)
{
	const uc_script_t *script = uc_script(c);
	return script && text_eq(text_of(script->name), text_of(name));
}

static bool keraia(struct runes s, size_t i) /* A.4 */
{
	return i + 1 < s.n && has_script(s.p[i + 1], "Greek");
}

static bool geresh(struct runes s, size_t i) /* A.5, A.6 */
{
	return i > 0 && has_script(s.p[i - 1], "Hebrew");
}

static bool katakana_middle_dot(struct runes s, size_t i) /* A.7: some Japanese character in the string */
{
	(void)i;
	for (size_t k = 0; k < s.n; k++)
		if (has_script(s.p[k], "Hiragana") || has_script(s.p[k], "Katakana") ||
		    has_script(s.p[k], "Han"))
			return true;
	return false;
}

static bool none_between(struct runes s, uint32_t first, uint32_t last)
{
	for (size_t k = 0; k < s.n; k++)
		if (s.p[k] >= first && s.p[k] <= last)
			return false;
	return true;
}

static bool arabic_indic_digit(struct runes s, size_t i) /* A.8: not mixed with the other kind */
{
	(void)i;
	return none_between(s, 0x06f0, 0x06f9);
}

static bool extended_arabic_indic_digit(struct runes s, size_t i) /* A.9 */
{
	(void)i;
	return none_between(s, 0x0660, 0x0669);
}

static bool never(struct runes s, size_t i)
{
	(void)s;
	(void)i;
	return false;
}

/* RFC 8264 9.6 (exceptions) and 9.8 (join controls): rule NULL means valid anywhere. */
static const struct {
	struct range range;
	bool (*rule)(struct runes s, size_t i);
} exceptions[] = {
	{ { 0x00b7, 0x00b7 }, middle_dot },
	{ { 0x00df, 0x00df }, NULL },
	{ { 0x0375, 0x0375 }, keraia },
	{ { 0x03c2, 0x03c2 }, NULL },
	{ { 0x05f3, 0x05f4 }, geresh },
	{ { 0x0640, 0x0640 }, never },
	{ { 0x0660, 0x0669 }, arabic_indic_digit },
	{ { 0x06f0, 0x06f9 }, extended_arabic_indic_digit },
	{ { 0x06fd, 0x06fe }, NULL },
	{ { 0x07fa, 0x07fa }, never },
	{ { 0x0f0b, 0x0f0b }, NULL },
	{ { 0x200c, 0x200c }, zero_width_non_joiner },
	{ { 0x200d, 0x200d }, zero_width_joiner },
	{ { 0x3007, 0x3007 }, NULL },
	{ { 0x302e, 0x302f }, never },
	{ { 0x3031, 0x3035 }, never },
	{ { 0x303b, 0x303b }, never },
	{ { 0x30fb, 0x30fb }, katakana_middle_dot },
};

/* RFC 8264 9.9: conjoining jamo, which Hangul syllables made unnecessary. */
static const struct range old_hangul_jamo[] = { { 0x1100, 0x11ff },
						{ 0xa960, 0xa97c },
						{ 0xd7b0, 0xd7fb } };

/* RFC 8264 section 8, read for the FreeformClass. What has a compatibility form is valid in it, so that
 * only ignorable, control, private and unassigned characters, surrogates and old jamo are left out. */
static bool freeform(struct runes s, size_t i)
{
	uint32_t c = s.p[i];

	for (size_t k = 0; k < ARRAY_LEN(exceptions); k++)
		if (c >= exceptions[k].range.first && c <= exceptions[k].range.last)
			return !exceptions[k].rule || exceptions[k].rule(s, i);
	if (c >= 0x21 && c <= 0x7e)
		return true;
	if (IN(c, old_hangul_jamo) || uc_is_property_default_ignorable_code_point(c) ||
	    uc_is_property_not_a_character(c))
		return false;
	return uc_is_general_category_withtable(c, UC_CATEGORY_MASK_L | UC_CATEGORY_MASK_M |
							   UC_CATEGORY_MASK_N | UC_CATEGORY_MASK_P |
							   UC_CATEGORY_MASK_S | UC_CATEGORY_MASK_Zs);
}

static int opaque_map(struct runes *s)
{
	if (s->n == 0)
		return -EINVAL; /* RFC 8265 4.2.2: a zero-length string is forbidden */
	for (size_t i = 0; i < s->n; i++)
		if (!freeform(*s, i))
			return -EINVAL;
	for (size_t i = 0; i < s->n; i++)
		if (uc_is_general_category_withtable(s->p[i], UC_CATEGORY_MASK_Zs))
			s->p[i] = ' ';
	return 0;
}

/* SASLprep, by the table names of RFC 3454. */

/* clang-format off */
static const struct range table_c_1_2[] = { /* non-ASCII space, becomes a blank */
	{ 0x00a0, 0x00a0 }, { 0x1680, 0x1680 }, { 0x2000, 0x200b }, { 0x202f, 0x202f }, { 0x205f, 0x205f }, { 0x3000, 0x3000 },
};
static const struct range table_b_1[] = { /* commonly mapped to nothing */
	{ 0x00ad, 0x00ad }, { 0x034f, 0x034f }, { 0x1806, 0x1806 }, { 0x180b, 0x180d }, { 0x200b, 0x200d },
	{ 0x2060, 0x2060 }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff },
};
static const struct range prohibited[] = {
	{ 0x0000, 0x001f }, { 0x007f, 0x007f },						   /* C.2.1 */
	{ 0x0080, 0x009f }, { 0x06dd, 0x06dd }, { 0x070f, 0x070f }, { 0x180e, 0x180e },	   /* C.2.2 */
	{ 0x2028, 0x2029 }, { 0x2061, 0x2063 }, { 0x206a, 0x206f }, { 0x1d173, 0x1d17a },
	{ 0xfff9, 0xfffd },								   /* C.2.2, C.6 */
	{ 0x2ff0, 0x2ffb },								   /* C.7 */
	{ 0x0340, 0x0341 }, { 0x200e, 0x200f }, { 0x202a, 0x202e },			   /* C.8 */
	{ 0xe0001, 0xe0001 }, { 0xe0020, 0xe007f },					   /* C.9 */
};
/* clang-format on */

static int sasl_map(struct runes *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		/* Zero width space stands in both tables; RFC 4013 2.1 names the spaces first. */
		if (IN(s->p[i], table_c_1_2))
			s->p[n++] = ' ';
		else if (!IN(s->p[i], table_b_1))
			s->p[n++] = s->p[i];
	}
	s->n = n;
	return 0;
}

static bool right_to_left(uint32_t c) /* RandALCat, table D.1 */
{
	int category = uc_bidi_category(c);
	return category == UC_BIDI_R || category == UC_BIDI_AL;
}

/* RFC 3454 section 6: right-to-left text has no left-to-right letters, and begins and ends in its kind. */
static bool bidi_allowed(struct runes s)
{
	bool rtl = false, ltr = false;

	for (size_t i = 0; i < s.n; i++) {
		rtl |= right_to_left(s.p[i]);
		ltr |= uc_bidi_category(s.p[i]) == UC_BIDI_L;
	}
	return !rtl || (!ltr && right_to_left(s.p[0]) && right_to_left(s.p[s.n - 1]));
}

static int sasl_check(struct runes s)
{
	for (size_t i = 0; i < s.n; i++)
		if (IN(s.p[i], prohibited) || IN(s.p[i], table_c_1_2) ||
		    uc_is_property_not_a_character(s.p[i]) ||
		    uc_is_general_category_withtable(
			    s.p[i], UC_CATEGORY_MASK_Co | UC_CATEGORY_MASK_Cs | UC_CATEGORY_MASK_Cn))
			return -EINVAL;
	return bidi_allowed(s) ? 0 : -EINVAL;
}

/* What the two have in common: decode, map, normalise, check, encode. */
struct profile {
	int (*map)(struct runes *s);
	int (*check)(struct runes s); /* of the normal form; NULL: all was checked before */
	uninorm_t form;
};

static int encode(struct runes s, char *out, size_t cap, size_t *ret_n)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		uint8_t bytes[6];
		int k = u8_uctomb(bytes, s.p[i], sizeof bytes);
		if (k < 0)
			return -EINVAL;
		if ((size_t)k > cap - n)
			return -ENOSPC;
		for (int j = 0; j < k; j++)
			out[n++] = (char)bytes[j];
	}
	*ret_n = n;
	return 0;
}

static int normalise_and_check(const struct profile *profile, struct runes s, char *out, size_t cap,
			       size_t *ret_n)
{
	/* libunistring's own buffer: it returns NULL for an empty string as well as for no memory. */
	struct runes norm = { .n = 0 };

	if (s.n > 0) {
		norm.p = u32_normalize(profile->form, s.p, s.n, NULL, &norm.n);
		if (!norm.p)
			return errno == ENOMEM ? -ENOMEM : -EINVAL;
	}
	int r = profile->check ? profile->check(norm) : 0;
	if (r == 0)
		r = encode(norm, out, cap, ret_n);
	if (norm.p)
		bytes_wipe(norm.p, norm.n * sizeof *norm.p);
	free(norm.p);
	return r;
}

static int prepare(const struct profile *profile, struct text in, char *out, size_t cap, size_t *ret_n)
{
	uint32_t runes[PREPARE_MAX];
	struct runes s = { .p = runes };

	if (in.n > PREPARE_MAX)
		return -ENOSPC;
	if (!text_is_utf8(in))
		return -EINVAL;
	for (size_t i = 0; i < in.n;)
		i += (size_t)u8_mbtouc(&runes[s.n++], (const uint8_t *)in.p + i, in.n - i);
	int r = profile->map(&s);
	if (r == 0)
		r = normalise_and_check(profile, s, out, cap, ret_n);
	bytes_wipe(runes, sizeof runes);
	return r;
}

/* Printable ASCII is its own normal form, and all of it is allowed. */
static bool is_plain(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] < ' ' || t.p[i] > '~')
			return false;
	return t.n > 0;
}

int stun_opaque_string(struct text in, char *out, size_t cap, size_t *ret_n)
{
	if (is_plain(in) && in.n <= MIN(cap, (size_t)PREPARE_MAX)) {
		memcpy(out, in.p, in.n);
		*ret_n = in.n;
		return 0;
	}
	/* UNINORM_NFC is an address in the library, so the profile cannot be static. */
	const struct profile profile = { opaque_map, NULL, UNINORM_NFC };
	return prepare(&profile, in, out, cap, ret_n);
}

int stun_saslprep(struct text in, char *out, size_t cap, size_t *ret_n)
{
	const struct profile profile = { sasl_map, sasl_check, UNINORM_NFKC };
	return prepare(&profile, in, out, cap, ret_n);
}
