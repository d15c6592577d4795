/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edits: some bytes say what is to be changed, the rest (behind the first zero byte) is the message. Checked: what is
 * written parses again, and to what the edits say — a value that was put in front is the first one, a removed one is
 * gone, the body and every untouched field is as it was.
 */
#include <assert.h>
#include <string.h>
#include "sip-proxy/edit.h"

static char out[1 << 18];

static unsigned count_values(const struct sip_msg *m, enum sip_header id)
{
	struct sip_values it = sip_values(m, id);
	struct text v;
	unsigned n = 0;
	while (sip_values_next(&it, &v))
		n++;
	return n;
}

/* One operation for each byte; the number of values of each id afterwards is known before. */
static void apply(struct sip_edit *e, const struct sip_msg *m, uint8_t op, int *values)
{
	enum sip_header id = (enum sip_header)(1 + (op >> 3) % (SIP_HEADERS - 1));
	struct sip_values it = sip_values(m, id);
	struct text v;
	switch (op & 7) {
	case 0:
	case 1:
		if (op & 1)
			sip_edit_append(e, id, TEXT("new"));
		else
			sip_edit_prepend(e, id, TEXT("new"));
		values[id]++;
		break;
	case 2:
		sip_edit_remove(e, id);
		values[id] -= (int)count_values(m, id);
		break;
	case 3:
	case 4: /* the first or the last value; twice the same one is an overlap, or nothing more */
		while (sip_values_next(&it, &v) && (op & 7) == 4 && it.rest.p)
			;
		if (sip_has(m, id) && v.n > 0) {
			sip_edit_remove_value(e, v);
			values[id]--;
		}
		break;
	case 5: sip_edit_append_named(e, TEXT("X-Fuzz"), TEXT("1")); break;
	default: break;
	}
}

static void check(const struct sip_msg *m, const uint8_t *ops, size_t n_ops)
{
	static struct sip_edit e;
	int values[SIP_HEADERS];
	bool touched[SIP_HEADERS] = { false }, repeated = false;
	struct sip_msg after;
	sip_edit_init(&e, m);
	for (unsigned id = 0; id < SIP_HEADERS; id++)
		values[id] = (int)count_values(m, (enum sip_header)id);
	for (size_t i = 0; i < n_ops; i++) {
		unsigned id = 1 + (ops[i] >> 3) % (SIP_HEADERS - 1);
		repeated |= touched[id];
		touched[id] = true;
		apply(&e, m, ops[i], values);
	}
	ssize_t n = sip_edit_write(&e, out, sizeof out);
	if (n < 0)
		return;
	assert((size_t)n <= sip_edit_bound(&e));
	int r = sip_msg_parse(&after, (struct text){ out, (size_t)n }, SIP_DATAGRAM, NULL);
	/* of a single-value header there may be two now, no Content-Length, or too many headers: all that is the caller's */
	if (r == SIP_OK && !touched[SIP_H_CONTENT_LENGTH]) {
		assert(text_eq(after.body, m->body) &&
		       text_eq(after.head.start_line, m->head.start_line));
		for (unsigned id = 1; id < SIP_HEADERS && !repeated; id++)
			assert((int)count_values(&after, (enum sip_header)id) == values[id]);
	} else {
		assert(r == SIP_OK || r == SIP_DUPLICATE || r == SIP_TOO_MANY_HEADERS ||
		       touched[SIP_H_CONTENT_LENGTH]);
	}
	sip_msg_deinit(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	struct sip_msg m;
	if (!zero || sip_headers_init() < 0)
		return 0;
	size_t n_ops = (size_t)(zero - data), n = size - n_ops - 1;
	char *copy = malloc(n ? n : 1);
	if (!copy)
		abort();
	memcpy(copy, zero + 1, n);
	if (sip_msg_parse(&m, (struct text){ copy, n }, SIP_DATAGRAM, NULL) == SIP_OK)
		check(&m, data, MIN(n_ops, 16));
	sip_msg_deinit(&m);
	free(copy);
	return 0;
}
