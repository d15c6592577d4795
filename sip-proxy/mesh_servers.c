/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A UC server: how it logs on, how a message is known to be its, and whether it is well.
 *
 * Log-on is a REGISTER for its own name, with the password of sip.lan.servers, from one of its addresses or with the name
 * of its certificate; its Contact says where it is reached. Over a connection it is reached by that connection as long
 * as that lives. It is asked with OPTIONS every so often; a tick of a second sees to expiry, connections and questions.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "common/bytes.h"
#include "sip-proxy/mesh_priv.h"
#include "sip-proxy/metrics.h"

enum { EXPIRES_MIN = 30, EXPIRES = 120, EXPIRES_MAX = 120, PING_MS = 3000 };
enum { GATE_REFUSED };

/* ---- finding ---- */

struct mesh_server *mesh_server(const struct sip_mesh *m, unsigned number)
{
	for (unsigned i = 0; number && i < m->n; i++)
		if (m->v[i]->number == number)
			return m->v[i];
	return NULL;
}

bool mesh_server_is_on(const struct mesh_server *s, uint64_t now)
{
	return s->on && s->until > now;
}

static struct addr address_of(const struct mesh_server *s)
{
	struct addr a = { 0 };
	struct sip_uri u;

	if (s->contact[0] && sip_uri_parse(text_of(s->contact), &u) == 0)
		(void)sip_uri_addr(&u, sip_proto_rows[s->proto].port, &a);
	return a;
}

static bool same_host(const struct mesh_server *s, const struct addr *remote)
{
	struct addr at = address_of(s);

	return addr_equal_ip(&s->from.remote, remote) || addr_equal_ip(&s->seen, remote) ||
	       addr_equal_ip(&at, remote);
}

/* One of several behind one address: by its port, or by what its Via says. */
static bool same_place(const struct mesh_server *s, const struct addr *remote, const struct sip_via *via)
{
	struct addr at = address_of(s);
	struct sip_uri u;

	if (addr_equal(&s->from.remote, remote) || addr_equal(&s->seen, remote) ||
	    addr_equal(&at, remote))
		return true;
	return via && sip_uri_parse(text_of(s->contact), &u) == 0 && text_ieq(u.host, via->host) &&
	       (u.port ? u.port : sip_proto_rows[s->proto].port) ==
		       (via->port ? via->port : sip_proto_rows[s->proto].port);
}

static bool has_name(const struct sip_mesh *m, const struct mesh_server *s, uint64_t conn)
{
	const struct sip_identity *id = conn && s->name[0] ? m->o.ops->identity(m->o.edge, conn) : NULL;

	return id && id->verified && sip_identity_covers(id, text_of(s->name));
}

static struct mesh_server *find_at(const struct sip_mesh *m, const struct sip_hop *hop,
				   const struct sip_via *via, unsigned *ret_n)
{
	struct addr real = addr_canonical(&hop->remote);
	struct mesh_server *one = NULL;
	uint64_t now = mesh_now(m);

	*ret_n = 0;
	for (unsigned i = 0; i < m->n; i++) {
		struct mesh_server *s = m->v[i];
		if (!mesh_server_is_on(s, now))
			continue;
		if ((hop->conn && s->from.conn == hop->conn) || has_name(m, s, hop->conn)) {
			*ret_n = 1;
			return s;
		}
		if (!same_host(s, &real))
			continue;
		if (same_place(s, &real, via)) {
			*ret_n = 1;
			return s;
		}
		one = s;
		++*ret_n;
	}
	return *ret_n == 1 ? one : NULL;
}

struct mesh_server *mesh_server_at(const struct sip_mesh *m, const struct sip_hop *hop,
				   const struct sip_via *via)
{
	unsigned n;

	return find_at(m, hop, via, &n);
}

static uint16_t port_of(const struct mesh_server *s)
{
	struct sip_uri u;

	if (sip_uri_parse(text_of(s->contact), &u) == 0 && u.port)
		return u.port;
	return sip_proto_rows[s->proto].port;
}

