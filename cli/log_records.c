/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records by the verbs of the service that writes them.
 *
 * A connection of its own, because a service may log to its standard error and have records all the same. Whoever opens
 * it closes it.
 */
#include "cli/log_records.h"
#include <errno.h>
#include <string.h>
#include "common/folder_reader.h"

enum { ASK_MS = 10000 };
_Static_assert((int)FOLDER_CHUNK_MAX <= (int)LOG_READ_CHUNK_MAX, "log_pieces_read() has room for it");

struct control_client *log_records_open(struct cli *cli, const char *full)
{
	struct control_client *cl = NULL;
	int r;

	if (strncmp(full, "stile-tunnel", strlen("stile-tunnel")) != 0)
		return NULL;
	r = cli_connect_named(cli, full, ASK_MS, &cl);
	if (r < 0)
		fprintf(stderr, "%s %s: its connection and data logs are left out\n", full,
			r == -EACCES ? "may not be asked (run as root or as a member of the group stile)" : "does not run");
	return cl;
}

int log_records_list(struct control_client *cl, json_t *rows, char why[static LOG_WHY])
{
	char after[256] = "";
	int r;

	do {
		json_t *page = NULL;
		const char *next;

		r = log_call(cl, "records.files", after[0] ? json_pack("{s:s}", "after", after) : NULL, &page, why);
		json_array_extend(rows, json_object_get(page, "rows"));
		next = json_string_value(json_object_get(page, "next"));
		snprintf(after, sizeof after, "%s", next ? next : "");
		json_decref(page);
	} while (r == 0 && after[0]);
	return r == -ENOENT ? 0 : r; /* it has no folder for them */
}

int log_records_read(struct control_client *cl, const char *name, int (*fn)(const void *p, size_t n, void *arg), void *arg,
		     char why[static LOG_WHY])
{
	return log_pieces_read(&(struct log_pieces){ .client = cl, .verb = "records.read", .file = name }, fn, arg, why);
}

int log_records_delete(struct control_client *cl, json_t *args, json_t **ret_result, char why[static LOG_WHY])
{
	int r = log_call(cl, "records.delete", args, ret_result, why);

	return r == -ENOENT ? 0 : r;
}
