/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a request through the mesh. From a UC server, or from somebody who has an account here: to the server of the
 * one who is called. From a stranger who says to be a UC server's user: to that server and to no other, for only it can
 * ask for his password; it sends on through us what it has accepted. From another stranger: to the server of the one
 * who is called.
 *
 * Who is proven gets a P-Asserted-Identity (RFC 3325), if he has none: by this a UC server knows what needs no password.
 */
#include <string.h>
#include "sip-proxy/mesh_priv.h"
#include "sip-proxy/metrics.h"

bool sip_mesh_may_serve(const struct sip_mesh *m, const char *aor)
{
	return m->n > 0 && !m->o.is_local(m->o.arg, aor);
}

void mesh_send(struct sip_mesh *m, struct sip_passage *p, const char *aor,
	       const struct mesh_server *const *v, unsigned n)
{
	/* One user: the next server only if the one before could not be reached. */
	uint16_t group = (uint16_t)(hash_bytes(&m->o.seed, aor, strlen(aor)) | 1);
	unsigned placed = 0;

	for (unsigned i = 0; i < n; i++) {
		struct sip_place place = mesh_server_place(v[i]);
		place.group = group;
		placed += sip_forward(p, &place) == 0;
	}
	if (!placed)
		sip_refuse(p, SIP_REFUSE_RESOURCES, NULL);
}

static bool aor_of(const struct sip_mesh *m, struct text uri, char aor[static SIP_AOR_MAX])
{
	struct sip_uri u;

	return sip_uri_parse(uri, &u) == 0 &&
	       (u.scheme == SIP_SCHEME_SIP || u.scheme == SIP_SCHEME_SIPS) && u.user.p &&
	       sip_aor_of(&u, aor) == 0 && m->o.is_domain(m->o.arg, u.host);
}

/* An OPTIONS that was here before: a server has sent our own question back. */
static bool is_echo(const struct sip_mesh *m, const struct sip_passage *p)
{
	struct sip_values it = sip_values(p->msg, SIP_H_VIA);
	struct text value;

	while (p->server && p->msg->method == SIP_OPTIONS && sip_values_next(&it, &value)) {
		struct sip_via via;
		if (sip_via_parse(value, &via) == 0 && m->o.ops->is_us(m->o.edge, via.host, via.port))
			return true;
	}
	return false;
}

static void assert_identity(const struct sip_mesh *m, struct sip_passage *p)
{
	char text[SIP_AOR_MAX + 8], aor[SIP_AOR_MAX];
	struct sb b = sb_init(text, sizeof(text));
	bool proven = p->authenticated || p->server;

	if (!proven || (p->trusted && sip_has(p->msg, SIP_H_P_ASSERTED_IDENTITY)) ||
	    p->msg->method == SIP_REGISTER || !aor_of(m, p->basics->from.uri, aor))
		return;
	sb_str(&b, "<sip:");
	sb_str(&b, p->authenticated ? p->user : aor);
	sb_char(&b, '>');
	if (!b.truncated)
		sip_edit_append(sip_passage_edit(p), SIP_H_P_ASSERTED_IDENTITY,
				(struct text){ text, b.n });
}

/* Whose server decides about it; false: this is not for the mesh. */
static bool subject_of(const struct sip_mesh *m, const struct sip_passage *p,
		       char aor[static SIP_AOR_MAX])
{
	bool from_ours;

	if (p->msg->method == SIP_REGISTER)
		return p->for_us && aor_of(m, p->basics->to.uri, aor) && sip_mesh_may_serve(m, aor);
	from_ours = !p->trusted && !p->authenticated && aor_of(m, p->basics->from.uri, aor) &&
		    sip_mesh_may_serve(m, aor);
	if (from_ours && !sip_has(p->msg, SIP_H_ROUTE))
		return true;
	return p->for_us && aor_of(m, p->basics->uri.raw, aor) && sip_mesh_may_serve(m, aor);
}

