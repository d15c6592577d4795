/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's side of a login: says in HELLO that one follows, proves its code or password, and takes
 * WELCOME only from a server that it knows: by a pinned or configured root, by the root in the code, or by the server's signature of SCRAM. What it then pins goes to the disk before
 * anything else of that connection happens.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "tunnel/agent/dialer_priv.h"
#include "tunnel/log_msgs.h"

static void log_pins(const struct dialer *d)
{
	char root[IDENTITY_STRLEN];

	log_emit(&MSG_AGENT_PINNED, LF_STR("server", d->memory.server),
		 LF_STR("root", identity_print(&d->memory.pins.root, root)));
}

static int remember(struct dialer *d, const struct memory *m, char *why, size_t why_n)
{
	char err[IDENTITY_ERRLEN];
	int r = memory_save(d->all->o.folder, m, err);

	if (r < 0) {
		(void)snprintf(why, why_n, "%s", err);
		log_emit(&MSG_AGENT_UNWRITTEN, LF_STR("server", m->server), LF_STR("why", err));
		return r;
	}
	d->memory = *m;
	return 0;
}

/* ---- HELLO ---- */

static void hello(void *arg, struct wire_hello *h)
{
	struct dialer *d = arg;
	struct login *l = &d->login;
	struct sb b = sb_init(l->name, sizeof(l->name));

	bytes_wipe(l, sizeof(*l));
	b = sb_init(l->name, sizeof(l->name));
	sb_text(&b, h->name);
	if (d->guest) {
		h->features |= WIRE_F_GUEST;
		h->share = d->guest;
		return;
	}
	l->by_code = dialer_code_waits(d);
	l->by_password = !l->by_code && d->password &&
			 (!d->memory.enrolled || d->expect.kind == LINK_EXPECT_ANY);
	if (l->by_code || l->by_password)
		h->features |= WIRE_F_ENROL;
	if (d->expect.kind == LINK_EXPECT_PINS)
		h->features |= WIRE_F_PINNED;
}

static struct enrol_session session_of(const struct dialer *d)
{
	struct enrol_session s = { .agent = *identity_hash(d->all->identity),
				   .root = d->login.peer.id,
				   .name = text_of(d->login.name) };

	memcpy(s.exporter, d->login.enrol, sizeof(s.exporter));
	return s;
}

static void send_code(struct dialer *d, struct agent *a)
{
	struct enrol_session s = session_of(d);
	uint8_t id[ENROL_ID_LEN], proof[ENROL_PROOF_LEN];
	struct wire_enrol m = { .code = { id, sizeof(id) }, .proof = { proof, sizeof(proof) } };

	enrol_id(d->code.secret, id);
	if (enrol_proof(d->code.secret, ENROL_AGENT, &s, proof) == 0)
		(void)agent_send_early(a, WIRE_ENROL, &m);
}

static int send_scram(struct agent *a, const struct scram_text *t)
{
	struct wire_scram m = { .message = { t->p, t->n } };

	return agent_send_early(a, WIRE_SCRAM, &m);
}

static void begin_scram(struct dialer *d, struct agent *a)
{
	struct scram *s = &d->login.scram;
	struct scram_text t;

	s->binding = (struct scram_binding){ .type = "tls-exporter", .n = LINK_EXPORTER_LEN };
	memcpy(s->binding.data, d->login.binding, LINK_EXPORTER_LEN);
	if (scram_client_first(s, text_of(d->login.name), &t) == SCRAM_OK)
		(void)send_scram(a, &t);
}

/* What cannot be sent here is missed by the server, which then ends the connection and says so. */
static void greeted(void *arg, struct agent *a, SSL *ssl)
{
	struct dialer *d = arg;
	struct login *l = &d->login;

	if (link_tls_peer(ssl, &l->peer) < 0 ||
	    link_tls_exporter(ssl, LINK_EXPORTER_BINDING, l->binding) < 0 ||
	    link_tls_exporter(ssl, LINK_EXPORTER_ENROL, l->enrol) < 0)
		return;
	l->known = true;
	if (l->by_code)
		send_code(d, a);
	else if (l->by_password)
		begin_scram(d, a);
}

/* ---- answers ---- */

static int bad(char *why, size_t why_n, const char *text)
{
	(void)snprintf(why, why_n, "%s", text);
	return -EPROTO;
}

static int on_enrolled(struct dialer *d, const struct wire_enrolled *m, char *why, size_t why_n)
{
	struct enrol_session s = session_of(d);
	struct text proof = { (const char *)m->proof.p, m->proof.n };

	if (!d->login.by_code)
		return bad(why, why_n, "the server answers an enrolment that was not asked for");
	if (!enrol_proof_good(d->code.secret, ENROL_SERVER, &s, proof))
		return bad(why, why_n, "the server does not prove that it made the enrolment code");
	d->login.proven = true;
	if (m->successor.n == IDENTITY_LEN)
		memcpy(d->login.successor.b, m->successor.p, IDENTITY_LEN);
	return 0;
}

static int on_scram(struct dialer *d, struct agent *a, struct text message, char *why, size_t why_n)
{
	struct login *l = &d->login;
	struct scram_text t;
	enum scram_result r;

	if (!l->by_password)
		return bad(why, why_n, "the server answers a login that was not asked for");
	if (l->scram_messages++ == 0) {
		r = scram_client_final(&l->scram, message, text_of(d->password), &t);
		return r == SCRAM_OK ? send_scram(a, &t) : bad(why, why_n, scram_result_text(r));
	}
	r = scram_client_done(&l->scram, message);
	l->proven = r == SCRAM_OK;
	if (r == SCRAM_OK || r == SCRAM_REFUSED)
		return 0; /* refused: the reason follows in a frame of its own */
	return bad(why, why_n,
		   "the server does not prove that it knows the password: it may be a false one");
}

