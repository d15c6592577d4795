/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: YAML files read against schema tables.
 *
 * One row per key: name, type, range, unit, default, help, whether a reload applies it, and the
 * offset in the struct that receives the value. The same rows give parsing, `stile check`, the
 * reference page and completions. Unknown and duplicate keys and bad values are errors with
 * file:line:column and "did you mean"; all errors are collected, not only the first. conf.d/X.yaml
 * beside the file is merged in name order (maps by key, lists appended, a scalar set twice is an
 * error that names both places). Aliases and anchors, tags and merge keys are refused; depth, size
 * and number of nodes are bounded.
 *
 * A key without a value ("realm:", "~", "null") is an empty list or an empty map where one is
 * expected, and an error for everything else, texts too: a forgotten password must not become "".
 *
 * Every secret key NAME also exists as NAME_file (a path; one trailing newline is dropped; "cred:X"
 * reads $CREDENTIALS_DIRECTORY/X, which works for every path).
 */
#pragma once
#include <jansson.h>
#include <stdio.h>
#include "common/addr.h"
#include "common/text.h"

struct cfg_row;

struct cfg_schema {
	const char *name; /* "turn.user": for messages and the reference */
	const struct cfg_row *rows;
	size_t n_rows;
	size_t size; /* of the struct it fills */
};

/* How one kind of value is read, printed and freed. dst points to `size` zeroed bytes. When the text
 * is not such a value, parse returns -EINVAL and writes a sentence without its subject into err
 * ("must be 0..64, not '99'"), leaving dst as it was. */
struct cfg_type {
	const char *name; /* "duration" */
	size_t size;
	const char *example; /* "30s" */
	int (*parse)(const struct cfg_row *row, struct text t, void *dst, char *err, size_t err_n);
	void (*print)(const struct cfg_row *row, const void *src, struct sb *out);
	void (*free)(void *dst); /* NULL if it owns nothing */
};
extern const struct cfg_type cfg_bool;	   /* bool */
extern const struct cfg_type cfg_u64;	   /* uint64_t, min..max */
extern const struct cfg_type cfg_string;   /* char *, owned; min..max length in bytes */
extern const struct cfg_type cfg_path;	   /* char *, owned; relative paths are taken from the file's folder */
extern const struct cfg_type cfg_enum;	   /* unsigned: position in row->choices */
extern const struct cfg_type cfg_duration; /* uint64_t ms */
extern const struct cfg_type cfg_size;	   /* uint64_t bytes */
extern const struct cfg_type cfg_bitrate;  /* uint64_t bit/s, UINT64_MAX unlimited */
extern const struct cfg_type cfg_count;	   /* uint64_t, "unlimited" = UINT64_MAX */
extern const struct cfg_type cfg_ip;	   /* struct addr, port 0 */
extern const struct cfg_type cfg_addr;	   /* struct addr with port */
extern const struct cfg_type cfg_ip_auto;  /* struct cfg_ip_auto: an address, or "auto" */
extern const struct cfg_type cfg_prefix;   /* struct prefix */
extern const struct cfg_type cfg_ports;	   /* struct cfg_port_range "49152-65535" or one port */
extern const struct cfg_type cfg_endpoint; /* struct cfg_endpoint "tls:0.0.0.0:5349" */
extern const struct cfg_type cfg_backend;  /* struct cfg_backend "unix:/run/x.sock", "127.0.0.1:8443" or row->choices[0] */
extern const struct cfg_type cfg_hostport; /* struct cfg_hostport "stun.example.net:3478" */

