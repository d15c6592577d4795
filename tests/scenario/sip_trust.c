/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All decisions about trust, as a table: how somebody comes, what his certificate names, how the route to his domain is
 * trusted, and whom he says to be, against what he is answered. "0" is a message that reaches bob, our user. The same
 * senders are then tried at what nobody outside may do: to be relayed to a third domain, and to register.
 */
#include <stdio.h>
#include <string.h>
#include "sip-proxy/routes_priv.h"
#include "sip-proxy/token.h"
#include "sip-proxy/trust.h"
#include "tests/scenario/sip_world.h"

#define LAN "udp:10.0.0.9:5060"
#define UDP "udp:192.0.2.50:5060" /* the gateways' own address */
#define TCP "tcp:192.0.2.50:4000"
#define TLS "tls:192.0.2.50:4000"
#define UDP_AWAY "udp:203.0.113.9:5060"
#define TCP_AWAY "tcp:203.0.113.9:4000"
#define TLS_AWAY "tls:203.0.113.9:4000"
#define FED "tls:198.51.100.9:4000" /* by the interface for partners */

static struct world w;
static struct sip_registrar *registrar;
static struct sip_location *location;
static struct timers *timers;
static struct sip_routing routing;
static struct sip_federating federating;
static struct sip_trusting trusting;
static struct sip_hook rows[8];
static const struct sip_hook *chain[8];
static unsigned n_hooks;

static struct text password_of(void *arg, const char *aor)
{
	(void)arg;
	return strcmp(aor, "alice@uc.test") == 0 || strcmp(aor, "carol@uc.test") == 0 ? TEXT("secret") : (struct text){ 0 };
}

static bool domain_is_ours(void *arg, struct text host)
{
	(void)arg;
	return text_ieq(host, TEXT("uc.test"));
}

static struct text first_domain(void *arg)
{
	(void)arg;
	return TEXT("uc.test");
}

static bool is_trusted(void *arg, const struct sip_hop *from)
{
	return sip_sides_trust(arg, from);
}

/* bob is there, and a server of our own is in the LAN. */
static enum sip_step to_bob(struct sip_passage *p, void *arg)
{
	bool server = text_eq(p->basics->uri.user, TEXT("server"));
	const struct sip_place place = { .next = server ? TEXT("sip:10.0.0.20:5060") : TEXT("sip:192.0.2.20:5060"), .q = 1000 };
	(void)arg;
	if (!p->for_us || !(server || text_eq(p->basics->uri.user, TEXT("bob"))))
		return SIP_GO_ON;
	sip_record_route(p, p->msg->method == SIP_INVITE);
	assert_int_equal(sip_forward(p, &place), 0);
	return SIP_DECIDED;
}

static void hook(struct sip_hook h)
{
	rows[n_hooks] = h;
	chain[n_hooks] = &rows[n_hooks];
	n_hooks++;
}

static char domain_uc[] = "uc.test";
static char *domains[] = { domain_uc };
static char r_mtls[] = "mtls.test", r_tls[] = "tls.test", r_tcp[] = "tcp.test", r_loose[] = "loose.test", r_udp[] = "udp.test",
	    r_off[] = "off.test", r_login[] = "login.test", alice[] = "alice", gw[] = "gw.test";
static struct sip_route_section routes[] = {
	{ .domain = r_mtls, .host = gw, .transport = SIP_LISTEN_MTLS, .active = true },
	{ .domain = r_tls, .host = gw, .transport = SIP_LISTEN_TLS, .active = true, .trusted = true },
	{ .domain = r_tcp, .host = gw, .transport = SIP_LISTEN_TCP, .active = true, .trusted = true },
	{ .domain = r_loose, .host = gw, .transport = SIP_LISTEN_TLS, .active = true },
	{ .domain = r_udp, .host = gw, .transport = SIP_LISTEN_UDP, .active = true },
	{ .domain = r_off, .host = gw, .transport = SIP_LISTEN_MTLS, .active = false },
	{ .domain = r_login, .host = gw, .transport = SIP_LISTEN_UDP, .active = true, .user = alice },
};
static char p_friend[] = "friend.test", p_denied[] = "denied.test", p_quiet[] = "quiet.test";
static struct sip_partner_section partners[] = {
	{ .domain = p_friend, .allow = true },
	{ .domain = p_denied, .allow = false },
	{ .domain = p_quiet, .allow = true, .ways = { SIP_BOTH_WAYS, SIP_OUTWARD, SIP_BOTH_WAYS } },
};

