/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations that fail on demand: the program is linked with --wrap for malloc and its kin, so every
 * call of ours comes here (the libraries' own do not, but OpenSSL's can be sent here by oom_openssl()).
 *
 *	for (unsigned n = 1; oom_next(&n); ) { … what may return -ENOMEM, and must leak nothing … }
 */
#pragma once
#include <stdbool.h>

/* Arms the nth allocation from now on to fail, n = 1, 2, … in each round; false once a round has gone
 * by without reaching it, so that every allocation has failed once. Disarms at the end. */
bool oom_next(unsigned *n);
void oom_arm(unsigned n); /* 0: nothing fails */
/* Between the two nothing fails, and nothing is counted: what a test takes for granted. */
void oom_pause(void);
void oom_resume(void);
bool oom_hit(void);	  /* the armed one has failed */
void oom_openssl(void);	  /* at the very beginning of main() */
