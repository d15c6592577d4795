/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public addresses of interfaces; see public_address.h. A change is told from a timer, not from within the watch, for
 * whoever is told makes a new plan of listeners, and may make a new watch.
 *
 * What is known stays known while the servers are silent: that nobody answers does not make it wrong. Ports are asked for
 * from the interfaces' own sockets, again and again, which keeps them open in the router, too; one counts only with the
 * address that the watch knows, for an old mapping may outlive a change of address.
 */
#include "sip-proxy/public_address.h"
#include <errno.h>
#include <string.h>
#include "sip-proxy/log_msgs.h"
#include "stun/nat_check.h"
#include "stun/public_watch.h"

/* Asked for so often: a router forgets UDP after half a minute (RFC 4787 REQ-5 wants two). */
enum { PORTS_MS = 20000, PORTS_FIRST_MS = 1000, PORTS_EAGER = 5 };

struct port_of { /* a UDP interface */
	struct addr at, mapped; /* as it is configured; AF_UNSPEC: not known */
};

struct sip_public {
	struct sip_public_options o;
	struct dns *dns;
	struct public_watch *watch;
	struct public_watched watched[PUBLIC_WATCHED_MAX]; /* as last told */
	size_t n;
	struct cfg_hostport servers[PUBLIC_SERVERS_MAX]; /* hosts malloc'd */
	size_t n_servers;
	struct timer tell, ask;
	struct port_of ports[PUBLIC_WATCHED_MAX];
	size_t n_ports;
	unsigned eager; /* questions that were put soon after each other since the start of the watch */
	struct nat_of { /* as watched[] */
		struct sip_public *p;
		struct nat_check *check; /* under way */
		enum nat_type type;
		bool known;
	} nat[PUBLIC_WATCHED_MAX];
};

/* ---- life ---- */

static void on_tell(struct timer *t, uint64_t now)
{
	struct sip_public *p = container_of(t, struct sip_public, tell);

	(void)now;
	p->o.changed(p->o.arg);
}

static struct public_watched *find(struct sip_public *p, const struct addr *local);

static void on_ask(struct timer *t, uint64_t now)
{
	struct sip_public *p = container_of(t, struct sip_public, ask);
	bool unknown = false;

	(void)now;
	for (size_t i = 0; i < p->n_ports; i++) {
		const struct public_watched *w = find(p, &p->ports[i].at);
		unknown |= addr_family(&p->ports[i].mapped) == AF_UNSPEC;
		if (w && w->state.known && addr_family(&w->state.server) != AF_UNSPEC && p->o.ask)
			p->o.ask(p->o.arg, &p->ports[i].at, &w->state.server);
	}
	if (p->n_ports)
		loop_timer_set(p->o.loop, t, unknown && p->eager++ < PORTS_EAGER ? PORTS_FIRST_MS : PORTS_MS);
}

static void ask_soon(struct sip_public *p)
{
	p->eager = 0;
	if (p->n_ports)
		loop_timer_set(p->o.loop, &p->ask, 0);
}

int sip_public_new(const struct sip_public_options *o, struct sip_public **ret_p)
{
	struct sip_public *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->o = *o;
	p->tell.fire = on_tell;
	p->ask.fire = on_ask;
	*ret_p = p;
	return 0;
}

static void forget_nats(struct sip_public *p)
{
	for (size_t i = 0; i < PUBLIC_WATCHED_MAX; i++) {
		nat_check_free(p->nat[i].check);
		p->nat[i] = (struct nat_of){ .p = p };
	}
}

static void forget_servers(struct sip_public *p)
{
	for (size_t i = 0; i < p->n_servers; i++)
		free(p->servers[i].host);
	p->n_servers = 0;
}

struct sip_public *sip_public_free(struct sip_public *p)
{
	if (!p)
		return NULL;
	timer_stop(&p->tell);
	timer_stop(&p->ask);
	forget_nats(p);
	public_watch_free(p->watch);
	dns_free(p->dns);
	forget_servers(p);
	free(p);
	return NULL;
}

