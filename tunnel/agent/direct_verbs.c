/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control verbs of direct links: who is linked and over what path, with the reason why it is not a better one; a visit for as long as
 * somebody waits for it (stile connect); and a ping, which makes a link if there is none.
 *
 * Timer of a ping: its deadline, from being asked to the answer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/agent/direct_priv.h"

enum { PING_MS = 15 * 1000, PINGS_MAX = 64 };

static const char *const states[CHILD_LINK_STATES] = {
	[CHILD_LINK_CONNECTING] = "connecting", [CHILD_LINK_UP] = "up", [CHILD_LINK_INTERRUPTED] = "interrupted"
};
static const char *const stages[] = { [DLINK_GATHERING] = "gathering", [DLINK_CALLING] = "calling", [DLINK_TALKING] = "connecting" };

const char *dlink_state(const struct dlink *l)
{
	return l->stage == DLINK_TALKING && l->told.state != CHILD_LINK_CONNECTING ? states[l->told.state] : stages[l->stage];
}

json_t *dlink_json(const struct dlink *l)
{
	char id[IDENTITY_STRLEN], a[ADDR_STRLEN], b[ADDR_STRLEN];
	bool local = addr_family(&l->told.local) != AF_UNSPEC, remote = addr_family(&l->told.remote) != AF_UNSPEC;
	json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "link", (json_int_t)l->id, "peer", l->name,
			      "identity", identity_print(&l->peer, id), "role", l->role == CHILD_VISITOR ? "visitor" : "host", "server",
			      l->end->server, "state", dlink_state(l), "path", child_path_names[l->told.path], "local",
			      local ? addr_print(&l->told.local, a) : "", "remote", remote ? addr_print(&l->told.remote, b) : "", "pair",
			      l->told.pair, "reason", l->told.reason, "trying", l->told.trying);
	json_t *numbers = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "begun", (json_int_t)l->begun, "since",
				    (json_int_t)l->told.since, "rtt_us", (json_int_t)l->told.rtt_us, "loss_ppm", (json_int_t)l->told.loss_ppm,
				    "rate_up", (json_int_t)l->told.rate[0], "rate_down", (json_int_t)l->told.rate[1], "bytes_up",
				    (json_int_t)l->told.bytes[0], "bytes_down", (json_int_t)l->told.bytes[1], "connections",
				    (json_int_t)l->told.streams, "moves", (json_int_t)l->told.moves, "local_candidates",
				    (int)l->told.local_candidates, "remote_candidates", (int)l->told.remote_candidates);

	json_object_set_new(o, "gap_max_us", json_integer(l->told.gap_max_us));
	if (l->told.more)
		json_object_update_missing(o, l->told.more);
	json_object_update(o, numbers);
	json_decref(numbers);
	return o;
}

/* ---- tables ---- */

static json_t *peers_json(struct direct *d)
{
	json_t *rows = json_array();
	char id[IDENTITY_STRLEN];

	list_for_each (it, &d->peers) {
		const struct direct_peer *p = list_entry(it, struct direct_peer, node);
		const struct reach *r = p->allow.items;
		json_t *allow;

		if (!p->visitor && !p->host)
			continue; /* a guest, for as long as a share is there */
		allow = json_array();
		for (size_t i = 0; i < p->allow.n; i++) {
			char text[96];
			struct sb b = sb_init(text, sizeof(text));

			cfg_reach.print(NULL, &r[i], &b);
			json_array_append_new(allow, json_string(text));
		}
		json_array_append_new(rows, json_pack("{s:s, s:s, s:b, s:b, s:s, s:o}", "name", p->name, "identity", identity_print(&p->id, id),
						      "visitor", p->visitor, "host", p->host, "origin", p->of_file ? "file" : "store", "allow",
						      allow));
	}
	return rows;
}

static void verb_peers(struct control_request *rq, const json_t *args, void *arg)
{
	struct direct *d = arg;
	json_t *rows = json_array();
	struct child_info i;

	(void)args;
	child_info(d->child, &i);
	list_for_each (it, &d->links)
		json_array_append_new(rows, dlink_json(list_entry(it, struct dlink, node)));
	control_reply(rq, json_pack("{s:o, s:o, s:o, s:o, s:O*, s:b, s:{s:i, s:b, s:i, s:s}}", "rows", rows, "visits", visits_json(d), "known", peers_json(d),
				    "pending", contacts_json(d), "site", d->site, "enabled", d->enabled, "child", "pid", i.pid, "ready", i.ready, "starts", (int)i.starts, "why", i.why));
}

/* ---- stile connect ---- */

static void on_connect_cancel(struct control_request *rq, void *arg)
{
	struct dvisit *v = arg;
	struct direct *d = v->d;

	v->request = NULL;
	visit_remove(v);
	direct_want_child(d);
	control_fail(rq, "cancelled", NULL, "the visit is over");
}

