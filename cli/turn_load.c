/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generator. Over UDP it sends and receives in batches through common/dgram, so that it costs less
 * than what it measures; over the other transports it uses a turn_link per allocation. Each payload
 * carries its time of departure and a number; the far end checks its length and its fill.
 */
#include "cli/turn_load.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/command.h"
#include "common/bytes.h"
#include "common/dgram.h"
#include "stun/msg.h"
#include "turn/client.h"

enum { MIN_SIZE = 16, MAX_SIZE = 1400, SLOTS = 4096, DRAIN_MS = 300, SETUP_LIMIT_MS = 120000, BINDING_REPLY = 20 };

struct load;

struct pair { /* one allocation: a client here, a peer there */
	struct load *load;
	struct io client_io, peer_io; /* UDP: the client's socket; fd -1: none */
	struct turn_link *link;	      /* the other transports */
	struct turn_client *client;
	struct addr peer, relayed;
	uint8_t head[4]; /* ChannelData header for payloads of the run's size */
	bool allocated, bound;
};

struct load {
	const struct turn_load_options *o;
	struct turn_load_result *r;
	struct loop *loop;
	struct dgram_io *dgram;
	struct pair *pairs;
	unsigned started, allocated, bound, released;
	bool measuring, failed;
	struct timer tick, stage;
	uint64_t began_ns, due, next_pair;
	uint8_t (*slot)[MAX_SIZE + 4]; /* payloads in flight until the flush: a ring */
	unsigned next_slot;
	uint32_t number;
};

/* ---- failures and stages ---- */

static void fail(struct load *l, const char *why)
{
	if (l->failed)
		return;
	l->failed = true;
	snprintf(l->r->error, sizeof l->r->error, "%s", why);
	loop_stop(l->loop);
}

static void on_stage_end(struct timer *t, uint64_t now)
{
	struct load *l = container_of(t, struct load, stage);

	(void)now;
	loop_stop(l->loop);
}

/* Runs the loop for at most ms; a stage that is done sooner stops it. */
static void run_for(struct load *l, uint64_t ms)
{
	if (l->failed)
		return;
	loop_timer_set(l->loop, &l->stage, ms);
	(void)loop_run(l->loop);
	timer_stop(&l->stage);
}

/* ---- what arrives ---- */

static void arrived(struct load *l, const uint8_t *p, size_t n, uint64_t now_ns)
{
	struct rd r = rd_init(p, n);
	uint64_t sent_ns = rd_u64(&r);

	if (!l->measuring || r.failed)
		return;
	if (n != l->o->size || (n > MIN_SIZE && p[n - 1] != 0x5a)) {
		l->r->corrupt++;
		return;
	}
	if (sent_ns < l->began_ns)
		return; /* of the warm-up */
	l->r->received++;
	latency_add(&l->r->latency, now_ns > sent_ns ? now_ns - sent_ns : 0);
}

struct batch {
	struct pair *pair;
	uint64_t now_ns;
};

static void on_peer_datagram(const struct dgram *d, void *arg)
{
	struct batch *b = arg;

	arrived(b->pair->load, d->data, d->len, b->now_ns);
}

static void on_client_bytes(struct pair *p, uint8_t *data, size_t n, uint64_t now_ns)
{
	if (n >= 4 && stun_demux(data[0]) == DEMUX_CHANNEL_DATA && p->bound) {
		arrived(p->load, data + 4, MIN(n - 4, (size_t)load_be16(data + 2)), now_ns);
		return;
	}
	if (p->client) {
		turn_client_input(p->client, data, n);
	} else if (p->load->measuring && n >= BINDING_REPLY && load_be16(data) == stun_type(STUN_BINDING, STUN_SUCCESS)) {
		uint64_t sent_ns;
		memcpy(&sent_ns, data + 8, sizeof sent_ns);
		if (sent_ns >= p->load->began_ns) {
			p->load->r->received++;
			latency_add(&p->load->r->latency, now_ns - sent_ns);
		}
	}
}

static void on_client_datagram(const struct dgram *d, void *arg)
{
	struct batch *b = arg;

	on_client_bytes(b->pair, d->data, d->len, b->now_ns);
}

static void on_peer_ready(struct io *io, int events)
{
	struct pair *p = container_of(io, struct pair, peer_io);
	struct batch b = { p, clock_ns() };

	(void)events;
	(void)dgram_recv(p->load->dgram, io->fd, 0, on_peer_datagram, &b);
}

static void on_client_ready(struct io *io, int events)
{
	struct pair *p = container_of(io, struct pair, client_io);
	struct batch b = { p, clock_ns() };

	(void)events;
	(void)dgram_recv(p->load->dgram, io->fd, 0, on_client_datagram, &b);
}

