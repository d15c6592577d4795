/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Visitors and targets for tests/bench/tunnel.sh: two roles of one program, for they may be in different network namespaces.
 * Built by the script. It looks at no byte it receives, so that it is never the slower one.
 *
 *   tunnel_load serve HOST PORT
 *   tunnel_load down|up|open|burst|idle HOST PORT CONNECTIONS SECONDS WARM_SECONDS PID,PID,…
 *
 * A target does what the first byte says: 'd' sends, 'u' swallows and tells 20 times a second how much, 'e' sends back.
 * down, up: bytes as fast as they go, counted where they arrive. open: one connection after the other, from connect() to the
 * first byte back; burst: CONNECTIONS at once, like a browser, again and again. idle: opens them all, has one byte sent back on
 * each, says "open", and closes them when its input ends. The PIDs' CPU time is read before and after. Prints one JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/load.h"

enum { BUFFER = 256 << 10, SWALLOW = 4 << 20, MANY = 256, TURNS = 16, SAMPLES = 200000 };
#define TELL_S 0.05
#define PAUSE_S 0.02 /* between two bursts, and two connections one after the other */
#define LATE_S 20.0

enum kind { LISTENER, TARGET, VISITOR };
struct end {
	enum kind kind;
	int fd;
	char mode; /* of a target, 0: not known yet */
	bool sent, dead;
	uint64_t bytes;	   /* of 'u': swallowed here, or told by the target */
	size_t partial;	   /* of a number that is being received */
	uint8_t number[8]; /* big endian */
	double began, told;
	struct end *next_dead;
};

static struct {
	int ep;
	char mode; /* 'd', 'u', 'e' */
	struct sockaddr_in at;
	uint64_t bytes, opened, answered, errors;
	double *samples;
	size_t samples_n;
	bool sampling;
	struct end *dead;
	const char *pids;
} g;
static char buffer[BUFFER];

/* ---- CPU of the processes that are measured ---- */

static double cpu_of_all(void)
{
	double sum = 0;

	for (const char *p = g.pids; p && *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		sum += cpu_of(atoi(p));
	return sum;
}

/* ---- ends ---- */

static void end_close(struct end *e)
{
	if (e->dead)
		return;
	e->dead = true;
	close(e->fd);
	e->next_dead = g.dead;
	g.dead = e;
}

static struct end *end_new(enum kind kind, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
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

static struct end *visitor_new(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	double began = now();
	struct end *e;

	if (fd < 0)
		die("socket");
	if (connect(fd, (struct sockaddr *)&g.at, sizeof g.at) && errno != EINPROGRESS)
		die("connect");
	e = end_new(VISITOR, fd);
	e->began = began;
	g.opened++;
	return e;
}

static void on_accept(struct end *l)
{
	int fd;

	while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		end_new(TARGET, fd);
}

static void again(struct end *e)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = e };

	epoll_ctl(g.ep, EPOLL_CTL_MOD, e->fd, &ev);
}

/* Turns are limited, so that one connection does not hold up the others; edges are lost by it and asked for again. */
static void blast(struct end *e)
{
	for (int i = 0; i < TURNS; i++)
		if (send(e->fd, buffer, sizeof buffer, MSG_NOSIGNAL) < 0) {
			if (errno != EAGAIN)
				end_close(e);
			return;
		}
	again(e);
}

static uint64_t swallow(struct end *e)
{
	uint64_t sum = 0;

	for (int i = 0; i < TURNS; i++) {
		ssize_t r = recv(e->fd, buffer, SWALLOW, MSG_TRUNC);

		if (r > 0) {
			sum += (uint64_t)r;
			continue;
		}
		if (r == 0 || errno != EAGAIN)
			end_close(e);
		return sum;
	}
	again(e);
	return sum;
}

/* ---- targets ---- */

static void tell(struct end *e)
{
	uint64_t n = e->bytes;

	for (int i = 7; i >= 0; i--, n >>= 8)
		e->number[i] = (uint8_t)n;
	(void)!send(e->fd, e->number, sizeof e->number, MSG_NOSIGNAL); /* small and seldom: never partial */
	e->told = now();
}

static void on_target(struct end *e)
{
	char c;

	if (!e->mode) {
		ssize_t r = recv(e->fd, &c, 1, 0);

		if (r == 0 || (r < 0 && errno != EAGAIN))
			end_close(e);
		if (r <= 0)
			return;
		e->mode = c;
		if (c == 'e')
			(void)!send(e->fd, &c, 1, MSG_NOSIGNAL);
	}
	if (e->mode == 'd') {
		blast(e);
	} else if (e->mode == 'u') {
		e->bytes += swallow(e);
		if (!e->dead && now() > e->told + TELL_S)
			tell(e);
	} else {
		ssize_t r = recv(e->fd, buffer, sizeof buffer, 0);

		if (r > 0)
			(void)!send(e->fd, buffer, (size_t)r, MSG_NOSIGNAL);
		else if (r == 0 || errno != EAGAIN)
			end_close(e);
	}
}

/* ---- visitors ---- */

static void hear(struct end *e)
{
	uint8_t c;

	while (recv(e->fd, &c, 1, 0) == 1) {
		uint64_t n = 0;

		e->number[e->partial++] = c;
		if (e->partial < sizeof e->number)
			continue;
		for (int i = 0; i < 8; i++)
			n = n << 8 | e->number[i];
		g.bytes += n - e->bytes;
		e->bytes = n;
		e->partial = 0;
	}
}

