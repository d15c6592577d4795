/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What interfaces.c (those of the store, changes) and interfaces_shown.c (the list of all) share. An item is one of the
 * store, parsed; its name is its transport, address and port, and the key in the store.
 *
 * One that is left out is there, but not served for now, and says why.
 */
#pragma once
#include "common/stored.h"
#include "sip-proxy/determine.h"
#include "sip-proxy/interfaces.h"
#include "sip-proxy/public_address.h"
#include "sip-proxy/service.h"

enum { INTERFACE_NAME = ADDR_STRLEN + 8, INTERFACE_WHY = 512 };

struct interface_item {
	struct list node;
	char name[INTERFACE_NAME], why[INTERFACE_WHY]; /* why it is not served; "" */
	struct cfg *cfg;
	bool left_out;
};

struct sip_interfaces {
	struct sip_service *ss;
	struct stored *stored;
	struct list items;
	struct sip_interface_section *all;
	struct sip_public *public;
	struct sip_determiner *determiner;
	struct timer retry;
	bool closing;
};

const struct sip_interface_section *interface_section_of(const struct cfg *c);
void interface_name_of(const struct cfg_endpoint *e, char out[static INTERFACE_NAME]);
const struct sip_config *interface_config_of(const struct sip_interfaces *x);

/* interfaces_shown.c */
void interface_verb_list(struct control_request *rq, const json_t *args, void *arg);
void interface_verb_detect(struct control_request *rq, const json_t *args, void *arg);
void interface_verb_determine(struct control_request *rq, const json_t *args, void *arg);
