/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UC servers on fake time (sip-proxy/mesh_servers.c, mesh_health.c): how they log on and off, what a Contact may say, who is known by
 * what, and how their ends and returns are seen. uc-a and uc-b log on from their addresses, uc-n by the name of its certificate, uc-p by
 * its password, uc-f need not: it is in the configuration. Real ones are in tests/sip/mesh.py.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sip-proxy/mesh_priv.h"
#include "tests/scenario/sip_world.h"

#define A "udp:10.0.0.21:5060"
#define A_TCP "tcp:10.0.0.21:40000"
#define B "udp:10.0.0.22:5060"
#define F "udp:10.0.0.40:5060"
#define ELSEWHERE "udp:10.0.9.9:5060"

enum { UC_A, UC_B, UC_N, UC_P, UC_F, SERVERS };

static struct world w;
static struct sip_edge_ops ops;
static struct sip_mesh *mesh;
static struct sip_registrar *registrar;
static struct sip_location *location;
static struct timers *timers; /* the mesh's */
static struct sip_hook rows[2];
static const struct sip_hook *chain[] = { &rows[0], &rows[1] };
static struct prefix near[1], pair[1], trusted[1];
static unsigned changes;
static bool was_trusted; /* the last request */
static char contact[512], least[64]; /* of the last answer */
static struct sip_interface faces[8];

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
	(void)aor;
	return false;
}

static uint32_t lan_interface(void *arg, enum sip_proto proto, bool mutual)
{
	(void)arg;
	return proto == SIP_UDP ? 4 : proto == SIP_TCP ? 2 : mutual ? 5 : 3;
}

static void on_changed(void *arg, const char *user)
{
	(void)arg;
	(void)user;
	changes++;
}

static struct text no_password(void *arg, const char *aor)
{
	(void)arg;
	(void)aor;
	return (struct text){ 0 };
}

/* All of them are in the LAN. */
static const struct sip_interface *interface(void *edge, uint32_t id)
{
	const struct sip_interface *f = w.o.ops->interface(edge, id);

	if (!f || id >= ARRAY_LEN(faces))
		return NULL;
	faces[id] = *f;
	faces[id].lan = true;
	return &faces[id];
}

static enum sip_step look(struct sip_passage *p, void *arg)
{
	(void)arg;
	was_trusted = p->trusted;
	return SIP_GO_ON;
}

static bool uc_f_has_addresses = true;

static void configure(size_t n)
{
	static char a[] = "uc-a", b[] = "uc-b", name[] = "uc-n", secret[] = "uc-p", fixed[] = "uc-f", password[] = "secret", cert[] = "n.test",
		    at[] = "sip:10.0.0.40:5060";
	static struct sip_server_section servers[SERVERS] = {
		[UC_A] = { .user = a, .addresses = { near, 1 }, .weight = 100 },
		[UC_B] = { .user = b, .addresses = { near, 1 }, .weight = 100 },
		[UC_N] = { .user = name, .certificate_name = cert, .weight = 100 },
		[UC_P] = { .user = secret, .password = password, .weight = 100 },
		[UC_F] = { .user = fixed, .contact = at, .addresses = { pair, 1 }, .weight = 100 },
	};
	const struct sip_config c = { .lan = { .servers = { servers, n }, .remember_ms = 600000, .ask_ms = 2000 },
				      .sources = { .trusted = { trusted, 1 } } };

	servers[UC_F].addresses.n = uc_f_has_addresses;
	assert_int_equal(sip_mesh_configure(mesh, &c), 0);
}

