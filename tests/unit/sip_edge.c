/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge of stile-sip with real sockets on loopback: what comes in by each transport reaches the core and is
 * answered, what is bad is not, connections are used again for the same proven peer only, failures are told, and a
 * reload leaves connections alone. The core is a few lines that answer each request with 200.
 */
#include "tests/unit/support.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/bytes.h"
#include "sip-proxy/edge.h"
#include "sip-proxy/metrics.h"
#include "sip-proxy/write.h"

struct world {
	struct loop *loop;
	struct metrics *metrics;
	struct sip_edge *edge;
	struct support_dir dir;
	char files[5][SUPPORT_PATH]; /* support_path() has four places only */
	unsigned requests, responses, closed;
	struct sip_hop last;
	char identity[128]; /* first name of the last message's connection */
	bool got;
};

static const char *const file_names[] = { "one.pem", "one.key", "two.pem", "two.key", "cas.pem" };
enum { ONE_PEM, ONE_KEY, TWO_PEM, TWO_KEY, CAS };

static void on_message(void *core, const struct sip_msg *m, const struct sip_hop *hop, uint64_t now)
{
	struct world *w = core;
	const struct sip_identity *id = sip_edge_ops.identity(w->edge, hop->conn);
	struct sip_response_parts parts = { .code = 200, .reason = TEXT("OK"), .to_tag = TEXT("t") };
	struct sip_via via;
	struct sip_target to;
	char buf[4096], top[512];
	ssize_t n;
	ptrdiff_t filled;

	(void)now;
	w->last = *hop;
	w->got = true;
	(void)snprintf(w->identity, sizeof(w->identity), "%s", id && id->n ? id->names[0] : "");
	if (!m->is_request) {
		w->responses++;
		return;
	}
	w->requests++;
	assert_int_equal(sip_via_parse(sip_value(m, SIP_H_VIA), &via), 0);
	filled = sip_via_fill(&via, &hop->remote, top, sizeof(top));
	if (filled > 0)
		parts.top_via = (struct text){ top, (size_t)filled };
	n = sip_response_write(buf, sizeof(buf), m, &parts);
	assert_true(n > 0);
	to = sip_reply_target(&via, hop);
	assert_int_equal(sip_edge_ops.send(w->edge, &to, (struct text){ buf, (size_t)n }, NULL, NULL),
			 0);
}

static void on_closed(void *core, uint64_t conn, uint64_t now)
{
	struct world *w = core;

	(void)conn;
	(void)now;
	w->closed++;
	w->got = true;
}

static const struct sip_edge_events events = { .message = on_message, .closed = on_closed };

static struct addr loopback(uint16_t port)
{
	return addr_v4(INADDR_LOOPBACK, port);
}

static const struct sip_edge_limits limits = { .connections = 100,
					       .connections_per_source = 50,
					       .queue = 64 << 10,
					       .rate = 1000,
					       .burst = 1000,
					       .ban_after = 3,
					       .ban_ms = 60000,
					       .message_bytes = 64 << 10,
					       .connect_ms = 3000,
					       .handshake_ms = 3000,
					       .first_ms = 5000,
					       .partial_ms = 1200,
					       .idle_ms = 60000 };

static int apply(struct world *w, const struct sip_listen_spec *v, size_t n, char *err, size_t err_n)
{
	char warning[TLS_ERRLEN];
	struct sip_edge_plan *p;
	struct sip_edge_config c = { .listen = v,
				     .n_listen = n,
				     .limits = limits,
				     .ca = w->files[CAS],
				     .certificate = w->files[ONE_PEM],
				     .key = w->files[ONE_KEY] };
	int r = sip_edge_plan(w->edge, &c, warning, err, err_n, &p);

	if (r == 0)
		sip_edge_take(w->edge, p);
	return r;
}

