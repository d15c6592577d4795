/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two clients, A and B, of the same server. Each step starts something at both ends and runs the loop
 * until both have it, one failed, or the deadline came. The peer of each is the other's relay address,
 * so what is proved is the server's own relaying, out and back in.
 */
#include "cli/turn_probe.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cli/command.h"
#include "cli/turn_reason.h"
#include "common/clock.h"
#include "stun/transaction.h"

const char *const turn_probe_step_names[PROBE_STEPS] = {
	"connect", "binding", "allocate", "send", "channel", "guard", "release",
};

enum { BIG_PACKET = 1200, SMALL_PACKET = 160, PACE_MS = 1 };

struct end {
	struct probe *p;
	struct turn_link *link;
	struct turn_client *client;
	bool ready; /* has what the present step waits for */
};

struct probe {
	const struct turn_probe_options *o;
	struct turn_probe_result *r;
	struct loop *loop;
	struct end end[2];
	enum turn_probe_step step;
	bool failed;
	struct timer deadline, pace;
	struct stun_tx *binding;
	unsigned next, echoed, wanted;
	uint8_t pattern[BIG_PACKET];
};

/* ---- steps ---- */

static double now_ms(void)
{
	return (double)clock_steady_ns() / 1e6;
}

static void fail(struct probe *p, const char *why)
{
	if (p->failed)
		return;
	p->failed = true;
	snprintf(p->r->text[p->step], sizeof p->r->text[p->step], "%s", why);
	loop_stop(p->loop);
}

static void ready(struct end *e)
{
	struct probe *p = e->p;

	e->ready = true;
	if (p->end[0].ready && p->end[1].ready)
		loop_stop(p->loop);
}

static void on_deadline(struct timer *t, uint64_t now)
{
	struct probe *p = container_of(t, struct probe, deadline);
	char text[256];

	(void)now;
	if (p->step == PROBE_SEND || p->step == PROBE_CHANNEL) /* judged by the count */
		loop_stop(p->loop);
	else
		fail(p, turn_silence_reason(p->o, p->step, text, sizeof text));
}

/* Runs the loop for one step that was started; its time and outcome go to the result. */
static bool run_step(struct probe *p, double began)
{
	loop_timer_set(p->loop, &p->deadline, p->o->step_ms);
	if (!p->failed && !(p->end[0].ready && p->end[1].ready))
		(void)loop_run(p->loop);
	timer_stop(&p->deadline);
	p->r->done[p->step] = true;
	p->r->ms[p->step] = now_ms() - began;
	p->r->good[p->step] = !p->failed;
	return !p->failed;
}

static void begin_step(struct probe *p, enum turn_probe_step step)
{
	p->step = step;
	p->end[0].ready = p->end[1].ready = false;
}

/* ---- what the ends report ---- */

static void on_open(struct turn_link *l, void *arg)
{
	(void)l;
	ready(arg);
}

static void on_link_close(struct turn_link *l, int err, const char *why, void *arg)
{
	struct end *e = arg;
	char text[256];

	const struct turn_link_end end = { err, why, turn_link_ssl(l) };
	fail(e->p, turn_link_reason(e->p->o, e->p->step, &end, text, sizeof text));
}

static void on_message(struct turn_link *l, uint8_t *data, size_t n, void *arg)
{
	struct end *e = arg;
	struct stun_msg m;

	(void)l;
	if (e->p->step == PROBE_BINDING && e->p->binding && stun_parse(data, n, &m) == STUN_OK) {
		(void)stun_tx_input(e->p->binding, &m);
		return;
	}
	if (e->client)
		turn_client_input(e->client, data, n);
}

static void client_send(const void *data, size_t n, void *arg)
{
	struct end *e = arg;

	(void)turn_link_send(e->link, data, n);
}

static void on_allocated(struct turn_client *c, void *arg)
{
	(void)c;
	ready(arg);
}