static void begin(void)
{
	world_init(&w);
	ops = *w.o.ops;
	ops.interface = interface;
	timers = timers_new(w.now);
	changes = 0;
	assert_int_equal(prefix_parse(TEXT("10.0.0.0/24"), &near[0]), 0);
	assert_int_equal(prefix_parse(TEXT("10.0.0.40/31"), &pair[0]), 0);
	assert_int_equal(prefix_parse(TEXT("10.0.0.90/32"), &trusted[0]), 0);
	assert_int_equal(sip_location_new(&(struct sip_location_options){ .timers = timers, .seed = { 5, 6 }, .per_aor = 3 }, &location), 0);
	assert_int_equal(sip_registrar_new(&(struct sip_registrar_options){ .location = location, .password = no_password,
									    .is_domain = domain_is_ours, .ops = &ops, .edge = &w,
									    .seed = { 7, 8 }, .now = w.now }, &registrar), 0);
	assert_int_equal(sip_mesh_new(&(struct sip_mesh_options){ .timers = timers, .now = now_of, .ops = &ops, .edge = &w, .registrar = registrar,
								  .seed = { 1, 2 }, .is_domain = domain_is_ours, .is_local = is_local,
								  .lan_interface = lan_interface, .changed = on_changed }, &mesh), 0);
	configure(SERVERS);
	rows[0] = (struct sip_hook){ "servers", SIP_STAGE_IDENTITY, sip_servers_request, NULL, mesh };
	rows[1] = (struct sip_hook){ "look", SIP_STAGE_IDENTITY, look, NULL, NULL };
	w.o.hooks = chain;
	w.o.n_hooks = ARRAY_LEN(chain);
	world_start(&w);
	sip_mesh_set_core(mesh, w.px);
}

static void end(void)
{
	sip_mesh_set_core(mesh, NULL);
	mesh = sip_mesh_free(mesh);
	registrar = sip_registrar_free(registrar);
	location = sip_location_free(location);
	timers = timers_free(timers);
	world_forget(&w);
	world_stop(&w);
}

static void pass(uint64_t ms)
{
	for (uint64_t done = 0; done < ms; done += 100) {
		world_wait(&w, 100);
		timers_run(timers, w.now);
	}
}

static unsigned number;

static void ask(const char *at, const char *method, const char *user, const char *more)
{
	static char text[2048];

	number++;
	(void)snprintf(text, sizeof text,
		       "%s sip:uc.test SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK-s%u\r\nMax-Forwards: 70\r\nFrom: <sip:%s@uc.test>;tag=f\r\n"
		       "To: <sip:%s@uc.test>\r\nCall-ID: s%u\r\nCSeq: 1 %s\r\n%sContent-Length: 0\r\n\r\n",
		       method, strncmp(at, "udp", 3) == 0 ? "UDP" : strncmp(at, "tcp", 3) == 0 ? "TCP" : "TLS", at + 4, number, user, user, number,
		       method, more);
	say(&w, at, text);
}

/* The code of its answer. */
static unsigned log_on(const char *at, const char *user, const char *more)
{
	unsigned code = 0;
	struct sent s;

	world_forget(&w);
	ask(at, "REGISTER", user, more);
	while (take(&w, &s)) {
		if (strncmp(s.bytes, "SIP/2.0 ", 8) == 0) {
			code = (unsigned)atoi(s.bytes + 8);
			(void)snprintf(contact, sizeof contact, "%s", sent_value(&s, SIP_H_CONTACT, 0));
			(void)snprintf(least, sizeof least, "%s", sent_has(&s, "\r\nMin-Expires: 30\r\n") ? "30" : "");
		}
		sent_free(&s);
	}
	return code;
}

/* An OPTIONS to this place, if one has left: it is answered, if there is a code. Who is not waited for any more is still repeated; an
 * answer to that is nothing. */
static bool asked(const char *at, unsigned code)
{
	struct sip_hop h = hop_of(at);
	bool found = false;
	struct sent s;

	while (take(&w, &s)) {
		if (strncmp(s.bytes, "OPTIONS ", 8) == 0 && s.to.hop.proto == h.proto && addr_equal(&s.to.hop.remote, &h.remote)) {
			found = true;
			if (code) {
				reply(&w, at, &s, 100, NULL, NULL); /* no answer yet */
				reply(&w, at, &s, code, "u", NULL);
			}
		}
		sent_free(&s);
	}
	return found;
}

static bool asked_at(const char *at)
{
	return asked(at, 0);
}

static void answer(const char *at)
{
	assert_true(asked(at, 200));
}

static struct mesh_server *known_at(const char *at)
{
	struct sip_hop h = hop_of(at);

	return mesh_server_at(mesh, &h, NULL);
}

