/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A long line between two network namespaces, for tests: a TUN interface in each, and between them a rate with a queue before
 * it, a delay, and the loss of single packets, as often as said and for one seed always the same ones. Root.
 *
 *   wire [OPTION…] NAMESPACE-A NAMESPACE-B
 *     --delay MS  --rate MBIT (0: any)  --queue BYTES  --loss PERCENT  --seed N
 *     --device NAME (wire0)  --addresses A:B (10.99.0.1:10.99.0.2)
 *
 * A value counts for both ways, X:Y for A to B and B to A. It says "ready", obeys "delay MS" and the like on standard input,
 * answers "stats" with a line of JSON, and ends with its standard input. Not a link layer: only IPv4 passes. What the process
 * itself is late (a busy machine) comes on top of the delay, the rate is never more than was said.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	MTU = 1500,
	SLOTS = 16384,	  /* packets under way, one way; a power of two */
	BATCH = 64,	  /* packets taken from an interface before the other one has its turn */
	TUN_QUEUE = 8192, /* packets that wait in the interface for this process */
	REST_NS = 50000, /* as a network card collects interrupts: no more wake-ups than one in this time … */
	REST_FROM_NS = 1000000, /* … on a line at least this long */
	SKIP = 77		/* exit status: not permitted here */
};

struct packet {
	uint64_t due; /* ns, when it comes out */
	uint16_t length;
	uint8_t bytes[MTU];
};

/* One way of the line; the reader's interface is `in`. */
struct way {
	const char *name;
	int in, out;
	double delay_ms, rate_mbit, queue_bytes, loss_percent;
	uint64_t random;    /* state of the loss */
	uint64_t line_free; /* ns, when the last byte accepted so far is on the line */
	struct packet *slots;
	uint64_t head, tail; /* of the slots under way; they only grow */
	uint64_t packets, bytes, delivered, lost, overflowed, failed;
};

static struct {
	struct way ways[2];
	char device[IFNAMSIZ];
	char addresses[2][INET_ADDRSTRLEN];
	uint64_t seed;
	bool ended;
	char line[128];
	size_t line_n;
} g = { .device = "wire0", .addresses = { "10.99.0.1", "10.99.0.2" }, .seed = 1 };

static void die(const char *what)
{
	int error = errno;

	fprintf(stderr, "wire: %s: %s\n", what, strerror(error));
	exit(error == EPERM || error == EACCES || error == ENODEV ? SKIP : 1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- interfaces ---- */

static void set_address(int s, unsigned long request, const char *text)
{
	struct ifreq r = { 0 };
	struct sockaddr_in a = { .sin_family = AF_INET };

	if (inet_pton(AF_INET, text, &a.sin_addr) != 1) {
		errno = EINVAL;
		die(text);
	}
	memcpy(r.ifr_name, g.device, sizeof r.ifr_name);
	memcpy(&r.ifr_addr, &a, sizeof a);
	if (ioctl(s, request, &r))
		die("address");
}

/* What the kernel says by itself over IPv6 would shift which packets are lost. */
static void without_ipv6(void)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", g.device);
	f = fopen(path, "w");
	if (!f)
		return; /* a kernel without it */
	fputs("1", f);
	fclose(f);
}

static void configure(unsigned side)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = { 0 };

	if (s < 0)
		die("socket");
	without_ipv6();
	set_address(s, SIOCSIFADDR, g.addresses[side]);
	set_address(s, SIOCSIFDSTADDR, g.addresses[!side]);
	memcpy(r.ifr_name, g.device, sizeof r.ifr_name);
	r.ifr_mtu = MTU;
	if (ioctl(s, SIOCSIFMTU, &r))
		die("MTU");
	r.ifr_qlen = TUN_QUEUE;
	if (ioctl(s, SIOCSIFTXQLEN, &r))
		die("queue of the interface");
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &r))
		die("up");
	close(s);
}