static void on_permitted(struct turn_client *c, const struct addr *peer, void *arg)
{
	struct end *e = arg;

	(void)c;
	(void)peer;
	if (e->p->step == PROBE_GUARD)
		fail(e->p, "this server relays to link-local addresses (169.254.169.254): anybody who may use it reaches what is "
			   "meant for this machine alone; see turn.peers.allow");
	ready(e);
}

static void on_bound(struct turn_client *c, const struct addr *peer, uint16_t channel, void *arg)
{
	(void)c;
	(void)peer;
	(void)channel;
	ready(arg);
}

static void on_released(struct turn_client *c, void *arg)
{
	(void)c;
	ready(arg);
}

static void on_failed(struct turn_client *c, const struct turn_failure *f, void *arg)
{
	struct end *e = arg;
	char text[256];

	(void)c;
	if (e->p->step == PROBE_RELEASE && f->method != STUN_REFRESH)
		return; /* the other end's answer to the step that failed */
	turn_failure_text(f, text, sizeof text);
	if (e->p->step == PROBE_GUARD && f->kind == TURN_FAIL_REFUSED) {
		snprintf(e->p->r->text[PROBE_GUARD], sizeof e->p->r->text[0], "a link-local peer is refused: %u %s", f->code, f->reason);
		e->p->end[1].ready = true;
		ready(e);
		return;
	}
	fail(e->p, text);
}

/* A sends numbered packets to B's relay address; B sends each back; A compares. */
static void on_data(struct turn_client *c, const struct addr *peer, const uint8_t *data, size_t n, bool by_channel, void *arg)
{
	struct end *e = arg;
	struct probe *p = e->p;

	if (e == &p->end[1]) {
		(void)turn_client_send(c, peer, data, n);
		return;
	}
	if (by_channel != (p->step == PROBE_CHANNEL) || (n != BIG_PACKET && n != SMALL_PACKET))
		return;
	if (memcmp(data + 4, p->pattern + 4, n - 4) != 0) {
		fail(p, "a packet came back changed");
		return;
	}
	if (++p->echoed == p->wanted) {
		p->end[0].ready = p->end[1].ready = true;
		loop_stop(p->loop);
	}
}

static const struct turn_link_ops link_ops = { on_open, on_message, on_link_close };
static const struct turn_client_ops client_ops = {
	.send = client_send, .on_allocated = on_allocated, .on_permitted = on_permitted, .on_bound = on_bound,
	.on_data = on_data, .on_failed = on_failed, .on_released = on_released,
};

/* ---- the steps ---- */

static uint64_t client_now(void *arg)
{
	return loop_now(((struct end *)arg)->p->loop);
}

static bool step_connect(struct probe *p)
{
	char err[TLS_ERRLEN], certificate[64];
	double began = now_ms();

	begin_step(p, PROBE_CONNECT);
	for (unsigned i = 0; i < 2 && !p->failed; i++) {
		struct turn_link_options lo = { .proto = p->o->proto, .server = p->o->server,
						.server_name = p->o->server_name, .verify = p->o->verify,
						.ca_file = p->o->ca_file, .ops = &link_ops, .arg = &p->end[i] };
		if (turn_link_new(p->loop, &lo, err, &p->end[i].link) < 0)
			fail(p, err);
	}
	if (!run_step(p, began))
		return false;
	SSL *ssl = turn_link_ssl(p->end[0].link);
	p->r->done[PROBE_CONNECT] = p->o->proto != TURN_UDP; /* a socket of our own proves nothing */
	snprintf(p->r->text[PROBE_CONNECT], sizeof p->r->text[0], "%s", "connected");
	if (ssl)
		snprintf(p->r->text[PROBE_CONNECT], sizeof p->r->text[0], "%s, %s, %s", SSL_get_version(ssl),
			 SSL_get_cipher_name(ssl), turn_certificate_text(ssl, p->o->verify, certificate, sizeof certificate));
	return true;
}

