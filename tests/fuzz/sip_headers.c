/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of headers: the first byte chooses the grammar. Checked: slices lie inside the value; parameters can be
 * walked to their end once a parser has taken them; what a parser takes it takes again with blanks around.
 */
#include <assert.h>
#include <string.h>
#include "sip-proxy/overload.h"

static void check_inside(struct text part, struct text whole)
{
	if (part.p && part.n > 0)
		assert(part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

static void check_params(struct text params)
{
	struct text rest = params, name, value;
	char out[64];
	while (sip_param_next(&rest, &name, &value)) {
		assert(name.n > 0 && sip_has_param(params, name));
		check_inside(name, params);
		check_inside(value, params);
		if (value.p)
			sip_unquote(value, out, sizeof out);
	}
	assert(rest.n == 0);
}

/* What we answer can be read, and says what was meant. */
static void overload(const struct sip_via *v)
{
	const struct sip_oc_wish wish = { 42, 1700000000123 };
	struct sip_oc_said said;
	struct sip_via back;
	char buf[8192];
	ptrdiff_t n;
	if (sip_oc_read(v, &said) == 0)
		assert(said.loss <= 100 && said.validity_ms <= SIP_OC_VALIDITY_MAX_MS);
	n = sip_oc_asks(v) ? sip_oc_answer(&wish, v, buf, sizeof buf) : -1;
	if (n < 0)
		return;
	assert(sip_via_parse((struct text){ buf, (size_t)n }, &back) == 0 &&
	       sip_oc_read(&back, &said) == 0);
	assert(said.loss == 42 && said.validity_ms == SIP_OC_VALIDITY_MS && said.seq == 170000000012300);
}

static void via(struct text in)
{
	struct sip_via v;
	if (sip_via_parse(in, &v) < 0)
		return;
	check_params(v.params);
	check_inside(v.host, in);
	check_inside(v.sent_by, in);
	check_inside(v.branch, in);
	assert(v.host.n > 0 && v.protocol.n > 0);
	sip_via_is_unicast(&v);
	overload(&v);
	sip_branch_is_3261(v.branch);
}

static void address(struct text in)
{
	struct sip_addr a;
	struct sip_uri u;
	uint16_t q;
	if (sip_addr_parse(in, &a) < 0)
		return;
	check_inside(a.uri, in);
	check_inside(a.display, in);
	check_params(a.params);
	assert(a.star == (a.uri.n == 0));
	sip_uri_parse(a.uri, &u);
	if (sip_addr_q(&a, &q) == 0)
		assert(q <= 1000);
}

static void small(struct text in)
{
	struct sip_cseq c;
	uint32_t n;
	uint16_t q;
	if (sip_cseq_parse(in, &c) == 0)
		assert(c.number <= INT32_MAX && c.method_name.n > 0);
	if (sip_number_parse(in, 255, &n) == 0)
		assert(n <= 255);
	if (sip_q_parse(in, &q) == 0)
		assert(q <= 1000);
	sip_call_id_check(in);
}

static void auth(struct text in)
{
	struct sip_auth a;
	if (sip_auth_parse(in, &a) < 0)
		return;
	for (unsigned i = 0; i < SIP_D_PARAMS; i++)
		check_inside(a.param[i], in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const all[])(struct text) = { via, address, small, auth };
	if (size == 0)
		return 0;
	char *copy = malloc(size);
	if (!copy)
		abort();
	memcpy(copy, data, size);
	all[(uint8_t)copy[0] % ARRAY_LEN(all)]((struct text){ copy + 1, size - 1 });
	free(copy);
	return 0;
}
