/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge's life, the operations that the core calls, and what every message passes on its way in
 * and out: admission, counters, the tap, the answer to what is not well-formed. See edge.h. It
 * owns no protocol beyond the first bytes of a packet: what a message means is the business of the
 * core, which it is given to whole.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "sip-proxy/edge_priv.h"
#include "sip-proxy/log_msgs.h"
#include "sip-proxy/write.h"

/* ---- lines and counters ---- */

bool sip_edge_may_log(struct sip_edge *e, enum sip_edge_line line, uint64_t *ret_suppressed)
{
	return log_gate_pass(&e->gates[line], loop_now(e->loop), ret_suppressed);
}

static const char *const drop_texts[SIP_DROPS] = {
	[SIP_DROP_GARBAGE] = "it is neither SIP nor STUN",
	[SIP_DROP_DENIED] = "the source is not allowed (sip.sources)",
	[SIP_DROP_BANNED] = "the source is banned for a while",
	[SIP_DROP_RATE] = "the source sends more than sip.limits.rate",
	[SIP_DROP_QUEUE] = "the peer does not read, and its queue is full (sip.limits.queue)",
	[SIP_DROP_CONNECTIONS] = "too many connections (sip.limits.connections, connections_per_source)",
	[SIP_DROP_DESCRIPTORS] = "no descriptors are left",
	[SIP_DROP_MEMORY] = "no memory is left, or too many sources speak at once",
	[SIP_DROP_SLOW] = "a message did not come in time",
	[SIP_DROP_DRAINING] = "the service is about to stop",
};

void sip_edge_dropped(struct sip_edge *e, const struct addr *from, enum sip_proto proto,
		      enum sip_drop why)
{
	uint64_t suppressed;

	sip_count(e, SIP_M_DROPS, why, 1);
	if (log_enabled(MSG_SIP_DROPPED.level) && sip_edge_may_log(e, SIP_LINE_DROP, &suppressed))
		log_emit(&MSG_SIP_DROPPED, LF_ADDR("peer", from),
			 LF_STR("transport", sip_proto_rows[proto].name),
			 LF_STR("why", drop_texts[why]), LF_U64("suppressed", suppressed));
}

static void saw(struct sip_edge *e, const struct sip_hop *hop, bool out, struct text bytes)
{
	if (e->tap.saw)
		e->tap.saw(e->tap.arg, hop, out, bytes);
}

/* "SIP/2.0 180 …" → 180; 0: a request. */
static unsigned status_of(struct text t)
{
	if (t.n < 12 || memcmp(t.p, "SIP/2.0 ", 8) != 0 || t.p[8] < '1' || t.p[8] > '6')
		return 0;
	return (unsigned)(t.p[8] - '0') * 100;
}

void sip_edge_sent(struct sip_edge *e, const struct sip_hop *hop, struct text bytes)
{
	unsigned status = status_of(bytes);

	sip_count(e, SIP_M_BYTES_OUT, hop->proto, (int64_t)bytes.n);
	if (status) {
		sip_count(e, SIP_M_RESPONSES_OUT, status / 100 - 1, 1);
	} else {
		ptrdiff_t end = text_find((struct text){ bytes.p, MIN(bytes.n, (size_t)33) }, ' ');
		sip_count(e, SIP_M_REQUESTS_OUT,
			  sip_method_of((struct text){ bytes.p, (size_t)MAX(end, 0) }), 1);
	}
	saw(e, hop, true, bytes);
}

/* ---- in ---- */

/* Requests begin with a token, responses with the version: all else is dropped at the price of a look at eight bytes,
 * and is not charged to the source, for it may be forged to silence somebody. */
static bool looks_like_sip(struct text t)
{
	for (size_t i = 0; i < 8; i++) {
		char c = i < t.n ? t.p[i] : 0;
		bool token = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
			     (c >= '0' && c <= '9') || (c && strchr("-.!%*_+`'~", c));
		if (c == ' ' || c == '/')
			return i > 0;
		if (!token && !(i == 0 && (c == '\r' || c == '\n')))
			return false;
		if (i == 0 && (c == '\r' || c == '\n'))
			return true;
	}
	return true;
}

