/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict numbers, and numbers with a unit, from text slices.
 *
 * The whole slice must be the number: no sign, no blanks, no 0x, nothing behind it. -EINVAL is "not
 * a number", -ERANGE "a number, but too large for 64 bits". The units are tables; how a unit is
 * spelled matters, because 10Mb and 10MB are not the same thing to everyone.
 */
#include <errno.h>
#include "common/text.h"

struct unit {
	struct text name; /* empty: a bare number */
	uint64_t factor;
};

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

static int parse_digits(struct text t, int base, uint64_t *ret_v)
{
	uint64_t v = 0;
	bool overflow = false;
	if (t.n == 0)
		return -EINVAL;
	for (size_t i = 0; i < t.n; i++) {
		int d = digit(t.p[i]);
		if (d >= base)
			return -EINVAL;
		overflow |= __builtin_mul_overflow(v, (uint64_t)base, &v);
		overflow |= __builtin_add_overflow(v, (uint64_t)d, &v);
	}
	if (overflow)
		return -ERANGE;
	*ret_v = v;
	return 0;
}

int text_u64(struct text t, uint64_t *ret_v)
{
	uint64_t v = 0;
	if (t.n == 0 || t.n > 19) /* 19 digits cannot overflow; more are rare */
		return parse_digits(t, 10, ret_v);
	for (size_t i = 0; i < t.n; i++) {
		unsigned d = (unsigned)(t.p[i] - '0');
		if (d > 9)
			return -EINVAL;
		v = v * 10 + d;
	}
	*ret_v = v;
	return 0;
}

int text_u64_hex(struct text t, uint64_t *ret_v)
{
	return parse_digits(t, 16, ret_v);
}

int text_hex64(struct text t, uint64_t *ret_v)
{
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] >= 'A' && t.p[i] <= 'F')
			return -EINVAL;
	return t.n == 16 ? text_u64_hex(t, ret_v) : -EINVAL;
}

static int parse_unit(struct text t, const struct unit *units, size_t n_units, uint64_t *ret_v)
{
	size_t n = 0;
	while (n < t.n && t.p[n] >= '0' && t.p[n] <= '9')
		n++;
	struct text name = text_drop(t, n);
	for (size_t i = 0; i < n_units; i++) {
		uint64_t v;
		if (!text_eq(units[i].name, name))
			continue;
		int r = parse_digits((struct text){ t.p, n }, 10, &v);
		if (r < 0)
			return r;
		if (__builtin_mul_overflow(v, units[i].factor, &v))
			return -ERANGE;
		*ret_v = v;
		return 0;
	}
	return -EINVAL;
}

int text_duration(struct text t, uint64_t *ret_ms)
{
	static const struct unit units[] = {
		{ { "", 0 }, 1000 },	     { { "ms", 2 }, 1 },
		{ { "s", 1 }, 1000 },	     { { "m", 1 }, 60 * 1000 },
		{ { "h", 1 }, 3600 * 1000 }, { { "d", 1 }, 86400 * 1000 },
	};
	return parse_unit(t, units, ARRAY_LEN(units), ret_ms);
}

int text_size(struct text t, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{ { "", 0 }, 1 },
		{ { "B", 1 }, 1 },
		{ { "KB", 2 }, 1000 },
		{ { "kB", 2 }, 1000 },
		{ { "MB", 2 }, 1000 * 1000 },
		{ { "GB", 2 }, 1000 * 1000 * 1000 },
		{ { "TB", 2 }, UINT64_C(1000) * 1000 * 1000 * 1000 },
		{ { "KiB", 3 }, 1 << 10 },
		{ { "MiB", 3 }, 1 << 20 },
		{ { "GiB", 3 }, 1 << 30 },
		{ { "TiB", 3 }, UINT64_C(1) << 40 },
	};
	return parse_unit(t, units, ARRAY_LEN(units), ret_bytes);
}

int text_bitrate(struct text t, uint64_t *ret_bits_per_s)
{
	static const struct unit units[] = {
		{ { "", 0 }, 1 },
		{ { "bit/s", 5 }, 1 },
		{ { "kbit/s", 6 }, 1000 },
		{ { "Mbit/s", 6 }, 1000 * 1000 },
		{ { "Gbit/s", 6 }, 1000 * 1000 * 1000 },
	};
	uint64_t v;
	if (text_eq(t, TEXT("unlimited"))) {
		*ret_bits_per_s = UINT64_MAX;
		return 0;
	}
	int r = parse_unit(t, units, ARRAY_LEN(units), &v);
	if (r < 0)
		return r;
	if (v == UINT64_MAX) /* that value means unlimited, which has to be said in words */
		return -ERANGE;
	*ret_bits_per_s = v;
	return 0;
}
