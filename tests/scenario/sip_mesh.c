/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which UC server has this user (sip-proxy/mesh.h), on fake time: all are asked at once, who says yes gets what waits, and what is
 * known of a user is forgotten when it has turned out wrong. Two servers, a and b, are logged on; real ones are in tests/sip/mesh.py.
 */
#include <stdio.h>
#include <string.h>
#include "sip-proxy/mesh_priv.h"
#include "tests/scenario/sip_world.h"

#define ALICE "udp:192.0.2.1:5060"
#define A "udp:10.0.0.21:5060"
#define B "udp:10.0.0.22:5060"

static struct world w;
static struct sip_mesh *mesh;
static struct timers *timers; /* the mesh's */
static struct sip_hook rows[2];
static const struct sip_hook *chain[] = { &rows[0], &rows[1] };
static unsigned number;

static uint64_t now_of(void *edge)
{
	return ((struct world *)edge)->now;
}

static bool domain_is_ours(void *arg, struct text host)
{
	(void)arg;
	return text_ieq(host, TEXT("uc.test"));
}

static bool is_local(void *arg, const char *aor)
{
	(void)arg;
	return strcmp(aor, "local@uc.test") == 0;
}

static uint32_t lan_interface(void *arg, enum sip_proto proto, bool mutual)
{
	(void)arg;
	(void)proto;
	(void)mutual;
	return 4;
}

static void log_on(const char *user, const char *address)
{
	json_t *body = json_pack("{s:o, s:s, s:s, s:s, s:b, s:i, s:i}", "contact", json_sprintf("sip:%s", address), "transport", "udp", "remote",
				 address, "local", "10.0.0.100:5060", "mutual", 0, "since", 1, "expires_ms", 3600000);

	assert_int_equal(sip_mesh_logon_take(mesh, user, body, (struct sip_times){ w.now, 0 }), 0);
	json_decref(body);
}

static void begin(bool on)
{
	static char user_a[] = "uc-a", user_b[] = "uc-b", password[] = "secret", twos[] = "2*";
	static char *of_b[] = { twos };
	static struct sip_server_section servers[] = { { .user = user_a, .password = password, .weight = 100 },
						       { .user = user_b, .password = password, .weight = 100, .users = { of_b, 1 } } };
	const struct sip_config c = { .lan = { .servers = { servers, 2 }, .remember_ms = 600000, .ask_ms = 2000 } };

	world_init(&w);
	timers = timers_new(w.now);
	assert_int_equal(sip_mesh_new(&(struct sip_mesh_options){ .timers = timers,
								  .now = now_of,
								  .ops = w.o.ops,
								  .edge = &w,
								  .seed = { 1, 2 },
								  .is_domain = domain_is_ours,
								  .is_local = is_local,
								  .lan_interface = lan_interface },
				      &mesh),
			 0);
	assert_int_equal(sip_mesh_configure(mesh, &c), 0);
	rows[0] = (struct sip_hook){ "servers", SIP_STAGE_IDENTITY, sip_servers_request, sip_mesh_response, mesh };
	rows[1] = (struct sip_hook){ "mesh", SIP_STAGE_ROUTING, sip_mesh_request, NULL, mesh };
	w.o.hooks = chain;
	w.o.n_hooks = ARRAY_LEN(chain);
	world_start(&w);
	sip_mesh_set_core(mesh, w.px);
	if (on) {
		log_on("uc-a", "10.0.0.21:5060");
		log_on("uc-b", "10.0.0.22:5060");
	}
	world_forget(&w);
}

static void end(void)
{
	sip_mesh_set_core(mesh, NULL);
	mesh = sip_mesh_free(mesh);
	timers = timers_free(timers);
	world_forget(&w);
	world_stop(&w);
}

/* A stranger's request for one of our users. */
static void ask_for(const char *method, const char *user, const char *more)
{
	static char text[2048];

	number++;
	(void)snprintf(text, sizeof text,
		       "%s sip:%s@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-m%u\r\nMax-Forwards: 70\r\n"
		       "From: <sip:x@elsewhere.test>;tag=f\r\nTo: <sip:%s@uc.test>\r\nCall-ID: m%u\r\nCSeq: 1 %s\r\n%sContent-Length: 0\r\n\r\n",
		       method, user, number, user, number, method, more);
	say(&w, ALICE, text);
}