bool sip_edge_admit(struct sip_edge *e, const struct sip_hop *hop, struct text bytes)
{
	enum sip_drop d = SIP_DROP_GARBAGE;

	if (looks_like_sip(bytes))
		d = sip_sources_message(e->sources, &hop->remote, loop_now(e->loop));
	if (d == SIP_DROPS)
		return true;
	sip_edge_dropped(e, &hop->remote, hop->proto, d);
	return false;
}

void sip_edge_message(struct sip_edge *e, const struct sip_msg *m, const struct sip_hop *hop)
{
	sip_count(e, SIP_M_BYTES_IN, hop->proto, (int64_t)m->raw.n);
	if (m->is_request)
		sip_count(e, SIP_M_REQUESTS_IN, m->method, 1);
	else
		sip_count(e, SIP_M_RESPONSES_IN, MIN(m->status / 100u, 6u) - 1, 1);
	saw(e, hop, false, m->raw);
	if (e->events)
		e->events->message(e->core, m, hop, loop_now(e->loop));
}

/* 400 and the like to a bad request, with what could be read of it; never to an ACK. */
static size_t write_answer(struct sip_edge *e, const struct sip_msg *m, const struct sip_hop *hop,
			   const struct sip_verdict_row *row)
{
	struct sip_response_parts parts = { .code = row->code,
					    .reason = text_of(row->reason),
					    .to_tag = TEXT("bad") };
	struct text top = { 0 };
	struct sip_values vias = sip_values(m, SIP_H_VIA);
	struct sip_via v;
	char filled[512];
	ptrdiff_t n;
	ssize_t r;

	if (!m->is_request || m->method == SIP_ACK || !row->code)
		return 0;
	if (!sip_values_next(&vias, &top) || sip_via_parse(top, &v) < 0)
		return 0; /* nowhere to answer to */
	n = sip_via_fill(&v, &hop->remote, filled, sizeof(filled));
	if (n > 0)
		parts.top_via = (struct text){ filled, (size_t)n };
	r = sip_response_write(e->scratch, sizeof(e->scratch), m, &parts);
	return r > 0 ? (size_t)r : 0;
}

size_t sip_edge_bad(struct sip_edge *e, const struct sip_msg *m, const struct sip_hop *hop,
		    enum sip_verdict why)
{
	const struct sip_verdict_row *row = sip_verdict_row(why);
	uint64_t suppressed;

	sip_count(e, SIP_M_BAD, why, 1);
	if (sip_edge_may_log(e, SIP_LINE_BAD, &suppressed))
		log_emit(&MSG_SIP_BAD_MESSAGE, LF_ADDR("peer", &hop->remote),
			 LF_STR("transport", sip_proto_rows[hop->proto].name), LF_STR("why", row->text),
			 LF_U64("answer", row->code), LF_U64("suppressed", suppressed));
	return write_answer(e, m, hop, row);
}

/* ---- operations ---- */

static int edge_send(void *edge, const struct sip_target *to, struct text bytes, struct sip_wait *w,
		     struct sip_hop *ret_used)
{
	struct sip_edge *e = edge;
	const struct sip_transport *t = to->hop.proto < SIP_PROTOS ? sip_transports[to->hop.proto]
								   : NULL;
	struct sip_send s = { .to = to, .bytes = bytes, .wait = w, .ret_used = ret_used };
	int r = -ENETUNREACH;

	if (t) {
		s.face = sip_face_for(e, to);
		/* A connection that is there needs no listener. */
		if (s.face || to->hop.conn || (e->client && sip_proto_rows[t->proto].reliable))
			r = t->send(e, &s);
	}
	if (r < 0)
		sip_count(e, SIP_M_SEND_FAILURES, MIN(to->hop.proto, SIP_PROTOS - 1), 1);
	return r;
}

static const struct sip_interface *edge_interface_for(void *edge, const struct sip_target *to)
{
	const struct sip_face *f = sip_face_for(edge, to);

	return f ? &f->pub : NULL;
}

static const struct sip_interface *edge_interface(void *edge, uint32_t id)
{
	const struct sip_face *f = sip_face_by_id(edge, id);

	return f ? &f->pub : NULL;
}

