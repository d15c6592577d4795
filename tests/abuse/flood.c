/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flood of datagrams with forged sources: flood [-d ADDRESS] [-t SECONDS] [-r RATE] PORT COUNT PREFIX TEMPLATE…
 *
 * Each TEMPLATE is a file with one datagram; they are sent in turn to ADDRESS:PORT (127.0.0.1), a STUN one with a
 * transaction of its own each time, from random addresses below PREFIX ("127" or "127.1.2") and SOCKETS
 * ports. All of PREFIX must be local where it runs, as 127/8 is on loopback, or by a local route: then IP_PKTINFO
 * names the source of each datagram, and the answers come back to the same sockets, where they are counted.
 *
 * With COUNT what is tried is what the server does with it, not how much the kernel drops: it sends no faster
 * than the server reads (its sockets' queues in /proc/net/udp). With -t it sends as fast as it can for so
 * long, or RATE datagrams a second, and COUNT is the most. Prints one JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOCKETS = 16, BATCH = 64, MAX_TEMPLATES = 16, MAX_DATAGRAM = 2048, QUEUE_HIGH = 48 << 10 };

struct template {
	uint8_t data[MAX_DATAGRAM];
	size_t n;
};

struct flood {
	int fd[SOCKETS];
	uint16_t port;
	struct in_addr to;
	double seconds; /* 0: no faster than the server reads */
	double rate;	/* datagrams a second; 0: as fast as it can */
	struct template templates[MAX_TEMPLATES];
	unsigned n_templates, next;
	uint32_t prefix, host_mask;
	uint64_t random; /* xorshift: who floods need not be unpredictable */
	uint64_t sent, sent_bytes, answers, answer_bytes;
};

static uint64_t next_random(struct flood *f)
{
	f->random ^= f->random << 13;
	f->random ^= f->random >> 7;
	f->random ^= f->random << 17;
	return f->random;
}

static void die(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void read_template(struct template *t, const char *path)
{
	FILE *file = fopen(path, "rb");

	if (!file)
		die(path);
	t->n = fread(t->data, 1, sizeof t->data, file);
	fclose(file);
}

static void open_sockets(struct flood *f)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	int room = 4 << 20;

	for (int i = 0; i < SOCKETS; i++) {
		f->fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		if (f->fd[i] < 0 || bind(f->fd[i], (struct sockaddr *)&any, sizeof any) < 0)
			die("socket");
		(void)setsockopt(f->fd[i], SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	}
}

/* The fullest receive queue among the server's sockets of this port, in bytes. */
static unsigned long server_queue(uint16_t port)
{
	char line[512];
	unsigned long most = 0;
	FILE *file = fopen("/proc/net/udp", "r");

	if (!file)
		die("/proc/net/udp");
	while (fgets(line, sizeof line, file)) {
		unsigned at;
		unsigned long queue;
		if (sscanf(line, " %*u: %*x:%x %*x:%*x %*x %*x:%lx", &at, &queue) == 2 && at == port && queue > most)
			most = queue;
	}
	fclose(file);
	return most;
}

static void wait_for_server(struct flood *f)
{
	const struct timespec pause = { .tv_nsec = 200000 };
	double give_up = now_s() + 20;

	while (server_queue(f->port) > QUEUE_HIGH) {
		if (now_s() > give_up) {
			fprintf(stderr, "flood: the server has not read for 20 s\n");
			exit(1);
		}
		nanosleep(&pause, NULL);
	}
}

struct datagram {
	uint8_t data[MAX_DATAGRAM];
	struct iovec v;
	union {
		char space[CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct cmsghdr align;
	} control;
};

static void make_datagram(struct flood *f, struct datagram *d, struct msghdr *h, struct sockaddr_in *to)
{
	const struct template *t = &f->templates[f->next++ % f->n_templates];
	uint64_t r = next_random(f);
	uint32_t source = f->prefix | ((uint32_t)r & f->host_mask);
	struct in_pktinfo info = { .ipi_spec_dst.s_addr = htonl(source) };

	memcpy(d->data, t->data, t->n);
	if (t->n >= 20 && d->data[0] < 4) {
		memcpy(d->data + 8, &r, 8);
		memcpy(d->data + 16, &f->sent, 4);
	}
	d->v = (struct iovec){ d->data, t->n };
	*h = (struct msghdr){ .msg_name = to, .msg_namelen = sizeof *to, .msg_iov = &d->v, .msg_iovlen = 1,
			      .msg_control = d->control.space, .msg_controllen = sizeof d->control.space };
	struct cmsghdr *c = CMSG_FIRSTHDR(h);
	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof info);
	memcpy(CMSG_DATA(c), &info, sizeof info);
}

static void send_batch(struct flood *f, unsigned n)
{
	static struct datagram datagrams[BATCH];
	struct mmsghdr messages[BATCH] = { 0 };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(f->port),
				  .sin_addr = f->to };
	int fd = f->fd[next_random(f) % SOCKETS];

	for (unsigned i = 0; i < n; i++)
		make_datagram(f, &datagrams[i], &messages[i].msg_hdr, &to);
	for (unsigned done = 0; done < n;) {
		int r = sendmmsg(fd, messages + done, n - done, 0);
		if (r < 0 && errno == EAGAIN) {
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 100);
			continue;
		}
		if (r < 0 && errno != ECONNREFUSED)
			die("sendmmsg");
		for (int i = 0; i < r; i++)
			f->sent_bytes += datagrams[done + (unsigned)i].v.iov_len;
		f->sent += r > 0 ? (unsigned)r : 0;
		done += r > 0 ? (unsigned)r : 0;
	}
}

