/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration that holds: the file's, and behind its lists of static routes, partners and UC servers those objects that
 * were made while the service runs (`stile sip route add`, `federation allow`, `server add`). Both are read and checked as one, so that an object
 * of the store is judged by the very rows and rules of the file. What stands in the file wins and is locked.
 */
#pragma once
#include "common/service.h"

enum sip_list { SIP_LIST_ROUTES, SIP_LIST_PARTNERS, SIP_LIST_SERVERS, SIP_LISTS };

struct sip_effective;
/* changed() is called when an object has been stored or deleted: the configuration is to be made anew. */
int sip_effective_new(struct service *svc, void (*changed)(void *arg), void *arg,
		      struct sip_effective **ret_e); /* 0, -ENOMEM, -EIO */
struct sip_effective *sip_effective_free(struct sip_effective *e);
/* An object of the store that does not pass with this file is left out, and logged. 0 or -ENOMEM. */
int sip_effective_make(struct sip_effective *e, const struct cfg *file, struct cfg **ret_cfg);

/* {rows} of the file and of the store; the caller's. */
json_t *sip_effective_rows(struct sip_effective *e, enum sip_list l);
/* Control verbs' work: each ends the request. id: the domain, or the server's user. */
void sip_effective_list(struct sip_effective *e, enum sip_list l, struct control_request *rq);
/* object: the keys of the list's rows. create: there must be none yet, else it changes what is there. */
void sip_effective_put(struct sip_effective *e, enum sip_list l, struct control_request *rq,
		       const json_t *object, bool create);
/* One key of an object that is in the store. value is taken. */
void sip_effective_set(struct sip_effective *e, enum sip_list l, struct control_request *rq,
		       const char *id, const char *key, json_t *value);
void sip_effective_delete(struct sip_effective *e, enum sip_list l, struct control_request *rq,
			  const char *id);