static void a_server_logs_on_asks_and_logs_off(void **state)
{
	(void)state;
	begin();
	assert_int_equal(log_on(A, "uc-a", ""), 200); /* a question */
	assert_string_equal(contact, "");
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>;expires=10\r\n"), 423);
	assert_string_equal(least, "30");
	assert_false(mesh->v[UC_A]->on);
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>;expires=300\r\n"), 200);
	assert_string_equal(contact, "<sip:10.0.0.21;transport=udp>;expires=120");
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>\r\nExpires: 60\r\n"), 200);
	assert_string_equal(contact, "<sip:10.0.0.21;transport=udp>;expires=60");
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>\r\nExpires: soon\r\n"), 200);
	assert_int_equal(log_on(A, "uc-a", ""), 200);
	assert_string_equal(contact, "<sip:10.0.0.21;transport=udp>;expires=120");
	assert_int_equal(changes, 3);
	assert_int_equal(log_on(A, "uc-a", "Contact: *\r\nExpires: 0\r\n"), 200);
	assert_string_equal(contact, "");
	assert_false(mesh->v[UC_A]->on);
	assert_int_equal(changes, 4);
	end();
}

static void who_may_not_log_on_is_refused_and_changes_nothing(void **state)
{
	static const char *const names[] = { "n.test" };
	const struct sip_identity id = { .verified = true, .n = 1, .names = names };

	(void)state;
	begin();
	assert_int_equal(log_on(ELSEWHERE, "uc-a", "Contact: <sip:uc-a@10.0.9.9>\r\n"), 403);
	assert_int_equal(log_on(A, "uc-n", "Contact: <sip:uc-n@10.0.0.21>\r\n"), 403);
	assert_int_equal(log_on("tls:10.0.0.23:40001", "uc-n", "Contact: <sip:uc-n@10.0.0.23:5061;transport=tls>\r\n"), 403);
	w.identity = &id;
	assert_int_equal(log_on("tls:10.0.0.23:40001", "uc-n", "Contact: <sip:uc-n@10.0.0.23:5061;transport=tls>\r\n"), 200);
	assert_ptr_equal(known_at("tls:10.0.0.99:40002"), mesh->v[UC_N]); /* by the same name, from wherever */
	w.identity = NULL;
	assert_int_equal(log_on(B, "uc-p", "Contact: <sip:uc-p@10.0.0.22>\r\n"), 401);
	assert_int_equal(log_on(B, "uc-p",
				"Authorization: Digest username=\"uc-p\", realm=\"uc.test\", nonce=\"old\", uri=\"sip:uc.test\", response=\"00\"\r\n"
				"Contact: <sip:uc-p@10.0.0.22>\r\n"), 401); /* asked again, with a nonce of ours */
	assert_false(mesh->v[UC_A]->on || mesh->v[UC_P]->on);
	end();
}

static void a_contact_that_is_none_leaves_the_one_of_before(void **state)
{
	static const char *const bad[] = {
		"Contact: <sip:uc-a@\r\n",
		"Contact: <tel:+4930123>\r\n",
		"Contact: <sip:uc-a@10.0.0.21;transport=sctp>\r\n",
		"Contact: <sip:uc-a@10.0.0.21;maddr=%31>\r\n",
		"Contact: <sip:uc-a@10.0.0.21;maddr=10.0.0.22:5070>\r\n",
		"Contact: <sip:uc-a@10.0.0.21;maddr=2001:db8::1>\r\n",
	};
	char longest[1024], label[260];

	(void)state;
	begin();
	assert_int_equal(log_on(A_TCP, "uc-a", "Contact: <sip:uc-a@10.0.0.21:5070;transport=tcp>\r\n"), 200);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (log_on(A, "uc-a", bad[i]) != 400)
			fail_msg("%s", bad[i]);
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.100:5060>\r\n"), 403); /* us */
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21;maddr=10.0.0.100>\r\n"), 403); /* us, too */
	memset(label, 'a', sizeof label - 1);
	label[sizeof label - 1] = 0;
	(void)snprintf(longest, sizeof longest, "Contact: <sip:uc-a@%s>\r\n", label);
	assert_int_equal(log_on(A, "uc-a", longest), 400);
	assert_string_equal(mesh->v[UC_A]->contact, "sip:10.0.0.21:5070;transport=tcp");
	assert_string_equal(mesh->v[UC_A]->host, "10.0.0.21");
	assert_int_equal(mesh->v[UC_A]->proto, SIP_TCP);
	assert_true(mesh->v[UC_A]->use_flow);
	end();
}

