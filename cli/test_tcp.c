/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile test tcp, stile test listen: where a TCP connection stops (name, route, refused, filtered, TLS, slow), how long
 * it took, and against `stile test listen` (or whatever echoes) round-trip time and throughput with every byte
 * compared. Exit 1 if any check failed, so scripts may rely on it. Blocking sockets with deadlines; no service is asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include "cli/relay.h"
#include "cli/test_probe.h"
#include "common/bytes.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/text.h"
#include "common/tls.h"

enum { CONNECT_MS = 5000, SLOW_MS = 1000, BANNER_MS = 300, ECHOES = 10, BULK = 16 << 20, PIECE = 64 << 10, PATIENCE_MS = 10000,
       LISTEN_MOST = 64 };

struct run {
	struct cli *cli;
	const char *host;
	uint16_t port;
	uint64_t timeout_ms;
	struct cli_report report;
};

/* ---- connecting ---- */

static const char *why_not(int err)
{
	switch (err) {
	case ECONNREFUSED:
		return "refused: the host answers, but nothing listens on this port (or a firewall rejects)";
	case ETIMEDOUT:
		return "filtered: no answer at all; a firewall drops it, or the host is away";
	case ENETUNREACH:
	case EHOSTUNREACH:
		return "no route: this machine or a router on the way knows no way there";
	case EACCES:
	case EPERM:
		return "forbidden by a rule of this machine's firewall";
	default:
		return strerror(err);
	}
}

int probe_connect(const struct addr *to, uint64_t timeout_ms, uint64_t *ret_us)
{
	_cleanup_(closep) int fd = socket(addr_family(to), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	uint64_t began = clock_steady_us();
	socklen_t n = sizeof(int);
	int err = 0, one = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, &to->sa, addr_len(to)) < 0 && errno != EINPROGRESS)
		return -errno;
	if (poll(&p, 1, (int)timeout_ms) <= 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
		err = errno;
	*ret_us = clock_steady_us() - began;
	return err ? -err : steal_fd(&fd);
}

static int resolve(struct run *r, struct addrinfo **ret_all)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	uint64_t began = clock_steady_us();
	char port[8];
	unsigned n = 0;
	int e;

	snprintf(port, sizeof port, "%u", r->port);
	e = getaddrinfo(r->host, port, &hints, ret_all);
	if (e) {
		cli_report(&r->report, false, "name", "%s: %s", r->host, gai_strerror(e));
		return -ENOENT;
	}
	for (struct addrinfo *i = *ret_all; i; i = i->ai_next)
		n++;
	cli_report(&r->report, true, "name", "%s has %u address%s (%.1f ms)", r->host, n, n == 1 ? "" : "es", (double)(clock_steady_us() - began) / 1000);
	return 0;
}

/* The first address that is reached; each that is not gets its line. */
static int reach(struct run *r, const struct addrinfo *all)
{
	char buf[ADDR_STRLEN];
	uint64_t us = 0;

	for (const struct addrinfo *i = all; i; i = i->ai_next) {
		struct addr to;
		int fd = addr_from_sockaddr(i->ai_addr, i->ai_addrlen, &to) == 0 ? probe_connect(&to, r->timeout_ms, &us) : -EAFNOSUPPORT;

		if (fd < 0) {
			cli_report(&r->report, false, "connect", "%s: %s", addr_print(&to, buf), why_not(-fd));
			continue;
		}
		cli_report(&r->report, true, "connect", "%s in %.1f ms%s", addr_print(&to, buf), (double)us / 1000,
		     us / 1000 >= SLOW_MS ? "; slow: the first packet was lost, or the way is long" : "");
		return fd;
	}
	return -1;
}

/* ---- TLS ---- */

static SSL *begin_tls(struct run *r, int fd, struct tls_ctx *ctx)
{
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	uint64_t began = clock_steady_us();
	char why[TLS_ERRLEN];
	SSL *ssl = NULL;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (tls_session_new(ctx, r->host, &ssl) < 0 || SSL_set_fd(ssl, fd) != 1) {
		cli_report(&r->report, false, "TLS", "out of memory");
		SSL_free(ssl);
		return NULL;
	}
	if (SSL_connect(ssl) != 1) {
		cli_report(&r->report, false, "TLS", "%s", errno == EAGAIN ? "the other side does not answer the handshake: it speaks no TLS?" :
							     tls_failure_text(ssl, why, sizeof why));
		SSL_free(ssl);
		return NULL;
	}
	cli_report(&r->report, true, "TLS", "%s in %.1f ms, the certificate is good for %s", SSL_get_version(ssl), (double)(clock_steady_us() - began) / 1000,
	     r->host);
	return ssl;
}

