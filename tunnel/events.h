/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events of the relay: what its predecessor wrote to the event log of Windows, with the numbers that
 * administrators' filters know (100: the service, 101: a route), as lines of our log and journal.
 *
 * One row an event in events.c: number, log message (id, severity, advice) and the sentence, into which port,
 * target and reason are put. The last of them are kept for people (`stile relay events`, the console). `stile relay` prints the same sentences. docs/reference/relay-events.md is
 * the table for people; a lint test holds the two alike.
 */
#pragma once
#include <jansson.h>
#include "common/log.h"

enum relay_event {
	EVENT_STARTED,
	EVENT_STOPPED,
	EVENT_NO_ROUTES,
	EVENT_NO_PAUSE,
	EVENT_START_ERROR,
	EVENT_NO_SOCKETS,
	EVENT_READY,
	EVENT_CANNOT_BIND,
	EVENT_CANNOT_RESOLVE,
	EVENT_NO_RESOURCES,
	EVENT_NO_THREAD,
	RELAY_EVENTS
};

struct event_about { /* all borrowed, NULL where it does not apply */
	const char *route;  /* its name */
	const char *listen; /* "0.0.0.0:1001" */
	const char *target; /* "10.3.100.14:25", "mail.intra:25" */
	const char *reason; /* "Address already in use (nginx, pid 812)" */
};

/* The sentence: "Ready to get data from local port 0.0.0.0:1001 and relay to 10.3.100.14:25". */
void relay_event_text(enum relay_event e, const struct event_about *a, struct sb *out);
/* What a positive errno means for the relay: resources, threads, sockets; or otherwise. */
enum relay_event relay_event_of(int error, enum relay_event otherwise);
unsigned relay_event_number(enum relay_event e);
const struct log_msg *relay_event_msg(enum relay_event e);
void relay_event(enum relay_event e, const struct event_about *a); /* to log and journal; a may be NULL */
/* The last ones, oldest first: [{at, event, id, severity, route, listen, target, reason, sentence, advice}]. */
enum { RELAY_EVENTS_KEPT = 200 };
json_t *relay_events_json(void);
/* Who wants each as it comes; row is borrowed. NULL: nobody. */
void relay_events_hear(void (*fn)(json_t *row, void *arg), void *arg);