/* RFC 3261 16.6: what is sent to a URI with an maddr goes there. */
static void a_contact_is_where_its_maddr_says(void **state)
{
	static const char *const v[][2] = {
		{ "<sip:uc-a@uc-a.test;maddr=10.0.0.21>", "sip:10.0.0.21;transport=udp" },
		{ "<sip:uc-a@uc-a.test:5070;maddr=[2001:db8::1]>", "sip:[2001:db8::1]:5070;transport=udp" },
		{ "<sip:uc-a@[2001:db8::1];maddr=10.0.0.21>", "sip:10.0.0.21;transport=udp" },
		{ "<sip:uc-a@[2001:db8::1]:5062>", "sip:[2001:db8::1]:5062;transport=udp" },
		{ "<sips:uc-a@uc-a.test>", "sip:uc-a.test;transport=tls" },
	};
	char line[256];

	(void)state;
	begin();
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		(void)snprintf(line, sizeof line, "Contact: %s\r\n", v[i][0]);
		assert_int_equal(log_on(A, "uc-a", line), 200);
		assert_string_equal(mesh->v[UC_A]->contact, v[i][1]);
		assert_int_equal(sip_uri_parse(text_of(mesh->v[UC_A]->contact), &(struct sip_uri){ 0 }), 0);
	}
	end();
}

/* The tick comes once a second; until then it is off already. */
static void an_expired_log_on_is_over_before_the_tick_sees_it(void **state)
{
	(void)state;
	begin();
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>;expires=30\r\n"), 200);
	pass(29900);
	assert_ptr_equal(known_at(A), mesh->v[UC_A]);
	w.now += 300;
	assert_true(mesh->v[UC_A]->on); /* no tick since */
	assert_int_equal(log_on(A, "uc-a", ""), 200);
	assert_string_equal(contact, "");
	assert_null(known_at(A));
	changes = 0;
	pass(1000);
	assert_false(mesh->v[UC_A]->on);
	assert_int_equal(changes, 1);
	end();
}

static void a_server_of_the_configuration_is_there_whatever_it_says(void **state)
{
	(void)state;
	begin();
	assert_int_equal(log_on(F, "uc-f", ""), 200);
	assert_string_equal(contact, "<sip:10.0.0.40:5060;transport=udp>;expires=120"); /* no number of 20 digits */
	assert_ptr_equal(known_at(F), mesh->v[UC_F]);
	assert_ptr_equal(known_at("udp:10.0.0.41:5099"), mesh->v[UC_F]); /* one of its addresses */
	assert_null(known_at("udp:10.0.0.42:5060"));
	assert_int_equal(log_on("udp:10.0.0.41:5070", "uc-f", "Contact: <sip:uc-f@10.0.0.55:5070>;expires=60\r\n"), 200);
	assert_string_equal(mesh->v[UC_F]->contact, "sip:10.0.0.55:5070;transport=udp");
	configure(SERVERS); /* a reload: a log-on counts until it is over */
	assert_string_equal(mesh->v[UC_F]->contact, "sip:10.0.0.55:5070;transport=udp");
	pass(62000); /* it does not come again */
	assert_true(mesh_server_is_on(mesh->v[UC_F], w.now));
	assert_string_equal(mesh->v[UC_F]->contact, "sip:10.0.0.40:5060;transport=udp");
	assert_null(known_at("udp:10.0.0.55:5070"));
	assert_int_equal(log_on("udp:10.0.0.41:5070", "uc-f", "Contact: <sip:uc-f@10.0.0.55:5070>;expires=60\r\n"), 200);
	assert_int_equal(log_on("udp:10.0.0.41:5070", "uc-f", "Contact: <sip:uc-f@10.0.0.55:5070>;expires=0\r\n"), 200);
	assert_string_equal(contact, "<sip:10.0.0.40:5060;transport=udp>;expires=120");
	assert_int_equal(changes, 0); /* nothing of it is for the store */
	end();
}

