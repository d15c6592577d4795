/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of the registry's edge, and the first question to each arrival: known, revoked, or somebody who
 * has to enrol. Everything that happens afterwards to who is not known is in agents_enrol.c.
 *
 * What a refusal says on the wire, and how soon the agent may come again, stands in one table.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/bytes.h"
#include "tunnel/log_msgs.h"
#include "tunnel/server/agents_priv.h"

enum {
	SEEN_EVERY_S = 3600,
	RETRY_S = 60,
	RETRY_GUEST_S = 5,
	RETRY_LONG_S = 600,
	LOG_WINDOW_MS = 10000,
	LOG_AT_MOST = 50, /* refusals in a window */
};

static const char *const refusal_labels[AGENTS_REFUSALS + 1] = {
	[AGENTS_R_UNKNOWN] = "unknown",	  [AGENTS_R_REVOKED] = "revoked",
	[AGENTS_R_PASSWORD] = "password", [AGENTS_R_CODE] = "code",
	[AGENTS_R_BACKOFF] = "backoff",	  [AGENTS_R_NO_PASSWORD] = "no_password",
	[AGENTS_R_PROTOCOL] = "protocol", [AGENTS_R_FULL] = "full",
	[AGENTS_R_TIMEOUT] = "timeout",	  [AGENTS_R_REJECTED] = "rejected",
	[AGENTS_R_STORE] = "store",	  [AGENTS_R_SHARE] = "share",
};
static const char *const state_labels[] = { "pending", "approved", "revoked", NULL };
static const char *const way_labels[] = { "code", "password", NULL };

/* clang-format off */
static const struct metric_row rows[AGENTS_METRICS] = {
	[AGENTS_M_KNOWN] = { "stile_tunnel_agents", METRIC_GAUGE, "Agents in the registry, by state", "state", state_labels, NULL },
	[AGENTS_M_ENROLLED] = { "stile_tunnel_enrolled_total", METRIC_COUNTER, "Agents enrolled, by way", "way", way_labels, NULL },
	[AGENTS_M_REFUSED] = { "stile_tunnel_agents_refused_total", METRIC_COUNTER, "Agents not let in, by reason", "reason", refusal_labels, NULL },
	[AGENTS_M_COPIED] = { "stile_tunnel_copied_keys_total", METRIC_COUNTER, "Agents refused because another process uses their key", NULL, NULL, NULL },
};

/* What an agent is told, and its administrator reads. */
static const struct {
	enum wire_reason reason;
	unsigned retry_s;
	const char *text;
} refusals[AGENTS_REFUSALS] = {
	[AGENTS_R_UNKNOWN] = { WIRE_R_UNKNOWN_KEY, RETRY_S, "the server does not know this agent's key; enrol it: stile tunnel enrol NAME on the server, then stile agent enrol CODE" },
	[AGENTS_R_REVOKED] = { WIRE_R_REVOKED, RETRY_LONG_S, "this agent's key was revoked on the server" },
	[AGENTS_R_PASSWORD] = { WIRE_R_PASSWORD, RETRY_S, "the password is wrong" },
	[AGENTS_R_CODE] = { WIRE_R_PASSWORD, RETRY_S, "the enrolment code is not good: used already, expired, cancelled, or made by another server" },
	[AGENTS_R_BACKOFF] = { WIRE_R_PASSWORD, RETRY_S, "too many wrong passwords or codes came from this address; try again later" },
	[AGENTS_R_NO_PASSWORD] = { WIRE_R_PASSWORD, RETRY_LONG_S, "the server has no password for enrolment; take a code: stile tunnel enrol NAME" },
	[AGENTS_R_PROTOCOL] = { WIRE_R_PROTOCOL, RETRY_S, "the login does not follow the protocol" },
	[AGENTS_R_FULL] = { WIRE_R_LIMIT, RETRY_LONG_S, "the server has as many agents as it may, or as many that wait for approval" },
	[AGENTS_R_TIMEOUT] = { WIRE_R_TIMEOUT, RETRY_S, "no login came in time" },
	[AGENTS_R_REJECTED] = { WIRE_R_NOT_APPROVED, RETRY_LONG_S, "the server's administrator did not approve this agent" },
	[AGENTS_R_STORE] = { WIRE_R_ERROR, RETRY_S, "the server could not write the enrolment down" },
	[AGENTS_R_SHARE] = { WIRE_R_UNKNOWN_SHARE, RETRY_GUEST_S, "" },
};
/* clang-format on */

