/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our users in conversation with the registrar: they are challenged, register, are found, move, and go; who guesses
 * passwords is refused; nobody's credentials for our realm and no stranger's P-Asserted-Identity pass.
 */
#include <stdio.h>
#include <string.h>
#include "sip-proxy/registrar.h"
#include "sip-proxy/token.h"
#include "tests/scenario/sip_world.h"

#define ALICE "udp:192.0.2.1:5060"
#define BOB "udp:192.0.2.20:5060"
#define STRANGER "udp:198.51.100.7:5060"

static struct world w;
static struct timers *timers;
static struct sip_location *location;
static struct sip_registrar *registrar;
static struct sip_hook hook_rows[3];
static const struct sip_hook *hooks[3] = { &hook_rows[0], &hook_rows[1], &hook_rows[2] };
static unsigned cseq;

static struct text password_of(void *arg, const char *aor)
{
	(void)arg;
	if (strcmp(aor, "alice@uc.test") == 0)
		return TEXT("secret");
	return strcmp(aor, "bob@uc.test") == 0 ? TEXT("hush") : (struct text){ 0 };
}

static bool domain_is_ours(void *arg, struct text host)
{
	(void)arg;
	return text_ieq(host, TEXT("uc.test"));
}

static bool is_trusted(void *arg, const struct sip_hop *from)
{
	(void)arg;
	return from->iface == 4;
}

static bool is_elsewhere(void *arg, const char *aor) /* at a UC server */
{
	(void)arg;
	return strcmp(aor, "boss@uc.test") == 0;
}

static unsigned guessers;
static void on_guesses(void *arg, const struct sip_hop *from)
{
	(void)arg;
	(void)from;
	guessers++;
}

static void begin(void)
{
	world_init(&w);
	timers = timers_new(w.now);
	assert_int_equal(sip_location_new(&(struct sip_location_options){ .timers = timers,
									  .seed = { 5, 6 },
									  .per_aor = 3 },
					  &location),
			 0);
	assert_int_equal(sip_registrar_new(&(struct sip_registrar_options){ .location = location,
									    .password = password_of,
									    .is_domain = domain_is_ours,
									    .is_trusted = is_trusted,
									    .is_elsewhere = is_elsewhere,
									    .guesses = on_guesses,
									    .ops = w.o.ops,
									    .edge = &w,
									    .seed = { 7, 8 },
									    .now = w.now },
					   &registrar),
			 0);
	hook_rows[0] = (struct sip_hook){ "credentials", SIP_STAGE_IDENTITY, sip_auth_request, NULL,
					  registrar };
	hook_rows[1] = (struct sip_hook){ "hygiene", SIP_STAGE_HYGIENE, sip_hygiene_request,
					  sip_hygiene_response, registrar };
	hook_rows[2] = (struct sip_hook){ "registrar", SIP_STAGE_ROUTING, sip_registrar_request,
					  NULL, registrar };
	w.o.hooks = hooks;
	w.o.n_hooks = ARRAY_LEN(hooks);
	world_start(&w);
	cseq = guessers = 0;
}

static void end(void)
{
	world_forget(&w);
	world_stop(&w);
	registrar = sip_registrar_free(registrar);
	location = sip_location_free(location);
	timers = timers_free(timers);
}

/* A request of a user, with credentials if there are some. */
static void send_as(const char *at, const char *method, const char *uri, const char *user,
		    const char *to, const char *more)
{
	static char text[4096];
	static unsigned branch;
	char via[64];
	(void)snprintf(via, sizeof via, "%s", strchr(at, ':') + 1);
	cseq++;
	(void)snprintf(
		text, sizeof text,
		"%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK-r%u\r\nMax-Forwards: 70\r\nFrom: <sip:%s@uc.test>;tag=f\r\n"
		"To: <sip:%s@uc.test>\r\nCall-ID: call-%s\r\nCSeq: %u %s\r\n%sContent-Length: 0\r\n\r\n",
		method, uri, at[0] == 't' ? "TCP" : "UDP", via, ++branch, user, to, method, cseq,
		method, more);
	say(&w, at, text);
}

