/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of tunnel/server/agents*.c share:
 *   agents.c        life, options, who is welcomed
 *   agents_enrol.c  codes, passwords, what waits
 *   agents_store.c  changes on their way to the disk
 *   agents_verbs.c  control verbs of agents and codes
 *   agents_keys.c   control verbs of the server's keys
 */
#pragma once
#include "common/list.h"
#include "tunnel/link/scram.h"
#include "tunnel/link/server_keys.h"
#include "tunnel/server/agents.h"
#include "turn/backoff.h"

enum agents_metric {
	AGENTS_M_KNOWN,
	AGENTS_M_ENROLLED,
	AGENTS_M_REFUSED,
	AGENTS_M_COPIED,
	AGENTS_METRICS
};
enum agents_refusal {
	AGENTS_R_UNKNOWN,
	AGENTS_R_REVOKED,
	AGENTS_R_PASSWORD, /* wrong */
	AGENTS_R_CODE,	   /* wrong, used, or too old */
	AGENTS_R_BACKOFF,
	AGENTS_R_NO_PASSWORD, /* enrolment by password is off */
	AGENTS_R_PROTOCOL,
	AGENTS_R_FULL,
	AGENTS_R_TIMEOUT,
	AGENTS_R_REJECTED, /* by an administrator */
	AGENTS_R_STORE,
	AGENTS_R_SHARE, /* a guest of what is not there */
	AGENTS_REFUSALS
};

struct tunnel_agents {
	struct tunnel_agents_options o; /* its texts are owned; ports is not used */
	struct cfg_port_range *ports;
	size_t n_ports;
	struct registry *registry;
	struct server_keys keys;
	struct tunnel_server *server;
	struct scram_verifier verifier;
	bool has_password;
	struct turn_backoff *backoff;
	struct metrics *metrics;
	uint64_t log_since; /* the loop's clock: of the refusals that were counted for the log */
	unsigned logged, unlogged;
	struct list visits;
	struct list changes, code_changes; /* on their way to the disk: agents_store.c */
};

/* An arrival that is not answered yet: waits for a frame, for the disk, or for approval. */
struct visit {
	struct list node;
	struct tunnel_agents *a;
	struct tunnel_arrival *arrival;
	struct timer late; /* while it waits for a frame */
	struct identity_hash id;
	struct scram scram;
	unsigned scram_messages;
	bool pending, at_disk;
	bool by_code;
	uint8_t proof[ENROL_PROOF_LEN]; /* to send when the disk has it */
};

/* agents.c */
uint64_t agents_now_s(void);
void agents_admit(struct tunnel_agents *a, struct tunnel_arrival *v, struct entry *e);
void agents_refuse(struct tunnel_agents *a, struct tunnel_arrival *v, enum agents_refusal why,
		   const char *detail);
/* Whence and on what it came; ip is room for its address, which is left there. */
void agents_note_who(struct entry *e, const struct tunnel_arrival_info *i, char ip[static ADDR_STRLEN]);
void agents_count(struct tunnel_agents *a); /* the gauges */
int agents_new_tls(struct tunnel_agents *a);
/* To who watches "tunnel.agents", and to the log's readers. */
void agents_publish(struct tunnel_agents *a, const char *what, const struct entry *e);

/* agents_enrol.c */
struct visit *visit_new(struct tunnel_agents *a, struct tunnel_arrival *v);
struct visit *visit_free(struct visit *v); /* leaves the arrival alone */
void visit_await_frame(struct visit *v);
void visit_pending(struct visit *v); /* tells it so */
void visit_decided(struct tunnel_agents *a,
		   const struct entry *e); /* approved or revoked: whoever waits with this key */
void visit_stored(struct visit *v, struct entry *e); /* enrolled, and on the disk */
void visit_not_stored(struct visit *v);

/* agents_store.c */
enum deed_kind { DEED_ENROL, DEED_CHANGE, DEED_DELETE, DEED_NOTE };
struct deed { /* what is to be done when the disk has it */
	enum deed_kind kind;
	struct entry entry;  /* as it is to be */
	struct visit *visit; /* of DEED_ENROL; found again by its place in the list */
	struct control_request *rq;
	const char *event; /* of DEED_CHANGE: "approved" … */
};
void agents_let_go(struct tunnel_agents *a); /* of what is on its way */
int agents_load(struct tunnel_agents *a, char *err, size_t err_n);
/* The agent that has this name, or will when all that is on its way has arrived, and is not the one with this key. NULL: it is free. */
const struct entry *agents_other_named(const struct tunnel_agents *a, const char *name, const struct identity_hash *whose);
/* Copies d. 0, or a negative errno, and nothing follows. who: for the audit. */
int agents_store(struct tunnel_agents *a, const struct deed *d, const char *who);
/* Codes: in memory at once, on the disk soon. NULL for rq: nobody waits. */
int agents_store_code(struct tunnel_agents *a, const struct code *c, struct control_request *rq);
void agents_forget_code(struct tunnel_agents *a, struct code *c, const char *who);

/* agents_verbs.c, agents_keys.c */
json_t *agents_entry_json(const struct tunnel_agents *a, const struct entry *e);
void agents_code_reply(struct tunnel_agents *a, struct control_request *rq, const struct code *c);
void agents_keys_add_verbs(struct tunnel_agents *a);