void sip_mesh_known(const struct sip_mesh *m, struct sip_target *t)
{
	uint64_t now = mesh_now(m);

	for (unsigned i = 0; i < m->n && !t->only_flow && !t->federation && !t->hop.conn; i++) {
		const struct mesh_server *s = m->v[i];
		if (!mesh_server_is_on(s, now) || t->hop.proto != s->proto ||
		    addr_port(&t->hop.remote) != port_of(s) || !same_host(s, &t->hop.remote))
			continue;
		t->mutual = s->mutual;
		if (s->use_flow && !s->aside && s->from.proto == s->proto &&
		    m->o.ops->alive(m->o.edge, &s->from))
			t->hop = s->from;
		else if (sip_proto_rows[s->proto].secure)
			t->name = text_of(s->name[0] ? s->name : s->host);
	}
}

/* ---- where it is reached ---- */

struct sip_place mesh_server_place(const struct mesh_server *s)
{
	const struct sip_mesh *m = s->mesh;
	struct sip_place p = {
		.next = text_of(s->contact), .q = 1000, .mutual = s->mutual, .may_challenge = true
	};

	if (s->use_flow && !s->aside && m->o.ops->alive(m->o.edge, &s->from)) {
		p.has_flow = true;
		p.hop = s->from;
	} else {
		p.hop.iface = s->iface;
	}
	return p;
}

int mesh_server_ask(struct mesh_server *s, struct text uri,
		    void (*done)(void *arg, unsigned code, const char *why,
				 const struct sip_target *target),
		    void *arg, struct sip_ask **ret_a)
{
	struct sip_mesh *m = s->mesh;
	struct sip_place p = mesh_server_place(s);
	struct sip_asking a = {
		.uri = uri, .mutual = s->mutual, .iface = p.hop.iface, .done = done, .arg = arg
	};
	struct sip_target t = { .hop = p.hop, .mutual = s->mutual };
	struct sip_next next;
	struct sip_uri u;

	if (!m->px)
		return -ESHUTDOWN;
	if (sip_uri_parse(p.next, &u) < 0)
		return -EBADMSG;
	next = (struct sip_next){ .host = u.host,
				  .port = u.port,
				  .sips = u.scheme == SIP_SCHEME_SIPS,
				  .has_proto = true,
				  .proto = s->proto };
	t.name = u.host;
	if (p.has_flow)
		a.target = &t;
	else
		a.next = &next;
	return sip_ask(m->px, &a, ret_a);
}

/* ---- health ---- */

static void tell_change(const struct mesh_server *s)
{
	if (s->mesh->o.changed && !s->fixed[0])
		s->mesh->o.changed(s->mesh->o.arg, s->user);
}

static void remember_error(struct mesh_server *s, const char *why)
{
	s->error[0] = 0;
	text_append(s->error, sizeof(s->error), why);
	s->error_at = (int64_t)time(NULL);
}

void mesh_server_told(struct mesh_server *s, unsigned code, const char *why)
{
	if (code == 0) {
		remember_error(s, why);
		if (!s->sick)
			log_emit(&MSG_SIP_SERVER_SICK, LF_STR("server", s->user),
				 LF_STR("contact", s->contact), LF_STR("why", why));
	} else if (s->sick) {
		log_emit(&MSG_SIP_SERVER_WELL, LF_STR("server", s->user), LF_STR("contact", s->contact));
	}
	s->sick = code == 0;
	s->was_well |= code != 0;
}

static void on_pong(void *arg, unsigned code, const char *why, const struct sip_target *target)
{
	struct mesh_server *s = arg;

	s->ping = NULL;
	if (code && target)
		s->seen = addr_canonical(&target->hop.remote);
	/* A connection may be dead and not know it, for as long as TCP hopes: its Contact is tried in turn with it. */
	s->aside = code == 0 && !s->aside;
	mesh_server_told(s, code, why);
	s->ping_at = mesh_now(s->mesh) + (s->sick ? MESH_PING_SICK_MS : MESH_PING_MS);
}

/* "sip:host"; u: says whether that is an IPv6 address. */
static void put_uri(struct sb *b, const struct sip_uri *u, struct text host)
{
	bool v6 = u->host_kind == SIP_HOST_IPV6;

	sb_str(b, v6 ? "sip:[" : "sip:");
	sb_text(b, host);
	if (v6)
		sb_char(b, ']');
}

static void ping(struct mesh_server *s, uint64_t now)
{
	char uri[MESH_WORD_MAX + 8];
	struct sb b = sb_init(uri, sizeof(uri));
	struct sip_uri u;
	int r;

	if (sip_uri_parse(text_of(s->contact), &u) < 0)
		return;
	put_uri(&b, &u, u.host);
	s->ping_sent = now;
	r = mesh_server_ask(s, (struct text){ uri, b.n }, on_pong, s, &s->ping);
	if (r < 0)
		on_pong(s, 0, strerror(-r), NULL);
}

