/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process gives up for good by the kernel's own means, without systemd: Landlock leaves it folders to write in and programs to
 * start, seccomp the system calls that it needs. Reading files stays as it is; their permissions are not changed by
 * this. What the kernel does not have is told and does without. Which folders a service needs is service_sandbox.c's.
 *
 * Landlock is of the calling thread and of those that it makes from then on: call it while there is one. The filter is put on every
 * thread there is.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Calls that are left besides: execve(); bpf() and perf_event_open(); io_uring_enter(), for rings that were made before. */
enum { SANDBOX_PROGRAMS = 1, SANDBOX_BPF = 2, SANDBOX_RING = 4 };

/* Writing stays possible beneath the n folders, and where a path is a file, to that file; program, if not NULL, may be started. What
 * does not exist is passed over. The Landlock version (from 1) or -errno: -ENOSYS and -EOPNOTSUPP are a kernel without it. */
int sandbox_files(const char *const *writable, size_t n, const char *program);

/* 0 or -errno. Calls that are not on the list fail with ENOSYS, as in a kernel that does not have them: libraries know what to
 * do then. Memory cannot become writable and executable; sockets are of Unix, IP or netlink. */
int sandbox_calls(unsigned flags);
