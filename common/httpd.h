/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP/1.1 server in one of our loops: a thin frame over libmicrohttpd (docs/decisions/0023), for stile-console,
 * stile-gateway and `stile share`.
 *
 * It has no listeners. Whoever has an accepted descriptor hands it over (httpd_take()): of an acceptor (&httpd_acceptor
 * has its callbacks), or behind a PROXY header. TLS, with client certificates if wished, is a value that can be replaced
 * while connections live on. All runs in the loop's thread; nothing here blocks.
 *
 * A request comes when its head is complete. Its handler answers at once or later, reads the body whole or in pieces, and
 * streams the answer: whoever has nothing to give or cannot take more is suspended, and woken by its owner. A connection is
 * charged for its time: head, body and answer each have to move on, so that a slow client costs one descriptor for a bounded
 * time. Limits are in one struct. Nothing of a request is trusted: target and fields are given as they came.
 */
#pragma once
#include <sys/types.h>
#include "common/addr.h"
#include "common/loop.h"
#include "common/stream.h"
#include "common/text.h"

struct httpd;
struct httpd_rq; /* a request, from its head until the last byte of its answer has gone, or its client */
struct httpd_tls;

/* ---- TLS (GnuTLS, which libmicrohttpd speaks) ---- */

struct httpd_tls_options {
	const char *cert_file, *key_file; /* PEM, chain in cert_file */
	const char *client_ca_file;	  /* not NULL: clients must show a certificate that one of these has signed */
	const char *client_crl_file;	  /* with it; may be NULL */
};
/* Writes a sentence into err and returns -errno if a file cannot be read or is none of those. */
int httpd_tls_new(const struct httpd_tls_options *o, char *err, size_t err_n, struct httpd_tls **ret_t);
struct httpd_tls *httpd_tls_ref(struct httpd_tls *t);
struct httpd_tls *httpd_tls_unref(struct httpd_tls *t); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(struct httpd_tls, httpd_tls_unref)

/* ---- the server ---- */

enum httpd_refusal { /* each of them is counted, and told to on_refused */
	HTTPD_FULL,	    /* too many connections */
	HTTPD_FULL_OF_ADDR, /* too many of this address */
	HTTPD_NO_MEMORY,
	HTTPD_SLOW_HEAD,    /* TLS handshake or head not complete in time */
	HTTPD_SLOW_BODY,
	HTTPD_SLOW_READER,  /* does not take its answer */
	HTTPD_BIG_HEAD,
	HTTPD_BIG_BODY,
	HTTPD_BAD_CERT, /* the client's certificate */
	HTTPD_REFUSALS
};
extern const char *const httpd_refusal_names[HTTPD_REFUSALS + 1]; /* "slow-head": labels of a metric, and the NULL behind them */

struct httpd_limits { /* 0: what stands behind */
	size_t head;		/* bytes of request line and fields: 16 KiB; answered with 431 */
	unsigned conns;		/* 512 */
	unsigned conns_per_addr; /* 64; of IPv6 its /64; loopback and Unix sockets are not counted */
	uint64_t head_ms;	/* 10 s, from accept or first byte to the end of the head */
	uint64_t idle_ms;	/* 60 s between two requests */
	uint64_t stall_ms;	/* 20 s: in which a body or an answer that is due must move on */
	uint64_t least;		/* by so many bytes: 4096 */
};
struct httpd_counts {
	uint64_t accepted, requests, refused[HTTPD_REFUSALS];
	unsigned conns; /* now */
};
struct httpd_ops {
	/* The head is complete. Ends, now or later, in exactly one httpd_reply…(); may call httpd_body_…() before. */
	void (*on_request)(struct httpd_rq *rq, void *arg);
	/* May be NULL. text: a sentence more, or "". peer may be unset. */
	void (*on_refused)(enum httpd_refusal why, const struct addr *peer, const char *text, void *arg);
};
int httpd_new(struct loop *l, const struct httpd_limits *limits, struct httpd_tls *tls /* referenced; NULL: plain */,
	      const struct httpd_ops *ops, void *arg, struct httpd **ret_h); /* 0 or -ENOMEM */
