/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on SQLite: one file, write-ahead log, every commit on the disk before it counts
 * (synchronous=FULL), locked for this process alone, so that a second service on the same file is
 * found out at once. application_id says that the file is ours, user_version which migrations it has
 * seen. Statements are prepared once, from the table below.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/fd.h"
#include "common/store_engine.h"

enum { APPLICATION_ID = 0x5374696c /* "Stil" */, BUSY_MS = 500 };

/* Number n brings a store from user_version n to n + 1. Rows are only ever added. */
static const char *const migrations[] = {
	"CREATE TABLE objects (kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL,"
	"  revision INTEGER NOT NULL, changed_at INTEGER NOT NULL, PRIMARY KEY (kind, key)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL,"
	"  kind TEXT NOT NULL, key TEXT NOT NULL, before TEXT, after TEXT, undoes INTEGER) STRICT;"
	"CREATE INDEX audit_of ON audit (kind, key, id);",
	/* The audit no longer keeps secrets (store_secrets.h); until now they were all called "password". */
	"UPDATE audit SET before = json_set(before, '$.password', json('{\"secret\":\"changed\"}'))"
	"  WHERE json_type(before, '$.password') = 'text';"
	"UPDATE audit SET after = json_set(after, '$.password', json('{\"secret\":\"changed\"}'))"
	"  WHERE json_type(after, '$.password') = 'text';",
	/* Changes of several objects: of all rows but the first the number of the first. What was before a change of secrets. */
	"ALTER TABLE audit ADD COLUMN change INTEGER;"
	"CREATE INDEX audit_change ON audit (coalesce(change, id));"
	"CREATE TABLE past (audit INTEGER PRIMARY KEY, at INTEGER NOT NULL, before TEXT NOT NULL) STRICT;",
};

enum statement {
	Q_BEGIN, Q_COMMIT, Q_MARK, Q_KEEP, Q_TO_MARK, Q_GET, Q_SET, Q_REMOVE, Q_LIST, Q_EACH, Q_AUDIT_ADD, Q_AUDIT_GET,
	Q_AUDIT_LIST, Q_AUDIT_OF, Q_PAST_ADD, Q_PAST_GET, Q_PAST_DROP, Q_COUNT,
};
static const char *const statements[Q_COUNT] = {
	[Q_BEGIN] = "BEGIN IMMEDIATE",
	[Q_COMMIT] = "COMMIT",
	[Q_MARK] = "SAVEPOINT op",
	[Q_KEEP] = "RELEASE op",
	[Q_TO_MARK] = "ROLLBACK TO op",
	[Q_GET] = "SELECT body, revision FROM objects WHERE kind = ?1 AND key = ?2",
	[Q_SET] = "INSERT INTO objects (kind, key, body, revision, changed_at) VALUES (?1, ?2, ?3, ?4, ?5)"
		  " ON CONFLICT (kind, key) DO UPDATE SET body = ?3, revision = ?4, changed_at = ?5",
	[Q_REMOVE] = "DELETE FROM objects WHERE kind = ?1 AND key = ?2",
	[Q_LIST] = "SELECT key, revision, changed_at, body FROM objects WHERE kind = ?1 AND key > ?2"
		   " ORDER BY key LIMIT ?3",
	[Q_EACH] = "SELECT key, revision, changed_at, body, kind FROM objects WHERE kind = ?1 OR ?1 IS NULL ORDER BY kind, key",
	[Q_AUDIT_ADD] = "INSERT INTO audit (at, who, kind, key, before, after, undoes, change)"
			" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[Q_AUDIT_GET] = "SELECT kind, key, before,"
			" (SELECT max(id) FROM audit AS b WHERE b.kind = a.kind AND b.key = a.key), who, coalesce(change, id)"
			" FROM audit AS a WHERE id = ?1",
	[Q_AUDIT_LIST] = "SELECT id, at, who, kind, key, before, after, undoes, coalesce(change, id) FROM audit WHERE id < ?1"
			 " ORDER BY id DESC LIMIT ?2",
	[Q_AUDIT_OF] = "SELECT id FROM audit WHERE coalesce(change, id) = ?1 ORDER BY id DESC LIMIT ?2",
	[Q_PAST_ADD] = "INSERT INTO past (audit, at, before) VALUES (?1, ?2, ?3)",
	[Q_PAST_GET] = "SELECT before FROM past WHERE audit = ?1",
	[Q_PAST_DROP] = "DELETE FROM past WHERE at < ?1",
};

