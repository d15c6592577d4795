/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of stile get:
 *
 *   get.c        the command: the way to the sender, what is asked for in which order
 *   get_files.c  files of a share, written here; where one was left it goes on
 *   get_send.c   files for the sender
 *   get_guest.c  an agent for as long as it takes, where none runs
 */
#pragma once
#include "cli/share.h"

struct get {
	struct cli *cli;
	struct share_code code;
	struct share_keys keys;
	struct share_http http;
	struct agent_watch watch;
	unsigned seq;
	json_t *news; /* the last */
	bool json;
	const char *what; /* is under way, for the line of progress */
	uint64_t at, size;
	char waiting[700]; /* what was said last about waiting */
	struct share_bar bar;
	int out; /* the folder that is written to */
	unsigned got, skipped;
	uint64_t bytes;
};
/* Asks and keeps asking while the way is away: 0, or an exit code after saying why. The status is one that the caller has to look at. */
int get_ask(struct get *g, const struct share_ask *a);
/* The way was lost in the middle of something: waits a little. 0: try again. */
int get_wait(struct get *g);
int get_fail_status(struct get *g); /* says what the other side said: an exit code */
void get_refresh(struct get *g); /* news: as they are now */
void get_progress(struct get *g, bool now);
void get_say(struct get *g, const char *event, const char *name, uint64_t size, const char *text);
/* The body: sealed JSON under "meta". NULL: it was said what is wrong. */
json_t *get_sealed(struct get *g);

enum { GET_SHA = 32 };
/* SHA-256 of all that is in the file, in hexadecimal digits; buf is of a record. False: it cannot be read. */
bool get_sha(int fd, uint8_t buf[static RECORD_PLAIN], char out[static 2 * GET_SHA + 1]);

int get_files(struct get *g, const json_t *meta, bool *ret_again); /* again: the list has changed meanwhile */
int get_send(struct get *g, const char *path);

/* An agent of its own, in a folder of its own; *ret_socket is its control socket. 0 or an exit code. Ends with the process. */
int get_guest_agent(struct cli *cli, const struct share_code *code, const struct share_keys *keys, char *socket, size_t n);
void get_guest_end(void);
bool get_guest_died(char *why, size_t n); /* it was there, and is no more: its last word */
