/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of turn/fastpath/wire.h, read and written. Strict: what is not used is zero, names end in a
 * zero, an address has the family it says, a state is one that is known. So what is read is written again as
 * the same bytes, which the fuzz target holds.
 */
#include "turn/fastpath/wire.h"
#include <errno.h>
#include <stdio.h>
#include <sys/un.h>
#include "common/bytes.h"

enum { MAGIC = 0x53464150 }; /* "SFAP" */

/* clang-format off */
const char *const fast_why_texts[FAST_WHYS + 1] = {
	[FAST_OFFLOADED] = "offloaded",
	[FAST_WHY_DISABLED] = "turn.fast_path.mode is off",
	[FAST_WHY_NO_HELPER] = "stile-fastpath does not answer",
	[FAST_WHY_WAITING] = "stile-fastpath was asked a moment ago",
	[FAST_WHY_TRANSPORT] = "client over TCP, TLS or DTLS",
	[FAST_WHY_AWAY] = "the client is away",
	[FAST_WHY_BITRATE] = "a bit rate is limited",
	[FAST_WHY_OWN_PEER] = "the peer is a client of this server",
	[FAST_WHY_NO_PERMISSION] = "no permission for the peer now",
	[FAST_WHY_FULL] = "turn.fast_path.channels is reached",
	[FAST_WHY_MEMORY] = "out of memory",
	[FAST_WHY_BAD] = "stile-fastpath refused it",
	[FAST_WHY_NO_ROUTE] = "no route",
	[FAST_WHY_INTERFACE] = "over an interface without fast path",
	[FAST_WHY_NEIGHBOUR] = "the next hop's MAC address is not known yet",
	NULL,
};
/* clang-format on */

/* ---- addresses: family, zero, port, 16 bytes ---- */

static void write_addr(struct wr *w, const struct addr *a)
{
	size_t n;
	const uint8_t *ip = addr_ip(a, &n);

	wr_u8(w, n == 4 ? 4 : 6);
	wr_u8(w, 0);
	wr_u16(w, addr_port(a));
	wr_bytes(w, ip, n);
	wr_zero(w, 16 - n);
}

static bool all_zero(const uint8_t *p, size_t n)
{
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= p[i];
	return !any;
}

static bool read_addr(struct rd *r, struct addr *ret_a)
{
	uint8_t family = rd_u8(r), zero = rd_u8(r);
	uint16_t port = rd_u16(r);
	const uint8_t *ip = rd_take(r, 16);

	if (!ip || zero || (family != 4 && family != 6) || (family == 4 && !all_zero(ip + 4, 12)))
		return false;
	*ret_a = family == 4 ? addr_v4(load_be32(ip), port) : addr_v6(ip, port);
	return true;
}

/* ---- bodies, a row a type ---- */

static bool read_hello(struct rd *r, struct fast_msg *m)
{
	m->hello.worker = rd_u16(r);
	return true;
}

static void write_hello(struct wr *w, const struct fast_msg *m)
{
	wr_u16(w, m->hello.worker);
}

static bool read_welcome(struct rd *r, struct fast_msg *m)
{
	uint16_t mode = rd_u16(r);
	const uint8_t *names;

	m->welcome.slots = rd_u32(r);
	names = rd_take(r, FAST_NAMES_LEN);
	if (!names || (mode != FAST_TC && mode != FAST_XDP) || !m->welcome.slots)
		return false;
	const uint8_t *end = memchr(names, 0, FAST_NAMES_LEN);
	if (!end || !all_zero(end, (size_t)(names + FAST_NAMES_LEN - end)))
		return false;
	m->welcome.mode = mode;
	memcpy(m->welcome.interfaces, names, FAST_NAMES_LEN);
	return true;
}

static void write_welcome(struct wr *w, const struct fast_msg *m)
{
	size_t n = strnlen(m->welcome.interfaces, FAST_NAMES_LEN - 1);

	wr_u16(w, (uint16_t)m->welcome.mode);
	wr_u32(w, m->welcome.slots);
	wr_bytes(w, m->welcome.interfaces, n);
	wr_zero(w, FAST_NAMES_LEN - n);
}

