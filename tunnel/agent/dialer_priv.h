/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the dialer share:
 *   dialer.c        what is expected of a server, and the calls
 *   dialer_login.c  enrolment by code and password, pins
 *   dialers.c       life, configuration
 *   dialer_verbs.c  agent.enrol, agent.identity
 */
#pragma once
#include "common/list.h"
#include "tunnel/agent/dial.h"
#include "tunnel/agent/dialer.h"
#include "tunnel/agent/memory.h"
#include "tunnel/link/scram.h"

struct dialers {
	struct dialers_options o; /* folder is owned */
	struct dns *dns;
	struct identity *identity;
	struct list all; /* struct dialer */
};

struct login {	    /* of the control connection that is being made */
	bool known; /* greeted: the values below are there */
	uint8_t binding[LINK_EXPORTER_LEN], enrol[LINK_EXPORTER_LEN];
	struct link_peer peer;
	char name[WIRE_NAME_MAX + 1]; /* as HELLO had it */
	bool by_code, by_password;
	struct scram scram;
	unsigned scram_messages;
	bool proven;			/* the server has proven that it knows code or password */
	struct identity_hash successor; /* of ENROLLED */
};

struct dialer {
	struct list node;
	struct dialers *all;
	struct agent *agent;
	char host[ENROL_HOST_MAX + 1];
	uint16_t ports[DIAL_PORTS_MAX];
	unsigned n_ports;
	struct identity_hash fingerprint; /* of agent.server; unset: none */
	char *password;			  /* NULL: none */
	uint64_t guest; /* of this share: any server will do; 0: an agent */
	struct proxy proxy;
	bool has_proxy;
	struct enrol_code code;
	char code_id[MEMORY_CODE_LEN + 1];
	bool has_code, code_by_verb; /* code_by_verb: a reload does not take it away while it waits */
	bool code_aside; /* it does not fit the server that answers; the pins are tried */
	struct memory memory;
	struct tls_ctx *tls; /* of the control connection, and of its carriers */
	struct link_expect expect;
	struct dial_way way;
	bool has_way;
	struct login login;
	struct list calls;
	struct timer refusal; /* at once: there is nothing to call with */
	struct control_request *enrolling; /* waits for what becomes of its code */
	struct timer enrol_late;
	struct timer again; /* at once: without a code that was of no use */
};

/* dialer.c */
bool dialer_code_waits(const struct dialer *d);
void dialer_drop_false_code(struct dialer *d);
void dialer_cancel_calls(struct dialer *d);
void dialer_on_again(struct timer *t, uint64_t now);
void dialer_on_refusal(struct timer *t, uint64_t now);
/* dialer_login.c */
void dialer_login_hooks(struct agent_dialer *ret_hooks);
/* dialer_verbs.c: the code was taken (why NULL), or was not */
void dialer_enrol_ended(struct dialer *d, const char *why);
/* dialers.c */
int dialer_set_code(struct dialer *d, const char *text, bool by_verb, char *err, size_t err_n);
