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
