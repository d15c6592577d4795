/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of the tool: what sends real traffic (`stile test`, `stile netcheck`) is the tool's business, and the console starts
 * it as a child for who asks. At most RUNS_MAX are kept, one of them under way at a time; a new one takes the oldest's place.
 * A run has a bound of time, what it says has a bound of size, and it ends with the console.
 */
#pragma once
#include "common/loop.h"

struct ask;
struct runs;
int runs_new(struct loop *l, struct runs **ret_r);
struct runs *runs_free(struct runs *r); /* kills what is under way; NULL is fine */

/* The handlers: GET /wizard, POST /tests, GET and DELETE /tests/{id}. */
void wizard_get(struct ask *a), tests_post(struct ask *a), test_get(struct ask *a), test_delete(struct ask *a);