/* Cuts what is left; on_gone of each request is called. Not from a callback of the server. */
struct httpd *httpd_free(struct httpd *h);
DEFINE_CLEANUP(struct httpd, httpd_free)
/* Takes over an accepted descriptor. peer: whom the connection is charged to; unset for a Unix socket. */
void httpd_take(struct httpd *h, int fd, const struct addr *peer);
extern const struct acceptor_ops httpd_acceptor; /* its arg is the struct httpd */
void httpd_set_tls(struct httpd *h, struct httpd_tls *tls); /* for connections from now on; only of one that began with TLS */
void httpd_set_stall(struct httpd *h, uint64_t stall_ms); /* as in the limits; of a connection from the next time that it is looked at */
/* What conns and conns_per_addr allow, each of two servers of one service counts in both. Either may be freed first. */
void httpd_count_together(struct httpd *a, struct httpd *b);
/* Idle connections are closed, the others after their answer. */
void httpd_drain(struct httpd *h);
const struct httpd_counts *httpd_counts(const struct httpd *h);

/* ---- a request ---- */

struct text httpd_method(const struct httpd_rq *rq);
struct text httpd_path(const struct httpd_rq *rq);  /* as sent: up to '?', not decoded */
struct text httpd_query(const struct httpd_rq *rq); /* behind '?', not decoded */
const char *httpd_field(const struct httpd_rq *rq, const char *name); /* the first; NULL: none */
unsigned httpd_fields(const struct httpd_rq *rq, const char *name);   /* how many */
const struct addr *httpd_peer(const struct httpd_rq *rq);
bool httpd_over_tls(const struct httpd_rq *rq);
/* Of the client's certificate, which the handshake has verified: its subject, and its SHA-256 in hex. False: none. */
bool httpd_client_cert(const struct httpd_rq *rq, char *subject, size_t n, char sha256[static 65]);
/* Percent decoding into a NUL-terminated out of cap bytes; 0, -EINVAL (bad escape, or a NUL in it), -ENOSPC. */
int httpd_decode(struct text t, bool plus_is_blank, char *out, size_t cap);
/* Of "a=1&b=2": the value of name, decoded. -ENOENT; else as httpd_decode(). Names given twice: -EEXIST. */
int httpd_query_value(struct text query, const char *name, char *out, size_t cap);

/* arg is the handler's; on_gone comes once, when the request is over: answered to the end or cut. rq ends there. */
void httpd_watch(struct httpd_rq *rq, void (*on_gone)(struct httpd_rq *rq, void *arg), void *arg);

/* The body, one of these, and only from on_request or before the answer. Nothing called: it is not read until there is an answer. */
bool httpd_has_body(const struct httpd_rq *rq);
uint64_t httpd_body_length(const struct httpd_rq *rq); /* UINT64_MAX: not said (chunked) */
/* All of it, at most max bytes: a longer one is answered with 413 by the frame. Without a body: an empty one, at once. */
void httpd_body_whole(struct httpd_rq *rq, size_t max, void (*fn)(struct httpd_rq *rq, struct text body, void *arg));
struct httpd_sink {
	/* Returns what it took. Less than n: nothing more comes until httpd_body_go(). Not called once there is an answer. */
	size_t (*on_bytes)(struct httpd_rq *rq, const uint8_t *p, size_t n, void *arg);
	void (*on_end)(struct httpd_rq *rq, void *arg); /* all of it was there */
};
void httpd_body_stream(struct httpd_rq *rq, const struct httpd_sink *sink);
void httpd_body_go(struct httpd_rq *rq);

/* ---- the answer ---- */

/* A field of the answer to come. A value with control characters is a mistake of the caller: the answer becomes a 500. */
void httpd_add(struct httpd_rq *rq, const char *name, const char *fmt, ...) _printf_(3, 4);
bool httpd_replied(const struct httpd_rq *rq);
/* type: Content-Type; NULL: none. */
void httpd_reply(struct httpd_rq *rq, unsigned status, const char *type, struct text body); /* copied */
void httpd_reply_static(struct httpd_rq *rq, unsigned status, const char *type, struct text body); /* outlives the server */
void httpd_reply_taken(struct httpd_rq *rq, unsigned status, const char *type, char *body, size_t n); /* malloc'd, freed */
enum { HTTPD_END = -1, HTTPD_BROKEN = -2 };
struct httpd_source {
	/* Up to n bytes into p: how many; 0: none now, called again after httpd_wake(); HTTPD_END; HTTPD_BROKEN: the
	 * connection is cut, so that the client sees that something is missing. */
	ssize_t (*pull)(struct httpd_rq *rq, uint8_t *p, size_t n, void *arg);
};
/* n: length of the body; UINT64_MAX: not known (chunked). */
void httpd_reply_stream(struct httpd_rq *rq, unsigned status, const char *type, uint64_t n, const struct httpd_source *src);
void httpd_wake(struct httpd_rq *rq);
