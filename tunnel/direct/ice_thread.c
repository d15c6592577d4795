/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that GLib lives in: one context, one main loop, and a way to call functions there. An agent of libnice
 * that ends has to tell its TURN servers so, and needs this loop for it; so the thread's end waits for them, but not long.
 * GLib ends the process where there is no memory left: that is why all this is in the agent's child.
 */
#include <glib.h>
#undef MIN /* ours are in common/defs.h */
#undef MAX
#include <errno.h>
#include "tunnel/direct/ice_priv.h"

enum { GOODBYE_MS = 1000 };

struct ice_thread {
	GMainContext *context;
	GMainLoop *loop;
	pthread_t thread;
	int agents;
	bool ending;
};

static void *run(void *arg)
{
	struct ice_thread *t = arg;

	pthread_setname_np(pthread_self(), "ice");
	g_main_context_push_thread_default(t->context);
	g_main_loop_run(t->loop);
	g_main_context_pop_thread_default(t->context);
	return NULL;
}

int ice_thread_new(struct ice_thread **ret_t)
{
	struct ice_thread *t = calloc(1, sizeof *t);
	int r;

	if (!t)
		return -ENOMEM;
	t->context = g_main_context_new(); /* GLib ends the process where there is no memory */
	t->loop = g_main_loop_new(t->context, FALSE);
	r = -pthread_create(&t->thread, NULL, run, t);
	if (r != 0) {
		g_main_loop_unref(t->loop);
		g_main_context_unref(t->context);
		free(t);
		return r;
	}
	*ret_t = t;
	return 0;
}

GMainContext *ice_thread_context(struct ice_thread *t)
{
	return t->context;
}

/* ---- calls ---- */

struct call {
	void (*fn)(void *arg), (*drop)(void *arg);
	void *arg;
};

static gboolean on_call(gpointer data)
{
	struct call *c = data;

	c->fn(c->arg);
	return G_SOURCE_REMOVE;
}

static void end_call(gpointer data)
{
	struct call *c = data;

	if (c->drop)
		c->drop(c->arg);
	g_free(c);
}

void ice_thread_call(struct ice_thread *t, void (*fn)(void *arg), void *arg, void (*drop)(void *arg))
{
	GSource *s = g_idle_source_new();
	struct call *c = g_new(struct call, 1);

	*c = (struct call){ fn, drop, arg };
	g_source_set_priority(s, G_PRIORITY_DEFAULT);
	g_source_set_callback(s, on_call, c, end_call);
	g_source_attach(s, t->context);
	g_source_unref(s);
}

/* ---- the end ---- */

static gboolean on_goodbye_over(gpointer data)
{
	struct ice_thread *t = data;

	g_main_loop_quit(t->loop);
	return G_SOURCE_REMOVE;
}

void ice_thread_agents(struct ice_thread *t, int delta)
{
	t->agents += delta;
	if (t->ending && t->agents == 0)
		g_main_loop_quit(t->loop);
}

static void begin_end(void *arg)
{
	struct ice_thread *t = arg;
	GSource *s = g_timeout_source_new(GOODBYE_MS);

	t->ending = true;
	g_source_set_callback(s, on_goodbye_over, t, NULL);
	g_source_attach(s, t->context);
	g_source_unref(s);
	ice_thread_agents(t, 0);
}

struct ice_thread *ice_thread_free(struct ice_thread *t)
{
	if (!t)
		return NULL;
	ice_thread_call(t, begin_end, t, NULL);
	pthread_join(t->thread, NULL);
	g_main_loop_unref(t->loop);
	g_main_context_unref(t->context);
	free(t);
	return NULL;
}