struct sqlite_db {
	sqlite3 *h;
	sqlite3_stmt *q[Q_COUNT];
};

/* --- results --- */

static int result_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return STORE_CORRUPT;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return STORE_LOCKED;
	case SQLITE_FULL:
	case SQLITE_IOERR:
		return STORE_FULL;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_CANTOPEN:
		return -EACCES;
	default:
		return -EIO;
	}
}

static const char *db_why(const void *v)
{
	const struct sqlite_db *db = v;

	return sqlite3_errmsg(db->h);
}

/* --- statements --- */

/* Binds by letters: s text (NULL allowed), i integer. */
static sqlite3_stmt *bind(struct sqlite_db *db, enum statement which, const char *types, ...)
{
	sqlite3_stmt *q = db->q[which];
	va_list ap;

	va_start(ap, types);
	for (int i = 0; types[i]; i++) {
		/* Fails only for a position that is not there or without memory, then the column is NULL
		 * and the NOT NULL constraints refuse the row. */
		if (types[i] == 's')
			sqlite3_bind_text(q, i + 1, va_arg(ap, const char *), -1, SQLITE_STATIC);
		else
			sqlite3_bind_int64(q, i + 1, va_arg(ap, sqlite3_int64));
	}
	va_end(ap);
	return q;
}

static void release(sqlite3_stmt *q)
{
	sqlite3_reset(q); /* its result repeats that of the last step */
	sqlite3_clear_bindings(q);
}

static int run(sqlite3_stmt *q)
{
	int rc = sqlite3_step(q);

	release(q);
	return result_of(rc);
}

static int copy_text(sqlite3_stmt *q, int column, char **ret_s)
{
	const char *s = (const char *)sqlite3_column_text(q, column);
	char *copy = s ? strdup(s) : NULL;

	if (!copy && sqlite3_column_type(q, column) != SQLITE_NULL)
		return -ENOMEM;
	*ret_s = copy;
	return 0;
}

/* A column with JSON text; NULL gives null. NULL only without memory or if the text is no JSON, which
 * nobody but us writes. */
static json_t *column_json(sqlite3_stmt *q, int column)
{
	if (sqlite3_column_type(q, column) == SQLITE_NULL)
		return json_null();
	return json_loadb((const char *)sqlite3_column_text(q, column),
			  (size_t)sqlite3_column_bytes(q, column), JSON_DECODE_ANY, NULL);
}

/* --- transactions --- */

static int db_begin(void *v)
{
	return run(((struct sqlite_db *)v)->q[Q_BEGIN]);
}

static int db_commit(void *v)
{
	return run(((struct sqlite_db *)v)->q[Q_COMMIT]);
}

static bool db_lost(const void *v)
{
	return sqlite3_get_autocommit(((const struct sqlite_db *)v)->h) != 0;
}

static void db_rollback(void *v)
{
	if (!db_lost(v))
		sqlite3_exec(((struct sqlite_db *)v)->h, "ROLLBACK", NULL, NULL, NULL);
}

static int db_mark(void *v)
{
	return run(((struct sqlite_db *)v)->q[Q_MARK]);
}

static int db_keep(void *v)
{
	return run(((struct sqlite_db *)v)->q[Q_KEEP]);
}

static int db_to_mark(void *v)
{
	int r = run(((struct sqlite_db *)v)->q[Q_TO_MARK]);

	return r != 0 ? r : db_keep(v);
}

/* --- objects --- */

static int db_get(void *v, const char *kind, const char *key, struct store_row *ret_row)
{
	sqlite3_stmt *q = bind(v, Q_GET, "ss", kind, key);
	int rc = sqlite3_step(q), r = result_of(rc);

	if (rc == SQLITE_DONE)
		r = STORE_NOT_FOUND;
	if (rc == SQLITE_ROW) {
		r = copy_text(q, 0, &ret_row->body);
		ret_row->revision = (uint64_t)sqlite3_column_int64(q, 1);
	}
	release(q);
	return r;
}

static int db_set(void *v, const struct store_change *c)
{
	return run(bind(v, Q_SET, "sssii", c->kind, c->key, c->after, (sqlite3_int64)c->audit,
			(sqlite3_int64)c->at));
}