/* The line with credentials for a challenge. */
static const char *credentials(const struct sent *challenge, bool is_register, const char *user,
			       const char *password, const char *method, const char *uri)
{
	static char line[1024];
	char response[SIP_DIGEST_HEX] = "", ha1[SIP_DIGEST_HEX];
	struct sip_auth offered, a;
	assert_int_equal(sip_auth_parse(text_of(sent_value(challenge,
							   is_register ? SIP_H_WWW_AUTHENTICATE
								       : SIP_H_PROXY_AUTHENTICATE,
							   0)),
					&offered),
			 0);
	for (unsigned round = 0; round < 2; round++) {
		const char *name = is_register ? "Authorization" : "Proxy-Authorization";
		int n = snprintf(line, sizeof line,
				 "%s: Digest username=\"%s\", realm=\"uc.test\", nonce=\"%.*s\", uri=\"%s\", algorithm=SHA-256, qop=auth, "
				 "nc=00000001, cnonce=\"c\", response=\"%s\"\r\n",
				 name, user, TEXT_FMT(offered.param[SIP_D_NONCE]), uri, response);
		size_t from = strlen(name) + 2;
		assert_int_equal(
			sip_auth_parse((struct text){ line + from, (size_t)n - from - 2 }, &a), 0);
		assert_int_equal(sip_digest_ha1(SIP_ALG_SHA256, text_of(user), TEXT("uc.test"),
						text_of(password), ha1),
				 0);
		assert_int_equal(
			sip_digest_response(SIP_ALG_SHA256, ha1, &a, text_of(method), response), 0);
	}
	return line;
}

struct login {
	const char *user, *password;
};

static void with_credentials(const char *at, const char *method, const char *uri,
			     struct login login, const char *to, const char *more)
{
	bool is_register = strcmp(method, "REGISTER") == 0;
	char all[2048];
	send_as(at, method, uri, login.user, to, more);
	struct sent s = expect_response(&w, is_register ? 401 : 407, at);
	(void)snprintf(all, sizeof all, "%s%s",
		       credentials(&s, is_register, login.user, login.password, method, uri), more);
	sent_free(&s);
	if (!is_register && strcmp(method, "INVITE") != 0)
		expect_nothing(&w);
	send_as(at, method, uri, login.user, to, all);
}

static struct sent do_register(const char *at, const char *user, const char *password, const char *more)
{
	with_credentials(at, "REGISTER", "sip:uc.test", (struct login){ user, password }, user, more);
	return expect_response(&w, 200, at);
}

static void who_registers_is_challenged_and_then_bound(void **state)
{
	(void)state;
	begin();
	struct sent s = do_register(ALICE, "alice", "secret",
				    "Contact: <sip:alice@192.0.2.1>;expires=600\r\n");
	assert_string_equal(sent_value(&s, SIP_H_CONTACT, 0), "<sip:alice@192.0.2.1>;expires=600");
	sent_free(&s);
	assert_int_equal(sip_location_count(location), 1);
	s = do_register(ALICE, "alice", "secret", "Contact: <sip:alice@192.0.2.1>\r\nExpires: 0\r\n");
	assert_string_equal(sent_value(&s, SIP_H_CONTACT, 0), "");
	sent_free(&s);
	assert_int_equal(sip_location_count(location), 0);
	end();
}

static void a_call_finds_the_registered_one(void **state)
{
	(void)state;
	begin();
	struct sent s = do_register("tcp:192.0.2.20:40000", "bob", "hush",
				    "Contact: <sip:bob@10.0.0.5:5060;transport=tcp>\r\n");
	sent_free(&s);
	send_as(STRANGER, "OPTIONS", "sip:bob@uc.test", "carol@elsewhere.test>;x=<sip:y", "bob", "");
	world_forget(&w);
	say(&w, STRANGER,
	    "MESSAGE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK-s\r\nMax-Forwards: 7\r\n"
	    "From: <sip:carol@elsewhere.test>;tag=1\r\nTo: <sip:bob@uc.test>\r\nCall-ID: s1\r\nCSeq: 1 MESSAGE\r\n"
	    "P-Asserted-Identity: <sip:boss@uc.test>\r\nContent-Length: 0\r\n\r\n");
	s = expect_request(&w, "MESSAGE", "tcp:192.0.2.20:40000"); /* by the connection, not to 10.0.0.5 */
	assert_true(sent_has(&s, "MESSAGE sip:bob@10.0.0.5:5060;transport=tcp SIP/2.0\r\n"));
	assert_string_equal(sent_value(&s, SIP_H_P_ASSERTED_IDENTITY, 0), "");
	sent_free(&s);
	end();
}

/* A registered place that is a listener of ours: the request would come in again, by sip.lan as from the own network, and leave
 * by our routes. Whatever the account's holder has written (Path, maddr, a name), his other places are called and this one is not. */
