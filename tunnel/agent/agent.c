/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control connection of an agent: dialled, greeted, welcome; lost, and tried again with back-off; kept alive; and the
 * jobs that are told over it, again after each WELCOME.
 *
 * Timers: retry (the next try, or the end of patience with a server that does not answer HELLO), pulse (keep-alive), fill
 * (carriers that are wanted).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/clock.h"
#include "tunnel/agent/agent_priv.h"

enum { PULSE_MS = 500, WINDOW_MAX = 64 << 20, HELLO_MS = 15 * 1000, HOPELESS_MS = 60 * 1000 };
enum { RESUME_MS_MAX = 10 * 60 * 1000, DETACHED_MAX = 4096 };
enum { CARRIERS_WANTED_MAX = 1200 }; /* a server has at most 1024 clients waiting */

const char *const agent_state_names[AGENT_STATES] = {
	[AGENT_OFF] = "disconnected",	  [AGENT_CONNECTING] = "connecting",
	[AGENT_PENDING] = "pending",	  [AGENT_UP] = "connected",
	[AGENT_WAITING] = "reconnecting",
};

static uint32_t random32(void)
{
	uint32_t v;

	return bytes_random(&v, sizeof(v)) < 0 ? (uint32_t)clock_steady_us() : v;
}

void agent_set_state(struct agent *a, enum agent_state s, const char *text)
{
	if (a->state != s)
		a->since = clock_unix_ms();
	a->state = s;
	if (text != a->why)
		(void)snprintf(a->why, sizeof(a->why), "%s", text);
	if (a->o.ops->on_state)
		a->o.ops->on_state(a, s, a->why, a->o.arg);
}

/* ---- lost, and tried again ---- */

static void dial(struct agent *a);

static void try_again(struct agent *a, const char *why, uint32_t at_least_ms)
{
	uint32_t wait;

	timer_stop(&a->pulse);
	if (a->off)
		return;
	wait = backoff_failed(&a->backoff, loop_now(a->loop), at_least_ms, random32());
	loop_timer_set(a->loop, &a->retry, wait);
	agent_set_state(a, AGENT_WAITING, why);
}

/* What the server said with REFUSED: how long another try makes no sense. */
static uint32_t patience_with(const struct wire_refused *m)
{
	if (m->retry_after)
		return MIN(m->retry_after, 3600u) * 1000;
	switch (m->reason) {
	case WIRE_R_VERSION:
	case WIRE_R_UNKNOWN_KEY:
	case WIRE_R_REVOKED:
	case WIRE_R_PASSWORD:
	case WIRE_R_NOT_APPROVED:
	case WIRE_R_IN_USE: return HOPELESS_MS;
	default: return 0;
	}
}

static void on_closed(struct frame_conn *c, int err, const char *why, void *arg)
{
	struct agent *a = arg;
	char text[sizeof(a->why)];

	a->control = frame_conn_free(c);
	a->welcome = false;
	if (err == ETIMEDOUT)
		data_host_probe(&a->data); /* the carriers may be as dead */
	agent_plain_close(a);
	(void)snprintf(text, sizeof(text), "%s", a->refused.reason ? a->why : why);
	try_again(a, text, a->refused.reason ? patience_with(&a->refused) : 0);
}

/* ---- greeted and welcome ---- */

int agent_send_hello(struct agent *a, struct frame_conn *c, uint8_t purpose)
{
	struct addr peer;
	struct wire_hello m = { .version = WIRE_VERSION,
				.purpose = purpose,
				.instance = { a->o.instance, WIRE_INSTANCE },
				.session = a->session };

	frame_conn_addresses(c, &peer, &m.lan);
	if (purpose == WIRE_PURPOSE_CONTROL) {
		m.name = text_of(a->name);
		m.program = text_of(a->program);
		m.host = text_of(a->host);
		m.restart = a->session != 0;
		m.features = WIRE_F_RENDEZVOUS | WIRE_F_SHARE;
		if (a->o.dialer.hello)
			a->o.dialer.hello(a->o.dialer.arg, &m);
	}
	return frame_conn_send(c, WIRE_HELLO, &m);
}

