/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile share and stile get have in common: a verb of the agent that lasts as long as the tool does, watched from a thread of its
 * own; and the HTTP client of stile get.
 *
 * Nothing of it is used by other commands.
 */
#pragma once
#include <pthread.h>
#include "cli/tunnel.h"
#include "share/code.h"
#include "share/records.h"

/* ---- a verb that is under way (share_agent.c) ---- */

struct agent_watch {
	const char *verb;
	json_t *args; /* owned */
	char socket[200];
	void (*news)(struct agent_watch *w); /* in the thread; may be NULL */
	void *arg;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t changed;
	json_t *last; /* progress; NULL: none yet */
	unsigned seq;
	bool over; /* the verb has ended for good */
	bool there; /* the agent is being talked to */
	char error[600]; /* why it is over, or not there */
};
/* socket NULL: the agent's of this command line. Begins, and begins again after the agent was restarted. 0 or -errno. */
int agent_watch_start(struct agent_watch *w, struct cli *cli, const char *socket, const char *verb, json_t *args);
/* Another word of what is asked, from when it is asked again. value is taken. */
void agent_watch_set(struct agent_watch *w, const char *key, json_t *value);
/* A copy of the last news, or NULL; waits up to ms for some that are newer than *seq. */
json_t *agent_watch_next(struct agent_watch *w, unsigned *seq, int ms);

/* ---- HTTP (share_http.c) ---- */

struct share_http { /* one connection, used again and again */
	int fd; /* -1: none */
	struct addr at;
	uint64_t id; /* of the share */
	uint8_t token[SHARE_TOKEN], receiver[16];
	unsigned status;
	uint64_t length, left; /* of the body; left: not read yet */
	uint64_t upload_offset;
	uint64_t range_first, range_total; /* of a 206 */
	char error_code[32], error_text[256];
	char head[16384];
	size_t head_n, body_at; /* what was read behind the head waits from body_at to head_n */
	int timeout_ms;
	bool (*patient)(void *arg); /* asked each second of waiting; false: no more */
	void *arg;
};
struct share_ask {
	const char *method, *path; /* behind /s/ID/ */
	const char *fields;	   /* more of them, each with its CRLF; or NULL */
	const void *body;
	size_t body_n; /* with a body: Content-Length */
	uint64_t rest; /* of the body, which share_http_send() brings */
	bool has_body;
};
/* The head of the answer: 0, or -errno (the connection is closed then). */
int share_http_ask(struct share_http *h, const struct share_ask *a);
int share_http_begin(struct share_http *h, const struct share_ask *a); /* head and body; share_http_send(), then share_http_answer() */
int share_http_send(struct share_http *h, const void *p, size_t n);
int share_http_answer(struct share_http *h);
/* Of the body: how many bytes, 0 at its end, -errno. */
ssize_t share_http_read(struct share_http *h, void *p, size_t n);
/* All of it, at most max bytes; malloc'd. */
int share_http_whole(struct share_http *h, size_t max, char **ret_p, size_t *ret_n);
void share_http_close(struct share_http *h);

/* ---- the link as a SIP MESSAGE (share_sip.c) ---- */

/* In a thread: whoever is called may take his time, and transfers go on meanwhile. said() is called in the loop. */
struct share_sip_aside {
	struct cli *cli;
	struct loop *loop;
	const char *to;
	void (*said)(const char *event, const char *line, void *arg);
	void *arg;
};
void share_sip_send_aside(const struct share_sip_aside *o, const char *text);

/* ---- what is shown ---- */
void share_qr_print(FILE *f, const char *text); /* share_qr.c */
struct share_bar { /* a line that is written again and again on a terminal */
	bool tty;
	uint64_t shown_ms, first_ms, first_at;
};
void share_bar_show(struct share_bar *b, const char *what, uint64_t at, uint64_t size, const char *note, bool now);
void share_bar_end(struct share_bar *b);
