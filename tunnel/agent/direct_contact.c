/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First contact with agents whose key is not known here (tunnel/direct/pairing.h): asked for by a visitor (stile connect), seen at the
 * host (stile agent peers), and accepted on both sides by people who compare eight digits; or, with a one-time code that the
 * host's administrator made (stile agent invite), accepted at once.
 *
 * Strangers cost a signature check each, one a second, and a place among CONTACTS_MAX.
 *
 * Timer of a contact: no answer in time; people took too long.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "tunnel/agent/direct_priv.h"
#include "tunnel/direct/pairing.h"
#include "tunnel/log_msgs.h"

enum { CONTACTS_MAX = 16, INVITES_MAX = 64, ANSWER_MS = 20 * 1000, DECIDE_MS = 10 * 60 * 1000, INVITE_MS = 60 * 60 * 1000 };
enum { STRANGERS_BURST = 20, STRANGER_EVERY_MS = 1000 };

enum contact_stage { CONTACT_KNOCKED, CONTACT_DECIDE };
struct dcontact {
	struct list node;
	struct direct *d;
	struct agent_end *end;
	bool theirs; /* the other one is the visitor */
	enum contact_stage stage;
	struct pairing p;
	char name[WIRE_NAME_MAX + 1];
	uint8_t nonce[PAIRING_NONCE], commit[WIRE_PIN];
	char string[PAIRING_SAS_STRLEN];
	struct enrol_code code;
	bool by_code;
	uint32_t number, tag;
	struct timer timer;
	struct control_request *request; /* of the visitor */
};
struct dinvite {
	struct list node;
	struct enrol_code code;
	json_t *allow;
	struct timer timer;
};

static const struct identity_hash *self_of(const struct direct *d)
{
	return identity_hash(dialers_identity(d->as->dialers));
}

static const struct identity_hash *other_of(const struct dcontact *c)
{
	return c->theirs ? &c->p.visitor : &c->p.host;
}

/* ---- their ends ---- */

static void contact_free(struct dcontact *c)
{
	timer_stop(&c->timer);
	list_unlink(&c->node);
	bytes_wipe(&c->code, sizeof(c->code));
	free(c);
}

static void contact_over(struct dcontact *c, const char *why)
{
	if (c->request)
		control_fail(c->request, "failed", "stile agent peers", "no first contact with %s: %s", c->name, why);
	contact_free(c);
}

static void on_contact_timer(struct timer *t, uint64_t now)
{
	struct dcontact *c = container_of(t, struct dcontact, timer);

	(void)now;
	contact_over(c, c->stage == CONTACT_KNOCKED ? "the other agent did not answer in time" : "nobody has decided in time");
}

static void invite_free(struct dinvite *i)
{
	timer_stop(&i->timer);
	list_unlink(&i->node);
	json_decref(i->allow);
	bytes_wipe(&i->code, sizeof(i->code));
	free(i);
}

static void on_invite_timer(struct timer *t, uint64_t now)
{
	(void)now;
	invite_free(container_of(t, struct dinvite, timer));
}

void contacts_free(struct direct *d)
{
	list_for_each_safe (it, &d->contacts)
		contact_over(list_entry(it, struct dcontact, node), "the agent stops");
	list_for_each_safe (it, &d->invites)
		invite_free(list_entry(it, struct dinvite, node));
}

static struct dcontact *contact_new(struct direct *d, struct agent_end *e, bool theirs)
{
	struct dcontact *c;
	unsigned n = 0;

	list_for_each (it, &d->contacts)
		n++;
	c = n < CONTACTS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c)
		return NULL;
	c->d = d;
	c->end = e;
	c->theirs = theirs;
	c->tag = ++d->last_contact;
	c->timer.fire = on_contact_timer;
	*(theirs ? &c->p.host : &c->p.visitor) = *self_of(d);
	list_append(&d->contacts, &c->node);
	loop_timer_set(d->loop, &c->timer, ANSWER_MS);
	return c;
}

