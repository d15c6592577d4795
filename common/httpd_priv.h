/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the HTTP frame share; nobody else includes it.
 *
 *   httpd.c         the server: libmicrohttpd in our loop, connections, their deadlines
 *   httpd_request.c a request: target, fields, body
 *   httpd_answer.c  its answer
 *   httpd_tls.c     certificates
 */
#pragma once
#include <gnutls/abstract.h>
#include <microhttpd.h>
#include "common/httpd.h"

enum httpd_phase { /* of a connection: what its timer waits for */
	CONN_HEAD,
	CONN_WAIT, /* for its handler */
	CONN_BODY,
	CONN_SEND,
	CONN_IDLE, /* between requests */
};
struct httpd_conn {
	struct list node; /* of the server */
	struct httpd *h;
	struct MHD_Connection *mhd; /* NULL until libmicrohttpd has it */
	struct httpd_tls *tls;
	struct httpd_rq *rq; /* the one under way */
	int fd;		     /* libmicrohttpd's */
	struct addr peer, source;
	struct timer timer;
	struct io gone; /* watched while an answer has nothing to send: libmicrohttpd does not look then */
	enum httpd_phase phase;
	uint64_t moved; /* bytes that the kernel had moved at the last look */
	bool suspended;
	bool cut; /* its end was told to the kernel; the request is not served further */
};

enum httpd_stage { RQ_NEW, RQ_HEAD, RQ_BODY, RQ_END };
enum httpd_answer_kind { ANSWER_NONE, ANSWER_STATIC, ANSWER_TAKEN, ANSWER_STREAM };
struct httpd_answer {
	enum httpd_answer_kind kind;
	unsigned status;
	char *fields;		  /* "name\0value\0name\0value\0" */
	size_t fields_n;
	char *type;
	bool bad; /* a field could not be added */
	struct text body;
	char *taken;
	uint64_t n;
	const struct httpd_source *src;
};
struct httpd_rq {
	struct httpd_conn *conn;
	enum httpd_stage stage;
	char *target; /* as sent */
	struct text method, path, query;
	char method_buf[16];
	bool has_body, expects; /* expects: the client waits for a 100 */
	uint64_t length, got, discarded;
	/* the body's reader */
	void (*whole)(struct httpd_rq *rq, struct text body, void *arg);
	const struct httpd_sink *sink;
	bool go;
	char *body;
	size_t body_n, body_cap, body_max;
	/* the answer */
	struct httpd_answer answer;
	bool queued, starved, woken;
	bool rested; /* a stream had nothing to send at some time since it was looked at last */
	void (*on_gone)(struct httpd_rq *rq, void *arg);
	void *arg;
};
struct httpd {
	struct loop *loop;
	struct MHD_Daemon *mhd;
	struct httpd_limits limits;
	struct httpd_tls *tls;
	bool has_tls;
	const struct httpd_ops *ops;
	void *arg;
	struct io io;	     /* libmicrohttpd's epoll descriptor */
	struct timer again; /* it has more to do */
	struct list conns;
	struct httpd *beside;	     /* whose connections count here, too; NULL: none */
	struct httpd_conn *arriving; /* during MHD_add_connection() */
	struct httpd_counts counts;
	bool draining;
};

/* --- httpd.c --- */
void httpd_refuse(struct httpd *h, enum httpd_refusal why, const struct addr *peer, const char *text);
void httpd_hold(struct httpd_rq *rq);	/* suspends its connection; from libmicrohttpd's callbacks */
void httpd_resume(struct httpd_rq *rq); /* harmless if it is not suspended */
void httpd_phase_set(struct httpd_conn *c, enum httpd_phase p);
void httpd_watch_gone(struct httpd_conn *c, bool on);
void httpd_cut(struct httpd_conn *c); /* its next event is its end */

/* --- httpd_request.c --- */
struct httpd_rq *httpd_rq_new(struct httpd_conn *c, const char *target);
void httpd_rq_free(struct httpd_rq *rq); /* tells on_gone */
enum MHD_Result httpd_on_access(struct httpd_rq *rq, const char *method, const char *upload, size_t *upload_n);

/* --- httpd_answer.c --- */
enum MHD_Result httpd_queue(struct httpd_rq *rq);
void httpd_answer_deinit(struct httpd_answer *a);

/* --- httpd_tls.c --- */
/* A certificate was asked for and none is there: the handshake should not have come to its end. */
bool httpd_tls_missing_client(const struct httpd_conn *c);
int httpd_tls_apply(struct httpd_tls *t, gnutls_session_t session);
