/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records by the verbs of the service that writes them. A connection of its own, because a service may log to its standard error and
 * have records all the same.
 *
 * A file is read no further than it was when the reading began: it goes on meanwhile.
 */
#include "cli/log_records.h"
#include <errno.h>
#include <string.h>
#include "common/folder_reader.h"
#include "common/text.h"

enum { ASK_MS = 10000 };

static int call(struct control_client *cl, const char *verb, json_t *args, json_t **ret_result, char why[static LOG_WHY])
{
	json_t *error = NULL;
	const char *text, *code;
	int r = control_call(cl, verb, args, ret_result, &error);

	if (r == 0)
		return 0;
	text = json_string_value(json_object_get(error, "text"));
	code = json_string_value(json_object_get(error, "code"));
	snprintf(why, LOG_WHY, "%s", text ? text : r < 0 ? strerror(-r) : "it refuses");
	r = r < 0 ? r : code && (strcmp(code, "not-found") == 0 || strcmp(code, "unknown-verb") == 0) ? -ENOENT : -EIO;
	json_decref(error);
	return r;
}

struct control_client *log_records_open(struct cli *cli, const char *full)
{
	struct control_client *cl = NULL;
	char path[512];

	if (strncmp(full, "stile-tunnel", strlen("stile-tunnel")) != 0)
		return NULL;
	snprintf(path, sizeof path, "%s/%s.sock", cli_runtime_dir(cli), full);
	if (control_connect(path, ASK_MS, &cl) < 0)
		fprintf(stderr, "%s does not run: its connection and data logs are left out\n", full);
	return cl;
}

int log_records_list(struct control_client *cl, json_t *rows, char why[static LOG_WHY])
{
	char after[256] = "";
	int r;

	do {
		json_t *page = NULL;
		const char *next;

		r = call(cl, "records.files", after[0] ? json_pack("{s:s}", "after", after) : NULL, &page, why);
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
	static uint8_t bytes[FOLDER_CHUNK_MAX];
	uint64_t at = 0, size = UINT64_MAX;
	int r = 0;

	while (r == 0 && at < size) {
		json_t *answer = NULL;
		const char *data;
		size_t n = 0;

		r = call(cl, "records.read", json_pack("{s:s, s:I}", "name", name, "offset", (json_int_t)at), &answer, why);
		data = json_string_value(json_object_get(answer, "data"));
		if (size == UINT64_MAX)
			size = (uint64_t)json_integer_value(json_object_get(answer, "size"));
		if (r == 0 && (!data || base64_decode(text_of(data), bytes, sizeof bytes, &n) < 0))
			r = -EBADMSG;
		json_decref(answer);
		n = (size_t)MIN((uint64_t)n, size - at);
		if (r == 0 && n)
			r = fn(bytes, n, arg);
		if (n == 0)
			break;
		at += n;
	}
	return r;
}

int log_records_delete(struct control_client *cl, json_t *args, json_t **ret_result, char why[static LOG_WHY])
{
	int r = call(cl, "records.delete", args, ret_result, why);

	return r == -ENOENT ? 0 : r;
}
