/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SIP proxy core in conversation: the input is a list of events (requests and responses as text, bytes put into
 * well-formed ones, answers to what the proxy sent, lookups, lost connections, time). Whatever happens, what is sent can
 * be parsed, nothing is sent to somebody whom neither the policy nor a recorded route named, and at the end everything
 * that was charged is given back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/bytes.h"
#include "tests/scenario/sip_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum happening { RAW, REQUEST, RESPONSE, LOOKUP, FAIL, TIME, DIALOG, RESUME, EVENTS };
enum { MEMORY = 8 };

static const char *const places[] = { "udp:192.0.2.1:5060", "tcp:192.0.2.1:33000",
				      "udp:192.0.2.21:5060", "tcp:192.0.2.22:5060" };
static struct sent memory[MEMORY]; /* requests that the proxy sent, to be answered */
static unsigned n_memory;

static void look_at(struct world *w)
{
	struct sent s;
	while (take(w, &s)) {
		struct sip_msg m;
		struct sip_basics b;
		int r = sip_msg_parse(&m, (struct text){ s.bytes, s.n }, SIP_STREAM, NULL);
		/* what is wrong with a request comes back in its refusal, byte for byte */
		bool mirrored = !m.is_request && (m.status == 400 || m.status == 416 ||
						  m.status == 505 || m.status == 513);
		if (r != SIP_OK || m.raw.n != s.n || (sip_basics_read(&m, &b) != SIP_OK && !mirrored))
			abort();
		if (m.is_request && (m.method != SIP_CANCEL && m.method != SIP_ACK)) {
			if (b.max_forwards > 254 || sip_value(&m, SIP_H_MAX_BREADTH).n == 0)
				abort();
			sent_free(&memory[n_memory % MEMORY]);
			memory[n_memory++ % MEMORY] = s;
			s.bytes = NULL;
		}
		sip_msg_deinit(&m);
		sent_free(&s);
	}
}

static void text_of_rest(struct rd *r, char *out, size_t cap)
{
	size_t n = MIN(rd_left(r), cap - 1);
	const uint8_t *p = rd_take(r, n);
	if (n > 0)
		memcpy(out, p, n);
	out[n] = 0;
}

static void request(struct world *w, struct rd *r, bool in_dialog)
{
	static const char *const methods[] = { "INVITE",  "ACK",    "CANCEL", "BYE",
					       "MESSAGE", "NOTIFY", "PRACK",  "X" };
	static const char *const uris[] = { NULL, "sip:192.0.2.100", "sip:x@victim.example",
					    "tel:+1", "sip:bob@192.0.2.100;maddr=192.0.2.100;lr" };
	char branch[32], more[2048], route[1100] = "";
	uint8_t method = rd_u8(r), uri = rd_u8(r), id = rd_u8(r), from = rd_u8(r);
	snprintf(branch, sizeof branch, "%s%u", id & 64 ? "old" : "z9hG4bK-", id & 7);
	if (in_dialog && n_memory > 0 && memory[0].bytes)
		snprintf(route, sizeof route, "Route: %.900s\r\n",
			 sent_value(&memory[0], SIP_H_RECORD_ROUTE, 0));
	size_t n = strlen(route);
	memcpy(more, route, n);
	text_of_rest(r, more + n, sizeof more - n);
	for (char *p = more + n; *p; p++) /* lines, not the end of the head */
		if (*p == '\r' || *p == '\n')
			*p = '_';
	if (more[n])
		memmove(more + n + 3, more + n, MIN(strlen(more + n) + 1, sizeof more - n - 8)),
			memcpy(more + n, "X: ", 3);
	more[sizeof more - 4] = 0;
	text_append(more, sizeof more, more[n] ? "\r\n" : "");
	say_req(w, places[from % 4],
		&(struct req){ .method = methods[method % 8],
			       .uri = uris[uri % 5],
			       .branch = branch,
			       .call = id & 8 ? "call-2" : NULL,
			       .to_tag = in_dialog ? "b" : NULL,
			       .cseq = 1 + (id >> 7),
			       .more = more });
}

