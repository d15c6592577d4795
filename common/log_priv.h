/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the log only: where lines end up, a file with its older ones or stderr.
 *
 * Used by one thread at a time. Time is an input (unix seconds), so tests can live through a
 * midnight.
 */
#pragma once
#include <time.h>
#include "common/log.h"

struct log_file;
int log_file_new(const struct log_config *c, time_t now, struct log_file **ret_f, char *err, size_t err_n);
struct log_file *log_file_free(struct log_file *f);
DEFINE_CLEANUP(struct log_file, log_file_free)
/* Whole lines. What cannot be written is counted, and a line says so as soon as writing works. */
void log_file_write(struct log_file *f, const char *lines, size_t n, time_t now);
struct log_file *log_file_replace(struct log_file *old, struct log_file *by); /* frees old; its count of lost lines goes on */
void log_file_add_lost(struct log_file *f, uint64_t n); /* lines that did not even get here */
/* Empties the log when the local day has changed (delete_daily). Returns the next time at which to
 * call it, 0 if never. */
time_t log_file_daily(struct log_file *f, time_t now);
bool log_file_is_journal(void); /* stderr is connected to the journal */
const char *log_priority(enum log_level l); /* "<6>" */
