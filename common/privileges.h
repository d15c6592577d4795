/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What threads owe to the least privilege. The log's writer and the store's thread begin before the service
 * has given up its rights, and need none of them; what the main thread drops later it drops for itself
 * alone. Workers begin after that, and do not keep what the main thread has kept. How a service becomes its
 * user is in service_priv.h.
 */
#pragma once
#include <pthread.h>

/* pthread_create() for every thread of a service; 0 or a negative errno. It gets no signals, they are the main thread's,
 * and has given up its capabilities when this returns, unless becoming the service's user is still to come:
 * that takes them from every thread, and asks every thread to be able to change its ids. */
int privileges_thread_new(pthread_t *ret_thread, void *(*run)(void *), void *arg);
