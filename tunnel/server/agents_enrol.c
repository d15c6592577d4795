/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrivals that are not known: enrolment by a code, by the password, and the wait for an administrator.
 *
 *   late   AWAIT_MS after HELLO said that a login follows: it did not, or not to its end
 *
 * A code is taken out of the table the moment its proof is right, so nobody uses it twice, and the
 * agent is told when the disk knows. A pending agent may wait as long as it likes: its connection
 * counts as a stranger's, and of one key only the newest waits.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/agents_priv.h"

enum {
	AWAIT_MS = 15000,
	WRONG_PER_ADDRESS = 20,
	WRONG_PER_NAME = 5,
	WRONG_MAX_MS = 15 * 60 * 1000,
	ROOT_DER_MAX = 1024,
};

static const struct turn_backoff_limits wrong_limits = { WRONG_PER_NAME, WRONG_PER_ADDRESS,
							 WRONG_MAX_MS };

/* ---- life ---- */

struct visit *visit_new(struct tunnel_agents *a, struct tunnel_arrival *v)
{
	struct visit *visit = calloc(1, sizeof(*visit));

	if (!visit)
		return NULL;
	visit->a = a;
	visit->arrival = v;
	memcpy(visit->id.b, tunnel_arrival_info(v)->identity, IDENTITY_LEN);
	list_append(&a->visits, &visit->node);
	tunnel_arrival_set_state(v, visit);
	return visit;
}

struct visit *visit_free(struct visit *v)
{
	if (!v)
		return NULL;
	list_unlink(&v->node);
	timer_stop(&v->late);
	scram_wipe(&v->scram);
	free(v);
	return NULL;
}

static void refuse(struct visit *v, enum agents_refusal why, const char *detail)
{
	struct tunnel_agents *a = v->a;
	struct tunnel_arrival *arrival = v->arrival;

	visit_free(v);
	agents_refuse(a, arrival, why, detail);
}

void tunnel_agents_arrival_gone(struct tunnel_arrival *v, const char *why, void *arg)
{
	(void)why;
	(void)arg;
	visit_free(tunnel_arrival_state(v));
}

static void on_late(struct timer *t, uint64_t now)
{
	(void)now;
	refuse(container_of(t, struct visit, late), AGENTS_R_TIMEOUT, NULL);
}

void visit_await_frame(struct visit *v)
{
	v->late.fire = on_late;
	loop_timer_set(v->a->o.loop, &v->late, AWAIT_MS);
}

/* ---- wrong ones back off ---- */

static struct turn_backoff_who who_is(const struct visit *v)
{
	const struct tunnel_arrival_info *i = tunnel_arrival_info(v->arrival);

	return (struct turn_backoff_who){ &i->peer, TEXT("tunnel"), i->hello.name };
}

/* False: v is gone. */
static bool may_try(struct visit *v)
{
	struct turn_backoff_who who = who_is(v);

	if (turn_backoff_may_try(v->a->backoff, &wrong_limits, &who, loop_now(v->a->o.loop)))
		return true;
	refuse(v, AGENTS_R_BACKOFF, NULL);
	return false;
}

static void wrong(struct visit *v, enum agents_refusal why, const char *detail)
{
	struct turn_backoff_who who = who_is(v);
	struct turn_backoff_wait w;

	if (turn_backoff_failed(v->a->backoff, &wrong_limits, &who, loop_now(v->a->o.loop), &w))
		log_emit(&MSG_TUNNEL_AGENT_BACKOFF, LF_ADDR("client", who.client),
			 LF_U64("failures", w.failures), LF_U64("wait_s", w.ms / 1000),
			 LF_BOOL("whole_address", w.address));
	refuse(v, why, detail);
}

/* ---- enrolled: to the disk, then in ---- */

static bool is_taken(const char *name, void *arg)
{
	const struct visit *v = arg;

	return agents_other_named(v->a, name, &v->id) != NULL;
}

/* v is gone if this fails. */
static void enrol(struct visit *v, struct text name, enum entry_state state, enum entry_way way)
{
	const struct tunnel_arrival_info *i = tunnel_arrival_info(v->arrival);
	const struct entry *known = registry_find(v->a->registry, &v->id);
	struct deed d = { .kind = DEED_ENROL, .visit = v };
	char who[ADDR_STRLEN + 16], ip[ADDR_STRLEN];
	int r;

	if (known)
		d.entry = *known;
	d.entry.id = v->id;
	(void)identity_print(&v->id, d.entry.key);
	if (!known || way == ENTRY_BY_CODE)
		registry_free_name(name, is_taken, v, d.entry.name);
	if (!known || known->state == ENTRY_PENDING)
		d.entry.state = state;
	d.entry.way = way;
	if (way == ENTRY_BY_CODE)
		d.entry.successor = *identity_hash(v->a->keys.successor); /* whatever it knew before */
	if (!known)
		d.entry.created_at = agents_now_s();
	agents_note_who(&d.entry, i, ip);
	(void)snprintf(who, sizeof(who), "agent %s", ip);
	timer_stop(&v->late);
	v->at_disk = true;
	r = agents_store(v->a, &d, who);
	if (r < 0)
		refuse(v, r == -ENOSPC ? AGENTS_R_FULL : AGENTS_R_STORE, strerror(-r));
}

