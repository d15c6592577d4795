/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last line that a unit wrote with the priority of an error (log_file.c gives each line one), and failing that the last
 * line at all of those it wrote before it ended. The journal is read by its files: who may not read them learns
 * nothing, which is no error.
 */
#include <string.h>
#include <systemd/sd-journal.h>
#include "common/manager_priv.h"

/* Newest first. */
static char *last_message(const char *unit, const char *priority)
{
	sd_journal *j = NULL;
	char match[192], *text = NULL;
	const void *data;
	size_t n;

	if (sd_journal_open(&j, SD_JOURNAL_LOCAL_ONLY) < 0)
		return NULL;
	(void)snprintf(match, sizeof(match), "_SYSTEMD_UNIT=%s", unit);
	if (sd_journal_add_match(j, match, 0) >= 0 && (!priority || sd_journal_add_match(j, priority, 0) >= 0) && sd_journal_seek_tail(j) >= 0 &&
	    sd_journal_previous(j) > 0 && sd_journal_get_data(j, "MESSAGE", &data, &n) >= 0 && n > strlen("MESSAGE="))
		text = strndup((const char *)data + strlen("MESSAGE="), n - strlen("MESSAGE="));
	sd_journal_close(j);
	return text;
}

char *manager_journal_error(const char *unit)
{
	char *text = last_message(unit, "PRIORITY=3");

	return text ? text : last_message(unit, NULL);
}
