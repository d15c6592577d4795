/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Automatic external addresses: the watch of stun/public_watch.h and what follows from what it tells; the store's
 * memory of them; and the news that the machine's own addresses have changed. See external.h.
 *
 * What is remembered is an object of the store per relay address, kind "turn.external", written when the address is
 * another one. It is used at a start until the servers have spoken, and is told apart in `stile status`.
 */
#include "turn/external.h"
#include <errno.h>
#include <string.h>
#include "common/net_changes.h"
#include "stun/public_watch.h"
#include "turn/edge.h"
#include "turn/log_msgs.h"
#include "turn/metrics.h"
#include "turn/service.h"

static const char KIND[] = "turn.external";

struct turn_external {
	struct turn_service *ts;
	struct dns *dns;		/* made when it is first needed */
	struct net_changes *changes;	/* NULL: this machine does not tell */
	struct public_watch *watch;	/* NULL: nothing is automatic */
	struct public_watched remembered[TURN_MAX_OWN]; /* of the store */
	size_t n_remembered;
	enum public_why logged[TURN_MAX_OWN]; /* last outcome that a line told, by place in ts->net.relay */
};

/* ---- the store ---- */

static void on_loaded(const struct store_object *o, void *arg)
{
	struct turn_external *x = arg;
	const char *external = json_string_value(json_object_get(o->body, "external"));
	const char *server = json_string_value(json_object_get(o->body, "server"));
	struct public_watched w = { .state = PUBLIC_STATE_NEW };

	/* One bad row of an old or damaged store is as if there were none: the servers are asked anyway. */
	if (x->n_remembered >= ARRAY_LEN(x->remembered) || !external || addr_parse(text_of(o->key), 0, &w.local) < 0 ||
	    addr_parse(text_of(external), 0, &w.state.external) < 0 ||
	    addr_family(&w.local) != addr_family(&w.state.external))
		return;
	if (server)
		(void)addr_parse(text_of(server), 0, &w.state.server);
	w.state.known = w.state.remembered = true;
	w.state.found_at = json_integer_value(json_object_get(o->body, "found_at"));
	x->remembered[x->n_remembered++] = w;
}

/* Not being kept costs no more than a question at the next start. */
static void remember(const struct turn_external *x, const struct public_watched *w)
{
	char ip[ADDR_STRLEN], external[ADDR_STRLEN], server[ADDR_STRLEN];
	const struct store_call call = { .who = "stun_servers" };
	json_t *body;

	if (!x->ts->svc->store)
		return;
	body = json_pack("{s:s, s:s, s:I}", "external", addr_print_ip(&w->state.external, external), "server",
			 addr_print(&w->state.server, server), "found_at", (json_int_t)w->state.found_at);
	if (body)
		(void)store_put(x->ts->svc->store, &call, KIND, addr_print_ip(&w->local, ip), STORE_ANY, body);
}

/* ---- what is known ---- */

static const struct public_state *state_of(const struct turn_external *x, const struct addr *at)
{
	const struct public_state *st = x->watch ? public_watch_find(x->watch, at) : NULL;

	for (size_t i = 0; !st && i < x->n_remembered; i++)
		if (addr_equal_ip(&x->remembered[i].local, at))
			st = &x->remembered[i].state;
	return st;
}

void turn_external_fill(const struct turn_external *x, struct turn_relay_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct public_state *st = state_of(x, &set->v[i].at);
		if (set->v[i].automatic && st && st->known)
			set->v[i].outside = st->external;
	}
}

static void add_text(json_t *row, const char *key, const char *text)
{
	(void)json_object_set_new(row, key, json_string(text));
}

void turn_external_describe(const struct turn_external *x, const struct turn_relay_address *a, json_t *row)
{
	const struct public_state *st = a->automatic ? state_of(x, &a->at) : NULL;
	char text[ADDR_STRLEN];

	if (addr_family(&a->outside) != AF_UNSPEC && (a->automatic || !addr_equal_ip(&a->outside, &a->at)))
		add_text(row, "external", addr_print_ip(&a->outside, text));
	if (!a->automatic) {
		add_text(row, "external_state", addr_equal_ip(&a->outside, &a->at) ? "none" : "given");
		return;
	}
	add_text(row, "external_state", !st || !st->known ? "unknown" : st->remembered ? "remembered" : "found");
	if (st && st->known) {
		add_text(row, "external_server", addr_print(&st->server, text));
		(void)json_object_set_new(row, "external_found_at", json_integer(st->found_at));
		(void)json_object_set_new(row, "external_ports_kept", json_boolean(st->port_kept));
	}
	if (!st || st->why != PUBLIC_FOUND) {
		enum public_why why = st ? st->why : PUBLIC_ASKING;
		add_text(row, "external_why", public_why_text(why));
		add_text(row, "external_why_key", public_why_key(why));
	}
}

/* ---- what the watch tells ---- */

static struct turn_relay_address *relay_of(struct turn_service *ts, const struct addr *at)
{
	for (size_t i = 0; i < ts->net.relay.n; i++)
		if (ts->net.relay.v[i].automatic && addr_equal_ip(&ts->net.relay.v[i].at, at))
			return &ts->net.relay.v[i];
	return NULL;
}

