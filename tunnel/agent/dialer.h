/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an agent reaches its servers and makes itself known to them: the struct agent_dialer of
 * tunnel/agent/agent.h for each server. Knows the agent's key pair, what is pinned, the enrolment code and
 * password, the proxy and the ports. docs/decisions/0017-tunnel-identity.md.
 *
 * What a server must show, in this order: the root of a code that is not used up; the fingerprint of
 * agent.server, or what it has grown into by rotation; the pins of an earlier run. With none of these only
 * the password is left, and then the server must prove that it knows it, too. With nothing at all nobody
 * is called.
 */
#pragma once
#include "common/control.h"
#include "tunnel/agent/agent.h"
#include "tunnel/agent/config.h"
#include "tunnel/link/enrol.h"

struct dialers; /* of the process */
struct dialer;	/* of one server */

struct dialers_options {
	struct loop *loop;
	const char *folder;		/* of key pair and pins; made if it is not there */
	struct control_server *control; /* for the verbs; may be NULL */
	const char *dns_servers;	/* for tests; NULL: the system's */
};
/* err gets a sentence. */
int dialers_new(const struct dialers_options *o, char *err, size_t err_n, struct dialers **ret_ds);
struct dialers *dialers_free(struct dialers *ds); /* its dialers, too; after the agents */
DEFINE_CLEANUP(struct dialers, dialers_free)
void dialers_add_verbs(struct dialers *ds);
void dialers_network_changed(struct dialers *ds); /* names are asked anew */
const struct identity *dialers_identity(const struct dialers *ds);

/* -EINVAL and a sentence for what the configuration's rows cannot know: a proxy that is none, a code that is none. */
int dialers_add(struct dialers *ds, const struct agent_server *s, const struct agent_config *c,
		char *err, size_t err_n, struct dialer **ret_d);
/* Password, code and proxy, for the next connection. -EINVAL and a sentence, as above; then all is as before. */
int dialer_reload(struct dialer *d, const struct agent_config *c, char *err, size_t err_n);
void dialer_remove(struct dialer *d); /* after its agent */
void dialer_hooks(struct dialer *d, struct agent_dialer *ret_hooks);
void dialer_attach(struct dialer *d,
		   struct agent *a); /* is told to connect when a code is given; NULL: no more */

struct dialer_info {
	char server[ENROL_HOST_MAX + 10]; /* "host:port" */
	bool pinned, enrolled, code;	  /* code: one is waiting to be used */
	struct identity_hash root, successor;
	struct identity_hash shown; /* the root that it showed last, if that is not pinned; else unset */
	char way[128]; /* "203.0.113.7:443", "port 443 through the proxy 10.0.0.1:3128"; "": not connected yet */
};
void dialer_info(const struct dialer *d, struct dialer_info *ret_i);
