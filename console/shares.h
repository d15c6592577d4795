/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shares that are made at the console: each is a `stile share` of the tool beside an agent of this machine, which goes on until it is
 * ended at the agent (agent.share.end), its time is over, or the console stops. What is shared is a service of the agent's network, or
 * a file that comes from the browser; it lies in the runtime folder, which is memory, for as long as it is shared.
 *
 * Who has the code has the share. It is kept in this memory alone, and told to operators.
 */
#pragma once
struct ask;
struct console;
struct made_shares;
int made_shares_new(struct console *c, struct made_shares **ret_m);
struct made_shares *made_shares_free(struct made_shares *m); /* they end; NULL is fine */

/* The handlers: GET and POST /services/{service}/shares. */
void made_shares_get(struct ask *a), made_shares_post(struct ask *a);
