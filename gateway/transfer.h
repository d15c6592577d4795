/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A browser's request, from its head to its end: a file of the pages, or a request to a share, which is passed on to the
 * sender's machine through stile-tunnel, its body as it comes, and the answer the same way back. Nothing is kept: there is one
 * head of each, and a body's bytes go from one socket to the other.
 *
 * What is passed on is named here, field by field (transfer_head.c); the share's own server judges it.
 */
#pragma once
#include "common/httpd.h"
#include "common/log.h"
#include "gateway/config.h"
#include "gateway/guesses.h"
#include "gateway/metrics.h"

enum { GATEWAY_ID = 16, GATEWAY_HEAD_MAX = 8192, GATEWAY_LINE_MAX = 600 };

enum gateway_line { GATEWAY_LINE_REFUSED, GATEWAY_LINE_TUNNEL, GATEWAY_LINE_LISTENER, GATEWAY_LINES };

struct gateway { /* what all transfers share */
	struct loop *loop;
	const struct gateway_config *config;
	struct metrics *metrics;
	struct guesses *guesses;
	struct list transfers;
	unsigned n_transfers;
	uint64_t last_id;
	struct log_gate gates[GATEWAY_LINES];
};

struct transfer_info { /* for people */
	uint64_t id, begun_ms, bytes[GATEWAY_WAYS];
	char share[GATEWAY_ID + 1], method[8], what[24];
	struct addr client;
	bool waiting; /* for the share to begin its answer */
};

/* on_request of the server; arg: struct gateway. */
void gateway_on_request(struct httpd_rq *rq, void *arg);
void gateway_each(struct gateway *g, void (*fn)(const struct transfer_info *t, void *arg), void *arg);
int gateway_kick(struct gateway *g, uint64_t id); /* 0 or -ENOENT */
/* A socket to stile-tunnel's door for gateways, or -errno; -EAGAIN: it is busy. */
int gateway_call_tunnel(const struct gateway *g);

/* ---- transfer_head.c: no I/O ---- */

/* "/s/ID", "/s/ID/…": false, or the id and what follows it; rest.p NULL: not even a slash. */
bool gateway_path(struct text path, struct text *ret_id, struct text *ret_rest);
/* Request line and fields as a share is asked, into out. Without NUL; *ret_n. NULL, or why it cannot be passed on. */
const char *gateway_ask(const struct httpd_rq *rq, char *out, size_t cap, size_t *ret_n);

struct gateway_answer { /* head of a share's answer; texts point into the buffer */
	unsigned status;
	uint64_t length; /* UINT64_MAX: not said */
	size_t head;	 /* bytes of it */
	struct text type;
	struct {
		const char *name;
		struct text value;
	} pass[16]; /* fields for the browser */
	unsigned n_pass;
};
int gateway_heads_init(void); /* once: 0 or -ENOMEM */
void gateway_heads_deinit(void);
/* 0; -EAGAIN: more is needed; -EBADMSG and why. */
int gateway_read_answer(struct text buf, struct gateway_answer *ret_a, const char **ret_why);
