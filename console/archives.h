/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that come from the services or go to them: backups, what is restored of one, archives of logs, and the deletion of logs. Each is
 * the tool's work (console/tool.h), so that the page, the API and the shell do the same. A download is streamed from the tool
 * to the client, as fast as it takes it.
 */
#pragma once
#include <jansson.h>
#include "console/tool.h"

struct archives;
struct ask;
struct console;
int archives_new(struct console *c, struct archives **ret_a);
struct archives *archives_free(struct archives *a); /* NULL is fine */

/* ---- archives.c ---- */
void backup_post(struct ask *a), logs_zip(struct ask *a), logs_delete(struct ask *a);

/* A run of the tool whose output is one JSON document. done has it, or NULL; then error is {code, text}. The errand is gone after it. */
struct errand;
typedef void (*errand_done_fn)(json_t *result, json_t *error, void *arg);
int errand_start(struct console *c, const struct tool_order *o, errand_done_fn done, void *arg, struct errand **ret_e);
void errand_leave(struct errand *e); /* it goes on, and nobody hears of it; NULL is fine */
void errand_stop(struct errand *e);  /* it ends, and nobody hears of it; NULL is fine */
/* NULL: "passphrase" of the body, good for an input with its line's end; else answered. */
char *archive_passphrase(struct ask *a);

/* ---- restores.c ---- */
void restores_post(struct ask *a), restore_post(struct ask *a), restore_delete(struct ask *a);
struct upload;
struct upload *upload_free(struct upload *u);
struct upload **archives_upload(struct archives *a); /* the one that is kept */
