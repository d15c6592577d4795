/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the commands that change settings and objects share: a step or change sent off and told of.
 *
 * config_change.c has settings, transactions, confirmation, undo and history; config_objects.c has objects by kind and key. A change is
 * one of its own, or collected in a transaction where the command says so.
 */
#pragma once
#include "cli/command.h"

/* With --transaction and --confirm-within of the command. args is taken. 0 or an exit code. */
int config_send(struct cli *cli, const char *program, const char *verb, json_t *args);

#define CONFIG_OPTION_TRANSACTION { "transaction", 't', "NUMBER", "collect it there, to be committed with others" }
#define CONFIG_OPTION_CONFIRM { "confirm-within", 0, "TIME", "take it back by itself unless it is confirmed in this time, as 60s" }
#define CONFIG_OPTION_REVISION { "revision", 0, "NUMBER", "only if it still is what you have seen; 0: only if it is not there" }