static int on_pending(struct dialer *d, const struct wire_pending *m)
{
	char own[IDENTITY_STRLEN], server[IDENTITY_STRLEN];

	(void)m; /* it says what each side knows by itself */
	log_emit(&MSG_AGENT_PENDING, LF_STR("server", d->memory.server),
		 LF_STR("fingerprint", identity_print(identity_hash(d->all->identity), own)),
		 LF_STR("server_fingerprint", identity_print(&d->login.peer.id, server)));
	return 0;
}

static int enrol(void *arg, struct agent *a, unsigned type, const union wire_msg *m, char *why,
		 size_t why_n)
{
	struct dialer *d = arg;

	if (!d->login.known)
		return bad(why, why_n, "the server answers before it was greeted");
	if (type == WIRE_ENROLLED)
		return on_enrolled(d, &m->enrolled, why, why_n);
	if (type == WIRE_SCRAM)
		return on_scram(d, a, m->scram.message, why, why_n);
	if (type == WIRE_PENDING)
		return on_pending(d, &m->pending);
	return bad(why, why_n, "the server sends what belongs to no login");
}

/* ---- WELCOME ---- */

static void warn_of_successor(const struct dialer *d, const struct identity_hash *named)
{
	char pinned[IDENTITY_STRLEN], other[IDENTITY_STRLEN];

	log_emit(&MSG_AGENT_SUCCESSOR, LF_STR("server", d->memory.server),
		 LF_STR("pinned", identity_print(&d->memory.pins.successor, pinned)),
		 LF_STR("named", identity_print(named, other)));
}

/* Pins as they are to be now. A root that was the successor moves up; its word on the next one counts, and so does that of a server which has
 * proven that it made the code. Else the successor that is known stays: it is there to shut out whoever has taken the root or the link key,
 * and he could name his own. */
static void new_pins(const struct dialer *d, const struct wire_welcome *w, struct memory *m)
{
	const struct login *l = &d->login;
	struct identity_hash named = l->successor;

	if (w->successor.n == IDENTITY_LEN)
		memcpy(named.b, w->successor.p, IDENTITY_LEN);
	if (!identity_hash_equal(&l->peer.id, &m->pins.root) || (l->by_code && l->proven))
		m->pins.successor = (struct identity_hash){ { 0 } };
	m->pins.root = l->peer.id;
	if (!identity_hash_is_set(&m->pins.successor))
		m->pins.successor = named;
	else if (identity_hash_is_set(&named) && !identity_hash_equal(&named, &m->pins.successor))
		warn_of_successor(d, &named);
	m->configured = d->fingerprint;
	m->enrolled = true;
	if (d->login.by_code)
		memcpy(m->code, d->code_id, sizeof(m->code));
}

static bool same_memory(const struct memory *a, const struct memory *b)
{
	return identity_hash_equal(&a->pins.root, &b->pins.root) &&
	       identity_hash_equal(&a->pins.successor, &b->pins.successor) &&
	       identity_hash_equal(&a->configured, &b->configured) && a->enrolled == b->enrolled &&
	       strcmp(a->code, b->code) == 0; /* no secret */
}

static int welcomed(void *arg, struct agent *a, const struct wire_welcome *w, char *why, size_t why_n)
{
	struct dialer *d = arg;
	struct memory m = d->memory;
	bool moved;
	int r;

	(void)a;
	if (!d->login.known)
		return bad(why, why_n, "the server answers before it was greeted");
	if (d->guest)
		return 0; /* nothing is pinned */
	if (d->expect.kind == LINK_EXPECT_ANY && !d->login.proven)
		return bad(why, why_n,
			   "the server lets this agent in without proving that it knows the password: it may be a false one");
	new_pins(d, w, &m);
	if (same_memory(&m, &d->memory)) {
		dialer_enrol_ended(d, NULL);
		return 0;
	}
	moved = !identity_hash_equal(&m.pins.root, &d->memory.pins.root);
	r = remember(d, &m, why, why_n);
	if (r < 0)
		return r;
	if (moved)
		log_pins(d);
	if (d->expect.kind != LINK_EXPECT_PINS || moved) { /* carriers go by what is pinned now */
		struct link_expect e = { .kind = LINK_EXPECT_PINS, .pins = m.pins };
		struct tls_ctx *ctx = NULL;

		r = link_tls_agent(d->all->identity, &e, &ctx);
		if (r < 0)
			return bad(why, why_n, strerror(-r));
		tls_ctx_unref(d->tls);
		d->tls = ctx;
		d->expect = e;
	}
	bytes_wipe(&d->login.scram, sizeof(d->login.scram));
	dialer_enrol_ended(d, NULL);
	return 0;
}

/* A server that has forgotten this agent: the password, if there is one, is tried next time. */
static void refused(void *arg, enum wire_reason reason)
{
	struct dialer *d = arg;
	struct memory m = d->memory;
	char why[IDENTITY_ERRLEN];

	if (d->login.by_code)
		dialer_enrol_ended(d, wire_reason_text(reason));
	if (reason == WIRE_R_PASSWORD && d->login.by_code &&
	    d->code_by_verb) /* the file's may only have to wait */
		dialer_drop_false_code(d);
	if (reason != WIRE_R_UNKNOWN_KEY || !m.enrolled)
		return;
	m.enrolled = false;
	(void)remember(d, &m, why, sizeof(why));
}

void dialer_login_hooks(struct agent_dialer *ret_hooks)
{
	ret_hooks->hello = hello;
	ret_hooks->greeted = greeted;
	ret_hooks->enrol = enrol;
	ret_hooks->welcomed = welcomed;
	ret_hooks->refused = refused;
}
