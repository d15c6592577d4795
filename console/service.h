/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-console as a service of the common frame.
 *
 * Everything about it is behind these operations: main.c gives them a program, and whoever only checks a configuration uses
 * console/config.h.
 */
#pragma once
#include "common/service.h"

extern const struct service_ops console_service_ops;
