/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake edge, the fake policy, and words for tests; see sip_world.h.
 */
#include "tests/scenario/sip_world.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- the edge ---- */

static const struct sip_interface interfaces[] = {
	{ .id = 1, .proto = SIP_UDP, .sent_by = "192.0.2.100:5060" },
	{ .id = 2, .proto = SIP_TCP, .sent_by = "192.0.2.100:5060" },
	{ .id = 3, .proto = SIP_TLS, .sent_by = "192.0.2.100:5061" },
	{ .id = 4, .proto = SIP_UDP, .sent_by = "10.0.0.100:5060", .lan = true },
	{ .id = 5, .proto = SIP_TLS, .sent_by = "192.0.2.100:5062", .mutual = true, .federation = true },
};

struct sip_hop hop_of(const char *at)
{
	struct sip_hop h = { 0 };
	struct text t = text_of(at), word = text_cut(&t, ':');
	assert_int_equal(sip_proto_parse(word, &h.proto), 0);
	assert_int_equal(addr_parse(t, 5060, &h.remote), 0);
	h.iface = h.proto == SIP_TCP ? 2 : h.proto == SIP_TLS ? 3 : 1;
	if (h.proto == SIP_UDP && strncmp(at, "udp:10.", 7) == 0)
		h.iface = 4;
	if (strncmp(at, "tls:198.51.100.", 15) == 0)
		h.iface = 5;
	if (sip_proto_rows[h.proto].reliable)
		h.conn = addr_port(&h.remote);
	return h;
}

static bool is_to(const struct sip_target *to, const char *at)
{
	struct sip_hop h = hop_of(at);
	return to->hop.proto == h.proto && addr_equal(&to->hop.remote, &h.remote);
}

static const struct sip_interface *edge_interface_for(void *edge, const struct sip_target *to);

static int edge_send(void *edge, const struct sip_target *to, struct text bytes,
		     struct sip_wait *wait, struct sip_hop *used)
{
	struct world *w = edge;
	struct sent *s;
	if (w->dead && is_to(to, w->dead))
		return -ECONNREFUSED;
	if (to->only_flow && to->hop.conn && to->hop.conn == w->dead_conn)
		return -ENOTCONN;
	for (unsigned i = 0; i < ARRAY_LEN(w->connecting); i++)
		if (wait && w->connecting[i] && is_to(to, w->connecting[i])) {
			wait->remote = to->hop.remote;
			wait->held = ++w->held;
			list_append(&w->waits, &wait->node);
			return 0;
		}
	assert_true(w->n_queue < WORLD_QUEUE);
	s = &w->queue[w->n_queue++];
	*s = (struct sent){ .to = *to, .n = bytes.n, .at = w->now };
	/* not malloc: the allocation-failure tests count only what is the core's */
	assert_int_equal(posix_memalign((void **)&s->bytes, 16, bytes.n + 1), 0);
	memcpy(s->bytes, bytes.p, bytes.n);
	s->bytes[bytes.n] = 0;
	if (wait) {
		wait->remote = to->hop.remote;
		list_append(&w->waits, &wait->node);
	}
	if (used) {
		const struct sip_interface *by = edge_interface_for(edge, to);
		*used = to->hop;
		used->iface = to->hop.iface || !by ? to->hop.iface : by->id;
		if (sip_proto_rows[to->hop.proto].reliable && !used->conn) /* it was made for this */
			used->conn = addr_port(&to->hop.remote);
	}
	return 0;
}

static const struct sip_interface *edge_interface_for(void *edge, const struct sip_target *to)
{
	struct world *w = edge;
	char ip[ADDR_STRLEN];
	(void)w;
	addr_print_ip(&to->hop.remote, ip);
	switch (to->hop.proto) {
	case SIP_UDP: return &interfaces[strncmp(ip, "10.", 3) == 0 ? 3 : 0];
	case SIP_TCP: return &interfaces[1];
	case SIP_TLS: return &interfaces[2];
	default: return NULL;
	}
}

static const struct sip_interface *edge_interface(void *edge, uint32_t id)
{
	(void)edge;
	return id >= 1 && id <= ARRAY_LEN(interfaces) ? &interfaces[id - 1] : NULL;
}

