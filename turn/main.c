/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-turn: the STUN/TURN server.
 */
#include "turn/service.h"

int main(int argc, char **argv)
{
	return service_main(&turn_service_ops, argc, argv);
}
