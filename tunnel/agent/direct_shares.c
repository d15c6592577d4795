/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is shared from here (stile share; docs/decisions/0024-sharing.md): told to the servers, so that it is found; whoever proves to have
 * its code becomes a guest, who reaches this one thing and nothing else, for as long as it is there. A share lasts as long as the request that
 * made it.
 *
 * The code's secret is not here: only the key that guests prove.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "tunnel/agent/direct_priv.h"
#include "tunnel/log_msgs.h"
#include "tunnel/policy.h"

enum { SHARES_MAX = 64, GUESTS_MAX = 256 };
static const char prefix[] = DIRECT_SHARE_PREFIX;

struct dshare {
	struct list node;
	struct direct *d;
	uint64_t id;
	uint8_t knock[PAIRING_SHARE_KEY];
	uint8_t kind; /* enum wire_share_kind */
	char host[256];
	uint16_t port;
	uint64_t expires;
	struct identity_hash *guests; /* GUESTS_MAX of them; the oldest makes way */
	unsigned n_guests, next_guest;
	bool found;
	char name[256]; /* for people; "" */
	char why[DIRECT_WHY], url[256], place[300];
	struct control_request *request;
};

static struct dshare *share_numbered(struct direct *d, uint64_t id)
{
	list_for_each (it, &d->shares) {
		struct dshare *s = list_entry(it, struct dshare, node);

		if (s->id == id)
			return s;
	}
	return NULL;
}

/* ---- guests ---- */

static bool is_guest(const struct dshare *s, const struct identity_hash *id)
{
	for (unsigned i = 0; i < s->n_guests; i++)
		if (identity_hash_equal(&s->guests[i], id))
			return true;
	return false;
}

/* Who stays, as the guest of another share or as a visitor, loses what leads to this one. Files are served by the share itself, which
 * ends with it. */
static void guest_gone(const struct dshare *s, const struct identity_hash *id)
{
	peer_guest_gone(s->d, id);
	if (s->kind == WIRE_SHARE_TCP)
		peer_reaches_less(s->d, id);
}

static int add_guest(struct dshare *s, const struct identity_hash *id, const char *name)
{
	struct direct_peer *p;

	if (is_guest(s, id))
		return 0;
	p = peer_add(s->d, id, name);
	if (!p)
		return -ENOMEM;
	p->guest++;
	if (s->n_guests == GUESTS_MAX) {
		struct identity_hash oldest = s->guests[s->next_guest];

		s->guests[s->next_guest] = *id;
		s->next_guest = (s->next_guest + 1) % GUESTS_MAX;
		guest_gone(s, &oldest);
	} else {
		s->guests[s->n_guests++] = *id;
	}
	return 0;
}

/* It has a share's id, and says that it has its key. True: it was a word of that kind. */
bool shares_knocked(struct direct *d, struct agent_end *e, const struct offer *o, struct text name)
{
	struct pairing p = { .host = *identity_hash(dialers_identity(d->as->dialers)) };
	uint8_t proof[PAIRING_PROOF], body[1 + PAIRING_PROOF + 1] = { PAIRING_BY_SHARE };
	struct offer answer = { .kind = OFFER_NONCE_MSG, .to = o->from, .call = o->call, .number = 1, .body = { body, sizeof(body) } };
	char who[WIRE_NAME_MAX + 1];
	struct pairing_body b;
	struct dshare *s;
	struct rd r;

	if (o->kind != OFFER_KNOCK || pairing_read(o->kind, &o->body, &b) != WIRE_OK || b.way != PAIRING_BY_SHARE)
		return false;
	r = rd_init(b.id.p, b.id.n);
	s = share_numbered(d, rd_u64(&r));
	wire_text_copy(who, sizeof(who), name);
	memcpy(p.call, o->call.p, OFFER_CALL);
	memcpy(p.visitor.b, o->from.p, IDENTITY_LEN);
	if (!s) {
		direct_refuse(d, e, o, WIRE_R_UNKNOWN_SHARE, "");
		return true;
	}
	if (pairing_share_proof(&p, s->knock, false, proof) < 0 || !bytes_equal_ct(proof, b.proof.p, sizeof(proof))) {
		log_emit(&MSG_AGENT_SHARE_REFUSED, LF_STR("peer", who));
		direct_refuse(d, e, o, WIRE_R_PASSWORD, "the code of that share is another one");
		return true;
	}
	if (pairing_share_proof(&p, s->knock, true, body + 1) < 0 || add_guest(s, &p.visitor, who) < 0) {
		direct_refuse(d, e, o, WIRE_R_MEMORY, "");
		return true;
	}
	body[1 + PAIRING_PROOF] = s->kind;
	log_emit(&MSG_AGENT_SHARE_GUEST, LF_STR("peer", who));
	direct_want_child(d);
	(void)direct_say(e, &answer, "", 0);
	return true;
}

