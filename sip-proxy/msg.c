/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The message parser; see msg.h. common/head.c goes over the bytes once and leaves lines, names and values; here the
 * start line is taken apart, the index by ids is made, and the body is measured. The order of the checks is that of
 * the verdicts: a datagram that is no SIP at all is nobody's business, faults of the lines come before the body's.
 */
#include <errno.h>
#include <string.h>
#include "sip-proxy/lex_priv.h"
#include "sip-proxy/msg_priv.h"

static const struct text method_names[SIP_METHODS] = {
	/* clang-format off */
	[SIP_INVITE] = TEXT("INVITE"),       [SIP_ACK] = TEXT("ACK"),             [SIP_BYE] = TEXT("BYE"),
	[SIP_CANCEL] = TEXT("CANCEL"),       [SIP_OPTIONS] = TEXT("OPTIONS"),     [SIP_REGISTER] = TEXT("REGISTER"),
	[SIP_PRACK] = TEXT("PRACK"),         [SIP_UPDATE] = TEXT("UPDATE"),       [SIP_INFO] = TEXT("INFO"),
	[SIP_MESSAGE] = TEXT("MESSAGE"),     [SIP_SUBSCRIBE] = TEXT("SUBSCRIBE"), [SIP_NOTIFY] = TEXT("NOTIFY"),
	[SIP_REFER] = TEXT("REFER"),         [SIP_PUBLISH] = TEXT("PUBLISH"),
	/* clang-format on */
};

enum sip_method sip_method_of(struct text name)
{
	for (unsigned i = SIP_INVITE; i < SIP_METHODS; i++)
		if (method_names[i].n == name.n && text_eq(method_names[i], name))
			return (enum sip_method)i;
	return SIP_UNKNOWN_METHOD;
}

struct text sip_method_name(enum sip_method m)
{
	return m > 0 && m < SIP_METHODS ? method_names[m] : TEXT("other");
}

static enum sip_verdict of_head_error(enum head_error e)
{
	static const enum sip_verdict of[] = {
		[HEAD_OK] = SIP_OK,
		[HEAD_INCOMPLETE] = SIP_INCOMPLETE,
		[HEAD_TOO_LONG] = SIP_HEAD_TOO_LONG,
		[HEAD_BAD_START_LINE] = SIP_NOT_SIP,
		[HEAD_BAD_LINE_END] = SIP_BAD_LINE_END,
		[HEAD_BAD_NAME] = SIP_BAD_NAME,
		[HEAD_BAD_VALUE] = SIP_BAD_VALUE,
		[HEAD_DUPLICATE] = SIP_DUPLICATE,
		[HEAD_TOO_MANY] = SIP_TOO_MANY_HEADERS,
	};
	return of[e];
}

/* The lines, into the array inside m or, if that is too small, into one from the heap. */
static int parse_head(struct sip_msg *m, struct text buf, const struct sip_limits *limits)
{
	const struct head_rules rules = {
		.table = &sip_header_table,
		.flags = HEAD_SIP | HEAD_GO_ON,
		.max_length = limits && limits->max_head ? limits->max_head : SIP_MAX_HEAD,
	};
	unsigned most = limits && limits->max_fields ? limits->max_fields : SIP_MAX_FIELDS;
	unsigned cap = MIN(SIP_INLINE_FIELDS, most);
	enum head_error e = head_parse(buf, &rules, m->fields, cap, &m->head);
	while (e == HEAD_TOO_MANY && cap < most) {
		cap = MIN(cap * 4, most);
		struct head_field *more = realloc(m->more, cap * sizeof *more);
		if (!more) {
			m->head = (struct head){ 0 };
			return -ENOMEM;
		}
		m->more = more;
		m->head = (struct head){ .fields = m->fields, .start_line = { buf.p, 0 } };
		e = head_parse(buf, &rules, more, cap, &m->head);
	}
	return of_head_error(e);
}

static bool begins_sip(struct text t)
{
	return t.n >= 4 && text_ieq((struct text){ t.p, 4 }, TEXT("SIP/"));
}

/* Does the line look like one of ours, well-formed or not? */
static bool names_sip(struct text line)
{
	while (line.n >= 4) {
		if (begins_sip(line))
			return true;
		if (text_find(line, ' ') < 0)
			return false;
		text_cut(&line, ' ');
	}
	return false;
}

