/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile test sip URI: is there a SIP server, and where does it stop? The steps of RFC 3263 as the proxy would take them:
 * the names, then an OPTIONS to each place and by each transport that leads there, over the proxy's own transports. Each
 * step is a line with its outcome and, if it failed, the reason: no such name, no connection, a certificate for
 * somebody else, no answer. No service is needed. Exit 1 if nothing answered.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "cli/sip.h"
#include "common/bytes.h"
#include "sip-proxy/edge.h"
#include "sip-proxy/metrics.h"
#include "sip-proxy/write.h"

enum { PLACES = 24, STEP_MS = 5000, AGAIN_MS = 500 };

struct attempt {
	struct sip_wait wait;
	struct sip_target target;
	struct test *test;
	bool sent, over;
	unsigned status;
	uint64_t began, took;
	char said[256]; /* the answer's reason and who it is from, or why there is none */
};

struct test {
	struct cli *cli;
	struct loop *loop;
	struct metrics *metrics;
	struct sip_edge *edge;
	struct sip_uri uri;
	struct sip_lookup lookup;
	struct timer timer;
	bool done, timed_out;
	int status;
	char why[512], call_id[40];
	struct attempt v[PLACES];
	unsigned n, at;
	json_t *report;
	unsigned good, bad;
};

/* ---- waiting ---- */

static void on_timer(struct timer *t, uint64_t now)
{
	struct test *x = container_of(t, struct test, timer);

	(void)now;
	x->timed_out = true;
	loop_stop(x->loop);
}

/* Until somebody calls loop_stop(). False: nobody did in time. */
static bool wait_for(struct test *x, uint64_t ms)
{
	x->timed_out = false;
	loop_timer_set(x->loop, &x->timer, ms);
	(void)loop_run(x->loop);
	timer_stop(&x->timer);
	return !x->timed_out;
}

/* ---- where ---- */

static void add(struct test *x, const struct sip_target *t)
{
	for (unsigned i = 0; i < x->n; i++)
		if (x->v[i].target.hop.proto == t->hop.proto &&
		    addr_equal(&x->v[i].target.hop.remote, &t->hop.remote))
			return;
	if (x->n == PLACES)
		return;
	x->v[x->n] = (struct attempt){ .test = x, .target = *t };
	x->v[x->n++].target.name = x->uri.maddr.p ? x->uri.maddr : x->uri.host;
}

static void on_places(struct sip_lookup *l, int status, const char *why, const struct sip_target *t,
		      unsigned n)
{
	struct test *x = container_of(l, struct test, lookup);

	x->status = status;
	if (!x->why[0]) /* the first look-up is the proxy's own */
		snprintf(x->why, sizeof x->why, "%s", why);
	for (unsigned i = 0; i < n; i++)
		add(x, &t[i]);
	x->done = true;
	loop_stop(x->loop);
}

static bool wanted(const struct test *x, enum sip_proto p)
{
	const char *only = cli_option(x->cli, "transport");

	return !only || strcmp(only, sip_proto_rows[p].name) == 0;
}

static void report(struct test *x, bool good, const char *what, const char *detail)
{
	char clean[1024];

	x->good += good;
	x->bad += !good;
	snprintf(clean, sizeof clean, "%s", detail);
	if (x->report)
		json_array_append_new(x->report, json_pack("{s:b, s:s, s:s}", "good", good, "step",
							   what, "detail", text_as_utf8(clean)));
	else
		print_check(x->cli, good, what, detail);
}

/* As the proxy asks: with the URI's transport, or without one and then by each that we have. */
static void look_up(struct test *x)
{
	struct sip_next next = { .host = x->uri.maddr.p ? x->uri.maddr : x->uri.host,
				 .port = x->uri.port,
				 .sips = x->uri.scheme == SIP_SCHEME_SIPS };
	static const enum sip_proto each[] = { SIP_UDP, SIP_TCP, SIP_TLS };
	bool chosen = x->uri.transport.p && sip_proto_parse(x->uri.transport, &next.proto) == 0;

	for (int i = -1; i < (int)ARRAY_LEN(each); i++) {
		next.has_proto = i >= 0 || chosen;
		if (i >= 0 && (chosen || next.sips || x->uri.port))
			break;
		if (i >= 0)
			next.proto = each[i];
		x->done = false;
		if (sip_edge_ops.lookup(x->edge, &next, &x->lookup) < 0)
			continue;
		if (!wait_for(x, STEP_MS + 2000))
			sip_edge_ops.lookup_cancel(x->edge, &x->lookup);
	}
}

static void show_places(struct test *x)
{
	char line[1024], at[ADDR_STRLEN];
	struct sb b = sb_init(line, sizeof line);
	unsigned n = 0;

	for (unsigned i = 0; i < x->n; i++)
		if (wanted(x, x->v[i].target.hop.proto))
			sb_fmt(&b, "%s%s:%s", n++ ? ", " : "",
			       sip_proto_rows[x->v[i].target.hop.proto].name,
			       addr_print(&x->v[i].target.hop.remote, at));
	report(x, n > 0, "places", n ? line : x->n ? "none has this transport" : x->why);
}

