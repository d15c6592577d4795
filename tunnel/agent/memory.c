/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent-servers.json:
 *   {"servers": [{"server": "tunnel.example.org:7443", "root": "sha256:…", "successor": "sha256:…", "configured": …,
 *                 "enrolled": true, "code": "…"}]}
 * A key that is not known is kept as it is: a newer version may have written it.
 */
#include "tunnel/agent/memory.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "tunnel/link/identity_priv.h"

enum { PATH_LEN = 4096 };
static const char NAME[] = "agent-servers.json";

static int path_of(const char *folder, char *path, char *err)
{
	return identity_path(folder, NAME, path, PATH_LEN, err);
}

/* The list, which is the caller's; a file that is not there is an empty one. */
static int read_servers(const char *path, char *err, json_t **ret_root)
{
	json_error_t e;
	json_t *root;

	if (access(path, F_OK) < 0 && errno == ENOENT)
		root = json_pack("{s:[]}", "servers");
	else
		root = json_load_file(path, JSON_REJECT_DUPLICATES, &e);
	if (root && json_is_array(json_object_get(root, "servers"))) {
		*ret_root = root;
		return 0;
	}
	json_decref(root);
	return identity_say(err, -EINVAL,
			    "\"%s\" cannot be read or is damaged: restore it from the backup, or remove it and "
			    "enrol the agent again",
			    path);
}

static json_t *row_of(json_t *root, const char *server)
{
	json_t *row;
	size_t i;

	json_array_foreach(json_object_get(root, "servers"), i, row)
	{
		const char *name = json_string_value(json_object_get(row, "server"));

		if (name && strcmp(name, server) == 0)
			return row;
	}
	return NULL;
}

static bool get_hash(const json_t *row, const char *key, struct identity_hash *h)
{
	const char *s = json_string_value(json_object_get(row, key));

	return !s || identity_parse(text_of(s), h) == 0;
}

int memory_load(const char *folder, const char *server, char err[static IDENTITY_ERRLEN],
		struct memory *ret_m)
{
	struct memory m = { .enrolled = false };
	char path[PATH_LEN];
	json_t *root = NULL, *row;
	const char *code;
	bool good = true;
	int r = path_of(folder, path, err);

	if (r == 0)
		r = read_servers(path, err, &root);
	if (r < 0)
		return r;
	(void)snprintf(m.server, sizeof(m.server), "%s", server);
	row = row_of(root, server);
	if (row) {
		good = get_hash(row, "root", &m.pins.root) &&
		       get_hash(row, "successor", &m.pins.successor) &&
		       get_hash(row, "configured", &m.configured);
		m.enrolled = json_is_true(json_object_get(row, "enrolled"));
		code = json_string_value(json_object_get(row, "code"));
		(void)snprintf(m.code, sizeof(m.code), "%s", code ? code : "");
	}
	json_decref(root);
	if (!good)
		return identity_say(
			err, -EINVAL,
			"\"%s\" holds a fingerprint that is none; restore it from the backup", path);
	*ret_m = m;
	return 0;
}

static void set_hash(json_t *row, const char *key, const struct identity_hash *h)
{
	char text[IDENTITY_STRLEN];

	if (identity_hash_is_set(h))
		json_object_set_new(row, key, json_string(identity_print(h, text)));
	else
		json_object_del(row, key);
}

int memory_save(const char *folder, const struct memory *m, char err[static IDENTITY_ERRLEN])
{
	char path[PATH_LEN], *text;
	json_t *root = NULL, *row;
	int r = path_of(folder, path, err);

	if (r == 0)
		r = read_servers(path, err, &root);
	if (r < 0)
		return r;
	row = row_of(root, m->server);
	if (!row) {
		row = json_pack("{s:s}", "server", m->server);
		json_array_append_new(json_object_get(root, "servers"), row);
	}
	set_hash(row, "root", &m->pins.root);
	set_hash(row, "successor", &m->pins.successor);
	set_hash(row, "configured", &m->configured);
	json_object_set_new(row, "enrolled", json_boolean(m->enrolled));
	json_object_set_new(row, "code", json_string(m->code));
	text = json_dumps(root, JSON_INDENT(2));
	r = text ? identity_write_file(path, text_of(text), err)
		 : identity_say(err, -ENOMEM, "out of memory");
	free(text);
	json_decref(root);
	return r;
}
