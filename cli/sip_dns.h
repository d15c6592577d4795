/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the DNS for commands that have nothing else to do meanwhile: each waits for its answer. The resolver is
 * that of the services (common/dns.h), so what is found is what they would find.
 * Records belong to the caller, who unrefs them.
 */
#pragma once
#include "common/dns_records.h"
#include "common/loop.h"

struct sip_dns {
	struct loop *loop;
	struct dns *dns;
};
int sip_dns_open(struct sip_dns *d); /* 0 or -errno */
void sip_dns_close(struct sip_dns *d);
enum dns_status sip_dns_records(struct sip_dns *d, enum dns_type type, const char *name,
				struct dns_records **ret_r);
/* At most n of them; how many goes to *ret_n. */
enum dns_status sip_dns_addresses(struct sip_dns *d, const char *host, uint16_t port,
				  struct addr *v, size_t n, size_t *ret_n);
/* "192.0.2.1, 2001:db8::1"; true: one of them is not public. */
bool sip_dns_print(const struct addr *v, size_t n, char *out, size_t cap);
/* By priority, then by weight: the order in which they are tried, but for the dice. */
void sip_dns_sort(struct dns_srv *v, size_t n);
