/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server of one share (docs/decisions/0024-sharing.md): answers out of a tree, takes uploads, as records; or, where
 * plain is set, also as they are. It has no listener: whoever has accepted a connection gives it here.
 *
 * A request needs the share's token; a client that guesses is refused for a while without being listened to. With `once` the first
 * receiver that begins has the share. All in one loop; what a transfer holds is one record, whatever the size of its file.
 */
#pragma once
#include "common/httpd.h"
#include "share/code.h"
#include "share/tree.h"
#include "share/uploads.h"

enum share_event_kind {
	SHARE_BEGUN, /* a receiver reads name: from at, of size */
	SHARE_SENT,  /* it was given all of it */
	SHARE_BROKEN, /* it went before */
	SHARE_UPLOADING,
	SHARE_UPLOADED, /* name: as it is called here */
	SHARE_TAKEN,	/* another receiver was told that somebody else has it */
	SHARE_GUESSED,	/* a wrong token */
	SHARE_DONE,	/* --once, and its receiver has it all; or the time is over */
};
struct share_event {
	enum share_event_kind kind;
	const char *name, *client; /* client: address, as far as it is known */
	uint64_t at, size;
};
struct share_counts {
	uint64_t sent, received; /* bytes of content */
	unsigned transfers;	 /* now */
	uint64_t requests, refused;
};
struct share_server_options {
	struct loop *loop;
	const struct share_code *code;
	const char *name;	 /* shown */
	struct tree *tree;	 /* NULL: nothing to get */
	struct uploads *uploads; /* NULL: none are taken */
	bool once, plain;
	uint64_t expires; /* unix s; 0: never */
	void (*event)(const struct share_event *e, void *arg);
	/* What is shown for the path behind /s/ID/, without a token; false: nothing is. May be NULL. */
	bool (*page)(struct httpd_rq *rq, struct text name, void *arg);
	bool (*other)(struct httpd_rq *rq, void *arg); /* a path that is no share's: true if it was answered. May be NULL */
	void *arg;
};
struct share_server;
int share_server_new(const struct share_server_options *o, struct share_server **ret_s); /* 0 or -errno */
struct share_server *share_server_free(struct share_server *s);
DEFINE_CLEANUP(struct share_server, share_server_free)
void share_server_expires(struct share_server *s, uint64_t at); /* unix s; 0: never */
void share_server_take(struct share_server *s, int fd, const struct addr *peer);
void share_server_counts(const struct share_server *s, struct share_counts *ret_c);
