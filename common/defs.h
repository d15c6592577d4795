/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small things every file needs: ownership macros, array length, container_of.
 *
 * Errors, everywhere: a function that can fail returns 0, or a negative errno (fatal, passed on
 * untouched), or a positive code of its own module (a named condition that the caller handles).
 * Outputs come last as ret_x and are written only on success.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Ownership at the declaration: _cleanup_(freep) char *s = NULL; hand-off by steal_ptr(&s). */
#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))

/* Defines x_freep() for a cleanup attribute, given x_free() that takes NULL and returns NULL. */
#define DEFINE_CLEANUP(type, free_fn)                                                              \
	static inline void free_fn##p(type **p)                                                    \
	{                                                                                          \
		if (*p)                                                                            \
			free_fn(*p);                                                               \
	}

static inline void freep(void *p)
{
	free(*(void **)p);
}

#define steal_ptr(pp)                                                                              \
	({                                                                                         \
		__typeof__(*(pp)) stolen_ = *(pp);                                                 \
		*(pp) = NULL;                                                                      \
		stolen_;                                                                           \
	})
