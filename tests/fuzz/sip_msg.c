/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SIP message parser, as a datagram and as a stream, and everything that reads the eight headers. Checked: every
 * slice lies in the buffer; what it says about a beginning of a stream it says about the whole; a message taken as a
 * stream is the same one as a datagram; an index by id is the list of the fields with that id; copies are equal.
 */
#include <assert.h>
#include <string.h>
#include "sip-proxy/headers.h"
#include "sip-proxy/write.h"

static void check_inside(struct text part, struct text whole)
{
	if (part.n > 0)
		assert(part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_index(const struct sip_msg *m, struct text in)
{
	unsigned seen = 0;
	for (unsigned id = 1; id < SIP_HEADERS; id++) {
		struct sip_values it = sip_values(m, (enum sip_header)id);
		struct text v;
		for (const struct head_field *f = sip_find(m, (enum sip_header)id); f;
		     f = sip_find_next(m, f)) {
			assert(f->row->id == id);
			seen++;
		}
		while (sip_values_next(&it, &v))
			check_inside(v, in);
	}
	for (unsigned i = 0; i < m->head.n_fields; i++) {
		check_inside(m->head.fields[i].name, in);
		check_inside(m->head.fields[i].value, in);
		seen += !m->head.fields[i].row;
	}
	assert(seen == m->head.n_fields);
}

static void check_basics(const struct sip_msg *m, struct text in)
{
	struct sip_basics b;
	if (sip_basics_read(m, &b) != SIP_OK)
		return;
	check_inside(b.via.branch, in);
	check_inside(b.via.sent_by, in);
	check_inside(b.from.uri, in);
	check_inside(b.to.tag, in);
	check_inside(b.cseq.method_name, in);
	check_inside(b.uri.host, in);
	assert(b.via.host.n > 0 && b.from.uri.n > 0 && b.to.uri.n > 0 && b.call_id.n > 0);
	sip_via_is_unicast(&b.via);
}

static void check_copy(const struct sip_msg *m)
{
	struct sip_msg copy;
	char *place = malloc(m->raw.n ? m->raw.n : 1);
	if (!place || sip_msg_copy(&copy, m, place) < 0)
		abort();
	assert(text_eq(copy.raw, m->raw) && text_eq(copy.body, m->body));
	check_index(&copy, (struct text){ place, m->raw.n });
	sip_msg_deinit(&copy);
	free(place);
}

static void check_answer(const struct sip_msg *m)
{
	static char out[1 << 17];
	const struct sip_response_parts parts = { .code = 400,
						  .reason = TEXT("Bad"),
						  .to_tag = TEXT("t") };
	struct sip_msg answer;
	ssize_t n = sip_response_write(out, sizeof out, m, &parts);
	if (n < 0)
		return;
	assert(sip_msg_parse(&answer, (struct text){ out, (size_t)n }, SIP_STREAM, NULL) == SIP_OK);
	assert(answer.raw.n == (size_t)n && answer.status == 400);
	sip_msg_deinit(&answer);
}

static void check_beginnings(struct text in, int whole)
{
	size_t step = in.n / 24 + 1;
	for (size_t n = 0; n < in.n; n += step) {
		struct sip_msg m;
		int r = sip_msg_parse(&m, (struct text){ in.p, n }, SIP_STREAM, NULL);
		assert(r == SIP_INCOMPLETE || r == SIP_EMPTY || r == whole ||
		       whole == SIP_NOT_SIP || (r == SIP_OK && m.raw.n <= n));
		sip_msg_deinit(&m);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sip_msg m, s;
	if (sip_headers_init() < 0)
		abort();
	char *copy = malloc(size ? size : 1);
	if (!copy)
		abort();
	memcpy(copy, data, size);
	struct text in = { copy, size };
	int r = sip_msg_parse(&m, in, SIP_DATAGRAM, NULL);
	assert(r >= 0 && r < SIP_VERDICTS && r != SIP_INCOMPLETE);
	check_index(&m, in);
	check_inside(m.raw, in);
	if (r == SIP_OK) {
		check_inside(m.body, in);
		check_basics(&m, in);
		check_copy(&m);
	}
	check_answer(&m);
	int on_stream = sip_msg_parse(&s, in, SIP_STREAM, NULL);
	if (on_stream == SIP_OK)
		assert(r == SIP_OK && text_eq(s.raw, m.raw) && s.head.n_fields == m.head.n_fields);
	check_beginnings(in, on_stream);
	sip_msg_deinit(&s);
	sip_msg_deinit(&m);
	free(copy);
	return 0;
}
