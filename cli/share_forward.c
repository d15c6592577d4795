/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See share_forward.h. The test from the outside is a verb of the agent, asked by a thread, for the tool's control client waits;
 * its answer comes as mail to the loop. It is made when the router has said its word, and again for each new public address.
 * Whether it was this share that was reached shows the nonce of the question (common/reach.h).
 */
#include "cli/share_forward.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "cli/relay.h"
#include "cli/tunnel.h"
#include "common/bytes.h"
#include "common/json.h"
#include "common/reach.h"
#include "common/service.h"
#include "gateway/page.h"
#include "share/forward/config.h"

enum { AGENT_MS = 30000, ASK_ROUTER_MS = 8000 };
/* For the default way alone: nothing is sent there (RFC 5737). */
#define OUTSIDE "198.51.100.1"

struct reach_test {
	pthread_t thread;
	struct loop *loop;
	struct share_forward *f; /* the loop's: the thread may outlive it */
	struct mail mail;
	char socket[512], hex[2 * REACH_NONCE + 1];
	uint16_t port;
	json_t *answer; /* NULL: error has the reason */
	char error[300];
};

struct share_forward {
	struct share_forward_options o;
	struct cfg *cfg;
	const struct share_config *config;
	struct forward_face faces[FORWARD_FACES_MAX];
	unsigned n_faces;
	struct addr inside;
	uint16_t base;
	struct opener *opener;
	struct timer late; /* the router has had its time */
	uint8_t nonce[REACH_NONCE];
	bool heard, testing, tested, told;
	enum opener_mapping said;
	char rule[FORWARD_RULE_STRLEN];
};

static void say(struct share_forward *f, const char *event, const char *text, json_t *more)
{
	f->o.say(event, text, more, f->o.arg);
}

/* ---- the port ---- */

static int no_interface(struct share_forward *f, const char *wanted)
{
	char list[600], ip[ADDR_STRLEN];
	struct sb b = sb_init(list, sizeof list);

	for (unsigned i = 0; i < f->n_faces; i++)
		sb_fmt(&b, "%s%s (%s)", i ? ", " : "", f->faces[i].name, addr_print_ip(&f->faces[i].ip, ip));
	if (wanted)
		return cli_fail(f->o.cli, "no interface of this machine is called %s or has this address; there are %s", wanted, list);
	return cli_fail(f->o.cli, "no interface leads to the outside; --interface names the one that the router's rule leads to: %s", f->n_faces ? list : "none has an IPv4 address");
}

/* What of the other interfaces should be known. */
static void tell_others(struct share_forward *f, const struct forward_face *mine)
{
	char line[900], ip[ADDR_STRLEN];
	struct sb b = sb_init(line, sizeof line);
	unsigned others = 0;

	if (mine->twin) {
		sb_fmt(&b, "%s has the same last octet in another subnet, and so the same port %u: a rule of the router can lead to one of them; this is %s", mine->twin,
		       mine->port, addr_print_ip(&mine->ip, ip));
		say(f, "twin", line, NULL);
	}
	b = sb_init(line, sizeof line);
	sb_fmt(&b, "this machine has several interfaces: %s (%s) is used; --interface chooses another:", mine->name, addr_print_ip(&mine->ip, ip));
	for (unsigned i = 0; i < f->n_faces; i++) {
		const struct forward_face *o = &f->faces[i];
		if (o == mine)
			continue;
		sb_fmt(&b, "%s %s (%s, port ", others++ ? "," : "", o->name, addr_print_ip(&o->ip, ip));
		sb_fmt(&b, o->port ? "%u)" : "%u: too high)", o->sum);
	}
	if (others)
		say(f, "interfaces", line, NULL);
}

static int choose(struct share_forward *f)
{
	const char *wanted = cli_option(f->o.cli, "interface");
	uint64_t base = f->config->base_port;
	struct forward_face *mine;
	struct addr outside;
	char ip[ADDR_STRLEN];
	int r = cli_number(f->o.cli, "base-port", 1, 65535, &base);

	if (r)
		return r;
	f->base = (uint16_t)base;
	(void)addr_parse(TEXT(OUTSIDE), 9, &outside);
	wanted = wanted ? wanted : f->config->interface;
	f->n_faces = forward_faces(f->base, &outside, f->faces);
	mine = forward_choose(f->faces, f->n_faces, wanted);
	if (!mine)
		return no_interface(f, wanted);
	if (!mine->port)
		return cli_fail(f->o.cli, "base port %u and the last octet of %s are %u, which is no port: share.base_port may be 65280 at most for every address (--base-port)",
				f->base, addr_print_ip(&mine->ip, ip), mine->sum);
	f->inside = mine->ip;
	addr_set_port(&f->inside, mine->port);
	tell_others(f, mine);
	return 0;
}

