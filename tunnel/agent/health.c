/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile-agent says in service.health: servers that it cannot reach, jobs that a server refuses or whose target does not
 * answer.
 * A job is not complained about while its server is away: then that is what fails.
 */
#include "common/health.h"
#include "tunnel/agent/service.h"
#include "tunnel/job_wire.h"

static void say_server(const struct agent_end *e, struct health *h)
{
	struct agent_info i;

	agent_info(e->agent, &i);
	if (i.state == AGENT_UP || i.state == AGENT_OFF)
		return;
	health_add(h, HEALTH_SERVER_UNREACHABLE, HEALTH_ERROR, e->server, "the server %s: %s%s%s", e->server, agent_state_names[i.state],
		   i.why[0] ? ": " : "", i.why);
	health_arg_str(h, "state", agent_state_names[i.state]);
	health_arg_str(h, "why", i.why);
	health_arg_i64(h, "tries", i.tries);
}

static void say_job(const struct agent_service *as, const struct agent_job *j, struct health *h)
{
	if (!j->c->enabled)
		return;
	if (j->down) {
		health_add(h, HEALTH_JOB_FAILING, HEALTH_WARNING, j->name, "the target of the job %s does not answer: %s", j->name, j->down_why);
		health_arg_str(h, "why", j->down_why);
	}
	for (unsigned i = 0; i < as->n_ends; i++) {
		const struct agent_job_told *t = &j->told[i];

		if (as->ends[i].state != AGENT_UP || (t->state != WIRE_JOB_REFUSED && t->state != WIRE_JOB_PORT_TAKEN))
			continue;
		health_add(h, HEALTH_JOB_FAILING, HEALTH_ERROR, j->name, "the job %s at the server %s: %s: %s", j->name, as->ends[i].server,
			   job_state_text(t->state), t->text);
		health_arg_str(h, "server", as->ends[i].server);
		health_arg_str(h, "state", job_state_text(t->state));
		health_arg_str(h, "why", t->text);
	}
}

void agent_health(struct service *s, struct health *h)
{
	struct agent_service *as = s->state;

	for (unsigned i = 0; i < as->n_ends; i++)
		say_server(&as->ends[i], h);
	list_for_each(it, agent_jobs_all(as->jobs))
		say_job(as, list_entry(it, struct agent_job, node), h);
}
