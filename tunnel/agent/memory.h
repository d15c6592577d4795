/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an agent remembers of each server between its runs: the pinned root and successor, whether the
 * server knows it, and which enrolment code was used up. One JSON file, agent-servers.json, mode 0600,
 * replaced as a whole.
 *
 * Not written for every connection: only when something of this has changed.
 */
#pragma once
#include "tunnel/link/enrol.h"

enum { MEMORY_SERVER_MAX = ENROL_HOST_MAX + 8, MEMORY_CODE_LEN = 2 * ENROL_ID_LEN };

struct memory {				    /* of one server */
	char server[MEMORY_SERVER_MAX + 1]; /* "host:port", as configured */
	struct server_pins pins;	    /* root unset: none yet */
	struct identity_hash configured; /* agent.server's fingerprint when the pins were made; unset: none */
	bool enrolled;			 /* it has let this agent in */
	char code[MEMORY_CODE_LEN + 1]; /* id of the code that was used last; "" */
};
/* *ret_m is that server's, or a new one's without pins. 0, or -errno and a sentence: the file cannot be read, or is
 * damaged; it is not overwritten then. */
int memory_load(const char *folder, const char *server, char err[static IDENTITY_ERRLEN],
		struct memory *ret_m);
int memory_save(const char *folder, const struct memory *m, char err[static IDENTITY_ERRLEN]);
