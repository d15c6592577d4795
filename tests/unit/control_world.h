/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the control protocol share: a real server in a thread with verbs made for the
 * tests, clients through the library, and raw connections for lines that a well-behaved client
 * would not send. All of it fails the running test when it fails.
 */
#pragma once
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/control.h"

struct world {
	char dir[64], path[96];
	struct loop *loop;
	struct control_server *server;
	pthread_t thread;
	struct control_request *kept[100]; /* by test.keep, until test.release */
	size_t n_kept;
	_Atomic unsigned cancelled;
};

struct control_options world_options(const struct world *w);
int world_setup(void **state);
int world_teardown(void **state);
#define ON_SERVER(t) cmocka_unit_test_setup_teardown(t, world_setup, world_teardown)

struct control_client *dial(const struct world *w);
json_t *call(struct control_client *c, const char *verb, json_t *args); /* its result */
void assert_refused(struct control_client *c, const char *verb, json_t *args, const char *code,
		    const char *hint);
json_int_t int_of(const json_t *o, const char *key);

int raw_dial(const struct world *w);
int raw_greeted(const struct world *w); /* the greeting has been read */
void raw_send(int fd, const char *s);
char *raw_line(int fd); /* without its newline, valid until the next; NULL at the end of the stream */
void assert_line(int fd, const char *part);
