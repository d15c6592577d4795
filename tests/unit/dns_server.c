/* SPDX-License-Identifier: Apache-2.0 */
/* The name server of the tests; its header says what it can. One table of names, one datagram at a time. */
#include "tests/unit/support.h"
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "common/bytes.h"
#include "common/dgram.h"
#include "tests/unit/dns_server.h"

enum { TYPE_A = 1, TYPE_PTR = 12, TYPE_AAAA = 28, TYPE_SRV = 33, TYPE_NAPTR = 35, HEADER = 12 };

/* The question's name as text and its end; 0: not a question we know. */
static size_t read_name(const uint8_t *p, size_t n, char *name, size_t cap)
{
	size_t at = HEADER, len = 0;

	while (at < n && p[at]) {
		if (at + 1 + p[at] >= n || len + p[at] + 2 > cap)
			return 0;
		if (len)
			name[len++] = '.';
		memcpy(name + len, p + at + 1, p[at]);
		len += p[at];
		at += 1u + p[at];
	}
	name[len] = 0;
	return at + 1;
}

static size_t put_record(uint8_t *out, unsigned type, unsigned ttl_s, const uint8_t *data, size_t n)
{
	store_be16(out, 0xc00c); /* the name: that of the question */
	store_be16(out + 2, (uint16_t)type);
	store_be16(out + 4, 1);
	store_be32(out + 6, ttl_s);
	store_be16(out + 10, (uint16_t)n);
	memcpy(out + 12, data, n);
	return 12 + n;
}

static size_t write_name(uint8_t *out, struct text name)
{
	size_t len = 0;

	while (name.p) {
		struct text label = text_cut(&name, '.');
		out[len++] = (uint8_t)label.n;
		memcpy(out + len, label.p, label.n);
		len += label.n;
	}
	out[len++] = 0;
	return len;
}

static size_t write_string(uint8_t *out, struct text t)
{
	out[0] = (uint8_t)t.n;
	memcpy(out + 1, t.p, t.n);
	return t.n + 1;
}

static size_t write_number(uint8_t *out, struct text t)
{
	uint64_t v;

	assert_int_equal(text_u64(t, &v), 0);
	store_be16(out, (uint16_t)v);
	return 2;
}

/* Numbers first, then a NAPTR's strings, then the name; "." is the root. */
static size_t write_service(uint8_t *out, unsigned type, struct text one)
{
	unsigned numbers = type == TYPE_SRV ? 3 : 2;
	struct text name;
	size_t len = 0;

	for (unsigned i = 0; i < numbers; i++)
		len += write_number(out + len, text_cut(&one, ' '));
	if (type == TYPE_NAPTR) {
		len += write_string(out + len, text_cut(&one, ' '));
		len += write_string(out + len, text_cut(&one, ' '));
		out[len++] = 0; /* no regexp */
	}
	name = text_eq(one, TEXT(".")) ? (struct text){ 0 } : one;
	return len + write_name(out + len, name);
}

static size_t put_services(uint8_t *out, unsigned type, const struct dns_row *row, uint16_t *ret_count)
{
	struct text rest = text_of(type == TYPE_SRV ? row->srv : row->naptr);
	uint8_t data[512];
	size_t len = 0;

	while (rest.p) {
		struct text one = text_trim(text_cut(&rest, ','));
		len += put_record(out + len, type, row->ttl_s, data, write_service(data, type, one));
		++*ret_count;
	}
	return len;
}

static size_t put_records(uint8_t *out, unsigned type, const struct dns_row *row, uint16_t *ret_count)
{
	struct text rest = text_of(type == TYPE_A ? row->v4 : type == TYPE_AAAA ? row->v6 : NULL);
	size_t len = 0, n;
	uint8_t name[256];

	if (type == TYPE_SRV || type == TYPE_NAPTR)
		return put_services(out, type, row, ret_count);
	if (type == TYPE_PTR && row->v4) {
		++*ret_count;
		return put_record(out, type, row->ttl_s, name, write_name(name, text_of(row->v4)));
	}
	while (rest.p) {
		struct text one = text_cut(&rest, ' ');
		struct addr a;
		assert_int_equal(addr_parse(one, 0, &a), 0);
		const uint8_t *ip = addr_ip(&a, &n);
		len += put_record(out + len, type, row->ttl_s, ip, n);
		++*ret_count;
	}
	return len;
}

static const struct dns_row *find_row(const struct dns_server *s, const char *name)
{
	for (size_t i = 0; i < s->n_rows; i++)
		if (!strcasecmp(s->rows[i].name, name))
			return &s->rows[i];
	return NULL;
}

static bool is_ignored(const struct dns_row *row, unsigned type)
{
	const char *of = !row ? NULL : type == TYPE_A ? row->v4 : type == TYPE_AAAA ? row->v6 : NULL;

	return of && !strcmp(of, SILENCE);
}

static void answer(struct dns_server *s, uint8_t *p, size_t n, const struct sockaddr *to, socklen_t to_n)
{
	char name[256];
	size_t end = n > HEADER ? read_name(p, n, name, sizeof(name)) : 0;
	const struct dns_row *row;
	uint16_t count = 0;
	int rcode;

	if (!end || end + 4 > n)
		return;
	s->questions++;
	row = find_row(s, name);
	rcode = row ? row->rcode : RCODE_NXDOMAIN;
	if (rcode == NO_ANSWER || is_ignored(row, load_be16(p + end)))
		return;
	p[2] |= 0x80; /* a response */
	p[3] = (uint8_t)(0x80 | rcode);
	memset(p + 6, 0, 6);
	n = end + 4;
	if (row && rcode == RCODE_OK)
		n += put_records(p + n, load_be16(p + end), row, &count);
	store_be16(p + 6, count);
	assert_int_equal(sendto(s->io.fd, p, n, 0, to, to_n), n);
}

static void on_question(struct io *io, int events)
{
	struct dns_server *s = container_of(io, struct dns_server, io);
	uint8_t buf[4096];
	struct sockaddr_storage from;
	socklen_t from_n = sizeof(from);
	ssize_t n = recvfrom(io->fd, buf, 512, 0, (struct sockaddr *)&from, &from_n);

	(void)events;
	if (s->lost)
		s->lost--;
	else if (n > 0)
		answer(s, buf, (size_t)n, (const struct sockaddr *)&from, from_n);
}

void dns_server_start(struct dns_server *s, struct loop *l, const struct dns_row *rows, size_t n)
{
	struct addr at;
	socklen_t len = sizeof(at);
	int fd;

	*s = (struct dns_server){ .rows = rows, .n_rows = n };
	assert_int_equal(addr_parse(TEXT("127.0.0.1"), 0, &at), 0);
	assert_int_equal(dgram_socket(&at, &(struct dgram_socket_options){ .v6only = true }, &fd), 0);
	assert_int_equal(getsockname(fd, &at.sa, &len), 0);
	addr_print(&at, s->servers);
	assert_int_equal(io_start(&s->io, l, fd, IO_READ, on_question), 0);
}

void dns_server_stop(struct dns_server *s)
{
	io_stop(&s->io);
	close(s->io.fd);
}