static void begin(enum sip_federation_mode mode)
{
	struct sip_config c = { .domains = { domains, 1 },
				.routes = { routes, ARRAY_LEN(routes) },
				.use_routes = true,
				.federation = { .mode = mode, .rate = 20, .partners = { partners, ARRAY_LEN(partners) } } };
	world_init(&w);
	n_hooks = 0;
	timers = timers_new(w.now);
	assert_int_equal(sip_location_new(&(struct sip_location_options){ .timers = timers, .seed = { 5, 6 } }, &location), 0);
	assert_int_equal(sip_registrar_new(&(struct sip_registrar_options){ .location = location,
									    .password = password_of,
									    .is_domain = domain_is_ours,
									    .first_domain = first_domain,
									    .is_trusted = is_trusted,
									    .arg = &routing,
									    .ops = w.o.ops,
									    .edge = &w,
									    .seed = { 7, 8 },
									    .now = w.now },
					   &registrar),
			 0);
	assert_int_equal(sip_routes_new(&c, &routing.routes), 0);
	routing.ops = w.o.ops;
	routing.edge = &w;
	for (size_t i = 0; i < routing.routes->n; i++) {
		struct sip_static_route *r = &routing.routes->v[i];
		assert_int_equal(addr_parse(TEXT("192.0.2.50"), 0, &r->at[0]), 0);
		r->n_at = 1;
	}
	assert_int_equal(sip_federation_new(&c, &federating.federation), 0);
	federating.partners = sip_partners_new();
	trusting = (struct sip_trusting){
		.ops = w.o.ops, .edge = &w, .routing = &routing, .federating = &federating, .registrar = registrar
	};
	hook((struct sip_hook){ "sides", SIP_STAGE_ADMISSION, sip_sides_request, NULL, &routing });
	hook((struct sip_hook){ "trust", SIP_STAGE_IDENTITY, sip_trust_request, sip_trust_response, &trusting });
	hook((struct sip_hook){ "credentials", SIP_STAGE_IDENTITY, sip_auth_request, NULL, registrar });
	hook((struct sip_hook){ "hygiene", SIP_STAGE_HYGIENE, sip_hygiene_request, sip_hygiene_response, registrar });
	hook((struct sip_hook){ "bob", SIP_STAGE_ROUTING, to_bob, NULL, NULL });
	hook((struct sip_hook){ "registrar", SIP_STAGE_ROUTING, sip_registrar_request, NULL, registrar });
	hook((struct sip_hook){ "routes", SIP_STAGE_ROUTING, sip_routes_request, NULL, &routing });
	hook((struct sip_hook){ "federation", SIP_STAGE_ROUTING, sip_federation_request, NULL, &federating });
	w.o.hooks = chain;
	w.o.n_hooks = n_hooks;
	world_start(&w);
}

static void end(void)
{
	world_forget(&w);
	world_stop(&w);
	registrar = sip_registrar_free(registrar);
	location = sip_location_free(location);
	timers = timers_free(timers);
	routing.routes = sip_routes_free(routing.routes);
	federating.federation = sip_federation_free(federating.federation);
	federating.partners = sip_partners_free(federating.partners);
}

static unsigned number;

struct said {
	const char *method, *uri, *from, *more;
};

static void say_as(const char *at, struct said q)
{
	static char text[4096];
	number++;
	(void)snprintf(text, sizeof text,
		       "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK-t%u\r\nMax-Forwards: 70\r\nFrom: <sip:%s>;tag=f\r\n"
		       "To: <%s>\r\nCall-ID: t%u\r\nCSeq: 1 %s\r\n%sContent-Length: 0\r\n\r\n",
		       q.method, q.uri, at[0] == 'u' ? "UDP" : at[1] == 'c' ? "TCP" : "TLS", strchr(at, ':') + 1, number, q.from, q.uri,
		       number, q.method, q.more);
	say(&w, at, text);
}

/* The answer's code, 0: it was passed on; *ret_s is then the copy. */
static unsigned answered(struct sent *ret_s)
{
	struct sent s;
	assert_true(take(&w, &s));
	unsigned code = strncmp(s.bytes, "SIP/2.0 ", 8) == 0 ? (unsigned)atoi(s.bytes + 8) : 0;
	if (ret_s)
		*ret_s = s;
	else
		sent_free(&s);
	world_forget(&w);
	w.identity = NULL;
	return code;
}

/* As answered(). */
static unsigned ask(const char *at, const char *names, struct said q, struct sent *ret_s)
{
	static char own[128];
	const char *list[4] = { 0 };
	struct sip_identity id = { .verified = true, .names = list };

	(void)snprintf(own, sizeof own, "%s", names ? names : "");
	for (char *t = names ? strtok(own, " ") : NULL; t; t = strtok(NULL, " "))
		list[id.n++] = t;
	w.identity = names ? &id : NULL;
	say_as(at, q);
	return answered(ret_s);
}