static void make_cas(const struct support_dir *d)
{
	FILE *out = fopen(support_path(d, "cas.pem"), "w");
	static const char *const names[] = { "one.pem", "two.pem" };
	char line[256];

	assert_non_null(out);
	for (size_t i = 0; i < 2; i++) {
		FILE *in = fopen(support_path(d, names[i]), "r");
		assert_non_null(in);
		while (fgets(line, sizeof(line), in))
			assert_true(fputs(line, out) >= 0);
		fclose(in);
	}
	fclose(out);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	char err[512] = "";

	assert_non_null(w);
	assert_int_equal(sip_headers_init(), 0);
	support_dir_make(&w->dir);
	support_cert(&w->dir, "one", "DNS:one.test, IP:127.0.0.1", -1, 30);
	support_cert(&w->dir, "two", "URI:sip:two.test, DNS:not-this.test", -1, 30);
	make_cas(&w->dir);
	for (size_t i = 0; i < ARRAY_LEN(file_names); i++)
		(void)snprintf(w->files[i], SUPPORT_PATH, "%s", support_path(&w->dir, file_names[i]));
	assert_int_equal(loop_new(&w->loop), 0);
	assert_int_equal(metrics_new(sip_metric_rows, SIP_METRICS, 1, &w->metrics), 0);
	assert_int_equal(sip_edge_new(&(struct sip_edge_options){ .loop = w->loop,
								  .metrics = w->metrics,
								  .events = &events,
								  .core = w,
								  .dns_servers = "127.0.0.1:9" },
				      &w->edge),
			 0);
	const struct sip_listen_spec v[] = {
		{ .proto = SIP_UDP, .at = loopback(0) },
		{ .proto = SIP_TCP, .at = loopback(0) },
		{ .proto = SIP_TLS,
		  .mutual = true,
		  .at = loopback(0),
		  .certificate = w->files[ONE_PEM],
		  .key = w->files[ONE_KEY],
		  .ca = w->files[CAS] },
	};
	if (apply(w, v, ARRAY_LEN(v), err, sizeof(err)) < 0)
		fail_msg("%s", err);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	sip_edge_free(w->edge);
	metrics_free(w->metrics);
	loop_free(w->loop);
	support_dir_remove(&w->dir);
	sip_headers_deinit();
	free(w);
	return 0;
}

static struct addr listens(const struct world *w, const char *transport)
{
	json_t *rows = sip_edge_listeners_json(w->edge), *row;
	struct addr a = { 0 };
	size_t i;

	json_array_foreach(rows, i, row) if (strcmp(json_string_value(json_object_get(row, "transport")),
						    transport) == 0 &&
					     !json_is_true(json_object_get(row, "removed")))
		assert_int_equal(
			addr_parse(text_of(json_string_value(json_object_get(row, "address"))), 0, &a),
			0);
	json_decref(rows);
	assert_int_not_equal(addr_family(&a), AF_UNSPEC);
	return a;
}

static int client(int type, const struct addr *to)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, &to->sa, addr_len(to)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static size_t options(char *buf, size_t cap, const char *via, const char *more)
{
	int n = snprintf(
		buf, cap,
		"OPTIONS sip:x@test SIP/2.0\r\nVia: SIP/2.0/%s;branch=z9hG4bKa1\r\nMax-Forwards: 70\r\n"
		"From: <sip:a@test>;tag=1\r\nTo: <sip:x@test>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n%sContent-Length: 0\r\n\r\n",
		via, more);
	assert_true(n > 0 && (size_t)n < cap);
	return (size_t)n;
}

/* What comes within a while; the loop runs meanwhile. Ends at the empty line of n messages, or at the end of file. */
static size_t hear(struct world *w, int fd, char *buf, size_t cap, unsigned messages)
{
	size_t n = 0;

	for (int i = 0; i < 2000; i++) {
		ssize_t r = recv(fd, buf + n, cap - 1 - n, 0);
		unsigned seen = 0;
		if (r > 0)
			n += (size_t)r;
		buf[n] = 0;
		for (const char *p = buf; (p = strstr(p, "\r\n\r\n")); p += 4)
			seen++;
		if (r == 0 || (messages && seen >= messages))
			return n;
		support_run_for(w->loop, 10);
	}
	return n;
}

static int64_t counter(const struct world *w, enum sip_metric m, unsigned label)
{
	return metric_sum(w->metrics, m, label);
}

/* ---- datagrams ---- */

static void a_datagram_is_answered_where_it_came_from(void **state)
{
	struct world *w = *state;
	struct addr at = listens(w, "udp");
	int fd = client(SOCK_DGRAM, &at);
	char buf[4096];
	size_t n = options(buf, sizeof(buf), "UDP 10.9.8.7:5060;rport", "");

	assert_int_equal(send(fd, buf, n, 0), n);
	hear(w, fd, buf, sizeof(buf), 1);
	assert_non_null(strstr(buf, "SIP/2.0 200 OK\r\n"));
	assert_non_null(strstr(buf, ";received=127.0.0.1;rport="));
	assert_int_equal(w->requests, 1);
	assert_int_equal(counter(w, SIP_M_REQUESTS_IN, SIP_OPTIONS), 1);
	assert_int_equal(counter(w, SIP_M_RESPONSES_OUT, 1), 1);
	close(fd);
}

