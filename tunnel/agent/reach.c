/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verb agent.reach: the server is asked to connect back to a port of this agent's own address, as the server sees it, and
 * what it says becomes the answer of the verb. Who listens on the port is the caller's affair (stile test reach, a share).
 *
 * Timer: a server that says nothing has lost the request, or the control connection.
 */
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/agent/service.h"

enum { REACH_MAX = 16, REACH_MS = 20 * 1000 };

struct agent_reach {
	struct list node;
	struct agent_end *end;
	struct control_request *rq;
	uint32_t tag;
	struct timer timer;
};

static const char *const labels[] = { [WIRE_REACH_OURS] = "ours",	[WIRE_REACH_OPEN] = "open",    [WIRE_REACH_REFUSED] = "refused",
				      [WIRE_REACH_SILENT] = "silent", [WIRE_REACH_NO_WAY] = "no-way", [WIRE_REACH_LIMIT] = "limit" };

static void reach_free(struct agent_reach *r)
{
	list_unlink(&r->node);
	timer_stop(&r->timer);
	free(r);
}

static void on_late(struct timer *t, uint64_t now)
{
	struct agent_reach *r = container_of(t, struct agent_reach, timer);

	(void)now;
	control_fail(r->rq, "no-answer", "stile agent status", "the server %s did not say what became of it", r->end->server);
	reach_free(r);
}

void agent_reach_on_frame(struct agent_end *e, const struct wire_reached *m)
{
	char at[ADDR_STRLEN] = "", text[520];

	wire_text_copy(text, sizeof(text), m->text);
	if (addr_family(&m->address) != AF_UNSPEC)
		(void)addr_print(&m->address, at);
	list_for_each_safe (it, &e->as->reaches) {
		struct agent_reach *r = list_entry(it, struct agent_reach, node);

		if (r->end != e || r->tag != m->tag)
			continue;
		control_reply(r->rq, json_pack("{s:s, s:s, s:s, s:I, s:s}", "server", e->server, "result",
					       m->result < ARRAY_LEN(labels) && labels[m->result] ? labels[m->result] : "other", "address", at, "us",
					       (json_int_t)m->us, "text", text));
		reach_free(r);
	}
}

static struct agent_end *end_of(struct agent_service *as, const char *server)
{
	for (unsigned i = 0; i < as->n_ends; i++) {
		struct agent_end *e = &as->ends[i];

		if (server ? agent_end_is(e, server) : e->state == AGENT_UP)
			return e;
	}
	return NULL;
}

/* True: the request was ended. */
static bool refused(struct agent_service *as, struct control_request *rq, const struct agent_end *e, json_int_t port)
{
	unsigned n = 0;

	list_for_each (it, &as->reaches)
		n++;
	if (port < 1 || port > 65535)
		control_fail(rq, "bad-request", NULL, "port must be 1 to 65535");
	else if (!e || e->state != AGENT_UP)
		control_fail(rq, "not-connected", "stile agent status", "this agent is not connected to a server that could connect back");
	else if (!agent_may_reach(e->agent))
		control_fail(rq, "unsupported", "update stile-tunnel there", "the server %s is older than this test", e->server);
	else if (n >= REACH_MAX)
		control_fail(rq, "busy", NULL, "%d tests are under way", REACH_MAX);
	else
		return false;
	return true;
}

/* The caller's own nonce, so that it knows the connection when it comes; else a random one. */
static bool nonce_of(const json_t *args, uint8_t nonce[static WIRE_REACH_NONCE])
{
	const char *hex = json_string_value(json_object_get(args, "nonce"));
	size_t n = 0;

	if (!hex)
		return RAND_bytes(nonce, WIRE_REACH_NONCE) == 1;
	return hex_decode(text_of(hex), nonce, WIRE_REACH_NONCE, &n) == 0 && n == WIRE_REACH_NONCE;
}

static void verb_reach(struct control_request *rq, const json_t *args, void *arg)
{
	struct agent_service *as = arg;
	json_int_t port = json_integer_value(json_object_get(args, "port"));
	struct agent_end *e = end_of(as, json_string_value(json_object_get(args, "server")));
	uint8_t nonce[WIRE_REACH_NONCE];
	struct wire_reach_msg m = { .port = (uint16_t)port, .nonce = { nonce, sizeof(nonce) } };
	struct agent_reach *r;

	if (refused(as, rq, e, port))
		return;
	if (!nonce_of(args, nonce)) {
		control_fail(rq, "bad-request", NULL, "nonce must be %d hexadecimal digits", 2 * WIRE_REACH_NONCE);
		return;
	}
	r = calloc(1, sizeof(*r));
	m.tag = ++as->last_reach ? as->last_reach : ++as->last_reach;
	if (!r || agent_send(e->agent, WIRE_REACH, &m) < 0) {
		free(r);
		control_fail(rq, "not-connected", NULL, "the request could not be sent to %s", e->server);
		return;
	}
	*r = (struct agent_reach){ .end = e, .rq = rq, .tag = m.tag, .timer = { .fire = on_late } };
	list_append(&as->reaches, &r->node);
	loop_timer_set(as->svc->loop, &r->timer, REACH_MS);
}

void agent_reach_free(struct agent_service *as)
{
	list_for_each_safe (it, &as->reaches) {
		struct agent_reach *r = list_entry(it, struct agent_reach, node);

		control_fail(r->rq, "stopping", NULL, "the agent stops");
		reach_free(r);
	}
}

static const struct control_verb verbs[] = {
	{ "agent.reach", CONTROL_OPERATOR, verb_reach,
	  "{port, server, nonce}: the server connects back to this port of this agent's own address; what became of it" },
};

void agent_reach_init(struct agent_service *as)
{
	control_add_verbs(as->svc->control, verbs, ARRAY_LEN(verbs), as);
}
