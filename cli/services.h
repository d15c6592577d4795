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

struct cli;
struct control_client;

struct found_service {
	char full[112];	  /* "stile-turn@lab" */
	char socket[512];
};
/* What a word such as "turn", "stile-turn" or "turn@lab" means: a program, and the instance, else that of --instance, else NULL.
 * 0, or an exit code, and said why; more: as below. */
int services_word(const struct cli *cli, const char *word, const char *more, const char **ret_program, const char **ret_instance);
/* The same as one name: "stile-turn@lab", or "stile-turn". */
enum { SERVICE_NAME = 112 };
int services_name(const struct cli *cli, const char *word, const char *more, char out[static SERVICE_NAME]);
/* Says that there is no such service, and which there are; more: ended by what else there is, or "". Returns EXIT_USAGE. */
int services_unknown(const struct cli *cli, const char *word, const char *more);

/* What a verb without arguments answers; NULL: nothing good. */
json_t *services_ask(struct control_client *cl, const char *verb);

/* Those with a control socket in this folder; instance NULL: all, "": those without a name. */
size_t services_find(const char *dir, const char *instance, struct found_service *out, size_t max);

void print_turn(const json_t *own);
void print_fastpath(const json_t *own);
void print_tunnel(const json_t *own);
void print_agent(const json_t *own);
void print_sip(const json_t *own);
void print_console(const json_t *own);
void print_gateway(const json_t *own);
