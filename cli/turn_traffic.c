/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packets of a measured run. Over UDP they leave and arrive in batches through common/dgram, so that
 * the generator costs little beside what it measures; over the other transports each goes through its
 * allocation's turn_link.
 *
 * A payload begins with its time of departure, its number in its flow and the name of the flow; the rest
 * is fill. The far end checks all of it: a packet counts only if it came whole, to the right socket.
 */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "cli/turn_load_priv.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "stun/msg.h"

enum {
	FILL = 0x5a,
	CHANNEL_HEAD = 4,
	CATCH_UP_PER_S = 50,  /* what was missed is made up for 1/50 s */
	MIN_PACE_NS = 100000, /* between wake-ups; shorter ones would cost more than they send */
	MAX_PACE_NS = 1000000,
};

static uint32_t flow_name(const struct pair *p, unsigned direction)
{
	return (uint32_t)(p - p->load->pairs) * 2 + (direction == LOAD_DOWN);
}

/* ---- what arrives ---- */

static void count_arrival(struct load *l, uint64_t sent_ns, uint64_t now_ns)
{
	if (sent_ns < l->began_ns)
		return; /* of the warm-up */
	l->r->received++;
	latency_add(&l->r->latency, now_ns > sent_ns ? now_ns - sent_ns : 0);
}

static void arrived(struct pair *p, unsigned direction, const uint8_t *data, size_t n, uint64_t now_ns)
{
	struct load *l = p->load;
	struct flow *f = direction == LOAD_UP ? &p->up : &p->down;
	struct rd r = rd_init(data, n);
	uint64_t sent_ns = rd_u64(&r);
	uint32_t number = rd_u32(&r), name = rd_u32(&r);

	if (!l->measuring)
		return;
	if (n != l->o->size || name != flow_name(p, direction) ||
	    memcmp(data + LOAD_MIN_SIZE, l->fill, n - LOAD_MIN_SIZE) != 0) {
		l->r->corrupt++;
		return;
	}
	if ((int32_t)(number - f->seen) <= 0)
		l->r->reordered++;
	else
		f->seen = number;
	count_arrival(l, sent_ns, now_ns);
}

static void on_binding_answer(struct load *l, const uint8_t *data, size_t n, uint64_t now_ns)
{
	uint64_t sent_ns;

	if (!l->measuring)
		return;
	if (n < STUN_HEADER_LEN || load_be16(data) != stun_type(STUN_BINDING, STUN_SUCCESS) ||
	    load_be16(data + 2) != n - STUN_HEADER_LEN) {
		l->r->corrupt++;
		return;
	}
	memcpy(&sent_ns, data + STUN_HEADER_LEN - STUN_TID_LEN, sizeof sent_ns);
	count_arrival(l, sent_ns, now_ns);
}

static void on_client_bytes(struct pair *p, uint8_t *data, size_t n, uint64_t now_ns)
{
	enum stun_demux kind = n ? stun_demux(data[0]) : DEMUX_OTHER;

	if (kind == DEMUX_CHANNEL_DATA && n >= CHANNEL_HEAD && memcmp(data, p->head, 2) == 0 &&
	    load_be16(data + 2) <= n - CHANNEL_HEAD)
		arrived(p, LOAD_DOWN, data + CHANNEL_HEAD, load_be16(data + 2), now_ns);
	else if (kind == DEMUX_STUN && p->client)
		turn_client_input(p->client, data, n);
	else if (kind == DEMUX_STUN)
		on_binding_answer(p->load, data, n, now_ns);
	else if (p->load->measuring)
		p->load->r->corrupt++; /* nothing that a server may send */
}

struct batch {
	struct pair *pair;
	uint64_t now_ns;
};

static void on_peer_datagram(const struct dgram *d, void *arg)
{
	struct batch *b = arg;

	arrived(b->pair, LOAD_UP, d->data, d->len, b->now_ns);
}

static void on_client_datagram(const struct dgram *d, void *arg)
{
	struct batch *b = arg;

	on_client_bytes(b->pair, d->data, d->len, b->now_ns);
}

void traffic_peer_ready(struct io *io, int events)
{
	struct pair *p = container_of(io, struct pair, peer_io);
	struct batch b = { p, clock_steady_ns() };

	(void)events;
	(void)dgram_recv(p->load->dgram, io->fd, 0, on_peer_datagram, &b);
}

void traffic_client_ready(struct io *io, int events)
{
	struct pair *p = container_of(io, struct pair, client_io);
	struct batch b = { p, clock_steady_ns() };

	(void)events;
	(void)dgram_recv(p->load->dgram, io->fd, 0, on_client_datagram, &b);
}

void traffic_client_message(struct pair *p, uint8_t *data, size_t n)
{
	on_client_bytes(p, data, n, clock_steady_ns());
}

/* ---- what leaves ---- */

static const uint8_t *make_payload(struct pair *p, unsigned direction, unsigned slot, uint64_t now_ns)
{
	struct flow *f = direction == LOAD_UP ? &p->up : &p->down;
	uint8_t *at = p->load->slot[slot];
	struct wr w = wr_init(at, LOAD_MIN_SIZE);

	wr_u64(&w, now_ns);
	wr_u32(&w, ++f->sent);
	wr_u32(&w, flow_name(p, direction));
	return at;
}