static bool edge_is_us(void *edge, struct text host, uint16_t port)
{
	return sip_listeners_are(edge, host, port);
}

static bool edge_alive(void *edge, const struct sip_hop *hop)
{
	struct sip_edge *e = edge;
	const struct sip_face *f;

	if (sip_proto_rows[hop->proto].reliable)
		return hop->conn && sip_conn_alive(e, hop->conn);
	f = sip_face_by_id(e, hop->iface);
	return f && !f->listener->removed;
}

static const struct sip_identity *edge_identity(void *edge, uint64_t conn)
{
	return sip_conn_identity(edge, conn);
}

static int edge_lookup(void *edge, const struct sip_next *next, struct sip_lookup *l)
{
	struct sip_edge *e = edge;

	return sip_resolver_lookup(e->resolver, next, l);
}

static void edge_lookup_cancel(void *edge, struct sip_lookup *l)
{
	(void)edge;
	sip_resolver_cancel(l);
}

static void edge_report(void *edge, const struct sip_target *to, int err)
{
	struct sip_edge *e = edge;
	const char *proto = sip_proto_rows[to->hop.proto].name;
	uint64_t suppressed;

	if (!sip_resolver_report(e->resolver, to, err, loop_now(e->loop)) ||
	    !sip_edge_may_log(e, SIP_LINE_PLACE, &suppressed))
		return;
	if (err)
		log_emit(&MSG_SIP_PLACE_FAILS, LF_ADDR("address", &to->hop.remote),
			 LF_STR("transport", proto), LF_TEXT("name", to->name),
			 LF_ERRNO("error", err), LF_U64("suppressed", suppressed));
	else
		log_emit(&MSG_SIP_PLACE_WELL, LF_ADDR("address", &to->hop.remote),
			 LF_STR("transport", proto), LF_TEXT("name", to->name),
			 LF_U64("suppressed", suppressed));
}

static bool edge_fails(void *edge, const struct sip_target *to)
{
	const struct sip_edge *e = edge;

	return sip_resolver_fails(e->resolver, to, loop_now(e->loop));
}

static bool edge_held(void *edge, const struct sip_wait *w)
{
	return sip_conn_held(edge, w);
}

static bool edge_withdraw(void *edge, struct sip_wait *w)
{
	return sip_conn_withdraw(edge, w);
}

static bool edge_is_page(void *edge, const struct sip_hop *hop)
{
	return sip_conn_is_page(edge, hop);
}