static const struct row {
	enum sip_federation_mode mode;
	const char *at, *names, *from; /* names NULL: no certificate */
	unsigned code;
} table[] = {
	/* clang-format off */
	/* -- our own network */
	{ SIP_FEDERATION_OFF,    LAN,      NULL,          "x@uc.test",     0 },
	{ SIP_FEDERATION_OPEN,   LAN,      NULL,          "x@third.test",  0 },
	/* -- From of our own: credentials decide, by whatever way; but never by the interface for partners */
	{ SIP_FEDERATION_OFF,    UDP,      NULL,          "alice@uc.test", 407 },
	{ SIP_FEDERATION_OFF,    TCP,      NULL,          "alice@uc.test", 407 },
	{ SIP_FEDERATION_OFF,    TLS,      "sip.evil.test", "ceo@uc.test", 407 },
	{ SIP_FEDERATION_LISTED, FED,      "friend.test", "alice@uc.test", 403 },
	{ SIP_FEDERATION_OPEN,   FED,      "sip.evil.test", "ceo@uc.test", 403 },
	{ SIP_FEDERATION_OPEN,   FED,      "uc.test",     "alice@uc.test", 403 },
	/* -- static route by mtls: the certificate names the domain, or it is a login */
	{ SIP_FEDERATION_OFF,    TLS_AWAY, "mtls.test",   "x@mtls.test",   0 },
	{ SIP_FEDERATION_OFF,    TLS_AWAY, "MTLS.test b.test", "x@mtls.TEST", 0 },
	{ SIP_FEDERATION_OFF,    TLS,      "gw.test",     "x@mtls.test",   403 },
	{ SIP_FEDERATION_OFF,    TLS,      "evil.test",   "x@mtls.test",   403 },
	{ SIP_FEDERATION_OFF,    TLS,      "sub.mtls.test", "x@mtls.test", 403 },
	{ SIP_FEDERATION_OFF,    TLS,      NULL,          "x@mtls.test",   407 },
	{ SIP_FEDERATION_OFF,    TCP,      NULL,          "x@mtls.test",   407 },
	{ SIP_FEDERATION_OFF,    UDP,      NULL,          "x@mtls.test",   407 },
	/* -- trusted, tls: by the names of domain or gateway, or from its own address over a connection */
	{ SIP_FEDERATION_OFF,    TLS_AWAY, "tls.test",    "x@tls.test",    0 },
	{ SIP_FEDERATION_OFF,    TLS_AWAY, "gw.test",     "x@tls.test",    0 },
	{ SIP_FEDERATION_OFF,    TLS,      NULL,          "x@tls.test",    0 },
	{ SIP_FEDERATION_OFF,    TCP,      NULL,          "x@tls.test",    0 },
	{ SIP_FEDERATION_OFF,    TLS_AWAY, NULL,          "x@tls.test",    407 },
	{ SIP_FEDERATION_OFF,    TCP_AWAY, NULL,          "x@tls.test",    407 },
	{ SIP_FEDERATION_OFF,    UDP,      NULL,          "x@tls.test",    407 },
	{ SIP_FEDERATION_OFF,    UDP_AWAY, NULL,          "x@tls.test",    407 },
	{ SIP_FEDERATION_OFF,    TLS,      "evil.test",   "x@tls.test",    403 },
	/* -- trusted, tcp */
	{ SIP_FEDERATION_OFF,    TCP,      NULL,          "x@tcp.test",    0 },
	{ SIP_FEDERATION_OFF,    TCP_AWAY, NULL,          "x@tcp.test",    407 },
	{ SIP_FEDERATION_OFF,    UDP,      NULL,          "x@tcp.test",    407 },
	{ SIP_FEDERATION_OFF,    TLS_AWAY, "tcp.test",    "x@tcp.test",    0 },
	/* -- not trusted: a proven name is a proof, an address is none */
	{ SIP_FEDERATION_OFF,    TLS,      NULL,          "x@loose.test",  407 },
	{ SIP_FEDERATION_OFF,    TLS,      "gw.test",     "x@loose.test",  403 },
	{ SIP_FEDERATION_OFF,    TLS_AWAY, "loose.test",  "x@loose.test",  0 },
	{ SIP_FEDERATION_OFF,    TCP,      NULL,          "x@loose.test",  407 },
	{ SIP_FEDERATION_OFF,    UDP,      NULL,          "x@udp.test",    407 },
	{ SIP_FEDERATION_OFF,    UDP_AWAY, NULL,          "x@udp.test",    407 },
	{ SIP_FEDERATION_OFF,    TCP,      NULL,          "x@udp.test",    407 },
	/* -- a route that is switched off is no route */
	{ SIP_FEDERATION_OFF,    UDP,      NULL,          "x@off.test",    0 },
	{ SIP_FEDERATION_LISTED, TLS,      "off.test",    "x@off.test",    403 },
	/* -- no route, no federation: strangers reach our users; who has shown a name keeps to it */
	{ SIP_FEDERATION_OFF,    UDP_AWAY, NULL,          "x@third.test",  0 },
	{ SIP_FEDERATION_OFF,    TCP_AWAY, NULL,          "x@third.test",  0 },
	{ SIP_FEDERATION_OFF,    TLS_AWAY, "third.test",  "x@third.test",  0 },
	{ SIP_FEDERATION_OFF,    TLS_AWAY, "evil.test",   "x@third.test",  403 },
	/* -- listed */
	{ SIP_FEDERATION_LISTED, FED,      "friend.test", "x@friend.test", 0 },
	{ SIP_FEDERATION_LISTED, TLS_AWAY, "friend.test", "x@friend.test", 0 },
	{ SIP_FEDERATION_LISTED, FED,      "a.test friend.test", "x@friend.test", 0 },
	{ SIP_FEDERATION_LISTED, FED,      "friend.test", "x@third.test",  403 },
	{ SIP_FEDERATION_LISTED, FED,      "friend.test", "x@sub.friend.test", 403 },
	{ SIP_FEDERATION_LISTED, FED,      "third.test",  "x@third.test",  403 },
	{ SIP_FEDERATION_LISTED, FED,      "denied.test", "x@denied.test", 403 },
	{ SIP_FEDERATION_LISTED, FED,      "third.test",  "x@friend.test", 403 },
	{ SIP_FEDERATION_LISTED, UDP_AWAY, NULL,          "x@friend.test", 403 },
	{ SIP_FEDERATION_LISTED, TCP_AWAY, NULL,          "x@friend.test", 403 },
	{ SIP_FEDERATION_LISTED, TLS_AWAY, NULL,          "x@friend.test", 403 },
	{ SIP_FEDERATION_LISTED, UDP_AWAY, NULL,          "x@third.test",  403 },
	{ SIP_FEDERATION_LISTED, FED,      "mtls.test",   "x@mtls.test",   0 },
	{ SIP_FEDERATION_LISTED, FED,      "friend.test", "x@mtls.test",   403 },
	{ SIP_FEDERATION_LISTED, FED,      "friend.test", "x@anonymous.invalid", 0 },
	{ SIP_FEDERATION_LISTED, FED,      "third.test",  "x@anonymous.invalid", 403 },
	/* -- what a partner may do */
	{ SIP_FEDERATION_LISTED, FED,      "quiet.test",  "x@quiet.test",  403 },
	/* -- open */
	{ SIP_FEDERATION_OPEN,   FED,      "third.test",  "x@third.test",  0 },
	{ SIP_FEDERATION_OPEN,   FED,      "denied.test", "x@denied.test", 403 },
	{ SIP_FEDERATION_OPEN,   FED,      "third.test",  "x@fourth.test", 403 },
	{ SIP_FEDERATION_OPEN,   FED,      "*.third.test", "x@a.third.test", 403 },
	{ SIP_FEDERATION_OPEN,   UDP_AWAY, NULL,          "x@third.test",  403 },
	{ SIP_FEDERATION_OPEN,   TLS_AWAY, NULL,          "x@third.test",  403 },
	{ SIP_FEDERATION_OPEN,   TLS_AWAY, "third.test",  "x@third.test",  0 },
	{ SIP_FEDERATION_OPEN,   UDP,      NULL,          "x@loose.test",  407 },
	/* clang-format on */
};