/* ---- the test from the outside ---- */

static void *ask_agent(void *arg)
{
	struct reach_test *t = arg;
	struct control_client *cl = NULL;
	json_t *error = NULL;
	int r = control_connect(t->socket, AGENT_MS, &cl);

	if (r == 0)
		r = control_call(cl, "agent.reach", json_pack("{s:i, s:s}", "port", (int)t->port, "nonce", t->hex), &t->answer, &error);
	if (r < 0)
		(void)snprintf(t->error, sizeof t->error, "no stile-agent runs here that could have it tested (%s)", strerror(-r));
	else if (r == CONTROL_ERROR)
		(void)snprintf(t->error, sizeof t->error, "%s", text_of_key(error, "text"));
	json_decref(error);
	control_client_free(cl);
	loop_post(t->loop, &t->mail);
	return NULL;
}

static void verdict(struct share_forward *f, const char *result, const char *at, const char *text, char *line, size_t n)
{
	if (f->heard)
		(void)snprintf(line, n, "✔ the forwarding works: the server has reached this share at %s", at);
	else if (strcmp(result, "ours") == 0)
		(void)snprintf(line, n, "✘ at %s another machine's share answers: the router's rule leads there (the same last octet in another subnet?)", at);
	else if (strcmp(result, "open") == 0)
		(void)snprintf(line, n, "✘ at %s something answers that is not this share: the router itself, or its rule leads to another machine", at);
	else if (strcmp(result, "refused") == 0 || strcmp(result, "silent") == 0)
		(void)snprintf(line, n, "✘ the share cannot be reached at %s (%s): the router needs the rule %s", at, strcmp(result, "silent") == 0 ? "no answer" : "refused", f->rule);
	else
		(void)snprintf(line, n, "✘ %s was not reached: %s", at, *text ? text : result);
}

static void on_tested(struct mail *m, struct loop *l)
{
	struct reach_test *t = container_of(m, struct reach_test, mail);
	struct share_forward *f = t->f;
	const char *result = text_of_key(t->answer, "result");
	char line[700];

	(void)l;
	(void)pthread_join(t->thread, NULL);
	f->testing = false;
	if (!t->answer)
		(void)snprintf(line, sizeof line, "the forwarding is not tested: %s", t->error);
	else
		verdict(f, result, text_of_key(t->answer, "address"), text_of_key(t->answer, "text"), line, sizeof line);
	say(f, "reach", line, json_pack("{s:s, s:b}", "result", t->answer ? result : "not-tested", "here", f->heard));
	json_decref(t->answer);
	free(t);
}

static void test(struct share_forward *f)
{
	struct reach_test *t;
	struct instance i;
	char err[256];

	if (f->testing || !f->config->test || cli_place(f->o.cli, AGENT_PROGRAM, &i, err, sizeof err) < 0)
		return;
	t = calloc(1, sizeof *t);
	if (!t || bytes_random(f->nonce, sizeof f->nonce) < 0) {
		free(t);
		return;
	}
	*t = (struct reach_test){ .loop = f->o.loop, .f = f, .mail = { .deliver = on_tested }, .port = addr_port(&f->inside) };
	(void)snprintf(t->socket, sizeof t->socket, "%s", i.socket_path);
	hex_encode(f->nonce, sizeof f->nonce, t->hex);
	f->heard = false;
	f->testing = f->tested = true;
	if (pthread_create(&t->thread, NULL, ask_agent, t) != 0) {
		f->testing = false;
		free(t);
	}
}

bool share_forward_page(struct httpd_rq *rq, struct text name, void *arg)
{
	const struct page_file *f = page_find(name);

	(void)arg;
	if (!f)
		return false;
	for (const char *const *p = page_fields; *p; p += 2)
		httpd_add(rq, p[0], "%s", p[1]);
	httpd_add(rq, "ETag", "%s", f->etag);
	httpd_reply_static(rq, 200, f->type, f->data);
	return true;
}

