/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and stopping services, and what became of those that do not run: a stopped service has no control socket that
 * could be asked. Who knows is systemd (sd-bus; packaging/polkit lets the group stile do it), or, without it, the
 * supervisor (`stile supervise`), which has a control socket of its own in the runtime folder.
 *
 * Calls block, up to some minutes while a service drains: any thread, but no event loop. Each opens what it needs and
 * closes it, so nothing has to be kept.
 */
#pragma once
#include <jansson.h>
#include "common/defs.h"

#define MANAGER_SUPERVISOR "stile-supervisor" /* its socket is RUNTIME-DIR/stile-supervisor.sock */

/* Programs of Stile that run as services; ended by NULL. */
extern const char *const manager_programs[];
/* The one that the first n characters of word name, as "turn" or as "stile-turn"; NULL: none. */
const char *manager_program(const char *word, size_t n);

enum manager_action { MANAGER_START, MANAGER_STOP, MANAGER_RESTART };
extern const char *const manager_action_names[]; /* "start" … */

enum { MANAGER_ERRLEN = 768 };

/* Rows of all services that the manager knows, in the order of their names:
 *   {program, service: "turn", instance, state: running | starting | stopping | stopped | failed, by: systemd | supervisor,
 *    pid, enabled (starts with the machine), exit_code | null, signal: "SIGSEGV" | null, last_error | null, since (unix ms),
 *    restarts}
 * 0; -ENOSYS: nobody manages services here; another -errno, and a sentence in err. */
int manager_list(const char *runtime_dir, json_t **ret_rows, char err[static MANAGER_ERRLEN]);

/* program: "stile-turn". Waits until it runs or has ended. *ret_row: as above, how it is now; NULL if that is not known.
 * 0; -ENOSYS; -EACCES: the caller may not; -ENOENT: there is no such service; -EIO: it did not start or stop. err has a
 * sentence for each, with what to do. */
struct manager_order {
	enum manager_action action;
	const char *program, *instance; /* instance "": the one without a name */
};
int manager_do(const char *runtime_dir, const struct manager_order *o, json_t **ret_row, char err[static MANAGER_ERRLEN]);
