/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stile-sip: the SIP proxy and registrar. All of its life is in sip-proxy/service.c and common/service; this file only
 * gives the program its name. Options: stile-sip --help.
 * Exit: 0 after a clean stop, 1 for a failed start, 2 for a bad configuration.
 */
#include "sip-proxy/service.h"

int main(int argc, char **argv)
{
	return service_main(&sip_service_ops, argc, argv);
}
