/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs of the agent's identity: its fingerprint and what it knows of its servers, and an
 * enrolment code for one of them, which is used at once.
 *
 * The code is kept in memory until the server has taken it; from then on the pins say the rest.
 */
#include <string.h>
#include "common/bytes.h"
#include "tunnel/agent/dialer_priv.h"

enum { ANSWER_MS = 8000 }; /* less than the tool waits */

static json_t *hash_json(const struct identity_hash *h)
{
	char text[IDENTITY_STRLEN];

	return identity_hash_is_set(h) ? json_string(identity_print(h, text)) : json_null();
}

static json_t *server_json(const struct dialer *d)
{
	struct dialer_info i;

	dialer_info(d, &i);
	return json_pack("{s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:s}", "server", i.server, "pinned",
			 i.pinned, "enrolled", i.enrolled, "code_waits", i.code, "root",
			 hash_json(&i.root), "successor", hash_json(&i.successor), "shown",
			 hash_json(&i.shown), "way", i.way);
}

static void verb_identity(struct control_request *rq, const json_t *args, void *arg)
{
	struct dialers *ds = arg;
	json_t *rows = json_array();
	char own[IDENTITY_STRLEN];

	(void)args;
	list_for_each (n, &ds->all)
		json_array_append_new(rows, server_json(list_entry(n, struct dialer, node)));
	control_reply(rq, json_pack("{s:s, s:o}", "fingerprint",
				    identity_print(identity_hash(ds->identity), own), "servers", rows));
}

/* Which server the code is for: as asked, else as it says, else the only one. */
static struct dialer *choose(struct dialers *ds, const char *asked, const struct enrol_code *c)
{
	struct dialer *only = NULL;
	unsigned n_all = 0;

	list_for_each (n, &ds->all) {
		struct dialer *d = list_entry(n, struct dialer, node);

		if (asked ? strcmp(asked, d->memory.server) == 0 || strcmp(asked, d->host) == 0
			  : c->host[0] && text_ieq(text_of(c->host), text_of(d->host)) &&
				    c->port == d->ports[0])
			return d;
		only = d;
		n_all++;
	}
	return !asked && n_all == 1 ? only : NULL;
}

void dialer_enrol_ended(struct dialer *d, const char *why)
{
	struct control_request *rq = d->enrolling;

	d->enrolling = NULL;
	timer_stop(&d->enrol_late);
	if (rq && why)
		control_fail(rq, "failed", NULL, "%s", why);
	else if (rq)
		control_reply(rq, json_pack("{s:s}", "server", d->memory.server));
}

static void on_late(struct timer *t, uint64_t now)
{
	(void)now;
	dialer_enrol_ended(container_of(t, struct dialer, enrol_late),
			   "the server has not answered yet; the agent goes on trying with this code");
}

static void use(struct dialer *d, struct control_request *rq, const char *text)
{
	char err[256];

	if (dialer_set_code(d, text, true, err, sizeof(err)) < 0) {
		control_fail(rq, "bad-request", NULL, "%s", err);
		return;
	}
	d->memory.code[0] = 0; /* the same code once more: the server says whether it is good */
	dialer_enrol_ended(d, "another code was given");
	d->enrolling = rq;
	d->enrol_late.fire = on_late;
	loop_timer_set(d->all->o.loop, &d->enrol_late, ANSWER_MS);
	if (d->agent) {
		agent_disconnect(d->agent);
		agent_connect(d->agent);
	}
}

static void verb_enrol(struct control_request *rq, const json_t *args, void *arg)
{
	struct dialers *ds = arg;
	const char *text = json_string_value(json_object_get(args, "code"));
	const char *asked = json_string_value(json_object_get(args, "server"));
	struct enrol_code c;
	enum enrol_error e = text ? enrol_code_parse(text_of(text), &c) : ENROL_BAD_LENGTH;
	struct dialer *d;

	if (e != ENROL_OK) {
		control_fail(rq, "bad-request", "copy the code as stile tunnel enrol prints it",
			     "%s", enrol_error_text(e));
		return;
	}
	d = choose(ds, asked, &c);
	if (!d)
		control_fail(rq, "not-found",
			     "name it: stile agent enrol CODE --server HOST:PORT; agent.server lists them",
			     "it is not clear for which of the agent's servers this code is");
	else
		use(d, rq, text);
	bytes_wipe(&c, sizeof(c));
}

static const struct control_verb verbs[] = {
	{ "agent.identity", CONTROL_VIEWER, verb_identity,
	  "the agent's fingerprint, and what is pinned of each server" },
	{ "agent.enrol", CONTROL_ADMIN, verb_enrol,
	  "{code, server}: enrols with a one-time code, at once" },
};

void dialers_add_verbs(struct dialers *ds)
{
	if (ds->o.control)
		control_add_verbs(ds->o.control, verbs, ARRAY_LEN(verbs), ds);
}