static int db_remove(void *v, const struct store_change *c)
{
	return run(bind(v, Q_REMOVE, "ss", c->kind, c->key));
}

static int append(json_t *rows, json_t *row)
{
	return json_array_append_new(rows, row) < 0 ? -ENOMEM : 0; /* NULL is refused too */
}

static int db_list(void *v, const char *kind, const char *after_key, unsigned limit, json_t *rows)
{
	sqlite3_stmt *q = bind(v, Q_LIST, "ssi", kind, after_key, (sqlite3_int64)limit);
	int rc, r = 0;

	while (r == 0 && (rc = sqlite3_step(q)) != SQLITE_DONE) {
		r = result_of(rc);
		if (r == 0)
			r = append(rows, json_pack("{s:s, s:I, s:I, s:o}", "key", sqlite3_column_text(q, 0),
						   "revision", (json_int_t)sqlite3_column_int64(q, 1),
						   "changed_at", (json_int_t)sqlite3_column_int64(q, 2),
						   "body", column_json(q, 3)));
	}
	release(q);
	return r;
}

static int db_each(void *v, const char *kind, void (*fn)(const struct store_object *o, void *arg), void *arg)
{
	sqlite3_stmt *q = bind(v, Q_EACH, "s", kind);
	int rc, r = 0;

	while (r == 0 && (rc = sqlite3_step(q)) != SQLITE_DONE) {
		struct store_object o = { 0 };
		r = result_of(rc);
		if (r != 0)
			break;
		o.kind = (const char *)sqlite3_column_text(q, 4);
		o.key = (const char *)sqlite3_column_text(q, 0);
		o.revision = (uint64_t)sqlite3_column_int64(q, 1);
		o.changed_at = sqlite3_column_int64(q, 2);
		o.body = column_json(q, 3);
		if (o.body)
			fn(&o, arg);
		else
			r = -ENOMEM;
		json_decref(o.body);
	}
	release(q);
	return r;
}

/* --- audit --- */

static int db_audit_add(void *v, const struct store_change *c, uint64_t *ret_audit)
{
	struct sqlite_db *db = v;
	sqlite3_stmt *q = bind(db, Q_AUDIT_ADD, "isssss", (sqlite3_int64)c->at, c->who, c->kind, c->key,
			       c->before, c->after);
	int r;

	if (c->undoes)
		sqlite3_bind_int64(q, 7, (sqlite3_int64)c->undoes);
	if (c->change)
		sqlite3_bind_int64(q, 8, (sqlite3_int64)c->change);
	r = run(q);
	if (r == 0)
		*ret_audit = (uint64_t)sqlite3_last_insert_rowid(db->h);
	return r;
}

static int db_audit_get(void *v, uint64_t audit, struct store_past *ret_past)
{
	sqlite3_stmt *q = bind(v, Q_AUDIT_GET, "i", (sqlite3_int64)MIN(audit, (uint64_t)INT64_MAX));
	int rc = sqlite3_step(q), r = result_of(rc);

	if (rc == SQLITE_DONE)
		r = STORE_NOT_FOUND;
	if (rc == SQLITE_ROW) {
		r = copy_text(q, 0, &ret_past->kind);
		if (r == 0)
			r = copy_text(q, 1, &ret_past->key);
		if (r == 0)
			r = copy_text(q, 2, &ret_past->before);
		if (r == 0)
			r = copy_text(q, 4, &ret_past->who);
		ret_past->latest = (uint64_t)sqlite3_column_int64(q, 3);
		ret_past->change = (uint64_t)sqlite3_column_int64(q, 5);
	}
	release(q);
	return r;
}

static int db_audit_of(void *v, uint64_t change, uint64_t ids[static STORE_CHANGE_MAX], size_t *ret_n)
{
	sqlite3_stmt *q = bind(v, Q_AUDIT_OF, "ii", (sqlite3_int64)MIN(change, (uint64_t)INT64_MAX), (sqlite3_int64)STORE_CHANGE_MAX);
	size_t n = 0;
	int rc, r = 0;

	while (r == 0 && (rc = sqlite3_step(q)) != SQLITE_DONE) {
		r = result_of(rc);
		if (r == 0)
			ids[n++] = (uint64_t)sqlite3_column_int64(q, 0);
	}
	release(q);
	*ret_n = n;
	return r == 0 && n == 0 ? STORE_NOT_FOUND : r;
}

