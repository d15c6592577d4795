/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that forgets: a VFS of SQLite's over the system's own. What a process writes is in the file at once, for
 * itself; beside it, in FILE.disk, is what a machine would find after a power failure: what was synced, and of what was not some writes
 * and others not, in no order. Who is killed in mid-write and gets FILE.disk back has lived through the worst that a disk may do.
 * Databases and their write-ahead logs only; the folder's own entries are taken to be there.
 */
#pragma once
#include <stdbool.h>

/* The VFS of every database that this process opens from now on. lies: syncing does nothing, which a test must notice. */
void power_begin(bool lies);

/* After the end of whoever wrote to the database at path: puts what the disk has in the place of what was written. */
void power_failure(const char *path);

/* Before the next one: the disk has what the files have. */
void power_restored(const char *path);
