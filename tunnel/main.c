/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-tunnel: so far the plain relay's routes. All of its life is in tunnel/service.c and common/service; this
 * file only gives the program its name. Options: stile-tunnel --help.
 * Exit: 0 after a clean stop, 1 for a failed start, 2 for a bad configuration.
 */
#include "tunnel/service.h"

int main(int argc, char **argv)
{
	return service_main(&tunnel_service_ops, argc, argv);
}
