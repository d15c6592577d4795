/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-agent: an agent of a tunnel in a LAN. All of its life is in tunnel/agent/service.c and common/service; this
 * file only gives the program its name. Options: stile-agent --help.
 * Exit: 0 after a clean stop, 1 for a failed start, 2 for a bad configuration.
 */
#include "tunnel/agent/service.h"

int main(int argc, char **argv)
{
	return service_main(&agent_service_ops, argc, argv);
}