static void a_registered_place_that_leads_back_to_us_is_not_used(void **state)
{
	static const struct {
		const char *at, *contact;
	} rows[] = {
		{ BOB, "Contact: <sip:00491@gateway.test>\r\nPath: <sip:10.0.0.100;lr>\r\n" },
		{ BOB, "Contact: <sip:00491@gateway.test>\r\nPath: <sip:ours.test:5060;lr>, <sip:192.0.2.30;lr>\r\n" },
		{ BOB, "Contact: <sip:bob@192.0.2.20;maddr=10.0.0.100>\r\n" },
		{ BOB, "Contact: <sip:bob@192.0.2.20;maddr=192.0.2.100;transport=tcp>\r\n" },
		{ "tcp:192.0.2.20:40000", "Contact: <sip:00491@10.0.0.100>\r\n" }, /* its connection is gone */
	};
	struct sent s;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (unsigned other = 0; other < 2; other++) {
			begin();
			w.dead_conn = 40000;
			w.names[0].name = "ours.test";
			w.names[0].at[0] = "udp:10.0.0.100:5060";
			s = do_register(rows[i].at, "bob", "hush", rows[i].contact);
			sent_free(&s);
			if (other) {
				s = do_register(BOB, "bob", "hush",
						"Contact: <sip:bob@192.0.2.20>;q=0.5\r\n");
				sent_free(&s);
			}
			say(&w, STRANGER,
			    "MESSAGE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK-s\r\nMax-Forwards: 7\r\n"
			    "From: <sip:carol@elsewhere.test>;tag=1\r\nTo: <sip:bob@uc.test>\r\nCall-ID: s1\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n");
			if (w.n_lookups)
				answer_lookup(&w, w.n_lookups - 1, true);
			if (other) {
				s = expect_request(&w, "MESSAGE", BOB);
				assert_true(sent_has(&s, "MESSAGE sip:bob@192.0.2.20 SIP/2.0\r\n"));
				sent_free(&s);
			} else {
				expect_and_free(&w, 482, STRANGER);
				assert_int_equal(w.refused, SIP_REFUSE_LOOP);
			}
			expect_nothing(&w);
			end();
		}
}

static void who_is_not_there_is_offline_or_unknown(void **state)
{
	(void)state;
	begin();
	say(&w, STRANGER,
	    "MESSAGE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK-1\r\nMax-Forwards: 7\r\n"
	    "From: <sip:carol@elsewhere.test>;tag=1\r\nTo: <sip:bob@uc.test>\r\nCall-ID: s1\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n");
	expect_and_free(&w, 480, STRANGER);
	say(&w, STRANGER,
	    "MESSAGE sip:nobody@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK-2\r\nMax-Forwards: 7\r\n"
	    "From: <sip:carol@elsewhere.test>;tag=1\r\nTo: <sip:nobody@uc.test>\r\nCall-ID: s2\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n");
	expect_and_free(&w, 404, STRANGER);
	end();
}

static void one_of_ours_must_prove_it_and_the_proof_stays_here(void **state)
{
	(void)state;
	begin();
	struct sent s = do_register(BOB, "bob", "hush", "Contact: <sip:bob@192.0.2.20>\r\n");
	sent_free(&s);
	with_credentials(ALICE, "MESSAGE", "sip:bob@uc.test", (struct login){ "alice", "secret" },
			 "bob", "");
	s = expect_request(&w, "MESSAGE", BOB);
	assert_string_equal(sent_value(&s, SIP_H_PROXY_AUTHORIZATION, 0), "");
	/* and nobody else may ask for it */
	reply(&w, BOB, &s, 407, "b", "Proxy-Authenticate: Digest realm=\"uc.test\", nonce=\"evil\"\n");
	sent_free(&s);
	s = expect_response(&w, 403, ALICE);
	assert_string_equal(sent_value(&s, SIP_H_PROXY_AUTHENTICATE, 0), "");
	sent_free(&s);
	end();
}

static void another_ones_address_is_not_for_sale(void **state)
{
	(void)state;
	begin();
	with_credentials(ALICE, "REGISTER", "sip:uc.test", (struct login){ "alice", "secret" },
			 "bob", "Contact: <sip:alice@192.0.2.1>\r\n");
	expect_and_free(&w, 403, ALICE);
	assert_int_equal(sip_location_count(location), 0);
	end();
}

static void who_guesses_waits(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < 5; i++) {
		with_credentials(ALICE, "REGISTER", "sip:uc.test",
				 (struct login){ "alice", "wrong" }, "alice", "");
		expect_and_free(&w, 403, ALICE);
		assert_int_equal(w.refused, SIP_REFUSE_CREDENTIAL);
	}
	with_credentials(ALICE, "REGISTER", "sip:uc.test", (struct login){ "alice", "secret" },
			 "alice", "");
	expect_and_free(&w, 403, ALICE); /* not even the right one, for a while */
	assert_int_equal(w.refused, SIP_REFUSE_BACKOFF);
	struct sent s = do_register(BOB, "bob", "hush", ""); /* others are not concerned */
	sent_free(&s);
	world_wait(&w, 5000);
	s = do_register(ALICE, "alice", "secret", "");
	sent_free(&s);
	end();
}