static enum sip_verdict parse_status_line(struct sip_msg *m, const struct text words[3])
{
	m->status = (uint16_t)((words[1].p[0] - '0') * 100 + (words[1].p[1] - '0') * 10 +
			       words[1].p[2] - '0');
	m->reason = words[2];
	if (m->status < 100 || m->status > 699)
		return SIP_BAD_START_LINE;
	return text_ieq(words[0], TEXT("SIP/2.0")) ? SIP_OK : SIP_BAD_VERSION;
}

static enum sip_verdict parse_request_line(struct sip_msg *m, const struct text words[3])
{
	if (lex_span(words[0], 0, LEX_TOKEN) < words[0].n)
		return SIP_BAD_START_LINE;
	m->method = sip_method_of(words[0]);
	m->method_name = words[0];
	m->uri = words[1];
	return text_ieq(words[2], TEXT("SIP/2.0")) ? SIP_OK : SIP_BAD_VERSION;
}

static enum sip_verdict parse_start_line(struct sip_msg *m)
{
	struct text words[3], line = m->head.start_line;
	m->is_request = !begins_sip(line);
	if (head_start_words(line, words) != HEAD_OK)
		return names_sip(line) ? SIP_BAD_START_LINE : SIP_NOT_SIP;
	if (!begins_sip(words[m->is_request ? 2 : 0]))
		return SIP_NOT_SIP;
	return m->is_request ? parse_request_line(m, words) : parse_status_line(m, words);
}

/* first[], and that the names nobody knows are tokens of SIP: HTTP's are some more, which the head parser takes. */
static enum sip_verdict index_fields(struct sip_msg *m)
{
	enum sip_verdict v = SIP_OK;
	for (unsigned i = 0; i < m->head.n_fields; i++) {
		const struct head_field *f = &m->head.fields[i];
		if (!f->row) {
			if (lex_span(f->name, 0, LEX_TOKEN) < f->name.n)
				v = SIP_BAD_NAME;
		} else if (!m->first[f->row->id]) {
			m->first[f->row->id] = (uint16_t)(i + 1);
		}
	}
	return v;
}

/* The body, which is what Content-Length says, or on a datagram without one what is left (RFC 3261 18.3). */
static enum sip_verdict measure_body(struct sip_msg *m, struct text rest, enum sip_framing framing,
				     const struct sip_limits *limits)
{
	uint32_t max = limits && limits->max_body ? limits->max_body : SIP_MAX_BODY;
	struct text value = sip_value(m, SIP_H_CONTENT_LENGTH);
	uint64_t n = rest.n;
	if (value.p && (text_u64(value, &n) < 0 || n > INT32_MAX))
		return SIP_BAD_CONTENT_LENGTH;
	if (!value.p && framing == SIP_STREAM)
		return SIP_NO_CONTENT_LENGTH;
	if (n > max)
		return SIP_BODY_TOO_LONG;
	if (n > rest.n)
		return framing == SIP_STREAM ? SIP_INCOMPLETE : SIP_SHORT_BODY;
	m->body = (struct text){ rest.p, (size_t)n };
	m->raw.n = m->head.length + (size_t)n;
	return SIP_OK;
}

static void clear(struct sip_msg *m, struct text buf)
{
	/* not the fields: that would be most of the work of a parse */
	memset(m, 0, offsetof(struct sip_msg, fields));
	m->raw = buf;
	m->head.fields = m->fields;
	m->head.start_line = (struct text){ buf.p, 0 };
}

