/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agents that a tunnel server knows, and the enrolment codes that are out: tables in memory, looked
 * up by identity, by name and by the id of a code. No I/O; agents.c keeps them in the store.
 *
 * An agent is pending (it knew the password, and waits for an administrator), approved or revoked. A
 * revoked one stays in the table, for its key must stay refused. Names are unique among those that are
 * not revoked. Numbers are bounded: a stranger who knows the password cannot fill the memory.
 *
 * Values have schema rows, as objects of the configuration have: what the store holds and what
 * a verb changes is read against the same rows.
 */
#pragma once
#include "common/config.h"
#include "common/store.h"
#include "tunnel/link/enrol.h"
#include "tunnel/link/wire.h"

enum {
	REGISTRY_NAME_MAX = WIRE_NAME_MAX,
	REGISTRY_TEXT_MAX = 255,
	REGISTRY_PENDING_MAX = 256,
	REGISTRY_CODES_MAX = 1000,
	REGISTRY_CODE_KEYLEN = 2 * ENROL_ID_LEN,
};

enum entry_state { ENTRY_PENDING, ENTRY_APPROVED, ENTRY_REVOKED, ENTRY_STATES };
enum entry_way { ENTRY_BY_CODE, ENTRY_BY_PASSWORD }; /* how it was enrolled */

struct entry { /* an agent */
	struct hnode node;
	struct identity_hash id;
	char key[IDENTITY_STRLEN]; /* id as text: the key in the store */
	char name[REGISTRY_NAME_MAX + 1];
	unsigned state, way;		/* enum entry_state, enum entry_way */
	uint64_t created_at, last_seen; /* unix s; last_seen 0: never */
	uint64_t stored_seen;		/* last_seen as the store has it */
	char address[REGISTRY_TEXT_MAX + 1], program[REGISTRY_TEXT_MAX + 1],
		host[REGISTRY_TEXT_MAX + 1];
	char note[REGISTRY_TEXT_MAX + 1];
	struct wire_range ports[WIRE_RANGES_MAX]; /* none: tunnel.ports */
	uint16_t n_ports;
	struct identity_hash root; /* of the server, as the agent knew it last; unset: not seen since */
	struct identity_hash successor; /* that the agent has pinned, as far as we know; unset: not seen since */
	uint64_t copied_at;	   /* unix s: two processes used its key; 0: never seen. Not kept */
	char copied_by[REGISTRY_TEXT_MAX + 1],
		copied_from[REGISTRY_TEXT_MAX + 1]; /* who was refused, who was connected */
	bool changing; /* a change is on its way to the disk: none may be made from what is here */
};

struct code {
	struct hnode node;
	char key[REGISTRY_CODE_KEYLEN + 1]; /* its id as text */
	char name[REGISTRY_NAME_MAX + 1];
	uint8_t secret[ENROL_SECRET_LEN];
	uint64_t expires;	       /* unix s */
	bool replace;		       /* an agent of this name is revoked when the code is used */
	char host[ENROL_HOST_MAX + 1]; /* for the answer that shows it; not kept */
	uint16_t port;
};

/* The kinds of the store, for struct service_ops. */
#define REGISTRY_AGENT_KIND "tunnel.agent"
#define REGISTRY_CODE_KIND "tunnel.code"
extern const struct cfg_schema registry_agent_schema, registry_code_schema;

struct registry;
int registry_new(uint64_t agents_max, struct registry **ret_r);
struct registry *registry_free(struct registry *r);
DEFINE_CLEANUP(struct registry, registry_free)
void registry_limit(struct registry *r, uint64_t agents_max);

/* ---- agents ---- */

struct entry *registry_find(const struct registry *r, const struct identity_hash *id);
/* By name, by fingerprint, or by the first eight digits of it or more; NULL also if that is not one's alone. A name
 * that somebody has is his, else it may be that of a revoked one. */
struct entry *registry_look_up(const struct registry *r, struct text name_or_id);
struct entry *registry_named(const struct registry *r, struct text name); /* NULL also for a revoked one's */
size_t registry_count(const struct registry *r, enum entry_state s);
bool registry_full(const struct registry *r,
		   enum entry_state s); /* for one more of this state; those that are revoked take no place */
void registry_each(const struct registry *r, bool (*fn)(struct entry *e, void *arg), void *arg);
/* Puts a copy into the table, or in the place of the one with this identity. 0, -ENOMEM, -ENOSPC: too many. */
int registry_put(struct registry *r, const struct entry *e);
int registry_load(struct registry *r,
		  const struct entry *e); /* the same of one that is known already, however many there are */
void registry_remove(struct registry *r, struct entry *e); /* frees it */
/* "site-17", or if that is taken: "site-17-2" … */
void registry_free_name(struct text wanted, bool (*taken)(const char *name, void *arg), void *arg,
			char out[static REGISTRY_NAME_MAX + 1]);
bool registry_name_good(struct text name); /* UTF-8 without blanks at its ends and control characters, not like a fingerprint */

json_t *entry_json(const struct entry *e); /* as the store keeps it */
int entry_read(const char *key, const json_t *body, char *err, size_t err_n, struct entry *ret_e);
/* "20000-20099,3389"; "": none. 0 or -EINVAL and a sentence. */
int entry_set_ports(struct entry *e, struct text t, char *err, size_t err_n);

/* ---- codes ---- */

/* NULL: there is none, or it is too old (and removed). */
struct code *registry_code(struct registry *r, struct text key, uint64_t now_s);
int registry_code_put(struct registry *r, const struct code *c, uint64_t now_s); /* 0, -ENOMEM, -ENOSPC */
void registry_code_remove(struct registry *r, struct code *c);
void registry_each_code(const struct registry *r, bool (*fn)(struct code *c, void *arg), void *arg);
void registry_code_key(const uint8_t secret[static ENROL_SECRET_LEN],
		       char out[static REGISTRY_CODE_KEYLEN + 1]);

json_t *code_json(const struct code *c); /* with its secret */
int code_read(const char *key, const json_t *body, char *err, size_t err_n, struct code *ret_c);
