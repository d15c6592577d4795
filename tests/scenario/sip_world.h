/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of the SIP conversations: a proxy core with a fake edge on fake time. What it sends waits in a queue, oldest
 * first, until a test asks for it. Addresses are written "udp:192.0.2.1:5060"; interface 1 is udp:192.0.2.100:5060,
 * 2 tcp and 3 tls there, 4 is udp:10.0.0.100:5060 (lan), 5 is for partners: "tls:" from 198.51.100.0/24 comes in there.
 * Names are known to a table, whose answers come when the test says.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "sip-proxy/proxy.h"

enum { WORLD_QUEUE = 512, WORLD_NAMES = 8, WORLD_LOOKUPS = 64, WORLD_TEXT = 16384 };

struct sent {
	struct sip_target to;
	char *bytes;
	size_t n;
	uint64_t at;
};

struct world {
	uint64_t now;
	struct timers *timers;
	struct sip_proxy *px;
	struct sip_proxy_options o; /* may be changed before world_start() */
	struct sent queue[WORLD_QUEUE];
	unsigned n_queue;
	struct list waits;
	/* where the policy of the tests sends requests for bob@uc.test; none: the default policy */
	struct sip_place places[SIP_PLACES_MAX];
	unsigned n_places;
	bool record;		 /* Record-Route for everything */
	enum sip_refusal refuse; /* the hook refuses */
	bool answer_401, wait_in_hook;
	struct sip_passage *kept;
	const char *strip; /* name of the header that the hook takes out, or NULL */
	bool add_path;
	bool drop_401;	   /* of responses */
	struct {
		const char *name;
		const char *at[4];
	} names[WORLD_NAMES];
	struct sip_lookup *lookups[WORLD_LOOKUPS];
	struct sip_next asked[WORLD_LOOKUPS];
	char asked_host[WORLD_LOOKUPS][64];
	unsigned n_lookups;
	const struct sip_identity *identity; /* of every connection; NULL: none */
	const char *dead;   /* sending there fails at once */
	const char *connecting[2]; /* the connection there is being made, and never will be */
	const char *fails;	   /* counts as failing */
	unsigned held;
	uint64_t dead_conn; /* a flow that is gone */
	bool page;	    /* every connection is a page's in a browser */
	unsigned reports, bad_reports, refusals;
	enum sip_refusal refused;
	unsigned answered;
	uint64_t latency;
	unsigned heard;
	uint64_t setup;
	bool heap_fails; /* of the allocation tests: a lost response is no error */
	char text[WORLD_TEXT];
};

void world_init(struct world *w);
void world_start(struct world *w);
int world_try_start(struct world *w);
void world_stop(struct world *w); /* nothing may be left in the queue unless the test has said so */
void world_forget(struct world *w); /* what is in the queue does not matter */
void world_wait(struct world *w, uint64_t ms);
void world_place(struct world *w, const char *uri, const char *next, unsigned q);
struct sip_hop hop_of(const char *at);

/* A request as a client would write it; NULL and 0: usual values. */
struct req {
	const char *method, *uri, *from_tag, *to_tag, *call, *branch, *more, *body, *via_host, *proto;
	unsigned cseq;
	int max_forwards; /* 0: 70; -1: 0; -2: none */
};
const char *req_text(struct world *w, const struct req *r);
void say(struct world *w, const char *at, const char *text);
void say_req(struct world *w, const char *at, const struct req *r);
/* Answers a request that the proxy sent. */
void reply(struct world *w, const char *at, const struct sent *request, unsigned code,
	   const char *to_tag, const char *more);

bool take(struct world *w, struct sent *ret_s);
/* The oldest must be this request, or this response, to that place; the caller frees it by sent_free(). */
struct sent expect_request(struct world *w, const char *method, const char *to);
struct sent expect_response(struct world *w, unsigned code, const char *to);
void expect_and_free(struct world *w, unsigned code, const char *to);
/* The Route lines that a dialog's requests carry: all Record-Route values, from the callee's or (reversed) the caller's side. */
void sent_routes(const struct sent *s, bool reversed, char *out, size_t cap);
/* The usual INVITE (struct req) and its 200; route: the lines by which what follows goes along it. */
void call_up(struct world *w, const char *from, const char *to, char *route, size_t cap);
void expect_nothing(struct world *w);
void sent_free(struct sent *s);
bool sent_has(const struct sent *s, const char *what);
unsigned sent_count(const struct sent *s, const char *what); /* how often it stands there */
/* The value of the nth header of this name (from 0), into a static buffer; "" if there is none. */
const char *sent_value(const struct sent *s, enum sip_header id, unsigned nth);
void answer_lookup(struct world *w, unsigned i, bool known);
bool fail_sends_to(struct world *w, const char *to); /* later: the oldest struct sip_wait there fails; false: none */