/* ---- the watch ---- */

static struct public_watched *find(struct sip_public *p, const struct addr *local)
{
	for (size_t i = 0; i < p->n; i++)
		if (addr_equal_ip(&p->watched[i].local, local))
			return &p->watched[i];
	return NULL;
}

static void on_nat(const struct nat_result *r, void *arg)
{
	struct nat_of *n = arg;
	const struct public_watched *w = &n->p->watched[n - n->p->nat];
	char at[ADDR_STRLEN];

	if (r->error == 0 && (!n->known || n->type != r->type))
		log_emit(&MSG_SIP_NAT_TYPE, LF_STR("address", addr_print_ip(&w->local, at)),
			 LF_STR("type", nat_type_name(r->type)), LF_STR("means", nat_type_meaning(r->type)));
	n->known = r->error == 0;
	n->type = r->type;
	n->check = nat_check_free(n->check);
}

/* By the server that has just told the public address. */
static void check_nat(struct sip_public *p, const struct public_watched *w)
{
	struct nat_of *n = &p->nat[w - p->watched];

	n->p = p;
	n->check = nat_check_free(n->check);
	if (w->state.known && addr_family(&w->state.server) != AF_UNSPEC)
		(void)nat_check_new(&(struct nat_check_options){ .loop = p->o.loop,
								 .local = w->local,
								 .server = w->state.server,
								 .done = on_nat,
								 .arg = n },
				    &n->check);
}

static void on_told(const struct public_watched *w, bool changed, void *arg)
{
	struct sip_public *p = arg;
	struct public_watched *mine = find(p, &w->local);
	char at[ADDR_STRLEN], was[ADDR_STRLEN] = "", is[ADDR_STRLEN], server[ADDR_STRLEN];
	enum public_why before;

	if (!mine)
		return;
	before = mine->state.why;
	if (mine->state.known)
		addr_print_ip(&mine->state.external, was);
	mine->state = w->state;
	addr_print_ip(&w->local, at);
	if (changed || (w->state.why == PUBLIC_FOUND && !p->nat[mine - p->watched].known && !p->nat[mine - p->watched].check))
		check_nat(p, mine);
	if (changed) {
		log_emit(&MSG_SIP_PUBLIC_ADDRESS, LF_STR("address", at), LF_STR("was", was),
			 LF_STR("is", addr_print_ip(&w->state.external, is)),
			 LF_STR("server", addr_print(&w->state.server, server)));
		ask_soon(p);
		loop_timer_set(p->o.loop, &p->tell, 0);
	} else if (w->state.why != PUBLIC_FOUND && w->state.why != before) {
		log_emit(&MSG_SIP_PUBLIC_UNKNOWN, LF_STR("address", at),
			 LF_STR("why", public_why_text(w->state.why)),
			 LF_STR("goes_on_with", was[0] ? was : "its own address"));
	}
}

void sip_public_seen(struct sip_public *p, const struct addr *at, const struct addr *mapped)
{
	char text[ADDR_STRLEN], was[ADDR_STRLEN] = "", is[ADDR_STRLEN];

	for (size_t i = 0; i < p->n_ports; i++) {
		struct port_of *o = &p->ports[i];
		if (!addr_equal(&o->at, at) || addr_equal(&o->mapped, mapped))
			continue;
		if (addr_family(&o->mapped) != AF_UNSPEC)
			addr_print(&o->mapped, was);
		if (addr_port(mapped) != addr_port(at))
			log_emit(&MSG_SIP_PUBLIC_PORT, LF_STR("interface", addr_print(at, text)),
				 LF_STR("was", was), LF_STR("is", addr_print(mapped, is)));
		o->mapped = *mapped;
		loop_timer_set(p->o.loop, &p->tell, 0);
	}
}