static void to_server(struct pair *p, const void *head, size_t head_n, const uint8_t *body, size_t n)
{
	const struct dgram_route route = { p->client_io.fd, &p->load->o->server, NULL, DGRAM_MARK_NONE };

	dgram_send(p->load->dgram, &route, head, head_n, body, n);
}

static void to_relay(struct pair *p, const uint8_t *body)
{
	const struct dgram_route route = { p->peer_io.fd, &p->relayed, NULL, DGRAM_MARK_NONE };

	dgram_send(p->load->dgram, &route, NULL, 0, body, p->load->o->size);
}

static void send_up(struct pair *p, const uint8_t *payload)
{
	struct load *l = p->load;
	uint8_t frame[CHANNEL_HEAD + LOAD_MAX_SIZE + 3];
	size_t n = l->o->size;

	if (!p->link) {
		to_server(p, p->head, CHANNEL_HEAD, payload, n);
		return;
	}
	memcpy(frame, p->head, CHANNEL_HEAD);
	memcpy(frame + CHANNEL_HEAD, payload, n);
	n += CHANNEL_HEAD;
	if (turn_link_is_stream(p->link)) {
		memset(frame + n, 0, -n & 3);
		n += -n & 3;
	}
	(void)turn_link_send(p->link, frame, n); /* not taken: it is missing at the far end */
}

static void send_binding(struct pair *p, unsigned slot, uint64_t now_ns)
{
	struct load *l = p->load;
	uint8_t *buf = l->slot[slot], tid[STUN_TID_LEN] = { 0 };
	struct stun_writer sw;

	memcpy(tid, &now_ns, sizeof now_ns); /* comes back in the answer */
	memcpy(tid + sizeof now_ns, &l->bindings, sizeof l->bindings);
	l->bindings++;
	stun_begin(&sw, buf, LOAD_MAX_SIZE, STUN_BINDING, STUN_REQUEST, tid);
	ssize_t n = stun_end(&sw);
	if (n > 0)
		to_server(p, NULL, 0, buf, (size_t)n);
}

/* A burst belongs to one socket, so the flush behind it costs no system call more than a later one would,
 * and the time in the payload is that of its departure. */
static void send_burst(struct load *l)
{
	uint64_t turn = l->next_pair++, now_ns = clock_steady_ns();
	bool both = l->o->directions == (LOAD_UP | LOAD_DOWN);
	struct pair *p = &l->pairs[(both ? turn / 2 : turn) % l->o->allocations];
	unsigned direction = !both ? l->o->directions : turn & 1 ? LOAD_DOWN : LOAD_UP;

	for (unsigned i = 0; i < l->o->burst; i++) {
		if (l->o->mode == LOAD_BINDING)
			send_binding(p, i, now_ns);
		else if (direction == LOAD_UP)
			send_up(p, make_payload(p, LOAD_UP, i, now_ns));
		else
			to_relay(p, make_payload(p, LOAD_DOWN, i, now_ns));
	}
	dgram_flush(l->dgram);
	if (l->measuring)
		l->r->sent += l->o->burst;
}

/* What is due by the rate since the run began. A generator that was held up does not make up for more than
 * 20 ms, so an overload shows as a lower rate. */
static void on_pace(struct io *io, int events)
{
	struct load *l = container_of(io, struct load, pace);
	uint64_t volley = l->o->rate * l->o->volley_ms / 1000, target, expired;
	uint64_t most = MAX(l->o->rate / CATCH_UP_PER_S, 2 * volley) + l->o->burst;

	(void)events;
	if (read(io->fd, &expired, sizeof expired) != (ssize_t)sizeof expired)
		return; /* woken for nothing */
	target = (uint64_t)((double)(clock_steady_ns() - l->began_ns) / 1e9 * (double)l->o->rate);
	if (target > l->due + most)
		l->due = target - most;
	for (; l->due + l->o->burst <= target; l->due += l->o->burst)
		send_burst(l);
}

/* One burst a wake-up where the rate allows it, as from clients that know nothing of each other; or volleys. */
int traffic_start(struct load *l)
{
	uint64_t own = MIN(MAX((uint64_t)l->o->burst * 1000000000 / l->o->rate, MIN_PACE_NS), MAX_PACE_NS);
	uint64_t ns = l->o->volley_ms ? l->o->volley_ms * 1000000 : own;
	struct timespec t = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
	struct itimerspec every = { t, t };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = timerfd_settime(fd, 0, &every, NULL) < 0 ? -errno : io_start(&l->pace, l->loop, fd, IO_READ, on_pace);
	if (r < 0) {
		close(fd);
		l->pace.fd = -1;
	}
	return r;
}

void traffic_stop(struct load *l)
{
	int fd = l->pace.fd;

	if (fd < 0)
		return;
	io_stop(&l->pace);
	close(fd);
	l->pace.fd = -1;
}

void traffic_init(struct load *l)
{
	memset(l->fill, FILL, sizeof l->fill);
	for (unsigned i = 0; i < LOAD_MAX_BURST; i++)
		memset(l->slot[i], FILL, sizeof l->slot[i]);
}