static void admit(struct visit *v, struct entry *e)
{
	struct tunnel_agents *a = v->a;
	struct tunnel_arrival *arrival = v->arrival;

	visit_free(v);
	agents_admit(a, arrival, e);
}

static int send_enrolled(struct visit *v)
{
	struct wire_enrolled m = { .proof = { v->proof, sizeof(v->proof) },
				   .successor = { identity_hash(v->a->keys.successor)->b, IDENTITY_LEN } };
	uint8_t der[ROOT_DER_MAX], *p = der;
	int n = i2d_X509(identity_cert(v->a->keys.root), NULL);

	if (n <= 0 || n > ROOT_DER_MAX)
		return -EIO;
	m.root = (struct wire_bytes){ der, (size_t)i2d_X509(identity_cert(v->a->keys.root), &p) };
	return tunnel_arrival_send(v->arrival, WIRE_ENROLLED, &m);
}

void visit_stored(struct visit *v, struct entry *e)
{
	v->at_disk = false;
	if (e->state == ENTRY_REVOKED) { /* while the login was under way */
		refuse(v, AGENTS_R_REVOKED, NULL);
		return;
	}
	metric_add(v->a->metrics, 0, AGENTS_M_ENROLLED, e->way, 1);
	log_emit(e->state == ENTRY_PENDING ? &MSG_TUNNEL_AGENT_PENDING : &MSG_TUNNEL_AGENT_ENROLLED,
		 LF_STR("name", e->name), LF_STR("fingerprint", e->key), LF_STR("address", e->address),
		 LF_STR("by", e->way == ENTRY_BY_CODE ? "code" : "password"));
	agents_publish(v->a, e->state == ENTRY_PENDING ? "pending" : "enrolled", e);
	if (v->by_code && send_enrolled(v) < 0)
		refuse(v, AGENTS_R_STORE, "ENROLLED could not be sent");
	else if (e->state == ENTRY_PENDING)
		visit_pending(v);
	else
		admit(v, e);
}

void visit_not_stored(struct visit *v)
{
	refuse(v, AGENTS_R_STORE, "the store refused it");
}

/* ---- pending ---- */

static struct visit *waits_already(const struct visit *v)
{
	list_for_each (n, &v->a->visits) {
		struct visit *other = list_entry(n, struct visit, node);

		if (other != v && other->pending && identity_hash_equal(&other->id, &v->id))
			return other;
	}
	return NULL;
}

void visit_pending(struct visit *v)
{
	struct wire_pending m = { .agent = { v->id.b, IDENTITY_LEN },
				  .server = { identity_hash(v->a->keys.root)->b, IDENTITY_LEN } };
	struct visit *other = waits_already(v);

	if (other) {
		struct tunnel_arrival *gone = other->arrival;

		visit_free(other);
		tunnel_arrival_refuse(gone, WIRE_R_REPLACED,
				      "a newer connection of this agent waits", 0);
	}
	timer_stop(&v->late);
	v->pending = true;
	(void)tunnel_arrival_send(v->arrival, WIRE_PENDING, &m);
}

void visit_decided(struct tunnel_agents *a, const struct entry *e)
{
	list_for_each_safe (n, &a->visits) {
		struct visit *v = list_entry(n, struct visit, node);
		struct entry *now = registry_find(a->registry, &e->id);

		if (!v->pending || !identity_hash_equal(&v->id, &e->id))
			continue;
		if (now && now->state == ENTRY_APPROVED)
			admit(v, now);
		else if (!now || now->state == ENTRY_REVOKED)
			refuse(v, AGENTS_R_REJECTED, NULL);
	}
}

void tunnel_agents_send_away(struct tunnel_agents *a, const char *why)
{
	list_for_each_safe (n, &a->visits) {
		struct visit *v = list_entry(n, struct visit, node);
		struct tunnel_arrival *gone = v->arrival;

		if (v->at_disk)
			continue; /* an answer is under way to it */
		visit_free(v);
		tunnel_arrival_refuse(gone, WIRE_R_KICKED, why, TUNNEL_AGAIN_S);
	}
}

/* ---- by code ---- */

static struct enrol_session session_of(const struct visit *v)
{
	const struct tunnel_arrival_info *i = tunnel_arrival_info(v->arrival);
	struct enrol_session s = { .agent = v->id,
				   .root = *identity_hash(v->a->keys.root),
				   .name = i->hello.name };

	memcpy(s.exporter, i->enrol, sizeof(s.exporter));
	return s;
}