/* Names that nobody has, and no password: whatever becomes of it, nothing of others may go with it. */
static void name_anybody(const char *at, unsigned n)
{
	char line[128];
	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(line, sizeof line,
			       "Authorization: Digest realm=\"uc.test\", username=\"x%u\"\r\n", i);
		send_as(at, "REGISTER", "sip:uc.test", "x", "x", line);
		world_forget(&w);
	}
}

static void who_waits_does_not_wait_less_for_what_he_or_others_send_meanwhile(void **state)
{
	static const struct login right = { "alice", "secret" };
	char at[64], user[16];
	(void)state;
	begin();
	for (unsigned i = 0; i < 5; i++) {
		with_credentials(ALICE, "REGISTER", "sip:uc.test",
				 (struct login){ "alice", "wrong" }, "alice", "");
		expect_and_free(&w, 403, ALICE);
	}
	name_anybody(ALICE, 30000);
	with_credentials(ALICE, "REGISTER", "sip:uc.test", right, "alice", "");
	expect_and_free(&w, 403, ALICE);
	assert_int_equal(w.refused, SIP_REFUSE_BACKOFF);
	for (unsigned i = 0; i < 6000; i++) { /* more than the table holds, each from elsewhere */
		(void)snprintf(at, sizeof at, "tcp:[2001:db8:0:%x::1]:5060", i);
		(void)snprintf(user, sizeof user, "x%u", i);
		with_credentials(at, "REGISTER", "sip:uc.test", (struct login){ user, "guess" },
				 user, "");
		expect_and_free(&w, 403, at);
		assert_int_equal(w.refused, SIP_REFUSE_CREDENTIAL);
	}
	with_credentials(ALICE, "REGISTER", "sip:uc.test", right, "alice", "");
	expect_and_free(&w, 403, ALICE);
	assert_int_equal(w.refused, SIP_REFUSE_BACKOFF);
	world_wait(&w, 1000);
	struct sent s = do_register(ALICE, "alice", "secret", "");
	sent_free(&s);
	end();
}

static void limits_and_bad_contacts_are_said(void **state)
{
	(void)state;
	begin();
	with_credentials(ALICE, "REGISTER", "sip:uc.test", (struct login){ "alice", "secret" },
			 "alice", "Contact: <sip:a@192.0.2.1>;expires=5\r\n");
	struct sent s = expect_response(&w, 423, ALICE);
	assert_string_equal(sent_value(&s, SIP_H_MIN_EXPIRES, 0), "60");
	sent_free(&s);
	with_credentials(ALICE, "REGISTER", "sip:uc.test", (struct login){ "alice", "secret" },
			 "alice", "Contact: <mailto:a@b>\r\n");
	expect_and_free(&w, 400, ALICE);
	with_credentials(ALICE, "REGISTER", "sip:uc.test", (struct login){ "alice", "secret" },
			 "alice", "Contact: *\r\n");
	expect_and_free(&w, 400, ALICE);
	with_credentials(
		ALICE, "REGISTER", "sip:uc.test", (struct login){ "alice", "secret" }, "alice",
		"Contact: <sip:a@192.0.2.1>, <sip:b@192.0.2.1>, <sip:c@192.0.2.1>, <sip:d@192.0.2.1>\r\n");
	expect_and_free(&w, 403, ALICE);
	assert_int_equal(sip_location_count(location), 0); /* none of them, not some (RFC 3261 10.3) */
	s = do_register(ALICE, "alice", "secret",
			"Contact: <sip:a@192.0.2.1>, <sip:b@192.0.2.1>, <sip:c@192.0.2.1>\r\n");
	sent_free(&s);
	assert_int_equal(sip_location_count(location), 3);
	s = do_register(ALICE, "alice", "secret",
			"Contact: <sip:a@192.0.2.1>;expires=0, <sip:d@192.0.2.1>;q=0.5\r\n"); /* one goes, one comes */
	sent_free(&s);
	assert_int_equal(sip_location_count(location), 3);
	cseq -= 3; /* a REGISTER of before, late */
	with_credentials(ALICE, "REGISTER", "sip:uc.test", (struct login){ "alice", "secret" }, "alice",
			 "Contact: *\r\nExpires: 0\r\n");
	expect_and_free(&w, 500, ALICE);
	assert_int_equal(sip_location_count(location), 3);
	cseq += 3;
	s = do_register(ALICE, "alice", "secret", "Contact: *\r\nExpires: 0\r\n");
	sent_free(&s);
	assert_int_equal(sip_location_count(location), 0);
	end();
}