static void response(struct world *w, struct rd *r)
{
	static const unsigned codes[] = { 100, 180, 183, 200, 302, 401, 407,
					  408, 430, 486, 487, 503, 603 };
	struct sent *s = &memory[rd_u8(r) % MEMORY];
	unsigned code = codes[rd_u8(r) % ARRAY_LEN(codes)];
	if (s->bytes)
		reply(w, places[rd_u8(r) % 4], s, code, rd_u8(r) & 1 ? "b" : "c",
		      code == 401 ? "WWW-Authenticate: Digest realm=\"a\"\n" : NULL);
}

static void happen(struct world *w, enum happening e, struct rd *r)
{
	char text[4096];
	switch (e) {
	case RAW:
		text_of_rest(r, text, sizeof text);
		say(w, places[0], text);
		break;
	case REQUEST: request(w, r, false); break;
	case DIALOG: request(w, r, true); break;
	case RESPONSE: response(w, r); break;
	case LOOKUP:
		for (unsigned i = 0, known = rd_u8(r); i < w->n_lookups; i++)
			if (w->lookups[i])
				answer_lookup(w, i, known & 1);
		break;
	case FAIL: fail_sends_to(w, places[rd_u8(r) % 4]); break;
	case TIME: world_wait(w, rd_u16(r) * UINT64_C(4)); break;
	default:
		if (w->kept) {
			struct sip_passage *p = w->kept;
			w->kept = NULL;
			if (rd_u8(r) & 1)
				sip_forward(p, &w->places[0]);
			sip_passage_resume(p, w->now);
		}
		w->wait_in_hook = !w->kept && (rd_u8(r) & 1);
		break;
	}
	if (w->kept)
		w->wait_in_hook = false;
	look_at(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	struct rd r = rd_init(data, size);
	uint8_t world = rd_u8(&r);
	log_set_level(LOG_LVL_ERROR);
	world_init(&w);
	w.o.overload_control = true;
	w.names[0].name = "b.test";
	w.names[0].at[0] = "udp:192.0.2.21:5060";
	w.names[0].at[1] = "tcp:192.0.2.22:5060";
	world_place(&w, world & 1 ? "sip:bob@b.test" : "sip:bob@192.0.2.21", NULL, 1000);
	if (world & 2)
		world_place(&w, "sip:bob@192.0.2.22;transport=tcp", NULL, world & 4 ? 1000 : 500);
	if (world & 8)
		world_place(&w, NULL, "sip:192.0.2.100", 100);
	w.strip = world & 16 ? "X" : NULL;
	w.o.limits.kept = 5;
	world_start(&w);
	while (rd_left(&r) >= 3) {
		enum happening e = rd_u8(&r) % EVENTS;
		size_t n = rd_u16(&r);
		struct rd event = rd_sub(&r, MIN(n, rd_left(&r)));
		happen(&w, e, &event);
	}
	w.wait_in_hook = false;
	if (w.kept)
		sip_passage_resume(w.kept, w.now);
	unsigned asked = 0;
	do { /* who waited behind somebody asks in his turn */
		for (; asked < w.n_lookups; asked++) {
			if (w.lookups[asked])
				answer_lookup(&w, asked, false);
			world_wait(&w, 10);
			look_at(&w);
		}
		world_wait(&w, 400000);
		look_at(&w);
	} while (asked < w.n_lookups);
	const struct sip_charges *cs = sip_txs_charges(sip_proxy_txs(w.px));
	if (w.n_lookups < WORLD_LOOKUPS && (cs->open || cs->kept || cs->bytes || cs->waiting))
		abort();
	world_stop(&w);
	for (unsigned i = 0; i < MEMORY; i++)
		sent_free(&memory[i]);
	n_memory = 0;
	return 0;
}
