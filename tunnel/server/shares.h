/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shares of agents (docs/decisions/0024-sharing.md), as the server knows them: a number, whose it is, and until when. Main thread.
 *
 * A share is known until it expires or its agent says that it is over. While the agent is away it stays known, so that whoever asks for it can
 * be told that the sender is not there, and not that it does not exist; for a day at most.
 *
 * A gateway asks by a Unix socket for a connection to a share:
 *     STILE-GATEWAY 1 0123456789abcdef 203.0.113.9\n     →  OK\n and the share's HTTP server;  NO not-there the sender …\n
 */
#pragma once
#include "tunnel/server/server_priv.h"

enum { SHARES_MAX = 10000, SHARES_PER_AGENT = 64, SHARE_GUESTS_MAX = 256, GUESTS_MAX = 2048 /* of all shares */ };

struct share_entry {
	struct list node;
	uint64_t id;
	uint8_t identity[WIRE_PIN];
	uint8_t kind;	  /* enum wire_share_kind */
	uint64_t expires; /* unix s; 0: not by itself */
	uint64_t untold_at; /* loop ms: since when its agent is away, or there again without having said it; 0: it has it */
};
const struct share_entry *share_find(struct tunnel_server *s, uint64_t id); /* NULL: none, or it is over */
void shares_hear(struct tunnel_server *s, const struct note *n, const struct wire_share *m);
void shares_untold(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN]); /* it went, or has come anew: it says what it has */
/* What a guest says is for the agent that has its share. */
bool share_guest_may(struct tunnel_server *s, const struct note *n, const uint8_t *to);
void shares_free(struct tunnel_server *s);

void share_door_close(struct tunnel_server *s); /* share_door.c: the gateways' socket */
