/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of what has to do with direct links, and the child's: what it is told at its start, and what it says. It is started
 * when there is something for it to do, and stays while anybody may come or is visited.
 *
 * STUN servers are given to it as addresses: it resolves no names.
 */
#include "tunnel/agent/direct_priv.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "tunnel/log_msgs.h"
#include "tunnel/policy.h"

enum { NAMES_FIRST_MS = 5 * 1000, NAMES_UNKNOWN_MS = 60 * 1000, NAMES_KNOWN_MS = 3600 * 1000 };

/* ---- the child is told ---- */

int direct_tell(struct direct *d, unsigned type, const void *msg, int fd)
{
	return child_send(d->child, type, msg, fd);
}

static bool is_local(const struct agent_service *as)
{
	for (unsigned i = 0; i < as->n_ends; i++) {
		struct agent_info info;

		agent_info(as->ends[i].agent, &info);
		if (info.state == AGENT_UP && addr_classify(&info.server) == ADDR_LOOPBACK)
			return true;
	}
	return false;
}

static uint32_t flags_of(const struct direct *d, const struct agent_config *c)
{
	return (is_local(d->as) ? CHILD_F_LOOPBACK : 0) | (c->direct.direct ? 0 : CHILD_F_NO_DIRECT) | (c->direct.ipv6 ? 0 : CHILD_F_NO_IPV6) |
	       (c->direct.portmap ? 0 : CHILD_F_NO_PORTMAP) | (c->direct.probes ? 0 : CHILD_F_NO_PROBES) |
	       (c->direct.tcp ? 0 : CHILD_F_NO_TCP) | (c->direct.turn ? 0 : CHILD_F_NO_TURN);
}

/* Also one that is not ready yet: what it was told at its start may be of before. Without a child nobody hears it. */
void direct_setup_child(struct direct *d)
{
	static const char *const congestions[] = { "bbr", "bbr2", "cubic" };
	const struct agent_config *c = &d->conf->agent;
	const struct identity *id = dialers_identity(d->as->dialers);
	struct identity_der der;
	bool any_port = c->direct.ports.first <= 1024 && c->direct.ports.last == 65535;
	struct child_setup m = { .identity = { identity_hash(id)->b, WIRE_PIN }, .flags = flags_of(d, c),
				 .first_port = any_port ? 0 : c->direct.ports.first, .last_port = any_port ? 0 : c->direct.ports.last,
				 .congestion = text_of(congestions[c->direct.congestion]), .memory = { d->memory, d->memory_n } };

	if (identity_to_der(id, &der) < 0)
		return;
	for (unsigned i = 0; i < CHILD_SERVERS_MAX; i++)
		if (d->stun[i].address[0])
			m.stun[m.n_stun++] = text_of(d->stun[i].address);
	for (unsigned i = 0; i < DIRECT_TURN_MAX && m.n_stun < CHILD_SERVERS_MAX; i++)
		if (direct_turn_stun(d, i))
			m.stun[m.n_stun++] = text_of(direct_turn_stun(d, i));
	m.key = (struct wire_bytes){ der.key, der.key_n };
	m.certificate = (struct wire_bytes){ der.cert, der.cert_n };
	(void)direct_tell(d, CHILD_SETUP, &m, -1);
	direct_turn_tell(d);
	identity_der_free(&der);
}

/* ---- STUN servers by address ---- */

static void on_stun_address(const struct dns_answer *a, void *arg)
{
	struct direct_stun *s = arg;

	s->query = NULL;
	direct_name_found(s->d, a, s->address);
}

/* True: all are known. */
static bool find_stun_servers(struct direct *d)
{
	const struct cfg_hostport *h = d->conf->stun_servers.items;
	bool known = true;

	for (size_t i = 0; i < MIN(d->conf->stun_servers.n, (size_t)CHILD_SERVERS_MAX); i++) {
		struct direct_stun *s = &d->stun[i];
		struct dns_request rq = { .host = h[i].host, .port = h[i].port, .family = AF_UNSPEC, .done = on_stun_address, .arg = s };

		s->d = d;
		if (!s->query)
			(void)dns_addresses(d->dns, &rq, &s->query); /* without it there is one STUN server less */
		known &= s->address[0] != '\0';
	}
	return known;
}

static void forget_stun_servers(struct direct *d)
{
	for (unsigned i = 0; i < CHILD_SERVERS_MAX; i++) {
		d->stun[i].query = dns_cancel(d->stun[i].query);
		d->stun[i].address[0] = '\0';
	}
}

/* ---- names of STUN and TURN servers ---- */

void direct_name_found(struct direct *d, const struct dns_answer *a, char address[static ADDR_STRLEN])
{
	char now[ADDR_STRLEN];

	if (a->status != DNS_OK || strcmp(addr_print(&a->addr[0], now), address) == 0)
		return;
	memcpy(address, now, sizeof(now));
	direct_setup_child(d);
}

