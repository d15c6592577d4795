/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service that tests/unit/service.c runs: "stile-demo", with the sections log, store and demo. What
 * it does is in its configuration: number (13 and 77 are refused; above 50 with never_drained), fail_open, fail_start,
 * never_drained, stuck.
 */
#pragma once
#include "common/service.h"

extern const struct service_ops demo_ops;