static void outbound_flows_are_one_device_and_a_dead_one_is_430(void **state)
{
	const char *contact =
		"Supported: outbound, path\r\nContact: <sip:bob@10.0.0.5;ob>;+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\n";
	(void)state;
	begin();
	struct sent s = do_register("tcp:192.0.2.20:40000", "bob", "hush", contact);
	assert_string_equal(sent_value(&s, SIP_H_REQUIRE, 0), "outbound");
	sent_free(&s);
	s = do_register("tcp:192.0.2.20:40001", "bob", "hush",
			contact); /* the same device, over another connection */
	sent_free(&s);
	assert_int_equal(sip_location_count(location), 1);
	w.dead_conn = 40001;
	say(&w, STRANGER,
	    "MESSAGE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK-1\r\nMax-Forwards: 7\r\n"
	    "From: <sip:carol@elsewhere.test>;tag=1\r\nTo: <sip:bob@uc.test>\r\nCall-ID: s1\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n");
	expect_and_free(&w, 430, STRANGER);
	end();
}

static void call_bob_by_message(const char *branch)
{
	char text[1024];
	(void)snprintf(text, sizeof text,
		       "MESSAGE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK-%s\r\nMax-Forwards: 7\r\n"
		       "From: <sip:carol@elsewhere.test>;tag=1\r\nTo: <sip:bob@uc.test>\r\nCall-ID: %s\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n",
		       branch, branch);
	say(&w, STRANGER, text);
}

/* It has moved, or was started anew, and says so by its instance alone. */
static void of_two_contacts_of_one_device_the_newer_is_called_first(void **state)
{
	static const char more[] = "Contact: <sip:bob@%s>;+sip.instance=\"<urn:uuid:1>\"\r\n";
	char contact[128];
	(void)state;
	begin();
	(void)snprintf(contact, sizeof contact, more, "10.0.0.5");
	struct sent s = do_register("udp:192.0.2.20:5060", "bob", "hush", contact);
	sent_free(&s);
	(void)snprintf(contact, sizeof contact, more, "10.0.0.6");
	s = do_register("udp:192.0.2.30:5060", "bob", "hush", contact);
	sent_free(&s);
	assert_int_equal(sip_location_count(location), 2);
	call_bob_by_message("newer");
	s = expect_request(&w, "MESSAGE", "udp:192.0.2.30:5060");
	sent_free(&s);
	expect_nothing(&w);
	/* one with a flow comes before one without, however new */
	(void)snprintf(contact, sizeof contact, more, "gone.invalid");
	s = do_register("tcp:192.0.2.40:40000", "bob", "hush", contact);
	sent_free(&s);
	w.dead_conn = 40000;
	call_bob_by_message("flow");
	s = expect_request(&w, "MESSAGE", "udp:192.0.2.30:5060");
	sent_free(&s);
	end();
}

/* A telephone in a browser: another instance and connection with each reload of its page. */
static void connections_that_are_gone_make_way_for_new_ones(void **state)
{
	char at[32], more[256];
	(void)state;
	begin();
	for (unsigned i = 0; i < 6; i++) {
		(void)snprintf(at, sizeof at, "tcp:192.0.2.20:%u", 40000 + i);
		(void)snprintf(more, sizeof more,
			       "Supported: outbound, path\r\nContact: <sip:bob@10.0.0.5:%u>;+sip.instance=\"<urn:uuid:%u>\";reg-id=1\r\n", 5060 + i, i);
		w.dead_conn = i >= 3 ? 40000 + i - 1 : 0; /* there is room for three, and the one before is gone */
		struct sent s = do_register(at, "bob", "hush", more);
		sent_free(&s);
	}
	end();
}

static const char stranger_head[] = "Max-Forwards: 7\r\nFrom: <sip:carol@elsewhere.test>;tag=1\r\nCall-ID: nat\r\n";

/* bob registers from behind his NAT, and a stranger calls him: INVITE … 200, and the routes that it left. */
static void call_bob(char *routes, size_t cap)
{
	char text[2048];
	struct sent s = do_register("tcp:192.0.2.20:40000", "bob", "hush",
				    "Contact: <sip:bob@10.0.0.5:5060;transport=tcp>\r\n");
	sent_free(&s);
	(void)snprintf(text, sizeof text,
		       "INVITE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK-i\r\n%s"
		       "To: <sip:bob@uc.test>\r\nCSeq: 1 INVITE\r\nContact: <sip:c@198.51.100.7>\r\nContent-Length: 0\r\n\r\n",
		       stranger_head);
	say(&w, STRANGER, text);
	s = expect_request(&w, "INVITE", "tcp:192.0.2.20:40000");
	sent_routes(&s, true, routes, cap);
	reply(&w, "tcp:192.0.2.20:40000", &s, 200, "b", "Contact: <sip:bob@10.0.0.5:5060;transport=tcp>\n");
	sent_free(&s);
	expect_and_free(&w, 200, STRANGER);
}

