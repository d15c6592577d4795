/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is made from the command tables: completions for three shells and the man page of all commands.
 *
 *   completion.c      the shells
 *   completion_man.c  stile-commands(1)
 */
#pragma once
#include "cli/command.h"

void completion_man(FILE *f);
