/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How samples are judged; see site_nat.h. A block is believed if all ports of a NAT that has been seen to spread them fell into a
 * narrow one; then as much again is added on both sides, for six sockets do not show its edges. Ports that follow each other
 * in steps lie ahead of the last one.
 */
#include "tunnel/direct/site_nat.h"
#include <errno.h>
#include <stdio.h>

enum {
	VERSION = 1,
	LOWEST = 1024,
	HIGHEST = 65535,
	NARROW = 8192,	  /* a wider spread is no block: all ports are as likely */
	STEPS_AHEAD = 160, /* mappings that may be made, also by others, before the probing sockets have theirs */
	STEP_MAX = 16,
};

static const char *const names[] = { "unknown", "endpoint", "varies" };

const char *site_mapping_name(enum site_mapping m)
{
	return m < ARRAY_LEN(names) ? names[m] : "?";
}

static uint16_t clamp(long port)
{
	return (uint16_t)(port < LOWEST ? LOWEST : port > HIGHEST ? HIGHEST : port);
}

/* Ports in the order in which they were given out. */
static size_t list_ports(const struct site_samples *s, uint16_t ports[static SITE_NAT_SOCKETS * SITE_NAT_TARGETS])
{
	size_t n = 0;

	for (unsigned i = 0; i < SITE_NAT_SOCKETS; i++)
		for (unsigned j = 0; j < SITE_NAT_TARGETS; j++)
			if (addr_family(&s->mapped[i][j]) != AF_UNSPEC)
				ports[n++] = addr_port(&s->mapped[i][j]);
	return n;
}

static int common_step(const uint16_t *ports, size_t n)
{
	int step = n > 2 ? ports[1] - ports[0] : 0;

	for (size_t i = 1; i + 1 < n; i++)
		if (ports[i + 1] - ports[i] != step)
			return 0;
	return step > STEP_MAX || step < -STEP_MAX ? 0 : step;
}

static void judge_block(const uint16_t *ports, size_t n, struct site_nat *r)
{
	long low = HIGHEST, high = LOWEST, margin;

	for (size_t i = 0; i < n; i++) {
		low = MIN(low, ports[i]);
		high = MAX(high, ports[i]);
	}
	r->low = LOWEST;
	r->high = HIGHEST;
	if (n < 4 || high - low >= NARROW)
		return;
	r->step = common_step(ports, n);
	margin = r->step ? 0 : high - low + 64;
	r->low = clamp(low - margin + MIN(r->step, 0) * STEPS_AHEAD);
	r->high = clamp(high + margin + MAX(r->step, 0) * STEPS_AHEAD);
}

struct site_nat site_nat_judge(const struct site_samples *s)
{
	uint16_t ports[SITE_NAT_SOCKETS * SITE_NAT_TARGETS];
	struct site_nat r = { 0 };
	size_t n = list_ports(s, ports);

	for (unsigned i = 0; i < SITE_NAT_SOCKETS; i++) {
		const struct addr *a = &s->mapped[i][0], *b = &s->mapped[i][1];
		if (addr_family(a) == AF_UNSPEC || addr_family(b) == AF_UNSPEC)
			continue;
		r.public = *a;
		if (!addr_equal(a, b))
			r.mapping = SITE_VARIES;
		else if (r.mapping == SITE_UNKNOWN)
			r.mapping = SITE_ENDPOINT;
	}
	addr_set_port(&r.public, 0);
	if (r.mapping == SITE_VARIES)
		judge_block(ports, n, &r);
	return r;
}

size_t site_nat_print(const struct site_nat *n, char buf[static SITE_NAT_STRLEN])
{
	struct sb b = sb_init(buf, SITE_NAT_STRLEN);
	char ip[ADDR_STRLEN];

	sb_fmt(&b, "nat:%d %s %s %u %u %u", VERSION, site_mapping_name(n->mapping),
	       addr_family(&n->public) == AF_UNSPEC ? "-" : addr_print_ip(&n->public, ip), n->low, n->high, n->probe_port);
	return b.n;
}

static int take_port(struct text *rest, uint16_t *ret_port)
{
	struct text t = text_cut(rest, ' ');
	uint64_t v;

	if (t.n == 0 || t.n > 5 || text_u64(t, &v) != 0 || v > 65535)
		return -EBADMSG;
	*ret_port = (uint16_t)v;
	return 0;
}

int site_nat_parse(struct text line, struct site_nat *ret_n)
{
	struct site_nat n = { 0 };
	struct text mapping, ip;

	if (line.n >= SITE_NAT_STRLEN || !text_eq(text_cut(&line, ' '), TEXT("nat:1")))
		return -EBADMSG;
	mapping = text_cut(&line, ' ');
	ip = text_cut(&line, ' ');
	while (n.mapping < ARRAY_LEN(names) && !text_eq(mapping, text_of(names[n.mapping])))
		n.mapping++;
	if (n.mapping == ARRAY_LEN(names))
		return -EBADMSG;
	if (!text_eq(ip, TEXT("-")) && (addr_parse(ip, 0, &n.public) != 0 || addr_port(&n.public) != 0 || text_find(ip, '[') >= 0))
		return -EBADMSG;
	if (take_port(&line, &n.low) != 0 || take_port(&line, &n.high) != 0 || take_port(&line, &n.probe_port) != 0 || line.p)
		return -EBADMSG;
	if (n.mapping == SITE_VARIES && (n.low < LOWEST || n.high < n.low || addr_family(&n.public) == AF_UNSPEC))
		return -EBADMSG;
	if (n.probe_port && (n.probe_port < LOWEST || addr_family(&n.public) == AF_UNSPEC))
		return -EBADMSG;
	*ret_n = n;
	return 0;
}
