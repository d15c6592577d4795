/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is let in to the tunnel: arrivals as tunnel/server/server.h brings them, with a server of this
 * test that writes down what it is told, a real store and real keys. Codes, passwords, pending agents,
 * revocation, replays, guesses, and what a restart remembers.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include "common/bytes.h"
#include "tests/unit/support.h"
#include "tunnel/server/agents_priv.h"

/* ---- a server that writes down what it is told ---- */

enum verdict { NONE, ADMITTED, REFUSED };
struct tunnel_arrival {
	struct tunnel_arrival_info info;
	void *state;
	enum verdict verdict;
	enum wire_reason reason;
	char text[256], name[REGISTRY_NAME_MAX + 1];
	struct wire_welcome welcome;
	uint8_t successor[IDENTITY_LEN];
	unsigned sent[8], n_sent; /* types */
	struct scram_text scram;
	uint8_t proof[ENROL_PROOF_LEN];
	bool answered;
};
static struct {
	struct identity_hash id;
	enum wire_reason reason;
	unsigned n;
} ended;

int tunnel_arrival_send(struct tunnel_arrival *v, unsigned type, const void *msg)
{
	const union wire_msg *m = msg;
	uint8_t buf[WIRE_PAYLOAD_MAX];
	struct wr w = wr_init(buf, sizeof(buf));

	wire_write(&w, type, msg); /* the table has no objection */
	assert_false(w.failed);
	v->sent[v->n_sent++ % ARRAY_LEN(v->sent)] = type;
	if (type == WIRE_SCRAM) {
		v->scram.n = m->scram.message.n;
		memcpy(v->scram.p, m->scram.message.p, v->scram.n);
	}
	if (type == WIRE_ENROLLED)
		memcpy(v->proof, m->enrolled.proof.p, ENROL_PROOF_LEN);
	return 0;
}

void tunnel_arrival_admit(struct tunnel_arrival *v, const struct tunnel_admission *ad)
{
	assert_int_equal(v->verdict, NONE);
	v->verdict = ADMITTED;
	v->welcome = ad->welcome;
	memcpy(v->successor, ad->welcome.successor.p, IDENTITY_LEN);
	(void)snprintf(v->name, sizeof(v->name), "%s", ad->name);
	v->answered = true;
}

void tunnel_arrival_refuse(struct tunnel_arrival *v, enum wire_reason reason, const char *text,
			   uint32_t retry_after_s)
{
	assert_int_equal(v->verdict, NONE);
	(void)retry_after_s;
	v->verdict = REFUSED;
	v->reason = reason;
	(void)snprintf(v->text, sizeof(v->text), "%s", text);
	v->answered = true;
}

const struct tunnel_arrival_info *tunnel_arrival_info(const struct tunnel_arrival *v)
{
	return &v->info;
}

void *tunnel_arrival_state(const struct tunnel_arrival *v)
{
	return v->state;
}

void tunnel_arrival_set_state(struct tunnel_arrival *v, void *state)
{
	v->state = state;
}

void tunnel_server_set_tls(struct tunnel_server *s, struct tls_ctx *ctx)
{
	(void)s;
	(void)ctx;
}

void tunnel_server_call(struct tunnel_server *s, void (*fn)(struct tunnel_worker *w, void *arg),
			void *arg)
{
	(void)s;
	(void)fn;
	(void)arg;
}

void tunnel_worker_each(struct tunnel_worker *w, void (*fn)(struct tunnel_link *l, void *arg), void *arg)
{
	(void)w;
	(void)fn;
	(void)arg;
}

void tunnel_link_drop(struct tunnel_link *l, const char *why)
{
	(void)l;
	(void)why;
}

enum { THE_SHARE = 0x1234 };

bool tunnel_server_has_share(struct tunnel_server *s, uint64_t id)
{
	(void)s;
	return id == THE_SHARE;
}

bool tunnel_server_guest_room(struct tunnel_server *s, uint64_t id)
{
	(void)s;
	return id == THE_SHARE;
}

void tunnel_server_end_identity(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN],
				enum wire_reason reason, const char *text)
{
	(void)s;
	(void)text;
	memcpy(ended.id.b, identity, IDENTITY_LEN);
	ended.reason = reason;
	ended.n++;
}

/* ---- the world ---- */

struct world {
	struct support_dir dir;
	struct loop *loop;
	struct store *store;
	struct tunnel_agents *agents;
	const char *password;
	uint64_t agents_max;
	char db[256];
};

static const struct store_kind kinds[] = { { REGISTRY_AGENT_KIND, &registry_agent_schema },
					   { REGISTRY_CODE_KIND, &registry_code_schema },
					   { NULL, NULL } };

