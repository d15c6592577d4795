/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `stile status` prints of a service's own: the answer of its status verb in a few lines, indented below the
 * service's. Those of stile-turn and stile-fastpath are in services.c.
 * A row of kinds[] there names each.
 */
#pragma once
#include <jansson.h>

void print_tunnel(const json_t *own);
void print_agent(const json_t *own);
void print_sip(const json_t *own);
void print_console(const json_t *own);
