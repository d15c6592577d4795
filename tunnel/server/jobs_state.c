/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a job as its worker has it: said to its agent each time, logged and told to whoever
 * subscribed when it changes. Why it is what it is stands in jobs_link.c; when a refused one is asked for
 * again, there, too.
 */
#include <stdio.h>
#include <string.h>
#include "tunnel/log_msgs.h"
#include "tunnel/server/jobs_priv.h"

static void tell_agent(const struct server_job *j)
{
	struct wire_job_state_msg m = { .id = j->id,
					.revision = j->revision,
					.state = (uint8_t)j->state,
					.reason = (uint8_t)j->reason,
					.port = addr_family(&j->at) == AF_UNSPEC ? 0 : addr_port(&j->at),
					.address = text_of(j->address),
					.text = text_of(j->text) };

	(void)tunnel_link_send(j->of->link, WIRE_JOB_STATE,
			       &m); /* while it is down: said again when it is told again */
}

static void log_state(const struct server_job *j)
{
	if (j->state == WIRE_JOB_ACTIVE)
		log_emit(&MSG_TUNNEL_JOB_ACTIVE, LF_STR("agent", j->of->agent),
			 LF_STR("job", j->name), LF_STR("address", j->address));
	else if (j->state == WIRE_JOB_REFUSED || j->state == WIRE_JOB_PORT_TAKEN)
		log_emit(&MSG_TUNNEL_JOB_REFUSED, LF_STR("agent", j->of->agent), LF_STR("job", j->name),
			 LF_STR("state", job_state_text(j->state)), LF_STR("reason", j->text));
	else
		log_emit(&MSG_TUNNEL_JOB_STATE, LF_STR("agent", j->of->agent), LF_STR("job", j->name),
			 LF_STR("state", job_state_text(j->state)), LF_STR("reason", j->text));
}

void job_set_state(struct server_job *j, unsigned state, unsigned reason, const char *text)
{
	bool changed = state != j->state || strcmp(text, j->text) != 0;

	j->state = state;
	j->reason = reason;
	(void)snprintf(j->text, sizeof(j->text), "%s", text);
	tell_agent(j);
	if (!changed)
		return;
	log_state(j);
	jobs_event(j, "tunnel.jobs", job_state_text(state));
}