/* A failure is told once for each reason, not in each round. */
static void log_outcome(struct turn_external *x, const struct turn_relay_address *a, const struct public_state *st)
{
	enum public_why *last = &x->logged[a - x->ts->net.relay.v];
	char at[ADDR_STRLEN], known[ADDR_STRLEN];

	if (st->why == *last)
		return;
	*last = st->why;
	addr_print_ip(&a->at, at);
	if (st->why == PUBLIC_FOUND && !st->port_kept)
		log_emit(&MSG_TURN_EXTERNAL_PORTS, LF_STR("address", at), LF_STR("external", addr_print_ip(&st->external, known)));
	if (st->why == PUBLIC_FOUND)
		return;
	log_emit(&MSG_TURN_EXTERNAL_UNKNOWN, LF_STR("address", at), LF_STR("why", public_why_text(st->why)),
		 LF_STR("goes_on_with", st->known ? addr_print_ip(&st->external, known) : "none: allocations are refused"));
}

/* The new address, for what comes from now on; on failure the next round tries again. */
static bool take_address(struct turn_external *x, const struct public_watched *w)
{
	struct turn_service *ts = x->ts;
	const struct addr was = relay_of(ts, &w->local)->outside;
	char err[256], at[ADDR_STRLEN], before[ADDR_STRLEN], after[ADDR_STRLEN], server[ADDR_STRLEN];

	if (turn_network_tell(ts, &w->local, &w->state.external, err, sizeof err) < 0) {
		log_emit(&MSG_TURN_EXTERNAL_FAILED, LF_STR("why", err));
		return false;
	}
	metric_add(ts->metrics, 0, TURN_M_EXTERNAL_CHANGES, 0, 1);
	addr_print_ip(&w->local, at);
	addr_print_ip(&w->state.external, after);
	addr_print(&w->state.server, server);
	if (addr_family(&was) == AF_UNSPEC)
		log_emit(&MSG_TURN_EXTERNAL_FOUND, LF_STR("address", at), LF_STR("external", after), LF_STR("server", server));
	else
		log_emit(&MSG_TURN_EXTERNAL_CHANGED, LF_STR("address", at), LF_STR("was", addr_print_ip(&was, before)),
			 LF_STR("is", after), LF_STR("server", server));
	return true;
}

static void on_told(const struct public_watched *w, bool changed, void *arg)
{
	struct turn_external *x = arg;
	struct turn_relay_address *a = relay_of(x->ts, &w->local);

	if (!a)
		return;
	if (w->state.why != PUBLIC_FOUND)
		metric_add(x->ts->metrics, 0, TURN_M_EXTERNAL_FAILURES, w->state.why, 1);
	else if (!addr_equal_ip(&a->outside, &w->state.external))
		changed = take_address(x, w);
	if (changed)
		remember(x, w);
	log_outcome(x, a, &w->state);
	turn_network_forget(x->ts);
}

/* ---- the network ---- */

static void on_network(void *arg)
{
	struct turn_external *x = arg;

	turn_network_changed(x->ts);
	if (x->dns)
		dns_forget(x->dns);
	if (x->watch)
		public_watch_now(x->watch);
}

/* ---- life ---- */

int turn_external_watch(struct turn_external *x, const struct turn_relay_set *set, const struct cfg_list *stun_servers)
{
	struct public_watched watched[TURN_MAX_OWN];
	struct public_watch *fresh = NULL;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < set->n; i++) {
		const struct public_state *st = state_of(x, &set->v[i].at);
		if (set->v[i].automatic)
			watched[n++] = (struct public_watched){ set->v[i].at, st ? *st : PUBLIC_STATE_NEW };
	}
	if (n && !x->dns)
		r = dns_new(x->ts->svc->loop, NULL, &x->dns);
	if (n && r == 0) {
		const struct public_watch_options o = { .loop = x->ts->svc->loop, .dns = x->dns, .servers = stun_servers->items,
							.n_servers = stun_servers->n, .watched = watched, .n_watched = n,
							.told = on_told, .arg = x };
		r = public_watch_new(&o, &fresh);
	}
	if (r < 0)
		return r;
	public_watch_free(x->watch);
	x->watch = fresh;
	for (size_t i = 0; i < ARRAY_LEN(x->logged); i++)
		x->logged[i] = PUBLIC_FOUND;
	return 0;
}

int turn_external_new(struct turn_service *ts, struct turn_external **ret_x)
{
	struct turn_external *x = calloc(1, sizeof *x);
	int r = 0;

	if (!x)
		return -ENOMEM;
	x->ts = ts;
	if (ts->svc->store)
		r = store_load(ts->svc->store, KIND, on_loaded, x);
	if (r != 0) {
		free(x);
		return r < 0 ? r : -EIO;
	}
	/* Without it the servers are still asked in their turn, and a reload looks at the addresses. */
	r = net_changes_new(ts->svc->loop, on_network, x, &x->changes);
	if (r < 0)
		log_emit(&MSG_TURN_EXTERNAL_NO_NEWS, LF_ERRNO("error", r));
	*ret_x = x;
	return 0;
}

struct turn_external *turn_external_free(struct turn_external *x)
{
	if (!x)
		return NULL;
	public_watch_free(x->watch);
	net_changes_free(x->changes);
	dns_free(x->dns);
	free(x);
	return NULL;
}
