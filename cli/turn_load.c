/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stages of a load: greet the server, make the allocations, bind a channel in each, send and count
 * (cli/turn_traffic.c), release. Each stage runs the loop until it is done or its time is over; the
 * first failure ends them all with one sentence.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "cli/command.h"
#include "cli/turn_load_priv.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "stun/msg.h"

enum {
	HELLO_LIMIT_MS = 3000,
	SETUP_LIMIT_MS = 120000,
	RELEASE_LIMIT_MS = 30000,
	FAILED_LIMIT_MS = 1000, /* the same after a failure: the server may be gone */
	DRAIN_MS = 150, /* for what is under way when the run ends; as often again as DRAINS while some is missing */
	DRAINS = 20,
	SETTLE_MS = 2500, /* for a server to give memory back after the last release */
	BATCH_MS = 5,	  /* pause between batches of requests */
	REQUESTS_PER_FLUSH = 8, /* a whole pass's at once, and server and generator would wait for each other in turn */
	SPARE_FDS = 32,
	MISMATCH = 437,
	MAX_MOVES = 5,
	SOCKET_BUFFER = 4 << 20, /* a generator that was held up by others must not lose what the server sent */
};

/* ---- failures and stages ---- */

static void fail(struct load *l, const char *why)
{
	if (l->failed || l->leaving)
		return;
	l->failed = true;
	snprintf(l->r->error, sizeof l->r->error, "%s", why);
	loop_stop(l->loop);
}

static void fail_for(struct load *l, int error)
{
	fail(l, error == -EMFILE || error == -ENFILE ? "too few file descriptors; see: ulimit -n"
		: error == -EADDRINUSE || error == -EAGAIN
			? "no local port is left for one more socket; see: sysctl net.ipv4.ip_local_port_range"
			: strerror(-error));
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

/* ---- is there a server? ---- */

static void on_hello_send(struct stun_tx *t, const void *p, size_t n, void *arg)
{
	struct load *l = arg;

	(void)t;
	(void)turn_link_send(l->hello, p, n);
}

static void on_hello_done(struct stun_tx *t, const struct stun_msg *m, void *arg)
{
	struct load *l = arg;

	(void)t;
	if (!m)
		return;
	l->greeted = true; /* by an error too: some servers want a user even for Binding */
	loop_stop(l->loop);
}

static void on_hello_open(struct turn_link *tl, void *arg)
{
	static const struct stun_tx_ops ops = { on_hello_send, on_hello_done };
	struct load *l = arg;
	uint8_t buf[STUN_HEADER_LEN], tid[STUN_TID_LEN];
	struct stun_writer sw;
	const struct stun_tx_options o = { .timers = loop_timers(l->loop),
					   .reliable = turn_link_is_stream(tl),
					   .ops = &ops,
					   .arg = l };
	int r = bytes_random(tid, sizeof tid);

	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, tid);
	ssize_t n = stun_end(&sw);
	if (r == 0)
		r = n < 0 ? (int)n : stun_tx_new(&o, loop_now(l->loop), buf, (size_t)n, &l->hello_tx);
	if (r < 0)
		fail_for(l, r);
}

static void on_hello_message(struct turn_link *tl, uint8_t *p, size_t n, void *arg)
{
	struct load *l = arg;
	struct stun_msg m;

	(void)tl;
	if (l->hello_tx && stun_parse(p, n, &m) == STUN_OK)
		(void)stun_tx_input(l->hello_tx, &m);
}

/* "127.0.0.1:3478 over udp: WHY: DETAIL". */
static void fail_at_server(struct load *l, const char *why, const char *detail)
{
	char at[ADDR_STRLEN], text[sizeof l->r->error];
	struct sb b = sb_init(text, sizeof text);

	sb_fmt(&b, "%s over %s: %s", addr_print(&l->o->server, at), turn_proto_name(l->o->proto), why);
	if (detail && *detail && strcmp(detail, why) != 0)
		sb_fmt(&b, ": %s", detail);
	fail(l, text);
}

static void on_hello_close(struct turn_link *tl, int err, const char *why, void *arg)
{
	(void)tl;
	fail_at_server(arg, strerror(err), why);
}

