/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets that systemd has bound for us (socket activation, sd_listen_fds(3)): with them a service needs
 * no right to bind low ports at all. They are found by transport and address, so that the configuration stays the one
 * place that says where a service listens; a unit's socket that it does not name is told in the log and left alone.
 *
 * A stream socket is shared by all workers that ask for it (each gets a descriptor of its own, and what one does not accept
 * another does). Datagram sockets are given away one by one, each to one owner: a listener that has several wants as
 * many ListenDatagram= lines. Main thread only.
 */
#pragma once
#include <stdbool.h>
#include "common/addr.h"

/* Once, before anything is bound: takes over what was passed. A negative errno if one of them is not what we can use (err says
 * which and why). */
int inherited_open(char *err, size_t err_n);
/* type: SOCK_STREAM or SOCK_DGRAM. */
bool inherited_has(int type, const struct addr *at);
/* *ret_fd is the caller's: bound, non-blocking, close-on-exec; a stream listens already. -ENOENT: nothing of this address was
 * passed; -EUSERS: fewer datagram sockets than are asked for. */
int inherited_take(int type, const struct addr *at, int *ret_fd);
/* Datagram sockets that were taken since the last call are those of who took them; not good: he has failed, or only tried, and they may be taken again. */
void inherited_settle(bool good);
void inherited_tell_unused(void); /* a log line for each that nobody has taken */
void inherited_close(void);
