/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of libevent's that must not lie among ours. For every descriptor number that it ever saw it keeps
 * a block of 16 bytes until its base ends. In the heap these blocks come to lie between the objects of the
 * connection that had the number; when a crowd has gone, one of them holds each page, and nothing
 * can be given back to the system. So the smallest blocks have cells in a range of their own, mapped once
 * for the process and used from its beginning; all else is malloc's, and so are they when the range is full.
 *
 * Blocks may be freed by another thread than the one that asked for them: a lock, taken once per new
 * descriptor number and not per event.
 */
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include "common/loop_priv.h"

enum { CELL = 16, CELLS = 1 << 20 };

struct cell {
	struct cell *next; /* free ones */
};

static struct {
	pthread_mutex_t lock;
	uint8_t *base; /* NULL: could not be mapped */
	size_t used;   /* cells that were ever handed out */
	struct cell *free;
} cells = { .lock = PTHREAD_MUTEX_INITIALIZER };
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool is_cell(const void *p)
{
	return cells.base && (uintptr_t)p - (uintptr_t)cells.base < (size_t)CELL * CELLS;
}

static void *take_cell(void)
{
	void *p = NULL;

	pthread_mutex_lock(&cells.lock);
	if (cells.free) {
		p = cells.free;
		cells.free = cells.free->next;
	} else if (cells.used < CELLS) {
		p = cells.base + CELL * cells.used++;
	}
	pthread_mutex_unlock(&cells.lock);
	return p;
}

static void *loop_malloc(size_t n)
{
	void *p = cells.base && n <= CELL ? take_cell() : NULL;

	return p ? p : malloc(n);
}

static void loop_release(void *p)
{
	struct cell *c = p;

	if (!is_cell(p)) {
		free(p);
		return;
	}
	pthread_mutex_lock(&cells.lock);
	c->next = cells.free;
	cells.free = c;
	pthread_mutex_unlock(&cells.lock);
}

static void *loop_realloc(void *p, size_t n)
{
	void *larger;

	if (!p)
		return loop_malloc(n);
	if (!is_cell(p))
		return realloc(p, n);
	if (n <= CELL)
		return p;
	larger = malloc(n);
	if (larger) {
		memcpy(larger, p, CELL);
		loop_release(p);
	}
	return larger;
}

static void start(void)
{
	void *p = mmap(NULL, (size_t)CELL * CELLS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return;
	cells.base = p;
	event_set_mem_functions(loop_malloc, loop_realloc, loop_release);
}

void loop_memory_start(void)
{
	(void)pthread_once(&once, start);
}