static void on_link_message(struct turn_link *tl, uint8_t *data, size_t n, void *arg)
{
	(void)tl;
	on_client_bytes(arg, data, n, clock_ns());
}

static void on_link_close(struct turn_link *tl, int err, const char *why, void *arg)
{
	struct pair *p = arg;
	char text[256];

	(void)tl;
	snprintf(text, sizeof text, "the connection ended: %s%s%s", strerror(err), why && *why ? ", " : "", why ? why : "");
	fail(p->load, text);
}

/* ---- the clients ---- */

static void start_more(struct load *l);

static uint64_t client_now(void *arg)
{
	return loop_now(((struct pair *)arg)->load->loop);
}

static void client_send(const void *data, size_t n, void *arg)
{
	struct pair *p = arg;

	if (p->link)
		(void)turn_link_send(p->link, data, n);
	else
		dgram_send_copy(p->load->dgram, &(struct dgram_route){ p->client_io.fd, &p->load->o->server, NULL, DGRAM_MARK_NONE },
				data, n);
}

static void on_allocated(struct turn_client *c, void *arg)
{
	struct pair *p = arg;
	struct load *l = p->load;

	p->relayed = *turn_client_relayed(c);
	p->allocated = true;
	if (++l->allocated == l->o->allocations)
		loop_stop(l->loop);
	else
		start_more(l);
}

static void on_bound(struct turn_client *c, const struct addr *peer, uint16_t channel, void *arg)
{
	struct pair *p = arg;

	(void)c;
	(void)peer;
	store_be16(p->head, channel);
	store_be16(p->head + 2, (uint16_t)p->load->o->size);
	p->bound = true;
	if (++p->load->bound == p->load->o->allocations)
		loop_stop(p->load->loop);
}

static void on_failed(struct turn_client *c, const struct turn_failure *f, void *arg)
{
	struct pair *p = arg;
	char text[256];

	(void)c;
	fail(p->load, turn_failure_text(f, text, sizeof text));
}

static void on_released(struct turn_client *c, void *arg)
{
	struct pair *p = arg;

	(void)c;
	p->allocated = false;
	if (++p->load->released == p->load->allocated)
		loop_stop(p->load->loop);
}

static const struct turn_client_ops client_ops = {
	.send = client_send, .on_allocated = on_allocated, .on_bound = on_bound, .on_failed = on_failed,
	.on_released = on_released,
};

static void begin_allocate(struct pair *p)
{
	const struct turn_load_options *o = p->load->o;
	struct turn_client_options co = { .timers = loop_timers(p->load->loop), .now = client_now, .user = o->user,
					  .password = o->password, .stream = p->link && turn_link_is_stream(p->link),
					  .no_sha256 = o->no_sha256, .ops = &client_ops, .arg = p };

	if (turn_client_new(&co, &p->client) < 0 || turn_client_allocate(p->client) < 0)
		fail(p->load, "cannot make a client: bad user name or password, or no memory");
}

static void on_link_open(struct turn_link *tl, void *arg)
{
	(void)tl;
	begin_allocate(arg);
}

static int open_socket(struct pair *p, const struct addr *like, struct io *io, void (*ready)(struct io *, int))
{
	struct addr at = *like;
	int fd, r;

	addr_set_port(&at, 0);
	r = dgram_socket(&at, &(struct dgram_socket_options){ .v6only = true, .gro = true }, &fd);
	if (r == 0 && (r = io_start(io, p->load->loop, fd, IO_READ, ready)) < 0)
		close(fd);
	if (r < 0)
		io->fd = -1;
	return r;
}

static void start_pair(struct pair *p)
{
	static const struct turn_link_ops link_ops = { on_link_open, on_link_message, on_link_close };
	const struct turn_load_options *o = p->load->o;
	struct addr any = addr_family(&o->server) == AF_INET ? addr_v4(0, 0) : addr_v6((uint8_t[16]){ 0 }, 0);
	socklen_t len = sizeof p->peer;
	char err[TLS_ERRLEN] = "";
	int r = 0;

	if (o->mode == LOAD_RELAY) {
		r = open_socket(p, &o->peer_ip, &p->peer_io, on_peer_ready);
		if (r == 0 && getsockname(p->peer_io.fd, &p->peer.sa, &len) < 0)
			r = -errno;
	}
	if (r == 0 && o->proto == TURN_UDP)
		r = open_socket(p, &any, &p->client_io, on_client_ready);
	else if (r == 0)
		r = turn_link_new(p->load->loop, &(struct turn_link_options){ .proto = o->proto, .server = o->server,
				  .server_name = o->server_name, .ops = &link_ops, .arg = p }, err, &p->link);
	if (r < 0)
		fail(p->load, err[0] ? err : r == -EMFILE ? "too few file descriptors; see: ulimit -n" : strerror(-r));
	else if (!p->link && o->mode != LOAD_BINDING)
		begin_allocate(p);
}

