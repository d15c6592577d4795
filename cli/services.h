/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `stile status` prints of a service's own: the answer of its status verb in a few lines, indented below the
 * service's.
 * A row of kinds[] in status.c names each.
 */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

struct found_service {
	char full[112];	  /* "stile-turn@lab" */
	char socket[512];
};
/* Those with a control socket in this folder; instance NULL: all, "": those without a name. */
size_t services_find(const char *dir, const char *instance, struct found_service *out, size_t max);

void print_turn(const json_t *own);
void print_fastpath(const json_t *own);
void print_tunnel(const json_t *own);
void print_agent(const json_t *own);
void print_sip(const json_t *own);
void print_console(const json_t *own);
void print_gateway(const json_t *own);