static bool same_servers(const struct sip_public *p, const struct cfg_list *l)
{
	const struct cfg_hostport *v = l->items;

	if (MIN(l->n, (size_t)PUBLIC_SERVERS_MAX) != p->n_servers)
		return false;
	for (size_t i = 0; i < p->n_servers; i++)
		if (strcmp(v[i].host, p->servers[i].host) != 0 || v[i].port != p->servers[i].port)
			return false;
	return true;
}

static void keep_servers(struct sip_public *p, const struct cfg_list *l)
{
	const struct cfg_hostport *v = l->items;

	forget_servers(p);
	for (size_t i = 0; i < l->n && i < PUBLIC_SERVERS_MAX; i++) {
		char *host = strdup(v[i].host);
		if (host)
			p->servers[p->n_servers++] = (struct cfg_hostport){ host, v[i].port };
	}
}

bool sip_public_is_auto(const struct sip_interface_section *f)
{
	return f->advertise &&
	       (strcmp(f->advertise, "auto") == 0 || strncmp(f->advertise, "auto:", 5) == 0);
}

static size_t collect(struct sip_public *p, const struct sip_interface_section *v, size_t n,
		      struct public_watched out[static PUBLIC_WATCHED_MAX])
{
	size_t k = 0;

	for (size_t i = 0; i < n && k < PUBLIC_WATCHED_MAX; i++) {
		struct addr local = v[i].listen.at;
		const struct public_watched *known;
		bool twice = false;
		if (!v[i].active || !sip_public_is_auto(&v[i]))
			continue;
		addr_set_port(&local, 0);
		for (size_t j = 0; j < k; j++)
			twice |= addr_equal_ip(&out[j].local, &local);
		if (twice)
			continue;
		known = find(p, &local);
		out[k++] = known ? *known : (struct public_watched){ local, PUBLIC_STATE_NEW };
	}
	return k;
}

/* Of those that have no port of their own in the configuration; what is known of one stays known. */
static void collect_ports(struct sip_public *p, const struct sip_interface_section *v, size_t n)
{
	struct port_of fresh[PUBLIC_WATCHED_MAX];
	size_t k = 0;
	bool new = false;

	for (size_t i = 0; i < n && k < PUBLIC_WATCHED_MAX; i++) {
		if (!v[i].active || v[i].listen.proto != SIP_LISTEN_UDP || !v[i].advertise ||
		    strcmp(v[i].advertise, "auto") != 0)
			continue;
		fresh[k] = (struct port_of){ .at = v[i].listen.at };
		for (size_t j = 0; j < p->n_ports; j++)
			if (addr_equal(&p->ports[j].at, &fresh[k].at))
				fresh[k] = p->ports[j];
		new |= addr_family(&fresh[k].mapped) == AF_UNSPEC;
		k++;
	}
	memcpy(p->ports, fresh, k * sizeof(*fresh));
	p->n_ports = k;
	if (new)
		ask_soon(p);
}

static bool same_set(struct sip_public *p, const struct public_watched *v, size_t n)
{
	if (n != p->n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!find(p, &v[i].local))
			return false;
	return true;
}

void sip_public_watch(struct sip_public *p, const struct sip_interface_section *v, size_t n,
		      const struct cfg_list *servers)
{
	struct public_watched fresh[PUBLIC_WATCHED_MAX];
	size_t k = collect(p, v, n, fresh);
	struct public_watch *watch = NULL;
	struct public_watch_options o;

	collect_ports(p, v, n);
	if (same_set(p, fresh, k) && same_servers(p, servers))
		return;
	if (k && !p->dns && dns_new(p->o.loop, NULL, &p->dns) < 0)
		return;
	o = (struct public_watch_options){ .loop = p->o.loop,
					   .dns = p->dns,
					   .servers = servers->items,
					   .n_servers = servers->n,
					   .watched = fresh,
					   .n_watched = k,
					   .told = on_told,
					   .arg = p };
	if (k && public_watch_new(&o, &watch) < 0)
		return;
	public_watch_free(p->watch);
	forget_nats(p);
	p->watch = watch;
	memcpy(p->watched, fresh, k * sizeof(*fresh));
	p->n = k;
	keep_servers(p, servers);
}

