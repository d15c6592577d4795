/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What threads of common/ owe to the least privilege. The log's writer and the store's thread begin
 * before the service has given up its rights, and need none of them; what the main thread drops later
 * it drops for itself alone. How a service becomes its user is in service_priv.h.
 */
#pragma once

/* First thing in such a thread: gives up its capabilities, unless becoming the service's user is still to
 * come. That takes them from every thread, and asks every thread to be able to change its ids. */
void privileges_thread_begins(void);