static void begin(struct world *w)
{
	static struct cfg_port_range ports[] = { { 20000, 20099 }, { 3389, 3389 } };
	static const struct cfg_list list = { ports, 2 };
	struct tunnel_agents_options o = { .folder = w->dir.path,
					   .password = w->password,
					   .server_name = "Control room",
					   .public_name = "tunnel.example.org",
					   .port = 7443,
					   .ports = &list,
					   .agents_max = w->agents_max };
	char err[512] = "";

	assert_int_equal(loop_new(&w->loop), 0);
	assert_int_equal(store_open(&(struct store_options){ .path = w->db, .kinds = kinds }, err,
				    sizeof(err), &w->store),
			 0);
	o.loop = w->loop;
	o.store = w->store;
	if (tunnel_agents_new(&o, err, sizeof(err), &w->agents) < 0)
		fail_msg("%s", err);
	assert_int_equal(tunnel_agents_use_server(w->agents, (struct tunnel_server *)w), 0);
}

static void end(struct world *w)
{
	store_flush(w->store);
	support_run_for(w->loop, 20); /* its answers arrive */
	tunnel_agents_free(w->agents);
	store_close(w->store);
	loop_free(w->loop);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	memset(&ended, 0, sizeof(ended));
	support_dir_make(&w->dir);
	(void)snprintf(w->db, sizeof(w->db), "%s", support_path(&w->dir, "db"));
	w->password = "correct horse";
	w->agents_max = 20;
	begin(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	end(w);
	support_dir_remove(&w->dir);
	free(w);
	return 0;
}

/* An agent whose key's hash is all of this byte; its session's exporters are of another one. */
static struct tunnel_arrival *visitor(uint8_t key, uint8_t session, uint64_t features, const char *name)
{
	struct tunnel_arrival *v = calloc(1, sizeof(*v));

	memset(v->info.identity, key, IDENTITY_LEN);
	memset(v->info.binding, session, sizeof(v->info.binding));
	memset(v->info.enrol, session ^ 0x80, sizeof(v->info.enrol));
	v->info.hello.features = features;
	v->info.hello.name = text_of(name);
	v->info.hello.program = TEXT("stile-agent 0.1.0");
	v->info.peer = addr_v4(0xc0000200 + key, 40000);
	return v;
}

static void leave(struct world *w, struct tunnel_arrival *v)
{
	if (!v->answered)
		tunnel_agents_arrival_gone(v, "test", w->agents);
	free(v);
}

static void wait_for(struct world *w, struct tunnel_arrival *v)
{
	support_run_until(w->loop, &v->answered, 20000);
}

static bool was_sent(const struct tunnel_arrival *v, unsigned type)
{
	for (unsigned i = 0; i < v->n_sent; i++)
		if (v->sent[i] == type)
			return true;
	return false;
}

/* ---- guests ---- */

static enum wire_reason guest(struct world *w, uint8_t key, uint64_t share, struct tunnel_arrival *ret_v)
{
	struct tunnel_arrival *v = visitor(key, 1, WIRE_F_GUEST, "guest");
	enum wire_reason reason;

	v->info.peer = addr_v4(0xc0000207, 40000);
	v->info.hello.share = share;
	tunnel_agents_arrived(v, w->agents);
	assert_true(v->answered);
	reason = v->verdict == ADMITTED ? WIRE_R_NONE : v->reason;
	*ret_v = *v;
	free(v);
	return reason;
}

static void a_guest_is_let_in_for_a_share_that_is_there_and_guessing_backs_off(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival v;

	assert_int_equal(guest(w, 7, THE_SHARE, &v), WIRE_R_NONE);
	assert_string_equal(v.name, "guest-07070707");
	assert_int_equal(v.welcome.n_ports, 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(guest(w, 8, 1 + i, &v), WIRE_R_UNKNOWN_SHARE);
	assert_int_equal(guest(w, 8, THE_SHARE, &v), WIRE_R_PASSWORD); /* from this address nobody for a while */
}

/* ---- by code ---- */

static struct code code_for(struct world *w, const char *name, int life_s, bool replace)
{
	struct enrol_code full;
	struct code c = { .expires = (uint64_t)((int64_t)agents_now_s() + life_s), .replace = replace };
	struct store_call call = { .who = "test" };

	assert_int_equal(enrol_code_make(identity_hash(w->agents->keys.root), &full), 0);
	memcpy(c.secret, full.secret, sizeof(c.secret));
	(void)snprintf(c.name, sizeof(c.name), "%s", name);
	registry_code_key(c.secret, c.key);
	assert_int_equal(registry_code_put(w->agents->registry, &c, agents_now_s()), 0);
	assert_int_equal(store_put(w->store, &call, REGISTRY_CODE_KIND, c.key, 0, code_json(&c)), 0);
	return c;
}

static struct enrol_session session_of(struct world *w, const struct tunnel_arrival *v)
{
	struct enrol_session s = { .root = *identity_hash(w->agents->keys.root),
				   .name = v->info.hello.name };

	memcpy(s.agent.b, v->info.identity, IDENTITY_LEN);
	memcpy(s.exporter, v->info.enrol, sizeof(s.exporter));
	return s;
}

static void send_proof(struct world *w, struct tunnel_arrival *v, const uint8_t *secret,
		       const uint8_t proof[ENROL_PROOF_LEN])
{
	uint8_t id[ENROL_ID_LEN];
	union wire_msg m = { .enrol = { { id, sizeof(id) }, { proof, ENROL_PROOF_LEN } } };

	enrol_id(secret, id);
	tunnel_agents_arrival_frame(v, WIRE_ENROL, &m, w->agents);
}

/* A visitor who has this code, up to the server's verdict. */
static struct tunnel_arrival *come_with_code(struct world *w, uint8_t key, const uint8_t *secret,
					     const char *name)
{
	struct tunnel_arrival *v = visitor(key, key, WIRE_F_ENROL, name);
	struct enrol_session s = session_of(w, v);
	uint8_t proof[ENROL_PROOF_LEN];

	tunnel_agents_arrived(v, w->agents);
	assert_int_equal(v->verdict, NONE);
	assert_int_equal(enrol_proof(secret, ENROL_AGENT, &s, proof), 0);
	send_proof(w, v, secret, proof);
	wait_for(w, v);
	return v;
}

static void a_code_lets_one_agent_in_and_both_sides_have_proven_it(void **state)
{
	struct world *w = *state;
	struct code c = code_for(w, "site-17", 3600, false);
	struct tunnel_arrival *v = come_with_code(w, 1, c.secret, "whatever the machine calls itself"),
			      *again;
	struct enrol_session s = session_of(w, v);

	assert_int_equal(v->verdict, ADMITTED);
	assert_string_equal(v->name, "site-17");
	assert_true(was_sent(v, WIRE_ENROLLED));
	assert_true(enrol_proof_good(c.secret, ENROL_SERVER, &s,
				     (struct text){ (char *)v->proof, ENROL_PROOF_LEN }));
	assert_memory_equal(v->successor, identity_hash(w->agents->keys.successor), IDENTITY_LEN);
	assert_int_equal(v->welcome.n_ports, 2);
	leave(w, v);
	again = come_with_code(w, 2, c.secret, "x"); /* the same code, by another key */
	assert_int_equal(again->verdict, REFUSED);
	assert_int_equal(again->reason, WIRE_R_PASSWORD);
	leave(w, again);
	again = come_with_code(w, 1, c.secret, "x"); /* the first one, who missed the WELCOME */
	assert_int_equal(again->verdict, ADMITTED);
	leave(w, again);
	again = visitor(1, 9, 0, "x"); /* the first one, later: known by its key */
	tunnel_agents_arrived(again, w->agents);
	assert_int_equal(again->verdict, ADMITTED);
	assert_string_equal(again->name, "site-17");
	leave(w, again);
}

static void a_captured_proof_is_of_no_use_in_another_session_or_for_another_key(void **state)
{
	struct world *w = *state;
	struct code c = code_for(w, "site-17", 3600, false);
	struct tunnel_arrival *v = visitor(1, 1, WIRE_F_ENROL, "a"), *thief;
	struct enrol_session s = session_of(w, v);
	uint8_t proof[ENROL_PROOF_LEN];

	assert_int_equal(enrol_proof(c.secret, ENROL_AGENT, &s, proof), 0); /* it never arrived */
	leave(w, v);
	for (uint8_t i = 0; i < 2; i++) {
		thief = visitor(i ? 2 : 1, i ? 1 : 2, WIRE_F_ENROL, "a");
		tunnel_agents_arrived(thief, w->agents);
		send_proof(w, thief, c.secret, proof);
		assert_int_equal(thief->verdict, REFUSED);
		leave(w, thief);
	}
	v = come_with_code(w, 3, c.secret, "a"); /* and the code is still good for its owner */
	assert_int_equal(v->verdict, ADMITTED);
	leave(w, v);
}

static void an_expired_and_an_unknown_code_are_refused_alike(void **state)
{
	struct world *w = *state;
	struct code old = code_for(w, "a", -1, false);
	static const uint8_t never[ENROL_SECRET_LEN] = "no such code";
	struct tunnel_arrival *v = come_with_code(w, 1, old.secret, "a"),
			      *u = come_with_code(w, 2, never, "a");

	assert_int_equal(v->verdict, REFUSED);
	assert_int_equal(u->verdict, REFUSED);
	assert_string_equal(v->text, u->text);
	assert_int_equal(metric_sum(w->agents->metrics, AGENTS_M_REFUSED, AGENTS_R_CODE), 2);
	leave(w, v);
	leave(w, u);
}

static void a_code_that_replaces_revokes_the_machine_that_broke(void **state)
{
	struct world *w = *state;
	struct code first = code_for(w, "site-17", 3600, false), plain, second;
	struct tunnel_arrival *v = come_with_code(w, 1, first.secret, "a");

	leave(w, v);
	plain = code_for(w, "site-17", 3600, false); /* made before the first was used, say */
	v = come_with_code(w, 2, plain.secret, "a");
	assert_string_equal(v->name, "site-17-2");
	leave(w, v);
	second = code_for(w, "site-17", 3600, true);
	v = come_with_code(w, 3, second.secret, "a");
	assert_int_equal(v->verdict, ADMITTED);
	assert_string_equal(v->name, "site-17"); /* that is what it is for */
	leave(w, v);
	v = visitor(1, 1, 0, "a");
	tunnel_agents_arrived(v, w->agents);
	assert_int_equal(v->reason, WIRE_R_REVOKED);
	assert_int_equal(ended.id.b[0], 1);
	leave(w, v);
}

/* ---- by password ---- */

static struct tunnel_arrival *come_with_password(struct world *w, struct tunnel_arrival *v,
						 const char *password)
{
	struct scram c = { .binding = { .type = "tls-exporter", .n = 32 } };
	union wire_msg m;
	struct scram_text t, challenge;

	memcpy(c.binding.data, v->info.binding, 32);
	tunnel_agents_arrived(v, w->agents);
	if (v->verdict)
		return v;
	assert_int_equal(scram_client_first(&c, v->info.hello.name, &t), SCRAM_OK);
	m.scram.message = (struct text){ t.p, t.n };
	tunnel_agents_arrival_frame(v, WIRE_SCRAM, &m, w->agents);
	if (v->verdict)
		return v;
	challenge = v->scram;
	assert_int_equal(scram_client_final(&c, (struct text){ challenge.p, challenge.n },
					    text_of(password), &t),
			 SCRAM_OK);
	m.scram.message = (struct text){ t.p, t.n };
	tunnel_agents_arrival_frame(v, WIRE_SCRAM, &m, w->agents);
	if (strcmp(password, "correct horse") == 0)
		assert_int_equal(scram_client_done(&c, (struct text){ v->scram.p, v->scram.n }),
				 SCRAM_OK);
	return v;
}

static void an_agent_that_knows_the_fingerprint_is_taken_at_once(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival *v = come_with_password(
		w, visitor(1, 1, WIRE_F_ENROL | WIRE_F_PINNED, "site-17"), "correct horse");

	wait_for(w, v);
	assert_int_equal(v->verdict, ADMITTED);
	assert_string_equal(v->name, "site-17");
	leave(w, v);
}

/* A fleet that comes out of one image, and is switched on: the first is not on the disk yet when the second comes. */
static void two_that_enrol_at_once_under_one_name_get_two_names(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival *v[2];

	for (uint8_t i = 0; i < 2; i++)
		v[i] = come_with_password(w, visitor(1 + i, 1 + i, WIRE_F_ENROL | WIRE_F_PINNED, "camera"), "correct horse");
	for (uint8_t i = 0; i < 2; i++) {
		wait_for(w, v[i]);
		assert_int_equal(v[i]->verdict, ADMITTED);
		assert_string_equal(v[i]->name, i ? "camera-2" : "camera");
		leave(w, v[i]);
	}
}

static void approve(struct world *w, uint8_t key, enum entry_state state)
{
	struct identity_hash id;
	struct deed d = { .kind = DEED_CHANGE, .event = "approved" };

	memset(id.b, key, IDENTITY_LEN);
	assert_non_null(registry_find(w->agents->registry, &id));
	d.entry = *registry_find(w->agents->registry, &id);
	d.entry.state = state;
	assert_int_equal(agents_store(w->agents, &d, "admin"), 0);
}

static void wait_until_pending(struct world *w, uint8_t key)
{
	struct identity_hash id;

	memset(id.b, key, IDENTITY_LEN);
	for (int i = 0; i < 1000; i++) {
		const struct entry *e = registry_find(w->agents->registry, &id);

		if (e && e->state == ENTRY_PENDING)
			return;
		support_run_for(w->loop, 10);
	}
	fail_msg("it does not wait");
}

static void without_a_fingerprint_it_waits_for_an_administrator(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival *v = come_with_password(w, visitor(1, 1, WIRE_F_ENROL, "site-17"),
						      "correct horse"),
			      *again;

	wait_until_pending(w, 1);
	assert_int_equal(v->verdict, NONE);
	assert_true(was_sent(v, WIRE_PENDING));
	again = visitor(1, 2, 0, "site-17"); /* it reconnects: the newer one waits */
	tunnel_agents_arrived(again, w->agents);
	assert_int_equal(v->reason, WIRE_R_REPLACED);
	assert_true(was_sent(again, WIRE_PENDING));
	approve(w, 1, ENTRY_APPROVED);
	wait_for(w, again);
	assert_int_equal(again->verdict, ADMITTED);
	leave(w, v);
	leave(w, again);
}

static void an_administrator_may_say_no(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival *v = come_with_password(w, visitor(1, 1, WIRE_F_ENROL, "site-17"),
						      "correct horse"),
			      *again;

	wait_until_pending(w, 1);
	approve(w, 1, ENTRY_REVOKED);
	wait_for(w, v);
	assert_int_equal(v->reason, WIRE_R_NOT_APPROVED);
	again = come_with_password(w, visitor(1, 2, WIRE_F_ENROL | WIRE_F_PINNED, "site-17"),
				   "correct horse");
	assert_int_equal(again->reason, WIRE_R_REVOKED); /* whatever it knows */
	leave(w, v);
	leave(w, again);
}

static void guessing_is_slow_for_the_guesser_alone(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival *v;

	for (int i = 0; i < 5; i++) {
		v = come_with_password(w, visitor(1, (uint8_t)i, WIRE_F_ENROL | WIRE_F_PINNED, "a"),
				       "battery staple");
		assert_int_equal(v->verdict, REFUSED);
		assert_int_equal(v->reason, WIRE_R_PASSWORD);
		leave(w, v);
	}
	v = come_with_password(w, visitor(1, 9, WIRE_F_ENROL | WIRE_F_PINNED, "a"), "correct horse");
	assert_non_null(strstr(v->text, "too many"));
	leave(w, v);
	v = come_with_password(w, visitor(2, 9, WIRE_F_ENROL | WIRE_F_PINNED, "b"), "correct horse");
	wait_for(w, v);
	assert_int_equal(v->verdict, ADMITTED);
	leave(w, v);
	assert_int_equal(metric_sum(w->agents->metrics, AGENTS_M_REFUSED, AGENTS_R_PASSWORD), 5);
	assert_int_equal(metric_sum(w->agents->metrics, AGENTS_M_REFUSED, AGENTS_R_BACKOFF), 1);
}

static void without_a_password_nobody_enrols_by_one(void **state)
{
	struct world *w = *state;
	struct tunnel_agents_options o = w->agents->o;
	struct tunnel_arrival *v;
	char err[256];

	o.password = NULL;
	o.ports = NULL;
	assert_int_equal(tunnel_agents_configure(w->agents, &o, err, sizeof(err)), 0);
	v = come_with_password(w, visitor(1, 1, WIRE_F_ENROL | WIRE_F_PINNED, "a"), "correct horse");
	assert_int_equal(v->reason, WIRE_R_PASSWORD);
	assert_non_null(strstr(v->text, "take a code"));
	leave(w, v);
}

/* ---- strangers, and what is remembered ---- */

static void a_stranger_without_a_login_is_refused_at_once(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival *v = visitor(1, 1, 0, "a");

	tunnel_agents_arrived(v, w->agents);
	assert_int_equal(v->reason, WIRE_R_UNKNOWN_KEY);
	leave(w, v);
}

static void a_crowd_of_strangers_does_not_fill_the_log(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 200; i++) {
		struct tunnel_arrival *v = visitor((uint8_t)i, 1, 0, "a");

		tunnel_agents_arrived(v, w->agents);
		assert_int_equal(v->reason, WIRE_R_UNKNOWN_KEY);
		leave(w, v);
	}
	assert_int_equal(metric_sum(w->agents->metrics, AGENTS_M_REFUSED, AGENTS_R_UNKNOWN), 200);
	assert_true(w->agents->logged <= 50);
	assert_true(w->agents->unlogged >= 50); /* at most two windows */
}

static void frames_that_do_not_belong_are_refused_once(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival *v =
		come_with_password(w, visitor(1, 1, WIRE_F_ENROL, "a"), "correct horse");
	union wire_msg m = { .scram = { TEXT("p=tls-exporter,,n=a,r=x") } };

	assert_true(((struct visit *)v->state)->at_disk);
	tunnel_agents_arrival_frame(v, WIRE_SCRAM, &m, w->agents); /* while the disk is busy with the first */
	assert_int_equal(v->reason, WIRE_R_PROTOCOL);
	leave(w, v);
	v = visitor(2, 2, WIRE_F_ENROL, "b");
	tunnel_agents_arrived(v, w->agents);
	m.scram.message = TEXT("n,,n=a,r=x");
	tunnel_agents_arrival_frame(v, WIRE_SCRAM, &m, w->agents);
	assert_int_equal(v->reason, WIRE_R_PROTOCOL);
	leave(w, v);
	support_run_for(w->loop, 50); /* the first one's store outcome finds nobody */
}

static void an_agent_that_leaves_while_the_disk_is_busy_is_enrolled_all_the_same(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival *v = come_with_password(
		w, visitor(1, 1, WIRE_F_ENROL | WIRE_F_PINNED, "a"), "correct horse");
	struct identity_hash id;

	leave(w, v);
	memset(id.b, 1, sizeof(id.b));
	for (int i = 0; i < 1000 && !registry_find(w->agents->registry, &id); i++)
		support_run_for(w->loop, 10);
	v = visitor(1, 2, 0, "a");
	tunnel_agents_arrived(v, w->agents);
	assert_int_equal(v->verdict, ADMITTED);
	leave(w, v);
}

static void a_restart_remembers_agents_codes_and_keys(void **state)
{
	struct world *w = *state;
	struct code used = code_for(w, "one", 3600, false), open = code_for(w, "two", 3600, false);
	struct tunnel_arrival *v = come_with_code(w, 1, used.secret, "a");
	struct identity_hash root = *identity_hash(w->agents->keys.root);

	leave(w, v);
	approve(w, 1, ENTRY_REVOKED);
	store_flush(w->store);
	end(w);
	begin(w);
	assert_true(identity_hash_equal(&root, identity_hash(w->agents->keys.root)));
	v = come_with_code(w, 2, used.secret, "a");
	assert_int_equal(v->verdict, REFUSED);
	leave(w, v);
	v = come_with_code(w, 3, open.secret, "a");
	assert_int_equal(v->verdict, ADMITTED);
	assert_string_equal(v->name, "two");
	leave(w, v);
	v = visitor(1, 1, 0, "a");
	tunnel_agents_arrived(v, w->agents);
	assert_int_equal(v->reason, WIRE_R_REVOKED);
	leave(w, v);
}

/* The limit is of those that come anew. */
static void a_restart_remembers_also_agents_beyond_the_limit(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival *v;
	struct code c;

	for (uint8_t i = 1; i <= 3; i++) {
		c = code_for(w, "one", 3600, false);
		v = come_with_code(w, i, c.secret, "a");
		assert_int_equal(v->verdict, ADMITTED);
		leave(w, v);
	}
	approve(w, 2, ENTRY_REVOKED);
	store_flush(w->store);
	end(w);
	w->agents_max = 1;
	begin(w);
	for (uint8_t i = 1; i <= 3; i++) {
		v = visitor(i, i, 0, "a");
		tunnel_agents_arrived(v, w->agents);
		assert_int_equal(v->verdict, i == 2 ? REFUSED : ADMITTED);
		assert_int_equal(v->reason, i == 2 ? WIRE_R_REVOKED : WIRE_R_NONE);
		leave(w, v);
	}
	c = code_for(w, "new", 3600, false);
	v = come_with_code(w, 4, c.secret, "a");
	assert_int_equal(v->reason, WIRE_R_LIMIT);
	leave(w, v);
}

/* Its login had begun before; what it knows is right, and its key is revoked all the same. */
static void who_is_revoked_in_the_middle_of_a_login_is_not_let_in(void **state)
{
	struct world *w = *state;
	struct code first = code_for(w, "one", 3600, false), second = code_for(w, "two", 3600, false);
	struct tunnel_arrival *v = come_with_code(w, 1, first.secret, "a"), *late = visitor(1, 2, WIRE_F_ENROL, "a");
	struct enrol_session s = session_of(w, late);
	uint8_t proof[ENROL_PROOF_LEN];
	struct identity_hash id;

	leave(w, v);
	tunnel_agents_arrived(late, w->agents);
	approve(w, 1, ENTRY_REVOKED);
	memset(id.b, 1, IDENTITY_LEN);
	for (int i = 0; i < 1000 && registry_find(w->agents->registry, &id)->state != ENTRY_REVOKED; i++)
		support_run_for(w->loop, 10);
	assert_int_equal(enrol_proof(second.secret, ENROL_AGENT, &s, proof), 0);
	send_proof(w, late, second.secret, proof);
	wait_for(w, late);
	assert_int_equal(late->verdict, REFUSED);
	assert_int_equal(late->reason, WIRE_R_REVOKED);
	leave(w, late);
}

/* A change that was asked for is not undone by what an arrival writes down meanwhile. */
static void a_revocation_on_its_way_to_the_disk_is_not_overtaken(void **state)
{
	struct world *w = *state;
	struct code c = code_for(w, "one", 3600, false);
	struct tunnel_arrival *v = come_with_code(w, 1, c.secret, "a");
	struct deed d = { .kind = DEED_CHANGE, .event = "renamed" };

	leave(w, v);
	approve(w, 1, ENTRY_REVOKED);
	memset(d.entry.id.b, 1, IDENTITY_LEN);
	d.entry = *registry_find(w->agents->registry, &d.entry.id);
	assert_int_equal(d.entry.state, ENTRY_APPROVED);
	assert_int_equal(agents_store(w->agents, &d, "second administrator"), -EBUSY);
	registry_find(w->agents->registry, &d.entry.id)->stored_seen = 0;
	v = visitor(1, 2, 0, "a");
	tunnel_agents_arrived(v, w->agents); /* let in, and its last_seen would be written */
	assert_int_equal(v->verdict, ADMITTED);
	leave(w, v);
	store_flush(w->store);
	end(w);
	begin(w);
	v = visitor(1, 3, 0, "a");
	tunnel_agents_arrived(v, w->agents);
	assert_int_equal(v->reason, WIRE_R_REVOKED);
	leave(w, v);
}

static void the_table_has_an_end(void **state)
{
	struct world *w = *state;
	struct tunnel_arrival *v;

	for (uint8_t i = 1; i <= 20; i++) {
		struct code c = code_for(w, "many", 3600, false);

		v = come_with_code(w, i, c.secret, "a");
		assert_int_equal(v->verdict, ADMITTED);
		leave(w, v);
	}
	v = come_with_password(w, visitor(30, 1, WIRE_F_ENROL, "a"), "correct horse");
	assert_int_equal(v->reason, WIRE_R_LIMIT);
	leave(w, v);
	approve(w, 20, ENTRY_REVOKED); /* one that may not come takes nobody's place */
	store_flush(w->store);
	support_run_for(w->loop, 20);
	v = come_with_password(w, visitor(30, 1, WIRE_F_ENROL, "a"), "correct horse");
	assert_int_equal(v->verdict, NONE);
	wait_until_pending(w, 30);
	leave(w, v);
}

/* ---- the registry's own ---- */

static void agents_are_found_by_name_and_by_the_beginning_of_their_fingerprint(void **state)
{
	struct registry *r = NULL;
	struct entry e = { .state = ENTRY_APPROVED }, other = { .state = ENTRY_APPROVED };

	(void)state;
	assert_int_equal(registry_new(10, &r), 0);
	memset(e.id.b, 0xab, IDENTITY_LEN);
	memset(other.id.b, 0xab, IDENTITY_LEN);
	other.id.b[8] = 0xcd;
	(void)identity_print(&e.id, e.key);
	(void)identity_print(&other.id, other.key);
	strcpy(e.name, "one");
	strcpy(other.name, "two");
	assert_int_equal(registry_put(r, &e), 0);
	assert_int_equal(registry_put(r, &other), 0);
	assert_string_equal(registry_look_up(r, TEXT("two"))->name, "two");
	assert_null(registry_look_up(r, TEXT("abababab"))); /* both */
	assert_null(registry_look_up(r, TEXT("ababab")));   /* too short */
	assert_string_equal(registry_look_up(r, TEXT("sha256:ABABABABABABABABCD"))->name, "two");
	assert_string_equal(registry_look_up(r, text_of(e.key))->name, "one");
	assert_null(registry_look_up(r, TEXT("three")));
	other.state = ENTRY_REVOKED;
	assert_int_equal(registry_put(r, &other), 0);
	assert_string_equal(registry_look_up(r, TEXT("two"))->key, other.key); /* nobody else is called so */
	strcpy(e.name, "two");
	assert_int_equal(registry_put(r, &e), 0);
	assert_string_equal(registry_look_up(r, TEXT("two"))->key, e.key);
	registry_free(r);
}

static void names_are_names(void **state)
{
	(void)state;
	assert_true(registry_name_good(TEXT("Köln, Werk 2")));
	assert_true(registry_name_good(TEXT("abc"))); /* digits of a fingerprint, but too few to be one */
	assert_false(registry_name_good(TEXT("")));
	assert_false(registry_name_good(TEXT(" a")));
	assert_false(registry_name_good(TEXT("a\nb")));
	assert_false(registry_name_good(TEXT("deadbeef")));
	assert_false(registry_name_good(TEXT("sha256:x")));
	assert_false(registry_name_good(TEXT("\xff")));
	assert_false(registry_name_good(TEXT("a\xc2\x85"
					     "b"))); /* NEXT LINE: WELCOME could not be written */
}

static void values_survive_the_store(void **state)
{
	struct entry e = { .state = ENTRY_REVOKED,
			   .way = ENTRY_BY_PASSWORD,
			   .created_at = 1700000000,
			   .last_seen = 1700000001,
			   .n_ports = 2,
			   .ports = { { 20000, 20099 }, { 22, 22 } } },
		     again;
	struct code c = { .expires = 1700003600, .replace = true }, c2;
	char err[256] = "";
	json_t *j;

	(void)state;
	memset(e.id.b, 0xab, IDENTITY_LEN);
	memset(e.root.b, 0xcd, IDENTITY_LEN);
	(void)identity_print(&e.id, e.key);
	strcpy(e.name, "yes: [no]");
	strcpy(e.note, "\"quoted\"");
	j = entry_json(&e);
	if (entry_read(e.key, j, err, sizeof(err), &again) < 0)
		fail_msg("%s", err);
	e.stored_seen = e.last_seen;
	assert_memory_equal(&e, &again, sizeof(e));
	json_object_set_new(j, "surprise", json_true());
	assert_int_equal(entry_read(e.key, j, err, sizeof(err), &again), -EINVAL);
	json_object_del(j, "surprise");
	json_object_set_new(j, "ports", json_array());
	for (unsigned i = 0; i < WIRE_RANGES_MAX; i++)
		json_array_append_new(json_object_get(j, "ports"), json_string("2000-2001"));
	assert_int_equal(entry_read(e.key, j, err, sizeof(err), &again), 0);
	assert_int_equal(again.n_ports, WIRE_RANGES_MAX);
	json_array_append_new(json_object_get(j, "ports"), json_string("3000"));
	assert_int_equal(entry_read(e.key, j, err, sizeof(err), &again), -EINVAL); /* as by the verb: not cut */
	assert_non_null(strstr(err, "at most 16 items"));
	json_decref(j);
	assert_int_equal(entry_set_ports(&e, TEXT("1-2, 7"), err, sizeof(err)), 0);
	assert_int_equal(e.ports[1].first, 7);
	assert_int_equal(entry_set_ports(&e, TEXT("0-99999"), err, sizeof(err)), -EINVAL);
	assert_int_equal(entry_set_ports(&e, TEXT(""), err, sizeof(err)), 0);
	assert_int_equal(e.n_ports, 0);
	assert_int_equal(bytes_random(c.secret, sizeof(c.secret)), 0);
	registry_code_key(c.secret, c.key);
	strcpy(c.name, "x");
	j = code_json(&c);
	assert_int_equal(code_read(c.key, j, err, sizeof(err), &c2), 0);
	assert_memory_equal(&c, &c2, sizeof(c));
	assert_int_equal(code_read("0000000000000000", j, err, sizeof(err), &c2), -EINVAL);
	json_object_set_new(j, "secret", json_string("00ff"));
	assert_int_equal(code_read(c.key, j, err, sizeof(err), &c2), -EINVAL);
	assert_non_null(strstr(err, "its secret is not one"));
	assert_int_equal(entry_read("no fingerprint", j, err, sizeof(err), &again), -EINVAL);
	assert_non_null(strstr(err, "its key is no fingerprint"));
	char many[8 * (WIRE_RANGES_MAX + 1)] = "";
	for (unsigned i = 0; i <= WIRE_RANGES_MAX; i++)
		(void)snprintf(many + strlen(many), sizeof(many) - strlen(many), "%u,", i + 1);
	assert_int_equal(entry_set_ports(&e, text_of(many), err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "at most"));
	json_decref(j);
}

static void the_rows_make_sense(void **state)
{
	char err[256] = "";

	(void)state;
	if (cfg_schema_selftest(&registry_agent_schema, err, sizeof(err)) < 0 ||
	    cfg_schema_selftest(&registry_code_schema, err, sizeof(err)) < 0)
		fail_msg("%s", err);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_code_lets_one_agent_in_and_both_sides_have_proven_it),
		T(a_captured_proof_is_of_no_use_in_another_session_or_for_another_key),
		T(an_expired_and_an_unknown_code_are_refused_alike),
		T(a_code_that_replaces_revokes_the_machine_that_broke),
		T(an_agent_that_knows_the_fingerprint_is_taken_at_once),
		T(two_that_enrol_at_once_under_one_name_get_two_names),
		T(without_a_fingerprint_it_waits_for_an_administrator),
		T(an_administrator_may_say_no),
		T(guessing_is_slow_for_the_guesser_alone),
		T(without_a_password_nobody_enrols_by_one),
		T(a_stranger_without_a_login_is_refused_at_once),
		T(a_crowd_of_strangers_does_not_fill_the_log),
		T(frames_that_do_not_belong_are_refused_once),
		T(an_agent_that_leaves_while_the_disk_is_busy_is_enrolled_all_the_same),
		T(a_restart_remembers_agents_codes_and_keys),
		T(a_restart_remembers_also_agents_beyond_the_limit),
		T(a_revocation_on_its_way_to_the_disk_is_not_overtaken),
		T(who_is_revoked_in_the_middle_of_a_login_is_not_let_in),
		T(the_table_has_an_end),
		T(a_guest_is_let_in_for_a_share_that_is_there_and_guessing_backs_off),
		cmocka_unit_test(agents_are_found_by_name_and_by_the_beginning_of_their_fingerprint),
		cmocka_unit_test(names_are_names),
		cmocka_unit_test(values_survive_the_store),
		cmocka_unit_test(the_rows_make_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