/* ---- an attempt ---- */

static void over(struct attempt *a)
{
	a->over = true;
	a->took = loop_now(a->test->loop) - a->began;
	loop_stop(a->test->loop);
}

static void on_failed(struct sip_wait *w, int err, const char *why)
{
	struct attempt *a = container_of(w, struct attempt, wait);

	(void)err;
	snprintf(a->said, sizeof a->said, "%.250s", why);
	over(a);
}

static void on_message(void *core, const struct sip_msg *m, const struct sip_hop *hop, uint64_t now)
{
	struct test *x = core;
	struct attempt *a = &x->v[x->at];
	struct text who = sip_value(m, SIP_H_SERVER);
	struct sb b;

	(void)hop;
	(void)now;
	if (m->is_request || a->over || m->status < 200 ||
	    !text_eq(sip_value(m, SIP_H_CALL_ID), text_of(x->call_id)))
		return;
	if (!who.p)
		who = sip_value(m, SIP_H_USER_AGENT);
	a->status = m->status;
	b = sb_init(a->said, sizeof a->said);
	sb_fmt(&b, "%u ", m->status);
	sb_text(&b, m->reason);
	if (who.p) {
		sb_str(&b, ", from ");
		sb_text(&b, who);
	}
	over(a);
}

static void on_closed(void *core, uint64_t conn, uint64_t now)
{
	(void)core;
	(void)conn;
	(void)now;
}

static const struct sip_edge_events events = { .message = on_message, .closed = on_closed };

static ssize_t write_options(struct test *x, const struct attempt *a, char *buf, size_t cap)
{
	const struct sip_interface *f = sip_edge_ops.interface_for(x->edge, &a->target);
	char via[400], from[128], to[600];
	uint8_t random[12];
	const struct sip_line lines[] = { { TEXT("User-Agent"), TEXT("stile test sip") },
					  { TEXT("Contact"),
					    TEXT("<sip:stile-test@stile-test.invalid>") },
					  { TEXT("Accept"), TEXT("application/sdp") } };
	char hex[25];

	if (bytes_random(random, sizeof random) < 0)
		return -EIO;
	hex_encode(random, sizeof random, hex);
	snprintf(x->call_id, sizeof x->call_id, "%s", hex);
	snprintf(via, sizeof via, "SIP/2.0/%.*s %s;branch=z9hG4bK%s;rport",
		 TEXT_FMT(sip_proto_rows[a->target.hop.proto].via),
		 f ? f->sent_by : "stile-test.invalid", hex);
	snprintf(from, sizeof from, "<sip:stile-test@stile-test.invalid>;tag=%.8s", hex);
	snprintf(to, sizeof to, "<%.*s>", (int)MIN(x->uri.raw.n, (size_t)500), x->uri.raw.p);
	return sip_request_write(buf, cap,
				 &(struct sip_request_parts){ .method = TEXT("OPTIONS"),
							      .uri = x->uri.raw,
							      .via = text_of(via),
							      .from = text_of(from),
							      .to = text_of(to),
							      .call_id = text_of(x->call_id),
							      .cseq = 1,
							      .max_forwards = 70,
							      .lines = lines,
							      .n_lines = ARRAY_LEN(lines) });
}

/* Over UDP it is sent again until there is an answer, as a client transaction does. */
static void converse(struct test *x, struct attempt *a, struct text bytes)
{
	uint64_t again = AGAIN_MS, left = STEP_MS;
	int r = sip_edge_ops.send(x->edge, &a->target, bytes, &a->wait, NULL);

	while (r == 0 && !a->over && left) {
		uint64_t step = sip_proto_rows[a->target.hop.proto].reliable ? left : MIN(again, left);
		if (wait_for(x, step) || a->over)
			break;
		left -= step;
		again *= 2;
		if (left && !sip_proto_rows[a->target.hop.proto].reliable)
			r = sip_edge_ops.send(x->edge, &a->target, bytes, &a->wait, NULL);
	}
	sip_wait_forget(&a->wait);
	if (r < 0)
		snprintf(a->said, sizeof a->said, "it cannot be sent: %s", strerror(-r));
	else if (!a->over)
		snprintf(a->said, sizeof a->said, "no answer within %d s", STEP_MS / 1000);
}

static void try_place(struct test *x, unsigned i)
{
	struct attempt *a = &x->v[i];
	char buf[4096], what[96], at[ADDR_STRLEN], line[400];
	ssize_t n = write_options(x, a, buf, sizeof buf);

	x->at = i;
	a->wait.failed = on_failed;
	a->began = loop_now(x->loop);
	if (n < 0)
		snprintf(a->said, sizeof a->said, "the request cannot be written");
	else
		converse(x, a, (struct text){ buf, (size_t)n });
	snprintf(what, sizeof what, "%s %s", sip_proto_rows[a->target.hop.proto].name,
		 addr_print(&a->target.hop.remote, at));
	snprintf(line, sizeof line, a->status ? "%s, in %llu ms" : "%s", a->said,
		 (unsigned long long)a->took);
	report(x, a->status != 0, what, line);
}

