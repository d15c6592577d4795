/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libstile-agent: a tunnel agent built into another program, for devices that bring their own.
 *
 * The agent is stile-agent(8) in threads of this process: it keeps the connection to a stile-tunnel, opens what its jobs allow, and keeps
 * its keys. It touches nothing else of the process: no signal handler, no user id, no umask, no working directory. SIGPIPE is blocked in
 * its threads alone. One agent per process at a time, for the log is the process's: without log.dir, lines go to stderr.
 *
 * Version 1 of the interface. Functions and fields are added, none is changed; struct sizes tell what a caller knows.
 * Every function but start and stop may be called from any thread at any time between these two.
 */
#ifndef STILE_AGENT_H
#define STILE_AGENT_H
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 *	struct stile_agent_options o = STILE_AGENT_OPTIONS;
 *	struct stile_agent *agent;
 *	char why[256];
 *
 *	o.folder = "/var/lib/camera/stile";
 *	o.config = "agent: { name: camera-17, server: \"tunnel.example.org:7443\", password: for-enrolment,\n"
 *		   "  jobs: [ { port: 20017, target: \"127.0.0.1:80\" } ], direct: { enabled: false } }\n";
 *	if (stile_agent_start(&o, &agent, why, sizeof(why)) < 0)
 *		errx(1, "%s", why);
 *	...
 *	agent = stile_agent_stop(agent);
 */
#define STILE_AGENT_API 1

struct stile_agent;

struct stile_agent_options {
	size_t size;	    /* set by STILE_AGENT_OPTIONS */
	const char *folder; /* absolute, at most 80 bytes. Made if it is missing (not its parents), for its user alone; keys, store and control
			     * socket are in it. It must survive restarts: the server knows the agent by the key. */
	const char *config; /* sections agent, log and stun_servers of stile.yaml(5) as text; store.path is the folder's */
};
#define STILE_AGENT_OPTIONS { sizeof(struct stile_agent_options), NULL, NULL }

/* Returns when the agent runs; it need not be connected yet, and connects again by itself for ever. 0, or a negative errno and a sentence
 * in why (at most why_size bytes, always terminated): -EINVAL a bad option or configuration, -EBUSY there is one already, -ENOMEM. */
int stile_agent_start(const struct stile_agent_options *options, struct stile_agent **ret_agent, char *why, size_t why_size);

/* Waits until a server has let the agent in. 0; -ETIMEDOUT after timeout_ms (0: only asks). */
int stile_agent_wait(struct stile_agent *agent, unsigned timeout_ms);

/* One verb of the control protocol, answered in at most 30 s: "agent.status", "agent.jobs", "agent.job.add" … (`stile ask agent verbs`
 * lists them with what they take). args: a JSON object, or NULL for none. *ret_json is set to text that the caller free()s: of 0 the
 * result, of 1 the error object {"code", "text", "hint"}. Else a negative errno and *ret_json is NULL. */
int stile_agent_ask(struct stile_agent *agent, const char *verb, const char *args, char **ret_json);

/* Ends connections, threads and the child, and frees the agent; waits for that. NULL is fine; returns NULL. Must not be called from a fork()ed
 * child: there only the thread that forked lives on. */
struct stile_agent *stile_agent_stop(struct stile_agent *agent);

const char *stile_agent_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif
#endif