/* The two questions, in whatever order. */
static void expect_questions(struct sent *ret_a, struct sent *ret_b)
{
	const struct addr at_a = hop_of(A).remote;
	struct sent s[2];

	for (unsigned i = 0; i < 2; i++) {
		assert_true(take(&w, &s[i]));
		assert_true(sent_has(&s[i], "OPTIONS sip:bob@uc.test SIP/2.0"));
	}
	bool a_first = addr_equal(&s[0].to.hop.remote, &at_a);
	*ret_a = a_first ? s[0] : s[1];
	*ret_b = a_first ? s[1] : s[0];
}

static void settle(struct sent *request, const char *at, unsigned code)
{
	reply(&w, at, request, code, "u", NULL);
	sent_free(request);
}

static void who_says_yes_gets_what_waits_and_what_comes_later(void **state)
{
	struct sent a, b, s;
	(void)state;
	begin(true);
	ask_for("MESSAGE", "bob", "");
	expect_questions(&a, &b);
	ask_for("MESSAGE", "bob", ""); /* shares the question */
	expect_nothing(&w);
	settle(&a, A, 404);
	expect_nothing(&w);
	settle(&b, B, 200);
	a = expect_request(&w, "MESSAGE", B);
	b = expect_request(&w, "MESSAGE", B);
	settle(&a, B, 200);
	expect_and_free(&w, 200, ALICE);
	settle(&b, B, 200);
	expect_and_free(&w, 200, ALICE);
	ask_for("MESSAGE", "bob", ""); /* remembered */
	s = expect_request(&w, "MESSAGE", B);
	settle(&s, B, 404);
	expect_and_free(&w, 404, ALICE);
	ask_for("MESSAGE", "bob", ""); /* and forgotten: he has moved */
	expect_questions(&a, &b);
	settle(&b, B, 404);
	settle(&a, A, 486); /* busy is a yes, too: only his home says so */
	s = expect_request(&w, "MESSAGE", A);
	settle(&s, A, 200);
	expect_and_free(&w, 200, ALICE);
	end();
}

/* b says yes, and does not know him the next moment, while a still thinks about it: who comes now does not wait behind a question that
 * is over for all others. */
static void who_comes_behind_a_question_that_has_found_asks_anew(void **state)
{
	struct sent a, b, s, again_a, again_b;
	(void)state;
	begin(true);
	ask_for("MESSAGE", "bob", "");
	expect_questions(&a, &b);
	settle(&b, B, 200);
	s = expect_request(&w, "MESSAGE", B);
	settle(&s, B, 404);
	expect_and_free(&w, 404, ALICE);
	ask_for("MESSAGE", "bob", "");
	expect_questions(&again_a, &again_b);
	settle(&a, A, 404); /* the end of the first question */
	expect_nothing(&w);
	settle(&again_b, B, 404);
	settle(&again_a, A, 200);
	s = expect_request(&w, "MESSAGE", A);
	settle(&s, A, 200);
	expect_and_free(&w, 200, ALICE);
	assert_int_equal(mesh->n_questions, 0);
	end();
}

static void whom_nobody_has_is_404_and_for_a_moment_nobody_is_asked_again(void **state)
{
	struct sent a, b;
	(void)state;
	begin(true);
	ask_for("MESSAGE", "bob", "");
	expect_questions(&a, &b);
	settle(&a, A, 604);
	settle(&b, B, 410);
	expect_and_free(&w, 404, ALICE);
	ask_for("MESSAGE", "bob", "");
	expect_and_free(&w, 404, ALICE);
	expect_nothing(&w);
	end();
}

