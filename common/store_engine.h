/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store asks of a database engine: named operations on objects and audit rows inside
 * transactions with one mark (savepoint). What revisions, conflicts and undo mean stays in store.c, the
 * same for every engine; another engine is one more file and one row.
 *
 * All calls come from one thread at a time. They return 0, a negative errno or a store_result; text
 * that is returned is malloc'd.
 */
#pragma once
#include "common/store.h"

struct store_row {
	char *body;
	uint64_t revision;
};

struct store_change { /* an audit row; before or after is NULL when there was or is no object */
	uint64_t audit;
	int64_t at;
	const char *who, *kind, *key, *before, *after;
	uint64_t undoes; /* audit number, 0: none */
	uint64_t change; /* first audit number of the change, 0: this one is it */
};

struct store_past { /* of an audit row, what undoing it needs */
	char *kind, *key, *before, *who;
	uint64_t change, latest; /* number of its change; of the newest audit row of the same object */
};

struct store_engine {
	const char *name;
	int version; /* of the schema that it writes */
	int (*open)(const struct store_options *o, char *err, size_t err_n, void **ret_db);
	void (*close)(void *db);
	const char *(*why)(const void *db); /* the engine's own words on the last failure, for the log */

	int (*begin)(void *db);
	int (*commit)(void *db);
	void (*rollback)(void *db);
	bool (*lost)(const void *db); /* a failure has ended the transaction, all of it is undone */
	int (*mark)(void *db);
	int (*keep)(void *db);	  /* removes the mark */
	int (*to_mark)(void *db); /* undoes what came after the mark, and removes it */

	int (*get)(void *db, const char *kind, const char *key, struct store_row *ret_row); /* STORE_NOT_FOUND */
	int (*set)(void *db, const struct store_change *c); /* object := after; its revision is c->audit */
	int (*remove)(void *db, const struct store_change *c);
	int (*list)(void *db, const char *kind, const char *after_key, unsigned limit, json_t *rows);
	int (*each)(void *db, const char *kind, void (*fn)(const struct store_object *o, void *arg), void *arg);
	int (*audit_add)(void *db, const struct store_change *c, uint64_t *ret_audit);
	int (*audit_get)(void *db, uint64_t audit, struct store_past *ret_past); /* STORE_NOT_FOUND */
	int (*audit_list)(void *db, uint64_t before, unsigned limit, json_t *rows);
	/* The numbers of all rows of a change, newest first; STORE_NOT_FOUND. */
	int (*audit_of)(void *db, uint64_t change, uint64_t ids[static STORE_CHANGE_MAX], size_t *ret_n);
	/* What was before audit row c->audit, with its secrets. */
	int (*past_add)(void *db, const struct store_change *c);
	int (*past_get)(void *db, uint64_t audit, char **ret_before); /* STORE_NOT_FOUND */
	int (*past_drop)(void *db, int64_t older_than);
};
extern const struct store_engine store_sqlite;
