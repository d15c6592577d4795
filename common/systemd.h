/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three questions of sd-daemon(3) that a service has: from libsystemd, or, where an agent is built for a device
 * (meson's agent_only) and there is none to link statically, from systemd_small.c, which asks the same environment. Names and answers are
 * sd-daemon's, so that nobody who asks knows which of the two it is.
 */
#pragma once
#ifndef STILE_SMALL
#include <systemd/sd-daemon.h>
#else
#include <stdint.h>

enum { SD_LISTEN_FDS_START = 3 };
int sd_notify(int unset_environment, const char *state);
int sd_listen_fds(int unset_environment);
int sd_watchdog_enabled(int unset_environment, uint64_t *usec);
#endif