/* Who has not said no may have him. */
static void an_answer_that_is_none_is_480(void **state)
{
	struct sent a, b;
	(void)state;
	begin(true);
	ask_for("MESSAGE", "bob", "");
	expect_questions(&a, &b);
	settle(&a, A, 404);
	settle(&b, B, 500);
	expect_and_free(&w, 480, ALICE);
	ask_for("MESSAGE", "bob", ""); /* asked anew, for this is no knowledge */
	expect_questions(&a, &b);
	settle(&a, A, 404);
	sent_free(&b);
	world_wait(&w, 2000);
	timers_run(timers, w.now);
	struct sent s;
	bool found = false;
	while (take(&w, &s)) {
		found |= strncmp(s.bytes, "SIP/2.0 480", 11) == 0;
		sent_free(&s);
	}
	assert_true(found);
	end();
	begin(false); /* and where no server is logged on nobody can be asked */
	ask_for("MESSAGE", "bob", "");
	expect_and_free(&w, 480, ALICE);
	end();
}

static void who_cannot_be_asked_has_not_said_no(void **state)
{
	struct sent b;
	(void)state;
	begin(true);
	w.dead = A; /* at once */
	ask_for("MESSAGE", "bob", "");
	b = expect_request(&w, "OPTIONS", B);
	settle(&b, B, 404);
	expect_and_free(&w, 480, ALICE);
	w.dead = NULL;
	ask_for("MESSAGE", "bob", "");
	world_forget(&w);
	assert_true(fail_sends_to(&w, A) && fail_sends_to(&w, B)); /* a moment later */
	expect_and_free(&w, 480, ALICE);
	assert_true(mesh->v[0]->sick && mesh->v[1]->sick);
	ask_for("MESSAGE", "bob", ""); /* nobody is left to be asked */
	expect_and_free(&w, 480, ALICE);
	end();
}

static void who_gives_up_waiting_leaves_nothing(void **state)
{
	struct sent a, b;
	(void)state;
	begin(true);
	ask_for("INVITE", "bob", "Contact: <sip:x@192.0.2.1>\r\n");
	expect_questions(&a, &b);
	char text[1024];
	(void)snprintf(text, sizeof text,
		       "CANCEL sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-m%u\r\nMax-Forwards: 70\r\n"
		       "From: <sip:x@elsewhere.test>;tag=f\r\nTo: <sip:bob@uc.test>\r\nCall-ID: m%u\r\nCSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n",
		       number, number);
	say(&w, ALICE, text);
	expect_and_free(&w, 200, ALICE);
	settle(&a, A, 200);
	expect_and_free(&w, 487, ALICE); /* and a's telephone does not ring */
	settle(&b, B, 404);
	expect_nothing(&w);
	end();
	begin(true); /* the end comes while somebody waits */
	ask_for("MESSAGE", "bob", "");
	expect_questions(&a, &b);
	sent_free(&a);
	sent_free(&b);
	end();
}

static const char *how, *where;
static uint64_t left;

static bool keep_user(const struct sip_mesh_user *u, void *arg)
{
	(void)arg;
	how = u->how;
	where = u->server;
	left = u->expires_ms;
	return true;
}

static void a_registration_that_a_server_takes_tells_where_the_user_is(void **state)
{
	struct sent a, b, s;
	(void)state;
	begin(true);
	ask_for("MESSAGE", "bob", "");
	expect_questions(&a, &b);
	settle(&a, A, 404);
	settle(&b, B, 480);
	s = expect_request(&w, "MESSAGE", B);
	settle(&s, B, 200);
	world_forget(&w);
	say(&w, ALICE,
	    "REGISTER sip:uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-reg\r\nMax-Forwards: 70\r\nFrom: <sip:bob@uc.test>;tag=f\r\n"
	    "To: <sip:bob@uc.test>\r\nCall-ID: reg\r\nCSeq: 1 REGISTER\r\nContact: <sip:bob@192.0.2.1>\r\nContent-Length: 0\r\n\r\n");
	s = expect_request(&w, "REGISTER", B);
	assert_true(sent_has(&s, "\r\nPath: <sip:"));
	reply(&w, B, &s, 200, "u", "Contact: <sip:bob@192.0.2.1>;expires=120, <sip:bob@192.0.2.9>;expires=60\n");
	sent_free(&s);
	world_forget(&w);
	sip_mesh_users_each(mesh, keep_user, NULL);
	assert_string_equal(how, "registered");
	assert_string_equal(where, "uc-b");
	assert_int_equal(left, 120000);
	sip_mesh_registered(mesh, mesh->v[0]->number, "bob@uc.test", w.now + 5000); /* at another server, through the registrar */
	sip_mesh_users_each(mesh, keep_user, NULL);
	assert_string_equal(where, "uc-a");
	sip_mesh_registered(mesh, 99, "bob@uc.test", w.now + 9000); /* of no server */
	sip_mesh_registered(mesh, mesh->v[1]->number, "bob@uc.test", w.now);
	sip_mesh_users_each(mesh, keep_user, NULL);
	assert_string_equal(where, "uc-a");
	end();
}