static struct dcontact *contact_of_call(struct direct *d, const uint8_t *call)
{
	list_for_each (it, &d->contacts) {
		struct dcontact *c = list_entry(it, struct dcontact, node);

		if (memcmp(c->p.call, call, OFFER_CALL) == 0)
			return c;
	}
	return NULL;
}

static int say(struct dcontact *c, unsigned kind, const void *body, size_t n)
{
	static const struct identity_hash nobody;
	const struct identity_hash *to = kind == OFFER_KNOCK ? &nobody : other_of(c);
	struct offer o = { .kind = (uint8_t)kind, .to = { to->b, WIRE_PIN }, .call = { c->p.call, OFFER_CALL }, .number = ++c->number,
			   .body = { body, n } };

	return direct_say(c->end, &o, kind == OFFER_KNOCK ? c->name : "", (uint64_t)c->tag << 32);
}

/* ---- people decide ---- */

static void decide(struct dcontact *c, const uint8_t *visitor, const uint8_t *host)
{
	const struct direct_peer *same = peer_named(c->d, c->name);
	char id[IDENTITY_STRLEN];

	pairing_string(&c->p, visitor, host, c->string);
	c->stage = CONTACT_DECIDE;
	loop_timer_set(c->d->loop, &c->timer, DECIDE_MS);
	log_emit(&MSG_AGENT_CONTACT, LF_STR("peer", c->name), LF_STR("identity", identity_print(other_of(c), id)), LF_STR("string", c->string),
		 LF_BOOL("visitor", c->theirs));
	if (same && !identity_hash_equal(&same->id, other_of(c)))
		log_emit(&MSG_AGENT_PEER_CHANGED, LF_STR("peer", c->name), LF_STR("identity", id));
	control_publish(c->d->as->svc->control, "agent.peers",
			json_pack("{s:s, s:s, s:s, s:s}", "event", "contact", "peer", c->name, "identity", id, "string", c->string));
	if (c->request)
		control_reply(steal_ptr(&c->request), contact_json(c));
}

json_t *contact_json(const struct dcontact *c)
{
	const struct direct_peer *same = peer_named(c->d, c->name);
	char id[IDENTITY_STRLEN];

	return json_pack("{s:s, s:s, s:s, s:s, s:b}", "name", c->name, "identity", identity_print(other_of(c), id), "string", c->string, "role",
			 c->theirs ? "visitor" : "host", "changed", same && !identity_hash_equal(&same->id, other_of(c)));
}

json_t *contacts_json(struct direct *d)
{
	json_t *rows = json_array();

	list_for_each (it, &d->contacts) {
		const struct dcontact *c = list_entry(it, struct dcontact, node);

		if (c->stage == CONTACT_DECIDE)
			json_array_append_new(rows, contact_json(c));
	}
	return rows;
}

/* ---- said by strangers ---- */

static void on_knock_by_code(struct direct *d, struct agent_end *e, const struct offer *o, const struct pairing_body *b, struct text name)
{
	uint8_t id[ENROL_ID_LEN], proof[PAIRING_PROOF], body[1 + PAIRING_PROOF] = { PAIRING_BY_CODE };
	struct dcontact *c = contact_new(d, e, true);
	struct dinvite *found = NULL;

	if (!c)
		return;
	memcpy(c->p.call, o->call.p, OFFER_CALL);
	memcpy(c->p.visitor.b, o->from.p, IDENTITY_LEN);
	wire_text_copy(c->name, sizeof(c->name), name);
	list_for_each (it, &d->invites) {
		struct dinvite *i = list_entry(it, struct dinvite, node);

		enrol_id(i->code.secret, id);
		if (bytes_equal_ct(id, b->id.p, sizeof(id)) && pairing_proof(&c->p, &i->code, false, proof) == 0 &&
		    bytes_equal_ct(proof, b->proof.p, sizeof(proof)))
			found = i;
	}
	if (!found) {
		direct_refuse(d, e, o, WIRE_R_PASSWORD, "");
		contact_free(c);
		return;
	}
	if (pairing_proof(&c->p, &found->code, true, body + 1) == 0 && say(c, OFFER_NONCE_MSG, body, sizeof(body)) == 0) {
		peer_keep(d, &c->p.visitor, c->name, true, found->allow);
		invite_free(found);
	}
	contact_free(c);
}

