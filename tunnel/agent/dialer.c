/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One server as its agent knows it: what to expect of it, the race to it, and the login. The race itself is
 * dial.c, what is remembered memory.c.
 *
 * Of a control connection the way is kept, and carriers take that one alone: it has just worked.
 */
#include "tunnel/agent/dialer.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "tunnel/agent/dialer_priv.h"

struct call { /* one start() of the hooks */
	struct list node;
	struct dialer *d;
	struct dial *dial;
	bool control;
	void (*done)(const struct agent_dialled *d, void *arg);
	void *arg;
};

/* ---- what is expected ---- */

/* The pins of an earlier run hold for the fingerprint that is configured, or was when they were made. */
static bool pins_hold(const struct dialer *d)
{
	const struct memory *m = &d->memory;

	if (!identity_hash_is_set(&m->pins.root))
		return false;
	return !identity_hash_is_set(&d->fingerprint) ||
	       identity_hash_equal(&d->fingerprint, &m->configured) ||
	       identity_hash_equal(&d->fingerprint, &m->pins.root);
}

bool dialer_code_waits(const struct dialer *d)
{
	return d->has_code && !d->code_aside && strcmp(d->code_id, d->memory.code) != 0; /* no secret */
}

/* A code that does not fit must not cut off an agent that was connected without it. One that was given by hand is
 * forgotten; the file's may have been used before another one was, or be for a server that is still to come: it is
 * set aside until the pins do not fit, either. */
void dialer_drop_false_code(struct dialer *d)
{
	if (!dialer_code_waits(d)) {
		d->code_aside = false;
		return;
	}
	if (!pins_hold(d))
		return;
	if (d->code_by_verb)
		(void)dialer_set_code(d, NULL, true, NULL, 0);
	else
		d->code_aside = true;
	loop_timer_set(d->all->o.loop, &d->again, 0);
}

/* The server has asked for a pause because of the code, which is forgotten. */
void dialer_on_again(struct timer *t, uint64_t now)
{
	struct dialer *d = container_of(t, struct dialer, again);

	(void)now;
	if (!d->agent)
		return;
	agent_disconnect(d->agent);
	agent_connect(d->agent);
}

/* -ENOKEY: there is nothing to know the server by. */
static int expectation(const struct dialer *d, struct link_expect *ret_e)
{
	struct link_expect e = { .kind = LINK_EXPECT_PINS };

	if (d->guest) { /* NOLINT(bugprone-branch-clone): the order is which of them counts */
		e.kind = LINK_EXPECT_ANY; /* the two ends of a share prove themselves to each other */
	} else if (dialer_code_waits(d)) {
		e.kind = LINK_EXPECT_PREFIX;
		memcpy(e.prefix, d->code.root, LINK_PREFIX_LEN);
	} else if (pins_hold(d)) {
		e.pins = d->memory.pins;
	} else if (identity_hash_is_set(&d->fingerprint)) {
		e.pins.root = d->fingerprint;
	} else if (d->password) {
		e.kind = LINK_EXPECT_ANY;
	} else {
		return -ENOKEY;
	}
	*ret_e = e;
	return 0;
}

static int make_tls(struct dialer *d)
{
	struct link_expect e;
	struct tls_ctx *ctx = NULL;
	int r = expectation(d, &e);

	if (r == 0)
		r = link_tls_agent(d->all->identity, &e, &ctx);
	if (r < 0)
		return r;
	tls_ctx_unref(d->tls);
	d->tls = ctx;
	d->expect = e;
	return 0;
}

/* ---- calls ---- */

static void call_free(struct call *c)
{
	list_unlink(&c->node);
	dial_cancel(c->dial);
	free(c);
}

static void on_dialled(const struct dial_result *r, void *arg)
{
	struct call *c = arg;
	struct agent_dialled out = { .stream = r->stream, .why = r->why, .hopeless = r->foreign };
	void (*done)(const struct agent_dialled *d, void *arg) = c->done;
	void *done_arg = c->arg;

	if (r->stream && c->control) {
		c->d->way = r->way;
		c->d->has_way = true;
	}
	if (!r->stream && c->control)
		dialer_enrol_ended(c->d, r->why);
	if (r->foreign && c->control)
		dialer_drop_false_code(c->d);
	c->dial = NULL;
	call_free(c);
	done(&out, done_arg);
}

static int start(void *arg, bool control, bool plain,
		 void (*done)(const struct agent_dialled *d, void *done_arg), void *done_arg,
		 void **ret_handle)
{
	struct dialer *d = arg;
	struct call *c = calloc(1, sizeof(*c));
	struct dial_options o = { .loop = d->all->o.loop,
				  .dns = d->all->dns,
				  .host = d->host,
				  .n_ports = d->n_ports,
				  .proxy = d->has_proxy ? &d->proxy : NULL,
				  .done = on_dialled,
				  .arg = c };
	int r = 0;

	if (!c)
		return -ENOMEM;
	*c = (struct call){ .d = d, .control = control, .done = done, .arg = done_arg };
	list_append(&d->calls, &c->node);
	memcpy(o.ports, d->ports, sizeof(o.ports));
	if (control)
		r = make_tls(d);
	o.tls = plain ? NULL : d->tls;
	o.only = control ? NULL : &d->way;
	o.first = control && d->has_way && !d->way.proxied ? &d->way : NULL; /* a proxy is a last resort */
	if (r == -ENOKEY) { /* refused without a try; done() must not come from within start() */
		loop_timer_set(d->all->o.loop, &d->refusal, 0);
		r = 0;
	} else if (r == 0) {
		r = !control && !d->has_way ? -ENOTCONN : dial_start(&o, &c->dial);
	}
	if (r < 0) {
		call_free(c);
		return r;
	}
	*ret_handle = c;
	return 0;
}

void dialer_on_refusal(struct timer *t, uint64_t now)
{
	static const struct agent_dialled out = {
		.why = "nothing tells this server from a false one: enrol by a code (stile tunnel "
		       "enrol NAME on the server, stile agent enrol CODE here), or set agent.password, "
		       "best with the fingerprint in agent.server",
		.hopeless = true
	};
	struct dialer *d = container_of(t, struct dialer, refusal);

	(void)now;
	list_for_each_safe (n, &d->calls) {
		struct call *c = list_entry(n, struct call, node);
		void (*done)(const struct agent_dialled *, void *) = c->done;
		void *arg = c->arg;

		if (c->dial)
			continue;
		call_free(c);
		done(&out, arg);
		return; /* anything may have happened to d */
	}
}

static void cancel(void *arg, void *handle)
{
	(void)arg;
	call_free(handle);
}

void dialer_cancel_calls(struct dialer *d)
{
	list_for_each_safe (n, &d->calls)
		call_free(list_entry(n, struct call, node));
}

void dialer_hooks(struct dialer *d, struct agent_dialer *ret_hooks)
{
	*ret_hooks = (struct agent_dialer){ .start = start, .cancel = cancel, .arg = d };
	dialer_login_hooks(ret_hooks);
}