/* ---- the whole ---- */

static int set_up(struct test *x)
{
	const struct sip_listen_spec v[] = { { .proto = SIP_UDP, .at = addr_v4(0, 0) },
					     { .proto = SIP_UDP, .at = addr_v6((uint8_t[16]){ 0 }, 0) } };
	struct sip_edge_config c = { .listen = v,
				     .n_listen = ARRAY_LEN(v),
				     .ca = cli_option(x->cli, "ca"),
				     .certificate = cli_option(x->cli, "certificate"),
				     .key = cli_option(x->cli, "key"),
				     .limits = { .connections = 64,
						 .connections_per_source = 64,
						 .queue = 1 << 20,
						 .message_bytes = 1 << 20,
						 .connect_ms = STEP_MS,
						 .handshake_ms = STEP_MS } };
	struct sip_edge_plan *p = NULL;
	char warning[TLS_ERRLEN], err[512] = "out of memory";
	int r = loop_new(&x->loop);

	if (r == 0)
		r = metrics_new(sip_metric_rows, SIP_METRICS, 1, &x->metrics);
	if (r == 0)
		r = sip_headers_init();
	if (r == 0)
		r = sip_edge_new(&(struct sip_edge_options){ .loop = x->loop,
							     .metrics = x->metrics,
							     .events = &events,
							     .core = x,
							     .client = true },
				 &x->edge);
	if (r == 0)
		r = sip_edge_plan(x->edge, &c, warning, err, sizeof err, &p);
	if (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) { /* a machine without IPv6 */
		c.n_listen = 1;
		r = sip_edge_plan(x->edge, &c, warning, err, sizeof err, &p);
	}
	if (r < 0)
		return cli_fail(x->cli, "%s", err);
	sip_edge_take(x->edge, p);
	return 0;
}

static void tear_down(struct test *x)
{
	timer_stop(&x->timer);
	sip_edge_free(x->edge);
	metrics_free(x->metrics);
	loop_free(x->loop);
	sip_headers_deinit();
	json_decref(x->report);
}

static int run(struct test *x)
{
	int r = set_up(x);

	if (r)
		return r;
	look_up(x);
	show_places(x);
	x->good = x->bad = 0; /* what counts is who answers */
	for (unsigned i = 0; i < x->n; i++)
		if (wanted(x, x->v[i].target.hop.proto))
			try_place(x, i);
	if (x->report)
		print_json(x->report);
	return x->good ? 0 : EXIT_FAILED;
}

static int run_test_sip(struct cli *cli)
{
	struct test *x = calloc(1, sizeof *x);
	char text[600];
	const char *word = cli->words[0];
	int r;

	if (!x)
		return cli_fail(cli, "out of memory");
	snprintf(text, sizeof text, "%s%.580s",
		 strncmp(word, "sip:", 4) == 0 || strncmp(word, "sips:", 5) == 0 ? "" : "sip:", word);
	if (sip_uri_parse(text_of(text), &x->uri) < 0 || x->uri.scheme == SIP_SCHEME_OTHER ||
	    x->uri.scheme == SIP_SCHEME_TEL) {
		free(x);
		return cli_wrong(cli, "'%s' is no SIP URI, such as sip:example.org or sips:alice@example.org", word);
	}
	x->cli = cli;
	x->timer.fire = on_timer;
	x->lookup.done = on_places;
	x->report = cli_has(cli, "json") ? json_array() : NULL;
	log_set_level(LOG_LVL_ERROR);
	r = run(x);
	tear_down(x);
	free(x);
	return r;
}

static const struct option_row options[] = {
	{ "transport", 0, "udp|tcp|tls", "only by this one" },
	{ "ca", 0, "FILE", "CAs that the server's certificate must come from (default: the system's)" },
	{ "certificate", 0, "FILE", "show this certificate, if it is asked for" },
	{ "key", 0, "FILE", "its key" },
};

static const struct command rows[] = {
	{ "test sip", "URI", "is there a SIP server, and where does it stop",
	  "Looks the name up as a proxy does (NAPTR, SRV, addresses), then sends OPTIONS to each place by each transport: a\n"
	  "line for each, with the answer or with the step that failed. Any final answer is good. Exit 1 if nobody answered.\n\n"
	  "  stile test sip example.org\n"
	  "  stile test sip 'sip:192.0.2.10:5060;transport=tcp'\n"
	  "  stile test sip sips:example.org --ca our-ca.pem",
	  options, ARRAY_LEN(options), 1, 1, run_test_sip, WITHOUT_SERVICE | WITHOUT_CONFIG },
};
const struct command_table sip_test_commands = { rows, ARRAY_LEN(rows) };
