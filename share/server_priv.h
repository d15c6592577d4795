/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of a share's HTTP server; nobody else includes it.
 *
 *   server.c      life, tokens, receivers, where a request goes
 *   server_get.c  meta, entries, hashes, the archive
 *   server_put.c  uploads
 */
#pragma once
#include <jansson.h>
#include "share/zip.h"
#include "share/records.h"
#include "share/request.h"
#include "share/server.h"

enum { CLIENTS_KEPT = 64, RECEIVER = 16 };

struct share_client { /* who has shown wrong tokens */
	char name[ADDR_STRLEN];
	uint64_t since; /* loop time */
	unsigned wrong;
};
struct share_server {
	struct share_server_options o;
	struct httpd *httpd;
	struct share_keys keys;
	struct list requests;
	struct share_client clients[CLIENTS_KEPT];
	bool claimed, complete, said_done; /* said_done: by its receiver, who needs nothing more */
	uint8_t claimant[RECEIVER];
	uint64_t scanned; /* loop time; 0: never */
	struct timer end; /* expiry, or nothing was heard of the receiver that has it all */
	struct share_counts counts;
};

struct share_rq {
	struct list node;
	struct share_server *s;
	struct httpd_rq *rq;
	struct share_where w;
	char client[ADDR_STRLEN];
	bool plain, head;
	/* sending */
	bool transfer; /* counted */
	int fd;
	struct tree_identity was;  /* of fd */
	uint64_t n;		   /* entry */
	uint64_t size, at, end;	   /* of what is sent: bytes of records, or plain ones; at: next */
	uint64_t plain_size;
	struct share_records_ctx *ctx;
	struct share_archive *archive;
	uint8_t salt[SHARE_SALT]; /* of the archive */
	uint32_t number; /* of the archive's next record */
	bool last;
	uint8_t *buf; /* one record */
	size_t buf_n, buf_pos, ahead; /* ahead: plain bytes that wait behind the record (archive) */
	struct tree_wait hash;
	/* receiving */
	struct upload *up;
	uint64_t expected; /* bytes of the body that are still to come */
	enum upload_error error;
	bool bad; /* records that cannot be opened */
	bool owns; /* up is busy with this request, and cannot go; else it may */
};

void share_answer(struct share_rq *q, unsigned status, const char *code, const char *text); /* a sentence */
void share_tell(struct share_rq *q, enum share_event_kind kind, const char *name, uint64_t at, uint64_t size);
/* This receiver has the share, from now on if nobody had it. False: it was answered. */
bool share_claim(struct share_rq *q);
void share_complete(struct share_server *s);
/* JSON, taken: sealed under "meta", or as it is where the request is a plain one. */
void share_answer_json(struct share_rq *q, unsigned status, json_t *o);

void share_get(struct share_rq *q);
void share_put(struct share_rq *q);
void share_rq_stop(struct share_rq *q); /* of both: what it holds */
void share_upload_gone(struct share_rq *q);