static void say_in_dialog(const char *method, unsigned number, const char *routes, const char *more)
{
	char text[4096];
	(void)snprintf(text, sizeof text,
		       "%s sip:bob@10.0.0.5:5060;transport=tcp SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK-%s\r\n%s"
		       "To: <sip:bob@uc.test>;tag=b\r\nCSeq: %u %s\r\n%s%sContent-Length: 0\r\n\r\n",
		       method, method, stranger_head, number, method, routes, more);
	say(&w, STRANGER, text);
}

static void what_follows_in_a_call_reaches_a_callee_behind_nat_by_his_flow(void **state)
{
	char routes[2048];
	struct sent s;
	(void)state;
	begin();
	call_bob(routes, sizeof routes);
	/* An ACK carries the credentials of its INVITE, and they stay here. */
	say_in_dialog("ACK", 1, routes,
		      "Proxy-Authorization: Digest username=\"carol\", realm=\"uc.test\", nonce=\"n\", uri=\"sip:x\", response=\"0\"\r\n");
	s = expect_request(&w, "ACK", "tcp:192.0.2.20:40000");
	assert_string_equal(sent_value(&s, SIP_H_PROXY_AUTHORIZATION, 0), "");
	sent_free(&s);
	say_in_dialog("BYE", 2, routes, "");
	s = expect_request(&w, "BYE", "tcp:192.0.2.20:40000");
	sent_free(&s);
	w.dead_conn = 40000; /* gone: not Outbound, so its address is tried */
	say_in_dialog("INFO", 3, routes, "");
	s = expect_request(&w, "INFO", "tcp:10.0.0.5:5060");
	sent_free(&s);
	end();
}

static void nobody_else_asks_our_users_for_credentials(void **state)
{
	static const char foreign[] = "Proxy-Authenticate: Digest realm=\"evil.test\", nonce=\"evil\"\n";
	char routes[2048];
	struct sent s;
	(void)state;
	begin();
	call_bob(routes, sizeof routes);
	say_in_dialog("INFO", 2, routes, "");
	s = expect_request(&w, "INFO", "tcp:192.0.2.20:40000");
	reply(&w, "tcp:192.0.2.20:40000", &s, 407, "b", foreign);
	sent_free(&s);
	s = expect_response(&w, 403, STRANGER);
	assert_string_equal(sent_value(&s, SIP_H_PROXY_AUTHENTICATE, 0), "");
	sent_free(&s);
	/* From the own side it passes. */
	s = do_register("udp:10.0.0.7:5060", "bob", "hush", "Contact: <sip:bob@10.0.0.7>;q=1, <sip:bob@10.0.0.5:5060;transport=tcp>;expires=0\r\n");
	sent_free(&s);
	say(&w, STRANGER,
	    "MESSAGE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK-m\r\nMax-Forwards: 7\r\n"
	    "From: <sip:carol@elsewhere.test>;tag=1\r\nTo: <sip:bob@uc.test>\r\nCall-ID: s1\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n");
	s = expect_request(&w, "MESSAGE", "udp:10.0.0.7:5060");
	reply(&w, "udp:10.0.0.7:5060", &s, 407, "b", foreign);
	sent_free(&s);
	expect_and_free(&w, 407, STRANGER);
	end();
}

/* Whoever registers at a UC server through us knows the Path of it: it leads to his own flow, and is no way past the server that
 * would have asked who he is. */
static void a_path_leads_to_its_flow_and_to_nobody_else(void **state)
{
	static const char from[] = "tcp:198.51.100.7:41000";
	struct sip_token t = { .flags = SIP_TOKEN_PATH | SIP_TOKEN_FLOW | SIP_TOKEN_STRICT, .hop = hop_of(from) };
	char token[SIP_TOKEN_MAX], text[2048];
	struct sent s;
	(void)state;
	begin();
	s = do_register(BOB, "bob", "hush", "Contact: <sip:bob@192.0.2.20>\r\n");
	sent_free(&s);
	assert_int_equal(sip_token_make(&w.o.token_key, &t, (struct text){ 0 }, (struct text){ 0 }, token), 0);
	(void)snprintf(text, sizeof text,
		       "MESSAGE sip:bob@uc.test SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.7;branch=z9hG4bK-p\r\nMax-Forwards: 7\r\n"
		       "Route: <sip:%s@192.0.2.100;lr>\r\nFrom: <sip:boss@uc.test>;tag=1\r\nTo: <sip:bob@uc.test>\r\nCall-ID: p1\r\n"
		       "CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n",
		       token);
	say(&w, from, text);
	s = expect_request(&w, "MESSAGE", from);
	sent_free(&s);
	expect_nothing(&w);
	end();
}

