/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong for a TURN client, as one sentence for a person: what was asked, what the server said,
 * and what that usually means. The codes are those of RFC 8656 18 and RFC 8489 14.8; a code without a
 * row is shown with the server's own words only.
 */
#include <stdio.h>
#include <stdlib.h>
#include "turn/client.h"

static const char *const failure_hints[][2] = {
	{ "400", "the server did not understand the request" },
	{ "401", "wrong user name or password" },
	{ "403", "the server's rules forbid it (turn.peers)" },
	{ "437", "the server knows this address from an older allocation, or has lost it" },
	{ "438", "the server keeps refusing its own nonces" },
	{ "440", "the server has no relay address of this family" },
	{ "441", "other credentials than those of the allocation" },
	{ "442", "the server does not relay UDP" },
	{ "443", "the peer's address family differs from the relay address's" },
	{ "486", "this user has all the allocations it may have (turn.limits.allocations_per_user)" },
	{ "508", "the server has no relay port left, or a limit is reached" },
};

static const char *hint_of(unsigned code)
{
	for (size_t i = 0; i < ARRAY_LEN(failure_hints); i++)
		if ((unsigned)atoi(failure_hints[i][0]) == code)
			return failure_hints[i][1];
	return NULL;
}

const char *turn_failure_text(const struct turn_failure *f, char *buf, size_t n)
{
	struct sb b = sb_init(buf, n);
	const char *hint = hint_of(f->code);
	char peer[ADDR_STRLEN];

	switch (f->kind) {
	case TURN_FAIL_TIMEOUT:
		sb_fmt(&b, "no answer to %s", stun_method_name(f->method));
		break;
	case TURN_FAIL_REFUSED:
		sb_fmt(&b, "the server refused %s", stun_method_name(f->method));
		break;
	case TURN_FAIL_PROTOCOL:
		sb_fmt(&b, "the server's answer to %s is wrong", stun_method_name(f->method));
		break;
	case TURN_FAIL_LOCAL:
		sb_fmt(&b, "cannot send %s", stun_method_name(f->method));
		break;
	}
	if (addr_family(&f->peer) != AF_UNSPEC)
		sb_fmt(&b, " for %s", addr_print(&f->peer, peer));
	if (f->code)
		sb_fmt(&b, ": %u %s", f->code, f->reason);
	else if (f->reason[0])
		sb_fmt(&b, ": %s", f->reason);
	if (hint)
		sb_fmt(&b, " - %s", hint);
	return buf;
}