static void tick_one(struct mesh_server *s, uint64_t now)
{
	bool lost = s->on && s->use_flow && !s->mesh->o.ops->alive(s->mesh->o.edge, &s->from);

	if (s->on && s->until <= now) {
		mesh_server_logoff(s, "its log-on has expired");
		return;
	}
	if (s->ping && now - s->ping_sent >= PING_MS) {
		s->ping = sip_ask_cancel(s->ping);
		on_pong(s, 0, "no answer to OPTIONS", NULL);
	}
	if (lost) { /* another connection from now on, if its Contact can be reached */
		s->use_flow = false;
		s->ping_at = now;
	}
	if (s->on && !s->ping && s->mesh->px && !s->mesh->quiet && s->ping_at <= now)
		ping(s, now);
}

void mesh_servers_tick(struct sip_mesh *m, uint64_t now)
{
	for (unsigned i = 0; i < m->n; i++)
		tick_one(m->v[i], now);
}

/* ---- life ---- */

void mesh_server_logoff(struct mesh_server *s, const char *why)
{
	if (!s->on)
		return;
	s->on = s->use_flow = false;
	s->ping = sip_ask_cancel(s->ping);
	remember_error(s, why);
	s->sick = false;
	log_emit(&MSG_SIP_SERVER_OFF, LF_STR("server", s->user), LF_STR("contact", s->contact),
		 LF_STR("why", why));
	tell_change(s);
}

struct mesh_server *mesh_server_free(struct mesh_server *s)
{
	if (!s)
		return NULL;
	sip_ask_cancel(s->ping);
	bytes_wipe(s->password, sizeof(s->password));
	free(s->addresses);
	free(s->users);
	free(s);
	return NULL;
}

static void set_on(struct mesh_server *s, uint64_t now)
{
	s->on = true;
	s->since = (int64_t)time(NULL);
	s->sick = s->was_well = false;
	s->ping_at = now;
	log_emit(&MSG_SIP_SERVER_ON, LF_STR("server", s->user), LF_STR("contact", s->contact),
		 LF_STR("transport", sip_proto_rows[s->proto].name));
}

static void put_host(struct mesh_server *s, struct text host)
{
	struct sb b = sb_init(s->host, sizeof(s->host));

	sb_text(&b, host);
}

/* The transport of its URI, or that by which it came. */
static int take_contact(struct mesh_server *s, struct text uri, const struct sip_hop *from, bool mutual)
{
	const struct sip_mesh *m = s->mesh;
	struct sb b = sb_init(s->contact, sizeof(s->contact));
	struct sip_uri u;
	int r = sip_uri_parse(uri, &u);

	if (r < 0 || (u.scheme != SIP_SCHEME_SIP && u.scheme != SIP_SCHEME_SIPS))
		return -EBADMSG;
	s->proto = from ? from->proto : SIP_UDP;
	if (u.transport.p && sip_proto_parse(u.transport, &s->proto) < 0)
		return -EBADMSG;
	if (u.scheme == SIP_SCHEME_SIPS)
		s->proto = SIP_TLS;
	put_uri(&b, &u, u.maddr.p ? u.maddr : u.host);
	if (u.port) {
		sb_char(&b, ':');
		sb_u64(&b, u.port, 1);
	}
	sb_str(&b, ";transport=");
	sb_str(&b, sip_proto_rows[s->proto].name);
	put_host(s, u.maddr.p ? u.maddr : u.host);
	s->mutual = mutual && sip_proto_rows[s->proto].secure;
	s->iface = from && from->proto == s->proto
			   ? from->iface
			   : m->o.lan_interface(m->o.arg, s->proto, s->mutual);
	return b.truncated ? -ENAMETOOLONG : 0;
}

void mesh_server_fix(struct mesh_server *s)
{
	char was[MESH_CONTACT_MAX];

	memcpy(was, s->contact, sizeof(was));
	if (take_contact(s, text_of(s->fixed), NULL, s->name[0] != 0) < 0)
		return;
	s->use_flow = false;
	s->until = UINT64_MAX;
	if (!s->on || strcmp(was, s->contact) != 0)
		set_on(s, mesh_now(s->mesh));
}

