/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a running service leaves beside its log: the relay's connection and data logs, by its verbs records.*. They may have
 * every byte of a connection in them, so they are taken along, or deleted, only where that is asked for.
 *
 * A service that does not run is not asked, and whoever wants them is told so.
 */
#pragma once
#include "cli/log_source.h"

/* NULL: it leaves none, or does not run; the latter is said, if it is a service that may. */
struct control_client *log_records_open(struct cli *cli, const char *full);
/* Rows {name, size, modified, current} appended. Each: 0, or -errno with why. */
int log_records_list(struct control_client *cl, json_t *rows, char why[static LOG_WHY]);
int log_records_read(struct control_client *cl, const char *name, int (*fn)(const void *p, size_t n, void *arg), void *arg,
		     char why[static LOG_WHY]);
/* args as of log.delete; taken. A name that is not there: 0, and *ret_result stays. */
int log_records_delete(struct control_client *cl, json_t *args, json_t **ret_result, char why[static LOG_WHY]);
