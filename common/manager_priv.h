/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of common/manager.h share; nobody else includes it.
 *
 *   manager.c          which manager there is; the supervisor
 *   manager_systemd.c  systemd, by sd-bus
 *   manager_journal.c  the last error of a unit
 */
#pragma once
#include "common/manager.h"

/* "stile-turn@lab.service": the unit of a program, or its parts out of it. */
int manager_unit_name(const char *program, const char *instance, char *out, size_t n); /* 0 or -EINVAL */
bool manager_unit_parse(const char *unit, char *program, size_t program_n, char *instance, size_t instance_n);

bool manager_systemd_there(void);
int manager_systemd_list(json_t **ret_rows, char err[static MANAGER_ERRLEN]);
int manager_systemd_do(const struct manager_order *o, json_t **ret_row, char err[static MANAGER_ERRLEN]);

/* Of the unit, as far as we may read the journal; malloc'd, NULL: none. */
char *manager_journal_error(const char *unit);
