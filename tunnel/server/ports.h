/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's ports: who has which, and who may have it. A claim belongs to an agent's identity and a job's name; it
 * stays while the agent is away, so that its port is there when it comes back, and ends when the job is deleted or the
 * agent is forgotten. A port that the server chose for a job (`*`) is kept in the same way.
 *
 * Only the book is kept here, and who says no; sockets are bound by the caller. Main thread.
 */
#pragma once
#include <jansson.h>
#include "common/config.h"
#include "tunnel/link/wire.h"

struct ports;

struct ports_rules { /* borrowed; as long as the book, or until the next ports_set_rules() */
	const struct cfg_list *binds; /* struct prefix: what jobs may ask for; empty: any address */
	struct addr bind;	      /* where a job appears that does not ask */
	uint64_t most_ports;	      /* of an agent */
	/* NULL, or who has this port of the server itself: "tunnel.listen", "the route mail". */
	const char *(*own)(const struct addr *at, bool udp, void *arg);
	/* Is there such an agent? Claims of one that there is no more give way. May be NULL. */
	bool (*known)(const uint8_t identity[static WIRE_PIN], void *arg);
	void *arg;
};
struct ports_ask {
	uint8_t identity[WIRE_PIN];
	const char *job;
	struct addr bind;      /* AF_UNSPEC: the rules' */
	uint16_t first, count; /* first 0: any */
	bool udp;
	const struct wire_range *ranges; /* what the agent may open */
	unsigned n_ranges;
};
struct ports_grant {
	enum wire_reason reason; /* WIRE_R_NONE: granted, and claimed */
	char text[256];		 /* why not */
	struct addr at;		 /* with the first port */
};

struct ports *ports_new(void); /* NULL: no memory */
struct ports *ports_free(struct ports *p);
void ports_set_rules(struct ports *p, const struct ports_rules *r);
/* Claims; what the job of this name had before is given up unless it is the same. busy: is a port taken by somebody
 * outside the book? Asked only to choose one, it may be NULL. */
void ports_claim(struct ports *p, const struct ports_ask *a,
		 bool (*busy)(const struct addr *at, bool udp, void *arg), void *arg,
		 struct ports_grant *ret_g);
void ports_release(struct ports *p, const uint8_t identity[static WIRE_PIN], const char *job);
/* Gives up those of an agent that keep() does not want. */
void ports_retain(struct ports *p, const uint8_t identity[static WIRE_PIN], bool (*keep)(const char *job, void *arg), void *arg);
/* Changes since the last call, for the store: fn with NULL says that the claim has gone. */
void ports_changes(struct ports *p, void (*fn)(const char *key, json_t *claim, void *arg), void *arg);
int ports_load(struct ports *p, const char *key, const json_t *claim); /* -EINVAL: not a claim */
unsigned ports_of(const struct ports *p, const uint8_t identity[static WIRE_PIN]); /* how many an agent has */
