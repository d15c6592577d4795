/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile test reach PORT: can this port be reached from the outside, as a router's rule for a share must make it? The agent of
 * this machine asks its server to connect back, and meanwhile a thread here listens on the port, unless somebody does
 * already. Whether it was this machine that was reached shows the nonce of the question (common/reach.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include "cli/get.h"
#include "common/bytes.h"
#include "common/fd.h"
#include "common/json.h"
#include "common/reach.h"
#include "share/forward/ports.h"

enum { LISTEN_BACKLOG = 8, REQUEST_MS = 2000, PATIENCE_MS = 25000, CONNECT_TRIES = 200, CONNECT_US = 100000 };

struct ear { /* what listens here while the server tries */
	pthread_t thread;
	int fd, stop[2];
	bool running;
	uint8_t nonce[REACH_NONCE];
	_Atomic bool heard; /* the nonce came here */
};

/* ---- listening ---- */

static void hear(struct ear *e, int fd)
{
	char in[REACH_QUESTION_MAX], out[REACH_ANSWER_MAX];
	uint8_t nonce[REACH_NONCE];
	size_t n = 0;

	while (n < sizeof in) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got = poll(&p, 1, REQUEST_MS) > 0 ? recv(fd, in + n, sizeof in - n, MSG_DONTWAIT) : 0;
		if (got <= 0)
			return;
		n += (size_t)got;
		if (!reach_asked((struct text){ in, n }, nonce))
			continue;
		if (memcmp(nonce, e->nonce, sizeof nonce) == 0)
			atomic_store(&e->heard, true);
		(void)!send(fd, out, reach_answer(nonce, out), MSG_NOSIGNAL);
		return;
	}
}

static void *listen_on(void *arg)
{
	struct ear *e = arg;

	for (;;) {
		struct pollfd p[2] = { { .fd = e->fd, .events = POLLIN }, { .fd = e->stop[0], .events = POLLIN } };
		_cleanup_(closep) int fd = -1;
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[1].revents)
			return NULL;
		fd = p[0].revents ? accept4(e->fd, NULL, NULL, SOCK_CLOEXEC) : -1;
		if (fd >= 0)
			hear(e, fd);
	}
}

/* 0; -EADDRINUSE: somebody else listens; another -errno. */
static int ear_open(struct ear *e, uint16_t port)
{
	struct addr at = addr_v4(INADDR_ANY, port);
	int one = 1;

	e->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (e->fd < 0)
		return -errno;
	(void)setsockopt(e->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(e->fd, &at.sa, addr_len(&at)) < 0 || listen(e->fd, LISTEN_BACKLOG) < 0 || pipe2(e->stop, O_CLOEXEC) < 0)
		return -errno;
	if (pthread_create(&e->thread, NULL, listen_on, e) != 0)
		return -EAGAIN;
	e->running = true;
	return 0;
}

static void ear_close(struct ear *e)
{
	if (e->running) {
		(void)!write(e->stop[1], "", 1);
		(void)pthread_join(e->thread, NULL);
	}
	for (unsigned i = 0; i < 2; i++)
		if (e->stop[i] >= 0)
			close(e->stop[i]);
	if (e->fd >= 0)
		close(e->fd);
}

/* ---- what came of it ---- */

struct outcome {
	const char *result, *text;
	struct addr outside, inside;
	bool listening, heard;
	double ms;
	char holder[128];
};

static bool is(const struct outcome *o, const char *label)
{
	return strcmp(o->result, label) == 0;
}

static bool is_good(const struct outcome *o)
{
	return o->heard || (is(o, "ours") && !o->listening);
}