static void a_user_is_not_locked_out_by_others_who_guess(void **state)
{
	static const char user_from[] = "udp:192.0.2.77:5060";
	char at[64];
	(void)state;
	begin();
	struct sent s = do_register(user_from, "alice", "secret", "");
	sent_free(&s);
	name_anybody(STRANGER, 15000);
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(at, sizeof at, "udp:198.51.100.%u:5060", 10 + i);
		with_credentials(at, "REGISTER", "sip:uc.test", (struct login){ "alice", "guess" }, "alice", "");
		expect_and_free(&w, 403, at);
	}
	assert_int_equal(w.refused, SIP_REFUSE_BACKOFF); /* from wherever it is tried */
	s = do_register(user_from, "alice", "secret", ""); /* but not from where it is right */
	sent_free(&s);
	end();
}

/* A datagram's source may be forged; who has not returned what we sent there has not been seen there. */
static void a_user_is_not_locked_out_by_who_forges_his_address(void **state)
{
	static const char user_from[] = "udp:192.0.2.77:5060";
	static const char *const forged[] = {
		"username=\"alice\"",
		"username=\"alice\", algorithm=SHA-1",
		"username=\"alice\", nonce=\"n\", uri=\"sip:uc.test\", response=\"0\", qop=auth",
	};
	char line[256];
	(void)state;
	begin();
	struct sent s = do_register(user_from, "alice", "secret", "");
	sent_free(&s);
	for (unsigned i = 0; i < 30; i++) {
		(void)snprintf(line, sizeof line, "Authorization: Digest realm=\"uc.test\", %s\r\n",
			       forged[i % 3]);
		send_as(user_from, "REGISTER", "sip:uc.test", "alice", "alice", line);
		expect_and_free(&w, 401, user_from);
	}
	s = do_register(user_from, "alice", "secret", "");
	sent_free(&s);
	end();
}

static void an_own_account_is_no_way_to_go_on_guessing_and_a_64_is_one_source(void **state)
{
	char at[64];
	bool waits = false;
	(void)state;
	begin();
	for (unsigned i = 0; i < 30; i++) {
		(void)snprintf(at, sizeof at, "tcp:[2001:db8::%x]:5060", 1 + i);
		if (i % 3 == 2) { /* his own */
			with_credentials(at, "REGISTER", "sip:uc.test", (struct login){ "bob", "hush" }, "bob", "");
		} else {
			char user[16];
			(void)snprintf(user, sizeof user, "u%u", i);
			with_credentials(at, "REGISTER", "sip:uc.test", (struct login){ user, "guess" }, user, "");
		}
		world_forget(&w);
		waits |= w.refused == SIP_REFUSE_BACKOFF;
	}
	assert_true(waits);
	end();
}

static void a_registration_through_another_proxy_needs_one_that_keeps_the_flow(void **state)
{
	static const char contact[] =
		"Supported: outbound, path\r\nContact: <sip:bob@10.0.0.5>;+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\n"
		"Via: SIP/2.0/TCP 10.0.0.5;branch=z9hG4bK-c\r\n";
	char more[512];
	struct sent s;
	(void)state;
	begin();
	with_credentials(BOB, "REGISTER", "sip:uc.test", (struct login){ "bob", "hush" }, "bob",
			 contact);
	expect_and_free(&w, 439, BOB);
	(void)snprintf(more, sizeof more, "%sPath: <sip:second.test;lr>, <sip:edge.test;lr>\r\n",
		       contact);
	with_credentials(BOB, "REGISTER", "sip:uc.test", (struct login){ "bob", "hush" }, "bob", more);
	expect_and_free(&w, 439, BOB);
	(void)snprintf(more, sizeof more,
		       "%sPath: <sip:second.test;lr>, <sip:token@192.0.2.30;lr;ob>\r\n", contact);
	s = do_register(BOB, "bob", "hush", more);
	assert_string_equal(sent_value(&s, SIP_H_REQUIRE, 0), "outbound");
	assert_string_equal(sent_value(&s, SIP_H_PATH, 1), "<sip:token@192.0.2.30;lr;ob>");
	sent_free(&s);
	s = do_register(BOB, "bob", "hush", more); /* the same device and flow: one binding */
	sent_free(&s);
	assert_int_equal(sip_location_count(location), 1);
	with_credentials(BOB, "REGISTER", "sip:uc.test", (struct login){ "bob", "hush" }, "bob",
			 "Require: path, magic\r\nContact: <sip:bob@192.0.2.20>\r\n");
	s = expect_response(&w, 420, BOB);
	assert_string_equal(sent_value(&s, SIP_H_UNSUPPORTED, 0), "magic");
	sent_free(&s);
	end();
}