struct cfg_ip_auto {
	bool automatic;
	struct addr ip; /* port 0; AF_UNSPEC if automatic */
};
struct cfg_port_range {
	uint16_t first, last;
};
enum { CFG_UNIX_PATH = 108 }; /* with its NUL: what a sockaddr_un holds */
struct cfg_endpoint {
	unsigned proto; /* position in row->choices, e.g. {"udp","tcp","tls","dtls",NULL} */
	struct addr at; /* unset if there is a path */
	char path[CFG_UNIX_PATH]; /* "tls:unix:/run/stile/turn-443.sock"; "" for an address */
};
struct cfg_backend { /* where a connection is handed on to */
	bool self; /* row->choices[0]: the service itself */
	char path[CFG_UNIX_PATH]; /* of a Unix socket; else "" */
	struct addr at;
};
enum { CFG_BACKEND_STRLEN = CFG_UNIX_PATH + 8 };
void cfg_backend_print(const struct cfg_backend *b, const char *self, char buf[static CFG_BACKEND_STRLEN]);
struct cfg_hostport {
	char *host; /* owned; name or numeric address without brackets */
	uint16_t port;
};
struct cfg_list {
	void *items; /* n items of the type's or sub-schema's size */
	size_t n;
};

enum {
	CFG_LIST = 1 << 0,     /* the value is a list; dst is a struct cfg_list */
	CFG_REQUIRED = 1 << 1,
	CFG_RELOAD = 1 << 2,   /* a reload applies it without a restart */
	CFG_SECRET = 1 << 3,   /* never printed; NAME_file exists */
	CFG_OPTIONAL_MAP = 1 << 4, /* dst is a pointer, NULL while the map is absent */
	CFG_BARE = 1 << 5,     /* a list of one may be written without its brackets */
	CFG_UNIX = 1 << 6,     /* endpoint: a Unix socket will do, too */
};

struct cfg_row {
	const char *name;
	const struct cfg_type *type;	/* of the value or of each item; NULL for a map */
	const struct cfg_schema *sub;	/* for a map, or a list of maps */
	size_t offset;
	unsigned flags;
	uint64_t min, max;		/* both 0: no limit; max 0: no upper one. In what the type stores (ms, bytes,
					 * bit/s); "unlimited" needs a max of 0 or UINT64_MAX */
	const char *const *choices;	/* enum and endpoint, NULL-terminated */
	const char *def;		/* default as it would be written, a list's items separated by ','; NULL: none
					 * (zeroed). It holds when the key is absent, not for an empty list */
	const char *unit;		/* shown in the reference and in range errors */
	const char *help;		/* one sentence */
	uint16_t default_port;		/* addr, endpoint, hostport; 0: a port must be written */
	uint16_t most;			/* items of a list; 0: any number */
};
#define CFG_AT(type, member) .offset = offsetof(type, member)

struct cfg_path { /* of a key */
	char s[128];
};
struct cfg_error {
	char file[256];
	unsigned line, column; /* 1-based; 0: the file as a whole, or a setting */
	char text[384];	       /* "unknown key 'relam' in turn; did you mean 'realm'?" */
	struct cfg_path key;   /* "turn.users[2].name"; "": it is about no one key */
};

struct cfg; /* a parsed configuration: values, their places, the errors */

struct cfg_root {
	const struct cfg_schema *schema;  /* its rows are the sections this program reads */
	const char *const *other_sections; /* NULL-terminated: allowed, not read here */
	bool masked; /* an export is read, to be compared: CFG_MASK is a secret of any length */
};
/* Reads path and its conf.d. 0, or -errno with at least one error to show. *ret_cfg is set in both
 * cases (unless -ENOMEM). */
int cfg_load(const char *path, const struct cfg_root *root, struct cfg **ret_cfg);
int cfg_load_text(struct text yaml, const char *name, const struct cfg_root *root, struct cfg **ret_cfg);
/* The same with settings laid under the files: path → a piece of configuration, {"turn": {"realm": "x"}}. What a file sets, and a
 * list as a whole, stays as the file has it. settings NULL: none. */
int cfg_load_over(const char *path, const struct cfg_root *root, const json_t *settings, struct cfg **ret_cfg);
enum cfg_from { CFG_FROM_DEFAULT, CFG_FROM_FILE, CFG_FROM_SETTING };
/* Who sets the key of path. The place is filled for a file only. */
enum cfg_from cfg_from(const struct cfg *c, const char *key_path, const char **ret_file, unsigned *ret_line);
/* The piece that sets path to value, for settings: numbers and booleans become texts. -EINVAL with a sentence: there is no such key, or it
 * is a map. With value NULL only the path is judged. */
