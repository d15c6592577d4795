/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The eBPF side: loads the programs, attaches one of them to each interface, owns the maps. Whatever
 * becomes of this process, the kernel takes the programs away with it: they hang on bpf_links. Where the
 * kernel is too old for links at TC (before 6.6) they are filters of clsact, which outlive a killed process
 * but do nothing then, because nobody says any more that they live (fast_kernel_alive).
 */
#pragma once
#include <net/if.h>
#include "common/defs.h"
#include "turn/config.h"
#include "turn/fastpath/layout.h"
#include "turn/fastpath/wire.h"

enum { FAST_INTERFACES = 16 };

struct fast_interface {
	unsigned index;
	unsigned mtu;
	uint8_t mac[6];
	char name[IF_NAMESIZE];
	int link; /* of the program; -1: it is a filter */
};

struct fast_kernel;
/* Privileged. cfg says mode, interfaces and how many slots; err gets a sentence. */
int fast_kernel_new(const struct turn_config *cfg, char *err, size_t err_n, struct fast_kernel **ret_k);
struct fast_kernel *fast_kernel_free(struct fast_kernel *k); /* detaches */
DEFINE_CLEANUP(struct fast_kernel, fast_kernel_free)

enum fast_mode fast_kernel_mode(const struct fast_kernel *k);
const char *fast_kernel_names(const struct fast_kernel *k); /* "eth0, eth1" */
/* NULL: not one of ours. Its MTU and MAC are as they are now. */
const struct fast_interface *fast_kernel_interface(const struct fast_kernel *k, unsigned index);
void fast_kernel_look(struct fast_kernel *k); /* at MTUs and MACs anew */

uint32_t fast_kernel_slots(const struct fast_kernel *k, struct fast_slot **ret_v, int *ret_fd); /* how many, where, as what */
int fast_rule_put(struct fast_kernel *k, const struct fast_key *key, const struct fast_rule *r);
int fast_rule_get(struct fast_kernel *k, const struct fast_key *key, struct fast_rule *ret_r); /* -ENOENT */
void fast_rule_delete(struct fast_kernel *k, const struct fast_key *key);
void fast_kernel_alive(struct fast_kernel *k, uint64_t for_ms);
void fast_kernel_left(const struct fast_kernel *k, uint64_t ret_n[static FAST_LEFT_REASONS]);