int mesh_server_back(struct mesh_server *s, struct text contact, const struct sip_hop *from,
		     bool mutual, uint64_t until, int64_t since)
{
	uint64_t now = mesh_now(s->mesh);

	if (take_contact(s, contact, from, mutual) < 0) {
		s->contact[0] = 0;
		return -EBADMSG;
	}
	s->from = *from;
	s->use_flow = s->aside = false;
	s->until = MIN(until, now + (uint64_t)EXPIRES_MAX * 1000);
	set_on(s, now);
	s->since = since;
	return 0;
}

/* ---- log-on ---- */

static enum sip_step refuse(struct sip_passage *p, struct mesh_server *s, enum sip_refusal why,
			    const char *text)
{
	uint64_t suppressed;

	if (log_gate_pass(&s->mesh->gates[GATE_REFUSED], p->now, &suppressed))
		log_emit(&MSG_SIP_SERVER_REFUSED, LF_STR("server", s->user),
			 LF_ADDR("address", &p->from.remote), LF_STR("why", text),
			 LF_U64("suppressed", suppressed));
	mesh_count(s->mesh, SIP_M_LOGONS, SIP_LOGON_REFUSED);
	sip_refuse(p, why, text);
	return SIP_DECIDED;
}

static bool from_its_address(const struct mesh_server *s, const struct addr *remote)
{
	struct addr real = addr_canonical(remote);

	for (size_t i = 0; i < s->n_addresses; i++)
		if (prefix_contains(&s->addresses[i], &real))
			return true;
	return s->n_addresses == 0;
}

/* SIP_GO_ON: it is who it says. */
static enum sip_step prove(struct sip_passage *p, struct sip_mesh *m, struct mesh_server *s,
			   struct text host)
{
	enum sip_step step;
	bool bad;

	if (!from_its_address(s, &p->from.remote))
		return refuse(p, s, SIP_REFUSE_SOURCE,
			      "not from one of its addresses in sip.lan.servers");
	if (s->name[0] && !has_name(m, s, p->from.conn) && !s->password[0] && !s->n_addresses)
		return refuse(p, s, SIP_REFUSE_IDENTITY,
			      "without a certificate of the name in sip.lan.servers");
	if (!s->password[0])
		return SIP_GO_ON;
	step = sip_registrar_prove(p, m->o.registrar, s->user,
				   m->o.is_domain(m->o.arg, host) ? host : TEXT("stile"),
				   text_of(s->password), &bad);
	if (step != SIP_GO_ON && bad)
		return refuse(p, s, SIP_REFUSE_CREDENTIAL, "its password is wrong");
	return step;
}

static void answer_logon(struct sip_passage *p, const struct mesh_server *s)
{
	char text[MESH_CONTACT_MAX + 32];
	struct sb b = sb_init(text, sizeof(text));
	struct sip_line line = { TEXT("Contact"), { text, 0 } };

	sb_char(&b, '<');
	sb_str(&b, s->contact);
	sb_str(&b, ">;expires=");
	sb_u64(&b, s->on ? (s->until - p->now + 999) / 1000 : 0, 1);
	line.value.n = b.n;
	sip_answer(p, &(struct sip_answer){ .code = 200, .lines = &line, .n_lines = s->on });
}

static uint32_t expires_of(const struct sip_passage *p, const struct sip_addr *contact)
{
	struct text t = sip_param(contact->params, TEXT("expires"));
	uint32_t n = EXPIRES;

	if (!t.p)
		t = sip_value(p->msg, SIP_H_EXPIRES);
	if (t.p && sip_number_parse(t, UINT32_MAX, &n) < 0)
		n = EXPIRES;
	return MIN(n, (uint32_t)EXPIRES_MAX);
}

/* Logged on again from somewhere else: whether it answers there is not known yet, and that it did not answer where it was
 * says nothing. */
static void begin_anew(struct mesh_server *s, uint64_t now)
{
	s->ping = sip_ask_cancel(s->ping);
	s->sick = s->was_well = false;
	s->ping_at = now;
}