static void start_more(struct load *l)
{
	while (!l->failed && l->started < l->o->allocations && l->started - l->allocated < l->o->in_flight)
		start_pair(&l->pairs[l->started++]);
}

/* ---- sending ---- */

static uint8_t *next_payload(struct load *l, uint64_t now_ns)
{
	uint8_t *p = l->slot[l->next_slot++ % SLOTS];
	struct wr w = wr_init(p, MIN_SIZE);

	wr_u64(&w, now_ns);
	wr_u32(&w, l->number++);
	return p;
}

static void send_up(struct pair *p, const uint8_t *payload)
{
	struct load *l = p->load;
	uint8_t frame[MAX_SIZE + 8];
	size_t n = l->o->size;

	if (!p->link) {
		dgram_send(l->dgram, &(struct dgram_route){ p->client_io.fd, &l->o->server, NULL, DGRAM_MARK_NONE }, p->head,
			   sizeof p->head, payload, n);
		return;
	}
	memcpy(frame, p->head, sizeof p->head);
	memcpy(frame + sizeof p->head, payload, n);
	n += sizeof p->head;
	if (turn_link_is_stream(p->link)) {
		memset(frame + n, 0, -n & 3);
		n += -n & 3;
	}
	(void)turn_link_send(p->link, frame, n);
}

static void send_binding(struct pair *p, uint64_t now_ns)
{
	struct load *l = p->load;
	uint8_t *buf = l->slot[l->next_slot++ % SLOTS], tid[STUN_TID_LEN] = { 0 };
	struct stun_writer sw;

	memcpy(tid, &now_ns, sizeof now_ns); /* comes back in the answer */
	memcpy(tid + sizeof now_ns, &l->number, sizeof l->number);
	l->number++;
	stun_begin(&sw, buf, MAX_SIZE, STUN_BINDING, STUN_REQUEST, tid);
	ssize_t n = stun_end(&sw);
	if (n > 0)
		dgram_send(l->dgram, &(struct dgram_route){ p->client_io.fd, &l->o->server, NULL, DGRAM_MARK_NONE }, NULL, 0, buf,
			   (size_t)n);
}

static void send_one(struct load *l, struct pair *p, unsigned direction, uint64_t now_ns)
{
	if (l->measuring)
		l->r->sent++;
	if (l->o->mode == LOAD_BINDING)
		send_binding(p, now_ns);
	else if (direction == LOAD_UP)
		send_up(p, next_payload(l, now_ns));
	else
		dgram_send(l->dgram, &(struct dgram_route){ p->peer_io.fd, &p->relayed, NULL, DGRAM_MARK_NONE }, NULL, 0,
			   next_payload(l, now_ns), l->o->size);
}

static void send_burst(struct load *l, uint64_t now_ns)
{
	uint64_t turn = l->next_pair++;
	bool both = l->o->directions == (LOAD_UP | LOAD_DOWN);
	struct pair *p = &l->pairs[(both ? turn / 2 : turn) % l->o->allocations];
	unsigned direction = !both ? l->o->directions : turn & 1 ? LOAD_DOWN : LOAD_UP;

	for (unsigned i = 0; i < l->o->burst; i++)
		send_one(l, p, direction, now_ns);
}

/* Every millisecond: what is due by the rate since the run began. A generator that was held up does
 * not make up for more than 20 ms, so an overload shows as a lower rate. */
static void on_tick(struct timer *t, uint64_t now)
{
	struct load *l = container_of(t, struct load, tick);
	uint64_t now_ns = clock_ns();
	uint64_t target = (uint64_t)((double)(now_ns - l->began_ns) / 1e9 * (double)l->o->rate);
	uint64_t most = l->o->rate / 50 + l->o->burst;

	(void)now;
	if (target > l->due + most)
		l->due = target - most;
	for (unsigned flushed = 0; l->due + l->o->burst <= target; l->due += l->o->burst) {
		send_burst(l, now_ns);
		flushed += l->o->burst;
		if (flushed + l->o->burst > SLOTS) { /* the slots must not be reused before they are sent */
			dgram_flush(l->dgram);
			flushed = 0;
		}
	}
	loop_timer_set(l->loop, &l->tick, 1);
}

/* ---- the run ---- */

