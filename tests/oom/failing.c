/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See failing.h. Counts are plain: these tests have one thread. What fails sets errno as glibc does.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include "tests/oom/failing.h"

static unsigned left, paused; /* allocations until the one that fails, itself included; 0: not armed */
static bool hit, begun;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);

static bool fails(void)
{
	if (!left || --left)
		return false;
	hit = true;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return fails() ? NULL : __real_aligned_alloc(align, n);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

void oom_arm(unsigned n)
{
	left = n;
	hit = hit && !n; /* disarming does not forget */
}

void oom_pause(void)
{
	paused = left;
	left = 0;
}

void oom_resume(void)
{
	left = paused;
}

bool oom_hit(void)
{
	return hit;
}

bool oom_next(unsigned *n)
{
	if (begun && !hit) {
		oom_arm(0);
		begun = false;
		return false;
	}
	*n += begun;
	begun = true;
	oom_arm(*n);
	return true;
}

static void *ssl_malloc(size_t n, const char *file, int line)
{
	(void)file, (void)line;
	return __wrap_malloc(n);
}

static void *ssl_realloc(void *p, size_t n, const char *file, int line)
{
	(void)file, (void)line;
	return __wrap_realloc(p, n);
}

static void ssl_free(void *p, const char *file, int line)
{
	(void)file, (void)line;
	free(p);
}

void oom_openssl(void)
{
	if (!CRYPTO_set_mem_functions(ssl_malloc, ssl_realloc, ssl_free))
		abort(); /* OpenSSL has allocated already */
	/* Its first use sets up the library, which it does not survive without memory; nor do we start so. */
	EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
	EVP_MD_free(EVP_MD_fetch(NULL, "MD5", NULL));
}
