/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tool as a child: what the tool does already (self-tests, backups, archives of logs) is not done a second time in the console. A child
 * gets its words, an input and a file from here, and its output is read as it comes, or not until somebody wants it: a full pipe
 * holds it. It has a bound of time, and it ends with the console.
 */
#pragma once
#include <sys/types.h>
#include "common/loop.h"

enum { TOOL_WORDS = 4096, TOOL_ARGS = 24 };
struct tool { /* zeroed before; of its owner */
	struct loop *loop;
	pid_t pid; /* 0: it has not begun, or has ended */
	int status; /* then: its exit code, or 128 and the signal */
	bool told;  /* to end */
	struct io out, err, end;
	struct timer bound;
	char words[TOOL_WORDS]; /* of its standard error, the first ones */
	size_t n_words;
	/* Something can be read, or it has ended: called until tool_read() has said that there is nothing more. */
	void (*on_ready)(struct tool *t);
};
struct tool_order {
	const char *const *args; /* behind its own name, ended by NULL */
	const char *input;	 /* on its standard input; NULL: nothing. At most 4 KiB */
	int file;		 /* as its descriptor 3; not closed here. -1: none */
	bool merged;		 /* its standard error is output, too */
	uint64_t bound_ms;
};
int tool_start(struct tool *t, struct loop *l, const struct tool_order *o); /* 0 or -errno */
/* Never blocks. Bytes; 0: none now, on_ready() follows; -1: all was read, and it has ended. */
ssize_t tool_read(struct tool *t, void *p, size_t n);
void tool_end(struct tool *t);	/* asks it to end, and soon makes it; harmless if it has */
void tool_close(struct tool *t); /* it and its output are gone at once; on_ready() is not called any more */
void tool_path(char *buf, size_t n);
