/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-console: the web console, its REST API and its metrics. All of its life is in console/service.c and common/service;
 * this file only gives the program its name. Options: stile-console --help.
 * Exit: 0 after a clean stop, 1 for a failed start, 2 for a bad configuration.
 */
#include "console/service.h"

int main(int argc, char **argv)
{
	return service_main(&console_service_ops, argc, argv);
}
