/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list. A node that is not linked points to itself (or is zeroed), so that
 * unlinking twice is harmless and a destructor may always call list_unlink(). The list owns nothing:
 * nodes live inside their owners.
 */
#pragma once
#include "common/defs.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
static inline void list_insert_before(struct list *at, struct list *n)
{
	n->prev = at->prev;
	n->next = at;
	at->prev->next = n;
	at->prev = n;
}
static inline void list_append(struct list *head, struct list *n)
{
	list_insert_before(head, n);
}
static inline void list_unlink(struct list *n)
{
	if (!n->next)
		return; /* zeroed and never linked */
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}
#define list_entry(n, type, member) container_of(n, type, member)
#define list_for_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* Safe against unlinking `it` in the body. */
#define list_for_each_safe(it, head)                                                               \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                  \
	     it = it##_next, it##_next = it->next)
