/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: objects that administrators change while a service runs (users, jobs, routes …).
 *
 * One SQLite database per service instance, that service its only writer, on a store thread with
 * group commit: calls queue an operation and return; the outcome comes back by mail to the loop that
 * asked, after the commit that makes it durable. Every object has a kind, a key, a JSON body and
 * a revision; a write names the revision that it changes (0: create, STORE_ANY: whatever is there),
 * else it is refused with STORE_CONFLICT. The audit row (who, when, before, after) is written in the
 * same transaction. Several objects can be changed as one, and any change can be undone by its number, as a whole. The audit
 * shows no secret (store_secrets.h); what a change of one needs to be undone is kept for a day, apart from it. Validation is
 * the caller's (by the schema rows). Behind a vtable of named operations (store_engine.h), so that another engine can
 * follow. An object's revision is the number of the audit row of its last change; the number of a change is that of its first row.
 *
 * A change may be written as one that waits for a confirmation: it is undone at the next store_peek() after its time,
 * or by whoever looks at the clock meanwhile.
 */
#pragma once
#include <jansson.h>
#include "common/loop.h"

enum store_result { /* positive module codes */
	STORE_OK,
	STORE_NOT_FOUND,
	STORE_EXISTS,
	STORE_CONFLICT, /* the revision is another one by now */
	STORE_NEWER,	/* the database was written by a newer version */
	STORE_CORRUPT,
	STORE_LOCKED,	/* another process has it */
	STORE_FULL,	/* disk full or I/O error; nothing was changed */
	STORE_SECRET,	/* of an undo: it would need a secret that is not kept any more */
};
#define STORE_ANY UINT64_MAX
const char *store_result_text(enum store_result r);
int store_schema_version(void); /* of the databases that this program writes */

struct store;
struct cfg_schema;

/* A kind of object, with the schema that tells which of its values are secrets; of a kind with a place its first row is what an object's key
 * says. The rows outlive the store. */
struct store_kind {
	const char *name;
	const struct cfg_schema *schema;
	const char *place; /* its list in a configuration file, "sip.lan.servers"; "turn.realms[].users": what stands before the first slash of a
			    * key names the item of turn.realms; "": a piece of the whole file. NULL: what the service has learnt or keeps for
			    * itself, no thing of the configuration: not exported */
	/* What stands there for an object, if that is not its body: an object, or NULL (no memory, or this one has no place there). */
	json_t *(*placed)(const json_t *body);
	bool unaudited; /* its changes are many and nobody's decision: they leave no audit row, so none can be undone, and a
			 * revision is the time of the change in ms */
};

struct store_options {
	const char *path; /* of the database file; its folder must exist. ":memory:" for tests */
	const struct store_kind *kinds; /* ended by a row without a name; NULL: none */
	uint64_t keep_secrets_ms; /* for an undo; 0: a day */
	bool quick; /* does not read the whole file to find damage */
};
/* Opens and migrates; blocking, at start only. err gets a sentence. 0, -errno or a store_result. */
int store_open(const struct store_options *o, char *err, size_t err_n, struct store **ret_s);
struct store *store_close(struct store *s); /* finishes what is queued */
DEFINE_CLEANUP(struct store, store_close)

/* Before a service runs: undoes the change that nobody has confirmed in time, then reads all objects of a kind (NULL: of all), in key order.
 * Blocking; the file is closed again. 0 (also if there is no file yet), -errno or a store_result. */
struct store_object;
struct store_reader {
	const char *kind;
	void (*fn)(const struct store_object *o, void *arg);
	void *arg;
	uint64_t undone; /* returned: the change that was undone, or 0 */
};
int store_peek(const struct store_options *o, struct store_reader *rd, char *err, size_t err_n);

struct store_object {
	const char *kind, *key;
	json_t *body;
	uint64_t revision;
	int64_t changed_at; /* unix ms */
};

/* Reads at start, blocking, before any loop runs: all objects of a kind, in key order. */
int store_load(struct store *s, const char *kind, void (*fn)(const struct store_object *o, void *arg), void *arg);

struct store_outcome {
	int result; /* store_result or -errno */
	uint64_t revision; /* new revision after a put */
	uint64_t audit;	   /* number of the audit row; of several: of the first, which is the change's */
	json_t *rows;	   /* for reads, commits and undos: array; borrowed. Of a put's conflict as of a commit's */
	size_t refused;	   /* of a commit: the item that was */
};
typedef void (*store_done_fn)(const struct store_outcome *o, void *arg); /* in loop */

/* Who asks, and where the outcome goes. The loop outlives the store. done NULL (with loop NULL):
 * nobody wants to know. */
struct store_call {
	struct loop *loop;
	const char *who; /* for changes: "uid 0 (root)", "file", "console alice" */
	bool quiet; /* a put that is nobody's decision (when it was last seen): of what is there already, no audit row, and the
		     * revision stays */
	store_done_fn done;
	void *arg;
};

/* Each returns 0 if the operation is queued, and then done follows; else -EINVAL, -ENOMEM or -EAGAIN
 * (ten thousand are queued). body is taken in any case, the rest is copied. */
int store_put(struct store *s, const struct store_call *c, const char *kind, const char *key, uint64_t revision,
	      json_t *body);
int store_delete(struct store *s, const struct store_call *c, const char *kind, const char *key,
		 uint64_t revision);
/* rows: {key, revision, changed_at, body}, in key order behind after_key (NULL: from the first) */
int store_list(struct store *s, const struct store_call *c, const char *kind, const char *after_key,
	       unsigned limit);
/* All or nothing. rows: {kind, key, body, revision}, body null for what is gone now; of a STORE_CONFLICT or STORE_EXISTS what is there
 * instead, with changed_at and who. until (unix ms, 0: no): it waits for store_confirm(). */
enum { STORE_CHANGE_MAX = 1000 }; /* items */
struct store_item {
	const char *kind, *key;
	json_t *body; /* NULL: delete. Borrowed */
	uint64_t revision;
};
int store_commit(struct store *s, const struct store_call *c, const struct store_item *items, size_t n, int64_t until);
/* The change that waits, if any: an object of this kind with {change, until, who}, and within: ms that it had, whatever the clock says. */
#define STORE_PENDING_KIND "config.pending"
int store_confirm(struct store *s, const struct store_call *c); /* STORE_NOT_FOUND: none waits */
/* rows, newest first, with numbers below before (0: from the newest): {change, audit, at, who, kind, key, before,
 * after, revision, undoes}; before or after is null where there was no object */
int store_audit(struct store *s, const struct store_call *c, uint64_t before, unsigned limit);
/* A change of its own that makes all objects of the change with this row what they were before; STORE_CONFLICT if one was changed
 * since, STORE_SECRET if the change of a secret is too long ago. rows as of a commit. */
enum {
	STORE_DRY = 1,	 /* only tell what it would do */
	STORE_FORCE = 2, /* leave what was changed since as it is */
};
int store_undo(struct store *s, const struct store_call *c, uint64_t audit, unsigned flags, int64_t until);
/* Wipes what is kept for undoing changes of secrets that are too old by now. */
void store_forget(struct store *s);
/* The last change failed because the disk or the database does. From any thread. */
bool store_is_failing(const struct store *s);
/* Waits until all that is queued is done and its mail is posted; blocking, for the end of a service. */
void store_flush(struct store *s);
