/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of the control protocol for use inside a loop: nothing blocks, any number of calls at a time, each with its
 * deadline. control_client.c is the one for the tool.
 *
 * A link is one connection. It begins with the service's greeting; when it ends, for whatever reason, every call that waits
 * fails first and on_down comes last, once. Whoever wants it back makes another one. A service that answers late costs its
 * caller the deadline and nothing else; its late answer is thrown away.
 */
#pragma once
#include "common/control.h"

struct control_link;

/* Of one call: exactly one of result and error is set, both borrowed; or neither, and r is -ETIMEDOUT, -ECONNRESET or -ENOMEM. */
typedef void (*control_answer_fn)(int r, json_t *result, json_t *error, void *arg);

struct control_link_ops {
	void (*on_up)(struct control_link *l, const json_t *hello, void *arg);
	/* {seq, topic, data} or {seq, lost} of the subscription. */
	void (*on_event)(struct control_link *l, const json_t *event, void *arg);
	/* In it the owner may free the link. why: a sentence. */
	void (*on_down)(struct control_link *l, int err, const char *why, void *arg);
};
/* 0, or -errno of the attempt (-ENOENT and -ECONNREFUSED: nobody is there). Unix sockets connect at once or not at all. */
int control_link_new(struct loop *l, const char *path, const struct control_link_ops *ops, void *arg, struct control_link **ret_c);
/* Calls that wait are failed with -ECONNRESET; on_down does not come. */
struct control_link *control_link_free(struct control_link *c);
bool control_link_is_up(const struct control_link *c);
/* args is taken; may be NULL. fn always comes, and never from inside unless there is no memory at all. Returns the id of the call,
 * for control_link_forget(); 0 when fn has come. */
uint64_t control_link_call(struct control_link *c, const char *verb, json_t *args, uint64_t timeout_ms, control_answer_fn fn, void *arg);
/* Progress of a call under way, borrowed; each also starts its deadline anew. Harmless if the call is over. */
void control_link_on_progress(struct control_link *c, uint64_t id, void (*fn)(json_t *progress, void *arg), void *arg);
/* fn does not come any more; the service is told to cancel. Harmless if it is over. */
void control_link_forget(struct control_link *c, uint64_t id);
/* Events of these topics (array of strings, taken) from now on, instead of those before. */
void control_link_subscribe(struct control_link *c, json_t *topics);
DEFINE_CLEANUP(struct control_link, control_link_free)