/* ---- what they reach ---- */

/* "share-0123456789abcdef" */
static struct dshare *share_of_host(struct direct *d, struct text host)
{
	uint64_t id;

	if (!text_starts(host, text_of(prefix)) || text_hex64(text_drop(host, sizeof(prefix) - 1), &id) < 0)
		return NULL;
	return share_numbered(d, id);
}

static void tell_target(const struct dshare *s, struct share_target *ret_t)
{
	(void)snprintf(ret_t->host, sizeof(ret_t->host), "%s", s->host);
	ret_t->port = s->port;
	ret_t->local = s->kind == WIRE_SHARE_HTTP;
}

bool shares_reach(struct direct *d, const struct identity_hash *peer, struct text host, struct share_target *ret_t)
{
	struct dshare *s = share_of_host(d, host);

	if (!s || !is_guest(s, peer))
		return false;
	tell_target(s, ret_t);
	return true;
}

bool shares_target(struct direct *d, uint64_t id, struct share_target *ret_t)
{
	struct dshare *s = share_numbered(d, id);

	if (!s || s->kind != WIRE_SHARE_HTTP)
		return false;
	tell_target(s, ret_t);
	return true;
}

bool shares_any(const struct direct *d)
{
	return !list_empty(&d->shares);
}

/* ---- the servers ---- */

static void news(struct dshare *s)
{
	if (s->request)
		control_progress(s->request, json_pack("{s:s, s:s, s:s, s:s, s:I}", "state", s->found ? "found" : "waiting", "why", s->why, "url", s->url,
						       "place", s->place, "expires", (json_int_t)s->expires));
}

static void tell(struct dshare *s, struct agent_end *e, bool over)
{
	const struct wire_share m = { .id = s->id, .kind = s->kind, .expires = s->expires, .over = over };

	if (agent_shares(e->agent))
		(void)agent_send(e->agent, WIRE_SHARE, &m);
}

void shares_server_up(struct direct *d, struct agent_end *e)
{
	list_for_each (it, &d->shares) {
		struct dshare *s = list_entry(it, struct dshare, node);

		tell(s, e, false);
		if (!agent_shares(e->agent) && !s->found) {
			(void)snprintf(s->why, sizeof(s->why), "the server %.100s is older than sharing, or does not allow it (tunnel.direct.enabled)", e->server);
			news(s);
		}
	}
}

static bool any_up(const struct direct *d)
{
	for (unsigned i = 0; i < d->as->n_ends; i++)
		if (d->as->ends[i].state == AGENT_UP)
			return true;
	return false;
}

void shares_server_down(struct direct *d)
{
	if (any_up(d))
		return;
	list_for_each (it, &d->shares) {
		struct dshare *s = list_entry(it, struct dshare, node);

		if (!s->found)
			continue;
		s->found = false;
		(void)snprintf(s->why, sizeof(s->why), "the agent is not connected to its server; it tries again");
		news(s);
	}
}

/* Where a receiver without an agent finds the server: as it calls itself, else as it is called here. */
static void find_place(struct dshare *s, const struct agent_end *e)
{
	struct agent_info i;
	const char *colon = strrchr(e->server, ':');

	agent_info(e->agent, &i);
	if (i.public_name[0] && colon)
		(void)snprintf(s->place, sizeof(s->place), strchr(i.public_name, ':') ? "[%s]%s" : "%s%s", i.public_name, colon);
	else
		(void)snprintf(s->place, sizeof(s->place), "%s", e->server);
}

void shares_state(struct direct *d, struct agent_end *e, const struct wire_share_state *m)
{
	struct dshare *s = share_numbered(d, m->id);

	if (!s)
		return;
	if (m->reason) {
		if (!s->found)
			wire_text_copy(s->why, sizeof(s->why), m->text.n ? m->text : text_of(wire_reason_text(m->reason)));
	} else {
		s->found = true;
		s->why[0] = '\0';
		wire_text_copy(s->url, sizeof(s->url), m->url);
		find_place(s, e);
	}
	news(s);
}