static void binding_send(struct stun_tx *t, const void *data, size_t n, void *arg)
{
	(void)t;
	(void)turn_link_send(((struct probe *)arg)->end[0].link, data, n);
}

static void binding_done(struct stun_tx *t, const struct stun_msg *m, void *arg)
{
	struct probe *p = arg;
	char a[256];

	(void)t;
	if (!m)
		fail(p, turn_silence_reason(p->o, PROBE_BINDING, a, sizeof a));
	else if (m->class != STUN_SUCCESS || stun_get_addr(m, STUN_A_XOR_MAPPED_ADDRESS, &p->r->mapped) < 0)
		fail(p, "Binding was refused");
	else
		snprintf(p->r->text[PROBE_BINDING], sizeof p->r->text[0], "the server sees you as %s", addr_print(&p->r->mapped, a));
	p->end[0].ready = p->end[1].ready = true;
	loop_stop(p->loop);
}

static bool step_binding(struct probe *p)
{
	static const struct stun_tx_ops ops = { binding_send, binding_done };
	uint8_t buf[64], tid[STUN_TID_LEN];
	struct stun_writer sw;
	double began = now_ms();

	begin_step(p, PROBE_BINDING);
	if (bytes_random(tid, sizeof tid) < 0)
		fail(p, "no random numbers to be had");
	stun_begin(&sw, buf, sizeof buf, STUN_BINDING, STUN_REQUEST, tid);
	ssize_t n = stun_end(&sw);
	const struct stun_tx_options o = { .timers = loop_timers(p->loop),
					   .reliable = turn_link_is_stream(p->end[0].link),
					   .ops = &ops,
					   .arg = p };
	if (!p->failed && stun_tx_new(&o, loop_now(p->loop), buf, (size_t)n, &p->binding) < 0)
		fail(p, "out of memory");
	bool good = run_step(p, began);
	p->binding = stun_tx_free(p->binding);
	return good;
}

static bool step_allocate(struct probe *p)
{
	double began = now_ms();
	char a[ADDR_STRLEN];

	begin_step(p, PROBE_ALLOCATE);
	for (unsigned i = 0; i < 2 && !p->failed; i++) {
		struct end *e = &p->end[i];
		struct turn_client_options co = { .timers = loop_timers(p->loop), .now = client_now, .user = p->o->user,
						  .password = p->o->password, .stream = turn_link_is_stream(e->link),
						  .ops = &client_ops, .arg = e };
		if (turn_client_new(&co, &e->client) < 0)
			fail(p, "the user name or password has characters that are not allowed (RFC 8265)");
		else if (turn_client_allocate(e->client) < 0)
			fail(p, "out of memory");
	}
	if (!run_step(p, began))
		return false;
	p->r->relayed = *turn_client_relayed(p->end[0].client);
	snprintf(p->r->text[PROBE_ALLOCATE], sizeof p->r->text[0], "relay address %s for %u s, realm %s, %s",
		 addr_print(&p->r->relayed, a), turn_client_lifetime_s(p->end[0].client), turn_client_realm(p->end[0].client),
		 turn_client_uses_sha256(p->end[0].client) ? "SHA-256" : "MD5 and SHA-1");
	return true;
}

static bool both(struct probe *p, int (*start)(struct turn_client *, const struct addr *))
{
	double began = now_ms();

	for (unsigned i = 0; i < 2 && !p->failed; i++)
		if (start(p->end[i].client, turn_client_relayed(p->end[1 - i].client)) < 0)
			fail(p, "out of memory");
	return run_step(p, began);
}

static void on_pace(struct timer *t, uint64_t now)
{
	struct probe *p = container_of(t, struct probe, pace);

	(void)now;
	if (p->next >= p->wanted)
		return;
	size_t n = p->next++ % 8 == 7 ? BIG_PACKET : SMALL_PACKET;
	p->r->sent++;
	(void)turn_client_send(p->end[0].client, turn_client_relayed(p->end[1].client), p->pattern, n);
	loop_timer_set(p->loop, &p->pace, PACE_MS);
}

