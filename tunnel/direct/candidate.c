/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Candidate lines and the rules about a peer's; see candidate.h. The grammar is RFC 8839 5.1: six fields, then
 * "typ" and pairs of name and value, of which raddr, rport and tcptype are read. Any run of blanks separates
 * nothing: fields are cut at single spaces, as the grammar says, and an empty one is an error.
 */
#include "tunnel/direct/candidate.h"
#include <errno.h>
#include <stdio.h>

enum { COMPONENT_MAX = 256, PRIORITY_MAX = 0x7fffffff, SYSTEM_PORTS = 1024 };

static const char *const types[] = { "host", "srflx", "prflx", "relay" };
_Static_assert(ARRAY_LEN(types) == CANDIDATE_TYPES, "a name for each type");
static const char *const tcp_types[] = { "", "active", "passive", "so" };

const char *candidate_type_name(enum candidate_type t)
{
	return t < CANDIDATE_TYPES ? types[t] : "?";
}

/* ---- a line ---- */

static int number(struct text t, uint64_t max, uint64_t *ret_v)
{
	uint64_t v;

	if (t.n == 0 || t.n > 10 || text_u64(t, &v) != 0 || v > max)
		return -EBADMSG;
	*ret_v = v;
	return 0;
}

static int take_foundation(struct text t, struct candidate *c)
{
	if (t.n == 0 || t.n >= sizeof c->foundation)
		return -EBADMSG;
	for (size_t i = 0; i < t.n; i++) { /* ice-char */
		char x = t.p[i];
		if (!((x >= '0' && x <= '9') || (x >= 'A' && x <= 'Z') || (x >= 'a' && x <= 'z') || x == '+' || x == '/'))
			return -EBADMSG;
		c->foundation[i] = x;
	}
	return 0;
}

/* One of the pairs behind the type; unknown ones are skipped. */
static int take_extension(struct text name, struct text value, struct candidate *c, uint64_t *related_port)
{
	if (text_ieq(name, TEXT("raddr")))
		return addr_parse(value, 0, &c->related) == 0 && text_find(value, '[') < 0 ? 0 : -EBADMSG;
	if (text_ieq(name, TEXT("rport")))
		return number(value, 65535, related_port);
	if (!text_ieq(name, TEXT("tcptype")))
		return 0;
	for (unsigned i = CANDIDATE_TCP_ACTIVE; i <= CANDIDATE_TCP_SO; i++)
		if (c->tcp != CANDIDATE_UDP && text_ieq(value, text_of(tcp_types[i]))) {
			c->tcp = i;
			return 0;
		}
	return -EBADMSG;
}

static int take_type(struct text t, struct candidate *c)
{
	for (unsigned i = 0; i < CANDIDATE_TYPES; i++)
		if (text_ieq(t, text_of(types[i]))) {
			c->type = i;
			return 0;
		}
	return t.n ? -EOPNOTSUPP : -EBADMSG;
}

static int take_transport(struct text t, struct candidate *c)
{
	if (text_ieq(t, TEXT("UDP")))
		c->tcp = CANDIDATE_UDP;
	else if (text_ieq(t, TEXT("TCP")))
		c->tcp = CANDIDATE_TCP_PASSIVE; /* tcptype follows; RFC 6544 wants one */
	else
		return t.n ? -EOPNOTSUPP : -EBADMSG;
	return 0;
}

/* An address is numeric; a name (RFC 8839 5.1 allows one, mDNS uses it) is for nobody here. */
static int take_address(struct text t, uint64_t port, struct candidate *c)
{
	if (t.n == 0 || text_find(t, '[') >= 0)
		return -EBADMSG;
	if (addr_parse(t, 0, &c->addr) != 0)
		return -EOPNOTSUPP;
	if (addr_port(&c->addr) != 0)
		return -EBADMSG; /* "192.0.2.1:7" */
	addr_set_port(&c->addr, (uint16_t)port);
	return 0;
}

static int take_fixed(struct text *rest, struct candidate *c)
{
	struct text foundation = text_cut(rest, ' '), component = text_cut(rest, ' '), transport = text_cut(rest, ' ');
	struct text priority = text_cut(rest, ' '), address = text_cut(rest, ' '), port = text_cut(rest, ' ');
	struct text word = text_cut(rest, ' '), type = text_cut(rest, ' ');
	uint64_t n, prio, p;
	int r;

	if (take_foundation(foundation, c) != 0 || number(component, COMPONENT_MAX, &n) != 0 ||
	    number(priority, UINT32_MAX, &prio) != 0 || number(port, 65535, &p) != 0 || !text_ieq(word, TEXT("typ")))
		return -EBADMSG;
	c->component = (unsigned)n;
	c->priority = (uint32_t)prio;
	if ((r = take_transport(transport, c)) != 0 || (r = take_address(address, p, c)) != 0)
		return r;
	return take_type(type, c);
}