/* ---- made and ended ---- */

static void share_free(struct dshare *s)
{
	struct direct *d = s->d;

	for (unsigned i = 0; i < d->as->n_ends; i++)
		tell(s, &d->as->ends[i], true);
	list_unlink(&s->node);
	d->n_shares--;
	for (unsigned i = 0; i < s->n_guests; i++)
		guest_gone(s, &s->guests[i]);
	free(s->guests);
	bytes_wipe(s->knock, sizeof(s->knock));
	free(s);
}

void shares_free(struct direct *d)
{
	list_for_each_safe (it, &d->shares) {
		struct dshare *s = list_entry(it, struct dshare, node);

		if (s->request)
			control_fail(steal_ptr(&s->request), "cancelled", NULL, "the agent stops");
		share_free(s);
	}
}

static void on_cancel(struct control_request *rq, void *arg)
{
	struct dshare *s = arg;
	struct direct *d = s->d;

	s->request = NULL;
	share_free(s);
	direct_want_child(d);
	control_fail(rq, "cancelled", NULL, "the share is over");
}

const char *share_read_words(const json_t *args, uint64_t *ret_id, uint8_t ret_knock[static PAIRING_SHARE_KEY])
{
	const char *id = json_string_value(json_object_get(args, "share")), *knock = json_string_value(json_object_get(args, "knock"));
	size_t n;

	if (!id || text_hex64(text_of(id), ret_id) < 0 || !*ret_id)
		return "share must be sixteen hexadecimal digits";
	if (!knock || hex_decode(text_of(knock), ret_knock, PAIRING_SHARE_KEY, &n) < 0 || n != PAIRING_SHARE_KEY)
		return "knock must be 64 hexadecimal digits";
	return NULL;
}

/* What the words say, or a sentence. */
static const char *read_words(struct dshare *s, const json_t *args)
{
	const char *bad = share_read_words(args, &s->id, s->knock);
	const char *name = json_string_value(json_object_get(args, "name"));
	const char *kind = json_string_value(json_object_get(args, "kind")), *host = json_string_value(json_object_get(args, "host"));
	json_int_t port = json_integer_value(json_object_get(args, "port")), expires = json_integer_value(json_object_get(args, "expires"));
	struct addr a;

	if (bad)
		return bad;
	if (!kind || (strcmp(kind, "http") != 0 && strcmp(kind, "tcp") != 0))
		return "kind must be http or tcp";
	s->kind = strcmp(kind, "http") == 0 ? WIRE_SHARE_HTTP : WIRE_SHARE_TCP;
	if (!host || !*host || strlen(host) >= sizeof(s->host) || port <= 0 || port > UINT16_MAX || expires < 0)
		return "host and port must be given";
	if (s->kind == WIRE_SHARE_HTTP && (addr_parse(text_of(host), 0, &a) < 0 || addr_classify(&a) != ADDR_LOOPBACK))
		return "the share's own server must be on this host";
	(void)snprintf(s->host, sizeof(s->host), "%s", host);
	(void)snprintf(s->name, sizeof(s->name), "%s", name && text_is_utf8(text_of(name)) && strlen(name) < sizeof(s->name) ? name : "");
	s->port = (uint16_t)port;
	s->expires = (uint64_t)expires;
	return NULL;
}

static void verb_share(struct control_request *rq, const json_t *args, void *arg)
{
	struct direct *d = arg;
	struct dshare *s = d->enabled && d->n_shares < SHARES_MAX ? calloc(1, sizeof(*s)) : NULL;
	const char *bad = !d->enabled ? "agent.direct.enabled is false" : "too many shares, or no memory";

	if (s) {
		s->guests = calloc(GUESTS_MAX, sizeof(*s->guests));
		bad = !s->guests ? "no memory" : read_words(s, args);
		if (!bad && share_numbered(d, s->id))
			bad = "this share is there already";
	}
	if (bad) {
		if (s)
			free(s->guests);
		free(s);
		control_fail(rq, "bad-request", NULL, "%s", bad);
		return;
	}
	s->d = d;
	s->request = rq;
	(void)snprintf(s->why, sizeof(s->why), "the agent is not connected to its server");
	list_append(&d->shares, &s->node);
	d->n_shares++;
	log_emit(&MSG_AGENT_SHARE, LF_STR("kind", s->kind == WIRE_SHARE_HTTP ? "files" : "service"), LF_STR("host", s->host), LF_U64("port", s->port));
	control_on_cancel(rq, on_cancel, s);
	direct_want_child(d);
	news(s);
	for (unsigned i = 0; i < d->as->n_ends; i++)
		if (d->as->ends[i].state == AGENT_UP)
			shares_server_up(d, &d->as->ends[i]);
}