/* An agent may be up before its router is, and servers move: names are asked for again, ever more seldom. */
static void ask_names(struct direct *d)
{
	bool known = find_stun_servers(d);

	known &= direct_turn_find(d);
	loop_timer_set(d->loop, &d->names, d->names_ms);
	d->names_ms = MIN(2 * d->names_ms, known ? NAMES_KNOWN_MS : NAMES_UNKNOWN_MS);
}

static void on_names(struct timer *t, uint64_t now)
{
	(void)now;
	ask_names(container_of(t, struct direct, names));
}

static void begin_asking_names(struct direct *d)
{
	d->names.fire = on_names;
	d->names_ms = NAMES_FIRST_MS;
	if (d->conf->stun_servers.n || d->conf->agent.direct.turn_servers.n)
		ask_names(d);
	else
		timer_stop(&d->names);
}

/* ---- the child speaks ---- */

static void on_started(struct child *c, void *arg)
{
	struct direct *d = arg;

	(void)c;
	direct_setup_child(d);
}

static void on_ready(struct direct *d)
{
	struct child_info i;

	child_info(d->child, &i);
	log_emit(&MSG_AGENT_DIRECT_READY, LF_I64("pid", i.pid), LF_U64("starts", i.starts));
	list_for_each (it, &d->links)
		dlink_announce(list_entry(it, struct dlink, node));
	visits_try(d, NULL);
}

static void on_show(struct direct *d, const struct child_show *m)
{
	json_t *o = json_loadb((const char *)m->json.p, m->json.n, JSON_REJECT_DUPLICATES, NULL);
	struct dlink *l = m->link ? dlink_find(d, m->link) : NULL;

	if (json_is_object(o) && l) {
		dlink_on_show(l, o);
	} else if (json_is_object(o) && !m->link) {
		json_decref(d->site);
		d->site = o;
	} else {
		json_decref(o);
	}
}

static void on_log(struct direct *d, const struct child_log *m)
{
	uint64_t suppressed;

	if (m->level <= LOG_LVL_WARN && log_gate_pass(&d->gate, loop_now(d->loop), &suppressed))
		log_emit(&MSG_AGENT_DIRECT_SAYS, LF_TEXT("text", m->text), LF_U64("link", m->link), LF_U64("suppressed", suppressed));
	else
		log_emit(&MSG_AGENT_DIRECT_TELLS, LF_TEXT("text", m->text), LF_U64("link", m->link));
}

static void on_gone(struct dlink *l, const struct child_link *m)
{
	char why[DIRECT_WHY];

	wire_text_copy(why, sizeof(why), m->text);
	dlink_end(l, m->reason ? (enum wire_reason)m->reason : WIRE_R_ERROR, *why ? why : wire_reason_text(m->reason), true);
}

/* What names a link that is not there any more is of the past. */
static void on_link_message(struct direct *d, struct dlink *l, unsigned type, const union child_any *m)
{
	switch (type) {
	case CHILD_ICE_LOCAL: dlink_on_ice(l, &m->ice); break;
	case CHILD_WANT_CARRIER: dlink_want_carrier(l); break;
	case CHILD_LINK_STATE: dlink_on_state(l, &m->link_state); break;
	case CHILD_LINK_GONE: on_gone(l, &m->link); break;
	case CHILD_ADMIT: direct_on_admit(d, l, &m->admit); break;
	case CHILD_STREAM: direct_on_stream(d, l, &m->stream); break;
	case CHILD_SIGNAL: {
		struct offer o = { .kind = OFFER_SIGNAL, .body = m->signal.body };

		(void)dlink_say(l, &o);
		break;
	}
	default: break;
	}
}

static uint32_t link_of(unsigned type, const union child_any *m)
{
	switch (type) {
	case CHILD_ICE_LOCAL: return m->ice.link;
	case CHILD_WANT_CARRIER:
	case CHILD_LINK_GONE: return m->link.link;
	case CHILD_LINK_STATE: return m->link_state.link;
	case CHILD_ADMIT: return m->admit.link;
	case CHILD_STREAM: return m->stream.link;
	case CHILD_SIGNAL: return m->signal.link;
	default: return 0;
	}
}

static void on_message(struct child *c, unsigned type, const union child_any *m, int *fd, void *arg)
{
	struct direct *d = arg;
	struct dlink *l;

	(void)c;
	(void)fd;
	switch (type) {
	case CHILD_READY: on_ready(d); return;
	case CHILD_MEMORY: direct_memory_keep(d, &m->memory.memory); return;
	case CHILD_LOG: on_log(d, &m->log); return;
	case CHILD_SHOW: on_show(d, &m->show); return;
	case CHILD_PONG: direct_on_pong(d, &m->ping); return;
	default: break;
	}
	l = dlink_find(d, link_of(type, m));
	if (l)
		on_link_message(d, l, type, m);
	else if (type == CHILD_ADMIT) /* it waits for an answer */
		(void)direct_tell(d, CHILD_ADMITTED, &(struct child_admitted){ .request = m->admit.request, .reason = WIRE_R_SESSION }, -1);
}