/* The interface in that namespace; this process is in its own again afterwards. */
static int open_tun(const char *name, unsigned side)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there, fd;
	struct ifreq r = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	char path[256];

	snprintf(path, sizeof path, "/run/netns/%s", name);
	there = open(path, O_RDONLY | O_CLOEXEC);
	if (home < 0 || there < 0)
		die(path);
	if (setns(there, CLONE_NEWNET))
		die("setns");
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		die("/dev/net/tun");
	memcpy(r.ifr_name, g.device, sizeof r.ifr_name);
	if (ioctl(fd, TUNSETIFF, &r))
		die("TUN interface");
	configure(side);
	if (setns(home, CLONE_NEWNET))
		die("setns");
	close(home);
	close(there);
	return fd;
}

/* ---- the line ---- */

static bool is_lost(struct way *w)
{
	uint64_t x = w->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	w->random = x;
	return (double)(x >> 11) * 0x1p-53 * 100 < w->loss_percent;
}

/* When a packet of so many bytes comes out that goes in now; false: the queue before the line is full. */
static bool schedule(struct way *w, uint64_t now, size_t n, uint64_t *ret_due)
{
	const double ns_per_byte = w->rate_mbit > 0 ? 8000 / w->rate_mbit : 0;

	if (w->line_free < now)
		w->line_free = now;
	if (ns_per_byte > 0 && (double)(w->line_free - now) / ns_per_byte + (double)n > w->queue_bytes)
		return false;
	w->line_free += (uint64_t)((double)n * ns_per_byte);
	*ret_due = w->line_free + (uint64_t)(w->delay_ms * 1e6);
	return true;
}

/* Takes what the interface has, at most a batch of it; true: there may be more. */
static bool take(struct way *w, uint64_t now)
{
	for (int i = 0; i < BATCH; i++) {
		struct packet *p = &w->slots[w->tail % SLOTS];
		ssize_t n;

		if (w->tail - w->head == SLOTS - 1) /* waits in the interface, as before a card */
			return false;
		n = read(w->in, p->bytes, sizeof p->bytes);
		if (n <= 0)
			return false;
		if (p->bytes[0] >> 4 != 4)
			continue;
		w->packets++;
		w->bytes += (uint64_t)n;
		if (is_lost(w)) {
			w->lost++;
		} else if (!schedule(w, now, (size_t)n, &p->due)) {
			w->overflowed++;
		} else {
			p->length = (uint16_t)n;
			w->tail++;
		}
	}
	return true;
}

/* What is due comes out. In order, also after the delay was shortened. */
static void deliver(struct way *w, uint64_t now)
{
	for (; w->head < w->tail; w->head++) {
		const struct packet *p = &w->slots[w->head % SLOTS];

		if (p->due > now)
			return;
		if (write(w->out, p->bytes, p->length) == p->length)
			w->delivered++;
		else
			w->failed++;
	}
}

/* ---- words ---- */

/* "20" or "20:5"; false: no number. */
static bool set_both(size_t member, const char *text)
{
	char *end;
	double a = strtod(text, &end), b = a;

	if (end == text || a < 0)
		return false;
	if (*end == ':') {
		text = end + 1;
		b = strtod(text, &end);
		if (end == text || b < 0)
			return false;
	}
	memcpy((char *)&g.ways[0] + member, &a, sizeof a);
	memcpy((char *)&g.ways[1] + member, &b, sizeof b);
	return *end == '\0';
}

static const struct {
	const char *name;
	size_t member;
} values[] = {
	{ "delay", offsetof(struct way, delay_ms) },
	{ "rate", offsetof(struct way, rate_mbit) },
	{ "queue", offsetof(struct way, queue_bytes) },
	{ "loss", offsetof(struct way, loss_percent) },
};

static bool set_value(const char *name, const char *text)
{
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
		if (strcmp(name, values[i].name) == 0)
			return set_both(values[i].member, text);
	return false;
}