int cfg_setting(const struct cfg_root *root, const char *path, const json_t *value, json_t **ret_piece, char *err, size_t err_n);
struct cfg *cfg_free(struct cfg *c); /* the values too */
DEFINE_CLEANUP(struct cfg, cfg_free)
const void *cfg_values(const struct cfg *c); /* the struct of root->schema; valid until cfg_free */
size_t cfg_n_errors(const struct cfg *c);
const struct cfg_error *cfg_error(const struct cfg *c, size_t i);
/* "turn.realm", "turn.users[2].name" → the place it was set; false if it was not set. */
bool cfg_where(const struct cfg *c, const char *key_path, const char **ret_file, unsigned *ret_line);
/* Paths of keys, to be named in errors: "PATH.KEY"; "LIST[I]", and ".KEY" behind it unless that is empty. */
struct cfg_path cfg_path_under(const char *path, const char *key);
struct cfg_path cfg_path_item(const char *list, size_t i, const char *key);
/* Checks beyond one row (a service's own): adds an error at the place of key_path, or of its nearest
 * parent that was set. */
void cfg_add_error(struct cfg *c, const char *key_path, const char *fmt, ...) _printf_(3, 4);
/* Prints all errors, one per line "file:line:column: text"; returns their number. */
size_t cfg_print_errors(const struct cfg *c, FILE *to);
/* What should be known but stops nothing: a secret's file that everyone can read, a conf.d/X.yml. */
size_t cfg_n_warnings(const struct cfg *c);
const struct cfg_error *cfg_warning(const struct cfg *c, size_t i);
void cfg_add_warning(struct cfg *c, const char *key_path, const char *fmt, ...) _printf_(3, 4);
/* Validates one value by its row, as the store and the console need it: same errors as in a file. */
int cfg_check_value(const struct cfg_row *row, struct text value, char *err, size_t err_n);

/* The values of all keys that a reload does not apply, a line "key=value" each: of the start, to be compared
 * with those of a reload. malloc'd; NULL without memory. */
char *cfg_fixed_values(const struct cfg *c);
/* "turn.realm, turn.listen": the keys that differ; "" if none does. */
void cfg_fixed_changes(const char *then, const char *now, char *out, size_t n);

/* One difference between two configurations. */
struct cfg_change {
	const char *key;     /* "turn.limits.allocations", "turn.users[bob].password" */
	const char *what;    /* "changed"; of items of a list: "added", "removed", "in another order" (its key is the list's) */
	const char *was, *is; /* as they would be written, cut at some length; NULL for a secret and for items */
	bool restart;	     /* a reload does not apply it */
};
/* Calls fn for each difference, in the order of the rows, until it returns other than 0; returns that. The
 * strings live as long as the call. Both must be of one schema and without errors. */
int cfg_diff(const struct cfg *was, const struct cfg *is, int (*fn)(const struct cfg_change *ch, void *arg), void *arg);

/* What was set, as one object of sections, keys and texts; a secret is CFG_MASK unless secrets. c must be without
 * errors. 0 or -ENOMEM (also for a text that is not UTF-8). */
#define CFG_MASK "***"
int cfg_export(const struct cfg *c, bool secrets, json_t **ret_j);

/* The keys below prefix ("": all) as rows {path, value, default, source, file, line, locked, and what the schema says of them}; the
 * keys of a list of maps are in "columns". Secrets are masked. 0 or -ENOMEM. */
int cfg_describe(const struct cfg *c, const char *prefix, json_t **ret_rows);

/* Calls fn for each file that c was read from, and for each that it names (keys, certificates, secrets; folders too). */
void cfg_name_files(const struct cfg *c, void (*fn)(const char *path, void *arg), void *arg);

/* For the tests of each schema: every row makes sense by itself (name, offset, overlap, range, help)
 * and its default passes its own check. 0, or -EINVAL and the first fault as a sentence. */
int cfg_schema_selftest(const struct cfg_schema *schema, char *err, size_t err_n);
/* The reference page's tables, made from the rows. 0 or -EIO. */
int cfg_reference_markdown(const struct cfg_schema *schema, FILE *to);