static void explain(const struct outcome *o, struct sb *b)
{
	char at[ADDR_STRLEN];

	(void)addr_print(&o->outside, at);
	if (o->heard)
		sb_fmt(b, "the server has reached this machine at %s, in %.0f ms", at, o->ms);
	else if (is(o, "ours") && !o->listening)
		sb_fmt(b, "a share or test of Stile answers at %s; here the port is held by %s", at, o->holder);
	else if (is(o, "ours"))
		sb_fmt(b, "Stile answers at %s, but on another machine than this one: the router's rule leads there (the same last octet in another subnet?)", at);
	else if (is(o, "open") && o->listening)
		sb_fmt(b, "something answers at %s that is not this machine: the router itself, or its rule leads to another one", at);
	else if (is(o, "open"))
		sb_fmt(b, "something that is not Stile answers at %s; here the port is held by %s", at, o->holder);
	else if (is(o, "refused"))
		sb_fmt(b, "%s refuses connections: the router has no rule for this port, or the rule leads to a machine where nobody listens", at);
	else if (is(o, "silent"))
		sb_fmt(b, "%s does not answer: the router has no rule for this port, or a firewall drops it on the way", at);
	else
		sb_fmt(b, "%s was not reached: %s", at, o->text);
}

/* Behind a NAT and in the server's own network look alike from here; the address the server sees tells them apart. */
static void note(const struct outcome *o)
{
	char rule[FORWARD_RULE_STRLEN];

	if (addr_equal_ip(&o->inside, &o->outside))
		printf("  There is no NAT between this machine and the server: it was reached, or not, without a router's rule\n");
	else if (addr_classify(&o->outside) != ADDR_GLOBAL && addr_classify(&o->outside) != ADDR_DOCUMENTATION)
		printf("  The server sees this machine at an address that is not public: a rule of the router to the outside was not tried\n");
	if (!is_good(o) && !addr_equal_ip(&o->inside, &o->outside))
		printf("  The rule that the router needs: %s\n", forward_rule(&o->outside, &o->inside, rule));
}

static int show(struct cli *cli, const struct outcome *o, const json_t *answer)
{
	char line[512];
	struct sb b = sb_init(line, sizeof line);
	char in[ADDR_STRLEN], out[ADDR_STRLEN], rule[FORWARD_RULE_STRLEN];

	explain(o, &b);
	if (cli_has(cli, "json")) {
		json_t *j = json_pack("{s:b, s:s, s:s, s:s, s:s, s:b, s:f, s:s, s:s}", "reached", is_good(o), "result", o->result, "text", line, "outside",
				      addr_print(&o->outside, out), "inside", addr_print(&o->inside, in), "here", o->heard, "ms", o->ms, "rule",
				      forward_rule(&o->outside, &o->inside, rule), "server", text_of_key(answer, "server"));
		print_json(j);
		json_decref(j);
	} else {
		print_check(cli, is_good(o), "reach", line);
		note(o);
	}
	return is_good(o) ? 0 : EXIT_FAILED;
}

/* This machine's end of the agent's control connection to that server: what the router knows it by. */
static struct addr inside_of(struct cli *cli, struct control_client *cl, const char *server, uint16_t port)
{
	json_t *st = NULL, *s;
	struct addr a = { 0 };
	size_t i;

	if (cli_call(cli, cl, "agent.status", NULL, &st) == 0)
		json_array_foreach(json_object_get(st, "servers"), i, s)
			if (strcmp(text_of_key(s, "server"), server) == 0)
				(void)addr_parse(text_of(text_of_key(s, "local")), 0, &a);
	json_decref(st);
	if (addr_family(&a) != AF_UNSPEC)
		addr_set_port(&a, port);
	return a;
}

static int await_connected(struct cli *cli, struct control_client *cl)
{
	for (unsigned i = 0; i < CONNECT_TRIES; i++) {
		json_t *st = NULL;
		int r = cli_call(cli, cl, "agent.status", NULL, &st);
		const json_t *s = json_array_get(json_object_get(st, "servers"), 0);
		bool up = number_of_key(st, "connected") > 0, no = strcmp(text_of_key(s, "state"), "reconnecting") == 0 && *text_of_key(s, "why");
		if (no)
			r = cli_fail(cli, "the server of the code: %s", text_of_key(s, "why"));
		json_decref(st);
		if (r || up)
			return r;
		(void)usleep(CONNECT_US);
	}
	return cli_fail(cli, "the server that stands in the code does not answer, or does not know the share any more");
}