static void subtract(const struct usage *a, const struct usage *b, struct usage *ret_d)
{
	*ret_d = (struct usage){ b->server_s - a->server_s, b->generator_s - a->generator_s, b->host_busy_s - a->host_busy_s,
				 b->wall_s - a->wall_s, b->server_rss };
}

static void set_up(struct load *l)
{
	struct usage before, after;

	usage_now(l->o->server_pid, &before);
	start_more(l);
	if (l->o->mode != LOAD_BINDING)
		run_for(l, SETUP_LIMIT_MS);
	usage_now(l->o->server_pid, &after);
	subtract(&before, &after, &l->r->setup);
	l->r->setup_s = l->r->setup.wall_s;
	l->r->rss_before = before.server_rss;
	l->r->rss_after = after.server_rss;
	l->r->allocations = l->allocated;
	if (!l->failed && l->o->mode != LOAD_BINDING && l->allocated < l->o->allocations)
		fail(l, "the server did not answer all Allocate requests in time");
}

static void bind_all(struct load *l)
{
	for (unsigned i = 0; i < l->o->allocations && !l->failed; i++) {
		if (turn_client_bind(l->pairs[i].client, &l->pairs[i].peer) < 0)
			fail(l, "no memory");
		if (i % l->o->in_flight == l->o->in_flight - 1)
			run_for(l, 5);
	}
	if (l->bound < l->o->allocations)
		run_for(l, SETUP_LIMIT_MS);
	if (!l->failed && l->bound < l->o->allocations)
		fail(l, "the server did not answer all ChannelBind requests in time");
}

static void measure(struct load *l)
{
	struct usage before, after;

	l->began_ns = clock_ns();
	loop_timer_set(l->loop, &l->tick, 0);
	run_for(l, l->o->warmup_ms);
	usage_now(l->o->server_pid, &before);
	l->began_ns = clock_ns();
	l->due = 0;
	l->measuring = true;
	run_for(l, l->o->run_ms);
	timer_stop(&l->tick);
	usage_now(l->o->server_pid, &after);
	subtract(&before, &after, &l->r->run);
	l->r->run_s = l->r->run.wall_s;
	run_for(l, DRAIN_MS);
}

static void release_all(struct load *l)
{
	unsigned had = l->allocated;

	for (unsigned i = 0; i < l->started; i++)
		if (l->pairs[i].allocated)
			turn_client_release(l->pairs[i].client);
	if (had)
		run_for(l, 3000);
}

static void close_pair(struct pair *p)
{
	struct io *ios[] = { &p->client_io, &p->peer_io };

	turn_client_free(p->client);
	turn_link_free(p->link);
	for (size_t i = 0; i < ARRAY_LEN(ios); i++) {
		if (!ios[i]->loop || ios[i]->fd < 0)
			continue;
		int fd = ios[i]->fd;
		io_stop(ios[i]);
		dgram_forget(p->load->dgram, fd);
		close(fd);
	}
}

static int load_init(struct load *l)
{
	int r = loop_new(&l->loop);

	if (r < 0 || (r = dgram_io_new(l->loop, &(struct dgram_options){ .no_gso = l->o->no_gso }, &l->dgram)) < 0)
		return r;
	l->pairs = calloc(l->o->allocations, sizeof *l->pairs);
	l->slot = malloc(SLOTS * sizeof *l->slot);
	if (!l->pairs || !l->slot)
		return -ENOMEM;
	memset(l->slot, 0x5a, SLOTS * sizeof *l->slot);
	for (unsigned i = 0; i < l->o->allocations; i++)
		l->pairs[i].load = l;
	l->tick.fire = on_tick;
	l->stage.fire = on_stage_end;
	return 0;
}

static void load_deinit(struct load *l)
{
	timer_stop(&l->tick);
	for (unsigned i = 0; l->pairs && i < l->started; i++)
		close_pair(&l->pairs[i]);
	dgram_io_free(l->dgram);
	loop_free(l->loop);
	free(l->pairs);
	free(l->slot);
}

int turn_load(const struct turn_load_options *o, struct turn_load_result *ret)
{
	struct load l = { .o = o, .r = ret };
	int r;

	*ret = (struct turn_load_result){ 0 };
	r = load_init(&l);
	if (r == 0) {
		set_up(&l);
		if (o->mode == LOAD_RELAY && !l.failed)
			bind_all(&l);
		if (o->mode != LOAD_ALLOCATE && !l.failed)
			measure(&l);
		bool failed = l.failed;
		l.failed = false;
		release_all(&l);
		r = failed ? EXIT_FAILED : 0;
	}
	load_deinit(&l);
	return r;
}