int sip_msg_parse(struct sip_msg *m, struct text buf, enum sip_framing framing,
		  const struct sip_limits *limits)
{
	enum sip_verdict of_line, of_names;
	while (buf.n >= 2 && buf.p[0] == '\r' && buf.p[1] == '\n')
		buf = text_drop(buf, 2);
	clear(m, buf);
	if (buf.n == 0)
		return SIP_EMPTY;
	int r = parse_head(m, buf, limits);
	if (r == SIP_INCOMPLETE)
		return framing == SIP_STREAM ? SIP_INCOMPLETE : SIP_NOT_SIP;
	if (r < 0 || r == SIP_NOT_SIP || r == SIP_HEAD_TOO_LONG)
		return r;
	of_line = parse_start_line(m);
	of_names = index_fields(m);
	if (m->head.start_line.n == 0) /* at fault itself: only its verdict is known, and who might be answered */
		m->is_request = !begins_sip(buf);
	else if (of_line == SIP_NOT_SIP)
		return SIP_NOT_SIP;
	if (r == SIP_OK)
		r = of_line != SIP_OK ? of_line : of_names;
	if (r != SIP_OK)
		return r;
	return measure_body(m, text_drop(buf, m->head.length), framing, limits);
}

void sip_msg_deinit(struct sip_msg *m)
{
	free(m->more);
	m->more = NULL;
	m->head.n_fields = 0;
	memset(m->first, 0, sizeof m->first);
}

static struct text moved(struct text t, const char *from, char *to)
{
	return (struct text){ t.p ? to + (t.p - from) : NULL, t.n };
}

int sip_msg_copy(struct sip_msg *to, const struct sip_msg *from, char *buf)
{
	const char *old = from->raw.p;
	struct head_field *fields = to->fields, *more = NULL;
	if (from->head.n_fields > SIP_INLINE_FIELDS) {
		fields = more = malloc(from->head.n_fields * sizeof *more);
		if (!more)
			return -ENOMEM;
	}
	memcpy(buf, old, from->raw.n);
	memcpy(to, from, offsetof(struct sip_msg, fields));
	to->more = more;
	to->head.fields = fields;
	to->raw.p = buf;
	to->head.start_line = moved(from->head.start_line, old, buf);
	to->body = moved(from->body, old, buf);
	to->method_name = moved(from->method_name, old, buf);
	to->uri = moved(from->uri, old, buf);
	to->reason = moved(from->reason, old, buf);
	for (unsigned i = 0; i < from->head.n_fields; i++) {
		const struct head_field *f = &from->head.fields[i];
		fields[i] = (struct head_field){ moved(f->name, old, buf),
						 moved(f->value, old, buf), f->row };
	}
	return 0;
}

const struct head_field *sip_find(const struct sip_msg *m, enum sip_header id)
{
	return m->first[id] ? &m->head.fields[m->first[id] - 1] : NULL;
}

const struct head_field *sip_find_next(const struct sip_msg *m, const struct head_field *f)
{
	const struct head_field *end = m->head.fields + m->head.n_fields;
	for (const struct head_field *g = f + 1; g < end; g++)
		if (g->row && g->row == f->row)
			return g;
	return NULL;
}

struct text sip_value(const struct sip_msg *m, enum sip_header id)
{
	const struct head_field *f = sip_find(m, id);
	return f ? f->value : (struct text){ 0 };
}

struct sip_values sip_values(const struct sip_msg *m, enum sip_header id)
{
	struct sip_values it = { .m = m, .f = sip_find(m, id) };
	if (it.f)
		it.rest = it.f->value;
	return it;
}

/* The first comma that separates values, or the length. */
static size_t value_end(struct text t)
{
	struct text quoted, rest;
	size_t i = 0;
	if (text_find(t, ',') < 0)
		return t.n;
	while (i < t.n && t.p[i] != ',') {
		ptrdiff_t close;
		rest = text_drop(t, i);
		if (t.p[i] == '"')
			i += lex_quoted(&rest, &quoted) ? quoted.n : t.n - i;
		else if (t.p[i] == '<' && (close = text_find(rest, '>')) >= 0)
			i += (size_t)close;
		else
			i++;
	}
	return i;
}

bool sip_values_next(struct sip_values *it, struct text *ret_value)
{
	if (!it->f)
		return false;
	if (!it->rest.p) {
		it->f = sip_find_next(it->m, it->f);
		if (!it->f)
			return false;
		it->rest = it->f->value;
	}
	size_t n = it->f->row->flags & HDR_LIST ? value_end(it->rest) : it->rest.n;
	*ret_value = lex_trim((struct text){ it->rest.p, n });
	it->rest = n < it->rest.n ? text_drop(it->rest, n + 1) : (struct text){ 0 };
	return true;
}