/* ---- bytes ---- */

struct pipe_end { /* plain or TLS */
	int fd;
	SSL *ssl;
};

static ssize_t put(const struct pipe_end *p, const void *b, size_t n)
{
	return p->ssl ? SSL_write(p->ssl, b, (int)n) : send(p->fd, b, n, MSG_NOSIGNAL);
}

static ssize_t get(const struct pipe_end *p, void *b, size_t n)
{
	return p->ssl ? SSL_read(p->ssl, b, (int)n) : recv(p->fd, b, n, 0);
}

static bool get_all(const struct pipe_end *p, uint8_t *b, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t got = get(p, b + at, n - at);

		if (got <= 0)
			return false;
		at += (size_t)got;
	}
	return true;
}

static void test_echo(struct run *r, const struct pipe_end *p)
{
	uint64_t least = UINT64_MAX, sum = 0;
	uint8_t out[32], in[32];

	for (int i = 0; i < ECHOES; i++) {
		uint64_t began = clock_steady_us(), us;

		(void)bytes_random(out, sizeof out);
		if (put(p, out, sizeof out) != sizeof out || !get_all(p, in, sizeof in)) {
			cli_report(&r->report, false, "echo", "nothing comes back: does the other side run stile test listen?");
			return;
		}
		if (memcmp(in, out, sizeof in) != 0) {
			cli_report(&r->report, false, "echo", "other bytes come back: that is no echo");
			return;
		}
		us = clock_steady_us() - began;
		least = MIN(least, us);
		sum += us;
	}
	cli_report(&r->report, true, "echo", "round trip %.2f ms at least, %.2f ms on average", (double)least / 1000, (double)sum / ECHOES / 1000);
}

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 31);
}