static void say_stats(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	printf("{");
	for (int i = 0; i < 2; i++) {
		const struct way *w = &g.ways[i];

		printf("\"%s\": {\"packets\": %" PRIu64 ", \"bytes\": %" PRIu64
		       ", \"delivered\": %" PRIu64 ", \"lost\": %" PRIu64
		       ", \"overflowed\": %" PRIu64 ", \"failed\": %" PRIu64 "}, ",
		       w->name, w->packets, w->bytes, w->delivered, w->lost, w->overflowed, w->failed);
	}
	printf("\"cpu_s\": %.4f}\n", (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
					     (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

/* Every word is answered, so that who said it knows from when on it counts. */
static void obey(char *line)
{
	char *value = strchr(line, ' ');

	if (value)
		*value++ = '\0';
	if (strcmp(line, "stats") == 0)
		say_stats();
	else
		puts(value && set_value(line, value) ? "ok" : "not understood");
}

static void on_input(void)
{
	ssize_t n = read(STDIN_FILENO, g.line + g.line_n, sizeof g.line - 1 - g.line_n);
	char *end;

	if (n <= 0) {
		g.ended = true;
		return;
	}
	g.line_n += (size_t)n;
	g.line[g.line_n] = '\0';
	while ((end = strchr(g.line, '\n'))) {
		*end++ = '\0';
		obey(g.line);
		g.line_n -= (size_t)(end - g.line);
		memmove(g.line, end, g.line_n + 1);
	}
	if (g.line_n == sizeof g.line - 1)
		g.line_n = 0;
}

/* ---- */

/* Sleeps until something is due or comes in. On a long line what comes in is not awaited singly. */
static void wait_until(uint64_t due, bool busy)
{
	struct pollfd fds[3] = { { .fd = STDIN_FILENO, .events = POLLIN },
				 { .fd = g.ways[0].in, .events = POLLIN },
				 { .fd = g.ways[1].in, .events = POLLIN } };
	const bool rests = busy && g.ways[0].delay_ms * 1e6 >= REST_FROM_NS &&
			   g.ways[1].delay_ms * 1e6 >= REST_FROM_NS;
	uint64_t now = now_ns(), rest = due > now ? due - now : 0;
	struct timespec t;

	if (rests)
		rest = REST_NS;
	t = (struct timespec){ .tv_sec = (time_t)(rest / 1000000000u),
			       .tv_nsec = (long)(rest % 1000000000u) };
	if (ppoll(fds, rests ? 1 : 3, due == UINT64_MAX && !rests ? NULL : &t, NULL) > 0 && fds[0].revents)
		on_input();
}

static void run(void)
{
	while (!g.ended) {
		uint64_t now = now_ns(), due = UINT64_MAX;
		bool more = false, busy = false;

		for (int i = 0; i < 2; i++) {
			struct way *w = &g.ways[i];
			uint64_t before = w->packets;

			more |= take(w, now);
			deliver(w, now);
			busy |= w->packets != before;
			if (w->head < w->tail && w->slots[w->head % SLOTS].due < due)
				due = w->slots[w->head % SLOTS].due;
		}
		wait_until(more ? 0 : due, busy && !more);
	}
}

static bool option(const char *name, const char *value)
{
	const char *colon = strchr(value, ':');

	if (strcmp(name, "device") == 0)
		return (size_t)snprintf(g.device, sizeof g.device, "%s", value) < sizeof g.device;
	if (strcmp(name, "seed") == 0)
		return (g.seed = strtoull(value, NULL, 10)) > 0;
	if (strcmp(name, "addresses") == 0 && colon) {
		snprintf(g.addresses[0], sizeof g.addresses[0], "%.*s", (int)(colon - value), value);
		snprintf(g.addresses[1], sizeof g.addresses[1], "%s", colon + 1);
		return true;
	}
	return set_value(name, value);
}

int main(int argc, char **argv)
{
	int i = 1;

	for (int k = 0; k < 2; k++)
		g.ways[k].queue_bytes = 250000;
	for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2)
		if (!option(argv[i] + 2, argv[i + 1])) {
			fprintf(stderr, "wire: %s %s is not understood\n", argv[i], argv[i + 1]);
			return 2;
		}
	if (argc - i != 2) {
		fprintf(stderr,
			"usage: wire [--delay MS] [--rate MBIT] [--queue BYTES] [--loss PERCENT] [--seed N] A B\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	for (unsigned k = 0; k < 2; k++) {
		struct way *w = &g.ways[k];

		w->name = k ? "b_to_a" : "a_to_b";
		w->in = g.ways[!k].out = open_tun(argv[i + (int)k], k);
		w->random = (g.seed * 2 + k) * 0x9e3779b97f4a7c15u;
		w->slots = calloc(SLOTS, sizeof *w->slots);
		if (!w->slots)
			die("memory");
	}
	puts("ready");
	run();
	for (int k = 0; k < 2; k++)
		free(g.ways[k].slots);
	return 0;
}
