/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of reaching a target: name, list, connect with a deadline, PROXY header. An address that the list does not
 * hold is passed over, and if there is no other the answer says so: it is the agent's word against the server's and
 * the name server's.
 */
#include "tunnel/agent/target.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include "common/fd.h"
#include "common/proxy_protocol.h"
#include "tunnel/policy.h"

struct agent_target {
	struct loop *loop;
	struct dns_query *query;
	struct addr addr[DNS_ADDRESSES_MAX];
	unsigned n, at;
	bool udp;
	uint64_t connect_ms, begun_ms;
	struct addr source, server;
	const struct cfg_list *allow;
	int fd;
	struct io io;
	struct timer deadline;
	unsigned reason;
	char text[400];
	char host[DNS_NAME_MAX];
	void (*done)(const struct agent_target_answer *a, void *arg);
	void *arg;
};

static void close_try(struct agent_target *t)
{
	io_stop(&t->io);
	timer_stop(&t->deadline);
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

struct agent_target *agent_target_free(struct agent_target *t)
{
	if (!t)
		return NULL;
	t->query = dns_cancel(t->query);
	close_try(t);
	free(t);
	return NULL;
}

static void finish(struct agent_target *t, int fd)
{
	struct agent_target_answer a = { .fd = fd,
					 .reason = fd >= 0 ? WIRE_R_NONE : t->reason,
					 .text = fd >= 0 ? "" : t->text,
					 .took_ms = loop_now(t->loop) - t->begun_ms };
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	if (fd >= 0) {
		a.target = t->addr[t->at];
		if (getsockname(fd, (struct sockaddr *)&ss, &n) == 0)
			(void)addr_from_sockaddr((struct sockaddr *)&ss, n, &a.local);
	}
	t->done(&a, t->arg);
	agent_target_free(t);
}

static unsigned reason_of(int err)
{
	switch (err) {
	case ECONNREFUSED: return WIRE_R_REFUSED;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EACCES:
	case EPERM: return WIRE_R_UNREACHABLE;
	case ETIMEDOUT: return WIRE_R_TIMEOUT;
	case ENOMEM:
	case ENOBUFS: return WIRE_R_MEMORY;
	default: return WIRE_R_ERROR;
	}
}

static void failed(struct agent_target *t, int err)
{
	char buf[ADDR_STRLEN];

	t->reason = reason_of(err);
	(void)snprintf(t->text, sizeof(t->text), "%s: %s%s", addr_print(&t->addr[t->at], buf),
		       strerror(err),
		       err == EMFILE || err == ENFILE ? " (raise LimitNOFILE of stile-agent)" : "");
}

static int send_header(const struct agent_target *t, int fd)
{
	bool known = addr_family(&t->source) == addr_family(&t->server); /* else nothing is said of them */
	struct proxy_header h = { .local = false };
	uint8_t buf[PROXY_WRITE_MAX];
	struct wr w = wr_init(buf, sizeof(buf));

	if (known) {
		h.client = t->source;
		h.server = t->server;
	}
	if (addr_family(&t->source) == AF_UNSPEC)
		return 0;
	proxy_write(&w, &h);
	if (w.failed)
		return -EINVAL;
	return send(fd, buf, wr_len(&w), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)wr_len(&w) ? 0 : -EIO;
}

static void next(struct agent_target *t);

static void on_outcome(struct agent_target *t, int err)
{
	int fd;

	if (!err)
		err = -send_header(t, t->fd);
	if (!err) {
		fd = steal_fd(&t->fd);
		close_try(t);
		finish(t, fd);
		return;
	}
	failed(t, err);
	close_try(t);
	t->at++;
	next(t);
}

static void on_ready(struct io *io, int events)
{
	struct agent_target *t = container_of(io, struct agent_target, io);
	socklen_t n = sizeof(int);
	int err = 0;

	(void)events;
	if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
		err = errno;
	on_outcome(t, err);
}

static void on_deadline(struct timer *tm, uint64_t now)
{
	struct agent_target *t = container_of(tm, struct agent_target, deadline);

	(void)now;
	if (t->at < t->n)
		on_outcome(t, ETIMEDOUT);
	else
		finish(t, -1); /* what next() had found out, told from the loop */
}

/* UDP is connected at once, and told the same way. */
static int begin(struct agent_target *t)
{
	const struct addr *to = &t->addr[t->at];
	const int one = 1;

	t->fd = socket(addr_family(to),
		       (t->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0)
		return -errno;
	if (!t->udp)
		(void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(t->fd, &to->sa, addr_len(to)) < 0 && errno != EINPROGRESS)
		return -errno;
	loop_timer_set(t->loop, &t->deadline, t->connect_ms);
	return io_start(&t->io, t->loop, t->fd, IO_WRITE, on_ready);
}

static void next(struct agent_target *t)
{
	for (; t->at < t->n; t->at++) {
		int r;

		if (t->allow && !prefixes_hold(t->allow, &t->addr[t->at])) {
			char buf[ADDR_STRLEN];

			t->reason = WIRE_R_NOT_ALLOWED;
			(void)snprintf(t->text, sizeof(t->text),
				       "%s means %s, which agent.allow does not hold", t->host,
				       addr_print_ip(&t->addr[t->at], buf));
			continue;
		}
		r = begin(t);
		if (r == 0)
			return;
		failed(t, -r);
		close_try(t);
	}
	loop_timer_set(t->loop, &t->deadline, 0);
}

static void on_answer(const struct dns_answer *a, void *arg)
{
	struct agent_target *t = arg;

	t->query = NULL;
	if (a->status != DNS_OK) {
		t->reason = WIRE_R_NO_NAME;
		(void)snprintf(t->text, sizeof(t->text), "%s: %s", t->host, dns_status_text(a->status));
		finish(t, -1);
		return;
	}
	t->n = (unsigned)MIN(a->n, (size_t)DNS_ADDRESSES_MAX);
	memcpy(t->addr, a->addr, t->n * sizeof(*t->addr));
	next(t);
}

int agent_target_reach(struct loop *l, struct dns *dns, const struct agent_target_ask *a,
		       void (*done)(const struct agent_target_answer *a, void *arg), void *arg,
		       struct agent_target **ret_t)
{
	struct agent_target *t = calloc(1, sizeof(*t));
	struct dns_request rq = {
		.host = a->host, .port = a->port, .family = AF_UNSPEC, .done = on_answer, .arg = t
	};
	int r;

	if (!t)
		return -ENOMEM;
	t->loop = l;
	t->fd = -1;
	t->udp = a->udp;
	t->connect_ms = a->connect_ms;
	t->begun_ms = loop_now(l);
	t->source = a->source;
	t->server = a->server;
	t->allow = a->allow;
	t->deadline.fire = on_deadline;
	t->done = done;
	t->arg = arg;
	(void)snprintf(t->host, sizeof(t->host), "%s", a->host);
	r = dns_addresses(dns, &rq, &t->query);
	if (r < 0) {
		free(t);
		return r;
	}
	*ret_t = t;
	return 0;
}
