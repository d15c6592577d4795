/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an agent makes itself known, and whom it believes: the hooks of tunnel/agent/dialer.h over a real TLS
 * connection on loopback, with a server of this test that speaks as told, the right way and the wrong
 * ones. What is pinned is read again from the disk.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include "common/bytes.h"
#include "tests/unit/support.h"
#include "tunnel/agent/dialer_priv.h"

/* ---- the agent of tunnel/agent/agent.h, as far as the dialer knows it ---- */

struct agent {
	unsigned sent; /* type */
	uint8_t code[ENROL_ID_LEN], proof[ENROL_PROOF_LEN];
	struct scram_text scram;
};

int agent_send_early(struct agent *a, unsigned type, const void *msg)
{
	const union wire_msg *m = msg;

	a->sent = type;
	if (type == WIRE_ENROL) {
		memcpy(a->code, m->enrol.code.p, ENROL_ID_LEN);
		memcpy(a->proof, m->enrol.proof.p, ENROL_PROOF_LEN);
	} else {
		a->scram.n = m->scram.message.n;
		memcpy(a->scram.p, m->scram.message.p, a->scram.n);
	}
	return 0;
}

void agent_connect(struct agent *a)
{
	(void)a;
}

void agent_disconnect(struct agent *a)
{
	(void)a;
}

/* ---- the world ---- */

struct world {
	struct support_dir dir, server_dir;
	struct loop *loop;
	struct server_keys keys;
	struct acceptor *acceptor;
	struct tls_ctx *tls;
	struct stream *server, *client;
	uint16_t port;
	struct dialers *all;
	struct dialer *dialer;
	struct agent_dialer hooks;
	struct agent_server conf_server;
	struct agent_config conf;
	struct agent agent;
	uint64_t features; /* of the last HELLO */
	bool done, server_open, hopeless;
	char why[DIAL_WHY_MAX];
};

static void on_server_open(struct stream *s, void *arg)
{
	(void)s;
	((struct world *)arg)->server_open = true;
}

static size_t swallow(struct stream *s, uint8_t *p, size_t n, void *arg)
{
	(void)s;
	(void)p;
	(void)arg;
	return n;
}

static void on_server_close(struct stream *s, int err, const char *why, void *arg)
{
	struct world *w = arg;

	(void)err;
	(void)why;
	w->server = stream_free(s);
}

static const struct stream_ops server_ops = { on_server_open, swallow, NULL, on_server_close };

static void on_accept(int fd, const struct addr *peer, const struct addr *local, void *arg)
{
	struct world *w = arg;
	struct stream_options o = { .tls = w->tls };

	(void)peer;
	(void)local;
	w->server_open = false;
	w->server = stream_free(w->server);
	assert_int_equal(stream_new(w->loop, fd, &o, &server_ops, w, &w->server), 0);
}

static void listen_on_loopback(struct world *w)
{
	static const struct acceptor_ops ops = { .on_accept = on_accept };
	struct addr a = addr_v4(INADDR_LOOPBACK, 0);
	socklen_t n = sizeof(a);
	int fd;

	assert_int_equal(stream_listen_socket(&a, &(struct listen_options){ .backlog = 8 }, &fd), 0);
	assert_int_equal(getsockname(fd, &a.sa, &n), 0);
	w->port = addr_port(&a);
	assert_int_equal(acceptor_new(w->loop, fd, &ops, w, &w->acceptor), 0);
}

static void new_server_tls(struct world *w)
{
	tls_ctx_unref(w->tls);
	w->tls = NULL;
	assert_int_equal(link_tls_server(&w->keys, &w->tls), 0);
}

/* An agent's start with this configuration, and what is on its disk. */
static void begin(struct world *w)
{
	char err[512] = "";

	if (dialers_new(&(struct dialers_options){ .loop = w->loop,
						   .folder = w->dir.path,
						   .dns_servers = "127.0.0.1:9" },
			err, sizeof(err), &w->all) < 0)
		fail_msg("%s", err);
	w->conf_server.host = (char *)"127.0.0.1";
	w->conf_server.port = w->port;
	if (dialers_add(w->all, &w->conf_server, &w->conf, err, sizeof(err), &w->dialer) < 0)
		fail_msg("%s", err);
	dialer_hooks(w->dialer, &w->hooks);
}

