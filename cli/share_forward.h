/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port-forwarding mode of stile share: the share's own HTTP server is reached through a rule of the router, on a port that
 * follows from this machine's address (share/forward). What is found out about the way (public address, the router's word, a test
 * from the outside) is said as it comes, for as long as the share lives.
 */
#pragma once
#include "cli/command.h"
#include "common/httpd.h"
#include "share/forward/opener.h"

struct share_forward;
struct share_forward_options {
	struct cli *cli;
	struct loop *loop;
	/* event, a sentence, and more for the JSON form (taken; may be NULL). */
	void (*say)(const char *event, const char *text, json_t *more, void *arg);
	/* Once, and again when the public address is another one: the link's beginning ("http://203.0.113.5:8221"), and the rule. */
	void (*ready)(const char *url, const char *rule, bool again, void *arg);
	void *arg;
};
/* Reads the configuration, finds interface and port. 0 or an exit code, said why. */
int share_forward_new(const struct share_forward_options *o, struct share_forward **ret_f);
struct share_forward *share_forward_free(struct share_forward *f); /* the router closes the port again */
/* A test from the outside is under way: its thread waits for the agent, and then writes to the loop, which must not have gone. */
bool share_forward_tests(const struct share_forward *f); /* NULL: false */
DEFINE_CLEANUP(struct share_forward, share_forward_free)
const struct addr *share_forward_inside(const struct share_forward *f); /* where to listen */
int share_forward_begin(struct share_forward *f); /* somebody listens: asks STUN servers and router. 0 or an exit code */
/* The page of a share and what it needs, for browsers, which come here themselves; false: there is nothing of this name. */
bool share_forward_page(struct httpd_rq *rq, struct text name, void *arg);
/* A request for no share: true if it was the question of a test from the outside, which is answered. */
bool share_forward_asked(struct share_forward *f, struct httpd_rq *rq);
