/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks for shares that do not exist: counted for each address (an IPv6 /64) in a window of ten minutes, so that ids are not
 * tried one after the other. A fixed table: of very many addresses those that were seen longest ago are forgotten.
 *
 * No I/O and no clock. One loop.
 */
#pragma once
#include "common/addr.h"

enum { GUESSES_WINDOW_MS = 600000, GUESSES_SLOTS = 4096 };

struct guesses;
int guesses_new(struct guesses **ret_g); /* 0 or -ENOMEM */
struct guesses *guesses_free(struct guesses *g);
DEFINE_CLEANUP(struct guesses, guesses_free)
/* One more of this address: how many there are in its window. */
unsigned guesses_add(struct guesses *g, const struct addr *who, uint64_t now);
bool guesses_many(const struct guesses *g, const struct addr *who, unsigned most, uint64_t now);