static void stun_and_line_ends_keep_a_mapping_alive(void **state)
{
	struct world *w = *state;
	struct addr at = listens(w, "udp");
	int fd = client(SOCK_DGRAM, &at);
	static const uint8_t binding[20] = { 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1,  2,
					     3, 4, 5, 6, 7,    8,    9,	   10,	 11, 12 };
	uint8_t buf[256];
	ssize_t n = -1;

	assert_int_equal(send(fd, "\r\n\r\n", 4, 0), 4);
	assert_int_equal(send(fd, binding, sizeof(binding), 0), sizeof(binding));
	for (int i = 0; i < 2000 && n < 0; i++) {
		support_run_for(w->loop, 10);
		n = recv(fd, buf, sizeof(buf), 0);
	}
	assert_int_equal(n, 32);
	assert_int_equal(load_be16(buf), 0x0101);
	assert_int_equal(counter(w, SIP_M_KEEPALIVES, SIP_UDP), 2);
	assert_int_equal(w->requests, 0);
	close(fd);
}

static void garbage_is_dropped_and_bad_requests_are_answered(void **state)
{
	struct world *w = *state;
	struct addr at = listens(w, "udp");
	int fd = client(SOCK_DGRAM, &at);
	char buf[4096];
	size_t n;

	assert_int_equal(send(fd, "\x80\x01garbage garbage", 16, 0), 16);
	assert_int_equal(send(fd, "{\"json\": true}", 14, 0), 14);
	assert_int_equal(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	memset(buf, 'x', 100);
	memcpy(buf, "GET / HTTP/1.1\r\n", 16);
	assert_int_equal(send(fd, buf, 100, 0), 100);
	memcpy(buf, "abc{defghij", 11);
	assert_int_equal(send(fd, buf, 100, 0), 100);
	n = options(buf, sizeof(buf), "UDP 127.0.0.1;rport", "Call-ID: 2\r\n");
	assert_int_equal(send(fd, buf, n, 0), n);
	hear(w, fd, buf, sizeof(buf), 1);
	assert_int_equal(strncmp(buf, "SIP/2.0 400 ", 12), 0);
	assert_int_equal(w->requests, 0);
	assert_int_equal(sip_edge_kernel_drops(w->edge), 3); /* the first three did not come up at all */
	assert_int_equal(counter(w, SIP_M_DROPS, SIP_DROP_GARBAGE), 1);
	assert_int_equal(counter(w, SIP_M_BAD, SIP_NOT_SIP), 1);
	assert_int_equal(counter(w, SIP_M_BAD, SIP_DUPLICATE), 1);
	close(fd);
}

struct told {
	struct sip_wait wait;
	bool failed;
	int err;
	char why[256];
};

static void on_failed(struct sip_wait *wait, int err, const char *why)
{
	struct told *t = container_of(wait, struct told, wait);

	t->failed = true;
	t->err = err;
	(void)snprintf(t->why, sizeof(t->why), "%s", why);
}

/* A port that nobody listens at: bound and closed. */
static struct addr nobody(int type)
{
	int fd = socket(AF_INET, type, 0);
	struct addr a = loopback(0);
	socklen_t n = sizeof(a);

	assert_int_equal(bind(fd, &a.sa, addr_len(&a)), 0);
	assert_int_equal(getsockname(fd, &a.sa, &n), 0);
	close(fd);
	return a;
}

static void who_is_not_there_is_told_at_once(void **state)
{
	struct world *w = *state;
	char buf[2048];
	size_t n = options(buf, sizeof(buf), "UDP 127.0.0.1", "");

	for (int i = 0; i < 2; i++) {
		struct told t = { .wait.failed = on_failed };
		struct sip_target to = { .hop = { .proto = i ? SIP_TCP : SIP_UDP,
						  .remote = nobody(i ? SOCK_STREAM : SOCK_DGRAM) } };
		assert_int_equal(
			sip_edge_ops.send(w->edge, &to, (struct text){ buf, n }, &t.wait, NULL), 0);
		assert_false(t.failed);
		support_run_until(w->loop, &t.failed, 5000);
		assert_int_equal(t.err, ECONNREFUSED);
	}
}

/* ---- streams ---- */

static void what_waits_for_a_connection_can_be_taken_back(void **state)
{
	struct world *w = *state;
	struct told told[2] = { { .wait.failed = on_failed }, { .wait.failed = on_failed } };
	struct addr mute = loopback(0);
	socklen_t n = sizeof(mute);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC,
			0); /* it takes the connection, and never says a word of TLS */
	char buf[512];
	size_t len;

	assert_true(fd >= 0 && bind(fd, &mute.sa, addr_len(&mute)) == 0 && listen(fd, 8) == 0);
	assert_int_equal(getsockname(fd, &mute.sa, &n), 0);
	const struct sip_target to = { .hop = { .proto = SIP_TLS, .remote = mute },
				       .name = TEXT("one.test") };
	len = options(buf, sizeof(buf), "TLS 127.0.0.1:1", "");
	for (unsigned i = 0; i < 2; i++) {
		list_init(&told[i].wait.node);
		assert_int_equal(sip_edge_ops.send(w->edge, &to, (struct text){ buf, len },
						   &told[i].wait, NULL),
				 0);
	}
	assert_true(told[0].wait.conn == told[1].wait.conn); /* both over one connection */
	assert_true(sip_edge_ops.held(w->edge, &told[0].wait));
	assert_true(sip_edge_ops.withdraw(w->edge, &told[0].wait));
	assert_false(sip_edge_ops.held(w->edge, &told[0].wait));
	assert_false(sip_edge_ops.withdraw(w->edge, &told[0].wait));
	assert_true(list_empty(&told[0].wait.node));
	assert_true(sip_edge_ops.held(w->edge, &told[1].wait)); /* the other one stays */
	assert_false(sip_edge_ops.fails(w->edge, &to));
	sip_edge_ops.report(w->edge, &to, ETIMEDOUT);
	assert_true(sip_edge_ops.fails(w->edge, &to));
	sip_edge_ops.report(w->edge, &to, 0);
	assert_false(sip_edge_ops.fails(w->edge, &to));
	sip_wait_forget(&told[1].wait);
	close(fd);
}