static void what_would_be_too_much_is_refused_and_the_rest_goes_on(void **state)
{
	char user[16];
	struct sent s;
	unsigned got = 0;

	(void)state;
	begin(true);
	for (unsigned i = 0; i < MESH_QUESTIONS_MAX; i++) {
		(void)snprintf(user, sizeof user, "u%u", i);
		ask_for("MESSAGE", user, "");
		world_forget(&w);
	}
	assert_int_equal(mesh->n_questions, MESH_QUESTIONS_MAX);
	ask_for("MESSAGE", "bob", "");
	expect_and_free(&w, 503, ALICE);
	for (unsigned i = 1; i < MESH_WAITING_MAX; i++) {
		ask_for("MESSAGE", "u0", "");
		expect_nothing(&w);
	}
	ask_for("MESSAGE", "u0", ""); /* one more behind one question */
	expect_and_free(&w, 503, ALICE);
	w.now += 2000; /* what would be said again to the servers is of no interest */
	timers_run(timers, w.now);
	while (take(&w, &s)) {
		got += strncmp(s.bytes, "SIP/2.0 480", 11) == 0;
		sent_free(&s);
	}
	assert_int_equal(got, MESH_QUESTIONS_MAX + MESH_WAITING_MAX - 1);
	assert_int_equal(mesh->n_questions, 0);
	end();
}

/* A server that knows nobody sends our own question back to its outbound proxy, which is us. */
static void our_own_question_is_not_asked_again(void **state)
{
	(void)state;
	begin(true);
	say(&w, A,
	    "OPTIONS sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.21:5060;branch=z9hG4bK-e1\r\nVia: SIP/2.0/UDP 10.0.0.100:5060;branch=z9hG4bK-e0\r\n"
	    "Max-Forwards: 60\r\nFrom: <sip:10.0.0.100>;tag=q\r\nTo: <sip:bob@uc.test>\r\nCall-ID: e\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n");
	expect_and_free(&w, 404, A);
	expect_nothing(&w);
	end();
}

/* Whom the configuration gives to a server is asked about nowhere; who registers elsewhere all the same lives there, and it is told. */
static void a_range_is_known_without_a_question(void **state)
{
	(void)state;
	begin(true);
	ask_for("MESSAGE", "204", "");
	struct sent s = expect_request(&w, "MESSAGE", B);
	settle(&s, B, 200);
	expect_and_free(&w, 200, ALICE);
	sip_mesh_registered(mesh, mesh->v[1]->number, "205@uc.test", w.now + 5000); /* at home */
	sip_mesh_users_each(mesh, keep_user, NULL);
	assert_string_equal(where, "uc-b");
	sip_mesh_registered(mesh, mesh->v[0]->number, "205@uc.test", w.now + 5000);
	sip_mesh_users_each(mesh, keep_user, NULL);
	assert_string_equal(where, "uc-a");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_says_yes_gets_what_waits_and_what_comes_later),
		cmocka_unit_test(who_comes_behind_a_question_that_has_found_asks_anew),
		cmocka_unit_test(whom_nobody_has_is_404_and_for_a_moment_nobody_is_asked_again),
		cmocka_unit_test(an_answer_that_is_none_is_480),
		cmocka_unit_test(who_cannot_be_asked_has_not_said_no),
		cmocka_unit_test(who_gives_up_waiting_leaves_nothing),
		cmocka_unit_test(a_registration_that_a_server_takes_tells_where_the_user_is),
		cmocka_unit_test(what_would_be_too_much_is_refused_and_the_rest_goes_on),
		cmocka_unit_test(our_own_question_is_not_asked_again),
		cmocka_unit_test(a_range_is_known_without_a_question),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
