/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The services as the tool knows them without asking: a section of the configuration, and the part of the
 * service's operations that reads and judges it. check.c owns the rows; `stile check`, `stile config` and
 * whatever else reads the file go through them.
 */
#pragma once
#include "common/service.h"

struct cli_service {
	const char *section; /* "turn" */
	struct service_ops ops;
};
extern const struct cli_service cli_services[];
extern const size_t cli_n_services;
