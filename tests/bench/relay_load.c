/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load of tests/bench/relay-vs-haproxy.sh: sources and targets of a TCP relay in one thread, so that all
 * that is not the relay fits one CPU. Built by the script, which pins both. Prints one JSON object.
 *
 *   relay_load TARGET_PORT RELAY_PORT MODE CONNECTIONS SECONDS PID [HOST]
 *
 * It listens on TARGET_PORT of HOST and connects to RELAY_PORT there. MODE: up, down (bytes one way as fast as they
 * go), tls-up, tls-down (the same, the source speaking TLS), connect (64 bytes each way, then the next
 * connection), idle (opens them all, then looks at the relay's memory). PID is the relay's: its CPU time is
 * read before and after.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/load.h"

enum { BUFFER = 256 << 10, MESSAGE = 64, MANY = 256, SWALLOW = 4 << 20, WARM_MS = 300 };

enum kind { LISTENER, SOURCE, TARGET };
struct end {
	enum kind kind;
	int fd;
	SSL *ssl;
	bool ready, dead; /* ready: handshake done, or its message said */
	size_t got;
	struct end *next_dead;
};

static struct {
	int ep, pid;
	struct sockaddr_in relay, target;
	bool up, down, tls, connect, idle, stop;
	unsigned connections;
	uint64_t bytes, done, opened, errors;
	SSL_CTX *ctx;
	struct end *dead;
} g;

static char buffer[BUFFER];

/* ---- the relay's figures ---- */

static long resident_kib(int pid)
{
	char path[64];
	long pages = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/statm", pid);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%*s %ld", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- ends ---- */

static void end_close(struct end *e)
{
	if (e->dead)
		return;
	e->dead = true;
	if (e->ssl)
		SSL_free(e->ssl);
	close(e->fd);
	e->next_dead = g.dead;
	g.dead = e;
}

static struct end *end_new(enum kind kind, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLET };
	struct end *e = calloc(1, sizeof *e);
	int one = 1;

	if (!e)
		die("memory");
	e->kind = kind;
	e->fd = fd;
	ev.data.ptr = e;
	if (kind == LISTENER)
		ev.events = EPOLLIN;
	else
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (epoll_ctl(g.ep, EPOLL_CTL_ADD, fd, &ev))
		die("epoll");
	return e;
}

static void source_new(void)
{
	const struct linger at_once = { .l_onoff = 1 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct end *e;

	if (fd < 0)
		die("socket");
	if (g.connect) /* no TIME_WAIT at this end, or ports run out */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	if (connect(fd, (struct sockaddr *)&g.relay, sizeof g.relay) && errno != EINPROGRESS)
		die("connect");
	e = end_new(SOURCE, fd);
	if (g.tls) {
		e->ssl = SSL_new(g.ctx);
		SSL_set_fd(e->ssl, fd);
		SSL_set_connect_state(e->ssl);
	}
	g.opened++;
}

static void on_accept(struct end *l)
{
	int fd;

	while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		end_new(TARGET, fd);
}

/* ---- bytes ---- */

static void blast_plain(struct end *e)
{
	while (!g.stop) {
		ssize_t r = send(e->fd, buffer, sizeof buffer, MSG_NOSIGNAL);

		if (r >= 0)
			continue;
		if (errno != EAGAIN && errno != ENOTCONN)
			g.errors++;
		return;
	}
}

/* The bytes are counted where they arrive, and thrown away without being looked at. */
static void swallow_plain(struct end *e)
{
	for (;;) {
		ssize_t r = recv(e->fd, buffer, SWALLOW, MSG_TRUNC);

		if (r > 0) {
			g.bytes += (uint64_t)r;
			continue;
		}
		if (r < 0 && errno != EAGAIN)
			g.errors++;
		return;
	}
}

static void blast_tls(struct end *e)
{
	while (!g.stop && SSL_write(e->ssl, buffer, 16384) > 0)
		;
}

static void swallow_tls(struct end *e)
{
	int r;

	while ((r = SSL_read(e->ssl, buffer, sizeof buffer)) > 0)
		g.bytes += (uint64_t)r;
}

static void on_bulk(struct end *e)
{
	bool sends = (e->kind == SOURCE) == g.up;

	if (e->ssl && !e->ready) {
		int r = SSL_do_handshake(e->ssl);

		if (r != 1) {
			int why = SSL_get_error(e->ssl, r);

			if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
				g.errors++;
			return;
		}
		e->ready = true;
	}
	if (e->ssl)
		(sends ? blast_tls : swallow_tls)(e);
	else
		(sends ? blast_plain : swallow_plain)(e);
}

static void source_over(struct end *e, bool good)
{
	g.done += good;
	g.errors += !good;
	end_close(e);
	if (!g.stop)
		source_new();
}

/* 64 bytes there, 64 back, then the source closes and begins anew. */
static void on_exchange(struct end *e, unsigned events)
{
	char m[MESSAGE] = { 0 };
	ssize_t r;

	if (e->kind == SOURCE && !e->ready && (events & EPOLLOUT)) {
		if (send(e->fd, m, sizeof m, MSG_NOSIGNAL) != MESSAGE) {
			source_over(e, false);
			return;
		}
		e->ready = true;
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	r = recv(e->fd, m, sizeof m, 0);
	if (r < 0 && errno == EAGAIN)
		return;
	if (r > 0 && (e->got += (size_t)r) < MESSAGE)
		return;
	if (e->kind == SOURCE) {
		source_over(e, r > 0);
	} else if (r > 0) {
		if (send(e->fd, m, sizeof m, MSG_NOSIGNAL) != MESSAGE)
			g.errors++;
	} else {
		end_close(e);
	}
}

static void step(int ms)
{
	struct epoll_event ev[MANY];
	int n = epoll_wait(g.ep, ev, MANY, ms);

	for (int i = 0; i < n; i++) {
		struct end *e = ev[i].data.ptr;

		if (e->dead)
			continue;
		if (e->kind == LISTENER)
			on_accept(e);
		else if (g.connect)
			on_exchange(e, ev[i].events);
		else if (!g.idle)
			on_bulk(e);
	}
	while (g.dead) {
		struct end *e = g.dead;

		g.dead = e->next_dead;
		free(e);
	}
}

static void run_for(double seconds)
{
	double until = now() + seconds;

	while (now() < until)
		step(10);
}

/* ---- what is measured ---- */

static void listen_for_relay(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&g.target, sizeof g.target) || listen(fd, 4096))
		die("bind");
	end_new(LISTENER, fd);
}

static void measure_idle(void)
{
	long before = resident_kib(g.pid), after;

	for (unsigned i = 0; i < g.connections; i++) {
		source_new();
		step(0);
		if (i % 64 == 0)
			run_for(0.005);
	}
	run_for(1.5);
	after = resident_kib(g.pid);
	printf("{\"mode\": \"idle\", \"connections\": %u, \"bytes_per_connection\": %.0f, \"errors\": %" PRIu64 "}\n",
	       g.connections, (double)(after - before) * 1024 / g.connections, g.errors);
}

static void measure_load(const char *mode, double seconds)
{
	double t0, t1, c0, c1, own0, own1;

	for (unsigned i = 0; i < g.connections; i++)
		source_new();
	run_for(WARM_MS / 1000.0);
	g.bytes = g.done = 0;
	t0 = now();
	c0 = cpu_of(g.pid);
	own0 = cpu_of(getpid());
	run_for(seconds);
	c1 = cpu_of(g.pid);
	own1 = cpu_of(getpid());
	t1 = now();
	printf("{\"mode\": \"%s\", \"seconds\": %.3f, \"bytes\": %" PRIu64 ", \"done\": %" PRIu64 ", \"errors\": %" PRIu64
	       ", \"relay_cpu_s\": %.4f, \"generator_cpu_s\": %.4f}\n",
	       mode, t1 - t0, g.bytes, g.done, g.errors, c1 - c0, own1 - own0);
}

static void make_tls(void)
{
	g.ctx = SSL_CTX_new(TLS_client_method());
	if (!g.ctx)
		die("TLS");
	SSL_CTX_set_min_proto_version(g.ctx, TLS1_3_VERSION);
	SSL_CTX_set_mode(g.ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(g.ctx, 1);
	SSL_CTX_set_default_read_buffer_len(g.ctx, 128 << 10);
}

static int parse(int argc, char **argv)
{
	const char *host = argc > 7 ? argv[7] : "127.0.0.1", *mode;

	if (argc < 7)
		return -1;
	mode = argv[3];
	g.tls = strncmp(mode, "tls-", 4) == 0;
	g.up = strcmp(mode + (g.tls ? 4 : 0), "up") == 0;
	g.down = strcmp(mode + (g.tls ? 4 : 0), "down") == 0;
	g.connect = strcmp(mode, "connect") == 0;
	g.idle = strcmp(mode, "idle") == 0;
	g.connections = (unsigned)atoi(argv[4]);
	g.pid = atoi(argv[6]);
	g.target = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])) };
	g.relay = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2])) };
	if (inet_pton(AF_INET, host, &g.target.sin_addr) != 1 || !(g.up || g.down || g.connect || g.idle))
		return -1;
	g.relay.sin_addr = g.target.sin_addr;
	return 0;
}

int main(int argc, char **argv)
{
	if (parse(argc, argv) < 0) {
		fprintf(stderr, "usage: relay_load TARGET_PORT RELAY_PORT up|down|tls-up|tls-down|connect|idle CONNECTIONS SECONDS PID\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	g.ep = epoll_create1(0);
	if (g.tls)
		make_tls();
	listen_for_relay();
	if (g.idle)
		measure_idle();
	else
		measure_load(argv[3], atof(argv[5]));
	return 0;
}