static bool echo(struct probe *p)
{
	double began = now_ms();

	p->end[0].ready = p->end[1].ready = false;
	p->next = p->echoed = 0;
	p->wanted = p->o->packets;
	loop_timer_set(p->loop, &p->pace, 0);
	if (!run_step(p, began))
		return false;
	timer_stop(&p->pace);
	p->r->echoed += p->echoed;
	p->r->good[p->step] = p->echoed == p->wanted;
	snprintf(p->r->text[p->step], sizeof p->r->text[0], "%u of %u packets came back, all bytes equal%s", p->echoed, p->wanted,
		 p->echoed == p->wanted ? "" : p->echoed ? "; some are lost on the way" :
		 "; the server gives relay addresses, but nothing passes (a firewall before its relay ports?)");
	return p->r->good[p->step];
}

static bool step_send(struct probe *p)
{
	begin_step(p, PROBE_SEND);
	return both(p, turn_client_permit) && echo(p);
}

static bool step_channel(struct probe *p)
{
	begin_step(p, PROBE_CHANNEL);
	return both(p, turn_client_bind) && echo(p);
}

/* Where clouds keep their machines' secrets: no server may relay there unless told to. */
static struct addr guarded_peer(const struct probe *p)
{
	static const uint8_t link_local[16] = { 0xfe, 0x80, [15] = 1 };

	return addr_family(&p->r->relayed) == AF_INET ? addr_v4(0xa9fea9fe /* 169.254.169.254 */, 80) : addr_v6(link_local, 80);
}

static bool step_guard(struct probe *p)
{
	struct addr peer = guarded_peer(p);
	double began = now_ms();

	begin_step(p, PROBE_GUARD);
	if (turn_client_permit(p->end[0].client, &peer) < 0)
		fail(p, "out of memory");
	return run_step(p, began);
}

static bool has_allocation(const struct end *e)
{
	return e->client && turn_client_is_allocated(e->client);
}

static bool step_release(struct probe *p)
{
	double began = now_ms();

	begin_step(p, PROBE_RELEASE);
	for (unsigned i = 0; i < 2; i++) {
		struct end *e = &p->end[i];
		if (has_allocation(e))
			turn_client_release(e->client);
		else
			e->ready = true;
	}
	if (run_step(p, began))
		snprintf(p->r->text[PROBE_RELEASE], sizeof p->r->text[0], "what was allocated is given back");
	return !p->failed;
}

int turn_probe(const struct turn_probe_options *o, struct turn_probe_result *ret)
{
	static bool (*const steps[])(struct probe *) = {
		step_connect, step_binding, step_allocate, step_send, step_channel, step_guard, step_release,
	};
	struct probe p = { .o = o, .r = ret, .deadline.fire = on_deadline, .pace.fire = on_pace };
	bool good = true;
	int r = loop_new(&p.loop);

	*ret = (struct turn_probe_result){ 0 };
	if (r < 0 || (r = bytes_random(p.pattern, sizeof p.pattern)) < 0) {
		loop_free(p.loop);
		return r;
	}
	p.end[0].p = p.end[1].p = &p;
	for (size_t i = 0; i < ARRAY_LEN(steps) && good; i++)
		good = steps[i](&p);
	if (!good && p.step < PROBE_RELEASE && (has_allocation(&p.end[0]) || has_allocation(&p.end[1]))) {
		p.failed = false; /* else they stay for minutes, and count against the user */
		(void)step_release(&p);
	}
	for (unsigned i = 0; i < 2; i++) {
		turn_client_free(p.end[i].client);
		turn_link_free(p.end[i].link);
	}
	timer_stop(&p.pace);
	loop_free(p.loop);
	return good ? 0 : EXIT_FAILED;
}