/* Being in the LAN is no proof: who has nothing else in the configuration than its contact comes from there. */
static void one_without_a_proof_logs_on_from_its_contact_alone(void **state)
{
	(void)state;
	uc_f_has_addresses = false;
	begin();
	assert_int_equal(log_on(ELSEWHERE, "uc-f", "Contact: <sip:uc-f@10.0.9.9>\r\n"), 403);
	assert_string_equal(mesh->v[UC_F]->contact, "sip:10.0.0.40:5060;transport=udp");
	assert_null(known_at(ELSEWHERE));
	assert_int_equal(log_on(ELSEWHERE, "uc-f", "Contact: <sip:uc-f@10.0.0.40>\r\n"), 403);
	assert_int_equal(
		log_on("udp:10.0.0.40:5070", "uc-f", "Contact: <sip:uc-f@10.0.0.40:5070>\r\n"), 200);
	assert_string_equal(mesh->v[UC_F]->contact, "sip:10.0.0.40:5070;transport=udp");
	assert_int_equal(
		log_on("udp:10.0.0.40:5070", "uc-f", "Contact: <sip:uc-f@10.0.0.40:5070>\r\n"), 200);
	/* By name it is known where it is as soon as it has answered. */
	(void)snprintf(mesh->v[UC_F]->fixed, sizeof mesh->v[UC_F]->fixed, "sip:f.test;transport=udp");
	assert_int_equal(log_on(ELSEWHERE, "uc-f", "Contact: <sip:uc-f@10.0.9.9>\r\n"), 403);
	mesh->v[UC_F]->seen = hop_of(ELSEWHERE).remote;
	assert_int_equal(log_on(ELSEWHERE, "uc-f", "Contact: <sip:uc-f@10.0.9.9>\r\n"), 200);
	uc_f_has_addresses = true;
	end();
}

/* The other half of a pair has taken over; then the first one ends, and says so. */
static void an_end_of_before_does_not_log_off_who_came_after(void **state)
{
	(void)state;
	begin();
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>\r\n"), 200);
	assert_int_equal(log_on(B, "uc-a", "Contact: <sip:uc-a@10.0.0.22>\r\n"), 200);
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>;expires=0\r\n"), 200);
	assert_string_equal(contact, "<sip:10.0.0.22;transport=udp>;expires=120");
	assert_true(mesh->v[UC_A]->on);
	/* moved, and the old place is taken back in the same message (RFC 3261 10.2), in either order */
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.22>;expires=0, <sip:uc-a@10.0.0.21>\r\n"), 200);
	assert_string_equal(contact, "<sip:10.0.0.21;transport=udp>;expires=120");
	assert_int_equal(log_on(B, "uc-a", "Contact: <sip:uc-a@10.0.0.22>\r\nContact: <sip:uc-a@10.0.0.21>;expires=0\r\n"), 200);
	assert_string_equal(contact, "<sip:10.0.0.22;transport=udp>;expires=120");
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.22:5060>;expires=0\r\n"), 200); /* another port than it said */
	assert_true(mesh->v[UC_A]->on);
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.22>;expires=0\r\n"), 200); /* its place, from wherever */
	assert_false(mesh->v[UC_A]->on);
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>\r\n"), 200);
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@uc-a.test>;expires=0\r\n"), 200); /* itself, by another name */
	assert_false(mesh->v[UC_A]->on);
	end();
}

static void a_silent_server_is_seen_and_so_is_its_return(void **state)
{
	struct mesh_server *s;

	(void)state;
	begin();
	s = mesh->v[UC_A];
	configure(1);
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>\r\n"), 200);
	pass(1000);
	assert_true(fail_sends_to(&w, A)); /* ICMP */
	assert_string_equal(s->error, "connection refused");
	assert_true(s->sick && !s->was_well);
	world_forget(&w);
	pass(3000);
	answer(A);
	assert_true(s->was_well && !s->sick);
	pass(9000);
	expect_nothing(&w);
	pass(2000);
	assert_true(asked_at(A));
	pass(3000);
	assert_true(s->sick);
	assert_string_equal(s->error, "no answer to OPTIONS");
	world_forget(&w);
	pass(3000);
	answer(A);
	assert_false(s->sick);
	pass(2000);
	mesh_server_told(s, 0, "refused"); /* a question about a user has found it, and its own turn is far */
	assert_true(s->ping_at <= w.now + MESH_PING_SICK_MS);
	world_forget(&w);
	pass(3000);
	answer(A);
	assert_false(s->sick);
	pass(9000);
	w.dead = A; /* nothing can be sent there */
	pass(3000);
	assert_true(s->sick);
	assert_string_equal(s->error, strerror(ECONNREFUSED));
	w.dead = NULL;
	sip_mesh_drain(mesh);
	pass(5000);
	assert_null(s->ping);
	end();
}

