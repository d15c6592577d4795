/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name server's answer on the wire: header, questions, records, compressed names (RFC 1035 4.1). A pointer must
 * point backwards, and each name follows a bounded number of them, so that no answer leads in circles. A name is
 * taken only if it is made of what host names and service names are made of: it goes into logs and into further
 * questions.
 */
#include <stdlib.h>
#include "common/bytes.h"
#include "common/dns_records.h"
#include "common/text.h"

enum { POINTERS_MAX = 16, QUESTIONS_MAX = 4, ANSWERS_MAX = 256, TYPE_CNAME = 5, CLASS_IN = 1 };

struct message {
	const uint8_t *p;
	size_t n;
};

static bool fine(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

/* A label onto the name. False: it cannot be there. */
static bool add_label(struct rd *r, size_t n, char *name, size_t *len)
{
	const uint8_t *p = rd_take(r, n);

	if (!p || *len + n + 2 > DNS_NAME_MAX)
		return false;
	if (*len)
		name[(*len)++] = '.';
	for (size_t i = 0; i < n; i++) {
		if (!fine(p[i]))
			return false;
		name[(*len)++] = (char)p[i];
	}
	return true;
}

/* The name at r, which ends behind it; name: DNS_NAME_MAX bytes. Latches r on what is none. */
static void read_name(struct rd *r, const struct message *m, char *name)
{
	struct rd at = *r;
	size_t len = 0;
	bool jumped = false;

	name[0] = 0;
	for (unsigned jumps = 0; jumps <= POINTERS_MAX;) {
		const uint8_t *here = at.pos;
		uint8_t n = rd_u8(&at);

		if (at.failed)
			break;
		if (n == 0) {
			if (!jumped)
				*r = at;
			name[len] = 0;
			return;
		}
		if (n < 64) {
			if (!add_label(&at, n, name, &len))
				break;
			continue;
		}
		size_t to = (size_t)(n & 63) << 8 | rd_u8(&at);
		if (n < 192 || at.failed || to >= (size_t)(here - m->p))
			break;
		if (!jumped)
			*r = at;
		jumped = true;
		at = rd_init(m->p + to, m->n - to);
		jumps++;
	}
	r->failed = true;
	name[0] = 0;
}

/* A character-string; what does not fit in or is not printable makes it empty, and it matches nothing. */
static size_t read_string(struct rd *r, char *out, size_t cap)
{
	size_t n = rd_u8(r);
	const uint8_t *p = rd_take(r, n);

	out[0] = 0;
	if (!p || n >= cap)
		return n;
	for (size_t i = 0; i < n; i++) {
		if (p[i] < 0x20 || p[i] > 0x7e) {
			out[0] = 0;
			return n;
		}
		out[i] = (char)p[i];
	}
	out[n] = 0;
	return n;
}

static void read_srv(struct rd *data, const struct message *m, struct dns_srv *s)
{
	s->priority = rd_u16(data);
	s->weight = rd_u16(data);
	s->port = rd_u16(data);
	read_name(data, m, s->target);
}

static void read_naptr(struct rd *data, const struct message *m, struct dns_naptr *s)
{
	char ignored[1];

	s->order = rd_u16(data);
	s->preference = rd_u16(data);
	(void)read_string(data, s->flags, sizeof(s->flags));
	(void)read_string(data, s->service, sizeof(s->service));
	s->regexp = read_string(data, ignored, sizeof(ignored)) > 0;
	read_name(data, m, s->replacement);
}

/* One resource record. A record of ours that is malformed is left out; a frame that is makes all of it malformed. */
static void read_record(struct rd *r, const struct message *m, struct dns_records *out)
{
	char owner[DNS_NAME_MAX];
	uint16_t type, class;
	uint32_t ttl;
	struct rd data;

	read_name(r, m, owner);
	type = rd_u16(r);
	class = rd_u16(r);
	ttl = rd_u32(r);
	data = rd_sub(r, rd_u16(r));
	if (r->failed || class != CLASS_IN || (type != out->type && type != TYPE_CNAME))
		return;
	out->ttl_s = MIN(out->ttl_s, ttl > INT32_MAX ? 0 : ttl); /* RFC 2181 8 */
	if (type == TYPE_CNAME || out->n == DNS_RECORDS_MAX)
		return;
	if (out->type == DNS_SRV)
		read_srv(&data, m, &out->srv[out->n]);
	else
		read_naptr(&data, m, &out->naptr[out->n]);
	out->n += rd_done(&data);
}

static bool read_message(const struct message *m, struct dns_records *out)
{
	struct rd r = rd_init(m->p, m->n);
	char ignored[DNS_NAME_MAX];
	uint16_t flags, questions, answers;

	(void)rd_u16(&r); /* id */
	flags = rd_u16(&r);
	questions = rd_u16(&r);
	answers = rd_u16(&r);
	(void)rd_u32(&r); /* authority, additional */
	if (r.failed || !(flags & 0x8000) || (flags & 0x780f) || questions > QUESTIONS_MAX ||
	    answers > ANSWERS_MAX)
		return false;
	for (unsigned i = 0; i < questions && !r.failed; i++) {
		read_name(&r, m, ignored);
		(void)rd_u32(&r);
	}
	for (unsigned i = 0; i < answers && !r.failed; i++)
		read_record(&r, m, out);
	return !r.failed;
}

enum dns_status dns_records_parse(const void *p, size_t n, enum dns_type type, struct dns_records **ret_r)
{
	struct dns_records *r = calloc(1, sizeof(*r));
	const struct message m = { p, n };
	enum dns_status s = DNS_OK;

	if (!r)
		return DNS_NO_MEMORY;
	r->refs = 1;
	r->type = type;
	r->ttl_s = DNS_TTL_MAX_S;
	if (!read_message(&m, r))
		s = DNS_SERVER_FAILED;
	else if (!r->n)
		s = DNS_NO_ADDRESS;
	if (s == DNS_OK)
		*ret_r = r;
	else
		free(r);
	return s;
}

struct dns_records *dns_records_ref(struct dns_records *r)
{
	if (r)
		r->refs++;
	return r;
}

struct dns_records *dns_records_unref(struct dns_records *r)
{
	if (r && --r->refs == 0)
		free(r);
	return NULL;
}