static int db_past_add(void *v, const struct store_change *c)
{
	return run(bind(v, Q_PAST_ADD, "iis", (sqlite3_int64)c->audit, (sqlite3_int64)c->at, c->before));
}

static int db_past_get(void *v, uint64_t audit, char **ret_before)
{
	sqlite3_stmt *q = bind(v, Q_PAST_GET, "i", (sqlite3_int64)audit);
	int rc = sqlite3_step(q), r = result_of(rc);

	if (rc == SQLITE_DONE)
		r = STORE_NOT_FOUND;
	if (rc == SQLITE_ROW)
		r = copy_text(q, 0, ret_before);
	release(q);
	return r;
}

static int db_past_drop(void *v, int64_t older_than)
{
	return run(bind(v, Q_PAST_DROP, "i", (sqlite3_int64)older_than));
}

static json_t *audit_json(sqlite3_stmt *q)
{
	json_t *row = json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:o, s:o}", "change", (json_int_t)sqlite3_column_int64(q, 8),
				"audit", (json_int_t)sqlite3_column_int64(q, 0), "at",
				(json_int_t)sqlite3_column_int64(q, 1), "who", sqlite3_column_text(q, 2),
				"kind", sqlite3_column_text(q, 3), "key", sqlite3_column_text(q, 4), "before",
				column_json(q, 5), "after", column_json(q, 6));
	int r = 0;

	if (!row)
		return NULL;
	if (sqlite3_column_type(q, 6) != SQLITE_NULL)
		r |= json_object_set_new(row, "revision", json_integer(sqlite3_column_int64(q, 0)));
	if (sqlite3_column_type(q, 7) != SQLITE_NULL)
		r |= json_object_set_new(row, "undoes", json_integer(sqlite3_column_int64(q, 7)));
	if (r == 0)
		return row;
	json_decref(row);
	return NULL;
}

static int db_audit_list(void *v, uint64_t before, unsigned limit, json_t *rows)
{
	sqlite3_stmt *q = bind(v, Q_AUDIT_LIST, "ii", (sqlite3_int64)MIN(before, (uint64_t)INT64_MAX),
			       (sqlite3_int64)limit);
	int rc, r = 0;

	while (r == 0 && (rc = sqlite3_step(q)) != SQLITE_DONE) {
		r = result_of(rc);
		if (r == 0)
			r = append(rows, audit_json(q));
	}
	release(q);
	return r;
}

/* --- opening --- */

static void db_close(void *v)
{
	struct sqlite_db *db = v;

	for (size_t i = 0; i < Q_COUNT; i++)
		sqlite3_finalize(db->q[i]);
	sqlite3_close(db->h);
	free(db);
}

static int pragma_int(struct sqlite_db *db, const char *sql, int64_t *ret_v)
{
	sqlite3_stmt *q = NULL;
	int rc = sqlite3_prepare_v2(db->h, sql, -1, &q, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(q);
	if (rc == SQLITE_ROW)
		*ret_v = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? -EIO : result_of(rc);
}

/* The file exists with its mode before SQLite sees it; its companions (-wal) take the same mode. */
static int make_file(const char *path)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;

	if (strcmp(path, ":memory:") == 0)
		return 0;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((st.st_mode & 077) && fchmod(fd, 0600) < 0)
		return -errno;
	return 0;
}

static int configure(struct sqlite_db *db)
{
	static const char settings[] =
		"PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		"PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
		"PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 16777216;"
		"BEGIN IMMEDIATE; COMMIT;"; /* takes the lock, which is kept */

	sqlite3_busy_timeout(db->h, BUSY_MS);
	sqlite3_db_config(db->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	return result_of(sqlite3_exec(db->h, settings, NULL, NULL, NULL));
}

static int is_sound(struct sqlite_db *db)
{
	sqlite3_stmt *q = NULL;
	int rc = sqlite3_prepare_v2(db->h, "PRAGMA quick_check(1)", -1, &q, NULL), r;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(q);
	r = result_of(rc);
	if (r == 0 && (rc != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(q, 0), "ok") != 0))
		r = STORE_CORRUPT;
	sqlite3_finalize(q);
	return r;
}