/* What is under way to where it was says nothing of where it is, and whoever has its address of before is not trusted for it. */
static void who_has_moved_is_neither_sick_nor_known_by_its_old_place(void **state)
{
	struct mesh_server *s;

	(void)state;
	begin();
	configure(1);
	s = mesh->v[UC_A];
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@uc-a.test;maddr=10.0.0.21>\r\n"), 200);
	pass(1000);
	answer(A);
	assert_ptr_equal(known_at(A), s);
	pass(10000);
	assert_true(asked_at(A)); /* it is gone */
	assert_int_equal(log_on(B, "uc-a", "Contact: <sip:uc-a@10.0.0.22>\r\n"), 200);
	assert_null(known_at(A));
	assert_ptr_equal(known_at(B), s);
	pass(1000);
	assert_true(asked_at(B));
	pass(2500); /* the time of the question of before is over, that of this one is not */
	assert_false(s->sick);
	world_forget(&w);
	assert_int_equal(log_on(B, "uc-a", "Contact: *\r\nExpires: 0\r\n"), 200);
	assert_int_equal(log_on(B, "uc-a", "Contact: <sip:uc-a@10.0.0.22>\r\n"), 200);
	pass(1000);
	answer(B);
	assert_ptr_equal(known_at(B), s);
	pass(12000);
	assert_true(s->ping || s->sick);
	pass(3000);
	assert_true(s->sick);
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>\r\n"), 200);
	assert_false(s->sick); /* whether it answers there is not known yet */
	end();
}

static void over_a_connection_it_is_reached_by_that_as_long_as_it_lives(void **state)
{
	struct mesh_server *s;
	struct sip_target t = { .hop = hop_of("tcp:10.0.0.21:5070") };

	(void)state;
	begin();
	configure(1);
	s = mesh->v[UC_A];
	t.hop.conn = 0;
	assert_int_equal(log_on(A_TCP, "uc-a", "Contact: <sip:uc-a@10.0.0.21:5070;transport=tcp>\r\n"), 200);
	pass(1000);
	assert_true(asked_at(A_TCP));
	sip_mesh_known(mesh, &t);
	assert_int_equal(t.hop.conn, 40000);
	pass(3000); /* no answer: it may be dead and not know it */
	assert_true(s->sick && s->aside);
	world_forget(&w);
	pass(3000);
	assert_true(asked_at("tcp:10.0.0.21:5070"));
	pass(3000);
	assert_false(s->aside); /* in turn */
	assert_int_equal(log_on(A_TCP, "uc-a", "Contact: <sip:uc-a@10.0.0.21:5070;transport=tcp>\r\n"), 200);
	world_forget(&w);
	pass(3000);
	answer(A_TCP);
	pass(10000);
	assert_true(s->ping && asked_at(A_TCP));
	w.dead_conn = 40000; /* gone, with the question on it */
	world_forget(&w);
	pass(1000);
	assert_false(s->use_flow || s->sick);
	assert_true(asked_at("tcp:10.0.0.21:5070"));
	t.hop = hop_of("tcp:10.0.0.21:5070");
	t.hop.conn = 0;
	sip_mesh_known(mesh, &t);
	assert_int_equal(t.hop.conn, 0);
	end();
}

static void the_name_of_a_certificate_is_proven_not_the_address(void **state)
{
	static const char *const names[] = { "n.test" };
	const struct sip_identity id = { .verified = true, .n = 1, .names = names };
	struct sip_target t = { .hop = hop_of("tls:10.0.0.23:5061") }, other = { .hop = hop_of("tls:10.0.0.24:5061") };

	(void)state;
	begin();
	w.identity = &id;
	assert_int_equal(log_on("tls:10.0.0.23:40001", "uc-n", "Contact: <sip:uc-n@10.0.0.23;transport=tls>\r\n"), 200);
	w.identity = NULL;
	assert_int_equal(log_on("tls:10.0.0.24:40002", "uc-a", "Contact: <sip:uc-a@10.0.0.24:5061;transport=tls>\r\n"), 200);
	mesh->v[UC_A]->use_flow = mesh->v[UC_N]->use_flow = false;
	t.hop.conn = other.hop.conn = 0;
	sip_mesh_known(mesh, &t);
	assert_true(text_eq(t.name, TEXT("n.test")));
	sip_mesh_known(mesh, &other);
	assert_true(text_eq(other.name, TEXT("10.0.0.24")));
	end();
}