static void transport_certificate_route_and_from_decide(void **state)
{
	unsigned wrong = 0;
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct row *t = &table[i];
		begin(t->mode);
		unsigned code = ask(t->at, t->names, (struct said){ "MESSAGE", "sip:bob@uc.test", t->from, "" }, NULL);
		if (code != t->code) {
			print_message("row %zu: mode %s, %s, certificate of %s, From %s: %u in place of %u\n", i,
				      sip_federation_modes[t->mode], t->at, t->names ? t->names : "nobody", t->from, code, t->code);
			wrong++;
		}
		end();
	}
	assert_int_equal(wrong, 0);
}

static void nobody_outside_is_relayed_to_a_third_domain(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct row *t = &table[i];
		if (strcmp(t->at, LAN) == 0)
			continue;
		begin(t->mode);
		unsigned code = ask(t->at, t->names, (struct said){ "MESSAGE", "sip:x@fourth.test", t->from, "" }, NULL);
		unsigned by_route = ask(t->at, t->names, (struct said){ "MESSAGE", "sip:x@udp.test", t->from, "" }, NULL);
		assert_true(code == 403 || code == 407);
		assert_true(by_route == 403 || by_route == 407);
		end();
	}
}

static void no_certificate_registers_anybody(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct row *t = &table[i];
		if (strcmp(t->at, LAN) == 0)
			continue;
		begin(t->mode);
		unsigned code = ask(t->at, t->names, (struct said){ "REGISTER", "sip:alice@uc.test", t->from, "Contact: <sip:alice@203.0.113.9>\r\n" }, NULL);
		assert_true(code == 401 || code == 403 || code == 404);
		end();
	}
}

static void what_is_asserted_must_be_proven_too(void **state)
{
	struct sent s;
	(void)state;
	begin(SIP_FEDERATION_OPEN);
	assert_int_equal(ask(FED, "third.test", (struct said){ "MESSAGE", "sip:bob@uc.test", "x@third.test", "P-Asserted-Identity: <sip:ceo@uc.test>\r\n" }, NULL),
			 403);
	assert_int_equal(ask(FED, "third.test", (struct said){ "MESSAGE", "sip:bob@uc.test", "x@anonymous.invalid", "P-Asserted-Identity: <sip:x@fourth.test>\r\n" }, NULL),
			 403);
	assert_int_equal(ask(FED, "third.test", (struct said){ "MESSAGE", "sip:bob@uc.test", "x@third.test", "P-Asserted-Identity: <sip:y@third.test>, <tel:+4930123>\r\n" }, &s),
			 0);
	assert_true(sent_has(&s, "sip:y@third.test"));
	assert_false(sent_has(&s, "tel:"));
	sent_free(&s);
	end();
	begin(SIP_FEDERATION_OFF); /* a stranger asserts nothing, a trusted route does */
	assert_int_equal(ask(UDP_AWAY, NULL, (struct said){ "MESSAGE", "sip:bob@uc.test", "x@third.test", "P-Asserted-Identity: <sip:ceo@uc.test>\r\n" }, &s),
			 0);
	assert_false(sent_has(&s, "Asserted"));
	sent_free(&s);
	assert_int_equal(ask(TCP, NULL, (struct said){ "MESSAGE", "sip:bob@uc.test", "x@tcp.test", "P-Asserted-Identity: <tel:+4930123>\r\n" }, &s), 0);
	assert_true(sent_has(&s, "tel:+4930123"));
	sent_free(&s);
	end();
}

static void a_partner_that_is_too_fast_gets_503_and_the_others_do_not(void **state)
{
	unsigned passed = 0, refused = 0;
	(void)state;
	begin(SIP_FEDERATION_OPEN);
	for (unsigned i = 0; i < 100; i++) {
		/* whatever it speaks for: the certificate counts */
		unsigned code = ask(FED, "third.test fifth.test",
				    (struct said){ "MESSAGE", "sip:bob@uc.test", i % 2 ? "x@third.test" : "x@fifth.test", "" },
				    NULL);
		passed += code == 0;
		refused += code == 503;
	}
	assert_int_equal(passed, 20);
	assert_int_equal(refused, 80);
	assert_int_equal(w.refused, SIP_REFUSE_RATE);
	assert_int_equal(ask(FED, "fourth.test", (struct said){ "MESSAGE", "sip:bob@uc.test", "x@fourth.test", "" }, NULL), 0);
	for (unsigned i = 0; i < 100; i++) /* by name there is no limit unless it is written */
		assert_int_equal(ask(FED, "friend.test", (struct said){ "MESSAGE", "sip:bob@uc.test", "x@friend.test", "" }, NULL), 0);
	world_wait(&w, 1000);
	world_forget(&w);
	assert_int_equal(ask(FED, "third.test fifth.test", (struct said){ "MESSAGE", "sip:bob@uc.test", "x@third.test", "" }, NULL), 0);
	end();
}