/* Of one whom nobody knows: what would be asked, and what it would lead to. */
static enum sip_step explain_unknown(struct sip_mesh *m, struct sip_passage *p, const char *aor,
				     const struct mesh_server *but)
{
	const struct mesh_user *u = mesh_user_find(m, aor, p->now);
	unsigned open = 0, others = 0;

	if (u && u->how == MESH_NOBODY) {
		sip_note(p, "all UC servers were asked for %s a moment ago, and nobody has him", aor);
		sip_refuse(p, SIP_REFUSE_UNKNOWN_USER, aor);
		return SIP_DECIDED;
	}
	for (unsigned i = 0; i < m->n; i++) {
		others += m->v[i] != but;
		open += m->v[i] != but && mesh_server_is_on(m->v[i], p->now);
	}
	if (!open) {
		sip_note(p, "nobody knows where %s lives, and no other UC server is logged on that could be asked", aor);
		sip_refuse(p, others ? SIP_REFUSE_OFFLINE : SIP_REFUSE_UNKNOWN_USER, aor);
		return SIP_DECIDED;
	}
	sip_note(p, "all UC servers are asked who has %s (%u of %u are logged on): nobody knows yet", aor, open, others);
	return SIP_WAIT;
}

enum sip_step sip_mesh_request(struct sip_passage *p, void *arg)
{
	struct sip_mesh *m = arg;
	const struct mesh_server *v[MESH_SERVERS_MAX], *but = mesh_server(m, p->server);
	char aor[SIP_AOR_MAX];
	unsigned n;

	if (!m->n || p->in_dialog || p->has_flow || !subject_of(m, p, aor))
		return SIP_GO_ON;
	if (p->msg->method == SIP_REGISTER && p->trusted)
		return SIP_GO_ON; /* a server registers its user here: the registrar's affair */
	n = mesh_candidates(m, aor, but, p->now, v);
	if (p->explain && !n)
		return explain_unknown(m, p, aor, but);
	if (n)
		sip_note(p, "%s lives at the UC server %s%s", aor, v[0]->user,
			 v[0]->sick ? ", which does not answer" : "");
	assert_identity(m, p);
	if (p->msg->method == SIP_REGISTER)
		sip_add_path(p);
	if (n && v[0]->sick && v[0]->was_well) { /* none is well: said at once, not when all timers are over */
		sip_refuse(p, SIP_REFUSE_OFFLINE, "the UC server of this user does not answer");
		return SIP_DECIDED;
	}
	if (n) {
		mesh_send(m, p, aor, v, n);
		return SIP_DECIDED;
	}
	if (is_echo(m, p)) {
		sip_refuse(p, SIP_REFUSE_UNKNOWN_USER, aor);
		return SIP_DECIDED;
	}
	return mesh_ask(m, p, aor, but);
}

/* ---- responses ---- */

static uint64_t registered_until(const struct sip_mesh *m, const struct sip_msg *msg)
{
	struct sip_values it = sip_values(msg, SIP_H_CONTACT);
	uint32_t most = 0, n;
	struct sip_addr a;
	struct text v, t;

	while (sip_values_next(&it, &v)) {
		if (sip_addr_parse(v, &a) < 0)
			continue;
		t = sip_param(a.params, TEXT("expires"));
		if (!t.p)
			t = sip_value(msg, SIP_H_EXPIRES);
		if (t.p && sip_number_parse(t, INT32_MAX, &n) == 0)
			most = MAX(most, n);
	}
	return mesh_now(m) + (uint64_t)most * 1000;
}

bool sip_mesh_response(struct sip_return *ret, void *arg)
{
	struct sip_mesh *m = arg;
	struct mesh_server *s = m->n ? mesh_server_at(m, &ret->from, NULL) : NULL;
	unsigned code = ret->msg->status;
	struct mesh_user *u;
	char aor[SIP_AOR_MAX];

	if (!s)
		return true;
	ret->from_server = true;
	if (code < 200 || !aor_of(m, ret->basics->to.uri, aor))
		return true;
	if (ret->basics->cseq.method == SIP_REGISTER && code < 300) {
		uint64_t until = registered_until(m, ret->msg);
		if (until > mesh_now(m) && sip_mesh_may_serve(m, aor))
			mesh_user_learn(m, aor, s, MESH_REGISTERED, until);
	} else if (code == 404 || code == 604) {
		u = mesh_user_find(m, aor, mesh_now(m));
		if (u && u->server == s->number)
			mesh_user_forget(m, u); /* he has moved: asked anew */
	}
	return true;
}

void sip_mesh_registered(struct sip_mesh *m, unsigned server, const char *aor, uint64_t until)
{
	struct mesh_server *s = mesh_server(m, server);

	if (s && until > mesh_now(m))
		mesh_user_learn(m, aor, s, MESH_REGISTERED, until);
}
