/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of events. In a sentence %l is the place we listen on, %t the target, %r the reason; each part in
 * brackets is left out when what it names is not known.
 *
 * A new event is a row here, a row in log_msgs.def and a line of docs/reference/relay-events.md.
 */
#include "tunnel/events.h"
#include <errno.h>
#include "common/clock.h"
#include "tunnel/log_msgs.h"

struct row {
	unsigned number;
	const struct log_msg *msg;
	const char *sentence;
};

/* clang-format off */
static const struct row rows[RELAY_EVENTS] = {
	[EVENT_STARTED]        = { 100, &MSG_RELAY_STARTED,        "Service started" },
	[EVENT_STOPPED]        = { 100, &MSG_RELAY_STOPPED,        "Service stopped[: %r]" },
	[EVENT_NO_ROUTES]      = { 100, &MSG_RELAY_NO_ROUTES,      "There are no routes to relay[: %r]" },
	[EVENT_NO_PAUSE]       = { 100, &MSG_RELAY_NO_PAUSE,       "The service cannot be paused" },
	[EVENT_START_ERROR]    = { 100, &MSG_RELAY_START_ERROR,    "Error starting the service[: %r]" },
	[EVENT_NO_SOCKETS]     = { 100, &MSG_RELAY_NO_SOCKETS,     "There is no socket support[: %r]" },
	[EVENT_READY]          = { 101, &MSG_RELAY_ROUTE_READY,    "Ready to get data from local port %l and relay to %t" },
	[EVENT_CANNOT_BIND]    = { 101, &MSG_RELAY_ROUTE_BIND,     "Could not bind to local port %l[: %r]" },
	[EVENT_CANNOT_RESOLVE] = { 101, &MSG_RELAY_ROUTE_RESOLVE,  "Could not resolve %t[: %r]" },
	[EVENT_NO_RESOURCES]   = { 101, &MSG_RELAY_ROUTE_RESOURCES, "No resources to relay[ from local port %l][: %r]" },
	[EVENT_NO_THREAD]      = { 101, &MSG_RELAY_ROUTE_THREAD,   "No thread to relay[ from local port %l][: %r]" },
};
/* clang-format on */

static const char *part(char c, const struct event_about *a)
{
	const char *s = c == 'l' ? a->listen : c == 't' ? a->target : a->reason;

	return s && *s ? s : NULL;
}

static void fill(struct text form, const struct event_about *a, struct sb *out)
{
	for (size_t i = 0; i < form.n; i++) {
		if (form.p[i] != '%' || i + 1 == form.n) {
			sb_char(out, form.p[i]);
			continue;
		}
		const char *s = part(form.p[++i], a);
		sb_str(out, s ? s : "?");
	}
}

void relay_event_text(enum relay_event e, const struct event_about *a, struct sb *out)
{
	struct text rest = text_of(rows[e].sentence);

	while (rest.p) {
		fill(text_cut(&rest, '['), a, out);
		if (!rest.p)
			return;
		struct text optional = text_cut(&rest, ']');
		ptrdiff_t at = text_find(optional, '%');
		if (part(optional.p[at + 1], a))
			fill(optional, a, out);
	}
}

enum relay_event relay_event_of(int error, enum relay_event otherwise)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ENOBUFS:
		return EVENT_NO_RESOURCES;
	case EAGAIN: /* what clone() says */
		return EVENT_NO_THREAD;
	case EAFNOSUPPORT:
		return EVENT_NO_SOCKETS;
	default:
		return otherwise;
	}
}

unsigned relay_event_number(enum relay_event e)
{
	return rows[e].number;
}

const struct log_msg *relay_event_msg(enum relay_event e)
{
	return rows[e].msg;
}

/* ---- those that are kept: main thread, as all events ---- */

static struct {
	json_t *rows; /* an array; NULL: none yet */
	void (*fn)(json_t *row, void *arg);
	void *arg;
} kept;

static const char *or_nothing(const char *s)
{
	return s ? s : "";
}

static void keep(enum relay_event e, const struct event_about *a, const char *sentence)
{
	const struct log_msg *m = rows[e].msg;
	json_t *row = json_pack("{s:I, s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "at", (json_int_t)clock_unix_ms(), "event", (int)rows[e].number,
				"id", m->id, "severity", log_level_name(m->level), "route", or_nothing(a->route), "listen", or_nothing(a->listen),
				"target", or_nothing(a->target), "reason", or_nothing(a->reason), "sentence", sentence, "advice", or_nothing(m->advice));

	if (!kept.rows)
		kept.rows = json_array();
	if (json_array_size(kept.rows) == RELAY_EVENTS_KEPT)
		(void)json_array_remove(kept.rows, 0);
	if (row && kept.fn)
		kept.fn(row, kept.arg);
	(void)json_array_append_new(kept.rows, row);
}

json_t *relay_events_json(void)
{
	return kept.rows ? json_copy(kept.rows) : json_array();
}

void relay_events_hear(void (*fn)(json_t *row, void *arg), void *arg)
{
	kept.fn = fn;
	kept.arg = arg;
	if (fn)
		return;
	json_decref(kept.rows);
	kept.rows = NULL;
}

void relay_event(enum relay_event e, const struct event_about *a)
{
	static const struct event_about nothing;
	struct log_field f[7];
	char sentence[LOG_FIELD_MAX];
	struct sb b = sb_init(sentence, sizeof sentence);
	size_t n = 0;

	if (!a)
		a = &nothing;
	relay_event_text(e, a, &b);
	f[n++] = LF_U64("event", rows[e].number);
	if (a->route)
		f[n++] = LF_STR("route", a->route);
	if (a->listen)
		f[n++] = LF_STR("listen", a->listen);
	if (a->target)
		f[n++] = LF_STR("target", a->target);
	if (a->reason)
		f[n++] = LF_STR("reason", a->reason);
	f[n++] = LF_STR("sentence", sentence);
	f[n] = (struct log_field){ .type = LF_END };
	log_emit_fields(rows[e].msg, f);
	keep(e, a, sentence);
}
