/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A UC server: how it logs on, and how a message is known to be its. Whether it is well: mesh_health.c.
 *
 * Log-on is a REGISTER for its own name, with the password of sip.lan.servers, from one of its addresses or with the name
 * of its certificate; its Contact says where it is reached. Over a connection it is reached by that connection as long
 * as that lives. One whose Contact stands in the configuration may log on too: when that is over, it is there again.
 */
#include <errno.h>
#include <string.h>
#include <time.h>
#include "common/bytes.h"
#include "sip-proxy/mesh_priv.h"
#include "sip-proxy/metrics.h"

enum { EXPIRES_MIN = 30, EXPIRES = 120, EXPIRES_MAX = 120 };
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

static bool in_addresses(const struct mesh_server *s, const struct addr *real)
{
	for (size_t i = 0; i < s->n_addresses; i++)
		if (prefix_contains(&s->addresses[i], real))
			return true;
	return false;
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

/* What is proven comes first: an address may be another server's, too, and a Via says what its sender likes. */
static struct mesh_server *by_connection(const struct sip_mesh *m, uint64_t conn, uint64_t now)
{
	for (unsigned i = 0; conn && i < m->n; i++)
		if (mesh_server_is_on(m->v[i], now) && (m->v[i]->from.conn == conn || has_name(m, m->v[i], conn)))
			return m->v[i];
	return NULL;
}

static struct mesh_server *find_at(const struct sip_mesh *m, const struct sip_hop *hop,
				   const struct sip_via *via, unsigned *ret_n)
{
	struct addr real = addr_canonical(&hop->remote);
	uint64_t now = mesh_now(m);
	struct mesh_server *one = by_connection(m, hop->conn, now);

	*ret_n = one != NULL;
	if (one || mesh_from_page(m, hop))
		return one;
	for (unsigned i = 0; i < m->n; i++) {
		struct mesh_server *s = m->v[i];
		if (!mesh_server_is_on(s, now) || (!same_host(s, &real) && !(s->fixed[0] && in_addresses(s, &real))))
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

/* ---- life ---- */

static void tell_change(const struct mesh_server *s)
{
	if (s->mesh->o.changed && !s->fixed[0])
		s->mesh->o.changed(s->mesh->o.arg, s->user);
}

void mesh_server_logoff(struct mesh_server *s, const char *why)
{
	if (!s->on)
		return;
	s->on = s->use_flow = false;
	s->ping = sip_ask_cancel(s->ping);
	mesh_server_error(s, why);
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

/* It is somewhere else: whether it answers there is not known yet, and what was asked where it was says nothing. */
static void begin_anew(struct mesh_server *s, uint64_t now)
{
	s->ping = sip_ask_cancel(s->ping);
	s->sick = s->was_well = s->aside = false;
	s->ping_at = now;
}

static void set_on(struct mesh_server *s, uint64_t now)
{
	s->on = true;
	s->since = (int64_t)time(NULL);
	s->seen = (struct addr){ 0 }; /* whoever has that address now */
	begin_anew(s, now);
	log_emit(&MSG_SIP_SERVER_ON, LF_STR("server", s->user), LF_STR("contact", s->contact),
		 LF_STR("transport", sip_proto_rows[s->proto].name));
}

/* A Contact as it is kept: without user and parameters, but for the transport. */
struct reach {
	char contact[MESH_CONTACT_MAX], host[MESH_WORD_MAX];
	enum sip_proto proto;
};

void mesh_put_uri(struct sb *b, enum sip_host_kind kind, struct text host)
{
	bool v6 = kind == SIP_HOST_IPV6;

	sb_str(b, v6 ? "sip:[" : "sip:");
	sb_text(b, host);
	if (v6)
		sb_char(b, ']');
}

/* Its host, or its maddr: that is where RFC 3261 16.6 has us send. */
static int host_of(const struct sip_uri *u, struct text *ret_host, enum sip_host_kind *ret_kind)
{
	struct text maddr = u->maddr;
	uint16_t port;

	*ret_host = u->host;
	*ret_kind = u->host_kind;
	if (!maddr.p)
		return 0;
	return sip_hostport_parse(&maddr, ret_host, ret_kind, &port) < 0 || maddr.n || port ? -EBADMSG : 0;
}

/* proto: by which it came, if its URI says none. */
static int read_contact(struct text uri, enum sip_proto proto, struct reach *ret_r)
{
	struct reach r = { .proto = proto };
	struct sb b = sb_init(r.contact, sizeof(r.contact)), h = sb_init(r.host, sizeof(r.host));
	enum sip_host_kind kind;
	struct sip_uri u;
	struct text host;

	if (sip_uri_parse(uri, &u) < 0 || (u.scheme != SIP_SCHEME_SIP && u.scheme != SIP_SCHEME_SIPS) ||
	    host_of(&u, &host, &kind) < 0)
		return -EBADMSG;
	if (u.transport.p && sip_proto_parse(u.transport, &r.proto) < 0)
		return -EBADMSG;
	if (u.scheme == SIP_SCHEME_SIPS)
		r.proto = SIP_TLS;
	mesh_put_uri(&b, kind, host);
	if (u.port) {
		sb_char(&b, ':');
		sb_u64(&b, u.port, 1);
	}
	sb_str(&b, ";transport=");
	sb_str(&b, sip_proto_rows[r.proto].name);
	sb_text(&h, host);
	if (b.truncated || h.truncated)
		return -ENAMETOOLONG;
	*ret_r = r;
	return 0;
}

static void take_contact(struct mesh_server *s, const struct reach *r, const struct sip_hop *from, bool mutual)
{
	const struct sip_mesh *m = s->mesh;

	memcpy(s->contact, r->contact, sizeof(s->contact));
	memcpy(s->host, r->host, sizeof(s->host));
	s->proto = r->proto;
	s->mutual = mutual && sip_proto_rows[s->proto].secure;
	s->iface = from && from->proto == s->proto
			   ? from->iface
			   : m->o.lan_interface(m->o.arg, s->proto, s->mutual);
}

void mesh_server_fix(struct mesh_server *s)
{
	struct reach r;
	bool news;

	if (read_contact(text_of(s->fixed), SIP_UDP, &r) < 0)
		return;
	news = !s->on || strcmp(s->contact, r.contact) != 0;
	take_contact(s, &r, NULL, s->name[0] != 0);
	s->from = (struct sip_hop){ 0 }; /* where it has logged on from counts as long as its log-on */
	s->use_flow = false;
	s->until = UINT64_MAX;
	if (news)
		set_on(s, mesh_now(s->mesh));
}

int mesh_server_back(struct mesh_server *s, struct text contact, const struct sip_hop *from,
		     bool mutual, uint64_t until, int64_t since)
{
	uint64_t now = mesh_now(s->mesh);
	struct reach r;

	if (read_contact(contact, from->proto, &r) < 0)
		return -EBADMSG;
	take_contact(s, &r, from, mutual);
	s->from = *from;
	s->use_flow = false;
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

/* Is this where the configuration says it is? Of a name: where it has answered, or was proven before. */
static bool is_at_contact(const struct mesh_server *s, const struct addr *real)
{
	enum sip_host_kind kind;
	struct sip_uri u;
	struct text host;
	struct addr at;

	if (sip_uri_parse(text_of(s->fixed), &u) < 0 || host_of(&u, &host, &kind) < 0)
		return false;
	if (kind == SIP_HOST_NAME)
		return addr_equal_ip(&s->seen, real) || addr_equal_ip(&s->from.remote, real);
	if (addr_parse(host, 0, &at) < 0)
		return false;
	at = addr_canonical(&at);
	return addr_equal_ip(&at, real);
}

/* SIP_GO_ON: it is who it says. */
static enum sip_step prove(struct sip_passage *p, struct sip_mesh *m, struct mesh_server *s,
			   struct text host)
{
	struct addr real = addr_canonical(&p->from.remote);
	enum sip_step step;
	bool bad;

	if (!s->password[0] && mesh_from_page(m, &p->from) && !has_name(m, s, p->from.conn))
		return refuse(p, s, SIP_REFUSE_SOURCE,
			      "it has no password in sip.lan.servers, and comes from a page in a browser");
	if (s->n_addresses && !in_addresses(s, &real))
		return refuse(p, s, SIP_REFUSE_SOURCE,
			      "not from one of its addresses in sip.lan.servers");
	if (s->name[0] && !has_name(m, s, p->from.conn) && !s->password[0] && !s->n_addresses)
		return refuse(p, s, SIP_REFUSE_IDENTITY,
			      "without a certificate of the name in sip.lan.servers");
	if (!s->password[0] && !s->n_addresses && !s->name[0] && !is_at_contact(s, &real))
		return refuse(p, s, SIP_REFUSE_SOURCE,
			      "it has no password and no addresses in sip.lan.servers, and this is not where its contact is");
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
	bool on = mesh_server_is_on(s, p->now);

	sb_char(&b, '<');
	sb_str(&b, s->contact);
	sb_str(&b, ">;expires="); /* one of the configuration has no end: it asks again, all the same */
	sb_u64(&b, on ? MIN((s->until - p->now + 999) / 1000, (uint64_t)EXPIRES_MAX) : 0, 1);
	line.value.n = b.n;
	sip_answer(p, &(struct sip_answer){ .code = 200, .lines = &line, .n_lines = on });
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

static bool is_this_proxy(const struct sip_mesh *m, const struct reach *r)
{
	struct sip_uri u;

	return sip_uri_parse(text_of(r->contact), &u) == 0 && m->o.ops->is_us(m->o.edge, u.host, u.port);
}

/* Again, and perhaps from somewhere else. */
static void go_on(struct mesh_server *s, const struct reach *r, const struct sip_passage *p)
{
	bool moved = strcmp(s->contact, r->contact) != 0;

	if (moved) {
		log_emit(&MSG_SIP_SERVER_MOVED, LF_STR("server", s->user), LF_STR("was", s->contact),
			 LF_STR("contact", r->contact));
		s->seen = (struct addr){ 0 };
	}
	if ((moved || s->from.conn != p->from.conn) && (s->sick || s->ping))
		begin_anew(s, p->now);
}

static enum sip_step log_on(struct sip_passage *p, struct sip_mesh *m, struct mesh_server *s,
			    const struct sip_addr *contact)
{
	const struct sip_interface *f = m->o.ops->interface(m->o.edge, p->from.iface);
	bool was_on = mesh_server_is_on(s, p->now);
	struct reach r;

	if (read_contact(contact->uri, p->from.proto, &r) < 0)
		return refuse(p, s, SIP_REFUSE_MALFORMED,
			      "its Contact is no SIP URI that we can send to");
	if (is_this_proxy(m, &r))
		return refuse(p, s, SIP_REFUSE_POLICY, "its Contact is this proxy itself");
	if (was_on)
		go_on(s, &r, p);
	take_contact(s, &r, &p->from, f && f->mutual);
	s->from = p->from;
	s->from.remote = addr_canonical(&p->from.remote);
	s->use_flow = sip_proto_rows[p->from.proto].reliable;
	s->aside = false;
	s->until = p->now + (uint64_t)expires_of(p, contact) * 1000;
	if (!was_on)
		set_on(s, p->now);
	mesh_count(m, SIP_M_LOGONS, SIP_LOGON_TAKEN);
	tell_change(s);
	answer_logon(p, s);
	return SIP_DECIDED;
}

/* Does this Contact that goes name the log-on that there is? Who has moved, or taken over from another, is not logged off by what the
 * one before says when it ends. */
static bool is_its_end(const struct sip_passage *p, const struct mesh_server *s, const struct sip_addr *contact)
{
	struct addr real = addr_canonical(&p->from.remote);
	struct reach r;

	return contact->star || (s->from.conn == p->from.conn && addr_equal(&s->from.remote, &real)) ||
	       (read_contact(contact->uri, p->from.proto, &r) == 0 && text_ieq(text_of(r.contact), text_of(s->contact)));
}

/* What its Contacts say (RFC 3261 10.3): the first that stays, whatever others go; how many there are, or -EBADMSG. */
static int contacts_of(const struct sip_passage *p, const struct mesh_server *s, struct sip_addr *ret_stays, bool *ret_goes)
{
	struct sip_values it = sip_values(p->msg, SIP_H_CONTACT);
	struct sip_addr c;
	struct text value;
	int n = 0;

	*ret_stays = (struct sip_addr){ 0 };
	*ret_goes = false;
	for (; sip_values_next(&it, &value); n++) {
		if (sip_addr_parse(value, &c) < 0)
			return -EBADMSG;
		if (c.star || expires_of(p, &c) == 0)
			*ret_goes |= is_its_end(p, s, &c);
		else if (!ret_stays->uri.p)
			*ret_stays = c;
	}
	return n;
}

static enum sip_step on_logon(struct sip_passage *p, struct sip_mesh *m, struct mesh_server *s,
			      struct text host)
{
	enum sip_step step = prove(p, m, s, host);
	static const struct sip_line least = { TEXT("Min-Expires"), TEXT("30") };
	struct sip_addr contact;
	bool goes;

	if (step != SIP_GO_ON)
		return step;
	if (contacts_of(p, s, &contact, &goes) < 0)
		return refuse(p, s, SIP_REFUSE_MALFORMED, "its Contact is malformed");
	if (contact.uri.p && expires_of(p, &contact) < EXPIRES_MIN) {
		sip_answer(p, &(struct sip_answer){ .code = 423, .lines = &least, .n_lines = 1 });
		return SIP_DECIDED;
	}
	if (contact.uri.p)
		return log_on(p, m, s, &contact);
	if (goes && s->fixed[0])
		mesh_server_fix(s);
	else if (goes)
		mesh_server_logoff(s, "it has logged off");
	answer_logon(p, s); /* or it was a question */
	return SIP_DECIDED;
}

static bool find_user(const struct sip_mesh *m, struct text user, unsigned *ret_i)
{
	for (unsigned i = 0; i < m->n; i++) {
		if (!text_eq(text_of(m->v[i]->user), user))
			continue;
		*ret_i = i;
		return true;
	}
	return false;
}

struct mesh_server *mesh_server_of_user(const struct sip_mesh *m, struct text user)
{
	unsigned i;

	return find_user(m, user, &i) ? m->v[i] : NULL;
}

enum sip_step sip_servers_request(struct sip_passage *p, void *arg)
{
	struct sip_mesh *m = arg;
	const struct sip_interface *f = m->o.ops->interface(m->o.edge, p->from.iface);
	struct mesh_server *s;
	struct sip_uri to;
	unsigned n, i;

	if (!m->n || !f || !f->lan)
		return SIP_GO_ON;
	if (!p->explain && p->msg->method == SIP_REGISTER && p->for_us &&
	    sip_uri_parse(p->basics->to.uri, &to) == 0 && find_user(m, to.user, &i))
		return on_logon(p, m, m->v[i], to.host);
	s = find_at(m, &p->from, &p->basics->via, &n);
	p->server = s ? s->number : 0;
	p->trusted = n > 0 || mesh_trusts(m, &p->from);
	p->origin = p->trusted ? SIP_ORIGIN_LAN : SIP_ORIGIN_STRANGER;
	sip_note(p,
		 s	      ? "UC server %s, which is logged on"
		 : p->trusted ? "from the host of a UC server, or from sip.sources.trusted%s"
			      : "from sip.lan, but from no UC server that is logged on: not trusted%s",
		 s ? s->user : "");
	return SIP_GO_ON;
}