static void our_own_go_out_by_route_then_by_federation(void **state)
{
	(void)state;
	begin(SIP_FEDERATION_OPEN);
	w.n_lookups = 0;
	say_as(LAN, (struct said){ "MESSAGE", "sip:y@fourth.test", "x@uc.test", "" });
	assert_int_equal(w.n_lookups, 1);
	assert_string_equal(w.asked_host[0], "fourth.test");
	assert_true(w.asked[0].federation);
	assert_false(w.asked[0].sips_srv);
	say_as(LAN, (struct said){ "MESSAGE", "sip:y@mtls.test", "x@uc.test", "" });
	assert_int_equal(w.n_lookups, 2);
	assert_string_equal(w.asked_host[1], "gw.test");
	assert_false(w.asked[1].federation);
	w.names[0].name = "gw.test";
	w.names[0].at[0] = "tls:192.0.2.50:5061";
	answer_lookup(&w, 1, true);
	struct sent s = expect_request(&w, "MESSAGE", "tls:192.0.2.50:5061");
	assert_true(s.to.mutual);
	assert_true(text_eq(s.to.name, TEXT("mtls.test"))); /* the route's domain, not its gateway */
	sent_free(&s);
	end();
	begin(SIP_FEDERATION_LISTED);
	assert_int_equal(ask(LAN, NULL, (struct said){ "MESSAGE", "sip:y@third.test", "x@uc.test", "" }, NULL), 403);
	assert_int_equal(ask(LAN, NULL, (struct said){ "MESSAGE", "sip:y@denied.test", "x@uc.test", "" }, NULL), 403);
	end();
	begin(SIP_FEDERATION_OFF);
	assert_int_equal(ask(LAN, NULL, (struct said){ "MESSAGE", "sip:y@third.test", "x@uc.test", "" }, NULL), 403);
	end();
}

static void a_way_that_leads_back_to_us_is_a_loop(void **state)
{
	(void)state;
	begin(SIP_FEDERATION_OFF);
	w.names[0].name = "gw.test";
	w.names[0].at[0] = "udp:192.0.2.100:5060";
	w.n_lookups = 0;
	say_as(LAN, (struct said){ "MESSAGE", "sip:y@udp.test", "x@uc.test", "" });
	answer_lookup(&w, 0, true);
	expect_and_free(&w, 482, LAN);
	assert_int_equal(w.refused, SIP_REFUSE_LOOP);
	end();
}

/* The 200 of a partner with these lines, as the one who has asked gets it. */
static struct sent answer_of_a_partner(const char *asker, const char *lines)
{
	static const char *proven[] = { "fourth.test" };
	static const struct sip_identity id = { .verified = true, .names = proven, .n = 1 };
	struct sent s;
	begin(SIP_FEDERATION_OPEN);
	w.names[0].name = "fourth.test";
	w.names[0].at[0] = "tls:198.51.100.9:5061";
	w.n_lookups = 0;
	say_as(asker, (struct said){ "MESSAGE", "sip:y@fourth.test", "x@uc.test", "" });
	answer_lookup(&w, 0, true);
	s = expect_request(&w, "MESSAGE", "tls:198.51.100.9:5061");
	w.identity = &id;
	reply(&w, "tls:198.51.100.9:5061", &s, 200, "y", lines);
	sent_free(&s);
	s = expect_response(&w, 200, asker);
	world_forget(&w);
	end();
	return s;
}

/* What a partner says of its own people in an answer is believed, what it says of others is taken out. */
static void an_answer_asserts_only_what_its_certificate_covers(void **state)
{
	(void)state;
	struct sent s = answer_of_a_partner(LAN, "P-Asserted-Identity: <sip:y@fourth.test>, <sip:ceo@uc.test>\nP-Asserted-Identity: <sip:x@evil.test>\n");
	assert_true(sent_has(&s, "P-Asserted-Identity: <sip:y@fourth.test>"));
	assert_false(sent_has(&s, "ceo@") || sent_has(&s, "evil.test"));
	sent_free(&s);
	s = answer_of_a_partner(LAN, "P-Asserted-Identity: <tel:+4930123>\n"); /* a number is nobody's domain */
	assert_false(sent_has(&s, "Asserted"));
	sent_free(&s);
	s = answer_of_a_partner(LAN, "Privacy: id\nP-Asserted-Identity: <sip:y@fourth.test>\n"); /* our own network may know */
	assert_true(sent_has(&s, "P-Asserted-Identity: <sip:y@fourth.test>"));
	sent_free(&s);
}

#define SERVER "udp:10.0.0.20:5060"

/* The 200 of our server with these lines, as this one gets it. */
static struct sent answer_of_our_server(const char *asker, const char *from, const char *lines)
{
	struct sent s;
	begin(SIP_FEDERATION_OFF);
	say_as(asker, (struct said){ "MESSAGE", "sip:server@uc.test", from, "" });
	s = expect_request(&w, "MESSAGE", SERVER);
	reply(&w, SERVER, &s, 200, "s", lines);
	sent_free(&s);
	s = expect_response(&w, 200, asker);
	end();
	return s;
}

