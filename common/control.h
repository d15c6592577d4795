/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control protocol: JSON lines over a Unix socket, served by every service, spoken by the
 * tool, the console and, for named verbs, by other services. The lines are shown below.
 *
 * A line is at most CONTROL_MAX_LINE bytes, nesting at most CONTROL_MAX_DEPTH. The role comes from the
 * peer's uid and groups as the kernel tells them: root and the service's own uid are admin, members of
 * the socket's group (control_options.group, "stile") are operator, everyone else who can open the
 * socket is viewer. Clients that do not read lose events (counted), never block the service; a
 * client with too much unread output is closed. Runs in the service's main loop.
 */
#pragma once
#include <jansson.h>
#include "common/loop.h"
#include "common/text.h"

/*
 *   server → {"stile":"stile-turn","instance":"","version":"0.1.0","protocol":1,"role":"admin"}
 *   client → {"id":1,"verb":"turn.sessions","args":{"limit":100,"cursor":"…"}}
 *   server → {"id":1,"result":{"rows":[…],"cursor":"…"}}            more rows: call again with the cursor
 *   server → {"id":1,"error":{"code":"not-found","text":"no session 17","hint":"stile turn sessions"}}
 *   server → {"id":2,"progress":{…}}                                 long work, before its result
 *   client → {"id":3,"cancel":2}
 *   server → {"id":3,"result":{"cancelled":true}}                    2 still gets its own answer
 *   client → {"id":4,"verb":"events.subscribe","args":{"topics":["turn.sessions","log.*"]}}
 *   server → {"id":4,"result":{"topics":[…]}}                        then, until 4 is cancelled:
 *   server → {"id":4,"event":{"seq":18,"topic":"turn.sessions","data":{…}}}
 *   server → {"id":4,"event":{"seq":40,"lost":21}}                   instead of the events 20 to 40
 *
 * An id is an integer from 0 to 2^53 - 1 that this client has not in use; a line that has none is
 * answered with "id":null. An error has a reason, a stable word for its text (common/reason.h), with values, and may have more fields (of a change "fields":[{path, text}], of a conflict "yours" and
 * "theirs"). Error codes: bad-request, too-long, unknown-verb, forbidden, not-found,
 * exists, conflict, busy, locked, cancelled, failed; new ones may come, the words never change.
 */
enum { CONTROL_PROTOCOL = 1, CONTROL_MAX_LINE = 1 << 20, CONTROL_MAX_DEPTH = 32 };
enum control_role { CONTROL_VIEWER, CONTROL_OPERATOR, CONTROL_ADMIN };

struct control_server;
struct control_request; /* lives until control_reply/_fail; if its client goes first, the answer is dropped */

struct control_verb {
	const char *name; /* "turn.sessions" */
	enum control_role role;
	/* args is a JSON object (never NULL), borrowed. Must end, now or later, in exactly one
	 * control_reply or control_fail. */
	void (*call)(struct control_request *rq, const json_t *args, void *arg);
	const char *help;
};

struct control_options {
	const char *path; /* of the socket */
	const char *program, *instance, *version;
	unsigned mode; /* 0660 */
	const char *group; /* owner group of the socket if it exists; "stile" */
};
int control_server_new(struct loop *l, const struct control_options *o, char *err, size_t err_n,
		       struct control_server **ret_s); /* removes a dead socket, refuses a live one (-EADDRINUSE) */
struct control_server *control_server_free(struct control_server *s); /* unlinks the socket */
DEFINE_CLEANUP(struct control_server, control_server_free)
/* verbs stays valid for the server's life. Built in: "ping", "verbs", "events.subscribe". 0 or -ENOMEM. */
int control_add_verbs(struct control_server *s, const struct control_verb *verbs, size_t n, void *arg);

/* Takes the reference; NULL (a json_pack() that failed) is answered as an error. */
void control_reply(struct control_request *rq, json_t *result);
void control_fail(struct control_request *rq, const char *code, const char *hint, const char *fmt, ...) _printf_(4, 5);
/* The same, with more fields beside code, text and hint. more is taken; NULL: none. */
void control_fail_with(struct control_request *rq, const char *code, const char *hint, json_t *more, const char *fmt, ...) _printf_(5, 6);
void control_progress(struct control_request *rq, json_t *progress); /* takes the reference */
/* For long work: called once if the client cancels or goes; the request must still be ended, there
 * or later. */
void control_on_cancel(struct control_request *rq, void (*fn)(struct control_request *, void *), void *arg);
enum control_role control_request_role(const struct control_request *rq);
const char *control_request_who(const struct control_request *rq); /* "uid 1000 (alice)": for the audit log */
/* To all subscribers of the topic; takes the reference. Cheap when nobody listens. */
void control_publish(struct control_server *s, const char *topic, json_t *data);
bool control_has_subscribers(const struct control_server *s, const char *topic);

/* One line of input, as the server treats it: for the fuzz target. Returns 0 or a negative errno. */
int control_parse_line(struct text line, json_t **ret_obj, const char **ret_why);

/* Client side, blocking, for the tool and tests. Errors: negative errno, or CONTROL_ERROR with the
 * service's error object in *ret_error. */
struct control_client;
enum { CONTROL_ERROR = 1 };
int control_connect(const char *path, int timeout_ms, struct control_client **ret_c);
struct control_client *control_client_free(struct control_client *c);
const json_t *control_hello(const struct control_client *c);
int control_call(struct control_client *c, const char *verb, json_t *args /* taken; may be NULL */,
		 json_t **ret_result, json_t **ret_error);
/* Called for each progress line of a call; each also starts the call's timeout anew. */
void control_on_progress(struct control_client *c, void (*fn)(const json_t *progress, void *arg), void *arg);
/* Subscriptions: next event, or -ETIMEDOUT. Events that came during a call are queued for it; of
 * more than 4096 the oldest are dropped, which their seq shows. */
int control_next_event(struct control_client *c, int timeout_ms, json_t **ret_event);
DEFINE_CLEANUP(struct control_client, control_client_free)