/* Both ways at once, for an echo cannot keep what nobody takes. */
static void test_throughput(struct run *r, const struct pipe_end *p)
{
	static uint8_t out[PIECE], in[PIECE];
	size_t sent = 0, got = 0;
	uint64_t began = clock_steady_us();
	double s;

	while (got < BULK) {
		struct pollfd f = { .fd = p->fd, .events = (short)(POLLIN | (sent < BULK ? POLLOUT : 0)) };
		ssize_t n;

		if (poll(&f, 1, PATIENCE_MS) <= 0)
			break;
		if (f.revents & POLLOUT && sent < BULK && sent - got < 4u << 20) {
			size_t want = MIN(sizeof out, (size_t)BULK - sent);
			for (size_t i = 0; i < want; i++)
				out[i] = byte_at(sent + i);
			n = send(p->fd, out, want, MSG_NOSIGNAL | MSG_DONTWAIT);
			sent += n > 0 ? (size_t)n : 0;
		}
		if (!(f.revents & (POLLIN | POLLHUP | POLLERR)))
			continue;
		n = recv(p->fd, in, sizeof in, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		for (ssize_t i = 0; i < n; i++)
			if (in[i] != byte_at(got + (size_t)i)) {
				cli_report(&r->report, false, "throughput", "byte %zu came back as another one", got + (size_t)i);
				return;
			}
		got += n > 0 ? (size_t)n : 0;
	}
	s = (double)(clock_steady_us() - began) / 1e6;
	if (got < BULK)
		cli_report(&r->report, false, "throughput", "only %zu of %d bytes came back", got, BULK);
	else
		cli_report(&r->report, true, "throughput", "%.0f Mbit/s each way, %d MiB compared byte by byte", (double)BULK * 8 / s / 1e6, BULK >> 20);
}

static void show_banner(struct run *r, const struct pipe_end *p)
{
	struct pollfd f = { .fd = p->fd, .events = POLLIN };
	char line[128];
	ssize_t n;

	if (poll(&f, 1, BANNER_MS) <= 0)
		return;
	n = get(p, line, sizeof line - 1);
	if (n <= 0) {
		cli_report(&r->report, false, "open", "the other side closed the connection at once");
		return;
	}
	line[n] = 0;
	line[strcspn(line, "\r\n")] = 0;
	cli_report(&r->report, true, "says", "%s", line);
}

/* ---- stile test tcp ---- */

static void use(struct run *r, int fd)
{
	struct tls_ctx *ctx = NULL;
	struct pipe_end p = { .fd = fd };
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	char why[TLS_ERRLEN];

	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (cli_has(r->cli, "tls")) {
		if (tls_ctx_new(&(struct tls_options){ .client = true, .ca_file = cli_option(r->cli, "ca"), .verify_peer = !cli_has(r->cli, "insecure") },
				why, &ctx) < 0) {
			cli_report(&r->report, false, "TLS", "%s", why);
			return;
		}
		p.ssl = begin_tls(r, fd, ctx);
	}
	if (!cli_has(r->cli, "tls") || p.ssl) {
		if (!cli_has(r->cli, "echo"))
			show_banner(r, &p);
		else
			test_echo(r, &p);
		if (cli_has(r->cli, "echo") && !p.ssl && !r->report.bad)
			test_throughput(r, &p);
	}
	SSL_free(p.ssl);
	tls_ctx_unref(ctx);
}

static int run_tcp(struct cli *cli)
{
	struct run r = { .cli = cli, .host = cli->words[0], .timeout_ms = CONNECT_MS };
	struct addrinfo *all = NULL;
	uint64_t port;
	int fd, e = cli_time(cli, "timeout", &r.timeout_ms);

	if (e)
		return e;
	if (text_u64(text_of(cli->words[1]), &port) < 0 || !port || port > 65535)
		return cli_wrong(cli, "PORT is a number from 1 to 65535, not '%s'", cli->words[1]);
	r.port = (uint16_t)port;
	r.report = cli_report_begin(cli);
	if (resolve(&r, &all) == 0) {
		fd = reach(&r, all);
		if (fd >= 0) {
			r.report.bad = 0; /* one address is enough */
			use(&r, fd);
			close(fd);
		}
		freeaddrinfo(all);
	}
	cli_report_end(&r.report, true);
	return r.report.bad ? EXIT_FAILED : 0;
}

/* ---- stile test listen ---- */

struct guest {
	int fd;
	struct addr from;
	uint64_t bytes, since_us;
	size_t n, at; /* in buf: what came and has not gone back */
	uint8_t *buf;
};

static void leave(struct guest *g, const char *why)
{
	char buf[ADDR_STRLEN], size[32];
	struct sb b = sb_init(size, sizeof size);

	sb_size(&b, g->bytes);
	printf("%s left after %.1f s and %s%s\n", addr_print(&g->from, buf), (double)(clock_steady_us() - g->since_us) / 1e6, size, why);
	fflush(stdout);
	close(g->fd);
	free(g->buf);
	*g = (struct guest){ .fd = -1 };
}

static void serve(struct guest *g)
{
	ssize_t n;

	if (g->n == 0) {
		n = recv(g->fd, g->buf, PIECE, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			leave(g, n < 0 ? ", by a reset" : "");
			return;
		}
		g->n = n > 0 ? (size_t)n : 0;
		g->at = 0;
	}
	n = g->n ? send(g->fd, g->buf + g->at, g->n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	if (n < 0 && errno != EAGAIN) {
		leave(g, ", by a reset");
		return;
	}
	if (n > 0) {
		g->at += (size_t)n;
		g->n -= (size_t)n;
		g->bytes += (size_t)n;
	}
}

static void welcome(int listener, struct guest *guests)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	char buf[ADDR_STRLEN];
	int fd = accept4(listener, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC);

	for (unsigned i = 0; fd >= 0 && i < LISTEN_MOST; i++) {
		struct guest *g = &guests[i];
		if (g->fd >= 0)
			continue;
		*g = (struct guest){ .fd = fd, .since_us = clock_steady_us(), .buf = malloc(PIECE) };
		(void)addr_from_sockaddr((struct sockaddr *)&ss, len, &g->from);
		printf("%s came\n", addr_print(&g->from, buf));
		fflush(stdout);
		if (!g->buf)
			leave(g, ": out of memory");
		return;
	}
	if (fd >= 0)
		close(fd); /* as many as there is room for */
}

static int echo_for_ever(int listener)
{
	static struct guest guests[LISTEN_MOST];
	struct pollfd p[LISTEN_MOST + 1];

	for (unsigned i = 0; i < LISTEN_MOST; i++)
		guests[i].fd = -1;
	for (;;) {
		p[LISTEN_MOST] = (struct pollfd){ .fd = listener, .events = POLLIN };
		for (unsigned i = 0; i < LISTEN_MOST; i++)
			p[i] = (struct pollfd){ .fd = guests[i].fd, .events = guests[i].n ? POLLOUT : POLLIN };
		if (poll(p, LISTEN_MOST + 1, -1) < 0 && errno != EINTR)
			return -errno;
		for (unsigned i = 0; i < LISTEN_MOST; i++)
			if (guests[i].fd >= 0 && p[i].revents)
				serve(&guests[i]);
		if (p[LISTEN_MOST].revents)
			welcome(listener, guests);
	}
}

static int run_listen(struct cli *cli)
{
	const char *bind_to = cli_option(cli, "bind");
	struct addr at = addr_v4(0, 0);
	char buf[ADDR_STRLEN], holder[128] = "";
	uint64_t port;
	int fd, one = 1;

	if (text_u64(text_of(cli->words[0]), &port) < 0 || port > 65535)
		return cli_wrong(cli, "PORT is a number up to 65535, not '%s'", cli->words[0]);
	if (bind_to && (addr_parse(text_of(bind_to), 0, &at) < 0 || addr_port(&at)))
		return cli_wrong(cli, "--bind is an address of this machine, not '%s'", bind_to);
	addr_set_port(&at, (uint16_t)port);
	fd = socket(addr_family(&at), SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, &at.sa, addr_len(&at)) < 0 || listen(fd, LISTEN_MOST) < 0) {
		int err = errno;
		bool held = err == EADDRINUSE && port_holder((uint16_t)port, false, holder, sizeof holder);
		return cli_fail(cli, "%s: %s%s%s%s", addr_print(&at, buf), strerror(err), held ? " (" : "", holder, held ? ")" : "");
	}
	printf("Listening on %s: whatever comes goes back. Now elsewhere: stile test tcp THIS-HOST %u --echo. Ctrl-C ends it\n",
	       addr_print(&at, buf), (unsigned)port);
	fflush(stdout);
	return cli_fail(cli, "%s", strerror(-echo_for_ever(fd)));
}

