/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header names to rows: open addressing over a table that is built once and never changes.
 *
 * The hash takes the length and four letters, without a seed: what a stranger can achieve with
 * names that collide is a walk to the next free slot of a small table that he did not fill. At most
 * half of the slots are taken (a row has two entries at most), so every walk ends.
 */
#include <errno.h>
#include "common/header_table.h"

static uint32_t name_hash(struct text name)
{
	const unsigned char *p = (const unsigned char *)name.p;
	uint32_t h = (uint32_t)name.n;
	/* 0x20 folds case, and more; the name decides */
	h = h * 31 + (p[0] | 0x20u);
	h = h * 31 + (p[name.n / 2] | 0x20u);
	h = h * 31 + (p[name.n - 1] | 0x20u);
	return h * UINT32_C(0x9e3779b1) >> 16;
}

static bool slot_is(const struct header_table *t, const struct header_slot *slot, struct text name)
{
	const struct header_row *row = &t->rows[slot->row - 1];
	if (slot->n != name.n)
		return false;
	if (name.n == 1 && row->name[1]) /* it was the compact form that led here */
		return text_ieq((struct text){ &row->compact, 1 }, name);
	return text_ieq((struct text){ row->name, slot->n }, name);
}

static int add(struct header_table *t, struct text name, uint16_t row)
{
	uint32_t i = name_hash(name);
	if (header_find(t, name))
		return -EINVAL;
	while (t->slots[i & t->mask].row)
		i++;
	t->slots[i & t->mask] = (struct header_slot){ (uint16_t)(row + 1), (uint16_t)name.n };
	return 0;
}

int header_table_init(struct header_table *t, const struct header_row *rows, uint16_t n_rows)
{
	*t = (struct header_table){ .rows = rows, .n_rows = n_rows };
	uint16_t n_slots = 4;
	int r = 0;
	if (n_rows == 0 || n_rows > HEADER_TABLE_MAX)
		return -EINVAL;
	while (n_slots < 4 * n_rows)
		n_slots = (uint16_t)(n_slots * 2);
	t->slots = calloc(n_slots, sizeof(*t->slots));
	if (!t->slots)
		return -ENOMEM;
	t->mask = (uint16_t)(n_slots - 1);
	for (uint16_t i = 0; i < n_rows && r == 0; i++) {
		struct text name = text_of(rows[i].name);
		r = name.n == 0 || rows[i].id == 0 ? -EINVAL : add(t, name, i);
		if (r == 0 && rows[i].compact)
			r = add(t, (struct text){ &rows[i].compact, 1 }, i);
		for (uint16_t j = 0; j < i; j++)
			if (rows[j].id == rows[i].id)
				r = -EINVAL;
	}
	if (r < 0)
		header_table_deinit(t);
	return r;
}

void header_table_deinit(struct header_table *t)
{
	free(t->slots);
	*t = (struct header_table){ 0 };
}

const struct header_row *header_find(const struct header_table *t, struct text name)
{
	if (name.n == 0 || !t->slots)
		return NULL;
	for (uint32_t i = name_hash(name);; i++) {
		const struct header_slot *slot = &t->slots[i & t->mask];
		if (slot->row == 0)
			return NULL;
		if (slot_is(t, slot, name))
			return &t->rows[slot->row - 1];
	}
}
