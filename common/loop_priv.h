/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between common/loop.c and its helper, common/loop_memory.c. loop_memory_start() gives libevent its
 * allocator, once for the process and before its first base; it is harmless when called again, and leaves
 * libevent malloc's own if it cannot have memory.
 */
#pragma once
#include "common/defs.h"

void loop_memory_start(void);
