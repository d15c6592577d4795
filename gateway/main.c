/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-gateway: HTTPS for browsers that take part in a share. All of its life is in gateway/service.c and common/service; this
 * file only gives the program its name. Options: stile-gateway --help.
 * Exit: 0 after a clean stop, 1 for a failed start, 2 for a bad configuration.
 */
#include "gateway/service.h"

int main(int argc, char **argv)
{
	return service_main(&gateway_service_ops, argc, argv);
}
