/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that administrators make while a service runs, by name: routes of the relay, forward jobs of an agent,
 * jobs that a server offers to agents. Kept in the store under one kind, held in memory as they are there. A change is
 * written first and done then; its verb is answered when both have happened.
 *
 * Checking a change before, and what doing it means, is the owner's.
 */
#pragma once
#include "common/service.h"

struct stored;

struct stored_ops {
	const char *kind;      /* "relay.route" */
	const char *noun;      /* "route" */
	const char *list_hint; /* "stile relay route list" */
	/* It is on the disk: now do it. 0, or -errno and a sentence. flag: as it was given. */
	int (*put)(const char *name, const json_t *body, bool flag, void *arg, char *err, size_t err_n);
	void (*deleted)(const char *name, bool flag, void *arg);
	json_t *(*row)(const char *name, void *arg); /* the answer to a put; NULL: {name} */
	/* It is off the disk, and body is what goes: just before deleted(). May be NULL. */
	void (*leaving)(const char *name, json_t *body, void *arg);
	/* As struct service_owner has it: of what comes by config.put and the like. NULL: the kind's schema judges alone. */
	int (*check)(const char *name, json_t **body, void *arg, char *err, size_t err_n);
	/* For the verbs below; NULL where a kind has others. */
	size_t name_max;
	/* True: it is no name, or the file's, and the request was ended. */
	bool (*locked)(struct control_request *rq, const char *name, void *arg);
	/* Puts it, or ends the request. changed: the name of the one that is changed; NULL: a new one. body: as it was given. */
	void (*submit)(struct control_request *rq, const char *changed, const json_t *body, uint64_t revision, void *arg);
};
/* Reads what is there, if the service has a store. 0, -ENOMEM or -EIO. */
int stored_new(struct service *svc, const struct stored_ops *ops, void *arg, struct stored **ret_s);
struct stored *stored_free(struct stored *s);
json_t *stored_bodies(struct stored *s); /* name → body, borrowed */
/* The revision that a request names, or otherwise. */
uint64_t stored_revision(const json_t *args, uint64_t otherwise);
/* Both end the request, now or later. body is taken. revision 0: it must be new; STORE_ANY: whatever is there. */
void stored_put(struct stored *s, struct control_request *rq, const char *name, json_t *body,
		uint64_t revision, bool flag);
void stored_delete(struct stored *s, struct control_request *rq, const char *name, bool flag);
/* A change does not rename. False: it would, and the request was ended. */
bool stored_keeps_name(const struct stored *s, struct control_request *rq, const char *name, const char *called);
/* Verbs of a kind with locked() and submit(), whose arg is the struct stored: {NOUN: {key: value, …}, replace}; {name, NOUN: {…}}: other
 * values for some keys; {name}: the key "enabled" alone; {name}. */
void stored_verb_add(struct control_request *rq, const json_t *args, void *arg);
void stored_verb_change(struct control_request *rq, const json_t *args, void *arg);
void stored_verb_start(struct control_request *rq, const json_t *args, void *arg);
void stored_verb_stop(struct control_request *rq, const json_t *args, void *arg);
void stored_verb_delete(struct control_request *rq, const json_t *args, void *arg);
/* Without anybody who asks: as far as it goes. body is taken; NULL (there was no memory for it): what is there stays. */
void stored_set(struct stored *s, const char *name, json_t *body, const char *who);
void stored_drop(struct stored *s, const char *name, const char *who);
