/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of stile-turn as clients of stile-fastpath: a Unix socket beside the control socket, which
 * takes connections of our own user and of root. A client's channels end with its connection, whatever
 * ended it. The messages are those of turn/fastpath/wire.h.
 */
#pragma once
#include "common/loop.h"
#include "turn/fastpath/channels.h"

struct fast_clients;
/* As the user who will own the socket; err gets a sentence. */
int fast_clients_listen(const char *path, char *err, size_t err_n, int *ret_fd);
/* Takes fd over on success. */
int fast_clients_new(struct loop *l, int fd, struct fast_kernel *k, struct fast_channels *cs, struct fast_clients **ret_c);
struct fast_clients *fast_clients_free(struct fast_clients *c);
void fast_clients_tell(struct fast_clients *c); /* there may be news of channels */
unsigned fast_clients_count(const struct fast_clients *c);