static void take_answers(struct flood *f)
{
	uint8_t buf[MAX_DATAGRAM];
	ssize_t n;

	for (int i = 0; i < SOCKETS; i++)
		while ((n = recv(f->fd[i], buf, sizeof buf, MSG_TRUNC)) >= 0) {
			f->answers++;
			f->answer_bytes += (uint64_t)n;
		}
}

static void take_prefix(struct flood *f, const char *text)
{
	unsigned part[3] = { 0 };
	int n = sscanf(text, "%u.%u.%u", &part[0], &part[1], &part[2]);

	if (n < 1 || (part[0] != 127 && part[0] != 10)) {
		fprintf(stderr, "flood: the prefix must lie in 127 or 10\n");
		exit(2);
	}
	f->prefix = part[0] << 24 | part[1] << 16 | part[2] << 8;
	f->host_mask = UINT32_MAX >> (8 * n);
}

static int take_options(struct flood *f, int argc, char **argv)
{
	int c;

	f->to.s_addr = htonl(INADDR_LOOPBACK);
	while ((c = getopt(argc, argv, "d:t:r:")) != -1) {
		if (c == 'd' && inet_pton(AF_INET, optarg, &f->to) != 1)
			return -1;
		if (c == 't')
			f->seconds = strtod(optarg, NULL);
		if (c == 'r')
			f->rate = strtod(optarg, NULL);
		if (c == '?')
			return -1;
	}
	return optind;
}

int main(int argc, char **argv)
{
	static struct flood f = { .random = 0x9e3779b97f4a7c15u };
	const struct timespec last = { .tv_nsec = 200000000 };
	uint64_t count;
	int at = take_options(&f, argc, argv);

	if (at < 0 || argc - at < 4 || argc - at - 3 > MAX_TEMPLATES) {
		fprintf(stderr,
			"usage: flood [-d ADDRESS] [-t SECONDS] [-r RATE] PORT COUNT PREFIX TEMPLATE...\n");
		return 2;
	}
	f.port = (uint16_t)atoi(argv[at]);
	count = strtoull(argv[at + 1], NULL, 10);
	take_prefix(&f, argv[at + 2]);
	for (int i = at + 3; i < argc; i++)
		read_template(&f.templates[f.n_templates++], argv[i]);
	open_sockets(&f);
	double began = now_s();
	while (f.sent < count && (f.seconds == 0 || now_s() - began < f.seconds)) {
		if (f.seconds == 0)
			wait_for_server(&f);
		while (f.rate > 0 && (double)f.sent > (now_s() - began) * f.rate)
			nanosleep(&(struct timespec){ .tv_nsec = 300000 }, NULL);
		send_batch(&f, count - f.sent < BATCH ? (unsigned)(count - f.sent) : BATCH);
		take_answers(&f);
	}
	double took = now_s() - began;
	nanosleep(&last, NULL);
	take_answers(&f);
	printf("{\"sent\": %llu, \"sent_bytes\": %llu, \"answers\": %llu, \"answer_bytes\": %llu, \"seconds\": %.3f}\n",
	       (unsigned long long)f.sent, (unsigned long long)f.sent_bytes, (unsigned long long)f.answers,
	       (unsigned long long)f.answer_bytes, took);
	return 0;
}