static void verb_visit(struct control_request *rq, const json_t *args, void *arg)
{
	json_t *o = json_object_get(args, "visit");
	struct direct *d = arg;
	struct cfg *cfg = NULL;
	struct dvisit *v;
	char err[512];

	if (!d->enabled) {
		control_fail(rq, "conflict", NULL, "agent.direct.enabled is false");
		return;
	}
	if (!json_is_object(o) || visit_parse(o, err, sizeof(err), &cfg) < 0) {
		control_fail(rq, "bad-request", NULL, "%s", json_is_object(o) ? err : "visit must be a map with the keys of agent.visits");
		return;
	}
	if (visit_add(d, cfg, rq, &v, err, sizeof(err)) < 0) {
		control_fail(rq, "failed", NULL, "%s", err);
		return;
	}
	control_on_cancel(rq, on_connect_cancel, v);
	visit_news(v);
}

/* ---- ping ---- */

static void ping_free(struct dping *p)
{
	timer_stop(&p->deadline);
	list_unlink(&p->node);
	if (p->link)
		dlink_release(p->link);
	free(p);
}

static void fail(struct dping *p, const char *why)
{
	control_fail(p->request, "failed", "stile agent peers", "no answer: %s", why);
	ping_free(p);
}

void pings_free(struct direct *d)
{
	list_for_each_safe (it, &d->pings)
		fail(list_entry(it, struct dping, node), "the agent stops");
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct dping *p = container_of(t, struct dping, deadline);

	(void)now;
	fail(p, p->sent ? "the other agent did not answer over the link" : "no link came about in time");
}

static void send_ping(struct dping *p)
{
	const struct child_ping m = { .link = p->link->id, .cookie = p->cookie };

	if (p->sent)
		return;
	p->sent = true;
	p->sent_at = loop_now(p->d->loop);
	(void)direct_tell(p->d, CHILD_PING, &m, -1);
}

void ping_link_news(struct dlink *l)
{
	if (l->told.state != CHILD_LINK_UP)
		return;
	list_for_each_safe (it, &l->d->pings) {
		struct dping *p = list_entry(it, struct dping, node);

		if (p->link == l)
			send_ping(p);
	}
}

static bool find_link(struct dping *p, const struct direct_peer *peer, const char **ret_why)
{
	p->link = dlink_to(p->d, peer, VISIT_HEAD_START_MS, ret_why);
	if (p->link && p->link->told.state == CHILD_LINK_UP)
		send_ping(p);
	return p->link != NULL;
}

void pings_link_over(struct direct *d, struct dlink *l, enum wire_reason reason, const char *why)
{
	list_for_each_safe (it, &d->pings) {
		struct dping *p = list_entry(it, struct dping, node);
		const struct direct_peer *peer = peer_find(d, &l->peer);
		const char *cannot = why;

		if (p->link != l)
			continue;
		p->link = NULL;
		if (reason == WIRE_R_EPOCH && peer && find_link(p, peer, &cannot))
			continue;
		fail(p, cannot);
	}
}

void direct_on_pong(struct direct *d, const struct child_ping *m)
{
	list_for_each_safe (it, &d->pings) {
		struct dping *p = list_entry(it, struct dping, node);

		if (!p->link || p->link->id != m->link || p->cookie != m->cookie)
			continue;
		if (m->rtt_us)
			control_reply(p->request, json_pack("{s:I, s:s, s:o}", "rtt_us", (json_int_t)m->rtt_us, "path", child_path_names[m->path],
							    "link", dlink_json(p->link)));
		else
			control_fail(p->request, "failed", "stile agent peers", "no answer: the other agent did not answer over the link");
		ping_free(p);
		return;
	}
}

static const struct direct_peer *meant(struct direct *d, const char *word)
{
	struct identity_hash id;

	if (!word)
		return NULL;
	return identity_parse(text_of(word), &id) == 0 ? peer_find(d, &id) : peer_named(d, word);
}

static void verb_ping(struct control_request *rq, const json_t *args, void *arg)
{
	struct direct *d = arg;
	const char *word = json_string_value(json_object_get(args, "agent")), *why;
	const struct direct_peer *peer = meant(d, word);
	struct dping *p;
	unsigned n = 0;

	list_for_each (it, &d->pings)
		n++;
	p = peer && n < PINGS_MAX ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		control_fail(rq, peer ? "busy" : "not-found", "stile agent peers", peer ? "too many pings wait for an answer" : "no agent %s is known here",
			     word ? word : "");
		return;
	}
	*p = (struct dping){ .d = d, .request = rq, .cookie = ++d->last_cookie };
	p->deadline.fire = on_deadline;
	list_append(&d->pings, &p->node);
	loop_timer_set(d->loop, &p->deadline, PING_MS);
	if (!find_link(p, peer, &why))
		fail(p, why);
}

static const struct control_verb verbs[] = {
	{ "agent.peers", CONTROL_VIEWER, verb_peers, "links to other agents with path, round-trip time, loss, rate and the reason why it is not better; "
						     "visits; who is known" },
	{ "agent.visit", CONTROL_OPERATOR, verb_visit, "{visit}: a port here that leads to another agent's target, until the request is cancelled; progress "
						       "tells the port and the path" },
	{ "agent.ping", CONTROL_OPERATOR, verb_ping, "{agent}: the round-trip time to another agent over the link to it" },
};

void direct_add_verbs(struct direct *d)
{
	control_add_verbs(d->as->svc->control, verbs, ARRAY_LEN(verbs), d);
	contacts_add_verbs(d);
	visits_add_verbs(d);
	shares_add_verbs(d);
	guests_add_verbs(d);
}