const struct sip_edge_ops sip_edge_ops = {
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

void sip_edge_ban(struct sip_edge *e, const struct addr *source, uint64_t ms)
{
	sip_sources_ban(e->sources, source, loop_now(e->loop) + ms);
	sip_count(e, SIP_M_BANNED, 0, 1);
	log_emit(&MSG_SIP_BANNED, LF_ADDR("source", source), LF_STR("why", "wrong credentials"),
		 LF_U64("ms", ms));
}

void sip_edge_set_public(struct sip_edge *e, const struct sip_edge_public *p)
{
	e->public = p ? *p : (struct sip_edge_public){ 0 };
}

void sip_edge_set_tap(struct sip_edge *e, const struct sip_edge_tap *tap)
{
	e->tap = tap ? *tap : (struct sip_edge_tap){ 0 };
}

void sip_edge_set_core(struct sip_edge *e, const struct sip_edge_events *events, void *core)
{
	e->events = events;
	e->core = core;
}

/* ---- life ---- */

/* Which transports a look-up may choose: those that a listener serves. */
static bool can_send(void *arg, enum sip_proto proto, sa_family_t family)
{
	const struct sip_edge *e = arg;

	if (e->client && sip_transports[proto])
		return true;
	list_for_each (it, &e->listeners) {
		const struct sip_listener *l = list_entry(it, struct sip_listener, node);
		if (!l->removed && l->transport->proto == proto &&
		    (family == AF_UNSPEC || addr_family(&l->at) == family))
			return true;
	}
	return false;
}

static bool may_be_partner(void *arg, const struct addr *at)
{
	const struct sip_edge *e = arg;
	struct addr real = addr_canonical(at);

	for (size_t i = 0; i < e->n_partners; i++)
		if (prefix_contains(&e->partners[i], &real))
			return true;
	return addr_classify(&real) == ADDR_GLOBAL;
}

int sip_edge_set_partners(struct sip_edge *e, const struct prefix *v, size_t n)
{
	struct prefix *fresh = n ? malloc(n * sizeof(*v)) : NULL;

	if (n && !fresh)
		return -ENOMEM;
	if (n)
		memcpy(fresh, v, n * sizeof(*v));
	free(e->partners);
	e->partners = fresh;
	e->n_partners = n;
	return 0;
}

static void looked_up(void *arg, bool found)
{
	sip_count(arg, SIP_M_LOOKUPS, found ? SIP_LOOKUP_FOUND : SIP_LOOKUP_FAILED, 1);
}

int sip_edge_new(const struct sip_edge_options *o, struct sip_edge **ret_e)
{
	struct sip_edge *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return -ENOMEM;
	*e = (struct sip_edge){ .loop = o->loop,
				.metrics = o->metrics,
				.events = o->events,
				.core = o->core,
				.client = o->client,
				.route_fd = { -1, -1 },
				.seed = hash_seed_random() };
	list_init(&e->listeners);
	list_init(&e->conns);
	htable_init(&e->by_id);
	htable_init(&e->by_peer);
	for (unsigned i = 0; i < SIP_WAIT_BUCKETS; i++)
		list_init(&e->udp_waits[i]);
	for (unsigned i = 0; i < SIP_EDGE_LINES; i++)
		e->gates[i].lines = SIP_GATE_LINES;
	e->spare_fd = acceptor_spare();
	e->sources = sip_sources_new();
	r = e->sources ? dgram_io_new(o->loop, NULL, &e->dgram) : -ENOMEM;
	if (r == 0)
		r = dns_new(o->loop,
			    o->dns_servers ? &(struct dns_options){ .servers = o->dns_servers } : NULL,
			    &e->dns);
	if (r == 0)
		r = sip_resolver_new(&(struct sip_resolver_options){ .loop = o->loop,
								     .dns = e->dns,
								     .can_send = can_send,
								     .may_be_partner = may_be_partner,
								     .looked_up = looked_up,
								     .arg = e },
				     &e->resolver);
	if (r < 0) {
		sip_edge_free(e);
		return r;
	}
	*ret_e = e;
	return 0;
}

struct sip_edge *sip_edge_free(struct sip_edge *e)
{
	if (!e)
		return NULL;
	e->events = NULL;
	sip_conns_free(e);
	sip_listeners_free(e);
	sip_resolver_free(e->resolver);
	dns_free(e->dns);
	for (unsigned i = 0; i < SIP_WAIT_BUCKETS; i++)
		list_for_each_safe (it, &e->udp_waits[i])
			list_unlink(it);
	dgram_io_free(e->dgram);
	sip_sources_free(e->sources);
	free(e->partners);
	htable_deinit(&e->by_id);
	htable_deinit(&e->by_peer);
	for (int i = 0; i < 2; i++)
		if (e->route_fd[i] >= 0)
			close(e->route_fd[i]);
	if (e->spare_fd >= 0)
		close(e->spare_fd);
	free(e);
	return NULL;
}

void sip_edge_set_owner(struct sip_edge *e, void *owner)
{
	e->owner = owner;
}

void *sip_edge_owner(const struct sip_edge *e)
{
	return e->owner;
}

struct loop *sip_edge_loop(const struct sip_edge *e)
{
	return e->loop;
}

json_t *sip_edge_health_json(const struct sip_edge *e)
{
	return sip_resolver_health_json(e->resolver, loop_now(e->loop));
}

json_t *sip_edge_flows_json(const struct sip_edge *e, uint64_t cursor, unsigned limit)
{
	return sip_conns_json(e, cursor, limit);
}

bool sip_edge_kick(struct sip_edge *e, uint64_t conn)
{
	return sip_conn_kick(e, conn);
}

json_t *sip_edge_status_json(const struct sip_edge *e)
{
	return json_pack("{s:i, s:i, s:o, s:b}", "connections", (int)e->n_conns, "sources",
			 (int)sip_sources_count(e->sources), "listeners",
			 sip_edge_listeners_json(e), "draining", e->draining);
}
