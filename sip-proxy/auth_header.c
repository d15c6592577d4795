/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Challenges and credentials: scheme, then name=value separated by commas (RFC 3261 25.1,
 * RFC 7616 3.3 and 3.4). Of Digest each known parameter may be there once; unknown ones are
 * passed over; another scheme is only named.
 */
#include <errno.h>
#include "sip-proxy/headers.h"
#include "sip-proxy/lex_priv.h"

static const struct text names[SIP_D_PARAMS] = {
	[SIP_D_USERNAME] = TEXT("username"), [SIP_D_REALM] = TEXT("realm"),
	[SIP_D_NONCE] = TEXT("nonce"),	     [SIP_D_URI] = TEXT("uri"),
	[SIP_D_RESPONSE] = TEXT("response"), [SIP_D_ALGORITHM] = TEXT("algorithm"),
	[SIP_D_CNONCE] = TEXT("cnonce"),     [SIP_D_OPAQUE] = TEXT("opaque"),
	[SIP_D_QOP] = TEXT("qop"),	     [SIP_D_NC] = TEXT("nc"),
	[SIP_D_STALE] = TEXT("stale"),	     [SIP_D_DOMAIN] = TEXT("domain"),
	[SIP_D_USERHASH] = TEXT("userhash"),
};

static int set(struct sip_auth *a, struct text name, struct text value)
{
	for (size_t i = 0; i < SIP_D_PARAMS; i++) {
		if (!text_ieq(names[i], name))
			continue;
		if (a->param[i].p)
			return -EBADMSG;
		a->param[i] = value;
	}
	return 0;
}

static int pairs(struct text rest, struct sip_auth *a)
{
	do {
		struct text name = lex_take(&rest, LEX_TOKEN), value;
		if (name.n == 0 || !lex_char(&rest, '='))
			return -EBADMSG;
		if (lex_quoted(&rest, &value))
			value = (struct text){ value.p + 1, value.n - 2 };
		else if ((value = lex_take(&rest, LEX_TOKEN)).n == 0)
			return -EBADMSG;
		if (set(a, name, value) < 0)
			return -EBADMSG;
	} while (lex_char(&rest, ','));
	lex_skip_lws(&rest);
	return rest.n == 0 ? 0 : -EBADMSG;
}

int sip_auth_parse(struct text value, struct sip_auth *ret_a)
{
	struct sip_auth a = { 0 };
	struct text rest = lex_trim(value);
	a.scheme = lex_take(&rest, LEX_TOKEN);
	if (a.scheme.n == 0 || rest.n == 0 || !lex_is(rest.p[0], LEX_BLANK))
		return -EBADMSG;
	lex_skip_lws(&rest);
	a.is_digest = text_ieq(a.scheme, TEXT("Digest"));
	if (a.is_digest && pairs(rest, &a) < 0)
		return -EBADMSG;
	*ret_a = a;
	return 0;
}
