/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and stopping services from the console: common/manager.h in a thread, because its calls block.
 *
 * What the manager knows of all services (also of those that are stopped) is asked for every few seconds and told to
 * backends.c; an order of a user is a call of its own, in the same thread, one after the other.
 */
#pragma once
#include <jansson.h>
#include "common/loop.h"

struct manage;
/* fn: rows of manager_list(), borrowed; NULL: nobody manages services here. */
int manage_new(struct loop *home, const char *runtime_dir, void (*fn)(const json_t *rows, void *arg), void *arg, struct manage **ret_m);
struct manage *manage_free(struct manage *m); /* orders under way are waited for; their done comes with -ECANCELED */
/* r as of manager_do(); row borrowed, may be NULL; err: a sentence. 0: done follows; -EBUSY: too many wait. */
typedef void (*manage_done_fn)(int r, const json_t *row, const char *err, void *arg);
int manage_do(struct manage *m, const char *action, const char *program, const char *instance, manage_done_fn done, void *arg);
