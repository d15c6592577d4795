/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of shares. An agent says SHARE, again after each reconnection, and takes it back with over; what nobody takes back ends with its
 * time, or a day after its agent has gone. That is looked for when somebody asks.
 *
 * A number belongs to the key that said it first; another key that says it is refused.
 */
#include "tunnel/server/shares.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "tunnel/log_msgs.h"
#include "tunnel/server/rendezvous.h"

enum { KEPT_MS = 24 * 3600 * 1000 };

static struct share_entry *entry_of(struct tunnel_server *s, uint64_t id)
{
	list_for_each (it, &s->shares) {
		struct share_entry *e = list_entry(it, struct share_entry, node);

		if (e->id == id)
			return e;
	}
	return NULL;
}

/* Its guests have nothing to look for here any more. */
static void end_guests(struct tunnel_server *s, uint64_t id)
{
	list_for_each_safe (it, &s->directory) {
		struct directory_entry *d = list_entry(it, struct directory_entry, node);

		if (d->guest == id)
			tunnel_server_end_identity(s, d->identity, WIRE_R_UNKNOWN_SHARE, "the share is over");
	}
	rendezvous_end_relays(s, NULL, id);
}

static void drop(struct tunnel_server *s, struct share_entry *e)
{
	uint64_t id = e->id;

	list_unlink(&e->node);
	s->n_shares--;
	free(e);
	end_guests(s, id);
}

static void drop_old(struct tunnel_server *s)
{
	uint64_t now = loop_now(s->loop), unix_s = (uint64_t)time(NULL);

	list_for_each_safe (it, &s->shares) {
		struct share_entry *e = list_entry(it, struct share_entry, node);

		if ((e->expires && unix_s >= e->expires) || (e->untold_at && now - e->untold_at >= KEPT_MS))
			drop(s, e);
	}
}

void shares_untold(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN])
{
	list_for_each (it, &s->shares) {
		struct share_entry *e = list_entry(it, struct share_entry, node);

		if (!e->untold_at && memcmp(e->identity, identity, WIRE_PIN) == 0)
			e->untold_at = loop_now(s->loop);
	}
}

const struct share_entry *share_find(struct tunnel_server *s, uint64_t id)
{
	drop_old(s);
	return id ? entry_of(s, id) : NULL;
}

static unsigned count_of(struct tunnel_server *s, const uint8_t identity[static WIRE_PIN])
{
	unsigned n = 0;

	list_for_each (it, &s->shares)
		n += memcmp(list_entry(it, struct share_entry, node)->identity, identity, WIRE_PIN) == 0;
	return n;
}

static enum wire_reason put(struct tunnel_server *s, const struct note *n, const struct wire_share *m, const char **ret_text)
{
	struct share_entry *e = entry_of(s, m->id);

	*ret_text = "";
	if (e && memcmp(e->identity, n->link.identity, WIRE_PIN) != 0)
		return WIRE_R_IN_USE; /* 64 random bits: it was not by chance */
	if (!e && (s->n_shares >= SHARES_MAX || count_of(s, n->link.identity) >= SHARES_PER_AGENT)) {
		*ret_text = "the server keeps no more shares of this agent, or of all together";
		return WIRE_R_LIMIT;
	}
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			return WIRE_R_MEMORY;
		e->id = m->id;
		memcpy(e->identity, n->link.identity, WIRE_PIN);
		list_append(&s->shares, &e->node);
		s->n_shares++;
	}
	e->kind = m->kind;
	e->expires = m->expires;
	e->untold_at = 0;
	return WIRE_R_NONE;
}

void shares_hear(struct tunnel_server *s, const struct note *n, const struct wire_share *m)
{
	struct share_entry *e;
	struct wire_share_state state = { .id = m->id };
	const char *text;

	drop_old(s);
	e = entry_of(s, m->id);
	if (m->over) {
		if (e && memcmp(e->identity, n->link.identity, WIRE_PIN) == 0)
			drop(s, e);
		return;
	}
	state.reason = (uint8_t)put(s, n, m, &text);
	state.text = text_of(text);
	if (!state.reason)
		state.url = text_of(s->gateway_url);
	log_emit(&MSG_TUNNEL_SHARE, LF_STR("agent", n->link.name), LF_STR("state", state.reason ? wire_reason_text(state.reason) : "can be found"));
	rendezvous_post(s, n->id, WIRE_SHARE_STATE, &state);
}

bool share_guest_may(struct tunnel_server *s, const struct note *n, const uint8_t *to)
{
	const struct share_entry *e = share_find(s, n->link.guest);

	return e && (!to || memcmp(e->identity, to, WIRE_PIN) == 0);
}

void shares_free(struct tunnel_server *s)
{
	share_door_close(s);
	list_for_each_safe (it, &s->shares) {
		struct share_entry *e = list_entry(it, struct share_entry, node);

		list_unlink(&e->node);
		free(e);
	}
}