static bool read_add(struct rd *r, struct fast_msg *m)
{
	struct fast_channel *c = &m->add;

	if (!read_addr(r, &c->client) || !read_addr(r, &c->local) || !read_addr(r, &c->relay) || !read_addr(r, &c->peer))
		return false;
	c->number = rd_u16(r);
	return addr_family(&c->client) == addr_family(&c->local) && addr_family(&c->relay) == addr_family(&c->peer);
}

static void write_add(struct wr *w, const struct fast_msg *m)
{
	write_addr(w, &m->add.client);
	write_addr(w, &m->add.local);
	write_addr(w, &m->add.relay);
	write_addr(w, &m->add.peer);
	wr_u16(w, m->add.number);
}

static bool read_slot(struct rd *r, struct fast_msg *m)
{
	m->state.slot = rd_u32(r);
	m->state.generation = rd_u32(r);
	m->state.why = FAST_OFFLOADED;
	return true;
}

static void write_slot(struct wr *w, const struct fast_msg *m)
{
	wr_u32(w, m->state.slot);
	wr_u32(w, m->state.generation);
}

static bool read_state(struct rd *r, struct fast_msg *m)
{
	read_slot(r, m);
	m->state.why = rd_u16(r);
	return m->state.why == FAST_OFFLOADED || (m->state.why >= FAST_WHY_FULL && m->state.why < FAST_WHYS);
}

static void write_state(struct wr *w, const struct fast_msg *m)
{
	write_slot(w, m);
	wr_u16(w, (uint16_t)m->state.why);
}

static const struct body {
	bool (*read)(struct rd *r, struct fast_msg *m);
	void (*write)(struct wr *w, const struct fast_msg *m);
} bodies[] = {
	[FAST_HELLO] = { read_hello, write_hello },
	[FAST_WELCOME] = { read_welcome, write_welcome },
	[FAST_ADD] = { read_add, write_add },
	[FAST_ADDED] = { read_state, write_state },
	[FAST_REMOVE] = { read_slot, write_slot },
	[FAST_REMOVED] = { read_slot, write_slot },
	[FAST_STATE] = { read_state, write_state },
};

int fast_msg_parse(const uint8_t *p, size_t n, struct fast_msg *ret_m)
{
	struct rd r = rd_init(p, n);
	struct fast_msg m = { 0 };
	uint32_t magic = rd_u32(&r);
	uint8_t version = rd_u8(&r), type = rd_u8(&r);
	uint16_t zero = rd_u16(&r);

	m.seq = rd_u32(&r);
	if (n != FAST_MSG_LEN || magic != MAGIC || version != FAST_VERSION || zero || type >= ARRAY_LEN(bodies) ||
	    !bodies[type].read)
		return -EBADMSG;
	m.type = type;
	if (!bodies[type].read(&r, &m) || r.failed || !all_zero(r.pos, rd_left(&r)))
		return -EBADMSG;
	*ret_m = m;
	return 0;
}

void fast_msg_write(const struct fast_msg *m, uint8_t ret_p[static FAST_MSG_LEN])
{
	struct wr w = wr_init(ret_p, FAST_MSG_LEN);

	wr_u32(&w, MAGIC);
	wr_u8(&w, FAST_VERSION);
	wr_u8(&w, (uint8_t)m->type);
	wr_u16(&w, 0);
	wr_u32(&w, m->seq);
	bodies[m->type].write(&w, m);
	wr_zero(&w, FAST_MSG_LEN - wr_len(&w));
}

int fast_socket_path(const char *runtime_dir, const char *instance, char *ret_path, size_t n)
{
	int len = snprintf(ret_path, n, "%s/stile-fastpath%s%s.channels", runtime_dir, *instance ? "@" : "", instance);

	return len < 0 || (size_t)len >= MIN(n, sizeof(((struct sockaddr_un *)NULL)->sun_path)) ? -ENAMETOOLONG : 0;
}