static void a_stream_is_cut_into_messages(void **state)
{
	struct world *w = *state;
	struct addr at = listens(w, "tcp");
	int fd = client(SOCK_STREAM, &at);
	char buf[8192];
	size_t n = 4;

	memcpy(buf, "\r\n\r\n", 4); /* a ping in front */
	n += options(buf + n, sizeof(buf) - n, "TCP 127.0.0.1;rport", "");
	n += options(buf + n, sizeof(buf) - n, "TCP 127.0.0.1;rport", "");
	assert_int_equal(send(fd, buf, n - 10, 0), n - 10);
	support_run_until(w->loop, &w->got, 5000);
	support_run_for(w->loop, 30);
	assert_int_equal(w->requests, 1);
	assert_int_equal(send(fd, buf + n - 10, 10, 0), 10);
	hear(w, fd, buf, sizeof(buf), 2);
	assert_int_equal(strncmp(buf, "\r\nSIP/2.0 200 OK", 16), 0); /* the pong, then the answers */
	assert_int_equal(w->requests, 2);
	assert_true(sip_edge_ops.alive(w->edge, &w->last));
	close(fd);
	w->got = false;
	support_run_until(w->loop, &w->got, 5000);
	assert_int_equal(w->closed, 1);
	assert_false(sip_edge_ops.alive(w->edge, &w->last));
}

static void what_cannot_be_framed_ends_the_connection(void **state)
{
	struct world *w = *state;
	struct addr at = listens(w, "tcp");
	char buf[4096];

	for (int i = 0; i < 3; i++) {
		int fd = client(SOCK_STREAM, &at);
		size_t n = options(buf, sizeof(buf), "TCP 127.0.0.1;rport", "Content-Length: 7\r\n");
		assert_int_equal(send(fd, buf, n, 0), n);
		hear(w, fd, buf, sizeof(buf), 0);
		assert_int_equal(strncmp(buf, "SIP/2.0 400 ", 12), 0);
		close(fd);
	}
	assert_int_equal(w->requests, 0);
	assert_int_equal(counter(w, SIP_M_BANNED, 0), 1); /* ban_after 3 */
	int fd = client(SOCK_STREAM, &at);
	hear(w, fd, buf, sizeof(buf), 0);
	assert_int_equal(counter(w, SIP_M_DROPS, SIP_DROP_BANNED), 1);
	close(fd);
}