static void restart(struct world *w)
{
	w->client = stream_free(w->client);
	w->all = dialers_free(w->all);
	begin(w);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	enum server_keys_news news;
	char err[IDENTITY_ERRLEN];

	assert_int_equal(loop_new(&w->loop), 0);
	support_dir_make(&w->dir);
	support_dir_make(&w->server_dir);
	assert_int_equal(server_keys_open(w->server_dir.path, err, &news, &w->keys), 0);
	new_server_tls(w);
	listen_on_loopback(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	stream_free(w->client);
	stream_free(w->server);
	dialers_free(w->all);
	acceptor_free(w->acceptor);
	tls_ctx_unref(w->tls);
	server_keys_deinit(&w->keys);
	support_run_for(w->loop, 1);
	loop_free(w->loop);
	support_dir_remove(&w->dir);
	support_dir_remove(&w->server_dir);
	free(w);
	return 0;
}

/* ---- a control connection, up to what was sent behind HELLO ---- */

static void on_dialled(const struct agent_dialled *d, void *arg)
{
	struct world *w = arg;

	w->done = true;
	w->client = d->stream;
	w->hopeless = d->hopeless;
	(void)snprintf(w->why, sizeof(w->why), "%s", d->why ? d->why : "");
}

static bool dial(struct world *w)
{
	void *handle;

	w->client = stream_free(w->client);
	w->done = false;
	assert_int_equal(w->hooks.start(w->hooks.arg, true, false, on_dialled, w, &handle), 0);
	support_run_until(w->loop, &w->done, 20000);
	return w->client != NULL;
}

static void greet(struct world *w)
{
	struct wire_hello h = { .name = TEXT("site-17") };

	if (!dial(w))
		fail_msg("%s", w->why);
	support_run_until(w->loop, &w->server_open, 20000);
	memset(&w->agent, 0, sizeof(w->agent));
	w->hooks.hello(w->hooks.arg, &h);
	w->features = h.features;
	w->hooks.greeted(w->hooks.arg, &w->agent, stream_ssl(w->client));
}

static struct enrol_session session_of(struct world *w)
{
	struct enrol_session s = { .agent = *identity_hash(dialers_identity(w->all)),
				   .root = *identity_hash(w->keys.root),
				   .name = TEXT("site-17") };

	assert_int_equal(link_tls_exporter(stream_ssl(w->server), LINK_EXPORTER_ENROL, s.exporter), 0);
	return s;
}

static int say(struct world *w, unsigned type, const union wire_msg *m)
{
	w->why[0] = 0;
	return w->hooks.enrol(w->hooks.arg, &w->agent, type, m, w->why, sizeof(w->why));
}

static int welcome_naming(struct world *w, const struct identity_hash *successor)
{
	struct wire_welcome m = { .successor = { successor->b, IDENTITY_LEN } };

	w->why[0] = 0;
	return w->hooks.welcomed(w->hooks.arg, &w->agent, &m, w->why, sizeof(w->why));
}

static int welcome(struct world *w)
{
	return welcome_naming(w, identity_hash(w->keys.successor));
}

static struct enrol_code code_of(struct world *w, char text[static ENROL_CODE_STRLEN])
{
	struct enrol_code c;

	assert_int_equal(enrol_code_make(identity_hash(w->keys.root), &c), 0);
	(void)enrol_code_write(&c, text);
	return c;
}

static int enrolled(struct world *w, const struct enrol_code *c, bool good)
{
	struct enrol_session s = session_of(w);
	uint8_t proof[ENROL_PROOF_LEN];
	union wire_msg m = { .enrolled = { .proof = { proof, sizeof(proof) } } };

	assert_int_equal(enrol_proof(c->secret, ENROL_SERVER, &s, proof), 0);
	proof[0] ^= !good;
	return say(w, WIRE_ENROLLED, &m);
}

/* ---- by code ---- */

static void a_code_is_proven_once_and_then_the_pins_say_the_rest(void **state)
{
	struct world *w = *state;
	char text[ENROL_CODE_STRLEN];
	struct enrol_code c = code_of(w, text);
	struct enrol_session s;

	w->conf.code = text;
	begin(w);
	greet(w);
	s = session_of(w);
	assert_int_equal(w->features, WIRE_F_ENROL);
	assert_int_equal(w->agent.sent, WIRE_ENROL);
	assert_true(enrol_proof_good(c.secret, ENROL_AGENT, &s,
				     (struct text){ (char *)w->agent.proof, ENROL_PROOF_LEN }));
	assert_int_equal(enrolled(w, &c, true), 0);
	assert_int_equal(welcome(w), 0);
	restart(w); /* the code still stands in the file */
	greet(w);
	assert_int_equal(w->features, WIRE_F_PINNED);
	assert_int_equal(w->agent.sent, 0);
	assert_int_equal(welcome(w), 0);
}

static void a_server_that_did_not_make_the_code_is_not_believed(void **state)
{
	struct world *w = *state;
	char text[ENROL_CODE_STRLEN];
	struct enrol_code c = code_of(w, text);

	w->conf.code = text;
	begin(w);
	greet(w);
	assert_int_equal(enrolled(w, &c, false), -EPROTO);
	assert_non_null(strstr(w->why, "does not prove that it made the enrolment code"));
	assert_false(identity_hash_is_set(&w->dialer->memory.pins.root));
}

/* The code was used up by this agent, which missed the WELCOME: the server knows its key, and the root is the code's. */
static void a_welcome_that_was_missed_comes_again_without_a_proof(void **state)
{
	struct world *w = *state;
	char text[ENROL_CODE_STRLEN];

	(void)code_of(w, text);
	w->conf.code = text;
	begin(w);
	greet(w);
	assert_int_equal(w->agent.sent, WIRE_ENROL);
	assert_int_equal(welcome(w), 0);
	assert_true(identity_hash_equal(&w->dialer->memory.pins.root, identity_hash(w->keys.root)));
	greet(w);
	assert_int_equal(w->features, WIRE_F_PINNED);
}

static void a_code_of_another_server_is_found_out_before_anything_is_said(void **state)
{
	struct world *w = *state;
	struct identity_hash other = *identity_hash(w->keys.root);
	struct enrol_code c;
	char text[ENROL_CODE_STRLEN];

	other.b[3] ^= 1;
	assert_int_equal(enrol_code_make(&other, &c), 0);
	w->conf.code = (char *)enrol_code_write(&c, text);
	begin(w);
	assert_false(dial(w));
	assert_true(w->hopeless);
	assert_non_null(strstr(w->why, "not the server of the enrolment code"));
}

static void a_code_for_another_place_is_not_used_here(void **state)
{
	static struct agent_server both[2] = { { .host = (char *)"127.0.0.1" }, { .host = (char *)"elsewhere.example" } };
	struct world *w = *state;
	char text[ENROL_CODE_STRLEN];
	struct enrol_code c = code_of(w, text);

	strcpy(c.host, "elsewhere.example");
	c.port = 7443;
	w->conf.code = (char *)enrol_code_write(&c, text);
	w->conf.server = (struct cfg_list){ both, 2 };
	begin(w);
	assert_false(w->dialer->has_code);
	w->conf.server.n = 1; /* an only one may be reached by another name */
	assert_int_equal(dialer_reload(w->dialer, &w->conf, w->why, sizeof(w->why)), 0);
	assert_true(w->dialer->has_code);
	w->conf.code = (char *)"no code at all";
	assert_true(dialer_reload(w->dialer, &w->conf, w->why, sizeof(w->why)) < 0);
	assert_non_null(strstr(w->why, "agent.code: "));
}

/* ---- by password ---- */

static struct scram_verifier verifier;

static int login(struct world *w, const char *servers_password, struct scram *s)
{
	union wire_msg m = { .nothing = { 0 } };
	struct scram_text t;

	assert_int_equal(scram_verifier_make(text_of(servers_password), NULL, 0, SCRAM_ROUNDS_MIN,
					     &verifier),
			 SCRAM_OK);
	s->binding = (struct scram_binding){ .type = "tls-exporter", .n = 32 };
	assert_int_equal(
		link_tls_exporter(stream_ssl(w->server), LINK_EXPORTER_BINDING, s->binding.data), 0);
	assert_int_equal(w->agent.sent, WIRE_SCRAM);
	assert_int_equal(scram_server_first(s, &verifier,
					    (struct text){ w->agent.scram.p, w->agent.scram.n }, &t),
			 SCRAM_OK);
	m.scram.message = (struct text){ t.p, t.n };
	return say(w, WIRE_SCRAM, &m);
}

static int finish(struct world *w, struct scram *s)
{
	union wire_msg m = { .nothing = { 0 } };
	struct scram_text t;

	(void)scram_server_final(s, &verifier, (struct text){ w->agent.scram.p, w->agent.scram.n }, &t);
	m.scram.message = (struct text){ t.p, t.n };
	return say(w, WIRE_SCRAM, &m);
}

static void a_server_that_proves_the_password_is_pinned(void **state)
{
	struct world *w = *state;
	struct scram s = { .step = 0 };

	w->conf.password = (char *)"correct horse";
	begin(w);
	greet(w);
	assert_int_equal(w->features, WIRE_F_ENROL); /* and not WIRE_F_PINNED: it waits for approval */
	assert_int_equal(login(w, "correct horse", &s), 0);
	assert_int_equal(finish(w, &s), 0);
	assert_int_equal(welcome(w), 0);
	restart(w);
	greet(w);
	assert_int_equal(w->features, WIRE_F_PINNED);
}

static void a_false_server_is_not_believed_whatever_it_leaves_out(void **state)
{
	struct world *w = *state;
	struct scram s = { .step = 0 };
	union wire_msg m = { .scram = { TEXT("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=") } };

	w->conf.password = (char *)"correct horse";
	begin(w);
	greet(w);
	assert_int_equal(welcome(w), -EPROTO); /* straight to WELCOME */
	assert_non_null(strstr(w->why, "may be a false one"));
	greet(w);
	assert_int_equal(login(w, "a guess", &s), 0);
	assert_int_equal(welcome(w), -EPROTO);		   /* before its signature */
	assert_int_equal(say(w, WIRE_SCRAM, &m), -EPROTO); /* with a wrong one */
	assert_non_null(strstr(w->why, "does not prove that it knows the password"));
	assert_int_equal(welcome(w), -EPROTO);
	assert_false(identity_hash_is_set(&w->dialer->memory.pins.root));
}

static void with_the_fingerprint_the_server_is_known_beforehand(void **state)
{
	struct world *w = *state;
	struct scram s = { .step = 0 };

	w->conf.password = (char *)"correct horse";
	w->conf_server.pinned = true;
	memcpy(w->conf_server.fingerprint, identity_hash(w->keys.root)->b, IDENTITY_LEN);
	begin(w);
	greet(w);
	assert_int_equal(w->features, WIRE_F_ENROL | WIRE_F_PINNED);
	assert_int_equal(login(w, "correct horse", &s), 0);
	assert_int_equal(finish(w, &s), 0);
	assert_int_equal(welcome(w), 0);
	w->conf_server.fingerprint[0] ^= 1;
	restart(w); /* somebody wrote another fingerprint into the file: it holds */
	assert_false(dial(w));
	assert_true(w->hopeless);
	assert_non_null(strstr(w->why, "the server shows another root key"));
}

static void without_anything_nobody_is_called(void **state)
{
	struct world *w = *state;

	begin(w);
	assert_false(dial(w));
	assert_non_null(strstr(w->why, "nothing tells this server from a false one"));
	assert_null(w->server);
}

/* ---- afterwards ---- */

static void enrol_by_code(struct world *w)
{
	static char text[ENROL_CODE_STRLEN];
	struct enrol_code c = code_of(w, text);

	w->conf.code = text;
	begin(w);
	greet(w);
	assert_int_equal(enrolled(w, &c, true), 0);
	assert_int_equal(welcome(w), 0);
}

static void a_rotated_root_is_followed_and_the_old_one_is_over(void **state)
{
	struct world *w = *state;
	struct server_keys old;
	char err[IDENTITY_ERRLEN];

	enrol_by_code(w);
	server_keys_copy(&w->keys, &old);
	assert_int_equal(server_keys_rotate_root(w->server_dir.path, &w->keys, err), 0);
	new_server_tls(w);
	greet(w); /* as the pinned successor */
	assert_int_equal(welcome(w), 0);
	restart(w);
	greet(w);
	assert_int_equal(w->features, WIRE_F_PINNED);
	assert_true(identity_hash_equal(&w->dialer->memory.pins.root, identity_hash(w->keys.root)));
	assert_true(identity_hash_equal(&w->dialer->memory.pins.successor,
					identity_hash(w->keys.successor)));
	server_keys_deinit(&w->keys);
	w->keys = old; /* a thief has the old root and link keys */
	new_server_tls(w);
	assert_false(dial(w));
	assert_true(w->hopeless);
}

/* Whoever has the root's or the link's key could else have himself pinned, and the rotation would leave him in and the owner out. */
static void a_successor_that_is_pinned_is_followed_whatever_other_one_the_server_names(void **state)
{
	struct world *w = *state;
	const struct identity_hash other = { { 7 } };
	char err[IDENTITY_ERRLEN];

	enrol_by_code(w);
	greet(w);
	assert_int_equal(welcome_naming(w, &other), 0); /* it is let in: the root is the pinned one */
	restart(w);
	assert_true(identity_hash_equal(&w->dialer->memory.pins.successor,
					identity_hash(w->keys.successor)));
	assert_int_equal(server_keys_rotate_root(w->server_dir.path, &w->keys, err), 0);
	new_server_tls(w);
	greet(w);
	assert_int_equal(welcome_naming(w, &other), 0); /* the root has moved: its word counts */
	assert_true(identity_hash_equal(&w->dialer->memory.pins.root, identity_hash(w->keys.root)));
	assert_true(identity_hash_equal(&w->dialer->memory.pins.successor, &other));
}

static void a_successor_is_learned_where_none_was_known_and_by_a_code(void **state)
{
	struct world *w = *state;
	char text[ENROL_CODE_STRLEN];
	const struct identity_hash other = { { 7 } };
	struct enrol_code c;

	enrol_by_code(w);
	w->dialer->memory.pins.successor = (struct identity_hash){ { 0 } };
	greet(w);
	assert_int_equal(welcome_naming(w, &other), 0);
	assert_true(identity_hash_equal(&w->dialer->memory.pins.successor, &other));
	c = code_of(w, text);
	assert_int_equal(dialer_set_code(w->dialer, text, true, w->why, sizeof(w->why)), 0);
	greet(w);
	assert_int_equal(enrolled(w, &c, true), 0);
	assert_int_equal(welcome(w), 0);
	assert_true(identity_hash_equal(&w->dialer->memory.pins.successor,
					identity_hash(w->keys.successor)));
}

static void a_server_that_has_forgotten_the_agent_gets_the_password_next_time(void **state)
{
	struct world *w = *state;

	enrol_by_code(w);
	w->conf.password = (char *)"correct horse";
	restart(w);
	greet(w);
	assert_int_equal(w->features, WIRE_F_PINNED); /* it is enrolled: no login */
	w->hooks.refused(w->hooks.arg, WIRE_R_UNKNOWN_KEY);
	restart(w);
	greet(w);
	assert_int_equal(w->features, WIRE_F_PINNED | WIRE_F_ENROL);
	assert_int_equal(w->agent.sent, WIRE_SCRAM);
}

static void a_wrong_code_by_hand_does_not_cut_an_agent_off(void **state)
{
	struct world *w = *state;
	struct identity_hash other = { { 1 } };
	struct enrol_code c;
	char text[ENROL_CODE_STRLEN], err[256];

	enrol_by_code(w);
	assert_int_equal(enrol_code_make(&other, &c), 0);
	assert_int_equal(
		dialer_set_code(w->dialer, enrol_code_write(&c, text), true, err, sizeof(err)), 0);
	assert_false(dial(w));
	greet(w);
	assert_int_equal(w->features, WIRE_F_PINNED);
}

static void another_server(struct world *w)
{
	enum server_keys_news news;
	char err[IDENTITY_ERRLEN];

	server_keys_deinit(&w->keys);
	support_dir_remove(&w->server_dir);
	support_dir_make(&w->server_dir);
	assert_int_equal(server_keys_open(w->server_dir.path, err, &news, &w->keys), 0);
	new_server_tls(w);
}

static void enrol_by_hand(struct world *w)
{
	char text[ENROL_CODE_STRLEN];
	struct enrol_code c = code_of(w, text);

	assert_int_equal(dialer_set_code(w->dialer, text, true, w->why, sizeof(w->why)), 0);
	greet(w);
	assert_int_equal(enrolled(w, &c, true), 0);
	assert_int_equal(welcome(w), 0);
}

static void the_files_used_code_of_another_server_does_not_cut_an_agent_off(void **state)
{
	struct world *w = *state;

	enrol_by_code(w);
	another_server(w);
	enrol_by_hand(w);
	restart(w); /* what the file says is of the server before */
	assert_false(dial(w));
	greet(w);
	assert_int_equal(w->features, WIRE_F_PINNED);
	assert_int_equal(welcome(w), 0);
	assert_int_equal(dialer_reload(w->dialer, &w->conf, w->why, sizeof(w->why)), 0);
	assert_false(dial(w));
	greet(w);
	assert_int_equal(w->features, WIRE_F_PINNED);
}

/* The code in the file is of a server that comes later. */
static void a_code_that_was_set_aside_is_used_when_the_pins_do_not_fit_either(void **state)
{
	struct world *w = *state;
	struct server_keys next, now;
	struct support_dir folder;
	struct enrol_code c;
	enum server_keys_news news;
	char text[ENROL_CODE_STRLEN], err[IDENTITY_ERRLEN];

	enrol_by_code(w);
	support_dir_make(&folder);
	assert_int_equal(server_keys_open(folder.path, err, &news, &next), 0);
	assert_int_equal(enrol_code_make(identity_hash(next.root), &c), 0);
	w->conf.code = (char *)enrol_code_write(&c, text);
	restart(w);
	assert_false(dial(w));
	greet(w); /* it is still the one that is known */
	assert_int_equal(w->features, WIRE_F_PINNED);
	assert_int_equal(welcome(w), 0);
	now = w->keys;
	w->keys = next;
	new_server_tls(w);
	assert_false(dial(w));
	greet(w);
	assert_int_equal(w->agent.sent, WIRE_ENROL);
	assert_int_equal(enrolled(w, &c, true), 0);
	assert_int_equal(welcome(w), 0);
	server_keys_deinit(&now);
	support_dir_remove(&folder);
}

static void a_new_code_in_the_file_counts_after_one_by_hand_was_taken(void **state)
{
	struct world *w = *state;
	char text[ENROL_CODE_STRLEN];
	struct enrol_code c;
	uint8_t id[ENROL_ID_LEN];

	enrol_by_code(w);
	enrol_by_hand(w);
	c = code_of(w, text);
	enrol_id(c.secret, id);
	w->conf.code = text;
	assert_int_equal(dialer_reload(w->dialer, &w->conf, w->why, sizeof(w->why)), 0);
	greet(w);
	assert_int_equal(w->agent.sent, WIRE_ENROL);
	assert_memory_equal(w->agent.code, id, sizeof(id));
}

static void pins_that_cannot_be_written_are_not_acted_upon(void **state)
{
	struct world *w = *state;
	char text[ENROL_CODE_STRLEN];
	struct enrol_code c = code_of(w, text);

	w->conf.code = text;
	begin(w);
	greet(w);
	assert_int_equal(enrolled(w, &c, true), 0);
	support_write(&w->dir, "agent-servers.json", "{ damaged");
	assert_true(welcome(w) < 0);
	assert_non_null(strstr(w->why, "is damaged"));
	assert_int_equal(unlink(support_path(&w->dir, "agent-servers.json")), 0);
}

static void each_server_is_remembered_by_itself(void **state)
{
	struct world *w = *state;
	struct memory a = { .server = "a:1", .enrolled = true }, b = { .server = "b:1" }, got;
	char err[IDENTITY_ERRLEN];

	memset(a.pins.root.b, 1, IDENTITY_LEN);
	memset(b.pins.root.b, 2, IDENTITY_LEN);
	memset(b.pins.successor.b, 3, IDENTITY_LEN);
	strcpy(b.code, "0123456789abcdef");
	assert_int_equal(memory_save(w->dir.path, &a, err), 0);
	assert_int_equal(memory_save(w->dir.path, &b, err), 0);
	assert_int_equal(memory_load(w->dir.path, "a:1", err, &got), 0);
	assert_memory_equal(&got, &a, sizeof(a));
	assert_int_equal(memory_load(w->dir.path, "b:1", err, &got), 0);
	assert_memory_equal(&got, &b, sizeof(b));
	assert_int_equal(memory_load(w->dir.path, "c:1", err, &got), 0);
	assert_false(got.enrolled || identity_hash_is_set(&got.pins.root));
}

/* What the configuration's own check finds comes here only where it was changed behind it. */
static void what_cannot_be_begun_is_told_with_its_reason(void **state)
{
	struct world *w = *state;
	char folder[512], err[512] = "";
	struct dialers *none = NULL;
	FILE *f;

	(void)snprintf(folder, sizeof(folder), "%s/file", w->dir.path);
	f = fopen(folder, "w");
	assert_non_null(f);
	assert_int_equal(fclose(f), 0);
	(void)snprintf(folder, sizeof(folder), "%s/file/key", w->dir.path);
	assert_int_equal(dialers_new(&(struct dialers_options){ .loop = w->loop, .folder = folder, .dns_servers = "127.0.0.1:9" }, err,
				     sizeof(err), &none),
			 -ENOTDIR);
	assert_non_null(strstr(err, "cannot be made: Not a directory"));
	begin(w);
	w->conf.proxy = (char *)"socks5://127.0.0.1";
	assert_int_equal(dialer_reload(w->dialer, &w->conf, err, sizeof(err)), -EINVAL);
	assert_string_equal(err, "agent.proxy: only http:// proxies are spoken to (CONNECT)");
	w->conf.proxy = NULL;
	w->conf.code = (char *)"no code";
	assert_int_equal(dialer_reload(w->dialer, &w->conf, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "agent.code: "));
	w->conf.code = NULL;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_code_is_proven_once_and_then_the_pins_say_the_rest),
		T(a_server_that_did_not_make_the_code_is_not_believed),
		T(a_welcome_that_was_missed_comes_again_without_a_proof),
		T(a_code_of_another_server_is_found_out_before_anything_is_said),
		T(a_code_for_another_place_is_not_used_here),
		T(a_server_that_proves_the_password_is_pinned),
		T(a_false_server_is_not_believed_whatever_it_leaves_out),
		T(with_the_fingerprint_the_server_is_known_beforehand),
		T(without_anything_nobody_is_called),
		T(a_rotated_root_is_followed_and_the_old_one_is_over),
		T(a_successor_that_is_pinned_is_followed_whatever_other_one_the_server_names),
		T(a_successor_is_learned_where_none_was_known_and_by_a_code),
		T(a_server_that_has_forgotten_the_agent_gets_the_password_next_time),
		T(a_wrong_code_by_hand_does_not_cut_an_agent_off),
		T(the_files_used_code_of_another_server_does_not_cut_an_agent_off),
		T(a_code_that_was_set_aside_is_used_when_the_pins_do_not_fit_either),
		T(a_new_code_in_the_file_counts_after_one_by_hand_was_taken),
		T(pins_that_cannot_be_written_are_not_acted_upon),
		T(each_server_is_remembered_by_itself),
		T(what_cannot_be_begun_is_told_with_its_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