static void who_answers_in_our_network_is_no_strangers_business(void **state)
{
	static const struct {
		const char *asker, *from, *lines;
		bool told;
	} cases[] = {
		{ LAN, "x@uc.test", "P-Asserted-Identity: <sip:boss@uc.test>\n", true },
		{ LAN, "x@uc.test", "Privacy: id\nP-Asserted-Identity: <sip:boss@uc.test>\n", true },
		{ UDP_AWAY, "x@third.test", "P-Asserted-Identity: <sip:boss@uc.test>\n", false },
		{ TCP, "x@tcp.test", "Privacy: id\nP-Asserted-Identity: <sip:boss@uc.test>\n", true }, /* a route that is trusted */
	};
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct sent s = answer_of_our_server(cases[i].asker, cases[i].from, cases[i].lines);
		assert_int_equal(sent_has(&s, "Asserted"), cases[i].told);
		sent_free(&s);
	}
}

/* What our network asserts in a call with a stranger goes to nobody outside, in the dialog neither. */
static void in_a_dialog_a_stranger_hears_no_identity_either(void **state)
{
	char route[1024], text[2048];
	(void)state;
	begin(SIP_FEDERATION_OFF);
	say_as(UDP_AWAY, (struct said){ "INVITE", "sip:server@uc.test", "x@third.test", "Contact: <sip:x@203.0.113.9>\r\n" });
	struct sent s = expect_request(&w, "INVITE", SERVER);
	sent_routes(&s, false, route, sizeof route);
	reply(&w, SERVER, &s, 200, "b", "");
	sent_free(&s);
	world_forget(&w);
	(void)snprintf(text, sizeof text,
		       "UPDATE sip:x@203.0.113.9 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.20:5060;branch=z9hG4bK-u\r\nMax-Forwards: 70\r\n"
		       "From: <sip:server@uc.test>;tag=b\r\nTo: <sip:x@third.test>;tag=f\r\nCall-ID: t%u\r\nCSeq: 1 UPDATE\r\n%s"
		       "P-Asserted-Identity: <sip:boss@uc.test>\r\nContent-Length: 0\r\n\r\n",
		       number, route);
	say(&w, SERVER, text);
	s = expect_request(&w, "UPDATE", UDP_AWAY);
	assert_false(sent_has(&s, "Asserted"));
	sent_free(&s);
	end();
}

static uint64_t calls_of(const char *domain)
{
	json_t *all = sip_partners_json(federating.partners, w.now), *p;
	uint64_t n = 0;
	size_t i;
	json_array_foreach (all, i, p)
		if (strcmp(json_string_value(json_object_get(p, "domain")), domain) == 0)
			n = (uint64_t)json_integer_value(json_object_get(json_object_get(p, "in"), "calls"));
	json_decref(all);
	return n;
}

/* A request in a dialog that we know has its proof in its Route; it counts with its partner's all the same. */
static void what_a_partner_sends_in_a_dialog_counts(void **state)
{
	const char *proven[] = { "third.test" };
	const struct sip_identity id = { .verified = true, .names = proven, .n = 1 };
	unsigned passed = 0, refused = 0;
	char route[1024];
	(void)state;
	begin(SIP_FEDERATION_OPEN);
	w.identity = &id;
	say_as(FED, (struct said){ "INVITE", "sip:bob@uc.test", "x@third.test", "Contact: <sip:x@198.51.100.9;transport=tls>\r\n" });
	struct sent s = expect_request(&w, "INVITE", "udp:192.0.2.20:5060");
	sent_routes(&s, true, route, sizeof route);
	assert_int_not_equal(route[0], 0);
	reply(&w, "udp:192.0.2.20:5060", &s, 200, "b", "");
	sent_free(&s);
	world_forget(&w);
	assert_int_equal(calls_of("third.test"), 1);
	for (unsigned i = 0; i < 40; i++) {
		struct sent got;
		char text[2048];
		(void)snprintf(text, sizeof text,
			       "INVITE sip:bob@192.0.2.20 SIP/2.0\r\nVia: SIP/2.0/TLS 198.51.100.9:4000;branch=z9hG4bK-d%u\r\nMax-Forwards: 70\r\n"
			       "From: <sip:x@third.test>;tag=f\r\nTo: <sip:bob@uc.test>;tag=b\r\nCall-ID: t%u\r\nCSeq: %u INVITE\r\n%s"
			       "Content-Length: 0\r\n\r\n",
			       i, number, i + 2, route);
		say(&w, FED, text);
		assert_true(take(&w, &got));
		passed += strncmp(got.bytes, "INVITE ", 7) == 0;
		refused += strncmp(got.bytes, "SIP/2.0 503 ", 12) == 0;
		sent_free(&got);
		world_forget(&w);
	}
	assert_int_equal(passed, 19); /* and the first one */
	assert_int_equal(refused, 21);
	assert_int_equal(calls_of("third.test"), 20);
	world_forget(&w);
	end();
}

/* A dialog that somebody begins, and what is said in it. */
struct side {
	const char *at, *names, *uri, *from, *from_tag, *to, *to_tag; /* to_tag NULL: it begins */
};

/* As answered(). */
static unsigned say_in(const char *method, const struct side *d, const char *more, struct sent *ret_s)
{
	static char text[4096];
	const char *list[1] = { d->names };
	const struct sip_identity id = { .verified = true, .names = list, .n = 1 };
	static unsigned cseq;
	cseq++;
	(void)snprintf(
		text, sizeof text,
		"%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK-s%u\r\nMax-Forwards: 70\r\nFrom: <sip:%s>;tag=%s\r\n"
		"To: <sip:%s>%s%s\r\nCall-ID: dialog\r\nCSeq: %u %s\r\nContact: <sip:%s>\r\n%sContent-Length: 0\r\n\r\n",
		method, d->uri, d->at[0] == 'u' ? "UDP" : "TLS", strchr(d->at, ':') + 1, cseq,
		d->from, d->from_tag, d->to, d->to_tag ? ";tag=" : "", d->to_tag ? d->to_tag : "",
		cseq, method, strchr(d->at, ':') + 1, more);
	w.identity = d->names ? &id : NULL;
	say(&w, d->at, text);
	return answered(ret_s);
}

