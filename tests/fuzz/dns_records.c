/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw answers of name servers. The first byte chooses the type of record. Checked: nothing is read beyond the input;
 * what is taken is within its bounds, every name is one that may stand in a log and in a further question.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "common/dns_records.h"

static void check_name(const char *s)
{
	assert(strlen(s) < DNS_NAME_MAX);
	for (; *s; s++)
		assert((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		       (*s >= '0' && *s <= '9') || strchr("-_.", *s));
}

static void check(const struct dns_records *r)
{
	assert(r->n >= 1 && r->n <= DNS_RECORDS_MAX && r->ttl_s <= DNS_TTL_MAX_S);
	for (size_t i = 0; i < r->n; i++) {
		if (r->type == DNS_SRV) {
			check_name(r->srv[i].target);
			continue;
		}
		check_name(r->naptr[i].replacement);
		assert(memchr(r->naptr[i].flags, 0, sizeof(r->naptr[i].flags)));
		assert(memchr(r->naptr[i].service, 0, sizeof(r->naptr[i].service)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum dns_type type = size && data[0] & 1 ? DNS_SRV : DNS_NAPTR;
	size_t n = size ? size - 1 : 0;
	uint8_t *block = malloc(n ? n : 1); /* exactly its size: one byte too many shows */
	struct dns_records *r = NULL;

	assert(block);
	if (n)
		memcpy(block, data + 1, n);
	if (dns_records_parse(block, n, type, &r) == DNS_OK)
		check(r);
	dns_records_unref(r);
	free(block);
	return 0;
}
