/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of watched connections on their way from the workers to whoever watches: copies, sent by mail to one loop, in
 * which on_seen is called. What is under way is bounded; what does not fit is counted by the connection and told
 * with its next piece, for no connection waits for a watcher.
 */
#pragma once
#include <stdatomic.h>
#include "common/loop.h"

struct seen {
	uint64_t id;
	unsigned way; /* 0: from the source */
	int64_t at;   /* unix ms */
	uint64_t lost; /* bytes of this connection that were not shown before, because nobody kept up */
	bool ended; /* it has ended, there are no bytes */
	const uint8_t *p;
	size_t n;
};
struct seen_outlet {
	struct loop *loop;
	void (*on_seen)(const struct seen *s, void *arg); /* NULL: nobody; set in the loop's thread */
	void *arg;
	_Atomic int64_t queued; /* bytes under way */
};
/* From any thread. unseen: of this connection; counts what does not fit. */
void seen_push(struct seen_outlet *o, uint64_t id, unsigned way, uint64_t *unseen, const uint8_t *p,
	       size_t n);
void seen_ended(struct seen_outlet *o, uint64_t id);
