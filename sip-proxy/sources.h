/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may speak, by source address, before anything is parsed: lists, a rate for each source, connections of each,
 * bans. A fixed number of sources is remembered; the one not heard of for longest makes room (one that has
 * connections or is banned stays as long as others can go). IPv6 counts by /64. No I/O and no clock.
 */
#pragma once
#include "common/addr.h"
#include "sip-proxy/edge.h"
#include "sip-proxy/metrics.h"

enum { SIP_SOURCES_MAX = 16384 };

struct sip_sources;
struct sip_sources *sip_sources_new(void);
struct sip_sources *sip_sources_free(struct sip_sources *s);
/* Copies the lists. 0 or -ENOMEM, and nothing has changed. */
int sip_sources_configure(struct sip_sources *s, const struct sip_edge_config *c);
/* s goes on with the lists and limits of from, which keeps nothing of use. Cannot fail. */
void sip_sources_take(struct sip_sources *s, struct sip_sources *from);

/* A datagram or message from there: SIP_DROPS if it may be read, or why not. */
enum sip_drop sip_sources_message(struct sip_sources *s, const struct addr *from, uint64_t now);
/* A connection: SIP_DROPS if it may be. If it was counted, sip_sources_leave() is due, whatever the lists say by then. */
enum sip_drop sip_sources_enter(struct sip_sources *s, const struct addr *from, uint64_t now,
				bool *ret_counted);
void sip_sources_leave(struct sip_sources *s, const struct addr *from);
/* Something bad on a proven address. True if this made a ban of it. */
bool sip_sources_bad(struct sip_sources *s, const struct addr *from, uint64_t now);
void sip_sources_ban(struct sip_sources *s, const struct addr *from, uint64_t until);
unsigned sip_sources_count(const struct sip_sources *s);