void sip_public_now(struct sip_public *p)
{
	for (size_t i = 0; i < p->n; i++)
		check_nat(p, &p->watched[i]);
	if (p->watch)
		public_watch_now(p->watch);
	ask_soon(p);
}

/* ---- what is known ---- */

static const struct public_watched *of(const struct sip_public *p, const struct sip_interface_section *f)
{
	for (size_t i = 0; i < p->n; i++)
		if (addr_equal_ip(&p->watched[i].local, &f->listen.at))
			return &p->watched[i];
	return NULL;
}

/* The port that the router gives its socket; 0: not known, or no matter. */
static uint16_t port_outside(const struct sip_public *p, const struct sip_interface_section *f,
			     const struct addr *external)
{
	for (size_t i = 0; i < p->n_ports; i++)
		if (f->listen.proto == SIP_LISTEN_UDP && addr_equal(&p->ports[i].at, &f->listen.at) &&
		    addr_equal_ip(&p->ports[i].mapped, external))
			return addr_port(&p->ports[i].mapped);
	return 0;
}

void sip_public_name(const struct sip_public *p, const struct sip_interface_section *f, char *out,
		     size_t n)
{
	const struct public_watched *w = of(p, f);
	const char *port = f->advertise ? strchr(f->advertise, ':') : NULL;
	uint64_t own = addr_port(&f->listen.at);
	uint16_t outside = w ? port_outside(p, f, &w->state.external) : 0;
	struct addr at;
	char text[ADDR_STRLEN];

	out[0] = 0;
	if (!sip_public_is_auto(f)) {
		text_append(out, n, f->advertise ? f->advertise : "");
		return;
	}
	if (!w || !w->state.known)
		return;
	if (port)
		(void)text_u64(text_of(port + 1), &own);
	else if (outside)
		own = outside;
	at = w->state.external;
	addr_set_port(&at, (uint16_t)own);
	text_append(out, n, addr_print(&at, text));
}

void sip_public_why(const struct sip_public *p, const struct sip_interface_section *f, char *out,
		    size_t n)
{
	const struct public_watched *w = of(p, f);
	uint16_t outside = w ? port_outside(p, f, &w->state.external) : 0;

	out[0] = 0;
	if (!w)
		text_append(out, n, "it is not watched");
	else if (w->state.why != PUBLIC_FOUND)
		text_append(out, n, public_why_text(w->state.why));
	else if (outside)
		text_append(out, n,
			    outside == addr_port(&f->listen.at)
				    ? ""
				    : "the router has another port for it, which is kept open; who is let in by it depends on the type of NAT");
	else if (!w->state.port_kept)
		text_append(out, n, "the router does not keep ports: forward this one in it");
}

static const char *nat_name(const struct nat_of *n)
{
	if (n->known)
		return nat_type_name(n->type);
	return n->check ? "being looked at" : "";
}

const char *sip_public_nat(const struct sip_public *p, const struct sip_interface_section *f)
{
	const struct public_watched *w = sip_public_is_auto(f) ? of(p, f) : NULL;
	const struct nat_of *n = w ? &p->nat[w - p->watched] : NULL;

	return n ? nat_name(n) : "";
}

json_t *sip_public_json(const struct sip_public *p)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < p->n; i++) {
		const struct public_state *st = &p->watched[i].state;
		char at[ADDR_STRLEN], is[ADDR_STRLEN] = "", server[ADDR_STRLEN] = "";
		if (st->known) {
			addr_print_ip(&st->external, is);
			addr_print(&st->server, server);
		}
		json_array_append_new(
			rows, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:b}", "address",
					addr_print_ip(&p->watched[i].local, at), "public", is, "why",
					st->why == PUBLIC_FOUND ? "" : public_why_text(st->why),
					"nat", nat_name(&p->nat[i]), "server", server, "found_at", (json_int_t)st->found_at,
					"port_kept", st->port_kept));
	}
	return rows;
}