static void a_server_by_its_name_is_looked_up_each_time(void **state)
{
	struct sip_ask *a = NULL;
	struct mesh_server *s;
	char longest[600];

	(void)state;
	begin();
	configure(1);
	s = mesh->v[UC_A];
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@uc-a.test>\r\n"), 200);
	pass(1000);
	assert_int_equal(w.n_lookups, 1);
	answer_lookup(&w, 0, false);
	assert_true(s->sick);
	assert_string_equal(s->error, "no such name");
	w.names[0].name = "uc-a.test";
	w.names[0].at[0] = B;
	pass(3000);
	answer_lookup(&w, 1, true);
	assert_true(asked(B, 404)); /* whatever it says, it is there */
	assert_false(s->sick);
	assert_ptr_equal(known_at(B), s); /* its name leads there */
	pass(11000);
	w.dead = B;
	answer_lookup(&w, 2, true);
	assert_string_equal(s->error, strerror(ECONNREFUSED));
	w.dead = NULL;
	pass(7000); /* the next one is not answered in time, by the name servers */
	assert_string_equal(s->error, "no answer to OPTIONS");
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21;transport=ws>\r\n"), 200);
	pass(1000); /* nothing of ours can reach that */
	assert_string_equal(s->error, strerror(ENETUNREACH));
	memset(longest, 'a', sizeof longest);
	assert_int_equal(mesh_server_ask(s, (struct text){ longest, sizeof longest }, NULL, NULL, &a), -ENAMETOOLONG);
	end();
}

static void of_a_name_with_two_hosts_the_second_is_asked_when_the_first_is_silent(void **state)
{
	struct mesh_server *s;

	(void)state;
	begin();
	configure(1);
	s = mesh->v[UC_A];
	w.names[0].name = "uc-a.test";
	w.names[0].at[0] = A;
	w.names[0].at[1] = B;
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@uc-a.test>\r\n"), 200);
	pass(1000);
	answer_lookup(&w, w.n_lookups - 1, true);
	assert_true(asked_at(A));
	world_forget(&w);
	pass(3000);
	assert_false(s->sick);
	assert_true(asked(B, 200));
	assert_false(s->sick);
	end();
}

/* Two on one host: the port, the Via, and before all the connection. */
static void of_two_behind_one_address_each_is_known(void **state)
{
	struct sip_hop h = hop_of("udp:10.0.0.21:7777"), c = hop_of("tcp:10.0.0.21:40001");
	struct sip_via via = { .host = TEXT("10.0.0.21"), .port = 5062 };

	(void)state;
	begin();
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>\r\n"), 200);
	assert_ptr_equal(mesh_server_at(mesh, &h, NULL), mesh->v[UC_A]); /* the only one there */
	assert_int_equal(log_on("tcp:10.0.0.21:40001", "uc-b", "Contact: <sip:uc-b@10.0.0.21:5062>\r\n"), 200);
	assert_null(mesh_server_at(mesh, &h, NULL));
	assert_ptr_equal(mesh_server_at(mesh, &h, &via), mesh->v[UC_B]);
	assert_ptr_equal(known_at(A), mesh->v[UC_A]);
	via.port = 5060; /* uc-b says to be uc-a: its connection knows better */
	assert_ptr_equal(mesh_server_at(mesh, &c, &via), mesh->v[UC_B]);
	via.host = TEXT("10.0.0.21"); /* somebody else says to be uc-a */
	h = hop_of("udp:10.0.0.66:5060");
	assert_null(mesh_server_at(mesh, &h, &via));
	end();
}