/* Begins it; the routes of either side. */
static void begin_in(const char *method, const struct side *d, const char *more, char caller[1024],
		     char callee[1024])
{
	struct sent s;
	assert_int_equal(say_in(method, d, more, &s), 0);
	sent_routes(&s, true, caller, 1024);
	sent_routes(&s, false, callee, 1024);
	sent_free(&s);
	assert_int_not_equal(caller[0], 0);
}

static unsigned speak_as(const char *method, struct side d, const char *from, const char *more)
{
	d.from = from;
	return say_in(method, &d, more, NULL);
}

/* Who began as a stranger or partner goes on as one, whoever he is now said to be; over whatever comes his next request. */
static void nobody_becomes_one_of_ours_in_his_dialog(void **state)
{
	static const struct {
		enum sip_federation_mode mode;
		const char *at, *names;
	} rows[] = { { SIP_FEDERATION_OPEN, FED, "third.test" },
		     { SIP_FEDERATION_OFF, UDP_AWAY, NULL },
		     { SIP_FEDERATION_OFF, TLS_AWAY, NULL } };
	char caller[1024], callee[1024];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct side d = {
			rows[i].at,    rows[i].names, "sip:bob@uc.test", "x@third.test", "f",
			"bob@uc.test", NULL
		};
		begin(rows[i].mode);
		begin_in("INVITE", &d, "", caller, callee);
		d.to_tag = "b";
		d.uri = "sip:bob@192.0.2.20";
		assert_int_equal(speak_as("MESSAGE", d, "x@third.test", caller), 0);
		assert_int_equal(speak_as("INVITE", d, "x@third.test", caller), 0);
		assert_int_equal(speak_as("MESSAGE", d, "x@anonymous.invalid", caller), 0);
		assert_int_equal(speak_as("MESSAGE", d, "ceo@uc.test", caller), 403);
		assert_int_equal(w.refused, SIP_REFUSE_IDENTITY);
		assert_int_equal(speak_as("INVITE", d, "ceo@UC.test", caller), 403);
		assert_int_equal(speak_as("BYE", d, "ceo@uc.test", caller), 0);
		assert_int_equal(speak_as("MESSAGE", d, "x@fourth.test", caller),
				 strcmp(d.at, FED) == 0 ? 403 : 0);
		d.at = UDP_AWAY; /* a Route is good by whatever way */
		d.names = NULL;
		assert_int_equal(speak_as("MESSAGE", d, "ceo@uc.test", caller), 403);
		d.at = LAN;
		assert_int_equal(speak_as("MESSAGE", d, "ceo@uc.test", caller), 0);
		const struct side bob = {
			"udp:192.0.2.20:5060", NULL, "sip:x@203.0.113.9", "bob@uc.test", "b",
			"x@third.test",	       "f"
		};
		assert_int_equal(say_in("MESSAGE", &bob, callee, NULL), 0);
		assert_int_equal(speak_as("MESSAGE", bob, "bob.builder@uc.test", callee), 0); /* RFC 4916 */
		end();
	}
}

/* One of ours calls out by a static route: who is called there is held to it, and the caller is not. To a call for one of ours that
 * was sent on, somebody else answers as him. */
static void whom_one_of_ours_has_called_is_not_one_of_ours(void **state)
{
	static const struct {
		const char *to, *to_tag, *from;
		unsigned code;
	} rows[] = {
		{ "y@udp.test", "b", "y@udp.test", 0 },
		{ "y@udp.test", "b", "ceo@uc.test", 403 },
		{ "y@udp.test", "f", "ceo@uc.test", 403 }, /* the caller's own tag */
		{ "bob@uc.test", "b", "bob@uc.test", 0 },
	};
	char caller[1024], callee[1024];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct side d = { LAN,	      NULL, "sip:y@udp.test", "alice@uc.test", "f",
				  rows[i].to, NULL };
		struct sent s;
		begin(SIP_FEDERATION_OFF);
		(void)snprintf(routing.routes->v[4].next, sizeof routing.routes->v[4].next,
			       "sip:192.0.2.50;transport=udp");
		begin_in("INVITE", &d, "", caller, callee);
		d = (struct side){ UDP,		 NULL,		 "sip:alice@10.0.0.9",
				   rows[i].from, rows[i].to_tag, "alice@uc.test",
				   "f" };
		assert_int_equal(say_in("MESSAGE", &d, callee, &s), rows[i].code);
		sent_free(&s);
		d = (struct side){ UDP_AWAY,   NULL, "sip:y@192.0.2.50", "alice@uc.test", "f",
				   rows[i].to, "b" };
		assert_int_equal(say_in("MESSAGE", &d, caller, NULL),
				 0); /* at home, without a password in his dialog */
		end();
	}
}