/* The agent of this machine; or, with a code, one that is the guest of its share for as long as it takes. */
static int reach_agent(struct cli *cli, struct control_client **ret_cl)
{
	const char *text = cli_option(cli, "code");
	struct share_code code;
	struct share_keys keys;
	enum share_code_error bad;
	char socket[256];
	int r;

	if (!text)
		return cli_connect_patient(cli, AGENT_PROGRAM, PATIENCE_MS, ret_cl);
	bad = share_code_parse(text_of(text), &code);
	if (bad != SHARE_CODE_OK || !code.host[0])
		return cli_wrong(cli, "--code: %s", bad ? share_code_error_text(bad) : "the server's place, @HOST:PORT, is missing at its end");
	if (share_keys_make(code.secret, &keys) < 0)
		return cli_fail(cli, "out of memory");
	r = get_guest_agent(cli, &code, &keys, socket, sizeof socket);
	if (r)
		return r;
	if (control_connect(socket, PATIENCE_MS, ret_cl) < 0)
		return cli_fail(cli, "the agent that was started for this does not answer");
	return await_connected(cli, *ret_cl);
}

static int try_it(struct cli *cli, struct ear *e, uint16_t port)
{
	_cleanup_(control_client_freep) struct control_client *cl = NULL;
	char hex[2 * REACH_NONCE + 1];
	const char *server = cli_option(cli, "server");
	struct outcome o = { .listening = e->running };
	json_t *args, *answer = NULL;
	int r = reach_agent(cli, &cl);

	if (r)
		return r;
	hex_encode(e->nonce, REACH_NONCE, hex);
	args = json_pack("{s:i, s:s}", "port", (int)port, "nonce", hex);
	if (server)
		json_object_set_new(args, "server", json_string(server));
	r = cli_call(cli, cl, "agent.reach", args, &answer);
	if (r == 0) {
		o.result = text_of_key(answer, "result");
		o.text = text_of_key(answer, "text");
		o.ms = (double)number_of_key(answer, "us") / 1000;
		o.heard = atomic_load(&e->heard);
		(void)addr_parse(text_of(text_of_key(answer, "address")), 0, &o.outside);
		o.inside = inside_of(cli, cl, text_of_key(answer, "server"), port);
		if (!o.listening && !port_holder(port, false, o.holder, sizeof o.holder))
			snprintf(o.holder, sizeof o.holder, "another program");
		r = show(cli, &o, answer);
	}
	json_decref(answer);
	return r;
}

static int run_reach(struct cli *cli)
{
	struct ear e = { .fd = -1, .stop = { -1, -1 } };
	char holder[128];
	uint64_t port;
	int r;

	if (text_u64(text_of(cli->words[0]), &port) < 0 || port < 1 || port > 65535)
		return cli_wrong(cli, "PORT is a number from 1 to 65535, not '%s'", cli->words[0]);
	if (bytes_random(e.nonce, sizeof e.nonce) < 0)
		return cli_fail(cli, "no random numbers");
	r = port_holder((uint16_t)port, false, holder, sizeof holder) ? -EADDRINUSE : ear_open(&e, (uint16_t)port);
	if (r < 0 && r != -EADDRINUSE) {
		ear_close(&e);
		return cli_fail(cli, "cannot listen on port %u: %s", (unsigned)port, strerror(-r));
	}
	r = try_it(cli, &e, (uint16_t)port);
	get_guest_end();
	ear_close(&e);
	return r;
}

static const struct option_row options[] = {
	{ "code", 0, "CODE", "of a share: asks the server that stands in it, where no agent of this machine is enrolled", false },
	{ "server", 's', "HOST", "that tunnel server of the agent (default: the first that is connected)", false },
};
static const struct command rows[] = {
	{ "test reach", "PORT", "does a router's rule lead here? The server connects back",
	  "The tunnel server that this machine's agent is connected to tries to connect to PORT of the address that it sees the agent\n"
	  "at, and to no other. Meanwhile this command listens there, unless a share does already. Says whether the forwarding works,\n"
	  "and the rule that the router needs. With --code no agent is needed here: it is the guest of that share. Exit 1 if the port was not reached.",
	  options, ARRAY_LEN(options), 1, 1, run_reach, WITHOUT_CONFIG },
};
const struct command_table test_reach_commands = { rows, ARRAY_LEN(rows) };