uint64_t agents_now_s(void)
{
	return (uint64_t)time(NULL);
}

/* ---- options ---- */

static void free_options(struct tunnel_agents *a)
{
	if (a->o.password)
		bytes_wipe((char *)a->o.password, strlen(a->o.password));
	free((char *)a->o.password);
	free((char *)a->o.folder);
	free((char *)a->o.server_name);
	free((char *)a->o.public_name);
	free(a->ports);
}

static char *copy_of(const char *s, bool *failed)
{
	char *c = s ? strdup(s) : NULL;

	*failed |= s && !c;
	return c;
}

static int take_options(struct tunnel_agents *a, const struct tunnel_agents_options *o)
{
	size_t n = o->ports ? o->ports->n : 0;
	struct tunnel_agents fresh = { .o = *o, .n_ports = n };
	bool failed = false;

	fresh.o.password = copy_of(o->password, &failed);
	fresh.o.folder = copy_of(o->folder, &failed);
	fresh.o.server_name = copy_of(o->server_name, &failed);
	fresh.o.public_name = copy_of(o->public_name, &failed);
	fresh.ports = calloc(n ? n : 1, sizeof(*fresh.ports));
	if (failed || !fresh.ports) {
		free_options(&fresh);
		return -ENOMEM;
	}
	if (n)
		memcpy(fresh.ports, o->ports->items, n * sizeof(*fresh.ports));
	free_options(a);
	a->o = fresh.o;
	a->ports = fresh.ports;
	a->n_ports = n;
	return 0;
}

/* PBKDF2 takes some 40 ms: only for another password. */
static int take_password(struct tunnel_agents *a, const char *password, char *err, size_t err_n)
{
	enum scram_result r;

	if (!password) {
		a->has_password = false;
		return 0;
	}
	if (a->has_password && a->o.password && strlen(a->o.password) == strlen(password) &&
	    bytes_equal_ct(a->o.password, password, strlen(password)))
		return 0;
	r = scram_verifier_make(text_of(password), NULL, 0, SCRAM_ROUNDS,
				&a->verifier); /* what was there stays if it fails */
	if (r == SCRAM_OK) {
		a->has_password = true;
		return 0;
	}
	(void)snprintf(err, err_n, "tunnel.password: %s", scram_result_text(r));
	return r == SCRAM_BAD_PASSWORD ? -EINVAL : -ENOMEM;
}