static void send_jobs(struct agent *a)
{
	union wire_msg m;

	list_for_each (it, &a->jobs) {
		struct agent_job *j = list_entry(it, struct agent_job, node);

		if (wire_parse(WIRE_JOB, j->payload, j->n, &m) == WIRE_OK)
			(void)agent_send(a, WIRE_JOB, &m.job);
	}
	(void)agent_send(a, WIRE_JOBS_SYNCED, &(struct wire_nothing){ 0 });
}

static void learn(struct agent *a, const struct wire_welcome *m)
{
	wire_text_copy(a->own_name, sizeof(a->own_name), m->name);
	wire_text_copy(a->server_name, sizeof(a->server_name), m->server_name);
	wire_text_copy(a->server_program, sizeof(a->server_program), m->program);
	wire_text_copy(a->public_name, sizeof(a->public_name), m->public_name);
	a->observed = m->observed;
	a->data.window = m->window ? MIN(m->window, (uint32_t)WINDOW_MAX) : a->data.window;
	a->data.resume_ms = m->resume_ms ? MIN(m->resume_ms, (uint32_t)RESUME_MS_MAX) : a->data.resume_ms;
}

static void ping(struct agent *a, uint64_t now)
{
	const struct wire_ping p = { keepalive_asked(&a->keep, now, clock_steady_us(), random32()) };

	(void)frame_conn_send(a->control, WIRE_PING, &p);
}

/* The dialer does not want this server, or cannot log in: why is for the administrator. */
static int give_up_login(struct agent *a, int r, const char *why)
{
	if (*why) {
		(void)snprintf(a->why, sizeof(a->why), "%s", why);
		a->refused = (struct wire_refused){ .reason = WIRE_R_PASSWORD };
	}
	return r;
}

static int on_welcome(struct agent *a, const struct wire_welcome *m)
{
	bool same = a->session && a->session == m->session;
	char why[160] = "";
	int r;

	if (!m->session || m->version != WIRE_VERSION)
		return -EPROTO;
	r = a->o.dialer.welcomed ? a->o.dialer.welcomed(a->o.dialer.arg, a, m, why, sizeof(why)) : 0;
	if (r < 0)
		return give_up_login(a, r, why);
	if (a->session && !same) {
		agent_forget_carriers(a);
		data_host_end_all(&a->data, WIRE_R_SESSION,
				  "the server was restarted, or has given the connection up");
	}
	if (a->session)
		a->reconnects++;
	a->session = m->session;
	a->wanted = a->wanted_plain = 0;
	agent_plain_key(a);
	learn(a, m);
	timer_stop(&a->retry);
	backoff_reset(&a->backoff);
	backoff_reset(&a->carrier_backoff);
	a->fill_not_before = 0;
	frame_conn_set_where(a->control, WIRE_IN_CONTROL);
	a->welcome = true;
	a->meets = m->features & WIRE_F_RENDEZVOUS;
	a->reaches = m->features & WIRE_F_REACH;
	a->shares = m->features & WIRE_F_SHARE;
	a->paths = m->features & WIRE_F_PATHS;
	if (a->o.ops->on_welcome)
		a->o.ops->on_welcome(a, m, same, a->o.arg);
	send_jobs(a);
	ping(a, loop_now(a->loop));
	agent_set_state(a, AGENT_UP, "");
	agent_fill(a);
	return 0;
}

static int on_refused(struct agent *a, const struct wire_refused *m)
{
	struct sb b = sb_init(a->why, sizeof(a->why));

	sb_fmt(&b, "the server says: %s%s", wire_reason_text(m->reason), m->text.n ? ": " : "");
	sb_text(&b, m->text);
	a->refused = *m;
	a->refused.text = (struct text){ 0 };
	if (a->o.dialer.refused)
		a->o.dialer.refused(a->o.dialer.arg, m->reason);
	return -ECONNRESET;
}