static void on_knock(struct direct *d, struct agent_end *e, const struct offer *o, const struct pairing_body *b, struct text name)
{
	uint8_t body[1 + PAIRING_NONCE] = { PAIRING_BY_STRING };
	struct dcontact *c;

	list_for_each_safe (it, &d->contacts) { /* its last word counts */
		struct dcontact *old = list_entry(it, struct dcontact, node);

		if (old->theirs && memcmp(old->p.visitor.b, o->from.p, IDENTITY_LEN) == 0)
			contact_free(old);
	}
	c = contact_new(d, e, true);
	if (!c) {
		direct_refuse(d, e, o, WIRE_R_LIMIT, "too many agents wait for a first contact there");
		return;
	}
	memcpy(c->p.call, o->call.p, OFFER_CALL);
	memcpy(c->p.visitor.b, o->from.p, IDENTITY_LEN);
	memcpy(c->commit, b->commit.p, WIRE_PIN);
	wire_text_copy(c->name, sizeof(c->name), name);
	if (bytes_random(c->nonce, sizeof(c->nonce)) < 0) {
		contact_free(c);
		return;
	}
	memcpy(body + 1, c->nonce, sizeof(c->nonce));
	if (say(c, OFFER_NONCE_MSG, body, sizeof(body)) < 0)
		contact_free(c);
}

static void on_reveal(struct dcontact *c, const struct pairing_body *b)
{
	uint8_t commit[WIRE_PIN];

	pairing_commit(&c->p, b->nonce.p, commit);
	if (!bytes_equal_ct(commit, c->commit, sizeof(commit))) {
		log_emit(&MSG_AGENT_PEER_REFUSED, LF_STR("peer", c->name), LF_STR("reason", "first contact: it reveals what it did not commit to"));
		contact_free(c);
		return;
	}
	decide(c, b->nonce.p, c->nonce);
}

/* Who it is is known now, or who says so. */
static void on_nonce(struct dcontact *c, const struct offer *o, const struct pairing_body *b, struct text name)
{
	uint8_t body[1 + PAIRING_NONCE] = { PAIRING_BY_STRING }, proof[PAIRING_PROOF];

	memcpy(c->p.host.b, o->from.p, IDENTITY_LEN);
	if (name.n)
		wire_text_copy(c->name, sizeof(c->name), name);
	if (!c->by_code) {
		memcpy(body + 1, c->nonce, sizeof(c->nonce));
		if (say(c, OFFER_REVEAL, body, sizeof(body)) < 0)
			contact_over(c, "the server is not connected");
		else
			decide(c, c->nonce, b->nonce.p);
		return;
	}
	if (memcmp(c->code.root, c->p.host.b, sizeof(c->code.root)) != 0 || pairing_proof(&c->p, &c->code, true, proof) < 0 ||
	    !bytes_equal_ct(proof, b->proof.p, sizeof(proof))) {
		contact_over(c, "who answered is not the agent that made the code");
		return;
	}
	peer_keep(c->d, &c->p.host, c->name, false, NULL);
	control_reply(steal_ptr(&c->request), contact_json(c));
	contact_free(c);
}

bool contact_may_knock(struct direct *d)
{
	return direct_may_speak(&d->strangers, loop_now(d->loop), STRANGERS_BURST, STRANGER_EVERY_MS);
}