static void half_a_message_has_a_deadline(void **state)
{
	struct world *w = *state;
	struct addr at = listens(w, "tcp");
	int fd = client(SOCK_STREAM, &at);
	char c;

	assert_int_equal(send(fd, "OPTIONS sip:a@b SIP/2.0\r\n", 25, 0), 25);
	for (int i = 0; i < 300 && recv(fd, &c, 1, 0) < 0; i++) {
		(void)!send(fd, "X", 1, MSG_NOSIGNAL); /* a byte now and then does not prolong it */
		support_run_for(w->loop, 20);
	}
	assert_int_equal(counter(w, SIP_M_DROPS, SIP_DROP_SLOW), 1);
	close(fd);
}

static uint64_t send_to(struct world *w, const struct addr *at, const char *name, struct told *t)
{
	struct sip_target to = { .hop = { .proto = SIP_TLS, .remote = *at },
				 .mutual = true,
				 .name = text_of(name) };
	struct sip_hop used = { 0 };
	char buf[2048];
	size_t n = options(buf, sizeof(buf), "TLS 127.0.0.1", "");

	*t = (struct told){ .wait.failed = on_failed };
	assert_int_equal(sip_edge_ops.send(w->edge, &to, (struct text){ buf, n }, &t->wait, &used), 0);
	return used.conn;
}

static void a_connection_serves_only_the_name_that_it_proved(void **state)
{
	struct world *w = *state;
	struct addr at = listens(w, "mtls"); /* ourselves: the certificate is for one.test */
	struct told t, t2, wrong;
	uint64_t first = send_to(w, &at, "one.test", &t), other;

	w->got = false;
	support_run_until(w->loop, &w->got, 5000);
	assert_string_equal(w->identity, "one.test"); /* of the client's side, proven to the server's */
	support_run_for(w->loop, 50);
	assert_int_equal(send_to(w, &at, "ONE.test", &t2), first);
	other = send_to(w, &at, "two.test", &wrong);
	assert_int_not_equal(other, first);
	support_run_until(w->loop, &wrong.failed, 5000);
	assert_int_equal(wrong.err, EACCES);
	assert_non_null(strstr(wrong.why, "not for two.test, but for one.test"));
	assert_false(t.failed || t2.failed);
	assert_int_equal(w->requests, 2); /* none of them for two.test */
	sip_wait_forget(&t.wait);
	sip_wait_forget(&t2.wait);
}

static void a_sip_uri_in_a_certificate_outweighs_its_dns_names(void **state)
{
	struct world *w = *state;
	struct addr at;
	struct told t, wrong;
	char err[512] = "";
	const struct sip_listen_spec v[] = { { .proto = SIP_TLS,
					       .mutual = true,
					       .at = loopback(0),
					       .certificate = w->files[TWO_PEM],
					       .key = w->files[TWO_KEY],
					       .ca = w->files[CAS] } };

	if (apply(w, v, 1, err, sizeof(err)) < 0)
		fail_msg("%s", err);
	at = listens(w, "mtls");
	(void)send_to(w, &at, "two.test", &t);
	(void)send_to(w, &at, "not-this.test", &wrong);
	support_run_until(w->loop, &wrong.failed, 5000);
	assert_int_equal(wrong.err, EACCES);
	w->got = w->requests > 0;
	support_run_until(w->loop, &w->got, 5000);
	assert_string_equal(w->identity, "two.test");
	sip_wait_forget(&t.wait);
}

