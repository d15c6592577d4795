/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name server for tests: on a free port of 127.0.0.1, in the test's loop, with a table of names. It knows just
 * enough of RFC 1035 to answer A, AAAA, PTR, SRV and NAPTR questions; a name that is not in its table does not exist.
 */
#pragma once
#include "common/addr.h"
#include "common/loop.h"

enum { RCODE_OK = 0, RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3, NO_ANSWER = 100 };

#define SILENCE "silence" /* as v4 or v6: questions of this type are not answered */

struct dns_row {
	const char *name;
	const char *v4, *v6; /* addresses, separated by blanks; NULL: none. v4 of a name of .arpa: what it points to */
	unsigned ttl_s;
	int rcode;
	const char *srv;   /* "10 60 5060 host.example, 20 0 5060 other.example"; NULL: none */
	const char *naptr; /* "10 50 s SIP+D2T _sip._tcp.example, …" */
};

struct dns_server {
	struct io io;
	const struct dns_row *rows;
	size_t n_rows;
	unsigned questions; /* that came in */
	unsigned lost; /* so many of the next ones are not even that */
	char servers[ADDR_STRLEN]; /* for struct dns_options */
};
void dns_server_start(struct dns_server *s, struct loop *l, const struct dns_row *rows, size_t n);
void dns_server_stop(struct dns_server *s);