static int on_early(struct agent *a, const struct wire_got *g)
{
	char why[160] = "";
	int r;

	if (g->type == WIRE_WELCOME)
		return on_welcome(a, &g->m.welcome);
	if (g->type == WIRE_PENDING) {
		timer_stop(&a->retry);
		agent_set_state(a, AGENT_PENDING,
				"waits for approval on the server: stile tunnel agents approve");
	}
	r = a->o.dialer.enrol
		    ? a->o.dialer.enrol(a->o.dialer.arg, a, g->type, &g->m, why, sizeof(why))
		    : 0;
	return r < 0 ? give_up_login(a, r, why) : 0;
}

static int on_pool(struct agent *a, const struct wire_pool *m)
{
	a->wanted = MIN(m->tls, (uint16_t)CARRIERS_WANTED_MAX);
	a->wanted_plain = MIN(m->plain, (uint16_t)CARRIERS_WANTED_MAX);
	agent_fill(a);
	return 0;
}

static int on_frame(struct frame_conn *c, const struct wire_got *g, void *arg)
{
	struct agent *a = arg;

	keepalive_heard(&a->keep, loop_now(a->loop));
	switch (g->type) {
	case WIRE_PING: (void)frame_conn_send(c, WIRE_PONG, &g->m.ping); return 0;
	case WIRE_PONG:
		if (!keepalive_answered(&a->keep, g->m.ping.cookie, clock_steady_us()))
			return -EPROTO;
		a->data.rtt_us = a->keep.rtt_us;
		return 0;
	case WIRE_REFUSED: return on_refused(a, &g->m.refused);
	case WIRE_POOL: return on_pool(a, &g->m.pool);
	case WIRE_WELCOME:
	case WIRE_PENDING:
	case WIRE_ENROLLED:
	case WIRE_SCRAM: return on_early(a, g);
	case WIRE_OPEN_PLAIN: return agent_on_open_plain(a, &g->m.open);
	case WIRE_ENDED: return 0; /* its carrier is reset, too */
	case WIRE_DETACHED: agent_on_detached(a, g->m.detached.stream); return 0;
	default:
		if (a->o.ops->on_frame)
			a->o.ops->on_frame(a, g->type, &g->m, a->o.arg);
		return 0;
	}
}

static const struct frame_conn_ops control_ops = { .frame = on_frame, .closed = on_closed };

static void on_pulse(struct timer *t, uint64_t now)
{
	struct agent *a = container_of(t, struct agent, pulse);

	loop_timer_set(a->loop, &a->pulse, PULSE_MS);
	if (!a->chunks.n_lent)
		chunk_pool_trim(&a->chunks);
	if (!a->control)
		return;
	switch (keepalive_due(&a->keep, now)) {
	case KEEPALIVE_PING: ping(a, now); break;
	case KEEPALIVE_DEAD:
		frame_conn_give_up(a->control, "the server does not answer any more");
		break;
	case KEEPALIVE_WELL: break;
	}
}

/* ---- dialled ---- */

static int greet(struct agent *a, struct stream *st)
{
	SSL *ssl;
	int fd, r;

	fd = stream_take(st, &ssl);
	if (fd < 0) {
		stream_free(st);
		return fd;
	}
	r = frame_conn_new(a->loop, fd, ssl, WIRE_TO_AGENT, &a->control);
	if (r < 0)
		return r;
	frame_conn_set_owner(a->control, &control_ops, a);
	/* It keeps its memory: without any it could not be dialled again, and all that it carries would end with it. */
	(void)SSL_clear_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	frame_conn_addresses(a->control, &a->server, &a->local);
	keepalive_init(&a->keep, loop_now(a->loop), KEEPALIVE_CONTROL_MS, random32());
	loop_timer_set(a->loop, &a->retry, HELLO_MS);
	loop_timer_set(a->loop, &a->pulse, PULSE_MS);
	r = agent_send_hello(a, a->control, WIRE_PURPOSE_CONTROL);
	if (r == 0 && a->o.dialer.greeted)
		a->o.dialer.greeted(a->o.dialer.arg, a, frame_conn_ssl(a->control));
	return r;
}