static const struct option_row tcp_options[] = {
	{ "tls", 0, NULL, "speak TLS then, and check the certificate", false },
	{ "ca", 0, "FILE", "… against these certificates", false },
	{ "insecure", 0, NULL, "… and take any", false },
	{ "echo", 'e', NULL, "the other side echoes (stile test listen): round-trip time and throughput", false },
	{ "timeout", 't', "TIME", "for each address (default 5s)", false },
};
static const struct option_row listen_options[] = {
	{ "bind", 0, "ADDRESS", "address to listen on (default: every IPv4 address)", false },
};

static const struct command rows[] = {
	{ "test tcp", "HOST PORT", "try a TCP connection, and tell where it stops",
	  "Name, route, refused, filtered, TLS, slow: each step has its line and its time. With --echo against stile test listen\n"
	  "also round-trip time and throughput, every byte compared. Exit 1 if something failed.",
	  tcp_options, ARRAY_LEN(tcp_options), 2, 2, run_tcp, WITHOUT_CONFIG | WITHOUT_SERVICE },
	{ "test listen", "PORT", "be the other side of stile test tcp: listen, and send back whatever comes", NULL, listen_options,
	  ARRAY_LEN(listen_options), 1, 1, run_listen, WITHOUT_CONFIG | WITHOUT_SERVICE },
	{ "test agent", "AGENT", "check a site end to end: control connection, jobs, targets",
	  "At the server's machine. A connection is made to each TCP job, which goes through the tunnel to its target and is closed\n"
	  "without a byte. Exit 1 if something failed.",
	  NULL, 0, 1, 1, run_test_agent, WITHOUT_CONFIG },
};
const struct command_table test_tcp_commands = { rows, ARRAY_LEN(rows) };