static void on_died(struct child *c, const char *why, void *arg)
{
	struct direct *d = arg;

	(void)c;
	log_emit(&MSG_AGENT_DIRECT_DIED, LF_STR("reason", why), LF_U64("links", d->n_links));
	control_publish(d->as->svc->control, "agent.peers", json_pack("{s:s, s:s}", "event", "child-died", "reason", why));
	dlinks_of_dead_child(d, why);
}

static const struct child_ops child_ops = { .started = on_started, .message = on_message, .died = on_died };

void direct_want_child(struct direct *d)
{
	bool wanted = d->n_links != 0;

	wanted |= shares_any(d);
	list_for_each (it, &d->visits)
		wanted |= list_entry(it, struct dvisit, node)->fd >= 0;
	list_for_each (it, &d->peers)
		wanted |= list_entry(it, struct direct_peer, node)->visitor;
	child_want(d->child, d->enabled && wanted);
}

/* ---- life ---- */

int direct_new(struct agent_service *as, struct direct **ret_d)
{
	struct direct *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->as = as;
	d->loop = as->svc->loop;
	d->conf = cfg_values(as->svc->cfg);
	list_init(&d->peers);
	list_init(&d->links);
	list_init(&d->visits);
	list_init(&d->pings);
	list_init(&d->admits);
	list_init(&d->contacts);
	list_init(&d->invites);
	list_init(&d->shares);
	list_init(&d->guests);
	r = bytes_random(d->epoch, sizeof(d->epoch));
	if (r == 0)
		r = dns_new(d->loop, NULL, &d->dns);
	if (r == 0)
		r = peers_open(d);
	if (r == 0)
		r = visits_open(d);
	if (r == 0)
		direct_memory_load(d);
	if (r == 0)
		r = child_new(d->loop, &child_ops, d, &d->child);
	if (r < 0) {
		direct_free(d);
		return r;
	}
	*ret_d = d;
	return 0;
}

struct direct *direct_free(struct direct *d)
{
	if (!d)
		return NULL;
	pings_free(d);
	contacts_free(d);
	guests_free(d);
	shares_free(d);
	visits_free(d);
	while (!list_empty(&d->links))
		dlink_end(list_entry(d->links.next, struct dlink, node), WIRE_R_STOPPING, "", true);
	admits_free(d);
	peers_free(d);
	timer_stop(&d->names);
	direct_turn_free(d);
	child_free(d->child);
	dns_free(d->dns);
	json_decref(d->site);
	free(d->memory);
	free(d);
	return NULL;
}

int direct_configure(struct direct *d, const struct agent_root *conf)
{
	const struct agent_root *before = d->conf;
	const struct agent_config *c = &conf->agent;
	int r;

	d->conf = conf;
	d->enabled = c->direct.enabled;
	forget_stun_servers(d);
	direct_turn_configure(d, c);
	begin_asking_names(d);
	direct_turn_ask(d, NULL);
	if (c->allow.n && (!before->agent.allow.n || prefixes_less(&before->agent.allow, &c->allow)))
		peers_reach_less(d);
	r = peers_configure(d, c);
	if (r == 0)
		r = visits_configure(d, c);
	direct_want_child(d);
	direct_setup_child(d);
	if (r < 0)
		d->conf = before;
	return r;
}

void direct_on_frame(struct direct *d, struct agent_end *e, unsigned type, const union wire_msg *m)
{
	if (!d->enabled)
		return;
	switch (type) {
	case WIRE_SIGNAL: direct_on_signal(d, e, &m->signal); break;
	case WIRE_SIGNAL_LOST: dlink_on_lost(d, e, &m->signal_lost); break;
	case WIRE_RELAY: dlink_on_relay(d, e, &m->relay); break;
	case WIRE_TURN: direct_turn_given(d, e, &m->turn); break;
	case WIRE_SHARE_STATE: shares_state(d, e, &m->share_state); break;
	default: break;
	}
}

void direct_server_up(struct direct *d, struct agent_end *e)
{
	if (is_local(d->as))
		direct_setup_child(d);
	direct_turn_ask(d, e);
	visits_try(d, e);
	shares_server_up(d, e);
	guests_try(d);
	dlinks_tell(d, e);
}

void direct_server_down(struct direct *d, const struct agent_end *e)
{
	dlinks_server_down(d, e);
	shares_server_down(d);
}

bool direct_share_target(struct direct *d, uint64_t id, char host[static 256], uint16_t *ret_port)
{
	struct share_target t;

	if (!shares_target(d, id, &t))
		return false;
	(void)snprintf(host, 256, "%s", t.host);
	*ret_port = t.port;
	return true;
}

struct dns *direct_dns(struct direct *d)
{
	return d->dns;
}

void direct_network_changed(struct direct *d)
{
	dns_forget(d->dns);
	(void)direct_tell(d, CHILD_NETWORK_CHANGED, &(struct child_nothing){ 0 }, -1);
	begin_asking_names(d);
}
