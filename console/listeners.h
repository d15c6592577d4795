/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses at which the console is reached. They change while it runs: new ones are bound before old ones are closed, so that a
 * change which cannot be is refused and leaves everything as it was, and one that cuts its own author off can be taken back.
 *
 * A plan is what shall be; it belongs to whoever made it until it is taken.
 */
#pragma once
#include "common/stream.h"
#include "console/config.h"

enum { CONSOLE_LISTENERS = 16 };
struct listener {
	struct addr at;
	bool metrics; /* plain /metrics without a login */
	int fd;	      /* its acceptor's, if there is one; -1: none */
	struct acceptor *acceptor;
};
struct listeners {
	struct listener v[CONSOLE_LISTENERS];
	unsigned n;
};
/* Binds what `now` does not have; what it has is listed with its acceptor. 0, or -errno and a sentence. */
int listeners_plan(const struct listeners *now, const struct console_config *k, struct listeners *ret_plan, char *err, size_t err_n);
void listeners_drop(struct listeners *plan); /* what is bound for it alone is closed */
/* The plan is at work, and what it does not have is closed; begin() makes the acceptor of an address (on fd, which it owns, and closes
 * if it fails), and with anew those of the console's addresses that stay, too. 0, or -errno with all as it was and the plan dropped. */
typedef int (*listener_begin_fn)(const struct listener *l, int fd, struct acceptor **ret_a, void *arg);
int listeners_take(struct listeners *now, struct listeners *plan, bool anew, listener_begin_fn begin, void *arg);
void listeners_close(struct listeners *now); /* all of them */
