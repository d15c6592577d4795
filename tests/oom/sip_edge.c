/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge of stile-sip and its resolver with every allocation of ours failed once: they are made or not, a plan is
 * whole or nothing, what cannot be served is dropped or refused, a look-up ends with an answer or a reason, and nothing
 * leaks. Real sockets on loopback, so a failed step may also show as silence.
 */
#include "tests/unit/support.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "sip-proxy/edge.h"
#include "sip-proxy/metrics.h"
#include "sip-proxy/resolve.h"
#include "tests/oom/failing.h"
#include "tests/unit/dns_server.h"

static const struct dns_row names[] = {
	{ .name = "naptr.test", .ttl_s = 60, .naptr = "10 10 s SIP+D2U _sip._udp.naptr.test" },
	{ .name = "_sip._udp.naptr.test", .ttl_s = 60, .srv = "10 0 5071 a.test" },
	{ .name = "a.test", .ttl_s = 60, .v4 = "127.0.0.1" },
};
static const char request[] =
	"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKa\r\nMax-Forwards: 70\r\n"
	"From: <sip:a@b>;tag=1\r\nTo: <sip:a>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

struct world {
	struct loop *loop;
	struct metrics *metrics;
	struct sip_edge *edge;
	struct sip_lookup lookup;
	bool done, heard, failed;
	int status;
};

static void on_message(void *core, const struct sip_msg *m, const struct sip_hop *hop, uint64_t now)
{
	(void)m;
	(void)hop;
	(void)now;
	((struct world *)core)->heard = true;
}

static void on_closed(void *core, uint64_t conn, uint64_t now)
{
	(void)core;
	(void)conn;
	(void)now;
}

static const struct sip_edge_events events = { .message = on_message, .closed = on_closed };

static int take(struct world *w, const struct sip_listen_spec *v, size_t n)
{
	const struct sip_edge_config c = { .listen = v,
					   .n_listen = n,
					   .limits = { .connections = 10,
						       .connections_per_source = 10,
						       .queue = 65536,
						       .rate = 1000,
						       .burst = 1000,
						       .message_bytes = 65536,
						       .connect_ms = 1000,
						       .handshake_ms = 1000,
						       .first_ms = 1000,
						       .partial_ms = 1000 } };
	char warning[TLS_ERRLEN], err[512];
	struct sip_edge_plan *p;
	int r = sip_edge_plan(w->edge, &c, warning, err, sizeof(err), &p);

	if (r == 0)
		sip_edge_take(w->edge, p);
	return r;
}

static struct addr listens(const struct world *w, size_t i)
{
	struct addr a = { 0 };
	json_t *rows;

	oom_pause(); /* of the question, not of the tried */
	rows = sip_edge_listeners_json(w->edge);
	(void)addr_parse(
		text_of(json_string_value(json_object_get(json_array_get(rows, i), "address"))), 0, &a);
	json_decref(rows);
	oom_resume();
	return a;
}

/* The message reaches the core, unless the failure hit it. */
static void speak(struct world *w, int type, const struct addr *to)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, &to->sa, addr_len(to)), 0);
	assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
	w->heard = false;
	for (int i = 0; i < 300 && !w->heard && !(i > 5 && oom_hit()); i++)
		support_run_for(w->loop, 5);
	assert_true(w->heard || oom_hit());
	close(fd);
}

static void on_done(struct sip_lookup *l, int status, const char *why, const struct sip_target *t,
		    unsigned n)
{
	struct world *w = container_of(l, struct world, lookup);

	(void)why;
	(void)t;
	(void)n;
	w->done = true;
	w->status = status;
}

static bool can_send(void *arg, enum sip_proto proto, sa_family_t family)
{
	(void)arg;
	return proto == SIP_UDP && family != AF_INET6;
}