bool share_forward_asked(struct share_forward *f, struct httpd_rq *rq)
{
	uint8_t nonce[REACH_NONCE];
	char proof[REACH_PROOF + 1];

	if (!text_eq(httpd_method(rq), TEXT("GET")) || !reach_path_nonce(httpd_path(rq), nonce))
		return false;
	if (memcmp(nonce, f->nonce, sizeof nonce) == 0)
		f->heard = true;
	reach_proof(nonce, proof);
	httpd_reply(rq, 200, "text/plain", text_of(proof));
	return true;
}

/* ---- what is found out ---- */

static void tell_ready(struct share_forward *f, const struct opener_state *s)
{
	bool known = addr_family(&s->outside) != AF_UNSPEC;
	char at[ADDR_STRLEN], url[ADDR_STRLEN + 16], line[400];
	bool again = f->told;

	if (!known && !f->told) {
		(void)snprintf(line, sizeof line, "the public address is not known: %s", public_why_text(s->why));
		say(f, "unknown", line, NULL);
	}
	(void)forward_rule(known ? &s->outside : NULL, &s->inside, f->rule);
	(void)snprintf(url, sizeof url, "http://%s", addr_print(known ? &s->outside : &s->inside, at));
	f->told = true;
	f->o.ready(url, f->rule, again, f->o.arg);
}

static void tell_router(struct share_forward *f, const struct opener_state *s)
{
	char line[400], a[ADDR_STRLEN], b[ADDR_STRLEN];

	if (s->mapping == f->said || s->mapping == OPENER_ASKING)
		return;
	f->said = s->mapping;
	say(f, "router", opener_text(s, line, sizeof line), json_pack("{s:b}", "open", s->mapping == OPENER_OPEN));
	if (s->behind_more) {
		(void)snprintf(line, sizeof line, "the router's outside address is %s and the public one is %s: there is another NAT in front of it, which would need a rule, too",
			       addr_print_ip(&s->router_says, a), addr_print_ip(&s->outside, b));
		say(f, "nat", line, NULL);
	}
}

static bool settled(const struct opener_state *s)
{
	return s->mapping != OPENER_ASKING && s->why != PUBLIC_ASKING;
}

static void on_changed(const struct opener_state *s, bool moved, void *arg)
{
	struct share_forward *f = arg;
	bool known = addr_family(&s->outside) != AF_UNSPEC;

	if (moved || (!f->told && (known || settled(s))))
		tell_ready(f, s);
	if (!f->told)
		return;
	tell_router(f, s);
	if (moved || (settled(s) && !f->tested))
		test(f);
}

/* A router that says neither yes nor no. */
static void on_late(struct timer *t, uint64_t now)
{
	struct share_forward *f = container_of(t, struct share_forward, late);

	(void)now;
	if (!f->told)
		tell_ready(f, opener_state(f->opener));
	if (!f->tested)
		test(f);
}

/* ---- life ---- */

int share_forward_new(const struct share_forward_options *o, struct share_forward **ret_f)
{
	_cleanup_(share_forward_freep) struct share_forward *f = calloc(1, sizeof *f);
	int r;

	if (!f)
		return cli_fail(o->cli, "out of memory");
	f->o = *o;
	f->late.fire = on_late;
	r = share_config_load(cli_config_path(o->cli), cli_has(o->cli, "config"), &f->cfg);
	if (r < 0)
		return EXIT_USAGE;
	f->config = &share_root_of(f->cfg)->share;
	r = choose(f);
	if (r == 0)
		*ret_f = steal_ptr(&f);
	return r;
}

int share_forward_begin(struct share_forward *f)
{
	const struct cfg_list *stun = &share_root_of(f->cfg)->stun_servers;
	int r = opener_new(&(struct opener_options){ .loop = f->o.loop, .inside = f->inside, .stun_servers = stun->items, .n_stun_servers = stun->n,
						     .mapping = f->config->port_mapping, .changed = on_changed, .arg = f }, &f->opener);

	if (r < 0)
		return cli_fail(f->o.cli, "%s", strerror(-r));
	loop_timer_set(f->o.loop, &f->late, ASK_ROUTER_MS);
	return 0;
}

const struct addr *share_forward_inside(const struct share_forward *f)
{
	return &f->inside;
}

bool share_forward_tests(const struct share_forward *f)
{
	return f && f->testing;
}

struct share_forward *share_forward_free(struct share_forward *f)
{
	if (!f)
		return NULL;
	timer_stop(&f->late);
	opener_free(f->opener);
	cfg_free(f->cfg);
	free(f);
	return NULL;
}