static enum sip_step log_on(struct sip_passage *p, struct sip_mesh *m, struct mesh_server *s,
			    const struct sip_addr *contact)
{
	const struct sip_interface *f = m->o.ops->interface(m->o.edge, p->from.iface);
	bool was_on = mesh_server_is_on(s, p->now);
	char was[MESH_CONTACT_MAX];
	struct sip_uri u;
	bool elsewhere;

	memcpy(was, s->contact, sizeof(was));
	if (sip_uri_parse(contact->uri, &u) == 0 && m->o.ops->is_us(m->o.edge, u.host, u.port))
		return refuse(p, s, SIP_REFUSE_POLICY, "its Contact is this proxy itself");
	if (take_contact(s, contact->uri, &p->from, f && f->mutual) < 0) {
		memcpy(s->contact, was, sizeof(was));
		return refuse(p, s, SIP_REFUSE_MALFORMED,
			      "its Contact is no SIP URI that we can send to");
	}
	if (was_on && strcmp(was, s->contact) != 0)
		log_emit(&MSG_SIP_SERVER_MOVED, LF_STR("server", s->user), LF_STR("was", was),
			 LF_STR("contact", s->contact));
	elsewhere = strcmp(was, s->contact) != 0 || s->from.conn != p->from.conn;
	s->from = p->from;
	s->from.remote = addr_canonical(&p->from.remote);
	s->use_flow = sip_proto_rows[p->from.proto].reliable;
	s->aside = false;
	if (was_on && s->sick && elsewhere)
		begin_anew(s, p->now);
	s->until = p->now + (uint64_t)expires_of(p, contact) * 1000;
	if (!was_on)
		set_on(s, p->now);
	mesh_count(m, SIP_M_LOGONS, SIP_LOGON_TAKEN);
	tell_change(s);
	answer_logon(p, s);
	return SIP_DECIDED;
}

static enum sip_step on_logon(struct sip_passage *p, struct sip_mesh *m, struct mesh_server *s,
			      struct text host)
{
	enum sip_step step = prove(p, m, s, host);
	struct sip_values it = sip_values(p->msg, SIP_H_CONTACT);
	static const struct sip_line least = { TEXT("Min-Expires"), TEXT("30") };
	struct sip_addr contact;
	struct text value;

	if (step != SIP_GO_ON)
		return step;
	if (!sip_values_next(&it, &value)) {
		answer_logon(p, s); /* a question */
		return SIP_DECIDED;
	}
	if (sip_addr_parse(value, &contact) < 0)
		return refuse(p, s, SIP_REFUSE_MALFORMED, "its Contact is malformed");
	if (contact.star || expires_of(p, &contact) == 0) {
		if (!s->fixed[0])
			mesh_server_logoff(s, "it has logged off");
		answer_logon(p, s);
		return SIP_DECIDED;
	}
	if (expires_of(p, &contact) < EXPIRES_MIN) {
		sip_answer(p, &(struct sip_answer){ .code = 423, .lines = &least, .n_lines = 1 });
		return SIP_DECIDED;
	}
	return log_on(p, m, s, &contact);
}

struct mesh_server *mesh_server_of_user(const struct sip_mesh *m, struct text user)
{
	for (unsigned i = 0; i < m->n; i++)
		if (text_eq(text_of(m->v[i]->user), user))
			return m->v[i];
	return NULL;
}

static bool is_trusted(const struct sip_mesh *m, const struct sip_hop *from)
{
	struct addr real = addr_canonical(&from->remote);

	for (size_t i = 0; i < m->n_trusted && sip_proto_rows[from->proto].reliable; i++)
		if (prefix_contains(&m->trusted[i], &real))
			return true;
	return false;
}

enum sip_step sip_servers_request(struct sip_passage *p, void *arg)
{
	struct sip_mesh *m = arg;
	const struct sip_interface *f = m->o.ops->interface(m->o.edge, p->from.iface);
	struct mesh_server *s;
	struct sip_uri to;
	unsigned n;

	if (!m->n || !f || !f->lan)
		return SIP_GO_ON;
	if (!p->explain && p->msg->method == SIP_REGISTER && p->for_us &&
	    sip_uri_parse(p->basics->to.uri, &to) == 0 && (s = mesh_server_of_user(m, to.user)) != NULL)
		return on_logon(p, m, s, to.host);
	s = find_at(m, &p->from, &p->basics->via, &n);
	p->server = s ? s->number : 0;
	p->trusted = n > 0 || is_trusted(m, &p->from);
	p->origin = p->trusted ? SIP_ORIGIN_LAN : SIP_ORIGIN_STRANGER;
	sip_note(p,
		 s	      ? "UC server %s, which is logged on"
		 : p->trusted ? "from the host of a UC server, or from sip.sources.trusted%s"
			      : "from sip.lan, but from no UC server that is logged on: not trusted%s",
		 s ? s->user : "");
	return SIP_GO_ON;
}