static void on_answer(struct end *e)
{
	char c;
	ssize_t r = recv(e->fd, &c, 1, 0);

	if (r < 0 && errno == EAGAIN)
		return;
	if (r == 1 && c == 'e') {
		g.answered++;
		if (g.sampling && g.samples_n < SAMPLES)
			g.samples[g.samples_n++] = now() - e->began;
		return;
	}
	g.errors++;
	end_close(e);
}

static void on_visitor(struct end *e, unsigned events)
{
	if (!e->sent && (events & EPOLLOUT)) {
		if (send(e->fd, &g.mode, 1, MSG_NOSIGNAL) != 1) {
			g.errors++;
			end_close(e);
			return;
		}
		e->sent = true;
	}
	if (g.mode == 'u' && e->sent)
		blast(e);
	if (e->dead || !(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		return;
	if (g.mode == 'd') {
		g.bytes += swallow(e);
		g.errors += e->dead;
	} else if (g.mode == 'u') {
		hear(e);
	} else {
		on_answer(e);
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
		else if (e->kind == TARGET)
			on_target(e);
		else
			on_visitor(e, ev[i].events);
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

	do
		step(5);
	while (now() < until);
}

/* ---- what is measured ---- */

static void measure_bytes(unsigned connections, double seconds, double warm)
{
	double t0, c0;
	struct rusage u;

	for (unsigned i = 0; i < connections; i++)
		visitor_new();
	run_for(warm);
	g.bytes = 0;
	t0 = now();
	c0 = cpu_of_all();
	run_for(seconds);
	getrusage(RUSAGE_SELF, &u);
	printf("{\"seconds\": %.4f, \"bytes\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"cpu_s\": %.5f}\n",
	       now() - t0, g.bytes, g.errors, cpu_of_all() - c0);
}

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* So many at once, answered one and all, then closed; false: an answer did not come. */
static bool round_of(unsigned connections)
{
	struct end *ends[MANY];
	double late = now() + LATE_S;
	uint64_t want = g.answered + connections;

	for (unsigned i = 0; i < connections; i++)
		ends[i] = visitor_new();
	while (g.answered < want && !g.errors && now() < late)
		step(5);
	if (g.answered < want)
		return false;
	for (unsigned i = 0; i < connections; i++)
		end_close(ends[i]);
	run_for(PAUSE_S);
	return true;
}

static void measure_opening(unsigned connections, double seconds, double warm)
{
	double until, c0;
	size_t n, n99;
	bool good = connections <= MANY;

	g.samples = calloc(SAMPLES, sizeof *g.samples);
	if (!g.samples)
		die("memory");
	for (until = now() + warm; good && now() < until;)
		good = round_of(connections);
	g.sampling = true;
	c0 = cpu_of_all();
	for (until = now() + seconds; good && now() < until;)
		good = round_of(connections);
	g.errors += !good;
	n = g.samples_n;
	n99 = n * 99 / 100;
	qsort(g.samples, n, sizeof *g.samples, by_size);
	printf("{\"samples\": %zu, \"p50_s\": %.6f, \"p99_s\": %.6f, \"max_s\": %.6f, \"errors\": %" PRIu64
	       ", \"cpu_s\": %.5f}\n",
	       n, n ? g.samples[n / 2] : 0, n ? g.samples[n99] : 0, n ? g.samples[n - 1] : 0,
	       g.errors, cpu_of_all() - c0);
	free(g.samples);
}

static void measure_idle(unsigned connections)
{
	double late = now() + LATE_S;
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };

	for (unsigned i = 0; i < connections; i++) {
		visitor_new();
		while (g.answered + 16 < g.opened && !g.errors && now() < late)
			step(5);
	}
	while (g.answered < connections && !g.errors && now() < late)
		step(5);
	printf("{\"open\": %" PRIu64 ", \"errors\": %" PRIu64 "}\n", g.answered, g.errors);
	fflush(stdout);
	while (poll(&in, 1, 0) == 0)
		step(20);
}

static void serve(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&g.at, sizeof g.at) || listen(fd, 4096))
		die("bind");
	end_new(LISTENER, fd);
	puts("ready");
	fflush(stdout);
	for (;;)
		step(-1);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: tunnel_load serve HOST PORT\n"
		"       tunnel_load down|up|open|burst|idle HOST PORT CONNECTIONS SECONDS WARM_SECONDS PID,PID,…\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	unsigned connections = argc > 4 ? (unsigned)atoi(argv[4]) : 0;

	if (argc < 4 || inet_pton(AF_INET, argv[2], &g.at.sin_addr) != 1)
		return usage();
	g.at.sin_family = AF_INET;
	g.at.sin_port = htons((uint16_t)atoi(argv[3]));
	g.ep = epoll_create1(0);
	signal(SIGPIPE, SIG_IGN);
	if (strcmp(mode, "serve") == 0) {
		serve();
		return 0;
	}
	if (argc != 8)
		return usage();
	g.pids = argv[7];
	g.mode = strcmp(mode, "down") == 0 ? 'd' : strcmp(mode, "up") == 0 ? 'u' : 'e';
	if (g.mode != 'e')
		measure_bytes(connections, atof(argv[5]), atof(argv[6]));
	else if (strcmp(mode, "idle") == 0)
		measure_idle(connections);
	else
		measure_opening(connections, atof(argv[5]), atof(argv[6]));
	return 0;
}