static bool edge_is_us(void *edge, struct text host, uint16_t port)
{
	(void)edge;
	if (text_eq(host, TEXT("10.0.0.100")))
		return port == 0 || port == 5060;
	return text_eq(host, TEXT("192.0.2.100")) && (port == 0 || (port >= 5060 && port <= 5062));
}

static bool edge_alive(void *edge, const struct sip_hop *hop)
{
	struct world *w = edge;
	return !w->dead_conn || hop->conn != w->dead_conn;
}

static const struct sip_identity *edge_identity(void *edge, uint64_t conn)
{
	struct world *w = edge;
	(void)conn;
	return w->identity;
}

static int edge_lookup(void *edge, const struct sip_next *next, struct sip_lookup *l)
{
	struct world *w = edge;
	unsigned i = w->n_lookups;
	if (i == WORLD_LOOKUPS)
		return -EBUSY;
	w->n_lookups++;
	w->lookups[i] = l;
	w->asked[i] = *next;
	snprintf(w->asked_host[i], sizeof w->asked_host[i], "%.*s", TEXT_FMT(next->host));
	l->under_way = w;
	return 0;
}

static void edge_lookup_cancel(void *edge, struct sip_lookup *l)
{
	struct world *w = edge;
	for (unsigned i = 0; i < w->n_lookups; i++)
		if (w->lookups[i] == l)
			w->lookups[i] = NULL;
}

static void edge_report(void *edge, const struct sip_target *to, int err)
{
	struct world *w = edge;
	(void)to;
	if (err)
		w->bad_reports++;
	else
		w->reports++;
}

static bool edge_fails(void *edge, const struct sip_target *to)
{
	const struct world *w = edge;
	return w->fails && is_to(to, w->fails);
}

static bool edge_held(void *edge, const struct sip_wait *wait)
{
	(void)edge;
	return wait->held != 0;
}

static bool edge_withdraw(void *edge, struct sip_wait *wait)
{
	if (!edge_held(edge, wait))
		return false;
	wait->held = 0;
	sip_wait_forget(wait);
	return true;
}

static bool edge_is_page(void *edge, const struct sip_hop *hop)
{
	const struct world *w = edge;
	return w->page && hop->conn;
}

static const struct sip_edge_ops ops = {
	.send = edge_send,
	.interface_for = edge_interface_for,
	.interface = edge_interface,
	.is_us = edge_is_us,
	.alive = edge_alive,
	.identity = edge_identity,
	.lookup = edge_lookup,
	.lookup_cancel = edge_lookup_cancel,
	.report = edge_report,
	.fails = edge_fails,
	.held = edge_held,
	.is_page = edge_is_page,
	.withdraw = edge_withdraw,
};

void answer_lookup(struct world *w, unsigned i, bool known)
{
	struct sip_target targets[4];
	unsigned n = 0;
	assert_true(i < w->n_lookups);
	struct sip_lookup *l = w->lookups[i];
	assert_non_null(l);
	w->lookups[i] = NULL;
	for (unsigned k = 0; known && k < WORLD_NAMES && w->names[k].name; k++)
		for (unsigned j = 0;
		     strcmp(w->names[k].name, w->asked_host[i]) == 0 && j < 4 && w->names[k].at[j];
		     j++) {
			targets[n] = (struct sip_target){ .hop = hop_of(w->names[k].at[j]) };
			targets[n].hop.conn = 0;
			targets[n++].hop.iface = 0;
		}
	l->done(l, n ? 0 : -ENOENT, n ? NULL : "no such name", targets, n);
	timers_run(w->timers, w->now);
}

bool fail_sends_to(struct world *w, const char *to)
{
	struct sip_hop h = hop_of(to);
	struct sip_wait *found = NULL;
	list_for_each (it, &w->waits)
		if (!found && addr_equal(&container_of(it, struct sip_wait, node)->remote, &h.remote))
			found = container_of(it, struct sip_wait, node);
	if (!found)
		return false;
	sip_wait_forget(found);
	found->failed(found, ECONNREFUSED, "connection refused");
	timers_run(w->timers, w->now);
	return true;
}

/* ---- the policy ---- */