static void who_is_trusted_is_a_server_or_stands_in_the_configuration(void **state)
{
	(void)state;
	begin();
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>\r\n"), 200);
	ask(A, "MESSAGE", "x", "");
	assert_true(was_trusted);
	ask("tcp:10.0.0.90:4000", "MESSAGE", "x", "");
	assert_true(was_trusted);
	ask("udp:10.0.0.90:4000", "MESSAGE", "x", ""); /* an address over UDP is what its sender likes */
	assert_false(was_trusted);
	ask("tcp:10.0.0.91:4000", "MESSAGE", "x", "");
	assert_false(was_trusted);
	ask(A_TCP, "MESSAGE", "x", "");
	assert_true(was_trusted);
	end();
}

/* Somebody looks at a page on the very machine. */
static void a_page_has_no_part_in_the_place_where_it_is_looked_at(void **state)
{
	static const char *const names[] = { "n.test" };
	const struct sip_identity id = { .verified = true, .n = 1, .names = names };

	(void)state;
	begin();
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>\r\n"), 200);
	w.page = true;
	ask(A_TCP, "MESSAGE", "x", "");
	assert_false(was_trusted);
	assert_null(known_at(A_TCP));
	ask("tcp:10.0.0.90:4000", "MESSAGE", "x", "");
	assert_false(was_trusted);
	assert_int_equal(log_on("tcp:10.0.0.22:40000", "uc-b", "Contact: <sip:uc-b@10.0.0.22>\r\n"),
			 403);
	assert_int_equal(log_on("tcp:10.0.0.40:40000", "uc-f", "Contact: <sip:uc-f@10.0.0.40>\r\n"),
			 403);
	assert_int_equal(log_on("tcp:10.0.0.22:40000", "uc-p", "Contact: <sip:uc-p@10.0.0.22>\r\n"),
			 401); /* it may have the password */
	w.identity = &id;      /* or the certificate */
	assert_int_equal(log_on("tls:10.0.0.23:40001", "uc-n",
				"Contact: <sip:uc-n@10.0.0.23:5061;transport=tls>\r\n"),
			 200);
	w.identity = NULL;
	end();
}

/* Nothing of it ever happens, and all the same it is no crash. */
static void without_a_core_or_a_contact_nothing_is_asked(void **state)
{
	struct sip_ask *a = NULL;
	struct mesh_server *s;

	(void)state;
	begin();
	configure(1);
	s = mesh->v[UC_A];
	assert_int_equal(log_on(A, "uc-a", "Contact: <sip:uc-a@10.0.0.21>\r\n"), 200);
	s->contact[0] = 0;
	pass(1000);
	expect_nothing(&w);
	assert_int_equal(mesh_server_ask(s, TEXT("sip:x"), NULL, NULL, &a), -EBADMSG);
	sip_mesh_set_core(mesh, NULL);
	assert_int_equal(mesh_server_ask(s, TEXT("sip:x"), NULL, NULL, &a), -ESHUTDOWN);
	pass(1000);
	assert_null(s->ping);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_logs_on_asks_and_logs_off),
		cmocka_unit_test(who_may_not_log_on_is_refused_and_changes_nothing),
		cmocka_unit_test(a_contact_that_is_none_leaves_the_one_of_before),
		cmocka_unit_test(a_contact_is_where_its_maddr_says),
		cmocka_unit_test(an_expired_log_on_is_over_before_the_tick_sees_it),
		cmocka_unit_test(a_server_of_the_configuration_is_there_whatever_it_says),
		cmocka_unit_test(one_without_a_proof_logs_on_from_its_contact_alone),
		cmocka_unit_test(an_end_of_before_does_not_log_off_who_came_after),
		cmocka_unit_test(a_silent_server_is_seen_and_so_is_its_return),
		cmocka_unit_test(who_has_moved_is_neither_sick_nor_known_by_its_old_place),
		cmocka_unit_test(over_a_connection_it_is_reached_by_that_as_long_as_it_lives),
		cmocka_unit_test(the_name_of_a_certificate_is_proven_not_the_address),
		cmocka_unit_test(a_server_by_its_name_is_looked_up_each_time),
		cmocka_unit_test(of_a_name_with_two_hosts_the_second_is_asked_when_the_first_is_silent),
		cmocka_unit_test(of_two_behind_one_address_each_is_known),
		cmocka_unit_test(who_is_trusted_is_a_server_or_stands_in_the_configuration),
		cmocka_unit_test(a_page_has_no_part_in_the_place_where_it_is_looked_at),
		cmocka_unit_test(without_a_core_or_a_contact_nothing_is_asked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