static void look_up(struct world *w, struct dns *d)
{
	const struct sip_next next = { .host = TEXT("naptr.test") };
	struct sip_resolver *resolver;
	int r = sip_resolver_new(
		&(struct sip_resolver_options){ .loop = w->loop, .dns = d, .can_send = can_send },
		&resolver);

	if (r < 0) {
		assert_int_equal(r, -ENOMEM);
		return;
	}
	w->lookup.done = on_done;
	w->done = false;
	r = sip_resolver_lookup(resolver, &next, &w->lookup);
	if (r == 0) {
		support_run_until(w->loop, &w->done, 20000);
		assert_true(w->status == 0 || oom_hit());
	} else {
		assert_int_equal(r, -ENOMEM);
	}
	sip_resolver_free(resolver);
}

static void a_name_is_looked_up_or_it_is_said_why_not(void **state)
{
	struct world w = { 0 };
	struct dns_server server;

	(void)state;
	assert_int_equal(loop_new(&w.loop), 0);
	dns_server_start(&server, w.loop, names, ARRAY_LEN(names));
	for (unsigned n = 1; oom_next(&n);) {
		const struct dns_options o = { .servers = server.servers, .timeout_ms = 50, .tries = 1 };
		struct dns *d;
		int r = dns_new(w.loop, &o, &d);

		if (r < 0) {
			assert_int_equal(r, -ENOMEM);
			continue;
		}
		look_up(&w, d);
		dns_free(d);
	}
	dns_server_stop(&server);
	loop_free(w.loop);
}

static void on_failed(struct sip_wait *wait, int err, const char *why)
{
	(void)wait;
	(void)err;
	(void)why;
}

/* To ourselves, over a connection that is made for it. */
static void send_out(struct world *w, const struct addr *to)
{
	struct sip_wait wait = { .failed = on_failed };
	struct sip_target t = { .hop = { .proto = SIP_TCP, .remote = *to } };
	int r = sip_edge_ops.send(w->edge, &t, (struct text){ request, sizeof(request) - 1 }, &wait,
				  NULL);

	assert_true(r == 0 || oom_hit());
	w->heard = false;
	for (int i = 0; r == 0 && i < 300 && !w->heard && !(i > 5 && oom_hit()); i++)
		support_run_for(w->loop, 5);
	assert_true(w->heard || oom_hit());
	sip_wait_forget(&wait);
	sip_edge_ops.report(w->edge, &t, ETIMEDOUT);
}

static void a_round(struct world *w)
{
	const struct addr any = addr_v4(INADDR_LOOPBACK, 0);
	const struct sip_listen_spec v[] = { { .proto = SIP_UDP, .at = any },
					     { .proto = SIP_TCP, .at = any } };
	struct addr udp, tcp;
	int r = sip_edge_new(
		&(struct sip_edge_options){
			.loop = w->loop, .metrics = w->metrics, .events = &events, .core = w },
		&w->edge);

	if (r < 0) {
		assert_int_equal(r, -ENOMEM);
		return;
	}
	r = take(w, v, 2);
	assert_true(r == 0 || oom_hit());
	if (r == 0) {
		udp = listens(w, 0);
		tcp = listens(w, 1);
		speak(w, SOCK_DGRAM, &udp);
		speak(w, SOCK_STREAM, &tcp);
		send_out(w, &tcp);
		r = take(w, v, 1); /* TCP goes */
		assert_true(r == 0 || oom_hit());
	}
	w->edge = sip_edge_free(w->edge);
}

static void the_edge_serves_or_says_why_not(void **state)
{
	struct world w = { 0 };

	(void)state;
	assert_int_equal(sip_headers_init(), 0);
	assert_int_equal(loop_new(&w.loop), 0);
	assert_int_equal(metrics_new(sip_metric_rows, SIP_METRICS, 1, &w.metrics), 0);
	for (unsigned n = 1; oom_next(&n);)
		a_round(&w);
	metrics_free(w.metrics);
	loop_free(w.loop);
	sip_headers_deinit();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_looked_up_or_it_is_said_why_not),
		cmocka_unit_test(the_edge_serves_or_says_why_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