static enum sip_step hygiene(struct sip_passage *p, void *arg)
{
	struct world *w = arg;
	for (unsigned i = 0; w->strip && i < p->msg->head.n_fields; i++) {
		const struct head_field *f = &p->msg->head.fields[i];
		if (text_ieq(f->name, text_of(w->strip)))
			sip_edit_remove_field(sip_passage_edit(p), f);
	}
	return SIP_GO_ON;
}

static enum sip_step route(struct sip_passage *p, void *arg)
{
	struct world *w = arg;
	if (w->add_path)
		sip_add_path(p);
	if (w->record)
		sip_record_route(p, true);
	if (w->wait_in_hook && !w->kept && !p->scratch[SIP_STAGE_ROUTING]) {
		w->kept = sip_passage_keep(p);
		if (!w->kept) {
			sip_refuse(p, SIP_REFUSE_RESOURCES, NULL);
			return SIP_DECIDED;
		}
		w->kept->scratch[SIP_STAGE_ROUTING] = w;
		return SIP_WAIT;
	}
	if (w->refuse != SIP_ACCEPTED) {
		sip_refuse(p, w->refuse, "because the test says so");
		return SIP_DECIDED;
	}
	if (w->answer_401) {
		static const struct sip_line line = { TEXT("WWW-Authenticate"),
						      TEXT("Digest realm=\"uc.test\", nonce=\"1\"") };
		sip_answer(p, &(struct sip_answer){ .code = 401, .lines = &line, .n_lines = 1 });
		return SIP_DECIDED;
	}
	if (p->in_dialog || p->has_flow || w->n_places == 0 ||
	    !text_eq(p->basics->uri.user, TEXT("bob")))
		return SIP_GO_ON;
	for (unsigned i = 0; i < w->n_places; i++)
		if (sip_forward(p, &w->places[i]) == -ENOMEM) {
			sip_refuse(p, SIP_REFUSE_RESOURCES, NULL);
			return SIP_DECIDED;
		}
	return SIP_DECIDED;
}

static bool on_return(struct sip_return *ret, void *arg)
{
	struct world *w = arg;
	if (w->drop_401 && ret->msg->status == 401)
		ret->replace = 403;
	return true;
}

static struct sip_hook hygiene_hook = { .name = "hygiene", .stage = SIP_STAGE_HYGIENE, .request = hygiene };
static struct sip_hook route_hook = {
	.name = "test", .stage = SIP_STAGE_ROUTING, .request = route, .response = on_return
};
static const struct sip_hook *const hooks[] = { &hygiene_hook, &route_hook };

static bool is_domain(void *edge, struct text host)
{
	(void)edge;
	return text_ieq(host, TEXT("uc.test"));
}

static void on_refused(void *arg, const struct sip_refused *r)
{
	struct world *w = arg;
	w->refused = r->what;
	w->refusals++;
}

static void on_answered(void *arg, enum sip_method method, unsigned code, uint64_t ms)
{
	struct world *w = arg;
	(void)method;
	(void)code;
	w->answered++;
	w->latency = ms;
}

static void on_heard(void *arg, enum sip_method method, uint64_t ms)
{
	struct world *w = arg;
	(void)method;
	w->heard++;
	w->setup = ms;
}

static const struct sip_proxy_watch watch = { on_refused, on_answered, on_heard };

void world_place(struct world *w, const char *uri, const char *next, unsigned q)
{
	w->places[w->n_places++] =
		(struct sip_place){ .uri = text_of(uri), .next = text_of(next), .q = (uint16_t)q };
}

/* ---- life ---- */

static uint64_t now_of(void *edge)
{
	return ((struct world *)edge)->now;
}

void world_init(struct world *w)
{
	memset(w, 0, sizeof *w);
	w->now = 1000000;
	list_init(&w->waits);
	hygiene_hook.arg = route_hook.arg = w;
	w->o = (struct sip_proxy_options){
		.now = now_of,
		.ops = &ops,
		.edge = w,
		.hooks = hooks,
		.n_hooks = ARRAY_LEN(hooks),
		.is_domain = is_domain,
		.seed = { 1, 2 },
		.token_key = { { 3 }, 4 },
		.watch = &watch,
		.watch_arg = w,
	};
}

int world_try_start(struct world *w)
{
	assert_int_equal(sip_headers_init(), 0);
	w->timers = timers_new(w->now);
	assert_non_null(w->timers);
	w->o.timers = w->timers;
	return sip_proxy_new(&w->o, &w->px);
}