static void on_dialled(const struct agent_dialled *d, void *arg)
{
	struct agent *a = arg;
	int r;

	a->dialling = NULL;
	a->dial_busy = false;
	if (!d->stream) {
		try_again(a, d->why, d->hopeless ? HOPELESS_MS : 0);
		return;
	}
	a->refused = (struct wire_refused){ 0 };
	r = greet(a, d->stream);
	if (r < 0) {
		a->control = frame_conn_free(a->control);
		try_again(a, strerror(-r), 0);
	}
}

static void dial(struct agent *a)
{
	int r;

	if (a->dial_busy || a->control)
		return;
	agent_set_state(a, AGENT_CONNECTING, a->why);
	a->dial_busy = true;
	r = a->o.dialer.start(a->o.dialer.arg, true, false, on_dialled, a, &a->dialling);
	if (r < 0) {
		a->dial_busy = false;
		try_again(a, strerror(-r), 0);
	}
}

static void on_retry(struct timer *t, uint64_t now)
{
	struct agent *a = container_of(t, struct agent, retry);

	(void)now;
	if (a->control)
		frame_conn_give_up(a->control, "the server did not answer HELLO in time");
	else
		dial(a);
}

/* ---- the owner's side ---- */

int agent_new(struct loop *l, const struct agent_options *o, struct agent **ret_a)
{
	struct agent *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->loop = l;
	a->o = *o;
	wire_text_copy(a->name, sizeof(a->name), text_of(o->name));
	wire_text_copy(a->program, sizeof(a->program), text_of(o->program));
	wire_text_copy(a->host, sizeof(a->host), text_of(o->host));
	a->off = true;
	a->since = clock_unix_ms();
	a->retry.fire = on_retry;
	a->pulse.fire = on_pulse;
	a->fill.fire = agent_on_fill;
	list_init(&a->jobs);
	list_init(&a->dials);
	list_init(&a->plain);
	data_host_init(&a->data, l, &agent_host_ops, a, &a->chunks);
	a->data.window = 4 << 20;
	a->data.resume_ms = 30 * 1000;
	a->o.detached_max = o->detached_max ? o->detached_max : DETACHED_MAX;
	*ret_a = a;
	return 0;
}

static void close_control(struct agent *a)
{
	timer_stop(&a->retry);
	timer_stop(&a->pulse);
	if (a->dial_busy)
		a->o.dialer.cancel(a->o.dialer.arg, a->dialling);
	a->dialling = NULL;
	a->dial_busy = false;
	a->control = frame_conn_free(a->control);
	a->welcome = false;
	agent_plain_close(a);
}

struct agent *agent_free(struct agent *a)
{
	if (!a)
		return NULL;
	a->off = true;
	close_control(a);
	timer_stop(&a->fill);
	data_host_end_all(&a->data, WIRE_R_STOPPING, "");
	agent_forget_carriers(a);
	data_host_deinit(&a->data);
	while (!list_empty(&a->jobs)) {
		struct agent_job *j = list_entry(a->jobs.next, struct agent_job, node);

		list_unlink(&j->node);
		free(j);
	}
	chunk_pool_trim(&a->chunks);
	free(a);
	return NULL;
}

void agent_connect(struct agent *a)
{
	if (!a->off)
		return;
	a->off = false;
	backoff_reset(&a->backoff);
	dial(a);
}

void agent_disconnect(struct agent *a)
{
	if (a->off)
		return;
	a->off = true;
	close_control(a);
	data_host_end_all(&a->data, WIRE_R_STOPPING, "the agent was told to disconnect");
	agent_forget_carriers(a);
	a->session = 0;
	agent_set_state(a, AGENT_OFF, "");
}

