/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the agent's end of a link; nobody else includes it.
 *
 *   agent.c     the control connection: dialled, welcomed, lost, tried again; jobs
 *   carriers.c  the carriers that the server wants, and those that resume
 *   plain.c     plain carriers (encrypt: false)
 *   data.c      data connections at the agent: opened by the server, answered by the owner
 *   relay_end.c relays to other agents
 */
#pragma once
#include "tunnel/agent/agent.h"
#include "tunnel/link/backoff.h"
#include "tunnel/link/data_priv.h"

struct agent_job { /* as it is sent */
	struct list node;
	uint32_t id;
	size_t n; /* of the payload */
	uint8_t payload[];
};

struct agent {
	struct loop *loop;
	struct agent_options o; /* its texts are ours */
	char name[WIRE_NAME_MAX + 1], program[64], host[256];
	enum agent_state state;
	int64_t since;
	char why[256];
	bool off;	/* told to be */
	void *dialling; /* the control connection's; the dialer's handle */
	bool dial_busy; /* done() has not come */
	struct frame_conn *control;
	bool welcome; /* over it */
	bool meets;   /* the server passes on what agents say to each other */
	bool reaches; /* it connects back to this agent's address when asked to */
	bool shares;  /* and knows shares */
	bool paths;   /* it wants to be told of PATHs */
	struct wire_refused refused; /* said by the server: its text is in why */
	struct keepalive keep;
	struct backoff backoff;
	struct timer retry, pulse, fill;
	uint64_t session; /* 0: never welcomed */
	char server_name[256], public_name[256], server_program[64], own_name[WIRE_NAME_MAX + 1];
	struct addr server, local, observed;
	unsigned reconnects;
	struct list jobs;
	struct chunk_pool chunks;
	struct data_host data;
	struct list dials;  /* struct carrier_dial: carriers that are not ready yet */
	unsigned n_filling; /* of them, those for the pool */
	unsigned wanted;
	struct backoff carrier_backoff;
	uint64_t fill_not_before;
	struct list plain; /* plain carriers, dialled or ready */
	unsigned n_plain, n_plain_dials, wanted_plain;
	bool plain_keyed;
	uint8_t plain_key[32];
	uint64_t plain_number, plain_not_before;
	struct backoff plain_backoff;
};
void agent_set_state(struct agent *a, enum agent_state s, const char *text);

/* carriers.c */
extern const struct data_host_ops agent_host_ops;
void agent_fill(struct agent *a);	     /* dials what is wanted and not there */
void agent_fill_soon(struct agent *a);
void agent_forget_carriers(struct agent *a); /* those that are not ready; the others are closed, too */
int agent_send_hello(struct agent *a, struct frame_conn *c, uint8_t purpose);
void agent_on_fill(struct timer *t, uint64_t now);
static inline struct agent *agent_of(const struct data_host *h)
{
	return h->owner;
}

/* data.c */
int agent_on_open(struct carrier *c, const struct wire_open *m);
void agent_on_detached(struct agent *a, uint64_t stream); /* the server has given its carrier up */
void agent_say_opened(struct data_conn *d);
/* A data connection has come: the owner is asked. */
void agent_greet_data(struct agent *a, struct data_conn *d, const struct wire_open *m);

/* plain.c */
void agent_plain_key(struct agent *a); /* the control connection is another one */
bool agent_plain_fill(struct agent *a); /* true: some are lacking still */
void agent_plain_close(struct agent *a);
int agent_on_open_plain(struct agent *a, const struct wire_open *m);
