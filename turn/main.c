/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-turn: the STUN/TURN server. All of its life is in turn/service.c and common/service; this file
 * only gives the program its name. Options: stile-turn --help.
 * Exit: 0 after a clean stop, 1 for a failed start, 2 for a bad configuration.
 */
#include "turn/service.h"

int main(int argc, char **argv)
{
	return service_main(&turn_service_ops, argc, argv);
}