static void verb_shares(struct control_request *rq, const json_t *args, void *arg)
{
	struct direct *d = arg;
	json_t *rows = json_array();

	(void)args;
	list_for_each (it, &d->shares) {
		const struct dshare *s = list_entry(it, struct dshare, node);
		char id[17];

		(void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)s->id);
		json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:I, s:s}", "share", id, "name", s->name, "kind",
						      s->kind == WIRE_SHARE_HTTP ? "http" : "tcp", "host", s->host, "port", (int)s->port, "state",
						      s->found ? "found" : "waiting", "why", s->why, "guests", (int)s->n_guests, "expires",
						      (json_int_t)s->expires, "url", s->url));
	}
	control_reply(rq, json_pack("{s:o}", "rows", rows));
}

/* NULL: there is none, and the request was ended. */
static struct dshare *meant(struct direct *d, struct control_request *rq, const json_t *args)
{
	const char *word = json_string_value(json_object_get(args, "share"));
	struct dshare *s;
	uint64_t id;

	s = word && text_hex64(text_of(word), &id) == 0 ? share_numbered(d, id) : NULL;
	if (!s)
		control_fail(rq, "not-found", "stile agent shares shows the ids", "there is no share %s", word ? word : "");
	return s;
}

static void verb_end(struct control_request *rq, const json_t *args, void *arg)
{
	struct direct *d = arg;
	struct dshare *s = meant(d, rq, args);

	if (!s)
		return;
	if (s->request) /* not "cancelled": stile share would ask again */
		control_fail(steal_ptr(&s->request), "ended", NULL, "the share was ended at the agent by %s", control_request_who(rq));
	log_emit(&MSG_AGENT_SHARE_ENDED, LF_STR("by", control_request_who(rq)), LF_STR("host", s->host), LF_U64("port", s->port));
	share_free(s);
	direct_want_child(d);
	control_reply(rq, json_pack("{s:O}", "share", json_object_get(args, "share")));
}

static void verb_change(struct control_request *rq, const json_t *args, void *arg)
{
	const json_t *expires = json_object_get(args, "expires");
	json_int_t at = json_integer_value(expires);
	struct direct *d = arg;
	struct dshare *s = meant(d, rq, args);

	if (!s)
		return;
	if (!json_is_integer(expires) || at < 0 || (at && at <= (json_int_t)time(NULL))) {
		control_fail(rq, "bad-request", NULL, "expires must be a time to come (unix seconds), or 0: not by itself");
		return;
	}
	s->expires = (uint64_t)at;
	news(s); /* whoever has made it looks at the clock */
	for (unsigned i = 0; i < d->as->n_ends; i++)
		if (d->as->ends[i].state == AGENT_UP)
			tell(s, &d->as->ends[i], false);
	control_reply(rq, json_pack("{s:O, s:I}", "share", json_object_get(args, "share"), "expires", at));
}

static const struct control_verb verbs[] = {
	{ "agent.share", CONTROL_OPERATOR, verb_share, "{share, knock, kind, host, port, expires, name}: lets whoever has the code of a share reach this host and port, "
						       "until the request is cancelled (stile share); progress tells whether it can be found" },
	{ "agent.shares", CONTROL_VIEWER, verb_shares, "what is shared from here now" },
	{ "agent.share.change", CONTROL_OPERATOR, verb_change, "{share, expires}: another time at which the share ends by itself, in unix seconds; 0: none" },
	{ "agent.share.end", CONTROL_OPERATOR, verb_end, "{share}: ends a share; who receives just now is cut off" },
};

void shares_add_verbs(struct direct *d)
{
	control_add_verbs(d->as->svc->control, verbs, ARRAY_LEN(verbs), d);
}
