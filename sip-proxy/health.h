/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What places failed lately: by transport and address, a bounded number, of which the one that
 * failed longest ago makes room. It puts a place behind others; it never takes one away. No I/O
 * and no clock. The owner of a place is not known here, and need not be: whoever sends reports
 * what came of it.
 */
#pragma once
#include <jansson.h>
#include "sip-proxy/transport.h"

struct sip_health;
struct sip_health *sip_health_new(void); /* NULL: no memory */
struct sip_health *sip_health_free(struct sip_health *h);
/* err 0: it answered, whatever the answer was. Without memory a failure is not remembered. True: it was well before and
 * fails now, or the other way round. */
bool sip_health_report(struct sip_health *h, const struct sip_hop *at, int err, uint64_t now);
/* Those that failed lately go behind the others; else the order stays. */
void sip_health_sort(const struct sip_health *h, struct sip_target *t, unsigned n, uint64_t now);
/* Time until which the place is put behind the others; 0: it is not. */
uint64_t sip_health_until(const struct sip_health *h, const struct sip_hop *at, uint64_t now);
json_t *sip_health_json(const struct sip_health *h,
			uint64_t now); /* {transport, address, failures, error, retry_ms} */