/* It is signed by whom it says. */
bool contact_heard(struct direct *d, struct agent_end *e, const struct offer *o, struct text name)
{
	struct dcontact *c = contact_of_call(d, o->call.p);
	bool answers = c && c->stage == CONTACT_KNOCKED;
	struct pairing_body b;
	char text[DIRECT_WHY];

	if (answers && o->kind == OFFER_BYE && !c->theirs) {
		wire_text_copy(text, sizeof(text), o->text);
		contact_over(c, *text ? text : wire_reason_text(o->reason));
		return true;
	}
	if (o->kind < OFFER_KNOCK || pairing_read(o->kind, &o->body, &b) != WIRE_OK)
		return false;
	if (!c && o->kind == OFFER_KNOCK)
		(b.way == PAIRING_BY_CODE ? on_knock_by_code : on_knock)(d, e, o, &b, name);
	else if (answers && o->kind == OFFER_NONCE_MSG && !c->theirs && c->by_code == (b.way == PAIRING_BY_CODE))
		on_nonce(c, o, &b, name);
	else if (answers && o->kind == OFFER_REVEAL && c->theirs && memcmp(c->p.visitor.b, o->from.p, IDENTITY_LEN) == 0)
		on_reveal(c, &b);
	else
		return false;
	return true;
}

void contact_lost(struct direct *d, const struct wire_signal_lost *m)
{
	char text[DIRECT_WHY];

	list_for_each_safe (it, &d->contacts) {
		struct dcontact *c = list_entry(it, struct dcontact, node);

		if (m->tag != (uint64_t)c->tag << 32)
			continue;
		wire_text_copy(text, sizeof(text), m->text);
		contact_over(c, *text ? text : wire_reason_text(m->reason));
	}
}

/* ---- verbs ---- */

static int begin(struct dcontact *c)
{
	uint8_t body[PAIRING_BODY_MAX] = { PAIRING_BY_STRING };
	size_t n = 1 + WIRE_PIN;
	int r = bytes_random(c->p.call, sizeof(c->p.call));

	if (r == 0)
		r = bytes_random(c->nonce, sizeof(c->nonce));
	if (r == 0 && c->by_code) {
		body[0] = PAIRING_BY_CODE;
		enrol_id(c->code.secret, body + 1);
		n = 1 + ENROL_ID_LEN + PAIRING_PROOF;
		r = pairing_proof(&c->p, &c->code, false, body + 1 + ENROL_ID_LEN);
	} else if (r == 0) {
		pairing_commit(&c->p, c->nonce, body + 1);
	}
	return r < 0 ? r : say(c, OFFER_KNOCK, body, n);
}

static void verb_contact(struct control_request *rq, const json_t *args, void *arg)
{
	const char *name = json_string_value(json_object_get(args, "agent")), *code = json_string_value(json_object_get(args, "code"));
	struct direct *d = arg;
	struct agent_end *e = direct_some_server(d);
	struct enrol_code parsed;
	enum enrol_error bad = code ? enrol_code_parse(text_of(code), &parsed) : ENROL_OK;
	struct dcontact *c;

	if (!name || !*name || strlen(name) > WIRE_NAME_MAX || bad != ENROL_OK) {
		control_fail(rq, "bad-request", NULL, "%s", bad != ENROL_OK ? enrol_error_text(bad) : "agent must be the name of an agent");
		return;
	}
	c = d->enabled && e ? contact_new(d, e, false) : NULL;
	if (!c) {
		control_fail(rq, "failed", "stile agent status", "%s", e ? "too many first contacts are under way" : "no server that knows direct links is connected");
		return;
	}
	c->request = rq;
	c->by_code = code != NULL;
	if (code)
		c->code = parsed;
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	if (begin(c) < 0)
		contact_over(c, "the server is not connected");
}

/* Digits, a name, or a fingerprint. */
static struct dcontact *meant(struct direct *d, const char *word)
{
	struct dcontact *found = NULL;
	struct identity_hash id;
	char digits[PAIRING_SAS_STRLEN] = "";
	unsigned n = 0;
	bool is_id = identity_parse(text_of(word), &id) == 0;