static int migrate(struct sqlite_db *db, int64_t version)
{
	char end[96];
	int r = 0;

	for (size_t i = (size_t)version; i < ARRAY_LEN(migrations) && r == 0; i++) {
		snprintf(end, sizeof(end), "PRAGMA application_id = %d; PRAGMA user_version = %zu; COMMIT",
			 APPLICATION_ID, i + 1);
		r = result_of(sqlite3_exec(db->h, "BEGIN IMMEDIATE", NULL, NULL, NULL));
		if (r == 0)
			r = result_of(sqlite3_exec(db->h, migrations[i], NULL, NULL, NULL));
		if (r == 0)
			r = result_of(sqlite3_exec(db->h, end, NULL, NULL, NULL));
		if (r != 0)
			db_rollback(db);
	}
	return r;
}

enum { NOT_OURS = 1000 }; /* beside the store_results, within this file */

static int bring_up_to_date(struct sqlite_db *db, bool quick)
{
	int64_t id = 0, version = 0, tables = 0;
	int r;

	r = pragma_int(db, "PRAGMA application_id", &id);
	if (r == 0)
		r = pragma_int(db, "PRAGMA user_version", &version);
	if (r == 0)
		r = pragma_int(db, "SELECT count(*) FROM sqlite_master", &tables);
	if (r != 0)
		return r;
	if (id != APPLICATION_ID && (id || version || tables))
		return NOT_OURS;
	if (version < 0 || version > (int64_t)ARRAY_LEN(migrations))
		return STORE_NEWER;
	r = quick ? 0 : is_sound(db);
	return r != 0 ? r : migrate(db, version);
}

static int prepare(struct sqlite_db *db)
{
	int r = 0;

	for (size_t i = 0; i < Q_COUNT && r == 0; i++)
		r = result_of(sqlite3_prepare_v3(db->h, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &db->q[i],
						 NULL));
	return r;
}

static int explain(const struct sqlite_db *db, const char *path, int r, char *err, size_t err_n)
{
	const char *why = db && db->h ? sqlite3_errmsg(db->h) : "";

	switch (r) {
	case NOT_OURS:
		snprintf(err, err_n, "%s is a database, but not a store of Stile", path);
		return STORE_CORRUPT;
	case STORE_NEWER:
		snprintf(err, err_n, "the store %s was written by a newer version; install that one or restore a backup",
			 path);
		break;
	case STORE_CORRUPT:
		snprintf(err, err_n, "the store %s is damaged (%s); restore a backup or move the file away", path, why);
		break;
	case STORE_LOCKED:
		snprintf(err, err_n, "another process has the store %s open", path);
		break;
	case STORE_FULL:
		snprintf(err, err_n, "the store %s cannot be written: the disk is full or failing (%s)", path, why);
		break;
	default:
		snprintf(err, err_n, "cannot open the store %s: %s", path, r < 0 ? strerror(-r) : why);
	}
	return r;
}

static int db_open(const struct store_options *o, char *err, size_t err_n, void **ret_db)
{
	struct sqlite_db *db = NULL;
	int r;

	r = make_file(o->path);
	if (r < 0)
		return explain(NULL, o->path, r, err, err_n);
	db = calloc(1, sizeof(*db));
	if (!db)
		return -ENOMEM;
	r = result_of(sqlite3_open_v2(o->path, &db->h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
						       SQLITE_OPEN_EXRESCODE, NULL));
	if (r == 0)
		r = configure(db);
	if (r == 0)
		r = bring_up_to_date(db, o->quick);
	if (r == 0)
		r = prepare(db);
	if (r != 0) {
		r = explain(db, o->path, r, err, err_n);
		db_close(db);
		return r;
	}
	*ret_db = db;
	return 0;
}

const struct store_engine store_sqlite = {
	.name = "sqlite",
	.version = ARRAY_LEN(migrations),
	.open = db_open,
	.close = db_close,
	.why = db_why,
	.begin = db_begin,
	.commit = db_commit,
	.rollback = db_rollback,
	.lost = db_lost,
	.mark = db_mark,
	.keep = db_keep,
	.to_mark = db_to_mark,
	.get = db_get,
	.set = db_set,
	.remove = db_remove,
	.list = db_list,
	.each = db_each,
	.audit_add = db_audit_add,
	.audit_get = db_audit_get,
	.audit_list = db_audit_list,
	.audit_of = db_audit_of,
	.past_add = db_past_add,
	.past_get = db_past_get,
	.past_drop = db_past_drop,
};