/* A NOTIFY records a route of its own, and goes to the Contact that a stranger has written. */
static void a_route_recorded_within_a_dialog_says_no_more_than_the_dialogs(void **state)
{
	char caller[1024], callee[1024], of_notify[1024], rest[1024];
	struct side d = { UDP_AWAY,	 NULL, "sip:bob@uc.test", "x@third.test", "f",
			  "bob@uc.test", NULL };
	(void)state;
	begin(SIP_FEDERATION_OFF);
	begin_in("INVITE", &d, "", caller, callee);
	const struct side bob = {
		"udp:192.0.2.20:5060", NULL, "sip:x@uc.test;maddr=203.0.113.9", "bob@uc.test", "b",
		"x@third.test",	       "f"
	};
	begin_in("NOTIFY", &bob, callee, rest, of_notify);
	d.to_tag = "b";
	d.uri = "sip:bob@192.0.2.20";
	assert_int_equal(speak_as("MESSAGE", d, "x@third.test", of_notify), 0);
	assert_int_equal(speak_as("MESSAGE", d, "ceo@uc.test", of_notify), 403);
	end();
}

/* A token of a version before says nothing of the sides, and calls go on over an upgrade. */
static void a_call_that_began_before_the_upgrade_goes_on(void **state)
{
	const struct sip_token t = { .flags = SIP_TOKEN_IFACE, .hop = hop_of(UDP) };
	const struct side d = { UDP_AWAY,	NULL, "sip:x@192.0.2.50", "alice@uc.test", "f",
				"x@third.test", "b" };
	char token[SIP_TOKEN_MAX], route[256];
	(void)state;
	begin(SIP_FEDERATION_OFF);
	assert_int_equal(sip_token_make(&w.o.token_key, &t, TEXT("dialog"), TEXT("f"), token), 0);
	(void)snprintf(route, sizeof route, "Route: <sip:%s@192.0.2.100;lr>\r\n", token);
	assert_int_equal(say_in("MESSAGE", &d, route, NULL), 0);
	end();
}

/* The first challenge for us, answered with this account. */
static unsigned log_in_after(uint64_t ms, const char *user, const char *password)
{
	char line[1024], response[SIP_DIGEST_HEX] = "", ha1[SIP_DIGEST_HEX];
	struct said q = { "MESSAGE", "sip:bob@uc.test", "x@login.test", "" };
	struct sip_auth offered, a;
	struct sent s;
	assert_int_equal(ask(UDP_AWAY, NULL, q, &s), 407);
	assert_int_equal(sip_auth_parse(text_of(sent_value(&s, SIP_H_PROXY_AUTHENTICATE, 0)), &offered), 0);
	for (unsigned round = 0; round < 2; round++) {
		int n = snprintf(line, sizeof line,
				 "Proxy-Authorization: Digest username=\"%s\", realm=\"uc.test\", nonce=\"%.*s\", uri=\"%s\", algorithm=MD5, qop=auth, "
				 "nc=00000001, cnonce=\"c\", response=\"%s\"\r\n",
				 user, TEXT_FMT(offered.param[SIP_D_NONCE]), q.uri, response);
		size_t from = sizeof("Proxy-Authorization:");
		assert_int_equal(sip_auth_parse((struct text){ line + from, (size_t)n - from - 2 }, &a), 0);
		assert_int_equal(sip_digest_ha1(SIP_ALG_MD5, text_of(user), TEXT("uc.test"), text_of(password), ha1), 0);
		assert_int_equal(sip_digest_response(SIP_ALG_MD5, ha1, &a, text_of(q.method), response), 0);
	}
	sent_free(&s);
	q.more = line;
	world_wait(&w, ms);
	world_forget(&w); /* repetitions of what was passed on */
	if (ms == 0)
		return ask(UDP_AWAY, NULL, q, NULL);
	unsigned code = ask(UDP_AWAY, NULL, q, &s);
	assert_int_equal(sent_has(&s, "stale=TRUE"), code == 407);
	sent_free(&s);
	return code;
}

static unsigned log_in(const char *user, const char *password)
{
	return log_in_after(0, user, password);
}

/* The other side of a route that proves itself with an account does so with that of the route, and with no other of ours. */
static void the_account_of_a_route_is_the_one_it_names(void **state)
{
	(void)state;
	begin(SIP_FEDERATION_OFF);
	assert_int_equal(log_in("alice", "secret"), 0);
	assert_int_equal(log_in("alice", "wrong"), 403);
	assert_int_equal(log_in_after(11 * 60 * 1000, "alice", "secret"), 407); /* the right one, but its nonce is old */
	assert_int_equal(log_in("carol", "secret"), 403);
	assert_int_equal(w.refused, SIP_REFUSE_IDENTITY);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transport_certificate_route_and_from_decide),
		cmocka_unit_test(nobody_outside_is_relayed_to_a_third_domain),
		cmocka_unit_test(no_certificate_registers_anybody),
		cmocka_unit_test(what_is_asserted_must_be_proven_too),
		cmocka_unit_test(a_partner_that_is_too_fast_gets_503_and_the_others_do_not),
		cmocka_unit_test(our_own_go_out_by_route_then_by_federation),
		cmocka_unit_test(a_way_that_leads_back_to_us_is_a_loop),
		cmocka_unit_test(an_answer_asserts_only_what_its_certificate_covers),
		cmocka_unit_test(who_answers_in_our_network_is_no_strangers_business),
		cmocka_unit_test(in_a_dialog_a_stranger_hears_no_identity_either),
		cmocka_unit_test(what_a_partner_sends_in_a_dialog_counts),
		cmocka_unit_test(nobody_becomes_one_of_ours_in_his_dialog),
		cmocka_unit_test(whom_one_of_ours_has_called_is_not_one_of_ours),
		cmocka_unit_test(a_route_recorded_within_a_dialog_says_no_more_than_the_dialogs),
		cmocka_unit_test(a_call_that_began_before_the_upgrade_goes_on),
		cmocka_unit_test(the_account_of_a_route_is_the_one_it_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