static void bindings_end_at_their_time(void **state)
{
	unsigned n;
	(void)state;
	begin();
	struct sent s = do_register(ALICE, "alice", "secret",
				    "Contact: <sip:alice@192.0.2.1>;expires=60\r\n");
	sent_free(&s);
	assert_non_null(sip_location_find(location, "alice@uc.test", w.now + 59000, &n));
	assert_int_equal(n, 1);
	sip_location_find(location, "alice@uc.test", w.now + 60000, &n);
	assert_int_equal(n, 0);
	s = do_register(ALICE, "alice", "secret", "Contact: <sip:alice@192.0.2.1>;expires=60\r\n");
	sent_free(&s);
	timers_run(timers, w.now + 200000); /* nobody looks: the sweep takes it */
	assert_int_equal(sip_location_count(location), 0);
	end();
}

static void contacts_and_paths_that_cannot_be_kept_are_400(void **state)
{
	static const char *const bad[] = {
		"Contact: <tel:+4930123>\r\n", "Contact: <sip:a@192.0.2.1?Subject=x>\r\n", "Contact: <sip:a@192.0.2.1>;q=2\r\n",
		"Contact: <sip:a@192.0.2.1>;+sip.instance=\"<urn:x>\";reg-id=0\r\n", "Contact: <sip:a@192.0.2.1>;reg-id=x\r\n",
		"Contact: <sip:a@192.0.2.1>\r\nPath: sip:edge.test;lr\r\n", "Contact: *, <sip:a@192.0.2.1>\r\nExpires: 0\r\n",
		"Contact: *\r\nExpires: 60\r\n",
	};
	static const struct login alice = { "alice", "secret" };
	char more[2000], *at = more;
	(void)state;
	begin();
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		with_credentials(ALICE, "REGISTER", "sip:uc.test", alice, "alice", bad[i]);
		expect_and_free(&w, 400, ALICE);
	}
	(void)snprintf(more, sizeof more, "Contact: <sip:a@192.0.2.1>;+sip.instance=\"<%0300d>\"\r\n", 0);
	with_credentials(ALICE, "REGISTER", "sip:uc.test", alice, "alice", more);
	expect_and_free(&w, 400, ALICE);
	for (unsigned i = 0; i < 17; i++) /* more than any device has */
		at += snprintf(at, sizeof more - (size_t)(at - more), "Contact: <sip:a%u@192.0.2.1>\r\n", i);
	with_credentials(ALICE, "REGISTER", "sip:uc.test", alice, "alice", more);
	expect_and_free(&w, 403, ALICE);
	assert_int_equal(sip_location_count(location), 0);
	struct sent s = do_register(ALICE, "alice", "secret", "Contact: <sip:a@192.0.2.1>;expires=soon\r\n"); /* RFC 3261 20.19: as if absent */
	assert_non_null(strstr(sent_value(&s, SIP_H_CONTACT, 0), ";expires=3600"));
	sent_free(&s);
	say(&w, ALICE,
	    "REGISTER sip:uc.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-else\r\nMax-Forwards: 70\r\nFrom: <sip:alice@uc.test>;tag=f\r\n"
	    "To: <sip:alice@elsewhere.test>\r\nCall-ID: e\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@192.0.2.1>\r\nContent-Length: 0\r\n\r\n");
	expect_and_free(&w, 404, ALICE);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_registers_is_challenged_and_then_bound),
		cmocka_unit_test(a_call_finds_the_registered_one),
		cmocka_unit_test(a_registered_place_that_leads_back_to_us_is_not_used),
		cmocka_unit_test(who_is_not_there_is_offline_or_unknown),
		cmocka_unit_test(one_of_ours_must_prove_it_and_the_proof_stays_here),
		cmocka_unit_test(another_ones_address_is_not_for_sale),
		cmocka_unit_test(who_guesses_waits),
		cmocka_unit_test(who_waits_does_not_wait_less_for_what_he_or_others_send_meanwhile),
		cmocka_unit_test(limits_and_bad_contacts_are_said),
		cmocka_unit_test(outbound_flows_are_one_device_and_a_dead_one_is_430),
		cmocka_unit_test(of_two_contacts_of_one_device_the_newer_is_called_first),
		cmocka_unit_test(connections_that_are_gone_make_way_for_new_ones),
		cmocka_unit_test(what_follows_in_a_call_reaches_a_callee_behind_nat_by_his_flow),
		cmocka_unit_test(nobody_else_asks_our_users_for_credentials),
		cmocka_unit_test(a_path_leads_to_its_flow_and_to_nobody_else),
		cmocka_unit_test(a_user_is_not_locked_out_by_others_who_guess),
		cmocka_unit_test(a_user_is_not_locked_out_by_who_forges_his_address),
		cmocka_unit_test(an_own_account_is_no_way_to_go_on_guessing_and_a_64_is_one_source),
		cmocka_unit_test(a_registration_through_another_proxy_needs_one_that_keeps_the_flow),
		cmocka_unit_test(bindings_end_at_their_time),
		cmocka_unit_test(contacts_and_paths_that_cannot_be_kept_are_400),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