int candidate_parse(struct text line, struct candidate *ret_c)
{
	struct candidate c = { 0 };
	uint64_t related_port = 0;
	int r;

	if (text_starts(line, TEXT("a=")))
		line = text_drop(line, 2);
	if (line.n > CANDIDATE_LINE_MAX || !text_starts(line, TEXT("candidate:")))
		return -EBADMSG;
	line = text_drop(line, sizeof "candidate:" - 1);
	if ((r = take_fixed(&line, &c)) != 0)
		return r;
	while (line.p) {
		struct text name = text_cut(&line, ' '), value = text_cut(&line, ' ');
		if (name.n == 0 || value.n == 0 || take_extension(name, value, &c, &related_port) != 0)
			return -EBADMSG;
	}
	if (addr_family(&c.related) != AF_UNSPEC)
		addr_set_port(&c.related, (uint16_t)related_port);
	*ret_c = c;
	return 0;
}

size_t candidate_print(const struct candidate *c, char buf[static CANDIDATE_STRLEN])
{
	struct sb b = sb_init(buf, CANDIDATE_STRLEN);
	char ip[ADDR_STRLEN];

	sb_fmt(&b, "candidate:%s %u %s %u %s %u typ %s", c->foundation, c->component, c->tcp ? "TCP" : "UDP", c->priority,
	       addr_print_ip(&c->addr, ip), addr_port(&c->addr), types[c->type]);
	if (addr_family(&c->related) != AF_UNSPEC)
		sb_fmt(&b, " raddr %s rport %u", addr_print_ip(&c->related, ip), addr_port(&c->related));
	if (c->tcp)
		sb_fmt(&b, " tcptype %s", tcp_types[c->tcp]);
	return b.n;
}

bool candidate_same_place(const struct candidate *a, const struct candidate *b)
{
	return a->tcp == b->tcp && addr_equal(&a->addr, &b->addr);
}

uint32_t candidate_priority(enum candidate_type t, unsigned local_preference, unsigned component)
{
	static const uint32_t preference[] = { 126, 100, 110, 0 }; /* RFC 8445 5.1.2.2 */

	return (preference[t] << 24) | ((uint32_t)(local_preference & 0xffff) << 8) | (256 - component);
}

/* ---- may we send there? ---- */

static const struct {
	const char *key, *text;
} verdicts[] = {
	[CANDIDATE_TAKEN] = { "taken", "taken" },
	[CANDIDATE_BAD_SYNTAX] = { "syntax", "is no candidate line" },
	[CANDIDATE_NOT_SUPPORTED] = { "unsupported", "is of a kind that is not spoken here (a name, another transport)" },
	[CANDIDATE_ZERO_PRIORITY] = { "priority", "has a priority outside 1 to 2147483647" },
	[CANDIDATE_COMPONENT] = { "component", "is of another component" },
	[CANDIDATE_PORT] = { "port", "points at port 0 or at a system service's port" },
	[CANDIDATE_LOOPBACK_ADDRESS] = { "loopback", "points at a loopback address" },
	[CANDIDATE_GROUP] = { "group", "points at a multicast or broadcast address" },
	[CANDIDATE_NO_ADDRESS] = { "address", "points at an unspecified, link-local or reserved address" },
	[CANDIDATE_TWICE] = { "twice", "is there already" },
	[CANDIDATE_TOO_MANY] = { "too-many", "is one too many" },
};
_Static_assert(ARRAY_LEN(verdicts) == CANDIDATE_VERDICTS, "a row for each verdict");

const char *candidate_verdict_text(enum candidate_verdict v)
{
	return v < CANDIDATE_VERDICTS ? verdicts[v].text : "?";
}

const char *candidate_verdict_key(enum candidate_verdict v)
{
	return v < CANDIDATE_VERDICTS ? verdicts[v].key : "?";
}

static enum candidate_verdict judge_address(const struct addr *a, const struct candidate_policy *p)
{
	struct addr real = addr_canonical(a);

	switch (addr_classify(&real)) {
	case ADDR_LOOPBACK: return p->loopback ? CANDIDATE_TAKEN : CANDIDATE_LOOPBACK_ADDRESS;
	case ADDR_MULTICAST:
	case ADDR_BROADCAST: return CANDIDATE_GROUP;
	case ADDR_UNSPECIFIED:
	case ADDR_LINK_LOCAL:
	case ADDR_RESERVED: return CANDIDATE_NO_ADDRESS;
	default: return CANDIDATE_TAKEN;
	}
}

enum candidate_verdict candidate_judge(const struct candidate *c, const struct candidate_policy *p)
{
	if (c->component != CANDIDATE_DIRECT && c->component != CANDIDATE_RELAYED)
		return CANDIDATE_COMPONENT;
	if (c->priority == 0 || c->priority > PRIORITY_MAX)
		return CANDIDATE_ZERO_PRIORITY;
	/* A NAT of Linux keeps a port in its range, so no agent's UDP port is below 1024: what is below is somebody's DNS,
	 * NTP or SNMP. Over TCP it may be an open 443. */
	if (c->tcp == CANDIDATE_TCP_ACTIVE ? false : addr_port(&c->addr) == 0 || (!c->tcp && addr_port(&c->addr) < SYSTEM_PORTS))
		return CANDIDATE_PORT;
	return judge_address(&c->addr, p);
}