static void greet(struct load *l)
{
	static const struct turn_link_ops ops = { on_hello_open, on_hello_message, on_hello_close };
	const struct turn_link_options o = { .proto = l->o->proto,
					     .server = l->o->server,
					     .server_name = l->o->server_name,
					     .ops = &ops,
					     .arg = l };
	char err[TLS_ERRLEN] = "";
	int r = turn_link_new(l->loop, &o, err, &l->hello);

	if (r < 0)
		fail_at_server(l, err[0] ? err : strerror(-r), NULL);
	run_for(l, HELLO_LIMIT_MS);
	if (!l->failed && !l->greeted)
		fail_at_server(l, "no answer to a STUN Binding request within 3 s", NULL);
	l->hello_tx = stun_tx_free(l->hello_tx);
	l->hello = turn_link_free(l->hello);
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
	const struct dgram_route to_server = { p->client_io.fd, &p->load->o->server, NULL,
					       DGRAM_MARK_NONE };

	if (p->link) {
		(void)turn_link_send(p->link, data, n);
		return;
	}
	dgram_send_copy(p->load->dgram, &to_server, data, n);
	if (++p->load->unsent % REQUESTS_PER_FLUSH == 0)
		dgram_flush(p->load->dgram);
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
	if (p->bound)
		return; /* a renewal */
	p->bound = true;
	if (++p->load->bound == p->load->o->allocations)
		loop_stop(p->load->loop);
}

static void on_released(struct turn_client *c, void *arg)
{
	struct pair *p = arg;

	(void)c;
	p->allocated = false;
	p->load->released++;
	loop_stop(p->load->loop);
}

static void on_failed(struct turn_client *c, const struct turn_failure *f, void *arg)
{
	struct pair *p = arg;
	char text[256];

	if (p->load->leaving)
		on_released(c, p); /* it is gone in any case */
	else if (f->method == STUN_ALLOCATE && f->code == MISMATCH && p->moves++ < MAX_MOVES)
		loop_timer_set(p->load->loop, &p->again, 0);
	else
		fail(p->load, turn_failure_text(f, text, sizeof text));
}

static const struct turn_client_ops client_ops = {
	.send = client_send,
	.on_allocated = on_allocated,
	.on_bound = on_bound,
	.on_failed = on_failed,
	.on_released = on_released,
};

static void begin_allocate(struct pair *p)
{
	const struct turn_load_options *o = p->load->o;
	/* IPv6 is asked for, IPv4 is what a server gives unasked: old ones know no other. */
	struct turn_client_options co = { .timers = loop_timers(p->load->loop),
					  .now = client_now,
					  .user = o->user,
					  .password = o->password,
					  .stream = p->link && turn_link_is_stream(p->link),
					  .family = addr_family(&o->peer_ip) == AF_INET6 ? AF_INET6
											 : AF_UNSPEC,
					  .no_sha256 = o->no_sha256,
					  .ops = &client_ops,
					  .arg = p };

	if (turn_client_new(&co, &p->client) < 0 || turn_client_allocate(p->client) < 0)
		fail(p->load,
		     "cannot make a client: a user name or password that cannot be prepared, or no memory");
}

static void on_link_open(struct turn_link *tl, void *arg)
{
	(void)tl;
	begin_allocate(arg);
}

static void on_link_message(struct turn_link *tl, uint8_t *data, size_t n, void *arg)
{
	(void)tl;
	traffic_client_message(arg, data, n);
}

static void on_link_close(struct turn_link *tl, int err, const char *why, void *arg)
{
	struct pair *p = arg;

	(void)tl;
	fail_at_server(p->load,
		       p->load->measuring ? "a connection ended during the run" : "a connection ended",
		       why && *why ? why : strerror(err));
}

static int open_socket(struct pair *p, const struct addr *like, struct io *io,
		       void (*ready)(struct io *, int))
{
	const struct dgram_socket_options opt = { .v6only = true,
						  .gro = !p->load->o->no_gso,
						  .rcvbuf = SOCKET_BUFFER,
						  .sndbuf = SOCKET_BUFFER };
	struct addr at = *like;
	int fd, r;

	addr_set_port(&at, 0);
	r = dgram_socket(&at, &opt, &fd);
	if (r == 0 && (r = io_start(io, p->load->loop, fd, IO_READ, ready)) < 0)
		close(fd);
	if (r < 0)
		io->fd = -1;
	return r;
}

static bool has_socket(const struct pair *p)
{
	return p->client_io.loop && p->client_io.fd >= 0;
}

static int open_client(struct pair *p, char err[static TLS_ERRLEN])
{
	static const struct turn_link_ops link_ops = { on_link_open, on_link_message, on_link_close };
	const struct turn_load_options *o = p->load->o;
	struct addr any = addr_family(&o->server) == AF_INET ? addr_v4(0, 0)
							     : addr_v6((uint8_t[16]){ 0 }, 0);
	const struct turn_link_options lo = { .proto = o->proto,
					      .server = o->server,
					      .server_name = o->server_name,
					      .ops = &link_ops,
					      .arg = p };
	int r;

	if (o->proto != TURN_UDP)
		return turn_link_new(p->load->loop, &lo, err, &p->link);
	r = has_socket(p) ? 0 : open_socket(p, &any, &p->client_io, traffic_client_ready);
	if (r == 0 && o->mode != LOAD_BINDING)
		begin_allocate(p);
	return r;
}