/* Whoever has the code's name now is revoked for it, if the code says so. */
static void make_room(struct visit *v, const struct code *c)
{
	const struct entry *other = registry_named(v->a->registry, text_of(c->name));
	struct deed d = { .kind = DEED_CHANGE, .event = "replaced" };

	if (!c->replace || !other || identity_hash_equal(&other->id, &v->id))
		return;
	d.entry = *other;
	d.entry.state = ENTRY_REVOKED;
	(void)agents_store(v->a, &d, "code");
}

static void on_enrol(struct visit *v, const struct wire_enrol *m)
{
	struct enrol_session s = session_of(v);
	char key[REGISTRY_CODE_KEYLEN + 1] = "";
	struct code *c, used;
	struct entry *known;

	if (!may_try(v))
		return;
	if (m->code.n == ENROL_ID_LEN)
		hex_encode(m->code.p, m->code.n, key);
	c = registry_code(v->a->registry, text_of(key), agents_now_s());
	known = registry_find(v->a->registry, &v->id);
	if (!c && known && known->state == ENTRY_APPROVED) { /* it used the code, and missed the WELCOME */
		admit(v, known);
		return;
	}
	if (!c || !enrol_proof_good(c->secret, ENROL_AGENT, &s,
				    (struct text){ (const char *)m->proof.p, m->proof.n })) {
		wrong(v, AGENTS_R_CODE, c ? "the proof is wrong" : "there is no such code");
		return;
	}
	used = *c;
	agents_forget_code(v->a, c, "agent");
	v->by_code = true;
	if (enrol_proof(used.secret, ENROL_SERVER, &s, v->proof) < 0)
		refuse(v, AGENTS_R_STORE, "no proof could be made");
	else {
		make_room(v, &used);
		enrol(v, text_of(used.name), ENTRY_APPROVED, ENTRY_BY_CODE);
	}
	bytes_wipe(&used, sizeof(used));
}

/* ---- by password ---- */

static int say(struct visit *v, const struct scram_text *t)
{
	struct wire_scram m = { .message = { t->p, t->n } };

	return tunnel_arrival_send(v->arrival, WIRE_SCRAM, &m);
}

static void begin_scram(struct visit *v, struct text message)
{
	const struct tunnel_arrival_info *i = tunnel_arrival_info(v->arrival);
	struct scram_text t;
	enum scram_result r;

	v->scram.binding = (struct scram_binding){ .type = "tls-exporter", .n = sizeof(i->binding) };
	memcpy(v->scram.binding.data, i->binding, sizeof(i->binding));
	r = scram_server_first(&v->scram, &v->a->verifier, message, &t);
	if (r != SCRAM_OK)
		refuse(v, AGENTS_R_PROTOCOL, scram_result_text(r));
	else if (say(v, &t) < 0)
		refuse(v, AGENTS_R_PROTOCOL, "the login cannot be answered");
}

static void end_scram(struct visit *v, struct text message)
{
	const struct tunnel_arrival_info *i = tunnel_arrival_info(v->arrival);
	struct turn_backoff_who who = who_is(v);
	struct scram_text t;
	enum scram_result r = scram_server_final(&v->scram, &v->a->verifier, message, &t);

	if (t.n)
		(void)say(v, &t);
	if (r == SCRAM_MALFORMED || r == SCRAM_FAILED) {
		refuse(v, AGENTS_R_PROTOCOL, scram_result_text(r));
	} else if (r != SCRAM_OK) {
		wrong(v, AGENTS_R_PASSWORD, scram_result_text(r));
	} else {
		turn_backoff_passed(v->a->backoff, &who, loop_now(v->a->o.loop));
		enrol(v, i->hello.name,
		      i->hello.features & WIRE_F_PINNED ? ENTRY_APPROVED : ENTRY_PENDING,
		      ENTRY_BY_PASSWORD);
	}
}

static void on_scram(struct visit *v, struct text message)
{
	if (!v->a->has_password)
		refuse(v, AGENTS_R_NO_PASSWORD, NULL);
	else if (v->scram_messages++ > 0)
		end_scram(v, message);
	else if (may_try(v))
		begin_scram(v, message);
}

void tunnel_agents_arrival_frame(struct tunnel_arrival *arrival, unsigned type,
				 const union wire_msg *m, void *arg)
{
	struct visit *v = tunnel_arrival_state(arrival);

	if (!v || v->at_disk || v->pending) {
		visit_free(v);
		agents_refuse(arg, arrival, AGENTS_R_PROTOCOL, "a login where none belongs");
	} else if (type == WIRE_ENROL) {
		on_enrol(v, &m->enrol);
	} else if (type == WIRE_SCRAM) {
		on_scram(v, m->scram.message);
	} else {
		refuse(v, AGENTS_R_PROTOCOL, wire_type_name(type));
	}
}