void agent_network_changed(struct agent *a)
{
	if (a->off)
		return;
	nat_life_init(&a->data.nat);
	backoff_reset(&a->backoff);
	backoff_reset(&a->carrier_backoff);
	a->fill_not_before = 0;
	if (a->control) {
		if (frame_conn_uprooted(a->control))
			frame_conn_give_up(a->control, "the network has changed: its address is gone");
		else
			ping(a, loop_now(a->loop));
		data_host_probe(&a->data);
	} else if (!a->dial_busy) {
		dial(a);
	}
}

int agent_put_job(struct agent *a, const struct wire_job *m)
{
	uint8_t frame[WIRE_HEAD + WIRE_EARLY_MAX];
	struct wr w = wr_init(frame, sizeof(frame));
	struct agent_job *j;

	wire_write(&w, WIRE_JOB, m);
	if (w.failed)
		return -EINVAL;
	j = calloc(1, sizeof(*j) + wr_len(&w));
	if (!j)
		return -ENOMEM;
	j->id = m->id;
	j->n = wr_len(&w) - WIRE_HEAD;
	memcpy(j->payload, frame + WIRE_HEAD, j->n);
	list_for_each_safe (it, &a->jobs) {
		struct agent_job *old = list_entry(it, struct agent_job, node);

		if (old->id != m->id)
			continue;
		list_unlink(&old->node);
		free(old);
	}
	list_append(&a->jobs, &j->node);
	if (a->state == AGENT_UP)
		(void)agent_send(a, WIRE_JOB, m);
	return 0;
}

void agent_drop_job(struct agent *a, uint32_t id)
{
	list_for_each_safe (it, &a->jobs) {
		struct agent_job *j = list_entry(it, struct agent_job, node);

		if (j->id != id)
			continue;
		list_unlink(&j->node);
		free(j);
		if (a->state == AGENT_UP)
			(void)agent_send(a, WIRE_JOB_GONE, &(struct wire_job_gone){ id });
	}
}

bool agent_shares(const struct agent *a)
{
	return agent_meets(a) && a->shares;
}

bool agent_tells_paths(const struct agent *a)
{
	return a->welcome && a->paths;
}

bool agent_meets(const struct agent *a)
{
	return a->welcome && a->meets;
}

bool agent_may_reach(const struct agent *a)
{
	return a->welcome && a->reaches;
}

int agent_send(struct agent *a, unsigned type, const void *msg)
{
	return a->welcome ? agent_send_early(a, type, msg) : -ENOTCONN;
}

int agent_send_early(struct agent *a, unsigned type, const void *msg)
{
	int r = a->control ? frame_conn_send(a->control, type, msg) : -ENOTCONN;

	return r == -EPIPE ? -ENOTCONN : r;
}

void agent_info(const struct agent *a, struct agent_info *ret_i)
{
	uint64_t now = loop_now(a->loop);
	struct agent_info i = {
		.refused = a->refused.reason,
		.state = a->state,
		.since = a->since,
		.tries = a->backoff.failures,
		.reconnects = a->reconnects,
		.session = a->session,
		.server = a->server,
		.local = a->local,
		.observed = a->observed,
		.rtt_us = a->keep.rtt_us,
		.carriers = a->data.n_idle + a->data.n_busy,
		.ready = a->data.n_idle,
		.wanted = a->wanted,
		.streams = a->data.n_conns,
		.detached = a->data.n_detached,
		.resume_ms = a->data.resume_ms,
		.keepalive_ms = a->data.nat.try_ms,
		.bytes = { a->data.bytes[0], a->data.bytes[1] },
	};

	if (a->state == AGENT_WAITING && timer_is_set(&a->retry) && a->retry.deadline > now)
		i.retry_in_ms = a->retry.deadline - now;
	memcpy(i.why, a->why, sizeof(i.why));
	memcpy(i.name, a->own_name, sizeof(i.name));
	memcpy(i.server_name, a->server_name, sizeof(i.server_name));
	memcpy(i.server_program, a->server_program, sizeof(i.server_program));
	memcpy(i.public_name, a->public_name, sizeof(i.public_name));
	*ret_i = i;
}
