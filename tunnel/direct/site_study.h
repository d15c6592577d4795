/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What takes long to find out about the NAT before this site: how it filters, and how long it keeps a silent binding (RFC 5780
 * by stun/nat.h, from two sockets of its own). It takes minutes, and is done in the background, once for each public address in
 * a while.
 */
#pragma once
#include "common/loop.h"
#include "stun/nat.h"

struct site_study;
/* server: one with two addresses (RFC 5780), or the answer says that it cannot be known. done: once, from the loop; NULL: this machine could
 * not ask. site_study_free() is allowed in it. 0 or -errno. */
int site_study_new(struct loop *l, const struct addr *server, uint64_t lifetime_ms, void (*done)(const struct nat_result *r, void *arg), void *arg,
		   struct site_study **ret_s);
struct site_study *site_study_free(struct site_study *s);
DEFINE_CLEANUP(struct site_study, site_study_free)