static void a_reload_keeps_connections_and_replaces_listeners(void **state)
{
	struct world *w = *state;
	struct addr at = listens(w, "tcp"), udp = listens(w, "udp");
	int fd = client(SOCK_STREAM, &at);
	char buf[4096], err[512] = "";
	size_t n = options(buf, sizeof(buf), "TCP 127.0.0.1;rport", "");
	uint32_t iface;

	assert_int_equal(send(fd, buf, n, 0), n);
	hear(w, fd, buf, sizeof(buf), 1);
	iface = w->last.iface;
	/* The wildcard takes the UDP port over; TCP goes. */
	struct sip_listen_spec v[] = { { .proto = SIP_UDP, .at = addr_v4(INADDR_ANY, addr_port(&udp)) } };
	if (apply(w, v, 1, err, sizeof(err)) < 0)
		fail_msg("%s", err);
	assert_true(sip_edge_ops.interface(w->edge, iface)->removed);
	n = options(buf, sizeof(buf), "TCP 127.0.0.1;rport", "");
	assert_int_equal(send(fd, buf, n, 0), n);
	hear(w, fd, buf, sizeof(buf), 1);
	assert_int_equal(w->requests, 2);
	close(fd);
	w->got = false;
	support_run_until(w->loop, &w->got, 5000);
	assert_null(sip_edge_ops.interface(w->edge, iface)); /* gone with its last connection */
	fd = client(SOCK_DGRAM, &udp);
	n = options(buf, sizeof(buf), "UDP 127.0.0.1;rport", "");
	assert_int_equal(send(fd, buf, n, 0), n);
	hear(w, fd, buf, sizeof(buf), 1);
	assert_int_equal(strncmp(buf, "SIP/2.0 200 ", 12), 0);
	assert_string_equal(sip_edge_ops.interface(w->edge, w->last.iface)->sent_by,
			    addr_print(&udp, buf)); /* its face */
	close(fd);
	/* A plan that cannot be carried out changes nothing. */
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, &at.sa, addr_len(&at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	v[0] = (struct sip_listen_spec){ .proto = SIP_TCP, .at = at };
	assert_int_equal(apply(w, v, 1, err, sizeof(err)), -EADDRINUSE);
	assert_non_null(strstr(err, "another program has this port"));
	(void)listens(w, "udp");
	close(fd);
}

static void addresses_of_listeners_are_ours(void **state)
{
	struct world *w = *state;
	char err[256];
	struct addr at = listens(w, "udp");

	assert_true(sip_edge_ops.is_us(w->edge, TEXT("127.0.0.1"), addr_port(&at)));
	assert_false(sip_edge_ops.is_us(w->edge, TEXT("127.0.0.2"), addr_port(&at)));
	assert_false(sip_edge_ops.is_us(w->edge, TEXT("127.0.0.1"), 1));
	assert_false(sip_edge_ops.is_us(w->edge, TEXT("one.test"), 0));
	/* Other ways to write what leads there. */
	assert_true(sip_edge_ops.is_us(w->edge, TEXT("::ffff:127.0.0.1"), addr_port(&at)));
	assert_true(sip_edge_ops.is_us(w->edge, TEXT("0.0.0.0"), addr_port(&at)));
	/* A wildcard listener hears what the machine sends to a group, all-hosts say, or to a broadcast address. */
	assert_false(sip_edge_ops.is_us(w->edge, TEXT("224.0.0.1"), addr_port(&at)));
	const struct sip_listen_spec all = { .proto = SIP_UDP,
					     .at = addr_v4(INADDR_ANY, addr_port(&at)) };
	assert_int_equal(apply(w, &all, 1, err, sizeof(err)), 0);
	assert_true(sip_edge_ops.is_us(w->edge, TEXT("224.0.0.1"), addr_port(&at)));
	assert_true(sip_edge_ops.is_us(w->edge, TEXT("255.255.255.255"), addr_port(&at)));
	assert_false(sip_edge_ops.is_us(w->edge, TEXT("224.0.0.1"), 1));
	assert_false(sip_edge_ops.is_us(w->edge, TEXT("192.0.2.77"), addr_port(&at)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_datagram_is_answered_where_it_came_from, setup,
						teardown),
		cmocka_unit_test_setup_teardown(stun_and_line_ends_keep_a_mapping_alive, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage_is_dropped_and_bad_requests_are_answered,
						setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_not_there_is_told_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(what_waits_for_a_connection_can_be_taken_back,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_is_cut_into_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_framed_ends_the_connection, setup,
						teardown),
		cmocka_unit_test_setup_teardown(half_a_message_has_a_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(a_connection_serves_only_the_name_that_it_proved,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_sip_uri_in_a_certificate_outweighs_its_dns_names,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_reload_keeps_connections_and_replaces_listeners,
						setup, teardown),
		cmocka_unit_test_setup_teardown(addresses_of_listeners_are_ours, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
