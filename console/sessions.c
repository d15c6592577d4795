/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of browsers: who is logged in, from where, and until when. They are state, in memory as they are asked for and in the store
 * as they survive a restart; of a cookie only the SHA-256 is kept, which is enough for 256 random bits.
 *
 * A session ends when nobody has used it for a while, after its longest life, and where the clock says that it was used in the
 * future. Each belongs to a user of accounts.c and goes with him.
 */
#include "console/console.h"

#include <stdio.h>
#include <string.h>
#include "common/bytes.h"
#include "common/clock.h"
#include "common/json.h"

enum { STORE_SEEN_MS = 60 * 1000 };
static const char KIND[] = "console.session";

void session_free(struct accounts *a, struct session *s)
{
	list_unlink(&s->node);
	a->n_sessions--;
	free(s);
}

void session_remove(struct accounts *a, struct session *s)
{
	events_end_of(a->c->events, s->id);
	accounts_drop(a, KIND, s->id);
	session_free(a, s);
}

void sessions_remove_of(struct accounts *a, const struct user *u, const struct session *but)
{
	list_for_each_safe(it, &a->sessions) {
		struct session *s = list_entry(it, struct session, node);

		if (s->user == u && s != but)
			session_remove(a, s);
	}
}

static void save_session(struct accounts *a, struct session *s)
{
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:s, s:s}", "user", s->user->name, "csrf", s->csrf, "created_at",
			      (json_int_t)s->created_at, "seen_at", (json_int_t)s->seen_at, "address", s->address, "agent", s->agent);

	s->stored_at = s->seen_at;
	accounts_keep(a, KIND, s->id, o);
}

static bool has_ended(const struct accounts *a, const struct session *s, int64_t now)
{
	const struct console_config *k = console_config(a->c);

	return now - s->seen_at > (int64_t)k->session_idle_ms || now - s->created_at > (int64_t)k->session_life_ms || s->seen_at - now > 60000;
}

void sessions_sweep(struct accounts *a)
{
	int64_t now = clock_unix_ms();

	list_for_each_safe(it, &a->sessions) {
		struct session *s = list_entry(it, struct session, node);

		if (has_ended(a, s, now))
			session_remove(a, s);
	}
}

/* At the limit whoever was away longest gives way. */
static void make_room(struct accounts *a)
{
	struct session *oldest = NULL;

	sessions_sweep(a);
	if (a->n_sessions < SESSIONS_MAX)
		return;
	list_for_each(it, &a->sessions) {
		struct session *s = list_entry(it, struct session, node);

		if (!oldest || s->seen_at < oldest->seen_at)
			oldest = s;
	}
	if (oldest)
		session_remove(a, oldest);
}

/* What a browser calls itself is shown to administrators: only what can be shown is kept. */
static void copy_agent(struct session *s, const char *agent)
{
	size_t n = 0;

	for (; agent && *agent && n + 1 < sizeof(s->agent); agent++)
		if ((unsigned char)*agent >= 0x20 && (unsigned char)*agent < 0x7f)
			s->agent[n++] = *agent;
	s->agent[n] = 0;
}

struct session *session_add(struct accounts *a, struct user *u, const struct addr *peer, const char *agent, char cookie[static COOKIE_LEN])
{
	uint8_t random[32], csrf[32];
	struct session *s;

	make_room(a);
	s = calloc(1, sizeof(*s));
	if (!s || bytes_random(random, sizeof(random)) < 0 || bytes_random(csrf, sizeof(csrf)) < 0) {
		free(s);
		return NULL;
	}
	base64url_encode(random, sizeof(random), cookie);
	base64url_encode(csrf, sizeof(csrf), s->csrf);
	sha256_hex(cookie, s->id);
	s->user = u;
	s->created_at = s->seen_at = clock_unix_ms();
	(void)addr_print_ip(peer, s->address);
	copy_agent(s, agent);
	list_append(&a->sessions, &s->node);
	a->n_sessions++;
	save_session(a, s);
	return s;
}

struct session *session_of_cookie(struct accounts *a, const char *cookie)
{
	int64_t now = clock_unix_ms();
	char id[65];

	sha256_hex(cookie, id);
	list_for_each(it, &a->sessions) {
		struct session *s = list_entry(it, struct session, node);

		if (strcmp(s->id, id) != 0)
			continue;
		if (has_ended(a, s, now)) {
			session_remove(a, s);
			return NULL;
		}
		s->seen_at = now;
		if (now - s->stored_at > STORE_SEEN_MS)
			save_session(a, s);
		return s;
	}
	return NULL;
}

static void load(const struct store_object *o, void *arg)
{
	struct accounts *a = arg;
	struct user *u = user_find(a, text_of_key(o->body, "user"));
	struct session *s = u && a->n_sessions < SESSIONS_MAX && strlen(o->key) == 64 ? calloc(1, sizeof(*s)) : NULL;

	if (!s)
		return;
	s->user = u;
	memcpy(s->id, o->key, 65);
	(void)snprintf(s->csrf, sizeof(s->csrf), "%s", text_of_key(o->body, "csrf"));
	(void)snprintf(s->address, sizeof(s->address), "%s", text_of_key(o->body, "address"));
	(void)snprintf(s->agent, sizeof(s->agent), "%s", text_of_key(o->body, "agent"));
	s->created_at = json_integer_value(json_object_get(o->body, "created_at"));
	s->seen_at = s->stored_at = json_integer_value(json_object_get(o->body, "seen_at"));
	list_append(&a->sessions, &s->node);
	a->n_sessions++;
}

int sessions_load(struct accounts *a)
{
	return store_load(a->c->svc->store, KIND, load, a);
}