static void close_socket(struct pair *p, struct io *io)
{
	int fd = io->fd;

	if (!io->loop || fd < 0)
		return;
	io_stop(io);
	dgram_forget(p->load->dgram, fd);
	close(fd);
	io->fd = -1;
}

static void close_client(struct pair *p)
{
	p->client = turn_client_free(p->client);
	p->link = turn_link_free(p->link);
	close_socket(p, &p->client_io);
}

/* RFC 8656 7.4: the answer to a 437 is another local port. Servers remember a five-tuple for a while after
 * its allocation ended, and the kernel may give one of those ports again. */
static void on_again(struct timer *t, uint64_t now)
{
	struct pair *p = container_of(t, struct pair, again);
	char err[TLS_ERRLEN] = "";

	(void)now;
	close_client(p);
	int r = open_client(p, err);
	if (r < 0)
		fail_for(p->load, r);
}

static void start_pair(struct pair *p)
{
	const struct turn_load_options *o = p->load->o;
	socklen_t len = sizeof p->peer;
	char err[TLS_ERRLEN] = "";
	int r = 0;

	p->again.fire = on_again;
	if (o->mode == LOAD_RELAY) {
		r = open_socket(p, &o->peer_ip, &p->peer_io, traffic_peer_ready);
		if (r == 0 && getsockname(p->peer_io.fd, &p->peer.sa, &len) < 0)
			r = -errno;
	}
	if (r == 0)
		r = open_client(p, err);
	if (r < 0 && err[0])
		fail(p->load, err);
	else if (r < 0)
		fail_for(p->load, r);
}

static void start_more(struct load *l)
{
	while (!l->failed && l->started < l->o->allocations && l->started - l->allocated < l->o->in_flight)
		start_pair(&l->pairs[l->started++]);
}

/* What is measured shall be the server's work, and of the generator's as little as can be. */
static void open_sockets(struct load *l)
{
	bool v4 = addr_family(&l->o->server) == AF_INET;
	struct addr any = v4 ? addr_v4(0, 0) : addr_v6((uint8_t[16]){ 0 }, 0);

	for (unsigned i = 0; i < l->o->allocations && !l->failed; i++) {
		struct pair *p = &l->pairs[i];
		int r = open_socket(p, &any, &p->client_io, traffic_client_ready);
		if (r < 0)
			fail_for(l, r);
	}
}

/* Binding has no allocation whose end would start the next client. */
static void start_all(struct load *l)
{
	while (!l->failed && l->started < l->o->allocations)
		start_pair(&l->pairs[l->started++]);
}

/* ---- the stages ---- */

static void subtract(const struct usage *a, const struct usage *b, struct usage *ret_d)
{
	*ret_d = (struct usage){ b->server_s - a->server_s, b->generator_s - a->generator_s,
				 b->host_busy_s - a->host_busy_s, b->wall_s - a->wall_s,
				 b->server_rss };
}

static void set_up(struct load *l)
{
	struct usage before, after;

	if (l->o->mode == LOAD_ALLOCATE && l->o->proto == TURN_UDP)
		open_sockets(l);
	usage_now(l->o->server_pid, &before);
	if (l->o->mode == LOAD_BINDING) {
		start_all(l);
		return;
	}
	start_more(l);
	if (l->allocated < l->o->allocations)
		run_for(l, SETUP_LIMIT_MS);
	usage_now(l->o->server_pid, &after);
	subtract(&before, &after, &l->r->setup);
	l->r->setup_s = l->r->setup.wall_s;
	l->r->rss_before = before.server_rss;
	l->r->rss_after = after.server_rss;
	l->r->allocations = l->allocated;
	if (!l->failed && l->allocated < l->o->allocations)
		fail(l, "the server did not answer all Allocate requests within 2 minutes");
}

static void bind_all(struct load *l)
{
	for (unsigned i = 0; i < l->o->allocations && !l->failed; i++) {
		if (turn_client_bind(l->pairs[i].client, &l->pairs[i].peer) < 0)
			fail(l, "no memory");
		if (i % l->o->in_flight == l->o->in_flight - 1)
			run_for(l, BATCH_MS);
	}
	if (l->bound < l->o->allocations)
		run_for(l, SETUP_LIMIT_MS);
	if (!l->failed && l->bound < l->o->allocations)
		fail(l, "the server did not answer all ChannelBind requests within 2 minutes");
}

