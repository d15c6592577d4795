/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of values that a configuration key can have: how each is read, checked and printed.
 *
 * A parse function gets the text as it stands in the file (YAML's own types play no role), writes
 * *dst only if the value is good, and otherwise says what it must be in a sentence without a
 * subject. A print function writes what its parse would read back. To add a kind: one row at the
 * end of this file, one declaration in config.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/config_priv.h"

static int _printf_(3, 4) refuse(char *err, size_t err_n, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err, err_n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- numbers and their units ---- */

struct unit {
	const char *name;
	uint64_t factor;
};
/* Largest first: a value is printed in the largest unit that divides it. */
static const struct unit units_none[] = { { "", 1 }, { NULL, 0 } };
static const struct unit units_ms[] = { { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 },
					{ "s", 1000 },	   { "ms", 1 },	     { NULL, 0 } };
static const struct unit units_bytes[] = { { "GiB", 1 << 30 },	{ "GB", 1000000000 }, { "MiB", 1 << 20 },
					   { "MB", 1000000 },	{ "KiB", 1 << 10 },   { "KB", 1000 },
					   { "", 1 },		{ NULL, 0 } };
static const struct unit units_bits[] = {
	{ "Gbit/s", 1000000000 }, { "Mbit/s", 1000000 }, { "kbit/s", 1000 }, { "", 1 }, { NULL, 0 }
};

static void print_units(uint64_t v, const struct unit *units, struct sb *out)
{
	const struct unit *u = units;
	while (u[1].name && (v == 0 || v % u->factor != 0))
		u++;
	sb_fmt(out, "%" PRIu64 "%s", v / u->factor, u->name);
}

static int check_range(const struct cfg_row *row, uint64_t v, struct text t, const struct unit *units, char *err,
		       size_t err_n)
{
	char low[32], high[32];
	struct sb lo = sb_init(low, sizeof(low)), hi = sb_init(high, sizeof(high));
	const char *unit = units == units_none && row->unit ? row->unit : "", *blank = *unit ? " " : "";
	bool bounded = row->max != 0 && row->max != UINT64_MAX;
	if (v >= row->min && (!row->max || v <= row->max))
		return 0;
	print_units(row->min, units, &lo);
	print_units(row->max, units, &hi);
	if (bounded)
		return refuse(err, err_n, "must be %s..%s%s%s, not '%.*s%s'", low, high, blank, unit, CFG_SHOWN(t));
	return refuse(err, err_n, "must be at least %s%s%s, not '%.*s%s'", low, blank, unit, CFG_SHOWN(t));
}

static int parse_u64(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	uint64_t v;
	int r = text_u64(t, &v);
	bool too_long = r == -ERANGE; /* digits, but too many: the range is what helps */
	if (r < 0 && !too_long)
		return refuse(err, err_n, "must be a whole number, not '%.*s%s'", CFG_SHOWN(t));
	r = check_range(row, too_long ? UINT64_MAX : v, t, units_none, err, err_n);
	if (r == 0 && too_long)
		return refuse(err, err_n, "must be below 2^64, not '%.*s%s'", CFG_SHOWN(t));
	if (r == 0)
		*(uint64_t *)dst = v;
	return r;
}

static void print_u64(const struct cfg_row *row, const void *src, struct sb *out)
{
	(void)row;
	print_units(*(const uint64_t *)src, units_none, out);
}

static int parse_count(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	uint64_t v = UINT64_MAX;
	if (!text_eq(t, TEXT("unlimited")) && text_u64(t, &v) < 0)
		return refuse(err, err_n, "must be a whole number or unlimited, not '%.*s%s'", CFG_SHOWN(t));
	int r = check_range(row, v, t, units_none, err, err_n);
	if (r == 0)
		*(uint64_t *)dst = v;
	return r;
}

static void print_count(const struct cfg_row *row, const void *src, struct sb *out)
{
	if (*(const uint64_t *)src == UINT64_MAX)
		sb_str(out, "unlimited");
	else
		print_u64(row, src, out);
}

static int parse_duration(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	uint64_t v;
	if (text_duration(t, &v) < 0)
		return refuse(err, err_n, "must be a duration such as 500ms, 30s, 5m, 2h or 7d, not '%.*s%s'",
			      CFG_SHOWN(t));
	int r = check_range(row, v, t, units_ms, err, err_n);
	if (r == 0)
		*(uint64_t *)dst = v;
	return r;
}

static void print_duration(const struct cfg_row *row, const void *src, struct sb *out)
{
	(void)row;
	print_units(*(const uint64_t *)src, units_ms, out);
}

static int parse_size(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	uint64_t v;
	if (text_size(t, &v) < 0)
		return refuse(err, err_n, "must be a size such as 64KB, 10MB or 1GiB, not '%.*s%s'", CFG_SHOWN(t));
	int r = check_range(row, v, t, units_bytes, err, err_n);
	if (r == 0)
		*(uint64_t *)dst = v;
	return r;
}

static void print_size(const struct cfg_row *row, const void *src, struct sb *out)
{
	(void)row;
	print_units(*(const uint64_t *)src, units_bytes, out);
}

static int parse_bitrate(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	uint64_t v;
	if (text_bitrate(t, &v) < 0)
		return refuse(err, err_n, "must be a bit rate such as 64kbit/s, 2Mbit/s or unlimited, not '%.*s%s'",
			      CFG_SHOWN(t));
	int r = check_range(row, v, t, units_bits, err, err_n);
	if (r == 0)
		*(uint64_t *)dst = v;
	return r;
}

static void print_bitrate(const struct cfg_row *row, const void *src, struct sb *out)
{
	uint64_t v = *(const uint64_t *)src;
	(void)row;
	if (v == UINT64_MAX)
		sb_str(out, "unlimited");
	else
		print_units(v, units_bits, out);
}

/* ---- words ---- */

static int parse_bool(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	static const char *const words[] = { "false", "no", "off", "true", "yes", "on" };
	(void)row;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (text_ieq(t, text_of(words[i]))) {
			*(bool *)dst = i >= 3;
			return 0;
		}
	return refuse(err, err_n, "must be true or false, not '%.*s%s'", CFG_SHOWN(t));
}

static void print_bool(const struct cfg_row *row, const void *src, struct sb *out)
{
	(void)row;
	sb_str(out, *(const bool *)src ? "true" : "false");
}

static void list_choices(const struct cfg_row *row, const char *suffix, struct sb *out)
{
	for (size_t i = 0; row->choices[i]; i++)
		sb_fmt(out, "%s%s%s", i ? ", " : "", row->choices[i], suffix);
}

/* The position of t in row->choices, or a refusal with the nearest choice. */
static int find_choice(const struct cfg_row *row, struct text t, const char *suffix, unsigned *ret_i, char *err,
		       size_t err_n)
{
	struct cfg_suggestion s = { .wanted = t };
	char all[160];
	struct sb b = sb_init(all, sizeof(all));
	for (unsigned i = 0; row->choices[i]; i++) {
		if (text_eq(t, text_of(row->choices[i]))) {
			*ret_i = i;
			return 0;
		}
		cfg_suggest(&s, row->choices[i]);
	}
	list_choices(row, suffix, &b);
	return refuse(err, err_n, "must %s one of %s, not '%.*s%s%s'%s%s%s", *suffix ? "begin with" : "be", all,
		      CFG_SHOWN(t), suffix, s.best ? "; did you mean '" : "", s.best ? s.best : "",
		      s.best ? "'?" : "");
}

static int parse_enum(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	return find_choice(row, t, "", dst, err, err_n);
}

static void print_enum(const struct cfg_row *row, const void *src, struct sb *out)
{
	sb_str(out, row->choices[*(const unsigned *)src]);
}

/* What a file itself may not hold cannot come in by an escape either: C1 controls, U+FFFE, U+FFFF and a byte
 * order mark. t is UTF-8. */
static bool has_unprintable(struct text t)
{
	for (size_t i = 0; i + 1 < t.n; i++) {
		const unsigned char *c = (const unsigned char *)t.p + i;
		if (c[0] == 0xc2 && c[1] < 0xa0)
			return true;
		if (c[0] == 0xef && i + 2 < t.n && ((c[1] == 0xbf && c[2] >= 0xbe) || (c[1] == 0xbb && c[2] == 0xbf)))
			return true;
	}
	return false;
}

int cfg_text_check(struct text t, char *err, size_t err_n)
{
	for (size_t i = 0; i < t.n; i++) {
		unsigned char c = (unsigned char)t.p[i];
		if (c == '\n' || c == '\r')
			return refuse(err, err_n, "must be one line");
		if (c < 0x20 || c == 0x7f)
			return refuse(err, err_n, "must not hold control characters");
	}
	if (!text_is_utf8(t))
		return refuse(err, err_n, "must be UTF-8");
	if (has_unprintable(t))
		return refuse(err, err_n, "must not hold control characters");
	return 0;
}

static int parse_string(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	int r = cfg_text_check(t, err, err_n);

	if (r < 0)
		return r;
	if (t.n == 0 && row->min > 0)
		return refuse(err, err_n, "must not be empty");
	if (t.n < row->min)
		return refuse(err, err_n, "must be at least %" PRIu64 " bytes long, not %zu", row->min, t.n);
	if (row->max && t.n > row->max)
		return refuse(err, err_n, "must be at most %" PRIu64 " bytes long, not %zu", row->max, t.n);
	char *s = text_dup(t);
	if (!s)
		return -ENOMEM;
	*(char **)dst = s;
	return 0;
}

static int parse_path(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	if (t.n == 0)
		return refuse(err, err_n, "must not be empty");
	return parse_string(row, t, dst, err, err_n);
}

static void print_string(const struct cfg_row *row, const void *src, struct sb *out)
{
	(void)row;
	if (*(char *const *)src)
		sb_str(out, *(char *const *)src);
}

static void free_string(void *dst)
{
	char **s = dst;
	if (*s)
		bytes_wipe(*s, strlen(*s)); /* it may be a secret; costs nothing */
	free(*s);
	*s = NULL;
}

/* ---- addresses ---- */

/* address[:port] with the row's default port. Tells the mistakes that people make with IPv6. */
static int parse_at(const struct cfg_row *row, struct text t, struct addr *ret_a, char *err, size_t err_n)
{
	struct addr a;
	if (t.n && t.p[0] == '*')
		return refuse(err, err_n, "must name an address; for all of them write 0.0.0.0 or [::], not '*'");
	if (addr_parse(t, row->default_port, &a) < 0)
		return refuse(err, err_n, "must be a numeric address with a port, as 192.0.2.1:%u or [2001:db8::1]:%u,"
			      " not '%.*s%s'", row->default_port ? row->default_port : 3478,
			      row->default_port ? row->default_port : 3478, CFG_SHOWN(t));
	if (addr_port(&a) == 0 && addr_family(&a) == AF_INET6 && t.p[0] != '[')
		return refuse(err, err_n, "must have a port; an IPv6 address stands in brackets then, as "
			      "[2001:db8::1]:3478, not '%.*s%s'", CFG_SHOWN(t));
	if (addr_port(&a) == 0)
		return refuse(err, err_n, "must have a port from 1 to 65535, not '%.*s%s'", CFG_SHOWN(t));
	*ret_a = a;
	return 0;
}

static int parse_addr(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	return parse_at(row, t, dst, err, err_n);
}

static void print_addr(const struct cfg_row *row, const void *src, struct sb *out)
{
	char buf[ADDR_STRLEN];
	(void)row;
	sb_str(out, addr_print(src, buf));
}

static int parse_ip(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	struct addr a;
	(void)row;
	if (addr_parse(t, 0, &a) < 0)
		return refuse(err, err_n, "must be a numeric address such as 192.0.2.1 or 2001:db8::1, not '%.*s%s'",
			      CFG_SHOWN(t));
	if (t.p[0] == '[' || (addr_family(&a) == AF_INET && text_find(t, ':') >= 0))
		return refuse(err, err_n, "must be an address without a port, not '%.*s%s'", CFG_SHOWN(t));
	*(struct addr *)dst = a;
	return 0;
}

static int parse_ip_auto(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	struct cfg_ip_auto *a = dst;
	struct addr ip;

	if (text_eq(t, TEXT("auto"))) {
		*a = (struct cfg_ip_auto){ .automatic = true };
		return 0;
	}
	if (parse_ip(row, t, &ip, err, err_n) < 0)
		return refuse(err, err_n, "must be auto or a numeric address without a port, such as 192.0.2.1 or 2001:db8::1, "
			      "not '%.*s%s'", CFG_SHOWN(t));
	*a = (struct cfg_ip_auto){ .ip = ip };
	return 0;
}

static void print_ip(const struct cfg_row *row, const void *src, struct sb *out)
{
	char buf[ADDR_STRLEN];
	(void)row;
	sb_str(out, addr_print_ip(src, buf));
}

static void print_ip_auto(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct cfg_ip_auto *a = src;

	if (a->automatic)
		sb_str(out, "auto");
	else
		print_ip(row, &a->ip, out);
}

/* "10.1.2.3/8" → "10.0.0.0/8", if only the host bits are wrong. */
static bool prefix_meant(struct text t, char buf[static PREFIX_STRLEN])
{
	struct prefix p;
	struct addr a;
	uint64_t bits;
	struct text rest = t, ip = text_cut(&rest, '/');
	if (!rest.p || text_u64(rest, &bits) < 0 || addr_parse(ip, 0, &a) < 0 || (ip.n && ip.p[0] == '['))
		return false;
	size_t n;
	const uint8_t *from = addr_ip(&a, &n);
	uint8_t ip_bytes[16] = { 0 };
	if (!from || n > sizeof(ip_bytes) || bits > n * 8)
		return false;
	memcpy(ip_bytes, from, n);
	for (size_t i = bits; i < n * 8; i++)
		ip_bytes[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
	p = (struct prefix){ .a = n == 4 ? addr_v4(load_be32(ip_bytes), 0) : addr_v6(ip_bytes, 0),
			     .bits = (uint8_t)bits };
	prefix_print(&p, buf);
	return true;
}

static int parse_prefix(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	char meant[PREFIX_STRLEN];
	struct prefix p;
	(void)row;
	if (prefix_parse(t, &p) == 0) {
		*(struct prefix *)dst = p;
		return 0;
	}
	if (prefix_meant(t, meant))
		return refuse(err, err_n, "must not have bits set behind the prefix length; did you mean '%s'?", meant);
	return refuse(err, err_n, "must be a prefix such as 10.0.0.0/8 or 2001:db8::/32, not '%.*s%s'", CFG_SHOWN(t));
}

static void print_prefix(const struct cfg_row *row, const void *src, struct sb *out)
{
	char buf[PREFIX_STRLEN];
	(void)row;
	sb_str(out, prefix_print(src, buf));
}

static int parse_ports(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	uint64_t first, last, min = row->min ? row->min : 1, max = row->max ? row->max : 65535;
	struct text rest = t, a = text_trim(text_cut(&rest, '-')), b = rest.p ? text_trim(rest) : a;
	if (text_u64(a, &first) < 0 || text_u64(b, &last) < 0)
		return refuse(err, err_n, "must be a range of ports such as 49152-65535, or one port, not '%.*s%s'",
			      CFG_SHOWN(t));
	if (first < min || last > max || first > max || last < min)
		return refuse(err, err_n, "must lie within %" PRIu64 "-%" PRIu64 ", not '%.*s%s'", min, max,
			      CFG_SHOWN(t));
	if (first > last)
		return refuse(err, err_n, "must begin with the lower port, not '%.*s%s'", CFG_SHOWN(t));
	*(struct cfg_port_range *)dst = (struct cfg_port_range){ (uint16_t)first, (uint16_t)last };
	return 0;
}

static void print_ports(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct cfg_port_range *p = src;
	(void)row;
	if (p->first == p->last)
		sb_fmt(out, "%u", p->first);
	else
		sb_fmt(out, "%u-%u", p->first, p->last);
}

static int parse_endpoint(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	struct cfg_endpoint e = { 0 };
	struct text at = t;
	int r = 0;
	if (row->choices) {
		struct text proto = text_cut(&at, ':');
		char all[160];
		struct sb b = sb_init(all, sizeof(all));
		list_choices(row, ":", &b);
		if (!at.p || !proto.n || strchr("0123456789[*", proto.p[0]))
			return refuse(err, err_n, "must begin with one of %s, as %s:0.0.0.0:3478, not '%.*s%s'", all,
				      row->choices[0], CFG_SHOWN(t));
		r = find_choice(row, proto, ":", &e.proto, err, err_n);
	}
	if (r == 0 && (row->flags & CFG_UNIX) && text_starts(at, TEXT("unix:")))
		r = cfg_unix_path_parse(text_drop(at, 5), e.path, err, err_n);
	else if (r == 0)
		r = parse_at(row, at, &e.at, err, err_n);
	if (r == 0)
		*(struct cfg_endpoint *)dst = e;
	return r;
}

static void print_endpoint(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct cfg_endpoint *e = src;
	if (row->choices)
		sb_fmt(out, "%s:", row->choices[e->proto]);
	if (e->path[0])
		sb_fmt(out, "unix:%s", e->path);
	else
		print_addr(row, &e->at, out);
}

/* A DNS name in its ASCII form (RFC 1123 2.1; an underscore is tolerated). Four numbers are no name. */
static bool is_host_name(struct text t)
{
	bool digits = true; /* of the label that was looked at last */
	if (t.n && t.p[t.n - 1] == '.')
		t.n--;
	if (t.n == 0 || t.n > 253)
		return false;
	for (struct text rest = t; rest.p;) {
		struct text label = text_cut(&rest, '.');
		if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
			return false;
		digits = true;
		for (size_t i = 0; i < label.n; i++) {
			char c = label.p[i];
			bool digit = c >= '0' && c <= '9';
			if (!digit && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-' && c != '_')
				return false;
			digits = digits && digit;
		}
	}
	return !digits;
}

static bool is_ascii(struct text t)
{
	for (size_t i = 0; i < t.n; i++)
		if ((unsigned char)t.p[i] > 0x7f)
			return false;
	return true;
}

static int parse_hostport(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n)
{
	struct cfg_hostport h = { 0 };
	struct addr a;
	char ip[ADDR_STRLEN];
	uint64_t port = row->default_port;
	struct text rest = t, host = text_cut(&rest, ':');
	bool numeric = addr_parse(t, row->default_port, &a) == 0;
	if (numeric) {
		host = text_of(addr_print_ip(&a, ip));
		port = addr_port(&a);
	} else if (!is_host_name(host)) {
		return refuse(err, err_n, "must be a name or an address with a port, as %s, not '%.*s%s'%s",
			      cfg_hostport.example, CFG_SHOWN(t),
			      is_ascii(host) ? "" : "; a name outside ASCII is written in its xn-- form");
	} else if (rest.p && (text_u64(rest, &port) < 0 || port > 65535)) {
		port = 0;
	}
	if (port == 0)
		return refuse(err, err_n, "must have a port from 1 to 65535, as %s, not '%.*s%s'",
			      cfg_hostport.example, CFG_SHOWN(t));
	h.host = text_dup(host);
	if (!h.host)
		return -ENOMEM;
	h.port = (uint16_t)port;
	*(struct cfg_hostport *)dst = h;
	return 0;
}

static void print_hostport(const struct cfg_row *row, const void *src, struct sb *out)
{
	const struct cfg_hostport *h = src;
	(void)row;
	if (h->host)
		sb_fmt(out, strchr(h->host, ':') ? "[%s]:%u" : "%s:%u", h->host, h->port);
}

static void free_hostport(void *dst)
{
	struct cfg_hostport *h = dst;
	free(h->host);
	h->host = NULL;
}

/* clang-format off */
#define TYPE(t) .size = sizeof(t)
const struct cfg_type cfg_bool     = { "true or false", TYPE(bool), "true", parse_bool, print_bool, NULL };
const struct cfg_type cfg_u64      = { "number", TYPE(uint64_t), "10", parse_u64, print_u64, NULL };
const struct cfg_type cfg_count    = { "number or unlimited", TYPE(uint64_t), "1000", parse_count, print_count, NULL };
const struct cfg_type cfg_string   = { "text", TYPE(char *), "text", parse_string, print_string, free_string };
const struct cfg_type cfg_path     = { "path", TYPE(char *), "/etc/stile/server.pem", parse_path, print_string, free_string };
const struct cfg_type cfg_enum     = { "choice", TYPE(unsigned), NULL, parse_enum, print_enum, NULL };
const struct cfg_type cfg_duration = { "duration", TYPE(uint64_t), "30s", parse_duration, print_duration, NULL };
const struct cfg_type cfg_size     = { "size", TYPE(uint64_t), "10MB", parse_size, print_size, NULL };
const struct cfg_type cfg_bitrate  = { "bit rate", TYPE(uint64_t), "2Mbit/s", parse_bitrate, print_bitrate, NULL };
const struct cfg_type cfg_ip       = { "address", TYPE(struct addr), "192.0.2.1", parse_ip, print_ip, NULL };
const struct cfg_type cfg_ip_auto  = { "address or auto", TYPE(struct cfg_ip_auto), "192.0.2.1", parse_ip_auto, print_ip_auto, NULL };
const struct cfg_type cfg_addr     = { "address and port", TYPE(struct addr), "192.0.2.1:3478", parse_addr, print_addr, NULL };
const struct cfg_type cfg_prefix   = { "prefix", TYPE(struct prefix), "10.0.0.0/8", parse_prefix, print_prefix, NULL };
const struct cfg_type cfg_ports    = { "port range", TYPE(struct cfg_port_range), "49152-65535", parse_ports, print_ports, NULL };
const struct cfg_type cfg_endpoint = { "endpoint", TYPE(struct cfg_endpoint), "udp:0.0.0.0:3478", parse_endpoint, print_endpoint, NULL };
const struct cfg_type cfg_hostport = { "host and port", TYPE(struct cfg_hostport), "stun.example.net:3478", parse_hostport, print_hostport, free_hostport };
/* clang-format on */