int tunnel_agents_configure(struct tunnel_agents *a, const struct tunnel_agents_options *o,
			    char *err, size_t err_n)
{
	int r = take_password(a, o->password, err, err_n);

	if (r == 0)
		r = take_options(a, o);
	if (r == -ENOMEM)
		(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (r == 0)
		registry_limit(a->registry, o->agents_max);
	return r;
}

/* ---- life ---- */

static void log_keys(const struct tunnel_agents *a, enum server_keys_news news)
{
	char root[IDENTITY_STRLEN];

	(void)identity_print(identity_hash(a->keys.root), root);
	if (news == KEYS_MADE)
		log_emit(&MSG_TUNNEL_KEYS_MADE, LF_STR("root", root));
	else if (news == KEYS_ROOT_REPLACED)
		log_emit(&MSG_TUNNEL_KEYS_SUCCEEDED, LF_STR("root", root));
	else if (news == KEYS_SUCCESSOR_MADE)
		log_emit(&MSG_TUNNEL_KEYS_SUCCESSOR,
			 LF_STR("successor", identity_print(identity_hash(a->keys.successor), root)));
	else if (news == KEYS_LINK_MADE)
		log_emit(&MSG_TUNNEL_KEYS_RENEWED, LF_STR("what", "link"));
}

static int open_keys(struct tunnel_agents *a, char *err, size_t err_n)
{
	char why[IDENTITY_ERRLEN];
	enum server_keys_news news;
	int r = server_keys_open(a->o.folder, why, &news, &a->keys);

	if (r < 0)
		(void)snprintf(err, err_n, "%s", why);
	else
		log_keys(a, news);
	return r;
}

int tunnel_agents_new(const struct tunnel_agents_options *o, char *err, size_t err_n,
		      struct tunnel_agents **ret_a)
{
	_cleanup_(tunnel_agents_freep) struct tunnel_agents *a = calloc(1, sizeof(*a));
	int r;

	(void)snprintf(err, err_n, "%s", strerror(ENOMEM));
	if (!a)
		return -ENOMEM;
	list_init(&a->visits);
	list_init(&a->changes);
	list_init(&a->code_changes);
	a->backoff = turn_backoff_new();
	if (!a->backoff)
		return -ENOMEM;
	r = metrics_new(rows, AGENTS_METRICS, 1, &a->metrics);
	if (r == 0)
		r = registry_new(o->agents_max, &a->registry);
	if (r == 0)
		r = tunnel_agents_configure(a, o, err, err_n);
	if (r == 0)
		r = open_keys(a, err, err_n);
	if (r == 0)
		r = agents_load(a, err, err_n);
	if (r < 0)
		return r;
	agents_count(a);
	*ret_a = steal_ptr(&a);
	return 0;
}

struct tunnel_agents *tunnel_agents_free(struct tunnel_agents *a)
{
	if (!a)
		return NULL;
	list_for_each_safe (n, &a->visits)
		visit_free(list_entry(n, struct visit, node));
	agents_let_go(a);
	registry_free(a->registry);
	server_keys_deinit(&a->keys);
	turn_backoff_free(a->backoff);
	metrics_free(a->metrics);
	bytes_wipe(&a->verifier, sizeof(a->verifier));
	free_options(a);
	free(a);
	return NULL;
}

struct metrics *tunnel_agents_metrics(struct tunnel_agents *a)
{
	return a->metrics;
}

void agents_count(struct tunnel_agents *a)
{
	for (unsigned s = 0; s < ENTRY_STATES; s++)
		metric_set(a->metrics, 0, AGENTS_M_KNOWN, s, (int64_t)registry_count(a->registry, s));
}

int agents_new_tls(struct tunnel_agents *a)
{
	struct tls_ctx *ctx = NULL;
	int r = link_tls_server(&a->keys, &ctx);

	if (r < 0)
		return r;
	if (a->server)
		tunnel_server_set_tls(a->server, ctx);
	tls_ctx_unref(ctx);
	return 0;
}

int tunnel_agents_use_server(struct tunnel_agents *a, struct tunnel_server *s)
{
	a->server = s;
	return agents_new_tls(a);
}

void agents_publish(struct tunnel_agents *a, const char *what, const struct entry *e)
{
	if (a->o.control)
		control_publish(a->o.control, "tunnel.agents",
				json_pack("{s:s, s:s, s:s}", "event", what, "name", e->name,
					  "fingerprint", e->key));
}

/* ---- who is welcome ---- */

static void copy_text(char to[static REGISTRY_TEXT_MAX + 1], struct text from)
{
	struct sb b = sb_init(to, REGISTRY_TEXT_MAX + 1);

	if (text_is_utf8(from))
		sb_text(&b, from);
}

void agents_note_who(struct entry *e, const struct tunnel_arrival_info *i, char ip[static ADDR_STRLEN])
{
	copy_text(e->address, text_of(addr_print_ip(&i->peer, ip)));
	copy_text(e->program, i->hello.program);
	copy_text(e->host, i->hello.host);
}

/* What is shown of an agent; written down once an hour, or when its root has changed. */
static void note_arrival(struct tunnel_agents *a, const struct tunnel_arrival_info *i, struct entry *e)
{
	char ip[ADDR_STRLEN];
	bool learns = !identity_hash_equal(&e->root, identity_hash(a->keys.root)) ||
		      !identity_hash_is_set(&e->successor);

	if (learns) /* else it keeps the successor that it knows */
		e->successor = *identity_hash(a->keys.successor);
	agents_note_who(e, i, ip);
	e->root = *identity_hash(a->keys.root);
	e->last_seen = agents_now_s();
	if (learns || e->last_seen > e->stored_seen + SEEN_EVERY_S) {
		struct deed d = { .kind = DEED_NOTE, .entry = *e };

		e->stored_seen = e->last_seen;
		(void)agents_store(a, &d, "agent");
	}
}

void agents_admit(struct tunnel_agents *a, struct tunnel_arrival *v, struct entry *e)
{
	struct tunnel_admission ad = { .name = e->name };
	size_t n;

	note_arrival(a, tunnel_arrival_info(v), e);
	n = tunnel_agents_ports(a, e->id.b, ad.welcome.ports, WIRE_RANGES_MAX);
	ad.welcome.n_ports = (uint16_t)n;
	ad.welcome.server_name = text_of(a->o.server_name);
	ad.welcome.public_name = text_of(a->o.public_name);
	ad.welcome.successor = (struct wire_bytes){ identity_hash(a->keys.successor)->b, IDENTITY_LEN };
	tunnel_arrival_admit(v, &ad);
}

/* A crowd of strangers does not fill the disk; how many were left out stands in the next line. */
static bool may_log(struct tunnel_agents *a, unsigned *ret_left_out)
{
	uint64_t now = loop_now(a->o.loop);

	if (now - a->log_since >= LOG_WINDOW_MS) {
		a->log_since = now;
		a->logged = 0;
	}
	if (a->logged >= LOG_AT_MOST) {
		a->unlogged++;
		return false;
	}
	a->logged++;
	*ret_left_out = a->unlogged;
	a->unlogged = 0;
	return true;
}

void agents_refuse(struct tunnel_agents *a, struct tunnel_arrival *v, enum agents_refusal why,
		   const char *detail)
{
	const struct tunnel_arrival_info *i = tunnel_arrival_info(v);
	char key[IDENTITY_STRLEN];
	struct identity_hash id;
	unsigned left_out;

	memcpy(id.b, i->identity, IDENTITY_LEN);
	metric_add(a->metrics, 0, AGENTS_M_REFUSED, why, 1);
	if (may_log(a, &left_out))
		log_emit(&MSG_TUNNEL_AGENT_REFUSED, LF_TEXT("name", i->hello.name),
			 LF_ADDR("client", &i->peer), LF_STR("fingerprint", identity_print(&id, key)),
			 LF_STR("why", refusals[why].text), LF_STR("detail", detail ? detail : ""),
			 LF_U64("left_out", left_out));
	tunnel_arrival_refuse(v, refusals[why].reason, refusals[why].text, refusals[why].retry_s);
}

/* Ids of shares have 64 bits: whoever names many that are not there guesses. */
static const struct turn_backoff_limits guess_limits = { UINT64_MAX, 20, 15 * 60 * 1000 };

/* A key that nobody enrolled, let in for one share. */
static void guest_arrived(struct tunnel_agents *a, struct tunnel_arrival *v)
{
	const struct tunnel_arrival_info *i = tunnel_arrival_info(v);
	const struct turn_backoff_who who = { &i->peer, TEXT("share"), TEXT("") };
	struct tunnel_admission ad = { .guest = i->hello.share };
	struct turn_backoff_wait w;
	char name[WIRE_NAME_MAX + 1], hex[9];

	if (!turn_backoff_may_try(a->backoff, &guess_limits, &who, loop_now(a->o.loop))) {
		agents_refuse(a, v, AGENTS_R_BACKOFF, NULL);
		return;
	}
	if (!tunnel_server_has_share(a->server, i->hello.share)) {
		(void)turn_backoff_failed(a->backoff, &guess_limits, &who, loop_now(a->o.loop), &w);
		agents_refuse(a, v, AGENTS_R_SHARE, NULL);
		return;
	}
	if (!tunnel_server_guest_room(a->server, i->hello.share)) {
		agents_refuse(a, v, AGENTS_R_FULL, "too many guests");
		return;
	}
	hex_encode(i->identity, 4, hex);
	(void)snprintf(name, sizeof(name), "guest-%s", hex);
	ad.name = name;
	ad.welcome.server_name = text_of(a->o.server_name);
	ad.welcome.public_name = text_of(a->o.public_name);
	ad.welcome.successor = (struct wire_bytes){ identity_hash(a->keys.successor)->b, IDENTITY_LEN };
	tunnel_arrival_admit(v, &ad);
}

void tunnel_agents_arrived(struct tunnel_arrival *v, void *arg)
{
	struct tunnel_agents *a = arg;
	const struct tunnel_arrival_info *i = tunnel_arrival_info(v);
	struct identity_hash id;
	struct entry *e;
	struct visit *visit;

	memcpy(id.b, i->identity, IDENTITY_LEN);
	e = registry_find(a->registry, &id);
	if (i->hello.features & WIRE_F_GUEST && !e) {
		guest_arrived(a, v);
	} else if (e && e->state == ENTRY_REVOKED) {
		agents_refuse(a, v, AGENTS_R_REVOKED, NULL);
	} else if (e && e->state == ENTRY_APPROVED && !(i->hello.features & WIRE_F_ENROL)) {
		agents_admit(a, v, e);
	} else if (!e && !(i->hello.features & WIRE_F_ENROL)) {
		agents_refuse(a, v, AGENTS_R_UNKNOWN, NULL);
	} else if (!(visit = visit_new(a, v))) {
		tunnel_arrival_refuse(v, WIRE_R_MEMORY, "the server is out of memory", RETRY_S);
	} else if (i->hello.features & WIRE_F_ENROL) {
		visit_await_frame(visit);
	} else {
		visit_pending(visit);
	}
}

static void note_copy(struct entry *e, const struct tunnel_link_info *first,
		      const struct tunnel_arrival_info *second)
{
	char addr[ADDR_STRLEN], host[151];

	wire_text_copy(host, sizeof(host), text_of(first->host));
	(void)snprintf(e->copied_from, sizeof(e->copied_from), "%s (%s)", addr_print(&first->peer, addr), host);
	wire_text_copy(host, sizeof(host), second->hello.host);
	(void)snprintf(e->copied_by, sizeof(e->copied_by), "%s (%s)", addr_print(&second->peer, addr), host);
	e->copied_at = agents_now_s();
}

void tunnel_agents_copied_key(const struct tunnel_link_info *first,
			      const struct tunnel_arrival_info *second, void *arg)
{
	struct tunnel_agents *a = arg;
	char key[IDENTITY_STRLEN], addr[2][ADDR_STRLEN];
	struct identity_hash id;
	struct entry *e;

	memcpy(id.b, first->identity, IDENTITY_LEN);
	(void)identity_print(&id, key);
	e = registry_find(a->registry, &id);
	if (e)
		note_copy(e, first, second);
	metric_add(a->metrics, 0, AGENTS_M_COPIED, 0, 1);
	log_emit(&MSG_TUNNEL_AGENT_COPIED, LF_STR("name", first->name), LF_STR("fingerprint", key),
		 LF_ADDR("connected", &first->peer), LF_STR("connected_host", first->host),
		 LF_ADDR("refused", &second->peer), LF_TEXT("refused_host", second->hello.host));
	if (a->o.control)
		control_publish(a->o.control, "tunnel.agents",
				json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", "copied-key",
					  "name", first->name, "fingerprint", key, "connected",
					  addr_print(&first->peer, addr[0]), "refused",
					  addr_print(&second->peer, addr[1])));
}

/* ---- for others ---- */

static struct entry *find(const struct tunnel_agents *a, const uint8_t identity[static IDENTITY_LEN])
{
	struct identity_hash id;

	memcpy(id.b, identity, IDENTITY_LEN);
	return registry_find(a->registry, &id);
}

size_t tunnel_agents_ports(const struct tunnel_agents *a, const uint8_t identity[static IDENTITY_LEN],
			   struct wire_range *ret_ranges, size_t max)
{
	const struct entry *e = find(a, identity);
	size_t n = 0;

	if (!e || e->state != ENTRY_APPROVED)
		return 0;
	for (; n < e->n_ports && n < max; n++)
		ret_ranges[n] = e->ports[n];
	for (; !e->n_ports && n < a->n_ports && n < max; n++)
		ret_ranges[n] = (struct wire_range){ a->ports[n].first, a->ports[n].last };
	return n;
}

const struct entry *tunnel_agents_look_up(const struct tunnel_agents *a, struct text name_or_id)
{
	return registry_look_up(a->registry, name_or_id);
}
