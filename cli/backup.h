/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile backup and stile restore share. The contents of a backup (common/backup.h):
 *
 *   {"services":[{"service":"stile-turn@lab","program":"stile-turn","config":PATH,"store":FOLDER,"objects":{KIND:[{"key":…,"body":…}]}}],
 *    "files":{PATH:{"mode":384,"owner":"root","group":"root","data":BASE64}}, "folders":{PATH:{"mode":…,"owner":…,"group":…}}}
 */
#pragma once
#include "cli/command.h"
#include "common/config.h"

enum { BACKUP_PASSPHRASE_CAP = 1024 };
/* --passphrase-file, or asked for (twice: a new one). 0, or an exit code after a sentence. */
int backup_passphrase(struct cli *cli, bool twice, char out[static BACKUP_PASSPHRASE_CAP]);
int backup_store_folder(const struct cfg *c, char *out, size_t n); /* 0 or -ENOENT */

/* ---- restore.c and restore_put.c ---- */
/* cli_fail(), and with --json {"error": {code, text}} on standard output. */
int restore_refuse(struct cli *cli, const char *code, const char *fmt, ...) _printf_(3, 4);
/* {path, state: same | new | differs | damaged, writable} */
json_t *restore_file_plan(const char *path, const json_t *file);
/* Each 0, or an exit code after restore_refuse(). */
int restore_folders(struct cli *cli, const json_t *folders);
int restore_files(struct cli *cli, const json_t *files);
int restore_store(struct cli *cli, const json_t *service);
