/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile agent peers says of a link beyond its state: each of its paths, the gaps at its moves, what ICE has tried, and what is
 * known of this site's NAT. The supervisor passes it on as it is, to people and programs who ask.
 *
 * Timer: a moment after a change, for changes come in flocks; numbers alone follow each other no faster than that.
 */
#include <stdlib.h>
#include <string.h>
#include "tunnel/direct/engine_priv.h"

enum { SHOW_MS = 300, SITE_MS = 2000 };

static json_t *show_path(const struct peer_path_info *p)
{
	static const char *const states[] = { [PATH_OPENING] = "opening", [PATH_READY] = "stands by", [PATH_FAILED] = "failed" };
	char local[ADDR_STRLEN] = "", remote[ADDR_STRLEN] = "";

	if (addr_family(&p->local) != AF_UNSPEC)
		(void)addr_print(&p->local, local);
	if (addr_family(&p->remote) != AF_UNSPEC)
		(void)addr_print(&p->remote, remote);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:f, s:I, s:I, s:I}", "path", child_path_names[child_path_of(p->kind)], "state",
			 p->active ? "in use" : p->suspect ? "silent" : states[p->state], "local", local, "remote", remote, "pair", p->detail, "why", p->why,
			 "rtt_us", (json_int_t)p->rtt_us, "probes_lost", p->probes_lost, "carried", (json_int_t)p->carried * 8, "bytes_up",
			 (json_int_t)p->bytes[0], "bytes_down", (json_int_t)p->bytes[1]);
}

/* A row for each bound: so many moves had a gap below it, and none of the rows before. */
static json_t *show_gaps(const struct peer_link_info *i)
{
	json_t *rows = json_array();

	for (unsigned b = 0; b < PEER_LINK_GAPS; b++)
		json_array_append_new(rows, json_pack("{s:o, s:i}", "below_ms", b < PEER_LINK_GAPS - 1 ? json_integer(peer_link_gap_ms[b]) : json_null(), "moves",
						      (int)i->gaps[b]));
	return rows;
}

/* Whole or not at all: who reads it would not take a part. */
static void say(struct engine *e, uint32_t link, json_t *o)
{
	char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	size_t n = text ? strlen(text) : 0;

	if (n >= 2 && n <= CHILD_SHOW_MAX)
		engine_say(e, CHILD_SHOW, &(struct child_show){ .link = link, .json = { (const uint8_t *)text, n } });
	free(text);
	json_decref(o);
}

void engine_show_site(struct engine *e)
{
	uint64_t now = loop_now(e->loop);

	if (!e->ice || (e->site_shown && now - e->site_shown < SITE_MS))
		return;
	e->site_shown = now;
	say(e, 0, ice_show(e->ice));
}

static void on_show(struct timer *t, uint64_t now)
{
	struct link *k = container_of(t, struct link, show_timer);
	json_t *o, *paths = json_array();
	struct peer_link_info i;

	(void)now;
	peer_link_info(k->l, &i);
	for (unsigned p = 0; p < i.n_paths; p++)
		json_array_append_new(paths, show_path(&i.paths[p]));
	o = json_pack("{s:o, s:o, s:I, s:I, s:i, s:i}", "paths", paths, "gaps", show_gaps(&i), "last_gap_ms", (json_int_t)i.last_gap_ms,
		      "gap_max_ms", (json_int_t)i.gap_max_ms, "moves_up", (int)i.moves_up, "moves_down", (int)i.moves_down);
	if (o && k->ice)
		json_object_set_new(o, "ice", ice_try_show(k->ice));
	say(k->e, k->id, o);
	engine_show_site(k->e);
}

void link_show(struct link *k)
{
	k->show_timer.fire = on_show;
	if (!timer_is_set(&k->show_timer))
		loop_timer_set(k->e->loop, &k->show_timer, SHOW_MS);
}