	for (const char *p = word; *p && n < 9; p++) {
		if (n == 4)
			digits[n++] = '-';
		if (*p >= '0' && *p <= '9')
			digits[n++] = *p;
	}
	list_for_each (it, &d->contacts) {
		struct dcontact *c = list_entry(it, struct dcontact, node);

		if (c->stage != CONTACT_DECIDE)
			continue;
		if (strcmp(c->string, digits) == 0 || (is_id ? identity_hash_equal(other_of(c), &id) : strcmp(c->name, word) == 0)) {
			if (found)
				return NULL;
			found = c;
		}
	}
	return found;
}

static void verb_accept(struct control_request *rq, const json_t *args, void *arg)
{
	const char *word = json_string_value(json_object_get(args, "agent"));
	const json_t *allow = json_object_get(args, "allow");
	struct dcontact *c = word ? meant(arg, word) : NULL;

	if (!c) {
		control_fail(rq, "not-found", "stile agent peers shows who waits", "no agent %s waits for a first contact", word ? word : "");
		return;
	}
	if (c->theirs && !json_array_size(allow)) {
		control_fail(rq, "bad-request", "--allow 10.1.0.0/24:22, for example", "say what the visitor may reach here");
		return;
	}
	if (peer_store(c->d, rq, &(struct peer_values){ other_of(c), c->name, c->theirs, !c->theirs, allow }))
		contact_free(c);
}

static void verb_invite(struct control_request *rq, const json_t *args, void *arg)
{
	json_t *allow = json_object_get(args, "allow");
	struct direct *d = arg;
	char text[ENROL_CODE_STRLEN], err[256];
	struct dinvite *i;
	unsigned n = 0;

	list_for_each (it, &d->invites)
		n++;
	if (!json_array_size(allow) || !peer_allow_good(allow, err, sizeof(err))) {
		control_fail(rq, "bad-request", "--allow 10.1.0.0/24:22, for example", "%s", json_array_size(allow) ? err : "say what the visitor may reach here");
		return;
	}
	i = n < INVITES_MAX ? calloc(1, sizeof(*i)) : NULL;
	if (!i || enrol_code_make(self_of(d), &i->code) < 0) {
		free(i);
		control_fail(rq, "failed", NULL, "too many codes are out, or there is no memory");
		return;
	}
	i->allow = json_deep_copy(allow);
	i->timer.fire = on_invite_timer;
	list_append(&d->invites, &i->node);
	loop_timer_set(d->loop, &i->timer, INVITE_MS);
	control_reply(rq, json_pack("{s:s, s:I}", "code", enrol_code_write(&i->code, text), "expires", (json_int_t)time(NULL) + INVITE_MS / 1000));
	bytes_wipe(text, sizeof(text));
}

static void verb_forget(struct control_request *rq, const json_t *args, void *arg)
{
	const char *word = json_string_value(json_object_get(args, "agent"));
	struct dcontact *c = word ? meant(arg, word) : NULL;

	if (!c) {
		peer_forget(arg, rq, word);
		return;
	}
	contact_free(c);
	control_reply(rq, json_pack("{s:s}", "agent", word));
}

static const struct control_verb verbs[] = {
	{ "agent.contact", CONTROL_OPERATOR, verb_contact, "{agent, code}: first contact with an agent whose key is not known here; answers with the short "
							   "authentication string, or when the code was taken" },
	{ "agent.peer.accept", CONTROL_ADMIN, verb_accept, "{agent, allow}: the one that waits under this string, name or fingerprint is known from now on" },
	{ "agent.peer.forget", CONTROL_ADMIN, verb_forget, "{agent}: a known agent is not known any more; its links end" },
	{ "agent.invite", CONTROL_ADMIN, verb_invite, "{allow}: a code, good once and for an hour, by which another agent becomes a visitor here" },
};

void contacts_add_verbs(struct direct *d)
{
	control_add_verbs(d->as->svc->control, verbs, ARRAY_LEN(verbs), d);
}