static void measure(struct load *l)
{
	struct usage before, after;
	int r;

	l->began_ns = clock_steady_ns();
	if ((r = traffic_start(l)) < 0) {
		fail_for(l, r);
		return;
	}
	run_for(l, l->o->warmup_ms);
	usage_now(l->o->server_pid, &before);
	l->began_ns = clock_steady_ns();
	l->due = 0;
	l->measuring = true;
	run_for(l, l->o->run_ms);
	traffic_stop(l);
	usage_now(l->o->server_pid, &after);
	subtract(&before, &after, &l->r->run);
	l->r->run_s = l->r->run.wall_s;
	run_for(l, DRAIN_MS);
	for (unsigned i = 0; i < DRAINS && l->r->received < l->r->sent && !l->failed; i++)
		run_for(l, DRAIN_MS);
}

/* All allocations end at the server before the sockets close, a few requests at a time: a server left
 * with them would carry them into the next measurement. */
static void release_all(struct load *l)
{
	uint64_t limit_ms = l->failed ? FAILED_LIMIT_MS : RELEASE_LIMIT_MS,
		 end = clock_steady_ns() + limit_ms * 1000000;
	unsigned asked = 0;

	l->leaving = true;
	l->failed = false;
	for (unsigned i = 0; i < l->started; i++) {
		if (!l->pairs[i].allocated)
			continue;
		turn_client_release(l->pairs[i].client);
		asked++;
		while (asked - l->released >= l->o->in_flight && clock_steady_ns() < end)
			run_for(l, limit_ms);
	}
	while (l->released < asked && clock_steady_ns() < end)
		run_for(l, limit_ms);
}

static void measure_released(struct load *l)
{
	struct usage after;

	run_for(l, SETTLE_MS);
	usage_now(l->o->server_pid, &after);
	l->r->rss_released = after.server_rss;
}

/* ---- life ---- */

static void close_pair(struct pair *p)
{
	timer_stop(&p->again);
	close_client(p);
	close_socket(p, &p->peer_io);
}

/* The descriptors that this load needs, before a part of them is open. */
static int check_descriptors(const struct turn_load_options *o, struct turn_load_result *ret)
{
	rlim_t need = (rlim_t)o->allocations * (o->mode == LOAD_RELAY ? 2 : 1) + SPARE_FDS;
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0 || lim.rlim_cur >= need)
		return 0;
	lim.rlim_cur = MIN(need, lim.rlim_max);
	if (setrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur >= need)
		return 0;
	snprintf(ret->error, sizeof ret->error,
		 "%u allocations need %llu file descriptors here, and this process may have %llu; see: ulimit -Hn",
		 o->allocations, (unsigned long long)need, (unsigned long long)lim.rlim_max);
	return EXIT_FAILED;
}

static int load_init(struct load *l)
{
	int r = loop_new(&l->loop);

	if (r < 0 || (r = dgram_io_new(l->loop, &(struct dgram_options){ .no_gso = l->o->no_gso },
				       &l->dgram)) < 0)
		return r;
	l->pairs = calloc(l->o->allocations, sizeof *l->pairs);
	l->slot = malloc(LOAD_MAX_BURST * sizeof *l->slot);
	if (!l->pairs || !l->slot)
		return -ENOMEM;
	for (unsigned i = 0; i < l->o->allocations; i++)
		l->pairs[i].load = l;
	l->stage.fire = on_stage_end;
	traffic_init(l);
	return 0;
}

static void load_deinit(struct load *l)
{
	traffic_stop(l);
	for (unsigned i = 0; l->pairs && i < l->o->allocations; i++)
		close_pair(&l->pairs[i]);
	dgram_io_free(l->dgram);
	loop_free(l->loop);
	free(l->pairs);
	free(l->slot);
}

int turn_load(const struct turn_load_options *o, struct turn_load_result *ret)
{
	struct load l = { .o = o, .r = ret, .pace = { .fd = -1 } };
	int r;

	*ret = (struct turn_load_result){ 0 };
	if ((r = check_descriptors(o, ret)))
		return r;
	r = load_init(&l);
	if (r == 0) {
		greet(&l);
		if (!l.failed)
			set_up(&l);
		if (o->mode == LOAD_RELAY && !l.failed)
			bind_all(&l);
		if (o->mode != LOAD_ALLOCATE && !l.failed)
			measure(&l);
		r = l.failed ? EXIT_FAILED : 0;
		release_all(&l);
		if (r == 0 && o->mode == LOAD_ALLOCATE && o->server_pid)
			measure_released(&l);
	}
	load_deinit(&l);
	return r;
}