void world_start(struct world *w)
{
	assert_int_equal(world_try_start(w), 0);
}

void world_forget(struct world *w)
{
	for (unsigned i = 0; i < w->n_queue; i++)
		free(w->queue[i].bytes);
	w->n_queue = 0;
}

void world_stop(struct world *w)
{
	if (w->px)
		sip_proxy_free(w->px);
	w->px = NULL;
	assert_true(list_empty(&w->waits));
	for (unsigned i = 0; i < w->n_lookups; i++)
		assert_null(w->lookups[i]);
	world_forget(w);
	timers_free(w->timers);
	sip_headers_deinit();
}

void world_wait(struct world *w, uint64_t ms)
{
	uint64_t end = w->now + ms;
	for (;;) {
		uint64_t next = timers_next(w->timers);
		if (next > end)
			break;
		w->now = MAX(w->now, next);
		timers_run(w->timers, w->now);
	}
	w->now = end;
	timers_run(w->timers, w->now);
}

/* ---- speaking ---- */

static const char * or (const char *s, const char *dflt)
{
	return s ? s : dflt;
}

const char *req_text(struct world *w, const struct req *r)
{
	struct sb sb = sb_init(w->text, sizeof w->text);
	const char *method = or (r->method, "INVITE"), *body = or (r->body, "");
	sb_fmt(&sb, "%s %s SIP/2.0\r\n", method, or (r->uri, "sip:bob@uc.test"));
	sb_fmt(&sb, "Via: SIP/2.0/%s %s;branch=%s\r\n", or (r->proto, "UDP"),
	       or (r->via_host, "192.0.2.1:5060"), or (r->branch, "z9hG4bK-1"));
	if (r->max_forwards != -2)
		sb_fmt(&sb, "Max-Forwards: %d\r\n",
		       r->max_forwards == -1 ? 0
		       : r->max_forwards     ? r->max_forwards
					     : 70);
	sb_fmt(&sb, "From: <sip:alice@uc.test>;tag=%s\r\n", or (r->from_tag, "a"));
	sb_fmt(&sb, "To: <sip:bob@uc.test>%s%s\r\n", r->to_tag ? ";tag=" : "", or (r->to_tag, ""));
	sb_fmt(&sb, "Call-ID: %s\r\nCSeq: %u %s\r\n", or (r->call, "call-1"), r->cseq ? r->cseq : 1,
	       method);
	sb_fmt(&sb, "Contact: <sip:alice@192.0.2.1>\r\n%s", or (r->more, ""));
	sb_fmt(&sb, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
	assert_false(sb.truncated);
	return w->text;
}

void say(struct world *w, const char *at, const char *text)
{
	struct sip_hop hop = hop_of(at);
	size_t n = strlen(text);
	struct sip_msg m;
	char *block;
	assert_int_equal(posix_memalign((void **)&block, 16, n ? n : 1), 0); /* of exactly its size */
	memcpy(block, text, n);
	int r = sip_msg_parse(&m, (struct text){ block, n }, SIP_DATAGRAM, NULL);
	if (r == SIP_OK)
		sip_proxy_events.message(w->px, &m, &hop, w->now);
	else if (r > 0)
		sip_proxy_bad_message(w->px, &m, (enum sip_verdict)r, &hop);
	sip_msg_deinit(&m);
	free(block);
	timers_run(w->timers, w->now);
}

void say_req(struct world *w, const char *at, const struct req *r)
{
	say(w, at, req_text(w, r));
}

void reply(struct world *w, const char *at, const struct sent *request, unsigned code,
	   const char *to_tag, const char *more)
{
	struct sip_msg m;
	char buf[WORLD_TEXT];
	ssize_t n;
	struct sip_line lines[4];
	unsigned n_lines = 0;
	struct text rest = text_of(more);
	assert_int_equal(
		sip_msg_parse(&m, (struct text){ request->bytes, request->n }, SIP_DATAGRAM, NULL),
		SIP_OK);
	while (rest.n > 0 && n_lines < 4) {
		struct text line = text_cut(&rest, '\n'), name = text_cut(&line, ':');
		lines[n_lines++] = (struct sip_line){ name, text_trim(line) };
	}
	const struct sip_response_parts parts = {
		.code = code,
		.reason = TEXT("Whatever"),
		.to_tag = text_of(to_tag),
		.record_routes = code > 100 && code < 300,
		.lines = lines,
		.n_lines = n_lines,
	};
	n = sip_response_write(buf, sizeof buf - 1, &m, &parts);
	assert_true(n > 0);
	buf[n] = 0;
	sip_msg_deinit(&m);
	say(w, at, buf);
}

/* ---- listening ---- */

void sent_free(struct sent *s)
{
	free(s->bytes);
	s->bytes = NULL;
}

bool take(struct world *w, struct sent *ret_s)
{
	if (w->n_queue == 0)
		return false;
	*ret_s = w->queue[0];
	w->n_queue--;
	memmove(w->queue, w->queue + 1, w->n_queue * sizeof *w->queue);
	return true;
}

static struct sent expect(struct world *w, const char *start, const char *to)
{
	struct sent s;
	if (!take(w, &s))
		fail_msg("nothing was sent; expected %s to %s", start, to);
	if (strncmp(s.bytes, start, strlen(start)) != 0 || !is_to(&s.to, to)) {
		char a[ADDR_STRLEN];
		fail_msg("expected %s to %s; to %s went:\n%s", start, to,
			 addr_print(&s.to.hop.remote, a), s.bytes);
	}
	struct sip_msg m; /* whatever goes out can be read */
	struct sip_basics b;
	assert_int_equal(sip_msg_parse(&m, (struct text){ s.bytes, s.n }, SIP_STREAM, NULL), SIP_OK);
	assert_int_equal(sip_basics_read(&m, &b), SIP_OK);
	assert_int_equal(m.raw.n, s.n);
	sip_msg_deinit(&m);
	return s;
}

struct sent expect_request(struct world *w, const char *method, const char *to)
{
	char start[64];
	snprintf(start, sizeof start, "%s ", method);
	return expect(w, start, to);
}

struct sent expect_response(struct world *w, unsigned code, const char *to)
{
	char start[64];
	snprintf(start, sizeof start, "SIP/2.0 %u ", code);
	return expect(w, start, to);
}

void expect_and_free(struct world *w, unsigned code, const char *to)
{
	struct sent s = expect_response(w, code, to);
	sent_free(&s);
}

void sent_routes(const struct sent *s, bool reversed, char *out, size_t cap)
{
	unsigned n = 0;
	struct sb sb = sb_init(out, cap);
	while (sent_value(s, SIP_H_RECORD_ROUTE, n)[0])
		n++;
	for (unsigned i = 0; i < n; i++)
		sb_fmt(&sb, "Route: %s\r\n",
		       sent_value(s, SIP_H_RECORD_ROUTE, reversed ? n - 1 - i : i));
}

void call_up(struct world *w, const char *from, const char *to, char *route, size_t cap)
{
	say_req(w, from, &(struct req){ 0 });
	struct sent s = expect_request(w, "INVITE", to);
	sent_routes(&s, true, route, cap);
	reply(w, to, &s, 200, "b", NULL);
	sent_free(&s);
	expect_and_free(w, 200, from);
}

void expect_nothing(struct world *w)
{
	if (w->n_queue > 0)
		fail_msg("nothing was expected, but %u messages were sent:\n%s", w->n_queue,
			 w->queue[0].bytes);
}

bool sent_has(const struct sent *s, const char *what)
{
	return strstr(s->bytes, what) != NULL;
}

unsigned sent_count(const struct sent *s, const char *what)
{
	unsigned n = 0;
	for (const char *p = s->bytes; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

const char *sent_value(const struct sent *s, enum sip_header id, unsigned nth)
{
	static char buf[1024];
	struct sip_msg m;
	struct text value;
	buf[0] = 0;
	assert_int_equal(sip_msg_parse(&m, (struct text){ s->bytes, s->n }, SIP_DATAGRAM, NULL), SIP_OK);
	struct sip_values it = sip_values(&m, id);
	for (unsigned i = 0; sip_values_next(&it, &value); i++)
		if (i == nth)
			snprintf(buf, sizeof buf, "%.*s", TEXT_FMT(value));
	sip_msg_deinit(&m);
	return buf;
}
