/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URIs: two of them, separated by the first blank. Checked: slices lie inside; a URI is equal to itself and to a copy
 * of itself; equality holds both ways round; the pieces, put together again, are the URI.
 */
#include <assert.h>
#include <string.h>
#include "sip-proxy/uri.h"

static void check_inside(struct text part, struct text whole)
{
	if (part.p)
		assert(part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_pieces(const struct sip_uri *u, struct text in)
{
	size_t n = u->scheme_name.n + 1;
	check_inside(u->user, in);
	check_inside(u->host, in);
	check_inside(u->params, in);
	check_inside(u->headers, in);
	check_inside(u->number, in);
	if (u->scheme == SIP_SCHEME_SIP || u->scheme == SIP_SCHEME_SIPS) {
		n += u->user.p ? u->user.n + 1 : 0;
		n += u->password.p ? u->password.n + 1 : 0;
		n += u->host.n + (u->host_kind == SIP_HOST_IPV6 ? 2 : 0);
		if (u->port) /* with leading zeros it is longer than it says */
			return;
		n += u->headers.p ? u->headers.n + 1 : 0;
	} else {
		n += u->number.n;
	}
	n += u->params.p ? u->params.n + 1 : 0;
	assert(n == in.n);
}

static int check(struct text in, struct sip_uri *ret_u)
{
	char out[256];
	struct addr a;
	struct sip_uri again;
	if (sip_uri_parse(in, ret_u) < 0)
		return -1;
	check_pieces(ret_u, in);
	assert(sip_uri_equal(ret_u, ret_u));
	sip_uri_unescape(ret_u->user, out, sizeof out);
	sip_uri_addr(ret_u, 5060, &a);
	char *copy = malloc(in.n);
	if (!copy)
		abort();
	memcpy(copy, in.p, in.n);
	assert(sip_uri_parse((struct text){ copy, in.n }, &again) == 0);
	assert(sip_uri_equal(ret_u, &again) && sip_uri_equal(&again, ret_u));
	free(copy);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size ? size : 1);
	struct sip_uri a, b;
	if (!copy)
		abort();
	memcpy(copy, data, size);
	struct text rest = { copy, size }, first = text_cut(&rest, ' ');
	int r = check(first, &a);
	if (rest.p && check(rest, &b) == 0 && r == 0)
		assert(sip_uri_equal(&a, &b) == sip_uri_equal(&b, &a));
	free(copy);
	return 0;
}
