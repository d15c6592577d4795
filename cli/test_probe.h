/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stile test tcp and stile test agent share: a TCP connection with a deadline and the time it took. The commands'
 * rows are in test_tcp.c, the check of a site in test_agent.c.
 * What is shown is what the service said, and nothing is kept.
 */
#pragma once
#include "cli/command.h"

/* A connected descriptor, non-blocking; or -errno (-ETIMEDOUT: no answer). */
int probe_connect(const struct addr *to, uint64_t timeout_ms, uint64_t *ret_us);
int run_test_agent(struct cli *cli);
